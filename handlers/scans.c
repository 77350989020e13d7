/*
 * Scans: rows of a table by filter, page by page of one version, and its history.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/rows.h"
#include "handlers/times.h"
#include "storage/base/hash.h"
#include "storage/base/json_raw.h"
#include "storage/base/text.h"
#include "storage/columns/encode_json.h"
#include "storage/snapshot/history.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/scan_text.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <inttypes.h>

enum {
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 10000,
    VISIT_ROWS_MAX = 5000000, /* one page looks at no more rows; the next one goes on there */
    VALUE_BYTES_MAX = 1 << 20,
};

/* A listing as asked for, from the query string or a body. Everything in the arena. */
struct listing {
    struct span *columns;
    size_t columns_count;
    struct scan_filter *filters;
    size_t filters_count;
    int64_t limit;
    int64_t version;      /* -1 = the newest */
    int64_t timestamp_us; /* -1 = not asked */
    struct span page_token;
    struct span after;
    const char *fingerprint; /* of columns and filters: a token belongs to one listing */
};

static enum err_code open_table(struct services *services, struct exchange *exchange,
                                struct table **table_out)
{
    const char *name = arena_text(&exchange->arena, exchange->parameters[0]);
    return tables_find(services->tables, name, table_out, &exchange->err);
}

/* ---- asking by query string ---- */

static enum err_code parse_moment(struct exchange *exchange, struct span text, int64_t *us_out)
{
    if (!text_parse_timestamp(text, us_out) || *us_out < 0) {
        return err_set(&exchange->err, ERR_INVALID,
                       "timestamp: give a moment since 1970 as RFC 3339 with zone, such as "
                       "2026-11-23T08:00:00Z");
    }
    return ERR_OK;
}

/* Health information belongs into the body of rows/query; who was named goes into the log. */
static enum err_code refuse_protected(struct services *services, struct exchange *exchange,
                                      const struct scan_filter_text *text)
{
    bool more = false;
    struct span rest = text->value;
    struct buffer first;
    buffer_init(&first, VALUE_BYTES_MAX);
    bool is_list = span_equal_text(text->operator, scan_operator_name(SCAN_IN)) &&
                   scan_list_next(&rest, &more, &first);
    if (text->value.size > 0) {
        access_audit_note_subject(services, exchange, is_list ? buffer_span(&first) : text->value);
    }
    buffer_deinit(&first);
    return err_set(&exchange->err, ERR_INVALID,
                   "filter: column '%.*s' is protected, and URLs are logged on the way; use POST "
                   "/v1/tables/{table}/rows/query",
                   SPAN_PRINT(text->column));
}

static enum err_code parse_query_filter(struct services *services, struct exchange *exchange,
                                        const struct schema *schema, struct span text,
                                        struct scan_filter *filter_out)
{
    const struct scan_filter_text parts = scan_filter_split(text);
    int column = schema_field_index(schema, parts.column);
    if (column >= 0 && schema->fields[column].phi) {
        return refuse_protected(services, exchange, &parts);
    }
    if (scan_filter_parse(&parts, schema, &exchange->arena, filter_out, &exchange->err) != ERR_OK) {
        return err_wrap(&exchange->err, "filter");
    }
    return ERR_OK;
}

static enum err_code parse_query_filters(struct services *services, struct exchange *exchange,
                                         const struct schema *schema, struct listing *listing)
{
    listing->filters =
        arena_alloc(&exchange->arena, (exchange->query_count + 1) * sizeof *listing->filters);
    if (listing->filters == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "filter: too many");
    }
    for (size_t i = 0; i < exchange->query_count; i++) {
        if (!span_equal_text(exchange->query[i].name, "filter")) {
            continue;
        }
        TRY(parse_query_filter(services, exchange, schema, exchange->query[i].value,
                               &listing->filters[listing->filters_count]));
        listing->filters_count++;
    }
    return ERR_OK;
}

static enum err_code check_moment(struct exchange *exchange, const struct listing *listing)
{
    if (listing->version >= 0 && listing->timestamp_us >= 0) {
        return err_set(&exchange->err, ERR_INVALID, "give version or timestamp, not both");
    }
    return ERR_OK;
}

static enum err_code listing_of_query(struct services *services, struct exchange *exchange,
                                      const struct schema *schema, struct listing *listing)
{
    TRY(rows_split_names(exchange, exchange_query(exchange, "columns"), &listing->columns,
                         &listing->columns_count));
    TRY(parse_query_filters(services, exchange, schema, listing));
    TRY(exchange_query_integer(exchange, "limit", 1, LIMIT_MAX, &listing->limit));
    TRY(exchange_query_integer(exchange, "version", 0, INT64_MAX, &listing->version));
    struct span timestamp = exchange_query(exchange, "timestamp");
    if (timestamp.data != NULL) {
        TRY(parse_moment(exchange, timestamp, &listing->timestamp_us));
    }
    listing->page_token = exchange_query(exchange, "page_token");
    listing->after = exchange_query(exchange, "after");
    return check_moment(exchange, listing);
}

/* ---- asking by body ---- */

/* A member of the body as it stands there; empty when absent. */
static struct span body_part(const struct exchange *exchange, const char *name)
{
    struct span part = {0};
    (void)json_raw_find(exchange->body, name, &part); /* stays empty then */
    return part;
}

/* The value or values of a filter; `text` is what stands in the body. */
static enum err_code parse_filter_values(struct exchange *exchange, const struct field *field,
                                         const struct json *json, struct span text,
                                         struct row_value *values)
{
    if (json_kind(json) != JSON_KIND_ARRAY) {
        return rows_parse_value(exchange, field, json, text, values);
    }
    struct json_raw raw = json_raw_items(text);
    struct span name;
    struct span item;
    for (size_t i = 0; json_raw_next(&raw, &name, &item); i++) {
        TRY(rows_parse_value(exchange, field, json_at(json, i), item, &values[i]));
    }
    return ERR_OK;
}

/* `text` is the filter as it stands in the body. */
static enum err_code parse_body_filter(struct exchange *exchange, const struct schema *schema,
                                       const struct json *json, struct span text, size_t index,
                                       struct scan_filter *filter_out)
{
    static const char *const names[] = {"column", "operator", "value", NULL};
    TRY(json_check_names(json, "/filters", names, &exchange->err));
    struct span name;
    struct span operator;
    int column =
        json_as_string(json_get(json, "column"), &name) ? schema_field_index(schema, name) : -1;
    if (column < 0) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/filters/%zu/column: give a column of the table", index);
    }
    struct scan_filter filter = {.column = (size_t)column};
    if (!json_as_string(json_get(json, "operator"), &operator) ||
        !scan_operator_parse(operator, & filter.operator)) {
        return err_set(
            &exchange->err, ERR_INVALID,
            "/filters/%zu/operator: give eq, ne, lt, le, gt, ge, in, is_null or not_null", index);
    }
    const struct json *value = json_get(json, "value");
    size_t count = json_kind(value) == JSON_KIND_ARRAY ? json_count(value) : value != NULL;
    struct row_value *values = arena_alloc(&exchange->arena, (count + 1) * sizeof *values);
    if (values == NULL || count > SCAN_VALUES_MAX) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "/filters/%zu/value: at most %d values",
                       index, SCAN_VALUES_MAX);
    }
    struct span value_text;
    if (json_raw_find(text, "value", &value_text) &&
        parse_filter_values(exchange, &schema->fields[column], value, value_text, values) !=
            ERR_OK) {
        return err_wrap(&exchange->err, "/filters/%zu/value", index);
    }
    filter.values = values;
    filter.values_count = count;
    *filter_out = filter;
    return ERR_OK;
}

static enum err_code parse_body_filters(struct exchange *exchange, const struct schema *schema,
                                        const struct json *filters, struct listing *listing)
{
    size_t count = json_count(filters);
    if (json_kind(filters) != JSON_KIND_NULL && json_kind(filters) != JSON_KIND_ARRAY) {
        return err_set(&exchange->err, ERR_INVALID, "/filters: give an array of filters");
    }
    if (count > SCAN_FILTERS_MAX) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "/filters: at most %d", SCAN_FILTERS_MAX);
    }
    listing->filters = arena_alloc(&exchange->arena, (count + 1) * sizeof *listing->filters);
    if (listing->filters == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "/filters: too many");
    }
    struct json_raw raw = json_raw_items(body_part(exchange, "filters"));
    struct span name;
    struct span text;
    for (size_t i = 0; json_raw_next(&raw, &name, &text); i++) {
        TRY(parse_body_filter(exchange, schema, json_at(filters, i), text, i,
                              &listing->filters[i]));
    }
    listing->filters_count = count;
    return ERR_OK;
}

static enum err_code parse_body_columns(struct exchange *exchange, const struct json *columns,
                                        struct listing *listing)
{
    size_t count = json_count(columns);
    listing->columns = arena_alloc(&exchange->arena, (count + 1) * sizeof *listing->columns);
    if (listing->columns == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "/columns: too many");
    }
    for (size_t i = 0; i < count; i++) {
        if (!json_as_string(json_at(columns, i), &listing->columns[i])) {
            return err_set(&exchange->err, ERR_INVALID, "/columns/%zu: give a column's name", i);
        }
    }
    listing->columns_count = count;
    return ERR_OK;
}

static enum err_code body_integer(struct exchange *exchange, const struct json *body,
                                  const char *name, int64_t minimum, int64_t maximum,
                                  int64_t *value_out)
{
    const struct json *value = json_get(body, name);
    int64_t integer = 0;
    if (value == NULL) {
        return ERR_OK;
    }
    if (!json_as_integer(value, &integer) || integer < minimum || integer > maximum) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/%s: give a whole number from %" PRId64 " to %" PRId64, name, minimum,
                       maximum);
    }
    *value_out = integer;
    return ERR_OK;
}

static enum err_code listing_of_body(struct exchange *exchange, const struct schema *schema,
                                     const struct json *body, struct listing *listing)
{
    static const char *const names[] = {"columns", "filters",   "limit", "page_token",
                                        "version", "timestamp", "after", NULL};
    TRY(json_check_names(body, "", names, &exchange->err));
    TRY(parse_body_columns(exchange, json_get(body, "columns"), listing));
    TRY(parse_body_filters(exchange, schema, json_get(body, "filters"), listing));
    TRY(body_integer(exchange, body, "limit", 1, LIMIT_MAX, &listing->limit));
    TRY(body_integer(exchange, body, "version", 0, INT64_MAX, &listing->version));
    struct span timestamp;
    if (json_as_string(json_get(body, "timestamp"), &timestamp)) {
        TRY(parse_moment(exchange, timestamp, &listing->timestamp_us));
    }
    struct span text;
    if (json_as_string(json_get(body, "page_token"), &text)) {
        listing->page_token = span_of_text(arena_text(&exchange->arena, text));
    }
    if (json_as_string(json_get(body, "after"), &text)) {
        listing->after = span_of_text(arena_text(&exchange->arena, text));
    }
    return check_moment(exchange, listing);
}

/* ---- answering ---- */

/* Where a page token says that the listing goes on. */
static enum err_code resume(struct services *services, struct exchange *exchange,
                            const struct listing *listing, int64_t *version_out,
                            struct scan_position *start_out)
{
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, listing->page_token, &state));
    if (state == NULL) {
        return ERR_OK;
    }
    struct span fingerprint;
    if (!json_as_integer(json_get(state, "version"), version_out) ||
        !json_as_integer(json_get(state, "file"), &start_out->file) ||
        !json_as_integer(json_get(state, "row"), &start_out->row) ||
        !json_as_string(json_get(state, "listing"), &fingerprint) ||
        !span_equal_text(fingerprint, listing->fingerprint)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "page_token: it belongs to a listing of another table, columns or filters");
    }
    return ERR_OK;
}

static enum err_code choose_snapshot(struct exchange *exchange, struct table *table,
                                     int64_t version, int64_t timestamp_us,
                                     const struct snapshot **snapshot_out)
{
    if (version >= 0) {
        return table_snapshot_at_version(table, version, snapshot_out, &exchange->err);
    }
    if (timestamp_us >= 0) {
        return table_snapshot_at_time(table, timestamp_us / 1000, snapshot_out, &exchange->err);
    }
    *snapshot_out = table_snapshot(table);
    return ERR_OK;
}

static const char *next_token(struct services *services, struct exchange *exchange,
                              const struct listing *listing, int64_t version,
                              const struct scan_result *result)
{
    if (result->done) {
        return NULL;
    }
    CLEANUP(json_free) struct json *state = json_new_object();
    json_set_integer(state, "version", version);
    json_set_integer(state, "file", result->next.file);
    json_set_integer(state, "row", result->next.row);
    json_set_text(state, "listing", listing->fingerprint);
    return page_token_seal(services, exchange, &state);
}

static enum err_code write_page(struct exchange *exchange, const struct snapshot *snapshot,
                                const struct scan_result *result, const bool *mask,
                                const char *token)
{
    struct buffer *answer = &exchange->answer;
    buffer_append_format(answer, "{\"version\":%" PRId64 ",\"rows\":[", snapshot->version);
    for (int64_t row = 0; row < result->frame->rows_count; row++) {
        if (row > 0) {
            buffer_append_byte(answer, ',');
        }
        encode_json_row(result->frame, row, mask, answer);
    }
    buffer_append_byte(answer, ']');
    page_token_write(answer, token);
    buffer_append_byte(answer, '}');
    exchange->status = 200;
    exchange->log_version = snapshot->version;
    exchange->log_records = result->frame->rows_count;
    return buffer_check(answer, "the page; ask for fewer rows or columns", &exchange->err);
}

static enum err_code scan_page(struct services *services, struct exchange *exchange,
                               struct table *table, const struct listing *listing)
{
    int64_t version = listing->version;
    struct scan_position start = {0};
    TRY(resume(services, exchange, listing, &version, &start));
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    TRY(choose_snapshot(exchange, table, version, listing->timestamp_us, &snapshot));
    const bool *mask = NULL;
    TRY(rows_parse_columns(exchange, snapshot->schema, listing->columns, listing->columns_count,
                           &mask));
    const struct scan_request request = {
        .columns = mask,
        .filters = listing->filters,
        .filters_count = listing->filters_count,
        .limit = listing->limit,
        .start = start,
        .visit_rows_max = VISIT_ROWS_MAX,
    };
    CLEANUP(scan_result_deinit) struct scan_result result = {0};
    TRY(scan_run(snapshot, &request, &result, &exchange->err));
    TRY(access_audit_read(services, exchange, "rows.read", table_name(table), NULL, 0,
                          result.frame->rows_count));
    return write_page(exchange, snapshot, &result, mask,
                      next_token(services, exchange, listing, snapshot->version, &result));
}

static enum handler_result answer_listing(struct services *services, struct exchange *exchange,
                                          struct table *table, const struct listing *listing,
                                          handler_fn *again)
{
    bool visible = true;
    struct id waited_table;
    if (rows_after_is_visible(services, exchange, listing->after, &waited_table, &visible) !=
        ERR_OK) {
        return problem_err(exchange);
    }
    if (!visible) {
        return rows_wait_for(services, exchange, listing->after, &waited_table, again);
    }
    exchange_note_table(exchange, table_name(table));
    if (scan_page(services, exchange, table, listing) != ERR_OK) {
        return problem_err(exchange);
    }
    return HANDLER_DONE;
}

/* What a token is bound to beside operation and principal: table, columns, filters as sent. */
static const char *fingerprint_of(struct exchange *exchange, struct table *table,
                                  struct span columns, struct span filters)
{
    return arena_format(&exchange->arena, "%s %016" PRIx64 " %016" PRIx64, table_uuid(table)->text,
                        hash_checksum(columns), hash_checksum(filters));
}

static struct span query_filters_text(struct exchange *exchange)
{
    struct buffer text;
    buffer_init(&text, VALUE_BYTES_MAX);
    for (size_t i = 0; i < exchange->query_count; i++) {
        if (span_equal_text(exchange->query[i].name, "filter")) {
            buffer_append_span(&text, exchange->query[i].value);
            buffer_append_byte(&text, '\n');
        }
    }
    struct span copy = span_of_text(arena_text(&exchange->arena, buffer_span(&text)));
    buffer_deinit(&text);
    return copy;
}

enum handler_result handle_row_list(struct services *services, struct exchange *exchange)
{
    CLEANUP(table_release) struct table *table = NULL;
    if (open_table(services, exchange, &table) != ERR_OK) {
        return problem_err(exchange);
    }
    CLEANUP(schema_release) struct schema *schema = table_schema(table);
    struct listing listing = {.limit = LIMIT_DEFAULT, .version = -1, .timestamp_us = -1};
    if (listing_of_query(services, exchange, schema, &listing) != ERR_OK) {
        return problem_err(exchange);
    }
    listing.fingerprint = fingerprint_of(exchange, table, exchange_query(exchange, "columns"),
                                         query_filters_text(exchange));
    return answer_listing(services, exchange, table, &listing, handle_row_list);
}

enum handler_result handle_row_query(struct services *services, struct exchange *exchange)
{
    CLEANUP(table_release) struct table *table = NULL;
    CLEANUP(json_free) struct json *body = NULL;
    if (open_table(services, exchange, &table) != ERR_OK ||
        exchange_body_json(exchange, &body) != ERR_OK) {
        return problem_err(exchange);
    }
    CLEANUP(schema_release) struct schema *schema = table_schema(table);
    struct listing listing = {.limit = LIMIT_DEFAULT, .version = -1, .timestamp_us = -1};
    if (listing_of_body(exchange, schema, body, &listing) != ERR_OK) {
        return problem_err(exchange);
    }
    listing.fingerprint = fingerprint_of(exchange, table, body_part(exchange, "columns"),
                                         body_part(exchange, "filters"));
    return answer_listing(services, exchange, table, &listing, handle_row_query);
}

/* ---- history ---- */

static struct json *entry_to_json(const struct history_entry *entry)
{
    struct json *json = json_new_object();
    json_set_integer(json, "version", entry->version);
    times_set(json, "timestamp", entry->timestamp_ms * 1000);
    json_set_text(json, "operation", entry->operation[0] != '\0' ? entry->operation : NULL);
    json_set_text(json, "engine", entry->engine[0] != '\0' ? entry->engine : NULL);
    json_set_boolean(json, "own", entry->ours);
    json_set(json, "rows_added",
             entry->rows_added >= 0 ? json_new_integer(entry->rows_added) : json_new_null());
    json_set(json, "rows_removed",
             entry->rows_removed >= 0 ? json_new_integer(entry->rows_removed) : json_new_null());
    struct json *batches = json_new_array();
    for (size_t i = 0; i < entry->batches_count; i++) {
        json_append(batches, json_new_text(entry->batches[i].text));
    }
    json_set(json, "batches", batches);
    return json;
}

static enum err_code list_history(struct services *services, struct exchange *exchange,
                                  struct json **answer_out)
{
    CLEANUP(table_release) struct table *table = NULL;
    TRY(open_table(services, exchange, &table));
    int64_t limit = LIMIT_DEFAULT;
    TRY(exchange_query_integer(exchange, "limit", 1, HISTORY_LIMIT_MAX, &limit));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    int64_t before = -1;
    (void)json_as_integer(json_get(state, "before"), &before); /* absent: from the newest */
    CLEANUP(history_free) struct history history = {0};
    TRY(history_read(table_store(table), before, (size_t)limit, &history, &exchange->err));

    struct json *answer = json_new_object();
    struct json *versions = json_new_array();
    for (size_t i = 0; i < history.count; i++) {
        json_append(versions, entry_to_json(&history.entries[i]));
    }
    json_set(answer, "versions", versions);
    const char *next = NULL;
    if (history.more && history.count > 0) {
        CLEANUP(json_free) struct json *next_state = json_new_object();
        json_set_integer(next_state, "before", history.entries[history.count - 1].version);
        next = page_token_seal(services, exchange, &next_state);
    }
    json_set_text(answer, "next_page_token", next);
    *answer_out = answer;
    return ERR_OK;
}

enum handler_result handle_table_history(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_history(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}
