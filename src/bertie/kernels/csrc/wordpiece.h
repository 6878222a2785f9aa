/* Words → pieces, character by character: the normal forms of characters, and the longest pieces of what they make. */

enum { MAX_WORD = 100 }; /* a word of more characters is unknown */
enum { RUN_NUMBERS = 4, RUN_BYTES = 8 * RUN_NUMBERS, RUN_TOKENS = 7 };

/* the tokens of a run of characters; wordpiece_runs.h draws its layout */
typedef struct {
    uint64_t bytes[RUN_NUMBERS]; /* 0 behind its end, and the last byte always */
    int32_t ids[RUN_TOKENS];
    uint8_t count, num_words, num_characters, zero;
} Run;

/* where a token comes from, counted from the run's first character */
typedef struct {
    uint8_t first, stop, word;
} RunSpan;

typedef union CacheLine CacheLine;

/* how rows are made, and where they are written */
typedef struct {
    const int64_t *prefix, *suffix; /* ids around each text */
    long num_prefix, num_suffix;
    long max_kept;   /* tokens of a text that are kept at most, 0 or more */
    long read_limit; /* tokens after which reading a text stops; more than ``max_kept`` */
    int keep_last;   /* whether the last tokens are kept, not the first */
    int which;       /* the index of the `Forbidden` in use */
    int64_t *ids;   /* [capacity] */
    int32_t *spans; /* [capacity, 3]: first character, the one behind the last, number of the word; or null */
    long capacity;
    int64_t *kept, *counted; /* [texts]: tokens of each text in ``ids``, and in the part that was read; NOT_READ for both */
    CacheLine *lines;      /* [num_lines], a power of 2 from 2 on: the cache of runs; or null */
    RunSpan *run_spans;    /* [num_lines, RUN_TOKENS] */
    long num_lines;
    long num_runs; /* runs stored without replacing others */
} Rows;

/* the state of reading: the tokens so far, and the current word */
typedef struct {
    const WordPiece *w;
    const Forbidden *forbidden;
    Rows *rows;
    long count, row_start;
    long num_words;
    int is_forbidden, is_full;
    uint32_t codes[MAX_WORD + 1];
    int32_t places[MAX_WORD + 1], last_place;
    long size; /* characters of the word, which may be more than are kept */
    /* the tokens of the current run, to be cached, and where it starts */
    int notes;
    Run run;
    RunSpan run_spans[RUN_TOKENS];
    int32_t run_place;
    long run_words;
    long num_new; /* runs that were not in the cache */
} Reader;

/* records a token of the current run; a run with too many tokens is not recorded */
static inline void note_token(Reader *r, int64_t id, int32_t first, int32_t stop)
{
    Run *run = &r->run;
    r->notes &= run->count < RUN_TOKENS;
    if (!r->notes)
        return;
    run->ids[run->count] = (int32_t)id;
    r->run_spans[run->count++] = (RunSpan){(uint8_t)(first - r->run_place), (uint8_t)(stop - r->run_place),
                                           (uint8_t)(r->num_words - r->run_words)};
}

static inline void put_token(Reader *r, int64_t id, int32_t first, int32_t stop)
{
    const Rows *rows = r->rows;
    if (r->count >= rows->capacity) {
        r->is_full = 1;
        return;
    }
    if (rows->spans) {
        int32_t *span = rows->spans + 3 * r->count;
        span[0] = first, span[1] = stop, span[2] = (int32_t)r->num_words;
    }
    rows->ids[r->count++] = id;
}

/* whether a forbidden string starts at ``at`` in the raw text */
static int starts_forbidden(const Reader *r, const unsigned char *at, const unsigned char *end)
{
    for (uint32_t node = r->forbidden->written; node && at < end;) {
        int bytes;
        const uint32_t place = edge_of(r->w, node, decoded(at, end, &bytes));
        if (r->w->edges[place] & PIECE_ENDS)
            return 1;
        node = r->w->edges[place] ? place + EDGE_NODES : 0;
        at += bytes;
    }
    return 0;
}

/* whether the normalized current word contains a forbidden string */
static int holds_forbidden(const Reader *r)
{
    for (long start = 0; start < r->size && r->size <= MAX_WORD; start++) {
        uint32_t node = r->forbidden->normal;
        for (long i = start; node && i < r->size; i++) {
            const uint32_t place = edge_of(r->w, node, r->codes[i]);
            if (r->w->edges[place] & PIECE_ENDS)
                return 1;
            node = r->w->edges[place] ? place + EDGE_NODES : 0;
        }
    }
    return r->size > MAX_WORD; /* not all of it is in ``codes`` */
}

/* the id of the longest piece that begins at ``start`` in the current word, and where it ends; NO_ID if there is none */
static int32_t longest_piece(const Reader *r, long start, long *stop)
{
    uint32_t node = start ? LATER_PIECE : FIRST_PIECE, longest = 0;
    *stop = start;
    for (long i = start; i < r->size; i++) {
        const uint32_t place = edge_of(r->w, node, r->codes[i]);
        const uint64_t edge = r->w->edges[place];
        if (edge & PIECE_ENDS)
            longest = place, *stop = i + 1;
        if (i + 1 == r->size || !(edge & later_bit(r->codes[i + 1]))) /* no edge has no bits */
            break;
        node = place + EDGE_NODES;
    }
    return *stop > start ? r->w->ids[longest] : NO_ID;
}

/* writes the longest pieces of the current word, from left to right; one unknown token if they do not cover it */
static void put_word(Reader *r)
{
    const long first_token = r->count;
    const uint8_t first_noted = r->run.count;
    if (!r->size)
        return;
    if (r->forbidden->normal && holds_forbidden(r))
        r->is_forbidden = 1;
    long stop = 0;
    for (long start = 0; start < r->size && r->size <= MAX_WORD; start = stop) {
        const int32_t id = longest_piece(r, start, &stop);
        if (id == NO_ID)
            break;
        put_token(r, id, r->places[start], r->places[stop - 1] + 1);
        note_token(r, id, r->places[start], r->places[stop - 1] + 1);
    }
    if (stop < r->size) {
        r->count = first_token;
        put_token(r, r->w->unknown, r->places[0], r->last_place + 1);
        r->run.count = first_noted;
        note_token(r, r->w->unknown, r->places[0], r->last_place + 1);
    }
    r->num_words++;
    r->size = 0;
}

static inline void add_character(Reader *r, uint32_t code, int32_t place)
{
    if (r->size < MAX_WORD)
        r->codes[r->size] = code, r->places[r->size] = place;
    r->last_place = place;
    r->size++;
}

/* reads up to the end of a word, or past a separator; ``*place`` counts characters */
static const unsigned char *read_word(Reader *r, const unsigned char *at, const unsigned char *end, int32_t *place)
{
    const WordPiece *w = r->w;
    while (at < end) {
        int bytes;
        const uint32_t code = decoded(at, end, &bytes), entry = entry_of(w, code);
        const int kind = kind_in(entry), size = size_in(entry);
        const int is_word = kind == SIGN || (kind == IDEOGRAPH && w->parts_ideographs);
        if (kind == UNLISTED || (r->forbidden->begins[*at] && starts_forbidden(r, at, end)))
            r->is_forbidden = 1;
        else if (kind == BLANK || is_word)
            put_word(r);
        if (kind != DROPPED && kind != BLANK && kind != UNLISTED) {
            const uint32_t *form = w->forms + form_in(entry);
            if (size < 2)
                add_character(r, size ? form_in(entry) : code, *place);
            else
                for (int i = 0; i < size; i++)
                    add_character(r, form[i], *place);
        }
        ++*place;
        at += bytes;
        if (is_word)
            put_word(r);
        if (!r->size)
            return at;
    }
    put_word(r);
    return at;
}

/* reads words until ``stop`` is reached or passed, or something forbidden is found */
static const unsigned char *read_words(Reader *r, const unsigned char *at, const unsigned char *stop,
                                       const unsigned char *end, int32_t *place)
{
    while (at < stop && !r->is_forbidden)
        at = read_word(r, at, end, place);
    return at;
}
