/*
 * What scans and lookups share. See rows.h for the contract.
 */
#include "handlers/problem.h"
#include "handlers/receipt.h"
#include "handlers/rows.h"
#include "handlers/waiting_room.h"
#include "storage/base/clock.h"
#include "storage/catalog/access.h"
#include "storage/catalog/batches.h"
#include "storage/snapshot/scan.h"

#include <assert.h>
#include <string.h>

enum { NAMES_MAX = SCHEMA_FIELDS_MAX };

enum err_code rows_split_names(struct exchange *exchange, struct span list, struct span **names_out,
                               size_t *count_out)
{
    *names_out = NULL;
    *count_out = 0;
    if (list.data == NULL) {
        return ERR_OK;
    }
    size_t count = 1;
    for (size_t i = 0; i < list.size; i++) {
        count += list.data[i] == ',';
    }
    struct span *names =
        count <= NAMES_MAX ? arena_alloc(&exchange->arena, count * sizeof *names) : NULL;
    if (names == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "the list names more than %d", NAMES_MAX);
    }
    size_t start = 0;
    size_t at = 0;
    for (size_t i = 0; i <= list.size; i++) {
        if (i == list.size || list.data[i] == ',') {
            names[at++] = span_of(list.data + start, i - start);
            start = i + 1;
        }
    }
    *names_out = names;
    *count_out = count;
    return ERR_OK;
}

enum err_code rows_parse_columns(struct exchange *exchange, const struct schema *schema,
                                 const struct span *names, size_t count, const bool **mask_out)
{
    *mask_out = NULL;
    if (count == 0) {
        return ERR_OK;
    }
    bool *mask = arena_alloc(&exchange->arena, schema->fields_count * sizeof *mask);
    if (mask == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "columns: too many");
    }
    for (size_t i = 0; i < count; i++) {
        int index = schema_field_index(schema, names[i]);
        if (index < 0) {
            return err_set(&exchange->err, ERR_INVALID,
                           "columns: entry %zu is not a column of the table; GET the table lists "
                           "them",
                           i + 1);
        }
        mask[index] = true;
    }
    *mask_out = mask;
    return ERR_OK;
}

enum err_code rows_parse_value(struct exchange *exchange, const struct field *field,
                               const struct json *json, struct span text,
                               struct row_value *value_out)
{
    struct span string;
    enum json_kind kind = json_kind(json);
    if (kind == JSON_KIND_NULL || kind == JSON_KIND_ARRAY || kind == JSON_KIND_OBJECT) {
        return err_set(&exchange->err, ERR_INVALID, "give a value of type %s",
                       column_type_name(field->type));
    }
    return scan_value_parse(field, json_as_string(json, &string) ? string : text, &exchange->arena,
                            value_out, &exchange->err);
}

enum err_code rows_after_is_visible(struct services *services, struct exchange *exchange,
                                    struct span after, struct id *table_out, bool *visible_out)
{
    *visible_out = true;
    if (after.data == NULL) {
        return ERR_OK;
    }
    struct id id;
    struct batch batch;
    if (!id_parse(after, &id)) {
        return err_set(&exchange->err, ERR_INVALID, "after: give the id of a batch");
    }
    TRY(batch_get(services->catalog, &id, &exchange->arena, &batch, &exchange->err));
    if (strcmp(batch.principal.text, exchange->principal->id.text) != 0 &&
        !access_allows(exchange->principal, "batch.read_any",
                       receipt_table_name(services, exchange, &batch.table))) {
        return err_set(&exchange->err, ERR_NOT_FOUND, "after: there is no such batch");
    }
    if (batch.state == BATCH_FAILED) {
        return err_set(&exchange->err, ERR_CONFLICT,
                       "after: the batch failed and will not become visible; see "
                       "/v1/batches/%s",
                       batch.id.text);
    }
    *table_out = batch.table;
    *visible_out = receipt_reached(&batch, BATCH_INDEXED);
    return ERR_OK;
}

/* What a parked reader waits for; in its arena. */
struct parked_read {
    struct span after;
    handler_fn *again;
};

static bool look(struct services *services, struct exchange *exchange, bool timed_out)
{
    const struct parked_read *parked = exchange->parked;
    struct id table;
    bool visible = false;
    if (rows_after_is_visible(services, exchange, parked->after, &table, &visible) != ERR_OK) {
        (void)problem_err(exchange); /* the answer is in place */
        return true;
    }
    if (visible) {
        enum handler_result result = parked->again(services, exchange);
        assert(result == HANDLER_DONE); /* it is visible: there is nothing left to wait for */
        return true;
    }
    if (timed_out) {
        exchange_set_header(exchange, "Retry-After", "1");
        (void)problem_answer(exchange, 503, "not_visible_yet",
                             "the batch named by `after` is not visible yet; try again");
    }
    return timed_out;
}

enum handler_result rows_wait_for(struct services *services, struct exchange *exchange,
                                  struct span after, const struct id *table, handler_fn *again)
{
    struct parked_read *parked = arena_alloc(&exchange->arena, sizeof *parked);
    int64_t deadline_us = clock_monotonic_us() + services->wait_seconds_max * 1000000;
    if (parked != NULL) {
        *parked = (struct parked_read){.after = after, .again = again};
        exchange->parked = parked;
        exchange->on_door_thread = true; /* the room's thread may read files */
        if (waiting_room_park(services->waiting_room, exchange, table, deadline_us, look)) {
            return HANDLER_WAIT;
        }
    }
    return problem_answer(exchange, 503, "busy", "too many requests wait; try again");
}
