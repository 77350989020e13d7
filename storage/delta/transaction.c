/*
 * Transactions: actions are collected, encoded once, and put at the next free
 * version. The same bytes serve every attempt, so that an ambiguous answer of
 * the store can be resolved by reading back.
 *
 * Source: reference sections 2.3–2.5 and 10; reliability-security.md 5.4.
 */
#include "storage/delta/transaction.h"

#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/id.h"
#include "storage/base/mem.h"
#include "storage/delta/actions.h"
#include "storage/delta/commit_write.h"
#include "storage/delta/stats.h"
#include "storage/object/object.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { BACKOFF_DOUBLINGS_MAX = 20 };

struct delta_transaction {
    const struct delta_state *state; /* read state; one reference */
    struct object_store *store;      /* borrowed */
    struct object_group *group;      /* borrowed, or NULL; synced by the first attempt */
    enum delta_reads reads;
    struct id id;                 /* commitInfo.txnId */
    int64_t now_ms;               /* one time for all actions */
    struct delta_actions actions; /* what will be committed, commitInfo excluded */
    char *operation;
    struct json *parameters;
    struct json *metrics;
    struct json *extension;
    bool committed;
};

struct delta_transaction *delta_transaction_begin(const struct delta_state *state,
                                                  struct object_store *store,
                                                  enum delta_reads reads)
{
    struct delta_transaction *transaction = mem_zeroed(1, sizeof *transaction);
    transaction->state = delta_state_acquire(state);
    transaction->store = store;
    transaction->reads = reads;
    transaction->id = id_new_random();
    transaction->now_ms = clock_wall_us() / 1000;
    transaction->operation = mem_copy_text("WRITE");
    return transaction;
}

void delta_transaction_free(struct delta_transaction **transaction)
{
    struct delta_transaction *self = *transaction;
    if (self == NULL) {
        return;
    }
    struct delta_state *state = (struct delta_state *)(uintptr_t)self->state;
    delta_state_release(&state);
    delta_actions_deinit(&self->actions);
    mem_free(self->operation);
    json_free(&self->parameters);
    json_free(&self->metrics);
    json_free(&self->extension);
    mem_free(self);
    *transaction = NULL;
}

const char *delta_transaction_id(const struct delta_transaction *transaction)
{
    return transaction->id.text;
}

void delta_transaction_set_group(struct delta_transaction *transaction, struct object_group *group)
{
    transaction->group = group;
}

void delta_transaction_add(struct delta_transaction *transaction, const struct delta_file *file)
{
    struct delta_file added = delta_file_fields(file);
    added.removed = false;
    added.deleted_ms = 0;
    assert(added.size >= 0);
    assert(delta_state_file_by_path(transaction->state, added.path) == NULL);
    delta_actions_add_file(&transaction->actions, delta_file_new(&added));
}

void delta_transaction_add_change_file(struct delta_transaction *transaction,
                                       const struct delta_file *file)
{
    const struct delta_file added = {
        .path = file->path,
        .partition_values = file->partition_values,
        .partition_values_count = file->partition_values_count,
        .size = file->size,
        .rows_count = -1,
        .base_row_id = -1,
        .default_row_commit_version = -1,
    };
    assert(added.size >= 0);
    delta_actions_add_change_file(&transaction->actions, delta_file_new(&added));
}

static void remove_file(struct delta_transaction *transaction, const struct delta_file *file,
                        bool data_change)
{
    struct delta_file removed = delta_file_fields(file);
    assert(delta_state_file_is_live(transaction->state, file));
    removed.removed = true;
    removed.data_change = data_change;
    removed.deleted_ms = transaction->now_ms;
    removed.stats = NULL; /* a remove needs none, and 200,000 tombstones may be kept */
    removed.tags = NULL;
    removed.tags_count = 0;
    removed.clustering_provider = NULL;
    delta_actions_add_file(&transaction->actions, delta_file_new(&removed));
}

void delta_transaction_remove(struct delta_transaction *transaction, const struct delta_file *file,
                              bool data_change)
{
    remove_file(transaction, file, data_change);
}

void delta_transaction_bring_back(struct delta_transaction *transaction,
                                  const struct delta_file *file)
{
    const struct delta_file *live = delta_state_file_by_path(transaction->state, file->path);
    if (live != NULL) {
        remove_file(transaction, live, true);
    }
    struct delta_file added = delta_file_fields(file);
    added.removed = false;
    added.deleted_ms = 0;
    added.data_change = true;
    delta_actions_add_file(&transaction->actions, delta_file_new(&added));
}

enum err_code delta_transaction_set_dv(struct delta_transaction *transaction,
                                       const struct delta_file *file, const struct delta_dv *dv,
                                       struct err *err)
{
    assert(delta_dv_is_present(dv));
    assert(dv->cardinality > 0);
    CLEANUP(buffer_deinit) struct buffer stats = {0};
    buffer_init(&stats, DELTA_STATS_BYTES_MAX);
    TRY(delta_stats_loosen(file->stats, &stats, err));
    buffer_append_byte(&stats, '\0');
    TRY(buffer_check(&stats, "a file's statistics", err));
    remove_file(transaction, file, true);
    struct delta_file added = delta_file_fields(file);
    added.removed = false;
    added.data_change = true;
    added.dv = *dv;
    added.stats = (const char *)stats.data;
    delta_actions_add_file(&transaction->actions, delta_file_new(&added));
    return ERR_OK;
}

void delta_transaction_set_txn(struct delta_transaction *transaction, const char *app_id,
                               int64_t version)
{
    assert(transaction->actions.txns_count == 0);
    delta_actions_add_txn(&transaction->actions,
                          delta_txn_new(app_id, version, transaction->now_ms));
}

void delta_transaction_set_metadata(struct delta_transaction *transaction,
                                    const struct delta_metadata *metadata)
{
    delta_actions_set_metadata(&transaction->actions, delta_metadata_new(metadata));
}

void delta_transaction_set_protocol(struct delta_transaction *transaction,
                                    const struct delta_protocol *protocol)
{
    delta_actions_set_protocol(&transaction->actions, delta_protocol_new(protocol));
}

void delta_transaction_set_operation(struct delta_transaction *transaction, const char *operation,
                                     struct json *parameters, struct json *metrics)
{
    mem_free(transaction->operation);
    json_free(&transaction->parameters);
    json_free(&transaction->metrics);
    transaction->operation = mem_copy_text(operation);
    transaction->parameters = parameters;
    transaction->metrics = metrics;
}

void delta_metric_set(struct json *metrics, const char *name, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)value); /* 20 digits at most */
    json_set_text(metrics, name, text);
}

void delta_transaction_set_extension(struct delta_transaction *transaction, struct json *extension)
{
    json_free(&transaction->extension);
    transaction->extension = extension;
}

const char *delta_conflict_name(enum delta_conflict conflict)
{
    static const char *const names[] = {
        [DELTA_CONFLICT_NONE] = "none",         [DELTA_CONFLICT_APPLIED] = "applied",
        [DELTA_CONFLICT_TXN] = "txn",           [DELTA_CONFLICT_PROTOCOL] = "protocol",
        [DELTA_CONFLICT_METADATA] = "metadata", [DELTA_CONFLICT_FILES] = "files",
        [DELTA_CONFLICT_ADDED] = "added",
    };
    return names[conflict];
}

void delta_commit_result_deinit(struct delta_commit_result *result)
{
    delta_state_release(&result->state);
    delta_commits_free(&result->winners);
    *result = (struct delta_commit_result){0};
}

/* ---- the bytes ---- */

/* Only adds, and nothing read: what other engines' conflict checks may rely on. */
static bool is_blind_append(const struct delta_actions *actions, enum delta_reads reads)
{
    for (size_t i = 0; i < actions->files_count; i++) {
        if (actions->files[i]->removed) {
            return false;
        }
    }
    return reads == DELTA_READS_NOTHING && actions->metadata == NULL && actions->protocol == NULL;
}

/* ---- what winners mean for us ---- */

/* The paths we remove or re-add, sorted, for the comparison with winners. */
struct touched {
    const char **paths; /* borrowed from the actions */
    size_t count;
};

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void touched_deinit(struct touched *touched)
{
    mem_free(touched->paths);
}

static struct touched find_touched(const struct delta_actions *actions)
{
    struct touched touched = {.paths = mem_zeroed(actions->files_count, sizeof *touched.paths)};
    for (size_t i = 0; i < actions->files_count; i++) {
        if (actions->files[i]->removed) {
            touched.paths[touched.count++] = actions->files[i]->path;
        }
    }
    if (touched.count > 1) {
        qsort(touched.paths, touched.count, sizeof *touched.paths, compare_paths);
    }
    return touched;
}

static bool is_touched(const struct touched *touched, const char *path)
{
    return touched->count > 0 && bsearch(&path, touched->paths, touched->count,
                                         sizeof *touched->paths, compare_paths) != NULL;
}

static enum delta_conflict check_txns(const struct delta_actions *ours,
                                      const struct delta_commit *winner)
{
    for (size_t i = 0; i < ours->txns_count; i++) {
        for (size_t j = 0; j < winner->txns_count; j++) {
            if (strcmp(ours->txns[i]->app_id, winner->txns[j]->app_id) == 0) {
                return winner->txns[j]->version >= ours->txns[i]->version ? DELTA_CONFLICT_APPLIED
                                                                          : DELTA_CONFLICT_TXN;
            }
        }
    }
    return DELTA_CONFLICT_NONE;
}

/*
 * spec: reference section 10.2, in its order, txn first: an applied batch is
 * applied whatever else changed. `before` is the state the winner committed on.
 */
static enum delta_conflict check_winner(const struct delta_transaction *transaction,
                                        const struct touched *touched,
                                        const struct delta_state *before,
                                        const struct delta_commit *winner)
{
    const struct delta_actions *ours = &transaction->actions;
    enum delta_conflict conflict = check_txns(ours, winner);
    if (conflict != DELTA_CONFLICT_NONE) {
        return conflict;
    }
    if (winner->protocol != NULL) {
        struct err err = {0};
        if (ours->protocol != NULL ||
            delta_protocol_check_write(winner->protocol, before->metadata, &err) != ERR_OK) {
            return DELTA_CONFLICT_PROTOCOL;
        }
    }
    if (winner->metadata != NULL &&
        (ours->metadata != NULL || !delta_metadata_equal(winner->metadata, before->metadata))) {
        return DELTA_CONFLICT_METADATA;
    }
    bool added = false;
    for (size_t i = 0; i < winner->files_count; i++) {
        if (is_touched(touched, winner->files[i]->path)) {
            return DELTA_CONFLICT_FILES;
        }
        added = added || !winner->files[i]->removed;
    }
    return added && transaction->reads == DELTA_READS_TABLE ? DELTA_CONFLICT_ADDED
                                                            : DELTA_CONFLICT_NONE;
}

/* ---- committing ---- */

/* One run of the commit loop. */
struct attempt {
    struct delta_transaction *transaction;
    struct delta_commit_result *result; /* state: the newest known, winners applied */
    struct touched touched;
    struct buffer bytes;
};

static void attempt_deinit(struct attempt *attempt)
{
    touched_deinit(&attempt->touched);
    buffer_deinit(&attempt->bytes);
}

static void keep_winner(struct delta_commit_result *result, const struct delta_commit *winner)
{
    struct delta_commits *winners = &result->winners;
    winners->items = mem_resize(winners->items, winners->count + 1, sizeof *winners->items);
    winners->items[winners->count++] = winner;
}

static enum err_code report_conflict(struct attempt *attempt, enum delta_conflict conflict,
                                     int64_t version, struct err *err)
{
    static const char *const meanings[] = {
        [DELTA_CONFLICT_NONE] = "",
        [DELTA_CONFLICT_APPLIED] = "has already applied this batch",
        [DELTA_CONFLICT_TXN] = "was written under our application id",
        [DELTA_CONFLICT_PROTOCOL] = "changed the protocol",
        [DELTA_CONFLICT_METADATA] = "changed the table's metadata",
        [DELTA_CONFLICT_FILES] = "changed a file that this commit changes",
        [DELTA_CONFLICT_ADDED] = "added rows that this commit must look at",
    };
    attempt->result->conflict = conflict;
    return err_set(err, ERR_CONFLICT, "version %lld %s", (long long)version, meanings[conflict]);
}

/* Take over the winner of the next version: apply it, and see whether we may go on. */
static enum err_code accept_winner(struct attempt *attempt, const struct delta_commit *winner,
                                   struct err *err)
{
    struct delta_commit_result *result = attempt->result;
    keep_winner(result, winner);
    enum delta_conflict conflict =
        check_winner(attempt->transaction, &attempt->touched, result->state, winner);
    struct delta_state *next = NULL;
    TRY(delta_state_apply(result->state, winner, -1, winner->bytes_count, &next, err));
    delta_state_release(&result->state);
    result->state = next;
    if (conflict != DELTA_CONFLICT_NONE && result->conflict == DELTA_CONFLICT_NONE) {
        return report_conflict(attempt, conflict, winner->version, err);
    }
    return ERR_OK;
}

/*
 * Read every commit after the state we know. All of them are taken over even
 * when an early one conflicts, so that the caller re-plans on the newest state.
 *   ours_out  set when a version turns out to be our own commit
 */
static enum err_code follow_winners(struct attempt *attempt, const struct delta_commit **ours_out,
                                    struct err *err)
{
    struct err conflict = {0};
    for (;;) {
        const struct delta_commit *winner = NULL;
        struct err reading = {0};
        enum err_code code = delta_commit_read(
            attempt->transaction->store, attempt->result->state->version + 1, &winner, &reading);
        if (code == ERR_NOT_FOUND) {
            break;
        }
        if (code != ERR_OK) {
            *err = reading;
            return code;
        }
        if (winner->txn_id != NULL && strcmp(winner->txn_id, attempt->transaction->id.text) == 0) {
            *ours_out = winner;
            return ERR_OK;
        }
        struct err now = {0};
        code = accept_winner(attempt, winner, &now);
        if (code == ERR_CONFLICT) {
            conflict = now;
        } else if (code != ERR_OK) {
            *err = now;
            return code;
        }
    }
    if (conflict.code != ERR_OK) {
        *err = conflict;
        return conflict.code;
    }
    return ERR_OK;
}

static uint32_t random_below(uint32_t bound)
{
    uint32_t value = 0;
    if (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value) {
        value = (uint32_t)clock_monotonic_us(); /* jitter needs no secrecy */
    }
    return bound > 0 ? value % bound : 0;
}

/* Full jitter: anything between nothing and the doubled step. */
static void back_off(int attempts)
{
    int doublings = attempts < BACKOFF_DOUBLINGS_MAX ? attempts : BACKOFF_DOUBLINGS_MAX;
    int64_t step_us = (int64_t)DELTA_COMMIT_BACKOFF_MIN_US << doublings;
    if (step_us > DELTA_COMMIT_BACKOFF_MAX_US) {
        step_us = DELTA_COMMIT_BACKOFF_MAX_US;
    }
    int64_t wait_us = random_below((uint32_t)step_us);
    const struct timespec wait = {.tv_sec = wait_us / 1000000,
                                  .tv_nsec = (long)(wait_us % 1000000) * 1000};
    (void)nanosleep(&wait, NULL); /* woken early is early enough */
}

/* Our commit is in the log as the version after result->state. */
static enum err_code finish(struct attempt *attempt, const struct delta_commit *commit,
                            struct err *err)
{
    struct delta_commit_result *result = attempt->result;
    struct delta_state *next = NULL;
    enum err_code code =
        delta_state_apply(result->state, commit, -1, commit->bytes_count, &next, err);
    assert(code == ERR_OK); /* checked before the put: protocol and metadata are ours to read */
    delta_state_release(&result->state);
    result->state = next;
    result->version = commit->version;
    result->hash = commit->hash;
    result->conflict = DELTA_CONFLICT_NONE;
    attempt->transaction->committed = true;
    return code;
}

static enum err_code finish_new(struct attempt *attempt, struct err *err)
{
    int64_t version = attempt->result->state->version + 1;
    const struct delta_commit *commit =
        delta_commit_new(version, buffer_span(&attempt->bytes), &attempt->transaction->actions);
    enum err_code code = finish(attempt, commit, err);
    delta_commit_release(&commit);
    return code;
}

/*
 * The store did not say how the put went. A store whose objects survive once
 * they can be read answers by being read; with a local folder a failed fsync
 * leaves nothing to be trusted, and the process must stop.
 */
static enum err_code resolve_ambiguous(struct attempt *attempt, const struct err *cause,
                                       struct err *err)
{
    if (!object_store_read_back_is_durable(attempt->transaction->store)) {
        *err = *cause;
        return err_wrap(err, "the outcome of the commit is unknown");
    }
    return ERR_OK;
}

/* The objects that the entry refers to become durable with the first attempt. */
static enum err_code put(struct attempt *attempt, const char *name, struct err *err)
{
    struct delta_transaction *transaction = attempt->transaction;
    struct object_group *group = transaction->group;
    transaction->group = NULL;
    if (group != NULL) {
        return object_group_publish(group, name, buffer_span(&attempt->bytes), err);
    }
    return object_put_if_absent(transaction->store, name, buffer_span(&attempt->bytes), err);
}

/* Put the bytes at the version after the newest known. *done_out: our commit is in the log. */
static enum err_code try_once(struct attempt *attempt, bool *done_out, struct err *err)
{
    char name[DELTA_LOG_NAME_BYTES];
    struct err putting = {0};
    int64_t started_us = clock_monotonic_us();
    delta_log_commit_name(attempt->result->state->version + 1, name);
    attempt->result->attempts++;
    enum err_code code = put(attempt, name, &putting);
    attempt->result->commit_us = clock_monotonic_us() - started_us;
    if (code == ERR_OK) {
        *done_out = true;
        return finish_new(attempt, err);
    }
    if (code == ERR_IO) {
        TRY(resolve_ambiguous(attempt, &putting, err));
    } else if (code != ERR_EXISTS) {
        *err = putting;
        return code;
    }
    const struct delta_commit *ours = NULL;
    code = follow_winners(attempt, &ours, err);
    if (ours != NULL) {
        *done_out = true;
        code = finish(attempt, ours, err);
        delta_commit_release(&ours);
    }
    return code;
}

static enum err_code check_writable(const struct delta_transaction *transaction, struct err *err)
{
    const struct delta_actions *actions = &transaction->actions;
    const struct delta_metadata *metadata =
        actions->metadata != NULL ? actions->metadata : transaction->state->metadata;
    const struct delta_protocol *protocol =
        actions->protocol != NULL ? actions->protocol : transaction->state->protocol;
    TRY(delta_protocol_check_write(protocol, metadata, err));
    /* a change of protocol must not hide what the present one forbids */
    TRY(delta_protocol_check_write(transaction->state->protocol, transaction->state->metadata,
                                   err));
    if (!delta_metadata_flag(metadata, "delta.appendOnly", false)) {
        return ERR_OK;
    }
    for (size_t i = 0; i < actions->files_count; i++) {
        if (actions->files[i]->removed && actions->files[i]->data_change) {
            return err_set(err, ERR_INVALID,
                           "the table is append-only (delta.appendOnly): rows cannot be removed");
        }
    }
    return ERR_OK;
}

/* The txn is in the state we read: somebody forgot to look, or a replay is late. */
static enum err_code check_not_applied(struct attempt *attempt, struct err *err)
{
    const struct delta_actions *actions = &attempt->transaction->actions;
    for (size_t i = 0; i < actions->txns_count; i++) {
        int64_t version = 0;
        if (delta_state_txn(attempt->transaction->state, actions->txns[i]->app_id, &version) &&
            version >= actions->txns[i]->version) {
            return report_conflict(attempt, DELTA_CONFLICT_APPLIED,
                                   attempt->transaction->state->version, err);
        }
    }
    return ERR_OK;
}

static enum err_code make_transaction_info(struct delta_transaction *transaction, struct err *err)
{
    const struct commit_info_parts parts = {
        .timestamp_ms = transaction->now_ms,
        .operation = transaction->operation,
        .parameters = transaction->parameters,
        .metrics = transaction->metrics,
        .extension = transaction->extension,
        .txn_id = transaction->id.text,
        .read_version = transaction->state->version,
        .blind_append = is_blind_append(&transaction->actions, transaction->reads),
    };
    return commit_info_set(&transaction->actions, &parts, err);
}

static void leave_out_txn(struct delta_actions *actions)
{
    for (size_t i = 0; i < actions->txns_count; i++) {
        delta_txn_release(&actions->txns[i]);
    }
    actions->txns_count = 0;
}

static enum err_code run_attempts(struct attempt *attempt, struct err *err)
{
    bool done = false;
    while (attempt->result->attempts < DELTA_COMMIT_ATTEMPTS_MAX) {
        if (attempt->result->attempts > 0) {
            back_off(attempt->result->attempts);
        }
        TRY(try_once(attempt, &done, err));
        if (done) {
            return ERR_OK;
        }
    }
    return err_set(err, ERR_BUSY, "lost %d races for the next version; try again later",
                   attempt->result->attempts);
}

enum err_code delta_transaction_commit(struct delta_transaction *transaction,
                                       struct delta_commit_result *result_out, struct err *err)
{
    assert(!transaction->committed);
    assert(transaction->actions.info.text == NULL);
    *result_out = (struct delta_commit_result){.state = delta_state_acquire(transaction->state),
                                               .version = -1};
    CLEANUP(attempt_deinit)
    struct attempt attempt = {.transaction = transaction, .result = result_out};
    TRY(check_writable(transaction, err));
    TRY(check_not_applied(&attempt, err));
    if (FAULT_SKIP("delta.commit.no-txn")) {
        leave_out_txn(&transaction->actions);
    }
    attempt.touched = find_touched(&transaction->actions);
    TRY(make_transaction_info(transaction, err));
    TRY(commit_encode(&transaction->actions, &attempt.bytes, err));
    if (FAULT("delta.commit.before-log")) {
        return err_set(err, ERR_IO, "planted fault before the log entry");
    }
    TRY(run_attempts(&attempt, err));
    if (FAULT("delta.commit.after-log")) {
        return err_set(err, ERR_IO, "planted fault after the log entry");
    }
    return ERR_OK;
}
