/* Texts, a NUL behind each, → rows of ids, framed and cut, with the places that tokens come from. */

enum { NOT_READ = -1, NO_ROOM = -1, OTHER_COUNT = -2 };

/* reads a text that ends at ``end``, until it is enough, or until it turns out that it must not be read */
static void read_text(Reader *r, const unsigned char *at, const unsigned char *end)
{
    const int by_runs = r->rows->lines && !r->forbidden->reads_all;
    const long enough = r->count + r->rows->enough;
    int32_t place = 0;
    while (at < end && !r->is_forbidden && r->count < enough)
        at = by_runs ? read_runs(r, at, end, &place) : read_word(r, at, end, &place);
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

/* reads ``count`` texts, ``bytes`` long in all with the NUL behind each; PADDING more bytes are there. How many ids
   there are; or NO_ROOM for them, or OTHER_COUNT if there are fewer or more NULs than texts. */
long bertie_wordpiece_read(const WordPiece *w, const unsigned char *texts, long bytes, long count, Rows *rows)
{
    const unsigned char *at = texts, *end = texts + bytes;
    Reader r = {.w = w, .forbidden = &w->forbidden[rows->which], .rows = rows};
    for (long text = 0; text < count && !r.is_full; text++) {
        const unsigned char *stop = at < end ? memchr(at, 0, end - at) : 0;
        if (!stop)
            return OTHER_COUNT;
        r.row_start = r.count;
        r.num_words = r.is_forbidden = 0;
        for (long i = 0; i < rows->num_before; i++)
            put_token(&r, rows->before[i], 0, 0);
        read_text(&r, at, stop);
        end_row(&r, text);
        at = stop + 1;
    }
    return r.is_full ? NO_ROOM : at < end ? OTHER_COUNT : r.count;
}

/* by which a caller sees that its structures are these */
long bertie_wordpiece_size(void) { return sizeof(WordPiece) + sizeof(Rows); }
