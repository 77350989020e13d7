/*
 * The guard against requests that a client makes us send where it may not look
 * (SSRF): every *resolved* address is classed, and what is not on the public
 * internet is refused unless the operator's allow list lets it pass. Names prove
 * nothing, so nothing here looks at one; client.c asks at the moment of connecting,
 * when no later answer of a name server can change what was checked.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

enum {
    ADDRESS_TEXT_BYTES = 64,       /* "[…]:port" and NUL, any address */
    ADDRESS_ALLOW_RULES_MAX = 256, /* of one list */
    ADDRESS_ALLOW_BYTES_MAX = 16 << 10,
};

/* What an address is for; only ADDRESS_PUBLIC is open to everybody. */
enum address_class {
    ADDRESS_PUBLIC,
    ADDRESS_UNSPECIFIED,   /* 0.0.0.0/8, :: (reaches ourselves on Linux) */
    ADDRESS_LOOPBACK,      /* 127.0.0.0/8, ::1 */
    ADDRESS_PRIVATE,       /* 10/8, 172.16/12, 192.168/16; fc00::/7; fec0::/10 */
    ADDRESS_LINK_LOCAL,    /* 169.254/16 (cloud metadata); fe80::/10 */
    ADDRESS_SHARED,        /* 100.64/10, carrier NAT */
    ADDRESS_MULTICAST,     /* 224/4, ff00::/8 */
    ADDRESS_BROADCAST,     /* 255.255.255.255 */
    ADDRESS_DOCUMENTATION, /* 192.0.2/24, 198.51.100/24, 203.0.113/24; 2001:db8::/32, 3fff::/20 */
    ADDRESS_RESERVED,      /* 192.0.0/24, 192.88.99/24, 198.18/15, 240/4; outside 2000::/3, … */
    ADDRESS_TRANSLATED,    /* IPv6 forms with another address inside: v4-mapped and -compatible,
                            * NAT64, 6to4, Teredo, ISATAP */
    ADDRESS_CLASS_COUNT,
};

/* One transport address. */
struct address {
    bool is_ipv6;
    uint16_t port;     /* 0 = none */
    uint8_t bytes[16]; /* network order; IPv4 uses the first 4, the rest is zero */
};

/*
 * Errors:  ERR_UNSUPPORTED another family than IPv4 and IPv6.
 * Thread:  reentrant, like everything here.
 */
enum err_code address_of_socket(const struct sockaddr *socket, size_t size,
                                struct address *address_out, struct err *err) MUST_USE;

/* An address literal without port: dotted decimal of four, or IPv6 without brackets and zone. */
bool address_parse(struct span text, struct address *address_out);

/* "192.0.2.1:443", "[2001:db8::1]:443"; without a port, the bare address. Returns the length. */
size_t address_format(const struct address *address, char text_out[ADDRESS_TEXT_BYTES]);

/* Source: IANA special-purpose address registries (RFC 6890 and updates). */
enum address_class address_classify(const struct address *address);

/* "a private address", for messages. */
const char *address_class_name(enum address_class class);

/* The operator's exceptions; immutable once parsed. */
struct address_allow;

/*
 * Parse the setting `outgoing-allow`: comma-separated addresses or CIDR blocks, each
 * with an optional port; IPv6 stands in brackets when a port follows. Spaces around a
 * comma and an empty text are fine.
 *
 *     10.0.0.0/8, 127.0.0.1:9000, [::1]:9000, [fd00::/8]:443, fd12::/16
 *
 * Errors:  ERR_INVALID naming the entry and what is wrong with it (an address that
 *          is none, a prefix too long, bits set below the prefix, a port out of range);
 *          ERR_TOO_LARGE more than the limits.
 */
enum err_code address_allow_parse(struct span text, struct address_allow **allow_out,
                                  struct err *err) MUST_USE;
/* Accepts NULL inside; nulls. */
void address_allow_free(struct address_allow **allow);

/*
 * Does a rule name this address and port? IPv4 rules match IPv4 addresses only: a
 * v4-mapped form needs an IPv6 rule of its own. `allow` may be NULL: nothing is named.
 */
bool address_allow_has(const struct address_allow *allow, const struct address *address);

/*
 * May we connect? ADDRESS_PUBLIC over TLS always; anything else only by a rule.
 *
 *   secure  the connection will be TLS with the peer verified
 *
 * Errors:  ERR_FORBIDDEN, with a message that names the class and the setting
 *          `outgoing-allow`, never the address (it may be an internal one).
 */
enum err_code address_check(const struct address_allow *allow, const struct address *address,
                            bool secure, struct err *err) MUST_USE;
