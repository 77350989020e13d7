/*
 * What a well-kept contract has beyond what the route table needs: every
 * reference resolves and every component is used, names are unique and in one
 * style, every error is documented, every parameter has an example.
 */
#include "openapi/generate.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Schema words that code generators and validators disagree about, or that hide the shape. */
static const char *const forbidden_words[] = {
    "if", "then", "else", "unevaluatedProperties", "unevaluatedItems", "prefixItems", NULL};

static const char *const schema_words[] = {
    "$ref",      "type",     "description", "properties", "required", "items",
    "enum",      "format",   "pattern",     "minimum",    "maximum",  "minLength",
    "maxLength", "minItems", "maxItems",    "default",    "examples", "additionalProperties",
    "oneOf",     "const",    NULL};

static bool is_listed(const char *word, const char *const list[])
{
    for (size_t i = 0; list[i] != NULL; i++) {
        if (strcmp(word, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* lower_case words, as C functions are named after them. */
static bool is_snake_case(const char *id)
{
    for (const char *at = id; *at != '\0'; at++) {
        if (!islower((unsigned char)*at) && !isdigit((unsigned char)*at) && *at != '_') {
            return false;
        }
    }
    return islower((unsigned char)*id) != 0;
}

static void check_identity(struct document *document, const struct operations *operations,
                           size_t index)
{
    const struct operation *operation = &operations->items[index];
    if (!is_snake_case(operation->id)) {
        document_fault(document, operation->body, "operationId '%s' is not snake_case",
                       operation->id);
    }
    for (size_t i = 0; i < index; i++) {
        if (strcmp(operations->items[i].id, operation->id) == 0) {
            document_fault(document, operation->body, "operationId '%s' is given twice",
                           operation->id);
        }
    }
    if (node_text(node_get(document, operation->body, "summary")) == NULL) {
        document_fault(document, operation->body, "%s has no summary", operation->id);
    }
}

static void check_tags(struct document *document, const struct operation *operation)
{
    node known = node_get(document, document_root(document), "tags");
    node tags = node_get(document, operation->body, "tags");
    if (node_count(tags) != 1) {
        document_fault(document, operation->body, "%s needs exactly one tag", operation->id);
    }
    for (size_t i = 0; i < node_count(tags); i++) {
        bool found = false;
        for (size_t j = 0; j < node_count(known); j++) {
            node name = node_get(document, node_at(document, known, j), "name");
            found = found || node_is_text(name, node_text(node_at(document, tags, i)));
        }
        if (!found) {
            document_fault(document, tags, "%s: tag '%s' is not declared", operation->id,
                           node_text(node_at(document, tags, i)));
        }
    }
}

static void check_response(struct document *document, const struct operation *operation,
                           const char *status, node response)
{
    if (node_text(node_get(document, response, "description")) == NULL) {
        document_fault(document, response, "%s: response %s has no description", operation->id,
                       status);
    }
    node content = node_get(document, response, "content");
    bool is_error = status[0] == '4' || status[0] == '5' || strcmp(status, "default") == 0;
    if (is_error && node_get(document, content, "application/problem+json") == NULL) {
        document_fault(document, response, "%s: response %s is not a problem", operation->id,
                       status);
    }
    for (size_t i = 0; i < node_count(content); i++) {
        const char *type = NULL;
        node media = NULL;
        node_member(document, content, i, &type, &media);
        if (node_get(document, media, "schema") == NULL) {
            document_fault(document, media, "%s: response %s %s has no schema", operation->id,
                           status, type);
        }
    }
}

static void need_response(struct document *document, const struct operation *operation,
                          const char *status)
{
    node responses = node_get(document, operation->body, "responses");
    if (node_get(document, responses, status) == NULL) {
        document_fault(document, operation->body, "%s: response %s is missing", operation->id,
                       status);
    }
}

static void check_responses(struct document *document, const struct operation *operation)
{
    node responses = node_get(document, operation->body, "responses");
    bool succeeds = false;
    for (size_t i = 0; i < node_count(responses); i++) {
        const char *status = NULL;
        node response = NULL;
        node_member(document, responses, i, &status, &response);
        response = node_resolve(document, response);
        succeeds = succeeds || status[0] == '2';
        check_response(document, operation, status, response);
    }
    if (!succeeds) {
        document_fault(document, operation->body, "%s: no response of success", operation->id);
    }
    need_response(document, operation, "400");
    need_response(document, operation, "default");
    if (!operation->is_public) {
        need_response(document, operation, "401");
        need_response(document, operation, "403");
        need_response(document, operation, "429");
        need_response(document, operation, "503");
    }
    if (operation->request != NULL) {
        need_response(document, operation, "411");
        need_response(document, operation, "413");
        need_response(document, operation, "415");
    }
    if (strchr(operation->path, '{') != NULL && strcmp(operation->method, "put") != 0) {
        need_response(document, operation, "404");
    }
}

static void check_parameters(struct document *document, const struct operation *operation)
{
    for (size_t i = 0; i < operation->parameters_count; i++) {
        node parameter = operation->parameters[i];
        const char *name = node_text(node_get(document, parameter, "name"));
        const char *place = node_text(node_get(document, parameter, "in"));
        if (name == NULL || place == NULL) {
            document_fault(document, parameter, "%s: parameter without name or place",
                           operation->id);
            continue;
        }
        if (node_text(node_get(document, parameter, "description")) == NULL ||
            node_get(document, parameter, "example") == NULL ||
            node_get(document, parameter, "schema") == NULL) {
            document_fault(document, parameter,
                           "%s: parameter %s needs description, schema and example", operation->id,
                           name);
        }
        for (size_t j = 0; j < i; j++) {
            node other = operation->parameters[j];
            if (node_is_text(node_get(document, other, "name"), name) &&
                node_is_text(node_get(document, other, "in"), place)) {
                document_fault(document, parameter, "%s: parameter %s is given twice",
                               operation->id, name);
            }
        }
    }
}

static void check_request(struct document *document, const struct operation *operation)
{
    node content = node_get(document, operation->request, "content");
    if (operation->request == NULL) {
        return;
    }
    bool example = false;
    for (size_t i = 0; i < node_count(content); i++) {
        const char *type = NULL;
        node media = NULL;
        node_member(document, content, i, &type, &media);
        example = example || node_get(document, media, "example") != NULL;
    }
    if (!example) {
        document_fault(document, operation->request, "%s: the body has no example", operation->id);
    }
}

/* `required` names exist; only words that the house uses. */
static void check_schema_words(struct document *document, node schema)
{
    for (size_t i = 0; i < node_count(schema); i++) {
        const char *word = NULL;
        node value = NULL;
        node_member(document, schema, i, &word, &value);
        if (!is_listed(word, schema_words)) {
            document_fault(document, value, "schema word '%s' is not one of ours", word);
        }
    }
    node required = node_get(document, schema, "required");
    node properties = node_get(document, schema, "properties");
    for (size_t i = 0; i < node_count(required); i++) {
        const char *name = node_text(node_at(document, required, i));
        if (name == NULL || node_get(document, properties, name) == NULL) {
            document_fault(document, required, "required '%s' is no property", name);
        }
    }
}

/* Depth of a document that we wrote ourselves: recursion is bounded by its indentation. */
static void check_schema(struct document *document, node schema)
{
    if (!node_is_mapping(schema)) {
        return;
    }
    check_schema_words(document, schema);
    node properties = node_get(document, schema, "properties");
    for (size_t i = 0; i < node_count(properties); i++) {
        const char *name = NULL;
        node property = NULL;
        node_member(document, properties, i, &name, &property);
        check_schema(document, property);
    }
    check_schema(document, node_get(document, schema, "items"));
    check_schema(document, node_get(document, schema, "additionalProperties"));
}

/* Every $ref of the document resolves; no forbidden word anywhere outside examples. */
static void check_everywhere(struct document *document)
{
    for (int i = 1; yaml_document_get_node(&document->yaml, i) != NULL; i++) {
        node each = yaml_document_get_node(&document->yaml, i);
        if (!node_is_mapping(each)) {
            continue;
        }
        if (node_get(document, each, "$ref") != NULL) {
            (void)node_resolve(document, each); /* reports */
        }
        for (size_t j = 0; forbidden_words[j] != NULL; j++) {
            if (node_get(document, each, forbidden_words[j]) != NULL) {
                document_fault(document, each, "'%s' is not to be used", forbidden_words[j]);
            }
        }
    }
}

static bool is_referred(struct document *document, const char *kind, const char *name)
{
    char reference[256];
    int size = snprintf(reference, sizeof reference, "#/components/%s/%s", kind, name);
    if (size < 0 || (size_t)size >= sizeof reference) {
        return false;
    }
    for (int i = 1; yaml_document_get_node(&document->yaml, i) != NULL; i++) {
        node each = yaml_document_get_node(&document->yaml, i);
        if (node_is_mapping(each) && node_is_text(node_get(document, each, "$ref"), reference)) {
            return true;
        }
    }
    return false;
}

static void check_components(struct document *document)
{
    static const char *const kinds[] = {"parameters", "headers", "responses", "schemas"};
    node components = node_get(document, document_root(document), "components");
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        node group = node_get(document, components, kinds[k]);
        for (size_t i = 0; i < node_count(group); i++) {
            const char *name = NULL;
            node component = NULL;
            node_member(document, group, i, &name, &component);
            if (!is_referred(document, kinds[k], name)) {
                document_fault(document, component, "%s/%s is used nowhere", kinds[k], name);
            }
            if (strcmp(kinds[k], "schemas") == 0) {
                check_schema(document, component);
            }
        }
    }
}

static void check_head(struct document *document)
{
    node root = document_root(document);
    node info = node_get(document, root, "info");
    const char *version = node_text(node_get(document, root, "openapi"));
    if (version == NULL || strncmp(version, "3.1.", 4) != 0) {
        document_fault(document, root, "the contract is OpenAPI 3.1");
    }
    if (node_text(node_get(document, info, "title")) == NULL ||
        node_text(node_get(document, info, "version")) == NULL ||
        node_text(node_get(document, info, "description")) == NULL) {
        document_fault(document, info, "info needs title, version and description");
    }
    if (node_count(node_get(document, root, "security")) == 0) {
        document_fault(document, root, "default deny: the document needs a security entry");
    }
}

void lint_check(struct document *document, const struct operations *operations)
{
    check_head(document);
    for (size_t i = 0; i < operations->count; i++) {
        const struct operation *operation = &operations->items[i];
        check_identity(document, operations, i);
        check_tags(document, operation);
        check_parameters(document, operation);
        check_request(document, operation);
        check_responses(document, operation);
    }
    check_everywhere(document);
    check_components(document);
}
