/*
 * Images: the rows of one data file as self-describing bytes beside it, found by
 * row number; what lookups answer from and merges compare keys with. Derived.
 *
 * Body: records (varint key size · key bytes of frame_key · varint sequence, 0 where a
 * column tells it · row image of columns/row.h) · padding to 8 · offsets: rows + 1 times u64. A row
 * that was dead when the images were made has an empty record. Numbers of the trailer: file number,
 * rows, encryption key id (0 = none), 0.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/snapshot/derived.h"

#include <stdbool.h>
#include <stdint.h>

#define IMAGES_MAGIC UINT64_C(0x32534547414d4953) /* "SIMAGES2" */

/* Shared by reference count; fields are read-only. */
struct images {
    uint32_t number; /* of the data file in the index */
    int64_t rows_count;
    const uint64_t *offsets;
    struct derived derived; /* private */
    int references;         /* atomic; private */
};

struct images *images_acquire(const struct images *images);
void images_release(struct images **images);

/* "images-<number>.img" */
void images_name(uint32_t number, char name_out[DERIVED_NAME_BYTES]);

/*
 * Key and image of one row; borrowed from the images. False: the row was dead
 * when the images were made, or its record is malformed. The image's own
 * checksum is row_reader_init's business.
 */
bool images_row(const struct images *images, int64_t row, struct span *key_out,
                struct span *image_out);

/* The sequence of a row as it was written, -1 for a dead or malformed one. */
int64_t images_sequence(const struct images *images, int64_t row);

/* Hint that a row is about to be read. */
void images_prefetch(const struct images *images, int64_t row);

/* The whole record of a row, for copying; empty for a dead row. */
struct span images_record(const struct images *images, int64_t row);

/* Writes the images of one file, row by row from 0. Deinit, finished or not. */
struct images_writer {
    struct derived_writer file;
    uint32_t number;
    struct buffer offsets; /* u64 a row */
};
/* `folder`: of the index; NULL = in memory only. */
void images_writer_init(struct images_writer *writer, const char *folder, uint32_t number);
void images_writer_deinit(struct images_writer *writer);
/* `sequence` is left out where the definition has a column for it. */
enum err_code images_append(struct images_writer *writer, struct span key, int64_t sequence,
                            const struct frame *frame, int64_t row, struct err *err) MUST_USE;
enum err_code images_append_record(struct images_writer *writer, struct span record,
                                   struct err *err) MUST_USE;
enum err_code images_finish(struct images_writer *writer, struct images **images_out,
                            struct err *err) MUST_USE;

/* Write the images' file, when they are in memory only. Errors and threads: as derived_store. */
enum err_code images_store(struct images *images, const char *folder, struct err *err) MUST_USE;

/*
 * Open stored images.
 *   whole  check every byte (after a power cut, under another mount); else the trailer and offsets
 * only Errors:  ERR_NOT_FOUND; ERR_CORRUPT.
 */
enum err_code images_open(const char *folder, uint32_t number, int64_t rows_count, bool whole,
                          struct images **images_out, struct err *err) MUST_USE;

/* The same for bytes in memory that outlive the images. */
enum err_code images_decode(struct span file, uint32_t number, struct images **images_out,
                            struct err *err) MUST_USE;
