/*
 * `sluice table`: tables of a server, and of any Delta table folder.
 *
 * `rows` and `history` of a folder need no server: they read the log and the
 * data files themselves.
 */
#include "server/cli/command.h"
#include "server/cli/table_file.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/encode_json.h"
#include "storage/object/object.h"
#include "storage/snapshot/history.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/snapshot.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

enum {
    PATH_BYTES_MAX = 65536,
    PAGE_ROWS = 10000,
    ROW_BYTES_MAX = 256 << 20, /* one page as JSON */
    NAMES_MAX = SCHEMA_FIELDS_MAX,
};

static const char help[] =
    "Usage: sluice table list\n"
    "       sluice table show TABLE\n"
    "       sluice table rows TABLE|FOLDER|FILE [--version N] [--columns A,B] [--limit N] "
    "[--count]\n"
    "       sluice table history TABLE|FOLDER [--limit N]\n"
    "\n"
    "A FOLDER is any Delta table on this machine, whoever wrote it, and a FILE any Parquet\n"
    "file; its name has a slash or a dot. They are read without a server. Rows are printed\n"
    "as one JSON object a line.\n"
    "\n"
    "  --version N          as of this version, default the newest\n"
    "  --columns A,B        only these columns\n"
    "  --limit N            at most so many rows or versions, default all\n"
    "  --count              only the number of rows\n" COMMAND_CONNECTION_HELP;

/* What the command line asked for. */
struct arguments {
    struct command command;
    int64_t version;
    int64_t limit;
    const char *columns;
    bool count;
};

static bool parse_number(const char *text, int64_t *number_out)
{
    return text_parse_int64(span_of_text(text), number_out) && *number_out >= 0;
}

static bool parse(struct arguments *arguments, int argc, char **argv)
{
    static const struct option options[] = {
        {"version", required_argument, NULL, 'v'},
        {"columns", required_argument, NULL, 'c'},
        {"limit", required_argument, NULL, 'l'},
        {"count", no_argument, NULL, 'n'},
        COMMAND_CONNECTION_OPTIONS,
        {0},
    };
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        bool good = true;
        switch (option) {
        case -1:
            return true;
        case 'v':
            good = parse_number(optarg, &arguments->version);
            break;
        case 'l':
            good = parse_number(optarg, &arguments->limit);
            break;
        case 'c':
            arguments->columns = optarg;
            break;
        case 'n':
            arguments->count = true;
            break;
        default:
            good = command_take_option(&arguments->command, option, optarg);
            break;
        }
        if (!good) {
            return false;
        }
    }
}

static bool is_folder(const char *name)
{
    CLEANUP(mem_cleanup) char *log = file_join(name, "_delta_log");
    return file_exists(log);
}

static void print_count(const struct command *command, int64_t count, int64_t version)
{
    if (command->json) {
        (void)printf("{\"version\":%" PRId64 ",\"count\":%" PRId64 "}\n", version,
                     count); /* output */
    } else {
        (void)printf("%" PRId64 "\n", count); /* output */
    }
}

/* ---- folders ---- */

static enum err_code mask_of(const char *columns, const struct schema *schema, bool *mask,
                             const bool **mask_out, struct err *err)
{
    *mask_out = NULL;
    if (columns == NULL) {
        return ERR_OK;
    }
    const char *name = columns;
    for (;;) {
        size_t size = strcspn(name, ",");
        int index = schema_field_index(schema, span_of(name, size));
        if (index < 0) {
            return err_set(err, ERR_INVALID, "--columns: the table has no column '%.*s'", (int)size,
                           name);
        }
        mask[index] = true;
        if (name[size] == '\0') {
            break;
        }
        name += size + 1;
    }
    *mask_out = mask;
    return ERR_OK;
}

static void print_frame(const struct frame *frame, const bool *mask)
{
    struct buffer text;
    buffer_init(&text, ROW_BYTES_MAX);
    for (int64_t row = 0; row < frame->rows_count; row++) {
        encode_json_row(frame, row, mask, &text);
        buffer_append_byte(&text, '\n');
        if (text.size > PATH_BYTES_MAX) {
            (void)fwrite(text.data, 1, text.size, stdout); /* output */
            buffer_reset(&text);
        }
    }
    (void)fwrite(text.data, 1, text.size, stdout); /* output */
    buffer_deinit(&text);
}

/* The table is there, a file that its log names is not: it is the table that is broken. */
static enum err_code not_whole(struct err *err)
{
    if (err->code != ERR_NOT_FOUND) {
        return err->code;
    }
    err->code = ERR_CORRUPT;
    return err_wrap(err, "the table is not whole (a later vacuum took files of this version, or "
                         "they were not copied with it)");
}

static enum err_code folder_rows(const struct arguments *arguments, const char *folder,
                                 struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    TRY(snapshot_open_folder(folder, arguments->version, &snapshot, err));
    bool flags[NAMES_MAX] = {false};
    const bool *mask = NULL;
    TRY(mask_of(arguments->columns, snapshot->schema, flags, &mask, err));
    int64_t left = arguments->limit >= 0 ? arguments->limit : INT64_MAX;
    int64_t count = 0;
    struct scan_request request = {.columns = mask};
    bool done = false;
    while (!done && left > 0) {
        request.limit = left < PAGE_ROWS ? left : PAGE_ROWS;
        CLEANUP(scan_result_deinit) struct scan_result result = {0};
        if (scan_run(snapshot, &request, &result, err) != ERR_OK) {
            return not_whole(err);
        }
        if (!arguments->count) {
            print_frame(result.frame, mask);
        }
        count += result.frame->rows_count;
        left -= result.frame->rows_count;
        request.start = result.next;
        done = result.done;
    }
    if (arguments->count) {
        print_count(&arguments->command, count, snapshot->version);
    }
    return ERR_OK;
}

static void print_version(const struct command *command, int64_t version, int64_t timestamp_us,
                          const char *operation, const char *engine, int64_t rows_added)
{
    char moment[TEXT_TIMESTAMP_BYTES];
    size_t size = text_format_timestamp(timestamp_us, moment);
    if (command->json) {
        struct buffer text;
        buffer_init(&text, PATH_BYTES_MAX);
        buffer_append_format(
            &text, "{\"version\":%" PRId64 ",\"timestamp\":\"%.*s\",\"operation\":", version,
            (int)size, moment);
        json_write_string(&text, span_of_text(operation));
        buffer_append_text(&text, ",\"engine\":");
        json_write_string(&text, span_of_text(engine));
        buffer_append_format(&text, ",\"rows_added\":%" PRId64 "}", rows_added);
        (void)printf("%.*s\n", SPAN_PRINT(buffer_span(&text))); /* output */
        buffer_deinit(&text);
    } else {
        (void)printf("%8" PRId64 "  %.*s  %-16s %-20s %10" PRId64 "\n", version, (int)size, moment,
                     operation, engine, rows_added); /* output */
    }
}

static enum err_code folder_history(const struct arguments *arguments, const char *folder,
                                    struct err *err)
{
    CLEANUP(object_store_close) struct object_store *store = NULL;
    TRY(object_store_open_local(folder, &store, err));
    int64_t left = arguments->limit >= 0 ? arguments->limit : INT64_MAX;
    int64_t before = -1;
    bool more = true;
    while (more && left > 0) {
        CLEANUP(history_free) struct history history = {0};
        size_t limit = left < HISTORY_LIMIT_MAX ? (size_t)left : HISTORY_LIMIT_MAX;
        TRY(history_read(store, before, limit, &history, err));
        for (size_t i = 0; i < history.count; i++) {
            const struct history_entry *entry = &history.entries[i];
            print_version(&arguments->command, entry->version, entry->timestamp_ms * 1000,
                          entry->operation, entry->engine, entry->rows_added);
            before = entry->version;
        }
        left -= (int64_t)history.count;
        more = history.more && history.count > 0;
    }
    return ERR_OK;
}

/* ---- files ---- */

static enum err_code file_rows(const struct arguments *arguments, const char *path, struct err *err)
{
    if (arguments->version >= 0) {
        return err_set(err, ERR_INVALID, "--version: %s is a file, which has no versions", path);
    }
    const struct table_file_options options = {.columns = arguments->columns,
                                               .limit = arguments->limit,
                                               .count = arguments->count,
                                               .json = arguments->command.json};
    return table_file_rows(path, &options, err);
}

/* ---- tables of a server ---- */

/* A listing being printed. */
struct listing {
    const struct arguments *arguments;
    int64_t count; /* items seen */
};

static bool is_wanted(const struct listing *listing)
{
    return listing->arguments->limit < 0 || listing->count < listing->arguments->limit;
}

static bool print_table(const struct json *item, struct span text, void *arg)
{
    const struct listing *listing = arg;
    if (listing->arguments->command.json) {
        (void)printf("%.*s\n", SPAN_PRINT(text)); /* output */
    } else {
        (void)printf("%-32s version %-8" PRId64 " %12" PRId64 " rows  %s\n",
                     command_text(item, "name"), command_integer(item, "version"),
                     command_integer(item, "rows"), command_text(item, "merge")); /* output */
    }
    return true;
}

static bool print_row(struct span text, void *arg)
{
    struct listing *listing = arg;
    if (!listing->arguments->count) {
        (void)printf("%.*s\n", SPAN_PRINT(text)); /* output */
    }
    listing->count++;
    return is_wanted(listing);
}

static bool print_entry(const struct json *item, struct span text, void *arg)
{
    struct listing *listing = arg;
    (void)text; /* printed for people */
    int64_t timestamp_us = 0;
    (void)text_parse_timestamp(span_of_text(command_text(item, "timestamp")),
                               &timestamp_us); /* 0 then */
    print_version(&listing->arguments->command, command_integer(item, "version"), timestamp_us,
                  command_text(item, "operation"), command_text(item, "engine"),
                  command_integer(item, "rows_added"));
    listing->count++;
    return is_wanted(listing);
}

static enum err_code server_rows(const struct arguments *arguments, struct client *client,
                                 const char *table, struct err *err)
{
    if (arguments->limit == 0) {
        return ERR_OK;
    }
    struct buffer path;
    buffer_init(&path, PATH_BYTES_MAX);
    buffer_append_text(&path, "/v1/tables/");
    text_percent_encode(span_of_text(table), "", &path);
    buffer_append_format(&path, "/rows?limit=%d", PAGE_ROWS);
    if (arguments->version >= 0) {
        buffer_append_format(&path, "&version=%" PRId64, arguments->version);
    }
    if (arguments->columns != NULL) {
        command_add_parameter(&path, "columns", arguments->columns);
    }
    buffer_append_byte(&path, '\0');
    struct listing listing = {.arguments = arguments};
    enum err_code code =
        command_walk_texts(client, (const char *)path.data, "rows", print_row, &listing, err);
    buffer_deinit(&path);
    TRY(code);
    if (arguments->count) {
        print_count(&arguments->command, listing.count, arguments->version);
    }
    return ERR_OK;
}

static enum err_code server_history(const struct arguments *arguments, struct client *client,
                                    const char *table, struct err *err)
{
    struct buffer path;
    buffer_init(&path, PATH_BYTES_MAX);
    buffer_append_text(&path, "/v1/tables/");
    text_percent_encode(span_of_text(table), "", &path);
    buffer_append_text(&path, "/history?limit=1000");
    buffer_append_byte(&path, '\0');
    struct listing listing = {.arguments = arguments};
    enum err_code code =
        command_walk(client, (const char *)path.data, "versions", print_entry, &listing, err);
    buffer_deinit(&path);
    return code;
}

static enum err_code show(const struct arguments *arguments, struct client *client,
                          const char *table, struct err *err)
{
    struct buffer path;
    buffer_init(&path, PATH_BYTES_MAX);
    buffer_append_text(&path, "/v1/tables/");
    text_percent_encode(span_of_text(table), "", &path);
    buffer_append_byte(&path, '\0');
    CLEANUP(json_free) struct json *json = NULL;
    enum err_code code = command_get(client, (const char *)path.data, &json, err);
    buffer_deinit(&path);
    TRY(code);
    command_print(&arguments->command, json);
    return ERR_OK;
}

static enum err_code run_with_server(const struct arguments *arguments, const char *verb,
                                     const char *table, struct err *err)
{
    CLEANUP(client_close) struct client *client = NULL;
    TRY(client_open(&arguments->command.client, &client, err));
    if (strcmp(verb, "list") == 0) {
        struct listing listing = {.arguments = arguments};
        return command_walk(client, "/v1/tables?limit=1000", "tables", print_table, &listing, err);
    }
    assert(table != NULL); /* only a list has none */
    if (strcmp(verb, "show") == 0) {
        return show(arguments, client, table, err);
    }
    return strcmp(verb, "rows") == 0 ? server_rows(arguments, client, table, err)
                                     : server_history(arguments, client, table, err);
}

int cli_table(int argc, char **argv)
{
    struct arguments arguments = {
        .command = {.name = "sluice table", .help = help},
        .version = -1,
        .limit = -1,
    };
    if (!parse(&arguments, argc, argv) || arguments.command.help_wanted || optind >= argc) {
        return command_usage(&arguments.command);
    }
    const char *verb = argv[optind];
    bool is_list = strcmp(verb, "list") == 0;
    bool is_read = strcmp(verb, "rows") == 0 || strcmp(verb, "history") == 0;
    if ((!is_list && !is_read && strcmp(verb, "show") != 0) || argc != optind + (is_list ? 1 : 2)) {
        return command_usage(&arguments.command);
    }
    struct err err = {0};
    enum err_code code = ERR_OK;
    if (is_read && is_folder(argv[optind + 1])) {
        code = strcmp(verb, "rows") == 0 ? folder_rows(&arguments, argv[optind + 1], &err)
                                         : folder_history(&arguments, argv[optind + 1], &err);
    } else if (strcmp(verb, "rows") == 0 && table_file_is(argv[optind + 1])) {
        code = file_rows(&arguments, argv[optind + 1], &err);
    } else {
        code = run_with_server(&arguments, verb, is_list ? NULL : argv[optind + 1], &err);
    }
    return code == ERR_OK ? EX_OK : command_fail(&arguments.command, &err);
}
