/*
 * The audit chain's end and its anchor: private to the audit room.
 *
 * Anchor file: two slots of 128 bytes, written in turn, each
 *   magic 8 · sequence i64 · hash 32 · seal 32 (HMAC-SHA-256 under the instance's
 *   key of what precedes) · zeros. The valid slot with the higher sequence counts.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/hash.h"
#include "storage/base/secret.h"
#include "storage/journal/segments.h"

#include <stdbool.h>
#include <stdint.h>

#define AUDIT_MAGIC "SLUAUDT1"

/* The last record of a chain; sequence 0 and a zero hash before the first. */
struct chain_end {
    int64_t sequence;
    uint8_t hash[HASH_SHA256_BYTES];
};

struct audit_anchor;

enum err_code audit_anchor_open(const char *folder, struct audit_anchor **anchor_out,
                                struct err *err) MUST_USE;
void audit_anchor_close(struct audit_anchor **anchor);

/*
 * Remember that the trail reaches to `end`, which is durable already. A failed
 * write is left to the next one: the anchor may lag, it never leads.
 */
void audit_anchor_write(struct audit_anchor *anchor, const struct secret_keys *keys,
                        const struct chain_end *end, bool make_durable);

/*
 * Find the chain's end from the newest records and hold it against the anchor.
 *
 *   recovery  what segments_open found
 *
 * Errors:  ERR_CORRUPT the trail ends before its anchor or differs from it.
 */
enum err_code audit_chain_resume(const char *folder, const struct secret_keys *keys,
                                 const struct segment_recovery *recovery, struct chain_end *end_out,
                                 struct err *err) MUST_USE;
