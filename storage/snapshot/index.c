/*
 * Views of the index and the choice of runs to merge. See index.h.
 */
#include "storage/snapshot/index.h"

#include "storage/base/mem.h"

#include <assert.h>

struct index_view *index_view_new(size_t kinds_count, const uint8_t hash_key[HASH_KEY_BYTES])
{
    assert(kinds_count <= INDEX_KINDS_MAX);
    struct index_view *view = mem_zeroed(1, sizeof *view);
    memcpy(view->hash_key, hash_key, HASH_KEY_BYTES);
    view->kinds_count = kinds_count;
    view->kinds = mem_zeroed(kinds_count, sizeof *view->kinds);
    view->references = 1;
    return view;
}

struct index_view *index_view_copy(const struct index_view *view)
{
    struct index_view *copy = index_view_new(view->kinds_count, view->hash_key);
    for (size_t kind = 0; kind < view->kinds_count; kind++) {
        copy->kinds[kind] = view->kinds[kind];
        for (size_t i = 0; i < view->kinds[kind].count; i++) {
            (void)index_run_acquire(
                view->kinds[kind].runs[i]); /* the same pointer, one more owner */
        }
    }
    return copy;
}

struct index_view *index_view_acquire(const struct index_view *view)
{
    struct index_view *shared = (struct index_view *)(uintptr_t)view; /* only the count changes */
    int before = __atomic_fetch_add(&shared->references, 1, __ATOMIC_RELAXED);
    assert(before > 0);
    return shared;
}

void index_view_release(struct index_view **view)
{
    struct index_view *released = *view;
    *view = NULL;
    if (released == NULL || __atomic_sub_fetch(&released->references, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    for (size_t kind = 0; kind < released->kinds_count; kind++) {
        for (size_t i = 0; i < released->kinds[kind].count; i++) {
            index_run_release(&released->kinds[kind].runs[i]);
        }
    }
    mem_free(released->kinds);
    mem_free(released);
}

void index_view_add(struct index_view *view, struct index_run **run)
{
    struct index_run *added = *run;
    *run = NULL;
    assert(added->kind < view->kinds_count);
    struct index_set *set = &view->kinds[added->kind];
    assert(set->count < INDEX_SET_MAX);
    size_t at = set->count++;
    for (; at > 0 && set->runs[at - 1]->count < added->count; at--) {
        set->runs[at] = set->runs[at - 1];
    }
    set->runs[at] = added;
}

void index_view_add_all(struct index_view *view, const struct index_view *other)
{
    for (size_t kind = 0; kind < other->kinds_count; kind++) {
        for (size_t i = 0; i < other->kinds[kind].count; i++) {
            struct index_run *run = index_run_acquire(other->kinds[kind].runs[i]);
            index_view_add(view, &run);
        }
    }
}

void index_view_remove(struct index_view *view, const struct index_run *run)
{
    struct index_set *set = &view->kinds[run->kind];
    size_t at = 0;
    while (at < set->count && set->runs[at] != run) {
        at++;
    }
    assert(at < set->count);
    struct index_run *removed = set->runs[at];
    for (size_t i = at + 1; i < set->count; i++) {
        set->runs[i - 1] = set->runs[i];
    }
    set->count--;
    index_run_release(&removed);
}

int64_t index_view_entries_count(const struct index_view *view)
{
    int64_t count = 0;
    for (size_t kind = 0; kind < view->kinds_count; kind++) {
        for (size_t i = 0; i < view->kinds[kind].count; i++) {
            count += (int64_t)view->kinds[kind].runs[i]->count;
        }
    }
    return count;
}

void index_view_find(const struct index_view *view, uint32_t kind, uint64_t hash,
                     struct index_ranges *ranges_out)
{
    assert(kind < view->kinds_count);
    const struct index_set *set = &view->kinds[kind];
    ranges_out->count = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (!index_run_may_contain(set->runs[i], hash)) {
            continue;
        }
        size_t count = 0;
        const struct index_entry *entries = index_run_find(set->runs[i], hash, &count);
        if (count > 0) {
            ranges_out->items[ranges_out->count].entries = entries;
            ranges_out->items[ranges_out->count++].count = count;
        }
    }
}

void index_choose(const struct index_set *set, index_busy_fn *busy, void *busy_self,
                  size_t entries_max, struct index_choice *choice_out)
{
    *choice_out = (struct index_choice){0};
    size_t sum = 0;
    for (size_t i = set->count; i-- > 0;) {
        struct index_run *run = set->runs[i];
        if (busy != NULL && busy(busy_self, run)) {
            continue;
        }
        if (run->count > entries_max - sum || (choice_out->count >= 2 && run->count > sum)) {
            break;
        }
        choice_out->runs[choice_out->count++] = run;
        sum += run->count;
    }
    if (choice_out->count < 2) {
        choice_out->count = 0;
    }
}

void index_choose_all(const struct index_set *set, struct index_choice *choice_out)
{
    choice_out->count = set->count;
    memcpy(choice_out->runs, set->runs, set->count * sizeof(struct index_run *));
}
