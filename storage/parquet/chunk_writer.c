/*
 * Column chunks. See chunk_writer.h for the contract.
 *
 * Order of work: pack the chunk's non-null values densely; try a dictionary;
 * then page by page: levels, values, bounds, compression. Inner loops run over
 * dense arrays of one type without calls.
 * Source: parquet-format README "Data Pages"; Encodings.md.
 */
#include "storage/parquet/chunk_writer.h"

#include "storage/parquet/bloom.h"
#include "storage/parquet/gather.h"
#include "storage/parquet/hybrid.h"
#include "storage/parquet/metadata.h"
#include "storage/parquet/page_index.h"
#include "storage/parquet/range.h"

#include <assert.h>
#include <string.h>

enum {
    LEVELS_LENGTH_BYTES = 4, /* V1: before each run of levels */
    COPY_BYTES = 16,         /* short strings are copied in one piece of this size */
    PAYS_SHARE = 16,         /* compression must save 1/16 */
    PAYS_FROM_BYTES = 8192,  /* of a chunk; less is stored as it is */
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

/* ---- bounds ---- */

static void place_bound(struct buffer *bounds, size_t at, bool is_set, bool exact,
                        struct bound_place *place)
{
    *place =
        (struct bound_place){.at = at, .size = bounds->size - at, .is_set = is_set, .exact = exact};
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
                                 const struct buffer *raw, struct buffer *packed, struct err *err)
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
    struct page_record *record = page_index_add(context);
    record->first_row = cut->row;
    record->nulls_count = cut->entries_count - (int64_t)cut->values_count;
    record->all_null = cut->values_count == 0;
    if (chunk->input->wants_bounds) {
        struct range range = chunk->has_dictionary
                                 ? range_of_codes(&context->dictionary, &chunk->entries, cut->value,
                                                  cut->values_count)
                                 : range_of(&chunk->values, cut->value, cut->values_count);
        page_index_keep_bounds(context, chunk->leaf, &range, record);
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
    chunk.values = gather_values(context, leaf, input, &chunk.valid);
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
        page_index_write(file, leaf, input->wants_bounds, result);
    }
    if (input->wants_bloom && !chunk.has_dictionary &&
        (int64_t)bloom_bytes(chunk.values.count) * BLOOM_PAYS_SHARE <= result->packed_bytes) {
        result->bloom_at = file->blooms.size;
        bloom_write(&chunk.values, &file->blooms);
        result->bloom_size = file->blooms.size - result->bloom_at;
    }
    note_statistics(&chunk, &range, statistics);
    return ERR_OK;
}
