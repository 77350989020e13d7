/*
 * Reading one column chunk: finding pages, unpacking them, and giving levels
 * and values in batches. Used for flat columns and for the leaves of nested rows.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/parquet/codec.h"
#include "storage/parquet/hybrid.h"
#include "storage/parquet/metadata.h"
#include "storage/parquet/reader.h"
#include "storage/parquet/tree.h"
#include "storage/parquet/values.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BATCH_ENTRIES_MAX = 4096 };

/* A stretch of one page: levels of every entry, and the values that are not null. */
struct batch {
    size_t count; /* entries */
    size_t values_count;
    uint8_t definitions[BATCH_ENTRIES_MAX]; /* set when the leaf has definition levels */
    uint8_t repetitions[BATCH_ENTRIES_MAX]; /* set when it has repetition levels */
    alignas(16) uint8_t values[BATCH_ENTRIES_MAX * VALUES_SLOT_BYTES_MAX]; /* by values_kind */
};

/* What pages and dictionaries take that are held at once. */
struct reader_memory {
    size_t used;
    size_t most;
};

/* One open chunk; init zeroes, open may be called again for the next chunk, deinit frees. */
struct column_reader {
    const struct parquet_source *source;
    struct codec *codec;
    struct reader_memory *memory;           /* of all column readers of the file */
    const struct metadata_element *element; /* the leaf */
    const struct metadata_chunk *chunk;
    const char *path;
    uint8_t definition_max;
    uint8_t repetition_max;
    int64_t next_offset; /* of the next page header */
    int64_t read_until;  /* read ahead up to here: the chunk's stated end */
    uint8_t *window;     /* file bytes window_start … + window_size */
    int64_t window_start;
    size_t window_size;
    size_t window_capacity;
    struct values_dictionary dictionary;
    bool has_dictionary;
    bool dictionary_sought;  /* the chunk's first page was looked at */
    uint8_t *dictionary_raw; /* what its spans borrow from */
    size_t dictionary_raw_capacity;
    struct metadata_page page; /* the current data page */
    int64_t page_offset;       /* of its header */
    int64_t body_offset;
    size_t entries_left; /* of the current page */
    uint8_t *raw;        /* the current page, unpacked */
    size_t raw_capacity;
    struct hybrid definitions;
    struct hybrid repetitions;
    struct values_decoder values;
};

void column_reader_deinit(struct column_reader *reader);

/*
 * Open the chunk of leaf `leaf` in a row group; borrows everything.
 * Errors: ERR_UNSUPPORTED encrypted; ERR_CORRUPT chunk and schema disagree.
 */
enum err_code column_reader_open(struct column_reader *reader, const struct parquet_source *source,
                                 struct codec *codec, struct reader_memory *memory,
                                 const struct tree *tree, size_t leaf,
                                 const struct metadata_chunk *chunk, struct err *err) MUST_USE;

/* Go to the data page at `offset` (from the offset index), reading the dictionary first. */
enum err_code column_reader_seek(struct column_reader *reader,
                                 const struct metadata_location *location,
                                 struct err *err) MUST_USE;

/* Read the header of the next data page: reader->page. Its entries are not decoded yet. */
enum err_code column_reader_next_page(struct column_reader *reader, struct err *err) MUST_USE;

/* Unpack the current page; then column_reader_read gives its entries. */
enum err_code column_reader_load_page(struct column_reader *reader, struct err *err) MUST_USE;

/*
 * How many entries to read next: at most `most` and what is left of the page, fewer when
 * their values are large; at least one.
 * Errors: ERR_CORRUPT.
 * Requires: entries_left > 0, most > 0.
 */
enum err_code column_reader_fit(struct column_reader *reader, size_t most, size_t *count_out,
                                struct err *err) MUST_USE;

/*
 * The next `count` entries (<= BATCH_ENTRIES_MAX and <= entries_left; asserted).
 * Strings borrow from the reader until the next page is loaded or, in delta
 * encodings, the next call.
 */
enum err_code column_reader_read(struct column_reader *reader, size_t count, struct batch *batch,
                                 struct err *err) MUST_USE;
