/*
 * Compressed streams in steps of any size: the same bytes, several members, every
 * way to be cut off or damaged.
 */
#include "storage/columns/inflate_stream.h"

#include "storage/columns/deflate.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

enum { BYTES_MAX = 32 << 20 };

static const enum content_encoding encodings[] = {CONTENT_IDENTITY, CONTENT_GZIP, CONTENT_ZSTD};

static struct buffer make_plain(size_t size)
{
    struct buffer plain;
    uint64_t random = 3;
    buffer_init(&plain, BYTES_MAX);
    while (plain.size < size) {
        buffer_append_format(&plain, "{\"member\":%u}\n", (unsigned)kit_random(&random));
    }
    plain.size = size;
    return plain;
}

static void append(struct buffer *body, enum content_encoding encoding, struct span plain)
{
    CLEANUP(deflater_close) struct deflater *deflater = NULL;
    struct err err = {0};
    cr_assert_eq(deflater_open(encoding, &deflater, &err), ERR_OK);
    cr_assert_eq(deflater_write(deflater, plain, body, &err), ERR_OK);
    cr_assert_eq(deflater_finish(deflater, body, &err), ERR_OK);
}

/* Feed `in` bytes at a time, take `out` at a time. */
static enum err_code inflate_in_steps(struct span body, enum content_encoding encoding, size_t in,
                                      size_t out, struct buffer *plain, struct err *err)
{
    CLEANUP(inflater_close) struct inflater *inflater = NULL;
    TRY(inflater_open(encoding, &inflater, err));
    while (body.size > 0) {
        struct span piece = span_of(body.data, body.size < in ? body.size : in);
        body = span_of(body.data + piece.size, body.size - piece.size);
        size_t size = 0;
        do {
            uint8_t *room = buffer_reserve(plain, out);
            TRY(inflater_step(inflater, &piece, room, out, &size, err));
            buffer_advance(plain, size);
        } while (size > 0);
        cr_assert_eq(piece.size, 0);
    }
    return inflater_end(inflater, err);
}

Test(inflate_stream, gives_the_same_bytes_whatever_the_steps)
{
    static const size_t sizes[] = {0, 1, 70000, 3000000};
    static const size_t steps[][2] = {{1, 1}, {7, 100000}, {100000, 13}, {65536, 65536}};
    for (size_t e = 0; e < COUNT(encodings); e++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            CLEANUP(buffer_deinit) struct buffer plain = make_plain(sizes[i]);
            CLEANUP(buffer_deinit) struct buffer body;
            buffer_init(&body, BYTES_MAX);
            append(&body, encodings[e], buffer_span(&plain));
            append(&body, encodings[e], buffer_span(&plain)); /* a second member */
            for (size_t s = 0; s < COUNT(steps); s++) {
                if (s == 0 && sizes[i] > 100000) {
                    continue; /* slow, and nothing new */
                }
                CLEANUP(buffer_deinit) struct buffer got;
                struct err err = {0};
                buffer_init(&got, BYTES_MAX);
                cr_assert_eq(inflate_in_steps(buffer_span(&body), encodings[e], steps[s][0],
                                              steps[s][1], &got, &err),
                             ERR_OK, "%s", err.msg);
                cr_assert_eq(got.size, 2 * sizes[i]);
                cr_expect(span_equal(span_of(got.data, sizes[i]), buffer_span(&plain)));
                cr_expect(span_equal(span_of(got.data + sizes[i], sizes[i]), buffer_span(&plain)));
            }
        }
    }
}

Test(inflate_stream, a_cut_at_any_byte_is_told)
{
    for (size_t e = 1; e < COUNT(encodings); e++) {
        CLEANUP(buffer_deinit) struct buffer plain = make_plain(2000);
        CLEANUP(buffer_deinit) struct buffer body;
        buffer_init(&body, BYTES_MAX);
        append(&body, encodings[e], buffer_span(&plain));
        size_t whole = body.size;
        append(&body, encodings[e], buffer_span(&plain));
        for (size_t size = 0; size < body.size; size++) {
            CLEANUP(buffer_deinit) struct buffer got;
            struct err err = {0};
            buffer_init(&got, BYTES_MAX);
            enum err_code code =
                inflate_in_steps(span_of(body.data, size), encodings[e], 100, 100, &got, &err);
            cr_expect_eq(code, size == whole ? ERR_OK : ERR_INVALID, "%zu of %zu: %s", size, whole,
                         err.msg);
        }
    }
}

Test(inflate_stream, refuses_damage_and_what_follows)
{
    for (size_t e = 1; e < COUNT(encodings); e++) {
        CLEANUP(buffer_deinit) struct buffer plain = make_plain(3000);
        CLEANUP(buffer_deinit) struct buffer body;
        CLEANUP(buffer_deinit) struct buffer got;
        struct err err = {0};
        buffer_init(&body, BYTES_MAX);
        buffer_init(&got, BYTES_MAX);
        append(&body, encodings[e], buffer_span(&plain));
        size_t size = body.size;
        buffer_append_text(&body, "more");
        cr_expect_eq(inflate_in_steps(buffer_span(&body), encodings[e], 64, 64, &got, &err),
                     ERR_INVALID, "%s", err.msg);
        body.size = size;
        body.data[size / 2] ^= 0x55;
        cr_expect_eq(inflate_in_steps(buffer_span(&body), encodings[e], 64, 64, &got, &err),
                     ERR_INVALID, "a damaged byte goes unnoticed");
        cr_expect_eq(
            inflate_in_steps(span_of_text("{\"plain\":1}"), encodings[e], 64, 64, &got, &err),
            ERR_INVALID);
    }
}

Test(inflate_stream, detects_encodings)
{
    static const struct {
        const char *start;
        size_t size;
        enum content_encoding encoding;
    } cases[] = {
        {"\x1f\x8b\x08\x00", 4, CONTENT_GZIP},     {"\x28\xb5\x2f\xfd", 4, CONTENT_ZSTD},
        {"\x5a\x2a\x4d\x18", 4, CONTENT_ZSTD},     {"\x1f\x8b", 2, CONTENT_IDENTITY},
        {"{\"k\"", 4, CONTENT_IDENTITY},           {"", 0, CONTENT_IDENTITY},
        {"\x28\xb5\x2f\xfe", 4, CONTENT_IDENTITY},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(inflate_detect(span_of(cases[i].start, cases[i].size)), cases[i].encoding,
                     "case %zu", i);
    }
}
