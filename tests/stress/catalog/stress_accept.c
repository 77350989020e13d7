/*
 * The accept path under many threads: journal append and sync, then one catalog
 * transaction; a merger drains the queue beside it, readers look, a clerk changes
 * tokens. Prints what it measured; exits 1 when anything is lost or doubled.
 *
 *   stress_accept [threads [accepts per thread [frame bytes]]]
 */
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/access.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/tables.h"
#include "storage/journal/journal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 256, FRAME_BYTES_MAX = 1 << 20 };

struct stress {
    struct catalog *catalog;
    struct journal *journal;
    struct secret_keys *keys;
    struct id table;
    struct id principal;
    char token[TOKEN_TEXT_BYTES + 1];
    int64_t accepts_per_thread;
    size_t frame_bytes;
    _Atomic bool accepting;
    int64_t merged_count;
    int64_t last_merged;
    _Atomic int64_t latencies_us[THREADS_MAX]; /* worst of each thread */
    _Atomic int next_thread;
};

static void must(enum err_code code, const struct err *err)
{
    if (code != ERR_OK) {
        (void)fprintf(stderr, "stress_accept: %s\n", err->msg);
        exit(1);
    }
}

static void accept_one(struct stress *stress, const uint8_t *frame, int64_t number)
{
    struct err err = {0};
    struct location location = {0};
    int64_t position = 0;
    char client_key[32];
    (void)snprintf(client_key, sizeof client_key, "key-%" PRId64, number); /* fits */
    struct idempotency_key key;
    idempotency_key_of(&stress->principal, "POST", "/v1/tables/t/batches", span_of_text(client_key),
                       &key);
    struct arena arena;
    arena_init(&arena, 1 << 16);
    enum idempotency_outcome outcome;
    struct idempotency_answer answer;
    struct batch_accept accept = {
        .id = id_new_ordered(),
        .table = stress->table,
        .principal = stress->principal,
        .operation = FRAME_UPSERT,
        .schema_version = 1,
        .received = 1,
        .accepted = 1,
        .body_bytes = 200,
        .received_at_us = clock_wall_us(),
        .key = &key,
        .idempotency_status = 202,
    };
    must(idempotency_begin(stress->catalog, &key, accept.body_sha256, &arena, &outcome, &answer,
                           &err),
         &err);
    if (outcome != IDEMPOTENCY_FRESH) {
        (void)fprintf(stderr, "stress_accept: a fresh key was taken\n");
        exit(1);
    }
    must(journal_append(stress->journal, span_of(frame, stress->frame_bytes), &location, &err),
         &err);
    accept.frame = location;
    must(batch_accept(stress->catalog, &accept, &position, &err), &err);
    journal_settle(stress->journal, &location);
    idempotency_end(stress->catalog, &key);
    arena_deinit(&arena);
}

static void *run_client(void *arg)
{
    struct stress *stress = arg;
    int number = atomic_fetch_add(&stress->next_thread, 1);
    uint8_t *frame = mem_zeroed(FRAME_BYTES_MAX, 1);
    int64_t worst_us = 0;
    for (int64_t i = 0; i < stress->accepts_per_thread; i++) {
        int64_t started_us = clock_monotonic_us();
        accept_one(stress, frame, number * stress->accepts_per_thread + i);
        int64_t took_us = clock_monotonic_us() - started_us;
        worst_us = took_us > worst_us ? took_us : worst_us;
    }
    atomic_store(&stress->latencies_us[number], worst_us);
    mem_free(frame);
    return NULL;
}

/* Take what is queued and finish it; checks that positions rise. */
static int64_t merge_some(struct stress *stress)
{
    struct err err = {0};
    struct arena arena;
    arena_init(&arena, 64 << 20);
    struct batch *batches = NULL;
    size_t count = 0;
    must(batches_queued(stress->catalog, &stress->table, 0, 2000, INT64_MAX, &arena, &batches,
                        &count, &err),
         &err);
    if (count > 0) {
        batches_begin_attempt(stress->catalog, &stress->table, batches[0].position,
                              batches[count - 1].position);
        struct batch_outcome *outcomes = mem_zeroed(count, sizeof *outcomes);
        for (size_t i = 0; i < count; i++) {
            if (batches[i].position <= stress->last_merged) {
                (void)fprintf(stderr, "stress_accept: position %" PRId64 " after %" PRId64 "\n",
                              batches[i].position, stress->last_merged);
                exit(1);
            }
            stress->last_merged = batches[i].position;
            outcomes[i] = (struct batch_outcome){.id = batches[i].id,
                                                 .piece = batches[i].piece,
                                                 .state = BATCH_INDEXED,
                                                 .version = 1,
                                                 .applied = 1};
        }
        must(batches_finish(stress->catalog, &stress->table, outcomes, count, &err), &err);
        mem_free(outcomes);
    }
    arena_deinit(&arena);
    return (int64_t)count;
}

static void *run_merger(void *arg)
{
    struct stress *stress = arg;
    for (;;) {
        bool accepting = atomic_load(&stress->accepting);
        int64_t count = merge_some(stress);
        stress->merged_count += count;
        if (count == 0 && !accepting) {
            return NULL;
        }
        (void)usleep(200000); /* at most five commits a second, as a lane makes them */
    }
}

static void *run_clerk(void *arg)
{
    struct stress *stress = arg;
    while (atomic_load(&stress->accepting)) {
        struct err err = {0};
        char text[TOKEN_TEXT_BYTES + 1];
        struct token_id id;
        struct access_identity identity;
        must(access_token_issue(stress->catalog, &stress->principal, "stress",
                                clock_wall_us() + INT64_C(3600000000), text, &id, &err),
             &err);
        must(access_authenticate(stress->catalog, span_of(text, TOKEN_TEXT_BYTES), clock_wall_us(),
                                 &identity, &err),
             &err);
        access_release(&identity);
        must(access_token_revoke(stress->catalog, &id, &err), &err);
        if (access_authenticate(stress->catalog, span_of(text, TOKEN_TEXT_BYTES), clock_wall_us(),
                                &identity, &err) == ERR_OK) {
            (void)fprintf(stderr, "stress_accept: a revoked token was accepted\n");
            exit(1);
        }
        (void)usleep(20000);
    }
    return NULL;
}

static void *run_reader(void *arg)
{
    struct stress *stress = arg;
    while (atomic_load(&stress->accepting)) {
        struct err err = {0};
        struct access_identity identity;
        struct lane_statistics statistics;
        struct arena arena;
        struct catalog_table table;
        arena_init(&arena, 1 << 16);
        must(access_authenticate(stress->catalog, span_of(stress->token, TOKEN_TEXT_BYTES),
                                 clock_wall_us(), &identity, &err),
             &err);
        if (!access_allows(identity.principal, "batch.post", "t")) {
            (void)fprintf(stderr, "stress_accept: the administrator was denied\n");
            exit(1);
        }
        access_release(&identity);
        must(lane_statistics(stress->catalog, &stress->table, &statistics, &err), &err);
        must(catalog_table_get(stress->catalog, "t", &arena, &table, &err), &err);
        arena_deinit(&arena);
        (void)usleep(1000);
    }
    return NULL;
}

static void sync_journal(void *arg)
{
    struct stress *stress = arg;
    journal_sync_all(stress->journal);
}

static enum err_code keep_token(void *arg, struct span token_text, struct err *err)
{
    struct stress *stress = arg;
    (void)err;
    memcpy(stress->token, token_text.data, TOKEN_TEXT_BYTES);
    return ERR_OK;
}

static void set_up(struct stress *stress, const char *folder)
{
    struct err err = {0};
    struct access_identity identity;
    const struct catalog_options options = {.before_promise = sync_journal,
                                            .before_promise_arg = stress};
    char *keys = file_join(folder, "root.key");
    char *catalog = file_join(folder, "catalog");
    char *journal = file_join(folder, "journal");
    must(secret_init(&err), &err);
    must(secret_keys_open(keys, &stress->keys, &err), &err);
    must(catalog_open(catalog, stress->keys, &options, &stress->catalog, &err), &err);
    must(journal_open(journal, JOURNAL_FRAMES, &stress->journal, NULL, &err), &err);
    must(access_bootstrap(stress->catalog, keep_token, stress, &err), &err);
    must(access_authenticate(stress->catalog, span_of(stress->token, TOKEN_TEXT_BYTES),
                             clock_wall_us(), &identity, &err),
         &err);
    stress->principal = identity.principal->id;
    access_release(&identity);
    stress->table = id_new_random();
    must(catalog_table_create(stress->catalog, "t", &stress->table, "{}", 1, &err), &err);
    mem_free(keys);
    mem_free(catalog);
    mem_free(journal);
}

static int report(struct stress *stress, int threads, int64_t took_us)
{
    int64_t total = stress->accepts_per_thread * threads;
    struct segment_statistics segments;
    struct catalog_statistics statistics;
    journal_statistics(stress->journal, &segments);
    catalog_statistics(stress->catalog, &statistics);
    int64_t worst_us = 0;
    for (int i = 0; i < threads; i++) {
        int64_t us = atomic_load(&stress->latencies_us[i]);
        worst_us = us > worst_us ? us : worst_us;
    }
    (void)printf("%d threads: %" PRId64 " accepts in %.2f s = %.0f/s; mean %.2f ms, worst %.1f ms; "
                 "%" PRId64 " journal syncs, %" PRId64 " catalog commits\n",
                 threads, total, (double)took_us / 1e6, (double)total * 1e6 / (double)took_us,
                 (double)took_us * threads / (double)total / 1e3, (double)worst_us / 1e3,
                 segments.syncs_count, statistics.commits_count);
    if (stress->merged_count != total) {
        (void)fprintf(stderr, "stress_accept: accepted %" PRId64 ", merged %" PRId64 "\n", total,
                      stress->merged_count);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 16;
    struct stress stress = {.accepts_per_thread = argc > 2 ? strtol(argv[2], NULL, 10) : 200,
                            .frame_bytes = argc > 3 ? (size_t)strtol(argv[3], NULL, 10) : 300};
    if (threads < 1 || threads > THREADS_MAX || stress.frame_bytes > FRAME_BYTES_MAX) {
        return 2;
    }
    char folder[] = "/tmp/sluice-stress-XXXXXX";
    if (mkdtemp(folder) == NULL) {
        return 2;
    }
    set_up(&stress, folder);
    atomic_store(&stress.accepting, true);
    pthread_t merger, clerk, reader, clients[THREADS_MAX];
    (void)pthread_create(&merger, NULL, run_merger, &stress);
    (void)pthread_create(&clerk, NULL, run_clerk, &stress);
    (void)pthread_create(&reader, NULL, run_reader, &stress);
    int64_t started_us = clock_monotonic_us();
    for (int i = 0; i < threads; i++) {
        (void)pthread_create(&clients[i], NULL, run_client, &stress);
    }
    for (int i = 0; i < threads; i++) {
        (void)pthread_join(clients[i], NULL);
    }
    int64_t took_us = clock_monotonic_us() - started_us;
    atomic_store(&stress.accepting, false);
    (void)pthread_join(reader, NULL);
    (void)pthread_join(clerk, NULL);
    (void)pthread_join(merger, NULL);
    int result = report(&stress, threads, took_us);

    struct err err = {0};
    journal_close(&stress.journal);
    catalog_close(&stress.catalog);
    secret_keys_close(&stress.keys);
    must(file_remove_tree(folder, &err), &err);
    return result;
}
