/* Fixed windows in a fixed table; see throttle.h. */
#include "server/throttle.h"

#include "storage/base/err.h"
#include "storage/base/hash.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/span.h"

struct slot {
    uint64_t address; /* hash of it */
    int64_t window_started_us;
    int64_t failures_count;
};

struct throttle {
    struct lock lock;
    int64_t failures_max;
    struct slot slots[THROTTLE_SLOTS];
};

struct throttle *throttle_new(int64_t failures_max)
{
    struct throttle *throttle = mem_zeroed(1, sizeof *throttle);
    throttle->failures_max = failures_max;
    lock_init(&throttle->lock, LOCK_RANK_CACHE);
    return throttle;
}

void throttle_free(struct throttle **throttle)
{
    if (*throttle != NULL) {
        lock_deinit(&(*throttle)->lock);
        mem_free(*throttle);
        *throttle = NULL;
    }
}

struct rate_state throttle_failure(struct throttle *throttle, const char *address, int64_t now_us)
{
    uint64_t hash = hash_checksum(span_of_text(address));
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&throttle->lock);
    struct slot *slot = &throttle->slots[hash % THROTTLE_SLOTS];
    if (slot->address != hash || now_us - slot->window_started_us >= RATE_WINDOW_US) {
        *slot = (struct slot){.address = hash, .window_started_us = now_us};
    }
    slot->failures_count++;
    return rate_state_of(slot->failures_count, throttle->failures_max, slot->window_started_us,
                         now_us);
}
