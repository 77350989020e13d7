/*
 * What must hold of a stream that is cut into pieces: decoding them gives what decoding
 * it at once gives, and the pieces are the same however the bytes arrive. Used by the
 * fuzz target and by the unit tests.
 */
#pragma once

#include "storage/columns/decode.h"
#include "storage/columns/encode_json.h"
#include "storage/columns/split.h"

#include <assert.h>
#include <inttypes.h>

/* Rows and errors of one body as text, behind what is there. */
static inline void split_write_result(const struct frame *frame, const struct decode_errors *errors,
                                      struct buffer *text)
{
    for (int64_t row = 0; row < frame->rows_count; row++) {
        buffer_append_format(text, "%" PRId64 " %d ", frame->lines == NULL ? 0 : frame->lines[row],
                             (int)frame_operation_at(frame, row));
        encode_json_row(frame, row, NULL, text);
        buffer_append_byte(text, '\n');
    }
    for (size_t i = 0; i < errors->rejected_kept; i++) {
        const struct decode_rejected *rejected = &errors->rejected[i];
        buffer_append_format(text, "rejected %" PRId64 " ", rejected->line);
        buffer_append_span(text, rejected->payload);
        for (size_t j = 0; j < rejected->errors_count; j++) {
            const struct decode_error *error = &errors->items[rejected->errors_first + j];
            buffer_append_format(text, " %" PRId64 " %s %d %s", error->line, error->pointer,
                                 (int)error->code, error->message);
        }
        buffer_append_byte(text, '\n');
    }
    assert(!text->overflowed);
}

/* Decode one body and append what came of it; accepted and rejected rows go to texts of their own,
 * because pieces mix them. */
static inline enum err_code split_decode(struct span body, const struct schema *schema,
                                         const struct decode_options *options, struct buffer *rows,
                                         struct buffer *rejected, struct err *err)
{
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    TRY(decode_body(body, schema, options, &frame, &errors, err));
    const struct decode_errors none = {0};
    split_write_result(frame, &none, rows);
    CLEANUP(frame_free) struct frame *empty = frame_new(schema);
    split_write_result(empty, &errors, rejected);
    return ERR_OK;
}

/* What reading a stream in steps of `chunk` bytes comes to. */
struct split_result_text {
    struct buffer rows, rejected, cuts;
    int64_t pieces_count, records_count;
};

static inline void split_result_init(struct split_result_text *result)
{
    *result = (struct split_result_text){0};
    buffer_init(&result->rows, (size_t)1 << 30);
    buffer_init(&result->rejected, (size_t)1 << 30);
    buffer_init(&result->cuts, (size_t)1 << 30);
}

static inline void split_result_deinit(struct split_result_text *result)
{
    buffer_deinit(&result->rows);
    buffer_deinit(&result->rejected);
    buffer_deinit(&result->cuts);
}

static inline enum err_code split_take_piece(const struct split_piece *piece,
                                             const struct schema *schema, enum decode_format format,
                                             struct split_result_text *result, struct err *err)
{
    const struct decode_options options = {
        .format = format,
        .is_part = true,
        .line_offset = piece->line_offset,
    };
    TRY(split_decode(piece->body, schema, &options, &result->rows, &result->rejected, err));
    result->pieces_count++;
    result->records_count += piece->records_count;
    buffer_append_format(&result->cuts, "%" PRId64 "-%" PRId64 " %" PRId64 "\n", piece->start,
                         piece->end, piece->records_count);
    return ERR_OK;
}

static inline enum err_code split_run(struct span stream, size_t chunk,
                                      const struct splitter_options *options,
                                      const struct schema *schema, struct split_result_text *result,
                                      struct err *err)
{
    CLEANUP(splitter_close) struct splitter *splitter = splitter_open(options);
    bool finished = false;
    for (;;) {
        struct split_piece piece;
        bool found = false;
        TRY(splitter_next(splitter, &piece, &found, err));
        if (found) {
            TRY(split_take_piece(&piece, schema, options->format, result, err));
        } else if (stream.size > 0) {
            size_t size = stream.size < chunk ? stream.size : chunk;
            memcpy(splitter_reserve(splitter, size), stream.data, size);
            splitter_advance(splitter, size);
            stream = span_of(stream.data + size, stream.size - size);
        } else if (!finished) {
            splitter_finish(splitter);
            finished = true;
        } else {
            return ERR_OK;
        }
    }
}
