/*
 * Target: inflate_body, and the inflater, which must come to the same in steps. The
 * first byte chooses encoding and steps, the rest is the body; as it is, it is a body
 * without encoding, too, and the name of one.
 */
#include "storage/columns/inflate.h"
#include "storage/columns/inflate_stream.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BYTES_MAX = 2 << 20, BYTES_FEW = 1000 };

/* Errors: also ERR_TOO_LARGE once more than BYTES_MAX came out. */
static enum err_code inflate_in_steps(struct span body, enum content_encoding encoding, size_t step,
                                      struct buffer *plain, struct err *err)
{
    CLEANUP(inflater_close) struct inflater *inflater = NULL;
    TRY(inflater_open(encoding, &inflater, err));
    while (body.size > 0) {
        struct span piece = span_of(body.data, body.size < step ? body.size : step);
        body = span_of(body.data + piece.size, body.size - piece.size);
        size_t size = 0;
        do {
            uint8_t out[1000];
            TRY(inflater_step(inflater, &piece, out, sizeof out, &size, err));
            buffer_append(plain, out, size);
            TRY(buffer_check(plain, "the body", err));
        } while (size > 0);
        assert(piece.size == 0);
    }
    return inflater_end(inflater, err);
}

static void compare(struct span body, enum content_encoding encoding, size_t step,
                    enum err_code code, const struct buffer *plain)
{
    CLEANUP(buffer_deinit) struct buffer stepped;
    struct err err = {0};
    buffer_init(&stepped, BYTES_MAX);
    enum err_code stepped_code = inflate_in_steps(body, encoding, step, &stepped, &err);
    if (code == ERR_OK) {
        assert(stepped_code == ERR_OK);
        assert(span_equal(buffer_span(&stepped), buffer_span(plain)));
    } else if (code == ERR_INVALID) {
        assert(stepped_code != ERR_OK);
    }
}

static void check_identity(struct span body, size_t step)
{
    CLEANUP(buffer_deinit) struct buffer plain = {0};
    struct err err = {0};
    enum content_encoding named = CONTENT_IDENTITY;
    bool is_name = content_encoding_parse(body, &named);
    assert(!is_name || (body.size >= 4 && body.size <= 8));
    enum err_code code =
        inflate_body(body, CONTENT_IDENTITY, BYTES_FEW, INFLATE_RATIO_MAX, &plain, &err);
    assert(code == (body.size <= BYTES_FEW ? ERR_OK : ERR_TOO_LARGE));
    if (code == ERR_OK) {
        assert(span_equal(buffer_span(&plain), body));
        compare(body, CONTENT_IDENTITY, step, code, &plain);
    }
}

/* A ceiling that the body does not keep is told, whatever else is in it. */
static void check_ceiling(struct span body, enum content_encoding encoding, size_t plain_size)
{
    CLEANUP(buffer_deinit) struct buffer plain = {0};
    struct err err = {0};
    enum err_code code = inflate_body(body, encoding, BYTES_FEW, INFLATE_RATIO_MAX, &plain, &err);
    assert(code == (plain_size <= BYTES_FEW ? ERR_OK : ERR_TOO_LARGE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    enum content_encoding encoding = (data[0] & 1) != 0 ? CONTENT_ZSTD : CONTENT_GZIP;
    struct span body = span_of(data + 1, size - 1);
    CLEANUP(buffer_deinit) struct buffer plain = {0};
    struct err err = {0};
    enum err_code code = inflate_body(body, encoding, BYTES_MAX, INFLATE_RATIO_MAX, &plain, &err);
    size_t step = (size_t)(data[0] >> 1) + 1;
    compare(body, encoding, step, code, &plain);
    check_identity(body, step);
    if (code == ERR_OK) {
        assert(inflate_detect(body) == encoding); /* each starts with its magic */
        check_ceiling(body, encoding, plain.size);
        assert(plain.size <= BYTES_MAX);
        assert(plain.size <= INFLATE_RATIO_FREE_BYTES ||
               plain.size <= body.size * INFLATE_RATIO_MAX);
    } else {
        assert(plain.data == NULL);
        assert(err.msg[0] != '\0');
    }
    return 0;
}
