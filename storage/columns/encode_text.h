/*
 * What the encoders of this folder share: values of a frame, the text of
 * scalars, and the sink that text goes through. Nobody outside includes this.
 *
 * The sink keeps room ahead in its buffer, because encoding is the last step of
 * every lookup and every exported value.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/text.h"
#include "storage/columns/frame.h"
#include "storage/columns/row.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ENCODE_SCALAR_BYTES_MAX = TEXT_DECIMAL_BYTES }; /* the longest number, date or name */

/* A value of a column that is not null. */
struct row_value encode_value_of(const struct column *column, int64_t row);

/*
 * The text of a value of any type but string and binary, without quotes: numbers
 * in JSON grammar, true and false, RFC 3339 dates; NaN, Infinity and -Infinity
 * of foreign files. Returns its length.
 */
size_t encode_scalar(const struct field *field, const struct row_value *value,
                     char text_out[ENCODE_SCALAR_BYTES_MAX]);

/* ---- the sink ------------------------------------------------------------------------ */

/* Where text goes: room taken from the buffer and not yet counted in its size. */
struct encode_sink {
    struct buffer *buffer;
    uint8_t *at;  /* the next byte; NULL when no room is taken */
    uint8_t *end; /* of the room */
};

/* Count what was written; the buffer may be used directly until the next write. */
void encode_sink_settle(struct encode_sink *sink);

/* NULL past the buffer's ceiling, which is sticky there. */
uint8_t *encode_sink_refill(struct encode_sink *sink, size_t size);

/* Where the next `size` bytes go; the caller moves sink->at behind what it wrote. */
static inline uint8_t *encode_sink_room(struct encode_sink *sink, size_t size)
{
    return (size_t)(sink->end - sink->at) >= size && sink->at != NULL
               ? sink->at
               : encode_sink_refill(sink, size);
}

static inline void encode_sink_write(struct encode_sink *sink, const void *bytes, size_t size)
{
    uint8_t *out = encode_sink_room(sink, size);
    if (out != NULL && size > 0) {
        memcpy(out, bytes, size);
        sink->at += size;
    }
}

/* base64 of `bytes`. */
void encode_sink_base64(struct encode_sink *sink, struct span bytes);
