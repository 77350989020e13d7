/*
 * Frames that were accepted a moment ago, kept for the merge that is to come: it need not read
 * back from the journal what was in memory when the journal got it. Nothing depends on them; a
 * frame that is not here is read from the journal.
 *
 * Thread:  any. Takes LOCK_RANK_CACHE.
 */
#pragma once

#include "storage/base/location.h"
#include "storage/columns/frame.h"

#include <stddef.h>
#include <stdint.h>

enum {
    RECENT_FRAMES_ROWS_MIN = 257,     /* reading fewer back costs nothing to speak of */
    RECENT_FRAMES_KEEP_US = 60000000, /* older ones give way to others */
};

struct recent_frames;

/* bytes_max  of memory that the frames hold together */
struct recent_frames *recent_frames_new(size_t bytes_max);

/* Accepts NULL inside; nulls. */
void recent_frames_free(struct recent_frames **recent);

/*
 * Keep *frame, which the journal has at `location`, and null it; the caller keeps a frame of few
 * rows, and one that there is no room for. Frames stay that were here before, because lanes merge
 * in the order of acceptance: those that come too fast are read back, not those that are next.
 *
 *   recent  NULL = keep nothing
 *   now_us  monotonic time
 */
void recent_frames_put(struct recent_frames *recent, const struct location *location,
                       int64_t now_us, struct frame **frame);

/* Free those that nobody came for: a put does so too, but may not come. NULL = there are none. */
void recent_frames_expire(struct recent_frames *recent, int64_t now_us);

/*
 * The frame of `location`, the caller's from now on; NULL when it is not here, or is of another
 * definition than `schema`: the journal's form of it can be read under a later one.
 *
 *   recent  NULL = there is none
 */
struct frame *recent_frames_take(struct recent_frames *recent, const struct location *location,
                                 const struct schema *schema);
