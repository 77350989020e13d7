/*
 * What the columns of a table are called in its files. See schema.h.
 * Source: delta PROTOCOL.md "Column Mapping".
 */
#include "storage/columns/schema.h"

#include "storage/base/id.h"
#include "storage/base/mem.h"
#include "storage/columns/schema_build.h"

#include <assert.h>
#include <stdio.h>

/*
 * Fields of a struct have names in files and ids; what is in an array or map has none itself.
 * Recursion here and below is bounded by SCHEMA_DEPTH_MAX.
 */
static int32_t id_max(const struct field *fields, size_t count)
{
    int32_t highest = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t below = id_max(fields[i].children, fields[i].children_count);
        highest = fields[i].mapping_id > highest ? fields[i].mapping_id : highest;
        highest = below > highest ? below : highest;
    }
    return highest;
}

int32_t schema_mapping_id_max(const struct schema *schema)
{
    int32_t highest = id_max(schema->fields, schema->fields_count);
    /* those of fields that were dropped are not given again */
    return schema_is_mapped(schema) && highest < schema->next_field_id - 1
               ? schema->next_field_id - 1
               : highest;
}

static void set_name(struct field *field, const char *name)
{
    mem_free(field->physical_name);
    field->physical_name = mem_copy_text(name);
}

/* As Spark names them: nothing was ever called so. */
static void set_new_name(struct field *field)
{
    char name[sizeof "col-" + ID_TEXT_BYTES];
    (void)snprintf(name, sizeof name, "col-%s", id_new_random().text); /* fits */
    set_name(field, name);
}

/* By the name in the table: another engine may have the fields of a struct in another order. */
static const struct field *find_child(const struct field *parent, const char *name)
{
    for (size_t i = 0; i < parent->children_count; i++) {
        if (strcmp(parent->children[i].name, name) == 0) {
            return &parent->children[i];
        }
    }
    return NULL;
}

static void copy_mapping(struct field *field, const struct field *source)
{
    if (source->physical_name != NULL) {
        set_name(field, source->physical_name);
        field->physical_id = source->physical_id;
        field->mapping_id = source->mapping_id;
    }
    for (size_t i = 0; i < field->children_count; i++) {
        const struct field *child = find_child(source, field->children[i].name);
        if (child != NULL) {
            copy_mapping(&field->children[i], child);
        }
    }
}

/* How fields that have no names and ids yet get them. */
struct naming {
    bool by_id;       /* files' columns are found by ids */
    bool as_they_are; /* by the names they have; else by new ones */
    int32_t id_last;  /* given so far */
};

static void complete(struct naming *naming, struct field *field, bool of_struct)
{
    if (of_struct && field->physical_name == NULL && naming->as_they_are) {
        set_name(field, field->name);
    } else if (of_struct && field->physical_name == NULL) {
        set_new_name(field);
    }
    if (of_struct && field->mapping_id == 0) {
        field->mapping_id = ++naming->id_last;
        field->physical_id = naming->by_id ? field->mapping_id : 0;
    }
    for (size_t i = 0; i < field->children_count; i++) {
        complete(naming, &field->children[i], field->type == COLUMN_STRUCT);
    }
}

static void complete_all(struct naming *naming, struct schema *schema)
{
    for (size_t i = 0; i < schema->fields_count; i++) {
        complete(naming, &schema->fields[i], true);
    }
}

void schema_map_after(struct schema *schema, const struct schema *before)
{
    bool mapped = schema_is_mapped(before);
    struct naming naming = {
        .by_id = before->fields[0].physical_id != 0,
        .as_they_are = !mapped,
        .id_last = mapped ? schema_mapping_id_max(before) : before->next_field_id - 1,
    };
    for (size_t i = 0; i < schema->fields_count; i++) {
        struct field *field = &schema->fields[i];
        int index = schema_field_index_by_id(before, field->id);
        const struct field *was = index < 0 ? NULL : &before->fields[index];
        if (was != NULL && mapped) {
            copy_mapping(field, was);
        } else if (was != NULL) {
            set_name(field, was->name);
            field->mapping_id = was->id;
            complete(&naming, field, true);
        }
    }
    naming.as_they_are = false;
    complete_all(&naming, schema);
}

/* ---- as the log has it ---- */

static bool has_physical_name(const struct schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->fields_count; i++) {
        if (schema->fields[i].physical_name != NULL &&
            strcmp(schema->fields[i].physical_name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The log's column of that name, unless a field of ours is called in files as that one is. */
static const struct field *logged_column(const struct schema *schema, const struct field *field,
                                         const struct schema *logged)
{
    int index = schema_field_index(logged, span_of_text(field->name));
    if (index < 0) {
        return NULL;
    }
    const struct field *found = &logged->fields[index];
    return has_physical_name(schema, field_physical_name(found)) ? NULL : found;
}

/* Of a definition: its text says all but the mapping. */
static struct schema *schema_copy(const struct schema *schema)
{
    struct schema *copy = NULL;
    struct err err = {0};
    CLEANUP(json_free) struct json *definition = schema_to_stored_json(schema);
    enum err_code code = schema_load(definition, schema->version, &copy, &err);
    assert(code == ERR_OK);
    return copy;
}

struct schema *schema_adopt_mapping(const struct schema *schema, const struct schema *logged)
{
    bool changes = false;
    bool mapped = schema_is_mapped(schema) || schema_is_mapped(logged);
    for (size_t i = 0; mapped && i < schema->fields_count; i++) {
        changes = changes || logged_column(schema, &schema->fields[i], logged) != NULL;
    }
    if (!changes) {
        return schema_acquire(schema);
    }
    struct schema *adopted = schema_copy(schema);
    int32_t id_logged = schema_mapping_id_max(logged);
    struct naming naming = {
        .by_id = logged->fields[0].physical_id != 0,
        .id_last = id_logged >= schema->next_field_id ? id_logged : schema->next_field_id - 1,
    };
    for (size_t i = 0; i < schema->fields_count; i++) {
        const struct field *found = logged_column(schema, &schema->fields[i], logged);
        if (schema_is_mapped(schema)) {
            copy_mapping(&adopted->fields[i], &schema->fields[i]);
        }
        if (found != NULL && schema_is_mapped(logged)) {
            copy_mapping(&adopted->fields[i], found);
        } else if (found != NULL) {
            set_name(&adopted->fields[i], found->name);
        }
    }
    complete_all(&naming, adopted);
    return adopted;
}
