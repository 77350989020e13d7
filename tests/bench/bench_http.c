/*
 * The load side of the benchmark over HTTP, on loopback. Tables are `rx` (prescriptions) and
 * `members` (tests/support/bench_records.h).
 *
 *   bench_http load PORT TOKEN TABLE FIRST ROWS BATCH [RATE]
 *       post rows FIRST … FIRST + ROWS - 1 in batches from two clients; records/s until all
 *       are indexed; RATE in records/s makes it an open loop, timed to the acknowledgement
 *   bench_http upsert PORT TOKEN BATCHES ROWS KEYS HITS SEED
 *       post batches of ROWS upserts one after the other, HITS percent of them of keys below
 *       KEYS, each waited for until indexed
 *   bench_http trickle PORT TOKEN CLIENTS SECONDS KEYS SEED [RATE]
 *       single records, durable acknowledgement
 *   bench_http fresh PORT TOKEN SECONDS ROWS KEYS RATE
 *       batches of ROWS upserts, RATE batches/s, open loop, each waited for until indexed
 *   bench_http get PORT TOKEN CLIENTS SECONDS PREFIX SUFFIX KEYS SEED [RATE]
 *       GET PREFIX, a member below KEYS and SUFFIX; 5 % ask for one that is not there
 *   bench_http records KIND FIRST ROWS SEED
 *       print records for other peers; KIND rx-json, rx-csv, member-json, member-csv
 *   bench_http upserts ROWS KEYS HITS SEED
 *       print what one batch of `upsert` posts
 *   bench_http definition TABLE
 */
#include "storage/base/mem.h"
#include "tests/support/bench_load.h"
#include "tests/support/bench_records.h"
#include "tests/support/http_client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOAD_CLIENTS = 2, BODY_BYTES_MAX = 256 << 20, MISS_PERCENT = 5, BATCH_ID_BYTES = 64 };

static uint16_t port;
static const char *token;

struct session {
    struct http_client http;
    struct buffer body;
    char batch[BATCH_ID_BYTES]; /* the last one posted */
};

static void open_session(struct bench_client *client, void *self)
{
    (void)self;
    struct session *session = mem_zeroed(1, sizeof *session);
    http_client_init(&session->http, port, token);
    buffer_init(&session->body, BODY_BYTES_MAX);
    client->connection = session;
}

static void close_session(struct bench_client *client, void *self)
{
    (void)self;
    struct session *session = client->connection;
    buffer_deinit(&session->body);
    http_client_close(&session->http);
    mem_free(session);
}

/* Post the body; true when it was answered with `wanted`. */
static bool post(struct session *session, const char *table, const char *prefer, int wanted)
{
    char path[128];
    char extra[256];
    (void)snprintf(path, sizeof path, "/v1/tables/%s/batches", table); /* fits */
    (void)snprintf(extra, sizeof extra, "Content-Type: application/x-ndjson\r\n%s",
                   prefer); /* fits */
    struct http_answer answer;
    bool good = http_client_call(&session->http, "POST", path, extra,
                                 (const char *)session->body.data, session->body.size, &answer) &&
                answer.status == wanted &&
                http_json_text(answer.body, "batch_id", session->batch, BATCH_ID_BYTES);
    if (!good) {
        (void)fprintf(stderr, "status %d: %.200s\n", answer.status,
                      answer.body != NULL ? answer.body : ""); /* told */
    }
    http_answer_deinit(&answer);
    return good;
}

static bool wait_indexed(struct session *session)
{
    char path[128];
    (void)snprintf(path, sizeof path, "/v1/batches/%s", session->batch); /* fits */
    for (;;) {
        struct http_answer answer;
        char state[32] = "";
        bool good =
            http_client_call(&session->http, "GET", path, "Prefer: wait=60\r\n", "", 0, &answer) &&
            http_json_text(answer.body, "state", state, sizeof state);
        http_answer_deinit(&answer);
        if (!good || strcmp(state, "indexed") == 0) {
            return good;
        }
    }
}

static void append(struct session *session, enum bench_records kind, int64_t key, uint64_t random)
{
    bench_record_append(&session->body, kind, key, random);
    buffer_append_byte(&session->body, '\n');
}

/* ---- load ---- */

struct loading {
    const char *table;
    enum bench_records kind;
    int64_t first;
    int64_t rows;
    int64_t batch;
};

static bool load_batch(struct bench_client *client, int64_t turn, void *self)
{
    const struct loading *loading = self;
    struct session *session = client->connection;
    int64_t row = (turn * LOAD_CLIENTS + client->number) * loading->batch;
    int64_t end = row + loading->batch < loading->rows ? row + loading->batch : loading->rows;
    buffer_reset(&session->body);
    for (; row < end; row++) {
        append(session, loading->kind, loading->first + row, bench_random(&client->random));
    }
    return session->body.size == 0 || post(session, loading->table, "", 202);
}

static void close_loaded(struct bench_client *client, void *self)
{
    struct session *session = client->connection;
    if (session->batch[0] != '\0' && !wait_indexed(session)) {
        (void)fprintf(stderr, "batch %s is not known\n", session->batch); /* told */
        exit(1);
    }
    close_session(client, self);
}

static int load(char **arguments, const char *rate)
{
    struct loading loading = {.table = arguments[0],
                              .kind = strcmp(arguments[0], "members") == 0 ? BENCH_MEMBER_JSON
                                                                           : BENCH_RX_JSON,
                              .first = bench_number(arguments[1]),
                              .rows = bench_number(arguments[2]),
                              .batch = bench_number(arguments[3])};
    int64_t batches = (loading.rows + loading.batch - 1) / loading.batch;
    const struct bench_load run = {
        .what = "load",
        .clients = LOAD_CLIENTS,
        .turns_max = (batches + LOAD_CLIENTS - 1) / LOAD_CLIENTS,
        .rate = rate != NULL ? (double)bench_number(rate) / (double)loading.batch : 0,
        .records_per_request = (double)loading.rows /
                               (double)((batches + LOAD_CLIENTS - 1) / LOAD_CLIENTS * LOAD_CLIENTS),
        .seed = (uint64_t)loading.first + 1,
        .open = open_session,
        .ask = load_batch,
        .close = close_loaded,
        .self = &loading};
    return bench_load_run(&run);
}

/* ---- upserts ---- */

struct upserts {
    int64_t rows;
    struct bench_keys keys;
    const char *prefer;
    int wanted;
};

static bool upsert(struct bench_client *client, int64_t turn, void *self)
{
    (void)turn;
    struct upserts *upserts = self;
    struct session *session = client->connection;
    buffer_reset(&session->body);
    for (int64_t i = 0; i < upserts->rows; i++) {
        uint64_t random = bench_random(&client->random);
        append(session, BENCH_RX_JSON, bench_key(&upserts->keys), random);
    }
    return post(session, "rx", upserts->prefer, upserts->wanted);
}

static int run_upserts(const char *what, struct upserts *upserts, int clients, double seconds,
                       int64_t turns, double rate, uint64_t seed)
{
    const struct bench_load run = {.what = what,
                                   .clients = clients,
                                   .seconds = seconds,
                                   .turns_max = turns,
                                   .rate = rate,
                                   .records_per_request = (double)upserts->rows,
                                   .seed = seed,
                                   .open = open_session,
                                   .ask = upsert,
                                   .close = close_session,
                                   .self = upserts};
    return bench_load_run(&run);
}

/* ---- lookups ---- */

struct lookups {
    const char *prefix;
    const char *suffix;
    int64_t keys;
};

static bool get(struct bench_client *client, int64_t turn, void *self)
{
    (void)turn;
    const struct lookups *lookups = self;
    struct session *session = client->connection;
    uint64_t random = bench_random(&client->random);
    bool miss = random % 100 < MISS_PERCENT;
    int64_t key = (int64_t)(random / 128 % (uint64_t)lookups->keys) + (miss ? lookups->keys : 0);
    char path[256];
    (void)snprintf(path, sizeof path, "%sM%09" PRId64 "%s", lookups->prefix, key,
                   lookups->suffix); /* fits */
    struct http_answer answer;
    bool good = http_client_call(&session->http, "GET", path, "", "", 0, &answer) &&
                (answer.status == 200 || (miss && answer.status == 404));
    http_answer_deinit(&answer);
    return good;
}

static int run_gets(struct lookups *lookups, int clients, double seconds, uint64_t seed,
                    double rate)
{
    const struct bench_load run = {.what = "get",
                                   .clients = clients,
                                   .seconds = seconds,
                                   .rate = rate,
                                   .records_per_request = 1,
                                   .seed = seed,
                                   .open = open_session,
                                   .ask = get,
                                   .close = close_session,
                                   .self = lookups};
    return bench_load_run(&run);
}

/* ---- records for others ---- */

static int print_records(const char *name, int64_t first, int64_t rows, uint64_t seed)
{
    static const char *const names[] = {"rx-json", "rx-csv", "member-json", "member-csv"};
    for (size_t kind = 0; kind < sizeof names / sizeof names[0]; kind++) {
        if (strcmp(names[kind], name) != 0) {
            continue;
        }
        struct buffer line;
        buffer_init(&line, BODY_BYTES_MAX);
        for (int64_t row = 0; row < rows; row++) {
            buffer_reset(&line);
            bench_record_append(&line, (enum bench_records)kind, first + row, bench_random(&seed));
            buffer_append_byte(&line, '\n');
            if (fwrite(line.data, 1, line.size, stdout) != line.size) {
                return 1;
            }
        }
        buffer_deinit(&line);
        return 0;
    }
    return 64;
}

static int print_upserts(int64_t rows, struct bench_keys keys, uint64_t seed)
{
    struct buffer line;
    buffer_init(&line, BODY_BYTES_MAX);
    for (int64_t row = 0; row < rows; row++) {
        buffer_reset(&line);
        bench_record_append(&line, BENCH_RX_JSON, bench_key(&keys), bench_random(&seed));
        buffer_append_byte(&line, '\n');
        if (fwrite(line.data, 1, line.size, stdout) != line.size) {
            return 1;
        }
    }
    buffer_deinit(&line);
    return 0;
}

static double rate_of(int argc, char **argv, int at)
{
    return argc > at ? (double)bench_number(argv[at]) : 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[1] : "";
    bench_records_init();
    if (strcmp(verb, "records") == 0 && argc == 6) {
        return print_records(argv[2], bench_number(argv[3]), bench_number(argv[4]),
                             (uint64_t)bench_number(argv[5]));
    }
    if (strcmp(verb, "upserts") == 0 && argc == 6) {
        return print_upserts(bench_number(argv[2]), bench_keys_of(argv[3], argv[4], argv[5]),
                             (uint64_t)bench_number(argv[5]));
    }
    if (strcmp(verb, "definition") == 0) {
        (void)puts(strcmp(argv[2], "members") == 0 ? bench_member_definition
                                                   : bench_rx_definition); /* result */
        return 0;
    }
    if (argc < 8) {
        (void)fprintf(stderr, "Usage: see the top of tests/bench/bench_http.c\n"); /* told */
        return 64;
    }
    port = (uint16_t)bench_number(argv[2]);
    token = argv[3];
    if (strcmp(verb, "load") == 0) {
        return load(argv + 4, argc > 8 ? argv[8] : NULL);
    }
    if (strcmp(verb, "upsert") == 0 && argc == 9) {
        struct upserts upserts = {.rows = bench_number(argv[5]),
                                  .keys = bench_keys_of(argv[6], argv[7], argv[8]),
                                  .prefer = "Prefer: wait=60\r\n",
                                  .wanted = 200};
        return run_upserts("upsert", &upserts, 1, 0, bench_number(argv[4]), 0,
                           (uint64_t)bench_number(argv[8]));
    }
    if (strcmp(verb, "trickle") == 0) {
        struct upserts upserts = {
            .rows = 1, .keys = bench_keys_of(argv[6], "100", argv[7]), .prefer = "", .wanted = 202};
        return run_upserts("trickle", &upserts, (int)bench_number(argv[4]),
                           (double)bench_number(argv[5]), 0, rate_of(argc, argv, 8),
                           (uint64_t)bench_number(argv[7]));
    }
    if (strcmp(verb, "fresh") == 0) {
        enum { WAITING = 8 };
        struct upserts upserts = {.rows = bench_number(argv[5]),
                                  .keys = bench_keys_of(argv[6], "100", "1"),
                                  .prefer = "Prefer: wait=60\r\n",
                                  .wanted = 200};
        return run_upserts("fresh", &upserts, WAITING, (double)bench_number(argv[4]), 0,
                           (double)bench_number(argv[7]), 1);
    }
    if (strcmp(verb, "get") == 0 && argc >= 10) {
        struct lookups lookups = {
            .prefix = argv[6], .suffix = argv[7], .keys = bench_number(argv[8])};
        return run_gets(&lookups, (int)bench_number(argv[4]), (double)bench_number(argv[5]),
                        (uint64_t)bench_number(argv[9]), rate_of(argc, argv, 10));
    }
    (void)fprintf(stderr, "Usage: see the top of tests/bench/bench_http.c\n"); /* told */
    return 64;
}
