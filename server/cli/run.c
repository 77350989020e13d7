/*
 * `sluice run`: start, cancel, repair, list, show and watch runs of jobs.
 */
#include "server/cli/command.h"
#include "server/cli/job_find.h"
#include "server/cli/run_view.h"
#include "server/cli/run_watch.h"

#include "storage/base/clock.h"
#include "storage/base/id.h"
#include "storage/base/text.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

enum {
    PATH_BYTES_MAX = 4096,
    BODY_BYTES_MAX = 4 << 20,
    PARAMETERS_MAX = 100,
    PAGE_RUNS = 100,
};

static const char help[] =
    "Usage: sluice run start JOB [--parameter NAME=VALUE]... [--only TASK,TASK] [--token T]\n"
    "                            [--wait | --watch]\n"
    "       sluice run cancel ID\n"
    "       sluice run repair ID [--only TASK,TASK] [--wait | --watch]\n"
    "       sluice run list [--job JOB] [--state STATE] [--result RESULT] [--active] [--limit N]\n"
    "       sluice run show ID\n"
    "       sluice run watch ID\n"
    "\n"
    "JOB is a job's number or its name, ID the number of a run. `start` prints it. `watch`\n"
    "draws the run on a terminal until it ends; into a pipe it prints a line a change.\n"
    "`watch`, --wait and --watch exit with 0 when the run ends with SUCCESS, with 1 when it\n"
    "ends otherwise.\n"
    "\n"
    "  --parameter NAME=VALUE   a parameter of the job, for this run\n"
    "  --only TASK,TASK         only these tasks; of a repair: these, and what depends on them\n"
    "  --token T                starts one run, however often it is repeated with the same T\n"
    "  --wait                   wait for the end, print one line\n"
    "  --watch                  watch it\n"
    "  --job JOB                only runs of this job\n"
    "  --state, --result        only runs in this state, with this result\n"
    "  --active                 only runs that have not ended\n"
    "  --limit N                at most so many, default 20\n" COMMAND_CONNECTION_HELP;

/* What the command line asked for. */
struct arguments {
    struct command command;
    const char *parameters[PARAMETERS_MAX];
    size_t parameters_count;
    const char *only;
    const char *token;
    const char *job;
    const char *state;
    const char *result;
    int64_t limit;
    bool active;
    bool wait;
    bool watch;
};

static bool take_parameter(struct arguments *arguments, const char *text)
{
    if (arguments->parameters_count == PARAMETERS_MAX || strchr(text, '=') == NULL) {
        return false;
    }
    arguments->parameters[arguments->parameters_count++] = text;
    return true;
}

static bool take_option(struct arguments *arguments, int option, const char *value)
{
    switch (option) {
    case 'p':
        return take_parameter(arguments, value);
    case 'o':
        arguments->only = value;
        return true;
    case 't':
        arguments->token = value;
        return true;
    case 'j':
        arguments->job = value;
        return true;
    case 's':
        arguments->state = value;
        return true;
    case 'r':
        arguments->result = value;
        return true;
    case 'l':
        return text_parse_int64(span_of_text(value), &arguments->limit) && arguments->limit > 0;
    case 'a':
        arguments->active = true;
        return true;
    case 'w':
        arguments->wait = true;
        return true;
    case 'W':
        arguments->watch = true;
        return true;
    default:
        return command_take_option(&arguments->command, option, value);
    }
}

static bool parse(struct arguments *arguments, int argc, char **argv)
{
    static const struct option options[] = {
        {"parameter", required_argument, NULL, 'p'},
        {"only", required_argument, NULL, 'o'},
        {"token", required_argument, NULL, 't'},
        {"job", required_argument, NULL, 'j'},
        {"state", required_argument, NULL, 's'},
        {"result", required_argument, NULL, 'r'},
        {"limit", required_argument, NULL, 'l'},
        {"active", no_argument, NULL, 'a'},
        {"wait", no_argument, NULL, 'w'},
        {"watch", no_argument, NULL, 'W'},
        COMMAND_CONNECTION_OPTIONS,
        {0},
    };
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1) {
            return true;
        }
        if (!take_option(arguments, option, optarg)) {
            return false;
        }
    }
}

/* "a,b,c" as an array. */
static struct json *split_list(const char *text)
{
    struct json *list = json_new_array();
    for (;;) {
        size_t size = strcspn(text, ",");
        if (size > 0) {
            json_append(list, json_new_string(span_of(text, size)));
        }
        if (text[size] == '\0') {
            return list;
        }
        text += size + 1;
    }
}

/* NULL body: none, for operations that take none. */
static enum err_code post(struct client *client, const char *path, const struct json *body,
                          struct json **answer_out, struct err *err)
{
    struct buffer text;
    buffer_init(&text, BODY_BYTES_MAX);
    if (body != NULL) {
        json_write(body, &text);
    }
    enum err_code code = buffer_check(&text, "the request", err);
    if (code == ERR_OK) {
        const struct client_request request = {
            .method = "POST",
            .path = path,
            .content_type = body != NULL ? "application/json" : NULL,
            .body = buffer_span(&text),
        };
        code = command_send(client, &request, answer_out, NULL, err);
    }
    buffer_deinit(&text);
    return code;
}

/* Follow a run that was started or repaired, when the command line says so. */
static enum err_code follow(const struct arguments *arguments, struct client *client,
                            int64_t run_id, bool *success_out, struct err *err)
{
    if (!arguments->wait && !arguments->watch) {
        return ERR_OK;
    }
    return run_watch(&arguments->command, client, run_id,
                     arguments->watch ? RUN_WATCH_SHOW : RUN_WATCH_QUIET, success_out, err);
}

/* ---- start ---- */

static struct json *start_body(const struct arguments *arguments)
{
    struct json *body = json_new_object();
    struct json *parameters = json_new_object();
    for (size_t i = 0; i < arguments->parameters_count; i++) {
        const char *text = arguments->parameters[i];
        const char *equals = strchr(text, '=');
        assert(equals != NULL); /* take_parameter has looked */
        struct buffer name;
        buffer_init(&name, BODY_BYTES_MAX);
        buffer_append(&name, text, (size_t)(equals - text));
        buffer_append_byte(&name, '\0');
        json_set_text(parameters, (const char *)name.data, equals + 1);
        buffer_deinit(&name);
    }
    json_set(body, "parameters", parameters);
    /* a token of our own, so that a repeated try of this call starts nothing twice */
    struct id token = id_new_random();
    json_set_text(body, "idempotency_token",
                  arguments->token != NULL ? arguments->token : token.text);
    if (arguments->only != NULL) {
        json_set(body, "only", split_list(arguments->only));
    }
    return body;
}

static enum err_code start(const struct arguments *arguments, struct client *client,
                           const char *job, bool *success_out, struct err *err)
{
    int64_t job_id = 0;
    TRY(job_find(client, job, &job_id, err));
    char path[PATH_BYTES_MAX];
    (void)snprintf(path, sizeof path, "/v1/jobs/%" PRId64 "/runs", job_id); /* fits */
    CLEANUP(json_free) struct json *body = start_body(arguments);
    CLEANUP(json_free) struct json *answer = NULL;
    TRY(post(client, path, body, &answer, err));
    int64_t run_id = command_integer(answer, "run_id");
    bool follows = arguments->wait || arguments->watch;
    if (!arguments->command.json) {
        /* the number alone, for $(…); followed, it is for people only */
        (void)fprintf(follows ? stderr : stdout, follows ? "run %" PRId64 "\n" : "%" PRId64 "\n",
                      run_id);
    } else if (!follows) {
        command_print(&arguments->command, answer);
    }
    return follow(arguments, client, run_id, success_out, err);
}

/* ---- runs by number ---- */

static enum err_code cancel(const struct arguments *arguments, struct client *client,
                            int64_t run_id, struct err *err)
{
    char path[PATH_BYTES_MAX];
    (void)snprintf(path, sizeof path, "/v1/runs/%" PRId64 "/cancel", run_id); /* fits */
    CLEANUP(json_free) struct json *answer = NULL;
    TRY(post(client, path, NULL, &answer, err));
    if (arguments->command.json && answer != NULL) {
        command_print(&arguments->command, answer);
    } else if (!arguments->command.json) {
        (void)printf("run %" PRId64 " is being cancelled\n", run_id); /* output */
    }
    return ERR_OK;
}

static enum err_code repair(const struct arguments *arguments, struct client *client,
                            int64_t run_id, bool *success_out, struct err *err)
{
    char path[PATH_BYTES_MAX];
    (void)snprintf(path, sizeof path, "/v1/runs/%" PRId64 "/repair", run_id); /* fits */
    CLEANUP(json_free) struct json *body = json_new_object();
    CLEANUP(json_free) struct json *answer = NULL;
    if (arguments->only != NULL) {
        json_set(body, "tasks", split_list(arguments->only));
    }
    TRY(post(client, path, body, &answer, err));
    bool follows = arguments->wait || arguments->watch;
    if (arguments->command.json && answer != NULL && !follows) {
        command_print(&arguments->command, answer);
    } else if (!arguments->command.json && !follows) {
        (void)printf("run %" PRId64 " is being repaired\n", run_id); /* output */
    }
    return follow(arguments, client, run_id, success_out, err);
}

static enum err_code show(const struct arguments *arguments, struct client *client, int64_t run_id,
                          struct err *err)
{
    CLEANUP(json_free) struct json *run = NULL;
    TRY(run_fetch(client, run_id, &run, err));
    if (arguments->command.json) {
        command_print(&arguments->command, run);
        return ERR_OK;
    }
    const struct run_view_options options = {
        .columns = SIZE_MAX,
        .lines = SIZE_MAX,
        .now_us = clock_wall_us(),
    };
    struct buffer text;
    size_t lines = 0;
    buffer_init(&text, RUN_VIEW_TEXT_MAX);
    run_view_draw(run, &options, &text, &lines);
    (void)printf("%.*s", SPAN_PRINT(buffer_span(&text))); /* output */
    buffer_deinit(&text);
    return ERR_OK;
}

/* ---- list ---- */

struct listing {
    const struct arguments *arguments;
    int64_t count;
};

static bool print_run(const struct json *item, struct span text, void *arg)
{
    struct listing *listing = arg;
    if (listing->arguments->command.json) {
        (void)printf("%.*s\n", SPAN_PRINT(text)); /* output */
    } else {
        struct buffer line;
        buffer_init(&line, RUN_VIEW_TEXT_MAX);
        run_view_run(item, clock_wall_us(), &line);
        (void)printf("%.19s  %.*s\n", command_text(item, "created_at"),
                     SPAN_PRINT(buffer_span(&line))); /* output */
        buffer_deinit(&line);
    }
    listing->count++;
    return listing->count < listing->arguments->limit;
}

static enum err_code list(const struct arguments *arguments, struct client *client, struct err *err)
{
    struct buffer path;
    buffer_init(&path, PATH_BYTES_MAX);
    int64_t page = arguments->limit < PAGE_RUNS ? arguments->limit : PAGE_RUNS;
    buffer_append_format(&path, "/v1/runs?limit=%" PRId64, page);
    if (arguments->job != NULL) {
        int64_t job_id = 0;
        enum err_code code = job_find(client, arguments->job, &job_id, err);
        if (code != ERR_OK) {
            buffer_deinit(&path);
            return code;
        }
        buffer_append_format(&path, "&job_id=%" PRId64, job_id);
    }
    if (arguments->state != NULL) {
        command_add_parameter(&path, "state", arguments->state);
    }
    if (arguments->result != NULL) {
        command_add_parameter(&path, "result", arguments->result);
    }
    buffer_append_text(&path, arguments->active ? "&active=true" : "");
    buffer_append_byte(&path, '\0');
    struct listing listing = {.arguments = arguments};
    enum err_code code =
        command_walk(client, (const char *)path.data, "runs", print_run, &listing, err);
    buffer_deinit(&path);
    return code;
}

/* ---- */

static enum err_code run_verb(const struct arguments *arguments, const char *verb,
                              const char *operand, bool *success_out, struct err *err)
{
    CLEANUP(client_close) struct client *client = NULL;
    TRY(client_open(&arguments->command.client, &client, err));
    if (strcmp(verb, "list") == 0) {
        return list(arguments, client, err);
    }
    assert(operand != NULL); /* the others name a job or a run */
    if (strcmp(verb, "start") == 0) {
        return start(arguments, client, operand, success_out, err);
    }
    int64_t run_id = 0;
    if (!text_parse_int64(span_of_text(operand), &run_id) || run_id < 1) {
        return err_set(err, ERR_INVALID,
                       "'%s' is not the number of a run; `sluice run list` shows "
                       "them",
                       operand);
    }
    if (strcmp(verb, "cancel") == 0) {
        return cancel(arguments, client, run_id, err);
    }
    if (strcmp(verb, "repair") == 0) {
        return repair(arguments, client, run_id, success_out, err);
    }
    return strcmp(verb, "show") == 0
               ? show(arguments, client, run_id, err)
               : run_watch(&arguments->command, client, run_id, RUN_WATCH_SHOW, success_out, err);
}

static bool is_verb(const char *verb, int operands)
{
    static const char *const verbs[] = {"start", "cancel", "repair", "show", "watch"};
    if (strcmp(verb, "list") == 0) {
        return operands == 0;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verb, verbs[i]) == 0) {
            return operands == 1;
        }
    }
    return false;
}

int cli_run(int argc, char **argv)
{
    struct arguments arguments = {
        .command = {.name = "sluice run", .help = help},
        .limit = 20,
    };
    if (!parse(&arguments, argc, argv) || arguments.command.help_wanted || optind >= argc ||
        !is_verb(argv[optind], argc - optind - 1)) {
        return command_usage(&arguments.command);
    }
    struct err err = {0};
    bool success = true;
    const char *operand = argc > optind + 1 ? argv[optind + 1] : NULL;
    if (run_verb(&arguments, argv[optind], operand, &success, &err) != ERR_OK) {
        return command_fail(&arguments.command, &err);
    }
    return success ? EX_OK : EX_RUN_FAILED;
}
