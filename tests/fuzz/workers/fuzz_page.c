/*
 * Answers of services that are read page by page. The first byte chooses how they page,
 * header lines up to a NUL follow, the rest is the body. What is understood lies inside of
 * the body, the next page is on the same host, and its place survives being stored.
 */
#include "storage/remote/client.h"
#include "storage/remote/url.h"
#include "workers/source_http_page.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char first_page[] = "https://example.org/records?part=1";

static struct http_pages pages_of(uint8_t choice)
{
    struct http_pages pages = {
        .url = first_page,
        .format = DECODE_JSON_ARRAY,
        .records = span_of_text((choice & 4) != 0 ? "/items" : ""),
        .paging = (enum http_paging)(choice & 3),
        .cursor = span_of_text((choice & 8) != 0 ? "/next" : "/meta/0/~1"),
        .parameter = "page",
        .first_page = (choice & 16) != 0 ? 0 : 1,
        .last = span_of_text((choice & 32) != 0 ? "/last" : ""),
    };
    if ((choice & 64) != 0 && pages.paging == HTTP_PAGING_LINK) {
        pages.format = DECODE_NDJSON;
        pages.records = (struct span){0};
    }
    return pages;
}

static void check_records(const struct remote_answer *answer, const struct http_page *page)
{
    struct span body = buffer_span(&answer->body);
    if (page->records.size > 0 && !span_equal_text(page->records, "[]")) {
        assert(page->records.data >= body.data);
        assert(page->records.data + page->records.size <= body.data + body.size);
    }
}

static void check_stored(const struct http_place *place)
{
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(buffer_deinit) struct buffer again;
    struct http_place back;
    struct err err = {0};
    buffer_init(&text, SOURCE_CHECKPOINT_BYTES_MAX);
    buffer_init(&again, SOURCE_CHECKPOINT_BYTES_MAX);
    http_place_write(place, &text);
    if (text.overflowed) {
        return; /* a cursor of control characters: refused when the piece is recorded */
    }
    enum err_code code = http_place_parse(buffer_span(&text), &back, &err);
    assert(code == ERR_OK);
    http_place_write(&back, &again);
    assert(span_equal(buffer_span(&text), buffer_span(&again)));
}

static void check_next(const struct http_pages *pages, struct http_place *place,
                       const struct http_page *page)
{
    CLEANUP(buffer_deinit) struct buffer text;
    struct url first;
    struct url next;
    struct err err = {0};
    buffer_init(&text, 1 << 16);
    http_place_note(place, page->records);
    assert(http_place_has_content(place, page->records));
    memcpy(place->next, page->next, sizeof place->next);
    place->page++;
    enum err_code code = http_pages_url(pages, place, &text, &err);
    assert(code == ERR_OK);
    code = url_parse(span_of_text(first_page), &first, &err);
    assert(code == ERR_OK);
    code = url_parse(buffer_span(&text), &next, &err);
    assert(code == ERR_OK);
    assert(url_same_origin(&first, &next));
    check_stored(place);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_place place;
    static struct http_page page;
    struct err err = {0};
    if (size == 0) {
        return 0;
    }
    const struct http_pages pages = pages_of(data[0]);
    struct remote_answer answer;
    remote_answer_init(&answer);
    size_t head = 1;
    while (head < size && data[head] != '\0') {
        head++;
    }
    buffer_append(&answer.head, data + 1, head - 1);
    buffer_append(&answer.body, data + head, size - head);
    buffer_append_text(&answer.url, first_page);
    place = (struct http_place){.page = 1};
    if (http_page_read(&pages, &place, &answer, &page, &err) == ERR_OK) {
        check_records(&answer, &page);
        if (page.has_next) {
            check_next(&pages, &place, &page);
        }
    } else {
        assert(err.msg[0] != '\0');
    }
    remote_answer_deinit(&answer);
    return 0;
}
