/* Vectors of 4 floats: NEON with products of 8-bit integers (``sdot``; Armv8.2's DotProd). */
#pragma GCC target("arch=armv8.2-a+dotprod")
#include "simd_neon.h"

#undef NAME
#define NAME(function) bertie_neondot_##function
/* sums + the products of four signed 8-bit integers each; those of a row are 128 less than their unsigned numbers */
#define U_DOT_BYTES(sums, a, b) vdotq_lane_s32(sums, vreinterpretq_s8_s32(b), vreinterpret_s8_s32(a), 0)

/* what is subtracted from unsigned numbers as they are multiplied */
#define BYTE_OFFSET 128
/* the low bytes of all numbers, at most 255, less 128 */
static inline void STORE_BYTES(void *place, U a)
{
    const uint16x4_t words = vqmovun_s32(a);
    const uint8x8_t bytes = veor_u8(vqmovn_u16(vcombine_u16(words, words)), vdup_n_u8(128));
    memcpy(place, &bytes, 4);
}
