/*
 * Derived files: what can be made again from the table, so it is never synced
 * but always checked. One body and a trailer of 64 bytes: magic, four numbers of
 * the kind's own, body size, checksums.
 *
 * The body's checksum is XXH3-64 over the XXH3-64 of its blocks of
 * DERIVED_BLOCK_BYTES, so that a body of any size is written in pieces.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DERIVED_BLOCK_BYTES = 1 << 20,
    DERIVED_TRAILER_BYTES = 64,
    DERIVED_NUMBERS = 4,
    DERIVED_STREAM_BYTES = 4 << 20, /* larger bodies go to the file piece by piece, smaller ones
                                       stay in memory until they are stored */
    DERIVED_NAME_BYTES = 64,
};
#define DERIVED_BODY_BYTES_MAX ((size_t)1 << 40)

/* What a file of the index is called, within its folder. */
struct derived_name {
    char text[DERIVED_NAME_BYTES];
};

/* The bytes of one file: mapped, or in memory when it is small. */
struct derived {
    struct span body;
    uint64_t numbers[DERIVED_NUMBERS];
    bool stored;         /* the file is there and whole; derived_store's to change */
    struct span mapping; /* private */
    uint8_t *memory;     /* private */
};

/* Frees memory or mapping; accepts a zeroed struct. The file stays. */
void derived_deinit(struct derived *derived);

/* Writes one body. Deinit with derived_writer_deinit, finished or not. */
struct derived_writer {
    const char *folder; /* of the local file system, borrowed; NULL = memory only */
    char name[DERIVED_NAME_BYTES];
    struct buffer chunk; /* not yet in the file */
    struct buffer sums;  /* checksums of finished blocks */
    size_t summed;       /* bytes of `chunk` that are in `sums` */
    size_t body_bytes;
    int fd;         /* -1 while everything is in `chunk` */
    size_t spilled; /* bytes in the file */
    bool failed;    /* a piece could not be written */
};
void derived_writer_init(struct derived_writer *writer, const char *folder, const char *name);
void derived_writer_deinit(struct derived_writer *writer);

/*
 * Append to the body. A body over DERIVED_STREAM_BYTES starts to go to the file.
 * Errors:  ERR_NO_SPACE, ERR_IO: only once a large body went to the file.
 */
enum err_code derived_append(struct derived_writer *writer, const void *bytes, size_t size,
                             struct err *err) MUST_USE;
/*
 * Append without a copy: write to derived_chunk(writer), then say so.
 * Errors:  as derived_append; the chunk's ceiling.
 */
struct buffer *derived_chunk(struct derived_writer *writer);
enum err_code derived_appended(struct derived_writer *writer, struct err *err) MUST_USE;
/* Zero bytes up to a multiple of `alignment`. */
enum err_code derived_align(struct derived_writer *writer, size_t alignment,
                            struct err *err) MUST_USE;

/* End the file. A small body is in memory then, to be stored when there is time. */
enum err_code derived_finish(struct derived_writer *writer, uint64_t magic,
                             const uint64_t numbers[DERIVED_NUMBERS], struct derived *derived_out,
                             struct err *err) MUST_USE;

/*
 * Write the file of a body that is in memory only; the body stays where it is.
 * Errors:  ERR_NO_SPACE, ERR_IO.
 * Thread:  one at a time; others may read the body.
 */
enum err_code derived_store(struct derived *derived, const char *folder, const char *name,
                            struct err *err) MUST_USE;

/*
 * Map a file and check it.
 *   whole  check the body's checksum too, else only size and trailer
 * Errors:  ERR_NOT_FOUND; ERR_CORRUPT.
 */
enum err_code derived_open(const char *folder, const char *name, uint64_t magic, bool whole,
                           struct derived *derived_out, struct err *err) MUST_USE;

/* Check bytes in memory the same way (fuzzing, tests); `file` must outlive the result. */
enum err_code derived_decode(struct span file, uint64_t magic, bool whole,
                             struct derived *derived_out, struct err *err) MUST_USE;
