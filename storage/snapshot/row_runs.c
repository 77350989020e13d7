/*
 * Piles and runs. See row_runs.h.
 */
#include "storage/snapshot/row_runs.h"

#include "storage/base/mem.h"
#include "storage/base/scratch.h"
#include "storage/columns/row.h"
#include "storage/snapshot/keys.h"
#include "storage/snapshot/order.h"

#include <assert.h>

/* ---- piles ---- */

void row_pile_init(struct row_pile *pile, const struct schema *schema)
{
    *pile = (struct row_pile){.frame = frame_new(schema)};
    buffer_init(&pile->keys, ROW_PILE_KEYS_BYTES_MAX);
}

void row_pile_deinit(struct row_pile *pile)
{
    frame_free(&pile->frame);
    buffer_deinit(&pile->keys);
    mem_free(pile->ends);
    *pile = (struct row_pile){0};
}

void row_pile_reset(struct row_pile *pile)
{
    frame_reset(pile->frame);
    buffer_reset(&pile->keys);
}

void row_sort_key(const struct frame *frame, int64_t row, struct buffer *key)
{
    if (key_is_whole(frame, row)) {
        frame_key(frame, row, key);
    }
}

enum err_code row_pile_note(struct row_pile *pile, int64_t first, struct err *err)
{
    int64_t count = pile->frame->rows_count;
    if (count > pile->ends_capacity) {
        pile->ends_capacity = count + count / 2;
        pile->ends = mem_resize(pile->ends, (size_t)pile->ends_capacity, sizeof *pile->ends);
    }
    for (int64_t row = first; row < count; row++) {
        row_sort_key(pile->frame, row, &pile->keys);
        pile->ends[row] = pile->keys.size;
    }
    return buffer_check(&pile->keys, "keys of rows being sorted", err);
}

int row_contents_compare(const struct frame *a, int64_t row_a, const struct frame *b, int64_t row_b,
                         struct buffer scratch[2])
{
    buffer_reset(&scratch[0]);
    buffer_reset(&scratch[1]);
    row_encode(a, row_a, &scratch[0]);
    row_encode(b, row_b, &scratch[1]);
    return span_compare(buffer_span(&scratch[0]), buffer_span(&scratch[1]));
}

/* `count` rows of the order have equal keys: order them by contents. */
static void order_equals(const struct row_pile *pile, uint32_t *order, size_t count)
{
    CLEANUP(buffer_deinit) struct buffer images;
    CLEANUP(mem_cleanup) size_t *ends = mem_zeroed(count, sizeof *ends);
    CLEANUP(mem_cleanup) struct span *spans = mem_zeroed(count, sizeof *spans);
    CLEANUP(mem_cleanup) uint32_t *sorted = mem_zeroed(count, sizeof *sorted);
    CLEANUP(mem_cleanup) uint32_t *former = mem_copy(order, count * sizeof *order);
    buffer_init(&images, SIZE_MAX); /* the pile's own limit holds */
    for (size_t i = 0; i < count; i++) {
        row_encode(pile->frame, order[i], &images);
        ends[i] = images.size;
    }
    for (size_t i = 0; i < count; i++) {
        size_t start = i == 0 ? 0 : ends[i - 1];
        spans[i] = span_of(images.data + start, ends[i] - start);
    }
    order_spans(spans, count, sorted);
    for (size_t i = 0; i < count; i++) {
        order[i] = former[sorted[i]];
    }
}

uint32_t *row_pile_order(const struct row_pile *pile)
{
    size_t count = (size_t)pile->frame->rows_count;
    CLEANUP(mem_cleanup) struct span *keys = mem_zeroed(count + 1, sizeof *keys);
    uint32_t *order = mem_zeroed(count + 1, sizeof *order);
    for (size_t i = 0; i < count; i++) {
        keys[i] = row_pile_key(pile, (int64_t)i);
    }
    order_spans(keys, count, order);
    for (size_t first = 0; first < count;) {
        size_t end = first + 1;
        while (end < count && span_equal(keys[order[first]], keys[order[end]])) {
            end++;
        }
        if (end - first > 1) {
            order_equals(pile, order + first, end - first);
        }
        first = end;
    }
    return order;
}

/* ---- runs ---- */

void row_runs_init(struct row_runs *runs, const struct schema *schema, const char *folder)
{
    *runs = (struct row_runs){.schema = schema, .folder = folder};
    buffer_init(&runs->block, SCRATCH_BLOCK_BYTES_MAX);
}

void row_runs_deinit(struct row_runs *runs)
{
    scratch_close(&runs->scratch);
    buffer_deinit(&runs->block);
}

enum err_code row_runs_write(struct row_runs *runs, const struct frame *frame, struct row_run *run,
                             struct err *err)
{
    if (runs->scratch == NULL) {
        TRY(scratch_open(runs->folder, &runs->scratch, err));
    }
    assert(run->end == 0 || run->end == scratch_end(runs->scratch));
    buffer_reset(&runs->block);
    frame_encode(frame, &runs->block);
    TRY(buffer_check(&runs->block, "rows being sorted", err));
    int64_t place = 0;
    TRY(scratch_append(runs->scratch, buffer_span(&runs->block), &place, err));
    run->place = run->end == 0 ? place : run->place;
    run->end = scratch_end(runs->scratch);
    run->rows_count += frame->rows_count;
    return ERR_OK;
}

enum err_code row_runs_read(struct row_runs *runs, struct row_run *run, struct frame **frame_out,
                            struct err *err)
{
    assert(run->place < run->end);
    buffer_reset(&runs->block);
    TRY(scratch_read(runs->scratch, run->place, &runs->block, &run->place, err));
    return frame_decode(buffer_span(&runs->block), runs->schema, frame_out, err);
}
