/* Weights into panels of NR columns, once, before anything is multiplied. */

/* panels [columns / NR, depth, NR] of weights [columns, depth], zeros beyond the last column; a number has 4 bytes: a
 * float, or four 8-bit integers */
void NAME(pack)(const int *weights, long columns, long depth, int *panels, int threads)
{
    const long count = (columns + NR - 1) / NR, line = 16; /* numbers of a row that the cache reads together */
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long p = 0; p < count; p++)
        for (long first = 0; first < depth; first += line)
            for (long c = 0; c < NR; c++) {
                const int *row = p * NR + c < columns ? weights + (p * NR + c) * depth : NULL;
                for (long k = first; k < first + line && k < depth; k++)
                    panels[(p * depth + k) * NR + c] = row ? row[k] : 0;
            }
}
