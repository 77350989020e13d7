#include "tests/unit/storage/jobs/jobs_kit.h"

#include "storage/base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct json *kit_json(const char *text)
{
    CLEANUP(mem_cleanup) char *copy = mem_copy_text(text);
    for (char *byte = copy; *byte != '\0'; byte++) {
        *byte = *byte == '\'' ? '"' : *byte;
    }
    struct json *json = NULL;
    struct err err = {0};
    enum err_code code = json_parse(span_of_text(copy), &json, &err);
    cr_assert_eq(code, ERR_OK, "%s in %s", err.msg, copy);
    return json;
}

const char *kit_problems_text(const struct definition_problems *problems)
{
    static char text[8192];
    size_t size = 0;
    text[0] = '\0';
    for (size_t i = 0; i < problems->count && size < sizeof text - 1; i++) {
        (void)snprintf(text + size, sizeof text - size, "\n  %s %s: %s", problems->items[i].pointer,
                       problems->items[i].code, problems->items[i].message);
        size = strlen(text);
    }
    return text;
}

const struct job_definition *kit_definition(const char *text)
{
    CLEANUP(json_free) struct json *json = kit_json(text);
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    const struct job_parse_options options = {.one_off = false};
    const struct job_definition *definition = NULL;
    struct err err = {0};
    enum err_code code = job_definition_parse(json, &options, &problems, &definition, &err);
    cr_assert_eq(code, ERR_OK, "%s%s", err.msg, kit_problems_text(&problems));
    return definition;
}

void kit_problems(const char *text, const struct job_parse_options *options,
                  struct definition_problems *problems_out)
{
    CLEANUP(json_free) struct json *json = kit_json(text);
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    struct err err = {0};
    enum err_code code = job_definition_parse(json, options, problems_out, &definition, &err);
    cr_assert_eq(code, problems_out->count > 0 ? ERR_INVALID : ERR_OK, "%s", err.msg);
}

bool kit_has_problem(const struct definition_problems *problems, const char *pointer,
                     const char *code)
{
    for (size_t i = 0; i < problems->count; i++) {
        if (strcmp(problems->items[i].pointer, pointer) == 0 &&
            strcmp(problems->items[i].code, code) == 0) {
            return true;
        }
    }
    return false;
}
