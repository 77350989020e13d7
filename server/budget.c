/*
 * An open-addressed table with room for every principal there can be, so that none
 * ever takes the count of another over. See budget.h.
 */
#include "server/budget.h"

#include "storage/base/err.h"
#include "storage/base/hash.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/span.h"
#include "storage/catalog/access.h"

#include <assert.h>

enum { SLOTS = 16384 };

_Static_assert((int)SLOTS > (int)ACCESS_PRINCIPALS_MAX, "every principal has a slot");

struct slot {
    uint64_t principal; /* hash of its id; 0 = free */
    int64_t window_started_us;
    int64_t requests_count;
};

struct budget {
    struct lock lock;
    int64_t requests_max;
    struct slot slots[SLOTS];
};

struct budget *budget_new(int64_t requests_max)
{
    assert(requests_max >= 1);
    struct budget *budget = mem_zeroed(1, sizeof *budget);
    budget->requests_max = requests_max;
    lock_init(&budget->lock, LOCK_RANK_CACHE);
    return budget;
}

void budget_free(struct budget **budget)
{
    if (*budget != NULL) {
        lock_deinit(&(*budget)->lock);
        mem_free(*budget);
        *budget = NULL;
    }
}

/* The principal's slot or a free one. Principals are never removed, so slots are not either. */
static struct slot *find_slot(struct budget *budget, uint64_t hash)
{
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &budget->slots[(hash + i) % SLOTS];
        if (slot->principal == hash || slot->principal == 0) {
            return slot;
        }
    }
    assert(!"more slots than principals");
    return NULL;
}

struct rate_state budget_take(struct budget *budget, const struct id *principal, int64_t now_us)
{
    uint64_t hash = hash_checksum(span_of_text(principal->text)) | 1; /* never "free" */
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&budget->lock);
    struct slot *slot = find_slot(budget, hash);
    if (slot->principal == 0 || now_us - slot->window_started_us >= RATE_WINDOW_US) {
        *slot = (struct slot){.principal = hash, .window_started_us = now_us};
    }
    slot->requests_count++;
    return rate_state_of(slot->requests_count, budget->requests_max, slot->window_started_us,
                         now_us);
}
