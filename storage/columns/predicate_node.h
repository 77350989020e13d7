/*
 * What predicate_parse.c makes and predicate.c evaluates. Private to these two.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/columns/predicate.h"

#include <stdbool.h>
#include <stddef.h>

enum node_kind {
    NODE_LITERAL,
    NODE_COLUMN,
    NODE_NOT, /* first */
    NODE_AND, /* first, second; so the next ones */
    NODE_OR,
    NODE_EQUAL,
    NODE_NOT_EQUAL,
    NODE_LESS,
    NODE_LESS_EQUAL,
    NODE_GREATER,
    NODE_GREATER_EQUAL,
    NODE_SAME,    /* <=>: null equals null */
    NODE_IS_NULL, /* first */
    NODE_IN,      /* first, the list beginning with second */
};

/* How a value compares. */
enum value_class {
    CLASS_NULL,   /* the literal */
    CLASS_OPAQUE, /* of types that are not compared: null, or something */
    CLASS_BOOLEAN,
    CLASS_DECIMAL, /* whole numbers too */
    CLASS_DOUBLE,
    CLASS_TEXT,
    CLASS_DATE,
    CLASS_TIMESTAMP,
};

struct operand_value {
    bool is_null;
    int scale;      /* of `exact` */
    __int128 exact; /* boolean, decimal, date, timestamp */
    double real;
    struct span text;
};

struct node {
    enum node_kind kind;
    enum value_class class; /* of the value; of conditions CLASS_BOOLEAN */
    struct node *first;
    struct node *second;
    struct node *next;          /* of a list */
    size_t at;                  /* byte of the text, for messages */
    int32_t field_id;           /* column */
    struct operand_value value; /* literal; texts in the arena */
};

struct predicate {
    struct arena arena;
    struct node *root;
};
