/*
 * Typed values from the texts of the log. See value.h.
 */
#include "storage/delta/value.h"

#include "storage/base/text.h"

#include <math.h>
#include <stdint.h>

static bool parse_ranged(struct span text, int64_t min, int64_t max, int64_t *value_out)
{
    return text_parse_int64(text, value_out) && *value_out >= min && *value_out <= max;
}

static bool parse_number(struct span text, const struct field *field, struct delta_bound *value)
{
    switch (field->type) {
    case COLUMN_BYTE:
        return parse_ranged(text, INT8_MIN, INT8_MAX, &value->i64);
    case COLUMN_SHORT:
        return parse_ranged(text, INT16_MIN, INT16_MAX, &value->i64);
    case COLUMN_INTEGER:
        return parse_ranged(text, INT32_MIN, INT32_MAX, &value->i64);
    case COLUMN_LONG:
        return text_parse_int64(text, &value->i64);
    case COLUMN_DOUBLE:
        return text_parse_double(text, &value->f64);
    case COLUMN_FLOAT:
        if (!text_parse_double(text, &value->f64)) {
            return false;
        }
        value->f64 = (double)(float)value->f64; /* the text is the shortest of the float */
        return isfinite(value->f64);
    case COLUMN_DECIMAL:
        return text_parse_decimal(text, field->precision, field->scale, &value->i128);
    default:
        return false;
    }
}

static bool parse_day(struct span text, struct delta_bound *value)
{
    int32_t days = 0;
    bool good = text_parse_date(text, &days);
    value->i64 = days;
    return good;
}

/* What is not finite has names in partition values; statistics leave it out. */
static bool parse_not_finite(struct span text, struct delta_bound *value)
{
    if (span_equal_text(text, "NaN")) {
        value->f64 = (double)NAN;
        return true;
    }
    if (span_equal_text(text, "Infinity") || span_equal_text(text, "-Infinity")) {
        value->f64 = text.data[0] == '-' ? -(double)INFINITY : (double)INFINITY;
        return true;
    }
    return false;
}

bool delta_value_parse_partition(struct span text, const struct field *field,
                                 struct delta_bound *value_out)
{
    *value_out = (struct delta_bound){0};
    switch (field->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        value_out->bytes = text;
        return true;
    case COLUMN_BOOLEAN:
        value_out->i64 = span_equal_text(text, "true");
        return value_out->i64 != 0 || span_equal_text(text, "false");
    case COLUMN_DATE:
        return parse_day(text, value_out);
    case COLUMN_TIMESTAMP:
        /* without a zone the writer's is unknown; UTC is what our own writers and Spark in UTC mean
         */
        return text_parse_timestamp(text, &value_out->i64) ||
               text_parse_timestamp_ntz(text, &value_out->i64);
    case COLUMN_TIMESTAMP_NTZ:
        return text_parse_timestamp_ntz(text, &value_out->i64);
    case COLUMN_FLOAT:
    case COLUMN_DOUBLE:
        return parse_not_finite(text, value_out) || parse_number(text, field, value_out);
    default:
        return parse_number(text, field, value_out);
    }
}

bool delta_value_parse_statistic(struct span text, bool is_string, const struct field *field,
                                 struct delta_bound *value_out)
{
    *value_out = (struct delta_bound){0};
    switch (field->type) {
    case COLUMN_STRING:
        value_out->bytes = text;
        return is_string;
    case COLUMN_DATE:
        return is_string && parse_day(text, value_out);
    case COLUMN_TIMESTAMP:
        return is_string && text_parse_timestamp(text, &value_out->i64);
    case COLUMN_TIMESTAMP_NTZ:
        return is_string && text_parse_timestamp_ntz(text, &value_out->i64);
    default:
        return !is_string && parse_number(text, field, value_out);
    }
}
