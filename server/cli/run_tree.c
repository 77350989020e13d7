/*
 * The order of a run's tasks. See run_tree.h for the contract.
 */
#include "server/cli/run_tree.h"

#include "server/cli/command.h"
#include "storage/base/mem.h"

#include <assert.h>
#include <string.h>

/* A task by its key. */
struct named {
    const char *key;
    size_t index;
};

static int compare_named(const void *a, const void *b)
{
    const struct named *x = a;
    const struct named *y = b;
    return strcmp(x->key, y->key);
}

bool run_tree_is_iteration(const struct json *task)
{
    int64_t iteration = -1;
    return json_as_integer(json_get(task, "iteration"), &iteration) && iteration >= 0;
}

/* The task of this key; `count` when there is none. */
static size_t find(const struct run_tree *tree, const struct named *names, size_t names_count,
                   const char *key)
{
    const struct named wanted = {.key = key};
    const struct named *found =
        names_count > 0 ? bsearch(&wanted, names, names_count, sizeof *names, compare_named) : NULL;
    return found != NULL ? found->index : tree->count;
}

/* The deepest task that `task` waits for; `count` when there is none. */
static size_t deepest_dependency(const struct run_tree *tree, const struct named *names,
                                 size_t names_count, const struct json *task)
{
    size_t deepest = tree->count;
    const struct json *dependencies = json_get(task, "depends_on");
    for (size_t i = 0; i < json_count(dependencies); i++) {
        size_t other =
            find(tree, names, names_count, command_text(json_at(dependencies, i), "task_key"));
        if (other != tree->count &&
            (deepest == tree->count || tree->level[other] >= tree->level[deepest])) {
            deepest = other;
        }
    }
    return deepest;
}

/*
 * Levels first: a task is one deeper than the deepest it waits for, found by passes until
 * nothing changes (one and a last, when dependencies stand before what waits for them). A graph
 * with a cycle, which no server accepts, is shown flat.
 */
static void find_parents(struct run_tree *tree, const struct named *names, size_t names_count)
{
    bool changed = true;
    for (size_t pass = 0; changed && pass <= tree->count; pass++) {
        changed = false;
        for (size_t i = 0; i < tree->count; i++) {
            const struct json *task = json_at(tree->tasks, i);
            size_t parent = run_tree_is_iteration(task)
                                ? find(tree, names, names_count, command_text(task, "task_key"))
                                : deepest_dependency(tree, names, names_count, task);
            size_t level = parent != tree->count ? tree->level[parent] + 1 : 0;
            changed = changed || level != tree->level[i];
            tree->level[i] = level;
            tree->parent[i] = parent;
        }
    }
    for (size_t i = 0; changed && i < tree->count; i++) {
        tree->parent[i] = tree->count;
    }
}

static void link_children(struct run_tree *tree)
{
    size_t none = tree->count;
    for (size_t i = 0; i <= tree->count; i++) {
        tree->first[i] = none;
        tree->last[i] = none;
    }
    for (size_t i = 0; i < tree->count; i++) {
        size_t parent = tree->parent[i];
        tree->next[i] = none;
        if (tree->last[parent] == none) {
            tree->first[parent] = i;
        } else {
            tree->next[tree->last[parent]] = i;
        }
        tree->last[parent] = i;
    }
}

/* Rows in the order of a walk that goes down first. */
static void order_rows(struct run_tree *tree)
{
    size_t none = tree->count;
    size_t level = 0;
    size_t at = tree->first[none];
    while (at != none) {
        assert(tree->rows_count < tree->count);
        tree->rows[tree->rows_count++] =
            (struct run_tree_row){json_at(tree->tasks, at), level, false};
        if (tree->first[at] != none) {
            at = tree->first[at];
            level++;
            continue;
        }
        while (tree->next[at] == none && tree->parent[at] != none) {
            at = tree->parent[at];
            level--;
        }
        at = tree->next[at];
    }
}

void run_tree_init(struct run_tree *tree, const struct json *run)
{
    *tree = (struct run_tree){.tasks = json_get(run, "tasks")};
    tree->count = json_count(tree->tasks);
    tree->level = mem_zeroed(tree->count + 1, sizeof *tree->level);
    tree->parent = mem_zeroed(tree->count + 1, sizeof *tree->parent);
    tree->first = mem_zeroed(tree->count + 1, sizeof *tree->first);
    tree->next = mem_zeroed(tree->count + 1, sizeof *tree->next);
    tree->last = mem_zeroed(tree->count + 1, sizeof *tree->last);
    tree->rows = mem_zeroed(tree->count + 1, sizeof *tree->rows);
    CLEANUP(mem_cleanup) struct named *names = mem_zeroed(tree->count + 1, sizeof *names);
    size_t names_count = 0;
    for (size_t i = 0; i < tree->count; i++) {
        const struct json *task = json_at(tree->tasks, i);
        if (!run_tree_is_iteration(task)) {
            names[names_count++] = (struct named){command_text(task, "task_key"), i};
        }
    }
    qsort(names, names_count, sizeof *names, compare_named);
    find_parents(tree, names, names_count);
    link_children(tree);
    order_rows(tree);
}

void run_tree_deinit(struct run_tree *tree)
{
    mem_free(tree->level);
    mem_free(tree->parent);
    mem_free(tree->first);
    mem_free(tree->next);
    mem_free(tree->last);
    mem_free(tree->rows);
    *tree = (struct run_tree){0};
}
