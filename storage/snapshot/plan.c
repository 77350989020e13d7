/*
 * The merge plan. See plan.h; the rules are table_merge's.
 *
 * Records are grouped by key in the order they came, the stored rows of all keys
 * are found in one batched probe, and each group is folded over what is stored.
 */
#include "storage/snapshot/plan.h"

#include "storage/base/fault.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/columns/widen.h"
#include "storage/delta/constraints.h"
#include "storage/snapshot/probe.h"

#include <assert.h>

enum { DETAIL_BYTES_MAX = 500 }; /* of a constraint's text in a refusal */

#define KEYS_BYTES_MAX ((size_t)2 << 30)
#define NO_RECORD SIZE_MAX

/* One record of an input. */
struct record {
    uint32_t input;
    int64_t row;
    size_t next; /* next record of the same key */
};

/* One key and its records, oldest first. */
struct group {
    uint64_t hash;
    size_t key_at;
    uint32_t key_size;
    size_t first;
    size_t last;
};

struct planner {
    const struct plan_request *request;
    const struct schema *schema;
    struct plan *plan;
    struct record *records;
    size_t records_count;
    struct group *groups;
    size_t groups_count;
    size_t *slots; /* open addressing over groups, index + 1 */
    size_t slots_count;
    struct probe_key *keys; /* of groups */
    struct probe_result stored;
    struct frame *scratch; /* the row a patch starts from */
    struct constraints constraints;
    size_t *rejections_capacity; /* per input */
};

void plan_deinit(struct plan *plan)
{
    buffer_deinit(&plan->keys);
    mem_free(plan->puts);
    mem_free(plan->marks);
    mem_free(plan->tombstones);
    mem_free(plan->tombstone_hashes);
    frame_free(&plan->patched);
    for (size_t i = 0; i < plan->outcomes_count; i++) {
        merge_batch_outcome_deinit(&plan->outcomes[i]);
    }
    mem_free(plan->outcomes);
    *plan = (struct plan){0};
}

static void planner_deinit(struct planner *planner)
{
    mem_free(planner->records);
    mem_free(planner->groups);
    mem_free(planner->slots);
    mem_free(planner->keys);
    mem_free(planner->rejections_capacity);
    probe_result_deinit(&planner->stored);
    frame_free(&planner->scratch);
    constraints_deinit(&planner->constraints);
}

/* ---- grouping ---- */

static struct span group_key(const struct planner *planner, const struct group *group)
{
    return span_of(planner->plan->keys.data + group->key_at, group->key_size);
}

/* The group of the key just appended at `key_at`; a new one keeps those bytes. */
static struct group *group_of(struct planner *planner, uint64_t hash, size_t key_at)
{
    struct buffer *keys = &planner->plan->keys;
    struct span key = span_of(keys->data + key_at, keys->size - key_at);
    size_t mask = planner->slots_count - 1;
    for (size_t at = (size_t)hash & mask;; at = (at + 1) & mask) {
        if (planner->slots[at] == 0) {
            struct group *group = &planner->groups[planner->groups_count++];
            *group = (struct group){
                .hash = hash, .key_at = key_at, .key_size = (uint32_t)key.size, .first = NO_RECORD};
            planner->slots[at] = planner->groups_count;
            return group;
        }
        struct group *group = &planner->groups[planner->slots[at] - 1];
        if (group->hash == hash && span_equal(group_key(planner, group), key)) {
            keys->size = key_at;
            return group;
        }
    }
}

static void add_record(struct planner *planner, uint32_t input, int64_t row)
{
    struct buffer *keys = &planner->plan->keys;
    size_t key_at = keys->size;
    frame_key(planner->request->inputs[input].frame, row, keys);
    if (keys->overflowed) {
        return; /* reported when all are in */
    }
    struct span key = span_of(keys->data + key_at, keys->size - key_at);
    struct group *group = group_of(planner, hash_keyed(planner->request->hash_key, key), key_at);
    size_t index = planner->records_count++;
    planner->records[index] = (struct record){.input = input, .row = row, .next = NO_RECORD};
    if (group->first == NO_RECORD) {
        group->first = index;
    } else {
        planner->records[group->last].next = index;
    }
    group->last = index;
}

static bool is_skipped(const struct planner *planner, size_t input)
{
    return planner->request->inputs[input].position <= planner->request->applied_position;
}

static size_t count_records(const struct planner *planner)
{
    size_t count = 0;
    for (size_t i = 0; i < planner->request->inputs_count; i++) {
        if (!is_skipped(planner, i)) {
            count += (size_t)planner->request->inputs[i].rows_count;
        }
    }
    return count;
}

static enum err_code group_records(struct planner *planner, struct err *err)
{
    size_t count = count_records(planner);
    planner->records = mem_zeroed(count + 1, sizeof *planner->records);
    planner->groups = mem_zeroed(count + 1, sizeof *planner->groups);
    planner->slots_count = 64;
    while (planner->slots_count < count * 2) {
        planner->slots_count *= 2;
    }
    planner->slots = mem_zeroed(planner->slots_count, sizeof *planner->slots);
    for (uint32_t i = 0; i < planner->request->inputs_count; i++) {
        if (is_skipped(planner, i)) {
            continue;
        }
        const struct merge_input *input = &planner->request->inputs[i];
        for (int64_t row = 0; row < input->rows_count; row++) {
            add_record(planner, i, input->row_first + row);
        }
    }
    return buffer_check(&planner->plan->keys, "keys of a merge", err);
}

static enum err_code find_stored(struct planner *planner, struct err *err)
{
    planner->keys = mem_zeroed(planner->groups_count + 1, sizeof *planner->keys);
    for (size_t i = 0; i < planner->groups_count; i++) {
        planner->keys[i] = (struct probe_key){.hash = planner->groups[i].hash,
                                              .key = group_key(planner, &planner->groups[i])};
    }
    return probe_keys(planner->request->snapshot, planner->keys, planner->groups_count,
                      &planner->stored, err);
}

/* ---- folding one key ---- */

/* What the key holds while its records are gone through. */
struct standing {
    enum { STANDING_NOTHING, STANDING_STORED, STANDING_NEW, STANDING_DELETED } kind;
    bool changed;                     /* some record won */
    int64_t sequence;                 /* not for NOTHING */
    int64_t position;                 /* order position, for ties with replays */
    const struct merge_input *winner; /* of the record that won last, NULL = none did */
    const struct probe_hit *stored;   /* STORED: the newest of the key's rows */
    uint32_t source;                  /* NEW: as in plan_put */
    int64_t row;
    int64_t deleted_us; /* DELETED */
};

static bool is_live(const struct standing *standing)
{
    return standing->kind == STANDING_STORED || standing->kind == STANDING_NEW;
}

static struct standing standing_at_start(struct planner *planner, size_t group_index)
{
    struct standing standing = {.kind = STANDING_NOTHING};
    size_t rows = 0;
    for (size_t i = planner->stored.first[group_index]; i != PROBE_NONE;
         i = planner->stored.hits[i].next) {
        const struct probe_hit *hit = &planner->stored.hits[i];
        rows++;
        if (standing.stored == NULL || hit->entry.sequence > standing.sequence) {
            standing.kind = STANDING_STORED;
            standing.stored = hit;
            standing.sequence = hit->entry.sequence;
            standing.position = hit->file->position;
        }
    }
    planner->plan->duplicates_count += rows > 1;
    struct tombstone tombstone;
    const struct group *group = &planner->groups[group_index];
    if (rows == 0 &&
        tombstones_find(planner->request->tombstones, group->hash, group_key(planner, group),
                        &tombstone) &&
        tombstone.deleted_us >= planner->request->tombstone_horizon_us) {
        standing.kind = STANDING_DELETED;
        standing.sequence = tombstone.sequence;
        standing.position = tombstone.position;
    }
    return standing;
}

/* One record on its turn. */
struct turn {
    const struct merge_input *input;
    uint32_t input_index;
    int64_t row;
    enum frame_operation operation;
    int64_t order; /* position that it counts as; of a forced record that of now */
    int64_t sequence;
    bool replay;
};

static bool wins(const struct turn *turn, const struct standing *standing)
{
    if (standing->kind == STANDING_NOTHING || turn->input->forced) {
        return true;
    }
    if (turn->sequence != standing->sequence) {
        return turn->sequence > standing->sequence;
    }
    /* Records of one batch keep their order also when the batch is applied again. */
    return !turn->replay || standing->winner == turn->input || turn->order > standing->position;
}

static void reject(struct planner *planner, const struct turn *turn, enum merge_code code,
                   int32_t field_id)
{
    struct merge_batch_outcome *outcome = &planner->plan->outcomes[turn->input_index];
    size_t *capacity = &planner->rejections_capacity[turn->input_index];
    if (outcome->rejections_count == *capacity) {
        *capacity = *capacity == 0 ? 16 : *capacity * 2;
        outcome->rejections =
            mem_resize(outcome->rejections, *capacity, sizeof *outcome->rejections);
    }
    outcome->rejections[outcome->rejections_count++] = (struct merge_rejection){
        .row = turn->row - turn->input->row_first, .code = code, .field_id = field_id};
}

static void apply(struct planner *planner, const struct turn *turn, struct standing *standing)
{
    standing->changed = true;
    standing->winner = turn->input;
    standing->sequence = turn->sequence;
    standing->position = turn->order;
    planner->plan->outcomes[turn->input_index].applied++;
}

static void supersede(struct planner *planner, const struct turn *turn)
{
    planner->plan->outcomes[turn->input_index].superseded++;
}

/* Does a row that the record would leave break a constraint? Then it is refused. */
static bool is_broken(struct planner *planner, const struct turn *turn, const struct frame *frame,
                      int64_t row)
{
    const struct constraint *broken = constraints_broken(&planner->constraints, frame, row);
    if (broken == NULL) {
        return false;
    }
    struct merge_batch_outcome *outcome = &planner->plan->outcomes[turn->input_index];
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SIZE_MAX);
    buffer_append_format(&text, "%s: %.*s", broken->name, DETAIL_BYTES_MAX, broken->text);
    buffer_append_byte(&text, '\0');
    reject(planner, turn, MERGE_CONSTRAINT, 0);
    outcome->rejections[outcome->rejections_count - 1].detail =
        mem_copy_text((const char *)text.data);
    return true;
}

static void put_record(struct planner *planner, const struct turn *turn, struct standing *standing)
{
    if (is_broken(planner, turn, turn->input->frame, turn->row)) {
        return;
    }
    apply(planner, turn, standing);
    standing->kind = STANDING_NEW;
    standing->source = turn->input_index;
    standing->row = turn->row;
}

/* ---- patches ---- */

/* The row a patch starts from, alone in planner->scratch. */
static enum err_code load_base(struct planner *planner, const struct standing *standing,
                               struct err *err)
{
    if (planner->scratch == NULL) {
        planner->scratch = frame_new(planner->schema);
    }
    frame_reset(planner->scratch);
    if (standing->kind == STANDING_STORED) {
        return probe_read_row(planner->request->snapshot, standing->stored->file,
                              standing->stored->entry.row, planner->scratch, err);
    }
    const struct frame *source = standing->source == PLAN_PATCHED
                                     ? planner->plan->patched
                                     : planner->request->inputs[standing->source].frame;
    frame_append_row(planner->scratch, source, standing->row);
    return ERR_OK;
}

/* Append the row to plan->patched: present fields from the record, the others from the base. */
static void overlay(struct planner *planner, const struct turn *turn, bool has_base)
{
    const struct frame *record = turn->input->frame;
    struct frame *target = planner->plan->patched;
    for (size_t i = 0; i < planner->schema->fields_count; i++) {
        int index = schema_field_index_by_id(record->schema, planner->schema->fields[i].id);
        struct column *column = &target->columns[i];
        if (index >= 0 && column_is_present(&record->columns[index], turn->row)) {
            column_append_widened(column, &planner->schema->fields[i], &record->columns[index],
                                  turn->row);
        } else if (has_base && column_is_valid(&planner->scratch->columns[i], 0)) {
            column_append_from(column, &planner->scratch->columns[i], 0);
        } else {
            column_append_null(column);
        }
    }
    frame_end_row(target, FRAME_UPSERT, 0);
}

/* The first nullable:false field that the newest patched row leaves null; 0 = none. */
static int32_t lacking_field(const struct planner *planner)
{
    const struct frame *patched = planner->plan->patched;
    for (size_t i = 0; i < planner->schema->fields_count; i++) {
        if (!planner->schema->fields[i].nullable &&
            !column_is_valid(&patched->columns[i], patched->rows_count - 1)) {
            return planner->schema->fields[i].id;
        }
    }
    return 0;
}

static enum err_code patch_record(struct planner *planner, const struct turn *turn,
                                  struct standing *standing, struct err *err)
{
    if (planner->plan->patched == NULL) {
        planner->plan->patched = frame_new(planner->schema);
    }
    bool has_base = is_live(standing);
    if (has_base) {
        TRY(load_base(planner, standing, err));
    }
    overlay(planner, turn, has_base);
    int32_t lacking = has_base ? 0 : lacking_field(planner);
    if (lacking != 0) { /* the row stays in `patched`, nobody refers to it */
        reject(planner, turn, MERGE_REQUIRED, lacking);
        return ERR_OK;
    }
    const struct frame *patched = planner->plan->patched;
    if (is_broken(planner, turn, patched, patched->rows_count - 1)) {
        return ERR_OK; /* likewise */
    }
    apply(planner, turn, standing);
    standing->kind = STANDING_NEW;
    standing->source = PLAN_PATCHED;
    standing->row = planner->plan->patched->rows_count - 1;
    return ERR_OK;
}

/* ---- one record after the other ---- */

static void insert_record(struct planner *planner, const struct turn *turn,
                          struct standing *standing)
{
    if (is_live(standing) && !turn->input->forced) {
        /* A re-application meets the row that it wrote itself. */
        if (turn->replay && turn->sequence == standing->sequence) {
            supersede(planner, turn);
        } else {
            reject(planner, turn, MERGE_KEY_EXISTS, 0);
        }
    } else if (wins(turn, standing)) {
        put_record(planner, turn, standing);
    } else {
        supersede(planner, turn);
    }
}

static enum err_code take_turn(struct planner *planner, const struct turn *turn,
                               struct standing *standing, struct err *err)
{
    if (turn->operation == FRAME_INSERT) {
        insert_record(planner, turn, standing);
        return ERR_OK;
    }
    if (!wins(turn, standing)) {
        supersede(planner, turn);
        return ERR_OK;
    }
    switch (turn->operation) {
    case FRAME_UPSERT:
        put_record(planner, turn, standing);
        return ERR_OK;
    case FRAME_PATCH:
        return patch_record(planner, turn, standing, err);
    case FRAME_DELETE:
        apply(planner, turn, standing);
        standing->kind = STANDING_DELETED;
        standing->deleted_us = planner->request->now_us;
        return ERR_OK;
    case FRAME_INSERT:
        break;
    }
    assert(!"an operation");
    return ERR_OK;
}

static bool has_sequence_value(const struct turn *turn)
{
    const struct schema *schema = turn->input->frame->schema;
    return !schema->has_sequence ||
           column_is_valid(&turn->input->frame->columns[schema->sequence], turn->row);
}

static struct turn turn_of(const struct planner *planner, const struct record *record)
{
    const struct merge_input *input = &planner->request->inputs[record->input];
    struct turn turn = {.input = input,
                        .input_index = record->input,
                        .row = record->row,
                        .operation = frame_operation_at(input->frame, record->row),
                        .replay = input->order_position != input->position,
                        .order = input->forced ? input->position : input->order_position};
    turn.sequence = turn.order;
    if (planner->schema->has_sequence && has_sequence_value(&turn)) {
        turn.sequence = frame_sequence(input->frame, record->row);
    }
    return turn;
}

static enum err_code fold_group(struct planner *planner, const struct group *group,
                                struct standing *standing, struct err *err)
{
    for (size_t i = group->first; i != NO_RECORD; i = planner->records[i].next) {
        struct turn turn = turn_of(planner, &planner->records[i]);
        if (!has_sequence_value(&turn)) {
            reject(planner, &turn, MERGE_REQUIRED,
                   planner->schema->fields[planner->schema->sequence].id);
            continue;
        }
        TRY(take_turn(planner, &turn, standing, err));
    }
    return ERR_OK;
}

/* What a key that some record changed means for files and tombstones. */
static void settle(struct planner *planner, size_t group_index, const struct standing *standing)
{
    struct plan *plan = planner->plan;
    const struct group *group = &planner->groups[group_index];
    for (size_t i = planner->stored.first[group_index]; i != PROBE_NONE;
         i = planner->stored.hits[i].next) {
        const struct index_entry *entry = &planner->stored.hits[i].entry;
        plan->marks[plan->marks_count++] =
            (struct plan_mark){.file = entry->file, .row = entry->row};
    }
    if (standing->kind == STANDING_NEW) {
        plan->puts[plan->puts_count++] = (struct plan_put){.source = standing->source,
                                                           .row = standing->row,
                                                           .hash = group->hash,
                                                           .key_at = group->key_at,
                                                           .key_size = group->key_size,
                                                           .sequence = standing->sequence,
                                                           .position = standing->position};
        return;
    }
    assert(standing->kind == STANDING_DELETED);
    plan->tombstone_hashes[plan->tombstones_count] = group->hash;
    plan->tombstones[plan->tombstones_count++] =
        (struct tombstone){.sequence = standing->sequence,
                           .position = standing->position,
                           .deleted_us = standing->deleted_us,
                           .key = group_key(planner, group)};
}

static int compare_marks(const void *a, const void *b)
{
    const struct plan_mark *left = a;
    const struct plan_mark *right = b;
    if (left->file != right->file) {
        return left->file < right->file ? -1 : 1;
    }
    return (left->row > right->row) - (left->row < right->row);
}

/* An entry can stand in two runs for a moment of maintenance; a row is marked once. */
static void order_marks(struct plan *plan)
{
    qsort(plan->marks, plan->marks_count, sizeof *plan->marks, compare_marks);
    size_t kept = 0;
    for (size_t i = 0; i < plan->marks_count; i++) {
        if (kept == 0 || compare_marks(&plan->marks[kept - 1], &plan->marks[i]) != 0) {
            plan->marks[kept++] = plan->marks[i];
        }
    }
    plan->marks_count = kept;
}

static enum err_code plan_keyed(struct planner *planner, struct err *err)
{
    struct plan *plan = planner->plan;
    TRY(group_records(planner, err));
    TRY(find_stored(planner, err));
    plan->puts = mem_zeroed(planner->groups_count + 1, sizeof *plan->puts);
    plan->tombstones = mem_zeroed(planner->groups_count + 1, sizeof *plan->tombstones);
    plan->tombstone_hashes = mem_zeroed(planner->groups_count + 1, sizeof *plan->tombstone_hashes);
    plan->marks = mem_zeroed(planner->stored.count + 1, sizeof *plan->marks);
    for (size_t i = 0; i < planner->groups_count; i++) {
        struct standing standing = standing_at_start(planner, i);
        TRY(fold_group(planner, &planner->groups[i], &standing, err));
        if (standing.changed) {
            settle(planner, i, &standing);
        }
    }
    order_marks(plan);
    return ERR_OK;
}

/* Append tables: every row goes in that meets the constraints. */
static void plan_append(struct planner *planner)
{
    struct plan *plan = planner->plan;
    plan->puts = mem_zeroed(count_records(planner) + 1, sizeof *plan->puts);
    for (uint32_t i = 0; i < planner->request->inputs_count; i++) {
        if (is_skipped(planner, i)) {
            continue;
        }
        const struct merge_input *input = &planner->request->inputs[i];
        for (int64_t at = 0; at < input->rows_count; at++) {
            int64_t row = input->row_first + at;
            const struct turn turn = {.input = input, .input_index = i, .row = row};
            assert(frame_operation_at(input->frame, row) != FRAME_DELETE);
            if (is_broken(planner, &turn, input->frame, row)) {
                continue;
            }
            plan->puts[plan->puts_count++] = (struct plan_put){.source = i,
                                                               .row = row,
                                                               .sequence = input->order_position,
                                                               .position = input->order_position};
        }
        plan->outcomes[i].applied = input->rows_count - (int64_t)plan->outcomes[i].rejections_count;
    }
}

enum err_code plan_make(const struct plan_request *request, struct plan *plan_out, struct err *err)
{
    if (FAULT("merge.plan")) {
        return err_set(err, ERR_IO, "planted fault in planning");
    }
    CLEANUP(plan_deinit) struct plan plan = {0};
    buffer_init(&plan.keys, KEYS_BYTES_MAX);
    plan.outcomes_count = request->inputs_count;
    plan.outcomes = mem_zeroed(request->inputs_count + 1, sizeof *plan.outcomes);
    CLEANUP(planner_deinit)
    struct planner planner = {
        .request = request, .schema = request->snapshot->schema, .plan = &plan};
    planner.rejections_capacity = mem_zeroed(request->inputs_count + 1, sizeof(size_t));
    for (size_t i = 0; i < request->inputs_count; i++) {
        plan.outcomes[i].position = request->inputs[i].position;
        plan.outcomes[i].version = -1;
        plan.outcomes[i].already = is_skipped(&planner, i);
        plan.outcomes[i].counts_known = !plan.outcomes[i].already;
    }
    TRY(constraints_load(request->snapshot->state->metadata, planner.schema, &planner.constraints,
                         err));
    if (planner.schema->key_count == 0) {
        plan_append(&planner);
    } else {
        TRY(plan_keyed(&planner, err));
    }
    *plan_out = plan;
    plan = (struct plan){0};
    return ERR_OK;
}
