/*
 * Merging batches into a table: plan, write, commit, publish, and again when a
 * foreign writer was faster. See table.h for the rules and contracts.
 */
#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/mem.h"
#include "storage/delta/transaction.h"
#include "storage/object/object.h"
#include "storage/snapshot/merge_work.h"
#include "storage/snapshot/outcome.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

/* What one call of table_merge carries from attempt to attempt. */
struct merge {
    struct table *table;
    const struct merge_input *inputs;
    size_t inputs_count;
    int64_t now_us;
    struct merge_outcome *outcome;
};

static int64_t highest_position(const struct merge *merge)
{
    return merge->inputs[merge->inputs_count - 1].position;
}

static const char *operation_name(const struct snapshot *snapshot)
{
    return snapshot->schema->merge == TABLE_APPEND ? "WRITE" : "MERGE";
}

/* ---- committing ---- */

static void describe(const struct merge_work *work, struct delta_transaction *transaction,
                     struct json **extension)
{
    struct json *metrics = json_new_object();
    int64_t written = 0;
    for (size_t i = 0; i < work->outputs_count; i++) {
        written += work->outputs[i].rows_count;
    }
    delta_metric_set(metrics, "numOutputRows", written);
    delta_metric_set(metrics, "numTargetRowsInserted", (int64_t)work->plan.puts_count);
    delta_metric_set(metrics, "numTargetRowsDeleted", (int64_t)work->plan.marks_count);
    delta_metric_set(metrics, "numTargetFilesAdded", (int64_t)work->outputs_count);
    delta_transaction_set_operation(transaction, operation_name(work->snapshot), NULL, metrics);
    delta_transaction_set_extension(transaction, *extension);
    *extension = NULL;
}

/* Tombstones and the outcome: durable before the commit that names them. */
static enum err_code write_private(const struct merge *merge, struct merge_work *work,
                                   const char *txn_id, struct tombstones_change *change,
                                   struct json **extension_out, struct err *err)
{
    struct table *table = merge->table;
    bool tombstones_written = false;
    bool outcome_written = false;
    int64_t horizon_us = table_tombstone_horizon_us(work->snapshot->schema, merge->now_us);
    TRY(tombstones_write(&table->tombstones, table->store, work->plan.tombstones,
                         work->plan.tombstones_count, horizon_us, change, &tombstones_written,
                         err));
    TRY(outcome_encode(table->store, txn_id, table->app_id, merge->inputs, work->plan.outcomes,
                       merge->inputs_count, change->files, change->files_count, extension_out,
                       &outcome_written, err));
    if (tombstones_written || outcome_written) {
        TRY(object_sync(table->store, TABLE_PRIVATE_FOLDER, err));
    }
    return ERR_OK;
}

static enum err_code commit(const struct merge *merge, struct merge_work *work,
                            struct tombstones_change *change, struct delta_commit_result *result,
                            struct err *err)
{
    struct table *table = merge->table;
    bool append = work->snapshot->schema->key_count == 0;
    CLEANUP(delta_transaction_free)
    struct delta_transaction *transaction = delta_transaction_begin(
        work->snapshot->state, table->store, append ? DELTA_READS_NOTHING : DELTA_READS_TABLE);
    CLEANUP(json_free) struct json *extension = NULL;
    TRY(write_private(merge, work, delta_transaction_id(transaction), change, &extension, err));
    TRY(merge_work_stage(work, transaction, err));
    delta_transaction_set_group(transaction, work->group);
    if (!FAULT_SKIP("merge.txn")) {
        delta_transaction_set_txn(transaction, table->app_id, highest_position(merge));
    }
    describe(work, transaction, &extension);
    if (FAULT("merge.before-commit")) {
        return err_set(err, ERR_IO, "planted fault before the commit");
    }
    TRY(delta_transaction_commit(transaction, result, err));
    if (FAULT("merge.after-commit")) {
        return err_set(err, ERR_IO, "planted fault after the commit");
    }
    return ERR_OK;
}

/* ---- publishing ---- */

/* The list of files after the commit. Vectors and images move into it. */
static void update_files(struct merge_work *work, const struct delta_state *state,
                         struct file_list *list)
{
    file_list_copy(list, work->snapshot);
    for (size_t i = 0; i < work->touched_count; i++) {
        struct touched *touched = &work->touched[i];
        if (touched->emptied || touched->rewritten) {
            file_list_remove(list, touched->file->number);
            continue;
        }
        const struct delta_file *file = delta_state_file_by_path(state, touched->file->file->path);
        assert(file != NULL);
        struct shared_vector *vector = shared_vector_new(&touched->vector);
        file_list_set_vector(list, touched->file->number, file, &vector);
    }
    for (size_t i = 0; i < work->outputs_count; i++) {
        struct output *output = &work->outputs[i];
        if (output->rows_count == 0) {
            continue;
        }
        const struct delta_file *file = delta_state_file_by_path(state, output->path);
        assert(file != NULL);
        file_list_add(list, output->number, file, &output->images, &output->vector);
    }
}

static enum err_code publish(const struct merge *merge, struct merge_work *work,
                             const struct delta_state *state, struct err *err)
{
    struct table *table = merge->table;
    CLEANUP(file_list_deinit) struct file_list list = {0};
    update_files(work, state, &list);
    CLEANUP(index_view_release) struct index_view *view = NULL;
    if (work->snapshot->index != NULL) {
        view = index_view_copy(work->snapshot->index);
        index_view_add_all(view, work->runs);
        TRY(table_fold_runs(table, view, err));
    }
    table_publish(table, work->snapshot->schema, state, &list, view);
    return ERR_OK;
}

/*
 * The version is in the log: what follows may be slow but not fail. Should it
 * fail all the same (an index that cannot be extended in memory), the table
 * catches up by reading what it wrote.
 */
static enum err_code after_commit(const struct merge *merge, struct merge_work *work,
                                  struct tombstones_change *change,
                                  const struct delta_commit_result *result, struct err *err)
{
    struct table *table = merge->table;
    tombstones_apply(&table->tombstones, change, work->plan.tombstones, work->plan.tombstone_hashes,
                     work->plan.tombstones_count);
    table_remember(table, result->version, result->hash, merge->inputs[0].position);
    (void)__atomic_fetch_add(&table->duplicates, work->plan.duplicates_count,
                             __ATOMIC_RELAXED); /* a counter */
    table_note_backlog(table, (int64_t)work->outputs_count);
    bool ours_alone = result->version == work->snapshot->version + 1;
    if (ours_alone && merge_work_index(work, err) == ERR_OK &&
        publish(merge, work, result->state, err) == ERR_OK) {
        return ERR_OK;
    }
    err_clear(err);
    return table_follow(table, work->snapshot->schema, result->state, false, err);
}

/* ---- one attempt ---- */

static void report(const struct merge *merge, struct merge_work *work, int64_t version)
{
    struct merge_outcome *outcome = merge->outcome;
    outcome->version = version;
    outcome->committed = true;
    outcome->rows_added = (int64_t)work->plan.puts_count;
    outcome->rows_removed = (int64_t)work->plan.marks_count;
    outcome->files_touched = (int64_t)work->touched_count;
    outcome->batches_count = work->plan.outcomes_count;
    outcome->batches = work->plan.outcomes;
    work->plan.outcomes = NULL;
    work->plan.outcomes_count = 0;
    for (size_t i = 0; i < outcome->batches_count; i++) {
        if (!outcome->batches[i].already) {
            outcome->batches[i].version = version;
        }
    }
}

/* ERR_CONFLICT: nothing was committed, look at the table again. */
static enum err_code execute(const struct merge *merge, struct merge_work *work, struct err *err)
{
    int64_t started_us = clock_monotonic_us();
    enum err_code code = merge_work_write(work, err);
    int64_t written_us = clock_monotonic_us();
    CLEANUP(tombstones_change_deinit) struct tombstones_change change = {0};
    CLEANUP(delta_commit_result_deinit) struct delta_commit_result result = {0};
    if (code == ERR_OK) {
        code = commit(merge, work, &change, &result, err);
    }
    if (code != ERR_OK) {
        if (code != ERR_IO) { /* then it may be in the log and its files in use */
            merge_work_discard(work);
        }
        return code;
    }
    int64_t committed_us = clock_monotonic_us();
    TRY(after_commit(merge, work, &change, &result, err));
    report(merge, work, result.version);
    merge->outcome->write_us = written_us - started_us;
    merge->outcome->commit_us = committed_us - written_us;
    merge->outcome->publish_us = clock_monotonic_us() - committed_us;
    return ERR_OK;
}

static enum err_code plan_on(const struct merge *merge, struct merge_work *work, struct err *err)
{
    struct table *table = merge->table;
    const struct snapshot *snapshot = work->snapshot;
    int64_t applied = 0;
    if (!delta_state_txn(snapshot->state, table->app_id, &applied)) {
        applied = 0;
    }
    struct plan_request request = {
        .snapshot = snapshot,
        .tombstones = &table->tombstones,
        .tombstone_horizon_us = table_tombstone_horizon_us(snapshot->schema, merge->now_us),
        .now_us = merge->now_us,
        .hash_key = table->hash_key,
        .inputs = merge->inputs,
        .inputs_count = merge->inputs_count,
        .applied_position = applied,
    };
    return plan_make(&request, &work->plan, err);
}

/* Nothing is left to be merged when all batches were there before. */
static bool is_all_there(const struct plan *plan)
{
    for (size_t i = 0; i < plan->outcomes_count; i++) {
        if (!plan->outcomes[i].already) {
            return false;
        }
    }
    return true;
}

static enum err_code attempt(void *arg, struct err *err)
{
    const struct merge *merge = arg;
    int64_t started_us = clock_monotonic_us();
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(merge->table);
    CLEANUP(merge_work_deinit) struct merge_work work;
    merge_work_init(&work, merge->table, snapshot, merge->inputs, merge->inputs_count);
    TRY(plan_on(merge, &work, err));
    merge->outcome->plan_us = clock_monotonic_us() - started_us;
    if (is_all_there(&work.plan)) {
        report(merge, &work, snapshot->version);
        merge->outcome->committed = false;
        return ERR_OK;
    }
    return execute(merge, &work, err);
}

/* Batches that were there before: what became of them then. */
static enum err_code recall(const struct merge *merge, struct err *err)
{
    size_t count = 0; /* they come first: all up to one position are there */
    while (count < merge->outcome->batches_count && merge->outcome->batches[count].already) {
        count++;
    }
    if (count == 0) {
        return ERR_OK;
    }
    CLEANUP(mem_cleanup) int64_t *positions = mem_zeroed(count, sizeof *positions);
    for (size_t i = 0; i < count; i++) {
        positions[i] = merge->inputs[i].position;
        merge_batch_outcome_deinit(&merge->outcome->batches[i]);
    }
    return table_outcomes_read(merge->table, positions, count, merge->outcome->batches, err);
}

static void check_inputs(const struct merge_input *inputs, size_t count)
{
    assert(count > 0);
    assert(count <= MERGE_BATCHES_MAX);
    int64_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        assert(inputs[i].position > 0);
        assert(i == 0 || inputs[i].position > inputs[i - 1].position);
        assert(inputs[i].order_position <= inputs[i].position);
        assert(inputs[i].rows_count >= 0);
        assert(inputs[i].row_first >= 0);
        assert(inputs[i].row_first + inputs[i].rows_count <= inputs[i].frame->rows_count);
        rows += inputs[i].rows_count;
    }
    assert(count == 1 || rows <= MERGE_ROWS_MAX);
}

enum err_code table_merge(struct table *table, const struct merge_input *inputs,
                          size_t inputs_count, struct merge_outcome *outcome_out, struct err *err)
{
    check_inputs(inputs, inputs_count);
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    CLEANUP(merge_outcome_deinit) struct merge_outcome outcome = {0};
    struct merge merge = {.table = table,
                          .inputs = inputs,
                          .inputs_count = inputs_count,
                          .now_us = clock_wall_us(),
                          .outcome = &outcome};
    TRY(table_write_attempts(table, attempt, &merge, err));
    TRY(recall(&merge, err));
    *outcome_out = outcome;
    outcome = (struct merge_outcome){0};
    return ERR_OK;
}
