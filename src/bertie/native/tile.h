/* The innermost product: a few rows times a panel of 2 vectors' width; included with the lanes of an instruction set. */

#define WIDTH (2 * LANES)
#define INLINE static inline __attribute__((always_inline))

/* how far ahead of their use weights are asked for: they come from memory at its full rate only if asked early */
#define AHEAD 1536

/* ``row(0) row(1) …``: sums stay in registers only if each has a name */
#if ROWS == 12
#define EACH_ROW(row) row(0) row(1) row(2) row(3) row(4) row(5) row(6) row(7) row(8) row(9) row(10) row(11)
#else
#define EACH_ROW(row) row(0) row(1) row(2) row(3) row(4) row(5)
#endif

/* sums[r] = a[r, :] . b for r < rows: a [rows, depth] with rows ``stride`` and columns ``apart``, b [depth, WIDTH] */
INLINE void tile_apart(const int rows, const float *a, long stride, const long apart, const float *b, long depth, V sums[ROWS][2])
{
#define BEGIN(r) V left##r = ZERO(), right##r = ZERO();
#define STEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        V number = ALL(a[r * stride + k * apart]);                                                                             \
        left##r = FMA(number, left, left##r);                                                                          \
        right##r = FMA(number, right, right##r);                                                                       \
    }
#define KEEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        sums[r][0] = left##r;                                                                                          \
        sums[r][1] = right##r;                                                                                         \
    }
    EACH_ROW(BEGIN)
    for (long k = 0; k < depth; k++, b += WIDTH) {
        const V left = LOAD(b), right = LOAD(b + LANES);
        _mm_prefetch((const char *)(b + AHEAD), _MM_HINT_T0);
        if (LANES == 16) /* two lines of the cache */
            _mm_prefetch((const char *)(b + LANES + AHEAD), _MM_HINT_T0);
        EACH_ROW(STEP)
    }
    EACH_ROW(KEEP)
#undef BEGIN
#undef STEP
#undef KEEP
}

/* the same with the columns of ``a`` side by side */
INLINE void tile(const int rows, const float *a, long stride, const float *b, long depth, V sums[ROWS][2])
{
    tile_apart(rows, a, stride, 1, b, depth, sums);
}

/* ``body(n)`` for the number of rows that is known only now, so that each has its sums in registers */
#if ROWS == 12
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
    default: body(ROWS);                                                                                               \
    }

static inline long upto(long number, long multiple) { return (number + multiple - 1) / multiple * multiple; }

/* rows of the next tile: as many in each as in the others, since every tile reads all of a panel */
static inline int tile_rows(long rows)
{
    long tiles = (rows + ROWS - 1) / ROWS;
    return tiles ? (int)((rows + tiles - 1) / tiles) : ROWS;
}
