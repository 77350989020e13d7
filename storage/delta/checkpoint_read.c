/*
 * Checkpoints of every kind → actions: classic and multi-part Parquet, V2 as
 * Parquet or JSON, and the sidecars of V2. A trust boundary like decode.c.
 *
 * Columns are resolved by name, a missing one is null, and a struct whose
 * required members are null is as absent as a null struct (other writers' bug).
 *
 * Source: delta PROTOCOL.md "Checkpoints"; reference section 7.
 */
#include "storage/delta/checkpoint_read.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/delta/log_json.h"
#include "storage/delta/stats.h"
#include "storage/object/object.h"
#include "storage/parquet/nested.h"
#include "storage/parquet/reader.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    HINT_BYTES_MAX = 16 << 20,
    HINT_MEMORY_BYTES_MAX = 1 << 30, /* of its values; it holds a schema of every column */
    INT_MEMBER_MISSING = -1,
};

#define SIDECAR_FOLDER DELTA_LOG_FOLDER "/_sidecars"

/* ---- members of a row's tree ---- */

/*
 * Texts of one row: the tree has spans, actions want NUL-terminated texts. One
 * buffer is filled up and forgotten row by row; it is sized by the row first, so
 * that pointers into it stay.
 */
struct row_texts {
    char *memory;
    size_t used;
    size_t capacity;
    struct delta_pair *pairs; /* maps of the row, likewise */
    size_t pairs_used;
    size_t pairs_capacity;
    const char **names; /* lists of texts */
    size_t names_used;
    size_t names_capacity;
    bool broken; /* an embedded NUL, or a member of a wrong kind */
};

static void row_texts_deinit(struct row_texts *texts)
{
    mem_free(texts->memory);
    mem_free(texts->pairs);
    mem_free(texts->names);
}

/* Sum up what the values below `value` need. Depth is bounded by the reader's schema. */
static void measure(const struct parquet_value *value, struct row_texts *need)
{
    switch (value->kind) {
    case PARQUET_TEXT:
    case PARQUET_BINARY:
        need->used += value->bytes.size + 1;
        break;
    case PARQUET_MAP:
    case PARQUET_LIST:
    case PARQUET_GROUP:
        need->pairs_used += value->kind == PARQUET_MAP ? value->count / 2 : 0;
        need->names_used += value->kind == PARQUET_LIST ? value->count : 0;
        for (size_t i = 0; i < value->count; i++) {
            measure(&value->items[i], need);
        }
        break;
    default:
        break;
    }
}

/* Room for `need` items and one more, so that the array is never NULL. */
static void *make_room(void *array, size_t need, size_t *capacity, size_t item_bytes)
{
    if (need < *capacity) {
        return array;
    }
    *capacity = need + 1;
    return mem_resize(array, *capacity, item_bytes);
}

static void row_texts_begin(struct row_texts *texts, const struct parquet_value *row)
{
    struct row_texts need = {0};
    measure(row, &need);
    texts->memory = make_room(texts->memory, need.used, &texts->capacity, 1);
    texts->pairs =
        make_room(texts->pairs, need.pairs_used, &texts->pairs_capacity, sizeof *texts->pairs);
    texts->names =
        make_room(texts->names, need.names_used, &texts->names_capacity, sizeof *texts->names);
    texts->used = 0;
    texts->pairs_used = 0;
    texts->names_used = 0;
    texts->broken = false;
}

static const char *text_of(const struct parquet_value *value, struct row_texts *texts)
{
    if (value == NULL || value->kind == PARQUET_NULL) {
        return NULL;
    }
    bool is_text = value->kind == PARQUET_TEXT || value->kind == PARQUET_BINARY;
    if (!is_text ||
        (value->bytes.size > 0 && memchr(value->bytes.data, '\0', value->bytes.size) != NULL)) {
        texts->broken = true;
        return NULL;
    }
    char *copy = texts->memory + texts->used;
    assert(value->bytes.size < texts->capacity - texts->used);
    if (value->bytes.size > 0) {
        memcpy(copy, value->bytes.data, value->bytes.size);
    }
    copy[value->bytes.size] = '\0';
    texts->used += value->bytes.size + 1;
    return copy;
}

static const char *text_member(const struct parquet_value *group, const char *name,
                               struct row_texts *texts)
{
    return text_of(parquet_value_get(group, name), texts);
}

static int64_t integer_member(const struct parquet_value *group, const char *name,
                              int64_t otherwise, struct row_texts *texts)
{
    const struct parquet_value *value = parquet_value_get(group, name);
    if (value == NULL) {
        return otherwise;
    }
    if (value->kind != PARQUET_INTEGER) {
        texts->broken = true;
        return otherwise;
    }
    return value->integer;
}

static int32_t int32_member(const struct parquet_value *group, const char *name, int32_t otherwise,
                            struct row_texts *texts)
{
    int64_t value = integer_member(group, name, otherwise, texts);
    if (value < INT32_MIN || value > INT32_MAX) {
        texts->broken = true;
        return otherwise;
    }
    return (int32_t)value;
}

static bool boolean_member(const struct parquet_value *group, const char *name, bool otherwise,
                           struct row_texts *texts)
{
    const struct parquet_value *value = parquet_value_get(group, name);
    if (value == NULL) {
        return otherwise;
    }
    if (value->kind != PARQUET_BOOLEAN) {
        texts->broken = true;
        return otherwise;
    }
    return value->boolean;
}

static const struct delta_pair *map_member(const struct parquet_value *group, const char *name,
                                           size_t *count_out, struct row_texts *texts)
{
    const struct parquet_value *value = parquet_value_get(group, name);
    *count_out = 0;
    if (value == NULL) {
        return NULL;
    }
    if (value->kind != PARQUET_MAP || value->count / 2 > DELTA_PAIRS_MAX) {
        texts->broken = true;
        return NULL;
    }
    struct delta_pair *pairs = texts->pairs + texts->pairs_used;
    size_t count = value->count / 2;
    texts->pairs_used += count;
    for (size_t i = 0; i < count; i++) {
        pairs[i].name = text_of(&value->items[i * 2], texts);
        pairs[i].value = text_of(&value->items[i * 2 + 1], texts);
        texts->broken = texts->broken || pairs[i].name == NULL;
    }
    *count_out = count;
    return pairs;
}

static const char **list_member(const struct parquet_value *group, const char *name,
                                size_t *count_out, struct row_texts *texts)
{
    const struct parquet_value *value = parquet_value_get(group, name);
    *count_out = 0;
    if (value == NULL) {
        return NULL;
    }
    if (value->kind != PARQUET_LIST) {
        texts->broken = true;
        return NULL;
    }
    const char **names = texts->names + texts->names_used;
    texts->names_used += value->count;
    for (size_t i = 0; i < value->count; i++) {
        names[i] = text_of(&value->items[i], texts);
        texts->broken = texts->broken || names[i] == NULL;
    }
    *count_out = value->count;
    return names;
}

/* ---- struct statistics → JSON ---- */

static void put_json_value(const struct parquet_value *value, struct buffer *text);

/* Floating point bounds that JSON cannot hold are left out, like binary ones. */
static bool is_printable(const struct parquet_value *value)
{
    switch (value->kind) {
    case PARQUET_NULL:
    case PARQUET_BINARY:
    case PARQUET_LIST:
    case PARQUET_MAP:
        return false;
    case PARQUET_REAL:
        return isfinite(value->real);
    default:
        return true;
    }
}

static void put_group(const struct parquet_value *group, struct buffer *text)
{
    bool first = true;
    buffer_append_byte(text, '{');
    for (size_t i = 0; i < group->count; i++) {
        const struct parquet_value *member = &group->items[i];
        if (!is_printable(member)) {
            continue;
        }
        buffer_append_text(text, first ? "" : ",");
        json_write_string(text, span_of_text(member->node->name));
        buffer_append_byte(text, ':');
        put_json_value(member, text);
        first = false;
    }
    buffer_append_byte(text, '}');
}

/* Recursion follows the file's schema, whose depth the reader bounds. */
static void put_json_value(const struct parquet_value *value, struct buffer *text)
{
    char digits[TEXT_DECIMAL_BYTES];
    char stamp[TEXT_TIMESTAMP_BYTES];
    switch (value->kind) {
    case PARQUET_BOOLEAN:
        buffer_append_text(text, value->boolean ? "true" : "false");
        break;
    case PARQUET_INTEGER:
        buffer_append_format(text, "%lld", (long long)value->integer);
        break;
    case PARQUET_REAL:
        buffer_append(text, digits, text_format_double(value->real, digits));
        break;
    case PARQUET_DECIMAL:
        buffer_append(text, digits,
                      text_format_decimal(value->decimal, value->node->scale, digits));
        break;
    case PARQUET_DATE:
        json_write_string(text, span_of(stamp, text_format_date((int32_t)value->integer, stamp)));
        break;
    case PARQUET_TIMESTAMP:
        json_write_string(text, span_of(stamp, text_format_timestamp(value->integer, stamp)));
        break;
    case PARQUET_TIMESTAMP_NTZ:
        json_write_string(text, span_of(stamp, text_format_timestamp_ntz(value->integer, stamp)));
        break;
    case PARQUET_TEXT:
        json_write_string(text, value->bytes);
        break;
    case PARQUET_GROUP:
        put_group(value, text);
        break;
    default:
        break; /* not printable */
    }
}

/* ---- actions ---- */

static void read_dv(const struct parquet_value *file, struct delta_dv *dv_out,
                    struct row_texts *texts)
{
    const struct parquet_value *group = parquet_value_get(file, "deletionVector");
    const char *storage = text_member(group, "storageType", texts);
    if (storage == NULL) {
        return; /* also a struct that is present with null members: no vector */
    }
    const char *path = text_member(group, "pathOrInlineDv", texts);
    *dv_out = (struct delta_dv){
        .storage = strlen(storage) == 1 ? storage[0] : '?',
        .has_offset = parquet_value_get(group, "offset") != NULL,
        .offset = int32_member(group, "offset", 0, texts),
        .size = int32_member(group, "sizeInBytes", INT_MEMBER_MISSING, texts),
        .cardinality = integer_member(group, "cardinality", INT_MEMBER_MISSING, texts),
        .path_or_inline = path != NULL ? path : "",
    };
}

static enum err_code check_broken(const struct row_texts *texts, const char *action,
                                  struct err *err)
{
    return texts->broken ? err_set(err, ERR_CORRUPT, "%s has a field of the wrong type", action)
                         : ERR_OK;
}

/* Borrowed from the texts. */
static enum err_code read_file(const struct parquet_value *group, bool removed,
                               struct row_texts *texts, struct delta_file *file_out,
                               struct err *err)
{
    struct delta_file file = {
        .path = text_member(group, "path", texts),
        .stats = text_member(group, "stats", texts),
        .clustering_provider = text_member(group, "clusteringProvider", texts),
        .size = integer_member(group, "size", -1, texts),
        .modified_ms = integer_member(group, "modificationTime", 0, texts),
        .deleted_ms = integer_member(group, "deletionTimestamp", 0, texts),
        .base_row_id = integer_member(group, "baseRowId", -1, texts),
        .default_row_commit_version = integer_member(group, "defaultRowCommitVersion", -1, texts),
        .removed = removed,
        .data_change = boolean_member(group, "dataChange", false, texts),
    };
    file.partition_values =
        map_member(group, "partitionValues", &file.partition_values_count, texts);
    file.tags = map_member(group, "tags", &file.tags_count, texts);
    read_dv(group, &file.dv, texts);
    TRY(check_broken(texts, removed ? "remove" : "add", err));
    *file_out = file;
    return delta_file_check(&file, removed ? "remove" : "add", err);
}

static enum err_code read_add(const struct parquet_value *group, struct row_texts *texts,
                              struct delta_actions *actions, struct err *err)
{
    struct delta_file file = {0};
    TRY(read_file(group, false, texts, &file, err));
    CLEANUP(buffer_deinit) struct buffer stats = {0};
    buffer_init(&stats, DELTA_STATS_BYTES_MAX);
    const struct parquet_value *parsed = parquet_value_get(group, "stats_parsed");
    if (file.stats == NULL && parsed != NULL && parsed->kind == PARQUET_GROUP) {
        put_group(parsed, &stats);
        buffer_append_byte(&stats, '\0');
        TRY(buffer_check(&stats, "a file's statistics", err));
        file.stats = (const char *)stats.data;
    }
    delta_actions_add_file(actions, delta_file_new(&file));
    return ERR_OK;
}

static enum err_code keep_removed(void *self, const struct delta_file *file, struct err *err)
{
    (void)err;
    delta_actions_add_file(self, delta_file_new(file));
    return ERR_OK;
}

struct checkpoint_removed checkpoint_removed_to(struct delta_actions *actions)
{
    return (struct checkpoint_removed){.take = keep_removed, .self = actions};
}

static enum err_code read_remove(const struct parquet_value *group, struct row_texts *texts,
                                 const struct checkpoint_removed *removed, struct err *err)
{
    struct delta_file file = {0};
    TRY(read_file(group, true, texts, &file, err));
    return removed->take(removed->self, &file, err);
}

static enum err_code read_protocol(const struct parquet_value *group, struct row_texts *texts,
                                   struct delta_actions *actions, struct err *err)
{
    struct delta_protocol protocol = {
        .reader_version = int32_member(group, "minReaderVersion", 0, texts),
        .writer_version = int32_member(group, "minWriterVersion", 0, texts),
    };
    protocol.reader_features =
        list_member(group, "readerFeatures", &protocol.reader_features_count, texts);
    protocol.writer_features =
        list_member(group, "writerFeatures", &protocol.writer_features_count, texts);
    TRY(check_broken(texts, "protocol", err));
    TRY(delta_protocol_check(&protocol, err));
    delta_actions_set_protocol(actions, delta_protocol_new(&protocol));
    return ERR_OK;
}

static enum err_code read_metadata(const struct parquet_value *group, struct row_texts *texts,
                                   struct delta_actions *actions, struct err *err)
{
    struct delta_metadata metadata = {
        .id = text_member(group, "id", texts),
        .name = text_member(group, "name", texts),
        .description = text_member(group, "description", texts),
        .schema_string = text_member(group, "schemaString", texts),
        .created_ms = integer_member(group, "createdTime", -1, texts),
    };
    metadata.partition_columns =
        list_member(group, "partitionColumns", &metadata.partition_columns_count, texts);
    metadata.configuration =
        map_member(group, "configuration", &metadata.configuration_count, texts);
    metadata.format_options = map_member(parquet_value_get(group, "format"), "options",
                                         &metadata.format_options_count, texts);
    TRY(check_broken(texts, "metaData", err));
    TRY(delta_metadata_check(&metadata, err));
    delta_actions_set_metadata(actions, delta_metadata_new(&metadata));
    return ERR_OK;
}

static enum err_code read_txn(const struct parquet_value *group, struct row_texts *texts,
                              struct delta_actions *actions, struct err *err)
{
    const char *app_id = text_member(group, "appId", texts);
    int64_t version = integer_member(group, "version", INT64_MIN, texts);
    int64_t updated_ms = integer_member(group, "lastUpdated", -1, texts);
    TRY(check_broken(texts, "txn", err));
    if (app_id == NULL || version == INT64_MIN) {
        return err_set(err, ERR_CORRUPT, "txn lacks appId or version");
    }
    delta_actions_add_txn(actions, delta_txn_new(app_id, version, updated_ms));
    return ERR_OK;
}

static enum err_code read_domain(const struct parquet_value *group, struct row_texts *texts,
                                 struct delta_actions *actions, struct err *err)
{
    const char *domain = text_member(group, "domain", texts);
    const char *configuration = text_member(group, "configuration", texts);
    bool removed = boolean_member(group, "removed", false, texts);
    TRY(check_broken(texts, "domainMetadata", err));
    if (domain == NULL) {
        return err_set(err, ERR_CORRUPT, "domainMetadata lacks domain");
    }
    delta_actions_add_domain(
        actions, delta_domain_new(domain, configuration != NULL ? configuration : "", removed));
    return ERR_OK;
}

static enum err_code read_sidecar(const struct parquet_value *group, struct row_texts *texts,
                                  struct delta_actions *actions, struct err *err)
{
    const char *path = text_member(group, "path", texts);
    TRY(check_broken(texts, "sidecar", err));
    if (path == NULL) {
        return err_set(err, ERR_CORRUPT, "sidecar lacks path");
    }
    return delta_actions_add_sidecar(actions, path, err);
}

typedef enum err_code (*read_action_fn)(const struct parquet_value *group, struct row_texts *texts,
                                        struct delta_actions *actions, struct err *err);

/* Tombstones first: who does without them starts behind. */
static const char *const column_names[] = {
    "remove", "add", "txn", "metaData", "protocol", "domainMetadata", "sidecar", NULL};
static const read_action_fn column_readers[] = {
    NULL, read_add, read_txn, read_metadata, read_protocol, read_domain, read_sidecar};

enum { REMOVE_COLUMN = 0, COLUMNS_COUNT = sizeof column_readers / sizeof *column_readers };

/* ---- files ---- */

/* The reader of each wanted column of this file, by its position in a row. */
static void resolve_columns(const struct parquet_node *root, int positions_out[COLUMNS_COUNT])
{
    for (size_t i = 0; i < COLUMNS_COUNT; i++) {
        positions_out[i] = parquet_node_child(root, column_names[i]);
    }
}

static enum err_code read_row(const struct parquet_value *row, const int positions[COLUMNS_COUNT],
                              struct row_texts *texts, const struct checkpoint_removed *removed,
                              struct delta_actions *actions, struct err *err)
{
    row_texts_begin(texts, row);
    for (size_t i = 0; i < COLUMNS_COUNT; i++) {
        if (positions[i] < 0) {
            continue;
        }
        const struct parquet_value *group = &row->items[positions[i]];
        if (group->kind == PARQUET_GROUP) {
            TRY(i == REMOVE_COLUMN ? read_remove(group, texts, removed, err)
                                   : column_readers[i](group, texts, actions, err));
        } else if (group->kind != PARQUET_NULL) {
            return err_set(err, ERR_CORRUPT, "column '%s' is no group", column_names[i]);
        }
    }
    return ERR_OK;
}

static enum err_code read_rows(struct parquet_reader *reader,
                               const struct checkpoint_removed *removed,
                               struct delta_actions *actions, struct err *err)
{
    CLEANUP(parquet_rows_end) struct parquet_rows *rows = NULL;
    CLEANUP(row_texts_deinit) struct row_texts texts = {0};
    if (parquet_reader_rows_count(reader) > DELTA_CHECKPOINT_ROWS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "a checkpoint of more than %d rows",
                       DELTA_CHECKPOINT_ROWS_MAX);
    }
    const char *const *names = column_names + (removed == NULL ? REMOVE_COLUMN + 1 : 0);
    TRY(parquet_rows_begin(reader, names, &rows, err));
    int positions[COLUMNS_COUNT];
    resolve_columns(parquet_rows_root(rows), positions);
    for (int64_t index = 0;; index++) {
        const struct parquet_value *row = NULL;
        TRY(parquet_rows_next(rows, &row, err));
        if (row == NULL) {
            return ERR_OK;
        }
        if (read_row(row, positions, &texts, removed, actions, err) != ERR_OK) {
            return err_wrap(err, "row %lld", (long long)index);
        }
    }
}

static enum err_code read_parquet(struct object_store *store, const char *name,
                                  const struct checkpoint_removed *removed,
                                  struct delta_actions *actions, struct err *err)
{
    CLEANUP(object_close) struct object *object = NULL;
    CLEANUP(parquet_reader_close) struct parquet_reader *reader = NULL;
    TRY(object_open(store, name, &object, err));
    const struct parquet_source source = {
        .read_at = object_read_at, .self = object, .size = object_size(object)};
    TRY(parquet_reader_open(&source, &reader, err));
    return read_rows(reader, removed, actions, err);
}

enum err_code checkpoint_decode(struct span file, const struct checkpoint_removed *removed,
                                struct delta_actions *actions, struct err *err)
{
    CLEANUP(parquet_reader_close) struct parquet_reader *reader = NULL;
    const struct parquet_source source = parquet_source_of(&file);
    TRY(parquet_reader_open(&source, &reader, err));
    return read_rows(reader, removed, actions, err);
}

static enum err_code read_json(struct object_store *store, const char *name,
                               struct delta_actions *actions, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer bytes = {0};
    buffer_init(&bytes, DELTA_COMMIT_BYTES_MAX);
    TRY(object_get(store, name, &bytes, err));
    return delta_actions_decode(buffer_span(&bytes), actions, err);
}

static enum err_code read_object(struct object_store *store, const char *name,
                                 const struct checkpoint_removed *removed,
                                 struct delta_actions *actions, struct err *err)
{
    size_t size = strlen(name);
    bool is_json = size > 5 && strcmp(name + size - 5, ".json") == 0;
    enum err_code code = is_json ? read_json(store, name, actions, err)
                                 : read_parquet(store, name, removed, actions, err);
    return code == ERR_OK ? ERR_OK : err_wrap(err, "'%s'", name);
}

/* Sidecars hold only file actions; one that names sidecars of its own is not followed. */
static enum err_code read_sidecars(struct object_store *store,
                                   const struct checkpoint_removed *removed,
                                   struct delta_actions *actions, struct err *err)
{
    size_t count = actions->sidecars_count;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(mem_cleanup)
        char *name = mem_alloc(strlen(actions->sidecars[i]) + sizeof SIDECAR_FOLDER + 1);
        (void)snprintf(name, strlen(actions->sidecars[i]) + sizeof SIDECAR_FOLDER + 1,
                       SIDECAR_FOLDER "/%s", actions->sidecars[i]); /* fits */
        TRY(read_object(store, name, removed, actions, err));
    }
    return ERR_OK;
}

enum err_code checkpoint_read(struct object_store *store, char *const *names, size_t names_count,
                              const struct checkpoint_removed *removed,
                              struct delta_actions *actions, struct err *err)
{
    assert(names_count > 0);
    for (size_t i = 0; i < names_count; i++) {
        TRY(read_object(store, names[i], removed, actions, err));
    }
    return read_sidecars(store, removed, actions, err);
}

/* ---- _last_checkpoint ---- */

enum err_code checkpoint_hint_decode(struct span text, int64_t *version_out, struct err *err)
{
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, HINT_MEMORY_BYTES_MAX);
    const struct log_json *root = NULL;
    int64_t version = -1;
    if (log_json_parse(text, &arena, &root, err) != ERR_OK) {
        return err_wrap(err, "_last_checkpoint");
    }
    if (!log_json_as_integer(log_json_get(root, "version"), &version) || version < 0) {
        return err_set(err, ERR_CORRUPT, "_last_checkpoint has no version");
    }
    *version_out = version;
    return ERR_OK;
}

int64_t checkpoint_hint(struct object_store *store)
{
    CLEANUP(buffer_deinit) struct buffer text = {0};
    struct err err = {0};
    int64_t version = -1;
    buffer_init(&text, HINT_BYTES_MAX);
    if (object_get(store, DELTA_LOG_FOLDER "/_last_checkpoint", &text, &err) != ERR_OK ||
        checkpoint_hint_decode(buffer_span(&text), &version, &err) != ERR_OK) {
        return -1; /* a hint: listing the log finds the same */
    }
    return version;
}
