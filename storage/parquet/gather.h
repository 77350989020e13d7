/*
 * The values of one chunk, packed densely for the loops of the writer.
 */
#pragma once

#include "storage/parquet/chunk_writer.h"
#include "storage/parquet/file_writer.h"
#include "storage/parquet/leaf.h"

#include <stdint.h>

/*
 * The non-null values of the chunk in file order.
 *
 *   valid_out  a byte a row: has it a value? NULL when all have (and of nested chunks)
 *
 * Memory:  borrowed from the column or the context until the context's next chunk.
 */
struct leaf_values gather_values(struct parquet_writer_context *context,
                                 const struct leaf_type *leaf, const struct chunk_input *input,
                                 const uint8_t **valid_out);
