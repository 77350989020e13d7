/*
 * An external merge sort over the files of a snapshot. See ordered_rows.h.
 *
 * A source is a file or a run, read chunk by chunk in order of its sort keys. A
 * heap of sources gives the next row; more sources than may be open at once are
 * merged into runs first, the smallest before larger ones.
 */
#include "storage/snapshot/ordered_rows.h"

#include "storage/base/mem.h"
#include "storage/snapshot/file_rows.h"
#include "storage/snapshot/row_runs.h"
#include "storage/snapshot/scan_filter.h"

#include <assert.h>

enum {
    CHUNK_ROWS_FIRST = 1024, /* before it is known how large rows are */
    CHUNK_ROWS_MIN = 16,
    IMAGE_BYTES_MAX = INT32_MAX,
};

/* A file or a run. What is below `chunk` is there while it is open. */
struct source {
    const struct snapshot_file *file; /* NULL: a run */
    struct row_run run;
    int64_t rows_count;    /* about */
    struct row_pile chunk; /* chunk.frame NULL = not open */
    struct file_rows rows;
    int64_t chunk_rows; /* of the next chunk */
    bool more;          /* behind the chunk */
    int64_t next;       /* row of the chunk */
    struct span key;    /* of `next` */
};

struct ordered_rows {
    struct ordered_rows_options options;
    const struct schema *schema;
    bool *columns;     /* wanted or in the key */
    bool *key_columns; /* in the key */
    struct file_rows_choice choice;
    struct file_rows_choice key_choice;
    struct row_runs runs;
    int64_t runs_count;
    struct source **sources;
    size_t sources_count;
    size_t sources_capacity;
    struct source *heap[ORDERED_SOURCES_MAX]; /* open ones, smallest key first */
    size_t heap_count;
    size_t at; /* append tables: the source being read */
    struct buffer images[2];
    int64_t copied[ORDERED_CHUNK_ROWS_MAX]; /* rows of one chunk on their way out */
    struct ordered_rows_work work;
};

static enum err_code check(const struct ordered_rows *rows, struct err *err)
{
    return rows->options.check == NULL ? ERR_OK : rows->options.check(rows->options.self, err);
}

/* ---- sources ---- */

static struct source *add_source(struct ordered_rows *rows)
{
    if (rows->sources_count == rows->sources_capacity) {
        rows->sources_capacity = rows->sources_capacity * 2 + 16;
        rows->sources =
            mem_resize((void *)rows->sources, rows->sources_capacity, sizeof *rows->sources);
    }
    struct source *source = mem_zeroed(1, sizeof *source);
    rows->sources[rows->sources_count++] = source;
    return source;
}

static void add_file(struct ordered_rows *rows, const struct snapshot_file *file)
{
    struct source *source = add_source(rows);
    source->file = file;
    source->rows_count = file->rows_count;
}

static void close_source(struct source *source)
{
    file_rows_end(&source->rows);
    row_pile_deinit(&source->chunk);
}

/* Chunks of rows like these have about ORDERED_CHUNK_BYTES. */
static int64_t chunk_rows_of(const struct frame *frame)
{
    int64_t bytes = frame_value_bytes(frame) / (frame->rows_count + 1) + 1;
    int64_t rows = ORDERED_CHUNK_BYTES / bytes;
    rows = rows < CHUNK_ROWS_MIN ? CHUNK_ROWS_MIN : rows;
    return rows < ORDERED_CHUNK_ROWS_MAX ? rows : ORDERED_CHUNK_ROWS_MAX;
}

/* Until there is a row or the file ends. */
static enum err_code read_file(struct ordered_rows *rows, struct source *source, struct err *err)
{
    struct frame *frame = source->chunk.frame;
    while (source->more && frame->rows_count == 0) {
        int64_t visited = 0;
        TRY(check(rows, err));
        TRY(file_rows_next(&source->rows, source->chunk_rows, frame, &visited, &source->more, err));
        rows->work.done += visited;
    }
    if (frame->rows_count > 0) {
        source->chunk_rows = chunk_rows_of(frame);
    }
    return ERR_OK;
}

static enum err_code read_run(struct ordered_rows *rows, struct source *source, struct err *err)
{
    TRY(check(rows, err));
    frame_free(&source->chunk.frame);
    TRY(row_runs_read(&rows->runs, &source->run, &source->chunk.frame, err));
    source->more = source->run.place < source->run.end;
    rows->work.done += source->chunk.frame->rows_count;
    return ERR_OK;
}

static void stand_on(struct source *source)
{
    source->key = row_pile_key(&source->chunk, source->next);
}

/* The next chunk; it has no rows at the end. */
static enum err_code load_chunk(struct ordered_rows *rows, struct source *source, struct err *err)
{
    row_pile_reset(&source->chunk);
    source->next = 0;
    if (source->file != NULL) {
        TRY(read_file(rows, source, err));
    } else if (source->more) {
        TRY(read_run(rows, source, err));
    }
    TRY(row_pile_note(&source->chunk, 0, err));
    if (source->chunk.frame->rows_count > 0) {
        stand_on(source);
    }
    return ERR_OK;
}

static enum err_code open_source(struct ordered_rows *rows, struct source *source, struct err *err)
{
    row_pile_init(&source->chunk, rows->schema);
    source->chunk_rows = CHUNK_ROWS_FIRST;
    source->more = true;
    if (source->file != NULL) {
        TRY(file_rows_begin(&source->rows, rows->options.snapshot, source->file, &rows->choice,
                            err));
    }
    return ERR_OK;
}

/* ---- the heap ---- */

static bool before(struct ordered_rows *rows, const struct source *a, const struct source *b)
{
    int order = span_compare(a->key, b->key);
    if (order == 0) {
        order =
            row_contents_compare(a->chunk.frame, a->next, b->chunk.frame, b->next, rows->images);
    }
    return order < 0;
}

static void sift_down(struct ordered_rows *rows, size_t at)
{
    struct source **heap = rows->heap;
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= rows->heap_count) {
            return;
        }
        if (child + 1 < rows->heap_count && before(rows, heap[child + 1], heap[child])) {
            child++;
        }
        if (!before(rows, heap[child], heap[at])) {
            return;
        }
        struct source *swapped = heap[child];
        heap[child] = heap[at];
        heap[at] = swapped;
        at = child;
    }
}

/* Open the first `count` sources. */
static enum err_code fill_heap(struct ordered_rows *rows, size_t count, struct err *err)
{
    assert(count <= ORDERED_SOURCES_MAX);
    assert(rows->heap_count == 0);
    for (size_t i = 0; i < count; i++) {
        struct source *source = rows->sources[i];
        TRY(open_source(rows, source, err));
        TRY(load_chunk(rows, source, err));
        if (source->chunk.frame->rows_count > 0) {
            rows->heap[rows->heap_count++] = source;
        } else {
            close_source(source);
        }
    }
    for (size_t i = rows->heap_count; i-- > 0;) {
        sift_down(rows, i);
    }
    return ERR_OK;
}

/* The chunk of the first source is used up. */
static enum err_code refill_first(struct ordered_rows *rows, struct err *err)
{
    struct source *first = rows->heap[0];
    TRY(load_chunk(rows, first, err));
    if (first->chunk.frame->rows_count == 0) {
        close_source(first);
        rows->heap[0] = rows->heap[--rows->heap_count];
    }
    sift_down(rows, 0);
    return ERR_OK;
}

/* Append rows of the first source for as long as it stays the first, at most `count`. */
static enum err_code take_from_first(struct ordered_rows *rows, int64_t count, struct frame *frame,
                                     struct err *err)
{
    struct source *first = rows->heap[0];
    int64_t taken = 0;
    bool ended = false;
    while (taken < count && taken < ORDERED_CHUNK_ROWS_MAX && !ended && rows->heap[0] == first) {
        rows->copied[taken++] = first->next++;
        ended = first->next == first->chunk.frame->rows_count;
        if (!ended) {
            stand_on(first);
            sift_down(rows, 0);
        }
    }
    frame_append_rows(frame, first->chunk.frame, rows->copied, taken);
    return ended ? refill_first(rows, err) : ERR_OK;
}

static enum err_code take_merged(struct ordered_rows *rows, int64_t count, struct frame *frame,
                                 struct err *err)
{
    int64_t end = frame->rows_count + count;
    while (rows->heap_count > 0 && frame->rows_count < end) {
        TRY(take_from_first(rows, end - frame->rows_count, frame, err));
    }
    return ERR_OK;
}

/* ---- runs ---- */

static enum err_code write_run(struct ordered_rows *rows, const struct frame *frame,
                               struct source *source, struct err *err)
{
    TRY(check(rows, err));
    TRY(row_runs_write(&rows->runs, frame, &source->run, err));
    source->rows_count = source->run.rows_count;
    if (rows->work.total >= 0) { /* they will be read again */
        rows->work.total += frame->rows_count;
    }
    return ERR_OK;
}

/* Sort what was collected and write it out, chunk by chunk. */
static enum err_code spill_pile(struct ordered_rows *rows, struct row_pile *pile, struct err *err)
{
    int64_t rows_count = pile->frame->rows_count;
    if (rows_count == 0) {
        return ERR_OK;
    }
    CLEANUP(mem_cleanup) uint32_t *order = row_pile_order(pile);
    CLEANUP(frame_free) struct frame *chunk = frame_new(rows->schema);
    struct source *source = add_source(rows);
    int64_t step = chunk_rows_of(pile->frame);
    for (int64_t at = 0; at < rows_count; at += step) {
        int64_t count = rows_count - at < step ? rows_count - at : step;
        for (int64_t i = 0; i < count; i++) {
            rows->copied[i] = order[at + i];
        }
        frame_reset(chunk);
        frame_append_rows(chunk, pile->frame, rows->copied, count);
        TRY(write_run(rows, chunk, source, err));
    }
    rows->runs_count++;
    row_pile_reset(pile);
    return ERR_OK;
}

static bool is_full(const struct ordered_rows *rows, const struct row_pile *pile)
{
    int64_t limit = rows->options.run_bytes > 0 ? rows->options.run_bytes : ORDERED_RUN_BYTES;
    return frame_value_bytes(pile->frame) >= limit ||
           pile->keys.size >= ROW_PILE_KEYS_BYTES_MAX / 2;
}

/* Cut the rows of a file into sorted runs; what is left over stays in the pile. */
static enum err_code sort_file(struct ordered_rows *rows, const struct snapshot_file *file,
                               struct row_pile *pile, struct err *err)
{
    CLEANUP(file_rows_end) struct file_rows reading = {0};
    TRY(file_rows_begin(&reading, rows->options.snapshot, file, &rows->choice, err));
    for (bool more = true; more;) {
        int64_t first = pile->frame->rows_count;
        int64_t visited = 0;
        TRY(check(rows, err));
        TRY(file_rows_next(&reading, CHUNK_ROWS_FIRST, pile->frame, &visited, &more, err));
        TRY(row_pile_note(pile, first, err));
        rows->work.done += visited;
        if (is_full(rows, pile)) {
            TRY(spill_pile(rows, pile, err));
        }
    }
    return ERR_OK;
}

/* ---- what is in order already ---- */

/* Is every key above the one before it? `last` is the key before the frame's first row. */
static bool ascends(const struct frame *frame, struct buffer *last, struct buffer *key)
{
    for (int64_t row = 0; row < frame->rows_count; row++) {
        buffer_reset(key);
        row_sort_key(frame, row, key);
        if (span_compare(buffer_span(last), buffer_span(key)) >= 0) {
            return false;
        }
        struct buffer swapped = *last;
        *last = *key;
        *key = swapped;
    }
    return true;
}

static enum err_code look_at_order(struct ordered_rows *rows, const struct snapshot_file *file,
                                   bool *ordered_out, struct err *err)
{
    CLEANUP(file_rows_end) struct file_rows reading = {0};
    CLEANUP(frame_free) struct frame *frame = frame_new(rows->schema);
    CLEANUP(buffer_deinit) struct buffer last;
    CLEANUP(buffer_deinit) struct buffer key;
    buffer_init(&last, ROW_PILE_KEYS_BYTES_MAX);
    buffer_init(&key, ROW_PILE_KEYS_BYTES_MAX);
    TRY(file_rows_begin(&reading, rows->options.snapshot, file, &rows->key_choice, err));
    bool ordered = true;
    for (bool more = true; more && ordered;) {
        int64_t visited = 0;
        TRY(check(rows, err));
        frame_reset(frame);
        TRY(file_rows_next(&reading, ORDERED_CHUNK_ROWS_MAX, frame, &visited, &more, err));
        ordered = ascends(frame, &last, &key);
    }
    *ordered_out = ordered;
    return ERR_OK;
}

/* ---- preparing ---- */

static int compare_sizes(const void *a, const void *b)
{
    const struct source *left = *(struct source *const *)a;
    const struct source *right = *(struct source *const *)b;
    return (left->rows_count > right->rows_count) - (left->rows_count < right->rows_count);
}

static void drop_sources(struct ordered_rows *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        close_source(rows->sources[i]);
        mem_free(rows->sources[i]);
    }
    rows->sources_count -= count;
    if (rows->sources_count > 0) {
        memmove((void *)rows->sources, (void *)(rows->sources + count),
                rows->sources_count * sizeof *rows->sources);
    }
}

/* Merge the first `count` sources into one run at the end. */
static enum err_code merge_sources(struct ordered_rows *rows, size_t count, struct err *err)
{
    CLEANUP(frame_free) struct frame *chunk = frame_new(rows->schema);
    struct source *merged = add_source(rows);
    TRY(fill_heap(rows, count, err));
    for (int64_t step = CHUNK_ROWS_FIRST; rows->heap_count > 0; step = chunk_rows_of(chunk)) {
        frame_reset(chunk);
        TRY(take_merged(rows, step, chunk, err));
        TRY(write_run(rows, chunk, merged, err));
    }
    rows->runs_count++;
    if (merged->rows_count == 0) { /* no row passed the filters */
        mem_free(rows->sources[--rows->sources_count]);
    }
    drop_sources(rows, count);
    return ERR_OK;
}

static enum err_code limit_sources(struct ordered_rows *rows, struct err *err)
{
    while (rows->sources_count > ORDERED_SOURCES_MAX) {
        qsort((void *)rows->sources, rows->sources_count, sizeof *rows->sources, compare_sizes);
        size_t over = rows->sources_count - ORDERED_SOURCES_MAX + 1;
        TRY(merge_sources(rows, over < ORDERED_SOURCES_MAX ? over : ORDERED_SOURCES_MAX, err));
    }
    return ERR_OK;
}

static enum err_code prepare_keyed(struct ordered_rows *rows, struct err *err)
{
    const struct snapshot *snapshot = rows->options.snapshot;
    CLEANUP(row_pile_deinit) struct row_pile pile;
    row_pile_init(&pile, rows->schema);
    for (size_t i = 0; i < snapshot->files_count; i++) {
        const struct snapshot_file *file = &snapshot->files[i];
        if (!scan_filters_may_match_file(rows->choice.filters, rows->choice.filters_count,
                                         rows->schema, file->file)) {
            continue;
        }
        bool ordered = false;
        TRY(look_at_order(rows, file, &ordered, err));
        if (ordered) {
            add_file(rows, file);
        } else {
            TRY(sort_file(rows, file, &pile, err));
        }
    }
    TRY(spill_pile(rows, &pile, err));
    TRY(limit_sources(rows, err));
    return fill_heap(rows, rows->sources_count, err);
}

/* ---- append tables ---- */

static int compare_acceptance(const void *a, const void *b)
{
    const struct snapshot_file *left = (*(struct source *const *)a)->file;
    const struct snapshot_file *right = (*(struct source *const *)b)->file;
    if (left->position != right->position) {
        return left->position < right->position ? -1 : 1;
    }
    return strcmp(left->file->path, right->file->path);
}

static void prepare_append(struct ordered_rows *rows)
{
    const struct snapshot *snapshot = rows->options.snapshot;
    for (size_t i = 0; i < snapshot->files_count; i++) {
        add_file(rows, &snapshot->files[i]);
    }
    qsort((void *)rows->sources, rows->sources_count, sizeof *rows->sources, compare_acceptance);
}

static enum err_code take_accepted(struct ordered_rows *rows, int64_t count, struct frame *frame,
                                   struct err *err)
{
    int64_t end = frame->rows_count + count;
    while (rows->at < rows->sources_count && frame->rows_count < end) {
        struct source *source = rows->sources[rows->at];
        if (source->chunk.frame == NULL) {
            TRY(open_source(rows, source, err));
        }
        int64_t room = end - frame->rows_count;
        room = room < ORDERED_CHUNK_ROWS_MAX ? room : ORDERED_CHUNK_ROWS_MAX;
        int64_t visited = 0;
        TRY(check(rows, err));
        TRY(file_rows_next(&source->rows, room, frame, &visited, &source->more, err));
        rows->work.done += visited;
        if (!source->more) {
            close_source(source);
            rows->at++;
        }
    }
    return ERR_OK;
}

/* ---- public ---- */

static void choose_columns(struct ordered_rows *rows)
{
    const struct schema *schema = rows->schema;
    rows->columns = mem_zeroed(schema->fields_count, sizeof *rows->columns);
    rows->key_columns = mem_zeroed(schema->fields_count, sizeof *rows->key_columns);
    for (size_t i = 0; i < schema->fields_count; i++) {
        rows->columns[i] = rows->options.columns == NULL || rows->options.columns[i];
    }
    for (size_t i = 0; i < schema->key_count; i++) {
        rows->columns[schema->key[i]] = true;
        rows->key_columns[schema->key[i]] = true;
    }
    rows->choice = (struct file_rows_choice){.columns = rows->columns,
                                             .filters = rows->options.filters,
                                             .filters_count = rows->options.filters_count};
    rows->key_choice = (struct file_rows_choice){.columns = rows->key_columns};
}

enum err_code ordered_rows_open(const struct ordered_rows_options *options,
                                struct ordered_rows **rows_out, struct err *err)
{
    const struct schema *schema = options->snapshot->schema;
    TRY(scan_filters_check(schema, options->filters, options->filters_count, err));
    CLEANUP(ordered_rows_close) struct ordered_rows *rows = mem_zeroed(1, sizeof *rows);
    rows->options = *options;
    rows->schema = schema;
    rows->work.total = snapshot_rows_count(options->snapshot);
    buffer_init(&rows->images[0], IMAGE_BYTES_MAX);
    buffer_init(&rows->images[1], IMAGE_BYTES_MAX);
    row_runs_init(&rows->runs, schema, options->scratch_folder);
    choose_columns(rows);
    if (schema->key_count > 0) {
        TRY(prepare_keyed(rows, err));
    } else {
        prepare_append(rows);
    }
    *rows_out = rows;
    rows = NULL;
    return ERR_OK;
}

void ordered_rows_close(struct ordered_rows **rows)
{
    struct ordered_rows *closed = *rows;
    if (closed == NULL) {
        return;
    }
    drop_sources(closed, closed->sources_count);
    mem_free((void *)closed->sources);
    mem_free(closed->columns);
    mem_free(closed->key_columns);
    row_runs_deinit(&closed->runs);
    buffer_deinit(&closed->images[0]);
    buffer_deinit(&closed->images[1]);
    mem_free(closed);
    *rows = NULL;
}

enum err_code ordered_rows_next(struct ordered_rows *rows, int64_t count, struct frame *frame,
                                bool *more_out, struct err *err)
{
    assert(count > 0);
    assert(frame->schema == rows->schema);
    if (rows->schema->key_count > 0) {
        TRY(take_merged(rows, count, frame, err));
        *more_out = rows->heap_count > 0;
    } else {
        TRY(take_accepted(rows, count, frame, err));
        *more_out = rows->at < rows->sources_count;
    }
    return ERR_OK;
}

struct ordered_rows_work ordered_rows_work(const struct ordered_rows *rows)
{
    return rows->work;
}

int64_t ordered_rows_runs_count(const struct ordered_rows *rows)
{
    return rows->runs_count;
}
