/*
 * Moments in answers. See times.h for the contract.
 */
#include "handlers/times.h"

#include "storage/base/text.h"

void times_set(struct json *object, const char *name, int64_t us)
{
    if (us == 0) {
        json_set(object, name, json_new_null());
        return;
    }
    char text[TEXT_TIMESTAMP_BYTES];
    size_t size = text_format_timestamp(us, text);
    json_set(object, name, json_new_string(span_of(text, size)));
}

void times_write_member(struct buffer *answer, const char *name, int64_t us)
{
    json_write_name(answer, name);
    if (us == 0) {
        buffer_append_text(answer, "null");
        return;
    }
    char text[TEXT_TIMESTAMP_BYTES];
    size_t size = text_format_timestamp(us, text);
    buffer_append_byte(answer, '"');
    buffer_append(answer, text, size);
    buffer_append_byte(answer, '"');
}
