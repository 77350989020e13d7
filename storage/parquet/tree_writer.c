/*
 * Nested rows to Parquet files: shredding calls into leaf values and levels.
 * See nested.h for the contract. Bounds and page indexes are left out: nobody
 * skips parts of a checkpoint by them.
 * Source: parquet-format LogicalTypes.md "Nested Types"; the shape is Spark's.
 */
#include "storage/parquet/nested.h"

#include "storage/base/arena.h"
#include "storage/base/mem.h"
#include "storage/columns/frame.h"
#include "storage/parquet/chunk_writer.h"
#include "storage/parquet/file_writer.h"

#include <assert.h>
#include <string.h>

enum {
    TREE_ARENA_BYTES_MAX = 64 << 20,
    LEVELS_FIRST = 1024,
    LEVELS_PER_LEAF_MAX = 1 << 30,
};

/* A field with its place in the file. Lists and maps stand for their two physical groups. */
struct shred_node {
    const struct parquet_tree_field *field;
    bool is_required;   /* map keys */
    uint8_t definition; /* level at which it is present */
    uint8_t repetition; /* lists, maps: level of further elements */
    size_t first_leaf;
    size_t leaves_count;
    struct shred_node *children; /* field->children_count of them */
};

/* What a leaf has gathered for the row group. */
struct shred_leaf {
    enum column_type type;
    struct column column; /* values that are not null */
    uint8_t *definitions;
    uint8_t *repetitions;
    size_t count; /* entries */
    size_t capacity;
    uint8_t definition_max;
    uint8_t repetition_max;
};

/* A group, list or map that was begun. */
struct shred_frame {
    const struct shred_node *node;
    size_t next;        /* group: child that comes next; list, map: entries so far */
    bool awaits_value;  /* map: a key was given */
    uint8_t repetition; /* of the first value inside */
};

struct parquet_tree_writer {
    struct file_writer file;
    struct arena arena; /* nodes and paths */
    struct shred_node root;
    struct shred_leaf *leaves;
    size_t leaves_count;
    struct shred_frame stack[PARQUET_SCHEMA_DEPTH_MAX];
    size_t depth;       /* >= 1: the root is always open */
    int64_t rows_count; /* of the row group at hand */
    int64_t bytes;      /* gathered, about */
    bool finished;
};

/* ---- building the tree ---- */

static bool is_leaf(const struct parquet_tree_field *field)
{
    return field->kind != PARQUET_GROUP && field->kind != PARQUET_LIST &&
           field->kind != PARQUET_MAP;
}

static enum column_type column_type_of(const struct parquet_tree_field *field)
{
    switch (field->kind) {
    case PARQUET_BOOLEAN:
        return COLUMN_BOOLEAN;
    case PARQUET_INTEGER:
        return field->is_int32 ? COLUMN_INTEGER : COLUMN_LONG;
    case PARQUET_REAL:
        return COLUMN_DOUBLE;
    case PARQUET_DECIMAL:
        return COLUMN_DECIMAL;
    case PARQUET_DATE:
        return COLUMN_DATE;
    case PARQUET_TIMESTAMP:
        return COLUMN_TIMESTAMP;
    case PARQUET_TIMESTAMP_NTZ:
        return COLUMN_TIMESTAMP_NTZ;
    case PARQUET_TEXT:
        return COLUMN_STRING;
    case PARQUET_BINARY:
        return COLUMN_BINARY;
    case PARQUET_NULL:
    case PARQUET_GROUP:
    case PARQUET_LIST:
    case PARQUET_MAP:
        break;
    }
    assert(false && "a leaf");
    return COLUMN_STRING;
}

/* Leaves below a field. Recursion over a tree that our own code states. */
static size_t count_leaves(const struct parquet_tree_field *field)
{
    if (is_leaf(field)) {
        return 1;
    }
    size_t count = 0;
    for (size_t i = 0; i < field->children_count; i++) {
        count += count_leaves(&field->children[i]);
    }
    assert(count > 0); /* no empty group */
    return count;
}

/* Names from the root down to the element at hand. */
struct name_path {
    const char *names[PARQUET_SCHEMA_DEPTH_MAX];
    size_t count;
};

static void push_name(struct name_path *path, const char *name)
{
    assert(path->count < PARQUET_SCHEMA_DEPTH_MAX);
    path->names[path->count++] = name;
}

static void add_leaf(struct parquet_tree_writer *writer, const struct shred_node *node,
                     uint8_t repetition, const struct name_path *path)
{
    const struct parquet_tree_field *field = node->field;
    const char **names = arena_alloc(&writer->arena, path->count * sizeof(const char *));
    assert(names != NULL);
    memcpy((void *)names, path->names, path->count * sizeof(const char *));
    struct shred_leaf *leaf = &writer->leaves[writer->leaves_count++];
    leaf->type = column_type_of(field);
    leaf->column.type = leaf->type;
    leaf->definition_max = node->definition;
    leaf->repetition_max = repetition;
    const struct file_element element = {
        .name = field->name,
        .repetition = node->is_required ? PARQUET_REQUIRED : PARQUET_OPTIONAL,
    };
    file_writer_leaf(&writer->file, &element, leaf->type, field->precision, field->scale, names,
                     path->count);
}

/* Levels above a field that is being placed. */
struct place {
    uint8_t definition;
    uint8_t repetition;
    bool is_required;
};

/* Write the schema of a field and fill its node, depth first. */
static void place_field(struct parquet_tree_writer *writer, const struct parquet_tree_field *field,
                        struct place above, struct name_path path, struct shred_node *node)
{
    push_name(&path, field->name);
    *node = (struct shred_node){
        .field = field,
        .is_required = above.is_required,
        .definition = (uint8_t)(above.definition + !above.is_required),
        .first_leaf = writer->leaves_count,
        .leaves_count = count_leaves(field),
    };
    if (is_leaf(field)) {
        add_leaf(writer, node, above.repetition, &path);
        return;
    }
    bool is_list = field->kind == PARQUET_LIST;
    bool is_map = field->kind == PARQUET_MAP;
    assert(!is_list || field->children_count == 1);
    assert(!is_map || field->children_count == 2);
    struct place inside = {.definition = node->definition, .repetition = above.repetition};
    size_t children = is_list || is_map ? 1 : field->children_count;
    const struct file_element group = {.name = field->name, .repetition = PARQUET_OPTIONAL};
    file_writer_group(&writer->file, &group, children,
                      is_list  ? PARQUET_CONVERTED_LIST
                      : is_map ? PARQUET_CONVERTED_MAP
                               : PARQUET_CONVERTED_NONE);
    if (is_list || is_map) {
        const char *repeated = is_list ? "list" : "key_value";
        const struct file_element entry = {.name = repeated, .repetition = PARQUET_REPEATED};
        push_name(&path, repeated);
        file_writer_group(&writer->file, &entry, field->children_count, PARQUET_CONVERTED_NONE);
        inside.definition++;
        inside.repetition++;
        node->repetition = inside.repetition;
    }
    node->children = arena_alloc(&writer->arena, field->children_count * sizeof *node->children);
    assert(node->children != NULL);
    for (size_t i = 0; i < field->children_count; i++) {
        inside.is_required = is_map && i == 0;
        place_field(writer, &field->children[i], inside, path, &node->children[i]);
    }
}

static void place_root(struct parquet_tree_writer *writer, const struct parquet_tree_field *root)
{
    file_writer_root(&writer->file, root->children_count);
    writer->root = (struct shred_node){.field = root, .leaves_count = count_leaves(root)};
    writer->root.children =
        arena_alloc(&writer->arena, root->children_count * sizeof *writer->root.children);
    assert(writer->root.children != NULL);
    for (size_t i = 0; i < root->children_count; i++) {
        place_field(writer, &root->children[i], (struct place){0}, (struct name_path){0},
                    &writer->root.children[i]);
    }
}

enum err_code parquet_tree_open(struct parquet_writer_context *context,
                                const struct parquet_tree_field *root,
                                const struct parquet_sink *sink,
                                struct parquet_tree_writer **writer_out, struct err *err)
{
    (void)err; /* nothing is written before the first row group */
    struct parquet_tree_writer *writer = mem_zeroed(1, sizeof *writer);
    size_t leaves = count_leaves(root);
    arena_init(&writer->arena, TREE_ARENA_BYTES_MAX);
    writer->leaves = mem_zeroed(leaves, sizeof *writer->leaves);
    file_writer_init(&writer->file, context, sink, leaves);
    place_root(writer, root);
    writer->stack[0] = (struct shred_frame){.node = &writer->root};
    writer->depth = 1;
    *writer_out = writer;
    return ERR_OK;
}

/* ---- entries ---- */

static void append_levels(struct parquet_tree_writer *writer, size_t leaf_index, uint8_t definition,
                          uint8_t repetition)
{
    struct shred_leaf *leaf = &writer->leaves[leaf_index];
    if (leaf->count == leaf->capacity) {
        leaf->capacity = leaf->capacity > 0 ? leaf->capacity * 2 : LEVELS_FIRST;
        assert(leaf->capacity <= LEVELS_PER_LEAF_MAX);
        leaf->definitions = mem_resize(leaf->definitions, leaf->capacity, 1);
        leaf->repetitions = mem_resize(leaf->repetitions, leaf->capacity, 1);
    }
    leaf->definitions[leaf->count] = definition;
    leaf->repetitions[leaf->count] = repetition;
    leaf->count++;
}

/* Every leaf below `node` gets an entry that ends at `definition`. */
static void append_absent(struct parquet_tree_writer *writer, const struct shred_node *node,
                          uint8_t definition, uint8_t repetition)
{
    for (size_t i = 0; i < node->leaves_count; i++) {
        append_levels(writer, node->first_leaf + i, definition, repetition);
    }
}

static void append_null(struct parquet_tree_writer *writer, const struct shred_node *node,
                        uint8_t repetition)
{
    assert(!node->is_required);
    append_absent(writer, node, (uint8_t)(node->definition - 1), repetition);
}

/* ---- walking ---- */

static struct shred_frame *top(struct parquet_tree_writer *writer)
{
    return &writer->stack[writer->depth - 1];
}

static uint8_t entry_repetition(const struct shred_frame *frame)
{
    return frame->next == 0 ? frame->repetition : frame->node->repetition;
}

/* A map whose last key has no value yet gets a null one. */
static void finish_pair(struct parquet_tree_writer *writer, struct shred_frame *frame)
{
    if (frame->awaits_value) {
        append_null(writer, &frame->node->children[1], entry_repetition(frame));
        frame->awaits_value = false;
        frame->next++;
    }
}

static const struct shred_node *step_group(struct parquet_tree_writer *writer,
                                           struct shred_frame *frame, const char *name)
{
    size_t count = frame->node->field->children_count;
    while (frame->next < count) {
        const struct shred_node *child = &frame->node->children[frame->next++];
        if (strcmp(child->field->name, name) == 0) {
            return child;
        }
        append_null(writer, child, frame->repetition);
    }
    assert(false && "a field that is ahead in its group");
    return NULL;
}

static const struct shred_node *step_map(struct parquet_tree_writer *writer,
                                         struct shred_frame *frame, const char *name,
                                         uint8_t *repetition_out)
{
    bool is_key = strcmp(name, "key") == 0;
    assert(is_key || strcmp(name, "value") == 0);
    assert(is_key || frame->awaits_value); /* a value follows its key */
    if (is_key) {
        finish_pair(writer, frame);
    }
    *repetition_out = entry_repetition(frame);
    frame->awaits_value = is_key;
    frame->next += !is_key;
    return &frame->node->children[is_key ? 0 : 1];
}

/* The node that `name` means here, and the repetition level of what it gets. */
static const struct shred_node *step(struct parquet_tree_writer *writer, const char *name,
                                     uint8_t *repetition_out)
{
    assert(!writer->finished);
    struct shred_frame *frame = top(writer);
    *repetition_out = frame->repetition;
    switch (frame->node->field->kind) {
    case PARQUET_LIST:
        assert(strcmp(name, "element") == 0);
        *repetition_out = entry_repetition(frame);
        frame->next++;
        return &frame->node->children[0];
    case PARQUET_MAP:
        return step_map(writer, frame, name, repetition_out);
    default:
        return step_group(writer, frame, name);
    }
}

void parquet_tree_begin(struct parquet_tree_writer *writer, const char *name)
{
    uint8_t repetition = 0;
    const struct shred_node *node = step(writer, name, &repetition);
    assert(!is_leaf(node->field));
    assert(writer->depth < PARQUET_SCHEMA_DEPTH_MAX);
    writer->stack[writer->depth++] = (struct shred_frame){.node = node, .repetition = repetition};
}

static void finish_group(struct parquet_tree_writer *writer, struct shred_frame *frame)
{
    while (frame->next < frame->node->field->children_count) {
        append_null(writer, &frame->node->children[frame->next++], frame->repetition);
    }
}

void parquet_tree_end(struct parquet_tree_writer *writer)
{
    assert(writer->depth > 1);
    struct shred_frame *frame = top(writer);
    if (frame->node->field->kind == PARQUET_GROUP) {
        finish_group(writer, frame);
    } else {
        finish_pair(writer, frame);
        if (frame->next == 0) { /* present but empty */
            append_absent(writer, frame->node, frame->node->definition, frame->repetition);
        }
    }
    writer->depth--;
}

void parquet_tree_null(struct parquet_tree_writer *writer, const char *name)
{
    uint8_t repetition = 0;
    const struct shred_node *node = step(writer, name, &repetition);
    append_null(writer, node, repetition);
}

/* The column of a leaf that gets a value of one of two kinds. */
static struct column *step_leaf(struct parquet_tree_writer *writer, const char *name, size_t size)
{
    uint8_t repetition = 0;
    const struct shred_node *node = step(writer, name, &repetition);
    assert(is_leaf(node->field));
    append_levels(writer, node->first_leaf, node->definition, repetition);
    writer->bytes += (int64_t)size;
    return &writer->leaves[node->first_leaf].column;
}

void parquet_tree_text(struct parquet_tree_writer *writer, const char *name, struct span text)
{
    struct column *column = step_leaf(writer, name, text.size + sizeof(uint32_t));
    assert(column->type == COLUMN_STRING);
    column_append_bytes(column, text);
}

void parquet_tree_binary(struct parquet_tree_writer *writer, const char *name, struct span bytes)
{
    struct column *column = step_leaf(writer, name, bytes.size + sizeof(uint32_t));
    assert(column->type == COLUMN_BINARY);
    column_append_bytes(column, bytes);
}

void parquet_tree_boolean(struct parquet_tree_writer *writer, const char *name, bool value)
{
    struct column *column = step_leaf(writer, name, 1);
    assert(column->type == COLUMN_BOOLEAN);
    column_append_u8(column, value);
}

void parquet_tree_integer(struct parquet_tree_writer *writer, const char *name, int64_t value)
{
    struct column *column = step_leaf(writer, name, sizeof value);
    if (column->type == COLUMN_INTEGER || column->type == COLUMN_DATE) {
        assert(value >= INT32_MIN);
        assert(value <= INT32_MAX);
        column_append_i32(column, (int32_t)value);
        return;
    }
    assert(column->type == COLUMN_LONG || column->type == COLUMN_TIMESTAMP ||
           column->type == COLUMN_TIMESTAMP_NTZ);
    column_append_i64(column, value);
}

void parquet_tree_real(struct parquet_tree_writer *writer, const char *name, double value)
{
    struct column *column = step_leaf(writer, name, sizeof value);
    assert(column->type == COLUMN_DOUBLE);
    column_append_f64(column, value);
}

void parquet_tree_decimal(struct parquet_tree_writer *writer, const char *name, __int128 value)
{
    struct column *column = step_leaf(writer, name, sizeof value);
    assert(column->type == COLUMN_DECIMAL);
    column_append_i128(column, value);
}

/* ---- row groups ---- */

static enum err_code write_leaf(struct parquet_tree_writer *writer, size_t index,
                                struct chunk_result *result, struct err *err)
{
    struct shred_leaf *leaf = &writer->leaves[index];
    const struct chunk_input input = {
        .column = &leaf->column,
        .count = (int64_t)leaf->count,
        .values_count = leaf->column.rows_count,
        .definitions = leaf->definitions,
        .repetitions = leaf->repetition_max > 0 ? leaf->repetitions : NULL,
        .definition_max = leaf->definition_max,
        .repetition_max = leaf->repetition_max,
    };
    TRY(chunk_write(&writer->file, &writer->file.leaves[index].type, &input, result, NULL, err));
    column_truncate(&leaf->column, 0);
    leaf->count = 0;
    return ERR_OK;
}

static enum err_code flush_rows(struct parquet_tree_writer *writer, struct err *err)
{
    if (writer->rows_count == 0) {
        return ERR_OK;
    }
    struct chunk_result *results = file_writer_add_row_group(&writer->file, writer->rows_count);
    for (size_t i = 0; i < writer->leaves_count; i++) {
        TRY(write_leaf(writer, i, &results[i], err));
    }
    writer->rows_count = 0;
    writer->bytes = 0;
    return ERR_OK;
}

enum err_code parquet_tree_end_row(struct parquet_tree_writer *writer, struct err *err)
{
    assert(writer->depth == 1); /* everything begun was ended */
    finish_group(writer, top(writer));
    writer->stack[0] = (struct shred_frame){.node = &writer->root};
    writer->rows_count++;
    if (writer->rows_count == PARQUET_WRITE_ROW_GROUP_ROWS_MAX ||
        writer->bytes >= PARQUET_WRITE_ROW_GROUP_BYTES_MAX) {
        TRY(flush_rows(writer, err));
    }
    return ERR_OK;
}

enum err_code parquet_tree_finish(struct parquet_tree_writer *writer, int64_t *file_bytes_out,
                                  struct err *err)
{
    assert(!writer->finished);
    assert(writer->stack[0].next == 0); /* no row is half given */
    TRY(flush_rows(writer, err));
    TRY(file_writer_finish(&writer->file, err));
    writer->finished = true;
    *file_bytes_out = writer->file.position;
    return ERR_OK;
}

void parquet_tree_close(struct parquet_tree_writer **writer)
{
    struct parquet_tree_writer *closed = *writer;
    if (closed == NULL) {
        return;
    }
    for (size_t i = 0; i < closed->leaves_count; i++) {
        struct shred_leaf *leaf = &closed->leaves[i];
        mem_free(leaf->column.validity);
        mem_free(leaf->column.values.slots);
        mem_free(leaf->column.bytes);
        mem_free(leaf->definitions);
        mem_free(leaf->repetitions);
    }
    mem_free(closed->leaves);
    file_writer_deinit(&closed->file);
    arena_deinit(&closed->arena);
    mem_free(closed);
    *writer = NULL;
}
