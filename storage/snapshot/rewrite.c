/*
 * Rewriting data files. See rewrite.h.
 *
 * The inputs are files that were written in key order, so merging their chunks
 * by key yields a file in key order; an input that is not (foreign files, files sorted
 * by other columns) only makes the statistics of the output looser. For an order of
 * other columns the inputs are read into sorted runs first, and these are merged.
 */
#include "storage/snapshot/rewrite.h"

#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/object/object.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/stored.h"

#include <assert.h>

enum {
    CHUNK_ROWS = 4096,          /* of one input in memory */
    PORTION_ROWS = 16384,       /* given to the Parquet writer at a time */
    TAKEN_ROWS = 4096,          /* copied at a time at most */
    KEYS_BYTES_MAX = INT32_MAX, /* of one chunk */
};

/* Where one input, or one run, stands. */
struct source {
    struct rewrite_input *input; /* NULL: the extra rows, or a run */
    const struct rewrite_rows *extra;
    struct sort_runs *runs; /* NULL: no run */
    size_t run;
    struct row_place *places; /* of a run: where each row of the chunk came from */
    struct stored stored;
    struct frame *frame;      /* the chunk */
    int64_t rows[CHUNK_ROWS]; /* of the file, of each row of the chunk */
    int64_t chunk_count;
    int64_t next;       /* row of the chunk, or of `extra` */
    int64_t file_next;  /* first row of the file not yet read */
    struct buffer keys; /* of the chunk */
    size_t key_ends[CHUNK_ROWS];
    struct span key;      /* of the row that stands next */
    struct buffer orders; /* of a run: what its rows are ordered by */
    size_t *order_ends;
    struct span order; /* of the row that stands next; else its key */
};
_Static_assert((int)REWRITE_SORT_CHUNK_ROWS == (int)CHUNK_ROWS, "one chunk of a run at a time");

struct rewriter {
    const struct rewrite_request *request;
    const struct schema *schema;
    struct source **heap; /* smallest key first; ties by the order of inputs */
    size_t heap_count;
    struct source *sources;
    size_t sources_count;
    struct sort_runs runs;
    const struct frame **frames;         /* that rows are taken from, a source each */
    struct frame_pick taken[TAKEN_ROWS]; /* rows that are copied to the writer's next */
    int64_t taken_count;
    int64_t portion_count; /* rows since the writer was told */
    struct parquet_writer *writer;
    struct object_stream *stream;
    bool *columns;
    bool *statistics;
    bool *blooms; /* of the key's fields: files that stay are asked for single keys */
    struct images_writer images;
    bool has_images;
    struct buffer scratch;
    struct output *output;
    struct entry_lists *lists;
};

/* ---- inputs ---- */

static void note_keys(struct source *source, const struct schema *schema)
{
    buffer_reset(&source->keys);
    for (int64_t row = 0; row < source->chunk_count; row++) {
        if (schema->key_count > 0 && key_is_whole(source->frame, row)) {
            frame_key(source->frame, row, &source->keys);
        }
        source->key_ends[row] = source->keys.size;
    }
}

static struct span text_of(const struct buffer *texts, const size_t *ends, int64_t row)
{
    size_t start = row == 0 ? 0 : ends[row - 1];
    return span_of(texts->data + start, ends[row] - start);
}

static void stand_on(struct source *source)
{
    if (source->extra != NULL) {
        source->key = source->extra->keys[source->next];
    } else {
        source->key = text_of(&source->keys, source->key_ends, source->next);
    }
    source->order = source->runs != NULL
                        ? text_of(&source->orders, source->order_ends, source->next)
                        : source->key;
}

/* The input that the next row comes from, NULL for an extra one, and its row there. */
static struct rewrite_input *origin(const struct rewrite_request *request,
                                    const struct source *source, int64_t *row_out)
{
    if (source->runs != NULL) {
        struct row_place place = source->places[source->next];
        *row_out = place.row;
        return &request->inputs[place.input];
    }
    *row_out = source->input != NULL ? source->rows[source->next] : 0;
    return source->input;
}

static enum err_code load_run(struct source *source, struct err *err)
{
    const struct schema *schema = source->runs->schema;
    frame_free(&source->frame);
    TRY(sort_runs_read(source->runs, source->run, &source->frame, source->places, err));
    source->chunk_count = source->frame->rows_count;
    note_keys(source, schema);
    buffer_reset(&source->orders);
    for (int64_t row = 0; row < source->chunk_count; row++) {
        rewrite_sort_key(source->runs->sort, source->frame, row, &source->orders);
        source->order_ends[row] = source->orders.size;
    }
    TRY(buffer_check(&source->orders, "keys of a chunk", err));
    return buffer_check(&source->keys, "keys of a chunk", err);
}

/* Read on until there is a live row or the file ends (chunk_count 0). */
static enum err_code load_chunk(struct source *source, struct err *err)
{
    source->chunk_count = 0;
    source->next = 0;
    if (source->runs != NULL) {
        return load_run(source, err);
    }
    while (source->chunk_count == 0 && source->file_next < source->stored.rows_count) {
        int64_t left = source->stored.rows_count - source->file_next;
        int64_t count = left < CHUNK_ROWS ? left : CHUNK_ROWS;
        deletion_vector_live_rows(source->input->dead, source->file_next, count, source->rows,
                                  &source->chunk_count);
        source->file_next += count;
    }
    frame_reset(source->frame);
    if (source->chunk_count > 0) {
        TRY(stored_read_rows(&source->stored, source->rows, source->chunk_count, source->frame,
                             err));
    }
    note_keys(source, source->stored.schema);
    return buffer_check(&source->keys, "keys of a chunk", err);
}

/* Move to the next row; *more_out false at the end. */
static enum err_code step(struct source *source, bool *more_out, struct err *err)
{
    source->next++;
    if (source->extra != NULL) {
        *more_out = (size_t)source->next < source->extra->count;
    } else {
        if (source->next == source->chunk_count) {
            TRY(load_chunk(source, err));
        }
        *more_out = source->chunk_count > 0;
    }
    if (*more_out) {
        stand_on(source);
    }
    return ERR_OK;
}

/* ---- the heap ---- */

static bool before(const struct source *a, const struct source *b)
{
    int order = span_compare(a->order, b->order);
    return order != 0 ? order < 0 : a < b;
}

static void sift_down(struct source **heap, size_t count, size_t at)
{
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && before(heap[child + 1], heap[child])) {
            child++;
        }
        if (!before(heap[child], heap[at])) {
            return;
        }
        struct source *swapped = heap[child];
        heap[child] = heap[at];
        heap[at] = swapped;
        at = child;
    }
}

/* ---- opening ---- */

static enum err_code open_source(struct rewriter *rewriter, struct rewrite_input *input,
                                 struct err *err)
{
    struct source *source = &rewriter->sources[rewriter->sources_count++];
    source->input = input;
    source->frame = frame_new(rewriter->schema);
    buffer_init(&source->keys, KEYS_BYTES_MAX);
    TRY(stored_open(rewriter->request->snapshot->store, rewriter->schema, input->file->file, NULL,
                    &source->stored, err));
    for (int64_t row = 0; input->new_rows != NULL && row < input->file->rows_count; row++) {
        input->new_rows[row] = REWRITE_DROPPED;
    }
    return load_chunk(source, err);
}

static void close_source(struct source *source)
{
    stored_close(&source->stored);
    frame_free(&source->frame);
    buffer_deinit(&source->keys);
    buffer_deinit(&source->orders);
    mem_free(source->places);
    mem_free(source->order_ends);
}

static void push_source(struct rewriter *rewriter, struct source *source)
{
    if (source->chunk_count > 0) {
        stand_on(source);
        rewriter->heap[rewriter->heap_count++] = source;
    }
}

static enum err_code check_stop(const struct rewriter *rewriter, struct err *err)
{
    const _Atomic bool *stop = rewriter->request->stop;
    if (stop != NULL && atomic_load_explicit(stop, memory_order_relaxed)) {
        return err_set(err, ERR_CANCELLED, "stopping");
    }
    return ERR_OK;
}

/* All live rows of the inputs into sorted runs, one input after the other. */
static enum err_code sort_inputs(struct rewriter *rewriter, struct err *err)
{
    const struct rewrite_request *request = rewriter->request;
    sort_runs_init(&rewriter->runs, request->sort, rewriter->schema);
    rewriter->sources = mem_zeroed(1, sizeof *rewriter->sources);
    for (size_t i = 0; i < request->inputs_count; i++) {
        struct source *source = &rewriter->sources[0];
        rewriter->sources_count = 0;
        TRY(open_source(rewriter, &request->inputs[i], err));
        while (source->chunk_count > 0) {
            TRY(check_stop(rewriter, err));
            TRY(sort_runs_add(&rewriter->runs, source->frame, (uint32_t)i, source->rows, err));
            TRY(load_chunk(source, err));
        }
        close_source(source);
        *source = (struct source){0};
    }
    rewriter->sources_count = 0;
    mem_free(rewriter->sources);
    rewriter->sources = NULL;
    return sort_runs_finish(&rewriter->runs, err);
}

static enum err_code open_runs(struct rewriter *rewriter, struct err *err)
{
    TRY(sort_inputs(rewriter, err));
    size_t count = rewriter->runs.count;
    rewriter->sources = mem_zeroed(count + 1, sizeof *rewriter->sources);
    rewriter->heap = mem_zeroed(count + 1, sizeof(struct source *));
    for (size_t i = 0; i < count; i++) {
        struct source *source = &rewriter->sources[rewriter->sources_count++];
        source->runs = &rewriter->runs;
        source->run = i;
        buffer_init(&source->keys, KEYS_BYTES_MAX);
        buffer_init(&source->orders, KEYS_BYTES_MAX);
        source->places = mem_alloc(CHUNK_ROWS * sizeof *source->places);
        source->order_ends = mem_alloc(CHUNK_ROWS * sizeof *source->order_ends);
        TRY(load_chunk(source, err));
        push_source(rewriter, source);
    }
    return ERR_OK;
}

static enum err_code open_inputs(struct rewriter *rewriter, struct err *err)
{
    const struct rewrite_request *request = rewriter->request;
    rewriter->sources = mem_zeroed(request->inputs_count + 1, sizeof *rewriter->sources);
    rewriter->heap = mem_zeroed(request->inputs_count + 1, sizeof(struct source *));
    for (size_t i = 0; i < request->inputs_count; i++) {
        TRY(open_source(rewriter, &request->inputs[i], err));
        push_source(rewriter, &rewriter->sources[i]);
    }
    if (request->extra != NULL && request->extra->count > 0) {
        struct source *source = &rewriter->sources[rewriter->sources_count++];
        source->extra = request->extra;
        stand_on(source);
        rewriter->heap[rewriter->heap_count++] = source;
    }
    return ERR_OK;
}

static enum err_code open_sources(struct rewriter *rewriter, struct err *err)
{
    const struct rewrite_request *request = rewriter->request;
    assert(request->inputs_count <= REWRITE_INPUTS_MAX);
    assert(request->sort == NULL || request->extra == NULL);
    TRY(request->sort != NULL ? open_runs(rewriter, err) : open_inputs(rewriter, err));
    for (size_t at = rewriter->heap_count / 2; at-- > 0;) {
        sift_down(rewriter->heap, rewriter->heap_count, at);
    }
    return ERR_OK;
}

static enum err_code write_to_stream(void *self, struct span bytes, struct err *err)
{
    return object_stream_append(self, bytes, err);
}

static enum err_code open_output(struct rewriter *rewriter, struct err *err)
{
    struct table *table = rewriter->request->table;
    output_masks(rewriter->schema, &rewriter->columns, &rewriter->statistics);
    rewriter->blooms = mem_zeroed(rewriter->schema->fields_count, sizeof *rewriter->blooms);
    for (size_t i = 0; i < rewriter->schema->key_count; i++) {
        size_t field = rewriter->schema->key[i];
        rewriter->blooms[field] = rewriter->statistics[field]; /* nothing tells of protected ones */
    }
    TRY(object_group_stream_begin(rewriter->request->group, rewriter->output->name,
                                  &rewriter->stream, err));
    struct parquet_sink sink = {.write = write_to_stream, .self = rewriter->stream};
    struct parquet_write_options options = {.columns = rewriter->columns,
                                            .statistics = rewriter->statistics,
                                            .blooms = rewriter->blooms};
    TRY(parquet_writer_open(NULL, rewriter->schema, &options, &sink, &rewriter->writer, err));
    if (rewriter->lists != NULL) {
        images_writer_init(&rewriter->images, table->index_folder, rewriter->output->number);
        rewriter->has_images = true;
    }
    return ERR_OK;
}

static void rewriter_deinit(struct rewriter *rewriter)
{
    parquet_writer_close(&rewriter->writer);
    object_stream_abort(&rewriter->stream);
    if (rewriter->has_images) {
        images_writer_deinit(&rewriter->images);
    }
    for (size_t i = 0; i < rewriter->sources_count; i++) {
        close_source(&rewriter->sources[i]);
    }
    if (rewriter->runs.pile != NULL) {
        sort_runs_deinit(&rewriter->runs);
    }
    mem_free(rewriter->sources);
    mem_free(rewriter->heap);
    mem_free(rewriter->columns);
    mem_free(rewriter->statistics);
    mem_free(rewriter->blooms);
    mem_free((void *)rewriter->frames);
    buffer_deinit(&rewriter->scratch);
}

/* ---- rows ---- */

/* Without sequence_by the sequence of a stored row is known to its image alone. */
static int64_t stored_sequence(const struct rewriter *rewriter, const struct source *source,
                               const struct snapshot_file *file, int64_t row)
{
    const struct schema *schema = rewriter->schema;
    if (schema->has_sequence) {
        bool valid = column_is_valid(&source->frame->columns[schema->sequence], source->next);
        return valid ? frame_sequence(source->frame, source->next) : INT64_MIN;
    }
    int64_t sequence = file->images != NULL ? images_sequence(file->images, row) : -1;
    return sequence >= 0 ? sequence : file->position;
}

/* What the record of the input says stays as it is, fields that were dropped since included. */
static enum err_code keep_image(struct rewriter *rewriter, const struct source *source,
                                const struct rewrite_input *input, int64_t stored_row,
                                int64_t sequence, const struct frame *frame, int64_t row,
                                struct err *err)
{
    struct span record = {0};
    if (input != NULL && input->file->images != NULL) {
        record = images_record(input->file->images, stored_row);
    }
    return record.size > 0
               ? images_append_record(&rewriter->images, record, err)
               : images_append(&rewriter->images, source->key, sequence, frame, row, err);
}

static enum err_code index_row(struct rewriter *rewriter, const struct source *source,
                               const struct frame *frame, int64_t row, struct err *err)
{
    struct index_entry place = {.file = rewriter->output->number,
                                .row = (uint32_t)rewriter->output->rows_count};
    bool has_key = source->key.size > 0;
    uint64_t hash = 0;
    int64_t stored_row = 0;
    const struct rewrite_input *input = origin(rewriter->request, source, &stored_row);
    if (source->extra != NULL) {
        hash = source->extra->hashes[source->next];
        place.sequence = source->extra->sequences[source->next];
    } else {
        hash = hash_keyed(rewriter->request->table->hash_key, source->key);
        place.sequence = stored_sequence(rewriter, source, input->file, stored_row);
    }
    entry_lists_add_row(rewriter->lists, rewriter->request->table, frame, row, hash, has_key,
                        &place, &rewriter->scratch);
    return keep_image(rewriter, source, input, stored_row, place.sequence, frame, row, err);
}

/* Before a chunk that rows were taken from gives way to the next. */
static void copy_taken(struct rewriter *rewriter)
{
    for (size_t i = 0; i < rewriter->sources_count; i++) {
        const struct source *source = &rewriter->sources[i];
        rewriter->frames[i] = source->extra != NULL ? source->extra->frame : source->frame;
    }
    frame_append_picks(parquet_writer_rows(rewriter->writer), rewriter->frames,
                       rewriter->sources_count, rewriter->taken, rewriter->taken_count);
    rewriter->portion_count += rewriter->taken_count;
    rewriter->taken_count = 0;
}

static enum err_code end_portion(struct rewriter *rewriter, struct err *err)
{
    const struct rewrite_request *request = rewriter->request;
    copy_taken(rewriter);
    rewriter->portion_count = 0;
    TRY(parquet_writer_gathered(rewriter->writer, err));
    TRY(check_stop(rewriter, err));
    return request->between != NULL ? request->between(request->between_arg, err) : ERR_OK;
}

static enum err_code take_row(struct rewriter *rewriter, struct source *source, struct err *err)
{
    const struct frame *frame = source->extra != NULL ? source->extra->frame : source->frame;
    int64_t row = source->extra != NULL ? source->extra->rows[source->next] : source->next;
    if (rewriter->lists != NULL) {
        TRY(index_row(rewriter, source, frame, row, err));
    }
    int64_t stored_row = 0;
    struct rewrite_input *input = origin(rewriter->request, source, &stored_row);
    if (input != NULL && input->new_rows != NULL) {
        input->new_rows[stored_row] = (uint32_t)rewriter->output->rows_count;
    }
    if (rewriter->taken_count == TAKEN_ROWS) {
        copy_taken(rewriter);
    }
    rewriter->taken[rewriter->taken_count++] =
        (struct frame_pick){.source = (uint32_t)(source - rewriter->sources), .row = (uint32_t)row};
    rewriter->output->rows_count++;
    if (rewriter->output->rows_count >= UINT32_MAX) {
        return err_set(err, ERR_TOO_LARGE, "a rewritten file of 2^32 rows");
    }
    return rewriter->portion_count + rewriter->taken_count < PORTION_ROWS
               ? ERR_OK
               : end_portion(rewriter, err);
}

static enum err_code merge_sources(struct rewriter *rewriter, struct err *err)
{
    while (rewriter->heap_count > 0) {
        struct source *source = rewriter->heap[0];
        TRY(take_row(rewriter, source, err));
        if (source->next + 1 == source->chunk_count) {
            copy_taken(rewriter); /* the next chunk takes the place of this one */
        }
        bool more = false;
        TRY(step(source, &more, err));
        if (!more) {
            rewriter->heap[0] = rewriter->heap[--rewriter->heap_count];
        }
        sift_down(rewriter->heap, rewriter->heap_count, 0);
    }
    return end_portion(rewriter, err);
}

static enum err_code finish(struct rewriter *rewriter, struct err *err)
{
    struct output *output = rewriter->output;
    if (output->rows_count == 0) {
        return ERR_OK; /* the stream is aborted: no file */
    }
    CLEANUP(parquet_written_deinit) struct parquet_written written = {0};
    TRY(parquet_writer_finish(rewriter->writer, &written, err));
    assert(written.rows_count == output->rows_count);
    TRY(output_take_written(output, rewriter->schema, &written, rewriter->request->tight, err));
    TRY(object_stream_finish(&rewriter->stream, err));
    if (rewriter->has_images) {
        TRY(images_finish(&rewriter->images, &output->images, err));
    }
    return ERR_OK;
}

enum err_code rewrite_run(const struct rewrite_request *request, struct output *output,
                          struct entry_lists *lists, struct err *err)
{
    CLEANUP(rewriter_deinit)
    struct rewriter rewriter = {
        .request = request, .schema = request->snapshot->schema, .output = output, .lists = lists};
    buffer_init(&rewriter.scratch, KEYS_BYTES_MAX);
    for (size_t i = 0; i < request->inputs_count; i++) {
        int64_t position = request->inputs[i].file->position;
        output->position = position > output->position ? position : output->position;
    }
    TRY(open_sources(&rewriter, err));
    rewriter.frames = mem_zeroed(rewriter.sources_count + 1, sizeof(struct frame *));
    TRY(open_output(&rewriter, err));
    TRY(merge_sources(&rewriter, err));
    return finish(&rewriter, err);
}
