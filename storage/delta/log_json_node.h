/*
 * What a value of the log is made of; for log_json.c and log_json_parse.c only.
 * All of it lies in the document's arena.
 */
#pragma once

#include "storage/delta/log_json.h"

/* One name and its value. */
struct log_json_named {
    const char *name; /* NUL-terminated, holds no other NUL */
    size_t name_size;
    struct log_json *value; /* NULL only while the parser is between name and value */
};

/* What an array or object holds, in document order. */
struct log_json_children {
    uint32_t count;
    uint32_t capacity;
    union {
        struct log_json **items;        /* of an array */
        struct log_json_named *members; /* of an object */
    };
    uint32_t *order; /* of an object with many members: their indexes sorted by name */
};

/* One value. */
struct log_json {
    enum log_json_kind kind;
    bool boolean;
    union {
        int64_t integer;
        struct log_json_children children;
    };
    size_t size; /* bytes of text without its NUL */
    char text[]; /* of a string */
};

/* Add a value, or a name whose value follows. False when the arena is full. */
bool log_json_add_item(struct log_json *array, struct log_json *value, struct arena *arena);
bool log_json_add_name(struct log_json *object, struct span name, struct arena *arena);

/* Make a filled object ready for reading. False when a name is there twice, or the arena full. */
bool log_json_seal(struct log_json *object, struct arena *arena);
