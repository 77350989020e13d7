#include "storage/jobs/definition.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "storage/jobs/graph.h"
#include "tests/unit/storage/jobs/jobs_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(definition, .timeout = 60);

static const char full[] =
    "{'name':'nightly','description':'all of it',"
    "'parameters':[{'name':'day','default':'2026-11-01'},{'name':'limit','default':5}],"
    "'schedule':{'quartz_cron_expression':'0 0 3 * * ?','timezone_id':'UTC','catch_up':'all'},"
    "'triggers':[{'table_update':{'tables':['claims','members'],'condition':'all',"
    "'min_interval_seconds':60}},{'file_arrival':{'path':'drop','glob':'*.csv'}},"
    "{'job_finished':{'job_id':3,'results':['SUCCESS','FAILED']},'pause_status':'PAUSED'}],"
    "'max_concurrent_runs':2,'queue':{'enabled':false},'timeout_seconds':3600,"
    "'tags':{'team':'rx'},'run_as':{'principal':'loader'},"
    "'health':{'rules':[{'metric':'RUN_DURATION_SECONDS','value':600}]},"
    "'webhook_notifications':{'on_start':[{'url':'https://hooks.example/a',"
    "'secret':'{{secrets.hook}}'}],'on_failure':[{'url':'https://hooks.example/b'}]},"
    "'tasks':["
    "{'task_key':'export','type':'export','export':{'table':'claims','columns':['a','b'],"
    "'version':'{{tasks.load.values.version}}','format':'parquet',"
    "'filters':[{'column':'a','operator':'eq','value':'{{job.parameters.day}}'},"
    "{'column':'b','operator':'in','values':[1,2]},{'column':'c','operator':'is_null'}],"
    "'destination':{'type':'file','path':'out/{{run.id}}.parquet'}},"
    "'depends_on':[{'task_key':'big','outcome':'true'},{'task_key':'load'}],'run_if':'NONE_FAILED'}"
    ","
    "{'task_key':'load','type':'ingest','ingest':{'table':'claims','source':{'type':'http',"
    "'url':'https://api.example/{{job.parameters.day}}','headers':{'X-A':'{{secrets.a}}'},"
    "'auth':{'type':'bearer','token':'{{secrets.token}}'},'records':'/data',"
    "'paging':{'type':'cursor','cursor':'/next'},'requests_per_second':2.5},"
    "'expectations':[{'name':'zip','type':'pattern','column':'zip','pattern':'[0-9]{5}',"
    "'action':'warn'}]},'max_retries':-1,'min_retry_interval_millis':500,'retry_on_timeout':true,"
    "'timeout_seconds':30,'pool':'partners'},"
    "{'task_key':'big','type':'condition','condition':{'op':'GREATER_THAN',"
    "'left':'{{tasks.load.values.rows}}','right':'{{job.parameters.limit}}'},"
    "'depends_on':[{'task_key':'load'}]},"
    "{'task_key':'each','type':'for_each','for_each':{'inputs':'{{tasks.load.values.list}}',"
    "'concurrency':4,'task':{'task_key':'one','type':'http_request','http_request':{"
    "'url':'https://api.example/x','body':{'id':'{{input.id}}'},'expect_status':[200,201],"
    "'values':{'id':'/id'}}}},'depends_on':[{'task_key':'load'}]},"
    "{'task_key':'sub','type':'run_job','run_job':{'job_id':9,'job_parameters':{'x':1}},"
    "'disabled':true},"
    "{'task_key':'check','type':'check','check':{'table':'claims','expectations':["
    "{'name':'n','action':'fail','type':'not_null','columns':['a','b']},{'name':'u','action':'fail'"
    ",'type':'unique','column':'a'},"
    "{'name':'r','action':'fail','type':'range','column':'a','minimum':0,'maximum':'{{job."
    "parameters.limit}}'},"
    "{'name':'f','action':'fail','type':'foreign_key','column':'a','references':{'table':'members'}"
    "},"
    "{'name':'c','action':'fail','type':'row_count','minimum':1},"
    "{'name':'s','action':'fail','type':'freshness','max_age_seconds':60}]}},"
    "{'task_key':'small','type':'optimize','optimize':{'table':'claims'}},"
    "{'task_key':'clean','type':'vacuum','vacuum':{'table':'claims','dry_run':true}}]}";

Test(definition, a_full_definition_is_taken_with_all_it_says)
{
    CLEANUP(job_definition_release) const struct job_definition *job = kit_definition(full);
    cr_assert_eq(job->tasks_count, 8);
    cr_expect_str_eq(job->name, "nightly");
    cr_expect_eq(job->parameters_count, 2);
    cr_expect_str_eq(job->schedule.cron, "0 0 3 * * ?");
    cr_expect_eq(job->schedule.catch_up, CATCH_UP_ALL);
    cr_assert_eq(job->triggers_count, 3);
    cr_expect(job->triggers[0].all_updated);
    cr_expect_eq(job->triggers[0].min_interval_us, 60000000);
    cr_expect_str_eq(job->triggers[0].tables[1], "members");
    cr_expect_str_eq(job->triggers[1].glob, "*.csv");
    cr_expect_eq(job->triggers[1].settle_us, 10000000);
    cr_expect(job->triggers[2].paused);
    cr_expect_eq(job->triggers[2].results, UINT32_C(1) << RESULT_SUCCESS | UINT32_C(1)
                                                                               << RESULT_FAILED);
    cr_expect_eq(job->max_concurrent_runs, 2);
    cr_expect_not(job->queue_enabled);
    cr_expect_eq(job->timeout_us, 3600000000);
    cr_expect_str_eq(job->run_as, "loader");
    cr_expect_eq(job->duration_warning_us, 600000000);
    cr_expect_eq(job->webhooks_count[JOB_EVENT_START], 1);
    cr_expect_str_eq(job->webhooks[JOB_EVENT_START][0].secret, "{{secrets.hook}}");
    cr_expect_null(job->webhooks[JOB_EVENT_FAILURE][0].secret);

    const struct job_task *load = &job->tasks[1];
    cr_expect_eq(load->type, JOB_TASK_INGEST);
    cr_expect_eq(load->max_retries, -1);
    cr_expect_eq(load->min_retry_interval_us, 500000);
    cr_expect_eq(load->timeout_us, 30000000);
    cr_expect_str_eq(load->pool, "partners");
    cr_expect_str_eq(json_text(json_get(load->body, "operation")), "upsert", "a default");
    const struct job_task *export = &job->tasks[0];
    cr_expect_eq(export->run_if, RUN_IF_NONE_FAILED);
    cr_assert_eq(export->dependencies_count, 2);
    cr_expect_eq(export->dependencies[0].task, 2);
    cr_expect(export->dependencies[0].has_outcome && export->dependencies[0].outcome);
    cr_expect_eq(job->tasks[2].condition_op, CONDITION_GREATER_THAN);
    cr_expect_eq(job->tasks[3].concurrency, 4);
    cr_expect_eq(job->tasks[3].each->type, JOB_TASK_HTTP_REQUEST);
    cr_expect_str_eq(job->tasks[3].each->pool, "default");
    cr_expect_eq(job->tasks[4].job_id, 9);
    cr_expect(job->tasks[4].disabled);

    size_t at = 0;
    cr_expect(job_definition_find(job, span_of_text("sub"), &at));
    cr_expect_eq(at, 4);
    cr_expect_not(job_definition_find(job, span_of_text("su"), &at));
    bool seen[8] = {false};
    for (size_t i = 0; i < job->tasks_count; i++) {
        const struct job_task *task = &job->tasks[job->order[i]];
        for (size_t d = 0; d < task->dependencies_count; d++) {
            cr_expect(seen[task->dependencies[d].task], "%s", task->key);
        }
        seen[job->order[i]] = true;
    }
    size_t count = 0;
    CLEANUP(mem_cleanup) int64_t *jobs = job_definition_jobs_run(job, &count);
    cr_assert_eq(count, 1);
    cr_expect_eq(jobs[0], 9);
}

Test(definition, the_canonical_form_reads_back_as_itself)
{
    CLEANUP(job_definition_release) const struct job_definition *job = kit_definition(full);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, DEFINITION_BYTES_MAX);
    json_write(job->json, &text);
    CLEANUP(job_definition_release) const struct job_definition *again = NULL;
    struct err err = {0};
    cr_assert_eq(job_definition_read(buffer_span(&text), &again, &err), ERR_OK, "%s", err.msg);
    CLEANUP(buffer_deinit) struct buffer other;
    buffer_init(&other, DEFINITION_BYTES_MAX);
    json_write(again->json, &other);
    cr_expect(span_equal(buffer_span(&text), buffer_span(&other)));
    cr_expect_eq(job_definition_read(span_of_text("{\"name\":5}"), &again, &err), ERR_CORRUPT);
    cr_expect_eq(job_definition_read(span_of_text("{"), &again, &err), ERR_CORRUPT);
}

Test(definition, defaults_are_filled_in)
{
    CLEANUP(job_definition_release)
    const struct job_definition *job = kit_definition(
        "{'tasks':[{'optimize':{'table':'t'},'type':'optimize','task_key':'a'}],'name':'j'}");
    CLEANUP(json_free)
    struct json *expected =
        kit_json("{'name':'j','tasks':[{'task_key':'a','max_retries':0,"
                 "'min_retry_interval_millis':0,'retry_on_timeout':false,'timeout_seconds':0,"
                 "'pool':'default','run_if':'ALL_SUCCESS','disabled':false,'type':'optimize',"
                 "'optimize':{'table':'t'}}],'timeout_seconds':0,'max_concurrent_runs':1,"
                 "'queue':{'enabled':true}}");
    cr_expect(json_equals(job->json, expected));
    cr_expect_not(job->has_schedule);
    cr_expect_null(job->run_as);
}

/* ---- what is wrong ---- */

/* A definition around one task's members, or around the members of a job. */
static const char *with_task(const char *members)
{
    static char text[8192];
    (void)snprintf(text, sizeof text, "{'name':'j','tasks':[{'task_key':'a',%s}]}", members);
    return text;
}

static const char *with_job(const char *members)
{
    static char text[8192];
    (void)snprintf(text, sizeof text,
                   "{'name':'j','tasks':[{'task_key':'a','type':'optimize','optimize':"
                   "{'table':'t'}}],%s}",
                   members);
    return text;
}

static void expect_problem(const char *text, const char *pointer, const char *code)
{
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    const struct job_parse_options options = {.one_off = false};
    kit_problems(text, &options, &problems);
    cr_expect(kit_has_problem(&problems, pointer, code), "%s: no %s at %s, but%s", text, code,
              pointer, kit_problems_text(&problems));
    cr_expect_eq(problems.count, 1, "%s: more than that:%s", text, kit_problems_text(&problems));
}

Test(definition, each_error_of_a_job_is_found)
{
    static const struct {
        const char *members, *pointer, *code;
    } cases[] = {
        {"'colour':1", "/colour", "unknown_member"},
        {"'description':5", "/description", "type"},
        {"'parameters':[{'name':'a b'}]", "/parameters/0/name", "format"},
        {"'parameters':[{'name':'a'},{'name':'a'}]", "/parameters/1/name", "duplicate"},
        {"'parameters':[{'name':'a','default':[]}]", "/parameters/0/default", "type"},
        {"'parameters':[{'default':1}]", "/parameters/0/name", "missing"},
        {"'max_concurrent_runs':1001", "/max_concurrent_runs", "range"},
        {"'max_concurrent_runs':-1", "/max_concurrent_runs", "range"},
        {"'max_concurrent_runs':1.5", "/max_concurrent_runs", "type"},
        {"'timeout_seconds':2592001", "/timeout_seconds", "range"},
        {"'queue':{'enabled':1}", "/queue/enabled", "type"},
        {"'tags':{'a':1}", "/tags/a", "type"},
        {"'tags':{'':'x'}", "/tags", "length"},
        {"'run_as':{}", "/run_as/principal", "missing"},
        {"'run_as':'me'", "/run_as", "type"},
        {"'schedule':{}", "/schedule", "missing"},
        {"'schedule':{'quartz_cron_expression':'0 0 25 * * ?'}", "/schedule/quartz_cron_expression",
         "format"},
        {"'schedule':{'every_seconds':60,'quartz_cron_expression':'0 0 3 * * ?'}",
         "/schedule/every_seconds", "not_allowed"},
        {"'schedule':{'every_seconds':9}", "/schedule/every_seconds", "range"},
        {"'schedule':{'every_seconds':60,'timezone_id':'UTC'}", "/schedule/timezone_id",
         "not_allowed"},
        {"'schedule':{'quartz_cron_expression':'0 0 3 * * ?','timezone_id':'Mars/Base'}",
         "/schedule/timezone_id", "format"},
        {"'schedule':{'quartz_cron_expression':'0 0 3 * * ?','timezone_id':'../etc/passwd'}",
         "/schedule/timezone_id", "format"},
        {"'schedule':{'every_seconds':60,'pause_status':'paused'}", "/schedule/pause_status",
         "choice"},
        {"'triggers':[{}]", "/triggers/0", "missing"},
        {"'triggers':[{'continuous':{},'job_finished':{'job_id':1}}]", "/triggers/0",
         "not_allowed"},
        {"'triggers':[{'table_update':{'tables':[]}}]", "/triggers/0/table_update/tables", "count"},
        {"'triggers':[{'table_update':{'tables':['a','b','a']}}]",
         "/triggers/0/table_update/tables/2", "duplicate"},
        {"'triggers':[{'table_update':{'tables':['a'],'condition':'some'}}]",
         "/triggers/0/table_update/condition", "choice"},
        {"'triggers':[{'file_arrival':{}}]", "/triggers/0/file_arrival/path", "missing"},
        {"'triggers':[{'job_finished':{'job_id':1,'results':['DONE']}}]",
         "/triggers/0/job_finished/results/0", "choice"},
        {"'triggers':[{'continuous':{}},{'file_arrival':{'path':'x'}}]", "/triggers",
         "not_allowed"},
        {"'triggers':[{'continuous':{}}],'schedule':{'every_seconds':60}", "/triggers",
         "not_allowed"},
        {"'schedule':{'every_seconds':60},'parameters':[{'name':'p'}]", "/parameters/0", "missing"},
        {"'health':{'rules':[{'metric':'ROWS','value':1}]}", "/health/rules/0/metric", "choice"},
        {"'health':{'rules':[{'metric':'RUN_DURATION_SECONDS'}]}", "/health/rules/0/value",
         "missing"},
        {"'webhook_notifications':{'on_start':[{'url':'ftp://x'}]}",
         "/webhook_notifications/on_start/0/url", "format"},
        {"'webhook_notifications':{'on_start':[{'url':'https://x','secret':'literal'}]}",
         "/webhook_notifications/on_start/0/secret", "secret_needed"},
        {"'webhook_notifications':{'on_end':[]}", "/webhook_notifications/on_end",
         "unknown_member"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_problem(with_job(cases[i].members), cases[i].pointer, cases[i].code);
    }
}

#define INGEST(source) "'type':'ingest','ingest':{'table':'t','source':" source "}"
#define HTTP(members) INGEST("{'type':'http','url':'https://x/'," members "}")
#define CHECK(expectation)                                                                         \
    "'type':'check','check':{'table':'t','expectations':[{'name':'n','action':'fail'," expectation \
    "}]}"

Test(definition, each_error_of_a_task_is_found)
{
    static const struct {
        const char *members, *pointer, *code;
    } cases[] = {
        {"'type':'python','python':{}", "/tasks/0/type", "unknown_type"},
        {"'type':'sql','sql':{}", "/tasks/0/type", "unknown_type"},
        {"'optimize':{'table':'t'}", "/tasks/0/type", "missing"},
        {"'type':'optimize'", "/tasks/0/optimize", "missing"},
        {"'type':'optimize','optimize':{'table':'t'},'vacuum':{}", "/tasks/0/vacuum",
         "unknown_member"},
        {"'type':'optimize','optimize':{}", "/tasks/0/optimize/table", "missing"},
        {"'type':'optimize','optimize':{'table':'T'}", "/tasks/0/optimize/table", "format"},
        {"'type':'optimize','optimize':{'table':'t'},'run_if':'ALWAYS'", "/tasks/0/run_if",
         "choice"},
        {"'type':'optimize','optimize':{'table':'t'},'max_retries':-2", "/tasks/0/max_retries",
         "range"},
        {"'type':'optimize','optimize':{'table':'t'},'pool':'a b'", "/tasks/0/pool", "format"},
        {"'type':'optimize','optimize':{'table':'t'},'depends_on':[{'task_key':'b'}]",
         "/tasks/0/depends_on/0/task_key", "unknown_task"},
        {"'type':'optimize','optimize':{'table':'t'},'depends_on':[{'task_key':'a'}]", "/tasks",
         "cycle"},
        {"'type':'vacuum','vacuum':{'table':'t','retention_seconds':'{{job.id}} s'}",
         "/tasks/0/vacuum/retention_seconds", "type"},
        {"'type':'vacuum','vacuum':{'table':'t','retention_seconds':-1}",
         "/tasks/0/vacuum/retention_seconds", "range"},
        {INGEST("{'type':'ftp'}"), "/tasks/0/ingest/source/type", "unknown_type"},
        {INGEST("{'type':'file'}"), "/tasks/0/ingest/source/path", "missing"},
        {INGEST("{'type':'file','path':'a','format':'xml'}"), "/tasks/0/ingest/source/format",
         "choice"},
        {INGEST("{'type':'table'}"), "/tasks/0/ingest/source", "missing"},
        {INGEST("{'type':'table','table':'a','path':'b'}"), "/tasks/0/ingest/source",
         "not_allowed"},
        {INGEST("{'type':'http','url':'file:///etc/passwd'}"), "/tasks/0/ingest/source/url",
         "format"},
        {INGEST("{'type':'http','url':'https://u:p@x/'}"), "/tasks/0/ingest/source/url", "format"},
        {INGEST("{'type':'http','url':'https://x/a b'}"), "/tasks/0/ingest/source/url", "format"},
        {INGEST("{'type':'http','url':'https://x/{{secrets.s}}'}"), "/tasks/0/ingest/source/url",
         "secret_not_allowed"},
        {HTTP("'auth':{'type':'bearer','token':'abc'}"), "/tasks/0/ingest/source/auth/token",
         "secret_needed"},
        {HTTP("'auth':{'type':'basic','username':'u','password':'p'}"),
         "/tasks/0/ingest/source/auth/password", "secret_needed"},
        {HTTP("'auth':{'type':'digest'}"), "/tasks/0/ingest/source/auth/type", "choice"},
        {HTTP("'headers':{'Authorization':'Bearer abc'}"), "/tasks/0/ingest/source/headers",
         "secret_needed"},
        {HTTP("'headers':{'a b':'c'}"), "/tasks/0/ingest/source/headers", "format"},
        {HTTP("'headers':{'content-length':'3'}"), "/tasks/0/ingest/source/headers", "not_allowed"},
        {HTTP("'headers':{'Authorization':'{{secrets.s}}'},'auth':{'type':'bearer','token':"
              "'{{secrets.s}}'}"),
         "/tasks/0/ingest/source/headers", "not_allowed"},
        /* who starts a run must not choose where a secret goes */
        {INGEST("{'type':'http','url':'https://{{job.id}}/','headers':{'X':'{{secrets.s}}'}}"),
         "/tasks/0/ingest/source/url", "not_allowed"},
        {INGEST("{'type':'http','url':'https://x{{job.id}}','headers':{'X':'{{secrets.s}}'}}"),
         "/tasks/0/ingest/source/url", "not_allowed"},
        {INGEST("{'type':'http','url':'{{job.id}}','auth':{'type':'bearer','token':"
                "'{{secrets.s}}'}}"),
         "/tasks/0/ingest/source/url", "not_allowed"},
        {HTTP("'auth':{'type':'oauth2_client_credentials','token_url':'https://x:{{job.id}}/',"
              "'client_id':'i','client_secret':'{{secrets.s}}'}"),
         "/tasks/0/ingest/source/auth/token_url", "not_allowed"},
        {HTTP("'headers':{'a':'c\\r\\nd: e'}"), "/tasks/0/ingest/source/headers", "format"},
        {HTTP("'records':'data'"), "/tasks/0/ingest/source/records", "format"},
        {HTTP("'records':'/a~2'"), "/tasks/0/ingest/source/records", "format"},
        {HTTP("'paging':{'type':'cursor'}"), "/tasks/0/ingest/source/paging/cursor", "missing"},
        {HTTP("'requests_per_second':0"), "/tasks/0/ingest/source/requests_per_second", "range"},
        {CHECK("'type':'median','column':'a'"), "/tasks/0/check/expectations/0/type",
         "expectation"},
        {CHECK("'type':'not_null'"), "/tasks/0/check/expectations/0/column", "expectation"},
        {CHECK("'type':'range','column':'a'"), "/tasks/0/check/expectations/0/minimum",
         "expectation"},
        {CHECK("'type':'unique','column':'a'},{'name':'n','action':'fail','type':'unique','column':"
               "'b'"),
         "/tasks/0/check/expectations", "expectation"},
        {"'type':'ingest','ingest':{'table':'t','source':{'type':'file','path':'p'},"
         "'expectations':[{'name':'n','action':'fail','type':'row_count','minimum':1}]}",
         "/tasks/0/ingest/expectations/0/type", "expectation"},
        {"'type':'export','export':{'table':'t','version':1,'timestamp':'x','destination':"
         "{'type':'file','path':'p'}}",
         "/tasks/0/export/timestamp", "not_allowed"},
        {"'type':'export','export':{'table':'t','destination':{'type':'file','path':'p'},"
         "'filters':[{'column':'a','operator':'in','value':1}]}",
         "/tasks/0/export/filters/0", "not_allowed"},
        {"'type':'http_request','http_request':{'url':'https://x','expect_status':[99]}",
         "/tasks/0/http_request/expect_status/0", "range"},
        {"'type':'http_request','http_request':{'url':'https://x','body':{'a':['{{secrets.s}}']}}",
         "/tasks/0/http_request/body", "secret_not_allowed"},
        {"'type':'http_request','http_request':{'url':'https://x','body':{'a':'{{nope}}'}}",
         "/tasks/0/http_request/body", "template"},
        {"'type':'http_request','http_request':{'url':'https://{{input.host}}'}",
         "/tasks/0/http_request/url", "template"},
        {"'type':'http_request','http_request':{'url':'https://x/{{tasks.b.values.v}}'}",
         "/tasks/0/http_request/url", "unknown_task"},
        {"'type':'http_request','http_request':{'url':'https://x/{{tasks.a.values.v}}'}",
         "/tasks/0/http_request/url", "template"},
        {"'type':'http_request','http_request':{'url':'https://x/{{job.parameters.p}}'}",
         "/tasks/0/http_request/url", "unknown_parameter"},
        {"'type':'condition','condition':{'op':'LIKE','left':1,'right':1}", "/tasks/0/condition/op",
         "choice"},
        {"'type':'condition','condition':{'op':'EQUAL_TO','left':1}", "/tasks/0/condition/right",
         "missing"},
        {"'type':'for_each','for_each':{'inputs':[],'task':{'task_key':'b','type':'for_each',"
         "'for_each':{}}}",
         "/tasks/0/for_each/task/type", "unknown_type"},
        {"'type':'for_each','for_each':{'inputs':[],'task':{'task_key':'b','type':'optimize',"
         "'optimize':{'table':'t'},'depends_on':[]}}",
         "/tasks/0/for_each/task/depends_on", "unknown_member"},
        {"'type':'for_each','for_each':{'inputs':'all','task':{'task_key':'b','type':'optimize',"
         "'optimize':{'table':'t'}}}",
         "/tasks/0/for_each/inputs", "type"},
        {"'type':'for_each','for_each':{'inputs':'{{input}}','task':{'task_key':'b',"
         "'type':'optimize','optimize':{'table':'t'}}}",
         "/tasks/0/for_each/inputs", "template"},
        {"'type':'for_each','max_retries':1,'for_each':{'inputs':[],'task':{'task_key':'b',"
         "'type':'optimize','optimize':{'table':'t'}}}",
         "/tasks/0/max_retries", "not_allowed"},
        {"'type':'for_each','for_each':{'inputs':[],'concurrency':101,'task':{'task_key':'b',"
         "'type':'optimize','optimize':{'table':'t'}}}",
         "/tasks/0/for_each/concurrency", "range"},
        {"'type':'run_job','run_job':{'job_id':'9'}", "/tasks/0/run_job/job_id", "type"},
        {"'type':'run_job','run_job':{'job_id':9,'job_parameters':{'a b':1}}",
         "/tasks/0/run_job/job_parameters/a b", "format"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_problem(with_task(cases[i].members), cases[i].pointer, cases[i].code);
    }
}

Test(definition, input_is_there_inside_a_for_each)
{
    CLEANUP(job_definition_release)
    const struct job_definition *job = kit_definition(with_task(
        "'type':'for_each','for_each':{'inputs':[1,{'a':'{{job.id}}'}],'task':{'task_key':'b',"
        "'type':'optimize','optimize':{'table':'{{input.table}}'}}}"));
    cr_expect_eq(job->tasks_count, 1);
}

Test(definition, every_error_is_reported_at_once)
{
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    const struct job_parse_options options = {.one_off = false};
    kit_problems("{'nam':'j','tasks':[5,{'task_key':'a','type':'optimize','optimize':{}},"
                 "{'task_key':'a','type':'nope'},"
                 "{'task_key':'c','type':'condition','condition':{'op':'EQUAL_TO','left':1,"
                 "'right':'{{tasks.a.values.x}}'},'depends_on':[{'task_key':'x'},"
                 "{'task_key':'d','outcome':'true'}]},"
                 "{'task_key':'d','type':'optimize','optimize':{'table':'t'},"
                 "'depends_on':[{'task_key':'c'}]},"
                 "{'task_key':'e','type':'optimize','optimize':{'table':'t'},"
                 "'depends_on':[{'task_key':'f'}]},"
                 "{'task_key':'f','type':'optimize','optimize':{'table':'t'},"
                 "'depends_on':[{'task_key':'e'},{'task_key':'e'}]}]}",
                 &options, &problems);
    static const struct {
        const char *pointer, *code;
    } expected[] = {
        {"/name", "missing"},
        {"/nam", "unknown_member"},
        {"/tasks/0", "type"},
        {"/tasks/1/optimize/table", "missing"},
        {"/tasks/2/task_key", "duplicate"},
        {"/tasks/2/type", "unknown_type"},
        {"/tasks/3/depends_on/0/task_key", "unknown_task"},
        {"/tasks/3/depends_on/1/outcome", "not_allowed"},
        {"/tasks/6/depends_on/1/task_key", "duplicate"},
        {"/tasks", "cycle"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        cr_expect(kit_has_problem(&problems, expected[i].pointer, expected[i].code), "no %s at %s",
                  expected[i].code, expected[i].pointer);
    }
    const char *text = kit_problems_text(&problems);
    cr_expect(strstr(text, "'c' after 'd' after 'c'") != NULL ||
                  strstr(text, "'d' after 'c' after 'd'") != NULL,
              "%s", text);
    cr_expect(strstr(text, "'e' after 'f' after 'e'") != NULL ||
                  strstr(text, "'f' after 'e' after 'f'") != NULL,
              "both cycles:%s", text);
}

/* ---- limits ---- */

static struct json *job_of_tasks(size_t count)
{
    struct json *json = kit_json("{'name':'j','tasks':[]}");
    struct json *tasks = json_new_array();
    for (size_t i = 0; i < count; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "t%zu", i);
        struct json *task = kit_json("{'type':'optimize','optimize':{'table':'t'}}");
        json_set_text(task, "task_key", key);
        if (i > 0) {
            (void)snprintf(key, sizeof key, "t%zu", i - 1);
            struct json *dependencies = json_new_array();
            struct json *dependency = json_new_object();
            json_set_text(dependency, "task_key", key);
            json_append(dependencies, dependency);
            json_set(task, "depends_on", dependencies);
        }
        json_append(tasks, task);
    }
    json_set(json, "tasks", tasks);
    return json;
}

static enum err_code parse(const struct json *json, struct err *err)
{
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    CLEANUP(job_definition_release) const struct job_definition *job = NULL;
    const struct job_parse_options options = {.one_off = false};
    return job_definition_parse(json, &options, &problems, &job, err);
}

Test(definition, limits_hold_at_their_edges)
{
    struct err err = {0};
    CLEANUP(json_free) struct json *most = job_of_tasks(DEFINITION_TASKS_MAX);
    CLEANUP(json_free) struct json *more = job_of_tasks(DEFINITION_TASKS_MAX + 1);
    CLEANUP(json_free) struct json *none = job_of_tasks(0);
    cr_expect_eq(parse(most, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(parse(more, &err), ERR_INVALID);
    cr_expect_eq(parse(none, &err), ERR_INVALID);

    char key[DEFINITION_KEY_BYTES_MAX + 2];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    CLEANUP(json_free) struct json *one = job_of_tasks(1);
    struct json *tasks = json_new_array();
    struct json *task = kit_json("{'type':'optimize','optimize':{'table':'t'}}");
    json_set_text(task, "task_key", key);
    json_append(tasks, task);
    json_set(one, "tasks", tasks);
    cr_expect_eq(parse(one, &err), ERR_INVALID);
    key[DEFINITION_KEY_BYTES_MAX] = '\0';
    json_set_text(task, "task_key", key);
    cr_expect_eq(parse(one, &err), ERR_OK);
}

Test(definition, more_problems_than_are_kept_are_counted)
{
    CLEANUP(json_free) struct json *json = kit_json("{'name':'j'}");
    for (int i = 0; i < DEFINITION_PROBLEMS_MAX + 50; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "m%d", i);
        json_set_integer(json, name, i);
    }
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    CLEANUP(job_definition_release) const struct job_definition *job = NULL;
    const struct job_parse_options options = {.one_off = false};
    struct err err = {0};
    cr_expect_eq(job_definition_parse(json, &options, &problems, &job, &err), ERR_INVALID);
    cr_expect_eq(problems.count, DEFINITION_PROBLEMS_MAX);
    cr_expect_eq(problems.left_out, 51, "the missing tasks, too");
}

Test(definition, a_one_off_run_says_nothing_of_when)
{
    static const char right[] =
        "{'tasks':[{'task_key':'a','type':'optimize','optimize':{'table':'t'}}]}";
    static const char wrong[] =
        "{'tasks':[{'task_key':'a','type':'optimize','optimize':{'table':'t'}}],"
        "'schedule':{'every_seconds':60}}";
    const struct job_parse_options options = {.one_off = true};
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    kit_problems(right, &options, &problems);
    cr_expect_eq(problems.count, 0);
    kit_problems(wrong, &options, &problems);
    cr_expect(kit_has_problem(&problems, "/schedule", "unknown_member"));
    CLEANUP(job_definition_release) const struct job_definition *job = NULL;
    struct err err = {0};
    cr_expect_eq(job_definition_read(span_of_text("{\"tasks\":[{\"task_key\":\"a\",\"type\":"
                                                  "\"optimize\",\"optimize\":{\"table\":\"t\"}}]}"),
                                     &job, &err),
                 ERR_OK);
}

/* ---- parameters ---- */

Test(definition, parameters_of_a_run_are_merged_over_defaults)
{
    CLEANUP(job_definition_release)
    const struct job_definition *job =
        kit_definition(with_job("'parameters':[{'name':'a'},{'name':'b','default':2}]"));
    static const struct {
        const char *given, *expected; /* NULL: refused */
    } cases[] = {
        {"{'a':1}", "{'a':1,'b':2}"},
        {"{'a':'x','b':true}", "{'a':'x','b':true}"},
        {"{}", NULL},
        {"{'a':1,'c':1}", NULL},
        {"{'a':[]}", NULL},
        {"[]", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(json_free) struct json *given = kit_json(cases[i].given);
        CLEANUP(json_free) struct json *merged = NULL;
        CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
        struct err err = {0};
        enum err_code code = job_definition_parameters(job, given, &problems, &merged, &err);
        if (cases[i].expected == NULL) {
            cr_expect_eq(code, ERR_INVALID, "%s", cases[i].given);
            continue;
        }
        CLEANUP(json_free) struct json *expected = kit_json(cases[i].expected);
        cr_expect_eq(code, ERR_OK, "%s", err.msg);
        cr_expect(json_equals(merged, expected), "%s", cases[i].given);
    }
}

/* ---- bodies after their expansion ---- */

Test(definition, an_expanded_body_is_checked_again)
{
    static const struct {
        enum job_task_type type;
        const char *body;
        enum err_code code;
    } cases[] = {
        {JOB_TASK_VACUUM, "{'table':'t','retention_seconds':5,'dry_run':true}", ERR_OK},
        {JOB_TASK_VACUUM, "{'table':'t','retention_seconds':'5','dry_run':true}", ERR_INVALID},
        {JOB_TASK_VACUUM, "{'table':'No Table','retention_seconds':5}", ERR_INVALID},
        {JOB_TASK_VACUUM, "{'table':'t','retention_seconds':-5}", ERR_INVALID},
        {JOB_TASK_RESTORE, "{'table':'t','version':5}", ERR_OK},
        {JOB_TASK_RESTORE, "{'table':'t','timestamp':'2026-01-01T00:00:00Z'}", ERR_OK},
        {JOB_TASK_RESTORE, "{'table':'t'}", ERR_INVALID},
        {JOB_TASK_RESTORE, "{'table':'t','version':5,'timestamp':'2026-01-01T00:00:00Z'}",
         ERR_INVALID},
        {JOB_TASK_RESTORE, "{'table':'t','version':-5}", ERR_INVALID},
        {JOB_TASK_HTTP_REQUEST, "{'url':'https://x/','headers':{'A':'b\\r\\nc'}}", ERR_INVALID},
        {JOB_TASK_HTTP_REQUEST, "{'url':'gopher://x/'}", ERR_INVALID},
        {JOB_TASK_HTTP_REQUEST, "{'url':'https://x/','body':'{{secrets.x}} {{nope'}", ERR_OK},
        {JOB_TASK_HTTP_REQUEST,
         "{'url':'https://x/','auth':{'type':'bearer','token':'{{secrets.x#0123}}'}}", ERR_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(json_free) struct json *body = kit_json(cases[i].body);
        struct err err = {0};
        cr_expect_eq(job_task_check_expanded(cases[i].type, body, &err), cases[i].code, "%s: %s",
                     cases[i].body, err.msg);
    }
}
