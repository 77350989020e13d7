/*
 * Frames in memory: typed columns that grow by appending, undo of half-built
 * rows. See frame.h for the contracts; copying rows is frame_copy.c's, the
 * journal's bytes are frame_codec.c's, keys key.c's.
 */
#include "storage/columns/frame.h"

#include "storage/base/mem.h"
#include "storage/columns/frame_parts.h"

#include <assert.h>

enum {
    ROWS_FIRST = 64,       /* capacity of a column that was never reserved */
    BYTES_FIRST = 64 * 16, /* the same for contents */
    ROWS_STEP = 64,        /* capacity is a multiple, so that bit arrays are whole words */
    SPARE_FIELDS_MAX = 128,
};

static const char *const operation_names[FRAME_OPERATION_COUNT] = {
    [FRAME_UPSERT] = "upsert",
    [FRAME_PATCH] = "patch",
    [FRAME_INSERT] = "insert",
    [FRAME_DELETE] = "delete",
};

const char *frame_operation_name(enum frame_operation operation)
{
    assert((unsigned)operation < FRAME_OPERATION_COUNT);
    return operation_names[operation];
}

bool frame_operation_parse(struct span name, enum frame_operation *operation_out)
{
    for (unsigned i = 0; i < FRAME_OPERATION_COUNT; i++) {
        if (span_equal_text(name, operation_names[i])) {
            *operation_out = (enum frame_operation)i;
            return true;
        }
    }
    return false;
}

/* ---- one column ------------------------------------------------------------ */

/* Recursion here and below is bounded by SCHEMA_DEPTH_MAX. */
void column_init(struct column *column, const struct field *field)
{
    *column = (struct column){.type = field->type, .children_count = field->children_count};
    if (field->children_count > 0) {
        column->children = mem_zeroed(field->children_count, sizeof *column->children);
    }
    for (size_t i = 0; i < field->children_count; i++) {
        column_init(&column->children[i], &field->children[i]);
    }
}

void column_deinit(struct column *column)
{
    for (size_t i = 0; i < column->children_count; i++) {
        column_deinit(&column->children[i]);
    }
    mem_free(column->children);
    mem_free(column->validity);
    mem_free(column->present);
    mem_free(column->values.slots);
    mem_free(column->bytes);
    *column = (struct column){0};
}

/* The capacity that holds `needed`, at least doubled so that appends are cheap on average. */
static int64_t rows_capacity_for(int64_t needed, int64_t current, int64_t first)
{
    int64_t capacity = current * 2 > first ? current * 2 : first;
    capacity = capacity > needed ? capacity : needed;
    return (capacity + ROWS_STEP - 1) / ROWS_STEP * ROWS_STEP;
}

static uint8_t *bits_resize(uint8_t *bits, int64_t rows_before, int64_t rows_after)
{
    size_t size_before = (size_t)rows_before / 8;
    size_t size_after = (size_t)rows_after / 8;
    uint8_t *resized = mem_resize(bits, size_after, 1);
    memset(resized + size_before, 0, size_after - size_before);
    return resized;
}

void column_reserve(struct column *column, int64_t rows)
{
    assert(rows >= 0);
    assert(rows <= FRAME_ROWS_MAX - column->rows_count);
    int64_t needed = column->rows_count + rows;
    if (needed <= column->capacity_rows) {
        return;
    }
    int64_t capacity = rows_capacity_for(needed, column->capacity_rows, ROWS_FIRST);
    column->validity = bits_resize(column->validity, column->capacity_rows, capacity);
    if (column->present != NULL) {
        column->present = bits_resize(column->present, column->capacity_rows, capacity);
    }
    if (column->type != COLUMN_STRUCT) {
        column->values.slots =
            mem_resize(column->values.slots, (size_t)capacity, column_slot_bytes(column));
    }
    column->capacity_rows = capacity;
    if (column_has_bytes(column) && column->bytes == NULL) {
        column_reserve_bytes(column, 1); /* so that column_bytes never counts from NULL */
    }
}

void column_reserve_bytes(struct column *column, size_t size)
{
    assert(column_has_bytes(column));
    assert(size <= COLUMN_BYTES_MAX - column->bytes_size);
    size_t needed = column->bytes_size + size;
    if (needed <= column->bytes_capacity) {
        return;
    }
    size_t capacity = column->bytes_capacity * 2;
    capacity = capacity > BYTES_FIRST ? capacity : BYTES_FIRST;
    capacity = capacity > needed ? capacity : needed;
    column->bytes = mem_resize(column->bytes, capacity, 1);
    column->bytes_capacity = capacity;
}

static void set_zero_slot(struct column *column, int64_t row)
{
    if (column_has_bytes(column)) {
        column->values.ends[row] = (uint32_t)column->bytes_size;
        return;
    }
    if (column_has_elements(column)) {
        column->values.ends[row] = column_elements_end(column);
        return;
    }
    if (column->type == COLUMN_STRUCT) {
        for (size_t i = 0; i < column->children_count; i++) {
            column_append_null(&column->children[i]);
        }
        return;
    }
    size_t size = column_slot_bytes(column);
    memset((uint8_t *)column->values.slots + (size_t)row * size, 0, size);
}

/* A null, with its present bit only when `present`. */
static void append_without_value(struct column *column, bool present)
{
    column_reserve(column, 1);
    int64_t row = column->rows_count;
    set_zero_slot(column, row);
    if (present && column->present != NULL) {
        column->present[row >> 3] |= (uint8_t)(1U << (row & 7));
    }
    column->nulls_count++;
    column->rows_count = row + 1;
}

void column_append_nested(struct column *column)
{
    int64_t row = column_append_slot(column);
    if (column_has_elements(column)) {
        column->values.ends[row] = column_elements_end(column);
    }
    for (size_t i = 0; i < column->children_count; i++) {
        assert(column->children[i].rows_count ==
               (column_has_elements(column) ? column->children[0].rows_count : column->rows_count));
    }
}

void column_append_null(struct column *column)
{
    append_without_value(column, true);
}

void column_fill_bits(uint8_t *bits, int64_t start, int64_t end, bool value)
{
    for (; start < end && (start & 7) != 0; start++) {
        uint8_t bit = (uint8_t)(1U << (start & 7));
        bits[start >> 3] = (uint8_t)(value ? bits[start >> 3] | bit : bits[start >> 3] & ~bit);
    }
    int64_t whole = (end - start) / 8;
    if (whole > 0) {
        memset(bits + (start >> 3), value ? 0xff : 0, (size_t)whole);
        start += whole * 8;
    }
    for (; start < end; start++) {
        uint8_t bit = (uint8_t)(1U << (start & 7));
        bits[start >> 3] = (uint8_t)(value ? bits[start >> 3] | bit : bits[start >> 3] & ~bit);
    }
}

void column_start_present(struct column *column)
{
    if (column->present == NULL) {
        column_reserve(column, 1);
        column->present = mem_zeroed((size_t)column->capacity_rows / 8, 1);
        column_fill_bits(column->present, 0, column->rows_count, true);
    }
}

void column_append_absent(struct column *column)
{
    column_start_present(column);
    append_without_value(column, false);
}

/* The parts of nested values beyond `rows_count`, also of one that was not ended. */
static void truncate_children(struct column *column, int64_t rows_count)
{
    int64_t rows = rows_count;
    if (column_has_elements(column)) {
        rows = rows_count > 0 ? column->values.ends[rows_count - 1] : 0;
    }
    for (size_t i = 0; i < column->children_count; i++) {
        struct column *child = &column->children[i];
        column_truncate(child, rows < child->rows_count ? rows : child->rows_count);
    }
}

void column_truncate(struct column *column, int64_t rows_count)
{
    assert(rows_count >= 0);
    assert(rows_count <= column->rows_count);
    truncate_children(column, rows_count);
    for (int64_t row = rows_count; row < column->rows_count; row++) {
        column->nulls_count -= !column_is_valid(column, row);
    }
    if (rows_count == column->rows_count) {
        return;
    }
    column_fill_bits(column->validity, rows_count, column->rows_count, false);
    if (column->present != NULL) {
        column_fill_bits(column->present, rows_count, column->rows_count, false);
    }
    if (column_has_bytes(column)) {
        column->bytes_size = rows_count > 0 ? column->values.ends[rows_count - 1] : 0;
    }
    column->rows_count = rows_count;
}

/* As it began, but for the memory it has, whatever state it was left in. */
static void column_reset(struct column *column)
{
    for (size_t i = 0; i < column->children_count; i++) {
        column_reset(&column->children[i]);
    }
    if (column->validity != NULL) {
        memset(column->validity, 0, (size_t)column->capacity_rows / 8);
    }
    mem_free(column->present);
    column->present = NULL;
    column->rows_count = 0;
    column->nulls_count = 0;
    column->bytes_size = 0;
}

/* ---- spare columns ----------------------------------------------------------- */

static bool column_is_small(const struct column *column)
{
    bool small = column->capacity_rows <= ROWS_FIRST && column->bytes_capacity <= BYTES_FIRST;
    for (size_t i = 0; small && i < column->children_count; i++) {
        small = column_is_small(&column->children[i]);
    }
    return small;
}

static bool frame_is_small(const struct frame *frame)
{
    size_t count = frame->schema->fields_count;
    bool small = count <= SPARE_FIELDS_MAX;
    for (size_t i = 0; small && i < count; i++) {
        small = column_is_small(&frame->columns[i]);
    }
    return small;
}

static struct column *make_columns(const struct schema *schema)
{
    struct column *columns = mem_zeroed(schema->fields_count, sizeof *columns);
    for (size_t i = 0; i < schema->fields_count; i++) {
        column_init(&columns[i], &schema->fields[i]);
    }
    return columns;
}

static void free_columns(const struct schema *schema, struct column *columns)
{
    for (size_t i = 0; columns != NULL && i < schema->fields_count; i++) {
        column_deinit(&columns[i]);
    }
    mem_free(columns);
}

static void free_spares(struct schema *schema)
{
    for (size_t i = 0; i < SCHEMA_SPARES_MAX; i++) {
        free_columns(schema, schema->spare_columns[i]);
    }
}

static struct column *take_spare(struct schema *schema)
{
    struct column *columns = NULL;
    for (size_t i = 0; columns == NULL && i < SCHEMA_SPARES_MAX; i++) {
        columns = __atomic_exchange_n(&schema->spare_columns[i], NULL, __ATOMIC_ACQ_REL);
    }
    return columns;
}

static bool keep_spare(struct schema *schema, struct column *columns)
{
    for (size_t i = 0; i < SCHEMA_SPARES_MAX; i++) {
        struct column *none = NULL;
        if (__atomic_compare_exchange_n(&schema->spare_columns[i], &none, columns, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            __atomic_store_n(&schema->free_spares, free_spares, __ATOMIC_RELAXED);
            return true;
        }
    }
    return false;
}

/* ---- frames ------------------------------------------------------------------ */

struct frame *frame_new(const struct schema *schema)
{
    struct frame *frame = mem_zeroed(1, sizeof *frame);
    frame->schema = schema_acquire(schema);
    frame->columns = take_spare(frame->schema);
    if (frame->columns == NULL) {
        frame->columns = make_columns(schema);
    }
    return frame;
}

static void reset_columns(struct frame *frame)
{
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        column_reset(&frame->columns[i]);
    }
}

void frame_free(struct frame **frame)
{
    struct frame *freed = *frame;
    if (freed == NULL) {
        return;
    }
    bool kept = false;
    if (frame_is_small(freed)) {
        reset_columns(freed);
        kept = keep_spare(freed->schema, freed->columns);
    }
    if (!kept) {
        free_columns(freed->schema, freed->columns);
    }
    mem_free(freed->operations);
    mem_free(freed->lines);
    schema_release(&freed->schema);
    mem_free(freed);
    *frame = NULL;
}

void frame_reset(struct frame *frame)
{
    reset_columns(frame);
    mem_free(frame->operations);
    frame->operations = NULL;
    mem_free(frame->lines);
    frame->lines = NULL;
    frame->rows_count = 0;
}

void frame_prefetch_slots(const struct frame *frame, int64_t row)
{
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        const struct column *column = &frame->columns[i];
        if (column->values.slots != NULL) {
            const uint8_t *slots = column->values.slots;
            __builtin_prefetch(slots + (size_t)row * column_slot_bytes(column));
        }
    }
}

void frame_prefetch_texts(const struct frame *frame, int64_t row)
{
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        const struct column *column = &frame->columns[i];
        if (column_has_bytes(column)) {
            struct span bytes = column_bytes(column, row);
            __builtin_prefetch(bytes.data);
            __builtin_prefetch(bytes.data + bytes.size); /* most lie in one line or two */
        }
    }
}

void frame_reserve_row_arrays(struct frame *frame, int64_t rows)
{
    assert(rows <= FRAME_ROWS_MAX - frame->rows_count);
    int64_t needed = frame->rows_count + rows;
    if (needed <= frame->capacity_rows) {
        return;
    }
    int64_t capacity = rows_capacity_for(needed, frame->capacity_rows, ROWS_FIRST);
    if (frame->operations != NULL) {
        frame->operations = mem_resize(frame->operations, (size_t)capacity, 1);
    }
    if (frame->lines != NULL) {
        frame->lines = mem_resize(frame->lines, (size_t)capacity, sizeof *frame->lines);
    }
    frame->capacity_rows = capacity;
}

void frame_reserve(struct frame *frame, int64_t rows)
{
    frame_reserve_row_arrays(frame, rows);
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        column_reserve(&frame->columns[i], rows);
    }
}

void frame_start_row_arrays(struct frame *frame, bool operations, bool lines)
{
    if (operations && frame->operations == NULL) {
        frame->operations = mem_zeroed((size_t)frame->capacity_rows, 1);
    }
    if (lines && frame->lines == NULL) {
        frame->lines = mem_zeroed((size_t)frame->capacity_rows, sizeof *frame->lines);
    }
}

void frame_set_row(struct frame *frame, int64_t row, enum frame_operation operation, int64_t line)
{
    frame_start_row_arrays(frame, operation != FRAME_UPSERT, line != 0);
    if (frame->operations != NULL) {
        frame->operations[row] = (uint8_t)operation;
    }
    if (frame->lines != NULL) {
        frame->lines[row] = line;
    }
}

void frame_set_operations(struct frame *frame, enum frame_operation operation)
{
    assert((unsigned)operation < FRAME_OPERATION_COUNT);
    if (frame->rows_count > 0) {
        frame_reserve_row_arrays(frame, 0);
        frame_start_row_arrays(frame, true, false);
        memset(frame->operations, (int)operation, (size_t)frame->rows_count);
    }
}

void frame_end_row(struct frame *frame, enum frame_operation operation, int64_t line)
{
    assert((unsigned)operation < FRAME_OPERATION_COUNT);
    assert(line >= 0);
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        assert(frame->columns[i].rows_count == frame->rows_count + 1);
    }
    frame_reserve_row_arrays(frame, 1);
    frame_set_row(frame, frame->rows_count, operation, line);
    frame->rows_count++;
}

void frame_undo_row(struct frame *frame)
{
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        assert(frame->columns[i].rows_count <= frame->rows_count + 1);
        column_truncate(&frame->columns[i], frame->rows_count);
    }
}

/* ---- measuring and checking ------------------------------------------------------ */

static size_t column_memory_bytes(const struct column *column)
{
    size_t bits = (size_t)column->capacity_rows / 8;
    size_t bit_arrays = column->present == NULL ? 1 : 2;
    size_t total = bits * bit_arrays + (size_t)column->capacity_rows * column_slot_bytes(column) +
                   column->bytes_capacity + column->children_count * sizeof *column->children;
    for (size_t i = 0; i < column->children_count; i++) {
        total += column_memory_bytes(&column->children[i]);
    }
    return total;
}

size_t frame_memory_bytes(const struct frame *frame)
{
    size_t total = sizeof *frame + frame->schema->fields_count * sizeof *frame->columns;
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        total += column_memory_bytes(&frame->columns[i]);
    }
    size_t rows = (size_t)frame->capacity_rows;
    total += frame->operations == NULL ? 0 : rows;
    total += frame->lines == NULL ? 0 : rows * sizeof *frame->lines;
    return total;
}

static int64_t column_value_bytes(const struct column *column)
{
    int64_t bytes =
        column->rows_count * (int64_t)column_slot_bytes(column) + (int64_t)column->bytes_size;
    for (size_t i = 0; i < column->children_count; i++) {
        bytes += column_value_bytes(&column->children[i]);
    }
    return bytes;
}

int64_t frame_value_bytes(const struct frame *frame)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        bytes += column_value_bytes(&frame->columns[i]);
    }
    return bytes;
}

static void column_check(const struct column *column);

static void children_check(const struct column *column)
{
    int64_t rows = column->rows_count;
    if (column_has_elements(column)) {
        rows = rows > 0 ? column->values.ends[rows - 1] : 0;
    }
    for (size_t i = 0; i < column->children_count; i++) {
        const struct column *child = &column->children[i];
        assert(child->rows_count == rows);
        assert(child->present == NULL);
        for (int64_t row = 0; column->type == COLUMN_STRUCT && row < rows; row++) {
            assert(column_is_valid(column, row) || !column_is_valid(child, row));
        }
        column_check(child);
    }
}

static void column_check(const struct column *column)
{
    children_check(column);
    assert(column->rows_count <= column->capacity_rows);
    assert(column->capacity_rows % ROWS_STEP == 0);
    int64_t nulls = 0;
    uint32_t end = 0;
    for (int64_t row = 0; row < column->rows_count; row++) {
        bool valid = column_is_valid(column, row);
        nulls += !valid;
        assert(!valid || column_is_present(column, row));
        if (column_has_bytes(column) || column_has_elements(column)) {
            assert(column->values.ends[row] >= end);
            assert(valid || column->values.ends[row] == end);
            end = column->values.ends[row];
        }
    }
    assert(nulls == column->nulls_count);
    assert(!column_has_bytes(column) || end == column->bytes_size);
    for (int64_t row = column->rows_count; row < column->capacity_rows; row++) {
        assert(!column_is_valid(column, row));
        assert(column->present == NULL || !column_is_present(column, row));
    }
}

void frame_check(const struct frame *frame)
{
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        assert(frame->columns[i].type == frame->schema->fields[i].type);
        assert(frame->columns[i].rows_count == frame->rows_count);
        column_check(&frame->columns[i]);
    }
    for (int64_t row = 0; frame->operations != NULL && row < frame->rows_count; row++) {
        assert(frame->operations[row] < FRAME_OPERATION_COUNT);
    }
}
