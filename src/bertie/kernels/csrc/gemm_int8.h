/* Products of 8-bit integers with a scale for each row and column; AVX-512 with VNNI. Included after gemm.h. */
#pragma GCC target("avx512vnni")

/* how a row of numbers becomes integers: see QuantParams in gemm_int8.py */
typedef struct {
    float scale;
    int zero_point;
    int one_sided;  /* the divisor is the largest number, not the largest magnitude */
    float min_divisor;
} QuantParams;

/* q = round(x * smooth / divisor / scale) + zero_point in [0, 255], each four of them ``stride`` behind the last;
 * returns divisor * scale */
static float quantize_row(const float *x, const float *smooth, long depth, const QuantParams *params, unsigned char *q,
                          long stride)
{
    V high = SET1(params->min_divisor), wrong = ZERO(); /* stays 0 unless a number is infinite or none */
    long k = 0;
#define NUMBERS(k) (smooth ? MUL(LOAD(x + (k)), LOAD(smooth + (k))) : LOAD(x + (k)))
    for (; k + LANES <= depth; k += LANES) {
        V number = NUMBERS(k);
        high = MAX(high, params->one_sided ? number : _mm512_abs_ps(number));
        wrong = FMA(number, ZERO(), wrong);
    }
    float largest = REDUCE_MAX(high);
    for (; k < depth; k++) {
        float number = smooth ? x[k] * smooth[k] : x[k];
        wrong = FMA(SET1(number), ZERO(), wrong);
        number = number < 0 && !params->one_sided ? -number : number;
        largest = number > largest ? number : largest;
    }
    largest += REDUCE_ADD(wrong);
    const float factor = 1 / (largest * params->scale);
    const __m512i zero = _mm512_set1_epi32(params->zero_point), least = _mm512_setzero_si512();
    for (k = 0; k + LANES <= depth; k += LANES) {
        __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(MUL(NUMBERS(k), SET1(factor))), zero);
        __m128i bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, least));
        for (int i = 0; i < 4; i++, q += stride) {
            memcpy(q, &bytes, 4);
            bytes = _mm_srli_si128(bytes, 4);
        }
    }
#undef NUMBERS
    for (; k < depth; k += 4, q += stride)
        for (long i = 0; i < 4; i++) {
            long at = k + i, whole = 0;
            if (at < depth)
                whole = lrintf((smooth ? x[at] * smooth[at] : x[at]) * factor) + params->zero_point;
            q[i] = (unsigned char)(whole < 0 ? 0 : whole > 255 ? 255 : whole);
        }
    return largest * params->scale;
}

typedef struct {
    const float *scale; /* [columns], of the weights */
    const int *shift;   /* [columns]: zero_point times the sum of a column's weights */
    const float *rows;  /* [rows], of the inputs */
} Scales;

/* both have as many places as the panels have columns */
INLINE V dequantize(__m512i sum, const Scales *s, long row, long column)
{
    sum = _mm512_sub_epi32(sum, _mm512_loadu_si512(s->shift + column));
    return MUL(_mm512_cvtepi32_ps(sum), MUL(LOAD(s->scale + column), SET1(s->rows[row])));
}

/* a [depth / 4, rows, 4] */
INLINE void int8_microkernel(const int rows, const unsigned char *a, const signed char *panel, long depth, const Scales *s,
                             const Epilogue *e, long row, long column)
{
    __m512i sums[MR][2];
#define BEGIN(r) __m512i left##r = _mm512_setzero_si512(), right##r = _mm512_setzero_si512();
#define STEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        int four;                                                                                                      \
        memcpy(&four, a + 4 * r, 4);                                                                                   \
        const __m512i numbers = _mm512_set1_epi32(four);                                                               \
        left##r = _mm512_dpbusd_epi32(left##r, numbers, left);                                                         \
        right##r = _mm512_dpbusd_epi32(right##r, numbers, right);                                                      \
    }
#define KEEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        sums[r][0] = left##r;                                                                                          \
        sums[r][1] = right##r;                                                                                         \
    }
    EACH_ROW(BEGIN)
    for (long k = 0; k < depth; k += 4, panel += 4 * NR, a += 4 * rows) {
        const __m512i left = _mm512_loadu_si512(panel), right = _mm512_loadu_si512(panel + 4 * LANES);
        _mm_prefetch((const char *)(panel + 4 * PREFETCH_AHEAD), _MM_HINT_T0);
        _mm_prefetch((const char *)(panel + 4 * (LANES + PREFETCH_AHEAD)), _MM_HINT_T0);
        EACH_ROW(STEP)
    }
    EACH_ROW(KEEP)
#undef BEGIN
#undef STEP
#undef KEEP
    for (int r = 0; r < rows; r++) {
        apply_epilogue(dequantize(sums[r][0], s, row + r, column), e, row + r, column);
        apply_epilogue(dequantize(sums[r][1], s, row + r, column + LANES), e, row + r, column + LANES);
    }
}

/* y [rows, columns] = epilogue(x [rows, depth] . W), with W as panels [columns / NR, depth / 4, NR, 4], shared by a
 * team of threads; ``q`` [rows, upto(depth, 4)] is scratch, as are the scales of the rows */
static void gemm_int8(const float *x, const float *smooth, const signed char *panels, unsigned char *q, float *row_scales,
                      long rows, long depth, const Scales *s, const QuantParams *params, const Epilogue *e)
{
    const long count = (e->columns + NR - 1) / NR, fours = upto(depth, 4), chunk = 4 * MC; /* of 8 bits */
    for (long first = 0; first < rows; first += chunk) {
        const long end = first + chunk < rows ? first + chunk : rows;
        const int step = rows_per_microkernel(end - first);
#pragma omp for schedule(static)
        for (long row = first; row < end; row++) {
            const long top = row - (row - first) % step, tall = end - top < step ? end - top : step;
            row_scales[row] = quantize_row(x + row * depth, smooth, depth, params, q + top * fours + 4 * (row - top), 4 * tall);
        }
#pragma omp for schedule(static) nowait
        for (long p = 0; p < count; p++)
            for (long row = first; row < end; row += step) {
#define BODY(n) int8_microkernel(n, q + row * fours, panels + p * fours * NR, fours, s, e, row, p * NR)
                FOR_ROWS(end - row < step ? end - row : step, BODY)
#undef BODY
            }
    }
#pragma omp barrier
}
