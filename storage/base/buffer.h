/*
 * A growing run of bytes with a ceiling and a sticky failure: append as often
 * as you like, check once at the end. Used by every encoder.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded by its owner. Zeroed is a valid empty buffer without a ceiling set: call init. */
struct buffer {
    uint8_t *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t size_max; /* ceiling, set once at init */
    bool overflowed; /* an append would have passed the ceiling; the rest was ignored */
};

void buffer_init(struct buffer *buffer, size_t size_max);
void buffer_deinit(struct buffer *buffer);

/* Forget the contents and the failure, keep the memory. */
void buffer_reset(struct buffer *buffer);

void buffer_append(struct buffer *buffer, const void *bytes, size_t size);
void buffer_append_span(struct buffer *buffer, struct span span);
void buffer_append_text(struct buffer *buffer, const char *text);
static inline void buffer_append_byte(struct buffer *buffer, uint8_t byte)
{
    if (buffer->size < buffer->capacity && !buffer->overflowed) {
        buffer->data[buffer->size++] = byte;
    } else {
        buffer_append(buffer, &byte, 1);
    }
}
void buffer_append_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Fixed-width integers, little endian. */
void buffer_append_u16(struct buffer *buffer, uint16_t value);
void buffer_append_u32(struct buffer *buffer, uint32_t value);
void buffer_append_u64(struct buffer *buffer, uint64_t value);

/* Seven bits a byte, low first (the varint of Thrift compact and protobuf). */
void buffer_append_varint(struct buffer *buffer, uint64_t value);

/*
 * Make room for `size` more bytes and return where they go; the caller writes
 * up to `size` of them and then calls buffer_advance. NULL when the ceiling
 * would be passed (which is then sticky).
 */
uint8_t *buffer_reserve(struct buffer *buffer, size_t size);
void buffer_advance(struct buffer *buffer, size_t size);

static inline struct span buffer_span(const struct buffer *buffer)
{
    return span_of(buffer->data, buffer->size);
}

/* ERR_TOO_LARGE naming `what` when an append was ignored, else ERR_OK. */
enum err_code buffer_check(const struct buffer *buffer, const char *what, struct err *err) MUST_USE;
