/*
 * Growing bytes. See buffer.h for the contract.
 */
#include "storage/base/buffer.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CAPACITY_FIRST = 256 };

void buffer_init(struct buffer *buffer, size_t size_max)
{
    *buffer = (struct buffer){.size_max = size_max};
}

void buffer_deinit(struct buffer *buffer)
{
    mem_free(buffer->data);
    *buffer = (struct buffer){0};
}

void buffer_reset(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->overflowed = false;
}

static void grow(struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : CAPACITY_FIRST;
    while (capacity < needed) {
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    }
    if (capacity > buffer->size_max) {
        capacity = buffer->size_max;
    }
    buffer->data = mem_resize(buffer->data, capacity, 1);
    buffer->capacity = capacity;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t size)
{
    assert(buffer->size <= buffer->size_max);
    if (buffer->overflowed || size > buffer->size_max - buffer->size) {
        buffer->overflowed = true;
        return NULL;
    }
    /* an empty buffer gets memory even for nothing, so that NULL means one thing */
    if (size > buffer->capacity - buffer->size || buffer->data == NULL) {
        grow(buffer, buffer->size + size);
    }
    return buffer->data + buffer->size;
}

void buffer_advance(struct buffer *buffer, size_t size)
{
    assert(size <= buffer->capacity - buffer->size);
    buffer->size += size;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0) {
        return;
    }
    bool fits = size <= buffer->capacity - buffer->size && !buffer->overflowed;
    uint8_t *target = fits ? buffer->data + buffer->size : buffer_reserve(buffer, size);
    if (target != NULL) {
        memcpy(target, bytes, size);
        buffer->size += size;
    }
}

void buffer_append_span(struct buffer *buffer, struct span span)
{
    buffer_append(buffer, span.data, span.size);
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(length >= 0);

    /* vsnprintf also writes a NUL, which needs room but is not kept */
    uint8_t *target = buffer_reserve(buffer, (size_t)length + 1);
    if (target != NULL) {
        (void)vsnprintf((char *)target, (size_t)length + 1, format,
                        again); /* same length as above */
        buffer->size += (size_t)length;
    }
    va_end(again);
}

void buffer_append_u16(struct buffer *buffer, uint16_t value)
{
    const uint8_t bytes[] = {(uint8_t)value, (uint8_t)(value >> 8)};
    buffer_append(buffer, bytes, sizeof bytes);
}

void buffer_append_u32(struct buffer *buffer, uint32_t value)
{
    const uint8_t bytes[] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                             (uint8_t)(value >> 24)};
    buffer_append(buffer, bytes, sizeof bytes);
}

void buffer_append_u64(struct buffer *buffer, uint64_t value)
{
    buffer_append_u32(buffer, (uint32_t)value);
    buffer_append_u32(buffer, (uint32_t)(value >> 32));
}

void buffer_append_varint(struct buffer *buffer, uint64_t value)
{
    uint8_t bytes[10];
    size_t count = 0;
    while (value >= 0x80) {
        bytes[count++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[count++] = (uint8_t)value;
    buffer_append(buffer, bytes, count);
}

enum err_code buffer_check(const struct buffer *buffer, const char *what, struct err *err)
{
    if (buffer->overflowed) {
        return err_set(err, ERR_TOO_LARGE, "%s is over its limit of %zu bytes", what,
                       buffer->size_max);
    }
    return ERR_OK;
}
