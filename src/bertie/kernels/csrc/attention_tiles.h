/* Attention by AMX and its gradient: products are bfloat16, everything between them float32, as in attention.h and
 * attention_backward.h, after which it is included. Without AMX, attention takes a fifth of a training step of BERT in bfloat16
 * with texts of 128 tokens. Float32 inputs are rounded to bfloat16 where approximate products are allowed, which makes int8
 * models faster on long texts. */

/* whether AMX may compute the products; a head has to fill whole tiles */
static int attention_uses_tiles(const Attention *a)
{
    return bertie_has_bfloat16_tiles && (a->half || a->approximate) && a->width % TILE_TOKENS == 0;
}

#pragma GCC push_options
#pragma GCC target("avx512bf16")
/* x [count] rounded to bfloat16; ``count`` is a multiple of LANES */
static inline void round_row(const float *x, Bfloat16 *y, long count)
{
    for (long i = 0; i < count; i += LANES)
        _mm256_storeu_si256((__m256i *)(y + i), (__m256i)_mm512_cvtneps_pbh(LOAD(x + i)));
}

/* like softmax_row, but the exponentials are written to ``weights`` in bfloat16 */
static float softmax_row_rounded(const float *scores, long keys, long padded, float scale, float *largest, Bfloat16 *weights)
{
    const V lowest = SET1(-INFINITY), log2e_scale = SET1(scale * 1.44269504f);
    V max0 = lowest, max1 = lowest, sum0 = ZERO(), sum1 = ZERO();
    for (long j = 0; j < padded; j += 2 * LANES) {
        max0 = MAX(max0, SELECT_FIRST(LOAD(scores + j), keys - j, lowest));
        max1 = MAX(max1, SELECT_FIRST(LOAD(scores + j + LANES), keys - j - LANES, lowest));
    }
    *largest = REDUCE_MAX(MAX(max0, max1));
    const V minus_max = MUL(SET1(-*largest), log2e_scale);
    for (long j = 0; j < padded; j += 2 * LANES) {
        V exp0 = exp2_nonpositive(FMA(LOAD(scores + j), log2e_scale, minus_max));
        V exp1 = exp2_nonpositive(FMA(LOAD(scores + j + LANES), log2e_scale, minus_max));
        exp0 = SELECT_FIRST(exp0, keys - j, ZERO());
        exp1 = SELECT_FIRST(exp1, keys - j - LANES, ZERO());
        sum0 = ADD(sum0, exp0);
        sum1 = ADD(sum1, exp1);
        U_STORE(weights + j, (U)_mm512_cvtne2ps_pbh(exp1, exp0));
    }
    return REDUCE_ADD(ADD(sum0, sum1));
}
#pragma GCC pop_options

/* allocate from a thread's scratch, aligned to a cache line */
static void *take(char **free, long bytes)
{
    void *taken = *free;
    *free += upto(bytes, 64);
    return taken;
}

/* rows of one head in bfloat16, zero-padded to a multiple of 32 rows */
static Bfloat16 *copy_rows(const Attention *a, const void *x, long stride, long first, long count, long head, char **free)
{
    const long width = a->width, whole = upto(count, 32);
    Bfloat16 *rows = take(free, whole * width * sizeof(Bfloat16));
    for (long i = 0; i < count; i++) {
        const long offset = (first + i) * stride + head * width;
        if (a->half)
            memcpy(rows + i * width, (const Bfloat16 *)x + offset, width * sizeof(Bfloat16));
        else
            round_row((const float *)x + offset, rows + i * width, width);
    }
    memset(rows + count * width, 0, (whole - count) * width * sizeof(Bfloat16));
    return rows;
}

/* rows as the right operand of a product that sums over the width: panels [count / 32, width / 32, 2] of tiles */
static int *pack_across(const Bfloat16 *rows, long count, long width, char **free)
{
    int *tiles = take(free, count * width * sizeof(Bfloat16)), *tile = tiles;
    __m512i words[16];
    for (long first = 0; first < count; first += 32)
        for (long d = 0; d < width; d += 32)
            for (long half = 0; half < 32; half += 16, tile += TILE_WORDS) {
                for (long i = 0; i < 16; i++)
                    words[i] = U_LOAD(rows + (first + half + i) * width + d);
                transpose_words(words);
                for (long i = 0; i < 16; i++)
                    U_STORE(tile + 16 * i, words[i]);
            }
    return tiles;
}

/* rows as an operand of a product that sums over the rows: panels [width / 32, count / 32, 2] of tiles */
static int *pack_along(const Bfloat16 *rows, long count, long stride, long width, int transposed, char **free)
{
    int *tiles = take(free, count * width * sizeof(Bfloat16)), *tile = tiles;
    __m512i words[16];
    for (long d = 0; d < width; d += 32)
        for (long first = 0; first < count; first += 32)
            for (long half = 0; half < 32; half += 16, tile += TILE_WORDS) {
                pair_tokens(rows + first * stride + d + half, stride, 32, 16, words);
                if (transposed)
                    transpose_words(words);
                for (long i = 0; i < 16; i++)
                    U_STORE(tile + 16 * i, words[i]);
            }
    return tiles;
}

/* y [rows, width] from ``offset`` on, tokens ``stride`` apart = sums [32, width], each row scaled by its factor */
static void store_sums(const float *sums, const float *factors, void *y, long offset, long stride, long rows, long width, int half)
{
    for (long r = 0; r < rows; r++)
        for (long d = 0; d < width; d += LANES)
            store_number(y, offset + r * stride + d, MUL(LOAD(sums + r * width + d), SET1(factors[r])), LANES, half);
}

static void attend_head_by_tiles(const Attention *a, long sequence, long head, char *free)
{
    const long first = a->cu_seqlens_q[sequence], queries = a->cu_seqlens_q[sequence + 1] - first, width = a->width;
    const long first_key = a->cu_seqlens_k[sequence], keys = a->cu_seqlens_k[sequence + 1] - first_key;
    const long stride = a->heads * width, padded = upto(keys, 32);
    const Layout of_head = rows_of(width), of_keys = rows_of(padded);
    const float scale = 1 / sqrtf((float)width);
    const HashKey key = a->dropout ? hash_key(a->dropout, sequence * a->heads + head) : (HashKey){0, 0};
    const long offset = first * stride + head * width;
    for (long i = 0; !keys && i < queries; i++) /* nothing to attend to */
        for (long d = 0; d < width; d += LANES)
            store_number(a->y, offset + i * stride + d, ZERO(), LANES, a->half);
    if (!keys || !queries)
        return;
    const Bfloat16 *q = copy_rows(a, a->q, a->q_stride, first, queries, head, &free);
    const int *k = pack_across(copy_rows(a, a->k, a->k_stride, first_key, keys, head, &free), padded, width, &free);
    const Bfloat16 *v_rows = copy_rows(a, a->v, a->v_stride, first_key, keys, head, &free);
    const int *v = pack_along(v_rows, padded, width, width, 0, &free);
    float *scores = take(&free, 32 * padded * sizeof(float)), *sums = take(&free, 32 * width * sizeof(float)), factors[32];
    Bfloat16 *weights = take(&free, 32 * padded * sizeof(Bfloat16));
    for (long row = 0; row < queries; row += 32) {
        const long rows = at_most(queries - row, 32);
        for (long p = 0; p < padded; p += 32)
            multiply_bfloat16(q + row * width, &of_head, k + p * width / 2, width / 32, scores + p, padded);
        for (long r = 0; r < rows; r++) {
            float *row_scores = scores + r * padded, largest, sum;
            if (a->dropout)
                sum = softmax_row(row_scores, keys, padded, scale, &largest);
            else
                sum = softmax_row_rounded(row_scores, keys, padded, scale, &largest, weights + r * padded);
            factors[r] = 1 / sum;
            if (a->lse)
                a->lse[(first + row + r) * a->heads + head] = largest * scale + logf(sum);
            if (a->dropout) {
                factors[r] *= a->dropout->scale;
                drop_row(row_scores, keys, row + r, &key, a->dropout);
                round_row(row_scores, weights + r * padded, padded);
            }
        }
        memset(weights + rows * padded, 0, (32 - rows) * padded * sizeof(Bfloat16));
        for (long d = 0; d < width; d += 32)
            multiply_bfloat16(weights, &of_keys, v + d * padded / 2, padded / 32, sums + d, width);
        store_sums(sums, factors, a->y, offset + row * stride, stride, rows, width, a->half);
    }
}

/* bytes of scratch that a thread needs for sequences of at most this many queries and keys */
static long tiles_scratch(long queries, long keys, long width)
{
    const long q = upto(queries, 32), k = upto(keys, 32);
    return ((q + 4 * k) * width + 32 * k) * sizeof(Bfloat16) + 32 * (k + width) * sizeof(float);
}

/* the same for the gradient */
static long tiles_scratch_backward(long queries, long keys, long width)
{
    const long q = upto(queries, 32), k = upto(keys, 32);
    return (8 * q + 8 * k) * width * sizeof(Bfloat16) + (q + 32) * (k + 32) * sizeof(Bfloat16) +
           32 * (q + k + width + 64) * sizeof(float) + 4 * (q + k) * sizeof(float) + 32 * 64;
}

/* weights^T and dS^T of the 32 keys from ``first`` on and the 32 queries from ``i`` on: see key_rows */
static void key_block(const Attention *a, const float *scores, const float *dP, const float *lse, const float *delta, long i,
                      long first, const HashKey *key, long padded, Bfloat16 *weights, Bfloat16 *dS)
{
    const Dropout *d = a->dropout;
    const V scale = SET1(1 / sqrtf((float)a->width));
    for (long r = 0; r < 32; r++) {
        float kept[32], ds[32];
        for (long c = 0; c < 32; c += LANES) {
            V score = FMA(LOAD(scores + 32 * r + c), scale, SUB(ZERO(), LOAD(lse + i + c)));
            V weight = exp_nonpositive(MIN(ZERO(), score)), dp = LOAD(dP + 32 * r + c);
            STORE(kept + c, weight);
            if (d) {
                U number = U_ADD(U_SHL(U_ADD(U_IOTA(), U_SET1(i + c)), 16), U_SET1(first + r)), threshold = U_SET1(d->threshold);
                U bits = random_bits(number, key);
                STORE(kept + c, ZERO_BELOW(MUL(weight, SET1(d->scale)), bits, threshold));
                dp = ZERO_BELOW(MUL(dp, SET1(d->scale)), bits, threshold);
            }
            STORE(ds + c, MUL(MUL(weight, scale), SUB(dp, LOAD(delta + i + c))));
        }
        round_row(kept, weights + r * padded + i, 32);
        round_row(ds, dS + r * padded + i, 32);
    }
}

static const float ONES_OF_TILES[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static void backward_head_by_tiles(const AttentionBackward *g, long sequence, long head, char *free)
{
    const Attention *a = &g->forward;
    const long first = a->cu_seqlens_q[sequence], queries = a->cu_seqlens_q[sequence + 1] - first, width = a->width;
    const long first_key = a->cu_seqlens_k[sequence], keys = a->cu_seqlens_k[sequence + 1] - first_key;
    const long stride = a->heads * width, padded = upto(queries, 32), padded_keys = upto(keys, 32);
    const Layout of_head = rows_of(width), of_queries = rows_of(padded);
    const HashKey key = a->dropout ? hash_key(a->dropout, sequence * a->heads + head) : (HashKey){0, 0};
    const Bfloat16 *q = copy_rows(a, a->q, a->q_stride, first, queries, head, &free);
    const Bfloat16 *dy = copy_rows(a, g->dy, stride, first, queries, head, &free);
    const Bfloat16 *k = copy_rows(a, a->k, a->k_stride, first_key, keys, head, &free);
    const Bfloat16 *v = copy_rows(a, a->v, a->v_stride, first_key, keys, head, &free);
    const int *q_across = pack_across(q, padded, width, &free), *dy_across = pack_across(dy, padded, width, &free);
    const int *q_along = pack_along(q, padded, width, width, 0, &free);
    const int *dy_along = pack_along(dy, padded, width, width, 0, &free);
    const int *k_along = pack_along(k, padded_keys, width, width, 0, &free);
    float *lse = take(&free, padded * sizeof(float)), *delta = take(&free, padded * sizeof(float));
    float *scores = take(&free, 32 * 32 * sizeof(float)), *dP = take(&free, 32 * 32 * sizeof(float));
    float *sums = take(&free, 32 * width * sizeof(float));
    Bfloat16 *weights = take(&free, 32 * padded * sizeof(Bfloat16)), *dS = take(&free, padded_keys * padded * sizeof(Bfloat16));
    for (long i = 0; i < padded; i++) {
        V dot = ZERO();
        for (long d = 0; i < queries && d < width; d += LANES)
            dot = FMA(LOAD_BF16((const Bfloat16 *)a->y + (first + i) * stride + head * width + d),
                      LOAD_BF16(dy + i * width + d), dot);
        lse[i] = i < queries ? a->lse[(first + i) * a->heads + head] : 0;
        delta[i] = REDUCE_ADD(dot);
    }
    for (long row = 0; row < keys; row += 32) {
        const long rows = at_most(keys - row, 32), offset = (first_key + row) * stride + head * width;
        for (long i = 0; i < padded; i += 32) {
            multiply_bfloat16(k + row * width, &of_head, q_across + i * width / 2, width / 32, scores, 32);
            multiply_bfloat16(v + row * width, &of_head, dy_across + i * width / 2, width / 32, dP, 32);
            key_block(a, scores, dP, lse, delta, i, row, &key, padded, weights, dS + row * padded);
        }
        for (long d = 0; d < width; d += 32)
            multiply_bfloat16(weights, &of_queries, dy_along + d * padded / 2, padded / 32, sums + d, width);
        store_sums(sums, ONES_OF_TILES, g->dv, offset, stride, rows, width, 1);
        for (long d = 0; d < width; d += 32)
            multiply_bfloat16(dS + row * padded, &of_queries, q_along + d * padded / 2, padded / 32, sums + d, width);
        store_sums(sums, ONES_OF_TILES, g->dk, offset, stride, rows, width, 1);
    }
    for (long row = 0; row < queries; row += 32) {
        char *rest = free;
        const int *across = pack_along(dS + row, padded_keys, padded, 32, 1, &rest);
        for (long d = 0; d < width; d += 32)
            multiply_bfloat16(across, &TILES, k_along + d * padded_keys / 2, padded_keys / 32, sums + d, width);
        store_sums(sums, ONES_OF_TILES, g->dq, (first + row) * stride + head * width, stride, at_most(queries - row, 32),
                  width, 1);
    }
}

/* with fewer keys, rounding costs more than the faster products save */
#define MIN_ROUNDED_KEYS 192

/* run by a team of threads; whether tiles are used depends on a text's own length alone, never on its batch */
static void attend_by_tiles(const Attention *a, char *scratch, long scratch_per_thread)
{
#pragma omp for schedule(dynamic)
    for (long work = 0; work < a->batch * a->heads; work++) {
        const long sequence = work / a->heads, head = work % a->heads;
        char *thread_scratch = scratch + omp_get_thread_num() * scratch_per_thread;
        if (a->half || a->cu_seqlens_k[sequence + 1] - a->cu_seqlens_k[sequence] >= MIN_ROUNDED_KEYS) {
            configure_tiles();
            attend_head_by_tiles(a, sequence, head, thread_scratch);
            release_tiles();
        } else
            attend_head(a, sequence, head, (float *)thread_scratch);
    }
}

static void backward_by_tiles(const AttentionBackward *g, char *scratch, long scratch_per_thread)
{
    const Attention *a = &g->forward;
    configure_tiles();
#pragma omp for schedule(dynamic)
    for (long work = 0; work < a->batch * a->heads; work++)
        backward_head_by_tiles(g, work / a->heads, work % a->heads, scratch + omp_get_thread_num() * scratch_per_thread);
    release_tiles();
}
