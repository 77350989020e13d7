/*
 * Time zones of the IANA database, read from the system's compiled files
 * (package tzdata, folder /usr/share/zoneinfo, or the one that TZDIR names).
 *
 * A zone is immutable: UTC instants to wall clock, wall clock to UTC, exactly,
 * for every instant that fits. It never asks the C library, whose zone is one
 * for the whole process.
 *
 * A *wall time* is what a clock on the wall of the zone shows, counted like an
 * instant: seconds (or microseconds) since 1970-01-01T00:00 on that clock.
 * A *piece* is a stretch of instants with one offset; the pieces of a zone
 * cover all time without a hole.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdint.h>

struct zone; /* immutable, reference counted, shared between threads */

enum {
    ZONE_NAME_BYTES_MAX = 64,
    ZONE_FILE_BYTES_MAX = 256 << 10, /* the largest of tzdata has 4 KiB */
    ZONE_TRANSITIONS_MAX = 4096,
    ZONE_FOOTER_BYTES_MAX = 256,
    ZONE_OFFSET_SECONDS_MAX = 26 * 3600, /* east or west of UTC; RFC 9636 3.2: -25 h to +26 h */
};

/*
 * The zone of this name, such as "Europe/Berlin". "UTC" and "Etc/UTC" need no file.
 *
 * A zone that was read stays in memory; when its file changes (an upgrade of
 * tzdata) the next acquire reads it anew, and zones already handed out stay as they are.
 *
 * Memory:  *zone_out is shared: zone_release.
 * Errors:  ERR_INVALID not a name, or no zone of this name; the message says what a name is;
 *          ERR_CORRUPT, ERR_UNSUPPORTED the file (see zone_decode); ERR_IO.
 * Thread:  any; takes a lock of rank CACHE, reads a file of a few KiB outside it.
 */
enum err_code zone_acquire(const char *name, const struct zone **zone_out,
                           struct err *err) MUST_USE;

/* One more reference to a zone that the caller holds. */
const struct zone *zone_retain(const struct zone *zone);

/* Accepts NULL inside; nulls it. For CLEANUP too. */
void zone_release(const struct zone **zone);

/*
 * Is this the form of a zone name? Segments of A-Z a-z 0-9 _ + - joined by '/', none
 * empty or beginning with '-', at most ZONE_NAME_BYTES_MAX bytes: so no "..", no
 * absolute path, no hidden file.
 * Errors:  ERR_INVALID.
 */
enum err_code zone_name_check(struct span name, struct err *err) MUST_USE;

/*
 * Decode the bytes of a compiled zone file (TZif versions 1 to 4).
 *
 *   tzif      the whole file; borrowed for the call
 *   name      what the zone calls itself in messages; form checked by the caller
 *   zone_out  with one reference
 *
 * Of version 2 and later the 64-bit block and the footer count; the footer's rule
 * holds after the last transition. Abbreviations and the standard/UT indicators
 * are not kept.
 *
 * Errors:  ERR_CORRUPT a size, count, index, order or offset that lies; a footer that is
 *          no POSIX TZ string; ERR_UNSUPPORTED a version we do not know, a zone that counts
 *          leap seconds ("right/…"; its instants are not POSIX time).
 * Thread:  reentrant.
 * Source:  RFC 9636 (RFC 8536); POSIX.1-2017 Base Definitions 8.3 for the footer.
 */
enum err_code zone_decode(struct span tzif, const char *name, const struct zone **zone_out,
                          struct err *err) MUST_USE;

const char *zone_name(const struct zone *zone); /* lives as long as the zone */

/* Seconds east of UTC at an instant: wall = instant + offset. */
int32_t zone_offset_s(const struct zone *zone, int64_t at_us);

enum zone_wall_kind {
    ZONE_WALL_ONCE,  /* the wall time happens at `first_us` */
    ZONE_WALL_NEVER, /* the clock was put forward over it: `first_us` is the first instant after */
    ZONE_WALL_TWICE, /* the clock was put back over it: at `first_us` and again at `last_us` */
};

struct zone_wall {
    enum zone_wall_kind kind;
    int64_t first_us;
    int64_t last_us; /* equals first_us unless ZONE_WALL_TWICE */
};

/*
 * When does the clock show this wall time? A time shown more than twice (two changes
 * within hours, in old tables) reports its first and its last instant.
 * Units:   microseconds; wall_us within ±2^62.
 */
struct zone_wall zone_wall_find(const struct zone *zone, int64_t wall_us);

/* One stretch of time with one offset. */
struct zone_piece {
    int64_t begin_s;  /* first instant; INT64_MIN: since ever */
    int64_t end_s;    /* first instant after it; INT64_MAX: for ever */
    int32_t offset_s; /* seconds east of UTC */
};

/*
 * The piece that holds an instant: what cron.c walks. Neighbours may have the same offset.
 * Units:   whole seconds since the epoch, UTC; at_s within ±2^55.
 */
struct zone_piece zone_piece_at(const struct zone *zone, int64_t at_s);
