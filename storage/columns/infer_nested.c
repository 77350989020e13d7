/*
 * Nested columns of a sample. See infer_work.h.
 *
 * Objects are looked at in two ways: by their names, which makes a struct, and by their
 * values alone, which makes a map; which of the two it is shows in the names.
 */
#include "storage/columns/infer_work.h"

#include "storage/base/mem.h"
#include "storage/columns/schema_build.h"

#include <strings.h>

enum {
    STRUCT_FIELDS_SURE = 32, /* so many names may be fields even when each is rare */
    NAME_RARE_PARTS = 10,    /* a name is rare when fewer than one in so many objects has it */
};

static struct infer *sample_of(struct infer **sample)
{
    if (*sample == NULL) {
        *sample = mem_alloc(sizeof **sample);
        infer_init(*sample);
        (*sample)->within = true;
    }
    return *sample;
}

struct infer *infer_objects_of(struct infer_column *column)
{
    return sample_of(&column->objects);
}

struct infer *infer_elements_of(struct infer_column *column)
{
    return sample_of(&column->elements);
}

/* Do the names stand in most objects, and can fields be called so? */
static bool are_fields(const struct infer *objects)
{
    int64_t rare = 0;
    for (size_t i = 0; i < objects->columns_count; i++) {
        const struct infer_column *member = &objects->columns[i];
        struct err ignored = {0};
        if (strlen(member->source_name) != member->source_name_size ||
            schema_check_name(member->source_name, &ignored) != ERR_OK) {
            return false;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcasecmp(objects->columns[k].source_name, member->source_name) == 0) {
                return false;
            }
        }
        rare += (objects->records - member->nulls) * NAME_RARE_PARTS < objects->records;
    }
    return !objects->more && objects->columns_count > 0 &&
           (objects->columns_count <= STRUCT_FIELDS_SURE ||
            rare * 2 < (int64_t)objects->columns_count);
}

/* The first part that no type holds. */
static const char *refused_part(const struct infer *sample)
{
    for (size_t i = 0; i < sample->columns_count; i++) {
        if (sample->columns[i].left_out != NULL) {
            return sample->columns[i].left_out;
        }
    }
    return NULL;
}

void infer_decide_nested(struct infer_column *column)
{
    if (column->objects_count > 0 && column->arrays_count > 0) {
        column->left_out = "has objects and arrays, which no type holds both";
        return;
    }
    if (column->arrays_count > 0) {
        column->type = COLUMN_ARRAY;
        infer_decide(column->elements);
        column->left_out = refused_part(column->elements);
        return;
    }
    if (column->objects->records == 0 || column->elements->records == 0) {
        column->left_out = "has empty objects only";
        return;
    }
    if (are_fields(column->objects)) {
        column->type = COLUMN_STRUCT;
        infer_decide(column->objects);
        column->left_out = refused_part(column->objects);
        if (column->left_out == NULL) {
            return;
        }
    }
    column->type = COLUMN_MAP;
    infer_decide(column->elements);
    const char *refused = refused_part(column->elements);
    column->left_out =
        refused != NULL ? (column->left_out != NULL ? column->left_out : refused) : NULL;
}

/* ---- types that the sample says ---- */

static const char *refused_type(const struct field *field)
{
    struct err ignored = {0};
    if (field->type == COLUMN_MAP && !column_type_is_key(field->children[0].type)) {
        return "has a map whose keys have no text each";
    }
    for (size_t i = 0; i < field->children_count; i++) {
        const struct field *child = &field->children[i];
        if (field->type == COLUMN_STRUCT && schema_check_name(child->name, &ignored) != ERR_OK) {
            return "has a struct with a field whose name no table can have";
        }
        const char *refused = refused_type(child); /* bounded by SCHEMA_DEPTH_MAX */
        if (refused != NULL) {
            return refused;
        }
    }
    return NULL;
}

void infer_take_nested(struct infer_column *column, const struct field *field)
{
    column->given = field;
    column->left_out = refused_type(field);
}

/* ---- the type as a definition has it ---- */

static struct json *struct_type(const struct infer *objects)
{
    struct json *type = json_new_object();
    struct json *fields = json_new_array();
    for (size_t i = 0; i < objects->columns_count; i++) {
        json_append(fields, infer_field(&objects->columns[i], true));
    }
    json_set_text(type, "type", "struct");
    json_set(type, "fields", fields);
    return type;
}

struct json *infer_nested_type(const struct infer_column *column)
{
    if (column->given != NULL) {
        return schema_type_to_json(column->given);
    }
    if (column->type == COLUMN_STRUCT) {
        return struct_type(column->objects);
    }
    struct json *type = json_new_object();
    bool is_map = column->type == COLUMN_MAP;
    bool seen = column->elements->columns_count > 0 && column->elements->records > 0;
    bool nullable = !seen || column->elements->columns[0].nullable;
    json_set_text(type, "type", is_map ? "map" : "array");
    if (is_map) {
        json_set_text(type, "keyType", "string");
    }
    json_set(type, is_map ? "valueType" : "elementType",
             seen ? infer_type(&column->elements->columns[0]) : json_new_text("string"));
    json_set_boolean(type, is_map ? "valueContainsNull" : "containsNull", nullable);
    return type;
}
