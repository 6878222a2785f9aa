/* Partial vectors, exp, erf and GELU; included after an instruction set's simd header. */

/* up to LANES numbers, padded with zeros */
static inline V load_partial(const float *x, long count)
{
    float all[LANES] = {0};
    if (count >= LANES)
        return LOAD(x);
    memcpy(all, x, count * sizeof(float));
    return LOAD(all);
}

static inline void store_partial(float *y, V v, long count)
{
    float all[LANES];
    if (count >= LANES) {
        STORE(y, v);
        return;
    }
    STORE(all, v);
    memcpy(y, all, count * sizeof(float));
}

static inline V polynomial(V x, const float *c, int degree)
{
    V sum = SET1(c[degree]);
    for (int i = degree - 1; i >= 0; i--)
        sum = FMA(sum, x, SET1(c[i]));
    return sum;
}

/* e^x for x <= 0, clamped to x >= -87, within 2 units in the last place. NaN stays NaN: MAX then returns its second operand. */
static inline V exp_nonpositive(V x)
{
    static const float c[] = {1.0f, 1.0f, 0.5f, 1.0f / 6, 1.0f / 24, 1.0f / 120, 1.0f / 720};
    x = MAX(SET1(-87.0f), x);
    V n = ROUND(MUL(x, SET1(1.44269504f)));
    x = FMA(n, SET1(-0.693359375f), x); /* ln 2 in two parts, the first exact */
    x = FMA(n, SET1(2.12194440e-4f), x);
    return SCALEF(polynomial(x, c, 6), n);
}

/* 2^x for x <= 0, with a relative error of at most 2^-18 (a least-squares fit) */
static inline V exp2_nonpositive(V x)
{
    static const float c[] = {0.9999991655f, 0.6931219697f, 0.2402498126f, 0.0559170395f, 0.0095605105f};
    x = MAX(SET1(-126.0f), x);
    const V n = ROUND(x);
    return SCALEF(polynomial(SUB(x, n), c, 4), n);
}

/* erf(z) = z P(z^2) / Q(z^2) for |z| <= 3.92 (a least-squares fit), +-1 beyond; within 1e-6 */
static inline V erf_approximation(V z)
{
    static const float p[] = {1.128378987312317f,      0.19276389479637146f,   0.05306044965982437f,
                              0.0038683125749230385f, 0.0002874776837415993f, 2.0347206373116933e-06f};
    static const float q[] = {1.0f,                   0.5041642189025879f,    0.11508453637361526f,
                              0.01517227478325367f,   0.0011881085811182857f, 3.8070396840339527e-05f};
    z = MIN(SET1(3.92f), MAX(SET1(-3.92f), z));
    V square = MUL(z, z);
    return DIV(MUL(z, polynomial(square, p, 5)), polynomial(square, q, 5));
}

/* x * Phi(x), the exact GELU */
static inline V gelu(V x)
{
    V erf = erf_approximation(MUL(x, SET1(0.70710678f)));
    V half = MUL(x, SET1(0.5f));
    return FMA(half, erf, half);
}
