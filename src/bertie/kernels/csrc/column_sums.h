/* Sums over rows, such as the gradients of biases. Blocks of rows are summed first, so that the number of threads changes
 * neither the result nor its accuracy. */

#define SUMMED_ROWS 64

static inline long blocks_of(long rows) { return (rows + SUMMED_ROWS - 1) / SUMMED_ROWS; }

/* sums [columns] = the sum of the rows of partial [blocks, columns], which are ``stride`` apart */
static void sum_partials(const float *partial, long blocks, long columns, long stride, float *sums)
{
    memset(sums, 0, columns * sizeof(float));
    for (long b = 0; b < blocks; b++, partial += stride)
        for (long c = 0; c < columns; c += LANES) {
            const long left = columns - c;
            store_partial(sums + c, ADD(load_partial(sums + c, left), load_partial(partial + c, left)), left);
        }
}
