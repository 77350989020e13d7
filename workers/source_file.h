/*
 * A file below a source root as a source: NDJSON, JSON, CSV or Parquet, plain, gzip or
 * zstd. Its identity is its content, so the same bytes are read once for a table and an
 * operation, whatever the file is called and however often it is dropped.
 *
 * Text is cut by storage/columns/split.h, Parquet by rows. The file is read twice: once
 * for its hash, and once for its records, which checks the hash again at the end. A file
 * that changes meanwhile is told as soon as it is seen; pieces that were taken before
 * stay taken.
 */
#pragma once

#include "storage/base/err.h"
#include "workers/source.h"

#include <stdint.h>

struct json;
struct roots;

enum source_file_format {
    SOURCE_FILE_AUTO, /* by content, never by name */
    SOURCE_FILE_NDJSON,
    SOURCE_FILE_JSON,
    SOURCE_FILE_CSV,
    SOURCE_FILE_PARQUET,
};

enum source_file_compression {
    SOURCE_FILE_COMPRESSION_AUTO, /* by content */
    SOURCE_FILE_PLAIN,
    SOURCE_FILE_GZIP,
    SOURCE_FILE_ZSTD,
};

/* Borrowed for source_file_open. */
struct source_file_options {
    const struct roots *roots;
    const char *path; /* of one file */
    enum source_file_format format;
    enum source_file_compression compression;
    /* as the file was when the task began; -1 = not known yet */
    int64_t size;
    int64_t modified_us;
};

/* The members format and compression of a task's source, which was validated; absent = auto. */
void source_file_parse(const struct json *source, struct source_file_options *options);

/*
 * Open the file, hash it, find out what it holds.
 *
 * Errors:  those of roots_open_file; ERR_PRECONDITION it is not what the task began with;
 *          ERR_INVALID Parquet that is compressed as a whole, columns the table does not have;
 *          ERR_CORRUPT, ERR_UNSUPPORTED of Parquet; ERR_CANCELLED.
 */
enum err_code source_file_open(const struct source_file_options *options,
                               const struct source_reader *reader, struct source **source_out,
                               struct err *err) MUST_USE;
