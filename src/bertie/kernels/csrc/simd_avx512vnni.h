/* Vectors of 16 floats: AVX-512 with VNNI, which multiplies and accumulates integers in one instruction. */
#include "simd_avx512.h"
#pragma GCC target("avx512vnni")

#undef NAME
#define NAME(function) bertie_avx512vnni_##function
/* some of these processors have AMX too, which gcc supports from version 11 on */
#if defined(__linux__) && !defined(__clang__) && __GNUC__ >= 11
#define HAS_TILES
#endif
#undef U_DOT_WORDS
#define U_DOT_WORDS(sums, a, b) _mm512_dpwssd_epi32(sums, a, b)
/* sums + the products of four unsigned 8-bit integers each with four signed ones */
#define U_DOT_BYTES(sums, a, b) _mm512_dpbusd_epi32(sums, a, b)
/* the low bytes of all numbers, saturated at 255, stored without an offset */
#define BYTE_OFFSET 0
#define STORE_BYTES(place, a) _mm_storeu_si128((__m128i *)(place), _mm512_cvtusepi32_epi8(a))
