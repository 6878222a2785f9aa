/* Attention of packed texts, softmax(q k^T / sqrt(width)) v; included with the lanes of an instruction set. */

/* numbers a thread needs beside its arguments, for texts of at most ``longest`` keys and heads of ``width`` */
long NAME(attention_scratch)(long longest, long width)
{
    long keys = upto(longest, WIDTH);
    return keys * width + longest * upto(width, WIDTH) + ROWS * keys;
}

/* k [keys, width] with rows ``stride`` apart as panels [keys / WIDTH, width, WIDTH], zeros behind the last key */
static void lay_keys(const float *k, long stride, long keys, long width, float *panels)
{
    for (long first = 0; first < keys; first += WIDTH, panels += width * WIDTH) {
        const long here = keys - first < WIDTH ? keys - first : WIDTH;
        if (here < WIDTH)
            memset(panels, 0, width * WIDTH * sizeof(float));
        for (long j = 0; j < here; j++, k += stride)
            for (long d = 0; d < width; d++)
                panels[d * WIDTH + j] = k[d];
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

/* turn a row of scores into weights that sum to the number returned */
static inline float soften(float *scores, long keys, long padded, float scale)
{
    V high = ALL(-INFINITY), total = ZERO();
    for (long j = keys; j < padded; j++)
        scores[j] = -INFINITY;
    for (long j = 0; j < padded; j += LANES)
        high = MAX(high, LOAD(scores + j));
    const V most = ALL(LARGEST(high));
    for (long j = 0; j < padded; j += LANES) {
        V weight = exponential(MUL(SUB(LOAD(scores + j), most), ALL(scale)));
        total = ADD(total, weight); /* what lies behind the last key adds nothing that a float could hold */
        STORE(scores + j, weight);
    }
    return SUM(total);
}

/* the context of a few queries of one head, y rows ``y_stride`` apart */
INLINE void attend_rows(const int rows, const float *q, long q_stride, const float *keys, const float *values, long count,
                        long width, float *scores, float *y, long y_stride)
{
    const long padded = upto(count, WIDTH);
    const float scale = 1 / sqrtf((float)width);
    V sums[ROWS][2];
    float weights[ROWS], cut[WIDTH];
    for (long p = 0; p < padded; p += WIDTH) {
        tile(rows, q, q_stride, keys + p * width, width, sums);
        for (int r = 0; r < rows; r++) {
            STORE(scores + r * padded + p, sums[r][0]);
            STORE(scores + r * padded + p + LANES, sums[r][1]);
        }
    }
    for (int r = 0; r < rows; r++)
        weights[r] = 1 / soften(scores + r * padded, count, padded, scale);
    for (long column = 0; column < width; column += WIDTH, values += count * WIDTH) {
        tile(rows, scores, padded, values, count, sums);
        for (int r = 0; r < rows; r++) {
            float *place = column + WIDTH <= width ? y + r * y_stride + column : cut;
            STORE(place, MUL(sums[r][0], ALL(weights[r])));
            STORE(place + LANES, MUL(sums[r][1], ALL(weights[r])));
            if (place == cut)
                memcpy(y + r * y_stride + column, cut, (width - column) * sizeof(float));
        }
    }
}

/* what attention reads and writes: tokens of q, k and v are so far apart, y is [T_q, heads, width]; text b has queries
 * from starts_q[b] up to starts_q[b + 1], and keys likewise */
typedef struct {
    const float *q, *k, *v;
    float *y;
    const int *starts_q, *starts_k;
    long q_stride, k_stride, v_stride, texts, heads, width;
} Attention;

static void attend_head(const Attention *a, long text, long head, float *scratch)
{
    const long first = a->starts_q[text], queries = a->starts_q[text + 1] - first, width = a->width;
    const long keys = a->starts_k[text + 1] - a->starts_k[text], apart = a->heads * width;
    const float *q = a->q + first * a->q_stride + head * width;
    float *y = a->y + first * apart + head * width;
    float *key_panels = scratch, *value_panels = key_panels + upto(keys, WIDTH) * width;
    float *scores = value_panels + keys * upto(width, WIDTH);
    if (!keys) /* nothing to attend to */
        for (long i = 0; i < queries; i++)
            memset(y + i * apart, 0, width * sizeof(float));
    if (!keys || !queries)
        return;
    lay_keys(a->k + a->starts_k[text] * a->k_stride + head * width, a->k_stride, keys, width, key_panels);
    lay_values(a->v + a->starts_k[text] * a->v_stride + head * width, a->v_stride, keys, width, value_panels);
    const int step = tile_rows(queries);
    for (long row = 0; row < queries; row += step) {
#define BODY(n)                                                                                                        \
    attend_rows(n, q + row * a->q_stride, a->q_stride, key_panels, value_panels, keys, width, scores, y + row * apart, apart)
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

void NAME(attention)(const float *q, const float *k, const float *v, float *y, const int *starts_q, const int *starts_k,
                     float *scratch, long q_stride, long k_stride, long v_stride, long texts, long heads, long width,
                     long each, int threads)
{
    const Attention a = {q, k, v, y, starts_q, starts_k, q_stride, k_stride, v_stride, texts, heads, width};
#pragma omp parallel num_threads(threads) if (threads > 1)
    attend(&a, scratch, each);
}
