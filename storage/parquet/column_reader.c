/*
 * Column chunks being read. See column_reader.h for the contract.
 * Source: parquet-format README "Column chunks", "Data Pages"; parquet.thrift.
 */
#include "storage/parquet/column_reader.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <string.h>

enum {
    READ_AHEAD_BYTES = 256 << 10,
    HEADER_FIRST_BYTES = 512, /* a page header is usually some dozens */
    LEVELS_LENGTH_BYTES = 4,
};

static size_t memory_of(const struct column_reader *reader)
{
    return reader->window_capacity + reader->raw_capacity + reader->dictionary_raw_capacity +
           reader->dictionary.capacity * VALUES_SLOT_BYTES_MAX;
}

void column_reader_deinit(struct column_reader *reader)
{
    if (reader->memory != NULL) {
        reader->memory->used -= memory_of(reader);
    }
    mem_free(reader->window);
    mem_free(reader->dictionary.slots);
    mem_free(reader->dictionary_raw);
    mem_free(reader->raw);
    values_deinit(&reader->values);
    *reader = (struct column_reader){0};
}

enum err_code column_reader_open(struct column_reader *reader, const struct parquet_source *source,
                                 struct codec *codec, struct reader_memory *memory,
                                 const struct tree *tree, size_t leaf,
                                 const struct metadata_chunk *chunk, struct err *err)
{
    const struct tree_element *element = &tree->elements[tree->leaves[leaf].element];
    reader->source = source;
    reader->codec = codec;
    reader->memory = memory;
    reader->element = element->element;
    reader->chunk = chunk;
    reader->path = tree->leaves[leaf].path;
    reader->definition_max = element->definition;
    reader->repetition_max = element->repetition;
    reader->window_size = 0;
    reader->has_dictionary = false;
    reader->dictionary_sought = false;
    reader->entries_left = 0;
    if (chunk->encrypted) {
        return err_set(err, ERR_UNSUPPORTED, "column '%s' is encrypted", reader->path);
    }
    if (chunk->type != element->element->type) {
        return err_set(err, ERR_CORRUPT, "column '%s' is %s in the schema and %s in its chunk",
                       reader->path, parquet_type_name(element->element->type),
                       parquet_type_name(chunk->type));
    }
    /* Writers that do not state a dictionary, or state offset 0, have it before the data or not
       at all; either way the pages tell. */
    bool dictionary_first =
        chunk->dictionary_offset > 0 && chunk->dictionary_offset < chunk->data_offset;
    reader->next_offset = dictionary_first ? chunk->dictionary_offset : chunk->data_offset;
    /* offsets are checked when they are read from: a chunk without values may have none */
    int64_t limit = source->size - PARQUET_TAIL_BYTES;
    int64_t left = limit > reader->next_offset ? limit - reader->next_offset : 0;
    int64_t stated = chunk->packed_bytes < left ? chunk->packed_bytes : left;
    reader->read_until = reader->next_offset + stated;
    return ERR_OK;
}

/* ---- memory ---- */

/* Count `size` more bytes, or refuse: what pages claim to unpack to is bounded in sum, too. */
static enum err_code count_memory(struct column_reader *reader, size_t size, struct err *err)
{
    if (size > reader->memory->most - reader->memory->used) {
        return err_set(err, ERR_TOO_LARGE,
                       "pages and dictionaries that are read at once need over %zu bytes",
                       reader->memory->most);
    }
    reader->memory->used += size;
    return ERR_OK;
}

/* Room for `size` bytes, at least one so that there is an address; what was there is lost. */
static enum err_code reserve(struct column_reader *reader, uint8_t **memory, size_t *capacity,
                             size_t size, struct err *err)
{
    size_t needed = size > 0 ? size : 1;
    if (needed <= *capacity) {
        return ERR_OK;
    }
    TRY(count_memory(reader, needed - *capacity, err));
    mem_free(*memory);
    *memory = mem_alloc(needed);
    *capacity = needed;
    return ERR_OK;
}

static enum err_code reserve_dictionary(struct column_reader *reader, size_t count, struct err *err)
{
    struct values_dictionary *dictionary = &reader->dictionary;
    if (count <= dictionary->capacity) {
        return ERR_OK;
    }
    TRY(count_memory(reader, (count - dictionary->capacity) * VALUES_SLOT_BYTES_MAX, err));
    mem_free(dictionary->slots);
    dictionary->slots = mem_alloc(count * VALUES_SLOT_BYTES_MAX);
    dictionary->capacity = count;
    return ERR_OK;
}

/* ---- file bytes ---- */

static size_t window_left(const struct column_reader *reader, int64_t offset)
{
    if (offset < reader->window_start ||
        offset > reader->window_start + (int64_t)reader->window_size) {
        return 0;
    }
    return (size_t)(reader->window_start + (int64_t)reader->window_size - offset);
}

/*
 * At least `size` file bytes from `offset`, borrowed until the next fetch.
 * Reads further ahead, but not past the chunk, so that small pages cost no read each.
 */
static enum err_code fetch(struct column_reader *reader, int64_t offset, size_t size,
                           struct span *bytes_out, struct err *err)
{
    if (window_left(reader, offset) < size || reader->window_size == 0) {
        int64_t limit = reader->source->size - PARQUET_TAIL_BYTES;
        if (offset > limit || (int64_t)size > limit - offset) {
            return err_set(err, ERR_CORRUPT, "%zu bytes at %lld are outside the file", size,
                           (long long)offset);
        }
        int64_t ahead = reader->read_until > offset ? reader->read_until - offset : 0;
        ahead = ahead < READ_AHEAD_BYTES ? ahead : READ_AHEAD_BYTES;
        size_t wish = (int64_t)size > ahead ? size : (size_t)ahead;
        reader->window_size = 0; /* worthless if the read fails */
        TRY(reserve(reader, &reader->window, &reader->window_capacity, wish, err));
        TRY(reader->source->read_at(reader->source->self, offset, reader->window, wish, err));
        reader->window_start = offset;
        reader->window_size = wish;
    }
    *bytes_out =
        span_of(reader->window + (offset - reader->window_start), window_left(reader, offset));
    return ERR_OK;
}

/* ---- pages ---- */

/* Decode the header at `offset`, with more bytes as long as it is cut short. */
static enum err_code read_header(struct column_reader *reader, int64_t offset,
                                 struct metadata_page *page, size_t *size_out, struct err *err)
{
    int64_t limit = reader->source->size - PARQUET_TAIL_BYTES;
    size_t wish = HEADER_FIRST_BYTES;
    for (;;) {
        size_t left = offset < limit ? (size_t)(limit - offset) : 0;
        size_t size = wish < left ? wish : left;
        struct span bytes;
        TRY(fetch(reader, offset, size, &bytes, err));
        enum err_code code = metadata_page_decode(bytes, page, size_out, err);
        if (code != ERR_CORRUPT || bytes.size >= left || wish >= PARQUET_PAGE_HEADER_BYTES_MAX) {
            return code;
        }
        err_clear(err);
        wish = bytes.size * 2 < PARQUET_PAGE_HEADER_BYTES_MAX ? bytes.size * 2
                                                              : PARQUET_PAGE_HEADER_BYTES_MAX;
    }
}

static enum err_code check_checksum(const struct metadata_page *page, struct span packed,
                                    struct err *err)
{
    if (page->has_checksum && codec_checksum(packed) != page->checksum) {
        return err_set(err, ERR_CORRUPT, "page checksum does not match");
    }
    return ERR_OK;
}

/* A page that cannot unpack to what it says is refused before memory is taken for it. */
static enum err_code check_claim(int method, size_t packed_size, size_t raw_size, struct err *err)
{
    if (raw_size > 0 && !codec_may_unpack(method, packed_size, raw_size)) {
        return err_set(err, ERR_CORRUPT, "%s body of %zu bytes cannot unpack to %zu bytes",
                       parquet_codec_name(method), packed_size, raw_size);
    }
    return ERR_OK;
}

static enum err_code load_dictionary(struct column_reader *reader, const struct metadata_page *page,
                                     int64_t body_offset, struct err *err)
{
    if (reader->has_dictionary) {
        return err_set(err, ERR_CORRUPT, "second dictionary page");
    }
    struct span packed;
    TRY(fetch(reader, body_offset, (size_t)page->packed_bytes, &packed, err));
    packed.size = (size_t)page->packed_bytes;
    TRY(check_checksum(page, packed, err));
    size_t raw_size = (size_t)page->raw_bytes;
    TRY(check_claim(reader->chunk->codec, packed.size, raw_size, err));
    TRY(reserve(reader, &reader->dictionary_raw, &reader->dictionary_raw_capacity, raw_size, err));
    if (raw_size > 0) {
        TRY(codec_unpack(reader->codec, reader->chunk->codec, packed, reader->dictionary_raw,
                         raw_size, err));
    }
    const struct values_page values = {.type = reader->element->type,
                                       .fixed_bytes = reader->element->type_length,
                                       .encoding = page->encoding,
                                       .bytes = span_of(reader->dictionary_raw, raw_size),
                                       .values_max = (size_t)page->values_count};
    TRY(values_check_dictionary(&values, err));
    TRY(reserve_dictionary(reader, values.values_max, err));
    TRY(values_read_dictionary(&reader->dictionary, &values, err));
    reader->has_dictionary = true;
    return ERR_OK;
}

static enum err_code next_data_page(struct column_reader *reader, struct err *err)
{
    for (;;) {
        struct metadata_page page;
        size_t header_size = 0;
        TRY(read_header(reader, reader->next_offset, &page, &header_size, err));
        int64_t body = reader->next_offset + (int64_t)header_size;
        reader->page_offset = reader->next_offset;
        reader->next_offset = body + page.packed_bytes;
        if (page.type == PARQUET_DICTIONARY_PAGE) {
            TRY(load_dictionary(reader, &page, body, err));
        } else if (page.type != PARQUET_INDEX_PAGE) {
            reader->page = page;
            reader->body_offset = body;
            reader->entries_left = (size_t)page.values_count;
            return ERR_OK;
        }
    }
}

static enum err_code in_column(const struct column_reader *reader, enum err_code code,
                               struct err *err)
{
    if (code != ERR_OK) {
        return err_wrap(err, "column '%s', page at %lld", reader->path,
                        (long long)reader->page_offset);
    }
    return ERR_OK;
}

enum err_code column_reader_next_page(struct column_reader *reader, struct err *err)
{
    reader->page_offset = reader->next_offset;
    reader->dictionary_sought = true;
    return in_column(reader, next_data_page(reader, err), err);
}

/* The page before the first data page, if any, is the dictionary: read it before jumping over it.
 */
static enum err_code find_dictionary(struct column_reader *reader, struct err *err)
{
    struct metadata_page page;
    size_t header_size = 0;
    reader->page_offset = reader->next_offset;
    TRY(read_header(reader, reader->next_offset, &page, &header_size, err));
    if (page.type != PARQUET_DICTIONARY_PAGE) {
        return ERR_OK;
    }
    return load_dictionary(reader, &page, reader->next_offset + (int64_t)header_size, err);
}

enum err_code column_reader_seek(struct column_reader *reader,
                                 const struct metadata_location *location, struct err *err)
{
    if (!reader->dictionary_sought && reader->next_offset < location->offset) {
        TRY(in_column(reader, find_dictionary(reader, err), err));
    }
    reader->dictionary_sought = true;
    reader->next_offset = location->offset;
    int64_t end = location->offset + location->packed_bytes;
    int64_t limit = reader->source->size - PARQUET_TAIL_BYTES;
    reader->read_until = end < limit ? end : limit; /* neighbours may not be wanted */
    return ERR_OK;
}

/* ---- unpacking ---- */

/* The levels of a V1 page with its length before it; what follows is left in `body`. */
static enum err_code take_levels_v1(struct span *body, int encoding, unsigned width, size_t count,
                                    struct hybrid *levels_out, struct err *err)
{
    if (encoding == PARQUET_BIT_PACKED) {
        size_t size = (count * width + 7) / 8;
        if (size > body->size) {
            return err_set(err, ERR_CORRUPT, "levels end past the page");
        }
        *levels_out = hybrid_of_bit_packed(span_of(body->data, size), width, count);
        *body = span_of(body->data + size, body->size - size);
        return ERR_OK;
    }
    if (encoding != PARQUET_RLE) {
        return err_set(err, ERR_UNSUPPORTED, "levels of encoding %s (%d)",
                       parquet_encoding_name(encoding), encoding);
    }
    uint32_t size = 0;
    if (body->size >= LEVELS_LENGTH_BYTES) {
        memcpy(&size, body->data, sizeof size);
    }
    if (body->size < LEVELS_LENGTH_BYTES || size > body->size - LEVELS_LENGTH_BYTES) {
        return err_set(err, ERR_CORRUPT, "levels end past the page");
    }
    *levels_out = hybrid_of(span_of(body->data + LEVELS_LENGTH_BYTES, size), width);
    size_t taken = LEVELS_LENGTH_BYTES + size;
    *body = span_of(body->data + taken, body->size - taken);
    return ERR_OK;
}

static enum err_code unpack_v1(struct column_reader *reader, struct span packed,
                               struct span *values_out, struct err *err)
{
    const struct metadata_page *page = &reader->page;
    size_t raw_size = (size_t)page->raw_bytes;
    TRY(check_claim(reader->chunk->codec, packed.size, raw_size, err));
    TRY(reserve(reader, &reader->raw, &reader->raw_capacity, raw_size, err));
    if (raw_size > 0) {
        TRY(codec_unpack(reader->codec, reader->chunk->codec, packed, reader->raw, raw_size, err));
    }
    struct span body = span_of(reader->raw, raw_size);
    size_t count = (size_t)page->values_count;
    if (reader->repetition_max > 0) {
        TRY(take_levels_v1(&body, page->repetition_encoding, hybrid_width(reader->repetition_max),
                           count, &reader->repetitions, err));
    }
    if (reader->definition_max > 0) {
        TRY(take_levels_v1(&body, page->definition_encoding, hybrid_width(reader->definition_max),
                           count, &reader->definitions, err));
    }
    *values_out = body;
    return ERR_OK;
}

/* spec: parquet.thrift DataPageHeaderV2 — levels come first and are never compressed */
static enum err_code unpack_v2(struct column_reader *reader, struct span packed,
                               struct span *values_out, struct err *err)
{
    const struct metadata_page *page = &reader->page;
    size_t raw_size = (size_t)page->raw_bytes;
    size_t repetition = (size_t)page->repetition_bytes;
    size_t definition = (size_t)page->definition_bytes;
    size_t levels = repetition + definition;
    if (levels > packed.size || levels > raw_size) {
        return err_set(err, ERR_CORRUPT, "levels end past the page");
    }
    struct span values = span_of(packed.data + levels, packed.size - levels);
    int method = page->compressed ? reader->chunk->codec : PARQUET_UNCOMPRESSED;
    if (raw_size > levels) {
        TRY(check_claim(method, values.size, raw_size - levels, err));
    }
    TRY(reserve(reader, &reader->raw, &reader->raw_capacity, raw_size, err));
    if (levels > 0) {
        memcpy(reader->raw, packed.data, levels);
    }
    if (raw_size > levels) {
        TRY(codec_unpack(reader->codec, method, values, reader->raw + levels, raw_size - levels,
                         err));
    }
    reader->repetitions =
        hybrid_of(span_of(reader->raw, repetition), hybrid_width(reader->repetition_max));
    reader->definitions = hybrid_of(span_of(reader->raw + repetition, definition),
                                    hybrid_width(reader->definition_max));
    *values_out = span_of(reader->raw + levels, raw_size - levels);
    return ERR_OK;
}

static enum err_code load_page(struct column_reader *reader, struct err *err)
{
    const struct metadata_page *page = &reader->page;
    struct span packed;
    TRY(fetch(reader, reader->body_offset, (size_t)page->packed_bytes, &packed, err));
    packed.size = (size_t)page->packed_bytes;
    TRY(check_checksum(page, packed, err));
    struct span body;
    if (page->type == PARQUET_DATA_PAGE_V2) {
        TRY(unpack_v2(reader, packed, &body, err));
    } else {
        TRY(unpack_v1(reader, packed, &body, err));
    }
    const struct values_page values = {.type = reader->element->type,
                                       .fixed_bytes = reader->element->type_length,
                                       .encoding = page->encoding,
                                       .bytes = body,
                                       .values_max = (size_t)page->values_count,
                                       .dictionary =
                                           reader->has_dictionary ? &reader->dictionary : NULL};
    return values_begin(&reader->values, &values, err);
}

enum err_code column_reader_load_page(struct column_reader *reader, struct err *err)
{
    return in_column(reader, load_page(reader, err), err);
}

/* ---- entries ---- */

static size_t count_level(const uint8_t *levels, size_t count, uint8_t level)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        found += levels[i] == level;
    }
    return found;
}

static bool levels_within(const uint8_t *levels, size_t count, uint8_t max)
{
    uint8_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        largest = levels[i] > largest ? levels[i] : largest;
    }
    return largest <= max;
}

static enum err_code read_levels(struct hybrid *levels, size_t count, uint8_t max, uint8_t *out,
                                 struct err *err)
{
    if (!hybrid_read_u8(levels, out, count)) {
        return err_set(err, ERR_CORRUPT, "page has fewer levels than its header says");
    }
    if (!levels_within(out, count, max)) {
        return err_set(err, ERR_CORRUPT, "level above %d", max);
    }
    return ERR_OK;
}

static enum err_code read_entries(struct column_reader *reader, size_t count, struct batch *batch,
                                  struct err *err)
{
    batch->count = count;
    batch->values_count = count;
    if (reader->repetition_max > 0) {
        TRY(read_levels(&reader->repetitions, count, reader->repetition_max, batch->repetitions,
                        err));
    }
    if (reader->definition_max > 0) {
        TRY(read_levels(&reader->definitions, count, reader->definition_max, batch->definitions,
                        err));
        batch->values_count = count_level(batch->definitions, count, reader->definition_max);
    }
    return values_next(&reader->values, batch->values_count, batch->values, err);
}

enum err_code column_reader_fit(struct column_reader *reader, size_t most, size_t *count_out,
                                struct err *err)
{
    size_t count = reader->entries_left < most ? reader->entries_left : most;
    return in_column(reader, values_fit(&reader->values, count, count_out, err), err);
}

enum err_code column_reader_read(struct column_reader *reader, size_t count, struct batch *batch,
                                 struct err *err)
{
    assert(count <= BATCH_ENTRIES_MAX);
    assert(count <= reader->entries_left);
    TRY(in_column(reader, read_entries(reader, count, batch, err), err));
    reader->entries_left -= count;
    return ERR_OK;
}
