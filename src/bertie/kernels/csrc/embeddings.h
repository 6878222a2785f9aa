/* From ids to vectors: word + token-type + position embeddings, normalized. */

/* rows [count, columns] of floats, or of 8-bit integers with a scale for each row */
typedef struct {
    const void *rows;
    const float *scale; /* [count], null for floats */
    long count;
} EmbeddingTable;

/* the tables and each token's ids; null ids mean 0 for every token, null ``rows`` that there is no such table */
typedef struct {
    EmbeddingTable words, types, positions;
    const long long *word_ids, *type_ids, *position_ids; /* [tokens] */
    long tokens, columns;
    Norm norm;
} Embeddings;

static int ids_are_valid(const long long *ids, const EmbeddingTable *table, long tokens)
{
    for (long i = 0; ids && i < tokens; i++)
        if (ids[i] < 0 || ids[i] >= table->count)
            return 0;
    return ids || table->count > 0 || !tokens;
}

/* y [columns] = the row of ``id`` if it ``is_first``, else y + the row */
static inline void add_embedding(float *y, const EmbeddingTable *table, long long id, long columns, int is_first)
{
    const V scale = SET1(table->scale ? table->scale[id] : 1);
    for (long i = 0; i < columns; i += LANES) {
        const long left = columns - i, offset = id * columns + i;
        V number;
        if (table->scale) {
            float numbers[LANES] = {0};
            for (long j = 0; j < LANES && j < left; j++)
                numbers[j] = ((const signed char *)table->rows)[offset + j];
            number = MUL(LOAD(numbers), scale);
        } else
            number = load_partial((const float *)table->rows + offset, left);
        store_partial(y + i, is_first ? number : ADD(load_partial(y + i, left), number), left);
    }
}

/* y [tokens, columns]; returns BAD_ID if an id has no row in its table */
int NAME(embeddings)(const Embeddings *e, float *y, int threads)
{
    const EmbeddingTable *tables[] = {&e->words, &e->types, &e->positions};
    const long long *ids[] = {e->word_ids, e->type_ids, e->position_ids};
    for (int t = 0; t < 3; t++)
        if (tables[t]->rows && !ids_are_valid(ids[t], tables[t], e->tokens))
            return BAD_ID;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long i = 0; i < e->tokens; i++) {
        float *row = y + i * e->columns;
        for (int t = 0; t < 3; t++)
            if (tables[t]->rows)
                add_embedding(row, tables[t], ids[t] ? ids[t][i] : 0, e->columns, t == 0);
        layer_norm_row(row, &e->norm, e->columns);
    }
    return OK;
}
