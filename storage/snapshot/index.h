/*
 * The index of one table as a snapshot sees it: per kind a few runs, all of them
 * probed. Immutable and shared by reference count. Which runs are merged, and
 * when, is decided here; the merging is index_run.h's.
 *
 * An entry is alive when its file is in the snapshot and its row is not in the
 * file's deletion vector; dead entries stay in the runs until these are merged.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/snapshot/index_run.h"
#include "storage/snapshot/keys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    INDEX_RUNS_CALM = 16,              /* background maintenance works above this */
    INDEX_SMALL_RUNS_MAX = 12,         /* a merge that would leave more small runs folds some */
    INDEX_SMALL_ENTRIES_MAX = 1 << 16, /* of a small run; folding two takes milliseconds */
    INDEX_RUNS_FOREGROUND_MAX = 32,    /* a merge that would leave more folds large ones, too */
    INDEX_SET_MAX = 48,      /* room in memory: runs are many only right after a rebuild */
    INDEX_DEAD_PERCENT = 50, /* all runs become one when so many entries are dead */
};

/* Else maintenance would only run after what merges fold themselves, and never compact. */
_Static_assert((int)INDEX_RUNS_CALM > (int)INDEX_SMALL_RUNS_MAX, "calm beside merges");

/* Largest run first: a run is never larger than the one before it. */
struct index_set {
    struct index_run *runs[INDEX_SET_MAX];
    size_t count;
};

struct index_view {
    uint8_t hash_key[HASH_KEY_BYTES]; /* of the keyed hash that entries carry */
    size_t kinds_count;
    struct index_set *kinds;
    int references; /* atomic; private */
};

struct index_view *index_view_new(size_t kinds_count, const uint8_t hash_key[HASH_KEY_BYTES]);
/* A copy to be changed before it is published. */
struct index_view *index_view_copy(const struct index_view *view);
struct index_view *index_view_acquire(const struct index_view *view);
void index_view_release(struct index_view **view);

/* On a view not yet published. add takes the run; remove drops the view's reference. */
void index_view_add(struct index_view *view, struct index_run **run);
/* All runs of another view, shared with it. */
void index_view_add_all(struct index_view *view, const struct index_view *other);
void index_view_remove(struct index_view *view, const struct index_run *run);

int64_t index_view_entries_count(const struct index_view *view);

/* The entries of one hash, run by run. */
struct index_ranges {
    struct {
        const struct index_entry *entries;
        size_t count;
    } items[INDEX_SET_MAX];
    size_t count;
};
void index_view_find(const struct index_view *view, uint32_t kind, uint64_t hash,
                     struct index_ranges *ranges_out);

/*
 * Which runs to merge: the newest (smallest) ones, as far as each next one is
 * not larger than those before it together, so that every entry is written
 * a logarithmic number of times and the largest runs seldom.
 *
 *   busy         runs that another merge works on are left alone; NULL = none
 *   entries_max  of all that are chosen together
 *   choice_out   at least two, or count 0
 */
struct index_choice {
    struct index_run *runs[INDEX_SET_MAX]; /* borrowed from the set */
    size_t count;
};
typedef bool index_busy_fn(void *self, const struct index_run *run);
void index_choose(const struct index_set *set, index_busy_fn *busy, void *busy_self,
                  size_t entries_max, struct index_choice *choice_out);
/* All of them. */
void index_choose_all(const struct index_set *set, struct index_choice *choice_out);
