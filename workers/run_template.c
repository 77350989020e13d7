/*
 * What the references in a task's body stand for, in one run. See template.h.
 */
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "workers/runner_private.h"

#include <assert.h>
#include <string.h>

struct scope {
    struct active_run *run;
    const struct graph_node *node;
};

enum { NAME_BYTES_MAX = DEFINITION_KEY_BYTES_MAX + 1 };

/* A reference's word as text; the parser took no longer one. */
static void copy_word(struct span word, char text_out[NAME_BYTES_MAX])
{
    assert(word.size < NAME_BYTES_MAX);
    memcpy(text_out, word.data, word.size);
    text_out[word.size] = '\0';
}

static enum err_code no_value(const struct template_reference *reference, const char *why,
                              struct err *err)
{
    return err_set(err, ERR_INVALID, "{{%.*s}}: %s", SPAN_PRINT(reference->text), why);
}

static enum err_code resolve_task(const struct scope *scope,
                                  const struct template_reference *reference,
                                  struct json **value_out, struct err *err)
{
    const struct active_run *run = scope->run;
    size_t task = 0;
    if (!job_definition_find(run->definition, reference->key, &task)) {
        return no_value(reference, "there is no such task", err);
    }
    const struct graph_node *node = graph_node_at(run->graph, task);
    if (node->state != TASK_TERMINATED) {
        return no_value(reference, "the task has not ended; add it to depends_on", err);
    }
    if (reference->kind == TEMPLATE_TASK_RESULT) {
        *value_out = json_new_text(run_result_name(node->result));
        return ERR_OK;
    }
    char name[NAME_BYTES_MAX];
    copy_word(reference->name, name);
    const struct json *value = json_get(run_extra(run, task)->values, name);
    if (value == NULL) {
        return err_set(err, ERR_INVALID, "{{%.*s}}: the task ended %s and left no such value",
                       SPAN_PRINT(reference->text), run_result_name(node->result));
    }
    *value_out = json_duplicate(value);
    return ERR_OK;
}

static enum err_code resolve_parameter(const struct scope *scope,
                                       const struct template_reference *reference,
                                       struct json **value_out, struct err *err)
{
    char name[NAME_BYTES_MAX];
    copy_word(reference->name, name);
    const struct json *value = json_get(scope->run->parameters, name);
    if (value == NULL) {
        return no_value(reference, "the job has no such parameter", err);
    }
    *value_out = json_duplicate(value);
    return ERR_OK;
}

/* "field.field" below the input. */
static enum err_code resolve_input(const struct scope *scope,
                                   const struct template_reference *reference,
                                   struct json **value_out, struct err *err)
{
    const struct json *value = NULL;
    if (scope->node->iteration < 0) {
        return no_value(reference, "only the task inside a for_each has an input", err);
    }
    TRY(control_input(scope->run, scope->node, &value, err));
    struct span rest = reference->name;
    while (rest.size > 0) {
        const uint8_t *dot = memchr(rest.data, '.', rest.size);
        size_t size = dot != NULL ? (size_t)(dot - rest.data) : rest.size;
        char name[NAME_BYTES_MAX];
        copy_word(span_of(rest.data, size), name);
        value = json_get(value, name);
        if (value == NULL) {
            return no_value(reference, "the input has no such field", err);
        }
        size += dot != NULL;
        rest = span_of(rest.data + size, rest.size - size);
    }
    *value_out = json_duplicate(value);
    return ERR_OK;
}

static struct json *time_text(int64_t us)
{
    char text[TEXT_TIMESTAMP_BYTES];
    size_t size = text_format_timestamp(us, text);
    return json_new_string(span_of(text, size));
}

static enum err_code resolve(void *arg, const struct template_reference *reference,
                             struct json **value_out, struct err *err)
{
    const struct scope *scope = arg;
    switch (reference->kind) {
    case TEMPLATE_TASK_VALUE:
    case TEMPLATE_TASK_RESULT:
        return resolve_task(scope, reference, value_out, err);
    case TEMPLATE_JOB_PARAMETER:
        return resolve_parameter(scope, reference, value_out, err);
    case TEMPLATE_INPUT:
        return resolve_input(scope, reference, value_out, err);
    case TEMPLATE_JOB_ID:
        *value_out = json_new_integer(scope->run->job_id);
        return ERR_OK;
    case TEMPLATE_RUN_ID:
        *value_out = json_new_integer(scope->run->run_id);
        return ERR_OK;
    case TEMPLATE_RUN_TRIGGER_TIME:
        *value_out = time_text(scope->run->trigger_time_us);
        return ERR_OK;
    case TEMPLATE_RUN_START_TIME:
        *value_out = time_text(scope->run->started_us);
        return ERR_OK;
    case TEMPLATE_SECRET:
        break;
    }
    return no_value(reference, "a secret cannot be used here", err);
}

enum err_code run_expand(struct active_run *run, const struct graph_node *node,
                         const struct json *value, const char *mark, struct json **value_out,
                         struct err *err)
{
    struct scope scope = {.run = run, .node = node};
    struct template_scope template = {.resolve = resolve, .arg = &scope};
    assert(strlen(mark) < sizeof template.mark);
    memcpy(template.mark, mark, strlen(mark) + 1);
    return template_expand(value, &template, value_out, err);
}
