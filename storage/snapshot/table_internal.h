/*
 * What the files of this room share about an open table: its struct and the
 * steps that merge, compaction and refresh have in common. Nobody else includes
 * this.
 */
#pragma once

#include "storage/base/hash.h"
#include "storage/base/lock.h"
#include "storage/delta/state.h"
#include "storage/snapshot/files.h"
#include "storage/snapshot/index.h"
#include "storage/snapshot/manifest.h"
#include "storage/snapshot/own_commits.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tombstones.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct parquet_writer_context;

enum {
    TABLE_APP_ID_BYTES = 96,
    TABLE_HISTORIC_MAX = 4, /* snapshots of older versions kept at hand */
};

/* The files of the index that the last manifest named, each list in order. */
struct stored_index {
    uint32_t *files; /* numbers */
    size_t files_count;
    struct manifest_run *runs;
    size_t runs_count;
};
void stored_index_deinit(struct stored_index *stored);

struct table {
    /* set once at open */
    int references; /* atomic */
    char *name;
    struct id uuid;
    char *folder;
    char *index_folder;
    char app_id[TABLE_APP_ID_BYTES]; /* "sluice/<instance>/<uuid>" */
    uint8_t hash_key[HASH_KEY_BYTES];
    char mount[FILE_MOUNT_BYTES]; /* of the index folder */
    struct store_owner *owner;
    struct object_store *store;
    struct lock *publish; /* the registry's, LOCK_RANK_SNAPSHOT */

    struct published current; /* what readers see; replaced under `publish` */

    struct lock commit; /* LOCK_RANK_COMMIT; guards what follows */
    struct tombstones tombstones;
    struct own_commits own;
    bool columns_differ;      /* another engine changed the log's columns: nothing is written */
    int64_t overwritten_from; /* found, not yet reported by table_refresh; -1 = none */
    int64_t overwritten_position;
    struct parquet_writer_context *writer;
    const struct index_run *busy[INDEX_SET_MAX]; /* being merged by table_index_maintain */
    size_t busy_count;
    struct derived_name *dropped; /* published no more; table_drop_files is to come */
    size_t dropped_count;

    struct lock index_files_lock; /* LOCK_RANK_INDEX_FILES; guards what follows, held across I/O */
    struct stored_index stored;
    int64_t stored_publishes; /* `publishes` as they were then */
    int64_t stored_us;        /* monotonic; of the last table_store_index_when_due that was */

    int64_t backlog_files;     /* atomic; of merges, that compaction has not dealt with */
    int64_t settled_dead_rows; /* atomic; that compaction has no use for, when it last looked */
    int64_t merged_us;         /* atomic; monotonic time of the last merge */
    int64_t merge_files;       /* atomic; that the last merge made */
    int64_t publishes;         /* atomic; times that a snapshot was published */
    int64_t cleaned_us;        /* atomic; wall time of the last table_clean */
    uint32_t next_file;        /* atomic */
    uint64_t next_run;         /* atomic */
    int64_t duplicates;        /* atomic */
    int64_t compactions;       /* atomic; committed since the open */
    int64_t compacted_rows;    /* atomic; that they wrote */
    int64_t checksum_version;  /* atomic; the last one that was given a checksum; -1 = none */
    int64_t checkpoint_at_ms;  /* atomic; of the last checkpoint, or of the open */
    int64_t checkpoint_bytes;  /* atomic; of the last checkpoint since the open, else 0 */
    bool has_lookups;          /* atomic; the published definition has some */
    int64_t tombstones_seen;   /* atomic copy of the set's count, for statistics */

    struct lock maintenance_lock; /* LOCK_RANK_CACHE; guards what follows, never held long */
    struct wake maintenance_wake;
    bool maintained; /* somebody compacts, or changes index runs */

    struct lock historic_lock;                           /* LOCK_RANK_CACHE */
    const struct snapshot *historic[TABLE_HISTORIC_MAX]; /* newest used first */
};

struct table_open_options {
    const char *name;
    const struct id *uuid;
    const struct schema *schema;
    const struct id *instance;
    const uint8_t *hash_key; /* HASH_KEY_BYTES */
    const char *folder;
    const char *index_folder;
    struct lock *publish;
};

/*
 * Open the table in `folder`. Errors: see tables_attach.
 */
enum err_code table_open(const struct table_open_options *options, struct table **table_out,
                         struct err *err) MUST_USE;

/* A snapshot without an index: an older version, or a folder of another engine. */
enum err_code snapshot_build_historic(const struct id *uuid, const struct schema *schema,
                                      const struct delta_state *state, struct store_owner *owner,
                                      const struct snapshot **snapshot_out,
                                      struct err *err) MUST_USE;

uint32_t table_new_file_number(struct table *table);
uint64_t table_new_run_id(struct table *table);

/* ---- entries by kind ---- */

/* Index entries collected for every kind; flushed to runs. */
struct entry_lists {
    struct index_kinds kinds;
    struct {
        struct index_entry *items;
        size_t count;
        size_t capacity;
    } lists[INDEX_KINDS_MAX];
};
void entry_lists_init(struct entry_lists *lists, const struct schema *schema);
void entry_lists_deinit(struct entry_lists *lists);
void entry_lists_add(struct entry_lists *lists, uint32_t kind, const struct index_entry *entry);

/*
 * Entries of one row: the key's with `key_hash` (0 kinds without a key ignore
 * it) and one for every lookup column with a value.
 *   scratch  for the bytes of lookup values
 */
void entry_lists_add_row(struct entry_lists *lists, const struct table *table,
                         const struct frame *frame, int64_t row, uint64_t key_hash, bool has_key,
                         const struct index_entry *place, struct buffer *scratch);

/* Sort and write a run per kind that has entries, added to `view`; the lists are empty then. */
enum err_code entry_lists_flush(struct entry_lists *lists, struct table *table,
                                struct index_view *view, struct err *err) MUST_USE;

/* ---- publishing; commit lock held ---- */

/* Fold small runs until every kind has at most INDEX_SMALL_RUNS_MAX of them. */
enum err_code table_fold_runs(struct table *table, struct index_view *view,
                              struct err *err) MUST_USE;

/* Swap the published snapshot. Takes `files`; `view` is shared (NULL = no index). */
void table_publish(struct table *table, const struct schema *schema,
                   const struct delta_state *state, struct file_list *files,
                   struct index_view *view);

/* Remember a commit of ours. position_from -1 = no batch in it. */
/*
 * Write to the table: follow the log, then make the attempt, and both again after a foreign writer
 * was faster (ERR_CONFLICT of the attempt, which has committed nothing then).
 *
 * Errors:  what the attempt returns, with the table's name; ERR_BUSY MERGE_ATTEMPTS_MAX attempts
 *          were lost; ERR_CONFLICT the table's columns are others than the definition's, or
 *          a version of ours was overwritten.
 * Thread:  with the commit lock.
 */
typedef enum err_code table_attempt_fn(void *arg, struct err *err);
enum err_code table_write_attempts(struct table *table, table_attempt_fn *attempt, void *arg,
                                   struct err *err) MUST_USE;

void table_remember(struct table *table, int64_t version, uint64_t hash, int64_t position_from);

/* Runs and images that go out of what is published. The commit lock is held. */
void table_note_dropped_run(struct table *table, const struct index_run *run);
void table_note_dropped_images(struct table *table, const struct images *images);
/* Those that were made for a commit that did not come; either may be NULL. */
void table_note_unused(struct table *table, const struct images *images,
                       const struct index_view *runs);
/*
 * Remove the files of what was noted, but for those that the manifest names: its next one
 * removes these. What cannot be removed is left to table_clean_index.
 * Thread: any, without the commit lock; waits for a store.
 */
void table_drop_files(struct table *table);

/*
 * Remove files of the index folder that the snapshot does not use and that were
 * written before `before_ms` (wall time).
 */
enum err_code table_clean_index(struct table *table, const struct snapshot *snapshot,
                                int64_t before_ms, struct err *err) MUST_USE;

/* ---- what compaction has before it ---- */

/* A merge made `files`; compaction dealt with so many (negative), or found nothing to do. */
void table_note_backlog(struct table *table, int64_t files);
void table_forget_backlog(struct table *table);
void table_note_settled(struct table *table,
                        const struct snapshot *snapshot); /* nothing to compact */
int64_t table_backlog_merges(struct table *table);        /* that compaction has not dealt with */

/* ---- following the log; commit lock held ---- */

/*
 * Publish `state`: files that are new are read into index and images, files that
 * are gone leave. Used by open, refresh and after lost races.
 *
 *   fresh   take nothing over from what is published: a rebuild
 */
enum err_code table_follow(struct table *table, const struct schema *schema,
                           struct delta_state *state, bool fresh, struct err *err) MUST_USE;

/* The same under another definition: the index is rebuilt when it is another for that. */
enum err_code table_follow_definition(struct table *table, const struct schema *schema,
                                      struct delta_state *state, struct err *err) MUST_USE;

/* As table_change_schema, with the lock held. */
enum err_code table_write_definition(struct table *table, const struct schema *next,
                                     struct err *err) MUST_USE;

/*
 * Are the log's columns those of `schema`: called so, of that type, and not stricter?
 *   before       the definition that `schema` is to follow, whose columns the log may still have;
 *                NULL = the one in the log, when that is older
 *   differs_out  the log has to be brought up to the schema
 * Errors:  ERR_CONFLICT names the column that another engine added, changed or dropped.
 */
enum err_code table_check_columns(const struct schema *schema, const struct schema *before,
                                  const struct delta_metadata *metadata, bool *differs_out,
                                  struct err *err) MUST_USE;

/*
 * Bring the table up to the newest version and look for overwritten commits.
 *   next  a definition that is about to be written: the log's columns may be as it says already;
 *         NULL = none
 */
enum err_code table_catch_up(struct table *table, const struct schema *next, bool *changed_out,
                             struct err *err) MUST_USE;

/* Load the tombstone files that the newest commit of ours names. */
enum err_code table_load_tombstones(struct table *table, const struct delta_state *state,
                                    struct err *err) MUST_USE;

/* The wall-clock moment before which deletes are forgotten. */
int64_t table_tombstone_horizon_us(const struct schema *schema, int64_t now_us);

/* ---- vectors ---- */

/* The deletion vector of a live file, loaded; *vector_out NULL when it has none. */
enum err_code table_load_vector(struct object_store *store, const struct delta_file *file,
                                struct shared_vector **vector_out, struct err *err) MUST_USE;

/* ---- reading data files into the index ---- */

/*
 * Read the live rows of a data file: entries into `lists` (flushed to `view` when
 * they are many), images into a new file of the index.
 *
 *   dv  NULL = none
 */
enum err_code table_ingest(struct table *table, const struct schema *schema,
                           const struct delta_file *file, const struct deletion_vector *dv,
                           uint32_t number, struct entry_lists *lists, struct index_view *view,
                           struct images **images_out, struct err *err) MUST_USE;

/* A file's vector as one comparable text. Empty without a vector. */
void vector_identity(const struct delta_file *file, struct buffer *text);
