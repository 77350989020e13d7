/*
 * Taking the pieces of one source into a table: decode, judge, expectations, accept,
 * each piece as one step of the source. Used by the ingest task; knows nothing of where
 * the source came from.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/expectation.h"
#include "storage/intake/intake.h"
#include "workers/source.h"
#include "workers/task.h"

#include <stdbool.h>
#include <stdint.h>

struct table;

enum { INGEST_KEY_BYTES = 160 /* task_key of the steps */ };

/* One attempt of an ingest task; embedded by it. */
struct ingest {
    struct task_attempt *attempt;
    struct table *table;   /* a reference */
    struct schema *schema; /* a reference: the definition that records are judged by */
    struct intake_stores stores;
    struct source_reader reader; /* for the sources it opens */
    bool strict;
    struct expectations *expectations;
    struct bound_expectations *bound;  /* NULL = there are none */
    struct expectation_tally *tallies; /* of the piece in hand, one an expectation */
    char key[INGEST_KEY_BYTES];        /* of the task's steps: key and iteration */

    /* what has come in, earlier attempts included */
    struct task_progress progress;
    int64_t bytes_before; /* of the sources before this one */
    int64_t total_bytes;  /* of all, 0 = not known: the source's own measure counts */
};

/*
 * Read the source from where it stands to its end.
 *
 *   was_done_out  every record of it was taken before: nothing was read
 *
 * Errors:  ERR_CANCELLED; ERR_INVALID too many records are refused, or one and handling is
 *          strict, or an expectation fails, with the place; what source_next and
 *          intake_batch_accept return; ERR_CONFLICT somebody else reads the same source.
 * Durable: every piece before the failure.
 */
enum err_code ingest_source(struct ingest *ingest, struct source *source, bool *was_done_out,
                            struct err *err) MUST_USE;

/* What the task's steps found out, in all attempts. */
struct ingest_findings {
    int64_t dropped;                   /* rows that an expectation dropped */
    int64_t quarantined;               /* rows that one put aside; they count as rejected, too */
    struct expectation_tally *tallies; /* one an expectation: mem_free */
};
enum err_code ingest_findings_read(const struct ingest *ingest,
                                   struct ingest_findings *findings_out, struct err *err) MUST_USE;
