/*
 * Schema, sink, indexes and footer of a file being written. See file_writer.h.
 * Source: parquet.thrift FileMetaData; parquet-format README "File format".
 */
#include "storage/parquet/file_writer.h"

#include "storage/base/mem.h"
#include "storage/parquet/thrift.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* The form "<application> version <x.y.z> (build <hash>)" is what parquet-java can parse;
   it distrusts the statistics of binary columns otherwise. */
static const char CREATED_BY[] = "sluice version 0.1.0 (build unknown)";

enum { FORMAT_VERSION = 1, SINK_BYTES = 1 << 20, ARRAY_FIRST = 32, PAGE_HEADER_BYTES_MAX = 256 };

/* ---- context ---- */

struct parquet_writer_context *parquet_writer_context_new(void)
{
    struct parquet_writer_context *context = mem_zeroed(1, sizeof *context);
    buffer_init(&context->header, PAGE_HEADER_BYTES_MAX);
    buffer_init(&context->raw, FILE_BUFFER_BYTES_MAX);
    buffer_init(&context->packed, FILE_BUFFER_BYTES_MAX);
    buffer_init(&context->dictionary_raw, FILE_BUFFER_BYTES_MAX);
    buffer_init(&context->dictionary_packed, FILE_BUFFER_BYTES_MAX);
    buffer_init(&context->bounds, FILE_BUFFER_BYTES_MAX);
    buffer_init(&context->out, SIZE_MAX);
    return context;
}

void parquet_writer_context_free(struct parquet_writer_context **context)
{
    struct parquet_writer_context *freed = *context;
    if (freed == NULL) {
        return;
    }
    codec_deinit(&freed->codec);
    dictionary_deinit(&freed->dictionary);
    mem_free(freed->selected);
    mem_free(freed->valid);
    mem_free(freed->dense);
    mem_free(freed->pieces);
    mem_free(freed->pages);
    buffer_deinit(&freed->header);
    buffer_deinit(&freed->raw);
    buffer_deinit(&freed->packed);
    buffer_deinit(&freed->dictionary_raw);
    buffer_deinit(&freed->dictionary_packed);
    buffer_deinit(&freed->bounds);
    buffer_deinit(&freed->out);
    mem_free(freed);
    *context = NULL;
}

/* ---- sink ---- */

static enum err_code write_to_buffer(void *self, struct span bytes, struct err *err)
{
    struct buffer *buffer = self;
    buffer_append_span(buffer, bytes);
    return buffer_check(buffer, "Parquet file", err);
}

struct parquet_sink parquet_sink_to_buffer(struct buffer *buffer)
{
    return (struct parquet_sink){.write = write_to_buffer, .self = buffer};
}

static enum err_code flush(struct file_writer *file, struct err *err)
{
    struct buffer *out = &file->context->out;
    if (out->size > 0) {
        TRY(file->sink.write(file->sink.self, buffer_span(out), err));
        buffer_reset(out);
    }
    return ERR_OK;
}

enum err_code file_writer_append(struct file_writer *file, struct span bytes, struct err *err)
{
    buffer_append_span(&file->context->out, bytes);
    file->position += (int64_t)bytes.size;
    if (file->context->out.size >= SINK_BYTES) {
        TRY(flush(file, err));
    }
    return ERR_OK;
}

/* ---- life ---- */

void file_writer_init(struct file_writer *file, struct parquet_writer_context *context,
                      const struct parquet_sink *sink, size_t leaves_count)
{
    *file = (struct file_writer){
        .context = context != NULL ? context : parquet_writer_context_new(),
        .owns_context = context == NULL,
        .sink = *sink,
        .position = PARQUET_MAGIC_BYTES,
        .leaves = mem_zeroed(leaves_count, sizeof(struct file_leaf)),
    };
    buffer_init(&file->schema, FILE_BUFFER_BYTES_MAX);
    buffer_init(&file->bounds, FILE_BUFFER_BYTES_MAX);
    buffer_init(&file->column_indexes, FILE_BUFFER_BYTES_MAX);
    buffer_init(&file->offset_indexes, FILE_BUFFER_BYTES_MAX);
    buffer_init(&file->blooms, FILE_BUFFER_BYTES_MAX);
    buffer_reset(&file->context->out); /* what a failed file left behind */
    buffer_append_text(&file->context->out, PARQUET_MAGIC);
}

void file_writer_deinit(struct file_writer *file)
{
    if (file->owns_context) {
        parquet_writer_context_free(&file->context);
    }
    buffer_deinit(&file->schema);
    buffer_deinit(&file->bounds);
    buffer_deinit(&file->column_indexes);
    buffer_deinit(&file->offset_indexes);
    buffer_deinit(&file->blooms);
    mem_free(file->leaves);
    mem_free(file->chunks);
    mem_free(file->groups);
    *file = (struct file_writer){0};
}

/* ---- schema ---- */

void file_writer_root(struct file_writer *file, size_t children_count)
{
    int last = 0;
    thrift_write_binary(&file->schema, &last, 4, span_of_text("spark_schema"));
    thrift_write_i32(&file->schema, &last, 5, (int32_t)children_count);
    thrift_write_stop(&file->schema);
    file->elements_count++;
}

static void write_field_id(const struct file_element *element, struct buffer *out, int *last)
{
    if (element->field_id != 0) {
        thrift_write_i32(out, last, 9, element->field_id);
    }
}

void file_writer_group(struct file_writer *file, const struct file_element *element,
                       size_t children_count, enum parquet_converted converted)
{
    struct buffer *out = &file->schema;
    int last = 0;
    thrift_write_i32(out, &last, 3, (int32_t)element->repetition);
    thrift_write_binary(out, &last, 4, span_of_text(element->name));
    thrift_write_i32(out, &last, 5, (int32_t)children_count);
    if (converted != PARQUET_CONVERTED_NONE) {
        assert(converted == PARQUET_CONVERTED_LIST || converted == PARQUET_CONVERTED_MAP);
        thrift_write_i32(out, &last, 6, converted);
    }
    write_field_id(element, out, &last);
    if (converted != PARQUET_CONVERTED_NONE) {
        thrift_write_struct(out, &last, 10);
        int logical = 0;
        thrift_write_struct(out, &logical,
                            converted == PARQUET_CONVERTED_LIST ? PARQUET_LOGICAL_LIST
                                                                : PARQUET_LOGICAL_MAP);
        thrift_write_stop(out);
        thrift_write_stop(out);
    }
    thrift_write_stop(out);
    file->elements_count++;
}

static enum parquet_converted converted_of(enum column_type type)
{
    switch (type) {
    case COLUMN_STRING:
        return PARQUET_CONVERTED_UTF8;
    case COLUMN_DATE:
        return PARQUET_CONVERTED_DATE;
    case COLUMN_TIMESTAMP:
        return PARQUET_CONVERTED_TIMESTAMP_MICROS;
    case COLUMN_DECIMAL:
        return PARQUET_CONVERTED_DECIMAL;
    case COLUMN_BYTE:
        return PARQUET_CONVERTED_INT_8;
    case COLUMN_SHORT:
        return PARQUET_CONVERTED_INT_16;
    case COLUMN_TIMESTAMP_NTZ: /* the converted type means UTC; only the logical one can say no zone
                                */
    case COLUMN_INTEGER:
    case COLUMN_LONG:
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
    case COLUMN_BOOLEAN:
    case COLUMN_BINARY:
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        break;
    }
    return PARQUET_CONVERTED_NONE;
}

/* The fields of TimestampType. */
static void write_timestamp_type(struct buffer *out, int *last, bool is_utc)
{
    thrift_write_bool(out, last, 1, is_utc);
    thrift_write_struct(out, last, 2);
    int unit = 0;
    thrift_write_struct(out, &unit, PARQUET_UNIT_MICROS);
    thrift_write_stop(out);
    thrift_write_stop(out);
}

/* The LogicalType union of a leaf; nothing for types that need none. */
static void write_logical(struct buffer *out, int *last, enum column_type type, int precision,
                          int scale)
{
    static const uint8_t logical[COLUMN_TYPE_COUNT] = {
        [COLUMN_STRING] = PARQUET_LOGICAL_STRING,
        [COLUMN_DATE] = PARQUET_LOGICAL_DATE,
        [COLUMN_TIMESTAMP] = PARQUET_LOGICAL_TIMESTAMP,
        [COLUMN_TIMESTAMP_NTZ] = PARQUET_LOGICAL_TIMESTAMP,
        [COLUMN_DECIMAL] = PARQUET_LOGICAL_DECIMAL,
        [COLUMN_BYTE] = PARQUET_LOGICAL_INTEGER,
        [COLUMN_SHORT] = PARQUET_LOGICAL_INTEGER,
    };
    assert(type < COLUMN_TYPE_COUNT);
    if (logical[type] == 0) {
        return;
    }
    thrift_write_struct(out, last, 10);
    int member = 0;
    thrift_write_struct(out, &member, logical[type]);
    int inner = 0;
    if (logical[type] == PARQUET_LOGICAL_TIMESTAMP) {
        write_timestamp_type(out, &inner, type == COLUMN_TIMESTAMP);
    } else if (type == COLUMN_DECIMAL) {
        thrift_write_i32(out, &inner, 1, scale);
        thrift_write_i32(out, &inner, 2, precision);
    } else if (logical[type] == PARQUET_LOGICAL_INTEGER) {
        thrift_write_i8(out, &inner, 1, type == COLUMN_BYTE ? 8 : 16);
        thrift_write_bool(out, &inner, 2, true);
    }
    thrift_write_stop(out);
    thrift_write_stop(out);
}

void file_writer_leaf(struct file_writer *file, const struct file_element *element,
                      enum column_type type, int precision, int scale, const char *const *path,
                      size_t path_count)
{
    struct leaf_type leaf = leaf_type_of(type, precision);
    struct buffer *out = &file->schema;
    int last = 0;
    thrift_write_i32(out, &last, 1, leaf.physical);
    if (leaf.physical == PARQUET_TYPE_FIXED) {
        thrift_write_i32(out, &last, 2, leaf.fixed_bytes);
    }
    thrift_write_i32(out, &last, 3, (int32_t)element->repetition);
    thrift_write_binary(out, &last, 4, span_of_text(element->name));
    enum parquet_converted converted = converted_of(type);
    if (converted != PARQUET_CONVERTED_NONE) {
        thrift_write_i32(out, &last, 6, converted);
    }
    if (type == COLUMN_DECIMAL) {
        thrift_write_i32(out, &last, 7, scale);
        thrift_write_i32(out, &last, 8, precision);
    }
    write_field_id(element, out, &last);
    write_logical(out, &last, type, precision, scale);
    thrift_write_stop(out);
    file->elements_count++;
    file->leaves[file->leaves_count++] =
        (struct file_leaf){.type = leaf, .path = path, .path_count = path_count};
}

/* ---- row groups ---- */

struct chunk_result *file_writer_add_row_group(struct file_writer *file, int64_t rows_count)
{
    if (file->groups_count == file->groups_capacity) {
        file->groups_capacity = file->groups_capacity > 0 ? file->groups_capacity * 2 : ARRAY_FIRST;
        file->groups = mem_resize(file->groups, file->groups_capacity, sizeof *file->groups);
    }
    file->groups[file->groups_count++] = rows_count;
    size_t needed = file->chunks_count + file->leaves_count;
    if (needed > file->chunks_capacity) {
        file->chunks_capacity = needed * 2;
        file->chunks = mem_resize(file->chunks, file->chunks_capacity, sizeof *file->chunks);
    }
    struct chunk_result *added = file->chunks + file->chunks_count;
    if (file->leaves_count > 0) {
        memset(added, 0, file->leaves_count * sizeof *added);
    }
    file->chunks_count = needed;
    return added;
}

/* ---- footer ---- */

static struct span place_span(const struct file_writer *file, const struct bound_place *place)
{
    return span_of(file->bounds.data + place->at, place->size);
}

static void write_statistics(const struct file_writer *file, const struct chunk_result *chunk,
                             struct buffer *out)
{
    int last = 0;
    thrift_write_i64(out, &last, 3, chunk->nulls_count);
    if (chunk->max.is_set) {
        thrift_write_binary(out, &last, 5, place_span(file, &chunk->max));
    }
    if (chunk->min.is_set) {
        thrift_write_binary(out, &last, 6, place_span(file, &chunk->min));
    }
    if (chunk->max.is_set) {
        thrift_write_bool(out, &last, 7, chunk->max.exact);
    }
    if (chunk->min.is_set) {
        thrift_write_bool(out, &last, 8, chunk->min.exact);
    }
    thrift_write_stop(out);
}

static void write_encoding_count(struct buffer *out, enum parquet_page_type page,
                                 enum parquet_encoding encoding, int32_t count)
{
    int last = 0;
    thrift_write_i32(out, &last, 1, (int32_t)page);
    thrift_write_i32(out, &last, 2, (int32_t)encoding);
    thrift_write_i32(out, &last, 3, count);
    thrift_write_stop(out);
}

/* PageEncodingStats: lets readers know that every data page is dictionary-encoded. */
static void write_encoding_counts(const struct chunk_result *chunk, struct buffer *out, int *last)
{
    if (chunk->has_dictionary) {
        thrift_write_list(out, last, 13, THRIFT_STRUCT, 2);
        write_encoding_count(out, PARQUET_DICTIONARY_PAGE, PARQUET_PLAIN, 1);
        write_encoding_count(out, PARQUET_DATA_PAGE, PARQUET_RLE_DICTIONARY,
                             chunk->data_pages_count);
    } else {
        thrift_write_list(out, last, 13, THRIFT_STRUCT, 1);
        write_encoding_count(out, PARQUET_DATA_PAGE, PARQUET_PLAIN, chunk->data_pages_count);
    }
}

static void write_column(const struct file_writer *file, const struct file_leaf *leaf,
                         const struct chunk_result *chunk, struct buffer *out)
{
    int last = 0;
    thrift_write_i32(out, &last, 1, leaf->type.physical);
    thrift_write_list(out, &last, 2, THRIFT_I32, chunk->has_dictionary ? 3 : 2);
    thrift_put_integer(out, PARQUET_PLAIN);
    thrift_put_integer(out, PARQUET_RLE);
    if (chunk->has_dictionary) {
        thrift_put_integer(out, PARQUET_RLE_DICTIONARY);
    }
    thrift_write_list(out, &last, 3, THRIFT_BINARY, leaf->path_count);
    for (size_t i = 0; i < leaf->path_count; i++) {
        thrift_put_binary(out, span_of_text(leaf->path[i]));
    }
    thrift_write_i32(out, &last, 4, chunk->compressed ? PARQUET_ZSTD : PARQUET_UNCOMPRESSED);
    thrift_write_i64(out, &last, 5, chunk->values_count);
    thrift_write_i64(out, &last, 6, chunk->raw_bytes);
    thrift_write_i64(out, &last, 7, chunk->packed_bytes);
    thrift_write_i64(out, &last, 9, chunk->data_offset);
    if (chunk->has_dictionary) {
        thrift_write_i64(out, &last, 11, chunk->dictionary_offset);
    }
    thrift_write_struct(out, &last, 12);
    write_statistics(file, chunk, out);
    write_encoding_counts(chunk, out, &last);
    if (chunk->bloom_size > 0) {
        thrift_write_i64(out, &last, 14, chunk->bloom_offset);
        thrift_write_i32(out, &last, 15, (int32_t)chunk->bloom_size);
    }
    thrift_write_stop(out);
}

/* Where the two index regions begin in the file. */
struct index_places {
    int64_t column_indexes;
    int64_t offset_indexes;
};

static int64_t first_page(const struct chunk_result *chunk)
{
    return chunk->has_dictionary ? chunk->dictionary_offset : chunk->data_offset;
}

static void write_chunk(const struct file_writer *file, const struct file_leaf *leaf,
                        const struct chunk_result *chunk, const struct index_places *places,
                        struct buffer *out)
{
    int last = 0;
    /* file_offset is deprecated; writers agree on 0 or the first page, readers ignore it */
    thrift_write_i64(out, &last, 2, first_page(chunk));
    thrift_write_struct(out, &last, 3);
    write_column(file, leaf, chunk, out);
    if (chunk->offset_index_size > 0) {
        thrift_write_i64(out, &last, 4, places->offset_indexes + (int64_t)chunk->offset_index_at);
        thrift_write_i32(out, &last, 5, (int32_t)chunk->offset_index_size);
    }
    if (chunk->column_index_size > 0) {
        thrift_write_i64(out, &last, 6, places->column_indexes + (int64_t)chunk->column_index_at);
        thrift_write_i32(out, &last, 7, (int32_t)chunk->column_index_size);
    }
    thrift_write_stop(out);
}

static void write_row_group(const struct file_writer *file, size_t index,
                            const struct index_places *places, struct buffer *out)
{
    const struct chunk_result *chunks = file->chunks + index * file->leaves_count;
    int64_t raw_bytes = 0;
    int64_t packed_bytes = 0;
    for (size_t i = 0; i < file->leaves_count; i++) {
        raw_bytes += chunks[i].raw_bytes;
        packed_bytes += chunks[i].packed_bytes;
    }
    int last = 0;
    thrift_write_list(out, &last, 1, THRIFT_STRUCT, file->leaves_count);
    for (size_t i = 0; i < file->leaves_count; i++) {
        write_chunk(file, &file->leaves[i], &chunks[i], places, out);
    }
    thrift_write_i64(out, &last, 2, raw_bytes);
    thrift_write_i64(out, &last, 3, file->groups[index]);
    if (file->leaves_count > 0) {
        thrift_write_i64(out, &last, 5, first_page(&chunks[0]));
    }
    thrift_write_i64(out, &last, 6, packed_bytes);
    /* the ordinal is 16 bits wide and only encryption needs it */
    if (index <= INT16_MAX) {
        thrift_write_i16(out, &last, 7, (int16_t)index);
    }
    thrift_write_stop(out);
}

static void write_footer(const struct file_writer *file, const struct index_places *places,
                         struct buffer *out)
{
    int64_t rows_count = 0;
    for (size_t i = 0; i < file->groups_count; i++) {
        rows_count += file->groups[i];
    }
    int last = 0;
    thrift_write_i32(out, &last, 1, FORMAT_VERSION);
    thrift_write_list(out, &last, 2, THRIFT_STRUCT, file->elements_count);
    buffer_append_span(out, buffer_span(&file->schema));
    thrift_write_i64(out, &last, 3, rows_count);
    thrift_write_list(out, &last, 4, THRIFT_STRUCT, file->groups_count);
    for (size_t i = 0; i < file->groups_count; i++) {
        write_row_group(file, i, places, out);
    }
    thrift_write_binary(out, &last, 6, span_of_text(CREATED_BY));
    /* spec: parquet.thrift column_orders — without TYPE_ORDER readers ignore min_value, max_value
     */
    thrift_write_list(out, &last, 7, THRIFT_STRUCT, file->leaves_count);
    for (size_t i = 0; i < file->leaves_count; i++) {
        int order = 0;
        thrift_write_struct(out, &order, 1);
        thrift_write_stop(out);
        thrift_write_stop(out);
    }
    thrift_write_stop(out);
}

enum err_code file_writer_end_row_group(struct file_writer *file, struct err *err)
{
    assert(file->groups_count > 0);
    struct chunk_result *chunks = file->chunks + (file->groups_count - 1) * file->leaves_count;
    TRY(buffer_check(&file->blooms, "Bloom filters", err));
    for (size_t i = 0; i < file->leaves_count; i++) {
        if (chunks[i].bloom_size > 0) {
            chunks[i].bloom_offset = file->position + (int64_t)chunks[i].bloom_at;
        }
    }
    TRY(file_writer_append(file, buffer_span(&file->blooms), err));
    buffer_reset(&file->blooms);
    return ERR_OK;
}

enum err_code file_writer_finish(struct file_writer *file, struct err *err)
{
    TRY(buffer_check(&file->bounds, "column statistics", err));
    TRY(buffer_check(&file->column_indexes, "column index", err));
    TRY(buffer_check(&file->offset_indexes, "offset index", err));
    struct index_places places = {.column_indexes = file->position};
    TRY(file_writer_append(file, buffer_span(&file->column_indexes), err));
    places.offset_indexes = file->position;
    TRY(file_writer_append(file, buffer_span(&file->offset_indexes), err));

    struct buffer *footer = &file->context->raw;
    buffer_reset(footer);
    write_footer(file, &places, footer);
    size_t size = footer->size;
    buffer_append_u32(footer, (uint32_t)size);
    buffer_append_text(footer, PARQUET_MAGIC);
    TRY(buffer_check(footer, "footer", err));
    TRY(file_writer_append(file, buffer_span(footer), err));
    return flush(file, err);
}
