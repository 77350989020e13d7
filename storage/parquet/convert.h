/*
 * From a batch of decoded values to the end of a frame's column: widening,
 * decimals, units, nulls, chosen rows.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/parquet/column_reader.h"
#include "storage/parquet/metadata.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum convert_kind {
    CONVERT_COPY,        /* same slots */
    CONVERT_I32_CHECKED, /* INT32 to byte or short: within `least` … `most` */
    CONVERT_I32_TO_I64,
    CONVERT_U32_TO_I64,
    CONVERT_I32_TO_F64,
    CONVERT_I32_TO_I128, /* × scale_by */
    CONVERT_I64_TO_I128,
    CONVERT_BYTES_TO_I128,
    CONVERT_I64_TIMES,   /* milliseconds to µs */
    CONVERT_I64_DIVIDED, /* nanoseconds to µs, towards the past */
    CONVERT_DATE_TO_NTZ,
    CONVERT_U32_TO_I128, /* × scale_by, as those above */
    CONVERT_U64_TO_I128,
    CONVERT_FLOAT16,
    CONVERT_BYTES, /* string, binary */
    CONVERT_TIME_TO_TEXT,
    CONVERT_INTERVAL_TO_TEXT,
    CONVERT_UUID_TO_TEXT,
};

/* How the values of one leaf become those of one field. */
struct convert_plan {
    enum convert_kind kind;
    enum column_type type;
    size_t slot_bytes; /* of the target; 0 for bytes */
    int64_t least, most;
    __int128 scale_by;
    __int128 limit;         /* decimals: every value's magnitude is below */
    int64_t factor;         /* of the timestamp conversions */
    int unit;               /* of times: enum parquet_unit */
    bool is_i64;            /* times: INT64 in the file, not INT32 */
    int64_t bytes_max;      /* contents of the column; 0 = COLUMN_BYTES_MAX */
    bool exact;             /* refuse nanoseconds that are no whole µs */
    bool check_calendar;    /* refuse values before `calendar_start` */
    int64_t calendar_start; /* days or µs */
};

/*
 *   legacy_calendar  the file has dates of the hybrid calendar
 *
 * Errors: ERR_UNSUPPORTED saying both types.
 */
enum err_code convert_plan_make(const struct metadata_element *element, const struct field *field,
                                bool legacy_calendar, struct convert_plan *plan_out,
                                struct err *err) MUST_USE;

/*
 * Append the batch, or its entries `chosen` (ascending), to the column. The
 * batch is of an optional (definition 0 or 1) or a required leaf.
 *
 *   chosen  NULL = all of the batch's entries
 *
 * Errors: ERR_CORRUPT value out of its type's range, text that is not UTF-8;
 *         ERR_TOO_LARGE column over its limit; ERR_UNSUPPORTED calendar.
 */
enum err_code convert_append(const struct convert_plan *plan, struct batch *batch, bool optional,
                             const uint16_t *chosen, size_t chosen_count, struct column *column,
                             struct err *err) MUST_USE;

/*
 * Convert the batch's values to slots of the target, spans for strings and binaries;
 * not yet appended, so that whoever assembles nested values takes them one by one.
 *
 *   scratch    room for BATCH_ENTRIES_MAX slots of VALUES_SLOT_BYTES_MAX, aligned
 *   texts      what spans made here borrow from; emptied first
 *   dense_out  in `scratch` or in the batch
 *
 * Errors: as convert_append, but text is not checked yet.
 */
enum err_code convert_batch(const struct convert_plan *plan, const struct batch *batch,
                            uint8_t *scratch, struct buffer *texts, const uint8_t **dense_out,
                            struct err *err) MUST_USE;

/* Convert the batch's only value to `slot_out` (16 aligned bytes); false when it is out of range.
 */
bool convert_one(const struct convert_plan *plan, const struct batch *batch, uint8_t *slot_out);

/* Does the plan give strings or binaries, for which there are no slots? */
static inline bool convert_gives_bytes(const struct convert_plan *plan)
{
    return plan->slot_bytes == 0;
}

/* Append `count` nulls. */
void convert_append_nulls(struct column *column, int64_t count);

/* The number in big-endian two's complement; false when it needs more than 128 bits. */
bool convert_decimal_bytes(struct span bytes, __int128 *value_out);

/* 10 to the power of 0 … 38. */
__int128 convert_power_of_ten(int exponent);
