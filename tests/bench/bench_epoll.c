/*
 * The ceiling of an HTTP server on one core: bare epoll, one thread, a request is everything up
 * to an empty line and its answer 450 bytes. Prints its port.
 *
 *   bench_epoll     until standard input ends
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BODY_BYTES = 450, REQUEST_BYTES_MAX = 8192, EVENTS_MAX = 64 };

static char answer[1024];
static size_t answer_size;

static void make_answer(void)
{
    int head = snprintf(answer, sizeof answer,
                        "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
                        "Content-Type: application/json\r\n\r\n",
                        BODY_BYTES);
    memset(answer + head, 'x', BODY_BYTES);
    answer_size = (size_t)head + BODY_BYTES;
}

static int watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/* A client of a benchmark sends one small request at a time: it comes whole. */
static bool serve(int fd)
{
    char request[REQUEST_BYTES_MAX];
    ssize_t size = recv(fd, request, sizeof request, 0);
    if (size < 4 || memcmp(request + size - 4, "\r\n\r\n", 4) != 0) {
        return false;
    }
    return send(fd, answer, answer_size, MSG_NOSIGNAL) == (ssize_t)answer_size;
}

static void admit(int epoll, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int on = 1;
    if (fd >= 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* slower without */
        (void)watch(epoll, fd);                                         /* the client hangs */
    }
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    make_answer();
    if (listener < 0 || epoll < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 ||
        listen(listener, 512) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        watch(epoll, listener) != 0 || watch(epoll, STDIN_FILENO) != 0) {
        perror("bench_epoll");
        return 1;
    }
    (void)printf("%u\n", (unsigned)ntohs(address.sin_port)); /* for the caller */
    (void)fflush(stdout);                                    /* for the caller */
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO) {
                return 0;
            }
            if (fd == listener) {
                admit(epoll, listener);
            } else if (!serve(fd)) {
                (void)close(fd); /* the client's business */
            }
        }
    }
}
