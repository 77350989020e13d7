/*
 * The manifest of a table's index: what the files beside it mean. One small
 * checksummed file, replaced from time to time, never synced: when it is torn,
 * missing or of another definition, the index is rebuilt from the table; when it
 * is of an older version, the commits since are read from the table.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/file.h"
#include "storage/base/id.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MANIFEST_BYTES_MAX = 64 << 20,
    MANIFEST_FILES_MAX = 1 << 20,
    MANIFEST_RUNS_MAX = 1024,
};
#define MANIFEST_NAME "manifest"

/* A data file that the index covers. */
struct manifest_file {
    uint32_t number;
    struct span path; /* as the log spells it */
    struct span dv;   /* identity of its deletion vector at `version`, empty = none */
};

struct manifest_run {
    uint32_t kind;
    uint64_t id;
};

/* Arrays and spans are borrowed when encoding, owned by `memory` after decoding. */
struct manifest {
    struct id table;
    uint64_t definition; /* index_definition */
    int64_t version;     /* of the table, that the index covers */
    uint32_t next_file;  /* next file number */
    uint64_t next_run;
    char mount[FILE_MOUNT_BYTES]; /* file_mount_identity when it was written */
    struct manifest_file *files;
    size_t files_count;
    struct manifest_run *runs;
    size_t runs_count;
    struct buffer memory;
};
void manifest_deinit(struct manifest *manifest);

void manifest_encode(const struct manifest *manifest, struct buffer *bytes);
enum err_code manifest_decode(struct span bytes, struct manifest *manifest_out,
                              struct err *err) MUST_USE;

/* Replace the file in `folder`, unsynced. */
enum err_code manifest_write(const char *folder, const struct manifest *manifest,
                             struct err *err) MUST_USE;
/* Errors: ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO. */
enum err_code manifest_read(const char *folder, struct manifest *manifest_out,
                            struct err *err) MUST_USE;
