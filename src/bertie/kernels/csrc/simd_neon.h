/* Vectors of 4 floats: NEON, which every 64-bit Arm processor has. */
#include <arm_neon.h>

#define NAME(function) bertie_neon_##function
#define LANES 4
#define MR 12 /* rows of a microkernel: 12 x 2 sums, 2 weights and an input fit 32 registers */

typedef float32x4_t V;
#define ZERO() vdupq_n_f32(0)
#define SET1(number) vdupq_n_f32(number)
#define LOAD(place) vld1q_f32(place)
#define STORE(place, v) vst1q_f32(place, v)
#define ADD(a, b) vaddq_f32(a, b)
#define SUB(a, b) vsubq_f32(a, b)
#define MUL(a, b) vmulq_f32(a, b)
#define DIV(a, b) vdivq_f32(a, b)
#define FMA(a, b, c) vfmaq_f32(c, a, b)
#define MAX(a, b) vmaxq_f32(a, b) /* NaN if either is */
#define MIN(a, b) vminq_f32(a, b)
#define ROUND(a) vrndnq_f32(a)
/* a number of a row, as a factor of vectors: a scalar, since instructions can multiply by a single lane */
#define FACTOR float
#define FACTOR_OF(number) (number)
#define FMA_FACTOR(factor, v, c) vfmaq_n_f32(c, v, factor)

typedef int32x4_t U; /* 32-bit integers */
#define U_SET1(number) vdupq_n_s32((int)(number))
#define U_IOTA() ((int32x4_t){0, 1, 2, 3})
#define U_ADD(a, b) vaddq_s32(a, b)
#define U_MUL(a, b) vmulq_s32(a, b)
#define U_XOR(a, b) veorq_s32(a, b)
#define U_SHR(a, bits) vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), bits))
#define U_SHL(a, bits) vshlq_n_s32(a, bits)
#define U_SUB(a, b) vsubq_s32(a, b)
#define U_MAX(a, b) vmaxq_s32(a, b)
#define U_LOAD(place) vld1q_s32((const int *)(place))
#define U_STORE(place, a) vst1q_s32((int *)(place), a)
#define FLOAT_OF_U(a) vcvtq_f32_s32(a)
#define U_OF_FLOAT(a) vcvtnq_s32_f32(a) /* rounded to the nearest */
/* 8-bit integers as 16-bit ones, 2 * LANES of them */
#define U_LOAD_WIDENED(place) vreinterpretq_s32_s16(vmovl_s8(vld1_s8((const signed char *)(place))))
/* the low halves of all numbers, none of which overflows 16 bits */
#define STORE_WORDS(place, a) vst1_s16(place, vmovn_s32(a))
/* 4 bytes of a row's integers, as a factor of vectors */
#define U_FACTOR int32x2_t
#define U_FACTOR_OF(bytes) ((int32x2_t){bytes, 0})

/* sums + the products of two 16-bit integers each */
static inline U U_DOT_WORDS(U sums, U_FACTOR a, U b)
{
    const int16x8_t words = vreinterpretq_s16_s32(b);
    const int16x4_t factors = vreinterpret_s16_s32(a), first = vget_low_s16(vuzp1q_s16(words, words));
    const int16x4_t second = vget_low_s16(vuzp2q_s16(words, words));
    return vmlal_lane_s16(vmlal_lane_s16(sums, first, factors, 0), second, factors, 1);
}

#define LOAD_BF16(place) vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(place), 16))
/* rounded to the nearest, ties to even; NaN stays NaN */
static inline void STORE_BF16(unsigned short *place, V v)
{
    const uint32x4_t bits = vreinterpretq_u32_f32(v), odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vshrq_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
    vst1_u16(place, vmovn_u32(vbslq_u32(vceqq_f32(v, v), rounded, vdupq_n_u32(0x7fc0))));
}
/* the first ``count`` lanes of v, the others of ``other`` */
#define SELECT_FIRST(v, count, other) vbslq_f32(vcltq_s32(U_IOTA(), U_SET1(count)), v, other)
/* x where a < b, elsewhere y */
#define SELECT_LT(a, b, x, y) vbslq_f32(vcltq_f32(a, b), x, y)
/* v where a >= threshold as signed integers, elsewhere 0 */
#define ZERO_BELOW(v, a, threshold) vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), vcgeq_s32(a, threshold)))

/* the sum, and the largest, of all numbers of a vector */
#define REDUCE_ADD(a) vaddvq_f32(a)
#define REDUCE_MAX(a) vmaxvq_f32(a)

/* a * 2^n for whole n in [-126, 127] */
static inline V SCALEF(V a, V n)
{
    return vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23)));
}

/* to[d, j] = from[j, d] for 4 x 4 numbers */
static inline void transpose4(const float *from, long from_stride, float *to, long to_stride)
{
    const float32x4_t a = vld1q_f32(from), b = vld1q_f32(from + from_stride);
    const float32x4_t c = vld1q_f32(from + 2 * from_stride), d = vld1q_f32(from + 3 * from_stride);
    const float32x4x2_t ab = vtrnq_f32(a, b), cd = vtrnq_f32(c, d); /* a0 b0 a2 b2, a1 b1 a3 b3 */
    vst1q_f32(to, vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0])));
    vst1q_f32(to + to_stride, vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1])));
    vst1q_f32(to + 2 * to_stride, vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0])));
    vst1q_f32(to + 3 * to_stride, vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1])));
}
