/*
 * Constraints of a table. See constraints.h.
 */
#include "storage/delta/constraints.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/columns/predicate.h"

#include <string.h>

#define INVARIANT_NAME "delta.invariants"

void constraints_deinit(struct constraints *constraints)
{
    for (size_t i = 0; i < constraints->count; i++) {
        mem_free(constraints->items[i].name);
        mem_free(constraints->items[i].text);
        predicate_free(&constraints->items[i].predicate);
    }
    mem_free(constraints->items);
    *constraints = (struct constraints){0};
}

bool constraints_are_there(const struct delta_metadata *metadata)
{
    for (size_t i = 0; i < metadata->configuration_count; i++) {
        if (strncmp(metadata->configuration[i].name, DELTA_CONSTRAINT_PREFIX,
                    sizeof DELTA_CONSTRAINT_PREFIX - 1) == 0) {
            return true;
        }
    }
    return strstr(metadata->schema_string, "\"" INVARIANT_NAME "\"") != NULL;
}

static enum err_code add(struct constraints *constraints, const char *what, const char *name,
                         const char *text, const struct schema *schema, struct err *err)
{
    struct predicate *predicate = NULL;
    if (constraints->count == CONSTRAINTS_MAX) {
        return err_set(err, ERR_UNSUPPORTED, "the table has more than %d constraints",
                       CONSTRAINTS_MAX);
    }
    if (predicate_parse(span_of_text(text), schema, &predicate, err) != ERR_OK) {
        err->code = ERR_UNSUPPORTED;
        return err_wrap(err, "%s %s (%.200s) cannot be evaluated", what, name, text);
    }
    constraints->items =
        mem_resize(constraints->items, constraints->count + 1, sizeof *constraints->items);
    constraints->items[constraints->count++] = (struct constraint){
        .name = mem_copy_text(name), .text = mem_copy_text(text), .predicate = predicate};
    return ERR_OK;
}

static enum err_code add_checks(const struct delta_metadata *metadata, const struct schema *schema,
                                struct constraints *constraints, struct err *err)
{
    static const size_t prefix = sizeof DELTA_CONSTRAINT_PREFIX - 1;
    for (size_t i = 0; i < metadata->configuration_count; i++) {
        const struct delta_pair *pair = &metadata->configuration[i];
        if (strncmp(pair->name, DELTA_CONSTRAINT_PREFIX, prefix) == 0 && pair->value != NULL) {
            TRY(add(constraints, "constraint", pair->name + prefix, pair->value, schema, err));
        }
    }
    return ERR_OK;
}

/* {"expression":{"expression":"…"}}, as text in the field's metadata. */
static enum err_code add_invariant(const char *column, const char *text,
                                   const struct schema *schema, struct constraints *constraints,
                                   struct err *err)
{
    CLEANUP(json_free) struct json *invariant = NULL;
    struct err malformed = {0};
    const char *expression = NULL;
    if (json_parse(span_of_text(text), &invariant, &malformed) == ERR_OK) {
        expression = json_text(json_get(json_get(invariant, "expression"), "expression"));
    }
    if (expression == NULL) {
        return err_set(err, ERR_UNSUPPORTED,
                       "column %s carries " INVARIANT_NAME " in a form that is not known", column);
    }
    return add(constraints, "the invariant of column", column, expression, schema, err);
}

static enum err_code add_invariants(const struct delta_metadata *metadata,
                                    const struct schema *schema, struct constraints *constraints,
                                    struct err *err)
{
    CLEANUP(json_free) struct json *root = NULL;
    if (strstr(metadata->schema_string, "\"" INVARIANT_NAME "\"") == NULL) {
        return ERR_OK; /* most tables: nothing to parse */
    }
    if (json_parse(span_of_text(metadata->schema_string), &root, err) != ERR_OK) {
        err->code = ERR_CORRUPT; /* it was read from a log */
        return err_wrap(err, "schemaString");
    }
    const struct json *fields = json_get(root, "fields");
    size_t found = 0;
    for (size_t i = 0; i < json_count(fields); i++) {
        const struct json *field = json_at(fields, i);
        const char *name = json_text(json_get(field, "name"));
        const char *text = json_text(json_get(json_get(field, "metadata"), INVARIANT_NAME));
        if (name != NULL && text != NULL) {
            found++;
            TRY(add_invariant(name, text, schema, constraints, err));
        }
    }
    if (found == 0) {
        return err_set(err, ERR_UNSUPPORTED,
                       "a nested column carries " INVARIANT_NAME ", which cannot be evaluated");
    }
    return ERR_OK;
}

enum err_code constraints_load(const struct delta_metadata *metadata, const struct schema *schema,
                               struct constraints *constraints_out, struct err *err)
{
    CLEANUP(constraints_deinit) struct constraints constraints = {0};
    TRY(add_checks(metadata, schema, &constraints, err));
    TRY(add_invariants(metadata, schema, &constraints, err));
    *constraints_out = constraints;
    constraints = (struct constraints){0};
    return ERR_OK;
}

const struct constraint *constraints_broken(const struct constraints *constraints,
                                            const struct frame *frame, int64_t row)
{
    for (size_t i = 0; i < constraints->count; i++) {
        if (predicate_evaluate(constraints->items[i].predicate, frame, row) != PREDICATE_TRUE) {
            return &constraints->items[i];
        }
    }
    return NULL;
}
