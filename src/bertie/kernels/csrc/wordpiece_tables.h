/* What texts are read with: the kinds of characters, and the vocabulary as a trie. */

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

/* what a text must not hold to be read here: nodes of the trie where it starts, as it is written and as a part of a
   word's normal form, or 0 */
typedef struct {
    uint32_t written, normal;
    int reads_all;             /* whether it may start within a word, or with what parts words */
    unsigned char begins[256]; /* whether what is written starts with a byte */
} Forbidden;

/* numbers of places are powers of 2, of which at least one stays free */
typedef struct {
    const uint16_t *pages; /* [(LAST_CODE + 1) / PAGE] */
    const uint32_t *entries, *forms;
    Edge *edges;
    long num_edges;
    int32_t unknown;          /* the id of a word without pieces */
    int32_t parts_ideographs; /* whether each Chinese character is a word */
    uint32_t nodes;
    Forbidden forbidden[2];
    unsigned char kinds[256]; /* of the characters of ASCII; a byte of others counts as a letter */
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

/* fills the tables with ``count`` tokens, a NUL behind each, and their ids; 0 if there is no room for them */
int bertie_wordpiece_fill(WordPiece *w, const unsigned char *tokens, long bytes, const int32_t *ids, long count)
{
    const unsigned char *at = tokens, *end = tokens + bytes;
    w->nodes = NODES;
    for (int code = 1; code < 128; code++)
        w->kinds[code] = kind_in(entry_of(w, code));
    w->kinds[0] = BLANK; /* texts hold no NUL: one of them ends there */
    memset(w->kinds + 128, LETTER, 128);
    for (long i = 0; i < count; i++) {
        const unsigned char *stop = memchr(at, 0, end - at);
        if (!stop)
            return 0;
        const int is_later = stop - at > 2 && at[0] == '#' && at[1] == '#';
        if (!add_token(w, is_later ? LATER_PIECE : FIRST_PIECE, at + 2 * is_later, stop - at - 2 * is_later, ids[i]))
            return 0;
        at = stop + 1;
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
        forbidden->begins[*at] |= !normal;
        forbidden->reads_all |= normal || (w->kinds[*at] != SIGN && w->kinds[*at] != DROPPED);
        at = stop + 1;
    }
    return 1;
}

long bertie_wordpiece_size(void) { return sizeof(WordPiece); }
