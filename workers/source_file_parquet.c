/*
 * Parquet files as sources: rows as they are in the file, judged later by decode_rows.
 * A piece has as many rows as asked for, or half of that, or a quarter …, until its
 * columns fit their memory: that depends on the file alone.
 */
#include "workers/source_file_content.h"

#include "storage/base/mem.h"
#include "storage/columns/decode_rows.h"
#include "storage/parquet/reader.h"
#include "workers/source_checkpoint.h"

#include <assert.h>

enum { COLUMN_BYTES_OF_PIECE = 32 << 20 /* contents of one string or binary column */ };

struct source_parquet {
    struct source base;
    struct file_content content;
    struct parquet_reader *reader;
    struct schema *columns; /* of the file */
    struct frame *rows;     /* of the piece in hand */
    int64_t row;            /* that the next piece begins with */
    int64_t rows_max;
    bool is_done;
    struct buffer checkpoint;
};

static struct source_parquet *parquet_of(struct source *source)
{
    return (struct source_parquet *)source;
}

static enum err_code read_at(void *self, int64_t offset, void *out, size_t size, struct err *err)
{
    return content_read(self, offset, out, size, err);
}

static enum err_code begin(struct source *source, struct span checkpoint, bool *done_out,
                           struct err *err)
{
    struct source_parquet *parquet = parquet_of(source);
    struct source_checkpoint at = {0};
    TRY(source_checkpoint_parse(checkpoint, &at, err));
    int64_t rows = parquet_reader_rows_count(parquet->reader);
    if (at.position > rows) {
        return err_set(err, ERR_CORRUPT, "the stored checkpoint is behind the end of the file");
    }
    *done_out = at.is_done;
    parquet->row = at.position;
    source->progress.work_total = rows;
    source->progress.work_done = at.position;
    return ERR_OK;
}

static enum err_code finish(struct source_parquet *parquet, struct source_piece *piece_out,
                            bool *found_out, struct err *err)
{
    *found_out = !parquet->is_done;
    if (parquet->is_done) {
        return ERR_OK;
    }
    TRY(content_check(&parquet->content, err));
    TRY(content_check_again(&parquet->content, err));
    const struct source_checkpoint at = {.is_done = true};
    source_checkpoint_write(&at, &parquet->checkpoint);
    *piece_out = (struct source_piece){.checkpoint = buffer_span(&parquet->checkpoint)};
    parquet->is_done = true;
    return ERR_OK;
}

/* `count_out` rows from parquet->row on. */
static enum err_code read_rows(struct source_parquet *parquet, int64_t *count_out, struct err *err)
{
    const struct source_reader *reader = parquet->content.reader;
    const struct parquet_read_options options = {
        .exact = true,
        .column_bytes_max = COLUMN_BYTES_OF_PIECE,
    };
    int64_t left = parquet_reader_rows_count(parquet->reader) - parquet->row;
    for (int64_t count = left < parquet->rows_max ? left : parquet->rows_max;; count /= 2) {
        TRY(reader->check_time(reader->arg, err));
        frame_free(&parquet->rows); /* columns that grew too large are not kept */
        parquet->rows = frame_new(parquet->columns);
        enum err_code code = parquet_reader_read_range(parquet->reader, parquet->row, count,
                                                       &options, parquet->rows, err);
        if (code != ERR_TOO_LARGE || count == 1) {
            *count_out = count;
            return code;
        }
        err_clear(err);
    }
}

static enum err_code read_piece(struct source_parquet *parquet, struct source_piece *piece_out,
                                bool *found_out, struct err *err)
{
    if (parquet->row == parquet_reader_rows_count(parquet->reader)) {
        return finish(parquet, piece_out, found_out, err);
    }
    int64_t count = 0;
    if (read_rows(parquet, &count, err) != ERR_OK) {
        return err_wrap(err, "rows from %lld on", (long long)parquet->row + 1);
    }
    TRY(content_check(&parquet->content, err));
    const struct source_checkpoint at = {.position = parquet->row + count};
    source_checkpoint_write(&at, &parquet->checkpoint);
    *piece_out = (struct source_piece){
        .records_count = count,
        .rows = parquet->rows,
        .line_offset = parquet->row,
        .checkpoint = buffer_span(&parquet->checkpoint),
        .place = "row",
    };
    *found_out = true;
    parquet->row += count;
    int64_t rows = parquet_reader_rows_count(parquet->reader);
    parquet->base.progress.work_done = parquet->row;
    parquet->base.progress.bytes =
        (int64_t)((double)parquet->content.size * (double)parquet->row / (double)rows);
    return ERR_OK;
}

static enum err_code next(struct source *source, struct source_piece *piece_out, bool *found_out,
                          struct err *err)
{
    struct source_parquet *parquet = parquet_of(source);
    return content_explain(&parquet->content, read_piece(parquet, piece_out, found_out, err), err);
}

static void close_parquet(struct source *source)
{
    struct source_parquet *parquet = parquet_of(source);
    parquet_reader_close(&parquet->reader);
    schema_release(&parquet->columns);
    frame_free(&parquet->rows);
    content_close(&parquet->content);
    buffer_deinit(&parquet->checkpoint);
}

enum err_code source_parquet_new(struct file_content *content, struct source **source_out,
                                 struct err *err)
{
    static const struct source_ops ops = {.begin = begin, .next = next, .close = close_parquet};
    struct source_parquet *parquet = mem_zeroed(1, sizeof *parquet);
    CLEANUP(source_close) struct source *source = &parquet->base;
    source->ops = &ops;
    parquet->content = *content;
    content->fd = -1;
    buffer_init(&parquet->checkpoint, SOURCE_CHECKPOINT_BYTES_MAX);
    const struct source_reader *reader = parquet->content.reader;
    parquet->rows_max = source_records_max(reader);
    const struct parquet_source bytes = {
        .read_at = read_at, .self = &parquet->content, .size = parquet->content.size};
    TRY(parquet_reader_open(&bytes, &parquet->reader, err));
    TRY(parquet_reader_schema(parquet->reader, NULL, &parquet->columns, err));
    TRY(decode_rows_check(parquet->columns, reader->schema, err));
    *source_out = source;
    source = NULL;
    return ERR_OK;
}
