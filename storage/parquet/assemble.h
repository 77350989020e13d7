/*
 * Nested columns into frames: records assembled from definition and repetition
 * levels, straight into the columns of struct, array and map fields.
 * Source: the Dremel record assembly; parquet-format README "Nested Encoding".
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/parquet/reader.h"
#include "storage/parquet/selection.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct assembly; /* one column of the file being read as one field; belongs to the reader */

/*
 * Match a column's tree with a field: fields of structs by name, exactly, else ignoring
 * ASCII case when that is unique; those that the file lacks will be null.
 *
 *   element  index of the column in the reader's tree
 *   field    borrowed until the end, as the reader is
 *
 * Errors:  ERR_UNSUPPORTED naming the leaf or group whose type is not the field's.
 */
enum err_code assembly_begin(struct parquet_reader *reader, size_t element,
                             const struct field *field, bool exact, struct assembly **assembly_out,
                             struct err *err) MUST_USE;
void assembly_end(struct assembly **assembly);

/*
 * Append the rows `next` … `end` - 1 of the selection, all of one row group, to `target`.
 * Goes on where it was when the rows are ahead in the same row group.
 *
 *   bytes_left  contents of strings and elements of arrays that it may grow by; goes down
 *
 * Errors:  ERR_CORRUPT, ERR_UNSUPPORTED with column and page; ERR_TOO_LARGE. `target` may
 *          then have more rows, and the assembly must be ended.
 */
enum err_code assembly_read(struct assembly *assembly, size_t row_group,
                            const struct selection *selection, int64_t next, int64_t end,
                            int64_t *bytes_left, struct column *target, struct err *err) MUST_USE;
