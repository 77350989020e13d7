/*
 * The table handle: its life, the published snapshot, older versions, the
 * definition, checkpoints and statistics. Merging is merge.c, following the log
 * follow.c, opening table_open.c.
 */
#include "storage/snapshot/table.h"

#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/mem.h"
#include "storage/delta/checkpoint.h"
#include "storage/delta/transaction.h"
#include "storage/delta/version_checksum.h"
#include "storage/object/object.h"
#include "storage/parquet/writer.h"
#include "storage/snapshot/constraint_rows.h"
#include "storage/snapshot/definition.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

enum {
    CHECKPOINT_COMMITS = 100, /* since the last one */
    /* Whoever reads a table that rests should not have to read so many commits one by one. */
    CHECKPOINT_COMMITS_RESTING = 10,
    CHECKPOINT_RESTING_MS = 1000, /* since the last commit */
    CHECKPOINT_LOG_BYTES = 16 << 20,
    CHECKPOINT_AGE_MS = 10 * 60 * 1000, /* when there was any commit since */
    /* A checkpoint is written whole, every removed file of the last hour at least: so many times
     * what it was last must have come in log since. With half of it, a table under 57 merges a
     * second spent an eighth of a core on them. */
    CHECKPOINT_GROWTH = 2,
};

/* ---- life ---- */

struct table *table_acquire(struct table *table)
{
    int before = __atomic_fetch_add(&table->references, 1, __ATOMIC_RELAXED);
    assert(before > 0);
    return table;
}

static void table_free(struct table *table)
{
    for (size_t i = 0; i < TABLE_HISTORIC_MAX; i++) {
        snapshot_release(&table->historic[i]);
    }
    published_deinit(&table->current);
    own_commits_close(&table->own);
    stored_index_deinit(&table->stored);
    mem_free(table->dropped);
    tombstones_deinit(&table->tombstones);
    parquet_writer_context_free(&table->writer);
    store_owner_release(&table->owner);
    lock_deinit(&table->commit);
    lock_deinit(&table->historic_lock);
    lock_deinit(&table->index_files_lock);
    wake_deinit(&table->maintenance_wake);
    lock_deinit(&table->maintenance_lock);
    mem_free(table->name);
    mem_free(table->folder);
    mem_free(table->index_folder);
    mem_free(table);
}

void table_release(struct table **table)
{
    struct table *released = *table;
    *table = NULL;
    if (released != NULL && __atomic_sub_fetch(&released->references, 1, __ATOMIC_ACQ_REL) == 0) {
        table_free(released);
    }
}

const char *table_name(const struct table *table)
{
    return table->name;
}

const struct id *table_uuid(const struct table *table)
{
    return &table->uuid;
}

struct object_store *table_store(const struct table *table)
{
    return table->store;
}

struct schema *table_schema(struct table *table)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    return schema_acquire(snapshot->schema);
}

/* ---- snapshots ---- */

const struct snapshot *table_snapshot(struct table *table)
{
    return published_acquire(&table->current);
}

int64_t table_version(struct table *table)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    return snapshot->version;
}

enum err_code snapshot_build_historic(const struct id *uuid, const struct schema *schema,
                                      const struct delta_state *state, struct store_owner *owner,
                                      const struct snapshot **snapshot_out, struct err *err)
{
    CLEANUP(file_list_deinit) struct file_list files = {0};
    const struct delta_file *file = NULL;
    struct delta_cursor cursor = {0};
    while ((file = delta_state_next_file(state, &cursor)) != NULL) {
        struct shared_vector *vector = NULL;
        struct images *none = NULL;
        TRY(table_load_vector(owner->store, file, &vector, err));
        file_list_add(&files, 0, file, &none, &vector);
    }
    struct snapshot_parts parts = {
        .table = uuid, .schema = schema, .state = state, .owner = owner, .files = &files};
    *snapshot_out = snapshot_new(&parts);
    return ERR_OK;
}

/* A cached snapshot of `version`, moved to the front; NULL when there is none. */
static const struct snapshot *find_historic(struct table *table, int64_t version)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->historic_lock);
    for (size_t i = 0; i < TABLE_HISTORIC_MAX; i++) {
        const struct snapshot *found = table->historic[i];
        if (found != NULL && found->version == version) {
            memmove(table->historic + 1, table->historic, i * sizeof table->historic[0]);
            table->historic[0] = found;
            return snapshot_acquire(found);
        }
    }
    return NULL;
}

static void keep_historic(struct table *table, const struct snapshot *snapshot)
{
    const struct snapshot *evicted = NULL;
    lock_take(&table->historic_lock);
    evicted = table->historic[TABLE_HISTORIC_MAX - 1];
    memmove(table->historic + 1, table->historic,
            (TABLE_HISTORIC_MAX - 1) * sizeof table->historic[0]);
    table->historic[0] = snapshot_acquire(snapshot);
    lock_drop(&table->historic_lock);
    snapshot_release(&evicted);
}

static enum err_code load_historic(struct table *table, const struct snapshot *current,
                                   int64_t version, const struct snapshot **snapshot_out,
                                   struct err *err)
{
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(delta_state_load_version(table->store, version, &state, err));
    TRY(definition_at(current->schema, state->metadata, &schema, err));
    TRY(snapshot_build_historic(&table->uuid, schema, state, table->owner, snapshot_out, err));
    keep_historic(table, *snapshot_out);
    return ERR_OK;
}

enum err_code table_snapshot_at_version(struct table *table, int64_t version,
                                        const struct snapshot **snapshot_out, struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    if (version == current->version) {
        *snapshot_out = snapshot_acquire(current);
        return ERR_OK;
    }
    if (version < 0 || version > current->version) {
        return err_set(err, ERR_NOT_FOUND, "table '%s' has no version %lld; the newest is %lld",
                       table->name, (long long)version, (long long)current->version);
    }
    const struct snapshot *found = find_historic(table, version);
    if (found != NULL) {
        *snapshot_out = found;
        return ERR_OK;
    }
    if (load_historic(table, current, version, snapshot_out, err) != ERR_OK) {
        return err_wrap(err, "table '%s' version %lld", table->name, (long long)version);
    }
    return ERR_OK;
}

enum err_code table_snapshot_at_time(struct table *table, int64_t timestamp_ms,
                                     const struct snapshot **snapshot_out, struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    if (timestamp_ms >= current->timestamp_ms) {
        *snapshot_out = snapshot_acquire(current);
        return ERR_OK;
    }
    int64_t version = 0;
    if (delta_state_version_at(table->store, timestamp_ms, &version, err) != ERR_OK) {
        return err_wrap(err, "table '%s'", table->name);
    }
    return table_snapshot_at_version(table, version, snapshot_out, err);
}

/* ---- the definition ---- */

/* The definition, with its columns where the log lacks some, as a metadata commit. */
static enum err_code commit_definition(struct table *table, const struct snapshot *current,
                                       const struct schema *next, bool columns,
                                       struct delta_commit_result *result, struct err *err)
{
    CLEANUP(delta_metadata_release) const struct delta_metadata *metadata = NULL;
    TRY(definition_metadata(current->state->metadata, next, columns, &metadata, err));
    if (delta_protocol_check_write(current->state->protocol, metadata, err) != ERR_OK) {
        err->code = ERR_CONFLICT; /* such as a condition of another engine on a dropped column */
        return err_wrap(err, "the changed table could not be written any more");
    }
    CLEANUP(delta_transaction_free)
    struct delta_transaction *transaction =
        delta_transaction_begin(current->state, table->store, DELTA_READS_NOTHING);
    delta_transaction_set_metadata(transaction, metadata);
    unsigned needs = definition_needs_of(next, metadata);
    if (!delta_protocol_meets(current->state->protocol, needs)) {
        CLEANUP(delta_protocol_release)
        const struct delta_protocol *protocol =
            delta_protocol_extend(current->state->protocol, needs);
        delta_transaction_set_protocol(transaction, protocol);
    }
    delta_transaction_set_operation(transaction, columns ? "CHANGE COLUMNS" : "SET TBLPROPERTIES",
                                    NULL, NULL);
    if (FAULT("definition.commit")) {
        return err_set(err, ERR_NO_SPACE, "planted fault before the commit");
    }
    TRY(delta_transaction_commit(transaction, result, err));
    table_remember(table, result->version, result->hash, -1);
    return ERR_OK;
}

enum err_code table_write_definition(struct table *table, const struct schema *next,
                                     struct err *err)
{
    bool changed = false;
    TRY(table_catch_up(table, next, &changed, err));
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    if (current->schema != next && current->schema->version >= next->version) {
        return err_set(err, ERR_PRECONDITION,
                       "the definition was changed meanwhile; read it again");
    }
    if (definition_logged_version(current->state->metadata) >= next->version) {
        return ERR_OK;
    }
    bool differs = false;
    CLEANUP(schema_release) struct schema *mapped = NULL;
    TRY(definition_adopt(next, current->state->metadata, &mapped, err));
    const struct schema *before = next->version > current->schema->version ? current->schema : NULL;
    TRY(table_check_columns(mapped, before, current->state->metadata, &differs, err));
    CLEANUP(delta_commit_result_deinit) struct delta_commit_result result = {0};
    TRY(commit_definition(table, current, mapped, differs, &result, err));
    return table_follow_definition(table, mapped, result.state, err);
}

enum err_code table_change_schema(struct table *table, const struct schema *next, struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    bool changed = false;
    enum err_code code = table_catch_up(table, next, &changed, err);
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    if (code == ERR_OK) {
        code = constraint_rows_check(current, next, err);
    }
    if (code == ERR_OK) {
        code = table_write_definition(table, next, err);
    }
    return code == ERR_OK ? ERR_OK : err_wrap(err, "table '%s'", table->name);
}

/* ---- checkpoints ---- */

bool table_checkpoint_is_due(struct table *table, int64_t now_ms)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    int64_t commits = snapshot->version - snapshot->state->checkpoint_version;
    int64_t at_ms = __atomic_load_n(&table->checkpoint_at_ms, __ATOMIC_RELAXED);
    int64_t last_bytes = __atomic_load_n(&table->checkpoint_bytes, __ATOMIC_RELAXED);
    int64_t log_bytes = snapshot->state->log_bytes;
    bool rests = now_ms - snapshot->timestamp_ms >= CHECKPOINT_RESTING_MS;
    bool many = commits >= CHECKPOINT_COMMITS || log_bytes >= CHECKPOINT_LOG_BYTES ||
                (rests && commits >= CHECKPOINT_COMMITS_RESTING);
    return (many && log_bytes / CHECKPOINT_GROWTH >= last_bytes) ||
           (commits > 1 && now_ms - at_ms >= CHECKPOINT_AGE_MS);
}

/* Publish the same version with the checkpoint noted in its state. */
static void note_checkpoint(struct table *table, int64_t version)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    CLEANUP(delta_state_release)
    struct delta_state *state = delta_state_after_checkpoint(current->state, version);
    struct file_list files;
    file_list_copy(&files, current);
    struct index_view *view = (struct index_view *)(uintptr_t)current->index; /* shared again */
    table_publish(table, current->schema, state, &files, view);
}

enum err_code table_checkpoint(struct table *table, const struct delta_checkpoint_options *options,
                               struct delta_checkpoint_result *result_out, struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    if (delta_checkpoint_write(table->store, snapshot->state, options, result_out, err) != ERR_OK) {
        return err_wrap(err, "table '%s': checkpoint of version %lld", table->name,
                        (long long)snapshot->version);
    }
    note_checkpoint(table, snapshot->version);
    __atomic_store_n(&table->checkpoint_at_ms, options->now_ms, __ATOMIC_RELAXED);
    __atomic_store_n(&table->checkpoint_bytes, result_out->file_bytes, __ATOMIC_RELAXED);
    return ERR_OK;
}

void table_write_checksum(struct table *table)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    struct err unwritten = {0};
    if (__atomic_load_n(&table->checksum_version, __ATOMIC_RELAXED) == snapshot->version) {
        return;
    }
    if (version_checksum_write(table->store, snapshot->state, &unwritten) != ERR_OK) {
        err_clear(&unwritten); /* the version goes without */
    }
    __atomic_store_n(&table->checksum_version, snapshot->version, __ATOMIC_RELAXED);
}

/* ---- statistics ---- */

static void count_index(const struct index_view *view, struct table_statistics *statistics)
{
    statistics->index_entries_count = index_view_entries_count(view);
    for (size_t kind = 0; kind < view->kinds_count; kind++) {
        const struct index_set *set = &view->kinds[kind];
        if ((int64_t)set->count > statistics->index_runs_count) {
            statistics->index_runs_count = (int64_t)set->count;
        }
        for (size_t i = 0; i < set->count; i++) {
            statistics->index_bytes += (int64_t)set->runs[i]->derived.body.size;
        }
    }
}

void table_statistics_get(struct table *table, struct table_statistics *statistics_out)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    struct table_statistics statistics = {
        .version = snapshot->version,
        .rows_count = snapshot->state->rows_count,
        .dead_rows_count = snapshot->state->deleted_rows_count,
        .files_count = snapshot->state->files_count,
        .files_bytes = snapshot->state->files_bytes,
        .tombstones_count = __atomic_load_n(&table->tombstones_seen, __ATOMIC_RELAXED),
        .duplicates_count = __atomic_load_n(&table->duplicates, __ATOMIC_RELAXED),
        .compactions_count = __atomic_load_n(&table->compactions, __ATOMIC_RELAXED),
        .compacted_rows_count = __atomic_load_n(&table->compacted_rows, __ATOMIC_RELAXED),
        .log_bytes = snapshot->state->log_bytes,
    };
    for (size_t i = 0; i < snapshot->files_count; i++) {
        const struct images *images = snapshot->files[i].images;
        statistics.images_bytes += images == NULL ? 0 : (int64_t)images->derived.body.size;
    }
    if (snapshot->index != NULL) {
        count_index(snapshot->index, &statistics);
    }
    *statistics_out = statistics;
}
