/*
 * Nested columns to levels. See shred.h for the contract.
 */
#include "storage/parquet/shred.h"

#include "storage/base/mem.h"
#include "storage/parquet/reader.h"

#include <assert.h>
#include <string.h>

enum { LEVELS_FIRST = 1024 };

/* Recursion here and below is bounded by SCHEMA_DEPTH_MAX. */
size_t shred_leaves_count(const struct field *field)
{
    if (!column_type_is_nested(field->type)) {
        return 1;
    }
    size_t count = 0;
    for (size_t i = 0; i < field->children_count; i++) {
        count += shred_leaves_count(&field->children[i]);
    }
    return count;
}

void shred_leaf_deinit(struct shred_leaf *leaf)
{
    mem_free(leaf->steps);
    mem_free((void *)leaf->path);
    *leaf = (struct shred_leaf){0};
}

/* ---- the schema ---- */

/* Where a field is being placed: the way to it, and the levels above it. */
struct place {
    struct file_writer *file;
    struct shred_leaf *leaves; /* to fill */
    size_t leaves_count;
    size_t field;
    struct shred_step steps[SCHEMA_DEPTH_MAX + 2];
    size_t steps_count;
    const char *names[PARQUET_SCHEMA_DEPTH_MAX + 2];
    size_t names_count;
    uint8_t repetition; /* of the innermost array or map */
};

static void add_leaf(struct place *place, const struct field *field,
                     const struct file_element *element)
{
    struct shred_leaf *leaf = &place->leaves[place->leaves_count++];
    *leaf = (struct shred_leaf){
        .field = place->field,
        .steps = mem_copy(place->steps, place->steps_count * sizeof *place->steps),
        .path = mem_copy(place->names, place->names_count * sizeof *place->names),
        .steps_count = place->steps_count,
        .path_count = place->names_count,
        .definition_max = place->steps[place->steps_count - 1].definition,
        .repetition_max = place->repetition,
    };
    file_writer_leaf(place->file, element, field->type, field->precision, field->scale, leaf->path,
                     leaf->path_count);
}

static void place_field(struct place *place, const struct field *field, const char *name,
                        uint8_t definition, bool is_required);

/* What is in an array or map has fixed names, fields of structs those of the table's files. */
static void place_children(struct place *place, const struct field *field)
{
    static const char *const parts[][2] = {{"element", NULL}, {"key", "value"}};
    struct shred_step *step = &place->steps[place->steps_count - 1];
    bool is_struct = field->type == COLUMN_STRUCT;
    bool is_map = field->type == COLUMN_MAP;
    uint8_t above = place->repetition;
    uint8_t definition = step->definition;
    if (!is_struct) {
        const struct file_element repeated = {.name = is_map ? "key_value" : "list",
                                              .repetition = PARQUET_REPEATED};
        place->names[place->names_count++] = repeated.name;
        file_writer_group(place->file, &repeated, field->children_count, PARQUET_CONVERTED_NONE);
        step->repetition = ++place->repetition;
        definition++;
    }
    for (size_t i = 0; i < field->children_count; i++) {
        const struct field *child = &field->children[i];
        const char *name = is_struct ? field_physical_name(child) : parts[is_map][i];
        step->child = i;
        place_field(place, child, name, definition, is_map && i == 0);
    }
    place->names_count -= is_struct ? 0 : 1;
    place->repetition = above;
}

static void place_field(struct place *place, const struct field *field, const char *name,
                        uint8_t definition, bool is_required)
{
    const struct file_element element = {
        .name = name,
        .repetition = is_required ? PARQUET_REQUIRED : PARQUET_OPTIONAL,
        .field_id = field->mapping_id,
    };
    assert(place->names_count < PARQUET_SCHEMA_DEPTH_MAX);
    assert(place->steps_count <= SCHEMA_DEPTH_MAX);
    place->names[place->names_count++] = name;
    place->steps[place->steps_count++] = (struct shred_step){
        .definition = (uint8_t)(definition + !is_required), .is_required = is_required};
    if (column_type_is_nested(field->type)) {
        bool is_struct = field->type == COLUMN_STRUCT;
        file_writer_group(place->file, &element, is_struct ? field->children_count : 1,
                          field->type == COLUMN_ARRAY ? PARQUET_CONVERTED_LIST
                          : is_struct                 ? PARQUET_CONVERTED_NONE
                                                      : PARQUET_CONVERTED_MAP);
        place_children(place, field);
    } else {
        add_leaf(place, field, &element);
    }
    place->steps_count--;
    place->names_count--;
}

void shred_place(const struct field *field, size_t index, struct file_writer *file,
                 struct shred_leaf *leaves_out)
{
    struct place place = {.file = file, .leaves = leaves_out, .field = index};
    place_field(&place, field, field_physical_name(field), 0, false);
}

/* ---- levels ---- */

void shred_levels_deinit(struct shred_levels *levels)
{
    mem_free(levels->definitions);
    mem_free(levels->repetitions);
    mem_free(levels->values);
    *levels = (struct shred_levels){0};
}

static void append_levels(struct shred_levels *levels, uint8_t definition, uint8_t repetition)
{
    if (levels->count == levels->capacity) {
        levels->capacity = levels->capacity > 0 ? levels->capacity * 2 : LEVELS_FIRST;
        levels->definitions = mem_resize(levels->definitions, levels->capacity, 1);
        levels->repetitions = mem_resize(levels->repetitions, levels->capacity, 1);
    }
    levels->definitions[levels->count] = definition;
    levels->repetitions[levels->count] = repetition;
    levels->count++;
}

static void append_value(struct shred_levels *levels, int64_t row)
{
    if (levels->values_count == levels->values_capacity) {
        levels->values_capacity =
            levels->values_capacity > 0 ? levels->values_capacity * 2 : LEVELS_FIRST;
        levels->values =
            mem_resize(levels->values, levels->values_capacity, sizeof *levels->values);
    }
    levels->values[levels->values_count++] = row;
}

/* False when a null stands where the file has no level for one. */
static bool shred_value(const struct shred_step *steps, size_t steps_count,
                        const struct column *column, int64_t row, uint8_t repetition,
                        struct shred_levels *levels)
{
    const struct shred_step *step = steps;
    if (!column_is_valid(column, row)) {
        append_levels(levels, (uint8_t)(step->definition - 1), repetition);
        return !step->is_required;
    }
    if (steps_count == 1) {
        append_levels(levels, step->definition, repetition);
        append_value(levels, row);
        return true;
    }
    const struct column *child = &column->children[step->child];
    if (column->type == COLUMN_STRUCT) {
        return shred_value(steps + 1, steps_count - 1, child, row, repetition, levels);
    }
    struct column_stretch elements = column_elements(column, row);
    if (elements.start == elements.end) {
        append_levels(levels, step->definition, repetition);
    }
    bool whole = true;
    for (int64_t at = elements.start; at < elements.end; at++) {
        uint8_t level = at == elements.start ? repetition : step->repetition;
        whole = shred_value(steps + 1, steps_count - 1, child, at, level, levels) && whole;
    }
    return whole;
}

const struct column *shred_column(const struct shred_leaf *leaf, const struct column *column)
{
    for (size_t i = 0; i + 1 < leaf->steps_count; i++) {
        column = &column->children[leaf->steps[i].child];
    }
    return column;
}

enum err_code shred_levels_of(const struct shred_leaf *leaf, const struct column *column,
                              const struct shred_rows *rows, struct shred_levels *levels,
                              struct err *err)
{
    levels->count = 0;
    levels->values_count = 0;
    for (int64_t i = 0; i < rows->count; i++) {
        int64_t row = rows->order != NULL ? rows->order[i] : rows->start + i;
        if (!shred_value(leaf->steps, leaf->steps_count, column, row, 0, levels)) {
            return err_set(err, ERR_INVALID, "a map has a null among its keys");
        }
    }
    return ERR_OK;
}
