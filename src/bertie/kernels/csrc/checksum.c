/* Checksums of memory that depend on the order of its words, so that a swap of two is noticed too. */
#if defined(__LP64__) /* like the other kernels, which need a 64-bit `long` */
#include <stdint.h>
#include <string.h>

enum { LANES = 8 }; /* independent chains, which hide the latency of multiplication */

/* an odd factor loses no bits of the sum; the rotation lets its highest bits reach the others, as no product does */
static inline uint64_t mix(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
    return sum << 31 | sum >> 33;
}

static uint64_t checksum(const char *memory, long bytes)
{
    uint64_t lanes[LANES] = {0}, words[LANES];
    for (; bytes >= (long)sizeof(words); memory += sizeof(words), bytes -= sizeof(words)) {
        memcpy(words, memory, sizeof(words));
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] = mix(lanes[lane], words[lane]);
    }
    memset(words, 0, sizeof(words));
    memcpy(words, memory, bytes);
    uint64_t sum = 0;
    for (int lane = 0; lane < LANES; lane++)
        sum = mix(sum, mix(lanes[lane], words[lane]));
    return sum;
}

/* the checksums of `count` arrays */
void bertie_checksums(const char *const *arrays, const long *bytes, long count, uint64_t *sums, int threads)
{
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (long i = 0; i < count; i++)
        sums[i] = checksum(arrays[i], bytes[i]);
}
#endif
