/*
 * A whole server but its HTTP: catalog, journals, tables, mergers and a runner with the
 * ingest task, in a fresh folder with a source root `drop`. JSON is written with ' for ".
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/span.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/runs.h"
#include "storage/catalog/sources.h"
#include "storage/intake/intake.h"

#include <stdbool.h>
#include <stdint.h>

struct remote;

struct ingest_kit {
    struct intake_stores stores; /* for tests that post beside a task */
    struct intake_limits limits;
    const char *folder;
    const char *allow; /* of outgoing requests; set before ingest_kit_open; NULL = none */
    int64_t lane_queue_batches_max; /* set before ingest_kit_open; 0 = many */
    bool merges_when_told;    /* set before ingest_kit_open: no workers, ingest_kit_merge instead */
    int64_t commit_bytes_max; /* of ingest_kit_merge; 0 = a lot */
};
extern struct ingest_kit ingest_kit;

/* Criterion's init and fini. */
void ingest_kit_set_up(void);
void ingest_kit_tear_down(void);

/* For tests that open in a child. */
void ingest_kit_set_up_folder(void);
void ingest_kit_tear_down_folder(void);
void ingest_kit_open(void);
void ingest_kit_close(void);

/* A table; its definition with ' for ". Adopted when it is there already. */
void ingest_kit_table(const char *name, const char *definition);

/* Accept a body as one batch; JSON lines with ' for ". Its id. */
struct id ingest_kit_post(const char *table, enum frame_operation operation, const char *body);
struct batch ingest_kit_batch(const struct id *id);
/* Take away the frame that is kept for the batch's merge; false: none is. */
bool ingest_kit_forget_frame(const char *table, const struct id *batch);
/* Its record errors by ordinal; returns how many. Valid until the kit closes. */
size_t ingest_kit_errors(const struct id *id, struct batch_error **errors_out);
/* One step of the table's merger, as many batches as are queued. */
void ingest_kit_merge(const char *table);

/* A file in the root. */
void ingest_kit_put(const char *name, struct span bytes);

/* Start a one-off run of one ingest task with this body; its id. */
int64_t ingest_kit_start(const char *body);
bool ingest_kit_has_run(int64_t run_id);
/* Until it is terminated (60 s): its result. */
enum run_result ingest_kit_wait(int64_t run_id);
enum run_result ingest_kit_run(const char *body);

/* Of the last run waited for: message of its task's end, and values. */
const char *ingest_kit_error(void);
int64_t ingest_kit_value(const char *name); /* -1 = none */
const char *ingest_kit_values(void);        /* all, as JSON */

/* All rows of a table as NDJSON sorted by bytes. */
void ingest_kit_rows(const char *table, struct buffer *text);
int64_t ingest_kit_rows_count(const char *table);
int64_t ingest_kit_version(const char *table);

/* Batches of the runs' steps. */
struct source_tally ingest_kit_tally(int64_t run_id);
