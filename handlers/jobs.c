/*
 * Jobs: /v1/jobs. A definition is checked as the caller's own and becomes a version;
 * where its schedule stands is stored with it, so that no fire time gets lost between
 * the two.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/job_requests.h"
#include "handlers/job_schedules.h"
#include "handlers/merge_patch.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/times.h"
#include "storage/base/clock.h"
#include "storage/base/hash.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { LIST_DEFAULT = 100, LIST_MAX = 1000, NEXT_DEFAULT = 5, NEXT_MAX = 100 };

/* ---- as JSON ---- */

static struct json *links_of(struct exchange *exchange, int64_t job_id)
{
    struct json *links = json_new_object();
    json_set_text(links, "self", arena_format(&exchange->arena, "/v1/jobs/%" PRId64, job_id));
    json_set_text(links, "runs",
                  arena_format(&exchange->arena, "/v1/runs?job_id=%" PRId64, job_id));
    json_set_text(links, "next",
                  arena_format(&exchange->arena, "/v1/jobs/%" PRId64 "/next", job_id));
    return links;
}

/* What the job and its summary share. */
static struct json *head_to_json(struct services *services, struct exchange *exchange,
                                 const struct job *job)
{
    struct json *json = json_new_object();
    json_set_integer(json, "job_id", job->job_id);
    json_set_text(json, "name", job->name);
    json_set_integer(json, "version", job->version);
    json_set_text(json, "author", job_request_principal(services, exchange, &job->author));
    json_set_text(json, "run_as", job_request_principal(services, exchange, &job->run_as));
    times_set(json, "created_at", job->created_at_us);
    times_set(json, "updated_at", job->changed_at_us);
    times_set(json, "next_fire_at", job->schedule.next_fire_us);
    json_set_integer(json, "runs", job->runs_count);
    json_set(json, "links", links_of(exchange, job->job_id));
    return json;
}

static enum err_code job_to_json(struct services *services, struct exchange *exchange,
                                 const struct job *job, struct json **json_out)
{
    struct json *definition = NULL;
    TRY(json_parse(span_of_text(job->definition), &definition, &exchange->err));
    struct json *json = head_to_json(services, exchange, job);
    json_set(json, "definition", definition);
    *json_out = json;
    return ERR_OK;
}

static enum handler_result answer_job(struct services *services, struct exchange *exchange,
                                      int64_t job_id)
{
    struct job job;
    CLEANUP(json_free) struct json *json = NULL;
    if (job_get(services->catalog, job_id, &exchange->arena, &job, &exchange->err) != ERR_OK ||
        job_to_json(services, exchange, &job, &json) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_set_header(exchange, "ETag", "%s", job.etag);
    exchange_answer_json(exchange, 200, &json);
    return HANDLER_DONE;
}

static enum err_code audit_job(struct services *services, struct exchange *exchange,
                               const char *event, int64_t job_id)
{
    const char *resource = arena_format(&exchange->arena, "job %" PRId64, job_id);
    return access_audit_change(services, exchange, event, resource);
}

static void tell_scheduler(const struct services *services, int64_t job_id)
{
    if (services->jobs.job_changed != NULL) {
        services->jobs.job_changed(services->jobs.arg, job_id);
    }
}

/* ---- content of a version ---- */

static enum err_code run_as_of(struct services *services, struct exchange *exchange,
                               const struct job_definition *definition, struct id *run_as_out)
{
    if (definition->run_as == NULL) {
        *run_as_out = exchange->principal->id;
        return ERR_OK;
    }
    CLEANUP(access_release) struct access_identity identity = {0};
    TRY(access_find(services->catalog, definition->run_as, &identity, &exchange->err));
    *run_as_out = identity.principal->id;
    return ERR_OK;
}

/* Everything but the schedule; borrows from the definition. */
static enum err_code content_of(struct services *services, struct exchange *exchange,
                                const struct job_definition *definition,
                                struct job_content *content_out)
{
    struct job_content content = {.name = definition->name, .author = exchange->principal->id};
    struct job_tag *tags =
        arena_alloc(&exchange->arena, (definition->tags_count + 1) * sizeof *tags);
    if (tags == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "/tags: too many for one request");
    }
    for (size_t i = 0; i < definition->tags_count; i++) {
        tags[i] =
            (struct job_tag){.name = definition->tags[i].name, .value = definition->tags[i].value};
    }
    content.tags = tags;
    content.tags_count = definition->tags_count;
    TRY(run_as_of(services, exchange, definition, &content.run_as));
    TRY(job_request_text(exchange, definition->json, JOB_DEFINITION_BYTES_MAX, "the definition",
                         &content.definition));
    *content_out = content;
    return ERR_OK;
}

/* ---- create ---- */

static enum handler_result answer_made(struct exchange *exchange, int64_t job_id, bool replayed)
{
    CLEANUP(json_free) struct json *json = json_new_object();
    json_set_integer(json, "job_id", job_id);
    json_set(json, "links", links_of(exchange, job_id));
    exchange_set_header(exchange, "Location", "/v1/jobs/%" PRId64, job_id);
    if (replayed) {
        exchange_set_header(exchange, "Idempotency-Replayed", "true");
    } else {
        exchange_set_header(exchange, "ETag", "\"%" PRId64 "-1\"", job_id);
    }
    exchange_answer_json(exchange, 201, &json);
    return HANDLER_DONE;
}

static enum handler_result refuse_key(struct exchange *exchange)
{
    return exchange->err.code == ERR_CONFLICT
               ? problem_err_as(exchange, 422, "idempotency_key_reused")
               : problem_err(exchange);
}

static enum handler_result create_checked(struct services *services, struct exchange *exchange,
                                          const struct job_definition *definition,
                                          const struct job_creation_key *key)
{
    int64_t now_us = clock_wall_us();
    struct job_schedule schedule;
    struct job_content content;
    int64_t job_id = 0;
    bool made = false;
    if (content_of(services, exchange, definition, &content) != ERR_OK ||
        job_schedule_begin(definition, now_us, now_us, &schedule, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    content.schedule = &schedule;
    if (job_create(services->catalog, &content, key, &job_id, &made, &exchange->err) != ERR_OK) {
        return refuse_key(exchange);
    }
    tell_scheduler(services, job_id);
    if (made && audit_job(services, exchange, "job.create", job_id) != ERR_OK) {
        return problem_err(exchange);
    }
    return answer_made(exchange, job_id, !made);
}

enum handler_result handle_job_create(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *body = NULL;
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    struct job_creation_key key;
    bool has_key = false;
    bool found = false;
    int64_t job_id = 0;
    hash_sha256(exchange->body, key.body_sha256);
    if (job_request_body(exchange, &body) != ERR_OK ||
        job_request_key(exchange, &key.key, &has_key) != ERR_OK) {
        return problem_err(exchange);
    }
    if (has_key &&
        job_find_made(services->catalog, &key, &found, &job_id, &exchange->err) != ERR_OK) {
        return refuse_key(exchange);
    }
    if (found) {
        return answer_made(exchange, job_id, true);
    }
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&services->job_definitions);
    (void)scope; /* held to the end */
    if (job_request_check(services, exchange, body, 0, false, &definition) != ERR_OK) {
        return job_request_failed(exchange);
    }
    return create_checked(services, exchange, definition, has_key ? &key : NULL);
}

/* ---- read ---- */

enum handler_result handle_job_get(struct services *services, struct exchange *exchange)
{
    struct job job;
    CLEANUP(json_free) struct json *json = NULL;
    if (job_request_find(services, exchange, &job) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_set_header(exchange, "ETag", "%s", job.etag);
    if (exchange_is_current(exchange, job.etag)) {
        exchange_answer_empty(exchange, 304);
        return HANDLER_DONE;
    }
    if (job_to_json(services, exchange, &job, &json) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &json);
    return HANDLER_DONE;
}

static struct json *duplicate_or_null(const struct json *value)
{
    return value != NULL ? json_duplicate(value) : json_new_null();
}

static enum err_code summary_to_json(struct services *services, struct exchange *exchange,
                                     const struct job *job, struct json **json_out)
{
    CLEANUP(json_free) struct json *definition = NULL;
    TRY(json_parse(span_of_text(job->definition), &definition, &exchange->err));
    struct json *json = head_to_json(services, exchange, job);
    json_set(json, "description", duplicate_or_null(json_get(definition, "description")));
    json_set(json, "tags", duplicate_or_null(json_get(definition, "tags")));
    json_set(json, "schedule", duplicate_or_null(json_get(definition, "schedule")));
    *json_out = json;
    return ERR_OK;
}

static const char *optional_query(struct exchange *exchange, const char *name)
{
    struct span text = exchange_query(exchange, name);
    return text.data != NULL ? arena_text(&exchange->arena, text) : NULL;
}

/* `tag=team` or `tag=team:rx`. */
static void parse_tag(struct exchange *exchange, struct job_filter *filter)
{
    struct span text = exchange_query(exchange, "tag");
    if (text.data == NULL) {
        return;
    }
    const uint8_t *colon = text.size > 0 ? memchr(text.data, ':', text.size) : NULL;
    size_t name_size = colon != NULL ? (size_t)(colon - text.data) : text.size;
    filter->tag = arena_text(&exchange->arena, span_of(text.data, name_size));
    if (colon != NULL) {
        filter->tag_value =
            arena_text(&exchange->arena, span_of(colon + 1, text.size - name_size - 1));
    }
}

/*
 * Pages are cut from all jobs and then thinned to those the caller may see, so a page
 * can be short before the end; next_page_token alone tells the end.
 */
static enum err_code list_jobs(struct services *services, struct exchange *exchange,
                               struct json **answer_out)
{
    int64_t limit = LIST_DEFAULT;
    int64_t after = 0;
    int64_t next = 0;
    struct job_filter filter = {.name = optional_query(exchange, "name"),
                                .name_prefix = optional_query(exchange, "name_prefix")};
    parse_tag(exchange, &filter);
    TRY(exchange_query_integer(exchange, "limit", 1, LIST_MAX, &limit));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    (void)json_as_integer(json_get(state, "after"), &after); /* absent on the first page */
    struct job *jobs = NULL;
    size_t count = 0;
    TRY(job_list(services->catalog, &filter, after, (size_t)limit, &exchange->arena, &jobs, &count,
                 &next, &exchange->err));

    CLEANUP(json_free) struct json *answer = json_new_object();
    struct json *list = json_new_array();
    json_set(answer, "jobs", list);
    for (size_t i = 0; i < count; i++) {
        struct json *summary = NULL;
        if (job_request_may_see(exchange, &jobs[i])) {
            TRY(summary_to_json(services, exchange, &jobs[i], &summary));
            json_append(list, summary);
        }
    }
    const char *token = NULL;
    if (next != 0) {
        CLEANUP(json_free) struct json *next_state = json_new_object();
        json_set_integer(next_state, "after", next);
        token = page_token_seal(services, exchange, &next_state);
    }
    json_set_text(answer, "next_page_token", token);
    *answer_out = answer;
    answer = NULL;
    return ERR_OK;
}

enum handler_result handle_job_list(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_jobs(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}

/* ---- next fire times ---- */

static enum err_code fire_times(struct exchange *exchange, const struct job *job, int64_t count,
                                struct json *answer)
{
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    CLEANUP(schedule_deinit) struct schedule schedule = {0};
    TRY(job_definition_read(span_of_text(job->definition), &definition, &exchange->err));
    const struct definition_schedule *timing = &definition->schedule;
    struct json *times = json_new_array();
    json_set(answer, "fire_times", times);
    json_set(answer, "timezone_id",
             json_new_text(definition->has_schedule && timing->cron != NULL ? timing->timezone_id
                                                                            : NULL));
    json_set_boolean(answer, "paused", definition->has_schedule && timing->paused);
    if (!definition->has_schedule) {
        return ERR_OK;
    }
    TRY(job_schedule_open(timing, job->schedule.anchor_us, &schedule, &exchange->err));
    int64_t at_us = clock_wall_us();
    for (int64_t i = 0; i < count && schedule_next(&schedule, at_us, &at_us); i++) {
        char text[TEXT_TIMESTAMP_BYTES];
        size_t size = text_format_timestamp(at_us, text);
        json_append(times, json_new_string(span_of(text, size)));
    }
    return ERR_OK;
}

enum handler_result handle_job_next(struct services *services, struct exchange *exchange)
{
    struct job job;
    int64_t count = NEXT_DEFAULT;
    CLEANUP(json_free) struct json *answer = json_new_object();
    if (exchange_query_integer(exchange, "count", 1, NEXT_MAX, &count) != ERR_OK ||
        job_request_find(services, exchange, &job) != ERR_OK) {
        return problem_err(exchange);
    }
    json_set_integer(answer, "job_id", job.job_id);
    if (fire_times(exchange, &job, count, answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}

/* ---- change ---- */

/* May the stored version be replaced under the caller's If-Match? False: the answer is in place. */
static bool matches(struct exchange *exchange, const struct job *job, bool needed)
{
    struct span match = exchange_header(exchange, "if-match");
    if (match.data == NULL && needed) {
        (void)problem_answer(
            exchange, 428, "precondition_required",
            "to change a job, send If-Match with the ETag of GET /v1/jobs/%" PRId64,
            job->job_id); /* the answer is in place */
        return false;
    }
    if (match.data == NULL || span_equal_text(match, "*") || span_equal_text(match, job->etag)) {
        return true;
    }
    exchange_set_header(exchange, "ETag", "%s", job->etag);
    (void)problem_answer(exchange, 412, "precondition_failed",
                         "If-Match names another version than the current one, %s; read the job "
                         "and decide again",
                         job->etag); /* the answer is in place */
    return false;
}

static enum handler_result change_checked(struct services *services, struct exchange *exchange,
                                          const struct job *job,
                                          const struct job_definition *definition)
{
    CLEANUP(job_definition_release) const struct job_definition *stored = NULL;
    int64_t now_us = clock_wall_us();
    int32_t version = 0;
    struct job_schedule schedule;
    struct job_content content;
    if (job_definition_read(span_of_text(job->definition), &stored, &exchange->err) != ERR_OK ||
        content_of(services, exchange, definition, &content) != ERR_OK) {
        return problem_err(exchange);
    }
    bool same_author = strcmp(job->author.text, content.author.text) == 0;
    if (same_author && strcmp(job->definition, content.definition) == 0) {
        return answer_job(services, exchange, job->job_id);
    }
    int64_t anchor_us =
        job_schedule_same_interval(stored, definition) ? job->schedule.anchor_us : now_us;
    if (job_schedule_begin(definition, anchor_us, now_us, &schedule, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    content.schedule = job_schedule_same_timing(stored, definition) ? NULL : &schedule;
    if (job_change(services->catalog, job->job_id, job->version, &content, &version,
                   &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    tell_scheduler(services, job->job_id);
    if (audit_job(services, exchange, "job.change", job->job_id) != ERR_OK) {
        return problem_err(exchange);
    }
    return answer_job(services, exchange, job->job_id);
}

static enum handler_result change_job(struct services *services, struct exchange *exchange,
                                      bool merge)
{
    struct job job;
    CLEANUP(json_free) struct json *body = NULL;
    CLEANUP(json_free) struct json *stored = NULL;
    CLEANUP(json_free) struct json *wanted = NULL;
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&services->job_definitions);
    (void)scope; /* held to the end */
    if (job_request_body(exchange, &body) != ERR_OK ||
        job_request_find(services, exchange, &job) != ERR_OK) {
        return problem_err(exchange);
    }
    if (!matches(exchange, &job, true)) {
        return HANDLER_DONE;
    }
    if (merge) {
        if (json_parse(span_of_text(job.definition), &stored, &exchange->err) != ERR_OK) {
            return problem_err(exchange);
        }
        wanted = merge_patch(stored, body);
    }
    if (job_request_check(services, exchange, merge ? wanted : body, job.job_id, false,
                          &definition) != ERR_OK) {
        return job_request_failed(exchange);
    }
    return change_checked(services, exchange, &job, definition);
}

enum handler_result handle_job_put(struct services *services, struct exchange *exchange)
{
    return change_job(services, exchange, false);
}

enum handler_result handle_job_patch(struct services *services, struct exchange *exchange)
{
    return change_job(services, exchange, true);
}

/* ---- delete ---- */

/* Active runs of a job deleted by force: each is told that it is cancelled. */
static enum err_code tell_runs(struct services *services, struct exchange *exchange, int64_t job_id)
{
    const struct run_filter filter = {.job_id = job_id, .active = true};
    int64_t before = 0;
    do {
        struct arena arena;
        struct job_run *runs = NULL;
        size_t count = 0;
        arena_init(&arena, 16 << 20);
        enum err_code code = run_list(services->catalog, &filter, before, LIST_DEFAULT, &arena,
                                      &runs, &count, &before, &exchange->err);
        for (size_t i = 0; i < count && services->jobs.run_changed != NULL; i++) {
            services->jobs.run_changed(services->jobs.arg, runs[i].run_id);
        }
        arena_deinit(&arena);
        TRY(code);
    } while (before != 0);
    return ERR_OK;
}

enum handler_result handle_job_delete(struct services *services, struct exchange *exchange)
{
    struct job job;
    bool force = false;
    if (exchange_query_boolean(exchange, "force", &force) != ERR_OK ||
        job_request_find(services, exchange, &job) != ERR_OK) {
        return problem_err(exchange);
    }
    if (!matches(exchange, &job, false)) {
        return HANDLER_DONE;
    }
    bool conditional = exchange_header(exchange, "if-match").data != NULL;
    if (job_delete(services->catalog, job.job_id, conditional ? job.version : 0, force,
                   &exchange->principal->id, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    tell_scheduler(services, job.job_id);
    if (force && tell_runs(services, exchange, job.job_id) != ERR_OK) {
        err_clear(&exchange->err); /* they are marked: the runner's next look finds them */
    }
    if (audit_job(services, exchange, "job.delete", job.job_id) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_empty(exchange, 204);
    return HANDLER_DONE;
}
