/*
 * Jobs by number or name. See job_find.h for the contract.
 */
#include "server/cli/job_find.h"

#include "server/cli/command.h"
#include "storage/base/text.h"

#include <inttypes.h>
#include <string.h>

enum { PATH_BYTES_MAX = 4096, NUMBERS_BYTES_MAX = 160 };

struct search {
    const char *name;
    int64_t job_id; /* of the first */
    int64_t count;
    struct buffer numbers; /* of the first JOB_FIND_SHOWN_MAX */
};

static bool look_at(const struct json *item, struct span text, void *arg)
{
    struct search *search = arg;
    (void)text; /* the number is enough */
    if (strcmp(command_text(item, "name"), search->name) != 0) {
        return true;
    }
    int64_t job_id = command_integer(item, "job_id");
    search->job_id = search->count == 0 ? job_id : search->job_id;
    if (search->count < JOB_FIND_SHOWN_MAX) {
        buffer_append_format(&search->numbers, "%s%" PRId64, search->count > 0 ? ", " : "", job_id);
    }
    search->count++;
    return true;
}

enum err_code job_find_named(struct client *client, const char *name, int64_t *job_id_out,
                             struct err *err)
{
    struct search search = {.name = name};
    struct buffer path;
    buffer_init(&path, PATH_BYTES_MAX);
    buffer_init(&search.numbers, NUMBERS_BYTES_MAX);
    buffer_append_text(&path, "/v1/jobs?limit=100");
    command_add_parameter(&path, "name", name);
    buffer_append_byte(&path, '\0');
    enum err_code code =
        command_walk(client, (const char *)path.data, "jobs", look_at, &search, err);
    if (code == ERR_OK && search.count > 1) {
        code = err_set(err, ERR_INVALID,
                       "%" PRId64 " jobs are named '%s' (%.*s%s); say which by "
                       "its number",
                       search.count, name, SPAN_PRINT(buffer_span(&search.numbers)),
                       search.count > JOB_FIND_SHOWN_MAX ? ", …" : "");
    } else if (code == ERR_OK) {
        *job_id_out = search.job_id;
    }
    buffer_deinit(&path);
    buffer_deinit(&search.numbers);
    return code;
}

enum err_code job_find(struct client *client, const char *text, int64_t *job_id_out,
                       struct err *err)
{
    int64_t job_id = 0;
    if (text_parse_int64(span_of_text(text), &job_id) && job_id > 0) {
        *job_id_out = job_id;
        return ERR_OK;
    }
    TRY(job_find_named(client, text, &job_id, err));
    if (job_id == 0) {
        return err_set(err, ERR_NOT_FOUND,
                       "there is no job named '%s'; `sluice job list` shows all", text);
    }
    *job_id_out = job_id;
    return ERR_OK;
}
