/*
 * Start and stop of the server: settings, instance, listener, ready signal; then
 * waiting for a signal, and the way back. What runs in between is elsewhere.
 */
#include "server/cli/serve.h"

#include "handlers/health.h"
#include "handlers/services.h"
#include "server/cli/exit.h"
#include "server/config.h"
#include "server/gate.h"
#include "server/http.h"
#include "server/instance.h"
#include "storage/audit/audit.h"
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/lock.h"
#include "storage/base/secret.h"
#include "storage/catalog/catalog.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

extern char **environ;

enum { STOP_MARGIN_US = 500000 }; /* after the time for requests, for what closes afterwards */

enum { PEM_BYTES_MAX = 1 << 20 };

/* ---- signals ---- */

/* SIGTERM and SIGINT are taken by sigwait in the main thread; no other thread sees them. */
static void block_signals(sigset_t *stop_signals)
{
    (void)sigemptyset(stop_signals);
    (void)sigaddset(stop_signals, SIGTERM);
    (void)sigaddset(stop_signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, stop_signals, NULL); /* none of these can fail */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

/* ---- checks of /readyz ---- */

static bool audit_is_ready(void *arg, const char **detail_out)
{
    struct services *services = arg;
    *detail_out = "the audit trail cannot be written";
    return audit_healthy(services->audit);
}

static bool catalog_is_ready(void *arg, const char **detail_out)
{
    struct services *services = arg;
    *detail_out = "the catalog is damaged";
    return catalog_healthy(services->catalog);
}

/* ---- starting ---- */

static enum log_level level_of(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(names[i], name) == 0) {
            return (enum log_level)i;
        }
    }
    return LOG_INFO;
}

static enum err_code open_instance(const struct config *config, struct instance **instance_out,
                                   struct err *err)
{
    struct instance_options options = {
        .data = config->data,
        .audit_reads_durable = strcmp(config->audit_reads, "durable") == 0,
        .batch_body_bytes_max = config->batch_body_bytes,
        .batch_records_max = config->batch_records,
        .lane_queue_bytes_max = config->lane_queue_bytes,
        .lane_queue_batches_max = config->lane_queue_batches,
        .wait_seconds_max = config->wait_seconds,
        .decode_memory_bytes_max = config->decode_memory_bytes,
        .dead_letter_bytes_max = config->dead_letter_bytes,
        .retention_seconds = config->retention_seconds,
        .dropped_retention_seconds = config->dropped_retention_seconds,
        .run_retention_seconds = config->run_retention_seconds,
        .runs_per_job_max = config->runs_per_job,
        .merge_threads = config->merge_threads,
        .commit_interval_us = config->commit_interval_milliseconds * 1000,
        .commit_batches_max = config->commit_batches,
        .commit_bytes_max = config->commit_bytes,
        .refresh_interval_us = config->refresh_interval_milliseconds * 1000,
        .source_roots = config->source_roots,
        .export_roots = config->export_roots,
        .task_threads = config->task_threads,
        .task_pools = config->task_pools,
        .outgoing_allow = config->outgoing_allow,
    };
    return instance_open(&options, instance_out, err);
}

/* PEM text with its NUL; empty path = empty text. */
static enum err_code read_pem(const char *path, struct buffer *text, struct err *err)
{
    buffer_init(text, PEM_BYTES_MAX);
    if (path[0] != '\0') {
        TRY(file_read(path, text, err));
        buffer_append_byte(text, '\0');
    }
    return ERR_OK;
}

static enum err_code open_http(const struct config *config, struct services *services,
                               struct gate *gate, struct http **http_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer certificate = {0};
    CLEANUP(buffer_deinit) struct buffer key = {0};
    TRY(read_pem(config->tls_cert, &certificate, err));
    TRY(read_pem(config->tls_key, &key, err));
    int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
    bool is_tls = certificate.size > 0;
    struct http_options options = {
        .host = config->host,
        .port = config->port,
        .tls_certificate = is_tls ? (const char *)certificate.data : NULL,
        .tls_key = is_tls ? (const char *)key.data : NULL,
        .network_threads = config->network_threads > 0 ? config->network_threads
                           : cores > 0                 ? cores
                                                       : 1,
        .door_threads = config->door_threads,
        .door_queue_max = config->door_queue,
        .connections_max = config->connections,
        .connections_per_address_max = config->connections_per_address,
        .idle_seconds = config->idle_seconds,
        .head_ms = config->head_milliseconds,
        .body_ms = config->body_milliseconds,
        .transfer_bytes_per_second_min = config->transfer_bytes_per_second,
        .body_memory_bytes_max = config->body_memory_bytes,
        .services = services,
        .gate = gate,
    };
    enum err_code code = http_open(&options, http_out, err);
    secret_wipe(key.data, key.size);
    return code;
}

/* The URL for those who start us on port 0; written last, so that it says "ready". */
static enum err_code write_endpoint(const char *data, const char *url, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(data, "endpoint");
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, HTTP_URL_BYTES + 1);
    buffer_append_text(&text, url);
    buffer_append_text(&text, "\n");
    return file_replace_derived(path, buffer_span(&text), err);
}

static void remove_endpoint(const char *data)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *path = file_join(data, "endpoint");
    if (file_remove(path, &err) != ERR_OK) {
        struct log_line line;
        log_begin(&line, LOG_WARN, "the endpoint file stays behind");
        log_err(&line, &err);
        log_end(&line);
    }
}

static void log_ready(const struct config *config, const char *url)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "serving");
    log_text(&line, LOG_PATH, config->data);
    log_text(&line, LOG_REMOTE, url);
    log_end(&line);
}

/* ---- running ---- */

/*
 * A merge takes as long as its batches are large, and stopping takes no longer than
 * was promised: what is not merged by then is durable, and merged after the next start.
 */
struct stop_limit {
    struct lock lock; /* guards `ended` */
    struct wake wake;
    bool begun;
    bool ended;
    int64_t deadline_us; /* monotonic; set before the thread starts */
    pthread_t thread;
};

static void *watch_stop(void *arg)
{
    struct stop_limit *limit = arg;
    lock_take(&limit->lock);
    while (!limit->ended && clock_monotonic_us() < limit->deadline_us) {
        (void)wake_wait_until(&limit->wake, &limit->lock, limit->deadline_us); /* looked at above */
    }
    if (!limit->ended) {
        struct log_line line;
        log_begin(&line, LOG_WARN, "stopped with a merge unfinished; the next start does it again");
        log_end(&line);
        _exit(EX_OK);
    }
    lock_drop(&limit->lock);
    return NULL;
}

static void stop_limit_begin(struct stop_limit *limit, int64_t seconds)
{
    lock_init(&limit->lock, LOCK_RANK_SERVICE);
    wake_init(&limit->wake);
    limit->deadline_us = clock_monotonic_us() + seconds * 1000000 + STOP_MARGIN_US;
    int result = pthread_create(&limit->thread, NULL, watch_stop, limit);
    assert(result == 0);
    limit->begun = true;
}

/* Everything is closed: nothing is left to be cut short. Accepts one that never began. */
static void stop_limit_end(struct stop_limit *limit)
{
    if (!limit->begun) {
        return;
    }
    lock_take(&limit->lock);
    limit->ended = true;
    wake_all(&limit->wake);
    lock_drop(&limit->lock);
    int result = pthread_join(limit->thread, NULL);
    assert(result == 0);
    wake_deinit(&limit->wake);
    lock_deinit(&limit->lock);
}

/* Requests in flight end first, while everything they use is still open. */
static enum err_code stop(const struct config *config, struct instance *instance,
                          struct http **http, struct err *err)
{
    int64_t deadline_us = clock_monotonic_us() + config->stop_seconds * 1000000;
    health_set_stopping();
    remove_endpoint(config->data);
    http_quiesce(*http); /* refuses what is new; handlers go on with what they have begun */
    instance_end_waits(instance);
    enum err_code code = http_close(http, deadline_us, err);
    atomic_store(&instance_services(instance)->stopping, true);
    return code;
}

static enum err_code serve(const struct config *config, const sigset_t *stop_signals,
                           struct err *err)
{
    CLEANUP(stop_limit_end) struct stop_limit stop_limit = {0}; /* ends last: closing counts too */
    CLEANUP(instance_close) struct instance *instance = NULL;
    CLEANUP(gate_free) struct gate *gate = NULL;
    struct http *http = NULL;
    (void)umask(S_IRWXG | S_IRWXO); /* for what libraries create; always succeeds */
    TRY(open_instance(config, &instance, err));
    struct services *services = instance_services(instance);
    struct gate_options gate_options = {
        .catalog = services->catalog,
        .audit = services->audit,
        .failures_per_minute_max = config->auth_failures_per_minute,
        .requests_per_minute_max = config->requests_per_minute,
    };
    gate = gate_new(&gate_options);
    health_register("audit", audit_is_ready, services);
    health_register("catalog", catalog_is_ready, services);
    TRY(open_http(config, services, gate, &http, err));
    TRY(write_endpoint(config->data, http_url(http), err));
    log_ready(config, http_url(http));
    int signal_number = 0;
    (void)sigwait(stop_signals, &signal_number); /* the set is valid */
    stop_limit_begin(&stop_limit, config->stop_seconds);
    if (stop(config, instance, &http, err) != ERR_OK) {
        /* Requests still run on what is open: ending the process is the only safe close. */
        struct log_line line;
        log_begin(&line, LOG_WARN, "stopped with requests unfinished");
        log_err(&line, err);
        log_end(&line);
        _exit(EX_OK);
    }
    health_forget();
    return ERR_OK;
}

/* What the process holds must not end up in a core file. */
static void harden(void)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none); /* lowering cannot fail */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void print_help(void)
{
    (void)fputs("usage: sluice serve [--data DIR] [--listen HOST:PORT] [settings…]\n\n"
                "Serve one data directory until SIGTERM. When ready, the URL is in DIR/endpoint;\n"
                "the first start writes an administrator's token to DIR/admin.token.\n\n",
                stdout);
    config_print_help(stdout);
}

int cli_serve(int argc, char **argv)
{
    struct config config;
    struct err err = {0};
    sigset_t stop_signals;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help();
            return EX_OK;
        }
        if (strcmp(argv[i], "--help-markdown") == 0) {
            config_print_markdown(stdout);
            return EX_OK;
        }
    }
    if (config_load(argc - 1, argv + 1, environ, &config, &err) != ERR_OK) {
        (void)fprintf(stderr, "sluice serve: %s\n", err.msg);
        return err.code == ERR_FORBIDDEN ? EX_NOPERM : EX_CONFIG;
    }
    harden();
    block_signals(&stop_signals);
    log_set_level(level_of(config.log_level));
    enum err_code code = log_gather_start(&err);
    if (code == ERR_OK) {
        code = serve(&config, &stop_signals, &err);
    }
    log_gather_stop();
    if (code != ERR_OK) {
        (void)fprintf(stderr, "sluice serve: %s\n", err.msg);
        return exit_code_of(err.code);
    }
    return EX_OK;
}
