/* Run by test_other_machines.py: every kernel of one instruction set, on inputs that are the same on every machine.
 *
 * Compiled with -DSIMD='"simd_neon.h"' or another; writes "name count\n" and then the numbers, for each array.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include "system.h"
#include SIMD
#include "all_kernels.h"

const char *bertie_instruction_sets(void);
#ifdef LEFT_OUT /* the function that cpu_features.c needs of an instruction set that is not compiled here */
const void *LEFT_OUT(void) { return 0; }
#endif

static FILE *out;
static uint64_t state = 88172645463325252u;

/* write an array under a name that is formatted like printf's */
static void write_floats(const float *numbers, long count, const char *name, ...)
{
    va_list values;
    va_start(values, name);
    vfprintf(out, name, values);
    va_end(values);
    fprintf(out, " %ld\n", count);
    fwrite(numbers, sizeof(float), count, out);
}

/* xorshift64 (Marsaglia 2003) */
static uint32_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static void *reserve(long bytes)
{
    void *memory = aligned_memory(upto(bytes, 64) + 64);
    if (!memory)
        exit(2);
    memset(memory, 0, upto(bytes, 64) + 64);
    return memory;
}

/* about [-3, 3], exact in float */
static float *floats(long count)
{
    float *numbers = reserve(count * sizeof(float));
    for (long i = 0; i < count; i++)
        numbers[i] = (float)((int)(draw() % 6001) - 3000) / 1024;
    return numbers;
}

static signed char *bytes(long count)
{
    signed char *numbers = reserve(count);
    for (long i = 0; i < count; i++)
        numbers[i] = (int)(draw() % 255) - 127;
    return numbers;
}

static Norm norm(long columns)
{
    const float *weight = floats(columns); /* one draw a statement, since compilers choose the order within one */
    return (Norm){weight, floats(columns), 1e-12f};
}

static PackedWeight packed(long depth, long columns)
{
    float *weight = floats(depth * columns), *panels = reserve(upto(columns, NR) * depth * sizeof(float));
    for (long i = 0; i < depth * columns; i++)
        weight[i] /= 8; /* with larger ones, an encoder's attention would magnify rounding errors */
    NAME(pack)((char *)weight, columns, depth, 4, (char *)panels, 2);
    return (PackedWeight){.panels = panels, .bias = floats(columns), .depth = depth, .columns = columns};
}

/* int8 weights packed as by gemm_int8.py; with a ``reference``, they are also written, under this number */
static PackedWeight packed_int8(long depth, long columns, long bits, long reference)
{
    const long together = 32 / bits, padded = upto(depth, together);
    signed char *weight = bytes(depth * columns), *rows = reserve(columns * padded), *panels;
    int *sums = reserve(upto(columns, NR) * sizeof(int)), largest = 1;
    float *scale = reserve(upto(columns, NR) * sizeof(float)), *numbers = floats(columns), *smooth = floats(depth);
    for (long c = 0; c < columns; c++) {
        int magnitudes = 0;
        for (long k = 0; k < depth; k++) {
            rows[c * padded + k] = weight[c * depth + k];
            sums[c] += weight[c * depth + k];
            magnitudes += abs(weight[c * depth + k]);
        }
        scale[c] = fabsf(numbers[c]) / 512;
        largest = magnitudes > largest ? magnitudes : largest;
    }
    for (long k = 0; k < depth; k++)
        smooth[k] = fabsf(smooth[k]) + 0.5f;
    panels = reserve(upto(columns, NR) * padded);
    NAME(pack)((char *)rows, columns, padded / together, (int)together, (char *)panels, 1);
    const int most = 2147483647 / largest < 32767 ? 2147483647 / largest : 32767;
    PackedWeight w = {.panels = panels,
                      .bias = floats(columns),
                      .scale = scale,
                      .smooth = smooth,
                      .sums = sums,
                      .depth = depth,
                      .columns = columns,
                      .input_bits = bits,
                      .input_step = bits == 8 ? 1.0f / 254 : 0.5f / most};
    if (reference) {
        float *plain = reserve(depth * columns * sizeof(float));
        for (long i = 0; i < depth * columns; i++)
            plain[i] = weight[i];
        write_floats(plain, depth * columns, "weight %ld", reference);
        write_floats(scale, columns, "scale %ld", reference);
        write_floats(smooth, depth, "smooth %ld", reference);
        write_floats(w.bias, columns, "bias %ld", reference);
    }
    return w;
}

static void multiply(const char *name, long number, const PackedWeight *w, const float *x, long rows, int operation)
{
    float *y = reserve(rows * w->columns * sizeof(float)), *residual = floats(rows * w->columns);
    if (NAME(linear)(w, x, residual, y, rows, operation, 1 + rows % 2))
        exit(3);
    write_floats(y, rows * w->columns, name, number);
}

/* 1 to 26 rows, and many */
#define FOR_EACH_COUNT(rows) for (long rows = 1; rows < 130; rows += rows < 26 ? 1 : 29)
#define DEPTH(rows) (rows + 1)
#define COLUMNS(rows) (1 + rows * 7 % 83)

static void products(void)
{
    for (int operation = NONE; operation <= TANH; operation++) {
        const PackedWeight w = packed(17 + operation, 33 + operation);
        float *x = floats(5 * w.depth);
        if (operation % 2)
            x[3] = NAN, x[w.depth] = INFINITY, x[2 * w.depth] = -INFINITY;
        multiply("same operation %ld", operation, &w, x, 5, operation);
    }
    FOR_EACH_COUNT(rows) {
        const PackedWeight w = packed(DEPTH(rows), COLUMNS(rows));
        multiply("same rows %ld", rows, &w, floats(rows * w.depth), rows, rows % 3);
        const PackedWeight words = packed_int8(DEPTH(rows), COLUMNS(rows), 16, 0);
        multiply("same words %ld", rows, &words, floats(rows * words.depth), rows, rows % 3);
    }
    FOR_EACH_COUNT(rows) {
        const long depth = DEPTH(rows), columns = COLUMNS(rows);
        const float *w = floats(columns * depth), *bias = rows % 2 ? floats(columns) : 0, *x = floats(rows * depth);
        float *y = reserve(rows * columns * sizeof(float));
        NAME(linear_unpacked)(w, bias, x, y, rows, depth, columns, 1 + rows % 2);
        write_floats(y, rows * columns, "unpacked %ld", rows);
    }
}

static void unpacked_products(void)
{
    for (long how = 0; how < 4; how++) {
        const long rows = 61, depth = 530, columns = 45, left = how % 2, right = how / 2;
        float *y = reserve(rows * columns * sizeof(float)), *sums = reserve(rows * sizeof(float));
        const Matmul m = {floats(rows * depth), floats(depth * columns), floats(columns), y, sums, rows, depth, columns,
                          left ? rows : depth, right ? depth : columns, columns, left, right};
        if (NAME(matmul)(&m, 2))
            exit(3);
        write_floats(y, rows * columns, "matmul %ld", how);
        write_floats(sums, rows, "matmul's sums %ld", how);
    }
}

static void activations(void)
{
    for (int activation = GELU_10; activation <= TANH; activation++) {
        float *x = floats(2003);
        for (long i = 0; i < 1000; i++)
            x[i] *= 40;
        x[0] = NAN, x[1] = INFINITY, x[2] = -INFINITY, x[3] = 3e38f, x[4] = -3e38f, x[5] = 1e-40f, x[6] = -0.0f;
        for (long i = 0; i < 2003; i += LANES)
            store_partial(x + i, activate(load_partial(x + i, 2003 - i), activation), 2003 - i);
        write_floats(x, 2003, "same activation %d", activation);
    }
}

static void normalizations(void)
{
    for (long columns = 1; columns < 70; columns += 3) {
        float *x = floats(7 * columns);
        const Norm n = norm(columns);
        x[0] = NAN, x[columns] = 3e38f;
        NAME(layer_norm)(x, &n, 7, columns, 2);
        write_floats(x, 7 * columns, "norm %ld", columns);
    }
}

static void embeddings(void)
{
    for (long columns = 1; columns < 70; columns += 3) {
        Embeddings e = {.words.count = 9, .types.count = 2, .positions.count = 9, .tokens = 20, .columns = columns};
        long long *ids = reserve(20 * sizeof(*ids));
        float *y = reserve(20 * columns * sizeof(float));
        for (int i = 0; i < 20; i++)
            ids[i] = draw() % 9;
        e.word_ids = e.position_ids = ids;
        e.words.rows = columns % 2 ? (void *)bytes(9 * columns) : floats(9 * columns);
        e.words.scale = columns % 2 ? floats(9) : 0;
        e.types.rows = floats(2 * columns);
        e.positions.rows = floats(9 * columns);
        e.norm = norm(columns);
        if (NAME(embeddings)(&e, y, 2))
            exit(4);
        write_floats(y, 20 * columns, "embeddings %ld", columns);
        ids[7] = 9;
        if (NAME(embeddings)(&e, y, 1) != BAD_ID)
            exit(5);
    }
}

static void dropouts(void)
{
    const Dropout d = {0x123456789abcdef0, -1000000000, 1.3f};
    float *x = floats(40000), *y = reserve(40000 * sizeof(float));
    NAME(dropout)(x, y, 40000, &d, 2);
    write_floats(y, 40000, "same dropout");
}

static void attentions(void)
{
    static const int queries[] = {0, 1, 1, 14, 14, 54, 131}, keys[] = {0, 3, 3, 3, 17, 17, 150};
    for (long width = 1; width < 72; width += 7) {
        const long heads = 1 + width % 3, tokens_q = queries[6], tokens_k = keys[6], size = heads * width;
        const Dropout d = {width, -1500000000, 1.2f};
        float *y = reserve(tokens_q * size * sizeof(float)), *lse = reserve(tokens_q * heads * sizeof(float));
        float *dq = reserve(tokens_q * size * sizeof(float)), *dk = reserve(tokens_k * size * sizeof(float));
        float *dv = reserve(tokens_k * size * sizeof(float));
        const float *q = floats(tokens_q * (size + 3)), *kv = floats(tokens_k * 2 * size);
        const Attention a = {q, kv, kv + size, y, queries, keys, size + 3, 2 * size, 2 * size, tokens_q, tokens_k, 6,
                             heads, width, lse, width % 2 ? &d : 0};
        const AttentionBackward g = {a, floats(tokens_q * size), dq, dk, dv};
        if (NAME(attention)(&a, 2) || NAME(attention_backward)(&g, 2))
            exit(6);
        write_floats(y, tokens_q * size, "attention %ld", width);
        write_floats(lse, tokens_q * heads, "lse %ld", width);
        write_floats(dq, tokens_q * size, "dq %ld", width);
        write_floats(dk, tokens_k * size, "dk %ld", width);
        write_floats(dv, tokens_k * size, "dv %ld", width);
    }
}

static void encoders(void)
{
    static const int cu_seqlens[] = {0, 1, 40, 40, 153};
    const long heads = 3, width = 10, hidden = heads * width, wide = 70, rows = cu_seqlens[4];
    const long shapes[4][2] = {{hidden, 3 * hidden}, {hidden, hidden}, {hidden, wide}, {wide, hidden}};
    for (int bits = 0; bits <= 16; bits += 16) {
        Block blocks[2];
        for (Block *b = blocks; b < blocks + 2; b++) {
            PackedWeight *w[] = {&b->qkv, &b->attention_output, &b->intermediate, &b->output};
            for (int i = 0; i < 4; i++)
                *w[i] = bits ? packed_int8(shapes[i][0], shapes[i][1], bits, 0) : packed(shapes[i][0], shapes[i][1]);
            b->attention_norm = norm(hidden);
            b->output_norm = norm(hidden);
            b->heads = heads;
            b->width = width;
            b->activation = GELU;
        }
        float *y = reserve(rows * hidden * sizeof(float));
        if (NAME(encoder)(blocks, 2, floats(rows * hidden), y, cu_seqlens, 4, rows, 2))
            exit(7);
        write_floats(y, rows * hidden, "encoder %d", bits);
    }
}

/* run last: without such an instruction, the random inputs of the others stay the same */
static void products_of_bytes(void)
{
#ifdef U_DOT_BYTES
    FOR_EACH_COUNT(rows) {
        const PackedWeight w = packed_int8(DEPTH(rows), COLUMNS(rows), 8, rows);
        float *x = floats(rows * w.depth);
        for (long k = 0; k < w.depth && rows % 3 == 0; k++)
            x[k] = fabsf(x[k]); /* a row without negative numbers */
        write_floats(x, rows * w.depth, "x %ld", rows);
        multiply("bytes %ld", rows, &w, x, rows, NONE);
    }
#endif
}

int main(int count, char **arguments)
{
    printf("%s\n", bertie_instruction_sets());
    if (count < 2)
        return 0;
    if (NAME(abi)()->block != sizeof(Block) || !(out = fopen(arguments[1], "wb")))
        return 1;
    products();
    unpacked_products();
    activations();
    normalizations();
    embeddings();
    dropouts();
    attentions();
    encoders();
    products_of_bytes();
    return fclose(out) != 0;
}
