/*
 * A frame: records decoded to typed columns, in memory. What the decoders make,
 * the journal keeps, the merge plans over, and Parquet writes and reads.
 *
 * Shape:  every column has rows_count slots; a null has a zero slot (or an empty
 *         string). Validity is one bit a row, least significant first, 1 = value.
 *         Nested columns hold columns, as Apache Arrow lays them out: a struct one of each
 *         field, with as many rows as itself, null where it is null; an array the elements of
 *         all its rows back to back, and a map keys and values alike, `ends` saying where those
 *         of a row end. A null array or map has no elements.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_operation {
    FRAME_UPSERT, /* replaces the whole row */
    FRAME_PATCH,  /* keeps absent fields */
    FRAME_INSERT, /* a present key is a dead letter key_exists at merge */
    FRAME_DELETE, /* an absent key still leaves its tombstone */
};
enum { FRAME_OPERATION_COUNT = FRAME_DELETE + 1 };

enum {
    FRAME_ROWS_MAX = INT32_MAX,   /* of one frame */
    COLUMN_BYTES_MAX = INT32_MAX, /* contents of one string or binary column of one frame */
    /* FRAME_ROWS_MAX bounds the elements of one array column, too */
};

const char *frame_operation_name(enum frame_operation operation);
bool frame_operation_parse(struct span name, enum frame_operation *operation_out);

/* One column of values; owned by its frame. */
struct column {
    enum column_type type;
    int64_t rows_count;
    int64_t nulls_count;
    uint8_t *validity; /* bits; capacity_rows / 8 bytes; zero from rows_count on */
    uint8_t *present;  /* bits like validity, NULL = all present; absent (patch only) is also null;
                          never of a child */
    union {
        void *slots;
        int32_t *i32;   /* integer, date, byte, short */
        int64_t *i64;   /* long, timestamp, timestamp_ntz */
        double *f64;    /* double, float */
        uint8_t *u8;    /* boolean */
        __int128 *i128; /* decimal */
        uint32_t *ends; /* string, binary: end offset of each value in bytes; array, map: row of
                           the children at which each value ends */
    } values;           /* of a struct NULL */
    uint8_t *bytes;     /* string, binary contents, values back to back */
    size_t bytes_size;
    size_t bytes_capacity;
    int64_t capacity_rows;   /* a multiple of 64 */
    struct column *children; /* nested types: one a child of the field; else NULL */
    size_t children_count;
};

static inline bool column_is_valid(const struct column *column, int64_t row)
{
    return (column->validity[row >> 3] >> (row & 7) & 1) != 0;
}

static inline bool column_is_present(const struct column *column, int64_t row)
{
    return column->present == NULL || (column->present[row >> 3] >> (row & 7) & 1) != 0;
}

/* The bytes of a string or binary value; empty for null. Borrowed until the column grows. */
static inline struct span column_bytes(const struct column *column, int64_t row)
{
    uint32_t start = row > 0 ? column->values.ends[row - 1] : 0;
    return (struct span){.data = column->bytes + start, .size = column->values.ends[row] - start};
}

/* The rows of its children that an array or map has: start … end - 1; none for null. */
struct column_stretch {
    int64_t start, end;
};
static inline struct column_stretch column_elements(const struct column *column, int64_t row)
{
    return (struct column_stretch){.start = row > 0 ? column->values.ends[row - 1] : 0,
                                   .end = column->values.ends[row]};
}

/* Records of one batch (or rows of one file); owned by whoever made it. */
struct frame {
    struct schema *schema; /* a reference */
    int64_t rows_count;
    struct column *columns; /* schema->fields_count of them */
    uint8_t *operations;    /* enum frame_operation a row; NULL = all FRAME_UPSERT */
    int64_t *lines; /* 1-based line (NDJSON, CSV) or element of the body; NULL for file rows */
    int64_t capacity_rows;
};

/*
 * `schema` is acquired. Every column starts empty and grows by itself. Memory of small frames stays
 * with the schema for the next ones, because a body of one record costs little else.
 */
struct frame *frame_new(const struct schema *schema);
void frame_free(struct frame **frame);
void frame_reset(struct frame *frame); /* keep memory, drop rows */

/*
 * For rows in no order: what reading all of this one takes is fetched meanwhile, slots first, some
 * rows later (when these are there) the texts.
 */
void frame_prefetch_slots(const struct frame *frame, int64_t row);
void frame_prefetch_texts(const struct frame *frame, int64_t row);

/* A column of no frame, empty. */
void column_init(struct column *column, const struct field *field);
void column_deinit(struct column *column);

/* Make room for `rows` more rows in every column. Rows and bytes of a column stay under 2^31. */
void frame_reserve(struct frame *frame, int64_t rows);

/* Room for `rows` more values, or `size` more content bytes, of one column. */
void column_reserve(struct column *column, int64_t rows);
void column_reserve_bytes(struct column *column, size_t size);

/*
 * Appending a value to one column; the caller appends to every column exactly
 * once a row and then calls frame_end_row. column_append_absent is for patches.
 * Inline, because a decoder calls one of them for every value of a body.
 */
void column_append_absent(struct column *column);

/* The slot index of a new value, its validity bit set; private to the appends below. */
static inline int64_t column_append_slot(struct column *column)
{
    int64_t row = column->rows_count;
    if (__builtin_expect(row == column->capacity_rows, 0)) {
        column_reserve(column, 1);
    }
    uint8_t bit = (uint8_t)(1U << (row & 7));
    column->validity[row >> 3] |= bit;
    if (column->present != NULL) {
        column->present[row >> 3] |= bit;
    }
    column->rows_count = row + 1;
    return row;
}

static inline void column_append_i32(struct column *column, int32_t value)
{
    int64_t row = column_append_slot(column);
    column->values.i32[row] = value;
}

static inline void column_append_i64(struct column *column, int64_t value)
{
    int64_t row = column_append_slot(column);
    column->values.i64[row] = value;
}

static inline void column_append_f64(struct column *column, double value)
{
    int64_t row = column_append_slot(column);
    column->values.f64[row] = value;
}

static inline void column_append_u8(struct column *column, uint8_t value)
{
    int64_t row = column_append_slot(column);
    column->values.u8[row] = value;
}

static inline void column_append_i128(struct column *column, __int128 value)
{
    int64_t row = column_append_slot(column);
    column->values.i128[row] = value;
}

/* memcpy of what is mostly shorter than a call of it is worth. */
static inline void column_copy_text(uint8_t *to, const uint8_t *from, size_t size)
{
    enum { WORD = 8 };
    if (size < WORD || size > 4 * WORD) {
        if (size > 0) {
            memcpy(to, from, size);
        }
        return;
    }
    /* a whole one from the start and one up to the end, which overlap as they must */
    if (size <= 2 * WORD) {
        memcpy(to, from, WORD);
        memcpy(to + size - WORD, from + size - WORD, WORD);
        return;
    }
    memcpy(to, from, 2 * WORD);
    memcpy(to + size - 2 * WORD, from + size - 2 * WORD, 2 * WORD);
}

static inline __attribute__((always_inline)) void column_append_bytes(struct column *column,
                                                                      struct span bytes)
{
    int64_t row = column_append_slot(column);
    if (__builtin_expect(bytes.size > column->bytes_capacity - column->bytes_size, 0)) {
        column_reserve_bytes(column, bytes.size);
    }
    column_copy_text(column->bytes + column->bytes_size, bytes.data, bytes.size);
    column->bytes_size += bytes.size;
    column->values.ends[row] = (uint32_t)column->bytes_size;
}

/*
 * A nested value, after its parts: one append to each child of a struct; any number, the
 * same to each child, of an array or map. A null appends to no child itself.
 */
void column_append_nested(struct column *column);

void column_append_null(struct column *column);
/* Undo a half-built row, parts of a nested value too. */
void column_truncate(struct column *column, int64_t rows_count);

/* `line` 0 stands for "no line": rows that come from a file. */
void frame_end_row(struct frame *frame, enum frame_operation operation, int64_t line);
/* Drop what a refused record appended: columns go back to frame->rows_count. */
void frame_undo_row(struct frame *frame);

/* Every row that the frame has gets this operation. */
void frame_set_operations(struct frame *frame, enum frame_operation operation);

static inline enum frame_operation frame_operation_at(const struct frame *frame, int64_t row)
{
    return frame->operations == NULL ? FRAME_UPSERT : (enum frame_operation)frame->operations[row];
}

/*
 * Copy value `row` of `source` (same type) to the end of `target`. Fields of a struct
 * that only the target has, behind those of the source, become null.
 */
void column_append_from(struct column *target, const struct column *source, int64_t row);
/*
 * Copy a whole row; columns are matched by field id, missing ones become null, those whose type was
 * widened since are converted (widen.h).
 */
void frame_append_row(struct frame *target, const struct frame *source, int64_t row);
/* Copy many rows at once in the order of `rows` (gather). Faster than row by row. */
void frame_append_rows(struct frame *target, const struct frame *source, const int64_t *rows,
                       int64_t count);

/* Row `row` of the frame `source` of several. */
struct frame_pick {
    uint32_t source;
    uint32_t row;
};
/* The same from several frames at once, in the order of `picks`. `target` is none of them. */
void frame_append_picks(struct frame *target, const struct frame *const *sources,
                        size_t sources_count, const struct frame_pick *picks, int64_t count);

/*
 * Partitions that its rows would be written to, deletes left out: 1 for a table without.
 * What a patch does not say counts as null. Stops at count_max + 1.
 */
size_t frame_partitions_count(const struct frame *frame, size_t count_max);

/* The same of several frames together. */
struct partition_set {
    size_t count;    /* at most count_max + 1 */
    uint64_t *slots; /* private, like what follows: hashes that were seen */
    size_t mask;
    size_t count_max;
    struct buffer values;
};
void partition_set_init(struct partition_set *set, size_t count_max);
void partition_set_deinit(struct partition_set *set);
void partition_set_add(struct partition_set *set, const struct frame *frame);

/* Bytes of memory a frame holds, for budgets. */
size_t frame_memory_bytes(const struct frame *frame);

/* Bytes of the values in it alone: slots and contents, null ones too. */
int64_t frame_value_bytes(const struct frame *frame);

/* Structural invariants; asserts. */
void frame_check(const struct frame *frame);

/*
 * Bytes for the journal: header (format version, key id 0, schema version),
 * columns by field id, operations, lines; LZ4 when it pays. Decode is
 * the trust boundary: every length, count, type, bit and UTF-8 obeyed or
 * ERR_CORRUPT. Fields the frame does not know (added since) decode as null,
 * those that were dropped since are left out; likewise fields added to a struct. Values of
 * columns whose type was widened since are converted (widen.h).
 * Layout: frame_codec.c.
 */
enum {
    FRAME_PLAIN_BYTES_MAX = 1 << 30, /* of an encoded frame before compression */
    FRAME_COMPRESS_BYTES_MIN = 4096, /* smaller bodies are stored as they are */
    FRAME_HEADER_BYTES = 40,
};

/* A frame over FRAME_PLAIN_BYTES_MAX overflows the buffer, whatever its ceiling: buffer_check. */
void frame_encode(const struct frame *frame, struct buffer *bytes);

/*
 * Errors:  ERR_CORRUPT; ERR_UNSUPPORTED a format version or encryption key of a
 *          later release, or fields of a later schema version than `schema`.
 */
enum err_code frame_decode(struct span bytes, const struct schema *schema, struct frame **frame_out,
                           struct err *err) MUST_USE;

/*
 * As above, into a frame of the same schema whose rows are not needed any more but whose memory
 * is; *frame NULL: a new one. After an error it is freed, and NULL.
 */
enum err_code frame_decode_again(struct span bytes, const struct schema *schema,
                                 struct frame **frame, struct err *err) MUST_USE;

/*
 * The key of a row as bytes: equal keys have equal bytes and no key is a prefix
 * of another; order-preserving per type so that files sorted by it have tight
 * statistics. Key columns must be non-null.
 */
void frame_key(const struct frame *frame, int64_t row, struct buffer *key);

/* The same for one non-null value of any column but double and binary: lookup columns. */
void column_key(const struct column *column, int64_t row, struct buffer *key);

/* One value as sequence number: integer, long, date and timestamp columns. */
int64_t frame_sequence(const struct frame *frame, int64_t row);
