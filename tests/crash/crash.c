/*
 * The crash harness: a server under mixed load, killed at random moments, again
 * and again; then everything it acknowledged must be there exactly once.
 *
 *   crash PROGRAM FOLDER CYCLES [SEED [RIG]]
 *
 * Every second cycle arms one of the program's own crash points (a build with
 * SLUICE_FAULTS) besides, because a random moment seldom falls between two
 * steps that are microseconds apart. SLUICE_FAULTS of this process is given on
 * to every start: the planted bugs that prove the harness.
 *
 * With a RIG a cycle ends with a power cut instead of a kill. FOLDER/data is then
 * a file system of its own, and `RIG cut FOLDER` stops all writing to it at once,
 * while the server runs on; `RIG mend FOLDER` mounts what had reached the disk. In
 * half of the cycles the cut comes when all lanes have run dry, because a writer
 * that is still busy syncs for the others what they forgot to sync.
 * CRASH_DOUBT in the environment: what is answered once the cut has begun is no promise.
 * The kernel's own shutdown of a file system tells a sync in flight that it succeeded and
 * loses it nevertheless (ext4, 6.18: a program that only appends and syncs lost its last
 * block in 57 of 300), so such an answer says nothing about the server.
 * CRASH_LOAD_MS: longest load of a cycle. CRASH_SPREAD: the rows of
 * the appended table go to so many partitions that a commit's files are synced as a group.
 *
 * The ledger lives in this process, which is never killed. Every client repeats a
 * request whose outcome is unknown with the same Idempotency-Key until it is
 * acknowledged, so at the end both tables are known exactly:
 *   appended  every batch's rows once each, none of a batch missing
 *   keyed     each key holds the number of the last batch that wrote it
 * fsck must be clean after every cycle, and a restarted server must answer within
 * RESTART_MS_MAX. Exit code 0: nothing lost, nothing doubled; 1: something is wrong.
 */
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "tests/support/http_client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CLIENTS = 8,
    KEYS_OF_CLIENT = 40,
    ROWS_MAX = 20,        /* records of one batch */
    BATCHES_MAX = 200000, /* of one client over all cycles */
    KILL_AFTER_MS_MIN = 5,
    KILL_AFTER_MS_MAX = 500,
    SECOND_KILL_MS_MAX = 50,
    AFTER_CUT_MS_MAX = 50,  /* the server runs on without its disk */
    POINT_EVERY = 3,        /* cycles, of which one has a crash point armed */
    POINT_PASSING_MAX = 40, /* the point's passing that ends the process */
    RESTART_MS_MAX = 2000,  /* from exec to the first 2xx */
    RESTART_MS_GIVE_UP = 20000,
    PROBLEMS_SHOWN_MAX = 20,
    SPREAD_PARTITIONS = 700,
    DRAIN_MS_MAX = 60000,
    PATH_BYTES = 1024,
};

/* What one client knows; only its own thread touches it while it runs. */
struct client {
    int number;
    struct http_client http;
    uint64_t random;
    int64_t batch;                     /* number of the batch being posted, from 1 */
    int64_t acknowledged;              /* all up to here */
    int64_t key_batch[KEYS_OF_CLIENT]; /* last acknowledged batch that wrote the key */
    int64_t lookups;
    pthread_t thread;
};

static const char *program;
static bool spread;     /* CRASH_SPREAD */
static const char *rig; /* NULL = kill -9 */
static bool doubt;      /* CRASH_DOUBT */
static int64_t load_ms_max = KILL_AFTER_MS_MAX;
static char folder[PATH_BYTES];
static char data[PATH_BYTES + 16];
static struct client clients[CLIENTS];
static _Atomic bool stop_clients;
static _Atomic bool
    disk_is_gone; /* between cut and mend any refusal will do; only promises count */
static int64_t problems;

static void problem(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void problem(const char *format, ...)
{
    problems++;
    if (problems > PROBLEMS_SHOWN_MAX) {
        return; /* counted all the same */
    }
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "PROBLEM: "); /* told */
    (void)vfprintf(stderr, format, arguments);
    (void)fprintf(stderr, "\n");
    va_end(arguments);
}

static uint64_t random_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15U;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void pause_ms(int64_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {
    }
}

/* ---- the server ---- */

/*
 * What lies between two steps that must both be there, or neither, after a crash,
 * with the highest passing that may end the process: about as many as a cycle sees.
 */
static const struct crash_point {
    const char *name;
    int passing_max;
} crash_points[] = {
    {"merge.after-commit", 6},
    {"delta.commit.after-log", 6},
    {"merge.before-commit", 6},
    {"delta.commit.before-log", 6},
    {"catalog.commit", 60},
    {"catalog.committed", 60},
    {"file.publish.before-link", 20},
    {"file.publish.after-link", 20},
    {"journal.sync", 60},
    {"file.sync", 100},
    {"file.sync-directory", 20},
    {"merge.after-commit", 2},
};

/* In the child: arm the crash point besides what the caller of the harness planted. */
static void arm(const char *point)
{
    const char *planted = getenv("SLUICE_FAULTS");
    char faults[512];
    (void)snprintf(faults, sizeof faults, "%s%s%s", planted != NULL ? planted : "",
                   planted != NULL ? "," : "", point); /* a handful of short names */
    (void)setenv("SLUICE_FAULTS", faults, 1);          /* fails without memory only */
}

/* `point` is "name=crash@n", or NULL for a start without. */
static pid_t start_server(const char *point)
{
    char endpoint[PATH_BYTES + 32];
    (void)snprintf(endpoint, sizeof endpoint, "%s/endpoint", data); /* fits */
    (void)unlink(endpoint);                                         /* absent at the first start */
    pid_t pid = fork();
    if (pid == 0) {
        if (point != NULL) {
            arm(point);
        }
        char log[PATH_BYTES + 32];
        (void)snprintf(log, sizeof log, "%s/log", folder); /* fits */
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        (void)dup2(fd, STDERR_FILENO); /* a lost log is no reason to stop */
        (void)execl(program, program, "serve", "--data", data, "--listen", "127.0.0.1:0",
                    (char *)NULL);
        _exit(127);
    }
    return pid;
}

static bool read_small(const char *name, char *text, size_t size)
{
    char path[PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/%s", data, name); /* fits */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t got = read(fd, text, size - 1);
    (void)close(fd);
    if (got <= 0) {
        return false;
    }
    text[got] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    return true;
}

enum start { START_ANYHOW, START_IN_TIME, START_MAY_CRASH };

/* Wait until the server answers; false when it does not. Sets every client's address. */
static bool wait_until_ready(pid_t pid, int64_t started_us, enum start start)
{
    char url[256];
    char token[128];
    for (;;) {
        int64_t waited_ms = (clock_monotonic_us() - started_us) / 1000;
        siginfo_t ended = {0};
        if (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            ended.si_pid == pid) {
            bool at_point = ended.si_code == CLD_KILLED && ended.si_status == SIGKILL;
            if (start != START_MAY_CRASH || !at_point) {
                problem("the server ended at start (%d, status %d)", ended.si_code,
                        ended.si_status);
            }
            return false; /* it is waited for by kill_server */
        }
        if (waited_ms > RESTART_MS_GIVE_UP) {
            problem("the server did not answer within %d ms", RESTART_MS_GIVE_UP);
            return false;
        }
        if (read_small("endpoint", url, sizeof url) &&
            read_small("admin.token", token, sizeof token)) {
            int64_t port = 0;
            const char *colon = strrchr(url, ':');
            struct http_client probe;
            struct http_answer answer;
            if (colon != NULL && text_parse_int64(span_of_text(colon + 1), &port)) {
                http_client_init(&probe, (uint16_t)port, token);
                bool answered = http_client_call(&probe, "GET", "/v1/tables", "", "", 0, &answer) &&
                                answer.status == 200;
                http_answer_deinit(&answer);
                http_client_close(&probe);
                if (answered) {
                    for (int i = 0; i < CLIENTS; i++) {
                        http_client_init(&clients[i].http, (uint16_t)port, token);
                    }
                    int64_t ready_ms = (clock_monotonic_us() - started_us) / 1000;
                    if (start == START_IN_TIME && ready_ms > RESTART_MS_MAX) {
                        problem("first answer after %" PRId64 " ms, the limit is %d", ready_ms,
                                RESTART_MS_MAX);
                    }
                    return true;
                }
            }
        }
        pause_ms(1);
    }
}

static void run_rig(const char *verb)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)execl(rig, rig, verb, folder, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    (void)waitpid(pid, &status, 0);
    if (status != 0) {
        (void)fprintf(stderr, "%s %s failed (status %d)\n", rig, verb, status); /* told */
        exit(70); /* says nothing about the server */
    }
}

static void kill_server(pid_t pid)
{
    (void)kill(pid, SIGKILL); /* it may have ended by itself, which waitpid tells */
    int status = 0;
    (void)waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        problem("the server ended by itself (status %d)", status);
    }
}

/* The end of the server, as a kill or, with a rig, by the loss of its disk. */
static void crash_server(pid_t pid, uint64_t *random)
{
    if (rig == NULL) {
        kill_server(pid);
        return;
    }
    atomic_store(&disk_is_gone, true); /* before: an answer may overtake the rig's return */
    run_rig("cut");
    pause_ms((int64_t)(random_next(random) % AFTER_CUT_MS_MAX));
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0); /* without a disk it may end as it likes */
}

static int run_fsck(const char *name)
{
    pid_t pid = fork();
    if (pid == 0) {
        char log[PATH_BYTES + 32];
        (void)snprintf(log, sizeof log, "%s/%s", folder, name); /* fits */
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        (void)execl(program, program, "fsck", "--data", data, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* ---- the clients ---- */

/* The batch that client and number stand for: always the same bytes. */
struct batch {
    bool appended;
    int rows;
    int keys[ROWS_MAX];
};

static struct batch batch_of(const struct client *client, int64_t number)
{
    uint64_t state = (uint64_t)client->number * 1000003 + (uint64_t)number;
    struct batch batch = {
        .appended = random_next(&state) % 3 == 0,
        .rows = 1 + (int)(random_next(&state) % ROWS_MAX),
    };
    for (int i = 0; i < batch.rows; i++) {
        batch.keys[i] = (int)(random_next(&state) % KEYS_OF_CLIENT);
    }
    return batch;
}

static void write_body(const struct client *client, int64_t number, const struct batch *batch,
                       struct buffer *body)
{
    for (int i = 0; i < batch->rows; i++) {
        if (batch->appended) {
            buffer_append_format(body, "{\"batch\":\"c%d-%" PRId64 "\",\"row\":%d", client->number,
                                 number, i);
            if (spread) {
                buffer_append_format(
                    body, ",\"part\":%d",
                    (int)((number * ROWS_MAX + i + client->number * 97) % SPREAD_PARTITIONS));
            }
            buffer_append_text(body, "}\n");
        } else {
            buffer_append_format(body, "{\"id\":\"c%d-%d\",\"n\":%" PRId64 "}\n", client->number,
                                 batch->keys[i], number);
        }
    }
}

/* Post the batch; true when it was acknowledged. */
static bool post_batch(struct client *client, int64_t number)
{
    struct batch batch = batch_of(client, number);
    struct buffer body;
    buffer_init(&body, 1 << 20);
    write_body(client, number, &batch, &body);
    char extra[256];
    (void)snprintf(extra, sizeof extra,
                   "Content-Type: application/x-ndjson\r\nIdempotency-Key: \"c%d-%" PRId64 "\"\r\n",
                   client->number, number); /* fits */
    struct http_answer answer;
    bool answered = http_client_call(&client->http, "POST",
                                     batch.appended ? "/v1/tables/appended/batches"
                                                    : "/v1/tables/keyed/batches",
                                     extra, (const char *)body.data, body.size, &answer);
    buffer_deinit(&body);
    bool acknowledged = answered && (answer.status == 202 || answer.status == 200);
    if (answered && !acknowledged && answer.status != 409 && answer.status != 429 &&
        answer.status != 503 && !atomic_load(&disk_is_gone)) {
        problem("client %d batch %" PRId64 ": status %d: %.300s", client->number, number,
                answer.status, answer.body);
    }
    http_answer_deinit(&answer);
    if (doubt && atomic_load(&disk_is_gone)) {
        return false; /* unknown: the same batch comes again in the next cycle */
    }
    if (acknowledged) {
        client->acknowledged = number;
        for (int i = 0; !batch.appended && i < batch.rows; i++) {
            client->key_batch[batch.keys[i]] = number;
        }
    }
    return acknowledged;
}

static void look_up(struct client *client)
{
    char body[128];
    (void)snprintf(body, sizeof body, "{\"keys\":[{\"id\":\"c%d-%d\"}]}", client->number,
                   (int)(random_next(&client->random) % KEYS_OF_CLIENT)); /* fits */
    struct http_answer answer;
    if (http_client_call(&client->http, "POST", "/v1/tables/keyed/lookup",
                         "Content-Type: application/json\r\n", body, strlen(body), &answer) &&
        answer.status != 200 && answer.status != 503 && !atomic_load(&disk_is_gone)) {
        problem("lookup: status %d: %.300s", answer.status, answer.body);
    }
    http_answer_deinit(&answer);
    client->lookups++;
}

static void *client_main(void *arg)
{
    struct client *client = arg;
    while (!atomic_load(&stop_clients) && client->batch < BATCHES_MAX) {
        if (random_next(&client->random) % 4 == 0) {
            look_up(client);
        } else if (post_batch(client, client->batch)) {
            client->batch++;
        } else if (client->http.fd < 0) {
            break; /* the server is gone: the same batch comes again in the next cycle */
        }
    }
    return NULL;
}

static void start_clients(void)
{
    atomic_store(&stop_clients, false);
    for (int i = 0; i < CLIENTS; i++) {
        if (pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) != 0) {
            abort();
        }
    }
}

static void end_clients(void)
{
    atomic_store(&stop_clients, true);
    for (int i = 0; i < CLIENTS; i++) {
        (void)pthread_join(clients[i].thread, NULL);
        http_client_close(&clients[i].http);
    }
}

/* ---- tables and the final count ---- */

static void create_tables(void)
{
    const char *const definitions[][2] = {
        {"/v1/tables/keyed",
         "{\"schema\":{\"fields\":[{\"name\":\"id\",\"type\":\"string\",\"nullable\":"
         "false},{\"name\":\"n\",\"type\":\"long\"}]},\"key\":[\"id\"],"
         "\"change_feed\":true}"},
        {"/v1/tables/appended",
         spread
             ? "{\"schema\":{\"fields\":[{\"name\":\"batch\",\"type\":\"string\"},{"
               "\"name\":\"row\",\"type\":\"integer\"},{\"name\":\"part\",\"type\":\"integer\"}]},"
               "\"merge\":\"append\",\"partition_by\":[\"part\"]}"
             : "{\"schema\":{\"fields\":[{\"name\":\"batch\",\"type\":\"string\"},{"
               "\"name\":\"row\",\"type\":\"integer\"}]},\"merge\":\"append\"}"},
    };
    for (size_t i = 0; i < sizeof definitions / sizeof definitions[0]; i++) {
        struct http_answer answer;
        if (!http_client_call(&clients[0].http, "PUT", definitions[i][0],
                              "Content-Type: application/json\r\n", definitions[i][1],
                              strlen(definitions[i][1]), &answer) ||
            answer.status / 100 != 2) {
            problem("create %s: status %d: %.300s", definitions[i][0], answer.status,
                    answer.body != NULL ? answer.body : "");
        }
        http_answer_deinit(&answer);
    }
}

/* Wait until nothing is queued any more. */
static void drain(void)
{
    static const char *const tables[] = {"/v1/tables/keyed", "/v1/tables/appended"};
    int64_t deadline_us = clock_monotonic_us() + (int64_t)DRAIN_MS_MAX * 1000;
    for (size_t i = 0; i < 2; i++) {
        int64_t queued = 1;
        while (queued > 0 && clock_monotonic_us() < deadline_us) {
            struct http_answer answer;
            if (http_client_call(&clients[0].http, "GET", tables[i], "", "", 0, &answer)) {
                (void)http_json_integer(answer.body, "queued_batches", &queued);
            }
            http_answer_deinit(&answer);
            pause_ms(5);
        }
        if (queued > 0) {
            problem("%s still has %" PRId64 " queued batches after %d ms", tables[i], queued,
                    DRAIN_MS_MAX);
        }
    }
}

/*
 * Outcomes of merges wait for no disk, so that a commit that is lost is lost with them and made
 * again. The acceptance of a batch, be it all refused, does wait, and they with it: what is not on
 * the disk by then is gone for good.
 */
static void settle_outcomes(int64_t cycle)
{
    char extra[128];
    (void)snprintf(extra, sizeof extra,
                   "Content-Type: application/x-ndjson\r\nIdempotency-Key: \"dry-%" PRId64 "\"\r\n",
                   cycle); /* fits */
    struct http_answer answer;
    if (!http_client_call(&clients[0].http, "POST", "/v1/tables/keyed/batches", extra, "no record",
                          strlen("no record"), &answer) ||
        answer.status / 100 != 2) {
        problem("a body that is no record: status %d: %.300s", answer.status,
                answer.body != NULL ? answer.body : "");
    }
    http_answer_deinit(&answer);
}

/* Run `program table rows|changes …/tables/<name>` and hand each line to `visit`. */
static void read_table(const char *verb, const char *name, void (*visit)(const char *line))
{
    char path[PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/tables/%s", data, name); /* fits */
    int ends[2];
    if (pipe(ends) != 0) {
        abort();
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        bool rows = strcmp(verb, "rows") == 0;
        (void)execl(program, program, "table", verb, path, rows ? (char *)NULL : "--from", "0",
                    (char *)NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    FILE *rows = fdopen(ends[0], "r");
    char line[4096];
    while (rows != NULL && fgets(line, sizeof line, rows) != NULL) {
        visit(line);
    }
    if (rows != NULL) {
        (void)fclose(rows);
    }
    int status = 0;
    (void)waitpid(pid, &status, 0);
    if (status != 0) {
        problem("table %s %s: status %d", verb, name, status);
    }
}

static uint32_t *seen[CLIENTS]; /* per client and batch: a bit for each row */

static void visit_appended(const char *line)
{
    char batch[64];
    int64_t row = -1;
    int client = -1;
    int64_t number = -1;
    if (!http_json_text(line, "batch", batch, sizeof batch) ||
        !http_json_integer(line, "row", &row) ||
        sscanf(batch, "c%d-%" SCNd64, &client, &number) != 2 || client < 0 || client >= CLIENTS ||
        number < 1 || number >= BATCHES_MAX || row < 0 || row >= ROWS_MAX) {
        problem("appended holds a strange row");
        return;
    }
    if ((seen[client][number] >> row & 1U) != 0) {
        problem("appended: row %" PRId64 " of %s twice", row, batch);
    }
    seen[client][number] |= 1U << row;
}

static int64_t found_n[CLIENTS][KEYS_OF_CLIENT];

static void visit_keyed(const char *line)
{
    char id[64];
    int64_t n = -1;
    int client = -1;
    int key = -1;
    if (!http_json_text(line, "id", id, sizeof id) || !http_json_integer(line, "n", &n) ||
        sscanf(id, "c%d-%d", &client, &key) != 2 || client < 0 || client >= CLIENTS || key < 0 ||
        key >= KEYS_OF_CLIENT) {
        problem("keyed holds a strange row");
        return;
    }
    if (found_n[client][key] != 0) {
        problem("keyed: %s twice", id);
    }
    found_n[client][key] = n;
}

static int64_t fed_n[CLIENTS][KEYS_OF_CLIENT];

/* Changes of all versions in order: each begins where the last one of its key ended. */
static void visit_change(const char *line)
{
    char id[64];
    char type[32];
    int64_t n = -1;
    int client = -1;
    int key = -1;
    if (!http_json_text(line, "id", id, sizeof id) || !http_json_integer(line, "n", &n) ||
        !http_json_text(line, "_change_type", type, sizeof type) ||
        sscanf(id, "c%d-%d", &client, &key) != 2 || client < 0 || client >= CLIENTS || key < 0 ||
        key >= KEYS_OF_CLIENT) {
        problem("the feed of keyed holds a strange change");
        return;
    }
    bool comes = strcmp(type, "insert") == 0 || strcmp(type, "update_postimage") == 0;
    if (fed_n[client][key] != (comes ? 0 : n)) {
        problem("the feed of keyed: %s of %s holds %" PRId64 " behind %" PRId64, type, id, n,
                fed_n[client][key]);
    }
    fed_n[client][key] = comes ? n : 0;
}

static void count_everything(void)
{
    for (int c = 0; c < CLIENTS; c++) {
        seen[c] = mem_zeroed(BATCHES_MAX, sizeof *seen[c]);
    }
    read_table("rows", "appended", visit_appended);
    read_table("rows", "keyed", visit_keyed);
    read_table("changes", "keyed", visit_change);
    for (int c = 0; c < CLIENTS; c++) {
        for (int64_t number = 1; number <= clients[c].acknowledged; number++) {
            struct batch batch = batch_of(&clients[c], number);
            uint32_t expected = batch.appended ? (1U << batch.rows) - 1 : 0;
            if (seen[c][number] != expected) {
                problem("batch c%d-%" PRId64 ": rows %x instead of %x", c, number, seen[c][number],
                        expected);
            }
        }
        for (int key = 0; key < KEYS_OF_CLIENT; key++) {
            if (fed_n[c][key] != found_n[c][key]) {
                problem("the feed of keyed ends with %" PRId64
                        " for c%d-%d, the table with %" PRId64,
                        fed_n[c][key], c, key, found_n[c][key]);
            }
            if (found_n[c][key] != clients[c].key_batch[key]) {
                problem("key c%d-%d holds %" PRId64 " instead of %" PRId64, c, key, found_n[c][key],
                        clients[c].key_batch[key]);
            }
        }
        mem_free(seen[c]);
    }
}

/* ---- cycles ---- */

/* The crash point of this cycle as "name=crash@n", or "" for none. */
static void choose_point(uint64_t *random, int64_t cycle, char *point_out, size_t size)
{
    point_out[0] = '\0';
    if (rig == NULL && cycle % POINT_EVERY == 0) {
        const struct crash_point *which =
            &crash_points[random_next(random) % (sizeof crash_points / sizeof crash_points[0])];
        (void)snprintf(point_out, size, "%s=crash@%d", which->name,
                       1 + (int)(random_next(random) % (uint64_t)which->passing_max)); /* fits */
    }
}

static void load(uint64_t *random)
{
    start_clients();
    pause_ms(KILL_AFTER_MS_MIN +
             (int64_t)(random_next(random) % (uint64_t)(load_ms_max - KILL_AFTER_MS_MIN)));
}

/* Start, load, end; in half of the cycles end once more in the middle of recovery. */
static void run_cycle(uint64_t *random, int64_t cycle)
{
    char point[64];
    choose_point(random, cycle, point, sizeof point);
    const char *armed = point[0] != '\0' ? point : NULL;
    int64_t started_us = clock_monotonic_us();
    pid_t pid = start_server(armed);
    if (random_next(random) % 2 == 0) {
        pause_ms((int64_t)(random_next(random) % SECOND_KILL_MS_MAX));
        crash_server(pid, random);
        if (rig != NULL) {
            run_rig("mend");
            atomic_store(&disk_is_gone, false);
        }
        started_us = clock_monotonic_us();
        pid = start_server(armed);
    }
    bool ready = wait_until_ready(pid, started_us, armed != NULL ? START_MAY_CRASH : START_IN_TIME);
    bool dry = rig != NULL && random_next(random) % 2 == 0;
    if (ready) {
        load(random);
    }
    if (ready && dry) {
        end_clients();
        drain();
        if (cycle % 2 == 0) {
            settle_outcomes(cycle);
        }
    }
    crash_server(pid, random);
    if (ready && !dry) {
        end_clients();
    }
    if (rig != NULL) {
        run_rig("mend");
        atomic_store(&disk_is_gone, false);
    }
    int code = run_fsck("fsck");
    if (code != 0) {
        problem("fsck exited with %d; see %s/fsck", code, folder);
    }
}

static void stop_server(pid_t pid)
{
    (void)kill(pid, SIGTERM); /* it may have ended by itself, which waitpid tells */
    int status = 0;
    (void)waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        problem("the server did not stop cleanly (status %d)", status);
    }
}

static void first_start(void)
{
    pid_t pid = start_server(NULL);
    if (wait_until_ready(pid, clock_monotonic_us(), START_ANYHOW)) {
        create_tables();
    }
    stop_server(pid);
}

/* Let everything unknown become known, then let the lanes run dry. */
static void last_start(void)
{
    pid_t pid = start_server(NULL);
    if (wait_until_ready(pid, clock_monotonic_us(), START_ANYHOW)) {
        for (int c = 0; c < CLIENTS; c++) {
            for (int tries = 0; tries < 1000 && !post_batch(&clients[c], clients[c].batch);
                 tries++) {
                pause_ms(10);
            }
        }
        drain();
    }
    stop_server(pid);
    int code = run_fsck("fsck-end");
    if (code != 0) {
        problem("fsck exited with %d at the end; see %s/fsck-end", code, folder);
    }
}

int main(int argc, char **argv)
{
    int64_t cycles = 0;
    int64_t seed = 1;
    if (argc < 4 || !text_parse_int64(span_of_text(argv[3]), &cycles) || cycles < 1 ||
        (argc > 4 && !text_parse_int64(span_of_text(argv[4]), &seed))) {
        (void)fprintf(stderr, "Usage: crash PROGRAM FOLDER CYCLES [SEED [RIG]]\n"); /* told */
        return 64;
    }
    program = argv[1];
    rig = argc > 5 ? argv[5] : NULL;
    spread = getenv("CRASH_SPREAD") != NULL;
    doubt = getenv("CRASH_DOUBT") != NULL;
    const char *load_ms = getenv("CRASH_LOAD_MS");
    if (load_ms != NULL && (!text_parse_int64(span_of_text(load_ms), &load_ms_max) ||
                            load_ms_max <= KILL_AFTER_MS_MIN)) {
        (void)fprintf(stderr, "CRASH_LOAD_MS: expected milliseconds, more than %d\n",
                      KILL_AFTER_MS_MIN); /* told */
        return 64;
    }
    (void)snprintf(folder, sizeof folder, "%s", argv[2]); /* given by run.sh */
    (void)snprintf(data, sizeof data, "%s/data", folder); /* fits */
    (void)signal(SIGPIPE, SIG_IGN);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        (void)fprintf(stderr, "cannot make %s\n", folder); /* told */
        return 73;
    }
    uint64_t random = (uint64_t)seed;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] =
            (struct client){.number = i, .batch = 1, .random = (uint64_t)seed * 31 + (uint64_t)i};
    }
    first_start();
    int64_t done = 0;
    while (done < cycles && problems == 0) {
        done++;
        run_cycle(&random, done);
        if (done % 10 == 0 || done == cycles) {
            (void)fprintf(stderr, "cycle %" PRId64 " of %" PRId64 "\n", done,
                          cycles); /* progress */
        }
    }
    last_start();
    count_everything();
    int64_t acknowledged = 0;
    int64_t lookups = 0;
    for (int i = 0; i < CLIENTS; i++) {
        acknowledged += clients[i].acknowledged;
        lookups += clients[i].lookups;
    }
    (void)printf("%" PRId64 " cycles, %" PRId64 " batches acknowledged, %" PRId64
                 " lookups, %" PRId64 " problems\n",
                 done, acknowledged, lookups, problems); /* result */
    return problems == 0 ? 0 : 1;
}
