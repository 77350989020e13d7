/*
 * Files of rows: what is written reads back, and the bytes depend on rows alone.
 */
#include "storage/snapshot/row_file.h"

#include "storage/base/json.h"
#include "storage/columns/decode.h"
#include "storage/columns/inflate.h"
#include "storage/columns/row.h"
#include "storage/parquet/reader.h"
#include "tests/unit/storage/snapshot/fixture.h"

#include <criterion/criterion.h>

TestSuite(row_file, .timeout = 120);

enum { FILE_BYTES_MAX = 64 << 20, ROWS = 20000 };

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct schema *every_type(void)
{
    static const char text[] =
        "{\"type\":\"struct\",\"fields\":["
        "{\"name\":\"s\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"i\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"l\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"d\",\"type\":\"double\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"b\",\"type\":\"boolean\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"day\",\"type\":\"date\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"at\",\"type\":\"timestamp\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"m\",\"type\":\"decimal(30,4)\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"x\",\"type\":\"binary\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"y\",\"type\":\"byte\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"h\",\"type\":\"short\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"f\",\"type\":\"float\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"n\",\"type\":\"timestamp_ntz\",\"nullable\":true,\"metadata\":{}}]}";
    struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse_delta(span_of_text(text), NULL, &schema, &err), ERR_OK, "%s",
                 err.msg);
    return schema;
}

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33 ^ *state << 31;
}

static void append_text(struct column *column, uint64_t dice)
{
    static const char *const texts[] = {"", "a", "two words", "a,b", "\"q\"", "l\nf", "Zürich"};
    column_append_bytes(column, span_of_text(texts[dice % COUNT(texts)]));
}

static void append_value(struct column *column, uint64_t dice)
{
    switch (column->type) {
    case COLUMN_STRING:
        append_text(column, dice);
        break;
    case COLUMN_BINARY:
        column_append_bytes(column, span_of(&dice, dice % 9));
        break;
    case COLUMN_BOOLEAN:
        column_append_u8(column, dice & 1);
        break;
    case COLUMN_DOUBLE:
        column_append_f64(column, (double)(int64_t)dice / 1024);
        break;
    case COLUMN_FLOAT:
        column_append_f64(column, (float)(int32_t)dice / 8);
        break;
    case COLUMN_DECIMAL:
        column_append_i128(column, (__int128)(int64_t)dice * (int64_t)(dice % 1000000));
        break;
    case COLUMN_BYTE:
        column_append_i32(column, (int8_t)dice);
        break;
    case COLUMN_SHORT:
        column_append_i32(column, (int16_t)dice);
        break;
    case COLUMN_DATE:
        column_append_i32(column, (int32_t)(dice % 40000) - 10000);
        break;
    case COLUMN_INTEGER:
        column_append_i32(column, (int32_t)dice);
        break;
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        column_append_i64(column, (int64_t)(dice % UINT64_C(4000000000000000)));
        break;
    default:
        column_append_i64(column, (int64_t)dice);
        break;
    }
}

static struct frame *random_rows(const struct schema *schema, int64_t rows)
{
    struct frame *frame = frame_new(schema);
    uint64_t state = 42;
    for (int64_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < schema->fields_count; i++) {
            if (next(&state) % 7 == 0) {
                column_append_null(&frame->columns[i]);
            } else {
                append_value(&frame->columns[i], next(&state));
            }
        }
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    frame_check(frame);
    return frame;
}

static enum err_code collect(void *self, struct span bytes, struct err *err)
{
    struct buffer *buffer = self;
    buffer_append_span(buffer, bytes);
    return buffer_check(buffer, "the file", err);
}

/* The file of all rows, handed over in pieces of `step` rows. */
static void write_file(const struct row_file_options *options, const struct frame *frame,
                       int64_t step, struct buffer *bytes)
{
    struct err err = {0};
    buffer_init(bytes, FILE_BYTES_MAX);
    const struct row_sink sink = {.write = collect, .self = bytes};
    CLEANUP(row_file_close) struct row_file *file = NULL;
    cr_assert_eq(row_file_open(options, &sink, &file, &err), ERR_OK, "%s", err.msg);
    for (int64_t at = 0; at < frame->rows_count; at += step) {
        CLEANUP(frame_free) struct frame *piece = frame_new(frame->schema);
        for (int64_t row = at; row < at + step && row < frame->rows_count; row++) {
            frame_append_row(piece, frame, row);
        }
        cr_assert_eq(row_file_append(file, piece, &err), ERR_OK, "%s", err.msg);
    }
    cr_assert_eq(row_file_finish(file, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(row_file_rows_count(file), frame->rows_count);
    cr_expect_eq(row_file_bytes_count(file), (int64_t)bytes->size);
}

static void read_parquet(const struct span *file, struct frame *frame)
{
    struct err err = {0};
    struct parquet_source source = parquet_source_of(file);
    CLEANUP(parquet_reader_close) struct parquet_reader *reader = NULL;
    cr_assert_eq(parquet_reader_open(&source, &reader, &err), ERR_OK, "%s", err.msg);
    int64_t count = parquet_reader_rows_count(reader);
    cr_assert_eq(parquet_reader_read_range(reader, 0, count, NULL, frame, &err), ERR_OK, "%s",
                 err.msg);
}

static struct frame *read_file(const struct row_file_options *options, struct span bytes)
{
    struct err err = {0};
    if (options->format == ROW_PARQUET) {
        struct frame *frame = frame_new(options->schema);
        read_parquet(&bytes, frame);
        return frame;
    }
    CLEANUP(buffer_deinit) struct buffer plain;
    cr_assert_eq(inflate_body(bytes, options->compression, FILE_BYTES_MAX, 1000, &plain, &err),
                 ERR_OK, "%s", err.msg);
    struct decode_options decode = {.format =
                                        options->format == ROW_CSV ? DECODE_CSV : DECODE_NDJSON,
                                    .operation = FRAME_INSERT};
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct frame *frame = NULL;
    cr_assert_eq(decode_body(buffer_span(&plain), options->schema, &decode, &frame, &errors, &err),
                 ERR_OK, "%s", err.msg);
    cr_assert_eq(errors.rejected_count, 0);
    return frame;
}

static void expect_equal(const char *name, const struct frame *a, const struct frame *b)
{
    cr_assert_eq(a->rows_count, b->rows_count, "%s", name);
    CLEANUP(buffer_deinit) struct buffer left;
    CLEANUP(buffer_deinit) struct buffer right;
    buffer_init(&left, 1 << 20);
    buffer_init(&right, 1 << 20);
    for (int64_t row = 0; row < a->rows_count; row++) {
        buffer_reset(&left);
        buffer_reset(&right);
        row_encode(a, row, &left);
        row_encode(b, row, &right);
        cr_assert(span_equal(buffer_span(&left), buffer_span(&right)), "%s: row %lld", name,
                  (long long)row);
    }
}

static const struct {
    const char *name;
    enum row_format format;
    enum content_encoding compression;
} kinds[] = {
    {"ndjson", ROW_NDJSON, CONTENT_IDENTITY}, {"ndjson.gz", ROW_NDJSON, CONTENT_GZIP},
    {"csv", ROW_CSV, CONTENT_IDENTITY},       {"csv.gz", ROW_CSV, CONTENT_GZIP},
    {"csv.zst", ROW_CSV, CONTENT_ZSTD},       {"parquet", ROW_PARQUET, CONTENT_IDENTITY},
};

Test(row_file, every_type_reads_back_equal_and_pieces_do_not_show)
{
    CLEANUP(schema_release) struct schema *schema = every_type();
    CLEANUP(frame_free) struct frame *frame = random_rows(schema, ROWS);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const struct row_file_options options = {
            .schema = schema, .format = kinds[i].format, .compression = kinds[i].compression};
        CLEANUP(buffer_deinit) struct buffer whole;
        CLEANUP(buffer_deinit) struct buffer pieces;
        write_file(&options, frame, ROWS, &whole);
        write_file(&options, frame, 777, &pieces);
        cr_expect(span_equal(buffer_span(&whole), buffer_span(&pieces)), "%s", kinds[i].name);
        CLEANUP(frame_free) struct frame *back = read_file(&options, buffer_span(&whole));
        expect_equal(kinds[i].name, frame, back);
    }
}

Test(row_file, no_rows_are_a_file_too)
{
    CLEANUP(schema_release) struct schema *schema = every_type();
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const struct row_file_options options = {
            .schema = schema, .format = kinds[i].format, .compression = kinds[i].compression};
        CLEANUP(buffer_deinit) struct buffer bytes;
        write_file(&options, frame, 1, &bytes);
        if (kinds[i].format == ROW_PARQUET) {
            CLEANUP(frame_free) struct frame *back = read_file(&options, buffer_span(&bytes));
            cr_expect_eq(back->rows_count, 0);
        }
    }
}

Test(row_file, refuses_what_cannot_be_written)
{
    CLEANUP(schema_release) struct schema *schema = every_type();
    const bool none[13] = {false};
    const bool one[13] = {true};
    const struct {
        const char *name;
        struct row_file_options options;
        enum err_code code;
    } cases[] = {
        {"plain", {.schema = schema, .format = ROW_CSV}, ERR_OK},
        {"no column", {.schema = schema, .format = ROW_NDJSON, .columns = none}, ERR_INVALID},
        {"one nullable", {.schema = schema, .format = ROW_CSV, .columns = one}, ERR_INVALID},
        {"one in ndjson", {.schema = schema, .format = ROW_NDJSON, .columns = one}, ERR_OK},
        {"gzip around Parquet",
         {.schema = schema, .format = ROW_PARQUET, .compression = CONTENT_GZIP},
         ERR_INVALID},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        cr_expect_eq(row_file_check(&cases[i].options, &err), cases[i].code, "%s: %s",
                     cases[i].name, err.msg);
    }
}

static enum err_code full(void *self, struct span bytes, struct err *err)
{
    int64_t *left = self;
    *left -= (int64_t)bytes.size;
    return *left < 0 ? err_set(err, ERR_NO_SPACE, "full") : ERR_OK;
}

Test(row_file, what_the_sink_says_ends_it)
{
    CLEANUP(schema_release) struct schema *schema = every_type();
    CLEANUP(frame_free) struct frame *frame = random_rows(schema, ROWS);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const struct row_file_options options = {
            .schema = schema, .format = kinds[i].format, .compression = kinds[i].compression};
        struct err err = {0};
        int64_t left = 1000;
        const struct row_sink sink = {.write = full, .self = &left};
        CLEANUP(row_file_close) struct row_file *file = NULL;
        cr_assert_eq(row_file_open(&options, &sink, &file, &err), ERR_OK);
        enum err_code code = row_file_append(file, frame, &err);
        code = code == ERR_OK ? row_file_finish(file, &err) : code;
        cr_expect_eq(code, ERR_NO_SPACE, "%s", kinds[i].name);
    }
}
