/*
 * Files in memory for the Parquet tests: write a frame, open it again.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/parquet/reader.h"
#include "storage/parquet/writer.h"

/* A written file with a reader on it; deinit closes both. */
struct file_kit {
    struct buffer bytes;
    struct span span; /* what the reader reads */
    struct parquet_written written;
    struct parquet_reader *reader;
};

/* Write the frame and open the file; both must succeed. */
void file_kit_init(struct file_kit *kit, const struct frame *frame,
                   const struct parquet_write_options *options);
void file_kit_deinit(struct file_kit *kit);

/* Open what `kit->bytes` holds. */
void file_kit_open(struct file_kit *kit);

/* Append rows (all when order is NULL), telling the writer when a row group is full. */
void file_kit_append(struct parquet_writer *writer, const struct frame *frame, const int64_t *order,
                     int64_t count);

/* Rows start … start + count - 1 as a new frame of `schema`; must succeed. */
struct frame *file_kit_read(struct file_kit *kit, const struct schema *schema, int64_t start,
                            int64_t count);

/* For CLEANUP. */
void frame_cleanup(struct frame **frame);
void schema_cleanup(struct schema **schema);
