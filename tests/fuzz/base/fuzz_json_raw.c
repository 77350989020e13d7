/*
 * json_raw_next, json_raw_find: text that json_parse accepts falls into the same
 * members and items, each of which reads as the value the document has; any other
 * text ends the walk without leaving it.
 */
#include "storage/base/json_raw.h"

#include "storage/base/json.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(struct span raw, const struct json *expected)
{
    CLEANUP(json_free) struct json *value = NULL;
    struct err err = {0};
    enum err_code code = json_parse(raw, &value, &err);
    assert(code == ERR_OK);
    assert(json_equals(value, expected));
}

static void walk_object(struct span text, const struct json *object)
{
    struct json_raw raw = json_raw_members(text);
    struct span raw_name;
    struct span value;
    const char *name = NULL;
    const struct json *expected = NULL;
    size_t position = 0;
    while (json_member(object, &position, &name, &expected)) {
        bool more = json_raw_next(&raw, &raw_name, &value);
        assert(more);
        check_value(value, expected);
        struct span found;
        bool is_found = json_raw_find(text, name, &found);
        assert(is_found);
        assert(found.data == value.data && found.size == value.size);
    }
    assert(!json_raw_next(&raw, &raw_name, &value));
    assert(!raw.failed);
    assert(json_raw_is_whole(&raw));
}

static void walk_array(struct span text, const struct json *array)
{
    struct json_raw raw = json_raw_items(text);
    struct span name;
    struct span value;
    for (size_t i = 0; i < json_count(array); i++) {
        bool more = json_raw_next(&raw, &name, &value);
        assert(more);
        assert(name.size == 0);
        check_value(value, json_at(array, i));
    }
    assert(!json_raw_next(&raw, &name, &value));
    assert(!raw.failed);
    assert(json_raw_is_whole(&raw));
}

/* Every span lies within the text, and the walk comes to an end. */
static void walk_anything(struct span text, struct json_raw raw)
{
    struct span name;
    struct span value;
    size_t steps = 0;
    while (json_raw_next(&raw, &name, &value)) {
        assert(value.size > 0);
        assert(value.data >= text.data);
        assert(value.size <= text.size - (size_t)(value.data - text.data));
        assert(++steps <= text.size);
    }
    (void)json_raw_find(text, "a", &value); /* must come back */
    if (json_raw_has_inexact(text, &value)) {
        assert(value.size > 0 && value.data >= text.data);
        assert(value.size <= text.size - (size_t)(value.data - text.data));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(json_free) struct json *root = NULL;
    struct err err = {0};
    struct span text = span_of(data, size);
    walk_anything(text, json_raw_members(text));
    walk_anything(text, json_raw_items(text));
    if (json_parse(text, &root, &err) != ERR_OK) {
        return 0;
    }
    if (json_kind(root) == JSON_KIND_OBJECT) {
        walk_object(text, root);
    } else if (json_kind(root) == JSON_KIND_ARRAY) {
        walk_array(text, root);
    }
    return 0;
}
