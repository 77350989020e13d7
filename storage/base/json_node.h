/*
 * What a JSON value is made of; for json.c, json_parse.c and json_write.c only.
 */
#pragma once

#include "storage/base/json.h"

#include <string.h>

/* One name and its value; both owned by the object. */
struct json_member {
    char *name; /* NUL-terminated, holds no other NUL */
    size_t name_size;
    struct json *value; /* NULL only while the parser is between name and value */
};

/* What an array or object holds, in document order; owned by its value. */
struct json_children {
    uint32_t count;
    uint32_t capacity;
    union {
        struct json **items;         /* of an array */
        struct json_member *members; /* of an object */
    };
    uint32_t *order; /* of an object with many members: their indexes sorted by name */
};

/* One value; owned by its parent, a root by whoever made it. */
struct json {
    enum json_kind kind;
    bool boolean;
    union {
        int64_t integer;
        double real;
        struct json_children children;
    };
    size_t size; /* bytes of text without its NUL */
    char text[]; /* a string's bytes; a real's number as written or formatted */
};

enum { JSON_MEMBERS_LINEAR_MAX = 16 }; /* objects up to here are searched name by name */

/* A value without text; everything but the kind is zero. */
struct json *json_node_new(enum json_kind kind);

/* A string or real with `size` uninitialised bytes of text and the NUL after them. */
struct json *json_node_new_text(enum json_kind kind, size_t size);

/* Add without looking for the name; takes the name. json_object_seal must follow. */
void json_object_add(struct json *object, char *name, size_t name_size, struct json *value);

/* Make a filled object ready for reading. False when a name is there twice. */
bool json_object_seal(struct json *object);

/*
 * Length of the run at the start that stands for itself in a JSON string and is
 * ASCII: no quote, no backslash, no control character.
 */
static inline size_t json_plain_run(const uint8_t *data, size_t size)
{
    const uint64_t ones = 0x0101010101010101U;
    const uint64_t tops = 0x8080808080808080U;
    size_t at = 0;
    for (; size - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, data + at, sizeof word);
        uint64_t quote = word ^ ones * '"';
        uint64_t backslash = word ^ ones * '\\';
        /* the lowest flag is exact; higher ones may be borrowed from it */
        uint64_t flags = (((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) |
                          ((backslash - ones) & ~backslash) | word) &
                         tops;
        if (flags != 0) {
            return at + (size_t)__builtin_ctzll(flags) / 8;
        }
    }
    while (at < size && data[at] >= 0x20 && data[at] < 0x80 && data[at] != '"' &&
           data[at] != '\\') {
        at++;
    }
    return at;
}
