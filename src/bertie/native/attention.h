/* Attention of packed texts, dropout(softmax(q k^T / sqrt(width))) v; included with the lanes of an instruction set. */

/* numbers a thread needs beside its arguments, for texts of at most ``longest`` keys and heads of ``width`` */
long NAME(attention_scratch)(long longest, long width)
{
    long keys = upto(longest, WIDTH);
    return keys * width + longest * upto(width, WIDTH) + ROWS * keys;
}

/* to[d, j] = from[j, d] for 4 x 4 numbers */
static inline void transpose4(const float *from, long from_stride, float *to, long to_stride)
{
    __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_stride);
    __m128 c = _mm_loadu_ps(from + 2 * from_stride), d = _mm_loadu_ps(from + 3 * from_stride);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + to_stride, b);
    _mm_storeu_ps(to + 2 * to_stride, c);
    _mm_storeu_ps(to + 3 * to_stride, d);
}

/* k [keys, width] with rows ``stride`` apart as panels [keys / WIDTH, width, WIDTH], zeros behind the last key */
static void lay_keys(const float *k, long stride, long keys, long width, float *panels)
{
    const long wide = width / 4 * 4;
    for (long first = 0; first < keys; first += WIDTH, panels += width * WIDTH, k += WIDTH * stride) {
        const long here = keys - first < WIDTH ? keys - first : WIDTH, fours = here / 4 * 4;
        if (here < WIDTH)
            memset(panels, 0, width * WIDTH * sizeof(float));
        for (long j = 0; j < fours; j += 4)
            for (long d = 0; d < wide; d += 4)
                transpose4(k + j * stride + d, stride, panels + d * WIDTH + j, WIDTH);
        for (long j = 0; j < here; j++)
            for (long d = j < fours ? wide : 0; d < width; d++)
                panels[d * WIDTH + j] = k[j * stride + d];
    }
}

/* v [keys, width] likewise as panels [width / WIDTH, keys, WIDTH] */
static void lay_values(const float *v, long stride, long keys, long width, float *panels)
{
    for (long first = 0; first < width; first += WIDTH, panels += keys * WIDTH) {
        long columns = width - first < WIDTH ? width - first : WIDTH;
        for (long j = 0; j < keys; j++) {
            memcpy(panels + j * WIDTH, v + j * stride + first, columns * sizeof(float));
            memset(panels + j * WIDTH + columns, 0, (WIDTH - columns) * sizeof(float));
        }
    }
}

/* turn a row of scores into exp(scale * (score - largest)), which sum to the number returned */
static inline float soften(float *scores, long keys, long padded, float scale, float *largest)
{
    const V nothing = ALL(-INFINITY);
    V high = nothing, higher = nothing, total = ZERO(), more = ZERO();
    /* one vector at a time: a load from where single numbers were just stored would wait for them */
    for (long j = keys / LANES * LANES; j < padded; j += LANES)
        STORE(scores + j, FIRST(LOAD(scores + j), keys - j, nothing));
    for (long j = 0; j < padded; j += WIDTH) {
        high = MAX(high, LOAD(scores + j));
        higher = MAX(higher, LOAD(scores + j + LANES));
    }
    *largest = LARGEST(MAX(high, higher));
    const V most = ALL(*largest);
    for (long j = 0; j < padded; j += WIDTH) {
        V one = exponential(MUL(SUB(LOAD(scores + j), most), ALL(scale)));
        V other = exponential(MUL(SUB(LOAD(scores + j + LANES), most), ALL(scale)));
        total = ADD(total, one); /* what lies behind the last key adds nothing that a float could hold */
        more = ADD(more, other);
        STORE(scores + j, one);
        STORE(scores + j + LANES, other);
    }
    return SUM(ADD(total, more));
}

/* y [rows, width] = a [rows, depth] . panels, each row times its factor; rows of ``a`` are ``stride`` apart, its columns
 * ``apart`` */
INLINE void multiply_rows(const int rows, const float *a, long stride, const long apart, const float *panels, long depth,
                          const float factors[ROWS], float *y, long y_stride, long width)
{
    V sums[ROWS][2];
    for (long column = 0; column < width; column += WIDTH, panels += depth * WIDTH) {
        tile_apart(rows, a, stride, apart, panels, depth, sums);
        for (int r = 0; r < rows; r++)
            for (long half = 0; half < 2 && column + half * LANES < width; half++) {
                const long place = column + half * LANES;
                store_some(y + r * y_stride + place, MUL(sums[r][half], ALL(factors[r])), width - place);
            }
    }
}

/* what attention reads and writes: tokens of q, k and v are so far apart, y is [T_q, heads, width]; text b has queries
 * from starts_q[b] up to starts_q[b + 1], and keys likewise. Where they are asked for, log_sums [T_q, heads] are the
 * logarithms of what weights were divided by; what drops weights is null where nothing does. */
typedef struct {
    const float *q, *k, *v;
    float *y;
    const int *starts_q, *starts_k;
    long q_stride, k_stride, v_stride, tokens_q, tokens_k, texts, heads, width;
    float *log_sums;
    const Dropout *dropout;
} Attention;

/* the most tokens of a text; -1 if the texts do not lie one after the other in so many tokens */
static long longest_of(const int *starts, long texts, long tokens)
{
    long longest = 0;
    if (texts < 0 || starts[0] || starts[texts] != tokens)
        return -1;
    for (long text = 0; text < texts; text++) {
        const long length = (long)starts[text + 1] - starts[text];
        if (length < 0)
            return -1;
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* the context of a few queries of one text and head, from ``query`` on */
INLINE void attend_rows(const int rows, const Attention *a, const float *q, const float *keys, const float *values,
                        long count, float *scores, float *y, float *log_sums, long query, const Key *key)
{
    const long padded = upto(count, WIDTH), width = a->width, apart = a->heads * width;
    const float scale = 1 / sqrtf((float)width);
    V sums[ROWS][2];
    float weights[ROWS];
    for (long p = 0; p < padded; p += WIDTH) {
        tile(rows, q, a->q_stride, keys + p * width, width, sums);
        for (int r = 0; r < rows; r++) {
            STORE(scores + r * padded + p, sums[r][0]);
            STORE(scores + r * padded + p + LANES, sums[r][1]);
        }
    }
    for (int r = 0; r < rows; r++) {
        float *own = scores + r * padded, largest, sum = soften(own, count, padded, scale, &largest);
        weights[r] = 1 / sum;
        if (log_sums)
            log_sums[r * a->heads] = largest * scale + logf(sum);
        if (a->dropout) {
            weights[r] *= a->dropout->scale;
            drop_row(own, count, query + r, key, a->dropout);
        }
    }
    multiply_rows(rows, scores, padded, 1, values, count, weights, y, apart, width);
}

static void attend_head(const Attention *a, long text, long head, float *scratch)
{
    const long first = a->starts_q[text], queries = a->starts_q[text + 1] - first, width = a->width;
    const long keys = a->starts_k[text + 1] - a->starts_k[text], apart = a->heads * width;
    const float *q = a->q + first * a->q_stride + head * width;
    float *y = a->y + first * apart + head * width, *log_sums = a->log_sums ? a->log_sums + first * a->heads + head : 0;
    float *key_panels = scratch, *value_panels = key_panels + upto(keys, WIDTH) * width;
    float *scores = value_panels + keys * upto(width, WIDTH);
    const Key key = a->dropout ? key_of(a->dropout, text * a->heads + head) : (Key){0, 0};
    if (!keys) /* nothing to attend to */
        for (long i = 0; i < queries; i++)
            memset(y + i * apart, 0, width * sizeof(float));
    if (!keys || !queries)
        return;
    lay_keys(a->k + a->starts_k[text] * a->k_stride + head * width, a->k_stride, keys, width, key_panels);
    lay_values(a->v + a->starts_k[text] * a->v_stride + head * width, a->v_stride, keys, width, value_panels);
    const int step = tile_rows(queries);
    for (long row = 0; row < queries; row += step) {
        float *own = log_sums ? log_sums + row * a->heads : 0;
#define BODY(n)                                                                                                        \
    attend_rows(n, a, q + row * a->q_stride, key_panels, value_panels, keys, scores, y + row * apart, own, row, &key)
        FOR_ROWS(queries - row < step ? queries - row : step, BODY)
#undef BODY
    }
}

/* shared by a team of threads, each with ``each`` = attention_scratch numbers of scratch */
static void attend(const Attention *a, float *scratch, long each)
{
#pragma omp for schedule(dynamic)
    for (long work = 0; work < a->texts * a->heads; work++)
        attend_head(a, work / a->heads, work % a->heads, scratch + omp_get_thread_num() * each);
}

/* returns 0, or 1 and does nothing if the texts are not the tokens exactly, or need more than the scratch */
int NAME(attention)(const Attention *a, float *scratch, long each, int threads)
{
    const long keys = longest_of(a->starts_k, a->texts, a->tokens_k);
    if (longest_of(a->starts_q, a->texts, a->tokens_q) < 0 || keys < 0 || NAME(attention_scratch)(keys, a->width) > each)
        return 1;
#pragma omp parallel num_threads(threads) if (threads > 1)
    attend(a, scratch, each);
    return 0;
}
