/* Floats as three 8-bit integers, whose products AMX can sum exactly: the Ozaki scheme (Ootomo, Ozaki, Yokota: DGEMM on
 * Integer Matrix Multiplication Unit, 2024). Each block of 128 inputs of a row, or of a column, shares a scale: numbers are
 * rounded to 24 bits relative to the largest and split into slices, x = scale * (s0 + s1 / 2^8 + s2 / 2^16). Included after
 * weight_gradient.h. */

#define SLICES 3
#define SLICED_INPUTS (2 * TILE_BYTES) /* inputs that share a scale: two tiles */
#define LARGEST_SLICE 127
#define UNITS 0x1p16f /* of the last slice, in one unit of the first */
#define TILE_SIZE (TILE_ROWS * TILE_BYTES)
#define GROUP_BYTES (2 * SLICES * TILE_SIZE) /* tiles [2, SLICES]: a block of inputs of 16 rows, or columns */

/* a sliced matrix [count, depth]: groups [count / 16, blocks] of tiles, with 16 scales each. A line of a tile holds 64 inputs of
 * one row or, if ``of_columns``, 4 inputs of each of 16 columns. */
typedef struct {
    char *tiles;
    float *scales;
    long blocks; /* of SLICED_INPUTS inputs */
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

/* as integers, the bits of magnitudes compare like the magnitudes, and those of NaN are the largest */
INLINE U magnitude_bits(V number) { return _mm512_castps_si512(_mm512_abs_ps(number)); }

/* the scales for blocks whose largest magnitudes have these bits; NaN if that is infinite or NaN */
INLINE V slicing_scales(U bits)
{
    const V largest = _mm512_castsi512_ps(bits), scale = DIV(MAX(largest, SET1(1e-30f)), SET1(LARGEST_SLICE));
    return SELECT_LT(largest, SET1(INFINITY), scale, SET1(NAN));
}

/* split 4 vectors of numbers into slices: a word has a byte of each vector, which permutes inputs alike in both operands */
INLINE void slice_vectors(const V *numbers, V factor, U slices[SLICES])
{
    const U rounding = U_SET1(0x8080); /* slices are signed: 128 and more carry into the slice above */
    U n[4];
    for (int i = 0; i < 4; i++)
        n[i] = U_XOR(U_ADD(U_OF_FLOAT(MUL(numbers[i], factor)), rounding), rounding);
#define WITH_BYTE(word, byte, from) _mm512_mask_mov_epi8(word, 0x1111111111111111u << byte, from)
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

/* write a line of each of a group's tiles from up to 128 contiguous inputs, zero-padded; returns their scale */
static float slice_row(const float *x, long count, char *line)
{
    V numbers[SLICED_INPUTS / LANES];
    U largest = U_SET1(0), slices[SLICES];
    for (int i = 0; i < SLICED_INPUTS / LANES; i++) {
        numbers[i] = i * LANES < count ? load_partial(x + i * LANES, count - i * LANES) : ZERO();
        largest = U_MAX(largest, magnitude_bits(numbers[i]));
    }
    const V scale = slicing_scales(U_SET1(_mm512_reduce_max_epi32(largest)));
    for (int step = 0; step < 2; step++) {
        slice_vectors(numbers + step * TILE_BYTES / LANES, DIV(SET1(UNITS), scale), slices);
        store_slices(slices, step, line);
    }
    return _mm512_cvtss_f32(scale);
}

/* write a group's tiles, each line with 4 inputs of up to 16 columns, and its scales; a column's inputs are ``stride`` apart */
static void slice_columns(const float *x, long stride, long columns, long count, char *tiles, float *scales)
{
    V numbers[SLICED_INPUTS]; /* copied: rows a power of 2 apart compete for few sets of the cache */
    U largest = U_SET1(0), slices[SLICES];
    for (long k = 0; k < SLICED_INPUTS; k++) {
        numbers[k] = k < count ? load_partial(x + k * stride, columns) : ZERO();
        largest = U_MAX(largest, magnitude_bits(numbers[k]));
        __builtin_prefetch(x + k * stride + TILE_ROWS, 0, 2); /* the next columns */
    }
    const V scale = slicing_scales(largest), factor = DIV(SET1(UNITS), scale);
    STORE(scales, scale);
    for (int line = 0; line < 2 * TILE_ROWS; line++) {
        const V *first = numbers + line / TILE_ROWS * TILE_BYTES + line % TILE_ROWS;
        const V four[] = {first[0], first[TILE_ROWS], first[2 * TILE_ROWS], first[3 * TILE_ROWS]};
        slice_vectors(four, factor, slices);
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

/* slice a group of x [count, depth], or [depth, count] if ``is_transposed``, rows ``stride`` apart */
static void slice_group(const float *x, long stride, long count, long depth, int is_transposed, long group, const Slices *to)
{
    const long first = group * TILE_ROWS, here = at_most(count - first, TILE_ROWS);
    for (long b = 0; b < to->blocks; b++) {
        const long k = b * SLICED_INPUTS;
        char *tiles = tiles_of(to, group, b);
        float *scales = scales_of(to, group, b);
        if (is_transposed)
            slice_columns(x + k * stride + first, stride, here, depth - k, tiles, scales);
        else
            for (long r = 0; r < here; r++)
                scales[r] = slice_row(x + (first + r) * stride + k, depth - k, tiles + r * TILE_BYTES);
        if (is_transposed != to->of_columns)
            transpose_tiles(tiles);
    }
}

/* the slices of weights [columns, depth], and their scales */
void NAME(pack_slices)(const float *weights, long columns, long depth, char *tiles, float *scales, int threads)
{
    const Slices to = {tiles, scales, sliced_blocks(depth), 1};
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long group = 0; group < sliced_groups(columns); group++)
        slice_group(weights, depth, columns, depth, 0, group, &to);
}
