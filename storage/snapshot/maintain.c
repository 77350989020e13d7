/*
 * Background care of a table's index and private files: merging runs beside
 * merges, removing what nothing refers to. See table.h.
 */
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/delta/vacuum.h"
#include "storage/object/object.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

enum {
    /* Merges and compactions make their files before they publish them; an hour is longer. */
    PRIVATE_KEEP_MS = 60 * 60 * 1000,
    CLEAN_INTERVAL_US = 60 * 1000 * 1000, /* looking through folders is not for every step */
};

/* ---- merging runs ---- */

static bool is_alive(void *self, const struct index_entry *entry)
{
    const struct snapshot_file *file = NULL;
    return snapshot_entry_is_alive(self, entry, &file);
}

static size_t entries_of(const struct index_set *set)
{
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++) {
        count += set->runs[i]->count;
    }
    return count;
}

/* More than half of the entries are dead: all runs become one. */
static bool is_mostly_dead(const struct index_set *set, int64_t live_rows)
{
    return live_rows >= 0 && set->count > 1 &&
           entries_of(set) > (size_t)live_rows * 100 / (100 - INDEX_DEAD_PERCENT) + 1024;
}

/* The kind that needs work most, and its runs; count 0 = all is calm. */
static void choose_work(const struct snapshot *snapshot, struct index_choice *choice)
{
    choice->count = 0;
    for (size_t kind = 0; kind < snapshot->index->kinds_count && choice->count == 0; kind++) {
        const struct index_set *set = &snapshot->index->kinds[kind];
        if (is_mostly_dead(set, snapshot->state->rows_count)) {
            index_choose_all(set, choice);
        } else if (set->count > INDEX_RUNS_CALM) {
            index_choose(set, NULL, NULL, SIZE_MAX, choice);
        }
    }
}

/* Claim runs, so that merges in the foreground leave them alone. False: nothing to do. */
static bool claim_runs(struct table *table, const struct snapshot **snapshot_out,
                       struct index_choice *choice)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    if (table->busy_count > 0) {
        return false; /* another thread is at it */
    }
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    if (snapshot->index == NULL) {
        return false;
    }
    choose_work(snapshot, choice);
    if (choice->count == 0) {
        return false;
    }
    for (size_t i = 0; i < choice->count; i++) {
        table->busy[i] = choice->runs[i];
    }
    table->busy_count = choice->count;
    *snapshot_out = snapshot;
    snapshot = NULL;
    return true;
}

static bool has_run(const struct index_view *view, const struct index_run *run)
{
    const struct index_set *set = &view->kinds[run->kind];
    for (size_t i = 0; i < set->count; i++) {
        if (set->runs[i] == run) {
            return true;
        }
    }
    return false;
}

/* Put the merged run in the place of its parts, in whatever is published now. */
static void swap_runs(struct table *table, const struct index_choice *choice,
                      struct index_run **merged)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    table->busy_count = 0;
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    bool whole = *merged != NULL && current->index != NULL;
    for (size_t i = 0; whole && i < choice->count; i++) {
        whole = choice->runs[i]->kind < current->index->kinds_count &&
                has_run(current->index, choice->runs[i]);
    }
    if (!whole) { /* failed, or the index was rebuilt meanwhile */
        index_run_release(merged);
        return;
    }
    CLEANUP(index_view_release) struct index_view *view = index_view_copy(current->index);
    for (size_t i = 0; i < choice->count; i++) {
        table_note_dropped_run(table, choice->runs[i]);
        index_view_remove(view, choice->runs[i]);
    }
    index_view_add(view, merged);
    struct file_list files;
    file_list_copy(&files, current);
    table_publish(table, current->schema, current->state, &files, view);
}

enum err_code table_index_maintain(struct table *table, bool *more_out, struct err *err)
{
    *more_out = false;
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    struct index_choice choice = {0};
    if (!claim_runs(table, &snapshot, &choice)) {
        table_drop_files(table); /* that commits and compactions replaced */
        return ERR_OK;
    }
    struct snapshot *alive_self = (struct snapshot *)(uintptr_t)snapshot; /* is_alive only reads */
    struct index_run *merged = NULL;
    enum err_code code = index_runs_merge(table->index_folder, table_new_run_id(table), choice.runs,
                                          choice.count, is_alive, alive_self, &merged, err);
    swap_runs(table, &choice, &merged);
    table_drop_files(table);
    if (code != ERR_OK) {
        return err_wrap(err, "table '%s': merge index runs", table->name);
    }
    *more_out = true;
    return ERR_OK;
}

/* ---- removing ---- */

/* Names of tombstone files in use; one allocation. */
static struct tombstone_file *copy_tombstone_files(struct table *table, int64_t horizon_us,
                                                   size_t *count_out)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    tombstones_expire(&table->tombstones, horizon_us);
    __atomic_store_n(&table->tombstones_seen, (int64_t)tombstones_count(&table->tombstones),
                     __ATOMIC_RELAXED);
    size_t count = table->tombstones.files_count;
    struct tombstone_file *files = mem_zeroed(count + 1, sizeof *files);
    if (count > 0) {
        memcpy(files, table->tombstones.files, count * sizeof *files);
    }
    *count_out = count;
    return files;
}

/*
 * Outcome files are read after a crash only; those of the log's retention are
 * kept, because their commits name them.
 */
static bool is_private_file_used(const struct object_info *info, const struct tombstone_file *files,
                                 size_t count, int64_t now_us, int64_t retention_ms)
{
    bool tombstones = strncmp(info->name, TABLE_PRIVATE_FOLDER "/tombstones-",
                              sizeof TABLE_PRIVATE_FOLDER "/tombstones-" - 1) == 0;
    bool outcome = strncmp(info->name, TABLE_PRIVATE_FOLDER "/outcome-",
                           sizeof TABLE_PRIVATE_FOLDER "/outcome-" - 1) == 0;
    for (size_t i = 0; tombstones && i < count; i++) {
        if (strcmp(files[i].name, info->name) == 0) {
            return true;
        }
    }
    int64_t keep_ms = outcome ? retention_ms : PRIVATE_KEEP_MS;
    return (!tombstones && !outcome) || info->modified_ms >= now_us / 1000 - keep_ms;
}

static enum err_code clean_private(struct table *table, const struct snapshot *snapshot,
                                   int64_t now_us, struct err *err)
{
    size_t count = 0;
    int64_t horizon_us = table_tombstone_horizon_us(snapshot->schema, now_us);
    CLEANUP(mem_cleanup)
    struct tombstone_file *files = copy_tombstone_files(table, horizon_us, &count);
    CLEANUP(object_list_free) struct object_list list = {0};
    struct object_list_options options = {.folder = TABLE_PRIVATE_FOLDER, .details = true};
    TRY(object_list(table->store, &options, &list, err));
    int64_t retention_ms = delta_state_retention_ms(snapshot->state);
    for (size_t i = 0; i < list.count; i++) {
        if (!is_private_file_used(&list.items[i], files, count, now_us, retention_ms)) {
            TRY(object_remove(table->store, list.items[i].name, err));
        }
    }
    return ERR_OK;
}

enum err_code table_clean(struct table *table, int64_t now_us, struct err *err)
{
    int64_t cleaned_us = __atomic_load_n(&table->cleaned_us, __ATOMIC_RELAXED);
    if (now_us >= cleaned_us && now_us - cleaned_us < CLEAN_INTERVAL_US) {
        return ERR_OK;
    }
    __atomic_store_n(&table->cleaned_us, now_us, __ATOMIC_RELAXED);
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    if (table_clean_index(table, snapshot, now_us / 1000 - PRIVATE_KEEP_MS, err) != ERR_OK ||
        clean_private(table, snapshot, now_us, err) != ERR_OK) {
        return err_wrap(err, "table '%s': clean up", table->name);
    }
    return ERR_OK;
}

/* ---- keeping up ---- */

void table_note_backlog(struct table *table, int64_t files)
{
    if (files > 0) {
        __atomic_store_n(&table->merge_files, files, __ATOMIC_RELAXED);
        __atomic_store_n(&table->merged_us, clock_monotonic_us(), __ATOMIC_RELAXED);
    }
    if (__atomic_add_fetch(&table->backlog_files, files, __ATOMIC_RELAXED) < 0) {
        table_forget_backlog(table);
    }
}

void table_forget_backlog(struct table *table)
{
    __atomic_store_n(&table->backlog_files, 0, __ATOMIC_RELAXED);
}

/* In merges, because one into many partitions makes many files that no run takes together. */
int64_t table_backlog_merges(struct table *table)
{
    int64_t files = __atomic_load_n(&table->backlog_files, __ATOMIC_RELAXED);
    int64_t files_a_merge = __atomic_load_n(&table->merge_files, __ATOMIC_RELAXED);
    return files_a_merge > 0 ? files / files_a_merge : 0;
}

bool table_is_resting(struct table *table, int64_t now_us)
{
    return now_us - __atomic_load_n(&table->merged_us, __ATOMIC_RELAXED) >= TABLE_REST_US;
}

void table_note_settled(struct table *table, const struct snapshot *snapshot)
{
    table_forget_backlog(table);
    __atomic_store_n(&table->settled_dead_rows, snapshot->state->deleted_rows_count,
                     __ATOMIC_RELAXED);
}

static int64_t thousandths_over(int64_t count, int64_t normal, int64_t whole)
{
    return count > normal ? (count - normal) * 1000 / whole : 0;
}

/* Of the rows: dead ones that compaction will take away, over what is normal. */
static int64_t excess_of_dead_rows(struct table *table, const struct snapshot *snapshot)
{
    int64_t dead = snapshot->state->deleted_rows_count;
    int64_t rows = snapshot->state->rows_count + dead;
    int64_t normal = rows * TABLE_PAUSE_FROM_DEAD_PERCENT / 100 + TABLE_PAUSE_FROM_ROWS;
    int64_t settled = __atomic_load_n(&table->settled_dead_rows, __ATOMIC_RELAXED);
    return thousandths_over(dead, settled > normal ? settled : normal, rows);
}

/* Of the rows: entries of the index over what merging its runs would leave, and half a row more. */
static int64_t excess_of_index(const struct snapshot *snapshot)
{
    int64_t rows = snapshot->state->rows_count;
    int64_t excess = 0;
    for (size_t kind = 0; snapshot->index != NULL && kind < snapshot->index->kinds_count; kind++) {
        const struct index_set *set = &snapshot->index->kinds[kind];
        if (is_mostly_dead(set, rows)) {
            int64_t normal = rows * 5 / 2 + TABLE_PAUSE_FROM_ROWS;
            excess += thousandths_over((int64_t)entries_of(set), normal, rows + 1);
        }
    }
    return excess;
}

int64_t table_pause_us(struct table *table, int64_t worked_us)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    int64_t merges = table_backlog_merges(table) - TABLE_PAUSE_FROM_MERGES;
    int64_t pause_us = merges > 0 ? merges * TABLE_PAUSE_US_A_MERGE : 0;
    pause_us += excess_of_dead_rows(table, snapshot) * TABLE_PAUSE_US_A_THOUSANDTH;
    pause_us += excess_of_index(snapshot) * TABLE_PAUSE_US_A_THOUSANDTH / TABLE_PAUSE_INDEX_SHARE;
    pause_us = pause_us < TABLE_PAUSE_US_MAX ? pause_us : TABLE_PAUSE_US_MAX;
    return worked_us > TABLE_PAUSE_US_MAX ? pause_us * worked_us / TABLE_PAUSE_US_MAX : pause_us;
}

/* ---- one at a time ---- */

bool table_maintenance_begin(struct table *table, int64_t until_us)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->maintenance_lock);
    while (table->maintained) {
        if (until_us == 0 ||
            wake_wait_until(&table->maintenance_wake, &table->maintenance_lock, until_us) != 0) {
            return false;
        }
    }
    table->maintained = true;
    return true;
}

void table_maintenance_end(struct table *table)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->maintenance_lock);
    assert(table->maintained);
    table->maintained = false;
    wake_one(&table->maintenance_wake);
}

/* ---- files ---- */

_Static_assert((int)TABLE_VACUUM_SECONDS_MIN * 1000 == (int)DELTA_VACUUM_MINIMUM_MS,
               "the limit of the log's clean-up");

/* The versions that somebody reads. */
struct in_use {
    const struct snapshot **snapshots;
    const struct delta_state **states;
    size_t count;
};

static void in_use_deinit(struct in_use *in_use)
{
    for (size_t i = 0; i < in_use->count; i++) {
        snapshot_release(&in_use->snapshots[i]);
    }
    mem_free((void *)in_use->snapshots);
    mem_free((void *)in_use->states);
}

enum err_code table_vacuum(struct table *table, const struct table_vacuum_options *options,
                           struct table_vacuum_result *result_out, struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    CLEANUP(in_use_deinit) struct in_use in_use = {0};
    store_owner_snapshots(table->owner, &in_use.snapshots, &in_use.count);
    in_use.states = mem_zeroed(in_use.count + 1, sizeof *in_use.states);
    for (size_t i = 0; i < in_use.count; i++) {
        in_use.states[i] = in_use.snapshots[i]->state;
    }
    const struct delta_vacuum_options wanted = {.now_ms = options->now_ms,
                                                .retention_ms = options->retention_ms,
                                                .dry_run = options->dry_run,
                                                .in_use = in_use.states,
                                                .in_use_count = in_use.count};
    struct delta_vacuum_result result = {0};
    if (delta_vacuum(table->store, snapshot->state, &wanted, &result, err) != ERR_OK) {
        return err_wrap(err, "table '%s': vacuum", table->name);
    }
    *result_out = (struct table_vacuum_result){.files_seen = result.files_seen,
                                               .files_removed = result.files_removed,
                                               .bytes_removed = result.bytes_removed};
    return ERR_OK;
}
