/*
 * What a merge found out, as the commit carries it: commitInfo's member "sluice"
 *   {"lane":"sluice/…/…","from":1,"to":2,"batches":[{"id":…,"position":…,"applied":…,"superseded":…,
 *    "rejected":[[row,"key_exists",0],…]},…],"tombstones":["_sluice/…",…]}
 * A large "batches" is stored in a file of its own instead, named by "outcome".
 * Holds no values of records.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tombstones.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct delta_commit;
struct object_store;

enum { OUTCOME_NAME_BYTES = 80, OUTCOME_BYTES_MAX = 256 << 20 };

/*
 * The extension of a commit; written_out says that TABLE_PRIVATE_FOLDER has a new
 * name to be synced.
 *
 *   txn_id    of the transaction: names the file
 *   lane      the table's txn appId
 *   inputs    outcomes[i] belongs to inputs[i]; those that were `already` there are left out
 *   inputs_count 0: a commit without batches (compaction)
 */
enum err_code outcome_encode(struct object_store *store, const char *txn_id, const char *lane,
                             const struct merge_input *inputs,
                             const struct merge_batch_outcome *outcomes, size_t inputs_count,
                             const struct tombstone_file *tombstones, size_t tombstones_count,
                             struct json **extension_out, bool *written_out,
                             struct err *err) MUST_USE;

/* The extension in a commit's commitInfo, NULL when it is not ours. Borrowed. */
const struct json *outcome_extension(const struct json *info);

/* Lane positions a commit holds; false when it has none. */
bool outcome_positions(const struct json *extension, int64_t *from_out, int64_t *to_out);

/*
 * The outcomes of positions, which ascend, in a commit. Those that it does not hold stay as they
 * are. Errors: ERR_CORRUPT, ERR_NOT_FOUND, ERR_IO of the outcome's file.
 */
enum err_code outcomes_decode(struct object_store *store, const struct json *extension,
                              const int64_t *positions, size_t count,
                              struct merge_batch_outcome *outcomes, struct err *err) MUST_USE;
