/* Vectors of 8 floats: AVX2 with FMA. */
#pragma GCC target("avx2,fma")
#include "simd_x86.h"

#define NAME(function) bertie_avx2_##function
#define LANES 8
#define MR 6 /* rows of a microkernel: 6 x 2 sums, 2 weights and an input fit 16 registers */

typedef __m256 V;
#define ZERO() _mm256_setzero_ps()
#define SET1(number) _mm256_set1_ps(number)
#define LOAD(place) _mm256_loadu_ps(place)
#define STORE(place, v) _mm256_storeu_ps(place, v)
#define ADD(a, b) _mm256_add_ps(a, b)
#define SUB(a, b) _mm256_sub_ps(a, b)
#define MUL(a, b) _mm256_mul_ps(a, b)
#define DIV(a, b) _mm256_div_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define MAX(a, b) _mm256_max_ps(a, b)
#define MIN(a, b) _mm256_min_ps(a, b)
#define ROUND(a) _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

typedef __m256i U; /* 32-bit integers */
#define U_SET1(number) _mm256_set1_epi32((int)(number))
#define U_IOTA() _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)
#define U_ADD(a, b) _mm256_add_epi32(a, b)
#define U_MUL(a, b) _mm256_mullo_epi32(a, b)
#define U_XOR(a, b) _mm256_xor_si256(a, b)
#define U_SHR(a, bits) _mm256_srli_epi32(a, bits)
#define U_SHL(a, bits) _mm256_slli_epi32(a, bits)
#define U_SUB(a, b) _mm256_sub_epi32(a, b)
#define U_MAX(a, b) _mm256_max_epi32(a, b)
#define U_LOAD(place) _mm256_loadu_si256((const __m256i *)(place))
#define U_STORE(place, a) _mm256_storeu_si256((__m256i *)(place), a)
#define FLOAT_OF_U(a) _mm256_cvtepi32_ps(a)
#define U_OF_FLOAT(a) _mm256_cvtps_epi32(a) /* rounded to the nearest */
/* 8-bit integers as 16-bit ones, 2 * LANES of them */
#define U_LOAD_WIDENED(place) _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(place)))
/* the low halves of all numbers, none of which overflows 16 bits */
#define STORE_WORDS(place, a)                                                                                                 \
    _mm_storeu_si128((__m128i *)(place), _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)))
/* sums + the products of two 16-bit integers each */
#define U_DOT_WORDS(sums, a, b) _mm256_add_epi32(sums, _mm256_madd_epi16(a, b))
#define LOAD_BF16(place)                                                                                                      \
    _mm256_castsi256_ps(U_SHL(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(place))), 16))
/* rounded to the nearest, ties to even; NaN stays NaN */
static inline void STORE_BF16(unsigned short *place, V v)
{
    const U bits = _mm256_castps_si256(v), odd = _mm256_and_si256(U_SHR(bits, 16), U_SET1(1));
    const U rounded = U_SHR(U_ADD(bits, U_ADD(odd, U_SET1(0x7fff))), 16);
    const V unordered = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
    const U all = _mm256_blendv_epi8(rounded, U_SET1(0x7fc0), _mm256_castps_si256(unordered));
    _mm_storeu_si128((__m128i *)place, _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
}
/* the first ``count`` lanes of v, the others of ``other`` */
#define SELECT_FIRST(v, count, other)                                                                                         \
    _mm256_blendv_ps(other, v, _mm256_castsi256_ps(_mm256_cmpgt_epi32(U_SET1(count), U_IOTA())))
/* x where a < b, elsewhere y */
#define SELECT_LT(a, b, x, y) _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ))
/* v where a >= threshold as signed integers, elsewhere 0 */
#define ZERO_BELOW(v, a, threshold) _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(threshold, a)), v)

/* the sum, and the largest, of all numbers of a vector */
static inline float REDUCE_ADD(V a)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

static inline float REDUCE_MAX(V a)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

/* a * 2^n for whole n in [-126, 127] */
static inline V SCALEF(V a, V n)
{
    __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(a, _mm256_castsi256_ps(exponent));
}
