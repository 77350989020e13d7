/*
 * What is in one answer of a service: the text of its records, and by what the next
 * page is asked for. Private to source_http*.c.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/decode.h"
#include "workers/source_http_place.h"

#include <stdbool.h>
#include <stdint.h>

struct json;
struct remote_answer;

enum http_paging { HTTP_PAGING_NONE, HTTP_PAGING_LINK, HTTP_PAGING_CURSOR, HTTP_PAGING_NUMBER };

/* How a service pages; texts are borrowed from the definition. */
struct http_pages {
    const char *url; /* of the first page */
    enum decode_format format;
    struct span records; /* JSON pointer to the array; empty = the whole answer */
    enum http_paging paging;
    struct span cursor;    /* JSON pointer */
    const char *parameter; /* cursor, number: name in the query */
    int64_t first_page;    /* number */
    struct span last;      /* number: JSON pointer to the last page's number, or to whether this
                              is it; empty = none */
};

/* Errors: ERR_INVALID a pointer into an answer that is not JSON. */
enum err_code http_pages_parse(const struct json *given, struct http_pages *pages_out,
                               struct err *err) MUST_USE;

/* Append the URL of a page (place->next) to `url`. Errors: ERR_INVALID it grows too long. */
enum err_code http_pages_url(const struct http_pages *pages, const struct http_place *place,
                             struct buffer *url, struct err *err) MUST_USE;

/* One page as it was understood. */
struct http_page {
    struct span records; /* their text: a body of pages->format; borrowed from the answer */
    bool has_next;
    char next[SOURCE_HTTP_PLACE_BYTES_MAX + 1];
    int64_t last_page; /* number of the last one; 0 = not known */
};

/*
 * Errors:  ERR_INVALID not JSON, cut off, nothing at a pointer; ERR_FORBIDDEN the next page is at
 *          another host.
 */
enum err_code http_page_read(const struct http_pages *pages, const struct http_place *place,
                             const struct remote_answer *answer, struct http_page *page_out,
                             struct err *err) MUST_USE;
