/*
 * Commit files (decode.c). What decodes must encode to lines that decode to the
 * same lines again.
 */
#include "storage/delta/log.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const struct delta_commit *commit, struct buffer *text)
{
    buffer_init(text, DELTA_COMMIT_BYTES_MAX);
    if (commit->protocol != NULL) {
        delta_protocol_encode(commit->protocol, text);
    }
    if (commit->metadata != NULL) {
        delta_metadata_encode(commit->metadata, text);
    }
    for (size_t i = 0; i < commit->txns_count; i++) {
        delta_txn_encode(commit->txns[i], text);
    }
    for (size_t i = 0; i < commit->domains_count; i++) {
        delta_domain_encode(commit->domains[i], text);
    }
    for (size_t i = 0; i < commit->files_count; i++) {
        delta_file_encode(commit->files[i], text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    const struct delta_commit *commit = NULL;
    if (delta_commit_decode(7, span_of(data, size), &commit, &err) != ERR_OK) {
        assert(err.code == ERR_CORRUPT);
        return 0;
    }
    CLEANUP(buffer_deinit) struct buffer once = {0};
    CLEANUP(buffer_deinit) struct buffer twice = {0};
    const struct delta_commit *again = NULL;
    CLEANUP(json_free) struct json *info = NULL;
    enum err_code code = delta_commit_info(commit, &info, &err);
    assert(code == ERR_OK);
    assert((info != NULL) == (commit->info != NULL));
    encode(commit, &once);
    code = delta_commit_decode(7, buffer_span(&once), &again, &err);
    assert(code == ERR_OK);
    encode(again, &twice);
    assert(span_equal(buffer_span(&once), buffer_span(&twice)));
    delta_commit_release(&again);
    delta_commit_release(&commit);
    return 0;
}
