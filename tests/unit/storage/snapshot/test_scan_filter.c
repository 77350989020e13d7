/*
 * Filters: rows that pass, ranges that may be skipped.
 */
#include "storage/snapshot/scan_filter.h"
#include "storage/snapshot/scan_text.h"

#include "storage/base/mem.h"
#include "storage/snapshot/scan.h"
#include "tests/unit/storage/snapshot/fixture.h"

#include <criterion/criterion.h>

Test(scan_filter, judges_ranges)
{
    static const struct {
        enum scan_operator operator;
        int64_t value;
        bool may; /* in 10 … 20 */
    } cases[] = {
        {SCAN_EQUAL, 9, false},
        {SCAN_EQUAL, 10, true},
        {SCAN_EQUAL, 20, true},
        {SCAN_EQUAL, 21, false},
        {SCAN_NOT_EQUAL, 10, true},
        {SCAN_LESS, 10, false},
        {SCAN_LESS, 11, true},
        {SCAN_LESS_OR_EQUAL, 9, false},
        {SCAN_LESS_OR_EQUAL, 10, true},
        {SCAN_GREATER, 20, false},
        {SCAN_GREATER, 19, true},
        {SCAN_GREATER_OR_EQUAL, 21, false},
        {SCAN_GREATER_OR_EQUAL, 20, true},
        {SCAN_LESS, 100, true},
        {SCAN_GREATER, 0, true},
        {SCAN_IN, 9, false},
        {SCAN_IN, 15, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct row_value value = {.type = COLUMN_LONG, .integer = cases[i].value};
        struct scan_filter filter = {
            .operator= cases[i].operator, .values = & value, .values_count = 1};
        struct value_range range = {.has_min = true,
                                    .has_max = true,
                                    .min = {.type = COLUMN_LONG, .integer = 10},
                                    .max = {.type = COLUMN_LONG, .integer = 20}};
        cr_expect_eq(scan_filter_may_match(&filter, &range), cases[i].may, "%s %lld",
                     scan_operator_name(cases[i].operator), (long long)cases[i].value);
        struct value_range unknown = {0};
        cr_expect(scan_filter_may_match(&filter, &unknown), "nothing known");
        struct value_range nulls = {.all_nulls = true};
        cr_expect_not(scan_filter_may_match(&filter, &nulls), "all null");
    }
    static const struct {
        int64_t values[3];
        bool may; /* in 10 … 20 */
    } lists[] = {
        {{1, 9, 21}, false}, {{9, 21, 20}, true},
        {{15, 9, 21}, true}, {{INT64_MIN, INT64_MAX, 0}, false},
        {{9, 10, 21}, true},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct row_value values[3];
        for (size_t j = 0; j < 3; j++) {
            values[j] = (struct row_value){.type = COLUMN_LONG, .integer = lists[i].values[j]};
        }
        struct scan_filter filter = {.operator= SCAN_IN, .values = values, .values_count = 3};
        struct value_range range = {.has_min = true,
                                    .has_max = true,
                                    .min = {.type = COLUMN_LONG, .integer = 10},
                                    .max = {.type = COLUMN_LONG, .integer = 20}};
        cr_expect_eq(scan_filter_may_match(&filter, &range), lists[i].may, "list %zu", i);
        struct value_range nulls = {.all_nulls = true};
        cr_expect_not(scan_filter_may_match(&filter, &nulls), "all null");
    }
    struct row_value real = {.type = COLUMN_DOUBLE, .real = 100};
    struct scan_filter above = {.operator= SCAN_GREATER, .values = &real, .values_count = 1};
    struct value_range reals = {.has_max = true, .max = {.type = COLUMN_DOUBLE, .real = 20}};
    cr_expect(scan_filter_may_match(&above, &reals), "NaN stands above every bound");
}

Test(scan_filter, nested_columns_are_not_filtered)
{
    static const char text[] =
        "{\"type\":\"struct\",\"fields\":[{\"name\":\"l\",\"type\":{\"type\":\"array\","
        "\"elementType\":\"long\",\"containsNull\":true},\"nullable\":true,\"metadata\":{}}]}";
    CLEANUP(schema_release) struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse_delta(span_of_text(text), NULL, &schema, &err), ERR_OK);
    const struct scan_filter filter = {.column = 0, .operator= SCAN_IS_NULL };
    cr_expect_eq(scan_filters_check(schema, &filter, 1, &err), ERR_INVALID);
    cr_expect_str_eq(err.msg, "filter 0: column 'l' is nested");
    struct arena arena;
    struct row_value value;
    arena_init(&arena, 1 << 16);
    cr_expect_eq(scan_value_parse(&schema->fields[0], span_of_text("1"), &arena, &value, &err),
                 ERR_INVALID);
    arena_deinit(&arena);
}

Test(scan_filter, refuses_filters_that_make_no_sense)
{
    struct fixture_options options = {.merge = TABLE_DELETION_VECTORS};
    struct fixture fixture = fixture_make(&options);
    struct row_value text = {.type = COLUMN_STRING, .bytes = span_of_text("a")};
    struct row_value number = {.type = COLUMN_INTEGER, .integer = 1};
    const struct {
        struct scan_filter filter;
        bool valid;
    } cases[] = {
        {{fixture.id, SCAN_EQUAL, &text, 1}, true},
        {{fixture.id, SCAN_EQUAL, &number, 1}, false},
        {{fixture.id, SCAN_EQUAL, &text, 0}, false},
        {{fixture.id, SCAN_IS_NULL, &text, 1}, false},
        {{fixture.id, SCAN_IS_NULL, NULL, 0}, true},
        {{fixture.id, SCAN_IN, &text, 1}, true},
        {{999, SCAN_EQUAL, &text, 1}, false},
        {{fixture.amount, SCAN_LESS, &number, 1}, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        enum err_code code = scan_filters_check(fixture.schema, &cases[i].filter, 1, &err);
        cr_expect((code == ERR_OK) == cases[i].valid, "case %zu: %s", i, err.msg);
    }
    fixture_remove(&fixture);
}

/* Filters against a simple count, over files, deletion vectors, pages and skipping. */
Test(scan_filter, finds_the_rows_that_pass)
{
    struct fixture_options options = {
        .merge = TABLE_DELETION_VECTORS, .sequence = true, .partition = true};
    struct fixture fixture = fixture_make(&options);
    enum { ROWS = 400 };
    char ids[ROWS][8];
    static const char *const regions[] = {"north", "south", NULL};
    for (int batch = 0; batch < 4; batch++) {
        struct record_words records[ROWS / 4];
        for (int i = 0; i < ROWS / 4; i++) {
            int row = batch * ROWS / 4 + i;
            (void)snprintf(ids[row], sizeof ids[row], "k%04d", row % 10000);
            records[i] = (struct record_words){.operation = FRAME_UPSERT,
                                               .id = ids[row],
                                               .updated = 1,
                                               .amount = row % 7 == 0 ? INT32_MAX : row,
                                               .note = "n",
                                               .region = regions[row % 3],
                                               .member = NULL};
        }
        fixture_put(&fixture, records, ROWS / 4);
    }
    struct record_words gone = {FRAME_DELETE, "k0010", 2, 0, NULL, NULL, NULL};
    fixture_put(&fixture, &gone, 1);
    struct row_value hundred = {.type = COLUMN_INTEGER, .integer = 100};
    struct row_value north = {.type = COLUMN_STRING, .bytes = span_of_text("north")};
    struct row_value tenth = {.type = COLUMN_STRING, .bytes = span_of_text("k0010")};
    struct scan_filter below = {fixture.amount, SCAN_LESS, &hundred, 1};
    struct scan_filter in_north = {fixture.region, SCAN_EQUAL, &north, 1};
    struct scan_filter nowhere = {fixture.region, SCAN_IS_NULL, NULL, 0};
    struct scan_filter deleted = {fixture.id, SCAN_EQUAL, &tenth, 1};
    struct row_value some[] = {{.type = COLUMN_INTEGER, .integer = 8},
                               {.type = COLUMN_INTEGER, .integer = 10}, /* deleted */
                               {.type = COLUMN_INTEGER, .integer = 7},  /* is null instead */
                               {.type = COLUMN_INTEGER, .integer = 51},
                               {.type = COLUMN_INTEGER, .integer = 9999}};
    struct row_value both[] = {{.type = COLUMN_STRING, .bytes = span_of_text("south")},
                               {.type = COLUMN_STRING, .bytes = span_of_text("north")}};
    struct scan_filter among = {fixture.amount, SCAN_IN, some, 5};
    struct scan_filter somewhere = {fixture.region, SCAN_IN, both, 2};
    const struct {
        const char *name;
        struct scan_filter filters[2];
        size_t count;
        int64_t rows;
        bool skips;
    } cases[] = {
        {"all", {below, below}, 0, 399, false},
        {"below 100", {below, below}, 1, 84, true}, /* 100 less 15 nulls less k0010 */
        {"north", {in_north, in_north}, 1, 134, true},
        {"north below 100", {in_north, below}, 2, 29, true},
        {"nowhere", {nowhere, nowhere}, 1, 133, true},
        {"deleted", {deleted, deleted}, 1, 0, true},
        {"among", {among, among}, 1, 2, true},
        {"somewhere", {somewhere, somewhere}, 1, 266, true},
        {"among somewhere", {among, somewhere}, 2, 1, true}, /* 8 is nowhere */
    };
    const struct snapshot *snapshot = table_snapshot(fixture.table);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static const int64_t limits[] = {1, 7, 1000};
        for (size_t l = 0; l < sizeof limits / sizeof limits[0]; l++) {
            struct scan_request request = {
                .filters = cases[i].filters, .filters_count = cases[i].count, .limit = limits[l]};
            int64_t rows = 0;
            int64_t skipped = 0;
            for (bool done = false; !done;) {
                struct scan_result page = {0};
                struct err err = {0};
                cr_assert(scan_run(snapshot, &request, &page, &err) == ERR_OK, "%s", err.msg);
                cr_assert(page.frame->rows_count <= limits[l]);
                rows += page.frame->rows_count;
                skipped += page.skipped_files;
                request.start = page.next;
                done = page.done;
                scan_result_deinit(&page);
            }
            cr_expect_eq(rows, cases[i].rows, "%s by %lld: %lld rows", cases[i].name,
                         (long long)limits[l], (long long)rows);
            cr_expect((skipped > 0) == cases[i].skips, "%s: %lld files skipped", cases[i].name,
                      (long long)skipped);
        }
    }
    struct scan_request bad = {.limit = 1, .start = {.file = 99}};
    struct scan_result page = {0};
    struct err err = {0};
    cr_expect(scan_run(snapshot, &bad, &page, &err) == ERR_INVALID);
    struct scan_request bounded = {
        .filters = &deleted, .filters_count = 1, .limit = 5, .visit_rows_max = 10};
    cr_assert(scan_run(snapshot, &bounded, &page, &err) == ERR_OK, "%s", err.msg);
    scan_result_deinit(&page);
    snapshot_release(&snapshot);
    fixture_remove(&fixture);
}
