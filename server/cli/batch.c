/*
 * Post a file as batches. NDJSON is cut at line ends into batches of a size, so
 * that a file may be larger than one body and progress is seen; other forms and
 * compressed files go as one batch. Every batch carries an idempotency key of this
 * run, so that a retry after a lost answer is no second batch.
 */
#include "server/cli/batch.h"

#include "server/cli/common.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/id.h"
#include "storage/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    BATCH_PATH_BYTES_MAX = 8192,
    BATCH_BYTES_DEFAULT = 8 << 20,
    BATCHES_MAX = 1000000,
    BAR_COLUMNS = 32,
    BAR_REDRAW_US = 50000,
    WAIT_SECONDS = 30, /* of one look */
};

struct arguments {
    struct client_target target;
    const char *table;
    const char *operation;
    const char *type;
    int64_t batch_bytes;
    bool wait;
    bool json;
};

/* A posting under way. */
struct posting {
    const struct arguments *arguments;
    struct client *client;
    const char *file;
    const char *content_type;
    const char *content_encoding; /* NULL = plain */
    struct id run;                /* the idempotency keys' first part */
    int64_t total_bytes;
    int64_t done_bytes;
    int64_t started_us;
    int64_t drawn_us;
    bool draws; /* a progress bar, on a terminal */
    int64_t batches_count;
    int64_t received, accepted, rejected, applied, superseded, rejected_at_merge;
    char **batch_ids;
};

/* ---- progress ---- */

static void draw(struct posting *posting, int64_t bytes, bool last)
{
    int64_t now_us = clock_monotonic_us();
    if (!posting->draws || (!last && now_us - posting->drawn_us < BAR_REDRAW_US)) {
        return;
    }
    posting->drawn_us = now_us;
    int filled = posting->total_bytes > 0 ? (int)(bytes * BAR_COLUMNS / posting->total_bytes)
                                          : BAR_COLUMNS;
    int64_t spent_us = now_us - posting->started_us + 1;
    (void)fprintf(stderr, "\r  %-14s [%.*s%*s] %3" PRId64 "%%  %6.1f MB  %6.1f MB/s ",
                  posting->arguments->table, filled, "################################",
                  BAR_COLUMNS - filled, "",
                  posting->total_bytes > 0 ? bytes * 100 / posting->total_bytes : 100,
                  (double)bytes / 1e6, (double)bytes / (double)spent_us);
    if (last) {
        (void)fputc('\n', stderr);
    }
    (void)fflush(stderr);
}

static void note_progress(void *arg, int64_t sent, int64_t total)
{
    struct posting *posting = arg;
    (void)total;
    draw(posting, posting->done_bytes + sent, false);
}

/* ---- one batch ---- */

static int64_t count_of(const struct json *answer, const char *name)
{
    int64_t count = 0;
    if (!json_integer(json_get(json_get(answer, "records"), name), &count)) {
        return 0; /* the rung that knows it is not reached */
    }
    return count;
}

static enum err_code note_batch(struct posting *posting, const struct json *answer,
                                struct err *err)
{
    const char *id = json_text(json_get(answer, "batch_id"));
    if (id == NULL || posting->batches_count == BATCHES_MAX) {
        return err_set(err, ERR_UNSUPPORTED, "the receipt names no batch");
    }
    posting->batch_ids = mem_resize(posting->batch_ids, (size_t)posting->batches_count + 1,
                                    sizeof *posting->batch_ids);
    posting->batch_ids[posting->batches_count] = mem_copy_text(id);
    posting->batches_count++;
    posting->received += count_of(answer, "received");
    posting->accepted += count_of(answer, "accepted");
    posting->rejected += count_of(answer, "rejected");
    return ERR_OK;
}

static enum err_code post_batch(struct posting *posting, struct span body, struct err *err)
{
    const struct arguments *arguments = posting->arguments;
    CLEANUP(buffer_deinit) struct buffer path;
    CLEANUP(json_free) struct json *answer = NULL;
    char type[128];
    char encoding[64];
    char key[128];
    int status = 0;
    buffer_init(&path, BATCH_PATH_BYTES_MAX);
    buffer_append_text(&path, "/v1/tables/");
    client_escape(&path, arguments->table);
    buffer_append_text(&path, "/batches");
    if (arguments->operation != NULL) {
        buffer_append_text(&path, "?operation=");
        client_escape(&path, arguments->operation);
    }
    buffer_append_byte(&path, '\0');
    TRY(buffer_check(&path, "path", err));
    (void)snprintf(type, sizeof type, "Content-Type: %s", posting->content_type);
    (void)snprintf(key, sizeof key, "Idempotency-Key: \"%s/%" PRId64 "\"", posting->run.text,
                   posting->batches_count);
    (void)snprintf(encoding, sizeof encoding, "Content-Encoding: %s",
                   posting->content_encoding != NULL ? posting->content_encoding : "");
    struct client_call call = {
        .method = "POST",
        .path = (const char *)path.data,
        .headers = {type, key, posting->content_encoding != NULL ? encoding : NULL},
        .body = body,
        .may_retry = true,
        .progress = note_progress,
        .progress_arg = posting,
    };
    TRY(client_send_json(posting->client, &call, &answer, &status, err));
    posting->done_bytes += (int64_t)body.size;
    draw(posting, posting->done_bytes, false);
    return note_batch(posting, answer, err);
}

/* ---- the file ---- */

/* Bytes of the next batch: whole lines up to the size, at least one line. */
static size_t cut_lines(struct span rest, size_t batch_bytes)
{
    if (rest.size <= batch_bytes) {
        return rest.size;
    }
    const uint8_t *end = memrchr(rest.data, '\n', batch_bytes);
    if (end == NULL) {
        end = memchr(rest.data + batch_bytes, '\n', rest.size - batch_bytes);
    }
    return end != NULL ? (size_t)(end - rest.data) + 1 : rest.size;
}

static bool is_blank(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] > ' ') {
            return false;
        }
    }
    return true;
}

static enum err_code post_all(struct posting *posting, struct span contents, struct err *err)
{
    bool whole = posting->content_encoding != NULL ||
                 strcmp(posting->content_type, "application/x-ndjson") != 0;
    if (is_blank(contents)) {
        return err_set(err, ERR_INVALID, "%s holds no records", posting->file);
    }
    while (contents.size > 0) {
        size_t size = whole ? contents.size
                            : cut_lines(contents, (size_t)posting->arguments->batch_bytes);
        struct span body = span_of(contents.data, size);
        if (!is_blank(body)) {
            TRY(post_batch(posting, body, err));
        }
        contents = span_of(contents.data + size, contents.size - size);
    }
    draw(posting, posting->total_bytes, true);
    return ERR_OK;
}

/* ---- waiting ---- */

static enum err_code wait_for(struct posting *posting, const char *id, struct err *err)
{
    char path[128];
    char prefer[32];
    (void)snprintf(path, sizeof path, "/v1/batches/%.64s", id); /* ids are 36 characters */
    (void)snprintf(prefer, sizeof prefer, "Prefer: wait=%d", WAIT_SECONDS);
    struct client_call call = {.method = "GET", .path = path, .headers = {prefer},
                               .may_retry = true};
    for (;;) {
        CLEANUP(json_free) struct json *answer = NULL;
        int status = 0;
        TRY(client_send_json(posting->client, &call, &answer, &status, err));
        const char *state = json_text(json_get(answer, "state"));
        if (state != NULL && strcmp(state, "indexed") == 0) {
            posting->applied += count_of(answer, "applied");
            posting->superseded += count_of(answer, "superseded");
            posting->rejected_at_merge += count_of(answer, "rejected_at_merge");
            return ERR_OK;
        }
        if (state == NULL || strcmp(state, "failed") == 0) {
            return err_set(err, ERR_INVALID, "batch %s failed; see its dead letters", id);
        }
    }
}

static enum err_code wait_for_all(struct posting *posting, struct err *err)
{
    for (int64_t i = 0; i < posting->batches_count; i++) {
        TRY(wait_for(posting, posting->batch_ids[i], err));
    }
    return ERR_OK;
}

/* ---- report ---- */

static void report_json(const struct posting *posting, int64_t spent_us)
{
    struct json *report = json_new_object();
    struct json *ids = json_new_array();
    json_set_text(report, "table", posting->arguments->table);
    json_set_integer(report, "batches", posting->batches_count);
    json_set_integer(report, "received", posting->received);
    json_set_integer(report, "accepted", posting->accepted);
    json_set_integer(report, "rejected", posting->rejected);
    if (posting->arguments->wait) {
        json_set_integer(report, "applied", posting->applied);
        json_set_integer(report, "superseded", posting->superseded);
        json_set_integer(report, "rejected_at_merge", posting->rejected_at_merge);
    }
    json_set_integer(report, "duration_us", spent_us);
    for (int64_t i = 0; i < posting->batches_count; i++) {
        json_append(ids, json_new_text(posting->batch_ids[i]));
    }
    json_set(report, "batch_ids", ids);
    common_print_json(report);
    json_free(&report);
}

static void report(const struct posting *posting)
{
    int64_t spent_us = clock_monotonic_us() - posting->started_us + 1;
    if (posting->arguments->json) {
        report_json(posting, spent_us);
        return;
    }
    (void)printf("   %-14s %" PRId64 " records in %" PRId64 " batches: %" PRId64
                 " accepted, %" PRId64 " dead letters, %.0f records/s%s\n",
                 posting->arguments->table, posting->received, posting->batches_count,
                 posting->accepted, posting->rejected + posting->rejected_at_merge,
                 (double)posting->received * 1e6 / (double)spent_us,
                 posting->arguments->wait ? ", indexed" : "");
}

/* ---- the command ---- */

static bool ends_with(const char *text, size_t size, const char *suffix)
{
    size_t length = strlen(suffix);
    return size >= length && strncmp(text + size - length, suffix, length) == 0;
}

/* By suffix: records.csv.gz is CSV in gzip. */
static enum err_code choose_types(struct posting *posting, struct err *err)
{
    const char *name = posting->file;
    size_t size = strlen(name);
    if (ends_with(name, size, ".gz")) {
        posting->content_encoding = "gzip";
        size -= 3;
    } else if (ends_with(name, size, ".zst")) {
        posting->content_encoding = "zstd";
        size -= 4;
    }
    const char *type = posting->arguments->type;
    if (type == NULL) {
        type = ends_with(name, size, ".csv")    ? "csv"
               : ends_with(name, size, ".json") ? "json"
                                                : "ndjson";
    }
    if (strcmp(type, "csv") == 0) {
        posting->content_type = "text/csv";
    } else if (strcmp(type, "json") == 0) {
        posting->content_type = "application/json";
    } else if (strcmp(type, "ndjson") == 0) {
        posting->content_type = "application/x-ndjson";
    } else {
        return err_set(err, ERR_INVALID, "--type must be ndjson, json or csv");
    }
    return ERR_OK;
}

static enum err_code post(struct posting *posting, struct err *err)
{
    struct span contents = {0};
    TRY(choose_types(posting, err));
    TRY(client_open(&posting->arguments->target, &posting->client, err));
    TRY(file_map(posting->file, &contents, err));
    posting->total_bytes = (int64_t)contents.size;
    enum err_code code = post_all(posting, contents, err);
    file_unmap(&contents);
    TRY(code);
    if (posting->arguments->wait) {
        TRY(wait_for_all(posting, err));
    }
    report(posting);
    return ERR_OK;
}

static enum err_code run(const struct arguments *arguments, const char *file, struct err *err)
{
    if (arguments->table == NULL || arguments->batch_bytes < 1) {
        return err_set(err, ERR_INVALID, "post needs --table NAME, and --batch-bytes above 0");
    }
    struct posting posting = {
        .arguments = arguments,
        .file = file,
        .run = id_new_ordered(),
        .started_us = clock_monotonic_us(),
        .draws = isatty(STDERR_FILENO) == 1 && !arguments->json,
    };
    enum err_code code = post(&posting, err);
    client_close(&posting.client);
    for (int64_t i = 0; i < posting.batches_count; i++) {
        mem_free(posting.batch_ids[i]);
    }
    mem_free(posting.batch_ids);
    return code;
}

int cli_batch(int argc, char **argv)
{
    struct arguments arguments = {.batch_bytes = BATCH_BYTES_DEFAULT};
    struct words words;
    struct err err = {0};
    bool help = false;
    const struct option options[] = {
        {"table", &arguments.table, NULL, NULL, "NAME", "table to post to"},
        {"operation", &arguments.operation, NULL, NULL, "NAME", "upsert, patch, insert or delete"},
        {"type", &arguments.type, NULL, NULL, "TYPE", "ndjson, json or csv (default: by suffix)"},
        {"batch-bytes", NULL, &arguments.batch_bytes, NULL, "N",
         "of NDJSON in one batch (default 8388608)"},
        {"wait", NULL, NULL, &arguments.wait, NULL, "until every batch is indexed"},
        {"json", NULL, NULL, &arguments.json, NULL, "one JSON object at the end, no progress bar"},
        COMMON_TARGET_OPTIONS(arguments.target),
        {0},
    };
    if (options_read(argc, argv, options, &words, &help, &err) != ERR_OK) {
        return options_usage_error("batch", &err);
    }
    bool posts = words.count == 2 && strcmp(words.items[0], "post") == 0;
    if (help || !posts) {
        options_print_help("sluice batch post FILE --table NAME",
                           "Post records (NDJSON, a JSON array or CSV; .gz and .zst) to a running "
                           "server.",
                           options);
        return help ? EX_OK : EX_USAGE;
    }
    if (run(&arguments, words.items[1], &err) != ERR_OK) {
        return common_fail("batch", &err);
    }
    return EX_OK;
}
