/*
 * What is made of the contract: the route table and its prototypes, the JSON
 * form, the page to read. Each writer appends to a buffer and reports faults of
 * the contract through document_fault.
 */
#pragma once

#include "openapi/document.h"
#include "storage/base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    OPERATIONS_MAX = 256,
    OPERATION_PARAMETERS_MAX = 32,
    OPERATION_PATH_PARAMETERS_MAX = 4, /* as ROUTE_PARAMETERS_MAX in handlers/exchange.h */
};

/* One operation with everything that is needed often, references followed. */
struct operation {
    const char *path;
    const char *method; /* lower case */
    const char *id;
    node body; /* the operation object */
    size_t parameters_count;
    node parameters[OPERATION_PARAMETERS_MAX]; /* path item's first, then its own */
    node request;                              /* requestBody, NULL = none */
    bool is_public;
    const char *action;     /* NULL = public */
    const char *resource;   /* NULL = none */
    const char *identifier; /* path parameter that names a person, NULL = none */
    int64_t body_bytes_max;
    int64_t arena_bytes_max;
};

struct operations {
    size_t count;
    struct operation items[OPERATIONS_MAX]; /* in order of the document */
};

/* Read all operations; faults for what the route table cannot do without. */
void operations_read(struct document *document, struct operations *operations);

/* Faults for everything a well-kept contract must have. */
void lint_check(struct document *document, const struct operations *operations);

void write_routes(struct document *document, const struct operations *operations,
                  struct buffer *text);
void write_prototypes(const struct operations *operations, struct buffer *text);
void write_json(struct document *document, node value, struct buffer *text);
void write_docs(struct document *document, const struct operations *operations,
                struct buffer *text);
/* A byte array `const unsigned char <name>[]` and `const size_t <name>_size`. */
void write_bytes(const char *name, struct span bytes, struct buffer *text);
/* JSON string with quotes; also a valid C string for the texts of a contract. */
void write_quoted(struct buffer *text, const char *value);
