/*
 * The commands' HTTP client over libcurl. See client.h for the contract.
 */
#include "server/cli/client.h"

#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"

#include <assert.h>
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOKEN_FILE_BYTES_MAX = 4096, RETRY_SECONDS_MAX = 60 };

struct client {
    CURL *curl;
    char *url;
    char *authorization; /* whole header line; wiped at close */
};

/* The first line of a small file. */
static enum err_code read_line(const char *path, char **line_out, struct err *err)
{
    struct buffer text;
    buffer_init(&text, TOKEN_FILE_BYTES_MAX);
    enum err_code code = file_read(path, &text, err);
    if (code == ERR_OK) {
        size_t size = 0;
        while (size < text.size && text.data[size] != '\n' && text.data[size] != '\r') {
            size++;
        }
        char *line = mem_zeroed(size + 1, 1);
        memcpy(line, text.data, size);
        *line_out = line;
    }
    if (text.data != NULL) {
        secret_wipe(text.data, text.size);
    }
    buffer_deinit(&text);
    return code;
}

static enum err_code find_url(const struct client_options *options, char **url_out, struct err *err)
{
    if (options->url != NULL) {
        *url_out = mem_copy_text(options->url);
        size_t size = strlen(*url_out);
        if (size > 0 && (*url_out)[size - 1] == '/') {
            (*url_out)[size - 1] = '\0';
        }
        return ERR_OK;
    }
    const char *data = options->data != NULL ? options->data : "data";
    CLEANUP(mem_cleanup) char *path = file_join(data, "endpoint");
    if (read_line(path, url_out, err) != ERR_OK) {
        return err_wrap(err, "is the server running? give --url, or --data with its directory");
    }
    return ERR_OK;
}

static enum err_code find_token(const struct client_options *options, char **token_out,
                                struct err *err)
{
    const char *environment = getenv("SLUICE_TOKEN");
    if (options->token_file != NULL) {
        TRY(read_line(options->token_file, token_out, err));
    } else if (environment != NULL) {
        *token_out = mem_copy_text(environment);
    } else {
        const char *data = options->data != NULL ? options->data : "data";
        CLEANUP(mem_cleanup) char *path = file_join(data, "admin.token");
        if (read_line(path, token_out, err) != ERR_OK) {
            return err_wrap(err, "no token; give --token-file, SLUICE_TOKEN, or --data");
        }
    }
    if ((*token_out)[0] == '\0') {
        return err_set(err, ERR_INVALID, "the token is empty");
    }
    return ERR_OK;
}

enum err_code client_open(const struct client_options *options, struct client **client_out,
                          struct err *err)
{
    CLEANUP(mem_cleanup) char *url = NULL;
    CLEANUP(mem_cleanup) char *token = NULL;
    TRY(find_url(options, &url, err));
    TRY(find_token(options, &token, err));
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return err_set(err, ERR_IO, "libcurl cannot start");
    }
    struct client *client = mem_zeroed(1, sizeof *client);
    client->curl = curl_easy_init();
    assert(client->curl != NULL);
    client->url = url;
    url = NULL;
    size_t size = strlen(token) + sizeof "Authorization: Bearer ";
    client->authorization = mem_zeroed(size, 1);
    (void)snprintf(client->authorization, size, "Authorization: Bearer %s", token); /* sized so */
    secret_wipe(token, strlen(token));
    *client_out = client;
    return ERR_OK;
}

void client_close(struct client **client)
{
    if (*client == NULL) {
        return;
    }
    curl_easy_cleanup((*client)->curl);
    curl_global_cleanup();
    secret_wipe((*client)->authorization, strlen((*client)->authorization));
    mem_free((*client)->authorization);
    mem_free((*client)->url);
    mem_free(*client);
    *client = NULL;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct buffer *body = arg;
    buffer_append(body, bytes, size * count);
    return body->overflowed ? 0 : size * count;
}

static void prepare(struct client *client, const struct client_request *request,
                    struct curl_slist *headers, struct buffer *body, const char *url)
{
    CURL *curl = client->curl;
    curl_easy_reset(curl); /* keeps the connection */
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    if (request->content_type != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                         request->body.size > 0 ? (const char *)request->body.data : "");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
    }
}

static struct curl_slist *headers_of(const struct client *client,
                                     const struct client_request *request)
{
    struct curl_slist *headers = curl_slist_append(NULL, client->authorization);
    headers = curl_slist_append(headers, "Expect:");
    if (request->content_type != NULL) {
        char line[256];
        (void)snprintf(line, sizeof line, "Content-Type: %s",
                       request->content_type); /* static types */
        headers = curl_slist_append(headers, line);
    }
    for (size_t i = 0; i < CLIENT_HEADERS_MAX && request->headers[i] != NULL; i++) {
        headers = curl_slist_append(headers, request->headers[i]);
    }
    return headers;
}

static void take_etag(CURL *curl, struct client_answer *answer)
{
    struct curl_header *header = NULL;
    answer->etag[0] = '\0';
    if (curl_easy_header(curl, "etag", 0, CURLH_HEADER, -1, &header) == CURLHE_OK) {
        size_t size = strlen(header->value);
        if (size < sizeof answer->etag) {
            memcpy(answer->etag, header->value, size + 1);
        }
    }
}

/* One try. `retry_seconds_out` is what the server asked for, at least 1. */
static enum err_code call_once(struct client *client, const struct client_request *request,
                               struct client_answer *answer, int64_t *retry_seconds_out,
                               struct err *err)
{
    size_t size = strlen(client->url) + strlen(request->path) + 1;
    CLEANUP(mem_cleanup) char *url = mem_zeroed(size, 1);
    (void)snprintf(url, size, "%s%s", client->url, request->path); /* sized so */
    struct curl_slist *headers = headers_of(client, request);
    buffer_reset(&answer->body);
    prepare(client, request, headers, &answer->body, url);
    CURLcode result = curl_easy_perform(client->curl);
    curl_slist_free_all(headers);
    if (result != CURLE_OK) {
        return err_set_sys(err, ERR_IO, (int)result, "%s %s%s: %s", request->method, client->url,
                           request->path, curl_easy_strerror(result));
    }
    long status = 0;
    curl_off_t retry_after = 0;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(client->curl, CURLINFO_RETRY_AFTER, &retry_after);
    answer->status = (int)status;
    take_etag(client->curl, answer);
    *retry_seconds_out = retry_after < 1                   ? 1
                         : retry_after > RETRY_SECONDS_MAX ? RETRY_SECONDS_MAX
                                                           : (int64_t)retry_after;
    return ERR_OK;
}

enum err_code client_call(struct client *client, const struct client_request *request,
                          struct client_answer *answer_out, struct err *err)
{
    struct client_answer answer = {0};
    buffer_init(&answer.body, CLIENT_ANSWER_BYTES_MAX);
    for (int attempt = 0;; attempt++) {
        int64_t retry_seconds = 1;
        enum err_code code = call_once(client, request, &answer, &retry_seconds, err);
        if (code != ERR_OK) {
            buffer_deinit(&answer.body);
            return code;
        }
        bool retryable = answer.status == 429 || answer.status == 503;
        if (!retryable || attempt >= CLIENT_RETRIES_MAX) {
            *answer_out = answer;
            return ERR_OK;
        }
        struct timespec pause = {.tv_sec = retry_seconds};
        (void)nanosleep(&pause, NULL); /* waking early only asks earlier */
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
    case 412:
    case 428:
        return ERR_PRECONDITION;
    case 413:
        return ERR_TOO_LARGE;
    case 429:
    case 503:
        return ERR_BUSY;
    case 507:
        return ERR_NO_SPACE;
    default:
        return status >= 500 ? ERR_IO : ERR_INVALID;
    }
}

enum err_code client_check(const struct client_answer *answer, struct err *err)
{
    if (answer->status < 400) {
        return ERR_OK;
    }
    CLEANUP(json_free) struct json *problem = NULL;
    struct err ignored = {0};
    const char *detail = NULL;
    if (json_parse(buffer_span(&answer->body), &problem, &ignored) == ERR_OK) {
        detail = json_text(json_get(problem, "detail"));
    }
    return err_set(err, code_of_status(answer->status), "the server answered %d: %s",
                   answer->status, detail != NULL ? detail : "(no explanation)");
}

enum err_code client_get(struct client *client, const char *path, struct buffer *body_out,
                         struct err *err)
{
    struct client_answer answer = {0};
    const struct client_request request = {.method = "GET", .path = path};
    TRY(client_call(client, &request, &answer, err));
    enum err_code code = client_check(&answer, err);
    if (code == ERR_OK) {
        *body_out = answer.body;
    } else {
        buffer_deinit(&answer.body);
    }
    return code;
}
