/*
 * The sender of webhooks. See webhooks.h for the contract.
 *
 * Threads share a list of what is being sent. Each asks the catalog for what is due,
 * claims the first that nobody sends, reads it again (it may have been finished since),
 * sends it, and records the outcome before it gives the claim back. Only who holds the
 * claim finishes a delivery, so two threads never send the same one at a time.
 */
#include "workers/webhooks.h"

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/id.h"
#include "storage/base/lock.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "storage/base/secret.h"
#include "storage/base/text.h"
#include "storage/catalog/deliveries.h"
#include "storage/catalog/runs.h"
#include "storage/jobs/template.h"
#include "storage/remote/client.h"
#include "storage/remote/signature.h"
#include "storage/remote/url.h"
#include "workers/lent_secret.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

enum {
    DUE_PAGE = 256, /* looked at for one that may be sent */
    ARENA_BYTES = 2 * DUE_PAGE * (DELIVERY_BODY_BYTES_MAX + DELIVERY_URL_BYTES_MAX + 1024),
    ANSWER_BYTES_MAX = 64 << 10,
    SECRETS_BYTES_MAX = SIGNATURE_SECRETS_MAX * 128,
    RUN_ARENA_BYTES = 8 << 20, /* one run */
};

/* What one thread sends. */
struct claim {
    struct id id; /* empty text = nothing */
    char origin[URL_ORIGIN_BYTES];
};

struct webhooks {
    struct webhooks_options options; /* set once at start, like the metrics */
    struct metric *delivered, *failed, *dead, *gone;
    pthread_t threads[WEBHOOKS_THREADS];
    _Atomic bool stopping;

    struct lock lock; /* rank QUEUE; guards what follows */
    struct wake wake;
    uint64_t news; /* grows when something may have become sendable */
    struct claim claims[WEBHOOKS_THREADS];
};

/* One thread. */
struct sender {
    struct webhooks *webhooks;
    size_t number; /* of its claim */
};

/* Source: Standard Webhooks, "Deliverability and reliability", example retry schedule. */
static const int64_t schedule_seconds[] = {5,         5 * 60,    30 * 60,   2 * 3600, 5 * 3600,
                                           10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600};

_Static_assert(sizeof schedule_seconds / sizeof schedule_seconds[0] == WEBHOOKS_TRIES_MAX - 1,
               "a delay before each try but the first");

int64_t webhooks_delay_seconds(int32_t try)
{
    return try >= 2 && try <= WEBHOOKS_TRIES_MAX ? schedule_seconds[try - 2] : 0;
}

/* ---- claims ---- */

/* The URL's origin, or the URL's beginning when it is none: it will fail, but by itself. */
static void origin_of(const char *url, char text_out[URL_ORIGIN_BYTES])
{
    struct err ignored = {0};
    struct url parsed;
    if (url_parse(span_of_text(url), &parsed, &ignored) == ERR_OK) {
        url_origin(&parsed, text_out);
    } else {
        text_out[0] = '\0';
    }
}

/* The caller holds the lock. */
static bool may_claim(const struct webhooks *webhooks, const struct id *id, const char *origin)
{
    int same_origin = 0;
    for (size_t i = 0; i < WEBHOOKS_THREADS; i++) {
        const struct claim *claim = &webhooks->claims[i];
        if (strcmp(claim->id.text, id->text) == 0) {
            return false;
        }
        same_origin += claim->id.text[0] != '\0' && strcmp(claim->origin, origin) == 0;
    }
    return same_origin < WEBHOOKS_PER_ORIGIN;
}

/* Claim the first of `due` that may be sent; false when there is none. */
static bool claim_one(struct sender *sender, const struct delivery *due, size_t count)
{
    struct webhooks *webhooks = sender->webhooks;
    for (size_t i = 0; i < count; i++) {
        char origin[URL_ORIGIN_BYTES];
        origin_of(due[i].url, origin);
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&webhooks->lock);
        if (may_claim(webhooks, &due[i].id, origin)) {
            struct claim *claim = &webhooks->claims[sender->number];
            claim->id = due[i].id;
            memcpy(claim->origin, origin, sizeof origin);
            return true;
        }
    }
    return false;
}

/* Others may have been waiting for the server, or for the delivery. */
static void give_back(struct sender *sender)
{
    struct webhooks *webhooks = sender->webhooks;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&webhooks->lock);
    webhooks->claims[sender->number] = (struct claim){0};
    webhooks->news++;
    wake_all(&webhooks->wake);
}

/* ---- signing ---- */

/* Whose secrets sign what the run tells. */
struct lender {
    struct catalog *catalog;
    struct id author;
};

/* The run is kept as long as its deliveries are. */
static enum err_code find_lender(struct catalog *catalog, int64_t run_id, struct lender *lender,
                                 struct err *err)
{
    CLEANUP(arena_deinit) struct arena arena;
    struct job_run run;
    arena_init(&arena, RUN_ARENA_BYTES);
    TRY(run_get(catalog, run_id, &arena, &run, err));
    *lender = (struct lender){.catalog = catalog, .author = run.author};
    return ERR_OK;
}

static enum err_code open_secret(void *arg, struct span name, struct buffer *text, struct err *err)
{
    const struct lender *lender = arg;
    return lent_secret_open(lender->catalog, &lender->author, name, text, err);
}

/* "whsec_new whsec_old": while they are rotated a secret holds several, spaces between. */
static enum err_code parse_secrets(struct span text,
                                   struct signature_secret secrets[SIGNATURE_SECRETS_MAX],
                                   size_t *count, struct err *err)
{
    size_t at = 0;
    while (at < text.size) {
        const uint8_t *blank = memchr(text.data + at, ' ', text.size - at);
        size_t end = blank != NULL ? (size_t)(blank - text.data) : text.size;
        if (end > at) {
            if (*count == SIGNATURE_SECRETS_MAX) {
                return err_set(err, ERR_INVALID, "the secret holds more than %d webhook secrets",
                               SIGNATURE_SECRETS_MAX);
            }
            TRY(signature_secret_parse(span_part(text, at, end), &secrets[*count], err));
            (*count)++;
        }
        at = end + 1;
    }
    if (*count == 0) {
        return err_set(err, ERR_INVALID, "the webhook's secret is empty");
    }
    return ERR_OK;
}

/* The value of webhook-signature with a NUL behind it; nothing when the delivery is unsigned. */
static enum err_code sign(struct webhooks *webhooks, const struct delivery *delivery,
                          const struct signature_message *message, struct buffer *value,
                          struct err *err)
{
    if (delivery->secret == NULL || delivery->secret[0] == '\0') {
        return ERR_OK;
    }
    struct signature_secret secrets[SIGNATURE_SECRETS_MAX];
    struct lender lender;
    struct buffer text;
    size_t count = 0;
    TRY(find_lender(webhooks->options.catalog, delivery->run_id, &lender, err));
    buffer_init(&text, SECRETS_BYTES_MAX);
    (void)buffer_reserve(&text, SECRETS_BYTES_MAX); /* at once: growing leaves copies behind */
    enum err_code code =
        template_open_secrets(span_of_text(delivery->secret), "", open_secret, &lender, &text, err);
    if (code == ERR_OK) {
        code = parse_secrets(buffer_span(&text), secrets, &count, err);
    }
    if (code == ERR_OK) {
        signature_write(secrets, count, message, value);
        buffer_append_byte(value, 0);
        code = buffer_check(value, "the signature", err);
    }
    secret_wipe(secrets, sizeof secrets);
    secret_wipe(text.data, text.capacity);
    buffer_deinit(&text);
    return code;
}

/* ---- one try ---- */

static enum err_code post(struct webhooks *webhooks, const struct delivery *delivery,
                          struct remote_answer *answer, struct err *err)
{
    char id[DELIVERY_ID_TEXT_BYTES];
    char timestamp[TEXT_DOUBLE_BYTES];
    struct buffer signature;
    struct signature_message message = {.timestamp_seconds = clock_wall_us() / 1000000,
                                        .body = delivery->body};
    delivery_id_format(&delivery->id, id);
    message.id = span_of_text(id);
    timestamp[text_format_int64(message.timestamp_seconds, timestamp)] = '\0';
    buffer_init(&signature, SIGNATURE_VALUE_BYTES_MAX + 1);
    enum err_code code = sign(webhooks, delivery, &message, &signature, err);
    if (code == ERR_OK) {
        const struct remote_header headers[] = {
            {"Content-Type", "application/json"},
            {"webhook-id", id},
            {"webhook-timestamp", timestamp},
            {"webhook-signature", (const char *)signature.data},
        };
        const struct remote_request request = {
            .method = "POST",
            .url = delivery->url,
            .headers = headers,
            .headers_count = signature.size > 0 ? 4 : 3,
            .body = delivery->body,
            .allow_undelimited = true, /* the status says it all */
            .limits = {.deadline_ms = WEBHOOKS_DEADLINE_MS, .body_bytes_max = ANSWER_BYTES_MAX},
            .cancelled = &webhooks->stopping,
        };
        code = remote_call(webhooks->options.remote, &request, answer, err);
    }
    buffer_deinit(&signature);
    return code;
}

static bool is_success(int status)
{
    return status >= 200 && status <= 299;
}

/* When the next try is due, or that there is none. */
static void judge_failure(struct webhooks *webhooks, const struct delivery *delivery,
                          const struct remote_answer *answer, struct delivery_outcome *outcome)
{
    int64_t seconds = webhooks_delay_seconds(delivery->tries + 2);
    if (seconds == 0) {
        outcome->state = DELIVERY_DEAD;
        return;
    }
    uint64_t range = (uint64_t)seconds * 2 * 1000000;
    int64_t delay_us = (int64_t)webhooks->options.random_below(range + 1);
    if (answer->retry_after_us > delay_us) {
        delay_us = answer->retry_after_us;
    }
    outcome->state = DELIVERY_PENDING;
    outcome->due_us = clock_wall_us() + delay_us;
}

/* What became of the try; `err` says why it failed. ERR_CANCELLED: we stop, nothing is known. */
static enum err_code judge(struct webhooks *webhooks, const struct delivery *delivery,
                           const struct remote_answer *answer, enum err_code code,
                           struct delivery_outcome *outcome_out, struct err *err)
{
    struct delivery_outcome outcome = {.status = answer->status};
    if (is_success(answer->status)) {
        outcome.state = DELIVERY_DELIVERED;
        *outcome_out = outcome;
        return ERR_OK;
    }
    if (code == ERR_CANCELLED) {
        return code;
    }
    if (code == ERR_OK && remote_answer_check(answer, err) == ERR_OK) {
        (void)err_set(err, ERR_INVALID, "answered %d, which is no success", answer->status);
    }
    outcome.error = err->msg;
    if (answer->status == 410) {
        outcome.state = DELIVERY_GONE;
    } else {
        judge_failure(webhooks, delivery, answer, &outcome);
    }
    *outcome_out = outcome;
    return ERR_OK;
}

static void note(struct webhooks *webhooks, const struct delivery *delivery,
                 const struct delivery_outcome *outcome, const struct remote_answer *answer)
{
    static const char *const messages[] = {
        [DELIVERY_PENDING] = "a webhook failed and will be tried again",
        [DELIVERY_DELIVERED] = "a webhook was delivered",
        [DELIVERY_DEAD] = "a webhook failed for the last time; replay it when its receiver is well",
        [DELIVERY_GONE] = "a webhook's receiver wants no more (410)",
    };
    struct metric *const counts[] = {
        [DELIVERY_PENDING] = webhooks->failed,
        [DELIVERY_DELIVERED] = webhooks->delivered,
        [DELIVERY_DEAD] = webhooks->dead,
        [DELIVERY_GONE] = webhooks->gone,
    };
    char id[DELIVERY_ID_TEXT_BYTES];
    char origin[URL_ORIGIN_BYTES];
    struct log_line line;
    delivery_id_format(&delivery->id, id);
    origin_of(delivery->url, origin);
    metric_add(counts[outcome->state], 1);
    log_begin(&line, outcome->state == DELIVERY_DELIVERED ? LOG_INFO : LOG_WARN,
              messages[outcome->state]);
    log_text(&line, LOG_WEBHOOK, id);
    log_integer(&line, LOG_JOB, delivery->job_id);
    log_integer(&line, LOG_RUN, delivery->run_id);
    log_text(&line, LOG_OPERATION, delivery->event);
    log_text(&line, LOG_ORIGIN, origin);
    log_integer(&line, LOG_ATTEMPT, delivery->tries + 1);
    log_integer(&line, LOG_STATUS, outcome->status);
    log_integer(&line, LOG_DURATION_US, answer->total_us);
    log_text(&line, LOG_ERROR_TEXT, outcome->error);
    log_end(&line);
}

static enum err_code send_delivery(struct webhooks *webhooks, const struct delivery *delivery,
                                   struct err *err)
{
    struct err failure = {0};
    struct remote_answer answer;
    struct delivery_outcome outcome;
    remote_answer_init(&answer);
    enum err_code code = post(webhooks, delivery, &answer, &failure);
    code = judge(webhooks, delivery, &answer, code, &outcome, &failure);
    if (code == ERR_OK) {
        code = delivery_finish(webhooks->options.catalog, &delivery->id, &outcome, err);
    } else {
        *err = failure;
    }
    if (code == ERR_OK) {
        note(webhooks, delivery, &outcome, &answer);
    }
    remote_answer_deinit(&answer);
    return code;
}

/* Send what this thread has claimed, unless it was finished before the claim. */
static enum err_code send_claimed(struct sender *sender, struct arena *arena, struct err *err)
{
    struct webhooks *webhooks = sender->webhooks;
    struct delivery delivery;
    struct id id = webhooks->claims[sender->number].id; /* nobody else writes our claim */
    enum err_code code = delivery_get(webhooks->options.catalog, &id, arena, &delivery, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err);
        return ERR_OK;
    }
    TRY(code);
    if (delivery.state != DELIVERY_PENDING || delivery.due_us > clock_wall_us()) {
        return ERR_OK;
    }
    return send_delivery(webhooks, &delivery, err);
}

/* ---- the threads ---- */

/* Claim and send one. `sent_out`: there may be another. */
static enum err_code send_next(struct sender *sender, struct arena *arena, bool *sent_out,
                               struct err *err)
{
    struct delivery *due = NULL;
    size_t count = 0;
    *sent_out = false;
    TRY(deliveries_due(sender->webhooks->options.catalog, clock_wall_us(), DUE_PAGE, arena, &due,
                       &count, err));
    if (!claim_one(sender, due, count)) {
        return ERR_OK;
    }
    enum err_code code = send_claimed(sender, arena, err);
    give_back(sender);
    *sent_out = code == ERR_OK;
    return code;
}

/* Until something is due, something happens, or the poll's time is over. */
static void rest(struct webhooks *webhooks, uint64_t news)
{
    struct err ignored = {0};
    int64_t due_us = INT64_MAX;
    int64_t wait_us = WEBHOOKS_POLL_US;
    /* when the catalog cannot say, the poll asks again */
    if (deliveries_next_due(webhooks->options.catalog, &due_us, &ignored) == ERR_OK &&
        due_us < INT64_MAX) {
        int64_t until_us = due_us - clock_wall_us();
        /* one that is due already waits for a server or for a thread: give_back wakes us */
        wait_us = until_us > 0 && until_us < wait_us ? until_us : wait_us;
    }
    int64_t deadline_us = clock_monotonic_us() + wait_us;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&webhooks->lock);
    bool over = false;
    while (!over && webhooks->news == news && !atomic_load(&webhooks->stopping)) {
        over = wake_wait_until(&webhooks->wake, &webhooks->lock, deadline_us) != 0;
    }
}

static uint64_t news_of(struct webhooks *webhooks)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&webhooks->lock);
    return webhooks->news;
}

static void note_trouble(const struct err *err)
{
    struct log_line line;
    if (err->code == ERR_CANCELLED) {
        return;
    }
    log_begin(&line, LOG_WARN, "webhooks wait for the catalog");
    log_err(&line, err);
    log_end(&line);
}

static void *run_sender(void *arg)
{
    struct sender *sender = arg;
    struct webhooks *webhooks = sender->webhooks;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    while (!atomic_load(&webhooks->stopping)) {
        struct err err = {0};
        bool sent = false;
        uint64_t news = news_of(webhooks);
        if (send_next(sender, &arena, &sent, &err) != ERR_OK) {
            note_trouble(&err);
            news = news_of(webhooks); /* our own giving back is no news to us */
        }
        arena_reset(&arena);
        if (!sent) {
            rest(webhooks, news);
        }
    }
    arena_deinit(&arena);
    mem_free(sender);
    return NULL;
}

static struct metric *count_of(const char *outcome)
{
    return metric_register(METRIC_COUNTER, "sluice_webhook_tries_total", outcome,
                           "Tries to deliver a webhook by how they ended.");
}

void webhooks_start(const struct webhooks_options *options, struct webhooks **webhooks_out)
{
    struct webhooks *webhooks = mem_zeroed(1, sizeof *webhooks);
    webhooks->options = *options;
    if (webhooks->options.random_below == NULL) {
        webhooks->options.random_below = secret_random_below;
    }
    webhooks->delivered = count_of("outcome=\"delivered\"");
    webhooks->failed = count_of("outcome=\"failed\"");
    webhooks->dead = count_of("outcome=\"dead\"");
    webhooks->gone = count_of("outcome=\"gone\"");
    lock_init(&webhooks->lock, LOCK_RANK_QUEUE);
    wake_init(&webhooks->wake);
    for (size_t i = 0; i < WEBHOOKS_THREADS; i++) {
        struct sender *sender = mem_zeroed(1, sizeof *sender);
        *sender = (struct sender){.webhooks = webhooks, .number = i};
        int result = pthread_create(&webhooks->threads[i], NULL, run_sender, sender);
        assert(result == 0);
    }
    *webhooks_out = webhooks;
}

void webhooks_stop(struct webhooks **webhooks)
{
    struct webhooks *stopped = *webhooks;
    if (stopped == NULL) {
        return;
    }
    atomic_store(&stopped->stopping, true);
    webhooks_wake(stopped);
    for (size_t i = 0; i < WEBHOOKS_THREADS; i++) {
        int result = pthread_join(stopped->threads[i], NULL);
        assert(result == 0);
    }
    wake_deinit(&stopped->wake);
    lock_deinit(&stopped->lock);
    mem_free(stopped);
    *webhooks = NULL;
}

void webhooks_wake(struct webhooks *webhooks)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&webhooks->lock);
    webhooks->news++;
    wake_all(&webhooks->wake);
}
