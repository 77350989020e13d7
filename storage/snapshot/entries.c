/*
 * Index entries on their way from rows to runs. See table_internal.h.
 */
#include "storage/base/mem.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

enum { LIST_FIRST = 1024 };

void entry_lists_init(struct entry_lists *lists, const struct schema *schema)
{
    *lists = (struct entry_lists){.kinds = index_kinds_of(schema)};
}

void entry_lists_deinit(struct entry_lists *lists)
{
    for (size_t kind = 0; kind < INDEX_KINDS_MAX; kind++) {
        mem_free(lists->lists[kind].items);
    }
    *lists = (struct entry_lists){0};
}

void entry_lists_add(struct entry_lists *lists, uint32_t kind, const struct index_entry *entry)
{
    assert(lists->kinds.used[kind]);
    if (lists->lists[kind].count == lists->lists[kind].capacity) {
        size_t capacity = lists->lists[kind].capacity;
        capacity = capacity == 0 ? LIST_FIRST : capacity * 2;
        lists->lists[kind].items =
            mem_resize(lists->lists[kind].items, capacity, sizeof *lists->lists[kind].items);
        lists->lists[kind].capacity = capacity;
    }
    lists->lists[kind].items[lists->lists[kind].count++] = *entry;
}

void entry_lists_add_row(struct entry_lists *lists, const struct table *table,
                         const struct frame *frame, int64_t row, uint64_t key_hash, bool has_key,
                         const struct index_entry *place, struct buffer *scratch)
{
    struct index_entry entry = *place;
    if (has_key && lists->kinds.used[0]) {
        entry.hash = key_hash;
        entry_lists_add(lists, 0, &entry);
    }
    for (uint32_t kind = 1; kind < lists->kinds.count; kind++) {
        if (!lists->kinds.used[kind]) {
            continue;
        }
        size_t column = frame->schema->lookup[kind - 1].column;
        buffer_reset(scratch);
        if (lookup_bytes_of_row(frame, column, row, scratch)) {
            entry.hash = hash_keyed(table->hash_key, buffer_span(scratch));
            entry_lists_add(lists, kind, &entry);
        }
    }
}

enum err_code entry_lists_flush(struct entry_lists *lists, struct table *table,
                                struct index_view *view, struct err *err)
{
    for (uint32_t kind = 0; kind < lists->kinds.count; kind++) {
        size_t count = lists->lists[kind].count;
        if (count == 0) {
            continue;
        }
        index_entries_sort(lists->lists[kind].items, count);
        struct index_run *run = NULL;
        struct err unstored = {0};
        if (index_run_build(table->index_folder, kind, table_new_run_id(table),
                            lists->lists[kind].items, count, &run, &unstored) != ERR_OK) {
            /* A full disk must not keep a committed version from its readers. */
            TRY(index_run_build(NULL, kind, table_new_run_id(table), lists->lists[kind].items,
                                count, &run, err));
        }
        lists->lists[kind].count = 0;
        index_view_add(view, &run);
    }
    return ERR_OK;
}
