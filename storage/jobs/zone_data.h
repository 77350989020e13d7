/*
 * What a zone is inside. For zone*.c only.
 */
#pragma once

#include "storage/jobs/zone.h"
#include "storage/jobs/zone_rule.h"

#include <stdbool.h>
#include <stdint.h>

/* One change of the offset, as the table in the file has it. */
struct zone_transition {
    int64_t at_s;     /* first instant of the new offset */
    int32_t offset_s; /* seconds east of UTC from then on */
};

/* Immutable but for the count of references. */
struct zone {
    _Atomic uint32_t references;
    char name[ZONE_NAME_BYTES_MAX + 1];
    int32_t first_offset_s;              /* before the first transition */
    struct zone_transition *transitions; /* ascending; neighbours have different offsets */
    uint32_t transitions_count;
    bool has_rule;
    int64_t rule_from_s; /* the rule holds from here on; not before the last transition */
    struct zone_rule rule;
};
