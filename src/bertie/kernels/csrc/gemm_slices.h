/* Products of floats by their slices. Of the nine products of two numbers' slices, that of both last ones lies far below what
 * was rounded away; the sums of the others over 128 inputs are exact, so a row's answer is bitwise its own. Included after
 * slices.h. Batches take 0.44 (base size) to 0.62 (long texts) of their time by AVX-512. */

#define SLICED_ROWS (4 * MC) /* that pass all columns at a time */
#define LEVELS 4             /* of sums: slices i and j of two numbers count for level i + j */
#define LEVEL (TILE_ROWS * LANES)
#define WEIGHTS_AHEAD (8 * GROUP_BYTES)

/* exact sums of a group of rows by one of columns over 128 inputs, what they mean, and what they are added to */
typedef struct {
    const int *sums;             /* [LEVELS, 16, 16] */
    const float *rows, *columns; /* scales [16] */
    float *to;                   /* [count, 16] */
    long count;                  /* of the group's rows; 0 where there are no sums yet */
} SlicedSums;

INLINE void add_sums(const SlicedSums *s, int row)
{
    static const float weights[LEVELS] = {1, 0x1p-8f, 0x1p-16f, 0x1p-24f};
    const int *sums = s->sums + row * LANES;
    V sum = ZERO();
    for (int level = LEVELS - 1; level >= 0; level--)
        sum = FMA(FLOAT_OF_U(U_LOAD(sums + level * LEVEL)), SET1(weights[level]), sum);
    float *to = s->to + row * LANES;
    STORE(to, FMA(sum, MUL(LOAD(s->columns), SET1(s->rows[row])), LOAD(to)));
}

#pragma GCC push_options
#pragma GCC target("amx-tile,amx-int8")

/* sums of a group of rows by one of columns; meanwhile, since tiles leave the vectors idle, those of the product before are
 * added and ``next``, a group's tiles, is asked for */
static __attribute__((noinline)) void multiply_slices(const char *rows, const char *columns, int *sums,
                                                      const SlicedSums *before, const char *next)
{
    finish_writing();
#define PRODUCT(turn, level, columns_slice)                                                                            \
    _tile_dpbssd(level, 7, columns_slice);                                                                             \
    if (turn < before->count)                                                                                          \
        add_sums(before, turn);                                                                                        \
    for (int line = 0; line < GROUP_BYTES / TILE_ROWS; line += 64)                                                     \
        __builtin_prefetch(next + (turn) * GROUP_BYTES / TILE_ROWS + line, 0, 2);
#define KEEP(level) _tile_stored(level, sums + level * LEVEL, TILE_BYTES);
#define GO_ON(level)
#define STEP(turn, then)                                                                                               \
    _tile_loadd(4, columns, TILE_BYTES);                                                                               \
    _tile_loadd(5, columns + TILE_SIZE, TILE_BYTES);                                                                   \
    _tile_loadd(6, columns + 2 * TILE_SIZE, TILE_BYTES);                                                               \
    _tile_loadd(7, rows, TILE_BYTES);                                                                                  \
    PRODUCT(turn, 0, 4)                                                                                                \
    PRODUCT(turn + 1, 1, 5)                                                                                            \
    PRODUCT(turn + 2, 2, 6) then(0);                                                                                   \
    _tile_loadd(7, rows + TILE_SIZE, TILE_BYTES);                                                                      \
    PRODUCT(turn + 3, 1, 4)                                                                                            \
    PRODUCT(turn + 4, 2, 5)                                                                                            \
    PRODUCT(turn + 5, 3, 6) then(1);                                                                                   \
    _tile_loadd(7, rows + 2 * TILE_SIZE, TILE_BYTES);                                                                  \
    PRODUCT(turn + 6, 2, 4)                                                                                            \
    PRODUCT(turn + 7, 3, 5) then(2); then(3);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    STEP(0, GO_ON)
    rows += SLICES * TILE_SIZE;
    columns += SLICES * TILE_SIZE;
    STEP(8, KEEP)
#undef STEP
#undef GO_ON
#undef KEEP
#undef PRODUCT
}

#pragma GCC pop_options

/* what is needed after a product of these groups: weights that come from memory are asked for as early as that takes */
static const char *needed_next(const Slices *rows, long groups, const Slices *columns, long g, long c, long b)
{
    if (groups == 1)
        return tiles_of(columns, c, b) + WEIGHTS_AHEAD;
    return g + 1 < groups ? tiles_of(rows, g + 1, b) : tiles_of(rows, 0, b + 1);
}

/* sums [2, SLICED_ROWS, 16] = ``count`` rows by one group of columns or two, which end before ``end`` */
static void multiply_panel_slices(const Slices *rows, long count, const Slices *columns, long first, long end, float *sums)
{
    int products[2][LEVELS * LEVEL] __attribute__((aligned(64)));
    const long groups = sliced_groups(count);
    SlicedSums before = {0};
    int turn = 0;
    for (long c = first; c < end; c++)
        memset(sums + (c - first) * SLICED_ROWS * LANES, 0, count * LANES * sizeof(float));
    for (long b = 0; b < rows->blocks; b++)
        for (long g = 0; g < groups; g++)
            for (long c = first; c < end; c++, turn ^= 1) {
                if (groups > 1)
                    ask_for_next(tiles_of(columns, c, b + 1), GROUP_BYTES, g, 1, groups);
                multiply_slices(tiles_of(rows, g, b), tiles_of(columns, c, b), products[turn], &before,
                                needed_next(rows, groups, columns, g, c, b));
                before = (SlicedSums){products[turn], scales_of(rows, g, b), scales_of(columns, c, b),
                                      sums + ((c - first) * SLICED_ROWS + g * TILE_ROWS) * LANES,
                                      at_most(count - g * TILE_ROWS, TILE_ROWS)};
            }
    for (int r = 0; r < before.count; r++)
        add_sums(&before, r);
}

/* the same as gemm, with what pack_slices makes of weights; ``scratch`` has room for slices of SLICED_ROWS rows */
static void gemm_slices(const float *x, const Slices *weights, const IntegerScratch *scratch, long rows, long depth,
                        const Epilogue *e)
{
    float sums[2 * SLICED_ROWS * LANES] __attribute__((aligned(64)));
    const Slices left = {scratch->slices, scratch->scales, weights->blocks, 0};
    /* of few rows' products, weights pass one after the other */
    const long count = sliced_groups(e->columns), together = rows > TILE_ROWS ? 2 : 1;
    configure_tiles();
    for (long first = 0; first < rows; first += SLICED_ROWS) {
        const long here = at_most(rows - first, SLICED_ROWS);
#pragma omp for schedule(static)
        for (long group = 0; group < sliced_groups(here); group++)
            slice_group(x + first * depth, depth, here, depth, 0, group, &left);
#pragma omp for schedule(static)
        for (long c = 0; c < count; c += together) {
            multiply_panel_slices(&left, here, weights, c, at_most(c + together, count), sums);
            for (long r = 0; r < here; r++)
                for (long half = 0; half < together; half++)
                    apply_epilogue(LOAD(sums + (half * SLICED_ROWS + r) * LANES), e, first + r, (c + half) * LANES);
        }
    }
    release_tiles();
}
