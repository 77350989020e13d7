/*
 * Rows as CSV: a header line with field names, comma separated, every line ended
 * by CRLF, quotes only where RFC 4180 demands them.
 *
 * Forms:  as encode_json.h has them, without JSON's quotes
 *         string     as it is; quoted, quotes doubled, when it holds a comma, a
 *                    quote, a line end or nothing at all
 *         binary     base64; quoted when empty
 *         struct, array, map  their JSON (encode_json.h), quoted like a string
 *         null       nothing, unquoted; "" is the empty string
 * The decoder reads every row back to the same values. One shape has no such
 * form, because an empty line is no row: a single column with nulls in it.
 * encode_csv_check refuses it.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Can these columns be told apart in CSV?
 *
 *   columns_mask  schema->fields_count flags, false = left out; NULL = all
 * Errors:  ERR_INVALID a single column that is nullable.
 */
enum err_code encode_csv_check(const struct schema *schema, const bool *columns_mask,
                               struct err *err) MUST_USE;

/* Append the header line; the buffer's ceiling applies (buffer_check). */
void encode_csv_header(const struct schema *schema, const bool *columns_mask, struct buffer *text);

/* Append one row with its line end. */
void encode_csv_row(const struct frame *frame, int64_t row, const bool *columns_mask,
                    struct buffer *text);
