/*
 * Tables in a fresh folder for tests of storage/snapshot, and frames for them
 * from a few words a row.
 *
 * Columns: id (string, key), [updated (long, sequence_by)], amount (integer),
 * note (string), region (string, partition_by when asked), member (string,
 * lookup when asked). Append tables have no key.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/columns/frame.h"
#include "storage/columns/row.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "tests/support/temp_dir.h"

#include <stdbool.h>
#include <stdint.h>

struct fixture_options {
    enum table_merge merge;
    bool sequence;
    bool partition;
    bool lookup;
    bool root; /* lookup column is the key */
    bool change_feed;
    int64_t retention_seconds; /* 0 = a week */
};

struct fixture {
    struct fixture_options options;
    struct temp_dir dir;
    struct tables *tables;
    struct table *table;
    struct schema *schema;
    struct id instance;
    struct id uuid;
    int64_t position;                                 /* last one given out */
    size_t id, updated, amount, note, region, member; /* columns; SIZE_MAX = absent */
};

/* A table "t". Files live in memory (/dev/shm) when there is such a folder. */
struct fixture fixture_make(const struct fixture_options *options);
void fixture_remove(struct fixture *fixture);

/* Close and open again; torn: the index folder is removed in between. */
void fixture_reopen(struct fixture *fixture, bool torn);
/* Background compaction of a table that rests, until it has nothing to do. */
void fixture_compact(struct fixture *fixture);
/* Open again with the files as a killed process would leave them. */
void fixture_reopen_killed(struct fixture *fixture);

/* One record. NULL texts are null; of a patch, "-" is an absent field and amount INT32_MIN too. */
struct record_words {
    enum frame_operation operation;
    const char *id;
    int64_t updated; /* ignored without sequence */
    int32_t amount;  /* INT32_MAX = null */
    const char *note;
    const char *region;
    const char *member;
};
struct frame *fixture_frame(const struct fixture *fixture, const struct record_words *records,
                            size_t count);

/* Merge one frame at the next position; stops the test on an error. */
struct merge_outcome fixture_merge(struct fixture *fixture, const struct frame *frame);
/* The same from words; outcome dropped. */
void fixture_put(struct fixture *fixture, const struct record_words *records, size_t count);

/* Rows as another engine appends them: no keys are looked for, in the order given; not refreshed.
 */
void fixture_append_foreign(struct fixture *fixture, const struct record_words *records,
                            size_t count);

struct merge_input fixture_input(struct fixture *fixture, const struct frame *frame);

/* All rows of a snapshot as JSON lines, sorted by bytes. */
void fixture_rows(const struct snapshot *snapshot, struct buffer *text);

/* The row of a key as JSON, "" when absent, through lookup_keys. */
void fixture_lookup(const struct fixture *fixture, const char *id, struct buffer *text);

/* verify_table finds nothing; `when` names the place in messages. */
void fixture_verify(const struct fixture *fixture, const char *when);
