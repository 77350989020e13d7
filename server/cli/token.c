/* Tokens through the API; see token.h. */
#include "server/cli/token.h"

#include "server/cli/common.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { TOKEN_PATH_BYTES_MAX = 8192, DAY_SECONDS = 86400 };

struct arguments {
    struct client_target target;
    const char *principal;
    const char *description;
    int64_t days;
    bool json;
};

static enum err_code create_token(struct client *client, const struct arguments *arguments,
                                  struct err *err)
{
    if (arguments->principal == NULL) {
        return err_set(err, ERR_INVALID, "create needs --principal NAME");
    }
    CLEANUP(json_free) struct json *body = json_new_object();
    CLEANUP(json_free) struct json *answer = NULL;
    CLEANUP(buffer_deinit) struct buffer text;
    int status = 0;
    buffer_init(&text, TOKEN_PATH_BYTES_MAX);
    json_set_text(body, "principal", arguments->principal);
    json_set_integer(body, "expires_in_seconds", arguments->days * DAY_SECONDS);
    if (arguments->description != NULL) {
        json_set_text(body, "description", arguments->description);
    }
    json_write(body, &text);
    struct client_call call = {.method = "POST",
                               .path = "/v1/tokens",
                               .headers = {"Content-Type: application/json"},
                               .body = buffer_span(&text)};
    TRY(client_send_json(client, &call, &answer, &status, err));
    if (arguments->json) {
        common_print_json(answer);
        return ERR_OK;
    }
    char scratch[32];
    (void)fprintf(stderr, "token %s of %s, shown this once:\n",
                  common_text(answer, "token_id", scratch, sizeof scratch),
                  common_text(answer, "principal", scratch, sizeof scratch));
    (void)printf("%s\n", common_text(answer, "token", scratch, sizeof scratch));
    return ERR_OK;
}

static void print_page(const struct json *answer, bool as_json)
{
    const struct json *tokens = json_get(answer, "tokens");
    for (size_t i = 0; i < json_count(tokens); i++) {
        const struct json *token = json_at(tokens, i);
        char scratch[32];
        if (as_json) {
            common_print_json(token);
            continue;
        }
        (void)printf("%-14s %-24s %-8s %s\n", common_text(token, "token_id", scratch, 32),
                     common_text(token, "principal", scratch, 32),
                     common_text(token, "state", scratch, 32),
                     common_text(token, "expires_at", scratch, 32));
    }
}

static enum err_code list_tokens(struct client *client, const struct arguments *arguments,
                                 struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer path;
    buffer_init(&path, TOKEN_PATH_BYTES_MAX);
    CLEANUP(json_free) struct json *answer = NULL;
    const char *next = NULL;
    do {
        int status = 0;
        buffer_reset(&path);
        buffer_append_text(&path, "/v1/tokens?limit=1000");
        if (arguments->principal != NULL) {
            buffer_append_text(&path, "&principal=");
            client_escape(&path, arguments->principal);
        }
        if (next != NULL) {
            buffer_append_text(&path, "&page_token=");
            client_escape(&path, next);
        }
        buffer_append_byte(&path, '\0');
        TRY(buffer_check(&path, "path", err));
        struct client_call call = {.method = "GET", .path = (const char *)path.data,
                                   .may_retry = true};
        json_free(&answer);
        TRY(client_send_json(client, &call, &answer, &status, err));
        print_page(answer, arguments->json);
        next = json_text(json_get(answer, "next_page_token"));
    } while (next != NULL);
    return ERR_OK;
}

static enum err_code revoke_token(struct client *client, const struct arguments *arguments,
                                  const char *id, struct err *err)
{
    if (id == NULL) {
        return err_set(err, ERR_INVALID, "revoke needs the token's id");
    }
    CLEANUP(buffer_deinit) struct buffer path;
    CLEANUP(json_free) struct json *answer = NULL;
    int status = 0;
    buffer_init(&path, TOKEN_PATH_BYTES_MAX);
    buffer_append_text(&path, "/v1/tokens/");
    client_escape(&path, id);
    buffer_append_byte(&path, '\0');
    TRY(buffer_check(&path, "path", err));
    struct client_call call = {.method = "DELETE", .path = (const char *)path.data,
                               .may_retry = true};
    TRY(client_send_json(client, &call, &answer, &status, err));
    if (arguments->json) {
        (void)printf("{\"token_id\":\"%s\",\"state\":\"revoked\"}\n", id);
    } else {
        (void)printf("%s is revoked\n", id);
    }
    return ERR_OK;
}

static enum err_code run(const struct arguments *arguments, const struct words *words,
                         struct err *err)
{
    CLEANUP(client_close) struct client *client = NULL;
    const char *verb = words->count > 0 ? words->items[0] : "";
    TRY(client_open(&arguments->target, &client, err));
    if (strcmp(verb, "create") == 0) {
        return create_token(client, arguments, err);
    }
    if (strcmp(verb, "list") == 0) {
        return list_tokens(client, arguments, err);
    }
    return revoke_token(client, arguments, words->count > 1 ? words->items[1] : NULL, err);
}

static bool is_verb(const struct words *words)
{
    const char *verb = words->count > 0 ? words->items[0] : "";
    return strcmp(verb, "create") == 0 || strcmp(verb, "list") == 0 || strcmp(verb, "revoke") == 0;
}

int cli_token(int argc, char **argv)
{
    struct arguments arguments = {.days = 90};
    struct words words;
    struct err err = {0};
    bool help = false;
    const struct option options[] = {
        {"principal", &arguments.principal, NULL, NULL, "NAME", "whose token, or whose tokens"},
        {"description", &arguments.description, NULL, NULL, "TEXT", "what it is for"},
        {"days", NULL, &arguments.days, NULL, "N", "until it expires (default 90)"},
        {"json", NULL, NULL, &arguments.json, NULL, "one JSON object a line"},
        COMMON_TARGET_OPTIONS(arguments.target),
        {0},
    };
    if (options_read(argc, argv, options, &words, &help, &err) != ERR_OK) {
        return options_usage_error("token", &err);
    }
    if (help || !is_verb(&words)) {
        options_print_help("sluice token create --principal NAME | list | revoke ID",
                           "Create, list and revoke tokens of a running server.", options);
        return help ? EX_OK : EX_USAGE;
    }
    if (run(&arguments, &words, &err) != ERR_OK) {
        return common_fail("token", &err);
    }
    return EX_OK;
}
