/*
 * Column index and offset index of the chunk being written: its pages are noted
 * in the context, then encoded for the end of the file.
 */
#pragma once

#include "storage/parquet/file_writer.h"
#include "storage/parquet/leaf.h"
#include "storage/parquet/range.h"

#include <stdbool.h>

/* A zeroed record for the chunk's next page; valid until the next one is added. */
struct page_record *page_index_add(struct parquet_writer_context *context);

/* Note the page's bounds; none when it has no value, or NaN among them. */
void page_index_keep_bounds(struct parquet_writer_context *context, const struct leaf_type *leaf,
                            const struct range *range, struct page_record *page);

/* Encode the indexes of all noted pages; the column index only `with_bounds` of every page. */
void page_index_write(struct file_writer *file, const struct leaf_type *leaf, bool with_bounds,
                      struct chunk_result *result);
