/*
 * Several writers on one log, in thousands of orders: each begins on what it last saw and
 * commits when others were faster. Whatever the order: versions are contiguous, a committed
 * row is there once until somebody removes it, a removed row never comes back, a merge that read
 * the table misses nobody's rows, and a reader of any version sees the whole of it.
 */
#include "tests/unit/storage/delta/support.h"

#include "storage/base/mem.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    SCHEDULES = 2000,
    STEPS = 24,
    WRITERS = 4,
    FILES_MAX = STEPS * 2 + 8, /* ever made in one schedule */
    ROWS_MAX = FILES_MAX * 2,
    PATH_BYTES = 32,
};

/* What a version holds: files by number, each the rows that are alive in it. */
struct model_file {
    bool live;
    bool has_vector;
    uint64_t rows[ROWS_MAX / 64 + 1]; /* a bit for each row ever made */
};
struct model {
    struct model_file files[FILES_MAX];
    int64_t rows_added_at; /* the last version that added rows */
};

enum kind { KIND_APPEND, KIND_MERGE, KIND_COMPACT, KIND_DROP, KIND_COUNT };

struct writer {
    struct delta_state *state; /* the last it saw */
    struct delta_transaction *transaction;
    enum kind kind;
    int64_t base; /* version it began on */
    size_t inputs[2];
    size_t inputs_count;
    size_t output; /* FILES_MAX = none */
    uint64_t output_rows[ROWS_MAX / 64 + 1];
};

struct schedule {
    struct object_store *store;
    uint64_t dice;
    struct model versions[STEPS * WRITERS + 1];
    int64_t newest;
    size_t files_count;
    size_t rows_count;
    struct writer writers[WRITERS];
    size_t commits, conflicts;
};

static uint64_t roll(struct schedule *schedule, uint64_t sides)
{
    schedule->dice = schedule->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (schedule->dice >> 33) % sides;
}

static void name_of(size_t file, char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "f%zu", file); /* fits */
}

/* ---- what a version is, against the log ---- */

static void expect_state(const struct schedule *schedule, const struct delta_state *state,
                         const char *what)
{
    const struct model *model = &schedule->versions[state->version];
    int64_t live = 0;
    for (size_t i = 0; i < schedule->files_count; i++) {
        char path[PATH_BYTES];
        name_of(i, path);
        const struct delta_file *file = delta_state_file_by_path(state, path);
        cr_assert_eq(file != NULL, model->files[i].live, "%s, version %" PRId64 ": %s", what,
                     state->version, path);
        if (file != NULL) {
            live++;
            cr_assert_eq(delta_dv_is_present(&file->dv), model->files[i].has_vector,
                         "%s, version %" PRId64 ": vector of %s", what, state->version, path);
        }
    }
    cr_assert_eq(live, state->files_count, "%s, version %" PRId64, what, state->version);
}

static void read_any_version(struct schedule *schedule, const char *what)
{
    struct err err = {0};
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    int64_t version = (int64_t)roll(schedule, (uint64_t)schedule->newest + 1);
    cr_assert_eq(delta_state_load_version(schedule->store, version, &state, &err), ERR_OK, "%s: %s",
                 what, err.msg);
    expect_state(schedule, state, what);
}

/* ---- beginning ---- */

/* A live file of the writer's version without a vector; FILES_MAX = none. */
static size_t choose_file(struct schedule *schedule, const struct writer *writer, size_t but)
{
    const struct model *model = &schedule->versions[writer->base];
    size_t first = schedule->files_count > 0 ? roll(schedule, schedule->files_count) : 0;
    for (size_t i = 0; i < schedule->files_count; i++) {
        size_t file = (first + i) % schedule->files_count;
        if (model->files[file].live && !model->files[file].has_vector && file != but) {
            return file;
        }
    }
    return FILES_MAX;
}

static void stage_output(struct schedule *schedule, struct writer *writer, bool new_rows)
{
    char path[PATH_BYTES];
    cr_assert(schedule->files_count < FILES_MAX);
    writer->output = schedule->files_count++;
    name_of(writer->output, path);
    struct delta_file file = support_file(path);
    file.data_change = new_rows;
    delta_transaction_add(writer->transaction, &file);
    for (int i = 0; new_rows && i < 2; i++) {
        size_t row = schedule->rows_count++;
        writer->output_rows[row / 64] |= UINT64_C(1) << (row % 64);
    }
}

static void stage_inputs(struct schedule *schedule, struct writer *writer)
{
    const struct model *model = &schedule->versions[writer->base];
    struct err err = {0};
    for (size_t i = 0; i < writer->inputs_count; i++) {
        char path[PATH_BYTES];
        name_of(writer->inputs[i], path);
        const struct delta_file *file = delta_state_file_by_path(writer->state, path);
        cr_assert_not_null(file);
        if (writer->kind == KIND_MERGE) {
            const struct delta_dv dv = support_dv(4);
            cr_assert_eq(delta_transaction_set_dv(writer->transaction, file, &dv, &err), ERR_OK);
        } else {
            delta_transaction_remove(writer->transaction, file, writer->kind == KIND_DROP);
        }
        for (size_t w = 0; writer->kind == KIND_COMPACT && w <= ROWS_MAX / 64; w++) {
            writer->output_rows[w] |= model->files[writer->inputs[i]].rows[w];
        }
    }
}

static void begin(struct schedule *schedule, struct writer *writer)
{
    static const enum delta_reads reads[] = {
        [KIND_APPEND] = DELTA_READS_NOTHING,
        [KIND_MERGE] = DELTA_READS_TABLE,
        [KIND_COMPACT] = DELTA_READS_FILES,
        [KIND_DROP] = DELTA_READS_FILES,
    };
    writer->kind = (enum kind)roll(schedule, KIND_COUNT);
    writer->base = writer->state->version;
    writer->inputs_count = 0;
    writer->output = FILES_MAX;
    memset(writer->output_rows, 0, sizeof writer->output_rows);
    size_t wanted = writer->kind == KIND_APPEND ? 0 : writer->kind == KIND_COMPACT ? 2 : 1;
    for (size_t i = 0; i < wanted; i++) {
        size_t file = choose_file(schedule, writer, i > 0 ? writer->inputs[0] : FILES_MAX);
        if (file == FILES_MAX) {
            writer->kind = KIND_APPEND; /* nothing to do it to */
            writer->inputs_count = 0;
            break;
        }
        writer->inputs[writer->inputs_count++] = file;
    }
    writer->transaction =
        delta_transaction_begin(writer->state, schedule->store, reads[writer->kind]);
    stage_inputs(schedule, writer);
    if (writer->kind != KIND_DROP) {
        stage_output(schedule, writer, writer->kind != KIND_COMPACT);
    }
}

/* ---- committing ---- */

/* The commit is in the log: it was right to let it in, and this is what the table is now. */
static void apply(struct schedule *schedule, const struct writer *writer, int64_t version,
                  const char *what)
{
    cr_assert_eq(version, schedule->newest + 1, "%s", what);
    const struct model *before = &schedule->versions[schedule->newest];
    const struct model *read = &schedule->versions[writer->base];
    struct model *after = &schedule->versions[version];
    *after = *before;
    uint64_t expected[ROWS_MAX / 64 + 1] = {0};
    for (size_t i = 0; i < writer->inputs_count; i++) {
        const struct model_file *was = &read->files[writer->inputs[i]];
        struct model_file *file = &after->files[writer->inputs[i]];
        cr_assert(file->live && file->has_vector == was->has_vector,
                  "%s: version %" PRId64 " takes file %zu that another one took", what, version,
                  writer->inputs[i]);
        for (size_t w = 0; w <= ROWS_MAX / 64; w++) {
            expected[w] |= file->rows[w];
        }
        if (writer->kind == KIND_MERGE) {
            file->has_vector = true;
            for (size_t w = 0; w <= ROWS_MAX / 64; w++) { /* the first row of the file goes */
                file->rows[w] &= file->rows[w] - 1;
                if (file->rows[w] != was->rows[w]) {
                    break;
                }
            }
        } else {
            *file = (struct model_file){0};
        }
    }
    if (writer->kind == KIND_MERGE) {
        cr_assert(before->rows_added_at <= writer->base,
                  "%s: version %" PRId64 " did not see the rows of %" PRId64, what, version,
                  before->rows_added_at);
    }
    if (writer->kind == KIND_COMPACT) {
        cr_assert_eq(memcmp(expected, writer->output_rows, sizeof expected), 0,
                     "%s: version %" PRId64 " brings removed rows back", what, version);
    }
    if (writer->output != FILES_MAX) {
        struct model_file *file = &after->files[writer->output];
        file->live = true;
        memcpy(file->rows, writer->output_rows, sizeof file->rows);
    }
    if (writer->kind == KIND_APPEND || writer->kind == KIND_MERGE) {
        after->rows_added_at = version;
    }
    schedule->newest = version;
}

static void commit(struct schedule *schedule, struct writer *writer, const char *what)
{
    struct err err = {0};
    struct delta_commit_result result = {0};
    enum err_code code = delta_transaction_commit(writer->transaction, &result, &err);
    if (code == ERR_OK) {
        apply(schedule, writer, result.version, what);
        schedule->commits++;
    } else {
        cr_assert_eq(code, ERR_CONFLICT, "%s: %s", what, err.msg);
        schedule->conflicts++;
    }
    cr_assert_not_null(result.state);
    expect_state(schedule, result.state, what);
    delta_state_release(&writer->state);
    writer->state = delta_state_acquire(result.state);
    delta_commit_result_deinit(&result);
    delta_transaction_free(&writer->transaction);
}

/* No row is in two files. */
static void expect_once(const struct schedule *schedule, const char *what)
{
    const struct model *model = &schedule->versions[schedule->newest];
    uint64_t seen[ROWS_MAX / 64 + 1] = {0};
    for (size_t i = 0; i < schedule->files_count; i++) {
        for (size_t w = 0; w <= ROWS_MAX / 64; w++) {
            cr_assert_eq(seen[w] & model->files[i].rows[w], 0, "%s: a row is there twice", what);
            seen[w] |= model->files[i].rows[w];
        }
    }
}

static void run_schedule(uint64_t seed, size_t *commits, size_t *conflicts)
{
    static struct schedule schedule;
    char what[48];
    (void)snprintf(what, sizeof what, "schedule %" PRIu64, seed); /* fits */
    memset(&schedule, 0, sizeof schedule);
    schedule.dice = seed;
    schedule.store = object_store_new_memory();
    CLEANUP(delta_state_release) struct delta_state *first = support_create(schedule.store, true);
    for (size_t i = 0; i < WRITERS; i++) {
        schedule.writers[i].state = delta_state_acquire(first);
    }
    for (int step = 0; step < STEPS; step++) {
        struct writer *writer = &schedule.writers[roll(&schedule, WRITERS)];
        if (writer->transaction == NULL) {
            begin(&schedule, writer);
        } else {
            commit(&schedule, writer, what);
            read_any_version(&schedule, what);
        }
    }
    expect_once(&schedule, what);
    for (size_t i = 0; i < WRITERS; i++) {
        delta_transaction_free(&schedule.writers[i].transaction);
        delta_state_release(&schedule.writers[i].state);
    }
    object_store_close(&schedule.store);
    *commits += schedule.commits;
    *conflicts += schedule.conflicts;
}

Test(interleaved, writers_lose_nothing_in_any_order, .timeout = 300)
{
    size_t commits = 0;
    size_t conflicts = 0;
    for (uint64_t seed = 1; seed <= SCHEDULES; seed++) {
        run_schedule(seed, &commits, &conflicts);
    }
    /* both happen often, or the schedules would prove little */
    cr_expect_gt(commits, (size_t)SCHEDULES * 5, "%zu commits", commits);
    cr_expect_gt(conflicts, (size_t)SCHEDULES, "%zu conflicts", conflicts);
}
