/*
 * SQLite as a peer: the same rows, the same durability (WAL, synchronous=FULL),
 * no HTTP and no JSON. Loads KEYS rows, then upserts BATCHES of ROWS, 90 % hits.
 *
 *   bench_sqlite FILE KEYS BATCHES ROWS
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint64_t state = 7;

static uint64_t random_next(void)
{
    state += 0x9e3779b97f4a7c15U;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        (void)fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
        exit(1);
    }
}

static void upsert(sqlite3 *db, sqlite3_stmt *statement, int64_t key, uint64_t random)
{
    char id[32];
    char text[64];
    int id_size = snprintf(id, sizeof id, "k%" PRId64, key);
    (void)sqlite3_bind_text(statement, 1, id, id_size, SQLITE_TRANSIENT);
    (void)sqlite3_bind_int(statement, 2, (int)(random % 100000));
    int size = snprintf(text, sizeof text, "name %d", (int)(random % 977));
    (void)sqlite3_bind_text(statement, 3, text, size, SQLITE_TRANSIENT);
    (void)sqlite3_bind_int(statement, 4, (int)(random % 100000));
    size = snprintf(text, sizeof text, "2025-%02d-%02d", (int)(1 + random % 12),
                    (int)(1 + random % 28));
    (void)sqlite3_bind_text(statement, 5, text, size, SQLITE_TRANSIENT);
    size = snprintf(text, sizeof text, "%016" PRIx64, random);
    (void)sqlite3_bind_text(statement, 6, text, size, SQLITE_TRANSIENT);
    if (sqlite3_step(statement) != SQLITE_DONE) {
        (void)fprintf(stderr, "upsert: %s\n", sqlite3_errmsg(db));
        exit(1);
    }
    (void)sqlite3_reset(statement);
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        return 64;
    }
    int64_t keys = strtoll(argv[2], NULL, 10);
    int64_t batches = strtoll(argv[3], NULL, 10);
    int64_t rows = strtoll(argv[4], NULL, 10);
    sqlite3 *db = NULL;
    if (sqlite3_open(argv[1], &db) != SQLITE_OK) {
        return 1;
    }
    run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE bench(id TEXT PRIMARY KEY, n INT, name TEXT, amount INT, day TEXT, note "
            "TEXT)");
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(
            db,
            "INSERT INTO bench VALUES(?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET n=excluded.n,"
            "name=excluded.name,amount=excluded.amount,day=excluded.day,note=excluded.note",
            -1, &statement, NULL) != SQLITE_OK) {
        return 1;
    }
    int64_t begun = now_us();
    for (int64_t key = 0; key < keys; key++) {
        if (key % 20000 == 0) {
            run(db, key > 0 ? "COMMIT; BEGIN" : "BEGIN");
        }
        upsert(db, statement, key, random_next());
    }
    run(db, "COMMIT");
    (void)printf("{\"what\":\"sqlite load\",\"per_second\":%.0f}\n",
                 (double)keys * 1e6 / (double)(now_us() - begun));
    int64_t *samples = calloc((size_t)batches, sizeof *samples);
    for (int64_t b = 0; b < batches; b++) {
        int64_t started = now_us();
        run(db, "BEGIN");
        for (int64_t i = 0; i < rows; i++) {
            uint64_t random = random_next();
            upsert(db, statement,
                   random % 10 != 0 ? (int64_t)(random / 16 % (uint64_t)keys) : keys + b * rows + i,
                   random);
        }
        run(db, "COMMIT");
        samples[b] = now_us() - started;
    }
    qsort(samples, (size_t)batches, sizeof *samples, compare);
    (void)printf("{\"what\":\"sqlite upsert\",\"p50_us\":%" PRId64 ",\"p99_us\":%" PRId64 "}\n",
                 samples[batches / 2], samples[batches * 99 / 100]);
    free(samples);
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
    return 0;
}
