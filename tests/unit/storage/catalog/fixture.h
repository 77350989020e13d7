/*
 * A catalog with one principal and one table in a fresh folder.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/id.h"
#include "storage/base/secret.h"
#include "storage/catalog/access.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/catalog.h"
#include "tests/support/temp_dir.h"

struct fixture {
    struct temp_dir dir;
    char *folder;
    struct secret_keys *keys;
    struct catalog_options options;
    struct catalog *catalog;
    char token[TOKEN_TEXT_BYTES + 1];
    struct id principal; /* the administrator */
    struct id table;     /* "claims" */
    struct arena arena;
};

/* Criterion's init and fini; one fixture a test process. */
extern struct fixture fixture;
void fixture_set_up(void);
void fixture_tear_down(void);

/* Only folder and keys: what a forked child needs before it opens by itself. */
void fixture_set_up_folder(void);
void fixture_open(void);
void fixture_close(void);
void fixture_reopen(void);

/*
 * Open anew, with a writer that stops before the commit of the first group that promises, until it
 * is let go: what is queued meanwhile comes in one group.
 */
void fixture_hold_promises(void);
void fixture_wait_for_promise(void); /* until the writer has stopped there, once */
void fixture_let_promises_go(void);

/* A batch of `accepted` records whose frame is said to lie in `segment`; no key. */
struct batch_accept fixture_batch(int64_t accepted, int64_t segment);
/* Accept one and return its position; stops the test on failure. */
int64_t fixture_accept(const struct batch_accept *accept);
/* All queued batches of the table. */
struct batch *fixture_queued(size_t *count_out);
/* One outcome for a queued batch. */
struct batch_outcome fixture_outcome(const struct batch *batch, enum batch_state state);
void fixture_finish(const struct batch_outcome *outcomes, size_t count);
