/*
 * Expectations on tables: counts are exact, whatever the files and the memory.
 */
#include "storage/snapshot/check.h"

#include "storage/base/clock.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/snapshot/compact.h"
#include "storage/snapshot/value_set.h"
#include "tests/unit/storage/snapshot/fixture.h"

#include <criterion/criterion.h>

TestSuite(check, .timeout = 120);

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static const struct fixture_options keyed = {.merge = TABLE_DELETION_VECTORS, .sequence = true};

/* What a check is asked, and what it took away. */
struct ask {
    const char *expectations; /* JSON with ' for " */
    const struct check_files *files;
    size_t set_bytes;
    int64_t now_us;
    struct table *other; /* what foreign_key refers to */
    bool without_index;
    struct buffer *removed; /* "id:expectation " a row */
};

struct context {
    const struct ask *ask;
    const struct schema *schema;
};

static enum err_code refer(void *self, const char *table, const struct snapshot **snapshot_out,
                           struct err *err)
{
    const struct context *context = self;
    if (strcmp(table, "t") != 0) {
        return err_set(err, ERR_NOT_FOUND, "there is no table '%s'", table);
    }
    *snapshot_out = table_snapshot(context->ask->other);
    if (context->ask->without_index) {
        int64_t version = (*snapshot_out)->version - 1;
        snapshot_release(snapshot_out);
        return table_snapshot_at_version(context->ask->other, version, snapshot_out, err);
    }
    return ERR_OK;
}

static enum err_code take_away(void *self, const struct frame *frame, const uint16_t *verdicts,
                               struct err *err)
{
    const struct context *context = self;
    for (int64_t row = 0; row < frame->rows_count; row++) {
        struct span id = column_bytes(&frame->columns[0], row);
        buffer_append_format(context->ask->removed, "%.*s:%u ", SPAN_PRINT(id), verdicts[row]);
    }
    return buffer_check(context->ask->removed, "removed", err);
}

static struct json *json_of(const char *text)
{
    CLEANUP(mem_cleanup) char *quoted = mem_copy_text(text);
    for (char *c = quoted; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    struct json *json = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(span_of_text(quoted), &json, &err), ERR_OK, "%s: %s", text, err.msg);
    return json;
}

static enum err_code run(struct fixture *fixture, const struct ask *ask,
                         struct check_result *result_out, struct err *err)
{
    CLEANUP(json_free) struct json *json = json_of(ask->expectations);
    CLEANUP(expectations_free) struct expectations *list = NULL;
    CLEANUP(bound_expectations_free) struct bound_expectations *bound = NULL;
    cr_assert_eq(expectations_parse(json, EXPECTATIONS_OF_TABLE, &list, err), ERR_OK, "%s: %s",
                 ask->expectations, err->msg);
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture->table);
    cr_assert_eq(expectations_bind(list, snapshot->schema, &bound, err), ERR_OK, "%s: %s",
                 ask->expectations, err->msg);
    struct context context = {.ask = ask, .schema = snapshot->schema};
    const struct check_request request = {
        .table = fixture->table,
        .snapshot = snapshot,
        .files = ask->files,
        .bound = bound,
        .now_us = ask->now_us,
        .set_bytes = ask->set_bytes,
        .refer = refer,
        .remove = ask->removed != NULL ? take_away : NULL,
        .self = &context,
    };
    return check_run(&request, result_out, err);
}

static void expect_counts(struct fixture *fixture, const struct ask *ask, const char *when,
                          int64_t judged, int64_t violations)
{
    struct err err = {0};
    CLEANUP(check_result_deinit) struct check_result result = {0};
    cr_assert_eq(run(fixture, ask, &result, &err), ERR_OK, "%s: %s", when, err.msg);
    cr_assert_eq(result.count, 1, "%s", when);
    const struct check_finding *finding = &result.findings[0];
    cr_expect_eq(finding->judged, judged, "%s: judged %lld", when, (long long)finding->judged);
    cr_expect_eq(finding->violations, violations, "%s: %lld violations", when,
                 (long long)finding->violations);
    size_t examples =
        violations < EXPECTATION_EXAMPLES_MAX ? (size_t)violations : EXPECTATION_EXAMPLES_MAX;
    bool of_rows = strstr(ask->expectations, "row_count") == NULL &&
                   strstr(ask->expectations, "freshness") == NULL;
    cr_expect_eq(finding->examples_count, of_rows ? examples : 0, "%s", when);
    for (size_t i = 0; i < finding->examples_count; i++) {
        cr_expect_not_null(strstr(finding->examples[i].file, ".parquet"), "%s", when);
    }
}

/* ---- rows by themselves ---- */

Test(check, rows_are_judged_as_the_version_shows_them)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words first[] = {{FRAME_UPSERT, "a", 1, 10, NULL, NULL, NULL},
                                   {FRAME_UPSERT, "b", 1, 200, "n", NULL, NULL},
                                   {FRAME_UPSERT, "c", 1, INT32_MAX, NULL, NULL, NULL}};
    struct record_words second[] = {{FRAME_UPSERT, "a", 2, 10, "n", NULL, NULL},
                                    {FRAME_DELETE, "b", 2, 0, NULL, NULL, NULL},
                                    {FRAME_UPSERT, "d", 1, 300, NULL, NULL, NULL}};
    fixture_put(&fixture, first, 3);
    fixture_put(&fixture, second, 3);
    static const struct {
        const char *expectations;
        int64_t judged;
        int64_t violations;
    } cases[] = {
        {"[{'type':'not_null','column':'note','action':'warn'}]", 3, 2},
        {"[{'type':'range','column':'amount','maximum':100,'action':'warn'}]", 2, 1},
        {"[{'type':'pattern','column':'id','pattern':'[ac]','action':'warn'}]", 3, 1},
        {"[{'type':'enum','column':'note','values':['n'],'action':'warn'}]", 1, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct ask ask = {.expectations = cases[i].expectations};
        expect_counts(&fixture, &ask, cases[i].expectations, cases[i].judged, cases[i].violations);
    }
    fixture_remove(&fixture);
}

Test(check, rows_that_leave_are_handed_over_once_quarantine_before_drop)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words records[] = {{FRAME_UPSERT, "a", 1, 10, NULL, "x", NULL},
                                     {FRAME_UPSERT, "b", 1, 200, "n", "x", NULL},
                                     {FRAME_UPSERT, "c", 1, 200, NULL, "y", NULL},
                                     {FRAME_UPSERT, "d", 1, 1, "n", "z", NULL}};
    fixture_put(&fixture, records, 2);
    fixture_put(&fixture, records + 2, 2);
    CLEANUP(buffer_deinit) struct buffer removed;
    buffer_init(&removed, 1000);
    const struct ask ask = {.expectations =
                                "[{'type':'range','column':'amount','maximum':100,'action':'drop'},"
                                "{'type':'not_null','column':'note','action':'quarantine'},"
                                "{'type':'unique','column':'region','action':'drop'},"
                                "{'type':'not_null','column':'member','action':'warn'}]",
                            .removed = &removed};
    struct err err = {0};
    CLEANUP(check_result_deinit) struct check_result result = {0};
    cr_assert_eq(run(&fixture, &ask, &result, &err), ERR_OK, "%s", err.msg);
    cr_expect(span_equal_text(buffer_span(&removed), "a:1 b:0 c:1 "), "%.*s",
              SPAN_PRINT(buffer_span(&removed)));
    cr_expect_eq(result.rows_judged, 4);
    cr_expect_eq(result.rows_removed, 3);
    cr_expect_eq(result.findings[0].violations, 2);
    cr_expect_eq(result.findings[1].violations, 2);
    cr_expect_eq(result.findings[2].violations, 1);
    cr_expect_eq(result.findings[3].violations, 4);
    fixture_remove(&fixture);
}

/* ---- unique ---- */

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

enum { ROWS = 6000, NOTES = 2000, SETS_MIN = 20000 };

/* Rows whose notes repeat; returns how many repeat an earlier one, nulls left out. */
static int64_t fill_notes(struct fixture *fixture, int64_t *noted_out)
{
    static char ids[ROWS][12];
    static char notes[NOTES][12];
    bool *seen = mem_zeroed(NOTES, sizeof *seen);
    struct record_words *records = mem_zeroed(ROWS, sizeof *records);
    int64_t repeats = 0;
    int64_t noted = 0;
    uint64_t state = 3;
    for (size_t i = 0; i < ROWS; i++) {
        size_t note = next(&state) % NOTES;
        bool null = next(&state) % 5 == 0;
        (void)snprintf(ids[i], sizeof ids[i], "i%zu", i);
        (void)snprintf(notes[note], sizeof notes[note], "n%zu", note);
        records[i] = (struct record_words){FRAME_UPSERT, ids[i], 1, 1, null ? NULL : notes[note],
                                           NULL,         NULL};
        repeats += !null && seen[note];
        noted += !null;
        seen[note] |= !null;
    }
    for (size_t at = 0; at < ROWS; at += 1000) {
        fixture_put(fixture, records + at, 1000);
    }
    mem_free(seen);
    mem_free(records);
    *noted_out = noted;
    return repeats;
}

Test(check, uniqueness_is_exact_in_one_pass_and_in_many)
{
    struct fixture fixture = fixture_make(&keyed);
    int64_t noted = 0;
    int64_t repeats = fill_notes(&fixture, &noted);
    static const size_t sizes[] = {0, 1 << 20, 1, SETS_MIN};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const struct ask ask = {.expectations =
                                    "[{'type':'unique','column':'note','action':'warn'}]",
                                .set_bytes = sizes[i]};
        expect_counts(&fixture, &ask, "unique note", noted, repeats);
    }
    const struct ask key = {.expectations = "[{'type':'unique','column':'id','action':'warn'}]"};
    expect_counts(&fixture, &key, "unique id", ROWS, 0);
    const struct ask both = {.expectations =
                                 "[{'type':'unique','columns':['id','note'],'action':'warn'}]"};
    expect_counts(&fixture, &both, "unique id, note", noted, 0);
    fixture_remove(&fixture);
}

/* The number of values is not known beforehand: the set overflows and splits. */
Test(check, a_set_that_overflows_begins_anew_with_more_passes)
{
    struct fixture fixture = fixture_make(&keyed);
    enum { VALUES = 5000 };
    struct frame *frame = frame_new(fixture.schema);
    for (int32_t i = 0; i < VALUES; i++) {
        struct record_words record = {FRAME_UPSERT, "a", i, i, NULL, NULL, NULL};
        struct frame *one = fixture_frame(&fixture, &record, 1);
        frame_append_row(frame, one, 0);
        frame_free(&one);
    }
    CLEANUP(value_set_deinit) struct value_set set;
    value_set_init(&set, 1, -1);
    cr_assert_eq(set.passes_count, 1);
    int64_t met = 0;
    for (uint32_t pass = 0; pass < set.passes_count;) {
        value_set_begin_pass(&set, pass);
        int64_t before = met;
        for (int64_t row = 0; row < VALUES && !set.overflowed; row++) {
            struct hash_wide hash;
            if (value_set_hash(&set, frame, row, &fixture.amount, 1, &hash)) {
                met += value_set_add(&set, hash) && !set.overflowed;
                cr_assert(set.overflowed || value_set_has(&set, hash));
            }
        }
        if (set.overflowed) {
            value_set_split(&set);
            pass = 0;
            met = 0;
        } else {
            cr_expect_gt(met, before);
            pass++;
        }
    }
    cr_expect_eq(met, VALUES);
    cr_expect_gt(set.passes_count, 4);
    frame_free(&frame);
    fixture_remove(&fixture);
}

/* ---- foreign keys ---- */

Test(check, references_are_found_by_index_and_by_values)
{
    struct fixture members = fixture_make(&keyed);
    struct fixture claims = fixture_make(&keyed);
    struct record_words known[] = {{FRAME_UPSERT, "m1", 1, 1, "n1", NULL, NULL},
                                   {FRAME_UPSERT, "m2", 1, 2, "n2", NULL, NULL},
                                   {FRAME_UPSERT, "m3", 1, 3, NULL, NULL, NULL}};
    fixture_put(&members, known, 3);
    struct record_words more[] = {{FRAME_UPSERT, "m0", 1, 1, "n0", NULL, NULL}};
    fixture_put(&members, more, 1); /* the version before it has no index */
    struct record_words rows[] = {{FRAME_UPSERT, "a", 1, 1, "n1", NULL, "m1"},
                                  {FRAME_UPSERT, "b", 1, 2, "n9", NULL, "m2"},
                                  {FRAME_UPSERT, "c", 1, 9, NULL, NULL, "m9"},
                                  {FRAME_UPSERT, "d", 1, 1, "n2", NULL, NULL},
                                  {FRAME_UPSERT, "e", 1, 1, "n2", NULL, "m8"}};
    fixture_put(&claims, rows, 5);
    static const struct {
        const char *expectations;
        int64_t judged;
        int64_t violations;
    } cases[] = {
        {"[{'type':'foreign_key','column':'member','references':{'table':'t'},'action':'warn'}]", 4,
         2},
        {"[{'type':'foreign_key','column':'member','references':{'table':'t','column':'id'},"
         "'action':'warn'}]",
         4, 2},
        {"[{'type':'foreign_key','column':'note','references':{'table':'t','column':'note'},"
         "'action':'warn'}]",
         4, 1},
        {"[{'type':'foreign_key','column':'amount','references':{'table':'t','column':'updated'},"
         "'action':'warn'}]", /* integer into long */
         5, 2},
        {"[{'type':'foreign_key','columns':['member','amount'],'references':{'table':'t',"
         "'columns':['id','amount']},'action':'warn'}]",
         4, 2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int without = 0; without < 2; without++) {
            const struct ask ask = {.expectations = cases[i].expectations,
                                    .other = members.table,
                                    .without_index = without == 1};
            expect_counts(&claims, &ask, cases[i].expectations, cases[i].judged,
                          cases[i].violations);
        }
    }
    fixture_remove(&members);
    fixture_remove(&claims);
}

Test(check, references_that_cannot_be_are_refused_with_their_place)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words rows[] = {{FRAME_UPSERT, "a", 1, 1, "n1", NULL, "m1"}};
    fixture_put(&fixture, rows, 1);
    static const struct {
        const char *expectations;
        enum err_code code;
        const char *message;
    } cases[] = {
        {"[{'type':'foreign_key','column':'note','references':{'table':'none'},'action':'warn'}]",
         ERR_NOT_FOUND, "/0/references/table: "},
        {"[{'type':'foreign_key','column':'note','references':{'table':'t','column':'x'},"
         "'action':'warn'}]",
         ERR_INVALID, "/0/references/columns: table 't' has no column 'x'"},
        {"[{'type':'foreign_key','columns':['id','note'],'references':{'table':'t'},"
         "'action':'warn'}]",
         ERR_INVALID, "/0/columns: the key of table 't' has 1 fields"},
        {"[{'type':'foreign_key','column':'amount','references':{'table':'t'},'action':'warn'}]",
         ERR_INVALID, "/0/references/columns: 'amount' is of type integer"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct ask ask = {.expectations = cases[i].expectations, .other = fixture.table};
        struct err err = {0};
        CLEANUP(check_result_deinit) struct check_result result = {0};
        cr_expect_eq(run(&fixture, &ask, &result, &err), cases[i].code, "%s", err.msg);
        cr_expect_eq(strncmp(err.msg, cases[i].message, strlen(cases[i].message)), 0, "%s",
                     err.msg);
    }
    fixture_remove(&fixture);
}

/* ---- the rows of a run ---- */

Test(check, a_run_is_judged_by_the_rows_its_commits_brought)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words others[] = {{FRAME_UPSERT, "x", 1, 1, NULL, "r1", NULL},
                                    {FRAME_UPSERT, "y", 1, 1, "n", "r2", NULL}};
    struct record_words first[] = {{FRAME_UPSERT, "a", 1, 1, NULL, "r1", NULL},
                                   {FRAME_UPSERT, "b", 1, 1, "n", "r3", NULL}};
    struct record_words between[] = {{FRAME_UPSERT, "z", 1, 1, NULL, "r4", NULL}};
    struct record_words second[] = {{FRAME_UPSERT, "a", 2, 1, "n", "r5", NULL},
                                    {FRAME_UPSERT, "c", 1, 1, NULL, "r4", NULL},
                                    {FRAME_DELETE, "y", 2, 1, NULL, NULL, NULL}};
    fixture_put(&fixture, others, 2);  /* version 1 */
    fixture_put(&fixture, first, 2);   /* 2 */
    fixture_put(&fixture, between, 1); /* 3 */
    fixture_put(&fixture, second, 3);  /* 4 */
    struct err err = {0};
    static const int64_t versions[] = {2, 4};
    CLEANUP(check_files_free) struct check_files files = {0};
    cr_assert_eq(check_files_read(fixture.table, versions, 2, &files, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(files.count, 2);
    static const struct {
        const char *expectations;
        int64_t judged;
        int64_t violations;
    } cases[] = {
        /* "a" without a note was there in version 2, though version 4 replaced it */
        {"[{'type':'not_null','column':'note','action':'warn'}]", 4, 2},
        /* r1 is x's and a's first row is gone; r4 is z's, which was there before c */
        {"[{'type':'unique','column':'region','action':'warn'}]", 3, 1},
        {"[{'type':'row_count','minimum':4,'maximum':4,'action':'warn'}]", 1, 0},
        /* 2 rows before the run, 5 now: + 150 % */
        {"[{'type':'row_count','minimum_change_percent':150,'action':'warn'}]", 1, 0},
        {"[{'type':'row_count','maximum_change_percent':149.99,'action':'warn'}]", 1, 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct ask ask = {.expectations = cases[i].expectations, .files = &files};
        expect_counts(&fixture, &ask, cases[i].expectations, cases[i].judged, cases[i].violations);
    }
    fixture_remove(&fixture);
}

/* ---- counts and age ---- */

Test(check, rows_are_counted_against_bounds_and_earlier_versions)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words records[] = {{FRAME_UPSERT, "a", 1, 1, NULL, NULL, NULL},
                                     {FRAME_UPSERT, "b", 1, 1, NULL, NULL, NULL},
                                     {FRAME_UPSERT, "c", 1, 1, NULL, NULL, NULL},
                                     {FRAME_DELETE, "a", 2, 1, NULL, NULL, NULL}};
    fixture_put(&fixture, records, 2);     /* version 1: 2 rows */
    fixture_put(&fixture, records + 2, 1); /* 2: 3 rows */
    fixture_put(&fixture, records + 3, 1); /* 3: 2 rows */
    static const struct {
        const char *expectations;
        int64_t judged;
        int64_t violations;
    } cases[] = {
        {"[{'type':'row_count','minimum':2,'maximum':2,'action':'fail'}]", 1, 0},
        {"[{'type':'row_count','minimum':3,'action':'fail'}]", 1, 1},
        {"[{'type':'row_count','maximum':1,'action':'fail'}]", 1, 1},
        {"[{'type':'row_count','minimum_change_percent':-33.34,'action':'fail'}]", 1, 0},
        {"[{'type':'row_count','minimum_change_percent':-33.33,'action':'fail'}]", 1, 1},
        {"[{'type':'row_count','minimum_change_percent':0,'maximum_change_percent':0,"
         "'versions_back':2,'action':'fail'}]",
         1, 0},
        {"[{'type':'row_count','maximum_change_percent':1000000,'versions_back':3,'action':"
         "'fail'}]", /* version 0 has no rows: any growth is too much */
         1, 1},
        {"[{'type':'row_count','maximum_change_percent':0,'versions_back':4,'action':'fail'}]", 0,
         0}, /* there is none */
        {"[{'type':'row_count','maximum_change_percent':0,'seconds_back':100000,'action':'fail'}]",
         0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct ask ask = {.expectations = cases[i].expectations, .now_us = clock_wall_us()};
        expect_counts(&fixture, &ask, cases[i].expectations, cases[i].judged, cases[i].violations);
    }
    fixture_remove(&fixture);
}

Test(check, maintenance_does_not_make_a_table_fresh)
{
    const struct fixture_options lasting = {.merge = TABLE_APPEND};
    struct fixture fixture = fixture_make(&lasting);
    for (int32_t i = 0; i < 40; i++) {
        struct record_words record = {FRAME_INSERT, "a", 0, i, NULL, NULL, NULL};
        fixture_put(&fixture, &record, 1);
    }
    struct err err = {0};
    CLEANUP(check_result_deinit) struct check_result before = {0};
    CLEANUP(check_result_deinit) struct check_result after = {0};
    const struct ask ask = {.expectations =
                                "[{'type':'freshness','max_age_seconds':60,'action':'fail'}]",
                            .now_us = clock_wall_us() + INT64_C(3600000000)};
    cr_assert_eq(run(&fixture, &ask, &before, &err), ERR_OK, "%s", err.msg);
    cr_expect_geq(before.findings[0].age_seconds, 3590);
    cr_expect_eq(before.findings[0].violations, 1);
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
    compact_plan(fixture.table, true, &plan);
    cr_assert_gt(plan.count, 0);
    struct compact_result result = {0};
    cr_assert_eq(compact_run(fixture.table, &plan, NULL, &result, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(run(&fixture, &ask, &after, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(after.findings[0].age_seconds, before.findings[0].age_seconds);
    const struct ask now = {.expectations = ask.expectations, .now_us = clock_wall_us()};
    expect_counts(&fixture, &now, "fresh", 1, 0);
    fixture_remove(&fixture);
}
