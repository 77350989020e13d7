/*
 * The fault points of a commit do what crash tests rely on. Builds without
 * fault points have nothing to test here and say so.
 */
#include "storage/delta/transaction.h"

#include "tests/unit/storage/delta/support.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#ifdef SLUICE_FAULTS

/* A commit with a txn under the armed faults; how it went, and what a new reader sees. */
static enum err_code commit_under(const char *faults, struct delta_state **seen_out)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_commit_result result = {0};
    cr_assert_eq(setenv("SLUICE_FAULTS", faults, 1), 0);
    struct delta_state *state = support_create(store, false);
    struct delta_transaction *transaction =
        delta_transaction_begin(state, store, DELTA_READS_NOTHING);
    const struct delta_file file = support_file("a");
    delta_transaction_add(transaction, &file);
    delta_transaction_set_txn(transaction, "app", 5);
    enum err_code code = delta_transaction_commit(transaction, &result, &err);
    *seen_out = support_load(store);
    delta_commit_result_deinit(&result);
    delta_transaction_free(&transaction);
    delta_state_release(&state);
    object_store_close(&store);
    return code;
}

Test(faults, before_the_log_nothing_is_committed)
{
    CLEANUP(delta_state_release) struct delta_state *seen = NULL;
    cr_expect_eq(commit_under("delta.commit.before-log=fail@1", &seen), ERR_IO);
    cr_expect_eq(seen->version, 0);
}

Test(faults, after_the_log_everything_is)
{
    CLEANUP(delta_state_release) struct delta_state *seen = NULL;
    int64_t version = 0;
    cr_expect_eq(commit_under("delta.commit.after-log=fail@1", &seen), ERR_IO);
    cr_expect_eq(seen->version, 1);
    cr_expect(delta_state_txn(seen, "app", &version) && version == 5);
}

Test(faults, the_planted_bug_leaves_out_the_txn)
{
    CLEANUP(delta_state_release) struct delta_state *seen = NULL;
    int64_t version = 0;
    cr_expect_eq(commit_under("delta.commit.no-txn=skip@1", &seen), ERR_OK);
    cr_expect_eq(seen->files_count, 1);
    cr_expect_not(delta_state_txn(seen, "app", &version));
}

#else

Test(faults, are_not_compiled_in)
{
    cr_skip_test("built without SLUICE_FAULTS: the fault points of commits were not checked");
}

#endif
