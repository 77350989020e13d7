/*
 * Nested values into columns: what JSON bodies, JSON in CSV cells and rows of files
 * share. A value is begun, gets its parts through the decoder's ordinary calls, and
 * is ended here. See decoder.h.
 */
#include "storage/columns/decoder.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* The children of every nested field stand behind each other, after all columns. */
size_t decoder_nested_count(const struct field *fields, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += fields[i].children_count +
                 decoder_nested_count(fields[i].children, fields[i].children_count);
    }
    return total;
}

/* Fixed bytes that a value of the field takes, without what is in arrays and maps. */
int64_t decoder_slot_bytes(const struct field *field)
{
    size_t slot = column_type_slot_bytes(field->type);
    int64_t total =
        field->type == COLUMN_STRUCT ? 0 : (int64_t)(slot > 0 ? slot : sizeof(uint32_t));
    for (size_t i = 0; field->type == COLUMN_STRUCT && i < field->children_count; i++) {
        total += decoder_slot_bytes(&field->children[i]);
    }
    return total;
}

int decoder_child_index(const struct decoder *decoder, size_t index, struct span name)
{
    const struct decode_field *parent = &decoder->fields[index];
    for (size_t i = 0; i < parent->field->children_count; i++) {
        size_t child = parent->first_child + i;
        if (span_equal_text(name, decoder->fields[child].field->name)) {
            return (int)child;
        }
    }
    return -1;
}

bool decoder_claim_child(struct decoder *decoder, size_t index)
{
    const struct decode_field *child = &decoder->fields[index];
    if (child->column->rows_count > decoder->fields[child->parent].column->rows_count) {
        decoder_fault(decoder, index, DECODE_DUPLICATE_FIELD, "is given twice in one object");
        return false;
    }
    return true;
}

void decoder_begin_elements(struct decoder *decoder, size_t index)
{
    decoder->fields[index].elements = 0;
}

bool decoder_begin_element(struct decoder *decoder, size_t index)
{
    struct decode_field *described = &decoder->fields[index];
    decoder->elements_bytes += described->element_bytes;
    described->elements++;
    if (decoder->elements_bytes <= decoder->options.frame_bytes_max) {
        return true;
    }
    decoder_fault(decoder, index, DECODE_RANGE, "has more elements than memory allows, %lld bytes",
                  (long long)decoder->options.frame_bytes_max);
    return false;
}

void decoder_end_struct(struct decoder *decoder, size_t index)
{
    const struct decode_field *described = &decoder->fields[index];
    int64_t row = described->column->rows_count;
    for (size_t i = 0; i < described->field->children_count; i++) {
        size_t child = described->first_child + i;
        const struct decode_field *part = &decoder->fields[child];
        if (part->column->rows_count > row) {
            continue;
        }
        if (!part->field->nullable) {
            decoder_fault_missing(decoder, child, "absent");
        }
        column_append_null(part->column);
    }
    column_append_nested(described->column);
}

static int compare_keys(const void *a, const void *b)
{
    return span_compare(*(const struct span *)a, *(const struct span *)b);
}

/* The bytes of a key: equal keys have equal ones. Borrowed from the column. */
static struct span key_bytes(const struct column *keys, int64_t row)
{
    size_t size = column_type_slot_bytes(keys->type);
    return size == 0 ? column_bytes(keys, row)
                     : span_of((const uint8_t *)keys->values.slots + (size_t)row * size, size);
}

/* spec: delta and Spark know one value a key */
static bool has_equal_keys(const struct column *keys, int64_t start, int64_t end)
{
    size_t count = (size_t)(end - start);
    bool found = false;
    CLEANUP(mem_cleanup) struct span *sorted = mem_zeroed(count + 1, sizeof *sorted);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = key_bytes(keys, start + (int64_t)i);
    }
    qsort(sorted, count, sizeof *sorted, compare_keys);
    for (size_t i = 1; i < count && !found; i++) {
        found = span_equal(sorted[i - 1], sorted[i]);
    }
    return found;
}

void decoder_end_elements(struct decoder *decoder, size_t index)
{
    const struct decode_field *described = &decoder->fields[index];
    struct column *column = described->column;
    int64_t row = column->rows_count;
    column_append_nested(column);
    struct column_stretch stretch = column_elements(column, row);
    const struct column *keys = &column->children[0];
    if (column->type == COLUMN_MAP && stretch.end - stretch.start > 1 && keys->nulls_count == 0 &&
        has_equal_keys(keys, stretch.start, stretch.end)) {
        decoder_fault(decoder, index, DECODE_DUPLICATE_FIELD, "has a key twice");
    }
}

void decoder_put_nothing_after(struct decoder *decoder, size_t index, int64_t rows_before)
{
    struct column *column = decoder->fields[index].column;
    column_truncate(column, rows_before);
    column_append_null(column);
}
