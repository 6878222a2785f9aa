/* What texts are read with: the kinds of characters, and the vocabulary as a trie with a table of short words. */

/* as in characters.py: a part of a word, nothing, what parts words, a word of its own, one if Chinese characters are
   parted, and what only another tokenizer can read */
enum { LETTER, DROPPED, BLANK, SIGN, IDEOGRAPH, UNLISTED };
enum { PAGE = 256, LAST_CODE = 0x10FFFF };
/* nodes of the trie: where pieces start that begin a word, and those that go on in one; 0 is none */
enum { FIRST_PIECE = 1, LATER_PIECE, NODES };
enum { NO_ID = -1 };

/* the way from one node to another by a character; those of a trie lie in one hash table */
typedef struct {
    uint32_t node, code : 21, later : 11, child; /* later: a bit for the characters that go on from there */
    int32_t id;                                  /* of the piece that ends there */
} Edge;

/* a word of up to 16 bytes of ASCII that is a piece */
typedef struct {
    uint64_t low, high;
    int64_t id;
} ShortWord;

/* what a text must not hold to be read here: nodes of the trie where it starts, as it is written and as a part of a
   word's normal form, or 0 */
typedef struct {
    uint32_t written, normal;
    int reads_all;             /* whether it may start anywhere in a word */
    unsigned char begins[128]; /* whether what is written starts with a character of ASCII */
} Forbidden;

/* numbers of places are powers of 2, of which at least one stays free */
typedef struct {
    const uint16_t *pages; /* [(LAST_CODE + 1) / PAGE] */
    const uint32_t *entries, *forms;
    Edge *edges;
    ShortWord *words;
    long num_edges, num_words;
    int32_t unknown;                        /* the id of a word without pieces */
    int32_t parts_ideographs, lower_cases; /* what becomes of a text */
    uint32_t nodes;
    Forbidden forbidden[2];
    unsigned char ascii[128]; /* kinds */
    int32_t sign_ids[128];    /* of signs that are one character of ASCII */
} WordPiece;

static inline uint64_t mixed(uint64_t a, uint64_t b)
{
    const uint64_t product = (a ^ (b << 32 | b >> 32) * 0xC2B2AE3D27D4EB4F) * 0x9E3779B97F4A7C15;
    return product ^ product >> 32;
}

/* the edge from a node by a character, or the free place for it; those by the letters of one script lie together */
static inline Edge *edge_of(const WordPiece *w, uint32_t node, uint32_t code)
{
    const uint64_t last = w->num_edges - 1;
    uint64_t place = (mixed((uint64_t)node << 32 | code >> 4, 0) << 4 | (code & 15)) & last;
    while (w->edges[place].child && (w->edges[place].node != node || w->edges[place].code != code))
        place = (place + 1) & last;
    return &w->edges[place];
}

/* whether there may be an edge from the end of this one by a character */
static inline uint32_t later_bit(uint32_t code) { return 1u << ((code * 0x9E3779B9u) >> 28) % 11; }

/* the place of a short word, or a free one for it */
static inline ShortWord *short_word_of(const WordPiece *w, uint64_t low, uint64_t high)
{
    const uint64_t last = w->num_words - 1;
    uint64_t place = mixed(low, high) & last;
    while (w->words[place].low && (w->words[place].low != low || w->words[place].high != high))
        place = (place + 1) & last;
    return &w->words[place];
}

/* the entry of a character in the table of kinds */
static inline uint32_t entry_of(const WordPiece *w, uint32_t code)
{
    return w->entries[w->pages[code / PAGE] * PAGE + code % PAGE];
}
static inline int kind_in(uint32_t entry) { return entry & 7; }
static inline int size_in(uint32_t entry) { return entry >> 3 & 31; }
static inline uint32_t form_in(uint32_t entry) { return entry >> 8; }

/* the character that begins at ``at``, and how many bytes it has; what is no UTF-8 is one byte and U+FFFD */
static inline uint32_t decoded(const unsigned char *at, const unsigned char *end, int *size)
{
    const uint32_t first = *at;
    const int more = first < 0x80 ? 0 : first < 0xC2 ? -1 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : first < 0xF5 ? 3 : -1;
    uint32_t code = more > 0 ? first & (0x3F >> more) : first;
    *size = 1;
    if (more < 0 || end - at <= more)
        return 0xFFFD;
    for (int i = 1; i <= more; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0xFFFD;
        code = code << 6 | (at[i] & 0x3F);
    }
    if (code > LAST_CODE)
        return 0xFFFD;
    *size = more + 1;
    return code;
}

/* 8 bytes as a number whose lowest byte is the first */
static inline uint64_t eight_bytes(const unsigned char *at)
{
    uint64_t bytes;
    memcpy(&bytes, at, 8);
    return bytes;
}

/* puts a token, ``size`` bytes, into the trie below ``node``; 0 if there is no room left */
static int add_token(WordPiece *w, uint32_t node, const unsigned char *token, long size, int32_t id)
{
    Edge *edge = 0, *before = 0;
    for (const unsigned char *at = token, *end = token + size; at < end;) {
        int bytes;
        const uint32_t code = decoded(at, end, &bytes);
        edge = edge_of(w, node, code);
        if (!edge->child) {
            if (w->nodes >= w->num_edges)
                return 0;
            *edge = (Edge){node, code, 0, w->nodes++, NO_ID};
            if (before)
                before->later |= later_bit(code);
        }
        before = edge;
        node = edge->child;
        at += bytes;
    }
    if (edge)
        edge->id = id;
    return 1;
}

/* puts a token of up to 16 letters and digits into the table of short words */
static void add_short_word(WordPiece *w, const unsigned char *token, long size, int32_t id)
{
    unsigned char bytes[16] = {0};
    if (size < 1 || size > 16)
        return;
    for (long i = 0; i < size; i++)
        if (token[i] >= 128 || w->ascii[token[i]] != LETTER)
            return;
    memcpy(bytes, token, size);
    ShortWord *word = short_word_of(w, eight_bytes(bytes), eight_bytes(bytes + 8));
    *word = (ShortWord){eight_bytes(bytes), eight_bytes(bytes + 8), id};
}

/* fills the tables with ``count`` tokens, a NUL behind each, and their ids; 0 if there is no room for them */
int bertie_wordpiece_fill(WordPiece *w, const unsigned char *tokens, long bytes, const int32_t *ids, long count)
{
    const unsigned char *at = tokens, *end = tokens + bytes;
    w->nodes = NODES;
    for (int code = 0; code < 128; code++)
        w->ascii[code] = code ? kind_in(entry_of(w, code)) : BLANK; /* texts hold no NUL: one of them ends there */
    if (count >= w->num_words)
        return 0;
    for (long i = 0; i < count; i++) {
        const unsigned char *stop = memchr(at, 0, end - at);
        if (!stop)
            return 0;
        const int is_later = stop - at > 2 && at[0] == '#' && at[1] == '#';
        if (!add_token(w, is_later ? LATER_PIECE : FIRST_PIECE, at + 2 * is_later, stop - at - 2 * is_later, ids[i]))
            return 0;
        if (!is_later)
            add_short_word(w, at, stop - at, ids[i]);
        at = stop + 1;
    }
    for (uint32_t code = 0; code < 128; code++) {
        const Edge *edge = edge_of(w, FIRST_PIECE, code);
        w->sign_ids[code] = edge->child && edge->id != NO_ID ? edge->id : w->unknown;
    }
    return 1;
}

/* has texts that hold one of these words, a NUL behind each, left unread when ``which`` is asked for: as they are
   written, or within a word's normal form; 0 if there is no room for them */
int bertie_wordpiece_forbid(WordPiece *w, int which, int normal, const unsigned char *words, long bytes)
{
    Forbidden *forbidden = &w->forbidden[which];
    uint32_t *root = normal ? &forbidden->normal : &forbidden->written;
    *root = w->nodes++;
    for (const unsigned char *at = words, *end = words + bytes; at < end;) {
        const unsigned char *stop = memchr(at, 0, end - at);
        if (!stop || !add_token(w, *root, at, stop - at, 0))
            return 0;
        if (*at < 128)
            forbidden->begins[*at] |= !normal;
        forbidden->reads_all |= normal || *at >= 128 || w->ascii[*at] == LETTER;
        at = stop + 1;
    }
    return 1;
}

long bertie_wordpiece_size(void) { return sizeof(WordPiece); }
