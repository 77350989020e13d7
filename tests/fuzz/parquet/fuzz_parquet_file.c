/*
 * Whole files: parquet_reader_open, parquet_rows_*, parquet_reader_schema,
 * parquet_reader_read_range, parquet_reader_read_rows and
 * parquet_reader_statistics over arbitrary bytes. The file is read with its own schema,
 * in pieces and in chosen rows; some top-level columns (by the input's size) are read as
 * every Delta type, nested ones too.
 */
#include "storage/columns/encode_json.h"
#include "storage/columns/frame.h"
#include "storage/parquet/nested.h"
#include "storage/parquet/reader.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* A few kilobytes can state any number of rows; what a caller asks for bounds the memory. */
enum { COLUMNS_LOOKED_AT = 16, NAME_BYTES = 128 };
enum { ROWS_MAX = 100, COLUMNS_MAX = 2, TYPES_MAX = 32, BYTES_MAX = 1 << 20 };

static const char SCHEMA[] =
    "{\"type\":\"struct\",\"fields\":["
    "{\"name\":\"a\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"b\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"c\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"d\",\"type\":\"double\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"e\",\"type\":\"boolean\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"f\",\"type\":\"date\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"g\",\"type\":\"timestamp\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"h\",\"type\":\"decimal(38,10)\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"i\",\"type\":\"binary\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"j\",\"type\":\"byte\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"k\",\"type\":\"short\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"l\",\"type\":\"float\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"m\",\"type\":\"timestamp_ntz\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"n\",\"type\":{\"type\":\"array\",\"elementType\":\"string\",\"containsNull\":true}"
    ","
    "\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"o\",\"type\":{\"type\":\"struct\",\"fields\":["
    "{\"name\":\"a\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"none\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]},"
    "\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"p\",\"type\":{\"type\":\"struct\",\"fields\":["
    "{\"name\":\"none\",\"type\":\"date\",\"nullable\":true,\"metadata\":{}}]},"
    "\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"q\",\"type\":{\"type\":\"map\",\"keyType\":\"string\",\"valueType\":\"double\","
    "\"valueContainsNull\":true},\"nullable\":true,\"metadata\":{}}]}";

static void read_nested(struct parquet_reader *reader)
{
    struct err err = {0};
    struct parquet_rows *rows = NULL;
    if (parquet_rows_begin(reader, NULL, &rows, &err) != ERR_OK) {
        return;
    }
    const struct parquet_value *row = NULL;
    int left = ROWS_MAX;
    while (left-- > 0 && parquet_rows_next(rows, &row, &err) == ERR_OK && row != NULL) {
        struct json *json = parquet_value_to_json(row, (left & 1) != 0);
        json_free(&json);
    }
    parquet_rows_end(&rows);
}

static void print_rows(const struct frame *frame)
{
    struct buffer text;
    buffer_init(&text, BYTES_MAX);
    encode_ndjson_rows(frame, 0, frame->rows_count, NULL, &text);
    buffer_deinit(&text);
}

/* The last rows with the file's own schema: at once, in pieces, and chosen ones. */
static void read_frames(struct parquet_reader *reader)
{
    struct err err = {0};
    struct schema *schema = NULL;
    if (parquet_reader_schema(reader, NULL, &schema, &err) != ERR_OK) {
        return;
    }
    struct frame *frame = frame_new(schema);
    const struct parquet_read_options options = {.bytes_max = BYTES_MAX};
    int64_t total = parquet_reader_rows_count(reader);
    int64_t count = total < ROWS_MAX ? total : ROWS_MAX;
    static const int64_t pieces[] = {ROWS_MAX, 7, 1};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        enum err_code code = ERR_OK;
        for (int64_t start = total - count; start < total && code == ERR_OK; start += pieces[i]) {
            int64_t rows = pieces[i] < total - start ? pieces[i] : total - start;
            frame_reset(frame);
            err_clear(&err);
            code = parquet_reader_read_range(reader, start, rows, &options, frame, &err);
            frame_check(frame);
            print_rows(frame);
        }
    }
    int64_t chosen[ROWS_MAX];
    int64_t chosen_count = 0;
    for (int64_t row = total - count; row < total; row += 1 + row % 5) {
        chosen[chosen_count++] = row;
    }
    frame_reset(frame);
    err_clear(&err);
    enum err_code code =
        parquet_reader_read_rows(reader, chosen, chosen_count, &options, frame, &err);
    assert(frame->rows_count == (code == ERR_OK ? chosen_count : 0));
    frame_check(frame);
    frame_free(&frame);
    schema_release(&schema);
}

/* Row groups follow each other and hold all rows. */
static void check_row_groups(const struct parquet_reader *reader)
{
    int64_t rows = 0;
    for (size_t i = 0; i < parquet_reader_row_groups_count(reader); i++) {
        assert(parquet_reader_row_group_start(reader, i) == rows);
        rows += parquet_reader_row_group_rows(reader, i);
    }
    assert(rows == parquet_reader_rows_count(reader));
}

/* Each column by itself, as inference looks at them. */
static void describe(const struct parquet_reader *reader)
{
    size_t count = parquet_reader_columns_count(reader);
    (void)parquet_reader_has_field_ids(reader); /* must not crash */
    for (size_t i = 0; i < count && i < COLUMNS_LOOKED_AT; i++) {
        struct span name = parquet_reader_column_name(reader, i);
        struct schema *schema = NULL;
        struct err err = {0};
        char text[NAME_BYTES];
        assert(parquet_reader_has_column(reader, name));
        if (name.size >= sizeof text) {
            continue;
        }
        memcpy(text, name.size > 0 ? (const void *)name.data : "", name.size);
        text[name.size] = '\0';
        const char *const alone[] = {text, NULL};
        (void)parquet_reader_schema(reader, alone, &schema, &err); /* must not crash */
        schema_release(&schema);
    }
}

/* Read one column of the file as one type: a range, then some rows of it. */
static void read_as(struct parquet_reader *reader, struct frame *frame,
                    const struct parquet_read_options *options)
{
    int64_t total = parquet_reader_rows_count(reader);
    int64_t count = total < ROWS_MAX ? total : ROWS_MAX;
    struct err err = {0};
    frame_reset(frame);
    if (parquet_reader_read_range(reader, total - count, count, options, frame, &err) == ERR_OK) {
        assert(frame->rows_count == count);
    } else {
        assert(frame->rows_count == 0);
    }
    frame_check(frame);
    int64_t rows[16];
    int64_t rows_count = 0;
    for (int64_t row = 1; row < count && rows_count < 16; row = row * 2 + 1) {
        rows[rows_count++] = row;
    }
    err_clear(&err);
    if (parquet_reader_read_rows(reader, rows, rows_count, options, frame, &err) != ERR_OK) {
        frame_reset(frame);
    }
    frame_check(frame);
}

static void read_flat(struct parquet_reader *reader, const struct schema *schema,
                      const struct parquet_node *root, size_t seed)
{
    struct frame *frame = frame_new(schema);
    for (size_t turn = 0; turn < root->children_count && turn < COLUMNS_MAX; turn++) {
        size_t c = (seed + turn) % root->children_count;
        const char *names[TYPES_MAX];
        assert(schema->fields_count <= TYPES_MAX);
        for (size_t i = 0; i < schema->fields_count; i++) {
            names[i] = root->children[c]->name;
        }
        for (size_t i = 0; i < schema->fields_count; i++) {
            bool columns[TYPES_MAX] = {0};
            columns[i] = true;
            const struct parquet_read_options options = {
                .columns = columns, .names = names, .bytes_max = BYTES_MAX};
            read_as(reader, frame, &options);
            struct parquet_column_statistics statistics;
            if (parquet_reader_row_groups_count(reader) > 0) {
                parquet_reader_statistics(reader, 0, &schema->fields[i], &statistics);
            }
        }
    }
    frame_free(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span file = span_of(data, size);
    const struct parquet_source source = parquet_source_of(&file);
    struct parquet_reader *reader = NULL;
    struct err err = {0};
    if (parquet_reader_open(&source, &reader, &err) != ERR_OK) {
        return 0;
    }
    read_nested(reader);
    check_row_groups(reader);
    describe(reader);
    read_frames(reader);
    struct parquet_rows *rows = NULL;
    if (parquet_rows_begin(reader, NULL, &rows, &err) == ERR_OK) {
        struct schema *schema = NULL;
        enum err_code code = schema_parse_delta(span_of_text(SCHEMA), NULL, &schema, &err);
        assert(code == ERR_OK);
        read_flat(reader, schema, parquet_rows_root(rows), size);
        schema_release(&schema);
    }
    parquet_rows_end(&rows);
    parquet_reader_close(&reader);
    return 0;
}
