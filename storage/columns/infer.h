/*
 * Inference: a sample of records of unknown shape → a table definition that takes
 * them, ready to be put as it is, with what speaks for each guess beside it.
 *
 * What is guessed, and how boldly:
 *   type        the narrowest that holds every value, with room to grow: boolean,
 *               integer, long, decimal(p,s), double, date, timestamp, else string.
 *               Digits with a leading zero stay strings; binary is never guessed. Arrays
 *               are arrays; objects are structs, or maps when their names differ from record
 *               to record or no field can be called so
 *   nullable    false when no null was seen in INFER_SURE_RECORDS records
 *   enum        a string with few values, each seen several times in so many records
 *   format      npi, dea and mbi by their check digits or form; ndc11, zip and state
 *               when the name says so too
 *   key         columns, alone or in pairs, whose values never repeat: all are told,
 *               one is taken when its name says that it identifies; else the table
 *               appends, because a wrong key would overwrite rows
 *   sequence    a moment or number whose name says that it tells newer from older
 *   phi         by name and format
 * The answer holds names and counts, and of values only those of an enum.
 *
 * Answer: {"definition":{…},"sample":{…},"fields":[…],"key_candidates":[…],
 *          "sequence_candidates":[…],"renamed":[…],"left_out":[…]}
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"

#include <stddef.h>
#include <stdint.h>

enum {
    INFER_RECORDS_MAX = 200000, /* looked at; the rest of the sample is not */
    INFER_BODY_BYTES_MAX = 64 << 20,
    INFER_HASH_BYTES_MAX = 128 << 20, /* of values kept for judging keys */
    INFER_SURE_RECORDS = 1000,        /* enough to take what was never seen for what never is */
    INFER_LIKELY_RECORDS = 100,
    INFER_ENUM_VALUES_MAX = 20,
    INFER_ENUM_TIMES_MIN = 5, /* that each value of an enum was seen */
    INFER_CANDIDATES_MAX = 10,
    INFER_PAIR_COLUMNS_MAX = 12, /* columns with most values, of which pairs are tried */
};

enum infer_format { INFER_CSV, INFER_NDJSON, INFER_JSON };

/* What a sample looks like: JSON begins with '[' or, of one object alone, '{'; … */
enum infer_format infer_guess_format(struct span body);

/*
 *   body  UTF-8, plain, at most INFER_BODY_BYTES_MAX (asserted). A last record that is
 *         cut off is left out; records that are broken are counted.
 * Errors:  ERR_INVALID no record, no header, a JSON array that is broken; ERR_TOO_LARGE more
 *          than SCHEMA_FIELDS_MAX columns.
 * Memory:  answer_out: json_free.
 * Thread:  reentrant; time is linear in the body.
 */
enum err_code infer_body(struct span body, enum infer_format format, struct json **answer_out,
                         struct err *err) MUST_USE;

/* A column that a table cannot take over, and why. */
struct infer_refused {
    const char *name;
    const char *reason;
};

/*
 * The same of rows that have types already (a Parquet file): these stay, the rest is
 * guessed.
 *
 *   refused  columns of the file that are not in the frame
 */
enum err_code infer_frame(const struct frame *frame, const struct infer_refused *refused,
                          size_t refused_count, struct json **answer_out, struct err *err) MUST_USE;
