/*
 * Many writers on one local table: four processes of two threads commit
 * appends, vectors and removals at once. Afterwards the versions are contiguous
 * and every acknowledged commit is in the table exactly once.
 *
 * usage: stress_commits [commits a thread]      exit 0 = all well
 */
#include "storage/delta/state.h"
#include "storage/delta/transaction.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/object/object.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 4, THREADS = 2, COMMITS_DEFAULT = 25 };

static const char schema_text[] = "{\"type\":\"struct\",\"fields\":[]}";

static void fail(const char *what, const struct err *err)
{
    (void)fprintf(stderr, "stress_commits: %s: %s\n", what, err->msg); /* then we end */
    abort();
}

/* One process: its threads share the newest state they know. */
struct process {
    struct object_store *store;
    pthread_mutex_t mutex;
    struct delta_state *newest; /* guarded by mutex */
    int number;
    int commits;
};

struct writer {
    struct process *process;
    int number;
    pthread_t thread;
};

static struct delta_state *acquire_newest(struct process *process)
{
    (void)pthread_mutex_lock(&process->mutex); /* a plain mutex */
    struct delta_state *state = delta_state_acquire(process->newest);
    (void)pthread_mutex_unlock(&process->mutex);
    return state;
}

static void publish(struct process *process, struct delta_state *state)
{
    (void)pthread_mutex_lock(&process->mutex);
    if (state->version > process->newest->version) {
        delta_state_release(&process->newest);
        process->newest = delta_state_acquire(state);
    }
    (void)pthread_mutex_unlock(&process->mutex);
}

static struct delta_file make_file(const char *path)
{
    return (struct delta_file){.path = path,
                               .stats = "{\"numRecords\":5}",
                               .size = 100,
                               .base_row_id = -1,
                               .default_row_commit_version = -1,
                               .data_change = true};
}

/* What a rewrite appends to a path: one letter a writer, so that two rewrites of one file differ.
 */
static const char suffixes[] = "abcdefghijklmnop";

_Static_assert(PROCESSES *THREADS < (int)sizeof suffixes, "a letter a writer");

/* Every third commit replaces somebody's file by one of the same rows, every other appends. */
static struct delta_transaction *plan(const struct delta_state *state, struct process *process,
                                      const char *path, const char *app_id, int step)
{
    int writer_number = process->number * THREADS + (app_id[strlen(app_id) - 1] - '0');
    bool rewrites = step % 3 == 2 && state->files_count > 0;
    struct delta_transaction *transaction = delta_transaction_begin(
        state, process->store, rewrites ? DELTA_READS_FILES : DELTA_READS_NOTHING);
    const struct delta_file file = make_file(path);
    if (rewrites) {
        const struct delta_file *victim =
            delta_state_file_at(state, (step * 7 + process->number) % state->files_count);
        struct delta_file copy = delta_file_fields(victim);
        char renamed[256];
        (void)snprintf(renamed, sizeof renamed, "%s%c", victim->path,
                       suffixes[writer_number]); /* cut is a failure below */
        copy.path = renamed;
        delta_transaction_remove(transaction, victim, false);
        delta_transaction_add(transaction, &copy);
    }
    delta_transaction_add(transaction, &file);
    delta_transaction_set_txn(transaction, app_id, step);
    return transaction;
}

static void commit_step(struct process *process, const char *app_id, int step)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%s-%d", app_id, step); /* fits */
    for (;;) {
        struct err err = {0};
        struct delta_commit_result result = {0};
        struct delta_state *state = acquire_newest(process);
        struct delta_transaction *transaction = plan(state, process, path, app_id, step);
        enum err_code code = delta_transaction_commit(transaction, &result, &err);
        publish(process, result.state);
        bool files = result.conflict == DELTA_CONFLICT_FILES;
        delta_commit_result_deinit(&result);
        delta_transaction_free(&transaction);
        delta_state_release(&state);
        if (code == ERR_OK) {
            return;
        }
        if (code != ERR_BUSY && !(code == ERR_CONFLICT && files)) {
            fail("commit", &err);
        }
    }
}

static void *run_writer(void *argument)
{
    struct writer *writer = argument;
    char app_id[32];
    (void)snprintf(app_id, sizeof app_id, "w%d.%d", writer->process->number,
                   writer->number); /* fits */
    for (int step = 1; step <= writer->process->commits; step++) {
        commit_step(writer->process, app_id, step);
    }
    return NULL;
}

static void run_process(const char *folder, int number, int commits)
{
    struct err err = {0};
    struct process process = {.number = number, .commits = commits};
    (void)pthread_mutex_init(&process.mutex, NULL); /* cannot fail with no attributes */
    if (object_store_open_local(folder, &process.store, &err) != ERR_OK ||
        delta_state_load(process.store, &process.newest, &err) != ERR_OK) {
        fail("open", &err);
    }
    struct writer writers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.process = &process, .number = i};
        if (pthread_create(&writers[i].thread, NULL, run_writer, &writers[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(writers[i].thread, NULL); /* created above */
    }
    delta_state_release(&process.newest);
    object_store_close(&process.store);
}

/* How many live files carry this write, under its own name or after rewrites. */
static int count_write(const struct delta_state *state, const char *path)
{
    int count = 0;
    size_t size = strlen(path);
    const struct delta_file *file = NULL;
    for (struct delta_cursor at = {0}; (file = delta_state_next_file(state, &at)) != NULL;) {
        bool same = strncmp(file->path, path, size) == 0;
        count += same && strspn(file->path + size, suffixes) == strlen(file->path + size);
    }
    return count;
}

static int check_table(const char *folder, int commits)
{
    struct err err = {0};
    struct object_store *store = NULL;
    struct delta_state *state = NULL;
    int wrong = 0;
    if (object_store_open_local(folder, &store, &err) != ERR_OK ||
        delta_state_load(store, &state, &err) != ERR_OK) {
        fail("load", &err);
    }
    for (int i = 0; i < PROCESSES * THREADS; i++) {
        for (int step = 1; step <= commits; step++) {
            char path[64];
            (void)snprintf(path, sizeof path, "w%d.%d-%d", i / THREADS, i % THREADS,
                           step); /* fits */
            int count = count_write(state, path);
            if (count != 1) {
                (void)fprintf(stderr, "%s is in the table %d times\n", path, count);
                wrong++;
            }
        }
    }
    int64_t expected = (int64_t)PROCESSES * THREADS * commits;
    wrong += state->version != expected || state->rows_count != expected * 5;
    (void)printf("%lld commits, version %lld, %lld files, %d wrong\n", (long long)expected,
                 (long long)state->version, (long long)state->files_count, wrong);
    delta_state_release(&state);
    object_store_close(&store);
    return wrong;
}

int main(int argc, char **argv)
{
    int64_t commits = COMMITS_DEFAULT;
    char folder[] = "/tmp/sluice-stress.XXXXXX";
    struct err err = {0};
    struct object_store *store = NULL;
    struct delta_state *state = NULL;
    const struct delta_table_options options = {.schema_string = schema_text};
    if ((argc > 1 && !text_parse_int64(span_of_text(argv[1]), &commits)) ||
        mkdtemp(folder) == NULL) {
        return 64;
    }
    if (object_store_open_local(folder, &store, &err) != ERR_OK ||
        delta_table_create(store, &options, NULL, &state, &err) != ERR_OK) {
        fail("create", &err);
    }
    delta_state_release(&state);
    object_store_close(&store);
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            run_process(folder, i, (int)commits);
            exit(0);
        }
    }
    int failed = 0;
    for (int i = 0; i < PROCESSES; i++) {
        int status = -1;
        failed += waitpid(children[i], &status, 0) != children[i] || status != 0;
    }
    int wrong = check_table(folder, (int)commits);
    if (file_remove_tree(folder, &err) != ERR_OK) {
        fail("clean up", &err);
    }
    return failed + wrong == 0 ? 0 : 1;
}
