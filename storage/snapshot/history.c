/*
 * Versions of a table for people. See history.h.
 */
#include "storage/snapshot/history.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/delta/state.h"
#include "storage/snapshot/outcome.h"

#include <assert.h>

static char *copy_member(const struct json *info, const char *name)
{
    const char *text = json_text(json_get(info, name));
    return mem_copy_text(text == NULL ? "" : text);
}

/* operationMetrics has numbers as text; other engines use other names. */
static int64_t metric(const struct json *info, const char *const names[])
{
    const struct json *metrics = json_get(info, "operationMetrics");
    for (size_t i = 0; names[i] != NULL; i++) {
        const struct json *value = json_get(metrics, names[i]);
        struct span text;
        int64_t number = 0;
        if (json_as_integer(value, &number) ||
            (json_as_string(value, &text) && text_parse_int64(text, &number))) {
            return number;
        }
    }
    return -1;
}

static void copy_batches(const struct json *extension, struct history_entry *entry)
{
    const struct json *batches = json_get(extension, "batches");
    size_t count =
        json_count(batches) < HISTORY_BATCHES_MAX ? json_count(batches) : HISTORY_BATCHES_MAX;
    entry->batches = mem_zeroed(count + 1, sizeof *entry->batches);
    for (size_t i = 0; i < count; i++) {
        struct span text;
        if (json_as_string(json_get(json_at(batches, i), "id"), &text) &&
            id_parse(text, &entry->batches[entry->batches_count])) {
            entry->batches_count++;
        }
    }
}

static struct history_entry entry_of(const struct delta_history_entry *source)
{
    static const char *const added[] = {"numTargetRowsInserted", "numOutputRows", "num_added_rows",
                                        NULL};
    static const char *const removed[] = {"numTargetRowsDeleted", "numDeletedRows",
                                          "num_deleted_rows", NULL};
    const struct json *extension = outcome_extension(source->info);
    struct history_entry entry = {
        .version = source->version,
        .timestamp_ms = source->timestamp_ms,
        .operation = copy_member(source->info, "operation"),
        .engine = copy_member(source->info, "engineInfo"),
        .ours = extension != NULL,
        .position_from = -1,
        .position_to = -1,
        .rows_added = metric(source->info, added),
        .rows_removed = metric(source->info, removed),
    };
    if (!outcome_positions(extension, &entry.position_from, &entry.position_to)) {
        entry.position_from = -1;
        entry.position_to = -1;
    }
    copy_batches(extension, &entry);
    return entry;
}

void history_free(struct history *history)
{
    for (size_t i = 0; i < history->count; i++) {
        mem_free(history->entries[i].operation);
        mem_free(history->entries[i].engine);
        mem_free(history->entries[i].batches);
    }
    mem_free(history->entries);
    *history = (struct history){0};
}

enum err_code history_read(struct object_store *store, int64_t before_version, size_t limit,
                           struct history *history_out, struct err *err)
{
    assert(limit >= 1);
    assert(limit <= HISTORY_LIMIT_MAX);
    CLEANUP(delta_history_free) struct delta_history source = {0};
    TRY(delta_history_read(store, before_version, limit + 1, &source, err));
    struct history history = {.more = source.count > limit};
    history.count = source.count > limit ? limit : source.count;
    history.entries = mem_zeroed(history.count + 1, sizeof *history.entries);
    for (size_t i = 0; i < history.count; i++) {
        history.entries[i] = entry_of(&source.entries[i]);
    }
    *history_out = history;
    return ERR_OK;
}
