/*
 * Target: cron_parse and cron_next (cron_parse.c, cron.c). The first byte chooses a zone,
 * eight bytes are the instant to start from, the rest is the expression.
 *
 * Fire times are in order, are the next ones also from the second before, and the clock
 * shows at each a chosen time, or has just been put forward over one.
 */
#include "storage/jobs/cron.h"
#include "storage/jobs/zone.h"

#include "storage/base/buffer.h"

#include <assert.h>

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { START_BYTES = 9, FIRES_MAX = 32 };

static const int64_t us_per_second = 1000000;

static const char *const rules[] = {
    "UTC0",
    "EST5EDT,M3.2.0,M11.1.0",
    "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
    "<-03>3<-02>,M11.1.0/0,M2.3.0/0",
    "IST-1GMT0,M10.5.0,M3.5.0/1",
    "AAA12BBB-12,J60/167,J300/-167",
    "XXX3EDT4,0/0,J365/23",
};
enum { RULES_COUNT = sizeof rules / sizeof rules[0] };
static const struct zone *zones[RULES_COUNT]; /* set once, before the first input */

static const struct zone *zone_of(const char *rule)
{
    static const uint8_t block[] = "TZif3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" /* reserved */
                                   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"    /* no times */
                                   "\0\0\0\1\0\0\0\4\0\0\0\0\0\0XXX";    /* one type */
    struct buffer bytes;
    buffer_init(&bytes, 4096);
    buffer_append(&bytes, block, sizeof block);
    buffer_append(&bytes, block, sizeof block);
    buffer_append_format(&bytes, "\n%s\n", rule);
    struct err err = {0};
    const struct zone *zone = NULL;
    enum err_code code = zone_decode(buffer_span(&bytes), "Fuzz/Rule", &zone, &err);
    assert(code == ERR_OK);
    buffer_deinit(&bytes);
    return zone;
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments; /* no options of our own */
    for (size_t i = 0; i < RULES_COUNT; i++) {
        zones[i] = zone_of(rules[i]);
    }
    return 0;
}

/* Is this time on the wall a chosen one? Asked in UTC, where each is shown once. */
static bool is_chosen(const struct cron *cron, int64_t wall_us)
{
    int64_t next_us = 0;
    return cron_next(cron, zones[0], wall_us - us_per_second, &next_us) && next_us == wall_us;
}

static void check_fire(const struct cron *cron, const struct zone *zone, int64_t fire_us)
{
    assert(fire_us % us_per_second == 0);
    int64_t wall_us = fire_us + zone_offset_s(zone, fire_us) * us_per_second;
    int64_t before_us = fire_us - us_per_second;
    int64_t wall_before_us = before_us + zone_offset_s(zone, before_us) * us_per_second;
    if (!is_chosen(cron, wall_us)) {
        int64_t missed_us = 0;
        assert(cron_next(cron, zones[0], wall_before_us, &missed_us));
        assert(missed_us < wall_us);
    }
    int64_t again_us = 0;
    assert(cron_next(cron, zone, before_us, &again_us));
    assert(again_us == fire_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < START_BYTES) {
        return 0;
    }
    const struct zone *zone = zones[data[0] % RULES_COUNT];
    int64_t at_us = 0;
    memcpy(&at_us, data + 1, sizeof at_us);
    struct cron cron;
    struct err err = {0};
    if (cron_parse(span_of(data + START_BYTES, size - START_BYTES), &cron, &err) != ERR_OK) {
        assert(err.code == ERR_INVALID || err.code == ERR_TOO_LARGE);
        assert(strlen(err.msg) < ERR_MESSAGE_BYTES - 1);
        return 0;
    }
    int64_t fire_us = 0;
    bool found = true;
    for (int i = 0; i < FIRES_MAX && found; i++) {
        found = cron_next(&cron, zone, at_us, &fire_us);
        if (found) {
            assert(fire_us > at_us);
            check_fire(&cron, zone, fire_us);
            at_us = fire_us;
        }
    }
    if (!found && at_us < INT64_MAX / 2) {
        assert(!cron_next(&cron, zone, at_us + us_per_second, &fire_us));
    }
    return 0;
}
