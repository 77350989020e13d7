/*
 * Files of rows. See row_file.h.
 */
#include "storage/snapshot/row_file.h"

#include "storage/base/mem.h"
#include "storage/columns/deflate.h"
#include "storage/columns/encode_csv.h"
#include "storage/columns/encode_json.h"
#include "storage/parquet/writer.h"

#include <assert.h>

enum {
    TEXT_BYTES = 256 << 10,   /* handed to the compressor at a time, about */
    TEXT_BYTES_MAX = 1 << 30, /* one row at most */
    PORTION_ROWS = 8192,      /* handed to the Parquet writer at a time, exactly */
};

static const struct {
    const char *name;
    const char *media_type;
} formats[ROW_FORMAT_COUNT] = {
    [ROW_NDJSON] = {"ndjson", "application/x-ndjson"},
    [ROW_CSV] = {"csv", "text/csv; charset=utf-8; header=present"},
    [ROW_PARQUET] = {"parquet", "application/vnd.apache.parquet"},
};

const char *row_format_name(enum row_format format)
{
    assert((unsigned)format < ROW_FORMAT_COUNT);
    return formats[format].name;
}

const char *row_format_media_type(enum row_format format)
{
    assert((unsigned)format < ROW_FORMAT_COUNT);
    return formats[format].media_type;
}

bool row_format_parse(struct span name, enum row_format *format_out)
{
    for (unsigned i = 0; i < ROW_FORMAT_COUNT; i++) {
        if (span_equal_text(name, formats[i].name)) {
            *format_out = (enum row_format)i;
            return true;
        }
    }
    return false;
}

struct row_file {
    struct row_file_options options;
    struct schema *schema; /* a reference */
    struct row_sink sink;
    int64_t rows_count;
    int64_t bytes_count;
    /* NDJSON and CSV */
    struct buffer text;
    struct buffer compressed;
    struct deflater *deflater;
    /* Parquet */
    bool *statistics;
    struct parquet_writer *parquet;
};

static enum err_code to_sink(void *self, struct span bytes, struct err *err)
{
    struct row_file *file = self;
    file->bytes_count += (int64_t)bytes.size;
    return bytes.size == 0 ? ERR_OK : file->sink.write(file->sink.self, bytes, err);
}

enum err_code row_file_check(const struct row_file_options *options, struct err *err)
{
    size_t count = 0;
    for (size_t i = 0; i < options->schema->fields_count; i++) {
        count += options->columns == NULL || options->columns[i];
    }
    if (count == 0) {
        return err_set(err, ERR_INVALID, "no column is chosen");
    }
    if (options->format == ROW_PARQUET && options->compression != CONTENT_IDENTITY) {
        return err_set(err, ERR_INVALID,
                       "a Parquet file compresses its pages itself; leave compression out");
    }
    return options->format == ROW_CSV ? encode_csv_check(options->schema, options->columns, err)
                                      : ERR_OK;
}

/* ---- text ---- */

static enum err_code drain(struct row_file *file, struct err *err)
{
    TRY(to_sink(file, buffer_span(&file->compressed), err));
    buffer_reset(&file->compressed);
    return ERR_OK;
}

static enum err_code flush_text(struct row_file *file, struct err *err)
{
    TRY(buffer_check(&file->text, "one row as text", err));
    TRY(deflater_write(file->deflater, buffer_span(&file->text), &file->compressed, err));
    buffer_reset(&file->text);
    return drain(file, err);
}

static enum err_code open_text(struct row_file *file, struct err *err)
{
    TRY(deflater_open(file->options.compression, &file->deflater, err));
    if (file->options.format == ROW_CSV) {
        encode_csv_header(file->schema, file->options.columns, &file->text);
    }
    return ERR_OK;
}

static enum err_code append_text(struct row_file *file, const struct frame *frame, struct err *err)
{
    const bool *columns = file->options.columns;
    for (int64_t row = 0; row < frame->rows_count; row++) {
        if (file->options.format == ROW_CSV) {
            encode_csv_row(frame, row, columns, &file->text);
        } else {
            encode_ndjson_rows(frame, row, 1, columns, &file->text);
        }
        if (file->text.size >= TEXT_BYTES || file->text.overflowed) {
            TRY(flush_text(file, err));
        }
    }
    return ERR_OK;
}

static enum err_code finish_text(struct row_file *file, struct err *err)
{
    TRY(flush_text(file, err));
    TRY(deflater_finish(file->deflater, &file->compressed, err));
    return drain(file, err);
}

/* ---- Parquet ---- */

static enum err_code open_parquet(struct row_file *file, struct err *err)
{
    const struct schema *schema = file->schema;
    file->statistics = mem_zeroed(schema->fields_count, sizeof *file->statistics);
    for (size_t i = 0; i < schema->fields_count; i++) {
        file->statistics[i] = !schema->fields[i].phi;
    }
    const struct parquet_write_options options = {.columns = file->options.columns,
                                                  .statistics = file->statistics};
    const struct parquet_sink sink = {.write = to_sink, .self = file};
    return parquet_writer_open(NULL, schema, &options, &sink, &file->parquet, err);
}

/* In portions of one size, so that row groups end at the same rows however these came. */
static enum err_code append_parquet(struct row_file *file, const struct frame *frame,
                                    struct err *err)
{
    struct frame *gathered = parquet_writer_rows(file->parquet);
    int64_t rows[PORTION_ROWS];
    for (int64_t at = 0; at < frame->rows_count;) {
        int64_t room = PORTION_ROWS - gathered->rows_count % PORTION_ROWS;
        int64_t count = frame->rows_count - at < room ? frame->rows_count - at : room;
        for (int64_t i = 0; i < count; i++) {
            rows[i] = at + i;
        }
        frame_append_rows(gathered, frame, rows, count);
        at += count;
        if (count == room) {
            TRY(parquet_writer_gathered(file->parquet, err));
        }
    }
    return ERR_OK;
}

static enum err_code finish_parquet(struct row_file *file, struct err *err)
{
    struct parquet_written written = {0};
    TRY(parquet_writer_finish(file->parquet, &written, err));
    parquet_written_deinit(&written);
    return ERR_OK;
}

/* ---- public ---- */

enum err_code row_file_open(const struct row_file_options *options, const struct row_sink *sink,
                            struct row_file **file_out, struct err *err)
{
    CLEANUP(row_file_close) struct row_file *file = mem_zeroed(1, sizeof *file);
    file->options = *options;
    file->schema = schema_acquire(options->schema);
    file->sink = *sink;
    buffer_init(&file->text, TEXT_BYTES_MAX);
    buffer_init(&file->compressed, TEXT_BYTES_MAX + TEXT_BYTES_MAX / 2);
    TRY(options->format == ROW_PARQUET ? open_parquet(file, err) : open_text(file, err));
    *file_out = file;
    file = NULL;
    return ERR_OK;
}

void row_file_close(struct row_file **file)
{
    struct row_file *closed = *file;
    if (closed == NULL) {
        return;
    }
    parquet_writer_close(&closed->parquet);
    mem_free(closed->statistics);
    deflater_close(&closed->deflater);
    buffer_deinit(&closed->text);
    buffer_deinit(&closed->compressed);
    schema_release(&closed->schema);
    mem_free(closed);
    *file = NULL;
}

enum err_code row_file_append(struct row_file *file, const struct frame *frame, struct err *err)
{
    file->rows_count += frame->rows_count;
    return file->options.format == ROW_PARQUET ? append_parquet(file, frame, err)
                                               : append_text(file, frame, err);
}

enum err_code row_file_finish(struct row_file *file, struct err *err)
{
    return file->options.format == ROW_PARQUET ? finish_parquet(file, err) : finish_text(file, err);
}

int64_t row_file_rows_count(const struct row_file *file)
{
    return file->rows_count;
}

int64_t row_file_bytes_count(const struct row_file *file)
{
    return file->bytes_count;
}
