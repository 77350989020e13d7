/*
 * Delta table folders without a server: their log and data files are read here. See
 * table_folder.h.
 */
#include "server/cli/table_folder.h"

#include "server/cli/command.h"
#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/encode_json.h"
#include "storage/delta/checkpoint.h"
#include "storage/delta/state.h"
#include "storage/object/object.h"
#include "storage/snapshot/feed.h"
#include "storage/snapshot/history.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/scan_text.h"
#include "storage/snapshot/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    LINE_BYTES_MAX = 64 << 20, /* a file's path and partition values, a schema */
    FLUSH_BYTES = 65536,
    PAGE_ROWS = 10000,
    FILTERS_BYTES_MAX = 16 << 20,
    PAGE_BYTES_MAX = 256 << 20,  /* one page as JSON */
    SCHEMA_TEXT_DEPTH_MAX = 256, /* brackets of a schemaString */
};

bool table_folder_is(const char *name)
{
    CLEANUP(mem_cleanup) char *log = file_join(name, "_delta_log");
    return file_exists(log);
}

void table_print_count(bool json, int64_t count, int64_t version)
{
    if (json) {
        (void)printf("{\"version\":%" PRId64 ",\"count\":%" PRId64 "}\n", version,
                     count); /* output */
    } else {
        (void)printf("%" PRId64 "\n", count); /* output */
    }
}

/* ---- which version ---- */

/* -1 = the newest. */
static enum err_code find_version(struct object_store *store,
                                  const struct table_folder_options *options, int64_t *version_out,
                                  struct err *err)
{
    *version_out = options->version;
    return options->timestamp_us < 0
               ? ERR_OK
               : delta_state_version_at(store, options->timestamp_us / 1000, version_out, err);
}

static enum err_code open_snapshot(const char *folder, const struct table_folder_options *options,
                                   const struct snapshot **snapshot_out, struct err *err)
{
    CLEANUP(object_store_close) struct object_store *store = NULL;
    int64_t version = -1;
    TRY(object_store_open_local(folder, &store, err));
    TRY(find_version(store, options, &version, err));
    return snapshot_open_folder(folder, version, snapshot_out, err);
}

static enum err_code open_state(const char *folder, const struct table_folder_options *options,
                                struct object_store **store_out, struct delta_state **state_out,
                                struct err *err)
{
    int64_t version = -1;
    TRY(object_store_open_local(folder, store_out, err));
    TRY(find_version(*store_out, options, &version, err));
    return version < 0 ? delta_state_load(*store_out, state_out, err)
                       : delta_state_load_version(*store_out, version, state_out, err);
}

/* ---- rows ---- */

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
    buffer_init(&text, PAGE_BYTES_MAX);
    for (int64_t row = 0; row < frame->rows_count; row++) {
        encode_json_row(frame, row, mask, &text);
        buffer_append_byte(&text, '\n');
        if (text.size > FLUSH_BYTES) {
            command_print_text(&text);
        }
    }
    command_print_text(&text);
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

static enum err_code parse_where(const struct table_folder_options *options,
                                 const struct schema *schema, struct arena *arena,
                                 struct scan_filter filters[TABLE_WHERE_MAX], struct err *err)
{
    for (size_t i = 0; i < options->where_count; i++) {
        struct scan_filter_text text = scan_filter_split(span_of_text(options->where[i]));
        if (scan_filter_parse(&text, schema, arena, &filters[i], err) != ERR_OK) {
            return err_wrap(err, "--where %s", options->where[i]);
        }
    }
    return scan_filters_check(schema, filters, options->where_count, err);
}

static enum err_code folder_rows(const struct table_folder_options *options, const char *folder,
                                 struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    TRY(open_snapshot(folder, options, &snapshot, err));
    bool flags[SCHEMA_FIELDS_MAX] = {false};
    const bool *mask = NULL;
    TRY(mask_of(options->columns, snapshot->schema, flags, &mask, err));
    int64_t left = options->limit >= 0 ? options->limit : INT64_MAX;
    int64_t count = 0;
    struct scan_filter filters[TABLE_WHERE_MAX];
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, FILTERS_BYTES_MAX);
    TRY(parse_where(options, snapshot->schema, &arena, filters, err));
    static const bool no_column[SCHEMA_FIELDS_MAX]; /* of rows that are only counted */
    struct scan_request request = {.columns = options->count ? no_column : mask,
                                   .filters = filters,
                                   .filters_count = options->where_count};
    bool done = false;
    while (!done && left > 0) {
        request.limit = left < PAGE_ROWS ? left : PAGE_ROWS;
        CLEANUP(scan_result_deinit) struct scan_result result = {0};
        if (scan_run(snapshot, &request, &result, err) != ERR_OK) {
            return not_whole(err);
        }
        if (!options->count) {
            print_frame(result.frame, mask);
        }
        count += result.frame->rows_count;
        left -= result.frame->rows_count;
        request.start = result.next;
        done = result.done;
    }
    if (options->count) {
        table_print_count(options->json, count, snapshot->version);
    }
    return ERR_OK;
}

/* ---- changes ---- */

/* Names of the mask's columns, borrowed from the schema; NULL = all. mem_free. */
static const char **names_of(const struct schema *schema, const bool *mask, size_t *count_out)
{
    *count_out = 0;
    if (mask == NULL) {
        return NULL;
    }
    const char **names = mem_zeroed(schema->fields_count, sizeof *names);
    for (size_t i = 0; i < schema->fields_count; i++) {
        if (mask[i]) {
            names[(*count_out)++] = schema->fields[i].name;
        }
    }
    return names;
}

static void print_piece(const struct feed_piece *piece)
{
    struct buffer text;
    buffer_init(&text, PAGE_BYTES_MAX);
    for (int64_t row = 0; row < piece->frame->rows_count; row++) {
        feed_write_row(piece, row, &text);
        buffer_append_byte(&text, '\n');
        if (text.size > FLUSH_BYTES) {
            command_print_text(&text);
        }
    }
    command_print_text(&text);
    buffer_deinit(&text);
}

static enum err_code print_changes(const struct table_folder_options *options,
                                   const struct feed_options *asked, int64_t version,
                                   struct err *err)
{
    CLEANUP(feed_close) struct feed *feed = NULL;
    TRY(feed_open(asked, &feed, err));
    int64_t left = options->limit >= 0 ? options->limit : INT64_MAX;
    int64_t count = 0;
    while (left > 0) {
        struct feed_piece piece;
        bool done = false;
        TRY(feed_read(feed, left < PAGE_ROWS ? left : PAGE_ROWS, &piece, &done, err));
        if (done) {
            break;
        }
        if (!options->count) {
            print_piece(&piece);
        }
        count += piece.frame->rows_count;
        left -= piece.frame->rows_count;
    }
    if (options->count) {
        table_print_count(options->json, count, version);
    }
    return ERR_OK;
}

static enum err_code folder_changes(const struct table_folder_options *options, const char *folder,
                                    struct err *err)
{
    CLEANUP(object_store_close) struct object_store *store = NULL;
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    CLEANUP(schema_release) struct schema *schema = NULL;
    bool flags[SCHEMA_FIELDS_MAX] = {false};
    const bool *mask = NULL;
    TRY(object_store_open_local(folder, &store, err));
    TRY(delta_state_load(store, &state, err));
    TRY(delta_metadata_schema(state->metadata, &schema, err));
    TRY(mask_of(options->columns, schema, flags, &mask, err));
    int64_t to = options->to_version < 0 || options->to_version > state->version
                     ? state->version
                     : options->to_version;
    struct feed_options asked = {
        .store = store, .start = {.version = options->from_version}, .to_version = to};
    CLEANUP(mem_cleanup)
    const char **names = names_of(schema, mask, &asked.columns_count);
    asked.columns = names;
    enum err_code code = print_changes(options, &asked, to, err);
    return code == ERR_OK ? ERR_OK : not_whole(err);
}

/* ---- history ---- */

void table_print_version(bool json, int64_t version, int64_t timestamp_us, const char *operation,
                         const char *engine, int64_t rows_added)
{
    char moment[TEXT_TIMESTAMP_BYTES];
    size_t size = text_format_timestamp(timestamp_us, moment);
    if (json) {
        struct buffer text;
        buffer_init(&text, LINE_BYTES_MAX);
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

static enum err_code folder_history(const struct table_folder_options *options, const char *folder,
                                    struct err *err)
{
    CLEANUP(object_store_close) struct object_store *store = NULL;
    TRY(object_store_open_local(folder, &store, err));
    int64_t left = options->limit >= 0 ? options->limit : INT64_MAX;
    int64_t before = -1;
    bool more = true;
    while (more && left > 0) {
        CLEANUP(history_free) struct history history = {0};
        size_t limit = left < HISTORY_LIMIT_MAX ? (size_t)left : HISTORY_LIMIT_MAX;
        TRY(history_read(store, before, limit, &history, err));
        for (size_t i = 0; i < history.count; i++) {
            const struct history_entry *entry = &history.entries[i];
            table_print_version(options->json, entry->version, entry->timestamp_ms * 1000,
                                entry->operation, entry->engine, entry->rows_added);
            before = entry->version;
        }
        left -= (int64_t)history.count;
        more = history.more && history.count > 0;
    }
    return ERR_OK;
}

/* ---- files ---- */

static struct json *pairs_to_json(const struct delta_pair *pairs, size_t count)
{
    struct json *json = json_new_object();
    for (size_t i = 0; i < count; i++) {
        json_set_text(json, pairs[i].name, pairs[i].value);
    }
    return json;
}

static struct json *file_to_json(const struct delta_file *file)
{
    struct json *json = json_new_object();
    json_set_text(json, "path", file->path);
    json_set_integer(json, "bytes", file->size);
    json_set(json, "rows",
             file->rows_count >= 0 ? json_new_integer(file->rows_count) : json_new_null());
    json_set_integer(json, "deleted_rows",
                     delta_dv_is_present(&file->dv) ? file->dv.cardinality : 0);
    json_set(json, "partition_values",
             pairs_to_json(file->partition_values, file->partition_values_count));
    return json;
}

static void print_json(struct json **json)
{
    struct buffer text;
    buffer_init(&text, LINE_BYTES_MAX);
    json_write(*json, &text);
    (void)printf("%.*s\n", SPAN_PRINT(buffer_span(&text))); /* output */
    buffer_deinit(&text);
    json_free(json);
}

static enum err_code folder_files(const struct table_folder_options *options, const char *folder,
                                  struct err *err)
{
    CLEANUP(object_store_close) struct object_store *store = NULL;
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    TRY(open_state(folder, options, &store, &state, err));
    int64_t left = options->limit >= 0 ? options->limit : INT64_MAX;
    const struct delta_file *file = NULL;
    for (struct delta_cursor at = {0};
         left > 0 && (file = delta_state_next_file(state, &at)) != NULL; left--) {
        if (options->json) {
            struct json *json = file_to_json(file);
            print_json(&json);
        } else {
            (void)printf("%12" PRId64 " bytes %12" PRId64 " rows %10" PRId64 " deleted  %s\n",
                         file->size, file->rows_count,
                         delta_dv_is_present(&file->dv) ? (int64_t)file->dv.cardinality : 0,
                         file->path); /* output */
        }
    }
    return ERR_OK;
}

/* ---- schema ---- */

static struct json *names_to_json(const char *const *names, size_t count)
{
    struct json *json = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(json, json_new_text(names[i]));
    }
    return json;
}

/* All that a reader or writer must know before it touches the table, as the log has it. */
static enum err_code folder_schema(const struct table_folder_options *options, const char *folder,
                                   struct err *err)
{
    CLEANUP(object_store_close) struct object_store *store = NULL;
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    CLEANUP(json_free) struct json *json = json_new_object();
    struct json *schema = NULL;
    TRY(open_state(folder, options, &store, &state, err));
    const struct delta_metadata *metadata = state->metadata;
    const struct delta_protocol *protocol = state->protocol;
    TRY(json_parse_deep(span_of_text(metadata->schema_string), SCHEMA_TEXT_DEPTH_MAX, &schema,
                        err));
    json_set_integer(json, "version", state->version);
    json_set_text(json, "id", metadata->id);
    json_set(json, "schema", schema);
    json_set(json, "partition_columns",
             names_to_json(metadata->partition_columns, metadata->partition_columns_count));
    json_set(json, "configuration",
             pairs_to_json(metadata->configuration, metadata->configuration_count));
    json_set_integer(json, "min_reader_version", protocol->reader_version);
    json_set_integer(json, "min_writer_version", protocol->writer_version);
    json_set(json, "reader_features",
             names_to_json(protocol->reader_features, protocol->reader_features_count));
    json_set(json, "writer_features",
             names_to_json(protocol->writer_features, protocol->writer_features_count));
    print_json(&json);
    return ERR_OK;
}

/* ---- checkpoints ---- */

static enum err_code folder_checkpoints(const struct table_folder_options *options,
                                        const char *folder, struct err *err)
{
    CLEANUP(object_store_close) struct object_store *store = NULL;
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    CLEANUP(delta_checkpoints_free) struct delta_checkpoints list = {0};
    CLEANUP(json_free) struct json *json = json_new_object();
    TRY(open_state(folder, options, &store, &state, err));
    TRY(delta_checkpoints_list(store, &list, err));
    bool has = state->checkpoint_version >= 0;
    json_set_integer(json, "version", state->version);
    json_set(json, "checkpoint_version",
             has ? json_new_integer(state->checkpoint_version) : json_new_null());
    json_set_integer(json, "commits_since", state->version - state->checkpoint_version);
    json_set_integer(json, "log_bytes_since", state->log_bytes);
    json_set(json, "last_checkpoint",
             list.hint >= 0 ? json_new_integer(list.hint) : json_new_null());
    struct json *items = json_new_array();
    for (size_t i = 0; i < list.count; i++) {
        struct json *item = json_new_object();
        json_set_integer(item, "version", list.items[i].version);
        json_set_text(item, "kind", list.items[i].kind);
        json_set_integer(item, "files", (int64_t)list.items[i].files_count);
        json_append(items, item);
    }
    json_set(json, "checkpoints", items);
    print_json(&json);
    return ERR_OK;
}

/* ---- the verbs ---- */

typedef enum err_code run_fn(const struct table_folder_options *options, const char *folder,
                             struct err *err);

static const struct {
    const char *name;
    run_fn *run;
} verbs[] = {
    {"rows", folder_rows},   {"changes", folder_changes}, {"history", folder_history},
    {"files", folder_files}, {"schema", folder_schema},   {"checkpoint-info", folder_checkpoints},
};

static run_fn *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return verbs[i].run;
        }
    }
    return NULL;
}

bool table_folder_has(const char *verb)
{
    return find_verb(verb) != NULL;
}

enum err_code table_folder_run(const char *verb, const char *folder,
                               const struct table_folder_options *options, struct err *err)
{
    return find_verb(verb)(options, folder, err);
}
