/*
 * An inference under way, as the files infer*.c share it. Nobody else includes this.
 */
#pragma once

#include "storage/columns/infer.h"
#include "storage/columns/schema.h"

#include <stdbool.h>

enum { INFER_VALUES_KEPT = INFER_ENUM_VALUES_MAX + 1, INFER_VALUE_BYTES_MAX = 64 };

/* How a value stands in the sample. */
enum infer_kind {
    INFER_TEXT,    /* a JSON string, a quoted or plain CSV value */
    INFER_NUMBER,  /* a JSON number; text in its grammar */
    INFER_BOOLEAN, /* a JSON literal */
    INFER_NESTED,  /* object or array */
    INFER_KIND_COUNT,
};

/* What was seen of one column. */
struct infer_column {
    char *source_name; /* as the sample has it; any bytes */
    size_t source_name_size;
    bool has_type; /* the sample says it (frames) */
    enum column_type type;
    int precision, scale;

    const struct field *given; /* of has_type: the whole of a nested type, borrowed */

    /* what is in its objects and arrays, as samples of their own; NULL = nothing yet */
    struct infer *objects;  /* each a record, its members the columns */
    struct infer *elements; /* of arrays, and values of objects: each a record of one column */
    int64_t objects_count, arrays_count;

    int64_t nulls;
    int64_t kinds[INFER_KIND_COUNT]; /* values by kind */
    int64_t last_record;             /* number of the last record with it, null or not */

    /* of texts and numbers, whether every value so far is one */
    bool all_booleans; /* true, false */
    bool all_numbers;  /* without leading zeros */
    bool all_integers; /* and neither fraction nor exponent */
    bool all_longs;    /* and within int64 */
    bool all_dates;
    bool all_timestamps;
    bool all_fixed; /* numbers without an exponent */
    bool holds[FORMAT_COUNT];
    int64_t integer_min, integer_max;                         /* of all_longs */
    int integral_digits, fraction_digits, significant_digits; /* most of any number */
    size_t length_max;                                        /* code points of texts */

    /* distinct values while they are few */
    struct {
        char *text;
        size_t size;
        int64_t times;
    } values[INFER_VALUES_KEPT];
    size_t values_count;
    bool values_overflowed;

    uint64_t *hashes; /* a record each, 0 = null */
    int64_t hashes_capacity;
    int64_t distinct; /* of the hashes; counted at the end */

    /* decided */
    char *name; /* of the field; NULL = left out */
    const char *left_out;
    bool nullable;
    bool phi;
    enum field_format format;
    size_t enum_count;        /* of values; 0 = none */
    int64_t field_length_max; /* -1 = none */
    const char *note;
};

struct infer {
    struct infer_column *columns;
    size_t columns_count;
    size_t columns_capacity;
    uint32_t *slots; /* column index + 1 by name */
    size_t slots_count;
    int64_t records;   /* observed */
    int64_t malformed; /* left out */
    bool cut_off;      /* the last record was not whole */
    bool more;         /* records behind INFER_RECORDS_MAX */
    int64_t hashed_records;
    bool texts_only; /* CSV: numbers and booleans stand as texts */
    bool within;     /* the sample of a column: nothing in it is a key */
    const struct infer_refused *refused;
    size_t refused_count;
};

void infer_init(struct infer *infer);
void infer_deinit(struct infer *infer);

/* ---- observing: infer_observe.c ---- */

/*
 * The column of a name, made when it is new.
 *   guess  where it is likely to be
 * Errors:  ERR_TOO_LARGE more than SCHEMA_FIELDS_MAX.
 */
enum err_code infer_column_of(struct infer *infer, struct span name, size_t guess,
                              size_t *index_out, struct err *err) MUST_USE;

/*
 * One value of the record in hand; a second value of a column in one record is not looked at:
 * false then. What is in nested ones is for the caller to observe.
 */
bool infer_observe(struct infer *infer, size_t column, enum infer_kind kind, struct span text);
void infer_observe_null(struct infer *infer, size_t column);

/* A value whose type is known; `hash` of it, not 0. Texts are observed as texts besides. */
void infer_observe_typed(struct infer *infer, size_t column, uint64_t hash);

/* The record is whole: what it lacks is null. */
void infer_end_record(struct infer *infer);

/* ---- samples: infer_csv.c, infer_json.c ---- */

enum err_code infer_read_csv(struct infer *infer, struct span body, struct err *err) MUST_USE;
enum err_code infer_read_ndjson(struct infer *infer, struct span body, struct err *err) MUST_USE;
enum err_code infer_read_json(struct infer *infer, struct span body, struct err *err) MUST_USE;

/* ---- nested values: infer_nested.c ---- */

/* The samples of a column, made when they are asked for first. */
struct infer *infer_objects_of(struct infer_column *column);
struct infer *infer_elements_of(struct infer_column *column);

/*
 * Struct, array or map, or why the column is left out. Names that differ from record to record
 * are keys of a map.
 */
void infer_decide_nested(struct infer_column *column);

/* A nested type that the sample says: can a definition have it? Else the column is left out. */
void infer_take_nested(struct infer_column *column, const struct field *field);

/* The type of a nested column as a definition has it. */
struct json *infer_nested_type(const struct infer_column *column);

/* ---- deciding: infer_decide.c, infer_names.c, infer_keys.c ---- */

/* Names, types, rules of every column. */
void infer_decide(struct infer *infer);

/* What a name says, by its words ("bene_brth_dt": bene, brth, dt). */
enum infer_hint {
    INFER_HINT_IDENTIFIER, /* identifies a row or a thing */
    INFER_HINT_SEQUENCE,   /* tells newer from older */
    INFER_HINT_AMOUNT,     /* money */
    INFER_HINT_PERSON,     /* says something about a person that HIPAA lists */
    INFER_HINT_MEASURE,    /* a number or date that identifies nothing */
    INFER_HINT_NDC,
    INFER_HINT_ZIP,
    INFER_HINT_STATE,
};
bool infer_name_hints(const char *name, enum infer_hint hint);

/* Names that a table can have, each its own; those that differ from the sample are told. */
void infer_name_fields(struct infer *infer);

/* Columns, alone or two, whose values never repeat; best first. */
struct infer_key {
    size_t columns[2];
    size_t count;
    int score; /* at least INFER_KEY_SCORE_MIN: good enough to be the table's */
};
enum { INFER_KEY_SCORE_MIN = 60 };
size_t infer_keys(struct infer *infer, struct infer_key keys_out[INFER_CANDIDATES_MAX]);

/* ---- the answer: infer_answer.c ---- */

enum err_code infer_answer(struct infer *infer, struct json **answer_out, struct err *err) MUST_USE;

/* A field of a definition, and its type. `within` a struct it says nothing of phi. */
struct json *infer_field(const struct infer_column *column, bool within);
struct json *infer_type(const struct infer_column *column);
