/*
 * Filters as text, the form of a query string: column:operator:value.
 *
 * The value is the text of one value (scan_value_parse) as it stands, colons
 * included; `in` takes a list of them with commas between, in which a backslash
 * makes the comma or backslash behind it part of the value. is_null and not_null
 * take none.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/schema.h"
#include "storage/snapshot/scan.h"

#include <stdbool.h>

/* The parts of one filter; borrowed from the text. */
struct scan_filter_text {
    struct span column;
    struct span operator;
    struct span value;
    bool has_value; /* false: there was no second colon */
};
struct scan_filter_text scan_filter_split(struct span text);

/*
 * One filter against a schema; how many values the operator takes is checked by
 * scan_filters_check.
 *
 *   arena  keeps the values
 *
 * Errors:  ERR_INVALID no such column or operator, a value that is none of the
 *          column, more than SCAN_VALUES_MAX values, a backslash before something
 *          else; never names a value. ERR_TOO_LARGE the arena.
 * Thread:  reentrant.
 */
enum err_code scan_filter_parse(const struct scan_filter_text *text, const struct schema *schema,
                                struct arena *arena, struct scan_filter *filter_out,
                                struct err *err) MUST_USE;

/*
 * Append the first value of a list, its escapes undone; `rest` moves behind it and its
 * comma, `more` says whether there was one. False: a backslash where none may stand.
 */
bool scan_list_next(struct span *rest, bool *more, struct buffer *value);
