/*
 * Constraints of a definition: names and conditions. See schema.h.
 */
#include "storage/columns/schema.h"

#include "storage/base/mem.h"
#include "storage/columns/predicate.h"
#include "storage/columns/schema_build.h"

#include <string.h>

enum { POINTER_BYTES = 64 };

static enum err_code parse_constraint(const struct json *value, size_t index, struct schema *schema,
                                      struct err *err)
{
    static const char *const allowed[] = {"name", "check", NULL};
    char pointer[POINTER_BYTES];
    (void)snprintf(pointer, sizeof pointer, "/constraints/%zu", index); /* fits */
    if (json_kind(value) != JSON_KIND_OBJECT) {
        return err_set(err, ERR_INVALID, "%s: must be an object with name and check", pointer);
    }
    TRY(json_check_names(value, pointer, allowed, err));
    const char *name = schema_plain_name(json_get(value, "name"));
    const char *check = json_text(json_get(value, "check"));
    if (name == NULL) {
        return err_set(
            err, ERR_INVALID,
            "%s/name: must be 1 to %d of a-z, 0-9 and underscore, starting with a letter", pointer,
            SCHEMA_PLAIN_NAME_BYTES_MAX);
    }
    for (size_t i = 0; i < index; i++) {
        if (strcmp(schema->constraints[i].name, name) == 0) {
            return err_set(err, ERR_INVALID, "%s/name: there are two of this name", pointer);
        }
    }
    CLEANUP(predicate_free) struct predicate *predicate = NULL;
    if (check == NULL) {
        return err_set(err, ERR_INVALID, "%s/check: must be a condition, such as age >= 18",
                       pointer);
    }
    if (predicate_parse(span_of_text(check), schema, &predicate, err) != ERR_OK) {
        err->code = ERR_INVALID;
        return err_wrap(err, "%s/check", pointer);
    }
    schema->constraints[index] =
        (struct schema_constraint){.name = mem_copy_text(name), .check = mem_copy_text(check)};
    schema->constraints_count = index + 1;
    return ERR_OK;
}

enum err_code schema_parse_constraints(const struct json *value, struct schema *schema,
                                       struct err *err)
{
    size_t count = json_count(value);
    if (json_kind(value) == JSON_KIND_NULL) {
        return ERR_OK;
    }
    if (json_kind(value) != JSON_KIND_ARRAY || count > SCHEMA_CONSTRAINTS_MAX) {
        return err_set(err, ERR_INVALID, "/constraints: must be an array of at most %d objects",
                       SCHEMA_CONSTRAINTS_MAX);
    }
    schema->constraints = mem_zeroed(count + 1, sizeof *schema->constraints);
    for (size_t i = 0; i < count; i++) {
        TRY(parse_constraint(json_at(value, i), i, schema, err));
    }
    return ERR_OK;
}

bool schema_has_constraint(const struct schema *schema, const struct schema_constraint *constraint)
{
    for (size_t i = 0; i < schema->constraints_count; i++) {
        if (strcmp(schema->constraints[i].name, constraint->name) == 0 &&
            strcmp(schema->constraints[i].check, constraint->check) == 0) {
            return true;
        }
    }
    return false;
}
