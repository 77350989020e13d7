/*
 * Inference from Parquet. See infer_parquet.h.
 */
#include "storage/snapshot/infer_parquet.h"

#include "storage/columns/frame.h"
#include "storage/columns/infer.h"
#include "storage/parquet/reader.h"

enum { ARENA_BYTES = 16 << 20, CHUNK_ROWS = 4096 };

/* Columns of the file: those that a frame holds, and the others with the reason. */
struct columns {
    const char **names; /* NULL-terminated */
    size_t count;
    struct infer_refused *refused;
    size_t refused_count;
};

static enum err_code too_large(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "the file's schema is larger than fits");
}

/* Each by itself: one that cannot be read keeps no other out. */
static enum err_code choose_columns(const struct parquet_reader *reader, struct arena *arena,
                                    struct columns *columns, struct err *err)
{
    size_t count = parquet_reader_columns_count(reader);
    columns->names = arena_alloc(arena, (count + 1) * sizeof *columns->names);
    columns->refused = arena_alloc(arena, (count + 1) * sizeof *columns->refused);
    if (columns->names == NULL || columns->refused == NULL) {
        return too_large(err);
    }
    for (size_t i = 0; i < count; i++) {
        CLEANUP(schema_release) struct schema *schema = NULL;
        struct err refusal = {0};
        const char *name = arena_text(arena, parquet_reader_column_name(reader, i));
        if (name == NULL) {
            return too_large(err);
        }
        const char *const alone[] = {name, NULL};
        if (parquet_reader_schema(reader, alone, &schema, &refusal) == ERR_OK) {
            columns->names[columns->count++] = name;
            continue;
        }
        const char *reason = arena_text(arena, span_of_text(refusal.msg));
        if (reason == NULL) {
            return too_large(err);
        }
        columns->refused[columns->refused_count++] =
            (struct infer_refused){.name = name, .reason = reason};
    }
    columns->names[columns->count] = NULL;
    return columns->count > 0
               ? ERR_OK
               : err_set(err, ERR_INVALID, "the file has no column that a table can hold");
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
    CLEANUP(schema_release) struct schema *schema = NULL;
    struct columns columns = {0};
    CLEANUP(frame_free) struct frame *frame = NULL;
    arena_init(&arena, ARENA_BYTES);
    TRY(parquet_reader_open(&source, &reader, err));
    TRY(choose_columns(reader, &arena, &columns, err));
    TRY(parquet_reader_schema(reader, columns.names, &schema, err));
    frame = frame_new(schema);
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
