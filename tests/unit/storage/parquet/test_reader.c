/*
 * Reading back what was written: all types, any rows, wider types, missing
 * columns; and what happens to damaged files.
 */
#include "storage/parquet/reader.h"
#include "storage/parquet/reader_state.h"
#include "tests/unit/storage/parquet/file_kit.h"
#include "tests/unit/storage/parquet/samples.h"

#include <criterion/criterion.h>

#include <string.h>

static void expect_same_rows(const struct frame *expected, int64_t start, const struct frame *found,
                             const char *name)
{
    for (size_t i = 0; i < expected->schema->fields_count; i++) {
        cr_expect(sample_columns_equal(&expected->columns[i], start, &found->columns[i], 0,
                                       found->rows_count),
                  "%s: column %s from row %lld", name, expected->schema->fields[i].name,
                  (long long)start);
    }
}

/* What the data looks like decides dictionary or PLAIN, one page or many. */
static const struct {
    const char *name;
    struct sample sample;
} shapes[] = {
    {"one row", {.rows_count = 1, .seed = 1}},
    {"no rows", {.rows_count = 0, .seed = 1}},
    {"all null", {.rows_count = 5000, .seed = 2, .nulls_permille = 1000}},
    {"one value", {.rows_count = 30000, .seed = 3, .distinct = 1}},
    {"few values with nulls",
     {.rows_count = 50000, .seed = 4, .nulls_permille = 300, .distinct = 60}},
    {"unique values", {.rows_count = 45000, .seed = 5}},
    {"unique values with nulls", {.rows_count = 45000, .seed = 6, .nulls_permille = 50}},
    {"long strings", {.rows_count = 3000, .seed = 7, .nulls_permille = 100, .text_bytes = 3000}},
    {"thousands of values", {.rows_count = 60000, .seed = 8, .distinct = 5000}},
};

Test(reader, gives_back_every_type_in_every_shape)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema(SAMPLE_ALL_TYPES);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        CLEANUP(frame_cleanup) struct frame *frame = sample_frame(schema, &shapes[i].sample);
        CLEANUP(file_kit_deinit) struct file_kit kit;
        file_kit_init(&kit, frame, NULL);
        cr_assert_eq(parquet_reader_rows_count(kit.reader), frame->rows_count);
        CLEANUP(frame_cleanup)
        struct frame *found = file_kit_read(&kit, schema, 0, frame->rows_count);
        expect_same_rows(frame, 0, found, shapes[i].name);
    }
}

Test(reader, reads_any_range)
{
    CLEANUP(schema_cleanup)
    struct schema *schema = sample_schema("a:string b:long c:decimal(20,2)");
    const struct sample sample = {
        .rows_count = 65000, .seed = 9, .nulls_permille = 200, .distinct = 40000};
    CLEANUP(frame_cleanup) struct frame *frame = sample_frame(schema, &sample);
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    for (uint64_t i = 0; i < 60; i++) {
        int64_t start = (int64_t)(sample_random(1, i) % 65001);
        int64_t count = (int64_t)(sample_random(2, i) % (i % 2 == 0 ? 100 : 65001));
        count = count < 65000 - start ? count : 65000 - start;
        CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, schema, start, count);
        expect_same_rows(frame, start, found, "range");
    }
}

Test(reader, reads_chosen_rows)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:string b:long c:boolean");
    const struct sample sample = {
        .rows_count = 65000, .seed = 10, .nulls_permille = 100, .distinct = 0};
    CLEANUP(frame_cleanup) struct frame *frame = sample_frame(schema, &sample);
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    for (uint64_t round = 0; round < 20; round++) {
        int64_t rows[300];
        int64_t count = 0;
        uint64_t step = round % 2 == 0 ? 3 : 600;
        for (int64_t row = (int64_t)round; row < 65000 && count < 300;
             row += 1 + (int64_t)(sample_random(round, (uint64_t)row) % step)) {
            rows[count++] = row;
        }
        CLEANUP(frame_cleanup) struct frame *found = frame_new(schema);
        struct err err = {0};
        cr_assert_eq(parquet_reader_read_rows(kit.reader, rows, count, NULL, found, &err), ERR_OK,
                     "%s", err.msg);
        cr_assert_eq(found->rows_count, count);
        frame_check(found);
        for (size_t i = 0; i < schema->fields_count; i++) {
            for (int64_t at = 0; at < count; at++) {
                cr_expect(
                    sample_columns_equal(&frame->columns[i], rows[at], &found->columns[i], at, 1),
                    "row %lld", (long long)rows[at]);
            }
        }
    }
}

Test(reader, appends_to_what_a_frame_holds)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:string b:long");
    CLEANUP(frame_cleanup)
    struct frame *frame = sample_frame(
        schema, &(struct sample){.rows_count = 1001, .seed = 11, .nulls_permille = 333});
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    CLEANUP(frame_cleanup) struct frame *found = frame_new(schema);
    struct err err = {0};
    for (int64_t row = 0; row < 1001; row += 143) {
        cr_assert_eq(parquet_reader_read_range(kit.reader, row, 143, NULL, found, &err), ERR_OK);
    }
    frame_check(found);
    expect_same_rows(frame, 0, found, "pieces");
}

Test(reader, widens_types_as_delta_allows)
{
    static const struct {
        const char *stored;
        const char *read_as;
        bool works;
    } cases[] = {
        {"a:byte", "a:short", true},
        {"a:byte", "a:integer", true},
        {"a:byte", "a:long", true},
        {"a:short", "a:long", true},
        {"a:integer", "a:long", true},
        {"a:integer", "a:double", true},
        {"a:float", "a:double", true},
        {"a:date", "a:timestamp_ntz", true},
        {"a:timestamp", "a:timestamp_ntz", true},
        {"a:integer", "a:decimal(10,0)", true},
        {"a:integer", "a:decimal(12,2)", true},
        {"a:integer", "a:decimal(11,2)", false},
        {"a:long", "a:decimal(20,0)", true},
        {"a:decimal(7,2)", "a:decimal(9,4)", true},
        {"a:decimal(7,2)", "a:decimal(38,10)", true},
        {"a:decimal(20,2)", "a:decimal(38,3)", true},
        {"a:decimal(7,2)", "a:decimal(7,1)", false},
        {"a:decimal(7,2)", "a:decimal(7,3)", false},
        {"a:binary", "a:string", false},
        {"a:string", "a:binary", true},
        {"a:long", "a:integer", false},
        {"a:long", "a:double", false},
        {"a:double", "a:float", false},
        {"a:string", "a:integer", false},
        {"a:integer", "a:string", false},
        {"a:boolean", "a:integer", false},
        {"a:date", "a:timestamp", false},
        {"a:double", "a:decimal(38,10)", false},
        {"a:long", "a:timestamp", false},
        {"a:integer", "a:date", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(schema_cleanup) struct schema *stored = sample_schema(cases[i].stored);
        CLEANUP(schema_cleanup) struct schema *wider = sample_schema(cases[i].read_as);
        CLEANUP(frame_cleanup)
        struct frame *frame = sample_frame(
            stored, &(struct sample){.rows_count = 100, .seed = 12, .nulls_permille = 100});
        CLEANUP(file_kit_deinit) struct file_kit kit;
        file_kit_init(&kit, frame, NULL);
        CLEANUP(frame_cleanup) struct frame *found = frame_new(wider);
        struct err err = {0};
        enum err_code code = parquet_reader_read_range(kit.reader, 0, 100, NULL, found, &err);
        if (cases[i].works) {
            cr_expect_eq(code, ERR_OK, "%s as %s: %s", cases[i].stored, cases[i].read_as, err.msg);
            cr_expect_eq(found->columns[0].nulls_count, frame->columns[0].nulls_count);
        } else {
            cr_expect(code == ERR_UNSUPPORTED || code == ERR_CORRUPT, "%s as %s", cases[i].stored,
                      cases[i].read_as);
            cr_expect_eq(found->rows_count, 0);
            cr_expect_eq(found->columns[0].rows_count, 0);
            cr_expect_not_null(strstr(err.msg, "'a'"), "%s", err.msg);
        }
    }
}

Test(reader, widened_values_are_right)
{
    CLEANUP(schema_cleanup)
    struct schema *stored = sample_schema("i:integer d:decimal(7,2) t:date");
    CLEANUP(schema_cleanup)
    struct schema *wider = sample_schema("i:decimal(12,2) d:decimal(20,5) t:timestamp_ntz");
    CLEANUP(frame_cleanup) struct frame *frame = frame_new(stored);
    column_append_i32(&frame->columns[0], INT32_MIN);
    column_append_i128(&frame->columns[1], -9999999);
    column_append_i32(&frame->columns[2], -1);
    frame_end_row(frame, FRAME_UPSERT, 0);
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, wider, 0, 1);
    cr_expect(found->columns[0].values.i128[0] == (__int128)INT32_MIN * 100);
    cr_expect(found->columns[1].values.i128[0] == (__int128)-9999999 * 1000);
    cr_expect_eq(found->columns[2].values.i64[0], INT64_C(-86400000000));
}

Test(reader, finds_columns_by_name_and_gives_null_for_missing_ones)
{
    CLEANUP(schema_cleanup) struct schema *stored = sample_schema("Alpha:long beta:string");
    CLEANUP(schema_cleanup)
    struct schema *wanted = sample_schema("alpha:long gone:string BETA:string also:decimal(9,2)");
    CLEANUP(frame_cleanup)
    struct frame *frame = sample_frame(stored, &(struct sample){.rows_count = 10, .seed = 13});
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, wanted, 0, 10);
    cr_expect(sample_columns_equal(&frame->columns[0], 0, &found->columns[0], 0, 10));
    cr_expect_eq(found->columns[1].nulls_count, 10);
    cr_expect(sample_columns_equal(&frame->columns[1], 0, &found->columns[2], 0, 10));
    cr_expect_eq(found->columns[3].nulls_count, 10);
    cr_expect(parquet_reader_has_column(kit.reader, span_of_text("BETA")));
    cr_expect_not(parquet_reader_has_column(kit.reader, span_of_text("gone")));
}

Test(reader, options_choose_and_rename_columns)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:long b:long");
    CLEANUP(schema_cleanup) struct schema *stored = sample_schema("b:long col_2:long");
    CLEANUP(frame_cleanup)
    struct frame *frame = sample_frame(stored, &(struct sample){.rows_count = 10, .seed = 14});
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    const bool columns[] = {true, false};
    const char *const names[] = {"col_2", "b"};
    CLEANUP(frame_cleanup) struct frame *found = frame_new(schema);
    struct err err = {0};
    const struct parquet_read_options options = {.columns = columns, .names = names};
    cr_assert_eq(parquet_reader_read_range(kit.reader, 0, 10, &options, found, &err), ERR_OK);
    cr_expect(sample_columns_equal(&frame->columns[1], 0, &found->columns[0], 0, 10));
    cr_expect_eq(found->columns[1].nulls_count, 10);
}

/* Old Spark versions wrote another calendar: refused where it differs, read where it does not. */
Test(reader, refuses_dates_before_the_calendars_agree)
{
    static const struct {
        const char *schema;
        int64_t last_refused;
    } cases[] = {{"a:date", -141428}, {"a:timestamp", INT64_C(-2208988800000001)}};
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(schema_cleanup) struct schema *schema = sample_schema(cases[i].schema);
        for (int64_t shift = 0; shift < 2; shift++) {
            CLEANUP(frame_cleanup) struct frame *frame = frame_new(schema);
            if (i == 0) {
                column_append_i32(&frame->columns[0], (int32_t)(cases[i].last_refused + shift));
            } else {
                column_append_i64(&frame->columns[0], cases[i].last_refused + shift);
            }
            frame_end_row(frame, FRAME_UPSERT, 0);
            CLEANUP(file_kit_deinit) struct file_kit kit;
            file_kit_init(&kit, frame, NULL);
            for (int legacy = 0; legacy < 2; legacy++) {
                kit.reader->legacy_calendar = legacy == 1;
                CLEANUP(frame_cleanup) struct frame *found = frame_new(schema);
                struct err err = {0};
                enum err_code code = parquet_reader_read_range(kit.reader, 0, 1, NULL, found, &err);
                bool refused = legacy == 1 && shift == 0;
                cr_expect_eq(code, refused ? ERR_UNSUPPORTED : ERR_OK, "%s", cases[i].schema);
            }
            struct parquet_column_statistics statistics;
            parquet_reader_statistics(kit.reader, 0, &schema->fields[0], &statistics);
            cr_expect_not(statistics.has_range); /* bounds of that calendar are not ours */
        }
    }
}

/* ---- damaged files ---- */

/* Read everything; any answer but a crash will do. Returns the code. */
static enum err_code read_damaged(struct span file, const struct schema *schema)
{
    struct err err = {0};
    struct parquet_reader *reader = NULL;
    const struct parquet_source source = parquet_source_of(&file);
    enum err_code code = parquet_reader_open(&source, &reader, &err);
    if (code != ERR_OK) {
        cr_expect_gt(strlen(err.msg), 0);
        return code;
    }
    CLEANUP(frame_cleanup) struct frame *frame = frame_new(schema);
    int64_t count = parquet_reader_rows_count(reader);
    count = count < 10000 ? count : 10000;
    code = parquet_reader_read_range(reader, 0, count, NULL, frame, &err);
    frame_check(frame);
    parquet_reader_close(&reader);
    return code;
}

Test(reader, every_flipped_byte_of_a_page_is_noticed)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:string b:long c:double");
    CLEANUP(frame_cleanup)
    struct frame *frame =
        sample_frame(schema, &(struct sample){.rows_count = 50, .seed = 15, .nulls_permille = 200});
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    struct span file = kit.span;
    for (size_t i = 0; i < file.size; i++) {
        kit.bytes.data[i] ^= 0x41;
        (void)read_damaged(file, schema); /* must not crash, whatever it says */
        kit.bytes.data[i] ^= 0x41;
    }
    /* the body of the first page is covered by its checksum */
    int damaged = 0;
    for (size_t i = 60; i < 90; i++) {
        kit.bytes.data[i] ^= 0x41;
        damaged += read_damaged(file, schema) == ERR_CORRUPT;
        kit.bytes.data[i] ^= 0x41;
    }
    cr_expect_eq(damaged, 30);
    cr_expect_eq(read_damaged(file, schema), ERR_OK);
}

Test(reader, every_cut_file_is_refused)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:string b:long");
    CLEANUP(frame_cleanup)
    struct frame *frame = sample_frame(schema, &(struct sample){.rows_count = 20, .seed = 16});
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    for (size_t size = 0; size < kit.span.size; size++) {
        cr_expect_eq(read_damaged(span_of(kit.span.data, size), schema), ERR_CORRUPT, "%zu bytes",
                     size);
        /* bytes missing in the middle: footer whole, offsets wrong */
        CLEANUP(buffer_deinit) struct buffer shorter;
        buffer_init(&shorter, 1 << 20);
        size_t footer = kit.span.size < 600 ? kit.span.size : 600;
        buffer_append(&shorter, kit.span.data, size < kit.span.size - footer ? size : 0);
        buffer_append(&shorter, kit.span.data + kit.span.size - footer, footer);
        (void)read_damaged(buffer_span(&shorter), schema); /* must not crash */
    }
}

Test(reader, says_what_is_wrong)
{
    static const struct {
        const char *name;
        const char *bytes;
        size_t size;
        enum err_code code;
        const char *message;
    } cases[] = {
        {"empty", "", 0, ERR_CORRUPT, "only 0 bytes"},
        {"text", "hello, this is no Parquet file", 30, ERR_CORRUPT, "not a Parquet file"},
        {"encrypted", "PARE\0\0\0\0\0\0\0\0PARE", 16, ERR_UNSUPPORTED, "encrypted"},
        {"footer larger than the file", "PAR1\x84\x03\0\0PAR1", 12, ERR_CORRUPT,
         "footer length 900 exceeds file size 12"},
        {"empty footer", "PAR1\0\0\0\0PAR1", 12, ERR_CORRUPT, "footer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        struct parquet_reader *reader = NULL;
        const struct span file = span_of(cases[i].bytes, cases[i].size);
        const struct parquet_source source = parquet_source_of(&file);
        cr_expect_eq(parquet_reader_open(&source, &reader, &err), cases[i].code, "%s",
                     cases[i].name);
        cr_expect_not_null(strstr(err.msg, cases[i].message), "%s: %s", cases[i].name, err.msg);
        cr_expect_null(reader);
    }
}

/* A source that fails on its n-th read. */
struct faulty_source {
    struct span file;
    int reads_left;
};

static enum err_code read_or_fail(void *self, int64_t offset, void *out, size_t size,
                                  struct err *err)
{
    struct faulty_source *source = self;
    if (source->reads_left-- == 0) {
        return err_set(err, ERR_IO, "the disk is tired");
    }
    memcpy(out, source->file.data + offset, size);
    return ERR_OK;
}

Test(reader, passes_on_every_failure_of_its_source)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:string b:long");
    CLEANUP(frame_cleanup)
    struct frame *frame = sample_frame(schema, &(struct sample){.rows_count = 30000, .seed = 17});
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    int failures = 0;
    for (int n = 0;; n++) {
        struct faulty_source faulty = {.file = kit.span, .reads_left = n};
        const struct parquet_source source = {
            .read_at = read_or_fail, .self = &faulty, .size = (int64_t)kit.span.size};
        struct err err = {0};
        struct parquet_reader *reader = NULL;
        CLEANUP(frame_cleanup) struct frame *found = frame_new(schema);
        enum err_code code = parquet_reader_open(&source, &reader, &err);
        if (code == ERR_OK) {
            code = parquet_reader_read_range(reader, 0, 30000, NULL, found, &err);
            cr_expect_eq(found->rows_count, code == ERR_OK ? 30000 : 0);
            frame_check(found);
        }
        parquet_reader_close(&reader);
        if (code == ERR_OK) {
            break;
        }
        cr_expect_eq(code, ERR_IO);
        cr_expect_not_null(strstr(err.msg, "the disk is tired"));
        failures++;
    }
    cr_expect_gt(failures, 3);
}
