/* Access to libyaml's node tree; the only file that calls libyaml. */
#include "openapi/document.h"

#include "storage/base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOCUMENT_BYTES_MAX = 16 << 20, REFERENCE_DEPTH_MAX = 8, REFERENCE_PART_BYTES = 128 };

static void die(const char *path, const char *reason)
{
    (void)fprintf(stderr, "%s: %s\n", path, reason);
    exit(1);
}

static void read_file(struct document *document)
{
    FILE *file = fopen(document->path, "rb");
    if (file == NULL) {
        die(document->path, strerror(errno));
    }
    char chunk[65536];
    size_t got = 0;
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        buffer_append(&document->text, chunk, got);
    }
    (void)fclose(file); /* read only: nothing can be lost */
    if (document->text.overflowed) {
        die(document->path, "is too large");
    }
}

/* A mapping that names a member twice would hide one of them. */
static void check_names(struct document *document, yaml_node_t *mapping)
{
    size_t count = node_count(mapping);
    for (size_t i = 0; i < count; i++) {
        const char *name = NULL;
        node value = NULL;
        node_member(document, mapping, i, &name, &value);
        for (size_t j = 0; j < i; j++) {
            const char *other = NULL;
            node ignored = NULL;
            node_member(document, mapping, j, &other, &ignored);
            if (strcmp(name, other) == 0) {
                document_fault(document, value, "'%s' is given twice", name);
            }
        }
    }
}

void document_open(struct document *document, const char *path)
{
    *document = (struct document){.path = path};
    buffer_init(&document->text, DOCUMENT_BYTES_MAX);
    read_file(document);
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) {
        die(path, "no memory");
    }
    yaml_parser_set_input_string(&parser, document->text.data, document->text.size);
    if (yaml_parser_load(&parser, &document->yaml) == 0) {
        (void)fprintf(stderr, "%s:%zu: %s\n", path, parser.problem_mark.line + 1,
                      parser.problem != NULL ? parser.problem : "not YAML");
        exit(1);
    }
    yaml_parser_delete(&parser);
    if (document_root(document) == NULL) {
        die(path, "is empty");
    }
    for (int i = 1; yaml_document_get_node(&document->yaml, i) != NULL; i++) {
        yaml_node_t *each = yaml_document_get_node(&document->yaml, i);
        if (each->type == YAML_MAPPING_NODE) {
            check_names(document, each);
        }
    }
}

void document_close(struct document *document)
{
    yaml_document_delete(&document->yaml);
    buffer_deinit(&document->text);
}

void document_fault(struct document *document, node at, const char *format, ...)
{
    (void)fprintf(stderr, "%s:%zu: ", document->path, at != NULL ? at->start_mark.line + 1 : 1);
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    document->faults++;
}

node document_root(struct document *document)
{
    return yaml_document_get_root_node(&document->yaml);
}

size_t node_count(node collection)
{
    if (collection == NULL) {
        return 0;
    }
    if (collection->type == YAML_MAPPING_NODE) {
        return (size_t)(collection->data.mapping.pairs.top - collection->data.mapping.pairs.start);
    }
    if (collection->type == YAML_SEQUENCE_NODE) {
        return (size_t)(collection->data.sequence.items.top -
                        collection->data.sequence.items.start);
    }
    return 0;
}

void node_member(struct document *document, node mapping, size_t index, const char **name_out,
                 node *value_out)
{
    const yaml_node_pair_t *pair = &mapping->data.mapping.pairs.start[index];
    const char *name = node_text(yaml_document_get_node(&document->yaml, pair->key));
    *name_out = name != NULL ? name : "";
    *value_out = yaml_document_get_node(&document->yaml, pair->value);
}

node node_get(struct document *document, node mapping, const char *name)
{
    if (!node_is_mapping(mapping)) {
        return NULL;
    }
    size_t count = node_count(mapping);
    for (size_t i = 0; i < count; i++) {
        const char *each = NULL;
        node value = NULL;
        node_member(document, mapping, i, &each, &value);
        if (strcmp(each, name) == 0) {
            return value;
        }
    }
    return NULL;
}

node node_at(struct document *document, node sequence, size_t index)
{
    if (!node_is_sequence(sequence) || index >= node_count(sequence)) {
        return NULL;
    }
    return yaml_document_get_node(&document->yaml, sequence->data.sequence.items.start[index]);
}

bool node_is_mapping(node value)
{
    return value != NULL && value->type == YAML_MAPPING_NODE;
}

bool node_is_sequence(node value)
{
    return value != NULL && value->type == YAML_SEQUENCE_NODE;
}

bool node_is_scalar(node value)
{
    return value != NULL && value->type == YAML_SCALAR_NODE;
}

const char *node_text(node value)
{
    return node_is_scalar(value) ? (const char *)value->data.scalar.value : NULL;
}

bool node_is_text(node value, const char *text)
{
    const char *own = node_text(value);
    return own != NULL && strcmp(own, text) == 0;
}

static bool is_plain(node value)
{
    return node_is_scalar(value) && value->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

bool node_integer(node value, int64_t *integer_out)
{
    if (!is_plain(value)) {
        return false;
    }
    const char *text = node_text(value);
    int64_t integer = 0;
    int used = 0;
    if (sscanf(text, "%19" SCNd64 "%n", &integer, &used) != 1 || text[used] != '\0') {
        return false;
    }
    *integer_out = integer;
    return true;
}

bool node_true(node value)
{
    return is_plain(value) && node_is_text(value, "true");
}

/* JSON's number grammar, which is also all that the contract uses of YAML's. */
static bool is_number(const char *text)
{
    if (*text == '-') {
        text++;
    }
    if (!isdigit((unsigned char)*text)) {
        return false;
    }
    while (isdigit((unsigned char)*text)) {
        text++;
    }
    if (*text == '.') {
        text++;
        if (!isdigit((unsigned char)*text)) {
            return false;
        }
        while (isdigit((unsigned char)*text)) {
            text++;
        }
    }
    return *text == '\0';
}

bool node_is_bare(node value)
{
    return is_plain(value) && (node_is_text(value, "true") || node_is_text(value, "false") ||
                               node_is_text(value, "null") || is_number(node_text(value)));
}

/* "#/components/schemas/Row" → the node, or NULL. */
static node find_reference(struct document *document, const char *reference)
{
    if (strncmp(reference, "#/", 2) != 0) {
        return NULL;
    }
    node at = document_root(document);
    const char *part = reference + 2;
    while (at != NULL && *part != '\0') {
        size_t size = strcspn(part, "/");
        char name[REFERENCE_PART_BYTES];
        if (size >= sizeof name) {
            return NULL;
        }
        memcpy(name, part, size);
        name[size] = '\0';
        at = node_get(document, at, name);
        part += size + (part[size] == '/' ? 1 : 0);
    }
    return at;
}

node node_resolve(struct document *document, node value)
{
    for (int depth = 0; depth < REFERENCE_DEPTH_MAX; depth++) {
        const char *reference = node_text(node_get(document, value, "$ref"));
        if (reference == NULL) {
            return value;
        }
        node target = find_reference(document, reference);
        if (target == NULL) {
            document_fault(document, value, "'%s' leads nowhere", reference);
            return NULL;
        }
        value = target;
    }
    document_fault(document, value, "references lead in a circle");
    return NULL;
}

const char *node_reference_name(struct document *document, node value)
{
    const char *reference = node_text(node_get(document, value, "$ref"));
    if (reference == NULL) {
        return NULL;
    }
    const char *slash = strrchr(reference, '/');
    return slash != NULL ? slash + 1 : reference;
}
