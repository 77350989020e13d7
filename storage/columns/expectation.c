/*
 * Parsing expectations. See expectation.h for their shape; what a rule means in a
 * column's type is expectation_bind.c's.
 */
#include "storage/columns/expectation.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/decoder.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

enum {
    HUNDREDTHS = 100,
    CHANGE_PERCENT_MAX = 1000000,
    BACK_MAX = 1000000000, /* versions or seconds */
    NAME_MADE_BYTES = EXPECTATION_NAME_BYTES_MAX,
};

static const char *const action_names[EXPECTATION_ACTION_COUNT] = {
    [EXPECTATION_WARN] = "warn",
    [EXPECTATION_DROP] = "drop",
    [EXPECTATION_QUARANTINE] = "quarantine",
    [EXPECTATION_FAIL] = "fail",
};

const char *expectation_action_name(enum expectation_action action)
{
    assert((unsigned)action < EXPECTATION_ACTION_COUNT);
    return action_names[action];
}

/* ---- members ---- */

static enum err_code copy_name(const struct json *value, char **name_out, struct err *err)
{
    const char *text = json_text(value);
    if (text == NULL || text[0] == '\0' || strlen(text) > SCHEMA_FOREIGN_NAME_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "must be a column's name");
    }
    *name_out = mem_copy_text(text);
    return ERR_OK;
}

static enum err_code copy_names(const struct json *value, char ***names_out, size_t *count_out,
                                struct err *err)
{
    size_t count = json_count(value);
    if (json_kind(value) != JSON_KIND_ARRAY || count == 0 || count > SCHEMA_KEY_FIELDS_MAX) {
        return err_set(err, ERR_INVALID, "must be an array of 1 to %d column names",
                       SCHEMA_KEY_FIELDS_MAX);
    }
    *names_out = mem_zeroed(count, sizeof **names_out);
    *count_out = count;
    for (size_t i = 0; i < count; i++) {
        if (copy_name(json_at(value, i), &(*names_out)[i], err) != ERR_OK) {
            return err_set(err, ERR_INVALID, "name %zu must be a text that is not empty", i);
        }
        for (size_t other = 0; other < i; other++) {
            if (strcmp((*names_out)[other], (*names_out)[i]) == 0) {
                return err_set(err, ERR_INVALID, "name %zu is there twice", i);
            }
        }
    }
    return ERR_OK;
}

/* "column" or "columns" of an object; neither leaves none. `where` is its pointer. */
static enum err_code parse_columns(const struct json *object, const char *where, char ***names_out,
                                   size_t *count_out, struct err *err)
{
    const struct json *one = json_get(object, "column");
    const struct json *many = json_get(object, "columns");
    if (one != NULL && many != NULL) {
        return err_set(err, ERR_INVALID, "%s/columns: give column or columns, not both", where);
    }
    if (one != NULL) {
        *names_out = mem_zeroed(1, sizeof **names_out);
        *count_out = 1;
        return copy_name(one, *names_out, err) == ERR_OK ? ERR_OK
                                                         : err_wrap(err, "%s/column", where);
    }
    if (many != NULL) {
        return copy_names(many, names_out, count_out, err) == ERR_OK
                   ? ERR_OK
                   : err_wrap(err, "%s/columns", where);
    }
    return ERR_OK;
}

static enum err_code parse_whole(const struct json *element, const char *name, int64_t minimum,
                                 int64_t maximum, int64_t *value_out, struct err *err)
{
    const struct json *value = json_get(element, name);
    int64_t whole = 0;
    if (value == NULL) {
        return ERR_OK;
    }
    if (!json_as_integer(value, &whole) || whole < minimum || whole > maximum) {
        return err_set(err, ERR_INVALID, "/%s: must be a whole number from %lld to %lld", name,
                       (long long)minimum, (long long)maximum);
    }
    *value_out = whole;
    return ERR_OK;
}

static enum err_code parse_percent(const struct json *element, const char *name,
                                   int64_t *hundredths_out, struct err *err)
{
    const struct json *value = json_get(element, name);
    double percent = 0;
    if (value == NULL) {
        return ERR_OK;
    }
    if (!json_as_real(value, &percent) || percent < -100 || percent > CHANGE_PERCENT_MAX) {
        return err_set(err, ERR_INVALID, "/%s: must be a number from -100 to %d", name,
                       CHANGE_PERCENT_MAX);
    }
    *hundredths_out = (int64_t)lround(percent * HUNDREDTHS);
    return ERR_OK;
}

/* Copy a member into the rules under the name that fields have for it. */
static bool take_rule(const struct json *element, const char *name, const char *as,
                      struct expectation *expectation)
{
    const struct json *value = json_get(element, name);
    if (json_kind(value) == JSON_KIND_NULL) {
        return false;
    }
    if (expectation->rules == NULL) {
        expectation->rules = json_new_object();
    }
    json_set(expectation->rules, as, json_duplicate(value));
    return true;
}

/* As json_check_names, with a sentence behind the pointer as all errors here have it. */
static enum err_code check_members(const struct json *object, const char *where,
                                   const char *const allowed[], struct err *err)
{
    if (json_kind(object) != JSON_KIND_OBJECT) {
        return err_set(err, ERR_INVALID, "%s: must be an object", where);
    }
    const char *name = NULL;
    const struct json *value = NULL;
    for (size_t at = 0; json_member(object, &at, &name, &value);) {
        size_t i = 0;
        while (allowed[i] != NULL && strcmp(allowed[i], name) != 0) {
            i++;
        }
        if (allowed[i] == NULL && decode_name_is_plain(span_of_text(name))) {
            return err_set(err, ERR_INVALID, "%s/%s: is not a member of this type", where, name);
        }
        if (allowed[i] == NULL) {
            return err_set(err, ERR_INVALID, "%s: has a member that is not known", where);
        }
    }
    return ERR_OK;
}

/* ---- types ---- */

typedef enum err_code parse_type_fn(const struct json *element, struct expectation *expectation,
                                    struct err *err);

static enum err_code parse_nothing(const struct json *element, struct expectation *expectation,
                                   struct err *err)
{
    (void)element;
    (void)expectation;
    (void)err;
    return ERR_OK;
}

static enum err_code parse_range(const struct json *element, struct expectation *expectation,
                                 struct err *err)
{
    bool minimum = take_rule(element, "minimum", "minimum", expectation);
    bool maximum = take_rule(element, "maximum", "maximum", expectation);
    if (!minimum && !maximum) {
        return err_set(err, ERR_INVALID, "/minimum: give minimum, maximum or both");
    }
    return ERR_OK;
}

static enum err_code parse_pattern(const struct json *element, struct expectation *expectation,
                                   struct err *err)
{
    return take_rule(element, "pattern", "pattern", expectation)
               ? ERR_OK
               : err_set(err, ERR_INVALID, "/pattern: is required");
}

static enum err_code parse_enum(const struct json *element, struct expectation *expectation,
                                struct err *err)
{
    return take_rule(element, "values", "enum", expectation)
               ? ERR_OK
               : err_set(err, ERR_INVALID, "/values: is required");
}

static enum err_code parse_format(const struct json *element, struct expectation *expectation,
                                  struct err *err)
{
    return take_rule(element, "format", "format", expectation)
               ? ERR_OK
               : err_set(err, ERR_INVALID, "/format: is required");
}

static enum err_code parse_foreign_key(const struct json *element, struct expectation *expectation,
                                       struct err *err)
{
    static const char *const names[] = {"table", "column", "columns", NULL};
    const struct json *references = json_get(element, "references");
    TRY(check_members(references, "/references", names, err));
    const char *table = json_text(json_get(references, "table"));
    if (table == NULL || table[0] == '\0') {
        return err_set(err, ERR_INVALID, "/references/table: must be a table's name");
    }
    expectation->references_table = mem_copy_text(table);
    TRY(parse_columns(references, "/references", &expectation->references_columns,
                      &expectation->references_count, err));
    if (expectation->references_count > 0 &&
        expectation->references_count != expectation->columns_count) {
        return err_set(err, ERR_INVALID, "/references/columns: must be as many as columns");
    }
    return ERR_OK;
}

static enum err_code parse_row_count(const struct json *element, struct expectation *expectation,
                                     struct err *err)
{
    TRY(parse_whole(element, "minimum", 0, INT64_MAX, &expectation->rows_minimum, err));
    TRY(parse_whole(element, "maximum", 0, INT64_MAX, &expectation->rows_maximum, err));
    TRY(parse_percent(element, "minimum_change_percent", &expectation->change_minimum, err));
    TRY(parse_percent(element, "maximum_change_percent", &expectation->change_maximum, err));
    TRY(parse_whole(element, "versions_back", 1, BACK_MAX, &expectation->versions_back, err));
    TRY(parse_whole(element, "seconds_back", 1, BACK_MAX, &expectation->seconds_back, err));
    bool change =
        expectation->change_minimum != INT64_MIN || expectation->change_maximum != INT64_MIN;
    bool back = expectation->versions_back >= 0 || expectation->seconds_back >= 0;
    if (!change && expectation->rows_minimum < 0 && expectation->rows_maximum < 0) {
        return err_set(err, ERR_INVALID,
                       "/minimum: give minimum, maximum, minimum_change_percent or "
                       "maximum_change_percent");
    }
    if (expectation->versions_back >= 0 && expectation->seconds_back >= 0) {
        return err_set(err, ERR_INVALID, "/seconds_back: give versions_back or seconds_back");
    }
    if (back && !change) {
        return err_set(err, ERR_INVALID, "/%s: needs a change in percent",
                       expectation->versions_back >= 0 ? "versions_back" : "seconds_back");
    }
    if (expectation->rows_maximum >= 0 && expectation->rows_maximum < expectation->rows_minimum) {
        return err_set(err, ERR_INVALID, "/maximum: is below the minimum");
    }
    return ERR_OK;
}

static enum err_code parse_freshness(const struct json *element, struct expectation *expectation,
                                     struct err *err)
{
    TRY(parse_whole(element, "max_age_seconds", 1, BACK_MAX, &expectation->max_age_seconds, err));
    return expectation->max_age_seconds >= 0
               ? ERR_OK
               : err_set(err, ERR_INVALID, "/max_age_seconds: is required");
}

static const char *const names_not_null[] = {"name", "type", "action", "column", "columns", NULL};
static const char *const names_range[] = {"name",    "type",    "action", "column",
                                          "minimum", "maximum", NULL};
static const char *const names_pattern[] = {"name", "type", "action", "column", "pattern", NULL};
static const char *const names_enum[] = {"name", "type", "action", "column", "values", NULL};
static const char *const names_format[] = {"name", "type", "action", "column", "format", NULL};
static const char *const names_foreign_key[] = {"name",    "type",       "action", "column",
                                                "columns", "references", NULL};
static const char *const names_row_count[] = {"name",
                                              "type",
                                              "action",
                                              "minimum",
                                              "maximum",
                                              "minimum_change_percent",
                                              "maximum_change_percent",
                                              "versions_back",
                                              "seconds_back",
                                              NULL};
static const char *const names_freshness[] = {"name", "type", "action", "column", "max_age_seconds",
                                              NULL};

static const struct {
    const char *name;
    const char *const *members;
    size_t columns_min;
    parse_type_fn *parse;
} types[EXPECTATION_TYPE_COUNT] = {
    [EXPECTATION_NOT_NULL] = {"not_null", names_not_null, 1, parse_nothing},
    [EXPECTATION_RANGE] = {"range", names_range, 1, parse_range},
    [EXPECTATION_PATTERN] = {"pattern", names_pattern, 1, parse_pattern},
    [EXPECTATION_ENUM] = {"enum", names_enum, 1, parse_enum},
    [EXPECTATION_FORMAT] = {"format", names_format, 1, parse_format},
    [EXPECTATION_UNIQUE] = {"unique", names_not_null, 1, parse_nothing},
    [EXPECTATION_FOREIGN_KEY] = {"foreign_key", names_foreign_key, 1, parse_foreign_key},
    [EXPECTATION_ROW_COUNT] = {"row_count", names_row_count, 0, parse_row_count},
    [EXPECTATION_FRESHNESS] = {"freshness", names_freshness, 0, parse_freshness},
};

const char *expectation_type_name(enum expectation_type type)
{
    assert((unsigned)type < EXPECTATION_TYPE_COUNT);
    return types[type].name;
}

/* ---- one element ---- */

static enum err_code parse_type(const struct json *element, enum expectations_use use,
                                enum expectation_type *type_out, struct err *err)
{
    struct span text = {0};
    (void)json_as_string(json_get(element, "type"), &text); /* another kind is no type's name */
    for (unsigned i = 0; i < EXPECTATION_TYPE_COUNT; i++) {
        if (!span_equal_text(text, types[i].name)) {
            continue;
        }
        if (use == EXPECTATIONS_OF_ROWS && i >= EXPECTATION_UNIQUE) {
            return err_set(err, ERR_INVALID,
                           "/type: %s looks at the whole table, and here rows are judged one by "
                           "one; put it into a check task",
                           types[i].name);
        }
        *type_out = (enum expectation_type)i;
        return ERR_OK;
    }
    return err_set(err, ERR_INVALID,
                   "/type: must be one of not_null, range, pattern, enum, format, unique, "
                   "foreign_key, row_count, freshness");
}

static enum err_code parse_action(const struct json *element, struct expectation *expectation,
                                  struct err *err)
{
    struct span text = {0};
    (void)json_as_string(json_get(element, "action"), &text); /* likewise */
    for (unsigned i = 0; i < EXPECTATION_ACTION_COUNT; i++) {
        if (span_equal_text(text, action_names[i])) {
            expectation->action = (enum expectation_action)i;
            if (expectation->type >= EXPECTATION_ROW_COUNT && expectation_removes(expectation)) {
                return err_set(err, ERR_INVALID,
                               "/action: %s concerns no single row; give warn or fail",
                               types[expectation->type].name);
            }
            return ERR_OK;
        }
    }
    return err_set(err, ERR_INVALID, "/action: must be one of warn, drop, quarantine, fail");
}

static char *make_name(const struct expectation *expectation)
{
    char name[NAME_MADE_BYTES + 1];
    size_t size = 0;
    int length = snprintf(name, sizeof name, "%s", types[expectation->type].name);
    size += (size_t)length;
    for (size_t i = 0; i < expectation->columns_count && size < sizeof name; i++) {
        length = snprintf(name + size, sizeof name - size, "%c%s", i == 0 ? ' ' : ',',
                          expectation->columns[i]);
        size += (size_t)length;
    }
    if (size >= sizeof name) { /* cut, at a whole character */
        size = sizeof name - 1;
        while (!text_is_utf8(span_of(name, size), &size)) {
        }
        name[size] = '\0';
    }
    return mem_copy_text(name);
}

static enum err_code parse_name(const struct json *element, struct expectation *expectation,
                                struct err *err)
{
    const struct json *value = json_get(element, "name");
    const char *text = json_text(value);
    if (value == NULL) {
        expectation->name = make_name(expectation);
        return ERR_OK;
    }
    if (text == NULL || text[0] == '\0' || strlen(text) > EXPECTATION_NAME_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "/name: must be a text of 1 to %d bytes",
                       EXPECTATION_NAME_BYTES_MAX);
    }
    expectation->name = mem_copy_text(text);
    return ERR_OK;
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(names[i]);
    }
    mem_free((void *)names);
}

static void expectation_deinit(struct expectation *expectation)
{
    mem_free(expectation->name);
    free_names(expectation->columns, expectation->columns_count);
    json_free(&expectation->rules);
    mem_free(expectation->references_table);
    free_names(expectation->references_columns, expectation->references_count);
    *expectation = (struct expectation){0};
}

/* Fills what it can; deinit in any case. */
static enum err_code parse_element(const struct json *element, enum expectations_use use,
                                   struct expectation *expectation, struct err *err)
{
    if (json_kind(element) != JSON_KIND_OBJECT) {
        return err_set(err, ERR_INVALID, ": must be an object");
    }
    *expectation = (struct expectation){
        .rows_minimum = -1,
        .rows_maximum = -1,
        .change_minimum = INT64_MIN,
        .change_maximum = INT64_MIN,
        .versions_back = -1,
        .seconds_back = -1,
        .max_age_seconds = -1,
    };
    TRY(parse_type(element, use, &expectation->type, err));
    TRY(check_members(element, "", types[expectation->type].members, err));
    TRY(parse_action(element, expectation, err));
    TRY(parse_columns(element, "", &expectation->columns, &expectation->columns_count, err));
    if (expectation->columns_count < types[expectation->type].columns_min) {
        return err_set(err, ERR_INVALID, "/column: is required");
    }
    TRY(types[expectation->type].parse(element, expectation, err));
    return parse_name(element, expectation, err);
}

enum err_code expectation_check(const struct json *element, enum expectations_use use,
                                struct err *err)
{
    CLEANUP(expectation_deinit) struct expectation expectation = {0};
    return parse_element(element, use, &expectation, err);
}

/* ---- the list ---- */

static enum err_code check_name_is_new(const struct expectations *list, size_t index,
                                       struct err *err)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(list->items[i].name, list->items[index].name) == 0) {
            return err_set(err, ERR_INVALID,
                           "/%zu/name: element %zu has the same name; give each one its own", index,
                           i);
        }
    }
    return ERR_OK;
}

enum err_code expectations_parse(const struct json *array, enum expectations_use use,
                                 struct expectations **expectations_out, struct err *err)
{
    size_t count = json_count(array);
    if (json_kind(array) != JSON_KIND_ARRAY && json_kind(array) != JSON_KIND_NULL) {
        return err_set(err, ERR_INVALID, ": must be an array of expectations");
    }
    if (count > EXPECTATIONS_MAX) {
        return err_set(err, ERR_TOO_LARGE, ": has more than %d expectations", EXPECTATIONS_MAX);
    }
    CLEANUP(expectations_free) struct expectations *list = mem_zeroed(1, sizeof *list);
    list->items = mem_zeroed(count + 1, sizeof *list->items);
    for (size_t i = 0; i < count; i++) {
        list->count = i + 1;
        if (parse_element(json_at(array, i), use, &list->items[i], err) != ERR_OK) {
            char sentence[ERR_MESSAGE_BYTES];
            (void)snprintf(sentence, sizeof sentence, "%s", err->msg); /* fits: the same size */
            return err_set(err, err->code, "/%zu%s", i, sentence);
        }
        TRY(check_name_is_new(list, i, err));
    }
    *expectations_out = list;
    list = NULL;
    return ERR_OK;
}

void expectations_free(struct expectations **expectations)
{
    if (*expectations == NULL) {
        return;
    }
    for (size_t i = 0; i < (*expectations)->count; i++) {
        expectation_deinit(&(*expectations)->items[i]);
    }
    mem_free((*expectations)->items);
    mem_free(*expectations);
    *expectations = NULL;
}
