/*
 * Secrets that jobs use to reach other systems: written once, never shown again.
 * A value is sealed under the instance's key ring, bound to its name and version,
 * and leaves only through catalog_secret_open, for the task that needs it.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;

enum {
    CATALOG_SECRETS_MAX = 1000,
    CATALOG_SECRET_NAME_BYTES_MAX = 100,       /* A–Z a–z 0–9 _ -, as templates name them */
    CATALOG_SECRET_VALUE_BYTES_MAX = 16 << 10, /* at least 1 */
};

/* What is shown of one. */
struct catalog_secret {
    const char *name;
    int64_t version; /* from 1, one more with each put */
    int64_t created_at_us;
    int64_t changed_at_us;
};

/* Is `name` a name that a secret may have? */
bool catalog_secret_name_is_valid(struct span name);

/*
 * Store a value, or a new one of a known name.
 *
 *   value        borrowed; the caller wipes it
 *   record_out   the stored row; its name is the caller's
 *   created_out  false when the name was known
 *
 * Errors:  ERR_INVALID name or an empty value; ERR_TOO_LARGE value, or too many secrets;
 *          those of catalog_write.
 * Durable: survives a power cut after ERR_OK.
 */
enum err_code catalog_secret_put(struct catalog *catalog, const char *name, struct span value,
                                 struct catalog_secret *record_out, bool *created_out,
                                 struct err *err) MUST_USE;

/* Forget it; what still refers to it fails from here on. Errors: ERR_NOT_FOUND. */
enum err_code catalog_secret_delete(struct catalog *catalog, const char *name,
                                    struct err *err) MUST_USE;

/* In order of name, from the first after `after_name` (NULL = start). Errors: ERR_TOO_LARGE the
 * arena. */
enum err_code catalog_secret_list(struct catalog *catalog, const char *after_name, size_t limit,
                                  struct arena *arena, struct catalog_secret **records_out,
                                  size_t *count_out, struct err *err) MUST_USE;

/* Is there a secret of that name? For validating definitions. */
enum err_code catalog_secret_exists(struct catalog *catalog, const char *name, bool *exists_out,
                                    struct err *err) MUST_USE;

/*
 * Append the value, for a worker about to use it. Never put it where it is logged, stored
 * or answered; wipe the buffer (secret_wipe) before buffer_deinit.
 *
 * Errors:  ERR_NOT_FOUND (says to PUT /v1/secrets/NAME); ERR_CORRUPT it cannot be opened
 *          with this instance's keys; ERR_TOO_LARGE the buffer's ceiling.
 */
enum err_code catalog_secret_open(struct catalog *catalog, const char *name, struct buffer *value,
                                  struct err *err) MUST_USE;
