/*
 * The actions of a Delta log and the commit files that hold them.
 *
 * Decoding is a trust boundary: what comes out of delta_commit_decode obeys
 * every limit below. Unknown actions and fields are ignored (other writers may
 * add them), unknown configuration keys are kept.
 *
 * Everything decoded is immutable and reference-counted, because states of many
 * versions share it; acquire and release may be called from any thread.
 *
 * Source: delta PROTOCOL.md "Actions"; reference/delta-parquet.md sections 2–4.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/base/span.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object_store;

enum {
    DELTA_COMMIT_BYTES_MAX = 256 << 20, /* one N.json */
    DELTA_PATH_BYTES_MAX = 4096,        /* add.path and everything like it */
    DELTA_FEATURES_MAX = 64,
    DELTA_PARTITION_COLUMNS_MAX = 64,
    DELTA_PAIRS_MAX = 4096, /* tags or configuration keys */
    DELTA_LOG_NAME_BYTES = 96,
};

#define DELTA_LOG_FOLDER "_delta_log"
#define DELTA_CHANGE_FOLDER "_change_data"
#define DELTA_ENGINE_INFO "sluice/0.1.0"

/* One entry of a string map. `value` NULL is JSON null. */
struct delta_pair {
    const char *name;
    const char *value;
};

/* ---- protocol ---- */

struct delta_protocol {
    int reader_version;
    int writer_version;
    size_t reader_features_count; /* names only when reader_version is 3 */
    const char **reader_features;
    size_t writer_features_count; /* names only when writer_version is 7 */
    const char **writer_features;
    int references; /* atomic; private to actions.c */
};

const struct delta_protocol *delta_protocol_acquire(const struct delta_protocol *protocol);
void delta_protocol_release(const struct delta_protocol **protocol);

/* Deep copy of a caller's struct; one reference. */
const struct delta_protocol *delta_protocol_new(const struct delta_protocol *protocol);

/* What a table may come to need beyond version 2; bits. */
enum delta_needs {
    DELTA_NEEDS_DELETION_VECTORS = 1,
    DELTA_NEEDS_CHANGE_FEED = 2,
    DELTA_NEEDS_CONSTRAINTS = 4,
    DELTA_NEEDS_COLUMN_MAPPING = 8,
    DELTA_NEEDS_TIMESTAMP_NTZ = 16,
    DELTA_NEEDS_TYPE_WIDENING = 32,
};

/* Listed, or allowed by a writer version below 7. */
bool delta_protocol_has_writer_feature(const struct delta_protocol *protocol, const char *name);
bool delta_protocol_meets(const struct delta_protocol *protocol, unsigned needs);

/*
 * The least protocol that allows all that `protocol` allows, and the needs: itself when it does
 * already, else writer version 7 with its features by name. One reference.
 */
const struct delta_protocol *delta_protocol_extend(const struct delta_protocol *protocol,
                                                   unsigned needs);

/* The least protocol of a table with these needs: (1,2) extended by them. One reference. */
const struct delta_protocol *delta_protocol_new_for(unsigned needs);

struct delta_metadata;

/*
 * The gates. Errors: ERR_UNSUPPORTED naming the version or every feature that
 * we do not have. The writer gate looks at the metadata too (delta.invariants in
 * use); whoever may write may read.
 */
enum err_code delta_protocol_check_read(const struct delta_protocol *protocol,
                                        const struct delta_metadata *metadata,
                                        struct err *err) MUST_USE;
enum err_code delta_protocol_check_write(const struct delta_protocol *protocol,
                                         const struct delta_metadata *metadata,
                                         struct err *err) MUST_USE;

/* ---- metadata ---- */

struct delta_metadata {
    const char *id;          /* uuid text, stable for the table's life */
    const char *name;        /* NULL = absent */
    const char *description; /* NULL = absent */
    const char *schema_string;
    size_t partition_columns_count;
    const char **partition_columns;
    size_t configuration_count;
    const struct delta_pair *configuration; /* every key, known or not, in log order */
    size_t format_options_count;
    const struct delta_pair *format_options;
    int64_t created_ms; /* -1 = absent */
    int references;     /* atomic; private to actions.c */
};

const struct delta_metadata *delta_metadata_acquire(const struct delta_metadata *metadata);
void delta_metadata_release(const struct delta_metadata **metadata);

/* Deep copy of a caller's struct; one reference. */
const struct delta_metadata *delta_metadata_new(const struct delta_metadata *metadata);

/* The fields of metadata that other threads share: everything but its count of references. */
static inline struct delta_metadata delta_metadata_fields(const struct delta_metadata *metadata)
{
    struct delta_metadata fields = {0};
    memcpy(&fields, metadata, offsetof(struct delta_metadata, references));
    return fields;
}

/*
 * How data files call the table's columns. What is not switched on is COLUMN_MAPPING_NONE,
 * whatever the protocol lists.
 * Errors: ERR_UNSUPPORTED a mode that nobody knows.
 */
enum err_code delta_metadata_column_mapping(const struct delta_metadata *metadata,
                                            enum column_mapping *mapping_out,
                                            struct err *err) MUST_USE;

/*
 * The columns as the log has them: nested ones too, mapped as files call them; no key.
 *   schema_out  schema_release
 * Errors: ERR_CORRUPT; ERR_UNSUPPORTED.
 */
enum err_code delta_metadata_schema(const struct delta_metadata *metadata,
                                    struct schema **schema_out, struct err *err) MUST_USE;

/* Writers have to keep a feed of changes; see delta_metadata_flag. */
#define DELTA_CHANGE_FEED_PROPERTY "delta.enableChangeDataFeed"
#define DELTA_MAPPING_MODE_PROPERTY "delta.columnMapping.mode"
#define DELTA_MAPPING_ID_PROPERTY "delta.columnMapping.maxColumnId"

/* A configuration value or NULL. */
const char *delta_metadata_property(const struct delta_metadata *metadata, const char *name);
/* "true"/"false"; anything else is `otherwise`. */
bool delta_metadata_flag(const struct delta_metadata *metadata, const char *name, bool otherwise);
/* Spark's "interval 7 days" texts in ms; absent or unreadable is `otherwise_ms`. */
int64_t delta_metadata_interval_ms(const struct delta_metadata *metadata, const char *name,
                                   int64_t otherwise_ms);
int64_t delta_metadata_integer(const struct delta_metadata *metadata, const char *name,
                               int64_t otherwise);

/* Equal in everything that decides how rows are read or written (id, schema, partitions,
 * configuration). */
bool delta_metadata_equal(const struct delta_metadata *a, const struct delta_metadata *b);

/* ---- files: add and remove ---- */

/* Where a deletion vector lies. Texts are borrowed from their owner. */
struct delta_dv {
    char storage; /* 'u' relative by uuid, 'i' inline, 'p' absolute; 0 = no deletion vector */
    bool has_offset;
    int32_t offset;      /* bytes; of the size field in the file */
    int32_t size;        /* bytes of the vector, magic included */
    int64_t cardinality; /* deleted rows */
    const char *path_or_inline;
};

static inline bool delta_dv_is_present(const struct delta_dv *dv)
{
    return dv->storage != 0;
}

/* Both absent, or same unique id (storage, text, offset). */
bool delta_dv_equal(const struct delta_dv *a, const struct delta_dv *b);

/* A live file (add) or a tombstone (remove). */
struct delta_file {
    const char *path;  /* exactly as the log spells it: URI-encoded; see table_files.h */
    const char *stats; /* JSON text verbatim, NULL = none */
    const struct delta_pair *partition_values;
    size_t partition_values_count;
    const struct delta_pair *tags;
    size_t tags_count;
    const char *clustering_provider; /* NULL = none */
    struct delta_dv dv;
    int64_t size;                       /* bytes; -1 = a remove without extended metadata */
    int64_t modified_ms;                /* add only */
    int64_t deleted_ms;                 /* remove only; 0 = the log did not say: expires at once */
    int64_t rows_count;                 /* physical rows by stats.numRecords; -1 = unknown */
    int64_t base_row_id;                /* -1 = absent */
    int64_t default_row_commit_version; /* -1 = absent */
    bool removed;                       /* a remove action */
    bool data_change;
    int references; /* atomic; private to actions.c */
};

/* Deep copy of a caller's struct into one allocation; one reference. rows_count is read from stats.
 */
const struct delta_file *delta_file_new(const struct delta_file *file);
const struct delta_file *delta_file_acquire(const struct delta_file *file);
void delta_file_release(const struct delta_file **file);

/* The fields of a file that other threads share: everything but its count of references. */
static inline struct delta_file delta_file_fields(const struct delta_file *file)
{
    struct delta_file fields = {0};
    memcpy(&fields, file, offsetof(struct delta_file, references));
    return fields;
}

/* Order by (path, deletion vector id): the key of log replay. */
int delta_file_compare(const struct delta_file *a, const struct delta_file *b);

/* NULL when there is no such tag or partition column. */
const char *delta_file_tag(const struct delta_file *file, const char *name);
const char *delta_file_partition_value(const struct delta_file *file, const char *column,
                                       bool *found_out);

/* Rows a reader sees: physical rows less the vector's; -1 = unknown. */
int64_t delta_file_live_rows(const struct delta_file *file);

/* ---- txn and domainMetadata ---- */

struct delta_txn {
    const char *app_id;
    int64_t version;
    int64_t updated_ms; /* -1 = absent */
    int references;     /* atomic; private to actions.c */
};
const struct delta_txn *delta_txn_new(const char *app_id, int64_t version, int64_t updated_ms);
const struct delta_txn *delta_txn_acquire(const struct delta_txn *txn);
void delta_txn_release(const struct delta_txn **txn);

struct delta_domain {
    const char *domain;
    const char *configuration;
    bool removed;
    int references; /* atomic; private to actions.c */
};
const struct delta_domain *delta_domain_new(const char *domain, const char *configuration,
                                            bool removed);
const struct delta_domain *delta_domain_acquire(const struct delta_domain *domain);
void delta_domain_release(const struct delta_domain **domain);

/* ---- one commit ---- */

/* The decoded N.json. Actions keep the order of their lines. */
struct delta_commit {
    int64_t version;
    uint64_t hash;                         /* of the file's bytes, for overwrite detection */
    const char *info;                      /* commitInfo as JSON text or NULL */
    const char *txn_id;                    /* commitInfo.txnId or NULL */
    int64_t in_commit_timestamp_ms;        /* commitInfo.inCommitTimestamp; -1 = absent */
    int64_t bytes_count;                   /* of the file */
    const struct delta_protocol *protocol; /* NULL = absent */
    const struct delta_metadata *metadata; /* NULL = absent */
    const struct delta_file **files;       /* adds and removes */
    size_t files_count;
    const struct delta_txn **txns;
    size_t txns_count;
    const struct delta_domain **domains;
    size_t domains_count;
    const struct delta_file **change_files; /* cdc: path, partition values, size and tags */
    size_t change_files_count;
    int references; /* atomic; private to commit.c */
};

/*
 * Decode the bytes of a commit file.
 *
 * Errors:  ERR_CORRUPT with the line and what is wrong, never contents;
 *          ERR_TOO_LARGE a line that takes a gigabyte to read.
 * Memory:  copies out of `bytes`; commit_out has one reference.
 */
enum err_code delta_commit_decode(int64_t version, struct span bytes,
                                  const struct delta_commit **commit_out, struct err *err) MUST_USE;
const struct delta_commit *delta_commit_acquire(const struct delta_commit *commit);
void delta_commit_release(const struct delta_commit **commit);

/*
 * commitInfo as a document: json_free; NULL when the commit has none. Replay reads
 * past it, so it is parsed for those who ask only. Errors: ERR_CORRUPT.
 */
enum err_code delta_commit_info(const struct delta_commit *commit, struct json **info_out,
                                struct err *err) MUST_USE;

/* Read and decode one version. Errors: ERR_NOT_FOUND no such version; ERR_CORRUPT; ERR_IO. */
enum err_code delta_commit_read(struct object_store *store, int64_t version,
                                const struct delta_commit **commit_out, struct err *err) MUST_USE;

/*
 * Is version `version` still the commit we wrote? Compares the bytes' hash as
 * delta_commit_result gave it. False also when the file is gone.
 */
enum err_code delta_commit_is_ours(struct object_store *store, int64_t version, uint64_t hash,
                                   bool *ours_out, struct err *err) MUST_USE;

/* ---- encoding: one line each, newline included ---- */
void delta_protocol_encode(const struct delta_protocol *protocol, struct buffer *line);
void delta_metadata_encode(const struct delta_metadata *metadata, struct buffer *line);
void delta_file_encode(const struct delta_file *file, struct buffer *line);
void delta_change_file_encode(const struct delta_file *file, struct buffer *line);
void delta_txn_encode(const struct delta_txn *txn, struct buffer *line);
void delta_domain_encode(const struct delta_domain *domain, struct buffer *line);

/* ---- names in the log folder ---- */

/* "_delta_log/00000000000000000007.json" */
void delta_log_commit_name(int64_t version, char name_out[DELTA_LOG_NAME_BYTES]);

/* Is this object name a commit file? */
bool delta_log_parse_commit(const char *name, int64_t *version_out);
