/*
 * Judging frames, a column at a time. See expectation.h.
 *
 * Violations are rare and the good rows many: each type has a loop that finds the
 * next bad row, and everything slow happens behind it.
 */
#include "storage/columns/expectation_bound.h"

#include "storage/columns/pattern.h"

#include <assert.h>

/* One expectation looking at one frame. */
struct judge {
    const struct expectation *expectation;
    const struct frame *frame;
    const size_t *columns;
    const struct field *rule; /* NULL = none */
    struct expectation_tally *tally;
    const struct expectations *list;
    size_t index; /* in the list */
    uint16_t *verdicts;
};

/* Is the row one that rules are for? A delete only names its key. */
static bool is_judged(const struct frame *frame, int64_t row)
{
    return frame_operation_at(frame, row) != FRAME_DELETE;
}

/* Quarantine over drop; of equals the first in the list. */
static void take_away(const struct judge *judge, int64_t row)
{
    uint16_t *verdict = &judge->verdicts[row];
    bool stands = *verdict != EXPECTATION_KEPT &&
                  (judge->list->items[*verdict - 1].action == EXPECTATION_QUARANTINE ||
                   judge->expectation->action == EXPECTATION_DROP);
    if (!stands) {
        *verdict = (uint16_t)(judge->index + 1);
    }
}

static void __attribute__((cold)) note(const struct judge *judge, int64_t row, size_t column)
{
    struct expectation_tally *tally = judge->tally;
    tally->violations++;
    if (tally->examples_count < EXPECTATION_EXAMPLES_MAX) {
        tally->examples[tally->examples_count++] = (struct expectation_example){
            .line = judge->frame->lines != NULL ? judge->frame->lines[row] : 0,
            .row = row,
            .column = column,
        };
    }
    if (judge->verdicts != NULL && expectation_removes(judge->expectation)) {
        take_away(judge, row);
    }
}

/* ---- not null ---- */

/* The first column of the row that is null though it is there; SIZE_MAX = none. */
static size_t null_column(const struct judge *judge, int64_t row)
{
    for (size_t i = 0; i < judge->expectation->columns_count; i++) {
        const struct column *column = &judge->frame->columns[judge->columns[i]];
        if (!column_is_valid(column, row) && column_is_present(column, row)) {
            return judge->columns[i];
        }
    }
    return SIZE_MAX;
}

static void judge_not_null(const struct judge *judge)
{
    const struct frame *frame = judge->frame;
    int64_t nulls = 0;
    for (size_t i = 0; i < judge->expectation->columns_count; i++) {
        nulls += frame->columns[judge->columns[i]].nulls_count;
    }
    for (int64_t row = 0; row < frame->rows_count; row++) {
        if (!is_judged(frame, row)) {
            continue;
        }
        judge->tally->judged++;
        size_t column = nulls > 0 ? null_column(judge, row) : SIZE_MAX;
        if (column != SIZE_MAX) {
            note(judge, row, column);
        }
    }
}

/* ---- values of one column ---- */

typedef bool holds_fn(const struct field *rule, const struct column *column, int64_t row);

static bool within(const struct field *rule, __int128 value)
{
    return !(rule->has_minimum && value < rule->minimum) &&
           !(rule->has_maximum && value > rule->maximum);
}

static bool i32_holds(const struct field *rule, const struct column *column, int64_t row)
{
    return within(rule, column->values.i32[row]);
}

static bool i64_holds(const struct field *rule, const struct column *column, int64_t row)
{
    return within(rule, column->values.i64[row]);
}

static bool i128_holds(const struct field *rule, const struct column *column, int64_t row)
{
    return within(rule, column->values.i128[row]);
}

/* NaN (foreign files) is within no range. */
static bool f64_holds(const struct field *rule, const struct column *column, int64_t row)
{
    double value = column->values.f64[row];
    return value == value && !(rule->has_minimum && value < field_bound_double(rule->minimum)) &&
           !(rule->has_maximum && value > field_bound_double(rule->maximum));
}

static bool pattern_holds(const struct field *rule, const struct column *column, int64_t row)
{
    return field_pattern_holds(rule->pattern, column_bytes(column, row));
}

static bool enum_holds(const struct field *rule, const struct column *column, int64_t row)
{
    return field_enum_holds(rule, column_bytes(column, row));
}

static bool format_holds(const struct field *rule, const struct column *column, int64_t row)
{
    return field_format_holds(rule->format, column_bytes(column, row));
}

static holds_fn *range_of(enum column_type type)
{
    switch (type) {
    case COLUMN_DOUBLE:
        return f64_holds;
    case COLUMN_DECIMAL:
        return i128_holds;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
        return i64_holds;
    default:
        assert(type == COLUMN_INTEGER || type == COLUMN_DATE); /* no other type has a range */
        return i32_holds;
    }
}

/* Inlined for each kind of value, so that the loop over good rows is a plain one. */
static inline __attribute__((always_inline)) void judge_values(const struct judge *judge,
                                                               holds_fn *holds)
{
    assert(judge->rule != NULL); /* of every expectation that looks at values */
    const struct frame *frame = judge->frame;
    const struct column *column = &frame->columns[judge->columns[0]];
    bool operations = frame->operations != NULL;
    int64_t judged = 0;
    for (int64_t row = 0; row < frame->rows_count; row++) {
        if (!column_is_valid(column, row) || (operations && !is_judged(frame, row))) {
            continue;
        }
        judged++;
        if (__builtin_expect(!holds(judge->rule, column, row), 0)) {
            note(judge, row, judge->columns[0]);
        }
    }
    judge->tally->judged += judged;
}

static void judge_range(const struct judge *judge)
{
    assert(judge->rule != NULL);
    holds_fn *holds = range_of(judge->rule->type);
    if (holds == i32_holds) {
        judge_values(judge, i32_holds);
    } else if (holds == i64_holds) {
        judge_values(judge, i64_holds);
    } else {
        judge_values(judge, holds);
    }
}

static void judge_frame(const struct judge *judge)
{
    switch (judge->expectation->type) {
    case EXPECTATION_NOT_NULL:
        judge_not_null(judge);
        break;
    case EXPECTATION_RANGE:
        judge_range(judge);
        break;
    case EXPECTATION_PATTERN:
        judge_values(judge, pattern_holds);
        break;
    case EXPECTATION_ENUM:
        judge_values(judge, enum_holds);
        break;
    case EXPECTATION_FORMAT:
        judge_values(judge, format_holds);
        break;
    default:
        break; /* looks at the table */
    }
}

int64_t expectations_apply(const struct bound_expectations *bound, const struct frame *frame,
                           struct expectation_tally *tallies, uint16_t *verdicts)
{
    _Static_assert(EXPECTATIONS_MAX < UINT16_MAX, "an index fits a verdict");
    if (verdicts != NULL && frame->rows_count > 0) {
        memset(verdicts, 0, (size_t)frame->rows_count * sizeof *verdicts);
    }
    for (size_t i = 0; i < bound->list->count; i++) {
        const struct bound_expectation *item = &bound->items[i];
        const struct judge judge = {
            .expectation = &bound->list->items[i],
            .frame = frame,
            .columns = item->columns,
            .rule = item->rule != NULL ? &item->rule->fields[0] : NULL,
            .tally = &tallies[i],
            .list = bound->list,
            .index = i,
            .verdicts = verdicts,
        };
        judge_frame(&judge);
    }
    int64_t taken = 0;
    for (int64_t row = 0; verdicts != NULL && row < frame->rows_count; row++) {
        taken += verdicts[row] != EXPECTATION_KEPT;
    }
    return taken;
}

bool expectations_failed(const struct expectations *expectations,
                         const struct expectation_tally *tallies, size_t *index_out)
{
    for (size_t i = 0; i < expectations->count; i++) {
        if (expectations->items[i].action == EXPECTATION_FAIL && tallies[i].violations > 0) {
            *index_out = i;
            return true;
        }
    }
    return false;
}
