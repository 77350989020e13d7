/*
 * Opening files and reading flat columns. See reader.h for the contract.
 * Source: parquet-format README "File format"; parquet.thrift; PageIndex.md.
 */
#include "storage/parquet/reader.h"

#include "storage/base/mem.h"
#include "storage/parquet/convert.h"
#include "storage/parquet/reader_state.h"

#include <assert.h>
#include <string.h>

enum {
    TAIL_FIRST_BYTES = 64 << 10, /* one read has most footers */
    LOCATIONS_BYTES_MAX = 64 << 20,
    LOCATIONS_MEMORY_MAX = 256 << 20,
    RESERVE_ROWS_MAX = 1 << 20, /* made ready at once; what a file claims is not believed further */
};

/* ---- source ---- */

static enum err_code read_memory(void *self, int64_t offset, void *out, size_t size,
                                 struct err *err)
{
    (void)err; /* the reader asks within the size only */
    const struct span *file = self;
    assert(offset >= 0);
    assert(size <= file->size - (size_t)offset);
    if (size > 0) {
        memcpy(out, file->data + offset, size);
    }
    return ERR_OK;
}

struct parquet_source parquet_source_of(const struct span *file)
{
    union {
        const struct span *given;
        void *taken; /* read_memory only reads it */
    } self = {.given = file};
    return (struct parquet_source){
        .read_at = read_memory, .self = self.taken, .size = (int64_t)file->size};
}

/* ---- opening ---- */

static enum err_code read_source(struct parquet_reader *reader, int64_t offset, void *out,
                                 size_t size, struct err *err)
{
    return reader->source.read_at(reader->source.self, offset, out, size, err);
}

/* Footer length from the last eight bytes. */
static enum err_code check_tail(const struct parquet_reader *reader, const uint8_t *tail,
                                size_t *footer_size_out, struct err *err)
{
    const uint8_t *magic = tail + PARQUET_TAIL_BYTES - PARQUET_MAGIC_BYTES;
    if (memcmp(magic, PARQUET_MAGIC_ENCRYPTED, PARQUET_MAGIC_BYTES) == 0) {
        return err_set(err, ERR_UNSUPPORTED, "the Parquet file is encrypted");
    }
    if (memcmp(magic, PARQUET_MAGIC, PARQUET_MAGIC_BYTES) != 0) {
        return err_set(err, ERR_CORRUPT, "not a Parquet file: it does not end with %s",
                       PARQUET_MAGIC);
    }
    uint32_t size;
    memcpy(&size, tail, sizeof size);
    int64_t room = reader->source.size - PARQUET_TAIL_BYTES - PARQUET_MAGIC_BYTES;
    if (size > room) {
        return err_set(err, ERR_CORRUPT, "footer length %u exceeds file size %lld", size,
                       (long long)reader->source.size);
    }
    if (size > PARQUET_FOOTER_BYTES_MAX) {
        return err_set(err, ERR_UNSUPPORTED, "footer of %u bytes; the limit is %d", size,
                       PARQUET_FOOTER_BYTES_MAX);
    }
    *footer_size_out = size;
    return ERR_OK;
}

static enum err_code read_footer(struct parquet_reader *reader, struct err *err)
{
    int64_t file_size = reader->source.size;
    if (file_size < PARQUET_TAIL_BYTES + PARQUET_MAGIC_BYTES) {
        return err_set(err, ERR_CORRUPT, "not a Parquet file: only %lld bytes",
                       (long long)file_size);
    }
    size_t tail_size = file_size < TAIL_FIRST_BYTES ? (size_t)file_size : TAIL_FIRST_BYTES;
    reader->footer_bytes = mem_alloc(tail_size);
    TRY(read_source(reader, file_size - (int64_t)tail_size, reader->footer_bytes, tail_size, err));
    size_t footer_size = 0;
    TRY(check_tail(reader, reader->footer_bytes + tail_size - PARQUET_TAIL_BYTES, &footer_size,
                   err));
    struct span footer;
    if (footer_size + PARQUET_TAIL_BYTES <= tail_size) {
        footer = span_of(reader->footer_bytes + tail_size - PARQUET_TAIL_BYTES - footer_size,
                         footer_size);
    } else {
        mem_free(reader->footer_bytes);
        reader->footer_bytes = mem_alloc(footer_size);
        int64_t offset = file_size - PARQUET_TAIL_BYTES - (int64_t)footer_size;
        TRY(read_source(reader, offset, reader->footer_bytes, footer_size, err));
        footer = span_of(reader->footer_bytes, footer_size);
    }
    return metadata_footer_decode(footer, &reader->arena, &reader->footer, err);
}

/* Row groups and schema must agree before anybody indexes one by the other. */
static enum err_code check_row_groups(struct parquet_reader *reader, struct err *err)
{
    const struct metadata_footer *footer = &reader->footer;
    reader->starts = mem_zeroed(footer->row_groups_count + 1, sizeof *reader->starts);
    for (size_t i = 0; i < footer->row_groups_count; i++) {
        const struct metadata_row_group *group = &footer->row_groups[i];
        if (group->chunks_count != reader->tree.leaves_count) {
            return err_set(err, ERR_CORRUPT, "row group %zu has %zu columns, the schema %zu", i,
                           group->chunks_count, reader->tree.leaves_count);
        }
        if (__builtin_add_overflow(reader->starts[i], group->rows_count, &reader->starts[i + 1])) {
            return err_set(err, ERR_CORRUPT, "row group %zu has an impossible row count", i);
        }
    }
    /* some writers leave the footer's own count 0; readers agree that the row groups count */
    reader->footer.rows_count = reader->starts[footer->row_groups_count];
    return ERR_OK;
}

bool parquet_reader_metadata(const struct parquet_reader *reader, const char *key,
                             struct span *value_out)
{
    for (size_t i = 0; i < reader->footer.key_values_count; i++) {
        if (span_equal_text(reader->footer.key_values[i].key, key)) {
            *value_out = reader->footer.key_values[i].value;
            return true;
        }
    }
    return false;
}

/* Is the Spark version in the footer below major.minor? */
static bool spark_before(const struct parquet_reader *reader, char major, char minor)
{
    struct span version;
    if (!parquet_reader_metadata(reader, "org.apache.spark.version", &version) ||
        version.size < 3 || version.data[1] != '.') {
        return false;
    }
    return version.data[0] < major || (version.data[0] == major && version.data[2] < minor);
}

/* Which calendar old Spark versions, or new ones in legacy mode, wrote dates in. */
static void find_calendar(struct parquet_reader *reader)
{
    struct span ignored;
    reader->legacy_calendar =
        spark_before(reader, '3', '0') ||
        parquet_reader_metadata(reader, "org.apache.spark.legacyDateTime", &ignored);
    reader->legacy_int96 =
        spark_before(reader, '3', '1') ||
        parquet_reader_metadata(reader, "org.apache.spark.legacyINT96", &ignored);
}

enum err_code parquet_reader_open(const struct parquet_source *source,
                                  struct parquet_reader **reader_out, struct err *err)
{
    CLEANUP(parquet_reader_close) struct parquet_reader *reader = mem_zeroed(1, sizeof *reader);
    reader->source = *source;
    arena_init(&reader->arena, PARQUET_FOOTER_MEMORY_MAX);
    TRY(read_footer(reader, err));
    TRY(tree_build(&reader->footer, &reader->arena, &reader->tree, err));
    TRY(check_row_groups(reader, err));
    find_calendar(reader);
    *reader_out = reader;
    reader = NULL;
    return ERR_OK;
}

void parquet_reader_close(struct parquet_reader **reader)
{
    struct parquet_reader *closed = *reader;
    if (closed == NULL) {
        return;
    }
    column_reader_deinit(&closed->column);
    codec_deinit(&closed->codec);
    arena_deinit(&closed->arena);
    mem_free(closed->footer_bytes);
    mem_free(closed->starts);
    mem_free(closed->batch);
    mem_free(closed);
    *reader = NULL;
}

int64_t parquet_reader_rows_count(const struct parquet_reader *reader)
{
    return reader->footer.rows_count;
}

size_t parquet_reader_row_groups_count(const struct parquet_reader *reader)
{
    return reader->footer.row_groups_count;
}

int64_t parquet_reader_row_group_rows(const struct parquet_reader *reader, size_t row_group)
{
    assert(row_group < reader->footer.row_groups_count);
    return reader->footer.row_groups[row_group].rows_count;
}

int64_t parquet_reader_row_group_start(const struct parquet_reader *reader, size_t row_group)
{
    assert(row_group < reader->footer.row_groups_count);
    return reader->starts[row_group];
}

bool parquet_reader_has_column(const struct parquet_reader *reader, struct span name)
{
    return tree_find_column(&reader->tree, name) != 0;
}

/* ---- which rows ---- */

/* Rows to read, as ascending stretches or one by one; file rows. */
struct selection {
    const int64_t *rows; /* NULL: start … start + count - 1 */
    int64_t start;
    int64_t count;
};

static int64_t selected_row(const struct selection *selection, int64_t index)
{
    return selection->rows != NULL ? selection->rows[index] : selection->start + index;
}

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
    return selected_row(read->selection, read->next) - read->group_start;
}

/* Load the offset index when there is one; a damaged one is an error, not a slow path. */
static enum err_code load_locations(struct column_read *read, const struct metadata_chunk *chunk,
                                    struct arena *arena, struct err *err)
{
    struct parquet_reader *reader = read->reader;
    int64_t size = chunk->offset_index_bytes;
    int64_t offset = chunk->offset_index_offset;
    if (offset == 0 || size == 0) {
        return ERR_OK;
    }
    if (offset < 0 || size < 0 || size > LOCATIONS_BYTES_MAX ||
        offset > reader->source.size - size) {
        return err_set(err, ERR_CORRUPT, "offset index at %lld is outside the file",
                       (long long)offset);
    }
    uint8_t *bytes = arena_alloc(arena, (size_t)size);
    if (bytes == NULL) {
        return err_set(err, ERR_TOO_LARGE, "offset index of %lld bytes", (long long)size);
    }
    TRY(read_source(reader, offset, bytes, (size_t)size, err));
    return metadata_offset_index_decode(span_of(bytes, (size_t)size), arena, &read->locations,
                                        &read->locations_count, err);
}

/* The page that holds `row`: the last one that starts at or before it. */
static size_t location_of(const struct column_read *read, int64_t row)
{
    size_t low = 0;
    size_t high = read->locations_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (read->locations[middle].first_row <= row) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Jump to the page with the next wanted row, unless it is the one that comes next anyway. */
static enum err_code jump(struct column_read *read, struct err *err)
{
    if (read->locations_count == 0) {
        return ERR_OK;
    }
    size_t location = location_of(read, wanted_row(read));
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
        size_t count =
            column->entries_left < BATCH_ENTRIES_MAX ? column->entries_left : BATCH_ENTRIES_MAX;
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
    TRY(column_reader_open(&reader->column, &reader->source, &reader->codec, &reader->memory_used,
                           &reader->tree, leaf, chunk, err));
    if (chunk->values_count != read->group_rows) {
        return err_set(err, ERR_CORRUPT, "column '%s' has %lld values for %lld rows",
                       reader->column.path, (long long)chunk->values_count,
                       (long long)read->group_rows);
    }
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, LOCATIONS_MEMORY_MAX);
    enum err_code code = load_locations(read, chunk, &arena, err);
    if (code != ERR_OK) {
        return err_wrap(err, "column '%s'", reader->column.path);
    }
    if (reader->batch == NULL) {
        reader->batch = mem_alloc(sizeof *reader->batch);
    }
    return read_pages(read, err);
}

/* ---- columns of a frame ---- */

/* The leaf of a flat column, checked to be one. */
static enum err_code flat_leaf(const struct parquet_reader *reader, size_t element,
                               size_t *leaf_out, struct err *err)
{
    const struct tree_element *found = &reader->tree.elements[element];
    if (found->element->type == PARQUET_TYPE_NONE || found->repetition > 0) {
        return err_set(err, ERR_UNSUPPORTED, "column '%.*s' is nested in the file",
                       SPAN_PRINT(found->element->name));
    }
    *leaf_out = found->first_leaf;
    return ERR_OK;
}

static struct span name_of(const struct frame *frame, const struct parquet_read_options *options,
                           size_t field)
{
    bool mapped = options != NULL && options->names != NULL && options->names[field] != NULL;
    return span_of_text(mapped ? options->names[field] : frame->schema->fields[field].name);
}

static enum err_code read_column(struct parquet_reader *reader, const struct selection *selection,
                                 const struct parquet_read_options *options, size_t field,
                                 struct frame *frame, struct err *err)
{
    struct column *target = &frame->columns[field];
    bool wanted = options == NULL || options->columns == NULL || options->columns[field];
    size_t element = wanted ? tree_find_column(&reader->tree, name_of(frame, options, field)) : 0;
    if (element == 0) {
        convert_append_nulls(target, selection->count);
        return ERR_OK;
    }
    size_t leaf = 0;
    TRY(flat_leaf(reader, element, &leaf, err));
    const struct metadata_element *stored = reader->tree.elements[element].element;
    bool legacy =
        stored->type == PARQUET_TYPE_INT96 ? reader->legacy_int96 : reader->legacy_calendar;
    struct convert_plan plan;
    TRY(convert_plan_make(stored, &frame->schema->fields[field], legacy, &plan, err));
    plan.exact = options != NULL && options->exact;
    plan.bytes_max = options != NULL ? options->column_bytes_max : 0;

    int64_t next = 0;
    for (size_t group = 0; group < reader->footer.row_groups_count && next < selection->count;
         group++) {
        int64_t end = seek_row(selection, next, reader->starts[group + 1]);
        if (end == next) {
            continue;
        }
        struct column_read read = {.reader = reader,
                                   .plan = &plan,
                                   .target = target,
                                   .selection = selection,
                                   .group_start = reader->starts[group],
                                   .group_rows = reader->footer.row_groups[group].rows_count,
                                   .next = next,
                                   .end = end};
        TRY(read_chunk(&read, group, leaf, err));
        next = end;
    }
    assert(next == selection->count);
    return ERR_OK;
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
