/*
 * Values of the log: reading, and building them up for the parser. See
 * log_json.h for the contract.
 */
#include "storage/delta/log_json.h"

#include "storage/delta/log_json_node.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHILDREN_FIRST = 4,
    MEMBERS_LINEAR_MAX = 16, /* objects up to here are searched name by name */
};

/* ---- reading ---- */

enum log_json_kind log_json_kind(const struct log_json *value)
{
    return value != NULL ? value->kind : LOG_JSON_NULL;
}

static bool is_kind(const struct log_json *value, enum log_json_kind kind)
{
    return value != NULL && value->kind == kind;
}

static struct span name_of(const struct log_json_named *member)
{
    return span_of(member->name, member->name_size);
}

/* Where `name` stands in the order, or where it would have to stand. */
static uint32_t order_place(const struct log_json_children *children, struct span name)
{
    uint32_t low = 0;
    uint32_t high = children->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (span_compare(name_of(&children->members[children->order[middle]]), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const struct log_json_named *find_member(const struct log_json *object, const char *name)
{
    const struct log_json_children *children = &object->children;
    struct span wanted = span_of_text(name);
    if (children->order != NULL) {
        uint32_t place = order_place(children, wanted);
        if (place == children->count) {
            return NULL;
        }
        const struct log_json_named *member = &children->members[children->order[place]];
        return span_equal(name_of(member), wanted) ? member : NULL;
    }
    for (uint32_t i = 0; i < children->count; i++) {
        if (span_equal(name_of(&children->members[i]), wanted)) {
            return &children->members[i];
        }
    }
    return NULL;
}

const struct log_json *log_json_get(const struct log_json *object, const char *name)
{
    if (!is_kind(object, LOG_JSON_OBJECT)) {
        return NULL;
    }
    const struct log_json_named *member = find_member(object, name);
    return member != NULL ? member->value : NULL;
}

size_t log_json_count(const struct log_json *array_or_object)
{
    bool has_children =
        is_kind(array_or_object, LOG_JSON_ARRAY) || is_kind(array_or_object, LOG_JSON_OBJECT);
    return has_children ? array_or_object->children.count : 0;
}

const struct log_json *log_json_at(const struct log_json *array, size_t index)
{
    bool present = is_kind(array, LOG_JSON_ARRAY) && index < array->children.count;
    return present ? array->children.items[index] : NULL;
}

bool log_json_as_string(const struct log_json *value, struct span *text_out)
{
    if (!is_kind(value, LOG_JSON_STRING)) {
        return false;
    }
    *text_out = span_of(value->text, value->size);
    return true;
}

bool log_json_as_integer(const struct log_json *value, int64_t *integer_out)
{
    if (!is_kind(value, LOG_JSON_INTEGER)) {
        return false;
    }
    *integer_out = value->integer;
    return true;
}

bool log_json_as_boolean(const struct log_json *value, bool *boolean_out)
{
    if (!is_kind(value, LOG_JSON_BOOLEAN)) {
        return false;
    }
    *boolean_out = value->boolean;
    return true;
}

const char *log_json_text(const struct log_json *value)
{
    bool is_text = is_kind(value, LOG_JSON_STRING) && strlen(value->text) == value->size;
    return is_text ? value->text : NULL;
}

bool log_json_member(const struct log_json *object, size_t *position, const char **name_out,
                     const struct log_json **value_out)
{
    if (!is_kind(object, LOG_JSON_OBJECT) || *position >= object->children.count) {
        return false;
    }
    const struct log_json_named *member = &object->children.members[*position];
    *name_out = member->name;
    *value_out = member->value;
    (*position)++;
    return true;
}

/* ---- building, for the parser ---- */

/* Room for one more child of `size` bytes; NULL when the arena is full. What grows is copied. */
static void *grown(struct log_json_children *children, const void *old, size_t size,
                   struct arena *arena)
{
    assert(children->capacity <= UINT32_MAX / 2);
    uint32_t capacity = children->capacity > 0 ? children->capacity * 2 : CHILDREN_FIRST;
    void *memory = arena_alloc(arena, capacity * size);
    if (memory != NULL) {
        children->capacity = capacity;
    }
    if (memory != NULL && children->count > 0) {
        memcpy(memory, old, children->count * size);
    }
    return memory;
}

bool log_json_add_item(struct log_json *array, struct log_json *value, struct arena *arena)
{
    struct log_json_children *children = &array->children;
    if (children->count == children->capacity) {
        struct log_json **items = grown(children, children->items, sizeof *items, arena);
        if (items == NULL) {
            return false;
        }
        children->items = items;
    }
    children->items[children->count++] = value;
    return true;
}

bool log_json_add_name(struct log_json *object, struct span name, struct arena *arena)
{
    struct log_json_children *children = &object->children;
    if (children->count == children->capacity) {
        struct log_json_named *members = grown(children, children->members, sizeof *members, arena);
        if (members == NULL) {
            return false;
        }
        children->members = members;
    }
    children->members[children->count++] =
        (struct log_json_named){.name = (const char *)name.data, .name_size = name.size};
    return true;
}

static bool has_duplicate(const struct log_json_children *children)
{
    for (uint32_t i = 1; i < children->count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (span_equal(name_of(&children->members[i]), name_of(&children->members[j]))) {
                return true;
            }
        }
    }
    return false;
}

static int compare_members(const void *a, const void *b, void *members)
{
    const struct log_json_named *all = members;
    return span_compare(name_of(&all[*(const uint32_t *)a]), name_of(&all[*(const uint32_t *)b]));
}

bool log_json_seal(struct log_json *object, struct arena *arena)
{
    struct log_json_children *children = &object->children;
    if (children->count <= MEMBERS_LINEAR_MAX) {
        return !has_duplicate(children);
    }
    children->order = arena_alloc(arena, children->count * sizeof *children->order);
    if (children->order == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < children->count; i++) {
        children->order[i] = i;
    }
    qsort_r(children->order, children->count, sizeof *children->order, compare_members,
            children->members);
    for (uint32_t i = 1; i < children->count; i++) {
        if (compare_members(&children->order[i - 1], &children->order[i], children->members) == 0) {
            return false;
        }
    }
    return true;
}
