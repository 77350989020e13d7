/*
 * job_definition_parse on any JSON: it takes it or says why not, and what it takes has a
 * canonical form that reads back as itself. Then the graph of it is run to its end.
 */
#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "storage/jobs/definition.h"
#include "storage/jobs/graph.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_canonical(const struct job_definition *definition, struct buffer *text)
{
    buffer_init(text, DEFINITION_BYTES_MAX);
    json_write(definition->json, text);
    if (text->overflowed) {
        abort();
    }
}

static void read_back(const struct job_definition *definition)
{
    CLEANUP(job_definition_release) const struct job_definition *again = NULL;
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(buffer_deinit) struct buffer other;
    struct err err = {0};
    write_canonical(definition, &text);
    buffer_init(&other, 0);
    if (job_definition_read(buffer_span(&text), &again, &err) != ERR_OK) {
        abort();
    }
    write_canonical(again, &other);
    if (!span_equal(buffer_span(&text), buffer_span(&other))) {
        abort();
    }
}

/* Every task succeeds; loops run over two inputs. */
static void run_graph(const struct job_definition *definition)
{
    CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
    struct err err = {0};
    graph_advance(graph, 1);
    for (size_t i = 0; i < graph_nodes_count(graph); i++) {
        const struct graph_node *node = graph_node_at(graph, i);
        const struct job_task *task = &definition->tasks[node->task];
        if (node->state != TASK_QUEUED) {
            continue;
        }
        bool condition = task->type == JOB_TASK_CONDITION;
        const struct graph_end end = {.result = RESULT_SUCCESS,
                                      .outcome = condition ? "true" : NULL};
        graph_begin(graph, i, 1);
        if (task->type == JOB_TASK_FOR_EACH && node->iteration < 0) {
            if (graph_expand(graph, i, 2, &err) != ERR_OK) {
                abort();
            }
        } else {
            graph_end(graph, i, &end, 2);
        }
        graph_advance(graph, 2);
        i = (size_t)-1; /* from the front again */
    }
    graph_check(graph);
    if (!graph_is_finished(graph)) {
        abort();
    }
    (void)graph_result(graph); /* asserts what it needs */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    struct err err = {0};
    if (size == 0 || json_parse(span_of(data + 1, size - 1), &json, &err) != ERR_OK) {
        return 0;
    }
    const struct job_parse_options options = {.one_off = (data[0] & 1) != 0};
    enum err_code code = job_definition_parse(json, &options, &problems, &definition, &err);
    if ((code == ERR_OK) != (definition != NULL) || (code == ERR_INVALID) != (problems.count > 0)) {
        abort();
    }
    if (definition != NULL) {
        read_back(definition);
        if (definition->tasks_count <= 50) {
            run_graph(definition);
        }
    }
    return 0;
}
