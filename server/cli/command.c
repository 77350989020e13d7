/*
 * What the commands share. See command.h for the contract.
 */
#include "server/cli/command.h"

#include "server/cli/exit.h"
#include "storage/base/json_raw.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

enum { PATH_BYTES_MAX = 65536 };

bool command_take_option(struct command *command, int option, const char *argument)
{
    switch (option) {
    case 'D':
        command->client.data = argument;
        return true;
    case 'U':
        command->client.url = argument;
        return true;
    case 'T':
        command->client.token_file = argument;
        return true;
    case 'J':
        command->json = true;
        return true;
    case 'H':
        command->help_wanted = true;
        return true;
    default:
        return false;
    }
}

int command_usage(const struct command *command)
{
    (void)fputs(command->help, command->help_wanted ? stdout : stderr); /* help text */
    return command->help_wanted ? EX_OK : EX_USAGE;
}

int command_fail(const struct command *command, const struct err *err)
{
    (void)fprintf(stderr, "%s: %s\n", command->name, err->msg); /* told */
    return exit_code_of(err->code);
}

void command_add_parameter(struct buffer *path, const char *name, const char *value)
{
    buffer_append_format(path, "&%s=", name);
    text_percent_encode(span_of_text(value), "", path);
}

enum err_code command_get(struct client *client, const char *path, struct json **json_out,
                          struct err *err)
{
    struct buffer body;
    TRY(client_get(client, path, &body, err));
    enum err_code code = json_parse(buffer_span(&body), json_out, err);
    buffer_deinit(&body);
    return code;
}

static void print_errors(const struct client_answer *answer)
{
    CLEANUP(json_free) struct json *problem = NULL;
    struct err ignored = {0};
    if (json_parse(buffer_span(&answer->body), &problem, &ignored) != ERR_OK) {
        return;
    }
    const struct json *errors = json_get(problem, "errors");
    for (size_t i = 0; i < json_count(errors); i++) {
        const struct json *error = json_at(errors, i);
        (void)fprintf(stderr, "  %s: %s\n", command_text(error, "pointer"),
                      command_text(error, "message")); /* told */
    }
    int64_t total = command_integer(problem, "errors_total");
    if (total > (int64_t)json_count(errors)) {
        (void)fprintf(stderr, "  and %" PRId64 " more\n", total - (int64_t)json_count(errors));
    }
}

enum err_code command_send(struct client *client, const struct client_request *request,
                           struct json **answer_out, char *etag_out, struct err *err)
{
    struct client_answer answer = {0};
    TRY(client_call(client, request, &answer, err));
    enum err_code code = client_check(&answer, err);
    CLEANUP(json_free) struct json *json = NULL;
    if (code != ERR_OK) {
        print_errors(&answer);
    } else if (answer.body.size > 0) {
        code = json_parse(buffer_span(&answer.body), &json, err);
    }
    buffer_deinit(&answer.body);
    TRY(code);
    if (etag_out != NULL) {
        memcpy(etag_out, answer.etag, sizeof answer.etag);
    }
    if (answer_out != NULL) {
        *answer_out = json;
        json = NULL;
    }
    return ERR_OK;
}

/* One page, as text and as a document. */
static enum err_code get_page(struct client *client, const char *base, const char *token,
                              struct buffer *body_out, struct json **page_out, struct err *err)
{
    struct buffer path;
    buffer_init(&path, PATH_BYTES_MAX);
    buffer_append_text(&path, base);
    if (token != NULL) {
        command_add_parameter(&path, "page_token", token);
    }
    buffer_append_byte(&path, '\0');
    enum err_code code = client_get(client, (const char *)path.data, body_out, err);
    buffer_deinit(&path);
    TRY(code);
    return json_parse(buffer_span(body_out), page_out, err);
}

/* Visit the items of one page until one says no. */
static bool visit_page(const struct json *page, struct span body, const char *member,
                       command_item_fn *visit, void *arg)
{
    struct span list = {0};
    (void)json_raw_find(body, member, &list); /* absent: there is nothing to visit */
    struct json_raw raw = json_raw_items(list);
    struct span name;
    struct span text;
    bool going_on = true;
    for (size_t i = 0; going_on && json_raw_next(&raw, &name, &text); i++) {
        going_on = visit(json_at(json_get(page, member), i), text, arg);
    }
    return going_on;
}

enum err_code command_walk(struct client *client, const char *path, const char *member,
                           command_item_fn *visit, void *arg, struct err *err)
{
    CLEANUP(mem_cleanup) char *token = NULL;
    bool going_on = true;
    while (going_on) {
        CLEANUP(json_free) struct json *page = NULL;
        CLEANUP(buffer_deinit) struct buffer body = {0};
        TRY(get_page(client, path, token, &body, &page, err));
        going_on = visit_page(page, buffer_span(&body), member, visit, arg);
        const char *next = json_text(json_get(page, "next_page_token"));
        mem_cleanup(&token);
        token = next != NULL ? mem_copy_text(next) : NULL;
        going_on = going_on && token != NULL;
    }
    return ERR_OK;
}

void command_print(const struct command *command, const struct json *json)
{
    struct buffer text;
    buffer_init(&text, CLIENT_ANSWER_BYTES_MAX);
    if (command->json) {
        json_write(json, &text);
    } else {
        json_write_pretty(json, &text);
    }
    (void)printf("%.*s\n", SPAN_PRINT(buffer_span(&text))); /* output */
    buffer_deinit(&text);
}

const char *command_text(const struct json *object, const char *name)
{
    const char *text = json_text(json_get(object, name));
    return text != NULL ? text : "-";
}

int64_t command_integer(const struct json *object, const char *name)
{
    int64_t value = 0;
    (void)json_as_integer(json_get(object, name), &value); /* absent: 0 */
    return value;
}
