/*
 * The change data files of a merge. See merge_changes.h.
 *
 * Rows that go are read file by file, in pieces; the row that replaces one is told behind
 * it. What is left of the new rows then are inserts.
 */
#include "storage/snapshot/merge_changes.h"

#include "storage/base/mem.h"
#include "storage/delta/transaction.h"
#include "storage/snapshot/keys.h"
#include "storage/snapshot/merge_work.h"
#include "storage/snapshot/order.h"
#include "storage/snapshot/stored.h"

#include <assert.h>

enum {
    READ_ROWS_MAX = 4096, /* of one file at a time */
    PIECE_ROWS_MAX = 1 << 20,
    PIECE_BYTES_MAX = 1 << 28, /* of values; a piece may be over it by what was read last */
    KEY_BYTES_MAX = 1 << 26,   /* of one row */
};
#define GROUP_BYTES_MAX ((size_t)4 << 30) /* of what orders a piece by partition */

static const char *const type_names[] = {"insert", "update_preimage", "update_postimage", "delete"};
enum change_type { TYPE_INSERT, TYPE_PREIMAGE, TYPE_POSTIMAGE, TYPE_DELETE };

struct telling {
    struct merge_work *work;
    struct span *keys;    /* of each put */
    uint32_t *order;      /* puts by key */
    bool *is_told;        /* each put */
    struct frame *told;   /* of the piece */
    struct buffer types;  /* enum change_type of each row of the piece, a byte each */
    struct frame *before; /* rows that go, as they were read */
};

static void telling_deinit(struct telling *telling)
{
    mem_free(telling->keys);
    mem_free(telling->order);
    mem_free(telling->is_told);
    frame_free(&telling->told);
    frame_free(&telling->before);
    buffer_deinit(&telling->types);
}

static enum err_code begin(struct telling *telling, struct merge_work *work, struct err *err)
{
    const struct plan *plan = &work->plan;
    *telling = (struct telling){.work = work};
    buffer_init(&telling->types, SIZE_MAX);
    TRY(schema_extend(work->snapshot->schema, CHANGE_TYPE_COLUMN, &work->change_schema, err));
    telling->keys = mem_zeroed(plan->puts_count + 1, sizeof *telling->keys);
    telling->order = mem_zeroed(plan->puts_count + 1, sizeof *telling->order);
    telling->is_told = mem_zeroed(plan->puts_count + 1, sizeof *telling->is_told);
    telling->told = frame_new(work->change_schema);
    telling->before = frame_new(work->snapshot->schema);
    for (size_t i = 0; i < plan->puts_count; i++) {
        telling->keys[i] = plan_key(plan, &plan->puts[i]);
    }
    order_spans(telling->keys, plan->puts_count, telling->order);
    return ERR_OK;
}

/* The put of a key; false when there is none. */
static bool find_put(const struct telling *telling, struct span key, size_t *put_out)
{
    size_t low = 0;
    size_t high = telling->work->plan.puts_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = span_compare(telling->keys[telling->order[middle]], key);
        if (order == 0) {
            *put_out = telling->order[middle];
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

static void tell(struct telling *telling, const struct frame *frame, int64_t row,
                 enum change_type type)
{
    frame_append_row(telling->told, frame, row);
    buffer_append_byte(&telling->types, (uint8_t)type);
}

static void tell_put(struct telling *telling, size_t put, enum change_type type)
{
    telling->is_told[put] = true;
    tell(telling, telling->work->frame, telling->work->rows[put], type);
}

/* A row that goes, and the one that replaces it. */
static enum err_code tell_before(struct telling *telling, int64_t row, struct buffer *key,
                                 struct err *err)
{
    size_t put = 0;
    buffer_reset(key);
    if (key_is_whole(telling->before, row)) {
        frame_key(telling->before, row, key);
    }
    TRY(buffer_check(key, "the key of a row", err));
    if (key->size == 0 || !find_put(telling, buffer_span(key), &put)) {
        tell(telling, telling->before, row, TYPE_DELETE);
        return ERR_OK;
    }
    tell(telling, telling->before, row, TYPE_PREIMAGE);
    if (!telling->is_told[put]) {
        tell_put(telling, put, TYPE_POSTIMAGE);
    }
    return ERR_OK;
}

/* ---- files ---- */

/* The column of types, which appending rows left null. */
static void fill_types(struct telling *telling)
{
    struct column *column = &telling->told->columns[telling->told->schema->fields_count - 1];
    column_truncate(column, 0);
    for (size_t i = 0; i < telling->types.size; i++) {
        column_append_bytes(column, span_of_text(type_names[telling->types.data[i]]));
    }
    assert(column->rows_count == telling->told->rows_count);
}

static struct output *new_output(struct merge_work *work)
{
    work->change_outputs = mem_resize(work->change_outputs, work->change_outputs_count + 1,
                                      sizeof *work->change_outputs);
    work->change_outputs[work->change_outputs_count] = (struct output){0};
    return &work->change_outputs[work->change_outputs_count++];
}

static enum err_code write_file(struct telling *telling, const int64_t *rows, int64_t count,
                                struct err *err)
{
    struct merge_work *work = telling->work;
    struct output *output = new_output(work);
    output_init_changes(output, telling->told, rows[0]);
    return output_write(output, work->group, work->table->writer, telling->told, rows, count, false,
                        err);
}

static enum err_code write_partitions(struct telling *telling, struct err *err)
{
    size_t count = (size_t)telling->told->rows_count;
    CLEANUP(buffer_deinit) struct buffer bytes;
    CLEANUP(buffer_deinit) struct buffer scratch;
    buffer_init(&bytes, GROUP_BYTES_MAX);
    buffer_init(&scratch, KEY_BYTES_MAX);
    CLEANUP(mem_cleanup) size_t *ends = mem_zeroed(count, sizeof *ends);
    CLEANUP(mem_cleanup) struct span *partitions = mem_zeroed(count, sizeof *partitions);
    CLEANUP(mem_cleanup) uint32_t *order = mem_zeroed(count, sizeof *order);
    CLEANUP(mem_cleanup) int64_t *rows = mem_zeroed(count, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        partition_bytes_of_row(telling->told, (int64_t)i, &scratch, &bytes);
        ends[i] = bytes.size;
    }
    TRY(buffer_check(&bytes, "partitions of changed rows", err));
    for (size_t i = 0; i < count; i++) {
        size_t start = i == 0 ? 0 : ends[i - 1];
        partitions[i] = span_of(bytes.data + start, ends[i] - start);
    }
    order_spans(partitions, count, order); /* rows of a partition stay as they were told */
    for (size_t start = 0; start < count;) {
        size_t end = start;
        while (end < count && span_equal(partitions[order[end]], partitions[order[start]])) {
            rows[end] = order[end];
            end++;
        }
        TRY(write_file(telling, rows + start, (int64_t)(end - start), err));
        start = end;
    }
    return ERR_OK;
}

static enum err_code write_piece(struct telling *telling, struct err *err)
{
    if (telling->told->rows_count > 0) {
        fill_types(telling);
        TRY(write_partitions(telling, err));
        frame_reset(telling->told);
        buffer_reset(&telling->types);
    }
    return ERR_OK;
}

static enum err_code write_full_piece(struct telling *telling, struct err *err)
{
    bool full = telling->told->rows_count >= PIECE_ROWS_MAX ||
                frame_value_bytes(telling->told) >= PIECE_BYTES_MAX;
    return full ? write_piece(telling, err) : ERR_OK;
}

/* ---- rows that go ---- */

static enum err_code tell_read(struct telling *telling, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer key;
    buffer_init(&key, KEY_BYTES_MAX);
    for (int64_t row = 0; row < telling->before->rows_count; row++) {
        TRY(tell_before(telling, row, &key, err));
    }
    frame_reset(telling->before);
    return write_full_piece(telling, err);
}

/* The marks of one file. */
static enum err_code tell_file(struct telling *telling, const struct plan_mark *marks, size_t count,
                               struct err *err)
{
    const struct snapshot *snapshot = telling->work->snapshot;
    const struct snapshot_file *file = snapshot_file_by_number(snapshot, marks[0].file);
    CLEANUP(stored_close) struct stored stored = {0};
    int64_t rows[READ_ROWS_MAX];
    TRY(stored_open(snapshot->store, snapshot->schema, file->file, NULL, &stored, err));
    for (size_t start = 0; start < count;) {
        int64_t taken = 0;
        for (; start < count && taken < READ_ROWS_MAX; start++) {
            rows[taken++] = marks[start].row;
        }
        TRY(stored_read_rows(&stored, rows, taken, telling->before, err));
        TRY(tell_read(telling, err));
    }
    return ERR_OK;
}

static enum err_code tell_marks(struct telling *telling, struct err *err)
{
    const struct plan *plan = &telling->work->plan;
    for (size_t start = 0; start < plan->marks_count;) {
        size_t end = start + 1;
        while (end < plan->marks_count && plan->marks[end].file == plan->marks[start].file) {
            end++;
        }
        TRY(tell_file(telling, &plan->marks[start], end - start, err));
        start = end;
    }
    return ERR_OK;
}

/* ---- all together ---- */

static enum err_code tell_inserts(struct telling *telling, struct err *err)
{
    for (size_t i = 0; i < telling->work->plan.puts_count; i++) {
        size_t put = telling->order[i];
        if (!telling->is_told[put]) {
            tell_put(telling, put, TYPE_INSERT);
        }
        if (i % READ_ROWS_MAX == READ_ROWS_MAX - 1) {
            TRY(write_full_piece(telling, err));
        }
    }
    return write_piece(telling, err);
}

enum err_code merge_changes_write(struct merge_work *work, struct err *err)
{
    if (!merge_changes_are_told(work)) {
        return ERR_OK;
    }
    CLEANUP(telling_deinit) struct telling telling;
    TRY(begin(&telling, work, err));
    TRY(tell_marks(&telling, err));
    return tell_inserts(&telling, err);
}

bool merge_changes_are_told(const struct merge_work *work)
{
    return work->plan.marks_count > 0 &&
           delta_metadata_flag(work->snapshot->state->metadata, DELTA_CHANGE_FEED_PROPERTY, false);
}

void merge_changes_stage(const struct merge_work *work, struct delta_transaction *transaction)
{
    for (size_t i = 0; i < work->change_outputs_count; i++) {
        const struct output *output = &work->change_outputs[i];
        const struct delta_file file = {.path = output->path,
                                        .partition_values = output->partition_values,
                                        .partition_values_count = output->partition_values_count,
                                        .size = output->file_bytes};
        delta_transaction_add_change_file(transaction, &file);
    }
}
