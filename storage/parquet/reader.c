/*
 * Opening files. See reader.h for the contract; rows are read in reader_read.c.
 * Source: parquet-format README "File format"; parquet.thrift.
 */
#include "storage/parquet/reader.h"

#include "storage/base/mem.h"
#include "storage/parquet/reader_state.h"

#include <assert.h>
#include <string.h>

enum {
    TAIL_FIRST_BYTES = 64 << 10, /* one read has most footers */
    LOCATIONS_BYTES_MAX = 64 << 20,
    FOOTER_MEMORY_LEAST = 16 << 20,
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

/* So much for each byte of the file, within limits. */
static size_t in_proportion(int64_t file_size, size_t least, size_t most)
{
    size_t size = (size_t)file_size;
    if (size >= (most - least) / PARQUET_READER_MEMORY_RATIO) {
        return most;
    }
    return least + size * PARQUET_READER_MEMORY_RATIO;
}

enum err_code parquet_reader_open(const struct parquet_source *source,
                                  struct parquet_reader **reader_out, struct err *err)
{
    CLEANUP(parquet_reader_close) struct parquet_reader *reader = mem_zeroed(1, sizeof *reader);
    reader->source = *source;
    reader->memory.most =
        in_proportion(source->size, PARQUET_READER_MEMORY_LEAST, PARQUET_READER_MEMORY_MAX);
    arena_init(&reader->arena,
               in_proportion(source->size, FOOTER_MEMORY_LEAST, PARQUET_FOOTER_MEMORY_MAX));
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
    reader_assemblies_end(closed);
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

bool parquet_reader_has_field_ids(const struct parquet_reader *reader)
{
    for (size_t i = 1; i < reader->tree.elements_count; i++) {
        if (reader->tree.elements[i].element->field_id >= 0) {
            return true;
        }
    }
    return false;
}

/* ---- shared by the readers of flat and nested columns ---- */

enum err_code reader_load_locations(struct parquet_reader *reader,
                                    const struct metadata_chunk *chunk, struct arena *arena,
                                    struct metadata_location **locations_out, size_t *count_out,
                                    struct err *err)
{
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
    return metadata_offset_index_decode(span_of(bytes, (size_t)size), arena, locations_out,
                                        count_out, err);
}

struct batch *reader_batch(struct parquet_reader *reader)
{
    if (reader->batch == NULL) {
        reader->batch = mem_alloc(sizeof *reader->batch);
    }
    return reader->batch;
}

bool reader_is_legacy(const struct parquet_reader *reader, const struct metadata_element *element)
{
    return element->type == PARQUET_TYPE_INT96 ? reader->legacy_int96 : reader->legacy_calendar;
}
