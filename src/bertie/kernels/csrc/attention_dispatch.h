/* The entry points of attention and its gradient: they allocate scratch, start threads, and choose between AMX and vectors. */

/* the most queries and keys of a sequence; returns 0 if the sequences do not partition the tokens */
static int longest_sequences(const Attention *a, long *queries, long *keys)
{
    *queries = max_seqlen(a->cu_seqlens_q, a->batch, a->tokens_q);
    *keys = max_seqlen(a->cu_seqlens_k, a->batch, a->tokens_k);
    return *queries >= 0 && *keys >= 0;
}

/* floats of scratch that each thread needs, with and without AMX */
static long scratch_of_attention(long queries, long keys, long width, int half)
{
    long floats = upto(attention_scratch(queries, keys, width, half), 16);
#ifdef HAS_TILES
    const long by_tiles = upto(tiles_scratch(queries, keys, width), 64) / 4;
    floats = by_tiles > floats ? by_tiles : floats;
#endif
    return floats;
}

/* run by a team of threads, each with ``scratch_per_thread`` floats of scratch */
static void attend_in_team(const Attention *a, float *scratch, long scratch_per_thread)
{
#ifdef HAS_TILES
    if (attention_uses_tiles(a)) {
        attend_by_tiles(a, (char *)scratch, 4 * scratch_per_thread);
        return;
    }
#endif
    attend(a, scratch, scratch_per_thread);
}

int NAME(attention)(const Attention *a, int threads)
{
    long queries, keys;
    if (!longest_sequences(a, &queries, &keys))
        return BAD_SEQLENS;
    const long floats = scratch_of_attention(queries, keys, a->width, a->half);
    float *scratch = aligned_memory((threads * floats + 16) * sizeof(float));
    if (!scratch)
        return NO_MEMORY;
#pragma omp parallel num_threads(threads) if (threads > 1)
    attend_in_team(a, scratch, floats);
    free(scratch);
    return OK;
}

int NAME(attention_backward)(const AttentionBackward *g, int threads)
{
    const Attention *a = &g->forward;
    long queries, keys;
    if (!longest_sequences(a, &queries, &keys))
        return BAD_SEQLENS;
    long floats = upto(backward_scratch(queries, keys, a->width, a->half), 16);
#ifdef HAS_TILES
    if (attention_uses_tiles(a))
        floats = upto(tiles_scratch_backward(queries, keys, a->width), 64) / 4;
#endif
    float *scratch = aligned_memory((threads * floats + 16) * sizeof(float));
    if (!scratch)
        return NO_MEMORY;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#ifdef HAS_TILES
        if (attention_uses_tiles(a))
            backward_by_tiles(g, (char *)scratch, 4 * floats);
        else
#endif
        attend_backward(g, scratch, floats);
    }
    free(scratch);
    return OK;
}
