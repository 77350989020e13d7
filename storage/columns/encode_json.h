/*
 * Rows as JSON objects, compact, members in schema order, every field named.
 *
 * Forms:  string     as it is, only what JSON demands escaped; UTF-8 byte for byte
 *         integer, long, byte, short   number
 *         double, float                shortest number that reads back equal; from
 *                                      foreign files also "NaN", "Infinity", "-Infinity"
 *         decimal    number with all digits of its scale: 12.500 for decimal(10,3)
 *         boolean    true, false
 *         date       "YYYY-MM-DD"
 *         timestamp  "YYYY-MM-DDThh:mm:ssZ", six fraction digits only when one is not 0
 *         timestamp_ntz  the same without Z
 *         binary     base64 (RFC 4648, padded)
 *         struct     object, members in schema order, every one named
 *         array      array
 *         map        object in the order of its entries; a key that is no text is named by the
 *                    text of its JSON (1 by "1"), a null key by "null"
 *         null       null
 * The decoders read each of these forms back to the same value, except what only
 * foreign files hold: doubles that are not numbers, and years before 0001 or after
 * 9999, printed with a sign.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Append one row of a frame; the buffer's ceiling applies (buffer_check), for a
 * number or date up to 46 bytes before it is reached.
 *
 *   columns_mask  schema->fields_count flags, false = left out; NULL = all
 */
void encode_json_row(const struct frame *frame, int64_t row, const bool *columns_mask,
                     struct buffer *text);

/* Append rows first … first + count - 1 as NDJSON: each on a line of its own, ended by LF. */
void encode_ndjson_rows(const struct frame *frame, int64_t first, int64_t count,
                        const bool *columns_mask, struct buffer *text);

/* Append one value alone. */
void encode_json_value(const struct frame *frame, size_t column, int64_t row, struct buffer *text);

/*
 * Append the row of an image without a frame in between: the lookup path.
 * Equal to row_decode_into a frame of `schema` and encode_json_row.
 *
 * Errors:  ERR_CORRUPT as row_decode_into; `text` keeps its former size then.
 */
enum err_code encode_json_image(struct span image, const struct schema *schema,
                                const bool *columns_mask, struct buffer *text,
                                struct err *err) MUST_USE;
