#include "tests/unit/storage/catalog/fixture.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/catalog/tables.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>

struct fixture fixture;

void fixture_set_up_folder(void)
{
    struct err err = {0};
    fixture.dir = temp_dir_make();
    fixture.folder = temp_dir_join(&fixture.dir, "catalog");
    CLEANUP(mem_cleanup) char *key = temp_dir_join(&fixture.dir, "root.key");
    cr_assert_eq(secret_init(&err), ERR_OK);
    cr_assert_eq(secret_keys_open(key, &fixture.keys, &err), ERR_OK, "%s", err.msg);
    arena_init(&fixture.arena, 256 << 20);
}

void fixture_open(void)
{
    struct err err = {0};
    cr_assert_eq(
        catalog_open(fixture.folder, fixture.keys, &fixture.options, &fixture.catalog, &err),
        ERR_OK, "%s", err.msg);
}

void fixture_close(void)
{
    catalog_close(&fixture.catalog);
}

void fixture_reopen(void)
{
    fixture_close();
    fixture_open();
}

static enum err_code keep_token(void *arg, struct span token_text, struct err *err)
{
    (void)arg;
    (void)err;
    cr_assert_eq(token_text.size, TOKEN_TEXT_BYTES);
    memcpy(fixture.token, token_text.data, token_text.size);
    return ERR_OK;
}

void fixture_set_up(void)
{
    struct err err = {0};
    struct access_identity identity;
    fixture_set_up_folder();
    fixture_open();
    cr_assert_eq(access_bootstrap(fixture.catalog, keep_token, NULL, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(access_authenticate(fixture.catalog, span_of_text(fixture.token), clock_wall_us(),
                                     &identity, &err),
                 ERR_OK, "%s", err.msg);
    fixture.principal = identity.principal->id;
    access_release(&identity);
    fixture.table = id_new_random();
    cr_assert_eq(catalog_table_create(fixture.catalog, "claims", &fixture.table, "{}", 1, &err),
                 ERR_OK, "%s", err.msg);
}

void fixture_tear_down(void)
{
    fixture_close();
    secret_keys_close(&fixture.keys);
    arena_deinit(&fixture.arena);
    mem_free(fixture.folder);
    temp_dir_remove(&fixture.dir);
}

static _Atomic bool promise_reached;
static _Atomic bool promises_go;

static void hold_promise(void *arg)
{
    (void)arg;
    atomic_store(&promise_reached, true);
    while (!atomic_load(&promises_go)) {
        sched_yield();
    }
}

void fixture_hold_promises(void)
{
    fixture_close();
    fixture.options.before_promise = hold_promise;
    fixture_open();
}

void fixture_wait_for_promise(void)
{
    while (!atomic_load(&promise_reached)) {
        sched_yield();
    }
}

void fixture_let_promises_go(void)
{
    atomic_store(&promises_go, true);
}

struct batch_accept fixture_batch(int64_t accepted, int64_t segment)
{
    struct batch_accept accept = {
        .id = id_new_ordered(),
        .table = fixture.table,
        .principal = fixture.principal,
        .operation = FRAME_UPSERT,
        .schema_version = 3,
        .received = accepted,
        .accepted = accepted,
        .body_bytes = 100 * accepted,
        .body_sha256 = {1, 2, 3},
        .received_at_us = clock_wall_us(),
        .idempotency_status = 202,
    };
    if (accepted > 0) {
        accept.frame = (struct location){.segment = segment, .offset = 48, .size = 1000};
    }
    return accept;
}

int64_t fixture_accept(const struct batch_accept *accept)
{
    struct err err = {0};
    int64_t position = 0;
    cr_assert_eq(batch_accept(fixture.catalog, accept, &position, &err), ERR_OK, "%s", err.msg);
    return position;
}

struct batch *fixture_queued(size_t *count_out)
{
    struct err err = {0};
    struct batch *batches = NULL;
    cr_assert_eq(batches_queued(fixture.catalog, &fixture.table, 0, 1000, INT64_MAX, &fixture.arena,
                                &batches, count_out, &err),
                 ERR_OK, "%s", err.msg);
    return batches;
}

struct batch_outcome fixture_outcome(const struct batch *batch, enum batch_state state)
{
    return (struct batch_outcome){.id = batch->id,
                                  .piece = batch->piece,
                                  .state = state,
                                  .version = state == BATCH_FAILED ? -1 : 7,
                                  .applied = state == BATCH_FAILED ? 0 : batch->accepted};
}

void fixture_finish(const struct batch_outcome *outcomes, size_t count)
{
    struct err err = {0};
    cr_assert_eq(batches_finish(fixture.catalog, &fixture.table, outcomes, count, &err), ERR_OK,
                 "%s", err.msg);
}
