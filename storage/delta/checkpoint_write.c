/*
 * Writing classic checkpoints in exactly Spark's schema. The file is made in
 * memory, read back and compared there, then given its name atomically: what is
 * visible is whole and right (Spark does not pass over a broken checkpoint). Off
 * the commit path; the state is immutable, so nobody waits.
 *
 * Source: delta PROTOCOL.md "Checkpoints"; reference section 7.2, 7.3.
 */
#include "storage/delta/checkpoint.h"

#include "storage/base/clock.h"
#include "storage/base/hash.h"
#include "storage/delta/checkpoint_read.h"
#include "storage/delta/removed.h"
#include "storage/delta/replay.h"
#include "storage/object/object.h"
#include "storage/parquet/nested.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 128, BETWEEN_TOMBSTONES = 4096 /* ten milliseconds of work */ };

/* ---- the schema ---- */

#define FIELD(field_name, field_kind)                                                              \
    {                                                                                              \
        .name = (field_name), .kind = (field_kind)                                                 \
    }
#define FIELD_INT32(field_name)                                                                    \
    {                                                                                              \
        .name = (field_name), .kind = PARQUET_INTEGER, .is_int32 = true                            \
    }
#define FIELD_OF(field_name, field_kind, fields)                                                   \
    {                                                                                              \
        .name = (field_name), .kind = (field_kind), .children = (fields),                          \
        .children_count = sizeof(fields) / sizeof *(fields)                                        \
    }

static const struct parquet_tree_field text_map[] = {FIELD("key", PARQUET_TEXT),
                                                     FIELD("value", PARQUET_TEXT)};
static const struct parquet_tree_field text_list[] = {FIELD("element", PARQUET_TEXT)};

static const struct parquet_tree_field txn_fields[] = {FIELD("appId", PARQUET_TEXT),
                                                       FIELD("version", PARQUET_INTEGER),
                                                       FIELD("lastUpdated", PARQUET_INTEGER)};

static const struct parquet_tree_field dv_fields[] = {FIELD("storageType", PARQUET_TEXT),
                                                      FIELD("pathOrInlineDv", PARQUET_TEXT),
                                                      FIELD_INT32("offset"),
                                                      FIELD_INT32("sizeInBytes"),
                                                      FIELD("cardinality", PARQUET_INTEGER),
                                                      FIELD("maxRowIndex", PARQUET_INTEGER)};

static const struct parquet_tree_field add_fields[] = {
    FIELD("path", PARQUET_TEXT),
    FIELD_OF("partitionValues", PARQUET_MAP, text_map),
    FIELD("size", PARQUET_INTEGER),
    FIELD("modificationTime", PARQUET_INTEGER),
    FIELD("dataChange", PARQUET_BOOLEAN),
    FIELD_OF("tags", PARQUET_MAP, text_map),
    FIELD_OF("deletionVector", PARQUET_GROUP, dv_fields),
    FIELD("baseRowId", PARQUET_INTEGER),
    FIELD("defaultRowCommitVersion", PARQUET_INTEGER),
    FIELD("clusteringProvider", PARQUET_TEXT),
    FIELD("stats", PARQUET_TEXT)};

static const struct parquet_tree_field remove_fields[] = {
    FIELD("path", PARQUET_TEXT),
    FIELD("deletionTimestamp", PARQUET_INTEGER),
    FIELD("dataChange", PARQUET_BOOLEAN),
    FIELD("extendedFileMetadata", PARQUET_BOOLEAN),
    FIELD_OF("partitionValues", PARQUET_MAP, text_map),
    FIELD("size", PARQUET_INTEGER),
    FIELD_OF("deletionVector", PARQUET_GROUP, dv_fields),
    FIELD("baseRowId", PARQUET_INTEGER),
    FIELD("defaultRowCommitVersion", PARQUET_INTEGER)};

static const struct parquet_tree_field format_fields[] = {
    FIELD("provider", PARQUET_TEXT), FIELD_OF("options", PARQUET_MAP, text_map)};

static const struct parquet_tree_field metadata_fields[] = {
    FIELD("id", PARQUET_TEXT),
    FIELD("name", PARQUET_TEXT),
    FIELD("description", PARQUET_TEXT),
    FIELD_OF("format", PARQUET_GROUP, format_fields),
    FIELD("schemaString", PARQUET_TEXT),
    FIELD_OF("partitionColumns", PARQUET_LIST, text_list),
    FIELD_OF("configuration", PARQUET_MAP, text_map),
    FIELD("createdTime", PARQUET_INTEGER)};

static const struct parquet_tree_field protocol_fields[] = {
    FIELD_INT32("minReaderVersion"), FIELD_INT32("minWriterVersion"),
    FIELD_OF("readerFeatures", PARQUET_LIST, text_list),
    FIELD_OF("writerFeatures", PARQUET_LIST, text_list)};

static const struct parquet_tree_field domain_fields[] = {FIELD("domain", PARQUET_TEXT),
                                                          FIELD("configuration", PARQUET_TEXT),
                                                          FIELD("removed", PARQUET_BOOLEAN)};

static const struct parquet_tree_field columns[] = {
    FIELD_OF("txn", PARQUET_GROUP, txn_fields),
    FIELD_OF("add", PARQUET_GROUP, add_fields),
    FIELD_OF("remove", PARQUET_GROUP, remove_fields),
    FIELD_OF("metaData", PARQUET_GROUP, metadata_fields),
    FIELD_OF("protocol", PARQUET_GROUP, protocol_fields),
    FIELD_OF("domainMetadata", PARQUET_GROUP, domain_fields)};

static const struct parquet_tree_field root = FIELD_OF("spark_schema", PARQUET_GROUP, columns);

/* ---- rows ---- */

/* Tombstones that went by, whatever their order. */
struct tally {
    struct buffer text; /* of the one at hand */
    uint64_t sum;       /* of their checksums */
    int64_t count;
    int64_t oldest_ms;
    const struct delta_checkpoint_options *options;
};

/* What was written, to be compared with what reads back. */
struct made {
    struct delta_checkpoint_result result;
    uint64_t removed_sum;
};

/* The file being written; every row adds to the count. */
struct checkpoint_writer {
    struct parquet_tree_writer *tree;
    int64_t rows_count;
    int64_t adds_count;
    int64_t cutoff_ms; /* tombstones of then and before are expired */
    struct tally removed;
};

static void put_text(struct checkpoint_writer *writer, const char *name, const char *text)
{
    if (text != NULL) {
        parquet_tree_text(writer->tree, name, span_of_text(text));
    }
}

static void put_known(struct checkpoint_writer *writer, const char *name, int64_t value)
{
    if (value >= 0) {
        parquet_tree_integer(writer->tree, name, value);
    }
}

static void put_map(struct checkpoint_writer *writer, const char *name,
                    const struct delta_pair *pairs, size_t count)
{
    parquet_tree_begin(writer->tree, name);
    for (size_t i = 0; i < count; i++) {
        parquet_tree_text(writer->tree, "key", span_of_text(pairs[i].name));
        put_text(writer, "value", pairs[i].value);
    }
    parquet_tree_end(writer->tree);
}

static void put_list(struct checkpoint_writer *writer, const char *name, const char *const *names,
                     size_t count)
{
    parquet_tree_begin(writer->tree, name);
    for (size_t i = 0; i < count; i++) {
        parquet_tree_text(writer->tree, "element", span_of_text(names[i]));
    }
    parquet_tree_end(writer->tree);
}

/* A file without a vector must have a null struct, not one of nulls: readers differ there. */
static void put_dv(struct checkpoint_writer *writer, const struct delta_dv *dv)
{
    if (!delta_dv_is_present(dv)) {
        return;
    }
    parquet_tree_begin(writer->tree, "deletionVector");
    parquet_tree_text(writer->tree, "storageType", span_of(&dv->storage, 1));
    put_text(writer, "pathOrInlineDv", dv->path_or_inline);
    if (dv->has_offset) {
        parquet_tree_integer(writer->tree, "offset", dv->offset);
    }
    parquet_tree_integer(writer->tree, "sizeInBytes", dv->size);
    parquet_tree_integer(writer->tree, "cardinality", dv->cardinality);
    parquet_tree_end(writer->tree);
}

static enum err_code end_row(struct checkpoint_writer *writer, struct err *err)
{
    writer->rows_count++;
    return parquet_tree_end_row(writer->tree, err);
}

static enum err_code write_add(struct checkpoint_writer *writer, const struct delta_file *file,
                               struct err *err)
{
    struct parquet_tree_writer *tree = writer->tree;
    parquet_tree_begin(tree, "add");
    put_text(writer, "path", file->path);
    put_map(writer, "partitionValues", file->partition_values, file->partition_values_count);
    parquet_tree_integer(tree, "size", file->size);
    parquet_tree_integer(tree, "modificationTime", file->modified_ms);
    parquet_tree_boolean(tree, "dataChange", false);
    if (file->tags_count > 0) {
        put_map(writer, "tags", file->tags, file->tags_count);
    }
    put_dv(writer, &file->dv);
    put_known(writer, "baseRowId", file->base_row_id);
    put_known(writer, "defaultRowCommitVersion", file->default_row_commit_version);
    put_text(writer, "clusteringProvider", file->clustering_provider);
    put_text(writer, "stats", file->stats);
    parquet_tree_end(tree);
    writer->adds_count++;
    return end_row(writer, err);
}

static void append_field(struct buffer *text, const char *field)
{
    buffer_append_text(text, field != NULL ? field : "");
    buffer_append_byte(text, '\0');
}

/* All that a checkpoint keeps of a tombstone. */
static enum err_code tally_add(struct tally *tally, const struct delta_file *file, struct err *err)
{
    struct buffer *text = &tally->text;
    buffer_reset(text);
    append_field(text, file->path);
    append_field(text, file->dv.path_or_inline);
    const int64_t numbers[] = {file->dv.storage,  file->dv.has_offset ? file->dv.offset : -1,
                               file->dv.size,     file->dv.cardinality,
                               file->size,        file->deleted_ms,
                               file->base_row_id, file->default_row_commit_version};
    buffer_append(text, numbers, sizeof numbers);
    for (size_t i = 0; i < (file->size >= 0 ? file->partition_values_count : 0); i++) {
        append_field(text, file->partition_values[i].name);
        append_field(text, file->partition_values[i].value);
    }
    tally->sum += hash_checksum(buffer_span(text));
    tally->count++;
    tally->oldest_ms = file->deleted_ms < tally->oldest_ms ? file->deleted_ms : tally->oldest_ms;
    bool pause = tally->options->between != NULL && tally->count % BETWEEN_TOMBSTONES == 0;
    return pause ? tally->options->between(tally->options->between_arg, err) : ERR_OK;
}

static enum err_code write_remove(void *self, const struct delta_file *file, struct err *err)
{
    struct checkpoint_writer *writer = self;
    struct parquet_tree_writer *tree = writer->tree;
    if (file->deleted_ms <= writer->cutoff_ms) {
        return ERR_OK;
    }
    TRY(tally_add(&writer->removed, file, err));
    parquet_tree_begin(tree, "remove");
    put_text(writer, "path", file->path);
    parquet_tree_integer(tree, "deletionTimestamp", file->deleted_ms);
    parquet_tree_boolean(tree, "dataChange", false);
    if (file->size >= 0) {
        parquet_tree_boolean(tree, "extendedFileMetadata", true);
        put_map(writer, "partitionValues", file->partition_values, file->partition_values_count);
        parquet_tree_integer(tree, "size", file->size);
    }
    put_dv(writer, &file->dv);
    put_known(writer, "baseRowId", file->base_row_id);
    put_known(writer, "defaultRowCommitVersion", file->default_row_commit_version);
    parquet_tree_end(tree);
    return end_row(writer, err);
}

static enum err_code write_metadata(struct checkpoint_writer *writer,
                                    const struct delta_metadata *metadata, struct err *err)
{
    struct parquet_tree_writer *tree = writer->tree;
    parquet_tree_begin(tree, "metaData");
    put_text(writer, "id", metadata->id);
    put_text(writer, "name", metadata->name);
    put_text(writer, "description", metadata->description);
    parquet_tree_begin(tree, "format");
    put_text(writer, "provider", "parquet");
    put_map(writer, "options", metadata->format_options, metadata->format_options_count);
    parquet_tree_end(tree);
    put_text(writer, "schemaString", metadata->schema_string);
    put_list(writer, "partitionColumns", metadata->partition_columns,
             metadata->partition_columns_count);
    put_map(writer, "configuration", metadata->configuration, metadata->configuration_count);
    put_known(writer, "createdTime", metadata->created_ms);
    parquet_tree_end(tree);
    return end_row(writer, err);
}

static enum err_code write_protocol(struct checkpoint_writer *writer,
                                    const struct delta_protocol *protocol, struct err *err)
{
    struct parquet_tree_writer *tree = writer->tree;
    parquet_tree_begin(tree, "protocol");
    parquet_tree_integer(tree, "minReaderVersion", protocol->reader_version);
    parquet_tree_integer(tree, "minWriterVersion", protocol->writer_version);
    if (protocol->reader_version >= 3) {
        put_list(writer, "readerFeatures", protocol->reader_features,
                 protocol->reader_features_count);
    }
    if (protocol->writer_version >= 7) {
        put_list(writer, "writerFeatures", protocol->writer_features,
                 protocol->writer_features_count);
    }
    parquet_tree_end(tree);
    return end_row(writer, err);
}

static enum err_code write_txn(struct checkpoint_writer *writer, const struct delta_txn *txn,
                               struct err *err)
{
    parquet_tree_begin(writer->tree, "txn");
    put_text(writer, "appId", txn->app_id);
    parquet_tree_integer(writer->tree, "version", txn->version);
    put_known(writer, "lastUpdated", txn->updated_ms);
    parquet_tree_end(writer->tree);
    return end_row(writer, err);
}

static enum err_code write_domain(struct checkpoint_writer *writer,
                                  const struct delta_domain *domain, struct err *err)
{
    parquet_tree_begin(writer->tree, "domainMetadata");
    put_text(writer, "domain", domain->domain);
    put_text(writer, "configuration", domain->configuration);
    parquet_tree_boolean(writer->tree, "removed", false);
    parquet_tree_end(writer->tree);
    return end_row(writer, err);
}

static enum err_code write_rows(struct checkpoint_writer *writer, struct object_store *store,
                                const struct delta_state *state, struct err *err)
{
    TRY(write_protocol(writer, state->protocol, err));
    TRY(write_metadata(writer, state->metadata, err));
    for (int64_t i = 0; i < delta_state_txns_count(state); i++) {
        TRY(write_txn(writer, delta_state_txn_at(state, i), err));
    }
    for (int64_t i = 0; i < delta_state_domains_count(state); i++) {
        TRY(write_domain(writer, delta_state_domain_at(state, i), err));
    }
    const struct delta_file *file = NULL;
    for (struct delta_cursor at = {0}; (file = delta_state_next_file(state, &at)) != NULL;) {
        TRY(write_add(writer, file, err));
    }
    return delta_removed_each(state, store, write_remove, writer, err);
}

/* ---- the file ---- */

static void tally_init(struct tally *tally, const struct delta_checkpoint_options *options)
{
    *tally = (struct tally){.oldest_ms = options->now_ms, .options = options};
    buffer_init(&tally->text, DELTA_COMMIT_BYTES_MAX);
}

static void tally_deinit(struct tally *tally)
{
    buffer_deinit(&tally->text);
}

static void writer_deinit(struct checkpoint_writer *writer)
{
    parquet_tree_close(&writer->tree);
    tally_deinit(&writer->removed);
}

static enum err_code encode(struct object_store *store, const struct delta_state *state,
                            const struct delta_checkpoint_options *options, struct buffer *file,
                            struct made *made, struct err *err)
{
    CLEANUP(writer_deinit)
    struct checkpoint_writer writer = {.cutoff_ms =
                                           options->now_ms - delta_state_retention_ms(state)};
    tally_init(&writer.removed, options);
    buffer_reset(file);
    const struct parquet_sink sink = parquet_sink_to_buffer(file);
    TRY(parquet_tree_open(NULL, &root, &sink, &writer.tree, err));
    TRY(write_rows(&writer, store, state, err));
    TRY(parquet_tree_finish(writer.tree, &made->result.file_bytes, err));
    made->result.actions_count = writer.rows_count;
    made->result.adds_count = writer.adds_count;
    made->result.removed_count = writer.removed.count;
    made->result.removed_oldest_ms = writer.removed.oldest_ms;
    made->removed_sum = writer.removed.sum;
    return ERR_OK;
}

/* ---- reading back ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_file(const struct delta_file *a, const struct delta_file *b)
{
    return delta_file_compare(a, b) == 0 && a->size == b->size &&
           a->dv.cardinality == b->dv.cardinality && a->dv.size == b->dv.size &&
           a->modified_ms == b->modified_ms && same_text(a->stats, b->stats) &&
           a->partition_values_count == b->partition_values_count;
}

static enum err_code compare_files(const struct delta_state *written,
                                   const struct delta_state *read, struct err *err)
{
    struct delta_cursor at = {0};
    struct delta_cursor read_at = {0};
    const struct delta_file *file = NULL;
    while ((file = delta_state_next_file(written, &at)) != NULL) {
        const struct delta_file *other = delta_state_next_file(read, &read_at);
        if (other == NULL || !same_file(file, other)) {
            return err_set(err, ERR_CORRUPT, "a live file reads back differently");
        }
    }
    return ERR_OK;
}

static enum err_code compare_states(const struct delta_state *written,
                                    const struct delta_state *read, struct err *err)
{
    if (written->files_count != read->files_count ||
        delta_state_txns_count(written) != delta_state_txns_count(read) ||
        delta_state_domains_count(written) != delta_state_domains_count(read) ||
        !delta_metadata_equal(written->metadata, read->metadata)) {
        return err_set(err, ERR_CORRUPT, "what reads back has other counts or metadata");
    }
    for (int64_t i = 0; i < delta_state_txns_count(written); i++) {
        const struct delta_txn *txn = delta_state_txn_at(written, i);
        const struct delta_txn *other = delta_state_txn_at(read, i);
        if (strcmp(txn->app_id, other->app_id) != 0 || txn->version != other->version) {
            return err_set(err, ERR_CORRUPT, "a txn reads back differently");
        }
    }
    return compare_files(written, read, err);
}

static enum err_code take_removed(void *self, const struct delta_file *file, struct err *err)
{
    return tally_add(self, file, err);
}

static enum err_code validate(struct span file, const struct delta_state *written,
                              const struct delta_checkpoint_options *options,
                              const struct made *made, struct err *err)
{
    CLEANUP(delta_actions_deinit) struct delta_actions actions = {0};
    CLEANUP(replay_deinit) struct replay replay = {0};
    CLEANUP(delta_state_release) struct delta_state *read = NULL;
    CLEANUP(tally_deinit) struct tally tally;
    tally_init(&tally, options);
    const struct checkpoint_removed removed = {.take = take_removed, .self = &tally};
    TRY(checkpoint_decode(file, &removed, &actions, err));
    if (tally.count != made->result.removed_count || tally.sum != made->removed_sum) {
        return err_set(err, ERR_CORRUPT, "a tombstone reads back differently");
    }
    replay_add_actions(&replay, &actions);
    TRY(replay_finish(&replay, written->version, written->timestamp_ms, &read, err));
    return compare_states(written, read, err);
}

/* ---- announcing ---- */

/*
 * Hadoop's local file system verifies ".<name>.crc" when it is there; one that
 * Spark left for what we replaced would make our file unreadable to it.
 */
static void remove_side_file(struct object_store *store, const char *name)
{
    char side[NAME_BYTES + DELTA_LOG_NAME_BYTES];
    struct err err = {0};
    (void)snprintf(side, sizeof side, DELTA_LOG_FOLDER "/.%s.crc",
                   name + sizeof DELTA_LOG_FOLDER); /* fits */
    if (object_remove(store, side, &err) != ERR_OK) {
        err_clear(&err); /* Spark would say so; nothing of ours depends on it */
    }
}

static enum err_code announce(struct object_store *store,
                              const struct delta_checkpoint_result *result, struct err *err)
{
    static const char name[] = DELTA_LOG_FOLDER "/_last_checkpoint";
    if (checkpoint_hint(store) > result->version) {
        return ERR_OK; /* somebody announced a newer one meanwhile */
    }
    CLEANUP(buffer_deinit) struct buffer text = {0};
    buffer_init(&text, NAME_BYTES * 4);
    buffer_append_format(&text,
                         "{\"version\":%lld,\"size\":%lld,\"sizeInBytes\":%lld,"
                         "\"numOfAddFiles\":%lld}",
                         (long long)result->version, (long long)result->actions_count,
                         (long long)result->file_bytes, (long long)result->adds_count);
    remove_side_file(store, name);
    return object_replace(store, name, buffer_span(&text), err);
}

/* Where the short way to the tombstones does not lead there, the whole log decides. */
static enum err_code encode_somehow(struct object_store *store, const struct delta_state *state,
                                    const struct delta_checkpoint_options *options,
                                    struct buffer *file, struct made *made, struct err *err)
{
    struct err otherwise = {0};
    if (encode(store, state, options, file, made, &otherwise) == ERR_OK) {
        return ERR_OK;
    }
    CLEANUP(delta_state_release) struct delta_state *whole = NULL;
    TRY(delta_state_load_whole(store, state->version, &whole, err));
    return encode(store, whole, options, file, made, err);
}

enum err_code delta_checkpoint_write(struct object_store *store, const struct delta_state *state,
                                     const struct delta_checkpoint_options *options,
                                     struct delta_checkpoint_result *result_out, struct err *err)
{
    char name[DELTA_LOG_NAME_BYTES];
    CLEANUP(buffer_deinit) struct buffer file = {0};
    struct made made = {.result = {.version = state->version}};
    buffer_init(&file, DELTA_CHECKPOINT_BYTES_MAX);
    int64_t started_us = clock_monotonic_us();
    TRY(encode_somehow(store, state, options, &file, &made, err));
    int64_t encoded_us = clock_monotonic_us();
    if (validate(buffer_span(&file), state, options, &made, err) != ERR_OK) {
        return err_wrap(err, "reading back the checkpoint of version %lld",
                        (long long)state->version);
    }
    int64_t validated_us = clock_monotonic_us();
    checkpoint_classic_name(state->version, name);
    remove_side_file(store, name);
    TRY(object_replace(store, name, buffer_span(&file), err));
    TRY(announce(store, &made.result, err));
    made.result.validate_us = validated_us - encoded_us;
    made.result.write_us = clock_monotonic_us() - started_us - made.result.validate_us;
    *result_out = made.result;
    return ERR_OK;
}
