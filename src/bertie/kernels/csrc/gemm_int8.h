/* Products of 8-bit weights with rows that are rounded to integers of 8 or 16 bits, exact sums, and a scale for each row
 * and column; included after gemm.h. An instruction takes 4 bytes of a row at a time: 4 integers of 8 bits, where the set
 * of instructions has U_DOT_BYTES, or 2 of 16. */

/* how a row of numbers becomes integers: see QuantParams in gemm_int8.py */
typedef struct {
    long bits; /* 8: unsigned, 16: signed */
    float step;
    const float *smooth;
} QuantParams;

/* what a row's integers mean: number = scale * (integer - zero_point) */
typedef struct {
    float scale; /* NaN where a number of the row is infinite or none */
    int zero_point;
} RowQuant;

INLINE V smoothed(const float *x, const float *smooth, long k, long depth)
{
    const V number = load_partial(x + k, depth - k);
    return smooth ? MUL(number, load_partial(smooth + k, depth - k)) : number;
}

static RowQuant row_quant(const float *x, long depth, const QuantParams *params)
{
    V above = ZERO(), below = ZERO(), wrong = ZERO(); /* stays 0 unless a number is infinite or none */
    for (long k = 0; k < depth; k += LANES) {
        const V number = smoothed(x, params->smooth, k, depth);
        above = MAX(above, number);
        below = MIN(below, number);
        wrong = FMA(number, ZERO(), wrong);
    }
    float high = REDUCE_MAX(above), low = REDUCE_MAX(SUB(ZERO(), below));
    if (params->bits == 16) /* around 0 */
        high = low = high > low ? high : low;
    const float range = high + low > 1e-12f ? high + low : 1e-12f, scale = (range + REDUCE_ADD(wrong)) * params->step;
    return (RowQuant){scale, params->bits == 16 ? 0 : (int)lrintf(low / scale)};
}

/* q = round(x * smooth / scale) + zero_point, each 4 bytes of them ``stride`` behind the last */
static RowQuant quantize_row(const float *x, long depth, const QuantParams *params, char *q, long stride)
{
    const RowQuant row = row_quant(x, depth, params);
    const V factor = SET1(1 / row.scale);
    const U zero = U_SET1(row.zero_point);
    for (long k = 0; k < depth; k += LANES) {
        const U whole = U_ADD(U_OF_FLOAT(MUL(smoothed(x, params->smooth, k, depth), factor)), zero);
        short integers[LANES];
#ifdef U_DOT_BYTES
        if (params->bits == 8)
            STORE_BYTES(integers, U_MAX(whole, U_SET1(0)));
        else
#endif
            STORE_WORDS(integers, whole);
        const long left = depth - k < LANES ? depth - k : LANES, bytes = left * params->bits / 8;
        for (long i = 0; i < bytes; i += 4, q += stride)
            memcpy(q, (char *)integers + i, 4);
    }
    return row;
}

/* memory of a product of integers: the rounded rows and what they mean, and a panel of widened weights for each thread; of
 * floats by integers: slices of rows and their scales */
typedef struct {
    RowQuant *rows; /* [rows] */
    char *q;        /* quantized_bytes(rows, depth) */
    char *widened;
    long widened_per_thread; /* quantized_bytes(NR, depth) */
    char *slices;            /* of gemm_slices.h */
    float *scales;
} IntegerScratch;

/* whole blocks of 32 rows, which gemm_tiles.h reads to their end */
static inline long quantized_bytes(long rows, long depth) { return upto(rows, 32) * upto(2 * depth, 4); }

typedef struct {
    const float *scale; /* [columns], of the weights */
    const int *sums;    /* [columns], of a column's weights */
    const RowQuant *rows;
} Scales;

/* ``scale`` and ``sums`` have as many places as the panels have columns */
INLINE V dequantize(const int bits, U sum, const Scales *s, long row, long column)
{
    const RowQuant *of_row = s->rows + row;
#ifdef U_DOT_BYTES
    if (bits == 8)
        sum = U_SUB(sum, U_MUL(U_LOAD(s->sums + column), U_SET1(of_row->zero_point - BYTE_OFFSET)));
#endif
    return MUL(FLOAT_OF_U(sum), MUL(LOAD(s->scale + column), SET1(of_row->scale)));
}

INLINE U dot(const int bits, U sum, U_FACTOR a, U b)
{
#ifdef U_DOT_BYTES
    if (bits == 8)
        return U_DOT_BYTES(sum, a, b);
#endif
    return U_DOT_WORDS(sum, a, b);
}

/* of few registers gcc leaves some to this, and keeps sums of the microkernel in memory: there it is a function of its own */
#if MR == 12
#define APART INLINE
#else
#define APART static __attribute__((noinline))
#endif
APART void store_dequantized(const int bits, U sums[MR][2], int rows, const Scales *s, const Epilogue *e, long row, long column)
{
    for (int r = 0; r < rows; r++) {
        apply_epilogue(dequantize(bits, sums[r][0], s, row + r, column), e, row + r, column);
        apply_epilogue(dequantize(bits, sums[r][1], s, row + r, column + LANES), e, row + r, column + LANES);
    }
}

/* a [steps, rows, 4 bytes], panel [steps, NR, 4 bytes], or 2 bytes to ``widen`` */
INLINE void int8_microkernel(const int rows, const int bits, const int widen, const char *a, const char *panel, long steps,
                             const Scales *s, const Epilogue *e, long row, long column)
{
    U sums[MR][2];
    const int weight_bytes = widen ? 2 : 4;
#define WEIGHTS(place) (widen ? U_LOAD_WIDENED(place) : U_LOAD(place))
#define BEGIN(r) U left##r = U_SET1(0), right##r = U_SET1(0);
#define STEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        int bytes;                                                                                                     \
        memcpy(&bytes, a + 4 * r, 4);                                                                                  \
        const U_FACTOR numbers = U_FACTOR_OF(bytes);                                                                   \
        left##r = dot(bits, left##r, numbers, left);                                                                   \
        right##r = dot(bits, right##r, numbers, right);                                                                \
    }
#define KEEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        sums[r][0] = left##r;                                                                                          \
        sums[r][1] = right##r;                                                                                         \
    }
    EACH_ROW(BEGIN)
    for (long k = 0; k < steps; k++, panel += weight_bytes * NR, a += 4 * rows) {
        const U left = WEIGHTS(panel), right = WEIGHTS(panel + weight_bytes * LANES);
        __builtin_prefetch(panel + 4 * PREFETCH_AHEAD);
        if (weight_bytes * NR > 64) /* two lines of the cache */
            __builtin_prefetch(panel + 4 * PREFETCH_AHEAD + 64);
        EACH_ROW(STEP)
    }
    EACH_ROW(KEEP)
#undef WEIGHTS
#undef BEGIN
#undef STEP
#undef KEEP
    store_dequantized(bits, sums, rows, s, e, row, column);
}

/* from so many rows on, a panel's weights are widened once for all rows, not by each microkernel */
#define WIDEN_ROWS (4 * MR)

static void widen_panel(const char *panel, long weights, char *widened)
{
    for (long i = 0; i < weights; i += 2 * LANES) {
        __builtin_prefetch(panel + i + 4 * PREFETCH_AHEAD);
        U_STORE(widened + 2 * i, U_LOAD_WIDENED(panel + i));
    }
}

/* the products of rows first to end, ``step`` at a time, with every panel; ``in_kernel`` widens weights there */
INLINE void int8_panels(const int bits, const int in_kernel, const char *q, const char *panels, char *widened, long first, long end, int step,
                        long depth, const Scales *s, const Epilogue *e)
{
    const long count = (e->columns + NR - 1) / NR, steps = upto(depth * bits / 8, 4) / 4, weights = steps * (32 / bits) * NR;
#pragma omp for schedule(static) nowait
    for (long p = 0; p < count; p++) {
        const char *panel = panels + p * weights;
        if (bits == 16 && !in_kernel) {
            widen_panel(panel, weights, widened);
            panel = widened;
        }
        for (long row = first; row < end; row += step) {
#define BODY(n) int8_microkernel(n, bits, in_kernel, q + row * steps * 4, panel, steps, s, e, row, p * NR)
            FOR_ROWS(end - row < step ? end - row : step, BODY)
#undef BODY
        }
    }
}

/* rounds ``count`` rows from ``first`` on, those of one microkernel */
INLINE void quantize_rows(const float *x, long first, long count, long depth, const QuantParams *params, char *q, RowQuant *rows)
{
    const long bytes = upto(depth * params->bits / 8, 4);
    for (long r = 0; r < count; r++)
        rows[first + r] = quantize_row(x + (first + r) * depth, depth, params, q + first * bytes + 4 * r, 4 * count);
}

/* y [rows, columns] = epilogue(x [rows, depth] . W), with W as panels [columns / NR, steps, NR, 4 or 2 weights], shared by a
 * team of threads */
static void gemm_int8(const float *x, const char *panels, const IntegerScratch *scratch, long rows, long depth,
                      const Scales *s, const QuantParams *params, const Epilogue *e)
{
    char *own = scratch->widened + omp_get_thread_num() * scratch->widened_per_thread;
    const long chunk = 32 / params->bits * MC;
    const int few = rows <= MR;
    RowQuant few_rows[MR];
    char *q = few ? own : scratch->q;
    const Scales scales = {s->scale, s->sums, few ? few_rows : scratch->rows};
    for (long first = 0; first < rows; first += chunk) {
        const long end = at_most(rows, first + chunk);
        const int step = rows_per_microkernel(end - first);
        /* the rows of a microkernel share cache lines: threads that each rounded some of them would invalidate each other's,
         * and a text of 8 tokens would take 1.6 times as long */
        if (few)
            quantize_rows(x, 0, rows, depth, params, q, few_rows);
        else {
#pragma omp for schedule(static)
            for (long top = first; top < end; top += step)
                quantize_rows(x, top, at_most(end - top, step), depth, params, q, scratch->rows);
        }
#ifdef U_DOT_BYTES
        if (params->bits == 8)
            int8_panels(8, 0, q, panels, own, first, end, step, depth, &scales, e);
        else
#endif
        if (end - first < WIDEN_ROWS)
            int8_panels(16, 1, q, panels, own, first, end, step, depth, &scales, e);
        else
            int8_panels(16, 0, q, panels, own, first, end, step, depth, &scales, e);
    }
#pragma omp barrier
}
