/*
 * Canonical JSON to struct: arrays, resolved dependencies, an order. See
 * definition_build.h. Where the client's JSON was wrong there are gaps, and what
 * is built is thrown away after the checks; so nothing here may rely on a member.
 */
#include "storage/jobs/definition_build.h"

#include "storage/jobs/definition_problem.h"
#include "storage/jobs/definition_rules.h"
#include "storage/jobs/graph.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CYCLE_TEXT_BYTES = 300, POINTER_BYTES = 160 };

/* ---- reading members ---- */

static const char *text_of(const struct json *object, const char *name, const char *absent)
{
    const char *text = json_text(json_get(object, name));
    return text != NULL ? text : absent;
}

static int64_t integer_of(const struct json *object, const char *name)
{
    int64_t integer = 0;
    (void)json_as_integer(json_get(object, name), &integer); /* absent: 0 */
    return integer;
}

static bool boolean_of(const struct json *object, const char *name)
{
    bool boolean = false;
    (void)json_as_boolean(json_get(object, name), &boolean); /* absent: false */
    return boolean;
}

static bool is_paused(const struct json *object)
{
    return strcmp(text_of(object, "pause_status", ""), "PAUSED") == 0;
}

static size_t choice_of(const struct rule_choice *choices, const char *text)
{
    size_t index = 0;
    for (size_t i = 0; choices[i].name != NULL; i++) {
        if (strcmp(choices[i].name, text) == 0) {
            index = i;
        }
    }
    return index;
}

/* The JSON has at most DEFINITION_BYTES_MAX and the arena many times as much. */
static void *take(struct definition_object *object, size_t count, size_t size)
{
    void *memory = arena_alloc(&object->arena, (count + 1) * size);
    assert(memory != NULL);
    return memory;
}

static void tell(struct definition_problems *problems, const char *code, const char *message,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* `format` makes the pointer. */
static void tell(struct definition_problems *problems, const char *code, const char *message,
                 const char *format, ...)
{
    char pointer[POINTER_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(pointer, sizeof pointer, format, arguments); /* indexes and words: fits */
    va_end(arguments);
    definition_problems_add(problems, span_of_text(pointer), code, "%s", message);
}

/* ---- tasks ---- */

static void build_task(struct definition_object *object, const struct json *json,
                       struct job_task *task)
{
    const char *type = text_of(json, "type", "");
    task->key = text_of(json, "task_key", "");
    task->type = JOB_TASK_OPTIMIZE; /* unless another one is known */
    (void)job_task_type_parse(span_of_text(type), &task->type);
    task->body = json_get(json, type);
    task->run_if =
        (enum job_run_if)choice_of(definition_run_if_choices, text_of(json, "run_if", ""));
    task->max_retries = (int32_t)integer_of(json, "max_retries");
    task->min_retry_interval_us = integer_of(json, "min_retry_interval_millis") * 1000;
    task->retry_on_timeout = boolean_of(json, "retry_on_timeout");
    task->timeout_us = integer_of(json, "timeout_seconds") * 1000000;
    task->disabled = boolean_of(json, "disabled");
    task->pool = text_of(json, "pool", "default");
    if (task->type == JOB_TASK_CONDITION) {
        task->condition_op = (enum job_condition_op)choice_of(definition_condition_choices,
                                                              text_of(task->body, "op", ""));
    } else if (task->type == JOB_TASK_RUN_JOB) {
        task->job_id = integer_of(task->body, "job_id");
    } else if (task->type == JOB_TASK_FOR_EACH) {
        struct job_task *each = take(object, 1, sizeof *each);
        build_task(object, json_get(task->body, "task"), each); /* once: for_each cannot nest */
        task->each = each;
        task->concurrency = integer_of(task->body, "concurrency");
    }
}

static int compare_keys(const void *a, const void *b, void *tasks)
{
    const struct job_task *all = tasks;
    size_t first = *(const size_t *)a;
    size_t second = *(const size_t *)b;
    int order = strcmp(all[first].key, all[second].key);
    return order != 0 ? order : (first > second) - (first < second);
}

static void index_keys(struct definition_object *object, struct job_task *tasks,
                       struct definition_problems *problems)
{
    size_t count = object->definition.tasks_count;
    object->by_key = take(object, count, sizeof *object->by_key);
    for (size_t i = 0; i < count; i++) {
        object->by_key[i] = i;
    }
    qsort_r(object->by_key, count, sizeof *object->by_key, compare_keys, tasks);
    for (size_t i = 1; i < count; i++) {
        const char *key = tasks[object->by_key[i]].key;
        if (key[0] != '\0' && strcmp(tasks[object->by_key[i - 1]].key, key) == 0) {
            tell(problems, "duplicate", "another task has the same key; keys name tasks",
                 "/tasks/%zu/task_key", object->by_key[i]);
        }
    }
}

/* ---- dependencies ---- */

static void build_dependency(struct definition_object *object, size_t at, size_t place,
                             const struct json *json, struct job_dependency *dependencies,
                             size_t *count, struct definition_problems *problems)
{
    const char *key = text_of(json, "task_key", NULL);
    struct job_dependency dependency = {.task = 0};
    if (key == NULL) {
        return; /* told already */
    }
    if (!job_definition_find(&object->definition, span_of_text(key), &dependency.task)) {
        tell(problems, "unknown_task", "no task has this key", "/tasks/%zu/depends_on/%zu/task_key",
             at, place);
        return;
    }
    for (size_t i = 0; i < *count; i++) {
        if (dependencies[i].task == dependency.task) {
            tell(problems, "duplicate", "the task is depended on already",
                 "/tasks/%zu/depends_on/%zu/task_key", at, place);
            return;
        }
    }
    const char *outcome = text_of(json, "outcome", NULL);
    if (outcome != NULL) {
        dependency.has_outcome = true;
        dependency.outcome = strcmp(outcome, "true") == 0;
        if (object->definition.tasks[dependency.task].type != JOB_TASK_CONDITION) {
            tell(problems, "not_allowed", "only a condition task has an outcome; leave it out",
                 "/tasks/%zu/depends_on/%zu/outcome", at, place);
        }
    }
    dependencies[(*count)++] = dependency;
}

static void build_dependencies(struct definition_object *object, size_t at, const struct json *json,
                               struct job_task *task, struct definition_problems *problems)
{
    const struct json *list = json_get(json, "depends_on");
    struct job_dependency *dependencies = take(object, json_count(list), sizeof *dependencies);
    task->dependencies = dependencies;
    for (size_t i = 0; i < json_count(list); i++) {
        build_dependency(object, at, i, json_at(list, i), dependencies, &task->dependencies_count,
                         problems);
    }
}

/* ---- order ---- */

struct ordering {
    const struct job_task *tasks;
    size_t count;
    size_t *order; /* [count] filled from the front */
    size_t placed;
    bool *done;    /* [count] placed, or told to be on a cycle */
    size_t *cycle; /* [count] scratch */
};

static bool is_ready(const struct ordering *ordering, size_t task)
{
    for (size_t i = 0; i < ordering->tasks[task].dependencies_count; i++) {
        if (!ordering->done[ordering->tasks[task].dependencies[i].task]) {
            return false;
        }
    }
    return true;
}

/* Place every task whose dependencies are done, in the order of the document. */
static void place_ready(struct ordering *ordering)
{
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < ordering->count; i++) {
            if (!ordering->done[i] && is_ready(ordering, i)) {
                ordering->done[i] = true;
                ordering->order[ordering->placed++] = i;
                again = true;
            }
        }
    }
}

static size_t undone_dependency(const struct ordering *ordering, size_t task)
{
    for (size_t i = 0; i < ordering->tasks[task].dependencies_count; i++) {
        size_t dependency = ordering->tasks[task].dependencies[i].task;
        if (!ordering->done[dependency]) {
            return dependency;
        }
    }
    return task; /* not reached: it would be ready */
}

static void append_key(char text[CYCLE_TEXT_BYTES], const char *key)
{
    size_t size = strlen(text);
    (void)snprintf(text + size, CYCLE_TEXT_BYTES - size, "%s'%s'", size > 0 ? " after " : "",
                   key); /* a long cycle is cut */
}

/* A task that is not ready leads, over tasks that are not, to a cycle: name it, and be done. */
static void tell_cycle(struct ordering *ordering, size_t start,
                       struct definition_problems *problems)
{
    size_t task = start;
    for (size_t i = 0; i < ordering->count; i++) {
        task = undone_dependency(ordering, task); /* after so many steps we are on it */
    }
    size_t length = 0;
    char text[CYCLE_TEXT_BYTES] = "";
    append_key(text, ordering->tasks[task].key);
    for (size_t next = task; length == 0 || next != task;) {
        ordering->cycle[length++] = next;
        next = undone_dependency(ordering, next);
        append_key(text, ordering->tasks[next].key);
    }
    definition_problems_add(problems, span_of_text("/tasks"), "cycle",
                            "tasks wait for each other, so none can begin: %s", text);
    for (size_t i = 0; i < length; i++) {
        ordering->done[ordering->cycle[i]] = true;
    }
}

static bool put_in_order(struct definition_object *object, struct definition_problems *problems)
{
    struct ordering ordering = {
        .tasks = object->definition.tasks,
        .count = object->definition.tasks_count,
        .order = take(object, object->definition.tasks_count, sizeof *ordering.order),
        .done = take(object, object->definition.tasks_count, sizeof *ordering.done),
        .cycle = take(object, object->definition.tasks_count, sizeof *ordering.cycle),
    };
    place_ready(&ordering);
    bool ordered = ordering.placed == ordering.count;
    for (size_t i = 0; i < ordering.count; i++) {
        if (!ordering.done[i]) {
            tell_cycle(&ordering, i, problems);
            place_ready(&ordering);
        }
    }
    object->definition.order = ordering.order;
    return ordered;
}

/* ---- when it runs ---- */

static void build_schedule(struct definition_object *object)
{
    const struct json *json = json_get(object->json, "schedule");
    const char *catch_up = text_of(json, "catch_up", "");
    object->definition.has_schedule = json != NULL;
    object->definition.schedule = (struct definition_schedule){
        .cron = text_of(json, "quartz_cron_expression", NULL),
        .every_seconds = integer_of(json, "every_seconds"),
        .timezone_id = text_of(json, "timezone_id", "UTC"),
        .paused = is_paused(json),
        .catch_up = strcmp(catch_up, "none") == 0  ? CATCH_UP_NONE
                    : strcmp(catch_up, "all") == 0 ? CATCH_UP_ALL
                                                   : CATCH_UP_LAST,
    };
}

static uint32_t results_of(const struct json *list)
{
    uint32_t results = 0;
    for (size_t i = 0; i < json_count(list); i++) {
        enum run_result result = RESULT_NONE;
        struct span name = {0};
        if (json_as_string(json_at(list, i), &name) && run_result_parse(name, &result)) {
            results |= UINT32_C(1) << result;
        }
    }
    return results;
}

static void build_trigger(struct definition_object *object, const struct json *json,
                          struct definition_trigger *trigger)
{
    const struct json *update = json_get(json, "table_update");
    const struct json *arrival = json_get(json, "file_arrival");
    const struct json *finished = json_get(json, "job_finished");
    trigger->paused = is_paused(json);
    if (update != NULL) {
        const struct json *list = json_get(update, "tables");
        const char **tables = take(object, json_count(list), sizeof *tables);
        trigger->type = JOB_TRIGGER_TABLE_UPDATE;
        trigger->tables = tables;
        for (size_t i = 0; i < json_count(list); i++) {
            const char *table = json_text(json_at(list, i));
            tables[trigger->tables_count++] = table != NULL ? table : "";
        }
        trigger->all_updated = strcmp(text_of(update, "condition", ""), "ALL_UPDATED") == 0;
        trigger->min_interval_us = integer_of(update, "min_interval_seconds") * 1000000;
    } else if (arrival != NULL) {
        trigger->type = JOB_TRIGGER_FILE_ARRIVAL;
        trigger->path = text_of(arrival, "path", "");
        trigger->glob = text_of(arrival, "glob", "*");
        trigger->settle_us = integer_of(arrival, "settle_seconds") * 1000000;
    } else if (finished != NULL) {
        trigger->type = JOB_TRIGGER_JOB_FINISHED;
        trigger->job_id = integer_of(finished, "job_id");
        trigger->results = results_of(json_get(finished, "results"));
    } else {
        trigger->type = JOB_TRIGGER_CONTINUOUS;
    }
}

static void build_triggers(struct definition_object *object)
{
    const struct json *list = json_get(object->json, "triggers");
    struct definition_trigger *triggers = take(object, json_count(list), sizeof *triggers);
    object->definition.triggers = triggers;
    object->definition.triggers_count = json_count(list);
    for (size_t i = 0; i < json_count(list); i++) {
        build_trigger(object, json_at(list, i), &triggers[i]);
    }
}

/* ---- the rest ---- */

static void build_parameters(struct definition_object *object, struct definition_problems *problems)
{
    const struct json *list = json_get(object->json, "parameters");
    struct definition_parameter *parameters = take(object, json_count(list), sizeof *parameters);
    object->definition.parameters = parameters;
    object->definition.parameters_count = json_count(list);
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *json = json_at(list, i);
        parameters[i].name = text_of(json, "name", "");
        parameters[i].default_value = json_get(json, "default");
        for (size_t j = 0; j < i; j++) {
            if (parameters[i].name[0] != '\0' &&
                strcmp(parameters[i].name, parameters[j].name) == 0) {
                tell(problems, "duplicate", "another parameter has the same name",
                     "/parameters/%zu/name", i);
            }
        }
    }
}

static void build_tags(struct definition_object *object)
{
    const struct json *map = json_get(object->json, "tags");
    struct definition_tag *tags = take(object, json_count(map), sizeof *tags);
    const char *name = NULL;
    const struct json *value = NULL;
    for (size_t at = 0; json_member(map, &at, &name, &value);) {
        const char *text = json_text(value);
        tags[object->definition.tags_count++] =
            (struct definition_tag){.name = name, .value = text != NULL ? text : ""};
    }
    object->definition.tags = tags;
}

static void build_webhooks(struct definition_object *object)
{
    static const char *const names[JOB_EVENT_COUNT] = {
        [JOB_EVENT_START] = "on_start",
        [JOB_EVENT_SUCCESS] = "on_success",
        [JOB_EVENT_FAILURE] = "on_failure",
        [JOB_EVENT_DURATION] = "on_duration_warning_threshold_exceeded",
    };
    for (size_t event = 0; event < JOB_EVENT_COUNT; event++) {
        const struct json *list =
            json_get(json_get(object->json, "webhook_notifications"), names[event]);
        struct definition_webhook *webhooks = take(object, json_count(list), sizeof *webhooks);
        object->definition.webhooks[event] = webhooks;
        object->definition.webhooks_count[event] = json_count(list);
        for (size_t i = 0; i < json_count(list); i++) {
            webhooks[i].url = text_of(json_at(list, i), "url", "");
            webhooks[i].secret = text_of(json_at(list, i), "secret", NULL);
        }
    }
}

static void build_health(struct definition_object *object)
{
    const struct json *rules = json_get(json_get(object->json, "health"), "rules");
    for (size_t i = 0; i < json_count(rules); i++) {
        int64_t limit_us = integer_of(json_at(rules, i), "value") * 1000000;
        int64_t *lowest = &object->definition.duration_warning_us;
        *lowest = *lowest == 0 || limit_us < *lowest ? limit_us : *lowest;
    }
}

void definition_build(struct definition_object *object, struct definition_problems *problems,
                      bool *ordered_out)
{
    struct job_definition *definition = &object->definition;
    const struct json *json = object->json;
    definition->json = json;
    definition->name = text_of(json, "name", "");
    definition->description = text_of(json, "description", "");
    definition->max_concurrent_runs = integer_of(json, "max_concurrent_runs");
    definition->queue_enabled = boolean_of(json_get(json, "queue"), "enabled");
    definition->timeout_us = integer_of(json, "timeout_seconds") * 1000000;
    definition->run_as = text_of(json_get(json, "run_as"), "principal", NULL);
    build_parameters(object, problems);
    build_schedule(object);
    build_triggers(object);
    build_tags(object);
    build_webhooks(object);
    build_health(object);

    const struct json *list = json_get(json, "tasks");
    struct job_task *tasks = take(object, json_count(list), sizeof *tasks);
    definition->tasks = tasks;
    definition->tasks_count = json_count(list);
    for (size_t i = 0; i < json_count(list); i++) {
        build_task(object, json_at(list, i), &tasks[i]);
    }
    index_keys(object, tasks, problems);
    for (size_t i = 0; i < json_count(list); i++) {
        build_dependencies(object, i, json_at(list, i), &tasks[i], problems);
    }
    *ordered_out = put_in_order(object, problems);
}
