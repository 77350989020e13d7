/*
 * A minimal HTTP/1.1 client. See http_client.h.
 */
#include "tests/support/http_client.h"

#include "storage/base/mem.h"
#include "storage/base/span.h"
#include "storage/base/text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_BYTES_MAX = 65536 };

void http_client_init(struct http_client *client, uint16_t port, const char *token)
{
    *client = (struct http_client){.fd = -1, .port = port};
    (void)snprintf(client->token, sizeof client->token, "%s", token); /* tokens fit */
}

void http_client_close(struct http_client *client)
{
    if (client->fd >= 0) {
        (void)close(client->fd); /* nothing is lost */
        client->fd = -1;
    }
}

static bool connect_client(struct http_client *client)
{
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* only speed */
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(client->port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        http_client_close(client);
        return false;
    }
    return true;
}

static bool send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Read until the blank line; `*size_out` bytes, of which the head is `*head_out`. */
static bool read_head(int fd, char *head, size_t *size_out, size_t *head_out)
{
    size_t size = 0;
    for (;;) {
        if (size == HEAD_BYTES_MAX - 1) {
            return false;
        }
        ssize_t got = recv(fd, head + size, HEAD_BYTES_MAX - 1 - size, 0);
        if (got <= 0) {
            return false;
        }
        size += (size_t)got;
        head[size] = '\0';
        char *end = strstr(head, "\r\n\r\n");
        if (end != NULL) {
            *size_out = size;
            *head_out = (size_t)(end - head) + 4;
            return true;
        }
    }
}

static bool content_length(const char *head, int64_t *length_out)
{
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, "content-length:", 15) == 0) {
            const char *value = line + 17 + strspn(line + 17, " ");
            return text_parse_int64(span_of(value, strspn(value, "0123456789")), length_out);
        }
    }
    *length_out = 0;
    return true;
}

static bool read_answer(int fd, struct http_answer *answer)
{
    char *head = mem_alloc(HEAD_BYTES_MAX);
    size_t size = 0;
    size_t head_size = 0;
    int64_t length = 0;
    int64_t status = 0;
    bool good = read_head(fd, head, &size, &head_size) && size > 12 &&
                text_parse_int64(span_of(head + 9, 3), &status) && content_length(head, &length);
    if (good) {
        answer->body = mem_zeroed((size_t)length + 1, 1);
        answer->body_size = (size_t)length;
        size_t have = size - head_size < (size_t)length ? size - head_size : (size_t)length;
        memcpy(answer->body, head + head_size, have);
        while (good && have < (size_t)length) {
            ssize_t got = recv(fd, answer->body + have, (size_t)length - have, 0);
            good = got > 0;
            have += good ? (size_t)got : 0;
        }
    }
    answer->status = good ? (int)status : 0;
    mem_free(head);
    return good;
}

bool http_client_call(struct http_client *client, const char *method, const char *path,
                      const char *extra, const char *body, size_t body_size,
                      struct http_answer *answer_out)
{
    *answer_out = (struct http_answer){0};
    if (client->fd < 0 && !connect_client(client)) {
        return false;
    }
    char head[4096];
    int head_size = snprintf(head, sizeof head,
                             "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n%s"
                             "Content-Length: %zu\r\n\r\n",
                             method, path, client->token, extra, body_size);
    bool good = head_size > 0 && (size_t)head_size < sizeof head &&
                send_all(client->fd, head, (size_t)head_size) &&
                send_all(client->fd, body, body_size) && read_answer(client->fd, answer_out);
    if (!good) {
        http_answer_deinit(answer_out);
        http_client_close(client);
    }
    return good;
}

void http_answer_deinit(struct http_answer *answer)
{
    mem_free(answer->body);
    *answer = (struct http_answer){0};
}

/* Behind `"name":`, or NULL. */
static const char *find_member(const char *json, const char *name)
{
    char quoted[128];
    (void)snprintf(quoted, sizeof quoted, "\"%s\":", name); /* names are short */
    const char *at = strstr(json, quoted);
    return at != NULL ? at + strlen(quoted) : NULL;
}

bool http_json_text(const char *json, const char *name, char *text_out, size_t size)
{
    const char *value = find_member(json, name);
    if (value == NULL || *value != '"') {
        return false;
    }
    size_t length = strcspn(value + 1, "\"");
    if (length >= size) {
        return false;
    }
    memcpy(text_out, value + 1, length);
    text_out[length] = '\0';
    return true;
}

bool http_json_integer(const char *json, const char *name, int64_t *integer_out)
{
    const char *value = find_member(json, name);
    return value != NULL &&
           text_parse_int64(span_of(value, strspn(value, "-0123456789")), integer_out);
}
