/*
 * What a JSON value is made of; for json.c, json_parse.c and json_write.c only.
 */
#pragma once

#include "storage/base/json.h"
#include "storage/base/json_plain.h"

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
