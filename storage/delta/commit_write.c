/*
 * Commit files as bytes. See commit_write.h.
 */
#include "storage/delta/commit_write.h"

#include "storage/base/mem.h"

#include <assert.h>

static struct json *copy_or_object(const struct json *value)
{
    return value != NULL ? json_duplicate(value) : json_new_object();
}

static struct json *make_info(const struct commit_info_parts *parts)
{
    struct json *info = json_new_object();
    json_set_integer(info, "timestamp", parts->timestamp_ms);
    json_set_text(info, "operation", parts->operation);
    json_set(info, "operationParameters", copy_or_object(parts->parameters));
    if (parts->read_version >= 0) {
        json_set_integer(info, "readVersion", parts->read_version);
    }
    json_set_text(info, "isolationLevel", "Serializable");
    json_set_boolean(info, "isBlindAppend", parts->blind_append);
    json_set(info, "operationMetrics", copy_or_object(parts->metrics));
    json_set_text(info, "engineInfo", DELTA_ENGINE_INFO);
    json_set_text(info, "txnId", parts->txn_id);
    if (parts->extension != NULL) {
        json_set(info, "sluice", json_duplicate(parts->extension));
    }
    return info;
}

enum err_code commit_info_set(struct delta_actions *actions, const struct commit_info_parts *parts,
                              struct err *err)
{
    assert(actions->info.text == NULL);
    CLEANUP(json_free) struct json *info = make_info(parts);
    CLEANUP(buffer_deinit) struct buffer text = {0};
    buffer_init(&text, DELTA_COMMIT_BYTES_MAX);
    json_write(info, &text);
    buffer_append_byte(&text, '\0');
    TRY(buffer_check(&text, "the commit's commitInfo", err));
    actions->info = (struct delta_info){
        .text = mem_copy(text.data, text.size),
        .txn_id = mem_copy_text(parts->txn_id),
        .in_commit_timestamp_ms = -1, /* not a feature of tables that we write */
    };
    return ERR_OK;
}

enum err_code commit_encode(const struct delta_actions *actions, struct buffer *bytes,
                            struct err *err)
{
    buffer_init(bytes, DELTA_COMMIT_BYTES_MAX);
    buffer_append_text(bytes, "{\"commitInfo\":");
    buffer_append_text(bytes, actions->info.text);
    buffer_append_text(bytes, "}\n");
    if (actions->protocol != NULL) {
        delta_protocol_encode(actions->protocol, bytes);
    }
    if (actions->metadata != NULL) {
        delta_metadata_encode(actions->metadata, bytes);
    }
    for (size_t i = 0; i < actions->txns_count; i++) {
        delta_txn_encode(actions->txns[i], bytes);
    }
    for (size_t i = 0; i < actions->domains_count; i++) {
        delta_domain_encode(actions->domains[i], bytes);
    }
    for (size_t i = 0; i < actions->files_count; i++) {
        delta_file_encode(actions->files[i], bytes);
    }
    for (size_t i = 0; i < actions->change_files_count; i++) {
        delta_change_file_encode(actions->change_files[i], bytes);
    }
    return buffer_check(bytes, "the commit", err);
}
