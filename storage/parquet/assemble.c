/*
 * Record assembly. See assemble.h; the shape of the tree is tree.c's.
 */
#include "storage/parquet/assemble.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/parquet/nested_stream.h"
#include "storage/parquet/reader_state.h"
#include "storage/parquet/tree.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

enum {
    TREE_MEMORY_MAX = 64 << 20,
    LOCATIONS_MEMORY_MAX = 256 << 20,
};

/* One field of the target with what the file has of it. */
struct part {
    const struct field *field;
    const struct tree_node *node; /* NULL: nothing, its values are null */
    size_t streams_first;         /* in the assembly: those below, or the one that is it */
    size_t streams_count;         /* at least one when there is a node */
    bool only_levels;             /* a struct of which the file has no field: its stream tells
                                     where it is null */
    int64_t element_bytes;        /* memory of one element, arrays and maps within not counted */
    struct part *children;        /* field->children_count; NULL of leaves */
};

struct assembly {
    struct parquet_reader *reader;
    struct part root;
    struct arena tree_arena;
    struct arena locations_arena; /* of the row group */
    struct nested_stream **streams;
    size_t streams_count;
    size_t streams_capacity;
    bool exact;
    bool has_row_group;
    size_t row_group;
    int64_t *bytes_left; /* of the read that is going on */
};

/* ---- matching the file's tree with the field ---- */

static struct nested_stream *add_stream(struct assembly *assembly, size_t leaf)
{
    if (assembly->streams_count == assembly->streams_capacity) {
        size_t capacity = assembly->streams_capacity * 2 + 4;
        assembly->streams = mem_resize(assembly->streams, capacity, sizeof(void *));
        assembly->streams_capacity = capacity;
    }
    struct nested_stream *stream = mem_zeroed(1, sizeof *stream);
    stream->leaf = leaf;
    assembly->streams[assembly->streams_count++] = stream;
    return stream;
}

static const char *kind_name(enum parquet_kind kind)
{
    return kind == PARQUET_GROUP  ? "struct"
           : kind == PARQUET_LIST ? "array"
           : kind == PARQUET_MAP  ? "map"
                                  : "flat";
}

static bool kinds_agree(const struct field *field, const struct tree_node *node)
{
    switch (node->node.kind) {
    case PARQUET_GROUP:
        return field->type == COLUMN_STRUCT;
    case PARQUET_LIST:
        return field->type == COLUMN_ARRAY;
    case PARQUET_MAP:
        return field->type == COLUMN_MAP;
    default:
        return !column_type_is_nested(field->type);
    }
}

/* The child of a group that a field names, with leaves below; NULL when there is none. */
static const struct tree_node *find_child(const struct tree_node *group, const struct field *field)
{
    const char *name = field_physical_name(field);
    const struct tree_node *similar = NULL;
    size_t similar_count = 0;
    for (size_t i = 0; i < group->node.children_count; i++) {
        const struct tree_node *child = tree_node_of(group->node.children[i]);
        if (child->leaves_count == 0) {
            continue; /* a group without fields has nothing to say */
        }
        if (field->physical_id != 0) {
            if (child->node.field_id == field->physical_id) {
                return child;
            }
            continue;
        }
        if (strcmp(child->node.name, name) == 0) {
            return child;
        }
        if (strcasecmp(child->node.name, name) == 0) {
            similar = child;
            similar_count++;
        }
    }
    return similar_count == 1 ? similar : NULL;
}

static enum err_code match_leaf(struct assembly *assembly, const struct field *field,
                                const struct tree_node *node, struct err *err)
{
    const struct parquet_reader *reader = assembly->reader;
    const struct tree *tree = &reader->tree;
    const struct metadata_element *element =
        tree->elements[tree->leaves[node->first_leaf].element].element;
    struct convert_plan plan;
    bool legacy = reader_is_legacy(reader, element);
    if (convert_plan_make(element, field, legacy, &plan, err) != ERR_OK) {
        return err_wrap(err, "%s", tree->leaves[node->first_leaf].path);
    }
    plan.exact = assembly->exact;
    struct nested_stream *stream = add_stream(assembly, node->first_leaf);
    stream->plan = plan;
    stream->values = NESTED_CONVERTED;
    return ERR_OK;
}

static enum err_code match(struct assembly *assembly, const struct field *field,
                           const struct tree_node *node, struct part *part, struct err *err);

static enum err_code match_children(struct assembly *assembly, struct part *part, struct err *err)
{
    const struct field *field = part->field;
    const struct tree_node *node = part->node;
    part->children = mem_zeroed(field->children_count, sizeof *part->children);
    for (size_t i = 0; i < field->children_count; i++) {
        const struct field *child = &field->children[i];
        const struct tree_node *found = NULL;
        if (field->type == COLUMN_STRUCT) {
            found = node != NULL ? find_child(node, child) : NULL;
        } else if (node != NULL && i < node->node.children_count) {
            found = tree_node_of(node->node.children[i]); /* a map may have no values */
        }
        TRY(match(assembly, child, found, &part->children[i], err));
        bool has_elements =
            child->type == COLUMN_ARRAY || child->type == COLUMN_MAP; /* are counted themselves */
        part->element_bytes +=
            has_elements ? (int64_t)sizeof(uint32_t) : part->children[i].element_bytes;
    }
    return ERR_OK;
}

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static enum err_code match(struct assembly *assembly, const struct field *field,
                           const struct tree_node *node, struct part *part, struct err *err)
{
    part->field = field;
    part->node = node;
    part->streams_first = assembly->streams_count;
    part->element_bytes = 1 + (int64_t)column_type_slot_bytes(field->type);
    if (node != NULL && !kinds_agree(field, node)) {
        return err_set(err, ERR_UNSUPPORTED,
                       "column '%s' is %s in the file and cannot be read as %s",
                       assembly->reader->tree.leaves[node->first_leaf].path,
                       kind_name(node->node.kind), column_type_name(field->type));
    }
    if (column_type_is_nested(field->type)) {
        TRY(match_children(assembly, part, err));
    } else if (node != NULL) {
        TRY(match_leaf(assembly, field, node, err));
    }
    if (node != NULL && assembly->streams_count == part->streams_first) {
        part->only_levels = true;
        (void)add_stream(assembly, node->first_leaf); /* NESTED_LEVELS */
    }
    part->streams_count = assembly->streams_count - part->streams_first;
    return ERR_OK;
}

static void part_deinit(struct part *part)
{
    for (size_t i = 0; part->children != NULL && i < part->field->children_count; i++) {
        if (part->children[i].field != NULL) {
            part_deinit(&part->children[i]);
        }
    }
    mem_free(part->children);
}

enum err_code assembly_begin(struct parquet_reader *reader, size_t element,
                             const struct field *field, bool exact, struct assembly **assembly_out,
                             struct err *err)
{
    CLEANUP(assembly_end) struct assembly *assembly = mem_zeroed(1, sizeof *assembly);
    assembly->reader = reader;
    assembly->exact = exact;
    arena_init(&assembly->tree_arena, TREE_MEMORY_MAX);
    arena_init(&assembly->locations_arena, LOCATIONS_MEMORY_MAX);
    const struct tree_node *node = NULL;
    TRY(tree_node_build(&reader->tree, element, &assembly->tree_arena, &node, err));
    TRY(match(assembly, field, node, &assembly->root, err));
    size_t capacity = nested_stream_capacity(assembly->streams_count);
    for (size_t i = 0; i < assembly->streams_count; i++) {
        nested_stream_init(assembly->streams[i], assembly->streams[i]->leaf, capacity);
    }
    *assembly_out = assembly;
    assembly = NULL;
    return ERR_OK;
}

void assembly_end(struct assembly **assembly)
{
    struct assembly *ended = *assembly;
    if (ended == NULL) {
        return;
    }
    for (size_t i = 0; i < ended->streams_count; i++) {
        nested_stream_deinit(ended->streams[i]);
        mem_free(ended->streams[i]);
    }
    mem_free((void *)ended->streams);
    part_deinit(&ended->root);
    arena_deinit(&ended->tree_arena);
    arena_deinit(&ended->locations_arena);
    mem_free(ended);
    *assembly = NULL;
}

/* ---- values ---- */

static enum err_code charge(struct assembly *assembly, int64_t bytes, struct err *err)
{
    if (bytes > *assembly->bytes_left) {
        return err_set(err, ERR_TOO_LARGE,
                       "column '%s' has more in these rows than may be held at once; read fewer "
                       "rows at a time",
                       assembly->root.field->name);
    }
    *assembly->bytes_left -= bytes;
    return ERR_OK;
}

static enum err_code append_bytes(struct assembly *assembly, const struct nested_stream *stream,
                                  struct column *target, struct err *err)
{
    struct span bytes = ((const struct span *)(const void *)stream->slots)[stream->value];
    size_t bad = 0;
    TRY(charge(assembly, (int64_t)bytes.size, err));
    if (bytes.size > COLUMN_BYTES_MAX - target->bytes_size) {
        return err_set(err, ERR_TOO_LARGE, "column '%s' has over %d bytes", stream->column.path,
                       COLUMN_BYTES_MAX);
    }
    if (target->type == COLUMN_STRING && !text_is_utf8(bytes, &bad)) {
        return err_set(err, ERR_CORRUPT, "column '%s', page at %lld: a string is not UTF-8",
                       stream->column.path, (long long)stream->column.page_offset);
    }
    column_append_bytes(target, bytes);
    return ERR_OK;
}

/* The stream's next value, which is there. */
static enum err_code append_value(struct assembly *assembly, struct nested_stream *stream,
                                  struct column *target, struct err *err)
{
    size_t size = stream->plan.slot_bytes;
    if (size == 0) {
        TRY(append_bytes(assembly, stream, target, err));
    } else {
        int64_t row = column_append_slot(target);
        memcpy((uint8_t *)target->values.slots + (size_t)row * size,
               stream->slots + stream->value * size, size);
    }
    nested_stream_take(stream);
    return ERR_OK;
}

/*
 * Pass over one entry of every stream below a part: each must be absent at
 * `definition`, or the leaves contradict each other.
 */
static enum err_code take_absent(struct assembly *assembly, const struct part *part,
                                 uint8_t definition, uint8_t repetition, struct err *err)
{
    for (size_t i = 0; i < part->streams_count; i++) {
        struct nested_stream *stream = assembly->streams[part->streams_first + i];
        TRY(nested_stream_peek(stream, assembly->reader, err));
        if (stream->ended || stream->repetitions[stream->entry] != repetition ||
            stream->definitions[stream->entry] >= definition) {
            return nested_stream_disagree(stream, err);
        }
        nested_stream_take(stream);
    }
    return ERR_OK;
}

/*
 * Pass over all entries of a struct whose fields nobody wants, which may have repeated
 * ones: up to where something around it, at most `around`, repeats.
 */
static enum err_code take_unwanted(struct assembly *assembly, struct nested_stream *stream,
                                   uint8_t around, struct err *err)
{
    do {
        nested_stream_take(stream);
        TRY(nested_stream_peek(stream, assembly->reader, err));
    } while (!stream->ended && stream->repetitions[stream->entry] > around);
    return ERR_OK;
}

static enum err_code assemble(struct assembly *assembly, const struct part *part,
                              uint8_t repetition, uint8_t around, struct column *target,
                              struct err *err);

static enum err_code assemble_children(struct assembly *assembly, const struct part *part,
                                       uint8_t repetition, uint8_t around, struct column *target,
                                       struct err *err)
{
    for (size_t i = 0; i < target->children_count; i++) {
        const struct part *child = &part->children[i];
        if (child->node == NULL) {
            column_append_null(&target->children[i]);
        } else {
            TRY(assemble(assembly, child, repetition, around, &target->children[i], err));
        }
    }
    return ERR_OK;
}

/* Elements of an array or entries of a map, as long as the first stream repeats here. */
static enum err_code assemble_elements(struct assembly *assembly, const struct part *part,
                                       uint8_t repetition, struct column *target, struct err *err)
{
    struct nested_stream *stream = assembly->streams[part->streams_first];
    uint8_t level = part->node->repetition;
    for (;;) {
        TRY(charge(assembly, part->element_bytes, err));
        if (target->children[0].rows_count == FRAME_ROWS_MAX) {
            return err_set(err, ERR_TOO_LARGE, "column '%s' has over %d elements",
                           stream->column.path, FRAME_ROWS_MAX);
        }
        TRY(assemble_children(assembly, part, repetition, level, target, err));
        TRY(nested_stream_peek(stream, assembly->reader, err));
        if (stream->ended || stream->repetitions[stream->entry] < level) {
            return ERR_OK;
        }
        repetition = level;
    }
}

/*
 * Append the value of a part that begins with repetition level `repetition`.
 *
 *   around  the repetition level of the arrays and maps around it
 *
 * Recursion is bounded by SCHEMA_DEPTH_MAX.
 */
static enum err_code assemble(struct assembly *assembly, const struct part *part,
                              uint8_t repetition, uint8_t around, struct column *target,
                              struct err *err)
{
    struct nested_stream *stream = assembly->streams[part->streams_first];
    const struct tree_node *node = part->node;
    TRY(nested_stream_peek(stream, assembly->reader, err));
    if (stream->ended || stream->repetitions[stream->entry] != repetition) {
        return nested_stream_disagree(stream, err);
    }
    uint8_t definition = stream->definitions[stream->entry];
    if (definition < node->definition) {
        TRY(take_absent(assembly, part, node->definition, repetition, err));
        column_append_null(target);
        return ERR_OK;
    }
    if (part->children == NULL) {
        return append_value(assembly, stream, target, err);
    }
    if (part->only_levels) {
        TRY(take_unwanted(assembly, stream, around, err));
        for (size_t i = 0; i < target->children_count; i++) {
            column_append_null(&target->children[i]);
        }
    } else if (target->type == COLUMN_STRUCT) {
        TRY(assemble_children(assembly, part, repetition, around, target, err));
    } else if (definition < node->repeated_definition) {
        TRY(take_absent(assembly, part, node->repeated_definition, repetition, err));
    } else {
        TRY(assemble_elements(assembly, part, repetition, target, err));
    }
    column_append_nested(target);
    return ERR_OK;
}

/* ---- rows ---- */

static enum err_code open_row_group(struct assembly *assembly, size_t row_group, struct err *err)
{
    assembly->has_row_group = false;
    arena_reset(&assembly->locations_arena);
    for (size_t i = 0; i < assembly->streams_count; i++) {
        TRY(nested_stream_open(assembly->streams[i], assembly->reader, row_group,
                               &assembly->locations_arena, err));
    }
    assembly->has_row_group = true;
    assembly->row_group = row_group;
    return ERR_OK;
}

/* After the last row nothing is left. */
static enum err_code check_ended(struct assembly *assembly, struct err *err)
{
    for (size_t i = 0; i < assembly->streams_count; i++) {
        struct nested_stream *stream = assembly->streams[i];
        TRY(nested_stream_peek(stream, assembly->reader, err));
        if (!stream->ended) {
            return err_set(err, ERR_CORRUPT, "column '%s' has more values than rows",
                           stream->column.path);
        }
    }
    return ERR_OK;
}

enum err_code assembly_read(struct assembly *assembly, size_t row_group,
                            const struct selection *selection, int64_t next, int64_t end,
                            int64_t *bytes_left, struct column *target, struct err *err)
{
    assert(next < end);
    struct parquet_reader *reader = assembly->reader;
    int64_t start = reader->starts[row_group];
    int64_t first = selection_row(selection, next) - start;
    if (!assembly->has_row_group || assembly->row_group != row_group ||
        assembly->streams[0]->row > first) {
        TRY(open_row_group(assembly, row_group, err));
    }
    assembly->bytes_left = bytes_left;
    for (; next < end; next++) {
        for (size_t i = 0; i < assembly->streams_count; i++) {
            TRY(nested_stream_skip(assembly->streams[i], reader,
                                   selection_row(selection, next) - start, err));
        }
        TRY(assemble(assembly, &assembly->root, 0, 0, target, err));
    }
    bool is_last = selection_row(selection, end - 1) + 1 == reader->starts[row_group + 1];
    return is_last ? check_ended(assembly, err) : ERR_OK;
}
