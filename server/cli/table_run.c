/*
 * Operations on a whole table. See table_run.h.
 */
#include "server/cli/table_run.h"

#include "storage/base/id.h"
#include "storage/base/text.h"

#include <inttypes.h>
#include <string.h>

enum { PATH_BYTES_MAX = 4096, BODY_BYTES_MAX = 4096, HEADER_BYTES_MAX = 128 };

static const char *const verbs[] = {"restore", "optimize", "vacuum"};

bool table_run_has(const char *verb)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i], verb) == 0) {
            return true;
        }
    }
    return false;
}

/* "a,b" as an array of texts. */
static struct json *names_of(const char *list)
{
    struct json *names = json_new_array();
    for (const char *start = list;; start++) {
        size_t size = strcspn(start, ",");
        json_append(names, json_new_string(span_of((const uint8_t *)start, size)));
        start += size;
        if (*start == '\0') {
            return names;
        }
    }
}

static struct json *body_of(const char *verb, const struct table_run_options *options)
{
    struct json *body = json_new_object();
    if (strcmp(verb, "restore") == 0) {
        if (options->version >= 0) {
            json_set_integer(body, "version", options->version);
        }
        if (options->timestamp_us >= 0) {
            char moment[TEXT_TIMESTAMP_BYTES + 1] = "";
            (void)text_format_timestamp(options->timestamp_us, moment); /* NUL stays behind it */
            json_set_text(body, "timestamp", moment);
        }
    }
    if (strcmp(verb, "optimize") == 0 && options->sort_by != NULL) {
        json_set(body, "sort_by", names_of(options->sort_by));
    }
    if (strcmp(verb, "vacuum") == 0) {
        json_set_boolean(body, "dry_run", !options->apply);
        if (options->retention_seconds >= 0) {
            json_set_integer(body, "retention_seconds", options->retention_seconds);
        }
    }
    return body;
}

/* The key guards the tries of this call. */
static enum err_code start(struct client *client, const char *verb, const char *table,
                           const struct table_run_options *options, int64_t *run_id_out,
                           struct err *err)
{
    CLEANUP(json_free) struct json *body = body_of(verb, options);
    CLEANUP(json_free) struct json *answer = NULL;
    CLEANUP(buffer_deinit) struct buffer path;
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&path, PATH_BYTES_MAX);
    buffer_init(&text, BODY_BYTES_MAX);
    command_add_table(&path, table, "/");
    buffer_append_text(&path, verb);
    buffer_append_byte(&path, '\0');
    TRY(buffer_check(&path, "the table's name", err));
    json_write(body, &text);
    char key[HEADER_BYTES_MAX];
    struct id id = id_new_random();
    (void)snprintf(key, sizeof key, "Idempotency-Key: \"%s\"", id.text); /* fits */
    const struct client_request request = {
        .method = "POST",
        .path = (const char *)path.data,
        .content_type = "application/json",
        .body = buffer_span(&text),
        .headers = {key},
    };
    TRY(command_send(client, &request, &answer, NULL, err));
    *run_id_out = command_integer(answer, "run_id");
    return ERR_OK;
}

/* ---- what came of it ---- */

static void print_restore(const char *table, const struct json *values)
{
    bool committed = false;
    (void)json_as_boolean(json_get(values, "committed"), &committed);
    (void)printf(committed ? "%s has the rows of version %" PRId64 " again: version %" PRId64
                             ", %" PRId64 " files came back, %" PRId64 " went\n"
                           : "%s has the rows of version %" PRId64 " already, at version %" PRId64
                             "\n",
                 table, command_integer(values, "restored_version"),
                 command_integer(values, "version"), command_integer(values, "files_added"),
                 command_integer(values, "files_removed")); /* output */
}

static void print_values(const char *verb, const char *table, const struct json *values)
{
    bool dry = false;
    if (strcmp(verb, "restore") == 0) {
        print_restore(table, values);
        return;
    }
    if (strcmp(verb, "optimize") == 0) {
        (void)printf("%s: %" PRId64 " files became %" PRId64 ", %" PRId64 " dead rows purged\n",
                     table, command_integer(values, "files_removed"),
                     command_integer(values, "files_written"),
                     command_integer(values, "rows_purged")); /* output */
        return;
    }
    (void)json_as_boolean(json_get(values, "dry_run"), &dry);
    (void)printf(dry ? "%s: %" PRId64 " of %" PRId64 " files would go, %" PRId64
                       " bytes; --apply removes them\n"
                     : "%s: %" PRId64 " of %" PRId64 " files went, %" PRId64 " bytes\n",
                 table, command_integer(values, "files_removed"),
                 command_integer(values, "files_seen"),
                 command_integer(values, "bytes_removed")); /* output */
}

static const char *error_of(const struct json *task)
{
    const struct json *attempts = json_get(task, "attempts");
    size_t count = json_count(attempts);
    const struct json *last = count > 0 ? json_at(attempts, count - 1) : NULL;
    return command_text(json_get(last, "error"), "message");
}

enum err_code table_run(const struct command *command, struct client *client, const char *verb,
                        const char *table, const struct table_run_options *options,
                        bool *success_out, struct err *err)
{
    int64_t run_id = 0;
    CLEANUP(json_free) struct json *run = NULL;
    TRY(start(client, verb, table, options, &run_id, err));
    (void)fprintf(stderr, "run %" PRId64 "\n", run_id); /* for people */
    TRY(run_watch(command, client, run_id, RUN_WATCH_SILENT, success_out, err));
    TRY(run_fetch(client, run_id, &run, err));
    const struct json *task = json_at(json_get(run, "tasks"), 0);
    if (command->json) {
        command_print(command, task);
    } else if (*success_out) {
        print_values(verb, table, json_get(task, "values"));
    }
    if (!*success_out) {
        (void)fprintf(stderr, "%s: run %" PRId64 " %s: %s\n", command->name, run_id,
                      command_text(run, "result"), error_of(task)); /* said by the exit code, too */
    }
    return ERR_OK;
}
