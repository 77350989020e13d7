/*
 * Statistics: truthful when written, unchanged when kept, never trusted too far
 * when read.
 */
#include "storage/delta/stats.h"

#include "storage/base/mem.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const char definition_text[] =
    "{\"schema\":{\"fields\":["
    "{\"name\":\"l\",\"type\":\"long\",\"nullable\":true},"
    "{\"name\":\"s\",\"type\":\"string\",\"nullable\":true},"
    "{\"name\":\"d\",\"type\":\"double\",\"nullable\":true},"
    "{\"name\":\"m\",\"type\":\"decimal(10,2)\",\"nullable\":true},"
    "{\"name\":\"day\",\"type\":\"date\",\"nullable\":true},"
    "{\"name\":\"t\",\"type\":\"timestamp\",\"nullable\":true},"
    "{\"name\":\"b\",\"type\":\"boolean\",\"nullable\":true},"
    "{\"name\":\"secret\",\"type\":\"string\",\"nullable\":true,\"phi\":true},"
    "{\"name\":\"p\",\"type\":\"string\",\"nullable\":true}]},"
    "\"partition_by\":[\"p\"],\"merge\":\"append\"}";

enum { L, S, D, M, DAY, T, B, SECRET, P, FIELDS };

static struct schema *make_schema(void)
{
    struct err err = {0};
    CLEANUP(json_free) struct json *definition = NULL;
    struct schema *schema = NULL;
    cr_assert_eq(json_parse(span_of_text(definition_text), &definition, &err), ERR_OK);
    cr_assert_eq(schema_parse(definition, &schema, &err), ERR_OK, "%s", err.msg);
    return schema;
}

static void set_text(struct parquet_column_statistics *column, const char *min, const char *max)
{
    column->has_range = true;
    column->min.bytes_size = (uint16_t)strlen(min);
    column->max.bytes_size = (uint16_t)strlen(max);
    column->min.exact = column->max.exact = true;
    memcpy(column->min.bytes, min, strlen(min));
    memcpy(column->max.bytes, max, strlen(max));
}

static void set_integers(struct parquet_column_statistics *column, int64_t min, int64_t max)
{
    column->has_range = true;
    column->min.i64 = min;
    column->max.i64 = max;
}

static void expect_written(const struct parquet_column_statistics *statistics,
                           const struct delta_stats_options *options, const char *expected)
{
    struct schema *schema = make_schema();
    CLEANUP(buffer_deinit) struct buffer text = {0};
    buffer_init(&text, 10000);
    delta_stats_write(schema, 7, statistics, options, &text);
    cr_expect(span_equal_text(buffer_span(&text), expected), "got %.*s", SPAN_PRINT(text));
    schema_release(&schema);
}

Test(stats, writes_each_type)
{
    struct parquet_column_statistics statistics[FIELDS] = {0};
    set_integers(&statistics[L], -5, INT64_MAX);
    set_text(&statistics[S], "a\"", "z");
    statistics[S].nulls_count = 2;
    statistics[D].has_range = true;
    statistics[D].min.f64 = -0.5;
    statistics[D].max.f64 = 1e300;
    statistics[M].has_range = true;
    statistics[M].min.i128 = -1;
    statistics[M].max.i128 = 1234;
    set_integers(&statistics[DAY], -1, 0);
    set_integers(&statistics[T], -1, 1500001);
    set_integers(&statistics[B], 0, 1);
    set_text(&statistics[SECRET], "ssn", "ssn");
    set_text(&statistics[P], "x", "x");
    expect_written(
        statistics, &(struct delta_stats_options){.tight_bounds = true},
        "{\"numRecords\":7,"
        "\"minValues\":{\"l\":-5,\"s\":\"a\\\"\",\"d\":-0.5,\"m\":-0.01,\"day\":\"1969-12-31\","
        "\"t\":\"1969-12-31T23:59:59.999Z\"},"
        "\"maxValues\":{\"l\":9223372036854775807,\"s\":\"z\",\"d\":1e300,\"m\":12.34,"
        "\"day\":\"1970-01-01\",\"t\":\"1970-01-01T00:00:01.501Z\"},"
        "\"nullCount\":{\"l\":0,\"s\":2,\"d\":0,\"m\":0,\"day\":0,\"t\":0,\"b\":0},"
        "\"tightBounds\":true}");
}

Test(stats, leaves_out_what_cannot_be_true)
{
    struct parquet_column_statistics statistics[FIELDS] = {0};
    for (size_t i = 0; i < FIELDS; i++) {
        statistics[i].nulls_count = -1;
    }
    statistics[D].has_range = true;
    statistics[D].has_nan = true;
    set_integers(&statistics[T], INT64_MIN, INT64_MAX);
    set_integers(&statistics[DAY], INT32_MIN, INT32_MAX);
    set_text(&statistics[S], "\xff", "\xff\xfe");
    expect_written(statistics, NULL,
                   "{\"numRecords\":7,\"minValues\":{},\"maxValues\":{},\"nullCount\":{}}");
    statistics[D].has_nan = false;
    statistics[D].min.f64 = -INFINITY;
    statistics[D].max.f64 = 3;
    expect_written(statistics, NULL,
                   "{\"numRecords\":7,\"minValues\":{},\"maxValues\":{\"d\":3},\"nullCount\":{}}");
}

Test(stats, obeys_mask_and_column_limit)
{
    struct parquet_column_statistics statistics[FIELDS] = {0};
    set_integers(&statistics[L], 1, 2);
    set_text(&statistics[S], "a", "b");
    const bool mask[FIELDS] = {[S] = true, [D] = true};
    expect_written(statistics, &(struct delta_stats_options){.columns = mask, .columns_max = 2},
                   "{\"numRecords\":7,\"minValues\":{\"s\":\"a\"},\"maxValues\":{\"s\":\"b\"},"
                   "\"nullCount\":{\"s\":0}}");
}

/* "ab" repeated to `size` bytes, then `tail`. */
static void fill(char *text, size_t size, const char *tail)
{
    for (size_t i = 0; i < size; i++) {
        text[i] = "ab"[i % 2];
    }
    memcpy(text + size, tail, strlen(tail) + 1);
}

Test(stats, a_cut_maximum_stays_above)
{
    static const struct {
        const char *tail;     /* after 32 characters */
        const char *expected; /* after the kept 32; NULL = no bound */
    } cases[] = {
        {"", ""},
        {"c", "\x7f"},
        {"~~~~", "\x7f"},
        {"\x7f", "\xf4\x8f\xbf\xbf"},
        {"\xc3\xbc", "\xf4\x8f\xbf\xbf"},
        {"\xf4\x8f\xbf\xbf"
         "c",
         "\xf4\x8f\xbf\xbf\x7f"},
        {"\xf4\x8f\xbf\xbf", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parquet_column_statistics statistics[FIELDS] = {0};
        char value[200];
        char kept[200];
        char expected[600];
        fill(value, 32, cases[i].tail);
        fill(kept, 32, cases[i].expected != NULL ? cases[i].expected : "");
        for (size_t j = 0; j < FIELDS; j++) {
            statistics[j].nulls_count = -1;
        }
        set_text(&statistics[S], value, value);
        (void)snprintf(expected, sizeof expected,
                       "{\"numRecords\":7,\"minValues\":{\"s\":\"%.32s\"},"
                       "\"maxValues\":{%s%s%s},\"nullCount\":{}}",
                       value, cases[i].expected != NULL ? "\"s\":\"" : "",
                       cases[i].expected != NULL ? kept : "",
                       cases[i].expected != NULL ? "\"" : ""); /* fits */
        if (cases[i].expected != NULL && cases[i].tail[0] != '\0') {
            cr_expect_gt(strcmp(kept, value), 0, "case %zu", i);
        }
        if (cases[i].expected != NULL && strcmp(cases[i].expected, "\x7f") == 0) {
            continue; /* JSON spells U+007F as it likes; the order above is what counts */
        }
        expect_written(statistics, NULL, expected);
    }
}

Test(stats, loosening_changes_one_member)
{
    static const struct {
        const char *before, *after; /* NULL = refused */
    } cases[] = {
        {"{\"numRecords\":1}", "{\"numRecords\":1,\"tightBounds\":false}"},
        {"{\"tightBounds\":true,\"numRecords\":1 }", "{\"tightBounds\":false,\"numRecords\":1 }"},
        {"{\"numRecords\":1,\"minValues\":{\"tightBounds\":true},\"x\": [1, {}]} ",
         "{\"numRecords\":1,\"minValues\":{\"tightBounds\":true},\"x\": [1, {}],"
         "\"tightBounds\":false} "},
        {"{\"numRecords\":2,\"tightBounds\":false}", "{\"numRecords\":2,\"tightBounds\":false}"},
        {NULL, NULL},
        {"{}", NULL},
        {"{\"minValues\":{\"numRecords\":1}}", NULL},
        {"{\"numRecords\":1,", NULL},
        {"{\"numRecords\":-1}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(buffer_deinit) struct buffer text = {0};
        struct err err = {0};
        buffer_init(&text, 1000);
        enum err_code code = delta_stats_loosen(cases[i].before, &text, &err);
        cr_expect_eq(code, cases[i].after != NULL ? ERR_OK : ERR_INVALID, "case %zu", i);
        cr_expect(cases[i].after == NULL || span_equal_text(buffer_span(&text), cases[i].after),
                  "case %zu: %.*s", i, SPAN_PRINT(text));
    }
}

static struct delta_stats parse(const char *text, const char *partition, struct schema *schema)
{
    struct delta_stats stats = {0};
    struct err err = {0};
    const struct delta_pair value = {"p", partition};
    const struct delta_file template = {
        .path = "f", .stats = text, .partition_values = &value, .partition_values_count = 1};
    static const struct delta_file *file; /* outlives the statistics */
    delta_file_release(&file);
    file = delta_file_new(&template);
    cr_assert_eq(delta_stats_parse(file, schema, &stats, &err), ERR_OK, "%s", err.msg);
    return stats;
}

Test(stats, parses_typed_bounds)
{
    struct schema *schema = make_schema();
    struct delta_stats stats =
        parse("{\"numRecords\":3,\"tightBounds\":false,\"minValues\":{\"l\":-9223372036854775808,"
              "\"s\":\"a\\u00fc\",\"d\":1,\"m\":-0.10,\"day\":\"2020-02-29\","
              "\"t\":\"2023-06-15T12:30:00.000-08:00\",\"b\":true,\"unknown\":{\"x\":[]}},"
              "\"maxValues\":{\"l\":5,\"s\":\"b\",\"d\":2.5e0,\"m\":99999999.99,"
              "\"t\":\"2023-06-15T12:30:00.123Z\"},"
              "\"nullCount\":{\"l\":0,\"s\":3,\"d\":1}}",
              "MA", schema);
    cr_expect_eq(stats.rows_count, 3);
    cr_expect_not(stats.tight_bounds);
    cr_expect(stats.columns[L].has_min && stats.columns[L].min.i64 == INT64_MIN);
    cr_expect(stats.columns[L].no_nulls && !stats.columns[L].all_nulls);
    cr_expect(span_equal_text(stats.columns[S].min.bytes, "a\xc3\xbc"));
    cr_expect(stats.columns[S].all_nulls);
    cr_expect_float_eq(stats.columns[D].max.f64, 2.5, 0);
    cr_expect(!stats.columns[D].no_nulls && !stats.columns[D].all_nulls);
    cr_expect(stats.columns[M].min.i128 == -10 && stats.columns[M].max.i128 == 9999999999);
    cr_expect_eq(stats.columns[DAY].min.i64, 18321);
    cr_expect_not(stats.columns[DAY].has_max);
    cr_expect_eq(stats.columns[T].min.i64 % 1000000, 0);
    cr_expect_eq(stats.columns[T].max.i64 % 1000000, 123999, "slack for a cut maximum");
    cr_expect_not(stats.columns[B].has_min);
    cr_expect(stats.columns[P].has_min && span_equal_text(stats.columns[P].max.bytes, "MA"));
    delta_stats_free(&stats);
    schema_release(&schema);
}

Test(stats, leaves_out_bounds_that_do_not_fit)
{
    struct schema *schema = make_schema();
    struct delta_stats stats =
        parse("{\"numRecords\":3,\"minValues\":{\"l\":99999999999999999999,\"s\":5,\"d\":\"NaN\","
              "\"m\":0.123,\"day\":\"2020-02-30\",\"t\":\"yesterday\"}}",
              NULL, schema);
    for (size_t i = 0; i < P; i++) {
        cr_expect_not(stats.columns[i].has_min, "column %zu", i);
    }
    cr_expect(stats.columns[P].all_nulls);
    delta_stats_free(&stats);
    schema_release(&schema);
}

Test(stats, broken_text_is_corrupt_not_partly_believed)
{
    static const char *const cases[] = {"",
                                        "{",
                                        "[]",
                                        "{\"minValues\":{\"l\":1}",
                                        "{\"minValues\":{\"l\"}}",
                                        "{\"a\":\"b}",
                                        "{\"a\":}",
                                        "{\"minValues\":7}",
                                        "null"};
    struct schema *schema = make_schema();
    for (size_t i = 1; i < sizeof cases / sizeof *cases; i++) {
        struct delta_stats stats = {0};
        struct err err = {0};
        const struct delta_file file = {.path = "f", .stats = cases[i], .rows_count = -1};
        cr_expect_eq(delta_stats_parse(&file, schema, &stats, &err), ERR_CORRUPT, "%s", cases[i]);
    }
    schema_release(&schema);
}
