/* Numbers that lie in memory as float32 or as bfloat16 and are computed in float32; included after vector_math.h. */

typedef unsigned short Bfloat16;

/* up to LANES numbers of x from ``place`` on, and zeros behind them */
static inline V load_number(const void *x, long place, long count, int half)
{
    if (!half)
        return load_partial((const float *)x + place, count);
    Bfloat16 all[LANES] = {0};
    if (count >= LANES)
        return LOAD_BF16((const Bfloat16 *)x + place);
    memcpy(all, (const Bfloat16 *)x + place, count * sizeof(Bfloat16));
    return LOAD_BF16(all);
}

/* rounded to the nearest where there are 16 bits */
static inline void store_number(void *y, long place, V v, long count, int half)
{
    Bfloat16 all[LANES];
    if (!half)
        store_partial((float *)y + place, v, count);
    else if (count >= LANES)
        STORE_BF16((Bfloat16 *)y + place, v);
    else {
        STORE_BF16(all, v);
        memcpy((Bfloat16 *)y + place, all, count * sizeof(Bfloat16));
    }
}

static inline void convert_row(const void *x, int x_half, void *y, int y_half, long count)
{
    for (long i = 0; i < count; i += LANES)
        store_number(y, i, load_number(x, i, count - i, x_half), count - i, y_half);
}
