/*
 * `sluice token`: create, list and revoke tokens through the server.
 */
#include "server/cli/command.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

enum { BODY_BYTES_MAX = 65536, ROLES_MAX = 32, SECONDS_A_DAY = 86400, DAYS_MAX = 366 };

static const char help[] =
    "Usage: sluice token create --principal NAME [--role ROLE[:TABLE]]… [--days N] [--description "
    "TEXT]\n"
    "       sluice token list [--principal NAME]\n"
    "       sluice token revoke ID\n"
    "\n"
    "Tokens stand for principals. `create` makes the principal when there is none and\n"
    "--role is given, and prints the token once; nobody can show it again.\n"
    "Roles: admin, operator, engineer, partner, analyst, auditor.\n"
    "\n"
    "  --principal NAME     whose token it is\n"
    "  --role ROLE[:TABLE]  a role of a new principal, for one table or all; repeatable\n"
    "  --days N             how long it lives, 1 to 366, default 90\n"
    "  --description TEXT   what it is for\n" COMMAND_CONNECTION_HELP;

/* What the command line asked for. */
struct arguments {
    struct command command;
    const char *principal;
    const char *description;
    const char *roles[ROLES_MAX];
    size_t roles_count;
    int64_t days;
};

static bool parse(struct arguments *arguments, int argc, char **argv)
{
    static const struct option options[] = {
        {"principal", required_argument, NULL, 'p'},
        {"role", required_argument, NULL, 'r'},
        {"days", required_argument, NULL, 'd'},
        {"description", required_argument, NULL, 'e'},
        COMMAND_CONNECTION_OPTIONS,
        {0},
    };
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1) {
            return true;
        }
        if (option == 'p') {
            arguments->principal = optarg;
        } else if (option == 'r' && arguments->roles_count < ROLES_MAX) {
            arguments->roles[arguments->roles_count++] = optarg;
        } else if (option == 'e') {
            arguments->description = optarg;
        } else if (option == 'd') {
            if (!text_parse_int64(span_of_text(optarg), &arguments->days) || arguments->days < 1 ||
                arguments->days > DAYS_MAX) {
                return false;
            }
        } else if (!command_take_option(&arguments->command, option, optarg)) {
            return false;
        }
    }
}

static enum err_code post(struct client *client, const char *path, const struct json *body,
                          struct client_answer *answer_out, struct err *err)
{
    struct buffer text;
    buffer_init(&text, BODY_BYTES_MAX);
    json_write(body, &text);
    const struct client_request request = {
        .method = "POST",
        .path = path,
        .content_type = "application/json",
        .body = buffer_span(&text),
    };
    enum err_code code = client_call(client, &request, answer_out, err);
    buffer_deinit(&text);
    return code;
}

/* Make the principal; that it exists already is fine. */
static enum err_code ensure_principal(const struct arguments *arguments, struct client *client,
                                      struct err *err)
{
    CLEANUP(json_free) struct json *body = json_new_object();
    struct json *roles = json_new_array();
    for (size_t i = 0; i < arguments->roles_count; i++) {
        const char *colon = strchr(arguments->roles[i], ':');
        size_t size =
            colon != NULL ? (size_t)(colon - arguments->roles[i]) : strlen(arguments->roles[i]);
        struct json *role = json_new_object();
        json_set(role, "role", json_new_string(span_of(arguments->roles[i], size)));
        json_set_text(role, "table", colon != NULL ? colon + 1 : "*");
        json_append(roles, role);
    }
    json_set_text(body, "name", arguments->principal);
    json_set(body, "roles", roles);
    struct client_answer answer = {0};
    TRY(post(client, "/v1/principals", body, &answer, err));
    enum err_code code = answer.status == 409 ? ERR_OK : client_check(&answer, err);
    buffer_deinit(&answer.body);
    return code;
}

static void print_created(const struct command *command, const struct client_answer *answer)
{
    CLEANUP(json_free) struct json *json = NULL;
    struct err ignored = {0};
    if (command->json || json_parse(buffer_span(&answer->body), &json, &ignored) != ERR_OK) {
        (void)printf("%.*s\n", SPAN_PRINT(buffer_span(&answer->body))); /* for scripts */
        return;
    }
    (void)printf("%s\n", command_text(json, "token")); /* the token alone, for $(…) */
    (void)fprintf(stderr, "id %s of %s, expires %s; this was the only time the token is shown\n",
                  command_text(json, "token_id"), command_text(json, "principal"),
                  command_text(json, "expires_at")); /* for people */
}

static enum err_code create(const struct arguments *arguments, struct client *client,
                            struct err *err)
{
    if (arguments->roles_count > 0) {
        TRY(ensure_principal(arguments, client, err));
    }
    CLEANUP(json_free) struct json *body = json_new_object();
    json_set_text(body, "principal", arguments->principal);
    json_set_integer(body, "expires_in_seconds", arguments->days * SECONDS_A_DAY);
    if (arguments->description != NULL) {
        json_set_text(body, "description", arguments->description);
    }
    struct client_answer answer = {0};
    TRY(post(client, "/v1/tokens", body, &answer, err));
    enum err_code code = client_check(&answer, err);
    if (code == ERR_OK) {
        print_created(&arguments->command, &answer);
    }
    buffer_deinit(&answer.body);
    return code;
}

static bool print_token(const struct json *token, struct span text, void *arg)
{
    const struct command *command = arg;
    if (command->json) {
        (void)printf("%.*s\n", SPAN_PRINT(text)); /* for scripts */
    } else {
        (void)printf("%-14s %-20s %-8s %-28s %s\n", command_text(token, "token_id"),
                     command_text(token, "principal"), command_text(token, "state"),
                     command_text(token, "expires_at"),
                     command_text(token, "description")); /* for people */
    }
    return true;
}

static enum err_code list(struct arguments *arguments, struct client *client, struct err *err)
{
    struct buffer path;
    buffer_init(&path, BODY_BYTES_MAX);
    buffer_append_text(&path, "/v1/tokens?limit=1000");
    if (arguments->principal != NULL) {
        command_add_parameter(&path, "principal", arguments->principal);
    }
    buffer_append_byte(&path, '\0');
    if (!arguments->command.json) {
        (void)printf("%-14s %-20s %-8s %-28s %s\n", "ID", "PRINCIPAL", "STATE", "EXPIRES",
                     "DESCRIPTION"); /* for people */
    }
    enum err_code code = command_walk(client, (const char *)path.data, "tokens", print_token,
                                      &arguments->command, err);
    buffer_deinit(&path);
    return code;
}

static enum err_code revoke(struct client *client, const char *id, struct err *err)
{
    struct buffer path;
    buffer_init(&path, BODY_BYTES_MAX);
    buffer_append_text(&path, "/v1/tokens/");
    text_percent_encode(span_of_text(id), "", &path);
    buffer_append_byte(&path, '\0');
    const struct client_request request = {.method = "DELETE", .path = (const char *)path.data};
    struct client_answer answer = {0};
    enum err_code code = client_call(client, &request, &answer, err);
    buffer_deinit(&path);
    TRY(code);
    code = client_check(&answer, err);
    buffer_deinit(&answer.body);
    return code;
}

int cli_token(int argc, char **argv)
{
    struct arguments arguments = {
        .command = {.name = "sluice token", .help = help},
        .days = 90,
    };
    if (!parse(&arguments, argc, argv) || arguments.command.help_wanted || optind >= argc) {
        return command_usage(&arguments.command);
    }
    const char *verb = argv[optind];
    bool is_create =
        strcmp(verb, "create") == 0 && argc == optind + 1 && arguments.principal != NULL;
    bool is_list = strcmp(verb, "list") == 0 && argc == optind + 1;
    bool is_revoke = strcmp(verb, "revoke") == 0 && argc == optind + 2;
    if (!is_create && !is_list && !is_revoke) {
        return command_usage(&arguments.command);
    }
    struct err err = {0};
    CLEANUP(client_close) struct client *client = NULL;
    enum err_code code = client_open(&arguments.command.client, &client, &err);
    if (code == ERR_OK) {
        code = is_create ? create(&arguments, client, &err)
               : is_list ? list(&arguments, client, &err)
                         : revoke(client, argv[optind + 1], &err);
    }
    return code == ERR_OK ? EX_OK : command_fail(&arguments.command, &err);
}
