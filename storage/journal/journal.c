/*
 * The journal over segment logs. See journal.h for the contract.
 */
#include "storage/journal/journal.h"

#include "storage/base/fault.h"
#include "storage/base/mem.h"

#include <assert.h>

struct journal {
    struct segment_log *log;
};

_Static_assert((int)JOURNAL_RECORD_BYTES_MAX <= (int)SEGMENT_RECORD_BYTES_MAX,
               "a record fits a segment");

const char *journal_magic(enum journal_kind kind)
{
    return kind == JOURNAL_FRAMES ? "SLUJRNL1" : "SLUDEAD1";
}

enum err_code journal_open(const char *folder, enum journal_kind kind, struct journal **journal_out,
                           struct segment_recovery *recovery_out, struct err *err)
{
    const struct segment_options options = {
        .magic = journal_magic(kind),
        .segment_bytes = JOURNAL_SEGMENT_BYTES,
        .record_bytes_max = JOURNAL_RECORD_BYTES_MAX,
        .sync_fault = kind == JOURNAL_FRAMES ? "journal.sync" : "dead-letters.sync",
    };
    struct segment_log *log = NULL;
    TRY(segments_open(folder, &options, &log, recovery_out, err));
    *journal_out = mem_zeroed(1, sizeof **journal_out);
    (*journal_out)->log = log;
    return ERR_OK;
}

void journal_close(struct journal **journal)
{
    if (*journal != NULL) {
        segments_close(&(*journal)->log);
        mem_free(*journal);
        *journal = NULL;
    }
}

enum err_code journal_append(struct journal *journal, struct span record,
                             struct location *location_out, struct err *err)
{
    return segments_append(journal->log, record, location_out, err);
}

void journal_sync(struct journal *journal, const struct location *location)
{
    if (FAULT_SKIP("accept.ack-before-sync")) {
        return; /* a planted bug that the crash harness must find */
    }
    segments_sync(journal->log, location);
}

void journal_sync_all(struct journal *journal)
{
    if (FAULT_SKIP("accept.ack-before-sync")) {
        return; /* a planted bug that the crash harness must find */
    }
    segments_sync_all(journal->log);
}

void journal_settle(struct journal *journal, const struct location *location)
{
    segments_unpin(journal->log, location);
}

enum err_code journal_read(struct journal *journal, const struct location *location,
                           struct buffer *record_out, struct err *err)
{
    return segments_read(journal->log, location, record_out, err);
}

void journal_reader_begin(const struct journal *journal, struct segment_reader *reader)
{
    segments_reader_begin(journal->log, reader);
}

enum err_code journal_remove_below(struct journal *journal, int64_t floor, int64_t keep_us,
                                   int64_t *removed_out, struct err *err)
{
    return segments_remove_below(journal->log, floor, keep_us, removed_out, err);
}

void journal_statistics(struct journal *journal, struct segment_statistics *statistics_out)
{
    segments_statistics(journal->log, statistics_out);
}

struct totals {
    int64_t records;
    int64_t bytes;
};

static bool add_record(void *arg, const struct location *location, struct span payload)
{
    (void)payload;
    struct totals *totals = arg;
    totals->records++;
    totals->bytes += location->size;
    return true;
}

enum err_code journal_verify(const char *folder, enum journal_kind kind, int64_t *records_out,
                             int64_t *bytes_out, struct err *err)
{
    struct totals totals = {0};
    TRY(segments_walk(folder, journal_magic(kind), NULL, add_record, &totals, NULL, err));
    *records_out = totals.records;
    *bytes_out = totals.bytes;
    return ERR_OK;
}
