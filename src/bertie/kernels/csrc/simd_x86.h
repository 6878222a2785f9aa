/* Shared by the instruction sets of x86-64; included after the target pragma. */
#include <immintrin.h>

/* to[d, j] = from[j, d] for 4 x 4 numbers */
static inline void transpose4(const float *from, long from_stride, float *to, long to_stride)
{
    __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_stride);
    __m128 c = _mm_loadu_ps(from + 2 * from_stride), d = _mm_loadu_ps(from + 3 * from_stride);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + to_stride, b);
    _mm_storeu_ps(to + 2 * to_stride, c);
    _mm_storeu_ps(to + 3 * to_stride, d);
}

/* a number of a row, as a factor of vectors: broadcast to all lanes */
#define FACTOR V
#define FACTOR_OF(number) SET1(number)
#define FMA_FACTOR(factor, v, c) FMA(factor, v, c)
/* 4 bytes of a row's integers, likewise */
#define U_FACTOR U
#define U_FACTOR_OF(bytes) U_SET1(bytes)
