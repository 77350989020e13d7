/*
 * The schema that a file brings along, and reading it without losing anything.
 */
#include "storage/parquet/reader.h"

#include "tests/unit/storage/parquet/file_kit.h"
#include "tests/unit/storage/parquet/samples.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(reader_schema, names_and_types_are_those_that_were_written)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema(SAMPLE_ALL_TYPES);
    const struct sample sample = {.rows_count = 500, .seed = 7, .nulls_permille = 100};
    CLEANUP(frame_cleanup) struct frame *frame = sample_frame(schema, &sample);
    const struct parquet_write_options options = {0};
    struct file_kit kit = {0};
    file_kit_init(&kit, frame, &options);
    struct schema *found = NULL;
    struct err err = {0};
    cr_assert_eq(parquet_reader_schema(kit.reader, NULL, &found, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(found->fields_count, schema->fields_count);
    for (size_t i = 0; i < schema->fields_count; i++) {
        cr_expect_str_eq(found->fields[i].name, schema->fields[i].name);
        cr_expect_eq(found->fields[i].type, schema->fields[i].type, "%s", found->fields[i].name);
        cr_expect_eq(found->fields[i].scale, schema->fields[i].scale, "%s", found->fields[i].name);
    }
    CLEANUP(frame_cleanup) struct frame *read = file_kit_read(&kit, found, 0, 500);
    for (size_t i = 0; i < schema->fields_count; i++) {
        cr_expect(sample_columns_equal(&frame->columns[i], 0, &read->columns[i], 0, 500), "%s",
                  schema->fields[i].name);
    }
    schema_release(&found);
    file_kit_deinit(&kit);
}

/* A column of timestamps whose footer says that they are nanoseconds. */
static void make_nanoseconds(struct file_kit *kit, int64_t value)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("at:timestamp");
    CLEANUP(frame_cleanup) struct frame *frame = frame_new(schema);
    column_append_i64(&frame->columns[0], value);
    frame_end_row(frame, FRAME_UPSERT, 0);
    const struct parquet_write_options options = {0};
    file_kit_init(kit, frame, &options);
    /* LogicalType TIMESTAMP { true, TimeUnit { 2: MICROS } }: the unit becomes 3: NANOS */
    uint8_t *unit = memmem(kit->bytes.data, kit->bytes.size, "\x8c\x11\x1c\x2c", 4);
    cr_assert_not_null(unit);
    unit[3] = 0x3c;
    parquet_reader_close(&kit->reader);
    file_kit_open(kit);
}

Test(reader_schema, nanoseconds_are_refused_when_they_would_be_lost)
{
    static const struct {
        int64_t value;
        bool exact;
        enum err_code code;
    } cases[] = {
        {1000, true, ERR_OK},        {-1000, true, ERR_OK}, {1001, true, ERR_UNSUPPORTED},
        {-1, true, ERR_UNSUPPORTED}, {1001, false, ERR_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct file_kit kit = {0};
        struct schema *schema = NULL;
        struct err err = {0};
        make_nanoseconds(&kit, cases[i].value);
        cr_assert_eq(parquet_reader_schema(kit.reader, NULL, &schema, &err), ERR_OK, "%s", err.msg);
        CLEANUP(frame_cleanup) struct frame *frame = frame_new(schema);
        const struct parquet_read_options options = {.exact = cases[i].exact};
        cr_expect_eq(parquet_reader_read_range(kit.reader, 0, 1, &options, frame, &err),
                     cases[i].code, "%d: %s", (int)cases[i].value, err.msg);
        if (cases[i].code == ERR_OK) {
            cr_expect_eq(frame->columns[0].values.i64[0], cases[i].value / 1000);
        } else {
            cr_expect_not_null(strstr(err.msg, "microseconds"), "%s", err.msg);
        }
        schema_release(&schema);
        file_kit_deinit(&kit);
    }
}

/* A date may be further away than any timestamp. */
Test(reader_schema, dates_beyond_timestamps_are_refused)
{
    static const struct {
        int32_t days;
        enum err_code code;
    } cases[] = {{106751991, ERR_OK},       {-106751991, ERR_OK},     {106751992, ERR_CORRUPT},
                 {-106751992, ERR_CORRUPT}, {INT32_MAX, ERR_CORRUPT}, {INT32_MIN, ERR_CORRUPT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(schema_cleanup) struct schema *dates = sample_schema("at:date");
        CLEANUP(schema_cleanup) struct schema *moments = sample_schema("at:timestamp_ntz");
        CLEANUP(frame_cleanup) struct frame *frame = frame_new(dates);
        CLEANUP(frame_cleanup) struct frame *read = frame_new(moments);
        const struct parquet_write_options options = {0};
        struct file_kit kit = {0};
        struct err err = {0};
        column_append_i32(&frame->columns[0], cases[i].days);
        frame_end_row(frame, FRAME_UPSERT, 0);
        file_kit_init(&kit, frame, &options);
        cr_expect_eq(parquet_reader_read_range(kit.reader, 0, 1, NULL, read, &err), cases[i].code,
                     "%d: %s", (int)cases[i].days, err.msg);
        if (cases[i].code == ERR_OK) {
            cr_expect_eq(read->columns[0].values.i64[0], cases[i].days * INT64_C(86400000000));
        }
        file_kit_deinit(&kit);
    }
}

/* Every file of other writers gives a schema that it can be read with, or is refused by name. */
Test(reader_schema, files_of_other_writers)
{
    const char *folder = getenv("SLUICE_TEST_DATA");
    if (folder == NULL) {
        (void)fprintf(stderr, "SKIPPED: set SLUICE_TEST_DATA to read other writers' files\n");
        return;
    }
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/parquet/data", folder);
    DIR *listing = opendir(path);
    cr_assert_not_null(listing, "%s", path);
    int read = 0;
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || strcmp(dot, ".parquet") != 0) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/parquet/data/%s", folder, entry->d_name);
        static uint8_t bytes[16 << 20];
        FILE *stream = fopen(path, "rb");
        cr_assert_not_null(stream);
        struct span file = span_of(bytes, fread(bytes, 1, sizeof bytes, stream));
        (void)fclose(stream); /* only read from */
        const struct parquet_source source = parquet_source_of(&file);
        struct parquet_reader *reader = NULL;
        struct schema *schema = NULL;
        struct err err = {0};
        if (parquet_reader_open(&source, &reader, &err) == ERR_OK &&
            parquet_reader_schema(reader, NULL, &schema, &err) == ERR_OK) {
            CLEANUP(frame_cleanup) struct frame *frame = frame_new(schema);
            int64_t rows = parquet_reader_rows_count(reader);
            enum err_code code = parquet_reader_read_range(reader, 0, rows, NULL, frame, &err);
            read += code == ERR_OK;
            cr_expect(code == ERR_OK || code == ERR_UNSUPPORTED || code == ERR_CORRUPT, "%s: %s",
                      entry->d_name, err.msg);
        } else {
            cr_expect_neq(err.msg[0], '\0', "%s", entry->d_name);
        }
        schema_release(&schema);
        parquet_reader_close(&reader);
    }
    (void)closedir(listing); /* only read from */
    cr_expect_geq(read, 15, "%d files were read", read);
}
