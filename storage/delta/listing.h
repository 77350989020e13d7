/*
 * What lies in the log folder: commit files and complete checkpoints. Private
 * to this folder.
 */
#pragma once

#include "storage/delta/checkpoint_read.h"

struct listed_commit {
    int64_t version;
    int64_t modified_ms; /* -1 without details */
    int64_t size;        /* -1 without details */
};

struct listed_checkpoint {
    int64_t version;
    enum checkpoint_kind kind;
    char **names; /* all parts in order; borrowed from `objects` */
    size_t names_count;
};

struct log_listing {
    struct listed_commit *commits; /* ascending */
    size_t commits_count;
    struct listed_checkpoint *checkpoints; /* complete ones, ascending by version */
    size_t checkpoints_count;
    /* private */
    char **objects; /* names of checkpoint objects, grouped */
    size_t objects_count;
};

/*
 * List the log from `from_version` (0 = all).
 *   details  sizes and times of commit files too
 */
enum err_code log_listing_read(struct object_store *store, int64_t from_version, bool details,
                               struct log_listing *listing_out, struct err *err) MUST_USE;
void log_listing_free(struct log_listing *listing);

/* Position of a version among the commits, or -1. */
int64_t log_listing_find(const struct log_listing *listing, int64_t version);

/* Times of files may jump back (copies, clock steps); versions never do: raise what jumps. */
void log_listing_make_monotonic(struct log_listing *listing);
