/*
 * How long the log keeps the tombstones of files, by how many there are. See table.h.
 *
 * What somebody else put into the table's properties stays as it is: ours is known by a second
 * property that says the same.
 */
#include "storage/base/mem.h"
#include "storage/delta/checkpoint.h"
#include "storage/delta/transaction.h"
#include "storage/snapshot/table_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OURS_PROPERTY "sluice.deletedFileRetentionDuration"

static const int64_t hour_ms = 3600 * 1000;

/* The hours in force; false when somebody else has set them. */
static bool hours_of(const struct delta_state *state, int64_t *hours_out)
{
    const char *asked = delta_metadata_property(state->metadata, DELTA_RETENTION_PROPERTY);
    const char *ours = delta_metadata_property(state->metadata, OURS_PROPERTY);
    *hours_out = delta_state_retention_ms(state) / hour_ms;
    return asked == NULL || (ours != NULL && strcmp(asked, ours) == 0);
}

int64_t table_retention_hours(int64_t hours, int64_t tombstones, int64_t span_ms)
{
    if (tombstones > TABLE_REMOVED_MANY) {
        /* leaves so many, if they came evenly; the next checkpoint corrects it */
        int64_t wanted = span_ms * TABLE_REMOVED_CALM / tombstones / hour_ms;
        wanted = wanted > TABLE_RETENTION_HOURS_MIN ? wanted : TABLE_RETENTION_HOURS_MIN;
        return wanted < hours ? wanted : hours;
    }
    if (tombstones < TABLE_REMOVED_FEW && hours < TABLE_RETENTION_HOURS) {
        return hours * 2 < TABLE_RETENTION_HOURS ? hours * 2 : TABLE_RETENTION_HOURS;
    }
    return hours;
}

/* The properties with other hours; the default needs none. */
static const struct delta_metadata *metadata_with(const struct delta_metadata *current,
                                                  int64_t hours)
{
    enum { OURS = 2 };
    char interval[32];
    (void)snprintf(interval, sizeof interval, "interval %" PRId64 " hours", hours); /* fits */
    CLEANUP(mem_cleanup)
    struct delta_pair *pairs = mem_zeroed(current->configuration_count + OURS, sizeof *pairs);
    size_t count = 0;
    for (size_t i = 0; i < current->configuration_count; i++) {
        const char *name = current->configuration[i].name;
        if (strcmp(name, DELTA_RETENTION_PROPERTY) != 0 && strcmp(name, OURS_PROPERTY) != 0) {
            pairs[count++] = current->configuration[i];
        }
    }
    if (hours < TABLE_RETENTION_HOURS) {
        pairs[count++] = (struct delta_pair){DELTA_RETENTION_PROPERTY, interval};
        pairs[count++] = (struct delta_pair){OURS_PROPERTY, interval};
    }
    struct delta_metadata changed = delta_metadata_fields(current);
    changed.configuration = pairs;
    changed.configuration_count = count;
    return delta_metadata_new(&changed);
}

static enum err_code commit_hours(struct table *table, const struct snapshot *current,
                                  int64_t hours, struct err *err)
{
    CLEANUP(delta_metadata_release)
    const struct delta_metadata *metadata = metadata_with(current->state->metadata, hours);
    CLEANUP(delta_transaction_free)
    struct delta_transaction *transaction =
        delta_transaction_begin(current->state, table->store, DELTA_READS_NOTHING);
    CLEANUP(delta_commit_result_deinit) struct delta_commit_result result = {0};
    delta_transaction_set_metadata(transaction, metadata);
    delta_transaction_set_operation(transaction, "SET TBLPROPERTIES", NULL, NULL);
    TRY(delta_transaction_commit(transaction, &result, err));
    table_remember(table, result.version, result.hash, -1);
    return table_follow(table, current->schema, result.state, false, err);
}

enum err_code table_adapt_retention(struct table *table,
                                    const struct delta_checkpoint_result *checkpoint,
                                    int64_t now_ms, int64_t *hours_out, struct err *err)
{
    *hours_out = 0;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    bool changed = false;
    TRY(table_catch_up(table, NULL, &changed, err));
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    int64_t before = 0;
    if (!hours_of(current->state, &before)) {
        return ERR_OK;
    }
    int64_t hours = table_retention_hours(before, checkpoint->removed_count,
                                          now_ms - checkpoint->removed_oldest_ms);
    if (hours == before) {
        return ERR_OK;
    }
    TRY(commit_hours(table, current, hours, err));
    *hours_out = hours;
    return ERR_OK;
}
