/* The innermost product: up to MR rows times a panel of NR columns, two vectors; included after vector_math.h. */

/* columns of a panel */
#define NR (2 * LANES)
#define INLINE static inline __attribute__((always_inline))

/* how many floats ahead weights are prefetched: memory delivers its full bandwidth only to early prefetches */
#define PREFETCH_AHEAD 1536

/* ``row(0) row(1) …``: sums stay in registers only if each is a variable of its own */
#if MR == 12
#define EACH_ROW(row) row(0) row(1) row(2) row(3) row(4) row(5) row(6) row(7) row(8) row(9) row(10) row(11)
#else
#define EACH_ROW(row) row(0) row(1) row(2) row(3) row(4) row(5)
#endif

/* sums[r] = a[r, :] . b for r < rows: a [rows, depth] with rows ``row_stride`` and columns ``col_stride`` apart, b [depth, NR] */
INLINE void microkernel_strided(const int rows, const float *a, long row_stride, const long col_stride, const float *b,
                                long depth, V sums[MR][2])
{
#define BEGIN(r) V left##r = ZERO(), right##r = ZERO();
#define STEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        const FACTOR number = FACTOR_OF(a[r * row_stride + k * col_stride]);                                           \
        left##r = FMA_FACTOR(number, left, left##r);                                                                   \
        right##r = FMA_FACTOR(number, right, right##r);                                                                \
    }
#define KEEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        sums[r][0] = left##r;                                                                                          \
        sums[r][1] = right##r;                                                                                         \
    }
    EACH_ROW(BEGIN)
    for (long k = 0; k < depth; k++, b += NR) {
        const V left = LOAD(b), right = LOAD(b + LANES);
        __builtin_prefetch(b + PREFETCH_AHEAD);
        if (LANES == 16) /* two cache lines */
            __builtin_prefetch(b + LANES + PREFETCH_AHEAD);
        EACH_ROW(STEP)
    }
    EACH_ROW(KEEP)
#undef BEGIN
#undef STEP
#undef KEEP
}

/* the same with contiguous rows of ``a`` */
INLINE void microkernel(const int rows, const float *a, long row_stride, const float *b, long depth, V sums[MR][2])
{
    microkernel_strided(rows, a, row_stride, 1, b, depth, sums);
}

/* ``body(n)`` with the number of rows as a compile-time constant, so that sums stay in registers */
#if MR == 12
#define MORE_ROWS(body)                                                                                                \
    case 6: body(6); break;                                                                                            \
    case 7: body(7); break;                                                                                            \
    case 8: body(8); break;                                                                                            \
    case 9: body(9); break;                                                                                            \
    case 10: body(10); break;                                                                                          \
    case 11: body(11); break;
#else
#define MORE_ROWS(body)
#endif
#define FOR_ROWS(rows, body)                                                                                           \
    switch (rows) {                                                                                                    \
    case 1: body(1); break;                                                                                            \
    case 2: body(2); break;                                                                                            \
    case 3: body(3); break;                                                                                            \
    case 4: body(4); break;                                                                                            \
    case 5: body(5); break;                                                                                            \
        MORE_ROWS(body)                                                                                                \
    default: body(MR);                                                                                               \
    }

static inline long at_most(long number, long most) { return number < most ? number : most; }

static inline long upto(long number, long multiple) { return (number + multiple - 1) / multiple * multiple; }

/* rows that a microkernel takes at a time: few and even steps, since each step reads a whole panel */
static inline int rows_per_microkernel(long rows)
{
    long times = (rows + MR - 1) / MR;
    return times ? (int)((rows + times - 1) / times) : MR;
}
