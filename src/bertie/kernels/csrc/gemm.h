/* Products of float rows with packed weights, and their epilogue; included after microkernel.h. */

/* return codes; unless it is OK, nothing was computed */
enum { OK, BAD_SEQLENS, NO_MEMORY, BAD_ID };

/* applied to each finished sum: + bias, then an activation or + residual */
typedef struct {
    const float *bias, *residual; /* [columns], [rows, columns] */
    float *y;                     /* [rows, columns] */
    long columns;
    int operation; /* a code of activations.h */
} Epilogue;

INLINE void apply_epilogue(V sum, const Epilogue *e, long row, long column)
{
    const long left = e->columns - column, offset = row * e->columns + column;
    if (left <= 0) /* the last panel may extend beyond the last column */
        return;
    sum = ADD(sum, load_partial(e->bias + column, left));
    if (e->operation == GELU)
        sum = gelu(sum);
    else if (e->operation == RESIDUAL)
        sum = ADD(sum, load_partial(e->residual + offset, left));
    else if (e->operation != NONE)
        sum = activate(sum, e->operation);
    store_partial(e->y + offset, sum, left);
}

INLINE void gemm_microkernel(const int rows, const float *x, const float *panel, long depth, const Epilogue *e, long row,
                             long column)
{
    V sums[MR][2];
    microkernel(rows, x + row * depth, depth, panel, depth, sums);
    for (int r = 0; r < rows; r++) {
        apply_epilogue(sums[r][0], e, row + r, column);
        apply_epilogue(sums[r][1], e, row + r, column + LANES);
    }
}

/* rows multiplied by all panels before the next rows: their inputs and results stay in a core's cache */
#define MC 48

/* y [rows, columns] = epilogue(x [rows, depth] . panels [columns / NR, depth, NR]), run by a team of threads */
static void gemm(const float *x, const float *panels, long rows, long depth, const Epilogue *e)
{
    const long count = (e->columns + NR - 1) / NR;
    for (long first = 0; first < rows; first += MC) {
        const long end = at_most(first + MC, rows);
        const int step = rows_per_microkernel(end - first);
#pragma omp for schedule(static) nowait
        for (long p = 0; p < count; p++)
            for (long row = first; row < end; row += step) {
#define BODY(n) gemm_microkernel(n, x, panels + p * depth * NR, depth, e, row, p * NR)
                FOR_ROWS(at_most(end - row, step), BODY)
#undef BODY
            }
    }
#pragma omp barrier
}

/* dw [columns, depth] = dy^T x, with dy [rows, columns] and x [rows, depth] in bfloat16 */
typedef struct {
    const Bfloat16 *dy, *x;
    float *dw;
    long rows, columns, depth;
} WeightGradient;
