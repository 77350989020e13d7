/*
 * Compiled zone files made by hand, zones from them, and times as text.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/jobs/zone.h"

#include <stddef.h>
#include <stdint.h>

enum { ZONE_KIT_TRANSITIONS_MAX = 8, ZONE_KIT_TYPES_MAX = 4 };

/* What a file says; counts are those of the arrays up to the first unused entry. */
struct zone_kit_file {
    char version;       /* 0, '2', '3', '4' */
    size_t types_count; /* 0 means 1 */
    int32_t offsets[ZONE_KIT_TYPES_MAX];
    size_t transitions_count;
    struct {
        int64_t at_s;
        uint8_t type;
    } transitions[ZONE_KIT_TRANSITIONS_MAX];
    const char *footer; /* NULL: "" */
};

/* The bytes of that file, as a compiler of zones writes them. */
void zone_kit_encode(const struct zone_kit_file *file, struct buffer *bytes);

/* The zone of that file; the test fails when it is refused. */
const struct zone *zone_kit_zone(const struct zone_kit_file *file);

/* A zone that follows a POSIX rule at all times. */
const struct zone *zone_kit_rule(const char *footer);

/* A zone of the system; the test fails when there is none. */
const struct zone *zone_kit_system(const char *name);

/* "2026-03-08T07:00:00Z" and with an offset; the test fails on anything else. */
int64_t zone_kit_us(const char *timestamp);

/* "2026-03-08T02:30:00", a time on a wall. */
int64_t zone_kit_wall_us(const char *timestamp);
