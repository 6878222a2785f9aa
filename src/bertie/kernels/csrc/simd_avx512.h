/* Vectors of 16 floats: AVX-512. */
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#include "simd_x86.h"

#define NAME(function) bertie_avx512_##function
#define LANES 16
#define MR 12 /* rows of a microkernel: 12 x 2 sums, 2 weights and an input fit 32 registers */

typedef __m512 V;
#define ZERO() _mm512_setzero_ps()
#define SET1(number) _mm512_set1_ps(number)
#define LOAD(place) _mm512_loadu_ps(place)
#define STORE(place, v) _mm512_storeu_ps(place, v)
#define ADD(a, b) _mm512_add_ps(a, b)
#define SUB(a, b) _mm512_sub_ps(a, b)
#define MUL(a, b) _mm512_mul_ps(a, b)
#define DIV(a, b) _mm512_div_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define MAX(a, b) _mm512_max_ps(a, b)
#define MIN(a, b) _mm512_min_ps(a, b)
#define ROUND(a) _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

typedef __m512i U; /* 32-bit integers */
#define U_SET1(number) _mm512_set1_epi32((int)(number))
#define U_IOTA() _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define U_ADD(a, b) _mm512_add_epi32(a, b)
#define U_MUL(a, b) _mm512_mullo_epi32(a, b)
#define U_XOR(a, b) _mm512_xor_si512(a, b)
#define U_SHR(a, bits) _mm512_srli_epi32(a, bits)
#define U_SHL(a, bits) _mm512_slli_epi32(a, bits)
#define U_SUB(a, b) _mm512_sub_epi32(a, b)
#define U_MAX(a, b) _mm512_max_epi32(a, b)
#define U_LOAD(place) _mm512_loadu_si512(place)
#define U_STORE(place, a) _mm512_storeu_si512(place, a)
#define FLOAT_OF_U(a) _mm512_cvtepi32_ps(a)
#define U_OF_FLOAT(a) _mm512_cvtps_epi32(a) /* rounded to the nearest */
/* 8-bit integers as 16-bit ones, 2 * LANES of them */
#define U_LOAD_WIDENED(place) _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(place)))
/* the low halves of all numbers, none of which overflows 16 bits */
#define STORE_WORDS(place, a) _mm256_storeu_si256((__m256i *)(place), _mm512_cvtepi32_epi16(a))
/* sums + the products of two 16-bit integers each */
#define U_DOT_WORDS(sums, a, b) _mm512_add_epi32(sums, _mm512_madd_epi16(a, b))
#define LOAD_BF16(place)                                                                                                      \
    _mm512_castsi512_ps(U_SHL(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(place))), 16))
/* rounded to the nearest, ties to even; NaN stays NaN */
static inline void STORE_BF16(unsigned short *place, V v)
{
    const U bits = _mm512_castps_si512(v), odd = _mm512_and_si512(U_SHR(bits, 16), U_SET1(1));
    const U rounded = U_SHR(U_ADD(bits, U_ADD(odd, U_SET1(0x7fff))), 16);
    const U all = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), U_SET1(0x7fc0));
    _mm256_storeu_si256((__m256i *)place, _mm512_cvtepi32_epi16(all));
}
/* the first ``count`` lanes of v, the others of ``other`` */
#define SELECT_FIRST(v, count, other) _mm512_mask_mov_ps(other, _mm512_cmpgt_epi32_mask(U_SET1(count), U_IOTA()), v)
/* x where a < b, elsewhere y */
#define SELECT_LT(a, b, x, y) _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), x)
/* v where a >= threshold as signed integers, elsewhere 0 */
#define ZERO_BELOW(v, a, threshold) _mm512_maskz_mov_ps(_mm512_cmpge_epi32_mask(a, threshold), v)

/* the sum, and the largest, of all numbers of a vector */
#define REDUCE_ADD(a) _mm512_reduce_add_ps(a)
#define REDUCE_MAX(a) _mm512_reduce_max_ps(a)
/* a * 2^n for whole n */
#define SCALEF(a, n) _mm512_scalef_ps(a, n)
