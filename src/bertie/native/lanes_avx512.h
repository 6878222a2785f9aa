/* Vectors of 16 floats: AVX-512. */
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#include <immintrin.h>

#define NAME(function) bertie_avx512_##function
#define LANES 16
#define ROWS 12 /* of a tile: 12 x 2 sums, 2 weights and a number fit 32 registers */

typedef __m512 V;
#define ZERO() _mm512_setzero_ps()
#define ALL(number) _mm512_set1_ps(number)
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
/* the sum, and the largest, of all lanes */
#define SUM(a) _mm512_reduce_add_ps(a)
#define LARGEST(a) _mm512_reduce_max_ps(a)
/* a * 2^n for whole n */
#define SCALE(a, n) _mm512_scalef_ps(a, n)
