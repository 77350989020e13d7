/*
 * From canonical JSON to struct job_definition, and the checks over the whole.
 * Private to the room.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/jobs/definition.h"

#include <stdatomic.h>

/* A definition with what holds it; texts are borrowed from `json`. */
struct definition_object {
    struct job_definition definition; /* first: what callers hold points here */
    _Atomic int64_t references;
    struct arena arena; /* every array */
    struct json *json;  /* canonical */
    size_t *by_key;     /* [tasks] task indexes in order of key */
};

/*
 * Fill the arrays from the canonical JSON, which may have gaps where something was wrong.
 * Dependencies are resolved and ordered; what does not fit is told.
 *
 *   ordered_out  every task has its place: there is no cycle
 */
void definition_build(struct definition_object *object, struct definition_problems *problems,
                      bool *ordered_out);

/*
 * References of templates, and, with a world, everything that it knows.
 *
 *   ordered  dependencies have no cycle
 *
 * Errors:  those of the world's functions.
 */
enum err_code definition_check(const struct definition_object *object, bool ordered,
                               const struct job_world *world, struct definition_problems *problems,
                               struct err *err) MUST_USE;
