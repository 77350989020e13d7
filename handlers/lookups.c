/*
 * Lookups of rows by key: POST /v1/tables/{table}/lookup.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/problem.h"
#include "handlers/rows.h"
#include "storage/base/hash.h"
#include "storage/base/json_raw.h"
#include "storage/columns/encode_json.h"
#include "storage/snapshot/lookup.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <assert.h>
#include <inttypes.h>

/* `text` is the key as it stands in the body. */
static enum err_code append_key(struct exchange *exchange, const struct json *key, struct span text,
                                size_t index, struct frame *keys)
{
    const struct schema *schema = keys->schema;
    if (json_kind(key) != JSON_KIND_OBJECT || json_count(key) != schema->key_count) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/keys/%zu: give an object with the table's key fields and nothing else",
                       index);
    }
    for (size_t i = 0; i < schema->key_count; i++) {
        size_t column = schema->key[i];
        struct row_value value = {0};
        struct span digits = {0};
        const struct field *field = &schema->fields[column];
        (void)json_raw_find(text, field->name, &digits); /* absent: the document says so too */
        if (rows_parse_value(exchange, field, json_get(key, field->name), digits, &value) !=
            ERR_OK) {
            return err_wrap(&exchange->err, "/keys/%zu/%s", index, field->name);
        }
        row_value_append(&keys->columns[column], &value);
    }
    for (size_t column = 0; column < schema->fields_count; column++) {
        if (keys->columns[column].rows_count == keys->rows_count) {
            column_append_null(&keys->columns[column]);
        }
    }
    frame_end_row(keys, FRAME_UPSERT, 0);
    return ERR_OK;
}

/* The keys as they stand in the body, which has some. */
static struct json_raw keys_of(const struct exchange *exchange)
{
    struct span keys;
    bool found = json_raw_find(exchange->body, "keys", &keys);
    assert(found);
    return json_raw_items(keys);
}

static enum err_code parse_keys(struct exchange *exchange, const struct json *body,
                                const struct schema *schema, struct frame **keys_out)
{
    const struct json *list = json_get(body, "keys");
    size_t count = json_count(list);
    if (json_kind(list) != JSON_KIND_ARRAY || count == 0 || count > LOOKUP_KEYS_MAX) {
        return err_set(&exchange->err, ERR_INVALID, "/keys: give an array of 1 to %d keys",
                       LOOKUP_KEYS_MAX);
    }
    if (schema->key_count == 0) {
        return err_set(&exchange->err, ERR_INVALID,
                       "the table has no key; POST /v1/tables/{table}/rows/query finds its rows");
    }
    CLEANUP(frame_free) struct frame *keys = frame_new(schema);
    struct json_raw raw = keys_of(exchange);
    struct span name;
    struct span text;
    for (size_t i = 0; json_raw_next(&raw, &name, &text); i++) {
        TRY(append_key(exchange, json_at(list, i), text, i, keys));
    }
    assert((size_t)keys->rows_count == count);
    *keys_out = keys;
    keys = NULL;
    return ERR_OK;
}

/* The key values as subjects of the audit record, where the key is protected. */
static enum err_code audit(struct services *services, struct exchange *exchange,
                           const struct table *table, const struct json *body,
                           const struct schema *schema, int64_t found)
{
    const struct json *list = json_get(body, "keys");
    size_t count = json_count(list);
    const struct field *field = &schema->fields[schema->key[0]];
    struct span *subjects = arena_alloc(&exchange->arena, count * sizeof *subjects);
    size_t subjects_count = 0;
    for (size_t i = 0; subjects != NULL && schema->key_count == 1 && i < count; i++) {
        if (json_as_string(json_get(json_at(list, i), field->name), &subjects[subjects_count])) {
            subjects_count++;
        }
    }
    return access_audit_read(services, exchange, "rows.lookup", table_name(table), subjects,
                             subjects_count, found);
}

static enum err_code write_rows(struct exchange *exchange, const struct snapshot *snapshot,
                                const struct lookup_result *result, const bool *mask)
{
    struct buffer *answer = &exchange->answer;
    struct json_raw raw = keys_of(exchange);
    struct span name;
    struct span key;
    buffer_append_format(answer, "{\"version\":%" PRId64 ",\"rows\":[", snapshot->version);
    for (size_t i = 0; i < result->count && json_raw_next(&raw, &name, &key); i++) {
        buffer_append_text(answer, i > 0 ? ",{\"key\":" : "{\"key\":");
        buffer_append_span(answer, key); /* as it was asked for */
        if (result->rows[i].found) {
            buffer_append_text(answer, ",\"found\":true,\"row\":");
            TRY(encode_json_image(result->rows[i].image, snapshot->schema, mask, answer,
                                  &exchange->err));
            buffer_append_byte(answer, '}');
        } else {
            buffer_append_text(answer, ",\"found\":false,\"row\":null}");
        }
    }
    buffer_append_text(answer, "]}");
    return buffer_check(answer, "the answer; ask for fewer keys or columns", &exchange->err);
}

static int64_t count_found(const struct lookup_result *result)
{
    int64_t found = 0;
    for (size_t i = 0; i < result->count; i++) {
        found += result->rows[i].found;
    }
    return found;
}

/* `columns` of the query string or of the body. */
static enum err_code parse_columns(struct exchange *exchange, const struct json *body,
                                   const struct schema *schema, const bool **mask_out)
{
    const struct json *list = json_get(body, "columns");
    struct span *names = NULL;
    size_t count = json_count(list);
    if (list == NULL) {
        TRY(rows_split_names(exchange, exchange_query(exchange, "columns"), &names, &count));
        return rows_parse_columns(exchange, schema, names, count, mask_out);
    }
    names = arena_alloc(&exchange->arena, (count + 1) * sizeof *names);
    if (names == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "/columns: too many");
    }
    for (size_t i = 0; i < count; i++) {
        if (!json_as_string(json_at(list, i), &names[i])) {
            return err_set(&exchange->err, ERR_INVALID, "/columns/%zu: give a column's name", i);
        }
    }
    return rows_parse_columns(exchange, schema, names, count, mask_out);
}

static enum err_code look_up(struct services *services, struct exchange *exchange,
                             struct table *table, const struct json *body)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    const struct schema *schema = snapshot->schema;
    const bool *mask = NULL;
    CLEANUP(frame_free) struct frame *keys = NULL;
    CLEANUP(lookup_result_deinit) struct lookup_result result = {0};
    TRY(parse_columns(exchange, body, schema, &mask));
    TRY(parse_keys(exchange, body, schema, &keys));
    TRY(lookup_keys(snapshot, keys, &result, &exchange->err));
    int64_t found = count_found(&result);
    TRY(audit(services, exchange, table, body, schema, found));
    TRY(write_rows(exchange, snapshot, &result, mask));
    exchange->status = 200;
    exchange->log_version = snapshot->version;
    exchange->log_records = found;
    (void)exchange_set_etag(exchange,
                            buffer_span(&exchange->answer)); /* POST: nothing to compare */
    return ERR_OK;
}

/* The body's `after`, or the query's. */
static struct span after_of(struct exchange *exchange, const struct json *body)
{
    struct span text;
    if (json_as_string(json_get(body, "after"), &text)) {
        return span_of_text(arena_text(&exchange->arena, text));
    }
    return exchange_query(exchange, "after");
}

enum handler_result handle_table_lookup(struct services *services, struct exchange *exchange)
{
    static const char *const names[] = {"keys", "columns", "after", NULL};
    const char *name = arena_text(&exchange->arena, exchange->parameters[0]);
    CLEANUP(table_release) struct table *table = NULL;
    CLEANUP(json_free) struct json *body = NULL;
    if (tables_find(services->tables, name, &table, &exchange->err) != ERR_OK ||
        exchange_body_json(exchange, &body) != ERR_OK ||
        json_check_names(body, "", names, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    struct span after = after_of(exchange, body);
    if (after.data != NULL && !exchange->on_door_thread) {
        return HANDLER_DEFER; /* the catalog has to be asked */
    }
    bool visible = true;
    struct id waited_table;
    if (rows_after_is_visible(services, exchange, after, &waited_table, &visible) != ERR_OK) {
        return problem_err(exchange);
    }
    if (!visible) {
        return rows_wait_for(services, exchange, after, &waited_table, handle_table_lookup);
    }
    exchange_note_table(exchange, name);
    if (look_up(services, exchange, table, body) != ERR_OK) {
        return problem_err(exchange);
    }
    return HANDLER_DONE;
}
