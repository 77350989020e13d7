/*
 * What frame.c, frame_copy.c and row.c know of columns: private to them.
 */
#pragma once

#include "storage/columns/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool column_has_bytes(const struct column *column)
{
    return column->type == COLUMN_STRING || column->type == COLUMN_BINARY;
}

/* Arrays and maps. */
static inline bool column_has_elements(const struct column *column)
{
    return column->type == COLUMN_ARRAY || column->type == COLUMN_MAP;
}

static inline size_t column_slot_bytes(const struct column *column)
{
    return column_has_bytes(column) || column_has_elements(column)
               ? sizeof(uint32_t)
               : column_type_slot_bytes(column->type);
}

/* Where the next value of an array or map ends: the rows its children have by now. */
static inline uint32_t column_elements_end(const struct column *column)
{
    return (uint32_t)column->children[0].rows_count;
}

/* Bits [start, end) set or cleared. */
void column_fill_bits(uint8_t *bits, int64_t start, int64_t end, bool value);

/* From now on the column says of each value whether it is present. */
void column_start_present(struct column *column);

/* Room for `rows` more entries in the arrays that the frame itself keeps. */
void frame_reserve_row_arrays(struct frame *frame, int64_t rows);

/* The arrays exist only from the first row on that needs them; earlier rows read as zero. */
void frame_start_row_arrays(struct frame *frame, bool operations, bool lines);

/* Operation and line of a row for which there is room. */
void frame_set_row(struct frame *frame, int64_t row, enum frame_operation operation, int64_t line);
