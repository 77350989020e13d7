/*
 * Page indexes of the chunk being written. See page_index.h.
 * Source: parquet-format PageIndex.md.
 */
#include "storage/parquet/page_index.h"

#include "storage/base/mem.h"
#include "storage/parquet/thrift.h"

enum { PAGES_FIRST = 16 };

struct page_record *page_index_add(struct parquet_writer_context *context)
{
    if (context->pages_count == context->pages_capacity) {
        context->pages_capacity =
            context->pages_capacity > 0 ? context->pages_capacity * 2 : PAGES_FIRST;
        context->pages =
            mem_resize(context->pages, context->pages_capacity, sizeof *context->pages);
    }
    struct page_record *page = &context->pages[context->pages_count++];
    *page = (struct page_record){0};
    return page;
}

void page_index_keep_bounds(struct parquet_writer_context *context, const struct leaf_type *leaf,
                            const struct range *range, struct page_record *page)
{
    if (!range->has_range || range->has_nan) {
        return;
    }
    struct buffer *bounds = &context->bounds;
    bool exact;
    page->min_at = bounds->size;
    bool has_min = range_encode_min(range, leaf, bounds, &exact);
    page->min_size = bounds->size - page->min_at;
    page->max_at = bounds->size;
    page->has_bounds = range_encode_max(range, leaf, bounds, &exact) && has_min;
    page->max_size = bounds->size - page->max_at;
}

static struct span page_min(const struct parquet_writer_context *context, size_t page)
{
    return span_of(context->bounds.data + context->pages[page].min_at,
                   context->pages[page].min_size);
}

static struct span page_max(const struct parquet_writer_context *context, size_t page)
{
    return span_of(context->bounds.data + context->pages[page].max_at,
                   context->pages[page].max_size);
}

enum { ORDER_NONE = 0, ORDER_ASCENDING = 1, ORDER_DESCENDING = 2 };

/* spec: PageIndex.md boundary_order — both bounds in order over pages that are not all null */
static int boundary_order(const struct parquet_writer_context *context,
                          const struct leaf_type *leaf)
{
    bool ascending = true;
    bool descending = true;
    size_t before = SIZE_MAX;
    for (size_t i = 0; i < context->pages_count; i++) {
        if (context->pages[i].all_null) {
            continue;
        }
        if (before != SIZE_MAX) {
            int min = range_compare_encoded(page_min(context, before), page_min(context, i), leaf);
            int max = range_compare_encoded(page_max(context, before), page_max(context, i), leaf);
            ascending &= min <= 0 && max <= 0;
            descending &= min >= 0 && max >= 0;
        }
        before = i;
    }
    return ascending ? ORDER_ASCENDING : descending ? ORDER_DESCENDING : ORDER_NONE;
}

static void write_column_index(const struct parquet_writer_context *context,
                               const struct leaf_type *leaf, struct buffer *out)
{
    size_t count = context->pages_count;
    int last = 0;
    thrift_write_list(out, &last, 1, THRIFT_TRUE, count);
    for (size_t i = 0; i < count; i++) {
        thrift_put_bool(out, context->pages[i].all_null);
    }
    thrift_write_list(out, &last, 2, THRIFT_BINARY, count);
    for (size_t i = 0; i < count; i++) {
        thrift_put_binary(out, page_min(context, i));
    }
    thrift_write_list(out, &last, 3, THRIFT_BINARY, count);
    for (size_t i = 0; i < count; i++) {
        thrift_put_binary(out, page_max(context, i));
    }
    thrift_write_i32(out, &last, 4, boundary_order(context, leaf));
    thrift_write_list(out, &last, 5, THRIFT_I64, count);
    for (size_t i = 0; i < count; i++) {
        thrift_put_integer(out, context->pages[i].nulls_count);
    }
    thrift_write_stop(out);
}

static void write_offset_index(const struct parquet_writer_context *context, struct buffer *out)
{
    int last = 0;
    thrift_write_list(out, &last, 1, THRIFT_STRUCT, context->pages_count);
    for (size_t i = 0; i < context->pages_count; i++) {
        int inner = 0;
        thrift_write_i64(out, &inner, 1, context->pages[i].offset);
        thrift_write_i32(out, &inner, 2, context->pages[i].packed_bytes);
        thrift_write_i64(out, &inner, 3, context->pages[i].first_row);
        thrift_write_stop(out);
    }
    thrift_write_stop(out);
}

static bool every_page_has_bounds(const struct parquet_writer_context *context)
{
    for (size_t i = 0; i < context->pages_count; i++) {
        if (!context->pages[i].has_bounds && !context->pages[i].all_null) {
            return false;
        }
    }
    return true;
}

void page_index_write(struct file_writer *file, const struct leaf_type *leaf, bool with_bounds,
                      struct chunk_result *result)
{
    const struct parquet_writer_context *context = file->context;
    /* spec: PageIndex.md — a column index has bounds for every page or is left out */
    if (with_bounds && every_page_has_bounds(context)) {
        result->column_index_at = file->column_indexes.size;
        write_column_index(context, leaf, &file->column_indexes);
        result->column_index_size = file->column_indexes.size - result->column_index_at;
    }
    result->offset_index_at = file->offset_indexes.size;
    write_offset_index(context, &file->offset_indexes);
    result->offset_index_size = file->offset_indexes.size - result->offset_index_at;
}
