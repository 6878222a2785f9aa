/* The functions of attention and of its gradient: memory, threads, and by which of the ways before it; included last. */

/* whether sequences lie one after the other, and the most queries and keys of one */
static int measure(const Attention *a, long *queries, long *keys)
{
    *queries = max_seqlen(a->cu_seqlens_q, a->batch, a->tokens_q);
    *keys = max_seqlen(a->cu_seqlens_k, a->batch, a->tokens_k);
    return *queries >= 0 && *keys >= 0;
}

/* memory for each thread, of ``numbers``, or of as many as tiles need where they compute it; null if there is none */
static float *scratch_for(const Attention *a, long queries, long keys, int threads, long *numbers, long *by_tiles)
{
    *by_tiles = 0;
#ifdef HAS_TILES
    *by_tiles = attention_by_tiles(a);
    if (*by_tiles)
        *numbers = upto(tiles_scratch(queries, keys, a->width), 64) / 4;
#endif
    return aligned_memory((threads * *numbers + 16) * sizeof(float));
}

int NAME(attention)(const Attention *a, int threads)
{
    long queries, keys, by_tiles;
    if (!measure(a, &queries, &keys))
        return BAD_SEQLENS;
    long numbers = upto(attention_scratch(queries, keys, a->width, a->half), 16);
    float *scratch = scratch_for(a, queries, keys, threads, &numbers, &by_tiles);
    if (!scratch)
        return NO_MEMORY;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#ifdef HAS_TILES
        if (by_tiles)
            attend_by_tiles(a, (char *)scratch, 4 * numbers);
        else
#endif
        attend(a, scratch, numbers);
    }
    free(scratch);
    return OK;
}

int NAME(attention_backward)(const AttentionBackward *g, int threads)
{
    const Attention *a = &g->forward;
    long queries, keys, by_tiles;
    if (!measure(a, &queries, &keys))
        return BAD_SEQLENS;
    long numbers = upto(backward_scratch(queries, keys, a->width, a->half), 16);
    float *scratch = scratch_for(a, queries, keys, threads, &numbers, &by_tiles);
    if (!scratch)
        return NO_MEMORY;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#ifdef HAS_TILES
        if (by_tiles)
            backward_by_tiles(g, (char *)scratch, 4 * numbers);
        else
#endif
        attend_backward(g, scratch, numbers);
    }
    free(scratch);
    return OK;
}
