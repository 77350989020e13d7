#include "tests/unit/storage/columns/columns_kit.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <criterion/criterion.h>

struct json *kit_json(const char *text)
{
    CLEANUP(mem_cleanup) char *quoted = mem_copy_text(text);
    for (char *c = quoted; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    struct json *json = NULL;
    struct err err = {0};
    enum err_code code = json_parse(span_of_text(quoted), &json, &err);
    cr_assert_eq(code, ERR_OK, "%s: %s", text, err.msg);
    return json;
}

enum err_code kit_schema_try(const char *definition, struct err *err)
{
    CLEANUP(json_free) struct json *json = kit_json(definition);
    CLEANUP(schema_release) struct schema *schema = NULL;
    return schema_parse(json, &schema, err);
}

struct schema *kit_schema(const char *definition)
{
    CLEANUP(json_free) struct json *json = kit_json(definition);
    struct schema *schema = NULL;
    struct err err = {0};
    enum err_code code = schema_parse(json, &schema, &err);
    cr_assert_eq(code, ERR_OK, "%s: %s", definition, err.msg);
    return schema;
}

struct schema *kit_schema_of_all_types(void)
{
    static const char *const types[] = {
        "string", "integer",       "long",          "double", "boolean", "date",  "timestamp",
        "binary", "decimal(10,3)", "decimal(38,0)", "byte",   "short",   "float", "timestamp_ntz"};
    struct buffer text;
    buffer_init(&text, 1 << 16);
    buffer_append_text(&text, "{\"type\":\"struct\",\"fields\":[");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        buffer_append_format(&text,
                             "%s{\"name\":\"c%zu\",\"type\":\"%s\",\"nullable\":true,"
                             "\"metadata\":{}}",
                             i > 0 ? "," : "", i, types[i]);
    }
    buffer_append_text(&text, "]}");
    struct schema *schema = NULL;
    struct err err = {0};
    enum err_code code = schema_parse_delta(buffer_span(&text), NULL, &schema, &err);
    buffer_deinit(&text);
    cr_assert_eq(code, ERR_OK, "%s", err.msg);
    return schema;
}

uint64_t kit_random(uint64_t *state)
{
    uint64_t x = *state == 0 ? 1 : *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

/* Characters of one to four bytes, and those that JSON must escape. */
static void append_random_text(struct column *column, bool plain, uint64_t *state)
{
    static const char *const pieces[] = {"a",  "Z", "7", "\"", "\\", "\n", "\x01", " ", ",",
                                         "\r", "é", "ß", "中", "€",  "𝄞",  "é",    "x", "-"};
    uint8_t text[64];
    size_t size = 0;
    size_t count = kit_random(state) % 14;
    for (size_t i = 0; i < count; i++) {
        const char *piece = pieces[kit_random(state) % (sizeof pieces / sizeof pieces[0])];
        memcpy(text + size, piece, strlen(piece));
        size += strlen(piece);
    }
    if (kit_random(state) % 8 == 0 && !plain) {
        text[size++] = 0;
    }
    column_append_bytes(column, span_of(text, size));
}

/* Small, large or at an end, so that every packed width occurs. */
static int64_t random_integer(uint64_t *state, int64_t high)
{
    uint64_t value = kit_random(state);
    switch (kit_random(state) % 6) {
    case 0:
        return high;
    case 1:
        return -high - 1;
    case 2:
        return (int64_t)(value % 3) - 1;
    case 3:
        return (int64_t)(value % 100);
    default:
        return high == INT64_MAX ? (int64_t)value
                                 : (int64_t)(value % (2 * (uint64_t)high + 2)) - high - 1;
    }
}

static __int128 random_decimal(uint64_t *state, int precision)
{
    __int128 limit = 1;
    for (int i = 0; i < precision; i++) {
        limit *= 10;
    }
    unsigned __int128 value = (unsigned __int128)kit_random(state) << 64 | kit_random(state);
    if (kit_random(state) % 3 == 0) {
        value &= UINT16_MAX;
    }
    __int128 magnitude = (__int128)(value % (unsigned __int128)limit);
    return kit_random(state) % 2 == 0 ? magnitude : -magnitude;
}

/* Within the years 0001 to 9999. */
static int64_t random_time(uint64_t *state, enum column_type type)
{
    const int64_t first = text_days_of(1, 1, 1);
    const int64_t last = text_days_of(9999, 12, 31);
    int64_t day = first + (int64_t)(kit_random(state) % (uint64_t)(last - first + 1));
    if (type == COLUMN_DATE) {
        return day;
    }
    const int64_t day_us = INT64_C(86400000000);
    uint64_t within = kit_random(state) % (uint64_t)day_us;
    return day * day_us +
           (int64_t)(kit_random(state) % 2 == 0 ? within : within / 1000000 * 1000000);
}

/* plain: no NUL in texts, no year outside of 0001 to 9999 */
static void append_random_value(const struct field *field, struct column *column, bool plain,
                                uint64_t *state)
{
    if (plain && field->type == COLUMN_DATE) {
        column_append_i32(column, (int32_t)random_time(state, field->type));
        return;
    }
    if (plain && (field->type == COLUMN_TIMESTAMP || field->type == COLUMN_TIMESTAMP_NTZ)) {
        column_append_i64(column, random_time(state, field->type));
        return;
    }
    switch (field->type) {
    case COLUMN_STRING:
        append_random_text(column, plain, state);
        break;
    case COLUMN_BINARY: {
        uint64_t bytes = kit_random(state);
        column_append_bytes(column, span_of(&bytes, kit_random(state) % 9));
        break;
    }
    case COLUMN_BYTE:
        column_append_i32(column, (int32_t)random_integer(state, INT8_MAX));
        break;
    case COLUMN_SHORT:
        column_append_i32(column, (int32_t)random_integer(state, INT16_MAX));
        break;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
        column_append_i32(column, (int32_t)random_integer(state, INT32_MAX));
        break;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        column_append_i64(column, random_integer(state, INT64_MAX));
        break;
    case COLUMN_BOOLEAN:
        column_append_u8(column, kit_random(state) % 2);
        break;
    case COLUMN_DOUBLE:
        column_append_f64(column, (double)random_integer(state, INT64_MAX) / 1024);
        break;
    case COLUMN_FLOAT:
        column_append_f64(column, (float)random_integer(state, INT32_MAX) / 8);
        break;
    case COLUMN_DECIMAL:
        column_append_i128(column, random_decimal(state, field->precision));
        break;
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        cr_assert_fail("a type of the enum");
    }
}

struct frame *kit_random_frame(const struct schema *schema, int64_t rows, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
    struct frame *frame = frame_new(schema);
    bool operations = kit_random(&state) % 2 == 0;
    bool lines = kit_random(&state) % 2 == 0;
    bool nulls = kit_random(&state) % 4 != 0;
    for (int64_t row = 0; row < rows; row++) {
        enum frame_operation operation = operations ? kit_random(&state) % 4 : FRAME_UPSERT;
        for (size_t i = 0; i < schema->fields_count; i++) {
            uint64_t dice = kit_random(&state) % 10;
            bool nullable = schema->fields[i].nullable && nulls;
            if (nullable && dice == 0) {
                column_append_null(&frame->columns[i]);
            } else if (nullable && dice == 1 && operation == FRAME_PATCH) {
                column_append_absent(&frame->columns[i]);
            } else {
                append_random_value(&schema->fields[i], &frame->columns[i], false, &state);
            }
        }
        frame_end_row(frame, operation, lines ? row * 3 + 1 : 0);
    }
    frame_check(frame);
    return frame;
}

struct frame *kit_random_rows(const struct schema *schema, int64_t rows, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
    struct frame *frame = frame_new(schema);
    for (int64_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < schema->fields_count; i++) {
            if (schema->fields[i].nullable && kit_random(&state) % 6 == 0) {
                column_append_null(&frame->columns[i]);
            } else {
                append_random_value(&schema->fields[i], &frame->columns[i], true, &state);
            }
        }
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    frame_check(frame);
    return frame;
}

bool kit_values_equal(const struct column *a, int64_t row_a, const struct column *b, int64_t row_b)
{
    if (column_is_valid(a, row_a) != column_is_valid(b, row_b) ||
        column_is_present(a, row_a) != column_is_present(b, row_b)) {
        return false;
    }
    size_t size = column_type_slot_bytes(a->type);
    if (size == 0) {
        return span_equal(column_bytes(a, row_a), column_bytes(b, row_b));
    }
    return memcmp((const uint8_t *)a->values.slots + (size_t)row_a * size,
                  (const uint8_t *)b->values.slots + (size_t)row_b * size, size) == 0;
}

bool kit_frames_equal(const struct frame *a, const struct frame *b)
{
    if (a->rows_count != b->rows_count) {
        return false;
    }
    for (int64_t row = 0; row < a->rows_count; row++) {
        if (frame_operation_at(a, row) != frame_operation_at(b, row) ||
            (a->lines == NULL ? 0 : a->lines[row]) != (b->lines == NULL ? 0 : b->lines[row])) {
            return false;
        }
        for (size_t i = 0; i < a->schema->fields_count; i++) {
            if (!kit_values_equal(&a->columns[i], row, &b->columns[i], row)) {
                return false;
            }
        }
    }
    return true;
}
