/*
 * What a merge changes, told row by row in files of its own, for readers of the table's
 * change data feed.
 *
 *   insert             a row of a key that had none
 *   update_preimage    the row that a key had, and
 *   update_postimage   the one that it has now, behind it
 *   delete             the row of a key that has none any more
 *
 * A merge that takes no stored row away needs no such files: its data files say the same.
 *
 * Source: delta PROTOCOL.md "Add CDC File", "Change Data Files"; reference section 9.2.
 */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>

struct delta_transaction;
struct merge_work;

#define CHANGE_TYPE_COLUMN "_change_type"

/* Does the table keep a feed, and do stored rows go? */
bool merge_changes_are_told(const struct merge_work *work);

/*
 * Write the files of a merge, durable with its group, when it is told so; else nothing. The rows to
 * be written are placed.
 *
 * Errors:  what reading stored rows returns; ERR_NO_SPACE; ERR_IO; ERR_UNSUPPORTED the table
 *          has a column of that name.
 * Memory:  a bounded part of the rows that go, and as many that come.
 */
enum err_code merge_changes_write(struct merge_work *work, struct err *err) MUST_USE;

/* Put the actions of the files into a transaction. */
void merge_changes_stage(const struct merge_work *work, struct delta_transaction *transaction);
