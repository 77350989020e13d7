/*
 * What a catalog is inside. Private to the room.
 */
#pragma once

#include "storage/base/id.h"
#include "storage/base/lock.h"
#include "storage/base/secret.h"
#include "storage/catalog/access_snapshot.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/idempotency.h"
#include "storage/catalog/lanes.h"
#include "storage/catalog/pieces.h"
#include "storage/catalog/source_book.h"
#include "storage/catalog/writer.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct catalog {
    char *folder; /* set once at open, like keys and options */
    const struct secret_keys *keys;
    struct catalog_options options;

    struct lock instance_lock; /* rank CACHE; guards instance */
    struct id instance;

    struct writer writer;
    struct database main; /* writer thread only, once it runs */
    struct database jobs; /* likewise */
    struct pieces pieces;
    struct reader readers[CATALOG_READERS];
    _Atomic unsigned next_reader;
    struct lanes lanes;
    struct claims claims;
    struct source_book sources; /* writer thread only, once it runs */
    struct access_cache access;
    int64_t incarnation; /* set once at open; see runs.h */

    uint8_t *crash_mark; /* mapped; see attempts.h */
    _Atomic bool corrupt;
    _Atomic int64_t commits_count;
    _Atomic int64_t writes_count;
    _Atomic int64_t syncs_count;
};
