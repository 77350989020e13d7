/*
 * Conditions of SQL: what they say of rows, and what is refused.
 */
#include "storage/columns/predicate.h"

#include "storage/base/buffer.h"
#include "storage/columns/decode.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One row: s 'it\'s', n null text, i 7, l 9007199254740993, d 1.5, x NaN, b true, f false,
 * day 2026-02-28, at 2026-02-28T12:00:00Z, m 12.30 decimal(38,2), huge decimal(38,0)
 */
static struct frame *row_of(struct schema *schema)
{
    struct frame *frame = frame_new(schema);
    struct column *columns = frame->columns;
    column_append_bytes(&columns[0], span_of_text("it's"));
    column_append_null(&columns[1]);
    column_append_i32(&columns[2], 7);
    column_append_i64(&columns[3], INT64_C(9007199254740993));
    column_append_f64(&columns[4], 1.5);
    column_append_f64(&columns[5], NAN);
    column_append_u8(&columns[6], 1);
    column_append_u8(&columns[7], 0);
    column_append_i32(&columns[8], 20512);
    column_append_i64(&columns[9], INT64_C(1772280000000000));
    column_append_i128(&columns[10], 1230);
    __int128 huge = 1;
    for (int i = 0; i < 37; i++) {
        huge *= 10;
    }
    column_append_i128(&columns[11], huge);
    column_append_bytes(&columns[12], span_of_text("q"));
    column_append_nested(&columns[13]); /* no element, but an array */
    column_append_null(&columns[14]);
    frame_end_row(frame, FRAME_UPSERT, 0);
    return frame;
}

static struct schema *schema_of_row(void)
{
    return kit_schema(
        "{'schema':{'fields':[{'name':'s','type':'string'},{'name':'n','type':'string'},"
        "{'name':'i','type':'integer'},{'name':'l','type':'long'},{'name':'d','type':'double'},"
        "{'name':'x','type':'double'},{'name':'b','type':'boolean'},"
        "{'name':'f','type':'boolean'},{'name':'day','type':'date'},"
        "{'name':'at','type':'timestamp'},{'name':'m','type':'decimal(38,2)'},"
        "{'name':'huge','type':'decimal(38,0)'},{'name':'raw','type':'binary'},"
        "{'name':'list','type':{'type':'array','elementType':'long'}},"
        "{'name':'map','type':{'type':'map','keyType':'date','valueType':'long'}}]}}");
}

static const struct {
    const char *text;
    enum predicate_value value;
} values[] = {
    {"i = 7", PREDICATE_TRUE},
    {"raw IS NOT NULL", PREDICATE_TRUE},
    {"list is null", PREDICATE_FALSE},
    {"map IS NULL AND NOT list IS NULL", PREDICATE_TRUE},
    {"i == 7.0", PREDICATE_TRUE},
    {"I>6 and i<8", PREDICATE_TRUE},
    {"i <> 7", PREDICATE_FALSE},
    {"i != 8", PREDICATE_TRUE},
    {"7 >= i", PREDICATE_TRUE},
    {"i <= -7", PREDICATE_FALSE},
    {"`i` = +7", PREDICATE_TRUE},
    {"l = 9007199254740993", PREDICATE_TRUE},
    {"l = 9007199254740992", PREDICATE_FALSE},
    {"l < 9007199254740993.01", PREDICATE_TRUE},
    {"l = 9007199254740992e0", PREDICATE_TRUE}, /* as doubles */
    {"m = 12.3", PREDICATE_TRUE},
    {"m = 12.300000000000000000000000000000000001", PREDICATE_FALSE},
    {"m < huge", PREDICATE_TRUE},
    {"huge > 0.00000000000000000000000000000000000001", PREDICATE_TRUE},
    {"-0.00000000000000000000000000000000000001 < huge", PREDICATE_TRUE},
    {"huge = 10000000000000000000000000000000000000", PREDICATE_TRUE},
    {"d = 1.5", PREDICATE_TRUE},
    {"d > i", PREDICATE_FALSE},
    {"x = x", PREDICATE_TRUE},
    {"x > 1e308", PREDICATE_TRUE},
    {"d < x", PREDICATE_TRUE},
    {"s = 'it\\'s'", PREDICATE_TRUE},
    {"s > 'it'", PREDICATE_TRUE},
    {"n = 'a'", PREDICATE_UNKNOWN},
    {"n is null", PREDICATE_TRUE},
    {"n IS NOT NULL", PREDICATE_FALSE},
    {"n <=> null", PREDICATE_TRUE},
    {"s <=> n", PREDICATE_FALSE},
    {"i <=> 7", PREDICATE_TRUE},
    {"null", PREDICATE_UNKNOWN},
    {"null = 1", PREDICATE_UNKNOWN},
    {"b", PREDICATE_TRUE},
    {"not b", PREDICATE_FALSE},
    {"not not b", PREDICATE_TRUE},
    {"b = true and f = false", PREDICATE_TRUE},
    {"(i = 7) = b", PREDICATE_TRUE},
    {"f and n = 'a'", PREDICATE_FALSE},
    {"n = 'a' and f", PREDICATE_FALSE},
    {"b and n = 'a'", PREDICATE_UNKNOWN},
    {"b or n = 'a'", PREDICATE_TRUE},
    {"n = 'a' or b", PREDICATE_TRUE},
    {"f or n = 'a'", PREDICATE_UNKNOWN},
    {"not n = 'a'", PREDICATE_UNKNOWN},
    {"f or b and f", PREDICATE_FALSE},
    {"(f or b) and b", PREDICATE_TRUE},
    {"i in (1, 7)", PREDICATE_TRUE},
    {"i in (1, 2)", PREDICATE_FALSE},
    {"i in (1, null)", PREDICATE_UNKNOWN},
    {"i in (7, null)", PREDICATE_TRUE},
    {"i not in (1, 2)", PREDICATE_TRUE},
    {"i not in (1, null)", PREDICATE_UNKNOWN},
    {"n in ('a')", PREDICATE_UNKNOWN},
    {"i between 1 and 7", PREDICATE_TRUE},
    {"i between 8 and 9 or b", PREDICATE_TRUE},
    {"i not between 8 and 9", PREDICATE_TRUE},
    {"i between null and 6", PREDICATE_FALSE},
    {"i between null and 9", PREDICATE_UNKNOWN},
    {"day = '2026-02-28'", PREDICATE_TRUE},
    {"day >= date '2026-03-01'", PREDICATE_FALSE},
    {"at = '2026-02-28T13:00:00+01:00'", PREDICATE_TRUE},
    {"at < TIMESTAMP '2026-02-28T12:00:00.000001Z'", PREDICATE_TRUE},
    {"'2026-02-28' = day", PREDICATE_TRUE},
    {"'2026-02-28' in (day, '2026-03-01')", PREDICATE_TRUE},
    {"day between '2026-02-27' and '2026-02-28'", PREDICATE_TRUE},
    {" \t\n( ( b ) ) ", PREDICATE_TRUE},
};

Test(predicate, says_what_sql_says)
{
    CLEANUP(schema_release) struct schema *schema = schema_of_row();
    CLEANUP(frame_free) struct frame *frame = row_of(schema);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct err err = {0};
        CLEANUP(predicate_free) struct predicate *predicate = NULL;
        cr_assert_eq(predicate_parse(span_of_text(values[i].text), schema, &predicate, &err),
                     ERR_OK, "%s: %s", values[i].text, err.msg);
        cr_expect_eq(predicate_evaluate(predicate, frame, 0), values[i].value, "%s",
                     values[i].text);
    }
}

static const struct {
    const char *text;
    const char *message;
} refused[] = {
    {"", "byte 1: the end"},
    {"i", "a value where a condition is expected"},
    {"i = 7 or 1", "a value where a condition is expected"},
    {"i =", "byte 4: the end"},
    {"i = 7 7", "not known here"},
    {"(i = 7", "not closed"},
    {"length(s) > 1", "byte 1: a function"},
    {"s.a = 1", "a part of a column"},
    {"z = 1", "no column of the table"},
    {"raw = 'q'", "cannot be compared"},
    {"raw IS NULL OR 'q' < raw", "byte 22: a column of a type that cannot be compared"},
    {"raw IN ('q')", "cannot be compared"},
    {"raw BETWEEN 'a' AND 'b'", "cannot be compared"},
    {"raw", "a value where a condition is expected"},
    {"s = 1", "another type"},
    {"i = '7'", "another type"},
    {"d = m", "a decimal column beside a double"},
    {"day = at", "another type"},
    {"day = 'tomorrow'", "no date"},
    {"at = '2026-02-28 12:00:00'", "would depend on a session"},
    {"s = 'a''b'", "a quote in quotes"},
    {"s = \"a\"", "no column, value or condition"},
    {"s = 'a", "without its closing quote"},
    {"s = 'a\\q'", "an escape other than"},
    {"s like 'a%'", "not known here"},
    {"i + 1 = 8", "not known here"},
    {"i = 7L", "with a suffix"},
    {"i = 123456789012345678901234567890123456789", "more than 38 digits"},
    {"i is 7", "IS with something else"},
    {"i not 7", "NOT with something else"},
    {"i in 7", "IN without a list"},
    {"i in ()", "no column, value"},
    {"i in (7", "a list is not closed"},
    {"i between 1", "BETWEEN without AND"},
    {"i in ('a')", "another type"},
    {"'2026-02-28' in ('x', day)", "a text beside other texts"},
    {"'2026-02-28' between '2026-02-01' and day", "a text beside other texts"},
    {"`i = 7", "backquotes"},
};

Test(predicate, refuses_what_it_would_have_to_guess)
{
    CLEANUP(schema_release) struct schema *schema = schema_of_row();
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct err err = {0};
        struct predicate *predicate = NULL;
        cr_expect_eq(predicate_parse(span_of_text(refused[i].text), schema, &predicate, &err),
                     ERR_UNSUPPORTED, "%s", refused[i].text);
        cr_expect_not_null(strstr(err.msg, refused[i].message), "%s: %s", refused[i].text, err.msg);
    }
}

Test(predicate, is_bounded)
{
    CLEANUP(schema_release) struct schema *schema = schema_of_row();
    CLEANUP(buffer_deinit) struct buffer deep;
    CLEANUP(buffer_deinit) struct buffer wide;
    struct err err = {0};
    struct predicate *predicate = NULL;
    buffer_init(&deep, 1 << 20);
    buffer_init(&wide, 1 << 20);
    for (int i = 0; i < 1000; i++) {
        buffer_append_byte(&deep, '(');
    }
    cr_expect_eq(predicate_parse(buffer_span(&deep), schema, &predicate, &err), ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.msg, "too many parentheses"), "%s", err.msg);
    err_clear(&err);
    buffer_append_text(&wide, "b");
    for (int i = 0; i < PREDICATE_NODES_MAX; i++) {
        buffer_append_text(&wide, " or b");
    }
    cr_expect_eq(predicate_parse(buffer_span(&wide), schema, &predicate, &err), ERR_TOO_LARGE);
    err_clear(&err);
    buffer_reset(&wide);
    for (int i = 0; i < 66; i++) {
        buffer_append_format(&wide, "%*s", 1000, "");
    }
    cr_expect_eq(predicate_parse(buffer_span(&wide), schema, &predicate, &err), ERR_TOO_LARGE);
}

/* A frame of an older definition lacks the column: it is null there. */
Test(predicate, finds_columns_by_id)
{
    struct err err = {0};
    CLEANUP(schema_release)
    struct schema *old = kit_schema("{'schema':{'fields':[{'name':'a','type':'integer'}]}}");
    CLEANUP(schema_release)
    struct schema *new = kit_schema(
        "{'schema':{'fields':[{'name':'a','type':'integer'},{'name':'z','type':'integer'}]}}");
    CLEANUP(frame_free) struct frame *frame = frame_new(old);
    column_append_i32(&frame->columns[0], 1);
    frame_end_row(frame, FRAME_UPSERT, 0);
    CLEANUP(predicate_free) struct predicate *predicate = NULL;
    cr_assert_eq(predicate_parse(span_of_text("a = 1 and z is null"), new, &predicate, &err),
                 ERR_OK);
    cr_expect_eq(predicate_evaluate(predicate, frame, 0), PREDICATE_TRUE);
}
