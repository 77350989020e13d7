/*
 * An open file, as reader.c and rows.c share it.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/parquet/codec.h"
#include "storage/parquet/column_reader.h"
#include "storage/parquet/metadata.h"
#include "storage/parquet/reader.h"
#include "storage/parquet/tree.h"

#include <stdbool.h>
#include <stdint.h>

struct parquet_reader {
    struct parquet_source source;
    uint8_t *footer_bytes; /* names and bounds borrow from it */
    struct arena arena;    /* footer, tree */
    struct metadata_footer footer;
    struct tree tree;
    int64_t *starts; /* first file row of each row group, and after the last the row count */
    struct codec codec;
    struct reader_memory memory;        /* of all column readers */
    struct column_reader column;        /* scratch of flat reads */
    struct batch *batch;                /* the same; NULL until the first read */
    struct reader_assembly *assemblies; /* of nested columns; private to reader_read.c */
    size_t assemblies_count;
    int64_t bytes_left;   /* that the read in hand may still add; see parquet_read_options */
    bool legacy_calendar; /* dates, timestamps in INT64 */
    bool legacy_int96;
};

/*
 * Load a chunk's offset index into `arena`; outputs are untouched when it has none. A
 * damaged one is an error, not a slow path.
 */
enum err_code reader_load_locations(struct parquet_reader *reader,
                                    const struct metadata_chunk *chunk, struct arena *arena,
                                    struct metadata_location **locations_out, size_t *count_out,
                                    struct err *err) MUST_USE;

/* The batch that all columns are decoded into, one after the other. */
struct batch *reader_batch(struct parquet_reader *reader);

/* End all reads of nested columns that could go on. */
void reader_assemblies_end(struct parquet_reader *reader);

/* Were values of this leaf written in the hybrid calendar? */
bool reader_is_legacy(const struct parquet_reader *reader, const struct metadata_element *element);
