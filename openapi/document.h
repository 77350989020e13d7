/*
 * A YAML document as a tree of libyaml nodes, for the contract's build tools.
 * These tools run at build time and end at the first look that makes no sense;
 * nothing here is part of the server.
 */
#pragma once

#include "storage/base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yaml.h>

/* One loaded file; owned by the caller. */
struct document {
    const char *path;
    struct buffer text; /* the bytes as they are in the file */
    yaml_document_t yaml;
    int faults; /* reported so far */
};

typedef const yaml_node_t *node; /* NULL = absent */

/* Load `path` or end the program. */
void document_open(struct document *document, const char *path);
void document_close(struct document *document);

/* Report "path:line: message" on stderr and count it; the program ends with 1 later. */
void document_fault(struct document *document, node at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

node document_root(struct document *document);

/* Member of a mapping, item of a sequence; NULL when absent or another kind of node. */
node node_get(struct document *document, node mapping, const char *name);
node node_at(struct document *document, node sequence, size_t index);
size_t node_count(node collection); /* members or items; 0 for others */
/* The index-th member of a mapping. */
void node_member(struct document *document, node mapping, size_t index, const char **name_out,
                 node *value_out);

bool node_is_mapping(node value);
bool node_is_sequence(node value);
bool node_is_scalar(node value);
/* Text of a scalar, or NULL. */
const char *node_text(node value);
bool node_is_text(node value, const char *text);
/* A plain (unquoted) scalar that YAML's core schema reads as an integer, a boolean. */
bool node_integer(node value, int64_t *integer_out);
bool node_true(node value);
/* Would JSON print this scalar without quotes? */
bool node_is_bare(node value);

/* Follow `$ref` until something else comes; NULL and a fault when it leads nowhere. */
node node_resolve(struct document *document, node value);
/* Last part of a `$ref`, or NULL when the node has none. */
const char *node_reference_name(struct document *document, node value);
