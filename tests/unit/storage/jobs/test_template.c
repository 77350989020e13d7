#include "storage/jobs/template.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "tests/unit/storage/jobs/jobs_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(template, .timeout = 60);

/* The values of the tests, by the text of their reference. */
static const struct {
    const char *reference;
    const char *json;
} values[] = {
    {"tasks.load.values.rows", "42"},
    {"tasks.load.values.list", "[1,{'a':'b'}]"},
    {"tasks.load.values.nothing", "null"},
    {"tasks.load.result", "'SUCCESS'"},
    {"job.parameters.day", "'2026-11-01'"},
    {"job.parameters.flag", "true"},
    {"job.parameters.ratio", "0.25"},
    {"job.parameters.evil", "'{{secrets.key}} {{tasks.load.values.rows}}'"},
    {"job.parameters.open", "'{'"},
    {"job.parameters.rest", "'{secrets.key}}'"},
    {"job.parameters.marked", "'{{secrets.key#0123456789abcdef}}'"},
    {"job.id", "7"},
    {"run.id", "99"},
    {"run.trigger_time", "'2026-11-01T02:30:00Z'"},
    {"input", "{'table':'claims'}"},
    {"input.table", "'claims'"},
    {"input.a.b-c", "5"},
};

static enum err_code resolve(void *arg, const struct template_reference *reference,
                             struct json **value_out, struct err *err)
{
    (void)arg;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (span_equal_text(reference->text, values[i].reference)) {
            *value_out = kit_json(values[i].json);
            return ERR_OK;
        }
    }
    return err_set(err, ERR_INVALID, "{{%.*s}}: there is no such value",
                   SPAN_PRINT(reference->text));
}

static const struct template_scope scope = {.resolve = resolve, .mark = "00112233445566aa"};

/* "" when it fails; the message is in `err`. */
static const char *expand(const char *text, const struct template_scope *in, struct err *err)
{
    static char result[4096];
    CLEANUP(json_free) struct json *value = kit_json(text);
    CLEANUP(json_free) struct json *expanded = NULL;
    result[0] = '\0';
    if (template_expand(value, in, &expanded, err) == ERR_OK) {
        CLEANUP(buffer_deinit) struct buffer written;
        buffer_init(&written, sizeof result - 1);
        json_write(expanded, &written);
        (void)snprintf(result, sizeof result, "%.*s", SPAN_PRINT(buffer_span(&written)));
    }
    for (char *byte = result; *byte != '\0'; byte++) {
        *byte = *byte == '"' ? '\'' : *byte;
    }
    return result;
}

Test(template, references_are_replaced)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"'plain'", "'plain'"},
        {"''", "''"},
        {"5", "5"},
        {"null", "null"},
        {"'{{tasks.load.values.rows}}'", "42"},
        {"'{{ tasks.load.values.rows }}'", "42"},
        {"'{{tasks.load.values.list}}'", "[1,{'a':'b'}]"},
        {"'{{job.parameters.ratio}}'", "0.25"},
        {"'{{job.parameters.flag}}'", "true"},
        {"'{{tasks.load.values.nothing}}'", "null"},
        {"'{{tasks.load.values.rows}} rows'", "'42 rows'"},
        {"' {{tasks.load.values.rows}}'", "' 42'"},
        {"'{{job.id}}/{{run.id}}'", "'7/99'"},
        {"'{{job.id}}{{run.id}}'", "'799'"},
        {"'on {{job.parameters.day}}: {{tasks.load.result}}'", "'on 2026-11-01: SUCCESS'"},
        {"'{{run.trigger_time}}'", "'2026-11-01T02:30:00Z'"},
        {"'x{{tasks.load.values.nothing}}'", "'xnull'"},
        {"{'a':['{{job.id}}',{'b':'{{input.table}}'}],'{{job.id}}':1}",
         "{'a':[7,{'b':'claims'}],'{{job.id}}':1}"},
        {"'{{input}}'", "{'table':'claims'}"},
        {"'{{input.a.b-c}}'", "5"},
        {"'a } b }} c { d'", "'a } b }} c { d'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        cr_expect_str_eq(expand(cases[i].text, &scope, &err), cases[i].expected, "%s: %s",
                         cases[i].text, err.msg);
    }
}

Test(template, what_is_no_reference_is_an_error_that_names_it)
{
    static const char *const cases[] = {
        "'{{job.parameters.no}}'",
        "'{{'",
        "'a {{job.id'",
        "'{{}}'",
        "'{{ }}'",
        "'{{job}}'",
        "'{{job.id.x}}'",
        "'{{tasks.load}}'",
        "'{{tasks.load.values}}'",
        "'{{tasks.load.values.}}'",
        "'{{tasks..values.x}}'",
        "'{{tasks.a b.values.x}}'",
        "'{{job.parameters.}}'",
        "'{{input.}}'",
        "'{{input.a..b}}'",
        "'{{inputx}}'",
        "'{{{job.id}}}'",
        "'{{secrets.}}'",
        "'{{secrets.a.b}}'",
        "'{{secrets.a#00112233445566aa}}'",
        "'{{nonsense}}'",
        "'{{job.id}'",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        cr_expect_str_eq(expand(cases[i], &scope, &err), "", "%s", cases[i]);
        cr_expect_eq(err.code, ERR_INVALID, "%s", cases[i]);
        cr_expect(strstr(err.msg, "{{") != NULL, "%s: %s", cases[i], err.msg);
    }
}

/* ---- secrets ---- */

static enum err_code open_secret(void *arg, struct span name, struct buffer *text, struct err *err)
{
    (void)arg;
    if (!span_equal_text(name, "key")) {
        return err_set(err, ERR_NOT_FOUND, "there is no secret '%.*s'", SPAN_PRINT(name));
    }
    buffer_append_text(text, "s3cr3t{{secrets.key}}");
    return ERR_OK;
}

static const char *open_text(const char *text, const char *mark)
{
    static char result[512];
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer opened;
    buffer_init(&opened, sizeof result - 1);
    enum err_code code =
        template_open_secrets(span_of_text(text), mark, open_secret, NULL, &opened, &err);
    (void)snprintf(result, sizeof result, "%.*s", SPAN_PRINT(buffer_span(&opened)));
    return code == ERR_OK ? result : err_code_name(code);
}

Test(template, secrets_leave_the_expansion_marked_and_are_opened_once)
{
    struct err err = {0};
    cr_expect_str_eq(expand("'{{ secrets.key }}'", &scope, &err),
                     "'{{secrets.key#00112233445566aa}}'");
    cr_expect_str_eq(expand("'Bearer {{secrets.key}}!'", &scope, &err),
                     "'Bearer {{secrets.key#00112233445566aa}}!'");
    cr_expect_str_eq(open_text("Bearer {{secrets.key#00112233445566aa}}!", scope.mark),
                     "Bearer s3cr3t{{secrets.key}}!");
    cr_expect_str_eq(open_text("{{secrets.other#00112233445566aa}}", scope.mark), "not_found");
    cr_expect_str_eq(open_text("{{secrets.key}} {{secrets.key#00112233445566ab}} {{ {", scope.mark),
                     "{{secrets.key}} {{secrets.key#00112233445566ab}} {{ {");
    /* a webhook's secret was never expanded */
    cr_expect_str_eq(open_text("{{ secrets.key }}", ""), "s3cr3t{{secrets.key}}");
    cr_expect_str_eq(open_text("{{job.id}}{{", ""), "{{job.id}}{{");
}

Test(template, a_value_from_outside_cannot_make_up_a_reference)
{
    static const char *const cases[] = {
        "'{{job.parameters.evil}}'",
        "'X-Key: {{job.parameters.evil}}'",
        "'{{job.parameters.open}}{{job.parameters.rest}}'",
        "'{{job.parameters.marked}}'",
        "{'h':'{{job.parameters.evil}}'}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        char text[512];
        (void)snprintf(text, sizeof text, "%s", expand(cases[i], &scope, &err));
        cr_expect_eq(err.code, ERR_OK);
        cr_expect(strstr(text, "secrets.key") != NULL, "inserted as it is: %s", text);
        cr_expect(strstr(text, "42") == NULL, "not expanded again: %s", text);
        cr_expect_str_eq(open_text(text, scope.mark), text, "no secret is opened");
    }
}

Test(template, without_a_mark_secrets_are_refused)
{
    const struct template_scope closed = {.resolve = resolve};
    struct err err = {0};
    cr_expect_str_eq(expand("'{{secrets.key}}'", &closed, &err), "");
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(expand("'a {{secrets.key}}'", &closed, &err), "");
}

Test(template, marks_cannot_be_guessed)
{
    char one[TEMPLATE_MARK_BYTES + 1];
    char other[TEMPLATE_MARK_BYTES + 1];
    template_mark_make(one);
    template_mark_make(other);
    cr_expect_eq(strlen(one), TEMPLATE_MARK_BYTES);
    cr_expect(strcmp(one, other) != 0);
}

/* ---- size ---- */

static enum err_code resolve_large(void *arg, const struct template_reference *reference,
                                   struct json **value_out, struct err *err)
{
    (void)reference;
    (void)err;
    size_t size = *(const size_t *)arg;
    CLEANUP(mem_cleanup) char *text = mem_alloc(size + 1);
    memset(text, 'x', size);
    *value_out = json_new_string(span_of(text, size));
    return ERR_OK;
}

Test(template, what_is_inserted_is_bounded_over_the_whole_value)
{
    static const struct {
        const char *text;
        size_t size;
        enum err_code code;
    } cases[] = {
        {"'{{job.id}}'", TEMPLATE_BYTES_MAX - 2, ERR_OK}, /* with its quotes */
        {"'{{job.id}}'", TEMPLATE_BYTES_MAX - 1, ERR_TOO_LARGE},
        {"'{{job.id}}{{job.id}}'", TEMPLATE_BYTES_MAX / 2, ERR_OK},
        {"'a{{job.id}}{{job.id}}'", TEMPLATE_BYTES_MAX / 2, ERR_TOO_LARGE},
        {"['a{{job.id}}','a{{job.id}}']", TEMPLATE_BYTES_MAX / 2 - 1, ERR_OK},
        {"['a{{job.id}}','a{{job.id}}']", TEMPLATE_BYTES_MAX / 2, ERR_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = cases[i].size;
        const struct template_scope large = {.resolve = resolve_large, .arg = &size};
        CLEANUP(json_free) struct json *value = kit_json(cases[i].text);
        CLEANUP(json_free) struct json *expanded = NULL;
        struct err err = {0};
        cr_expect_eq(template_expand(value, &large, &expanded, &err), cases[i].code, "case %zu", i);
    }
}

/* ---- listing ---- */

static enum err_code write_reference(void *arg, const char *pointer,
                                     const struct template_reference *reference, struct err *err)
{
    (void)err;
    buffer_append_format(arg, "%s=%.*s%s ", pointer, SPAN_PRINT(reference->text),
                         reference->whole ? "!" : "");
    return ERR_OK;
}

static void write_broken(void *arg, const char *pointer, const char *message)
{
    (void)message;
    buffer_append_format(arg, "%s? ", pointer);
}

Test(template, references_are_listed_with_their_places)
{
    CLEANUP(json_free)
    struct json *value = kit_json("{'a/b':'{{job.id}}','c':[1,'x{{ run.id }}{{input.f}}'],"
                                  "'d':{'e~':'{{secrets.s}} {{oops}} {{job.id}}'},'f':'{{'}");
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 4096);
    struct err err = {0};
    cr_assert_eq(template_list(value, write_reference, write_broken, &text, &err), ERR_OK);
    buffer_append_byte(&text, '\0');
    cr_expect_str_eq((const char *)text.data, "/a~1b=job.id! /c/1=run.id /c/1=input.f "
                                              "/d/e~0=secrets.s /d/e~0? /f? ");
}
