/*
 * log_json_parse against json_parse: both accept the same text and read the same
 * values from it, so that a line which replay took is a document for those who ask.
 */
#include "storage/delta/log_json.h"

#include "storage/base/json.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct log_json *ours, const struct json *theirs);

static void compare_members(const struct log_json *ours, const struct json *theirs)
{
    size_t our_position = 0;
    size_t their_position = 0;
    const char *our_name = NULL;
    const char *their_name = NULL;
    const struct log_json *our_value = NULL;
    const struct json *their_value = NULL;
    while (log_json_member(ours, &our_position, &our_name, &our_value)) {
        bool more = json_member(theirs, &their_position, &their_name, &their_value);
        assert(more);
        assert(strcmp(our_name, their_name) == 0);
        assert(log_json_get(ours, our_name) == our_value);
        compare(our_value, their_value);
    }
    assert(!json_member(theirs, &their_position, &their_name, &their_value));
}

static void compare_texts(const struct log_json *ours, const struct json *theirs)
{
    struct span our_text;
    struct span their_text;
    bool is_ours = log_json_as_string(ours, &our_text);
    bool is_theirs = json_as_string(theirs, &their_text);
    assert(is_ours);
    assert(is_theirs);
    assert(span_equal(our_text, their_text));
    assert((log_json_text(ours) == NULL) == (json_text(theirs) == NULL));
}

static void compare_scalars(const struct log_json *ours, const struct json *theirs)
{
    int64_t our_integer = 0;
    int64_t their_integer = 0;
    bool our_boolean = false;
    bool their_boolean = false;
    assert(log_json_as_integer(ours, &our_integer) == json_as_integer(theirs, &their_integer));
    assert(our_integer == their_integer);
    assert(log_json_as_boolean(ours, &our_boolean) == json_as_boolean(theirs, &their_boolean));
    assert(our_boolean == their_boolean);
}

/* Recursion is bounded by what both parsers accept. */
static void compare(const struct log_json *ours, const struct json *theirs)
{
    _Static_assert((int)LOG_JSON_OBJECT == (int)JSON_KIND_OBJECT, "the kinds are alike");
    assert((int)log_json_kind(ours) == (int)json_kind(theirs));
    assert(log_json_count(ours) == json_count(theirs));
    compare_scalars(ours, theirs);
    if (log_json_kind(ours) == LOG_JSON_STRING) {
        compare_texts(ours, theirs);
    } else if (log_json_kind(ours) == LOG_JSON_OBJECT) {
        compare_members(ours, theirs);
    } else {
        for (size_t i = 0; i < log_json_count(ours); i++) {
            compare(log_json_at(ours, i), json_at(theirs, i));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_deinit) struct arena arena;
    const struct log_json *ours = NULL;
    CLEANUP(json_free) struct json *theirs = NULL;
    struct err err = {0};
    arena_init(&arena, SIZE_MAX);
    enum err_code our_code = log_json_parse(span_of(data, size), &arena, &ours, &err);
    enum err_code their_code = json_parse(span_of(data, size), &theirs, &err);
    assert((our_code == ERR_OK) == (their_code == ERR_OK));
    if (our_code == ERR_OK) {
        compare(ours, theirs);
    } else {
        assert(our_code == ERR_CORRUPT);
        assert(their_code == ERR_INVALID);
        assert(err.msg[0] != '\0');
    }
    return 0;
}
