/*
 * Nested fields and columns: schemas of struct, array and map, rows copied and
 * undone, and their JSON.
 */
#include "storage/base/hash.h"
#include "storage/columns/encode_json.h"
#include "storage/columns/frame.h"
#include "storage/columns/row.h"

#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(nested, .timeout = 60);

enum { TEXT_BYTES_MAX = 16 << 20 };

#define STRUCT_OF(fields) "{\"type\":\"struct\",\"fields\":[" fields "]}"
#define FIELD_OF(name, type)                                                                       \
    "{\"name\":\"" name "\",\"type\":" type ",\"nullable\":true,\"metadata\":{}}"
#define ARRAY_OF(type) "{\"type\":\"array\",\"elementType\":" type ",\"containsNull\":true}"
#define MAP_OF(key, value)                                                                         \
    "{\"type\":\"map\",\"keyType\":" key ",\"valueType\":" value ",\"valueContainsNull\":false}"

static const char wide[] = STRUCT_OF(FIELD_OF("id", "\"long\"") "," FIELD_OF(
    "person",
    STRUCT_OF(FIELD_OF("name", "\"string\"") "," FIELD_OF(
        "tags",
        MAP_OF(
            "\"integer\"",
            ARRAY_OF(
                "\"decimal(10,2)\""))))) "," FIELD_OF("visits",
                                                      ARRAY_OF(STRUCT_OF(
                                                          FIELD_OF("at", "\"timestamp\"") "," FIELD_OF(
                                                              "notes", ARRAY_OF("\"string\""))))));

static struct schema *parse(const char *text)
{
    struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse_delta(span_of_text(text), NULL, &schema, &err), ERR_OK, "%s",
                 err.msg);
    return schema;
}

Test(nested, schema_reads_back_what_it_writes)
{
    CLEANUP(schema_release) struct schema *schema = parse(wide);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, TEXT_BYTES_MAX);
    schema_write_delta(schema, &text);
    buffer_append_byte(&text, 0);
    cr_expect_str_eq((const char *)text.data, wide);
    cr_expect_eq(schema->fields[1].children[1].children[0].type, COLUMN_INTEGER);
    cr_expect_not(schema->fields[1].children[1].children[0].nullable);
    cr_expect_not(schema->fields[1].children[1].children[1].nullable);
    cr_expect_eq(schema->fields[1].children[1].id, 2);
}

Test(nested, schemas_that_are_refused)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *message;
    } cases[] = {
        {STRUCT_OF(FIELD_OF("x", "{\"type\":\"struct\",\"fields\":[]}")), ERR_UNSUPPORTED,
         "struct 'x' has 0 fields"},
        {STRUCT_OF(FIELD_OF("x", "{\"type\":\"struct\"}")), ERR_CORRUPT, "has no fields"},
        {STRUCT_OF(FIELD_OF("x", "{\"type\":\"array\",\"elementType\":\"long\"}")), ERR_CORRUPT,
         "does not say containsNull"},
        {STRUCT_OF(FIELD_OF("x", "{\"type\":\"array\",\"containsNull\":true}")), ERR_CORRUPT,
         "field 'element' has no type"},
        {STRUCT_OF(FIELD_OF("x", "{\"type\":\"map\",\"keyType\":\"long\",\"valueType\":\"long\"}")),
         ERR_CORRUPT, "does not say valueContainsNull"},
        {STRUCT_OF(FIELD_OF("x", "{\"type\":\"heap\"}")), ERR_UNSUPPORTED, "a nested 'heap'"},
        {STRUCT_OF(FIELD_OF("x", "\"struct\"")), ERR_UNSUPPORTED, "has the type 'struct'"},
        {STRUCT_OF(
             FIELD_OF("x", STRUCT_OF(FIELD_OF("a", "\"long\"") "," FIELD_OF("A", "\"long\"")))),
         ERR_CORRUPT, "field 'A' occurs twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct schema *schema = NULL;
        struct err err = {0};
        cr_expect_eq(schema_parse_delta(span_of_text(cases[i].text), NULL, &schema, &err),
                     cases[i].code, "%s: %s", cases[i].text, err.msg);
        cr_expect_not_null(strstr(err.msg, cases[i].message), "%s", err.msg);
    }
}

Test(nested, names_of_a_file_may_differ_in_case_alone)
{
    static const char both[] = STRUCT_OF(FIELD_OF("a", "\"long\"") "," FIELD_OF("A", "\"long\""));
    static const char twice[] = STRUCT_OF(FIELD_OF("a", "\"long\"") "," FIELD_OF("a", "\"date\""));
    CLEANUP(schema_release) struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse_delta_file(span_of_text(both), &schema, &err), ERR_OK);
    cr_expect_eq(schema_field_index(schema, span_of_text("a")), 0);
    cr_expect_eq(schema_field_index(schema, span_of_text("A")), 1);
    struct schema *none = NULL;
    cr_expect_eq(schema_parse_delta_file(span_of_text(twice), &none, &err), ERR_CORRUPT);
    cr_expect_eq(schema_parse_delta(span_of_text(both), NULL, &none, &err), ERR_CORRUPT);
}

/* A struct around a struct …, `depth` of them. */
static enum err_code parse_deep(int depth, struct err *err)
{
    struct buffer text;
    buffer_init(&text, TEXT_BYTES_MAX);
    for (int i = 0; i <= depth; i++) {
        buffer_append_text(&text, "{\"type\":\"struct\",\"fields\":[{\"name\":\"a\",\"type\":");
    }
    buffer_append_text(&text, "\"long\"");
    for (int i = 0; i <= depth; i++) {
        buffer_append_text(&text, ",\"nullable\":true,\"metadata\":{}}]}");
    }
    struct schema *schema = NULL;
    enum err_code code = schema_parse_delta(buffer_span(&text), NULL, &schema, err);
    schema_release(&schema);
    buffer_deinit(&text);
    return code;
}

Test(nested, depth_is_limited)
{
    struct err err = {0};
    cr_expect_eq(parse_deep(SCHEMA_DEPTH_MAX, &err), ERR_OK, "%s", err.msg);
    cr_expect_neq(parse_deep(SCHEMA_DEPTH_MAX + 1, &err), ERR_OK);
    cr_expect_not_null(strstr(err.msg, "deep"), "%s", err.msg);
}

/* ---- columns ---- */

static void append_random(struct column *column, const struct field *field, bool is_key,
                          uint64_t *state)
{
    if (!is_key && kit_random(state) % 4 == 0) {
        column_append_null(column);
        return;
    }
    uint64_t elements = kit_random(state) % 4;
    char text[32];
    switch (field->type) {
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
        column_append_i64(column, (int64_t)(kit_random(state) >> 20));
        return;
    case COLUMN_INTEGER:
        column_append_i32(column, (int32_t)(kit_random(state) >> 40));
        return;
    case COLUMN_DECIMAL:
        column_append_i128(column, (int64_t)(kit_random(state) >> 44));
        return;
    case COLUMN_STRING:
        (void)snprintf(text, sizeof text, "%x", (unsigned)kit_random(state) >> (elements * 8));
        column_append_bytes(column, span_of_text(text));
        return;
    case COLUMN_STRUCT:
        elements = 1;
        break;
    default:
        break;
    }
    for (uint64_t i = 0; i < elements; i++) {
        for (size_t child = 0; child < field->children_count; child++) {
            bool key = field->type == COLUMN_MAP && child == 0;
            append_random(&column->children[child], &field->children[child], key, state);
        }
    }
    column_append_nested(column);
}

static struct frame *random_rows(const struct schema *schema, int64_t rows, uint64_t seed)
{
    struct frame *frame = frame_new(schema);
    uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
    for (int64_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < schema->fields_count; i++) {
            append_random(&frame->columns[i], &schema->fields[i], false, &state);
        }
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    frame_check(frame);
    return frame;
}

static void expect_row(const struct frame *a, int64_t row_a, const struct frame *b, int64_t row_b)
{
    CLEANUP(buffer_deinit) struct buffer text_a;
    CLEANUP(buffer_deinit) struct buffer text_b;
    buffer_init(&text_a, TEXT_BYTES_MAX);
    buffer_init(&text_b, TEXT_BYTES_MAX);
    encode_json_row(a, row_a, NULL, &text_a);
    encode_json_row(b, row_b, NULL, &text_b);
    cr_expect(span_equal(buffer_span(&text_a), buffer_span(&text_b)), "%.*s\n%.*s",
              SPAN_PRINT(buffer_span(&text_a)), SPAN_PRINT(buffer_span(&text_b)));
}

Test(nested, rows_are_copied_one_by_one_and_gathered)
{
    CLEANUP(schema_release) struct schema *schema = parse(wide);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        CLEANUP(frame_free) struct frame *source = random_rows(schema, 150, seed);
        CLEANUP(frame_free) struct frame *target = random_rows(schema, 3, seed + 100);
        int64_t rows[100];
        uint64_t state = seed;
        for (size_t i = 0; i < 100; i++) {
            rows[i] = (int64_t)(kit_random(&state) % 150);
        }
        frame_append_rows(target, source, rows, 100);
        frame_check(target);
        frame_append_row(target, source, 7);
        frame_check(target);
        for (size_t i = 0; i < 100; i++) {
            expect_row(target, 3 + (int64_t)i, source, rows[i]);
        }
        expect_row(target, 103, source, 7);
        cr_expect_gt(frame_memory_bytes(target), (size_t)frame_value_bytes(target));
    }
}

Test(nested, undo_drops_parts_of_a_value_that_was_not_ended)
{
    CLEANUP(schema_release) struct schema *schema = parse(wide);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        CLEANUP(frame_free) struct frame *kept = random_rows(schema, 20, seed);
        CLEANUP(frame_free) struct frame *frame = random_rows(schema, 20, seed);
        struct column *visits = &frame->columns[2];
        column_append_i64(&visits->children[0].children[0], 5);
        column_append_bytes(&visits->children[0].children[1].children[0], span_of_text("half"));
        if (seed % 2 == 0) {
            column_append_nested(&visits->children[0].children[1]);
            column_append_nested(&visits->children[0]);
        }
        column_append_bytes(&frame->columns[1].children[0], span_of_text("half"));
        frame_undo_row(frame);
        frame_check(frame);
        for (int64_t row = 0; row < 20; row++) {
            expect_row(frame, row, kept, row);
        }
        frame_append_row(frame, kept, 4);
        frame_check(frame);
        expect_row(frame, 20, kept, 4);
    }
}

/* A struct that got one more field since: what was written before is null there. */
Test(nested, fields_added_to_a_struct_are_null)
{
    CLEANUP(schema_release)
    struct schema *before =
        parse(STRUCT_OF(FIELD_OF("s", ARRAY_OF(STRUCT_OF(FIELD_OF("a", "\"long\""))))));
    CLEANUP(schema_release)
    struct schema *after = parse(STRUCT_OF(FIELD_OF(
        "s", ARRAY_OF(STRUCT_OF(FIELD_OF("a", "\"long\"") "," FIELD_OF("b", "\"string\""))))));
    CLEANUP(frame_free) struct frame *source = random_rows(before, 50, 9);
    CLEANUP(frame_free) struct frame *target = frame_new(after);
    const int64_t rows[] = {0, 3, 3, 49};
    frame_append_rows(target, source, rows, 4);
    frame_append_row(target, source, 11);
    frame_check(target);
    cr_expect_eq(target->columns[0].children[0].children[1].nulls_count,
                 target->columns[0].children[0].rows_count);
}

Test(nested, json_of_nested_values)
{
    CLEANUP(schema_release)
    struct schema *schema = parse(STRUCT_OF(
        FIELD_OF("s", STRUCT_OF(FIELD_OF("a", "\"binary\"") "," FIELD_OF("b", "\"timestamp\""))) "," FIELD_OF(
            "l",
            ARRAY_OF(ARRAY_OF(
                "\"decimal(38,3)\""))) "," FIELD_OF("m",
                                                    MAP_OF(
                                                        "\"long\"",
                                                        "\"double\"")) "," FIELD_OF("d",
                                                                                    MAP_OF(
                                                                                        "\"date\"",
                                                                                        "\"string"
                                                                                        "\"")) "," FIELD_OF("k",
                                                                                                            MAP_OF(
                                                                                                                STRUCT_OF(FIELD_OF(
                                                                                                                    "x",
                                                                                                                    "\"string\"")),
                                                                                                                "\"boolean\""))));
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    struct column *columns = frame->columns;
    column_append_bytes(&columns[0].children[0], span_of_text("\x01\xff"));
    column_append_i64(&columns[0].children[1], 1);
    column_append_nested(&columns[0]);
    column_append_i128(&columns[1].children[0].children[0], 12500);
    column_append_null(&columns[1].children[0].children[0]);
    column_append_nested(&columns[1].children[0]);
    column_append_null(&columns[1].children[0]);
    column_append_nested(&columns[1].children[0]);
    column_append_nested(&columns[1]);
    for (int64_t key = 1; key <= 2; key++) {
        column_append_i64(&columns[2].children[0], key);
        column_append_f64(&columns[2].children[1], 0.5);
    }
    column_append_nested(&columns[2]);
    column_append_i32(&columns[3].children[0], 1);
    column_append_bytes(&columns[3].children[1], span_of_text("a\"b"));
    column_append_nested(&columns[3]);
    column_append_bytes(&columns[4].children[0].children[0], span_of_text("y"));
    column_append_nested(&columns[4].children[0]);
    column_append_u8(&columns[4].children[1], 1);
    column_append_nested(&columns[4]);
    frame_end_row(frame, FRAME_UPSERT, 0);
    column_append_null(&columns[0].children[0]);
    column_append_null(&columns[0].children[1]);
    column_append_nested(&columns[0]);
    for (size_t i = 1; i < 5; i++) {
        if (i % 2 == 0) {
            column_append_nested(&columns[i]);
        } else {
            column_append_null(&columns[i]);
        }
    }
    frame_end_row(frame, FRAME_UPSERT, 0);
    frame_check(frame);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, TEXT_BYTES_MAX);
    encode_ndjson_rows(frame, 0, 2, NULL, &text);
    buffer_append_byte(&text, 0);
    cr_expect_str_eq((const char *)text.data,
                     "{\"s\":{\"a\":\"Af8=\",\"b\":\"1970-01-01T00:00:00.000001Z\"},"
                     "\"l\":[[12.500,null],null,[]],\"m\":{\"1\":0.5,\"2\":0.5},"
                     "\"d\":{\"1970-01-02\":\"a\\\"b\"},\"k\":{\"{\\\"x\\\":\\\"y\\\"}\":true}}\n"
                     "{\"s\":{\"a\":null,\"b\":null},\"l\":null,\"m\":{},\"d\":null,\"k\":{}}\n");
}

/* ---- frames in the journal, row images ---- */

static struct schema *one_more(void)
{
    return parse(STRUCT_OF(FIELD_OF("id", "\"long\"") "," FIELD_OF(
        "person",
        STRUCT_OF(FIELD_OF("name", "\"string\"") "," FIELD_OF(
            "tags",
            MAP_OF(
                "\"integer\"",
                ARRAY_OF(
                    "\"d"
                    "eci"
                    "mal"
                    "(10"
                    ",2)"
                    "\""))) "," FIELD_OF("age",
                                         "\"long\""))) "," FIELD_OF("visits",
                                                                    ARRAY_OF(STRUCT_OF(FIELD_OF(
                                                                        "at",
                                                                        "\"timestamp"
                                                                        "\"") "," FIELD_OF("notes",
                                                                                           ARRAY_OF(
                                                                                               "\"s"
                                                                                               "tri"
                                                                                               "ng"
                                                                                               "\"")) "," FIELD_OF("more",
                                                                                                                   ARRAY_OF(
                                                                                                                       "\"string"
                                                                                                                       "\""))))) "," FIELD_OF("added",
                                                                                                                                              ARRAY_OF(
                                                                                                                                                  "\"long"
                                                                                                                                                  "\""))));
}

static void expect_rows(const struct frame *found, const struct frame *wanted)
{
    frame_check(found);
    cr_assert_eq(found->rows_count, wanted->rows_count);
    for (int64_t row = 0; row < found->rows_count; row++) {
        expect_row(found, row, wanted, row);
    }
}

Test(nested, frames_come_back_from_the_journal)
{
    CLEANUP(schema_release) struct schema *schema = parse(wide);
    CLEANUP(schema_release) struct schema *later = one_more();
    const struct schema *readers[] = {schema, later};
    struct frame *used[2] = {NULL, NULL};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        CLEANUP(frame_free) struct frame *frame = random_rows(schema, (int64_t)seed * 9, seed);
        CLEANUP(buffer_deinit) struct buffer bytes;
        buffer_init(&bytes, TEXT_BYTES_MAX);
        frame_encode(frame, &bytes);
        struct err err = {0};
        for (size_t i = 0; i < 2; i++) {
            CLEANUP(frame_free) struct frame *wanted = frame_new(readers[i]);
            CLEANUP(frame_free) struct frame *found = NULL;
            for (int64_t row = 0; row < frame->rows_count; row++) {
                frame_append_row(wanted, frame, row);
            }
            cr_assert_eq(frame_decode(buffer_span(&bytes), readers[i], &found, &err), ERR_OK, "%s",
                         err.msg);
            expect_rows(found, wanted);
            cr_assert_eq(frame_decode_again(buffer_span(&bytes), readers[i], &used[i], &err),
                         ERR_OK, "%s", err.msg);
            expect_rows(used[i], wanted);
        }
        for (size_t size = 0; size < bytes.size; size++) { /* cut off anywhere, nothing breaks */
            CLEANUP(frame_free) struct frame *none = NULL;
            cr_assert_neq(frame_decode(span_of(bytes.data, size), schema, &none, &err), ERR_OK);
        }
    }
    frame_free(&used[0]);
    frame_free(&used[1]);
}

/* Bytes of the body replaced one by one: refused, or whole. */
Test(nested, frames_that_were_damaged_are_refused_or_whole)
{
    CLEANUP(schema_release) struct schema *schema = parse(wide);
    CLEANUP(frame_free) struct frame *frame = random_rows(schema, 20, 77);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, TEXT_BYTES_MAX);
    frame_encode(frame, &bytes);
    size_t refused = 0;
    static const uint8_t masks[] = {0xff, 0x01, 0x80, 0x10};
    for (size_t at = FRAME_HEADER_BYTES; at < bytes.size; at++) {
        for (size_t i = 0; i < sizeof masks; i++) {
            CLEANUP(frame_free) struct frame *found = NULL;
            struct err err = {0};
            bytes.data[at] ^= masks[i];
            if (frame_decode(buffer_span(&bytes), schema, &found, &err) == ERR_OK) {
                frame_check(found);
            } else {
                refused++;
            }
            bytes.data[at] ^= masks[i];
        }
    }
    cr_expect_gt(refused, 100);
}

/* A column that was dropped since is skipped whole, whatever is in it. */
Test(nested, dropped_nested_columns_are_skipped)
{
    CLEANUP(schema_release) struct schema *schema = parse(wide);
    CLEANUP(json_free)
    struct json *definition =
        kit_json("{'schema':{'fields':[{'name':'id','type':'long','id':1}],'next_field_id':4}}");
    CLEANUP(schema_release) struct schema *later = NULL;
    struct err err = {0};
    cr_assert_eq(schema_load(definition, 1, &later, &err), ERR_OK, "%s", err.msg);
    CLEANUP(frame_free) struct frame *frame = random_rows(schema, 60, 5);
    CLEANUP(frame_free) struct frame *wanted = frame_new(later);
    CLEANUP(frame_free) struct frame *found = NULL;
    CLEANUP(frame_free) struct frame *images = frame_new(later);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, TEXT_BYTES_MAX);
    frame_encode(frame, &bytes);
    cr_assert_eq(frame_decode(buffer_span(&bytes), later, &found, &err), ERR_OK, "%s", err.msg);
    for (int64_t row = 0; row < frame->rows_count; row++) {
        frame_append_row(wanted, frame, row);
        buffer_reset(&bytes);
        row_encode(frame, row, &bytes);
        cr_assert_eq(row_decode_into(buffer_span(&bytes), images, &err), ERR_OK, "%s", err.msg);
    }
    expect_rows(found, wanted);
    expect_rows(images, wanted);
}

static void seal(struct buffer *image)
{
    uint32_t checksum = (uint32_t)hash_checksum(
        span_of(image->data + sizeof checksum, image->size - sizeof checksum));
    memcpy(image->data, &checksum, sizeof checksum);
}

/* Decoding and printing judge alike, and never take more than there is. */
static void expect_same_judgement(struct span image, const struct schema *schema)
{
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, TEXT_BYTES_MAX);
    struct err err = {0};
    enum err_code decoded = row_decode_into(image, frame, &err);
    cr_assert_eq(encode_json_image(image, schema, NULL, &text, &err), decoded, "%s", err.msg);
    frame_check(frame);
    if (decoded == ERR_OK) {
        CLEANUP(buffer_deinit) struct buffer row;
        buffer_init(&row, TEXT_BYTES_MAX);
        encode_json_row(frame, 0, NULL, &row);
        cr_assert(span_equal(buffer_span(&row), buffer_span(&text)), "%.*s\n%.*s",
                  SPAN_PRINT(buffer_span(&row)), SPAN_PRINT(buffer_span(&text)));
    }
}

Test(nested, row_images_hold_nested_values)
{
    CLEANUP(schema_release) struct schema *schema = parse(wide);
    CLEANUP(schema_release) struct schema *later = one_more();
    CLEANUP(frame_free) struct frame *frame = random_rows(schema, 120, 3);
    CLEANUP(frame_free) struct frame *back = frame_new(schema);
    CLEANUP(frame_free) struct frame *evolved = frame_new(later);
    CLEANUP(frame_free) struct frame *again = frame_new(schema);
    CLEANUP(buffer_deinit) struct buffer image;
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&image, TEXT_BYTES_MAX);
    buffer_init(&text, TEXT_BYTES_MAX);
    struct err err = {0};
    for (int64_t row = 0; row < frame->rows_count; row++) {
        buffer_reset(&image);
        row_encode(frame, row, &image);
        cr_assert_eq(row_decode_into(buffer_span(&image), back, &err), ERR_OK, "%s", err.msg);
        cr_assert_eq(row_decode_into(buffer_span(&image), evolved, &err), ERR_OK, "%s", err.msg);
        expect_same_judgement(buffer_span(&image), schema);
        expect_same_judgement(buffer_span(&image), later);
        /* whoever still holds the definition of before reads what was written after */
        buffer_reset(&image);
        row_encode(evolved, row, &image);
        cr_assert_eq(row_decode_into(buffer_span(&image), again, &err), ERR_OK, "%s", err.msg);
    }
    expect_rows(back, frame);
    expect_rows(again, frame);
    cr_expect_eq(evolved->columns[3].nulls_count, 120);
    for (size_t row = 0; row < 30; row++) {
        buffer_reset(&image);
        row_encode(frame, (int64_t)row, &image);
        for (size_t at = sizeof(uint32_t); at < image.size; at++) {
            image.data[at] ^= (uint8_t)(1U << (at + row) % 8);
            seal(&image);
            expect_same_judgement(buffer_span(&image), schema);
            image.data[at] ^= (uint8_t)(1U << (at + row) % 8);
        }
    }
}

/* No file can hold it: it does not come in by frames or images that were damaged either. */
Test(nested, a_null_key_is_refused)
{
    CLEANUP(schema_release)
    struct schema *schema = parse(STRUCT_OF(FIELD_OF("m", MAP_OF("\"string\"", "\"long\""))));
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    CLEANUP(frame_free) struct frame *none = NULL;
    CLEANUP(frame_free) struct frame *target = frame_new(schema);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, TEXT_BYTES_MAX);
    struct err err = {0};
    column_append_null(&frame->columns[0].children[0]);
    column_append_i64(&frame->columns[0].children[1], 1);
    column_append_nested(&frame->columns[0]);
    frame_end_row(frame, FRAME_UPSERT, 0);
    frame_encode(frame, &bytes);
    cr_expect_eq(frame_decode(buffer_span(&bytes), schema, &none, &err), ERR_CORRUPT);
    buffer_reset(&bytes);
    row_encode(frame, 0, &bytes);
    cr_expect_eq(row_decode_into(buffer_span(&bytes), target, &err), ERR_CORRUPT);
}

/* ---- column mapping ---- */

#define MAPPED_OF(name, physical, id, type)                                                        \
    "{\"name\":\"" name "\",\"type\":" type                                                        \
    ",\"nullable\":true,\"metadata\":{\"delta.columnMapping.id\":" id                              \
    ",\"delta.columnMapping.physicalName\":\"" physical "\"}}"

Test(nested, mapped_fields_know_how_files_call_them)
{
    static const char mapped[] = STRUCT_OF(MAPPED_OF("a", "col-1", "1", "\"long\"") "," MAPPED_OF(
        "s", "col-2", "2",
        STRUCT_OF(MAPPED_OF("b", "col-3", "3",
                            ARRAY_OF(STRUCT_OF(MAPPED_OF("c", "col-4", "4", "\"string\"")))))));
    for (int mapping = COLUMN_MAPPING_NONE; mapping <= COLUMN_MAPPING_ID; mapping++) {
        CLEANUP(schema_release) struct schema *schema = NULL;
        struct err err = {0};
        cr_assert_eq(schema_parse_delta_mapped(span_of_text(mapped), NULL,
                                               (enum column_mapping)mapping, &schema, &err),
                     ERR_OK, "%s", err.msg);
        bool on = mapping != COLUMN_MAPPING_NONE;
        bool by_id = mapping == COLUMN_MAPPING_ID;
        const struct field *b = &schema->fields[1].children[0];
        const struct field *c = &b->children[0].children[0];
        cr_expect_str_eq(field_physical_name(&schema->fields[0]), on ? "col-1" : "a");
        cr_expect_str_eq(field_physical_name(b), on ? "col-3" : "b");
        cr_expect_str_eq(field_physical_name(c), on ? "col-4" : "c");
        cr_expect_eq(c->physical_id, by_id ? 4 : 0);
        cr_expect_str_eq(b->children[0].name, "element");
        cr_expect_eq(schema_physical_index(schema, span_of_text(on ? "col-2" : "s")), 1);
        cr_expect_eq(schema_physical_index(schema, span_of_text(on ? "s" : "col-2")), -1);
    }
}

Test(nested, a_field_without_its_mapping_is_refused)
{
    static const struct {
        enum column_mapping mapping;
        const char *text, *message;
    } cases[] = {
        {COLUMN_MAPPING_NAME, STRUCT_OF(FIELD_OF("a", "\"long\"")), "no physical name"},
        {COLUMN_MAPPING_NAME,
         STRUCT_OF(MAPPED_OF("s", "p", "1", STRUCT_OF(FIELD_OF("a", "\"long\"")))),
         "field 'a' has no physical name"},
        {COLUMN_MAPPING_NAME, STRUCT_OF(MAPPED_OF("a", "", "1", "\"long\"")), "no physical name"},
        {COLUMN_MAPPING_ID, STRUCT_OF(MAPPED_OF("a", "p", "0", "\"long\"")), "no id"},
        {COLUMN_MAPPING_ID, STRUCT_OF(MAPPED_OF("a", "p", "\"1\"", "\"long\"")), "no id"},
        {COLUMN_MAPPING_ID, STRUCT_OF(MAPPED_OF("a", "p", "4294967296", "\"long\"")), "no id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(schema_release) struct schema *schema = NULL;
        struct err err = {0};
        cr_expect_eq(schema_parse_delta_mapped(span_of_text(cases[i].text), NULL, cases[i].mapping,
                                               &schema, &err),
                     ERR_CORRUPT, "%s", cases[i].text);
        cr_expect_not_null(strstr(err.msg, cases[i].message), "%s", err.msg);
    }
}
