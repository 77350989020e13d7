/*
 * `sluice fsck`: is everything in a data directory as it must be? The server is
 * stopped. Repairs nothing; what is derived (the key index) is brought up to date
 * first, as a start would do.
 */
#include "server/cli/command.h"

#include "server/instance.h"
#include "storage/audit/audit.h"
#include "storage/base/arena.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/tables.h"
#include "storage/columns/schema.h"
#include "storage/journal/journal.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "storage/snapshot/verify.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

enum { ARENA_BYTES = 256 << 20, TABLES_PAGE = 100 };

static const char help[] =
    "Usage: sluice fsck --data DIR [--json]\n"
    "\n"
    "Check a data directory while its server is stopped: catalog, journals, audit chain,\n"
    "and every table (log contiguous, files present with their size, index equal to the\n"
    "rows). Exit code 0: clean; 65 (EX_DATAERR): something is wrong, and what.\n"
    "\n"
    "  --data DIR           the data directory, default ./data\n"
    "  --json               one JSON object a check on standard output\n"
    "  --help               this text\n";

/* The run: what is open and what was found. */
struct check {
    const struct command *command;
    const char *data;
    struct secret_keys *keys;
    struct catalog *catalog;
    struct tables *tables;
    int64_t problems;
};

static void report(struct check *check, const char *what, int64_t counted, const char *unit,
                   const char *problem)
{
    check->problems += problem != NULL;
    if (check->command->json) {
        struct buffer text;
        buffer_init(&text, 4096);
        buffer_append_text(&text, "{\"check\":");
        json_write_string(&text, span_of_text(what));
        buffer_append_format(&text, ",\"ok\":%s,\"counted\":%" PRId64 ",\"unit\":\"%s\"",
                             problem == NULL ? "true" : "false", counted, unit);
        if (problem != NULL) {
            buffer_append_text(&text, ",\"problem\":");
            json_write_string(&text, span_of_text(problem));
        }
        buffer_append_byte(&text, '}');
        (void)printf("%.*s\n", SPAN_PRINT(buffer_span(&text))); /* output */
        buffer_deinit(&text);
    } else if (problem == NULL) {
        (void)printf("ok    %-32s %" PRId64 " %s\n", what, counted, unit); /* output */
    } else {
        (void)printf("WRONG %-32s %s\n", what, problem); /* output */
    }
}

static char *path_in(const struct check *check, const char *name)
{
    return file_join(check->data, name);
}

static enum err_code look_up_frame(void *arg, const struct location *location, struct err *err)
{
    const struct check *check = arg;
    CLEANUP(mem_cleanup) char *folder = path_in(check, "journal");
    struct buffer record;
    buffer_init(&record, JOURNAL_RECORD_BYTES_MAX);
    enum err_code code =
        segments_read_closed(folder, journal_magic(JOURNAL_FRAMES), location, &record, err);
    buffer_deinit(&record);
    return code;
}

static enum err_code look_up_payload(void *arg, const struct location *location, struct err *err)
{
    const struct check *check = arg;
    CLEANUP(mem_cleanup) char *folder = path_in(check, "dead-letters");
    struct buffer record;
    buffer_init(&record, JOURNAL_RECORD_BYTES_MAX);
    enum err_code code =
        segments_read_closed(folder, journal_magic(JOURNAL_DEAD_LETTERS), location, &record, err);
    buffer_deinit(&record);
    return code;
}

static void check_catalog(struct check *check)
{
    CLEANUP(mem_cleanup) char *folder = path_in(check, "catalog");
    struct catalog_report found = {0};
    struct err err = {0};
    bool good =
        catalog_verify(folder, look_up_frame, look_up_payload, check, &found, &err) == ERR_OK;
    report(check, "catalog", found.batches_count, "batches", good ? NULL : err.msg);
    if (good) {
        report(check, "jobs", found.jobs_count, "jobs", NULL);
        report(check, "runs", found.runs_count, "runs", NULL);
        report(check, "webhooks", found.deliveries_count, "deliveries", NULL);
    }
}

static void check_journal(struct check *check, const char *name, enum journal_kind kind)
{
    CLEANUP(mem_cleanup) char *folder = path_in(check, name);
    int64_t records = 0;
    int64_t bytes = 0;
    struct err err = {0};
    bool good = journal_verify(folder, kind, &records, &bytes, &err) == ERR_OK;
    report(check, name, records, "records", good ? NULL : err.msg);
}

static void check_audit(struct check *check)
{
    CLEANUP(mem_cleanup) char *folder = path_in(check, "audit");
    struct audit_report found = {0};
    struct err err = {0};
    bool good = audit_verify(folder, check->keys, &found, &err) == ERR_OK;
    report(check, "audit", found.records_count, "records", good ? NULL : err.msg);
}

static enum err_code open_table(struct check *check, const struct catalog_table *record,
                                struct table **table_out, struct err *err)
{
    CLEANUP(json_free) struct json *definition = NULL;
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(json_parse(span_of_text(record->definition), &definition, err));
    TRY(schema_load(definition, record->definition_version, &schema, err));
    TRY(tables_attach(check->tables, record->name, &record->uuid, schema, err));
    return tables_find(check->tables, record->name, table_out, err);
}

static void check_table(struct check *check, const struct catalog_table *record)
{
    char what[CATALOG_TABLE_NAME_BYTES_MAX + 16];
    (void)snprintf(what, sizeof what, "table %s", record->name); /* names fit */
    struct err err = {0};
    CLEANUP(table_release) struct table *table = NULL;
    CLEANUP(verify_report_deinit) struct verify_report found = {0};
    enum err_code code = open_table(check, record, &table, &err);
    if (code == ERR_OK) {
        code = verify_table(table, &found, &err);
    }
    if (code != ERR_OK) {
        report(check, what, 0, "rows", err.msg);
        return;
    }
    for (size_t i = 0; i < found.problems_kept; i++) {
        report(check, what, found.rows_checked, "rows", found.problems[i]);
    }
    if (found.problems_count == 0) {
        report(check, what, found.rows_checked, "rows", NULL);
    }
}

static enum err_code check_tables(struct check *check, struct err *err)
{
    CLEANUP(mem_cleanup) char *catalog = path_in(check, "catalog");
    CLEANUP(mem_cleanup) char *root = path_in(check, "tables");
    CLEANUP(mem_cleanup) char *index = path_in(check, "index");
    TRY(catalog_open_read_only(catalog, &check->catalog, err));
    struct tables_options options = {
        .root = root,
        .index_root = index,
        .instance = catalog_instance(check->catalog),
    };
    memcpy(options.index_key, secret_key(check->keys, SECRET_INDEX), sizeof options.index_key);
    TRY(tables_open(&options, &check->tables, err));

    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    const char *after = NULL;
    size_t count = TABLES_PAGE;
    enum err_code code = ERR_OK;
    while (code == ERR_OK && count == TABLES_PAGE) {
        struct catalog_table *records = NULL;
        code = catalog_table_list(check->catalog, false, after, TABLES_PAGE, &arena, &records,
                                  &count, err);
        for (size_t i = 0; code == ERR_OK && i < count; i++) {
            check_table(check, &records[i]);
        }
        after = code == ERR_OK && count > 0 ? records[count - 1].name : NULL;
    }
    arena_deinit(&arena);
    return code;
}

static enum err_code run(struct check *check, struct err *err)
{
    CLEANUP(file_close) int lock_fd = -1;
    TRY(instance_lock(check->data, &lock_fd, err));
    TRY(secret_init(err));
    CLEANUP(mem_cleanup) char *secrets = path_in(check, "secrets");
    CLEANUP(mem_cleanup) char *key = file_join(secrets, "root.key");
    if (!file_exists(key)) {
        return err_set(err, ERR_NOT_FOUND, "%s is no data directory: it has no %s", check->data,
                       key);
    }
    TRY(secret_keys_open(key, &check->keys, err));
    check_catalog(check);
    check_journal(check, "journal", JOURNAL_FRAMES);
    check_journal(check, "dead-letters", JOURNAL_DEAD_LETTERS);
    check_audit(check);
    enum err_code code = check_tables(check, err);
    tables_close(&check->tables);
    catalog_close(&check->catalog);
    secret_keys_close(&check->keys);
    return code;
}

int cli_fsck(int argc, char **argv)
{
    static const struct option options[] = {COMMAND_CONNECTION_OPTIONS, {0}};
    struct command command = {.name = "sluice fsck", .help = help, .client = {.data = "data"}};
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1) {
            break;
        }
        if (!command_take_option(&command, option, optarg)) {
            return command_usage(&command);
        }
    }
    if (command.help_wanted || optind != argc) {
        return command_usage(&command);
    }
    struct check check = {.command = &command, .data = command.client.data};
    struct err err = {0};
    if (run(&check, &err) != ERR_OK) {
        return command_fail(&command, &err);
    }
    return check.problems == 0 ? EX_OK : EX_DATAERR;
}
