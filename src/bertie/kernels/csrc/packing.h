/* Packs matrices into panels, in which the same element of all columns is contiguous. */

/* panel [depth, NR] from up to NR rows of weights, ``stride`` numbers apart; zeros for missing columns */
INLINE void pack_panel(const int size, const char *weights, long stride, long columns, long depth, char *panel)
{
    const long line = 64 / size; /* numbers in a cache line */
    for (long first = 0; first < depth; first += line) {
        const long last = at_most(first + line, depth);
        for (long c = 0; c < NR; c += 4) {
            long k = first;
            if (size == 4 && c + 4 <= columns)
                for (; k + 4 <= last; k += 4)
                    transpose4((const float *)weights + c * stride + k, stride, (float *)panel + k * NR + c, NR);
            for (; k < last; k++)
                for (long j = c; j < c + 4; j++)
                    if (j < columns)
                        memcpy(panel + (k * NR + j) * size, weights + (j * stride + k) * size, size);
                    else
                        memset(panel + (k * NR + j) * size, 0, size);
        }
    }
}

/* panels [columns / width, depth, width] of x [depth, columns], rows ``stride`` apart, zero-padded; run by a team of threads,
 * which read along rows, since hardware prefetches only the cache lines that follow */
INLINE void pack_rows(const int width, const float *x, long stride, long depth, long columns, float *panels)
{
#pragma omp for schedule(static)
    for (long first = 0; first < depth; first += 16)
        for (long c = 0; c < columns; c += width)
            for (long k = first; k < at_most(first + 16, depth); k++) {
                float *to = panels + c * depth + k * width;
                const long here = at_most(columns - c, width);
                if (here == width)
                    memcpy(to, x + k * stride + c, width * sizeof(float));
                else
                    for (long i = 0; i < width; i++)
                        to[i] = i < here ? x[k * stride + c + i] : 0;
            }
}

/* panels [columns / NR, depth, NR] of weights [columns, depth] of ``size`` bytes: 4 (a float, or four 8-bit integers) or
 * 2 (two 8-bit integers) */
void NAME(pack)(const char *weights, long columns, long depth, int size, char *panels, int threads)
{
    const long count = (columns + NR - 1) / NR, panel = depth * NR * size;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long p = 0; p < count; p++) {
        const char *first = weights + p * NR * depth * size;
        if (size == 4)
            pack_panel(4, first, depth, columns - p * NR, depth, panels + p * panel);
        else
            pack_panel(2, first, depth, columns - p * NR, depth, panels + p * panel);
    }
}
