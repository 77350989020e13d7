/* How long the log keeps tombstones of files, by how many there are. */
#include "fixture.h"

#include "storage/base/mem.h"
#include "storage/delta/checkpoint.h"
#include "storage/delta/transaction.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct fixture_options keyed = {.merge = TABLE_DELETION_VECTORS, .sequence = true};
static const int64_t hour_ms = 3600 * 1000;
static const int64_t now_ms = 1800000000000;

TestSuite(retention);

Test(retention, hours_follow_from_how_many_came_in_which_time)
{
    static const struct {
        int64_t hours, tombstones, span_hours, then;
    } cases[] = {
        {168, 0, 0, 168},        /* the default is never exceeded */
        {168, 200000, 168, 168}, /* many, but not too many */
        {168, 400000, 168, 42},  /* a quarter of them is wanted */
        {168, 250000, 10, 4},    /* they came within ten hours */
        {168, 10000000, 1, 1},   /* never less than an hour */
        {1, 10000000, 1, 1},     /**/
        {2, 250000, 10, 2},      /* shorter already: the others expire */
        {42, 100000, 42, 42},    /* as it should be */
        {42, 50000, 42, 42},     /**/
        {42, 49999, 42, 84},     /* few */
        {100, 0, 0, 168},        /**/
        {1, 49999, 1, 2},        /**/
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(table_retention_hours(cases[i].hours, cases[i].tombstones,
                                           cases[i].span_hours * hour_ms),
                     cases[i].then, "case %zu", i);
    }
}

static int64_t adapt(struct fixture *fixture, int64_t removed, int64_t span_hours)
{
    struct err err = {0};
    int64_t hours = -1;
    const struct delta_checkpoint_result checkpoint = {
        .removed_count = removed, .removed_oldest_ms = now_ms - span_hours * hour_ms};
    cr_assert_eq(table_adapt_retention(fixture->table, &checkpoint, now_ms, &hours, &err), ERR_OK,
                 "%s", err.msg);
    return hours;
}

/* The hours in force by the log, and whether the property is there. */
static void expect_logged(const struct fixture *fixture, int64_t hours, bool property)
{
    struct err err = {0};
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    cr_assert_eq(delta_state_load(table_store(fixture->table), &state, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_eq(delta_state_retention_ms(state), hours * hour_ms);
    cr_expect_eq(delta_metadata_property(state->metadata, DELTA_RETENTION_PROPERTY) != NULL,
                 property);
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture->table);
    cr_expect_eq(snapshot->version, state->version, "published");
}

Test(retention, is_set_while_there_are_many_and_given_back)
{
    struct fixture fixture = fixture_make(&keyed);
    const struct record_words record = {.id = "a", .updated = 1, .amount = 1, .note = "x"};
    fixture_put(&fixture, &record, 1);
    expect_logged(&fixture, 168, false);
    cr_expect_eq(adapt(&fixture, 1000, 1), 0, "nothing to do");
    cr_expect_eq(adapt(&fixture, 400000, 168), 42);
    expect_logged(&fixture, 42, true);
    cr_expect_eq(adapt(&fixture, 100000, 42), 0);
    fixture_put(&fixture, &record, 1); /* merges go on */
    fixture_reopen(&fixture, false);
    cr_expect_eq(adapt(&fixture, 10, 42), 84);
    cr_expect_eq(adapt(&fixture, 10, 42), 168);
    expect_logged(&fixture, 168, false);
    fixture_verify(&fixture, "in the end");
    fixture_remove(&fixture);
}

static void set_property(const struct fixture *fixture, const char *value)
{
    struct err err = {0};
    struct object_store *store = table_store(fixture->table);
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    cr_assert_eq(delta_state_load(store, &state, &err), ERR_OK, "%s", err.msg);
    struct delta_metadata changed = delta_metadata_fields(state->metadata);
    struct delta_pair *pairs = mem_zeroed(changed.configuration_count + 1, sizeof *pairs);
    size_t count = 0;
    for (size_t i = 0; i < changed.configuration_count; i++) {
        if (strcmp(changed.configuration[i].name, DELTA_RETENTION_PROPERTY) != 0) {
            pairs[count++] = changed.configuration[i];
        }
    }
    pairs[count++] = (struct delta_pair){DELTA_RETENTION_PROPERTY, value};
    changed.configuration = pairs;
    changed.configuration_count = count;
    const struct delta_metadata *metadata = delta_metadata_new(&changed);
    struct delta_transaction *transaction =
        delta_transaction_begin(state, store, DELTA_READS_NOTHING);
    struct delta_commit_result result = {0};
    delta_transaction_set_metadata(transaction, metadata);
    delta_transaction_set_operation(transaction, "SET TBLPROPERTIES", NULL, NULL);
    cr_assert_eq(delta_transaction_commit(transaction, &result, &err), ERR_OK, "%s", err.msg);
    delta_commit_result_deinit(&result);
    delta_transaction_free(&transaction);
    delta_metadata_release(&metadata);
    mem_free(pairs);
}

Test(retention, what_somebody_else_set_stays)
{
    struct fixture fixture = fixture_make(&keyed);
    const struct record_words record = {.id = "a", .updated = 1, .amount = 1, .note = "x"};
    fixture_put(&fixture, &record, 1);
    set_property(&fixture, "interval 30 days");
    cr_expect_eq(adapt(&fixture, 10000000, 1), 0);
    expect_logged(&fixture, 720, true);
    fixture_remove(&fixture);
}

Test(retention, what_somebody_else_set_over_ours_stays)
{
    struct fixture fixture = fixture_make(&keyed);
    const struct record_words record = {.id = "a", .updated = 1, .amount = 1, .note = "x"};
    fixture_put(&fixture, &record, 1);
    cr_expect_eq(adapt(&fixture, 400000, 168), 42);
    set_property(&fixture, "interval 50 hours");
    cr_expect_eq(adapt(&fixture, 10000000, 1), 0);
    cr_expect_eq(adapt(&fixture, 0, 0), 0);
    expect_logged(&fixture, 50, true);
    fixture_remove(&fixture);
}
