/*
 * Settings of `sluice serve`: one table with name, unit, default, range and help,
 * from which flags, environment variables, file keys, --help and the README's
 * table are made. A flag beats the environment, which beats the file.
 *
 *   name "head-milliseconds" → --head-milliseconds N, SLUICE_HEAD_MILLISECONDS=N,
 *   and the line "head-milliseconds = N" of the file that --config names.
 */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { CONFIG_TEXT_BYTES = 1024, CONFIG_HOST_BYTES = 256 };

struct config {
    char data[CONFIG_TEXT_BYTES];
    char listen[CONFIG_TEXT_BYTES];
    char tls_cert[CONFIG_TEXT_BYTES];
    char tls_key[CONFIG_TEXT_BYTES];
    bool allow_plain_http;
    char log_level[CONFIG_TEXT_BYTES];
    char audit_reads[CONFIG_TEXT_BYTES];
    int64_t network_threads; /* 0 = one a core */
    int64_t door_threads;
    int64_t door_queue;
    int64_t connections;
    int64_t connections_per_address;
    int64_t idle_seconds;
    int64_t head_milliseconds;
    int64_t body_milliseconds;
    int64_t transfer_bytes_per_second;
    int64_t body_memory_bytes;
    int64_t auth_failures_per_minute;
    int64_t requests_per_minute; /* 0 = no limit */
    int64_t batch_body_bytes;
    int64_t batch_records;
    int64_t lane_queue_bytes;
    int64_t lane_queue_batches;
    int64_t wait_seconds;
    int64_t decode_memory_bytes;
    int64_t dead_letter_bytes;
    int64_t retention_seconds;
    int64_t dropped_retention_seconds;
    int64_t run_retention_seconds;
    int64_t runs_per_job;
    int64_t merge_threads;
    int64_t commit_interval_milliseconds;
    int64_t commit_batches;
    int64_t commit_bytes;
    int64_t refresh_interval_milliseconds;
    char source_roots[CONFIG_TEXT_BYTES];
    char export_roots[CONFIG_TEXT_BYTES];
    char outgoing_allow[CONFIG_TEXT_BYTES];
    int64_t task_threads;
    char task_pools[CONFIG_TEXT_BYTES];
    int64_t stop_seconds;
    /* derived by config_load */
    char host[CONFIG_HOST_BYTES];
    uint16_t port;
};

/*
 * Read flags, environment and file, check ranges and how they go together.
 *
 *   argc, argv   flags only, without program and command name
 *   environment  as environ
 *   config_out   complete on ERR_OK
 *
 * Errors:  ERR_INVALID names the setting, where it was given and its range;
 *          ERR_FORBIDDEN an insecure start: plain HTTP off loopback, a TLS key that
 *          others can read; ERR_NOT_FOUND, ERR_IO the file.
 */
enum err_code config_load(int argc, char *const argv[], char *const environment[],
                          struct config *config_out, struct err *err) MUST_USE;

/* The table as --help prints it, and as a Markdown table for the README. */
void config_print_help(FILE *out);
void config_print_markdown(FILE *out);
