/*
 * What the commands share: connection options, exit codes, printing.
 */
#pragma once

#include "server/cli/client.h"
#include "storage/base/err.h"
#include "storage/base/json.h"

#include <stdbool.h>
#include <stdio.h>

/* Every command: argv[0] is its own name; returns a sysexits code. */
int cli_token(int argc, char **argv);
int cli_table(int argc, char **argv);
int cli_batch(int argc, char **argv);
int cli_job(int argc, char **argv);
int cli_run(int argc, char **argv);
int cli_fsck(int argc, char **argv);

/* Options that every command which talks to a server takes. */
#define COMMAND_CONNECTION_OPTIONS                                                                 \
    {"data", required_argument, NULL, 'D'}, {"url", required_argument, NULL, 'U'},                 \
        {"token-file", required_argument, NULL, 'T'}, {"json", no_argument, NULL, 'J'},            \
    {                                                                                              \
        "help", no_argument, NULL, 'H'                                                             \
    }

#define COMMAND_CONNECTION_HELP                                                                    \
    "  --data DIR           the server's data directory, for its address and token;\n"             \
    "                       default ./data\n"                                                      \
    "  --url URL            the server's address\n"                                                \
    "  --token-file FILE    a token; SLUICE_TOKEN in the environment works too\n"                  \
    "  --json               JSON on standard output\n"                                             \
    "  --help               this text\n"

/* What the connection options said. */
struct command {
    const char *name; /* "sluice token list" */
    const char *help;
    struct client_options client;
    bool json;
    bool help_wanted;
};

/* Take one option; false when it is none of the connection options. */
bool command_take_option(struct command *command, int option, const char *argument);

/* Print the help; EX_OK when it was asked for, else EX_USAGE (on standard error). */
int command_usage(const struct command *command);

/* Print the error as "<name>: <message>" and return the sysexits code for it. */
int command_fail(const struct command *command, const struct err *err);

/* Append "/v1/tables/NAME" and the rest of the path, the name encoded. */
void command_add_table(struct buffer *path, const char *table, const char *rest);

/* Append "&name=value" with the value encoded. */
void command_add_parameter(struct buffer *path, const char *name, const char *value);

/* GET a path and parse the answer. */
enum err_code command_get(struct client *client, const char *path, struct json **json_out,
                          struct err *err) MUST_USE;

/*
 * Send a request, check the answer and parse its body. When the server lists what is wrong with
 * a body (`errors`), each is printed on standard error as "  <pointer>: <message>".
 *
 *   answer_out  its body as a document, NULL when it is empty; may itself be NULL
 *   etag_out    [CLIENT_ETAG_BYTES], "" when there is none; may be NULL
 */
enum err_code command_send(struct client *client, const struct client_request *request,
                           struct json **answer_out, char *etag_out, struct err *err) MUST_USE;

/* Takes one item of a listing; false stops the walk. */
typedef bool command_item_fn(const struct json *item, struct span text, void *arg);
typedef bool command_text_fn(struct span text, void *arg);

/*
 * Walk all pages of a listing: `path` has a query already, the items are in the array
 * `member`, and next_page_token tells of another page.
 */
enum err_code command_walk(struct client *client, const char *path, const char *member,
                           command_item_fn *visit, void *arg, struct err *err) MUST_USE;

/*
 * The same for those who pass items on as the server sent them: with every digit, and
 * without a document of the page. Errors: also ERR_CORRUPT no such list in the answer.
 */
enum err_code command_walk_texts(struct client *client, const char *path, const char *member,
                                 command_text_fn *visit, void *arg, struct err *err) MUST_USE;

/* A document on standard output: one line with --json, else indented for people. */
void command_print(const struct command *command, const struct json *json);

/* Lines on standard output, and the buffer is empty again; main checks the stream in the end. */
void command_print_text(struct buffer *text);

/* Text of a member for a column of a listing; "-" when absent or null. */
const char *command_text(const struct json *object, const char *name);
int64_t command_integer(const struct json *object, const char *name);
