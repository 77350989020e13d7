/*
 * What a footer says about a column, as far as it can be trusted. See
 * parquet_reader_statistics in reader.h.
 * Source: parquet.thrift Statistics and ColumnOrder; PARQUET-251; PARQUET-1222.
 */
#include "storage/parquet/reader.h"

#include "storage/parquet/convert.h"
#include "storage/parquet/reader_state.h"

#include <assert.h>
#include <string.h>

/* Bounds as the file has them, from the fields that may be trusted. */
struct stated_bounds {
    struct span min, max;
    bool min_exact, max_exact;
};

/*
 * PARQUET-251: parquet-mr before 1.10 wrote wrong bounds of binary columns in
 * the deprecated fields; those are not used here. What is left to distrust in
 * the new fields is a missing or foreign column order.
 */
static bool find_bounds(const struct parquet_reader *reader, const struct metadata_chunk *chunk,
                        size_t leaf, const struct leaf_meaning *meaning,
                        struct stated_bounds *bounds_out)
{
    const struct metadata_statistics *statistics = &chunk->statistics;
    bool ordered = leaf < reader->footer.orders_count && reader->footer.type_ordered[leaf];
    if (chunk->type == PARQUET_TYPE_INT96) {
        return false; /* its order is undefined */
    }
    if (ordered && statistics->min_value.data != NULL && statistics->max_value.data != NULL) {
        *bounds_out = (struct stated_bounds){.min = statistics->min_value,
                                             .max = statistics->max_value,
                                             .min_exact = statistics->min_exact,
                                             .max_exact = statistics->max_exact};
        return true;
    }
    /* the deprecated fields were compared as signed numbers: right for those only */
    bool is_number = meaning->kind != PARQUET_TEXT && meaning->kind != PARQUET_BINARY &&
                     chunk->type != PARQUET_TYPE_FIXED && chunk->type != PARQUET_TYPE_BYTE_ARRAY &&
                     !meaning->is_unsigned;
    if (is_number && statistics->min.data != NULL && statistics->max.data != NULL) {
        *bounds_out = (struct stated_bounds){
            .min = statistics->min, .max = statistics->max, .min_exact = true, .max_exact = true};
        return true;
    }
    return false;
}

/* One encoded bound as a batch of one value, to be converted as data is. */
static bool decode_bound(const struct metadata_element *element, struct span bytes,
                         struct batch *batch)
{
    batch->count = 1;
    batch->values_count = 1;
    if (element->type == PARQUET_TYPE_BYTE_ARRAY) {
        memcpy(batch->values, &bytes, sizeof bytes);
        return true;
    }
    if (element->type == PARQUET_TYPE_BOOLEAN) {
        batch->values[0] = bytes.size == 1 ? bytes.data[0] & 1 : 0;
        return bytes.size == 1;
    }
    CLEANUP(values_deinit) struct values_decoder decoder = {0};
    struct err ignored = {0};
    const struct values_page page = {.type = element->type,
                                     .fixed_bytes = element->type_length,
                                     .encoding = PARQUET_PLAIN,
                                     .bytes = bytes,
                                     .values_max = 1};
    return values_begin(&decoder, &page, &ignored) == ERR_OK &&
           values_next(&decoder, 1, batch->values, &ignored) == ERR_OK;
}

static void keep_bytes(struct span value, bool exact, struct parquet_bound *bound)
{
    size_t size = value.size < PARQUET_STATISTICS_BYTES ? value.size : PARQUET_STATISTICS_BYTES;
    if (size > 0) {
        memcpy(bound->bytes, value.data, size);
    }
    bound->bytes_size = (uint16_t)size;
    bound->exact = exact && size == value.size;
}

static void keep_slot(const struct field *field, const uint8_t *slot, struct parquet_bound *bound)
{
    const void *value = slot;
    bound->exact = true;
    switch (column_type_slot_bytes(field->type)) {
    case 1:
        bound->i64 = *(const uint8_t *)value;
        break;
    case 4:
        bound->i64 = *(const int32_t *)value;
        break;
    case 16:
        bound->i128 = *(const __int128 *)value;
        break;
    default:
        if (field->type == COLUMN_DOUBLE || field->type == COLUMN_FLOAT) {
            bound->f64 = *(const double *)value;
        } else {
            bound->i64 = *(const int64_t *)value;
        }
        break;
    }
}

/* A bound that does not decode, is NaN or is out of range is no bound. */
static bool convert_bound(const struct metadata_element *element, const struct convert_plan *plan,
                          const struct field *field, struct span bytes, bool exact,
                          struct parquet_bound *bound)
{
    struct batch batch;
    if (!decode_bound(element, bytes, &batch)) {
        return false;
    }
    if (plan->kind == CONVERT_BYTES) {
        struct span value;
        memcpy(&value, batch.values, sizeof value);
        keep_bytes(value, exact, bound);
        return true;
    }
    alignas(16) uint8_t slot[16];
    if (!convert_one(plan, &batch, slot)) {
        return false;
    }
    keep_slot(field, slot, bound);
    bool is_real = field->type == COLUMN_DOUBLE || field->type == COLUMN_FLOAT;
    return !is_real || bound->f64 == bound->f64;
}

static bool is_real(const struct field *field)
{
    return field->type == COLUMN_DOUBLE || field->type == COLUMN_FLOAT;
}

static int compare_bounds(const struct field *field, const struct parquet_bound *a,
                          const struct parquet_bound *b)
{
    if (field->type == COLUMN_DECIMAL) {
        return a->i128 < b->i128 ? -1 : a->i128 > b->i128;
    }
    if (is_real(field)) {
        return a->f64 < b->f64 ? -1 : a->f64 > b->f64;
    }
    if (column_type_slot_bytes(field->type) > 0) {
        return a->i64 < b->i64 ? -1 : a->i64 > b->i64;
    }
    return span_compare(parquet_bound_span(a), parquet_bound_span(b));
}

static void find_range(const struct parquet_reader *reader, const struct metadata_chunk *chunk,
                       size_t leaf, const struct field *field,
                       struct parquet_column_statistics *statistics)
{
    const struct metadata_element *element =
        reader->tree.elements[reader->tree.leaves[leaf].element].element;
    struct leaf_meaning meaning = leaf_meaning_of(element);
    struct convert_plan plan;
    struct stated_bounds bounds;
    struct err ignored = {0};
    bool legacy = reader->legacy_calendar;
    if (convert_plan_make(element, field, legacy, &plan, &ignored) != ERR_OK ||
        plan.check_calendar || meaning.odd != LEAF_NOT_ODD ||
        !find_bounds(reader, chunk, leaf, &meaning, &bounds)) {
        return;
    }
    statistics->has_range =
        convert_bound(element, &plan, field, bounds.min, bounds.min_exact, &statistics->min) &&
        convert_bound(element, &plan, field, bounds.max, bounds.max_exact, &statistics->max) &&
        compare_bounds(field, &statistics->min, &statistics->max) <= 0;
    /* a maximum that was cut here is below the values: keep it only while it is a bound */
    if (statistics->has_range && bounds.max.size > PARQUET_STATISTICS_BYTES &&
        plan.kind == CONVERT_BYTES) {
        statistics->has_range = false;
    }
    if (is_real(field) && statistics->has_range) {
        statistics->has_nan = true; /* bounds do not tell; some writers leave NaN out of them */
    }
}

void parquet_reader_statistics(const struct parquet_reader *reader, size_t row_group,
                               const struct field *field,
                               struct parquet_column_statistics *statistics_out)
{
    assert(row_group < reader->footer.row_groups_count);
    const struct metadata_row_group *group = &reader->footer.row_groups[row_group];
    struct parquet_column_statistics statistics = {.values_count = 0, .nulls_count = -1};
    size_t element = tree_find_field(&reader->tree, field);
    if (element == 0) {
        statistics.nulls_count = group->rows_count;
        *statistics_out = statistics;
        return;
    }
    const struct tree_element *found = &reader->tree.elements[element];
    if (found->element->type == PARQUET_TYPE_NONE || found->repetition > 0 ||
        column_type_is_nested(field->type)) {
        *statistics_out = statistics;
        return;
    }
    const struct metadata_chunk *chunk = &group->chunks[found->first_leaf];
    int64_t nulls = chunk->statistics.nulls_count;
    if (found->definition == 0) {
        nulls = 0; /* required */
    }
    if (nulls >= 0 && nulls <= group->rows_count) {
        statistics.nulls_count = nulls;
        statistics.values_count = group->rows_count - nulls;
    }
    find_range(reader, chunk, found->first_leaf, field, &statistics);
    *statistics_out = statistics;
}
