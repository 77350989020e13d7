/*
 * From a merge plan to files and index entries. See merge_work.h.
 */
#include "storage/snapshot/merge_work.h"

#include "storage/base/mem.h"
#include "storage/delta/transaction.h"
#include "storage/object/object.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/keys.h"
#include "storage/snapshot/merge_changes.h"
#include "storage/snapshot/order.h"
#include "storage/snapshot/rewrite.h"

#include <assert.h>

#define SORT_BYTES_MAX ((size_t)4 << 30)
enum {
    SCRATCH_BYTES_MAX = 1 << 26,
    PREFETCH_SLOTS = 8, /* rows ahead */
    PREFETCH_TEXTS = 4,
    SIDE_ROWS_MIN = 8192, /* fewer are indexed while the disk has the data: a thread costs more */
};

void merge_work_init(struct merge_work *work, struct table *table, const struct snapshot *snapshot,
                     const struct merge_input *inputs, size_t inputs_count)
{
    *work = (struct merge_work){
        .table = table, .snapshot = snapshot, .inputs = inputs, .inputs_count = inputs_count};
    buffer_init(&work->sort_bytes, SORT_BYTES_MAX);
    deletion_vector_batch_init(&work->vectors);
    entry_lists_init(&work->lists, snapshot->schema);
}

/* Wait for the thread, if there is one. */
static void join_side(struct merge_work *work)
{
    if (work->side_started) {
        int result = pthread_join(work->side, NULL);
        assert(result == 0);
        work->side_started = false;
    }
}

void merge_work_deinit(struct merge_work *work)
{
    join_side(work);
    for (size_t i = 0; i < work->outputs_count; i++) {
        output_deinit(&work->outputs[i]);
    }
    for (size_t i = 0; i < work->change_outputs_count; i++) {
        output_deinit(&work->change_outputs[i]);
    }
    schema_release(&work->change_schema);
    for (size_t i = 0; i < work->touched_count; i++) {
        deletion_vector_free(&work->touched[i].vector);
    }
    plan_deinit(&work->plan);
    frame_free(&work->gathered);
    mem_free(work->rows);
    mem_free(work->order);
    mem_free(work->sort_keys);
    mem_free(work->partition_sizes);
    mem_free(work->outputs);
    mem_free(work->change_outputs);
    mem_free(work->output_ends);
    mem_free(work->touched);
    buffer_deinit(&work->sort_bytes);
    deletion_vector_batch_deinit(&work->vectors);
    object_group_end(&work->group);
    entry_lists_deinit(&work->lists);
    index_view_release(&work->runs);
}

static void discard_outputs(const struct merge_work *work, const struct output *outputs,
                            size_t count)
{
    struct err ignored = {0};
    for (size_t i = 0; i < count; i++) {
        if (object_remove(work->table->store, outputs[i].name, &ignored) != ERR_OK) {
            err_clear(&ignored); /* vacuum gets it later */
        }
        table_note_unused(work->table, outputs[i].images, NULL);
    }
}

void merge_work_discard(struct merge_work *work)
{
    struct err ignored = {0};
    discard_outputs(work, work->outputs, work->outputs_count);
    discard_outputs(work, work->change_outputs, work->change_outputs_count);
    table_note_unused(work->table, NULL, work->runs);
    if (work->vectors.has_file &&
        object_remove(work->table->store, work->vectors.object_name, &ignored) != ERR_OK) {
        err_clear(&ignored); /* likewise */
    }
}

/* ---- one frame with all rows ---- */

static const struct frame *frame_of(const struct merge_work *work, uint32_t source)
{
    return source == PLAN_PATCHED ? work->plan.patched : work->inputs[source].frame;
}

/* The only frame that rows come from, when nothing has to be copied; else NULL. */
static const struct frame *sole_frame(const struct merge_work *work)
{
    const struct plan *plan = &work->plan;
    const struct frame *frame = frame_of(work, plan->puts[0].source);
    for (size_t i = 0; i < plan->puts_count; i++) {
        uint32_t source = plan->puts[i].source;
        if (source == PLAN_PATCHED || frame_of(work, source) != frame) {
            return NULL;
        }
    }
    return frame->schema->version == work->snapshot->schema->version ? frame : NULL;
}

/* Neighbouring inputs of one frame, and the rows that go from it into the gathered one. */
struct stretch {
    const struct frame *frame;
    int64_t first; /* row of the gathered frame */
    int64_t count;
};

/* The stretch of each input; returns how many there are, that of patched rows included. */
static uint32_t list_stretches(const struct merge_work *work, struct stretch *stretches,
                               uint32_t *of_input)
{
    uint32_t count = 0;
    for (size_t i = 0; i < work->inputs_count; i++) {
        if (i == 0 || work->inputs[i].frame != work->inputs[i - 1].frame) {
            stretches[count++].frame = work->inputs[i].frame;
        }
        of_input[i] = count - 1;
    }
    stretches[count].frame = work->plan.patched;
    return count + 1;
}

/* Into one frame, source by source; work->rows says where the row of each put went. */
static void gather_stretches(struct merge_work *work)
{
    const struct plan *plan = &work->plan;
    CLEANUP(mem_cleanup)
    struct stretch *stretches = mem_zeroed(work->inputs_count + 1, sizeof *stretches);
    CLEANUP(mem_cleanup) uint32_t *of_put = mem_zeroed(plan->puts_count, sizeof *of_put);
    CLEANUP(mem_cleanup) uint32_t *of_input = mem_zeroed(work->inputs_count, sizeof *of_input);
    CLEANUP(mem_cleanup) int64_t *chosen = mem_zeroed(plan->puts_count, sizeof *chosen);
    uint32_t count = list_stretches(work, stretches, of_input);
    for (size_t i = 0; i < plan->puts_count; i++) {
        uint32_t source = plan->puts[i].source;
        of_put[i] = source == PLAN_PATCHED ? count - 1 : of_input[source];
        stretches[of_put[i]].count++;
    }
    for (uint32_t i = 1; i < count; i++) {
        stretches[i].first = stretches[i - 1].first + stretches[i - 1].count;
        stretches[i - 1].count = 0;
    }
    stretches[count - 1].count = 0;
    for (size_t i = 0; i < plan->puts_count; i++) {
        struct stretch *stretch = &stretches[of_put[i]];
        work->rows[i] = stretch->first + stretch->count++;
        chosen[work->rows[i]] = plan->puts[i].row;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (stretches[i].count > 0) {
            frame_append_rows(work->gathered, stretches[i].frame, chosen + stretches[i].first,
                              stretches[i].count);
        }
    }
}

static void gather_rows(struct merge_work *work)
{
    const struct plan *plan = &work->plan;
    work->rows = mem_zeroed(plan->puts_count, sizeof *work->rows);
    work->frame = sole_frame(work);
    if (work->frame != NULL) {
        for (size_t i = 0; i < plan->puts_count; i++) {
            work->rows[i] = plan->puts[i].row;
        }
        return;
    }
    work->gathered = frame_new(work->snapshot->schema);
    gather_stretches(work);
    work->frame = work->gathered;
}

/* ---- order ---- */

static enum err_code make_sort_keys(struct merge_work *work, struct err *err)
{
    const struct plan *plan = &work->plan;
    work->sort_keys = mem_zeroed(plan->puts_count, sizeof *work->sort_keys);
    work->partition_sizes = mem_zeroed(plan->puts_count, sizeof *work->partition_sizes);
    if (work->frame->schema->partition_count == 0) {
        for (size_t i = 0; i < plan->puts_count; i++) {
            work->sort_keys[i] = plan_key(plan, &plan->puts[i]);
        }
        return ERR_OK;
    }
    CLEANUP(buffer_deinit) struct buffer scratch;
    buffer_init(&scratch, SCRATCH_BYTES_MAX);
    CLEANUP(mem_cleanup) size_t *starts = mem_zeroed(plan->puts_count + 1, sizeof *starts);
    for (size_t i = 0; i < plan->puts_count; i++) {
        partition_bytes_of_row(work->frame, work->rows[i], &scratch, &work->sort_bytes);
        work->partition_sizes[i] = work->sort_bytes.size - starts[i];
        buffer_append_span(&work->sort_bytes, plan_key(plan, &plan->puts[i]));
        starts[i + 1] = work->sort_bytes.size;
    }
    TRY(buffer_check(&work->sort_bytes, "keys of a merge", err));
    for (size_t i = 0; i < plan->puts_count; i++) {
        work->sort_keys[i] = span_of(work->sort_bytes.data + starts[i], starts[i + 1] - starts[i]);
    }
    return ERR_OK;
}

static bool same_partition(const struct merge_work *work, uint32_t a, uint32_t b)
{
    return span_equal(span_of(work->sort_keys[a].data, work->partition_sizes[a]),
                      span_of(work->sort_keys[b].data, work->partition_sizes[b]));
}

static enum err_code order_rows(struct merge_work *work, struct err *err)
{
    size_t count = work->plan.puts_count;
    TRY(make_sort_keys(work, err));
    work->order = mem_zeroed(count, sizeof *work->order);
    order_spans(work->sort_keys, count, work->order);
    return ERR_OK;
}

/* ---- outputs ---- */

static struct output *new_output(struct merge_work *work)
{
    work->outputs = mem_resize(work->outputs, work->outputs_count + 1, sizeof *work->outputs);
    work->output_ends =
        mem_resize(work->output_ends, work->outputs_count + 1, sizeof *work->output_ends);
    work->output_ends[work->outputs_count] =
        work->outputs_count == 0 ? 0 : work->output_ends[work->outputs_count - 1];
    work->outputs[work->outputs_count] = (struct output){0};
    return &work->outputs[work->outputs_count++];
}

static int64_t newest_position(const struct merge_work *work, size_t start, size_t end)
{
    int64_t position = 0;
    for (size_t i = start; i < end; i++) {
        const struct plan_put *put = &work->plan.puts[work->order[i]];
        position = put->position > position ? put->position : position;
    }
    return position;
}

/* Where the partition that begins at `start` of the order ends. */
static size_t partition_end(const struct merge_work *work, size_t start)
{
    size_t end = start + 1;
    while (end < work->plan.puts_count &&
           same_partition(work, work->order[start], work->order[end])) {
        end++;
    }
    return end;
}

static void name_output(struct merge_work *work, size_t start, size_t end)
{
    struct output *output = new_output(work);
    output_init(output, table_new_file_number(work->table), work->frame,
                work->rows[work->order[start]]);
    work->output_ends[work->outputs_count - 1] = end;
    output->position = newest_position(work, start, end);
}

static enum err_code write_output(struct merge_work *work, struct output *output, size_t start,
                                  size_t end, struct err *err)
{
    CLEANUP(mem_cleanup) int64_t *rows = mem_zeroed(end - start, sizeof *rows);
    for (size_t i = start; i < end; i++) {
        rows[i - start] = work->rows[work->order[i]];
    }
    bool tight = work->snapshot->schema->merge == TABLE_DELETION_VECTORS;
    return output_write(output, work->group, work->table->writer, work->frame, rows,
                        (int64_t)(end - start), tight, err);
}

/* Which rows go to which file. With copy-on-write the rewriting decides. */
static enum err_code place_rows(struct merge_work *work, struct err *err)
{
    if (work->plan.puts_count == 0) {
        return ERR_OK;
    }
    gather_rows(work);
    TRY(order_rows(work, err));
    for (size_t start = 0; start < work->plan.puts_count;) {
        size_t end = partition_end(work, start);
        work->partitions_count++;
        if (!work->rewrites) {
            name_output(work, start, end);
        }
        start = end;
    }
    return ERR_OK;
}

/*
 * One of the vectors, one for each partition with new rows, and at most one for each file that is
 * rewritten; of changes about one a partition.
 */
static size_t count_files(const struct merge_work *work)
{
    size_t count = work->partitions_count + 1;
    for (size_t i = 0; i < work->touched_count; i++) {
        count += work->touched[i].rewritten ? 1 : 0;
    }
    if (merge_changes_are_told(work)) {
        count += work->partitions_count + work->touched_count;
    }
    return count;
}

static enum err_code write_rows(struct merge_work *work, struct err *err)
{
    size_t start = 0;
    for (size_t i = 0; i < work->outputs_count; i++) {
        TRY(write_output(work, &work->outputs[i], start, work->output_ends[i], err));
        start = work->output_ends[i];
    }
    return ERR_OK;
}

/* ---- marks ---- */

/* The rows of one touched file: marks [start, end) of the plan. */
static void touch_file(struct merge_work *work, size_t start, size_t end)
{
    const struct plan_mark *marks = &work->plan.marks[start];
    const struct snapshot_file *file = snapshot_file_by_number(work->snapshot, marks[0].file);
    assert(file != NULL);
    struct touched *touched = &work->touched[work->touched_count++];
    *touched = (struct touched){.file = file, .marks_count = end - start};
    touched->vector = file->dv == NULL ? deletion_vector_new() : deletion_vector_copy(file->dv);
    int64_t *rows = mem_zeroed(end - start, sizeof *rows);
    for (size_t i = 0; i < end - start; i++) {
        rows[i] = marks[i].row;
    }
    deletion_vector_add_rows(touched->vector, rows, (int64_t)(end - start));
    mem_free(rows);
    touched->emptied = deletion_vector_cardinality(touched->vector) == file->rows_count;
    /* A foreign file without numRecords may not carry a vector: its rows move. */
    touched->rewritten = !touched->emptied && (work->rewrites || file->file->rows_count < 0);
}

static void touch_files(struct merge_work *work)
{
    const struct plan *plan = &work->plan;
    work->touched = mem_zeroed(plan->marks_count + 1, sizeof *work->touched);
    for (size_t start = 0; start < plan->marks_count;) {
        size_t end = start + 1;
        while (end < plan->marks_count && plan->marks[end].file == plan->marks[start].file) {
            end++;
        }
        touch_file(work, start, end);
        start = end;
    }
}

static enum err_code write_vectors(struct merge_work *work, struct err *err)
{
    for (size_t i = 0; i < work->touched_count; i++) {
        struct touched *touched = &work->touched[i];
        if (!touched->emptied && !touched->rewritten) {
            TRY(deletion_vector_batch_add(&work->vectors, touched->vector, &touched->dv_index,
                                          err));
        }
    }
    return deletion_vector_batch_write(&work->vectors, work->group, err);
}

/* ---- copy-on-write ---- */

/* The new rows [start, end) of the order in the form that rewriting takes. */
static void new_rows(const struct merge_work *work, size_t start, size_t end,
                     struct rewrite_rows *rows)
{
    size_t count = end - start;
    int64_t *numbers = mem_zeroed(count + 1, sizeof *numbers);
    struct span *keys = mem_zeroed(count + 1, sizeof *keys);
    uint64_t *hashes = mem_zeroed(count + 1, sizeof *hashes);
    int64_t *sequences = mem_zeroed(count + 1, sizeof *sequences);
    for (size_t i = 0; i < count; i++) {
        uint32_t index = work->order[start + i];
        const struct plan_put *put = &work->plan.puts[index];
        numbers[i] = work->rows[index];
        keys[i] = plan_key(&work->plan, put);
        hashes[i] = put->hash;
        sequences[i] = put->sequence;
    }
    *rows = (struct rewrite_rows){.frame = work->frame,
                                  .rows = numbers,
                                  .keys = keys,
                                  .hashes = hashes,
                                  .sequences = sequences,
                                  .count = count};
}

static void free_rows(struct rewrite_rows *rows)
{
    mem_free((void *)(uintptr_t)rows->rows);
    mem_free((void *)(uintptr_t)rows->keys);
    mem_free((void *)(uintptr_t)rows->hashes);
    mem_free((void *)(uintptr_t)rows->sequences);
}

static bool same_values(const struct output *output, const struct delta_file *file)
{
    for (size_t i = 0; i < output->partition_values_count; i++) {
        bool found = false;
        const char *name = output->partition_values[i].name;
        const char *value = output->partition_values[i].value;
        const char *other = delta_file_partition_value(file, name, &found);
        bool same = value == NULL || other == NULL ? value == other : strcmp(value, other) == 0;
        if (!same) {
            return false;
        }
    }
    return true;
}

/* One output: the files of its partition that lose rows, and new rows [start, end). */
static enum err_code rewrite_partition(struct merge_work *work, struct output *output, bool *taken,
                                       size_t start, size_t end, struct err *err)
{
    CLEANUP(mem_cleanup)
    struct rewrite_input *inputs = mem_zeroed(work->touched_count + 1, sizeof *inputs);
    size_t count = 0;
    for (size_t i = 0; i < work->touched_count && count < REWRITE_INPUTS_MAX; i++) {
        const struct touched *touched = &work->touched[i];
        if (touched->rewritten && !taken[i] && same_values(output, touched->file->file)) {
            taken[i] = true;
            inputs[count++] =
                (struct rewrite_input){.file = touched->file, .dead = touched->vector};
        }
    }
    CLEANUP(free_rows) struct rewrite_rows extra = {0};
    new_rows(work, start, end, &extra);
    output->position = newest_position(work, start, end);
    struct rewrite_request request = {
        .table = work->table,
        .group = work->group,
        .snapshot = work->snapshot,
        .inputs = inputs,
        .inputs_count = count,
        .extra = &extra,
        .tight = work->snapshot->schema->merge == TABLE_DELETION_VECTORS,
    };
    return rewrite_run(&request, output,
                       index_is_needed(work->snapshot->schema) ? &work->lists : NULL, err);
}

/* Files that lose rows in partitions without new rows. */
static enum err_code rewrite_others(struct merge_work *work, bool *taken, struct err *err)
{
    for (size_t i = 0; i < work->touched_count; i++) {
        if (work->touched[i].rewritten && !taken[i]) {
            struct output *output = new_output(work);
            output_init_like(output, table_new_file_number(work->table),
                             work->touched[i].file->file);
            TRY(rewrite_partition(work, output, taken, 0, 0, err));
        }
    }
    return ERR_OK;
}

/* Rewritten rows were indexed on the way, and with copy-on-write so were the new ones. */
static enum err_code rewrite_files(struct merge_work *work, struct err *err)
{
    CLEANUP(mem_cleanup) bool *taken = mem_zeroed(work->touched_count + 1, sizeof *taken);
    if (work->rewrites) {
        for (size_t start = 0; start < work->plan.puts_count;) {
            size_t end = partition_end(work, start);
            struct output *output = new_output(work);
            output_init(output, table_new_file_number(work->table), work->frame,
                        work->rows[work->order[start]]);
            TRY(rewrite_partition(work, output, taken, start, end, err));
            start = end;
        }
    }
    return rewrite_others(work, taken, err);
}

/* ---- index ---- */

/* Does the row at `i` of the order follow the one before it in memory? */
static bool is_next_row(const struct merge_work *work, size_t i)
{
    return work->rows[work->order[i]] == work->rows[work->order[i - 1]] + 1;
}

/* Rows come in the order of keys, which may be from all over the frame. */
static void prefetch_rows(const struct merge_work *work, size_t i, size_t end)
{
    size_t slots = i + PREFETCH_SLOTS;
    size_t texts = i + PREFETCH_TEXTS;
    if (slots < end && !is_next_row(work, slots)) {
        frame_prefetch_slots(work->frame, work->rows[work->order[slots]]);
    }
    if (texts < end && !is_next_row(work, texts)) {
        frame_prefetch_texts(work->frame, work->rows[work->order[texts]]);
    }
}

static enum err_code write_images(struct merge_work *work, struct output *output, size_t start,
                                  size_t end, const char *folder, struct err *err)
{
    CLEANUP(images_writer_deinit) struct images_writer writer;
    images_writer_init(&writer, folder, output->number);
    for (size_t i = start; i < end; i++) {
        uint32_t index = work->order[i];
        prefetch_rows(work, i, end);
        const struct plan_put *put = &work->plan.puts[index];
        TRY(images_append(&writer, plan_key(&work->plan, put), put->sequence, work->frame,
                          work->rows[index], err));
    }
    return images_finish(&writer, &output->images, err);
}

static void add_entries(struct merge_work *work, const struct output *output, size_t start,
                        size_t end)
{
    struct buffer scratch;
    buffer_init(&scratch, SCRATCH_BYTES_MAX);
    bool has_key = work->snapshot->schema->key_count > 0;
    for (size_t i = start; i < end; i++) {
        uint32_t index = work->order[i];
        const struct plan_put *put = &work->plan.puts[index];
        struct index_entry place = {
            .sequence = put->sequence, .file = output->number, .row = (uint32_t)(i - start)};
        entry_lists_add_row(&work->lists, work->table, work->frame, work->rows[index], put->hash,
                            has_key, &place, &scratch);
    }
    buffer_deinit(&scratch);
}

static enum err_code make_images(struct merge_work *work, struct err *err)
{
    size_t start = 0;
    for (size_t i = 0; i < work->outputs_count; i++) {
        struct output *output = &work->outputs[i];
        size_t end = work->output_ends[i];
        if (end > start) { /* others were rewritten and indexed then */
            struct err unstored = {0};
            if (write_images(work, output, start, end, work->table->index_folder, &unstored) !=
                ERR_OK) {
                TRY(write_images(work, output, start, end, NULL, err));
            }
            add_entries(work, output, start, end);
        }
        start = end;
    }
    return ERR_OK;
}

static enum err_code make_index(struct merge_work *work, struct err *err)
{
    if (!work->rewrites) {
        TRY(make_images(work, err));
    }
    const struct schema *schema = work->snapshot->schema;
    CLEANUP(index_view_release)
    struct index_view *runs = index_view_new(1 + schema->lookup_count, work->table->hash_key);
    TRY(entry_lists_flush(&work->lists, work->table, runs, err));
    work->runs = runs;
    runs = NULL;
    return ERR_OK;
}

static void *run_side(void *argument)
{
    struct merge_work *work = argument;
    if (make_index(work, &work->side_err) != ERR_OK) {
        assert(work->side_err.code != ERR_OK);
    }
    return NULL;
}

/*
 * From here to the join the outputs' images, the entry lists and `runs` belong
 * to the thread. Rewriting adds outputs and entries: then there is no thread.
 */
static void start_side(struct merge_work *work)
{
    for (size_t i = 0; i < work->touched_count; i++) {
        if (work->touched[i].rewritten) {
            return;
        }
    }
    bool many = work->plan.puts_count >= SIDE_ROWS_MIN;
    if (many && !work->rewrites && index_is_needed(work->snapshot->schema)) {
        work->side_started = pthread_create(&work->side, NULL, run_side, work) == 0;
    }
}

enum err_code merge_work_index(struct merge_work *work, struct err *err)
{
    join_side(work);
    if (work->side_err.code != ERR_OK) {
        *err = work->side_err;
        return err->code;
    }
    return ERR_OK;
}

/* ---- all together ---- */

enum err_code merge_work_write(struct merge_work *work, struct err *err)
{
    work->rewrites = work->snapshot->schema->merge == TABLE_COPY_ON_WRITE;
    touch_files(work);
    TRY(place_rows(work, err));
    TRY(object_group_begin(work->table->store, count_files(work), &work->group, err));
    TRY(write_vectors(work, err)); /* first: the disk has them while rows are encoded */
    start_side(work);
    TRY(write_rows(work, err));
    TRY(rewrite_files(work, err));
    TRY(merge_changes_write(work, err));
    if (!work->side_started && index_is_needed(work->snapshot->schema)) {
        (void)run_side(work); /* while the disk has the data; what fails is told after the commit */
    }
    return ERR_OK;
}

enum err_code merge_work_stage(const struct merge_work *work, struct delta_transaction *transaction,
                               struct err *err)
{
    for (size_t i = 0; i < work->touched_count; i++) {
        const struct touched *touched = &work->touched[i];
        if (touched->emptied || touched->rewritten) {
            delta_transaction_remove(transaction, touched->file->file, true);
        } else {
            TRY(delta_transaction_set_dv(transaction, touched->file->file,
                                         &work->vectors.descriptors[touched->dv_index], err));
        }
    }
    for (size_t i = 0; i < work->outputs_count; i++) {
        if (work->outputs[i].rows_count > 0) {
            output_commit(&work->outputs[i], transaction, true, NULL);
        }
    }
    merge_changes_stage(work, transaction);
    return ERR_OK;
}
