/* Attention of packed texts, softmax(q k^T / sqrt(width)) v; included with the lanes of an instruction set. */

static inline long upto(long number, long multiple) { return (number + multiple - 1) / multiple * multiple; }

/* numbers a thread needs beside its arguments, for texts of at most ``longest`` keys and heads of ``width`` */
long NAME(attention_scratch)(long longest, long width)
{
    long keys = upto(longest, WIDTH);
    return keys * width + longest * upto(width, WIDTH) + ROWS * keys;
}

/* k [keys, width] with rows ``stride`` apart as panels [keys / WIDTH, width, WIDTH], zeros behind the last key */
static void lay_keys(const float *k, long stride, long keys, long width, float *panels)
{
    for (long first = 0; first < keys; first += WIDTH, panels += width * WIDTH)
        for (long j = 0; j < WIDTH; j++)
            for (long d = 0; d < width; d++)
                panels[d * WIDTH + j] = first + j < keys ? k[(first + j) * stride + d] : 0;
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

/* y [T_q, heads, width] of q, k and v, whose tokens are q_stride, k_stride and v_stride apart; text b has queries from
 * starts_q[b] up to starts_q[b + 1], and keys likewise. ``scratch`` has ``each`` = attention_scratch numbers a thread. */
void NAME(attention)(const float *q, const float *k, const float *v, float *y, const int *starts_q, const int *starts_k,
                     float *scratch, long q_stride, long k_stride, long v_stride, long texts, long heads, long width,
                     long each, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long work = 0; work < texts * heads; work++) {
        const long text = work / heads, head = work % heads;
        const long queries = starts_q[text + 1] - starts_q[text], keys = starts_k[text + 1] - starts_k[text];
        const float *own_q = q + starts_q[text] * q_stride + head * width;
        float *own_y = y + (starts_q[text] * heads + head) * width;
        float *key_panels = scratch + omp_get_thread_num() * each;
        float *value_panels = key_panels + upto(keys, WIDTH) * width;
        float *scores = value_panels + keys * upto(width, WIDTH);
        if (!queries)
            continue;
        if (!keys) { /* nothing to attend to */
            for (long i = 0; i < queries; i++)
                memset(own_y + i * heads * width, 0, width * sizeof(float));
            continue;
        }
        lay_keys(k + starts_k[text] * k_stride + head * width, k_stride, keys, width, key_panels);
        lay_values(v + starts_k[text] * v_stride + head * width, v_stride, keys, width, value_panels);
        const int step = tile_rows(queries);
        for (long row = 0; row < queries; row += step) {
#define BODY(n)                                                                                                        \
    attend_rows(n, own_q + row * q_stride, q_stride, key_panels, value_panels, keys, width, scores,                \
                own_y + row * heads * width, heads * width)
            FOR_ROWS(queries - row < step ? queries - row : step, BODY)
#undef BODY
        }
    }
}
