/* The gradient of attention.h, after which it is included.
 *
 * Weights are recomputed as [keys, queries], as are their gradients: the gradients of keys and values are sums over queries,
 * which then run along rows (FlashAttention-2, algorithm 2, arXiv 2307.08691).
 */

static const float ONES[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* the forward pass with its result; dy [T_q, heads, width], and dq, dk and dv in the same layout */
typedef struct {
    Attention forward;
    const void *dy;
    void *dq, *dk, *dv;
} AttentionBackward;

/* floats of scratch that a thread needs for sequences of at most this many queries and keys */
static long backward_scratch(long queries, long keys, long width, int half)
{
    const long across = upto(queries, NR), wide = upto(width, NR);
    return 2 * across * width + (2 * queries + keys) * wide + (keys + MR + 2) * across +
           (half ? 4 * (queries + keys) * width : 0);
}

/* for one sequence and head: q and dy as panels, transposed and not; keys as panels; each query's log-sum-exp and
 * delta = y . dy; the gradients of the scores [keys, padded]; and the weights of up to MR keys */
typedef struct {
    long queries, keys, padded;
    float *q_transposed, *dy_transposed, *q, *dy, *k, *lse, *delta, *dS, *weights, *free;
    HeadRows k_rows, v_rows;
} BackwardWorkspace;

static BackwardWorkspace lay_out(const AttentionBackward *g, long sequence, long head, float *scratch)
{
    const Attention *a = &g->forward;
    const long width = a->width, wide = upto(width, NR), y_stride = a->heads * width, first = a->cu_seqlens_q[sequence];
    const long first_key = a->cu_seqlens_k[sequence];
    BackwardWorkspace w = {.queries = a->cu_seqlens_q[sequence + 1] - first,
                           .keys = a->cu_seqlens_k[sequence + 1] - first_key};
    w.padded = upto(w.queries, NR);
    w.q_transposed = scratch;
    w.dy_transposed = w.q_transposed + w.padded * width;
    w.q = w.dy_transposed + w.padded * width;
    w.dy = w.q + w.queries * wide;
    w.k = w.dy + w.queries * wide;
    w.lse = w.k + w.keys * wide;
    w.delta = w.lse + w.padded;
    w.weights = w.delta + w.padded;
    w.dS = w.weights + MR * w.padded;
    w.free = w.dS + w.keys * w.padded;
    const HeadRows q = head_rows(a, a->q, a->q_stride, first, w.queries, head, &w.free);
    const HeadRows y = head_rows(a, a->y, y_stride, first, w.queries, head, &w.free);
    const HeadRows dy = head_rows(a, g->dy, y_stride, first, w.queries, head, &w.free);
    w.k_rows = head_rows(a, a->k, a->k_stride, first_key, w.keys, head, &w.free);
    w.v_rows = head_rows(a, a->v, a->v_stride, first_key, w.keys, head, &w.free);
    pack_transposed(q.rows, q.stride, w.queries, width, w.q_transposed);
    pack_transposed(dy.rows, dy.stride, w.queries, width, w.dy_transposed);
    pack_columns(q.rows, q.stride, w.queries, width, w.q);
    pack_columns(dy.rows, dy.stride, w.queries, width, w.dy);
    pack_columns(w.k_rows.rows, w.k_rows.stride, w.keys, width, w.k);
    for (long i = 0; i < w.padded; i++)
        w.lse[i] = w.delta[i] = 0;
    for (long i = 0; i < w.queries; i++) {
        w.lse[i] = a->lse[(first + i) * a->heads + head];
        for (long d = 0; d < width; d++)
            w.delta[i] += y.rows[i * y.stride + d] * dy.rows[i * dy.stride + d];
    }
    return w;
}

/* the gradients of ``rows`` keys and values of one sequence and head, and of their scores */
INLINE void key_rows(const int rows, const AttentionBackward *g, const BackwardWorkspace *w, float *dk, float *dv,
                     long stride, long first, const HashKey *key)
{
    const Attention *a = &g->forward;
    const Dropout *d = a->dropout;
    const long width = a->width, padded = w->padded;
    const float *k = w->k_rows.rows + first * w->k_rows.stride, *v = w->v_rows.rows + first * w->v_rows.stride;
    const float scale = 1 / sqrtf((float)width);
    V scores[MR][2], dP[MR][2];
    for (long p = 0; p < padded; p += NR) {
        microkernel(rows, k, w->k_rows.stride, w->q_transposed + p * width, width, scores);
        microkernel(rows, v, w->v_rows.stride, w->dy_transposed + p * width, width, dP);
        for (int r = 0; r < rows; r++)
            for (int half = 0; half < 2; half++) {
                const long i = p + half * LANES;
                V score = FMA(scores[r][half], SET1(scale), SUB(ZERO(), LOAD(w->lse + i)));
                V weight = exp_nonpositive(MIN(ZERO(), score)), kept = weight, dp = dP[r][half];
                if (d) {
                    U number = U_ADD(U_SHL(U_ADD(U_IOTA(), U_SET1(i)), 16), U_SET1(first + r));
                    U bits = random_bits(number, key);
                    kept = ZERO_BELOW(MUL(weight, SET1(d->scale)), bits, U_SET1(d->threshold));
                    dp = ZERO_BELOW(MUL(dp, SET1(d->scale)), bits, U_SET1(d->threshold));
                }
                STORE(w->weights + r * padded + i, kept);
                V ds = MUL(MUL(weight, SET1(scale)), SUB(dp, LOAD(w->delta + i)));
                STORE(w->dS + (first + r) * padded + i, ds);
            }
    }
    multiply_rows(rows, w->weights, padded, 1, w->dy, w->queries, ONES, dv, stride, width);
    multiply_rows(rows, w->dS + first * padded, padded, 1, w->q, w->queries, ONES, dk, stride, width);
}

static void backward_head(const AttentionBackward *g, long sequence, long head, float *scratch)
{
    const Attention *a = &g->forward;
    BackwardWorkspace w = lay_out(g, sequence, head, scratch);
    const HashKey key = a->dropout ? hash_key(a->dropout, sequence * a->heads + head) : (HashKey){0, 0};
    const long first = a->cu_seqlens_q[sequence], first_key = a->cu_seqlens_k[sequence], width = a->width;
    const long stride = a->heads * width;
    const HeadRows dk = output_rows(a, g->dk, stride, first_key, w.keys, head, &w.free);
    const HeadRows dv = output_rows(a, g->dv, stride, first_key, w.keys, head, &w.free);
    const HeadRows dq = output_rows(a, g->dq, stride, first, w.queries, head, &w.free);
    int step = rows_per_microkernel(w.keys);
    for (long row = 0; row < w.keys; row += step) {
#define BODY(n) key_rows(n, g, &w, dk.rows + row * dk.stride, dv.rows + row * dv.stride, dk.stride, row, &key)
        FOR_ROWS(at_most(w.keys - row, step), BODY)
#undef BODY
    }
    step = rows_per_microkernel(w.queries);
    for (long row = 0; row < w.queries; row += step) {
#define BODY(n)                                                                                                        \
    multiply_rows(n, w.dS + row, 1, w.padded, w.k, w.keys, ONES, dq.rows + row * dq.stride, dq.stride, width)
        FOR_ROWS(at_most(w.queries - row, step), BODY)
#undef BODY
    }
    store_rows(a, dk, g->dk, stride, first_key, w.keys, head);
    store_rows(a, dv, g->dv, stride, first_key, w.keys, head);
    store_rows(a, dq, g->dq, stride, first, w.queries, head);
}

/* run by a team of threads */
static void attend_backward(const AttentionBackward *g, float *scratch, long scratch_per_thread)
{
    const Attention *a = &g->forward;
#pragma omp for schedule(dynamic)
    for (long work = 0; work < a->batch * a->heads; work++)
        backward_head(g, work / a->heads, work % a->heads, scratch + omp_get_thread_num() * scratch_per_thread);
}
