/*
 * Writing the audit trail. See audit.h for the record and the promise.
 *
 * A record takes its sequence, its time and its predecessor's hash under the
 * chain's lock, in the same step as its write, so that file order, sequence and
 * chain never disagree.
 */
#include "storage/audit/audit.h"

#include "storage/audit/chain.h"
#include "storage/base/clock.h"
#include "storage/base/hash.h"
#include "storage/base/json.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/journal/segments.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
    SYNC_AFTER_US = AUDIT_SYNC_WITHIN_US / 2, /* leaves the other half to the disk */
    ANCHOR_DURABLE_EVERY_US = 1000000,
    RETRY_FULL_AFTER_US = 500000,
};

static const char *const outcome_names[] = {
    [AUDIT_SUCCEEDED] = "succeeded",
    [AUDIT_DENIED] = "denied",
    [AUDIT_FAILED] = "failed",
};

struct audit {
    struct segment_log *log; /* set once at open, like keys, options, anchor */
    const struct secret_keys *keys;
    struct audit_options options;
    struct audit_anchor *anchor;

    struct lock lock; /* guards the chain's end */
    struct wake wake; /* of the syncing thread */
    struct chain_end end;
    struct location end_location;
    struct buffer line; /* scratch for the record being written */
    bool stopping;

    pthread_t syncer;
    bool syncer_started;
    _Atomic int64_t synced_sequence;
    _Atomic int64_t unsynced_since_us; /* monotonic, 0 = nothing waits for the disk */
    _Atomic int64_t write_started_us;  /* monotonic, 0 = no write is under way */
    _Atomic bool full;
};

/* ---- the record ---- */

void audit_subject(const struct secret_keys *keys, struct span identifier,
                   char subject_out[AUDIT_SUBJECT_BYTES])
{
    uint8_t hash[SECRET_HASH_BYTES];
    secret_hash(keys, SECRET_IDENTIFIERS, identifier, hash);
    /* every member lookup does this, so it writes into place and never reaches for the heap */
    struct buffer text = {.data = (uint8_t *)subject_out,
                          .capacity = AUDIT_SUBJECT_BYTES,
                          .size_max = AUDIT_SUBJECT_BYTES};
    text_hex_encode(span_of(hash, (AUDIT_SUBJECT_BYTES - 1) / 2), &text);
    buffer_append_byte(&text, '\0');
}

/* `text` as a JSON string; a long one is cut between code points and marked. */
static void append_text(struct buffer *line, const char *text)
{
    struct span span = span_of_text(text);
    if (span.size <= AUDIT_TEXT_BYTES_MAX) {
        json_write_string(line, span);
        return;
    }
    char cut[AUDIT_TEXT_BYTES_MAX + 4];
    size_t size = AUDIT_TEXT_BYTES_MAX;
    while (size > 0 && ((uint8_t)text[size] & 0xc0) == 0x80) {
        size--;
    }
    memcpy(cut, text, size);
    memcpy(cut + size, "\u2026", 3);
    json_write_string(line, span_of(cut, size + 3));
}

static void append_name(struct buffer *line, const char *name)
{
    buffer_append_text(line, ",\"");
    buffer_append_text(line, name);
    buffer_append_text(line, "\":");
}

static void append_number(struct buffer *line, const char *name, int64_t number)
{
    append_name(line, name);
    text_append_int64(number, line);
}

static void append_member(struct buffer *line, const char *name, const char *text)
{
    if (text != NULL) {
        append_name(line, name);
        append_text(line, text);
    }
}

static void append_subjects(struct buffer *line, const struct audit_event *event)
{
    if (event->subjects_count == 0) {
        return;
    }
    buffer_append_text(line, ",\"subjects\":[");
    for (size_t i = 0; i < event->subjects_count; i++) {
        buffer_append_text(line, i == 0 ? "" : ",");
        append_text(line, event->subjects[i]);
    }
    buffer_append_byte(line, ']');
}

/* Everything between the time and `prev`: what needs no lock. */
static void append_body(struct buffer *line, const struct audit_event *event)
{
    append_member(line, "event", event->event);
    append_member(line, "principal", event->principal_id);
    append_member(line, "token", event->token_id);
    append_member(line, "request", event->request_id);
    append_member(line, "action", event->action);
    append_member(line, "resource", event->resource);
    append_member(line, "outcome", outcome_names[event->outcome]);
    if (event->status != 0) {
        append_number(line, "status", event->status);
    }
    append_subjects(line, event);
    if (event->count >= 0) {
        append_number(line, "count", event->count);
    }
    append_member(line, "remote", event->remote);
    append_member(line, "detail", event->detail);
}

static void build_line(struct audit *audit, struct span body)
{
    struct buffer *line = &audit->line;
    char time[TEXT_TIMESTAMP_BYTES];
    size_t time_size = text_format_timestamp(clock_wall_us(), time);
    buffer_reset(line);
    buffer_append_text(line, "{\"seq\":");
    text_append_int64(audit->end.sequence + 1, line);
    buffer_append_text(line, ",\"time\":\"");
    buffer_append(line, time, time_size);
    buffer_append_text(line, "\",\"mono_us\":");
    text_append_int64(clock_monotonic_us(), line);
    buffer_append_span(line, body);
    buffer_append_text(line, ",\"prev\":\"");
    text_hex_encode(span_of(audit->end.hash, sizeof audit->end.hash), line);
    buffer_append_text(line, "\"}");
}

/* ---- writing ---- */

/* The chain's lock is held: the write and the chain move together. */
static enum err_code write_line(struct audit *audit, int64_t *sequence_out, struct err *err)
{
    assert(lock_is_held(&audit->lock));
    TRY(buffer_check(&audit->line, "the audit record", err));
    int64_t started_us = clock_monotonic_us();
    atomic_store(&audit->write_started_us, started_us);
    enum err_code code =
        segments_append(audit->log, buffer_span(&audit->line), &audit->end_location, err);
    atomic_store(&audit->write_started_us, 0);
    atomic_store(&audit->full, code == ERR_NO_SPACE);
    if (code != ERR_OK) {
        wake_one(&audit->wake);
        return err_wrap(err, "audit trail");
    }
    audit->end.sequence++;
    hash_sha256(buffer_span(&audit->line), audit->end.hash);
    int64_t none = 0;
    if (atomic_compare_exchange_strong(&audit->unsynced_since_us, &none, started_us)) {
        wake_one(&audit->wake);
    }
    *sequence_out = audit->end.sequence;
    return ERR_OK;
}

enum err_code audit_write(struct audit *audit, const struct audit_event *event,
                          int64_t *sequence_out, struct err *err)
{
    assert(event->event != NULL);
    assert(event->subjects_count <= AUDIT_SUBJECTS_MAX);
    CLEANUP(buffer_deinit) struct buffer body;
    buffer_init(&body, AUDIT_RECORD_BYTES_MAX);
    append_body(&body, event);
    TRY(buffer_check(&body, "the audit record", err));

    int64_t sequence = 0;
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&audit->lock);
        build_line(audit, buffer_span(&body));
        TRY(write_line(audit, &sequence, err));
    }
    if (sequence_out != NULL) {
        *sequence_out = sequence;
    }
    return ERR_OK;
}

/* ---- syncing ---- */

static void note_synced(struct audit *audit, int64_t sequence)
{
    int64_t before = atomic_load(&audit->synced_sequence);
    while (before < sequence &&
           !atomic_compare_exchange_weak(&audit->synced_sequence, &before, sequence)) {
    }
}

void audit_sync_all(struct audit *audit)
{
    struct location upto;
    int64_t upto_sequence;
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&audit->lock);
        upto = audit->end_location;
        upto_sequence = audit->end.sequence;
    }
    if (atomic_load(&audit->synced_sequence) < upto_sequence) {
        segments_sync(audit->log, &upto);
        note_synced(audit, upto_sequence);
    }
}

void audit_sync(struct audit *audit, int64_t sequence)
{
    if (atomic_load(&audit->synced_sequence) < sequence) {
        audit_sync_all(audit);
    }
}

enum err_code audit_record_read(struct audit *audit, const struct audit_event *event,
                                struct err *err)
{
    int64_t sequence = 0;
    TRY(audit_write(audit, event, &sequence, err));
    if (audit->options.reads_durable) {
        audit_sync(audit, sequence);
    }
    return ERR_OK;
}

enum err_code audit_record_write(struct audit *audit, const struct audit_event *event,
                                 struct err *err)
{
    int64_t sequence = 0;
    TRY(audit_write(audit, event, &sequence, err));
    audit_sync(audit, sequence);
    return ERR_OK;
}

/* Sync all that is written and move the anchor behind it. */
static void sync_and_anchor(struct audit *audit, int64_t *anchor_durable_us)
{
    struct chain_end end;
    struct location upto;
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&audit->lock);
        end = audit->end;
        upto = audit->end_location;
    }
    int64_t started_us = clock_monotonic_us();
    if (end.sequence > 0 && location_is_set(&upto)) {
        segments_sync(audit->log, &upto);
        note_synced(audit, end.sequence);
        bool make_durable = started_us - *anchor_durable_us >= ANCHOR_DURABLE_EVERY_US;
        audit_anchor_write(audit->anchor, audit->keys, &end, make_durable);
        *anchor_durable_us = make_durable ? started_us : *anchor_durable_us;
    }
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&audit->lock);
    atomic_store(&audit->unsynced_since_us, audit->end.sequence > end.sequence ? started_us : 0);
}

enum syncer_work { WORK_SYNC, WORK_RETRY, WORK_STOP };

/* Wait until something is to be synced and its time has come, or a full disk is to be tried. */
static enum syncer_work wait_for_work(struct audit *audit)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&audit->lock);
    int64_t retry_us = clock_monotonic_us() + RETRY_FULL_AFTER_US;
    while (!audit->stopping) {
        int64_t since_us = atomic_load(&audit->unsynced_since_us);
        bool full = atomic_load(&audit->full);
        if (since_us == 0 && !full) {
            wake_wait(&audit->wake, &audit->lock);
            continue;
        }
        int64_t deadline_us = since_us != 0 ? since_us + SYNC_AFTER_US : retry_us;
        if (wake_wait_until(&audit->wake, &audit->lock, deadline_us) != 0) {
            return since_us != 0 ? WORK_SYNC : WORK_RETRY;
        }
    }
    return WORK_STOP;
}

/* Those who are refused for a full trail write nothing to it, so somebody must try. */
static void retry_full(struct audit *audit)
{
    const struct audit_event event = {
        .event = "trail.resumed", .outcome = AUDIT_SUCCEEDED, .count = -1};
    struct err still_full = {0};
    enum err_code code = audit_write(audit, &event, NULL, &still_full);
    (void)code; /* the health flag has it */
}

static void *run_syncer(void *arg)
{
    struct audit *audit = arg;
    int64_t anchor_durable_us = 0;
    for (;;) {
        enum syncer_work work = wait_for_work(audit);
        if (work == WORK_RETRY) {
            retry_full(audit);
            continue;
        }
        anchor_durable_us = work == WORK_STOP ? 0 : anchor_durable_us;
        sync_and_anchor(audit, &anchor_durable_us);
        if (work == WORK_STOP) {
            return NULL;
        }
    }
}

bool audit_healthy(struct audit *audit)
{
    int64_t now_us = clock_monotonic_us();
    int64_t write_us = atomic_load(&audit->write_started_us);
    int64_t sync_us = atomic_load(&audit->unsynced_since_us);
    return !atomic_load(&audit->full) &&
           (write_us == 0 || now_us - write_us < AUDIT_BLOCKED_AFTER_US) &&
           (sync_us == 0 || now_us - sync_us < AUDIT_BLOCKED_AFTER_US);
}

void audit_statistics(struct audit *audit, struct audit_statistics *statistics_out)
{
    struct segment_statistics segments;
    segments_statistics(audit->log, &segments);
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&audit->lock);
    *statistics_out = (struct audit_statistics){
        .sequence = audit->end.sequence,
        .synced_sequence = atomic_load(&audit->synced_sequence),
        .syncs_count = segments.syncs_count,
        .bytes = segments.bytes,
    };
}

/* ---- opening ---- */

static enum err_code start_syncer(struct audit *audit, struct err *err)
{
    int failed = pthread_create(&audit->syncer, NULL, run_syncer, audit);
    if (failed != 0) {
        return err_set_errno(err, failed, "start the audit syncing thread");
    }
    audit->syncer_started = true;
    return ERR_OK;
}

static enum err_code record_opening(struct audit *audit, const struct segment_recovery *recovery,
                                    struct err *err)
{
    char detail[64];
    (void)snprintf(detail, sizeof detail, "torn bytes cut: %" PRId64,
                   recovery->cut_bytes); /* fits */
    const struct audit_event event = {.event = "trail.open",
                                      .outcome = AUDIT_SUCCEEDED,
                                      .count = -1,
                                      .detail = recovery->cut_bytes > 0 ? detail : NULL};
    return audit_record_write(audit, &event, err);
}

enum err_code audit_open(const char *folder, const struct secret_keys *keys,
                         const struct audit_options *options, struct audit **audit_out,
                         struct err *err)
{
    const struct segment_options segments = {
        .magic = AUDIT_MAGIC,
        .segment_bytes = AUDIT_SEGMENT_BYTES,
        .record_bytes_max = AUDIT_RECORD_BYTES_MAX,
        .keep_reserve = true,
        .sync_fault = "audit.sync",
    };
    CLEANUP(audit_close) struct audit *audit = mem_zeroed(1, sizeof *audit);
    audit->keys = keys;
    audit->options = *options;
    lock_init(&audit->lock, LOCK_RANK_AUDIT);
    wake_init(&audit->wake);
    buffer_init(&audit->line, AUDIT_RECORD_BYTES_MAX);

    struct segment_recovery recovery = {0};
    TRY(segments_open(folder, &segments, &audit->log, &recovery, err));
    TRY(audit_anchor_open(folder, &audit->anchor, err));
    TRY(audit_chain_resume(folder, keys, &recovery, &audit->end, err));
    atomic_store(&audit->synced_sequence, audit->end.sequence);
    TRY(start_syncer(audit, err));
    TRY(record_opening(audit, &recovery, err));
    *audit_out = audit;
    audit = NULL;
    return ERR_OK;
}

static void stop_syncer(struct audit *audit)
{
    if (!audit->syncer_started) {
        return;
    }
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&audit->lock);
        audit->stopping = true;
        wake_all(&audit->wake);
    }
    int failed = pthread_join(audit->syncer, NULL);
    assert(failed == 0);
}

void audit_close(struct audit **audit_pointer)
{
    struct audit *audit = *audit_pointer;
    if (audit == NULL) {
        return;
    }
    if (audit->syncer_started) {
        const struct audit_event event = {
            .event = "trail.close", .outcome = AUDIT_SUCCEEDED, .count = -1};
        struct err ignored = {0}; /* a full disk: the next opening is recorded anyway */
        enum err_code code = audit_write(audit, &event, NULL, &ignored);
        (void)code;
    }
    stop_syncer(audit);
    audit_anchor_close(&audit->anchor);
    segments_close(&audit->log);
    buffer_deinit(&audit->line);
    wake_deinit(&audit->wake);
    lock_deinit(&audit->lock);
    mem_free(audit);
    *audit_pointer = NULL;
}
