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

void command_add_table(struct buffer *path, const char *table, const char *rest)
{
    buffer_append_text(path, "/v1/tables/");
    text_percent_encode(span_of_text(table), "", path);
    buffer_append_text(path, rest);
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

/* One page; body_out goes to the caller: buffer_deinit. */
static enum err_code get_page(struct client *client, const char *base, const char *token,
                              struct buffer *body_out, struct err *err)
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
    return code;
}

/* Visit the items of one page until one says no. */
static enum err_code visit_page(struct span page, const char *member, command_text_fn *visit,
                                void *arg, bool *going_on_out, struct err *err)
{
    struct span list = {0};
    (void)json_raw_find(page, member, &list); /* without one the walk below fails */
    struct json_raw raw = json_raw_items(list);
    struct span name;
    struct span item;
    bool going_on = true;
    while (going_on && json_raw_next(&raw, &name, &item)) {
        going_on = visit(item, arg);
    }
    *going_on_out = going_on;
    return raw.failed ? err_set(err, ERR_CORRUPT, "the server's answer has no list of %s", member)
                      : ERR_OK;
}

/* The token of the page after this one: mem_free; NULL when it is the last. */
static char *next_page(struct span page)
{
    CLEANUP(json_free) struct json *token = NULL;
    struct span text;
    struct err ignored = {0};
    bool found = json_raw_find(page, "next_page_token", &text) &&
                 json_parse(text, &token, &ignored) == ERR_OK && json_text(token) != NULL;
    return found ? mem_copy_text(json_text(token)) : NULL;
}

enum err_code command_walk_texts(struct client *client, const char *path, const char *member,
                                 command_text_fn *visit, void *arg, struct err *err)
{
    CLEANUP(mem_cleanup) char *token = NULL;
    bool going_on = true;
    while (going_on) {
        CLEANUP(buffer_deinit) struct buffer body = {0};
        TRY(get_page(client, path, token, &body, err));
        TRY(visit_page(buffer_span(&body), member, visit, arg, &going_on, err));
        mem_cleanup(&token);
        token = next_page(buffer_span(&body));
        going_on = going_on && token != NULL;
    }
    return ERR_OK;
}

/* A visitor of documents among those of texts. */
struct reader {
    command_item_fn *visit;
    void *arg;
    enum err_code code;
    struct err *err;
};

static bool read_item(struct span text, void *arg)
{
    struct reader *reader = arg;
    CLEANUP(json_free) struct json *item = NULL;
    reader->code = json_parse(text, &item, reader->err);
    return reader->code == ERR_OK && reader->visit(item, text, reader->arg);
}

enum err_code command_walk(struct client *client, const char *path, const char *member,
                           command_item_fn *visit, void *arg, struct err *err)
{
    struct reader reader = {.visit = visit, .arg = arg, .err = err};
    TRY(command_walk_texts(client, path, member, read_item, &reader, err));
    return reader.code;
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

void command_print_text(struct buffer *text)
{
    if (text->size > 0) {
        (void)fwrite(text->data, 1, text->size, stdout); /* checked by main */
    }
    buffer_reset(text);
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
