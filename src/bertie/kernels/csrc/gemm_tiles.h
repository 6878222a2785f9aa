/* Products of 8-bit integers by AMX: an instruction multiplies 16 rows of 64 bytes by 64 x 16 weights, in the panels of
 * gemm_int8.h, after which it is included. The sums are the same integers, so results are bitwise the same. A batch of 1,024
 * tokens takes 0.6 (texts of 32 tokens) to 0.7 (256) of its time without AMX. */

#define TILE_ROWS 16
#define TILE_BYTES 64
#define BLOCK_ROWS (2 * TILE_ROWS)

/* whether the processor has AMX and the system lets this process use it: set by cpu_features.c */
extern int bertie_has_tiles, bertie_has_bfloat16_tiles;

#pragma GCC push_options
#pragma GCC target("amx-tile,amx-int8")

/* eight tiles of 16 rows of 64 bytes, for the calling thread until it releases them */
static void configure_tiles(void)
{
    static const struct {
        unsigned char palette, start_row, reserved[14];
        unsigned short row_bytes[16];
        unsigned char rows[16];
    } config = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&config);
}

static void release_tiles(void) { _tile_release(); }

/* compilers do not know that tiles are loaded from memory, and might drop the stores of their contents */
static inline void compiler_barrier(void) { __asm__ volatile("" ::: "memory"); }

/* sums [BLOCK_ROWS, NR] = a . panel, or only the first TILE_ROWS rows unless ``whole``; rows of ``a`` are ``stride`` apart */
INLINE void multiply_tiles(const int whole, const char *a, long stride, const char *panel, long depth, int *sums)
{
    _tile_zero(0);
    _tile_zero(1);
    if (whole) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (long k = 0; k < depth; k += TILE_BYTES, panel += TILE_BYTES * NR) {
        _tile_loadd(4, a + k, stride);
        _tile_loadd(6, panel, 4 * NR);
        _tile_dpbusd(0, 4, 6);
        _tile_loadd(7, panel + TILE_BYTES, 4 * NR);
        _tile_dpbusd(1, 4, 7);
        if (whole) {
            _tile_loadd(5, a + TILE_ROWS * stride + k, stride);
            _tile_dpbusd(2, 5, 6);
            _tile_dpbusd(3, 5, 7);
        }
    }
    _tile_stored(0, sums, 4 * NR);
    _tile_stored(1, sums + LANES, 4 * NR);
    if (whole) {
        _tile_stored(2, sums + TILE_ROWS * NR, 4 * NR);
        _tile_stored(3, sums + TILE_ROWS * NR + LANES, 4 * NR);
    }
}

/* not inlined: its callers are not compiled for AMX */
static __attribute__((noinline)) void multiply_block(long rows, const char *a, long stride, const char *panel, long depth,
                                                     int *sums)
{
    compiler_barrier();
    if (rows > TILE_ROWS)
        multiply_tiles(1, a, stride, panel, depth, sums);
    else
        multiply_tiles(0, a, stride, panel, depth, sums);
}

#pragma GCC pop_options

/* quantize_row to bytes without gaps, for a depth that is a multiple of LANES */
static RowQuant quantize_bytes(const float *x, long depth, const QuantParams *params, char *q)
{
    const RowQuant row = row_quant(x, depth, params);
    const V factor = SET1(1 / row.scale);
    const U zero = U_SET1(row.zero_point);
    for (long k = 0; k < depth; k += LANES) {
        const V number = params->smooth ? MUL(LOAD(x + k), LOAD(params->smooth + k)) : LOAD(x + k);
        STORE_BYTES(q + k, U_MAX(U_ADD(U_OF_FLOAT(MUL(number, factor)), zero), U_SET1(0)));
    }
    return row;
}

/* prefetch the shares ``from`` to ``from + count`` of ``all`` of the next panel of ``size`` bytes */
static void prefetch_share(const char *panel, long size, long from, long count, long all)
{
    for (long i = from * size / all; i < (from + count) * size / all; i += 64)
        __builtin_prefetch(panel + i, 0, 2);
}

/* prefetch a block's outputs and residuals, which arrive while the product is computed */
static void prefetch_outputs(const Epilogue *e, long row, long rows, long column)
{
    for (long r = row; r < row + rows; r++)
        for (long offset = r * e->columns + column, c = 0; c < NR; c += LANES) {
            __builtin_prefetch(e->y + offset + c, 1);
            if (e->residual)
                __builtin_prefetch(e->residual + offset + c);
        }
}

/* the rows of a single microkernel are bound by reading weights, which gemm_int8 prefetches earlier; the depth must fill whole
 * tiles */
static int tiles_are_faster(long rows, long depth, long bits)
{
    return bertie_has_tiles && bits == 8 && rows > MR && depth % TILE_BYTES == 0;
}

/* with more rows than this, each block prefetches its share of the next panel; the larger shares of fewer blocks would stall the
 * core, and 32 tokens would take 1.4 times as long */
#define PREFETCH_ROWS (4 * BLOCK_ROWS)

/* gemm_int8, by AMX */
static void gemm_tiles(const float *x, const char *panels, const IntegerScratch *scratch, long rows, long depth,
                       const Scales *s, const QuantParams *params, const Epilogue *e)
{
    /* padded: rows a power of 2 apart would compete for the same few sets of the cache */
    const long count = (e->columns + NR - 1) / NR, stride = depth + TILE_BYTES, size = depth * NR;
    int sums[BLOCK_ROWS * NR] __attribute__((aligned(64)));
    configure_tiles();
    for (long first = 0; first < rows; first += 4 * MC) {
        const long end = at_most(first + 4 * MC, rows);
#pragma omp for schedule(static)
        for (long row = first; row < end; row++)
            scratch->rows[row] = quantize_bytes(x + row * depth, depth, params, scratch->q + row * stride);
#pragma omp for schedule(static) nowait
        for (long p = 0; p < count; p++)
            for (long top = first; top < end; top += BLOCK_ROWS) {
                const long here = at_most(end - top, BLOCK_ROWS);
                if (end - first > PREFETCH_ROWS)
                    prefetch_share(panels + (p + 1) * size, size, top - first, here, end - first);
                prefetch_outputs(e, top, here, p * NR);
                multiply_block(here, scratch->q + top * stride, stride, panels + p * size, depth, sums);
                for (long r = 0; r < here; r++)
                    for (long c = 0; c < NR; c += LANES) {
                        const V number = dequantize(8, U_LOAD(sums + r * NR + c), s, top + r, p * NR + c);
                        apply_epilogue(number, e, top + r, p * NR + c);
                    }
            }
    }
    release_tiles();
#pragma omp barrier
}
