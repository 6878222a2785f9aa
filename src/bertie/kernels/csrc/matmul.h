/* Products of unpacked float matrices, either of them transposed, for training, where weights change at every step: blocks are
 * packed on the fly. Included after packing.h. */

/* the depth of a packed block, and its columns of the right or rows of a transposed left matrix: blocks stay in a core's cache,
 * and packing takes a few percent of the time of their products */
#define BLOCK_DEPTH 512
#define BLOCK_SIDE 384

/* c [rows, columns] = a [rows, depth] . b [depth, columns] + bias */
typedef struct {
    const float *a, *b, *bias; /* bias may be null */
    float *c, *sums;           /* sums [rows] of the rows of a transposed ``a``, or null */
    long rows, depth, columns;
    long a_stride, b_stride, c_stride;     /* between rows in memory */
    long a_is_transposed, b_is_transposed; /* stored as [depth, rows] and [columns, depth] */
} Matmul;

/* the blocks a[row.., from..] and b[from.., column..] that a team of threads multiplies at a time, and where they are packed */
typedef struct {
    float *left, *right;
    long row, rows, from, depth, column, columns;
} MatmulBlock;

INLINE void finish_sum(V sum, const Matmul *m, long row, long column, int adds)
{
    const long left = m->columns - column;
    float *to = m->c + row * m->c_stride + column;
    if (left <= 0) /* the last panel may extend beyond the last column */
        return;
    if (adds)
        sum = ADD(sum, load_partial(to, left));
    else if (m->bias)
        sum = ADD(sum, load_partial(m->bias + column, left));
    store_partial(to, sum, left);
}

INLINE void matmul_microkernel(const int rows, const int packed, const float *a, const float *panel, const Matmul *m,
                               const MatmulBlock *b, long row, long column)
{
    V sums[MR][2];
    for (int r = 0; r < rows; r++) /* these arrive while the product is computed */
        for (long c = 0; c < NR; c += 16)
            __builtin_prefetch(m->c + (row + r) * m->c_stride + column + c, 1);
    if (packed)
        microkernel_strided(rows, a, 1, MR, panel, b->depth, sums);
    else
        microkernel(rows, a, m->a_stride, panel, b->depth, sums);
    for (int r = 0; r < rows; r++) {
        finish_sum(sums[r][0], m, row + r, column, b->from > 0);
        finish_sum(sums[r][1], m, row + r, column + LANES, b->from > 0);
    }
}

/* sums [rows] += the sums of a panel [depth, MR] over its depth */
static void add_panel(const float *panel, long depth, long rows, float *sums)
{
    float panel_sums[MR] = {0};
    for (long k = 0; k < depth; k++)
        for (int r = 0; r < MR; r++)
            panel_sums[r] += panel[k * MR + r];
    for (long r = 0; r < rows; r++)
        sums[r] += panel_sums[r];
}

/* the rows from ``row`` to before ``end`` by the columns of panel p */
INLINE void multiply_panel(const int packed, const Matmul *m, const MatmulBlock *b, long row, long end, long p)
{
    const int step = packed ? MR : rows_per_microkernel(end - row);
    const float *panel = b->right + p * NR * b->depth;
    for (; row < end; row += step) {
        const float *a = packed ? b->left + (row - b->row) * b->depth : m->a + row * m->a_stride + b->from;
        if (packed && m->sums && b->column + p == 0)
            add_panel(a, b->depth, at_most(end - row, MR), m->sums + row);
#define BODY(n) matmul_microkernel(n, packed, a, panel, m, b, row, b->column + p * NR)
        FOR_ROWS(at_most(end - row, step), BODY)
#undef BODY
    }
}

/* the functions below are run by a team of threads, which wait for each other */

static void multiply_blocks(const Matmul *m, const MatmulBlock *b)
{
#pragma omp for schedule(static) collapse(2)
    for (long top = 0; top < b->rows; top += MC)
        for (long p = 0; p < (b->columns + NR - 1) / NR; p++) {
            const long row = b->row + top, end = row + at_most(b->rows - top, MC);
            if (m->a_is_transposed)
                multiply_panel(1, m, b, row, end, p);
            else
                multiply_panel(0, m, b, row, end, p);
        }
}

static void pack_right(const Matmul *m, const MatmulBlock *b)
{
    if (!m->b_is_transposed) {
        pack_rows(NR, m->b + b->from * m->b_stride + b->column, m->b_stride, b->depth, b->columns, b->right);
        return;
    }
#pragma omp for schedule(static)
    for (long c = 0; c < b->columns; c += NR) {
        const float *weights = m->b + (b->column + c) * m->b_stride + b->from;
        pack_panel(4, (const char *)weights, m->b_stride, b->columns - c, b->depth, (char *)(b->right + c * b->depth));
    }
}

static void matmul_by_blocks(const Matmul *m, float *left, float *right)
{
    const long side = m->a_is_transposed ? BLOCK_SIDE : m->rows;
    MatmulBlock b = {left, right};
    for (b.from = 0; b.from < m->depth; b.from += BLOCK_DEPTH)
        for (b.column = 0; b.column < m->columns; b.column += BLOCK_SIDE) {
            b.depth = at_most(m->depth - b.from, BLOCK_DEPTH);
            b.columns = at_most(m->columns - b.column, BLOCK_SIDE);
            pack_right(m, &b);
            for (b.row = 0; b.row < m->rows; b.row += side) {
                b.rows = at_most(m->rows - b.row, side);
                if (m->a_is_transposed)
                    pack_rows(MR, m->a + b.from * m->a_stride + b.row, m->a_stride, b.depth, b.rows, left);
                multiply_blocks(m, &b);
            }
        }
}
