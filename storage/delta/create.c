/*
 * Version 0 of a new table: protocol, metaData, commitInfo.
 * Source: reference sections 2.2, 3.11.
 */
#include "storage/delta/transaction.h"

#include "storage/base/clock.h"
#include "storage/base/hash.h"
#include "storage/base/id.h"
#include "storage/base/mem.h"
#include "storage/delta/actions.h"
#include "storage/delta/commit_write.h"
#include "storage/object/object.h"

#include <assert.h>

/* Our properties and the caller's. */
static struct delta_pair *make_configuration(const struct delta_table_options *options,
                                             size_t *count_out)
{
    struct delta_pair *pairs = mem_zeroed(options->configuration_count + 3, sizeof *pairs);
    size_t count = 0;
    if ((options->needs & DELTA_NEEDS_DELETION_VECTORS) != 0) {
        pairs[count++] = (struct delta_pair){"delta.enableDeletionVectors", "true"};
    }
    if (options->append_only) {
        pairs[count++] = (struct delta_pair){"delta.appendOnly", "true"};
    }
    if ((options->needs & DELTA_NEEDS_CHANGE_FEED) != 0) {
        pairs[count++] = (struct delta_pair){DELTA_CHANGE_FEED_PROPERTY, "true"};
    }
    for (size_t i = 0; i < options->configuration_count; i++) {
        pairs[count++] = options->configuration[i];
    }
    *count_out = count;
    return pairs;
}

static const struct delta_metadata *make_metadata(const struct delta_table_options *options,
                                                  const char *id, int64_t now_ms)
{
    struct delta_metadata metadata = {
        .id = id,
        .name = options->name,
        .description = options->description,
        .schema_string = options->schema_string,
        .partition_columns_count = options->partition_columns_count,
        .created_ms = now_ms,
    };
    CLEANUP(mem_cleanup)
    const char **partitions = mem_zeroed(options->partition_columns_count, sizeof *partitions);
    for (size_t i = 0; i < options->partition_columns_count; i++) {
        partitions[i] = options->partition_columns[i];
    }
    CLEANUP(mem_cleanup)
    struct delta_pair *configuration = make_configuration(options, &metadata.configuration_count);
    metadata.partition_columns = partitions;
    metadata.configuration = configuration;
    return delta_metadata_new(&metadata);
}

/* operationParameters of "CREATE TABLE": values are JSON texts. */
static struct json *make_create_parameters(const struct delta_table_options *options)
{
    struct json *columns = json_new_array();
    for (size_t i = 0; i < options->partition_columns_count; i++) {
        json_append(columns, json_new_text(options->partition_columns[i]));
    }
    CLEANUP(buffer_deinit) struct buffer text = {0};
    buffer_init(&text, DELTA_COMMIT_BYTES_MAX);
    json_write(columns, &text);
    json_free(&columns);
    struct json *parameters = json_new_object();
    json_set(parameters, "partitionBy", json_new_string(buffer_span(&text)));
    json_set_text(parameters, "isManaged", "false");
    json_set_text(parameters, "description", options->description);
    json_set_text(parameters, "properties", "{}");
    return parameters;
}

/* Version 0: any object in the log folder means that there is, or was, a table. */
static enum err_code check_no_table(struct object_store *store, struct err *err)
{
    const struct object_list_options everything = {.folder = DELTA_LOG_FOLDER};
    CLEANUP(object_list_free) struct object_list list = {0};
    TRY(object_list(store, &everything, &list, err));
    return list.count == 0 ? ERR_OK : err_set(err, ERR_EXISTS, "there is a Delta log here already");
}

static enum err_code put_first_commit(struct object_store *store, struct span bytes,
                                      struct err *err)
{
    char name[DELTA_LOG_NAME_BYTES];
    delta_log_commit_name(0, name);
    enum err_code code = object_put_if_absent(store, name, bytes, err);
    if (code != ERR_IO || !object_store_read_back_is_durable(store)) {
        return code;
    }
    struct err reading = {0};
    bool ours = false;
    TRY(delta_commit_is_ours(store, 0, hash_checksum(bytes), &ours, &reading));
    if (ours) {
        err_clear(err);
        return ERR_OK;
    }
    return code;
}

enum err_code delta_table_create(struct object_store *store,
                                 const struct delta_table_options *options, struct json *extension,
                                 struct delta_state **state_out, struct err *err)
{
    CLEANUP(json_free) struct json *taken = extension;
    CLEANUP(json_free) struct json *parameters = make_create_parameters(options);
    CLEANUP(delta_actions_deinit) struct delta_actions actions = {0};
    CLEANUP(buffer_deinit) struct buffer bytes = {0};
    assert(options->schema_string != NULL);
    TRY(check_no_table(store, err));
    struct id table_id = id_new_random();
    struct id txn_id = id_new_random();
    int64_t now_ms = clock_wall_us() / 1000;
    const struct commit_info_parts parts = {
        .timestamp_ms = now_ms,
        .operation = "CREATE TABLE",
        .parameters = parameters,
        .extension = taken,
        .txn_id = txn_id.text,
        .read_version = -1,
        .blind_append = true,
    };
    TRY(commit_info_set(&actions, &parts, err));
    actions.protocol = delta_protocol_new_for(options->needs);
    actions.metadata =
        make_metadata(options, options->id != NULL ? options->id : table_id.text, now_ms);
    TRY(delta_protocol_check_write(actions.protocol, actions.metadata, err));
    TRY(commit_encode(&actions, &bytes, err));
    TRY(put_first_commit(store, buffer_span(&bytes), err));
    return delta_state_load_version(store, 0, state_out, err);
}
