/* Products with weights in panels, and what follows them; included with the lanes of an instruction set. */

enum { NOTHING, GELU, RESIDUAL };

/* what becomes of a finished sum at [row, column]: + bias, then GELU or + residual */
typedef struct {
    const float *bias, *residual; /* [columns], [rows, columns] */
    float *y;                     /* [rows, columns] */
    long columns;
    int after;
} Ending;

INLINE void finish(V sum, const Ending *e, long row, long column)
{
    const long left = e->columns - column, place = row * e->columns + column;
    if (left <= 0) /* the last panel may be wider than what is left */
        return;
    sum = ADD(sum, load_some(e->bias + column, left));
    if (e->after == GELU)
        sum = gelu(sum);
    else if (e->after == RESIDUAL)
        sum = ADD(sum, load_some(e->residual + place, left));
    store_some(e->y + place, sum, left);
}

INLINE void product_tile(const int rows, const float *x, const float *panel, long depth, const Ending *e, long row, long column)
{
    V sums[ROWS][2];
    tile(rows, x + row * depth, depth, panel, depth, sums);
    for (int r = 0; r < rows; r++) {
        finish(sums[r][0], e, row + r, column);
        finish(sums[r][1], e, row + r, column + LANES);
    }
}

/* rows that all panels pass at a time: what is read and written for them stays in a core's cache */
#define CHUNK 48

/* y [rows, columns] = ending(x [rows, depth] . panels [columns / WIDTH, depth, WIDTH]), shared by a team of threads */
static void multiply(const float *x, const float *panels, long rows, long depth, const Ending *e)
{
    const long count = (e->columns + WIDTH - 1) / WIDTH;
    for (long first = 0; first < rows; first += CHUNK) {
        const long end = first + CHUNK < rows ? first + CHUNK : rows;
        const int step = tile_rows(end - first);
#pragma omp for schedule(static) nowait
        for (long p = 0; p < count; p++)
            for (long row = first; row < end; row += step) {
#define BODY(n) product_tile(n, x, panels + p * depth * WIDTH, depth, e, row, p * WIDTH)
                FOR_ROWS(end - row < step ? end - row : step, BODY)
#undef BODY
            }
    }
#pragma omp barrier
}

void NAME(product)(const float *x, const float *panels, const float *bias, const float *residual, float *y, long rows,
                   long depth, long columns, int after, int threads)
{
    const Ending e = {bias, residual, y, columns, after};
#pragma omp parallel num_threads(threads) if (threads > 1)
    multiply(x, panels, rows, depth, &e);
}
