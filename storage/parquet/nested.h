/*
 * Nested Parquet files row by row: reading any tree of groups, lists and maps
 * (Delta checkpoints of every engine), and writing trees in Spark's shape
 * (everything OPTIONAL but map keys, lists `list`/`element`, maps `key_value`).
 *
 * Reading gives each row as a tree of values in memory that is reused for the
 * next row. Writing takes calls by field name in schema order.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/base/span.h"
#include "storage/parquet/reader.h"
#include "storage/parquet/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum parquet_kind {
    PARQUET_NULL, /* of values only, never of nodes */
    PARQUET_BOOLEAN,
    PARQUET_INTEGER, /* any width up to 64 bits; unsigned 64 bits wrap */
    PARQUET_REAL,
    PARQUET_DECIMAL,       /* unscaled value; the node has the scale */
    PARQUET_DATE,          /* days since 1970-01-01 */
    PARQUET_TIMESTAMP,     /* µs UTC (any unit in the file, INT96 too) */
    PARQUET_TIMESTAMP_NTZ, /* µs without zone */
    PARQUET_TEXT,
    PARQUET_BINARY,
    PARQUET_GROUP,
    PARQUET_LIST, /* any of the list shapes of LogicalTypes.md, and bare repeated fields */
    PARQUET_MAP,
};

/* One field of the tree; immutable, owned by the reader. */
struct parquet_node {
    const char *name;
    int32_t field_id; /* -1 = none */
    enum parquet_kind kind;
    bool is_int32;     /* PARQUET_INTEGER of at most 32 bits */
    uint8_t precision; /* decimal */
    uint8_t scale;     /* decimal */
    size_t children_count;
    const struct parquet_node *const *children; /* group: fields; list: element; map: key, value
                                                   (a map without value has one child) */
};

/* One value; everything it points to lives until the next row is asked for. */
struct parquet_value {
    enum parquet_kind kind; /* PARQUET_NULL, or the node's */
    const struct parquet_node *node;
    union {
        bool boolean;
        int64_t integer; /* integer, date, timestamps */
        double real;
        __int128 decimal;
        struct span bytes; /* text, binary */
        struct {
            struct parquet_value *items; /* group: one a child of the node, in order; list:
                                            elements; map: key, value, key, value, … */
            size_t count;                /* items; for a map twice the entries */
        };
    };
};

struct parquet_rows; /* iterator over a reader's rows; one thread */

/*
 * Begin at row 0.
 *
 *   names  top-level columns wanted, NULL-terminated, those the file lacks are
 *          ignored; NULL = all
 *
 * Memory:  borrows the reader until parquet_rows_end; holds about one page a leaf.
 * Errors:  ERR_UNSUPPORTED naming the column.
 */
enum err_code parquet_rows_begin(struct parquet_reader *reader, const char *const *names,
                                 struct parquet_rows **rows_out, struct err *err) MUST_USE;

/* The root group: its children are the wanted top-level columns in file order. */
const struct parquet_node *parquet_rows_root(const struct parquet_rows *rows);

/*
 * The next row, or *row_out = NULL after the last.
 * Memory:  *row_out is borrowed until the next call or the end.
 * Errors:  ERR_CORRUPT, ERR_UNSUPPORTED with column and offset.
 */
enum err_code parquet_rows_next(struct parquet_rows *rows, const struct parquet_value **row_out,
                                struct err *err) MUST_USE;
void parquet_rows_end(struct parquet_rows **rows);

/* Position of a child by name, or -1; find it once, then use items[position] in every row. */
int parquet_node_child(const struct parquet_node *node, const char *name);

/*
 * Member of a group value by name; NULL when `value` is NULL, null or no group,
 * when there is no such member, and when the member is null. So paths chain.
 */
const struct parquet_value *parquet_value_get(const struct parquet_value *value, const char *name);

/*
 * A value as JSON: groups and maps as objects (null members left out when
 * `skip_nulls`), lists as arrays, dates "YYYY-MM-DD", timestamps ISO-8601 with
 * µs (Z when UTC), decimals as text, binary as base64, not-finite reals as text.
 * Map keys that are not text are printed. The caller owns the result.
 */
struct json *parquet_value_to_json(const struct parquet_value *value, bool skip_nulls);

/* ---- writing ---- */

/*
 * One field of a tree to write. Trees are usually static const tables.
 * children: group: fields; list: one, called "element"; map: two, "key", "value".
 */
struct parquet_tree_field {
    const char *name;
    enum parquet_kind kind;
    bool is_int32;     /* PARQUET_INTEGER: INT32 instead of INT64 */
    uint8_t precision; /* decimal */
    uint8_t scale;     /* decimal */
    const struct parquet_tree_field *children;
    size_t children_count;
};

struct parquet_tree_writer;

/*
 *   root     its children are the columns; borrowed until close. At most
 *            PARQUET_SCHEMA_DEPTH_MAX deep, no empty group (asserted).
 *   context  NULL = a private one
 */
enum err_code parquet_tree_open(struct parquet_writer_context *context,
                                const struct parquet_tree_field *root,
                                const struct parquet_sink *sink,
                                struct parquet_tree_writer **writer_out, struct err *err) MUST_USE;

/*
 * One row: set fields by name in the order of the tree, then parquet_tree_end_row.
 * Fields passed over are null. A name that is not ahead in the current group, or
 * of another kind, is a programming error (asserted).
 *
 *   begin … end   enter and leave a group, list or map (present, maybe empty)
 *   in a list     call for "element" once an element
 *   in a map      call for "key" then "value" once an entry; value may be left out
 */
void parquet_tree_begin(struct parquet_tree_writer *writer, const char *name);
void parquet_tree_end(struct parquet_tree_writer *writer);
void parquet_tree_null(struct parquet_tree_writer *writer, const char *name);
void parquet_tree_text(struct parquet_tree_writer *writer, const char *name, struct span text);
void parquet_tree_binary(struct parquet_tree_writer *writer, const char *name, struct span bytes);
void parquet_tree_boolean(struct parquet_tree_writer *writer, const char *name, bool value);
/* Integers, dates and timestamps. */
void parquet_tree_integer(struct parquet_tree_writer *writer, const char *name, int64_t value);
void parquet_tree_real(struct parquet_tree_writer *writer, const char *name, double value);
void parquet_tree_decimal(struct parquet_tree_writer *writer, const char *name, __int128 value);

/* Finish the row; writes a row group when enough is gathered. Errors: of the sink. */
enum err_code parquet_tree_end_row(struct parquet_tree_writer *writer, struct err *err) MUST_USE;

/* Write the rest and the footer; file_bytes_out is the file's size. Still close. */
enum err_code parquet_tree_finish(struct parquet_tree_writer *writer, int64_t *file_bytes_out,
                                  struct err *err) MUST_USE;
void parquet_tree_close(struct parquet_tree_writer **writer);
