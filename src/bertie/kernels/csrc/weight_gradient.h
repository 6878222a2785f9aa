/* The gradient of a layer's weights from bfloat16 rows, in float32, by AMX: an instruction adds the product of 16 x 32 and
 * 32 x 16 numbers to 16 x 16 sums. Included after gemm_tiles.h. oneDNN's product takes a fifth of a training step of BERT in
 * bfloat16, at 40 % of the speed of its forward product, because tokens are contiguous in neither operand. */

#define TILE_TOKENS 32 /* summed over by one instruction */
/* how much of both operands is packed at a time, so that it stays in a core's cache */
#define BLOCK_TOKENS 1024
#define BLOCK_WIDTH 384
#define TILE_WORDS (16 * 16)

/* words [16, 16]: in row i, for each of 16 columns, the numbers of tokens 2 i and 2 i + 1 of x; zeros for missing ones */
static void pair_tokens(const Bfloat16 *x, long stride, long tokens, long columns, __m512i words[16])
{
    const __mmask16 inside = columns >= 16 ? 0xffff : (1u << (columns > 0 ? columns : 0)) - 1;
    for (long i = 0; i < 16; i++) {
        const __m256i none = _mm256_setzero_si256();
        __m256i first = 2 * i < tokens ? _mm256_maskz_loadu_epi16(inside, x + 2 * i * stride) : none;
        __m256i second = 2 * i + 1 < tokens ? _mm256_maskz_loadu_epi16(inside, x + (2 * i + 1) * stride) : none;
        words[i] = _mm512_or_si512(_mm512_cvtepu16_epi32(first), U_SHL(_mm512_cvtepu16_epi32(second), 16));
    }
}

/* transpose 16 x 16 words in place: interleave pairs of rows, then pairs of 64 bits, then permute quarters of rows */
static void transpose_words(__m512i r[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    for (int i = 0; i < 8; i++) {
        const int a = i / 4 * 8 + i % 4;
        t[a] = _mm512_shuffle_i32x4(r[a], r[a + 4], 0x88);
        t[a + 4] = _mm512_shuffle_i32x4(r[a], r[a + 4], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

/* panels [width / 32, tokens / 32, 2] of tiles of x [tokens, width], rows ``stride`` apart, transposed for a left operand; run
 * by a team of threads, which read along rows */
static void pack_tiles(const Bfloat16 *x, long stride, long tokens, long width, int transposed, int *panels)
{
    const long count = (tokens + TILE_TOKENS - 1) / TILE_TOKENS;
    __m512i words[16];
#pragma omp for schedule(static)
    for (long t = 0; t < count; t++)
        for (long c = 0; c < upto(width, 32); c += 16) {
            int *tile = panels + (c / 32 * count * 2 + t * 2 + c % 32 / 16) * TILE_WORDS;
            pair_tokens(x + t * TILE_TOKENS * stride + c, stride, tokens - t * TILE_TOKENS, width - c, words);
            if (transposed)
                transpose_words(words);
            for (int i = 0; i < 16; i++)
                U_STORE(tile + 16 * i, words[i]);
        }
}

/* the strides of a left operand of 32 rows, in bytes: from row to row, to the next 32 columns, to the lower 16 rows */
typedef struct {
    long row, step, lower;
} Layout;

static const Layout TILES = {64, 2 * TILE_WORDS * 4, TILE_WORDS * 4};

/* the layout of contiguous rows of ``width`` numbers */
static inline Layout rows_of(long width) { return (Layout){2 * width, 64, 32 * width}; }

#pragma GCC push_options
#pragma GCC target("amx-tile,amx-bf16")

/* sums [32, 32], rows ``stride`` apart = a [32, 32 * count] . b, which is packed in tiles */
static __attribute__((noinline)) void multiply_bfloat16(const void *a, const Layout *at, const int *b, long count,
                                                        float *sums, long stride)
{
    const char *from = a;
    compiler_barrier();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (long k = 0; k < count; k++, from += at->step, b += 2 * TILE_WORDS) {
        _tile_loadd(4, from, at->row);
        _tile_loadd(6, b, 64);
        _tile_loadd(5, from + at->lower, at->row);
        _tile_loadd(7, b + TILE_WORDS, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, 4 * stride);
    _tile_stored(1, sums + 16, 4 * stride);
    _tile_stored(2, sums + 16 * stride, 4 * stride);
    _tile_stored(3, sums + 16 * stride + 16, 4 * stride);
}

#pragma GCC pop_options

/* up to 32 x 32 numbers of dw from [row, column] on: overwritten, or added to if ``adds`` */
static void gradient_tile(const WeightGradient *g, long row, long column, const int *a, const int *b, long count, int adds)
{
    float sums[32 * 32] __attribute__((aligned(64)));
    const long rows = at_most(g->columns - row, 32), width = at_most(g->depth - column, 32);
    multiply_bfloat16(a, &TILES, b, count, sums, 32);
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < width; c += LANES) {
            float *to = g->dw + (row + r) * g->depth + column + c;
            const V sum = LOAD(sums + 32 * r + c);
            store_partial(to, adds ? ADD(sum, load_partial(to, width - c)) : sum, width - c);
        }
}

/* run by a team of threads */
static void gradient_blocks(const WeightGradient *g, int *a, int *b)
{
    configure_tiles();
    for (long token = 0; token < g->rows; token += BLOCK_TOKENS) {
        const long tokens = at_most(g->rows - token, BLOCK_TOKENS), count = (tokens + TILE_TOKENS - 1) / TILE_TOKENS;
        const long panel = count * 2 * TILE_WORDS;
        for (long column = 0; column < g->depth; column += BLOCK_WIDTH) {
            const long width = at_most(g->depth - column, BLOCK_WIDTH);
            pack_tiles(g->x + token * g->depth + column, g->depth, tokens, width, 0, b);
            for (long row = 0; row < g->columns; row += BLOCK_WIDTH) {
                const long rows = at_most(g->columns - row, BLOCK_WIDTH);
                pack_tiles(g->dy + token * g->columns + row, g->columns, tokens, rows, 1, a);
#pragma omp for schedule(static)
                for (long r = 0; r < rows; r += 32)
                    for (long c = 0; c < width; c += 32)
                        gradient_tile(g, row + r, column + c, a + r / 32 * panel, b + c / 32 * panel, count, token > 0);
            }
        }
    }
    release_tiles();
}

int NAME(weight_gradient)(const WeightGradient *g, int threads)
{
    const long size = upto(at_most(g->rows, BLOCK_TOKENS), TILE_TOKENS) * BLOCK_WIDTH / 2;
    int *memory = aligned_memory((2 * size + 16) * sizeof(int));
    if (!memory)
        return NO_MEMORY;
#pragma omp parallel num_threads(threads) if (threads > 1)
    gradient_blocks(g, memory, memory + size);
    free(memory);
    return OK;
}
