/* The only place that turns an error code into an HTTP answer. */
#include "handlers/problem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int status;
    const char *code;
} by_error[] = {
    [ERR_OK] = {500, "internal"},
    [ERR_INVALID] = {400, "invalid"},
    [ERR_UNAUTHENTICATED] = {401, "unauthenticated"},
    [ERR_FORBIDDEN] = {403, "forbidden"},
    [ERR_NOT_FOUND] = {404, "not_found"},
    [ERR_CONFLICT] = {409, "conflict"},
    [ERR_TOO_LARGE] = {413, "too_large"},
    [ERR_BUSY] = {503, "busy"},
    [ERR_UNSUPPORTED] = {422, "unsupported"},
    [ERR_CORRUPT] = {500, "corrupt"},
    [ERR_EXISTS] = {409, "exists"},
    [ERR_PRECONDITION] = {412, "precondition_failed"},
    [ERR_NO_SPACE] = {507, "no_space"},
    [ERR_IO] = {503, "io_error"},
    [ERR_NOMEM] = {503, "busy"},
    [ERR_CANCELLED] = {503, "stopping"},
};

static const struct {
    int status;
    const char *title;
} titles[] = {
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

int problem_status(enum err_code code)
{
    assert((size_t)code < sizeof by_error / sizeof by_error[0]);
    return by_error[code].status;
}

const char *problem_code(enum err_code code)
{
    assert((size_t)code < sizeof by_error / sizeof by_error[0]);
    return by_error[code].code;
}

static const char *title_of(int status)
{
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        if (titles[i].status == status) {
            return titles[i].title;
        }
    }
    return "Error";
}

static bool is_retryable(int status)
{
    return status == 429 || status == 503 || status == 507 || status == 408;
}

static bool has_header(const struct exchange *exchange, const char *name)
{
    for (size_t i = 0; i < exchange->answer_headers_count; i++) {
        if (strcmp(exchange->answer_headers[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Headers without which the status would not be complete. */
static void set_status_headers(struct exchange *exchange, int status)
{
    if (status == 401 && !has_header(exchange, "WWW-Authenticate")) {
        exchange_set_header(exchange, "WWW-Authenticate", "Bearer realm=\"sluice\"");
    }
    if ((status == 429 || status == 503 || status == 507) && !has_header(exchange, "Retry-After")) {
        exchange_set_header(exchange, "Retry-After", "%d", PROBLEM_RETRY_SECONDS);
    }
}

/* Written by hand, not through a JSON tree: also an exchange out of memory gets its answer. */
static void write_head(struct exchange *exchange, int status, const char *code, const char *detail)
{
    struct buffer *answer = &exchange->answer;
    buffer_reset(answer);
    buffer_append_format(answer,
                         "{\"type\":\"" PROBLEM_TYPE_PREFIX "%s\",\"title\":\"%s\",\"status\":%d,"
                         "\"code\":\"%s\",\"detail\":",
                         code, title_of(status), status, code);
    json_write_string(answer, span_of_text(detail));
    buffer_append_format(answer, ",\"request_id\":\"%s\",\"retryable\":%s",
                         exchange->request_id.text, is_retryable(status) ? "true" : "false");
}

static void finish(struct exchange *exchange, int status, const char *code)
{
    buffer_append_text(&exchange->answer, "}\n");
    exchange->status = status;
    exchange->answer_type = "application/problem+json";
    exchange->log_code = code;
    set_status_headers(exchange, status);
}

static void write_item(struct buffer *answer, const struct problem_item *item)
{
    buffer_append_text(answer, "{");
    if (item->line > 0) {
        buffer_append_format(answer, "\"line\":%lld,", (long long)item->line);
    }
    if (item->pointer != NULL) {
        buffer_append_text(answer, "\"pointer\":");
        json_write_string(answer, span_of_text(item->pointer));
        buffer_append_text(answer, ",");
    }
    buffer_append_text(answer, "\"code\":");
    json_write_string(answer, span_of_text(item->code));
    buffer_append_text(answer, ",\"message\":");
    json_write_string(answer, span_of_text(item->message));
    buffer_append_text(answer, "}");
}

enum handler_result problem_items(struct exchange *exchange, int status, const char *code,
                                  const char *detail, const struct problem_item *items,
                                  size_t count, int64_t total)
{
    assert(status >= 400);
    assert(status <= 599);
    write_head(exchange, status, code, detail);
    buffer_append_text(&exchange->answer, ",\"errors\":[");
    size_t shown = count < PROBLEM_ERRORS_MAX ? count : PROBLEM_ERRORS_MAX;
    for (size_t i = 0; i < shown; i++) {
        buffer_append_text(&exchange->answer, i > 0 ? "," : "");
        write_item(&exchange->answer, &items[i]);
    }
    buffer_append_text(&exchange->answer, "]");
    if (total > (int64_t)shown) {
        buffer_append_format(&exchange->answer, ",\"errors_total\":%lld", (long long)total);
    }
    finish(exchange, status, code);
    return HANDLER_DONE;
}

enum handler_result problem_answer(struct exchange *exchange, int status, const char *code,
                                   const char *detail, ...)
{
    assert(status >= 400);
    assert(status <= 599);
    char text[1024];
    va_list arguments;
    va_start(arguments, detail);
    (void)vsnprintf(text, sizeof text, detail, arguments); /* a longer detail is cut */
    va_end(arguments);
    write_head(exchange, status, code, text);
    finish(exchange, status, code);
    return HANDLER_DONE;
}

enum handler_result problem_err_as(struct exchange *exchange, int status, const char *code)
{
    assert(exchange->err.code != ERR_OK);
    /* What broke inside is for the log; the answer says only that it is ours to mend. */
    const char *detail =
        status == 500 ? "the server met a fault of its own; see its log" : exchange->err.msg;
    return problem_answer(exchange, status, code, "%s", detail);
}

enum handler_result problem_err(struct exchange *exchange)
{
    enum err_code code = exchange->err.code;
    return problem_err_as(exchange, problem_status(code), problem_code(code));
}
