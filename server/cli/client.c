/* libcurl behind client.h. */
#include "server/cli/client.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/base/text.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    URL_BYTES_MAX = 16 << 10,
    SMALL_FILE_BYTES_MAX = 64 << 10,
    CONNECT_SECONDS = 10,
    STALL_SECONDS = 300, /* without a byte in either direction */
    RETRY_SECONDS_MAX = 30,
};

struct client {
    CURL *curl;
    char *url;
    char *authorization; /* "Authorization: Bearer …"; wiped */
    char *ca_file;
    char message[CURL_ERROR_SIZE];
    /* of the call under way */
    struct buffer *answer;
    const struct client_call *call;
    size_t sent;
    int64_t retry_after_seconds;
};

/* ---- target ---- */

static enum err_code read_small_file(const char *path, char **text_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SMALL_FILE_BYTES_MAX);
    TRY(file_read(path, &text, err));
    while (text.size > 0 && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == ' ')) {
        text.size--;
    }
    buffer_append_byte(&text, '\0');
    TRY(buffer_check(&text, path, err));
    *text_out = mem_copy(text.data, text.size);
    secret_wipe(text.data, text.size);
    return ERR_OK;
}

static enum err_code find_url(const struct client_target *target, char **url_out, struct err *err)
{
    const char *given = target->url != NULL ? target->url : getenv("SLUICE_URL");
    if (given != NULL) {
        *url_out = mem_copy_text(given);
        return ERR_OK;
    }
    const char *data = target->data != NULL ? target->data : "data";
    CLEANUP(mem_cleanup) char *path = file_join(data, "endpoint");
    if (read_small_file(path, url_out, err) != ERR_OK) {
        return err_set(err, ERR_NOT_FOUND,
                       "no server runs on %s (there is no %s); start one, or name it with --url "
                       "or SLUICE_URL",
                       data, path);
    }
    return ERR_OK;
}

static enum err_code find_token(const struct client_target *target, char **token_out,
                                struct err *err)
{
    const char *given = target->token_file != NULL ? target->token_file
                                                   : getenv("SLUICE_TOKEN_FILE");
    if (given != NULL) {
        return read_small_file(given, token_out, err);
    }
    const char *data = target->data != NULL ? target->data : "data";
    CLEANUP(mem_cleanup) char *path = file_join(data, "admin.token");
    if (read_small_file(path, token_out, err) != ERR_OK) {
        return err_set(err, ERR_NOT_FOUND,
                       "there is no token in %s; name a file with --token-file or "
                       "SLUICE_TOKEN_FILE",
                       path);
    }
    return ERR_OK;
}

enum err_code client_open(const struct client_target *target, struct client **client_out,
                          struct err *err)
{
    CLEANUP(client_close) struct client *client = mem_zeroed(1, sizeof *client);
    CLEANUP(mem_cleanup) char *token = NULL;
    TRY(find_url(target, &client->url, err));
    TRY(find_token(target, &token, err));
    size_t size = strlen(token) + sizeof "Authorization: Bearer ";
    client->authorization = mem_alloc(size);
    (void)snprintf(client->authorization, size, "Authorization: Bearer %s", token); /* fits */
    secret_wipe(token, strlen(token));
    if (target->ca_file != NULL) {
        client->ca_file = mem_copy_text(target->ca_file);
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        (client->curl = curl_easy_init()) == NULL) {
        return err_set(err, ERR_NOMEM, "libcurl does not start");
    }
    *client_out = client;
    client = NULL;
    return ERR_OK;
}

void client_close(struct client **client)
{
    struct client *closing = *client;
    if (closing == NULL) {
        return;
    }
    if (closing->curl != NULL) {
        curl_easy_cleanup(closing->curl);
        curl_global_cleanup();
    }
    if (closing->authorization != NULL) {
        secret_wipe(closing->authorization, strlen(closing->authorization));
    }
    mem_free(closing->authorization);
    mem_free(closing->url);
    mem_free(closing->ca_file);
    mem_free(closing);
    *client = NULL;
}

/* ---- one exchange ---- */

static size_t take_answer(char *bytes, size_t size, size_t count, void *arg)
{
    struct client *client = arg;
    buffer_append(client->answer, bytes, size * count);
    return client->answer->overflowed ? 0 : size * count;
}

static size_t give_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct client *client = arg;
    size_t left = client->call->body.size - client->sent;
    size_t given = size * count < left ? size * count : left;
    if (given > 0) {
        memcpy(bytes, client->call->body.data + client->sent, given);
    }
    client->sent += given;
    if (client->call->progress != NULL) {
        client->call->progress(client->call->progress_arg, (int64_t)client->sent,
                               (int64_t)client->call->body.size);
    }
    return given;
}

/* The library may have to send the body again on a new connection. */
static int rewind_body(void *arg, curl_off_t offset, int origin)
{
    struct client *client = arg;
    if (origin != SEEK_SET || offset < 0 || (size_t)offset > client->call->body.size) {
        return CURL_SEEKFUNC_CANTSEEK;
    }
    client->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t take_header(char *bytes, size_t size, size_t count, void *arg)
{
    static const char name[] = "Retry-After:";
    struct client *client = arg;
    struct span line = span_of(bytes, size * count);
    if (line.size > sizeof name && strncasecmp(bytes, name, sizeof name - 1) == 0) {
        struct span value = span_of(bytes + sizeof name - 1, line.size - (sizeof name - 1));
        while (value.size > 0 && (value.data[0] == ' ')) {
            value = span_of(value.data + 1, value.size - 1);
        }
        while (value.size > 0 && value.data[value.size - 1] <= ' ') {
            value.size--;
        }
        if (!text_parse_int64(value, &client->retry_after_seconds)) {
            client->retry_after_seconds = 1;
        }
    }
    return size * count;
}

static struct curl_slist *make_headers(const struct client *client, const struct client_call *call)
{
    struct curl_slist *list = curl_slist_append(NULL, client->authorization);
    list = curl_slist_append(list, "Expect:");
    for (size_t i = 0; i < CLIENT_HEADERS_MAX && call->headers[i] != NULL; i++) {
        list = curl_slist_append(list, call->headers[i]);
    }
    return list;
}

static void set_options(struct client *client, const struct client_call *call, const char *url,
                        struct curl_slist *headers)
{
    CURL *curl = client->curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->message);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, client);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, client);
    if (client->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, client->ca_file);
    }
    if (call->body.data != NULL) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_body);
        curl_easy_setopt(curl, CURLOPT_READDATA, client);
        curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, rewind_body);
        curl_easy_setopt(curl, CURLOPT_SEEKDATA, client);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->body.size);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
}

static enum err_code send_once(struct client *client, const struct client_call *call,
                               int *status_out, struct buffer *answer, struct err *err)
{
    char url[URL_BYTES_MAX];
    int size = snprintf(url, sizeof url, "%s%s", client->url, call->path);
    if (size < 0 || (size_t)size >= sizeof url) {
        return err_set(err, ERR_TOO_LARGE, "the URL is too long");
    }
    buffer_reset(answer);
    client->answer = answer;
    client->call = call;
    client->sent = 0;
    client->retry_after_seconds = 1;
    client->message[0] = '\0';
    struct curl_slist *headers = make_headers(client, call);
    set_options(client, call, url, headers);
    CURLcode code = curl_easy_perform(client->curl);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
        return err_set_sys(err, ERR_IO, (int)code, "%s: %s", client->url,
                           client->message[0] != '\0' ? client->message : curl_easy_strerror(code));
    }
    long status = 0;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    *status_out = (int)status;
    return ERR_OK;
}

static void rest(int64_t seconds)
{
    struct timespec time = {.tv_sec = seconds < RETRY_SECONDS_MAX ? seconds : RETRY_SECONDS_MAX};
    (void)nanosleep(&time, NULL); /* an early wake retries early */
}

enum err_code client_send(struct client *client, const struct client_call *call, int *status_out,
                          struct buffer *answer_out, struct err *err)
{
    for (int attempt = 1;; attempt++) {
        enum err_code code = send_once(client, call, status_out, answer_out, err);
        bool again = code == ERR_IO || (code == ERR_OK && (*status_out == 429 || *status_out == 503));
        if (!again || !call->may_retry || attempt == CLIENT_ATTEMPTS_MAX) {
            return code;
        }
        err_clear(err);
        rest(client->retry_after_seconds);
    }
}

static enum err_code code_of_status(int status)
{
    switch (status) {
    case 401:
        return ERR_UNAUTHENTICATED;
    case 403:
        return ERR_FORBIDDEN;
    case 404:
        return ERR_NOT_FOUND;
    case 409:
        return ERR_CONFLICT;
    case 413:
        return ERR_TOO_LARGE;
    case 429:
    case 503:
        return ERR_BUSY;
    case 507:
        return ERR_NO_SPACE;
    default:
        return status >= 500 ? ERR_UNSUPPORTED : ERR_INVALID;
    }
}

static enum err_code set_problem(int status, const struct json *problem, struct err *err)
{
    const char *detail = json_text(json_get(problem, "detail"));
    const char *code = json_text(json_get(problem, "code"));
    return err_set(err, code_of_status(status), "the server answers %d %s: %s", status,
                   code != NULL ? code : "", detail != NULL ? detail : "without a reason");
}

enum err_code client_send_json(struct client *client, const struct client_call *call,
                               struct json **answer_out, int *status_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(json_free) struct json *answer = NULL;
    buffer_init(&text, CLIENT_ANSWER_BYTES_MAX);
    TRY(client_send(client, call, status_out, &text, err));
    struct err parse_err = {0};
    if (text.size > 0 && json_parse(buffer_span(&text), &answer, &parse_err) != ERR_OK &&
        *status_out < 400) {
        return err_set(err, ERR_UNSUPPORTED, "the answer of %s is not JSON", client->url);
    }
    if (*status_out >= 400) {
        return set_problem(*status_out, answer, err);
    }
    *answer_out = answer;
    answer = NULL;
    return ERR_OK;
}

void client_escape(struct buffer *path, const char *text)
{
    text_percent_encode(span_of_text(text), "", path);
}
