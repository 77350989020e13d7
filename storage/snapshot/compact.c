/*
 * Compaction. See compact.h.
 */
#include "storage/snapshot/compact.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/delta/transaction.h"
#include "storage/object/object.h"
#include "storage/snapshot/outcome.h"
#include "storage/snapshot/rewrite.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

enum { PURGE_ROWS_MIN = 1024 }; /* fewer dead rows are not worth a rewrite */

void compact_plan_deinit(struct compact_plan *plan)
{
    snapshot_release(&plan->snapshot);
    mem_free(plan->files);
    *plan = (struct compact_plan){0};
}

enum { GIVE_BACK_ROWS = 1 << 20 }; /* a run of so many holds a hundred megabytes */

/* ---- planning ---- */

/* A file with what decides about it. */
struct candidate {
    const struct snapshot_file *file;
    int64_t live_rows;
    int64_t dead_rows;
};

static int compare_partitions(const struct delta_file *a, const struct delta_file *b)
{
    for (size_t i = 0; i < a->partition_values_count; i++) {
        bool found = false;
        const char *left = a->partition_values[i].value;
        const char *right = delta_file_partition_value(b, a->partition_values[i].name, &found);
        int order =
            left == NULL || right == NULL ? (left != NULL) - (right != NULL) : strcmp(left, right);
        if (order != 0) {
            return order;
        }
    }
    return 0;
}

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *left = a;
    const struct candidate *right = b;
    int order = compare_partitions(left->file->file, right->file->file);
    if (order != 0) {
        return order;
    }
    return (left->live_rows > right->live_rows) - (left->live_rows < right->live_rows);
}

/* Files of unknown size (foreign, without statistics and images) are left alone. */
static struct candidate *list_candidates(const struct snapshot *snapshot, size_t *count_out)
{
    struct candidate *list = mem_zeroed(snapshot->files_count + 1, sizeof *list);
    size_t count = 0;
    for (size_t i = 0; i < snapshot->files_count; i++) {
        const struct snapshot_file *file = &snapshot->files[i];
        if (file->rows_count < 0) {
            continue;
        }
        int64_t dead = file->dv == NULL ? 0 : deletion_vector_cardinality(file->dv);
        list[count++] = (struct candidate){
            .file = file, .live_rows = file->rows_count - dead, .dead_rows = dead};
    }
    qsort(list, count, sizeof *list, compare_candidates);
    *count_out = count;
    return list;
}

static int64_t rows_of(const struct candidate *files, size_t count)
{
    int64_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        rows += files[i].live_rows;
    }
    return rows;
}

/*
 * Live rows of an output: a few files share a partition, because dead rows are purged file by
 * file. Of one large file all of them would wait for its turn; of files that take turns half as
 * many lie about at the same pace of purging.
 */
static int64_t rows_max_of(const struct candidate *files, size_t count)
{
    int64_t share = rows_of(files, count) / COMPACT_SHARING_FILES;
    if (share < COMPACT_SHARE_ROWS_MIN) {
        return COMPACT_SHARE_ROWS_MIN;
    }
    return share < COMPACT_ROWS_MAX ? share : COMPACT_ROWS_MAX;
}

/* How many go together from the first on, each not larger than those before it; one is nothing. */
static size_t count_alike(const struct candidate *files, size_t count, int64_t rows_max)
{
    int64_t rows = 0;
    int64_t bytes = 0;
    size_t alike = 0;
    while (alike < count && alike < COMPACT_INPUTS_MAX) {
        const struct candidate *next = &files[alike];
        bool too_large = rows + next->live_rows > rows_max ||
                         bytes + next->file->file->size > COMPACT_FILE_BYTES_MAX;
        if (too_large || (alike >= 2 && next->live_rows > rows)) {
            break;
        }
        rows += next->live_rows;
        bytes += next->file->file->size;
        alike++;
    }
    return alike >= 2 ? alike : 0;
}

/*
 * The smallest files that are alike and not too few, else the most that are. Always the smallest
 * would be two at a time while many others are larger, with a commit for each merge that comes;
 * larger ones make room for more merges, and no row is written more often in the long run.
 */
static size_t choose_tier(const struct candidate *files, size_t count, int64_t rows_max,
                          size_t alike_min, size_t *first_out)
{
    size_t best = 0;
    for (size_t first = 0; first < count && best < alike_min; first++) {
        size_t alike = count_alike(files + first, count - first, rows_max);
        if (alike > best) {
            best = alike;
            *first_out = first;
        }
    }
    return best;
}

/* Files under half of an even share of the partition are small. */
static size_t count_small(const struct candidate *files, size_t count)
{
    int64_t rows = rows_of(files, count);
    size_t small = 0;
    while (small < count && files[small].live_rows < rows / (2 * COMPACT_BASE_FILES_MAX)) {
        small++;
    }
    return small;
}

static size_t partition_end(const struct candidate *list, size_t count, size_t start)
{
    size_t end = start + 1;
    while (end < count && compare_partitions(list[start].file->file, list[end].file->file) == 0) {
        end++;
    }
    return end;
}

static void take(struct compact_plan *plan, const struct candidate *files, size_t count)
{
    plan->files = mem_zeroed(count + 1, sizeof *plan->files);
    plan->count = count;
    for (size_t i = 0; i < count; i++) {
        plan->files[i] = files[i].file->number;
        plan->live_rows += files[i].live_rows;
    }
}

/* Not those of the list that `plan` has already; how many are left. */
static size_t leave_out(const struct compact_plan *plan, struct candidate *list, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        bool taken = false;
        for (size_t j = 0; j < plan->count; j++) {
            taken = taken || plan->files[j] == list[i].file->number;
        }
        if (!taken) {
            list[left++] = list[i]; /* still by partition and size */
        }
    }
    return left;
}

static bool is_over_budget(const struct candidate *files, size_t count)
{
    return count_small(files, count) > COMPACT_SMALL_FILES_MAX ||
           count > COMPACT_SMALL_FILES_MAX + COMPACT_BASE_FILES_MAX;
}

/* Beside a run that has the large ones: what is large is not to be seen from the others. */
static bool are_many(const struct candidate *files, size_t count)
{
    (void)files;
    return count > COMPACT_SMALL_FILES_MAX;
}

/* When files are joined, and which. */
struct tier_rule {
    bool (*too_many)(const struct candidate *files, size_t count);
    size_t alike_min; /* larger ones are looked at when fewer of the smallest are alike */
    int64_t rows_max; /* live rows of the output */
};

static const struct tier_rule usual_rule = {
    .too_many = is_over_budget, .alike_min = COMPACT_ALIKE_MIN, .rows_max = COMPACT_ROWS_MAX};
/* Beside a run nothing is done but what merges made: the run itself is to go on. */
static const struct tier_rule beside_rule = {
    .too_many = are_many, .alike_min = 2, .rows_max = COMPACT_BETWEEN_ROWS_MAX};

/* Of the partition where files are too many, those that most can be made one of. */
static void plan_tier(struct compact_plan *plan, const struct candidate *list, size_t count,
                      const struct tier_rule *rule)
{
    size_t best = 0;
    size_t best_start = 0;
    for (size_t start = 0; start < count;) {
        size_t end = partition_end(list, count, start);
        size_t files = end - start;
        if (rule->too_many(list + start, files)) {
            int64_t share = rows_max_of(list + start, files);
            int64_t rows_max = share < rule->rows_max ? share : rule->rows_max;
            size_t first = 0;
            size_t chosen = choose_tier(list + start, files, rows_max, rule->alike_min, &first);
            if (chosen > best) {
                best = chosen;
                best_start = start + first;
            }
        }
        start = end;
    }
    if (best > 0) {
        take(plan, list + best_start, best);
    }
}

/* As many of the smallest files of a partition as fit into one; fewer than two is nothing. */
static size_t choose_fitting(const struct candidate *files, size_t count)
{
    int64_t rows = 0;
    int64_t bytes = 0;
    size_t chosen = 0;
    while (chosen < count && chosen < COMPACT_INPUTS_MAX) {
        rows += files[chosen].live_rows;
        bytes += files[chosen].file->file->size;
        if (rows > COMPACT_ROWS_MAX || bytes > COMPACT_FILE_BYTES_MAX) {
            break;
        }
        chosen++;
    }
    return chosen >= 2 ? chosen : 0;
}

/* The partition where most files become one. */
static void plan_joining(struct compact_plan *plan, const struct candidate *list, size_t count)
{
    size_t best = 0;
    size_t best_start = 0;
    for (size_t start = 0; start < count;) {
        size_t end = partition_end(list, count, start);
        size_t chosen = choose_fitting(list + start, end - start);
        if (chosen > best) {
            best = chosen;
            best_start = start;
        }
        start = end;
    }
    if (best > 0) {
        take(plan, list + best_start, best);
    }
}

static bool is_worse(const struct candidate *a, const struct candidate *b)
{
    return a->dead_rows * b->file->rows_count > b->dead_rows * a->file->rows_count;
}

/* The file with the largest share of dead rows, when too large: most gone for least written. */
static void plan_purge(struct compact_plan *plan, const struct candidate *list, size_t count,
                       int percent)
{
    const struct candidate *worst = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct candidate *file = &list[i];
        if (file->dead_rows >= PURGE_ROWS_MIN &&
            file->dead_rows * 100 > file->file->rows_count * percent &&
            (worst == NULL || is_worse(file, worst))) {
            worst = file;
        }
    }
    if (worst != NULL) {
        take(plan, worst, 1);
    }
}

static bool are_dead(const struct candidate *list, size_t count, int percent)
{
    int64_t rows = 0;
    int64_t dead = 0;
    for (size_t i = 0; i < count; i++) {
        rows += list[i].file->rows_count;
        dead += list[i].dead_rows;
    }
    return dead * 100 > rows * percent;
}

/*
 * Merges make small files without end, and dead rows with them. What they may cost is a share of
 * all rows, not of each file: files that wait for their turn until they have twice the share are
 * rewritten half as often. A table that rests has the time for more.
 */
static void plan_usual(struct compact_plan *plan, const struct candidate *list, size_t count,
                       bool resting)
{
    if (are_dead(list, count, COMPACT_URGENT_PERCENT)) {
        plan_purge(plan, list, count, COMPACT_TABLE_PERCENT);
    }
    if (plan->count == 0) {
        plan_tier(plan, list, count, &usual_rule);
    }
    if (plan->count == 0) {
        bool too_many = are_dead(list, count, COMPACT_TABLE_PERCENT);
        plan_purge(plan, list, count, too_many ? COMPACT_TABLE_PERCENT : COMPACT_FILE_PERCENT);
    }
    if (plan->count == 0 && resting) {
        plan_purge(plan, list, count, COMPACT_RESTING_PERCENT);
    }
}

void compact_plan(struct table *table, bool resting, struct compact_plan *plan_out)
{
    struct compact_plan plan = {.snapshot = table_snapshot(table)};
    size_t count = 0;
    struct candidate *list = list_candidates(plan.snapshot, &count);
    plan_usual(&plan, list, count, resting);
    if (plan.count == 0) {
        table_note_settled(table, plan.snapshot);
    }
    mem_free(list);
    *plan_out = plan;
}

void compact_plan_thorough(struct table *table, struct compact_plan *plan_out)
{
    struct compact_plan plan = {.snapshot = table_snapshot(table)};
    size_t count = 0;
    struct candidate *list = list_candidates(plan.snapshot, &count);
    plan_joining(&plan, list, count);
    if (plan.count == 0) {
        plan_purge(&plan, list, count, COMPACT_THOROUGH_PERCENT);
    }
    mem_free(list);
    *plan_out = plan;
}

uint32_t compact_newest(struct table *table)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    uint32_t newest = 0;
    for (size_t i = 0; i < snapshot->files_count; i++) {
        newest = snapshot->files[i].number > newest ? snapshot->files[i].number : newest;
    }
    return newest;
}

void compact_plan_sorted(struct table *table, const struct rewrite_sort *sort, uint32_t newest,
                         struct compact_plan *plan_out)
{
    struct compact_plan plan = {.snapshot = table_snapshot(table), .sort = sort};
    size_t count = 0;
    size_t left = 0;
    struct candidate *list = list_candidates(plan.snapshot, &count);
    for (size_t i = 0; i < count; i++) {
        if (list[i].file->number <= newest) {
            list[left++] = list[i]; /* still by partition and size */
        }
    }
    plan_joining(&plan, list, left);
    if (plan.count == 0 && left > 0) {
        take(&plan, list, 1);
    }
    mem_free(list);
    *plan_out = plan;
}

/* ---- running ---- */

struct compaction {
    struct table *table;
    const struct compact_plan *plan;
    struct rewrite_input *inputs;
    struct output output;
    struct entry_lists lists;
    struct index_view *runs; /* of the output's rows, made before the lock is taken */
    struct deletion_vector_batch vectors;
    bool tight;
    bool staged; /* the output is in the transaction: not when all of it died meanwhile */
    const _Atomic bool *stop;
    rewrite_between_fn *between; /* NULL = nothing is done between the rows */
    struct compact_result *result;
};

static enum err_code run_plan(struct table *table, const struct compact_plan *plan,
                              rewrite_between_fn *between, const _Atomic bool *stop,
                              struct compact_result *result_out, struct err *err);

static void compaction_deinit(struct compaction *compaction)
{
    for (size_t i = 0; i < compaction->plan->count; i++) {
        mem_free(compaction->inputs[i].new_rows);
    }
    mem_free(compaction->inputs);
    output_deinit(&compaction->output);
    entry_lists_deinit(&compaction->lists);
    index_view_release(&compaction->runs);
    deletion_vector_batch_deinit(&compaction->vectors);
}

static void discard(struct compaction *compaction)
{
    struct err ignored = {0};
    if (compaction->output.name != NULL &&
        object_remove(compaction->table->store, compaction->output.name, &ignored) != ERR_OK) {
        err_clear(&ignored); /* vacuum gets it later */
    }
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&compaction->table->commit);
    table_note_unused(compaction->table, compaction->output.images, compaction->runs);
}

/*
 * A run of a large share of the table takes seconds, in which merges go on and nobody joins
 * their small files: whoever upserts would be held up in the end (table_pause_us). So now and
 * then such files, which are none of the run's, are joined between its rows.
 */
static enum err_code join_small_files(const struct compaction *outer, struct err *err)
{
    struct table *table = outer->table;
    if (table_backlog_merges(table) < COMPACT_BETWEEN_MERGES) {
        return ERR_OK;
    }
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {.snapshot = table_snapshot(table)};
    size_t count = 0;
    struct candidate *list = list_candidates(plan.snapshot, &count);
    count = leave_out(outer->plan, list, count);
    plan_tier(&plan, list, count, &beside_rule);
    mem_free(list);
    if (plan.count == 0) {
        return ERR_OK;
    }
    struct compact_result ignored;
    return run_plan(table, &plan, NULL, outer->stop, &ignored, err);
}

/* Runs of the index come with every merge, and nobody else merges the large ones. */
static enum err_code merge_runs(void *arg, struct err *err)
{
    const struct compaction *outer = arg;
    bool more = true;
    while (more && (outer->stop == NULL || !*outer->stop)) {
        TRY(table_index_maintain(outer->table, &more, err));
    }
    return ERR_OK;
}

static enum err_code keep_up(void *arg, struct err *err)
{
    TRY(merge_runs(arg, err));
    return join_small_files(arg, err);
}

static void choose_inputs(struct compaction *compaction)
{
    const struct compact_plan *plan = compaction->plan;
    compaction->inputs = mem_zeroed(plan->count, sizeof *compaction->inputs);
    for (size_t i = 0; i < plan->count; i++) {
        const struct snapshot_file *file = snapshot_file_by_number(plan->snapshot, plan->files[i]);
        assert(file != NULL);
        struct rewrite_input *input = &compaction->inputs[i];
        *input = (struct rewrite_input){.file = file, .dead = file->dv};
        input->new_rows = mem_alloc(((size_t)file->rows_count + 1) * sizeof *input->new_rows);
        compaction->result->rows_purged += file->rows_count;
    }
    output_init_like(&compaction->output, table_new_file_number(compaction->table),
                     compaction->inputs[0].file->file);
}

/* Everything that takes long, beside merges. */
static enum err_code write_output(struct compaction *compaction, struct err *err)
{
    const struct snapshot *snapshot = compaction->plan->snapshot;
    choose_inputs(compaction);
    CLEANUP(object_group_end) struct object_group *group = NULL;
    TRY(object_group_begin(compaction->table->store, 1, &group, err));
    struct rewrite_request request = {.table = compaction->table,
                                      .group = group,
                                      .snapshot = snapshot,
                                      .inputs = compaction->inputs,
                                      .inputs_count = compaction->plan->count,
                                      .sort = compaction->plan->sort,
                                      .tight = compaction->tight,
                                      .stop = compaction->stop,
                                      .between = compaction->between,
                                      .between_arg = compaction};
    bool indexed = snapshot->index != NULL;
    entry_lists_init(&compaction->lists, snapshot->schema);
    TRY(rewrite_run(&request, &compaction->output, indexed ? &compaction->lists : NULL, err));
    if (indexed) {
        compaction->runs =
            index_view_new(snapshot->index->kinds_count, compaction->table->hash_key);
        TRY(entry_lists_flush(&compaction->lists, compaction->table, compaction->runs, err));
    }
    compaction->result->rows_written = compaction->output.rows_count;
    compaction->result->rows_purged -= compaction->output.rows_count;
    return compaction->output.rows_count == 0 ? ERR_OK : object_group_sync(group, err);
}

/* Are all inputs still live, perhaps with larger vectors? */
static bool inputs_are_live(const struct compaction *compaction, const struct snapshot *current)
{
    if (current->schema != compaction->plan->snapshot->schema) {
        return false;
    }
    for (size_t i = 0; i < compaction->plan->count; i++) {
        if (snapshot_file_by_number(current, compaction->inputs[i].file->number) == NULL) {
            return false;
        }
    }
    return true;
}

/* Rows of one input that died since the plan, as rows of the output. */
static void translate_input(struct compaction *compaction, const struct rewrite_input *input,
                            const struct deletion_vector *dv, struct deletion_vector *translated)
{
    int64_t count = dv == NULL ? 0 : deletion_vector_cardinality(dv);
    if (dv == input->dead || count == 0) {
        return;
    }
    CLEANUP(mem_cleanup) int64_t *rows = mem_alloc((size_t)count * sizeof *rows);
    deletion_vector_rows(dv, rows);
    for (int64_t i = 0; i < count; i++) {
        uint32_t moved = input->new_rows[rows[i]];
        if (moved != REWRITE_DROPPED) {
            deletion_vector_add(translated, moved);
            compaction->result->rows_translated++;
        }
    }
}

static void translate(struct compaction *compaction, const struct snapshot *current)
{
    struct deletion_vector *translated = deletion_vector_new();
    for (size_t i = 0; i < compaction->plan->count; i++) {
        const struct rewrite_input *input = &compaction->inputs[i];
        const struct snapshot_file *now = snapshot_file_by_number(current, input->file->number);
        translate_input(compaction, input, now->dv, translated);
    }
    if (deletion_vector_cardinality(translated) > 0) {
        compaction->output.vector = shared_vector_new(&translated);
    }
    deletion_vector_free(&translated);
}

/* Did anything of the output survive until now? */
static bool output_is_live(const struct compaction *compaction)
{
    const struct shared_vector *vector = compaction->output.vector;
    int64_t dead = vector == NULL ? 0 : deletion_vector_cardinality(vector->vector);
    return dead < compaction->output.rows_count;
}

static enum err_code write_vector(struct compaction *compaction, struct err *err)
{
    if (compaction->output.vector == NULL) {
        return ERR_OK;
    }
    size_t index = 0;
    TRY(deletion_vector_batch_add(&compaction->vectors, compaction->output.vector->vector, &index,
                                  err));
    CLEANUP(object_group_end) struct object_group *group = NULL;
    TRY(object_group_begin(compaction->table->store, 1, &group, err));
    TRY(deletion_vector_batch_write(&compaction->vectors, group, err));
    TRY(object_group_sync(group, err));
    return output_loosen(&compaction->output, err);
}

static enum err_code stage(struct compaction *compaction, const struct snapshot *current,
                           struct delta_transaction *transaction, struct err *err)
{
    for (size_t i = 0; i < compaction->plan->count; i++) {
        const struct snapshot_file *file =
            snapshot_file_by_number(current, compaction->inputs[i].file->number);
        delta_transaction_remove(transaction, file->file, false);
    }
    if (output_is_live(compaction)) {
        TRY(write_vector(compaction, err));
        const struct delta_dv *dv =
            compaction->output.vector == NULL ? NULL : &compaction->vectors.descriptors[0];
        output_commit(&compaction->output, transaction, false, dv);
        compaction->staged = true;
    }
    struct table *table = compaction->table;
    struct json *extension = NULL;
    bool written = false;
    TRY(outcome_encode(table->store, delta_transaction_id(transaction), table->app_id, NULL, NULL,
                       0, table->tombstones.files, table->tombstones.files_count, &extension,
                       &written, err));
    delta_transaction_set_operation(transaction, "OPTIMIZE", NULL, NULL);
    delta_transaction_set_extension(transaction, extension);
    return ERR_OK;
}

static enum err_code publish(struct compaction *compaction, const struct snapshot *current,
                             const struct delta_state *state, struct err *err)
{
    CLEANUP(file_list_deinit) struct file_list list = {0};
    file_list_copy(&list, current);
    for (size_t i = 0; i < compaction->plan->count; i++) {
        file_list_remove(&list, compaction->inputs[i].file->number);
    }
    struct output *output = &compaction->output;
    const struct delta_file *file = delta_state_file_by_path(state, output->path);
    if (file != NULL) {
        file_list_add(&list, output->number, file, &output->images, &output->vector);
    }
    CLEANUP(index_view_release) struct index_view *view = NULL;
    if (current->index != NULL) {
        view = index_view_copy(current->index);
        index_view_add_all(view, compaction->runs);
        TRY(table_fold_runs(compaction->table, view, err));
    }
    table_publish(compaction->table, current->schema, state, &list, view);
    return ERR_OK;
}

static enum err_code commit(struct compaction *compaction, const struct snapshot *current,
                            struct err *err)
{
    struct table *table = compaction->table;
    CLEANUP(delta_transaction_free)
    struct delta_transaction *transaction =
        delta_transaction_begin(current->state, table->store, DELTA_READS_FILES);
    TRY(stage(compaction, current, transaction, err));
    CLEANUP(delta_commit_result_deinit) struct delta_commit_result result = {0};
    TRY(delta_transaction_commit(transaction, &result, err));
    compaction->result->committed = true;
    compaction->result->version = result.version;
    compaction->result->files_removed = (int64_t)compaction->plan->count;
    compaction->result->file_bytes = compaction->output.file_bytes;
    table_remember(table, result.version, result.hash, -1);
    table_note_backlog(table, -(int64_t)compaction->plan->count);
    (void)__atomic_fetch_add(&table->compactions, 1, __ATOMIC_RELAXED); /* counters */
    (void)__atomic_fetch_add(&table->compacted_rows, compaction->output.rows_count,
                             __ATOMIC_RELAXED);
    if (result.version == current->version + 1 &&
        publish(compaction, current, result.state, err) == ERR_OK) {
        return ERR_OK;
    }
    err_clear(err);
    return table_follow(table, current->schema, result.state, false, err);
}

static enum err_code finish(struct compaction *compaction, struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&compaction->table->commit);
    bool changed = false;
    TRY(table_catch_up(compaction->table, NULL, &changed, err));
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(compaction->table);
    if (!inputs_are_live(compaction, current)) {
        return ERR_OK;
    }
    translate(compaction, current);
    enum err_code code = commit(compaction, current, err);
    if (code == ERR_CONFLICT) { /* somebody rewrote an input: plan again */
        err_clear(err);
        return ERR_OK;
    }
    return code;
}

static enum err_code run_plan(struct table *table, const struct compact_plan *plan,
                              rewrite_between_fn *between, const _Atomic bool *stop,
                              struct compact_result *result_out, struct err *err)
{
    assert(plan->count > 0);
    struct compact_result result = {.version = -1};
    CLEANUP(compaction_deinit)
    struct compaction compaction = {
        .table = table, .plan = plan, .stop = stop, .between = between, .result = &result};
    deletion_vector_batch_init(&compaction.vectors);
    compaction.tight = plan->snapshot->schema->merge == TABLE_DELETION_VECTORS;
    int64_t started_us = clock_monotonic_us();
    enum err_code code = write_output(&compaction, err);
    int64_t written_us = clock_monotonic_us();
    if (code == ERR_OK) {
        code = finish(&compaction, err);
    }
    bool in_log = result.committed && compaction.staged;
    if (!in_log && code != ERR_IO) { /* else it may be in the log and in use */
        discard(&compaction);
    }
    if (code != ERR_OK) {
        return err_wrap(err, "table '%s': compaction", table->name);
    }
    result.work_us = written_us - started_us;
    result.locked_us = clock_monotonic_us() - written_us;
    *result_out = result;
    return ERR_OK;
}

enum err_code compact_run(struct table *table, const struct compact_plan *plan,
                          const _Atomic bool *stop, struct compact_result *result_out,
                          struct err *err)
{
    bool is_large = plan->live_rows >= GIVE_BACK_ROWS;
    if (is_large) {
        mem_give_back(); /* what merges left: the two together are what a machine must have */
    }
    /* files that are joined meanwhile would escape a run that sorts all of them */
    rewrite_between_fn *between = plan->sort == NULL ? keep_up : merge_runs;
    enum err_code code = run_plan(table, plan, between, stop, result_out, err);
    if (is_large) {
        mem_give_back();
    }
    return code;
}
