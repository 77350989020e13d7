/*
 * Building snapshots: the list of live files with what hangs on each, shared
 * vectors and stores, and the published pointer itself.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/lock.h"
#include "storage/snapshot/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_entry;

/* ---- shared owners ---- */

/* A store that snapshots and their table keep open together. */
struct store_owner {
    struct object_store *store;
    int references;        /* atomic */
    struct lock lock;      /* LOCK_RANK_IN_USE; guards what follows */
    struct snapshot *used; /* every snapshot that somebody holds */
};
/* Takes the store. */
struct store_owner *store_owner_new(struct object_store **store);
struct store_owner *store_owner_acquire(struct store_owner *owner);
void store_owner_release(struct store_owner **owner);

/*
 * Every snapshot that somebody holds now, a reference each: what they read must stay.
 *   snapshots_out  snapshot_release each, then mem_free
 */
void store_owner_snapshots(struct store_owner *owner, const struct snapshot ***snapshots_out,
                           size_t *count_out);

/* A deletion vector that many versions share; immutable. */
struct shared_vector {
    struct deletion_vector *vector;
    int references; /* atomic */
};
/* Takes the vector. */
struct shared_vector *shared_vector_new(struct deletion_vector **vector);
struct shared_vector *shared_vector_acquire(struct shared_vector *vector);
void shared_vector_release(struct shared_vector **vector);

/* ---- the list of files under construction ---- */

struct file_list {
    struct snapshot_file *items;
    size_t count;
    size_t capacity;
};
void file_list_deinit(struct file_list *list);

/* The files of a snapshot, each with references of its own. */
void file_list_copy(struct file_list *list, const struct snapshot *snapshot);

/*
 * Add in order of number (number 0: at the end). `file` gets a reference; images
 * and vector are taken (NULL = none).
 */
void file_list_add(struct file_list *list, uint32_t number, const struct delta_file *file,
                   struct images **images, struct shared_vector **vector);

struct snapshot_file *file_list_find(struct file_list *list, uint32_t number);
void file_list_remove(struct file_list *list, uint32_t number);

/* Another vector for a file: `file` as the log has it now; vector is taken. */
void file_list_set_vector(struct file_list *list, uint32_t number, const struct delta_file *file,
                          struct shared_vector **vector);

/* The tag `sluice.position` of a data file: highest order position of its rows, 0 = absent. */
#define TAG_POSITION "sluice.position"
int64_t file_position(const struct delta_file *file);

/* ---- snapshots ---- */

struct snapshot_parts {
    const struct id *table;
    const struct schema *schema;
    const struct delta_state *state;
    struct store_owner *owner;
    struct index_view *view; /* NULL = none */
    struct file_list *files; /* taken */
};
/* One reference. References of its own on everything but the files. */
struct snapshot *snapshot_new(const struct snapshot_parts *parts);

/* Is the entry's row alive in this snapshot? *file_out, when it is. */
bool snapshot_entry_is_alive(const struct snapshot *snapshot, const struct index_entry *entry,
                             const struct snapshot_file **file_out);

/* ---- the published pointer ---- */

/*
 * One pointer that readers take references from without a lock: the word holds
 * the address and the number of references taken since it was stored; whoever
 * replaces it hands that number over to the snapshot's own count.
 */
struct published {
    uint64_t word; /* atomic */
};
/* Takes the reference. */
void published_init(struct published *published, struct snapshot *snapshot);
const struct snapshot *published_acquire(struct published *published);
/* Takes the reference; gives up the old snapshot's. One caller at a time. */
void published_replace(struct published *published, struct snapshot *snapshot);
bool published_is_empty(const struct published *published);
void published_deinit(struct published *published);
