/*
 * What a sample shows of each column. See infer_work.h.
 */
#include "storage/columns/infer_work.h"

#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/decode_number.h"

#include <assert.h>
#include <stdlib.h>

enum { COLUMNS_FIRST = 16, HASHES_FIRST = 256 };

void infer_init(struct infer *infer)
{
    *infer = (struct infer){0};
}

static void infer_column_deinit(struct infer_column *column)
{
    mem_free(column->source_name);
    for (size_t i = 0; i < column->values_count; i++) {
        mem_free(column->values[i].text);
    }
    mem_free(column->hashes);
    mem_free(column->name);
    struct infer *samples[] = {column->objects, column->elements};
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        if (samples[i] != NULL) { /* recursion is bounded by the depth of JSON */
            infer_deinit(samples[i]);
            mem_free(samples[i]);
        }
    }
}

void infer_deinit(struct infer *infer)
{
    for (size_t i = 0; i < infer->columns_count; i++) {
        infer_column_deinit(&infer->columns[i]);
    }
    mem_free(infer->columns);
    mem_free(infer->slots);
    *infer = (struct infer){0};
}

/* ---- columns by name ---- */

static bool is_named(const struct infer_column *column, struct span name)
{
    return span_equal(span_of(column->source_name, column->source_name_size), name);
}

static size_t slot_of(const struct infer *infer, struct span name)
{
    size_t mask = infer->slots_count - 1;
    size_t slot = (size_t)hash_checksum(name) & mask;
    while (infer->slots[slot] != 0 && !is_named(&infer->columns[infer->slots[slot] - 1], name)) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

/* Twice as many slots as columns there can be: never full, never grown. */
static void make_slots(struct infer *infer)
{
    infer->slots_count = 2;
    while (infer->slots_count < (size_t)SCHEMA_FIELDS_MAX * 2) {
        infer->slots_count *= 2;
    }
    infer->slots = mem_zeroed(infer->slots_count, sizeof *infer->slots);
}

/* With a NUL behind it. */
static char *copy_name(struct span name)
{
    char *copy = mem_alloc(name.size + 1);
    if (name.size > 0) {
        memcpy(copy, name.data, name.size);
    }
    copy[name.size] = '\0';
    return copy;
}

static size_t add_column(struct infer *infer, struct span name)
{
    if (infer->columns_count == infer->columns_capacity) {
        infer->columns_capacity =
            infer->columns_capacity == 0 ? COLUMNS_FIRST : infer->columns_capacity * 2;
        infer->columns =
            mem_resize(infer->columns, infer->columns_capacity, sizeof *infer->columns);
    }
    struct infer_column *column = &infer->columns[infer->columns_count];
    *column = (struct infer_column){
        .source_name = copy_name(name),
        .source_name_size = name.size,
        .nulls = infer->records, /* the records before did not have it */
        .last_record = -1,
        .all_booleans = true,
        .all_numbers = true,
        .all_integers = true,
        .all_longs = true,
        .all_dates = true,
        .all_timestamps = true,
        .all_fixed = true,
        .integer_min = INT64_MAX,
        .integer_max = INT64_MIN,
        .field_length_max = -1,
    };
    for (unsigned i = 0; i < FORMAT_COUNT; i++) {
        column->holds[i] = true;
    }
    return infer->columns_count++;
}

enum err_code infer_column_of(struct infer *infer, struct span name, size_t guess,
                              size_t *index_out, struct err *err)
{
    if (guess < infer->columns_count && is_named(&infer->columns[guess], name)) {
        *index_out = guess;
        return ERR_OK;
    }
    if (infer->slots == NULL) {
        make_slots(infer);
    }
    size_t slot = slot_of(infer, name);
    if (infer->slots[slot] == 0) {
        if (infer->columns_count == SCHEMA_FIELDS_MAX) {
            return err_set(err, ERR_TOO_LARGE,
                           "the sample has more than %d columns, which is "
                           "what a table can have",
                           SCHEMA_FIELDS_MAX);
        }
        infer->slots[slot] = (uint32_t)add_column(infer, name) + 1;
    }
    *index_out = infer->slots[slot] - 1;
    return ERR_OK;
}

/* ---- values ---- */

/* Room for the hash of this record; false when no more are kept. */
static bool has_room(const struct infer *infer)
{
    int64_t bytes =
        (infer->records + 1) * (int64_t)sizeof(uint64_t) * (int64_t)(infer->columns_count + 1);
    return !infer->within && infer->hashed_records == infer->records &&
           bytes <= INFER_HASH_BYTES_MAX;
}

static void keep_hash(struct infer *infer, struct infer_column *column, uint64_t hash)
{
    if (!has_room(infer)) {
        return;
    }
    if (infer->records >= column->hashes_capacity) {
        int64_t capacity = infer->records + infer->records / 2 + HASHES_FIRST;
        column->hashes = mem_resize(column->hashes, (size_t)capacity, sizeof *column->hashes);
        for (int64_t i = column->hashes_capacity; i < capacity; i++) {
            column->hashes[i] = 0;
        }
        column->hashes_capacity = capacity;
    }
    column->hashes[infer->records] = hash;
}

static void keep_value(struct infer_column *column, struct span text)
{
    if (column->values_overflowed) {
        return;
    }
    for (size_t i = 0; i < column->values_count; i++) {
        if (span_equal(span_of(column->values[i].text, column->values[i].size), text)) {
            column->values[i].times++;
            return;
        }
    }
    if (column->values_count == INFER_VALUES_KEPT || text.size > INFER_VALUE_BYTES_MAX) {
        column->values_overflowed = true;
        return;
    }
    size_t at = column->values_count++;
    column->values[at].text =
        mem_copy(text.size > 0 ? (const void *)text.data : "", text.size + (text.size == 0));
    column->values[at].size = text.size;
    column->values[at].times = 1;
}

static int digits_in(const uint8_t *from, const uint8_t *to)
{
    return (int)(to - from);
}

/* How many digits stand where; the text is a number in JSON's grammar. */
static void measure_number(struct infer_column *column, struct span text)
{
    const uint8_t *p = text.data;
    const uint8_t *end = text.data + text.size;
    p += *p == '-';
    const uint8_t *start = p;
    while (p < end && *p >= '0' && *p <= '9') {
        p++;
    }
    int integral = *start == '0' ? 0 : digits_in(start, p);
    int fraction = 0;
    if (p < end && *p == '.') {
        start = ++p;
        while (p < end && *p >= '0' && *p <= '9') {
            p++;
        }
        fraction = digits_in(start, p);
    }
    column->all_fixed = column->all_fixed && p == end;
    column->integral_digits =
        integral > column->integral_digits ? integral : column->integral_digits;
    column->fraction_digits =
        fraction > column->fraction_digits ? fraction : column->fraction_digits;
    column->significant_digits = integral + fraction > column->significant_digits
                                     ? integral + fraction
                                     : column->significant_digits;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* 007 is no number: whoever wrote the zeros meant them. */
static bool has_leading_zero(struct span text)
{
    size_t at = text.size > 0 && text.data[0] == '-';
    return text.size > at + 1 && text.data[at] == '0' && is_digit(text.data[at + 1]);
}

static void look_at_number(struct infer_column *column, struct span text)
{
    struct decode_number number;
    double real = 0;
    if (has_leading_zero(text) || !decode_number_parse(text, &number) ||
        !text_parse_double(text, &real)) {
        column->all_numbers = false;
        column->all_integers = false;
        column->all_longs = false;
        return;
    }
    measure_number(column, text);
    int64_t integer = 0;
    column->all_integers = column->all_integers && number.integral;
    column->all_longs =
        column->all_longs && number.integral && decode_number_long(&number, &integer);
    if (column->all_longs) {
        column->integer_min = integer < column->integer_min ? integer : column->integer_min;
        column->integer_max = integer > column->integer_max ? integer : column->integer_max;
    }
}

static void look_at_text(struct infer_column *column, struct span text)
{
    int32_t days = 0;
    int64_t us = 0;
    column->all_booleans =
        column->all_booleans && (span_equal_text(text, "true") || span_equal_text(text, "false"));
    column->all_dates = column->all_dates && text_parse_date(text, &days);
    column->all_timestamps = column->all_timestamps && text_parse_timestamp(text, &us);
    for (enum field_format format = FORMAT_NONE + 1; format < FORMAT_COUNT; format++) {
        column->holds[format] = column->holds[format] && field_format_holds(format, text);
    }
    size_t length = text_code_points(text);
    column->length_max = length > column->length_max ? length : column->length_max;
}

/* Is this the column's first value in the record? */
static bool begin_value(const struct infer *infer, struct infer_column *column)
{
    if (column->last_record == infer->records) {
        return false;
    }
    column->last_record = infer->records;
    return true;
}

static uint64_t hash_of(struct span text)
{
    uint64_t hash = hash_checksum(text);
    return hash != 0 ? hash : 1;
}

bool infer_observe(struct infer *infer, size_t index, enum infer_kind kind, struct span text)
{
    struct infer_column *column = &infer->columns[index];
    if (!begin_value(infer, column)) {
        return false;
    }
    column->kinds[kind]++;
    if (kind == INFER_NESTED) {
        return true;
    }
    if (kind == INFER_NUMBER || infer->texts_only) {
        look_at_number(column, text);
    }
    if (kind == INFER_TEXT) {
        look_at_text(column, text);
        keep_value(column, text);
    }
    keep_hash(infer, column, hash_of(text));
    return true;
}

void infer_observe_null(struct infer *infer, size_t index)
{
    struct infer_column *column = &infer->columns[index];
    if (begin_value(infer, column)) {
        column->nulls++;
    }
}

void infer_observe_typed(struct infer *infer, size_t index, uint64_t hash)
{
    struct infer_column *column = &infer->columns[index];
    if (begin_value(infer, column)) {
        column->kinds[INFER_NUMBER]++;
        keep_hash(infer, column, hash);
    }
}

void infer_end_record(struct infer *infer)
{
    for (size_t i = 0; i < infer->columns_count; i++) {
        infer_observe_null(infer, i); /* where nothing was */
    }
    infer->hashed_records += has_room(infer);
    infer->records++;
}
