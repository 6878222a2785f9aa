/* Runs of characters that were met before → their tokens, without a look at characters or the vocabulary.

   A run is what stands between two spaces or signs of ASCII, or one of those signs. Most runs of any text were met
   before, so their tokens are looked up in a cache, in two steps that don't wait for each other: `find_runs` finds a
   few and has the memory fetch their lines, `read_runs` compares and copies.

       text   I n   1 8 9 4 ,   K a f k a ' s              a window of 64 bytes, a bit for each:
       ends   . . X . . . . X X . . . . . X . X            blanks and signs of ASCII: a run stops before them
       spaces . . X . . . . . X . . . . . . . X            what begins no run

       Run    | bytes of the run, 0 behind them: 32 | ids: 7 x 4 | count, words, characters |     64 bytes, one line
       where  the hash of the bytes says, or right behind; a run that isn't there is read by `read_word`, and takes
              the place of one of these two */

enum { WINDOW = 64, AHEAD = 32, WAYS = 2 };
enum { PADDING = WINDOW + RUN_BYTES }; /* bytes behind the last text that may be looked at */

/* a run of a text, and the first of its lines of the cache; NOT_LOOKED_UP if it must be read character by character */
typedef struct {
    const unsigned char *at;
    long size, line;
    uint64_t bytes[RUN_NUMBERS];
} Found;

enum { NOT_LOOKED_UP = -1 };

#define ALL(byte) (UINT64_C(0x0101010101010101) * (byte))

/* the highest bit of each of 8 bytes that is of ASCII, but no letter or digit */
static inline uint64_t ends_in(uint64_t x)
{
    const uint64_t low = x & ALL(0x7F), folded = low | ALL(0x20);
    const uint64_t letters = (folded + ALL(0x80 - 'a')) & ~(folded + ALL(0x80 - 'z' - 1));
    const uint64_t digits = (low + ALL(0x80 - '0')) & ~(low + ALL(0x80 - '9' - 1));
    return ~(letters | digits | x) & ALL(0x80);
}

/* the highest bit of each of 8 bytes that is a space */
static inline uint64_t spaces_in(uint64_t x)
{
    const uint64_t others = x ^ ALL(' ');
    return ~(((others & ALL(0x7F)) + ALL(0x7F)) | others) & ALL(0x80);
}

/* the highest bits of 8 bytes side by side, that of the first byte as the lowest */
static inline uint64_t gathered(uint64_t x) { return (x >> 7) * UINT64_C(0x0102040810204080) >> 56; }

static inline void look_at_window(const unsigned char *at, uint64_t *ends, uint64_t *spaces)
{
    *ends = *spaces = 0;
    for (int i = 0; i < WINDOW; i += 8) {
        const uint64_t x = eight_bytes(at + i);
        *ends |= gathered(ends_in(x)) << i;
        *spaces |= gathered(spaces_in(x)) << i;
    }
}

/* keeps the bytes of a run, and has the memory fetch its lines */
static inline void look_up(const Rows *rows, Found *found)
{
    static const uint64_t masks[2 * RUN_NUMBERS] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    const unsigned char *mask = (const unsigned char *)masks + RUN_BYTES - found->size;
    for (int i = 0; i < RUN_NUMBERS; i++)
        found->bytes[i] = eight_bytes(found->at + 8 * i) & eight_bytes(mask + 8 * i);
    const uint64_t *b = found->bytes;
    uint64_t hash = b[0] * 0x9E3779B97F4A7C15 + b[1] * 0xC2B2AE3D27D4EB4F + b[2] * 0x165667B19E3779F9 +
                    b[3] * 0xD6E8FEB86659FD93;
    hash = (hash ^ hash >> 32) * 0x9E3779B97F4A7C15;
    found->line = hash >> 32 & (rows->num_runs - WAYS);
    __builtin_prefetch(&rows->runs[found->line]);
    __builtin_prefetch(&rows->runs[found->line + 1]);
    if (rows->spans)
        __builtin_prefetch(&rows->run_spans[found->line * RUN_TOKENS]);
}

/* finds up to AHEAD runs from ``at`` on; how many. One that is too long to be looked up, or that goes on behind
   what is dropped, is the last. */
static int find_runs(Reader *r, const unsigned char *at, const unsigned char *end, Found *found)
{
    uint64_t ends, spaces, left;
    for (int count = 0;; at += left ? __builtin_ctzll(left) : WINDOW) {
        look_at_window(at, &ends, &spaces);
        for (left = ~spaces; left;) {
            const int first = __builtin_ctzll(left);
            const unsigned char *start = at + first;
            const uint64_t stops = ends >> first;
            if (start >= end || count == AHEAD)
                return count;
            if (!stops && first)
                break; /* the next window begins with it */
            if (r->forbidden->begins[*start] && starts_forbidden(r, start, end)) {
                r->is_forbidden = 1;
                return count;
            }
            const int size = stops ? __builtin_ctzll(stops) + (stops & 1) : WINDOW;
            found[count].at = start, found[count].size = size, found[count].line = NOT_LOOKED_UP;
            if (size > RUN_BYTES || r->w->kinds[start[size]] == DROPPED)
                return count + 1;
            look_up(r->rows, &found[count++]);
            left = first + size < WINDOW ? left >> (first + size) << (first + size) : 0;
        }
        if (at + WINDOW >= end && !left)
            return count;
    }
}

static inline int is_same(const uint64_t *a, const uint64_t *b)
{
    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) == 0;
}

/* puts the tokens of a run that was met before; a few are copied whatever their count, so that nothing waits for it */
static inline void put_run(Reader *r, long line, int32_t *place)
{
    enum { FEW = 2 };
    const Run *run = &r->rows->runs[line];
    int64_t *ids = r->rows->ids + r->count;
    for (int i = 0; i < FEW; i++)
        ids[i] = run->ids[i];
    for (int i = FEW; i < run->count; i++)
        ids[i] = run->ids[i];
    if (r->rows->spans) {
        const RunSpan *spans = &r->rows->run_spans[line * RUN_TOKENS];
        int32_t *to = r->rows->spans + 3 * r->count;
        for (int i = 0; i < FEW || i < run->count; i++, to += 3)
            to[0] = *place + spans[i].first, to[1] = *place + spans[i].stop, to[2] = (int32_t)r->num_words + spans[i].word;
    }
    *place += run->num_characters;
    r->count += run->count;
    r->num_words += run->num_words;
}

/* reads a run and remembers what is made of it */
static void read_new_run(Reader *r, const Found *found, int32_t *place)
{
    const long line = found->line + (r->num_new++ & 1);
    Run *run = &r->rows->runs[line];
    const unsigned char *at = found->at, *stop = at + found->size;
    *run = (Run){.count = 0};
    r->run = run, r->run_spans = &r->rows->run_spans[line * RUN_TOKENS], r->run_place = *place, r->run_words = r->num_words;
    while (at < stop)
        at = read_word(r, at, stop, place);
    if (r->run && !r->is_forbidden) {
        memcpy(run->bytes, found->bytes, sizeof(run->bytes));
        run->num_characters = (uint8_t)(*place - r->run_place);
        run->num_words = (uint8_t)(r->num_words - r->run_words);
    }
    r->run = 0;
}

/* reads a few runs from ``at`` on; the last one of them may be read as words */
static const unsigned char *read_runs(Reader *r, const unsigned char *at, const unsigned char *end, int32_t *place)
{
    Found all[AHEAD];
    const int count = find_runs(r, at, end, all);
    for (const Found *found = all; found < all + count; found++) {
        *place += (int32_t)(found->at - at); /* spaces */
        at = found->at + found->size;
        if (found->line == NOT_LOOKED_UP)
            return read_words(r, found->at, at < end ? at : end, end, place);
        const Run *runs = &r->rows->runs[found->line];
        const int other = !is_same(runs[0].bytes, found->bytes);
        if (is_same(runs[other].bytes, found->bytes) && r->count + RUN_TOKENS <= r->rows->capacity)
            put_run(r, found->line + other, place);
        else
            read_new_run(r, found, place);
    }
    return count == AHEAD ? at : end;
}
