/*
 * Target: zone_decode (zone_decode.c, zone_rule.c), and what a zone of any bytes must
 * still keep: pieces without a hole, wall times that agree with them, fire times in order.
 * The zones of this machine join the corpus.
 */
#include "storage/jobs/cron.h"
#include "storage/jobs/zone.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t us_per_second = 1000000;

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static char folder[] = "/usr/share/zoneinfo/America";
    if (*count < 2 || access(folder, R_OK) != 0) {
        return 0; /* without folders the arguments are inputs to run once */
    }
    char **more = mem_zeroed((size_t)*count + 2, sizeof *more);
    memcpy(more, *arguments, (size_t)*count * sizeof *more);
    more[(*count)++] = folder;
    *arguments = more;
    return 0;
}

static void check_piece(const struct zone *zone, int64_t at_s, const struct zone_piece *piece)
{
    assert(piece->begin_s <= at_s);
    assert(at_s < piece->end_s);
    assert(piece->offset_s >= -ZONE_OFFSET_SECONDS_MAX);
    assert(piece->offset_s <= ZONE_OFFSET_SECONDS_MAX);
    struct zone_piece again = zone_piece_at(zone, piece->end_s - 1);
    assert(again.begin_s == piece->begin_s);
    assert(again.end_s == piece->end_s);
}

static void check_wall(const struct zone *zone, int64_t wall_s)
{
    struct zone_wall found = zone_wall_find(zone, wall_s * us_per_second + 1);
    int64_t shown_us = found.first_us + zone_offset_s(zone, found.first_us) * us_per_second;
    if (found.kind == ZONE_WALL_NEVER) {
        assert(shown_us > wall_s * us_per_second);
        assert(found.last_us == found.first_us);
    } else {
        assert(shown_us == wall_s * us_per_second + 1);
        assert(found.last_us + zone_offset_s(zone, found.last_us) * us_per_second == shown_us);
        assert((found.kind == ZONE_WALL_TWICE) == (found.last_us > found.first_us));
    }
}

/* A few fire times from an instant on: in order, and the same from the second before each. */
static void check_fires(const struct zone *zone, const char *text, int64_t after_s)
{
    struct cron cron;
    struct err err = {0};
    assert(cron_parse(span_of_text(text), &cron, &err) == ERR_OK);
    int64_t at_us = after_s * us_per_second;
    int64_t fire_us = 0;
    for (int i = 0; i < 4 && cron_next(&cron, zone, at_us, &fire_us); i++) {
        int64_t again_us = 0;
        assert(fire_us > at_us);
        assert(cron_next(&cron, zone, fire_us - us_per_second, &again_us));
        assert(again_us == fire_us);
        at_us = fire_us;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    const struct zone *zone = NULL;
    if (zone_decode(span_of(data, size), "Fuzz/Zone", &zone, &err) != ERR_OK) {
        assert(err.code == ERR_CORRUPT || err.code == ERR_UNSUPPORTED);
        return 0;
    }
    enum { PIECES_MAX = 64 };
    int64_t at_s = -((int64_t)1 << 55);
    for (int i = 0; i < PIECES_MAX && at_s <= (int64_t)1 << 41; i++) {
        struct zone_piece piece = zone_piece_at(zone, at_s);
        check_piece(zone, at_s, &piece);
        if (at_s > -((int64_t)1 << 41)) {
            check_wall(zone, at_s + piece.offset_s);
            check_wall(zone, at_s + piece.offset_s - 1);
            check_wall(zone, at_s + piece.offset_s + 1800);
        }
        if (i % 16 == 0) {
            check_fires(zone, "0 0/30 * * * ?", at_s > 0 ? at_s : 0);
            check_fires(zone, "0 30 1,2 * * ?", at_s > 0 ? at_s : 0);
        }
        at_s = piece.end_s;
    }
    zone_release(&zone);
    return 0;
}
