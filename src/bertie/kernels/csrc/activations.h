/* The activations that a config can name; included after vector_math.h. All of them propagate NaN: see MAX there. */

/* what is applied to a product; gemm.py has the same codes */
enum {
    NONE,
    GELU,
    RESIDUAL,
    GELU_10,
    GELU_TANH,
    HARDSWISH,
    LAPLACE,
    LEAKY_RELU,
    MISH,
    QUICK_GELU,
    RELU,
    RELU2,
    RELU6,
    SIGMOID,
    SILU,
    TANH
};

static inline V negative_magnitude(V x) { return MIN(SUB(ZERO(), x), x); }

/* 0 where x is so low that exp_nonpositive clamps it */
static inline V zero_if_underflow(V x, V value) { return SELECT_LT(x, SET1(-87.0f), ZERO(), value); }

static inline V sigmoid(V x)
{
    V e = exp_nonpositive(negative_magnitude(x)), reciprocal = DIV(SET1(1), ADD(SET1(1), e));
    return zero_if_underflow(x, SELECT_LT(x, ZERO(), MUL(e, reciprocal), reciprocal));
}

/* near 0 a polynomial (S. Moshier's Cephes, tanhf), because 1 - e^2x would lose digits there */
static inline V tanh_approximation(V x)
{
    static const float c[] = {-3.33332819422e-1f, 1.33314422036e-1f, -5.37397155531e-2f, 2.06390887954e-2f,
                              -5.70498872745e-3f};
    V low = negative_magnitude(x), e = exp_nonpositive(ADD(low, low)), square = MUL(x, x);
    V high = DIV(SUB(SET1(1), e), ADD(SET1(1), e));
    V near = FMA(MUL(polynomial(square, c, 4), square), x, x);
    return SELECT_LT(low, SET1(-0.625f), SELECT_LT(x, ZERO(), SUB(ZERO(), high), high), near);
}

/* x / 2 * (1 + tanh(u)) = x * sigmoid(2 u) with u = sqrt(2 / pi) * (x + 0.044715 x^3) */
static inline V gelu_tanh(V x)
{
    V cube = MUL(MUL(x, x), x);
    return MUL(x, sigmoid(MUL(SET1(1.5957691216f), FMA(cube, SET1(0.044715f), x))));
}

/* x * tanh(log(1 + e^x)): with n = e^x (e^x + 2) that is x n / (n + 2); for x > 0 both are multiplied by e^-2x */
static inline V mish(V x)
{
    V e = exp_nonpositive(negative_magnitude(x)), two = SET1(2);
    V positive = FMA(two, e, SET1(1)), negative = MUL(e, ADD(e, two));
    V n = SELECT_LT(x, ZERO(), negative, positive);
    V rest = SELECT_LT(x, ZERO(), two, MUL(two, MUL(e, e)));
    return MUL(x, zero_if_underflow(x, DIV(n, ADD(n, rest))));
}

/* not inlined: there are many microkernels, and each would contain a copy */
static __attribute__((noinline)) V activate(V x, int activation)
{
    const V relu = MAX(ZERO(), x);
    switch (activation) {
    case GELU: return gelu(x);
    case GELU_10: return MIN(SET1(10), MAX(SET1(-10), gelu(x)));
    case GELU_TANH: return gelu_tanh(x);
    case HARDSWISH: return DIV(MUL(x, MIN(SET1(6), MAX(ZERO(), ADD(x, SET1(3))))), SET1(6));
    case LAPLACE: {
        V erf = erf_approximation(DIV(SUB(x, SET1(0.707107f)), SET1(0.398942576f)));
        return FMA(erf, SET1(0.5f), SET1(0.5f));
    }
    case LEAKY_RELU: return MAX(MUL(x, SET1(0.01f)), x);
    case MISH: return mish(x);
    case QUICK_GELU: return MUL(x, sigmoid(MUL(x, SET1(1.702f))));
    case RELU: return relu;
    case RELU2: return MUL(relu, relu);
    case RELU6: return MIN(SET1(6), relu);
    case SIGMOID: return sigmoid(x);
    case SILU: return MUL(x, sigmoid(x));
    case TANH: return tanh_approximation(x);
    default: return x;
    }
}
