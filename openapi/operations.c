/*
 * Reads operations out of the document and checks what the route table cannot do
 * without: identity, permission, limits, path parameters, known member names.
 */
#include "openapi/generate.h"

#include <string.h>

static const char *const methods[] = {"get", "put", "post", "delete", "patch"};

static const char *const path_item_names[] = {"parameters", "summary", "description", "get", "put",
                                              "post",       "delete",  "patch",       NULL};
static const char *const operation_names[] = {
    "operationId", "tags",      "summary",      "description",   "parameters",
    "requestBody", "responses", "security",     "deprecated",    "x-permission",
    "x-phi",       "x-inline",  "x-body-limit", "x-arena-limit", NULL};
static const char *const permission_names[] = {"action", "resource", NULL};
static const char *const parameter_names[] = {
    "name", "in", "required", "description", "explode", "schema", "example", "x-identifier", NULL};

static void check_names(struct document *document, node mapping, const char *const allowed[],
                        const char *what)
{
    size_t count = node_count(mapping);
    for (size_t i = 0; i < count; i++) {
        const char *name = NULL;
        node value = NULL;
        node_member(document, mapping, i, &name, &value);
        bool known = false;
        for (size_t j = 0; allowed[j] != NULL; j++) {
            known = known || strcmp(name, allowed[j]) == 0;
        }
        if (!known) {
            document_fault(document, value, "%s has an unknown member '%s'", what, name);
        }
    }
}

static void add_parameters(struct document *document, struct operation *operation, node list)
{
    size_t count = node_count(list);
    for (size_t i = 0; i < count; i++) {
        node parameter = node_resolve(document, node_at(document, list, i));
        if (parameter == NULL) {
            continue;
        }
        check_names(document, parameter, parameter_names, operation->id);
        if (operation->parameters_count == OPERATION_PARAMETERS_MAX) {
            document_fault(document, parameter, "too many parameters");
            return;
        }
        operation->parameters[operation->parameters_count] = parameter;
        operation->parameters_count++;
    }
}

static bool has_path_parameter(struct document *document, const struct operation *operation,
                               const char *name, size_t size)
{
    for (size_t i = 0; i < operation->parameters_count; i++) {
        node parameter = operation->parameters[i];
        const char *own = node_text(node_get(document, parameter, "name"));
        if (node_is_text(node_get(document, parameter, "in"), "path") && own != NULL &&
            strlen(own) == size && strncmp(own, name, size) == 0) {
            return true;
        }
    }
    return false;
}

/* Each {name} of the path is a declared parameter, and the other way round. */
static void check_path(struct document *document, const struct operation *operation)
{
    size_t in_path = 0;
    for (const char *at = strchr(operation->path, '{'); at != NULL; at = strchr(at + 1, '{')) {
        size_t size = strcspn(at + 1, "}");
        in_path++;
        if (!has_path_parameter(document, operation, at + 1, size)) {
            document_fault(document, operation->body, "%s: path parameter '%.*s' is not declared",
                           operation->id, (int)size, at + 1);
        }
    }
    size_t declared = 0;
    for (size_t i = 0; i < operation->parameters_count; i++) {
        declared += node_is_text(node_get(document, operation->parameters[i], "in"), "path");
    }
    if (declared != in_path || in_path > OPERATION_PATH_PARAMETERS_MAX) {
        document_fault(document, operation->body,
                       "%s: the path has %zu parameters, %zu are declared, %d are possible",
                       operation->id, in_path, declared, OPERATION_PATH_PARAMETERS_MAX);
    }
}

/* The log line of a request has room for one person, named by the path. */
static void read_identifier(struct document *document, struct operation *operation)
{
    for (size_t i = 0; i < operation->parameters_count; i++) {
        node parameter = operation->parameters[i];
        if (!node_true(node_get(document, parameter, "x-identifier"))) {
            continue;
        }
        if (!node_is_text(node_get(document, parameter, "in"), "path") ||
            operation->identifier != NULL) {
            document_fault(document, parameter, "%s: x-identifier is for one path parameter",
                           operation->id);
        }
        operation->identifier = node_text(node_get(document, parameter, "name"));
    }
}

static void read_permission(struct document *document, struct operation *operation)
{
    node security = node_get(document, operation->body, "security");
    operation->is_public = node_is_sequence(security) && node_count(security) == 0;
    node permission = node_get(document, operation->body, "x-permission");
    if (operation->is_public) {
        if (permission != NULL) {
            document_fault(document, permission, "%s: public, yet it names a permission",
                           operation->id);
        }
        return;
    }
    check_names(document, permission, permission_names, "x-permission");
    operation->action = node_text(node_get(document, permission, "action"));
    operation->resource = node_text(node_get(document, permission, "resource"));
    if (operation->action == NULL) {
        document_fault(document, operation->body, "%s: no x-permission with an action",
                       operation->id);
    }
    if (operation->resource != NULL && !has_path_parameter(document, operation, operation->resource,
                                                           strlen(operation->resource))) {
        document_fault(document, permission, "%s: resource '%s' is no path parameter",
                       operation->id, operation->resource);
    }
}

static void read_limits(struct document *document, struct operation *operation)
{
    node arena = node_get(document, operation->body, "x-arena-limit");
    if (!node_integer(arena, &operation->arena_bytes_max) || operation->arena_bytes_max <= 0) {
        document_fault(document, operation->body, "%s: no x-arena-limit", operation->id);
    }
    node body = node_get(document, operation->body, "x-body-limit");
    bool limited = node_integer(body, &operation->body_bytes_max) && operation->body_bytes_max > 0;
    if (limited != (operation->request != NULL)) {
        document_fault(document, operation->body, "%s: x-body-limit and requestBody go together",
                       operation->id);
    }
}

static void read_operation(struct document *document, struct operations *operations,
                           const char *path, node item, const char *method, node body)
{
    if (operations->count == OPERATIONS_MAX) {
        document_fault(document, body, "too many operations");
        return;
    }
    struct operation *operation = &operations->items[operations->count];
    operations->count++;
    *operation = (struct operation){.path = path, .method = method, .body = body};
    operation->id = node_text(node_get(document, body, "operationId"));
    if (operation->id == NULL) {
        document_fault(document, body, "%s %s has no operationId", method, path);
        operation->id = "unnamed";
    }
    check_names(document, body, operation_names, operation->id);
    add_parameters(document, operation, node_get(document, item, "parameters"));
    add_parameters(document, operation, node_get(document, body, "parameters"));
    operation->request = node_resolve(document, node_get(document, body, "requestBody"));
    check_path(document, operation);
    read_identifier(document, operation);
    read_permission(document, operation);
    read_limits(document, operation);
}

void operations_read(struct document *document, struct operations *operations)
{
    node paths = node_get(document, document_root(document), "paths");
    if (node_count(paths) == 0) {
        document_fault(document, document_root(document), "there are no paths");
    }
    size_t paths_count = node_count(paths);
    for (size_t i = 0; i < paths_count; i++) {
        const char *path = NULL;
        node item = NULL;
        node_member(document, paths, i, &path, &item);
        check_names(document, item, path_item_names, path);
        for (size_t j = 0; j < sizeof methods / sizeof methods[0]; j++) {
            node body = node_get(document, item, methods[j]);
            if (body != NULL) {
                read_operation(document, operations, path, item, methods[j], body);
            }
        }
    }
}
