/*
 * Typed rows as records: what each type becomes, what is refused because something
 * would be lost, and that rules and dead letters are those of posted records.
 */
#include "storage/columns/decode_rows.h"

#include "storage/base/mem.h"
#include "storage/columns/encode_json.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

/* A table with the key and one field `v`. */
static struct schema *table_with(const char *field)
{
    char definition[400];
    (void)snprintf(definition, sizeof definition,
                   "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
                   "{'name':'v',%s}]},'key':['k']}",
                   field);
    return kit_schema(definition);
}

/* A foreign schema with a column k and a column v of the type. */
static struct schema *columns_with(const char *type)
{
    char text[300];
    struct schema *schema = NULL;
    struct err err = {0};
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"struct\",\"fields\":["
                   "{\"name\":\"k\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},"
                   "{\"name\":\"v\",\"type\":\"%s\",\"nullable\":true,\"metadata\":{}}]}",
                   type);
    cr_assert_eq(schema_parse_delta(span_of_text(text), NULL, &schema, &err), ERR_OK, "%s",
                 err.msg);
    return schema;
}

struct value {
    const char *type; /* of the source column */
    int64_t integer;  /* integers, decimals (unscaled), dates, timestamps, booleans */
    double real;
    const char *text;
    size_t size; /* of `text`; 0 = its length */
};

static void append_value(struct column *column, const struct value *value)
{
    switch (column->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        column_append_bytes(column, value->size > 0 ? span_of(value->text, value->size)
                                                    : span_of_text(value->text));
        break;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        column_append_i64(column, value->integer);
        break;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        column_append_f64(column, value->real);
        break;
    case COLUMN_BOOLEAN:
        column_append_u8(column, value->integer != 0);
        break;
    case COLUMN_DECIMAL:
        column_append_i128(column, value->integer);
        break;
    default:
        column_append_i32(column, (int32_t)value->integer);
    }
}

static struct frame *one_row(const struct schema *columns, const struct value *value)
{
    struct frame *rows = frame_new(columns);
    column_append_bytes(&rows->columns[0], span_of_text("a"));
    append_value(&rows->columns[1], value);
    frame_end_row(rows, FRAME_UPSERT, 0);
    return rows;
}

Test(decode_rows, values_that_lose_nothing)
{
    static const struct {
        struct value from;
        const char *field; /* of the table */
        const char *gives; /* as JSON; NULL = refused … */
        const char *says;  /* … with this in the message */
    } cases[] = {
        {{"integer", 5, 0, NULL, 0}, "'type':'long'", "5", NULL},
        {{"byte", -5, 0, NULL, 0}, "'type':'integer'", "-5", NULL},
        {{"long", INT64_MIN, 0, NULL, 0}, "'type':'long'", "-9223372036854775808", NULL},
        {{"long", INT64_MAX, 0, NULL, 0}, "'type':'long'", "9223372036854775807", NULL},
        {{"long", 2147483648, 0, NULL, 0}, "'type':'integer'", NULL, "between"},
        {{"long", 9007199254740992, 0, NULL, 0}, "'type':'double'", "9007199254740992", NULL},
        {{"long", 9007199254740993, 0, NULL, 0}, "'type':'double'", NULL, "more digits"},
        {{"long", INT64_MAX, 0, NULL, 0}, "'type':'double'", NULL, "more digits"},
        {{"long", 12, 0, NULL, 0}, "'type':'decimal(4,2)'", "12.00", NULL},
        {{"long", 123, 0, NULL, 0}, "'type':'decimal(4,2)'", NULL, "decimal(4,2)"},
        {{"long", 12, 0, NULL, 0}, "'type':'string'", NULL, "found a number"},
        {{"long", 12, 0, NULL, 0}, "'type':'date'", NULL, "found a number"},
        {{"double", 0, 1.5, NULL, 0}, "'type':'double'", "1.5", NULL},
        {{"double", 0, 12.0, NULL, 0}, "'type':'integer'", "12", NULL},
        {{"double", 0, 12.5, NULL, 0}, "'type':'integer'", NULL, "fraction"},
        {{"double", 0, 1e19, NULL, 0}, "'type':'long'", NULL, "found a number with"},
        {{"double", 0, 1.1, NULL, 0}, "'type':'decimal(4,2)'", "1.10", NULL},
        {{"double", 0, 1.234, NULL, 0}, "'type':'decimal(4,2)'", NULL, "decimal(4,2)"},
        {{"double", 0, NAN, NULL, 0}, "'type':'double'", NULL, "found NaN"},
        {{"double", 0, INFINITY, NULL, 0}, "'type':'double'", NULL, "found infinity"},
        {{"float", 0, 0.25, NULL, 0}, "'type':'double'", "0.25", NULL},
        {{"decimal(6,2)", 1234, 0, NULL, 0}, "'type':'decimal(5,1)'", NULL, "decimal(5,1)"},
        {{"decimal(6,2)", 1230, 0, NULL, 0}, "'type':'decimal(5,1)'", "12.3", NULL},
        {{"decimal(6,2)", -1200, 0, NULL, 0}, "'type':'integer'", "-12", NULL},
        {{"decimal(6,2)", 1250, 0, NULL, 0}, "'type':'integer'", NULL, "fraction"},
        {{"decimal(6,2)", 10, 0, NULL, 0}, "'type':'double'", "0.1", NULL},
        {{"decimal(18,0)", 900719925474099301, 0, NULL, 0}, "'type':'double'", NULL, "more digits"},
        {{"boolean", 1, 0, NULL, 0}, "'type':'boolean'", "true", NULL},
        {{"boolean", 1, 0, NULL, 0}, "'type':'integer'", NULL, "found a boolean"},
        {{"date", 0, 0, NULL, 0}, "'type':'date'", "\"1970-01-01\"", NULL},
        {{"date", 3000000, 0, NULL, 0}, "'type':'date'", NULL, "range of date"},
        {{"date", 2147483647, 0, NULL, 0}, "'type':'date'", NULL, "range of date"},
        {{"date", 0, 0, NULL, 0}, "'type':'timestamp'", NULL, "found a date"},
        {{"timestamp", 1000000, 0, NULL, 0},
         "'type':'timestamp'",
         "\"1970-01-01T00:00:01Z\"",
         NULL},
        {{"timestamp", INT64_MAX, 0, NULL, 0}, "'type':'timestamp'", NULL, "range"},
        {{"timestamp_ntz", 1, 0, NULL, 0}, "'type':'timestamp'", NULL, "without zone"},
        {{"timestamp", 1, 0, NULL, 0}, "'type':'date'", NULL, "found a timestamp"},
        {{"string", 0, 0, "x", 0}, "'type':'string'", "\"x\"", NULL},
        {{"string", 0, 0, "", 0}, "'type':'string'", "\"\"", NULL},
        {{"string", 0, 0, "a\0b", 3}, "'type':'string'", NULL, "U+0000"},
        {{"string", 0, 0, "007", 0}, "'type':'integer'", "7", NULL},
        {{"string", 0, 0, "7.0", 0}, "'type':'integer'", NULL, "whole number"},
        {{"string", 0, 0, "2026-01-31", 0}, "'type':'date'", "\"2026-01-31\"", NULL},
        {{"string", 0, 0, "1.25", 0}, "'type':'decimal(4,2)'", "1.25", NULL},
        {{"string", 0, 0, "yes", 0}, "'type':'boolean'", NULL, "true, false"},
        {{"binary", 0, 0, "\x01\xff", 0}, "'type':'binary'", "\"Af8=\"", NULL},
        {{"binary", 0, 0, "text", 0}, "'type':'string'", "\"text\"", NULL},
        {{"binary", 0, 0, "\xff", 0}, "'type':'string'", NULL, "UTF-8"},
        {{"binary", 0, 0, "7", 0}, "'type':'integer'", NULL, "found binary"},
        /* rules are those of posted records */
        {{"long", 5, 0, NULL, 0}, "'type':'long','maximum':4", NULL, "4"},
        {{"double", 0, 5.5, NULL, 0}, "'type':'double','maximum':5", NULL, "5"},
        {{"date", 0, 0, NULL, 0}, "'type':'date','minimum':'1970-01-02'", NULL, "1970-01-02"},
        {{"string", 0, 0, "abc", 0}, "'type':'string','max_length':2", NULL, "2"},
        {{"string", 0, 0, "abc", 0}, "'type':'string','enum':['x']", NULL, "one of"},
        {{"binary", 0, 0, "abc", 0}, "'type':'binary','max_length':2", NULL, "2"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(schema_release) struct schema *columns = columns_with(cases[i].from.type);
        CLEANUP(schema_release) struct schema *table = table_with(cases[i].field);
        CLEANUP(frame_free) struct frame *rows = one_row(columns, &cases[i].from);
        CLEANUP(frame_free) struct frame *frame = NULL;
        CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
        CLEANUP(buffer_deinit) struct buffer text;
        const struct decode_options options = {.line_offset = 41};
        struct err err = {0};
        buffer_init(&text, 1000);
        cr_assert_eq(decode_rows(rows, table, &options, &frame, &errors, &err), ERR_OK, "%s",
                     err.msg);
        if (cases[i].gives != NULL) {
            cr_assert_eq(frame->rows_count, 1, "%s to %s: %s", cases[i].from.type, cases[i].field,
                         errors.items_count > 0 ? errors.items[0].message : "");
            encode_json_value(frame, 1, 0, &text);
            cr_expect(span_equal_text(buffer_span(&text), cases[i].gives), "%s to %s: %.*s",
                      cases[i].from.type, cases[i].field, SPAN_PRINT(buffer_span(&text)));
            continue;
        }
        cr_assert_eq(errors.rejected_count, 1, "%s to %s is taken", cases[i].from.type,
                     cases[i].field);
        cr_expect_eq(errors.items[0].line, 42);
        cr_expect_str_eq(errors.items[0].pointer, "/v");
        cr_expect_not_null(strstr(errors.items[0].message, cases[i].says), "%s to %s: %s",
                           cases[i].from.type, cases[i].field, errors.items[0].message);
        cr_expect_eq(
            strncmp((const char *)errors.rejected[0].payload.data, "{\"k\":\"a\",\"v\":", 13), 0);
    }
}

Test(decode_rows, random_rows_of_the_same_table_come_through_unchanged)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema(
        "{'schema':{'fields':[{'name':'a','type':'string','nullable':false},"
        "{'name':'b','type':'integer'},{'name':'c','type':'long'},{'name':'d','type':'double'},"
        "{'name':'e','type':'boolean'},{'name':'f','type':'date'},{'name':'g','type':'timestamp'},"
        "{'name':'h','type':'decimal(20,4)'},{'name':'i','type':'binary'},"
        "{'name':'j','type':'string'}]},'key':['a']}");
    for (uint64_t seed = 1; seed < 20; seed++) {
        CLEANUP(frame_free) struct frame *rows = kit_random_rows(schema, 500, seed);
        CLEANUP(frame_free) struct frame *frame = NULL;
        CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
        const struct decode_options options = {0};
        struct err err = {0};
        cr_assert_eq(decode_rows(rows, schema, &options, &frame, &errors, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect_eq(frame->rows_count + errors.rejected_count, 500);
        int64_t at = 0;
        for (int64_t row = 0; row < 500; row++) {
            if (!column_is_valid(&rows->columns[0], row)) {
                continue; /* a null key is a record error */
            }
            for (size_t i = 0; i < schema->fields_count; i++) {
                cr_assert(kit_values_equal(&rows->columns[i], row, &frame->columns[i], at),
                          "seed %d row %d column %zu", (int)seed, (int)row, i);
            }
            at++;
        }
    }
}

Test(decode_rows, operations_of_rows_and_of_a_column)
{
    CLEANUP(schema_release) struct schema *table = table_with("'type':'long','nullable':false");
    CLEANUP(schema_release) struct schema *columns = columns_with("long");
    CLEANUP(frame_free) struct frame *rows = frame_new(columns);
    static const enum frame_operation operations[] = {FRAME_UPSERT, FRAME_DELETE, FRAME_UPSERT};
    for (int i = 0; i < 3; i++) {
        column_append_bytes(&rows->columns[0], span_of_text("a"));
        if (i == 0) {
            column_append_i64(&rows->columns[1], 1);
        } else {
            column_append_null(&rows->columns[1]);
        }
        frame_end_row(rows, operations[i], 0);
    }
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    const struct decode_options options = {0};
    struct err err = {0};
    cr_assert_eq(decode_rows(rows, table, &options, &frame, &errors, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(frame->rows_count, 2, "a delete needs its key alone");
    cr_expect_eq(frame_operation_at(frame, 1), FRAME_DELETE);
    cr_expect_eq(errors.rejected_count, 1);
    cr_expect_eq(errors.items[0].code, DECODE_REQUIRED);
}

Test(decode_rows, columns_are_checked_by_name)
{
    CLEANUP(schema_release) struct schema *table = table_with("'type':'long'");
    struct err err = {0};
    CLEANUP(schema_release) struct schema *good = columns_with("long");
    cr_expect_eq(decode_rows_check(good, table, &err), ERR_OK, "%s", err.msg);
    CLEANUP(schema_release) struct schema *other = NULL;
    static const struct {
        const char *columns;
        enum err_code code;
        const char *says;
    } cases[] = {
        {"{\"name\":\"k\",\"type\":\"string\"},{\"name\":\"zzz\",\"type\":\"long\"}", ERR_INVALID,
         "'zzz'"},
        {"{\"name\":\"v\",\"type\":\"long\"}", ERR_INVALID, "key field 'k'"},
        {"{\"name\":\"k\",\"type\":\"string\"},{\"name\":\"_op\",\"type\":\"string\"}", ERR_OK, ""},
        {"{\"name\":\"k\",\"type\":\"string\"}", ERR_OK, ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[300];
        (void)snprintf(text, sizeof text, "{\"type\":\"struct\",\"fields\":[%s]}",
                       cases[i].columns);
        CLEANUP(buffer_deinit) struct buffer full;
        buffer_init(&full, 1000);
        for (const char *at = text; *at != '\0'; at++) {
            if (*at == '}' && at[-1] == '"') {
                buffer_append_text(&full, ",\"nullable\":true,\"metadata\":{}");
            }
            buffer_append_byte(&full, (uint8_t)*at);
        }
        err_clear(&err);
        schema_release(&other);
        cr_assert_eq(schema_parse_delta(buffer_span(&full), NULL, &other, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect_eq(decode_rows_check(other, table, &err), cases[i].code, "%zu: %s", i, err.msg);
        cr_expect_not_null(strstr(err.msg, cases[i].says), "%s", err.msg);
    }
}
