/*
 * PostgreSQL as a peer, through its own protocol: the records of bench_http as one JSON text a
 * batch, which the server takes apart and upserts in one transaction, committed durably.
 *
 *   bench_postgres CONNECTION setup                       tables rx and members, empty
 *   bench_postgres CONNECTION load TABLE FIRST ROWS BATCH two clients
 *   bench_postgres CONNECTION upsert BATCHES ROWS KEYS HITS SEED
 *   bench_postgres CONNECTION trickle CLIENTS SECONDS KEYS SEED
 *   bench_postgres CONNECTION get CLIENTS SECONDS KEYS SEED
 *       a member by key as JSON, prepared; 5 % ask for one that is not there
 */
#include "storage/base/mem.h"
#include "tests/support/bench_load.h"
#include "tests/support/bench_records.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOAD_CLIENTS = 2, BODY_BYTES_MAX = 256 << 20, MISS_PERCENT = 5 };

static const char setup_sql[] =
    "DROP TABLE IF EXISTS rx, members;"
    "CREATE TABLE rx(prescription_id text PRIMARY KEY, member_id text NOT NULL, prescriber_npi "
    "text NOT NULL, pharmacy_npi text NOT NULL, ndc text NOT NULL, drug_name text, quantity "
    "numeric(10,3) NOT NULL, days_supply integer, fill_number integer, refills integer, written_on "
    "date, filled_on date NOT NULL, bin text, pcn text, group_id text, copay numeric(9,2), "
    "total_cost double precision, compound boolean, status text, note text, updated_at "
    "timestamptz NOT NULL);"
    "CREATE INDEX rx_member ON rx(member_id);"
    "CREATE TABLE members(member_id text PRIMARY KEY, first_name text, last_name text, born date, "
    "sex text, street text, zip text, phone text, plan text, risk_score numeric(6,3), updated_at "
    "timestamptz);";

static const char get_sql[] = "SELECT row_to_json(m) FROM members m WHERE member_id = $1";

struct peer {
    const char *connection;
    char upsert_sql[4096];
    enum bench_records kind;
    int64_t first;
    int64_t rows;
    int64_t batch;
    struct bench_keys keys;
};

struct session {
    PGconn *server;
    struct buffer body;
};

static void make_upsert(struct peer *peer, bool of_members)
{
    const char *header = of_members ? bench_member_header : bench_rx_header;
    const char *table = of_members ? "members" : "rx";
    const char *key = of_members ? "member_id" : "prescription_id";
    struct buffer sql;
    buffer_init(&sql, sizeof peer->upsert_sql);
    buffer_append_format(&sql,
                         "INSERT INTO %s SELECT * FROM json_populate_recordset(NULL::%s, $1::json) "
                         "ON CONFLICT(%s) DO UPDATE SET ",
                         table, table, key);
    for (const char *name = header; *name != '\0';) {
        int size = (int)strcspn(name, ",");
        buffer_append_format(&sql, "%s%.*s=excluded.%.*s", name == header ? "" : ",", size, name,
                             size, name);
        name += size + (name[size] == ',');
    }
    buffer_append_byte(&sql, '\0');
    memcpy(peer->upsert_sql, sql.data, sql.size);
    buffer_deinit(&sql);
    peer->kind = of_members ? BENCH_MEMBER_JSON : BENCH_RX_JSON;
}

static bool told(PGconn *server, PGresult *result, ExecStatusType wanted)
{
    bool good = PQresultStatus(result) == wanted;
    if (!good) {
        (void)fprintf(stderr, "%s\n", PQerrorMessage(server)); /* told */
    }
    PQclear(result);
    return good;
}

static void open_session(struct bench_client *client, void *self)
{
    const struct peer *peer = self;
    struct session *session = mem_zeroed(1, sizeof *session);
    buffer_init(&session->body, BODY_BYTES_MAX);
    session->server = PQconnectdb(peer->connection);
    if (PQstatus(session->server) != CONNECTION_OK) {
        (void)fprintf(stderr, "%s\n", PQerrorMessage(session->server)); /* told */
        exit(1);
    }
    const char *sql = peer->upsert_sql[0] != '\0' ? peer->upsert_sql : get_sql;
    if (!told(session->server, PQprepare(session->server, "ask", sql, 1, NULL), PGRES_COMMAND_OK)) {
        exit(1);
    }
    client->connection = session;
}

static void close_session(struct bench_client *client, void *self)
{
    (void)self;
    struct session *session = client->connection;
    PQfinish(session->server);
    buffer_deinit(&session->body);
    mem_free(session);
}

static void append(const struct peer *peer, struct session *session, int64_t key, uint64_t random)
{
    buffer_append_byte(&session->body, session->body.size == 0 ? '[' : ',');
    bench_record_append(&session->body, peer->kind, key, random);
}

static bool post(struct session *session)
{
    if (session->body.size == 0) {
        return true;
    }
    buffer_append_text(&session->body, "]");
    buffer_append_byte(&session->body, '\0');
    const char *const values[] = {(const char *)session->body.data};
    return told(session->server, PQexecPrepared(session->server, "ask", 1, values, NULL, NULL, 0),
                PGRES_COMMAND_OK);
}

static bool load_batch(struct bench_client *client, int64_t turn, void *self)
{
    const struct peer *peer = self;
    struct session *session = client->connection;
    int64_t row = (turn * LOAD_CLIENTS + client->number) * peer->batch;
    int64_t end = row + peer->batch < peer->rows ? row + peer->batch : peer->rows;
    buffer_reset(&session->body);
    for (; row < end; row++) {
        append(peer, session, peer->first + row, bench_random(&client->random));
    }
    return post(session);
}

static bool upsert(struct bench_client *client, int64_t turn, void *self)
{
    (void)turn;
    struct peer *peer = self;
    struct session *session = client->connection;
    buffer_reset(&session->body);
    for (int64_t i = 0; i < peer->batch; i++) {
        uint64_t random = bench_random(&client->random);
        append(peer, session, bench_key(&peer->keys), random);
    }
    return post(session);
}

static bool get(struct bench_client *client, int64_t turn, void *self)
{
    (void)turn;
    const struct peer *peer = self;
    struct session *session = client->connection;
    uint64_t random = bench_random(&client->random);
    bool miss = random % 100 < MISS_PERCENT;
    char key[32];
    (void)snprintf(key, sizeof key, "M%09" PRId64,
                   (int64_t)(random / 128 % (uint64_t)peer->keys.count) +
                       (miss ? peer->keys.count : 0));
    const char *const values[] = {key};
    return told(session->server, PQexecPrepared(session->server, "ask", 1, values, NULL, NULL, 0),
                PGRES_TUPLES_OK);
}

static int setup(const char *connection)
{
    PGconn *server = PQconnectdb(connection);
    bool good = told(server, PQexec(server, setup_sql), PGRES_COMMAND_OK);
    PQfinish(server);
    return good ? 0 : 1;
}

static int usage(void)
{
    (void)fprintf(stderr, "Usage: see the top of tests/bench/bench_postgres.c\n"); /* told */
    return 64;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        return usage();
    }
    const char *verb = argv[2];
    struct peer peer = {.connection = argv[1]};
    struct bench_load load = {.what = verb,
                              .clients = 1,
                              .records_per_request = 1,
                              .open = open_session,
                              .close = close_session,
                              .self = &peer};
    bench_records_init();
    if (strcmp(verb, "setup") == 0) {
        return setup(argv[1]);
    }
    if (strcmp(verb, "load") == 0 && argc == 7) {
        make_upsert(&peer, strcmp(argv[3], "members") == 0);
        peer.first = bench_number(argv[4]);
        peer.rows = bench_number(argv[5]);
        peer.batch = bench_number(argv[6]);
        int64_t batches = (peer.rows + peer.batch - 1) / peer.batch;
        load.clients = LOAD_CLIENTS;
        load.turns_max = (batches + LOAD_CLIENTS - 1) / LOAD_CLIENTS;
        load.records_per_request = (double)peer.rows / (double)(load.turns_max * LOAD_CLIENTS);
        load.seed = (uint64_t)peer.first + 1;
        load.ask = load_batch;
    } else if (strcmp(verb, "upsert") == 0 && argc == 8) {
        make_upsert(&peer, false);
        peer.batch = bench_number(argv[4]);
        peer.keys = bench_keys_of(argv[5], argv[6], argv[7]);
        load.seed = (uint64_t)bench_number(argv[7]);
        load.turns_max = bench_number(argv[3]);
        load.records_per_request = (double)peer.batch;
        load.ask = upsert;
    } else if (strcmp(verb, "trickle") == 0 && argc == 7) {
        make_upsert(&peer, false);
        peer.batch = 1;
        load.clients = (int)bench_number(argv[3]);
        load.seconds = (double)bench_number(argv[4]);
        peer.keys = bench_keys_of(argv[5], "100", argv[6]);
        load.seed = (uint64_t)bench_number(argv[6]);
        load.ask = upsert;
    } else if (strcmp(verb, "get") == 0 && argc == 7) {
        load.clients = (int)bench_number(argv[3]);
        load.seconds = (double)bench_number(argv[4]);
        peer.keys = bench_keys_of(argv[5], "100", argv[6]);
        load.seed = (uint64_t)bench_number(argv[6]);
        load.ask = get;
    } else {
        return usage();
    }
    return bench_load_run(&load);
}
