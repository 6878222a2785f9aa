/* The blocks of an encoder, one after the other, in a single parallel region. */

typedef struct {
    PackedWeight qkv, attention_output, intermediate, output;
    Norm attention_norm, output_norm;
    long heads, width;
    long activation; /* of the intermediate product, a code of activations.h */
} Block;

/* the feed-forward layers take at most this many rows at a time, whose wide activations are consumed while still in cache */
#define FEED_FORWARD_ROWS (4 * MC)

/* a batch's activations: qkv [rows, 3 H K], context [rows, H K], attended [rows, D], wide [FEED_FORWARD_ROWS, F]; and the
 * scratch of attention and of integer products. Blocks may have fewer heads than D / K. */
typedef struct {
    float *qkv, *context, *attended, *wide, *attention;
    long attention_per_thread;
    IntegerScratch integers;
} Workspace;

static Attention attention_of(const Block *b, const int *cu_seqlens, long batch, long rows, const Workspace *w)
{
    const long inner = b->heads * b->width, stride = inner * 3;
    return (Attention){.q = w->qkv,
                       .k = w->qkv + inner,
                       .v = w->qkv + 2 * inner,
                       .y = w->context,
                       .cu_seqlens_q = cu_seqlens,
                       .cu_seqlens_k = cu_seqlens,
                       .q_stride = stride,
                       .k_stride = stride,
                       .v_stride = stride,
                       .tokens_q = rows,
                       .tokens_k = rows,
                       .batch = batch,
                       .heads = b->heads,
                       .width = b->width,
                       .approximate = b->qkv.input_bits == 8}; /* 8 bits are coarser than bfloat16 */
}

static void run_block(const Block *b, const float *x, float *y, const int *cu_seqlens, long batch, long rows, const Workspace *w)
{
    const long hidden = b->output.columns;
    const Attention a = attention_of(b, cu_seqlens, batch, rows, w);
    const IntegerScratch *s = &w->integers;
    apply_linear(&b->qkv, x, 0, w->qkv, rows, NONE, s);
    attend_in_team(&a, w->attention, w->attention_per_thread);
    apply_linear(&b->attention_output, w->context, x, w->attended, rows, RESIDUAL, s);
    layer_norm_rows(w->attended, &b->attention_norm, rows, hidden);
    /* weights of other kinds are read too quickly for more rows at a time to pay: int8 would take 6 % longer */
    const long step = b->output.input_bits == SLICED ? FEED_FORWARD_ROWS : FEED_FORWARD_ROWS / 2;
    for (long first = 0; first < rows; first += step) {
        const long here = at_most(rows - first, step);
        const float *attended = w->attended + first * hidden;
        apply_linear(&b->intermediate, attended, 0, w->wide, here, b->activation, s);
        apply_linear(&b->output, w->wide, attended, y + first * hidden, here, RESIDUAL, s);
        layer_norm_rows(y + first * hidden, &b->output_norm, here, hidden);
    }
}

/* lay a workspace out in ``memory``, or only measure it if that is null; returns its size in bytes */
static long lay_out_workspace(Workspace *w, const Block *b, long rows, long longest, int threads, char *memory)
{
    const long hidden = b->output.columns, wide = b->intermediate.columns, number = sizeof(float);
    const long few = at_most(rows, FEED_FORWARD_ROWS);
    const long q_hidden = quantized_bytes(rows, hidden), q_wide = quantized_bytes(few, wide);
    const long q_bytes = q_hidden > q_wide ? q_hidden : q_wide, deepest = hidden > wide ? hidden : wide;
    long bytes = 0;
    w->attention_per_thread = scratch_of_attention(longest, longest, b->width, 0);
    w->qkv = carve(memory, &bytes, rows * 3 * hidden * number);
    w->context = carve(memory, &bytes, rows * hidden * number);
    w->attended = carve(memory, &bytes, rows * hidden * number);
    w->wide = carve(memory, &bytes, few * wide * number);
    w->attention = carve(memory, &bytes, threads * w->attention_per_thread * number);
    lay_out_integers(&w->integers, rows, q_bytes, deepest, threads, memory, &bytes);
    return bytes;
}

/* y [rows, D] = ``count`` blocks (at least one) applied to x [rows, D], the tokens of ``batch`` sequences */
int NAME(encoder)(const Block *blocks, long count, const float *x, float *y, const int *cu_seqlens, long batch, long rows,
                  int threads)
{
    const long longest = max_seqlen(cu_seqlens, batch, rows);
    if (longest < 0)
        return BAD_SEQLENS;
    Workspace w;
    char *memory = aligned_memory(lay_out_workspace(&w, blocks, rows, longest, threads, 0) + 64);
    if (!memory)
        return NO_MEMORY;
    lay_out_workspace(&w, blocks, rows, longest, threads, memory);
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (long i = 0; i < count; i++)
        run_block(blocks + i, i ? y : x, y, cu_seqlens, batch, rows, &w);
    free(memory);
    return OK;
}
