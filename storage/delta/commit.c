/*
 * Commit files: reading one, and the names in the log folder.
 */
#include "storage/delta/actions.h"

#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/object/object.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { VERSION_DIGITS = 20, SMALL_COMMIT_BYTES = 16 << 10 };

void delta_log_commit_name(int64_t version, char name_out[DELTA_LOG_NAME_BYTES])
{
    assert(version >= 0);
    (void)snprintf(name_out, DELTA_LOG_NAME_BYTES, DELTA_LOG_FOLDER "/%020lld.json",
                   (long long)version); /* fits */
}

bool delta_log_parse_commit(const char *name, int64_t *version_out)
{
    const char folder[] = DELTA_LOG_FOLDER "/";
    if (strncmp(name, folder, sizeof folder - 1) != 0) {
        return false;
    }
    const char *digits = name + sizeof folder - 1;
    int64_t version = 0;
    for (int i = 0; i < VERSION_DIGITS; i++) {
        if (digits[i] < '0' || digits[i] > '9' || __builtin_mul_overflow(version, 10, &version) ||
            __builtin_add_overflow(version, digits[i] - '0', &version)) {
            return false;
        }
    }
    *version_out = version;
    return strcmp(digits + VERSION_DIGITS, ".json") == 0;
}

const struct delta_commit *delta_commit_new(int64_t version, struct span bytes,
                                            struct delta_actions *actions)
{
    struct delta_commit *commit = mem_zeroed(1, sizeof *commit);
    commit->version = version;
    commit->hash = hash_checksum(bytes);
    commit->bytes_count = (int64_t)bytes.size;
    commit->info = actions->info.text;
    commit->txn_id = actions->info.txn_id;
    commit->in_commit_timestamp_ms =
        actions->info.text != NULL ? actions->info.in_commit_timestamp_ms : -1;
    commit->protocol = actions->protocol;
    commit->metadata = actions->metadata;
    commit->files = actions->files;
    commit->files_count = actions->files_count;
    commit->txns = actions->txns;
    commit->txns_count = actions->txns_count;
    commit->domains = actions->domains;
    commit->domains_count = actions->domains_count;
    commit->change_files = actions->change_files;
    commit->change_files_count = actions->change_files_count;
    commit->references = 1;
    /* Sidecars belong to checkpoints; a commit that names some is read without them. */
    *actions = (struct delta_actions){.sidecars = actions->sidecars,
                                      .sidecars_count = actions->sidecars_count};
    delta_actions_deinit(actions);
    return commit;
}

enum err_code delta_commit_decode(int64_t version, struct span bytes,
                                  const struct delta_commit **commit_out, struct err *err)
{
    CLEANUP(delta_actions_deinit) struct delta_actions actions = {0};
    TRY(delta_actions_decode(bytes, &actions, err));
    *commit_out = delta_commit_new(version, bytes, &actions);
    return ERR_OK;
}

const struct delta_commit *delta_commit_acquire(const struct delta_commit *commit)
{
    struct delta_commit *counted = (struct delta_commit *)(uintptr_t)commit;
    __atomic_fetch_add(&counted->references, 1, __ATOMIC_RELAXED);
    return commit;
}

void delta_commit_release(const struct delta_commit **commit)
{
    struct delta_commit *counted = (struct delta_commit *)(uintptr_t)*commit;
    *commit = NULL;
    if (counted == NULL || __atomic_fetch_sub(&counted->references, 1, __ATOMIC_ACQ_REL) != 1) {
        return;
    }
    struct delta_actions actions = {
        .protocol = counted->protocol,
        .metadata = counted->metadata,
        .files = counted->files,
        .files_count = counted->files_count,
        .txns = counted->txns,
        .txns_count = counted->txns_count,
        .domains = counted->domains,
        .domains_count = counted->domains_count,
        .change_files = counted->change_files,
        .change_files_count = counted->change_files_count,
        .info = {.text = (char *)(uintptr_t)counted->info,
                 .txn_id = (char *)(uintptr_t)counted->txn_id},
    };
    delta_actions_deinit(&actions);
    mem_free(counted);
}

enum err_code delta_commit_info(const struct delta_commit *commit, struct json **info_out,
                                struct err *err)
{
    if (commit->info == NULL) {
        *info_out = NULL;
        return ERR_OK;
    }
    if (json_parse(span_of_text(commit->info), info_out, err) != ERR_OK) {
        err->code = ERR_CORRUPT; /* what is stored is wrong, not what the caller asked */
        return err_wrap(err, "commitInfo of commit %lld", (long long)commit->version);
    }
    return ERR_OK;
}

enum err_code delta_commit_read(struct object_store *store, int64_t version,
                                const struct delta_commit **commit_out, struct err *err)
{
    char name[DELTA_LOG_NAME_BYTES];
    delta_log_commit_name(version, name);
    CLEANUP(buffer_deinit) struct buffer bytes = {0};
    buffer_init(&bytes, DELTA_COMMIT_BYTES_MAX);
    TRY(object_get(store, name, &bytes, err));
    if (delta_commit_decode(version, buffer_span(&bytes), commit_out, err) != ERR_OK) {
        return err_wrap(err, "commit %lld", (long long)version);
    }
    return ERR_OK;
}

enum err_code delta_commit_is_ours(struct object_store *store, int64_t version, uint64_t hash,
                                   bool *ours_out, struct err *err)
{
    char name[DELTA_LOG_NAME_BYTES];
    delta_log_commit_name(version, name);
    CLEANUP(buffer_deinit) struct buffer bytes = {0};
    buffer_init(&bytes, DELTA_COMMIT_BYTES_MAX);
    enum err_code code = object_get(store, name, &bytes, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err);
        *ours_out = false;
        return ERR_OK;
    }
    TRY(code);
    *ours_out = hash_checksum(buffer_span(&bytes)) == hash;
    return ERR_OK;
}
