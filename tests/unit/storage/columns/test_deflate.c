#include "storage/columns/deflate.h"

#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>

TestSuite(deflate, .timeout = 60);

enum { PLAIN_BYTES = 700000, OUT_MAX = 8 << 20 };

static const enum content_encoding encodings[] = {CONTENT_IDENTITY, CONTENT_GZIP, CONTENT_ZSTD};
enum { ENCODINGS = 3 };

/* Text that repeats now and then, so that matches reach across blocks. */
static void make_plain(size_t size, struct buffer *plain)
{
    uint64_t state = 7;
    buffer_init(plain, size);
    while (plain->size < size) {
        if (plain->size > 4096 && kit_random(&state) % 3 != 0) {
            size_t from = kit_random(&state) % (plain->size - 200);
            uint8_t copy[200];
            memcpy(copy, plain->data + from, sizeof copy);
            size_t left = size - plain->size;
            buffer_append(plain, copy, left < sizeof copy ? left : sizeof copy);
        } else {
            buffer_append_byte(plain, (uint8_t)('a' + kit_random(&state) % 26));
        }
    }
}

/* Compress in pieces of random size up to `piece_max`. */
static void compress(enum content_encoding encoding, struct span plain, size_t piece_max,
                     struct buffer *out)
{
    uint64_t state = piece_max;
    struct err err = {0};
    CLEANUP(deflater_close) struct deflater *deflater = NULL;
    cr_assert_eq(deflater_open(encoding, &deflater, &err), ERR_OK, "%s", err.msg);
    buffer_init(out, OUT_MAX);
    for (size_t at = 0; at < plain.size;) {
        size_t size = 1 + kit_random(&state) % piece_max;
        size = size < plain.size - at ? size : plain.size - at;
        struct span piece = span_of(plain.data + at, size);
        cr_assert_eq(deflater_write(deflater, piece, out, &err), ERR_OK, "%s", err.msg);
        at += size;
    }
    cr_assert_eq(deflater_finish(deflater, out, &err), ERR_OK, "%s", err.msg);
}

static void expect_inflates(enum content_encoding encoding, struct span compressed,
                            struct span plain)
{
    CLEANUP(buffer_deinit) struct buffer back;
    struct err err = {0};
    cr_assert_eq(inflate_body(compressed, encoding, OUT_MAX, 1000, &back, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect(span_equal(buffer_span(&back), plain));
}

Test(deflate, what_comes_out_is_what_inflate_takes)
{
    static const size_t sizes[] = {
        0,          1, 100, DEFLATE_BLOCK_BYTES - 1, DEFLATE_BLOCK_BYTES, DEFLATE_BLOCK_BYTES + 1,
        PLAIN_BYTES};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CLEANUP(buffer_deinit) struct buffer plain;
        make_plain(sizes[i], &plain);
        for (size_t e = 0; e < ENCODINGS; e++) {
            CLEANUP(buffer_deinit) struct buffer out;
            compress(encodings[e], buffer_span(&plain), 10000, &out);
            expect_inflates(encodings[e], buffer_span(&out), buffer_span(&plain));
        }
    }
}

Test(deflate, bytes_do_not_depend_on_how_the_input_was_cut)
{
    CLEANUP(buffer_deinit) struct buffer plain;
    make_plain(PLAIN_BYTES, &plain);
    for (size_t e = 0; e < ENCODINGS; e++) {
        CLEANUP(buffer_deinit) struct buffer whole;
        compress(encodings[e], buffer_span(&plain), PLAIN_BYTES, &whole);
        static const size_t pieces[] = {1, 77, 4096, 300000};
        for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
            CLEANUP(buffer_deinit) struct buffer cut;
            compress(encodings[e], buffer_span(&plain), pieces[i], &cut);
            cr_expect(span_equal(buffer_span(&whole), buffer_span(&cut)), "encoding %d, pieces %zu",
                      encodings[e], pieces[i]);
        }
    }
}

/* spec: RFC 1952 section 2.3 — flags 0, time 0: neither names nor moments */
Test(deflate, gzip_carries_no_time_and_no_name)
{
    CLEANUP(buffer_deinit) struct buffer out;
    compress(CONTENT_GZIP, span_of_text("rows"), 4, &out);
    static const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    cr_assert_geq(out.size, sizeof head);
    cr_expect_arr_eq(out.data, head, sizeof head);
}

Test(deflate, the_ceiling_of_the_output_is_kept)
{
    CLEANUP(buffer_deinit) struct buffer plain;
    make_plain(PLAIN_BYTES, &plain);
    for (size_t e = 0; e < ENCODINGS; e++) {
        struct err err = {0};
        CLEANUP(deflater_close) struct deflater *deflater = NULL;
        CLEANUP(buffer_deinit) struct buffer out;
        buffer_init(&out, 1000);
        cr_assert_eq(deflater_open(encodings[e], &deflater, &err), ERR_OK);
        enum err_code code = deflater_write(deflater, buffer_span(&plain), &out, &err);
        code = code == ERR_OK ? deflater_finish(deflater, &out, &err) : code;
        cr_expect_eq(code, ERR_TOO_LARGE);
    }
}
