/*
 * A file's bytes as a source reads them: one descriptor, and the proof that they are
 * the same from the first hash to the last piece. Private to source_file*.c.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/hash.h"
#include "storage/base/span.h"
#include "storage/columns/inflate.h"
#include "workers/source.h"
#include "workers/source_file.h"

#include <stdint.h>
#include <time.h>

enum { CONTENT_STEP_BYTES = 1 << 20 /* read at a time */ };

/* Embedded by its source; content_close accepts a zeroed one whose fd is -1. */
struct file_content {
    const struct source_reader *reader;
    int fd;
    int64_t size;
    struct timespec modified;
    uint8_t sha256[HASH_SHA256_BYTES];
};

/* Open and hash. Errors: as source_file_open. */
enum err_code content_open(const struct source_file_options *options,
                           const struct source_reader *reader, struct file_content *content,
                           struct err *err) MUST_USE;
void content_close(struct file_content *content);

/* Is it still what it was? Cheap: asked before each piece. Errors: ERR_PRECONDITION. */
enum err_code content_check(const struct file_content *content, struct err *err) MUST_USE;

/*
 * Reading failed with `code`. A file that changed is the reason, whatever it looked like.
 * Returns the code to report.
 */
enum err_code content_explain(const struct file_content *content, enum err_code code,
                              struct err *err);

/*
 * Bytes at `offset`, as many as there are up to `size`.
 * Errors:  ERR_IO; ERR_PRECONDITION the file ends before its size.
 */
enum err_code content_read(const struct file_content *content, int64_t offset, uint8_t *out,
                           size_t size, struct err *err) MUST_USE;

/* Do these bytes, all that were read, have the hash? Errors: ERR_PRECONDITION. */
enum err_code content_check_hash(const struct file_content *content, const struct hash_stream *hash,
                                 struct err *err) MUST_USE;

/* Hash it once more, for readers that read here and there. */
enum err_code content_check_again(const struct file_content *content, struct err *err) MUST_USE;

/* ---- the two kinds of content ---- */

/* Takes `content` (moved). Text of the format; `encoding` of the whole file. */
struct source *source_text_new(struct file_content *content, enum content_encoding encoding,
                               enum decode_format format);

/* Takes `content` (moved), also on failure. Errors: as source_file_open. */
enum err_code source_parquet_new(struct file_content *content, struct source **source_out,
                                 struct err *err) MUST_USE;
