/*
 * Base64, hex, percent: RFC vectors, round trips, strangers refused.
 */
#include "storage/base/text.h"

#include <criterion/criterion.h>

#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

typedef bool (*decode_fn)(struct span text, struct buffer *bytes);

/* Decode `text` behind one byte that must survive a failure. */
static bool decodes_to(decode_fn decode, const char *text, const char *expected)
{
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, 4096);
    buffer_append_byte(&bytes, 'x');
    bool decoded = decode(span_of_text(text), &bytes);
    struct span added = span_of(bytes.data + 1, bytes.size - 1);
    return expected != NULL ? decoded && span_equal_text(added, expected)
                            : !decoded && added.size == 0;
}

static bool is_text(const struct buffer *buffer, const char *expected)
{
    return span_equal_text(buffer_span(buffer), expected);
}

Test(text_encoding, base64)
{
    /* source: RFC 4648 10 */
    static const struct {
        const char *plain;
        const char *text;
    } cases[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, 64);
        text_base64_encode(span_of_text(cases[i].plain), &text);
        cr_expect(is_text(&text, cases[i].text), "%s", cases[i].plain);
        cr_expect(decodes_to(text_base64_decode, cases[i].text, cases[i].plain), "%s",
                  cases[i].text);
    }
}

Test(text_encoding, base64_refuses)
{
    static const char *const cases[] = {
        "Z",    "Zg",   "Zg=",  "Zg===", "=",     "====", "Zm9v=",    "Zm=v",    "Zg==Zg==",
        "Zh==", "Zm9=", "Zm9-", "Zm9_",  "Zm9\n", "Zm 9", "Zm9v\r\n", "Zm9\xc3", "ZZZ*",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect(decodes_to(text_base64_decode, cases[i], NULL), "%s", cases[i]);
    }
}

Test(text_encoding, base64url)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 64);
    text_base64url_encode(span_of_text("\xfb\xff\xbf\x66"), &text);
    cr_expect(is_text(&text, "-_-_Zg"));
    cr_expect(decodes_to(text_base64url_decode, "-_-_Zg", "\xfb\xff\xbf\x66"));
    static const char *const refused[] = {"Zg==", "Z", "Zm9vZ", "Zm9+", "Zh"};
    for (size_t i = 0; i < COUNT(refused); i++) {
        cr_expect(decodes_to(text_base64url_decode, refused[i], NULL), "%s", refused[i]);
    }
}

Test(text_encoding, base64_round_trips_every_length_and_fits_exactly)
{
    uint8_t bytes[100];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37 + 11);
    }
    for (size_t size = 0; size <= sizeof bytes; size++) {
        CLEANUP(buffer_deinit) struct buffer text;
        CLEANUP(buffer_deinit) struct buffer back;
        buffer_init(&text, (size + 2) / 3 * 4);
        buffer_init(&back, size);
        text_base64_encode(span_of(bytes, size), &text);
        cr_assert_not(text.overflowed);
        cr_assert(text_base64_decode(buffer_span(&text), &back), "%zu", size);
        cr_assert(span_equal(buffer_span(&back), span_of(bytes, size)), "%zu", size);
    }
}

Test(text_encoding, decoders_stop_at_the_ceiling)
{
    CLEANUP(buffer_deinit) struct buffer small;
    buffer_init(&small, 2);
    cr_expect_not(text_base64_decode(span_of_text("Zm9v"), &small));
    cr_expect(small.overflowed);
    buffer_reset(&small);
    cr_expect_not(text_hex_decode(span_of_text("001122"), &small));
    cr_expect(small.overflowed);
}

Test(text_encoding, hex)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 64);
    text_hex_encode(span_of("\x00\xff\x1a", 3), &text);
    cr_expect(is_text(&text, "00ff1a"));
    cr_expect(decodes_to(text_hex_decode, "FF1a", "\xff\x1a"));
    cr_expect(decodes_to(text_hex_decode, "", ""));
    cr_expect(decodes_to(text_hex_decode, "f", NULL));
    cr_expect(decodes_to(text_hex_decode, "fg", NULL));
    cr_expect(decodes_to(text_hex_decode, "0x", NULL));
    cr_expect(decodes_to(text_hex_decode, " 1", NULL));
}

Test(text_encoding, percent_encode)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 256);
    text_percent_encode(span_of("aZ09-._~ /:%\x00\xff=+", 16), "/", &text);
    cr_expect(is_text(&text, "aZ09-._~%20/%3A%25%00%FF%3D%2B"), "%.*s",
              SPAN_PRINT(buffer_span(&text)));
}

static bool decode_path(struct span text, struct buffer *bytes)
{
    return text_percent_decode(text, false, bytes);
}

static bool decode_form(struct span text, struct buffer *bytes)
{
    return text_percent_decode(text, true, bytes);
}

Test(text_encoding, percent_decode)
{
    cr_expect(decodes_to(decode_path, "", ""));
    cr_expect(decodes_to(decode_path, "a%20b+c", "a b+c"));
    cr_expect(decodes_to(decode_form, "a%20b+c%2B", "a b c+"));
    cr_expect(decodes_to(decode_path, "%c3%A9", "\xc3\xa9"));
    cr_expect(decodes_to(decode_path, "%2e%2e%2F", "../"));
    static const char *const refused[] = {"%", "%4", "%4g", "%g4", "a%", "%00", "a%00b", "%%41"};
    for (size_t i = 0; i < COUNT(refused); i++) {
        cr_expect(decodes_to(decode_path, refused[i], NULL), "%s", refused[i]);
    }
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, 16);
    cr_expect_not(text_percent_decode(span_of("a\0b", 3), false, &bytes), "raw NUL");
}
