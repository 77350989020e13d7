/*
 * A file's own columns as a schema. See reader.h for the contract. Written as a Delta
 * schemaString, because schema_parse_delta_file is the one gate for foreign columns.
 */
#include "storage/parquet/reader.h"

#include "storage/base/buffer.h"
#include "storage/base/json.h"
#include "storage/parquet/reader_state.h"

#include <assert.h>
#include <stdio.h>

enum { SCHEMA_BYTES_MAX = 16 << 20, TREE_BYTES_MAX = 64 << 20, TYPE_BYTES = 32, NAME_SHOWN = 128 };

static enum err_code refuse(struct span name, const char *why, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "column '%.*s' is %s; leave it out",
                   (int)(name.size < NAME_SHOWN ? name.size : NAME_SHOWN), (const char *)name.data,
                   why);
}

static const char *integer_type(const struct leaf_meaning *meaning)
{
    switch (meaning->bits) {
    case 8:
        return meaning->is_unsigned ? "short" : "byte";
    case 16:
        return meaning->is_unsigned ? "integer" : "short";
    case 32:
        return meaning->is_unsigned ? "long" : "integer";
    default:
        return meaning->is_unsigned ? "decimal(20,0)" : "long";
    }
}

/* Delta's name of a leaf's type. */
static const char *type_of(const struct metadata_element *element, char decimal_out[TYPE_BYTES])
{
    struct leaf_meaning meaning = leaf_meaning_of(element);
    if (meaning.odd != LEAF_NOT_ODD) {
        return meaning.odd == LEAF_FLOAT16 ? "float" : "string";
    }
    switch (meaning.kind) {
    case PARQUET_BOOLEAN:
        return "boolean";
    case PARQUET_INTEGER:
        return integer_type(&meaning);
    case PARQUET_REAL:
        return element->type == PARQUET_TYPE_FLOAT ? "float" : "double";
    case PARQUET_DATE:
        return "date";
    case PARQUET_TIMESTAMP:
        return "timestamp";
    case PARQUET_TIMESTAMP_NTZ:
        return "timestamp_ntz";
    case PARQUET_TEXT:
        return "string";
    case PARQUET_DECIMAL:
        (void)snprintf(decimal_out, TYPE_BYTES, "decimal(%d,%d)", meaning.precision,
                       meaning.scale); /* fits */
        return decimal_out;
    default:
        assert(meaning.kind == PARQUET_BINARY);
        return "binary";
    }
}

/* ---- nested types ---- */

static void write_field(const struct tree *tree, const struct parquet_node *node,
                        const char *separator, struct buffer *text);

static void write_children(const struct tree *tree, const struct parquet_node *node,
                           struct buffer *text)
{
    const char *separator = "";
    buffer_append_text(text, "{\"type\":\"struct\",\"fields\":[");
    for (size_t i = 0; i < node->children_count; i++) {
        if (tree_node_of(node->children[i])->leaves_count > 0) { /* else it says nothing */
            write_field(tree, node->children[i], separator, text);
            separator = ",";
        }
    }
    buffer_append_text(text, "]}");
}

/* Recursion is bounded by PARQUET_SCHEMA_DEPTH_MAX. */
static void write_type(const struct tree *tree, const struct parquet_node *node,
                       struct buffer *text)
{
    char decimal[TYPE_BYTES];
    switch (node->kind) {
    case PARQUET_GROUP:
        write_children(tree, node, text);
        return;
    case PARQUET_LIST:
        buffer_append_text(text, "{\"type\":\"array\",\"elementType\":");
        write_type(tree, node->children[0], text);
        buffer_append_text(text, ",\"containsNull\":true}");
        return;
    case PARQUET_MAP:
        buffer_append_text(text, "{\"type\":\"map\",\"keyType\":");
        write_type(tree, node->children[0], text);
        buffer_append_text(text, ",\"valueType\":");
        if (node->children_count > 1) {
            write_type(tree, node->children[1], text);
        } else {
            buffer_append_text(text, "\"string\""); /* of which all are null */
        }
        buffer_append_text(text, ",\"valueContainsNull\":true}");
        return;
    default: {
        size_t leaf = tree->leaves[tree_node_of(node)->first_leaf].element;
        buffer_append_format(text, "\"%s\"", type_of(tree->elements[leaf].element, decimal));
        return;
    }
    }
}

static void write_field(const struct tree *tree, const struct parquet_node *node,
                        const char *separator, struct buffer *text)
{
    buffer_append_text(text, separator);
    buffer_append_text(text, "{\"name\":");
    json_write_string(text, span_of_text(node->name));
    buffer_append_text(text, ",\"type\":");
    write_type(tree, node, text);
    buffer_append_text(text, ",\"nullable\":true,\"metadata\":{}}");
}

/* The type of the column, or of anything in it, that is refused by name; NULL = none. */
static const char *refused_type(const struct tree *tree, size_t column)
{
    for (size_t i = column; i < tree->elements[column].next; i++) {
        const struct metadata_element *element = tree->elements[i].element;
        bool is_decimal = element->logical == PARQUET_LOGICAL_DECIMAL ||
                          element->converted == PARQUET_CONVERTED_DECIMAL;
        if (element->logical == PARQUET_LOGICAL_VARIANT) {
            return "VARIANT";
        }
        if (is_decimal && element->precision > SCHEMA_DECIMAL_PRECISION_MAX) {
            return "a decimal of more than 38 digits";
        }
    }
    return NULL;
}

static enum err_code write_column(const struct tree *tree, size_t column, struct arena *arena,
                                  const char *separator, struct buffer *text, struct err *err)
{
    const struct tree_element *found = &tree->elements[column];
    struct span name = found->element->name;
    const char *refused = refused_type(tree, column);
    if (refused != NULL) {
        return refuse(name, refused, err);
    }
    const struct tree_node *node = NULL;
    TRY(tree_node_build(tree, column, arena, &node, err));
    write_field(tree, &node->node, separator, text);
    return ERR_OK;
}

/* ---- which columns ---- */

static bool is_wanted(const char *const *names, struct span name)
{
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        if (span_equal_text(name, names[i])) {
            return true;
        }
    }
    return names == NULL;
}

static enum err_code check_wanted(const struct tree *tree, const char *const *names,
                                  struct err *err)
{
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        size_t column = 1;
        while (column < tree->elements_count &&
               !span_equal_text(tree->elements[column].element->name, names[i])) {
            column = tree->elements[column].next;
        }
        if (column >= tree->elements_count) {
            return err_set(err, ERR_INVALID, "the file has no column '%.128s'", names[i]);
        }
    }
    return ERR_OK;
}

enum err_code parquet_reader_schema(const struct parquet_reader *reader, const char *const *names,
                                    struct schema **schema_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, TREE_BYTES_MAX);
    buffer_init(&text, SCHEMA_BYTES_MAX);
    const struct tree *tree = &reader->tree;
    TRY(check_wanted(tree, names, err));
    const char *separator = "";
    buffer_append_text(&text, "{\"type\":\"struct\",\"fields\":[");
    for (size_t i = 1; i < tree->elements_count; i = tree->elements[i].next) {
        if (is_wanted(names, tree->elements[i].element->name)) {
            TRY(write_column(tree, i, &arena, separator, &text, err));
            separator = ",";
        }
    }
    buffer_append_text(&text, "]}");
    TRY(buffer_check(&text, "the file's schema", err));
    return schema_parse_delta_file(buffer_span(&text), schema_out, err);
}

size_t parquet_reader_columns_count(const struct parquet_reader *reader)
{
    const struct tree *tree = &reader->tree;
    size_t count = 0;
    for (size_t i = 1; i < tree->elements_count; i = tree->elements[i].next) {
        count++;
    }
    return count;
}

struct span parquet_reader_column_name(const struct parquet_reader *reader, size_t column)
{
    const struct tree *tree = &reader->tree;
    size_t at = 1;
    for (; column > 0; column--) {
        at = tree->elements[at].next;
    }
    assert(at < tree->elements_count);
    return tree->elements[at].element->name;
}
