/*
 * Reading rows into frames: flat columns here, page by page; nested ones through
 * assemble.h. See reader.h for the contract.
 * Source: parquet-format README "Column chunks"; PageIndex.md.
 */
#include "storage/parquet/reader.h"

#include "storage/base/mem.h"
#include "storage/parquet/assemble.h"
#include "storage/parquet/convert.h"
#include "storage/parquet/reader_state.h"
#include "storage/parquet/selection.h"

#include <assert.h>
#include <string.h>

enum {
    LOCATIONS_MEMORY_MAX = 256 << 20,
    RESERVE_ROWS_MAX = 1 << 20, /* made ready at once; what a file claims is not believed further */
};

/* ---- which rows ---- */

/* The first index from `from` on whose row is not before `row`. */
static int64_t seek_row(const struct selection *selection, int64_t from, int64_t row)
{
    if (selection->rows == NULL) {
        int64_t index = row - selection->start;
        index = index < from ? from : index;
        return index < selection->count ? index : selection->count;
    }
    int64_t low = from;
    int64_t high = selection->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (selection->rows[middle] < row) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- reading one column of one row group ---- */

/* A column being read, row by row of its row group. */
struct column_read {
    struct parquet_reader *reader;
    const struct convert_plan *plan;
    struct column *target;
    const struct selection *selection;
    int64_t group_start; /* file row */
    int64_t group_rows;
    int64_t row;                         /* of the row group: first of the next page */
    int64_t next;                        /* index in the selection still to be read */
    int64_t end;                         /* index after the row group's last selected row */
    struct metadata_location *locations; /* NULL: no offset index */
    size_t locations_count;
    size_t location; /* of the current page */
};

static int64_t wanted_row(const struct column_read *read)
{
    return selection_row(read->selection, read->next) - read->group_start;
}

/* Jump to the page with the next wanted row, unless it is the one that comes next anyway. */
static enum err_code jump(struct column_read *read, struct err *err)
{
    if (read->locations_count == 0) {
        return ERR_OK;
    }
    size_t location =
        metadata_location_of(read->locations, read->locations_count, wanted_row(read));
    bool is_next = read->row > 0 && read->locations[location].first_row == read->row;
    if (!is_next) {
        TRY(column_reader_seek(&read->reader->column, &read->locations[location], err));
    }
    read->row = read->locations[location].first_row;
    read->location = location;
    return ERR_OK;
}

static enum err_code check_page_rows(const struct column_read *read, int64_t rows, struct err *err)
{
    bool has_next = read->location + 1 < read->locations_count;
    int64_t end = has_next ? read->locations[read->location + 1].first_row : read->group_rows;
    bool indexed = read->locations_count > 0;
    if (rows > read->group_rows - read->row || (indexed && read->row + rows != end)) {
        return err_set(err, ERR_CORRUPT, "column '%s', page at %lld: %lld values from row %lld on",
                       read->reader->column.path, (long long)read->reader->column.page_offset,
                       (long long)rows, (long long)read->row);
    }
    return ERR_OK;
}

/* Selected rows within the `count` rows from `first` on; their places in the batch. */
static size_t choose(struct column_read *read, int64_t first, size_t count, uint16_t *chosen)
{
    size_t found = 0;
    int64_t end = first + (int64_t)count;
    while (read->next < read->end && wanted_row(read) < end) {
        chosen[found++] = (uint16_t)(wanted_row(read) - first);
        read->next++;
    }
    return found;
}

static enum err_code append_batch(struct column_read *read, int64_t first, struct err *err)
{
    struct parquet_reader *reader = read->reader;
    uint16_t chosen[BATCH_ENTRIES_MAX];
    size_t count = choose(read, first, reader->batch->count, chosen);
    bool all = count == reader->batch->count;
    enum err_code code =
        convert_append(read->plan, reader->batch, reader->column.definition_max > 0,
                       all ? NULL : chosen, count, read->target, err);
    if (code != ERR_OK) {
        return err_wrap(err, "column '%s', page at %lld", reader->column.path,
                        (long long)reader->column.page_offset);
    }
    return ERR_OK;
}

/* Decode the page up to the last row that is wanted of it. */
static enum err_code read_page(struct column_read *read, int64_t rows, struct err *err)
{
    struct column_reader *column = &read->reader->column;
    TRY(column_reader_load_page(column, err));
    int64_t first = read->row;
    int64_t end = read->row + rows;
    while (first < end && read->next < read->end && wanted_row(read) < end) {
        size_t count = 0;
        TRY(column_reader_fit(column, BATCH_ENTRIES_MAX, &count, err));
        TRY(column_reader_read(column, count, read->reader->batch, err));
        if (wanted_row(read) < first + (int64_t)count) {
            TRY(append_batch(read, first, err));
        }
        first += (int64_t)count;
    }
    return ERR_OK;
}

static enum err_code read_pages(struct column_read *read, struct err *err)
{
    struct column_reader *column = &read->reader->column;
    while (read->next < read->end) {
        TRY(jump(read, err));
        TRY(column_reader_next_page(column, err));
        int64_t rows = column->page.values_count;
        TRY(check_page_rows(read, rows, err));
        if (wanted_row(read) < read->row + rows) {
            TRY(read_page(read, rows, err));
        }
        read->row += rows;
        read->location++;
    }
    return ERR_OK;
}

static enum err_code read_chunk(struct column_read *read, size_t row_group, size_t leaf,
                                struct err *err)
{
    struct parquet_reader *reader = read->reader;
    const struct metadata_chunk *chunk = &reader->footer.row_groups[row_group].chunks[leaf];
    TRY(column_reader_open(&reader->column, &reader->source, &reader->codec, &reader->memory,
                           &reader->tree, leaf, chunk, err));
    if (chunk->values_count != read->group_rows) {
        return err_set(err, ERR_CORRUPT, "column '%s' has %lld values for %lld rows",
                       reader->column.path, (long long)chunk->values_count,
                       (long long)read->group_rows);
    }
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, LOCATIONS_MEMORY_MAX);
    enum err_code code =
        reader_load_locations(reader, chunk, &arena, &read->locations, &read->locations_count, err);
    if (code != ERR_OK) {
        return err_wrap(err, "column '%s'", reader->column.path);
    }
    (void)reader_batch(reader); /* for the pages */
    return read_pages(read, err);
}

/* ---- columns of a frame ---- */

/* One column of the file being read as one field. */
struct column_choice {
    struct parquet_reader *reader;
    const struct selection *selection;
    const struct parquet_read_options *options;
    const struct field *field;
    size_t element;
    struct column *target;
};

/* Read rows next … end - 1 of the selection, all of one row group. */
typedef enum err_code (*read_group_fn)(const struct column_choice *choice, size_t group,
                                       int64_t next, int64_t end, void *arg, struct err *err);

static enum err_code walk_groups(const struct column_choice *choice, read_group_fn read_group,
                                 void *arg, struct err *err)
{
    const struct parquet_reader *reader = choice->reader;
    const struct selection *selection = choice->selection;
    int64_t next = 0;
    for (size_t group = 0; group < reader->footer.row_groups_count && next < selection->count;
         group++) {
        int64_t end = seek_row(selection, next, reader->starts[group + 1]);
        if (end > next) {
            TRY(read_group(choice, group, next, end, arg, err));
            next = end;
        }
    }
    assert(next == selection->count);
    return ERR_OK;
}

static enum err_code read_flat_group(const struct column_choice *choice, size_t group, int64_t next,
                                     int64_t end, void *plan, struct err *err)
{
    struct parquet_reader *reader = choice->reader;
    struct column_read read = {.reader = reader,
                               .plan = plan,
                               .target = choice->target,
                               .selection = choice->selection,
                               .group_start = reader->starts[group],
                               .group_rows = reader->footer.row_groups[group].rows_count,
                               .next = next,
                               .end = end};
    return read_chunk(&read, group, reader->tree.elements[choice->element].first_leaf, err);
}

/* Contents that the column may have in the end. */
static int64_t flat_bytes_max(const struct column_choice *choice)
{
    const struct parquet_read_options *options = choice->options;
    int64_t most = options != NULL && options->column_bytes_max > 0 ? options->column_bytes_max
                                                                    : COLUMN_BYTES_MAX;
    int64_t left = choice->reader->bytes_left;
    int64_t size = (int64_t)choice->target->bytes_size;
    return left < most - size ? size + left + 1 : most; /* below it, as convert_append has it */
}

static enum err_code read_flat(const struct column_choice *choice, struct err *err)
{
    const struct parquet_reader *reader = choice->reader;
    const struct metadata_element *stored = reader->tree.elements[choice->element].element;
    if (tree_is_nested(&reader->tree.elements[choice->element])) {
        return err_set(err, ERR_UNSUPPORTED, "column '%.*s' is nested in the file",
                       SPAN_PRINT(stored->name));
    }
    struct convert_plan plan;
    TRY(convert_plan_make(stored, choice->field, reader_is_legacy(reader, stored), &plan, err));
    plan.exact = choice->options != NULL && choice->options->exact;
    plan.bytes_max = flat_bytes_max(choice);
    int64_t before = (int64_t)choice->target->bytes_size;
    TRY(walk_groups(choice, read_flat_group, &plan, err));
    choice->reader->bytes_left -= (int64_t)choice->target->bytes_size - before;
    return ERR_OK;
}

/* ---- nested columns ---- */

/* The assembly of a nested column, which goes on where the last read of it ended. */
struct reader_assembly {
    struct assembly *assembly; /* NULL: to be begun */
    struct schema *schema;     /* a reference: whose field it reads */
    const struct field *field;
    size_t element;
    bool exact;
};

static void assembly_forget(struct reader_assembly *kept)
{
    assembly_end(&kept->assembly);
    schema_release(&kept->schema);
    *kept = (struct reader_assembly){0};
}

void reader_assemblies_end(struct parquet_reader *reader)
{
    for (size_t i = 0; i < reader->assemblies_count; i++) {
        assembly_forget(&reader->assemblies[i]);
    }
    mem_free(reader->assemblies);
    reader->assemblies = NULL;
    reader->assemblies_count = 0;
}

/* The place of the column's assembly; one that reads it as something else makes way. */
static struct reader_assembly *find_assembly(const struct column_choice *choice)
{
    struct parquet_reader *reader = choice->reader;
    bool exact = choice->options != NULL && choice->options->exact;
    for (size_t i = 0; i < reader->assemblies_count; i++) {
        struct reader_assembly *kept = &reader->assemblies[i];
        if (kept->assembly != NULL && kept->element == choice->element) {
            if (kept->field != choice->field || kept->exact != exact) {
                assembly_forget(kept);
            }
            return kept;
        }
    }
    for (size_t i = 0; i < reader->assemblies_count; i++) {
        if (reader->assemblies[i].assembly == NULL) {
            return &reader->assemblies[i];
        }
    }
    size_t count = reader->assemblies_count * 2 + 4;
    reader->assemblies = mem_resize(reader->assemblies, count, sizeof *reader->assemblies);
    for (size_t i = reader->assemblies_count; i < count; i++) {
        reader->assemblies[i] = (struct reader_assembly){0};
    }
    struct reader_assembly *fresh = &reader->assemblies[reader->assemblies_count];
    reader->assemblies_count = count;
    return fresh;
}

static enum err_code read_nested_group(const struct column_choice *choice, size_t group,
                                       int64_t next, int64_t end, void *assembly, struct err *err)
{
    return assembly_read(assembly, group, choice->selection, next, end, &choice->reader->bytes_left,
                         choice->target, err);
}

static enum err_code read_nested(const struct column_choice *choice, const struct schema *schema,
                                 struct err *err)
{
    struct reader_assembly *kept = find_assembly(choice);
    if (kept->assembly == NULL) {
        bool exact = choice->options != NULL && choice->options->exact;
        struct assembly *assembly = NULL;
        TRY(assembly_begin(choice->reader, choice->element, choice->field, exact, &assembly, err));
        *kept = (struct reader_assembly){.assembly = assembly,
                                         .schema = schema_acquire(schema),
                                         .field = choice->field,
                                         .element = choice->element,
                                         .exact = exact};
    }
    int64_t *left = &choice->reader->bytes_left;
    bool is_limited = choice->options != NULL && choice->options->bytes_max > 0;
    int64_t others = *left;
    *left = is_limited ? others : PARQUET_NESTED_BYTES_MAX;
    enum err_code code = walk_groups(choice, read_nested_group, kept->assembly, err);
    *left = is_limited ? *left : others;
    if (code != ERR_OK) {
        assembly_forget(kept); /* it stopped in the middle of a row */
    }
    return code;
}

static enum err_code read_column(struct parquet_reader *reader, const struct selection *selection,
                                 const struct parquet_read_options *options, size_t field,
                                 struct frame *frame, struct err *err)
{
    struct column_choice choice = {.reader = reader,
                                   .selection = selection,
                                   .options = options,
                                   .field = &frame->schema->fields[field],
                                   .target = &frame->columns[field]};
    bool wanted = options == NULL || options->columns == NULL || options->columns[field];
    if (wanted) {
        bool named = options != NULL && options->names != NULL && options->names[field] != NULL;
        choice.element = named
                             ? tree_find_column(&reader->tree, span_of_text(options->names[field]))
                             : tree_find_field(&reader->tree, choice.field);
    }
    if (choice.element == 0 || reader->tree.elements[choice.element].leaves_count == 0) {
        convert_append_nulls(choice.target, selection->count);
        return ERR_OK;
    }
    return column_type_is_nested(choice.field->type) ? read_nested(&choice, frame->schema, err)
                                                     : read_flat(&choice, err);
}

static enum err_code read_columns(struct parquet_reader *reader, const struct selection *selection,
                                  const struct parquet_read_options *options, struct frame *frame,
                                  struct err *err)
{
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        TRY(read_column(reader, selection, options, i, frame, err));
    }
    return ERR_OK;
}

static enum err_code read_selection(struct parquet_reader *reader,
                                    const struct selection *selection,
                                    const struct parquet_read_options *options, struct frame *frame,
                                    struct err *err)
{
    assert(frame->operations == NULL); /* rows of files have none */
    assert(frame->lines == NULL);
    if (selection->count > FRAME_ROWS_MAX - frame->rows_count) {
        return err_set(err, ERR_TOO_LARGE,
                       "%lld more rows than a frame holds; read fewer at a time",
                       (long long)selection->count);
    }
    reader->bytes_left = options != NULL && options->bytes_max > 0 ? options->bytes_max : INT64_MAX;
    frame_reserve(frame, selection->count < RESERVE_ROWS_MAX ? selection->count : RESERVE_ROWS_MAX);
    enum err_code code = read_columns(reader, selection, options, frame, err);
    if (code != ERR_OK) {
        for (size_t i = 0; i < frame->schema->fields_count; i++) {
            column_truncate(&frame->columns[i], frame->rows_count);
        }
        return code;
    }
    frame->rows_count += selection->count;
    return ERR_OK;
}

enum err_code parquet_reader_read_range(struct parquet_reader *reader, int64_t start, int64_t count,
                                        const struct parquet_read_options *options,
                                        struct frame *frame, struct err *err)
{
    assert(start >= 0);
    assert(count >= 0);
    assert(count <= reader->footer.rows_count - start);
    const struct selection selection = {.start = start, .count = count};
    return read_selection(reader, &selection, options, frame, err);
}

enum err_code parquet_reader_read_row_group(struct parquet_reader *reader, size_t row_group,
                                            const struct parquet_read_options *options,
                                            struct frame *frame, struct err *err)
{
    assert(row_group < reader->footer.row_groups_count);
    return parquet_reader_read_range(reader, reader->starts[row_group],
                                     reader->footer.row_groups[row_group].rows_count, options,
                                     frame, err);
}

enum err_code parquet_reader_read_rows(struct parquet_reader *reader, const int64_t *rows,
                                       int64_t count, const struct parquet_read_options *options,
                                       struct frame *frame, struct err *err)
{
    for (int64_t i = 0; i < count; i++) {
        assert(rows[i] >= 0);
        assert(rows[i] < reader->footer.rows_count);
        assert(i == 0 || rows[i] > rows[i - 1]);
    }
    const struct selection selection = {.rows = rows, .count = count};
    return read_selection(reader, &selection, options, frame, err);
}
