/*
 * The webhook sender on a real catalog against a server that lies, under a frozen
 * clock and dice that always fall in the middle.
 */
#include "workers/webhooks.h"

#include "storage/base/arena.h"
#include "storage/base/clock.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/deliveries.h"
#include "storage/catalog/runs.h"
#include "storage/catalog/access.h"
#include "storage/catalog/secrets.h"
#include "storage/remote/client.h"
#include "storage/remote/signature.h"
#include "tests/support/lying_server.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

enum { SECOND = 1000000 };

static const char hook_secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
static const char next_secret[] = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
static const char body[] = "{\"type\":\"run.success\",\"data\":{\"run_id\":7}}";
static const int64_t start_us = 1767225600LL * SECOND;

static struct {
    struct temp_dir dir;
    struct secret_keys *keys;
    struct catalog *catalog;
    struct remote *remote;
    struct lying_server *server;
    struct webhooks *webhooks;
    struct arena arena;
    struct id author; /* of the run's definition */
    int64_t run_id;
    int64_t now_us;
} stage;

/* ---- the stage ---- */

static uint64_t middle(uint64_t limit)
{
    return (limit - 1) / 2;
}

static void set_clock(int64_t now_us)
{
    stage.now_us = now_us;
    clock_freeze_wall(now_us);
}

/* "whsec_…" of the script's verify option, at the frozen time. */
static bool verify(const char *secret_text, struct span id, struct span timestamp,
                   struct span signature, struct span message)
{
    struct err err = {0};
    struct signature_secret secret;
    return signature_secret_parse(span_of_text(secret_text), &secret, &err) == ERR_OK &&
           signature_verify(&secret, 1, id, timestamp, signature, message, clock_wall_us() / SECOND,
                            &err) == ERR_OK;
}

static void start_sender(void)
{
    const struct webhooks_options options = {
        .catalog = stage.catalog, .remote = stage.remote, .random_below = middle};
    webhooks_start(&options, &stage.webhooks);
}

/* A server with this script, and a sender that may reach it. */
static void start(const char *script)
{
    struct err err = {0};
    char allow[32];
    stage.server = lying_server_start(&(struct lying_options){.script = script, .verify = verify});
    (void)snprintf(allow, sizeof allow, "127.0.0.1:%u", lying_server_port(stage.server)); /* fits */
    cr_assert_eq(remote_open(&(struct remote_options){.allow = allow}, &stage.remote, &err), ERR_OK,
                 "%s", err.msg);
    start_sender();
}

static void make_run(void)
{
    struct err err = {0};
    bool made = false;
    const struct access_assignment engineer = {.role = "engineer"};
    cr_assert_eq(principal_create(stage.catalog, "author", PRINCIPAL_SERVICE, &engineer, 1,
                                  &stage.author, &err),
                 ERR_OK, "%s", err.msg);
    const struct run_new run = {
        .name = "one-off",
        .definition = "{}",
        .principal = stage.author,
        .run_as = id_new_ordered(),
        .trigger = RUN_TRIGGER_ONE_OFF,
        .trigger_time_us = clock_wall_us(),
    };
    cr_assert_eq(run_create(stage.catalog, &run, &stage.run_id, &made, &err), ERR_OK, "%s",
                 err.msg);
}

static void put_secret(const char *name, const char *value)
{
    struct err err = {0};
    struct catalog_secret record;
    bool created = false;
    cr_assert_eq(
        catalog_secret_put(stage.catalog, name, span_of_text(value), &record, &created, &err),
        ERR_OK, "%s", err.msg);
}

static void set_up(void)
{
    struct err err = {0};
    stage.dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *key = temp_dir_join(&stage.dir, "root.key");
    CLEANUP(mem_cleanup) char *folder = temp_dir_join(&stage.dir, "catalog");
    const struct catalog_options options = {0};
    set_clock(start_us);
    log_set_level(LOG_ERROR);
    arena_init(&stage.arena, 64 << 20);
    cr_assert_eq(secret_init(&err), ERR_OK);
    cr_assert_eq(secret_keys_open(key, &stage.keys, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(catalog_open(folder, stage.keys, &options, &stage.catalog, &err), ERR_OK, "%s",
                 err.msg);
    make_run();
    put_secret("hook", hook_secret);
}

static void tear_down(void)
{
    webhooks_stop(&stage.webhooks);
    remote_close(&stage.remote);
    lying_server_stop(&stage.server);
    catalog_close(&stage.catalog);
    secret_keys_close(&stage.keys);
    arena_deinit(&stage.arena);
    clock_freeze_wall(-1);
    temp_dir_remove(&stage.dir);
}

TestSuite(webhooks, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- deliveries ---- */

static struct id add_to(const char *url, const char *secret)
{
    struct err err = {0};
    const struct delivery_new delivery = {.id = id_new_ordered(),
                                          .event = "run.success",
                                          .url = url,
                                          .secret = secret,
                                          .body = span_of_text(body)};
    const struct run_change change = {
        .run_id = stage.run_id, .deliveries = &delivery, .deliveries_count = 1};
    cr_assert_eq(run_apply(stage.catalog, &change, &err), ERR_OK, "%s", err.msg);
    if (stage.webhooks != NULL) {
        webhooks_wake(stage.webhooks);
    }
    return delivery.id;
}

static struct id add(const char *path)
{
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", lying_server_port(stage.server),
                   path); /* fits */
    return add_to(url, "{{secrets.hook}}");
}

static struct delivery get(const struct id *id)
{
    struct err err = {0};
    struct delivery delivery;
    cr_assert_eq(delivery_get(stage.catalog, id, &stage.arena, &delivery, &err), ERR_OK, "%s",
                 err.msg);
    return delivery;
}

/* The delivery once it was tried `tries` times or is not pending any more; ten seconds at most. */
static struct delivery await(const struct id *id, int32_t tries)
{
    for (int i = 0; i < 2000; i++) {
        struct delivery delivery = get(id);
        if (delivery.tries >= tries || delivery.state != DELIVERY_PENDING) {
            return delivery;
        }
        (void)poll(NULL, 0, 5); /* the sender works meanwhile */
    }
    cr_assert_fail("the delivery was not tried %d times", tries);
    return (struct delivery){0};
}

static void await_requests(const char *path, int count)
{
    for (int i = 0; i < 2000 && lying_server_requests(stage.server, path) < count; i++) {
        (void)poll(NULL, 0, 5); /* as above */
    }
    cr_assert_eq(lying_server_requests(stage.server, path), count);
}

static void expect_seen(const char *path, const char *name, const char *value)
{
    CLEANUP(mem_cleanup) char *seen = lying_server_seen(stage.server, path, name);
    cr_expect_str_eq(seen, value, "%s", name);
}

/* ---- tests ---- */

Test(webhooks, are_delivered_and_signed)
{
    char text[DELIVERY_ID_TEXT_BYTES];
    start("/hook 204 verify=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    struct id id = add("/hook");
    struct delivery delivery = await(&id, 1);
    cr_expect_eq(delivery.state, DELIVERY_DELIVERED, "%s", delivery.error);
    cr_expect_eq(delivery.status, 204);
    cr_expect_str_eq(delivery.error, "");
    delivery_id_format(&id, text);
    expect_seen("/hook", "", "POST /hook HTTP/1.1");
    expect_seen("/hook", "content-type", "application/json");
    expect_seen("/hook", "webhook-id", text);
    expect_seen("/hook", "webhook-timestamp", "1767225600");
    expect_seen("/hook", "body", body);
    cr_expect_eq(lying_server_requests(stage.server, NULL), 1);
}

Test(webhooks, may_be_unsigned)
{
    start("/hook 200");
    char url[64];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/hook",
                   lying_server_port(stage.server)); /* fits */
    struct id id = add_to(url, NULL);
    cr_expect_eq(await(&id, 1).state, DELIVERY_DELIVERED);
    expect_seen("/hook", "webhook-signature", "");
}

Test(webhooks, are_tried_on_schedule_until_they_are_dead)
{
    static const int64_t delays[] = {5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400};
    struct err err = {0};
    start(
        "/hook 500\n/hook hang\n/hook 404\n/hook 302 location=/elsewhere\n/hook reset\n/hook 429\n"
        "/hook 200 verify=whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n/hook close\n"
        "/hook garbage\n/hook 503\n/hook 400\n/hook 200 "
        "verify=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    struct id id = add("/hook");
    for (int32_t i = 0; i < (int32_t)COUNT(delays); i++) {
        if (i == 1) {
            /* what hangs is not waited for: the process ends, and the next one tries again */
            await_requests("/hook", 2);
            webhooks_stop(&stage.webhooks);
            cr_expect_eq(get(&id).tries, 1);
            start_sender();
        }
        struct delivery delivery = await(&id, i + 1);
        cr_assert_eq(delivery.state, DELIVERY_PENDING, "%d: %s", i, delivery.error);
        cr_expect_eq(delivery.tries, i + 1);
        cr_expect_eq(delivery.due_us, stage.now_us + delays[i] * SECOND, "%d", i);
        cr_expect(delivery.error[0] != '\0', "%d", i);
        set_clock(delivery.due_us - 1);
        webhooks_wake(stage.webhooks);
        cr_expect_eq(get(&id).tries, i + 1, "not a moment early");
        set_clock(delivery.due_us);
        webhooks_wake(stage.webhooks);
    }
    struct delivery dead = await(&id, WEBHOOKS_TRIES_MAX);
    cr_expect_eq(dead.state, DELIVERY_DEAD, "%s", dead.error);
    cr_expect_eq(dead.tries, WEBHOOKS_TRIES_MAX);
    cr_expect_eq(lying_server_requests(stage.server, "/hook"), WEBHOOKS_TRIES_MAX + 1);
    expect_seen("/hook", "body", body);
    cr_assert_eq(delivery_replay(stage.catalog, &id, &err), ERR_OK, "%s", err.msg);
    webhooks_wake(stage.webhooks);
    cr_expect_eq(await(&id, 1).state, DELIVERY_DELIVERED);
    expect_seen("/hook", "body", body);
}

Test(webhooks, wait_as_long_as_the_receiver_asks)
{
    start("/hook 503 retry-after=3600\n/hook 429 retry-after=1\n/hook 204");
    struct id id = add("/hook");
    cr_expect_eq(await(&id, 1).due_us, stage.now_us + 3600 * (int64_t)SECOND);
    set_clock(get(&id).due_us);
    webhooks_wake(stage.webhooks);
    cr_expect_eq(await(&id, 2).due_us, stage.now_us + 300 * (int64_t)SECOND, "not sooner");
}

Test(webhooks, a_success_is_one_whatever_follows_its_status)
{
    static const char *const answers[] = {
        "200 body=x length=99", "200 body=x endless chunked=1000", "200 length=none body=x",
        "299 body=x header=\"Content-Encoding: br\"", "204 length=none"};
    char script[512] = "";
    for (size_t i = 0; i < COUNT(answers); i++) {
        size_t size = strlen(script);
        (void)snprintf(script + size, sizeof script - size, "/%zu %s\n", i, answers[i]); /* fits */
    }
    start(script);
    for (size_t i = 0; i < COUNT(answers); i++) {
        char path[8];
        (void)snprintf(path, sizeof path, "/%zu", i); /* fits */
        struct id id = add(path);
        struct delivery delivery = await(&id, 1);
        cr_expect_eq(delivery.state, DELIVERY_DELIVERED, "%s: %s", answers[i], delivery.error);
        cr_expect_eq(lying_server_requests(stage.server, path), 1);
    }
}

Test(webhooks, gone_ends_all_that_is_on_its_way_to_the_url)
{
    start("/other 500\n/other 204\n/hook 500\n/hook 500\n/hook 410");
    struct id first = add("/hook");
    struct id second = add("/hook");
    struct id other = add("/other");
    (void)await(&first, 1);
    (void)await(&second, 1);
    (void)await(&other, 1);
    /* only one of the two is due again; the other ends with it */
    webhooks_stop(&stage.webhooks);
    set_clock(get(&first).due_us);
    struct err err = {0};
    const struct delivery_outcome later = {.state = DELIVERY_PENDING,
                                           .due_us = stage.now_us + 86400 * (int64_t)SECOND};
    cr_assert_eq(delivery_finish(stage.catalog, &second, &later, &err), ERR_OK);
    start_sender();
    struct delivery gone = await(&first, 2);
    cr_expect_eq(gone.state, DELIVERY_GONE);
    cr_expect_eq(gone.status, 410);
    struct delivery ended = get(&second);
    cr_expect_eq(ended.state, DELIVERY_GONE);
    cr_expect(strstr(ended.error, "another delivery") != NULL, "%s", ended.error);
    cr_expect_eq(lying_server_requests(stage.server, "/hook"), 3);
    cr_expect_eq(await(&other, 2).state, DELIVERY_DELIVERED);
}

Test(webhooks, say_which_secret_is_missing)
{
    start("/hook 204 verify=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    struct err err = {0};
    cr_assert_eq(catalog_secret_delete(stage.catalog, "hook", &err), ERR_OK);
    struct id id = add("/hook");
    struct delivery delivery = await(&id, 1);
    cr_expect_eq(delivery.state, DELIVERY_PENDING);
    cr_expect_eq(delivery.status, 0);
    cr_expect(strstr(delivery.error, "'hook'") != NULL, "%s", delivery.error);
    put_secret("hook", "hush, this is no webhook secret");
    set_clock(delivery.due_us);
    webhooks_wake(stage.webhooks);
    delivery = await(&id, 2);
    cr_expect(strstr(delivery.error, "whsec_") != NULL, "%s", delivery.error);
    cr_expect(strstr(delivery.error, "hush") == NULL, "%s", delivery.error);
    cr_expect_eq(lying_server_connections(stage.server), 0);
    put_secret("hook", hook_secret);
    set_clock(delivery.due_us);
    webhooks_wake(stage.webhooks);
    cr_expect_eq(await(&id, 3).state, DELIVERY_DELIVERED);
}

Test(webhooks, are_lent_a_secret_only_while_the_author_may_use_it)
{
    start("/hook 204 verify=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    struct err err = {0};
    const struct access_assignment analyst = {.role = "analyst"};
    const struct access_assignment engineer = {.role = "engineer"};
    cr_assert_eq(principal_update(stage.catalog, &stage.author, false, &analyst, 1, &err), ERR_OK);
    struct id id = add("/hook");
    struct delivery delivery = await(&id, 1);
    cr_expect_eq(delivery.state, DELIVERY_PENDING);
    cr_expect(strstr(delivery.error, "'author', who wrote the job") != NULL, "%s", delivery.error);
    cr_expect_eq(lying_server_connections(stage.server), 0);
    cr_assert_eq(principal_update(stage.catalog, &stage.author, false, &engineer, 1, &err), ERR_OK);
    set_clock(delivery.due_us);
    webhooks_wake(stage.webhooks);
    cr_expect_eq(await(&id, 2).state, DELIVERY_DELIVERED);
}

Test(webhooks, are_signed_with_old_and_new_while_secrets_are_rotated)
{
    char both[128];
    (void)snprintf(both, sizeof both, "%s %s", next_secret, hook_secret); /* fits */
    put_secret("hook", both);
    start("/old 204 verify=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"
          "/new 204 verify=whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    struct id to_old = add("/old");
    struct id to_new = add("/new");
    cr_expect_eq(await(&to_old, 1).state, DELIVERY_DELIVERED);
    cr_expect_eq(await(&to_new, 1).state, DELIVERY_DELIVERED);
}

Test(webhooks, one_server_that_hangs_does_not_keep_others_waiting)
{
    struct lying_server *hanging = lying_server_start(&(struct lying_options){.script = "/h hang"});
    char url[64];
    struct err err = {0};
    start("/hook 204");
    webhooks_stop(&stage.webhooks);
    remote_close(&stage.remote);
    cr_assert_eq(remote_open(&(struct remote_options){.allow = "127.0.0.1"}, &stage.remote, &err),
                 ERR_OK);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/h", lying_server_port(hanging)); /* fits */
    for (int i = 0; i < 20; i++) {
        (void)add_to(url, NULL);
    }
    struct id ids[10];
    for (size_t i = 0; i < COUNT(ids); i++) {
        ids[i] = add("/hook");
    }
    start_sender();
    for (size_t i = 0; i < COUNT(ids); i++) {
        cr_expect_eq(await(&ids[i], 1).state, DELIVERY_DELIVERED, "%zu", i);
    }
    cr_expect(lying_server_connections(hanging) <= WEBHOOKS_PER_ORIGIN, "%d",
              lying_server_connections(hanging));
    webhooks_stop(&stage.webhooks);
    lying_server_stop(&hanging);
}

Test(webhooks, each_is_sent_once_by_all_threads_together)
{
    enum { DELIVERIES = 60 };
    start("/hook 204");
    struct id ids[DELIVERIES];
    for (size_t i = 0; i < DELIVERIES; i++) {
        ids[i] = add("/hook");
    }
    for (size_t i = 0; i < DELIVERIES; i++) {
        struct delivery delivery = await(&ids[i], 1);
        cr_expect_eq(delivery.state, DELIVERY_DELIVERED);
        cr_expect_eq(delivery.tries, 1);
    }
    cr_expect_eq(lying_server_requests(stage.server, "/hook"), DELIVERIES);
}

Test(webhooks, are_guarded_like_every_request)
{
    struct lying_server *inner = lying_server_start(&(struct lying_options){.script = "/ 204"});
    char url[64];
    start("");
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", lying_server_port(inner)); /* fits */
    struct id id = add_to(url, NULL);
    struct delivery delivery = await(&id, 1);
    cr_expect_eq(delivery.state, DELIVERY_PENDING);
    cr_expect(strstr(delivery.error, "outgoing-allow") != NULL, "%s", delivery.error);
    cr_expect_eq(lying_server_connections(inner), 0);
    lying_server_stop(&inner);
}

Test(webhooks, have_a_schedule_of_three_days)
{
    int64_t total = 0;
    for (int32_t try = 0; try <= WEBHOOKS_TRIES_MAX + 1; try++) {
        int64_t delay = webhooks_delay_seconds(try);
        cr_expect_eq(delay > 0, try >= 2 && try <= WEBHOOKS_TRIES_MAX, "%d", try);
        total += delay;
    }
    cr_expect_eq(total, 75 * 3600 + 35 * 60 + 5);
}
