/*
 * What handlers of jobs and runs need to be called without a server: catalog, audit
 * trail, keys, a waiting room, and exchanges of the administrator.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/services.h"
#include "storage/base/json.h"
#include "storage/catalog/access.h"
#include "storage/catalog/runs.h"
#include "tests/support/temp_dir.h"

#include <stdint.h>

struct job_stage {
    struct temp_dir dir;
    struct secret_keys *keys;
    struct services services;
    struct access_identity admin;
    char token[TOKEN_TEXT_BYTES + 1];
};

/* Criterion's init and fini; one a test process. */
extern struct job_stage stage;
void stage_set_up(void);
void stage_tear_down(void);

/* A request of the administrator with one path parameter (NULL = none). */
struct exchange stage_request(const struct route *route, const char *parameter, const char *body);
void stage_done(struct exchange *exchange);
/* The answer, which must have this status; json_free. */
struct json *stage_answer(struct exchange *exchange, int status);

/* Made right in the catalog: a job of two tasks `a` → `b` (b fans out), and a run of it. */
int64_t stage_make_job(void);
int64_t stage_make_run(int64_t job_id);
void stage_apply(const struct run_change *change);
