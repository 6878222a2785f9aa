/* Float products from slices (slices.h, after which it is included). Of the nine products of two numbers' slices, that of the
 * two last ones is far below the rounding error and left out; the others are summed exactly over 128 inputs, so a row's result
 * never depends on its batch. Batches take 0.44 (base size) to 0.62 (long texts) of their time with AVX-512. */

#define SLICED_ROWS (4 * MC) /* rows multiplied by all columns before the next rows */
#define LEVELS 4             /* of sums: the product of slices i and j is added to level i + j */
#define LEVEL (TILE_ROWS * LANES)
#define SLICES_PREFETCH_AHEAD (8 * GROUP_BYTES)

/* exact sums over 128 inputs for a group of 16 rows and one of 16 columns, their scales, and the floats to add them to */
typedef struct {
    const int *sums;             /* [LEVELS, 16, 16] */
    const float *rows, *columns; /* scales [16] */
    float *to;                   /* [count, 16] */
    long count;                  /* rows of the group; 0 while there are no sums yet */
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

/* sums of a group of rows by one of columns; since AMX leaves the vector units idle, the sums of the previous product are
 * added meanwhile, and ``next``, a group's tiles, is prefetched */
static __attribute__((noinline)) void multiply_slices(const char *rows, const char *columns, int *sums,
                                                      const SlicedSums *before, const char *next)
{
    compiler_barrier();
#define PRODUCT(turn, level, columns_slice)                                                                            \
    _tile_dpbssd(level, 7, columns_slice);                                                                             \
    if (turn < before->count)                                                                                          \
        add_sums(before, turn);                                                                                        \
    for (int line = 0; line < GROUP_BYTES / TILE_ROWS; line += 64)                                                     \
        __builtin_prefetch(next + (turn) * GROUP_BYTES / TILE_ROWS + line, 0, 2);
#define KEEP(level) _tile_stored(level, sums + level * LEVEL, TILE_BYTES);
#define SKIP(level)
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
    STEP(0, SKIP)
    rows += SLICES * TILE_SIZE;
    columns += SLICES * TILE_SIZE;
    STEP(8, KEEP)
#undef STEP
#undef SKIP
#undef KEEP
#undef PRODUCT
}

#pragma GCC pop_options

/* the tiles to prefetch during a product of these groups: weights that come from memory are needed farther ahead */
static const char *next_tiles(const Slices *rows, long groups, const Slices *columns, long g, long c, long b)
{
    if (groups == 1)
        return tiles_of(columns, c, b) + SLICES_PREFETCH_AHEAD;
    return g + 1 < groups ? tiles_of(rows, g + 1, b) : tiles_of(rows, 0, b + 1);
}

/* sums [2, SLICED_ROWS, 16] = ``count`` rows by the one or two groups of columns from ``first`` to before ``end`` */
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
                    prefetch_share(tiles_of(columns, c, b + 1), GROUP_BYTES, g, 1, groups);
                multiply_slices(tiles_of(rows, g, b), tiles_of(columns, c, b), products[turn], &before,
                                next_tiles(rows, groups, columns, g, c, b));
                before = (SlicedSums){products[turn], scales_of(rows, g, b), scales_of(columns, c, b),
                                      sums + ((c - first) * SLICED_ROWS + g * TILE_ROWS) * LANES,
                                      at_most(count - g * TILE_ROWS, TILE_ROWS)};
            }
    for (int r = 0; r < before.count; r++)
        add_sums(&before, r);
}

/* gemm with weights packed by pack_slices; ``scratch`` holds the slices of SLICED_ROWS rows */
static void gemm_slices(const float *x, const Slices *weights, const IntegerScratch *scratch, long rows, long depth,
                        const Epilogue *e)
{
    float sums[2 * SLICED_ROWS * LANES] __attribute__((aligned(64)));
    const Slices left = {scratch->slices, scratch->scales, weights->blocks, 0};
    /* for few rows, groups of columns one by one, so that weights are read in order */
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
