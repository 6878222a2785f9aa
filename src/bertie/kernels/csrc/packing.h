/* Weights into panels of NR columns, once, before anything is multiplied. */

/* panel [depth, NR] of the ``columns`` rows of weights [columns, depth] that there are, zeros beyond */
INLINE void pack_panel(const int size, const char *weights, long columns, long depth, char *panel)
{
    const long line = 64 / size; /* numbers of a row that the cache reads together */
    for (long first = 0; first < depth; first += line)
        for (long c = 0; c < NR; c++)
            for (long k = first; k < first + line && k < depth; k++) {
                char *place = panel + (k * NR + c) * size;
                if (c < columns)
                    memcpy(place, weights + (c * depth + k) * size, size);
                else
                    memset(place, 0, size);
            }
}

/* panels [columns / NR, depth, NR] of weights [columns, depth]; a number has ``size`` bytes: 4, a float or four 8-bit
 * integers, or 2, two of these */
void NAME(pack)(const char *weights, long columns, long depth, int size, char *panels, int threads)
{
    const long count = (columns + NR - 1) / NR, panel = depth * NR * size;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long p = 0; p < count; p++) {
        const char *first = weights + p * NR * depth * size;
        if (size == 4)
            pack_panel(4, first, columns - p * NR, depth, panels + p * panel);
        else
            pack_panel(2, first, columns - p * NR, depth, panels + p * panel);
    }
}
