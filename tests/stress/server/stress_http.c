/*
 * The whole server in one process, on loopback: clients look up, post, wait, change
 * definitions, issue and revoke tokens, send nonsense and break off in the middle of
 * everything, until the server is stopped under them; then it is opened again on the
 * same directory. Plain main, to be run under TSan.
 *
 * usage: stress_http [rounds]      exit 0 = all well
 */
#include "handlers/health.h"
#include "server/gate.h"
#include "server/http.h"
#include "server/instance.h"
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "tests/support/http_client.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUNDS_DEFAULT = 3,
    ROUND_MS = 5000,
    CLIENTS_OF_KIND = 2,
    KEYS = 50,
    STOP_SECONDS = 20, /* TSan makes everything slower */
    REQUEST_BYTES = 1024,
};

static const char definition[] =
    "{\"schema\":{\"fields\":[{\"name\":\"id\",\"type\":\"string\",\"nullable\":false},"
    "{\"name\":\"n\",\"type\":\"long\"}]},\"key\":[\"id\"],"
    "\"lookup\":[{\"entity\":\"member\",\"column\":\"id\",\"as\":\"member\"}]";

static char folder[256];
static char token[128];
static uint16_t port;
static _Atomic bool stopping;
static _Atomic int64_t answers;
static _Atomic int64_t batches;
static char batch_id[64]; /* of the newest batch; guarded by batch_mutex */
static pthread_mutex_t batch_mutex = PTHREAD_MUTEX_INITIALIZER;

struct client {
    pthread_t thread;
    uint64_t random;
    int number;
    struct http_client http;
};

static void fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "stress_http: %s: %s\n", what, why); /* then we end */
    abort();
}

static void must(enum err_code code, const char *what, const struct err *err)
{
    if (code != ERR_OK) {
        fail(what, err->msg);
    }
}

static uint64_t roll(struct client *client, uint64_t sides)
{
    client->random ^= client->random << 13;
    client->random ^= client->random >> 7;
    client->random ^= client->random << 17;
    return client->random % sides;
}

/* A call whose answer must be one of the wanted ones, unless the server is going. */
static bool call(struct client *client, const char *method, const char *path, const char *extra,
                 const char *body, struct http_answer *answer)
{
    bool answered =
        http_client_call(&client->http, method, path, extra, body, strlen(body), answer);
    if (!answered) {
        if (!atomic_load(&stopping)) {
            fail(path, "no answer");
        }
        return false;
    }
    if (answer->status >= 500 && answer->status != 503) {
        fail(path, answer->body);
    }
    atomic_fetch_add(&answers, 1);
    return true;
}

/* ---- well-behaved clients ---- */

static void look_up(struct client *client)
{
    char text[REQUEST_BYTES];
    struct http_answer answer;
    int key = (int)roll(client, KEYS);
    switch (roll(client, 4)) {
    case 0:
        (void)snprintf(text, sizeof text, "/v1/members/k%d", key); /* fits */
        (void)call(client, "GET", text, "", "", &answer);
        break;
    case 1:
        (void)snprintf(text, sizeof text, "{\"keys\":[{\"id\":\"k%d\"}]}", key); /* fits */
        (void)call(client, "POST", "/v1/tables/t/lookup", "Content-Type: application/json\r\n",
                   text, &answer);
        break;
    case 2:
        (void)call(client, "GET", "/v1/tables/t/rows?limit=5", "", "", &answer);
        break;
    default:
        (void)call(client, "GET", "/v1/tables/t", "", "", &answer);
        break;
    }
    http_answer_deinit(&answer);
}

static void post(struct client *client)
{
    static _Atomic int64_t numbers;
    int64_t number = atomic_fetch_add(&numbers, 1);
    struct buffer body;
    buffer_init(&body, 1 << 16);
    for (int i = 0; i < 10; i++) {
        buffer_append_format(&body, "{\"id\":\"k%d\",\"n\":%" PRId64 "}\n", (int)roll(client, KEYS),
                             number);
    }
    buffer_append_byte(&body, '\0');
    char extra[256];
    (void)snprintf(extra, sizeof extra,
                   "Content-Type: application/x-ndjson\r\nIdempotency-Key: \"b%" PRId64
                   "\"\r\nPrefer: wait=%d\r\n",
                   number, (int)roll(client, 2)); /* fits */
    struct http_answer answer;
    if (call(client, "POST", "/v1/tables/t/batches", extra, (const char *)body.data, &answer) &&
        answer.status / 100 == 2) {
        atomic_fetch_add(&batches, 1);
        (void)pthread_mutex_lock(&batch_mutex); /* a plain mutex */
        (void)http_json_text(answer.body, "batch_id", batch_id, sizeof batch_id); /* "" else */
        (void)pthread_mutex_unlock(&batch_mutex);
    }
    http_answer_deinit(&answer);
    buffer_deinit(&body);
}

/* Parks: in a batch's waiting room, or behind `after`. */
static void wait_for_batch(struct client *client)
{
    char id[sizeof batch_id];
    char path[REQUEST_BYTES];
    struct http_answer answer;
    (void)pthread_mutex_lock(&batch_mutex); /* a plain mutex */
    memcpy(id, batch_id, sizeof id);
    (void)pthread_mutex_unlock(&batch_mutex);
    if (id[0] == '\0') {
        return;
    }
    bool after = roll(client, 2) == 0;
    (void)snprintf(path, sizeof path, after ? "/v1/members/k1?after=%s" : "/v1/batches/%s",
                   id); /* fits */
    (void)call(client, "GET", path, "Prefer: wait=2\r\n", "", &answer);
    http_answer_deinit(&answer);
}

/* A token that is made, used, revoked, and of no use then. */
static void turn_token(struct client *client)
{
    char id[64] = "";
    char path[REQUEST_BYTES];
    struct http_answer answer;
    struct client other = *client;
    other.http.fd = -1;
    bool made = call(client, "POST", "/v1/tokens", "Content-Type: application/json\r\n",
                     "{\"principal\":\"admin\"}", &answer) &&
                answer.status == 201 &&
                http_json_text(answer.body, "token", other.http.token, sizeof other.http.token) &&
                http_json_text(answer.body, "token_id", id, sizeof id);
    http_answer_deinit(&answer);
    if (!made) {
        return;
    }
    (void)call(&other, "GET", "/v1/tables", "", "", &answer);
    http_answer_deinit(&answer);
    (void)snprintf(path, sizeof path, "/v1/tokens/%s", id); /* fits */
    bool revoked = call(client, "DELETE", path, "", "", &answer) && answer.status == 204;
    http_answer_deinit(&answer);
    if (revoked && call(&other, "GET", "/v1/tables", "", "", &answer) && answer.status != 401 &&
        answer.status != 429 && answer.status != 503) {
        fail(path, "a revoked token is let in");
    }
    if (revoked) {
        http_answer_deinit(&answer);
    }
    http_client_close(&other.http);
}

static void administrate(struct client *client)
{
    static const char *const paths[] = {"/metrics",         "/readyz", "/livez",
                                        "/openapi.json",    "/docs",   "/v1/tables",
                                        "/v1/dead-letters", "/nowhere"};
    char text[REQUEST_BYTES];
    struct http_answer answer;
    switch (roll(client, 4)) {
    case 0:
        turn_token(client);
        return;
    case 1: /* a definition that changes under those who post */
        (void)snprintf(text, sizeof text, "%s,\"description\":\"%d\"}", definition,
                       (int)roll(client, 1000)); /* fits */
        (void)call(client, "PUT", "/v1/tables/t",
                   "Content-Type: application/json\r\nIf-Match: *\r\n", text, &answer);
        break;
    default:
        (void)call(client, "GET", paths[roll(client, sizeof paths / sizeof paths[0])], "", "",
                   &answer);
        break;
    }
    http_answer_deinit(&answer);
}

/* ---- others ---- */

static int connect_raw(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd); /* nothing was sent */
        fd = -1;
    }
    return fd;
}

/* Requests that are cut off anywhere, with a reset or without, read or unread. */
static void break_off(struct client *client)
{
    char bytes[4 * REQUEST_BYTES];
    char body[64];
    char after[8];
    int fd = connect_raw();
    if (fd < 0) {
        return;
    }
    (void)snprintf(body, sizeof body, "{\"id\":\"k%d\",\"n\":1}\n",
                   (int)roll(client, KEYS)); /* fits */
    size_t size = 0;
    for (uint64_t i = 0; i < 1 + roll(client, 3); i++) {
        bool posts = roll(client, 2) == 0;
        int added =
            posts
                ? snprintf(bytes + size, sizeof bytes - size,
                           "POST /v1/tables/t/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                           "%s\r\nContent-Type: application/x-ndjson\r\nPrefer: wait=1\r\n"
                           "Content-Length: %zu\r\n\r\n%s",
                           token, strlen(body), body)
                : snprintf(bytes + size, sizeof bytes - size,
                           "GET /v1/members/k%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                           "%s\r\n\r\n",
                           (int)roll(client, KEYS), token);
        size += added > 0 ? (size_t)added : 0;
    }
    size_t part = roll(client, 3) == 0 ? size : 1 + roll(client, size);
    (void)send(fd, bytes, part, MSG_NOSIGNAL); /* it may be gone */
    if (roll(client, 2) == 0) {
        (void)shutdown(fd, SHUT_WR); /* likewise */
    }
    if (roll(client, 2) == 0) {
        (void)recv(fd, after, sizeof after, MSG_DONTWAIT); /* whatever is there */
    }
    if (roll(client, 2) == 0) {
        const struct linger reset = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset); /* a plain close else */
    }
    (void)close(fd); /* the point of it */
}

/* ---- rounds ---- */

typedef void act_fn(struct client *client);
static act_fn *const kinds[] = {look_up, post, wait_for_batch, administrate, break_off};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void *run_client(void *arg)
{
    struct client *client = arg;
    while (!atomic_load(&stopping)) {
        kinds[client->number % KINDS](client);
        if (client->http.fd >= 0 && roll(client, 20) == 0) {
            http_client_close(&client->http);
        }
    }
    http_client_close(&client->http);
    return NULL;
}

static void pause_ms(int64_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL); /* an early end does no harm */
}

static void create_table(void)
{
    struct client client = {.random = 1};
    struct http_answer answer;
    char text[REQUEST_BYTES];
    http_client_init(&client.http, port, token);
    (void)snprintf(text, sizeof text, "%s}", definition); /* fits */
    if (!call(&client, "PUT", "/v1/tables/t", "Content-Type: application/json\r\nIf-Match: *\r\n",
              text, &answer) ||
        (answer.status != 200 && answer.status != 412)) {
        fail("change the table", answer.body);
    }
    bool absent = answer.status == 412;
    http_answer_deinit(&answer);
    if (absent && (!call(&client, "PUT", "/v1/tables/t", "Content-Type: application/json\r\n", text,
                         &answer) ||
                   answer.status != 201)) {
        fail("create the table", answer.body);
    }
    if (absent) {
        http_answer_deinit(&answer);
    }
    http_client_close(&client.http);
}

static void read_token(void)
{
    struct err err = {0};
    char *path = file_join(folder, "admin.token");
    struct buffer text;
    buffer_init(&text, sizeof token - 1);
    must(file_read(path, &text, &err), "read the token", &err);
    memcpy(token, text.data, text.size - 1); /* without its line end */
    token[text.size - 1] = '\0';
    buffer_deinit(&text);
    mem_free(path);
}

static struct client clients[KINDS * CLIENTS_OF_KIND];
enum { CLIENTS = sizeof clients / sizeof clients[0] };

static void run_clients(int64_t round)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){
            .number = (int)i, .random = 0x9e3779b97f4a7c15u * (uint64_t)(round * 100) + i + 1};
        http_client_init(&clients[i].http, port, token);
        if (pthread_create(&clients[i].thread, NULL, run_client, &clients[i]) != 0) {
            fail("start a client", "no thread");
        }
    }
    pause_ms(ROUND_MS);
    atomic_store(&stopping, true); /* from here on no answer is promised */
}

static void join_clients(void)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        (void)pthread_join(clients[i].thread, NULL); /* threads of ours */
    }
}

static void run_round(int64_t round)
{
    struct err err = {0};
    const struct instance_options options = {.data = folder,
                                             .batch_body_bytes_max = 1 << 20,
                                             .batch_records_max = 1000,
                                             .lane_queue_bytes_max = 64 << 20,
                                             .lane_queue_batches_max = 1000,
                                             .wait_seconds_max = 10,
                                             .decode_memory_bytes_max = 64 << 20,
                                             .dead_letter_bytes_max = 64 << 20,
                                             .retention_seconds = 3600,
                                             .dropped_retention_seconds = 3600,
                                             .run_retention_seconds = 3600,
                                             .runs_per_job_max = 10,
                                             .merge_threads = 2,
                                             .commit_interval_us = 20000,
                                             .commit_batches_max = 100,
                                             .commit_bytes_max = 16 << 20,
                                             .refresh_interval_us = 20000,
                                             .source_roots = "",
                                             .export_roots = "",
                                             .outgoing_allow = "",
                                             .task_threads = 2,
                                             .task_pools = ""};
    struct instance *instance = NULL;
    struct http *http = NULL;
    must(instance_open(&options, &instance, &err), "open the instance", &err);
    struct services *services = instance_services(instance);
    const struct gate_options gate_options = {.catalog = services->catalog,
                                              .audit = services->audit,
                                              .failures_per_minute_max = 1000000,
                                              .requests_per_minute_max = 1000000};
    struct gate *gate = gate_new(&gate_options);
    const struct http_options http_options = {.host = "127.0.0.1",
                                              .network_threads = 2,
                                              .door_threads = 4,
                                              .door_queue_max = 64,
                                              .connections_max = 256,
                                              .idle_seconds = 5,
                                              .head_ms = 1000,
                                              .body_ms = 1000,
                                              .transfer_bytes_per_second_min = 1024,
                                              .body_memory_bytes_max = 16 << 20,
                                              .services = services,
                                              .gate = gate};
    must(http_open(&http_options, &http, &err), "listen", &err);
    port = (uint16_t)strtoul(strrchr(http_url(http), ':') + 1, NULL, 10);
    read_token();
    create_table();
    run_clients(round);
    http_quiesce(http);
    instance_end_waits(instance);
    must(http_close(&http, clock_monotonic_us() + INT64_C(1000000) * STOP_SECONDS, &err),
         "stop with requests in flight", &err);
    join_clients();
    atomic_store(&services->stopping, true);
    health_forget();
    gate_free(&gate);
    instance_close(&instance);
    atomic_store(&stopping, false);
}

int main(int argc, char **argv)
{
    int64_t rounds = ROUNDS_DEFAULT;
    if (argc > 1 && (!text_parse_int64(span_of_text(argv[1]), &rounds) || rounds < 1)) {
        (void)fprintf(stderr, "usage: stress_http [rounds]\n"); /* told */
        return 64;
    }
    char base[] = "/tmp/stress_http.XXXXXX";
    if (mkdtemp(base) == NULL) {
        fail("make a folder", "mkdtemp");
    }
    (void)snprintf(folder, sizeof folder, "%s/data", base); /* fits */
    log_set_level(LOG_ERROR);
    for (int64_t round = 1; round <= rounds; round++) {
        run_round(round);
    }
    struct err err = {0};
    must(file_remove_tree(base, &err), "remove the folder", &err);
    (void)printf("stress_http: %" PRId64 " answers, %" PRId64 " batches\n", atomic_load(&answers),
                 atomic_load(&batches)); /* result */
    return atomic_load(&answers) > 0 && atomic_load(&batches) > 0 ? 0 : 1;
}
