#include "tests/unit/handlers/job_stage.h"

#include "handlers/waiting_room.h"
#include "storage/audit/audit.h"
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/catalog/catalog.h"

#include <criterion/criterion.h>
#include <string.h>

struct job_stage stage;

static enum err_code keep_token(void *arg, struct span text, struct err *err)
{
    (void)arg;
    (void)err;
    memcpy(stage.token, text.data, text.size);
    stage.token[text.size] = '\0';
    return ERR_OK;
}

static void must(enum err_code code, const struct err *err)
{
    cr_assert_eq(code, ERR_OK, "%s", err->msg);
}

void stage_set_up(void)
{
    struct err err = {0};
    const struct catalog_options options = {0};
    const struct audit_options audit_options = {0};
    stage.dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *key = temp_dir_join(&stage.dir, "root.key");
    CLEANUP(mem_cleanup) char *catalog = temp_dir_join(&stage.dir, "catalog");
    CLEANUP(mem_cleanup) char *audit = temp_dir_join(&stage.dir, "audit");
    must(secret_init(&err), &err);
    must(secret_keys_open(key, &stage.keys, &err), &err);
    must(catalog_open(catalog, stage.keys, &options, &stage.services.catalog, &err), &err);
    must(audit_open(audit, stage.keys, &audit_options, &stage.services.audit, &err), &err);
    must(access_bootstrap(stage.services.catalog, keep_token, NULL, &err), &err);
    must(access_authenticate(stage.services.catalog, span_of_text(stage.token), clock_wall_us(),
                             &stage.admin, &err),
         &err);
    stage.services.keys = stage.keys;
    stage.services.wait_seconds_max = 60;
    lock_init(&stage.services.job_definitions, LOCK_RANK_DEFINITIONS);
    stage.services.waiting_room = waiting_room_open(&stage.services);
}

void stage_tear_down(void)
{
    waiting_room_close(&stage.services.waiting_room);
    lock_deinit(&stage.services.job_definitions);
    access_release(&stage.admin);
    audit_close(&stage.services.audit);
    catalog_close(&stage.services.catalog);
    secret_keys_close(&stage.keys);
    temp_dir_remove(&stage.dir);
}

struct exchange stage_request(const struct route *route, const char *parameter, const char *body)
{
    struct exchange exchange = {
        .route = route,
        .request_id = id_new_ordered(),
        .principal = stage.admin.principal,
        .token_id = stage.admin.token.text,
        .on_door_thread = true,
        .remote = span_of_text("127.0.0.1"),
        .body = span_of_text(body == NULL ? "" : body),
    };
    if (parameter != NULL) {
        exchange.parameters[0] = span_of_text(parameter);
    }
    arena_init(&exchange.arena, 16 << 20);
    buffer_init(&exchange.answer, 16 << 20);
    return exchange;
}

void stage_done(struct exchange *exchange)
{
    buffer_deinit(&exchange->answer);
    arena_deinit(&exchange->arena);
}

struct json *stage_answer(struct exchange *exchange, int status)
{
    struct json *json = NULL;
    struct err err = {0};
    cr_assert_eq(exchange->status, status, "%d: %.*s", exchange->status,
                 SPAN_PRINT(buffer_span(&exchange->answer)));
    must(json_parse(buffer_span(&exchange->answer), &json, &err), &err);
    return json;
}

int64_t stage_make_job(void)
{
    static const char definition[] =
        "{\"name\":\"j\",\"tasks\":[{\"task_key\":\"a\",\"type\":\"optimize\",\"optimize\":"
        "{\"table\":\"m\"}},{\"task_key\":\"b\",\"type\":\"for_each\",\"for_each\":{\"inputs\":"
        "[1,2],\"concurrency\":1,\"task\":{\"task_key\":\"e\",\"type\":\"vacuum\",\"vacuum\":"
        "{\"table\":\"m\"}}},\"depends_on\":[{\"task_key\":\"a\"}]}],\"max_concurrent_runs\":1}";
    struct err err = {0};
    int64_t job_id = 0;
    bool made = false;
    const struct job_content content = {.name = "j",
                                        .definition = definition,
                                        .author = stage.admin.principal->id,
                                        .run_as = stage.admin.principal->id};
    must(job_create(stage.services.catalog, &content, NULL, &job_id, &made, &err), &err);
    return job_id;
}

int64_t stage_make_run(int64_t job_id)
{
    struct err err = {0};
    int64_t run_id = 0;
    bool made = false;
    const struct run_new new = {.job_id = job_id,
                                .principal = stage.admin.principal->id,
                                .trigger = RUN_TRIGGER_MANUAL,
                                .trigger_time_us = clock_wall_us()};
    must(run_create(stage.services.catalog, &new, &run_id, &made, &err), &err);
    return run_id;
}

void stage_apply(const struct run_change *change)
{
    struct err err = {0};
    must(run_apply(stage.services.catalog, change, &err), &err);
}
