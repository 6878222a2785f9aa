/* What texts are read with: the kinds of characters, and the vocabulary as a trie. */

/* as in characters.py: a part of a word, nothing, what parts words, a word of its own, one if Chinese characters are
   parted, and what only another tokenizer can read */
enum { LETTER, DROPPED, BLANK, SIGN, IDEOGRAPH, UNLISTED };
enum { PAGE = 256, LAST_CODE = 0x10FFFF };
/* The trie has its edges in one hash table, each in the 64 bits of its place: where it starts, by which character it
   goes on, and what is known of its end:

       node: 32 | character: 21 | whether a piece ends there: 1 | later: 10, a bit for the characters that go on from there

   The node where an edge ends is its place, counted from EDGE_NODES on; 0 is no edge. Below are where pieces start that
   begin a word, where those that go on in one, and where what is forbidden starts. */
enum { FIRST_PIECE = 1, LATER_PIECE, FORBIDDEN_NODES, EDGE_NODES = FORBIDDEN_NODES + 4 };
enum { LATER_BITS = 10, PIECE_ENDS = 1 << LATER_BITS, WHAT_IS_KNOWN = 2 * PIECE_ENDS - 1 };
enum { NO_ID = -1 };

/* what a text must not hold to be read here: nodes of the trie where it starts, as it is written and as a part of a
   word's normal form, or 0 */
typedef struct {
    uint32_t written, normal;
    int reads_all;             /* whether it may start within a word, or with what parts words */
    unsigned char begins[256]; /* whether what is written starts with a byte */
} Forbidden;

/* the number of places for edges is a power of 2, of which at least one stays free */
typedef struct {
    const uint16_t *pages; /* [(LAST_CODE + 1) / PAGE] */
    const uint32_t *entries, *forms;
    uint64_t *edges;
    int32_t *ids; /* of the piece that ends with an edge */
    long num_edges, num_used;
    int32_t unknown;          /* the id of a word without pieces */
    int32_t parts_ideographs; /* whether each Chinese character is a word */
    Forbidden forbidden[2];
    unsigned char kinds[256]; /* of the characters of ASCII; a byte of others counts as a letter */
} WordPiece;

/* the place of the edge from a node by a character, or a free one for it; those by the letters of one script lie
   together */
static inline uint32_t edge_of(const WordPiece *w, uint32_t node, uint32_t code)
{
    const uint64_t last = w->num_edges - 1, edge = (uint64_t)node << 32 | code << (LATER_BITS + 1);
    const uint64_t hash = ((uint64_t)node << 32 | code >> 4) * 0x9E3779B97F4A7C15;
    uint64_t place = ((hash ^ hash >> 32) << 4 | (code & 15)) & last;
    while (w->edges[place] && (w->edges[place] ^ edge) > WHAT_IS_KNOWN)
        place = (place + 1) & last;
    return (uint32_t)place;
}

/* whether there may be an edge from the end of this one by a character */
static inline uint64_t later_bit(uint32_t code) { return 1u << ((code * 0x9E3779B9u) >> 28) % LATER_BITS; }

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
    uint64_t *before = 0;
    for (const unsigned char *at = token, *end = token + size; at < end;) {
        int bytes;
        const uint32_t code = decoded(at, end, &bytes), place = edge_of(w, node, code);
        uint64_t *edge = &w->edges[place];
        if (before)
            *before |= later_bit(code);
        if (!*edge) {
            if (++w->num_used >= w->num_edges)
                return 0;
            *edge = (uint64_t)node << 32 | code << (LATER_BITS + 1);
        }
        at += bytes;
        if (at == end)
            *edge |= PIECE_ENDS, w->ids[place] = id;
        before = edge;
        node = place + EDGE_NODES;
    }
    return 1;
}

/* fills the tables with ``count`` tokens, a NUL behind each, and their ids; 0 if there is no room for them, and -1 if
   there are fewer or more NULs than tokens */
int bertie_wordpiece_fill(WordPiece *w, const unsigned char *tokens, long bytes, const int32_t *ids, long count)
{
    const unsigned char *at = tokens, *end = tokens + bytes;
    w->num_used = 0;
    for (int code = 1; code < 128; code++)
        w->kinds[code] = kind_in(entry_of(w, code));
    w->kinds[0] = BLANK; /* texts hold no NUL: one of them ends there */
    memset(w->kinds + 128, LETTER, 128);
    for (long i = 0; i < count; i++) {
        const unsigned char *stop = at < end ? memchr(at, 0, end - at) : 0;
        if (!stop)
            return -1;
        const int is_later = stop - at > 2 && at[0] == '#' && at[1] == '#';
        if (!add_token(w, is_later ? LATER_PIECE : FIRST_PIECE, at + 2 * is_later, stop - at - 2 * is_later, ids[i]))
            return 0;
        at = stop + 1;
    }
    return at == end ? 1 : -1;
}

/* has texts that hold one of these words, a NUL behind each, left unread when ``which`` is asked for: as they are
   written, or within a word's normal form; 0 if there is no room for them */
int bertie_wordpiece_forbid(WordPiece *w, int which, int normal, const unsigned char *words, long bytes)
{
    Forbidden *forbidden = &w->forbidden[which];
    uint32_t *root = normal ? &forbidden->normal : &forbidden->written;
    *root = FORBIDDEN_NODES + 2 * which + normal;
    for (const unsigned char *at = words, *end = words + bytes; at < end;) {
        const unsigned char *stop = memchr(at, 0, end - at);
        if (!stop || !add_token(w, *root, at, stop - at, 0))
            return 0;
        forbidden->begins[*at] |= !normal;
        forbidden->reads_all |= normal || (w->kinds[*at] != SIGN && w->kinds[*at] != DROPPED);
        at = stop + 1;
    }
    return 1;
}
