/*
 * The scheduler on a real catalog with real tables and folders, under a frozen clock.
 */
#include "workers/scheduler.h"

#include "storage/base/arena.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "storage/base/secret.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/jobs.h"
#include "storage/catalog/runs.h"
#include "storage/columns/decode.h"
#include "storage/jobs/definition.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECOND = 1000000, RUNS_MAX = 64 };

static const int64_t start_us = 1767225600LL * SECOND; /* 2026-01-01T00:00:00Z */

static struct {
    struct temp_dir dir;
    char *inbox;
    struct secret_keys *keys;
    struct catalog *catalog;
    struct tables *tables;
    struct roots *roots;
    struct scheduler *scheduler;
    struct arena arena;
    struct id instance;
    struct id principal;
    int64_t position;
    int64_t now_us;
    _Atomic int told;
} stage;

/* ---- the stage ---- */

static void note_run(void *arg, int64_t run_id)
{
    (void)arg;
    cr_assert_gt(run_id, 0);
    atomic_fetch_add(&stage.told, 1);
}

static void open_scheduler(void)
{
    struct err err = {0};
    const struct scheduler_options options = {
        .catalog = stage.catalog,
        .tables = stage.tables,
        .source_roots = stage.roots,
        .run_made = note_run,
    };
    cr_assert_eq(scheduler_open(&options, &stage.scheduler, &err), ERR_OK, "%s", err.msg);
    scheduler_start(stage.scheduler);
}

static void open_catalog(void)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *folder = temp_dir_join(&stage.dir, "catalog");
    const struct catalog_options options = {0};
    cr_assert_eq(catalog_open(folder, stage.keys, &options, &stage.catalog, &err), ERR_OK, "%s",
                 err.msg);
}

static void set_clock(int64_t after_start_us)
{
    stage.now_us = start_us + after_start_us;
    clock_freeze_wall(stage.now_us);
}

static void set_up(void)
{
    struct err err = {0};
    stage.dir = temp_dir_make();
    stage.inbox = temp_dir_join(&stage.dir, "inbox");
    CLEANUP(mem_cleanup) char *key = temp_dir_join(&stage.dir, "root.key");
    CLEANUP(mem_cleanup) char *root = temp_dir_join(&stage.dir, "tables");
    CLEANUP(mem_cleanup) char *index = temp_dir_join(&stage.dir, "index");
    set_clock(0);
    arena_init(&stage.arena, 64 << 20);
    stage.instance = id_new_ordered();
    stage.principal = id_new_ordered();
    cr_assert_eq(mkdir(stage.inbox, 0700), 0);
    cr_assert_eq(secret_init(&err), ERR_OK);
    cr_assert_eq(secret_keys_open(key, &stage.keys, &err), ERR_OK, "%s", err.msg);
    const struct tables_options tables = {
        .root = root, .index_root = index, .instance = stage.instance};
    cr_assert_eq(tables_open(&tables, &stage.tables, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(roots_open(stage.inbox, "source-roots", &stage.roots, &err), ERR_OK, "%s",
                 err.msg);
    open_catalog();
    open_scheduler();
}

static void tear_down(void)
{
    scheduler_close(&stage.scheduler);
    catalog_close(&stage.catalog);
    tables_close(&stage.tables);
    roots_close(&stage.roots);
    secret_keys_close(&stage.keys);
    arena_deinit(&stage.arena);
    mem_free(stage.inbox);
    clock_freeze_wall(-1);
    temp_dir_remove(&stage.dir);
}

TestSuite(scheduler, .init = set_up, .fini = tear_down);

/* The process ends and another one starts. */
static void restart(void)
{
    scheduler_close(&stage.scheduler);
    catalog_close(&stage.catalog);
    open_catalog();
    open_scheduler();
}

/* ---- jobs and their runs ---- */

static char *canonical(const char *rest)
{
    struct err err = {0};
    struct buffer text;
    buffer_init(&text, 1 << 16);
    buffer_append_format(&text,
                         "{\"name\":\"j\",\"tasks\":[{\"task_key\":\"a\",\"type\":\"condition\","
                         "\"condition\":{\"op\":\"EQUAL_TO\",\"left\":\"1\",\"right\":\"1\"}}],%s}",
                         rest);
    CLEANUP(json_free) struct json *json = NULL;
    const struct job_definition *definition = NULL;
    struct definition_problems problems = {0};
    const struct job_parse_options options = {0};
    cr_assert_eq(json_parse(buffer_span(&text), &json, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(job_definition_parse(json, &options, &problems, &definition, &err), ERR_OK, "%s",
                 err.msg);
    buffer_reset(&text);
    json_write(definition->json, &text);
    buffer_append_byte(&text, '\0');
    definition_problems_deinit(&problems);
    job_definition_release(&definition);
    return (char *)text.data; /* mem_free */
}

/* A job that is one task and `rest`: its schedule, triggers and limits. */
static int64_t make_job(const char *rest, int64_t next_fire_us)
{
    struct err err = {0};
    int64_t job_id = 0;
    bool made = false;
    CLEANUP(mem_cleanup) char *definition = canonical(rest);
    const struct job_schedule place = {
        .anchor_us = stage.now_us, .decided_us = stage.now_us, .next_fire_us = next_fire_us};
    const struct job_content content = {.name = "j",
                                        .definition = definition,
                                        .author = stage.principal,
                                        .run_as = stage.principal,
                                        .schedule = &place};
    cr_assert_eq(job_create(stage.catalog, &content, NULL, &job_id, &made, &err), ERR_OK, "%s",
                 err.msg);
    scheduler_job_changed(stage.scheduler, job_id);
    scheduler_settle(stage.scheduler);
    return job_id;
}

/* Let the scheduler do what is to be done at a moment. */
static void at(int64_t after_start_us)
{
    set_clock(after_start_us);
    scheduler_settle(stage.scheduler);
}

/* Runs of a job, oldest first. */
static size_t runs_of(int64_t job_id, struct job_run runs_out[RUNS_MAX])
{
    struct err err = {0};
    struct job_run *runs = NULL;
    size_t count = 0;
    int64_t next = 0;
    const struct run_filter filter = {.job_id = job_id};
    arena_reset(&stage.arena);
    cr_assert_eq(
        run_list(stage.catalog, &filter, 0, RUNS_MAX, &stage.arena, &runs, &count, &next, &err),
        ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < count; i++) {
        runs_out[i] = runs[count - 1 - i];
    }
    return count;
}

static size_t count_runs(int64_t job_id)
{
    struct job_run runs[RUNS_MAX];
    return runs_of(job_id, runs);
}

/* The newest run of the job ends. */
static void end_run(int64_t job_id, enum run_result result)
{
    struct err err = {0};
    struct job_run runs[RUNS_MAX];
    size_t count = runs_of(job_id, runs);
    cr_assert_gt(count, 0);
    const struct run_change change = {.run_id = runs[count - 1].run_id,
                                      .state = RUN_TERMINATED,
                                      .result = result,
                                      .started_us = stage.now_us,
                                      .ended_us = stage.now_us};
    cr_assert_eq(run_apply(stage.catalog, &change, &err), ERR_OK, "%s", err.msg);
    scheduler_run_ended(stage.scheduler, job_id);
    scheduler_settle(stage.scheduler);
}

/* ---- schedules ---- */

static const char minutely[] =
    "\"schedule\":{\"quartz_cron_expression\":\"0 * * * * ?\",\"catch_up\":\"%s\"}";

static int64_t make_minutely(const char *catch_up)
{
    char rest[256];
    (void)snprintf(rest, sizeof rest, minutely, catch_up);
    return make_job(rest, start_us + 60LL * SECOND);
}

Test(scheduler, makes_one_run_for_each_fire_time)
{
    struct job_run runs[RUNS_MAX];
    int64_t job = make_minutely("none");
    at(59LL * SECOND);
    cr_expect_eq(count_runs(job), 0);
    at(60LL * SECOND);
    cr_expect_eq(count_runs(job), 1);
    at(61LL * SECOND);
    cr_expect_eq(count_runs(job), 1);
    at(121LL * SECOND);
    cr_assert_eq(runs_of(job, runs), 2);
    cr_expect_eq((int)runs[1].trigger, RUN_TRIGGER_SCHEDULE);
    cr_expect_eq(runs[1].trigger_time_us, start_us + 120LL * SECOND, "the fire time, not now");
    cr_expect_eq(atomic_load(&stage.told), 2);
}

Test(scheduler, remembers_over_a_restart_what_it_fired)
{
    int64_t job = make_minutely("all");
    at(60LL * SECOND);
    restart();
    at(60LL * SECOND);
    cr_expect_eq(count_runs(job), 1);
    at(120LL * SECOND);
    cr_expect_eq(count_runs(job), 2);
}

Test(scheduler, catches_up_as_the_job_says)
{
    static const struct {
        const char *catch_up;
        size_t runs;
        int64_t first_s, last_s;
    } cases[] = {
        /* down from 0:30 to 40:30; nothing is within the grace */
        {"none", 0, 0, 0},
        {"last", 1, 2400, 2400},
        {"all", 40, 60, 2400},
    };
    int64_t jobs[3];
    for (size_t i = 0; i < 3; i++) {
        jobs[i] = make_minutely(cases[i].catch_up);
    }
    scheduler_close(&stage.scheduler);
    set_clock(2430LL * SECOND);
    open_scheduler();
    scheduler_settle(stage.scheduler);
    for (size_t i = 0; i < 3; i++) {
        struct job_run runs[RUNS_MAX];
        size_t count = runs_of(jobs[i], runs);
        cr_expect_eq(count, cases[i].runs, "%s: %zu runs", cases[i].catch_up, count);
        if (count > 0) {
            cr_expect_eq(runs[0].trigger_time_us, start_us + cases[i].first_s * SECOND, "%s",
                         cases[i].catch_up);
            cr_expect_eq(runs[count - 1].trigger_time_us, start_us + cases[i].last_s * SECOND, "%s",
                         cases[i].catch_up);
        }
    }
    at(2460LL * SECOND);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(count_runs(jobs[i]), cases[i].runs + 1, "%s goes on", cases[i].catch_up);
    }
}

Test(scheduler, a_fire_time_within_the_grace_is_not_missed)
{
    int64_t job = make_minutely("none");
    scheduler_close(&stage.scheduler);
    set_clock(60LL * SECOND + SCHEDULER_GRACE_US);
    open_scheduler();
    scheduler_settle(stage.scheduler);
    cr_expect_eq(count_runs(job), 1);
}

Test(scheduler, follows_changes_and_deletion)
{
    struct err err = {0};
    int32_t version = 0;
    int64_t job = make_minutely("last");
    CLEANUP(mem_cleanup)
    char *paused = canonical("\"schedule\":{\"quartz_cron_expression\":\"0 * * * * ?\","
                             "\"pause_status\":\"PAUSED\"}");
    const struct job_schedule none = {.anchor_us = start_us, .decided_us = start_us};
    struct job_content content = {.name = "j",
                                  .definition = paused,
                                  .author = stage.principal,
                                  .run_as = stage.principal,
                                  .schedule = &none};
    cr_assert_eq(job_change(stage.catalog, job, 1, &content, &version, &err), ERR_OK);
    scheduler_job_changed(stage.scheduler, job);
    at(180LL * SECOND);
    cr_expect_eq(count_runs(job), 0, "it is paused");

    CLEANUP(mem_cleanup)
    char *again = canonical("\"schedule\":{\"quartz_cron_expression\":\"0 * * * * ?\"}");
    const struct job_schedule place = {.anchor_us = stage.now_us,
                                       .decided_us = stage.now_us,
                                       .next_fire_us = stage.now_us + 60LL * SECOND};
    content.definition = again;
    content.schedule = &place;
    cr_assert_eq(job_change(stage.catalog, job, 2, &content, &version, &err), ERR_OK);
    scheduler_job_changed(stage.scheduler, job);
    at(240LL * SECOND);
    cr_expect_eq(count_runs(job), 1);

    cr_assert_eq(job_delete(stage.catalog, job, 3, true, &stage.principal, &err), ERR_OK, "%s",
                 err.msg);
    scheduler_job_changed(stage.scheduler, job);
    at(600LL * SECOND);
    cr_expect_eq(count_runs(job), 1, "a deleted job makes no runs");
}

Test(scheduler, counts_seconds_from_the_anchor)
{
    int64_t job = make_job("\"schedule\":{\"every_seconds\":90}", start_us + 90LL * SECOND);
    at(89LL * SECOND);
    cr_expect_eq(count_runs(job), 0);
    at(90LL * SECOND);
    at(179LL * SECOND);
    cr_expect_eq(count_runs(job), 1);
    at(180LL * SECOND);
    cr_expect_eq(count_runs(job), 2);
}

/* ---- many at once ---- */

static int64_t catalog_commits(void)
{
    struct catalog_statistics statistics;
    catalog_statistics(stage.catalog, &statistics);
    return statistics.commits_count;
}

Test(scheduler, fires_many_jobs_in_few_transactions)
{
    enum { JOBS = 300, COMMITS_MAX = 10 };
    int64_t jobs[JOBS];
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i] = make_minutely("last");
    }
    int64_t before = catalog_commits();
    at(60LL * SECOND);
    cr_expect_leq(catalog_commits() - before, COMMITS_MAX);
    cr_expect_eq(atomic_load(&stage.told), JOBS);
    restart();
    at(61LL * SECOND);
    for (size_t i = 0; i < JOBS; i++) {
        cr_expect_eq(count_runs(jobs[i]), 1, "job %zu", i);
    }
}

Test(scheduler, a_job_that_cannot_fire_holds_nobody_up)
{
    struct err err = {0};
    int32_t version = 0;
    int64_t before = make_minutely("all");
    int64_t changed = make_minutely("all");
    int64_t after = make_minutely("all");
    CLEANUP(mem_cleanup)
    char *definition = canonical("\"schedule\":{\"quartz_cron_expression\":\"0 0 0 * * ?\"}");
    const struct job_schedule place = {
        .anchor_us = start_us, .decided_us = start_us, .next_fire_us = start_us + 86400LL * SECOND};
    const struct job_content content = {.name = "j",
                                        .definition = definition,
                                        .author = stage.principal,
                                        .run_as = stage.principal,
                                        .schedule = &place};
    cr_assert_eq(job_change(stage.catalog, changed, 1, &content, &version, &err), ERR_OK);
    at(185LL * SECOND); /* three times of each are due, and nobody has told of the change */
    cr_expect_eq(count_runs(before), 3);
    cr_expect_eq(count_runs(changed), 0, "this version does not fire now");
    cr_expect_eq(count_runs(after), 3);
    scheduler_job_changed(stage.scheduler, changed);
    at(245LL * SECOND);
    cr_expect_eq(count_runs(before), 4);
    cr_expect_eq(count_runs(changed), 0);
    cr_expect_eq(count_runs(after), 4);
}

/* ---- files ---- */

static void put_file(const char *name, const char *content, int64_t modified_after_start_us)
{
    CLEANUP(mem_cleanup) char *path = file_join(stage.inbox, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    int64_t modified_us = start_us + modified_after_start_us;
    const struct timespec times[2] = {{.tv_sec = modified_us / SECOND},
                                      {.tv_sec = modified_us / SECOND}};
    cr_assert_eq(futimens(fd, times), 0);
    cr_assert_eq(close(fd), 0);
}

static int64_t make_watcher(int settle_seconds)
{
    char rest[512];
    (void)snprintf(rest, sizeof rest,
                   "\"max_concurrent_runs\":1,\"triggers\":[{\"file_arrival\":{\"path\":\"%s\","
                   "\"glob\":\"*.csv\",\"settle_seconds\":%d}}]",
                   stage.inbox, settle_seconds);
    return make_job(rest, 0);
}

Test(scheduler, a_file_makes_one_run)
{
    int64_t job = make_watcher(0);
    at(10LL * SECOND);
    cr_expect_eq(count_runs(job), 0);
    put_file("a.csv", "x", 10LL * SECOND);
    put_file("ignored.txt", "x", 10LL * SECOND);
    at(12LL * SECOND);
    cr_expect_eq(count_runs(job), 1);
    end_run(job, RESULT_SUCCESS);
    at(20LL * SECOND);
    restart();
    at(30LL * SECOND);
    cr_expect_eq(count_runs(job), 1, "the same file once, also after a restart");
    put_file("a.csv", "changed", 31LL * SECOND);
    at(40LL * SECOND);
    cr_expect_eq(count_runs(job), 2, "changed, it is another file");
}

Test(scheduler, a_file_that_was_there_before_the_job_counts)
{
    put_file("early.csv", "x", -3600LL * SECOND);
    cr_expect_eq(count_runs(make_watcher(0)), 1);
}

Test(scheduler, a_file_has_to_settle)
{
    int64_t job = make_watcher(30);
    put_file("a.csv", "half", 5LL * SECOND);
    at(34LL * SECOND);
    cr_expect_eq(count_runs(job), 0);
    put_file("a.csv", "whole", 20LL * SECOND);
    at(36LL * SECOND);
    cr_expect_eq(count_runs(job), 0, "it grew meanwhile");
    at(50LL * SECOND);
    cr_expect_eq(count_runs(job), 1);
}

Test(scheduler, files_of_a_busy_job_make_one_run_together)
{
    int64_t job = make_watcher(0);
    put_file("a.csv", "x", 0);
    at(2LL * SECOND);
    put_file("b.csv", "x", 2LL * SECOND);
    at(4LL * SECOND);
    put_file("c.csv", "x", 4LL * SECOND);
    at(6LL * SECOND);
    cr_expect_eq(count_runs(job), 1, "the first is running");
    end_run(job, RESULT_FAILED);
    cr_expect_eq(count_runs(job), 2);
    end_run(job, RESULT_SUCCESS);
    at(20LL * SECOND);
    cr_expect_eq(count_runs(job), 2);
}

/* ---- tables ---- */

/* Versions are dated by their files: give the newest one the stage's time. */
static void date_version(struct table *table)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tables/%s/_delta_log/%020lld.json", stage.dir.path,
                   table_name(table), (long long)table_version(table));
    const struct timespec times[2] = {{.tv_sec = stage.now_us / SECOND},
                                      {.tv_sec = stage.now_us / SECOND}};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static struct table *make_table(const char *name)
{
    static const char text[] = "{\"schema\":{\"fields\":[{\"name\":\"id\",\"type\":\"string\","
                               "\"nullable\":false}]},\"key\":[\"id\"]}";
    struct err err = {0};
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(schema_release) struct schema *schema = NULL;
    struct table *table = NULL;
    struct id uuid = id_new_ordered();
    cr_assert_eq(json_parse(span_of_text(text), &json, &err), ERR_OK);
    cr_assert_eq(schema_parse(json, &schema, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(tables_create(stage.tables, name, &uuid, schema, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(tables_find(stage.tables, name, &table, &err), ERR_OK);
    date_version(table);
    return table;
}

static void merge_unseen(struct table *table, const char *record)
{
    struct err err = {0};
    CLEANUP(schema_release) struct schema *schema = table_schema(table);
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    CLEANUP(merge_outcome_deinit) struct merge_outcome outcome = {0};
    const struct decode_options options = {.format = DECODE_NDJSON, .operation = FRAME_UPSERT};
    cr_assert_eq(decode_body(span_of_text(record), schema, &options, &frame, &errors, &err), ERR_OK,
                 "%s", err.msg);
    stage.position++;
    const struct merge_input input = {.frame = frame,
                                      .rows_count = frame->rows_count,
                                      .batch = id_new_ordered(),
                                      .position = stage.position,
                                      .order_position = stage.position};
    cr_assert_eq(table_merge(table, &input, 1, &outcome, &err), ERR_OK, "%s", err.msg);
    date_version(table);
}

static void merge_row(struct table *table, const char *record)
{
    merge_unseen(table, record);
    scheduler_table_changed(stage.scheduler, table_uuid(table));
    scheduler_settle(stage.scheduler);
}

static int64_t make_follower(const char *condition, int min_interval_seconds)
{
    char rest[512];
    (void)snprintf(rest, sizeof rest,
                   "\"max_concurrent_runs\":9,\"triggers\":[{\"table_update\":{\"tables\":[\"a\","
                   "\"b\"],\"condition\":\"%s\",\"min_interval_seconds\":%d}}]",
                   condition, min_interval_seconds);
    return make_job(rest, 0);
}

Test(scheduler, an_update_of_any_table_makes_a_run)
{
    CLEANUP(table_release) struct table *a = make_table("a");
    CLEANUP(table_release) struct table *b = make_table("b");
    merge_row(a, "{\"id\":\"before the job\"}");
    set_clock(10LL * SECOND);
    int64_t job = make_follower("any", 0);
    cr_expect_eq(count_runs(job), 0, "what was there is no news");
    at(20LL * SECOND);
    merge_row(b, "{\"id\":\"1\"}");
    cr_expect_eq(count_runs(job), 1);
    scheduler_table_changed(stage.scheduler, table_uuid(b));
    scheduler_settle(stage.scheduler);
    cr_expect_eq(count_runs(job), 1, "told again, but nothing new");
    restart();
    scheduler_table_changed(stage.scheduler, table_uuid(b));
    scheduler_settle(stage.scheduler);
    cr_expect_eq(count_runs(job), 1, "it is remembered");
}

Test(scheduler, an_update_while_it_was_down_is_found)
{
    CLEANUP(table_release) struct table *a = make_table("a");
    CLEANUP(table_release) struct table *b = make_table("b");
    set_clock(10LL * SECOND);
    int64_t job = make_follower("any", 0);
    set_clock(20LL * SECOND);
    merge_row(a, "{\"id\":\"1\"}");
    cr_assert_eq(count_runs(job), 1);
    restart();
    scheduler_settle(stage.scheduler);
    cr_expect_eq(count_runs(job), 1);
    scheduler_close(&stage.scheduler);
    merge_unseen(b, "{\"id\":\"2\"}");
    open_scheduler();
    scheduler_settle(stage.scheduler);
    cr_expect_eq(count_runs(job), 2, "nobody told of it");
}

Test(scheduler, all_tables_have_to_be_updated)
{
    CLEANUP(table_release) struct table *a = make_table("a");
    CLEANUP(table_release) struct table *b = make_table("b");
    set_clock(10LL * SECOND);
    int64_t job = make_follower("all", 0);
    set_clock(20LL * SECOND);
    merge_row(a, "{\"id\":\"1\"}");
    merge_row(a, "{\"id\":\"2\"}");
    cr_expect_eq(count_runs(job), 0);
    restart();
    merge_row(b, "{\"id\":\"1\"}");
    cr_expect_eq(count_runs(job), 1, "the update of a was not forgotten");
    merge_row(b, "{\"id\":\"2\"}");
    cr_expect_eq(count_runs(job), 1, "a was not updated since");
}

Test(scheduler, updates_within_the_interval_make_one_run)
{
    CLEANUP(table_release) struct table *a = make_table("a");
    CLEANUP(table_release) struct table *b = make_table("b");
    set_clock(10LL * SECOND);
    int64_t job = make_follower("any", 60);
    set_clock(20LL * SECOND);
    merge_row(a, "{\"id\":\"1\"}");
    merge_row(a, "{\"id\":\"2\"}");
    merge_row(b, "{\"id\":\"3\"}");
    cr_expect_eq(count_runs(job), 1);
    at(79LL * SECOND);
    cr_expect_eq(count_runs(job), 1);
    at(80LL * SECOND);
    cr_expect_eq(count_runs(job), 2);
    at(300LL * SECOND);
    cr_expect_eq(count_runs(job), 2);
}

Test(scheduler, a_version_without_new_rows_is_no_update)
{
    CLEANUP(table_release) struct table *a = make_table("a");
    CLEANUP(table_release) struct table *b = make_table("b");
    set_clock(10LL * SECOND);
    int64_t job = make_follower("any", 0);
    struct err err = {0};
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(schema_release) struct schema *wider = NULL;
    cr_assert_eq(json_parse(span_of_text("{\"schema\":{\"fields\":[{\"name\":\"id\",\"type\":"
                                         "\"string\",\"nullable\":false},{\"name\":\"n\",\"type\":"
                                         "\"string\"}]},\"key\":[\"id\"]}"),
                            &json, &err),
                 ERR_OK);
    cr_assert_eq(schema_parse(json, &wider, &err), ERR_OK);
    CLEANUP(schema_release) struct schema *next = NULL;
    CLEANUP(schema_release) struct schema *current = table_schema(a);
    bool changed = false;
    cr_assert_eq(schema_evolve(current, wider, &next, &changed, &err), ERR_OK, "%s", err.msg);
    int64_t before = table_version(a);
    set_clock(20LL * SECOND);
    cr_assert_eq(table_change_schema(a, next, &err), ERR_OK, "%s", err.msg);
    cr_assert_gt(table_version(a), before);
    scheduler_table_changed(stage.scheduler, table_uuid(a));
    scheduler_settle(stage.scheduler);
    cr_expect_eq(count_runs(job), 0);
    (void)b;
}

/* ---- runs of other jobs, and of its own ---- */

Test(scheduler, an_ended_run_makes_one_of_those_who_wait_for_it)
{
    char rest[256];
    int64_t first = make_minutely("none");
    at(60LL * SECOND);
    end_run(first, RESULT_FAILED);
    set_clock(70LL * SECOND);
    (void)snprintf(rest, sizeof rest,
                   "\"max_concurrent_runs\":9,\"triggers\":[{\"job_finished\":{\"job_id\":%lld,"
                   "\"results\":[\"FAILED\",\"TIMEDOUT\"]}}]",
                   (long long)first);
    int64_t second = make_job(rest, 0);
    cr_expect_eq(count_runs(second), 0, "what ended before is no news");
    at(120LL * SECOND);
    end_run(first, RESULT_SUCCESS);
    cr_expect_eq(count_runs(second), 0, "not one of its results");
    at(180LL * SECOND);
    end_run(first, RESULT_FAILED);
    cr_expect_eq(count_runs(second), 1);
    restart();
    scheduler_run_ended(stage.scheduler, first);
    scheduler_settle(stage.scheduler);
    cr_expect_eq(count_runs(second), 1);
    at(240LL * SECOND);
    end_run(first, RESULT_TIMEDOUT);
    cr_expect_eq(count_runs(second), 2);
}

Test(scheduler, a_continuous_job_goes_on_and_backs_off)
{
    int64_t job = make_job("\"triggers\":[{\"continuous\":{}}]", 0);
    cr_expect_eq(count_runs(job), 1, "at once");
    at(5LL * SECOND);
    cr_expect_eq(count_runs(job), 1, "one at a time");
    end_run(job, RESULT_SUCCESS);
    cr_expect_eq(count_runs(job), 2);
    at(10LL * SECOND);
    end_run(job, RESULT_FAILED);
    cr_expect_eq(count_runs(job), 2, "not at once after a failure");
    at(12LL * SECOND);
    cr_expect_eq(count_runs(job), 3);
    end_run(job, RESULT_FAILED);
    at(14LL * SECOND);
    cr_expect_eq(count_runs(job), 3, "longer after two");
    at(16LL * SECOND);
    cr_expect_eq(count_runs(job), 4);
}

Test(scheduler, a_paused_trigger_makes_nothing)
{
    int64_t job = make_job("\"triggers\":[{\"continuous\":{},\"pause_status\":\"PAUSED\"}]", 0);
    at(60LL * SECOND);
    cr_expect_eq(count_runs(job), 0);
}
