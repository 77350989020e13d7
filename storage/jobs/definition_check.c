/*
 * The checks over a whole definition: what templates refer to, and what only the
 * outside knows. See definition_build.h.
 */
#include "storage/jobs/definition_build.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "storage/jobs/definition_problem.h"
#include "storage/jobs/definition_starts.h"
#include "storage/jobs/template.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum { POINTER_BYTES_MAX = 64 << 10 };

struct checker {
    const struct job_definition *definition;
    const struct job_world *world; /* NULL: none */
    struct definition_problems *problems;
    struct buffer pointer;
    bool *upstream; /* [tasks * tasks] row t: what t waits for; NULL with a cycle */
};

static void tell(struct checker *checker, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(struct checker *checker, const char *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    definition_problems_add_list(checker->problems, buffer_span(&checker->pointer), code, format,
                                 arguments);
    va_end(arguments);
}

/* Go down; returns the size to come back to with leave(). */
static size_t enter(struct checker *checker, const char *name)
{
    size_t size = checker->pointer.size;
    json_write_pointer(&checker->pointer, name);
    return size;
}

static size_t enter_item(struct checker *checker, const char *name, size_t index)
{
    size_t size = enter(checker, name);
    buffer_append_format(&checker->pointer, "/%zu", index);
    return size;
}

static void leave(struct checker *checker, size_t size)
{
    checker->pointer.size = size;
}

/* ---- templates ---- */

static bool *mark_upstream(const struct job_definition *definition)
{
    size_t count = definition->tasks_count;
    bool *upstream = mem_zeroed(count * count + 1, sizeof *upstream);
    for (size_t i = 0; i < count; i++) {
        size_t task = definition->order[i];
        bool *row = upstream + task * count;
        for (size_t d = 0; d < definition->tasks[task].dependencies_count; d++) {
            size_t dependency = definition->tasks[task].dependencies[d].task;
            row[dependency] = true;
            for (size_t other = 0; other < count; other++) {
                row[other] = row[other] || upstream[dependency * count + other];
            }
        }
    }
    return upstream;
}

/* One string's references, seen from task `task`. */
struct reference_check {
    struct checker *checker;
    size_t task;
    bool has_input; /* inside a for_each */
};

static void check_task_reference(const struct reference_check *check,
                                 const struct template_reference *reference)
{
    struct checker *checker = check->checker;
    const struct job_definition *definition = checker->definition;
    size_t task = 0;
    if (!job_definition_find(definition, reference->key, &task)) {
        tell(checker, "unknown_task", "{{%.*s}}: no task has this key",
             SPAN_PRINT(reference->text));
        return;
    }
    if (checker->upstream != NULL &&
        !checker->upstream[check->task * definition->tasks_count + task]) {
        tell(checker, "template",
             "{{%.*s}}: the task need not have ended by then; add it to depends_on",
             SPAN_PRINT(reference->text));
    }
    enum job_task_type type = definition->tasks[task].type;
    if (reference->kind == TEMPLATE_TASK_VALUE &&
        (type == JOB_TASK_CONDITION || type == JOB_TASK_FOR_EACH)) {
        tell(checker, "template", "{{%.*s}}: a %s task leaves no values",
             SPAN_PRINT(reference->text), job_task_type_name(type));
    }
}

static bool has_parameter(const struct job_definition *definition, struct span name)
{
    for (size_t i = 0; i < definition->parameters_count; i++) {
        if (span_equal_text(name, definition->parameters[i].name)) {
            return true;
        }
    }
    return false;
}

static enum err_code check_secret(struct checker *checker, struct span name, struct err *err)
{
    char text[DEFINITION_KEY_BYTES_MAX + 1] = "";
    assert(name.size < sizeof text);
    (void)memcpy(text, name.data, name.size); /* fits: the parser took a word */
    bool exists = true;
    if (checker->world != NULL) {
        TRY(checker->world->secret_exists(checker->world->arg, text, &exists, err));
    }
    if (!exists) {
        tell(checker, "unknown_secret",
             "there is no secret '%s'; store it with PUT /v1/secrets/%s first", text, text);
    }
    return ERR_OK;
}

static enum err_code check_reference(void *arg, const char *pointer,
                                     const struct template_reference *reference, struct err *err)
{
    struct reference_check *check = arg;
    struct checker *checker = check->checker;
    size_t size = checker->pointer.size;
    buffer_append_text(&checker->pointer, pointer);
    enum err_code code = ERR_OK;
    switch (reference->kind) {
    case TEMPLATE_TASK_VALUE:
    case TEMPLATE_TASK_RESULT:
        check_task_reference(check, reference);
        break;
    case TEMPLATE_JOB_PARAMETER:
        if (!has_parameter(checker->definition, reference->name)) {
            tell(checker, "unknown_parameter",
                 "{{%.*s}}: the job has no such parameter; add it to parameters",
                 SPAN_PRINT(reference->text));
        }
        break;
    case TEMPLATE_INPUT:
        if (!check->has_input) {
            tell(checker, "template", "{{%.*s}}: only the task inside a for_each has an input",
                 SPAN_PRINT(reference->text));
        }
        break;
    case TEMPLATE_SECRET:
        code = check_secret(checker, reference->name, err);
        break;
    case TEMPLATE_JOB_ID:
    case TEMPLATE_RUN_ID:
    case TEMPLATE_RUN_TRIGGER_TIME:
    case TEMPLATE_RUN_START_TIME:
        break;
    }
    leave(checker, size);
    return code;
}

/* Broken ones were told by the walk over the rules. */
static void ignore_broken(void *arg, const char *pointer, const char *message)
{
    (void)arg;
    (void)pointer;
    (void)message;
}

static enum err_code check_references(struct checker *checker, size_t task,
                                      const struct job_task *what, bool has_input, struct err *err)
{
    struct reference_check check = {.checker = checker, .task = task, .has_input = has_input};
    const char *name = NULL;
    const struct json *member = NULL;
    for (size_t at = 0; json_member(what->body, &at, &name, &member);) {
        if (what->type == JOB_TASK_FOR_EACH && strcmp(name, "task") == 0) {
            continue; /* has an input, and is looked at by itself */
        }
        size_t size = enter(checker, name);
        TRY(template_list(member, check_reference, ignore_broken, &check, err));
        leave(checker, size);
    }
    return ERR_OK;
}

/* ---- tables ---- */

static const char *run_as_of(const struct checker *checker)
{
    const char *run_as = checker->definition->run_as;
    return run_as != NULL ? run_as : checker->world->creator;
}

/* May both who run it and who wrote it do this? NULL table: an action without one. */
static enum err_code check_allowed(struct checker *checker, const char *action, const char *table,
                                   bool *allowed_out, struct err *err)
{
    const struct job_world *world = checker->world;
    const char *run_as = run_as_of(checker);
    const char *on = table != NULL ? table : "";
    bool creator = false;
    bool runner = true;
    TRY(world->allows(world->arg, world->creator, action, table, &creator, err));
    if (strcmp(run_as, world->creator) != 0) {
        TRY(world->allows(world->arg, run_as, action, table, &runner, err));
    }
    if (!creator) {
        tell(checker, "forbidden", "you may not %s %s%s%s, so a job of yours may not either",
             action, table != NULL ? "on '" : "here", on, table != NULL ? "'" : "");
    } else if (!runner) {
        tell(checker, "forbidden", "'%s', whom the job runs as, may not %s %s%s%s", run_as, action,
             table != NULL ? "on '" : "here", on, table != NULL ? "'" : "");
    }
    *allowed_out = creator && runner;
    return ERR_OK;
}

/* known_out: it is there, and may be looked at. NULL = not wanted. */
static enum err_code check_table_name(struct checker *checker, const char *table,
                                      const char *action, bool *known_out, struct err *err)
{
    bool allowed = false;
    bool exists = true;
    TRY(check_allowed(checker, action, table, &allowed, err));
    if (allowed) { /* whoever may not look is not told what there is */
        TRY(checker->world->table_exists(checker->world->arg, table, &exists, err));
    }
    if (!exists) {
        tell(checker, "unknown_table", "there is no table '%s'; make it first", table);
    }
    if (known_out != NULL) {
        *known_out = allowed && exists;
    }
    return ERR_OK;
}

/*
 * A table that is only known in the run: run_as is asked then. That it holds no more than the
 * creator can only be known now when it is the creator, or the creator may do it on all tables.
 */
static enum err_code check_table_template(struct checker *checker, const char *action,
                                          struct err *err)
{
    const struct job_world *world = checker->world;
    bool allowed = true;
    if (strcmp(run_as_of(checker), world->creator) != 0) {
        TRY(world->allows(world->arg, world->creator, action, "*", &allowed, err));
    }
    if (!allowed) {
        tell(checker, "forbidden",
             "a table named by a template may be any, and you may not %s on all of them: name the "
             "table, or let the job run as yourself",
             action);
    }
    return ERR_OK;
}

/* known_out as above; a table named by a template is not known. */
static enum err_code check_table(struct checker *checker, const struct json *object,
                                 const char *action, bool *known_out, struct err *err)
{
    const char *table = json_text(json_get(object, "table"));
    if (table == NULL) {
        return ERR_OK;
    }
    size_t size = enter(checker, "table");
    if (strstr(table, "{{") != NULL) {
        TRY(check_table_template(checker, action, err));
    } else {
        TRY(check_table_name(checker, table, action, known_out, err));
    }
    leave(checker, size);
    return ERR_OK;
}

/* ---- the columns of a table ---- */

static enum err_code note_reference(void *arg, const char *pointer,
                                    const struct template_reference *reference, struct err *err)
{
    (void)pointer;
    (void)reference;
    (void)err;
    *(bool *)arg = true;
    return ERR_OK;
}

static void note_broken(void *arg, const char *pointer, const char *message)
{
    (void)pointer;
    (void)message;
    *(bool *)arg = true; /* told already */
}

/*
 * Ask about one part alone, so that each is told, where it stands in the definition.
 *
 *   wrapped  what the answer's pointer begins with: the way to what the checker is at
 */
static enum err_code check_part(struct checker *checker, const struct job_task *task,
                                const struct json *part, const char *wrapped, struct err *err)
{
    bool open = false;
    TRY(template_list(part, note_reference, note_broken, &open, err));
    if (open) {
        return ERR_OK; /* is known in the run only */
    }
    const char *table = json_text(json_get(task->body, "table"));
    enum err_code code =
        checker->world->part_fits(checker->world->arg, task->type, table, part, err);
    if (code != ERR_INVALID) {
        return code;
    }
    const char *end = strstr(err->msg, ": ");
    size_t skip = strlen(wrapped);
    bool points = end != NULL && strncmp(err->msg, wrapped, skip) == 0;
    size_t size = checker->pointer.size;
    if (points) {
        buffer_append(&checker->pointer, err->msg + skip, (size_t)(end - err->msg) - skip);
    }
    tell(checker, "column", "%s", points ? end + 2 : err->msg);
    leave(checker, size);
    err_clear(err);
    return ERR_OK;
}

/* What a part is read with, of the body that it is from. */
static struct json *begin_part(const struct job_task *task)
{
    static const char *const members[] = {"format", "compression"};
    struct json *part = json_new_object();
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const struct json *member = json_get(task->body, members[i]);
        if (member != NULL) {
            json_set(part, members[i], json_duplicate(member));
        }
    }
    return part;
}

static enum err_code check_items(struct checker *checker, const struct job_task *task,
                                 const char *member, const char *wrapped, struct err *err)
{
    const struct json *list = json_get(task->body, member);
    for (size_t i = 0; i < json_count(list); i++) {
        size_t size = enter_item(checker, member, i);
        CLEANUP(json_free) struct json *part = begin_part(task);
        struct json *alone = json_new_array();
        json_append(alone, json_duplicate(json_at(list, i)));
        json_set(part, member, alone);
        TRY(check_part(checker, task, part, wrapped, err));
        leave(checker, size);
    }
    return ERR_OK;
}

/* What the task says of a table that is known by name. */
static enum err_code check_columns(struct checker *checker, const struct job_task *task,
                                   struct err *err)
{
    TRY(check_items(checker, task, "expectations", "/0", err));
    TRY(check_items(checker, task, "filters", "/filters/0", err));
    const struct json *columns = json_get(task->body, "columns");
    if (columns == NULL) {
        return ERR_OK;
    }
    CLEANUP(json_free) struct json *part = begin_part(task);
    json_set(part, "columns", json_duplicate(columns));
    return check_part(checker, task, part, "", err);
}

/* ---- paths ---- */

static enum err_code check_path(struct checker *checker, const char *path, bool writes,
                                struct err *err)
{
    if (path == NULL || strstr(path, "{{") != NULL) {
        return ERR_OK; /* none, or known in the run only */
    }
    enum err_code code = checker->world->path_fits(checker->world->arg, path, writes, err);
    if (code != ERR_FORBIDDEN && code != ERR_INVALID) {
        return code;
    }
    size_t size = enter(checker, "path");
    tell(checker, "path", "%s", err->msg);
    leave(checker, size);
    err_clear(err);
    return ERR_OK;
}

static enum err_code check_paths(struct checker *checker, const struct job_task *task,
                                 struct err *err)
{
    size_t size = enter(checker, "source");
    TRY(check_path(checker, json_text(json_get(json_get(task->body, "source"), "path")), false,
                   err));
    leave(checker, size);
    size = enter(checker, "destination");
    TRY(check_path(checker, json_text(json_get(json_get(task->body, "destination"), "path")), true,
                   err));
    leave(checker, size);
    return ERR_OK;
}

/* ---- what tasks do to tables ---- */

static const char *table_action(enum job_task_type type)
{
    switch (type) {
    case JOB_TASK_INGEST:
        return "batch.post";
    case JOB_TASK_CHECK:
    case JOB_TASK_EXPORT:
        return "rows.read";
    case JOB_TASK_OPTIMIZE:
    case JOB_TASK_VACUUM:
    case JOB_TASK_RESTORE:
        return "table.define";
    case JOB_TASK_HTTP_REQUEST:
    case JOB_TASK_CONDITION:
    case JOB_TASK_FOR_EACH:
    case JOB_TASK_RUN_JOB:
    case JOB_TASK_TYPE_COUNT:
        break;
    }
    return NULL;
}

static enum err_code check_tables(struct checker *checker, const struct job_task *task,
                                  struct err *err)
{
    const char *action = table_action(task->type);
    if (action == NULL) {
        return ERR_OK;
    }
    bool known = false;
    TRY(check_table(checker, task->body, action, &known, err));
    if (known) {
        TRY(check_columns(checker, task, err));
    }
    size_t size = enter(checker, "source");
    TRY(check_table(checker, json_get(task->body, "source"), "rows.read", NULL, err));
    leave(checker, size);
    const struct json *expectations = json_get(task->body, "expectations");
    for (size_t i = 0; i < json_count(expectations); i++) {
        size = enter_item(checker, "expectations", i);
        (void)enter(checker, "references"); /* of a foreign key */
        TRY(check_table(checker, json_get(json_at(expectations, i), "references"), "rows.read",
                        NULL, err));
        leave(checker, size);
    }
    return ERR_OK;
}

/* ---- jobs ---- */

static enum err_code check_job_exists(struct checker *checker, int64_t job_id, bool *exists_out,
                                      struct err *err)
{
    const struct job_world *world = checker->world;
    bool exists = false;
    TRY(world->job_exists(world->arg, job_id, &exists, err));
    if (!exists) {
        tell(checker, "unknown_job", "there is no job %" PRId64, job_id);
    }
    *exists_out = exists;
    return ERR_OK;
}

static enum err_code check_run_job(struct checker *checker, const struct job_task *task,
                                   struct err *err)
{
    if (task->type != JOB_TASK_RUN_JOB || task->job_id == 0) {
        return ERR_OK;
    }
    size_t size = enter(checker, "job_id");
    bool allowed = false;
    bool exists = false;
    bool back = false;
    TRY(check_allowed(checker, "job.run", NULL, &allowed, err));
    TRY(check_job_exists(checker, task->job_id, &exists, err));
    if (exists) {
        TRY(definition_leads_to(checker->definition, checker->world, task->job_id,
                                checker->world->job_id, &back, err));
    }
    if (back) {
        tell(checker, "cycle",
             "job %" PRId64 " starts this job, itself or through others (run_job tasks and "
             "job_finished triggers), so they would start each other without end",
             task->job_id);
    }
    leave(checker, size);
    return ERR_OK;
}

/* ---- a task, the triggers, the rest ---- */

static enum err_code check_pool(struct checker *checker, const struct job_task *task,
                                struct err *err)
{
    bool exists = true;
    TRY(checker->world->pool_exists(checker->world->arg, task->pool, &exists, err));
    if (!exists) {
        size_t size = enter(checker, "pool");
        tell(checker, "unknown_pool",
             "there is no pool '%.100s'; pools are named by the setting "
             "task-pools",
             task->pool);
        leave(checker, size);
    }
    return ERR_OK;
}

static void check_loop(struct checker *checker, const struct job_task *task)
{
    if (task->type == JOB_TASK_FOR_EACH && (task->max_retries != 0 || task->retry_on_timeout)) {
        size_t size = enter(checker, task->max_retries != 0 ? "max_retries" : "retry_on_timeout");
        tell(checker, "not_allowed",
             "what is tried again is the task inside a for_each; say it there");
        leave(checker, size);
    }
}

static enum err_code check_task(struct checker *checker, size_t index, const struct job_task *task,
                                bool has_input, struct err *err)
{
    check_loop(checker, task);
    if (checker->world != NULL) {
        TRY(check_pool(checker, task, err));
    }
    size_t size = enter(checker, job_task_type_name(task->type));
    TRY(check_references(checker, index, task, has_input, err));
    if (checker->world != NULL) {
        TRY(check_tables(checker, task, err));
        TRY(check_paths(checker, task, err));
        TRY(check_run_job(checker, task, err));
    }
    if (task->each != NULL && task->each->body != NULL) {
        size_t outer = enter(checker, "task");
        TRY(check_task(checker, index, task->each, true, err)); /* once: for_each cannot nest */
        leave(checker, outer);
    }
    leave(checker, size);
    return ERR_OK;
}

static enum err_code check_job_finished(struct checker *checker, int64_t job_id, struct err *err)
{
    const struct job_world *world = checker->world;
    bool known = false;
    bool back = false;
    size_t size = enter(checker, "job_finished");
    (void)enter(checker, "job_id");
    TRY(check_allowed(checker, "job.read", NULL, &known, err));
    TRY(check_job_exists(checker, job_id, &known, err));
    if (known) {
        TRY(definition_leads_to(checker->definition, world, world->job_id, job_id, &back, err));
    }
    if (back) {
        tell(checker, "cycle",
             "this job starts job %" PRId64 ", itself or through others (run_job tasks and "
             "job_finished triggers), so they would start each other without end; a job that goes "
             "on for ever is `continuous`",
             job_id);
    }
    leave(checker, size);
    return ERR_OK;
}

static enum err_code check_trigger(struct checker *checker,
                                   const struct definition_trigger *trigger, struct err *err)
{
    if (trigger->type == JOB_TRIGGER_JOB_FINISHED && trigger->job_id != 0) {
        TRY(check_job_finished(checker, trigger->job_id, err));
    }
    if (trigger->type == JOB_TRIGGER_FILE_ARRIVAL) {
        size_t size = enter(checker, "file_arrival");
        TRY(check_path(checker, trigger->path, false, err));
        leave(checker, size);
    }
    for (size_t i = 0; i < trigger->tables_count; i++) {
        if (trigger->tables[i][0] != '\0') {
            size_t size = enter(checker, "table_update");
            (void)enter_item(checker, "tables", i);
            TRY(check_table_name(checker, trigger->tables[i], "table.read", NULL, err));
            leave(checker, size);
        }
    }
    return ERR_OK;
}

static void check_starts(struct checker *checker)
{
    const struct job_definition *definition = checker->definition;
    bool continuous = false;
    for (size_t i = 0; i < definition->triggers_count; i++) {
        continuous = continuous || definition->triggers[i].type == JOB_TRIGGER_CONTINUOUS;
    }
    if (continuous && (definition->triggers_count > 1 || definition->has_schedule)) {
        size_t size = enter(checker, "triggers");
        tell(checker, "not_allowed",
             "a continuous job is always running; leave the schedule and other triggers out");
        leave(checker, size);
    }
    bool by_itself = definition->has_schedule || definition->triggers_count > 0;
    for (size_t i = 0; by_itself && i < definition->parameters_count; i++) {
        if (definition->parameters[i].default_value == NULL) {
            size_t size = enter_item(checker, "parameters", i);
            tell(checker, "missing",
                 "a job that starts by itself needs a default for every parameter");
            leave(checker, size);
        }
    }
}

static enum err_code check_run_as(struct checker *checker, struct err *err)
{
    const char *run_as = checker->definition->run_as;
    bool exists = true;
    if (run_as != NULL) {
        TRY(checker->world->principal_exists(checker->world->arg, run_as, &exists, err));
    }
    if (!exists) {
        size_t size = enter(checker, "run_as");
        (void)enter(checker, "principal");
        tell(checker, "unknown_principal", "there is no principal '%.128s'", run_as);
        leave(checker, size);
    }
    return ERR_OK;
}

static enum err_code check_webhooks(struct checker *checker, struct err *err)
{
    const struct json *notifications = json_get(checker->definition->json, "webhook_notifications");
    struct reference_check check = {.checker = checker};
    size_t size = enter(checker, "webhook_notifications");
    TRY(template_list(notifications, check_reference, ignore_broken, &check, err));
    leave(checker, size);
    return ERR_OK;
}

static enum err_code check_all(struct checker *checker, struct err *err)
{
    const struct job_definition *definition = checker->definition;
    check_starts(checker);
    if (checker->world != NULL) {
        TRY(check_run_as(checker, err));
    }
    for (size_t i = 0; i < definition->tasks_count; i++) {
        size_t size = enter_item(checker, "tasks", i);
        if (definition->tasks[i].body != NULL) {
            TRY(check_task(checker, i, &definition->tasks[i], false, err));
        }
        leave(checker, size);
    }
    for (size_t i = 0; checker->world != NULL && i < definition->triggers_count; i++) {
        size_t size = enter_item(checker, "triggers", i);
        TRY(check_trigger(checker, &definition->triggers[i], err));
        leave(checker, size);
    }
    return check_webhooks(checker, err);
}

enum err_code definition_check(const struct definition_object *object, bool ordered,
                               const struct job_world *world, struct definition_problems *problems,
                               struct err *err)
{
    struct checker checker = {
        .definition = &object->definition,
        .world = world,
        .problems = problems,
        .upstream = ordered ? mark_upstream(&object->definition) : NULL,
    };
    buffer_init(&checker.pointer, POINTER_BYTES_MAX);
    enum err_code code = check_all(&checker, err);
    buffer_deinit(&checker.pointer);
    mem_free(checker.upstream);
    return code;
}
