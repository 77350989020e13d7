/*
 * JSON lines → actions: the trust boundary of the log. Unknown actions and
 * fields are passed over; known ones must have their type and obey the limits.
 * Messages name line and field, never contents.
 *
 * Source: delta PROTOCOL.md "Actions"; reference section 3.
 */
#include "storage/delta/actions.h"

#include "storage/base/json_raw.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/delta/log_json.h"

#include <assert.h>
#include <string.h>

enum { LINE_MEMORY_BYTES_MAX = 1 << 30 }; /* of one line's values: four times a whole commit */

void delta_actions_deinit(struct delta_actions *actions)
{
    delta_protocol_release(&actions->protocol);
    delta_metadata_release(&actions->metadata);
    for (size_t i = 0; i < actions->files_count; i++) {
        delta_file_release(&actions->files[i]);
    }
    for (size_t i = 0; i < actions->txns_count; i++) {
        delta_txn_release(&actions->txns[i]);
    }
    for (size_t i = 0; i < actions->domains_count; i++) {
        delta_domain_release(&actions->domains[i]);
    }
    for (size_t i = 0; i < actions->sidecars_count; i++) {
        mem_free(actions->sidecars[i]);
    }
    for (size_t i = 0; i < actions->change_files_count; i++) {
        delta_file_release(&actions->change_files[i]);
    }
    mem_free(actions->files);
    mem_free(actions->change_files);
    mem_free(actions->txns);
    mem_free(actions->domains);
    mem_free(actions->sidecars);
    mem_free(actions->info.text);
    mem_free(actions->info.txn_id);
    *actions = (struct delta_actions){0};
}

/* The bytes of `span`, which hold no NUL, as a text. mem_free. */
static char *copy_span(struct span span)
{
    char *copy = mem_alloc(span.size + 1);
    memcpy(copy, span.data, span.size);
    copy[span.size] = '\0';
    return copy;
}

/* Room for one more pointer in an array of pointers. */
static void *grow_pointers(void *array, size_t count, size_t *capacity)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity == 0 ? 8 : *capacity * 2;
    return mem_resize(array, *capacity, sizeof(void *));
}

void delta_actions_add_file(struct delta_actions *actions, const struct delta_file *file)
{
    actions->files = grow_pointers(actions->files, actions->files_count, &actions->files_capacity);
    actions->files[actions->files_count++] = file;
}

void delta_actions_add_change_file(struct delta_actions *actions, const struct delta_file *file)
{
    actions->change_files = grow_pointers(actions->change_files, actions->change_files_count,
                                          &actions->change_files_capacity);
    actions->change_files[actions->change_files_count++] = file;
}

void delta_actions_add_txn(struct delta_actions *actions, const struct delta_txn *txn)
{
    actions->txns = grow_pointers(actions->txns, actions->txns_count, &actions->txns_capacity);
    actions->txns[actions->txns_count++] = txn;
}

void delta_actions_add_domain(struct delta_actions *actions, const struct delta_domain *domain)
{
    actions->domains =
        grow_pointers(actions->domains, actions->domains_count, &actions->domains_capacity);
    actions->domains[actions->domains_count++] = domain;
}

void delta_actions_set_protocol(struct delta_actions *actions,
                                const struct delta_protocol *protocol)
{
    delta_protocol_release(&actions->protocol);
    actions->protocol = protocol;
}

void delta_actions_set_metadata(struct delta_actions *actions,
                                const struct delta_metadata *metadata)
{
    delta_metadata_release(&actions->metadata);
    actions->metadata = metadata;
}

enum err_code delta_actions_add_sidecar(struct delta_actions *actions, const char *path,
                                        struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer name = {0};
    buffer_init(&name, DELTA_PATH_BYTES_MAX);
    if (!text_percent_decode(span_of_text(path), false, &name) || name.size == 0 ||
        name.overflowed || memchr(name.data, '/', name.size) != NULL || name.data[0] == '.') {
        return err_set(err, ERR_CORRUPT, "sidecar.path is no plain file name");
    }
    buffer_append_byte(&name, '\0');
    actions->sidecars =
        grow_pointers(actions->sidecars, actions->sidecars_count, &actions->sidecars_capacity);
    actions->sidecars[actions->sidecars_count++] = mem_copy(name.data, name.size);
    return ERR_OK;
}

/* ---- checks shared with checkpoints ---- */

static bool is_path(const char *path)
{
    return path != NULL && path[0] != '\0' && strlen(path) <= DELTA_PATH_BYTES_MAX;
}

static enum err_code check_dv(const struct delta_dv *dv, struct err *err)
{
    if (!delta_dv_is_present(dv)) {
        return ERR_OK;
    }
    bool is_kind = dv->storage == 'u' || dv->storage == 'i' || dv->storage == 'p';
    if (!is_kind || dv->path_or_inline == NULL) {
        return err_set(err, ERR_CORRUPT, "deletionVector.storageType is none of u, i, p");
    }
    if (dv->size < 0 || dv->cardinality < 0 || (dv->has_offset && dv->offset < 0)) {
        return err_set(err, ERR_CORRUPT, "deletionVector has a negative size or offset");
    }
    return ERR_OK;
}

enum err_code delta_file_check(const struct delta_file *file, const char *action, struct err *err)
{
    if (!is_path(file->path)) {
        return err_set(err, ERR_CORRUPT, "%s.path is missing, empty or over %d bytes", action,
                       DELTA_PATH_BYTES_MAX);
    }
    if (!file->removed && file->size < 0) {
        return err_set(err, ERR_CORRUPT, "%s.size is missing or negative", action);
    }
    if (file->partition_values_count > DELTA_PARTITION_COLUMNS_MAX) {
        return err_set(err, ERR_CORRUPT, "%s has more than %d partition values", action,
                       DELTA_PARTITION_COLUMNS_MAX);
    }
    if (check_dv(&file->dv, err) != ERR_OK) {
        return err_wrap(err, "%s", action);
    }
    return ERR_OK;
}

enum err_code delta_protocol_check(const struct delta_protocol *protocol, struct err *err)
{
    if (protocol->reader_version < 1 || protocol->writer_version < 1) {
        return err_set(err, ERR_CORRUPT, "protocol versions are missing or below 1");
    }
    if (protocol->reader_features_count > DELTA_FEATURES_MAX ||
        protocol->writer_features_count > DELTA_FEATURES_MAX) {
        return err_set(err, ERR_CORRUPT, "protocol lists more than %d features",
                       DELTA_FEATURES_MAX);
    }
    return ERR_OK;
}

enum err_code delta_metadata_check(const struct delta_metadata *metadata, struct err *err)
{
    if (metadata->id == NULL || metadata->id[0] == '\0') {
        return err_set(err, ERR_CORRUPT, "metaData.id is missing");
    }
    if (metadata->schema_string == NULL) {
        return err_set(err, ERR_CORRUPT, "metaData.schemaString is missing");
    }
    if (metadata->partition_columns_count > DELTA_PARTITION_COLUMNS_MAX) {
        return err_set(err, ERR_CORRUPT, "metaData has more than %d partition columns",
                       DELTA_PARTITION_COLUMNS_MAX);
    }
    return ERR_OK;
}

/* ---- fields ---- */

/*
 * One action object while it is taken apart. The first wrong field is kept, so
 * that the decoders below read straight through and check once.
 */
struct fields {
    const struct log_json *object;
    const char *wrong; /* name of the first field of another type; NULL = none */
};

static void note_wrong(struct fields *fields, const char *name)
{
    if (fields->wrong == NULL) {
        fields->wrong = name;
    }
}

/* NULL when absent or null; spec: absent and null are equal. */
static const struct log_json *field(const struct fields *fields, const char *name)
{
    const struct log_json *value = log_json_get(fields->object, name);
    return log_json_kind(value) == LOG_JSON_NULL ? NULL : value;
}

static const char *text_field(struct fields *fields, const char *name)
{
    const struct log_json *value = field(fields, name);
    const char *text = log_json_text(value);
    if (value != NULL && text == NULL) {
        note_wrong(fields, name);
    }
    return text;
}

static int64_t integer_field(struct fields *fields, const char *name, int64_t otherwise)
{
    const struct log_json *value = field(fields, name);
    int64_t integer = otherwise;
    if (value != NULL && !log_json_as_integer(value, &integer)) {
        note_wrong(fields, name);
    }
    return integer;
}

static int32_t int32_field(struct fields *fields, const char *name, int32_t otherwise)
{
    int64_t integer = integer_field(fields, name, otherwise);
    if (integer < INT32_MIN || integer > INT32_MAX) {
        note_wrong(fields, name);
        return otherwise;
    }
    return (int32_t)integer;
}

static bool boolean_field(struct fields *fields, const char *name, bool otherwise)
{
    const struct log_json *value = field(fields, name);
    bool boolean = otherwise;
    if (value != NULL && !log_json_as_boolean(value, &boolean)) {
        note_wrong(fields, name);
    }
    return boolean;
}

static const struct log_json *container_field(struct fields *fields, const char *name,
                                              enum log_json_kind kind)
{
    const struct log_json *value = field(fields, name);
    if (value != NULL && log_json_kind(value) != kind) {
        note_wrong(fields, name);
        return NULL;
    }
    return value;
}

/* A string map; texts borrowed from the document, the array is the caller's to free. */
static struct delta_pair *pairs_field(struct fields *fields, const char *name, size_t *count_out)
{
    const struct log_json *object = container_field(fields, name, LOG_JSON_OBJECT);
    size_t count = log_json_count(object);
    *count_out = 0;
    if (object == NULL || count == 0) {
        return NULL;
    }
    if (count > DELTA_PAIRS_MAX) {
        note_wrong(fields, name);
        return NULL;
    }
    struct delta_pair *pairs = mem_zeroed(count, sizeof *pairs);
    size_t position = 0;
    const struct log_json *value = NULL;
    for (size_t i = 0; log_json_member(object, &position, &pairs[i].name, &value); i++) {
        pairs[i].value = log_json_text(value);
        if (pairs[i].value == NULL && log_json_kind(value) != LOG_JSON_NULL) {
            note_wrong(fields, name);
        }
        *count_out = i + 1;
        if (i + 1 == count) {
            break;
        }
    }
    return pairs;
}

static const char **names_field(struct fields *fields, const char *name, size_t count_max,
                                size_t *count_out)
{
    const struct log_json *array = container_field(fields, name, LOG_JSON_ARRAY);
    size_t count = log_json_count(array);
    *count_out = 0;
    if (array == NULL || count == 0) {
        return NULL;
    }
    if (count > count_max) {
        note_wrong(fields, name);
        return NULL;
    }
    const char **names = mem_zeroed(count, sizeof *names);
    for (size_t i = 0; i < count; i++) {
        names[i] = log_json_text(log_json_at(array, i));
        if (names[i] == NULL) {
            note_wrong(fields, name);
            names[i] = "";
        }
    }
    *count_out = count;
    return names;
}

static enum err_code check_fields(const struct fields *fields, const char *action, struct err *err)
{
    if (fields->wrong != NULL) {
        return err_set(err, ERR_CORRUPT, "%s.%s has the wrong type or is over its limit", action,
                       fields->wrong);
    }
    return ERR_OK;
}

/* ---- actions ---- */

static void dv_field(struct fields *parent, struct delta_dv *dv_out)
{
    struct fields fields = {.object = container_field(parent, "deletionVector", LOG_JSON_OBJECT)};
    if (fields.object == NULL) {
        return;
    }
    const char *storage = text_field(&fields, "storageType");
    const char *path = text_field(&fields, "pathOrInlineDv");
    *dv_out = (struct delta_dv){
        .storage = storage != NULL && strlen(storage) == 1 ? storage[0] : '?',
        .has_offset = field(&fields, "offset") != NULL,
        .offset = int32_field(&fields, "offset", 0),
        .size = int32_field(&fields, "sizeInBytes", -1),
        .cardinality = integer_field(&fields, "cardinality", -1),
        .path_or_inline = path != NULL ? path : "",
    };
    if (fields.wrong != NULL) {
        note_wrong(parent, "deletionVector");
    }
}

/* The members that add, remove and cdc have; those that an action lacks stay at their defaults. */
static enum err_code read_file(const struct log_json *object, const char *action, bool removed,
                               const struct delta_file **file_out, struct err *err)
{
    struct fields fields = {.object = object};
    struct delta_file file = {
        .path = text_field(&fields, "path"),
        .stats = text_field(&fields, "stats"),
        .clustering_provider = text_field(&fields, "clusteringProvider"),
        .size = integer_field(&fields, "size", -1),
        .modified_ms = integer_field(&fields, "modificationTime", 0),
        .deleted_ms = integer_field(&fields, "deletionTimestamp", 0),
        .base_row_id = integer_field(&fields, "baseRowId", -1),
        .default_row_commit_version = integer_field(&fields, "defaultRowCommitVersion", -1),
        .removed = removed,
        .data_change = boolean_field(&fields, "dataChange", true),
    };
    dv_field(&fields, &file.dv);
    CLEANUP(mem_cleanup)
    struct delta_pair *values =
        pairs_field(&fields, "partitionValues", &file.partition_values_count);
    CLEANUP(mem_cleanup) struct delta_pair *tags = pairs_field(&fields, "tags", &file.tags_count);
    file.partition_values = values;
    file.tags = tags;
    TRY(check_fields(&fields, action, err));
    TRY(delta_file_check(&file, action, err));
    *file_out = delta_file_new(&file);
    return ERR_OK;
}

static enum err_code decode_add(const struct log_json *object, struct delta_actions *actions,
                                struct err *err)
{
    const struct delta_file *file = NULL;
    TRY(read_file(object, "add", false, &file, err));
    delta_actions_add_file(actions, file);
    return ERR_OK;
}

static enum err_code decode_remove(const struct log_json *object, struct delta_actions *actions,
                                   struct err *err)
{
    const struct delta_file *file = NULL;
    TRY(read_file(object, "remove", true, &file, err));
    delta_actions_add_file(actions, file);
    return ERR_OK;
}

static enum err_code decode_cdc(const struct log_json *object, struct delta_actions *actions,
                                struct err *err)
{
    const struct delta_file *file = NULL;
    TRY(read_file(object, "cdc", false, &file, err));
    delta_actions_add_change_file(actions, file);
    return ERR_OK;
}

static enum err_code decode_protocol(const struct log_json *object, struct delta_actions *actions,
                                     struct err *err)
{
    struct fields fields = {.object = object};
    struct delta_protocol protocol = {
        .reader_version = int32_field(&fields, "minReaderVersion", 0),
        .writer_version = int32_field(&fields, "minWriterVersion", 0),
    };
    CLEANUP(mem_cleanup)
    const char **readers =
        names_field(&fields, "readerFeatures", DELTA_FEATURES_MAX, &protocol.reader_features_count);
    CLEANUP(mem_cleanup)
    const char **writers =
        names_field(&fields, "writerFeatures", DELTA_FEATURES_MAX, &protocol.writer_features_count);
    protocol.reader_features = readers;
    protocol.writer_features = writers;
    TRY(check_fields(&fields, "protocol", err));
    TRY(delta_protocol_check(&protocol, err));
    delta_actions_set_protocol(actions, delta_protocol_new(&protocol));
    return ERR_OK;
}

static enum err_code decode_metadata(const struct log_json *object, struct delta_actions *actions,
                                     struct err *err)
{
    struct fields fields = {.object = object};
    struct delta_metadata metadata = {
        .id = text_field(&fields, "id"),
        .name = text_field(&fields, "name"),
        .description = text_field(&fields, "description"),
        .schema_string = text_field(&fields, "schemaString"),
        .created_ms = integer_field(&fields, "createdTime", -1),
    };
    struct fields format = {.object = container_field(&fields, "format", LOG_JSON_OBJECT)};
    CLEANUP(mem_cleanup)
    const char **partitions = names_field(&fields, "partitionColumns", DELTA_PARTITION_COLUMNS_MAX,
                                          &metadata.partition_columns_count);
    CLEANUP(mem_cleanup)
    struct delta_pair *configuration =
        pairs_field(&fields, "configuration", &metadata.configuration_count);
    CLEANUP(mem_cleanup)
    struct delta_pair *options = pairs_field(&format, "options", &metadata.format_options_count);
    metadata.partition_columns = partitions;
    metadata.configuration = configuration;
    metadata.format_options = options;
    TRY(check_fields(&fields, "metaData", err));
    TRY(check_fields(&format, "metaData.format", err));
    TRY(delta_metadata_check(&metadata, err));
    delta_actions_set_metadata(actions, delta_metadata_new(&metadata));
    return ERR_OK;
}

static enum err_code decode_txn(const struct log_json *object, struct delta_actions *actions,
                                struct err *err)
{
    struct fields fields = {.object = object};
    const char *app_id = text_field(&fields, "appId");
    int64_t version = integer_field(&fields, "version", INT64_MIN);
    int64_t updated_ms = integer_field(&fields, "lastUpdated", -1);
    TRY(check_fields(&fields, "txn", err));
    if (app_id == NULL || version == INT64_MIN) {
        return err_set(err, ERR_CORRUPT, "txn lacks appId or version");
    }
    delta_actions_add_txn(actions, delta_txn_new(app_id, version, updated_ms));
    return ERR_OK;
}

static enum err_code decode_domain(const struct log_json *object, struct delta_actions *actions,
                                   struct err *err)
{
    struct fields fields = {.object = object};
    const char *domain = text_field(&fields, "domain");
    const char *configuration = text_field(&fields, "configuration");
    bool removed = boolean_field(&fields, "removed", false);
    TRY(check_fields(&fields, "domainMetadata", err));
    if (domain == NULL) {
        return err_set(err, ERR_CORRUPT, "domainMetadata lacks domain");
    }
    delta_actions_add_domain(
        actions, delta_domain_new(domain, configuration != NULL ? configuration : "", removed));
    return ERR_OK;
}

static enum err_code decode_sidecar(const struct log_json *object, struct delta_actions *actions,
                                    struct err *err)
{
    const char *path = log_json_text(log_json_get(object, "path"));
    if (path == NULL) {
        return err_set(err, ERR_CORRUPT, "sidecar lacks path");
    }
    return delta_actions_add_sidecar(actions, path, err);
}

static const struct {
    const char *name;
    enum err_code (*decode)(const struct log_json *object, struct delta_actions *actions,
                            struct err *err);
} action_kinds[] = {
    {"add", decode_add},           {"remove", decode_remove},     {"txn", decode_txn},
    {"metaData", decode_metadata}, {"protocol", decode_protocol}, {"domainMetadata", decode_domain},
    {"cdc", decode_cdc},           {"sidecar", decode_sidecar},
};

static enum err_code decode_action(const char *name, const struct log_json *value,
                                   struct delta_actions *actions, struct err *err)
{
    for (size_t i = 0; i < sizeof action_kinds / sizeof *action_kinds; i++) {
        if (strcmp(action_kinds[i].name, name) == 0) {
            if (log_json_kind(value) != LOG_JSON_OBJECT) {
                return err_set(err, ERR_CORRUPT, "%s is no object", action_kinds[i].name);
            }
            return action_kinds[i].decode(value, actions, err);
        }
    }
    return ERR_OK; /* spec: delta PROTOCOL.md#actions — unknown actions are ignored */
}

/* spec: delta PROTOCOL.md#commit-provenance-information — any object; most of it is for people */
static void keep_info(struct span line, const struct log_json *object, struct delta_info *info)
{
    struct span text;
    if (log_json_kind(object) != LOG_JSON_OBJECT || !json_raw_find(line, "commitInfo", &text)) {
        return;
    }
    const char *txn_id = log_json_text(log_json_get(object, "txnId"));
    info->text = copy_span(text);
    info->txn_id = txn_id != NULL ? mem_copy_text(txn_id) : NULL;
    if (!log_json_as_integer(log_json_get(object, "inCommitTimestamp"),
                             &info->in_commit_timestamp_ms)) {
        info->in_commit_timestamp_ms = -1;
    }
}

static enum err_code decode_line(struct span line, struct arena *arena,
                                 struct delta_actions *actions, struct err *err)
{
    const struct log_json *root = NULL;
    arena_reset(arena);
    TRY(log_json_parse(line, arena, &root, err));
    if (log_json_kind(root) != LOG_JSON_OBJECT) {
        return err_set(err, ERR_CORRUPT, "an action is no object");
    }
    size_t position = 0;
    const char *name = NULL;
    const struct log_json *value = NULL;
    while (log_json_member(root, &position, &name, &value)) {
        if (log_json_kind(value) != LOG_JSON_NULL) {
            TRY(decode_action(name, value, actions, err));
        }
    }
    if (actions->info.text == NULL) {
        keep_info(line, log_json_get(root, "commitInfo"), &actions->info);
    }
    return ERR_OK;
}

enum err_code delta_actions_decode(struct span lines, struct delta_actions *actions,
                                   struct err *err)
{
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, LINE_MEMORY_BYTES_MAX);
    size_t line_number = 1;
    for (size_t start = 0; start < lines.size; line_number++) {
        const uint8_t *newline = memchr(lines.data + start, '\n', lines.size - start);
        size_t end = newline != NULL ? (size_t)(newline - lines.data) : lines.size;
        struct span line = span_of(lines.data + start, end - start);
        while (line.size > 0 &&
               (line.data[line.size - 1] == '\r' || line.data[line.size - 1] == ' ')) {
            line.size--;
        }
        if (line.size > 0 && decode_line(line, &arena, actions, err) != ERR_OK) {
            return err_wrap(err, "line %zu", line_number);
        }
        start = end + 1;
    }
    return ERR_OK;
}
