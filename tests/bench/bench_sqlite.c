/*
 * SQLite as a peer: the records of bench_http, the same durability (WAL, synchronous=FULL),
 * no HTTP and no JSON: fields are bound from CSV text.
 *
 *   bench_sqlite FILE load FIRST ROWS BATCH
 *   bench_sqlite FILE upsert BATCHES ROWS KEYS HITS SEED
 */
#include "storage/base/mem.h"
#include "tests/support/bench_load.h"
#include "tests/support/bench_records.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer {
    sqlite3 *db;
    sqlite3_stmt *statement;
    struct buffer line;
    int64_t first;
    int64_t rows;
    int64_t batch;
    struct bench_keys keys;
};

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        (void)fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db)); /* told */
        exit(1);
    }
}

/* Columns by their header; numbers have their affinity, everything else is text. */
static void prepare(struct peer *peer)
{
    struct buffer sql;
    buffer_init(&sql, 1 << 16);
    buffer_append_text(&sql, "CREATE TABLE IF NOT EXISTS rx(");
    buffer_append_text(&sql, bench_rx_header);
    static const char key[] = "prescription_id";
    char columns[1024];
    (void)snprintf(columns, sizeof columns, "%s TEXT PRIMARY KEY%s", key,
                   bench_rx_header + sizeof key - 1); /* fits */
    buffer_reset(&sql);
    buffer_append_format(&sql, "CREATE TABLE IF NOT EXISTS rx(%s);", columns);
    buffer_append_text(&sql, "CREATE INDEX IF NOT EXISTS rx_member ON rx(member_id)");
    buffer_append_byte(&sql, '\0');
    run(peer->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-1000000");
    run(peer->db, (const char *)sql.data);
    buffer_reset(&sql);
    buffer_append_text(&sql, "INSERT OR REPLACE INTO rx VALUES(?");
    for (int i = 1; i < BENCH_RX_COLUMNS; i++) {
        buffer_append_text(&sql, ",?");
    }
    buffer_append_text(&sql, ")");
    if (sqlite3_prepare_v2(peer->db, (const char *)sql.data, (int)sql.size, &peer->statement,
                           NULL) != SQLITE_OK) {
        (void)fprintf(stderr, "%s\n", sqlite3_errmsg(peer->db)); /* told */
        exit(1);
    }
    buffer_deinit(&sql);
}

static bool put(struct peer *peer, int64_t key, uint64_t random)
{
    buffer_reset(&peer->line);
    bench_record_append(&peer->line, BENCH_RX_CSV, key, random);
    const char *field = (const char *)peer->line.data;
    const char *end = field + peer->line.size;
    for (int column = 1; column <= BENCH_RX_COLUMNS; column++) {
        const char *comma = memchr(field, ',', (size_t)(end - field));
        const char *stop = comma != NULL ? comma : end;
        (void)sqlite3_bind_text(peer->statement, column, field, (int)(stop - field),
                                SQLITE_STATIC); /* the step tells */
        field = comma != NULL ? comma + 1 : end;
    }
    bool good = sqlite3_step(peer->statement) == SQLITE_DONE;
    (void)sqlite3_reset(peer->statement); /* the step told */
    return good;
}

static bool load_batch(struct bench_client *client, int64_t turn, void *self)
{
    struct peer *peer = self;
    int64_t row = turn * peer->batch;
    int64_t end = row + peer->batch < peer->rows ? row + peer->batch : peer->rows;
    bool good = true;
    run(peer->db, "BEGIN");
    for (; row < end; row++) {
        good = put(peer, peer->first + row, bench_random(&client->random)) && good;
    }
    run(peer->db, "COMMIT");
    return good;
}

static bool upsert(struct bench_client *client, int64_t turn, void *self)
{
    (void)turn;
    struct peer *peer = self;
    bool good = true;
    run(peer->db, "BEGIN");
    for (int64_t i = 0; i < peer->batch; i++) {
        uint64_t random = bench_random(&client->random);
        good = put(peer, bench_key(&peer->keys), random) && good;
    }
    run(peer->db, "COMMIT");
    return good;
}

int main(int argc, char **argv)
{
    bool loads = argc == 6 && strcmp(argv[2], "load") == 0;
    bool upserts = argc == 8 && strcmp(argv[2], "upsert") == 0;
    if (!loads && !upserts) {
        (void)fprintf(stderr, "Usage: see the top of tests/bench/bench_sqlite.c\n"); /* told */
        return 64;
    }
    struct peer peer = {0};
    bench_records_init();
    buffer_init(&peer.line, 1 << 16);
    if (sqlite3_open(argv[1], &peer.db) != SQLITE_OK) {
        return 1;
    }
    prepare(&peer);
    struct bench_load load = {
        .what = argv[2], .clients = 1, .records_per_request = 1, .seed = 1, .self = &peer};
    if (loads) {
        peer.first = bench_number(argv[3]);
        peer.rows = bench_number(argv[4]);
        peer.batch = bench_number(argv[5]);
        load.ask = load_batch;
        load.turns_max = (peer.rows + peer.batch - 1) / peer.batch;
        load.records_per_request = (double)peer.rows / (double)load.turns_max;
    } else {
        peer.batch = bench_number(argv[4]);
        peer.keys = bench_keys_of(argv[5], argv[6], argv[7]);
        load.seed = (uint64_t)bench_number(argv[7]);
        load.ask = upsert;
        load.turns_max = bench_number(argv[3]);
        load.records_per_request = (double)peer.batch;
    }
    int code = bench_load_run(&load);
    (void)sqlite3_finalize(peer.statement); /* nothing is open any more */
    (void)sqlite3_close(peer.db);
    buffer_deinit(&peer.line);
    return code;
}
