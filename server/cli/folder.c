/* Reading a table folder without a server; see folder.h. */
#include "server/cli/folder.h"

#include "storage/base/buffer.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/encode_json.h"
#include "storage/object/object.h"
#include "storage/snapshot/history.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/snapshot.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PAGE_ROWS = 10000, PAGE_BYTES_MAX = 1 << 30 };

bool folder_is_table(const char *path)
{
    CLEANUP(mem_cleanup) char *log = file_join(path, "_delta_log");
    return file_exists(log);
}

static enum err_code choose_columns(const struct schema *schema, const char *names, bool **mask_out,
                                    struct err *err)
{
    CLEANUP(mem_cleanup) bool *mask = mem_zeroed(schema->fields_count, sizeof *mask);
    while (*names != '\0') {
        size_t size = strcspn(names, ",");
        int index = schema_field_index(schema, span_of(names, size));
        if (index < 0) {
            return err_set(err, ERR_INVALID, "the table has no column '%.*s'", (int)size, names);
        }
        mask[index] = true;
        names += size + (names[size] == ',' ? 1 : 0);
    }
    *mask_out = mask;
    mask = NULL;
    return ERR_OK;
}

static enum err_code print_frame(const struct frame *frame, const bool *mask, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, PAGE_BYTES_MAX);
    for (int64_t row = 0; row < frame->rows_count; row++) {
        encode_json_row(frame, row, mask, &text);
        buffer_append_byte(&text, '\n');
    }
    TRY(buffer_check(&text, "page of rows", err));
    if (text.size > 0 && fwrite(text.data, 1, text.size, stdout) != text.size) {
        return err_set(err, ERR_IO, "stdout cannot be written");
    }
    return ERR_OK;
}

/* All pages; *rows_out counts the rows seen. */
static enum err_code scan(const struct snapshot *snapshot, const struct folder_rows *request,
                          const bool *mask, int64_t *rows_out, struct err *err)
{
    struct scan_position position = {0};
    bool done = false;
    int64_t rows = 0;
    while (!done && rows < request->limit) {
        int64_t left = request->limit - rows;
        struct scan_request page = {
            .columns = mask,
            .limit = left < PAGE_ROWS ? left : PAGE_ROWS,
            .start = position,
        };
        CLEANUP(scan_result_deinit) struct scan_result result = {0};
        TRY(scan_run(snapshot, &page, &result, err));
        if (!request->count) {
            TRY(print_frame(result.frame, mask, err));
        }
        rows += result.frame->rows_count;
        position = result.next;
        done = result.done;
    }
    *rows_out = rows;
    return ERR_OK;
}

enum err_code folder_print_rows(const char *path, const struct folder_rows *request,
                                struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    CLEANUP(mem_cleanup) bool *mask = NULL;
    int64_t rows = 0;
    TRY(snapshot_open_folder(path, request->version, &snapshot, err));
    if (request->columns != NULL) {
        TRY(choose_columns(snapshot->schema, request->columns, &mask, err));
    } else if (request->count && snapshot->schema->fields_count > 0) {
        mask = mem_zeroed(snapshot->schema->fields_count, sizeof *mask); /* one column is enough */
        mask[0] = true;
    }
    TRY(scan(snapshot, request, mask, &rows, err));
    if (request->count) {
        (void)printf("{\"version\":%" PRId64 ",\"count\":%" PRId64 "}\n", snapshot->version, rows);
    }
    return ERR_OK;
}

static void print_entry(const struct history_entry *entry, bool as_json)
{
    char when[TEXT_TIMESTAMP_BYTES];
    (void)text_format_timestamp(entry->timestamp_ms * 1000, when); /* always a text */
    if (!as_json) {
        (void)printf("%8" PRId64 "  %s  %-12s %s\n", entry->version, when,
                     entry->operation[0] != '\0' ? entry->operation : "-",
                     entry->engine[0] != '\0' ? entry->engine : "-");
        return;
    }
    struct json *json = json_new_object();
    json_set_integer(json, "version", entry->version);
    json_set_text(json, "timestamp", when);
    json_set_text(json, "operation", entry->operation[0] != '\0' ? entry->operation : NULL);
    json_set_text(json, "engine", entry->engine[0] != '\0' ? entry->engine : NULL);
    json_set_boolean(json, "own", entry->ours);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, PAGE_BYTES_MAX);
    json_write(json, &text);
    json_free(&json);
    (void)printf("%.*s\n", SPAN_PRINT(buffer_span(&text)));
}

enum err_code folder_print_history(const char *path, int64_t limit, bool as_json, struct err *err)
{
    struct object_store *store = NULL;
    TRY(object_store_open_local(path, &store, err));
    int64_t before = -1;
    bool more = true;
    enum err_code code = ERR_OK;
    while (more && limit > 0) {
        struct history history = {0};
        int64_t page = limit < HISTORY_LIMIT_MAX ? limit : HISTORY_LIMIT_MAX;
        code = history_read(store, before, (size_t)page, &history, err);
        if (code != ERR_OK) {
            break;
        }
        for (size_t i = 0; i < history.count; i++) {
            print_entry(&history.entries[i], as_json);
            before = history.entries[i].version;
        }
        limit -= (int64_t)history.count;
        more = history.more && history.count > 0;
        history_free(&history);
    }
    object_store_close(&store);
    return code;
}
