/* A cache from runs of characters to their tokens, which saves decoding characters and walking the vocabulary.

   A run is a stretch without ASCII spaces and punctuation, or one ASCII punctuation character. Most runs of a text occurred
   before, so their tokens are looked up, in two passes that hide the latency of memory: `find_runs` finds a few runs and
   prefetches their cache lines, `read_runs` compares and copies.

       text   I n   1 8 9 4 ,   K a f k a ' s              a window of 64 bytes, a bit for each:
       ends   . . X . . . . X X . . . . . X . X            ASCII spaces and punctuation: a run ends before them
       spaces . . X . . . . . X . . . . . . . X            where no run begins

       line 0 | bytes of a run: 16 | ids: 3 x 4 | 4 counts || bytes of another: 16 | ids: 3 x 4 | 4 counts |
       line 1 | bytes of a run: 31, and 0          || ids: 7 x 4                              | 3 counts, 0 |

   A line of 64 bytes has two short runs of few tokens, or one longer run. Byte 31 says which: it is the size of a short
   run, or 0. The hash of a run's bytes gives its line; the neighbour (`line ^ 1`) is its second choice. A run in neither is
   read by `read_word`, and takes a free slot or replaces another. */

enum { WINDOW = 64, LOOKAHEAD = 32, SHORT_BYTES = 16, SHORT_TOKENS = 3 };
enum { PADDING = WINDOW + RUN_BYTES }; /* bytes after the last text that may be read */

typedef struct {
    uint64_t bytes[SHORT_BYTES / 8];
    int32_t ids[SHORT_TOKENS];
    uint8_t count, num_words, num_characters, size;
} ShortRun;

union CacheLine {
    ShortRun shorts[2];
    Run run;
};

/* a run of a text and the index of its line; NOT_CACHEABLE if it must be read character by character */
typedef struct {
    const unsigned char *at;
    long size, line;
    uint64_t bytes[RUN_NUMBERS];
} Probe;

enum { NOT_CACHEABLE = -1 };

/* compiled to vector instructions where there are any */
typedef unsigned char Bytes __attribute__((vector_size(16)));
typedef uint64_t Halves __attribute__((vector_size(16)));

/* one bit for each of 8 bytes, which are 0 or 255; the first byte gives the lowest bit */
static inline uint64_t gathered(uint64_t x)
{
    return (x & UINT64_C(0x0101010101010101)) * UINT64_C(0x0102040810204080) >> 56;
}

static inline uint64_t bits_of(Bytes probe)
{
    const Halves halves = (Halves)probe;
    return gathered(halves[0]) | gathered(halves[1]) << 8;
}

static inline void scan_window(const unsigned char *at, uint64_t *ends, uint64_t *spaces)
{
    *ends = *spaces = 0;
    for (int i = 0; i < WINDOW; i += 16) {
        Bytes x;
        memcpy(&x, at + i, sizeof(x));
        const Bytes letters = (Bytes)((x | 0x20) - 'a' < 26), digits = (Bytes)(x - '0' < 10), others = (Bytes)(x > 127);
        *ends |= bits_of(~(letters | digits | others)) << i;
        *spaces |= bits_of((Bytes)(x == ' ')) << i;
    }
}

/* the index of a run's line, from its bytes */
static inline long line_of(const Rows *rows, const uint64_t *bytes)
{
    uint64_t hash = bytes[0] * 0x9E3779B97F4A7C15 + bytes[1] * 0xC2B2AE3D27D4EB4F;
    hash += bytes[2] * 0x165667B19E3779F9 + bytes[3] * 0xD6E8FEB86659FD93;
    return (hash ^ hash >> 32) * 0x9E3779B97F4A7C15 >> 32 & (rows->num_lines - 1);
}

/* stores the bytes of a run, and prefetches its line */
static inline void look_up(const Rows *rows, Probe *probe)
{
    static const uint64_t masks[2 * RUN_NUMBERS] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    const unsigned char *mask = (const unsigned char *)masks + RUN_BYTES - probe->size;
    uint64_t *b = probe->bytes;
    b[0] = eight_bytes(probe->at) & eight_bytes(mask);
    b[1] = eight_bytes(probe->at + 8) & eight_bytes(mask + 8);
    b[2] = b[3] = 0;
    if (probe->size > SHORT_BYTES) {
        b[2] = eight_bytes(probe->at + 16) & eight_bytes(mask + 16);
        b[3] = eight_bytes(probe->at + 24) & eight_bytes(mask + 24);
    }
    probe->line = line_of(rows, b);
    __builtin_prefetch(&rows->lines[probe->line]);
    if (rows->spans)
        __builtin_prefetch(&rows->run_spans[probe->line * RUN_TOKENS]);
}

/* finds up to LOOKAHEAD runs from ``at`` on, and returns how many. A run that is too long for the cache, or that is followed by
   a character that is dropped, is the last. */
static int find_runs(Reader *r, const unsigned char *at, const unsigned char *end, Probe *probe)
{
    uint64_t ends, spaces, left;
    for (int count = 0;; at += left ? __builtin_ctzll(left) : WINDOW) {
        scan_window(at, &ends, &spaces);
        for (left = ~spaces; left;) {
            const int first = __builtin_ctzll(left);
            const unsigned char *start = at + first;
            const uint64_t stops = ends >> first;
            if (start >= end || count == LOOKAHEAD)
                return count;
            if (!stops && first)
                break; /* the next window begins with it */
            if (r->forbidden->begins[*start] && starts_forbidden(r, start, end)) {
                r->is_forbidden = 1;
                return count;
            }
            const int size = stops ? __builtin_ctzll(stops) + (stops & 1) : WINDOW;
            probe[count].at = start, probe[count].size = size, probe[count].line = NOT_CACHEABLE;
            if (size >= RUN_BYTES || r->w->kinds[start[size]] == DROPPED)
                return count + 1;
            look_up(r->rows, &probe[count++]);
            left = first + size < WINDOW ? left >> (first + size) << (first + size) : 0;
        }
        if (at + WINDOW >= end && !left)
            return count;
    }
}

/* appends ``count`` tokens; always writes ``copied`` of them, so that the copy does not wait for the count */
static inline void put_tokens(Reader *r, const int32_t *ids, const RunSpan *spans, int copied, int count, int32_t place)
{
    int64_t *to = r->rows->ids + r->count;
    for (int i = 0; i < copied; i++)
        to[i] = ids[i];
    if (r->rows->spans) {
        int32_t *span = r->rows->spans + 3 * r->count;
        for (int i = 0; i < copied; i++, span += 3) {
            span[0] = place + spans[i].first, span[1] = place + spans[i].stop;
            span[2] = (int32_t)r->num_words + spans[i].word;
        }
    }
    r->count += count;
}

/* appends the tokens of a run if the line has them */
static inline int put_run(Reader *r, long number, const Probe *probe, int32_t *place)
{
    const CacheLine *line = &r->rows->lines[number];
    const RunSpan *spans = &r->rows->run_spans[number * RUN_TOKENS];
    const uint64_t *bytes = probe->bytes;
    const ShortRun *first = &line->shorts[0];
    const int second = ((first->bytes[0] ^ bytes[0]) | (first->bytes[1] ^ bytes[1])) != 0;
    const ShortRun *one = first + second;
    if (((one->bytes[0] ^ bytes[0]) | (one->bytes[1] ^ bytes[1])) == 0 && one->size == probe->size) {
        put_tokens(r, one->ids, spans + SHORT_TOKENS * second, SHORT_TOKENS, one->count, *place);
        *place += one->num_characters;
        r->num_words += one->num_words;
        return 1;
    }
    if (memcmp(line->run.bytes, bytes, sizeof(line->run.bytes)))
        return 0;
    put_tokens(r, line->run.ids, spans, line->run.count, line->run.count, *place);
    *place += line->run.num_characters;
    r->num_words += line->run.num_words;
    return 1;
}

static inline int has_room(const CacheLine *line, int is_short)
{
    return is_short && line->shorts[0].size ? !line->shorts[1].size : !line->run.bytes[0];
}

/* stores the current run, replacing others if there is no room */
static void store_run(Reader *r, const Probe *probe)
{
    const Run *run = &r->run;
    const Rows *rows = r->rows;
    const int is_short = probe->size <= SHORT_BYTES && run->count <= SHORT_TOKENS;
    const long beside = probe->line ^ 1;
    const int goes_beside = !has_room(&rows->lines[probe->line], is_short) && has_room(&rows->lines[beside], is_short);
    const long number = goes_beside ? beside : probe->line;
    CacheLine *line = &rows->lines[number];
    RunSpan *spans = &rows->run_spans[number * RUN_TOKENS];
    r->rows->num_runs += has_room(line, is_short);
    if (!is_short) {
        line->run = *run;
        memcpy(line->run.bytes, probe->bytes, sizeof(probe->bytes));
        memcpy(spans, r->run_spans, sizeof(r->run_spans));
        return;
    }
    if (!line->shorts[0].size)
        memset(line, 0, sizeof(*line)); /* evicts a longer run */
    const int second = line->shorts[0].size && (!line->shorts[1].size || (r->num_new++ & 1));
    ShortRun *one = &line->shorts[second];
    memcpy(one->bytes, probe->bytes, sizeof(one->bytes));
    memcpy(one->ids, run->ids, sizeof(one->ids));
    one->count = run->count, one->num_words = run->num_words, one->num_characters = run->num_characters;
    one->size = (uint8_t)probe->size;
    memcpy(spans + SHORT_TOKENS * second, r->run_spans, SHORT_TOKENS * sizeof(*spans));
}

/* stores a run of another cache; an empty slot has no bytes */
static void move_run(Reader *r, const Run *run, const RunSpan *spans, int count)
{
    Probe probe = {.size = (long)strlen((const char *)run->bytes)};
    if (!probe.size)
        return;
    r->run = *run;
    memcpy(probe.bytes, run->bytes, sizeof(probe.bytes));
    memcpy(r->run_spans, spans, count * sizeof(*spans));
    probe.line = line_of(r->rows, probe.bytes);
    store_run(r, &probe);
}

/* copies the runs of a cache into a larger one */
void bertie_wordpiece_move(const Rows *from, Rows *to)
{
    Reader r = {.rows = to};
    for (long i = 0; i < from->num_lines; i++) {
        const CacheLine *line = &from->lines[i];
        const RunSpan *spans = from->run_spans + i * RUN_TOKENS;
        if (!line->shorts[0].size)
            move_run(&r, &line->run, spans, RUN_TOKENS);
        for (int second = 0; second < 2 && line->shorts[0].size; second++) {
            const ShortRun *one = &line->shorts[second];
            Run run = {.count = one->count, .num_words = one->num_words, .num_characters = one->num_characters};
            memcpy(run.bytes, one->bytes, sizeof(one->bytes));
            memcpy(run.ids, one->ids, sizeof(one->ids));
            move_run(&r, &run, spans + SHORT_TOKENS * second, SHORT_TOKENS);
        }
    }
}

/* reads a run and caches its tokens */
static void read_new_run(Reader *r, const Probe *probe, int32_t *place)
{
    const unsigned char *at = probe->at, *stop = at + probe->size;
    r->notes = 1, r->run = (Run){.count = 0}, r->run_place = *place, r->run_words = r->num_words;
    while (at < stop)
        at = read_word(r, at, stop, place);
    r->run.num_characters = (uint8_t)(*place - r->run_place);
    r->run.num_words = (uint8_t)(r->num_words - r->run_words);
    if (r->notes && !r->is_forbidden)
        store_run(r, probe);
    r->notes = 0;
}

/* reads a few runs from ``at`` on; the last one of them may be read as words */
static const unsigned char *read_runs(Reader *r, const unsigned char *at, const unsigned char *end, int32_t *place)
{
    Probe all[LOOKAHEAD];
    const int count = find_runs(r, at, end, all);
    for (const Probe *probe = all; probe < all + count; probe++) {
        *place += (int32_t)(probe->at - at); /* spaces */
        at = probe->at + probe->size;
        if (probe->line == NOT_CACHEABLE)
            return read_words(r, probe->at, at < end ? at : end, end, place);
        const int has_space = r->count + RUN_TOKENS <= r->rows->capacity;
        if (!has_space || !(put_run(r, probe->line, probe, place) || put_run(r, probe->line ^ 1, probe, place)))
            read_new_run(r, probe, place);
    }
    return count == LOOKAHEAD ? at : end;
}
