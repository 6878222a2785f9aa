/* A linear layer with packed weights of any kind: floats, slices of floats, or 8-bit integers. */

#define SLICED 24

/* panels of floats if ``input_bits`` is 0, of slices if it is SLICED, else of 8-bit integers; and the scales and sums of
 * gemm_slices.h or gemm_int8.h */
typedef struct {
    const void *panels;
    const float *bias, *scale, *smooth;
    const int *sums;
    long depth, columns, input_bits;
    float input_step;
} PackedWeight;

/* allocate ``bytes`` of ``memory`` at ``*next``, aligned to a cache line; only advance ``*next`` if ``memory`` is null */
static void *carve(char *memory, long *next, long bytes)
{
    void *carved = memory ? memory + *next : 0;
    *next += upto(bytes, 64);
    return carved;
}

/* lay out the scratch of integer products at ``*next``, for inputs of at most this depth */
static void lay_out_integers(IntegerScratch *s, long rows, long q_bytes, long depth, int threads, char *memory, long *next)
{
    s->rows = carve(memory, next, rows * sizeof(RowQuant));
    s->q = carve(memory, next, q_bytes);
    s->widened_per_thread = quantized_bytes(NR, depth);
    s->widened = carve(memory, next, threads * s->widened_per_thread);
#ifdef HAS_TILES
    const long groups = sliced_groups(at_most(rows, SLICED_ROWS)) * sliced_blocks(depth);
    s->slices = carve(memory, next, groups * GROUP_BYTES);
    s->scales = carve(memory, next, groups * TILE_ROWS * sizeof(float));
#endif
}

/* run by a team of threads */
static void apply_linear(const PackedWeight *w, const float *x, const float *residual, float *y, long rows, int operation,
                         const IntegerScratch *scratch)
{
    const Epilogue e = {w->bias, residual, y, w->columns, operation};
#ifdef HAS_TILES
    if (w->input_bits == SLICED) {
        const Slices weights = {(char *)w->panels, (float *)w->scale, sliced_blocks(w->depth), 1};
        gemm_slices(x, &weights, scratch, rows, w->depth, &e);
        return;
    }
#endif
    if (w->input_bits) {
        const Scales scales = {w->scale, w->sums, scratch->rows};
        const QuantParams params = {w->input_bits, w->input_step, w->smooth};
#ifdef HAS_TILES
        if (tiles_are_faster(rows, w->depth, w->input_bits))
            gemm_tiles(x, w->panels, scratch, rows, w->depth, &scales, &params, &e);
        else
#endif
        gemm_int8(x, w->panels, scratch, rows, w->depth, &scales, &params, &e);
        return;
    }
    gemm(x, w->panels, rows, w->depth, &e);
}

/* y [rows, columns] = epilogue(x [rows, depth] . W) */
int NAME(linear)(const PackedWeight *w, const float *x, const float *residual, float *y, long rows, int operation, int threads)
{
    IntegerScratch scratch;
    char *memory = 0;
    if (w->input_bits) {
        long bytes = 0;
        const long q_bytes = quantized_bytes(rows, w->depth);
        lay_out_integers(&scratch, rows, q_bytes, w->depth, threads, 0, &bytes);
        if (!(memory = aligned_memory(bytes + 64)))
            return NO_MEMORY;
        bytes = 0;
        lay_out_integers(&scratch, rows, q_bytes, w->depth, threads, memory, &bytes);
    }
#pragma omp parallel num_threads(threads) if (threads > 1)
    apply_linear(w, x, residual, y, rows, operation, &scratch);
    free(memory);
    return OK;
}
