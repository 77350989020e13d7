/*
 * What scans and lookups share: the snapshot a request reads, the columns it
 * wants, and waiting until its own writes are visible.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/services.h"
#include "storage/columns/row.h"
#include "storage/snapshot/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table;

/*
 * Set the mask of the wanted columns from their names.
 *
 *   names     spans of names; count 0 = all columns, mask_out stays NULL
 *   mask_out  in the arena
 *
 * Errors:  ERR_INVALID names the stranger; in exchange->err.
 */
enum err_code rows_parse_columns(struct exchange *exchange, const struct schema *schema,
                                 const struct span *names, size_t count,
                                 const bool **mask_out) MUST_USE;

/*
 * The names of a comma-separated list, in the arena; NULL data gives none.
 */
enum err_code rows_split_names(struct exchange *exchange, struct span list, struct span **names_out,
                               size_t *count_out) MUST_USE;

/*
 * A value of a request body (a filter's, a key's) as the column's own. Strings of the
 * value that are borrowed live in the arena.
 *
 *   json  the value as the document has it; NULL = absent
 *   text  the value as it stands in the body (json_raw.h): digits of a decimal that a
 *         document would round are taken from here
 *
 * Errors:  ERR_INVALID, in exchange->err, without a place: the caller wraps it.
 */
enum err_code rows_parse_value(struct exchange *exchange, const struct field *field,
                               const struct json *json, struct span text,
                               struct row_value *value_out) MUST_USE;

/*
 * Has the batch that `after` names become visible? Not asked for: true.
 *
 *   batch_out  its id and table, to park for
 *
 * Errors:  ERR_NOT_FOUND no such batch that the caller may wait for; in exchange->err.
 */
enum err_code rows_after_is_visible(struct services *services, struct exchange *exchange,
                                    struct span after, struct id *table_out,
                                    bool *visible_out) MUST_USE;

/*
 * Park the exchange until the batch `after` is visible, then run `again` (which
 * answers). After services->wait_seconds_max the answer is 503 with Retry-After.
 */
enum handler_result rows_wait_for(struct services *services, struct exchange *exchange,
                                  struct span after, const struct id *table, handler_fn *again);
