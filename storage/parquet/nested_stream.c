/*
 * Leaves of nested columns. See nested_stream.h.
 * Source: parquet-format README "Nested Encoding"; PageIndex.md (pages of an offset
 * index begin with rows).
 */
#include "storage/parquet/nested_stream.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <string.h>

enum {
    STREAMS_BYTES = 4 << 20, /* of the entries that all streams hold at once */
    ENTRIES_MIN = 64,
};

size_t nested_stream_capacity(size_t streams_count)
{
    enum { ENTRY_BYTES = 2 + VALUES_SLOT_BYTES_MAX };
    size_t capacity = STREAMS_BYTES / ENTRY_BYTES / (streams_count > 0 ? streams_count : 1);
    capacity = capacity > ENTRIES_MIN ? capacity : ENTRIES_MIN;
    return capacity < BATCH_ENTRIES_MAX ? capacity : BATCH_ENTRIES_MAX;
}

void nested_stream_init(struct nested_stream *stream, size_t leaf, size_t capacity)
{
    assert(capacity > 0);
    assert(capacity <= BATCH_ENTRIES_MAX);
    stream->leaf = leaf;
    stream->capacity = capacity;
    stream->definitions = mem_zeroed(capacity, 1);
    stream->repetitions = mem_zeroed(capacity, 1);
    if (stream->values != NESTED_LEVELS) {
        stream->slots = mem_alloc(capacity * VALUES_SLOT_BYTES_MAX);
    }
    buffer_init(&stream->texts, SIZE_MAX);
}

void nested_stream_deinit(struct nested_stream *stream)
{
    column_reader_deinit(&stream->column);
    mem_free(stream->definitions);
    mem_free(stream->repetitions);
    mem_free(stream->slots);
    buffer_deinit(&stream->texts);
    *stream = (struct nested_stream){0};
}

enum err_code nested_stream_open(struct nested_stream *stream, struct parquet_reader *reader,
                                 size_t row_group, struct arena *arena, struct err *err)
{
    const struct metadata_chunk *chunk = &reader->footer.row_groups[row_group].chunks[stream->leaf];
    TRY(column_reader_open(&stream->column, &reader->source, &reader->codec, &reader->memory,
                           &reader->tree, stream->leaf, chunk, err));
    struct metadata_location *locations = NULL;
    size_t count = 0;
    enum err_code code = reader_load_locations(reader, chunk, arena, &locations, &count, err);
    if (code != ERR_OK) {
        return err_wrap(err, "column '%s'", stream->column.path);
    }
    stream->locations = locations;
    stream->locations_count = count;
    stream->location = 0;
    stream->entries_left = chunk->values_count;
    stream->row = 0;
    stream->ended = false;
    stream->count = 0;
    stream->entry = 0;
    stream->value = 0;
    return ERR_OK;
}

static enum err_code in_page(const struct nested_stream *stream, enum err_code code,
                             struct err *err)
{
    if (code != ERR_OK) {
        return err_wrap(err, "column '%s', page at %lld", stream->column.path,
                        (long long)stream->column.page_offset);
    }
    return ERR_OK;
}

/* The next page that has entries; `ended` when there is none. */
static enum err_code next_page(struct nested_stream *stream, struct err *err)
{
    struct column_reader *column = &stream->column;
    while (column->entries_left == 0) {
        stream->ended = stream->locations_count > 0 ? stream->location == stream->locations_count
                                                    : stream->entries_left == 0;
        if (stream->ended) {
            return ERR_OK;
        }
        TRY(column_reader_next_page(column, err));
        stream->location++;
        if (column->entries_left > 0) {
            TRY(column_reader_load_page(column, err));
        }
    }
    return ERR_OK;
}

/* The entries of the batch, which belongs to all columns, become the stream's. */
static enum err_code keep_batch(struct nested_stream *stream, const struct batch *batch,
                                struct err *err)
{
    stream->count = batch->count;
    stream->entry = 0;
    stream->value = 0;
    if (stream->column.definition_max > 0) {
        memcpy(stream->definitions, batch->definitions, batch->count);
    }
    if (stream->column.repetition_max > 0) {
        memcpy(stream->repetitions, batch->repetitions, batch->count);
    }
    if (stream->values == NESTED_LEVELS || batch->values_count == 0) {
        return ERR_OK;
    }
    if (stream->values == NESTED_RAW) {
        size_t width = values_slot_bytes(values_kind_of(stream->column.element->type));
        memcpy(stream->slots, batch->values, batch->values_count * width);
        return ERR_OK;
    }
    alignas(16) uint8_t scratch[BATCH_ENTRIES_MAX * VALUES_SLOT_BYTES_MAX];
    const uint8_t *dense = NULL;
    TRY(convert_batch(&stream->plan, batch, scratch, &stream->texts, &dense, err));
    size_t width =
        convert_gives_bytes(&stream->plan) ? sizeof(struct span) : stream->plan.slot_bytes;
    memcpy(stream->slots, dense, batch->values_count * width);
    return ERR_OK;
}

/* A page that the offset index names begins with the row it says. */
static enum err_code check_page_start(const struct nested_stream *stream, struct err *err)
{
    int64_t first = stream->locations[stream->location - 1].first_row;
    if (stream->repetitions[0] != 0 || stream->row != first) {
        return err_set(err, ERR_CORRUPT, "it does not begin with row %lld", (long long)first);
    }
    return ERR_OK;
}

enum err_code nested_stream_refill(struct nested_stream *stream, struct parquet_reader *reader,
                                   struct err *err)
{
    assert(stream->entry == stream->count);
    struct column_reader *column = &stream->column;
    bool is_page_start = column->entries_left == 0;
    TRY(next_page(stream, err));
    if (stream->ended) {
        return ERR_OK;
    }
    size_t count = 0;
    TRY(column_reader_fit(column, stream->capacity, &count, err));
    if (stream->locations_count == 0 && (int64_t)count > stream->entries_left) {
        return err_set(err, ERR_CORRUPT, "column '%s' has more values than its chunk states",
                       column->path);
    }
    struct batch *batch = reader_batch(reader);
    TRY(column_reader_read(column, count, batch, err));
    stream->entries_left -= (int64_t)count;
    stream->count = 0; /* nothing, if the values turn out bad */
    stream->entry = 0;
    TRY(in_page(stream, keep_batch(stream, batch, err), err));
    if (is_page_start && stream->locations_count > 0) {
        TRY(in_page(stream, check_page_start(stream, err), err));
    }
    return ERR_OK;
}

/* Jump over pages that end before `row`. */
static enum err_code seek(struct nested_stream *stream, int64_t row, struct err *err)
{
    if (stream->locations_count == 0) {
        return ERR_OK;
    }
    size_t wanted = metadata_location_of(stream->locations, stream->locations_count, row);
    const struct metadata_location *location = &stream->locations[wanted];
    bool is_ahead = wanted > stream->location ||
                    (wanted == stream->location && stream->row != location->first_row);
    if (!is_ahead) {
        return ERR_OK;
    }
    TRY(column_reader_seek(&stream->column, location, err));
    stream->column.entries_left = 0;
    stream->location = wanted;
    stream->row = location->first_row;
    stream->count = 0;
    stream->entry = 0;
    return ERR_OK;
}

enum err_code nested_stream_skip(struct nested_stream *stream, struct parquet_reader *reader,
                                 int64_t row, struct err *err)
{
    assert(row >= stream->row);
    if (row > stream->row) {
        TRY(seek(stream, row, err));
    }
    for (;;) {
        TRY(nested_stream_peek(stream, reader, err));
        if (stream->ended) {
            return err_set(err, ERR_CORRUPT, "column '%s' ends before row %lld of its row group",
                           stream->column.path, (long long)row);
        }
        if (stream->repetitions[stream->entry] != 0) {
            return err_set(err, ERR_CORRUPT, "column '%s', page at %lld: row %lld does not begin",
                           stream->column.path, (long long)stream->column.page_offset,
                           (long long)stream->row);
        }
        if (stream->row == row) {
            return ERR_OK;
        }
        do {
            nested_stream_take(stream);
            TRY(nested_stream_peek(stream, reader, err));
        } while (!stream->ended && stream->repetitions[stream->entry] != 0);
    }
}

enum err_code nested_stream_disagree(const struct nested_stream *stream, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "column '%s': its levels do not fit those of its neighbours",
                   stream->column.path);
}

enum err_code nested_stream_skip_absent(struct nested_stream *stream, struct parquet_reader *reader,
                                        int64_t count, uint8_t definition, struct err *err)
{
    while (count > 0) {
        TRY(nested_stream_peek(stream, reader, err));
        size_t there = stream->ended ? 0 : stream->count - stream->entry;
        size_t run = there < (size_t)count ? there : (size_t)count;
        bool absent = run > 0;
        for (size_t i = stream->entry; i < stream->entry + run; i++) {
            absent &= stream->repetitions[i] == 0 && stream->definitions[i] < definition;
        }
        if (!absent) {
            return nested_stream_disagree(stream, err);
        }
        stream->entry += run;
        stream->row += (int64_t)run;
        count -= (int64_t)run;
    }
    return ERR_OK;
}
