/*
 * Patterns over PCRE2. See pattern.h for the dialect and its limits.
 *
 * What is refused is found in two ways: PCRE2 reports back references of a
 * compiled pattern; recursion, conditions, callouts, verbs and \C have no such
 * report and are found by reading the text, outside classes and escapes.
 */
#include "storage/columns/pattern.h"

#include "storage/base/mem.h"
#include "storage/columns/schema.h"

#include <assert.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct field_pattern {
    pcre2_code *code;
    pcre2_match_context *limits; /* read only after construction */
};

/* ---- the constructs that the dialect leaves out --------------------------------- */

/* Is this group of options ("(?i-s:", "(?x)") one that turns comments on? */
static bool allows_comments(struct span rest)
{
    for (size_t i = 2; i < rest.size; i++) {
        uint8_t c = rest.data[i];
        if (c == 'x') {
            return true;
        }
        if (c != '^' && c != '-' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')) {
            return false;
        }
    }
    return false;
}

/* Does the group that opens at `at` ("(" included) start with one of the refused forms? */
static const char *refused_group(struct span text, size_t at)
{
    struct span rest = span_of(text.data + at, text.size - at);
    if (rest.size >= 2 && rest.data[1] == '*') {
        return "verbs and start options '(*…)'";
    }
    if (rest.size < 3 || rest.data[1] != '?') {
        return NULL;
    }
    uint8_t kind = rest.data[2];
    uint8_t next = rest.size > 3 ? rest.data[3] : 0;
    bool signed_number = (kind == '+' || kind == '-') && next >= '0' && next <= '9';
    if (kind == 'R' || kind == '&' || (kind >= '0' && kind <= '9') || signed_number) {
        return "recursion";
    }
    if (kind == 'P' && (next == '>' || next == '=')) {
        return "recursion and back references";
    }
    if (kind == '(') {
        return "conditions";
    }
    if (kind == 'C') {
        return "callouts";
    }
    /* comments could hide a refused form from this reading of the text */
    return kind == '#' || allows_comments(rest) ? "comments" : NULL;
}

/* The size of a POSIX name "[:alpha:]" at `at` inside a class, 0 when there is none. */
static size_t posix_name_size(struct span text, size_t at)
{
    size_t i = at + 2;
    if (i > text.size || text.data[at + 1] != ':') {
        return 0;
    }
    while (i < text.size && (text.data[i] == '^' || (text.data[i] >= 'a' && text.data[i] <= 'z'))) {
        i++;
    }
    bool closed = i + 1 < text.size && text.data[i] == ':' && text.data[i + 1] == ']';
    return closed ? i + 2 - at : 0;
}

/* The position of the "]" that ends the class opening at `at`. */
static size_t class_end(struct span text, size_t at)
{
    size_t i = at + 1;
    if (i < text.size && text.data[i] == '^') {
        i++;
    }
    if (i < text.size && text.data[i] == ']') {
        i++; /* as first member it is literal */
    }
    while (i < text.size && text.data[i] != ']') {
        size_t posix = text.data[i] == '[' ? posix_name_size(text, i) : 0;
        size_t escape = text.data[i] == '\\' ? 2 : 1;
        i += posix > 0 ? posix : escape;
    }
    return i;
}

/* The first refused escape at `at`, the position of the character behind the backslash. */
static const char *refused_escape(struct span text, size_t at)
{
    switch (at < text.size ? text.data[at] : 0) {
    case 'C':
        return "\\C";
    case 'Q':
        return "\\Q";
    case 'c':
        return "\\c";
    case 'g':
    case 'k':
        return "recursion and back references";
    default:
        return NULL;
    }
}

/* The first refused construct of `text` in words, NULL when there is none. */
static const char *refused_construct(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        const char *reason = NULL;
        switch (text.data[i]) {
        case '\\':
            i++;
            reason = refused_escape(text, i);
            break;
        case '[':
            i = class_end(text, i);
            break;
        case '(':
            reason = refused_group(text, i);
            break;
        default:
            break;
        }
        if (reason != NULL) {
            return reason;
        }
    }
    return NULL;
}

/* ---- compiling -------------------------------------------------------------------- */

static enum err_code compile(struct span text, pcre2_code **code_out, struct err *err)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    assert(context != NULL);
    (void)pcre2_set_parens_nest_limit(context, PATTERN_GROUP_DEPTH_MAX); /* always 0 */
    int number = 0;
    PCRE2_SIZE offset = 0;
    *code_out =
        pcre2_compile(text.data, text.size,
                      PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C,
                      &number, &offset, context);
    pcre2_compile_context_free(context);
    if (*code_out == NULL) {
        PCRE2_UCHAR reason[160] = {0};
        (void)pcre2_get_error_message(number, reason, sizeof reason); /* cut when long */
        return err_set(err, ERR_INVALID, "pattern is malformed at byte %zu: %s", offset,
                       (const char *)reason);
    }
    return ERR_OK;
}

enum err_code field_pattern_compile(struct span text, struct field_pattern **pattern_out,
                                    struct err *err)
{
    if (text.size == 0 || text.size > SCHEMA_PATTERN_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "pattern must have 1 to %d bytes",
                       SCHEMA_PATTERN_BYTES_MAX);
    }
    const char *refused = refused_construct(text);
    if (refused != NULL) {
        return err_set(err, ERR_INVALID, "pattern uses %s, which this dialect leaves out", refused);
    }
    struct field_pattern *pattern = mem_zeroed(1, sizeof *pattern);
    enum err_code code = compile(text, &pattern->code, err);
    if (code != ERR_OK) {
        field_pattern_free(&pattern);
        return code;
    }
    uint32_t back_reference = 0;
    (void)pcre2_pattern_info(pattern->code, PCRE2_INFO_BACKREFMAX,
                             &back_reference); /* fails only for a wrong request */
    if (back_reference > 0) {
        field_pattern_free(&pattern);
        return err_set(err, ERR_INVALID,
                       "pattern uses back references, which this dialect leaves out");
    }
    pattern->limits = pcre2_match_context_create(NULL);
    assert(pattern->limits != NULL);
    (void)pcre2_set_match_limit(pattern->limits, PATTERN_MATCH_STEPS_MAX); /* always 0 */
    (void)pcre2_set_heap_limit(pattern->limits, PATTERN_HEAP_KIB_MAX);     /* always 0 */
    /* without just-in-time compilation the interpreter matches the same, more slowly */
    (void)pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
    *pattern_out = pattern;
    return ERR_OK;
}

void field_pattern_free(struct field_pattern **pattern)
{
    if (*pattern == NULL) {
        return;
    }
    pcre2_match_context_free((*pattern)->limits);
    pcre2_code_free((*pattern)->code);
    mem_free(*pattern);
    *pattern = NULL;
}

bool field_pattern_holds(const struct field_pattern *pattern, struct span text)
{
    static const uint8_t empty[1] = {0};
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    assert(match != NULL);
    /* the decoder has checked the text as UTF-8: a second check would cost as much as the match */
    int result = pcre2_match(pattern->code, text.size > 0 ? text.data : empty, text.size, 0,
                             PCRE2_NO_UTF_CHECK, match, pattern->limits);
    pcre2_match_data_free(match);
    return result >= 0;
}
