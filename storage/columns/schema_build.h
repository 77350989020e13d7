/*
 * How the parsers of this folder make a schema: new, fill the fields, seal.
 * Nobody outside includes this; a sealed schema is immutable.
 */
#pragma once

#include "storage/base/span.h"
#include "storage/columns/schema.h"

#include <stddef.h>

/* Zeroed fields, merge append, one reference; schema_release frees it half-filled too. */
struct schema *schema_new(size_t fields_count);

/* The same for fields alone, children of another. */
struct field *schema_fields_new(size_t count);

/* Where a definition comes from: what a client says of changes, a stored one has made already. */
enum schema_origin { SCHEMA_OF_CLIENT, SCHEMA_STORED };

/* Give ids where none is given, build the name index and the encoders' texts, check. */
void schema_seal(struct schema *schema);

/* A pointer into a definition: each level of nested types takes up to "/type/fields/999". */
enum { SCHEMA_POINTER_BYTES = 64 + 24 * (SCHEMA_DEPTH_MAX + 2) };

/*
 * Fill the zeroed field `index` from its JSON; names must differ from earlier fields'.
 * `nodes_left` bounds the fields of the schema, nested ones counted, and goes down.
 * Errors:  ERR_INVALID with the JSON pointer.
 */
enum err_code schema_parse_field(const struct json *value, size_t index, enum schema_origin origin,
                                 size_t *nodes_left, struct schema *schema,
                                 struct err *err) MUST_USE;

/* A name that a column can have; the reserved ones cannot. Errors: ERR_INVALID without a pointer.
 */
enum err_code schema_check_name(const char *name, struct err *err) MUST_USE;

/*
 * One rule (pattern, enum, minimum, maximum, format) into a field that has its type.
 * Errors:  ERR_INVALID without a pointer.
 */
enum err_code schema_parse_rule(const char *name, const struct json *value, struct field *field,
                                struct err *err) MUST_USE;

/* A text [a-z][a-z0-9_]* of at most SCHEMA_PLAIN_NAME_BYTES_MAX bytes; NULL when it is not. */
const char *schema_plain_name(const struct json *value);

/*
 * `constraints` of a definition whose fields are sealed.
 * Errors:  ERR_INVALID with the JSON pointer.
 */
enum err_code schema_parse_constraints(const struct json *value, struct schema *schema,
                                       struct err *err) MUST_USE;

/* "deletion-vectors", "copy-on-write", "append". */
enum { TABLE_MERGE_COUNT = TABLE_APPEND + 1 };
const char *schema_merge_name(enum table_merge merge);

/* At most SCHEMA_SHOWN_BYTES_MAX of a name that a client made up, for messages. */
enum { SCHEMA_SHOWN_BYTES_MAX = 64 };
static inline struct span schema_shown(struct span text)
{
    return span_of(text.data,
                   text.size < SCHEMA_SHOWN_BYTES_MAX ? text.size : SCHEMA_SHOWN_BYTES_MAX);
}

/* NUL-terminated copy on the heap. */
char *schema_copy_text(struct span text);

/* "decimal(10,3)" or the plain type name, of a nested type without what is in it. */
enum { SCHEMA_TYPE_TEXT_BYTES = 24 };
void schema_type_text(const struct field *field, char text_out[SCHEMA_TYPE_TEXT_BYTES]);

/* The type of a field as a definition has it, nested ones with all that is in them. json_free. */
struct json *schema_type_to_json(const struct field *field);

/* "decimal(p,s)" with optional spaces; false when malformed or out of range. */
bool schema_parse_decimal_type(struct span text, int *precision_out, int *scale_out);

/*
 * Give the fields of `schema`, not yet shared, names in files and mapping ids: those of `before`
 * with the same id keep theirs, or, when that maps no columns, are called as in it.
 */
void schema_map_after(struct schema *schema, const struct schema *before);

/* Index of a field by name ignoring ASCII case among the first `count`, or -1. */
int schema_find_ignoring_case(const struct field *fields, size_t count, struct span name);

/* -1, 0, 1 as bound `a` is below, equal to or above `b`, both of a field of `type`. */
int schema_bound_compare(enum column_type type, __int128 a, __int128 b);
