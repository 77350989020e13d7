/*
 * A receiver of HTTP requests for end-to-end tests: writes down what comes and
 * answers as it is told. Loopback only; one request a connection.
 *
 *   receiver FOLDER
 *
 * FOLDER/url             written when ready: http://127.0.0.1:PORT
 * FOLDER/0001.head       request line and headers of the first request, as sent
 * FOLDER/0001.body       its body; there once the request was taken whole
 * FOLDER/answer          status to answer with, read anew for each request [204]
 * FOLDER/content         JSON to answer with, likewise [nothing]
 *
 * A request is written down before it is answered, so a sender that was answered
 * finds it here. Ends with SIGTERM. It judges nothing: tests do, with other code
 * than ours (openssl, jq).
 */
#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HEAD_BYTES_MAX = 64 << 10,
    BODY_BYTES_MAX = 64 << 20,
    READ_SECONDS_MAX = 10, /* a sender that was killed leaves half a request behind */
    PATH_BYTES = 4096,
    ANSWER_STATUS = 204,
    CONTENT_BYTES_MAX = 64 << 10,
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* Write FOLDER/name, visible whole or not at all. */
static void put_file(const char *folder, const char *name, struct span content)
{
    char path[PATH_BYTES];
    char temporary[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)snprintf(temporary, sizeof temporary, "%s/.%s", folder, name);
    FILE *file = fopen(temporary, "we");
    if (file == NULL || fwrite(content.data, 1, content.size, file) != content.size ||
        fclose(file) != 0 || rename(temporary, path) != 0) {
        fail(path);
    }
}

static int answer_status(const char *folder)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/answer", folder);
    FILE *file = fopen(path, "re");
    int status = ANSWER_STATUS;
    if (file != NULL) {
        if (fscanf(file, "%d", &status) != 1) { /* NOLINT(cert-err34-c): our own test's file */
            status = ANSWER_STATUS;
        }
        (void)fclose(file);
    }
    return status;
}

static size_t answer_content(const char *folder, char *content)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/content", folder);
    FILE *file = fopen(path, "re");
    size_t size = 0;
    if (file != NULL) {
        size = fread(content, 1, CONTENT_BYTES_MAX, file);
        (void)fclose(file);
    }
    return size;
}

static void send_answer(const char *folder, int connection)
{
    static char answer[CONTENT_BYTES_MAX + 128]; /* one request at a time */
    static char content[CONTENT_BYTES_MAX];
    size_t size = answer_content(folder, content);
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 %d Noted\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                          answer_status(folder), size);
    memcpy(answer + length, content, size);
    (void)send(connection, answer, (size_t)length + size, MSG_NOSIGNAL); /* it may be gone */
}

/* Read until `wanted` bytes are there, or the end of the head when it is 0. */
static bool read_more(int connection, struct buffer *bytes, size_t wanted)
{
    char chunk[16 << 10];
    while (wanted == 0 ? bytes->size == 0 || memmem(bytes->data, bytes->size, "\r\n\r\n", 4) == NULL
                       : bytes->size < wanted) {
        ssize_t size = recv(connection, chunk, sizeof chunk, 0);
        if (size <= 0 || (wanted == 0 && bytes->size > HEAD_BYTES_MAX)) {
            return false;
        }
        buffer_append(bytes, chunk, (size_t)size);
    }
    return true;
}

/* Content-Length of a head; -1: it has none or a silly one. */
static int64_t body_size(struct span head)
{
    static const char name[] = "\r\ncontent-length:";
    for (size_t i = 0; i + sizeof name < head.size; i++) {
        if (strncasecmp((const char *)head.data + i, name, sizeof name - 1) == 0) {
            int64_t size = 0;
            size_t at = i + sizeof name - 1;
            while (at < head.size && head.data[at] == ' ') {
                at++;
            }
            for (; at < head.size && head.data[at] >= '0' && head.data[at] <= '9'; at++) {
                size = size * 10 + (head.data[at] - '0');
                if (size > BODY_BYTES_MAX) {
                    return -1;
                }
            }
            return size;
        }
    }
    return -1;
}

static void take_request(const char *folder, int connection, int number)
{
    struct buffer bytes;
    buffer_init(&bytes, HEAD_BYTES_MAX * 2 + BODY_BYTES_MAX);
    if (read_more(connection, &bytes, 0)) {
        const uint8_t *end = memmem(bytes.data, bytes.size, "\r\n\r\n", 4);
        size_t head = (size_t)(end - bytes.data) + 4;
        int64_t body = body_size(span_of(bytes.data, head));
        size_t size = body > 0 ? (size_t)body : 0;
        if (size == 0 || read_more(connection, &bytes, head + size)) {
            char name[32];
            (void)snprintf(name, sizeof name, "%04d.head", number);
            put_file(folder, name, span_of(bytes.data, head));
            (void)snprintf(name, sizeof name, "%04d.body", number);
            put_file(folder, name, span_of(bytes.data + head, size));
            send_answer(folder, connection);
        }
    }
    buffer_deinit(&bytes);
}

static int open_listener(const char *folder)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 ||
        listen(listener, 64) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        fail("listen");
    }
    char url[64];
    int length = snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    put_file(folder, "url", span_of(url, (size_t)length));
    return listener;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: receiver FOLDER\n");
        return 64;
    }
    int listener = open_listener(argv[1]);
    for (int number = 1;; number++) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0) {
            fail("accept");
        }
        const struct timeval patience = {.tv_sec = READ_SECONDS_MAX};
        (void)setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        take_request(argv[1], connection, number);
        (void)close(connection);
    }
}
