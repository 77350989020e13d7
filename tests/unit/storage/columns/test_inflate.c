/*
 * Compressed bodies: what other programs make, every way to be cut off or
 * damaged, and bombs. Bodies are made with the libraries' own compressors.
 */
#include "storage/columns/inflate.h"

#include "storage/base/mem.h"

#include <criterion/criterion.h>
#include <zlib.h>
#include <zstd.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

enum { BYTES_MAX = 8 << 20 };

TestSuite(inflate);

/* One gzip member of `plain` at the end of `out`. */
static void append_gzip(struct buffer *out, struct span plain)
{
    z_stream stream = {0};
    cr_assert_eq(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    CLEANUP(mem_cleanup) uint8_t *copy = mem_copy(plain.data, plain.size);
    stream.next_in = copy;
    stream.avail_in = (uInt)plain.size;
    size_t bound = deflateBound(&stream, plain.size);
    stream.next_out = buffer_reserve(out, bound);
    stream.avail_out = (uInt)bound;
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    buffer_advance(out, bound - stream.avail_out);
    (void)deflateEnd(&stream); /* nothing to report */
}

static void append_zstd_window(struct buffer *out, struct span plain, int window_log, bool checksum)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum); /* checked below */
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    size_t bound = ZSTD_compressBound(plain.size) + 64;
    uint8_t *room = buffer_reserve(out, bound);
    ZSTD_outBuffer output = {.dst = room, .size = bound};
    ZSTD_inBuffer input = {.src = plain.data, .size = plain.size};
    /* streamed, so that the frame states its window and not its size */
    size_t left = ZSTD_compressStream2(context, &output, &input, ZSTD_e_flush);
    cr_assert_not(ZSTD_isError(left));
    left = ZSTD_compressStream2(context, &output, &input, ZSTD_e_end);
    cr_assert_eq(left, 0);
    buffer_advance(out, output.pos);
    (void)ZSTD_freeCCtx(context); /* cannot fail */
}

static void append_zstd(struct buffer *out, struct span plain)
{
    append_zstd_window(out, plain, 17, true);
}

static void append(struct buffer *out, enum content_encoding encoding, struct span plain)
{
    if (encoding == CONTENT_GZIP) {
        append_gzip(out, plain);
    } else {
        append_zstd(out, plain);
    }
}

/* Text that compresses about three times. */
static struct buffer make_plain(size_t size)
{
    struct buffer plain;
    buffer_init(&plain, (size_t)1 << 26);
    uint32_t random = 12345;
    while (plain.size < size) {
        random = random * 1664525U + 1013904223U;
        buffer_append_format(&plain, "{\"member\":%u}\n", random);
    }
    plain.size = size;
    return plain;
}

static const enum content_encoding encodings[] = {CONTENT_GZIP, CONTENT_ZSTD};

static enum err_code inflate_text(struct span body, enum content_encoding encoding,
                                  struct buffer *plain, struct err *err)
{
    return inflate_body(body, encoding, BYTES_MAX, INFLATE_RATIO_MAX, plain, err);
}

/* Expect a refusal with `code` and a message that contains `part`. */
static void expect_refused(const char *name, struct span body, enum content_encoding encoding,
                           enum err_code code, const char *part)
{
    struct buffer plain = {0};
    struct err err = {0};
    enum err_code got = inflate_text(body, encoding, &plain, &err);
    cr_expect_eq(got, code, "%s: %s %s", name, err_code_name(got), err.msg);
    cr_expect_not_null(strstr(err.msg, part), "%s: %s", name, err.msg);
    cr_expect_null(plain.data, "%s", name);
}

Test(inflate, reads_back_what_was_compressed)
{
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 1 << 20, 5000000};
    for (size_t e = 0; e < COUNT(encodings); e++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            CLEANUP(buffer_deinit) struct buffer plain = make_plain(sizes[i]);
            CLEANUP(buffer_deinit) struct buffer body;
            CLEANUP(buffer_deinit) struct buffer got = {0};
            struct err err = {0};
            buffer_init(&body, (size_t)1 << 26);
            append(&body, encodings[e], buffer_span(&plain));
            cr_assert_eq(inflate_text(buffer_span(&body), encodings[e], &got, &err), ERR_OK, "%s",
                         err.msg);
            cr_expect(span_equal(buffer_span(&got), buffer_span(&plain)), "%zu", sizes[i]);
        }
    }
}

Test(inflate, reads_what_the_command_line_tools_write)
{
    /* printf 'k\na\n' | gzip -n; printf 'k\na\n' | zstd */
    static const uint8_t gzip[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00,
                                   0x00, 0x03, 0xcb, 0xe6, 0x4a, 0xe4, 0x02, 0x00,
                                   0x30, 0x99, 0xc7, 0x5c, 0x04, 0x00, 0x00, 0x00};
    static const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x21, 0x00, 0x00,
                                   0x6b, 0x0a, 0x61, 0x0a, 0xc4, 0xe5, 0x3e, 0x0c};
    static const struct {
        struct span body;
        enum content_encoding encoding;
    } cases[] = {{{gzip, sizeof gzip}, CONTENT_GZIP}, {{zstd, sizeof zstd}, CONTENT_ZSTD}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buffer_deinit) struct buffer got = {0};
        struct err err = {0};
        cr_assert_eq(inflate_text(cases[i].body, cases[i].encoding, &got, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect(span_equal_text(buffer_span(&got), "k\na\n"));
    }
}

Test(inflate, joins_members_and_frames)
{
    for (size_t e = 0; e < COUNT(encodings); e++) {
        CLEANUP(buffer_deinit) struct buffer body;
        CLEANUP(buffer_deinit) struct buffer got = {0};
        struct err err = {0};
        buffer_init(&body, 1 << 20);
        append(&body, encodings[e], span_of_text("one "));
        append(&body, encodings[e], (struct span){0});
        append(&body, encodings[e], span_of_text("two"));
        if (encodings[e] == CONTENT_ZSTD) { /* a skippable frame of three bytes */
            buffer_append(&body, "\x50\x2a\x4d\x18\x03\0\0\0abc", 11);
        }
        cr_assert_eq(inflate_text(buffer_span(&body), encodings[e], &got, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect(span_equal_text(buffer_span(&got), "one two"));
    }
}

Test(inflate, refuses_every_way_to_be_cut_off)
{
    for (size_t e = 0; e < COUNT(encodings); e++) {
        CLEANUP(buffer_deinit) struct buffer plain = make_plain(1000);
        CLEANUP(buffer_deinit) struct buffer body;
        buffer_init(&body, 1 << 20);
        append(&body, encodings[e], buffer_span(&plain));
        for (size_t size = 0; size < body.size; size++) {
            expect_refused("cut off", span_of(body.data, size), encodings[e], ERR_INVALID,
                           "is cut off");
        }
    }
}

/* Both forms carry a checksum, so no flipped bit of the contents goes unseen. */
Test(inflate, refuses_damaged_contents)
{
    for (size_t e = 0; e < COUNT(encodings); e++) {
        CLEANUP(buffer_deinit) struct buffer plain = make_plain(1000);
        CLEANUP(buffer_deinit) struct buffer body;
        buffer_init(&body, 1 << 20);
        append(&body, encodings[e], buffer_span(&plain));
        size_t header = encodings[e] == CONTENT_GZIP ? 10 : 9;
        for (size_t bit = header * 8; bit < body.size * 8; bit++) {
            body.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
            CLEANUP(buffer_deinit) struct buffer got = {0};
            struct err err = {0};
            enum err_code code = inflate_text(buffer_span(&body), encodings[e], &got, &err);
            cr_expect(code != ERR_OK || span_equal(buffer_span(&got), buffer_span(&plain)),
                      "bit %zu", bit);
            body.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
    }
}

Test(inflate, refuses_what_is_something_else)
{
    static const char json[] = "{\"k\":\"a\"}\n";
    for (size_t e = 0; e < COUNT(encodings); e++) {
        CLEANUP(buffer_deinit) struct buffer body;
        buffer_init(&body, 1 << 20);
        expect_refused("plain", span_of_text(json), encodings[e], ERR_INVALID, "is damaged");
        append(&body, encodings[1 - e], span_of_text(json));
        expect_refused("the other", buffer_span(&body), encodings[e], ERR_INVALID, "is damaged");
        buffer_reset(&body);
        append(&body, encodings[e], span_of_text(json));
        buffer_append_text(&body, json);
        expect_refused("more behind it", buffer_span(&body), encodings[e], ERR_INVALID,
                       "is damaged");
    }
    static const uint8_t zlib[] = {0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01};
    expect_refused("zlib is not gzip", span_of(zlib, sizeof zlib), CONTENT_GZIP, ERR_INVALID,
                   "is damaged");
}

Test(inflate, limits_what_comes_out)
{
    for (size_t e = 0; e < COUNT(encodings); e++) {
        CLEANUP(buffer_deinit) struct buffer plain = make_plain(300000);
        CLEANUP(buffer_deinit) struct buffer body;
        CLEANUP(buffer_deinit) struct buffer got = {0};
        struct buffer refused = {0};
        struct err err = {0};
        buffer_init(&body, 1 << 20);
        append(&body, encodings[e], buffer_span(&plain));
        struct span span = buffer_span(&body);
        cr_expect_eq(inflate_body(span, encodings[e], 300000, 100, &got, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect_eq(got.size, 300000);
        cr_expect_eq(inflate_body(span, encodings[e], 299999, 100, &refused, &err), ERR_TOO_LARGE);
        cr_expect_str_eq(err.msg, "the inflated body has more than 299999 bytes");
    }
}

/* 2 MiB of zeros take about 2 KiB as gzip and 100 bytes as zstd. */
Test(inflate, limits_the_ratio_past_one_mebibyte)
{
    CLEANUP(mem_cleanup) uint8_t *zeros = mem_zeroed(2 << 20, 1);
    for (size_t e = 0; e < COUNT(encodings); e++) {
        CLEANUP(buffer_deinit) struct buffer small;
        CLEANUP(buffer_deinit) struct buffer bomb;
        CLEANUP(buffer_deinit) struct buffer got = {0};
        CLEANUP(buffer_deinit) struct buffer all = {0};
        struct err err = {0};
        buffer_init(&small, 4 << 20);
        buffer_init(&bomb, 4 << 20);
        append(&small, encodings[e], span_of(zeros, INFLATE_RATIO_FREE_BYTES));
        append(&bomb, encodings[e], span_of(zeros, 2 << 20));
        cr_expect_eq(inflate_text(buffer_span(&small), encodings[e], &got, &err), ERR_OK, "%s",
                     err.msg);
        expect_refused("bomb", buffer_span(&bomb), encodings[e], ERR_TOO_LARGE,
                       "grows more than 100 times");
        cr_expect_eq(inflate_body(buffer_span(&bomb), encodings[e], 2 << 20, 1 << 20, &all, &err),
                     ERR_OK);
        cr_expect_eq(all.size, 2 << 20);
    }
}

Test(inflate, limits_empty_members)
{
    for (size_t e = 0; e < COUNT(encodings); e++) {
        CLEANUP(buffer_deinit) struct buffer one;
        CLEANUP(buffer_deinit) struct buffer body;
        buffer_init(&one, 1 << 10);
        buffer_init(&body, 1 << 24);
        append(&one, encodings[e], (struct span){0});
        for (int i = 0; i < INFLATE_MEMBERS_MAX; i++) {
            buffer_append_span(&body, buffer_span(&one));
        }
        CLEANUP(buffer_deinit) struct buffer got = {0};
        struct err err = {0};
        cr_expect_eq(inflate_text(buffer_span(&body), encodings[e], &got, &err), ERR_OK, "%s",
                     err.msg);
        buffer_append_span(&body, buffer_span(&one));
        expect_refused("one more", buffer_span(&body), encodings[e], ERR_TOO_LARGE,
                       "more than 100000 parts");
    }
}

/* A million stored blocks of no bytes: linear in the body, and nothing comes out. */
Test(inflate, passes_empty_blocks)
{
    CLEANUP(buffer_deinit) struct buffer body;
    CLEANUP(buffer_deinit) struct buffer got = {0};
    struct err err = {0};
    buffer_init(&body, 1 << 24);
    buffer_append(&body, "\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
    for (int i = 0; i < 1000000; i++) {
        buffer_append(&body, "\0\0\0\xff\xff", 5);
    }
    buffer_append(&body, "\x01\0\0\xff\xff\0\0\0\0\0\0\0\0", 13);
    cr_expect_eq(inflate_text(buffer_span(&body), CONTENT_GZIP, &got, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(got.size, 0);
}

Test(inflate, limits_the_window_of_zstd)
{
    CLEANUP(buffer_deinit) struct buffer plain = make_plain(1000);
    static const struct {
        int window_log;
        enum err_code code;
    } cases[] = {{INFLATE_ZSTD_WINDOW_LOG_MAX, ERR_OK},
                 {INFLATE_ZSTD_WINDOW_LOG_MAX + 1, ERR_TOO_LARGE},
                 {27, ERR_TOO_LARGE}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buffer_deinit) struct buffer body;
        CLEANUP(buffer_deinit) struct buffer got = {0};
        struct err err = {0};
        buffer_init(&body, 1 << 20);
        append_zstd_window(&body, buffer_span(&plain), cases[i].window_log, false);
        cr_expect_eq(inflate_text(buffer_span(&body), CONTENT_ZSTD, &got, &err), cases[i].code,
                     "%d: %s", cases[i].window_log, err.msg);
    }
}

Test(inflate, identity_is_a_copy)
{
    CLEANUP(buffer_deinit) struct buffer got = {0};
    struct buffer refused = {0};
    struct err err = {0};
    cr_expect_eq(inflate_body(span_of_text("abc"), CONTENT_IDENTITY, 3, 1, &got, &err), ERR_OK);
    cr_expect(span_equal_text(buffer_span(&got), "abc"));
    cr_expect_eq(inflate_body(span_of_text("abcd"), CONTENT_IDENTITY, 3, 1, &refused, &err),
                 ERR_TOO_LARGE);
}

Test(inflate, knows_the_names_of_encodings)
{
    static const struct {
        const char *name;
        bool known;
        enum content_encoding encoding;
    } cases[] = {
        {"identity", true, CONTENT_IDENTITY}, {"gzip", true, CONTENT_GZIP},
        {"GZip", true, CONTENT_GZIP},         {"x-gzip", true, CONTENT_GZIP},
        {"zstd", true, CONTENT_ZSTD},         {"deflate", false, CONTENT_IDENTITY},
        {"br", false, CONTENT_IDENTITY},      {"gzip, gzip", false, CONTENT_IDENTITY},
        {"", false, CONTENT_IDENTITY},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum content_encoding encoding = CONTENT_IDENTITY;
        cr_expect_eq(content_encoding_parse(span_of_text(cases[i].name), &encoding), cases[i].known,
                     "%s", cases[i].name);
        cr_expect_eq(encoding, cases[i].encoding, "%s", cases[i].name);
    }
}
