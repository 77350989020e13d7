/*
 * Answers of a service. See source_http_page.h. Records are cut out of the answer's
 * text, digits and all; only the little around them is read.
 */
#include "workers/source_http_page.h"

#include "storage/base/json.h"
#include "storage/base/json_raw.h"
#include "storage/base/text.h"
#include "storage/remote/client.h"
#include "storage/remote/url.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES_MAX = 1024 /* one step of a pointer */ };

/* ---- the definition ---- */

static enum http_paging paging_of(const char *name)
{
    static const char *const names[] = {"none", "link_header", "cursor", "page_number"};
    for (int i = 0; name != NULL && i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            return (enum http_paging)i;
        }
    }
    return HTTP_PAGING_NONE;
}

static enum decode_format format_of(const char *name)
{
    if (name != NULL && strcmp(name, "ndjson") == 0) {
        return DECODE_NDJSON;
    }
    return name != NULL && strcmp(name, "csv") == 0 ? DECODE_CSV : DECODE_JSON_ARRAY;
}

static struct span pointer_of(const struct json *given, const char *name)
{
    struct span pointer = {0};
    (void)json_as_string(json_get(given, name), &pointer); /* absent: none */
    return pointer;
}

enum err_code http_pages_parse(const struct json *given, struct http_pages *pages_out,
                               struct err *err)
{
    const struct json *paging = json_get(given, "paging");
    struct http_pages pages = {
        .url = json_text(json_get(given, "url")),
        .format = format_of(json_text(json_get(given, "format"))),
        .records = pointer_of(given, "records"),
        .paging = paging_of(json_text(json_get(paging, "type"))),
        .cursor = pointer_of(paging, "cursor"),
        .parameter = json_text(json_get(paging, "parameter")),
        .first_page = 1,
        .last = pointer_of(paging, "last"),
    };
    (void)json_as_integer(json_get(paging, "first_page"), &pages.first_page);
    if (pages.url == NULL) {
        return err_set(err, ERR_INVALID, "/source/url: give the URL of the first page");
    }
    if (pages.parameter == NULL) {
        pages.parameter = pages.paging == HTTP_PAGING_CURSOR ? "cursor" : "page";
    }
    bool looks_inside = pages.records.size > 0 || pages.cursor.size > 0 || pages.last.size > 0;
    if (looks_inside && pages.format != DECODE_JSON_ARRAY) {
        return err_set(err, ERR_INVALID,
                       "/source: pointers (records, cursor, last) look into JSON; with this format "
                       "page by link_header, or by page_number without last");
    }
    *pages_out = pages;
    return ERR_OK;
}

/* ---- where a page is ---- */

static bool is_absolute(const char *text)
{
    return strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0;
}

static void add_parameter(struct buffer *url, const char *name, const char *value)
{
    buffer_append_text(url, memchr(url->data, '?', url->size) != NULL ? "&" : "?");
    text_percent_encode(span_of_text(name), "", url);
    buffer_append_byte(url, '=');
    text_percent_encode(span_of_text(value), "", url);
}

enum err_code http_pages_url(const struct http_pages *pages, const struct http_place *place,
                             struct buffer *url, struct err *err)
{
    char number[24];
    bool is_url = pages->paging == HTTP_PAGING_LINK || is_absolute(place->next);
    buffer_append_text(url, place->next[0] != '\0' && is_url ? place->next : pages->url);
    if (pages->paging == HTTP_PAGING_CURSOR && place->next[0] != '\0' && !is_url) {
        add_parameter(url, pages->parameter, place->next);
    }
    if (pages->paging == HTTP_PAGING_NUMBER) {
        (void)snprintf(number, sizeof number, "%" PRId64,
                       pages->first_page + place->page - 1); /* fits */
        add_parameter(url, pages->parameter, number);
    }
    return buffer_check(url, "the URL of the next page", err);
}

/* ---- looking inside ---- */

/* "~1" is '/', "~0" is '~'. False: too long, or a broken escape. */
static bool unescape(struct span step, char name_out[NAME_BYTES_MAX + 1])
{
    size_t size = 0;
    for (size_t i = 0; i < step.size; i++) {
        char c = (char)step.data[i];
        if (size == NAME_BYTES_MAX) {
            return false;
        }
        if (c == '~') {
            i++;
            if (i == step.size || (step.data[i] != '0' && step.data[i] != '1')) {
                return false;
            }
            c = step.data[i] == '0' ? '~' : '/';
        }
        name_out[size++] = c;
    }
    name_out[size] = '\0';
    return true;
}

static bool find_item(struct span array, struct span step, struct span *value_out)
{
    int64_t index = 0;
    if (!text_parse_int64(step, &index) || index < 0) {
        return false;
    }
    struct json_raw raw = json_raw_items(array);
    struct span name;
    for (int64_t i = 0; json_raw_next(&raw, &name, value_out); i++) {
        if (i == index) {
            return true;
        }
    }
    return false;
}

/* spec: RFC 6901 section 4 */
static bool find(struct span text, struct span pointer, struct span *value_out)
{
    struct span value = text;
    while (pointer.size > 0) {
        char name[NAME_BYTES_MAX + 1];
        pointer = span_of(pointer.data + 1, pointer.size - 1); /* it was validated: a slash */
        const uint8_t *slash = pointer.size > 0 ? memchr(pointer.data, '/', pointer.size) : NULL;
        struct span step =
            span_of(pointer.data, slash != NULL ? (size_t)(slash - pointer.data) : pointer.size);
        pointer = span_of(pointer.data + step.size, pointer.size - step.size);
        bool found = value.size > 0 && value.data[0] == '['
                         ? find_item(value, step, &value)
                         : unescape(step, name) && json_raw_find(value, name, &value);
        if (!found) {
            return false;
        }
    }
    *value_out = value;
    return true;
}

static struct span trim(struct span text)
{
    static const char blanks[] = " \t\r\n";
    while (text.size > 0 && memchr(blanks, text.data[0], 4) != NULL) {
        text = span_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && memchr(blanks, text.data[text.size - 1], 4) != NULL) {
        text.size--;
    }
    return text;
}

/* Whole from bracket to bracket? A pointer that finds nothing in half an answer says nothing. */
static enum err_code check_whole(struct span text, struct err *err)
{
    if (text.size == 0) {
        return err_set(err, ERR_IO, "the answer is empty");
    }
    struct json_raw raw = text.data[0] == '[' ? json_raw_items(text) : json_raw_members(text);
    struct span name;
    struct span value;
    while (json_raw_next(&raw, &name, &value)) {
    }
    if (!json_raw_is_whole(&raw)) {
        return err_set(err, ERR_IO, "the answer is not JSON, or was cut off");
    }
    return ERR_OK;
}

/* ---- the next page ---- */

static enum err_code keep_next(struct span next, struct http_page *page, struct err *err)
{
    if (next.size > SOURCE_HTTP_PLACE_BYTES_MAX ||
        (next.size > 0 && memchr(next.data, '\0', next.size) != NULL)) {
        return err_set(err, ERR_INVALID, "the cursor has more than %d bytes, or a NUL",
                       SOURCE_HTTP_PLACE_BYTES_MAX);
    }
    memcpy(page->next, next.data, next.size);
    page->next[next.size] = '\0';
    page->has_next = true;
    return ERR_OK;
}

/* A URL of the service's own: it gets our credentials. */
static enum err_code keep_url(const struct http_pages *pages, struct span text,
                              struct http_page *page, struct err *err)
{
    struct url first;
    struct url next;
    TRY(url_parse(span_of_text(pages->url), &first, err));
    TRY(url_parse(text, &next, err));
    if (!url_same_origin(&first, &next)) {
        return err_set(err, ERR_FORBIDDEN,
                       "the next page is said to be at another host; the request would carry "
                       "credentials there");
    }
    return keep_next(text, page, err);
}

static enum err_code read_link(const struct http_pages *pages, const struct remote_answer *answer,
                               struct http_page *page, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer url;
    bool found = false;
    buffer_init(&url, SOURCE_HTTP_PLACE_BYTES_MAX);
    TRY(remote_answer_link(answer, "next", &url, &found, err));
    return found ? keep_url(pages, buffer_span(&url), page, err) : ERR_OK;
}

/* A cursor is a string or a number; a string may be the URL of the next page. */
static enum err_code read_cursor(const struct http_pages *pages, const struct remote_answer *answer,
                                 struct span text, struct http_page *page, struct err *err)
{
    struct span raw = {0};
    if (!find(text, pages->cursor, &raw) || span_equal_text(raw, "null") ||
        span_equal_text(raw, "false") || span_equal_text(raw, "\"\"")) {
        return ERR_OK;
    }
    if (raw.data[0] == '{' || raw.data[0] == '[' || span_equal_text(raw, "true")) {
        return err_set(err, ERR_INVALID, "the cursor at %.*s is neither a string nor a number",
                       SPAN_PRINT(pages->cursor));
    }
    if (raw.data[0] != '"') {
        return keep_next(raw, page, err);
    }
    CLEANUP(json_free) struct json *json = NULL;
    struct span cursor = {0};
    if (json_parse(raw, &json, err) != ERR_OK || !json_as_string(json, &cursor)) {
        return err_wrap(err, "the cursor");
    }
    const char *plain = json_text(json);
    if (plain == NULL || (plain[0] != '/' && !is_absolute(plain))) {
        return keep_next(cursor, page, err);
    }
    CLEANUP(buffer_deinit) struct buffer url;
    struct url base;
    buffer_init(&url, SOURCE_HTTP_PLACE_BYTES_MAX);
    TRY(url_parse(buffer_span(&answer->url), &base, err));
    TRY(url_resolve(&base, cursor, &url, err));
    return keep_url(pages, buffer_span(&url), page, err);
}

/* A number is that of the last page; true says that this is it. Without either an empty page is. */
static enum err_code read_last(const struct http_pages *pages, const struct http_place *place,
                               struct span text, struct http_page *page, struct err *err)
{
    struct span raw = {0};
    page->has_next = true;
    if (pages->last.size == 0) {
        return ERR_OK;
    }
    if (!find(text, pages->last, &raw)) {
        return err_set(err, ERR_INVALID, "the answer has nothing at %.*s", SPAN_PRINT(pages->last));
    }
    int64_t last = 0;
    if (text_parse_int64(raw, &last)) {
        if (last < 0 || last > INT32_MAX) {
            return err_set(err, ERR_INVALID, "at %.*s there is no number of a page",
                           SPAN_PRINT(pages->last));
        }
        page->last_page = last - pages->first_page + 1;
        page->has_next = place->page < page->last_page;
    } else if (span_equal_text(raw, "true") || span_equal_text(raw, "false")) {
        page->has_next = span_equal_text(raw, "false");
    } else {
        return err_set(err, ERR_INVALID, "at %.*s there is neither a number nor true or false",
                       SPAN_PRINT(pages->last));
    }
    return ERR_OK;
}

static enum err_code read_next(const struct http_pages *pages, const struct http_place *place,
                               const struct remote_answer *answer, struct span text,
                               struct http_page *page, struct err *err)
{
    switch (pages->paging) {
    case HTTP_PAGING_NONE:
        return ERR_OK;
    case HTTP_PAGING_LINK:
        return read_link(pages, answer, page, err);
    case HTTP_PAGING_CURSOR:
        return read_cursor(pages, answer, text, page, err);
    case HTTP_PAGING_NUMBER:
        break;
    }
    return read_last(pages, place, text, page, err);
}

enum err_code http_page_read(const struct http_pages *pages, const struct http_place *place,
                             const struct remote_answer *answer, struct http_page *page_out,
                             struct err *err)
{
    struct span text = buffer_span(&answer->body);
    struct http_page page = {.records = text};
    if (pages->format == DECODE_JSON_ARRAY) {
        text = trim(text);
        TRY(check_whole(text, err));
        if (!find(text, pages->records, &page.records)) {
            return err_set(err, ERR_INVALID, "the answer has nothing at %.*s",
                           SPAN_PRINT(pages->records));
        }
        if (span_equal_text(page.records, "null")) {
            page.records = span_of_text("[]");
        }
    }
    TRY(read_next(pages, place, answer, text, &page, err));
    *page_out = page;
    return ERR_OK;
}
