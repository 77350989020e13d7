/*
 * Packing a chunk's non-null values densely, in the types and the order of the
 * file. See gather.h.
 */
#include "storage/parquet/gather.h"

#include "storage/base/mem.h"

#include <assert.h>

enum { DENSE_BYTES = 16 }; /* of the widest value */

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

static void select_ordered(const struct chunk_input *input, size_t count, uint32_t *selected)
{
    for (size_t i = 0; i < count; i++) {
        selected[i] = (uint32_t)input->order[i];
    }
}

/*
 * The slots of `count` values as the file stores them. `selected` NULL: rows from
 * `start` on, borrowed where memory and file agree.
 */
static const void *gather_slots(const struct leaf_type *leaf, const struct chunk_input *input,
                                const uint32_t *selected, size_t count, void *dense)
{
    const struct column *column = input->column;
    int64_t start = input->start;
    if (count == 0) {
        return dense;
    }
    if (selected == NULL && column->type != COLUMN_DECIMAL && column->type != COLUMN_FLOAT) {
        size_t width = leaf_slot_bytes(leaf->kind);
        return (const uint8_t *)column->values.slots + (size_t)start * width;
    }
    size_t first = (size_t)start;
    switch (leaf->kind) {
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

static void gather_pieces(const struct chunk_input *input, const uint32_t *selected, size_t count,
                          struct leaf_piece *pieces)
{
    const uint32_t *ends = input->column->values.ends;
    if (selected == NULL) {
        int64_t first = input->start;
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

struct leaf_values gather_values(struct parquet_writer_context *context,
                                 const struct leaf_type *leaf, const struct chunk_input *input,
                                 const uint8_t **valid_out)
{
    const struct column *column = input->column;
    bool nested = input->definitions != NULL;
    size_t count = (size_t)(nested ? input->values_count : input->count);
    reserve_rows(context, count);
    const uint32_t *selected = NULL;
    *valid_out = NULL;
    if (!nested && column->nulls_count > 0) {
        count = select_valid(input, context->selected, context->valid);
        selected = context->selected;
        *valid_out = context->valid;
    } else if (input->order != NULL) {
        select_ordered(input, count, context->selected);
        selected = context->selected;
    }
    struct leaf_values values = {.type = *leaf, .count = count};
    if (leaf->kind == LEAF_BYTES) {
        gather_pieces(input, selected, count, context->pieces);
        values.pieces = context->pieces;
        /* a column of empty strings may have no bytes at all */
        values.bytes = column->bytes != NULL ? column->bytes : (const uint8_t *)"";
        values.bytes_readable = column->bytes_capacity;
    } else {
        values.slots = gather_slots(leaf, input, selected, count, context->dense);
    }
    return values;
}
