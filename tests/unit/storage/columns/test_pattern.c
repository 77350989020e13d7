#include "storage/columns/pattern.h"

#include "storage/base/mem.h"
#include "storage/columns/schema.h"

#include <criterion/criterion.h>

TestSuite(pattern, .timeout = 30);

static struct field_pattern *compiled(const char *text)
{
    struct field_pattern *pattern = NULL;
    struct err err = {0};
    enum err_code code = field_pattern_compile(span_of_text(text), &pattern, &err);
    cr_assert_eq(code, ERR_OK, "%s: %s", text, err.msg);
    return pattern;
}

Test(pattern, matches_the_whole_value_only)
{
    static const struct {
        const char *pattern;
        const char *text;
        bool holds;
    } cases[] = {
        {"[A-Z]{2}", "MA", true},
        {"[A-Z]{2}", "MAX", false},
        {"[A-Z]{2}", "xMA", false},
        {"a|ab", "ab", true},
        {"a|ab", "abc", false},
        {"[0-9]+", "12\n", false},
        {"[0-9]+$", "12\n", false},
        {"^[0-9]+$", "12", true},
        {".", "é", true},
        {"..", "é", false},
        {".{3}", "中文字", true},
        {"\\d{3}-\\d{4}", "555-0199", true},
        {"(?i)abc", "aBC", true},
        {"(?:ab)*", "", true},
        {"[^[:alpha:]]+", "12", true},
        {"[](]+", "](", true},
        {"(?<year>[0-9]{4})", "2024", true},
        {"(?=a)[a-c]+", "abc", true},
        {"\\(\\?R\\)", "(?R)", true},
        {"[(?R)]+", "R?", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(field_pattern_free) struct field_pattern *pattern = compiled(cases[i].pattern);
        cr_expect_eq(field_pattern_holds(pattern, span_of_text(cases[i].text)), cases[i].holds,
                     "'%s' on '%s'", cases[i].pattern, cases[i].text);
    }
}

Test(pattern, refuses_what_the_dialect_leaves_out)
{
    static const struct {
        const char *pattern;
        const char *says;
    } cases[] = {
        {"(a)\\1", "back references"},
        {"(?<n>a)\\k<n>", "back references"},
        {"(?P<n>a)(?P=n)", "back references"},
        {"(a)\\g1", "back references"},
        {"a(?R)?b", "recursion"},
        {"(a(?1)?b)", "recursion"},
        {"(a)(?-1)", "recursion"},
        {"(a)(?+1)(b)", "recursion"},
        {"(?<n>a)(?&n)", "recursion"},
        {"(?P<n>a)(?P>n)", "recursion"},
        {"(a)?(?(1)b|c)", "conditions"},
        {"a(?C1)b", "callouts"},
        {"(*UTF)a", "verbs"},
        {"a(*ACCEPT)b", "verbs"},
        {"(*NO_START_OPT)a", "verbs"},
        {"\\Ca", "\\C"},
        {"\\Qa(?R)\\E", "\\Q"},
        {"(?#[)a", "comments"},
        {"(?x)a # [\n(?R)", "comments"},
        {"(?i-sx:a)", "comments"},
        {"\\c[(?R)[]", "\\c"},
        {"[[:](?R)", "recursion"},
        {"[[:alpha:]](?R)", "recursion"},
        {"[a\\]](?R)", "recursion"},
        {"[]](?R)", "recursion"},
        {"[^]](?R)", "recursion"},
        {"(", "malformed at byte 1"},
        {"a{2,1}", "malformed"},
        {"[z-a]", "malformed"},
        {"*", "malformed"},
        {"\xff", "malformed"},
        {"((((((((((((((((((((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))"
         "))))))))))))))))))",
         "malformed"},
        {"", "1 to 1024 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct field_pattern *pattern = NULL;
        struct err err = {0};
        enum err_code code = field_pattern_compile(span_of_text(cases[i].pattern), &pattern, &err);
        cr_expect_eq(code, ERR_INVALID, "'%s' was taken", cases[i].pattern);
        cr_expect_not_null(strstr(err.msg, cases[i].says), "'%s': %s", cases[i].pattern, err.msg);
        cr_expect_null(pattern);
    }
}

Test(pattern, length_limit_is_exact)
{
    char text[SCHEMA_PATTERN_BYTES_MAX + 1];
    memset(text, 'a', sizeof text);
    struct field_pattern *pattern = NULL;
    struct err err = {0};
    cr_expect_eq(field_pattern_compile(span_of(text, SCHEMA_PATTERN_BYTES_MAX), &pattern, &err),
                 ERR_OK);
    cr_expect(field_pattern_holds(pattern, span_of(text, SCHEMA_PATTERN_BYTES_MAX)));
    field_pattern_free(&pattern);
    cr_expect_eq(field_pattern_compile(span_of(text, sizeof text), &pattern, &err), ERR_INVALID);
}

Test(pattern, exponential_backtracking_ends_as_no_match)
{
    static const char *const patterns[] = {"(a+)+b", "(a|aa)+b", "(.*)*x", "(?:a?){40}a{40}"};
    enum { SIZE = 1 << 16 };
    CLEANUP(mem_cleanup) uint8_t *text = mem_alloc(SIZE);
    memset(text, 'a', SIZE);
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        CLEANUP(field_pattern_free) struct field_pattern *pattern = compiled(patterns[i]);
        cr_expect_not(field_pattern_holds(pattern, span_of(text, SIZE)), "%s", patterns[i]);
    }
}

/* Two runs of the same pattern: within the limit, and past it although it would match in the end.
 */
Test(pattern, the_limit_of_steps_is_ours_not_the_library_s)
{
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaa";
    CLEANUP(field_pattern_free) struct field_pattern *pattern = compiled("(a+)+b|a*");
    cr_expect(field_pattern_holds(pattern, span_of(text, 8)));
    cr_expect_not(field_pattern_holds(pattern, span_of(text, sizeof text - 1)));
}

Test(pattern, matches_long_values_of_simple_patterns)
{
    enum { SIZE = 1 << 20 };
    CLEANUP(mem_cleanup) uint8_t *text = mem_alloc(SIZE);
    memset(text, 'a', SIZE);
    CLEANUP(field_pattern_free) struct field_pattern *pattern = compiled("[a-z]*");
    cr_expect(field_pattern_holds(pattern, span_of(text, SIZE)));
}
