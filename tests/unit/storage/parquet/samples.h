/*
 * Schemas and frames for the Parquet tests: every type, with nulls, repeated
 * and unique values, extremes; made from a seed.
 */
#pragma once

#include "storage/columns/frame.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stdint.h>

/* A schema from pairs of name and Delta type, "name:type" separated by blanks. */
struct schema *sample_schema(const char *fields);

/* All types Delta has. */
#define SAMPLE_ALL_TYPES                                                                           \
    "text:string int:integer big:long real:double flag:boolean day:date at:timestamp "             \
    "small_decimal:decimal(7,2) decimal:decimal(18,4) large_decimal:decimal(38,10) raw:binary "    \
    "tiny:byte short:short single:float local:timestamp_ntz"

struct sample {
    int64_t rows_count;
    uint64_t seed;
    int nulls_permille;
    uint64_t distinct; /* values of a column are drawn from so many; 0 = as many as possible */
    int text_bytes;    /* about the length of strings; 0 = 12 */
};

struct frame *sample_frame(const struct schema *schema, const struct sample *sample);

/* A pseudo-random number of (seed, index). */
uint64_t sample_random(uint64_t seed, uint64_t index);

/* Are the two columns' values `count` from the given rows on the same? */
bool sample_columns_equal(const struct column *a, int64_t a_row, const struct column *b,
                          int64_t b_row, int64_t count);
