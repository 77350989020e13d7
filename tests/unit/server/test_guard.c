/* The guard: what passes, what is refused and why, in one piece and byte by byte. */
#include "server/guard.h"

#include "storage/base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { OUT_BYTES = 256 << 10 };

/* Feed `text` in pieces of `step` bytes; returns what was handed on. */
static size_t feed(struct guard *guard, const char *text, size_t size, size_t step, uint8_t *out)
{
    size_t used = 0;
    for (size_t at = 0; at < size; at += step) {
        size_t piece = size - at < step ? size - at : step;
        uint8_t *bytes = mem_copy(text + at, piece);
        size_t passed = guard_feed(guard, bytes, piece);
        memcpy(out + used, bytes, passed);
        used += passed;
        mem_free(bytes);
        size_t taken = guard_take(guard, out + used, OUT_BYTES - used);
        used += taken;
    }
    return used;
}

static size_t feed_text(const char *text, size_t size, size_t step, struct guard *guard,
                        uint8_t *out)
{
    guard_init(guard);
    return feed(guard, text, size, step, out);
}

#define TEXT(literal) literal, sizeof literal - 1

Test(guard, hands_sound_streams_on_unchanged)
{
    static const struct {
        const char *name;
        const char *text;
        size_t size;
        uint64_t heads;
    } cases[] = {
        {"get", TEXT("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), 1},
        {"1.0 without host", TEXT("GET /a HTTP/1.0\r\n\r\n"), 1},
        {"two", TEXT("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"), 2},
        {"length",
         TEXT("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab\ncdGET / "
              "HTTP/1.1\r\nHost: x\r\n\r\n"),
         2},
        {"length 0", TEXT("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), 1},
        {"leading zeros", TEXT("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0003\r\n\r\nabc"), 1},
        {"chunked",
         TEXT("PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
              "5\r\nab\r\nc\r\n00A\r\n0123456789\r\n0\r\n\r\n"
              "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
         2},
        {"absolute form", TEXT("GET http://x/a HTTP/1.1\r\nHost: x\r\n\r\n"), 1},
        {"authority form", TEXT("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"), 1},
        {"obs-text value", TEXT("GET / HTTP/1.1\r\nHost: x\r\nA: \xe4\t b \r\n\r\n"), 1},
        {"empty value", TEXT("GET / HTTP/1.1\r\nHost: x\r\nA:\r\n\r\n"), 1},
    };
    uint8_t *out = mem_alloc(OUT_BYTES);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t step = 1; step <= cases[i].size; step++) {
            struct guard guard;
            size_t size = feed_text(cases[i].text, cases[i].size, step, &guard, out);
            cr_expect_eq(size, cases[i].size, "%s in steps of %zu: %zu bytes", cases[i].name, step,
                         size);
            cr_expect(memcmp(out, cases[i].text, cases[i].size) == 0, "%s", cases[i].name);
            cr_expect_eq(guard.heads_count, cases[i].heads, "%s", cases[i].name);
            cr_expect(guard_is_idle(&guard), "%s in steps of %zu", cases[i].name, step);
            guard_deinit(&guard);
        }
    }
    mem_free(out);
}

/* The library would parse queries and cookies in a pool that is too small for many. */
Test(guard, hides_queries_and_cookies)
{
    static const char text[] = "GET /a?b?c HTTP/1.1\r\nHost: x?\r\nCookie: a=b\r\nCookies: "
                               "c\r\ncOOKIE:d\r\n\r\n";
    static const char seen[] = "GET /a\x1f"
                               "b\x1f"
                               "c HTTP/1.1\r\nHost: x?\r\nxookie: a=b\r\n"
                               "Cookies: c\r\nxOOKIE:d\r\n\r\n";
    for (size_t step = 1; step < sizeof text; step++) {
        uint8_t out[512] = {0};
        struct guard guard;
        size_t size = feed_text(text, sizeof text - 1, step, &guard, out);
        cr_expect_eq(size, sizeof seen - 1);
        cr_expect_str_eq((char *)out, seen);
        guard_deinit(&guard);
    }
}

#define HOST "Host: x\r\n"

Test(guard, replaces_refused_heads)
{
    static const struct {
        const char *name;
        const char *text;
        size_t size;
        enum guard_refusal refusal;
    } cases[] = {
        {"length and coding",
         TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n"
              "Transfer-Encoding: chunked\r\n\r\n"),
         GUARD_LENGTH_AND_CODING},
        {"coding and length",
         TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n"
              "Content-Length: 3\r\n\r\n"),
         GUARD_LENGTH_AND_CODING},
        {"two lengths",
         TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n"
              "Content-Length: 4\r\n\r\n"),
         GUARD_BAD_LENGTH},
        {"two equal lengths",
         TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n"
              "Content-Length: 3\r\n\r\n"),
         GUARD_BAD_LENGTH},
        {"list of lengths", TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\n"),
         GUARD_BAD_LENGTH},
        {"plus", TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\n"), GUARD_BAD_LENGTH},
        {"minus", TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\n"), GUARD_BAD_LENGTH},
        {"hex", TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\n"), GUARD_BAD_LENGTH},
        {"no length", TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\n"),
         GUARD_BAD_LENGTH},
        {"2^63", TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775808\r\n\r\n"),
         GUARD_LENGTH_TOO_LARGE},
        {"2^64", TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n"),
         GUARD_LENGTH_TOO_LARGE},
        {"space before colon", TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length : 3\r\n\r\n"),
         GUARD_BAD_HEADER},
        {"folded", TEXT("GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n"), GUARD_BAD_HEADER},
        {"folded first", TEXT("GET / HTTP/1.1\r\n Host: x\r\n\r\n"), GUARD_BAD_HEADER},
        {"NUL in value", TEXT("GET / HTTP/1.1\r\n" HOST "A: b\0c\r\n\r\n"), GUARD_BAD_HEADER},
        {"CR in value", TEXT("GET / HTTP/1.1\r\n" HOST "A: b\rc\r\n\r\n"), GUARD_BAD_HEADER},
        {"no colon", TEXT("GET / HTTP/1.1\r\n" HOST "A\r\n\r\n"), GUARD_BAD_HEADER},
        {"no name", TEXT("GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n"), GUARD_BAD_HEADER},
        {"bare LF", TEXT("GET / HTTP/1.1\nHost: x\n\n"), GUARD_BAD_LINE_END},
        {"one bare LF", TEXT("GET / HTTP/1.1\r\n" HOST "A: b\n\r\n"), GUARD_BAD_LINE_END},
        {"no host", TEXT("GET / HTTP/1.1\r\n\r\n"), GUARD_BAD_HOST},
        {"two hosts", TEXT("GET / HTTP/1.1\r\n" HOST HOST "\r\n"), GUARD_BAD_HOST},
        {"unknown coding", TEXT("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"),
         GUARD_BAD_CODING},
        {"identity, chunked",
         TEXT("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity, chunked\r\n\r\n"),
         GUARD_BAD_CODING},
        {"chunked twice",
         TEXT("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
              "Transfer-Encoding: chunked\r\n\r\n"),
         GUARD_BAD_CODING},
        {"vertical tab before chunked",
         TEXT("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: \vchunked\r\n\r\n"), GUARD_BAD_HEADER},
        {"coding in 1.0", TEXT("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
         GUARD_BAD_CODING},
        {"version 9.9", TEXT("GET / HTTP/9.9\r\n" HOST "\r\n"), GUARD_BAD_VERSION},
        {"version 2", TEXT("PRI * HTTP/2.0\r\n\r\n"), GUARD_BAD_VERSION},
        {"version 0.9", TEXT("GET /\r\n"), GUARD_BAD_REQUEST_LINE},
        {"two spaces", TEXT("GET  / HTTP/1.1\r\n" HOST "\r\n"), GUARD_BAD_REQUEST_LINE},
        {"space at end", TEXT("GET / HTTP/1.1 \r\n" HOST "\r\n"), GUARD_BAD_REQUEST_LINE},
        {"tab", TEXT("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), GUARD_BAD_REQUEST_LINE},
        {"NUL in target", TEXT("GET /\0 HTTP/1.1\r\n" HOST "\r\n"), GUARD_BAD_REQUEST_LINE},
        {"high byte in target", TEXT("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n"),
         GUARD_BAD_REQUEST_LINE},
        {"the replacement itself", TEXT("GET " GUARD_REFUSED_TARGET " HTTP/1.1\r\n" HOST "\r\n"),
         GUARD_BAD_REQUEST_LINE},
        {"empty line first", TEXT("\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), GUARD_BAD_REQUEST_LINE},
        {"TLS hello", TEXT("\x16\x03\x01\x02\x00\x01\x00\n"), GUARD_BAD_LINE_END},
    };
    uint8_t *out = mem_alloc(OUT_BYTES);
    static const char smuggled[] = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t step = 1; step <= cases[i].size; step += 7) {
            struct guard guard;
            size_t size = feed_text(cases[i].text, cases[i].size, step, &guard, out);
            size += feed(&guard, smuggled, sizeof smuggled - 1, step, out + size);
            out[size] = '\0';
            cr_expect_eq(guard.refusal, cases[i].refusal, "%s: refusal %d", cases[i].name,
                         guard.refusal);
            cr_expect_eq(guard.refused_request, 1, "%s", cases[i].name);
            cr_expect(strncmp((char *)out, "GET " GUARD_REFUSED_TARGET " ", 13) == 0, "%s: %s",
                      cases[i].name, (char *)out);
            cr_expect_null(strstr((char *)out, "smuggled"), "%s", cases[i].name);
            cr_expect_geq(guard_reason(guard.refusal)->status, 400, "%s", cases[i].name);
            guard_deinit(&guard);
        }
    }
    mem_free(out);
}

#define CHUNKED "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

/* Whatever the client does to its chunks, the library sees a body that ends. */
Test(guard, ends_broken_chunked_bodies)
{
    static const struct {
        const char *name;
        const char *body;
        const char *seen;
    } cases[] = {
        {"17 digits", "FFFFFFFFFFFFFFFFF\r\nabc", "0\r\n\r\n"},
        {"no digit", "\r\nabc", "0\r\n\r\n"},
        {"not hex", "xyz\r\nabc", "0\r\n\r\n"},
        {"beyond 2^63", "8000000000000000\r\nabc", "0\r\n\r\n"},
        {"extension", "5;a=b\r\nabcde\r\n0\r\n\r\n", "0\r\n\r\n"},
        {"space", "5 \r\nabcde\r\n0\r\n\r\n", "0\r\n\r\n"},
        {"bare LF", "5\nabcde\r\n0\r\n\r\n", "0\r\n\r\n"},
        {"data too long", "2\r\nabcde\r\n0\r\n\r\n", "2\r\nab\r\n0\r\n\r\n"},
        {"trailer", "2\r\nab\r\n0\r\nA: b\r\n\r\n", "2\r\nab\r\n0\r\n\r\n"},
        {"second chunk", "2\r\nab\r\nz\r\n", "2\r\nab\r\n0\r\n\r\n"},
    };
    uint8_t *out = mem_alloc(OUT_BYTES);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        char expected[512];
        int size = snprintf(text, sizeof text, CHUNKED "%s", cases[i].body);
        int expected_size = snprintf(expected, sizeof expected, CHUNKED "%s", cases[i].seen);
        for (size_t step = 1; step <= (size_t)size; step++) {
            struct guard guard;
            size_t seen = feed_text(text, (size_t)size, step, &guard, out);
            cr_expect_eq(seen, (size_t)expected_size, "%s in steps of %zu", cases[i].name, step);
            cr_expect(memcmp(out, expected, (size_t)expected_size) == 0, "%s", cases[i].name);
            cr_expect_eq(guard.refusal, GUARD_BAD_CHUNK, "%s", cases[i].name);
            cr_expect_eq(guard.refused_request, 1, "%s", cases[i].name);
            guard_deinit(&guard);
        }
    }
    mem_free(out);
}

/* A head of `size` bytes in all, filled up with one long header. */
static char *head_of(size_t size)
{
    static const char start[] = "GET / HTTP/1.1\r\nHost: x\r\nA: ";
    char *text = mem_alloc(size + 1);
    memset(text, 'a', size);
    memcpy(text, start, sizeof start - 1);
    memcpy(text + size - 4, "\r\n\r\n", 5);
    return text;
}

Test(guard, limits_heads)
{
    uint8_t *out = mem_alloc(OUT_BYTES);
    for (size_t over = 0; over <= 1; over++) {
        size_t size = GUARD_HEAD_BYTES_MAX + over;
        char *text = head_of(size);
        struct guard guard;
        (void)feed_text(text, size, 1000, &guard, out);
        cr_expect_eq(guard.refusal, over == 0 ? GUARD_FINE : GUARD_HEAD_TOO_LARGE, "over %zu",
                     over);
        guard_deinit(&guard);
        mem_free(text);
    }
    mem_free(out);
}

Test(guard, limits_targets_and_headers)
{
    uint8_t *out = mem_alloc(OUT_BYTES);
    for (size_t over = 0; over <= 1; over++) {
        char text[GUARD_TARGET_BYTES_MAX + 64];
        char target[GUARD_TARGET_BYTES_MAX + 2];
        struct guard guard;
        memset(target, 'a', sizeof target);
        target[0] = '/';
        target[GUARD_TARGET_BYTES_MAX + over] = '\0';
        int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
        (void)feed_text(text, (size_t)size, 4000, &guard, out);
        cr_expect_eq(guard.refusal, over == 0 ? GUARD_FINE : GUARD_TARGET_TOO_LONG, "over %zu",
                     over);
        guard_deinit(&guard);
    }
    for (size_t over = 0; over <= 1; over++) {
        char text[4096] = "GET / HTTP/1.1\r\nHost: x\r\n";
        size_t size = strlen(text);
        for (size_t i = 1; i < GUARD_HEADERS_MAX + over; i++) {
            size += (size_t)snprintf(text + size, sizeof text - size, "A: b\r\n");
        }
        size += (size_t)snprintf(text + size, sizeof text - size, "\r\n");
        struct guard guard;
        (void)feed_text(text, size, 4000, &guard, out);
        cr_expect_eq(guard.refusal, over == 0 ? GUARD_FINE : GUARD_HEAD_TOO_LARGE, "over %zu",
                     over);
        guard_deinit(&guard);
    }
    mem_free(out);
}

Test(guard, refuses_an_endless_line_without_its_end)
{
    uint8_t *out = mem_alloc(OUT_BYTES);
    char *text = mem_alloc(GUARD_HEAD_BYTES_MAX + 100);
    memset(text, 'a', GUARD_HEAD_BYTES_MAX + 100);
    memcpy(text, "GET /", 5);
    struct guard guard;
    (void)feed_text(text, GUARD_HEAD_BYTES_MAX + 100, 512, &guard, out);
    cr_expect_eq(guard.refusal, GUARD_TARGET_TOO_LONG);
    guard_deinit(&guard);
    mem_free(text);
    mem_free(out);
}

Test(guard, answers_good_requests_before_a_bad_one)
{
    static const char text[] =
        "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost : x\r\n\r\n";
    uint8_t out[512] = {0};
    struct guard guard;
    size_t size = feed_text(text, sizeof text - 1, sizeof text - 1, &guard, out);
    cr_expect(strncmp((char *)out, text, 28) == 0);
    cr_expect(strncmp((char *)out + 28, "GET " GUARD_REFUSED_TARGET, 12) == 0);
    cr_expect_lt(size, sizeof out);
    cr_expect_eq(guard.refused_request, 2);
    cr_expect_eq(guard.heads_count, 2);
    guard_deinit(&guard);
}

Test(guard, ends_an_unwanted_body_at_its_next_chunk)
{
    uint8_t out[512] = {0};
    struct guard guard;
    static const char first[] = CHUNKED "5\r\nabc";
    static const char second[] = "de\r\n5\r\nfghij\r\n0\r\n\r\n";
    size_t size = feed_text(first, sizeof first - 1, sizeof first - 1, &guard, out);
    guard_end_body(&guard);
    size += feed(&guard, second, sizeof second - 1, sizeof second - 1, out + size);
    out[size] = '\0';
    cr_expect_str_eq((char *)out, CHUNKED "5\r\nabcde\r\n0\r\n\r\n");
    cr_expect_eq(guard.refusal, GUARD_BODY_UNWANTED);
    guard_deinit(&guard);
}
