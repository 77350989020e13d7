/*
 * Schema trees. See tree.h for the contract.
 */
#include "storage/parquet/tree.h"

#include "storage/parquet/odd_text.h"

#include <assert.h>
#include <string.h>

/* ---- the physical tree ---- */

/* An element whose children are being placed. */
struct open_group {
    size_t index;
    size_t children_left;
};

static void place(const struct metadata_footer *footer, struct tree *tree, size_t index,
                  size_t parent)
{
    const struct metadata_element *element = &footer->elements[index];
    struct tree_element *placed = &tree->elements[index];
    *placed = (struct tree_element){
        .element = element, .next = index + 1, .parent = parent, .first_leaf = tree->leaves_count};
    if (index > 0) {
        const struct tree_element *above = &tree->elements[parent];
        placed->definition =
            (uint8_t)(above->definition + (element->repetition != PARQUET_REQUIRED));
        placed->repetition =
            (uint8_t)(above->repetition + (element->repetition == PARQUET_REPEATED));
    }
    if (element->type != PARQUET_TYPE_NONE) {
        placed->leaves_count = 1;
        tree->leaves[tree->leaves_count++].element = index;
    }
}

/* Close groups whose children are all there. */
static size_t close_groups(struct tree *tree, struct open_group *open, size_t depth, size_t next)
{
    while (depth > 0 && open[depth - 1].children_left == 0) {
        struct tree_element *closed = &tree->elements[open[depth - 1].index];
        closed->next = next;
        closed->leaves_count = tree->leaves_count - closed->first_leaf;
        depth--;
    }
    return depth;
}

static enum err_code place_all(const struct metadata_footer *footer, struct tree *tree,
                               struct err *err)
{
    struct open_group open[PARQUET_SCHEMA_DEPTH_MAX];
    size_t depth = 0;
    for (size_t i = 0; i < footer->elements_count; i++) {
        if (i > 0 && depth == 0) {
            return err_set(err, ERR_CORRUPT, "schema element %zu belongs to no group", i);
        }
        size_t parent = depth > 0 ? open[depth - 1].index : 0;
        place(footer, tree, i, parent);
        if (depth > 0) {
            open[depth - 1].children_left--;
        }
        const struct metadata_element *element = &footer->elements[i];
        if (element->type == PARQUET_TYPE_NONE) {
            if (depth == PARQUET_SCHEMA_DEPTH_MAX) {
                return err_set(err, ERR_UNSUPPORTED, "schema is nested deeper than %d groups",
                               PARQUET_SCHEMA_DEPTH_MAX);
            }
            open[depth++] =
                (struct open_group){.index = i, .children_left = (size_t)element->children_count};
        }
        depth = close_groups(tree, open, depth, i + 1);
    }
    if (depth > 0) {
        return err_set(err, ERR_CORRUPT, "schema ends inside a group");
    }
    return ERR_OK;
}

/* "a.b.c", at most PARQUET_SCHEMA_DEPTH_MAX names. */
static const char *path_of(const struct tree *tree, size_t index, struct arena *arena)
{
    const char *path = arena_text(arena, tree->elements[index].element->name);
    while (path != NULL && tree->elements[index].parent != 0) {
        index = tree->elements[index].parent;
        struct span name = tree->elements[index].element->name;
        path = arena_format(arena, "%.*s.%s", SPAN_PRINT(name), path);
    }
    return path;
}

enum err_code tree_build(const struct metadata_footer *footer, struct arena *arena,
                         struct tree *tree_out, struct err *err)
{
    size_t count = footer->elements_count;
    if (count == 0 || footer->elements[0].type != PARQUET_TYPE_NONE) {
        return err_set(err, ERR_CORRUPT, "footer has no schema");
    }
    struct tree tree = {.elements_count = count};
    tree.elements = arena_alloc(arena, count * sizeof *tree.elements);
    tree.leaves = arena_alloc(arena, count * sizeof *tree.leaves);
    if (tree.elements == NULL || tree.leaves == NULL) {
        return err_set(err, ERR_TOO_LARGE, "schema of %zu elements is too large", count);
    }
    TRY(place_all(footer, &tree, err));
    for (size_t i = 0; i < tree.leaves_count; i++) {
        tree.leaves[i].path = path_of(&tree, tree.leaves[i].element, arena);
        if (tree.leaves[i].path == NULL) {
            return err_set(err, ERR_TOO_LARGE, "schema of %zu elements is too large", count);
        }
    }
    *tree_out = tree;
    return ERR_OK;
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

static bool equal_ignoring_case(struct span a, struct span b)
{
    if (a.size != b.size) {
        return false;
    }
    for (size_t i = 0; i < a.size; i++) {
        if (lower(a.data[i]) != lower(b.data[i])) {
            return false;
        }
    }
    return true;
}

size_t tree_find_column(const struct tree *tree, struct span name)
{
    size_t similar = 0;
    size_t similar_count = 0;
    for (size_t i = 1; i < tree->elements_count; i = tree->elements[i].next) {
        if (span_equal(tree->elements[i].element->name, name)) {
            return i;
        }
        if (equal_ignoring_case(tree->elements[i].element->name, name)) {
            similar = i;
            similar_count++;
        }
    }
    return similar_count == 1 ? similar : 0;
}

size_t tree_find_field(const struct tree *tree, const struct field *field)
{
    if (field->physical_id == 0) {
        return tree_find_column(tree, span_of_text(field_physical_name(field)));
    }
    for (size_t i = 1; i < tree->elements_count; i = tree->elements[i].next) {
        if (tree->elements[i].element->field_id == field->physical_id) {
            return i;
        }
    }
    return 0;
}

/* ---- what leaves mean ---- */

static struct leaf_meaning integer_meaning(const struct metadata_element *element)
{
    struct leaf_meaning meaning = {.kind = PARQUET_INTEGER,
                                   .bits = element->type == PARQUET_TYPE_INT64 ? 64 : 32};
    if (element->logical == PARQUET_LOGICAL_INTEGER) {
        int bits = element->bit_width;
        if (bits == 8 || bits == 16 || bits == 32) {
            meaning.bits = bits;
        }
        meaning.is_unsigned = !element->is_signed;
        return meaning;
    }
    switch (element->converted) {
    case PARQUET_CONVERTED_INT_8:
    case PARQUET_CONVERTED_UINT_8:
        meaning.bits = 8;
        break;
    case PARQUET_CONVERTED_INT_16:
    case PARQUET_CONVERTED_UINT_16:
        meaning.bits = 16;
        break;
    default:
        break;
    }
    meaning.is_unsigned = element->converted >= PARQUET_CONVERTED_UINT_8 &&
                          element->converted <= PARQUET_CONVERTED_UINT_64;
    return meaning;
}

static bool is_time(const struct metadata_element *element)
{
    return (element->logical == PARQUET_LOGICAL_TIME && element->unit != 0) ||
           (!element->has_logical && (element->converted == PARQUET_CONVERTED_TIME_MILLIS ||
                                      element->converted == PARQUET_CONVERTED_TIME_MICROS));
}

static struct leaf_meaning time_meaning(const struct metadata_element *element)
{
    struct leaf_meaning meaning = {.kind = PARQUET_INTEGER,
                                   .bits = element->type == PARQUET_TYPE_INT64 ? 64 : 32,
                                   .unit = element->unit,
                                   .odd = LEAF_TIME};
    if (meaning.unit == 0) {
        meaning.unit = element->converted == PARQUET_CONVERTED_TIME_MILLIS ? PARQUET_UNIT_MILLIS
                                                                           : PARQUET_UNIT_MICROS;
    }
    return meaning;
}

static bool is_decimal(const struct metadata_element *element)
{
    bool annotated = element->logical == PARQUET_LOGICAL_DECIMAL ||
                     element->converted == PARQUET_CONVERTED_DECIMAL;
    /* one that no 128-bit value can hold is left as its physical type */
    return annotated && element->precision >= 1 &&
           element->precision <= SCHEMA_DECIMAL_PRECISION_MAX && element->scale >= 0 &&
           element->scale <= element->precision;
}

static struct leaf_meaning decimal_meaning(const struct metadata_element *element)
{
    return (struct leaf_meaning){
        .kind = PARQUET_DECIMAL, .precision = element->precision, .scale = element->scale};
}

static struct leaf_meaning int64_meaning(const struct metadata_element *element)
{
    if (element->logical == PARQUET_LOGICAL_TIMESTAMP && element->unit != 0) {
        return (struct leaf_meaning){.kind = element->is_utc ? PARQUET_TIMESTAMP
                                                             : PARQUET_TIMESTAMP_NTZ,
                                     .unit = element->unit};
    }
    if (element->converted == PARQUET_CONVERTED_TIMESTAMP_MILLIS ||
        element->converted == PARQUET_CONVERTED_TIMESTAMP_MICROS) {
        bool millis = element->converted == PARQUET_CONVERTED_TIMESTAMP_MILLIS;
        return (struct leaf_meaning){.kind = PARQUET_TIMESTAMP,
                                     .unit = millis ? PARQUET_UNIT_MILLIS : PARQUET_UNIT_MICROS};
    }
    return is_time(element) ? time_meaning(element) : integer_meaning(element);
}

/* Annotations that say nothing of values of another length are passed over. */
static enum leaf_oddity fixed_oddity(const struct metadata_element *element)
{
    if (element->logical == PARQUET_LOGICAL_FLOAT16 && element->type_length == ODD_FLOAT16_BYTES) {
        return LEAF_FLOAT16;
    }
    if (element->logical == PARQUET_LOGICAL_UUID && element->type_length == ODD_UUID_BYTES) {
        return LEAF_UUID;
    }
    return element->converted == PARQUET_CONVERTED_INTERVAL &&
                   element->type_length == ODD_INTERVAL_BYTES
               ? LEAF_INTERVAL
               : LEAF_NOT_ODD;
}

static struct leaf_meaning bytes_meaning(const struct metadata_element *element)
{
    bool is_text = element->logical == PARQUET_LOGICAL_STRING ||
                   element->logical == PARQUET_LOGICAL_ENUM ||
                   element->logical == PARQUET_LOGICAL_JSON ||
                   (!element->has_logical && (element->converted == PARQUET_CONVERTED_UTF8 ||
                                              element->converted == PARQUET_CONVERTED_ENUM ||
                                              element->converted == PARQUET_CONVERTED_JSON));
    bool is_fixed = element->type == PARQUET_TYPE_FIXED;
    return (struct leaf_meaning){.kind = is_text ? PARQUET_TEXT : PARQUET_BINARY,
                                 .odd = is_fixed ? fixed_oddity(element) : LEAF_NOT_ODD};
}

const char *leaf_oddity_name(enum leaf_oddity odd)
{
    static const char *const names[] = {[LEAF_NOT_ODD] = "",
                                        [LEAF_TIME] = "TIME",
                                        [LEAF_INTERVAL] = "INTERVAL",
                                        [LEAF_UUID] = "UUID",
                                        [LEAF_FLOAT16] = "FLOAT16"};
    return names[odd];
}

struct leaf_meaning leaf_meaning_of(const struct metadata_element *element)
{
    switch (element->type) {
    case PARQUET_TYPE_BOOLEAN:
        return (struct leaf_meaning){.kind = PARQUET_BOOLEAN};
    case PARQUET_TYPE_INT32:
        if (element->logical == PARQUET_LOGICAL_DATE ||
            element->converted == PARQUET_CONVERTED_DATE) {
            return (struct leaf_meaning){.kind = PARQUET_DATE};
        }
        if (is_time(element)) {
            return time_meaning(element);
        }
        return is_decimal(element) ? decimal_meaning(element) : integer_meaning(element);
    case PARQUET_TYPE_INT64:
        return is_decimal(element) ? decimal_meaning(element) : int64_meaning(element);
    case PARQUET_TYPE_INT96:
        return (struct leaf_meaning){.kind = PARQUET_TIMESTAMP, .unit = PARQUET_UNIT_MICROS};
    case PARQUET_TYPE_FLOAT:
    case PARQUET_TYPE_DOUBLE:
        return (struct leaf_meaning){.kind = PARQUET_REAL};
    case PARQUET_TYPE_BYTE_ARRAY:
    case PARQUET_TYPE_FIXED:
        return is_decimal(element) ? decimal_meaning(element) : bytes_meaning(element);
    case PARQUET_TYPE_NONE:
        break;
    }
    assert(false && "a leaf has a type");
    return (struct leaf_meaning){0};
}

/* ---- the logical tree ---- */

struct node_builder {
    const struct tree *tree;
    struct arena *arena;
};

static struct tree_node *new_node(const struct node_builder *builder, size_t index,
                                  enum parquet_kind kind, size_t children_count)
{
    const struct tree_element *element = &builder->tree->elements[index];
    struct tree_node *node = arena_alloc(builder->arena, sizeof *node);
    const struct parquet_node **children =
        arena_alloc(builder->arena, (children_count + 1) * sizeof(struct parquet_node *));
    char *name = arena_text(builder->arena, element->element->name);
    if (node == NULL || children == NULL || name == NULL) {
        return NULL;
    }
    *node = (struct tree_node){
        .node = {.name = name,
                 .field_id = element->element->field_id,
                 .kind = kind,
                 .children_count = children_count,
                 .children = children},
        .definition = element->definition,
        .first_leaf = element->first_leaf,
        .leaves_count = element->leaves_count,
    };
    return node;
}

/* The slot of a child in a node under construction. */
static const struct parquet_node **child_slot(struct tree_node *node, size_t child)
{
    union {
        const struct parquet_node *const *given;
        const struct parquet_node **taken; /* it was allocated writable above */
    } children = {.given = node->node.children};
    return &children.taken[child];
}

static size_t children_count(const struct tree *tree, size_t index)
{
    return (size_t)tree->elements[index].element->children_count;
}

static bool is_group(const struct tree *tree, size_t index)
{
    return tree->elements[index].element->type == PARQUET_TYPE_NONE;
}

static bool is_repeated(const struct tree *tree, size_t index)
{
    return tree->elements[index].element->repetition == PARQUET_REPEATED;
}

static bool is_annotated(const struct metadata_element *element, int logical, int converted)
{
    return element->logical == logical ||
           (!element->has_logical && element->converted == converted);
}

static bool is_list(const struct tree *tree, size_t index)
{
    return is_group(tree, index) && children_count(tree, index) == 1 &&
           is_repeated(tree, index + 1) &&
           is_annotated(tree->elements[index].element, PARQUET_LOGICAL_LIST,
                        PARQUET_CONVERTED_LIST);
}

static bool is_map(const struct tree *tree, size_t index)
{
    const struct metadata_element *element = tree->elements[index].element;
    bool annotated = is_annotated(element, PARQUET_LOGICAL_MAP, PARQUET_CONVERTED_MAP) ||
                     is_annotated(element, PARQUET_LOGICAL_MAP, PARQUET_CONVERTED_MAP_KEY_VALUE);
    if (!annotated || !is_group(tree, index) || children_count(tree, index) != 1) {
        return false;
    }
    size_t pair = index + 1;
    return is_repeated(tree, pair) && is_group(tree, pair) && children_count(tree, pair) >= 1 &&
           children_count(tree, pair) <= 2 && !is_repeated(tree, pair + 1);
}

static bool has_tuple_name(const struct tree *tree, size_t list, size_t repeated)
{
    struct span name = tree->elements[repeated].element->name;
    struct span list_name = tree->elements[list].element->name;
    static const char suffix[] = "_tuple";
    size_t suffix_size = sizeof suffix - 1;
    return span_equal_text(name, "array") ||
           (name.size == list_name.size + suffix_size &&
            span_equal(span_of(name.data, list_name.size), list_name) &&
            memcmp(name.data + list_name.size, suffix, suffix_size) == 0);
}

/*
 * Is the repeated field the element itself (2-level lists), or a wrapper?
 * spec: LogicalTypes.md "Lists", backward-compatibility rules 1 to 4
 */
static bool repeated_is_element(const struct tree *tree, size_t list, size_t repeated)
{
    return !is_group(tree, repeated) || children_count(tree, repeated) != 1 ||
           is_repeated(tree, repeated + 1) || is_list(tree, repeated) || is_map(tree, repeated) ||
           has_tuple_name(tree, list, repeated);
}

static struct tree_node *leaf_node(const struct node_builder *builder, size_t index)
{
    struct leaf_meaning meaning = leaf_meaning_of(builder->tree->elements[index].element);
    struct tree_node *node = new_node(builder, index, meaning.kind, 0);
    if (node != NULL) {
        node->node.precision = (uint8_t)meaning.precision;
        node->node.scale = (uint8_t)meaning.scale;
        node->node.is_int32 = meaning.kind == PARQUET_INTEGER && meaning.bits <= 32;
    }
    return node;
}

static struct tree_node *build_node(const struct node_builder *builder, size_t index,
                                    bool as_element);

static struct tree_node *group_node(const struct node_builder *builder, size_t index)
{
    const struct tree *tree = builder->tree;
    struct tree_node *node = new_node(builder, index, PARQUET_GROUP, children_count(tree, index));
    size_t child = index + 1;
    for (size_t i = 0; node != NULL && i < node->node.children_count; i++) {
        struct tree_node *built = build_node(builder, child, false);
        if (built == NULL) {
            return NULL;
        }
        *child_slot(node, i) = &built->node;
        child = tree->elements[child].next;
    }
    return node;
}

static void set_repeated(struct tree_node *node, const struct tree_element *repeated)
{
    node->repeated_definition = repeated->definition;
    node->repetition = repeated->repetition;
}

static struct tree_node *list_node(const struct node_builder *builder, size_t index)
{
    const struct tree *tree = builder->tree;
    size_t repeated = index + 1;
    struct tree_node *node = new_node(builder, index, PARQUET_LIST, 1);
    bool direct = repeated_is_element(tree, index, repeated);
    struct tree_node *element = build_node(builder, direct ? repeated : repeated + 1, direct);
    if (node == NULL || element == NULL) {
        return NULL;
    }
    set_repeated(node, &tree->elements[repeated]);
    *child_slot(node, 0) = &element->node;
    return node;
}

static struct tree_node *map_node(const struct node_builder *builder, size_t index)
{
    const struct tree *tree = builder->tree;
    size_t pair = index + 1;
    size_t count = children_count(tree, pair);
    struct tree_node *node = new_node(builder, index, PARQUET_MAP, count);
    size_t child = pair + 1;
    for (size_t i = 0; node != NULL && i < count; i++) {
        struct tree_node *built = build_node(builder, child, false);
        if (built == NULL) {
            return NULL;
        }
        *child_slot(node, i) = &built->node;
        child = tree->elements[child].next;
    }
    if (node != NULL) {
        set_repeated(node, &tree->elements[pair]);
    }
    return node;
}

/* A repeated field outside LIST and MAP is a required list of required elements. */
static struct tree_node *bare_list_node(const struct node_builder *builder, size_t index)
{
    struct tree_node *node = new_node(builder, index, PARQUET_LIST, 1);
    struct tree_node *element = build_node(builder, index, true);
    if (node == NULL || element == NULL) {
        return NULL;
    }
    node->definition = (uint8_t)(element->definition - 1); /* present as soon as its parent is */
    set_repeated(node, &builder->tree->elements[index]);
    *child_slot(node, 0) = &element->node;
    return node;
}

/* Recursion is bounded by PARQUET_SCHEMA_DEPTH_MAX groups. `as_element`: the repetition is dealt
 * with. */
static struct tree_node *build_node(const struct node_builder *builder, size_t index,
                                    bool as_element)
{
    const struct tree *tree = builder->tree;
    if (!as_element && is_repeated(tree, index)) {
        return bare_list_node(builder, index);
    }
    if (!is_group(tree, index)) {
        return leaf_node(builder, index);
    }
    if (is_list(tree, index)) {
        return list_node(builder, index);
    }
    if (is_map(tree, index)) {
        return map_node(builder, index);
    }
    return group_node(builder, index);
}

enum err_code tree_node_build(const struct tree *tree, size_t index, struct arena *arena,
                              const struct tree_node **node_out, struct err *err)
{
    const struct tree_element *element = &tree->elements[index];
    if (element->leaves_count == 0) {
        return err_set(err, ERR_UNSUPPORTED, "column '%.*s' is a group without fields",
                       SPAN_PRINT(element->element->name));
    }
    struct node_builder builder = {.tree = tree, .arena = arena};
    const struct tree_node *node = build_node(&builder, index, false);
    if (node == NULL) {
        return err_set(err, ERR_TOO_LARGE, "column '%.*s' has too many fields",
                       SPAN_PRINT(element->element->name));
    }
    *node_out = node;
    return ERR_OK;
}
