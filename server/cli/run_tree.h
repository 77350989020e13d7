/*
 * The tasks of a run as a tree: each below the deepest task it waits for, iterations
 * below their for_each. Made from the server's JSON, whatever it says.
 */
#pragma once

#include "storage/base/json.h"

#include <stdbool.h>
#include <stddef.h>

/* A task, or an iteration of one. */
struct run_tree_row {
    const struct json *task; /* borrowed from the run */
    size_t level;            /* how many stand above it */
    bool hidden;             /* for the picture's use */
};

/* Embedded by its user; borrows from the run. */
struct run_tree {
    struct run_tree_row *rows; /* in the order of a walk that goes down first */
    size_t rows_count;

    /* what the tree is built of, for run_tree.c only; `count` means none */
    const struct json *tasks;
    size_t count;
    size_t *level;  /* [count] how many stand above it */
    size_t *parent; /* [count] the deepest dependency, or the for_each */
    size_t *first;  /* [count + 1] first child; of `count`: the first root */
    size_t *next;   /* [count] next sibling */
    size_t *last;   /* [count + 1] last child so far */
};

/* Memory: run_tree_deinit. */
void run_tree_init(struct run_tree *tree, const struct json *run);
void run_tree_deinit(struct run_tree *tree);

bool run_tree_is_iteration(const struct json *task);
