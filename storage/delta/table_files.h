/*
 * Names: data files, partition folders, and the paths by which the log refers
 * to them; partition values as text.
 *
 * Source: delta PROTOCOL.md "Data Files", "Partition Value Serialization";
 * reference sections 2.6, 5.2.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"
#include "storage/delta/log.h"

struct object_store;

enum { DELTA_FILE_NAME_BYTES = 96 };

/* "part-00000-<uuid>-c000.zstd.parquet", unique. */
void delta_data_file_name(char name_out[DELTA_FILE_NAME_BYTES]);

/*
 * Append the Hive folder of a partition: "state=MA/year=2026/". Everything
 * outside A–Z a–z 0–9 - . _ ~ is percent-encoded, so names are plain on every
 * file system; null and the empty text are __HIVE_DEFAULT_PARTITION__. Where that
 * would be longer than file systems take, the folder is "partition=" and a digest
 * instead: only the log says which values a file has.
 */
void delta_partition_folder(const struct delta_pair *values, size_t count, struct buffer *folder);

/* An object name as add.path spells it: URI-encoded once more. */
void delta_path_encode(const char *object_name, struct buffer *path);

/*
 * The one spelling of an absolute path: "/a" of "file:/a" and "file:///a"; any other path is as
 * it is. Writers spell the path of an add and that of its remove differently.
 *
 * Returns: a part of `path`.
 */
const char *delta_path_canonical(const char *path);

/*
 * The object name that a log path means: decoded once; an absolute path or
 * file: URI is taken when it lies in the store's folder.
 *
 * Memory:  name_out: mem_free.
 * Errors:  ERR_UNSUPPORTED outside the table folder or another scheme;
 *          ERR_CORRUPT a broken escape or a name no store may have.
 */
enum err_code delta_path_decode(const struct object_store *store, const char *path, char **name_out,
                                struct err *err) MUST_USE;

/*
 * A partition value as the log writes it. *null_out for null and for the empty
 * text, which the protocol cannot tell apart.
 */
void delta_partition_value_format(const struct column *column, const struct field *field,
                                  int64_t row, struct buffer *text, bool *null_out);

/*
 * Append a partition value (NULL or "" = null) `count` times to a column of the
 * field's type. Timestamps without zone are taken as UTC.
 * Errors: ERR_CORRUPT the text does not fit the type; names the column.
 */
enum err_code delta_partition_value_append(const char *value, const struct field *field,
                                           int64_t count, struct column *column,
                                           struct err *err) MUST_USE;
