/*
 * Copying rows between frames: one by one, many of one frame, many of several.
 * See frame.h for the contracts.
 */
#include "storage/base/mem.h"
#include "storage/columns/frame.h"
#include "storage/columns/frame_parts.h"
#include "storage/columns/widen.h"

#include <assert.h>

/* ---- row by row ---- */

static void append_nested_from(struct column *target, const struct column *source, int64_t row)
{
    struct column_stretch rows = {.start = row, .end = row + 1};
    if (column_has_elements(source)) {
        rows = column_elements(source, row);
    }
    for (size_t i = 0; i < target->children_count; i++) {
        for (int64_t at = rows.start; at < rows.end; at++) {
            if (i < source->children_count) {
                column_append_from(&target->children[i], &source->children[i], at);
            } else {
                column_append_null(&target->children[i]);
            }
        }
    }
    column_append_nested(target);
}

void column_append_from(struct column *target, const struct column *source, int64_t row)
{
    assert(target->type == source->type);
    assert(target->children_count >= source->children_count);
    assert(row >= 0);
    assert(row < source->rows_count);
    if (!column_is_present(source, row)) {
        column_append_absent(target);
    } else if (!column_is_valid(source, row)) {
        column_append_null(target);
    } else if (column_has_bytes(source)) {
        column_append_bytes(target, column_bytes(source, row));
    } else if (source->children_count > 0) {
        append_nested_from(target, source, row);
    } else {
        size_t size = column_slot_bytes(source);
        int64_t slot = column_append_slot(target);
        memcpy((uint8_t *)target->values.slots + (size_t)slot * size,
               (const uint8_t *)source->values.slots + (size_t)row * size, size);
    }
}

/* The column of `source` that holds field `index` of `target`, NULL when it has none. */
static const struct column *matching_column(const struct frame *target, size_t index,
                                            const struct frame *source)
{
    if (target->schema == source->schema) {
        return &source->columns[index];
    }
    int found = schema_field_index_by_id(source->schema, target->schema->fields[index].id);
    return found < 0 ? NULL : &source->columns[found];
}

static int64_t line_at(const struct frame *frame, int64_t row)
{
    return frame->lines == NULL ? 0 : frame->lines[row];
}

void frame_append_row(struct frame *target, const struct frame *source, int64_t row)
{
    assert(row >= 0);
    assert(row < source->rows_count);
    for (size_t i = 0; i < target->schema->fields_count; i++) {
        const struct column *column = matching_column(target, i, source);
        if (column == NULL) {
            column_append_null(&target->columns[i]);
        } else {
            column_append_widened(&target->columns[i], &target->schema->fields[i], column, row);
        }
    }
    frame_end_row(target, frame_operation_at(source, row), line_at(source, row));
}

/* ---- rows of one frame ---- */

/* Slots of one size; `from` and `row` say where number i comes from. */
#define COPY_SLOTS(type, from, row)                                                                \
    do {                                                                                           \
        for (int64_t i = 0; i < count; i++) {                                                      \
            memcpy((uint8_t *)target->values.slots + (size_t)(first + i) * sizeof(type),           \
                   (const uint8_t *)(from)->values.slots + (size_t)(row) * sizeof(type),           \
                   sizeof(type));                                                                  \
        }                                                                                          \
    } while (0)

#define COPY_SLOTS_OF_SIZE(size, from, row)                                                        \
    do {                                                                                           \
        switch (size) {                                                                            \
        case sizeof(uint8_t):                                                                      \
            COPY_SLOTS(uint8_t, from, row);                                                        \
            break;                                                                                 \
        case sizeof(int32_t):                                                                      \
            COPY_SLOTS(int32_t, from, row);                                                        \
            break;                                                                                 \
        case sizeof(int64_t):                                                                      \
            COPY_SLOTS(int64_t, from, row);                                                        \
            break;                                                                                 \
        default:                                                                                   \
            assert((size) == sizeof(__int128));                                                    \
            COPY_SLOTS(__int128, from, row);                                                       \
            break;                                                                                 \
        }                                                                                          \
    } while (0)

static void gather_bytes(struct column *target, const struct column *source, const int64_t *rows,
                         int64_t count)
{
    size_t total = 0;
    for (int64_t i = 0; i < count; i++) {
        total += column_bytes(source, rows[i]).size;
    }
    column_reserve_bytes(target, total);
    size_t end = target->bytes_size;
    for (int64_t i = 0; i < count; i++) {
        struct span value = column_bytes(source, rows[i]);
        column_copy_text(target->bytes + end, value.data, value.size);
        end += value.size;
        target->values.ends[target->rows_count + i] = (uint32_t)end;
    }
    target->bytes_size = end;
}

static void gather_slots(struct column *target, const struct column *source, const int64_t *rows,
                         int64_t count)
{
    int64_t first = target->rows_count;
    COPY_SLOTS_OF_SIZE(column_slot_bytes(source), source, rows[i]);
}

static void gather_bits(uint8_t *target, int64_t first, const uint8_t *source, const int64_t *rows,
                        int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        unsigned bit = source[rows[i] >> 3] >> (rows[i] & 7) & 1U;
        target[(first + i) >> 3] |= (uint8_t)(bit << ((first + i) & 7));
    }
}

static void gather_validity(struct column *target, const struct column *source, const int64_t *rows,
                            int64_t count)
{
    int64_t first = target->rows_count;
    if (source->nulls_count == 0) {
        column_fill_bits(target->validity, first, first + count, true);
        return;
    }
    gather_bits(target->validity, first, source->validity, rows, count);
    for (int64_t i = 0; i < count; i++) {
        target->nulls_count += !column_is_valid(target, first + i);
    }
}

static void append_children(struct column *target, const struct column *source, const int64_t *rows,
                            int64_t count);

/* The elements of the chosen rows, all at once. */
static void gather_elements(struct column *target, const struct column *source, const int64_t *rows,
                            int64_t count)
{
    int64_t total = 0;
    for (int64_t i = 0; i < count; i++) {
        struct column_stretch elements = column_elements(source, rows[i]);
        total += elements.end - elements.start;
    }
    CLEANUP(mem_cleanup) int64_t *chosen = mem_alloc((size_t)(total + 1) * sizeof *chosen);
    int64_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        struct column_stretch elements = column_elements(source, rows[i]);
        for (int64_t row = elements.start; row < elements.end; row++) {
            chosen[at++] = row;
        }
        target->values.ends[target->rows_count + i] = column_elements_end(target) + (uint32_t)at;
    }
    append_children(target, source, chosen, total);
}

static void gather_nested(struct column *target, const struct column *source, const int64_t *rows,
                          int64_t count)
{
    if (column_has_elements(source)) {
        gather_elements(target, source, rows, count);
    } else {
        append_children(target, source, rows, count);
    }
}

static void column_append_rows(struct column *target, const struct column *source,
                               const int64_t *rows, int64_t count)
{
    assert(target->type == source->type);
    assert(target->children_count >= source->children_count);
    column_reserve(target, count);
    if (source->present != NULL) {
        column_start_present(target);
    }
    if (column_has_bytes(source)) {
        gather_bytes(target, source, rows, count);
    } else if (source->children_count > 0) {
        gather_nested(target, source, rows, count);
    } else {
        gather_slots(target, source, rows, count);
    }
    gather_validity(target, source, rows, count);
    if (target->present != NULL && source->present != NULL) {
        gather_bits(target->present, target->rows_count, source->present, rows, count);
    } else if (target->present != NULL) {
        column_fill_bits(target->present, target->rows_count, target->rows_count + count, true);
    }
    target->rows_count += count;
}

static void column_append_nulls(struct column *column, int64_t count)
{
    column_reserve(column, count);
    for (int64_t i = 0; i < count; i++) {
        column_append_null(column);
    }
}

static void append_children(struct column *target, const struct column *source, const int64_t *rows,
                            int64_t count)
{
    for (size_t i = 0; i < target->children_count; i++) {
        if (i < source->children_count) {
            column_append_rows(&target->children[i], &source->children[i], rows, count);
        } else {
            column_append_nulls(&target->children[i], count);
        }
    }
}

void frame_append_rows(struct frame *target, const struct frame *source, const int64_t *rows,
                       int64_t count)
{
    assert(count >= 0);
    assert(target != source);
    for (int64_t i = 0; i < count; i++) {
        assert((uint64_t)rows[i] < (uint64_t)source->rows_count);
    }
    for (size_t i = 0; i < target->schema->fields_count; i++) {
        const struct column *column = matching_column(target, i, source);
        if (column == NULL) {
            column_append_nulls(&target->columns[i], count);
        } else if (column->type == target->columns[i].type) {
            column_append_rows(&target->columns[i], column, rows, count);
        } else {
            for (int64_t k = 0; k < count; k++) {
                column_append_widened(&target->columns[i], &target->schema->fields[i], column,
                                      rows[k]);
            }
        }
    }
    frame_reserve_row_arrays(target, count);
    frame_start_row_arrays(target, source->operations != NULL, source->lines != NULL);
    for (int64_t i = 0; i < count; i++) {
        frame_set_row(target, target->rows_count + i, frame_operation_at(source, rows[i]),
                      line_at(source, rows[i]));
    }
    target->rows_count += count;
}

/* ---- rows of several frames ---- */

/* The column of each source that holds the field at hand. */
struct picked {
    const struct column **columns;
    size_t columns_count;
    const struct frame_pick *picks;
    int64_t count;
};

/* Can it be gathered? Not what is nested, widened, missing or absent in places. */
static bool is_plain(const struct column *target, const struct picked *picked)
{
    bool plain = !column_type_is_nested(target->type) && target->present == NULL;
    for (size_t i = 0; plain && i < picked->columns_count; i++) {
        const struct column *column = picked->columns[i];
        plain = column != NULL && column->type == target->type && column->present == NULL;
    }
    return plain;
}

static void pick_bytes(struct column *target, const struct picked *picked)
{
    int64_t first = target->rows_count;
    for (int64_t i = 0; i < picked->count; i++) {
        const struct frame_pick pick = picked->picks[i];
        struct span value = column_bytes(picked->columns[pick.source], pick.row);
        if (value.size > target->bytes_capacity - target->bytes_size) {
            column_reserve_bytes(target, value.size);
        }
        column_copy_text(target->bytes + target->bytes_size, value.data, value.size);
        target->bytes_size += value.size;
        target->values.ends[first + i] = (uint32_t)target->bytes_size;
    }
}

static void pick_slots(struct column *target, const struct picked *picked)
{
    int64_t first = target->rows_count;
    int64_t count = picked->count;
    COPY_SLOTS_OF_SIZE(column_slot_bytes(target), picked->columns[picked->picks[i].source],
                       picked->picks[i].row);
}

static void pick_validity(struct column *target, const struct picked *picked)
{
    int64_t first = target->rows_count;
    bool nulls = false;
    for (size_t i = 0; i < picked->columns_count; i++) {
        nulls = nulls || picked->columns[i]->nulls_count > 0;
    }
    if (!nulls) {
        column_fill_bits(target->validity, first, first + picked->count, true);
        return;
    }
    for (int64_t i = 0; i < picked->count; i++) {
        const struct frame_pick pick = picked->picks[i];
        unsigned valid = column_is_valid(picked->columns[pick.source], pick.row);
        target->validity[(first + i) >> 3] |= (uint8_t)(valid << ((first + i) & 7));
        target->nulls_count += valid == 0;
    }
}

static void pick_plain(struct column *target, const struct picked *picked)
{
    column_reserve(target, picked->count);
    if (column_has_bytes(target)) {
        pick_bytes(target, picked);
    } else {
        pick_slots(target, picked);
    }
    pick_validity(target, picked);
    target->rows_count += picked->count;
}

static void pick_one_by_one(struct column *target, const struct field *field,
                            const struct picked *picked)
{
    for (int64_t i = 0; i < picked->count; i++) {
        const struct frame_pick pick = picked->picks[i];
        if (picked->columns[pick.source] == NULL) {
            column_append_null(target);
        } else {
            column_append_widened(target, field, picked->columns[pick.source], pick.row);
        }
    }
}

void frame_append_picks(struct frame *target, const struct frame *const *sources,
                        size_t sources_count, const struct frame_pick *picks, int64_t count)
{
    assert(count >= 0);
    for (int64_t i = 0; i < count; i++) {
        assert(picks[i].source < sources_count);
        assert(picks[i].row < sources[picks[i].source]->rows_count);
    }
    CLEANUP(mem_cleanup)
    const struct column **columns = mem_zeroed(sources_count, sizeof(struct column *));
    const struct picked picked = {
        .columns = columns, .columns_count = sources_count, .picks = picks, .count = count};
    for (size_t i = 0; i < target->schema->fields_count; i++) {
        for (size_t source = 0; source < sources_count; source++) {
            columns[source] = matching_column(target, i, sources[source]);
        }
        if (is_plain(&target->columns[i], &picked)) {
            pick_plain(&target->columns[i], &picked);
        } else {
            pick_one_by_one(&target->columns[i], &target->schema->fields[i], &picked);
        }
    }
    frame_reserve_row_arrays(target, count);
    for (int64_t i = 0; i < count; i++) {
        const struct frame *source = sources[picks[i].source];
        frame_set_row(target, target->rows_count + i, frame_operation_at(source, picks[i].row),
                      line_at(source, picks[i].row));
    }
    target->rows_count += count;
}
