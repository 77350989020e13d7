/*
 * JSON values: reading, building, comparing. See json.h for the contract;
 * json_parse.c and json_write.c turn them from and into text.
 *
 * Functions that walk a whole value recurse: a parsed value is at most
 * JSON_DEPTH_MAX deep, and built ones as deep as our own code nests its calls.
 */
#include "storage/base/json.h"

#include "storage/base/json_node.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHILDREN_FIRST = 4 };

struct json *json_node_new_text(enum json_kind kind, size_t size)
{
    assert(size < SIZE_MAX - sizeof(struct json) - 1);
    struct json *node = mem_alloc(sizeof *node + size + 1);
    *node = (struct json){.kind = kind, .size = size};
    node->text[size] = '\0';
    return node;
}

struct json *json_node_new(enum json_kind kind)
{
    return json_node_new_text(kind, 0); /* so that every value is copied alike */
}

static void free_node(struct json *node)
{
    if (node == NULL) {
        return;
    }
    if (node->kind == JSON_KIND_ARRAY) {
        for (uint32_t i = 0; i < node->children.count; i++) {
            free_node(node->children.items[i]);
        }
        mem_free(node->children.items);
    }
    if (node->kind == JSON_KIND_OBJECT) {
        for (uint32_t i = 0; i < node->children.count; i++) {
            mem_free(node->children.members[i].name);
            free_node(node->children.members[i].value);
        }
        mem_free(node->children.members);
        mem_free(node->children.order);
    }
    mem_free(node);
}

void json_free(struct json **value)
{
    free_node(*value);
    *value = NULL;
}

/* ---- reading ---- */

enum json_kind json_kind(const struct json *value)
{
    return value != NULL ? value->kind : JSON_KIND_NULL;
}

static bool is_kind(const struct json *value, enum json_kind kind)
{
    return value != NULL && value->kind == kind;
}

static struct span name_of(const struct json_member *member)
{
    return span_of(member->name, member->name_size);
}

/* Where `name` stands in the order, or where it would have to stand. */
static uint32_t order_place(const struct json_children *children, struct span name)
{
    uint32_t low = 0;
    uint32_t high = children->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct json_member *member = &children->members[children->order[middle]];
        if (span_compare(name_of(member), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct json_member *find_member(const struct json *object, const char *name)
{
    const struct json_children *children = &object->children;
    struct span wanted = span_of_text(name);
    if (children->order != NULL) {
        uint32_t place = order_place(children, wanted);
        if (place == children->count) {
            return NULL;
        }
        struct json_member *member = &children->members[children->order[place]];
        return span_equal(name_of(member), wanted) ? member : NULL;
    }
    for (uint32_t i = 0; i < children->count; i++) {
        if (span_equal(name_of(&children->members[i]), wanted)) {
            return &children->members[i];
        }
    }
    return NULL;
}

const struct json *json_get(const struct json *object, const char *name)
{
    if (!is_kind(object, JSON_KIND_OBJECT)) {
        return NULL;
    }
    const struct json_member *member = find_member(object, name);
    return member != NULL ? member->value : NULL;
}

size_t json_count(const struct json *array_or_object)
{
    bool has_children =
        is_kind(array_or_object, JSON_KIND_ARRAY) || is_kind(array_or_object, JSON_KIND_OBJECT);
    return has_children ? array_or_object->children.count : 0;
}

const struct json *json_at(const struct json *array, size_t index)
{
    bool present = is_kind(array, JSON_KIND_ARRAY) && index < array->children.count;
    return present ? array->children.items[index] : NULL;
}

bool json_as_string(const struct json *value, struct span *text_out)
{
    if (!is_kind(value, JSON_KIND_STRING)) {
        return false;
    }
    *text_out = span_of(value->text, value->size);
    return true;
}

bool json_as_integer(const struct json *value, int64_t *integer_out)
{
    if (!is_kind(value, JSON_KIND_INTEGER)) {
        return false;
    }
    *integer_out = value->integer;
    return true;
}

bool json_as_real(const struct json *value, double *real_out)
{
    if (is_kind(value, JSON_KIND_INTEGER)) {
        *real_out = (double)value->integer;
        return true;
    }
    if (is_kind(value, JSON_KIND_REAL)) {
        *real_out = value->real;
        return true;
    }
    return false;
}

bool json_as_real_text(const struct json *value, struct span *text_out)
{
    if (!is_kind(value, JSON_KIND_REAL)) {
        return false;
    }
    *text_out = span_of(value->text, value->size);
    return true;
}

bool json_as_boolean(const struct json *value, bool *boolean_out)
{
    if (!is_kind(value, JSON_KIND_BOOLEAN)) {
        return false;
    }
    *boolean_out = value->boolean;
    return true;
}

const char *json_text(const struct json *value)
{
    bool is_text = is_kind(value, JSON_KIND_STRING) && strlen(value->text) == value->size;
    return is_text ? value->text : NULL;
}

bool json_member(const struct json *object, size_t *position, const char **name_out,
                 const struct json **value_out)
{
    if (!is_kind(object, JSON_KIND_OBJECT) || *position >= object->children.count) {
        return false;
    }
    const struct json_member *member = &object->children.members[*position];
    *name_out = member->name;
    *value_out = member->value;
    (*position)++;
    return true;
}

static bool is_listed(const char *name, const char *const list[])
{
    for (size_t i = 0; list[i] != NULL; i++) {
        if (strcmp(name, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* spec: RFC 6901 3 — "~" and "/" of a name are written "~0" and "~1" */
void json_write_pointer(struct buffer *pointer, const char *name)
{
    buffer_append_byte(pointer, '/');
    for (; *name != '\0'; name++) {
        if (*name == '~' || *name == '/') {
            buffer_append_text(pointer, *name == '~' ? "~0" : "~1");
        } else {
            buffer_append_byte(pointer, (uint8_t)*name);
        }
    }
}

static enum err_code refuse_name(const char *pointer, const char *name, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer place;
    buffer_init(&place, ERR_MESSAGE_BYTES); /* a longer one is cut there anyway */
    buffer_append_text(&place, pointer);
    json_write_pointer(&place, name);
    return err_set(err, ERR_INVALID, "%.*s is not a name that is known here",
                   SPAN_PRINT(buffer_span(&place)));
}

enum err_code json_check_names(const struct json *object, const char *pointer,
                               const char *const allowed[], struct err *err)
{
    if (!is_kind(object, JSON_KIND_OBJECT)) {
        return err_set(err, ERR_INVALID, "%s must be an object",
                       pointer[0] != '\0' ? pointer : "the document");
    }
    for (uint32_t i = 0; i < object->children.count; i++) {
        const char *name = object->children.members[i].name;
        if (!is_listed(name, allowed)) {
            return refuse_name(pointer, name, err);
        }
    }
    return ERR_OK;
}

/* ---- building ---- */

struct json *json_new_object(void)
{
    return json_node_new(JSON_KIND_OBJECT);
}

struct json *json_new_array(void)
{
    return json_node_new(JSON_KIND_ARRAY);
}

/* Copy `text` with every byte that is not part of a sequence as U+FFFD. */
static struct json *new_repaired_string(struct span text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    CLEANUP(buffer_deinit) struct buffer repaired;
    buffer_init(&repaired, SIZE_MAX);
    for (size_t at = 0; at < text.size;) {
        size_t size = text_utf8_sequence(span_of(text.data + at, text.size - at));
        if (size > 0) {
            buffer_append(&repaired, text.data + at, size);
        } else {
            buffer_append_text(&repaired, replacement);
        }
        at += size > 0 ? size : 1;
    }
    return json_new_string(buffer_span(&repaired));
}

struct json *json_new_string(struct span text)
{
    size_t bad_offset = 0;
    if (!text_is_utf8(text, &bad_offset)) {
        return new_repaired_string(text);
    }
    struct json *node = json_node_new_text(JSON_KIND_STRING, text.size);
    if (text.size > 0) {
        memcpy(node->text, text.data, text.size);
    }
    return node;
}

struct json *json_new_text(const char *text)
{
    return text != NULL ? json_new_string(span_of_text(text)) : json_new_null();
}

struct json *json_new_integer(int64_t integer)
{
    struct json *node = json_node_new(JSON_KIND_INTEGER);
    node->integer = integer;
    return node;
}

struct json *json_new_real(double real)
{
    assert(isfinite(real));
    char text[TEXT_DOUBLE_BYTES];
    size_t size = text_format_double(real, text);
    struct json *node = json_node_new_text(JSON_KIND_REAL, size);
    memcpy(node->text, text, size);
    node->real = real;
    return node;
}

struct json *json_new_boolean(bool boolean)
{
    struct json *node = json_node_new(JSON_KIND_BOOLEAN);
    node->boolean = boolean;
    return node;
}

struct json *json_new_null(void)
{
    return json_node_new(JSON_KIND_NULL);
}

static uint32_t grown_capacity(const struct json_children *children)
{
    assert(children->capacity <= UINT32_MAX / 2);
    return children->capacity > 0 ? children->capacity * 2 : CHILDREN_FIRST;
}

void json_object_add(struct json *object, char *name, size_t name_size, struct json *value)
{
    struct json_children *children = &object->children;
    if (children->count == children->capacity) {
        children->capacity = grown_capacity(children);
        children->members =
            mem_resize(children->members, children->capacity, sizeof *children->members);
    }
    children->members[children->count++] =
        (struct json_member){.name = name, .name_size = name_size, .value = value};
}

void json_append(struct json *array, struct json *value)
{
    assert(array->kind == JSON_KIND_ARRAY);
    assert(value != array);
    struct json_children *children = &array->children;
    if (children->count == children->capacity) {
        children->capacity = grown_capacity(children);
        children->items = mem_resize(children->items, children->capacity, sizeof *children->items);
    }
    children->items[children->count++] = value != NULL ? value : json_new_null();
}

static bool has_duplicate(const struct json_children *children)
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
    const struct json_member *all = members;
    return span_compare(name_of(&all[*(const uint32_t *)a]), name_of(&all[*(const uint32_t *)b]));
}

bool json_object_seal(struct json *object)
{
    struct json_children *children = &object->children;
    if (children->count <= JSON_MEMBERS_LINEAR_MAX) {
        return !has_duplicate(children);
    }
    children->order = mem_resize(children->order, children->count, sizeof *children->order);
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

/* Put the index of the last member, which is new, into the order. */
static void order_last(struct json *object)
{
    struct json_children *children = &object->children;
    if (children->order == NULL) {
        bool unique = json_object_seal(object);
        assert(unique);
        return;
    }
    uint32_t last = --children->count; /* the search sees those that are in the order */
    uint32_t place = order_place(children, name_of(&children->members[last]));
    children->count++;
    children->order = mem_resize(children->order, children->count, sizeof *children->order);
    memmove(children->order + place + 1, children->order + place,
            (last - place) * sizeof *children->order);
    children->order[place] = last;
}

void json_set(struct json *object, const char *name, struct json *value)
{
    assert(object->kind == JSON_KIND_OBJECT);
    assert(value != object);
    struct json *child = value != NULL ? value : json_new_null();
    struct json_member *member = find_member(object, name);
    if (member != NULL) {
        if (member->value != child) {
            free_node(member->value);
        }
        member->value = child;
        return;
    }
    json_object_add(object, mem_copy_text(name), strlen(name), child);
    if (object->children.count > JSON_MEMBERS_LINEAR_MAX) {
        order_last(object);
    }
}

void json_set_text(struct json *object, const char *name, const char *text)
{
    json_set(object, name, json_new_text(text));
}

void json_set_integer(struct json *object, const char *name, int64_t integer)
{
    json_set(object, name, json_new_integer(integer));
}

void json_set_boolean(struct json *object, const char *name, bool boolean)
{
    json_set(object, name, json_new_boolean(boolean));
}

void json_remove(struct json *object, const char *name)
{
    assert(object->kind == JSON_KIND_OBJECT);
    struct json_children *children = &object->children;
    struct json_member *member = find_member(object, name);
    if (member == NULL) {
        return;
    }
    mem_free(member->name);
    free_node(member->value);
    size_t index = (size_t)(member - children->members);
    children->count--;
    memmove(member, member + 1, (children->count - index) * sizeof *member);
    mem_free(children->order);
    children->order = NULL;
    bool unique = json_object_seal(object);
    assert(unique);
}

static struct json *copy_object(const struct json *object)
{
    struct json *copy = json_new_object();
    for (uint32_t i = 0; i < object->children.count; i++) {
        const struct json_member *member = &object->children.members[i];
        json_object_add(copy, mem_copy(member->name, member->name_size + 1), member->name_size,
                        json_duplicate(member->value));
    }
    bool unique = json_object_seal(copy);
    assert(unique);
    return copy;
}

struct json *json_duplicate(const struct json *value)
{
    if (value == NULL) {
        return json_new_null();
    }
    if (value->kind == JSON_KIND_OBJECT) {
        return copy_object(value);
    }
    if (value->kind == JSON_KIND_ARRAY) {
        struct json *copy = json_new_array();
        for (uint32_t i = 0; i < value->children.count; i++) {
            json_append(copy, json_duplicate(value->children.items[i]));
        }
        return copy;
    }
    return mem_copy(value, sizeof *value + value->size + 1);
}

static bool objects_equal(const struct json *a, const struct json *b)
{
    for (uint32_t i = 0; i < a->children.count; i++) {
        const struct json_member *member = &a->children.members[i];
        const struct json_member *other = find_member(b, member->name);
        if (other == NULL || !json_equals(member->value, other->value)) {
            return false;
        }
    }
    return true;
}

static bool arrays_equal(const struct json *a, const struct json *b)
{
    for (uint32_t i = 0; i < a->children.count; i++) {
        if (!json_equals(a->children.items[i], b->children.items[i])) {
            return false;
        }
    }
    return true;
}

bool json_equals(const struct json *a, const struct json *b)
{
    if (json_kind(a) != json_kind(b) || json_count(a) != json_count(b)) {
        return false;
    }
    switch (json_kind(a)) {
    case JSON_KIND_NULL:
        return true;
    case JSON_KIND_BOOLEAN:
        return a->boolean == b->boolean;
    case JSON_KIND_INTEGER:
        return a->integer == b->integer;
    case JSON_KIND_REAL:
        return a->real == b->real;
    case JSON_KIND_STRING:
        return span_equal(span_of(a->text, a->size), span_of(b->text, b->size));
    case JSON_KIND_ARRAY:
        return arrays_equal(a, b);
    case JSON_KIND_OBJECT:
        return objects_equal(a, b);
    }
    return false;
}
