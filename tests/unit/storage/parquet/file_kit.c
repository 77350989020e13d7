/*
 * Files in memory. See file_kit.h.
 */
#include "tests/unit/storage/parquet/file_kit.h"

#include <criterion/criterion.h>

enum { FILE_BYTES_MAX = 1 << 30 };

void file_kit_open(struct file_kit *kit)
{
    struct err err = {0};
    kit->span = buffer_span(&kit->bytes);
    const struct parquet_source source = parquet_source_of(&kit->span);
    cr_assert_eq(parquet_reader_open(&source, &kit->reader, &err), ERR_OK, "%s", err.msg);
}

void file_kit_init(struct file_kit *kit, const struct frame *frame,
                   const struct parquet_write_options *options)
{
    struct err err = {0};
    *kit = (struct file_kit){0};
    buffer_init(&kit->bytes, FILE_BYTES_MAX);
    const struct parquet_sink sink = parquet_sink_to_buffer(&kit->bytes);
    cr_assert_eq(parquet_write_frame(NULL, frame, options, &sink, &kit->written, &err), ERR_OK,
                 "%s", err.msg);
    cr_assert_eq(kit->written.file_bytes, (int64_t)kit->bytes.size);
    file_kit_open(kit);
}

void file_kit_deinit(struct file_kit *kit)
{
    parquet_reader_close(&kit->reader);
    parquet_written_deinit(&kit->written);
    buffer_deinit(&kit->bytes);
}

void file_kit_append(struct parquet_writer *writer, const struct frame *frame, const int64_t *order,
                     int64_t count)
{
    struct err err = {0};
    struct frame *gathered = parquet_writer_rows(writer);
    count = order != NULL ? count : frame->rows_count;
    for (int64_t i = 0; i < count; i++) {
        frame_append_row(gathered, frame, order != NULL ? order[i] : i);
        if (gathered->rows_count == PARQUET_WRITE_ROW_GROUP_ROWS_MAX) {
            cr_assert_eq(parquet_writer_gathered(writer, &err), ERR_OK, "%s", err.msg);
        }
    }
    cr_assert_eq(parquet_writer_gathered(writer, &err), ERR_OK, "%s", err.msg);
}

struct frame *file_kit_read(struct file_kit *kit, const struct schema *schema, int64_t start,
                            int64_t count)
{
    struct err err = {0};
    struct frame *frame = frame_new(schema);
    enum err_code code = parquet_reader_read_range(kit->reader, start, count, NULL, frame, &err);
    cr_assert_eq(code, ERR_OK, "%s", err.msg);
    cr_assert_eq(frame->rows_count, count);
    frame_check(frame);
    return frame;
}

void frame_cleanup(struct frame **frame)
{
    frame_free(frame);
}

void schema_cleanup(struct schema **schema)
{
    schema_release(schema);
}
