/*
 * Actions → JSON lines, in the member order of Spark's files. What the log gave
 * us (paths, statistics, unknown configuration) is printed unchanged.
 */
#include "storage/delta/log.h"

#include "storage/base/json.h"

#include <assert.h>
#include <string.h>

/* Begin the member `name`, after a comma unless it is the first of its object. */
static void put_name(struct buffer *line, const char *name)
{
    if (line->size > 0 && line->data[line->size - 1] != '{') {
        buffer_append_byte(line, ',');
    }
    buffer_append_byte(line, '"');
    buffer_append_text(line, name);
    buffer_append_text(line, "\":");
}

static void put_text(struct buffer *line, const char *name, const char *text)
{
    if (text != NULL) {
        put_name(line, name);
        json_write_string(line, span_of_text(text));
    }
}

static void put_integer(struct buffer *line, const char *name, int64_t integer)
{
    put_name(line, name);
    buffer_append_format(line, "%lld", (long long)integer);
}

/* Absent is written by leaving the member out. */
static void put_known_integer(struct buffer *line, const char *name, int64_t integer)
{
    if (integer >= 0) {
        put_integer(line, name, integer);
    }
}

static void put_boolean(struct buffer *line, const char *name, bool boolean)
{
    put_name(line, name);
    buffer_append_text(line, boolean ? "true" : "false");
}

static void put_pairs(struct buffer *line, const char *name, const struct delta_pair *pairs,
                      size_t count)
{
    put_name(line, name);
    buffer_append_byte(line, '{');
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(line, i > 0 ? "," : "");
        json_write_string(line, span_of_text(pairs[i].name));
        buffer_append_byte(line, ':');
        if (pairs[i].value != NULL) {
            json_write_string(line, span_of_text(pairs[i].value));
        } else {
            buffer_append_text(line, "null");
        }
    }
    buffer_append_byte(line, '}');
}

static void put_names(struct buffer *line, const char *name, const char *const *names, size_t count)
{
    put_name(line, name);
    buffer_append_byte(line, '[');
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(line, i > 0 ? "," : "");
        json_write_string(line, span_of_text(names[i]));
    }
    buffer_append_byte(line, ']');
}

static void put_dv(struct buffer *line, const struct delta_dv *dv)
{
    if (!delta_dv_is_present(dv)) {
        return;
    }
    const char storage[] = {dv->storage, '\0'};
    put_name(line, "deletionVector");
    buffer_append_byte(line, '{');
    put_text(line, "storageType", storage);
    put_text(line, "pathOrInlineDv", dv->path_or_inline);
    if (dv->has_offset) {
        put_integer(line, "offset", dv->offset);
    }
    put_integer(line, "sizeInBytes", dv->size);
    put_integer(line, "cardinality", dv->cardinality);
    buffer_append_byte(line, '}');
}

static void begin_action(struct buffer *line, const char *action)
{
    buffer_append_text(line, "{\"");
    buffer_append_text(line, action);
    buffer_append_text(line, "\":{");
}

static void end_action(struct buffer *line)
{
    buffer_append_text(line, "}}\n");
}

void delta_protocol_encode(const struct delta_protocol *protocol, struct buffer *line)
{
    begin_action(line, "protocol");
    put_integer(line, "minReaderVersion", protocol->reader_version);
    put_integer(line, "minWriterVersion", protocol->writer_version);
    if (protocol->reader_version >= 3) {
        put_names(line, "readerFeatures", protocol->reader_features,
                  protocol->reader_features_count);
    }
    if (protocol->writer_version >= 7) {
        put_names(line, "writerFeatures", protocol->writer_features,
                  protocol->writer_features_count);
    }
    end_action(line);
}

void delta_metadata_encode(const struct delta_metadata *metadata, struct buffer *line)
{
    begin_action(line, "metaData");
    put_text(line, "id", metadata->id);
    put_text(line, "name", metadata->name);
    put_text(line, "description", metadata->description);
    put_name(line, "format");
    buffer_append_byte(line, '{');
    put_text(line, "provider", "parquet");
    put_pairs(line, "options", metadata->format_options, metadata->format_options_count);
    buffer_append_byte(line, '}');
    put_text(line, "schemaString", metadata->schema_string);
    put_names(line, "partitionColumns", metadata->partition_columns,
              metadata->partition_columns_count);
    put_pairs(line, "configuration", metadata->configuration, metadata->configuration_count);
    put_known_integer(line, "createdTime", metadata->created_ms);
    end_action(line);
}

static void encode_add(const struct delta_file *file, struct buffer *line)
{
    begin_action(line, "add");
    put_text(line, "path", file->path);
    put_pairs(line, "partitionValues", file->partition_values, file->partition_values_count);
    put_integer(line, "size", file->size);
    put_integer(line, "modificationTime", file->modified_ms);
    put_boolean(line, "dataChange", file->data_change);
    put_text(line, "stats", file->stats);
    if (file->tags_count > 0) {
        put_pairs(line, "tags", file->tags, file->tags_count);
    }
    put_dv(line, &file->dv);
    put_known_integer(line, "baseRowId", file->base_row_id);
    put_known_integer(line, "defaultRowCommitVersion", file->default_row_commit_version);
    put_text(line, "clusteringProvider", file->clustering_provider);
    end_action(line);
}

static void encode_remove(const struct delta_file *file, struct buffer *line)
{
    begin_action(line, "remove");
    put_text(line, "path", file->path);
    put_integer(line, "deletionTimestamp", file->deleted_ms);
    put_boolean(line, "dataChange", file->data_change);
    if (file->size >= 0) {
        put_boolean(line, "extendedFileMetadata", true);
        put_pairs(line, "partitionValues", file->partition_values, file->partition_values_count);
        put_integer(line, "size", file->size);
    }
    if (file->tags_count > 0) {
        put_pairs(line, "tags", file->tags, file->tags_count);
    }
    put_dv(line, &file->dv);
    put_known_integer(line, "baseRowId", file->base_row_id);
    put_known_integer(line, "defaultRowCommitVersion", file->default_row_commit_version);
    end_action(line);
}

void delta_file_encode(const struct delta_file *file, struct buffer *line)
{
    if (file->removed) {
        encode_remove(file, line);
    } else {
        encode_add(file, line);
    }
}

/* spec: delta PROTOCOL.md#add-cdc-file — dataChange is false by definition */
void delta_change_file_encode(const struct delta_file *file, struct buffer *line)
{
    begin_action(line, "cdc");
    put_text(line, "path", file->path);
    put_pairs(line, "partitionValues", file->partition_values, file->partition_values_count);
    put_integer(line, "size", file->size);
    put_boolean(line, "dataChange", false);
    if (file->tags_count > 0) {
        put_pairs(line, "tags", file->tags, file->tags_count);
    }
    end_action(line);
}

void delta_txn_encode(const struct delta_txn *txn, struct buffer *line)
{
    begin_action(line, "txn");
    put_text(line, "appId", txn->app_id);
    put_integer(line, "version", txn->version);
    put_known_integer(line, "lastUpdated", txn->updated_ms);
    end_action(line);
}

void delta_domain_encode(const struct delta_domain *domain, struct buffer *line)
{
    begin_action(line, "domainMetadata");
    put_text(line, "domain", domain->domain);
    put_text(line, "configuration", domain->configuration);
    put_boolean(line, "removed", domain->removed);
    end_action(line);
}
