/*
 * Seeded random histories against a simple model run record by record: late and
 * out-of-order records, deletes before inserts, the same key twice, any split
 * over batches and commits, patches, replays, compaction of old plans, index
 * maintenance, reopening with and without the index. SLUICE_HISTORIES sets how
 * many (default 1000), SLUICE_SEED where to start.
 */
#include "tests/unit/storage/snapshot/fixture.h"
#include "tests/unit/storage/snapshot/history_kit.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/snapshot/compact.h"
#include "storage/snapshot/lookup.h"

#include <criterion/criterion.h>

enum {
    KEYS = 12,
    TEXT_BYTES = 16,
    STEPS_MAX = 14,
    RECORDS_MAX = 9,
    BATCHES_MAX = 3,
    NAME_BYTES = 64
};

/* ---- randomness ---- */

struct dice {
    uint64_t state;
};

static uint64_t roll(struct dice *dice, uint64_t sides)
{
    dice->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = dice->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % sides;
}

static bool chance(struct dice *dice, uint64_t percent)
{
    return roll(dice, 100) < percent;
}

/* ---- the model ---- */

struct model_row {
    enum { MODEL_NOTHING, MODEL_LIVE, MODEL_DELETED } state;
    int64_t sequence;
    int64_t winner; /* position of the batch that won last */
    int64_t updated;
    int32_t amount;                                                /* INT32_MAX = null */
    char note[TEXT_BYTES], region[TEXT_BYTES], member[TEXT_BYTES]; /* "" = null */
};

struct model_counts {
    int64_t applied, superseded, rejected;
};

/* One record as the model sees it; texts "-" absent, "" null. */
struct model_record {
    enum frame_operation operation;
    int key;
    int64_t updated;
    int32_t amount;
    char note[TEXT_BYTES], region[TEXT_BYTES], member[TEXT_BYTES];
};

static void overlay_text(char *target, const char *source)
{
    if (strcmp(source, "-") != 0) {
        (void)snprintf(target, TEXT_BYTES, "%s", source);
    }
}

static void model_apply(struct model_row *row, const struct model_record *record, bool sequenced,
                        const struct merge_input *input, struct model_counts *counts)
{
    bool replay = input->order_position != input->position;
    int64_t sequence = sequenced       ? record->updated
                       : input->forced ? input->position
                                       : input->order_position;
    bool live = row->state == MODEL_LIVE;
    if (record->operation == FRAME_INSERT && live && !input->forced) {
        if (replay && sequence == row->sequence) {
            counts->superseded++;
        } else {
            counts->rejected++;
        }
        return;
    }
    bool wins = row->state == MODEL_NOTHING || input->forced || sequence > row->sequence ||
                (sequence == row->sequence && (!replay || row->winner == input->position));
    if (!wins) {
        counts->superseded++;
        return;
    }
    counts->applied++;
    row->winner = input->position;
    row->sequence = sequence;
    row->updated = record->updated;
    if (record->operation == FRAME_DELETE) {
        row->state = MODEL_DELETED;
        return;
    }
    if (record->operation != FRAME_PATCH || !live) {
        row->amount = INT32_MAX;
        row->note[0] = row->region[0] = row->member[0] = '\0';
    }
    row->state = MODEL_LIVE;
    row->amount = record->amount == INT32_MIN ? row->amount : record->amount;
    overlay_text(row->note, record->note);
    overlay_text(row->region, record->region);
    overlay_text(row->member, record->member);
}

static void append_member(struct buffer *text, const char *name, const char *value)
{
    if (value[0] == '\0') {
        buffer_append_format(text, ",\"%s\":null", name);
    } else {
        buffer_append_format(text, ",\"%s\":\"%s\"", name, value);
    }
}

static void model_json(const struct model_row *row, int key, bool sequenced, struct buffer *text)
{
    buffer_append_format(text, "{\"id\":\"k%02d\"", key);
    if (sequenced) {
        buffer_append_format(text, ",\"updated\":%lld", (long long)row->updated);
    }
    if (row->amount == INT32_MAX) {
        buffer_append_text(text, ",\"amount\":null");
    } else {
        buffer_append_format(text, ",\"amount\":%d", row->amount);
    }
    append_member(text, "note", row->note);
    append_member(text, "region", row->region);
    append_member(text, "member", row->member);
    buffer_append_text(text, "}");
}

/* ---- one history ---- */

struct history {
    uint64_t seed;
    struct dice dice;
    struct fixture fixture;
    struct model_row rows[KEYS];
    bool sequenced;
    bool replays;             /* some inputs carry an older order position */
    int64_t unique;           /* source of sequences that no other record has */
    struct compact_plan plan; /* made some steps ago */
    bool has_plan;
};

static void random_text(struct dice *dice, const char *prefix, uint64_t count, bool patch,
                        char out[TEXT_BYTES])
{
    if (patch && chance(dice, 40)) {
        (void)snprintf(out, TEXT_BYTES, "-");
    } else if (chance(dice, 20)) {
        out[0] = '\0';
    } else {
        (void)snprintf(out, TEXT_BYTES, "%s%llu", prefix, (unsigned long long)roll(dice, count));
    }
}

static struct model_record random_record(struct history *history, bool replay)
{
    struct dice *dice = &history->dice;
    static const enum frame_operation operations[] = {FRAME_UPSERT, FRAME_UPSERT, FRAME_UPSERT,
                                                      FRAME_PATCH,  FRAME_INSERT, FRAME_DELETE};
    struct model_record record = {.operation = operations[roll(dice, 6)]};
    record.key = (int)roll(dice, KEYS);
    /* Ties of replays depend on which rows share a file: here each has a sequence of its own. */
    record.updated = (int64_t)roll(dice, 30) * 1000 + (replay ? ++history->unique % 1000 : 0);
    bool patch = record.operation == FRAME_PATCH;
    record.amount = patch && chance(dice, 40) ? INT32_MIN
                    : chance(dice, 20)        ? INT32_MAX
                                              : (int32_t)roll(dice, 1000);
    random_text(dice, "n", 50, patch, record.note);
    random_text(dice, "r", 3, patch, record.region);
    random_text(dice, "m", 5, patch, record.member);
    return record;
}

static const char *text_or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static struct frame *frame_of(struct history *history, const struct model_record *records,
                              size_t count)
{
    static const char *const ids[KEYS] = {"k00", "k01", "k02", "k03", "k04", "k05",
                                          "k06", "k07", "k08", "k09", "k10", "k11"};
    struct record_words words[RECORDS_MAX];
    for (size_t i = 0; i < count; i++) {
        words[i] = (struct record_words){.operation = records[i].operation,
                                         .id = ids[records[i].key],
                                         .updated = records[i].updated,
                                         .amount = records[i].amount,
                                         .note = text_or_null(records[i].note),
                                         .region = text_or_null(records[i].region),
                                         .member = text_or_null(records[i].member)};
    }
    return fixture_frame(&history->fixture, words, count);
}

static void expect_counts(const struct history *history, const struct merge_batch_outcome *outcome,
                          const struct model_counts *counts)
{
    cr_assert(outcome->counts_known);
    cr_assert(
        outcome->applied == counts->applied && outcome->superseded == counts->superseded &&
            (int64_t)outcome->rejections_count == counts->rejected,
        "seed %llu: applied %lld, superseded %lld, rejected %zu; the model says %lld, %lld, %lld",
        (unsigned long long)history->seed, (long long)outcome->applied,
        (long long)outcome->superseded, outcome->rejections_count, (long long)counts->applied,
        (long long)counts->superseded, (long long)counts->rejected);
}

/* Sometimes the rows of some batches stand in one frame, in their order or in another. */
static struct frame *share_frame(struct history *history, struct merge_input *inputs,
                                 size_t batches)
{
    if (!chance(&history->dice, 50)) {
        return NULL;
    }
    struct frame *shared = frame_new(inputs[0].frame->schema);
    bool backwards = chance(&history->dice, 30);
    for (size_t i = 0; i < batches; i++) {
        struct merge_input *input = &inputs[backwards ? batches - 1 - i : i];
        if (input->frame->schema != shared->schema || chance(&history->dice, 30)) {
            continue;
        }
        int64_t first = shared->rows_count;
        for (int64_t row = 0; row < input->rows_count; row++) {
            frame_append_row(shared, input->frame, row);
        }
        input->frame = shared;
        input->row_first = first;
    }
    return shared;
}

static void step_merge(struct history *history)
{
    size_t batches = 1 + roll(&history->dice, BATCHES_MAX);
    struct merge_input inputs[BATCHES_MAX];
    struct frame *frames[BATCHES_MAX];
    struct model_counts counts[BATCHES_MAX] = {0};
    for (size_t i = 0; i < batches; i++) {
        bool replay =
            history->replays && history->fixture.position > 3 && chance(&history->dice, 25);
        struct model_record records[RECORDS_MAX];
        size_t count = roll(&history->dice, RECORDS_MAX + 1);
        for (size_t r = 0; r < count; r++) {
            records[r] = random_record(history, replay);
        }
        frames[i] = frame_of(history, records, count);
        inputs[i] = fixture_input(&history->fixture, frames[i]);
        if (replay) {
            inputs[i].order_position =
                1 + (int64_t)roll(&history->dice, (uint64_t)inputs[i].position - 1);
            inputs[i].forced = chance(&history->dice, 30);
        }
        for (size_t r = 0; r < count; r++) {
            model_apply(&history->rows[records[r].key], &records[r], history->sequenced, &inputs[i],
                        &counts[i]);
        }
    }
    CLEANUP(frame_free) struct frame *shared = share_frame(history, inputs, batches);
    struct err err = {0};
    /* Sometimes twice, as after a crash between commit and bookkeeping. */
    int times = chance(&history->dice, 15) ? 2 : 1;
    for (int again = 0; again < times; again++) {
        struct merge_outcome outcome = {0};
        cr_assert(table_merge(history->fixture.table, inputs, batches, &outcome, &err) == ERR_OK,
                  "seed %llu: %s", (unsigned long long)history->seed, err.msg);
        cr_assert(outcome.committed == (again == 0));
        for (size_t i = 0; i < batches; i++) {
            cr_assert(outcome.batches[i].already == (again == 1));
            expect_counts(history, &outcome.batches[i], &counts[i]);
        }
        merge_outcome_deinit(&outcome);
    }
    for (size_t i = 0; i < batches; i++) {
        frame_free(&frames[i]);
    }
}

/* Any live files, of one partition value each time it is partitioned. */
static void step_plan(struct history *history)
{
    compact_plan_deinit(&history->plan);
    history->plan.snapshot = table_snapshot(history->fixture.table);
    const struct snapshot *snapshot = history->plan.snapshot;
    history->plan.files = mem_zeroed(snapshot->files_count + 1, sizeof(uint32_t));
    const char *region = NULL;
    for (size_t i = 0; i < snapshot->files_count; i++) {
        bool found = false;
        const char *value = delta_file_partition_value(snapshot->files[i].file, "region", &found);
        value = value == NULL ? "" : value;
        region = region == NULL ? value : region;
        if (strcmp(region, value) == 0 && chance(&history->dice, 60)) {
            history->plan.files[history->plan.count++] = snapshot->files[i].number;
        }
    }
    history->has_plan = history->plan.count > 0;
}

static void step_compact(struct history *history)
{
    struct err err = {0};
    struct compact_result result = {0};
    cr_assert(compact_run(history->fixture.table, &history->plan, NULL, &result, &err) == ERR_OK,
              "seed %llu: %s", (unsigned long long)history->seed, err.msg);
    compact_plan_deinit(&history->plan);
    history->has_plan = false;
}

static void step_maintain(struct history *history)
{
    struct err err = {0};
    bool more = false;
    cr_assert(table_index_maintain(history->fixture.table, &more, &err) == ERR_OK, "%s", err.msg);
    int64_t soon_us = clock_wall_us() + INT64_C(2) * 3600 * 1000000; /* old enough to be removed */
    cr_assert(table_clean(history->fixture.table, soon_us, &err) == ERR_OK, "%s", err.msg);
}

static void expect_rows(struct history *history, const char *when)
{
    struct buffer expected;
    struct buffer actual;
    buffer_init(&expected, 1 << 20);
    buffer_init(&actual, 1 << 20);
    for (int key = 0; key < KEYS; key++) {
        size_t start = expected.size;
        if (history->rows[key].state == MODEL_LIVE) {
            model_json(&history->rows[key], key, history->sequenced, &expected);
        }
        char id[TEXT_BYTES];
        (void)snprintf(id, sizeof id, "k%02d", key);
        buffer_reset(&actual);
        fixture_lookup(&history->fixture, id, &actual);
        struct span wanted = span_of(expected.data + start, expected.size - start);
        cr_assert(span_equal(wanted, buffer_span(&actual)), "seed %llu, %s: %s is %.*s, not %.*s",
                  (unsigned long long)history->seed, when, id, SPAN_PRINT(buffer_span(&actual)),
                  SPAN_PRINT(wanted));
        if (wanted.size > 0) {
            buffer_append_byte(&expected, '\n');
        }
    }
    buffer_reset(&actual);
    const struct snapshot *snapshot = table_snapshot(history->fixture.table);
    fixture_rows(snapshot, &actual);
    snapshot_release(&snapshot);
    cr_assert(span_equal(buffer_span(&expected), buffer_span(&actual)),
              "seed %llu, %s: rows are\n%.*s, not\n%.*s", (unsigned long long)history->seed, when,
              SPAN_PRINT(buffer_span(&actual)), SPAN_PRINT(buffer_span(&expected)));
    buffer_deinit(&expected);
    buffer_deinit(&actual);
}

/* Each value of the lookup column leads to as many rows as the model has. */
static void expect_lookups(struct history *history)
{
    if (!history->fixture.options.lookup) {
        return;
    }
    const struct snapshot *snapshot = table_snapshot(history->fixture.table);
    for (int m = 0; m < 5; m++) {
        char member[TEXT_BYTES];
        (void)snprintf(member, sizeof member, "m%d", m);
        size_t expected = 0;
        for (int key = 0; key < KEYS; key++) {
            expected += history->rows[key].state == MODEL_LIVE &&
                        strcmp(history->rows[key].member, member) == 0;
        }
        struct row_value value = {.type = COLUMN_STRING, .bytes = span_of_text(member)};
        struct lookup_result result = {0};
        struct err err = {0};
        cr_assert(lookup_value(snapshot, 0, &value, NULL, &result, &err) == ERR_OK, "%s", err.msg);
        cr_assert(result.count == expected, "seed %llu: member %s has %zu rows, not %zu",
                  (unsigned long long)history->seed, member, result.count, expected);
        lookup_result_deinit(&result);
    }
    snapshot_release(&snapshot);
}

static void expect_all(struct history *history, const char *when)
{
    expect_rows(history, when);
    expect_lookups(history);
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof name, "seed %llu, %s", (unsigned long long)history->seed, when);
    fixture_verify(&history->fixture, name);
}

static void step(struct history *history)
{
    uint64_t what = roll(&history->dice, 100);
    /* Without sequence_by, exact positions of replays are known to the index alone. */
    bool may_tear = history->sequenced || !history->replays;
    if (what < 60) {
        step_merge(history);
    } else if (what < 72) {
        step_plan(history);
    } else if (what < 84 && history->has_plan) {
        step_compact(history);
    } else if (what < 90) {
        step_maintain(history);
    } else if (what < 95) {
        compact_plan_deinit(&history->plan);
        history->has_plan = false;
        fixture_reopen(&history->fixture, may_tear && chance(&history->dice, 50));
    } else {
        expect_all(history, "on the way");
    }
}

static void run(uint64_t seed)
{
    struct history history = {.seed = seed, .dice = {.state = seed * 1000003}};
    struct dice *dice = &history.dice;
    struct fixture_options options = {
        .merge = chance(dice, 70) ? TABLE_DELETION_VECTORS : TABLE_COPY_ON_WRITE,
        .sequence = chance(dice, 60),
        .partition = chance(dice, 30),
        .lookup = chance(dice, 50),
    };
    history.sequenced = options.sequence;
    history.replays = chance(dice, 40);
    history.fixture = fixture_make(&options);
    uint64_t steps = 4 + roll(dice, STEPS_MAX);
    for (uint64_t i = 0; i < steps; i++) {
        step(&history);
    }
    compact_plan_deinit(&history.plan);
    expect_all(&history, "at the end");
    fixture_reopen(&history.fixture, false);
    expect_all(&history, "opened again");
    fixture_reopen(&history.fixture, true);
    expect_all(&history, "index rebuilt");
    fixture_remove(&history.fixture);
}

Test(histories, equal_one_run_in_order)
{
    uint64_t count = history_number("SLUICE_HISTORIES", 1000);
    uint64_t first = history_number("SLUICE_SEED", 1);
    for (uint64_t seed = first; seed < first + count; seed++) {
        run(seed);
    }
}
