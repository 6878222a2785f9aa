/* The blocks of an encoder, one after the other, for a team of threads that is called together once. */

/* weights in panels of floats, or of 8-bit integers with their scales; see product.h and int8.h */
typedef struct {
    const void *panels;
    const float *bias, *scale, *smooth;
    const int *shift;
    long depth, columns, is_int8;
    float step, at_least;
    int zero_point, one_sided;
} Product;

typedef struct {
    const float *weight, *bias; /* [columns] */
    float eps;
} Norm;

typedef struct {
    Product projections, output, intermediate, last;
    Norm after_attention, after_feed_forward;
    long heads, width;
} Block;

/* memory of a batch: projections [rows, 3 D], context and attended [rows, D], wide [rows, F] and, for 8-bit integers,
 * q [rows, upto(F, 4)] and row_scales [rows] */
typedef struct {
    float *projections, *context, *attended, *wide, *row_scales, *attention;
    unsigned char *q;
    long each; /* of the threads' numbers in ``attention`` */
} Scratch;

static void apply(const Product *p, const float *x, const float *residual, float *y, long rows, int after, const Scratch *s)
{
    const Ending e = {p->bias, residual, y, p->columns, after};
#ifdef HAS_INT8
    if (p->is_int8) {
        const Scales scales = {p->scale, p->shift, s->row_scales};
        const Rounding how = {p->step, p->zero_point, p->one_sided, p->at_least};
        int8_multiply(x, p->smooth, p->panels, s->q, s->row_scales, rows, p->depth, &scales, &how, &e);
        return;
    }
#endif
    (void)s;
    multiply(x, p->panels, rows, p->depth, &e);
}

/* The factor of a row whose squares overflow, and its mean: as in PyTorch, which sums 8 lanes on every x86 chip and finds
 * an infinite variance, so 0, or NaN where the square of the first lane's mean overflows too and meets 0 terms before it. */
static float factor_of_overflow(const float *row, long columns, float *mean)
{
    double sum = 0, first = 0;
    for (long i = 0; i < columns; i++)
        sum += row[i];
    for (long i = 0; i < columns; i += 8)
        first += row[i];
    first /= columns / 8.0;
    *mean = (float)(sum / columns);
    return columns % 8 == 0 && first * first > FLT_MAX ? NAN : 0;
}

/* (x - mean) / sqrt(variance + eps) * weight + bias of each row [columns], in place */
static void normalise(float *x, const Norm *n, long rows, long columns)
{
#pragma omp for schedule(static)
    for (long row = 0; row < rows; row++) {
        float *own = x + row * columns, sum = 0, square = 0;
        const long whole = columns / LANES * LANES;
        V lanes = ZERO();
        for (long i = 0; i < whole; i += LANES)
            lanes = ADD(lanes, LOAD(own + i));
        for (long i = whole; i < columns; i++)
            sum += own[i];
        float mean = (sum + SUM(lanes)) / columns;
        lanes = ZERO();
        for (long i = 0; i < whole; i += LANES) {
            V distance = SUB(LOAD(own + i), ALL(mean));
            lanes = FMA(distance, distance, lanes);
        }
        for (long i = whole; i < columns; i++)
            square += (own[i] - mean) * (own[i] - mean);
        const float variance = (square + SUM(lanes)) / columns;
        const float factor = variance <= FLT_MAX ? 1 / sqrtf(variance + n->eps) : factor_of_overflow(own, columns, &mean);
        for (long i = 0; i < whole; i += LANES) {
            V number = MUL(SUB(LOAD(own + i), ALL(mean)), ALL(factor));
            STORE(own + i, FMA(number, LOAD(n->weight + i), LOAD(n->bias + i)));
        }
        for (long i = whole; i < columns; i++)
            own[i] = (own[i] - mean) * factor * n->weight[i] + n->bias[i];
    }
}

static void run_block(const Block *b, const float *x, float *y, const int *starts, long texts, long rows, const Scratch *s)
{
    const long hidden = b->heads * b->width, part = hidden * 3;
    const float *qkv = s->projections;
    const Attention a = {qkv,  qkv + hidden, qkv + 2 * hidden, s->context, starts,   starts, part, part,
                         part, rows,         rows,             texts,      b->heads, b->width, 0,  0};
    apply(&b->projections, x, 0, s->projections, rows, NOTHING, s);
    attend(&a, s->attention, s->each);
    apply(&b->output, s->context, x, s->attended, rows, RESIDUAL, s);
    normalise(s->attended, &b->after_attention, rows, hidden);
    const long chunk = 2 * CHUNK; /* the widest product is used up while it is in a core's cache */
    for (long first = 0; first < rows; first += chunk) {
        const long here = rows - first < chunk ? rows - first : chunk;
        const float *attended = s->attended + first * hidden;
        apply(&b->intermediate, attended, 0, s->wide, here, GELU, s);
        apply(&b->last, s->wide, attended, y + first * hidden, here, RESIDUAL, s);
        normalise(y + first * hidden, &b->after_feed_forward, here, hidden);
    }
}

/* y [rows, D]: what ``count`` blocks make of x [rows, D]; the texts begin at starts[0 .. texts]; returns what attention does */
int NAME(encoder)(const Block *blocks, long count, const float *x, float *y, const int *starts, long texts, long rows,
                   const Scratch *scratch, int threads)
{
    const long longest = longest_of(starts, texts, rows);
    if (longest < 0 || (count > 0 && NAME(attention_scratch)(longest, blocks->width) > scratch->each))
        return 1;
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (long i = 0; i < count; i++)
        run_block(blocks + i, i ? y : x, y, starts, texts, rows, scratch);
    return 0;
}

/* what Python compares its own structures with */
long NAME(layout)(void)
{
    return (long)sizeof(Block) + 1000 * ((long)sizeof(Scratch) + 1000 * (long)sizeof(Gradient));
}
