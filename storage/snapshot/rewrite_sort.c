/*
 * Runs of a rewrite. See rewrite_sort.h. A run is chunks back to back, each a frame and the
 * places of its rows, as two blocks of the scratch file.
 */
#include "storage/snapshot/rewrite_sort.h"

#include "storage/base/mem.h"
#include "storage/base/scratch.h"
#include "storage/snapshot/order.h"

#include <assert.h>

enum { NULL_MARK = 0, VALUE_MARK = 1, KEYS_BYTES_MAX = INT32_MAX };

void rewrite_sort_key(const struct rewrite_sort *sort, const struct frame *frame, int64_t row,
                      struct buffer *key)
{
    for (size_t i = 0; i < sort->count; i++) {
        if (column_is_valid(&frame->columns[sort->columns[i]], row)) {
            buffer_append_byte(key, VALUE_MARK);
            column_key(&frame->columns[sort->columns[i]], row, key);
        } else {
            buffer_append_byte(key, NULL_MARK);
        }
    }
}

void sort_runs_init(struct sort_runs *runs, const struct rewrite_sort *sort,
                    const struct schema *schema)
{
    *runs = (struct sort_runs){.sort = sort, .schema = schema, .pile = frame_new(schema)};
    buffer_init(&runs->block, SCRATCH_BLOCK_BYTES_MAX);
}

void sort_runs_deinit(struct sort_runs *runs)
{
    scratch_close(&runs->scratch);
    frame_free(&runs->pile);
    mem_free(runs->places);
    mem_free(runs->items);
    buffer_deinit(&runs->block);
    *runs = (struct sort_runs){0};
}

static enum err_code append_block(struct sort_runs *runs, struct span block, struct sort_run *run,
                                  struct err *err)
{
    int64_t place = 0;
    TRY(scratch_append(runs->scratch, block, &place, err));
    run->place = run->end == 0 ? place : run->place;
    run->end = scratch_end(runs->scratch);
    return ERR_OK;
}

/* Rows of the pile, in this order, as a chunk of the run. */
static enum err_code write_chunk(struct sort_runs *runs, const uint32_t *order, int64_t count,
                                 struct sort_run *run, struct err *err)
{
    int64_t rows[REWRITE_SORT_CHUNK_ROWS];
    struct row_place places[REWRITE_SORT_CHUNK_ROWS];
    for (int64_t i = 0; i < count; i++) {
        rows[i] = order[i];
        places[i] = runs->places[order[i]];
    }
    CLEANUP(frame_free) struct frame *chunk = frame_new(runs->schema);
    frame_append_rows(chunk, runs->pile, rows, count);
    buffer_reset(&runs->block);
    frame_encode(chunk, &runs->block);
    TRY(buffer_check(&runs->block, "rows being sorted", err));
    TRY(append_block(runs, buffer_span(&runs->block), run, err));
    return append_block(runs, span_of((const uint8_t *)places, (size_t)count * sizeof *places), run,
                        err);
}

static uint32_t *order_of_pile(const struct sort_runs *runs, struct err *err)
{
    size_t count = (size_t)runs->pile->rows_count;
    CLEANUP(buffer_deinit) struct buffer keys;
    CLEANUP(mem_cleanup) size_t *ends = mem_zeroed(count + 1, sizeof *ends);
    CLEANUP(mem_cleanup) struct span *spans = mem_zeroed(count + 1, sizeof *spans);
    buffer_init(&keys, KEYS_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        rewrite_sort_key(runs->sort, runs->pile, (int64_t)i, &keys);
        ends[i + 1] = keys.size;
    }
    if (buffer_check(&keys, "keys of rows being sorted", err) != ERR_OK) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        spans[i] = span_of(keys.data + ends[i], ends[i + 1] - ends[i]);
    }
    uint32_t *order = mem_zeroed(count + 1, sizeof *order);
    order_spans(spans, count, order);
    return order;
}

enum err_code sort_runs_finish(struct sort_runs *runs, struct err *err)
{
    struct sort_run run = {0};
    int64_t count = runs->pile->rows_count;
    if (count == 0) {
        return ERR_OK;
    }
    if (runs->scratch == NULL) {
        TRY(scratch_open(runs->sort->scratch_folder, &runs->scratch, err));
    }
    CLEANUP(mem_cleanup) uint32_t *order = order_of_pile(runs, err);
    if (order == NULL) {
        return err->code;
    }
    for (int64_t start = 0; start < count; start += REWRITE_SORT_CHUNK_ROWS) {
        int64_t left = count - start;
        TRY(write_chunk(runs, order + start,
                        left < REWRITE_SORT_CHUNK_ROWS ? left : REWRITE_SORT_CHUNK_ROWS, &run,
                        err));
    }
    if (runs->count == runs->capacity) {
        runs->capacity = runs->capacity * 2 + 8;
        runs->items = mem_resize(runs->items, runs->capacity, sizeof *runs->items);
    }
    runs->items[runs->count++] = run;
    frame_reset(runs->pile);
    return ERR_OK;
}

enum err_code sort_runs_add(struct sort_runs *runs, const struct frame *frame, uint32_t input,
                            const int64_t *rows, struct err *err)
{
    int64_t before = runs->pile->rows_count;
    int64_t needed = before + frame->rows_count;
    if (needed > runs->places_capacity) {
        runs->places_capacity = needed * 2;
        runs->places =
            mem_resize(runs->places, (size_t)runs->places_capacity, sizeof *runs->places);
    }
    CLEANUP(mem_cleanup)
    int64_t *all = mem_alloc(((size_t)frame->rows_count + 1) * sizeof *all);
    for (int64_t i = 0; i < frame->rows_count; i++) {
        all[i] = i;
        runs->places[before + i] = (struct row_place){.input = input, .row = (uint32_t)rows[i]};
    }
    frame_append_rows(runs->pile, frame, all, frame->rows_count);
    int64_t limit = runs->sort->run_bytes > 0 ? runs->sort->run_bytes : REWRITE_SORT_RUN_BYTES;
    return frame_value_bytes(runs->pile) >= limit ? sort_runs_finish(runs, err) : ERR_OK;
}

enum err_code sort_runs_read(struct sort_runs *runs, size_t index, struct frame **frame_out,
                             struct row_place *places_out, struct err *err)
{
    assert(index < runs->count);
    struct sort_run *run = &runs->items[index];
    if (run->place == run->end) {
        *frame_out = frame_new(runs->schema);
        return ERR_OK;
    }
    CLEANUP(frame_free) struct frame *frame = NULL;
    buffer_reset(&runs->block);
    TRY(scratch_read(runs->scratch, run->place, &runs->block, &run->place, err));
    TRY(frame_decode(buffer_span(&runs->block), runs->schema, &frame, err));
    buffer_reset(&runs->block);
    TRY(scratch_read(runs->scratch, run->place, &runs->block, &run->place, err));
    size_t size = (size_t)frame->rows_count * sizeof *places_out;
    if (frame->rows_count > REWRITE_SORT_CHUNK_ROWS || runs->block.size != size) {
        return err_set(err, ERR_CORRUPT, "a run of sorted rows is not what was written");
    }
    memcpy(places_out, runs->block.data, size);
    *frame_out = frame;
    frame = NULL;
    return ERR_OK;
}
