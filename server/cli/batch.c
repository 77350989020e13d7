/*
 * `sluice batch post`: a file of records as one batch or, when it is large, as a
 * run of batches cut at record ends. Each carries an Idempotency-Key made of the
 * file's hash and the cut, so that the command may be repeated after any failure.
 */
#include "server/cli/command.h"

#include "storage/base/file.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 8 << 20, /* of records in one batch */
    BATCHES_MAX = 100000,  /* of one file */
    PATH_BYTES_MAX = 4096,
    WAIT_SECONDS = 30, /* of one request; repeated until the batch is indexed */
    BAR_CELLS = 30,
};

static const char help[] =
    "Usage: sluice batch post FILE --table TABLE [options]\n"
    "\n"
    "Post records: NDJSON (.ndjson, .jsonl), a JSON array (.json) or CSV with a header\n"
    "line (.csv), optionally compressed (.gz, .zst). Large NDJSON and CSV files go as\n"
    "several batches. Repeating the command posts nothing twice.\n"
    "\n"
    "  --table TABLE        where the records go\n"
    "  --operation OP       upsert, patch, insert or delete for records without _op\n"
    "  --wait               wait until everything is visible to lookups\n"
    "  --strict             refuse a batch with any broken record\n" COMMAND_CONNECTION_HELP;

/* What the command line asked for. */
struct arguments {
    struct command command;
    const char *table;
    const char *operation;
    bool wait;
    bool strict;
};

/* A file's form, told by its name. */
struct form {
    const char *content_type;
    const char *encoding; /* NULL = plain */
    bool cut_at_lines;    /* may be cut into several batches */
    bool has_header;      /* each piece needs the first line */
};

/* What has become of the records so far. */
struct totals {
    int64_t batches, received, accepted, rejected, applied, superseded, rejected_at_merge;
    int64_t version;
    char **ids; /* of the batches */
};

static bool parse(struct arguments *arguments, int argc, char **argv)
{
    static const struct option options[] = {
        {"table", required_argument, NULL, 't'},
        {"operation", required_argument, NULL, 'o'},
        {"wait", no_argument, NULL, 'w'},
        {"strict", no_argument, NULL, 's'},
        COMMAND_CONNECTION_OPTIONS,
        {0},
    };
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        switch (option) {
        case -1:
            return true;
        case 't':
            arguments->table = optarg;
            break;
        case 'o':
            arguments->operation = optarg;
            break;
        case 'w':
            arguments->wait = true;
            break;
        case 's':
            arguments->strict = true;
            break;
        default:
            if (!command_take_option(&arguments->command, option, optarg)) {
                return false;
            }
        }
    }
}

static bool ends_with(const char *name, size_t size, const char *suffix)
{
    size_t length = strlen(suffix);
    return size > length && strncasecmp(name + size - length, suffix, length) == 0;
}

static enum err_code form_of(const char *name, struct form *form_out, struct err *err)
{
    size_t size = strlen(name);
    struct form form = {0};
    if (ends_with(name, size, ".gz")) {
        form.encoding = "gzip";
        size -= 3;
    } else if (ends_with(name, size, ".zst")) {
        form.encoding = "zstd";
        size -= 4;
    }
    if (ends_with(name, size, ".csv")) {
        form.content_type = "text/csv";
        form.has_header = true;
    } else if (ends_with(name, size, ".json")) {
        form.content_type = "application/json";
    } else if (ends_with(name, size, ".ndjson") || ends_with(name, size, ".jsonl")) {
        form.content_type = "application/x-ndjson";
    } else {
        return err_set(err, ERR_INVALID,
                       "%s: the name must end in .ndjson, .jsonl, .json or .csv, perhaps with .gz "
                       "or .zst behind it",
                       name);
    }
    form.cut_at_lines = form.encoding == NULL && strcmp(form.content_type, "application/json") != 0;
    *form_out = form;
    return ERR_OK;
}

/* Where the piece that starts at `start` ends: behind a record, at least one record on. */
static size_t cut(const struct form *form, struct span file, size_t start)
{
    if (!form->cut_at_lines || file.size - start <= CHUNK_BYTES) {
        return file.size;
    }
    bool quoted = false; /* CSV: inside quotes a line end belongs to the value */
    size_t end = start;
    for (size_t i = start; i < file.size; i++) {
        uint8_t byte = file.data[i];
        quoted = form->has_header && byte == '"' ? !quoted : quoted;
        if (byte == '\n' && !quoted) {
            if (i + 1 - start > CHUNK_BYTES && end > start) {
                return end;
            }
            end = i + 1;
        }
    }
    return file.size;
}

static size_t header_size(const struct form *form, struct span file)
{
    if (!form->has_header || !form->cut_at_lines) {
        return 0;
    }
    const uint8_t *end = file.size > 0 ? memchr(file.data, '\n', file.size) : NULL;
    return end != NULL ? (size_t)(end - file.data) + 1 : file.size;
}

static void show_progress(const struct arguments *arguments, size_t done, size_t total,
                          const struct totals *totals)
{
    if (arguments->command.json || isatty(STDERR_FILENO) != 1) {
        return;
    }
    int cells = total > 0 ? (int)(done * BAR_CELLS / total) : BAR_CELLS;
    (void)fprintf(stderr, "\r   %-14s [%.*s%*s] %3d %% %9" PRId64 " records", arguments->table,
                  cells, "##############################", BAR_CELLS - cells, "",
                  total > 0 ? (int)(done * 100 / total) : 100,
                  totals->received); /* progress only */
}

static void path_of(const struct arguments *arguments, struct buffer *path)
{
    command_add_table(path, arguments->table, "/batches");
    const char *separator = "?";
    if (arguments->operation != NULL) {
        buffer_append_text(path, "?operation=");
        text_percent_encode(span_of_text(arguments->operation), "", path);
        separator = "&";
    }
    if (arguments->strict) {
        buffer_append_format(path, "%shandling=strict", separator);
    }
    buffer_append_byte(path, '\0');
}

static void add_counts(const struct json *receipt, struct totals *totals)
{
    const struct json *records = json_get(receipt, "records");
    totals->received += command_integer(records, "received");
    totals->accepted += command_integer(records, "accepted");
    totals->rejected += command_integer(records, "rejected");
}

static enum err_code post_piece(const struct arguments *arguments, struct client *client,
                                const struct form *form, struct span body, const char *key,
                                struct totals *totals, struct err *err)
{
    struct buffer path;
    buffer_init(&path, PATH_BYTES_MAX);
    path_of(arguments, &path);
    char key_header[128];
    char encoding_header[64];
    (void)snprintf(key_header, sizeof key_header, "Idempotency-Key: \"%s\"", key); /* fits */
    struct client_request request = {
        .method = "POST",
        .path = (const char *)path.data,
        .content_type = form->content_type,
        .body = body,
        .headers = {key_header},
    };
    if (form->encoding != NULL) {
        (void)snprintf(encoding_header, sizeof encoding_header, "Content-Encoding: %s",
                       form->encoding); /* fits */
        request.headers[1] = encoding_header;
    }
    struct client_answer answer = {0};
    enum err_code code = client_call(client, &request, &answer, err);
    buffer_deinit(&path);
    TRY(code);
    CLEANUP(json_free) struct json *receipt = NULL;
    code = client_check(&answer, err);
    if (code == ERR_OK) {
        code = json_parse(buffer_span(&answer.body), &receipt, err);
    }
    buffer_deinit(&answer.body);
    TRY(code);
    add_counts(receipt, totals);
    totals->ids[totals->batches++] = mem_copy_text(command_text(receipt, "batch_id"));
    return ERR_OK;
}

/* A name for the piece that only this content at this place of this file has. */
static void key_of(const uint8_t digest[HASH_SHA256_BYTES], size_t start, char key_out[80])
{
    struct buffer text;
    buffer_init(&text, 80);
    text_hex_encode(span_of(digest, HASH_SHA256_BYTES / 2), &text);
    buffer_append_format(&text, "-%zu", start);
    buffer_append_byte(&text, '\0');
    memcpy(key_out, text.data, text.size);
    buffer_deinit(&text);
}

static enum err_code post_file(const struct arguments *arguments, struct client *client,
                               const struct form *form, struct span file, struct totals *totals,
                               struct err *err)
{
    uint8_t digest[HASH_SHA256_BYTES];
    hash_sha256(file, digest);
    size_t header = header_size(form, file);
    size_t start = header;
    struct buffer piece;
    buffer_init(&piece, SIZE_MAX);
    enum err_code code = ERR_OK;
    do {
        size_t end = cut(form, file, start);
        buffer_reset(&piece);
        buffer_append(&piece, file.data, header);
        buffer_append(&piece, file.data + start, end - start);
        char key[80];
        key_of(digest, start, key);
        show_progress(arguments, start, file.size, totals);
        if (totals->batches >= BATCHES_MAX) {
            code = err_set(err, ERR_TOO_LARGE, "the file needs more than %d batches; split it",
                           BATCHES_MAX);
        } else {
            code = post_piece(arguments, client, form, buffer_span(&piece), key, totals, err);
        }
        start = end;
    } while (code == ERR_OK && start < file.size);
    buffer_deinit(&piece);
    if (code == ERR_OK) {
        show_progress(arguments, file.size, file.size, totals);
    }
    return code;
}

/* Ask for one batch until it is indexed or failed. */
static enum err_code wait_for(struct client *client, const char *id, struct totals *totals,
                              struct err *err)
{
    char path[128];
    (void)snprintf(path, sizeof path, "/v1/batches/%s", id); /* ids are short */
    char prefer[32];
    (void)snprintf(prefer, sizeof prefer, "Prefer: wait=%d", WAIT_SECONDS); /* fits */
    for (;;) {
        const struct client_request request = {.method = "GET", .path = path, .headers = {prefer}};
        struct client_answer answer = {0};
        TRY(client_call(client, &request, &answer, err));
        CLEANUP(json_free) struct json *receipt = NULL;
        enum err_code code = client_check(&answer, err);
        if (code == ERR_OK) {
            code = json_parse(buffer_span(&answer.body), &receipt, err);
        }
        buffer_deinit(&answer.body);
        TRY(code);
        const char *state = command_text(receipt, "state");
        if (strcmp(state, "failed") == 0) {
            return err_set(err, ERR_INVALID, "batch %s failed; see %s/errors and the dead letters",
                           id, path);
        }
        if (strcmp(state, "indexed") == 0) {
            const struct json *records = json_get(receipt, "records");
            totals->applied += command_integer(records, "applied");
            totals->superseded += command_integer(records, "superseded");
            totals->rejected_at_merge += command_integer(records, "rejected_at_merge");
            totals->version = command_integer(receipt, "version");
            return ERR_OK;
        }
    }
}

static enum err_code wait_for_all(struct client *client, struct totals *totals, struct err *err)
{
    for (int64_t i = 0; i < totals->batches; i++) {
        TRY(wait_for(client, totals->ids[i], totals, err));
    }
    return ERR_OK;
}

static void print_totals(const struct arguments *arguments, const struct totals *totals,
                         double seconds)
{
    if (arguments->command.json) {
        (void)printf("{\"table\":\"%s\",\"batches\":%" PRId64 ",\"received\":%" PRId64
                     ",\"accepted\":%" PRId64 ",\"rejected\":%" PRId64,
                     arguments->table, totals->batches, totals->received, totals->accepted,
                     totals->rejected); /* output */
        if (arguments->wait) {
            (void)printf(",\"applied\":%" PRId64 ",\"superseded\":%" PRId64
                         ",\"rejected_at_merge\":%" PRId64 ",\"version\":%" PRId64,
                         totals->applied, totals->superseded, totals->rejected_at_merge,
                         totals->version); /* output */
        }
        (void)printf(",\"seconds\":%.3f}\n", seconds); /* output */
        return;
    }
    if (isatty(STDERR_FILENO) == 1) {
        (void)fprintf(stderr, "\r%78s\r", ""); /* clear the progress bar */
    }
    (void)printf("   %-14s %9" PRId64 " records in %" PRId64 " batches: %" PRId64
                 " accepted, %" PRId64 " dead letters",
                 arguments->table, totals->received, totals->batches, totals->accepted,
                 totals->rejected + totals->rejected_at_merge); /* output */
    if (arguments->wait) {
        (void)printf(", version %" PRId64, totals->version); /* output */
    }
    (void)printf(", %.2f s\n", seconds); /* output */
}

static double now_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static enum err_code run(const struct arguments *arguments, const char *name, struct err *err)
{
    struct form form = {0};
    TRY(form_of(name, &form, err));
    CLEANUP(client_close) struct client *client = NULL;
    TRY(client_open(&arguments->command.client, &client, err));
    struct span file = {0};
    TRY(file_map(name, &file, err));
    struct totals totals = {.ids = mem_zeroed(BATCHES_MAX, sizeof(char *))};
    double started = now_seconds();
    enum err_code code = post_file(arguments, client, &form, file, &totals, err);
    if (code == ERR_OK && arguments->wait) {
        code = wait_for_all(client, &totals, err);
    }
    if (code == ERR_OK) {
        print_totals(arguments, &totals, now_seconds() - started);
    }
    for (int64_t i = 0; i < totals.batches; i++) {
        mem_free(totals.ids[i]);
    }
    mem_free(totals.ids);
    file_unmap(&file);
    return code;
}

int cli_batch(int argc, char **argv)
{
    struct arguments arguments = {.command = {.name = "sluice batch", .help = help}};
    if (!parse(&arguments, argc, argv) || arguments.command.help_wanted || argc != optind + 2 ||
        strcmp(argv[optind], "post") != 0 || arguments.table == NULL) {
        return command_usage(&arguments.command);
    }
    struct err err = {0};
    return run(&arguments, argv[optind + 1], &err) == ERR_OK
               ? EX_OK
               : command_fail(&arguments.command, &err);
}
