/*
 * Idempotency keys that a request is working on, in memory. Private to the catalog.
 */
#pragma once

#include "storage/base/lock.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/writer.h"

enum { CLAIMS_BUCKETS = 1024 };

struct claim;

/* Embedded in the catalog. */
struct claims {
    struct lock lock; /* rank CACHE */
    struct claim *buckets[CLAIMS_BUCKETS];
};

void claims_init(struct claims *claims);
void claims_deinit(struct claims *claims);

/* Inside a closure: store the key in the piece of `store`. Errors: ERR_CONFLICT it is there
 * already. */
enum err_code idempotency_insert(struct store *store, const struct idempotency_key *key,
                                 const uint8_t body_sha256[BATCH_SHA256_BYTES], int status,
                                 const struct id *batch, struct span body,
                                 struct err *err) MUST_USE;
