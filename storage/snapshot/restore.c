/*
 * Restoring an earlier version. See restore.h.
 */
#include "storage/snapshot/restore.h"

#include "storage/base/fault.h"
#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/delta/table_files.h"
#include "storage/delta/transaction.h"
#include "storage/object/object.h"
#include "storage/snapshot/outcome.h"
#include "storage/snapshot/table_internal.h"

#include <inttypes.h>

struct restore {
    struct table *table;
    int64_t target; /* version */
    const char *key;
    struct restore_result *result;
};

/* ---- what is there to restore ---- */

static enum err_code check_vector(const struct restore *restore, const struct delta_file *file,
                                  struct err *err)
{
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
    if (!delta_dv_is_present(&file->dv)) {
        return ERR_OK;
    }
    return deletion_vector_read(restore->table->store, &file->dv, file->rows_count, &vector, err);
}

/* A commit that names a file which is gone would break the table. */
static enum err_code check_file(const struct restore *restore, const struct delta_file *file,
                                struct err *err)
{
    CLEANUP(mem_cleanup) char *name = NULL;
    int64_t size = 0;
    int64_t modified_ms = 0;
    TRY(delta_path_decode(restore->table->store, file->path, &name, err));
    enum err_code code = object_stat(restore->table->store, name, &size, &modified_ms, err);
    if (code == ERR_OK) {
        code = check_vector(restore, file, err);
    }
    if (code == ERR_NOT_FOUND) {
        return err_wrap(err,
                        "version %" PRId64 " cannot be restored: a vacuum has removed files of it; "
                        "choose a later version",
                        restore->target);
    }
    return code;
}

static enum err_code bring_back(const struct restore *restore, const struct delta_state *now,
                                const struct delta_state *then,
                                struct delta_transaction *transaction, struct err *err)
{
    const struct delta_file *file = NULL;
    for (struct delta_cursor at = {0}; (file = delta_state_next_file(then, &at)) != NULL;) {
        const struct delta_file *live = delta_state_file_by_path(now, file->path);
        if (live != NULL && delta_dv_equal(&live->dv, &file->dv)) {
            continue;
        }
        TRY(check_file(restore, file, err));
        delta_transaction_bring_back(transaction, file);
        restore->result->files_added++;
        restore->result->files_removed += live != NULL;
    }
    return ERR_OK;
}

static void take_away(const struct restore *restore, const struct delta_state *now,
                      const struct delta_state *then, struct delta_transaction *transaction)
{
    const struct delta_file *file = NULL;
    for (struct delta_cursor at = {0}; (file = delta_state_next_file(now, &at)) != NULL;) {
        if (delta_state_file_by_path(then, file->path) == NULL) {
            delta_transaction_remove(transaction, file, true);
            restore->result->files_removed++;
        }
    }
}

/* ---- the commit ---- */

static enum err_code describe(const struct restore *restore, const struct delta_state *then,
                              struct delta_transaction *transaction, struct err *err)
{
    struct table *table = restore->table;
    struct json *extension = NULL;
    bool written = false;
    TRY(outcome_encode(table->store, delta_transaction_id(transaction), table->app_id, NULL, NULL,
                       0, table->tombstones.files, table->tombstones.files_count, &extension,
                       &written, err));
    struct json *parameters = json_new_object();
    struct json *metrics = json_new_object();
    delta_metric_set(parameters, "version", restore->target);
    delta_metric_set(metrics, "numRestoredFiles", restore->result->files_added);
    delta_metric_set(metrics, "numRemovedFiles", restore->result->files_removed);
    delta_metric_set(metrics, "numOfFilesAfterRestore", then->files_count);
    delta_metric_set(metrics, "tableSizeAfterRestore", then->files_bytes);
    delta_transaction_set_operation(transaction, "RESTORE", parameters, metrics);
    delta_transaction_set_extension(transaction, extension);
    if (restore->key != NULL) {
        delta_transaction_set_txn(transaction, restore->key, 1);
    }
    return ERR_OK;
}

static enum err_code commit(const struct restore *restore, const struct snapshot *current,
                            const struct delta_state *then, struct err *err)
{
    struct table *table = restore->table;
    CLEANUP(delta_transaction_free)
    struct delta_transaction *transaction =
        delta_transaction_begin(current->state, table->store, DELTA_READS_TABLE);
    restore->result->files_added = 0;
    restore->result->files_removed = 0;
    take_away(restore, current->state, then, transaction);
    TRY(bring_back(restore, current->state, then, transaction, err));
    restore->result->version = current->version;
    restore->result->rows_count = then->rows_unknown_files_count > 0 ? -1 : then->rows_count;
    if (restore->result->files_added + restore->result->files_removed == 0) {
        return ERR_OK;
    }
    TRY(describe(restore, then, transaction, err));
    CLEANUP(delta_commit_result_deinit) struct delta_commit_result result = {0};
    if (FAULT("restore.before-commit")) {
        return err_set(err, ERR_NO_SPACE, "planted fault before the commit");
    }
    TRY(delta_transaction_commit(transaction, &result, err));
    if (FAULT("restore.after-commit")) {
        return err_set(err, ERR_IO, "planted fault after the commit");
    }
    restore->result->committed = true;
    restore->result->version = result.version;
    table_remember(table, result.version, result.hash, -1);
    return table_follow(table, current->schema, result.state, false, err);
}

static bool is_done(const struct restore *restore, const struct snapshot *current)
{
    int64_t version = 0;
    return restore->key != NULL && delta_state_txn(current->state, restore->key, &version);
}

static enum err_code attempt(void *arg, struct err *err)
{
    const struct restore *restore = arg;
    struct table *table = restore->table;
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    if (is_done(restore, current)) {
        restore->result->version = current->version;
        restore->result->rows_count =
            current->state->rows_unknown_files_count > 0 ? -1 : current->state->rows_count;
        return ERR_OK;
    }
    if (restore->target > current->version) {
        return err_set(err, ERR_NOT_FOUND,
                       "there is no version %" PRId64 "; the newest is %" PRId64, restore->target,
                       current->version);
    }
    CLEANUP(delta_state_release) struct delta_state *then = NULL;
    TRY(delta_state_load_version(table->store, restore->target, &then, err));
    return commit(restore, current, then, err);
}

enum err_code table_restore(struct table *table, int64_t version, const char *key,
                            struct restore_result *result_out, struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    struct restore_result result = {.rows_count = -1};
    struct restore restore = {.table = table, .target = version, .key = key, .result = &result};
    TRY(table_write_attempts(table, attempt, &restore, err));
    *result_out = result;
    return ERR_OK;
}
