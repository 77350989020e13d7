/*
 * Decoding of footers, page headers and offset indexes; encoding of page
 * headers (footers are encoded in footer_writer.c). See metadata.h.
 */
#include "storage/parquet/metadata.h"

#include "storage/base/cursor.h"
#include "storage/parquet/reader.h"
#include "storage/parquet/thrift.h"

#include <assert.h>

enum { ENCODED_DECIMAL_PRECISION_MAX = 1000, FIXED_BYTES_MAX = 1 << 20 };

/* A list in the arena; marks the cursor failed when it does not fit. */
static void *list_alloc(struct cursor *in, struct arena *arena, size_t count, size_t size)
{
    void *list = arena_alloc(arena, count * size);
    if (list == NULL) {
        cursor_fail(in);
    }
    return list;
}

/* ---- schema ---- */

static void decode_decimal_type(struct cursor *in, struct metadata_element *element)
{
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        if (field.id == 1) {
            element->scale = thrift_read_i32(in, &field);
        } else if (field.id == 2) {
            element->precision = thrift_read_i32(in, &field);
        } else {
            thrift_skip(in, &field);
        }
    }
}

static void decode_unit(struct cursor *in, struct metadata_element *element)
{
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        if (field.id >= PARQUET_UNIT_MILLIS && field.id <= PARQUET_UNIT_NANOS) {
            element->unit = field.id;
        }
        thrift_skip(in, &field);
    }
}

static void decode_time_type(struct cursor *in, struct metadata_element *element)
{
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        if (field.id == 1) {
            element->is_utc = thrift_read_bool(in, &field);
        } else if (field.id == 2) {
            thrift_read_struct(in, &field);
            decode_unit(in, element);
        } else {
            thrift_skip(in, &field);
        }
    }
}

static void decode_integer_type(struct cursor *in, struct metadata_element *element)
{
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        if (field.id == 1) {
            element->bit_width = (int8_t)thrift_read_i32(in, &field);
        } else if (field.id == 2) {
            element->is_signed = thrift_read_bool(in, &field);
        } else {
            thrift_skip(in, &field);
        }
    }
}

static void decode_logical(struct cursor *in, struct metadata_element *element)
{
    struct thrift_field field = {0};
    element->has_logical = true;
    while (thrift_field_next(in, &field)) {
        thrift_read_struct(in, &field);
        if (field.id >= PARQUET_LOGICAL_STRING && field.id <= PARQUET_LOGICAL_VARIANT) {
            element->logical = field.id;
        }
        switch (field.id) {
        case PARQUET_LOGICAL_DECIMAL:
            decode_decimal_type(in, element);
            break;
        case PARQUET_LOGICAL_TIME:
        case PARQUET_LOGICAL_TIMESTAMP:
            decode_time_type(in, element);
            break;
        case PARQUET_LOGICAL_INTEGER:
            decode_integer_type(in, element);
            break;
        default:
            thrift_skip(in, &field);
            break;
        }
    }
}

static void check_element(struct cursor *in, const struct metadata_element *element)
{
    bool fixed = element->type == PARQUET_TYPE_FIXED;
    if (element->type < PARQUET_TYPE_NONE || element->type > PARQUET_TYPE_FIXED ||
        element->repetition < PARQUET_REQUIRED || element->repetition > PARQUET_REPEATED ||
        element->children_count < 0 ||
        (element->type != PARQUET_TYPE_NONE && element->children_count > 0) ||
        (fixed && (element->type_length <= 0 || element->type_length > FIXED_BYTES_MAX))) {
        cursor_fail(in);
    }
}

static void decode_element(struct cursor *in, struct metadata_element *element)
{
    *element = (struct metadata_element){
        .type = PARQUET_TYPE_NONE, .converted = PARQUET_CONVERTED_NONE, .field_id = -1};
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        switch (field.id) {
        case 1:
            element->type = (enum parquet_type)thrift_read_i32(in, &field);
            break;
        case 2:
            element->type_length = thrift_read_i32(in, &field);
            break;
        case 3:
            element->repetition = (enum parquet_repetition)thrift_read_i32(in, &field);
            break;
        case 4:
            element->name = thrift_read_binary(in, &field);
            break;
        case 5:
            element->children_count = thrift_read_i32(in, &field);
            break;
        case 6:
            element->converted = thrift_read_i32(in, &field);
            break;
        case 7:
            element->scale = thrift_read_i32(in, &field);
            break;
        case 8:
            element->precision = thrift_read_i32(in, &field);
            break;
        case 9:
            element->field_id = thrift_read_i32(in, &field);
            break;
        case 10:
            thrift_read_struct(in, &field);
            decode_logical(in, element);
            break;
        default:
            thrift_skip(in, &field);
            break;
        }
    }
    if (element->type != PARQUET_TYPE_FIXED) {
        element->type_length = 0;
    }
    check_element(in, element);
}

static void decode_schema(struct cursor *in, const struct thrift_field *field, struct arena *arena,
                          struct metadata_footer *footer)
{
    size_t count = thrift_read_list(in, field, THRIFT_STRUCT);
    if (count > PARQUET_SCHEMA_NODES_MAX) {
        cursor_fail(in);
        return;
    }
    footer->elements = list_alloc(in, arena, count, sizeof *footer->elements);
    for (size_t i = 0; i < count && !in->failed; i++) {
        decode_element(in, &footer->elements[i]);
        footer->elements_count = i + 1;
    }
}

/* ---- row groups ---- */

static void decode_statistics(struct cursor *in, struct metadata_statistics *statistics)
{
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        switch (field.id) {
        case 1:
            statistics->max = thrift_read_binary(in, &field);
            break;
        case 2:
            statistics->min = thrift_read_binary(in, &field);
            break;
        case 3:
            statistics->nulls_count = thrift_read_i64(in, &field);
            break;
        case 5:
            statistics->max_value = thrift_read_binary(in, &field);
            break;
        case 6:
            statistics->min_value = thrift_read_binary(in, &field);
            break;
        case 7:
            statistics->max_exact = thrift_read_bool(in, &field);
            break;
        case 8:
            statistics->min_exact = thrift_read_bool(in, &field);
            break;
        default:
            thrift_skip(in, &field);
            break;
        }
    }
}

static void decode_column(struct cursor *in, struct metadata_chunk *chunk)
{
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        switch (field.id) {
        case 1:
            chunk->type = (enum parquet_type)thrift_read_i32(in, &field);
            break;
        case 4:
            chunk->codec = thrift_read_i32(in, &field);
            break;
        case 5:
            chunk->values_count = thrift_read_i64(in, &field);
            break;
        case 6:
            chunk->raw_bytes = thrift_read_i64(in, &field);
            break;
        case 7:
            chunk->packed_bytes = thrift_read_i64(in, &field);
            break;
        case 9:
            chunk->data_offset = thrift_read_i64(in, &field);
            break;
        case 11:
            chunk->dictionary_offset = thrift_read_i64(in, &field);
            break;
        case 12:
            thrift_read_struct(in, &field);
            decode_statistics(in, &chunk->statistics);
            break;
        default:
            thrift_skip(in, &field);
            break;
        }
    }
}

static void decode_chunk(struct cursor *in, struct metadata_chunk *chunk)
{
    *chunk = (struct metadata_chunk){
        .type = PARQUET_TYPE_NONE,
        .statistics = {.nulls_count = -1, .min_exact = true, .max_exact = true}};
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        switch (field.id) {
        case 3:
            thrift_read_struct(in, &field);
            decode_column(in, chunk);
            break;
        case 4:
            chunk->offset_index_offset = thrift_read_i64(in, &field);
            break;
        case 5:
            chunk->offset_index_bytes = thrift_read_i32(in, &field);
            break;
        case 6:
            chunk->column_index_offset = thrift_read_i64(in, &field);
            break;
        case 7:
            chunk->column_index_bytes = thrift_read_i32(in, &field);
            break;
        case 8: /* crypto_metadata */
        case 9: /* encrypted_column_metadata */
            chunk->encrypted = true;
            thrift_skip(in, &field);
            break;
        default:
            thrift_skip(in, &field);
            break;
        }
    }
    if (chunk->values_count < 0 || chunk->packed_bytes < 0 || chunk->data_offset < 0 ||
        chunk->dictionary_offset < 0) {
        cursor_fail(in);
    }
}

static void decode_chunks(struct cursor *in, const struct thrift_field *field, struct arena *arena,
                          struct metadata_row_group *group)
{
    size_t count = thrift_read_list(in, field, THRIFT_STRUCT);
    if (count > PARQUET_SCHEMA_NODES_MAX) {
        cursor_fail(in);
        return;
    }
    group->chunks = list_alloc(in, arena, count, sizeof *group->chunks);
    for (size_t i = 0; i < count && !in->failed; i++) {
        decode_chunk(in, &group->chunks[i]);
        group->chunks_count = i + 1;
    }
}

static void decode_row_groups(struct cursor *in, const struct thrift_field *field,
                              struct arena *arena, struct metadata_footer *footer)
{
    size_t count = thrift_read_list(in, field, THRIFT_STRUCT);
    if (count > PARQUET_ROW_GROUPS_MAX) {
        cursor_fail(in);
        return;
    }
    footer->row_groups = list_alloc(in, arena, count, sizeof *footer->row_groups);
    for (size_t i = 0; i < count && !in->failed; i++) {
        struct metadata_row_group *group = &footer->row_groups[i];
        struct thrift_field inner = {0};
        while (thrift_field_next(in, &inner)) {
            if (inner.id == 1) {
                decode_chunks(in, &inner, arena, group);
            } else if (inner.id == 3) {
                group->rows_count = thrift_read_i64(in, &inner);
            } else {
                thrift_skip(in, &inner);
            }
        }
        if (group->rows_count < 0) {
            cursor_fail(in);
        }
        footer->row_groups_count = i + 1;
    }
}

/* ---- the rest of the footer ---- */

static void decode_key_values(struct cursor *in, const struct thrift_field *field,
                              struct arena *arena, struct metadata_footer *footer)
{
    size_t count = thrift_read_list(in, field, THRIFT_STRUCT);
    footer->key_values = list_alloc(in, arena, count, sizeof *footer->key_values);
    for (size_t i = 0; i < count && !in->failed; i++) {
        struct thrift_field inner = {0};
        while (thrift_field_next(in, &inner)) {
            if (inner.id == 1) {
                footer->key_values[i].key = thrift_read_binary(in, &inner);
            } else if (inner.id == 2) {
                footer->key_values[i].value = thrift_read_binary(in, &inner);
            } else {
                thrift_skip(in, &inner);
            }
        }
        footer->key_values_count = i + 1;
    }
}

static void decode_orders(struct cursor *in, const struct thrift_field *field, struct arena *arena,
                          struct metadata_footer *footer)
{
    size_t count = thrift_read_list(in, field, THRIFT_STRUCT);
    footer->type_ordered = list_alloc(in, arena, count, sizeof *footer->type_ordered);
    for (size_t i = 0; i < count && !in->failed; i++) {
        struct thrift_field inner = {0};
        while (thrift_field_next(in, &inner)) {
            footer->type_ordered[i] = inner.id == 1; /* TypeDefinedOrder */
            thrift_skip(in, &inner);
        }
        footer->orders_count = i + 1;
    }
}

enum err_code metadata_footer_decode(struct span bytes, struct arena *arena,
                                     struct metadata_footer *footer_out, struct err *err)
{
    struct metadata_footer footer = {0};
    struct cursor in = cursor_of(bytes);
    struct thrift_field field = {0};
    while (thrift_field_next(&in, &field)) {
        switch (field.id) {
        case 2:
            decode_schema(&in, &field, arena, &footer);
            break;
        case 3:
            footer.rows_count = thrift_read_i64(&in, &field);
            break;
        case 4:
            decode_row_groups(&in, &field, arena, &footer);
            break;
        case 5:
            decode_key_values(&in, &field, arena, &footer);
            break;
        case 6:
            footer.created_by = thrift_read_binary(&in, &field);
            break;
        case 7:
            decode_orders(&in, &field, arena, &footer);
            break;
        case 8: /* encryption_algorithm: the footer is plain, columns may not be */
            footer.encrypted = true;
            thrift_skip(&in, &field);
            break;
        default:
            thrift_skip(&in, &field);
            break;
        }
    }
    if (arena->overflowed) {
        return err_set(err, ERR_TOO_LARGE, "footer needs more than %zu bytes of memory",
                       arena->used_max);
    }
    TRY(cursor_check(&in, "footer", err));
    *footer_out = footer;
    return ERR_OK;
}

/* ---- page headers ---- */

static void decode_data_page(struct cursor *in, struct metadata_page *page)
{
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        switch (field.id) {
        case 1:
            page->values_count = thrift_read_i32(in, &field);
            break;
        case 2:
            page->encoding = thrift_read_i32(in, &field);
            break;
        case 3:
            page->definition_encoding = thrift_read_i32(in, &field);
            break;
        case 4:
            page->repetition_encoding = thrift_read_i32(in, &field);
            break;
        default:
            thrift_skip(in, &field);
            break;
        }
    }
}

static void decode_dictionary_page(struct cursor *in, struct metadata_page *page)
{
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        if (field.id == 1) {
            page->values_count = thrift_read_i32(in, &field);
        } else if (field.id == 2) {
            page->encoding = thrift_read_i32(in, &field);
        } else {
            thrift_skip(in, &field);
        }
    }
}

static void decode_data_page_v2(struct cursor *in, struct metadata_page *page)
{
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        switch (field.id) {
        case 1:
            page->values_count = thrift_read_i32(in, &field);
            break;
        case 2:
            page->nulls_count = thrift_read_i32(in, &field);
            break;
        case 3:
            page->rows_count = thrift_read_i32(in, &field);
            break;
        case 4:
            page->encoding = thrift_read_i32(in, &field);
            break;
        case 5:
            page->definition_bytes = thrift_read_i32(in, &field);
            break;
        case 6:
            page->repetition_bytes = thrift_read_i32(in, &field);
            break;
        case 7:
            page->compressed = thrift_read_bool(in, &field);
            break;
        default:
            thrift_skip(in, &field);
            break;
        }
    }
    if (page->nulls_count < 0 || page->nulls_count > page->values_count || page->rows_count < 0 ||
        page->definition_bytes < 0 || page->repetition_bytes < 0) {
        cursor_fail(in);
    }
}

static void decode_page_body(struct cursor *in, const struct thrift_field *field,
                             struct metadata_page *page)
{
    thrift_read_struct(in, field);
    if (field->id == 5) {
        decode_data_page(in, page);
    } else if (field->id == 7) {
        decode_dictionary_page(in, page);
    } else {
        decode_data_page_v2(in, page);
    }
}

static enum err_code check_page(const struct metadata_page *page, int body, struct err *err)
{
    static const int bodies[] = {[PARQUET_DATA_PAGE] = 5,
                                 [PARQUET_INDEX_PAGE] = 0,
                                 [PARQUET_DICTIONARY_PAGE] = 7,
                                 [PARQUET_DATA_PAGE_V2] = 8};
    if (page->type < PARQUET_DATA_PAGE || page->type > PARQUET_DATA_PAGE_V2 ||
        (bodies[page->type] != 0 && bodies[page->type] != body) || page->raw_bytes < 0 ||
        page->packed_bytes < 0 || page->values_count < 0) {
        return err_set(err, ERR_CORRUPT, "page header contradicts itself");
    }
    if (page->raw_bytes > PARQUET_PAGE_BYTES_MAX || page->values_count > PARQUET_PAGE_VALUES_MAX) {
        return err_set(err, ERR_UNSUPPORTED,
                       "page of %d bytes and %d values; the limits are %d and %d", page->raw_bytes,
                       page->values_count, PARQUET_PAGE_BYTES_MAX, PARQUET_PAGE_VALUES_MAX);
    }
    return ERR_OK;
}

enum err_code metadata_page_decode(struct span bytes, struct metadata_page *page_out,
                                   size_t *size_out, struct err *err)
{
    struct metadata_page page = {.type = (enum parquet_page_type)(-1),
                                 .rows_count = -1,
                                 .nulls_count = -1,
                                 .compressed = true};
    struct cursor in = cursor_of(bytes);
    struct thrift_field field = {0};
    int body = 0;
    while (thrift_field_next(&in, &field)) {
        switch (field.id) {
        case 1:
            page.type = (enum parquet_page_type)thrift_read_i32(&in, &field);
            break;
        case 2:
            page.raw_bytes = thrift_read_i32(&in, &field);
            break;
        case 3:
            page.packed_bytes = thrift_read_i32(&in, &field);
            break;
        case 4:
            page.checksum = (uint32_t)thrift_read_i32(&in, &field);
            page.has_checksum = true;
            break;
        case 5: /* DataPageHeader */
        case 7: /* DictionaryPageHeader */
        case 8: /* DataPageHeaderV2 */
            if (body != 0) {
                cursor_fail(&in);
            }
            body = field.id;
            decode_page_body(&in, &field, &page);
            break;
        default:
            thrift_skip(&in, &field);
            break;
        }
    }
    TRY(cursor_check(&in, "page header", err));
    TRY(check_page(&page, body, err));
    *page_out = page;
    *size_out = in.position;
    return ERR_OK;
}

void metadata_page_encode(const struct metadata_page *page, struct buffer *out)
{
    int last = 0;
    thrift_write_i32(out, &last, 1, (int32_t)page->type);
    thrift_write_i32(out, &last, 2, page->raw_bytes);
    thrift_write_i32(out, &last, 3, page->packed_bytes);
    if (page->has_checksum) {
        thrift_write_i32(out, &last, 4, (int32_t)page->checksum);
    }
    assert(page->type == PARQUET_DATA_PAGE || page->type == PARQUET_DICTIONARY_PAGE);
    bool data = page->type == PARQUET_DATA_PAGE;
    thrift_write_struct(out, &last, data ? 5 : 7);
    int inner = 0;
    thrift_write_i32(out, &inner, 1, page->values_count);
    thrift_write_i32(out, &inner, 2, page->encoding);
    if (data) {
        thrift_write_i32(out, &inner, 3, PARQUET_RLE);
        thrift_write_i32(out, &inner, 4, PARQUET_RLE);
    }
    thrift_write_stop(out);
    thrift_write_stop(out);
}

/* ---- offset index ---- */

static void decode_location(struct cursor *in, struct metadata_location *location)
{
    struct thrift_field field = {0};
    while (thrift_field_next(in, &field)) {
        if (field.id == 1) {
            location->offset = thrift_read_i64(in, &field);
        } else if (field.id == 2) {
            location->packed_bytes = thrift_read_i32(in, &field);
        } else if (field.id == 3) {
            location->first_row = thrift_read_i64(in, &field);
        } else {
            thrift_skip(in, &field);
        }
    }
    if (location->offset < 0 || location->packed_bytes < 0) {
        cursor_fail(in);
    }
}

static void decode_locations(struct cursor *in, const struct thrift_field *field,
                             struct arena *arena, struct metadata_location **locations_out,
                             size_t *count_out)
{
    size_t count = thrift_read_list(in, field, THRIFT_STRUCT);
    struct metadata_location *locations = list_alloc(in, arena, count, sizeof *locations);
    for (size_t i = 0; i < count && !in->failed; i++) {
        decode_location(in, &locations[i]);
        int64_t least = i == 0 ? 0 : locations[i - 1].first_row;
        if (locations[i].first_row < least || (i == 0 && locations[i].first_row != 0)) {
            cursor_fail(in);
        }
    }
    *locations_out = locations;
    *count_out = count;
}

size_t metadata_location_of(const struct metadata_location *locations, size_t count, int64_t row)
{
    size_t low = 0;
    size_t high = count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (locations[middle].first_row <= row) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

enum err_code metadata_offset_index_decode(struct span bytes, struct arena *arena,
                                           struct metadata_location **locations_out,
                                           size_t *count_out, struct err *err)
{
    struct metadata_location *locations = NULL;
    size_t count = 0;
    struct cursor in = cursor_of(bytes);
    struct thrift_field field = {0};
    while (thrift_field_next(&in, &field)) {
        if (field.id == 1) {
            decode_locations(&in, &field, arena, &locations, &count);
        } else {
            thrift_skip(&in, &field);
        }
    }
    if (arena->overflowed) {
        return err_set(err, ERR_TOO_LARGE, "offset index needs more than %zu bytes of memory",
                       arena->used_max);
    }
    TRY(cursor_check(&in, "offset index", err));
    *locations_out = locations;
    *count_out = count;
    return ERR_OK;
}
