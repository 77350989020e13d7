/*
 * json_parse, json_write: what is accepted must be written as text that reads
 * back as an equal value and is written the same again.
 */
#include "storage/base/json.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const struct json *root, struct buffer *text)
{
    buffer_init(text, SIZE_MAX);
    json_write(root, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(json_free) struct json *root = NULL;
    CLEANUP(json_free) struct json *back = NULL;
    CLEANUP(json_free) struct json *copy = NULL;
    struct err err = {0};
    if (json_parse(span_of(data, size), &root, &err) != ERR_OK) {
        assert(root == NULL);
        return 0;
    }
    CLEANUP(buffer_deinit) struct buffer first;
    CLEANUP(buffer_deinit) struct buffer second;
    CLEANUP(buffer_deinit) struct buffer pretty;
    write_again(root, &first);
    enum err_code code = json_parse(buffer_span(&first), &back, &err);
    assert(code == ERR_OK);
    assert(json_equals(root, back));
    write_again(back, &second);
    assert(span_equal(buffer_span(&first), buffer_span(&second)));

    copy = json_duplicate(root);
    assert(json_equals(root, copy));
    json_free(&back);
    buffer_init(&pretty, SIZE_MAX);
    json_write_pretty(copy, &pretty);
    code = json_parse(buffer_span(&pretty), &back, &err);
    assert(code == ERR_OK);
    assert(json_equals(root, back));
    return 0;
}
