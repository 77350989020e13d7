/*
 * A bounded reader over borrowed bytes with a sticky failure: after the first
 * read past the end every read returns zero or an empty span, and the decoder
 * checks once. No decoder of the house does pointer arithmetic of its own.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
    const uint8_t *data;
    size_t size;
    size_t position; /* <= size */
    bool failed;     /* a read went past the end or met a malformed value */
};

static inline struct cursor cursor_of(struct span span)
{
    return (struct cursor){.data = span.data, .size = span.size};
}

static inline size_t cursor_left(const struct cursor *cursor)
{
    return cursor->size - cursor->position;
}

/* Note a malformed value found by the caller. */
static inline void cursor_fail(struct cursor *cursor)
{
    cursor->failed = true;
    cursor->position = cursor->size;
}

/* The next `size` bytes, borrowed; an empty span with NULL data past the end. */
static inline struct span cursor_bytes(struct cursor *cursor, size_t size)
{
    if (cursor->failed || size > cursor->size - cursor->position) {
        cursor_fail(cursor);
        return (struct span){0};
    }
    struct span span = {.data = cursor->data + cursor->position, .size = size};
    cursor->position += size;
    return span;
}

static inline void cursor_skip(struct cursor *cursor, size_t size)
{
    (void)cursor_bytes(cursor, size); /* failure is sticky */
}

static inline uint8_t cursor_u8(struct cursor *cursor)
{
    struct span bytes = cursor_bytes(cursor, 1);
    return bytes.size == 1 ? bytes.data[0] : 0;
}

/* Fixed-width integers, little endian unless named otherwise. */
static inline uint16_t cursor_u16(struct cursor *cursor)
{
    struct span b = cursor_bytes(cursor, 2);
    return b.size == 2 ? (uint16_t)((unsigned)b.data[0] | (unsigned)b.data[1] << 8) : (uint16_t)0;
}

static inline uint32_t cursor_u32(struct cursor *cursor)
{
    uint32_t value = 0;
    struct span b = cursor_bytes(cursor, sizeof value);
    if (b.data != NULL) {
        memcpy(&value, b.data, sizeof value);
    }
    return value;
}

static inline uint32_t cursor_u32_big_endian(struct cursor *cursor)
{
    return __builtin_bswap32(cursor_u32(cursor));
}

static inline uint64_t cursor_u64(struct cursor *cursor)
{
    uint64_t value = 0;
    struct span b = cursor_bytes(cursor, sizeof value);
    if (b.data != NULL) {
        memcpy(&value, b.data, sizeof value);
    }
    return value;
}

/* Seven bits a byte, low first; more than ten bytes or 64 bits is malformed. */
static inline uint64_t cursor_varint(struct cursor *cursor)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = cursor_u8(cursor);
        if (shift == 63 && byte > 1) {
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return cursor->failed ? 0 : value;
        }
    }
    cursor_fail(cursor);
    return 0;
}

/* ERR_CORRUPT naming `what` when any read failed, else ERR_OK. */
MUST_USE static inline enum err_code cursor_check(const struct cursor *cursor, const char *what,
                                                  struct err *err)
{
    if (cursor->failed) {
        return err_set(err, ERR_CORRUPT, "%s ends early or is malformed", what);
    }
    return ERR_OK;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the house assumes little endian");
