/* Products with unpacked weights [columns, depth]: each result is a dot product of two rows. Included after gemm.h. */

/* rows and columns of a register tile: the sums and their operands fit the registers */
#if MR == 12
#define DOT_ROWS 6
#define DOT_COLUMNS 4
#else
#define DOT_ROWS 4
#define DOT_COLUMNS 2
#endif

/* y[r, c] = x[r, :] . w[c, :] + bias[c] for r < rows, c < columns; the rows of y are ``y_stride`` apart */
INLINE void dot_tile(const int rows, const int columns, const float *x, const float *w, const float *bias, float *y,
                     long depth, long y_stride)
{
    V sums[DOT_ROWS][DOT_COLUMNS];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            sums[r][c] = ZERO();
    long k = 0;
    for (; k + LANES <= depth; k += LANES) {
        V weights[DOT_COLUMNS];
        for (int c = 0; c < columns; c++) {
            weights[c] = LOAD(w + c * depth + k);
            __builtin_prefetch(w + (columns + c) * depth + k); /* the next tile's weights */
        }
        for (int r = 0; r < rows; r++) {
            const V inputs = LOAD(x + r * depth + k);
            for (int c = 0; c < columns; c++)
                sums[r][c] = FMA(inputs, weights[c], sums[r][c]);
        }
    }
    if (k < depth)
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++)
                sums[r][c] = FMA(load_partial(x + r * depth + k, depth - k), load_partial(w + c * depth + k, depth - k),
                                 sums[r][c]);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            y[r * y_stride + c] = REDUCE_ADD(sums[r][c]) + (bias ? bias[c] : 0);
}

/* all rows of up to DOT_COLUMNS columns: their weights are read from memory once, then from the L1 cache */
INLINE void dot_columns(const int columns, const float *x, const float *w, const float *bias, float *y, long rows, long depth,
                        long y_stride)
{
    const long times = (rows + DOT_ROWS - 1) / DOT_ROWS, step = (rows + times - 1) / times;
    for (long row = 0; row < rows; row += step) {
        const float *from = x + row * depth;
        float *to = y + row * y_stride;
        switch (at_most(rows - row, step)) {
        case 1: dot_tile(1, columns, from, w, bias, to, depth, y_stride); break;
        case 2: dot_tile(2, columns, from, w, bias, to, depth, y_stride); break;
        case 3: dot_tile(3, columns, from, w, bias, to, depth, y_stride); break;
#if DOT_ROWS > 4
        case 4: dot_tile(4, columns, from, w, bias, to, depth, y_stride); break;
        case 5: dot_tile(5, columns, from, w, bias, to, depth, y_stride); break;
#endif
        default: dot_tile(DOT_ROWS, columns, from, w, bias, to, depth, y_stride);
        }
    }
}

/* y [rows, columns] = x [rows, depth] . w^T + bias, which may be null */
void NAME(linear_unpacked)(const float *w, const float *bias, const float *x, float *y, long rows, long depth, long columns,
                           int threads)
{
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (long first = 0; first < rows; first += MC) {
        const long count = at_most(rows - first, MC);
        const float *from = x + first * depth;
        float *to = y + first * columns;
#pragma omp for schedule(static) nowait
        for (long tile = 0; tile < (columns + DOT_COLUMNS - 1) / DOT_COLUMNS; tile++) {
            const long c = tile * DOT_COLUMNS;
            const float *added = bias ? bias + c : 0;
            if (columns - c >= DOT_COLUMNS)
                dot_columns(DOT_COLUMNS, from, w + c * depth, added, to + c, count, depth, columns);
            else
                for (long last = c; last < columns; last++)
                    dot_columns(1, from, w + last * depth, bias ? bias + last : 0, to + last, count, depth, columns);
        }
    }
}
