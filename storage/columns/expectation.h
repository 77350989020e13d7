/*
 * Expectations: what somebody demands of data beyond a table's own rules, and what
 * is to happen with rows that fall short. Parsed from a job's definition, bound to
 * a schema, then applied to frames.
 *
 * Shape: {"name","type","action", …} and by type
 *   not_null     "column" or "columns"
 *   range        "column", "minimum" and/or "maximum" as a schema's field has them
 *   pattern      "column", "pattern" (storage/columns/pattern.h)
 *   enum         "column", "values"
 *   format       "column", "format": npi, ndc11, dea, mbi, zip or state
 *   unique       "column(s)": no two rows of the table have these values
 *   foreign_key  "column(s)", "references": {"table", "column(s)" (default: its key)}
 *   row_count    "minimum", "maximum": rows; "minimum_change_percent",
 *                "maximum_change_percent": against an earlier version of the table, which is
 *                "versions_back" or "seconds_back" from now, or what was before the run
 *   freshness    "max_age_seconds"; "column" (date or timestamp; default: the last commit)
 * A null has no value to fall short: only not_null minds it, and no other type looks at
 * rows with a null among its columns.
 *
 * The first five judge a row by itself; the others need the table and are evaluated by
 * storage/snapshot/check.h.
 *
 * Actions: warn (count), drop (the row goes), quarantine (the row goes to the dead
 * letters), fail (the task fails). Of several on one row quarantine beats drop.
 * row_count and freshness concern no single row: warn or fail.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct decode_errors;

enum {
    EXPECTATIONS_MAX = 200, /* of one task */
    EXPECTATION_NAME_BYTES_MAX = 100,
    EXPECTATION_EXAMPLES_MAX = 10, /* places of violations that are kept */
};

enum expectation_type {
    EXPECTATION_NOT_NULL,
    EXPECTATION_RANGE,
    EXPECTATION_PATTERN,
    EXPECTATION_ENUM,
    EXPECTATION_FORMAT,
    EXPECTATION_UNIQUE, /* from here on the table is needed */
    EXPECTATION_FOREIGN_KEY,
    EXPECTATION_ROW_COUNT, /* from here on no single row is meant */
    EXPECTATION_FRESHNESS,
    EXPECTATION_TYPE_COUNT,
};
const char *expectation_type_name(enum expectation_type type); /* "not_null" */

enum expectation_action {
    EXPECTATION_WARN,
    EXPECTATION_DROP,
    EXPECTATION_QUARANTINE,
    EXPECTATION_FAIL,
    EXPECTATION_ACTION_COUNT,
};
const char *expectation_action_name(enum expectation_action action); /* "warn" */

/* One expectation; owned by its list, immutable. */
struct expectation {
    char *name; /* as given, else made of type and columns: "not_null zip" */
    enum expectation_type type;
    enum expectation_action action;
    char **columns;
    size_t columns_count;
    struct json *rules; /* range, pattern, enum, format: members as a schema's field has them */
    /* foreign_key */
    char *references_table;
    char **references_columns; /* none = the key of that table */
    size_t references_count;
    /* row_count; -1 = not given (percentages: INT64_MIN, in hundredths) */
    int64_t rows_minimum, rows_maximum;
    int64_t change_minimum, change_maximum;
    int64_t versions_back, seconds_back;
    /* freshness */
    int64_t max_age_seconds;
};

static inline bool expectation_is_of_row(const struct expectation *expectation)
{
    return expectation->type < EXPECTATION_UNIQUE;
}
/* Rows that fall short are taken away. */
static inline bool expectation_removes(const struct expectation *expectation)
{
    return expectation->action == EXPECTATION_DROP || expectation->action == EXPECTATION_QUARANTINE;
}

/* Immutable; any thread. */
struct expectations {
    struct expectation *items;
    size_t count;
};

/* Who asks: at an ingest task only rows by themselves can be judged. */
enum expectations_use { EXPECTATIONS_OF_ROWS, EXPECTATIONS_OF_TABLE };

/*
 * Judge one element alone, without a schema.
 *
 * Errors:  ERR_INVALID "/minimum: must be …": the JSON pointer below the element, ": ", and
 *          a sentence ("" is the element itself).
 */
enum err_code expectation_check(const struct json *element, enum expectations_use use,
                                struct err *err) MUST_USE;

/*
 * Parse the array of a task. NULL and JSON null are an empty list. Names that are given
 * or made must differ.
 *
 * Errors:  ERR_INVALID as above, with the element's index in front: "/3/minimum: …";
 *          ERR_TOO_LARGE over EXPECTATIONS_MAX.
 * Memory:  expectations_free.
 */
enum err_code expectations_parse(const struct json *array, enum expectations_use use,
                                 struct expectations **expectations_out, struct err *err) MUST_USE;
/* Accepts NULL inside; nulls. */
void expectations_free(struct expectations **expectations);

/* ---- bound to a table ---- */

/* Expectations with their columns found in one schema and their rules in its types. */
struct bound_expectations;

/*
 *   expectations, schema  borrowed until bound_expectations_free
 * Errors:  ERR_INVALID "/3/column: the table has no column 'x'", "/3/minimum: must be a date …".
 */
enum err_code expectations_bind(const struct expectations *expectations,
                                const struct schema *schema, struct bound_expectations **bound_out,
                                struct err *err) MUST_USE;
/* Accepts NULL inside; nulls. */
void bound_expectations_free(struct bound_expectations **bound);

const struct expectations *bound_expectations_list(const struct bound_expectations *bound);

/* Column indexes of an expectation: columns_count of them. */
const size_t *bound_expectation_columns(const struct bound_expectations *bound, size_t index);

/* ---- judging frames ---- */

/* A place of a violation; never a value. */
struct expectation_example {
    int64_t line;  /* frame->lines of the row; 0 = none */
    int64_t row;   /* of the frame */
    size_t column; /* the first that falls short */
};

/* What one expectation came to; counts add up over frames. Zeroed at first. */
struct expectation_tally {
    int64_t judged;     /* rows it looked at: nulls and deletes left out */
    int64_t violations; /* of them */
    struct expectation_example examples[EXPECTATION_EXAMPLES_MAX];
    size_t examples_count; /* the first ones */
};

enum { EXPECTATION_KEPT = 0 };

/*
 * Judge every row of a frame by the expectations that judge rows by themselves. Rows
 * that are deletes, and absent fields of patches, are not judged.
 *
 *   frame     of the schema it is bound to (or an equal one)
 *   tallies   one an expectation of the list, added to
 *   verdicts  one a row, written: EXPECTATION_KEPT, or 1 + the index of the expectation that
 *             takes the row away; NULL = not wanted
 *
 * Returns the number of rows taken away. Time is linear in rows × expectations.
 * Thread:  reentrant.
 */
int64_t expectations_apply(const struct bound_expectations *bound, const struct frame *frame,
                           struct expectation_tally *tallies, uint16_t *verdicts);

/*
 * Judge the records of a batch on their way in, and take away those that are to go.
 * Quarantined ones become rejected records of `errors` with code `expectation`, their row as
 * JSON, and the expectation's name; dropped ones are in none of its counts any more.
 *
 *   frame_inout  accepted records as decoded; afterwards those that stay (another frame if
 *                rows were taken away)
 *   payloads     initialised; grows by the rows as JSON, which `errors` borrows: it must
 *                live as long and not be appended to in between
 *   dropped_out  rows
 *
 * Errors:  ERR_TOO_LARGE more quarantined rows than can be told of. Nothing is changed then but
 *          tallies and payloads.
 */
enum err_code expectations_part(const struct bound_expectations *bound, struct frame **frame_inout,
                                struct decode_errors *errors, struct expectation_tally *tallies,
                                struct buffer *payloads, int64_t *dropped_out,
                                struct err *err) MUST_USE;

/* Did any expectation with action fail have a violation? Its index. */
bool expectations_failed(const struct expectations *expectations,
                         const struct expectation_tally *tallies, size_t *index_out);
