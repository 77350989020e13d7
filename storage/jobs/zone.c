/*
 * Instants and wall times of a zone. See zone.h for the contract.
 * Where zones come from is in zone_decode.c and zone_cache.c.
 */
#include "storage/jobs/zone_data.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <stdatomic.h>

static const int64_t us_per_second = 1000000;

const struct zone *zone_retain(const struct zone *zone)
{
    /* the count is the one thing of a shared zone that changes */
    struct zone *counted = (struct zone *)(uintptr_t)zone;
    uint32_t before = atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    assert(before > 0);
    assert(before < UINT32_MAX);
    return zone;
}

void zone_release(const struct zone **zone)
{
    struct zone *counted = (struct zone *)(uintptr_t)*zone;
    *zone = NULL;
    if (counted == NULL) {
        return;
    }
    uint32_t before = atomic_fetch_sub_explicit(&counted->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) {
        mem_free(counted->transitions);
        mem_free(counted);
    }
}

const char *zone_name(const struct zone *zone)
{
    return zone->name;
}

/* How many transitions are at or before `at_s`. */
static uint32_t transitions_until(const struct zone *zone, int64_t at_s)
{
    uint32_t low = 0;
    uint32_t high = zone->transitions_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (zone->transitions[middle].at_s <= at_s) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct zone_piece zone_piece_at(const struct zone *zone, int64_t at_s)
{
    if (zone->has_rule && at_s >= zone->rule_from_s) {
        struct zone_piece piece = zone_rule_piece(&zone->rule, at_s);
        piece.begin_s = piece.begin_s > zone->rule_from_s ? piece.begin_s : zone->rule_from_s;
        return piece;
    }
    uint32_t passed = transitions_until(zone, at_s);
    int64_t last_end = zone->has_rule ? zone->rule_from_s : INT64_MAX;
    const struct zone_transition *next = zone->transitions + passed;
    return (struct zone_piece){
        .begin_s = passed > 0 ? next[-1].at_s : INT64_MIN,
        .end_s = passed < zone->transitions_count ? next->at_s : last_end,
        .offset_s = passed > 0 ? next[-1].offset_s : zone->first_offset_s,
    };
}

static int64_t floor_seconds(int64_t us)
{
    return us / us_per_second - (us % us_per_second < 0);
}

int32_t zone_offset_s(const struct zone *zone, int64_t at_us)
{
    return zone_piece_at(zone, floor_seconds(at_us)).offset_s;
}

struct zone_wall zone_wall_find(const struct zone *zone, int64_t wall_us)
{
    int64_t wall_s = floor_seconds(wall_us);
    int64_t fraction_us = wall_us - wall_s * us_per_second;
    struct zone_wall found = {.kind = ZONE_WALL_NEVER};
    bool passed = false; /* the clock has shown this time or a later one */
    /* no clock shows the time before the first or after the last of these instants */
    int64_t at_s = wall_s - ZONE_OFFSET_SECONDS_MAX;
    int64_t last_s = wall_s + ZONE_OFFSET_SECONDS_MAX;
    while (at_s <= last_s) {
        struct zone_piece piece = zone_piece_at(zone, at_s);
        int64_t shown_s = wall_s - piece.offset_s;
        if (shown_s >= piece.begin_s && shown_s < piece.end_s) {
            found.last_us = shown_s * us_per_second + fraction_us;
            if (!passed) {
                found.kind = ZONE_WALL_ONCE;
                found.first_us = found.last_us;
            } else if (found.kind == ZONE_WALL_ONCE) {
                found.kind = ZONE_WALL_TWICE;
            }
            passed = true;
        } else if (!passed && shown_s < piece.begin_s) {
            found.first_us = piece.begin_s * us_per_second;
            passed = true;
        }
        if (piece.end_s > last_s) {
            break;
        }
        at_s = piece.end_s;
    }
    assert(passed);
    if (found.kind != ZONE_WALL_TWICE) {
        found.last_us = found.first_us;
    }
    return found;
}
