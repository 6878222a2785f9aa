/* The tables of the reader: the kinds of characters, and the vocabulary as a trie. */

/* as in characters.py: part of a word; dropped; a separator of words; a word by itself; a word by itself if Chinese characters
   are split; readable only by another tokenizer */
enum { LETTER, DROPPED, BLANK, SIGN, IDEOGRAPH, UNLISTED };
enum { PAGE = 256, LAST_CODE = 0x10FFFF };
/* The edges of the trie are in one hash table, 64 bits each: the node where it starts, its character, and facts about the
   node where it ends:

       node: 32 | character: 21 | whether a piece ends there: 1 | later: 10, a Bloom filter of the characters that follow

   The node where an edge ends is the edge's index plus EDGE_NODES; 0 is no edge. The nodes below EDGE_NODES are the roots: of
   pieces that begin a word, of pieces that continue one, and of forbidden strings. */
enum { FIRST_PIECE = 1, LATER_PIECE, FORBIDDEN_NODES, EDGE_NODES = FORBIDDEN_NODES + 4 };
enum { LATER_BITS = 10, PIECE_ENDS = 1 << LATER_BITS, WHAT_IS_KNOWN = 2 * PIECE_ENDS - 1 };
enum { NO_ID = -1 };

/* strings that a text must not contain to be read here: the roots of those in raw text and of those in a word's normalized form,
   or 0 */
typedef struct {
    uint32_t written, normal;
    int reads_all;             /* whether one may start within a word, or with a separator */
    unsigned char begins[256]; /* whether a string of the raw text starts with this byte */
} Forbidden;

/* ``num_edges`` is a power of 2, and at least one slot stays free */
typedef struct {
    const uint16_t *pages; /* [(LAST_CODE + 1) / PAGE] */
    const uint32_t *entries, *forms;
    uint64_t *edges;
    int32_t *ids; /* of the piece that ends with each edge */
    long num_edges, num_used;
    int32_t unknown;          /* the id of the unknown token */
    int32_t parts_ideographs; /* whether each Chinese character is a word */
    Forbidden forbidden[2];
    unsigned char kinds[256]; /* of the ASCII characters; all other bytes count as letters */
} WordPiece;

/* the index of the edge from a node by a character, or of a free slot for it; edges by neighbouring characters lie together */
static inline uint32_t edge_of(const WordPiece *w, uint32_t node, uint32_t code)
{
    const uint64_t last = w->num_edges - 1, edge = (uint64_t)node << 32 | code << (LATER_BITS + 1);
    const uint64_t hash = ((uint64_t)node << 32 | code >> 4) * 0x9E3779B97F4A7C15;
    uint64_t place = ((hash ^ hash >> 32) << 4 | (code & 15)) & last;
    while (w->edges[place] && (w->edges[place] ^ edge) > WHAT_IS_KNOWN)
        place = (place + 1) & last;
    return (uint32_t)place;
}

/* the bit of a character in the Bloom filter of an edge */
static inline uint64_t later_bit(uint32_t code) { return 1u << ((code * 0x9E3779B9u) >> 28) % LATER_BITS; }

/* the entry of a character in the table of kinds */
static inline uint32_t entry_of(const WordPiece *w, uint32_t code)
{
    return w->entries[w->pages[code / PAGE] * PAGE + code % PAGE];
}
static inline int kind_in(uint32_t entry) { return entry & 7; }
static inline int size_in(uint32_t entry) { return entry >> 3 & 31; }
static inline uint32_t form_in(uint32_t entry) { return entry >> 8; }

/* the character at ``at``, and how many bytes it has; an invalid byte is U+FFFD */
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

/* inserts a token of ``size`` bytes below ``node``; returns 0 if there is no room */
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

/* fills the tables with ``count`` tokens, each followed by a NUL, and their ids; returns 0 if there is no room, and -1 if there
   are fewer or more NULs than tokens */
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

/* forbids strings, each followed by a NUL, in the texts read with ``which``: in raw text, or within normalized words; returns 0
   if there is no room */
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
