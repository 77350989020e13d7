/*
 * Files of other writers (apache/parquet-testing), in the folder that
 * SLUICE_TEST_DATA names: each is read, or refused by name.
 */
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"
#include "storage/parquet/nested.h"

#include <criterion/criterion.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096, TEXT_BYTES_MAX = 1 << 26 };

/* The folder, or NULL with a loud note. */
static const char *data_folder(void)
{
    const char *folder = getenv("SLUICE_TEST_DATA");
    if (folder == NULL) {
        (void)fprintf(stderr, "SKIPPED: set SLUICE_TEST_DATA to read other writers' files\n");
    }
    return folder;
}

static struct buffer load(const char *folder, const char *file)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/parquet/%s", folder, file);
    struct buffer bytes;
    buffer_init(&bytes, TEXT_BYTES_MAX);
    FILE *stream = fopen(path, "rb");
    cr_assert_not_null(stream, "%s", path);
    for (;;) {
        uint8_t *target = buffer_reserve(&bytes, 1 << 16);
        size_t size = fread(target, 1, 1 << 16, stream);
        buffer_advance(&bytes, size);
        if (size == 0) {
            break;
        }
    }
    (void)fclose(stream); /* only read from */
    return bytes;
}

/* Read all rows; JSON lines of the first `text_rows` go to `text`. */
static enum err_code read_rows(struct span file, int64_t *count_out, struct buffer *text,
                               int64_t text_rows, struct err *err)
{
    struct parquet_reader *reader = NULL;
    struct parquet_rows *rows = NULL;
    const struct parquet_value *row = NULL;
    const struct parquet_source source = parquet_source_of(&file);
    int64_t count = 0;
    enum err_code code = parquet_reader_open(&source, &reader, err);
    if (code == ERR_OK) {
        code = parquet_rows_begin(reader, NULL, &rows, err);
    }
    while (code == ERR_OK) {
        code = parquet_rows_next(rows, &row, err);
        if (code != ERR_OK || row == NULL) {
            break;
        }
        if (count++ < text_rows) {
            struct json *json = parquet_value_to_json(row, false);
            json_write(json, text);
            buffer_append_byte(text, '\n');
            json_free(&json);
        }
    }
    *count_out = count;
    parquet_rows_end(&rows);
    parquet_reader_close(&reader);
    return code;
}

Test(golden, files_are_read_or_refused_by_name)
{
    static const struct {
        const char *file;
        int64_t rows;
        enum err_code code;
        const char *message;
    } cases[] = {
        {"alltypes_dictionary.parquet", 2, ERR_OK, ""},
        {"alltypes_plain.snappy.parquet", 2, ERR_OK, ""},
        {"alltypes_tiny_pages_plain.parquet", 7300, ERR_OK, ""},
        {"binary_truncated_min_max.parquet", 12, ERR_OK, ""},
        {"byte_stream_split.zstd.parquet", 300, ERR_OK, ""},
        {"column_chunk_key_value_metadata.parquet", 0, ERR_OK, ""},
        {"data_index_bloom_encoding_stats.parquet", 14, ERR_OK, ""},
        {"datapage_v1-corrupt-checksum.parquet", 0, ERR_CORRUPT, "checksum"},
        {"datapage_v1-uncompressed-checksum.parquet", 5120, ERR_OK, ""},
        {"datapage_v2_empty_datapage.snappy.parquet", 1, ERR_OK, ""},
        {"dict-page-offset-zero.parquet", 39, ERR_OK, ""},
        {"encrypt_columns_and_footer_aad.parquet.encrypted", 0, ERR_UNSUPPORTED, "encrypted"},
        {"encrypt_columns_and_footer_ctr.parquet.encrypted", 0, ERR_UNSUPPORTED, "encrypted"},
        {"encrypt_columns_plaintext_footer.parquet.encrypted", 0, ERR_UNSUPPORTED, "encrypted"},
        {"fixed_length_byte_array.parquet", 1000, ERR_OK, ""},
        {"fixed_length_decimal_legacy.parquet", 24, ERR_OK, ""},
        {"float16_zeros_and_nans.parquet", 3, ERR_OK, ""},
        {"hadoop_lz4_compressed.parquet", 4, ERR_OK, ""},
        {"incorrect_map_schema.parquet", 1, ERR_OK, ""},
        {"int32_with_null_pages.parquet", 1000, ERR_OK, ""},
        {"int96_from_spark.parquet", 6, ERR_OK, ""},
        {"list_columns.parquet", 3, ERR_OK, ""},
        {"lz4_raw_compressed_larger.parquet", 10000, ERR_OK, ""},
        {"nan_in_stats.parquet", 2, ERR_OK, ""},
        {"nested_lists.snappy.parquet", 3, ERR_OK, ""},
        {"nested_structs.rust.parquet", 1, ERR_OK, ""},
        {"nonnullable.impala.parquet", 1, ERR_OK, ""},
        {"nullable.impala.parquet", 7, ERR_OK, ""},
        {"old_list_structure.parquet", 1, ERR_OK, ""},
        {"page_v2_empty_compressed.parquet", 10, ERR_OK, ""},
        {"repeated_no_annotation.parquet", 6, ERR_OK, ""},
        {"rle-dict-snappy-checksum.parquet", 1000, ERR_OK, ""},
        {"rle_boolean_encoding.parquet", 68, ERR_OK, ""},
        {"sort_columns.parquet", 6, ERR_OK, ""},
        {"unknown-logical-type.parquet", 3, ERR_OK, ""},
        {"aes256/encrypt_columns_and_footer_ctr.parquet.encrypted", 0, ERR_UNSUPPORTED,
         "encrypted"},
        {"aes256/encrypt_columns_plaintext_footer.parquet.encrypted", 0, ERR_UNSUPPORTED,
         "encrypted"},
    };
    const char *folder = data_folder();
    for (size_t i = 0; folder != NULL && i < sizeof cases / sizeof cases[0]; i++) {
        char name[PATH_BYTES];
        (void)snprintf(name, sizeof name, "data/%s", cases[i].file);
        CLEANUP(buffer_deinit) struct buffer bytes = load(folder, name);
        int64_t count = 0;
        struct err err = {0};
        enum err_code code = read_rows(buffer_span(&bytes), &count, NULL, 0, &err);
        cr_expect_eq(code, cases[i].code, "%s: %s", cases[i].file, err.msg);
        cr_expect_eq(count, cases[i].rows, "%s", cases[i].file);
        cr_expect_not_null(strstr(err.msg, cases[i].message), "%s: %s", cases[i].file, err.msg);
    }
}

/* Files are only ever added to the folder: a new one must be put into the table above. */
Test(golden, no_file_is_left_out)
{
    const char *folder = data_folder();
    if (folder == NULL) {
        return;
    }
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/parquet/data", folder);
    DIR *listing = opendir(path);
    cr_assert_not_null(listing);
    int files = 0;
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        files += strstr(entry->d_name, ".parquet") != NULL;
    }
    (void)closedir(listing); /* only read from */
    cr_expect_eq(files, 35);
}

Test(golden, bad_files_are_refused)
{
    static const char *const files[] = {
        "bad_data/ARROW-GH-41321.parquet", "bad_data/ARROW-GH-45185.parquet",
        "bad_data/ARROW-RS-GH-6229-DICTHEADER.parquet", "bad_data/PARQUET-1481.parquet"};
    const char *folder = data_folder();
    for (size_t i = 0; folder != NULL && i < sizeof files / sizeof files[0]; i++) {
        CLEANUP(buffer_deinit) struct buffer bytes = load(folder, files[i]);
        int64_t count = 0;
        struct err err = {0};
        cr_expect_eq(read_rows(buffer_span(&bytes), &count, NULL, 0, &err), ERR_CORRUPT, "%s",
                     files[i]);
        cr_expect_gt(strlen(err.msg), 0);
    }
}

/* ---- flat columns ---- */

/* Delta's type for a leaf, or NULL. */
static const char *delta_type(const struct parquet_node *node, char decimal[32])
{
    switch (node->kind) {
    case PARQUET_BOOLEAN:
        return "boolean";
    case PARQUET_INTEGER:
        return "long";
    case PARQUET_REAL:
        return "double";
    case PARQUET_DECIMAL:
        (void)snprintf(decimal, 32, "decimal(%d,%d)", node->precision, node->scale);
        return decimal;
    case PARQUET_DATE:
        return "date";
    case PARQUET_TIMESTAMP:
        return "timestamp";
    case PARQUET_TIMESTAMP_NTZ:
        return "timestamp_ntz";
    case PARQUET_TEXT:
        return "string";
    case PARQUET_BINARY:
        return "binary";
    default:
        return NULL;
    }
}

/* A schema of the one flat column, or NULL when it is not flat. */
static struct schema *schema_of(const struct parquet_node *node)
{
    char decimal[32];
    const char *type = delta_type(node, decimal);
    if (type == NULL) {
        return NULL;
    }
    char text[256];
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"struct\",\"fields\":[{\"name\":\"column\",\"type\":\"%s\","
                   "\"nullable\":true,\"metadata\":{}}]}",
                   type);
    struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse_delta(span_of_text(text), NULL, &schema, &err), ERR_OK, "%s",
                 err.msg);
    return schema;
}

static bool same_value(const struct column *column, int64_t row, const struct parquet_value *value)
{
    if (!column_is_valid(column, row)) {
        return value->kind == PARQUET_NULL;
    }
    switch (value->kind) {
    case PARQUET_BOOLEAN:
        return column->values.u8[row] == value->boolean;
    case PARQUET_REAL:
        return memcmp(&column->values.f64[row], &value->real, sizeof value->real) == 0;
    case PARQUET_DECIMAL:
        return column->values.i128[row] == value->decimal;
    case PARQUET_TEXT:
    case PARQUET_BINARY:
        return span_equal(column_bytes(column, row), value->bytes);
    case PARQUET_DATE:
        return column->values.i32[row] == value->integer;
    case PARQUET_NULL:
        return false;
    default:
        return column->values.i64[row] == value->integer;
    }
}

/* Compare one column read flat with the same one read row by row. */
static void expect_agreement(struct parquet_reader *reader, const struct parquet_node *node,
                             const char *file)
{
    struct schema *schema = schema_of(node);
    if (schema == NULL) {
        return;
    }
    struct frame *frame = frame_new(schema);
    struct parquet_rows *rows = NULL;
    const struct parquet_value *row = NULL;
    struct err err = {0};
    int64_t count = parquet_reader_rows_count(reader);
    const struct parquet_read_options options = {.names = (const char *const[]){node->name}};
    enum err_code code = parquet_reader_read_range(reader, 0, count, &options, frame, &err);
    if (code == ERR_UNSUPPORTED) { /* TIME, FLOAT16: no Delta type */
        cr_expect_not_null(strstr(err.msg, "cannot be read as"), "%s: %s", file, err.msg);
    } else {
        cr_assert_eq(code, ERR_OK, "%s column %s: %s", file, node->name, err.msg);
        frame_check(frame);
        code = parquet_rows_begin(reader, (const char *const[]){node->name, NULL}, &rows, &err);
        cr_assert_eq(code, ERR_OK);
        for (int64_t i = 0; i < count; i++) {
            cr_assert_eq(parquet_rows_next(rows, &row, &err), ERR_OK, "%s", err.msg);
            cr_expect(same_value(&frame->columns[0], i, &row->items[0]), "%s column %s row %lld",
                      file, node->name, (long long)i);
        }
    }
    parquet_rows_end(&rows);
    frame_free(&frame);
    schema_release(&schema);
}

Test(golden, flat_and_nested_readers_agree)
{
    static const char *const files[] = {"alltypes_dictionary.parquet",
                                        "alltypes_plain.snappy.parquet",
                                        "alltypes_tiny_pages_plain.parquet",
                                        "binary_truncated_min_max.parquet",
                                        "byte_stream_split.zstd.parquet",
                                        "data_index_bloom_encoding_stats.parquet",
                                        "datapage_v1-uncompressed-checksum.parquet",
                                        "datapage_v2_empty_datapage.snappy.parquet",
                                        "dict-page-offset-zero.parquet",
                                        "fixed_length_byte_array.parquet",
                                        "fixed_length_decimal_legacy.parquet",
                                        "float16_zeros_and_nans.parquet",
                                        "hadoop_lz4_compressed.parquet",
                                        "int32_with_null_pages.parquet",
                                        "int96_from_spark.parquet",
                                        "list_columns.parquet",
                                        "lz4_raw_compressed_larger.parquet",
                                        "nan_in_stats.parquet",
                                        "nullable.impala.parquet",
                                        "page_v2_empty_compressed.parquet",
                                        "rle-dict-snappy-checksum.parquet",
                                        "rle_boolean_encoding.parquet",
                                        "sort_columns.parquet",
                                        "unknown-logical-type.parquet"};
    const char *folder = data_folder();
    for (size_t i = 0; folder != NULL && i < sizeof files / sizeof files[0]; i++) {
        char name[PATH_BYTES];
        (void)snprintf(name, sizeof name, "data/%s", files[i]);
        CLEANUP(buffer_deinit) struct buffer bytes = load(folder, name);
        struct span file = buffer_span(&bytes);
        const struct parquet_source source = parquet_source_of(&file);
        struct parquet_reader *reader = NULL;
        struct parquet_rows *rows = NULL;
        struct err err = {0};
        cr_assert_eq(parquet_reader_open(&source, &reader, &err), ERR_OK, "%s", err.msg);
        cr_assert_eq(parquet_rows_begin(reader, NULL, &rows, &err), ERR_OK, "%s", err.msg);
        const struct parquet_node *root = parquet_rows_root(rows);
        for (size_t c = 0; c < root->children_count; c++) {
            expect_agreement(reader, root->children[c], files[i]);
        }
        parquet_rows_end(&rows);
        parquet_reader_close(&reader);
    }
}

/* Shapes of lists, maps and times that differ between writers, value by value. */
Test(golden, values_of_odd_files)
{
    static const struct {
        const char *file;
        const char *rows;
    } cases[] = {
        {"old_list_structure.parquet", "{\"a\":[[1,2],[3,4]]}\n"},
        {"incorrect_map_schema.parquet",
         "{\"my_map\":{\"parent\":\"another\",\"name\":\"report\"}}\n"},
        {"list_columns.parquet",
         "{\"int64_list\":[1,2,3],\"utf8_list\":[\"abc\",\"efg\",\"hij\"]}\n"
         "{\"int64_list\":[null,1],\"utf8_list\":null}\n"
         "{\"int64_list\":[4],\"utf8_list\":[\"efg\",null,\"hij\",\"xyz\"]}\n"},
        {"nested_lists.snappy.parquet",
         "{\"a\":[[[\"a\",\"b\"],[\"c\"]],[null,[\"d\"]]],\"b\":1}\n"
         "{\"a\":[[[\"a\",\"b\"],[\"c\",\"d\"]],[null,[\"e\"]]],\"b\":1}\n"
         "{\"a\":[[[\"a\",\"b\"],[\"c\",\"d\"],[\"e\"]],[null,[\"f\"]]],\"b\":1}\n"},
        {"repeated_no_annotation.parquet",
         "{\"id\":1,\"phoneNumbers\":null}\n{\"id\":2,\"phoneNumbers\":null}\n"
         "{\"id\":3,\"phoneNumbers\":{\"phone\":[]}}\n"
         "{\"id\":4,\"phoneNumbers\":{\"phone\":[{\"number\":5555555555,\"kind\":null}]}}\n"
         "{\"id\":5,\"phoneNumbers\":{\"phone\":[{\"number\":1111111111,\"kind\":\"home\"}]}}\n"
         "{\"id\":6,\"phoneNumbers\":{\"phone\":[{\"number\":1111111111,\"kind\":\"home\"},"
         "{\"number\":2222222222,\"kind\":null},{\"number\":3333333333,\"kind\":\"mobile\"}]}}\n"},
        {"int96_from_spark.parquet",
         "{\"a\":\"2024-01-01T20:34:56.123456Z\"}\n{\"a\":\"2024-01-01T01:00:00.000000Z\"}\n"
         "{\"a\":\"9999-12-31T03:00:00.000000Z\"}\n{\"a\":\"2024-12-30T23:00:00.000000Z\"}\n"
         "{\"a\":null}\n{\"a\":\"+290000-12-30T23:00:00.000000Z\"}\n"},
    };
    const char *folder = data_folder();
    for (size_t i = 0; folder != NULL && i < sizeof cases / sizeof cases[0]; i++) {
        char name[PATH_BYTES];
        (void)snprintf(name, sizeof name, "data/%s", cases[i].file);
        CLEANUP(buffer_deinit) struct buffer bytes = load(folder, name);
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, TEXT_BYTES_MAX);
        int64_t count = 0;
        struct err err = {0};
        cr_expect_eq(read_rows(buffer_span(&bytes), &count, &text, 100, &err), ERR_OK, "%s",
                     err.msg);
        buffer_append_byte(&text, 0);
        cr_expect_str_eq((const char *)text.data, cases[i].rows, "%s", cases[i].file);
    }
}
