/*
 * A table's definition as its log holds it: properties of metaData, so that the
 * columns and the rules for them change in one commit, and a folder says by itself
 * what it is. The catalog keeps a copy for listings. Where the two differ the newer
 * version counts: the log is ahead when a change was cut short before the copy was
 * written, the copy when the log was put back to an older state.
 *
 *   sluice.definition         canonical JSON text, as PUT /v1/tables/{table} takes it
 *   sluice.definitionVersion  from 1
 *   delta.constraints.NAME    its constraints, as every engine knows them
 *
 * Tables made before there were such properties have none until their next change.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/columns/schema.h"
#include "storage/delta/log.h"

#include <stddef.h>
#include <stdint.h>

enum {
    DEFINITION_BYTES_MAX = 16 << 20,
};

/* The properties of one definition; owned by the caller. */
struct definition_properties {
    struct delta_pair *pairs; /* borrow from what follows, and from the schema */
    size_t pairs_count;
    char **constraint_names;
    size_t constraints_count;
    struct buffer text;
    char version[16];
};
/* Errors: ERR_TOO_LARGE. */
enum err_code definition_properties_init(struct definition_properties *properties,
                                         const struct schema *schema, struct err *err) MUST_USE;
void definition_properties_deinit(struct definition_properties *properties);

/* What the protocol must allow for this definition: enum delta_needs. */
unsigned definition_needs(const struct schema *schema);

/* The same for a log that has this metadata: of its columns some may have been widened. */
unsigned definition_needs_of(const struct schema *schema, const struct delta_metadata *metadata);

/* Version of the definition in the log; 0 = the log holds none. */
int64_t definition_logged_version(const struct delta_metadata *metadata);

/*
 * The newer of `known` and the one in the log, its columns called in files as the log says: a
 * reference, schema_release.
 *
 * Errors:  ERR_CORRUPT the log's cannot be read; ERR_CONFLICT it is no change that
 *          schema_evolve would let pass, so it is not of our making.
 */
enum err_code definition_in_force(const struct schema *known, const struct delta_metadata *metadata,
                                  struct schema **schema_out, struct err *err) MUST_USE;

/* The one in the log, whatever its version; NULL when the log holds none. schema_release. */
enum err_code definition_logged(const struct delta_metadata *metadata, struct schema **schema_out,
                                struct err *err) MUST_USE;

/* `schema` with its columns called in files as the log says: a reference, schema_release. */
enum err_code definition_adopt(const struct schema *schema, const struct delta_metadata *metadata,
                               struct schema **schema_out, struct err *err) MUST_USE;

/*
 * The definition by which rows are told as they were in an older version: `current` while columns
 * were only added since, else that of then, with the lookups of today that it has columns for.
 *   schema_out  a reference: schema_release
 * Errors:  ERR_CORRUPT the log's cannot be read.
 */
enum err_code definition_at(const struct schema *current, const struct delta_metadata *metadata,
                            struct schema **schema_out, struct err *err) MUST_USE;

/*
 * The metadata that makes `next` the definition: properties, description, and the
 * columns when `columns` says that the log has others. Everything else is kept.
 *   metadata_out  one reference
 * Errors:  ERR_TOO_LARGE.
 */
enum err_code definition_metadata(const struct delta_metadata *current, const struct schema *next,
                                  bool columns, const struct delta_metadata **metadata_out,
                                  struct err *err) MUST_USE;
