/*
 * Stored places of sources: what is understood is written the same way again.
 */
#include "workers/source_checkpoint.h"
#include "workers/source_http_place.h"
#include "workers/source_table_place.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_file(struct span text, struct buffer *one, struct buffer *two)
{
    struct source_checkpoint place;
    struct err err = {0};
    if (source_checkpoint_parse(text, &place, &err) == ERR_OK && text.size > 0) {
        source_checkpoint_write(&place, one);
        enum err_code code = source_checkpoint_parse(buffer_span(one), &place, &err);
        assert(code == ERR_OK);
        source_checkpoint_write(&place, two);
        assert(span_equal(buffer_span(one), buffer_span(two)));
    }
}

static void check_service(struct span text, struct buffer *one, struct buffer *two)
{
    static struct http_place place;
    struct err err = {0};
    if (http_place_parse(text, &place, &err) == ERR_OK && text.size > 0) {
        http_place_write(&place, one);
        enum err_code code = http_place_parse(buffer_span(one), &place, &err);
        assert(code == ERR_OK);
        http_place_write(&place, two);
        assert(span_equal(buffer_span(one), buffer_span(two)));
    }
}

static void check_table(struct span text, struct buffer *one, struct buffer *two)
{
    struct table_place place;
    struct err err = {0};
    if (table_place_parse(text, &place, &err) == ERR_OK && text.size > 0) {
        table_place_write(&place, one);
        enum err_code code = table_place_parse(buffer_span(one), &place, &err);
        assert(code == ERR_OK);
        table_place_write(&place, two);
        assert(span_equal(buffer_span(one), buffer_span(two)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buffer_deinit) struct buffer one;
    CLEANUP(buffer_deinit) struct buffer two;
    struct span text = span_of(data, size);
    buffer_init(&one, 1 << 20);
    buffer_init(&two, 1 << 20);
    check_file(text, &one, &two);
    check_service(text, &one, &two);
    check_table(text, &one, &two);
    return 0;
}
