/*
 * Cutting a stream into pieces: what is held, and where a piece ends. Where a record
 * ends is split_scan.c's business. See split.h for the contract.
 *
 * `held` begins with what every piece begins with (CSV: the header line, arrays:
 * the bracket); behind that come bytes of the stream.
 */
#include "storage/columns/split.h"

#include "storage/base/mem.h"
#include "storage/columns/decoder.h"
#include "storage/columns/split_scan.h"

#include <assert.h>
#include <inttypes.h>

enum { START_BYTES = 3 /* a byte order mark at most */ };

struct splitter {
    struct splitter_options options;
    struct buffer held;
    size_t prefix;        /* bytes of `held` that every piece begins with */
    int64_t prefix_lines; /* physical lines of it */
    bool wants_header;    /* CSV: the first record becomes the prefix */
    int64_t offset;       /* in the stream, of the byte behind the prefix */
    struct split_scan scan;

    /* the piece in hand */
    int64_t records;
    size_t start, cut; /* of its records, while there are some */
    int64_t line;      /* of the first one */

    struct split_record waiting; /* a record that was found too late for the piece before */
    bool has_waiting;
    bool is_checked; /* the start of the stream was looked at */
    bool is_finished;
    bool is_out;   /* the piece in hand was given out */
    bool has_lent; /* … and the byte at `cut` with it, to the closing bracket */
    uint8_t lent;
};

struct splitter *splitter_open(const struct splitter_options *options)
{
    assert(options->records_max > 0);
    assert(options->bytes_max > 0);
    struct splitter *splitter = mem_zeroed(1, sizeof *splitter);
    splitter->options = *options;
    if (options->record_bytes_max == 0) {
        splitter->options.record_bytes_max = DECODE_RECORD_BYTES_MAX;
    }
    buffer_init(&splitter->held, SIZE_MAX); /* bounded by what splitter_next leaves in it */
    splitter->wants_header = options->format == DECODE_CSV;
    if (options->format == DECODE_JSON_ARRAY) {
        buffer_append_byte(&splitter->held, '[');
        splitter->prefix = 1;
    }
    split_scan_init(&splitter->scan, options->format, splitter->prefix);
    return splitter;
}

void splitter_close(struct splitter **splitter)
{
    if (*splitter != NULL) {
        buffer_deinit(&(*splitter)->held);
        mem_free(*splitter);
        *splitter = NULL;
    }
}

/* Take the first `size` bytes of the stream that are held out of it. */
static void drop(struct splitter *splitter, size_t size)
{
    struct buffer *held = &splitter->held;
    if (size == 0) {
        return;
    }
    uint8_t *first = held->data + splitter->prefix;
    memmove(first, first + size, held->size - splitter->prefix - size);
    held->size -= size;
    splitter->offset += (int64_t)size;
    split_scan_shift(&splitter->scan, size);
    if (splitter->has_waiting) {
        splitter->waiting.start -= size;
        splitter->waiting.end -= size;
    }
}

/* After a piece was given out: forget it, before anything else moves. */
static void take_back(struct splitter *splitter)
{
    if (!splitter->is_out) {
        return;
    }
    if (splitter->has_lent) {
        splitter->held.data[splitter->cut] = splitter->lent;
        splitter->has_lent = false;
    }
    splitter->is_out = false;
    splitter->records = 0;
    drop(splitter, splitter->cut - splitter->prefix);
}

uint8_t *splitter_reserve(struct splitter *splitter, size_t size)
{
    assert(!splitter->is_finished);
    take_back(splitter);
    return buffer_reserve(&splitter->held, size);
}

void splitter_advance(struct splitter *splitter, size_t size)
{
    buffer_advance(&splitter->held, size);
}

size_t splitter_held_bytes(const struct splitter *splitter)
{
    return splitter->held.capacity;
}

void splitter_finish(struct splitter *splitter)
{
    take_back(splitter);
    splitter->is_finished = true;
}

/* ---- the start of the stream ---- */

/* A byte order mark goes; false while too little is there to say. */
static enum err_code check_start(struct splitter *splitter, bool *checked_out, struct err *err)
{
    size_t size = splitter->held.size - splitter->prefix;
    *checked_out = splitter->is_checked || size >= START_BYTES || splitter->is_finished;
    if (splitter->is_checked || !*checked_out || size == 0) {
        return ERR_OK;
    }
    struct span rest = span_of(splitter->held.data + splitter->prefix, size);
    TRY(decode_check_encoding(&rest, err));
    size_t mark = size - rest.size;
    splitter->scan.at += mark;
    splitter->scan.record_start += mark;
    drop(splitter, mark);
    splitter->is_checked = true;
    return ERR_OK;
}

/* The header becomes what every piece begins with. */
static void keep_header(struct splitter *splitter, const struct split_record *header)
{
    drop(splitter, header->start - splitter->prefix); /* blank lines before it */
    size_t size = header->end - header->start;
    splitter->prefix = size;
    splitter->offset += (int64_t)size;
    splitter->prefix_lines = splitter->scan.line - header->line;
    splitter->wants_header = false;
}

/* ---- pieces ---- */

static enum err_code refuse_record(const struct splitter *splitter, int64_t line, struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "%s %" PRId64 ": the record has more than %" PRId64 " bytes",
                   splitter->options.format == DECODE_JSON_ARRAY ? "element" : "line", line,
                   splitter->options.record_bytes_max);
}

static enum err_code refuse_stream(const struct splitter *splitter, struct err *err)
{
    if (splitter->scan.line == 0) {
        return err_set(err, ERR_INVALID, "%s", splitter->scan.fault);
    }
    return err_set(err, ERR_INVALID, "element %" PRId64 ": %s", splitter->scan.line,
                   splitter->scan.fault);
}

static void add_record(struct splitter *splitter, const struct split_record *record)
{
    if (splitter->records == 0) {
        splitter->start = record->start;
        splitter->line = record->line;
    }
    splitter->records++;
    splitter->cut = record->end;
}

static bool fits(const struct splitter *splitter, const struct split_record *record)
{
    return splitter->records == 0 ||
           (splitter->records < splitter->options.records_max &&
            (int64_t)(record->end - splitter->start) <= splitter->options.bytes_max);
}

static void lend_bracket(struct splitter *splitter)
{
    struct buffer *held = &splitter->held;
    if (splitter->cut == held->size) {
        (void)buffer_reserve(held, 1); /* a byte that is not counted */
    } else {
        splitter->lent = held->data[splitter->cut];
        splitter->has_lent = true;
    }
    held->data[splitter->cut] = ']';
}

static void give_out(struct splitter *splitter, struct split_piece *piece_out)
{
    size_t before = splitter->start - splitter->prefix;
    drop(splitter, before);
    splitter->start -= before;
    splitter->cut -= before;
    bool is_array = splitter->options.format == DECODE_JSON_ARRAY;
    if (is_array) {
        lend_bracket(splitter);
    }
    splitter->is_out = true;
    *piece_out = (struct split_piece){
        .body = span_of(splitter->held.data, splitter->cut + (is_array ? 1 : 0)),
        .records_count = splitter->records,
        .line_offset = splitter->line - 1 - splitter->prefix_lines,
        .start = splitter->offset,
        .end = splitter->offset + (int64_t)(splitter->cut - splitter->prefix),
    };
}

/* Has the continuation already had it? */
static bool is_skipped(const struct splitter *splitter, const struct split_record *record)
{
    return splitter->offset + (int64_t)(record->end - splitter->prefix) <=
           splitter->options.skip_bytes;
}

/* A whole record: header, one to leave out, one of this piece (true: go on), or of the next. */
static enum err_code take_record(struct splitter *splitter, const struct split_record *record,
                                 bool *go_on_out, struct err *err)
{
    *go_on_out = true;
    bool is_large = (int64_t)record->content > splitter->options.record_bytes_max;
    if (is_large && splitter->records == 0) {
        return refuse_record(splitter, record->line, err);
    }
    if (splitter->wants_header) {
        keep_header(splitter, record);
    } else if (!is_large && fits(splitter, record)) {
        if (!record->is_blank && !is_skipped(splitter, record)) {
            add_record(splitter, record);
        }
    } else if (!record->is_blank || is_large) {
        splitter->waiting = *record;
        splitter->has_waiting = true;
        *go_on_out = false;
    }
    return ERR_OK;
}

/* The last record is not over. Is it, or what lies between records, too large for this piece? */
static enum err_code look_at_rest(struct splitter *splitter, bool *is_full_out, struct err *err)
{
    const struct split_scan *scan = &splitter->scan;
    enum { LINE_END_BYTES = 2 };
    int64_t rest = (int64_t)(splitter->held.size - scan->record_start) - LINE_END_BYTES;
    bool is_large = rest > splitter->options.record_bytes_max;
    if (is_large && splitter->records == 0) {
        return refuse_record(splitter, scan->line, err);
    }
    *is_full_out =
        splitter->records > 0 && (is_large || (int64_t)(splitter->held.size - splitter->start) >
                                                  splitter->options.bytes_max + LINE_END_BYTES);
    if (splitter->records == 0) {
        drop(splitter, scan->record_start - splitter->prefix); /* blanks */
    }
    return ERR_OK;
}

/* Records into the piece until it is full (is_full_out), or nothing more is there. */
static enum err_code fill(struct splitter *splitter, bool *is_full_out, struct err *err)
{
    struct split_record record;
    for (bool go_on = true; go_on;) {
        if (splitter->has_waiting) {
            splitter->has_waiting = false;
            record = splitter->waiting;
            TRY(take_record(splitter, &record, &go_on, err));
            continue;
        }
        enum split_result result = split_scan_next(&splitter->scan, buffer_span(&splitter->held),
                                                   splitter->is_finished, &record);
        switch (result) {
        case SPLIT_RECORD:
            TRY(take_record(splitter, &record, &go_on, err));
            break;
        case SPLIT_MORE:
            return look_at_rest(splitter, is_full_out, err);
        case SPLIT_END:
            *is_full_out = splitter->records > 0;
            return ERR_OK;
        case SPLIT_BROKEN:
            *is_full_out = splitter->records > 0;
            return *is_full_out ? ERR_OK : refuse_stream(splitter, err);
        }
    }
    *is_full_out = true;
    return ERR_OK;
}

enum err_code splitter_next(struct splitter *splitter, struct split_piece *piece_out,
                            bool *found_out, struct err *err)
{
    bool is_checked = false;
    bool is_full = false;
    take_back(splitter);
    TRY(check_start(splitter, &is_checked, err));
    if (is_checked) {
        TRY(fill(splitter, &is_full, err));
    }
    if (is_full) {
        give_out(splitter, piece_out);
    }
    *found_out = is_full;
    return ERR_OK;
}

/* ---- detection ---- */

static const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    return p;
}

/* The object that begins at `start` is over: does another one follow, or the end? */
static bool is_followed_by_nothing(struct span start, bool is_whole)
{
    struct split_scan scan;
    struct split_record record;
    split_scan_init(&scan, DECODE_JSON_ARRAY, 0);
    if (split_scan_next(&scan, start, is_whole, &record) != SPLIT_RECORD) {
        return false;
    }
    const uint8_t *end = start.data + start.size;
    return skip_space(start.data + record.end, end) == end && is_whole;
}

enum decode_format split_detect(struct span start, bool is_whole)
{
    const uint8_t *end = start.data + start.size;
    const uint8_t *p = start.data;
    if (start.size >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
        p += 3;
    }
    p = skip_space(p, end);
    if (p == end || (*p != '{' && *p != '[')) {
        return p == end ? DECODE_NDJSON : DECODE_CSV;
    }
    if (*p == '[') {
        return DECODE_JSON_ARRAY;
    }
    return is_followed_by_nothing(span_of(p, (size_t)(end - p)), is_whole) ? DECODE_JSON_ARRAY
                                                                           : DECODE_NDJSON;
}
