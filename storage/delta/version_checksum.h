/*
 * Version checksums: N.crc beside N.json says what the table came to at that version, so that
 * engines can check their replay of the log. A hint: a version may be without one, and nobody's
 * answer depends on it.
 *
 * Source: delta PROTOCOL.md "Version Checksum File".
 */
#pragma once

#include "storage/base/err.h"
#include "storage/delta/state.h"

#include <stdbool.h>
#include <stdint.h>

struct object_store;

enum { VERSION_CHECKSUM_BYTES_MAX = 64 << 20, VERSION_CHECKSUM_TXNS_MAX = 100 };

/*
 * Write the one of the state's version, unless it has one. Whoever commits does not wait for it:
 * a file beside each commit makes the commit a tenth slower.
 * Errors:  ERR_TOO_LARGE, ERR_NO_SPACE, ERR_IO: the version goes without.
 * Durable: no.
 */
enum err_code version_checksum_write(struct object_store *store, const struct delta_state *state,
                                     struct err *err) MUST_USE;

/*
 * Hold the one of the state's version, whoever wrote it, against the state.
 *
 *   found_out  false: there is none
 *
 * Errors:  ERR_CORRUPT it cannot be read, or says something else, with both numbers; ERR_IO.
 */
enum err_code version_checksum_verify(struct object_store *store, const struct delta_state *state,
                                      bool *found_out, struct err *err) MUST_USE;
