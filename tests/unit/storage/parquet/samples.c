/*
 * Made-up schemas and frames. See samples.h.
 */
#include "tests/unit/storage/parquet/samples.h"

#include "storage/base/buffer.h"
#include "storage/base/err.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct schema *sample_schema(const char *fields)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "{\"type\":\"struct\",\"fields\":[");
    const char *at = fields;
    while (*at != '\0') {
        size_t size = strcspn(at, " ");
        const char *colon = memchr(at, ':', size);
        assert(colon != NULL);
        buffer_append_format(&text,
                             "%s{\"name\":\"%.*s\",\"type\":\"%.*s\",\"nullable\":true,"
                             "\"metadata\":{}}",
                             at == fields ? "" : ",", (int)(colon - at), at,
                             (int)(at + size - colon - 1), colon + 1);
        at += size;
        at += strspn(at, " ");
    }
    buffer_append_text(&text, "]}");
    struct schema *schema = NULL;
    struct err err = {0};
    enum err_code code = schema_parse_delta(buffer_span(&text), NULL, &schema, &err);
    if (code != ERR_OK) {
        (void)fprintf(stderr, "sample schema: %s\n",
                      err.msg); /* the assertion below ends the test */
    }
    assert(code == ERR_OK);
    return schema;
}

uint64_t sample_random(uint64_t seed, uint64_t index)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + index * UINT64_C(0xbf58476d1ce4e5b9) + 1;
    x ^= x >> 31;
    x *= UINT64_C(0x94d049bb133111eb);
    x ^= x >> 29;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

static void append_text(struct column *column, uint64_t value, int bytes, bool is_text)
{
    char text[4096];
    int length = snprintf(text, sizeof text, "v%llu-", (unsigned long long)value % 100000000);
    while (length < bytes && length < (int)sizeof text - 8) {
        /* some characters of two and three bytes among the letters */
        const char *piece = !is_text          ? "\xff"
                            : value % 7 == 0  ? "é"
                            : value % 11 == 0 ? "水"
                                              : "ab";
        size_t size = strlen(piece);
        memcpy(text + length, piece, size);
        length += (int)size;
    }
    column_append_bytes(column, span_of(text, value % 13 == 0 ? 0 : (size_t)length));
}

static __int128 power_of_ten(int exponent)
{
    __int128 power = 1;
    for (int i = 0; i < exponent; i++) {
        power *= 10;
    }
    return power;
}

static void append_value(struct column *column, const struct field *field, uint64_t value,
                         int text_bytes)
{
    switch (column->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        append_text(column, value, text_bytes > 0 ? text_bytes : 12, column->type == COLUMN_STRING);
        break;
    case COLUMN_INTEGER:
        column_append_i32(column, (int32_t)value);
        break;
    case COLUMN_DATE:
        column_append_i32(column, (int32_t)(value % 40000));
        break;
    case COLUMN_BYTE:
        column_append_i32(column, (int8_t)value);
        break;
    case COLUMN_SHORT:
        column_append_i32(column, (int16_t)value);
        break;
    case COLUMN_LONG:
        column_append_i64(column, (int64_t)value);
        break;
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        column_append_i64(column, (int64_t)(value % UINT64_C(4000000000000000)));
        break;
    case COLUMN_DOUBLE:
        column_append_f64(column, (double)(int64_t)value / 1024);
        break;
    case COLUMN_FLOAT:
        column_append_f64(column, (double)(float)(int32_t)value);
        break;
    case COLUMN_BOOLEAN:
        column_append_u8(column, value & 1);
        break;
    case COLUMN_DECIMAL: {
        __int128 wide = (__int128)(value >> 1) * (__int128)(sample_random(value, 1) >> 1);
        wide %= power_of_ten(field->precision);
        column_append_i128(column, (value & 1) != 0 ? -wide : wide);
        break;
    }
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        assert(false && "a type");
        break;
    }
}

struct frame *sample_frame(const struct schema *schema, const struct sample *sample)
{
    struct frame *frame = frame_new(schema);
    for (int64_t row = 0; row < sample->rows_count; row++) {
        for (size_t i = 0; i < schema->fields_count; i++) {
            uint64_t value = sample_random(sample->seed + i, (uint64_t)row);
            if ((int)(value % 1000) < sample->nulls_permille) {
                column_append_null(&frame->columns[i]);
                continue;
            }
            value = sample_random(sample->seed + i,
                                  sample->distinct > 0 ? value % sample->distinct : value);
            append_value(&frame->columns[i], &schema->fields[i], value, sample->text_bytes);
        }
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    return frame;
}

static bool values_equal(const struct column *a, int64_t a_row, const struct column *b,
                         int64_t b_row)
{
    if (column_is_valid(a, a_row) != column_is_valid(b, b_row)) {
        return false;
    }
    size_t size = column_type_slot_bytes(a->type);
    if (size == 0) {
        return span_equal(column_bytes(a, a_row), column_bytes(b, b_row));
    }
    /* null slots are zero, so that they may be compared too */
    return memcmp((const uint8_t *)a->values.slots + (size_t)a_row * size,
                  (const uint8_t *)b->values.slots + (size_t)b_row * size, size) == 0;
}

bool sample_columns_equal(const struct column *a, int64_t a_row, const struct column *b,
                          int64_t b_row, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (!values_equal(a, a_row + i, b, b_row + i)) {
            return false;
        }
    }
    return true;
}
