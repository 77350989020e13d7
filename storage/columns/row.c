/*
 * Row images. See row.h for the layout and the contracts.
 */
#include "storage/columns/row.h"

#include "storage/base/hash.h"
#include "storage/base/text.h"
#include "storage/columns/frame_parts.h"
#include "storage/columns/packed.h"
#include "storage/columns/widen.h"

#include <assert.h>

enum {
    CHECKSUM_BYTES = 4,
    TYPE_BITS = 4,
    TYPE_MASK = (1 << TYPE_BITS) - 1,
    STEP_LONG = 15,        /* the step follows as varint */
    TAG_BYTES_MAX = 1 + 5, /* tag and a step of 32 bits */
    FIXED_BYTES_MAX = 17,  /* the longest content that is not string or binary: decimal */
    LENGTH_BYTES_MAX = 5,  /* varint of 32 bits */
    INT64_VARINT_BYTES = 10,
    STEP_OF_ELEMENT = 1, /* in an array or map */
};
_Static_assert(COLUMN_TYPE_COUNT <= TYPE_MASK + 1, "a type fits its bits of the tag");
_Static_assert((int)INT64_VARINT_BYTES <= (int)FIXED_BYTES_MAX, "the bound covers integers");

static uint32_t checksum_of(struct span values)
{
    return (uint32_t)hash_checksum(values);
}

/* ---- encoding: room for the whole image is taken first, then written through ------- */

static uint8_t *put_varint(uint8_t *out, uint64_t value)
{
    while (value >= 0x80) {
        *out++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

static uint8_t *put_zigzag(uint8_t *out, int64_t value)
{
    return put_varint(out, (uint64_t)value << 1 ^ (0 - ((uint64_t)value >> 63)));
}

static uint8_t *put_tag(uint8_t *out, int32_t step, enum column_type type)
{
    assert(step > 0);
    if (step < STEP_LONG) {
        *out++ = (uint8_t)(step << TYPE_BITS | (int)type);
        return out;
    }
    *out++ = (uint8_t)(STEP_LONG << TYPE_BITS | (int)type);
    return put_varint(out, (uint64_t)step);
}

static uint8_t *put_nested(uint8_t *out, const struct column *column, int64_t row);

static uint8_t *put_content(uint8_t *out, const struct column *column, int64_t row)
{
    switch (column->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY: {
        struct span bytes = column_bytes(column, row);
        out = put_varint(out, bytes.size);
        column_copy_text(out, bytes.data, bytes.size);
        return out + bytes.size;
    }
    case COLUMN_INTEGER:
    case COLUMN_DATE:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        return put_zigzag(out, column->values.i32[row]);
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        return put_zigzag(out, column->values.i64[row]);
    case COLUMN_BOOLEAN:
        *out = column->values.u8[row];
        return out + 1;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        memcpy(out, &column->values.f64[row], sizeof(double));
        return out + sizeof(double);
    case COLUMN_DECIMAL: {
        __int128 value = column->values.i128[row];
        unsigned size = packed_integer_bytes(value);
        *out++ = (uint8_t)size;
        memcpy(out, &value, size);
        return out + size;
    }
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
        return put_nested(out, column, row);
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(false && "a type of the enum");
    return out;
}

static uint8_t *put_fields(uint8_t *out, const struct column *column, int64_t row)
{
    int32_t id_before = 0;
    for (size_t i = 0; i < column->children_count; i++) {
        const struct column *child = &column->children[i];
        if (column_is_valid(child, row)) {
            int32_t id = (int32_t)i + 1;
            out = put_tag(out, id - id_before, child->type);
            out = put_content(out, child, row);
            id_before = id;
        }
    }
    return out;
}

static uint8_t *put_element(uint8_t *out, const struct column *column, int64_t row)
{
    if (!column_is_valid(column, row)) {
        *out = 0;
        return out + 1;
    }
    out = put_tag(out, STEP_OF_ELEMENT, column->type);
    return put_content(out, column, row);
}

static uint8_t *put_elements(uint8_t *out, const struct column *column, int64_t row)
{
    struct column_stretch elements = column_elements(column, row);
    out = put_varint(out, (uint64_t)(elements.end - elements.start));
    for (int64_t at = elements.start; at < elements.end; at++) {
        for (size_t i = 0; i < column->children_count; i++) {
            out = put_element(out, &column->children[i], at);
        }
    }
    return out;
}

/* The length is known when the parts are written: they are moved up to it. */
static uint8_t *put_nested(uint8_t *out, const struct column *column, int64_t row)
{
    uint8_t *parts = out + LENGTH_BYTES_MAX;
    uint8_t *end = column->type == COLUMN_STRUCT ? put_fields(parts, column, row)
                                                 : put_elements(parts, column, row);
    size_t size = (size_t)(end - parts);
    out = put_varint(out, size);
    memmove(out, parts, size);
    return out + size;
}

static size_t value_bytes_max(const struct column *column, int64_t row);

/* Recursion is bounded by SCHEMA_DEPTH_MAX, here and in the functions before and below. */
static size_t nested_bytes_max(const struct column *column, int64_t row)
{
    struct column_stretch rows = {.start = row, .end = row + 1};
    if (column->type != COLUMN_STRUCT) {
        rows = column_elements(column, row);
    }
    size_t total = 2 * LENGTH_BYTES_MAX; /* and the count */
    for (size_t i = 0; i < column->children_count; i++) {
        for (int64_t at = rows.start; at < rows.end; at++) {
            total += value_bytes_max(&column->children[i], at);
        }
    }
    return total;
}

static size_t value_bytes_max(const struct column *column, int64_t row)
{
    if (!column_is_valid(column, row)) {
        return 1; /* nothing, but of elements */
    }
    if (column_has_bytes(column)) {
        return TAG_BYTES_MAX + LENGTH_BYTES_MAX + column_bytes(column, row).size;
    }
    return TAG_BYTES_MAX +
           (column_type_is_nested(column->type) ? nested_bytes_max(column, row) : FIXED_BYTES_MAX);
}

/* An upper bound of the image's size. */
static size_t image_bytes_max(const struct frame *frame, int64_t row)
{
    size_t total = CHECKSUM_BYTES;
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        total += value_bytes_max(&frame->columns[i], row);
    }
    return total;
}

void row_encode(const struct frame *frame, int64_t row, struct buffer *image)
{
    assert(row >= 0);
    assert(row < frame->rows_count);
    uint8_t *start = buffer_reserve(image, image_bytes_max(frame, row));
    if (start == NULL) {
        return;
    }
    uint8_t *values = start + CHECKSUM_BYTES;
    uint8_t *out = values;
    int32_t id_before = 0;
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        const struct column *column = &frame->columns[i];
        if (column_is_valid(column, row)) {
            int32_t id = frame->schema->fields[i].id;
            out = put_tag(out, id - id_before, column->type);
            out = put_content(out, column, row);
            id_before = id;
        }
    }
    uint32_t checksum = checksum_of(span_of(values, (size_t)(out - values)));
    memcpy(start, &checksum, sizeof checksum);
    buffer_advance(image, (size_t)(out - start));
}

/* ---- reading ------------------------------------------------------------------------ */

enum err_code row_reader_init(struct row_reader *reader, struct span image, struct err *err)
{
    assert(image.data != NULL || image.size == 0);
    struct cursor cursor = cursor_of(image);
    uint32_t checksum = cursor_u32(&cursor);
    if (cursor.failed || checksum != checksum_of(span_of(image.data + CHECKSUM_BYTES,
                                                         image.size - CHECKSUM_BYTES))) {
        return err_set(err, ERR_CORRUPT, "row image of %zu bytes does not have its checksum",
                       image.size);
    }
    *reader = (struct row_reader){.cursor = cursor};
    return ERR_OK;
}

static int64_t integer_max(enum column_type type)
{
    switch (type) {
    case COLUMN_BYTE:
        return INT8_MAX;
    case COLUMN_SHORT:
        return INT16_MAX;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
        return INT32_MAX;
    default:
        return INT64_MAX;
    }
}

static void read_integer(struct cursor *cursor, struct row_value *value)
{
    uint64_t zigzag = cursor_varint(cursor);
    value->integer = (int64_t)(zigzag >> 1 ^ (0 - (zigzag & 1)));
    int64_t high = integer_max(value->type);
    if (value->integer > high || value->integer < -high - 1) {
        cursor_fail(cursor);
    }
}

static void read_boolean(struct cursor *cursor, struct row_value *value)
{
    value->integer = cursor_u8(cursor);
    if (value->integer > 1) {
        cursor_fail(cursor);
    }
}

static void read_decimal(struct cursor *cursor, struct row_value *value)
{
    size_t size = cursor_u8(cursor);
    if (size > sizeof value->decimal) {
        cursor_fail(cursor);
        return;
    }
    value->decimal = packed_integer_load(cursor_bytes(cursor, size));
}

static void read_content(struct cursor *cursor, struct row_value *value)
{
    switch (value->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
        value->bytes = cursor_bytes(cursor, (size_t)cursor_varint(cursor));
        return;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        read_integer(cursor, value);
        return;
    case COLUMN_BOOLEAN:
        read_boolean(cursor, value);
        return;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT: {
        uint64_t bits = cursor_u64(cursor);
        memcpy(&value->real, &bits, sizeof bits);
        return;
    }
    case COLUMN_DECIMAL:
        read_decimal(cursor, value);
        return;
    case COLUMN_TYPE_COUNT:
        break;
    }
    cursor_fail(cursor); /* the tag names no type */
}

bool row_reader_next(struct row_reader *reader, struct row_value *value_out)
{
    struct cursor *cursor = &reader->cursor;
    if (cursor_left(cursor) == 0) {
        return false;
    }
    uint8_t tag = cursor_u8(cursor);
    uint64_t step = tag >> TYPE_BITS;
    if (step == STEP_LONG) {
        step = cursor_varint(cursor);
    }
    if (step == 0 || step > (uint64_t)(INT32_MAX - reader->field_id)) {
        cursor_fail(cursor);
        return false;
    }
    reader->field_id += (int32_t)step;
    value_out->field_id = reader->field_id;
    value_out->type = (enum column_type)(tag & TYPE_MASK);
    read_content(cursor, value_out);
    return !cursor->failed;
}

enum err_code row_reader_check(const struct row_reader *reader, struct err *err)
{
    return cursor_check(&reader->cursor, "row image", err);
}

/* ---- nested values ---- */

struct row_reader row_fields_of(const struct row_value *value)
{
    assert(value->type == COLUMN_STRUCT);
    return (struct row_reader){.cursor = cursor_of(value->bytes)};
}

struct row_elements row_elements_of(const struct row_value *value)
{
    struct row_elements elements = {.cursor = cursor_of(value->bytes)};
    elements.left = cursor_varint(&elements.cursor);
    if (elements.left > value->bytes.size) { /* each has a byte */
        cursor_fail(&elements.cursor);
    }
    elements.left *= value->type == COLUMN_MAP ? 2 : 1;
    return elements;
}

bool row_elements_next(struct row_elements *elements, struct row_value *value_out)
{
    struct cursor *cursor = &elements->cursor;
    if (elements->left == 0 || cursor->failed) {
        return false;
    }
    elements->left--;
    uint8_t tag = cursor_u8(cursor);
    *value_out = (struct row_value){.field_id = STEP_OF_ELEMENT, .type = COLUMN_TYPE_COUNT};
    if (tag == 0) {
        return !cursor->failed;
    }
    if (tag >> TYPE_BITS != STEP_OF_ELEMENT) {
        cursor_fail(cursor);
        return false;
    }
    value_out->type = (enum column_type)(tag & TYPE_MASK);
    read_content(cursor, value_out);
    return !cursor->failed;
}

bool row_elements_check(const struct row_elements *elements)
{
    return !elements->cursor.failed && elements->left == 0 && cursor_left(&elements->cursor) == 0;
}

static bool part_fits(const struct row_value *value, const struct field *field);

/* Recursion is bounded by SCHEMA_DEPTH_MAX here and below: the fields are walked along. */
static bool fields_fit(const struct row_value *value, const struct field *field)
{
    struct row_reader reader = row_fields_of(value);
    struct row_value part;
    while (row_reader_next(&reader, &part)) {
        size_t child = (size_t)part.field_id - 1;
        /* those beyond were added after this schema's version */
        if (child < field->children_count && !part_fits(&part, &field->children[child])) {
            return false;
        }
    }
    return !reader.cursor.failed;
}

static bool elements_fit(const struct row_value *value, const struct field *field)
{
    struct row_elements elements = row_elements_of(value);
    struct row_value part;
    for (size_t i = 0; row_elements_next(&elements, &part); i++) {
        size_t child = i % field->children_count; /* key, value, key, … */
        bool is_key = field->type == COLUMN_MAP && child == 0;
        bool is_null = part.type == COLUMN_TYPE_COUNT;
        if (is_null ? is_key : !part_fits(&part, &field->children[child])) {
            return false;
        }
    }
    return row_elements_check(&elements);
}

bool row_value_fits(const struct row_value *value, const struct field *field)
{
    return value->type != field->type ? row_value_widens(value, field) : part_fits(value, field);
}

/* Types within nested columns do not change. */
static bool part_fits(const struct row_value *value, const struct field *field)
{
    if (value->type != field->type) {
        return false;
    }
    if (column_type_is_nested(field->type)) {
        return field->type == COLUMN_STRUCT ? fields_fit(value, field) : elements_fit(value, field);
    }
    if (field->type == COLUMN_DECIMAL) {
        __int128 limit = 1;
        for (int i = 0; i < field->precision; i++) {
            limit *= 10;
        }
        return value->decimal < limit && value->decimal > -limit;
    }
    size_t bad = 0;
    return field->type != COLUMN_STRING || text_is_utf8(value->bytes, &bad);
}

/* ---- into a frame --------------------------------------------------------------------- */

/* Recursion is bounded by SCHEMA_DEPTH_MAX here and below. */
static void append_fields(struct column *column, const struct row_value *value)
{
    struct row_reader reader = row_fields_of(value);
    struct row_value part;
    bool have = row_reader_next(&reader, &part);
    for (size_t i = 0; i < column->children_count; i++) {
        if (!have || (size_t)part.field_id != i + 1) {
            column_append_null(&column->children[i]);
            continue;
        }
        row_value_append(&column->children[i], &part);
        have = row_reader_next(&reader, &part);
    }
    column_append_nested(column);
}

static void append_elements(struct column *column, const struct row_value *value)
{
    struct row_elements elements = row_elements_of(value);
    struct row_value part;
    for (size_t i = 0; row_elements_next(&elements, &part); i++) {
        struct column *child = &column->children[i % column->children_count];
        if (part.type == COLUMN_TYPE_COUNT) {
            column_append_null(child);
        } else {
            row_value_append(child, &part);
        }
    }
    column_append_nested(column);
}

void row_value_append(struct column *column, const struct row_value *value)
{
    assert(column->type == value->type);
    switch (column->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        column_append_bytes(column, value->bytes);
        return;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        column_append_i32(column, (int32_t)value->integer);
        return;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        column_append_i64(column, value->integer);
        return;
    case COLUMN_BOOLEAN:
        column_append_u8(column, (uint8_t)value->integer);
        return;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        column_append_f64(column, value->real);
        return;
    case COLUMN_DECIMAL:
        column_append_i128(column, value->decimal);
        return;
    case COLUMN_STRUCT:
        append_fields(column, value);
        return;
    case COLUMN_ARRAY:
    case COLUMN_MAP:
        append_elements(column, value);
        return;
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(false && "a type of the enum");
}

/* Appends the values in field order, nulls between them; the row may be half built on failure. */
static enum err_code append_values(struct row_reader *reader, struct frame *target, struct err *err)
{
    struct row_value value = {0};
    bool have = row_reader_next(reader, &value);
    for (size_t i = 0; i < target->schema->fields_count; i++) {
        const struct field *field = &target->schema->fields[i];
        while (have && value.field_id < field->id) { /* of a field that was dropped since */
            have = row_reader_next(reader, &value);
        }
        if (!have || value.field_id != field->id) {
            column_append_null(&target->columns[i]);
            continue;
        }
        if (!row_value_fits(&value, field)) {
            return err_set(err, ERR_CORRUPT, "row image holds no %s in field '%s'",
                           column_type_name(field->type), field->name);
        }
        const struct row_value widened = row_value_widened(&value, field);
        row_value_append(&target->columns[i], &widened);
        have = row_reader_next(reader, &value);
    }
    while (have) {
        have = row_reader_next(reader, &value); /* fields added after this schema's version */
    }
    return row_reader_check(reader, err);
}

enum err_code row_decode_into(struct span image, struct frame *target, struct err *err)
{
    struct row_reader reader;
    TRY(row_reader_init(&reader, image, err));
    enum err_code code = append_values(&reader, target, err);
    if (code != ERR_OK) {
        frame_undo_row(target);
        return code;
    }
    frame_end_row(target, FRAME_UPSERT, 0);
    return ERR_OK;
}
