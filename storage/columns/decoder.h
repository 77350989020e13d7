/*
 * The half of decoding that JSON and CSV share: one record at a time, values go
 * into the columns of the frame after type and rule checks; faults are collected
 * and turn the record into a rejected one. Private to the decoders.
 *
 * Order of calls: init, then for each record begin, put …, end, then deinit.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/columns/decode.h"
#include "storage/columns/decode_number.h"

enum {
    /* every character of a name escaped; where steps within it find no room, the pointer ends
       above. Each body zeroes some of these */
    DECODER_POINTER_BYTES = 2 * SCHEMA_NAME_BYTES_MAX + 2,
    DECODER_MESSAGE_BYTES = 256,
    DECODER_QUOTED_BYTES = 16,
};

/* A field as the inner loop wants it. */
struct decode_field {
    const struct field *field; /* NULL for `_op` */
    struct column *column;     /* NULL for `_op` */
    enum column_type type;
    bool in_key;
    bool identifies;   /* key or sequence: needed in every operation */
    bool bounded;      /* minimum or maximum */
    bool partitions;   /* text that the table is partitioned by */
    bool takes_text;   /* a string column */
    bool text_rules;   /* pattern, enumeration or format; all that partitions */
    size_t bytes_safe; /* text up to here cannot break max_length */
    size_t next;       /* the field that followed this one last time */
    /* the name as it stands in JSON with its quotes; size 0 when it needs escapes */
    size_t quoted_size;
    uint8_t quoted[DECODER_QUOTED_BYTES]; /* its first bytes */
    unsigned quoted_mask;                 /* bits of those; one beyond them when there are none */
    struct span *enum_sorted;             /* of a long enumeration, made when first asked */
    /* nested types */
    size_t parent;         /* of a child: index of the field it is in; else its own */
    size_t first_child;    /* index of the first child, the others follow */
    size_t first_given;    /* struct: the child that a value began with last time */
    int64_t element_bytes; /* array, map: what one more element takes in slots */
    int64_t elements;      /* array, map: begun in the value at hand */
};

struct decode_fault {
    enum decode_code code;
    bool rule; /* of a field that a delete ignores */
    char pointer[DECODER_POINTER_BYTES];
    char message[DECODER_MESSAGE_BYTES];
};

/* One body's worth of state; embedded by decode_body. */
struct decoder {
    /* set once at init */
    const struct schema *schema;
    struct decode_options options; /* defaults filled in */
    int64_t rows_max;              /* what frame_bytes_max allows */
    struct frame *frame;
    struct decode_errors *errors;
    /* schema->fields_count, `_op`, the start of a record, then all that is nested in the first */
    struct decode_field *fields;
    size_t fields_count;    /* without nested ones */
    size_t described_count; /* with them */
    size_t body_bytes;
    size_t payloads_bytes;  /* of the records so far */
    int64_t elements_bytes; /* that elements of arrays and maps take in slots, all records */
    struct buffer scratch;  /* base64 */
    /* the record in hand */
    int64_t line;
    enum frame_operation operation;
    bool operation_seen;
    bool incomplete; /* it broke off: what is missing says nothing */
    bool silent;     /* should it be rejected, nothing of it would be kept */
    size_t values_count;
    size_t faults_count;      /* all of them that count for every operation */
    size_t rule_faults_count; /* those that a delete ignores */
    size_t kept_count, kept_rules_count;
    struct decode_fault kept[2 * DECODE_RECORD_ERRORS_MAX];
};

void decoder_init(struct decoder *decoder, const struct schema *schema,
                  const struct decode_options *options, size_t body_bytes, struct frame *frame,
                  struct decode_errors *errors);
void decoder_deinit(struct decoder *decoder);

/* Errors: ERR_TOO_LARGE when this record is one too many. */
enum err_code decoder_begin(struct decoder *decoder, int64_t line, struct err *err) MUST_USE;
/* Errors: ERR_TOO_LARGE when the raw record at `line` is over record_bytes_max. */
enum err_code decoder_check_size(const struct decoder *decoder, int64_t line, struct span payload,
                                 struct err *err) MUST_USE;
/* Accept the record into the frame or note it, with its raw bytes, as rejected. */
void decoder_end(struct decoder *decoder, struct span payload);

static inline bool decoder_is_operation(const struct decoder *decoder, size_t index)
{
    return index == decoder->fields_count;
}

/* decoder_claim for what is not given for the first time, and for the operation. */
bool decoder_claim_otherwise(struct decoder *decoder, size_t index);

/* Index of the field called `name` (fields_count for `_op`), or -1. */
int decoder_field_index(const struct decoder *decoder, struct span name);

/* Mark a field as given; false, with the fault noted, when it was given before. */
static inline bool decoder_claim(struct decoder *decoder, size_t index)
{
    const struct column *column = decoder->fields[index].column;
    if (column != NULL && column->rows_count == decoder->frame->rows_count) {
        decoder->values_count++;
        return true;
    }
    return decoder_claim_otherwise(decoder, index);
}

/* Enumeration, format and pattern of a field with text_rules. */
void decoder_check_text(struct decoder *decoder, size_t index, struct span text);
/* decoder_put_string for all but short ASCII text of a string column. */
void decoder_put_other_string(struct decoder *decoder, size_t index, struct span text, bool ascii);

/* The value of a claimed field. `ascii` says that `text` is known to be. */
void decoder_put_null(struct decoder *decoder, size_t index);
void decoder_put_boolean(struct decoder *decoder, size_t index, bool value);
void decoder_put_number(struct decoder *decoder, size_t index, const struct decode_number *number);
static inline void decoder_put_string(struct decoder *decoder, size_t index, struct span text,
                                      bool ascii)
{
    const struct decode_field *described = &decoder->fields[index];
    if (!described->takes_text || !ascii || text.size > described->bytes_safe) {
        decoder_put_other_string(decoder, index, text, ascii);
        return;
    }
    column_append_bytes(described->column, text);
    if (described->text_rules) {
        decoder_check_text(decoder, index, text);
    }
}
/* CSV text, which may stand for a value of any type. */
void decoder_put_text(struct decoder *decoder, size_t index, struct span text, bool ascii);
/* A value that was refused already: the caller noted why. */
void decoder_put_nothing(struct decoder *decoder, size_t index);

/*
 * Nested values, in decode_nested.c. The caller of decoder_put_… for a child has begun the value
 * it is in; children are addressed by their own indexes.
 */
int decoder_child_index(const struct decoder *decoder, size_t index, struct span name);
/* As decoder_claim, of a struct's field. */
bool decoder_claim_child(struct decoder *decoder, size_t index);
void decoder_end_struct(struct decoder *decoder, size_t index);
void decoder_begin_elements(struct decoder *decoder, size_t index);
/* Before each element or entry; false, with the fault noted, when there is no room for it. */
bool decoder_begin_element(struct decoder *decoder, size_t index);
void decoder_end_elements(struct decoder *decoder, size_t index);
/*
 * Instead of a value that broke off, ended or not: the caller noted why. `rows_before` are those of
 * its column when it was begun.
 */
void decoder_put_nothing_after(struct decoder *decoder, size_t index, int64_t rows_before);
/* Text that is JSON, of a nested field: a cell of CSV. */
void decoder_put_nested_text(struct decoder *decoder, size_t index, struct span text);
/* Fields within fields, and the slots of one value without elements: for sizes at init. */
size_t decoder_nested_count(const struct field *fields, size_t count);
int64_t decoder_slot_bytes(const struct field *field);

/* Note a fault of field `index`. */
void decoder_fault(struct decoder *decoder, size_t index, enum decode_code code, const char *format,
                   ...) __attribute__((cold, format(printf, 4, 5)));
/* A value of the wrong kind; `found` names it: "object". */
void decoder_fault_kind(struct decoder *decoder, size_t index, const char *found)
    __attribute__((cold));
/* A fault of the record as a whole. */
void decoder_fault_record(struct decoder *decoder, enum decode_code code, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));
/* A member that is no field. Its name is shown only when it reads like one. */
void decoder_fault_unknown(struct decoder *decoder, struct span name) __attribute__((cold));
/* The same of an object that is a value of field `index`. */
void decoder_fault_unknown_child(struct decoder *decoder, size_t index, struct span name)
    __attribute__((cold));
/* Text that does not read as the field's type. */
void decoder_fault_form(struct decoder *decoder, size_t index) __attribute__((cold));
/* A value of the right form outside of the type's range. */
void decoder_fault_range(struct decoder *decoder, size_t index) __attribute__((cold));
/* No value where one is needed; `how` is "null" or "absent". */
void decoder_fault_missing(struct decoder *decoder, size_t index, const char *how)
    __attribute__((cold));
/* A value of its type that breaks a rule: no concern of a delete, unless the field identifies. */
void decoder_fault_rule(struct decoder *decoder, size_t index, enum decode_code code,
                        const char *format, ...) __attribute__((cold, format(printf, 4, 5)));
/* Give the fields that the record lacks their null or absent, and judge that. */
void decoder_fill_missing(struct decoder *decoder);
/* Forget the faults noted so far, because a later one explains them all. */
void decoder_faults_clear(struct decoder *decoder);

/* Does `name` read like the name of a column rather than like somebody's data? */
bool decode_name_is_plain(struct span name);

/* minimum and maximum of a bounded field, in the column's unit. */
void decoder_check_bounds(struct decoder *decoder, size_t index, __int128 value);
void decoder_check_double_bounds(struct decoder *decoder, size_t index, double value);
/*
 * For values over bytes_safe: the limits themselves. False when the value is
 * over SCHEMA_STRING_BYTES_MAX and must not be kept at all.
 */
bool decoder_check_length(struct decoder *decoder, size_t index, struct span text);

/*
 * Skip a UTF-8 byte order mark; refuse the marks, and the look, of wider encodings.
 * Errors: ERR_INVALID.
 */
enum err_code decode_check_encoding(struct span *body, struct err *err) MUST_USE;

/* Does the table take the operation of records that name none? Errors: ERR_INVALID. */
enum err_code decode_check_operation(const struct schema *schema,
                                     const struct decode_options *options,
                                     struct err *err) MUST_USE;

/* The parsers. `body` comes without byte order mark. Errors: as decode_body. */
enum err_code decode_ndjson(struct decoder *decoder, struct span body, struct err *err) MUST_USE;
enum err_code decode_json_array(struct decoder *decoder, struct span body,
                                struct err *err) MUST_USE;
enum err_code decode_csv(struct decoder *decoder, struct span body, struct err *err) MUST_USE;
