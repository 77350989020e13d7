/*
 * Column chunks. See chunk_writer.h for the contract.
 *
 * Order of work: pack the chunk's non-null values densely; try a dictionary;
 * then page by page: levels, values, bounds, compression. Inner loops run over
 * dense arrays of one type without calls.
 * Source: parquet-format README "Data Pages"; Encodings.md; PageIndex.md.
 */
#include "storage/parquet/chunk_writer.h"

#include "storage/base/mem.h"
#include "storage/parquet/hybrid.h"
#include "storage/parquet/metadata.h"
#include "storage/parquet/range.h"
#include "storage/parquet/thrift.h"

#include <assert.h>
#include <string.h>

enum {
    DENSE_BYTES = 16,        /* of the widest value */
    LEVELS_LENGTH_BYTES = 4, /* V1: before each run of levels */
    COPY_BYTES = 16,         /* short strings are copied in one piece of this size */
    PAGES_FIRST = 16,
    PAYS_SHARE = 16,         /* compression must save 1/16 */
    PAYS_FROM_BYTES = 8192, /* of a chunk; less is stored as it is */
};

/* A chunk at work. */
struct chunk {
    struct file_writer *file;
    struct parquet_writer_context *context;
    const struct leaf_type *leaf;
    const struct chunk_input *input;
    struct chunk_result *result;
    struct leaf_values values;
    struct leaf_values entries; /* of the dictionary */
    const uint8_t *valid;       /* a byte a row; NULL = no nulls (or nested) */
    bool has_dictionary;
    unsigned code_width;
};

/* Where one page lies in its chunk. */
struct page_cut {
    int64_t entry; /* first row, or level entry */
    int64_t entries_count;
    int64_t row;
    int64_t rows_count;
    size_t value;
    size_t values_count;
};

/* ---- dense values ---- */

static void reserve_rows(struct parquet_writer_context *context, size_t rows)
{
    if (rows <= context->rows_capacity) {
        return;
    }
    mem_free(context->selected);
    mem_free(context->valid);
    mem_free(context->dense);
    mem_free(context->pieces);
    context->selected = mem_alloc(rows * sizeof *context->selected);
    context->valid = mem_alloc(rows);
    context->dense = mem_alloc(rows * DENSE_BYTES);
    context->pieces = mem_alloc(rows * sizeof *context->pieces);
    context->rows_capacity = rows;
}

/* Rows that have a value, and a byte a row that says which; returns how many. */
static size_t select_valid(const struct chunk_input *input, uint32_t *selected, uint8_t *valid)
{
    const uint8_t *bits = input->column->validity;
    size_t count = 0;
    for (int64_t i = 0; i < input->count; i++) {
        int64_t row = input->order != NULL ? input->order[i] : input->start + i;
        uint8_t bit = bits[row >> 3] >> (row & 7) & 1;
        valid[i] = bit;
        selected[count] = (uint32_t)row;
        count += bit;
    }
    return count;
}

static size_t select_ordered(const struct chunk_input *input, uint32_t *selected)
{
    for (int64_t i = 0; i < input->count; i++) {
        selected[i] = (uint32_t)input->order[i];
    }
    return (size_t)input->count;
}

/*
 * The slots of `count` values as the file stores them. `selected` NULL: rows from
 * `start` on, borrowed where memory and file agree.
 */
static const void *gather_slots(const struct chunk *chunk, const uint32_t *selected, size_t count)
{
    const struct column *column = chunk->input->column;
    int64_t start = chunk->input->start;
    void *dense = chunk->context->dense;
    if (count == 0) {
        return dense;
    }
    if (selected == NULL && column->type != COLUMN_DECIMAL && column->type != COLUMN_FLOAT) {
        size_t width = leaf_slot_bytes(chunk->leaf->kind);
        return (const uint8_t *)column->values.slots + (size_t)start * width;
    }
    size_t first = (size_t)start;
    switch (chunk->leaf->kind) {
    case LEAF_BOOLEAN: {
        uint8_t *out = dense;
        assert(selected != NULL);
        for (size_t i = 0; i < count; i++) {
            out[i] = column->values.u8[selected[i]];
        }
        break;
    }
    case LEAF_I32: {
        int32_t *out = dense;
        if (column->type == COLUMN_DECIMAL) {
            for (size_t i = 0; i < count; i++) {
                out[i] = (int32_t)column->values.i128[selected != NULL ? selected[i] : first + i];
            }
        } else {
            assert(selected != NULL);
            for (size_t i = 0; i < count; i++) {
                out[i] = column->values.i32[selected[i]];
            }
        }
        break;
    }
    case LEAF_F32: {
        float *out = dense;
        for (size_t i = 0; i < count; i++) {
            out[i] = (float)column->values.f64[selected != NULL ? selected[i] : first + i];
        }
        break;
    }
    case LEAF_I64:
    case LEAF_F64: {
        int64_t *out = dense;
        if (column->type == COLUMN_DECIMAL) {
            for (size_t i = 0; i < count; i++) {
                out[i] = (int64_t)column->values.i128[selected != NULL ? selected[i] : first + i];
            }
        } else { /* doubles travel as their bits */
            assert(selected != NULL);
            for (size_t i = 0; i < count; i++) {
                out[i] = column->values.i64[selected[i]];
            }
        }
        break;
    }
    case LEAF_FIXED: {
        __int128 *out = dense;
        for (size_t i = 0; i < count; i++) {
            out[i] = column->values.i128[selected != NULL ? selected[i] : first + i];
        }
        break;
    }
    case LEAF_BYTES:
        assert(false && "strings are gathered as pieces");
        break;
    }
    return dense;
}

static void gather_pieces(const struct chunk *chunk, const uint32_t *selected, size_t count)
{
    const uint32_t *ends = chunk->input->column->values.ends;
    struct leaf_piece *pieces = chunk->context->pieces;
    if (selected == NULL) {
        int64_t first = chunk->input->start;
        uint32_t start = first > 0 && count > 0 ? ends[first - 1] : 0;
        for (size_t i = 0; i < count; i++) {
            uint32_t end = ends[(size_t)first + i];
            pieces[i] = (struct leaf_piece){.start = start, .size = end - start};
            start = end;
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t row = selected[i];
        uint32_t start = row > 0 ? ends[row - 1] : 0;
        pieces[i] = (struct leaf_piece){.start = start, .size = ends[row] - start};
    }
}

static void gather(struct chunk *chunk)
{
    const struct chunk_input *input = chunk->input;
    const struct column *column = input->column;
    struct parquet_writer_context *context = chunk->context;
    bool nested = input->definitions != NULL;
    size_t count = nested ? (size_t)column->rows_count : (size_t)input->count;
    reserve_rows(context, count);
    const uint32_t *selected = NULL;
    if (!nested && column->nulls_count > 0) {
        count = select_valid(input, context->selected, context->valid);
        selected = context->selected;
        chunk->valid = context->valid;
    } else if (!nested && input->order != NULL) {
        count = select_ordered(input, context->selected);
        selected = context->selected;
    }
    chunk->values = (struct leaf_values){.type = *chunk->leaf, .count = count};
    if (chunk->leaf->kind == LEAF_BYTES) {
        gather_pieces(chunk, selected, count);
        chunk->values.pieces = context->pieces;
        /* a column of empty strings may have no bytes at all */
        chunk->values.bytes = column->bytes != NULL ? column->bytes : (const uint8_t *)"";
        chunk->values.bytes_readable = column->bytes_capacity;
    } else {
        chunk->values.slots = gather_slots(chunk, selected, count);
    }
}

/* ---- PLAIN ---- */

static void plain_fixed(const __int128 *values, size_t count, size_t size, uint8_t *out)
{
    for (size_t i = 0; i < count; i++) {
        leaf_store_fixed(out + i * size, values[i], size);
    }
}

static void plain_booleans(const uint8_t *values, size_t count, uint8_t *out)
{
    memset(out, 0, (count + 7) / 8);
    for (size_t i = 0; i < count; i++) {
        out[i >> 3] = (uint8_t)(out[i >> 3] | values[i] << (i & 7));
    }
}

/* Lengths and bytes. `out` has COPY_BYTES to spare, so that short values are one fixed copy. */
static size_t plain_pieces(const struct leaf_values *values, size_t first, size_t count,
                           uint8_t *out)
{
    uint8_t *begin = out;
    const uint8_t *bytes = values->bytes;
    size_t whole = values->bytes_readable >= COPY_BYTES ? values->bytes_readable - COPY_BYTES : 0;
    bool can_overread = values->bytes_readable >= COPY_BYTES;
    for (size_t i = first; i < first + count; i++) {
        struct leaf_piece piece = values->pieces[i];
        memcpy(out, &piece.size, sizeof piece.size);
        out += sizeof piece.size;
        if (piece.size <= COPY_BYTES && can_overread && piece.start <= whole) {
            memcpy(out, bytes + piece.start, COPY_BYTES);
        } else if (piece.size > 0) {
            memcpy(out, bytes + piece.start, piece.size);
        }
        out += piece.size;
    }
    return (size_t)(out - begin);
}

static void append_plain(struct buffer *out, const struct leaf_values *values, size_t first,
                         size_t count)
{
    struct leaf_values part = *values;
    part.count = count;
    if (values->type.kind == LEAF_BYTES) {
        part.pieces = values->pieces + first;
    }
    size_t size = leaf_plain_bytes(&part);
    uint8_t *target = buffer_reserve(out, size + COPY_BYTES);
    if (target == NULL) {
        return; /* sticky in the buffer */
    }
    const uint8_t *slots = values->slots;
    switch (values->type.kind) {
    case LEAF_BOOLEAN:
        plain_booleans(slots + first, count, target);
        break;
    case LEAF_FIXED:
        plain_fixed((const __int128 *)values->slots + first, count,
                    (size_t)values->type.fixed_bytes, target);
        break;
    case LEAF_BYTES:
        size = plain_pieces(values, first, count, target);
        break;
    case LEAF_I32:
    case LEAF_I64:
    case LEAF_F32:
    case LEAF_F64:
        if (size > 0) {
            assert(slots != NULL);
            memcpy(target, slots + first * leaf_slot_bytes(values->type.kind), size);
        }
        break;
    }
    buffer_advance(out, size);
}

/* ---- levels ---- */

/* Append a byte a row as bits. */
static void append_bits(struct buffer *out, const uint8_t *valid, size_t count)
{
    uint8_t bits[PARQUET_WRITE_PAGE_ROWS_MAX / 8 + 8];
    assert(count <= PARQUET_WRITE_PAGE_ROWS_MAX);
    memset(bits, 0, (count + 7) / 8);
    for (size_t i = 0; i < count; i++) {
        bits[i >> 3] = (uint8_t)(bits[i >> 3] | valid[i] << (i & 7));
    }
    hybrid_write_bits(out, bits, count);
}

/* V1 levels are preceded by their length, known only afterwards. */
static size_t levels_begin(struct buffer *out)
{
    size_t at = out->size;
    buffer_append_u32(out, 0);
    return at;
}

static void levels_end(struct buffer *out, size_t at)
{
    if (out->overflowed) {
        return;
    }
    uint32_t size = (uint32_t)(out->size - at - LEVELS_LENGTH_BYTES);
    memcpy(out->data + at, &size, sizeof size);
}

static void append_levels(const struct chunk *chunk, const struct page_cut *cut, struct buffer *out)
{
    const struct chunk_input *input = chunk->input;
    size_t count = (size_t)cut->entries_count;
    if (input->repetition_max > 0) {
        size_t at = levels_begin(out);
        hybrid_write_u8(out, input->repetitions + cut->entry, count,
                        hybrid_width(input->repetition_max));
        levels_end(out, at);
    }
    if (input->definitions != NULL) {
        if (input->definition_max > 0) {
            size_t at = levels_begin(out);
            hybrid_write_u8(out, input->definitions + cut->entry, count,
                            hybrid_width(input->definition_max));
            levels_end(out, at);
        }
        return;
    }
    size_t at = levels_begin(out);
    if (cut->values_count == count) {
        hybrid_write_run(out, 1, count, 1);
    } else {
        append_bits(out, chunk->valid + cut->entry, count);
    }
    levels_end(out, at);
}

/* ---- cutting pages ---- */

/* Rows of a flat page whose values are written PLAIN as strings: bounded by bytes, too. */
static void cut_by_bytes(const struct chunk *chunk, struct page_cut *cut)
{
    const struct leaf_piece *pieces = chunk->values.pieces;
    int64_t limit = chunk->input->count - cut->entry;
    if (limit > PARQUET_WRITE_PAGE_ROWS_MAX) {
        limit = PARQUET_WRITE_PAGE_ROWS_MAX;
    }
    size_t bytes = 0;
    size_t value = cut->value;
    int64_t entries = 0;
    for (; entries < limit; entries++) {
        if (chunk->valid == NULL || chunk->valid[cut->entry + entries] != 0) {
            assert(pieces != NULL);
            size_t size = sizeof(uint32_t) + pieces[value].size;
            if (entries > 0 && bytes + size > PARQUET_WRITE_PAGE_BYTES_MAX) {
                break;
            }
            bytes += size;
            value++;
        }
    }
    cut->entries_count = entries;
    cut->rows_count = entries;
    cut->values_count = value - cut->value;
}

static void cut_by_rows(const struct chunk *chunk, struct page_cut *cut)
{
    int64_t left = chunk->input->count - cut->entry;
    int64_t entries = left < PARQUET_WRITE_PAGE_ROWS_MAX ? left : PARQUET_WRITE_PAGE_ROWS_MAX;
    size_t values = (size_t)entries;
    if (chunk->valid != NULL) {
        const uint8_t *valid = chunk->valid + cut->entry;
        values = 0;
        for (int64_t i = 0; i < entries; i++) {
            values += valid[i];
        }
    }
    cut->entries_count = entries;
    cut->rows_count = entries;
    cut->values_count = values;
}

/* A nested page ends before a row (repetition 0) so that no row is torn. */
static void cut_nested(const struct chunk *chunk, struct page_cut *cut)
{
    const struct chunk_input *input = chunk->input;
    bool by_bytes = chunk->leaf->kind == LEAF_BYTES && !chunk->has_dictionary;
    size_t bytes = 0;
    int64_t rows = 0;
    size_t value = cut->value;
    int64_t entry = cut->entry;
    for (; entry < input->count; entry++) {
        if (input->repetitions == NULL || input->repetitions[entry] == 0) {
            if (rows > 0 && (rows == PARQUET_WRITE_PAGE_ROWS_MAX ||
                             entry - cut->entry >= PARQUET_WRITE_PAGE_ROWS_MAX ||
                             bytes >= PARQUET_WRITE_PAGE_BYTES_MAX)) {
                break;
            }
            rows++;
        }
        if (input->definitions[entry] == input->definition_max) {
            assert(!by_bytes || chunk->values.pieces != NULL);
            bytes += by_bytes ? sizeof(uint32_t) + chunk->values.pieces[value].size : 0;
            value++;
        }
    }
    cut->entries_count = entry - cut->entry;
    cut->rows_count = rows;
    cut->values_count = value - cut->value;
}

/* Set the size of the page that starts where `cut` says. */
static void cut_page(const struct chunk *chunk, struct page_cut *cut)
{
    if (chunk->input->definitions != NULL) {
        cut_nested(chunk, cut);
    } else if (chunk->leaf->kind == LEAF_BYTES && !chunk->has_dictionary) {
        cut_by_bytes(chunk, cut);
    } else {
        cut_by_rows(chunk, cut);
    }
}

/* ---- bounds and indexes ---- */

static struct page_record *add_page(struct parquet_writer_context *context)
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

static void keep_page_bounds(struct chunk *chunk, const struct range *range,
                             struct page_record *page)
{
    if (!range->has_range || range->has_nan) {
        return;
    }
    struct buffer *bounds = &chunk->context->bounds;
    bool exact;
    page->min_at = bounds->size;
    bool has_min = range_encode_min(range, chunk->leaf, bounds, &exact);
    page->min_size = bounds->size - page->min_at;
    page->max_at = bounds->size;
    page->has_bounds = range_encode_max(range, chunk->leaf, bounds, &exact) && has_min;
    page->max_size = bounds->size - page->max_at;
}

static void place_bound(struct buffer *bounds, size_t at, bool is_set, bool exact,
                        struct bound_place *place)
{
    *place = (struct bound_place){
        .at = at, .size = bounds->size - at, .is_set = is_set, .exact = exact};
}

/* spec: parquet.thrift Statistics — no bounds when a NaN is among the values */
static void keep_chunk_bounds(struct chunk *chunk, const struct range *range)
{
    if (!range->has_range || range->has_nan) {
        return;
    }
    struct buffer *bounds = &chunk->file->bounds;
    bool exact;
    size_t at = bounds->size;
    bool is_set = range_encode_min(range, chunk->leaf, bounds, &exact);
    place_bound(bounds, at, is_set, exact, &chunk->result->min);
    at = bounds->size;
    is_set = range_encode_max(range, chunk->leaf, bounds, &exact);
    place_bound(bounds, at, is_set, exact, &chunk->result->max);
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
static int boundary_order(const struct chunk *chunk)
{
    const struct parquet_writer_context *context = chunk->context;
    bool ascending = true;
    bool descending = true;
    size_t before = SIZE_MAX;
    for (size_t i = 0; i < context->pages_count; i++) {
        if (context->pages[i].all_null) {
            continue;
        }
        if (before != SIZE_MAX) {
            int min = range_compare_encoded(page_min(context, before), page_min(context, i),
                                            chunk->leaf);
            int max = range_compare_encoded(page_max(context, before), page_max(context, i),
                                            chunk->leaf);
            ascending &= min <= 0 && max <= 0;
            descending &= min >= 0 && max >= 0;
        }
        before = i;
    }
    return ascending ? ORDER_ASCENDING : descending ? ORDER_DESCENDING : ORDER_NONE;
}

static void write_column_index(const struct chunk *chunk, struct buffer *out)
{
    const struct parquet_writer_context *context = chunk->context;
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
    thrift_write_i32(out, &last, 4, boundary_order(chunk));
    thrift_write_list(out, &last, 5, THRIFT_I64, count);
    for (size_t i = 0; i < count; i++) {
        thrift_put_integer(out, context->pages[i].nulls_count);
    }
    thrift_write_stop(out);
}

static void write_offset_index(const struct chunk *chunk, struct buffer *out)
{
    const struct parquet_writer_context *context = chunk->context;
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

static void write_indexes(struct chunk *chunk)
{
    struct file_writer *file = chunk->file;
    struct chunk_result *result = chunk->result;
    /* spec: PageIndex.md — a column index has bounds for every page or is left out */
    if (chunk->input->wants_bounds && every_page_has_bounds(chunk->context)) {
        result->column_index_at = file->column_indexes.size;
        write_column_index(chunk, &file->column_indexes);
        result->column_index_size = file->column_indexes.size - result->column_index_at;
    }
    result->offset_index_at = file->offset_indexes.size;
    write_offset_index(chunk, &file->offset_indexes);
    result->offset_index_size = file->offset_indexes.size - result->offset_index_at;
}

/* ---- pages ---- */

static void build_page(struct chunk *chunk, const struct page_cut *cut)
{
    struct buffer *raw = &chunk->context->raw;
    buffer_reset(raw);
    append_levels(chunk, cut, raw);
    if (chunk->has_dictionary) {
        buffer_append_byte(raw, (uint8_t)chunk->code_width);
        hybrid_write_u32(raw, chunk->context->dictionary.codes + cut->value, cut->values_count,
                         chunk->code_width);
    } else {
        append_plain(raw, &chunk->values, cut->value, cut->values_count);
    }
}

/*
 * One page to the file; `packed` is its compressed body, made here when it was
 * not made already.
 */
static enum err_code append_page(struct chunk *chunk, struct metadata_page *page,
                                 const struct buffer *raw, struct buffer *packed,
                                 struct err *err)
{
    struct chunk_result *result = chunk->result;
    TRY(buffer_check(raw, "page", err));
    struct span body = buffer_span(raw);
    if (result->compressed) {
        if (packed->size == 0) {
            codec_pack_zstd(&chunk->context->codec, body, packed);
        }
        TRY(buffer_check(packed, "compressed page", err));
        body = buffer_span(packed);
    }
    page->raw_bytes = (int32_t)raw->size;
    page->packed_bytes = (int32_t)body.size;
    page->has_checksum = true;
    page->checksum = codec_checksum(body);

    struct buffer *header = &chunk->context->header;
    buffer_reset(header);
    metadata_page_encode(page, header);
    result->raw_bytes += (int64_t)(header->size + raw->size);
    result->packed_bytes += (int64_t)(header->size + body.size);
    TRY(file_writer_append(chunk->file, buffer_span(header), err));
    return file_writer_append(chunk->file, body, err);
}

static enum err_code append_dictionary_page(struct chunk *chunk, struct err *err)
{
    struct parquet_writer_context *context = chunk->context;
    struct metadata_page page = {.type = PARQUET_DICTIONARY_PAGE,
                                 .values_count = (int32_t)context->dictionary.count,
                                 .encoding = PARQUET_PLAIN};
    chunk->result->dictionary_offset = chunk->file->position;
    return append_page(chunk, &page, &context->dictionary_raw, &context->dictionary_packed, err);
}

/* A chunk has one codec: it is chosen by what the dictionary and the first page save. */
static void choose_codec(struct chunk *chunk)
{
    struct parquet_writer_context *context = chunk->context;
    size_t raw = context->raw.size + context->dictionary_raw.size;
    if (raw < PAYS_FROM_BYTES) {
        return; /* a merge of 1,000 rows would spend most of its time on saving some kilobytes */
    }
    codec_pack_zstd(&context->codec, buffer_span(&context->raw), &context->packed);
    size_t packed = context->packed.size;
    if (chunk->has_dictionary) {
        codec_pack_zstd(&context->codec, buffer_span(&context->dictionary_raw),
                        &context->dictionary_packed);
        packed += context->dictionary_packed.size;
    }
    chunk->result->compressed = packed < raw - raw / PAYS_SHARE;
}

static enum err_code append_data_page(struct chunk *chunk, const struct page_cut *cut,
                                      struct page_record *record, struct err *err)
{
    struct parquet_writer_context *context = chunk->context;
    struct metadata_page page = {.type = PARQUET_DATA_PAGE,
                                 .values_count = (int32_t)cut->entries_count,
                                 .encoding = chunk->has_dictionary ? PARQUET_RLE_DICTIONARY
                                                                   : PARQUET_PLAIN};
    record->offset = chunk->file->position;
    TRY(append_page(chunk, &page, &context->raw, &context->packed, err));
    record->packed_bytes = (int32_t)(chunk->file->position - record->offset);
    chunk->result->data_pages_count++;
    return ERR_OK;
}

static enum err_code write_page(struct chunk *chunk, const struct page_cut *cut,
                                struct range *chunk_range, struct err *err)
{
    struct parquet_writer_context *context = chunk->context;
    build_page(chunk, cut);
    buffer_reset(&context->packed);
    bool first = context->pages_count == 0;
    if (first) {
        choose_codec(chunk);
        if (chunk->has_dictionary) {
            TRY(append_dictionary_page(chunk, err));
        }
        chunk->result->data_offset = chunk->file->position;
    }
    struct page_record *record = add_page(context);
    record->first_row = cut->row;
    record->nulls_count = cut->entries_count - (int64_t)cut->values_count;
    record->all_null = cut->values_count == 0;
    if (chunk->input->wants_bounds) {
        struct range range =
            chunk->has_dictionary
                ? range_of_codes(&context->dictionary, &chunk->entries, cut->value,
                                 cut->values_count)
                : range_of(&chunk->values, cut->value, cut->values_count);
        keep_page_bounds(chunk, &range, record);
        range_join(chunk_range, &range, chunk->leaf->kind);
    }
    return append_data_page(chunk, cut, record, err);
}

static void prepare_dictionary(struct chunk *chunk)
{
    struct parquet_writer_context *context = chunk->context;
    chunk->has_dictionary = dictionary_build(&context->dictionary, &chunk->values);
    chunk->result->has_dictionary = chunk->has_dictionary;
    if (!chunk->has_dictionary) {
        return;
    }
    chunk->entries = dictionary_values(&context->dictionary, &chunk->values);
    /* one entry needs no bit, but not every reader expects width 0 */
    uint32_t code_max = context->dictionary.count - 1;
    chunk->code_width = code_max > 0 ? hybrid_width(code_max) : 1;
    append_plain(&context->dictionary_raw, &chunk->entries, 0, chunk->entries.count);
}

static void note_statistics(const struct chunk *chunk, const struct range *range,
                            struct parquet_column_statistics *statistics)
{
    if (statistics == NULL) {
        return;
    }
    statistics->values_count += (int64_t)chunk->values.count;
    statistics->nulls_count += chunk->result->nulls_count;
    range_widen_statistics(range, chunk->leaf->kind, statistics);
}

enum err_code chunk_write(struct file_writer *file, const struct leaf_type *leaf,
                          const struct chunk_input *input, struct chunk_result *result,
                          struct parquet_column_statistics *statistics, struct err *err)
{
    struct parquet_writer_context *context = file->context;
    struct chunk chunk = {
        .file = file, .context = context, .leaf = leaf, .input = input, .result = result};
    context->pages_count = 0;
    buffer_reset(&context->bounds);
    buffer_reset(&context->dictionary_raw);
    buffer_reset(&context->dictionary_packed);
    gather(&chunk);
    prepare_dictionary(&chunk);

    struct range range = {0};
    struct page_cut cut = {0};
    do { /* a chunk without entries still has its one empty page */
        cut_page(&chunk, &cut);
        TRY(write_page(&chunk, &cut, &range, err));
        cut.entry += cut.entries_count;
        cut.row += cut.rows_count;
        cut.value += cut.values_count;
    } while (cut.entry < input->count);
    assert(cut.value == chunk.values.count);

    result->values_count = input->count;
    result->nulls_count = input->count - (int64_t)chunk.values.count;
    keep_chunk_bounds(&chunk, &range);
    if (input->wants_indexes) {
        write_indexes(&chunk);
    }
    note_statistics(&chunk, &range, statistics);
    return ERR_OK;
}
