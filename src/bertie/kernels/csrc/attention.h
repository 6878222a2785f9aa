/* Attention of packed texts, dropout(softmax(q k^T / sqrt(width))) v; included with the vectors of an instruction set. */

/* numbers a thread needs beside its arguments, for sequences of at most so many queries and keys and heads of ``width`` */
static long attention_scratch(long queries, long longest, long width, int half)
{
    long keys = upto(longest, NR);
    return keys * width + longest * upto(width, NR) + MR * keys + (half ? (2 * queries + 2 * longest) * width : 0);
}

/* k [keys, width] with rows ``stride`` apart as panels [keys / NR, width, NR], zeros behind the last key */
static void pack_transposed(const float *k, long stride, long keys, long width, float *panels)
{
    const long wide = width / 4 * 4;
    for (long first = 0; first < keys; first += NR, panels += width * NR, k += NR * stride) {
        const long here = keys - first < NR ? keys - first : NR, fours = here / 4 * 4;
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
        long columns = width - first < NR ? width - first : NR;
        for (long j = 0; j < keys; j++) {
            memcpy(panels + j * NR, v + j * stride + first, columns * sizeof(float));
            memset(panels + j * NR + columns, 0, (NR - columns) * sizeof(float));
        }
    }
}

/* turn a row of scores into exp(scale * (score - largest)), which sum to the number returned */
static inline float softmax_row(float *scores, long keys, long padded, float scale, float *largest)
{
    const V nothing = SET1(-INFINITY);
    V high = nothing, higher = nothing, total = ZERO(), more = ZERO();
    /* one vector at a time: a load from where single numbers were just stored would wait for them */
    for (long j = keys / LANES * LANES; j < padded; j += LANES)
        STORE(scores + j, SELECT_FIRST(LOAD(scores + j), keys - j, nothing));
    for (long j = 0; j < padded; j += NR) {
        high = MAX(high, LOAD(scores + j));
        higher = MAX(higher, LOAD(scores + j + LANES));
    }
    *largest = REDUCE_MAX(MAX(high, higher));
    const V most = SET1(*largest);
    for (long j = 0; j < padded; j += NR) {
        V one = exp_nonpositive(MUL(SUB(LOAD(scores + j), most), SET1(scale)));
        V other = exp_nonpositive(MUL(SUB(LOAD(scores + j + LANES), most), SET1(scale)));
        total = ADD(total, one); /* what lies behind the last key adds nothing that a float could hold */
        more = ADD(more, other);
        STORE(scores + j, one);
        STORE(scores + j + LANES, other);
    }
    return REDUCE_ADD(ADD(total, more));
}

/* y [rows, width] = a [rows, depth] . panels, each row times its factor; rows of ``a`` are ``row_stride`` apart, its columns
 * ``col_stride`` */
INLINE void multiply_rows(const int rows, const float *a, long row_stride, const long col_stride, const float *panels,
                          long depth, const float factors[MR], float *y, long y_stride, long width)
{
    V sums[MR][2];
    for (long column = 0; column < width; column += NR, panels += depth * NR) {
        microkernel_strided(rows, a, row_stride, col_stride, panels, depth, sums);
        for (int r = 0; r < rows; r++)
            for (long half = 0; half < 2 && column + half * LANES < width; half++) {
                const long place = column + half * LANES;
                store_partial(y + r * y_stride + place, MUL(sums[r][half], SET1(factors[r])), width - place);
            }
    }
}

/* tokens of q, k and v lie the strides apart, y is [T_q, heads, width]; sequence b has queries from cu_seqlens_q[b] up to
 * cu_seqlens_q[b + 1], and keys likewise. ``lse`` [T_q, heads], where it is wanted, is the logarithm of the sum of each
 * query's exponentials; ``dropout`` is null where no weight is dropped. Where ``half``, q, k, v and y are bfloat16; where
 * ``approximate``, they are float32, but products of bfloat16 will do. */
typedef struct {
    const void *q, *k, *v;
    void *y;
    const int *cu_seqlens_q, *cu_seqlens_k;
    long q_stride, k_stride, v_stride, tokens_q, tokens_k, batch, heads, width;
    float *lse;
    const Dropout *dropout;
    long half, approximate;
} Attention;

/* rows of one head, as float32, and how far apart they lie */
typedef struct {
    float *rows;
    long stride;
} HeadRows;

/* ``count`` rows of x, ``stride`` apart, from ``first`` on: where they lie, or widened from bfloat16 into ``*free`` */
static HeadRows rows_of_head(const Attention *a, const void *x, long stride, long first, long count, long head, float **free)
{
    const long place = first * stride + head * a->width;
    if (!a->half)
        return (HeadRows){(float *)x + place, stride};
    const HeadRows widened = {*free, a->width};
    for (long i = 0; i < count; i++)
        convert_row((const Bfloat16 *)x + place + i * stride, 1, widened.rows + i * a->width, 0, a->width);
    *free += count * a->width;
    return widened;
}

/* where rows of an answer are written: their own place, or ``*free``, from which `give_rows` narrows them */
static HeadRows room_for_rows(const Attention *a, void *x, long stride, long first, long count, long head, float **free)
{
    if (!a->half)
        return (HeadRows){(float *)x + first * stride + head * a->width, stride};
    *free += count * a->width;
    return (HeadRows){*free - count * a->width, a->width};
}

static void give_rows(const Attention *a, HeadRows from, void *x, long stride, long first, long count, long head)
{
    for (long i = 0; a->half && i < count; i++)
        convert_row(from.rows + i * from.stride, 0, (Bfloat16 *)x + (first + i) * stride + head * a->width, 1, a->width);
}

/* the most tokens of a sequence; -1 if the sequences do not lie one after the other in so many tokens */
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

/* the context of a few queries of one sequence and head, from ``query`` on */
INLINE void attend_rows(const int rows, const Attention *a, const float *q, long q_stride, const float *keys,
                        const float *values, long count, float *scores, float *y, long y_stride, float *lse, long query,
                        const Key *key)
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
        float *own = scores + r * padded, largest, sum = softmax_row(own, count, padded, scale, &largest);
        factors[r] = 1 / sum;
        if (lse)
            lse[r * a->heads] = largest * scale + logf(sum);
        if (a->dropout) {
            factors[r] *= a->dropout->scale;
            drop_row(own, count, query + r, key, a->dropout);
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
    const Key key = a->dropout ? key_of(a->dropout, sequence * a->heads + head) : (Key){0, 0};
    const HeadRows y = room_for_rows(a, a->y, y_stride, first, queries, head, &free);
    if (!keys) /* nothing to attend to */
        for (long i = 0; i < queries; i++)
            memset(y.rows + i * y.stride, 0, width * sizeof(float));
    if (keys && queries) {
        const HeadRows q = rows_of_head(a, a->q, a->q_stride, first, queries, head, &free);
        const HeadRows k = rows_of_head(a, a->k, a->k_stride, first_key, keys, head, &free);
        const HeadRows v = rows_of_head(a, a->v, a->v_stride, first_key, keys, head, &free);
        pack_transposed(k.rows, k.stride, keys, width, key_panels);
        pack_columns(v.rows, v.stride, keys, width, value_panels);
        const int step = rows_per_microkernel(queries);
        for (long row = 0; row < queries; row += step) {
            float *own = lse ? lse + row * a->heads : 0;
#define BODY(n)                                                                                                        \
    attend_rows(n, a, q.rows + row * q.stride, q.stride, key_panels, value_panels, keys, scores, y.rows + row * y.stride,     \
                y.stride, own, row, &key)
            FOR_ROWS(queries - row < step ? queries - row : step, BODY)
#undef BODY
        }
    }
    give_rows(a, y, a->y, y_stride, first, queries, head);
}

/* shared by a team of threads, each with ``scratch_per_thread`` numbers of scratch */
static void attend(const Attention *a, float *scratch, long scratch_per_thread)
{
#pragma omp for schedule(dynamic)
    for (long work = 0; work < a->batch * a->heads; work++)
        attend_head(a, work / a->heads, work % a->heads, scratch + omp_get_thread_num() * scratch_per_thread);
}
