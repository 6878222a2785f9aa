/* Random decisions by a hash of where a number stands: made again in the backward pass, they are never stored. */

/* numbers that share a key */
#define STRETCH 16384

/* a number is dropped where 32 random bits, as a signed number, are below ``least``; the others are multiplied */
typedef struct {
    unsigned long seed;
    int least;
    float scale;
} Dropout;

/* what tells the bits of one stretch of numbers from those of another */
typedef struct {
    unsigned first, second;
} Key;

/* splitmix64 of the seed and a stretch's number (Steele, Lea and Flood, 2014) */
static inline Key key_of(const Dropout *d, unsigned long stretch)
{
    unsigned long z = d->seed + (stretch + 1) * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return (Key){(unsigned)(z >> 32), (unsigned)z};
}

/* 32 bits for each number of a stretch: two rounds of multiplication (as C. Wellons' lowbias32), with a key before each */
static inline U random_bits(U number, const Key *key)
{
    U x = U_XOR(number, U_SET1(key->first));
    x = U_MUL(U_XOR(x, U_SHR(x, 16)), U_SET1(0x7feb352d));
    x = U_XOR(x, U_SET1(key->second));
    x = U_MUL(U_XOR(x, U_SHR(x, 15)), U_SET1(0x846ca68b));
    return U_XOR(x, U_SHR(x, 16));
}

/* a weight's number is its query * 2^16 + its key; a row of weights has one query */
static inline void drop_row(float *weights, long keys, long query, const Key *key, const Dropout *d)
{
    const U row = U_SET1(query << 16), least = U_SET1(d->least);
    for (long j = 0; j < keys; j += LANES) { /* there is room behind the last key */
        U bits = random_bits(U_ADD(row, U_ADD(U_IOTA(), U_SET1(j))), key);
        STORE(weights + j, ZERO_BELOW(LOAD(weights + j), bits, least));
    }
}

/* y = dropout(x); the gradient is the same of y's gradient */
void NAME(dropout)(const float *x, float *y, long count, const Dropout *d, int threads)
{
    const V scale = SET1(d->scale);
    const U least = U_SET1(d->least);
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long stretch = 0; stretch < (count + STRETCH - 1) / STRETCH; stretch++) {
        const Key key = key_of(d, stretch);
        const long first = stretch * STRETCH, here = count - first < STRETCH ? count - first : STRETCH;
        for (long i = 0; i < here; i += LANES) {
            V scaled = MUL(load_partial(x + first + i, here - i), scale);
            U bits = random_bits(U_ADD(U_IOTA(), U_SET1(i)), &key);
            store_partial(y + first + i, ZERO_BELOW(scaled, bits, least), here - i);
        }
    }
}
