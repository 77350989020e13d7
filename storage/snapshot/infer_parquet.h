/*
 * A table definition from a Parquet file: its types stay, the rest is inferred
 * (storage/columns/infer.h).
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/base/span.h"

enum { INFER_PARQUET_BYTES_MAX = 128 << 20 }; /* of values that are looked at */

/*
 *   file  a whole file; borrowed for the call
 * Errors:  ERR_INVALID not a Parquet file, damaged, without rows, or of a kind that
 *          cannot be read; ERR_TOO_LARGE.
 * Memory:  answer_out: json_free.
 */
enum err_code infer_parquet(struct span file, struct json **answer_out, struct err *err) MUST_USE;
