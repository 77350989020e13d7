/* The table of settings and its three sources; see config.h. */
#include "server/config.h"

#include "server/listen.h"
#include "storage/base/buffer.h"
#include "storage/base/file.h"
#include "storage/base/span.h"
#include "storage/base/text.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_BYTES_MAX = 1 << 20, VARIABLE_BYTES = 64 };

enum kind { KIND_TEXT, KIND_SWITCH, KIND_INTEGER };

struct setting {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *unit;    /* shown; "" = none */
    const char *initial; /* default, as one would write it */
    int64_t minimum;     /* integers only */
    int64_t maximum;
    const char *help;
};

#define TEXT(name, member, initial, help)                                                          \
    {                                                                                              \
        name, KIND_TEXT, offsetof(struct config, member), "", initial, 0, 0, help                  \
    }
#define SWITCH(name, member, help)                                                                 \
    {                                                                                              \
        name, KIND_SWITCH, offsetof(struct config, member), "", "false", 0, 0, help                \
    }
#define INTEGER(name, member, unit, initial, minimum, maximum, help)                               \
    {                                                                                              \
        name, KIND_INTEGER, offsetof(struct config, member), unit, initial, minimum, maximum, help \
    }

static const struct setting settings[] = {
    TEXT("data", data, "data", "data directory; made when absent, for this user only"),
    TEXT("listen", listen, "127.0.0.1:8080", "HOST:PORT to listen on; port 0 picks a free one"),
    TEXT("tls-cert", tls_cert, "", "PEM file with the certificate chain; turns TLS on"),
    TEXT("tls-key", tls_key, "", "PEM file with the private key, readable by this user only"),
    SWITCH("allow-plain-http", allow_plain_http,
           "serve plain HTTP to other machines (behind a proxy that ends TLS)"),
    TEXT("log-level", log_level, "info", "debug, info, warn or error"),
    TEXT("audit-reads", audit_reads, "written",
         "what a read waits for: its audit record written, or durable"),
    INTEGER("network-threads", network_threads, "threads", "0", 0, 64,
            "threads that read and answer; 0 = one a core"),
    INTEGER("door-threads", door_threads, "threads", "16", 1, 256,
            "threads that decode and accept batches"),
    INTEGER("door-queue", door_queue, "requests", "1024", 1, 100000,
            "requests waiting for a door thread; more are refused with 503"),
    INTEGER("connections", connections, "connections", "4096", 8, 60000,
            "open connections; more are refused"),
    INTEGER("connections-per-address", connections_per_address, "connections", "512", 0, 60000,
            "open connections of one client address; 0 = no limit"),
    INTEGER("idle-seconds", idle_seconds, "s", "60", 1, 3600,
            "a kept-alive connection without a request is closed after this"),
    INTEGER("head-milliseconds", head_milliseconds, "ms", "10000", 100, 600000,
            "from the first byte of a request head to its last"),
    INTEGER("body-milliseconds", body_milliseconds, "ms", "10000", 100, 600000,
            "time for a request body, beside what its size is worth"),
    INTEGER("transfer-bytes-per-second", transfer_bytes_per_second, "bytes/s", "16384", 1,
            1073741824, "slower senders and readers are cut off"),
    INTEGER("body-memory-bytes", body_memory_bytes, "bytes", "536870912", 1048576, 1099511627776,
            "request bodies in memory at once; more are refused with 503"),
    INTEGER("auth-failures-per-minute", auth_failures_per_minute, "requests", "10", 1, 1000000,
            "wrong tokens from one address before it is told to wait"),
    INTEGER("requests-per-minute", requests_per_minute, "requests", "0", 0, 1000000000,
            "requests of one principal; more are refused with 429; 0 = no limit"),
    INTEGER("batch-body-bytes", batch_body_bytes, "bytes", "536870912", 1024, 1073741824,
            "one batch after decompression"),
    INTEGER("batch-records", batch_records, "records", "1000000", 1, 4194304,
            "records of one batch"),
    INTEGER("lane-queue-bytes", lane_queue_bytes, "bytes", "2147483648", 1048576, 1099511627776,
            "accepted batches of one table that wait for their merge; more are refused with 503"),
    INTEGER("lane-queue-batches", lane_queue_batches, "batches", "10000", 1, 1000000,
            "the same, by number"),
    INTEGER("wait-seconds", wait_seconds, "s", "60", 0, 600, "longest Prefer: wait=N and after="),
    INTEGER("decode-memory-bytes", decode_memory_bytes, "bytes", "1073741824", 16777216,
            1099511627776, "memory for bodies being inflated and decoded at once"),
    INTEGER("dead-letter-bytes", dead_letter_bytes, "bytes", "1073741824", 1048576, 1099511627776,
            "payloads of dead letters kept per table"),
    INTEGER("retention-seconds", retention_seconds, "s", "604800", 3600, 31536000,
            "receipts and idempotency keys are kept this long"),
    INTEGER("dropped-retention-seconds", dropped_retention_seconds, "s", "604800", 0, 31536000,
            "files of deleted tables are kept this long"),
    INTEGER("run-retention-seconds", run_retention_seconds, "s", "5184000", 3600, 315360000,
            "job runs that ended, and webhook deliveries, are kept this long"),
    INTEGER("runs-per-job", runs_per_job, "runs", "1000", 1, 1000000,
            "newest runs kept of one job, and of one-off runs together"),
    INTEGER("merge-threads", merge_threads, "threads", "2", 1, 64, "tables merged at once"),
    INTEGER("commit-interval-milliseconds", commit_interval_milliseconds, "ms", "250", 0, 60000,
            "between two commits of a table under load; an idle table commits at once"),
    INTEGER("commit-batches", commit_batches, "batches", "10000", 1, 10000,
            "batches of one commit"),
    INTEGER("commit-bytes", commit_bytes, "bytes", "268435456", 1048576, 4294967296,
            "frames of one commit, and its records in memory; one batch may be larger"),
    INTEGER("refresh-interval-milliseconds", refresh_interval_milliseconds, "ms", "1000", 10,
            3600000, "how often commits of other writers are looked for"),
    TEXT("source-roots", source_roots, "",
         "folders whose files jobs may read, separated by ':'; empty = none"),
    TEXT("export-roots", export_roots, "",
         "folders below which jobs may write files, separated by ':'; empty = none"),
    TEXT("outgoing-allow", outgoing_allow, "",
         "addresses or CIDR blocks, each with an optional :port (IPv6 then in brackets), separated "
         "by ',', that requests of jobs and webhooks may reach beside public ones over TLS"),
    INTEGER("task-threads", task_threads, "threads", "32", 1, 256,
            "tasks of jobs that work at once in the pool 'default'"),
    TEXT("task-pools", task_pools, "",
         "further pools of tasks with threads of their own, such as partners=4,slow=2"),
    INTEGER("stop-seconds", stop_seconds, "s", "8", 1, 9,
            "time for requests in flight after SIGTERM"),
};

enum { SETTINGS_COUNT = sizeof settings / sizeof settings[0] };

static void *member_of(struct config *config, const struct setting *setting)
{
    assert(setting != NULL);
    return (char *)config + setting->offset;
}

/* "one of from to" for people. */
static enum err_code set_integer(int64_t *member, const struct setting *setting, const char *value,
                                 const char *source, struct err *err)
{
    int64_t number = 0;
    if (!text_parse_int64(span_of_text(value), &number) || number < setting->minimum ||
        number > setting->maximum) {
        return err_set(err, ERR_INVALID,
                       "%s: %s must be a whole number from %" PRId64 " to %" PRId64 " %s", source,
                       setting->name, setting->minimum, setting->maximum, setting->unit);
    }
    *member = number;
    return ERR_OK;
}

static enum err_code set_switch(bool *member, const struct setting *setting, const char *value,
                                const char *source, struct err *err)
{
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
        return err_set(err, ERR_INVALID, "%s: %s must be true or false", source, setting->name);
    }
    *member = strcmp(value, "true") == 0;
    return ERR_OK;
}

static enum err_code set_value(struct config *config, const struct setting *setting,
                               const char *value, const char *source, struct err *err)
{
    void *member = member_of(config, setting);
    switch (setting->kind) {
    case KIND_INTEGER:
        return set_integer(member, setting, value, source, err);
    case KIND_SWITCH:
        return set_switch(member, setting, value, source, err);
    case KIND_TEXT:
        break;
    }
    if (strlen(value) >= CONFIG_TEXT_BYTES) {
        return err_set(err, ERR_INVALID, "%s: %s is over %d bytes", source, setting->name,
                       CONFIG_TEXT_BYTES - 1);
    }
    memcpy(member, value, strlen(value) + 1);
    return ERR_OK;
}

static const struct setting *find_setting(struct span name)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        if (span_equal_text(name, settings[i].name)) {
            return &settings[i];
        }
    }
    return NULL;
}

/* ---- sources ---- */

static enum err_code load_defaults(struct config *config, struct err *err)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        TRY(set_value(config, &settings[i], settings[i].initial, "default", err));
    }
    return ERR_OK;
}

static struct span trim(struct span text)
{
    while (text.size > 0 && isspace(text.data[0])) {
        text = span_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && isspace(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

static enum err_code load_line(struct config *config, const char *path, int64_t number,
                               struct span line, struct err *err)
{
    char source[CONFIG_TEXT_BYTES + 32];
    char text[CONFIG_TEXT_BYTES];
    (void)snprintf(source, sizeof source, "%s:%" PRId64, path, number); /* cut when too long */
    const uint8_t *equals = memchr(line.data, '=', line.size);
    if (equals == NULL) {
        return err_set(err, ERR_INVALID, "%s: not 'name = value'", source);
    }
    size_t name_size = (size_t)(equals - line.data);
    struct span name = trim(span_of(line.data, name_size));
    struct span value = trim(span_of(equals + 1, line.size - name_size - 1));
    const struct setting *setting = find_setting(name);
    if (setting == NULL || value.size >= sizeof text) {
        return err_set(err, ERR_INVALID, "%s: no setting '%.*s'; see sluice serve --help", source,
                       SPAN_PRINT(name));
    }
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    return set_value(config, setting, text, source, err);
}

/* Lines "name = value"; empty ones and those that start with # are skipped. */
static enum err_code load_file(struct config *config, const char *path, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer contents;
    buffer_init(&contents, FILE_BYTES_MAX);
    TRY(file_read(path, &contents, err));
    struct span rest = buffer_span(&contents);
    for (int64_t number = 1; rest.size > 0; number++) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;
        struct span line = trim(span_of(rest.data, size));
        if (line.size > 0 && line.data[0] != '#') {
            TRY(load_line(config, path, number, line, err));
        }
        size_t used = end != NULL ? size + 1 : size;
        rest = span_of(rest.data + used, rest.size - used);
    }
    return ERR_OK;
}

static void variable_name(const struct setting *setting, char name_out[VARIABLE_BYTES])
{
    size_t size = strlen(setting->name);
    assert(size + sizeof "SLUICE_" <= VARIABLE_BYTES);
    memcpy(name_out, "SLUICE_", 7);
    for (size_t i = 0; i <= size; i++) {
        char byte = setting->name[i];
        name_out[7 + i] = byte == '-' ? '_' : (char)toupper((unsigned char)byte);
    }
}

static enum err_code load_environment(struct config *config, char *const environment[],
                                      struct err *err)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        char name[VARIABLE_BYTES];
        variable_name(&settings[i], name);
        size_t size = strlen(name);
        for (size_t j = 0; environment[j] != NULL; j++) {
            if (strncmp(environment[j], name, size) == 0 && environment[j][size] == '=') {
                TRY(set_value(config, &settings[i], environment[j] + size + 1, name, err));
            }
        }
    }
    return ERR_OK;
}

/* "--name value", "--name=value", and "--name" alone for switches. */
static enum err_code load_flag(struct config *config, int argc, char *const argv[], int *index,
                               struct err *err)
{
    const char *flag = argv[*index];
    const char *equals = strchr(flag, '=');
    if (strncmp(flag, "--", 2) != 0) {
        return err_set(err, ERR_INVALID, "'%s' is no flag; see sluice serve --help", flag);
    }
    size_t size = equals != NULL ? (size_t)(equals - flag) - 2 : strlen(flag) - 2;
    bool is_file = size == 6 && strncmp(flag + 2, "config", 6) == 0;
    const struct setting *setting = find_setting(span_of(flag + 2, size));
    if (setting == NULL && !is_file) {
        return err_set(err, ERR_INVALID, "there is no flag '%s'; see sluice serve --help", flag);
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (value == NULL && setting != NULL && setting->kind == KIND_SWITCH) {
        value = "true";
    } else if (value == NULL) {
        *index += 1;
        value = *index < argc ? argv[*index] : NULL;
    }
    if (value == NULL) {
        return err_set(err, ERR_INVALID, "%s needs a value", flag);
    }
    return is_file ? ERR_OK : set_value(config, setting, value, flag, err);
}

/* The value of --config, or NULL; the last one counts. */
static const char *find_file_flag(int argc, char *const argv[])
{
    const char *path = NULL;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0) {
            path = argv[i] + 9;
        } else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            path = argv[i + 1];
        }
    }
    return path;
}

/* ---- how settings go together ---- */

static enum err_code check_key_file(const char *path, struct err *err)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return err_set_errno(err, errno, "tls-key: look at %s", path);
    }
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return err_set(err, ERR_FORBIDDEN,
                       "tls-key: %s is open to other users (mode %03o); close it with: chmod 600 "
                       "%s",
                       path, (unsigned)(status.st_mode & 0777), path);
    }
    return ERR_OK;
}

static enum err_code check_security(const struct config *config, struct err *err)
{
    bool has_cert = config->tls_cert[0] != '\0';
    bool has_key = config->tls_key[0] != '\0';
    if (has_cert != has_key) {
        return err_set(err, ERR_INVALID, "tls-cert and tls-key go together");
    }
    if (has_key) {
        return check_key_file(config->tls_key, err);
    }
    if (!config->allow_plain_http && !listen_is_loopback(config->host)) {
        return err_set(err, ERR_FORBIDDEN,
                       "plain HTTP would carry tokens and health information in the clear to %s; "
                       "give --tls-cert and --tls-key, or --allow-plain-http behind a proxy that "
                       "ends TLS",
                       config->host);
    }
    return ERR_OK;
}

static bool is_one_of(const char *value, const char *const list[])
{
    for (size_t i = 0; list[i] != NULL; i++) {
        if (strcmp(value, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

static enum err_code check(struct config *config, struct err *err)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    static const char *const reads[] = {"written", "durable", NULL};
    if (!is_one_of(config->log_level, levels)) {
        return err_set(err, ERR_INVALID, "log-level must be debug, info, warn or error");
    }
    if (!is_one_of(config->audit_reads, reads)) {
        return err_set(err, ERR_INVALID, "audit-reads must be written or durable");
    }
    if (config->data[0] == '\0') {
        return err_set(err, ERR_INVALID, "data must name a directory");
    }
    if (listen_parse(config->listen, config->host, sizeof config->host, &config->port, err) !=
        ERR_OK) {
        return err_wrap(err, "listen");
    }
    return check_security(config, err);
}

enum err_code config_load(int argc, char *const argv[], char *const environment[],
                          struct config *config_out, struct err *err)
{
    struct config config = {0};
    const char *path = find_file_flag(argc, argv);
    TRY(load_defaults(&config, err));
    if (path != NULL) {
        TRY(load_file(&config, path, err));
    }
    TRY(load_environment(&config, environment, err));
    for (int i = 0; i < argc; i++) {
        TRY(load_flag(&config, argc, argv, &i, err));
    }
    TRY(check(&config, err));
    *config_out = config;
    return ERR_OK;
}

/* ---- help ---- */

static void describe_range(const struct setting *setting, char *text, size_t size)
{
    text[0] = '\0';
    if (setting->kind == KIND_INTEGER) {
        (void)snprintf(text, size, "%" PRId64 "–%" PRId64, setting->minimum,
                       setting->maximum); /* two numbers fit */
    }
}

void config_print_help(FILE *out)
{
    (void)fputs("Settings, as flags (--name VALUE), environment (SLUICE_NAME) or lines\n"
                "'name = value' of the file that --config FILE names:\n\n",
                out);
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting *setting = &settings[i];
        char range[64];
        describe_range(setting, range, sizeof range);
        (void)fprintf(out, "  --%-30s %s\n", setting->name, setting->help);
        if (setting->kind != KIND_SWITCH && (setting->initial[0] != '\0' || range[0] != '\0')) {
            (void)fprintf(out, "  %-32s default %s%s%s%s%s\n", "", setting->initial,
                          setting->unit[0] != '\0' ? " " : "", setting->unit,
                          range[0] != '\0' ? ", range " : "", range);
        }
    }
}

void config_print_markdown(FILE *out)
{
    (void)fputs("| setting | default | unit | range | what it does |\n|---|---|---|---|---|\n",
                out);
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting *setting = &settings[i];
        char range[64];
        describe_range(setting, range, sizeof range);
        (void)fprintf(out, "| `%s` | %s%s%s | %s | %s | %s |\n", setting->name,
                      setting->initial[0] != '\0' ? "`" : "", setting->initial,
                      setting->initial[0] != '\0' ? "`" : "", setting->unit, range, setting->help);
    }
}
