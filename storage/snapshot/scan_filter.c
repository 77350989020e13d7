/*
 * Filters: checking, matching rows, judging ranges. See scan_filter.h and scan.h.
 */
#include "storage/snapshot/scan_filter.h"

#include "storage/snapshot/keys.h"
#include "storage/snapshot/stored.h"

#include <assert.h>

static const char *const operator_names[] = {
    [SCAN_EQUAL] = "eq",
    [SCAN_NOT_EQUAL] = "ne",
    [SCAN_LESS] = "lt",
    [SCAN_LESS_OR_EQUAL] = "le",
    [SCAN_GREATER] = "gt",
    [SCAN_GREATER_OR_EQUAL] = "ge",
    [SCAN_IN] = "in",
    [SCAN_IS_NULL] = "is_null",
    [SCAN_IS_NOT_NULL] = "not_null",
};
enum { OPERATOR_COUNT = sizeof operator_names / sizeof operator_names[0] };

const char *scan_operator_name(enum scan_operator operator)
{
    assert((unsigned)operator<OPERATOR_COUNT);
    return operator_names[operator];
}

bool scan_operator_parse(struct span name, enum scan_operator *operator_out)
{
    for (unsigned i = 0; i < OPERATOR_COUNT; i++) {
        if (span_equal_text(name, operator_names[i])) {
            *operator_out = (enum scan_operator)i;
            return true;
        }
    }
    return false;
}

/* ---- checking ---- */

static enum err_code check_count(const struct scan_filter *filter, size_t index, struct err *err)
{
    bool none = filter->operator== SCAN_IS_NULL || filter->operator== SCAN_IS_NOT_NULL;
    size_t min = none ? 0 : 1;
    size_t max = none ? 0 : filter->operator== SCAN_IN ? SCAN_VALUES_MAX : 1;
    if (filter->values_count < min || filter->values_count > max) {
        return err_set(err, ERR_INVALID, "filter %zu: %s takes %zu to %zu values, not %zu", index,
                       scan_operator_name(filter->operator), min, max, filter->values_count);
    }
    return ERR_OK;
}

static bool is_ordering(enum scan_operator operator)
{
    return operator== SCAN_LESS || operator== SCAN_LESS_OR_EQUAL || operator== SCAN_GREATER ||
    operator== SCAN_GREATER_OR_EQUAL;
}

enum err_code scan_filters_check(const struct schema *schema, const struct scan_filter *filters,
                                 size_t count, struct err *err)
{
    if (count > SCAN_FILTERS_MAX) {
        return err_set(err, ERR_INVALID, "%zu filters; at most %d", count, SCAN_FILTERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const struct scan_filter *filter = &filters[i];
        if (filter->column >= schema->fields_count || (unsigned)filter->operator>= OPERATOR_COUNT) {
            return err_set(err, ERR_INVALID, "filter %zu: no such column or operator", i);
        }
        TRY(check_count(filter, i, err));
        enum column_type type = schema->fields[filter->column].type;
        if (column_type_is_nested(type)) {
            return err_set(err, ERR_INVALID, "filter %zu: column '%.128s' is nested", i,
                           schema->fields[filter->column].name);
        }
        if (is_ordering(filter->operator) && type == COLUMN_BOOLEAN) {
            return err_set(err, ERR_INVALID, "filter %zu: booleans have no order; use eq or ne", i);
        }
        for (size_t j = 0; j < filter->values_count; j++) {
            if (filter->values[j].type != type) {
                return err_set(err, ERR_INVALID, "filter %zu: the value is not of type %s", i,
                               column_type_name(type));
            }
        }
    }
    return ERR_OK;
}

/* ---- rows ---- */

static bool value_matches(const struct scan_filter *filter, const struct row_value *value)
{
    if (filter->operator== SCAN_IN) {
        for (size_t i = 0; i < filter->values_count; i++) {
            if (row_value_compare(value, &filter->values[i]) == 0) {
                return true;
            }
        }
        return false;
    }
    int order = row_value_compare(value, &filter->values[0]);
    switch (filter->operator) {
    case SCAN_EQUAL:
        return order == 0;
    case SCAN_NOT_EQUAL:
        return order != 0;
    case SCAN_LESS:
        return order < 0;
    case SCAN_LESS_OR_EQUAL:
        return order <= 0;
    case SCAN_GREATER:
        return order > 0;
    case SCAN_GREATER_OR_EQUAL:
        return order >= 0;
    case SCAN_IN:
    case SCAN_IS_NULL:
    case SCAN_IS_NOT_NULL:
        break;
    }
    assert(!"an operator with one value");
    return false;
}

bool scan_filters_match(const struct scan_filter *filters, size_t count, const struct frame *frame,
                        int64_t row)
{
    for (size_t i = 0; i < count; i++) {
        const struct scan_filter *filter = &filters[i];
        struct row_value value;
        bool present = row_value_of(frame, filter->column, row, &value);
        bool passes = filter->operator== SCAN_IS_NULL ? !present
                      : filter->operator== SCAN_IS_NOT_NULL
                          ? present
                          : present && value_matches(filter, &value);
        if (!passes) {
            return false;
        }
    }
    return true;
}

/* ---- ranges ---- */

static bool is_real(enum column_type type)
{
    return type == COLUMN_DOUBLE || type == COLUMN_FLOAT;
}

static struct row_value bound_of_log(const struct field *field, const struct delta_bound *bound)
{
    struct row_value value = {.field_id = field->id, .type = field->type, .bytes = bound->bytes};
    if (is_real(field->type)) {
        value.real = bound->f64;
    } else if (field->type == COLUMN_DECIMAL) {
        value.decimal = bound->i128;
    } else {
        value.integer = bound->i64;
    }
    return value;
}

struct value_range value_range_of_log(const struct field *field,
                                      const struct delta_column_range *range)
{
    return (struct value_range){
        .has_min = range->has_min,
        .has_max = range->has_max,
        .min = bound_of_log(field, &range->min),
        .max = bound_of_log(field, &range->max),
        .no_nulls = range->no_nulls,
        .all_nulls = range->all_nulls,
    };
}

static struct row_value bound_of_footer(const struct field *field,
                                        const struct parquet_bound *bound)
{
    struct row_value value = {
        .field_id = field->id, .type = field->type, .bytes = parquet_bound_span(bound)};
    if (is_real(field->type)) {
        value.real = bound->f64;
    } else if (field->type == COLUMN_DECIMAL) {
        value.decimal = bound->i128;
    } else {
        value.integer = bound->i64;
    }
    return value;
}

struct value_range value_range_of_footer(const struct field *field,
                                         const struct parquet_column_statistics *statistics)
{
    return (struct value_range){
        .has_min = statistics->has_range,
        .has_max = statistics->has_range,
        .min = bound_of_footer(field, &statistics->min),
        .max = bound_of_footer(field, &statistics->max),
        .no_nulls = statistics->nulls_count == 0,
        .all_nulls = statistics->nulls_count > 0 && statistics->values_count == 0,
    };
}

/* -1: the value is certainly below all values of the range, 1: above, 0: may be among them. */
static int place_of(const struct row_value *value, const struct value_range *range)
{
    if (range->has_min && row_value_compare(value, &range->min) < 0) {
        return -1;
    }
    return range->has_max && row_value_compare(value, &range->max) > 0 ? 1 : 0;
}

static bool is_nan(const struct row_value *value)
{
    return is_real(value->type) && value->real != value->real;
}

static bool one_may_match(enum scan_operator operator, const struct row_value * value,
                          const struct value_range *range)
{
    /* NaN is not in the range and stands above everything. */
    if (is_nan(value)) {
        return true;
    }
    int place = place_of(value, range);
    switch (operator) {
    case SCAN_EQUAL:
        return place == 0;
    case SCAN_LESS:
        return place > 0 || !range->has_min || row_value_compare(value, &range->min) > 0;
    case SCAN_LESS_OR_EQUAL:
        return place >= 0;
    case SCAN_GREATER:
        return is_real(value->type) || !range->has_max || row_value_compare(value, &range->max) < 0;
    case SCAN_GREATER_OR_EQUAL:
        return is_real(value->type) || place <= 0;
    default:
        return true;
    }
}

bool scan_filter_may_match(const struct scan_filter *filter, const struct value_range *range)
{
    if (filter->operator== SCAN_IS_NULL) {
        return !range->no_nulls;
    }
    if (range->all_nulls) {
        return false;
    }
    if (filter->operator== SCAN_IN) {
        for (size_t i = 0; i < filter->values_count; i++) {
            if (one_may_match(SCAN_EQUAL, &filter->values[i], range)) {
                return true;
            }
        }
        return false;
    }
    return filter->values_count == 0 || one_may_match(filter->operator, & filter->values[0], range);
}

/* ---- skipping ---- */

/* Unreadable statistics only make us read more. */
bool scan_filters_may_match_file(const struct scan_filter *filters, size_t count,
                                 const struct schema *schema, const struct delta_file *file)
{
    if (count == 0) {
        return true;
    }
    struct delta_stats stats = {0};
    struct err unreadable = {0};
    if (delta_stats_parse(file, schema, &stats, &unreadable) != ERR_OK) {
        return true;
    }
    bool may = true;
    for (size_t i = 0; may && i < count; i++) {
        struct value_range range = value_range_of_log(&schema->fields[filters[i].column],
                                                      &stats.columns[filters[i].column]);
        may = scan_filter_may_match(&filters[i], &range);
    }
    delta_stats_free(&stats);
    return may;
}

bool scan_filters_may_match_group(const struct scan_filter *filters, size_t count,
                                  const struct stored *stored, size_t row_group)
{
    for (size_t i = 0; i < count; i++) {
        size_t column = filters[i].column;
        if (stored_is_partition_column(stored->schema, column)) {
            continue; /* the log's statistics judged it */
        }
        struct parquet_column_statistics statistics;
        stored_statistics(stored, row_group, column, &statistics);
        struct value_range range =
            value_range_of_footer(&stored->schema->fields[column], &statistics);
        if (!scan_filter_may_match(&filters[i], &range)) {
            return false;
        }
    }
    return true;
}
