/*
 * Builders for the tests of this folder: small tables in a store, files with
 * plausible statistics, states compared.
 */
#pragma once

#include "storage/delta/state.h"
#include "storage/delta/transaction.h"

#include "storage/object/object.h"

#define SCHEMA_TEXT                                                                                \
    "{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,"       \
    "\"metadata\":{}},{\"name\":\"v\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}"

/* Version 0 in `store`, whole; stops the test on failure. */
struct delta_state *support_create(struct object_store *store, bool deletion_vectors);

/* A file of ten rows; `path` is borrowed. */
struct delta_file support_file(const char *path);

/* An inline vector that marks `row`; its text lives until the next call but three. */
struct delta_dv support_dv(int64_t row);

/* Put `text` as the commit of `version`. */
void support_put_commit(struct object_store *store, int64_t version, const char *text);

/* Load, whole; stops the test on failure. */
struct delta_state *support_load(struct object_store *store);

/* Same files, tombstones, txns, domains, protocol and metadata? Expectations name `what`. */
void support_expect_equal(const struct delta_state *a, const struct delta_state *b,
                          const char *what);

/* "path[@dv cardinality] …" of the live files. mem_free. */
char *support_live(const struct delta_state *state);

/* Commit and free the transaction; stops the test on failure. Returns the new state. */
struct delta_state *support_commit(struct delta_transaction *transaction);
