/* Attention over packed sequences, dropout(softmax(q k^T / sqrt(width))) v; included after dropout.h. */

/* floats of scratch that a thread needs for sequences of at most this many queries and keys, in heads of ``width`` */
static long attention_scratch(long queries, long longest, long width, int half)
{
    long keys = upto(longest, NR);
    return keys * width + longest * upto(width, NR) + MR * keys + (half ? (2 * queries + 2 * longest) * width : 0);
}

/* k [keys, width] with rows ``stride`` apart as panels [keys / NR, width, NR], zero-padded after the last key */
static void pack_transposed(const float *k, long stride, long keys, long width, float *panels)
{
    const long wide = width / 4 * 4;
    for (long first = 0; first < keys; first += NR, panels += width * NR, k += NR * stride) {
        const long here = at_most(keys - first, NR), fours = here / 4 * 4;
        if (here < NR)
            memset(panels, 0, width * NR * sizeof(float));
        for (long j = 0; j < fours; j += 4)
            for (long d = 0; d < wide; d += 4)
                transpose4(k + j * stride + d, stride, panels + d * NR + j, NR);
        for (long j = 0; j < here; j++)
            for (long d = j < fours ? wide : 0; d < width; d++)
                panels[d * NR + j] = k[j * stride + d];
    }
}

/* v [keys, width] likewise as panels [width / NR, keys, NR] */
static void pack_columns(const float *v, long stride, long keys, long width, float *panels)
{
    for (long first = 0; first < width; first += NR, panels += keys * NR) {
        const long columns = at_most(width - first, NR);
        for (long j = 0; j < keys; j++) {
            memcpy(panels + j * NR, v + j * stride + first, columns * sizeof(float));
            memset(panels + j * NR + columns, 0, (NR - columns) * sizeof(float));
        }
    }
}

/* replace a row of scores by exp(scale * (score - largest)); returns their sum */
static inline float softmax_row(float *scores, long keys, long padded, float scale, float *largest)
{
    const V lowest = SET1(-INFINITY);
    V max0 = lowest, max1 = lowest, sum0 = ZERO(), sum1 = ZERO();
    /* stored as whole vectors: a vector load stalls on recent scalar stores to its bytes */
    for (long j = keys / LANES * LANES; j < padded; j += LANES)
        STORE(scores + j, SELECT_FIRST(LOAD(scores + j), keys - j, lowest));
    for (long j = 0; j < padded; j += NR) {
        max0 = MAX(max0, LOAD(scores + j));
        max1 = MAX(max1, LOAD(scores + j + LANES));
    }
    *largest = REDUCE_MAX(MAX(max0, max1));
    const V max = SET1(*largest);
    for (long j = 0; j < padded; j += NR) {
        V exp0 = exp_nonpositive(MUL(SUB(LOAD(scores + j), max), SET1(scale)));
        V exp1 = exp_nonpositive(MUL(SUB(LOAD(scores + j + LANES), max), SET1(scale)));
        sum0 = ADD(sum0, exp0); /* the exponentials of the padding are too small to change a float sum */
        sum1 = ADD(sum1, exp1);
        STORE(scores + j, exp0);
        STORE(scores + j + LANES, exp1);
    }
    return REDUCE_ADD(ADD(sum0, sum1));
}

/* y [rows, width] = a [rows, depth] . panels, each row scaled by its factor; ``a`` has the strides ``row_stride`` and
 * ``col_stride`` */
INLINE void multiply_rows(const int rows, const float *a, long row_stride, const long col_stride, const float *panels,
                          long depth, const float factors[MR], float *y, long y_stride, long width)
{
    V sums[MR][2];
    for (long column = 0; column < width; column += NR, panels += depth * NR) {
        microkernel_strided(rows, a, row_stride, col_stride, panels, depth, sums);
        for (int r = 0; r < rows; r++)
            for (long half = 0; half < 2 && column + half * LANES < width; half++) {
                const long c = column + half * LANES;
                store_partial(y + r * y_stride + c, MUL(sums[r][half], SET1(factors[r])), width - c);
            }
    }
}

/* The strides of q, k and v are those from token to token; y is [T_q, heads, width]. Sequence b has the queries from
 * cu_seqlens_q[b] up to cu_seqlens_q[b + 1], and keys likewise. ``lse`` [T_q, heads] is each query's log-sum-exp, or null if
 * it is not needed; ``dropout`` is null if no weight is dropped. If ``half``, q, k, v and y are bfloat16; if ``approximate``,
 * they are float32, but their products may be computed in bfloat16. */
typedef struct {
    const void *q, *k, *v;
    void *y;
    const int *cu_seqlens_q, *cu_seqlens_k;
    long q_stride, k_stride, v_stride, tokens_q, tokens_k, batch, heads, width;
    float *lse;
    const Dropout *dropout;
    long half, approximate;
} Attention;

/* rows of one head in float32, ``stride`` apart */
typedef struct {
    float *rows;
    long stride;
} HeadRows;

/* ``count`` rows of x, ``stride`` apart, from ``first`` on: in place, or widened from bfloat16 into ``*free`` */
static HeadRows head_rows(const Attention *a, const void *x, long stride, long first, long count, long head, float **free)
{
    const long offset = first * stride + head * a->width;
    if (!a->half)
        return (HeadRows){(float *)x + offset, stride};
    const HeadRows widened = {*free, a->width};
    for (long i = 0; i < count; i++)
        convert_row((const Bfloat16 *)x + offset + i * stride, 1, widened.rows + i * a->width, 0, a->width);
    *free += count * a->width;
    return widened;
}

/* where rows of a result are written: in place, or to ``*free``, from which `store_rows` rounds them to bfloat16 */
static HeadRows output_rows(const Attention *a, void *x, long stride, long first, long count, long head, float **free)
{
    if (!a->half)
        return (HeadRows){(float *)x + first * stride + head * a->width, stride};
    *free += count * a->width;
    return (HeadRows){*free - count * a->width, a->width};
}

static void store_rows(const Attention *a, HeadRows from, void *x, long stride, long first, long count, long head)
{
    for (long i = 0; a->half && i < count; i++)
        convert_row(from.rows + i * from.stride, 0, (Bfloat16 *)x + (first + i) * stride + head * a->width, 1, a->width);
}

/* the length of the longest sequence; -1 if the sequences do not partition the ``tokens`` in order */
static long max_seqlen(const int *cu_seqlens, long batch, long tokens)
{
    long longest = 0;
    if (batch < 0 || cu_seqlens[0] || cu_seqlens[batch] != tokens)
        return -1;
    for (long b = 0; b < batch; b++) {
        const long length = (long)cu_seqlens[b + 1] - cu_seqlens[b];
        if (length < 0)
            return -1;
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* the context of ``rows`` queries of one sequence and head, from ``query`` on */
INLINE void attend_rows(const int rows, const Attention *a, const float *q, long q_stride, const float *keys,
                        const float *values, long count, float *scores, float *y, long y_stride, float *lse, long query,
                        const HashKey *key)
{
    const long padded = upto(count, NR), width = a->width;
    const float scale = 1 / sqrtf((float)width);
    V sums[MR][2];
    float factors[MR];
    for (long p = 0; p < padded; p += NR) {
        microkernel(rows, q, q_stride, keys + p * width, width, sums);
        for (int r = 0; r < rows; r++) {
            STORE(scores + r * padded + p, sums[r][0]);
            STORE(scores + r * padded + p + LANES, sums[r][1]);
        }
    }
    for (int r = 0; r < rows; r++) {
        float *row = scores + r * padded, largest, sum = softmax_row(row, count, padded, scale, &largest);
        factors[r] = 1 / sum;
        if (lse)
            lse[r * a->heads] = largest * scale + logf(sum);
        if (a->dropout) {
            factors[r] *= a->dropout->scale;
            drop_row(row, count, query + r, key, a->dropout);
        }
    }
    multiply_rows(rows, scores, padded, 1, values, count, factors, y, y_stride, width);
}

static void attend_head(const Attention *a, long sequence, long head, float *scratch)
{
    const long first = a->cu_seqlens_q[sequence], queries = a->cu_seqlens_q[sequence + 1] - first, width = a->width;
    const long first_key = a->cu_seqlens_k[sequence], keys = a->cu_seqlens_k[sequence + 1] - first_key;
    const long y_stride = a->heads * width;
    float *lse = a->lse ? a->lse + first * a->heads + head : 0;
    float *key_panels = scratch, *value_panels = key_panels + upto(keys, NR) * width;
    float *scores = value_panels + keys * upto(width, NR), *free = scores + MR * upto(keys, NR);
    const HashKey key = a->dropout ? hash_key(a->dropout, sequence * a->heads + head) : (HashKey){0, 0};
    const HeadRows y = output_rows(a, a->y, y_stride, first, queries, head, &free);
    if (!keys) /* nothing to attend to */
        for (long i = 0; i < queries; i++)
            memset(y.rows + i * y.stride, 0, width * sizeof(float));
    if (keys && queries) {
        const HeadRows q = head_rows(a, a->q, a->q_stride, first, queries, head, &free);
        const HeadRows k = head_rows(a, a->k, a->k_stride, first_key, keys, head, &free);
        const HeadRows v = head_rows(a, a->v, a->v_stride, first_key, keys, head, &free);
        pack_transposed(k.rows, k.stride, keys, width, key_panels);
        pack_columns(v.rows, v.stride, keys, width, value_panels);
        const int step = rows_per_microkernel(queries);
        for (long row = 0; row < queries; row += step) {
            float *row_lse = lse ? lse + row * a->heads : 0;
#define BODY(n)                                                                                                        \
    attend_rows(n, a, q.rows + row * q.stride, q.stride, key_panels, value_panels, keys, scores, y.rows + row * y.stride,     \
                y.stride, row_lse, row, &key)
            FOR_ROWS(at_most(queries - row, step), BODY)
#undef BODY
        }
    }
    store_rows(a, y, a->y, y_stride, first, queries, head);
}

/* run by a team of threads, each with ``scratch_per_thread`` floats of scratch */
static void attend(const Attention *a, float *scratch, long scratch_per_thread)
{
#pragma omp for schedule(dynamic)
    for (long work = 0; work < a->batch * a->heads; work++)
        attend_head(a, work / a->heads, work % a->heads, scratch + omp_get_thread_num() * scratch_per_thread);
}
