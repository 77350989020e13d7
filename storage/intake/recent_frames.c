/*
 * Frames on their way to the merge. See recent_frames.h.
 */
#include "storage/intake/recent_frames.h"

#include "storage/base/lock.h"
#include "storage/base/mem.h"

struct kept {
    struct kept *next;
    struct location location;
    struct frame *frame;
    size_t bytes;
    int64_t since_us;
};

struct recent_frames {
    size_t bytes_max;
    struct lock lock;  /* guards what follows */
    struct kept *head; /* oldest first: what a lane takes is near the front */
    struct kept **end;
    size_t bytes;
};

struct recent_frames *recent_frames_new(size_t bytes_max)
{
    struct recent_frames *recent = mem_zeroed(1, sizeof *recent);
    recent->bytes_max = bytes_max;
    recent->end = &recent->head;
    lock_init(&recent->lock, LOCK_RANK_CACHE);
    return recent;
}

static void free_kept(struct kept *kept)
{
    while (kept != NULL) {
        struct kept *next = kept->next;
        frame_free(&kept->frame);
        mem_free(kept);
        kept = next;
    }
}

void recent_frames_free(struct recent_frames **recent)
{
    if (*recent != NULL) {
        free_kept((*recent)->head);
        lock_deinit(&(*recent)->lock);
        mem_free(*recent);
        *recent = NULL;
    }
}

/* Out of the list. With the lock. */
static struct kept *unlink_kept(struct recent_frames *recent, struct kept **link)
{
    struct kept *kept = *link;
    *link = kept->next;
    if (recent->end == &kept->next) {
        recent->end = link;
    }
    kept->next = NULL;
    recent->bytes -= kept->bytes;
    return kept;
}

/* Those that nobody came for: their table was dropped. With the lock. */
static struct kept *unlink_stale(struct recent_frames *recent, int64_t now_us)
{
    struct kept *stale = NULL;
    while (recent->head != NULL && now_us - recent->head->since_us >= RECENT_FRAMES_KEEP_US) {
        struct kept *kept = unlink_kept(recent, &recent->head);
        kept->next = stale;
        stale = kept;
    }
    return stale;
}

void recent_frames_expire(struct recent_frames *recent, int64_t now_us)
{
    if (recent == NULL) {
        return;
    }
    lock_take(&recent->lock);
    struct kept *stale = unlink_stale(recent, now_us);
    lock_drop(&recent->lock);
    free_kept(stale);
}

void recent_frames_put(struct recent_frames *recent, const struct location *location,
                       int64_t now_us, struct frame **frame)
{
    if (recent == NULL || (*frame)->rows_count < RECENT_FRAMES_ROWS_MIN) {
        return;
    }
    size_t bytes = frame_memory_bytes(*frame);
    lock_take(&recent->lock);
    struct kept *stale = unlink_stale(recent, now_us);
    if (bytes <= recent->bytes_max - recent->bytes) {
        struct kept *kept = mem_zeroed(1, sizeof *kept);
        *kept = (struct kept){
            .location = *location, .frame = *frame, .bytes = bytes, .since_us = now_us};
        *recent->end = kept;
        recent->end = &kept->next;
        recent->bytes += bytes;
        *frame = NULL;
    }
    lock_drop(&recent->lock);
    free_kept(stale); /* takes its time */
}

static struct kept *unlink_at(struct recent_frames *recent, const struct location *location)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&recent->lock);
    struct kept **link = &recent->head;
    while (*link != NULL && location_compare(&(*link)->location, location) != 0) {
        link = &(*link)->next;
    }
    return *link == NULL ? NULL : unlink_kept(recent, link);
}

struct frame *recent_frames_take(struct recent_frames *recent, const struct location *location,
                                 const struct schema *schema)
{
    struct kept *kept = recent == NULL ? NULL : unlink_at(recent, location);
    if (kept == NULL) {
        return NULL;
    }
    struct frame *frame = NULL;
    if (kept->frame->schema == schema) {
        frame = kept->frame;
        kept->frame = NULL;
    }
    free_kept(kept);
    return frame;
}
