/* Checksums of memory, in which a number counts by its place: an exchange of two is seen as any other change. */
#if defined(__LP64__) /* as the other kernels: `long` has 64 bits */
#include <stdint.h>
#include <string.h>

enum { LANES = 8 }; /* as many products as a processor has under way at a time */

/* odd, so that no bit of the sum is lost; turned, for the highest bits reach no others by a product */
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

/* the checksum of each of `count` places, by several threads */
void bertie_checksums(const char *const *places, const long *bytes, long count, uint64_t *sums, int threads)
{
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (long place = 0; place < count; place++)
        sums[place] = checksum(places[place], bytes[place]);
}
#endif
