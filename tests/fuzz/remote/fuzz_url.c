/*
 * "base LF reference": what is parsed has an origin, and what is resolved is a URL
 * that is parsed again, never one with a user name or another scheme.
 */
#include "storage/remote/url.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_url(struct span text, const struct url *url)
{
    char origin[URL_ORIGIN_BYTES];
    url_origin(url, origin);
    assert(url->host.size > 0 && url->port > 0);
    assert(memchr(text.data, '@', (size_t)(url->host.data - text.data) + url->host.size) == NULL);
    assert(url->target.size == 0 || url->target.data[0] == '/' || url->target.data[0] == '?');
    assert(url_same_origin(url, url));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t end = line != NULL ? (size_t)(line - data) : size;
    struct span base_text = span_of(data, end);
    struct span reference = line != NULL ? span_of(line + 1, size - end - 1) : span_of(data, 0);
    struct url base;
    if (url_parse(base_text, &base, &err) != ERR_OK) {
        return 0;
    }
    check_url(base_text, &base);
    struct buffer url;
    buffer_init(&url, URL_BYTES_MAX);
    if (url_resolve(&base, reference, &url, &err) == ERR_OK) {
        struct url resolved;
        enum err_code code = url_parse(buffer_span(&url), &resolved, &err);
        assert(code == ERR_OK);
        check_url(buffer_span(&url), &resolved);
    } else {
        assert(url.size == 0);
    }
    buffer_deinit(&url);
    return 0;
}
