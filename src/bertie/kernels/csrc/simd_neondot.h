/* Vectors of 4 floats: NEON with dot products of 8-bit integers (``sdot`` of Armv8.2's DotProd). */
#pragma GCC target("arch=armv8.2-a+dotprod")
#include "simd_neon.h"

#undef NAME
#define NAME(function) bertie_neondot_##function
/* sums + the products of four signed 8-bit integers each; a row's are stored with the offset below */
#define U_DOT_BYTES(sums, a, b) vdotq_lane_s32(sums, vreinterpretq_s8_s32(b), vreinterpret_s8_s32(a), 0)

/* subtracted from unsigned bytes to make them signed */
#define BYTE_OFFSET 128
/* the low bytes of all numbers, saturated at 255, minus BYTE_OFFSET */
static inline void STORE_BYTES(void *place, U a)
{
    const uint16x4_t words = vqmovun_s32(a);
    const uint8x8_t bytes = veor_u8(vqmovn_u16(vcombine_u16(words, words)), vdup_n_u8(128));
    memcpy(place, &bytes, 4);
}
