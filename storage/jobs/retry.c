/*
 * Back-off and retry budget. See retry.h for the contract.
 */
#include "storage/jobs/retry.h"

#include <assert.h>

/* value * 2^times, at most `ceiling`. */
static int64_t doubled(int64_t value, uint32_t times, int64_t ceiling)
{
    for (uint32_t i = 0; i < times && value < ceiling; i++) {
        value = value > ceiling / 2 ? ceiling : value * 2;
    }
    return value < ceiling ? value : ceiling;
}

int64_t retry_delay_ms(uint32_t attempt, const struct retry_policy *policy, uint64_t random)
{
    assert(attempt >= 1);
    assert(policy->min_interval_ms >= 0);
    assert(policy->cap_ms >= 0);
    int64_t low = policy->min_interval_ms;
    if (policy->cap_ms <= low) {
        return low;
    }
    int64_t base = low > RETRY_BASE_MS ? low : RETRY_BASE_MS;
    uint64_t range = (uint64_t)doubled(base, attempt - 1, policy->cap_ms - low);
    /* the high half of the product is even over [0, range] but for 2^-64 a value */
    return low + (int64_t)((unsigned __int128)random * (range + 1) >> 64);
}

void retry_budget_init(struct retry_budget *budget, const struct retry_budget_options *options)
{
    assert(options->window_us >= RETRY_BUDGET_SLOTS);
    assert(options->percent >= 0);
    assert(options->percent <= 100);
    assert(options->floor >= 0);
    *budget = (struct retry_budget){.options = *options};
}

/* Forget the slots that left the window since the last call. */
static void advance(struct retry_budget *budget, int64_t now_us)
{
    enum { SLOTS = RETRY_BUDGET_SLOTS + 1 }; /* the newest is not full yet */
    int64_t slot = now_us / (budget->options.window_us / RETRY_BUDGET_SLOTS);
    for (int i = 0; i < SLOTS && budget->slot < slot; i++) {
        /* after a long silence only the last SLOTS steps matter */
        budget->slot = slot - budget->slot > SLOTS ? slot - SLOTS + 1 : budget->slot + 1;
        budget->firsts[budget->slot % SLOTS] = 0;
        budget->retries[budget->slot % SLOTS] = 0;
    }
}

static int64_t sum(const int64_t counts[RETRY_BUDGET_SLOTS + 1])
{
    int64_t total = 0;
    for (int i = 0; i <= RETRY_BUDGET_SLOTS; i++) {
        total += counts[i];
    }
    return total;
}

void retry_budget_note_first(struct retry_budget *budget, int64_t now_us)
{
    advance(budget, now_us);
    budget->firsts[budget->slot % (RETRY_BUDGET_SLOTS + 1)]++;
}

int64_t retry_budget_left(struct retry_budget *budget, int64_t now_us)
{
    advance(budget, now_us);
    int64_t share = sum(budget->firsts) * budget->options.percent / 100;
    int64_t allowed = share > budget->options.floor ? share : budget->options.floor;
    int64_t left = allowed - sum(budget->retries);
    return left > 0 ? left : 0;
}

bool retry_budget_take(struct retry_budget *budget, int64_t now_us)
{
    if (retry_budget_left(budget, now_us) == 0) {
        return false;
    }
    budget->retries[budget->slot % (RETRY_BUDGET_SLOTS + 1)]++;
    return true;
}
