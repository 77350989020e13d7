/*
 * Very many clients that are slow on purpose, for the tests of a server's deadlines:
 * each holds its connection for as long as the server lets it.
 *
 *   slow_clients PORT TOKEN TABLE HEADS BODIES READERS SECONDS
 *
 * HEADS clients send a request head byte by byte and never end it, from 127.0.0.2;
 * BODIES do so with a batch for TABLE, from 127.0.0.3; READERS ask for much and take
 * nothing of it, from 127.0.0.4. The file "ready" of the working directory appears when
 * all are connected. Ends when the server has closed every one, with a JSON line:
 *
 *   {"heads":500,"bodies":200,"readers":200,"longest_ms":2345}
 *
 * Exit code 1: some still live after SECONDS, or could not connect at all.
 */
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 10000,
    DRIP_US = 100000, /* between two bytes of a client */
    RECEIVE_BYTES = 4096,
    QUESTIONS = 100, /* of a reader, one behind the other */
    BEGIN_BYTES = 512,
};

enum kind { HEAD, BODY, READER, KIND_COUNT };

struct client {
    enum kind kind;
    int fd;
    int64_t began_us;
};

static struct {
    uint16_t port;
    const char *token;
    const char *table;
    struct client *clients;
    struct pollfd *polls;
    nfds_t count;
    int64_t longest_us;
} own;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* What is not taken is not sent again: the server need not like what it gets. */
static void send_some(const struct client *client, const char *text, size_t size)
{
    if (send(client->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN &&
        errno != EPIPE && errno != ECONNRESET) {
        fail("send");
    }
}

static void begin(const struct client *client)
{
    char text[BEGIN_BYTES];
    int size = 0;
    switch (client->kind) {
    case HEAD:
        size = snprintf(text, sizeof text, "GET /livez HTTP/1.1\r\nHost: x\r\nA: ");
        break;
    case BODY:
        size = snprintf(text, sizeof text,
                        "POST /v1/tables/%s/batches HTTP/1.1\r\nHost: x\r\n"
                        "Authorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\n"
                        "Content-Length: 1000000\r\n\r\n",
                        own.table, own.token);
        break;
    case READER:
        size = snprintf(text, sizeof text, "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n");
        break;
    case KIND_COUNT:
        break;
    }
    if (size <= 0 || size >= (int)sizeof text) {
        fail("snprintf");
    }
    for (int i = 0; i < (client->kind == READER ? QUESTIONS : 1); i++) {
        send_some(client, text, (size_t)size);
    }
}

static void connect_one(struct client *client, enum kind kind)
{
    static const char *const sources[KIND_COUNT] = {"127.0.0.2", "127.0.0.3", "127.0.0.4"};
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(own.port)};
    int receive_bytes = RECEIVE_BYTES;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->kind = kind;
    client->began_us = clock_monotonic_us();
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || inet_pton(AF_INET, sources[kind], &from.sin_addr) != 1 ||
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes) != 0 ||
        bind(client->fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(client->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        fail("connect");
    }
    begin(client);
}

/* A reader looks without taking: an end or a reset shows all the same. */
static bool is_gone(const struct client *client, short events)
{
    char byte = 0;
    if ((events & (POLLERR | POLLHUP | POLLRDHUP)) != 0) {
        return true;
    }
    if (client->kind != READER && (events & POLLIN) != 0) {
        ssize_t got = recv(client->fd, &byte, 1, MSG_DONTWAIT);
        return got == 0 || (got < 0 && errno != EAGAIN);
    }
    return false;
}

static void remove_gone(void)
{
    nfds_t kept = 0;
    for (nfds_t i = 0; i < own.count; i++) {
        if (is_gone(&own.clients[i], own.polls[i].revents)) {
            int64_t lived_us = clock_monotonic_us() - own.clients[i].began_us;
            own.longest_us = lived_us > own.longest_us ? lived_us : own.longest_us;
            (void)close(own.clients[i].fd); /* nothing was owed */
        } else {
            own.clients[kept] = own.clients[i];
            own.polls[kept++] = own.polls[i];
        }
    }
    own.count = kept;
}

static void drip(void)
{
    for (nfds_t i = 0; i < own.count; i++) {
        if (own.clients[i].kind != READER) {
            send_some(&own.clients[i], "a", 1);
        }
    }
}

static void live_until(int64_t until_us)
{
    int64_t drip_us = clock_monotonic_us() + DRIP_US;
    while (own.count > 0 && clock_monotonic_us() < until_us) {
        int64_t left_us = drip_us - clock_monotonic_us();
        int ready = poll(own.polls, own.count, left_us > 0 ? (int)(left_us / 1000) + 1 : 0);
        if (ready < 0) {
            fail("poll");
        }
        remove_gone();
        if (clock_monotonic_us() >= drip_us) {
            drip();
            drip_us += DRIP_US;
        }
    }
}

static int64_t argument(const char *text, int64_t maximum)
{
    int64_t number = 0;
    if (!text_parse_int64(span_of_text(text), &number) || number < 0 || number > maximum) {
        (void)fprintf(stderr, "not a number from 0 to %lld: %s\n", (long long)maximum,
                      text); /* on the way out */
        exit(64);
    }
    return number;
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        (void)fprintf(stderr, "usage: slow_clients PORT TOKEN TABLE HEADS BODIES READERS "
                              "SECONDS\n"); /* on the way out */
        return 64;
    }
    int64_t counts[KIND_COUNT];
    own.port = (uint16_t)argument(argv[1], UINT16_MAX);
    own.token = argv[2];
    own.table = argv[3];
    int64_t total = 0;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        counts[kind] = argument(argv[4 + kind], CLIENTS_MAX);
        total += counts[kind];
    }
    int64_t seconds = argument(argv[7], 3600);
    own.clients = mem_zeroed((size_t)total + 1, sizeof *own.clients);
    own.polls = mem_zeroed((size_t)total + 1, sizeof *own.polls);
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        for (int64_t i = 0; i < counts[kind]; i++) {
            connect_one(&own.clients[own.count], (enum kind)kind);
            short events = kind == READER ? POLLRDHUP : POLLIN | POLLRDHUP;
            own.polls[own.count] =
                (struct pollfd){.fd = own.clients[own.count].fd, .events = events};
            own.count++;
        }
    }
    int ready = open("ready", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (ready < 0 || close(ready) != 0) {
        fail("ready");
    }
    live_until(clock_monotonic_us() + seconds * 1000000);
    (void)printf("{\"heads\":%lld,\"bodies\":%lld,\"readers\":%lld,\"left\":%lld,"
                 "\"longest_ms\":%lld}\n",
                 (long long)counts[HEAD], (long long)counts[BODY], (long long)counts[READER],
                 (long long)own.count, (long long)own.longest_us / 1000); /* result */
    int code = own.count == 0 ? 0 : 1;
    mem_free(own.clients);
    mem_free(own.polls);
    return code;
}
