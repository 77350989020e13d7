/*
 * Texts of single values as the log spells them → typed bounds. Private to this
 * folder: partition values and statistics share it.
 */
#pragma once

#include "storage/base/span.h"
#include "storage/columns/schema.h"
#include "storage/delta/stats.h"

/*
 * A partition value (not empty) of the field's type; strings and binary borrow
 * `text`. False when the text does not fit.
 */
bool delta_value_parse_partition(struct span text, const struct field *field,
                                 struct delta_bound *value_out);

/* A JSON number or the contents of a JSON string, of a type that has statistics. */
bool delta_value_parse_statistic(struct span text, bool is_string, const struct field *field,
                                 struct delta_bound *value_out);
