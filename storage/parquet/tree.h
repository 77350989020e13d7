/*
 * A file's schema as a tree: what the footer's flat list of elements means.
 * Levels, leaves, and on request the logical shape of lists and maps.
 * Source: parquet-format LogicalTypes.md "Nested Types" and its compatibility rules.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/parquet/metadata.h"
#include "storage/parquet/nested.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One element with its place; index 0 is the root. Depth-first, as in the footer. */
struct tree_element {
    const struct metadata_element *element;
    size_t next;        /* index after this element's subtree: its next sibling or beyond */
    size_t parent;      /* of the root: 0 */
    uint8_t definition; /* level at which this element is present */
    uint8_t repetition;
    size_t first_leaf; /* ordinal of the first leaf in the subtree */
    size_t leaves_count;
};

/* One leaf column. */
struct tree_leaf {
    size_t element;   /* index of its tree_element */
    const char *path; /* "add.partitionValues.key_value.key", for messages */
};

struct tree {
    size_t elements_count;
    struct tree_element *elements;
    size_t leaves_count;
    struct tree_leaf *leaves;
};

/*
 * Everything lives in `arena`; borrows the footer.
 * Errors: ERR_CORRUPT child counts that do not add up; ERR_UNSUPPORTED too deep or large.
 */
enum err_code tree_build(const struct metadata_footer *footer, struct arena *arena,
                         struct tree *tree_out, struct err *err) MUST_USE;

/* Index of the top-level element by name: exactly, else ignoring ASCII case when unique; 0 = none.
 */
size_t tree_find_column(const struct tree *tree, struct span name);

/* The same by what a field is called in files: by its id when it has one, else by physical name. */
size_t tree_find_field(const struct tree *tree, const struct field *field);

/* Meanings that frames have no type for. */
enum leaf_oddity {
    LEAF_NOT_ODD,
    LEAF_TIME,     /* INT32, INT64 in `unit` since midnight */
    LEAF_INTERVAL, /* FIXED of 12 bytes */
    LEAF_UUID,     /* FIXED of 16 bytes */
    LEAF_FLOAT16,  /* FIXED of 2 bytes */
};
const char *leaf_oddity_name(enum leaf_oddity odd); /* "TIME" */

/* What a leaf's values are. */
struct leaf_meaning {
    enum parquet_kind kind;
    bool is_unsigned; /* PARQUET_INTEGER */
    int bits;         /* PARQUET_INTEGER: 8, 16, 32, 64 */
    int unit;         /* times, timestamps: enum parquet_unit; INT96 counts as µs (is converted) */
    int precision;    /* decimal */
    int scale;        /* decimal */
    enum leaf_oddity odd;
};
struct leaf_meaning leaf_meaning_of(const struct metadata_element *element);

/* A logical node with what assembling rows needs. `node` is first, so that both convert. */
struct tree_node {
    struct parquet_node node;
    uint8_t definition;          /* level at which the value is not null */
    uint8_t repeated_definition; /* lists, maps: level at which there is an element */
    uint8_t repetition;          /* lists, maps: repetition level of further elements */
    size_t first_leaf;           /* in the subtree; of a leaf: itself */
    size_t leaves_count;
};

/* Every node is the beginning of one. */
static inline const struct tree_node *tree_node_of(const struct parquet_node *node)
{
    return (const struct tree_node *)(const void *)node;
}

/* Is a top-level column anything but one leaf of one value a row? */
static inline bool tree_is_nested(const struct tree_element *column)
{
    return column->element->type == PARQUET_TYPE_NONE || column->repetition > 0;
}

/* The logical node of the element at `index`, with everything below. */
enum err_code tree_node_build(const struct tree *tree, size_t index, struct arena *arena,
                              const struct tree_node **node_out, struct err *err) MUST_USE;
