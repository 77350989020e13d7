/*
 * Target: the splitter. The first bytes choose format, sizes and how the stream
 * arrives; the rest is the stream. Pieces decode to what the whole decodes to, cuts do
 * not depend on the arrival, and a stream is refused exactly when the whole is.
 */
#include "tests/fuzz/columns/decode_fuzz.h"
#include "tests/fuzz/columns/split_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARAMETERS = 4 };

/* Continue behind the n-th piece: the rest is what came after it the first time. */
static void check_continuation(struct span stream, const struct splitter_options *options,
                               const struct schema *schema, const struct split_result_text *first)
{
    struct err err = {0};
    struct splitter_options rest = *options;
    long long start = 0;
    long long end = 0;
    long long count = 0;
    const char *line = (const char *)first->cuts.data;
    int fields = sscanf(line, "%lld-%lld %lld", &start, &end, &count);
    assert(fields == 3);
    rest.skip_bytes = end;
    struct split_result_text again;
    split_result_init(&again);
    enum err_code code = split_run(stream, stream.size + 1, &rest, schema, &again, &err);
    assert(code == ERR_OK);
    assert(again.pieces_count == first->pieces_count - 1);
    size_t skipped = (size_t)(strchr(line, '\n') + 1 - line);
    assert(
        span_equal(buffer_span(&again.cuts), span_of(line + skipped, first->cuts.size - skipped)));
    split_result_deinit(&again);
}

static void check(struct span stream, const struct splitter_options *options, size_t chunk,
                  const struct schema *schema)
{
    struct split_result_text whole;
    struct split_result_text pieces;
    struct split_result_text at_once;
    struct err whole_err = {0};
    struct err pieces_err = {0};
    struct err at_once_err = {0};
    split_result_init(&whole);
    split_result_init(&pieces);
    split_result_init(&at_once);
    const struct decode_options decode = {.format = options->format};
    enum err_code whole_code =
        split_decode(stream, schema, &decode, &whole.rows, &whole.rejected, &whole_err);
    enum err_code code = split_run(stream, chunk, options, schema, &pieces, &pieces_err);
    enum err_code at_once_code =
        split_run(stream, stream.size + 1, options, schema, &at_once, &at_once_err);

    assert(code == at_once_code);
    assert(span_equal(buffer_span(&pieces.cuts), buffer_span(&at_once.cuts)));
    bool is_good = code == ERR_OK && pieces.pieces_count > 0; /* no records refuse a body */
    assert(is_good == (whole_code == ERR_OK) || (code == ERR_OK && pieces.pieces_count == 0));
    if (is_good) {
        assert(span_equal(buffer_span(&whole.rows), buffer_span(&pieces.rows)));
        assert(span_equal(buffer_span(&whole.rejected), buffer_span(&pieces.rejected)));
        buffer_append_byte(&pieces.cuts, '\0');
        pieces.cuts.size--;
        check_continuation(stream, options, schema, &pieces);
    }
    split_result_deinit(&whole);
    split_result_deinit(&pieces);
    split_result_deinit(&at_once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct schema *schema;
    if (schema == NULL) {
        schema = decode_fuzz_schema();
    }
    if (size < PARAMETERS) {
        return 0;
    }
    const struct splitter_options options = {
        .format = (enum decode_format)(data[0] % 3),
        .records_max = data[1] % 5 + 1,
        .bytes_max = data[2] + 1,
    };
    check(span_of(data + PARAMETERS, size - PARAMETERS), &options, (size_t)data[3] % 17 + 1,
          schema);
    return 0;
}
