/* Products of floats by AMX's products of 8-bit integers: the Ozaki scheme (Ootomo, Ozaki, Yokota: DGEMM on Integer Matrix
 * Multiplication Unit, 2024). Of each 128 inputs of a row, numbers are rounded to 24 bits of the largest and cut into three
 * slices of 8: x = scale * (s0 * 2^16 + s1 * 2^8 + s2). Of the nine products of slices, the three smallest lie below what
 * was rounded away; the sums of the six others are exact, so a row's answer is bitwise its own. Included after weight_gradient.h. */

#define SLICES 3
#define SLICED_INPUTS (2 * TILE_BYTES) /* that share a scale: two tiles side by side */
#define LARGEST_INTEGER (127 * 65536.0f)
#define TILE_SIZE (TILE_ROWS * TILE_BYTES)
#define SLICED_ROWS (4 * MC) /* that pass all panels at a time */
/* tiles [2, SLICES] of 16 rows' inputs that share scales; sums [2 halves of a panel, SLICES] of their products */
#define GROUP_BYTES (2 * SLICES * TILE_SIZE)
#define SUMS (2 * SLICES * TILE_ROWS * LANES)

/* blocks of inputs that share a scale */
static inline long sliced_blocks(long depth) { return (depth + SLICED_INPUTS - 1) / SLICED_INPUTS; }

/* memory of rows' slices and of their scales */
static inline long sliced_bytes(long rows, long depth) { return upto(rows, TILE_ROWS) / TILE_ROWS * sliced_blocks(depth) * GROUP_BYTES; }
static inline long sliced_scales(long rows, long depth) { return upto(rows, TILE_ROWS) * sliced_blocks(depth); }

static void transpose_tile(char *tile)
{
    __m512i lines[TILE_ROWS];
    for (int i = 0; i < TILE_ROWS; i++)
        lines[i] = U_LOAD(tile + i * TILE_BYTES);
    transpose_words(lines);
    for (int i = 0; i < TILE_ROWS; i++)
        U_STORE(tile + i * TILE_BYTES, lines[i]);
}

/* lines of tiles [2, SLICES] of a row's ``count`` inputs, zeros behind them; returns their scale, NaN if one is infinite or none */
static float slice_inputs(const float *x, long count, char *line)
{
    V most = SET1(1e-30f), wrong = ZERO();
    for (long k = 0; k < at_most(count, SLICED_INPUTS); k += LANES) {
        const V number = load_partial(x + k, count - k);
        most = MAX(most, MAX(number, SUB(ZERO(), number)));
        wrong = FMA(number, ZERO(), wrong);
    }
    const float largest = REDUCE_MAX(most);
    const V factor = SET1(LARGEST_INTEGER / largest);
    const U rounding = U_SET1(0x8080); /* slices are signed: what is 128 or more counts in the one before */
    for (long k = 0; k < SLICED_INPUTS; k += LANES) {
        const V number = k < count ? load_partial(x + k, count - k) : ZERO();
        const U slices = U_XOR(U_ADD(U_OF_FLOAT(MUL(number, factor)), rounding), rounding);
        char *to = line + k / TILE_BYTES * SLICES * TILE_SIZE + k % TILE_BYTES;
        STORE_LOW_BYTES(to, U_SHR(slices, 16));
        STORE_LOW_BYTES(to + TILE_SIZE, U_SHR(slices, 8));
        STORE_LOW_BYTES(to + 2 * TILE_SIZE, slices);
    }
    return largest / LARGEST_INTEGER + REDUCE_ADD(wrong);
}

/* groups [blocks] of tiles, and scales [blocks, 16], ``to_next`` bytes and ``scale_to_next`` scales apart, of up to 16 rows */
static void slice_rows(const float *x, long stride, long rows, long depth, char *tiles, long to_next, float *scales,
                       long scale_to_next)
{
    for (long b = 0; b < sliced_blocks(depth); b++, tiles += to_next, scales += scale_to_next)
        for (long r = 0; r < rows; r++) {
            const long k = b * SLICED_INPUTS;
            scales[r] = slice_inputs(x + r * stride + k, depth - k, tiles + r * TILE_BYTES);
        }
}

/* panels [columns / NR, blocks, 2] of groups of tiles, whose lines hold 4 inputs of 16 columns, and scales
 * [columns / NR, blocks, NR] of weights [columns, depth]; memory must be zero where there are no columns */
void NAME(pack_slices)(const float *weights, long columns, long depth, char *panels, float *scales, int threads)
{
    const long blocks = sliced_blocks(depth);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long first = 0; first < columns; first += LANES) {
        const long half = first / NR * blocks * 2 + first % NR / LANES;
        char *tiles = panels + half * GROUP_BYTES;
        slice_rows(weights + first * depth, depth, at_most(columns - first, LANES), depth, tiles, 2 * GROUP_BYTES,
                   scales + half * LANES, NR);
        for (long b = 0; b < blocks; b++)
            for (long t = 0; t < 2 * SLICES; t++)
                transpose_tile(tiles + 2 * b * GROUP_BYTES + t * TILE_SIZE);
    }
}

/* what a group of rows gives with a panel over 128 inputs: exact sums, what they mean, and what they are added to */
typedef struct {
    const int *sums;             /* [2, SLICES, 16, LANES] */
    const float *rows, *columns; /* scales [16], [NR] */
    float *to;                   /* [16, NR], or a null pointer where there is nothing to add */
} SlicedSums;

INLINE void add_sums(const SlicedSums *s, int first, int end)
{
    if (!s->to)
        return;
    for (int r = first; r < end; r++)
        for (int half = 0; half < 2; half++) {
            const int *sums = s->sums + half * SUMS / 2 + r * LANES;
            float *to = s->to + r * NR + half * LANES;
            V sum = MUL(FLOAT_OF_U(U_LOAD(sums + 2 * TILE_ROWS * LANES)), SET1(0x1p16f));
            sum = FMA(FLOAT_OF_U(U_LOAD(sums + TILE_ROWS * LANES)), SET1(0x1p24f), sum);
            sum = FMA(FLOAT_OF_U(U_LOAD(sums)), SET1(0x1p32f), sum);
            STORE(to, FMA(sum, MUL(LOAD(s->columns + half * LANES), SET1(s->rows[r])), LOAD(to)));
        }
}

#pragma GCC push_options
#pragma GCC target("amx-tile,amx-int8")

/* sums of a group of rows times that of a panel; meanwhile those of the product before are added, since tiles leave the
 * vectors idle */
static __attribute__((noinline)) void multiply_slices(const char *a, const char *panel, int *sums, const SlicedSums *before)
{
    __asm__ volatile("" ::: "memory");
/* a slice of the rows lies in tile 6, one of each half of the panel comes into tile 7 */
#define PRODUCTS(turn, slice, left, right)                                                                             \
    _tile_loadd(7, panel + (slice) * TILE_SIZE, TILE_BYTES);                                                           \
    _tile_dpbssd(left, 6, 7);                                                                                          \
    _tile_loadd(7, panel + GROUP_BYTES + (slice) * TILE_SIZE, TILE_BYTES);                                             \
    _tile_dpbssd(right, 6, 7);                                                                                         \
    add_sums(before, (turn) * TILE_ROWS / 12, ((turn) + 1) * TILE_ROWS / 12);
#define STEP(turn)                                                                                                     \
    _tile_loadd(6, a, TILE_BYTES);                                                                                     \
    PRODUCTS(turn, 0, 0, 3)                                                                                            \
    PRODUCTS(turn + 1, 1, 1, 4)                                                                                        \
    PRODUCTS(turn + 2, 2, 2, 5)                                                                                        \
    _tile_loadd(6, a + TILE_SIZE, TILE_BYTES);                                                                         \
    PRODUCTS(turn + 3, 0, 1, 4)                                                                                        \
    PRODUCTS(turn + 4, 1, 2, 5)                                                                                        \
    _tile_loadd(6, a + 2 * TILE_SIZE, TILE_BYTES);                                                                     \
    PRODUCTS(turn + 5, 0, 2, 5)
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    STEP(0)
    a += SLICES * TILE_SIZE;
    panel += SLICES * TILE_SIZE;
    STEP(6)
#undef STEP
#undef PRODUCTS
    _tile_stored(0, sums, TILE_BYTES);
    _tile_stored(1, sums + 256, TILE_BYTES);
    _tile_stored(2, sums + 512, TILE_BYTES);
    _tile_stored(3, sums + 768, TILE_BYTES);
    _tile_stored(4, sums + 1024, TILE_BYTES);
    _tile_stored(5, sums + 1280, TILE_BYTES);
}

#pragma GCC pop_options

/* rows of ``sums`` [groups, 16, NR] = those of groups of tiles, all blocks one after the other, times a panel */
static void multiply_panel_slices(const char *a, const float *scales, long groups, long blocks, const char *panel,
                                  const float *panel_scales, float *sums)
{
    int products[2][SUMS] __attribute__((aligned(64)));
    SlicedSums before = {0};
    memset(sums, 0, groups * TILE_ROWS * NR * sizeof(float));
    for (long b = 0, turn = 0; b < blocks; b++)
        for (long g = 0; g < groups; g++, turn ^= 1) {
            const long place = g * blocks + b;
            multiply_slices(a + place * GROUP_BYTES, panel + 2 * b * GROUP_BYTES, products[turn], &before);
            before = (SlicedSums){products[turn], scales + place * TILE_ROWS, panel_scales + b * NR, sums + g * TILE_ROWS * NR};
        }
    add_sums(&before, 0, TILE_ROWS);
}

/* the same as gemm, with what pack_slices makes of weights */
static void gemm_slices(const float *x, const char *panels, const float *panel_scales, const IntegerScratch *scratch,
                        long rows, long depth, const Epilogue *e)
{
    const long count = (e->columns + NR - 1) / NR, blocks = sliced_blocks(depth);
    float sums[SLICED_ROWS * NR] __attribute__((aligned(64)));
    configure_tiles();
    for (long first = 0; first < rows; first += SLICED_ROWS) {
        const long here = at_most(rows - first, SLICED_ROWS), groups = upto(here, TILE_ROWS) / TILE_ROWS;
#pragma omp for schedule(static)
        for (long g = 0; g < groups; g++)
            slice_rows(x + (first + g * TILE_ROWS) * depth, depth, at_most(here - g * TILE_ROWS, TILE_ROWS), depth,
                       scratch->slices + g * blocks * GROUP_BYTES, GROUP_BYTES, scratch->scales + g * blocks * TILE_ROWS, TILE_ROWS);
#pragma omp for schedule(static)
        for (long p = 0; p < count; p++) {
            multiply_panel_slices(scratch->slices, scratch->scales, groups, blocks, panels + 2 * p * blocks * GROUP_BYTES,
                                  panel_scales + p * blocks * NR, sums);
            for (long r = 0; r < here; r++)
                for (long c = 0; c < NR; c += LANES)
                    apply_epilogue(LOAD(sums + r * NR + c), e, first + r, p * NR + c);
        }
    }
    release_tiles();
}
