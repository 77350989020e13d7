/*
 * Fields of a frame to leaves of a file: the schema's elements of a field, and for
 * each of its leaves the levels that say which nested values are there.
 * Source: parquet-format LogicalTypes.md "Nested Types" (three-level lists); Dremel's levels.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/parquet/file_writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One field on the way down from a column to a leaf. */
struct shred_step {
    size_t child;       /* which of its children the way goes on with; unused at the leaf */
    uint8_t definition; /* level at which it is there; of an array or map without elements, too */
    uint8_t repetition; /* array, map: level of every element but the first */
    bool is_required;   /* keys of maps: null has no level */
};

struct shred_leaf {
    size_t field;             /* index into the schema's fields */
    struct shred_step *steps; /* from that field down to the leaf; one of a flat field */
    const char **path;        /* names below the root, borrowed from the schema */
    size_t steps_count, path_count;
    uint8_t definition_max;
    uint8_t repetition_max;
};
void shred_leaf_deinit(struct shred_leaf *leaf);

/* Leaves of a field: 1 of a flat one. */
size_t shred_leaves_count(const struct field *field);

/*
 * Write the schema's elements of `field`, which the schema has at `index`, and describe its leaves
 * in file order. Everything but keys of maps is OPTIONAL.
 */
void shred_place(const struct field *field, size_t index, struct file_writer *file,
                 struct shred_leaf *leaves_out);

/* Rows of a frame: those of `order`, or from `start` on. */
struct shred_rows {
    const int64_t *order; /* NULL: start, start + 1, … */
    int64_t start;
    int64_t count;
};

/* Levels of one leaf; memory is kept from one to the next. Starts zeroed. */
struct shred_levels {
    uint8_t *definitions;
    uint8_t *repetitions;
    size_t count, capacity;
    int64_t *values; /* rows of the leaf's column that have a value, in file order */
    size_t values_count, values_capacity;
};
void shred_levels_deinit(struct shred_levels *levels);

/* The column that holds the leaf's values, within that of its field. */
const struct column *shred_column(const struct shred_leaf *leaf, const struct column *column);

/*
 * Fill `levels` for the rows of `column`, the leaf's field.
 * Errors:  ERR_INVALID a map has a null as key, which no file can hold.
 */
enum err_code shred_levels_of(const struct shred_leaf *leaf, const struct column *column,
                              const struct shred_rows *rows, struct shred_levels *levels,
                              struct err *err) MUST_USE;
