#include "storage/jobs/definition.h"

#include "storage/base/mem.h"
#include "tests/unit/storage/jobs/jobs_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(definition_world, .timeout = 60);

/* A small world: tables t and u, jobs 1 to 4, one secret, one pool, three principals. */

static enum err_code table_exists(void *arg, const char *table, bool *exists_out, struct err *err)
{
    (void)arg;
    (void)err;
    *exists_out = strcmp(table, "t") == 0 || strcmp(table, "u") == 0;
    return ERR_OK;
}

/* Tables have the column c alone. */
static enum err_code part_fits(void *arg, enum job_task_type type, const char *table,
                               const struct json *part, struct err *err)
{
    (void)arg;
    (void)type;
    (void)table;
    const struct json *expectation = json_at(json_get(part, "expectations"), 0);
    const struct json *filter = json_at(json_get(part, "filters"), 0);
    const struct json *item = expectation != NULL ? expectation : filter;
    const char *column = item != NULL ? json_text(json_get(item, "column"))
                                      : json_text(json_at(json_get(part, "columns"), 0));
    if (column == NULL || strcmp(column, "c") == 0) {
        return ERR_OK;
    }
    return err_set(err, ERR_INVALID, "%s: the table has no such column",
                   expectation != NULL ? "/0/column"
                   : filter != NULL    ? "/filters/0/column"
                                       : "/columns/0");
}

/* Only below /drop may be read, only below /out be written. */
static enum err_code path_fits(void *arg, const char *path, bool writes, struct err *err)
{
    (void)arg;
    return strncmp(path, writes ? "/out" : "/drop", writes ? 4 : 5) == 0
               ? ERR_OK
               : err_set(err, ERR_FORBIDDEN, "not there");
}

static enum err_code job_exists(void *arg, int64_t job_id, bool *exists_out, struct err *err)
{
    (void)arg;
    (void)err;
    *exists_out = job_id >= 1 && job_id <= 4;
    return ERR_OK;
}

static enum err_code is_known(void *arg, const char *name, bool *exists_out, struct err *err)
{
    (void)arg;
    (void)err;
    *exists_out = strcmp(name, "known") == 0 || strcmp(name, "default") == 0 ||
                  strcmp(name, "boss") == 0 || strcmp(name, "clerk") == 0;
    return ERR_OK;
}

/* boss may everything; clerk may read t and run jobs. */
static enum err_code allows(void *arg, const char *principal, const char *action, const char *table,
                            bool *allowed_out, struct err *err)
{
    (void)arg;
    (void)err;
    bool reads = table != NULL && strcmp(table, "t") == 0 &&
                 (strcmp(action, "rows.read") == 0 || strcmp(action, "table.read") == 0);
    *allowed_out = strcmp(principal, "boss") == 0 ||
                   (strcmp(principal, "clerk") == 0 &&
                    (reads || (table == NULL && strcmp(action, "job.run") == 0)));
    return ERR_OK;
}

/* 2 runs 3, 3 runs 4 and 3 (a cycle of others), 4 runs 1. */
static enum err_code jobs_run_by(void *arg, int64_t job_id, int64_t **job_ids_out,
                                 size_t *count_out, struct err *err)
{
    (void)arg;
    (void)err;
    *job_ids_out = mem_zeroed(2, sizeof **job_ids_out);
    *count_out = job_id == 3 ? 2 : job_id == 1 ? 0 : 1;
    (*job_ids_out)[0] = job_id == 2 ? 3 : job_id == 3 ? 4 : 1;
    (*job_ids_out)[1] = 3;
    return ERR_OK;
}

/* 2 starts when 1 has ended. */
static enum err_code jobs_awaiting(void *arg, int64_t job_id, int64_t **job_ids_out,
                                   size_t *count_out, struct err *err)
{
    (void)arg;
    (void)err;
    *job_ids_out = mem_zeroed(1, sizeof **job_ids_out);
    *count_out = job_id == 1;
    (*job_ids_out)[0] = 2;
    return ERR_OK;
}

static struct job_world world_of(const char *creator, int64_t job_id)
{
    return (struct job_world){.job_id = job_id,
                              .creator = creator,
                              .table_exists = table_exists,
                              .part_fits = part_fits,
                              .path_fits = path_fits,
                              .job_exists = job_exists,
                              .secret_exists = is_known,
                              .pool_exists = is_known,
                              .principal_exists = is_known,
                              .allows = allows,
                              .jobs_run_by = jobs_run_by,
                              .jobs_awaiting = jobs_awaiting};
}

#define CHECK(table)                                                                               \
    "{'task_key':'a','type':'check','check':{'table':'" table                                      \
    "','expectations':[{'name':'n','action':'fail','type':'unique','column':'c'}]}}"
#define EXPORT(more)                                                                               \
    "{'task_key':'a','type':'export','export':{'table':'t',"                                       \
    "'destination':{'type':'file','path':'/out/p'}," more "}}"
#define INGEST(source)                                                                             \
    "{'task_key':'a','type':'ingest','ingest':{'table':'t','source':{" source "}}}"
#define RUN(job) "{'task_key':'a','type':'run_job','run_job':{'job_id':" job "}}"

static const struct {
    const char *creator;
    int64_t job_id;
    const char *task, *more;
    const char *pointer, *code; /* NULL: nothing is wrong */
} cases[] = {
    {"boss", 0, CHECK("t"), "", NULL, NULL},
    {"clerk", 0, CHECK("t"), "", NULL, NULL},
    {"boss", 0, CHECK("x"), "", "/tasks/0/check/table", "unknown_table"},
    {"clerk", 0, CHECK("u"), "", "/tasks/0/check/table", "forbidden"},
    /* whoever may not look is not told that it does not exist */
    {"clerk", 0, CHECK("x"), "", "/tasks/0/check/table", "forbidden"},
    {"clerk", 0, "{'task_key':'a','type':'vacuum','vacuum':{'table':'t'}}", "",
     "/tasks/0/vacuum/table", "forbidden"},
    /* run_as may not what the creator may not, nor what it may not itself */
    {"clerk", 0, CHECK("u"), ",'run_as':{'principal':'boss'}", "/tasks/0/check/table", "forbidden"},
    {"boss", 0, CHECK("u"), ",'run_as':{'principal':'clerk'}", "/tasks/0/check/table", "forbidden"},
    {"boss", 0, CHECK("t"), ",'run_as':{'principal':'clerk'}", NULL, NULL},
    {"boss", 0, CHECK("t"), ",'run_as':{'principal':'nobody'}", NULL, NULL}, /* see below */
    /* a table named by a template */
    {"clerk", 0, CHECK("{{job.parameters.p}}"), ",'parameters':[{'name':'p'}]", NULL, NULL},
    {"clerk", 0, CHECK("{{job.parameters.p}}"),
     ",'parameters':[{'name':'p'}],'run_as':{'principal':'boss'}", "/tasks/0/check/table",
     "forbidden"},
    {"boss", 0, CHECK("{{job.parameters.p}}"),
     ",'parameters':[{'name':'p'}],'run_as':{'principal':'clerk'}", NULL, NULL},
    {"boss", 0,
     "{'task_key':'a','type':'ingest','ingest':{'table':'t','source':{'type':'table',"
     "'table':'x'},'expectations':[]}}",
     "", "/tasks/0/ingest/source/table", "unknown_table"},
    {"boss", 0,
     "{'task_key':'a','type':'check','check':{'table':'t','expectations':[{'name':'n','action':'"
     "fail',"
     "'type':'foreign_key','column':'c','references':{'table':'x'}}]}}",
     "", "/tasks/0/check/expectations/0/references/table", "unknown_table"},
    {"boss", 0,
     "{'task_key':'a','type':'http_request','http_request':{'url':'https://x','headers':"
     "{'k':'{{secrets.other}}'}}}",
     "", "/tasks/0/http_request/headers/k", "unknown_secret"},
    {"boss", 0, CHECK("t"),
     ",'webhook_notifications':{'on_start':[{'url':'https://x','secret':'{{secrets.other}}'}]}",
     "/webhook_notifications/on_start/0/secret", "unknown_secret"},
    {"boss", 0, "{'task_key':'a','type':'optimize','optimize':{'table':'t'},'pool':'other'}", "",
     "/tasks/0/pool", "unknown_pool"},
    {"boss", 0,
     "{'task_key':'a','type':'for_each','for_each':{'inputs':[],'task':{'task_key':'b',"
     "'type':'optimize','optimize':{'table':'x'}}}}",
     "", "/tasks/0/for_each/task/optimize/table", "unknown_table"},
    /* each column is looked for, where it can be known */
    {"boss", 0,
     "{'task_key':'a','type':'check','check':{'table':'t','expectations':[{'type':'unique',"
     "'action':'fail','column':'c'},{'type':'not_null','action':'fail','column':'x'}]}}",
     "", "/tasks/0/check/expectations/1/column", "column"},
    {"boss", 0, EXPORT("'columns':['x']"), "", "/tasks/0/export/columns/0", "column"},
    {"boss", 0,
     EXPORT("'filters':[{'column':'c','operator':'is_null'},{'column':'x','operator':'is_null'}]"),
     "", "/tasks/0/export/filters/1/column", "column"},
    {"boss", 0, EXPORT("'columns':['{{job.id}}']"), "", NULL, NULL},
    {"clerk", 0, EXPORT("'columns':['x']"), ",'run_as':{'principal':'boss'}",
     "/tasks/0/export/columns/0", "column"},
    /* paths, of all that read and write files */
    {"boss", 0, INGEST("'type':'file','path':'/drop/*.csv'"), "", NULL, NULL},
    {"boss", 0, INGEST("'type':'file','path':'{{job.id}}'"), "", NULL, NULL},
    {"boss", 0, INGEST("'type':'file','path':'/etc/passwd'"), "", "/tasks/0/ingest/source/path",
     "path"},
    {"boss", 0, INGEST("'type':'table','path':'/out/t'"), "", "/tasks/0/ingest/source/path",
     "path"},
    {"boss", 0,
     "{'task_key':'a','type':'export','export':{'table':'t',"
     "'destination':{'type':'file','path':'/drop/p'}}}",
     "", "/tasks/0/export/destination/path", "path"},
    {"boss", 0, CHECK("t"), ",'triggers':[{'file_arrival':{'path':'/out'}}]",
     "/triggers/0/file_arrival/path", "path"},
    {"boss", 0, RUN("4"), "", NULL, NULL},
    {"boss", 0, RUN("5"), "", "/tasks/0/run_job/job_id", "unknown_job"},
    {"nobody", 0, RUN("4"), "", "/tasks/0/run_job/job_id", "forbidden"},
    {"boss", 1, RUN("1"), "", "/tasks/0/run_job/job_id", "cycle"},
    {"boss", 1, RUN("2"), "", "/tasks/0/run_job/job_id", "cycle"},
    {"boss", 1, RUN("4"), "", "/tasks/0/run_job/job_id", "cycle"},
    {"boss", 2, RUN("3"), "", NULL, NULL},
    {"boss", 2, RUN("1"), "", NULL, NULL},
    {"boss", 1, CHECK("t"), ",'triggers':[{'job_finished':{'job_id':1}}]",
     "/triggers/0/job_finished/job_id", "cycle"},
    {"boss", 1, CHECK("t"), ",'triggers':[{'job_finished':{'job_id':2}}]",
     "/triggers/0/job_finished/job_id", "cycle"},
    {"boss", 2, CHECK("t"), ",'triggers':[{'job_finished':{'job_id':1}}]", NULL, NULL},
    /* both ways mixed: 2 starts when 1 has ended, and leads to 1 again */
    {"boss", 4, RUN("1"), "", "/tasks/0/run_job/job_id", "cycle"},
    /* what was stored of the job itself counts no more */
    {"boss", 2, RUN("1"), ",'triggers':[{'job_finished':{'job_id':3}}]", NULL, NULL},
    {"boss", 3, CHECK("t"), ",'triggers':[{'job_finished':{'job_id':2}}]", NULL, NULL},
    {"boss", 0, CHECK("t"), ",'triggers':[{'job_finished':{'job_id':7}}]",
     "/triggers/0/job_finished/job_id", "unknown_job"},
    {"boss", 0, CHECK("t"), ",'triggers':[{'table_update':{'tables':['t','x']}}]",
     "/triggers/0/table_update/tables/1", "unknown_table"},
    {"clerk", 0, CHECK("t"), ",'triggers':[{'table_update':{'tables':['u']}}]",
     "/triggers/0/table_update/tables/0", "forbidden"},
};

Test(definition_world, what_the_outside_knows_is_asked)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[2048];
        (void)snprintf(text, sizeof text, "{'name':'j','tasks':[%s]%s}", cases[i].task,
                       cases[i].more);
        const struct job_world world = world_of(cases[i].creator, cases[i].job_id);
        const struct job_parse_options options = {.world = &world};
        CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
        kit_problems(text, &options, &problems);
        if (strstr(text, "'nobody'") != NULL) {
            cr_expect(kit_has_problem(&problems, "/run_as/principal", "unknown_principal"));
            cr_expect(kit_has_problem(&problems, "/tasks/0/check/table", "forbidden"));
            continue;
        }
        cr_expect_eq(problems.count, cases[i].code != NULL, "%s:%s", text,
                     kit_problems_text(&problems));
        cr_expect(cases[i].code == NULL ||
                      kit_has_problem(&problems, cases[i].pointer, cases[i].code),
                  "%s:%s", text, kit_problems_text(&problems));
    }
}

static enum err_code broken(void *arg, const char *name, bool *exists_out, struct err *err)
{
    (void)arg;
    (void)name;
    (void)exists_out;
    return err_set(err, ERR_IO, "the disk is gone");
}

Test(definition_world, an_error_of_the_outside_is_no_problem_of_the_definition)
{
    struct job_world world = world_of("boss", 0);
    world.table_exists = broken;
    const struct job_parse_options options = {.world = &world};
    CLEANUP(json_free) struct json *json = kit_json("{'name':'j','tasks':[" CHECK("t") "]}");
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    CLEANUP(job_definition_release) const struct job_definition *job = NULL;
    struct err err = {0};
    cr_expect_eq(job_definition_parse(json, &options, &problems, &job, &err), ERR_IO);
    cr_expect_null(job);
}

/* A new job, too, can close a circle: both of its ends are told. */
Test(definition_world, a_circle_of_both_kinds_is_told_at_both_ends)
{
    const struct job_world world = world_of("boss", 0);
    const struct job_parse_options options = {.world = &world};
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    kit_problems("{'name':'j','tasks':[" RUN("1") "],'triggers':[{'job_finished':{'job_id':4}}]}",
                 &options, &problems);
    cr_assert_eq(problems.count, 2);
    cr_expect_str_eq(problems.items[0].pointer, "/tasks/0/run_job/job_id");
    cr_expect_str_eq(problems.items[1].pointer, "/triggers/0/job_finished/job_id");
    cr_expect_str_eq(problems.items[1].code, "cycle");
}
