/*
 * Reports of checks. See task_report.h.
 */
#include "workers/task_report.h"

#include "storage/base/buffer.h"

static void add_measures(const struct expectation *expectation, const struct check_finding *finding,
                         struct json *entry)
{
    if (expectation->type == EXPECTATION_ROW_COUNT) {
        json_set_integer(entry, "rows", finding->rows);
        if (finding->earlier_rows >= 0) {
            json_set_integer(entry, "earlier_version", finding->earlier_version);
            json_set_integer(entry, "earlier_rows", finding->earlier_rows);
        }
    }
    if (expectation->type == EXPECTATION_FRESHNESS) {
        json_set(entry, "age_seconds",
                 finding->age_seconds >= 0 ? json_new_integer(finding->age_seconds)
                                           : json_new_null());
    }
}

static struct json *entry_of(const struct expectation *expectation,
                             const struct check_finding *finding)
{
    struct json *entry = json_new_object();
    json_set_text(entry, "name", expectation->name);
    json_set_text(entry, "type", expectation_type_name(expectation->type));
    json_set_text(entry, "action", expectation_action_name(expectation->action));
    json_set_integer(entry, "judged", finding->judged);
    json_set_integer(entry, "violations", finding->violations);
    add_measures(expectation, finding, entry);
    return entry;
}

/* Where rows fell short: a data file and the row in it. */
static struct json *examples_of(const struct schema *schema, const struct check_finding *finding)
{
    struct json *examples = json_new_array();
    for (size_t i = 0; i < finding->examples_count; i++) {
        struct json *example = json_new_object();
        json_set_text(example, "file", finding->examples[i].file);
        json_set_integer(example, "row", finding->examples[i].row);
        CLEANUP(buffer_deinit) struct buffer pointer;
        buffer_init(&pointer, 2 * SCHEMA_FOREIGN_NAME_BYTES_MAX + 2);
        json_write_pointer(&pointer, schema->fields[finding->examples[i].column].name);
        json_set(example, "pointer", json_new_string(buffer_span(&pointer)));
        json_append(examples, example);
    }
    return examples;
}

static size_t size_of(const struct json *value)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, TASK_REPORT_BYTES_MAX);
    json_write(value, &text);
    return text.overflowed ? TASK_REPORT_BYTES_MAX : text.size;
}

static struct json *results_of(const struct schema *schema, const struct expectations *list,
                               const struct check_result *result)
{
    struct json *results = json_new_array();
    size_t size = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct json *entry = entry_of(&list->items[i], &result->findings[i]);
        size += size_of(entry);
        json_append(results, entry);
    }
    for (size_t i = 0; i < list->count; i++) {
        if (result->findings[i].examples_count == 0) {
            continue;
        }
        struct json *examples = examples_of(schema, &result->findings[i]);
        size += size_of(examples);
        if (size > TASK_REPORT_BYTES_MAX) { /* the counts are there, and they are what counts */
            json_free(&examples);
            break;
        }
        /* borrowed from the list that was just built */
        json_set((struct json *)(uintptr_t)json_at(results, i), "examples", examples);
    }
    return results;
}

void task_report_check(struct task_attempt *attempt, const struct snapshot *snapshot,
                       const struct expectations *list, const struct check_result *result,
                       int64_t removed, int64_t kept)
{
    int64_t violations = 0;
    for (size_t i = 0; i < list->count; i++) {
        violations += result->findings[i].violations;
    }
    const struct task_progress progress = {.rows_in = result->rows_judged,
                                           .rows_rejected = removed};
    task_set_progress(attempt, &progress);
    task_set_value(attempt, "passed", json_new_boolean(violations == 0));
    task_set_value(attempt, "version", json_new_integer(snapshot->version));
    task_set_value(attempt, "rows_judged", json_new_integer(result->rows_judged));
    task_set_value(attempt, "rows_removed", json_new_integer(removed));
    task_set_value(attempt, "rows_kept", json_new_integer(kept));
    task_set_value(attempt, "violations", json_new_integer(violations));
    task_set_value(attempt, "results", results_of(snapshot->schema, list, result));
}
