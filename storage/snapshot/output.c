/*
 * New data files. See output.h.
 */
#include "storage/snapshot/output.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/delta/stats.h"
#include "storage/delta/table_files.h"
#include "storage/delta/transaction.h"
#include "storage/object/object.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/stored.h"

#include <assert.h>

void output_deinit(struct output *output)
{
    mem_free(output->name);
    mem_free(output->path);
    mem_free(output->partition_values);
    mem_free(output->partition_texts);
    mem_free(output->stats);
    images_release(&output->images);
    shared_vector_release(&output->vector);
    *output = (struct output){0};
}

/* Name and path from the partition values, below `folder`. */
static void make_names(struct output *output, const char *folder)
{
    struct buffer text;
    buffer_init(&text, OUTPUT_TEXT_BYTES_MAX);
    buffer_append_text(&text, folder);
    delta_partition_folder(output->partition_values, output->partition_values_count, &text);
    char file_name[DELTA_FILE_NAME_BYTES];
    delta_data_file_name(file_name);
    buffer_append_text(&text, file_name);
    buffer_append_byte(&text, '\0');
    assert(!text.overflowed);
    output->name = mem_copy_text((const char *)text.data);
    buffer_reset(&text);
    delta_path_encode(output->name, &text);
    buffer_append_byte(&text, '\0');
    assert(!text.overflowed);
    output->path = mem_copy_text((const char *)text.data);
    buffer_deinit(&text);
}

/* Values as texts in one allocation; offsets first, because the buffer moves while it grows. */
static void take_partition(struct output *output, const struct frame *frame, int64_t row)
{
    const struct schema *schema = frame->schema;
    struct buffer texts;
    buffer_init(&texts, OUTPUT_TEXT_BYTES_MAX);
    size_t starts[SCHEMA_KEY_FIELDS_MAX] = {0};
    bool nulls[SCHEMA_KEY_FIELDS_MAX] = {0};
    for (size_t i = 0; i < schema->partition_count; i++) {
        size_t column = schema->partition[i];
        starts[i] = texts.size;
        delta_partition_value_format(&frame->columns[column], &schema->fields[column], row, &texts,
                                     &nulls[i]);
        buffer_append_byte(&texts, '\0');
    }
    assert(!texts.overflowed);
    output->partition_texts = mem_copy(texts.data == NULL ? "" : (const char *)texts.data,
                                       texts.size + (texts.size == 0));
    output->partition_values =
        mem_zeroed(schema->partition_count + 1, sizeof *output->partition_values);
    output->partition_values_count = schema->partition_count;
    for (size_t i = 0; i < schema->partition_count; i++) {
        output->partition_values[i] =
            (struct delta_pair){.name = field_physical_name(&schema->fields[schema->partition[i]]),
                                .value = nulls[i] ? NULL : output->partition_texts + starts[i]};
    }
    buffer_deinit(&texts);
}

void output_init(struct output *output, uint32_t number, const struct frame *frame, int64_t row)
{
    *output = (struct output){.number = number};
    take_partition(output, frame, row);
    make_names(output, "");
}

void output_init_changes(struct output *output, const struct frame *frame, int64_t row)
{
    *output = (struct output){0};
    take_partition(output, frame, row);
    make_names(output, DELTA_CHANGE_FOLDER "/");
}

void output_init_like(struct output *output, uint32_t number, const struct delta_file *file)
{
    *output = (struct output){.number = number};
    output->partition_values =
        mem_zeroed(file->partition_values_count + 1, sizeof *output->partition_values);
    output->partition_values_count = file->partition_values_count;
    for (size_t i = 0; i < file->partition_values_count; i++) {
        output->partition_values[i] =
            file->partition_values[i]; /* borrowed: the file outlives us */
    }
    make_names(output, "");
}

void output_masks(const struct schema *schema, bool **columns_out, bool **statistics_out)
{
    *columns_out = mem_zeroed(schema->fields_count, sizeof **columns_out);
    *statistics_out = mem_zeroed(schema->fields_count, sizeof **statistics_out);
    for (size_t i = 0; i < schema->fields_count; i++) {
        (*columns_out)[i] = !stored_is_partition_column(schema, i);
        (*statistics_out)[i] = !schema->fields[i].phi;
    }
}

enum err_code output_take_written(struct output *output, const struct schema *schema,
                                  const struct parquet_written *written, bool tight,
                                  struct err *err)
{
    output->rows_count = written->rows_count;
    output->file_bytes = written->file_bytes;
    CLEANUP(buffer_deinit) struct buffer stats;
    buffer_init(&stats, DELTA_STATS_BYTES_MAX);
    struct delta_stats_options options = {.tight_bounds = tight};
    delta_stats_write(schema, written->rows_count, written->columns, &options, &stats);
    buffer_append_byte(&stats, '\0');
    TRY(buffer_check(&stats, "statistics of a data file", err));
    output->stats = mem_copy_text((const char *)stats.data);
    return ERR_OK;
}

enum err_code output_write(struct output *output, struct object_group *group,
                           struct parquet_writer_context *context, const struct frame *frame,
                           const int64_t *rows, int64_t count, bool tight, struct err *err)
{
    CLEANUP(mem_cleanup) bool *columns = NULL;
    CLEANUP(mem_cleanup) bool *statistics = NULL;
    output_masks(frame->schema, &columns, &statistics);
    struct parquet_write_options options = {
        .row_order = rows, .row_order_count = count, .columns = columns, .statistics = statistics};
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, OUTPUT_BYTES_MAX);
    struct parquet_sink sink = parquet_sink_to_buffer(&bytes);
    CLEANUP(parquet_written_deinit) struct parquet_written written = {0};
    TRY(parquet_write_frame(context, frame, &options, &sink, &written, err));
    TRY(output_take_written(output, frame->schema, &written, tight, err));
    return object_group_put(group, output->name, buffer_span(&bytes), err);
}

void output_commit(const struct output *output, struct delta_transaction *transaction,
                   bool data_change, const struct delta_dv *dv)
{
    char position[24];
    (void)snprintf(position, sizeof position, "%lld", (long long)output->position); /* fits */
    struct delta_pair tag = {.name = TAG_POSITION, .value = position};
    struct delta_file file = {.path = output->path,
                              .stats = output->stats,
                              .partition_values = output->partition_values,
                              .partition_values_count = output->partition_values_count,
                              .tags = &tag,
                              .tags_count = 1,
                              .size = output->file_bytes,
                              .modified_ms = clock_wall_us() / 1000,
                              .base_row_id = -1,
                              .default_row_commit_version = -1,
                              .data_change = data_change};
    if (dv != NULL) {
        file.dv = *dv;
    }
    delta_transaction_add(transaction, &file);
}

enum err_code output_loosen(struct output *output, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer stats;
    buffer_init(&stats, DELTA_STATS_BYTES_MAX);
    TRY(delta_stats_loosen(output->stats, &stats, err));
    buffer_append_byte(&stats, '\0');
    TRY(buffer_check(&stats, "statistics of a data file", err));
    mem_free(output->stats);
    output->stats = mem_copy_text((const char *)stats.data);
    return ERR_OK;
}
