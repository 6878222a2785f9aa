/* Texts, a NUL behind each, → rows of ids, framed and cut, with the places that tokens come from. */

enum { MAX_WORD = 100 }; /* a word of more characters is unknown */
enum { NOT_READ = -1 };
enum { RUN_NUMBERS = 4, RUN_BYTES = 8 * RUN_NUMBERS, RUN_TOKENS = 7 };

/* what was made of a run of characters without blanks and signs of ASCII: one line of a cache */
typedef struct {
    uint64_t bytes[RUN_NUMBERS]; /* 0 behind its end */
    int32_t ids[RUN_TOKENS];
    uint8_t count, num_words, num_characters;
} Run;

/* where its tokens come from, counted from its first character */
typedef struct {
    uint8_t first, stop, word;
} RunSpan;

/* what rows are made of, and where they go */
typedef struct {
    const int64_t *before, *behind; /* ids around each text */
    long num_before, num_behind;
    long most;      /* tokens of a text that are kept; it is 0 or more */
    int keeps_last; /* whether those are its last ones */
    int which;      /* of what must not be in a text */
    int64_t *ids;   /* [capacity] */
    int32_t *spans; /* [capacity, 3]: first character, the one behind the last, number of the word; or null */
    long capacity;
    int64_t *kept, *found; /* [texts]: tokens of each text in ``ids``, and in the text; NOT_READ for both */
    Run *runs;             /* [num_runs]: those met before, each where its bytes say; a power of 2, or null */
    RunSpan *run_spans;    /* [num_runs, RUN_TOKENS] */
    long num_runs;
} Rows;

/* the state of reading: tokens of the text so far, and the word at hand */
typedef struct {
    const WordPiece *w;
    const Forbidden *forbidden;
    const Rows *rows;
    const unsigned char *limit; /* where all texts end */
    long count, row_start;
    long num_words;
    int is_forbidden, is_full;
    uint32_t codes[MAX_WORD + 1];
    int32_t places[MAX_WORD + 1], last_place;
    long size; /* characters of the word, which may be more than are kept */
    /* the run at hand, if it is to be remembered, and where it starts */
    Run *run;
    RunSpan *run_spans;
    int32_t run_place;
    long run_words;
} Reader;

/* remembers a token of the run at hand, or that it has too many */
static inline void note_token(Reader *r, int64_t id, int32_t first, int32_t stop)
{
    Run *run = r->run;
    if (run->count == RUN_TOKENS) {
        r->run = 0;
        return;
    }
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

/* whether what must not be in a text starts at ``at``, as it is written */
static int starts_forbidden(const Reader *r, const unsigned char *at, const unsigned char *end)
{
    for (uint32_t node = r->forbidden->written; node && at < end;) {
        int bytes;
        const Edge *edge = edge_of(r->w, node, decoded(at, end, &bytes));
        if (edge->child && edge->id != NO_ID)
            return 1;
        node = edge->child;
        at += bytes;
    }
    return 0;
}

/* whether it lies in the word at hand, wherever it starts there */
static int holds_forbidden(const Reader *r)
{
    for (long start = 0; start < r->size && r->size <= MAX_WORD; start++) {
        uint32_t node = r->forbidden->normal;
        for (long i = start; node && i < r->size; i++) {
            const Edge *edge = edge_of(r->w, node, r->codes[i]);
            if (edge->child && edge->id != NO_ID)
                return 1;
            node = edge->child;
        }
    }
    return r->size > MAX_WORD; /* not all of it is at hand */
}

/* puts the longest pieces of the word at hand, from left to right; one unknown token if they do not cover it */
static void put_word(Reader *r)
{
    const long first_token = r->count;
    if (!r->size)
        return;
    if (r->forbidden->normal && holds_forbidden(r))
        r->is_forbidden = 1;
    long stop = 0;
    for (long start = 0; start < r->size && r->size <= MAX_WORD; start = stop) {
        uint32_t node = start ? LATER_PIECE : FIRST_PIECE;
        int32_t id = NO_ID;
        for (long i = start; i < r->size; i++) {
            const Edge *edge = edge_of(r->w, node, r->codes[i]);
            if (!edge->child)
                break;
            if (edge->id != NO_ID)
                id = edge->id, stop = i + 1;
            if (i + 1 == r->size || !(edge->later & later_bit(r->codes[i + 1])))
                break;
            node = edge->child;
        }
        if (id == NO_ID)
            break;
        put_token(r, id, r->places[start], r->places[stop - 1] + 1);
        if (r->run)
            note_token(r, id, r->places[start], r->places[stop - 1] + 1);
    }
    if (stop < r->size) {
        r->count = first_token;
        put_token(r, r->w->unknown, r->places[0], r->last_place + 1);
        r->run = 0;
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

/* reads up to the end of the word, or past what parts words; ``*place`` counts characters */
static const unsigned char *read_any(Reader *r, const unsigned char *at, const unsigned char *end, int32_t *place)
{
    const WordPiece *w = r->w;
    while (at < end) {
        int bytes;
        const uint32_t code = decoded(at, end, &bytes), entry = entry_of(w, code);
        const int kind = kind_in(entry), size = size_in(entry);
        const int is_word = kind == SIGN || (kind == IDEOGRAPH && w->parts_ideographs);
        const int may_start = code < 128 ? r->forbidden->begins[code] : r->forbidden->reads_all;
        if (kind == UNLISTED || (may_start && starts_forbidden(r, at, end)))
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

#define ALL(byte) (UINT64_C(0x0101010101010101) * (byte))

/* the highest bit of each of 8 bytes that is of ASCII, but no letter or digit */
static inline uint64_t ends_in(uint64_t x)
{
    const uint64_t low = x & ALL(0x7F), folded = low | ALL(0x20);
    const uint64_t letters = (folded + ALL(0x80 - 'a')) & ~(folded + ALL(0x80 - 'z' - 1));
    const uint64_t digits = (low + ALL(0x80 - '0')) & ~(low + ALL(0x80 - '9' - 1));
    return ~(letters | digits | x) & ALL(0x80);
}

/* how many of 8 bytes, from the first on, are letters and digits of ASCII; the letters become lower case if ``lowers`` */
static inline int short_letters(uint64_t *bytes, int lowers)
{
    const uint64_t x = *bytes, low = x & ALL(0x7F), folded = low | ALL(0x20);
    const uint64_t letters = (folded + ALL(0x80 - 'a')) & ~(folded + ALL(0x80 - 'z' - 1)) & ~x & ALL(0x80);
    const uint64_t digits = (low + ALL(0x80 - '0')) & ~(low + ALL(0x80 - '9' - 1)) & ~x & ALL(0x80);
    const uint64_t others = ~(letters | digits) & ALL(0x80);
    if (lowers)
        *bytes = x | letters >> 2;
    return others ? __builtin_ctzll(others) >> 3 : 8;
}

/* reads a word of up to 15 letters and digits that is a piece; 0 if it is anything else */
static inline const unsigned char *read_short_word(Reader *r, const unsigned char *at, int32_t *place)
{
    const WordPiece *w = r->w;
    uint64_t low = eight_bytes(at), high = 0;
    long size = short_letters(&low, w->lower_cases);
    if (size < 8)
        low &= ((uint64_t)1 << 8 * size) - 1;
    else {
        high = eight_bytes(at + 8);
        const int more = short_letters(&high, w->lower_cases);
        if (more == 8)
            return 0;
        high &= ((uint64_t)1 << 8 * more) - 1;
        size += more;
    }
    const unsigned char next = at[size];
    if (!size || next >= 128 || w->ascii[next] == DROPPED)
        return 0;
    const ShortWord *word = short_word_of(w, low, high);
    if (!word->low)
        return 0;
    put_token(r, word->id, *place, *place + size);
    r->num_words++;
    *place += size;
    return at + size;
}

/* how many of the first RUN_BYTES bytes are before a blank or sign of ASCII, and those as numbers; 0 if there is none, or
   if the run does not end there */
static inline long run_at(const WordPiece *w, const unsigned char *at, uint64_t *bytes)
{
    for (int i = 0; i < RUN_NUMBERS; i++) {
        bytes[i] = eight_bytes(at + 8 * i);
        const uint64_t ends = ends_in(bytes[i]);
        if (!ends)
            continue;
        const int size = __builtin_ctzll(ends) >> 3;
        bytes[i] &= ((uint64_t)1 << 8 * size) - 1;
        for (int later = i + 1; later < RUN_NUMBERS; later++)
            bytes[later] = 0;
        return w->ascii[at[8 * i + size]] == DROPPED ? 0 : 8 * i + size;
    }
    return 0;
}

/* puts the tokens of a run that was met before; all places of a run are copied, so that nothing waits for its count */
static inline void put_run(Reader *r, const Run *run, const RunSpan *spans, int32_t *place)
{
    int64_t *ids = r->rows->ids + r->count;
    for (int i = 0; i < RUN_TOKENS; i++)
        ids[i] = run->ids[i];
    if (r->rows->spans) {
        int32_t *to = r->rows->spans + 3 * r->count;
        for (int i = 0; i < RUN_TOKENS; i++, to += 3)
            to[0] = *place + spans[i].first, to[1] = *place + spans[i].stop, to[2] = (int32_t)r->num_words + spans[i].word;
    }
    r->count += run->count;
    r->num_words += run->num_words;
    *place += run->num_characters;
}

/* reads a run as it was read before, or remembers what is made of it; 0 if it is too long for that */
static inline const unsigned char *read_run(Reader *r, const unsigned char *at, int32_t *place)
{
    const Rows *rows = r->rows;
    uint64_t bytes[RUN_NUMBERS];
    const long size = run_at(r->w, at, bytes);
    if (!size || r->count + RUN_TOKENS > rows->capacity)
        return 0;
    const uint64_t number = mixed(mixed(bytes[0], bytes[1]) ^ bytes[2], bytes[3]) & (rows->num_runs - 1);
    Run *run = rows->runs + number;
    RunSpan *spans = rows->run_spans + RUN_TOKENS * number;
    if (((run->bytes[0] ^ bytes[0]) | (run->bytes[1] ^ bytes[1]) | (run->bytes[2] ^ bytes[2]) |
         (run->bytes[3] ^ bytes[3])) == 0) {
        put_run(r, run, spans, place);
        return at + size;
    }
    *run = (Run){.count = 0};
    r->run = run, r->run_spans = spans, r->run_place = *place, r->run_words = r->num_words;
    for (const unsigned char *stop = at + size; at < stop;)
        at = read_any(r, at, stop, place);
    if (r->run && !r->is_forbidden) {
        memcpy(run->bytes, bytes, sizeof(bytes));
        run->num_characters = (uint8_t)(*place - r->run_place);
        run->num_words = (uint8_t)(r->num_words - r->run_words);
    }
    r->run = 0;
    return at;
}

/* reads a text that ends at ``end``, until it turns out that it must not be read */
static void read_text(Reader *r, const unsigned char *at, const unsigned char *end)
{
    const WordPiece *w = r->w;
    const Forbidden *forbidden = r->forbidden;
    int32_t place = 0;
    while (at < end && !r->is_forbidden) {
        const int kind = *at < 128 ? w->ascii[*at] : UNLISTED;
        const unsigned char *next = 0;
        if (*at < 128 && forbidden->begins[*at] && starts_forbidden(r, at, end))
            r->is_forbidden = 1;
        if (kind == BLANK) {
            at++, place++;
            continue;
        }
        if (kind == SIGN && !forbidden->normal) {
            put_token(r, w->sign_ids[*at], place, place + 1);
            r->num_words++;
            at++, place++;
            continue;
        }
        if (!forbidden->reads_all && r->limit - at > RUN_BYTES) {
            if (kind == LETTER)
                next = read_short_word(r, at, &place);
            if (!next && r->rows->runs)
                next = read_run(r, at, &place);
        }
        at = next ? next : read_any(r, at, end, &place);
    }
}

/* keeps ``most`` tokens of a text's row, puts the frame behind them, and notes how many there are */
static void end_row(Reader *r, long text)
{
    const Rows *rows = r->rows;
    const long first = r->row_start + rows->num_before, found = r->count - first;
    const long kept = found < rows->most ? found : rows->most;
    rows->kept[text] = r->is_forbidden ? NOT_READ : kept;
    rows->found[text] = r->is_forbidden ? NOT_READ : found;
    if (r->is_forbidden) {
        r->count = r->row_start;
        return;
    }
    if (rows->keeps_last && kept < found) {
        memmove(rows->ids + first, rows->ids + first + found - kept, kept * sizeof(*rows->ids));
        if (rows->spans)
            memmove(rows->spans + 3 * first, rows->spans + 3 * (first + found - kept), 3 * kept * sizeof(*rows->spans));
    }
    r->count = first + kept;
    for (long i = 0; i < rows->num_behind; i++)
        put_token(r, rows->behind[i], 0, 0);
}

/* reads ``count`` texts, ``bytes`` long in all with the NUL behind each; how many ids there are, or -1 if there was
   no room for them or there were fewer texts */
long bertie_wordpiece_read(const WordPiece *w, const unsigned char *texts, long bytes, long count, const Rows *rows)
{
    const unsigned char *at = texts, *end = texts + bytes;
    Reader r = {.w = w, .forbidden = &w->forbidden[rows->which], .rows = rows, .limit = end};
    for (long text = 0; text < count && !r.is_full; text++) {
        const unsigned char *stop = at < end ? memchr(at, 0, end - at) : 0;
        if (!stop)
            return -1;
        r.row_start = r.count;
        r.num_words = r.is_forbidden = 0;
        for (long i = 0; i < rows->num_before; i++)
            put_token(&r, rows->before[i], 0, 0);
        read_text(&r, at, stop);
        end_row(&r, text);
        at = stop + 1;
    }
    return r.is_full ? -1 : r.count;
}
