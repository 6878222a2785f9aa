/* Numbers as three 8-bit integers, whose products AMX can sum exactly: the Ozaki scheme (Ootomo, Ozaki, Yokota: DGEMM on
 * Integer Matrix Multiplication Unit, 2024). Of each 128 inputs of a row, or of a column, numbers are rounded to 24 bits of the
 * largest and cut into slices: x = scale * (s0 + s1 / 2^8 + s2 / 2^16). Included after weight_gradient.h. */

#define SLICES 3
#define SLICED_INPUTS (2 * TILE_BYTES) /* that share a scale: two tiles side by side */
#define LARGEST_SLICE 127
#define UNITS 0x1p16f /* of the last slice in one of the first */
#define TILE_SIZE (TILE_ROWS * TILE_BYTES)
#define GROUP_BYTES (2 * SLICES * TILE_SIZE) /* tiles [2, SLICES] of 16 rows', or columns', inputs that share scales */

/* a matrix of [count, depth] in slices: groups [count / 16, blocks] of tiles, and their scales, 16 each. A line of a tile has
 * inputs of one row, or of columns 4 inputs of each. */
typedef struct {
    char *tiles;
    float *scales;
    long blocks; /* of inputs that share a scale */
    int of_columns;
} Slices;

static inline long sliced_blocks(long depth) { return (depth + SLICED_INPUTS - 1) / SLICED_INPUTS; }

static inline long sliced_groups(long count) { return (count + TILE_ROWS - 1) / TILE_ROWS; }

static inline char *tiles_of(const Slices *s, long group, long block)
{
    return s->tiles + (group * s->blocks + block) * GROUP_BYTES;
}

static inline float *scales_of(const Slices *s, long group, long block)
{
    return s->scales + (group * s->blocks + block) * TILE_ROWS;
}

/* of numbers whose largest has these bits; NaN if that is infinite or none */
static inline float slicing_scale(int bits)
{
    float largest;
    memcpy(&largest, &bits, sizeof(largest));
    return largest < INFINITY ? fmaxf(largest, 1e-30f) / LARGEST_SLICE : NAN;
}

/* as integers, numbers' sizes compare as they do, and what is no number is larger than all */
INLINE U size_bits(V number) { return _mm512_castps_si512(_mm512_abs_ps(number)); }

/* slices [SLICES] of 4 vectors of numbers: a word has a byte of each, so inputs are in an order of their own */
INLINE void cut(const V *numbers, V factor, U slices[SLICES])
{
    const U rounding = U_SET1(0x8080); /* slices are signed: what is 128 or more counts in the one before */
    U n[4];
    for (int i = 0; i < 4; i++)
        n[i] = U_XOR(U_ADD(U_OF_FLOAT(MUL(numbers[i], factor)), rounding), rounding);
#define WITH_BYTE(word, byte, from) _mm512_mask_mov_epi8(word, 0x1111111111111111 << byte, from)
#define WORD(a, b, c, d) WITH_BYTE(WITH_BYTE(WITH_BYTE(a, 1, b), 2, c), 3, d)
    slices[0] = WORD(U_SHR(n[0], 16), U_SHR(n[1], 8), n[2], U_SHL(n[3], 8));
    slices[1] = WORD(U_SHR(n[0], 8), n[1], U_SHL(n[2], 8), U_SHL(n[3], 16));
    slices[2] = WORD(n[0], U_SHL(n[1], 8), U_SHL(n[2], 16), U_SHL(n[3], 24));
#undef WORD
#undef WITH_BYTE
}

INLINE void store_slices(const U slices[SLICES], int step, char *line)
{
    for (int s = 0; s < SLICES; s++)
        U_STORE(line + (step * SLICES + s) * TILE_SIZE, slices[s]);
}

/* a line of each of a group's tiles: up to 128 inputs that lie side by side, zeros behind them; returns their scale */
static float slice_side_by_side(const float *x, long count, char *line)
{
    V numbers[SLICED_INPUTS / LANES];
    U most = U_SET1(0), slices[SLICES];
    for (int i = 0; i < SLICED_INPUTS / LANES; i++) {
        numbers[i] = i * LANES < count ? load_partial(x + i * LANES, count - i * LANES) : ZERO();
        most = U_MAX(most, size_bits(numbers[i]));
    }
    const float scale = slicing_scale(_mm512_reduce_max_epi32(most));
    for (int step = 0; step < 2; step++) {
        cut(numbers + step * TILE_BYTES / LANES, SET1(UNITS / scale), slices);
        store_slices(slices, step, line);
    }
    return scale;
}

/* a group's tiles, a line for 4 inputs of up to 16 columns, and its scales; inputs lie one below the other, ``stride`` apart */
static void slice_one_below_another(const float *x, long stride, long columns, long count, char *tiles, float *scales)
{
    V numbers[SLICED_INPUTS]; /* side by side: where they lie, they may share few places of the cache */
    U most = U_SET1(0), slices[SLICES];
    int bits[LANES];
    for (long k = 0; k < SLICED_INPUTS; k++) {
        numbers[k] = k < count ? load_partial(x + k * stride, columns) : ZERO();
        most = U_MAX(most, size_bits(numbers[k]));
        __builtin_prefetch(x + k * stride + TILE_ROWS, 0, 2); /* the columns after these */
    }
    U_STORE(bits, most);
    for (int i = 0; i < LANES; i++)
        scales[i] = slicing_scale(bits[i]);
    const V factor = DIV(SET1(UNITS), LOAD(scales));
    for (int line = 0; line < 2 * TILE_ROWS; line++) {
        const V *of_line = numbers + line / TILE_ROWS * TILE_BYTES + line % TILE_ROWS;
        const V four[] = {of_line[0], of_line[TILE_ROWS], of_line[2 * TILE_ROWS], of_line[3 * TILE_ROWS]};
        cut(four, factor, slices);
        store_slices(slices, line / TILE_ROWS, tiles + line % TILE_ROWS * TILE_BYTES);
    }
}

static void transpose_tiles(char *tiles)
{
    U lines[TILE_ROWS];
    for (char *tile = tiles; tile < tiles + GROUP_BYTES; tile += TILE_SIZE) {
        for (int i = 0; i < TILE_ROWS; i++)
            lines[i] = U_LOAD(tile + i * TILE_BYTES);
        transpose_words(lines);
        for (int i = 0; i < TILE_ROWS; i++)
            U_STORE(tile + i * TILE_BYTES, lines[i]);
    }
}

/* a group of slices of x, which is [count, depth], or [depth, count] where it ``is_transposed``, and has rows ``stride`` apart */
static void slice_group(const float *x, long stride, long count, long depth, int is_transposed, long group, const Slices *to)
{
    const long first = group * TILE_ROWS, here = at_most(count - first, TILE_ROWS);
    for (long b = 0; b < to->blocks; b++) {
        const long k = b * SLICED_INPUTS;
        char *tiles = tiles_of(to, group, b);
        float *scales = scales_of(to, group, b);
        if (is_transposed)
            slice_one_below_another(x + k * stride + first, stride, here, depth - k, tiles, scales);
        else
            for (long r = 0; r < here; r++)
                scales[r] = slice_side_by_side(x + (first + r) * stride + k, depth - k, tiles + r * TILE_BYTES);
        if (is_transposed != to->of_columns)
            transpose_tiles(tiles);
    }
}

/* the slices, and their scales, of weights [columns, depth] */
void NAME(pack_slices)(const float *weights, long columns, long depth, char *tiles, float *scales, int threads)
{
    const Slices to = {tiles, scales, sliced_blocks(depth), 1};
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long group = 0; group < sliced_groups(columns); group++)
        slice_group(weights, depth, columns, depth, 0, group, &to);
}
