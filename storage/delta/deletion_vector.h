/*
 * Deletion vectors: sets of row numbers of one data file, in memory, and their
 * inline and file forms. The only file that knows libroaring.
 *
 * Source: delta PROTOCOL.md "Deletion Vector Format"; reference section 6.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/delta/log.h"

struct object_group;
struct object_store;

enum {
    DELETION_VECTOR_BYTES_MAX = 512 << 20,    /* of one encoded vector */
    DELETION_VECTOR_BUCKETS_MAX = 1 << 16,    /* of 2^32 rows each */
    DELETION_VECTOR_FILE_BYTES_MAX = 1 << 30, /* of one file of vectors; offsets are int32 */
    DELETION_VECTOR_INLINE_BYTES_MAX = 1024,  /* larger ones go to a file */
};

/* A set of row numbers below 2^63. One writer; const functions may be called by many threads. */
struct deletion_vector;

struct deletion_vector *deletion_vector_new(void);
struct deletion_vector *deletion_vector_copy(const struct deletion_vector *vector);
void deletion_vector_free(struct deletion_vector **vector);

void deletion_vector_add(struct deletion_vector *vector, int64_t row);
/* Faster for many; any order, duplicates allowed. */
void deletion_vector_add_rows(struct deletion_vector *vector, const int64_t *rows, int64_t count);
/* Rows first … first + count - 1. */
void deletion_vector_add_range(struct deletion_vector *vector, int64_t first, int64_t count);
void deletion_vector_union(struct deletion_vector *vector, const struct deletion_vector *other);

bool deletion_vector_contains(const struct deletion_vector *vector, int64_t row);
int64_t deletion_vector_cardinality(const struct deletion_vector *vector);
/* Marked rows in first … first + count - 1. */
int64_t deletion_vector_count_range(const struct deletion_vector *vector, int64_t first,
                                    int64_t count);
/* The largest row, or -1 when empty. */
int64_t deletion_vector_max(const struct deletion_vector *vector);
bool deletion_vector_equal(const struct deletion_vector *a, const struct deletion_vector *b);
/* Is every row of `part` in `whole`? */
bool deletion_vector_is_subset(const struct deletion_vector *part,
                               const struct deletion_vector *whole);

/* All rows ascending into an array of deletion_vector_cardinality entries. */
void deletion_vector_rows(const struct deletion_vector *vector, int64_t *rows_out);

/*
 * The rows of first … first + count - 1 that are *not* marked, ascending, into
 * an array with room for `count`; for scans (parquet_reader_read_rows).
 * vector NULL = none is marked.
 */
void deletion_vector_live_rows(const struct deletion_vector *vector, int64_t first, int64_t count,
                               int64_t *rows_out, int64_t *rows_count_out);

/* Memory held, about. */
size_t deletion_vector_memory_bytes(const struct deletion_vector *vector);

/* ---- encoded forms ---- */

/* The data of section 6.3: magic, buckets. Run containers are used where they pay. */
void deletion_vector_encode(const struct deletion_vector *vector, struct buffer *bytes);

/*
 * Decode untrusted data: magic, ascending keys below 2^31, each bitmap well
 * formed (containers ordered, counts true), nothing left over.
 * Errors: ERR_CORRUPT.
 */
enum err_code deletion_vector_decode(struct span bytes, struct deletion_vector **vector_out,
                                     struct err *err) MUST_USE;

/* Z85: 4 bytes ↔ 5 characters. Encoding pads with zero bytes to a multiple of 4. */
void deletion_vector_z85_encode(struct span bytes, struct buffer *text);
bool deletion_vector_z85_decode(struct span text, struct buffer *bytes);

/*
 * Read the vector that a descriptor names and check it against the descriptor:
 * size field, CRC-32, magic, cardinality, and every row < rows_count.
 *
 *   rows_count  physical rows of the data file; -1 = unknown, not checked
 *
 * Errors:  ERR_CORRUPT, ERR_NOT_FOUND the vector's file; ERR_IO;
 *          ERR_UNSUPPORTED a path outside the table folder.
 */
enum err_code deletion_vector_read(struct object_store *store, const struct delta_dv *descriptor,
                                   int64_t rows_count, struct deletion_vector **vector_out,
                                   struct err *err) MUST_USE;

/* Object name of the file a descriptor of kind 'u' or 'p' points to; mem_free. */
enum err_code deletion_vector_object_name(const struct object_store *store,
                                          const struct delta_dv *descriptor, char **name_out,
                                          struct err *err) MUST_USE;

/*
 * The vectors of one commit: small ones inline, the others in one file.
 * Init, add each vector, write once, then use the descriptors.
 */
struct deletion_vector_batch {
    struct buffer file;           /* bytes of the file: version byte, vectors */
    struct buffer texts;          /* storage of path_or_inline */
    struct delta_dv *descriptors; /* path_or_inline is set by _write */
    size_t *text_offsets;         /* into texts */
    size_t count;
    size_t capacity;
    char object_name[64]; /* "deletion_vector_<uuid>.bin"; used when `file` has vectors */
    bool has_file;
};

void deletion_vector_batch_init(struct deletion_vector_batch *batch);
void deletion_vector_batch_deinit(struct deletion_vector_batch *batch);

/* Index of the vector's descriptor in the batch. The vector must not be empty. */
enum err_code deletion_vector_batch_add(struct deletion_vector_batch *batch,
                                        const struct deletion_vector *vector, size_t *index_out,
                                        struct err *err) MUST_USE;

/*
 * Put the file, if any vector went there. Descriptors are valid from here until
 * deinit.
 * Durable: when the group is synced, before the commit.
 */
enum err_code deletion_vector_batch_write(struct deletion_vector_batch *batch,
                                          struct object_group *group, struct err *err) MUST_USE;
