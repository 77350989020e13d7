/*
 * The change data feed of a table, page by page.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/rows.h"
#include "storage/snapshot/feed.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <inttypes.h>

enum {
    LIMIT_DEFAULT = 1000,
    LIMIT_MAX = 10000,
    PAGE_BYTES_MAX = 8 << 20, /* a page ends behind the rows that take it over this */
    PIECE_ROWS_MAX = 500,     /* between two looks at the size of the page */
    PAGE_VERSIONS_MAX = 5000, /* and behind so many versions, however little they changed */
};

/* What was asked for, and where it goes on. Everything in the arena. */
struct asked {
    const char *const *columns; /* NULL = all */
    size_t columns_count;
    int64_t limit;
    int64_t from_version;
    int64_t to_version; /* -1 = the newest */
    struct feed_place start;
    const char *fingerprint; /* a token belongs to one listing */
};

static enum err_code parse_columns(struct exchange *exchange, struct table *table,
                                   struct asked *asked)
{
    CLEANUP(schema_release) struct schema *schema = table_schema(table);
    struct span *names = NULL;
    const bool *mask = NULL;
    TRY(rows_split_names(exchange, exchange_query(exchange, "columns"), &names,
                         &asked->columns_count));
    TRY(rows_parse_columns(exchange, schema, names, asked->columns_count, &mask));
    const char **texts = arena_alloc(&exchange->arena, (asked->columns_count + 1) * sizeof *texts);
    if (texts == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "columns: too many");
    }
    for (size_t i = 0; i < asked->columns_count; i++) {
        texts[i] = arena_text(&exchange->arena, names[i]);
    }
    asked->columns = asked->columns_count > 0 ? texts : NULL;
    return ERR_OK;
}

static enum err_code resume(struct services *services, struct exchange *exchange,
                            struct asked *asked)
{
    CLEANUP(json_free) struct json *state = NULL;
    struct feed_place *start = &asked->start;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    if (state == NULL) {
        return ERR_OK;
    }
    struct span fingerprint;
    if (!json_as_integer(json_get(state, "to"), &asked->to_version) ||
        !json_as_integer(json_get(state, "version"), &start->version) ||
        !json_as_integer(json_get(state, "side"), &start->side) ||
        !json_as_integer(json_get(state, "file"), &start->at.file) ||
        !json_as_integer(json_get(state, "row"), &start->at.row) ||
        !json_as_string(json_get(state, "listing"), &fingerprint) ||
        !span_equal_text(fingerprint, asked->fingerprint)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "page_token: it belongs to changes of another table, range or columns");
    }
    return ERR_OK;
}

static enum err_code parse(struct services *services, struct exchange *exchange,
                           struct table *table, struct asked *asked)
{
    *asked = (struct asked){.limit = LIMIT_DEFAULT, .from_version = -1, .to_version = -1};
    TRY(parse_columns(exchange, table, asked));
    TRY(exchange_query_integer(exchange, "limit", 1, LIMIT_MAX, &asked->limit));
    TRY(exchange_query_integer(exchange, "from_version", 0, INT64_MAX - 1, &asked->from_version));
    TRY(exchange_query_integer(exchange, "to_version", 0, INT64_MAX - 1, &asked->to_version));
    if (asked->from_version < 0) {
        return err_set(&exchange->err, ERR_INVALID,
                       "from_version: say from which version on, the first one that is told");
    }
    if (asked->to_version >= 0 && asked->to_version < asked->from_version) {
        return err_set(&exchange->err, ERR_INVALID, "to_version: give from_version or a later one");
    }
    struct span columns = exchange_query(exchange, "columns");
    asked->fingerprint =
        arena_format(&exchange->arena, "%s %" PRId64 " %" PRId64 " %.*s", table_uuid(table)->text,
                     asked->from_version, asked->to_version, SPAN_PRINT(columns));
    asked->start.version = asked->from_version;
    return resume(services, exchange, asked);
}

static const char *next_token(struct services *services, struct exchange *exchange,
                              const struct asked *asked, int64_t to_version,
                              const struct feed_place *place)
{
    CLEANUP(json_free) struct json *state = json_new_object();
    json_set_integer(state, "to", to_version);
    json_set_integer(state, "version", place->version);
    json_set_integer(state, "side", place->side);
    json_set_integer(state, "file", place->at.file);
    json_set_integer(state, "row", place->at.row);
    json_set_text(state, "listing", asked->fingerprint);
    return page_token_seal(services, exchange, &state);
}

/* Rows of the page into the answer; `done_out` there are none behind them. */
static enum err_code write_rows(struct exchange *exchange, struct feed *feed, int64_t limit,
                                int64_t *rows_out, bool *done_out)
{
    struct buffer *answer = &exchange->answer;
    int64_t rows = 0;
    int64_t version_end = feed_place(feed).version + PAGE_VERSIONS_MAX;
    while (!*done_out && rows < limit && answer->size < PAGE_BYTES_MAX &&
           feed_place(feed).version < version_end) {
        struct feed_piece piece;
        int64_t most = limit - rows < PIECE_ROWS_MAX ? limit - rows : PIECE_ROWS_MAX;
        TRY(feed_read(feed, most, &piece, done_out, &exchange->err));
        for (int64_t row = 0; !*done_out && row < piece.frame->rows_count; row++) {
            if (rows++ > 0) {
                buffer_append_byte(answer, ',');
            }
            feed_write_row(&piece, row, answer);
        }
    }
    *rows_out = rows;
    return buffer_check(answer, "the page; ask for fewer rows or columns", &exchange->err);
}

static enum err_code write_page(struct services *services, struct exchange *exchange,
                                struct table *table, const struct asked *asked)
{
    CLEANUP(snapshot_release) const struct snapshot *newest = table_snapshot(table);
    int64_t to = asked->to_version >= 0 && asked->to_version < newest->version ? asked->to_version
                                                                               : newest->version;
    const struct feed_options options = {.store = table_store(table),
                                         .start = asked->start,
                                         .to_version = to,
                                         .columns = asked->columns,
                                         .columns_count = asked->columns_count};
    CLEANUP(feed_close) struct feed *feed = NULL;
    TRY(feed_open(&options, &feed, &exchange->err));
    struct buffer *answer = &exchange->answer;
    int64_t rows = 0;
    bool done = false;
    buffer_append_text(answer, "{\"changes\":[");
    TRY(write_rows(exchange, feed, asked->limit, &rows, &done));
    struct feed_place place = feed_place(feed);
    done = done || place.version > to;
    const char *token = done ? NULL : next_token(services, exchange, asked, to, &place);
    buffer_append_format(answer, "],\"to_version\":%" PRId64, to);
    page_token_write(answer, token);
    buffer_append_byte(answer, '}');
    exchange->status = 200;
    exchange->log_version = to;
    exchange->log_records = rows;
    TRY(access_audit_read(services, exchange, "rows.read", table_name(table), NULL, 0, rows));
    return buffer_check(answer, "the page; ask for fewer rows or columns", &exchange->err);
}

static enum err_code answer_changes(struct services *services, struct exchange *exchange)
{
    CLEANUP(table_release) struct table *table = NULL;
    struct asked asked;
    const char *name = arena_text(&exchange->arena, exchange->parameters[0]);
    TRY(tables_find(services->tables, name, &table, &exchange->err));
    TRY(parse(services, exchange, table, &asked));
    exchange_note_table(exchange, table_name(table));
    return write_page(services, exchange, table, &asked);
}

enum handler_result handle_table_changes(struct services *services, struct exchange *exchange)
{
    return answer_changes(services, exchange) == ERR_OK ? HANDLER_DONE : problem_err(exchange);
}
