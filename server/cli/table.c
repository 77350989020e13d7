/*
 * `sluice table`: tables of a server, and of any Delta table folder.
 *
 * `rows` and `history` of a folder need no server: they read the log and the
 * data files themselves.
 */
#include "server/cli/command.h"
#include "server/cli/table_file.h"
#include "server/cli/table_folder.h"
#include "server/cli/table_run.h"

#include "storage/base/text.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

enum {
    PATH_BYTES_MAX = 65536,
    PAGE_ROWS = 10000,
};

static const char help[] =
    "Usage: sluice table list\n"
    "       sluice table show TABLE\n"
    "       sluice table rows TABLE|FOLDER|FILE [--version N | --timestamp T] [--columns A,B]\n"
    "                         [--where COLUMN:OPERATOR:VALUE]… [--limit N] [--count]\n"
    "       sluice table changes TABLE|FOLDER --from N [--to N] [--columns A,B] [--limit N]\n"
    "                         [--count]\n"
    "       sluice table history TABLE|FOLDER [--limit N]\n"
    "       sluice table restore TABLE --version N | --timestamp T\n"
    "       sluice table optimize TABLE [--sort-by A,B]\n"
    "       sluice table vacuum TABLE [--retention-seconds N] [--apply]\n"
    "       sluice table files|schema|checkpoint-info FOLDER [--version N | --timestamp T]\n"
    "\n"
    "A FOLDER is any Delta table on this machine, whoever wrote it, and a FILE any Parquet\n"
    "file; its name has a slash or a dot. They are read without a server. Rows are printed\n"
    "as one JSON object a line.\n"
    "\n"
    "restore, optimize and vacuum start a run on the server, wait for its end and exit with 1 "
    "when\n"
    "it fails. vacuum counts what would go, and removes it with --apply.\n"
    "\n"
    "  --version N          as of this version, default the newest\n"
    "  --timestamp T        as of this moment, such as 2026-11-23T08:00:00Z\n"
    "  --from N, --to N     changes of these versions and those between, default to the newest\n"
    "  --columns A,B        only these columns\n"
    "  --where C:OP:VALUE   only rows for which it holds, all of several; operators: eq ne lt le "
    "gt\n"
    "                       ge in (values with commas between) is_null not_null (without value)\n"
    "  --limit N            at most so many rows or versions, default all\n"
    "  --retention-seconds N  files that left the table so long ago go, default 604800 (7 days)\n"
    "  --sort-by A,B        order the rows of every file by these columns, not by key\n"
    "  --apply              remove, not only count\n"
    "  --count              only the number of rows\n"
    "  --format ndjson      how rows are printed; there is no other way so "
    "far\n" COMMAND_CONNECTION_HELP;

/* What the command line asked for. */
struct arguments {
    struct command command;
    int64_t version;
    int64_t timestamp_us; /* -1 = none */
    int64_t limit;
    struct table_run_options run; /* but version and timestamp */
    int64_t from_version;         /* -1 = not given */
    int64_t to_version;
    const char *columns;
    const char *where[TABLE_WHERE_MAX];
    size_t where_count;
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
        {"timestamp", required_argument, NULL, 't'},
        {"from", required_argument, NULL, 'f'},
        {"to", required_argument, NULL, 'o'},
        {"format", required_argument, NULL, 'm'},
        {"retention-seconds", required_argument, NULL, 'r'},
        {"sort-by", required_argument, NULL, 's'},
        {"apply", no_argument, NULL, 'a'},
        {"columns", required_argument, NULL, 'c'},
        {"where", required_argument, NULL, 'w'},
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
            return arguments->version < 0 || arguments->timestamp_us < 0;
        case 'v':
            good = parse_number(optarg, &arguments->version);
            break;
        case 't':
            good = text_parse_timestamp(span_of_text(optarg), &arguments->timestamp_us) &&
                   arguments->timestamp_us >= 0;
            break;
        case 'l':
            good = parse_number(optarg, &arguments->limit);
            break;
        case 'f':
            good = parse_number(optarg, &arguments->from_version);
            break;
        case 'o':
            good = parse_number(optarg, &arguments->to_version);
            break;
        case 'r':
            good = parse_number(optarg, &arguments->run.retention_seconds);
            break;
        case 's':
            arguments->run.sort_by = optarg;
            break;
        case 'a':
            arguments->run.apply = true;
            break;
        case 'm':
            good = strcmp(optarg, "ndjson") == 0;
            break;
        case 'c':
            arguments->columns = optarg;
            break;
        case 'w':
            good = arguments->where_count < TABLE_WHERE_MAX;
            if (good) {
                arguments->where[arguments->where_count++] = optarg;
            }
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

/* ---- files ---- */

static enum err_code file_rows(const struct arguments *arguments, const char *path, struct err *err)
{
    if (arguments->version >= 0 || arguments->timestamp_us >= 0) {
        return err_set(err, ERR_INVALID, "%s is a file, which has no versions; leave %s out", path,
                       arguments->version >= 0 ? "--version" : "--timestamp");
    }
    if (arguments->where_count > 0) {
        return err_set(err, ERR_INVALID, "--where: %s is a file; rows of tables can be filtered",
                       path);
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
    table_print_version(listing->arguments->command.json, command_integer(item, "version"),
                        timestamp_us, command_text(item, "operation"), command_text(item, "engine"),
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
    command_add_table(&path, table, "/rows");
    buffer_append_format(&path, "?limit=%d", PAGE_ROWS);
    if (arguments->version >= 0) {
        buffer_append_format(&path, "&version=%" PRId64, arguments->version);
    }
    if (arguments->timestamp_us >= 0) {
        char moment[TEXT_TIMESTAMP_BYTES + 1] = "";
        (void)text_format_timestamp(arguments->timestamp_us, moment); /* NUL stays behind it */
        command_add_parameter(&path, "timestamp", moment);
    }
    if (arguments->columns != NULL) {
        command_add_parameter(&path, "columns", arguments->columns);
    }
    for (size_t i = 0; i < arguments->where_count; i++) {
        command_add_parameter(&path, "filter", arguments->where[i]);
    }
    buffer_append_byte(&path, '\0');
    struct listing listing = {.arguments = arguments};
    enum err_code code =
        command_walk_texts(client, (const char *)path.data, "rows", print_row, &listing, err);
    buffer_deinit(&path);
    TRY(code);
    if (arguments->count) {
        table_print_count(arguments->command.json, listing.count, arguments->version);
    }
    return ERR_OK;
}

static enum err_code server_changes(const struct arguments *arguments, struct client *client,
                                    const char *table, struct err *err)
{
    if (arguments->limit == 0) {
        return ERR_OK;
    }
    struct buffer path;
    buffer_init(&path, PATH_BYTES_MAX);
    command_add_table(&path, table, "/changes");
    buffer_append_format(&path, "?limit=%d&from_version=%" PRId64, PAGE_ROWS,
                         arguments->from_version);
    if (arguments->to_version >= 0) {
        buffer_append_format(&path, "&to_version=%" PRId64, arguments->to_version);
    }
    if (arguments->columns != NULL) {
        command_add_parameter(&path, "columns", arguments->columns);
    }
    buffer_append_byte(&path, '\0');
    struct listing listing = {.arguments = arguments};
    enum err_code code =
        command_walk_texts(client, (const char *)path.data, "changes", print_row, &listing, err);
    buffer_deinit(&path);
    TRY(code);
    if (arguments->count) {
        table_print_count(arguments->command.json, listing.count, arguments->to_version);
    }
    return ERR_OK;
}

static enum err_code server_history(const struct arguments *arguments, struct client *client,
                                    const char *table, struct err *err)
{
    struct buffer path;
    buffer_init(&path, PATH_BYTES_MAX);
    command_add_table(&path, table, "/history?limit=1000");
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
    command_add_table(&path, table, "");
    buffer_append_byte(&path, '\0');
    CLEANUP(json_free) struct json *json = NULL;
    enum err_code code = command_get(client, (const char *)path.data, &json, err);
    buffer_deinit(&path);
    TRY(code);
    command_print(&arguments->command, json);
    return ERR_OK;
}

static enum err_code run_on_table(const struct arguments *arguments, struct client *client,
                                  const char *verb, const char *table, bool *success_out,
                                  struct err *err)
{
    struct table_run_options options = arguments->run;
    options.version = arguments->version;
    options.timestamp_us = arguments->timestamp_us;
    return table_run(&arguments->command, client, verb, table, &options, success_out, err);
}

static enum err_code run_with_server(const struct arguments *arguments, const char *verb,
                                     const char *table, bool *success_out, struct err *err)
{
    CLEANUP(client_close) struct client *client = NULL;
    TRY(client_open(&arguments->command.client, &client, err));
    if (strcmp(verb, "list") == 0) {
        struct listing listing = {.arguments = arguments};
        return command_walk(client, "/v1/tables?limit=1000", "tables", print_table, &listing, err);
    }
    assert(table != NULL); /* only a list has none */
    if (table_run_has(verb)) {
        return run_on_table(arguments, client, verb, table, success_out, err);
    }
    if (strcmp(verb, "show") == 0) {
        return show(arguments, client, table, err);
    }
    if (strcmp(verb, "changes") == 0) {
        return server_changes(arguments, client, table, err);
    }
    return strcmp(verb, "rows") == 0 ? server_rows(arguments, client, table, err)
                                     : server_history(arguments, client, table, err);
}

static enum err_code run(const struct arguments *arguments, const char *verb, const char *name,
                         bool *success_out, struct err *err)
{
    bool is_rows = strcmp(verb, "rows") == 0;
    if (name != NULL && table_folder_has(verb) && table_folder_is(name)) {
        const struct table_folder_options options = {.version = arguments->version,
                                                     .timestamp_us = arguments->timestamp_us,
                                                     .from_version = arguments->from_version,
                                                     .to_version = arguments->to_version,
                                                     .columns = arguments->columns,
                                                     .where = arguments->where,
                                                     .where_count = arguments->where_count,
                                                     .limit = arguments->limit,
                                                     .count = arguments->count,
                                                     .json = arguments->command.json};
        return table_folder_run(verb, name, &options, err);
    }
    if (is_rows && table_file_is(name)) {
        return file_rows(arguments, name, err);
    }
    bool is_of_servers = is_rows || strcmp(verb, "history") == 0 || strcmp(verb, "changes") == 0;
    if (table_folder_has(verb) && !is_of_servers) {
        return err_set(err, ERR_NOT_FOUND,
                       "%s is no folder of a Delta table (it has no _delta_log)", name);
    }
    return run_with_server(arguments, verb, name, success_out, err);
}

int cli_table(int argc, char **argv)
{
    struct arguments arguments = {
        .command = {.name = "sluice table", .help = help},
        .version = -1,
        .timestamp_us = -1,
        .limit = -1,
        .from_version = -1,
        .to_version = -1,
        .run = {.retention_seconds = -1},
    };
    if (!parse(&arguments, argc, argv) || arguments.command.help_wanted || optind >= argc) {
        return command_usage(&arguments.command);
    }
    const char *verb = argv[optind];
    bool is_list = strcmp(verb, "list") == 0;
    bool is_known =
        is_list || strcmp(verb, "show") == 0 || table_folder_has(verb) || table_run_has(verb);
    bool lacks_from = strcmp(verb, "changes") == 0 && arguments.from_version < 0;
    if (!is_known || argc != optind + (is_list ? 1 : 2) || lacks_from) {
        return command_usage(&arguments.command);
    }
    struct err err = {0};
    bool success = true;
    if (run(&arguments, verb, is_list ? NULL : argv[optind + 1], &success, &err) != ERR_OK) {
        return command_fail(&arguments.command, &err);
    }
    return success ? EX_OK : EX_RUN_FAILED;
}
