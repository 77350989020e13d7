/*
 * Expectations bound to a schema. See expectation.h. A rule becomes a field of its
 * own, so that it means exactly what the same rule means in a table's definition.
 */
#include "storage/columns/expectation_bound.h"

#include "storage/base/mem.h"
#include "storage/columns/schema_build.h"

#include <assert.h>

static enum err_code find_columns(const struct expectation *expectation,
                                  const struct schema *schema, size_t *columns, struct err *err)
{
    for (size_t i = 0; i < expectation->columns_count; i++) {
        int column = schema_field_index(schema, span_of_text(expectation->columns[i]));
        if (column < 0) {
            return err_set(err, ERR_INVALID, "/column: the table has no column '%s'",
                           expectation->columns[i]);
        }
        columns[i] = (size_t)column;
    }
    return ERR_OK;
}

/* A field of the column's type that has the rules and nothing else. */
static enum err_code make_rule(const struct json *rules, const struct field *column,
                               struct schema **rule_out, struct err *err)
{
    CLEANUP(schema_release) struct schema *rule = schema_new(1);
    struct field *field = &rule->fields[0];
    field->name = mem_copy_text(column->name);
    field->type = column->type;
    field->precision = column->precision;
    field->scale = column->scale;
    const char *name = NULL;
    const struct json *value = NULL;
    for (size_t at = 0; json_member(rules, &at, &name, &value);) {
        if (schema_parse_rule(name, value, field, err) != ERR_OK) {
            return err_wrap(err, "/%s", strcmp(name, "enum") == 0 ? "values" : name);
        }
    }
    schema_seal(rule);
    *rule_out = rule;
    rule = NULL;
    return ERR_OK;
}

/* unique and foreign_key compare by bytes; freshness reads a moment. */
static enum err_code check_types(const struct expectation *expectation, const struct schema *schema,
                                 const size_t *columns, struct err *err)
{
    for (size_t i = 0; i < expectation->columns_count; i++) {
        const struct field *field = &schema->fields[columns[i]];
        bool compared =
            expectation->type == EXPECTATION_UNIQUE || expectation->type == EXPECTATION_FOREIGN_KEY;
        bool nested = column_type_is_nested(field->type);
        if (expectation->rules != NULL && nested) {
            return err_set(err, ERR_INVALID,
                           "/column: '%s' is a nested %s, and rules are for single values",
                           field->name, column_type_name(field->type));
        }
        if (compared && (field->type == COLUMN_DOUBLE || field->type == COLUMN_FLOAT || nested)) {
            return err_set(err, ERR_INVALID,
                           "/column: '%s' is of type %s, and such values are not compared for "
                           "equality",
                           field->name, column_type_name(field->type));
        }
        if (expectation->type == EXPECTATION_FRESHNESS && field->type != COLUMN_DATE &&
            field->type != COLUMN_TIMESTAMP && field->type != COLUMN_TIMESTAMP_NTZ) {
            return err_set(err, ERR_INVALID, "/column: '%s' is not a date or timestamp",
                           field->name);
        }
    }
    return ERR_OK;
}

static enum err_code bind_one(const struct expectation *expectation, const struct schema *schema,
                              struct bound_expectation *bound, struct err *err)
{
    bound->columns = mem_zeroed(expectation->columns_count + 1, sizeof *bound->columns);
    TRY(find_columns(expectation, schema, bound->columns, err));
    TRY(check_types(expectation, schema, bound->columns, err));
    if (expectation->rules != NULL) {
        TRY(make_rule(expectation->rules, &schema->fields[bound->columns[0]], &bound->rule, err));
    }
    return ERR_OK;
}

enum err_code expectations_bind(const struct expectations *expectations,
                                const struct schema *schema, struct bound_expectations **bound_out,
                                struct err *err)
{
    CLEANUP(bound_expectations_free)
    struct bound_expectations *bound = mem_zeroed(1, sizeof *bound);
    bound->list = expectations;
    bound->items = mem_zeroed(expectations->count + 1, sizeof *bound->items);
    for (size_t i = 0; i < expectations->count; i++) {
        if (bind_one(&expectations->items[i], schema, &bound->items[i], err) != ERR_OK) {
            char sentence[ERR_MESSAGE_BYTES];
            memcpy(sentence, err->msg, sizeof sentence);
            return err_set(err, err->code, "/%zu%s", i, sentence);
        }
    }
    *bound_out = bound;
    bound = NULL;
    return ERR_OK;
}

void bound_expectations_free(struct bound_expectations **bound)
{
    if (*bound == NULL) {
        return;
    }
    for (size_t i = 0; i < (*bound)->list->count; i++) {
        mem_free((*bound)->items[i].columns);
        schema_release(&(*bound)->items[i].rule);
    }
    mem_free((*bound)->items);
    mem_free(*bound);
    *bound = NULL;
}

const struct expectations *bound_expectations_list(const struct bound_expectations *bound)
{
    return bound->list;
}

const size_t *bound_expectation_columns(const struct bound_expectations *bound, size_t index)
{
    assert(index < bound->list->count);
    return bound->items[index].columns;
}
