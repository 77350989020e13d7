/*
 * The bytes and names of segment files: private to the journal room. segments.h
 * describes them.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/location.h"
#include "storage/base/span.h"
#include "storage/journal/segments.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- segment_format.c: pure ---- */

/* What a record's header checksum covers besides its own fields. */
struct segment_place {
    int64_t number;
    uint64_t nonce;
    int64_t offset;
};

/* Bytes that a record takes in the file: header, payload, padding. */
int64_t segment_record_extent(size_t payload_size);

void segment_encode_header(const char *magic, int64_t number, uint64_t nonce, struct buffer *bytes);
/* Errors: ERR_CORRUPT not the header of this log's segment `number`; ERR_UNSUPPORTED newer. */
enum err_code segment_decode_header(struct span bytes, const char *magic, int64_t number,
                                    uint64_t *nonce_out, struct err *err) MUST_USE;

void segment_encode_record(struct span payload, const struct segment_place *place,
                           struct buffer *bytes);
/* Size and payload checksum of the record whose header `bytes` begins with; false: none here. */
bool segment_decode_record(struct span bytes, const struct segment_place *place, uint32_t *size_out,
                           uint64_t *checksum_out);

/* Offset behind the last byte that is not zero, at least `from`. */
int64_t segment_zeros_start(struct span file, int64_t from);

/* ---- segment_walk.c: reading ---- */

/* mem_free */
char *segment_path(const char *folder, int64_t number);

/* Numbers of the segments of a folder, rising. Memory: mem_free(*numbers_out). */
enum err_code segment_list(const char *folder, int64_t **numbers_out, size_t *count_out,
                           struct err *err) MUST_USE;

enum err_code segment_read_nonce(int fd, const char *magic, int64_t number, uint64_t *nonce_out,
                                 struct err *err) MUST_USE;
