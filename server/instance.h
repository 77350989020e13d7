/*
 * An instance: one data directory, opened. Everything that outlives a request is
 * opened here in order and closed in reverse; main.c adds the listener.
 *
 *   DIR/lock            held while the instance is open
 *   DIR/secrets/        root key (0600)
 *   DIR/admin.token     the first administrator's token (0600), written once
 *   DIR/catalog/        SQLite: what exists and what is to be done
 *   DIR/journal/        frames of accepted batches
 *   DIR/dead-letters/   payloads of refused records
 *   DIR/audit/          the audit trail
 *   DIR/tables/         the Delta tables
 *   DIR/index/          derived: key index and row images
 *   DIR/spool/          of tasks that run: files without a name, gone with the process
 */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct instance;
struct services;

/* See server/config for units, defaults and ranges. */
struct instance_options {
    const char *data; /* DIR */
    bool audit_reads_durable;
    int64_t batch_body_bytes_max;
    int64_t batch_records_max;
    int64_t lane_queue_bytes_max;
    int64_t lane_queue_batches_max;
    int64_t wait_seconds_max;
    int64_t decode_memory_bytes_max;
    int64_t dead_letter_bytes_max;
    int64_t retention_seconds;         /* receipts and idempotency keys */
    int64_t dropped_retention_seconds; /* files of deleted tables */
    int64_t run_retention_seconds;     /* runs that ended, webhook deliveries */
    int64_t runs_per_job_max;
    int64_t merge_threads;
    int64_t commit_interval_us;
    int64_t commit_batches_max;
    int64_t commit_bytes_max;
    int64_t refresh_interval_us;
    const char *source_roots; /* folders that jobs read from, as roots_open takes them */
    const char *export_roots; /* folders that jobs write below */
    const char
        *outgoing_allow;    /* addresses that outgoing requests may reach, as address.h has it */
    int64_t task_threads;   /* places of the pool "default" */
    const char *task_pools; /* further pools, as pools.h has them */
};

/*
 * Open or create the instance, recover what a crash left, start the workers.
 *
 * Errors:  ERR_BUSY another process has the directory; ERR_FORBIDDEN secrets or
 *          directory are open to others (says which and how to close them), or a
 *          root of jobs and the directory lie inside each other;
 *          ERR_NOT_FOUND, ERR_INVALID, ERR_UNSUPPORTED such a root; ERR_INVALID
 *          outgoing_allow, task_pools;
 *          ERR_CORRUPT; ERR_NO_SPACE; ERR_IO.
 * Thread:  once in a process: fatal signals are noted from here on.
 */
enum err_code instance_open(const struct instance_options *options, struct instance **instance_out,
                            struct err *err) MUST_USE;

/* Ends the waits, the merges in flight and the background; then closes all. Nulls. */
void instance_close(struct instance **instance);

/* Answer those who wait for a rung; no further ones are parked. Before the listener stops. */
void instance_end_waits(struct instance *instance);

/* What handlers work with; borrowed until instance_close. */
struct services *instance_services(struct instance *instance);

/*
 * Take the data directory's lock for a command that works without the server.
 * Errors:  ERR_BUSY a server holds it; ERR_NOT_FOUND no such directory.
 */
enum err_code instance_lock(const char *data, int *fd_out, struct err *err) MUST_USE;
