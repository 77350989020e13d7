/*
 * Index runs: immutable sorted pieces of a table's key index (or of the postings
 * of one lookup column), memory-mapped and shared by reference count.
 *
 * Body: entries of 24 bytes ascending by (hash, file, row) · padding to 64 ·
 * directory: 2^bits + 1 times u32, the first entry of each range of hashes by
 * their top bits · padding to 64 · filter: blocks of 64 bytes (blocked Bloom,
 * 6 bits a hash, about 10 bits an entry).
 * Numbers of the trailer: kind, entries, directory bits, filter blocks.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/snapshot/derived.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a row with this hash lies. */
struct index_entry {
    uint64_t hash;    /* keyed hash of the key or the lookup value */
    int64_t sequence; /* of the row */
    uint32_t file;    /* number in the index */
    uint32_t row;     /* of the file */
};
_Static_assert(sizeof(struct index_entry) == 24, "entries are stored as they are in memory");

enum { INDEX_DIRECTORY_BITS_MAX = 28 };
#define INDEX_RUN_MAGIC UINT64_C(0x314e55525845444e) /* "NDEXRUN1" */
#define INDEX_RUN_ENTRIES_MAX ((size_t)UINT32_MAX)

/* Fields are read-only. */
struct index_run {
    uint32_t kind; /* 0 = key, 1 + i = lookup column i */
    uint64_t id;   /* names the file, unique per table */
    size_t count;
    const struct index_entry *entries;
    unsigned directory_bits;
    const uint32_t *directory;
    size_t filter_blocks;
    const uint8_t *filter;
    struct derived derived; /* private */
    int references;         /* atomic; private */
};

struct index_run *index_run_acquire(const struct index_run *run);
void index_run_release(struct index_run **run);

/* "run-<kind>-<id>.run" */
void index_run_name(uint32_t kind, uint64_t id, char name_out[DERIVED_NAME_BYTES]);

/* index_sort.c: the order of entries, by (hash, file, row); sorting is radix by hash. */
bool index_entry_before(const struct index_entry *a, const struct index_entry *b);
void index_entries_sort(struct index_entry *entries, size_t count);

/* Writes a run from entries that come in order. Deinit, finished or not. */
struct index_run_writer {
    struct derived_writer file;
    uint32_t kind;
    uint64_t id;
    size_t count;
    size_t count_max;
    unsigned directory_bits;
    uint32_t *directory;
    size_t bucket; /* next directory slot to fill */
    size_t filter_blocks;
    uint8_t *filter;
    uint64_t last_hash;
};

/*
 *   folder     of the index; NULL = in memory only
 *   count_max      entries at most; sizes directory and filter
 */
void index_run_writer_init(struct index_run_writer *writer, const char *folder, uint32_t kind,
                           uint64_t id, size_t count_max);
void index_run_writer_deinit(struct index_run_writer *writer);
enum err_code index_run_writer_append(struct index_run_writer *writer,
                                      const struct index_entry *entries, size_t count,
                                      struct err *err) MUST_USE;
enum err_code index_run_writer_finish(struct index_run_writer *writer, struct index_run **run_out,
                                      struct err *err) MUST_USE;

/* Sorted entries to a run in one call. */
enum err_code index_run_build(const char *folder, uint32_t kind, uint64_t id,
                              const struct index_entry *entries, size_t count,
                              struct index_run **run_out, struct err *err) MUST_USE;

/* Write the run's file, when it is in memory only. Errors and threads: as derived_store. */
enum err_code index_run_store(struct index_run *run, const char *folder, struct err *err) MUST_USE;

/* Open a stored run; order, directory and checksum are checked. Errors: ERR_NOT_FOUND, ERR_CORRUPT.
 */
enum err_code index_run_open(const char *folder, uint32_t kind, uint64_t id,
                             struct index_run **run_out, struct err *err) MUST_USE;

/* The same for bytes in memory that outlive the run. */
enum err_code index_run_decode(struct span file, uint32_t kind, struct index_run **run_out,
                               struct err *err) MUST_USE;

/* False: certainly no entry of this hash. */
bool index_run_may_contain(const struct index_run *run, uint64_t hash);

/* The entries of this hash: *count_out of them from the returned pointer on. */
const struct index_entry *index_run_find(const struct index_run *run, uint64_t hash,
                                         size_t *count_out);

/* Hints for batches of lookups: first for all hashes the filter, then the directory, … */
void index_run_prefetch_filter(const struct index_run *run, uint64_t hash);
void index_run_prefetch_directory(const struct index_run *run, uint64_t hash);
void index_run_prefetch_entries(const struct index_run *run, uint64_t hash);

/*
 * Merge runs of one kind into a new one.
 *   alive  entries for which it says false are left out; NULL = keep all
 */
typedef bool index_alive_fn(void *self, const struct index_entry *entry);
enum err_code index_runs_merge(const char *folder, uint64_t id, struct index_run *const *runs,
                               size_t count, index_alive_fn *alive, void *alive_self,
                               struct index_run **run_out, struct err *err) MUST_USE;
