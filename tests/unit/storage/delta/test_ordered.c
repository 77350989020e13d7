/*
 * The persistent set against a plain sorted array, over random histories.
 */
#include "storage/delta/ordered.h"

#include "storage/base/mem.h"

#include <criterion/criterion.h>
#include <string.h>

enum { KEYS = 3000, STEPS = 300, EDITS_MAX = 40 };

/* Every key is one static item; `references` counts what the sets hold. */
struct item {
    int key;
    int references;
};

static struct item items[KEYS];

static int compare_items(const void *a, const void *b)
{
    return ((const struct item *)a)->key - ((const struct item *)b)->key;
}

static void acquire_item(const void *item)
{
    ((struct item *)(uintptr_t)item)->references++;
}

static void release_item(const void *item)
{
    ((struct item *)(uintptr_t)item)->references--;
}

static const struct ordered_kind kind = {compare_items, acquire_item, release_item};

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void expect_model(const struct ordered *set, const bool *model)
{
    size_t chunk = 0;
    size_t at = 0;
    int64_t index = 0;
    for (int key = 0; key < KEYS; key++) {
        const struct item probe = {.key = key};
        cr_assert_eq(ordered_find(set, &probe) != NULL, model[key], "key %d", key);
        if (model[key]) {
            const struct item *item = ordered_next(set, &chunk, &at);
            cr_assert_not_null(item);
            cr_assert_eq(item->key, key);
            cr_assert_eq(ordered_at(set, index), (const void *)item);
            cr_assert_eq(ordered_lower_bound(set, &probe), (const void *)item);
            index++;
        }
    }
    cr_assert_null(ordered_next(set, &chunk, &at));
    cr_assert_eq(ordered_count(set), index);
}

/* A run of edits in key order; mostly puts while growing, removes while shrinking. */
static size_t make_edits(struct ordered_edit *edits, bool *model, bool growing, uint32_t *seed)
{
    size_t count = 0;
    int key = (int)(next_random(seed) % KEYS);
    int stride = next_random(seed) % 4 == 0 ? 1 : (int)(next_random(seed) % 200) + 1;
    size_t wanted = next_random(seed) % EDITS_MAX;
    for (; count < wanted && key < KEYS; key += stride) {
        bool put = (next_random(seed) % 8 != 0) == growing;
        edits[count++] = (struct ordered_edit){.item = &items[key], .put = put};
        model[key] = put;
    }
    return count;
}

Test(ordered, equals_a_sorted_array_over_random_histories)
{
    for (int i = 0; i < KEYS; i++) {
        items[i] = (struct item){.key = i};
    }
    uint32_t seed = 7;
    bool model[KEYS] = {false};
    bool before[KEYS];
    struct ordered *set = ordered_new(&kind);
    for (int step = 0; step < STEPS; step++) {
        struct ordered_edit edits[EDITS_MAX];
        memcpy(before, model, sizeof before);
        size_t count = make_edits(edits, model, step % 100 < 70, &seed);
        struct ordered *next = ordered_apply(set, edits, count);
        if (step % 10 == 0) {
            expect_model(next, model);
            expect_model(set, before); /* the old one is untouched */
        }
        ordered_release(&set);
        set = next;
    }
    ordered_release(&set);
    for (int i = 0; i < KEYS; i++) {
        cr_assert_eq(items[i].references, 0, "item %d leaks", i);
    }
}

Test(ordered, a_change_shares_what_it_does_not_touch)
{
    struct ordered_edit edits[KEYS];
    for (int i = 0; i < KEYS; i++) {
        items[i] = (struct item){.key = i};
        edits[i] = (struct ordered_edit){.item = &items[i], .put = true};
    }
    struct ordered *empty = ordered_new(&kind);
    struct ordered *set = ordered_apply(empty, edits, KEYS);
    const struct ordered_edit one = {.item = &items[1500], .put = false};
    struct ordered *next = ordered_apply(set, &one, 1);
    int copied = 0;
    for (int i = 0; i < KEYS; i++) {
        copied += items[i].references > 1;
    }
    cr_expect_leq(copied, ORDERED_CHUNK_ITEMS_MAX + ORDERED_CHUNK_ITEMS_MIN);
    cr_expect_eq(ordered_count(next), KEYS - 1);
    ordered_release(&next);
    ordered_release(&set);
    ordered_release(&empty);
}
