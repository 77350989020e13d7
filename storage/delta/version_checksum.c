/*
 * Version checksums. See version_checksum.h.
 */
#include "storage/delta/version_checksum.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/object/object.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void name_of(int64_t version, char name[DELTA_LOG_NAME_BYTES])
{
    (void)snprintf(name, DELTA_LOG_NAME_BYTES, DELTA_LOG_FOLDER "/%020" PRId64 ".crc",
                   version); /* no longer than the commit's */
}

/* The object of an action's line: {"metaData":{…}} without what is around it. */
static void append_object(const struct buffer *line, struct buffer *text)
{
    static const size_t tail = 2; /* the brace and the line's end */
    const uint8_t *colon = memchr(line->data, ':', line->size);
    assert(colon != NULL);
    size_t start = (size_t)(colon + 1 - line->data);
    buffer_append(text, line->data + start, line->size - start - tail);
}

static void append_actions(const struct delta_state *state, struct buffer *text)
{
    CLEANUP(buffer_deinit) struct buffer line;
    buffer_init(&line, VERSION_CHECKSUM_BYTES_MAX);
    buffer_append_text(text, ",\"metadata\":");
    delta_metadata_encode(state->metadata, &line);
    append_object(&line, text);
    buffer_append_text(text, ",\"protocol\":");
    buffer_reset(&line);
    delta_protocol_encode(state->protocol, &line);
    append_object(&line, text);
    int64_t count = delta_state_txns_count(state);
    if (count > VERSION_CHECKSUM_TXNS_MAX) {
        return; /* leaving them out says nothing of them */
    }
    buffer_append_text(text, ",\"setTransactions\":[");
    for (int64_t i = 0; i < count; i++) {
        buffer_append_text(text, i > 0 ? "," : "");
        buffer_reset(&line);
        delta_txn_encode(delta_state_txn_at(state, i), &line);
        append_object(&line, text);
    }
    buffer_append_text(text, "]");
}

enum err_code version_checksum_write(struct object_store *store, const struct delta_state *state,
                                     struct err *err)
{
    char name[DELTA_LOG_NAME_BYTES];
    CLEANUP(buffer_deinit) struct buffer text;
    struct err absent = {0};
    int64_t size = 0;
    int64_t modified_ms = 0;
    buffer_init(&text, VERSION_CHECKSUM_BYTES_MAX);
    name_of(state->version, name);
    if (object_stat(store, name, &size, &modified_ms, &absent) == ERR_OK) {
        return ERR_OK;
    }
    buffer_append_format(&text,
                         "{\"tableSizeBytes\":%" PRId64 ",\"numFiles\":%" PRId64
                         ",\"numDeletedRecordsOpt\":%" PRId64 ",\"numDeletionVectorsOpt\":%" PRId64
                         ",\"numMetadata\":1,\"numProtocol\":1",
                         state->files_bytes, state->files_count, state->deleted_rows_count,
                         state->files_with_dv_count);
    append_actions(state, &text);
    buffer_append_byte(&text, '}');
    TRY(buffer_check(&text, "the version's checksum", err));
    return object_replace(store, name, buffer_span(&text), err);
}

/* ---- verifying ---- */

static enum err_code compare(const struct json *checksum, const char *name, bool required,
                             int64_t replayed, struct err *err)
{
    int64_t stated = 0;
    const struct json *value = json_get(checksum, name);
    if (value == NULL && !required) {
        return ERR_OK;
    }
    if (!json_as_integer(value, &stated)) {
        return err_set(err, ERR_CORRUPT, "it does not say %s", name);
    }
    if (stated != replayed) {
        return err_set(err, ERR_CORRUPT, "it says %s %" PRId64 ", the log comes to %" PRId64, name,
                       stated, replayed);
    }
    return ERR_OK;
}

static enum err_code verify(const struct json *checksum, const struct delta_state *state,
                            struct err *err)
{
    TRY(compare(checksum, "tableSizeBytes", true, state->files_bytes, err));
    TRY(compare(checksum, "numFiles", true, state->files_count, err));
    TRY(compare(checksum, "numDeletedRecordsOpt", false, state->deleted_rows_count, err));
    return compare(checksum, "numDeletionVectorsOpt", false, state->files_with_dv_count, err);
}

enum err_code version_checksum_verify(struct object_store *store, const struct delta_state *state,
                                      bool *found_out, struct err *err)
{
    char name[DELTA_LOG_NAME_BYTES];
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(json_free) struct json *checksum = NULL;
    buffer_init(&text, VERSION_CHECKSUM_BYTES_MAX);
    name_of(state->version, name);
    enum err_code code = object_get(store, name, &text, err);
    *found_out = code != ERR_NOT_FOUND;
    if (code == ERR_NOT_FOUND) {
        err_clear(err);
        return ERR_OK;
    }
    TRY(code);
    code = json_parse(buffer_span(&text), &checksum, err);
    if (code == ERR_OK) {
        code = verify(checksum, state, err);
    }
    if (code != ERR_OK) {
        err->code = ERR_CORRUPT; /* malformed too: it was read from a log */
        return err_wrap(err, "checksum of version %" PRId64, state->version);
    }
    return ERR_OK;
}
