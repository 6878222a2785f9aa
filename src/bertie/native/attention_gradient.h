/* The gradient of attention.h; included with the lanes of an instruction set.
 *
 * Weights and their gradients are computed again, [keys, queries], so that rows are keys and the sums over queries, which
 * the gradients of keys and values are, run along rows (FlashAttention-2, algorithm 2, arXiv 2307.08691).
 */

/* factors of rows that stay as they are */
static const float ONCE[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* what `attend` was given and made, dy [T_q, heads, width] and, like it, dq, dk and dv */
typedef struct {
    Attention forward;
    const float *dy;
    float *dq, *dk, *dv;
} Gradient;

/* numbers a thread needs for texts of at most so many queries and keys */
long NAME(attention_gradient_scratch)(long queries, long keys, long width)
{
    const long across = upto(queries, WIDTH), wide = upto(width, WIDTH);
    return 2 * across * width + (2 * queries + keys) * wide + (keys + ROWS + 2) * across;
}

/* of one text and head: q and dy as panels, either way; keys as panels; each query's log sum, and y . dy; the gradients of
 * q . k [keys, padded], and weights of a few keys */
typedef struct {
    long queries, keys, padded;
    float *q_across, *dy_across, *q_down, *dy_down, *keys_down, *log_sums, *products, *scores, *weights;
} Laid;

static Laid lay_out(const Gradient *g, long text, long head, float *scratch)
{
    const Attention *a = &g->forward;
    const long width = a->width, wide = upto(width, WIDTH), apart = a->heads * width, first = a->starts_q[text];
    Laid l = {.queries = a->starts_q[text + 1] - first, .keys = a->starts_k[text + 1] - a->starts_k[text]};
    const float *q = a->q + first * a->q_stride + head * width, *y = a->y + first * apart + head * width;
    const float *dy = g->dy + first * apart + head * width;
    l.padded = upto(l.queries, WIDTH);
    l.q_across = scratch;
    l.dy_across = l.q_across + l.padded * width;
    l.q_down = l.dy_across + l.padded * width;
    l.dy_down = l.q_down + l.queries * wide;
    l.keys_down = l.dy_down + l.queries * wide;
    l.log_sums = l.keys_down + l.keys * wide;
    l.products = l.log_sums + l.padded;
    l.weights = l.products + l.padded;
    l.scores = l.weights + ROWS * l.padded;
    lay_keys(q, a->q_stride, l.queries, width, l.q_across);
    lay_keys(dy, apart, l.queries, width, l.dy_across);
    lay_values(q, a->q_stride, l.queries, width, l.q_down);
    lay_values(dy, apart, l.queries, width, l.dy_down);
    lay_values(a->k + a->starts_k[text] * a->k_stride + head * width, a->k_stride, l.keys, width, l.keys_down);
    for (long i = 0; i < l.padded; i++)
        l.log_sums[i] = l.products[i] = 0;
    for (long i = 0; i < l.queries; i++) {
        l.log_sums[i] = a->log_sums[(first + i) * a->heads + head];
        for (long d = 0; d < width; d++)
            l.products[i] += y[i * apart + d] * dy[i * apart + d];
    }
    return l;
}

/* the gradients of a few keys and values of one text and head, and of their products with q */
INLINE void key_rows(const int rows, const Gradient *g, const Laid *l, const float *k, const float *v, float *dk, float *dv,
                     long first, const Key *key)
{
    const Attention *a = &g->forward;
    const Dropout *d = a->dropout;
    const long width = a->width, apart = a->heads * width, padded = l->padded;
    const float scale = 1 / sqrtf((float)width);
    V scores[ROWS][2], slopes[ROWS][2];
    for (long p = 0; p < padded; p += WIDTH) {
        tile(rows, k, a->k_stride, l->q_across + p * width, width, scores);
        tile(rows, v, a->v_stride, l->dy_across + p * width, width, slopes);
        for (int r = 0; r < rows; r++)
            for (int half = 0; half < 2; half++) {
                const long i = p + half * LANES;
                V score = FMA(scores[r][half], ALL(scale), SUB(ZERO(), LOAD(l->log_sums + i)));
                V weight = exponential(MIN(ZERO(), score)), kept = weight, slope = slopes[r][half];
                if (d) {
                    U number = U_ADD(U_LEFT(U_ADD(U_COUNT(), U_ALL(i)), 16), U_ALL(first + r));
                    U bits = random_bits(number, key);
                    kept = KEPT(MUL(weight, ALL(d->scale)), bits, U_ALL(d->least));
                    slope = KEPT(MUL(slope, ALL(d->scale)), bits, U_ALL(d->least));
                }
                STORE(l->weights + r * padded + i, kept);
                V change = MUL(MUL(weight, ALL(scale)), SUB(slope, LOAD(l->products + i)));
                STORE(l->scores + (first + r) * padded + i, change);
            }
    }
    multiply_rows(rows, l->weights, padded, 1, l->dy_down, l->queries, ONCE, dv, apart, width);
    multiply_rows(rows, l->scores + first * padded, padded, 1, l->q_down, l->queries, ONCE, dk, apart, width);
}

static void gradient_of_head(const Gradient *g, long text, long head, float *scratch)
{
    const Attention *a = &g->forward;
    const Laid l = lay_out(g, text, head, scratch);
    const Key key = a->dropout ? key_of(a->dropout, text * a->heads + head) : (Key){0, 0};
    const long first = a->starts_k[text], width = a->width, apart = a->heads * width;
    const float *k = a->k + first * a->k_stride + head * width, *v = a->v + first * a->v_stride + head * width;
    float *dk = g->dk + first * apart + head * width, *dv = g->dv + first * apart + head * width;
    float *dq = g->dq + a->starts_q[text] * apart + head * width;
    int step = tile_rows(l.keys);
    for (long row = 0; row < l.keys; row += step) {
#define BODY(n)                                                                                                        \
    key_rows(n, g, &l, k + row * a->k_stride, v + row * a->v_stride, dk + row * apart, dv + row * apart, row, &key)
        FOR_ROWS(l.keys - row < step ? l.keys - row : step, BODY)
#undef BODY
    }
    step = tile_rows(l.queries);
    for (long row = 0; row < l.queries; row += step) {
#define BODY(n)                                                                                                        \
    multiply_rows(n, l.scores + row, 1, l.padded, l.keys_down, l.keys, ONCE, dq + row * apart, apart, width)
        FOR_ROWS(l.queries - row < step ? l.queries - row : step, BODY)
#undef BODY
    }
}

/* each thread with ``each`` = attention_gradient_scratch numbers of scratch; returns what attention does */
int NAME(attention_gradient)(const Gradient *g, float *scratch, long each, int threads)
{
    const Attention *a = &g->forward;
    const long heads = a->heads, queries = longest_of(a->starts_q, a->texts, a->tokens_q);
    const long keys = longest_of(a->starts_k, a->texts, a->tokens_k);
    if (queries < 0 || keys < 0 || NAME(attention_gradient_scratch)(queries, keys, a->width) > each)
        return 1;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (long work = 0; work < a->texts * heads; work++)
        gradient_of_head(g, work / heads, work % heads, scratch + omp_get_thread_num() * each);
    return 0;
}
