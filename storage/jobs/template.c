/*
 * Templates: finding references, listing them, replacing them. See template.h.
 *
 * The walks recurse over a definition's own JSON, which is at most JSON_DEPTH_MAX
 * deep; values that are inserted are not walked.
 */
#include "storage/jobs/template.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/base/text.h"
#include "storage/jobs/definition.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    POINTER_BYTES_MAX = 64 << 10,
    SHOWN_BYTES_MAX = 64, /* of a reference, in messages */
};

static const char known[] =
    "known are tasks.KEY.values.NAME, tasks.KEY.result, job.parameters.NAME, job.id, run.id, "
    "run.trigger_time, run.start_time, input, input.FIELD and secrets.NAME";

static struct span shown(struct span text)
{
    return span_of(text.data, text.size < SHOWN_BYTES_MAX ? text.size : SHOWN_BYTES_MAX);
}

/* ---- one reference ---- */

static bool is_word_byte(uint8_t byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
}

/* Takes a word off the front of `rest`; false when there is none or it is too long. */
static bool take_word(struct span *rest, struct span *word_out)
{
    size_t size = 0;
    while (size < rest->size && is_word_byte(rest->data[size])) {
        size++;
    }
    if (size == 0 || size > DEFINITION_KEY_BYTES_MAX) {
        return false;
    }
    *word_out = span_of(rest->data, size);
    *rest = span_of(rest->data + size, rest->size - size);
    return true;
}

static bool take_text(struct span *rest, const char *text)
{
    size_t size = strlen(text);
    if (rest->size < size || memcmp(rest->data, text, size) != 0) {
        return false;
    }
    *rest = span_of(rest->data + size, rest->size - size);
    return true;
}

static struct span trimmed(struct span text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = span_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

static bool parse_input(struct span rest, struct template_reference *reference)
{
    reference->kind = TEMPLATE_INPUT;
    if (rest.size == 0) {
        return true;
    }
    if (!take_text(&rest, ".")) {
        return false;
    }
    reference->name = rest;
    for (struct span word = {0}; take_word(&rest, &word);) {
        if (rest.size == 0) {
            return true;
        }
        if (!take_text(&rest, ".")) {
            return false;
        }
    }
    return false;
}

static bool parse_task(struct span rest, struct template_reference *reference)
{
    if (!take_word(&rest, &reference->key)) {
        return false;
    }
    if (span_equal_text(rest, ".result")) {
        reference->kind = TEMPLATE_TASK_RESULT;
        return true;
    }
    reference->kind = TEMPLATE_TASK_VALUE;
    return take_text(&rest, ".values.") && take_word(&rest, &reference->name) && rest.size == 0;
}

/* What stands between the braces; false when it is no reference. */
static bool parse_reference(struct span text, struct template_reference *reference_out)
{
    static const struct {
        const char *text;
        enum template_kind kind;
    } plain[] = {
        {"job.id", TEMPLATE_JOB_ID},
        {"run.id", TEMPLATE_RUN_ID},
        {"run.trigger_time", TEMPLATE_RUN_TRIGGER_TIME},
        {"run.start_time", TEMPLATE_RUN_START_TIME},
    };
    struct template_reference reference = {.text = trimmed(text)};
    struct span rest = reference.text;
    bool known_word = false;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (span_equal_text(rest, plain[i].text)) {
            reference.kind = plain[i].kind;
            known_word = true;
        }
    }
    if (!known_word) {
        if (take_text(&rest, "tasks.")) {
            known_word = parse_task(rest, &reference);
        } else if (take_text(&rest, "job.parameters.")) {
            reference.kind = TEMPLATE_JOB_PARAMETER;
            known_word = take_word(&rest, &reference.name) && rest.size == 0;
        } else if (take_text(&rest, "secrets.")) {
            reference.kind = TEMPLATE_SECRET;
            known_word = take_word(&rest, &reference.name) && rest.size == 0;
        } else if (take_text(&rest, "input")) {
            known_word = parse_input(rest, &reference);
        }
    }
    if (known_word) {
        *reference_out = reference;
    }
    return known_word;
}

/* A piece of a string: literal text, then a reference, a broken one, or the end. */
struct piece {
    struct span literal;
    bool has_reference;
    struct template_reference reference;
    bool broken;
    struct span broken_text; /* from the braces on */
};

static bool find_pair(struct span text, char byte, size_t from, size_t *at_out)
{
    for (size_t at = from; at + 1 < text.size; at++) {
        if (text.data[at] == (uint8_t)byte && text.data[at + 1] == (uint8_t)byte) {
            *at_out = at;
            return true;
        }
    }
    return false;
}

/* Takes the next piece off the front of `rest`. Behind a broken one the string is given up. */
static void next_piece(struct span *rest, struct piece *piece_out)
{
    struct piece piece = {0};
    size_t open = rest->size;
    piece.literal = *rest;
    if (find_pair(*rest, '{', 0, &open)) {
        piece.literal = span_of(rest->data, open);
        size_t close = 0;
        bool closed = find_pair(*rest, '}', open + 2, &close) &&
                      close - open - 2 <= TEMPLATE_REFERENCE_BYTES_MAX;
        piece.has_reference =
            closed &&
            parse_reference(span_of(rest->data + open + 2, close - open - 2), &piece.reference);
        piece.broken = !piece.has_reference;
        if (piece.broken) {
            piece.broken_text = span_of(rest->data + open, rest->size - open);
            open = rest->size;
        } else {
            open = close + 2;
        }
    }
    *rest = span_of(rest->data + open, rest->size - open);
    *piece_out = piece;
}

static bool is_whole(const struct piece *piece, struct span rest)
{
    return piece->has_reference && piece->literal.size == 0 && rest.size == 0;
}

static void describe_broken(const struct piece *piece, char message_out[ERR_MESSAGE_BYTES])
{
    size_t close = 0;
    if (!find_pair(piece->broken_text, '}', 2, &close)) {
        (void)snprintf(message_out, ERR_MESSAGE_BYTES, "'%.*s' opens a reference that no }} closes",
                       SPAN_PRINT(shown(piece->broken_text))); /* fits */
        return;
    }
    (void)snprintf(message_out, ERR_MESSAGE_BYTES, "'%.*s' is no reference; %s",
                   SPAN_PRINT(shown(span_of(piece->broken_text.data, close + 2))),
                   known); /* fits */
}

/* ---- listing ---- */

struct lister {
    template_visit_fn *visit;
    template_broken_fn *broken;
    void *arg;
    struct buffer pointer;
};

static const char *pointer_text(struct lister *lister)
{
    buffer_append_byte(&lister->pointer, '\0');
    lister->pointer.size -= !lister->pointer.overflowed;
    return lister->pointer.overflowed ? "" : (const char *)lister->pointer.data;
}

static enum err_code list_string(struct lister *lister, struct span text, struct err *err)
{
    struct span rest = text;
    while (rest.size > 0) {
        struct piece piece;
        bool first = rest.size == text.size;
        next_piece(&rest, &piece);
        if (piece.broken) {
            char message[ERR_MESSAGE_BYTES];
            describe_broken(&piece, message);
            lister->broken(lister->arg, pointer_text(lister), message);
        } else if (piece.has_reference) {
            piece.reference.whole = first && is_whole(&piece, rest);
            TRY(lister->visit(lister->arg, pointer_text(lister), &piece.reference, err));
        }
    }
    return ERR_OK;
}

static enum err_code list_value(struct lister *lister, const struct json *value, struct err *err)
{
    struct span text = {0};
    if (json_as_string(value, &text)) {
        return list_string(lister, text, err);
    }
    size_t pointer_size = lister->pointer.size;
    for (size_t i = 0; json_kind(value) == JSON_KIND_ARRAY && i < json_count(value); i++) {
        buffer_append_format(&lister->pointer, "/%zu", i);
        TRY(list_value(lister, json_at(value, i), err));
        lister->pointer.size = pointer_size;
    }
    const char *name = NULL;
    const struct json *member = NULL;
    for (size_t position = 0; json_member(value, &position, &name, &member);) {
        json_write_pointer(&lister->pointer, name);
        TRY(list_value(lister, member, err));
        lister->pointer.size = pointer_size;
    }
    return ERR_OK;
}

enum err_code template_list(const struct json *value, template_visit_fn *visit,
                            template_broken_fn *broken, void *arg, struct err *err)
{
    struct lister lister = {.visit = visit, .broken = broken, .arg = arg};
    buffer_init(&lister.pointer, POINTER_BYTES_MAX);
    enum err_code code = list_value(&lister, value, err);
    buffer_deinit(&lister.pointer);
    return code;
}

/* ---- expanding ---- */

void template_mark_make(char mark_out[TEMPLATE_MARK_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[TEMPLATE_MARK_BYTES];
    secret_random(random, sizeof random);
    for (size_t i = 0; i < TEMPLATE_MARK_BYTES; i++) {
        mark_out[i] = digits[random[i] % 16];
    }
    mark_out[TEMPLATE_MARK_BYTES] = '\0';
}

struct expander {
    const struct template_scope *scope;
    size_t bytes_left;
};

static enum err_code take_bytes(struct expander *expander, size_t size, struct err *err)
{
    if (size > expander->bytes_left) {
        return err_set(err, ERR_TOO_LARGE,
                       "what the references stand for is over %d bytes; pass less between tasks",
                       TEMPLATE_BYTES_MAX);
    }
    expander->bytes_left -= size;
    return ERR_OK;
}

static enum err_code append_secret(const struct expander *expander,
                                   const struct template_reference *reference, struct buffer *text,
                                   struct err *err)
{
    if (expander->scope->mark[0] == '\0') {
        return err_set(err, ERR_INVALID, "{{%.*s}}: a secret cannot be used here",
                       SPAN_PRINT(reference->text));
    }
    buffer_append_format(text, "{{secrets.%.*s#%s}}", SPAN_PRINT(reference->name),
                         expander->scope->mark);
    return ERR_OK;
}

static enum err_code append_reference(const struct expander *expander,
                                      const struct template_reference *reference,
                                      struct buffer *text, struct err *err)
{
    if (reference->kind == TEMPLATE_SECRET) {
        return append_secret(expander, reference, text, err);
    }
    CLEANUP(json_free) struct json *value = NULL;
    TRY(expander->scope->resolve(expander->scope->arg, reference, &value, err));
    struct span string = {0};
    if (json_as_string(value, &string)) {
        buffer_append_span(text, string);
    } else {
        json_write(value, text);
    }
    return ERR_OK;
}

/* A string that is one reference to something other than a secret. */
static enum err_code expand_whole(struct expander *expander,
                                  const struct template_reference *reference,
                                  struct json **value_out, struct err *err)
{
    CLEANUP(json_free) struct json *value = NULL;
    TRY(expander->scope->resolve(expander->scope->arg, reference, &value, err));
    CLEANUP(buffer_deinit) struct buffer measure;
    buffer_init(&measure, expander->bytes_left);
    json_write(value, &measure);
    TRY(take_bytes(expander, measure.overflowed ? SIZE_MAX : measure.size, err));
    *value_out = value;
    value = NULL;
    return ERR_OK;
}

static enum err_code expand_string(struct expander *expander, struct span text,
                                   struct json **value_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer expanded;
    buffer_init(&expanded, expander->bytes_left);
    struct span rest = text;
    while (rest.size > 0) {
        struct piece piece;
        bool first = rest.size == text.size;
        next_piece(&rest, &piece);
        if (piece.broken) {
            char message[ERR_MESSAGE_BYTES];
            describe_broken(&piece, message);
            return err_set(err, ERR_INVALID, "%s", message);
        }
        if (first && is_whole(&piece, rest) && piece.reference.kind != TEMPLATE_SECRET) {
            return expand_whole(expander, &piece.reference, value_out, err);
        }
        buffer_append_span(&expanded, piece.literal);
        if (piece.has_reference) {
            TRY(append_reference(expander, &piece.reference, &expanded, err));
        }
    }
    TRY(take_bytes(expander, expanded.overflowed ? SIZE_MAX : expanded.size, err));
    *value_out = json_new_string(buffer_span(&expanded));
    return ERR_OK;
}

static enum err_code expand_value(struct expander *expander, const struct json *value,
                                  struct json **value_out, struct err *err)
{
    struct span text = {0};
    if (json_as_string(value, &text)) {
        return expand_string(expander, text, value_out, err);
    }
    enum json_kind kind = json_kind(value);
    if (kind != JSON_KIND_ARRAY && kind != JSON_KIND_OBJECT) {
        *value_out = json_duplicate(value);
        return ERR_OK;
    }
    CLEANUP(json_free)
    struct json *copy = kind == JSON_KIND_ARRAY ? json_new_array() : json_new_object();
    for (size_t i = 0; kind == JSON_KIND_ARRAY && i < json_count(value); i++) {
        struct json *item = NULL;
        TRY(expand_value(expander, json_at(value, i), &item, err));
        json_append(copy, item);
    }
    const char *name = NULL;
    const struct json *member = NULL;
    for (size_t position = 0; json_member(value, &position, &name, &member);) {
        struct json *item = NULL;
        TRY(expand_value(expander, member, &item, err));
        json_set(copy, name, item);
    }
    *value_out = copy;
    copy = NULL;
    return ERR_OK;
}

enum err_code template_expand(const struct json *value, const struct template_scope *scope,
                              struct json **value_out, struct err *err)
{
    struct expander expander = {.scope = scope, .bytes_left = TEMPLATE_BYTES_MAX};
    return expand_value(&expander, value, value_out, err);
}

/* ---- secrets ---- */

/* Is this `{{secrets.NAME#mark}}` at the front? Then it is taken off `rest`. */
static bool take_marked(struct span *rest, const char *mark, struct span *name_out)
{
    struct span left = *rest;
    struct span name = {0};
    if (!take_text(&left, "{{secrets.") || !take_word(&left, &name) || !take_text(&left, "#") ||
        !take_text(&left, mark) || !take_text(&left, "}}")) {
        return false;
    }
    *rest = left;
    *name_out = name;
    return true;
}

/* The same for `{{ secrets.NAME }}` of text that was never expanded. */
static bool take_unmarked(struct span *rest, struct span *name_out)
{
    struct span left = *rest;
    struct piece piece;
    next_piece(&left, &piece);
    if (!piece.has_reference || piece.literal.size > 0 || piece.reference.kind != TEMPLATE_SECRET) {
        return false;
    }
    *rest = left;
    *name_out = piece.reference.name;
    return true;
}

enum err_code template_open_secrets(struct span text, const char *mark, template_secret_fn *secret,
                                    void *arg, struct buffer *text_out, struct err *err)
{
    struct span rest = text;
    while (rest.size > 0) {
        size_t open = rest.size;
        (void)find_pair(rest, '{', 0, &open); /* none: all the rest is literal */
        buffer_append(text_out, rest.data, open);
        rest = span_of(rest.data + open, rest.size - open);
        struct span name = {0};
        if (rest.size > 0 &&
            (mark[0] != '\0' ? take_marked(&rest, mark, &name) : take_unmarked(&rest, &name))) {
            TRY(secret(arg, name, text_out, err));
        } else if (rest.size > 0) {
            buffer_append_byte(text_out, rest.data[0]);
            rest = span_of(rest.data + 1, rest.size - 1);
        }
    }
    return buffer_check(text_out, "the text with its secrets", err);
}
