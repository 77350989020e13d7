/*
 * Builders for the tests of this room: schemas from readable text, frames with
 * random values from a seed, and their comparison.
 */
#pragma once

#include "storage/columns/frame.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stdint.h>

/* JSON written with single quotes; the test fails when it does not parse. */
struct json *kit_json(const char *text);
struct schema *kit_schema(const char *definition);

/* The code of schema_parse, its message in `err`. */
enum err_code kit_schema_try(const char *definition, struct err *err);

/* One nullable field of every type there is; the last four exist in foreign tables only. */
struct schema *kit_schema_of_all_types(void);

/* xorshift64*: the same numbers for the same seed everywhere. */
uint64_t kit_random(uint64_t *state);

/* Rows of random values, nulls, operations and absent fields. */
struct frame *kit_random_frame(const struct schema *schema, int64_t rows, uint64_t seed);

/* Rows of random values and nulls that the API takes: no NUL in texts, years 0001 to 9999. */
struct frame *kit_random_rows(const struct schema *schema, int64_t rows, uint64_t seed);

/* Same rows in the same order: values (doubles by bits), nulls, presence, operations, lines. */
bool kit_frames_equal(const struct frame *a, const struct frame *b);
bool kit_values_equal(const struct column *a, int64_t row_a, const struct column *b, int64_t row_b);
