/*
 * Names, paths and partition values.
 */
#include "storage/delta/table_files.h"

#include "storage/base/mem.h"
#include "storage/object/object.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(table_files, paths_are_decoded_exactly_once)
{
    static const struct {
        const char *path;
        const char *name; /* NULL = refused */
        enum err_code code;
    } cases[] = {
        {"part-0.parquet", "part-0.parquet", ERR_OK},
        {"ts=2021-01-01%2000%253A00%253A00/f", "ts=2021-01-01 00%3A00%3A00/f", ERR_OK},
        {"c=%25%20+/f", "c=% +/f", ERR_OK},
        {"a:b/f", "a:b/f", ERR_OK},
        {"a%2", NULL, ERR_CORRUPT},
        {"a%00b", NULL, ERR_CORRUPT},
        {"/somewhere/else", NULL, ERR_UNSUPPORTED},
        {"file:/somewhere/else", NULL, ERR_UNSUPPORTED},
        {"file://host/somewhere", NULL, ERR_UNSUPPORTED},
        {"s3://bucket/f", NULL, ERR_UNSUPPORTED},
    };
    struct object_store *store = object_store_new_memory();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(mem_cleanup) char *name = NULL;
        struct err err = {0};
        cr_expect_eq(delta_path_decode(store, cases[i].path, &name, &err), cases[i].code, "%s",
                     cases[i].path);
        cr_expect(cases[i].name == NULL || strcmp(cases[i].name, name) == 0, "%s", cases[i].path);
        if (cases[i].name != NULL) {
            CLEANUP(buffer_deinit) struct buffer path = {0};
            CLEANUP(mem_cleanup) char *again = NULL;
            buffer_init(&path, 1000);
            delta_path_encode(name, &path);
            buffer_append_byte(&path, '\0');
            cr_expect_eq(delta_path_decode(store, (const char *)path.data, &again, &err), ERR_OK);
            cr_expect_str_eq(again, name);
        }
    }
    object_store_close(&store);
}

Test(table_files, absolute_paths_inside_the_folder_are_names)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    struct object_store *store = NULL;
    struct err err = {0};
    static const char *const forms[] = {"%s/p%%3D1/f", "file:%s/p%%3D1/f", "file://%s/p%%3D1/f"};
    cr_assert_eq(object_store_open_local(dir.path, &store, &err), ERR_OK);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        CLEANUP(buffer_deinit) struct buffer path = {0};
        CLEANUP(mem_cleanup) char *name = NULL;
        buffer_init(&path, 1000);
        const char *rest = strstr(forms[i], "%s");
        buffer_append(&path, forms[i], (size_t)(rest - forms[i]));
        buffer_append_text(&path, dir.path);
        buffer_append_text(&path, "/p%3D1/f");
        buffer_append_byte(&path, '\0');
        cr_expect_eq(delta_path_decode(store, (const char *)path.data, &name, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect_str_eq(name, "p=1/f");
    }
    object_store_close(&store);
}

Test(table_files, partition_folders_are_plain_everywhere)
{
    static const struct delta_pair values[] = {
        {"state", "MA"}, {"a b", "x/y:z%"}, {"n", NULL}, {"e", ""}, {"u", "\xc3\xbc"}};
    CLEANUP(buffer_deinit) struct buffer folder = {0};
    buffer_init(&folder, 1000);
    delta_partition_folder(values, 5, &folder);
    cr_expect(span_equal_text(buffer_span(&folder),
                              "state=MA/a%20b=x%2Fy%3Az%25/n=__HIVE_DEFAULT_PARTITION__/"
                              "e=__HIVE_DEFAULT_PARTITION__/u=%C3%BC/"),
              "%.*s", SPAN_PRINT(folder));
    char first[DELTA_FILE_NAME_BYTES];
    char second[DELTA_FILE_NAME_BYTES];
    delta_data_file_name(first);
    delta_data_file_name(second);
    cr_expect_str_neq(first, second);
}

Test(table_files, folders_too_long_for_a_file_system_are_digests)
{
    static const size_t sizes[] = {253, 254, 300};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char text[301] = {0};
        memset(text, 'x', sizes[i]);
        struct delta_pair pairs[16];
        for (size_t j = 0; j < 16; j++) {
            pairs[j] = (struct delta_pair){"p", text};
        }
        for (size_t count = 1; count <= 16; count += 15) {
            CLEANUP(buffer_deinit) struct buffer folder = {0};
            buffer_init(&folder, 1 << 16);
            delta_partition_folder(pairs, count, &folder);
            bool plain = sizes[i] == 253 && count == 1;
            cr_expect_eq(folder.size, plain ? 256 : strlen("partition=") + 64 + 1, "%zu %zu",
                         sizes[i], count);
        }
    }
}

static const struct {
    enum column_type type;
    const char *text;  /* as the log has it */
    const char *again; /* as we write it; NULL = the same */
    bool good;
} values[] = {
    {COLUMN_STRING, "a b/c", NULL, true},
    {COLUMN_LONG, "-9223372036854775808", NULL, true},
    {COLUMN_LONG, "1.0", NULL, false},
    {COLUMN_INTEGER, "2147483648", NULL, false},
    {COLUMN_BYTE, "-128", NULL, true},
    {COLUMN_BYTE, "128", NULL, false},
    {COLUMN_SHORT, "-32769", NULL, false},
    {COLUMN_BOOLEAN, "true", NULL, true},
    {COLUMN_BOOLEAN, "TRUE", NULL, false},
    {COLUMN_DATE, "2021-02-28", NULL, true},
    {COLUMN_DATE, "2021-02-29", NULL, false},
    {COLUMN_TIMESTAMP, "2021-01-01T00:00:00.123456Z", NULL, true},
    {COLUMN_TIMESTAMP, "2021-01-01 00:00:00", "2021-01-01T00:00:00.000000Z", true},
    {COLUMN_TIMESTAMP_NTZ, "2021-01-01 00:00:00.5", "2021-01-01 00:00:00.500000", true},
    {COLUMN_DECIMAL, "-12.30", NULL, true},
    {COLUMN_DECIMAL, "1.234", NULL, false},
    {COLUMN_DOUBLE, "0.1", NULL, true},
    {COLUMN_DOUBLE, "-Infinity", NULL, true},
    {COLUMN_FLOAT, "NaN", NULL, true},
    {COLUMN_FLOAT, "1e39", NULL, false},
    {COLUMN_BINARY, "a\xc3\xbf", NULL, true},
    {COLUMN_BINARY, "\xe2\x82\xac", NULL, true},
};

static struct schema *schema_of(enum column_type type)
{
    struct err err = {0};
    struct schema *schema = NULL;
    char text[300];
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"struct\",\"fields\":[{\"name\":\"c\",\"type\":\"%s%s\","
                   "\"nullable\":true,\"metadata\":{}}]}",
                   column_type_name(type), type == COLUMN_DECIMAL ? "(10,2)" : ""); /* fits */
    cr_assert_eq(schema_parse_delta(span_of_text(text), NULL, &schema, &err), ERR_OK, "%s",
                 err.msg);
    return schema;
}

Test(table_files, partition_values_round_trip)
{
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct schema *schema = schema_of(values[i].type);
        struct frame *frame = frame_new(schema);
        struct err err = {0};
        struct column *column = &frame->columns[0];
        enum err_code code =
            delta_partition_value_append(values[i].text, &schema->fields[0], 2, column, &err);
        cr_expect_eq(code, values[i].good ? ERR_OK : ERR_CORRUPT, "%s", values[i].text);
        if (code == ERR_OK) {
            CLEANUP(buffer_deinit) struct buffer text = {0};
            bool null = true;
            buffer_init(&text, 100);
            cr_expect_eq(column->rows_count, 2);
            delta_partition_value_format(column, &schema->fields[0], 1, &text, &null);
            cr_expect_not(null);
            cr_expect(span_equal_text(buffer_span(&text),
                                      values[i].again != NULL ? values[i].again : values[i].text),
                      "%s became %.*s", values[i].text, SPAN_PRINT(text));
        }
        err_clear(&err);
        cr_expect_eq(delta_partition_value_append("", &schema->fields[0], 1, column, &err), ERR_OK);
        cr_expect_not(column_is_valid(column, column->rows_count - 1), "empty is null");
        frame_free(&frame);
        schema_release(&schema);
    }
}
