/*
 * Services as sources: the walk from page to page. See source_http.h. Requests go
 * through storage/remote, which guards addresses, times and sizes.
 */
#include "workers/source_http.h"

#include "storage/base/clock.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/columns/split.h"
#include "storage/remote/client.h"
#include "storage/remote/url.h"
#include "workers/source_http_page.h"
#include "workers/source_http_place.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    REDIRECTS_MAX = 5,
    RETRY_US = 500000,           /* the first pause; each next one is twice as long */
    RETRY_US_MAX = 30000000,     /* of our own; a server may ask for more … */
    PATIENCE_US_MAX = 300000000, /* … up to here: then the attempt ends and the runner waits */
    TIMEOUT_SECONDS = 60,
    PLACE_TEXT_BYTES = 64,
};

/* A page by number that had records: the one after it may be empty, and this one may grow. */
struct http_last {
    int64_t page; /* 0 = none */
    int64_t taken;
    uint8_t prefix[HASH_SHA256_BYTES];
};

struct source_http {
    struct source base;
    const struct source_reader *reader;
    struct http_pages pages;
    struct remote *remote;
    struct outgoing outgoing;
    int64_t timeout_ms;
    int64_t interval_us; /* between two requests */
    int64_t retry_us;
    int64_t asked_us; /* when the last request began; 0 = none yet */

    struct http_place place; /* of the page in hand, or the next to be asked for */
    struct http_last last;   /* the page before it */
    bool is_conditional;     /* the first page is asked for with If-None-Match */
    bool is_continued;       /* the first request of a walk that somebody else began */
    bool is_over;            /* the last piece was given */

    /* the page in hand */
    bool has_page;
    struct remote_answer answer;
    struct http_page page;
    struct splitter *splitter;
    struct hash_stream *hash; /* of the records' text, up to place.taken */
    bool had_records;

    struct buffer checkpoint;
    char where[PLACE_TEXT_BYTES]; /* "page 3, element" */
};

static struct source_http *http_of(struct source *source)
{
    return (struct source_http *)source;
}

static bool is_append(const struct source_http *http)
{
    return http->reader->schema->merge == TABLE_APPEND;
}

/* ---- beginning ---- */

/* The first page again, but only if it is another one than last time. */
static void begin_walk(struct source_http *http)
{
    http->place.is_done = false;
    http->place.page = 1;
    http->place.next[0] = '\0';
    http->place.taken = 0;
    http->place.seen_count = 0;
    http->is_conditional = http->place.etag[0] != '\0';
}

static enum err_code begin(struct source *source, struct span checkpoint, bool *done_out,
                           struct err *err)
{
    struct source_http *http = http_of(source);
    TRY(http_place_parse(checkpoint, &http->place, err));
    *done_out = http->place.is_done && http->place.run_id == http->reader->run_id;
    if (http->place.is_done && !*done_out) {
        if (is_append(http)) {
            http->place.is_done = false; /* the feed may have grown behind its last record */
        } else {
            begin_walk(http);
        }
    }
    http->is_continued = !http->place.is_done && http->place.page > 1;
    http->place.run_id = http->reader->run_id;
    return ERR_OK;
}

/* ---- asking ---- */

/* No more requests a second than were allowed. */
static enum err_code keep_pace(struct source_http *http, struct err *err)
{
    int64_t now_us = clock_monotonic_us();
    int64_t due_us = http->asked_us + http->interval_us;
    if (http->asked_us > 0 && http->interval_us > 0 && now_us < due_us) {
        TRY(http->reader->wait(http->reader->arg, due_us - now_us, err));
    }
    http->asked_us = clock_monotonic_us();
    return http->reader->check_time(http->reader->arg, err);
}

static enum err_code ask_once(struct source_http *http, const char *url, struct err *err)
{
    struct remote_header headers[REMOTE_HEADERS_MAX + 1];
    size_t count = http->outgoing.headers_count;
    if (count > 0) {
        memcpy(headers, http->outgoing.headers, count * sizeof headers[0]);
    }
    if (http->is_conditional && count < REMOTE_HEADERS_MAX) {
        headers[count++] = (struct remote_header){"If-None-Match", http->place.etag};
    }
    const struct remote_request request = {
        .url = url,
        .headers = headers,
        .headers_count = count,
        .auth = http->outgoing.auth,
        .accept_gzip = true,
        .redirects_max = REDIRECTS_MAX,
        .limits = {.deadline_ms = http->timeout_ms, .body_bytes_max = SOURCE_HTTP_PAGE_BYTES_MAX},
        .cancelled = http->reader->cancelled,
    };
    TRY(keep_pace(http, err));
    TRY(remote_call(http->remote, &request, &http->answer, err));
    return remote_answer_check(&http->answer, err);
}

/* How long to wait before the next try: what was asked for, else longer each time, with jitter. */
static int64_t pause_of(const struct source_http *http, int tries)
{
    if (http->answer.retry_after_us >= 0) {
        return http->answer.retry_after_us;
    }
    int64_t most = http->retry_us << (tries - 1);
    most = most < RETRY_US_MAX ? most : RETRY_US_MAX;
    return (int64_t)secret_random_below((uint64_t)most + 1);
}

static bool may_help(enum err_code code)
{
    return code == ERR_IO || code == ERR_BUSY;
}

static enum err_code ask(struct source_http *http, const char *url, struct err *err)
{
    for (int tries = 1;; tries++) {
        enum err_code code = ask_once(http, url, err);
        if (code == ERR_OK || !may_help(code) || tries == SOURCE_HTTP_TRIES) {
            return code;
        }
        int64_t pause_us = pause_of(http, tries);
        if (pause_us > PATIENCE_US_MAX) {
            return code;
        }
        err_clear(err);
        TRY(http->reader->wait(http->reader->arg, pause_us, err));
    }
}

/* ---- a page ---- */

static void keep_etag(struct source_http *http)
{
    struct span etag = remote_answer_header(&http->answer, "etag");
    bool fits = etag.data != NULL && etag.size <= SOURCE_HTTP_ETAG_BYTES_MAX;
    size_t size = fits ? etag.size : 0;
    if (size > 0) {
        memcpy(http->place.etag, etag.data, size);
    }
    http->place.etag[size] = '\0';
}

static enum err_code repeats_itself(const struct source_http *http, const char *what,
                                    struct err *err)
{
    return err_set(err, ERR_IO,
                   "the service gave %s a second time; it is asked again, so that nothing is left "
                   "out or doubled%s",
                   what,
                   http->pages.paging == HTTP_PAGING_NUMBER
                       ? " (if it repeats its last page for ever, give paging.last)"
                       : "");
}

/* A cursor that was followed already leads in a circle. */
static enum err_code check_next(const struct source_http *http, struct err *err)
{
    bool is_again = http->page.has_next && http->pages.paging != HTTP_PAGING_NUMBER &&
                    http_place_has_next(&http->place, http->page.next);
    return is_again ? repeats_itself(http, "a cursor", err) : ERR_OK;
}

/* Records that were all gone over under another cursor or number would be doubled. */
static enum err_code check_content(const struct source_http *http, struct err *err)
{
    bool is_again =
        http->place.taken == 0 && http_place_has_content(&http->place, http->page.records);
    return is_again ? repeats_itself(http, "a page", err) : ERR_OK;
}

/* What was taken of this page must still be its beginning. */
static enum err_code check_prefix(struct source_http *http, struct err *err)
{
    struct span records = http->page.records;
    uint8_t digest[HASH_SHA256_BYTES];
    http->hash = hash_stream_new();
    if (http->place.taken == 0) {
        return ERR_OK;
    }
    if ((size_t)http->place.taken <= records.size) {
        hash_stream_update(http->hash, span_of(records.data, (size_t)http->place.taken));
        hash_stream_digest(http->hash, digest);
        if (memcmp(digest, http->place.prefix, sizeof digest) == 0) {
            return ERR_OK;
        }
    }
    if (is_append(http)) {
        return err_set(err, ERR_PRECONDITION,
                       "page %" PRId64
                       " is not the one that was read in part: its records changed, "
                       "and an append table cannot tell them from new ones; give the table a key",
                       http->place.page);
    }
    hash_stream_free(&http->hash); /* with a key, the same records again change nothing */
    http->hash = hash_stream_new();
    http->place.taken = 0;
    return ERR_OK;
}

static void split_page(struct source_http *http)
{
    const struct splitter_options options = {
        .format = http->pages.format,
        .records_max = source_records_max(http->reader),
        .bytes_max = SOURCE_PIECE_BYTES_MAX,
        .skip_bytes = http->place.taken,
    };
    struct span records = http->page.records;
    http->splitter = splitter_open(&options);
    if (records.size > 0) {
        memcpy(splitter_reserve(http->splitter, records.size), records.data, records.size);
        splitter_advance(http->splitter, records.size);
    }
    splitter_finish(http->splitter);
    http->has_page = true;
    http->had_records = http->place.taken > 0;
}

static void drop_page(struct source_http *http)
{
    splitter_close(&http->splitter);
    hash_stream_free(&http->hash);
    http->has_page = false;
}

static enum err_code ask_for_page(struct source_http *http, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer url;
    if (http->place.page > SOURCE_HTTP_PAGES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "more than %d pages; does the service ever end?",
                       SOURCE_HTTP_PAGES_MAX);
    }
    buffer_init(&url, URL_BYTES_MAX + 1);
    TRY(http_pages_url(&http->pages, &http->place, &url, err));
    buffer_append_byte(&url, '\0');
    TRY(buffer_check(&url, "the URL of the next page", err));
    return ask(http, (const char *)url.data, err);
}

/* Cursors do not live for ever. With a key, the walk may begin anew; records come again. */
static bool is_forgotten(const struct source_http *http, enum err_code code)
{
    bool is_refused = code == ERR_NOT_FOUND || code == ERR_INVALID || code == ERR_PRECONDITION;
    return is_refused && http->is_continued && !is_append(http) && http->answer.status >= 400;
}

/*
 * Get the page that place names.
 *   unchanged_out  it is the first one, and what it was last time
 */
static enum err_code get_page(struct source_http *http, bool *unchanged_out, struct err *err)
{
    enum err_code code = ask_for_page(http, err);
    if (is_forgotten(http, code)) {
        err_clear(err);
        http->place.etag[0] = '\0';
        begin_walk(http);
        code = ask_for_page(http, err);
    }
    TRY(code);
    http->is_continued = false;
    http->base.progress.bytes += http->answer.body_bytes;
    *unchanged_out = http->is_conditional && http->answer.status == 304;
    if (*unchanged_out) {
        return ERR_OK;
    }
    if (http->place.page == 1 && http->place.taken == 0) {
        keep_etag(http);
    }
    TRY(http_page_read(&http->pages, &http->place, &http->answer, &http->page, err));
    TRY(check_next(http, err));
    TRY(check_prefix(http, err));
    http->is_conditional = false;
    http->base.progress.work_done = http->place.page;
    http->base.progress.work_total = http->page.last_page;
    split_page(http);
    return ERR_OK;
}

/* ---- pieces ---- */

static void give_checkpoint(struct source_http *http, struct source_piece *piece_out)
{
    http_place_write(&http->place, &http->checkpoint);
    piece_out->checkpoint = buffer_span(&http->checkpoint);
}

/* The walk is over: say so, once. */
static void finish(struct source_http *http, struct source_piece *piece_out, bool *found_out)
{
    *found_out = !http->is_over;
    if (!http->is_over) {
        *piece_out = (struct source_piece){0};
        http->place.is_done = true;
        give_checkpoint(http, piece_out);
        http->is_over = true;
    }
}

static void give_piece(struct source_http *http, const struct split_piece *piece,
                       struct source_piece *piece_out)
{
    bool is_array = http->pages.format == DECODE_JSON_ARRAY;
    int64_t before = http->place.taken;
    hash_stream_update(http->hash,
                       span_of(http->page.records.data + before, (size_t)(piece->end - before)));
    hash_stream_digest(http->hash, http->place.prefix);
    http->place.taken = piece->end;
    http->had_records = true;
    (void)snprintf(http->where, sizeof http->where, "page %" PRId64 ", %s", http->place.page,
                   is_array ? "element" : "line"); /* fits */
    *piece_out = (struct source_piece){
        .records_count = piece->records_count,
        .body = piece->body,
        .format = http->pages.format,
        .line_offset = piece->line_offset,
        .place = http->where,
    };
    give_checkpoint(http, piece_out);
}

static void set_number(struct source_http *http, int64_t page)
{
    http->place.page = page;
    (void)snprintf(http->place.next, sizeof http->place.next, "%" PRId64, page); /* fits */
}

/* The empty page that ends a walk by numbers is nothing to go on behind: the one before is. */
static void step_back(struct source_http *http)
{
    if (http->pages.paging == HTTP_PAGING_NUMBER && !http->had_records && http->last.page > 0) {
        set_number(http, http->last.page);
        http->place.taken = http->last.taken;
        memcpy(http->place.prefix, http->last.prefix, sizeof http->place.prefix);
    }
}

/* The page in hand is gone over. False: it was the last one. */
static bool turn_page(struct source_http *http)
{
    bool by_number = http->pages.paging == HTTP_PAGING_NUMBER;
    bool ends =
        !http->page.has_next || (by_number && http->pages.last.size == 0 && !http->had_records);
    http_place_note(&http->place, http->page.records);
    drop_page(http);
    if (ends) {
        step_back(http);
        return false;
    }
    http->last = (struct http_last){.page = http->place.page, .taken = http->place.taken};
    memcpy(http->last.prefix, http->place.prefix, sizeof http->last.prefix);
    http->place.taken = 0;
    if (by_number) {
        set_number(http, http->place.page + 1);
    } else {
        http->place.page++;
        memcpy(http->place.next, http->page.next, sizeof http->place.next);
    }
    return true;
}

static enum err_code read_piece(struct source_http *http, struct source_piece *piece_out,
                                bool *found_out, struct err *err)
{
    for (;;) {
        struct split_piece piece;
        bool unchanged = false;
        if (http->is_over) {
            *found_out = false;
            return ERR_OK;
        }
        if (!http->has_page) {
            TRY(get_page(http, &unchanged, err));
        }
        if (unchanged) {
            finish(http, piece_out, found_out);
            return ERR_OK;
        }
        TRY(splitter_next(http->splitter, &piece, found_out, err));
        if (*found_out) {
            TRY(check_content(http, err));
            give_piece(http, &piece, piece_out);
            return ERR_OK;
        }
        if (!turn_page(http)) {
            finish(http, piece_out, found_out);
            return ERR_OK;
        }
    }
}

static enum err_code next(struct source *source, struct source_piece *piece_out, bool *found_out,
                          struct err *err)
{
    struct source_http *http = http_of(source);
    enum err_code code = read_piece(http, piece_out, found_out, err);
    return code == ERR_OK || code == ERR_CANCELLED
               ? code
               : err_wrap(err, "page %" PRId64, http->place.page);
}

static void close_http(struct source *source)
{
    struct source_http *http = http_of(source);
    drop_page(http);
    remote_answer_deinit(&http->answer);
    outgoing_deinit(&http->outgoing);
    buffer_deinit(&http->checkpoint);
}

/* ---- opening ---- */

static void read_limits(struct source_http *http, const struct source_http_options *options)
{
    int64_t seconds = TIMEOUT_SECONDS;
    double rate = 0;
    (void)json_as_integer(json_get(options->given, "timeout_seconds"), &seconds);
    http->timeout_ms = seconds * 1000;
    if (json_as_real(json_get(options->given, "requests_per_second"), &rate) && rate > 0) {
        http->interval_us = (int64_t)(1e6 / rate);
    }
    http->retry_us = options->retry_us > 0 ? options->retry_us : RETRY_US;
}

static enum err_code add_accept(struct source_http *http, struct err *err)
{
    static const char *const types[] = {
        [DECODE_NDJSON] = "application/x-ndjson",
        [DECODE_JSON_ARRAY] = "application/json",
        [DECODE_CSV] = "text/csv",
    };
    return outgoing_add(&http->outgoing, "Accept", types[http->pages.format], err);
}

/* What the service is asked for makes the source: other pages, pointers or formats are another. */
static enum err_code identify(struct source_http *http, const struct json *given, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer paging;
    struct url url;
    buffer_init(&paging, 1 << 20);
    json_write(json_get(given, "paging"), &paging);
    TRY(buffer_check(&paging, "/source/paging", err));
    TRY(url_parse(span_of_text(http->pages.url), &url, err));
    uint8_t format = (uint8_t)http->pages.format;
    const struct span parts[] = {span_of_text(http->pages.url), span_of(&format, 1),
                                 http->pages.records, buffer_span(&paging)};
    source_identify(&http->base, http->reader, "http", parts, 4);
    char origin[URL_ORIGIN_BYTES];
    url_origin(&url, origin);
    (void)snprintf(http->base.name, sizeof http->base.name, "%.*s", SOURCE_NAME_BYTES - 1,
                   origin); /* cut is fine */
    return ERR_OK;
}

enum err_code source_http_open(const struct source_http_options *options,
                               const struct source_reader *reader, struct source **source_out,
                               struct err *err)
{
    static const struct source_ops ops = {.begin = begin, .next = next, .close = close_http};
    struct source_http *http = mem_zeroed(1, sizeof *http);
    CLEANUP(source_close) struct source *source = &http->base;
    source->ops = &ops;
    http->reader = reader;
    http->remote = options->remote;
    remote_answer_init(&http->answer);
    buffer_init(&http->checkpoint, SOURCE_CHECKPOINT_BYTES_MAX);
    read_limits(http, options);
    TRY(http_pages_parse(options->given, &http->pages, err));
    if (outgoing_init(&http->outgoing, options->given, options->open_secrets, options->open_arg,
                      err) != ERR_OK ||
        add_accept(http, err) != ERR_OK || identify(http, options->given, err) != ERR_OK) {
        return err_wrap(err, "/source");
    }
    *source_out = source;
    source = NULL;
    return ERR_OK;
}
