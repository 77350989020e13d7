/* The guard below libmicrohttpd, and the deadlines of connections; see tap.h. */
#include "server/tap.h"

#include "storage/base/clock.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TAP_FDS_MAX = 65536,
    TAP_SCAN_US = 100000,    /* between two looks for overdue connections */
    TAP_LINGERING_MAX = 256, /* closed connections that are still being drained */
    TAP_LINGER_US = 2000000,
    TAP_DRAIN_BYTES = 64 << 10,          /* per lingering connection and look */
    TAP_READ_BYTES_MAX = 1 << 20,        /* guard_feed takes no more at once */
    TAP_SWALLOWED_BYTES_MAX = 256 << 10, /* of a refused connection, in one go */
};

struct tap {
    int fd;
    bool is_tls;
    struct guard guard;          /* the connection's thread only */
    int64_t unit_started_us;     /* of the head or body under way; 0 = none */
    uint64_t unit_heads;         /* guard.heads_count when the unit began */
    _Atomic int64_t deadline_us; /* monotonic, 0 = none */
    bool overdue;                /* the thread of deadlines only */
};

/* A descriptor of ours on a connection that was answered before its body was read. */
struct lingering {
    int fd;
    int64_t until_us;
};

typedef ssize_t record_recv_fn(gnutls_session_t session, void *data, size_t size);

static struct {
    struct tap_options options;
    struct lock lock; /* guards slots' changes against the thread's look, and lingering */
    _Atomic(struct tap *) slots[TAP_FDS_MAX];
    _Atomic int highest_fd;
    struct lingering lingering[TAP_LINGERING_MAX];
    size_t lingering_count;
    struct metric *overdue;
    record_recv_fn *record_recv; /* the library's own */
    struct wake wake;
    bool stopping;
    bool started;
    pthread_t thread;
} taps;

/* ---- reading ---- */

/* The next bytes of the connection, as recv(2) returns them. */
static ssize_t read_connection(struct tap *tap, gnutls_session_t session, void *bytes, size_t size)
{
    if (tap->is_tls) {
        return taps.record_recv(session, bytes, size);
    }
    return recvfrom(tap->fd, bytes, size, 0, NULL, NULL);
}

/* What the phase of the guard means for the deadline. */
static void update_deadline(struct tap *tap)
{
    const struct guard *guard = &tap->guard;
    if (guard_is_idle(guard) || guard->phase == GUARD_PHASE_REFUSED) {
        tap->unit_started_us = 0;
        atomic_store(&tap->deadline_us, 0);
        return;
    }
    bool in_head = guard->phase == GUARD_PHASE_HEAD;
    uint64_t unit = guard->heads_count * 2 + (in_head ? 1 : 0);
    if (tap->unit_started_us == 0 || tap->unit_heads != unit) {
        tap->unit_started_us = clock_monotonic_us();
        tap->unit_heads = unit;
    }
    int64_t allowed_us = taps.options.head_ms * 1000;
    if (!in_head) {
        allowed_us =
            taps.options.body_ms * 1000 +
            (int64_t)(guard->body_bytes / (uint64_t)taps.options.body_bytes_per_second) * 1000000;
    }
    atomic_store(&tap->deadline_us, tap->unit_started_us + allowed_us);
}

static ssize_t nothing_yet(const struct tap *tap)
{
    if (tap->is_tls) {
        return GNUTLS_E_AGAIN;
    }
    errno = EAGAIN;
    return -1;
}

/*
 * Read until something may be handed on. An edge-triggered reader that is told
 * "nothing yet" waits for the next edge, so everything there is must be read
 * before it is told so.
 */
static ssize_t read_guarded(struct tap *tap, gnutls_session_t session, void *bytes, size_t size)
{
    size_t taken = guard_take(&tap->guard, bytes, size);
    if (taken > 0) {
        return (ssize_t)taken;
    }
    size = size < TAP_READ_BYTES_MAX ? size : TAP_READ_BYTES_MAX;
    size_t swallowed = 0;
    while (swallowed < TAP_SWALLOWED_BYTES_MAX) {
        ssize_t got = read_connection(tap, session, bytes, size);
        if (got <= 0) {
            return got;
        }
        size_t passed = guard_feed(&tap->guard, bytes, (size_t)got);
        update_deadline(tap);
        if (passed < size) {
            passed += guard_take(&tap->guard, (uint8_t *)bytes + passed, size - passed);
        }
        if (passed > 0) {
            return (ssize_t)passed;
        }
        swallowed += (size_t)got;
    }
    return nothing_yet(tap); /* only a refused connection gets here: heads are smaller */
}

static struct tap *find_tap(int fd)
{
    return fd >= 0 && fd < TAP_FDS_MAX ? atomic_load_explicit(&taps.slots[fd], memory_order_acquire)
                                       : NULL;
}

/* Interposes libc's: libmicrohttpd reads plain connections through it. */
ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    struct tap *tap = find_tap(fd);
    if (tap == NULL || tap->is_tls || flags != 0) {
        return recvfrom(fd, bytes, size, flags, NULL, NULL);
    }
    return read_guarded(tap, NULL, bytes, size);
}

/* Interposes GnuTLS's: libmicrohttpd reads TLS connections through it. */
ssize_t gnutls_record_recv(gnutls_session_t session, void *bytes, size_t size)
{
    struct tap *tap = find_tap(gnutls_transport_get_int(session));
    if (tap == NULL) {
        assert(taps.record_recv != NULL);
        return taps.record_recv(session, bytes, size);
    }
    return read_guarded(tap, session, bytes, size);
}

/* ---- deadlines ---- */

/*
 * What a reader does not take must not stay behind in the kernel, which would offer it to him
 * for minutes more: closing discards it and resets the connection.
 */
static void reset_at_close(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger,
                     sizeof linger); /* without it, it is only slower */
}

static void close_overdue(int64_t now_us)
{
    int highest = atomic_load(&taps.highest_fd);
    for (int fd = 0; fd <= highest; fd++) {
        struct tap *tap = atomic_load(&taps.slots[fd]);
        if (tap == NULL || tap->overdue) {
            continue;
        }
        int64_t deadline_us = atomic_load(&tap->deadline_us);
        if (deadline_us != 0 && now_us >= deadline_us) {
            tap->overdue = true;
            reset_at_close(fd);
            (void)shutdown(fd, SHUT_RDWR); /* its thread sees the end and closes it */
            metric_add(taps.overdue, 1);
        }
    }
}

/* Has the client closed, or is the time up? What it sent is thrown away. */
static bool drain(struct lingering *each, int64_t now_us)
{
    uint8_t scratch[4096];
    size_t drained = 0;
    while (drained < TAP_DRAIN_BYTES) {
        ssize_t got = recvfrom(each->fd, scratch, sizeof scratch, MSG_DONTWAIT, NULL, NULL);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            return true;
        }
        if (got < 0) {
            break;
        }
        drained += (size_t)got;
    }
    return now_us >= each->until_us;
}

static void drain_lingering(int64_t now_us)
{
    size_t kept = 0;
    for (size_t i = 0; i < taps.lingering_count; i++) {
        if (drain(&taps.lingering[i], now_us)) {
            (void)close(taps.lingering[i].fd); /* nothing of ours is in it any more */
        } else {
            taps.lingering[kept] = taps.lingering[i];
            kept++;
        }
    }
    taps.lingering_count = kept;
}

static void *watch(void *unused)
{
    (void)unused;
    lock_take(&taps.lock);
    while (!taps.stopping) {
        int64_t now_us = clock_monotonic_us();
        close_overdue(now_us);
        drain_lingering(now_us);
        (void)wake_wait_until(&taps.wake, &taps.lock, now_us + TAP_SCAN_US);
    }
    drain_lingering(INT64_MAX);
    lock_drop(&taps.lock);
    return NULL;
}

enum err_code tap_start(const struct tap_options *options, struct err *err)
{
    assert(!taps.started);
    assert(options->body_bytes_per_second > 0);
    taps.options = *options;
    void *bound = dlsym(RTLD_DEFAULT, "recv");
    void *own = dlsym(RTLD_NEXT, "gnutls_record_recv");
    if (bound != (void *)(uintptr_t)recv || own == NULL ||
        dlsym(RTLD_DEFAULT, "gnutls_record_recv") != (void *)(uintptr_t)gnutls_record_recv) {
        return err_set(err, ERR_UNSUPPORTED,
                       "the program's recv is not the one that libmicrohttpd calls; build it "
                       "with the Makefile, linked dynamically");
    }
    *(void **)&taps.record_recv = own;
    taps.overdue = metric_register(METRIC_COUNTER, "sluice_http_overdue_connections_total", "",
                                   "Connections closed because a deadline passed.");
    taps.stopping = false;
    lock_init(&taps.lock, LOCK_RANK_CONNECTION);
    wake_init(&taps.wake);
    int failed = pthread_create(&taps.thread, NULL, watch, NULL);
    if (failed != 0) {
        return err_set_sys(err, ERR_NOMEM, failed, "start the thread of connection deadlines");
    }
    taps.started = true;
    return ERR_OK;
}

void tap_stop(void)
{
    if (!taps.started) {
        return;
    }
    lock_take(&taps.lock);
    taps.stopping = true;
    wake_all(&taps.wake);
    lock_drop(&taps.lock);
    (void)pthread_join(taps.thread, NULL); /* started, and joined once */
    taps.started = false;
    wake_deinit(&taps.wake);
    lock_deinit(&taps.lock);
}

/* ---- connections ---- */

struct tap *tap_open(int fd, bool is_tls)
{
    if (fd < 0 || fd >= TAP_FDS_MAX) {
        return NULL;
    }
    struct tap *tap = mem_zeroed(1, sizeof *tap);
    tap->fd = fd;
    tap->is_tls = is_tls;
    guard_init(&tap->guard);
    /* The first head counts from the accept, so that silence does not prolong it. */
    tap->unit_started_us = clock_monotonic_us();
    tap->unit_heads = 1;
    atomic_store(&tap->deadline_us, tap->unit_started_us + taps.options.head_ms * 1000);
    lock_take(&taps.lock);
    assert(atomic_load(&taps.slots[fd]) == NULL);
    atomic_store_explicit(&taps.slots[fd], tap, memory_order_release);
    if (fd > atomic_load(&taps.highest_fd)) {
        atomic_store(&taps.highest_fd, fd);
    }
    lock_drop(&taps.lock);
    return tap;
}

/*
 * An answer that left before the whole request was read is lost to a reset if the
 * socket is closed with bytes unread. So a descriptor of ours keeps it open, its
 * sending side closed, until the client has seen the end or two seconds passed.
 */
static void linger(const struct tap *tap)
{
    bool unread = tap->guard.phase != GUARD_PHASE_HEAD;
    if (!unread || tap->overdue || taps.stopping || taps.lingering_count == TAP_LINGERING_MAX) {
        return;
    }
    int fd = dup(tap->fd);
    if (fd < 0) {
        return; /* out of descriptors: the plain close has to do */
    }
    if (!tap->is_tls) {
        (void)shutdown(fd, SHUT_WR); /* fails only when the connection is gone already */
    }
    taps.lingering[taps.lingering_count] =
        (struct lingering){.fd = fd, .until_us = clock_monotonic_us() + TAP_LINGER_US};
    taps.lingering_count++;
}

void tap_close(struct tap **tap)
{
    struct tap *closing = *tap;
    if (closing == NULL) {
        return;
    }
    lock_take(&taps.lock);
    atomic_store(&taps.slots[closing->fd], NULL);
    linger(closing);
    lock_drop(&taps.lock);
    guard_deinit(&closing->guard);
    mem_free(closing);
    *tap = NULL;
}

const struct guard *tap_guard(const struct tap *tap)
{
    return &tap->guard;
}

void tap_end_body(struct tap *tap)
{
    guard_end_body(&tap->guard);
}

void tap_set_deadline(struct tap *tap, int64_t deadline_us)
{
    atomic_store(&tap->deadline_us, deadline_us);
}
