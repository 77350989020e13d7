/*
 * A growing collection of decoded actions: what a commit file or a checkpoint
 * says, before it becomes a commit or a state. Private to this folder.
 */
#pragma once

#include "storage/delta/log.h"

/* What a log keeps of commitInfo; zeroed = there is none. Owned by its actions or commit. */
struct delta_info {
    char *text;                     /* the object as JSON; NULL = none, and the rest says nothing */
    char *txn_id;                   /* NULL = absent */
    int64_t in_commit_timestamp_ms; /* -1 = absent */
};

/* Every element holds one reference; delta_actions_deinit gives them back. */
struct delta_actions {
    const struct delta_protocol *protocol; /* NULL = absent */
    const struct delta_metadata *metadata; /* NULL = absent */
    const struct delta_file **files;
    size_t files_count;
    size_t files_capacity;
    const struct delta_txn **txns;
    size_t txns_count;
    size_t txns_capacity;
    const struct delta_domain **domains;
    size_t domains_count;
    size_t domains_capacity;
    char **sidecars; /* checkpoints only: file names below _delta_log/_sidecars, decoded */
    size_t sidecars_count;
    size_t sidecars_capacity;
    struct delta_info info;
    const struct delta_file **change_files; /* cdc */
    size_t change_files_count;
    size_t change_files_capacity;
};

void delta_actions_deinit(struct delta_actions *actions);

/* Each takes the caller's reference. */
void delta_actions_add_file(struct delta_actions *actions, const struct delta_file *file);
void delta_actions_add_change_file(struct delta_actions *actions, const struct delta_file *file);
void delta_actions_add_txn(struct delta_actions *actions, const struct delta_txn *txn);
void delta_actions_add_domain(struct delta_actions *actions, const struct delta_domain *domain);
void delta_actions_set_protocol(struct delta_actions *actions,
                                const struct delta_protocol *protocol);
void delta_actions_set_metadata(struct delta_actions *actions,
                                const struct delta_metadata *metadata);

/* `path` as the sidecar action spells it. Errors: ERR_CORRUPT not a plain file name. */
enum err_code delta_actions_add_sidecar(struct delta_actions *actions, const char *path,
                                        struct err *err) MUST_USE;

/*
 * Checks that JSON and Parquet forms share; every decoder ends in them. `action` is the file's:
 * add, remove or cdc, for the message.
 * Errors: ERR_CORRUPT.
 */
enum err_code delta_file_check(const struct delta_file *file, const char *action,
                               struct err *err) MUST_USE;
enum err_code delta_protocol_check(const struct delta_protocol *protocol, struct err *err) MUST_USE;
enum err_code delta_metadata_check(const struct delta_metadata *metadata, struct err *err) MUST_USE;

/*
 * Decode lines of one JSON action each (a commit file or a V2 JSON checkpoint)
 * and append them. Errors: ERR_CORRUPT, ERR_TOO_LARGE with the line.
 */
enum err_code delta_actions_decode(struct span lines, struct delta_actions *actions,
                                   struct err *err) MUST_USE;

/* A commit of these actions, which are taken and left empty. One reference. */
const struct delta_commit *delta_commit_new(int64_t version, struct span bytes,
                                            struct delta_actions *actions);
