/*
 * Merging a lane. See merge.h for the contract.
 *
 * The order of the promises: attempt noted (catalog) → commit (the table's log)
 * → outcome noted (catalog) → waiters told. A crash between any two is made good
 * by the next step: what is in the table already is left out by its txn, and its
 * outcome is read back from the log.
 */
#include "workers/merge.h"

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/file.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "storage/catalog/batches.h"
#include "storage/columns/decode.h"
#include "storage/columns/encode_json.h"
#include "storage/columns/frame.h"
#include "storage/intake/recent_frames.h"
#include "storage/journal/journal.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
    STEP_ARENA_BYTES = 64 << 20,
    SMALL_ROWS_MAX = 256,         /* of a batch whose rows go into the frame that many share */
    SMALL_FRAME_BYTES = 64 << 10, /* encoded */
    PAYLOADS_BYTES_MAX = JOURNAL_RECORD_BYTES_MAX, /* dead letters of one batch found at merge */
    ROW_BYTES_MAX = 64 << 20,                      /* one row as JSON */
};

_Static_assert((int)DECODE_PARTITIONS_MAX <= (int)MERGE_PARTITIONS_MAX,
               "what the door lets in is one commit's work");

/* One step's work; everything it owns is freed by deinit. */
struct step {
    const struct merge_services *services;
    struct table *table;
    struct arena arena;
    struct batch *batches; /* in the arena */
    size_t count;
    int64_t applied;               /* positions up to here are in the table */
    bool full;                     /* more was queued than this step takes */
    struct schema *schema;         /* of all batches, or newer: taken behind them */
    struct segment_reader journal; /* of their frames */
    struct frame *small;           /* the rows of many small batches */
    struct frame *scratch;         /* of one batch, before its rows go there */
    struct frame **frames;         /* `frames_count` others, of one batch each */
    size_t frames_count;
    struct merge_input *inputs; /* of the readable ones */
    size_t *input_batch;        /* inputs → batches */
    size_t inputs_count;
    struct batch_outcome *outcomes; /* `count`, in the arena */
    struct merge_outcome merged;
};

static void step_deinit(struct step *step)
{
    for (size_t i = 0; i < step->frames_count; i++) {
        frame_free(&step->frames[i]);
    }
    frame_free(&step->small);
    frame_free(&step->scratch);
    segment_reader_deinit(&step->journal);
    schema_release(&step->schema);
    merge_outcome_deinit(&step->merged);
    table_release(&step->table);
    arena_deinit(&step->arena);
}

/* With how many batches this one may be merged at most, itself included. */
static size_t together_max(const struct batch *batch, int64_t applied)
{
    if (batch->position <= applied) {
        return SIZE_MAX; /* nothing of it is merged again */
    }
    if (batch->crashes > 0 || batch->interruptions >= MERGE_ALONE_INTERRUPTIONS) {
        return 1;
    }
    return batch->interruptions >= MERGE_SUSPECT_INTERRUPTIONS ? MERGE_SUSPECTS_MAX : SIZE_MAX;
}

/*
 * How many of the queued batches go together: all, but a suspect goes with few or alone, and
 * those before one that goes alone go without it.
 */
static size_t group_size(const struct batch *batches, size_t count, int64_t applied)
{
    size_t most = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t together = together_max(&batches[i], applied);
        most = together < most ? together : most;
        if (i >= most) {
            return i;
        }
    }
    return count;
}

/* After many interruptions the queue is long and the groups small: it is not read whole each time.
 */
static enum err_code read_queue(struct step *step, const struct id *lane, size_t *count_out,
                                struct err *err)
{
    const struct merge_services *services = step->services;
    size_t most = (size_t)services->commit_batches_max;
    TRY(batches_queued(services->catalog, lane, 0, 1, services->commit_bytes_max, &step->arena,
                       &step->batches, count_out, err));
    size_t together = *count_out == 0 ? 1 : together_max(&step->batches[0], step->applied);
    if (together == 1) {
        step->full = *count_out > 0;
        return ERR_OK;
    }
    most = together < most ? together : most;
    TRY(batches_queued(services->catalog, lane, 0, most, services->commit_bytes_max, &step->arena,
                       &step->batches, count_out, err));
    step->full = *count_out == most;
    return ERR_OK;
}

static enum err_code load_queue(struct step *step, const struct id *lane, struct err *err)
{
    size_t count = 0;
    step->applied = table_applied_position(step->table);
    TRY(read_queue(step, lane, &count, err));
    step->count = group_size(step->batches, count, step->applied);
    step->full = step->full || step->count < count;
    step->schema = table_schema(step->table);
    step->frames = arena_alloc(&step->arena, (step->count + 1) * sizeof(struct frame *));
    step->inputs = arena_alloc(&step->arena, (step->count + 1) * sizeof *step->inputs);
    step->input_batch = arena_alloc(&step->arena, (step->count + 1) * sizeof *step->input_batch);
    step->outcomes = arena_alloc(&step->arena, (step->count + 1) * sizeof *step->outcomes);
    if (step->arena.overflowed) {
        return err_set(err, ERR_TOO_LARGE, "the queue's batches need more than %d bytes to plan",
                       STEP_ARENA_BYTES);
    }
    for (size_t i = 0; i < step->count; i++) {
        step->outcomes[i] = (struct batch_outcome){
            .id = step->batches[i].id,
            .piece = step->batches[i].piece,
            .version = -1,
        };
    }
    return ERR_OK;
}

/*
 * Give a batch up: its frame goes to the dead letters whole, so that nothing that
 * was accepted is lost. `code` and `reason` are what its dead letter says.
 */
static enum err_code fail_batch(struct step *step, size_t index, const char *code,
                                const char *reason, struct err *err)
{
    const struct batch *batch = &step->batches[index];
    struct batch_outcome *outcome = &step->outcomes[index];
    struct buffer frame;
    buffer_init(&frame, JOURNAL_RECORD_BYTES_MAX);
    struct err unread = {0};
    enum err_code result = ERR_OK;
    if (journal_read(step->services->journal, &batch->frame, &frame, &unread) == ERR_OK) {
        result = journal_append(step->services->dead_letters, buffer_span(&frame),
                                &outcome->payloads, err);
        if (result == ERR_OK) {
            journal_sync(step->services->dead_letters, &outcome->payloads);
        }
    }
    buffer_deinit(&frame);
    TRY(result);
    outcome->state = BATCH_FAILED;
    outcome->failure = code;
    outcome->failure_message = arena_text(&step->arena, span_of_text(reason));

    struct log_line line;
    log_begin(&line, LOG_ERROR, "a batch could not be applied and is now a dead letter");
    log_text(&line, LOG_TABLE, table_name(step->table));
    log_text(&line, LOG_BATCH, batch->id.text);
    log_text(&line, LOG_CODE, code);
    log_text(&line, LOG_ERROR_TEXT, reason);
    log_end(&line);
    return ERR_OK;
}

/* Does this reason stay the same however often one tries? */
static bool is_deterministic(enum err_code code)
{
    return code == ERR_INVALID || code == ERR_UNSUPPORTED || code == ERR_CORRUPT ||
           code == ERR_TOO_LARGE;
}

/* The rows of the batch in step->scratch. */
static enum err_code read_frame(struct step *step, size_t index, struct err *err)
{
    const struct location *location = &step->batches[index].frame;
    struct frame *recent = recent_frames_take(step->services->recent, location, step->schema);
    if (recent != NULL) {
        frame_free(&step->scratch);
        step->scratch = recent;
        return ERR_OK;
    }
    struct span bytes = {0};
    TRY(segment_reader_read(&step->journal, location, &bytes, err));
    return frame_decode_again(bytes, step->schema, &step->scratch, err);
}

/*
 * Keep what was read: a few rows in the frame that small batches share, so that a thousand
 * records posted one by one cost one frame; many as they are.
 */
static struct merge_input keep_rows(struct step *step, const struct batch *batch)
{
    const struct frame *frame = step->scratch;
    struct merge_input input = {
        .rows_count = frame->rows_count,
        .batch = batch->id,
        .position = batch->position,
        .order_position = batch->order_position,
        .forced = batch->forced,
    };
    if (input.rows_count > SMALL_ROWS_MAX || batch->frame.size > SMALL_FRAME_BYTES) {
        step->frames[step->frames_count++] = step->scratch;
        step->scratch = NULL;
        input.frame = frame;
        return input;
    }
    if (step->small == NULL) {
        step->small = frame_new(step->schema);
    }
    int64_t rows[SMALL_ROWS_MAX];
    for (int64_t i = 0; i < input.rows_count; i++) {
        rows[i] = i;
    }
    input.row_first = step->small->rows_count;
    input.frame = step->small;
    frame_append_rows(step->small, frame, rows, input.rows_count);
    return input;
}

static bool is_poison(const struct step *step, const struct batch *batch)
{
    return batch->position > step->applied &&
           (batch->crashes >= MERGE_CRASHES_MAX || batch->interruptions >= MERGE_INTERRUPTIONS_MAX);
}

/*
 * Read the frames of the group; one that cannot be read or is poison fails alone.
 * The group ends early where its rows, bytes or files would be more than one commit takes.
 */
static enum err_code read_frames(struct step *step, struct err *err)
{
    int64_t rows_count = 0;
    int64_t bytes = 0; /* in memory, where frames of like records are many times what they were */
    CLEANUP(partition_set_deinit) struct partition_set partitions;
    partition_set_init(&partitions, MERGE_PARTITIONS_MAX);
    for (size_t i = 0; i < step->count; i++) {
        const struct batch *batch = &step->batches[i];
        if (is_poison(step, batch)) {
            TRY(fail_batch(step, i, "poison",
                           "merging it ended the process again and again; look at the log of "
                           "those moments, correct the batch, and replay it",
                           err));
            continue;
        }
        struct err unread = {0};
        enum err_code code = read_frame(step, i, &unread);
        if (code == ERR_CORRUPT || code == ERR_NOT_FOUND) {
            TRY(fail_batch(step, i, "unreadable", unread.msg, err));
            continue;
        }
        if (code != ERR_OK) {
            *err = unread;
            return code;
        }
        rows_count += step->scratch->rows_count;
        bytes += frame_value_bytes(step->scratch);
        partition_set_add(&partitions, step->scratch);
        bool over = rows_count > MERGE_ROWS_MAX || partitions.count > MERGE_PARTITIONS_MAX ||
                    bytes > step->services->commit_bytes_max;
        if (over && step->inputs_count > 0) {
            step->count = i; /* the rest is the next step's */
            step->full = true;
            break;
        }
        step->input_batch[step->inputs_count] = i;
        step->inputs[step->inputs_count++] = keep_rows(step, batch);
    }
    return ERR_OK;
}

/* The record as it was posted: what a patch left out is left out, or its replay would clear it. */
static void append_payload(const struct frame *frame, int64_t row, bool *mask,
                           struct buffer *payloads)
{
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        mask[i] = column_is_present(&frame->columns[i], row);
    }
    encode_json_row(frame, row, mask, payloads);
}

/* The records that the merge refused, as errors and as payloads for their dead letters. */
static enum err_code collect_rejections(struct step *step, const struct merge_input *input,
                                        const struct merge_batch_outcome *merged,
                                        struct batch_outcome *outcome, struct err *err)
{
    const struct frame *frame = input->frame;
    struct record_error *errors =
        arena_alloc(&step->arena, (merged->rejections_count + 1) * sizeof *errors);
    bool *mask = arena_alloc(&step->arena, frame->schema->fields_count * sizeof *mask);
    if (errors == NULL || mask == NULL) {
        return err_set(err, ERR_TOO_LARGE, "too many records were refused at merge");
    }
    struct buffer payloads;
    buffer_init(&payloads, PAYLOADS_BYTES_MAX);
    for (size_t i = 0; i < merged->rejections_count; i++) {
        const struct merge_rejection *rejection = &merged->rejections[i];
        int64_t row = input->row_first + rejection->row;
        size_t start = payloads.size;
        append_payload(frame, row, mask, &payloads);
        const char *pointer = "";
        if (rejection->code == MERGE_REQUIRED) {
            int field = schema_field_index_by_id(frame->schema, rejection->field_id);
            pointer = field >= 0
                          ? arena_format(&step->arena, "/%s", frame->schema->fields[field].name)
                          : "";
        }
        const char *message =
            rejection->code == MERGE_KEY_EXISTS
                ? "a row with this key is there already; post it as upsert to replace it"
                : "there is no row with this key to patch, and the record lacks a field that "
                  "must have a value";
        if (rejection->code == MERGE_CONSTRAINT) {
            message = arena_format(&step->arena, "the row does not meet the table's constraint %s",
                                   rejection->detail != NULL ? rejection->detail : "");
        }
        if (message == NULL) {
            buffer_deinit(&payloads);
            return err_set(err, ERR_TOO_LARGE, "too many records were refused at merge");
        }
        errors[i] = (struct record_error){
            .line = frame->lines != NULL && frame->lines[row] > 0 ? frame->lines[row]
                                                                  : rejection->row + 1,
            .pointer = span_of_text(pointer),
            .code = span_of_text(merge_code_name(rejection->code)),
            .message = span_of_text(message),
            .operation = frame_operation_at(frame, row),
            .payload_start = (int64_t)start,
            .payload_size = (int64_t)(payloads.size - start),
        };
    }
    enum err_code code = buffer_check(&payloads, "the records refused at merge", err);
    if (code == ERR_OK) {
        code = journal_append(step->services->dead_letters, buffer_span(&payloads),
                              &outcome->payloads, err);
    }
    if (code == ERR_OK) {
        journal_sync(step->services->dead_letters, &outcome->payloads);
    }
    buffer_deinit(&payloads);
    outcome->errors = errors;
    outcome->errors_count = merged->rejections_count;
    return code;
}

static enum err_code collect_outcomes(struct step *step, struct err *err)
{
    for (size_t i = 0; i < step->inputs_count; i++) {
        size_t index = step->input_batch[i];
        const struct merge_batch_outcome *merged = &step->merged.batches[i];
        struct batch_outcome *outcome = &step->outcomes[index];
        outcome->state = BATCH_INDEXED; /* table_merge publishes before it returns */
        outcome->version = merged->version >= 0 ? merged->version : step->merged.version;
        outcome->applied = merged->applied;
        outcome->superseded = merged->superseded;
        outcome->rejected_at_merge = (int64_t)merged->rejections_count;
        if (merged->rejections_count > 0) {
            TRY(collect_rejections(step, &step->inputs[i], merged, outcome, err));
        }
    }
    return ERR_OK;
}

/* Payloads written for outcomes are referred to by the catalog now, or never will be. */
static void settle_payloads(struct step *step)
{
    for (size_t i = 0; i < step->count; i++) {
        if (location_is_set(&step->outcomes[i].payloads)) {
            journal_settle(step->services->dead_letters, &step->outcomes[i].payloads);
        }
    }
}

static void observe(const struct step *step)
{
    char labels[160];
    (void)snprintf(labels, sizeof labels, "table=\"%s\"", table_name(step->table)); /* fits */
    metric_add(metric_register(METRIC_COUNTER, "sluice_commits_total", labels,
                               "Versions committed by merges."),
               step->merged.committed ? 1 : 0);
    metric_observe_us(metric_register(METRIC_HISTOGRAM, "sluice_merge_seconds", labels,
                                      "Time of one merge from plan to published snapshot."),
                      step->merged.plan_us + step->merged.write_us + step->merged.commit_us +
                          step->merged.publish_us);
    metric_observe_us(metric_register(METRIC_HISTOGRAM, "sluice_commit_seconds", labels,
                                      "Time of the put of a commit, its fsyncs included."),
                      step->merged.commit_us);
    int64_t records = 0;
    for (size_t i = 0; i < step->inputs_count; i++) {
        records += step->inputs[i].rows_count;
    }
    metric_add(metric_register(METRIC_COUNTER, "sluice_records_merged_total", labels,
                               "Records that merges have dealt with."),
               records);
}

static void log_merge(const struct step *step, int attempt, int64_t duration_us)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "merged");
    log_text(&line, LOG_TASK, "merge");
    log_text(&line, LOG_TABLE, table_name(step->table));
    log_integer(&line, LOG_ATTEMPT, attempt);
    log_integer(&line, LOG_COUNT_OF, (int64_t)step->inputs_count);
    log_integer(&line, LOG_RECORDS, step->merged.rows_added);
    log_integer(&line, LOG_VERSION, step->merged.version);
    log_integer(&line, LOG_DURATION_US, duration_us);
    log_end(&line);
}

/*
 * Another engine overwrote commits of ours: the lane's batches from there on are
 * durable again and come back at their positions.
 */
static enum err_code follow_foreign_commits(struct step *step, const struct id *lane,
                                            struct err *err)
{
    struct table_refresh_result refreshed = {0};
    TRY(table_refresh(step->table, &refreshed, err));
    if (refreshed.overwritten_from < 0) {
        return ERR_OK;
    }
    int64_t requeued = 0;
    TRY(batches_requeue(step->services->catalog, lane, refreshed.overwritten_from, &requeued, err));
    struct log_line line;
    log_begin(&line, LOG_ERROR,
              "another engine overwrote commits of ours; their batches are merged again");
    log_text(&line, LOG_TABLE, table_name(step->table));
    log_integer(&line, LOG_VERSION, refreshed.overwritten_from);
    log_integer(&line, LOG_COUNT_OF, requeued);
    log_end(&line);
    return ERR_OK;
}

/*
 * The merge of the whole group failed for a reason that will stay: when it was
 * one batch it fails, else the next step tries the first one alone.
 */
static enum err_code judge_failure(struct step *step, int attempt, enum err_code code,
                                   struct err *err)
{
    if (!is_deterministic(code) || attempt < MERGE_FAILURES_MAX) {
        return code;
    }
    assert(step->inputs_count == 1); /* group_size: after a failure batches go alone */
    struct err reason = *err;
    return fail_batch(step, step->input_batch[0], "unmergeable", reason.msg, err);
}

static enum err_code merge_group(struct step *step, const struct id *lane, int attempt,
                                 struct err *err)
{
    const struct merge_services *services = step->services;
    if (step->inputs_count == 0) {
        return ERR_OK;
    }
    batches_begin_attempt(services->catalog, lane, step->inputs[0].position,
                          step->inputs[step->inputs_count - 1].position);
    for (size_t i = 0; i < step->inputs_count; i++) {
        if (FAULT_VALUE("merge.poison", (unsigned long)step->inputs[i].rows_count)) {
            return err_set(err, ERR_IO, "planted failure"); /* or the end of the process */
        }
    }
    enum err_code code =
        table_merge(step->table, step->inputs, step->inputs_count, &step->merged, err);
    if (code == ERR_IO) {
        process_stop_after_io_error(err);
    }
    if (code != ERR_OK) {
        struct err merge_error = *err;
        batches_end_attempt(services->catalog, lane);
        if (code == ERR_CONFLICT) {
            TRY(follow_foreign_commits(step, lane, err));
        }
        *err = merge_error;
        return judge_failure(step, attempt, code, err);
    }
    observe(step);
    return collect_outcomes(step, err);
}

/*
 * What is queued behind what this step took. Asked before anybody is told that the step is done,
 * so that a client that waits for each of its batches does not look like load.
 */
static enum lane_rest rest_of(const struct step *step, const struct id *lane)
{
    struct lane_statistics statistics;
    struct err ignored = {0};
    if (lane_statistics(step->services->catalog, lane, &statistics, &ignored) != ERR_OK ||
        statistics.queued_count == 0) {
        return LANE_NOTHING;
    }
    return step->full ? LANE_FULL : LANE_MORE;
}

static enum err_code run_step(struct step *step, const struct id *lane, int attempt,
                              struct lane_left *left_out, struct err *err)
{
    TRY(load_queue(step, lane, err));
    if (step->count == 0) {
        return ERR_OK;
    }
    if (attempt > 1) {
        step->full = step->full || step->count > 1;
        step->count = 1; /* whoever fails again fails alone */
    }
    int64_t started_us = clock_monotonic_us();
    TRY(read_frames(step, err));
    enum err_code code = merge_group(step, lane, attempt, err);
    if (code == ERR_OK) {
        code = batches_finish(step->services->catalog, lane, step->outcomes, step->count, err);
    }
    settle_payloads(step);
    TRY(code);
    int64_t worked_us = clock_monotonic_us() - started_us;
    if (step->inputs_count > 0 && step->merged.batches != NULL) {
        log_merge(step, attempt, worked_us);
    }
    left_out->rest = rest_of(step, lane);
    left_out->pause_us = table_pause_us(step->table, worked_us);
    step->services->progress(step->services->progress_arg, lane);
    return ERR_OK;
}

enum err_code merge_step(const struct merge_services *services, const struct id *lane, int attempt,
                         struct lane_left *left_out, struct err *err)
{
    CLEANUP(step_deinit) struct step step = {.services = services};
    arena_init(&step.arena, STEP_ARENA_BYTES);
    journal_reader_begin(services->journal, &step.journal);
    if (tables_find_by_uuid(services->tables, lane, &step.table, err) != ERR_OK) {
        return err->code == ERR_NOT_FOUND ? err_set(err, ERR_CANCELLED, "the table is gone")
                                          : err->code;
    }
    enum err_code code = run_step(&step, lane, attempt, left_out, err);
    if (code != ERR_OK) {
        return err_wrap(err, "merge into table '%s'", table_name(step.table));
    }
    return ERR_OK;
}
