/*
 * Nested rows: what the tree writer shreds the rows assemble again, in every
 * combination of null, empty and repeated; foreign list shapes; lying levels.
 */
#include "storage/parquet/nested.h"
#include "tests/unit/storage/parquet/file_kit.h"
#include "tests/unit/storage/parquet/samples.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static const struct parquet_tree_field pair[] = {
    {.name = "key", .kind = PARQUET_TEXT},
    {.name = "value", .kind = PARQUET_TEXT},
};
static const struct parquet_tree_field number[] = {
    {.name = "element", .kind = PARQUET_INTEGER},
};
static const struct parquet_tree_field numbers[] = {
    {.name = "element", .kind = PARQUET_LIST, .children = number, .children_count = 1},
};
static const struct parquet_tree_field inner[] = {
    {.name = "flag", .kind = PARQUET_BOOLEAN},
    {.name = "tags", .kind = PARQUET_MAP, .children = pair, .children_count = 2},
};
static const struct parquet_tree_field groups[] = {
    {.name = "element", .kind = PARQUET_GROUP, .children = inner, .children_count = 2},
};
static const struct parquet_tree_field top[] = {
    {.name = "name", .kind = PARQUET_TEXT},
    {.name = "small", .kind = PARQUET_INTEGER, .is_int32 = true},
    {.name = "matrix", .kind = PARQUET_LIST, .children = numbers, .children_count = 1},
    {.name = "items", .kind = PARQUET_LIST, .children = groups, .children_count = 1},
    {.name = "map", .kind = PARQUET_MAP, .children = pair, .children_count = 2},
    {.name = "real", .kind = PARQUET_REAL},
    {.name = "price", .kind = PARQUET_DECIMAL, .precision = 20, .scale = 2},
    {.name = "day", .kind = PARQUET_DATE},
    {.name = "at", .kind = PARQUET_TIMESTAMP},
    {.name = "raw", .kind = PARQUET_BINARY},
};
static const struct parquet_tree_field root = {
    .name = "root", .kind = PARQUET_GROUP, .children = top, .children_count = 10};

/* Give `value`, read from a row, to the writer again: a copy must equal the original. */
static void give(struct parquet_tree_writer *writer, const char *name,
                 const struct parquet_value *value)
{
    switch (value->kind) {
    case PARQUET_NULL:
        parquet_tree_null(writer, name);
        return;
    case PARQUET_BOOLEAN:
        parquet_tree_boolean(writer, name, value->boolean);
        return;
    case PARQUET_INTEGER:
    case PARQUET_DATE:
    case PARQUET_TIMESTAMP:
    case PARQUET_TIMESTAMP_NTZ:
        parquet_tree_integer(writer, name, value->integer);
        return;
    case PARQUET_REAL:
        parquet_tree_real(writer, name, value->real);
        return;
    case PARQUET_DECIMAL:
        parquet_tree_decimal(writer, name, value->decimal);
        return;
    case PARQUET_TEXT:
        parquet_tree_text(writer, name, value->bytes);
        return;
    case PARQUET_BINARY:
        parquet_tree_binary(writer, name, value->bytes);
        return;
    case PARQUET_GROUP:
    case PARQUET_LIST:
    case PARQUET_MAP:
        break;
    }
    parquet_tree_begin(writer, name);
    for (size_t i = 0; i < value->count; i++) {
        const char *child = value->kind == PARQUET_GROUP  ? value->node->children[i]->name
                            : value->kind == PARQUET_LIST ? "element"
                            : i % 2 == 0                  ? "key"
                                                          : "value";
        give(writer, child, &value->items[i]);
    }
    parquet_tree_end(writer);
}

/* A row whose nulls, emptiness and lengths follow from (seed, row). */
static void write_random_row(struct parquet_tree_writer *writer, uint64_t seed, uint64_t row)
{
    uint64_t dice = sample_random(seed, row);
    char text[32];
    (void)snprintf(text, sizeof text, "row-%llu", (unsigned long long)row);
    if (dice % 5 != 0) {
        parquet_tree_text(writer, "name", span_of_text(text));
    }
    if (dice % 7 != 0) {
        parquet_tree_integer(writer, "small", (int32_t)dice);
    }
    if (dice % 3 != 0) {
        parquet_tree_begin(writer, "matrix");
        for (uint64_t i = 0; i < dice / 16 % 4; i++) {
            if ((dice >> i & 1) != 0) {
                parquet_tree_null(writer, "element");
                continue;
            }
            parquet_tree_begin(writer, "element");
            for (uint64_t k = 0; k < (dice >> (i * 2)) % 3; k++) {
                parquet_tree_integer(writer, "element", (int64_t)(dice + k));
            }
            parquet_tree_end(writer);
        }
        parquet_tree_end(writer);
    }
    if (dice / 7 % 2 == 0) {
        parquet_tree_begin(writer, "items");
        for (uint64_t i = 0; i < dice / 64 % 3; i++) {
            parquet_tree_begin(writer, "element");
            if (i != 1) {
                parquet_tree_boolean(writer, "flag", (dice & 8) != 0);
            }
            if ((dice >> (5 + i)) % 3 != 0) {
                parquet_tree_begin(writer, "tags");
                for (uint64_t k = 0; k < (dice >> (9 + i)) % 3; k++) {
                    parquet_tree_text(writer, "key", span_of(text, 3 + k));
                    if ((k ^ dice) % 2 == 0) {
                        parquet_tree_text(writer, "value", span_of_text(text));
                    }
                }
                parquet_tree_end(writer);
            }
            parquet_tree_end(writer);
        }
        parquet_tree_end(writer);
    }
    if (dice / 3 % 4 != 0) {
        parquet_tree_real(writer, "real", (double)(int64_t)dice / 8);
        parquet_tree_decimal(writer, "price", -(__int128)dice * 3);
        parquet_tree_integer(writer, "day", (int64_t)(dice % 30000));
        parquet_tree_integer(writer, "at", (int64_t)(dice % 2000000000000000));
        parquet_tree_binary(writer, "raw", span_of(&dice, sizeof dice));
    }
    struct err err = {0};
    cr_assert_eq(parquet_tree_end_row(writer, &err), ERR_OK);
}

static void append_json(const struct parquet_value *row, struct buffer *text)
{
    struct json *json = parquet_value_to_json(row, false);
    json_write(json, text);
    buffer_append_byte(text, '\n');
    json_free(&json);
}

/* All rows of the file as JSON lines; when `copy` is given, each row to it, too. */
static void read_all(struct span file, struct parquet_tree_writer *copy, struct buffer *text)
{
    struct err err = {0};
    struct parquet_reader *reader = NULL;
    struct parquet_rows *rows = NULL;
    const struct parquet_value *row = NULL;
    const struct parquet_source source = parquet_source_of(&file);
    cr_assert_eq(parquet_reader_open(&source, &reader, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(parquet_rows_begin(reader, NULL, &rows, &err), ERR_OK, "%s", err.msg);
    for (;;) {
        cr_assert_eq(parquet_rows_next(rows, &row, &err), ERR_OK, "%s", err.msg);
        if (row == NULL) {
            break;
        }
        append_json(row, text);
        for (size_t i = 0; copy != NULL && i < row->count; i++) {
            give(copy, row->node->children[i]->name, &row->items[i]);
        }
        if (copy != NULL) {
            cr_assert_eq(parquet_tree_end_row(copy, &err), ERR_OK);
        }
    }
    parquet_rows_end(&rows);
    parquet_reader_close(&reader);
}

Test(nested, known_rows_read_as_expected)
{
    CLEANUP(buffer_deinit) struct buffer file;
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&file, 1 << 20);
    buffer_init(&text, 1 << 20);
    const struct parquet_sink sink = parquet_sink_to_buffer(&file);
    struct parquet_tree_writer *writer = NULL;
    struct err err = {0};
    int64_t bytes = 0;
    cr_assert_eq(parquet_tree_open(NULL, &root, &sink, &writer, &err), ERR_OK);
    cr_assert_eq(parquet_tree_end_row(writer, &err), ERR_OK);
    parquet_tree_text(writer, "name", span_of_text("x"));
    parquet_tree_begin(writer, "matrix");
    parquet_tree_begin(writer, "element");
    parquet_tree_integer(writer, "element", 1);
    parquet_tree_integer(writer, "element", 2);
    parquet_tree_end(writer);
    parquet_tree_null(writer, "element");
    parquet_tree_begin(writer, "element");
    parquet_tree_end(writer);
    parquet_tree_end(writer);
    parquet_tree_begin(writer, "items");
    parquet_tree_end(writer);
    parquet_tree_begin(writer, "map");
    parquet_tree_text(writer, "key", span_of_text("a"));
    parquet_tree_text(writer, "key", span_of_text("b"));
    parquet_tree_text(writer, "value", span_of_text("1"));
    parquet_tree_end(writer);
    parquet_tree_decimal(writer, "price", -12345);
    parquet_tree_integer(writer, "day", 1);
    cr_assert_eq(parquet_tree_end_row(writer, &err), ERR_OK);
    cr_assert_eq(parquet_tree_finish(writer, &bytes, &err), ERR_OK);
    parquet_tree_close(&writer);
    cr_expect_eq(bytes, (int64_t)file.size);
    read_all(buffer_span(&file), NULL, &text);
    buffer_append_byte(&text, 0);
    cr_expect_str_eq(
        (const char *)text.data,
        "{\"name\":null,\"small\":null,\"matrix\":null,\"items\":null,\"map\":null,\"real\":null,"
        "\"price\":null,\"day\":null,\"at\":null,\"raw\":null}\n"
        "{\"name\":\"x\",\"small\":null,\"matrix\":[[1,2],null,[]],\"items\":[],"
        "\"map\":{\"a\":null,\"b\":\"1\"},\"real\":null,\"price\":\"-123.45\","
        "\"day\":\"1970-01-02\",\"at\":null,\"raw\":null}\n");
}

Test(nested, a_copy_of_random_rows_is_equal)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        CLEANUP(buffer_deinit) struct buffer file;
        CLEANUP(buffer_deinit) struct buffer again;
        CLEANUP(buffer_deinit) struct buffer text;
        CLEANUP(buffer_deinit) struct buffer text_again;
        buffer_init(&file, 1 << 28);
        buffer_init(&again, 1 << 28);
        buffer_init(&text, 1 << 28);
        buffer_init(&text_again, 1 << 28);
        const struct parquet_sink sink = parquet_sink_to_buffer(&file);
        const struct parquet_sink sink_again = parquet_sink_to_buffer(&again);
        struct parquet_tree_writer *writer = NULL;
        struct err err = {0};
        int64_t bytes = 0;
        cr_assert_eq(parquet_tree_open(NULL, &root, &sink, &writer, &err), ERR_OK);
        for (uint64_t row = 0; row < 45000; row++) {
            write_random_row(writer, seed, row);
        }
        cr_assert_eq(parquet_tree_finish(writer, &bytes, &err), ERR_OK);
        parquet_tree_close(&writer);
        cr_assert_eq(parquet_tree_open(NULL, &root, &sink_again, &writer, &err), ERR_OK);
        read_all(buffer_span(&file), writer, &text);
        cr_assert_eq(parquet_tree_finish(writer, &bytes, &err), ERR_OK);
        parquet_tree_close(&writer);
        read_all(buffer_span(&again), NULL, &text_again);
        cr_expect(span_equal(buffer_span(&text), buffer_span(&text_again)), "seed %llu",
                  (unsigned long long)seed);
        cr_expect(span_equal(buffer_span(&file), buffer_span(&again)));
    }
}

Test(nested, only_wanted_columns_are_read)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:long b:string c:long");
    CLEANUP(frame_cleanup)
    struct frame *frame = sample_frame(schema, &(struct sample){.rows_count = 3, .seed = 1});
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    struct parquet_rows *rows = NULL;
    struct err err = {0};
    cr_assert_eq(
        parquet_rows_begin(kit.reader, (const char *const[]){"c", "gone", "a", NULL}, &rows, &err),
        ERR_OK);
    const struct parquet_node *node = parquet_rows_root(rows);
    cr_assert_eq(node->children_count, 2);
    cr_expect_eq(parquet_node_child(node, "a"), 0);
    cr_expect_eq(parquet_node_child(node, "c"), 1);
    cr_expect_eq(parquet_node_child(node, "b"), -1);
    const struct parquet_value *row = NULL;
    for (int64_t i = 0; i < 3; i++) {
        cr_assert_eq(parquet_rows_next(rows, &row, &err), ERR_OK);
        cr_expect_eq(parquet_value_get(row, "a")->integer, frame->columns[0].values.i64[i]);
        cr_expect_eq(parquet_value_get(row, "c")->integer, frame->columns[2].values.i64[i]);
        cr_expect_null(parquet_value_get(row, "b"));
        cr_expect_null(parquet_value_get(parquet_value_get(row, "a"), "deeper"));
    }
    cr_assert_eq(parquet_rows_next(rows, &row, &err), ERR_OK);
    cr_expect_null(row);
    cr_assert_eq(parquet_rows_next(rows, &row, &err), ERR_OK);
    cr_expect_null(row);
    parquet_rows_end(&rows);
}

Test(nested, damaged_files_are_refused_or_read_but_never_crash)
{
    CLEANUP(buffer_deinit) struct buffer file;
    buffer_init(&file, 1 << 20);
    const struct parquet_sink sink = parquet_sink_to_buffer(&file);
    struct parquet_tree_writer *writer = NULL;
    struct err err = {0};
    int64_t bytes = 0;
    cr_assert_eq(parquet_tree_open(NULL, &root, &sink, &writer, &err), ERR_OK);
    for (uint64_t row = 0; row < 30; row++) {
        write_random_row(writer, 9, row);
    }
    cr_assert_eq(parquet_tree_finish(writer, &bytes, &err), ERR_OK);
    parquet_tree_close(&writer);
    for (size_t i = 0; i < file.size; i++) {
        file.data[i] ^= 0x15;
        struct parquet_reader *reader = NULL;
        struct parquet_rows *rows = NULL;
        const struct parquet_value *row = NULL;
        struct span span = buffer_span(&file);
        const struct parquet_source source = parquet_source_of(&span);
        err_clear(&err);
        int left = 1000;
        if (parquet_reader_open(&source, &reader, &err) == ERR_OK &&
            parquet_rows_begin(reader, NULL, &rows, &err) == ERR_OK) {
            while (parquet_rows_next(rows, &row, &err) == ERR_OK && row != NULL && left-- > 0) {
            }
        }
        parquet_rows_end(&rows);
        parquet_reader_close(&reader);
        file.data[i] ^= 0x15;
    }
}
