/*
 * Inference from Parquet. See infer_parquet.h.
 */
#include "storage/snapshot/infer_parquet.h"

#include "storage/columns/frame.h"
#include "storage/columns/infer.h"
#include "storage/parquet/describe.h"
#include "storage/parquet/reader.h"

#include <stdio.h>

enum { ARENA_BYTES = 16 << 20, CHUNK_ROWS = 4096, SCHEMA_TEXT_BYTES_MAX = 8 << 20 };

/* Columns as they are in the file, and what of them a frame holds. */
struct columns {
    struct parquet_column *items;
    size_t count;
    struct infer_refused *refused;
    size_t refused_count;
    struct schema *schema; /* of the others */
};

static void columns_deinit(struct columns *columns)
{
    schema_release(&columns->schema);
}

static void write_type(const struct parquet_column *column, struct buffer *text)
{
    if (column->type == COLUMN_DECIMAL) {
        buffer_append_format(text, "\"decimal(%d,%d)\"", column->precision, column->scale);
    } else {
        buffer_append_format(text, "\"%s\"", column_type_name(column->type));
    }
}

/* As Delta's schemaString, which is the way to a schema of any names. */
static enum err_code make_schema(struct columns *columns, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SCHEMA_TEXT_BYTES_MAX);
    buffer_append_text(&text, "{\"type\":\"struct\",\"fields\":[");
    bool first = true;
    for (size_t i = 0; i < columns->count; i++) {
        const struct parquet_column *column = &columns->items[i];
        if (column->refused != NULL) {
            columns->refused[columns->refused_count++] =
                (struct infer_refused){.name = column->name, .reason = column->refused};
            continue;
        }
        buffer_append_text(&text, first ? "{\"name\":" : ",{\"name\":");
        json_write_string(&text, span_of_text(column->name));
        buffer_append_text(&text, ",\"type\":");
        write_type(column, &text);
        buffer_append_text(&text, ",\"nullable\":true,\"metadata\":{}}");
        first = false;
    }
    buffer_append_text(&text, "]}");
    TRY(buffer_check(&text, "the file's schema", err));
    if (first) {
        return err_set(err, ERR_INVALID, "the file has no column that a table can hold");
    }
    return schema_parse_delta(buffer_span(&text), NULL, &columns->schema, err);
}

static enum err_code read_columns(const struct parquet_reader *reader, struct arena *arena,
                                  struct columns *columns, struct err *err)
{
    TRY(parquet_reader_columns(reader, arena, &columns->items, &columns->count, err));
    columns->refused = arena_alloc(arena, (columns->count + 1) * sizeof *columns->refused);
    if (columns->refused == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the file's schema is larger than fits");
    }
    return make_schema(columns, err);
}

static enum err_code read_rows(struct parquet_reader *reader, struct frame *frame, struct err *err)
{
    int64_t rows = parquet_reader_rows_count(reader);
    rows = rows < INFER_RECORDS_MAX ? rows : INFER_RECORDS_MAX;
    for (int64_t at = 0; at < rows && frame_value_bytes(frame) < INFER_PARQUET_BYTES_MAX;) {
        int64_t count = rows - at < CHUNK_ROWS ? rows - at : CHUNK_ROWS;
        TRY(parquet_reader_read_range(reader, at, count, NULL, frame, err));
        at += count;
    }
    return ERR_OK;
}

static enum err_code infer_file(struct span file, struct json **answer_out, struct err *err)
{
    struct parquet_source source = parquet_source_of(&file);
    CLEANUP(parquet_reader_close) struct parquet_reader *reader = NULL;
    CLEANUP(arena_deinit) struct arena arena;
    CLEANUP(columns_deinit) struct columns columns = {0};
    CLEANUP(frame_free) struct frame *frame = NULL;
    arena_init(&arena, ARENA_BYTES);
    TRY(parquet_reader_open(&source, &reader, err));
    TRY(read_columns(reader, &arena, &columns, err));
    frame = frame_new(columns.schema);
    TRY(read_rows(reader, frame, err));
    return infer_frame(frame, columns.refused, columns.refused_count, answer_out, err);
}

enum err_code infer_parquet(struct span file, struct json **answer_out, struct err *err)
{
    enum err_code code = infer_file(file, answer_out, err);
    if (code == ERR_CORRUPT || code == ERR_UNSUPPORTED) {
        err->code = ERR_INVALID; /* somebody's sample, not a file of ours */
        return err_wrap(err, "the sample");
    }
    return code;
}
