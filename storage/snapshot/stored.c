/*
 * Reading data files into frames. See stored.h.
 */
#include "storage/snapshot/stored.h"

#include "storage/base/mem.h"
#include "storage/delta/table_files.h"
#include "storage/object/object.h"
#include "storage/parquet/reader.h"

#include <assert.h>

bool stored_is_partition_column(const struct schema *schema, size_t column)
{
    for (size_t i = 0; i < schema->partition_count; i++) {
        if (schema->partition[i] == column) {
            return true;
        }
    }
    return false;
}

void stored_choose(struct stored *stored, const bool *columns)
{
    for (size_t i = 0; i < stored->schema->fields_count; i++) {
        bool wanted = columns == NULL || columns[i];
        bool partition = stored_is_partition_column(stored->schema, i);
        stored->columns[i] = wanted && !partition;
        stored->partition[i] = wanted && partition;
    }
}

/*
 * spec: delta PROTOCOL.md#reader-requirements-for-column-mapping — of a table that maps by id a
 * file without ids has to be refused, or read as nulls; nobody wants the nulls
 */
static enum err_code check_ids(const struct stored *stored, struct err *err)
{
    for (size_t i = 0; i < stored->schema->fields_count; i++) {
        if (stored->schema->fields[i].physical_id != 0) {
            return parquet_reader_has_field_ids(stored->reader)
                       ? ERR_OK
                       : err_set(err, ERR_UNSUPPORTED,
                                 "its columns carry no field_id, by which the table finds them "
                                 "(delta.columnMapping.mode is id)");
        }
    }
    return ERR_OK;
}

static enum err_code open_file(struct stored *stored, struct object_store *store, struct err *err)
{
    CLEANUP(mem_cleanup) char *name = NULL;
    TRY(delta_path_decode(store, stored->file->path, &name, err));
    TRY(object_open(store, name, &stored->object, err));
    struct parquet_source source = {
        .read_at = object_read_at, .self = stored->object, .size = object_size(stored->object)};
    TRY(parquet_reader_open(&source, &stored->reader, err));
    stored->rows_count = parquet_reader_rows_count(stored->reader);
    if (stored->file->rows_count >= 0 && stored->file->rows_count != stored->rows_count) {
        return err_set(err, ERR_CORRUPT, "%lld rows, the log says %lld",
                       (long long)stored->rows_count, (long long)stored->file->rows_count);
    }
    if (stored->rows_count >= UINT32_MAX) {
        return err_set(err, ERR_UNSUPPORTED, "a data file of 2^32 rows or more");
    }
    return check_ids(stored, err);
}

enum err_code stored_open(struct object_store *store, const struct schema *schema,
                          const struct delta_file *file, const bool *columns,
                          struct stored *stored_out, struct err *err)
{
    struct stored stored = {.schema = schema, .file = file};
    stored.columns = mem_zeroed(schema->fields_count, sizeof *stored.columns);
    stored.partition = mem_zeroed(schema->fields_count, sizeof *stored.partition);
    stored_choose(&stored, columns);
    if (open_file(&stored, store, err) != ERR_OK) {
        stored_close(&stored);
        return err_wrap(err, "data file %s", file->path);
    }
    *stored_out = stored;
    return ERR_OK;
}

void stored_close(struct stored *stored)
{
    parquet_reader_close(&stored->reader);
    object_close(&stored->object);
    mem_free(stored->columns);
    mem_free(stored->partition);
    *stored = (struct stored){0};
}

/* Replace the nulls that the reader left for partition columns by the log's values. */
static enum err_code fill_partitions(const struct stored *stored, int64_t before,
                                     struct frame *frame, struct err *err)
{
    int64_t count = frame->rows_count - before;
    for (size_t i = 0; i < stored->schema->fields_count; i++) {
        if (!stored->partition[i]) {
            continue;
        }
        const struct field *field = &stored->schema->fields[i];
        bool found = false;
        const char *value =
            delta_file_partition_value(stored->file, field_physical_name(field), &found);
        column_truncate(&frame->columns[i], before);
        TRY(delta_partition_value_append(found ? value : NULL, field, count, &frame->columns[i],
                                         err));
    }
    return ERR_OK;
}

static enum err_code after_read(struct stored *stored, enum err_code code, int64_t before,
                                struct frame *frame, struct err *err)
{
    if (code == ERR_OK) {
        code = fill_partitions(stored, before, frame, err);
    }
    return code == ERR_OK ? ERR_OK : err_wrap(err, "data file %s", stored->file->path);
}

static struct parquet_read_options read_options(const struct stored *stored)
{
    return (struct parquet_read_options){
        .columns = stored->columns,
        .column_bytes_max = stored->column_bytes_max,
        .exact = stored->exact,
    };
}

enum err_code stored_read_range(struct stored *stored, int64_t start, int64_t count,
                                struct frame *frame, struct err *err)
{
    assert(frame->schema == stored->schema);
    int64_t before = frame->rows_count;
    struct parquet_read_options options = read_options(stored);
    enum err_code code =
        parquet_reader_read_range(stored->reader, start, count, &options, frame, err);
    return after_read(stored, code, before, frame, err);
}

enum err_code stored_read_rows(struct stored *stored, const int64_t *rows, int64_t count,
                               struct frame *frame, struct err *err)
{
    assert(frame->schema == stored->schema);
    int64_t before = frame->rows_count;
    struct parquet_read_options options = read_options(stored);
    enum err_code code =
        parquet_reader_read_rows(stored->reader, rows, count, &options, frame, err);
    return after_read(stored, code, before, frame, err);
}

size_t stored_row_groups_count(const struct stored *stored)
{
    return parquet_reader_row_groups_count(stored->reader);
}

int64_t stored_row_group_start(const struct stored *stored, size_t row_group)
{
    return parquet_reader_row_group_start(stored->reader, row_group);
}

int64_t stored_row_group_rows(const struct stored *stored, size_t row_group)
{
    return parquet_reader_row_group_rows(stored->reader, row_group);
}

void stored_statistics(const struct stored *stored, size_t row_group, size_t column,
                       struct parquet_column_statistics *statistics_out)
{
    parquet_reader_statistics(stored->reader, row_group, &stored->schema->fields[column],
                              statistics_out);
}
