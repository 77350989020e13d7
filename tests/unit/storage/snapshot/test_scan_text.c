/*
 * Filters from text: values by type, lists with escapes, what makes no sense.
 */
#include "storage/snapshot/scan_text.h"

#include "tests/unit/storage/snapshot/fixture.h"

#include <criterion/criterion.h>

Test(scan_text, parses_values_by_type)
{
    static const struct {
        enum column_type type;
        const char *text;
        bool valid;
    } cases[] = {
        {COLUMN_STRING, "", true},
        {COLUMN_STRING, "\xff", false},
        {COLUMN_INTEGER, "2147483647", true},
        {COLUMN_INTEGER, "2147483648", false},
        {COLUMN_BYTE, "-128", true},
        {COLUMN_BYTE, "128", false},
        {COLUMN_SHORT, "40000", false},
        {COLUMN_LONG, "-9223372036854775808", true},
        {COLUMN_LONG, "1.5", false},
        {COLUMN_BOOLEAN, "true", true},
        {COLUMN_BOOLEAN, "1", false},
        {COLUMN_DATE, "2026-02-28", true},
        {COLUMN_DATE, "2026-02-29", false},
        {COLUMN_TIMESTAMP, "2026-02-28T10:00:00Z", true},
        {COLUMN_TIMESTAMP, "2026-02-28", false},
        {COLUMN_DOUBLE, "1e3", true},
        {COLUMN_DOUBLE, "1e999", false},
        {COLUMN_DECIMAL, "12.34", true},
        {COLUMN_DECIMAL, "12.345", false},
        {COLUMN_BINARY, "AAE=", true},
        {COLUMN_BINARY, "A", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct field field = {.type = cases[i].type, .id = 1, .precision = 6, .scale = 2};
        struct arena arena;
        arena_init(&arena, 4096);
        struct row_value value;
        struct err err = {0};
        enum err_code code =
            scan_value_parse(&field, span_of_text(cases[i].text), &arena, &value, &err);
        cr_expect((code == ERR_OK) == cases[i].valid, "%s as %s", cases[i].text,
                  column_type_name(cases[i].type));
        cr_expect(code == ERR_OK || strstr(err.msg, cases[i].text) == NULL || !*cases[i].text,
                  "the value is not in the message");
        arena_deinit(&arena);
    }
}

/* A filter as text again: "1 in TX|CA" with the column's index; "invalid" when it was refused. */
static void describe(struct span text, const struct schema *schema, struct buffer *out)
{
    struct err err = {0};
    struct arena arena;
    struct scan_filter filter;
    arena_init(&arena, 1 << 20);
    const struct scan_filter_text parts = scan_filter_split(text);
    if (scan_filter_parse(&parts, schema, &arena, &filter, &err) != ERR_OK) {
        buffer_append_text(out, err.code == ERR_INVALID ? "invalid" : "?");
        cr_expect(strstr(err.msg, "CANARY") == NULL, "%s", err.msg);
    } else {
        buffer_append_format(out, "%zu %s ", filter.column, scan_operator_name(filter.operator));
        for (size_t i = 0; i < filter.values_count; i++) {
            buffer_append_text(out, i > 0 ? "|" : "");
            if (filter.values[i].type == COLUMN_STRING) {
                buffer_append_span(out, filter.values[i].bytes);
            } else {
                buffer_append_format(out, "%lld", (long long)filter.values[i].integer);
            }
        }
    }
    arena_deinit(&arena);
}

Test(scan_text, reads_filters)
{
    const struct fixture_options options = {.merge = TABLE_DELETION_VECTORS};
    struct fixture fixture = fixture_make(&options);
    static const struct {
        const char *text;
        const char *expected;
    } cases[] = {
        {"note:eq:x", "2 eq x"},
        {"note:eq:a:b,c\\d", "2 eq a:b,c\\d"}, /* as it stands */
        {"note:eq:", "2 eq "},
        {"note:eq", "2 eq "}, /* scan_filters_check says that a value lacks */
        {"note:is_null", "2 is_null "},
        {"amount:lt:-5", "1 lt -5"},
        {"note:in:TX", "2 in TX"},
        {"note:in:TX,CA", "2 in TX|CA"},
        {"note:in:,", "2 in |"},
        {"note:in:", "2 in "},
        {"note:in:a\\,b,c", "2 in a,b|c"},
        {"note:in:a\\\\,b", "2 in a\\|b"},
        {"note:in:\\,\\\\\\,", "2 in ,\\,"},
        {"note:in:a:b,c", "2 in a:b|c"},
        {"amount:in:1,2,3", "1 in 1|2|3"},
        {"amount:in:1,,3", "invalid"},
        {"amount:in:1,CANARY", "invalid"},
        {"amount:in:1\\,2", "invalid"},
        {"note:in:CANARY\\", "invalid"},
        {"note:in:CANARY\\x", "invalid"},
        {"note:like:CANARY", "invalid"},
        {"CANARY:eq:1", "invalid"},
        {"note", "invalid"},
        {"", "invalid"},
        {":", "invalid"},
        {"::", "invalid"},
    };
    struct buffer text;
    buffer_init(&text, 4096);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buffer_reset(&text);
        describe(span_of_text(cases[i].text), fixture.schema, &text);
        cr_expect(span_equal(buffer_span(&text), span_of_text(cases[i].expected)),
                  "%s: '%.*s' instead of '%s'", cases[i].text, SPAN_PRINT(buffer_span(&text)),
                  cases[i].expected);
    }
    buffer_deinit(&text);
    fixture_remove(&fixture);
}

Test(scan_text, limits_lists)
{
    const struct fixture_options options = {.merge = TABLE_DELETION_VECTORS};
    struct fixture fixture = fixture_make(&options);
    for (int over = 0; over < 2; over++) {
        struct err err = {0};
        struct arena arena;
        struct scan_filter filter;
        struct buffer text;
        arena_init(&arena, 1 << 20);
        buffer_init(&text, 1 << 20);
        buffer_append_text(&text, "amount:in:1");
        for (int i = 1; i < SCAN_VALUES_MAX + over; i++) {
            buffer_append_text(&text, ",1");
        }
        const struct scan_filter_text parts = scan_filter_split(buffer_span(&text));
        enum err_code code = scan_filter_parse(&parts, fixture.schema, &arena, &filter, &err);
        cr_expect_eq(code, over ? ERR_INVALID : ERR_OK, "%s", err.msg);
        cr_expect(over || filter.values_count == SCAN_VALUES_MAX);
        buffer_deinit(&text);
        arena_deinit(&arena);
    }
    fixture_remove(&fixture);
}
