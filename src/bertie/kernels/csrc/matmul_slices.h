/* Products of unpacked float matrices, sliced on the fly. Included after matmul.h. A training step of a model of 6 layers and
 * width 384 takes 0.77 (4,096 tokens) to 0.83 (some 800) of its time with MKL's products. */

/* inputs and columns of the right matrix that are sliced at a time: all but the largest matrices fit whole */
#define SLICED_DEPTH 1024
#define SLICED_COLUMNS 3072

/* sums [count] += the sums of the columns of x [depth, count], rows ``stride`` apart; run by a team of threads */
static void add_columns(const float *x, long stride, long count, long depth, float *sums)
{
#pragma omp for schedule(static) nowait
    for (long c = 0; c < count; c += LANES) {
        V sum = ZERO(); /* of these rows alone: one long sum would accumulate more rounding error */
        for (long k = 0; k < depth; k++)
            sum = ADD(sum, load_partial(x + k * stride + c, count - c));
        store_partial(sums + c, ADD(load_partial(sums + c, count - c), sum), count - c);
    }
}

/* the block of c for the block's rows and the sliced columns of the right matrix; run by a team of threads */
static void multiply_sliced_rows(const Matmul *m, const MatmulBlock *b, const Slices *left, const Slices *right)
{
    const float *a = m->a + (m->a_is_transposed ? b->from * m->a_stride + b->row : b->row * m->a_stride + b->from);
    float sums[2 * SLICED_ROWS * LANES] __attribute__((aligned(64)));
    const long count = sliced_groups(b->columns);
    if (m->sums && b->column == 0)
        add_columns(a, m->a_stride, b->rows, b->depth, m->sums + b->row);
#pragma omp for schedule(static)
    for (long group = 0; group < sliced_groups(b->rows); group++)
        slice_group(a, m->a_stride, b->rows, b->depth, m->a_is_transposed, group, left);
#pragma omp for schedule(static)
    for (long c = 0; c < count; c += 2) {
        multiply_panel_slices(left, b->rows, right, c, at_most(c + 2, count), sums);
        for (long r = 0; r < b->rows; r++)
            for (long half = 0; half < 2; half++)
                finish_sum(LOAD(sums + (half * SLICED_ROWS + r) * LANES), m, b->row + r, b->column + (c + half) * LANES,
                           b->from > 0);
    }
}

/* run by a team of threads, which wait for each other */
static void matmul_by_slices(const Matmul *m, Slices left, Slices right)
{
    MatmulBlock b = {0};
    configure_tiles();
    for (b.from = 0; b.from < m->depth; b.from += SLICED_DEPTH)
        for (b.column = 0; b.column < m->columns; b.column += SLICED_COLUMNS) {
            b.depth = at_most(m->depth - b.from, SLICED_DEPTH);
            b.columns = at_most(m->columns - b.column, SLICED_COLUMNS);
            left.blocks = right.blocks = sliced_blocks(b.depth);
            const float *columns = m->b;
            columns += m->b_is_transposed ? b.column * m->b_stride + b.from : b.from * m->b_stride + b.column;
#pragma omp for schedule(static)
            for (long group = 0; group < sliced_groups(b.columns); group++)
                slice_group(columns, m->b_stride, b.columns, b.depth, !m->b_is_transposed, group, &right);
            for (b.row = 0; b.row < m->rows; b.row += SLICED_ROWS) {
                b.rows = at_most(m->rows - b.row, SLICED_ROWS);
                multiply_sliced_rows(m, &b, &left, &right);
            }
        }
    release_tiles();
}

static int matmul_of_slices(const Matmul *m, int threads)
{
    const long depth = at_most(m->depth, SLICED_DEPTH);
    const long left = sliced_groups(at_most(m->rows, SLICED_ROWS)) * sliced_blocks(depth);
    const long right = sliced_groups(at_most(m->columns, SLICED_COLUMNS)) * sliced_blocks(depth);
    char *tiles = aligned_memory((left + right) * (GROUP_BYTES + TILE_ROWS * sizeof(float)) + 64);
    if (!tiles)
        return NO_MEMORY;
    float *scales = (float *)(tiles + (left + right) * GROUP_BYTES);
#pragma omp parallel num_threads(threads) if (threads > 1)
    matmul_by_slices(m, (Slices){tiles, scales, 0, 0}, (Slices){tiles + left * GROUP_BYTES, scales + left * TILE_ROWS, 0, 1});
    free(tiles);
    return OK;
}
