/*
 * A walk over the jobs that start each other. See definition_starts.h.
 */
#include "storage/jobs/definition_starts.h"

#include "storage/base/mem.h"

struct walk {
    const struct job_definition *definition;
    const struct job_world *world;
    int64_t *ids; /* each once, in the order they were met */
    size_t count;
    size_t capacity;
};

static void walk_deinit(struct walk *walk)
{
    mem_free(walk->ids);
}

static void meet(struct walk *walk, int64_t id)
{
    for (size_t i = 0; i < walk->count; i++) {
        if (walk->ids[i] == id) {
            return;
        }
    }
    if (walk->count == walk->capacity) {
        walk->capacity = walk->capacity == 0 ? 16 : walk->capacity * 2;
        walk->ids = mem_resize(walk->ids, walk->capacity, sizeof *walk->ids);
    }
    walk->ids[walk->count++] = id;
}

static void meet_all(struct walk *walk, const int64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        meet(walk, ids[i]);
    }
}

/* The jobs that a run of `id` starts while it goes on. */
static enum err_code meet_run_by(struct walk *walk, int64_t id, struct err *err)
{
    CLEANUP(mem_cleanup) int64_t *ids = NULL;
    size_t count = 0;
    if (id == walk->world->job_id) {
        ids = job_definition_jobs_run(walk->definition, &count);
    } else {
        TRY(walk->world->jobs_run_by(walk->world->arg, id, &ids, &count, err));
    }
    meet_all(walk, ids, count);
    return ERR_OK;
}

/* The jobs that start when a run of `id` has ended; of our own, what was stored is no longer so. */
static enum err_code meet_awaiting(struct walk *walk, int64_t id, struct err *err)
{
    CLEANUP(mem_cleanup) int64_t *ids = NULL;
    size_t count = 0;
    TRY(walk->world->jobs_awaiting(walk->world->arg, id, &ids, &count, err));
    for (size_t i = 0; i < count; i++) {
        if (ids[i] != walk->world->job_id) {
            meet(walk, ids[i]);
        }
    }
    CLEANUP(mem_cleanup)
    int64_t *awaited = job_definition_jobs_awaited(walk->definition, &count);
    for (size_t i = 0; i < count; i++) {
        if (awaited[i] == id) {
            meet(walk, walk->world->job_id);
        }
    }
    return ERR_OK;
}

enum err_code definition_leads_to(const struct job_definition *definition,
                                  const struct job_world *world, int64_t from, int64_t to,
                                  bool *leads_out, struct err *err)
{
    CLEANUP(walk_deinit) struct walk walk = {.definition = definition, .world = world};
    meet(&walk, from);
    for (size_t i = 0; i < walk.count; i++) {
        if (walk.ids[i] == to) {
            *leads_out = true;
            return ERR_OK;
        }
        TRY(meet_run_by(&walk, walk.ids[i], err));
        TRY(meet_awaiting(&walk, walk.ids[i], err));
    }
    *leads_out = false;
    return ERR_OK;
}
