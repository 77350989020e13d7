/*
 * The walk over the rules: a client's JSON in, the canonical form and every problem
 * out. See definition_rules.h. It recurses over the rules, whose depth is fixed; values
 * that no rule looks into are copied whole.
 */
#include "storage/jobs/definition_rules.h"

#include "storage/base/mem.h"
#include "storage/jobs/definition_problem.h"
#include "storage/jobs/template.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    POINTER_BYTES_MAX = 64 << 10,
    LIST_BYTES_MAX = 400, /* of the words that a message lists */
    SHOWN_BYTES_MAX = 64, /* of a client's word in a message */
};

/* ---- places and problems ---- */

void normalizer_init(struct normalizer *normalizer, struct definition_problems *problems)
{
    *normalizer = (struct normalizer){.problems = problems};
    buffer_init(&normalizer->pointer, POINTER_BYTES_MAX);
}

void normalizer_deinit(struct normalizer *normalizer)
{
    buffer_deinit(&normalizer->pointer);
}

/* Go down to a member or item; the size to come back to. */
static size_t enter(struct normalizer *normalizer, const char *member)
{
    size_t size = normalizer->pointer.size;
    json_write_pointer(&normalizer->pointer, member);
    return size;
}

static size_t enter_item(struct normalizer *normalizer, size_t index)
{
    size_t size = normalizer->pointer.size;
    buffer_append_format(&normalizer->pointer, "/%zu", index);
    return size;
}

static void leave(struct normalizer *normalizer, size_t size)
{
    normalizer->pointer.size = size;
}

void normalizer_tell(struct normalizer *normalizer, const char *member, const char *code,
                     const char *format, ...)
{
    size_t size = normalizer->pointer.size;
    if (member != NULL) {
        (void)enter(normalizer, member);
    }
    va_list arguments;
    va_start(arguments, format);
    definition_problems_add_list(normalizer->problems, buffer_span(&normalizer->pointer), code,
                                 format, arguments);
    va_end(arguments);
    leave(normalizer, size);
}

/* "a, b, c" */
static void append_word(char text[LIST_BYTES_MAX], const char *word)
{
    size_t size = strlen(text);
    (void)snprintf(text + size, LIST_BYTES_MAX - size, "%s%s", size > 0 ? ", " : "",
                   word); /* a long list is cut */
}

/* ---- templates in strings ---- */

struct string_look {
    struct normalizer *normalizer;
    const struct field_rule *rule;
    bool has_reference;
    bool has_secret;
    bool whole;
};

static enum err_code see_reference(void *arg, const char *pointer,
                                   const struct template_reference *reference, struct err *err)
{
    (void)pointer;
    (void)err;
    struct string_look *look = arg;
    look->has_reference = true;
    look->whole = reference->whole;
    if (reference->kind != TEMPLATE_SECRET) {
        return ERR_OK;
    }
    look->has_secret = true;
    if ((look->rule->flags & RULE_SECRET) == 0) {
        normalizer_tell(look->normalizer, NULL, "secret_not_allowed",
                        "a secret cannot be used here, where it would be stored or shown; secrets "
                        "belong in headers, auth and the secret of a webhook");
    }
    return ERR_OK;
}

static void see_broken(void *arg, const char *pointer, const char *message)
{
    (void)pointer;
    struct string_look *look = arg;
    normalizer_tell(look->normalizer, NULL, "template", "%s", message);
}

/* What references a value (a string, or whatever a rule does not look into) holds. */
static struct string_look look_at(struct normalizer *normalizer, const struct field_rule *rule,
                                  const struct json *value)
{
    struct string_look look = {.normalizer = normalizer, .rule = rule};
    if ((rule->flags & RULE_TEMPLATE) != 0 && !normalizer->expanded) {
        struct err ignored = {0};
        err_ignore(template_list(value, see_reference, see_broken, &look, &ignored)); /* no error */
    }
    return look;
}

static enum err_code note_reference(void *arg, const char *pointer,
                                    const struct template_reference *reference, struct err *err)
{
    (void)pointer;
    (void)reference;
    (void)err;
    *(bool *)arg = true;
    return ERR_OK;
}

static void note_broken(void *arg, const char *pointer, const char *message)
{
    (void)pointer;
    (void)message;
    *(bool *)arg = true;
}

bool rule_has_reference(const struct json *value)
{
    bool found = false;
    struct err ignored = {0};
    err_ignore(template_list(value, note_reference, note_broken, &found, &ignored)); /* no error */
    return found;
}

/* ---- single values; NULL = told, left out ---- */

static const char *kind_wanted(const struct field_rule *rule)
{
    switch (rule->kind) {
    case RULE_STRING:
    case RULE_CHOICE:
        return "a string";
    case RULE_INTEGER:
        return "a whole number";
    case RULE_NUMBER:
        return "a number";
    case RULE_BOOLEAN:
        return "true or false";
    case RULE_SCALAR:
        return "a string, a number, true or false";
    case RULE_OBJECT:
    case RULE_MAP:
        return "an object";
    case RULE_ARRAY:
        return "an array";
    case RULE_ANY:
        break;
    }
    return "a value";
}

static struct json *wrong_type(struct normalizer *normalizer, const struct field_rule *rule)
{
    normalizer_tell(normalizer, NULL, "type", "must be %s%s", kind_wanted(rule),
                    (rule->flags & RULE_TEMPLATE) != 0 && rule->kind != RULE_STRING &&
                            rule->kind != RULE_SCALAR
                        ? ", or a string that is one {{…}} reference"
                        : "");
    return NULL;
}

bool definition_key_is_valid(struct span text)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    for (size_t i = 0; i < text.size; i++) {
        if (memchr(allowed, text.data[i], sizeof allowed - 1) == NULL) {
            return false;
        }
    }
    return text.size > 0 && text.size <= DEFINITION_KEY_BYTES_MAX;
}

static bool key_holds(struct normalizer *normalizer, struct span text)
{
    if (definition_key_is_valid(text)) {
        return true;
    }
    normalizer_tell(normalizer, NULL, "format",
                    "must have 1 to %d letters, digits, hyphens and underscores",
                    DEFINITION_KEY_BYTES_MAX);
    return false;
}

static bool size_holds(struct normalizer *normalizer, const struct field_rule *rule, size_t size)
{
    if (rule->maximum == 0 || ((int64_t)size >= rule->minimum && (int64_t)size <= rule->maximum)) {
        return true;
    }
    normalizer_tell(normalizer, NULL, "length",
                    "must have %" PRId64 " to %" PRId64 " bytes, this has %zu", rule->minimum,
                    rule->maximum, size);
    return false;
}

static struct json *normalize_string(struct normalizer *normalizer, const struct field_rule *rule,
                                     const struct json *value)
{
    struct span text = {0};
    if (!json_as_string(value, &text)) {
        return wrong_type(normalizer, rule);
    }
    if (json_text(value) == NULL) {
        normalizer_tell(normalizer, NULL, "format", "must not hold the character U+0000");
        return NULL;
    }
    struct string_look look = look_at(normalizer, rule, value);
    if ((rule->flags & RULE_NEEDS_SECRET) != 0 && !normalizer->expanded && !look.has_secret) {
        normalizer_tell(normalizer, NULL, "secret_needed",
                        "a definition is shown to those who may read jobs: store the secret with "
                        "PUT /v1/secrets/NAME and write {{secrets.NAME}} here");
        return NULL;
    }
    if (!size_holds(normalizer, rule, text.size)) {
        return NULL;
    }
    if (look.has_reference) { /* the rest can only be seen when it is expanded */
        return json_duplicate(value);
    }
    char message[RULE_MESSAGE_BYTES] = "";
    if ((rule->flags & RULE_KEY) != 0 && !key_holds(normalizer, text)) {
        return NULL;
    }
    if (rule->format != NULL && !rule->format(json_text(value), message)) {
        normalizer_tell(normalizer, NULL, "format", "%s", message);
        return NULL;
    }
    return json_duplicate(value);
}

static struct json *normalize_choice(struct normalizer *normalizer, const struct field_rule *rule,
                                     const struct json *value)
{
    struct span text = {0};
    if (!json_as_string(value, &text)) {
        return wrong_type(normalizer, rule);
    }
    char list[LIST_BYTES_MAX] = "";
    for (const struct rule_choice *choice = rule->choices; choice->name != NULL; choice++) {
        if (span_equal_text(text, choice->name) ||
            (choice->alias != NULL && span_equal_text(text, choice->alias))) {
            return json_new_text(choice->name);
        }
        append_word(list, choice->name);
    }
    normalizer_tell(normalizer, NULL, "choice", "must be one of: %s", list);
    return NULL;
}

static struct json *normalize_number(struct normalizer *normalizer, const struct field_rule *rule,
                                     const struct json *value)
{
    int64_t integer = 0;
    double real = 0;
    bool right =
        rule->kind == RULE_INTEGER ? json_as_integer(value, &integer) : json_as_real(value, &real);
    if (!right) {
        return wrong_type(normalizer, rule);
    }
    bool bounded = rule->minimum != 0 || rule->maximum != 0;
    bool fits = rule->kind == RULE_INTEGER
                    ? integer >= rule->minimum && (!bounded || integer <= rule->maximum)
                    : real > 0 && (!bounded || real <= (double)rule->maximum);
    if (!fits && rule->kind == RULE_NUMBER) {
        normalizer_tell(normalizer, NULL, "range", "must be above 0 and at most %" PRId64,
                        rule->maximum);
    } else if (!fits && bounded) {
        normalizer_tell(normalizer, NULL, "range", "must be from %" PRId64 " to %" PRId64,
                        rule->minimum, rule->maximum);
    } else if (!fits) {
        normalizer_tell(normalizer, NULL, "range", "must not be negative");
    }
    return fits ? json_duplicate(value) : NULL;
}

static struct json *normalize_scalar(struct normalizer *normalizer, const struct field_rule *rule,
                                     const struct json *value)
{
    enum json_kind kind = json_kind(value);
    if (kind == JSON_KIND_STRING) {
        return normalize_string(normalizer, rule, value);
    }
    bool right = kind == JSON_KIND_BOOLEAN || kind == JSON_KIND_INTEGER || kind == JSON_KIND_REAL;
    return right ? json_duplicate(value) : wrong_type(normalizer, rule);
}

static struct json *normalize_value(struct normalizer *normalizer, const struct field_rule *rule,
                                    const struct json *value);

/* ---- arrays and maps ---- */

static bool count_holds(struct normalizer *normalizer, const struct field_rule *rule, size_t count)
{
    if (rule->maximum == 0 ||
        ((int64_t)count >= rule->minimum && (int64_t)count <= rule->maximum)) {
        return true;
    }
    normalizer_tell(normalizer, NULL, "count",
                    "must have %" PRId64 " to %" PRId64 " entries, this has %zu", rule->minimum,
                    rule->maximum, count);
    return false;
}

struct placed_text {
    struct span text;
    size_t index;
};

static int compare_placed(const void *a, const void *b)
{
    const struct placed_text *first = a;
    const struct placed_text *second = b;
    int order = span_compare(first->text, second->text);
    return order != 0 ? order : (first->index > second->index) - (first->index < second->index);
}

/* Tell of every string that is there already. */
static void check_unique(struct normalizer *normalizer, const struct json *array)
{
    size_t count = 0;
    CLEANUP(mem_cleanup)
    struct placed_text *texts = mem_zeroed(json_count(array) + 1, sizeof *texts);
    for (size_t i = 0; i < json_count(array); i++) {
        texts[count].index = i;
        count += json_as_string(json_at(array, i), &texts[count].text);
    }
    qsort(texts, count, sizeof *texts, compare_placed);
    for (size_t i = 1; i < count; i++) {
        if (span_equal(texts[i - 1].text, texts[i].text)) {
            size_t size = enter_item(normalizer, texts[i].index);
            normalizer_tell(normalizer, NULL, "duplicate", "is there twice");
            leave(normalizer, size);
        }
    }
}

static struct json *normalize_array(struct normalizer *normalizer, const struct field_rule *rule,
                                    const struct json *value)
{
    if (json_kind(value) != JSON_KIND_ARRAY) {
        return wrong_type(normalizer, rule);
    }
    if (!count_holds(normalizer, rule, json_count(value))) {
        return NULL;
    }
    struct json *array = json_new_array();
    for (size_t i = 0; i < json_count(value); i++) {
        size_t size = enter_item(normalizer, i);
        struct json *item = normalize_value(normalizer, rule->items, json_at(value, i));
        json_append(array, item); /* null for a bad one: the others keep their places */
        leave(normalizer, size);
    }
    if ((rule->flags & RULE_UNIQUE) != 0) {
        check_unique(normalizer, array);
    }
    return array;
}

static struct json *normalize_map(struct normalizer *normalizer, const struct field_rule *rule,
                                  const struct json *value)
{
    if (json_kind(value) != JSON_KIND_OBJECT) {
        return wrong_type(normalizer, rule);
    }
    if (!count_holds(normalizer, rule, json_count(value))) {
        return NULL;
    }
    struct json *map = json_new_object();
    const char *name = NULL;
    const struct json *member = NULL;
    for (size_t position = 0; json_member(value, &position, &name, &member);) {
        size_t size = enter(normalizer, name);
        bool named = (rule->flags & RULE_KEY) == 0 || key_holds(normalizer, span_of_text(name));
        struct json *item = named ? normalize_value(normalizer, rule->items, member) : NULL;
        if (item != NULL) {
            json_set(map, name, item);
        }
        leave(normalizer, size);
    }
    return map;
}

/* ---- objects ---- */

static const struct field_rule *find_field(const struct object_rule *rule, const char *name)
{
    for (const struct field_rule *field = rule->fields; field->name != NULL; field++) {
        if (strcmp(field->name, name) == 0) {
            return field;
        }
    }
    return NULL;
}

static void check_members(struct normalizer *normalizer, const struct object_rule *rule,
                          const struct object_rule *more, const struct json *given)
{
    const char *name = NULL;
    const struct json *member = NULL;
    for (size_t position = 0; json_member(given, &position, &name, &member);) {
        if (find_field(rule, name) != NULL || (more != NULL && find_field(more, name) != NULL) ||
            (rule->selector != NULL && strcmp(rule->selector, name) == 0)) {
            continue;
        }
        char list[LIST_BYTES_MAX] = "";
        if (rule->selector != NULL) {
            append_word(list, rule->selector);
        }
        for (const struct field_rule *field = rule->fields; field->name != NULL; field++) {
            append_word(list, field->name);
        }
        for (const struct field_rule *field = more != NULL ? more->fields : NULL;
             field != NULL && field->name != NULL; field++) {
            append_word(list, field->name);
        }
        normalizer_tell(normalizer, name, "unknown_member", "is not known here; known are: %s",
                        list);
    }
}

static void normalize_fields(struct normalizer *normalizer, const struct object_rule *rule,
                             const struct json *given, struct json *object)
{
    for (const struct field_rule *field = rule->fields; field->name != NULL; field++) {
        const struct json *value = json_get(given, field->name);
        struct json *normalized = NULL;
        if (json_kind(value) != JSON_KIND_NULL) {
            size_t size = enter(normalizer, field->name);
            normalized = normalize_value(normalizer, field, value);
            leave(normalizer, size);
        } else if ((field->flags & RULE_REQUIRED) != 0) {
            normalizer_tell(normalizer, field->name, "missing", "must be given, as %s",
                            kind_wanted(field));
        }
        if (normalized == NULL && field->fallback != NULL) {
            struct err err = {0};
            enum err_code code = json_parse(span_of_text(field->fallback), &normalized, &err);
            assert(code == ERR_OK);
        }
        if (normalized != NULL) {
            json_set(object, field->name, normalized);
        }
    }
}

/* The variant that the selector names; NULL = told. */
static const struct object_rule *select_variant(struct normalizer *normalizer,
                                                const struct object_rule *rule,
                                                const struct json *given)
{
    const struct json *value = json_get(given, rule->selector);
    struct span text = {0};
    char list[LIST_BYTES_MAX] = "";
    bool is_text = json_as_string(value, &text);
    for (const struct rule_variant *variant = rule->variants; variant->name != NULL; variant++) {
        if (is_text && span_equal_text(text, variant->name)) {
            return variant->rule;
        }
        append_word(list, variant->name);
    }
    if (is_text) {
        struct span shown =
            span_of(text.data, text.size < SHOWN_BYTES_MAX ? text.size : SHOWN_BYTES_MAX);
        normalizer_tell(normalizer, rule->selector, rule->selector_code,
                        "'%.*s' is not known here; known are: %s", SPAN_PRINT(shown), list);
    } else if (json_kind(value) != JSON_KIND_NULL) {
        normalizer_tell(normalizer, rule->selector, "type", "must be one of: %s", list);
    } else {
        normalizer_tell(normalizer, rule->selector, "missing", "must be given, one of: %s", list);
    }
    return NULL;
}

struct json *rule_normalize(struct normalizer *normalizer, const struct object_rule *rule,
                            const struct json *given)
{
    struct json *object = json_new_object();
    if (json_kind(given) != JSON_KIND_OBJECT) {
        normalizer_tell(normalizer, NULL, "type", "must be an object");
        return object;
    }
    const struct object_rule *more = NULL;
    if (rule->selector != NULL) {
        more = select_variant(normalizer, rule, given);
    }
    if (rule->selector == NULL || more != NULL) { /* else nobody knows what may be there */
        check_members(normalizer, rule, more, given);
    }
    normalize_fields(normalizer, rule, given, object);
    if (more != NULL) {
        json_set_text(object, rule->selector, json_text(json_get(given, rule->selector)));
        normalize_fields(normalizer, more, given, object);
    }
    if (rule->check != NULL) {
        rule->check(normalizer, given);
    }
    if (more != NULL && more->check != NULL) {
        more->check(normalizer, given);
    }
    return object;
}

/* ---- any value ---- */

static struct json *normalize_any(struct normalizer *normalizer, const struct field_rule *rule,
                                  const struct json *value)
{
    (void)look_at(normalizer, rule, value); /* tells what is broken, and of secrets */
    if (rule->look != NULL) {
        rule->look(normalizer, value);
    }
    return json_duplicate(value);
}

static struct json *normalize_value(struct normalizer *normalizer, const struct field_rule *rule,
                                    const struct json *value)
{
    bool plain = rule->kind == RULE_STRING || rule->kind == RULE_SCALAR || rule->kind == RULE_ANY;
    if (!plain && json_kind(value) == JSON_KIND_STRING && (rule->flags & RULE_TEMPLATE) != 0 &&
        !normalizer->expanded) {
        struct string_look look = look_at(normalizer, rule, value);
        return look.whole ? json_duplicate(value) : wrong_type(normalizer, rule);
    }
    switch (rule->kind) {
    case RULE_STRING:
        return normalize_string(normalizer, rule, value);
    case RULE_INTEGER:
    case RULE_NUMBER:
        return normalize_number(normalizer, rule, value);
    case RULE_BOOLEAN:
        return json_kind(value) == JSON_KIND_BOOLEAN ? json_duplicate(value)
                                                     : wrong_type(normalizer, rule);
    case RULE_CHOICE:
        return normalize_choice(normalizer, rule, value);
    case RULE_SCALAR:
        return normalize_scalar(normalizer, rule, value);
    case RULE_OBJECT:
        return json_kind(value) == JSON_KIND_OBJECT
                   ? rule_normalize(normalizer, rule->object, value)
                   : wrong_type(normalizer, rule);
    case RULE_ARRAY:
        return normalize_array(normalizer, rule, value);
    case RULE_MAP:
        return normalize_map(normalizer, rule, value);
    case RULE_ANY:
        return normalize_any(normalizer, rule, value);
    }
    return NULL; /* there is no other kind */
}
