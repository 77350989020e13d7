/*
 * Which columns could be the key: those whose values never repeat in the sample,
 * ranked by what their names and types say. See infer.h.
 */
#include "storage/columns/infer_work.h"

#include "storage/base/mem.h"

#include <stdlib.h>

/* ---- counting distinct hashes ---- */

/* A set of hashes, as large as the sample needs. */
struct seen {
    uint64_t *slots;
    size_t count; /* a power of two */
};

static bool add(const struct seen *seen, uint64_t hash)
{
    size_t mask = seen->count - 1;
    size_t slot = (size_t)(hash ^ hash >> 32) & mask;
    while (seen->slots[slot] != 0) {
        if (seen->slots[slot] == hash) {
            return false;
        }
        slot = (slot + 1) & mask;
    }
    seen->slots[slot] = hash;
    return true;
}

static void make_empty(const struct seen *seen)
{
    memset(seen->slots, 0, seen->count * sizeof *seen->slots);
}

static uint64_t hash_at(const struct infer_column *column, int64_t record)
{
    return record < column->hashes_capacity ? column->hashes[record] : 0;
}

static void count_distinct(struct infer *infer, struct infer_column *column,
                           const struct seen *seen)
{
    make_empty(seen);
    column->distinct = 0;
    for (int64_t i = 0; i < infer->hashed_records; i++) {
        uint64_t hash = hash_at(column, i);
        column->distinct += hash != 0 && add(seen, hash);
    }
}

/* Both values as one number that is not 0. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t mixed = (a ^ (b << 29 | b >> 35)) * UINT64_C(0x9e3779b97f4a7c15) + b;
    mixed ^= mixed >> 31;
    return mixed != 0 ? mixed : 1;
}

static bool is_unique_pair(const struct infer *infer, const struct infer_column *a,
                           const struct infer_column *b, const struct seen *seen)
{
    make_empty(seen);
    for (int64_t i = 0; i < infer->hashed_records; i++) {
        if (!add(seen, mix(hash_at(a, i), hash_at(b, i)))) {
            return false;
        }
    }
    return true;
}

/* ---- candidates ---- */

static bool may_be_in_key(const struct infer *infer, const struct infer_column *column)
{
    bool type = column->type == COLUMN_STRING || column->type == COLUMN_INTEGER ||
                column->type == COLUMN_LONG || column->type == COLUMN_DATE ||
                column->type == COLUMN_TIMESTAMP || column->type == COLUMN_DECIMAL;
    return column->left_out == NULL && type && column->nulls == 0 && infer->hashed_records > 0;
}

static bool is_unique(const struct infer *infer, const struct infer_column *column)
{
    return column->distinct == infer->hashed_records;
}

/* How much a column looks like one that identifies: 0 to 100. */
static int score_of(const struct infer *infer, size_t index)
{
    const struct infer_column *column = &infer->columns[index];
    int score = 30;
    if (infer_name_hints(column->source_name, INFER_HINT_IDENTIFIER)) {
        score += 40;
    }
    if (infer_name_hints(column->source_name, INFER_HINT_MEASURE)) {
        score -= 30;
    }
    if (index == 0) {
        score += 15;
    }
    if (column->type == COLUMN_DECIMAL || column->type == COLUMN_DATE ||
        column->type == COLUMN_TIMESTAMP) {
        score -= 20;
    }
    if (infer->records < INFER_LIKELY_RECORDS) {
        score -= 10;
    }
    return score < 0 ? 0 : score > 100 ? 100 : score;
}

static int compare_keys(const void *a, const void *b)
{
    const struct infer_key *left = a;
    const struct infer_key *right = b;
    if (left->score != right->score) {
        return left->score > right->score ? -1 : 1;
    }
    if (left->columns[0] != right->columns[0]) {
        return left->columns[0] < right->columns[0] ? -1 : 1;
    }
    return (left->columns[1] > right->columns[1]) - (left->columns[1] < right->columns[1]);
}

/* Candidates found; more than are told, so that the best of them are. */
struct found {
    struct infer_key *items;
    size_t count;
    size_t capacity;
};

static void add_key(struct found *found, struct infer_key key)
{
    if (found->count == found->capacity) {
        found->capacity = found->capacity * 2 + 16;
        found->items = mem_resize(found->items, found->capacity, sizeof *found->items);
    }
    found->items[found->count++] = key;
}

/* The columns with most values among those that are not unique by themselves. */
static size_t choose_for_pairs(const struct infer *infer, size_t chosen[INFER_PAIR_COLUMNS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < infer->columns_count; i++) {
        const struct infer_column *column = &infer->columns[i];
        if (!may_be_in_key(infer, column) || is_unique(infer, column) || column->distinct < 2) {
            continue;
        }
        size_t place = count < INFER_PAIR_COLUMNS_MAX ? count++ : count;
        while (place > 0 && infer->columns[chosen[place - 1]].distinct < column->distinct) {
            if (place < INFER_PAIR_COLUMNS_MAX) {
                chosen[place] = chosen[place - 1];
            }
            place--;
        }
        if (place < INFER_PAIR_COLUMNS_MAX) {
            chosen[place] = i;
        }
    }
    return count;
}

static void add_pairs(struct infer *infer, const struct seen *seen, struct found *found)
{
    size_t chosen[INFER_PAIR_COLUMNS_MAX] = {0};
    size_t count = choose_for_pairs(infer, chosen);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            const struct infer_column *a = &infer->columns[chosen[i]];
            const struct infer_column *b = &infer->columns[chosen[j]];
            bool enough = a->distinct * b->distinct >= infer->hashed_records;
            if (!enough || !is_unique_pair(infer, a, b, seen)) {
                continue;
            }
            size_t first = chosen[i] < chosen[j] ? chosen[i] : chosen[j];
            size_t second = chosen[i] < chosen[j] ? chosen[j] : chosen[i];
            int scores[] = {score_of(infer, first), score_of(infer, second)};
            /* a pair is unique by chance sooner than a column: both parts must look the part */
            int score = (scores[0] < scores[1] ? scores[0] : scores[1]) - 10;
            add_key(found, (struct infer_key){.columns = {first, second},
                                              .count = 2,
                                              .score = score < 0 ? 0 : score});
        }
    }
}

size_t infer_keys(struct infer *infer, struct infer_key keys_out[INFER_CANDIDATES_MAX])
{
    struct seen seen = {.count = 16};
    while (seen.count < (size_t)infer->hashed_records * 2) {
        seen.count *= 2;
    }
    seen.slots = mem_zeroed(seen.count, sizeof *seen.slots);
    struct found found = {0};
    for (size_t i = 0; i < infer->columns_count; i++) {
        struct infer_column *column = &infer->columns[i];
        count_distinct(infer, column, &seen);
        if (infer->hashed_records > 1 && may_be_in_key(infer, column) && is_unique(infer, column)) {
            add_key(&found,
                    (struct infer_key){.columns = {i}, .count = 1, .score = score_of(infer, i)});
        }
    }
    if (infer->hashed_records > 1) {
        add_pairs(infer, &seen, &found);
    }
    mem_free(seen.slots);
    if (found.count > 1) {
        qsort(found.items, found.count, sizeof *found.items, compare_keys);
    }
    size_t count = found.count < INFER_CANDIDATES_MAX ? found.count : INFER_CANDIDATES_MAX;
    for (size_t i = 0; i < count; i++) {
        keys_out[i] = found.items[i];
    }
    mem_free(found.items);
    return count;
}
