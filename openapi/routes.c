/* Writes the route table, handler prototypes, byte arrays and the JSON form. */
#include "openapi/generate.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void write_quoted(struct buffer *text, const char *value)
{
    buffer_append_text(text, "\"");
    for (const char *at = value; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '"' || byte == '\\') {
            buffer_append_format(text, "\\%c", byte);
        } else if (byte == '\n') {
            buffer_append_text(text, "\\n");
        } else if (byte < 0x20) {
            buffer_append_format(text, "\\u%04x", byte);
        } else {
            buffer_append_byte(text, byte);
        }
    }
    buffer_append_text(text, "\"");
}

void write_json(struct document *document, node value, struct buffer *text)
{
    if (node_is_mapping(value) || node_is_sequence(value)) {
        bool mapping = node_is_mapping(value);
        buffer_append_text(text, mapping ? "{" : "[");
        size_t count = node_count(value);
        for (size_t i = 0; i < count; i++) {
            node child = NULL;
            buffer_append_text(text, i > 0 ? "," : "");
            if (mapping) {
                const char *name = NULL;
                node_member(document, value, i, &name, &child);
                write_quoted(text, name);
                buffer_append_text(text, ":");
            } else {
                child = node_at(document, value, i);
            }
            write_json(document, child, text);
        }
        buffer_append_text(text, mapping ? "}" : "]");
    } else if (node_is_bare(value)) {
        buffer_append_text(text, node_text(value));
    } else {
        write_quoted(text, node_text(value));
    }
}

void write_bytes(const char *name, struct span bytes, struct buffer *text)
{
    buffer_append_format(text, "\nconst unsigned char %s[] = {", name);
    for (size_t i = 0; i < bytes.size; i++) {
        buffer_append_format(text, "%s%u,", i % 24 == 0 ? "\n    " : "", bytes.data[i]);
    }
    buffer_append_format(text, "\n};\nconst size_t %s_size = %zu;\n", name, bytes.size);
}

void write_prototypes(const struct operations *operations, struct buffer *text)
{
    buffer_append_text(text,
                       "/* Generated from openapi/openapi.yaml: one handler an operation. */\n"
                       "#pragma once\n\n#include \"handlers/exchange.h\"\n\n");
    for (size_t i = 0; i < operations->count; i++) {
        buffer_append_format(text, "handler_fn handle_%s;\n", operations->items[i].id);
    }
}

/*
 * Matching takes the first route whose segments agree: a literal segment sorts
 * before a parameter, so that /v1/members/lookup is not taken for a member.
 */
static int compare_paths(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    if (*a == *b) {
        return 0;
    }
    int rank_a = *a == '{' ? 256 : (unsigned char)*a;
    int rank_b = *b == '{' ? 256 : (unsigned char)*b;
    return rank_a - rank_b;
}

static int compare_operations(const void *left, const void *right)
{
    const struct operation *const *a = left;
    const struct operation *const *b = right;
    int order = compare_paths((*a)->path, (*b)->path);
    return order != 0 ? order : strcmp((*a)->method, (*b)->method);
}

static void write_names(struct document *document, const struct operation *operation,
                        struct buffer *text)
{
    buffer_append_format(text, "\nstatic const char *const query_%s[] = {", operation->id);
    for (size_t i = 0; i < operation->parameters_count; i++) {
        if (node_is_text(node_get(document, operation->parameters[i], "in"), "query")) {
            write_quoted(text, node_text(node_get(document, operation->parameters[i], "name")));
            buffer_append_text(text, ", ");
        }
    }
    buffer_append_text(text, "NULL};\n");
    node content = node_get(document, operation->request, "content");
    if (content == NULL) {
        return;
    }
    buffer_append_format(text, "static const char *const types_%s[] = {", operation->id);
    for (size_t i = 0; i < node_count(content); i++) {
        const char *type = NULL;
        node media = NULL;
        node_member(document, content, i, &type, &media);
        write_quoted(text, type);
        buffer_append_text(text, ", ");
    }
    buffer_append_text(text, "NULL};\n");
}

/* Bit i: the i-th query name may be given more than once (an exploded array). */
static unsigned long long repeatable_mask(struct document *document,
                                          const struct operation *operation)
{
    unsigned long long mask = 0;
    size_t index = 0;
    for (size_t i = 0; i < operation->parameters_count; i++) {
        node parameter = operation->parameters[i];
        if (node_is_text(node_get(document, parameter, "in"), "query")) {
            mask |= node_true(node_get(document, parameter, "explode")) ? 1ull << index : 0;
            index++;
        }
    }
    return mask;
}

static void write_text_member(struct buffer *text, const char *member, const char *value)
{
    if (value != NULL) {
        buffer_append_format(text, "     .%s = ", member);
        write_quoted(text, value);
        buffer_append_text(text, ",\n");
    }
}

/* Which path parameter, counted from 0, has the name. */
static size_t path_index(const struct operation *operation, const char *name)
{
    size_t index = 0;
    for (const char *at = strchr(operation->path, '{'); at != NULL; at = strchr(at + 1, '{')) {
        size_t size = strcspn(at + 1, "}");
        if (strlen(name) == size && strncmp(at + 1, name, size) == 0) {
            break;
        }
        index++;
    }
    return index;
}

static bool has_header_parameter(struct document *document, const struct operation *operation,
                                 const char *name)
{
    for (size_t i = 0; i < operation->parameters_count; i++) {
        if (node_is_text(node_get(document, operation->parameters[i], "in"), "header") &&
            node_is_text(node_get(document, operation->parameters[i], "name"), name)) {
            return true;
        }
    }
    return false;
}

static void write_route(struct document *document, const struct operation *operation,
                        struct buffer *text)
{
    char method[8] = {0};
    for (size_t i = 0; i < sizeof method - 1 && operation->method[i] != '\0'; i++) {
        method[i] = (char)toupper((unsigned char)operation->method[i]);
    }
    buffer_append_text(text, "    {\n");
    write_text_member(text, "operation_id", operation->id);
    write_text_member(text, "method", method);
    write_text_member(text, "path", operation->path);
    buffer_append_format(text, "     .literal_bytes = %zu,\n", strcspn(operation->path, "{"));
    write_text_member(text, "action", operation->action);
    write_text_member(text, "resource", operation->resource);
    if (operation->resource != NULL) {
        buffer_append_format(text, "     .resource_index = %zu,\n",
                             path_index(operation, operation->resource));
    }
    write_text_member(text, "identifier", operation->identifier);
    if (operation->identifier != NULL) {
        buffer_append_format(text, "     .identifier_index = %zu,\n",
                             path_index(operation, operation->identifier));
    }
    bool phi = node_true(node_get(document, operation->body, "x-phi"));
    bool is_inline = node_true(node_get(document, operation->body, "x-inline"));
    bool required = node_true(node_get(document, operation->request, "required"));
    buffer_append_format(
        text,
        "     .reads_phi = %s, .never_blocks = %s, .body_required = %s,\n"
        "     .takes_encoding = %s,\n"
        "     .body_bytes_max = %lld, .arena_bytes_max = %lld,\n"
        "     .query_names = query_%s, .query_repeatable = 0x%llxu,\n",
        phi ? "true" : "false", is_inline ? "true" : "false", required ? "true" : "false",
        has_header_parameter(document, operation, "Content-Encoding") ? "true" : "false",
        (long long)operation->body_bytes_max, (long long)operation->arena_bytes_max, operation->id,
        repeatable_mask(document, operation));
    if (operation->request != NULL) {
        buffer_append_format(text, "     .content_types = types_%s,\n", operation->id);
    }
    buffer_append_format(text, "     .handler = handle_%s},\n", operation->id);
}

void write_routes(struct document *document, const struct operations *operations,
                  struct buffer *text)
{
    const struct operation *sorted[OPERATIONS_MAX] = {0};
    for (size_t i = 0; i < operations->count; i++) {
        sorted[i] = &operations->items[i];
    }
    qsort(sorted, operations->count, sizeof sorted[0], compare_operations);
    buffer_append_text(text, "/* Generated from openapi/openapi.yaml. */\n"
                             "#include \"server/routes.h\"\n\n"
                             "#include \"generated/operations.h\"\n");
    for (size_t i = 0; i < operations->count; i++) {
        write_names(document, sorted[i], text);
    }
    buffer_append_text(text, "\nconst struct route routes[] = {\n");
    for (size_t i = 0; i < operations->count; i++) {
        write_route(document, sorted[i], text);
    }
    buffer_append_format(text, "};\nconst size_t routes_count = %zu;\n", operations->count);
}
