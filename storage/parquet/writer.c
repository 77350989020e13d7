/*
 * Frames to Parquet files. See writer.h for the contract. Cuts row groups; the
 * work on values is chunk_writer.c's, the file around them file_writer.c's.
 */
#include "storage/parquet/writer.h"

#include "storage/base/mem.h"
#include "storage/parquet/chunk_writer.h"
#include "storage/parquet/file_writer.h"
#include "storage/parquet/shred.h"

#include <assert.h>
#include <string.h>

enum {
    ROWS_MULTIPLE = 8, /* row groups start at whole bytes of the validity bitmap */
};

struct parquet_writer {
    struct file_writer file;
    struct schema *schema; /* a reference */
    struct parquet_write_options options;
    struct shred_leaf *leaves; /* in file order */
    size_t leaves_count;
    struct shred_levels levels;                   /* of the nested leaf at hand */
    struct parquet_column_statistics *statistics; /* a field each */
    struct frame *pending; /* rows gathered for the next row group; NULL = of one frame */
    int64_t rows_count;    /* in row groups */
    bool finished;
};

static bool is_written(const struct parquet_write_options *options, size_t field)
{
    return options->columns == NULL || options->columns[field];
}

static size_t count_leaves(const struct schema *schema, const struct parquet_write_options *options)
{
    size_t count = 0;
    for (size_t i = 0; i < schema->fields_count; i++) {
        count += is_written(options, i) ? shred_leaves_count(&schema->fields[i]) : 0;
    }
    return count;
}

static void write_schema(struct parquet_writer *writer)
{
    const struct schema *schema = writer->schema;
    const struct parquet_write_options *options = &writer->options;
    size_t count = 0;
    for (size_t i = 0; i < schema->fields_count; i++) {
        count += is_written(options, i);
    }
    file_writer_root(&writer->file, count);
    size_t leaf = 0;
    for (size_t i = 0; i < schema->fields_count; i++) {
        if (is_written(options, i)) {
            shred_place(&schema->fields[i], i, &writer->file, &writer->leaves[leaf]);
            leaf += shred_leaves_count(&schema->fields[i]);
        }
    }
    assert(leaf == writer->leaves_count);
}

static void writer_init(struct parquet_writer *writer, struct parquet_writer_context *context,
                        const struct schema *schema, const struct parquet_write_options *options,
                        const struct parquet_sink *sink)
{
    *writer = (struct parquet_writer){.schema = schema_acquire(schema)};
    if (options != NULL) {
        writer->options = *options;
    }
    writer->leaves_count = count_leaves(schema, &writer->options);
    writer->leaves = mem_zeroed(writer->leaves_count, sizeof *writer->leaves);
    writer->statistics = mem_zeroed(schema->fields_count, sizeof *writer->statistics);
    file_writer_init(&writer->file, context, sink, writer->leaves_count);
    write_schema(writer);
}

static void writer_deinit(struct parquet_writer *writer)
{
    file_writer_deinit(&writer->file);
    frame_free(&writer->pending);
    schema_release(&writer->schema);
    for (size_t i = 0; i < writer->leaves_count; i++) {
        shred_leaf_deinit(&writer->leaves[i]);
    }
    mem_free(writer->leaves);
    shred_levels_deinit(&writer->levels);
    mem_free(writer->statistics);
    *writer = (struct parquet_writer){0};
}

static enum err_code write_flat(struct parquet_writer *writer, size_t leaf,
                                const struct column *column, const struct shred_rows *rows,
                                struct chunk_result *result, struct err *err)
{
    size_t field = writer->leaves[leaf].field;
    const bool *statistics = writer->options.statistics;
    const struct chunk_input input = {
        .column = column,
        .order = rows->order,
        .start = rows->start,
        .count = rows->count,
        .definition_max = 1,
        .wants_bounds = statistics == NULL || statistics[field],
        .wants_indexes = true,
        .wants_bloom = writer->options.blooms != NULL && writer->options.blooms[field] &&
                       column->type != COLUMN_BOOLEAN,
    };
    return chunk_write(&writer->file, &writer->file.leaves[leaf].type, &input, result,
                       &writer->statistics[field], err);
}

/* Without bounds: nothing skips nested values by them. */
static enum err_code write_nested(struct parquet_writer *writer, size_t leaf_index,
                                  const struct column *column, const struct shred_rows *rows,
                                  struct chunk_result *result, struct err *err)
{
    const struct shred_leaf *leaf = &writer->leaves[leaf_index];
    struct shred_levels *levels = &writer->levels;
    TRY(shred_levels_of(leaf, column, rows, levels, err));
    const struct chunk_input input = {
        .column = shred_column(leaf, column),
        .order = levels->values,
        .count = (int64_t)levels->count,
        .values_count = (int64_t)levels->values_count,
        .definitions = levels->definitions,
        .repetitions = leaf->repetition_max > 0 ? levels->repetitions : NULL,
        .definition_max = leaf->definition_max,
        .repetition_max = leaf->repetition_max,
    };
    return chunk_write(&writer->file, &writer->file.leaves[leaf_index].type, &input, result, NULL,
                       err);
}

/* Delta counts the nulls of arrays and maps as wholes, those of structs field by field: not here.
 */
static void count_nulls(const struct column *column, const struct shred_rows *rows,
                        struct parquet_column_statistics *statistics)
{
    if (column->type == COLUMN_STRUCT) {
        statistics->nulls_count = -1;
        return;
    }
    int64_t nulls = 0;
    for (int64_t i = 0; column->nulls_count > 0 && i < rows->count; i++) {
        int64_t row = rows->order != NULL ? rows->order[i] : rows->start + i;
        nulls += !column_is_valid(column, row);
    }
    statistics->nulls_count += nulls;
    statistics->values_count += rows->count - nulls;
}

static enum err_code write_row_group(struct parquet_writer *writer, const struct frame *frame,
                                     const struct shred_rows *rows, struct err *err)
{
    struct chunk_result *results = file_writer_add_row_group(&writer->file, rows->count);
    for (size_t i = 0; i < writer->leaves_count; i++) {
        const struct shred_leaf *leaf = &writer->leaves[i];
        const struct column *column = &frame->columns[leaf->field];
        bool nested = column_type_is_nested(column->type);
        enum err_code code = nested ? write_nested(writer, i, column, rows, &results[i], err)
                                    : write_flat(writer, i, column, rows, &results[i], err);
        if (code != ERR_OK) {
            return err_wrap(err, "column '%s'", frame->schema->fields[leaf->field].name);
        }
        bool is_first = i == 0 || writer->leaves[i - 1].field != leaf->field;
        if (nested && is_first) {
            count_nulls(column, rows, &writer->statistics[leaf->field]);
        }
    }
    return file_writer_end_row_group(&writer->file, err);
}

/* Rows of the frame that make a row group within both limits. */
static int64_t group_rows_of(const struct frame *frame)
{
    if (frame->rows_count == 0) {
        return PARQUET_WRITE_ROW_GROUP_ROWS_MAX;
    }
    int64_t row_bytes = frame_value_bytes(frame) / frame->rows_count + 1;
    int64_t rows = PARQUET_WRITE_ROW_GROUP_BYTES_MAX / row_bytes / ROWS_MULTIPLE * ROWS_MULTIPLE;
    rows = rows < ROWS_MULTIPLE ? ROWS_MULTIPLE : rows;
    return rows < PARQUET_WRITE_ROW_GROUP_ROWS_MAX ? rows : PARQUET_WRITE_ROW_GROUP_ROWS_MAX;
}

/* Write the rows straight from the frame, in as many row groups as they need. */
static enum err_code write_rows(struct parquet_writer *writer, const struct frame *frame,
                                const int64_t *order, int64_t count, struct err *err)
{
    int64_t step = group_rows_of(frame);
    for (int64_t start = 0; start < count; start += step) {
        int64_t left = count - start;
        const struct shred_rows rows = {.order = order != NULL ? order + start : NULL,
                                        .start = order != NULL ? 0 : start,
                                        .count = left < step ? left : step};
        TRY(write_row_group(writer, frame, &rows, err));
    }
    return ERR_OK;
}

/* Bounds are measured as the file stores them; decimals are promised unscaled in i128. */
static void widen_decimal(const struct field *field, struct parquet_column_statistics *statistics)
{
    if (field->type == COLUMN_DECIMAL &&
        leaf_type_of(field->type, field->precision).kind != LEAF_FIXED) {
        statistics->min.i128 = statistics->min.i64;
        statistics->max.i128 = statistics->max.i64;
    }
}

static enum err_code finish(struct parquet_writer *writer, struct parquet_written *written_out,
                            struct err *err)
{
    TRY(file_writer_finish(&writer->file, err));
    for (size_t i = 0; i < writer->schema->fields_count; i++) {
        widen_decimal(&writer->schema->fields[i], &writer->statistics[i]);
    }
    *written_out = (struct parquet_written){
        .rows_count = writer->rows_count,
        .file_bytes = writer->file.position,
        .columns_count = writer->schema->fields_count,
        .columns = writer->statistics,
    };
    writer->statistics = NULL;
    writer->finished = true;
    return ERR_OK;
}

void parquet_written_deinit(struct parquet_written *written)
{
    mem_free(written->columns);
    *written = (struct parquet_written){0};
}

enum err_code parquet_write_frame(struct parquet_writer_context *context, const struct frame *frame,
                                  const struct parquet_write_options *options,
                                  const struct parquet_sink *sink,
                                  struct parquet_written *written_out, struct err *err)
{
    CLEANUP(writer_deinit) struct parquet_writer writer;
    writer_init(&writer, context, frame->schema, options, sink);
    const int64_t *order = writer.options.row_order;
    int64_t count = order != NULL ? writer.options.row_order_count : frame->rows_count;
    TRY(write_rows(&writer, frame, order, count, err));
    writer.rows_count = count;
    return finish(&writer, written_out, err);
}

enum err_code parquet_writer_open(struct parquet_writer_context *context,
                                  const struct schema *schema,
                                  const struct parquet_write_options *options,
                                  const struct parquet_sink *sink,
                                  struct parquet_writer **writer_out, struct err *err)
{
    (void)err; /* nothing is written before the first row group */
    struct parquet_writer *writer = mem_alloc(sizeof *writer);
    writer_init(writer, context, schema, options, sink);
    writer->pending = frame_new(schema);
    *writer_out = writer;
    return ERR_OK;
}

/*
 * One row group, though what was appended last may have led past the limit of bytes: another of
 * the few rows beyond it helps nobody.
 */
static enum err_code flush_pending(struct parquet_writer *writer, struct err *err)
{
    struct frame *pending = writer->pending;
    int64_t count = pending->rows_count;
    if (count == 0) {
        return ERR_OK;
    }
    if (count <= PARQUET_WRITE_ROW_GROUP_ROWS_MAX && count < 2 * group_rows_of(pending)) {
        const struct shred_rows rows = {.count = count};
        TRY(write_row_group(writer, pending, &rows, err));
    } else {
        TRY(write_rows(writer, pending, NULL, count, err));
    }
    writer->rows_count += count;
    frame_reset(pending);
    return ERR_OK;
}

struct frame *parquet_writer_rows(struct parquet_writer *writer)
{
    assert(!writer->finished);
    return writer->pending;
}

enum err_code parquet_writer_gathered(struct parquet_writer *writer, struct err *err)
{
    assert(!writer->finished);
    bool full = writer->pending->rows_count >= PARQUET_WRITE_ROW_GROUP_ROWS_MAX ||
                frame_value_bytes(writer->pending) >= PARQUET_WRITE_ROW_GROUP_BYTES_MAX;
    return full ? flush_pending(writer, err) : ERR_OK;
}

int64_t parquet_writer_rows_count(const struct parquet_writer *writer)
{
    return writer->rows_count + writer->pending->rows_count;
}

int64_t parquet_writer_bytes_count(const struct parquet_writer *writer)
{
    return writer->file.position - (int64_t)writer->file.context->out.size;
}

enum err_code parquet_writer_finish(struct parquet_writer *writer,
                                    struct parquet_written *written_out, struct err *err)
{
    assert(!writer->finished);
    TRY(flush_pending(writer, err));
    return finish(writer, written_out, err);
}

void parquet_writer_close(struct parquet_writer **writer)
{
    if (*writer == NULL) {
        return;
    }
    writer_deinit(*writer);
    mem_free(*writer);
    *writer = NULL;
}
