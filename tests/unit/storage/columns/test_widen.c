/*
 * Types that became wider: what was stored before, in frames of the journal, row
 * images and frames in memory, is read as the same values under the type of now.
 */
#include "storage/columns/widen.h"

#include "storage/columns/encode_json.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(widen, .timeout = 60);

enum { TEXT_BYTES_MAX = 4 << 20 };

static const char *const types[] = {
    "byte",          "short",          "integer",       "long",           "float",
    "double",        "date",           "timestamp_ntz", "decimal(5,2)",   "decimal(12,2)",
    "decimal(10,0)", "decimal(38,18)", "decimal(38,0)", "decimal(20,10)", "string",
    "binary",        "boolean",        "timestamp"};
enum { TYPES = sizeof types / sizeof types[0] };

/* Per type, those that it widens to, "|" around each. */
#define SCALED "decimal(38,18)|decimal(38,0)|decimal(20,10)|"
static const char *const wider[TYPES] = {
    "|short|integer|long|double|decimal(12,2)|decimal(10,0)|" SCALED,
    "|integer|long|double|decimal(12,2)|decimal(10,0)|" SCALED,
    "|long|double|decimal(12,2)|decimal(10,0)|" SCALED,
    "|decimal(38,18)|decimal(38,0)|",
    "|double|",
    "|",
    "|timestamp_ntz|",
    "|",
    "|decimal(12,2)|",
    "|",
    "|decimal(38,0)|",
    "|",
    "|",
    "|",
    "|",
    "|",
    "|",
    "|"};

static struct schema *schema_of(const char *type)
{
    char text[200];
    (void)snprintf(text, sizeof text,
                   "{'schema':{'fields':[{'name':'n','type':'long'},{'name':'v','type':'%s'}]}}",
                   type);
    return kit_schema(text);
}

Test(widen, types_widen_as_the_protocol_has_it)
{
    for (size_t from = 0; from < TYPES; from++) {
        for (size_t to = 0; to < TYPES; to++) {
            CLEANUP(schema_release) struct schema *a = schema_of(types[from]);
            CLEANUP(schema_release) struct schema *b = schema_of(types[to]);
            char listed[40];
            (void)snprintf(listed, sizeof listed, "|%s|", types[to]);
            cr_expect_eq(field_widens(&a->fields[1], &b->fields[1]),
                         strstr(wider[from], listed) != NULL, "%s to %s", types[from], types[to]);
        }
    }
}

/* The value as the wide type prints it, by a way of its own: from the text of the narrow one. */
static void expect_same(const struct frame *narrow, const struct frame *wide)
{
    const struct field *from = &narrow->schema->fields[1];
    const struct field *to = &wide->schema->fields[1];
    cr_assert_eq(wide->rows_count, narrow->rows_count);
    frame_check(wide);
    for (int64_t row = 0; row < wide->rows_count; row++) {
        const struct column *a = &narrow->columns[1];
        const struct column *b = &wide->columns[1];
        cr_assert_eq(column_is_valid(a, row), column_is_valid(b, row));
        cr_assert_eq(column_is_present(a, row), column_is_present(b, row));
        cr_assert_eq(wide->columns[0].values.i64[row], narrow->columns[0].values.i64[row]);
        if (!column_is_valid(a, row)) {
            continue;
        }
        __int128 whole = from->type == COLUMN_LONG      ? a->values.i64[row]
                         : from->type == COLUMN_DECIMAL ? a->values.i128[row]
                         : from->type == COLUMN_FLOAT   ? 0
                                                        : a->values.i32[row];
        __int128 scale = 1;
        for (int i = 0; i < to->scale && from->type != COLUMN_DECIMAL; i++) {
            scale *= 10;
        }
        switch (to->type) {
        case COLUMN_DOUBLE:
            cr_expect(b->values.f64[row] ==
                      (from->type == COLUMN_FLOAT ? a->values.f64[row] : (double)(int64_t)whole));
            break;
        case COLUMN_DECIMAL:
            cr_expect(b->values.i128[row] == whole * scale);
            break;
        case COLUMN_TIMESTAMP_NTZ:
            cr_expect(b->values.i64[row] == (int64_t)whole * INT64_C(86400000000));
            break;
        case COLUMN_LONG:
            cr_expect(b->values.i64[row] == (int64_t)whole);
            break;
        default:
            cr_expect(b->values.i32[row] == (int32_t)whole);
            break;
        }
    }
}

static void expect_read_as(const struct frame *frame, const struct schema *schema)
{
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, TEXT_BYTES_MAX);
    frame_encode(frame, &bytes);
    CLEANUP(frame_free) struct frame *decoded = NULL;
    cr_assert_eq(frame_decode(buffer_span(&bytes), schema, &decoded, &err), ERR_OK, "%s", err.msg);
    expect_same(frame, decoded);

    CLEANUP(frame_free) struct frame *one_by_one = frame_new(schema);
    CLEANUP(frame_free) struct frame *gathered = frame_new(schema);
    CLEANUP(frame_free) struct frame *images = frame_new(schema);
    int64_t rows[64];
    for (int64_t row = 0; row < frame->rows_count; row++) {
        rows[row] = row;
        frame_append_row(one_by_one, frame, row);
        buffer_reset(&bytes);
        row_encode(frame, row, &bytes);
        cr_assert_eq(row_decode_into(buffer_span(&bytes), images, &err), ERR_OK, "%s", err.msg);
        CLEANUP(buffer_deinit) struct buffer printed;
        CLEANUP(buffer_deinit) struct buffer wanted;
        buffer_init(&printed, TEXT_BYTES_MAX);
        buffer_init(&wanted, TEXT_BYTES_MAX);
        cr_assert_eq(encode_json_image(buffer_span(&bytes), schema, NULL, &printed, &err), ERR_OK);
        encode_json_row(decoded, row, NULL, &wanted);
        cr_expect(span_equal(buffer_span(&printed), buffer_span(&wanted)), "%.*s %.*s",
                  SPAN_PRINT(buffer_span(&printed)), SPAN_PRINT(buffer_span(&wanted)));
    }
    frame_append_rows(gathered, frame, rows, frame->rows_count);
    expect_same(frame, one_by_one);
    expect_same(frame, gathered);
    for (int64_t row = 0; row < frame->rows_count; row++) {
        cr_expect_eq(column_is_valid(&images->columns[1], row),
                     column_is_valid(&frame->columns[1], row));
    }
}

/* Field ids of two schemas of one shape are the same: as after a change. */
Test(widen, what_was_stored_before_is_read_as_the_same_values)
{
    size_t pairs = 0;
    for (size_t from = 0; from < TYPES; from++) {
        for (size_t to = 0; to < TYPES; to++) {
            CLEANUP(schema_release) struct schema *a = schema_of(types[from]);
            CLEANUP(schema_release) struct schema *b = schema_of(types[to]);
            if (!field_widens(&a->fields[1], &b->fields[1])) {
                continue;
            }
            CLEANUP(frame_free)
            struct frame *frame = a->fields[1].type == COLUMN_DATE
                                      ? kit_random_rows(a, 64, 1 + from * TYPES + to)
                                      : kit_random_frame(a, 64, 1 + from * TYPES + to);
            expect_read_as(frame, b);
            pairs++;
        }
    }
    cr_expect_eq(pairs, 30);
}

/* A date has five million years, a moment without zone has 292,277. */
Test(widen, dates_that_no_moment_has_are_refused)
{
    static const int32_t days[] = {INT32_MIN, -106751992, 106751992, INT32_MAX};
    CLEANUP(schema_release) struct schema *dates = schema_of("date");
    CLEANUP(schema_release) struct schema *moments = schema_of("timestamp_ntz");
    for (size_t i = 0; i < sizeof days / sizeof days[0]; i++) {
        CLEANUP(frame_free) struct frame *frame = frame_new(dates);
        CLEANUP(frame_free) struct frame *none = NULL;
        CLEANUP(frame_free) struct frame *target = frame_new(moments);
        CLEANUP(buffer_deinit) struct buffer bytes;
        buffer_init(&bytes, TEXT_BYTES_MAX);
        struct err err = {0};
        column_append_i64(&frame->columns[0], 1);
        column_append_i32(&frame->columns[1], days[i]);
        frame_end_row(frame, FRAME_UPSERT, 0);
        frame_encode(frame, &bytes);
        cr_expect_eq(frame_decode(buffer_span(&bytes), moments, &none, &err), ERR_CORRUPT);
        cr_expect_str_eq(err.msg, "frame column 2 has values beyond its type");
        buffer_reset(&bytes);
        row_encode(frame, 0, &bytes);
        cr_expect_eq(row_decode_into(buffer_span(&bytes), target, &err), ERR_CORRUPT);
        frame_append_row(target, frame, 0);
        cr_expect_eq(target->columns[1].values.i64[0], days[i] < 0 ? INT64_MIN : INT64_MAX);
    }
}

/* And not the other way round, nor by accident. */
Test(widen, other_types_are_refused)
{
    CLEANUP(schema_release) struct schema *wide = schema_of("long");
    CLEANUP(schema_release) struct schema *narrow = schema_of("integer");
    CLEANUP(frame_free) struct frame *frame = kit_random_frame(wide, 8, 3);
    CLEANUP(frame_free) struct frame *none = NULL;
    CLEANUP(frame_free) struct frame *target = frame_new(narrow);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, TEXT_BYTES_MAX);
    struct err err = {0};
    frame_encode(frame, &bytes);
    cr_expect_eq(frame_decode(buffer_span(&bytes), narrow, &none, &err), ERR_CORRUPT);
    int64_t row = 0;
    while (!column_is_valid(&frame->columns[1], row)) {
        row++;
    }
    buffer_reset(&bytes);
    row_encode(frame, row, &bytes);
    cr_expect_eq(row_decode_into(buffer_span(&bytes), target, &err), ERR_CORRUPT);
}
