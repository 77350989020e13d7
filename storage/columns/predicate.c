/*
 * Evaluating conditions. See predicate.h.
 */
#include "storage/columns/predicate.h"

#include "storage/base/mem.h"
#include "storage/columns/predicate_node.h"

#include <assert.h>
#include <math.h>

void predicate_free(struct predicate **predicate)
{
    if (*predicate != NULL) {
        arena_deinit(&(*predicate)->arena);
        mem_free(*predicate);
        *predicate = NULL;
    }
}

/* ---- operands ---- */

static void read_column(const struct node *node, const struct frame *frame, int64_t row,
                        struct operand_value *value)
{
    int index = schema_field_index_by_id(frame->schema, node->field_id);
    *value = (struct operand_value){.is_null = true};
    if (index < 0 || !column_is_valid(&frame->columns[index], row)) {
        return;
    }
    const struct column *column = &frame->columns[index];
    const struct field *field = &frame->schema->fields[index];
    value->is_null = false;
    switch (field->type) {
    case COLUMN_STRING:
        value->text = column_bytes(column, row);
        break;
    case COLUMN_INTEGER:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
    case COLUMN_DATE:
        value->exact = column->values.i32[row];
        break;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
        value->exact = column->values.i64[row];
        break;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        value->real = column->values.f64[row];
        break;
    case COLUMN_BOOLEAN:
        value->exact = column->values.u8[row] != 0;
        break;
    case COLUMN_DECIMAL:
        value->exact = column->values.i128[row];
        value->scale = field->scale;
        break;
    case COLUMN_BINARY: /* asked for null alone */
    case COLUMN_TIMESTAMP_NTZ:
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
        break;
    case COLUMN_TYPE_COUNT:
        assert(false);
    }
}

/* ---- comparing ---- */

static int sign_of(__int128 value)
{
    return (value > 0) - (value < 0);
}

/* Exactly: what overflows when it is scaled up is further from zero than the other. */
static int compare_exact(__int128 a, int a_scale, __int128 b, int b_scale)
{
    __int128 scaled = 0;
    for (; a_scale < b_scale; a_scale++) {
        if (__builtin_mul_overflow(a, (__int128)10, &scaled)) {
            return sign_of(a);
        }
        a = scaled;
    }
    for (; b_scale < a_scale; b_scale++) {
        if (__builtin_mul_overflow(b, (__int128)10, &scaled)) {
            return -sign_of(b);
        }
        b = scaled;
    }
    return (a > b) - (a < b);
}

/* NaN above all, and equal to itself; -0 is 0. */
static int compare_reals(double a, double b)
{
    if (isnan(a) || isnan(b)) {
        return (isnan(a) != 0) - (isnan(b) != 0);
    }
    return (a > b) - (a < b);
}

/* Whole numbers as doubles; literals know theirs. */
static double real_of(const struct node *node, const struct operand_value *value)
{
    if (node->class == CLASS_DOUBLE || node->kind == NODE_LITERAL) {
        return value->real;
    }
    assert(value->scale == 0); /* predicate_parse refuses the others */
    return (double)value->exact;
}

static int compare(const struct node *a, const struct operand_value *left, const struct node *b,
                   const struct operand_value *right)
{
    if (a->class == CLASS_DOUBLE || b->class == CLASS_DOUBLE) {
        return compare_reals(real_of(a, left), real_of(b, right));
    }
    if (a->class == CLASS_TEXT) {
        return span_compare(left->text, right->text);
    }
    return compare_exact(left->exact, left->scale, right->exact, right->scale);
}

/* ---- conditions ---- */

static enum predicate_value truth(bool value)
{
    return value ? PREDICATE_TRUE : PREDICATE_FALSE;
}

static enum predicate_value evaluate(const struct node *node, const struct frame *frame,
                                     int64_t row);

/* An operand, which may be a condition. Recursion is bounded by PREDICATE_DEPTH_MAX and nodes. */
static void operand(const struct node *node, const struct frame *frame, int64_t row,
                    struct operand_value *value)
{
    if (node->kind == NODE_LITERAL) {
        *value = node->value;
    } else if (node->kind == NODE_COLUMN) {
        read_column(node, frame, row, value);
    } else {
        enum predicate_value known = evaluate(node, frame, row);
        *value = (struct operand_value){.is_null = known == PREDICATE_UNKNOWN,
                                        .exact = known == PREDICATE_TRUE};
    }
}

static enum predicate_value evaluate_comparison(const struct node *node, const struct frame *frame,
                                                int64_t row)
{
    struct operand_value left;
    struct operand_value right;
    operand(node->first, frame, row, &left);
    operand(node->second, frame, row, &right);
    if (node->kind == NODE_SAME && (left.is_null || right.is_null)) {
        return truth(left.is_null && right.is_null);
    }
    if (left.is_null || right.is_null) {
        return PREDICATE_UNKNOWN;
    }
    int order = compare(node->first, &left, node->second, &right);
    switch (node->kind) {
    case NODE_EQUAL:
    case NODE_SAME:
        return truth(order == 0);
    case NODE_NOT_EQUAL:
        return truth(order != 0);
    case NODE_LESS:
        return truth(order < 0);
    case NODE_LESS_EQUAL:
        return truth(order <= 0);
    case NODE_GREATER:
        return truth(order > 0);
    default:
        assert(node->kind == NODE_GREATER_EQUAL);
        return truth(order >= 0);
    }
}

/* Unknown when nothing of the list is equal and something of it is null. */
static enum predicate_value evaluate_in(const struct node *node, const struct frame *frame,
                                        int64_t row)
{
    struct operand_value left;
    bool unknown = false;
    operand(node->first, frame, row, &left);
    if (left.is_null) {
        return PREDICATE_UNKNOWN;
    }
    for (const struct node *item = node->second; item != NULL; item = item->next) {
        struct operand_value right;
        operand(item, frame, row, &right);
        if (right.is_null) {
            unknown = true;
        } else if (compare(node->first, &left, item, &right) == 0) {
            return PREDICATE_TRUE;
        }
    }
    return unknown ? PREDICATE_UNKNOWN : PREDICATE_FALSE;
}

static enum predicate_value evaluate_junction(const struct node *node, const struct frame *frame,
                                              int64_t row)
{
    /* what decides alone: one false of AND, one true of OR */
    enum predicate_value decisive = truth(node->kind == NODE_OR);
    enum predicate_value first = evaluate(node->first, frame, row);
    if (first == decisive) {
        return decisive;
    }
    enum predicate_value second = evaluate(node->second, frame, row);
    if (second == decisive) {
        return decisive;
    }
    return first == PREDICATE_UNKNOWN ? PREDICATE_UNKNOWN : second;
}

static enum predicate_value evaluate(const struct node *node, const struct frame *frame,
                                     int64_t row)
{
    struct operand_value value;
    switch (node->kind) {
    case NODE_LITERAL:
    case NODE_COLUMN:
        operand(node, frame, row, &value);
        return value.is_null ? PREDICATE_UNKNOWN : truth(value.exact != 0);
    case NODE_NOT: {
        enum predicate_value inner = evaluate(node->first, frame, row);
        return inner == PREDICATE_UNKNOWN ? inner : truth(inner == PREDICATE_FALSE);
    }
    case NODE_AND:
    case NODE_OR:
        return evaluate_junction(node, frame, row);
    case NODE_IS_NULL:
        operand(node->first, frame, row, &value);
        return truth(value.is_null);
    case NODE_IN:
        return evaluate_in(node, frame, row);
    default:
        return evaluate_comparison(node, frame, row);
    }
}

enum predicate_value predicate_evaluate(const struct predicate *predicate,
                                        const struct frame *frame, int64_t row)
{
    return evaluate(predicate->root, frame, row);
}
