#include "storage/columns/encode_csv.h"

#include "storage/columns/decode.h"
#include "storage/columns/encode_json.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>

TestSuite(encode_csv, .timeout = 60);

enum { TEXT_MAX = 1 << 24 };

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

/* The header and every row; the buffer is initialised here. */
static void encode_all(const struct frame *frame, const bool *mask, struct buffer *text)
{
    buffer_init(text, TEXT_MAX);
    encode_csv_header(frame->schema, mask, text);
    for (int64_t row = 0; row < frame->rows_count; row++) {
        encode_csv_row(frame, row, mask, text);
    }
    cr_assert_not(text->overflowed);
}

static void decode_all(const char *name, struct span body, enum decode_format format,
                       const struct schema *schema, struct frame **frame_out)
{
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct decode_options options = {.format = format, .operation = FRAME_INSERT};
    struct err err = {0};
    enum err_code code = decode_body(body, schema, &options, frame_out, &errors, &err);
    cr_assert_eq(code, ERR_OK, "%s: %s", name, err.msg);
    cr_assert_eq(errors.rejected_count, 0, "%s: line %lld %s %s", name,
                 errors.items_count > 0 ? (long long)errors.items[0].line : 0,
                 errors.items_count > 0 ? errors.items[0].pointer : "",
                 errors.items_count > 0 ? errors.items[0].message : "");
}

/* Operations and lines are what the reader says; the values must be those written. */
static void expect_same_values(const char *name, const struct frame *a, const struct frame *b)
{
    cr_assert_eq(a->rows_count, b->rows_count, "%s", name);
    for (int64_t row = 0; row < a->rows_count; row++) {
        for (size_t i = 0; i < a->schema->fields_count; i++) {
            cr_expect(kit_values_equal(&a->columns[i], row, &b->columns[i], row),
                      "%s: row %lld, column %s", name, (long long)row, a->schema->fields[i].name);
        }
    }
}

static struct schema *text_and_number(void)
{
    return kit_schema("{'schema':{'fields':[{'name':'t','type':'string'},"
                      "{'name':'n','type':'integer'}]},'merge':'append'}");
}

Test(encode_csv, quotes_only_what_rfc_4180_demands)
{
    CLEANUP(schema_release) struct schema *schema = text_and_number();
    static const struct {
        const char *text; /* NULL = null */
        const char *line;
    } cases[] = {
        {NULL, ",1\r\n"},
        {"", "\"\",1\r\n"},
        {"plain", "plain,1\r\n"},
        {" blanks stay ", " blanks stay ,1\r\n"},
        {"a,b", "\"a,b\",1\r\n"},
        {"\"", "\"\"\"\",1\r\n"},
        {"say \"no\"", "\"say \"\"no\"\"\",1\r\n"},
        {"two\nlines", "\"two\nlines\",1\r\n"},
        {"two\r\nlines", "\"two\r\nlines\",1\r\n"},
        {"=cmd", "=cmd,1\r\n"},
        {"Zürich 中", "Zürich 中,1\r\n"},
        {"seventeen bytes then ,", "\"seventeen bytes then ,\",1\r\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(frame_free) struct frame *frame = frame_new(schema);
        if (cases[i].text == NULL) {
            column_append_null(&frame->columns[0]);
        } else {
            column_append_bytes(&frame->columns[0], span_of_text(cases[i].text));
        }
        column_append_i32(&frame->columns[1], 1);
        frame_end_row(frame, FRAME_UPSERT, 0);
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, TEXT_MAX);
        encode_csv_row(frame, 0, NULL, &text);
        cr_expect(span_equal_text(buffer_span(&text), cases[i].line), "%s: got %.*s", cases[i].line,
                  SPAN_PRINT(buffer_span(&text)));
    }
}

Test(encode_csv, header_and_rows_follow_the_mask)
{
    CLEANUP(schema_release) struct schema *schema = text_and_number();
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    column_append_bytes(&frame->columns[0], span_of_text("x"));
    column_append_i32(&frame->columns[1], -7);
    frame_end_row(frame, FRAME_UPSERT, 0);
    CLEANUP(buffer_deinit) struct buffer whole;
    encode_all(frame, NULL, &whole);
    cr_expect(span_equal_text(buffer_span(&whole), "t,n\r\nx,-7\r\n"));
    const bool second[] = {false, true};
    CLEANUP(buffer_deinit) struct buffer part;
    encode_all(frame, second, &part);
    cr_expect(span_equal_text(buffer_span(&part), "n\r\n-7\r\n"));
}

Test(encode_csv, a_single_nullable_column_is_refused)
{
    CLEANUP(schema_release)
    struct schema *schema =
        kit_schema("{'schema':{'fields':[{'name':'a','type':'string','nullable':false},"
                   "{'name':'b','type':'string'}]},'merge':'append'}");
    static const struct {
        bool mask[2];
        enum err_code code;
    } cases[] = {
        {{true, true}, ERR_OK},
        {{true, false}, ERR_OK},
        {{false, true}, ERR_INVALID},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        cr_expect_eq(encode_csv_check(schema, cases[i].mask, &err), cases[i].code, "case %zu", i);
    }
    struct err err = {0};
    cr_expect_eq(encode_csv_check(schema, NULL, &err), ERR_OK);
}

Test(encode_csv, every_type_reads_back_equal_from_csv_and_ndjson)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    for (uint64_t seed = 1; seed <= 40; seed++) {
        CLEANUP(frame_free) struct frame *frame = kit_random_rows(schema, 120, seed);
        CLEANUP(buffer_deinit) struct buffer csv;
        encode_all(frame, NULL, &csv);
        CLEANUP(frame_free) struct frame *from_csv = NULL;
        decode_all("csv", buffer_span(&csv), DECODE_CSV, schema, &from_csv);
        expect_same_values("csv", frame, from_csv);

        CLEANUP(buffer_deinit) struct buffer ndjson;
        buffer_init(&ndjson, TEXT_MAX);
        encode_ndjson_rows(frame, 0, frame->rows_count, NULL, &ndjson);
        CLEANUP(frame_free) struct frame *from_ndjson = NULL;
        decode_all("ndjson", buffer_span(&ndjson), DECODE_NDJSON, schema, &from_ndjson);
        expect_same_values("ndjson", frame, from_ndjson);
    }
}
