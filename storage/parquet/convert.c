/*
 * Values into columns. See convert.h for the contract.
 * Source: Delta's type widening table; parquet-format LogicalTypes.md.
 */
#include "storage/parquet/convert.h"

#include "storage/base/text.h"
#include "storage/parquet/odd_text.h"
#include "storage/parquet/tree.h"

#include <assert.h>
#include <string.h>

#define MICROSECONDS_PER_DAY INT64_C(86400000000)

enum {
    /* Where the hybrid Julian/Gregorian calendar and the proleptic one begin to agree. */
    CALENDAR_SWITCH_DAYS = -141427, /* 1582-10-15 */
    INTEGER_DIGITS = 10,
    LONG_DIGITS = 19,
    UNSIGNED_LONG_DIGITS = 20,
    MICROS_PER_MILLI = 1000,
    NANOS_PER_MICRO = 1000,
};
/* Time zones were local mean time before; legacy writers shifted by it. 1900-01-01. */
#define CALENDAR_SWITCH_US INT64_C(-2208988800000000)

__int128 convert_power_of_ten(int exponent)
{
    assert(exponent >= 0);
    assert(exponent <= SCHEMA_DECIMAL_PRECISION_MAX);
    __int128 power = 1;
    for (int i = 0; i < exponent; i++) {
        power *= 10;
    }
    return power;
}

/* ---- plans ---- */

static enum err_code refuse(const struct metadata_element *element, const struct field *field,
                            const struct leaf_meaning *meaning, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED,
                   "column '%.*s' is %s%s%s in the file and cannot be read as %s",
                   SPAN_PRINT(element->name), parquet_type_name(element->type),
                   meaning->odd != LEAF_NOT_ODD ? " " : "", leaf_oddity_name(meaning->odd),
                   column_type_name(field->type));
}

static bool plan_decimal(const struct metadata_element *element, const struct leaf_meaning *meaning,
                         const struct field *field, struct convert_plan *plan)
{
    int precision = meaning->precision;
    int scale = meaning->scale;
    bool is_unsigned = meaning->kind == PARQUET_INTEGER && meaning->is_unsigned;
    if (meaning->kind == PARQUET_INTEGER && meaning->odd == LEAF_NOT_ODD) {
        precision = meaning->bits <= 32 ? INTEGER_DIGITS
                    : is_unsigned       ? UNSIGNED_LONG_DIGITS
                                        : LONG_DIGITS;
        scale = 0;
    } else if (meaning->kind != PARQUET_DECIMAL) {
        return false;
    }
    int scale_up = field->scale - scale;
    if (scale_up < 0 || field->precision - field->scale < precision - scale) {
        return false;
    }
    if (element->type == PARQUET_TYPE_INT32) {
        plan->kind = is_unsigned ? CONVERT_U32_TO_I128 : CONVERT_I32_TO_I128;
    } else if (element->type == PARQUET_TYPE_INT64) {
        plan->kind = is_unsigned ? CONVERT_U64_TO_I128 : CONVERT_I64_TO_I128;
    } else {
        plan->kind = CONVERT_BYTES_TO_I128;
    }
    plan->scale_by = convert_power_of_ten(scale_up);
    plan->limit = convert_power_of_ten(field->precision);
    return true;
}

static bool plan_timestamp(const struct metadata_element *element,
                           const struct leaf_meaning *meaning, const struct field *field,
                           struct convert_plan *plan)
{
    if (meaning->kind == PARQUET_DATE && field->type == COLUMN_TIMESTAMP_NTZ) {
        plan->kind = CONVERT_DATE_TO_NTZ;
        return true;
    }
    if ((meaning->kind != PARQUET_TIMESTAMP && meaning->kind != PARQUET_TIMESTAMP_NTZ) ||
        (element->type != PARQUET_TYPE_INT64 && element->type != PARQUET_TYPE_INT96)) {
        return false;
    }
    plan->kind = meaning->unit == PARQUET_UNIT_MILLIS  ? CONVERT_I64_TIMES
                 : meaning->unit == PARQUET_UNIT_NANOS ? CONVERT_I64_DIVIDED
                                                       : CONVERT_COPY;
    plan->factor = meaning->unit == PARQUET_UNIT_MILLIS ? MICROS_PER_MILLI : NANOS_PER_MICRO;
    return true;
}

static bool plan_integer(const struct metadata_element *element, const struct leaf_meaning *meaning,
                         const struct field *field, struct convert_plan *plan)
{
    if (meaning->kind != PARQUET_INTEGER || meaning->odd != LEAF_NOT_ODD) {
        return false;
    }
    bool is_i32 = element->type == PARQUET_TYPE_INT32;
    switch (field->type) {
    case COLUMN_BYTE:
    case COLUMN_SHORT: /* an INT32 that says nothing narrower is believed, but checked */
        plan->kind = CONVERT_I32_CHECKED;
        plan->least = field->type == COLUMN_BYTE ? INT8_MIN : INT16_MIN;
        plan->most = field->type == COLUMN_BYTE ? INT8_MAX : INT16_MAX;
        return is_i32;
    case COLUMN_INTEGER:
        plan->kind = CONVERT_COPY;
        return is_i32 && !(meaning->is_unsigned && meaning->bits == 32);
    case COLUMN_LONG:
        plan->kind = !is_i32                ? CONVERT_COPY
                     : meaning->is_unsigned ? CONVERT_U32_TO_I64
                                            : CONVERT_I32_TO_I64;
        return is_i32 || !meaning->is_unsigned;
    default: /* COLUMN_DOUBLE */
        plan->kind = CONVERT_I32_TO_F64;
        return is_i32 && !meaning->is_unsigned;
    }
}

/* What has a text that says it exactly. */
static bool plan_odd_text(const struct metadata_element *element,
                          const struct leaf_meaning *meaning, struct convert_plan *plan)
{
    plan->kind = meaning->odd == LEAF_TIME       ? CONVERT_TIME_TO_TEXT
                 : meaning->odd == LEAF_INTERVAL ? CONVERT_INTERVAL_TO_TEXT
                                                 : CONVERT_UUID_TO_TEXT;
    plan->unit = meaning->unit;
    plan->is_i64 = element->type == PARQUET_TYPE_INT64;
    return meaning->odd != LEAF_FLOAT16;
}

static bool plan_bytes(const struct metadata_element *element, const struct leaf_meaning *meaning,
                       const struct field *field, struct convert_plan *plan)
{
    if (meaning->odd != LEAF_NOT_ODD && field->type == COLUMN_STRING) {
        return plan_odd_text(element, meaning, plan);
    }
    plan->kind = CONVERT_BYTES;
    if (meaning->odd != LEAF_NOT_ODD && meaning->odd != LEAF_UUID) {
        return false;
    }
    /* old writers leave text without annotation */
    bool fits = field->type == COLUMN_BINARY || element->type == PARQUET_TYPE_BYTE_ARRAY;
    return fits && (meaning->kind == PARQUET_TEXT || meaning->kind == PARQUET_BINARY);
}

static bool plan_of(const struct metadata_element *element, const struct leaf_meaning *meaning,
                    const struct field *field, struct convert_plan *plan)
{
    switch (field->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        return plan_bytes(element, meaning, field, plan);
    case COLUMN_DOUBLE:
        if (meaning->kind == PARQUET_INTEGER) {
            return plan_integer(element, meaning, field, plan);
        }
        plan->kind = meaning->odd == LEAF_FLOAT16 ? CONVERT_FLOAT16 : CONVERT_COPY;
        return meaning->odd == LEAF_FLOAT16 || meaning->kind == PARQUET_REAL;
    case COLUMN_FLOAT:
        plan->kind = meaning->odd == LEAF_FLOAT16 ? CONVERT_FLOAT16 : CONVERT_COPY;
        return meaning->odd == LEAF_FLOAT16 || element->type == PARQUET_TYPE_FLOAT;
    case COLUMN_BOOLEAN:
        plan->kind = CONVERT_COPY;
        return meaning->kind == PARQUET_BOOLEAN;
    case COLUMN_DATE:
        plan->kind = CONVERT_COPY;
        return meaning->kind == PARQUET_DATE;
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        return plan_timestamp(element, meaning, field, plan);
    case COLUMN_DECIMAL:
        return plan_decimal(element, meaning, field, plan);
    case COLUMN_BYTE:
    case COLUMN_SHORT:
    case COLUMN_INTEGER:
    case COLUMN_LONG:
        return plan_integer(element, meaning, field, plan);
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(false && "a column type that exists");
    return false;
}

enum err_code convert_plan_make(const struct metadata_element *element, const struct field *field,
                                bool legacy_calendar, struct convert_plan *plan_out,
                                struct err *err)
{
    struct leaf_meaning meaning = leaf_meaning_of(element);
    struct convert_plan plan = {.type = field->type,
                                .slot_bytes = column_type_slot_bytes(field->type)};
    if (!plan_of(element, &meaning, field, &plan)) {
        return refuse(element, field, &meaning, err);
    }
    bool is_date = field->type == COLUMN_DATE;
    plan.check_calendar = legacy_calendar && (is_date || field->type == COLUMN_TIMESTAMP ||
                                              field->type == COLUMN_TIMESTAMP_NTZ);
    plan.calendar_start = is_date ? CALENDAR_SWITCH_DAYS : CALENDAR_SWITCH_US;
    *plan_out = plan;
    return ERR_OK;
}

/* ---- dense conversion ---- */

bool convert_decimal_bytes(struct span bytes, __int128 *value_out)
{
    size_t size = bytes.size;
    const uint8_t *data = bytes.data;
    uint8_t sign = size > 0 && (data[0] & 0x80) != 0 ? 0xff : 0x00;
    /* more than 16 bytes are fine as long as the first ones only repeat the sign */
    while (size > sizeof(__int128)) {
        if (data[0] != sign || (data[1] & 0x80) != (sign & 0x80)) {
            return false;
        }
        data++;
        size--;
    }
    unsigned __int128 value = sign != 0 ? ~(unsigned __int128)0 : 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | data[i];
    }
    *value_out = (__int128)value;
    return true;
}

static bool scale_decimal(const struct convert_plan *plan, __int128 value, __int128 *out)
{
    __int128 scaled;
    if (__builtin_mul_overflow(value, plan->scale_by, &scaled)) {
        return false;
    }
    *out = scaled;
    return scaled < plan->limit && scaled > -plan->limit;
}

static bool to_decimals(const struct convert_plan *plan, const void *values, size_t count,
                        __int128 *out)
{
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        __int128 value = 0;
        if (plan->kind == CONVERT_I32_TO_I128) {
            value = ((const int32_t *)values)[i];
        } else if (plan->kind == CONVERT_I64_TO_I128) {
            value = ((const int64_t *)values)[i];
        } else if (plan->kind == CONVERT_U32_TO_I128) {
            value = ((const uint32_t *)values)[i];
        } else if (plan->kind == CONVERT_U64_TO_I128) {
            value = ((const uint64_t *)values)[i];
        } else {
            ok &= convert_decimal_bytes(((const struct span *)values)[i], &value);
        }
        ok &= scale_decimal(plan, value, &out[i]);
    }
    return ok;
}

/* Dates reach further than timestamps: ±292,000 years of them fit. */
static bool to_dates(const int32_t *days, size_t count, int64_t *out)
{
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        ok &= !__builtin_mul_overflow((int64_t)days[i], MICROSECONDS_PER_DAY, &out[i]);
    }
    return ok;
}

static bool to_microseconds(const struct convert_plan *plan, const int64_t *values, size_t count,
                            int64_t *out)
{
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        if (plan->kind == CONVERT_I64_TIMES) {
            ok &= !__builtin_mul_overflow(values[i], plan->factor, &out[i]);
        } else {
            out[i] = values[i] / plan->factor - (values[i] % plan->factor < 0);
            ok &= !plan->exact || values[i] % plan->factor == 0;
        }
    }
    return ok;
}

static bool check_i32(const struct convert_plan *plan, const int32_t *values, size_t count)
{
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        ok &= values[i] >= plan->least && values[i] <= plan->most;
    }
    return ok;
}

static void to_reals(const struct span *halves, size_t count, double *out)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = odd_float16(halves[i].data);
    }
}

/* False for a time that is none of a day. `out` has room for ODD_TEXT_BYTES_MAX. */
static bool put_text(const struct convert_plan *plan, const void *values, size_t i, char *out,
                     size_t *size_out)
{
    if (plan->kind == CONVERT_TIME_TO_TEXT) {
        int64_t time = plan->is_i64 ? ((const int64_t *)values)[i] : ((const int32_t *)values)[i];
        return odd_time_text(time, plan->unit, out, size_out);
    }
    const uint8_t *bytes = ((const struct span *)values)[i].data;
    *size_out = plan->kind == CONVERT_INTERVAL_TO_TEXT ? odd_interval_text(bytes, out)
                                                       : odd_uuid_text(bytes, out);
    return true;
}

/* Room is taken once, because the spans point into it. */
static bool to_texts(const struct convert_plan *plan, const void *values, size_t count,
                     struct buffer *texts, struct span *out)
{
    buffer_reset(texts);
    uint8_t *at = buffer_reserve(texts, (count + 1) * ODD_TEXT_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t size = 0;
        if (!put_text(plan, values, i, (char *)at, &size)) {
            return false;
        }
        out[i] = span_of(at, size);
        at += size;
    }
    return true;
}

/* Convert the batch's values to slots of the target; `*dense_out` is where they are. */
static bool convert_values(const struct convert_plan *plan, const struct batch *batch,
                           uint8_t *scratch, struct buffer *texts, const uint8_t **dense_out)
{
    const void *values = batch->values;
    size_t count = batch->values_count;
    const int32_t *i32 = values;
    *dense_out = scratch;
    switch (plan->kind) {
    case CONVERT_COPY:
    case CONVERT_BYTES:
        *dense_out = batch->values;
        return true;
    case CONVERT_I32_CHECKED:
        *dense_out = batch->values;
        return check_i32(plan, i32, count);
    case CONVERT_I32_TO_I64:
        for (size_t i = 0; i < count; i++) {
            ((int64_t *)(void *)scratch)[i] = i32[i];
        }
        return true;
    case CONVERT_U32_TO_I64:
        for (size_t i = 0; i < count; i++) {
            ((int64_t *)(void *)scratch)[i] = (uint32_t)i32[i];
        }
        return true;
    case CONVERT_I32_TO_F64:
        for (size_t i = 0; i < count; i++) {
            ((double *)(void *)scratch)[i] = i32[i];
        }
        return true;
    case CONVERT_I32_TO_I128:
    case CONVERT_I64_TO_I128:
    case CONVERT_BYTES_TO_I128:
    case CONVERT_U32_TO_I128:
    case CONVERT_U64_TO_I128:
        return to_decimals(plan, values, count, (void *)scratch);
    case CONVERT_I64_TIMES:
    case CONVERT_I64_DIVIDED:
        return to_microseconds(plan, values, count, (void *)scratch);
    case CONVERT_DATE_TO_NTZ:
        return to_dates(i32, count, (void *)scratch);
    case CONVERT_FLOAT16:
        to_reals(values, count, (void *)scratch);
        return true;
    case CONVERT_TIME_TO_TEXT:
    case CONVERT_INTERVAL_TO_TEXT:
    case CONVERT_UUID_TO_TEXT:
        return to_texts(plan, values, count, texts, (void *)scratch);
    }
    return false;
}

bool convert_one(const struct convert_plan *plan, const struct batch *batch, uint8_t *slot_out)
{
    assert(!convert_gives_bytes(plan));
    assert(batch->values_count == 1);
    const uint8_t *dense = NULL;
    alignas(16) uint8_t scratch[sizeof(__int128)];
    if (!convert_values(plan, batch, scratch, NULL, &dense)) { /* no plan with slots makes texts */
        return false;
    }
    memcpy(slot_out, dense, plan->slot_bytes);
    return true;
}

static bool calendar_holds(const struct convert_plan *plan, const uint8_t *dense, size_t count)
{
    bool ok = true;
    const void *values = dense;
    for (size_t i = 0; i < count; i++) {
        /* the plan's slots were all written just now; the analyser mixes up their widths
           NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign) */
        int64_t value = plan->slot_bytes == sizeof(int32_t) ? ((const int32_t *)values)[i]
                                                            : ((const int64_t *)values)[i];
        ok &= value >= plan->calendar_start;
    }
    return ok;
}

/* ---- appending ---- */

/* Bits [start, start + count) become 1; they are 0 beyond the rows of a column. */
static void set_bits(uint8_t *bits, int64_t start, int64_t count)
{
    int64_t end = start + count;
    for (; start < end && (start & 7) != 0; start++) {
        bits[start >> 3] |= (uint8_t)(1U << (start & 7));
    }
    int64_t whole = (end - start) / 8;
    if (whole > 0) {
        memset(bits + (start >> 3), 0xff, (size_t)whole);
        start += whole * 8;
    }
    for (; start < end; start++) {
        bits[start >> 3] |= (uint8_t)(1U << (start & 7));
    }
}

enum { NO_VALUE = UINT16_MAX }; /* above every index of a batch */

/* For each appended row, which dense value it takes. */
struct picks {
    const uint16_t *values; /* NULL: value i for row i, no nulls */
    size_t count;
    size_t nulls_count;
};

/* Which value each wanted entry has: entries before it that are not null, if it is not. */
static struct picks pick(const struct batch *batch, bool optional, const uint16_t *chosen,
                         size_t chosen_count, uint16_t *values)
{
    bool has_nulls = optional && batch->values_count < batch->count;
    size_t count = chosen != NULL ? chosen_count : batch->count;
    if (!has_nulls) {
        return (struct picks){.values = chosen, .count = count};
    }
    struct picks picks = {.values = values, .count = count};
    uint16_t value = 0;
    size_t at = 0;
    for (size_t i = 0; i < batch->count && at < count; i++) {
        bool is_valid = batch->definitions[i] != 0;
        if (chosen == NULL || chosen[at] == i) {
            values[at++] = is_valid ? value : NO_VALUE;
            picks.nulls_count += !is_valid;
        }
        value = (uint16_t)(value + is_valid);
    }
    assert(at == count);
    return picks;
}

static void mark_valid(struct column *column, const struct picks *picks)
{
    int64_t row = column->rows_count;
    if (picks->nulls_count == 0) {
        set_bits(column->validity, row, (int64_t)picks->count);
        if (column->present != NULL) {
            set_bits(column->present, row, (int64_t)picks->count);
        }
        return;
    }
    for (size_t i = 0; i < picks->count; i++, row++) {
        unsigned bit = picks->values[i] != NO_VALUE;
        column->validity[row >> 3] |= (uint8_t)(bit << (row & 7));
    }
    if (column->present != NULL) {
        set_bits(column->present, column->rows_count, (int64_t)picks->count);
    }
}

/* `size` is a constant at every call, so that the copies become moves. */
static inline __attribute__((always_inline)) void
scatter(uint8_t *slots, const uint8_t *dense, const struct picks *picks, const size_t size)
{
    for (size_t i = 0; i < picks->count; i++) {
        if (picks->values[i] == NO_VALUE) {
            memset(slots + i * size, 0, size);
        } else {
            memcpy(slots + i * size, dense + picks->values[i] * size, size);
        }
    }
}

static void append_slots(struct column *column, const uint8_t *dense, const struct picks *picks,
                         size_t size)
{
    uint8_t *slots = (uint8_t *)column->values.slots + (size_t)column->rows_count * size;
    if (picks->values == NULL) {
        memcpy(slots, dense, picks->count * size);
        return;
    }
    switch (size) {
    case 1:
        scatter(slots, dense, picks, 1);
        break;
    case 4:
        scatter(slots, dense, picks, 4);
        break;
    case 8:
        scatter(slots, dense, picks, 8);
        break;
    default:
        scatter(slots, dense, picks, 16);
        break;
    }
}

/* Well-formed as a whole, and no value begins inside a character: then each is well-formed. */
static enum err_code check_text(const struct column *column, size_t start, int64_t rows,
                                struct err *err)
{
    const uint8_t *bytes = column->bytes;
    size_t bad = 0;
    bool ok = text_is_utf8(span_of(bytes + start, column->bytes_size - start), &bad);
    size_t begin = start;
    const uint32_t *ends = column->values.ends + column->rows_count;
    for (int64_t i = 0; ok && i < rows; i++) {
        ok = begin == ends[i] || (bytes[begin] & 0xc0) != 0x80;
        begin = ends[i];
    }
    if (!ok) {
        return err_set(err, ERR_CORRUPT, "a string is not UTF-8");
    }
    return ERR_OK;
}

static enum err_code append_bytes(struct column *column, int64_t bytes_max,
                                  const struct span *values, const struct picks *picks,
                                  struct err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < picks->count; i++) {
        size_t value = picks->values == NULL ? i : picks->values[i];
        /* plans without slots give spans, all of them; the analyser mixes up the plans
           NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign) */
        total += value == NO_VALUE && picks->values != NULL ? 0 : values[value].size;
    }
    size_t most = bytes_max > 0 ? (size_t)bytes_max : COLUMN_BYTES_MAX;
    if (column->bytes_size > most || total >= most - column->bytes_size) {
        return err_set(
            err, ERR_TOO_LARGE,
            "strings over %lld bytes in one column of a frame; read fewer rows at a time",
            (long long)most);
    }
    column_reserve_bytes(column, total + 1); /* empty strings need an address, too */
    size_t start = column->bytes_size;
    uint8_t *out = column->bytes + start;
    uint32_t *ends = column->values.ends + column->rows_count;
    for (size_t i = 0; i < picks->count; i++) {
        size_t value = picks->values == NULL ? i : picks->values[i];
        if (picks->values == NULL || value != NO_VALUE) {
            if (values[value].size > 0) {
                memcpy(out, values[value].data, values[value].size);
            }
            out += values[value].size;
        }
        ends[i] = (uint32_t)(out - column->bytes);
    }
    column->bytes_size = start + total;
    if (column->type == COLUMN_STRING && total > 0) {
        enum err_code code = check_text(column, start, (int64_t)picks->count, err);
        if (code != ERR_OK) {
            column->bytes_size = start;
            return code;
        }
    }
    return ERR_OK;
}

enum err_code convert_batch(const struct convert_plan *plan, const struct batch *batch,
                            uint8_t *scratch, struct buffer *texts, const uint8_t **dense_out,
                            struct err *err)
{
    if (!convert_values(plan, batch, scratch, texts, dense_out)) {
        if (plan->kind == CONVERT_I64_DIVIDED) { /* dividing never leaves the range */
            return err_set(err, ERR_UNSUPPORTED,
                           "a timestamp has nanoseconds, which would be lost; write it in "
                           "microseconds");
        }
        return err_set(err, ERR_CORRUPT, "a value is out of range for %s",
                       plan->kind == CONVERT_TIME_TO_TEXT ? "a time of day"
                                                          : column_type_name(plan->type));
    }
    if (plan->check_calendar && !calendar_holds(plan, *dense_out, batch->values_count)) {
        return err_set(
            err, ERR_UNSUPPORTED,
            "a %s of the legacy hybrid calendar is before its switch to the Gregorian one",
            column_type_name(plan->type));
    }
    return ERR_OK;
}

enum err_code convert_append(const struct convert_plan *plan, struct batch *batch, bool optional,
                             const uint16_t *chosen, size_t chosen_count, struct column *column,
                             struct err *err)
{
    alignas(16) uint8_t scratch[BATCH_ENTRIES_MAX * sizeof(__int128)];
    uint16_t values[BATCH_ENTRIES_MAX];
    _Static_assert((int)BATCH_ENTRIES_MAX < (int)NO_VALUE, "an index of a batch is never NO_VALUE");
    const uint8_t *dense = NULL;
    CLEANUP(buffer_deinit) struct buffer texts;
    buffer_init(&texts, SIZE_MAX);
    TRY(convert_batch(plan, batch, scratch, &texts, &dense, err));
    struct picks picks = pick(batch, optional, chosen, chosen_count, values);
    column_reserve(column, (int64_t)picks.count);
    if (convert_gives_bytes(plan)) {
        const void *spans = dense;
        TRY(append_bytes(column, plan->bytes_max, spans, &picks, err));
    } else {
        append_slots(column, dense, &picks, plan->slot_bytes);
    }
    mark_valid(column, &picks);
    column->rows_count += (int64_t)picks.count;
    column->nulls_count += (int64_t)picks.nulls_count;
    return ERR_OK;
}

void convert_append_nulls(struct column *column, int64_t count)
{
    if (count == 0) {
        return;
    }
    column_reserve(column, count);
    if (column_type_is_nested(column->type)) {
        for (int64_t i = 0; i < count; i++) {
            column_append_null(column);
        }
        return;
    }
    int64_t row = column->rows_count;
    size_t size = column_type_slot_bytes(column->type);
    if (size > 0) {
        memset((uint8_t *)column->values.slots + (size_t)row * size, 0, (size_t)count * size);
    } else {
        for (int64_t i = 0; i < count; i++) {
            column->values.ends[row + i] = (uint32_t)column->bytes_size;
        }
    }
    if (column->present != NULL) {
        set_bits(column->present, row, count);
    }
    column->rows_count += count;
    column->nulls_count += count;
}
