/*
 * Backfills: one run of a job for each value of a range, all made in one transaction.
 * Each run has a token made of its value, so asking again makes nothing twice.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/job_requests.h"
#include "handlers/problem.h"
#include "storage/base/clock.h"
#include "storage/base/hash.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"

#include <inttypes.h>
#include <string.h>

_Static_assert(RUN_CREATE_MAX == 1000, "the contract says 1,000");

enum { TOKEN_HASH_BYTES = 30, STEP_MAX = 1000000 };

enum unit { UNIT_NUMBER, UNIT_DAY, UNIT_WEEK, UNIT_MONTH };

/* The values: from, from + step, … up to and including `to`. */
struct range {
    enum unit unit;
    int64_t from; /* the number, or days since 1970-01-01 */
    int64_t to;
    int64_t step; /* numbers, days, weeks or months */
};

/* ---- the range ---- */

static enum err_code parse_unit(struct exchange *exchange, const struct json *body,
                                enum unit *unit_out)
{
    static const struct {
        const char *name;
        enum unit unit;
    } units[] = {{"day", UNIT_DAY}, {"week", UNIT_WEEK}, {"month", UNIT_MONTH}};
    const struct json *member = json_get(body, "unit");
    const char *name = member != NULL ? json_text(member) : "day";
    for (size_t i = 0; name != NULL && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(units[i].name, name) == 0) {
            *unit_out = units[i].unit;
            return ERR_OK;
        }
    }
    return err_set(&exchange->err, ERR_INVALID, "/unit: give \"day\", \"week\" or \"month\"");
}

static bool parse_date(const struct json *value, int64_t *day_out)
{
    struct span text;
    int32_t day = 0;
    if (!json_as_string(value, &text) || !text_parse_date(text, &day)) {
        return false;
    }
    *day_out = day;
    return true;
}

static enum err_code parse_ends(struct exchange *exchange, const struct json *body,
                                struct range *range)
{
    const struct json *from = json_get(body, "from");
    const struct json *to = json_get(body, "to");
    if (json_as_integer(from, &range->from) && json_as_integer(to, &range->to)) {
        range->unit = UNIT_NUMBER;
        if (json_get(body, "unit") != NULL) {
            return err_set(&exchange->err, ERR_INVALID, "/unit: whole numbers have none");
        }
    } else if (parse_date(from, &range->from) && parse_date(to, &range->to)) {
        TRY(parse_unit(exchange, body, &range->unit));
    } else {
        return err_set(&exchange->err, ERR_INVALID,
                       "/from and /to: give two whole numbers, or two dates like \"2026-11-23\"");
    }
    if (range->from > range->to) {
        return err_set(&exchange->err, ERR_INVALID, "/from: lies behind /to");
    }
    return ERR_OK;
}

static enum err_code parse_range(struct exchange *exchange, const struct json *body,
                                 struct range *range_out)
{
    struct range range = {.step = 1};
    const struct json *step = json_get(body, "step");
    TRY(parse_ends(exchange, body, &range));
    if (step != NULL &&
        (!json_as_integer(step, &range.step) || range.step < 1 || range.step > STEP_MAX)) {
        return err_set(&exchange->err, ERR_INVALID, "/step: give a whole number from 1 to %d",
                       STEP_MAX);
    }
    *range_out = range;
    return ERR_OK;
}

/* The day that is `months` after `from`, or the last of its month when that has no such day. */
static int64_t add_months(int64_t from, int64_t months)
{
    struct text_civil date = text_civil_of((int32_t)from);
    int64_t month = date.year * 12 + date.month - 1 + months;
    int year = (int)(month / 12);
    int of_year = (int)(month % 12) + 1;
    int next_year = of_year == 12 ? year + 1 : year;
    int32_t last = text_days_of(next_year, of_year == 12 ? 1 : of_year + 1, 1) - 1;
    int32_t day = text_days_of(year, of_year, 1) + date.day - 1;
    return day < last ? day : last;
}

/* The value at `index`, from 0; false when it lies behind the end. */
static bool value_at(const struct range *range, int64_t index, int64_t *value_out)
{
    static const int64_t factors[] = {[UNIT_NUMBER] = 1, [UNIT_DAY] = 1, [UNIT_WEEK] = 7};
    __int128 value = range->unit == UNIT_MONTH
                         ? add_months(range->from, index * range->step)
                         : (__int128)range->from + index * range->step * factors[range->unit];
    if (value > range->to) {
        return false;
    }
    *value_out = (int64_t)value;
    return true;
}

static enum err_code list_values(struct exchange *exchange, const struct range *range,
                                 int64_t values_out[RUN_CREATE_MAX], size_t *count_out)
{
    int64_t value = 0;
    size_t count = 0;
    while (value_at(range, (int64_t)count, &value)) {
        if (count == RUN_CREATE_MAX) {
            return err_set(&exchange->err, ERR_TOO_LARGE,
                           "a backfill makes at most %d runs, and this range has more: split it or "
                           "take a wider step",
                           RUN_CREATE_MAX);
        }
        values_out[count++] = value;
    }
    *count_out = count;
    return ERR_OK;
}

static struct json *value_to_json(const struct range *range, int64_t value)
{
    char text[TEXT_TIMESTAMP_BYTES];
    if (range->unit == UNIT_NUMBER) {
        return json_new_integer(value);
    }
    size_t size = text_format_date((int32_t)value, text);
    return json_new_string(span_of(text, size));
}

/* ---- the runs ---- */

/* One backfill; everything lies in the exchange's arena. */
struct backfill {
    const struct job *job;
    const char *parameter;
    const struct json *others; /* parameters that all runs get; NULL = none */
    const char *token;         /* of the request; NULL = none */
    struct range range;
    int64_t values[RUN_CREATE_MAX];
    size_t count;
    struct run_new news[RUN_CREATE_MAX];
    int64_t run_ids[RUN_CREATE_MAX];
    bool mades[RUN_CREATE_MAX];
};

/* The parameters of one run. json_free. */
static struct json *parameters_at(const struct backfill *backfill, size_t index)
{
    struct json *parameters =
        backfill->others != NULL ? json_duplicate(backfill->others) : json_new_object();
    json_set(parameters, backfill->parameter,
             value_to_json(&backfill->range, backfill->values[index]));
    return parameters;
}

/* What makes this run and no other, within its job. */
static enum err_code token_at(struct exchange *exchange, const struct backfill *backfill,
                              const char *parameters, const char **token_out)
{
    uint8_t hash[HASH_SHA256_BYTES];
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, RUN_PARAMETERS_BYTES_MAX + 1024);
    buffer_append_format(&text, "%s\n%s\n%s", backfill->parameter,
                         backfill->token != NULL ? backfill->token : "", parameters);
    hash_sha256(buffer_span(&text), hash);
    buffer_reset(&text);
    buffer_append_text(&text, "bf-");
    text_hex_encode(span_of(hash, TOKEN_HASH_BYTES), &text);
    *token_out = arena_text(&exchange->arena, buffer_span(&text));
    return *token_out != NULL ? ERR_OK
                              : err_set(&exchange->err, ERR_TOO_LARGE,
                                        "the range needs more memory than a request has: split it");
}

static enum err_code prepare(struct exchange *exchange, struct backfill *backfill)
{
    int64_t now_us = clock_wall_us();
    for (size_t i = 0; i < backfill->count; i++) {
        CLEANUP(json_free) struct json *parameters = parameters_at(backfill, i);
        struct run_new *new = &backfill->news[i];
        *new = (struct run_new){.job_id = backfill->job->job_id,
                                .job_version = backfill->job->version,
                                .principal = exchange->principal->id,
                                .trigger = RUN_TRIGGER_BACKFILL,
                                .trigger_time_us = now_us};
        TRY(job_request_text(exchange, parameters, RUN_PARAMETERS_BYTES_MAX, "/parameters",
                             &new->parameters));
        TRY(token_at(exchange, backfill, new->parameters, &new->token));
    }
    return ERR_OK;
}

static struct json *backfill_to_json(const struct backfill *backfill)
{
    struct json *answer = json_new_object();
    struct json *runs = json_new_array();
    int64_t made = 0;
    for (size_t i = 0; i < backfill->count; i++) {
        struct json *run = json_new_object();
        json_set_integer(run, "run_id", backfill->run_ids[i]);
        json_set(run, "value", value_to_json(&backfill->range, backfill->values[i]));
        json_set_boolean(run, "made", backfill->mades[i]);
        json_append(runs, run);
        made += backfill->mades[i] ? 1 : 0;
    }
    json_set_integer(answer, "job_id", backfill->job->job_id);
    json_set_text(answer, "parameter", backfill->parameter);
    json_set_integer(answer, "made", made);
    json_set(answer, "runs", runs);
    return answer;
}

static void tell_runner(const struct services *services, const struct backfill *backfill)
{
    for (size_t i = 0; i < backfill->count && services->jobs.run_changed != NULL; i++) {
        if (backfill->mades[i]) {
            services->jobs.run_changed(services->jobs.arg, backfill->run_ids[i]);
        }
    }
}

static enum handler_result make(struct services *services, struct exchange *exchange,
                                struct backfill *backfill)
{
    if (prepare(exchange, backfill) != ERR_OK) {
        return problem_err(exchange);
    }
    if (run_create_all(services->catalog, backfill->news, backfill->count, backfill->run_ids,
                       backfill->mades, &exchange->err) != ERR_OK) {
        return job_request_refused(exchange);
    }
    tell_runner(services, backfill);
    const char *resource = arena_format(&exchange->arena, "job %" PRId64, backfill->job->job_id);
    if (access_audit_change(services, exchange, "job.backfill", resource) != ERR_OK) {
        return problem_err(exchange);
    }
    CLEANUP(json_free) struct json *answer = backfill_to_json(backfill);
    exchange_answer_json(exchange, 202, &answer);
    return HANDLER_DONE;
}

/* ---- the request ---- */

static bool has_parameter(const struct job_definition *definition, const char *name)
{
    for (size_t i = 0; i < definition->parameters_count; i++) {
        if (strcmp(definition->parameters[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static enum err_code parse_request(struct exchange *exchange, const struct json *body,
                                   const struct job_definition *definition,
                                   struct backfill *backfill)
{
    static const char *const names[] = {
        "parameter", "from", "to", "step", "unit", "parameters", "idempotency_token", NULL};
    TRY(json_check_names(body, "", names, &exchange->err));
    backfill->parameter = json_text(json_get(body, "parameter"));
    backfill->others = json_get(body, "parameters");
    if (backfill->parameter == NULL || !has_parameter(definition, backfill->parameter)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/parameter: give the name of one of the job's parameters");
    }
    if (backfill->others != NULL && json_kind(backfill->others) != JSON_KIND_OBJECT) {
        return err_set(&exchange->err, ERR_INVALID, "/parameters: give an object");
    }
    if (json_get(backfill->others, backfill->parameter) != NULL) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/parameters/%s: gets its values from the range; leave it out",
                       backfill->parameter);
    }
    TRY(parse_range(exchange, body, &backfill->range));
    TRY(list_values(exchange, &backfill->range, backfill->values, &backfill->count));
    return job_request_token(exchange, body, &backfill->token);
}

enum handler_result handle_job_backfill(struct services *services, struct exchange *exchange)
{
    struct job job;
    CLEANUP(json_free) struct json *body = NULL;
    CLEANUP(json_free) struct json *first = NULL;
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    struct backfill *backfill = arena_alloc(&exchange->arena, sizeof *backfill);
    if (backfill == NULL) {
        return problem_answer(exchange, 413, "too_large", "the request needs too much memory");
    }
    if (job_request_body(exchange, &body) != ERR_OK ||
        job_request_find(services, exchange, &job) != ERR_OK ||
        job_definition_read(span_of_text(job.definition), &definition, &exchange->err) != ERR_OK ||
        parse_request(exchange, body, definition, backfill) != ERR_OK) {
        return problem_err(exchange);
    }
    backfill->job = &job;
    first = parameters_at(backfill, 0); /* all others differ in the one value only */
    if (!job_request_parameters_fit(exchange, first, definition)) {
        return HANDLER_DONE;
    }
    return make(services, exchange, backfill);
}
