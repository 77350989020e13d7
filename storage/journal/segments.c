/*
 * The segment log. See segments.h for the file format and the contract.
 *
 * Records are written under the log's lock, so that the file never has a hole
 * before a record that somebody has synced; the fdatasync itself runs outside it
 * and serves every record written before it began.
 */
#include "storage/journal/segments.h"

#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/file.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/journal/segment_format.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PADDING_BYTES_MAX = 8 };

static const char reserve_name[] = "reserve";
static const char next_name[] = "next";

/* One file of the log; guarded by the log's lock. */
struct segment {
    int64_t number;
    uint64_t nonce;
    int64_t allocated;  /* bytes of the file */
    int64_t written_us; /* wall time of the last append, for the keep time */
    int64_t pins;
};

/* The file of the next segment, made before it is needed; fd -1 = there is none. */
struct prepared {
    int fd;
    int64_t number;
    uint64_t nonce;
    int64_t allocated;
};

/* What a latch of the waiters is opened with. */
enum { SYNC_DONE = 1, SYNC_LEAD = 2 };

/* A caller of segments_sync; lies on its stack, in the log's list while it waits. */
struct sync_waiter {
    int64_t segment;
    int64_t end;
    struct latch latch;
    struct sync_waiter *next;
};

struct segment_log {
    char *folder; /* set once at open, like options */
    char magic[SEGMENT_MAGIC_BYTES + 1];
    struct segment_options options;

    struct lock lock; /* guards everything below */
    struct wake idle; /* the leader is back */
    struct sync_waiter *waiters;
    struct segment *segments; /* by number, the last one is written */
    size_t segments_count;
    size_t segments_capacity;
    int fd;                  /* of the last segment */
    int64_t tail;            /* where the next record goes in it */
    struct location durable; /* what lies before it survives; offset is an end, size unused */
    bool syncing;            /* a leader is in fdatasync, outside the lock */
    bool folder_unsynced;    /* the last segment's name is not durable yet */
    bool preparing;          /* somebody makes `next`, outside the lock */
    struct prepared next;
    bool has_reserve;
    int64_t unsynced_since_us;
    int64_t appends_count;
    int64_t syncs_count;
};

/* ---- files ---- */

/* Reserve the blocks of a file and make the rest of it read as zeros. */
static enum err_code preallocate(int fd, int64_t from, int64_t bytes, struct err *err)
{
    if (fallocate(fd, FALLOC_FL_ZERO_RANGE, from, bytes - from) == 0) {
        return ERR_OK;
    }
    if (errno != EOPNOTSUPP) {
        return err_set_errno(err, errno, "preallocate %" PRId64 " bytes", bytes);
    }
    /* File systems without it: the zeros come from the truncation, the blocks from the second call.
     */
    if (ftruncate(fd, from) != 0) {
        return err_set_errno(err, errno, "truncate");
    }
    int failed = posix_fallocate(fd, 0, bytes);
    return failed == 0 ? ERR_OK
                       : err_set_errno(err, failed, "preallocate %" PRId64 " bytes", bytes);
}

static enum err_code create_file(const char *path, int64_t bytes, int *fd_out, struct err *err)
{
    CLEANUP(file_close) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_set_errno(err, errno, "create %s", path);
    }
    enum err_code code = preallocate(fd, 0, bytes, err);
    if (code != ERR_OK) {
        (void)unlink(path); /* it holds nothing; blocks go back */
        return err_wrap(err, "%s", path);
    }
    *fd_out = fd;
    fd = -1;
    return ERR_OK;
}

/* Keep one more file's worth of blocks; not having them is no error. */
static void replenish_reserve(struct segment_log *log)
{
    if (!log->options.keep_reserve || log->has_reserve) {
        return;
    }
    struct err ignored = {0};
    CLEANUP(mem_cleanup) char *path = file_join(log->folder, reserve_name);
    CLEANUP(file_close) int fd = -1;
    log->has_reserve = create_file(path, log->options.segment_bytes, &fd, &ignored) == ERR_OK &&
                       file_sync_data(fd, &ignored) == ERR_OK;
}

/* A preallocated nameless-so-far file for a new segment: the reserve or a fresh one. */
static enum err_code take_file(struct segment_log *log, int64_t bytes, int *fd_out, char **path_out,
                               struct err *err)
{
    char *path = file_join(log->folder, next_name);
    int fd = -1;
    enum err_code code = create_file(path, bytes, &fd, err);
    if (code == ERR_NO_SPACE && log->has_reserve && bytes <= log->options.segment_bytes) {
        mem_free(path);
        path = file_join(log->folder, reserve_name);
        fd = open(path, O_RDWR | O_CLOEXEC);
        code = fd >= 0 ? ERR_OK : err_set_errno(err, errno, "open %s", path);
        log->has_reserve = false;
    }
    if (code != ERR_OK) {
        mem_free(path);
        return code;
    }
    *fd_out = fd;
    *path_out = path;
    return ERR_OK;
}

static struct segment *add_segment(struct segment_log *log, const struct segment *segment)
{
    if (log->segments_count == log->segments_capacity) {
        log->segments_capacity = log->segments_capacity == 0 ? 16 : log->segments_capacity * 2;
        log->segments = mem_resize(log->segments, log->segments_capacity, sizeof *log->segments);
    }
    log->segments[log->segments_count] = *segment;
    return &log->segments[log->segments_count++];
}

/* The segment being written; there is one after the first append. */
static struct segment *last_segment(struct segment_log *log)
{
    assert(log->segments_count > 0);
    return &log->segments[log->segments_count - 1];
}

/* Does a record of `extent` bytes fit behind the last one? */
static bool has_room(struct segment_log *log, int64_t extent)
{
    return log->segments_count > 0 && extent <= last_segment(log)->allocated - log->tail;
}

/* The header, durably. */
static enum err_code write_header(const struct segment_log *log, struct prepared *next,
                                  struct err *err)
{
    secret_random(&next->nonce, sizeof next->nonce);
    CLEANUP(buffer_deinit) struct buffer header;
    buffer_init(&header, SEGMENT_HEADER_BYTES);
    segment_encode_header(log->magic, next->number, next->nonce, &header);
    TRY(file_write_at(next->fd, 0, buffer_span(&header), err));
    return file_sync_data(next->fd, err);
}

static void discard_next(struct segment_log *log)
{
    if (log->next.fd >= 0) {
        CLEANUP(mem_cleanup) char *path = file_join(log->folder, next_name);
        (void)unlink(path); /* else the next start does it */
        file_close(&log->next.fd);
    }
}

/*
 * A new segment of at least `bytes`, named only when its header is on disk. Its name is durable
 * with the first sync of its records (folder_unsynced).
 */
static enum err_code start_segment(struct segment_log *log, int64_t bytes, struct err *err)
{
    CLEANUP(mem_cleanup) char *draft = NULL;
    if (log->next.fd >= 0 && bytes <= log->next.allocated) {
        draft = file_join(log->folder, next_name);
    } else {
        discard_next(log);
        struct prepared next = {.number =
                                    log->segments_count == 0 ? 1 : last_segment(log)->number + 1,
                                .allocated = bytes};
        TRY(take_file(log, bytes, &next.fd, &draft, err));
        if (write_header(log, &next, err) != ERR_OK) {
            file_close(&next.fd);
            return err->code;
        }
        log->next = next;
    }
    CLEANUP(mem_cleanup) char *path = segment_path(log->folder, log->next.number);
    if (rename(draft, path) != 0) {
        int failed = errno;
        file_close(&log->next.fd);
        return err_set_errno(err, failed, "name %s", path);
    }
    const struct segment started = {.number = log->next.number,
                                    .nonce = log->next.nonce,
                                    .allocated = log->next.allocated,
                                    .written_us = clock_wall_us()};
    (void)add_segment(log, &started);
    file_close(&log->fd);
    log->fd = log->next.fd;
    log->next.fd = -1;
    log->folder_unsynced = true;
    log->tail = SEGMENT_HEADER_BYTES;
    log->durable = (struct location){.segment = started.number, .offset = log->tail};
    replenish_reserve(log);
    return ERR_OK;
}

/*
 * Make the next segment's file when this one is half full, so that whoever finds it full need not
 * wait for the disk. By the leader of a sync, behind it. The lock is held, and given up meanwhile.
 */
static void prepare_next(struct segment_log *log)
{
    if (log->preparing || log->next.fd >= 0 || log->tail <= last_segment(log)->allocated / 2) {
        return;
    }
    log->preparing = true;
    struct prepared next = {
        .fd = -1, .number = last_segment(log)->number + 1, .allocated = log->options.segment_bytes};
    lock_drop(&log->lock);

    struct err ignored = {0}; /* made when it is needed, then, or its error told */
    CLEANUP(mem_cleanup) char *path = file_join(log->folder, next_name);
    if (create_file(path, next.allocated, &next.fd, &ignored) == ERR_OK &&
        write_header(log, &next, &ignored) != ERR_OK) {
        (void)unlink(path); /* else the next start does it */
        file_close(&next.fd);
    }

    lock_take(&log->lock);
    assert(next.number == last_segment(log)->number + 1); /* make_room waits for us */
    log->preparing = false;
    log->next = next;
    wake_all(&log->idle);
}

/* ---- syncing ---- */

/* fdatasync, or the end of the process. The lock may be held. */
static void sync_or_stop(const struct segment_log *log, int fd)
{
    struct err err = {0};
    enum err_code code = log->options.sync_fault != NULL && FAULT(log->options.sync_fault)
                             ? err_set_errno(&err, EIO, "injected")
                             : file_sync_data(fd, &err);
    if (code != ERR_OK) {
        (void)err_wrap(&err, "sync of segment log %s", log->folder);
        process_stop_after_io_error(&err);
    }
}

/* The records of the last segment, and its name. The lock may be held. */
static void sync_last_or_stop(const struct segment_log *log, int fd, bool folder_unsynced)
{
    struct err err = {0};
    if (folder_unsynced && file_sync_directory(log->folder, &err) != ERR_OK) {
        (void)err_wrap(&err, "sync of segment log %s", log->folder);
        process_stop_after_io_error(&err);
    }
    sync_or_stop(log, fd);
}

static bool is_durable(const struct segment_log *log, int64_t segment, int64_t end)
{
    return segment < log->durable.segment ||
           (segment == log->durable.segment && end <= log->durable.offset);
}

/* Let go whom the sync has served, and make one of the others the next leader. */
static void release_waiters(struct segment_log *log)
{
    struct sync_waiter *left = NULL;
    struct sync_waiter *waiter = log->waiters;
    while (waiter != NULL) {
        struct sync_waiter *next = waiter->next; /* an opened waiter is gone */
        if (is_durable(log, waiter->segment, waiter->end)) {
            latch_open(&waiter->latch, SYNC_DONE);
        } else {
            waiter->next = left;
            left = waiter;
        }
        waiter = next;
    }
    if (left != NULL && !log->syncing) {
        struct sync_waiter *leader = left;
        left = leader->next;
        log->syncing = true; /* in its name, so that nobody comes between */
        latch_open(&leader->latch, SYNC_LEAD);
    }
    log->waiters = left;
}

/* Sync everything written so far. The lock is held, and given up meanwhile. */
static void lead_sync(struct segment_log *log)
{
    assert(log->syncing);
    int fd = log->fd;
    bool folder_unsynced = log->folder_unsynced;
    struct location upto = {.segment = last_segment(log)->number, .offset = log->tail};
    int64_t started_us = clock_monotonic_us();
    lock_drop(&log->lock);

    sync_last_or_stop(log, fd, folder_unsynced);

    lock_take(&log->lock);
    log->syncing = false;
    log->folder_unsynced = false; /* no segment begins while a leader syncs */
    log->syncs_count++;
    log->durable = upto;
    log->unsynced_since_us = log->tail > upto.offset ? started_us : 0;
    release_waiters(log);
    wake_all(&log->idle);
    prepare_next(log);
}

static void sync_until(struct segment_log *log, int64_t segment, int64_t end)
{
    struct sync_waiter waiter = {.segment = segment, .end = end};
    lock_take(&log->lock);
    if (is_durable(log, segment, end)) {
        lock_drop(&log->lock);
        return;
    }
    if (log->syncing) {
        waiter.next = log->waiters;
        log->waiters = &waiter;
        lock_drop(&log->lock);
        if (latch_wait(&waiter.latch) == SYNC_DONE) {
            return;
        }
        lock_take(&log->lock);
    } else {
        log->syncing = true;
    }
    lead_sync(log); /* everything written: also what we wait for */
    lock_drop(&log->lock);
}

void segments_sync(struct segment_log *log, const struct location *location)
{
    assert(location_is_set(location));
    sync_until(log, location->segment,
               location->offset + segment_record_extent((size_t)location->size));
}

void segments_sync_all(struct segment_log *log)
{
    int64_t segment = 0;
    int64_t end = 0;
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&log->lock);
        if (log->segments_count == 0) {
            return;
        }
        segment = last_segment(log)->number;
        end = log->tail;
    }
    sync_until(log, segment, end);
}

/* ---- appending ---- */

/* Make room for `extent` bytes at the tail: the next segment when this one is full. */
static enum err_code make_room(struct segment_log *log, int64_t extent, struct err *err)
{
    while (log->syncing || log->preparing) { /* the leader's file must stay open */
        wake_wait(&log->idle, &log->lock);
    }
    if (has_room(log, extent)) {
        return ERR_OK; /* somebody else rolled while we waited */
    }
    int64_t needed = SEGMENT_HEADER_BYTES + extent;
    int64_t bytes = needed > log->options.segment_bytes ? needed : log->options.segment_bytes;
    if (log->segments_count == 0) {
        return start_segment(log, bytes, err);
    }
    if (log->folder_unsynced || !is_durable(log, last_segment(log)->number, log->tail)) {
        /* nothing of the next segment may be on the disk before all of this one */
        sync_last_or_stop(log, log->fd, log->folder_unsynced);
        log->folder_unsynced = false;
        log->syncs_count++;
        log->durable.offset = log->tail;
        log->unsynced_since_us = 0;
        release_waiters(log);
    }
    int left_fd = dup(log->fd); /* start_segment closes ours only when it succeeds */
    int64_t left_tail = log->tail;
    TRY(start_segment(log, bytes, err));
    if (left_fd >= 0) {
        struct segment *left = &log->segments[log->segments_count - 2];
        left->allocated = ftruncate(left_fd, left_tail) == 0 ? left_tail : left->allocated;
        file_close(&left_fd);
    }
    return ERR_OK;
}

static enum err_code write_record(struct segment_log *log, struct span payload, int64_t extent,
                                  struct err *err)
{
    static const uint8_t zeros[PADDING_BYTES_MAX];
    struct segment_place place = {.number = last_segment(log)->number,
                                  .nonce = last_segment(log)->nonce,
                                  .offset = log->tail};
    CLEANUP(buffer_deinit) struct buffer header;
    buffer_init(&header, SEGMENT_RECORD_HEADER_BYTES);
    segment_encode_record(payload, &place, &header);

    size_t padding = (size_t)extent - SEGMENT_RECORD_HEADER_BYTES - payload.size;
    struct iovec parts[3] = {
        {.iov_base = header.data, .iov_len = header.size},
        {.iov_base = (void *)(uintptr_t)payload.data, .iov_len = payload.size},
        {.iov_base = (void *)(uintptr_t)zeros, .iov_len = padding},
    };
    ssize_t written = pwritev(log->fd, parts, 3, log->tail);
    if (written == extent) {
        return ERR_OK;
    }
    if (written < 0 && errno != EINTR) {
        return err_set_errno(err, errno, "write to segment %" PRId64, place.number);
    }
    /* A short or interrupted write: once more, part by part, each to its end. */
    TRY(file_write_at(log->fd, log->tail, buffer_span(&header), err));
    int64_t payload_at = log->tail + SEGMENT_RECORD_HEADER_BYTES;
    TRY(file_write_at(log->fd, payload_at, payload, err));
    return file_write_at(log->fd, payload_at + (int64_t)payload.size, span_of(zeros, padding), err);
}

static enum err_code append_locked(struct segment_log *log, struct span payload,
                                   struct location *location_out, struct err *err)
{
    int64_t extent = segment_record_extent(payload.size);
    if (!has_room(log, extent)) {
        TRY(make_room(log, extent, err));
    }
    TRY(write_record(log, payload, extent, err));

    struct segment *segment = last_segment(log);
    *location_out = (struct location){
        .segment = segment->number, .offset = log->tail, .size = (int64_t)payload.size};
    log->tail += extent;
    log->appends_count++;
    segment->pins++;
    segment->written_us = clock_wall_us();
    if (log->unsynced_since_us == 0) {
        log->unsynced_since_us = clock_monotonic_us();
    }
    return ERR_OK;
}

enum err_code segments_append(struct segment_log *log, struct span payload,
                              struct location *location_out, struct err *err)
{
    if (payload.size > (size_t)log->options.record_bytes_max) {
        return err_set(err, ERR_TOO_LARGE, "a record of %zu bytes is over the limit of %" PRId64,
                       payload.size, log->options.record_bytes_max);
    }
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&log->lock);
    enum err_code code = append_locked(log, payload, location_out, err);
    if (code != ERR_OK) {
        (void)err_wrap(err, "segment log %s", log->folder);
        if (code != ERR_NO_SPACE) {
            process_stop_after_io_error(err);
        }
    }
    return code;
}

/* ---- reading ---- */

static struct segment *find_segment(struct segment_log *log, int64_t number)
{
    for (size_t i = log->segments_count; i > 0; i--) {
        if (log->segments[i - 1].number == number) {
            return &log->segments[i - 1];
        }
    }
    return NULL;
}

enum err_code segments_read(struct segment_log *log, const struct location *location,
                            struct buffer *payload_out, struct err *err)
{
    return segments_read_closed(log->folder, log->magic, location, payload_out, err);
}

void segments_reader_begin(const struct segment_log *log, struct segment_reader *reader)
{
    segment_reader_init(reader, log->folder, log->magic);
}

/* ---- opening ---- */

static bool count_record(void *arg, const struct location *location, struct span payload)
{
    (void)payload;
    struct segment_recovery *recovery = arg;
    recovery->records_count++;
    recovery->last = *location;
    return true;
}

/* Find the end of the newest segment and what lies torn behind it. */
static enum err_code scan_newest(const char *path, struct segment_log *log,
                                 struct segment_recovery *recovery, struct err *err)
{
    CLEANUP(file_unmap) struct span file = {0};
    TRY(file_map(path, &file, err));
    TRY(segment_decode(file, log->magic, last_segment(log)->number, count_record, recovery,
                       &log->tail, err));
    recovery->cut_bytes = segment_zeros_start(file, log->tail) - log->tail;
    return ERR_OK;
}

/*
 * Zero what lies behind the last whole record and make that durable, so that no
 * later record can ever join up with it. A full disk keeps the file's old size.
 */
static enum err_code resume_newest(struct segment_log *log, struct segment_recovery *recovery,
                                   struct err *err)
{
    struct segment *last = last_segment(log);
    CLEANUP(mem_cleanup) char *path = segment_path(log->folder, last->number);
    TRY(scan_newest(path, log, recovery, err));
    log->fd = open(path, O_RDWR | O_CLOEXEC);
    if (log->fd < 0) {
        return err_set_errno(err, errno, "open %s", path);
    }
    int64_t bytes =
        last->allocated > log->options.segment_bytes ? last->allocated : log->options.segment_bytes;
    struct err full = {0};
    if (log->tail < bytes && preallocate(log->fd, log->tail, bytes, &full) == ERR_OK) {
        last->allocated = bytes;
    } else {
        if (ftruncate(log->fd, log->tail) != 0) {
            return err_set_errno(err, errno, "truncate %s", path);
        }
        last->allocated = log->tail;
    }
    sync_or_stop(log, log->fd);
    log->durable = (struct location){.segment = last->number, .offset = log->tail};
    return ERR_OK;
}

static enum err_code load_segments(struct segment_log *log, struct err *err)
{
    CLEANUP(mem_cleanup) int64_t *numbers = NULL;
    size_t count = 0;
    TRY(segment_list(log->folder, &numbers, &count, err));
    for (size_t i = 0; i < count; i++) {
        CLEANUP(mem_cleanup) char *path = segment_path(log->folder, numbers[i]);
        CLEANUP(file_close) int fd = -1;
        struct segment segment = {.number = numbers[i]};
        TRY(file_open_read(path, &fd, &segment.allocated, err));
        if (segment_read_nonce(fd, log->magic, numbers[i], &segment.nonce, err) != ERR_OK) {
            return err_wrap(err, "%s", path);
        }
        int64_t modified_ms = 0;
        TRY(file_stat(path, &segment.allocated, &modified_ms, err));
        segment.written_us = modified_ms * 1000;
        (void)add_segment(log, &segment);
    }
    return ERR_OK;
}

/* Blocks of a start that did not finish; the reserve is taken over when it is whole. */
static enum err_code sort_out_drafts(struct segment_log *log, struct err *err)
{
    CLEANUP(mem_cleanup) char *next = file_join(log->folder, next_name);
    TRY(file_remove(next, err));
    CLEANUP(mem_cleanup) char *reserve = file_join(log->folder, reserve_name);
    int64_t size = 0;
    int64_t modified_ms = 0;
    struct err absent = {0};
    log->has_reserve = file_stat(reserve, &size, &modified_ms, &absent) == ERR_OK &&
                       size == log->options.segment_bytes;
    replenish_reserve(log);
    return ERR_OK;
}

static void check_options(const struct segment_options *options)
{
    assert(strlen(options->magic) == SEGMENT_MAGIC_BYTES);
    assert(options->segment_bytes > SEGMENT_HEADER_BYTES);
    assert(options->record_bytes_max > 0);
    assert(options->record_bytes_max <= SEGMENT_RECORD_BYTES_MAX);
}

enum err_code segments_open(const char *folder, const struct segment_options *options,
                            struct segment_log **log_out, struct segment_recovery *recovery_out,
                            struct err *err)
{
    check_options(options);
    TRY(file_make_directory(folder, err));
    CLEANUP(segments_close) struct segment_log *log = mem_zeroed(1, sizeof *log);
    log->fd = -1;
    log->next.fd = -1;
    log->folder = mem_copy_text(folder);
    log->options = *options;
    memcpy(log->magic, options->magic, SEGMENT_MAGIC_BYTES);
    log->options.magic = log->magic;
    lock_init(&log->lock, LOCK_RANK_JOURNAL);
    wake_init(&log->idle);

    struct segment_recovery recovery = {0};
    TRY(load_segments(log, err));
    if (log->segments_count > 0) {
        TRY(resume_newest(log, &recovery, err));
    }
    TRY(sort_out_drafts(log, err));
    recovery.segments_count = (int64_t)log->segments_count;
    recovery.newest = log->segments_count == 0 ? 0 : last_segment(log)->number;
    if (recovery_out != NULL) {
        *recovery_out = recovery;
    }
    *log_out = log;
    log = NULL;
    return ERR_OK;
}

void segments_close(struct segment_log **log_pointer)
{
    struct segment_log *log = *log_pointer;
    if (log == NULL) {
        return;
    }
    if (log->fd >= 0) {
        segments_sync_all(log);
        file_close(&log->fd);
    }
    discard_next(log);
    wake_deinit(&log->idle);
    lock_deinit(&log->lock);
    mem_free(log->segments);
    mem_free(log->folder);
    mem_free(log);
    *log_pointer = NULL;
}

/* ---- keeping house ---- */

void segments_unpin(struct segment_log *log, const struct location *location)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&log->lock);
    struct segment *segment = find_segment(log, location->segment);
    assert(segment != NULL); /* a pinned segment is not removed */
    assert(segment->pins > 0);
    segment->pins--;
}

/* Take the oldest removable segment off the list; 0 when there is none. */
static int64_t take_removable(struct segment_log *log, int64_t below, int64_t keep_us)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&log->lock);
    if (log->segments_count < 2) {
        return 0;
    }
    const struct segment oldest = log->segments[0];
    if (oldest.number >= below || oldest.pins > 0 ||
        clock_wall_us() - oldest.written_us < keep_us) {
        return 0;
    }
    log->segments_count--;
    memmove(log->segments, log->segments + 1, log->segments_count * sizeof *log->segments);
    return oldest.number;
}

enum err_code segments_remove_below(struct segment_log *log, int64_t segment, int64_t keep_us,
                                    int64_t *removed_out, struct err *err)
{
    int64_t removed = 0;
    for (;;) {
        /* Oldest first and one by one: a gap in the numbers would look like a loss. */
        int64_t number = take_removable(log, segment, keep_us);
        if (number == 0) {
            break;
        }
        CLEANUP(mem_cleanup) char *path = segment_path(log->folder, number);
        TRY(file_remove(path, err));
        removed++;
    }
    *removed_out = removed;
    return ERR_OK;
}

int64_t segments_tail(struct segment_log *log)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&log->lock);
    return log->segments_count == 0 ? 1 : last_segment(log)->number;
}

void segments_statistics(struct segment_log *log, struct segment_statistics *statistics_out)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&log->lock);
    struct segment_statistics statistics = {
        .segments_count = (int64_t)log->segments_count,
        .appends_count = log->appends_count,
        .syncs_count = log->syncs_count,
        .oldest_unsynced_us = log->unsynced_since_us,
    };
    for (size_t i = 0; i < log->segments_count; i++) {
        statistics.bytes += log->segments[i].allocated;
    }
    statistics.bytes += log->next.fd >= 0 ? log->next.allocated : 0;
    *statistics_out = statistics;
}
