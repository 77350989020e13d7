/*
 * Deciding types and rules from what was seen. See infer.h for how boldly.
 */
#include "storage/columns/infer_work.h"

#include <assert.h>

enum {
    INTEGER_SURE_MAX = INT32_MAX / 4, /* larger ones may outgrow 32 bits */
    SCALE_SURE_MAX = 6,               /* more digits than prices have are measured: double */
    DOUBLE_DIGITS_MAX = 17,           /* that a double gives back */
    SCALE_MIN = 2,
    INTEGRAL_SPARE = 3,
    INTEGRAL_MIN = 8,
    LENGTH_MIN = 16,
    FORMAT_VALUES_MIN = 5,
};

/* ---- types ---- */

/* decimal(p,s) with room for larger values. */
static void make_decimal(struct infer_column *column, int scale)
{
    int integral = column->integral_digits + INTEGRAL_SPARE;
    integral = integral < INTEGRAL_MIN ? INTEGRAL_MIN : integral;
    int precision = integral + scale;
    column->type = COLUMN_DECIMAL;
    column->precision =
        precision < SCHEMA_DECIMAL_PRECISION_MAX ? precision : SCHEMA_DECIMAL_PRECISION_MAX;
    column->scale = scale;
}

static bool fits_decimal(const struct infer_column *column)
{
    return column->all_fixed &&
           column->integral_digits + column->fraction_digits <= SCHEMA_DECIMAL_PRECISION_MAX;
}

static void decide_number(struct infer_column *column)
{
    bool amount = infer_name_hints(column->source_name, INFER_HINT_AMOUNT);
    if (column->all_longs && !amount) {
        bool small =
            column->integer_min >= -INTEGER_SURE_MAX - 1 && column->integer_max <= INTEGER_SURE_MAX;
        column->type = small ? COLUMN_INTEGER : COLUMN_LONG;
        return;
    }
    bool short_fraction = column->fraction_digits <= SCALE_SURE_MAX;
    if (fits_decimal(column) && (short_fraction || column->all_integers)) {
        bool money = column->fraction_digits > 0 || amount;
        int scale =
            money && column->fraction_digits < SCALE_MIN ? SCALE_MIN : column->fraction_digits;
        if (column->integral_digits + scale > SCHEMA_DECIMAL_PRECISION_MAX) {
            scale = column->fraction_digits;
        }
        make_decimal(column, scale);
        return;
    }
    if (fits_decimal(column) && column->significant_digits > DOUBLE_DIGITS_MAX) {
        make_decimal(column, column->fraction_digits);
        column->note = "more digits than a double gives back";
        return;
    }
    column->type = COLUMN_DOUBLE;
}

static void decide_text(const struct infer *infer, struct infer_column *column)
{
    column->type = COLUMN_STRING;
    if (infer->texts_only && column->all_booleans) {
        column->type = COLUMN_BOOLEAN;
    } else if (infer->texts_only && column->all_numbers && column->format == FORMAT_NONE) {
        decide_number(column);
    } else if (column->all_dates) {
        column->type = COLUMN_DATE;
    } else if (column->all_timestamps) {
        column->type = COLUMN_TIMESTAMP;
    }
}

/* ---- formats ---- */

static bool is_format(const struct infer_column *column, enum field_format format)
{
    int64_t values = column->kinds[INFER_TEXT];
    if (!column->holds[format] || values < FORMAT_VALUES_MIN) {
        return false;
    }
    bool various = column->values_overflowed || column->values_count >= FORMAT_VALUES_MIN;
    switch (format) {
    case FORMAT_NPI: /* ten digits out of ten hold by chance: many different ones do not */
    case FORMAT_DEA:
    case FORMAT_MBI:
        return various;
    case FORMAT_NDC11:
        return infer_name_hints(column->source_name, INFER_HINT_NDC);
    case FORMAT_ZIP:
        return infer_name_hints(column->source_name, INFER_HINT_ZIP);
    case FORMAT_STATE:
        return infer_name_hints(column->source_name, INFER_HINT_STATE);
    default:
        return false;
    }
}

static void decide_format(struct infer_column *column)
{
    for (enum field_format format = FORMAT_NONE + 1; format < FORMAT_COUNT; format++) {
        if (is_format(column, format)) {
            column->format = format;
            return;
        }
    }
}

/* ---- rules ---- */

/* Few values, each seen again and again. */
static void decide_enum(const struct infer *infer, struct infer_column *column)
{
    if (infer->records < INFER_SURE_RECORDS || column->values_overflowed ||
        column->values_count == 0 || column->values_count > INFER_ENUM_VALUES_MAX || column->phi ||
        column->format != FORMAT_NONE) {
        return;
    }
    for (size_t i = 0; i < column->values_count; i++) {
        if (column->values[i].times < INFER_ENUM_TIMES_MIN) {
            return;
        }
    }
    column->enum_count = column->values_count;
}

/* Twice what was seen, rounded up. */
static void decide_length(struct infer_column *column)
{
    if (column->format != FORMAT_NONE || column->enum_count > 0) {
        return;
    }
    size_t length = LENGTH_MIN;
    while (length < column->length_max * 2) {
        length *= 2;
    }
    if (length <= SCHEMA_STRING_BYTES_MAX / 4) { /* a code point has up to four bytes */
        column->field_length_max = (int64_t)length;
    }
}

static void decide_phi(struct infer_column *column)
{
    column->phi =
        column->format == FORMAT_MBI || infer_name_hints(column->source_name, INFER_HINT_PERSON);
}

static void decide_rules(const struct infer *infer, struct infer_column *column)
{
    column->nullable = column->nulls > 0 || infer->records < INFER_SURE_RECORDS;
    decide_phi(column);
    if (column->type == COLUMN_STRING) {
        decide_enum(infer, column);
        decide_length(column);
    }
}

/* ---- columns ---- */

/* The one kind of value that a column has, or INFER_KIND_COUNT when it has several. */
static enum infer_kind kind_of(const struct infer_column *column, int64_t *values_out)
{
    enum infer_kind kind = INFER_TEXT;
    unsigned kinds = 0;
    *values_out = 0;
    for (unsigned i = 0; i < INFER_KIND_COUNT; i++) {
        if (column->kinds[i] > 0) {
            kind = (enum infer_kind)i;
            kinds++;
            *values_out += column->kinds[i];
        }
    }
    return kinds > 1 ? INFER_KIND_COUNT : kind;
}

/* Is anything in its objects about a person? What is in a column is protected with it. */
static bool has_person(const struct infer_column *column)
{
    const struct infer *samples[] = {column->objects, column->elements};
    for (size_t s = 0; s < sizeof samples / sizeof samples[0]; s++) {
        for (size_t i = 0; samples[s] != NULL && i < samples[s]->columns_count; i++) {
            if (samples[s]->columns[i].phi) {
                return true;
            }
        }
    }
    return false;
}

static void decide_column(const struct infer *infer, struct infer_column *column)
{
    int64_t values = 0;
    enum infer_kind kind = kind_of(column, &values);
    if (column->has_type) {
        decide_format(column);
        decide_rules(infer, column);
        return;
    }
    if (values == 0) {
        column->type = COLUMN_STRING;
        column->nullable = true;
        column->note = "no value was seen; the type is a guess";
        decide_phi(column);
        return;
    }
    switch (kind) {
    case INFER_TEXT:
        decide_format(column);
        decide_text(infer, column);
        break;
    case INFER_NUMBER:
        if (!column->all_numbers) { /* beyond what a double holds */
            column->left_out = "has numbers that no type holds";
            return;
        }
        decide_number(column);
        break;
    case INFER_BOOLEAN:
        column->type = COLUMN_BOOLEAN;
        break;
    case INFER_NESTED:
        infer_decide_nested(column);
        break;
    case INFER_KIND_COUNT:
        column->left_out = "has values of several kinds, which no type holds";
        return;
    }
    decide_rules(infer, column);
    column->phi = column->phi || has_person(column);
}

void infer_decide(struct infer *infer)
{
    for (size_t i = 0; i < infer->columns_count; i++) {
        decide_column(infer, &infer->columns[i]);
    }
    infer_name_fields(infer);
}
