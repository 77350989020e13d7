/*
 * Requests about jobs and runs. See job_requests.h for the contract.
 */
#include "handlers/job_requests.h"

#include "handlers/problem.h"
#include "storage/base/json_raw.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"
#include "storage/catalog/secrets.h"
#include "storage/columns/expectation.h"
#include "storage/snapshot/export.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
    JOBS_AT_ONCE = 1000, /* read in one go, when all are looked at */
    PART_ARENA_BYTES = 4 << 20,
};

/* ---- who may see what ---- */

static bool is_caller(const struct exchange *exchange, const struct id *principal)
{
    return strcmp(exchange->principal->id.text, principal->text) == 0;
}

static bool holds_on_all(const struct exchange *exchange)
{
    return access_allows(exchange->principal, exchange->route->action, "*");
}

bool job_request_may_see(const struct exchange *exchange, const struct job *job)
{
    return holds_on_all(exchange) || is_caller(exchange, &job->author);
}

bool run_request_may_see(const struct exchange *exchange, const struct job_run *run)
{
    return holds_on_all(exchange) || is_caller(exchange, &run->author) ||
           is_caller(exchange, &run->principal);
}

/* Ids are numbers; anything else names nothing. */
static bool parse_number(const struct exchange *exchange, int64_t *number_out)
{
    return text_parse_int64(exchange->parameters[0], number_out) && *number_out > 0;
}

static enum err_code no_such_job(struct exchange *exchange)
{
    return err_set(&exchange->err, ERR_NOT_FOUND,
                   "there is no such job; GET /v1/jobs lists those you may see");
}

static enum err_code no_such_run(struct exchange *exchange)
{
    return err_set(&exchange->err, ERR_NOT_FOUND,
                   "there is no such run; GET /v1/runs lists those that are kept");
}

enum err_code job_request_find(struct services *services, struct exchange *exchange,
                               struct job *job_out)
{
    int64_t job_id = 0;
    struct job job;
    if (!parse_number(exchange, &job_id)) {
        return no_such_job(exchange);
    }
    enum err_code code = job_get(services->catalog, job_id, &exchange->arena, &job, &exchange->err);
    if (code == ERR_NOT_FOUND || (code == ERR_OK && !job_request_may_see(exchange, &job))) {
        err_clear(&exchange->err);
        return no_such_job(exchange);
    }
    TRY(code);
    *job_out = job;
    return ERR_OK;
}

enum err_code run_request_find(struct services *services, struct exchange *exchange,
                               struct job_run *run_out)
{
    int64_t run_id = 0;
    struct job_run run;
    if (!parse_number(exchange, &run_id)) {
        return no_such_run(exchange);
    }
    enum err_code code = run_get(services->catalog, run_id, &exchange->arena, &run, &exchange->err);
    if (code == ERR_NOT_FOUND || (code == ERR_OK && !run_request_may_see(exchange, &run))) {
        err_clear(&exchange->err);
        return no_such_run(exchange);
    }
    TRY(code);
    *run_out = run;
    return ERR_OK;
}

const char *job_request_principal(struct services *services, struct exchange *exchange,
                                  const struct id *principal)
{
    if (principal->text[0] == '\0') {
        return NULL;
    }
    CLEANUP(access_release) struct access_identity identity = {0};
    struct err ignored = {0};
    const char *name = principal->text;
    if (access_find(services->catalog, principal->text, &identity, &ignored) == ERR_OK) {
        name = identity.principal->name;
    }
    return arena_text(&exchange->arena, span_of_text(name));
}

/* ---- the world of a definition ---- */

/* That job `job_id` starts when job `awaited` has ended. */
struct job_wait {
    int64_t awaited;
    int64_t job_id;
};

struct asker {
    struct services *services;
    const struct exchange *exchange;
    bool knows_waits; /* of all jobs: read once, and only when asked for */
    struct job_wait *waits;
    size_t waits_count;
    size_t waits_capacity;
};

static enum err_code table_exists(void *arg, const char *table, bool *exists_out, struct err *err)
{
    const struct asker *asker = arg;
    CLEANUP(table_release) struct table *found = NULL;
    enum err_code code = tables_find(asker->services->tables, table, &found, err);
    *exists_out = code == ERR_OK;
    if (code == ERR_NOT_FOUND) {
        err_clear(err); /* an answer, too */
        return ERR_OK;
    }
    return code;
}

static enum err_code expectations_fit(enum expectations_use use, const struct json *part,
                                      const struct schema *schema, struct err *err)
{
    CLEANUP(expectations_free) struct expectations *list = NULL;
    CLEANUP(bound_expectations_free) struct bound_expectations *bound = NULL;
    TRY(expectations_parse(json_get(part, "expectations"), use, &list, err));
    return expectations_bind(list, schema, &bound, err);
}

static enum err_code part_fits(void *arg, enum job_task_type type, const char *name,
                               const struct json *part, struct err *err)
{
    const struct asker *asker = arg;
    CLEANUP(table_release) struct table *table = NULL;
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    CLEANUP(arena_deinit) struct arena arena;
    struct export_spec spec;
    arena_init(&arena, PART_ARENA_BYTES);
    TRY(tables_find(asker->services->tables, name, &table, err));
    snapshot = table_snapshot(table);
    if (json_get(part, "expectations") != NULL) {
        return expectations_fit(type == JOB_TASK_INGEST ? EXPECTATIONS_OF_ROWS
                                                        : EXPECTATIONS_OF_TABLE,
                                part, snapshot->schema, err);
    }
    return export_spec_parse(part, NULL, snapshot->schema, &arena, &spec, err);
}

static enum err_code path_fits(void *arg, const char *path, bool writes, struct err *err)
{
    const struct asker *asker = arg;
    struct root_place place;
    return roots_resolve(writes ? asker->services->export_roots : asker->services->source_roots,
                         path, &place, err);
}

/* A job that the caller may not see does not exist for its definitions either. */
static enum err_code ask_job_exists(void *arg, int64_t job_id, bool *exists_out, struct err *err)
{
    const struct asker *asker = arg;
    struct job job;
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, 2 * JOB_DEFINITION_BYTES_MAX);
    enum err_code code = job_get(asker->services->catalog, job_id, &arena, &job, err);
    *exists_out = code == ERR_OK && job_request_may_see(asker->exchange, &job);
    if (code == ERR_NOT_FOUND) {
        err_clear(err); /* an answer, too */
        return ERR_OK;
    }
    return code;
}

/* Whoever may not list secrets cannot use them either: a request may carry one anywhere. */
static enum err_code secret_exists(void *arg, const char *name, bool *exists_out, struct err *err)
{
    const struct asker *asker = arg;
    if (!access_allows(asker->exchange->principal, "secret.list", NULL)) {
        *exists_out = false;
        return ERR_OK;
    }
    return catalog_secret_exists(asker->services->catalog, name, exists_out, err);
}

static enum err_code pool_exists(void *arg, const char *name, bool *exists_out, struct err *err)
{
    const struct asker *asker = arg;
    const struct services_jobs *jobs = &asker->services->jobs;
    (void)err; /* cannot fail */
    *exists_out = jobs->pool_exists != NULL ? jobs->pool_exists(jobs->arg, name)
                                            : strcmp(name, "default") == 0;
    return ERR_OK;
}

static enum err_code find_principal(const struct asker *asker, const char *name,
                                    struct access_identity *identity, bool *found_out,
                                    struct err *err)
{
    enum err_code code = access_find(asker->services->catalog, name, identity, err);
    *found_out = code == ERR_OK;
    if (code == ERR_NOT_FOUND) {
        err_clear(err); /* an answer, too */
        return ERR_OK;
    }
    return code;
}

static enum err_code principal_exists(void *arg, const char *name, bool *exists_out,
                                      struct err *err)
{
    CLEANUP(access_release) struct access_identity identity = {0};
    return find_principal(arg, name, &identity, exists_out, err);
}

static enum err_code allows(void *arg, const char *principal, const char *action, const char *table,
                            bool *allowed_out, struct err *err)
{
    const struct asker *asker = arg;
    const struct principal *caller = asker->exchange->principal;
    if (strcmp(principal, caller->name) == 0) {
        *allowed_out = access_allows(caller, action, table);
        return ERR_OK;
    }
    CLEANUP(access_release) struct access_identity identity = {0};
    bool found = false;
    TRY(find_principal(asker, principal, &identity, &found, err));
    *allowed_out = found && access_allows(identity.principal, action, table);
    return ERR_OK;
}

static enum err_code jobs_run_by(void *arg, int64_t job_id, int64_t **job_ids_out,
                                 size_t *count_out, struct err *err)
{
    const struct asker *asker = arg;
    struct job job;
    CLEANUP(arena_deinit) struct arena arena;
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    arena_init(&arena, 2 * JOB_DEFINITION_BYTES_MAX);
    enum err_code code = job_get(asker->services->catalog, job_id, &arena, &job, err);
    if (code == ERR_OK) {
        code = job_definition_read(span_of_text(job.definition), &definition, err);
    }
    if (code == ERR_NOT_FOUND) {
        err_clear(err); /* deleted meanwhile: it runs nothing */
        *job_ids_out = NULL;
        *count_out = 0;
        return ERR_OK;
    }
    TRY(code);
    *job_ids_out = job_definition_jobs_run(definition, count_out);
    return ERR_OK;
}

/* Few jobs await others: their text tells without being parsed. */
static enum err_code add_waits(struct asker *asker, const struct job *job, struct err *err)
{
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    if (strstr(job->definition, "\"job_finished\"") == NULL) {
        return ERR_OK;
    }
    TRY(job_definition_read(span_of_text(job->definition), &definition, err));
    size_t count = 0;
    CLEANUP(mem_cleanup) int64_t *awaited = job_definition_jobs_awaited(definition, &count);
    if (asker->waits_count + count > asker->waits_capacity) {
        asker->waits_capacity = 2 * (asker->waits_count + count);
        asker->waits = mem_resize(asker->waits, asker->waits_capacity, sizeof *asker->waits);
    }
    for (size_t i = 0; i < count; i++) {
        asker->waits[asker->waits_count++] =
            (struct job_wait){.awaited = awaited[i], .job_id = job->job_id};
    }
    return ERR_OK;
}

static enum err_code read_waits(struct asker *asker, struct err *err)
{
    const struct job_filter every = {0};
    int64_t after = 0;
    do {
        CLEANUP(arena_deinit) struct arena arena;
        struct job *jobs = NULL;
        size_t count = 0;
        arena_init(&arena, 16 * JOB_DEFINITION_BYTES_MAX);
        TRY(job_list(asker->services->catalog, &every, after, JOBS_AT_ONCE, &arena, &jobs, &count,
                     &after, err));
        for (size_t i = 0; i < count; i++) {
            TRY(add_waits(asker, &jobs[i], err));
        }
    } while (after != 0);
    asker->knows_waits = true;
    return ERR_OK;
}

static enum err_code jobs_awaiting(void *arg, int64_t job_id, int64_t **job_ids_out,
                                   size_t *count_out, struct err *err)
{
    struct asker *asker = arg;
    if (!asker->knows_waits) {
        TRY(read_waits(asker, err));
    }
    size_t count = 0;
    int64_t *job_ids = mem_zeroed(asker->waits_count + 1, sizeof *job_ids);
    for (size_t i = 0; i < asker->waits_count; i++) {
        if (asker->waits[i].awaited == job_id) {
            job_ids[count++] = asker->waits[i].job_id;
        }
    }
    *job_ids_out = job_ids;
    *count_out = count;
    return ERR_OK;
}

/* ---- problems ---- */

enum handler_result job_request_problems(struct exchange *exchange, int status, const char *code,
                                         const char *detail, const char *base,
                                         const struct definition_problems *problems)
{
    struct problem_item items[PROBLEM_ERRORS_MAX];
    size_t count = problems->count < PROBLEM_ERRORS_MAX ? problems->count : PROBLEM_ERRORS_MAX;
    for (size_t i = 0; i < count; i++) {
        const char *pointer =
            arena_format(&exchange->arena, "%s%s", base, problems->items[i].pointer);
        items[i] = (struct problem_item){
            .pointer = pointer != NULL ? pointer : problems->items[i].pointer,
            .code = problems->items[i].code,
            .message = problems->items[i].message,
        };
    }
    return problem_items(exchange, status, code, detail, items, count,
                         (int64_t)(problems->count + problems->left_out));
}

enum err_code job_request_check(struct services *services, struct exchange *exchange,
                                const struct json *json, int64_t job_id, bool one_off,
                                const struct job_definition **definition_out)
{
    struct asker asker = {.services = services, .exchange = exchange};
    const struct job_world world = {
        .arg = &asker,
        .job_id = job_id,
        .creator = exchange->principal->name,
        .table_exists = table_exists,
        .part_fits = part_fits,
        .path_fits = path_fits,
        .job_exists = ask_job_exists,
        .secret_exists = secret_exists,
        .pool_exists = pool_exists,
        .principal_exists = principal_exists,
        .allows = allows,
        .jobs_run_by = jobs_run_by,
        .jobs_awaiting = jobs_awaiting,
    };
    const struct job_parse_options options = {.one_off = one_off, .world = &world};
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    enum err_code code =
        job_definition_parse(json, &options, &problems, definition_out, &exchange->err);
    if (code == ERR_INVALID && problems.count > 0) {
        (void)job_request_problems(exchange, 422, "invalid_definition",
                                   "the definition breaks rules; `errors` names each place", "",
                                   &problems); /* the answer is in place */
    }
    mem_free(asker.waits);
    return code;
}

enum handler_result job_request_failed(struct exchange *exchange)
{
    return exchange->status != 0 ? HANDLER_DONE : problem_err(exchange);
}

enum err_code job_request_text(struct exchange *exchange, const struct json *json, size_t bytes_max,
                               const char *what, const char **text_out)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, bytes_max);
    json_write(json, &text);
    TRY(buffer_check(&text, what, &exchange->err));
    const char *copy = arena_text(&exchange->arena, buffer_span(&text));
    if (copy == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "%s needs more memory than the request has",
                       what);
    }
    *text_out = copy;
    return ERR_OK;
}

enum err_code job_request_body(struct exchange *exchange, struct json **body_out)
{
    CLEANUP(json_free) struct json *body = NULL;
    struct span number;
    TRY(exchange_body_json(exchange, &body));
    if (json_raw_has_inexact(exchange->body, &number)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "the number at byte %zu has more digits than JSON readers keep: write it "
                       "as a text, in quotes, so that none is lost",
                       (size_t)(number.data - exchange->body.data) + 1);
    }
    *body_out = body;
    body = NULL;
    return ERR_OK;
}

/* ---- idempotency ---- */

enum err_code job_request_key(struct exchange *exchange, struct idempotency_key *key_out,
                              bool *given_out)
{
    struct span text = exchange_header(exchange, "idempotency-key");
    *given_out = text.data != NULL;
    if (!*given_out) {
        return ERR_OK;
    }
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"') {
        text = span_of(text.data + 1, text.size - 2);
    }
    if (text.size == 0 || text.size > IDEMPOTENCY_KEY_BYTES_MAX) {
        return err_set(&exchange->err, ERR_INVALID, "Idempotency-Key: give 1 to %d bytes",
                       IDEMPOTENCY_KEY_BYTES_MAX);
    }
    const char *path = arena_format(&exchange->arena, "%s %.*s", exchange->route->path,
                                    SPAN_PRINT(exchange->parameters[0]));
    idempotency_key_of(&exchange->principal->id, exchange->route->method, path, text, key_out);
    return ERR_OK;
}

enum err_code job_request_token(struct exchange *exchange, const struct json *body,
                                const char **token_out)
{
    struct idempotency_key key;
    bool has_key = false;
    const struct json *member = json_get(body, "idempotency_token");
    TRY(job_request_key(exchange, &key, &has_key));
    if (member != NULL) {
        const char *token = json_text(member);
        if (token == NULL || token[0] == '\0' || strlen(token) > RUN_TOKEN_BYTES_MAX) {
            return err_set(&exchange->err, ERR_INVALID,
                           "/idempotency_token: give a string of 1 to %d bytes",
                           RUN_TOKEN_BYTES_MAX);
        }
        *token_out = token;
        return ERR_OK;
    }
    _Static_assert(2 * sizeof key.hash == RUN_TOKEN_BYTES_MAX, "a hash in digits is a token");
    *token_out = NULL;
    if (has_key) {
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, RUN_TOKEN_BYTES_MAX);
        text_hex_encode(span_of(key.hash, sizeof key.hash), &text);
        *token_out = arena_text(&exchange->arena, buffer_span(&text));
        if (*token_out == NULL) {
            return err_set(&exchange->err, ERR_TOO_LARGE, "the request needs too much memory");
        }
    }
    return ERR_OK;
}

enum handler_result job_request_refused(struct exchange *exchange)
{
    if (exchange->err.code == ERR_PRECONDITION) {
        return problem_answer(exchange, 409, "conflict",
                              "the job was changed while the run was made; ask again");
    }
    return exchange->err.code == ERR_CONFLICT
               ? problem_err_as(exchange, 422, "idempotency_key_reused")
               : problem_err(exchange);
}

/* ---- parameters ---- */

bool job_request_parameters_fit(struct exchange *exchange, const struct json *given,
                                const struct job_definition *definition)
{
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    CLEANUP(json_free) struct json *effective = NULL;
    if (job_definition_parameters(definition, given, &problems, &effective, &exchange->err) ==
        ERR_OK) {
        return true;
    }
    (void)job_request_problems(exchange, 422, "unprocessable",
                               "the parameters do not fit the job; `errors` names each",
                               "/parameters", &problems); /* the answer is in place */
    return false;
}
