#include "storage/columns/encode_json.h"

#include "storage/base/hash.h"
#include "storage/columns/row.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>
#include <math.h>

TestSuite(encode_json, .timeout = 60);

enum { TEXT_MAX = 1 << 20 };

/* The text of one value in a schema of that one field. */
static void expect_value(const char *type, void append(struct column *, const void *),
                         const void *value, const char *expected)
{
    char schema_string[256];
    (void)snprintf(schema_string, sizeof schema_string,
                   "{\"type\":\"struct\",\"fields\":[{\"name\":\"v\",\"type\":\"%s\","
                   "\"nullable\":true,\"metadata\":{}}]}",
                   type);
    CLEANUP(schema_release) struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse_delta(span_of_text(schema_string), NULL, &schema, &err), ERR_OK);
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    append(&frame->columns[0], value);
    frame_end_row(frame, FRAME_UPSERT, 0);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, TEXT_MAX);
    encode_json_value(frame, 0, 0, &text);
    cr_expect(span_equal_text(buffer_span(&text), expected), "%s: %.*s instead of %s", type,
              SPAN_PRINT(buffer_span(&text)), expected);
}

static void append_integer(struct column *column, const void *value)
{
    const int64_t *integer = value;
    if (column->type == COLUMN_BOOLEAN) {
        column_append_u8(column, (uint8_t)*integer);
    } else if (column_type_slot_bytes(column->type) == 4) {
        column_append_i32(column, (int32_t)*integer);
    } else if (column->type == COLUMN_DECIMAL) {
        column_append_i128(column, *integer);
    } else {
        column_append_i64(column, *integer);
    }
}

static void append_real(struct column *column, const void *value)
{
    column_append_f64(column, *(const double *)value);
}

static void append_span(struct column *column, const void *value)
{
    column_append_bytes(column, *(const struct span *)value);
}

Test(encode_json, integers_dates_and_decimals_have_their_forms)
{
    static const struct {
        const char *type;
        int64_t value;
        const char *text;
    } cases[] = {
        {"integer", INT32_MIN, "-2147483648"},
        {"integer", 0, "0"},
        {"long", INT64_MAX, "9223372036854775807"},
        {"long", INT64_MIN, "-9223372036854775808"},
        {"byte", -128, "-128"},
        {"short", 32767, "32767"},
        {"boolean", 1, "true"},
        {"boolean", 0, "false"},
        {"date", 0, "\"1970-01-01\""},
        {"date", 2932896, "\"9999-12-31\""},
        {"date", -719162, "\"0001-01-01\""},
        {"timestamp", 0, "\"1970-01-01T00:00:00Z\""},
        {"timestamp", 1, "\"1970-01-01T00:00:00.000001Z\""},
        {"timestamp", -1, "\"1969-12-31T23:59:59.999999Z\""},
        {"timestamp", 1704096000500000, "\"2024-01-01T08:00:00.500000Z\""},
        {"timestamp", -1000000, "\"1969-12-31T23:59:59Z\""},
        {"timestamp_ntz", 1704096000000000, "\"2024-01-01T08:00:00\""},
        {"timestamp_ntz", 1704096000000001, "\"2024-01-01T08:00:00.000001\""},
        {"decimal(10,3)", 12500, "12.500"},
        {"decimal(10,3)", -1, "-0.001"},
        {"decimal(10,3)", 0, "0.000"},
        {"decimal(10,0)", 42, "42"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_value(cases[i].type, append_integer, &cases[i].value, cases[i].text);
    }
}

Test(encode_json, doubles_are_short_and_exact_and_floats_are_floats)
{
    const struct {
        const char *type;
        double value;
        const char *text;
    } cases[] = {
        {"double", 0.1, "0.1"},
        {"double", 1.0, "1"},
        {"double", -2.5, "-2.5"},
        {"double", 0.1 + 0.2, "0.30000000000000004"},
        {"double", NAN, "\"NaN\""},
        {"double", INFINITY, "\"Infinity\""},
        {"double", -INFINITY, "\"-Infinity\""},
        {"float", (double)0.1F, "0.1"},
        {"float", (double)16777216.0F, "16777216"},
        {"float", (double)3.4028235e38F, "3.4028235e38"},
        {"float", (double)-0.5F, "-0.5"},
        {"float", (double)INFINITY, "\"Infinity\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_value(cases[i].type, append_real, &cases[i].value, cases[i].text);
    }
}

Test(encode_json, only_what_json_demands_is_escaped)
{
    static const struct {
        const char *type;
        const char *bytes;
        size_t size;
        const char *text;
    } cases[] = {
        {"string", "", 0, "\"\""},
        {"string", "plain", 5, "\"plain\""},
        {"string", "Zoë 中 𝄞 \x7f", 15, "\"Zoë 中 𝄞 \x7f\""},
        {"string", "a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\""},
        {"string", "\b\t\n\f\r", 5, "\"\\b\\t\\n\\f\\r\""},
        {"string", "\x00\x01\x1f ", 4, "\"\\u0000\\u0001\\u001f \""},
        {"string", "1234567\"", 8, "\"1234567\\\"\""},
        {"string", "12345678\"", 9, "\"12345678\\\"\""},
        {"string", "\"\"\"", 3, "\"\\\"\\\"\\\"\""},
        {"string",
         "12345678\x1f"
         "abcdefgh\n",
         18, "\"12345678\\u001fabcdefgh\\n\""},
        {"binary", "", 0, "\"\""},
        {"binary", "\xff\x00", 2, "\"/wA=\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span value = span_of(cases[i].bytes, cases[i].size);
        expect_value(cases[i].type, append_span, &value, cases[i].text);
    }
}

/* Every byte that can stand in a string, at every place of a word. */
Test(encode_json, each_character_reads_back_at_each_place)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema("{'schema':{'fields':[{'name':'s','type':'string'}]}}");
    for (unsigned c = 0; c < 0x80; c++) {
        for (size_t place = 0; place < 20; place++) {
            uint8_t value[20];
            memset(value, 'x', sizeof value);
            value[place] = (uint8_t)c;
            CLEANUP(frame_free) struct frame *frame = frame_new(schema);
            column_append_bytes(&frame->columns[0], span_of(value, sizeof value));
            frame_end_row(frame, FRAME_UPSERT, 0);
            CLEANUP(buffer_deinit) struct buffer text;
            buffer_init(&text, TEXT_MAX);
            encode_json_row(frame, 0, NULL, &text);
            CLEANUP(json_free) struct json *json = NULL;
            struct err err = {0};
            cr_assert_eq(json_parse(buffer_span(&text), &json, &err), ERR_OK, "%u at %zu: %s", c,
                         place, err.msg);
            struct span back = {0};
            cr_assert(json_as_string(json_get(json, "s"), &back));
            cr_assert(span_equal(back, span_of(value, sizeof value)), "%u at %zu", c, place);
        }
    }
}

Test(encode_json, a_mask_leaves_columns_out)
{
    CLEANUP(schema_release)
    struct schema *schema =
        kit_schema("{'schema':{'fields':[{'name':'a','type':'long'},{'name':'b','type':'string'},"
                   "{'name':'c','type':'date'}]}}");
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    column_append_i64(&frame->columns[0], 1);
    column_append_bytes(&frame->columns[1], span_of_text("x"));
    column_append_null(&frame->columns[2]);
    frame_end_row(frame, FRAME_UPSERT, 0);
    static const struct {
        bool mask[3];
        const char *text;
    } cases[] = {
        {{true, true, true}, "{\"a\":1,\"b\":\"x\",\"c\":null}"},
        {{false, true, true}, "{\"b\":\"x\",\"c\":null}"},
        {{true, false, false}, "{\"a\":1}"},
        {{false, false, true}, "{\"c\":null}"},
        {{false, false, false}, "{}"},
    };
    CLEANUP(buffer_deinit) struct buffer image;
    buffer_init(&image, TEXT_MAX);
    row_encode(frame, 0, &image);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, TEXT_MAX);
        encode_json_row(frame, 0, cases[i].mask, &text);
        cr_expect(span_equal_text(buffer_span(&text), cases[i].text), "%s", cases[i].text);
        buffer_reset(&text);
        struct err err = {0};
        cr_assert_eq(encode_json_image(buffer_span(&image), schema, cases[i].mask, &text, &err),
                     ERR_OK);
        cr_expect(span_equal_text(buffer_span(&text), cases[i].text), "%s", cases[i].text);
    }
}

Test(encode_json, images_print_as_their_frames_do)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    for (uint64_t seed = 1; seed <= 60; seed++) {
        CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 30, seed);
        for (int64_t row = 0; row < 30; row++) {
            CLEANUP(buffer_deinit) struct buffer image;
            CLEANUP(buffer_deinit) struct buffer from_frame;
            CLEANUP(buffer_deinit) struct buffer from_image;
            buffer_init(&image, TEXT_MAX);
            buffer_init(&from_frame, TEXT_MAX);
            buffer_init(&from_image, TEXT_MAX);
            row_encode(frame, row, &image);
            encode_json_row(frame, row, NULL, &from_frame);
            struct err err = {0};
            cr_assert_eq(encode_json_image(buffer_span(&image), schema, NULL, &from_image, &err),
                         ERR_OK, "%s", err.msg);
            cr_assert(span_equal(buffer_span(&from_frame), buffer_span(&from_image)),
                      "seed %lu row %ld", seed, row);
            CLEANUP(json_free) struct json *json = NULL;
            cr_assert_eq(json_parse(buffer_span(&from_image), &json, &err), ERR_OK, "%s", err.msg);
            cr_assert_eq(json_count(json), schema->fields_count);
        }
    }
}

Test(encode_json, a_corrupt_image_leaves_the_text_as_it_was)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 1, 5);
    CLEANUP(buffer_deinit) struct buffer image;
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&image, TEXT_MAX);
    buffer_init(&text, TEXT_MAX);
    row_encode(frame, 0, &image);
    CLEANUP(schema_release)
    struct schema *other = kit_schema("{'schema':{'fields':[{'name':'s','type':'binary'}]}}");
    buffer_append_text(&text, "[");
    struct err err = {0};
    cr_expect_eq(encode_json_image(buffer_span(&image), other, NULL, &text, &err), ERR_CORRUPT);
    image.data[image.size - 1] ^= 1;
    cr_expect_eq(encode_json_image(buffer_span(&image), schema, NULL, &text, &err), ERR_CORRUPT);
    cr_expect(span_equal_text(buffer_span(&text), "["));

    /* the fault comes after a value that was written already */
    CLEANUP(schema_release)
    struct schema *two = kit_schema(
        "{'schema':{'fields':[{'name':'a','type':'binary'},{'name':'b','type':'boolean'}]}}");
    uint8_t late[] = {0, 0, 0, 0, 0x10 | COLUMN_BINARY, 1, 'x', 0x10 | COLUMN_BOOLEAN, 2};
    uint32_t checksum = (uint32_t)hash_checksum(span_of(late + 4, sizeof late - 4));
    memcpy(late, &checksum, sizeof checksum);
    cr_expect_eq(encode_json_image(span_of(late, sizeof late), two, NULL, &text, &err),
                 ERR_CORRUPT);
    cr_expect(span_equal_text(buffer_span(&text), "["));
}

Test(encode_json, a_full_buffer_is_said_not_cut)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 1, 7);
    CLEANUP(buffer_deinit) struct buffer whole;
    buffer_init(&whole, TEXT_MAX);
    encode_json_row(frame, 0, NULL, &whole);
    for (size_t size_max = 0; size_max < whole.size; size_max++) {
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, size_max);
        encode_json_row(frame, 0, NULL, &text);
        cr_expect(text.overflowed, "ceiling %zu of %zu", size_max, whole.size);
    }
}
