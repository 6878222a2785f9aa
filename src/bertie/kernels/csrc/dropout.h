/* Counter-based dropout: a hash of a number's index decides, so the backward pass recomputes the mask. */

/* how many consecutive numbers share a hash key */
#define NUMBERS_PER_KEY 16384

/* a number is dropped if 32 random bits, read as a signed integer, are below ``threshold``; the others are scaled */
typedef struct {
    unsigned long seed;
    int threshold;
    float scale;
} Dropout;

/* makes the bits of one block of numbers independent of another's */
typedef struct {
    unsigned first, second;
} HashKey;

/* splitmix64 of the seed and a block's index (Steele, Lea and Flood, 2014) */
static inline HashKey hash_key(const Dropout *d, unsigned long block)
{
    unsigned long z = d->seed + (block + 1) * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return (HashKey){(unsigned)(z >> 32), (unsigned)z};
}

/* 32 bits for each index in a block: two rounds of multiplication (as in C. Wellons' lowbias32), each keyed */
static inline U random_bits(U index, const HashKey *key)
{
    U x = U_XOR(index, U_SET1(key->first));
    x = U_MUL(U_XOR(x, U_SHR(x, 16)), U_SET1(0x7feb352d));
    x = U_XOR(x, U_SET1(key->second));
    x = U_MUL(U_XOR(x, U_SHR(x, 15)), U_SET1(0x846ca68b));
    return U_XOR(x, U_SHR(x, 16));
}

/* drop attention weights [keys] of one query; a weight's index is query * 2^16 + key */
static inline void drop_row(float *weights, long keys, long query, const HashKey *key, const Dropout *d)
{
    const U row = U_SET1(query << 16), threshold = U_SET1(d->threshold);
    for (long j = 0; j < keys; j += LANES) { /* rows are padded to whole vectors */
        U bits = random_bits(U_ADD(row, U_ADD(U_IOTA(), U_SET1(j))), key);
        STORE(weights + j, ZERO_BELOW(LOAD(weights + j), bits, threshold));
    }
}

/* y = dropout(x); the backward pass is the same function of dy */
void NAME(dropout)(const float *x, float *y, long count, const Dropout *d, int threads)
{
    const V scale = SET1(d->scale);
    const U threshold = U_SET1(d->threshold);
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long block = 0; block < (count + NUMBERS_PER_KEY - 1) / NUMBERS_PER_KEY; block++) {
        const HashKey key = hash_key(d, block);
        const long first = block * NUMBERS_PER_KEY, here = at_most(count - first, NUMBERS_PER_KEY);
        for (long i = 0; i < here; i += LANES) {
            V scaled = MUL(load_partial(x + first + i, here - i), scale);
            U bits = random_bits(U_ADD(U_IOTA(), U_SET1(i)), &key);
            store_partial(y + first + i, ZERO_BELOW(scaled, bits, threshold), here - i);
        }
    }
}
