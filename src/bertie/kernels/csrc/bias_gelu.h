/* GELU(x + bias) of a product's rows, and its gradient; included after column_sums.h. */

/* the derivative of x * Phi(x): Phi(x) + x * phi(x) */
static inline V gelu_derivative(V x)
{
    V half_square = MUL(MUL(x, x), SET1(-0.5f)), density = zero_if_underflow(half_square, exp_nonpositive(half_square));
    V phi = FMA(erf_approximation(MUL(x, SET1(0.70710678f))), SET1(0.5f), SET1(0.5f));
    return FMA(MUL(x, SET1(0.39894228f)), density, phi);
}

/* x and y [rows, columns] are both float32 or both bfloat16 */
void NAME(bias_gelu)(const void *x, const float *bias, void *y, long rows, long columns, int half, int threads)
{
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long row = 0; row < rows; row++)
        for (long c = 0; c < columns; c += LANES) {
            const long left = columns - c, offset = row * columns + c;
            V sum = ADD(load_number(x, offset, left, half), load_partial(bias + c, left));
            store_number(y, offset, gelu(sum), left, half);
        }
}

/* dx from dy, both [rows, columns] of the type of x, and dbias, the sum of the rows of dx */
int NAME(bias_gelu_backward)(const void *x, const float *bias, const void *dy, void *dx, float *dbias, long rows, long columns,
                             int half, int threads)
{
    const long blocks = blocks_of(rows);
    float *partial = aligned_memory((blocks * columns + 16) * sizeof(float));
    if (!partial)
        return NO_MEMORY;
    memset(partial, 0, blocks * columns * sizeof(float));
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long b = 0; b < blocks; b++) {
        float *sums = partial + b * columns;
        for (long row = b * SUMMED_ROWS; row < (b + 1) * SUMMED_ROWS && row < rows; row++)
            for (long c = 0; c < columns; c += LANES) {
                const long left = columns - c, offset = row * columns + c;
                V sum = ADD(load_number(x, offset, left, half), load_partial(bias + c, left));
                V gradient = MUL(gelu_derivative(sum), load_number(dy, offset, left, half));
                store_number(dx, offset, gradient, left, half);
                store_partial(sums + c, ADD(load_partial(sums + c, left), gradient), left);
            }
    }
    sum_partials(partial, blocks, columns, columns, dbias);
    free(partial);
    return OK;
}
