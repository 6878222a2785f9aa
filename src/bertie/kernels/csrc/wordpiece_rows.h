/* Texts, each followed by a NUL, → rows of ids with prefix and suffix, truncated, and their tokens' offsets. */

enum { NOT_READ = -1, NO_ROOM = -1, OTHER_COUNT = -2 };

/* reads a text that ends at ``end``, until the limit is reached or something forbidden is found */
static void read_text(Reader *r, const unsigned char *at, const unsigned char *end)
{
    const int by_runs = r->rows->lines && !r->forbidden->reads_all;
    const long limit = r->count + r->rows->read_limit;
    int32_t place = 0;
    while (at < end && !r->is_forbidden && r->count < limit)
        at = by_runs ? read_runs(r, at, end, &place) : read_word(r, at, end, &place);
}

/* truncates a text's row to ``max_kept`` tokens, appends the suffix, and records the counts */
static void end_row(Reader *r, long text)
{
    const Rows *rows = r->rows;
    const long first = r->row_start + rows->num_prefix, count = r->count - first;
    const long kept = count < rows->max_kept ? count : rows->max_kept;
    rows->kept[text] = r->is_forbidden ? NOT_READ : kept;
    rows->counted[text] = r->is_forbidden ? NOT_READ : count;
    if (r->is_forbidden) {
        r->count = r->row_start;
        return;
    }
    if (rows->keep_last && kept < count) {
        memmove(rows->ids + first, rows->ids + first + count - kept, kept * sizeof(*rows->ids));
        if (rows->spans)
            memmove(rows->spans + 3 * first, rows->spans + 3 * (first + count - kept), 3 * kept * sizeof(*rows->spans));
    }
    r->count = first + kept;
    for (long i = 0; i < rows->num_suffix; i++)
        put_token(r, rows->suffix[i], 0, 0);
}

/* reads ``count`` texts, ``bytes`` long in total with the NUL after each, and followed by PADDING readable bytes. Returns the
   number of ids; NO_ROOM if ``ids`` is too small, OTHER_COUNT if there are fewer or more NULs than texts. */
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
        for (long i = 0; i < rows->num_prefix; i++)
            put_token(&r, rows->prefix[i], 0, 0);
        read_text(&r, at, stop);
        end_row(&r, text);
        at = stop + 1;
    }
    return r.is_full ? NO_ROOM : at < end ? OTHER_COUNT : r.count;
}

/* lets a caller check that its structures have the same size */
long bertie_wordpiece_size(void) { return sizeof(WordPiece) + sizeof(Rows); }
