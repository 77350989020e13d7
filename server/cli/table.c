/*
 * Tables for people and scripts. With a server (--url, or DIR/endpoint) everything
 * goes through the API; rows and history also read a folder directly: a path, or
 * DIR/tables/NAME while no server runs.
 */
#include "server/cli/table.h"

#include "server/cli/common.h"
#include "server/cli/folder.h"
#include "server/instance.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum {
    TABLE_PATH_BYTES_MAX = 16 << 10,
    ROWS_PAGE = 10000,
    ROWS_LIMIT_DEFAULT = 100,
    HISTORY_PAGE = 1000,
    HISTORY_LIMIT_DEFAULT = 100,
};

struct arguments {
    struct client_target target;
    const char *verb;
    const char *name; /* table or folder */
    const char *columns;
    const char *filter;
    int64_t limit;   /* -1 = the verb's default, 0 = all */
    int64_t version; /* -1 = the newest */
    bool count;
    bool json;
};

/* ---- the API ---- */

/* "/v1/tables/NAME<what>" */
static void begin_path(struct buffer *path, const struct arguments *arguments, const char *what)
{
    buffer_reset(path);
    buffer_append_text(path, "/v1/tables/");
    client_escape(path, arguments->name);
    buffer_append_text(path, what);
}

static void add_query(struct buffer *path, const char *name, const char *value)
{
    bool first = memchr(path->data, '?', path->size) == NULL;
    buffer_append_format(path, "%s%s=", first ? "?" : "&", name);
    client_escape(path, value);
}

static void add_number(struct buffer *path, const char *name, int64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRId64, value); /* fits */
    add_query(path, name, text);
}

static enum err_code get(struct client *client, struct buffer *path, struct json **answer_out,
                         struct err *err)
{
    int status = 0;
    buffer_append_byte(path, '\0');
    TRY(buffer_check(path, "path", err));
    struct client_call call = {.method = "GET", .path = (const char *)path->data,
                               .may_retry = true};
    json_free(answer_out);
    return client_send_json(client, &call, answer_out, &status, err);
}

static enum err_code list_tables(struct client *client, const struct arguments *arguments,
                                 struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer path;
    CLEANUP(json_free) struct json *answer = NULL;
    const char *next = NULL;
    buffer_init(&path, TABLE_PATH_BYTES_MAX);
    do {
        buffer_reset(&path);
        buffer_append_text(&path, "/v1/tables?limit=1000");
        if (next != NULL) {
            add_query(&path, "page_token", next);
        }
        TRY(get(client, &path, &answer, err));
        const struct json *tables = json_get(answer, "tables");
        for (size_t i = 0; i < json_count(tables); i++) {
            const struct json *table = json_at(tables, i);
            char version[32];
            char rows[32];
            if (arguments->json) {
                common_print_json(table);
            } else {
                (void)printf("%-32s version %-8s %12s rows  %s\n",
                             common_text(table, "name", version, sizeof version),
                             common_text(table, "version", version, sizeof version),
                             common_text(table, "rows", rows, sizeof rows),
                             common_text(table, "merge", rows, sizeof rows));
            }
        }
        next = json_text(json_get(answer, "next_page_token"));
    } while (next != NULL);
    return ERR_OK;
}

static enum err_code show_table(struct client *client, const struct arguments *arguments,
                                struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer path;
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(json_free) struct json *answer = NULL;
    buffer_init(&path, TABLE_PATH_BYTES_MAX);
    buffer_init(&text, CLIENT_ANSWER_BYTES_MAX);
    begin_path(&path, arguments, "");
    TRY(get(client, &path, &answer, err));
    if (arguments->json) {
        common_print_json(answer);
    } else {
        json_write_pretty(answer, &text);
        (void)printf("%.*s\n", SPAN_PRINT(buffer_span(&text)));
    }
    return ERR_OK;
}

/* One page of rows; the version of the first page is that of the listing. */
static enum err_code get_rows(struct client *client, const struct arguments *arguments,
                              int64_t limit, const char *next, struct json **answer,
                              struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer path;
    CLEANUP(mem_cleanup) char *token = next != NULL ? mem_copy_text(next) : NULL;
    buffer_init(&path, TABLE_PATH_BYTES_MAX);
    begin_path(&path, arguments, "/rows");
    add_number(&path, "limit", limit);
    if (arguments->columns != NULL) {
        add_query(&path, "columns", arguments->columns);
    }
    if (arguments->filter != NULL) {
        add_query(&path, "filter", arguments->filter);
    }
    if (arguments->version >= 0) {
        add_number(&path, "version", arguments->version);
    }
    if (token != NULL) {
        add_query(&path, "page_token", token);
    }
    return get(client, &path, answer, err);
}

static enum err_code list_rows(struct client *client, const struct arguments *arguments,
                               int64_t limit, struct err *err)
{
    CLEANUP(json_free) struct json *answer = NULL;
    const char *next = NULL;
    int64_t printed = 0;
    int64_t version = -1;
    do {
        int64_t page = limit - printed < ROWS_PAGE ? limit - printed : ROWS_PAGE;
        TRY(get_rows(client, arguments, page, next, &answer, err));
        const struct json *rows = json_get(answer, "rows");
        for (size_t i = 0; !arguments->count && i < json_count(rows); i++) {
            common_print_json(json_at(rows, i));
        }
        printed += (int64_t)json_count(rows);
        if (!json_integer(json_get(answer, "version"), &version)) {
            return err_set(err, ERR_UNSUPPORTED, "the answer names no version");
        }
        next = json_text(json_get(answer, "next_page_token"));
    } while (next != NULL && printed < limit);
    if (arguments->count) {
        (void)printf("{\"version\":%" PRId64 ",\"count\":%" PRId64 "}\n", version, printed);
    }
    return ERR_OK;
}

static enum err_code list_history(struct client *client, const struct arguments *arguments,
                                  int64_t limit, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer path;
    CLEANUP(json_free) struct json *answer = NULL;
    const char *next = NULL;
    int64_t printed = 0;
    buffer_init(&path, TABLE_PATH_BYTES_MAX);
    do {
        begin_path(&path, arguments, "/history");
        add_number(&path, "limit", limit - printed < HISTORY_PAGE ? limit - printed : HISTORY_PAGE);
        if (next != NULL) {
            add_query(&path, "page_token", next);
        }
        TRY(get(client, &path, &answer, err));
        const struct json *versions = json_get(answer, "versions");
        for (size_t i = 0; i < json_count(versions); i++) {
            const struct json *entry = json_at(versions, i);
            char number[32];
            char rows[32];
            if (arguments->json) {
                common_print_json(entry);
            } else {
                (void)printf("%8s  %s  %-12s %s\n",
                             common_text(entry, "version", number, sizeof number),
                             common_text(entry, "timestamp", rows, sizeof rows),
                             common_text(entry, "operation", rows, sizeof rows),
                             common_text(entry, "engine", rows, sizeof rows));
            }
        }
        printed += (int64_t)json_count(versions);
        next = json_text(json_get(answer, "next_page_token"));
    } while (next != NULL && printed < limit);
    return ERR_OK;
}

/* ---- the command ---- */

static int64_t limit_of(const struct arguments *arguments, int64_t initial)
{
    if (arguments->count || arguments->limit == 0) {
        return INT64_MAX;
    }
    return arguments->limit > 0 ? arguments->limit : initial;
}

/* A server holds the lock of its directory; a stale endpoint file says nothing. */
static bool server_runs(const char *data)
{
    CLEANUP(file_close) int fd = -1;
    struct err err = {0};
    return instance_lock(data, &fd, &err) == ERR_BUSY;
}

/* The folder to read directly, or NULL when a server is to be asked. */
static char *find_folder(const struct arguments *arguments)
{
    if (strchr(arguments->name, '/') != NULL || folder_is_table(arguments->name)) {
        return mem_copy_text(arguments->name);
    }
    const char *data = arguments->target.data != NULL ? arguments->target.data : "data";
    CLEANUP(mem_cleanup) char *tables = file_join(data, "tables");
    char *folder = file_join(tables, arguments->name);
    bool asks = arguments->target.url != NULL || getenv("SLUICE_URL") != NULL ||
                server_runs(data) || !folder_is_table(folder);
    if (asks) {
        mem_free(folder);
        return NULL;
    }
    return folder;
}

static enum err_code run_on_folder(const struct arguments *arguments, const char *folder,
                                   struct err *err)
{
    if (arguments->filter != NULL) {
        return err_set(err, ERR_INVALID, "--filter needs a running server");
    }
    if (strcmp(arguments->verb, "history") == 0) {
        return folder_print_history(folder, limit_of(arguments, HISTORY_LIMIT_DEFAULT),
                                    arguments->json, err);
    }
    struct folder_rows request = {
        .version = arguments->version,
        .limit = limit_of(arguments, ROWS_LIMIT_DEFAULT),
        .columns = arguments->columns,
        .count = arguments->count,
    };
    return folder_print_rows(folder, &request, err);
}

static enum err_code run(const struct arguments *arguments, struct err *err)
{
    bool reads = strcmp(arguments->verb, "rows") == 0 || strcmp(arguments->verb, "history") == 0;
    CLEANUP(mem_cleanup) char *folder = reads ? find_folder(arguments) : NULL;
    if (folder != NULL) {
        return run_on_folder(arguments, folder, err);
    }
    CLEANUP(client_close) struct client *client = NULL;
    TRY(client_open(&arguments->target, &client, err));
    if (strcmp(arguments->verb, "list") == 0) {
        return list_tables(client, arguments, err);
    }
    if (strcmp(arguments->verb, "show") == 0) {
        return show_table(client, arguments, err);
    }
    if (strcmp(arguments->verb, "rows") == 0) {
        return list_rows(client, arguments, limit_of(arguments, ROWS_LIMIT_DEFAULT), err);
    }
    return list_history(client, arguments, limit_of(arguments, HISTORY_LIMIT_DEFAULT), err);
}

static bool set_verb(struct arguments *arguments, const struct words *words)
{
    static const char *const verbs[] = {"list", "show", "rows", "history"};
    for (size_t i = 0; words->count > 0 && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(words->items[0], verbs[i]) == 0) {
            arguments->verb = verbs[i];
        }
    }
    arguments->name = words->count > 1 ? words->items[1] : "";
    return arguments->verb != NULL && words->count == (strcmp(arguments->verb, "list") == 0 ? 1 : 2);
}

int cli_table(int argc, char **argv)
{
    struct arguments arguments = {.limit = -1, .version = -1};
    struct words words;
    struct err err = {0};
    bool help = false;
    const struct option options[] = {
        {"limit", NULL, &arguments.limit, NULL, "N", "rows or versions; 0 = all (default 100)"},
        {"columns", &arguments.columns, NULL, NULL, "A,B", "only these columns"},
        {"filter", &arguments.filter, NULL, NULL, "COLUMN:OP:VALUE", "only rows that match"},
        {"version", NULL, &arguments.version, NULL, "N", "rows as of this version"},
        {"count", NULL, NULL, &arguments.count, NULL, "count rows instead of printing them"},
        {"json", NULL, NULL, &arguments.json, NULL, "one JSON object a line (rows always are)"},
        COMMON_TARGET_OPTIONS(arguments.target),
        {0},
    };
    if (options_read(argc, argv, options, &words, &help, &err) != ERR_OK) {
        return options_usage_error("table", &err);
    }
    if (help || !set_verb(&arguments, &words)) {
        options_print_help("sluice table list | show NAME | rows NAME|FOLDER | history NAME|FOLDER",
                           "Look at tables. A folder may be any Delta table's.", options);
        return help ? EX_OK : EX_USAGE;
    }
    if (run(&arguments, &err) != ERR_OK) {
        return common_fail("table", &err);
    }
    return EX_OK;
}
