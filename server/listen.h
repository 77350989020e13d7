/* The listening socket. */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bind and listen, non-blocking.
 *
 *   port_out      the port that was bound
 *   loopback_out  only this machine can reach it
 *
 * Errors:  ERR_INVALID the host; ERR_EXISTS the port is taken; ERR_IO.
 */
enum err_code listen_open(const char *host, uint16_t port, int *fd_out, uint16_t *port_out,
                          struct err *err) MUST_USE;

/* Is every address of `host` a loopback address? False when it cannot be resolved. */
bool listen_is_loopback(const char *host);

/* Split "HOST:PORT" or "[HOST]:PORT". Errors: ERR_INVALID. */
enum err_code listen_parse(const char *text, char *host_out, size_t host_size, uint16_t *port_out,
                           struct err *err) MUST_USE;

/* "127.0.0.1" or "::1" of a socket address. */
struct sockaddr;
void listen_format_address(const struct sockaddr *address, char *text_out, size_t size);
