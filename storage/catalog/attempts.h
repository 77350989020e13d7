/*
 * Merge attempts: which lane positions were being merged when the process ended,
 * and by whose fault. Private to the catalog; the public half is in batches.h.
 *
 * The attempt is a row of catalog.db, durable before the merge. Whether the merging
 * thread itself died of a fatal signal is noted by catalog_mark_crash in a
 * mapped page of `<folder>/crash-mark`: a kill -9 or a power cut is not the
 * batch's fault and counts as an interruption only.
 */
#pragma once

#include "storage/base/err.h"

struct catalog;

/* Map the mark; keep it for catalog_mark_crash. Start only. */
enum err_code attempts_open(struct catalog *catalog, struct err *err) MUST_USE;
void attempts_close(struct catalog *catalog);

/* Charge the batches of attempts that never ended. Start only, before the writer runs. */
enum err_code attempts_charge(struct catalog *catalog, struct err *err) MUST_USE;

/* The calling thread merges nothing any more. */
void attempts_unbind_thread(void);
