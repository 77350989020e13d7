/*
 * Tombstones: keys that were deleted, remembered with their sequence until the
 * delete retention has passed, so that a late older record does not bring a row
 * back. Not derivable: they live in files under the table's `_sluice/` folder,
 * durable before the commit that names them. Files are folded so that there are
 * few: each new file takes in the newest ones that are not larger than it.
 *
 * File: magic 8 · encryption key id u32 (0 = none) · count u32 · records ·
 * checksum u64 (XXH3-64 of everything before it). Record: sequence i64 ·
 * position i64 · deleted_us i64 · varint key size · key bytes.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/hash.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object_store;

enum {
    TOMBSTONE_FILES_MAX = 256, /* live ones of a table; folding keeps them near 30 */
    TOMBSTONE_FILE_BYTES_MAX = 512 << 20,
    TOMBSTONE_NAME_BYTES = 64, /* "_sluice/tombstones-<uuid>.bin" */
};
#define TABLE_PRIVATE_FOLDER "_sluice"

struct tombstone {
    int64_t sequence;
    int64_t position;   /* order position of the delete */
    int64_t deleted_us; /* wall time of the merge */
    struct span key;
};

struct tombstone_file {
    char name[TOMBSTONE_NAME_BYTES]; /* object name */
    size_t count;
    int64_t newest_us; /* latest deleted_us; later than that + retention the file is void */
};

/* Guarded by the table's commit lock. */
struct tombstones {
    uint8_t hash_key[HASH_KEY_BYTES];
    struct tombstone_slot *slots; /* private, like the next three */
    size_t slots_count;
    size_t used;
    struct buffer keys;
    struct tombstone_file *files; /* oldest first */
    size_t files_count;
};

void tombstones_init(struct tombstones *tombstones, const uint8_t hash_key[HASH_KEY_BYTES]);
void tombstones_deinit(struct tombstones *tombstones);

/* The newest tombstone of a key, expired or not. Key borrowed until the next put. */
bool tombstones_find(const struct tombstones *tombstones, uint64_t hash, struct span key,
                     struct tombstone *tombstone_out);

/* Add or replace. */
void tombstones_put(struct tombstones *tombstones, uint64_t hash,
                    const struct tombstone *tombstone);

size_t tombstones_count(const struct tombstones *tombstones);

/* In no order; start with *position 0. */
bool tombstones_next(const struct tombstones *tombstones, size_t *position,
                     struct tombstone *tombstone_out);

/* Forget what was deleted before `before_us`: memory and void files. */
void tombstones_expire(struct tombstones *tombstones, int64_t before_us);

/* What the next commit does to the files: made before it, applied after it. */
struct tombstones_change {
    struct tombstone_file *files; /* the list from this commit on */
    size_t files_count;
};
void tombstones_change_deinit(struct tombstones_change *change);

/*
 * Write the tombstones of a commit, taking in small files and leaving out what
 * was deleted before `before_us`.
 *
 *   added  of this commit; 0 = the list only loses void files
 *
 * Durable: the contents; the name after object_sync of TABLE_PRIVATE_FOLDER,
 *          needed when *written_out.
 */
enum err_code tombstones_write(const struct tombstones *tombstones, struct object_store *store,
                               const struct tombstone *added, size_t added_count, int64_t before_us,
                               struct tombstones_change *change_out, bool *written_out,
                               struct err *err) MUST_USE;

/* After the commit: the added ones join the set, the list is replaced. Takes `change`. */
void tombstones_apply(struct tombstones *tombstones, struct tombstones_change *change,
                      const struct tombstone *added, const uint64_t *hashes, size_t added_count);

/* Load the files of a list, oldest first. Errors: ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO. */
enum err_code tombstones_load(struct tombstones *tombstones, struct object_store *store,
                              const char *const *names, size_t count, int64_t before_us,
                              struct err *err) MUST_USE;

/* The codec. decode calls `take` for each record; the key is borrowed from `bytes`. */
void tombstones_encode_begin(struct buffer *bytes);
void tombstones_encode_record(const struct tombstone *tombstone, struct buffer *bytes);
void tombstones_encode_end(size_t count, struct buffer *bytes);
typedef void tombstone_take_fn(void *self, const struct tombstone *tombstone);
enum err_code tombstones_decode(struct span bytes, tombstone_take_fn *take, void *self,
                                struct err *err) MUST_USE;
