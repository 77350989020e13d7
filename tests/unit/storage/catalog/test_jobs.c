#include "storage/catalog/jobs.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "tests/unit/storage/catalog/fixture.h"
#include "tests/unit/storage/catalog/job_fixture.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

TestSuite(jobs, .init = fixture_set_up, .fini = fixture_tear_down);

static const int64_t day_us = INT64_C(86400) * 1000000;

static struct job_content content_of(const char *name)
{
    return (struct job_content){.name = name,
                                .definition = "{\"v\":2}",
                                .author = fixture.principal,
                                .run_as = fixture.principal};
}

static int64_t list_ids(const struct job_filter *filter, int64_t after, size_t limit,
                        int64_t ids_out[16], size_t *count_out)
{
    struct err err = {0};
    struct job *jobs = NULL;
    int64_t next = 0;
    cr_assert_eq(job_list(fixture.catalog, filter, after, limit, &fixture.arena, &jobs, count_out,
                          &next, &err),
                 ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < *count_out && i < 16; i++) {
        ids_out[i] = jobs[i].job_id;
    }
    return next;
}

Test(jobs, keeps_what_was_created_over_a_restart)
{
    struct err err = {0};
    int64_t job_id = 0;
    bool made = false;
    const struct job_schedule schedule = {.anchor_us = 5, .decided_us = 6, .next_fire_us = 7};
    struct job_content content = content_of("nightly");
    content.schedule = &schedule;
    cr_assert_eq(job_create(fixture.catalog, &content, NULL, &job_id, &made, &err), ERR_OK);
    cr_expect_eq(job_id, 1);
    fixture_reopen();
    struct job job = read_job(job_id);
    cr_expect_str_eq(job.name, "nightly");
    cr_expect_str_eq(job.definition, "{\"v\":2}");
    cr_expect_eq(job.version, 1);
    cr_expect_str_eq(job.author.text, fixture.principal.text);
    cr_expect_str_eq(job.run_as.text, fixture.principal.text);
    cr_expect_eq(job.schedule.anchor_us, 5);
    cr_expect_eq(job.schedule.decided_us, 6);
    cr_expect_eq(job.schedule.next_fire_us, 7);
    cr_expect_eq(job.runs_count, 0);
    cr_expect_str_eq(job.etag, "\"1-1\"");
}

Test(jobs, change_needs_the_current_version)
{
    struct err err = {0};
    int32_t version = 0;
    int64_t job_id = make_job("a");
    struct job before = read_job(job_id);
    struct job_content content = content_of("b");
    cr_assert_eq(job_change(fixture.catalog, job_id, 1, &content, &version, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_eq(version, 2);
    cr_expect_eq(job_change(fixture.catalog, job_id, 1, &content, &version, &err),
                 ERR_PRECONDITION);
    cr_expect_eq(job_change(fixture.catalog, 99, 1, &content, &version, &err), ERR_NOT_FOUND);
    fixture_reopen();
    struct job after = read_job(job_id);
    cr_expect_str_eq(after.name, "b");
    cr_expect_eq(after.version, 2);
    cr_expect_str_neq(after.etag, before.etag);
    cr_expect_eq(after.created_at_us, before.created_at_us);
    const char *old = NULL;
    cr_expect_eq(job_definition(fixture.catalog, job_id, 1, &fixture.arena, &old, &err),
                 ERR_NOT_FOUND, "a version that nobody refers to was kept");
}

Test(jobs, change_leaves_the_schedule_to_the_scheduler_unless_told)
{
    struct err err = {0};
    int32_t version = 0;
    int64_t job_id = make_job("a");
    const struct job_schedule first = {.anchor_us = 1, .decided_us = 2, .next_fire_us = 3};
    const struct job_schedule second = {.anchor_us = 4, .decided_us = 5, .next_fire_us = 6};
    struct job_content content = content_of("a");
    cr_assert_eq(job_set_schedule(fixture.catalog, job_id, 1, &first, &err), ERR_OK);
    cr_assert_eq(job_change(fixture.catalog, job_id, 1, &content, &version, &err), ERR_OK);
    cr_expect_eq(read_job(job_id).schedule.next_fire_us, 3);
    content.schedule = &second;
    cr_assert_eq(job_change(fixture.catalog, job_id, 2, &content, &version, &err), ERR_OK);
    cr_expect_eq(read_job(job_id).schedule.next_fire_us, 6);
    cr_expect_eq(job_set_schedule(fixture.catalog, job_id, 2, &first, &err), ERR_PRECONDITION,
                 "a stale scheduler wrote");
    cr_expect_eq(job_set_schedule(fixture.catalog, 99, 2, &first, &err), ERR_NOT_FOUND);
}

Test(jobs, refuses_what_is_over_a_limit)
{
    struct err err = {0};
    int64_t job_id = 0;
    bool made = false;
    char *name = mem_zeroed(1, JOB_DEFINITION_BYTES_MAX + 2);
    memset(name, 'x', JOB_DEFINITION_BYTES_MAX + 1);
    struct job_tag tags[JOB_TAGS_MAX + 1];
    char tag_names[JOB_TAGS_MAX + 1][8];
    for (size_t i = 0; i <= JOB_TAGS_MAX; i++) {
        (void)snprintf(tag_names[i], sizeof tag_names[i], "t%zu", i);
        tags[i] = (struct job_tag){.name = tag_names[i], .value = ""};
    }
    char *at_limit = mem_copy_text(name);
    at_limit[JOB_NAME_BYTES_MAX] = '\0';
    struct job_content content = content_of(at_limit);
    content.tags = tags;
    content.tags_count = JOB_TAGS_MAX;
    cr_expect_eq(job_create(fixture.catalog, &content, NULL, &job_id, &made, &err), ERR_OK, "%s",
                 err.msg);
    content.tags_count = JOB_TAGS_MAX + 1;
    cr_expect_eq(job_create(fixture.catalog, &content, NULL, &job_id, &made, &err), ERR_TOO_LARGE);
    content.tags_count = 0;
    content.name = name;
    cr_expect_eq(job_create(fixture.catalog, &content, NULL, &job_id, &made, &err), ERR_TOO_LARGE);
    content.name = "a";
    content.definition = name;
    cr_expect_eq(job_create(fixture.catalog, &content, NULL, &job_id, &made, &err), ERR_TOO_LARGE);
    name[JOB_DEFINITION_BYTES_MAX] = '\0';
    cr_expect_eq(job_create(fixture.catalog, &content, NULL, &job_id, &made, &err), ERR_OK);
    mem_free(name);
    mem_free(at_limit);
}

Test(jobs, a_key_makes_one_job)
{
    struct err err = {0};
    int64_t first = 0;
    int64_t second = 0;
    bool made = false;
    bool found = true;
    struct job_creation_key key = {.body_sha256 = {1}};
    const struct job_content content = content_of("a");
    idempotency_key_of(&fixture.principal, "POST", "/v1/jobs", span_of_text("k"), &key.key);
    cr_assert_eq(job_find_made(fixture.catalog, &key, &found, &first, &err), ERR_OK);
    cr_expect_not(found);
    cr_assert_eq(job_create(fixture.catalog, &content, &key, &first, &made, &err), ERR_OK);
    cr_expect(made);
    fixture_reopen();
    cr_assert_eq(job_create(fixture.catalog, &content, &key, &second, &made, &err), ERR_OK);
    cr_expect_not(made);
    cr_expect_eq(second, first);
    cr_assert_eq(job_find_made(fixture.catalog, &key, &found, &second, &err), ERR_OK);
    cr_expect(found);
    struct job_creation_key other = key;
    other.body_sha256[0] = 2;
    cr_expect_eq(job_create(fixture.catalog, &content, &other, &second, &made, &err), ERR_CONFLICT);
    cr_expect_eq(job_find_made(fixture.catalog, &other, &found, &second, &err), ERR_CONFLICT);

    /* Deleted: the key still answers, until its time is over. */
    cr_assert_eq(job_delete(fixture.catalog, first, 0, false, &fixture.principal, &err), ERR_OK);
    cr_assert_eq(job_create(fixture.catalog, &content, &key, &second, &made, &err), ERR_OK);
    cr_expect_not(made);
    clock_freeze_wall(clock_wall_us() + 8 * day_us);
    cr_assert_eq(job_create(fixture.catalog, &content, &key, &second, &made, &err), ERR_OK);
    cr_expect(made);
    cr_expect_neq(second, first);
    clock_freeze_wall(-1);
}

enum { RACERS = 12 };

static void *create_with_key(void *arg)
{
    struct err err = {0};
    bool made = false;
    int64_t *job_id = arg;
    struct job_creation_key key = {.body_sha256 = {1}};
    const struct job_content content = content_of("raced");
    idempotency_key_of(&fixture.principal, "POST", "/v1/jobs", span_of_text("race"), &key.key);
    cr_assert_eq(job_create(fixture.catalog, &content, &key, job_id, &made, &err), ERR_OK, "%s",
                 err.msg);
    return NULL;
}

Test(jobs, racers_with_one_key_get_one_job)
{
    pthread_t threads[RACERS];
    int64_t job_ids[RACERS] = {0};
    for (size_t i = 0; i < RACERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, create_with_key, &job_ids[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        cr_expect_eq(job_ids[i], job_ids[0]);
    }
    int64_t ids[16];
    size_t count = 0;
    (void)list_ids(&(struct job_filter){0}, 0, 16, ids, &count);
    cr_expect_eq(count, 1);
}

Test(jobs, delete_is_refused_while_runs_are_active_unless_forced)
{
    struct err err = {0};
    int64_t job_id = make_job("a");
    int64_t run_id = make_run(job_id, NULL);
    bool there = false;
    cr_expect_eq(job_exists(fixture.catalog, job_id, &there, &err), ERR_OK);
    cr_expect(there);
    cr_expect_eq(job_delete(fixture.catalog, 99, 0, false, &fixture.principal, &err),
                 ERR_NOT_FOUND);
    cr_expect_eq(job_delete(fixture.catalog, job_id, 2, false, &fixture.principal, &err),
                 ERR_PRECONDITION);
    cr_expect_eq(job_delete(fixture.catalog, job_id, 1, false, &fixture.principal, &err),
                 ERR_CONFLICT);
    cr_expect(strstr(err.msg, "1 runs") != NULL, "%s", err.msg);
    cr_expect_eq(read_run(run_id).cancel_asked_at_us, 0);
    cr_assert_eq(job_delete(fixture.catalog, job_id, 1, true, &fixture.principal, &err), ERR_OK);
    fixture_reopen();
    struct job job;
    const char *definition = NULL;
    bool exists = true;
    cr_expect_eq(job_get(fixture.catalog, job_id, &fixture.arena, &job, &err), ERR_NOT_FOUND);
    cr_expect_eq(job_exists(fixture.catalog, job_id, &exists, &err), ERR_OK);
    cr_expect_not(exists);
    cr_expect_neq(read_run(run_id).cancel_asked_at_us, 0);
    cr_expect_str_eq(read_run(run_id).cancel_asked_by.text, fixture.principal.text);
    cr_expect_eq(job_definition(fixture.catalog, job_id, 1, &fixture.arena, &definition, &err),
                 ERR_OK, "the run has lost its definition: %s", err.msg);
    cr_expect_eq(job_delete(fixture.catalog, job_id, 0, true, &fixture.principal, &err),
                 ERR_NOT_FOUND);
    int64_t ids[16];
    size_t count = 0;
    (void)list_ids(&(struct job_filter){0}, 0, 16, ids, &count);
    cr_expect_eq(count, 0);
    cr_expect_neq(make_job("a"), job_id, "an id was given out twice");
}

Test(jobs, lists_by_name_prefix_and_tag_in_pages)
{
    struct err err = {0};
    int32_t version = 0;
    static const char *const names[] = {"load-a", "load-b", "check", "load", "export"};
    const struct job_tag tags[] = {{"team", "rx"}, {"tier", ""}};
    int64_t ids[16];
    size_t count = 0;
    for (size_t i = 0; i < 5; i++) {
        (void)make_job(names[i]);
    }
    struct job_content content = content_of("check");
    content.tags = tags;
    content.tags_count = 2;
    cr_assert_eq(job_change(fixture.catalog, 3, 1, &content, &version, &err), ERR_OK);
    static const struct {
        const char *name;
        struct job_filter filter;
        size_t count;
        int64_t first;
    } cases[] = {
        {"all", {0}, 5, 1},
        {"name", {.name = "load"}, 1, 4},
        {"prefix", {.name_prefix = "load"}, 3, 1},
        {"prefix longer than names", {.name_prefix = "load-abc"}, 0, 0},
        {"tag", {.tag = "team"}, 1, 3},
        {"tag and value", {.tag = "team", .tag_value = "rx"}, 1, 3},
        {"tag and other value", {.tag = "team", .tag_value = "r"}, 0, 0},
        {"empty value", {.tag = "tier", .tag_value = ""}, 1, 3},
        {"unknown tag", {.tag = "nobody"}, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(list_ids(&cases[i].filter, 0, 10, ids, &count), 0, "%s", cases[i].name);
        cr_expect_eq(count, cases[i].count, "%s: %zu", cases[i].name, count);
        if (count > 0) {
            cr_expect_eq(ids[0], cases[i].first, "%s", cases[i].name);
        }
    }
    int64_t next = list_ids(&(struct job_filter){.name_prefix = "load"}, 0, 2, ids, &count);
    cr_expect_eq(count, 2);
    cr_expect_eq(next, 2);
    next = list_ids(&(struct job_filter){.name_prefix = "load"}, next, 2, ids, &count);
    cr_expect_eq(count, 1);
    cr_expect_eq(ids[0], 4);
    cr_expect_eq(next, 0);
    content.tags_count = 0;
    cr_assert_eq(job_change(fixture.catalog, 3, 2, &content, &version, &err), ERR_OK);
    (void)list_ids(&(struct job_filter){.tag = "team"}, 0, 10, ids, &count);
    cr_expect_eq(count, 0, "a tag outlived its change");
}

Test(jobs, due_ones_come_longest_due_first)
{
    struct err err = {0};
    static const int64_t fires[] = {30, 10, 0, 20};
    struct job_due *due = NULL;
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        const struct job_schedule schedule = {.decided_us = 1, .next_fire_us = fires[i]};
        int64_t job_id = make_job("a");
        cr_assert_eq(job_set_schedule(fixture.catalog, job_id, 1, &schedule, &err), ERR_OK);
    }
    static const struct {
        int64_t now_us;
        size_t limit;
        size_t count;
        int64_t first;
    } cases[] = {
        {9, 10, 0, 0}, {10, 10, 1, 2}, {25, 10, 2, 2}, {INT64_MAX, 10, 3, 2}, {INT64_MAX, 2, 2, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(jobs_due(fixture.catalog, cases[i].now_us, cases[i].limit, &fixture.arena,
                              &due, &count, &err),
                     ERR_OK);
        cr_expect_eq(count, cases[i].count, "case %zu: %zu", i, count);
        if (count > 0) {
            cr_expect_eq(due[0].job_id, cases[i].first);
            cr_expect_eq(due[0].version, 1);
            cr_expect_eq(due[0].schedule.decided_us, 1);
        }
    }
    cr_assert_eq(job_delete(fixture.catalog, 2, 0, false, &fixture.principal, &err), ERR_OK);
    cr_assert_eq(jobs_due(fixture.catalog, INT64_MAX, 10, &fixture.arena, &due, &count, &err),
                 ERR_OK);
    cr_expect_eq(count, 2, "a deleted job is due");
}

Test(jobs, trigger_states_are_replaced_as_a_whole)
{
    struct err err = {0};
    int64_t job_id = make_job("a");
    const struct job_trigger_state two[] = {{"b", "1"}, {"a", "2"}};
    const struct job_trigger_state one[] = {{"a", "3"}};
    struct job_trigger_state *states = NULL;
    size_t count = 0;
    cr_assert_eq(job_set_triggers(fixture.catalog, job_id, 1, two, 2, &err), ERR_OK);
    fixture_reopen();
    cr_assert_eq(job_triggers(fixture.catalog, job_id, &fixture.arena, &states, &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 2);
    cr_expect_str_eq(states[0].key, "a");
    cr_expect_str_eq(states[0].state, "2");
    cr_expect_eq(job_set_triggers(fixture.catalog, job_id, 2, one, 1, &err), ERR_PRECONDITION);
    cr_expect_eq(job_set_triggers(fixture.catalog, 99, 1, one, 1, &err), ERR_NOT_FOUND);
    cr_assert_eq(job_set_triggers(fixture.catalog, job_id, 1, one, 1, &err), ERR_OK);
    cr_assert_eq(job_triggers(fixture.catalog, job_id, &fixture.arena, &states, &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(states[0].state, "3");
    char key[JOB_TRIGGER_KEY_BYTES_MAX + 2];
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = '\0';
    const struct job_trigger_state long_key[] = {{key, ""}};
    cr_expect_eq(job_set_triggers(fixture.catalog, job_id, 1, long_key, 1, &err), ERR_TOO_LARGE);
    struct job_trigger_state many[JOB_TRIGGERS_MAX + 1];
    cr_expect_eq(job_set_triggers(fixture.catalog, job_id, 1, many, JOB_TRIGGERS_MAX + 1, &err),
                 ERR_TOO_LARGE);
}

/* Large definitions must not keep lists, and with them the start of the server, from an end. */
Test(jobs, a_page_ends_when_half_of_the_arena_is_used)
{
    enum { DEFINITION_BYTES = 100000, JOBS = 25, ARENA_BYTES = 1 << 20 };
    struct err err = {0};
    CLEANUP(mem_cleanup) char *definition = mem_alloc(DEFINITION_BYTES + 1);
    memset(definition, 'x', DEFINITION_BYTES);
    definition[DEFINITION_BYTES] = '\0';
    struct job_content content = content_of("large");
    content.definition = definition;
    for (int i = 0; i < JOBS; i++) {
        int64_t job_id = 0;
        bool made = false;
        cr_assert_eq(job_create(fixture.catalog, &content, NULL, &job_id, &made, &err), ERR_OK);
    }
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    int64_t after = 0;
    int64_t seen = 0;
    do {
        struct job *jobs = NULL;
        size_t count = 0;
        arena_reset(&arena);
        cr_assert_eq(job_list(fixture.catalog, &(struct job_filter){0}, after, 100, &arena, &jobs,
                              &count, &after, &err),
                     ERR_OK, "%s", err.msg);
        for (size_t i = 0; i < count; i++) {
            cr_expect_eq(jobs[i].job_id, ++seen);
        }
    } while (after != 0);
    cr_expect_eq(seen, JOBS);
}
