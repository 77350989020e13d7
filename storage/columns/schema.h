/*
 * A table's schema: fields, their Delta types and the rules a record must obey.
 * Immutable after construction and shared by reference count, because frames in
 * the journal, open tables and requests hold the version they were made with.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SCHEMA_FIELDS_MAX = 1000,
    SCHEMA_KEY_FIELDS_MAX = 16, /* of key and partition_by alike */
    SCHEMA_LOOKUP_MAX = 16,
    SCHEMA_PLAIN_NAME_BYTES_MAX = 64, /* entity and as of lookups, constraints */
    SCHEMA_DESCRIPTION_BYTES_MAX = 4096,
    SCHEMA_FOREIGN_NAME_BYTES_MAX = 1024, /* column names in tables of other engines */
    SCHEMA_NAME_BYTES_MAX = 128,
    SCHEMA_ENUM_VALUES_MAX = 1000,
    SCHEMA_PATTERN_BYTES_MAX = 1024,
    SCHEMA_PARTITION_BYTES_MAX = 256,  /* of a text that a table is partitioned by */
    SCHEMA_STRING_BYTES_MAX = 1 << 20, /* of one value, when max_length does not say less */
    SCHEMA_DECIMAL_PRECISION_MAX = 38,
    SCHEMA_DEPTH_MAX = 32,    /* of nested types within each other */
    SCHEMA_NODES_MAX = 20000, /* fields of one schema, nested ones counted */
};

/*
 * Delta's type names.
 */
enum column_type {
    COLUMN_STRING,
    COLUMN_INTEGER,   /* int32_t */
    COLUMN_LONG,      /* int64_t */
    COLUMN_DOUBLE,    /* double, finite from the API, anything from foreign files */
    COLUMN_BOOLEAN,   /* uint8_t 0 or 1 */
    COLUMN_DATE,      /* int32_t days since 1970-01-01 */
    COLUMN_TIMESTAMP, /* int64_t microseconds since the epoch, UTC */
    COLUMN_DECIMAL,   /* __int128 unscaled; precision and scale in the field */
    COLUMN_BINARY,
    COLUMN_BYTE,          /* int32_t storage, -128…127 */
    COLUMN_SHORT,         /* int32_t storage */
    COLUMN_FLOAT,         /* double storage, float values */
    COLUMN_TIMESTAMP_NTZ, /* int64_t microseconds without zone */
    COLUMN_STRUCT,        /* nested: one value of each of the field's children */
    COLUMN_ARRAY,         /* nested: any number of the only child, the element */
    COLUMN_MAP, /* nested: entries of the first child, the key, and the second, the value */
    COLUMN_TYPE_COUNT,
};

/* Has a field of this type children? */
static inline bool column_type_is_nested(enum column_type type)
{
    return type >= COLUMN_STRUCT;
}

/* Is equality of such values the equality of their bytes? Of keys, lookups, keys of maps, orders.
 */
static inline bool column_type_is_key(enum column_type type)
{
    return type != COLUMN_DOUBLE && type != COLUMN_FLOAT && type != COLUMN_BINARY &&
           !column_type_is_nested(type);
}

/* Bytes of one value slot in a column; 0 for string, binary and nested types. */
size_t column_type_slot_bytes(enum column_type type);
const char *column_type_name(enum column_type type); /* "decimal" without precision */

enum field_format {
    FORMAT_NONE,
    FORMAT_NPI,
    FORMAT_NDC11,
    FORMAT_DEA,
    FORMAT_MBI,
    FORMAT_ZIP,
    FORMAT_STATE,
    FORMAT_COUNT,
};

/* Does `text` obey `format`? Sources: health rules A2 (Luhn over 80840+NPI, …). */
bool field_format_holds(enum field_format format, struct span text);
const char *field_format_name(enum field_format format);

struct column;
struct field_pattern; /* compiled expression, match-limited; storage/columns/pattern.c */

struct field {
    char *name; /* unique ignoring case among its siblings; set once, like everything here */
    enum column_type type;
    int precision; /* decimal only */
    int scale;     /* decimal only */
    bool nullable;
    bool phi;
    int32_t id;         /* stable across schema versions, from 1, never given again; frames and row
                           images carry it; of a child: its place in the parent, from 1 */
    int64_t max_length; /* code points (string) or bytes (binary), -1 = none */
    enum field_format format;
    struct field_pattern *pattern; /* NULL = none */
    char *pattern_text;            /* as given, NULL = none */
    struct span *enum_values;      /* strings only; enum_count of them */
    size_t enum_count;
    bool has_minimum, has_maximum;     /* numeric types; compared exactly */
    char *minimum_text, *maximum_text; /* as given (JSON number or date text) */
    __int128 minimum,
        maximum;            /* in the column's unit; for double: bits of the double in the low 64 */
    char *description;      /* NULL = none */
    struct span json_name;  /* "\"name\":" as the JSON encoders print it */
    uint32_t *enum_order;   /* private to field_enum_holds */
    struct field *children; /* struct: its fields; array: "element"; map: "key", "value"; else NULL.
                               `nullable` of an element or a map's value says whether it may be */
    size_t children_count;
    /* of a Delta table that maps columns: how data files, partition values and statistics call
       this one */
    char *physical_name; /* NULL = name; see field_physical_name */
    int32_t physical_id; /* files' columns are found by this field_id, not by name; 0 = they are
                            found by name */
    int32_t mapping_id;  /* delta.columnMapping.id; 0 = the table maps no columns */
    char *renamed_from;  /* what a definition just read says that it was called; NULL = nothing */
};

static inline const char *field_physical_name(const struct field *field)
{
    return field->physical_name != NULL ? field->physical_name : field->name;
}

/* Is `text` one of the field's enum values? Binary search. The field must have an enum. */
bool field_enum_holds(const struct field *field, struct span text);

/* minimum or maximum of a double column. */
static inline double field_bound_double(__int128 bound)
{
    uint64_t bits = (uint64_t)bound;
    double value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

struct lookup_column {
    char *entity;  /* "member" */
    char *as;      /* "prescriptions" */
    size_t column; /* index into fields */
};

/* A condition that every row meets (predicate.h). */
struct schema_constraint {
    char *name;
    char *check;
};
enum {
    SCHEMA_CONSTRAINTS_MAX = 100,
    SCHEMA_SPARES_MAX = 2, /* frames of one record: one that decodes, one that merges */
};

enum table_merge { TABLE_DELETION_VECTORS, TABLE_COPY_ON_WRITE, TABLE_APPEND };

/*
 * A whole table definition as PUT /v1/tables/{table} states it, validated.
 * Field ids ascend with the index: added fields go to the end.
 */
struct schema {
    int32_t version; /* of the definition, from 1; grows with each accepted change */
    size_t fields_count;
    struct field *fields;
    size_t key_count;
    size_t key[SCHEMA_KEY_FIELDS_MAX]; /* indexes into fields, in declared order */
    bool has_sequence;
    size_t sequence; /* index into fields */
    size_t partition_count;
    size_t partition[SCHEMA_KEY_FIELDS_MAX];
    size_t lookup_count;
    struct lookup_column *lookup;
    enum table_merge merge;
    int64_t delete_retention_seconds;
    size_t constraints_count;
    struct schema_constraint *constraints;
    bool change_feed;      /* each commit keeps what it changed, for readers of its changes */
    int32_t next_field_id; /* above every id that was ever given */
    size_t dropped_count;  /* names that a definition just read wants no more */
    char **dropped;
    char *description;
    /* private to schema.c: */
    int references; /* atomic */
    void *name_index;
    /* private to frame.c: columns of small frames that were freed, for the next ones, and what
     * frees them when there are any; atomic */
    struct column *spare_columns[SCHEMA_SPARES_MAX];
    void (*free_spares)(struct schema *schema);
};

/*
 * Validate a definition. What the rules are, beyond the shape of the JSON:
 *   names      ASCII letters, digits, underscore, not starting with a digit; unique
 *              ignoring case; not _op, _change_type, _commit_version, _commit_timestamp
 *   key        required and refused as `merge` says (append tables have none); fields
 *              nullable:false of any type but double, float, binary and nested ones: types
 *              whose equality is the equality of their bytes
 *   sequence_by  nullable:false integer, long, date or timestamp; keyed tables only
 *   partition_by string, integer, long, boolean or date, not phi, not all fields; texts
 *              have 1 to SCHEMA_PARTITION_BYTES_MAX bytes, because Delta cannot tell the
 *              empty text from null and the value names a folder
 *   lookup     column types as for keys, nullable or not; `as` equal to `entity` makes
 *              the table the entity's root and needs the key to be exactly the column
 *   constraints  names of their own, conditions that predicate_parse takes
 *   renamed_from, dropped  what schema_evolve makes of them; a name cannot be both kept and dropped
 *   type       a name, or an object as Delta's schemaString has it: struct with fields, array
 *              with elementType and containsNull, map with keyType, valueType and
 *              valueContainsNull; nulls are allowed where nothing is said. Keys of maps have
 *              the types that keys have. Fields of a struct have rules of their own, but phi
 *              and protect are the column's
 *   rules      max_length on string and binary; pattern, enum and format on string;
 *              minimum and maximum on numbers, decimals (number, or text when a number
 *              would not be exact), dates and timestamps (text)
 *
 * Errors:  ERR_INVALID with the JSON pointer of the first fault, e.g.
 *          "/schema/fields/3/type: unknown type 'int'; use one of string, …".
 * Memory:  schema_out starts with one reference: schema_release.
 */
enum err_code schema_parse(const struct json *definition, struct schema **schema_out,
                           struct err *err) MUST_USE;

/*
 * Before schema_parse, of a definition read from `text`: bounds of decimal fields
 * that stand there as numbers which a document rounds become texts with all digits.
 */
void schema_keep_digits(struct json *definition, struct span text);

/*
 * As schema_parse, for a definition that was accepted as `version` before (the
 * catalog's copy).
 * Errors:  also ERR_CORRUPT for a version below 1.
 */
enum err_code schema_load(const struct json *definition, int32_t version,
                          struct schema **schema_out, struct err *err) MUST_USE;

/* The definition as clients see it, in canonical member order; schema_parse of it is equal. */
struct json *schema_to_json(const struct schema *schema);

/*
 * The same with the fields' ids where fields were dropped: schema_load of it is equal but for the
 * names in data files, which stand in the log (schema_adopt_mapping).
 */
struct json *schema_to_stored_json(const struct schema *schema);

/*
 * The definition `next` as a change of `current`: keeps field ids, allows
 * additive nullable fields, wider types (widen.h) but of keys and lookups, looser rules, more
 * lookups, another delete retention, other constraints (whoever writes the definition looks at the
 * rows), a feed of changes or none and new descriptions; assigns version and ids. The order of
 * fields that exist says nothing: they keep their place and new ones follow.
 *
 * A field is renamed when its new name says `renamed_from`, and dropped when `dropped` names it:
 * one that is just left out is refused. What was done already is no change: a field whose name is
 * there was not renamed from another, a name that is not there was dropped before. From the first
 * of these changes on the table maps its columns: those that exist are called in files as they
 * were, new ones by names that were never used.
 *
 * `same_out` says that nothing differs; the result is `current` then.
 * Errors:  ERR_CONFLICT with the reason a change is refused.
 */
enum err_code schema_evolve(const struct schema *current, const struct schema *next,
                            struct schema **schema_out, bool *same_out, struct err *err) MUST_USE;

/*
 * Can `later`, a definition with ids, have come from `current` by one change or several that
 * schema_evolve let pass?
 * Errors:  ERR_CONFLICT with the reason that it cannot.
 */
enum err_code schema_check_follows(const struct schema *current, const struct schema *later,
                                   struct err *err) MUST_USE;

/*
 * `schema` with its fields called in files as `logged`, the table's columns, calls those of the
 * same name: a reference, to `schema` itself when that changes nothing. Fields that the log does
 * not have keep what they are called, or get names that were never used.
 */
struct schema *schema_adopt_mapping(const struct schema *schema, const struct schema *logged);

/* Are its fields called in files by names of their own? */
static inline bool schema_is_mapped(const struct schema *schema)
{
    return schema->fields[0].physical_name != NULL; /* all are mapped, or none */
}

struct schema *schema_acquire(const struct schema *schema); /* any thread */
void schema_release(struct schema **schema);

/*
 * Its columns and partition columns, without key, rules and lookups, and a string column more at
 * the end. Field ids stay.
 * Errors:  ERR_UNSUPPORTED there is such a column, ignoring case, or no room for it.
 */
enum err_code schema_extend(const struct schema *schema, const char *name,
                            struct schema **schema_out, struct err *err) MUST_USE;

/* Index of a field by exact name (bytes), or -1. O(1). */
int schema_field_index(const struct schema *schema, struct span name);
int schema_field_index_by_id(const struct schema *schema, int32_t id);

/* Does it state this very one, name and condition? */
bool schema_has_constraint(const struct schema *schema, const struct schema_constraint *constraint);

/* The highest mapping_id in it, those of children included; 0 = the table maps no columns. */
int32_t schema_mapping_id_max(const struct schema *schema);

/* Delta's schemaString of these fields (descriptions as metadata "comment"). */
void schema_write_delta(const struct schema *schema, struct buffer *text);

/*
 * A schema from Delta's schemaString and partition columns, for table folders
 * that no definition describes: no key, merge append.
 * Errors:  ERR_UNSUPPORTED a type that is not known, more than SCHEMA_DEPTH_MAX nested types in
 *          each other, more than SCHEMA_NODES_MAX fields in all; ERR_CORRUPT what is no schema.
 */
enum err_code schema_parse_delta(struct span schema_string, const struct json *partition_columns,
                                 struct schema **schema_out, struct err *err) MUST_USE;

/*
 * The same of a file that belongs to no table, where names may differ in nothing but case.
 * schema_field_index finds them; lookups that ignore case are ambiguous then.
 */
enum err_code schema_parse_delta_file(struct span schema_string, struct schema **schema_out,
                                      struct err *err) MUST_USE;

/* Index of the field that data files call so; -1 = none. Linear where columns are mapped. */
int schema_physical_index(const struct schema *schema, struct span physical_name);

/* Where schemaString has what a column is called in data files: in its metadata. */
#define SCHEMA_PHYSICAL_NAME "delta.columnMapping.physicalName"

/* How a table calls its columns in data files. Source: delta PROTOCOL.md#column-mapping. */
enum column_mapping {
    COLUMN_MAPPING_NONE, /* as in the schema */
    COLUMN_MAPPING_NAME, /* by physical names */
    COLUMN_MAPPING_ID,   /* likewise, and columns of Parquet files by field_id */
};

/*
 * The same of a table that maps columns: fields have physical names, and ids where files'
 * columns are found by them.
 * Errors:  also ERR_CORRUPT a field without them.
 */
enum err_code schema_parse_delta_mapped(struct span schema_string,
                                        const struct json *partition_columns,
                                        enum column_mapping mapping, struct schema **schema_out,
                                        struct err *err) MUST_USE;
