/* Layer normalization: (x - mean) / sqrt(variance + eps) * weight + bias for each row. */

typedef struct {
    const float *weight, *bias; /* [columns] */
    float eps;
} Norm;

/* The factor and mean of a row whose squares overflow, as in PyTorch, which sums 8 lanes on every x86 processor: its variance is
 * infinite and the factor 0, or NaN if the square of the first lane's mean overflows too and is multiplied by a count of 0. */
static float factor_of_overflow(const float *row, long columns, float *mean)
{
    double sum = 0, first = 0;
    for (long i = 0; i < columns; i++)
        sum += row[i];
    for (long i = 0; i < columns; i += 8)
        first += row[i];
    first /= columns / 8.0;
    *mean = (float)(sum / columns);
    return columns % 8 == 0 && first * first > FLT_MAX ? NAN : 0;
}

/* 1 / sqrt(variance + eps) of a row, and its mean */
static inline float row_factor(const float *x, float eps, long columns, float *mean)
{
    const long whole = columns / LANES * LANES;
    float sum = 0, square = 0;
    V lanes = ZERO();
    for (long i = 0; i < whole; i += LANES)
        lanes = ADD(lanes, LOAD(x + i));
    for (long i = whole; i < columns; i++)
        sum += x[i];
    *mean = (sum + REDUCE_ADD(lanes)) / columns;
    lanes = ZERO();
    for (long i = 0; i < whole; i += LANES) {
        V distance = SUB(LOAD(x + i), SET1(*mean));
        lanes = FMA(distance, distance, lanes);
    }
    for (long i = whole; i < columns; i++)
        square += (x[i] - *mean) * (x[i] - *mean);
    const float variance = (square + REDUCE_ADD(lanes)) / columns;
    return variance <= FLT_MAX ? 1 / sqrtf(variance + eps) : factor_of_overflow(x, columns, mean);
}

/* y [columns] may be x */
static inline void normalize_row(const float *x, float *y, const Norm *n, long columns, float mean, float factor)
{
    const long whole = columns / LANES * LANES;
    for (long i = 0; i < whole; i += LANES) {
        V number = MUL(SUB(LOAD(x + i), SET1(mean)), SET1(factor));
        STORE(y + i, FMA(number, LOAD(n->weight + i), LOAD(n->bias + i)));
    }
    for (long i = whole; i < columns; i++)
        y[i] = (x[i] - mean) * factor * n->weight[i] + n->bias[i];
}

/* one row [columns], in place */
static void layer_norm_row(float *x, const Norm *n, long columns)
{
    float mean, factor = row_factor(x, n->eps, columns, &mean);
    normalize_row(x, x, n, columns, mean, factor);
}

/* x [rows, columns] in place, run by a team of threads */
static void layer_norm_rows(float *x, const Norm *n, long rows, long columns)
{
#pragma omp for schedule(static)
    for (long row = 0; row < rows; row++)
        layer_norm_row(x + row * columns, n, columns);
}

/* x [rows, columns] in place */
void NAME(layer_norm)(float *x, const Norm *n, long rows, long columns, int threads)
{
#pragma omp parallel num_threads(threads) if (threads > 1)
    layer_norm_rows(x, n, rows, columns);
}
