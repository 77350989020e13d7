/*
 * Changes of a table definition: what may change under data that exists, and
 * why the rest may not. The rule behind every decision: rows already stored
 * must obey the new definition without being read, and index and log must not
 * need a rewrite.
 */
#include "storage/columns/schema.h"

#include "storage/columns/schema_build.h"

#include <assert.h>

static bool texts_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static enum err_code refuse(struct err *err, const struct field *field, const char *reason)
{
    return err_set(err, ERR_CONFLICT, "field '%s': %s", field->name, reason);
}

/* ---- one field ------------------------------------------------------------------------ */

/* That key and sequence_by stay nullable:false is a rule of every definition already. */
static enum err_code check_nature(const struct field *was, const struct field *now, struct err *err)
{
    if (was->type != now->type || was->precision != now->precision || was->scale != now->scale) {
        return refuse(err, was, "its type cannot change; add a field of the new type instead");
    }
    if (was->nullable && !now->nullable) {
        return refuse(err, was, "it cannot become nullable:false, stored rows may hold nulls");
    }
    if (was->phi != now->phi) {
        return refuse(err, was,
                      now->phi ? "phi cannot be set later, its values are in statistics already"
                               : "phi cannot be taken back");
    }
    return ERR_OK;
}

/* Is every value of the old enum in the new one? */
static bool enum_is_looser(const struct field *was, const struct field *now)
{
    if (now->enum_count == 0) {
        return true;
    }
    if (was->enum_count == 0) {
        return false;
    }
    for (size_t i = 0; i < was->enum_count; i++) {
        if (!field_enum_holds(now, was->enum_values[i])) {
            return false;
        }
    }
    return true;
}

static bool minimum_is_looser(const struct field *was, const struct field *now)
{
    if (!now->has_minimum) {
        return true;
    }
    return was->has_minimum && schema_bound_compare(was->type, now->minimum, was->minimum) <= 0;
}

static bool maximum_is_looser(const struct field *was, const struct field *now)
{
    if (!now->has_maximum) {
        return true;
    }
    return was->has_maximum && schema_bound_compare(was->type, now->maximum, was->maximum) >= 0;
}

static enum err_code check_rules(const struct field *was, const struct field *now, struct err *err)
{
    if (now->max_length >= 0 && (was->max_length < 0 || now->max_length < was->max_length)) {
        return refuse(err, was, "max_length cannot shrink, stored values may be longer");
    }
    if (now->pattern_text != NULL && !texts_equal(was->pattern_text, now->pattern_text)) {
        return refuse(err, was, "pattern can be dropped but not set or changed");
    }
    if (!enum_is_looser(was, now)) {
        return refuse(err, was, "enum can gain values or be dropped, not lose values or be set");
    }
    if (!minimum_is_looser(was, now)) {
        return refuse(err, was, "minimum can be lowered or dropped, not raised or set");
    }
    if (!maximum_is_looser(was, now)) {
        return refuse(err, was, "maximum can be raised or dropped, not lowered or set");
    }
    if (now->format != FORMAT_NONE && now->format != was->format) {
        return refuse(err, was, "format can be dropped but not set or changed");
    }
    return ERR_OK;
}

static enum err_code check_fields(const struct schema *current, const struct schema *next,
                                  struct err *err)
{
    for (size_t i = 0; i < current->fields_count; i++) {
        const struct field *was = &current->fields[i];
        int found = schema_field_index(next, span_of_text(was->name));
        if (found < 0) {
            return refuse(err, was, "fields cannot be dropped or renamed");
        }
        TRY(check_nature(was, &next->fields[found], err));
        TRY(check_rules(was, &next->fields[found], err));
    }
    for (size_t i = 0; i < next->fields_count; i++) {
        const struct field *now = &next->fields[i];
        struct span name = span_of_text(now->name);
        if (schema_field_index(current, name) >= 0) {
            continue;
        }
        if (schema_find_ignoring_case(current->fields, current->fields_count, name) >= 0) {
            return refuse(err, now, "a field of this name in other case exists");
        }
        if (!now->nullable) {
            return refuse(err, now, "an added field must be nullable, stored rows do not have it");
        }
    }
    return ERR_OK;
}

/* ---- the table -------------------------------------------------------------------------- */

/* Do two lists of indexes, each into its schema, name the same fields in the same order? */
static bool names_equal(const struct schema *a, const size_t *a_fields, size_t a_count,
                        const struct schema *b, const size_t *b_fields, size_t b_count)
{
    if (a_count != b_count) {
        return false;
    }
    for (size_t i = 0; i < a_count; i++) {
        if (strcmp(a->fields[a_fields[i]].name, b->fields[b_fields[i]].name) != 0) {
            return false;
        }
    }
    return true;
}

static bool lookup_equal(const struct schema *a, const struct lookup_column *x,
                         const struct schema *b, const struct lookup_column *y)
{
    return strcmp(x->entity, y->entity) == 0 && strcmp(x->as, y->as) == 0 &&
           strcmp(a->fields[x->column].name, b->fields[y->column].name) == 0;
}

static bool has_lookup(const struct schema *schema, const struct schema *other,
                       const struct lookup_column *lookup)
{
    for (size_t i = 0; i < schema->lookup_count; i++) {
        if (lookup_equal(schema, &schema->lookup[i], other, lookup)) {
            return true;
        }
    }
    return false;
}

static enum err_code check_table(const struct schema *current, const struct schema *next,
                                 struct err *err)
{
    if (!names_equal(current, current->key, current->key_count, next, next->key, next->key_count)) {
        return err_set(err, ERR_CONFLICT, "key cannot change, stored rows are identified by it");
    }
    if (!names_equal(current, &current->sequence, current->has_sequence, next, &next->sequence,
                     next->has_sequence)) {
        return err_set(err, ERR_CONFLICT,
                       "sequence_by cannot change, stored rows are ordered by it");
    }
    if (!names_equal(current, current->partition, current->partition_count, next, next->partition,
                     next->partition_count)) {
        return err_set(err, ERR_CONFLICT,
                       "partition_by cannot change, stored files are laid out "
                       "by it");
    }
    if (current->merge != next->merge) {
        return err_set(err, ERR_CONFLICT, "merge cannot change, the table's protocol follows it");
    }
    for (size_t i = 0; i < current->lookup_count; i++) {
        if (!has_lookup(next, current, &current->lookup[i])) {
            return err_set(err, ERR_CONFLICT,
                           "lookup '%s' of '%s' cannot be dropped or changed, views use it",
                           current->lookup[i].as, current->lookup[i].entity);
        }
    }
    return ERR_OK;
}

/* ---- the result: `next` with what exists in its old place -------------------------------- */

/* Fields that exist keep index and id; the new ones follow in the order given. */
static struct json *order_fields(const struct schema *current, const struct schema *next,
                                 const struct json *fields)
{
    struct json *ordered = json_new_array();
    for (size_t i = 0; i < current->fields_count; i++) {
        int index = schema_field_index(next, span_of_text(current->fields[i].name));
        json_append(ordered, json_duplicate(json_at(fields, (size_t)index)));
    }
    for (size_t i = 0; i < next->fields_count; i++) {
        if (schema_field_index(current, span_of_text(next->fields[i].name)) < 0) {
            json_append(ordered, json_duplicate(json_at(fields, i)));
        }
    }
    return ordered;
}

/* The same for lookups: posting lists are numbered by them. */
static struct json *order_lookups(const struct schema *current, const struct schema *next,
                                  const struct json *old_lookups, const struct json *lookups)
{
    struct json *ordered = json_duplicate(old_lookups);
    for (size_t i = 0; i < next->lookup_count; i++) {
        if (!has_lookup(current, next, &next->lookup[i])) {
            json_append(ordered, json_duplicate(json_at(lookups, i)));
        }
    }
    return ordered;
}

static struct json *merged_definition(const struct schema *current, const struct schema *next,
                                      const struct json *old_definition)
{
    struct json *definition = schema_to_json(next);
    const struct json *fields = json_get(json_get(definition, "schema"), "fields");
    struct json *inner = json_new_object();
    json_set(inner, "fields", order_fields(current, next, fields));
    struct json *lookups = order_lookups(current, next, json_get(old_definition, "lookup"),
                                         json_get(definition, "lookup"));
    json_set(definition, "schema", inner);
    json_set(definition, "lookup", lookups);
    return definition;
}

enum err_code schema_evolve(const struct schema *current, const struct schema *next,
                            struct schema **schema_out, bool *same_out, struct err *err)
{
    TRY(check_fields(current, next, err));
    TRY(check_table(current, next, err));
    CLEANUP(json_free) struct json *old_definition = schema_to_json(current);
    CLEANUP(json_free) struct json *definition = merged_definition(current, next, old_definition);
    if (json_equals(old_definition, definition)) {
        *schema_out = schema_acquire(current);
        *same_out = true;
        return ERR_OK;
    }
    TRY(schema_load(definition, current->version + 1, schema_out, err));
    *same_out = false;
    return ERR_OK;
}
