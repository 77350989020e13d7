/*
 * Several writers on one whole table, in many orders: two processes through our library, each
 * with a lane, an index and a snapshot of its own that may be old, and another engine that
 * appends, deletes by vectors, updates and rewrites files in transactions which begin early
 * and commit late. Compactions are planned early and run late, so that vectors which grew
 * meanwhile are translated. Whatever the order: versions are contiguous, a batch that was
 * committed is there once, a row that a winner removed does not come back, each index tells
 * what the table holds, and a reader of any version sees the whole of it.
 */
#include "tests/unit/storage/snapshot/fixture.h"
#include "tests/unit/storage/snapshot/history_kit.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/delta/deletion_vector.h"
#include "storage/delta/transaction.h"
#include "storage/object/object.h"
#include "storage/snapshot/compact.h"
#include "storage/snapshot/output.h"
#include "storage/snapshot/rewrite_sort.h"
#include "storage/snapshot/stored.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(lanes, .timeout = 600);

enum {
    LANES = 2,
    KEYS = 10,
    FOREIGN_MAX = 60, /* keys that the other engine added in one schedule */
    ROWS_MAX = KEYS + FOREIGN_MAX,
    STEPS = 30,
    VERSIONS_MAX = STEPS + 2,
    BATCH_MAX = 6,
    TEXT_BYTES = 16,
    LINE_BYTES = 160,
};

/* A row by its key: ours are 0 … KEYS - 1, then those of the other engine. */
struct row {
    bool live;
    int64_t updated;
    int32_t amount;
    int note;   /* "n<note>"; -1 = null */
    int region; /* 0 north, 1 south */
};

enum foreign_kind {
    FOREIGN_APPEND,
    FOREIGN_DELETE,
    FOREIGN_UPDATE,
    FOREIGN_REWRITE,
    FOREIGN_KINDS
};

/* A transaction of the other engine that was begun, and what its commit would do to the rows. */
struct foreign {
    struct delta_transaction *transaction; /* NULL = none */
    struct delta_state *state;
    enum foreign_kind kind;
    size_t removed[ROWS_MAX], changed[ROWS_MAX];
    size_t removed_count, changed_count;
    struct row after[ROWS_MAX]; /* of those changed or added */
};

struct lane {
    struct fixture fixture;
    struct compact_plan plan;
    bool has_plan;
    struct rewrite_sort sort; /* of the plan */
    size_t sort_columns[2];
    struct frame *last; /* its newest batch, for a repetition */
    struct merge_input last_input;
};

struct schedule {
    char what[64];
    uint64_t dice;
    struct lane lanes[LANES];
    struct foreign foreign;
    struct row rows[ROWS_MAX];
    size_t foreign_made;             /* keys of the other engine so far */
    bool foreign_known[FOREIGN_MAX]; /* those of a commit of its */
    int64_t sequence;
    int64_t newest;
    char *versions[VERSIONS_MAX]; /* the rows of each, sorted JSON lines */
    size_t *counts;               /* of what happened */
};

enum count {
    COUNT_CONFLICTS,
    COUNT_TRANSLATED,
    COUNT_FOREIGN,
    COUNT_COMPACTED,
    COUNT_REPEATED,
    COUNTS
};

static uint64_t roll(struct schedule *schedule, uint64_t sides)
{
    return history_roll(&schedule->dice, sides);
}

static void key_of(size_t row, char text[TEXT_BYTES])
{
    (void)snprintf(text, TEXT_BYTES, row < KEYS ? "k%zu" : "f%zu", row); /* fits */
}

/* ---- what the table holds ---- */

static const char *const regions[] = {"north", "south"};

static void write_row(const struct row *row, size_t index, char line[LINE_BYTES])
{
    char key[TEXT_BYTES];
    char note[TEXT_BYTES + 2];
    key_of(index, key);
    (void)snprintf(note, sizeof note, "\"n%d\"", row->note); /* fits */
    (void)snprintf(line, LINE_BYTES,
                   "{\"id\":\"%s\",\"updated\":%lld,\"amount\":%d,\"note\":%s,\"region\":\"%s\","
                   "\"member\":null}",
                   key, (long long)row->updated, (int)row->amount, row->note < 0 ? "null" : note,
                   regions[row->region]); /* fits */
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(a, b);
}

static char *rows_text(const struct schedule *schedule)
{
    static char lines[ROWS_MAX][LINE_BYTES];
    size_t count = 0;
    for (size_t i = 0; i < ROWS_MAX; i++) {
        if (schedule->rows[i].live) {
            write_row(&schedule->rows[i], i, lines[count++]);
        }
    }
    qsort(lines, count, LINE_BYTES, compare_lines);
    struct buffer text;
    buffer_init(&text, SIZE_MAX);
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(&text, lines[i]);
        buffer_append_byte(&text, '\n');
    }
    buffer_append_byte(&text, 0);
    return (char *)text.data; /* its only owner now */
}

static void expect_snapshot(const struct schedule *schedule, const struct snapshot *snapshot,
                            const char *who)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    cr_assert_leq(snapshot->version, schedule->newest, "%s", schedule->what);
    fixture_rows(snapshot, &text);
    const char *expected = schedule->versions[snapshot->version];
    cr_assert(span_equal_text(buffer_span(&text), expected),
              "%s, %s, version %lld: expected\n%s\ngot\n%.*s", schedule->what, who,
              (long long)snapshot->version, expected, SPAN_PRINT(buffer_span(&text)));
}

/* A commit went in: it has the next number, and the table is what `rows` says now. */
static void note_version(struct schedule *schedule, int64_t version)
{
    cr_assert_eq(version, schedule->newest + 1, "%s: version %lld after %lld", schedule->what,
                 (long long)version, (long long)schedule->newest);
    cr_assert_lt(version, VERSIONS_MAX);
    schedule->newest = version;
    schedule->versions[version] = rows_text(schedule);
}

static void refresh(struct schedule *schedule, struct lane *lane)
{
    struct err err = {0};
    struct table_refresh_result result = {0};
    cr_assert_eq(table_refresh(lane->fixture.table, &result, &err), ERR_OK, "%s: %s",
                 schedule->what, err.msg);
    cr_assert_eq(result.overwritten_from, -1, "%s", schedule->what);
}

static void expect_lookups(const struct schedule *schedule, const struct lane *lane)
{
    for (size_t i = 0; i < KEYS + schedule->foreign_made; i++) {
        CLEANUP(buffer_deinit) struct buffer text;
        char key[TEXT_BYTES];
        char line[LINE_BYTES] = "";
        buffer_init(&text, 1 << 16);
        key_of(i, key);
        if (schedule->rows[i].live) {
            write_row(&schedule->rows[i], i, line);
        }
        fixture_lookup(&lane->fixture, key, &text);
        cr_assert(span_equal_text(buffer_span(&text), line), "%s: lookup of %s: %s, got %.*s",
                  schedule->what, key, line, SPAN_PRINT(buffer_span(&text)));
    }
}

static void expect_newest(struct schedule *schedule, struct lane *lane)
{
    refresh(schedule, lane);
    CLEANUP(snapshot_release)
    const struct snapshot *snapshot = table_snapshot(lane->fixture.table);
    cr_assert_eq(snapshot->version, schedule->newest, "%s", schedule->what);
    expect_snapshot(schedule, snapshot, "the newest");
    expect_lookups(schedule, lane);
}

static void step_read(struct schedule *schedule, struct lane *lane)
{
    struct err err = {0};
    /* as old as it is: a version, and all of it */
    CLEANUP(snapshot_release)
    const struct snapshot *old = table_snapshot(lane->fixture.table);
    expect_snapshot(schedule, old, "an old snapshot");
    expect_newest(schedule, lane);
    int64_t version = (int64_t)roll(schedule, (uint64_t)schedule->newest + 1);
    CLEANUP(snapshot_release) const struct snapshot *then = NULL;
    cr_assert_eq(table_snapshot_at_version(lane->fixture.table, version, &then, &err), ERR_OK,
                 "%s: %s", schedule->what, err.msg);
    expect_snapshot(schedule, then, "as of");
}

/* ---- our batches ---- */

static struct record_words random_record(struct schedule *schedule, struct row *row,
                                         char note[TEXT_BYTES])
{
    uint64_t what = roll(schedule, 10);
    int number = (int)roll(schedule, 1000);
    struct record_words record = {
        .operation = FRAME_UPSERT,
        .updated = ++schedule->sequence,
        .amount = (int32_t)roll(schedule, 100),
        .note = note,
        .region = regions[roll(schedule, 2)],
    };
    (void)snprintf(note, TEXT_BYTES, "n%d", number); /* fits */
    if (what < 2) {                                  /* late: what is stored is newer */
        record.updated = row->updated - 1;
        if (row->live && row->updated > 1) {
            return record;
        }
        record.updated = schedule->sequence;
    }
    if (what == 2 || what == 3) {
        record.operation = FRAME_DELETE;
        row->live = false;
        return record;
    }
    if (what == 4 && row->live) {
        record.operation = FRAME_PATCH;
        record.note = record.region = record.member = "-";
        row->updated = record.updated;
        row->amount = record.amount;
        return record;
    }
    if (what == 5) {
        record.operation = FRAME_INSERT;
        if (row->live) {
            return record; /* rejected */
        }
    }
    *row = (struct row){.live = true,
                        .updated = record.updated,
                        .amount = record.amount,
                        .note = number,
                        .region = record.region == regions[1]};
    return record;
}

static void merge(struct schedule *schedule, struct lane *lane)
{
    struct record_words records[BATCH_MAX];
    char ids[BATCH_MAX][TEXT_BYTES];
    char notes[BATCH_MAX][TEXT_BYTES];
    size_t count = 1 + roll(schedule, BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t key = roll(schedule, KEYS + schedule->foreign_made);
        if (key >= KEYS && !schedule->foreign_known[key - KEYS]) {
            key %= KEYS; /* it appends without looking, what we would add to would be there twice */
        }
        key_of(key, ids[i]);
        records[i] = random_record(schedule, &schedule->rows[key], notes[i]);
        records[i].id = ids[i];
    }
    struct err err = {0};
    struct merge_outcome outcome = {0};
    frame_free(&lane->last);
    lane->last = fixture_frame(&lane->fixture, records, count);
    lane->last_input = fixture_input(&lane->fixture, lane->last);
    cr_assert_eq(table_merge(lane->fixture.table, &lane->last_input, 1, &outcome, &err), ERR_OK,
                 "%s: %s", schedule->what, err.msg);
    cr_assert(outcome.committed);
    note_version(schedule, outcome.version);
    merge_outcome_deinit(&outcome);
}

/* The answer was lost, the batch comes again: it is there. */
static void repeat(struct schedule *schedule, struct lane *lane)
{
    struct err err = {0};
    struct merge_outcome outcome = {0};
    if (lane->last == NULL) {
        return;
    }
    cr_assert_eq(table_merge(lane->fixture.table, &lane->last_input, 1, &outcome, &err), ERR_OK,
                 "%s: %s", schedule->what, err.msg);
    cr_assert_not(outcome.committed, "%s: a batch went in twice", schedule->what);
    cr_assert(outcome.batches[0].already);
    merge_outcome_deinit(&outcome);
    schedule->counts[COUNT_REPEATED]++;
}

/* ---- compaction: planned, and run when others have been there ---- */

static void compact(struct schedule *schedule, struct lane *lane)
{
    struct err err = {0};
    struct compact_result result = {0};
    bool had_plan = lane->has_plan;
    if (!lane->has_plan && roll(schedule, 3) == 0) {
        lane->sort = (struct rewrite_sort){.columns = lane->sort_columns,
                                           .count = 2,
                                           .scratch_folder = lane->fixture.dir.path,
                                           .run_bytes = 1};
        lane->sort_columns[0] = lane->fixture.note;
        lane->sort_columns[1] = lane->fixture.amount;
        compact_plan_sorted(lane->fixture.table, &lane->sort, UINT32_MAX, &lane->plan);
        lane->has_plan = lane->plan.count > 0;
    } else if (!lane->has_plan) {
        compact_plan_thorough(lane->fixture.table, &lane->plan);
        lane->has_plan = lane->plan.count > 0;
    }
    if (!lane->has_plan || !had_plan) {
        if (!lane->has_plan) {
            compact_plan_deinit(&lane->plan);
        }
        return;
    }
    cr_assert_eq(compact_run(lane->fixture.table, &lane->plan, NULL, &result, &err), ERR_OK,
                 "%s: %s", schedule->what, err.msg);
    compact_plan_deinit(&lane->plan);
    lane->has_plan = false;
    if (result.committed) {
        note_version(schedule, result.version);
        schedule->counts[COUNT_COMPACTED]++;
        schedule->counts[COUNT_TRANSLATED] += result.rows_translated > 0;
    }
}

/* ---- the other engine, through the log alone ---- */

static struct object_store *store_of(const struct schedule *schedule)
{
    return table_store(schedule->lanes[0].fixture.table);
}

static const struct delta_file *random_file(struct schedule *schedule,
                                            const struct delta_state *state)
{
    const struct delta_file *file = NULL;
    struct delta_cursor cursor = {0};
    uint64_t left = state->files_count > 0 ? 1 + roll(schedule, (uint64_t)state->files_count) : 0;
    for (; left > 0; left--) {
        file = delta_state_next_file(state, &cursor);
    }
    return file;
}

/* The rows of a file; `vector` gets those that are dead. */
static struct frame *read_file(const struct schedule *schedule, const struct delta_file *file,
                               struct deletion_vector **vector)
{
    struct err err = {0};
    struct stored stored = {0};
    struct frame *frame = frame_new(schedule->lanes[0].fixture.schema);
    cr_assert_eq(stored_open(store_of(schedule), frame->schema, file, NULL, &stored, &err), ERR_OK,
                 "%s", err.msg);
    cr_assert_eq(stored_read_range(&stored, 0, stored.rows_count, frame, &err), ERR_OK, "%s",
                 err.msg);
    stored_close(&stored);
    if (delta_dv_is_present(&file->dv)) {
        cr_assert_eq(
            deletion_vector_read(store_of(schedule), &file->dv, frame->rows_count, vector, &err),
            ERR_OK, "%s", err.msg);
    } else {
        *vector = deletion_vector_new();
    }
    return frame;
}

static size_t row_of_key(const struct schedule *schedule, const struct frame *frame, int64_t row)
{
    struct span key = column_bytes(&frame->columns[schedule->lanes[0].fixture.id], row);
    int64_t number = 0;
    cr_assert(text_parse_int64(span_of(key.data + 1, key.size - 1), &number));
    return (size_t)number;
}

static struct row row_at(const struct schedule *schedule, const struct frame *frame, int64_t row)
{
    const struct fixture *fixture = &schedule->lanes[0].fixture;
    const struct column *note = &frame->columns[fixture->note];
    struct row found = {
        .live = true,
        .updated = frame->columns[fixture->updated].values.i64[row],
        .amount = frame->columns[fixture->amount].values.i32[row],
        .note = -1,
        .region = span_equal_text(column_bytes(&frame->columns[fixture->region], row), "south"),
    };
    int64_t number = 0;
    if (column_is_valid(note, row)) {
        struct span text = column_bytes(note, row);
        cr_assert(text_parse_int64(span_of(text.data + 1, text.size - 1), &number));
        found.note = (int)number;
    }
    return found;
}

/* Rows as a new file of the transaction; all of one partition. */
static void add_file(struct schedule *schedule, const struct frame *frame, bool data_change)
{
    struct err err = {0};
    struct object_group *group = NULL;
    struct output output = {0};
    bool tight = schedule->lanes[0].fixture.options.merge == TABLE_DELETION_VECTORS;
    output_init(&output, 1, frame, 0);
    cr_assert_eq(object_group_begin(store_of(schedule), 1, &group, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(output_write(&output, group, NULL, frame, NULL, 0, tight, &err), ERR_OK, "%s",
                 err.msg);
    cr_assert_eq(object_group_sync(group, &err), ERR_OK, "%s", err.msg);
    object_group_end(&group);
    output_commit(&output, schedule->foreign.transaction, data_change, NULL);
    output_deinit(&output);
}

static void stage_append(struct schedule *schedule)
{
    struct foreign *foreign = &schedule->foreign;
    size_t count = 1 + roll(schedule, 3);
    struct record_words records[3];
    char ids[3][TEXT_BYTES];
    int region = (int)roll(schedule, 2);
    for (size_t i = 0; i < count && schedule->foreign_made + i < FOREIGN_MAX; i++) {
        size_t key = KEYS + schedule->foreign_made + i;
        key_of(key, ids[i]);
        foreign->changed[foreign->changed_count] = key;
        foreign->after[foreign->changed_count++] =
            (struct row){.live = true, .updated = 1, .amount = 5, .note = -1, .region = region};
        records[i] = (struct record_words){
            .id = ids[i], .updated = 1, .amount = 5, .region = regions[region]};
    }
    schedule->foreign_made += foreign->changed_count;
    if (foreign->changed_count > 0) {
        CLEANUP(frame_free)
        struct frame *frame =
            fixture_frame(&schedule->lanes[0].fixture, records, foreign->changed_count);
        add_file(schedule, frame, true);
    }
}

/* Some of the file's live rows go, by its vector, or by a copy without them. */
static void stage_removal(struct schedule *schedule, const struct delta_file *file,
                          const struct frame *frame, const struct deletion_vector *before)
{
    struct foreign *foreign = &schedule->foreign;
    struct err err = {0};
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = deletion_vector_copy(before);
    CLEANUP(frame_free) struct frame *kept = frame_new(frame->schema);
    CLEANUP(frame_free) struct frame *changed = frame_new(frame->schema);
    bool by_vector = schedule->lanes[0].fixture.options.merge == TABLE_DELETION_VECTORS;
    for (int64_t row = 0; row < frame->rows_count; row++) {
        bool chosen = foreign->kind != FOREIGN_REWRITE && roll(schedule, 3) == 0;
        size_t key = row_of_key(schedule, frame, row);
        if (deletion_vector_contains(before, row)) {
            continue;
        }
        if (!chosen) {
            frame_append_row(kept, frame, row);
            continue;
        }
        deletion_vector_add(vector, row);
        if (foreign->kind == FOREIGN_DELETE) {
            foreign->removed[foreign->removed_count++] = key;
            continue;
        }
        frame_append_row(changed, frame, row);
        changed->columns[schedule->lanes[0].fixture.amount].values.i32[changed->rows_count - 1] =
            1000;
        foreign->changed[foreign->changed_count] = key;
        foreign->after[foreign->changed_count] = row_at(schedule, frame, row);
        foreign->after[foreign->changed_count++].amount = 1000;
    }
    bool touched = foreign->removed_count + foreign->changed_count > 0;
    if (foreign->kind == FOREIGN_REWRITE || (!by_vector && touched) ||
        (touched && kept->rows_count == 0)) {
        delta_transaction_remove(foreign->transaction, file, foreign->kind != FOREIGN_REWRITE);
        if (kept->rows_count > 0) {
            add_file(schedule, kept, foreign->kind != FOREIGN_REWRITE);
        }
    } else if (touched) {
        CLEANUP(deletion_vector_batch_deinit) struct deletion_vector_batch batch;
        size_t index = 0;
        deletion_vector_batch_init(&batch);
        cr_assert_eq(deletion_vector_batch_add(&batch, vector, &index, &err), ERR_OK, "%s",
                     err.msg);
        CLEANUP(object_group_end) struct object_group *group = NULL;
        cr_assert_eq(object_group_begin(store_of(schedule), 1, &group, &err), ERR_OK);
        cr_assert_eq(deletion_vector_batch_write(&batch, group, &err), ERR_OK, "%s", err.msg);
        cr_assert_eq(
            delta_transaction_set_dv(foreign->transaction, file, &batch.descriptors[index], &err),
            ERR_OK, "%s", err.msg);
    }
    if (changed->rows_count > 0) {
        add_file(schedule, changed, true);
    }
}

static void begin_foreign(struct schedule *schedule)
{
    static const enum delta_reads reads[FOREIGN_KINDS] = {
        [FOREIGN_APPEND] = DELTA_READS_NOTHING,
        [FOREIGN_DELETE] = DELTA_READS_FILES,
        [FOREIGN_UPDATE] = DELTA_READS_FILES,
        [FOREIGN_REWRITE] = DELTA_READS_FILES,
    };
    struct foreign *foreign = &schedule->foreign;
    struct err err = {0};
    memset(foreign, 0, sizeof *foreign);
    cr_assert_eq(delta_state_load(store_of(schedule), &foreign->state, &err), ERR_OK, "%s",
                 err.msg);
    foreign->kind = (enum foreign_kind)roll(schedule, FOREIGN_KINDS);
    const struct delta_file *file = random_file(schedule, foreign->state);
    foreign->kind = file == NULL ? FOREIGN_APPEND : foreign->kind;
    foreign->transaction =
        delta_transaction_begin(foreign->state, store_of(schedule), reads[foreign->kind]);
    if (foreign->kind == FOREIGN_APPEND) {
        stage_append(schedule);
    } else {
        CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
        CLEANUP(frame_free) struct frame *frame = read_file(schedule, file, &vector);
        stage_removal(schedule, file, frame, vector);
    }
    delta_transaction_set_operation(foreign->transaction, "WRITE", NULL, NULL);
}

static void end_foreign(struct schedule *schedule)
{
    struct foreign *foreign = &schedule->foreign;
    delta_transaction_free(&foreign->transaction);
    delta_state_release(&foreign->state);
}

static void commit_foreign(struct schedule *schedule)
{
    struct foreign *foreign = &schedule->foreign;
    struct err err = {0};
    CLEANUP(delta_commit_result_deinit) struct delta_commit_result result = {0};
    if (foreign->kind != FOREIGN_REWRITE && foreign->removed_count + foreign->changed_count == 0) {
        end_foreign(schedule); /* the dice chose no row */
        return;
    }
    enum err_code code = delta_transaction_commit(foreign->transaction, &result, &err);
    if (code == ERR_OK) {
        for (size_t i = 0; i < foreign->removed_count; i++) {
            struct row *row = &schedule->rows[foreign->removed[i]];
            cr_assert(row->live, "%s: a row went that was gone", schedule->what);
            row->live = false;
        }
        for (size_t i = 0; i < foreign->changed_count; i++) {
            size_t key = foreign->changed[i];
            schedule->rows[key] = foreign->after[i];
            if (key >= KEYS) {
                schedule->foreign_known[key - KEYS] = true;
            }
        }
        note_version(schedule, result.version);
        schedule->counts[COUNT_FOREIGN]++;
    } else {
        cr_assert_eq(code, ERR_CONFLICT, "%s: %s", schedule->what, err.msg);
        schedule->counts[COUNT_CONFLICTS]++;
    }
    end_foreign(schedule);
}

/* ---- schedules ---- */

/* A second process on the same folder: a lane, an index and a view of its own. */
static struct fixture second_lane(const struct fixture *first)
{
    struct fixture second = *first;
    struct err err = {0};
    CLEANUP(mem_cleanup) char *root = temp_dir_join(&first->dir, "tables");
    CLEANUP(mem_cleanup) char *index_root = temp_dir_join(&first->dir, "index of the second");
    second.instance = id_new_random();
    second.position = 0;
    struct tables_options options = {
        .root = root, .index_root = index_root, .instance = second.instance, .index_key = "other"};
    cr_assert_eq(tables_open(&options, &second.tables, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(tables_attach(second.tables, "t", &second.uuid, second.schema, &err), ERR_OK, "%s",
                 err.msg);
    cr_assert_eq(tables_find(second.tables, "t", &second.table, &err), ERR_OK, "%s", err.msg);
    return second;
}

static void step(struct schedule *schedule)
{
    struct lane *lane = &schedule->lanes[roll(schedule, LANES)];
    uint64_t what = roll(schedule, 20);
    if (what < 8) {
        merge(schedule, lane);
    } else if (what < 12) {
        compact(schedule, lane);
    } else if (what < 17 && schedule->foreign.transaction == NULL) {
        begin_foreign(schedule);
    } else if (what < 17) {
        commit_foreign(schedule);
    } else if (what < 18) {
        repeat(schedule, lane);
    } else {
        step_read(schedule, lane);
    }
}

static void end(struct schedule *schedule)
{
    end_foreign(schedule);
    for (size_t i = 0; i < LANES; i++) {
        struct lane *lane = &schedule->lanes[i];
        expect_newest(schedule, lane);
        compact_plan_deinit(&lane->plan);
        frame_free(&lane->last);
    }
    struct fixture *second = &schedule->lanes[1].fixture;
    table_release(&second->table);
    tables_close(&second->tables);
    /* whoever comes later, and knows nothing, sees the same */
    fixture_reopen(&schedule->lanes[0].fixture, true);
    expect_newest(schedule, &schedule->lanes[0]);
    fixture_remove(&schedule->lanes[0].fixture);
    for (size_t i = 0; i < VERSIONS_MAX; i++) {
        mem_free(schedule->versions[i]);
    }
}

static void run(uint64_t seed, size_t counts[COUNTS])
{
    static struct schedule schedule;
    memset(&schedule, 0, sizeof schedule);
    (void)snprintf(schedule.what, sizeof schedule.what, "schedule %llu", (unsigned long long)seed);
    schedule.dice = seed * 1000003;
    schedule.counts = counts;
    const struct fixture_options options = {
        .merge = roll(&schedule, 4) > 0 ? TABLE_DELETION_VECTORS : TABLE_COPY_ON_WRITE,
        .sequence = true,
        .partition = roll(&schedule, 3) == 0,
        .change_feed = roll(&schedule, 4) == 0,
    };
    schedule.lanes[0].fixture = fixture_make(&options);
    schedule.lanes[1].fixture = second_lane(&schedule.lanes[0].fixture);
    schedule.versions[0] = rows_text(&schedule);
    for (int i = 0; i < STEPS; i++) {
        step(&schedule);
    }
    end(&schedule);
}

Test(lanes, no_order_loses_or_doubles_anything)
{
    uint64_t schedules = history_number("SLUICE_SCHEDULES", 500);
    uint64_t first = history_number("SLUICE_SEED", 1);
    size_t counts[COUNTS] = {0};
    for (uint64_t seed = first; seed < first + schedules; seed++) {
        run(seed, counts);
    }
    if (getenv("SLUICE_SCHEDULES") != NULL) {
        (void)fprintf(stderr,
                      "conflicts %zu, translated %zu, foreign %zu, compacted %zu, repeated %zu\n",
                      counts[COUNT_CONFLICTS], counts[COUNT_TRANSLATED], counts[COUNT_FOREIGN],
                      counts[COUNT_COMPACTED], counts[COUNT_REPEATED]);
    }
    /* all happen often, or the schedules would prove little */
    for (size_t i = 0; i < COUNTS && schedules >= 100; i++) {
        cr_expect_gt(counts[i], (size_t)schedules / 8, "%zu: %zu", i, counts[i]);
    }
}
