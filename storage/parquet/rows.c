/*
 * Nested rows: assembling values from leaves and levels. See nested.h for the
 * contract; the shape of the tree is tree.c's.
 * Source: the Dremel record assembly; parquet-format README "Nested Encoding".
 */
#include "storage/parquet/nested.h"

#include "storage/base/mem.h"
#include "storage/parquet/convert.h"
#include "storage/parquet/nested_stream.h"
#include "storage/parquet/reader_state.h"

#include <assert.h>
#include <string.h>

enum { ITEMS_FIRST = 4, TREE_MEMORY_MAX = 256 << 20, LOCATIONS_MEMORY_MAX = 256 << 20 };

/* One leaf's stream of entries, and what they mean. */
struct leaf_stream {
    struct nested_stream entries;
    struct leaf_meaning meaning;
    enum parquet_type type;
};

struct parquet_rows {
    struct parquet_reader *reader;
    struct arena tree_arena;      /* nodes; until the end */
    struct arena row_arena;       /* values; until the next row */
    struct arena locations_arena; /* of the row group */
    struct tree_node root;
    int64_t *absent;     /* a column: rows without it that only its first leaf has passed over */
    size_t leaves_count; /* of the file */
    struct leaf_stream **leaves; /* by ordinal; NULL = not wanted */
    size_t row_group;            /* current; rows_left 0: to be opened */
    int64_t rows_left;           /* of the current row group */
};

/* ---- leaves ---- */

static void free_leaf(struct leaf_stream *leaf)
{
    if (leaf != NULL) {
        nested_stream_deinit(&leaf->entries);
        mem_free(leaf);
    }
}

/* Levels of a leaf's next entry. */
struct peeked {
    bool ended; /* of the chunk */
    uint8_t definition;
    uint8_t repetition;
};

static enum err_code peek(struct parquet_rows *rows, struct leaf_stream *leaf,
                          struct peeked *peeked_out, struct err *err)
{
    const struct nested_stream *entries = &leaf->entries;
    TRY(nested_stream_peek(&leaf->entries, rows->reader, err));
    if (entries->ended) {
        *peeked_out = (struct peeked){.ended = true};
        return ERR_OK;
    }
    *peeked_out = (struct peeked){.definition = entries->definitions[entries->entry],
                                  .repetition = entries->repetitions[entries->entry]};
    return ERR_OK;
}

/* ---- values ---- */

static enum err_code arena_full(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "one nested row needs more than %d bytes",
                   PARQUET_ROW_BYTES_MAX);
}

static enum err_code keep_bytes(struct arena *arena, struct span bytes, struct span *kept_out,
                                struct err *err)
{
    uint8_t *copy = arena_alloc(arena, bytes.size + 1);
    if (copy == NULL) {
        return arena_full(err);
    }
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    *kept_out = span_of(copy, bytes.size);
    return ERR_OK;
}

static enum err_code timestamp_us(const struct leaf_stream *leaf, int64_t stored, int64_t *us_out,
                                  struct err *err)
{
    *us_out = stored;
    if (leaf->meaning.unit == PARQUET_UNIT_NANOS) {
        *us_out = stored / 1000 - (stored % 1000 < 0);
    } else if (leaf->meaning.unit == PARQUET_UNIT_MILLIS &&
               __builtin_mul_overflow(stored, 1000, us_out)) {
        return err_set(err, ERR_CORRUPT, "column '%s': timestamp out of range",
                       leaf->entries.column.path);
    }
    return ERR_OK;
}

static int64_t integer_of(const struct leaf_stream *leaf, int32_t stored)
{
    return leaf->meaning.is_unsigned ? (int64_t)(uint32_t)stored : stored;
}

static enum err_code bytes_value(const struct leaf_stream *leaf, struct arena *arena,
                                 struct parquet_value *value, struct err *err)
{
    struct span bytes =
        ((const struct span *)(const void *)leaf->entries.slots)[leaf->entries.value];
    if (leaf->meaning.kind != PARQUET_DECIMAL) {
        return keep_bytes(arena, bytes, &value->bytes, err);
    }
    if (!convert_decimal_bytes(bytes, &value->decimal)) {
        return err_set(err, ERR_UNSUPPORTED, "column '%s': decimal of more than 128 bits",
                       leaf->entries.column.path);
    }
    return ERR_OK;
}

/* The leaf's next value, which is there. */
static enum err_code take_value(struct leaf_stream *leaf, struct arena *arena,
                                struct parquet_value *value, struct err *err)
{
    const void *values = leaf->entries.slots;
    size_t at = leaf->entries.value;
    bool is_decimal = leaf->meaning.kind == PARQUET_DECIMAL;
    switch (values_kind_of(leaf->type)) {
    case VALUES_U8:
        value->boolean = ((const uint8_t *)values)[at] != 0;
        break;
    case VALUES_I32:
        if (is_decimal) {
            value->decimal = ((const int32_t *)values)[at];
        } else {
            value->integer = integer_of(leaf, ((const int32_t *)values)[at]);
        }
        break;
    case VALUES_I64:
        if (is_decimal) {
            value->decimal = ((const int64_t *)values)[at];
        } else {
            TRY(timestamp_us(leaf, ((const int64_t *)values)[at], &value->integer, err));
        }
        break;
    case VALUES_F64:
        value->real = ((const double *)values)[at];
        break;
    case VALUES_SPANS:
        TRY(bytes_value(leaf, arena, value, err));
        break;
    }
    nested_stream_take(&leaf->entries);
    return ERR_OK;
}

/* ---- assembling ---- */

/*
 * Pass over one entry of every leaf below `node`: each must be absent at
 * `definition`, or the leaves contradict each other.
 */
static enum err_code take_absent(struct parquet_rows *rows, const struct tree_node *node,
                                 uint8_t definition, uint8_t repetition, struct err *err)
{
    for (size_t i = 0; i < node->leaves_count; i++) {
        struct leaf_stream *leaf = rows->leaves[node->first_leaf + i];
        struct peeked next;
        TRY(peek(rows, leaf, &next, err));
        if (next.ended || next.repetition != repetition || next.definition >= definition) {
            return nested_stream_disagree(&leaf->entries, err);
        }
        nested_stream_take(&leaf->entries);
    }
    return ERR_OK;
}

static const struct tree_node *child_of(const struct tree_node *node, size_t child)
{
    return (const struct tree_node *)(const void *)node->node.children[child];
}

static enum err_code assemble(struct parquet_rows *rows, const struct tree_node *node,
                              uint8_t repetition, struct parquet_value *value, struct err *err);

static enum err_code assemble_children(struct parquet_rows *rows, const struct tree_node *node,
                                       uint8_t repetition, struct parquet_value *items,
                                       struct err *err)
{
    for (size_t i = 0; i < node->node.children_count; i++) {
        TRY(assemble(rows, child_of(node, i), repetition, &items[i], err));
    }
    return ERR_OK;
}

static enum err_code assemble_group(struct parquet_rows *rows, const struct tree_node *node,
                                    uint8_t repetition, struct parquet_value *value,
                                    struct err *err)
{
    value->count = node->node.children_count;
    value->items = arena_alloc(&rows->row_arena, value->count * sizeof *value->items);
    if (value->items == NULL) {
        return arena_full(err);
    }
    return assemble_children(rows, node, repetition, value->items, err);
}

/* Twice the room for items; the old array stays in the arena until the next row. */
static enum err_code grow_items(struct parquet_rows *rows, struct parquet_value *value,
                                size_t *capacity, size_t step, struct err *err)
{
    size_t larger = *capacity > 0 ? *capacity * 2 : ITEMS_FIRST * step;
    struct parquet_value *items = arena_alloc(&rows->row_arena, larger * sizeof *items);
    if (items == NULL) {
        return arena_full(err);
    }
    if (value->count > 0) {
        memcpy(items, value->items, value->count * sizeof *items);
    }
    value->items = items;
    *capacity = larger;
    return ERR_OK;
}

/* Elements of a list, or key and value pairs of a map, as long as the first leaf repeats here. */
static enum err_code assemble_repeated(struct parquet_rows *rows, const struct tree_node *node,
                                       uint8_t repetition, struct parquet_value *value,
                                       struct err *err)
{
    size_t step = node->node.children_count;
    size_t capacity = 0;
    for (;;) {
        if (value->count + step > capacity) {
            TRY(grow_items(rows, value, &capacity, step, err));
        }
        TRY(assemble_children(rows, node, repetition, value->items + value->count, err));
        value->count += step;
        struct peeked next;
        TRY(peek(rows, rows->leaves[node->first_leaf], &next, err));
        if (next.ended || next.repetition < node->repetition) {
            return ERR_OK;
        }
        repetition = node->repetition;
    }
}

/* Maps whose pairs have only keys get null values, so that items always come in pairs. */
static enum err_code pair_up(struct parquet_rows *rows, struct parquet_value *value,
                             struct err *err)
{
    struct parquet_value *pairs = arena_alloc(&rows->row_arena, value->count * 2 * sizeof *pairs);
    if (pairs == NULL) {
        return arena_full(err);
    }
    for (size_t i = 0; i < value->count; i++) {
        pairs[2 * i] = value->items[i];
        pairs[2 * i + 1] = (struct parquet_value){.kind = PARQUET_NULL};
    }
    value->items = pairs;
    value->count *= 2;
    return ERR_OK;
}

/*
 * The value of `node` that starts with repetition level `repetition`. Recursion
 * is bounded by PARQUET_SCHEMA_DEPTH_MAX.
 */
static enum err_code assemble(struct parquet_rows *rows, const struct tree_node *node,
                              uint8_t repetition, struct parquet_value *value, struct err *err)
{
    *value = (struct parquet_value){.kind = PARQUET_NULL, .node = &node->node};
    if (node->leaves_count == 0) {
        return ERR_OK; /* a group without fields has nothing to say */
    }
    struct leaf_stream *leaf = rows->leaves[node->first_leaf];
    struct peeked next;
    TRY(peek(rows, leaf, &next, err));
    if (next.ended || next.repetition != repetition) {
        return nested_stream_disagree(&leaf->entries, err);
    }
    if (next.definition < node->definition) {
        return take_absent(rows, node, node->definition, repetition, err);
    }
    value->kind = node->node.kind;
    if (node->node.kind == PARQUET_GROUP) {
        return assemble_group(rows, node, repetition, value, err);
    }
    if (node->node.kind != PARQUET_LIST && node->node.kind != PARQUET_MAP) {
        return take_value(leaf, &rows->row_arena, value, err);
    }
    value->items = NULL;
    value->count = 0;
    if (next.definition < node->repeated_definition) {
        return take_absent(rows, node, node->repeated_definition, repetition, err);
    }
    TRY(assemble_repeated(rows, node, repetition, value, err));
    bool keys_only = node->node.kind == PARQUET_MAP && node->node.children_count == 1;
    return keys_only ? pair_up(rows, value, err) : ERR_OK;
}

/* ---- columns ---- */

/* The other leaves follow the first over rows without the column, many at once. */
static enum err_code catch_up(struct parquet_rows *rows, size_t column, struct err *err)
{
    const struct tree_node *node = child_of(&rows->root, column);
    int64_t count = rows->absent[column];
    rows->absent[column] = 0;
    for (size_t i = 1; count > 0 && i < node->leaves_count; i++) {
        struct nested_stream *entries = &rows->leaves[node->first_leaf + i]->entries;
        TRY(nested_stream_skip_absent(entries, rows->reader, count, node->definition, err));
    }
    return ERR_OK;
}

/* Rows of checkpoints have one column of seven: the leaves of the others need not be looked at. */
static enum err_code assemble_column(struct parquet_rows *rows, size_t column,
                                     struct parquet_value *value, struct err *err)
{
    const struct tree_node *node = child_of(&rows->root, column);
    struct leaf_stream *first = rows->leaves[node->first_leaf];
    struct peeked next;
    TRY(peek(rows, first, &next, err));
    if (!next.ended && next.repetition == 0 && next.definition < node->definition) {
        *value = (struct parquet_value){.kind = PARQUET_NULL, .node = &node->node};
        nested_stream_take(&first->entries);
        rows->absent[column]++;
        return ERR_OK;
    }
    TRY(catch_up(rows, column, err));
    return assemble(rows, node, 0, value, err);
}

static enum err_code assemble_row(struct parquet_rows *rows, struct parquet_value *row,
                                  struct err *err)
{
    row->count = rows->root.node.children_count;
    row->items = arena_alloc(&rows->row_arena, row->count * sizeof *row->items);
    if (row->items == NULL) {
        return arena_full(err);
    }
    for (size_t i = 0; i < row->count; i++) {
        TRY(assemble_column(rows, i, &row->items[i], err));
    }
    return ERR_OK;
}

/* ---- row groups ---- */

static enum err_code open_row_group(struct parquet_rows *rows, struct err *err)
{
    struct parquet_reader *reader = rows->reader;
    const struct metadata_row_group *group = &reader->footer.row_groups[rows->row_group];
    arena_reset(&rows->locations_arena);
    for (size_t i = 0; i < rows->leaves_count; i++) {
        if (rows->leaves[i] != NULL) {
            TRY(nested_stream_open(&rows->leaves[i]->entries, reader, rows->row_group,
                                   &rows->locations_arena, err));
        }
    }
    rows->rows_left = group->rows_count;
    return ERR_OK;
}

static enum err_code check_ended(struct parquet_rows *rows, struct err *err)
{
    for (size_t i = 0; i < rows->root.node.children_count; i++) {
        TRY(catch_up(rows, i, err));
    }
    for (size_t i = 0; i < rows->leaves_count; i++) {
        struct leaf_stream *leaf = rows->leaves[i];
        struct peeked next = {.ended = true};
        if (leaf != NULL) {
            TRY(peek(rows, leaf, &next, err));
        }
        if (!next.ended) {
            return err_set(err, ERR_CORRUPT, "column '%s' has more values than rows",
                           leaf->entries.column.path);
        }
    }
    return ERR_OK;
}

enum err_code parquet_rows_next(struct parquet_rows *rows, const struct parquet_value **row_out,
                                struct err *err)
{
    size_t groups = rows->reader->footer.row_groups_count;
    while (rows->rows_left == 0) {
        if (rows->row_group == groups) {
            *row_out = NULL;
            return ERR_OK;
        }
        TRY(open_row_group(rows, err));
        if (rows->rows_left == 0) {
            rows->row_group++;
        }
    }
    arena_reset(&rows->row_arena);
    struct parquet_value *row = arena_alloc(&rows->row_arena, sizeof *row);
    if (row == NULL) {
        return arena_full(err);
    }
    *row = (struct parquet_value){.kind = PARQUET_GROUP, .node = &rows->root.node};
    TRY(assemble_row(rows, row, err));
    rows->rows_left--;
    if (rows->rows_left == 0) {
        TRY(check_ended(rows, err));
        rows->row_group++;
    }
    *row_out = row;
    return ERR_OK;
}

/* ---- begin and end ---- */

static bool is_wanted(const char *const *names, struct span name)
{
    if (names == NULL) {
        return true;
    }
    for (size_t i = 0; names[i] != NULL; i++) {
        if (span_equal_text(name, names[i])) {
            return true;
        }
    }
    return false;
}

static void add_leaves(struct parquet_rows *rows, const struct tree_node *node)
{
    const struct tree *tree = &rows->reader->tree;
    for (size_t i = 0; i < node->leaves_count; i++) {
        size_t ordinal = node->first_leaf + i;
        const struct metadata_element *element =
            tree->elements[tree->leaves[ordinal].element].element;
        struct leaf_stream *leaf = mem_zeroed(1, sizeof *leaf);
        leaf->entries.leaf = ordinal;
        leaf->type = element->type;
        leaf->meaning = leaf_meaning_of(element);
        rows->leaves[ordinal] = leaf;
    }
}

static enum err_code build_root(struct parquet_rows *rows, const char *const *names,
                                struct err *err)
{
    const struct tree *tree = &rows->reader->tree;
    size_t columns = (size_t)tree->elements[0].element->children_count;
    const struct parquet_node **children =
        arena_alloc(&rows->tree_arena, (columns + 1) * sizeof(struct parquet_node *));
    rows->absent = arena_alloc(&rows->tree_arena, (columns + 1) * sizeof *rows->absent);
    if (children == NULL || rows->absent == NULL) {
        return err_set(err, ERR_TOO_LARGE, "file of %zu columns", columns);
    }
    memset(rows->absent, 0, (columns + 1) * sizeof *rows->absent);
    size_t count = 0;
    for (size_t i = 1; i < tree->elements_count; i = tree->elements[i].next) {
        const struct tree_element *element = &tree->elements[i];
        if (!is_wanted(names, element->element->name) || element->leaves_count == 0) {
            continue;
        }
        const struct tree_node *node = NULL;
        TRY(tree_node_build(tree, i, &rows->tree_arena, &node, err));
        add_leaves(rows, node);
        children[count++] = &node->node;
    }
    rows->root = (struct tree_node){
        .node = {.name = "", .kind = PARQUET_GROUP, .children_count = count, .children = children}};
    return ERR_OK;
}

/* The more leaves are wanted, the fewer entries each holds. */
static void init_streams(struct parquet_rows *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < rows->leaves_count; i++) {
        count += rows->leaves[i] != NULL;
    }
    size_t capacity = nested_stream_capacity(count);
    for (size_t i = 0; i < rows->leaves_count; i++) {
        if (rows->leaves[i] != NULL) {
            rows->leaves[i]->entries.values = NESTED_RAW;
            nested_stream_init(&rows->leaves[i]->entries, i, capacity);
        }
    }
}

enum err_code parquet_rows_begin(struct parquet_reader *reader, const char *const *names,
                                 struct parquet_rows **rows_out, struct err *err)
{
    CLEANUP(parquet_rows_end) struct parquet_rows *rows = mem_zeroed(1, sizeof *rows);
    rows->reader = reader;
    arena_init(&rows->tree_arena, TREE_MEMORY_MAX);
    arena_init(&rows->row_arena, PARQUET_ROW_BYTES_MAX);
    rows->leaves_count = reader->tree.leaves_count;
    rows->leaves = mem_zeroed(rows->leaves_count, sizeof(struct leaf_stream *));
    arena_init(&rows->locations_arena, LOCATIONS_MEMORY_MAX);
    TRY(build_root(rows, names, err));
    init_streams(rows);
    *rows_out = rows;
    rows = NULL;
    return ERR_OK;
}

const struct parquet_node *parquet_rows_root(const struct parquet_rows *rows)
{
    return &rows->root.node;
}

void parquet_rows_end(struct parquet_rows **rows)
{
    struct parquet_rows *ended = *rows;
    if (ended == NULL) {
        return;
    }
    for (size_t i = 0; i < ended->leaves_count; i++) {
        free_leaf(ended->leaves[i]);
    }
    mem_free((void *)ended->leaves);
    arena_deinit(&ended->tree_arena);
    arena_deinit(&ended->row_arena);
    arena_deinit(&ended->locations_arena);
    mem_free(ended);
    *rows = NULL;
}
