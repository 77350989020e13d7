/*
 * Names of HTTP fields ("headers"), as whoever sends a request may give them.
 * Source: RFC 9110 5.1 (names), 5.6.2 (token), 7.6.1 (fields of the connection).
 */
#pragma once

#include <stdbool.h>

enum { FIELD_NAME_BYTES_MAX = 128 };

/* A token of 1 to FIELD_NAME_BYTES_MAX bytes. Reentrant. */
bool field_name_is_valid(const char *name);

/* One that the client sets by itself: how a message is framed, whom it goes to, the connection. */
bool field_name_is_reserved(const char *name);
