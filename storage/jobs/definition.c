/*
 * Definitions: parsing as a whole, sharing, and what runs ask of them. See
 * definition.h for the contract; the steps are in definition_normalize.c,
 * definition_build.c and definition_check.c.
 */
#include "storage/jobs/definition.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "storage/jobs/definition_build.h"
#include "storage/jobs/definition_problem.h"
#include "storage/jobs/definition_rules.h"

#include <assert.h>
#include <string.h>

enum { ARENA_BYTES_MAX = 256 << 20 }; /* far above what JSON of DEFINITION_BYTES_MAX needs */

static const char *const types[JOB_TASK_TYPE_COUNT] = {
    [JOB_TASK_INGEST] = "ingest",
    [JOB_TASK_CHECK] = "check",
    [JOB_TASK_EXPORT] = "export",
    [JOB_TASK_OPTIMIZE] = "optimize",
    [JOB_TASK_VACUUM] = "vacuum",
    [JOB_TASK_RESTORE] = "restore",
    [JOB_TASK_HTTP_REQUEST] = "http_request",
    [JOB_TASK_CONDITION] = "condition",
    [JOB_TASK_FOR_EACH] = "for_each",
    [JOB_TASK_RUN_JOB] = "run_job",
};

const char *job_task_type_name(enum job_task_type type)
{
    assert(type >= JOB_TASK_INGEST);
    assert(type < JOB_TASK_TYPE_COUNT);
    return types[type];
}

bool job_task_type_parse(struct span name, enum job_task_type *type_out)
{
    for (unsigned i = JOB_TASK_INGEST; i < JOB_TASK_TYPE_COUNT; i++) {
        if (span_equal_text(name, types[i])) {
            *type_out = (enum job_task_type)i;
            return true;
        }
    }
    return false;
}

const char *job_run_if_name(enum job_run_if run_if)
{
    assert((unsigned)run_if < RUN_IF_COUNT);
    return definition_run_if_choices[run_if].name;
}

/* ---- sharing ---- */

static struct definition_object *object_of(const struct job_definition *definition)
{
    return (struct definition_object *)(uintptr_t)definition; /* its first member */
}

const struct job_definition *job_definition_acquire(const struct job_definition *definition)
{
    (void)atomic_fetch_add_explicit(&object_of(definition)->references, 1, memory_order_relaxed);
    return definition;
}

void job_definition_release(const struct job_definition **definition)
{
    if (*definition == NULL) {
        return;
    }
    struct definition_object *object = object_of(*definition);
    *definition = NULL;
    if (atomic_fetch_sub_explicit(&object->references, 1, memory_order_acq_rel) == 1) {
        json_free(&object->json);
        arena_deinit(&object->arena);
        mem_free(object);
    }
}

/* ---- parsing ---- */

static struct json *normalize(const struct json *json, bool one_off,
                              struct definition_problems *problems)
{
    struct normalizer normalizer;
    normalizer_init(&normalizer, problems);
    struct json *canonical = rule_normalize(
        &normalizer, one_off ? &definition_one_off_rule : &definition_job_rule, json);
    normalizer_deinit(&normalizer);
    return canonical;
}

static enum err_code check_size(const struct json *canonical, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, DEFINITION_BYTES_MAX);
    json_write(canonical, &text);
    return buffer_check(&text, "the definition of a job", err);
}

enum err_code job_definition_parse(const struct json *json, const struct job_parse_options *options,
                                   struct definition_problems *problems,
                                   const struct job_definition **definition_out, struct err *err)
{
    struct definition_object *object = mem_zeroed(1, sizeof *object);
    CLEANUP(job_definition_release) const struct job_definition *definition = &object->definition;
    object->references = 1;
    arena_init(&object->arena, ARENA_BYTES_MAX);
    object->json = normalize(json, options->one_off, problems);
    TRY(check_size(object->json, err));
    bool ordered = false;
    definition_build(object, problems, &ordered);
    TRY(definition_check(object, ordered, options->world, problems, err));
    TRY(definition_problems_result(problems, err));
    *definition_out = definition;
    definition = NULL;
    return ERR_OK;
}

enum err_code job_definition_read(struct span text, const struct job_definition **definition_out,
                                  struct err *err)
{
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    enum err_code code = json_parse(text, &json, err);
    if (code == ERR_OK) {
        /* the canonical form of a job always has it, that of a one-off run never */
        const struct job_parse_options options = {
            .one_off = json_get(json, "max_concurrent_runs") == NULL};
        code = job_definition_parse(json, &options, &problems, definition_out, err);
    }
    if (code != ERR_OK) {
        err->code = ERR_CORRUPT;
        return err_wrap(err, "the stored definition");
    }
    return ERR_OK;
}

/* ---- what runs ask ---- */

bool job_definition_find(const struct job_definition *definition, struct span key, size_t *task_out)
{
    const size_t *by_key = object_of(definition)->by_key;
    size_t low = 0;
    size_t high = definition->tasks_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (span_compare(span_of_text(definition->tasks[by_key[middle]].key), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == definition->tasks_count ||
        !span_equal_text(key, definition->tasks[by_key[low]].key)) {
        return false;
    }
    *task_out = by_key[low];
    return true;
}

int64_t *job_definition_jobs_run(const struct job_definition *definition, size_t *count_out)
{
    int64_t *jobs = mem_zeroed(definition->tasks_count + 1, sizeof *jobs);
    size_t count = 0;
    for (size_t i = 0; i < definition->tasks_count; i++) {
        const struct job_task *task = &definition->tasks[i];
        task = task->each != NULL ? task->each : task;
        bool known = task->type != JOB_TASK_RUN_JOB;
        for (size_t j = 0; j < count && !known; j++) {
            known = jobs[j] == task->job_id;
        }
        if (!known) {
            jobs[count++] = task->job_id;
        }
    }
    *count_out = count;
    return jobs;
}

int64_t *job_definition_jobs_awaited(const struct job_definition *definition, size_t *count_out)
{
    int64_t *jobs = mem_zeroed(definition->triggers_count + 1, sizeof *jobs);
    size_t count = 0;
    for (size_t i = 0; i < definition->triggers_count; i++) {
        if (definition->triggers[i].type == JOB_TRIGGER_JOB_FINISHED) {
            jobs[count++] = definition->triggers[i].job_id;
        }
    }
    *count_out = count;
    return jobs;
}

static bool is_parameter_value(const struct json *value)
{
    struct span text = {0};
    enum json_kind kind = json_kind(value);
    return kind == JSON_KIND_BOOLEAN || kind == JSON_KIND_INTEGER || kind == JSON_KIND_REAL ||
           (json_as_string(value, &text) && text.size <= DEFINITION_PARAMETER_BYTES_MAX);
}

static const struct definition_parameter *find_parameter(const struct job_definition *definition,
                                                         const char *name)
{
    for (size_t i = 0; i < definition->parameters_count; i++) {
        if (strcmp(definition->parameters[i].name, name) == 0) {
            return &definition->parameters[i];
        }
    }
    return NULL;
}

static void check_given(const struct job_definition *definition, const struct json *given,
                        struct definition_problems *problems)
{
    if (given != NULL && json_kind(given) != JSON_KIND_OBJECT) {
        definition_problems_add(problems, span_of_text(""), "type",
                                "parameters must be an object of names and values");
    }
    const char *name = NULL;
    const struct json *value = NULL;
    for (size_t at = 0; json_member(given, &at, &name, &value);) {
        CLEANUP(buffer_deinit) struct buffer pointer;
        buffer_init(&pointer, ERR_MESSAGE_BYTES);
        json_write_pointer(&pointer, name);
        if (find_parameter(definition, name) == NULL) {
            definition_problems_add(problems, buffer_span(&pointer), "unknown_parameter",
                                    "the job has no such parameter");
        } else if (!is_parameter_value(value)) {
            definition_problems_add(problems, buffer_span(&pointer), "type",
                                    "must be a string of at most %d bytes, a number, true or false",
                                    DEFINITION_PARAMETER_BYTES_MAX);
        }
    }
}

enum err_code job_definition_parameters(const struct job_definition *definition,
                                        const struct json *given,
                                        struct definition_problems *problems,
                                        struct json **parameters_out, struct err *err)
{
    check_given(definition, given, problems);
    CLEANUP(json_free) struct json *parameters = json_new_object();
    for (size_t i = 0; i < definition->parameters_count; i++) {
        const struct definition_parameter *parameter = &definition->parameters[i];
        const struct json *value = json_get(given, parameter->name);
        value = value != NULL ? value : parameter->default_value;
        if (value == NULL) {
            definition_problems_add(problems, span_of_text(""), "missing",
                                    "parameter '%s' has no default and must be given",
                                    parameter->name);
        } else {
            json_set(parameters, parameter->name, json_duplicate(value));
        }
    }
    TRY(definition_problems_result(problems, err));
    *parameters_out = parameters;
    parameters = NULL;
    return ERR_OK;
}

enum err_code job_task_check_expanded(enum job_task_type type, const struct json *body,
                                      struct err *err)
{
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    struct normalizer normalizer;
    normalizer_init(&normalizer, &problems);
    normalizer.expanded = true;
    CLEANUP(json_free)
    struct json *canonical = rule_normalize(&normalizer, definition_body_rule(type), body);
    normalizer_deinit(&normalizer);
    return definition_problems_result(&problems, err);
}
