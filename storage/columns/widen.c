/*
 * Widening. See widen.h.
 */
#include "storage/columns/widen.h"

#include "storage/columns/encode_text.h"

#include <assert.h>

enum { INTEGER_DIGITS = 10, LONG_DIGITS = 20 }; /* before the point, as the protocol has them */

static const int64_t day_us = INT64_C(86400) * 1000000;

static __int128 power_of_ten(int exponent)
{
    __int128 power = 1;
    for (int i = 0; i < exponent; i++) {
        power *= 10;
    }
    return power;
}

/* byte, short, integer, long by size; 0 = none of them. */
static int integer_rank(enum column_type type)
{
    switch (type) {
    case COLUMN_BYTE:
        return 1;
    case COLUMN_SHORT:
        return 2;
    case COLUMN_INTEGER:
        return 3;
    case COLUMN_LONG:
        return 4;
    default:
        return 0;
    }
}

static bool type_widens(enum column_type from, const struct field *to)
{
    int rank = integer_rank(from);
    int digits = rank == integer_rank(COLUMN_LONG) ? LONG_DIGITS : INTEGER_DIGITS;
    switch (to->type) {
    case COLUMN_SHORT:
    case COLUMN_INTEGER:
    case COLUMN_LONG:
        return rank > 0 && rank < integer_rank(to->type);
    case COLUMN_DOUBLE:
        return from == COLUMN_FLOAT || (rank > 0 && from != COLUMN_LONG);
    case COLUMN_DECIMAL:
        return rank > 0 && to->precision - to->scale >= digits;
    case COLUMN_TIMESTAMP_NTZ:
        return from == COLUMN_DATE;
    default:
        return false;
    }
}

bool field_widens(const struct field *from, const struct field *to)
{
    if (from->type == COLUMN_DECIMAL && to->type == COLUMN_DECIMAL) {
        return from->scale == to->scale && from->precision < to->precision;
    }
    return type_widens(from->type, to);
}

static __int128 bits_of(double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

__int128 field_widen_bound(const struct field *from, const struct field *to, __int128 bound)
{
    if (from->type == to->type || from->type == COLUMN_FLOAT) {
        return bound; /* decimals have one scale, floats the bits of doubles */
    }
    switch (to->type) {
    case COLUMN_DOUBLE:
        return bits_of((double)(int64_t)bound);
    case COLUMN_DECIMAL:
        return bound * power_of_ten(to->scale);
    case COLUMN_TIMESTAMP_NTZ:
        return bound * day_us;
    default:
        return bound;
    }
}

bool row_value_widens(const struct row_value *value, const struct field *field)
{
    int64_t us = 0;
    return type_widens(value->type, field) &&
           (field->type != COLUMN_TIMESTAMP_NTZ ||
            !__builtin_mul_overflow(value->integer, day_us, &us));
}

struct row_value row_value_widened(const struct row_value *value, const struct field *field)
{
    struct row_value widened = *value;
    if (value->type == field->type) {
        return widened;
    }
    assert(type_widens(value->type, field));
    widened.type = field->type;
    if (field->type == COLUMN_DECIMAL) {
        widened.decimal = value->integer * power_of_ten(field->scale);
    } else if (field->type == COLUMN_TIMESTAMP_NTZ) {
        if (__builtin_mul_overflow(value->integer, day_us, &widened.integer)) {
            widened.integer = value->integer < 0 ? INT64_MIN : INT64_MAX;
        }
    } else if (field->type == COLUMN_DOUBLE && value->type != COLUMN_FLOAT) {
        widened.real = (double)value->integer;
    }
    return widened;
}

void column_append_widened(struct column *target, const struct field *field,
                           const struct column *source, int64_t row)
{
    if (target->type == source->type) {
        column_append_from(target, source, row);
    } else if (!column_is_present(source, row)) {
        column_append_absent(target);
    } else if (!column_is_valid(source, row)) {
        column_append_null(target);
    } else {
        const struct row_value value = encode_value_of(source, row);
        const struct row_value widened = row_value_widened(&value, field);
        row_value_append(target, &widened);
    }
}
