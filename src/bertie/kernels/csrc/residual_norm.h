/* The end of a sub-layer, LayerNorm(residual + dropout(x + bias)), and its gradient; included after layer_norm.h. */

/* x [rows, columns], a product in float32 or bfloat16; for the gradient, ``sum`` receives the normalization's input, ``means``
 * and ``factors`` each row's mean and 1 / sqrt(variance + eps) */
typedef struct {
    const void *x;
    const float *bias, *residual; /* [columns], [rows, columns] */
    float *sum, *y, *means, *factors;
    Norm norm;
    long rows, columns, half;
    const Dropout *dropout; /* null if nothing is dropped */
} ResidualNorm;

/* dx has the layout of x, dsum (the residual's gradient) that of the residual; the other gradients are [columns] */
typedef struct {
    ResidualNorm forward;
    const float *dy;
    void *dx;
    float *dsum, *dweight, *dnorm_bias, *dbias;
} ResidualNormBackward;

/* the numbers [c, c + LANES) of a row after dropout; each row has its own key */
static inline V drop_columns(V numbers, long c, const HashKey *key, const Dropout *d)
{
    return ZERO_BELOW(MUL(numbers, SET1(d->scale)), random_bits(U_ADD(U_IOTA(), U_SET1(c)), key), U_SET1(d->threshold));
}

static void residual_norm_row(const ResidualNorm *n, long row)
{
    const long columns = n->columns, first = row * columns;
    const HashKey key = n->dropout ? hash_key(n->dropout, row) : (HashKey){0, 0};
    for (long c = 0; c < columns; c += LANES) {
        const long left = columns - c;
        V number = ADD(load_number(n->x, first + c, left, n->half), load_partial(n->bias + c, left));
        if (n->dropout)
            number = drop_columns(number, c, &key, n->dropout);
        store_partial(n->sum + first + c, ADD(number, load_partial(n->residual + first + c, left)), left);
    }
    n->factors[row] = row_factor(n->sum + first, n->norm.eps, columns, n->means + row);
    normalize_row(n->sum + first, n->y + first, &n->norm, columns, n->means[row], n->factors[row]);
}

void NAME(residual_norm)(const ResidualNorm *n, int threads)
{
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long row = 0; row < n->rows; row++)
        residual_norm_row(n, row);
}

/* one row; its gradients of the normalization's weight and bias, and of the bias, are added to ``sums`` [3, columns] */
static void residual_norm_row_backward(const ResidualNormBackward *g, long row, float *sums)
{
    const ResidualNorm *n = &g->forward;
    const long columns = n->columns, first = row * columns;
    const float *dy = g->dy + first, *sum = n->sum + first;
    const V mean = SET1(n->means[row]), factor = SET1(n->factors[row]);
    const HashKey key = n->dropout ? hash_key(n->dropout, row) : (HashKey){0, 0};
    V total = ZERO(), dot = ZERO();
    for (long c = 0; c < columns; c += LANES) {
        const long left = columns - c;
        V gradient = load_partial(dy + c, left), scaled = MUL(gradient, load_partial(n->norm.weight + c, left));
        V normal = MUL(SUB(load_partial(sum + c, left), mean), factor);
        total = ADD(total, scaled);
        dot = FMA(scaled, normal, dot);
        store_partial(sums + c, FMA(gradient, normal, load_partial(sums + c, left)), left);
        store_partial(sums + columns + c, ADD(gradient, load_partial(sums + columns + c, left)), left);
    }
    total = SET1(REDUCE_ADD(total) / columns);
    dot = SET1(REDUCE_ADD(dot) / columns);
    for (long c = 0; c < columns; c += LANES) {
        const long left = columns - c;
        V scaled = MUL(load_partial(dy + c, left), load_partial(n->norm.weight + c, left));
        V normal = MUL(SUB(load_partial(sum + c, left), mean), factor);
        V gradient = MUL(SUB(SUB(scaled, total), MUL(normal, dot)), factor);
        store_partial(g->dsum + first + c, gradient, left);
        if (n->dropout)
            gradient = drop_columns(gradient, c, &key, n->dropout);
        store_number(g->dx, first + c, gradient, left, n->half);
        store_partial(sums + 2 * columns + c, ADD(gradient, load_partial(sums + 2 * columns + c, left)), left);
    }
}

int NAME(residual_norm_backward)(const ResidualNormBackward *g, int threads)
{
    const long rows = g->forward.rows, columns = g->forward.columns, blocks = blocks_of(rows);
    float *partial = aligned_memory((3 * blocks * columns + 16) * sizeof(float)), *sums[] = {g->dweight, g->dnorm_bias, g->dbias};
    if (!partial)
        return NO_MEMORY;
    memset(partial, 0, 3 * blocks * columns * sizeof(float));
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long b = 0; b < blocks; b++)
        for (long row = b * SUMMED_ROWS; row < (b + 1) * SUMMED_ROWS && row < rows; row++)
            residual_norm_row_backward(g, row, partial + 3 * b * columns);
    for (int i = 0; i < 3; i++)
        sum_partials(partial + i * columns, blocks, columns, 3 * columns, sums[i]);
    free(partial);
    return OK;
}
