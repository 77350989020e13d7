/*
 * Pieces of a source into a table. See ingest.h.
 */
#include "workers/ingest.h"

#include "storage/base/hash.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/catalog/access.h"
#include "storage/catalog/sources.h"
#include "storage/snapshot/table.h"
#include "workers/task_audit.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
    PAYLOADS_BYTES_MAX = 256 << 20,
    ACCEPT_ARENA_BYTES = DECODE_ERRORS_BYTES_MAX + (64 << 20),
};

/* A piece on its way in. */
struct incoming {
    const struct source *source;
    const struct source_piece *piece;
    int64_t step;
    struct intake_batch batch;
    struct buffer payloads; /* of quarantined rows, as JSON */
    struct buffer findings;
    int64_t dropped, quarantined;
};

static void incoming_deinit(struct incoming *incoming)
{
    intake_batch_deinit(&incoming->batch);
    buffer_deinit(&incoming->payloads);
    buffer_deinit(&incoming->findings);
}

/* ---- room ---- */

static enum err_code check_time(void *arg, struct err *err)
{
    return task_check_time(arg, err);
}

/* The lane is full: wait until it moved on. */
static enum err_code wait_for_lane(struct ingest *ingest, struct err *err)
{
    const struct id *table = table_uuid(ingest->table);
    int64_t seen = 0;
    for (;;) {
        int64_t retry_seconds = 0; /* for those who cannot wait */
        enum err_code code = intake_check_lane(&ingest->stores, table, &retry_seconds, err);
        if (code != ERR_BUSY) {
            return code;
        }
        err_clear(err);
        TRY(task_wait_progress(ingest->attempt, table, &seen, err));
    }
}

/* ---- judging ---- */

static enum err_code decode(struct ingest *ingest, struct incoming *incoming, struct err *err)
{
    const struct source_piece *piece = incoming->piece;
    const struct intake_patience patience = {.check = check_time, .arg = ingest->attempt};
    struct intake_batch *batch = &incoming->batch;
    intake_batch_init(batch, &ingest->stores);
    batch->schema = schema_acquire(ingest->schema);
    batch->decode.format = piece->format;
    batch->decode.operation = ingest->reader.operation;
    batch->decode.is_part = true;
    batch->decode.line_offset = piece->line_offset;
    if (piece->rows != NULL) {
        return intake_batch_decode_rows(batch, piece->rows, &patience, err);
    }
    return intake_batch_decode_part(batch, piece->body, piece->records_count, &patience, err);
}

static enum err_code refuse_piece(const struct incoming *incoming, const char *why, struct err *err)
{
    const struct decode_error *first = &incoming->batch.errors.items[0];
    return err_set(err, ERR_INVALID, "%s %" PRId64 "%s%s: %s; %s", incoming->piece->place,
                   first->line, first->pointer[0] != '\0' ? " " : "", first->pointer,
                   first->message, why);
}

static enum err_code judge(const struct ingest *ingest, const struct incoming *incoming,
                           struct err *err)
{
    char why[160];
    switch (intake_batch_judge(&incoming->batch, ingest->strict)) {
    case INTAKE_GOOD:
        break;
    case INTAKE_REJECTED_STRICTLY:
        return refuse_piece(incoming,
                            "handling is strict, so nothing of this piece is taken; correct the "
                            "records, or take handling lenient",
                            err);
    case INTAKE_TOO_MANY_REJECTED:
        (void)snprintf(why, sizeof why,
                       "%" PRId64 " of %" PRId64
                       " records of this piece break the table's rules, too many to put aside",
                       incoming->batch.errors.rejected_count,
                       incoming->batch.errors.received_count); /* fits */
        return refuse_piece(incoming, why, err);
    }
    return ERR_OK;
}

/* ---- expectations ---- */

static enum err_code fail_if_asked(const struct ingest *ingest, const struct incoming *incoming,
                                   struct err *err)
{
    size_t index = 0;
    if (!expectations_failed(ingest->expectations, ingest->tallies, &index)) {
        return ERR_OK;
    }
    const struct expectation_tally *tally = &ingest->tallies[index];
    return err_set(err, ERR_INVALID,
                   "%s %" PRId64 ": expectation '%s' is not met by %" PRId64 " of %" PRId64
                   " records of this piece, of which nothing is taken",
                   incoming->piece->place, tally->examples_count > 0 ? tally->examples[0].line : 0,
                   ingest->expectations->items[index].name, tally->violations, tally->judged);
}

/* {"dropped":N,"quarantined":N,"expectations":[[judged,violations,line,…],…]} */
static void write_findings(const struct ingest *ingest, struct incoming *incoming)
{
    struct buffer *text = &incoming->findings;
    buffer_append_format(text,
                         "{\"dropped\":%" PRId64 ",\"quarantined\":%" PRId64 ",\"expectations\":[",
                         incoming->dropped, incoming->quarantined);
    for (size_t i = 0; i < ingest->expectations->count; i++) {
        const struct expectation_tally *tally = &ingest->tallies[i];
        buffer_append_format(text, "%s[%" PRId64 ",%" PRId64, i > 0 ? "," : "", tally->judged,
                             tally->violations);
        for (size_t j = 0; j < tally->examples_count; j++) {
            buffer_append_format(text, ",%" PRId64, tally->examples[j].line);
        }
        buffer_append_byte(text, ']');
    }
    buffer_append_text(text, "]}");
    assert(!text->overflowed); /* EXPECTATIONS_MAX lists of at most twelve numbers */
}

static enum err_code apply_expectations(struct ingest *ingest, struct incoming *incoming,
                                        struct err *err)
{
    if (ingest->bound == NULL) {
        return ERR_OK;
    }
    struct intake_batch *batch = &incoming->batch;
    int64_t rejected = batch->errors.rejected_count;
    memset(ingest->tallies, 0, ingest->expectations->count * sizeof *ingest->tallies);
    TRY(expectations_part(ingest->bound, &batch->frame, &batch->errors, ingest->tallies,
                          &incoming->payloads, &incoming->dropped, err));
    incoming->quarantined = batch->errors.rejected_count - rejected;
    TRY(fail_if_asked(ingest, incoming, err));
    write_findings(ingest, incoming);
    return ERR_OK;
}

/* ---- accepting ---- */

static struct source_step step_of(const struct ingest *ingest, const struct source *source,
                                  const struct source_piece *piece, int64_t number)
{
    struct source_step step = {
        .step = number,
        .checkpoint = piece->checkpoint,
        .run_id = ingest->attempt->run_id,
        .task_key = ingest->key,
    };
    memcpy(step.source, source->id, sizeof step.source);
    return step;
}

/* Two runs read the same source at once: the other one was here first. */
static enum err_code met_another(enum err_code code, struct err *err)
{
    if (code != ERR_EXISTS) {
        return code;
    }
    return err_set(err, ERR_CONFLICT,
                   "another run reads this source into the table now; trying again goes on behind "
                   "what it took");
}

static enum err_code accept(struct ingest *ingest, struct incoming *incoming, struct err *err)
{
    struct task_attempt *attempt = ingest->attempt;
    struct intake_batch *batch = &incoming->batch;
    struct source_step step = step_of(ingest, incoming->source, incoming->piece, incoming->step);
    step.findings = buffer_span(&incoming->findings);
    struct intake_origin origin = {
        .table = *table_uuid(ingest->table),
        .principal = attempt->principal->id,
        .body_bytes = (int64_t)incoming->piece->body.size,
        .step = &step,
    };
    hash_sha256(incoming->piece->body, origin.body_sha256);
    TRY(task_audit(attempt, "batch.accept", "batch.post", table_name(ingest->table), batch->id.text,
                   batch->errors.accepted_count, err));
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, ACCEPT_ARENA_BYTES);
    int64_t position = 0;
    TRY(met_another(intake_batch_accept(batch, &origin, &arena, &position, err), err));
    attempt->services->wake_lane(attempt->services->wake_arg, table_uuid(ingest->table));
    return ERR_OK;
}

static void add_progress(struct ingest *ingest, const struct incoming *incoming)
{
    struct task_progress *progress = &ingest->progress;
    const struct decode_errors *errors = &incoming->batch.errors;
    progress->rows_in += errors->received_count + incoming->dropped;
    progress->rows_out += errors->accepted_count;
    progress->rows_rejected += errors->rejected_count;
}

static void show_progress(struct ingest *ingest, const struct source *source)
{
    struct task_progress *progress = &ingest->progress;
    progress->bytes_in = ingest->bytes_before + source->progress.bytes;
    bool all = ingest->total_bytes > 0;
    progress->work_done = all ? progress->bytes_in : source->progress.work_done;
    progress->work_total = all ? ingest->total_bytes : source->progress.work_total;
    task_set_progress(ingest->attempt, progress);
}

static enum err_code take_records(struct ingest *ingest, const struct source *source,
                                  const struct source_piece *piece, int64_t step, struct err *err)
{
    CLEANUP(incoming_deinit)
    struct incoming incoming = {.source = source, .piece = piece, .step = step};
    buffer_init(&incoming.payloads, PAYLOADS_BYTES_MAX);
    buffer_init(&incoming.findings, SOURCE_FINDINGS_BYTES_MAX);
    TRY(wait_for_lane(ingest, err));
    TRY(decode(ingest, &incoming, err));
    TRY(judge(ingest, &incoming, err));
    TRY(apply_expectations(ingest, &incoming, err));
    TRY(accept(ingest, &incoming, err));
    add_progress(ingest, &incoming);
    return ERR_OK;
}

static enum err_code take_piece(struct ingest *ingest, const struct source *source,
                                const struct source_piece *piece, int64_t step, struct err *err)
{
    if (piece->records_count > 0) {
        return take_records(ingest, source, piece, step, err);
    }
    const struct source_step record = step_of(ingest, source, piece, step);
    return met_another(source_step_record(ingest->stores.catalog, &record, err), err);
}

static enum err_code read_pieces(struct ingest *ingest, struct source *source, int64_t step,
                                 struct err *err)
{
    for (;;) {
        struct source_piece piece;
        bool found = false;
        TRY(task_check_time(ingest->attempt, err));
        TRY(source_next(source, &piece, &found, err));
        if (!found) {
            show_progress(ingest, source);
            return ERR_OK;
        }
        if (take_piece(ingest, source, &piece, ++step, err) != ERR_OK) {
            return err->code == ERR_CANCELLED ? err->code : err_wrap(err, "%s", source->name);
        }
        show_progress(ingest, source);
    }
}

enum err_code ingest_source(struct ingest *ingest, struct source *source, bool *was_done_out,
                            struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer checkpoint;
    int64_t step = 0;
    buffer_init(&checkpoint, SOURCE_CHECKPOINT_BYTES_MAX);
    TRY(source_position(ingest->stores.catalog, source->id, &step, &checkpoint, err));
    TRY(source_begin(source, buffer_span(&checkpoint), was_done_out, err));
    return *was_done_out ? ERR_OK : read_pieces(ingest, source, step, err);
}

/* ---- what was found out ---- */

static int64_t number_at(const struct json *array, size_t index)
{
    int64_t number = 0;
    (void)json_as_integer(json_at(array, index), &number); /* absent counts nothing */
    return number;
}

static void add_tally(struct expectation_tally *tally, const struct json *list)
{
    tally->judged += number_at(list, 0);
    tally->violations += number_at(list, 1);
    for (size_t i = 2; i < json_count(list); i++) {
        if (tally->examples_count < EXPECTATION_EXAMPLES_MAX) {
            tally->examples[tally->examples_count++].line = number_at(list, i);
        }
    }
}

struct adding {
    struct ingest_findings *findings;
    size_t count;
};

static enum err_code add_findings(void *arg, struct span text, struct err *err)
{
    const struct adding *adding = arg;
    struct ingest_findings *findings = adding->findings;
    CLEANUP(json_free) struct json *json = NULL;
    TRY(json_parse(text, &json, err));
    int64_t dropped = 0;
    int64_t quarantined = 0;
    (void)json_as_integer(json_get(json, "dropped"), &dropped); /* absent counts nothing */
    (void)json_as_integer(json_get(json, "quarantined"), &quarantined);
    findings->dropped += dropped;
    findings->quarantined += quarantined;
    const struct json *lists = json_get(json, "expectations");
    for (size_t i = 0; i < adding->count && i < json_count(lists); i++) {
        add_tally(&findings->tallies[i], json_at(lists, i));
    }
    return ERR_OK;
}

enum err_code ingest_findings_read(const struct ingest *ingest,
                                   struct ingest_findings *findings_out, struct err *err)
{
    size_t count = ingest->expectations->count;
    struct ingest_findings findings = {.tallies = mem_zeroed(count + 1, sizeof *findings.tallies)};
    struct adding adding = {.findings = &findings, .count = count};
    enum err_code code = source_findings(ingest->stores.catalog, ingest->attempt->run_id,
                                         ingest->key, add_findings, &adding, err);
    if (code != ERR_OK) {
        mem_free(findings.tallies);
        return code;
    }
    *findings_out = findings;
    return ERR_OK;
}
