/*
 * From text to conditions. See predicate.h.
 *
 *   or          and (OR and)*
 *   and         not (AND not)*
 *   not         NOT not | test
 *   test        operand [ comparison operand | IS [NOT] NULL | [NOT] IN ( operand, … )
 *                       | [NOT] BETWEEN operand AND operand ]
 *   operand     literal | column | ( or )
 */
#include "storage/columns/predicate.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/predicate_node.h"
#include "storage/columns/schema_build.h"

#include <string.h>
#include <strings.h>

enum {
    ARENA_BYTES_MAX = 4 << 20,
    DIGITS_MAX = 38,
};

struct parser {
    struct span text;
    size_t at;
    size_t depth;
    size_t nodes_count;
    const struct schema *schema;
    struct predicate *predicate;
    struct err *err;
};

/* ---- errors ---- */

static struct node *refuse(struct parser *parser, size_t at, const char *reason)
{
    if (parser->err->code == ERR_OK) {
        (void)err_set(parser->err, ERR_UNSUPPORTED, "byte %zu: %s", at + 1, reason);
    }
    return NULL;
}

static struct node *new_node(struct parser *parser, enum node_kind kind, size_t at)
{
    struct node *node = NULL;
    if (++parser->nodes_count <= PREDICATE_NODES_MAX) {
        node = arena_alloc(&parser->predicate->arena, sizeof *node);
    }
    if (node == NULL) {
        (void)err_set(parser->err, ERR_TOO_LARGE, "the condition has more than %d parts",
                      PREDICATE_NODES_MAX);
        return NULL;
    }
    node->kind = kind;
    node->class = CLASS_BOOLEAN;
    node->at = at;
    return node;
}

/* ---- words ---- */

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* The byte `ahead` of where the parser stands; 0 behind the end. */
static uint8_t peek(const struct parser *parser, size_t ahead)
{
    size_t at = parser->at + ahead;
    return at < parser->text.size ? parser->text.data[at] : 0;
}

static void skip_spaces(struct parser *parser)
{
    while (is_space(peek(parser, 0))) {
        parser->at++;
    }
}

static struct span word_here(const struct parser *parser)
{
    size_t size = 0;
    if (is_letter(peek(parser, 0))) {
        while (is_letter(peek(parser, size)) || is_digit(peek(parser, size))) {
            size++;
        }
    }
    return span_of(parser->text.data + parser->at, size);
}

static bool is_word(struct span word, const char *keyword)
{
    return word.size == strlen(keyword) &&
           strncasecmp((const char *)word.data, keyword, word.size) == 0;
}

/* Take a keyword if it stands here. */
static bool take_word(struct parser *parser, const char *keyword)
{
    skip_spaces(parser);
    struct span word = word_here(parser);
    if (!is_word(word, keyword)) {
        return false;
    }
    parser->at += word.size;
    return true;
}

static bool take_byte(struct parser *parser, char byte)
{
    skip_spaces(parser);
    if (peek(parser, 0) != (uint8_t)byte) {
        return false;
    }
    parser->at++;
    return true;
}

/* ---- literals ---- */

/* Bytes up to the closing quote, or the text's end. */
static size_t quoted_size(const struct parser *parser)
{
    size_t size = 1;
    while (peek(parser, size) != '\'' && parser->at + size < parser->text.size) {
        size += peek(parser, size) == '\\' ? 2 : 1;
    }
    return size;
}

/* What stands in quotes, with escapes undone, in the arena. */
static bool take_quoted(struct parser *parser, struct span *text_out)
{
    size_t start = parser->at;
    uint8_t *bytes = arena_alloc(&parser->predicate->arena, quoted_size(parser));
    size_t size = 0;
    if (bytes == NULL) {
        (void)err_set(parser->err, ERR_TOO_LARGE, "the condition takes too much memory");
        return false;
    }
    for (parser->at++; peek(parser, 0) != '\''; parser->at++) {
        uint8_t byte = peek(parser, 0);
        if (parser->at >= parser->text.size) {
            (void)refuse(parser, start, "a text without its closing quote");
            return false;
        }
        if (byte == '\\') {
            static const char escapes[] = "\\\'\"ntr";
            static const char meanings[] = "\\\'\"\n\t\r";
            const char *escape =
                peek(parser, 1) == 0 ? NULL : strchr(escapes, (char)peek(parser, 1));
            if (escape == NULL) {
                (void)refuse(parser, parser->at, "an escape other than \\\\ \\' \\\" \\n \\t \\r");
                return false;
            }
            byte = (uint8_t)meanings[escape - escapes];
            parser->at++;
        }
        bytes[size++] = byte;
    }
    parser->at++;
    if (peek(parser, 0) == '\'') {
        (void)refuse(parser, parser->at,
                     "a quote in quotes, which not every engine reads alike; write \\'");
        return false;
    }
    *text_out = span_of(bytes, size);
    return true;
}

static struct node *literal_text(struct parser *parser)
{
    struct node *node = new_node(parser, NODE_LITERAL, parser->at);
    if (node == NULL || !take_quoted(parser, &node->value.text)) {
        return NULL;
    }
    node->class = CLASS_TEXT;
    return node;
}

/* A text as date or timestamp, in place. */
static struct node *convert_text(struct parser *parser, struct node *node, enum value_class class)
{
    int32_t day = 0;
    int64_t us = 0;
    if (class == CLASS_DATE && text_parse_date(node->value.text, &day)) {
        node->value.exact = day;
    } else if (class == CLASS_TIMESTAMP && text_parse_timestamp(node->value.text, &us)) {
        node->value.exact = us;
    } else {
        return refuse(parser, node->at,
                      class == CLASS_DATE
                          ? "a text that is no date like 2026-11-26"
                          : "a text that is no timestamp with zone like 2026-11-26T08:00:00Z; "
                            "without one it would depend on a session");
    }
    node->class = class;
    return node;
}

static struct node *literal_number(struct parser *parser)
{
    size_t start = parser->at;
    bool negative = peek(parser, 0) == '-';
    bool has_point = false;
    bool has_exponent = false;
    size_t digits = 0;
    __int128 exact = 0;
    int scale = 0;
    parser->at += negative || peek(parser, 0) == '+';
    for (;; parser->at++) {
        uint8_t byte = peek(parser, 0);
        if (byte == '.' && !has_point && !has_exponent) {
            has_point = true;
        } else if (is_digit(byte) && !has_exponent) {
            digits += digits > 0 || byte != '0';
            if (digits > DIGITS_MAX) {
                return refuse(parser, start, "a number of more than 38 digits");
            }
            exact = exact * 10 + (byte - '0');
            scale += has_point;
        } else if ((byte == 'e' || byte == 'E') && !has_exponent) {
            has_exponent = true;
            parser->at += peek(parser, 1) == '-' || peek(parser, 1) == '+';
        } else if (!is_digit(byte)) {
            break;
        }
    }
    if (is_letter(peek(parser, 0)) || scale > DIGITS_MAX) {
        return refuse(parser, start, "a number with a suffix, or of too many digits");
    }
    struct node *node = new_node(parser, NODE_LITERAL, start);
    if (node == NULL) {
        return NULL;
    }
    size_t sign = parser->text.data[start] == '+';
    struct span text = span_of(parser->text.data + start + sign, parser->at - start - sign);
    if (!text_parse_double(text, &node->value.real)) {
        return refuse(parser, start, "a number that cannot be read");
    }
    node->class = has_exponent ? CLASS_DOUBLE : CLASS_DECIMAL;
    node->value.exact = negative ? -exact : exact;
    node->value.scale = scale;
    return node;
}

/* ---- columns ---- */

static enum value_class class_of(const struct field *field)
{
    switch (field->type) {
    case COLUMN_STRING:
        return CLASS_TEXT;
    case COLUMN_DATE:
        return CLASS_DATE;
    case COLUMN_TIMESTAMP:
        return CLASS_TIMESTAMP;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        return CLASS_DOUBLE;
    case COLUMN_BOOLEAN:
        return CLASS_BOOLEAN;
    case COLUMN_INTEGER:
    case COLUMN_LONG:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
    case COLUMN_DECIMAL:
        return CLASS_DECIMAL;
    default:
        return CLASS_OPAQUE;
    }
}

static struct node *column_named(struct parser *parser, struct span name, size_t at)
{
    int index =
        schema_find_ignoring_case(parser->schema->fields, parser->schema->fields_count, name);
    if (index < 0) {
        return refuse(parser, at,
                      "a name that is no column of the table, or a word that is not "
                      "known here");
    }
    const struct field *field = &parser->schema->fields[index];
    struct node *node = new_node(parser, NODE_COLUMN, at);
    if (node != NULL) {
        node->class = class_of(field);
        node->field_id = field->id;
        node->value.scale = field->type == COLUMN_DECIMAL ? field->scale : 0;
    }
    return node;
}

static struct node *quoted_column(struct parser *parser)
{
    size_t start = parser->at++;
    size_t size = 0;
    while (peek(parser, size) != '`' && parser->at + size < parser->text.size) {
        size++;
    }
    struct span name = span_of(parser->text.data + parser->at, size);
    parser->at += size + 1;
    if (parser->at > parser->text.size || peek(parser, 0) == '`') {
        return refuse(parser, start,
                      "a name in backquotes with one in it, or without the closing "
                      "one");
    }
    return column_named(parser, name, start);
}

/* ---- operands ---- */

static struct node *parse_or(struct parser *parser);

static struct node *keyword_literal(struct parser *parser, struct span word)
{
    struct node *node = new_node(parser, NODE_LITERAL, parser->at);
    if (node == NULL) {
        return NULL;
    }
    parser->at += word.size;
    if (is_word(word, "NULL")) {
        node->class = CLASS_NULL;
        node->value.is_null = true;
    } else {
        node->value.exact = is_word(word, "TRUE");
    }
    return node;
}

/* DATE '…' and TIMESTAMP '…'; a column may be called so, too. */
static struct node *typed_literal(struct parser *parser, struct span word, enum value_class class)
{
    size_t back = parser->at;
    parser->at += word.size;
    skip_spaces(parser);
    if (peek(parser, 0) == '\'') {
        struct node *node = literal_text(parser);
        return node == NULL ? NULL : convert_text(parser, node, class);
    }
    parser->at = back + word.size;
    return column_named(parser, word, back);
}

static struct node *parse_word(struct parser *parser)
{
    struct span word = word_here(parser);
    size_t at = parser->at;
    if (is_word(word, "TRUE") || is_word(word, "FALSE") || is_word(word, "NULL")) {
        return keyword_literal(parser, word);
    }
    if (is_word(word, "DATE")) {
        return typed_literal(parser, word, CLASS_DATE);
    }
    if (is_word(word, "TIMESTAMP")) {
        return typed_literal(parser, word, CLASS_TIMESTAMP);
    }
    parser->at += word.size;
    if (peek(parser, 0) == '(' || peek(parser, 0) == '.') {
        return refuse(parser, at, peek(parser, 0) == '(' ? "a function" : "a part of a column");
    }
    return column_named(parser, word, at);
}

static struct node *parse_operand(struct parser *parser)
{
    skip_spaces(parser);
    uint8_t byte = peek(parser, 0);
    uint8_t next = peek(parser, 1);
    if (is_letter(byte)) {
        return parse_word(parser);
    }
    if (byte == '\'') {
        return literal_text(parser);
    }
    if (byte == '`') {
        return quoted_column(parser);
    }
    if (is_digit(byte) || (byte == '.' && is_digit(next)) ||
        ((byte == '-' || byte == '+') && (is_digit(next) || next == '.'))) {
        return literal_number(parser);
    }
    if (byte != '(') {
        return refuse(parser, parser->at,
                      parser->at == parser->text.size
                          ? "the end, where a column or a value is expected"
                          : "something that is no column, value or condition known here");
    }
    if (++parser->depth > PREDICATE_DEPTH_MAX) {
        return refuse(parser, parser->at, "too many parentheses in each other");
    }
    parser->at++;
    struct node *node = parse_or(parser);
    parser->depth--;
    if (node != NULL && !take_byte(parser, ')')) {
        return refuse(parser, parser->at, "a parenthesis is not closed here");
    }
    return node;
}

/* ---- tests ---- */

/*
 * A text that is compared with several others must be the same to all: were it made a date for
 * one of them, what was compared before would be compared with another thing.
 */
static bool is_still(struct parser *parser, const struct node *first, enum value_class class)
{
    if (first->class != class) {
        (void)refuse(parser, first->at, "a text beside other texts and a date or timestamp");
    }
    return first->class == class;
}

/* Make both sides comparable, or say why they are not. */
static bool reconcile(struct parser *parser, struct node *a, struct node *b)
{
    if (a->class == CLASS_OPAQUE || b->class == CLASS_OPAQUE) {
        (void)refuse(parser, a->class == CLASS_OPAQUE ? a->at : b->at,
                     "a column of a type that cannot be compared");
        return false;
    }
    for (int turn = 0; turn < 2; turn++) {
        struct node *text = turn == 0 ? a : b;
        const struct node *other = turn == 0 ? b : a;
        bool is_moment = other->class == CLASS_DATE || other->class == CLASS_TIMESTAMP;
        if (is_moment && text->kind == NODE_LITERAL && text->class == CLASS_TEXT &&
            convert_text(parser, text, other->class) == NULL) {
            return false;
        }
    }
    if (a->class == b->class || a->class == CLASS_NULL || b->class == CLASS_NULL) {
        return true;
    }
    bool numbers = (a->class == CLASS_DOUBLE && b->class == CLASS_DECIMAL) ||
                   (a->class == CLASS_DECIMAL && b->class == CLASS_DOUBLE);
    const struct node *exact = a->class == CLASS_DECIMAL ? a : b;
    if (numbers && (exact->kind == NODE_LITERAL || exact->value.scale == 0)) {
        return true;
    }
    (void)refuse(parser, b->at,
                 numbers ? "a decimal column beside a double"
                         : "a value of another type than what it is compared with");
    return false;
}

static struct node *pair(struct parser *parser, enum node_kind kind, struct node *first,
                         struct node *second)
{
    struct node *node = new_node(parser, kind, second->at);
    if (node != NULL) {
        node->first = first;
        node->second = second;
    }
    return node;
}

static struct node *comparison(struct parser *parser, enum node_kind kind, struct node *first,
                               struct node *second)
{
    if (first == NULL || second == NULL || !reconcile(parser, first, second)) {
        return NULL;
    }
    return pair(parser, kind, first, second);
}

static bool take_comparison(struct parser *parser, enum node_kind *kind_out)
{
    static const struct {
        const char *text;
        enum node_kind kind;
    } comparisons[] = {
        {"<=>", NODE_SAME},     {"==", NODE_EQUAL},      {"<>", NODE_NOT_EQUAL},
        {"!=", NODE_NOT_EQUAL}, {"<=", NODE_LESS_EQUAL}, {">=", NODE_GREATER_EQUAL},
        {"=", NODE_EQUAL},      {"<", NODE_LESS},        {">", NODE_GREATER},
    };
    skip_spaces(parser);
    for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++) {
        size_t size = strlen(comparisons[i].text);
        if (parser->text.size - parser->at >= size &&
            memcmp(parser->text.data + parser->at, comparisons[i].text, size) == 0) {
            parser->at += size;
            *kind_out = comparisons[i].kind;
            return true;
        }
    }
    return false;
}

static struct node *negated(struct parser *parser, struct node *inner, bool negate)
{
    if (inner == NULL || !negate) {
        return inner;
    }
    struct node *node = new_node(parser, NODE_NOT, inner->at);
    if (node != NULL) {
        node->first = inner;
    }
    return node;
}

static struct node *parse_in(struct parser *parser, struct node *first)
{
    struct node *node = new_node(parser, NODE_IN, parser->at);
    struct node **tail = node != NULL ? &node->second : NULL;
    if (node == NULL || !take_byte(parser, '(')) {
        return refuse(parser, parser->at, "IN without a list");
    }
    node->first = first;
    do {
        struct node *item = parse_operand(parser);
        enum value_class class = first->class;
        if (item == NULL || !reconcile(parser, first, item) ||
            (node->second != NULL && !is_still(parser, first, class))) {
            return NULL;
        }
        *tail = item;
        tail = &item->next;
    } while (take_byte(parser, ','));
    return take_byte(parser, ')') ? node : refuse(parser, parser->at, "a list is not closed here");
}

static struct node *parse_between(struct parser *parser, struct node *first)
{
    struct node *low = parse_operand(parser);
    if (low == NULL) {
        return NULL;
    }
    if (!take_word(parser, "AND")) {
        return refuse(parser, parser->at, "BETWEEN without AND");
    }
    struct node *from = comparison(parser, NODE_GREATER_EQUAL, first, low);
    if (from == NULL) {
        return NULL;
    }
    enum value_class class = first->class;
    struct node *to = comparison(parser, NODE_LESS_EQUAL, first, parse_operand(parser));
    return to == NULL || !is_still(parser, first, class) ? NULL : pair(parser, NODE_AND, from, to);
}

static struct node *parse_is(struct parser *parser, struct node *first)
{
    bool negate = take_word(parser, "NOT");
    if (!take_word(parser, "NULL")) {
        return refuse(parser, parser->at, "IS with something else than NULL");
    }
    struct node *node = new_node(parser, NODE_IS_NULL, first->at);
    if (node == NULL) {
        return NULL;
    }
    node->first = first;
    return negated(parser, node, negate);
}

static struct node *parse_test(struct parser *parser)
{
    enum node_kind kind = NODE_EQUAL;
    struct node *first = parse_operand(parser);
    if (first == NULL) {
        return NULL;
    }
    if (take_comparison(parser, &kind)) {
        return comparison(parser, kind, first, parse_operand(parser));
    }
    if (take_word(parser, "IS")) {
        return parse_is(parser, first);
    }
    bool negate = take_word(parser, "NOT");
    if (take_word(parser, "IN")) {
        return negated(parser, parse_in(parser, first), negate);
    }
    if (take_word(parser, "BETWEEN")) {
        return negated(parser, parse_between(parser, first), negate);
    }
    return negate ? refuse(parser, parser->at, "NOT with something else than IN or BETWEEN")
                  : first;
}

/* ---- conditions ---- */

/* Is it a condition? Null is one that is unknown. */
static struct node *condition(struct parser *parser, struct node *node)
{
    if (node != NULL && node->class != CLASS_BOOLEAN && node->class != CLASS_NULL) {
        return refuse(parser, node->at, "a value where a condition is expected");
    }
    return node;
}

static struct node *parse_not(struct parser *parser)
{
    size_t count = 0;
    while (take_word(parser, "NOT")) {
        count++;
    }
    struct node *node = parse_test(parser);
    if (count > 0) {
        node = condition(parser, node);
    }
    return negated(parser, node, count % 2 == 1);
}

static struct node *junction(struct parser *parser, enum node_kind kind, struct node *first,
                             struct node *second)
{
    if (condition(parser, first) == NULL || condition(parser, second) == NULL) {
        return NULL;
    }
    return pair(parser, kind, first, second);
}

static struct node *parse_and(struct parser *parser)
{
    struct node *node = parse_not(parser);
    while (node != NULL && take_word(parser, "AND")) {
        node = junction(parser, NODE_AND, node, parse_not(parser));
    }
    return node;
}

static struct node *parse_or(struct parser *parser)
{
    struct node *node = parse_and(parser);
    while (node != NULL && take_word(parser, "OR")) {
        node = junction(parser, NODE_OR, node, parse_and(parser));
    }
    return node;
}

enum err_code predicate_parse(struct span text, const struct schema *schema,
                              struct predicate **predicate_out, struct err *err)
{
    if (text.size > PREDICATE_TEXT_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "the condition has more than %d bytes",
                       PREDICATE_TEXT_BYTES_MAX);
    }
    CLEANUP(predicate_free) struct predicate *predicate = mem_zeroed(1, sizeof *predicate);
    arena_init(&predicate->arena, ARENA_BYTES_MAX);
    struct parser parser = {.text = text, .schema = schema, .predicate = predicate, .err = err};
    struct node *root = parse_or(&parser);
    skip_spaces(&parser);
    if (root != NULL && parser.at < text.size) {
        root = refuse(&parser, parser.at, "an operator or word that is not known here");
    }
    root = condition(&parser, root);
    if (root == NULL) {
        return err->code;
    }
    predicate->root = root;
    *predicate_out = predicate;
    predicate = NULL;
    return ERR_OK;
}
