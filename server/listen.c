/* Addresses and the listening socket. */
#include "server/listen.h"

#include "storage/base/file.h"
#include "storage/base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { LISTEN_BACKLOG = 4096, PORT_TEXT_BYTES = 8, PORT_MAX = 65535 };

enum err_code listen_parse(const char *text, char *host_out, size_t host_size, uint16_t *port_out,
                           struct err *err)
{
    const char *colon = strrchr(text, ':');
    int64_t port = 0;
    if (colon == NULL || colon == text || !text_parse_int64(span_of_text(colon + 1), &port) ||
        port < 0 || port > PORT_MAX) {
        return err_set(err, ERR_INVALID, "'%s' is not HOST:PORT", text);
    }
    const char *host = text;
    size_t size = (size_t)(colon - text);
    if (host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    }
    if (size == 0 || size >= host_size) {
        return err_set(err, ERR_INVALID, "'%s' is not HOST:PORT", text);
    }
    memcpy(host_out, host, size);
    host_out[size] = '\0';
    *port_out = (uint16_t)port;
    return ERR_OK;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof four);
        return ntohl(four.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, address, sizeof six);
        return IN6_IS_ADDR_LOOPBACK(&six.sin6_addr) != 0;
    }
    return false;
}

static int resolve(const char *host, uint16_t port, struct addrinfo **list_out)
{
    char text[PORT_TEXT_BYTES];
    (void)snprintf(text, sizeof text, "%u", port); /* five digits fit */
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    return getaddrinfo(host, text, &hints, list_out);
}

bool listen_is_loopback(const char *host)
{
    struct addrinfo *list = NULL;
    if (resolve(host, 0, &list) != 0) {
        return false;
    }
    bool all = list != NULL;
    for (const struct addrinfo *each = list; each != NULL; each = each->ai_next) {
        all = all && is_loopback(each->ai_addr);
    }
    freeaddrinfo(list);
    return all;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        return 0;
    }
    if (address.ss_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, &address, sizeof six);
        return ntohs(six.sin6_port);
    }
    struct sockaddr_in four;
    memcpy(&four, &address, sizeof four);
    return ntohs(four.sin_port);
}

static enum err_code bind_address(const struct addrinfo *address, const char *host, uint16_t port,
                                  int *fd_out, struct err *err)
{
    CLEANUP(file_close)
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int yes = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0) {
        return err_set_errno(err, errno, "open a socket for %s", host);
    }
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        if (errno == EADDRINUSE) {
            return err_set(err, ERR_EXISTS, "%s port %u is taken by another program", host, port);
        }
        return err_set_errno(err, errno, "listen on %s port %u", host, port);
    }
    *fd_out = fd;
    fd = -1;
    return ERR_OK;
}

enum err_code listen_open(const char *host, uint16_t port, int *fd_out, uint16_t *port_out,
                          struct err *err)
{
    struct addrinfo *list = NULL;
    int failed = resolve(host, port, &list);
    if (failed != 0 || list == NULL) {
        return err_set(err, ERR_INVALID, "'%s' is no address to listen on: %s", host,
                       gai_strerror(failed));
    }
    enum err_code code = bind_address(list, host, port, fd_out, err);
    freeaddrinfo(list);
    if (code == ERR_OK) {
        *port_out = bound_port(*fd_out);
    }
    return code;
}

void listen_format_address(const struct sockaddr *address, char *text_out, size_t size)
{
    socklen_t length =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (getnameinfo(address, length, text_out, (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0) {
        (void)snprintf(text_out, size, "unknown"); /* fits every caller's array */
    }
}
