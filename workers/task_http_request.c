/*
 * Calls of services. See task_http_request.h.
 */
#include "workers/task_http_request.h"

#include "storage/remote/client.h"
#include "workers/outgoing.h"

#include <inttypes.h>
#include <string.h>

static enum err_code open_secrets(void *arg, const char *text, struct buffer *text_out,
                                  struct err *err)
{
    return task_open_secrets(arg, text, text_out, err);
}

/* ---- asking ---- */

static bool is_read(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* A string is sent as it is, everything else as JSON. */
static enum err_code write_body(const struct json *value, struct buffer *body,
                                struct outgoing *outgoing, struct err *err)
{
    struct span text;
    if (value == NULL) {
        return ERR_OK;
    }
    if (json_as_string(value, &text)) {
        buffer_append_span(body, text);
        TRY(outgoing_add(outgoing, "Content-Type", "text/plain; charset=utf-8", err));
    } else {
        json_write(value, body);
        TRY(outgoing_add(outgoing, "Content-Type", "application/json", err));
    }
    return buffer_check(body, "/body", err);
}

/* Bodies that nobody asked to look into. */
static enum err_code ignore_piece(void *arg, struct span piece, struct err *err)
{
    (void)arg;
    (void)piece;
    (void)err;
    return ERR_OK;
}

static enum err_code call(struct task_attempt *attempt, struct outgoing *outgoing,
                          struct remote_answer *answer, struct err *err)
{
    const struct json *given = attempt->body;
    const char *method = json_text(json_get(given, "method"));
    const char *url = json_text(json_get(given, "url"));
    bool wants_body = json_count(json_get(given, "values")) > 0;
    if (method == NULL || url == NULL) {
        return err_set(err, ERR_INVALID, "%s: is required", method == NULL ? "/method" : "/url");
    }
    CLEANUP(buffer_deinit) struct buffer body;
    buffer_init(&body, HTTP_REQUEST_BODY_BYTES_MAX);
    TRY(write_body(json_get(given, "body"), &body, outgoing, err));
    if (!is_read(method)) {
        TRY(outgoing_add(outgoing, "Idempotency-Key", task_idempotency_key(attempt), err));
    }
    int64_t left_ms = task_milliseconds_left(attempt);
    const struct remote_request request = {
        .method = method,
        .url = url,
        .headers = outgoing->headers,
        .headers_count = outgoing->headers_count,
        .auth = outgoing->auth,
        .body = buffer_span(&body),
        .take = wants_body ? NULL : ignore_piece,
        .allow_undelimited = !wants_body,
        .redirects_max = is_read(method) ? HTTP_REQUEST_REDIRECTS_MAX : 0,
        .limits = {.deadline_ms =
                       left_ms < HTTP_REQUEST_DEADLINE_MS ? left_ms : HTTP_REQUEST_DEADLINE_MS,
                   .body_bytes_max = wants_body ? HTTP_REQUEST_ANSWER_BYTES_MAX : 0},
        .cancelled = task_cancel_flag(attempt),
    };
    TRY(task_check_time(attempt, err));
    TRY(remote_call(attempt->services->remote, &request, answer, err));
    const struct task_progress progress = {.bytes_out = (int64_t)body.size,
                                           .bytes_in = answer->body_bytes};
    task_set_progress(attempt, &progress);
    return ERR_OK;
}

/* ---- the answer ---- */

static bool is_listed(const struct json *statuses, int status)
{
    for (size_t i = 0; i < json_count(statuses); i++) {
        int64_t listed = 0;
        if (json_as_integer(json_at(statuses, i), &listed) && listed == status) {
            return true;
        }
    }
    return false;
}

static enum err_code check_status(const struct json *statuses, const struct remote_answer *answer,
                                  struct err *err)
{
    if (json_count(statuses) == 0) {
        return remote_answer_check(answer, err);
    }
    if (is_listed(statuses, answer->status)) {
        return ERR_OK;
    }
    TRY(remote_answer_check(answer, err)); /* says best what an error means */
    return err_set(err, ERR_INVALID, "the server answered %d, which expect_status does not list",
                   answer->status);
}

/* Each value of the definition, by its pointer into the answer. */
static enum err_code take_values(struct task_attempt *attempt, const struct json *wanted,
                                 const struct remote_answer *answer, struct err *err)
{
    if (json_count(wanted) == 0) {
        return ERR_OK;
    }
    CLEANUP(json_free) struct json *document = NULL;
    if (answer->body_bytes > (int64_t)answer->body.size) {
        return err_set(err, ERR_TOO_LARGE, "the answer is too long to take values from it");
    }
    if (json_parse(buffer_span(&answer->body), &document, err) != ERR_OK) {
        return err_wrap(err, "the answer is no JSON, so there are no values in it");
    }
    const char *name = NULL;
    const struct json *pointer = NULL;
    for (size_t at = 0; json_member(wanted, &at, &name, &pointer);) {
        struct span text = {0};
        const struct json *value =
            json_as_string(pointer, &text) ? json_find(document, text) : NULL;
        if (value == NULL) {
            return err_set(err, ERR_INVALID, "/values/%s: the answer has nothing at %.*s", name,
                           SPAN_PRINT(text));
        }
        task_set_value(attempt, name, json_duplicate(value));
    }
    return ERR_OK;
}

enum err_code task_http_request_run(struct task_attempt *attempt, struct err *err)
{
    CLEANUP(outgoing_deinit) struct outgoing outgoing = {0};
    CLEANUP(remote_answer_deinit) struct remote_answer answer;
    remote_answer_init(&answer);
    TRY(outgoing_init(&outgoing, attempt->body, open_secrets, attempt, err));
    TRY(call(attempt, &outgoing, &answer, err));
    task_set_value(attempt, "status", json_new_integer(answer.status));
    TRY(check_status(json_get(attempt->body, "expect_status"), &answer, err));
    return take_values(attempt, json_get(attempt->body, "values"), &answer, err);
}
