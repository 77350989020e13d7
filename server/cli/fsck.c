/*
 * Check a data directory: catalog, journals, audit trail, and every table with its
 * log, files and index. Nothing that counts is changed: as at every start the
 * catalog's write-ahead log is folded in and derived indexes are brought up to date.
 */
#include "server/cli/fsck.h"

#include "server/cli/common.h"
#include "server/instance.h"
#include "storage/audit/audit.h"
#include "storage/base/arena.h"
#include "storage/base/file.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/tables.h"
#include "storage/columns/schema.h"
#include "storage/journal/journal.h"
#include "storage/journal/segments.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "storage/snapshot/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { FSCK_ARENA_BYTES = 64 << 20, FSCK_PAGE = 100, RECORD_BYTES_MAX = JOURNAL_RECORD_BYTES_MAX };

struct check {
    const char *data;
    bool json;
    int64_t faults_count;
    struct secret_keys *keys;
    struct buffer record; /* scratch of reference checks */
};

/* ---- report ---- */

/* One finding or one part that is fine, as a line. */
static void report(struct check *check, const char *part, bool ok, const char *text)
{
    check->faults_count += ok ? 0 : 1;
    if (!check->json) {
        (void)printf("%-4s %-28s %s\n", ok ? "ok" : "BAD", part, text);
        return;
    }
    struct json *line = json_new_object();
    json_set_text(line, "part", part);
    json_set_boolean(line, "ok", ok);
    json_set_text(line, "detail", text);
    common_print_json(line);
    json_free(&line);
}

static void report_err(struct check *check, const char *part, const struct err *err)
{
    report(check, part, false, err->msg);
}

/* ---- parts ---- */

static enum err_code read_reference(struct check *check, const char *name, enum journal_kind kind,
                                    const struct location *location, struct err *err)
{
    CLEANUP(mem_cleanup) char *folder = file_join(check->data, name);
    buffer_reset(&check->record);
    return segments_read_closed(folder, journal_magic(kind), location, &check->record, err);
}

static enum err_code check_frame(void *arg, const struct location *location, struct err *err)
{
    return read_reference(arg, "journal", JOURNAL_FRAMES, location, err);
}

static enum err_code check_payload(void *arg, const struct location *location, struct err *err)
{
    return read_reference(arg, "dead-letters", JOURNAL_DEAD_LETTERS, location, err);
}

static void check_catalog(struct check *check)
{
    struct err err = {0};
    struct catalog_report found = {0};
    CLEANUP(mem_cleanup) char *folder = file_join(check->data, "catalog");
    if (catalog_verify(folder, check_frame, check_payload, check, &found, &err) != ERR_OK) {
        report_err(check, "catalog", &err);
        return;
    }
    char text[160];
    (void)snprintf(text, sizeof text,
                   "%" PRId64 " files, %" PRId64 " batches (%" PRId64 " unfinished), %" PRId64
                   " dead letters, %" PRId64 " references",
                   found.files_count, found.batches_count, found.unfinished_count,
                   found.dead_letters_count, found.references_checked);
    report(check, "catalog", true, text);
}

static void check_journal(struct check *check, const char *name, enum journal_kind kind)
{
    struct err err = {0};
    int64_t records = 0;
    int64_t bytes = 0;
    CLEANUP(mem_cleanup) char *folder = file_join(check->data, name);
    if (journal_verify(folder, kind, &records, &bytes, &err) != ERR_OK) {
        report_err(check, name, &err);
        return;
    }
    char text[96];
    (void)snprintf(text, sizeof text, "%" PRId64 " records, %" PRId64 " bytes", records, bytes);
    report(check, name, true, text);
}

static void check_audit(struct check *check)
{
    struct err err = {0};
    struct audit_report found = {0};
    CLEANUP(mem_cleanup) char *folder = file_join(check->data, "audit");
    if (audit_verify(folder, check->keys, &found, &err) != ERR_OK) {
        report_err(check, "audit", &err);
        return;
    }
    char text[96];
    (void)snprintf(text, sizeof text, "%" PRId64 " records, chain and anchor agree",
                   found.records_count);
    report(check, "audit", true, text);
}

static void report_table(struct check *check, const char *part, const struct verify_report *found)
{
    for (size_t i = 0; i < found->problems_kept; i++) {
        report(check, part, false, found->problems[i]);
    }
    if (found->problems_count > (int64_t)found->problems_kept) {
        char text[64];
        (void)snprintf(text, sizeof text, "%" PRId64 " problems in all", found->problems_count);
        report(check, part, false, text);
    }
    if (found->problems_count == 0) {
        char text[160];
        (void)snprintf(text, sizeof text,
                       "version %" PRId64 ", %" PRId64 " files, %" PRId64 " rows, %" PRId64
                       " index entries, %" PRId64 " tombstones",
                       found->version, found->files_checked, found->rows_checked,
                       found->index_entries_checked, found->tombstones_checked);
        report(check, part, true, text);
    }
}

static enum err_code verify_one(struct check *check, struct tables *tables,
                                const struct catalog_table *record, const char *part,
                                struct err *err)
{
    CLEANUP(json_free) struct json *definition = NULL;
    CLEANUP(schema_release) struct schema *schema = NULL;
    CLEANUP(table_release) struct table *table = NULL;
    CLEANUP(verify_report_deinit) struct verify_report found = {0};
    TRY(json_parse(span_of_text(record->definition), &definition, err));
    TRY(schema_load(definition, record->definition_version, &schema, err));
    TRY(tables_attach(tables, record->name, &record->uuid, schema, err));
    TRY(tables_find_by_uuid(tables, &record->uuid, &table, err));
    TRY(verify_table(table, &found, err));
    report_table(check, part, &found);
    return ERR_OK;
}

static enum err_code check_each_table(struct check *check, struct catalog *catalog,
                                      struct tables *tables, struct arena *arena, struct err *err)
{
    const char *after = NULL;
    size_t count = FSCK_PAGE;
    while (count == FSCK_PAGE) {
        struct catalog_table *records = NULL;
        TRY(catalog_table_list(catalog, false, after, FSCK_PAGE, arena, &records, &count, err));
        for (size_t i = 0; i < count; i++) {
            char part[CATALOG_TABLE_NAME_BYTES_MAX + 16];
            (void)snprintf(part, sizeof part, "table %s", records[i].name); /* fits */
            struct err table_err = {0};
            if (verify_one(check, tables, &records[i], part, &table_err) != ERR_OK) {
                report_err(check, part, &table_err);
            }
        }
        after = count > 0 ? records[count - 1].name : NULL;
    }
    return ERR_OK;
}

static enum err_code open_tables(const struct check *check, struct catalog *catalog,
                                 struct tables **tables_out, struct err *err)
{
    CLEANUP(mem_cleanup) char *root = file_join(check->data, "tables");
    CLEANUP(mem_cleanup) char *index = file_join(check->data, "index");
    struct tables_options options = {
        .root = root,
        .index_root = index,
        .instance = catalog_instance(catalog),
    };
    memcpy(options.index_key, secret_key(check->keys, SECRET_INDEX), sizeof options.index_key);
    return tables_open(&options, tables_out, err);
}

static enum err_code check_tables(struct check *check, struct err *err)
{
    CLEANUP(mem_cleanup) char *folder = file_join(check->data, "catalog");
    CLEANUP(arena_deinit) struct arena arena;
    CLEANUP(catalog_close) struct catalog *catalog = NULL;
    CLEANUP(tables_close) struct tables *tables = NULL;
    struct catalog_options options = {0};
    arena_init(&arena, FSCK_ARENA_BYTES);
    TRY(catalog_open(folder, check->keys, &options, &catalog, err));
    TRY(open_tables(check, catalog, &tables, err));
    return check_each_table(check, catalog, tables, &arena, err);
}

/* ---- the command ---- */

static enum err_code run(struct check *check, struct err *err)
{
    CLEANUP(file_close) int lock_fd = -1;
    CLEANUP(mem_cleanup) char *secrets = file_join(check->data, "secrets");
    CLEANUP(mem_cleanup) char *key = file_join(secrets, "root.key");
    TRY(secret_init(err));
    TRY(instance_lock(check->data, &lock_fd, err));
    if (!file_exists(key)) {
        return err_set(err, ERR_NOT_FOUND, "%s is no data directory: it has no secrets/root.key",
                       check->data);
    }
    TRY(secret_keys_open(key, &check->keys, err));
    check_journal(check, "journal", JOURNAL_FRAMES);
    check_journal(check, "dead-letters", JOURNAL_DEAD_LETTERS);
    check_audit(check);
    check_catalog(check);
    if (check_tables(check, err) != ERR_OK) {
        report_err(check, "tables", err);
        err_clear(err);
    }
    return ERR_OK;
}

int cli_fsck(int argc, char **argv)
{
    const char *data = "data";
    struct check check = {0};
    struct words words;
    struct err err = {0};
    bool help = false;
    const struct option options[] = {
        {"data", &data, NULL, NULL, "DIR", "data directory (default: data)"},
        {"json", NULL, NULL, &check.json, NULL, "one JSON object a line"},
        {0},
    };
    if (options_read(argc, argv, options, &words, &help, &err) != ERR_OK) {
        return options_usage_error("fsck", &err);
    }
    if (help || words.count > 0) {
        options_print_help("sluice fsck [--data DIR]",
                           "Check a data directory while no server runs on it. Exit code 65 when "
                           "something is wrong.",
                           options);
        return help ? EX_OK : EX_USAGE;
    }
    check.data = data;
    log_set_level(LOG_ERROR);
    buffer_init(&check.record, RECORD_BYTES_MAX);
    enum err_code code = run(&check, &err);
    secret_keys_close(&check.keys);
    buffer_deinit(&check.record);
    if (code != ERR_OK) {
        return common_fail("fsck", &err);
    }
    return check.faults_count > 0 ? EX_DATAERR : EX_OK;
}
