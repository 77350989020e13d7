/*
 * A schema with one more text column, for rows that are told with something about them.
 * See schema.h.
 */
#include "storage/columns/schema.h"

#include "storage/base/mem.h"
#include "storage/columns/schema_build.h"

static char *copy_or_null(const char *text)
{
    return text != NULL ? mem_copy_text(text) : NULL;
}

/* What rows are read and written by; rules are for records that come in. Recursion is bounded by
 * SCHEMA_DEPTH_MAX.
 */
static void copy_shape(struct field *target, const struct field *source)
{
    target->name = mem_copy_text(source->name);
    target->type = source->type;
    target->precision = source->precision;
    target->scale = source->scale;
    target->nullable = source->nullable;
    target->phi = source->phi;
    target->description = copy_or_null(source->description);
    target->physical_name = copy_or_null(source->physical_name);
    target->physical_id = source->physical_id;
    target->mapping_id = source->mapping_id;
    if (source->children_count > 0) {
        target->children = schema_fields_new(source->children_count);
        target->children_count = source->children_count;
    }
    for (size_t i = 0; i < source->children_count; i++) {
        copy_shape(&target->children[i], &source->children[i]);
    }
}

enum err_code schema_extend(const struct schema *schema, const char *name,
                            struct schema **schema_out, struct err *err)
{
    size_t count = schema->fields_count;
    if (count == SCHEMA_FIELDS_MAX) {
        return err_set(err, ERR_UNSUPPORTED, "the table has %zu columns; no room for %s", count,
                       name);
    }
    if (schema_find_ignoring_case(schema->fields, count, span_of_text(name)) >= 0) {
        return err_set(err, ERR_UNSUPPORTED, "the table has a column '%s' itself", name);
    }
    CLEANUP(schema_release) struct schema *extended = schema_new(count + 1);
    for (size_t i = 0; i < count; i++) {
        copy_shape(&extended->fields[i], &schema->fields[i]);
        extended->fields[i].id = schema->fields[i].id;
    }
    struct field *added = &extended->fields[count];
    added->name = mem_copy_text(name);
    added->type = COLUMN_STRING;
    added->id = schema->next_field_id;
    if (schema_is_mapped(schema)) {
        added->physical_name = mem_copy_text(name);
    }
    extended->partition_count = schema->partition_count;
    for (size_t i = 0; i < schema->partition_count; i++) {
        extended->partition[i] = schema->partition[i];
    }
    schema_seal(extended);
    *schema_out = extended;
    extended = NULL;
    return ERR_OK;
}
