/* A linear layer over packed weights, floats or 8-bit integers, whichever they are. */

/* panels of floats, or of 8-bit integers with what gemm_int8.h needs beside them */
typedef struct {
    const void *panels;
    const float *bias, *scale, *smooth;
    const int *shift;
    long depth, columns, is_int8;
    float input_scale, min_divisor;
    int zero_point, one_sided;
} PackedWeight;

/* memory for rows that are rounded to 8-bit integers: q [rows, upto(depth, 4)], row_scales [rows] */
typedef struct {
    unsigned char *q;
    float *row_scales;
} QuantizedRows;

/* shared by a team of threads */
static void apply_linear(const PackedWeight *w, const float *x, const float *residual, float *y, long rows, int operation,
                         const QuantizedRows *quantized)
{
    const Epilogue e = {w->bias, residual, y, w->columns, operation};
#ifdef HAS_INT8
    if (w->is_int8) {
        const Scales scales = {w->scale, w->shift, quantized->row_scales};
        const QuantParams params = {w->input_scale, w->zero_point, w->one_sided, w->min_divisor};
        gemm_int8(x, w->smooth, w->panels, quantized->q, quantized->row_scales, rows, w->depth, &scales, &params, &e);
        return;
    }
#endif
    (void)quantized;
    gemm(x, w->panels, rows, w->depth, &e);
}

/* y [rows, columns] = epilogue(x [rows, depth] . W) */
int NAME(linear)(const PackedWeight *w, const float *x, const float *residual, float *y, long rows, int operation, int threads)
{
    QuantizedRows quantized = {0, 0};
    void *scratch = 0;
    if (w->is_int8) {
        const long row_scales = upto(rows * sizeof(float), 64);
        if (!(scratch = _mm_malloc(row_scales + rows * upto(w->depth, 4) + 64, 64)))
            return NO_MEMORY;
        quantized = (QuantizedRows){(unsigned char *)scratch + row_scales, scratch};
    }
#pragma omp parallel num_threads(threads) if (threads > 1)
    apply_linear(w, x, residual, y, rows, operation, &quantized);
    _mm_free(scratch);
    return OK;
}
