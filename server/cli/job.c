/*
 * `sluice job`: definitions of jobs, kept in files and applied to a server.
 */
#include "server/cli/command.h"
#include "server/cli/job_find.h"

#include "storage/base/file.h"
#include "storage/base/id.h"
#include "storage/base/text.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

enum {
    DEFINITION_BYTES_MAX = 4 << 20, /* of a file; the server has its own, smaller limit */
    PATH_BYTES_MAX = 4096,
    HEADER_BYTES_MAX = CLIENT_ETAG_BYTES + 32,
};

static const char help[] =
    "Usage: sluice job apply -f FILE [--job ID] [--if-match ETAG]\n"
    "       sluice job list [--name NAME]\n"
    "       sluice job show JOB\n"
    "       sluice job delete JOB [--if-match ETAG] [--force]\n"
    "\n"
    "`apply` makes the job that the file (JSON; - reads standard input) describes, or changes\n"
    "the job of the same name. It is safe to repeat: what is the same already stays as it\n"
    "is. JOB is a job's number or its name.\n"
    "\n"
    "  -f, --file FILE      the definition\n"
    "  --job ID             change this job, whatever its name is now\n"
    "  --if-match ETAG      only if the job is still at this version: `etag` of `job show`\n"
    "  --name NAME          only jobs of this name\n"
    "  --force              cancel the runs that are active and delete "
    "then\n" COMMAND_CONNECTION_HELP;

/* What the command line asked for. */
struct arguments {
    struct command command;
    const char *file;
    const char *name;
    const char *if_match;
    int64_t job_id; /* 0 = by name */
    bool force;
};

static bool parse_id(const char *text, int64_t *id_out)
{
    return text_parse_int64(span_of_text(text), id_out) && *id_out > 0;
}

static bool parse(struct arguments *arguments, int argc, char **argv)
{
    static const struct option options[] = {
        {"file", required_argument, NULL, 'f'},
        {"job", required_argument, NULL, 'j'},
        {"if-match", required_argument, NULL, 'm'},
        {"name", required_argument, NULL, 'n'},
        {"force", no_argument, NULL, 'o'},
        COMMAND_CONNECTION_OPTIONS,
        {0},
    };
    for (;;) {
        int option = getopt_long(argc, argv, "f:", options, NULL);
        bool good = true;
        switch (option) {
        case -1:
            return true;
        case 'f':
            arguments->file = optarg;
            break;
        case 'j':
            good = parse_id(optarg, &arguments->job_id);
            break;
        case 'm':
            arguments->if_match = optarg;
            break;
        case 'n':
            arguments->name = optarg;
            break;
        case 'o':
            arguments->force = true;
            break;
        default:
            good = command_take_option(&arguments->command, option, optarg);
            break;
        }
        if (!good) {
            return false;
        }
    }
}

/* ---- apply ---- */

static enum err_code read_standard_input(struct buffer *text, struct err *err)
{
    enum { STEP_BYTES = 65536 };
    for (;;) {
        uint8_t *target = buffer_reserve(text, STEP_BYTES);
        if (target == NULL) {
            return buffer_check(text, "the definition", err);
        }
        size_t got = fread(target, 1, STEP_BYTES, stdin);
        buffer_advance(text, got);
        if (got == 0) {
            return ferror(stdin) == 0 ? ERR_OK
                                      : err_set(err, ERR_IO, "standard input cannot be read");
        }
    }
}

/* The text of the file and the name of the job it describes. */
static enum err_code read_definition(const char *file, struct buffer *text,
                                     struct json **definition_out, struct err *err)
{
    bool is_input = strcmp(file, "-") == 0;
    CLEANUP(json_free) struct json *definition = NULL;
    TRY(is_input ? read_standard_input(text, err) : file_read(file, text, err));
    if (json_parse(buffer_span(text), &definition, err) != ERR_OK) {
        return err_wrap(err, "%s", is_input ? "standard input" : file);
    }
    const char *name = json_text(json_get(definition, "name"));
    if (name == NULL || name[0] == '\0') {
        return err_set(err, ERR_INVALID, "%s: /name: a job needs a name",
                       is_input ? "standard input" : file);
    }
    *definition_out = definition;
    definition = NULL;
    return ERR_OK;
}

static void print_applied(const struct command *command, int64_t job_id, const char *name,
                          const char *what, const char *etag)
{
    if (!command->json) {
        (void)printf("%s job %" PRId64 " '%s'\n", what, job_id, name); /* output */
        return;
    }
    CLEANUP(json_free) struct json *line = json_new_object();
    json_set_integer(line, "job_id", job_id);
    json_set_text(line, "name", name);
    json_set_text(line, "result", what);
    json_set_text(line, "etag", etag[0] != '\0' ? etag : NULL);
    command_print(command, line);
}

/* The key is new each time: it guards the tries of this call, not an earlier call whose job may be
 * deleted by now. */
static enum err_code create(const struct arguments *arguments, struct client *client,
                            struct span body, const char *name, struct err *err)
{
    if (arguments->if_match != NULL) {
        return err_set(err, ERR_PRECONDITION,
                       "there is no job named '%s' that --if-match could be about", name);
    }
    char key[HEADER_BYTES_MAX];
    struct id id = id_new_random();
    (void)snprintf(key, sizeof key, "Idempotency-Key: \"%s\"", id.text); /* fits */
    const struct client_request request = {
        .method = "POST",
        .path = "/v1/jobs",
        .content_type = "application/json",
        .body = body,
        .headers = {key},
    };
    CLEANUP(json_free) struct json *made = NULL;
    char etag[CLIENT_ETAG_BYTES];
    TRY(command_send(client, &request, &made, etag, err));
    print_applied(&arguments->command, command_integer(made, "job_id"), name, "created", etag);
    return ERR_OK;
}

/* GET /v1/jobs/{id} for the version that is there now. */
static enum err_code find_version(struct client *client, int64_t job_id,
                                  char etag_out[CLIENT_ETAG_BYTES], struct err *err)
{
    char path[PATH_BYTES_MAX];
    (void)snprintf(path, sizeof path, "/v1/jobs/%" PRId64, job_id); /* fits */
    const struct client_request request = {.method = "GET", .path = path};
    return command_send(client, &request, NULL, etag_out, err);
}

static enum err_code make_if_match(const char *etag, char line_out[HEADER_BYTES_MAX],
                                   struct err *err)
{
    if (strlen(etag) >= CLIENT_ETAG_BYTES || strpbrk(etag, "\r\n") != NULL) {
        return err_set(err, ERR_INVALID, "--if-match: this is no ETag");
    }
    bool quoted = etag[0] == '"' || strncmp(etag, "W/", 2) == 0;
    (void)snprintf(line_out, HEADER_BYTES_MAX, quoted ? "If-Match: %s" : "If-Match: \"%s\"",
                   etag); /* fits */
    return ERR_OK;
}

static enum err_code change(const struct arguments *arguments, struct client *client,
                            int64_t job_id, struct span body, const char *name, struct err *err)
{
    char before[CLIENT_ETAG_BYTES];
    char after[CLIENT_ETAG_BYTES];
    char if_match[HEADER_BYTES_MAX];
    char path[PATH_BYTES_MAX];
    TRY(find_version(client, job_id, before, err));
    TRY(make_if_match(arguments->if_match != NULL ? arguments->if_match : before, if_match, err));
    (void)snprintf(path, sizeof path, "/v1/jobs/%" PRId64, job_id); /* fits */
    const struct client_request request = {
        .method = "PUT",
        .path = path,
        .content_type = "application/json",
        .body = body,
        .headers = {if_match},
    };
    enum err_code code = command_send(client, &request, NULL, after, err);
    if (code == ERR_PRECONDITION) {
        return err_wrap(err,
                        "somebody changed job %" PRId64 " meanwhile; look at it (`sluice job "
                        "show %" PRId64 "`) and apply again",
                        job_id, job_id);
    }
    TRY(code);
    bool same = after[0] != '\0' && strcmp(before, after) == 0;
    print_applied(&arguments->command, job_id, name, same ? "unchanged" : "changed", after);
    return ERR_OK;
}

static enum err_code apply(const struct arguments *arguments, struct client *client,
                           struct err *err)
{
    assert(arguments->file != NULL); /* cli_job has looked */
    CLEANUP(buffer_deinit) struct buffer text = {0};
    buffer_init(&text, DEFINITION_BYTES_MAX);
    CLEANUP(json_free) struct json *definition = NULL;
    TRY(read_definition(arguments->file, &text, &definition, err));
    const char *name = json_text(json_get(definition, "name"));
    assert(name != NULL); /* read_definition has looked */
    int64_t job_id = arguments->job_id;
    if (job_id == 0) {
        TRY(job_find_named(client, name, &job_id, err));
    }
    return job_id == 0 ? create(arguments, client, buffer_span(&text), name, err)
                       : change(arguments, client, job_id, buffer_span(&text), name, err);
}

/* ---- list, show, delete ---- */

static bool print_job(const struct json *item, struct span text, void *arg)
{
    const struct arguments *arguments = arg;
    if (arguments->name != NULL && strcmp(command_text(item, "name"), arguments->name) != 0) {
        return true;
    }
    if (arguments->command.json) {
        (void)printf("%.*s\n", SPAN_PRINT(text)); /* output */
    } else {
        (void)printf("%8" PRId64 "  %-32s version %-5" PRId64 " next %s\n",
                     command_integer(item, "job_id"), command_text(item, "name"),
                     command_integer(item, "version"),
                     command_text(item, "next_fire_at")); /* output */
    }
    return true;
}

static enum err_code list(struct arguments *arguments, struct client *client, struct err *err)
{
    struct buffer path;
    buffer_init(&path, PATH_BYTES_MAX);
    buffer_append_text(&path, "/v1/jobs?limit=100");
    if (arguments->name != NULL) {
        command_add_parameter(&path, "name", arguments->name);
    }
    buffer_append_byte(&path, '\0');
    enum err_code code =
        command_walk(client, (const char *)path.data, "jobs", print_job, arguments, err);
    buffer_deinit(&path);
    return code;
}

static enum err_code show(const struct arguments *arguments, struct client *client, int64_t job_id,
                          struct err *err)
{
    char path[PATH_BYTES_MAX];
    char etag[CLIENT_ETAG_BYTES];
    CLEANUP(json_free) struct json *job = NULL;
    (void)snprintf(path, sizeof path, "/v1/jobs/%" PRId64, job_id); /* fits */
    const struct client_request request = {.method = "GET", .path = path};
    TRY(command_send(client, &request, &job, etag, err));
    if (json_kind(job) == JSON_KIND_OBJECT && json_get(job, "etag") == NULL) {
        json_set_text(job, "etag", etag); /* for --if-match */
    }
    command_print(&arguments->command, job);
    return ERR_OK;
}

static enum err_code delete (const struct arguments *arguments, struct client *client,
                             int64_t job_id, struct err *err) {
    char path[PATH_BYTES_MAX]; char if_match[HEADER_BYTES_MAX];
    (void)snprintf(path, sizeof path, "/v1/jobs/%" PRId64 "%s", job_id,
                   arguments->force ? "?force=true" : ""); /* fits */
    struct client_request request = {.method = "DELETE", .path = path};
    char etag[CLIENT_ETAG_BYTES];
    if (arguments->if_match == NULL){TRY(find_version(client, job_id, etag, err));}
TRY(make_if_match(arguments->if_match != NULL ? arguments->if_match : etag, if_match, err));
request.headers[0] = if_match;
TRY(command_send(client, &request, NULL, NULL, err));
if (arguments->command.json) {
    (void)printf("{\"job_id\":%" PRId64 ",\"result\":\"deleted\"}\n", job_id); /* output */
} else {
    (void)printf("deleted job %" PRId64 "\n", job_id); /* output */
}
return ERR_OK;
}

static enum err_code run_verb(struct arguments *arguments, const char *verb, const char *job,
                              struct err *err)
{
    CLEANUP(client_close) struct client *client = NULL;
    TRY(client_open(&arguments->command.client, &client, err));
    if (strcmp(verb, "apply") == 0) {
        return apply(arguments, client, err);
    }
    if (strcmp(verb, "list") == 0) {
        return list(arguments, client, err);
    }
    assert(job != NULL); /* the others name one */
    int64_t job_id = 0;
    TRY(job_find(client, job, &job_id, err));
    return strcmp(verb, "show") == 0 ? show(arguments, client, job_id, err)
                                     : delete (arguments, client, job_id, err);
}

int cli_job(int argc, char **argv)
{
    struct arguments arguments = {.command = {.name = "sluice job", .help = help}};
    if (!parse(&arguments, argc, argv) || arguments.command.help_wanted || optind >= argc) {
        return command_usage(&arguments.command);
    }
    const char *verb = argv[optind];
    int operands = argc - optind - 1;
    bool is_apply = strcmp(verb, "apply") == 0 && operands == 0 && arguments.file != NULL;
    bool is_list = strcmp(verb, "list") == 0 && operands == 0;
    bool is_other = (strcmp(verb, "show") == 0 || strcmp(verb, "delete") == 0) && operands == 1;
    if (!is_apply && !is_list && !is_other) {
        return command_usage(&arguments.command);
    }
    struct err err = {0};
    return run_verb(&arguments, verb, is_other ? argv[optind + 1] : NULL, &err) == ERR_OK
               ? EX_OK
               : command_fail(&arguments.command, &err);
}
