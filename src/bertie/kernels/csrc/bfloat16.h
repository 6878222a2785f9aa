/* Loads and stores of arrays that are float32 or bfloat16; computation is in float32. Included after vector_math.h. */

typedef unsigned short Bfloat16;

/* up to LANES numbers from x[offset] on, padded with zeros */
static inline V load_number(const void *x, long offset, long count, int half)
{
    if (!half)
        return load_partial((const float *)x + offset, count);
    Bfloat16 all[LANES] = {0};
    if (count >= LANES)
        return LOAD_BF16((const Bfloat16 *)x + offset);
    memcpy(all, (const Bfloat16 *)x + offset, count * sizeof(Bfloat16));
    return LOAD_BF16(all);
}

/* up to LANES numbers, rounded to nearest if ``half`` */
static inline void store_number(void *y, long offset, V v, long count, int half)
{
    Bfloat16 all[LANES];
    if (!half)
        store_partial((float *)y + offset, v, count);
    else if (count >= LANES)
        STORE_BF16((Bfloat16 *)y + offset, v);
    else {
        STORE_BF16(all, v);
        memcpy((Bfloat16 *)y + offset, all, count * sizeof(Bfloat16));
    }
}

static inline void convert_row(const void *x, int x_half, void *y, int y_half, long count)
{
    for (long i = 0; i < count; i += LANES)
        store_number(y, i, load_number(x, i, count - i, x_half), count - i, y_half);
}
