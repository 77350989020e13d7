/*
 * Typed rows that somebody else wrote (a Parquet file, another table) → records of a
 * table, judged as posted ones are: the same rules, record errors and dead letters.
 *
 * Columns are matched by name. A value becomes one of the field's type when nothing is
 * lost by it, which means that it can be turned back:
 *   whole numbers   any numeric type that holds the value; a double holds it exactly
 *   double, float   double; whole numbers when it is one; decimal when its shortest text
 *                   fits
 *   decimal         decimal, whole numbers without losing digits; double when the double's
 *                   shortest text is the same number
 *   boolean         boolean
 *   date            date, timestamp_ntz
 *   timestamp       timestamp; timestamp_ntz timestamp_ntz: a zone is neither made up nor lost
 *   string          string; any other type when it reads as one, as text of a CSV does
 *   binary          binary; string when it is UTF-8
 * Everything else is a record error of that value, as are values that no body could hold
 * (NaN, U+0000, years outside 0001–9999).
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/decode.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"

/*
 * Can rows with these columns be records of the table at all?
 * Errors:  ERR_INVALID a column the table does not have, or a key or sequence field that is
 *          missing, by name.
 */
enum err_code decode_rows_check(const struct schema *columns, const struct schema *schema,
                                struct err *err) MUST_USE;

/*
 * Judge rows.
 *
 *   rows     of a schema that passed decode_rows_check; its operations (NULL: options) count,
 *            and a column `_op` before them; its lines are not looked at
 *   options  format is not looked at; line_offset + 1 is the number of the first row
 *   errors   zeroed by the caller; payloads are rows as JSON objects, kept in it
 *
 * Limits and errors as decode_body, but there may be no rows; ERR_TOO_LARGE also when the
 * refused rows take more than DECODE_ERRORS_BYTES_MAX.
 */
enum err_code decode_rows(const struct frame *rows, const struct schema *schema,
                          const struct decode_options *options, struct frame **frame_out,
                          struct decode_errors *errors, struct err *err) MUST_USE;

/* Bytes of value slots that one row of the table takes, whatever it holds: for frame_bytes_max. */
int64_t decode_row_bytes(const struct schema *schema);
