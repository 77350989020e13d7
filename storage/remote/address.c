/*
 * Classes of addresses and the allow list. See address.h for the contract.
 *
 * The table below is the guard: what it does not name and is IPv4, or lies in
 * 2000::/3, is the public internet. All IPv6 forms that carry an IPv4 address are
 * refused whole, whatever they carry: on the way some router unpacks it, and
 * which of them does is not ours to know.
 */
#include "storage/remote/address.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { IPV4_BYTES = 4, IPV6_BYTES = 16, ENTRY_SHOWN_BYTES = 80 };

struct block {
    uint8_t bytes[IPV6_BYTES]; /* network order; IPv4 in the first 4 */
    int bits;                  /* of the prefix */
    enum address_class class;
};

/* First match decides. */
static const struct block ipv4_blocks[] = {
    {{0}, 8, ADDRESS_UNSPECIFIED},
    {{10}, 8, ADDRESS_PRIVATE},
    {{100, 64}, 10, ADDRESS_SHARED},
    {{127}, 8, ADDRESS_LOOPBACK},
    {{169, 254}, 16, ADDRESS_LINK_LOCAL},
    {{172, 16}, 12, ADDRESS_PRIVATE},
    {{192, 0, 0}, 24, ADDRESS_RESERVED},
    {{192, 0, 2}, 24, ADDRESS_DOCUMENTATION},
    {{192, 88, 99}, 24, ADDRESS_RESERVED}, /* 6to4 relays, withdrawn */
    {{192, 168}, 16, ADDRESS_PRIVATE},
    {{198, 18}, 15, ADDRESS_RESERVED}, /* benchmarks */
    {{198, 51, 100}, 24, ADDRESS_DOCUMENTATION},
    {{203, 0, 113}, 24, ADDRESS_DOCUMENTATION},
    {{224}, 4, ADDRESS_MULTICAST},
    {{255, 255, 255, 255}, 32, ADDRESS_BROADCAST},
    {{240}, 4, ADDRESS_RESERVED},
};

static const struct block ipv6_blocks[] = {
    {{0}, 128, ADDRESS_UNSPECIFIED},
    {{[15] = 1}, 128, ADDRESS_LOOPBACK},
    {{[10] = 0xff, 0xff}, 96, ADDRESS_TRANSLATED},            /* ::ffff:a.b.c.d */
    {{[8] = 0xff, 0xff}, 96, ADDRESS_TRANSLATED},             /* ::ffff:0:a.b.c.d */
    {{0}, 96, ADDRESS_TRANSLATED},                            /* ::a.b.c.d */
    {{0x00, 0x64, 0xff, 0x9b}, 96, ADDRESS_TRANSLATED},       /* NAT64 */
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48, ADDRESS_TRANSLATED}, /* NAT64, local */
    {{0x20, 0x01}, 32, ADDRESS_TRANSLATED},                   /* Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32, ADDRESS_DOCUMENTATION},
    {{0x20, 0x01}, 23, ADDRESS_RESERVED},   /* IETF protocol assignments */
    {{0x20, 0x02}, 16, ADDRESS_TRANSLATED}, /* 6to4 */
    {{0x3f, 0xff}, 20, ADDRESS_DOCUMENTATION},
    {{0xfc}, 7, ADDRESS_PRIVATE},
    {{0xfe, 0x80}, 10, ADDRESS_LINK_LOCAL},
    {{0xfe, 0xc0}, 10, ADDRESS_PRIVATE}, /* site-local, withdrawn but still routed */
    {{0xff}, 8, ADDRESS_MULTICAST},
};

static const char *const class_names[ADDRESS_CLASS_COUNT] = {
    [ADDRESS_PUBLIC] = "a public address",
    [ADDRESS_UNSPECIFIED] = "an unspecified address",
    [ADDRESS_LOOPBACK] = "a loopback address",
    [ADDRESS_PRIVATE] = "a private address",
    [ADDRESS_LINK_LOCAL] = "a link-local address",
    [ADDRESS_SHARED] = "a shared (carrier) address",
    [ADDRESS_MULTICAST] = "a multicast address",
    [ADDRESS_BROADCAST] = "the broadcast address",
    [ADDRESS_DOCUMENTATION] = "a documentation address",
    [ADDRESS_RESERVED] = "a reserved address",
    [ADDRESS_TRANSLATED] = "an IPv6 form of another address",
};

/* ---- addresses ---- */

enum err_code address_of_socket(const struct sockaddr *socket, size_t size,
                                struct address *address_out, struct err *err)
{
    struct address address = {0};
    if (socket->sa_family == AF_INET && size >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in ipv4;
        memcpy(&ipv4, socket, sizeof ipv4);
        address.port = ntohs(ipv4.sin_port);
        memcpy(address.bytes, &ipv4.sin_addr, IPV4_BYTES);
    } else if (socket->sa_family == AF_INET6 && size >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 ipv6;
        memcpy(&ipv6, socket, sizeof ipv6);
        address.is_ipv6 = true;
        address.port = ntohs(ipv6.sin6_port);
        memcpy(address.bytes, &ipv6.sin6_addr, IPV6_BYTES);
    } else {
        return err_set(err, ERR_UNSUPPORTED, "only IPv4 and IPv6 addresses can be reached");
    }
    *address_out = address;
    return ERR_OK;
}

bool address_parse(struct span text, struct address *address_out)
{
    char copy[INET6_ADDRSTRLEN];
    if (text.size == 0 || text.size >= sizeof copy || memchr(text.data, '\0', text.size) != NULL) {
        return false;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    struct address address = {.is_ipv6 = memchr(text.data, ':', text.size) != NULL};
    if (inet_pton(address.is_ipv6 ? AF_INET6 : AF_INET, copy, address.bytes) != 1) {
        return false;
    }
    *address_out = address;
    return true;
}

size_t address_format(const struct address *address, char text_out[ADDRESS_TEXT_BYTES])
{
    char bare[INET6_ADDRSTRLEN];
    const char *text =
        inet_ntop(address->is_ipv6 ? AF_INET6 : AF_INET, address->bytes, bare, sizeof bare);
    assert(text != NULL);
    int length = 0;
    if (address->port == 0) {
        length = snprintf(text_out, ADDRESS_TEXT_BYTES, "%s", text);
    } else if (address->is_ipv6) {
        length = snprintf(text_out, ADDRESS_TEXT_BYTES, "[%s]:%u", text, address->port);
    } else {
        length = snprintf(text_out, ADDRESS_TEXT_BYTES, "%s:%u", text, address->port);
    }
    assert(length > 0 && length < ADDRESS_TEXT_BYTES);
    return (size_t)length;
}

/* Do the first `bits` bits agree? */
static bool prefix_equal(const uint8_t *a, const uint8_t *b, int bits)
{
    size_t whole = (size_t)bits / 8;
    int rest = bits % 8;
    if (memcmp(a, b, whole) != 0) {
        return false;
    }
    uint8_t mask = (uint8_t)(0xff00 >> rest);
    return rest == 0 || ((a[whole] ^ b[whole]) & mask) == 0;
}

static bool find_block(const struct block *blocks, size_t count, const uint8_t *bytes,
                       enum address_class *class_out)
{
    for (size_t i = 0; i < count; i++) {
        if (prefix_equal(bytes, blocks[i].bytes, blocks[i].bits)) {
            *class_out = blocks[i].class;
            return true;
        }
    }
    return false;
}

/* The interface identifier 0:5efe or 200:5efe is followed by an IPv4 address (RFC 5214). */
static bool is_isatap(const uint8_t bytes[IPV6_BYTES])
{
    return (bytes[8] & 0xfd) == 0 && bytes[9] == 0 && bytes[10] == 0x5e && bytes[11] == 0xfe;
}

enum address_class address_classify(const struct address *address)
{
    enum address_class class = ADDRESS_PUBLIC;
    const uint8_t *bytes = address->bytes;
    if (!address->is_ipv6) {
        (void)find_block(ipv4_blocks, sizeof ipv4_blocks / sizeof *ipv4_blocks, bytes,
                         &class); /* not found: public */
        return class;
    }
    if (find_block(ipv6_blocks, sizeof ipv6_blocks / sizeof *ipv6_blocks, bytes, &class)) {
        return class;
    }
    if ((bytes[0] & 0xe0) != 0x20) {
        return ADDRESS_RESERVED; /* only 2000::/3 was ever given out */
    }
    return is_isatap(bytes) ? ADDRESS_TRANSLATED : ADDRESS_PUBLIC;
}

const char *address_class_name(enum address_class class)
{
    assert(class < ADDRESS_CLASS_COUNT);
    return class_names[class];
}

/* ---- the allow list ---- */

struct rule {
    struct address address; /* port 0 = any */
    int bits;
};

struct address_allow {
    size_t count;
    struct rule rules[ADDRESS_ALLOW_RULES_MAX];
};

/* Where the parts of one entry are: address[/bits][:port], "[…]" taken off. */
struct entry {
    struct span whole;
    struct span address;
    struct span bits; /* data NULL = none */
    struct span port; /* data NULL = none */
};

static struct span trim(struct span text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = span_part(text, 1, text.size);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

/* Offset of `byte` in `text`, or the text's size. */
static size_t offset_of(struct span text, char byte)
{
    const uint8_t *at = text.size > 0 ? memchr(text.data, byte, text.size) : NULL;
    return at != NULL ? (size_t)(at - text.data) : text.size;
}

/* "outgoing-allow entry '10.0.0.0/99': …"; what an operator wrote may be shown to him. */
static enum err_code bad_entry(struct span entry, const char *what, struct err *err)
{
    size_t shown = entry.size < ENTRY_SHOWN_BYTES ? entry.size : ENTRY_SHOWN_BYTES;
    return err_set(err, ERR_INVALID, "entry '%.*s' %s", (int)shown, (const char *)entry.data, what);
}

static void split_bits(struct entry *entry)
{
    size_t slash = offset_of(entry->address, '/');
    if (slash < entry->address.size) {
        entry->bits = span_part(entry->address, slash + 1, entry->address.size);
        entry->address = span_part(entry->address, 0, slash);
    }
}

static enum err_code split_bracketed(struct entry *entry, struct err *err)
{
    size_t close = offset_of(entry->whole, ']');
    if (close == entry->whole.size) {
        return bad_entry(entry->whole, "has a bracket that is not closed", err);
    }
    struct span rest = span_part(entry->whole, close + 1, entry->whole.size);
    entry->address = span_part(entry->whole, 1, close);
    if (rest.size > 0) {
        if (rest.data[0] != ':') {
            return bad_entry(entry->whole, "goes on after its bracket; write [address/bits]:port",
                             err);
        }
        entry->port = span_part(rest, 1, rest.size);
    }
    split_bits(entry);
    if (offset_of(entry->address, ':') == entry->address.size) {
        return bad_entry(entry->whole, "has brackets, which are for IPv6 addresses", err);
    }
    return ERR_OK;
}

static enum err_code split_entry(struct span text, struct entry *entry_out, struct err *err)
{
    struct entry entry = {.whole = text, .address = text};
    if (text.size == 0) {
        return err_set(err, ERR_INVALID,
                       "an entry is empty; write addresses with one comma between them");
    }
    if (text.data[0] == '[') {
        TRY(split_bracketed(&entry, err));
        *entry_out = entry;
        return ERR_OK;
    }
    size_t colon = offset_of(text, ':');
    bool is_ipv4 = colon == text.size ||
                   offset_of(span_part(text, colon + 1, text.size), ':') == text.size - colon - 1;
    if (is_ipv4 && colon < text.size) {
        entry.port = span_part(text, colon + 1, text.size);
        entry.address = span_part(text, 0, colon);
    }
    split_bits(&entry);
    *entry_out = entry;
    return ERR_OK;
}

/* A decimal number without sign, from `low` to `high`. */
static bool parse_number(struct span text, int64_t low, int64_t high, int64_t *number_out)
{
    int64_t number = 0;
    if (text.size == 0 || text.data[0] == '-' || !text_parse_int64(text, &number) || number < low ||
        number > high) {
        return false;
    }
    *number_out = number;
    return true;
}

/* A block whose last bits are set is a mistake: which part was meant cannot be known. */
static bool has_bits_below(const struct rule *rule)
{
    int total = (rule->address.is_ipv6 ? IPV6_BYTES : IPV4_BYTES) * 8;
    for (int i = rule->bits; i < total; i++) {
        if ((rule->address.bytes[i / 8] & (0x80 >> (i % 8))) != 0) {
            return true;
        }
    }
    return false;
}

static enum err_code parse_rule(struct span text, struct rule *rule_out, struct err *err)
{
    struct entry entry;
    struct rule rule;
    TRY(split_entry(text, &entry, err));
    if (!address_parse(entry.address, &rule.address)) {
        return bad_entry(text,
                         "has no IPv4 or IPv6 address (names are not taken; a port after an "
                         "IPv6 address needs brackets)",
                         err);
    }
    int64_t bits = (rule.address.is_ipv6 ? IPV6_BYTES : IPV4_BYTES) * 8;
    if (entry.bits.data != NULL && !parse_number(entry.bits, 0, bits, &bits)) {
        return bad_entry(text,
                         rule.address.is_ipv6 ? "needs a prefix length from 0 to 128"
                                              : "needs a prefix length from 0 to 32",
                         err);
    }
    rule.bits = (int)bits;
    if (has_bits_below(&rule)) {
        return bad_entry(text, "has bits set beyond its prefix length; set them to zero", err);
    }
    int64_t port = 0;
    if (entry.port.data != NULL && !parse_number(entry.port, 1, UINT16_MAX, &port)) {
        return bad_entry(text, "needs a port from 1 to 65535", err);
    }
    rule.address.port = (uint16_t)port;
    *rule_out = rule;
    return ERR_OK;
}

static enum err_code parse_rules(struct span text, struct address_allow *allow, struct err *err)
{
    for (;;) {
        size_t comma = offset_of(text, ',');
        if (allow->count == ADDRESS_ALLOW_RULES_MAX) {
            return err_set(err, ERR_TOO_LARGE, "there are more than %d entries; use larger blocks",
                           ADDRESS_ALLOW_RULES_MAX);
        }
        TRY(parse_rule(trim(span_part(text, 0, comma)), &allow->rules[allow->count], err));
        allow->count++;
        if (comma == text.size) {
            return ERR_OK;
        }
        text = span_part(text, comma + 1, text.size);
    }
}

enum err_code address_allow_parse(struct span text, struct address_allow **allow_out,
                                  struct err *err)
{
    if (text.size > ADDRESS_ALLOW_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "the list has more than %d bytes",
                       ADDRESS_ALLOW_BYTES_MAX);
    }
    CLEANUP(address_allow_free) struct address_allow *allow = mem_zeroed(1, sizeof *allow);
    if (trim(text).size > 0) {
        TRY(parse_rules(text, allow, err));
    }
    *allow_out = allow;
    allow = NULL;
    return ERR_OK;
}

void address_allow_free(struct address_allow **allow)
{
    mem_free(*allow);
    *allow = NULL;
}

bool address_allow_has(const struct address_allow *allow, const struct address *address)
{
    for (size_t i = 0; allow != NULL && i < allow->count; i++) {
        const struct rule *rule = &allow->rules[i];
        if (rule->address.is_ipv6 == address->is_ipv6 &&
            (rule->address.port == 0 || rule->address.port == address->port) &&
            prefix_equal(rule->address.bytes, address->bytes, rule->bits)) {
            return true;
        }
    }
    return false;
}

enum err_code address_check(const struct address_allow *allow, const struct address *address,
                            bool secure, struct err *err)
{
    enum address_class class = address_classify(address);
    if ((class == ADDRESS_PUBLIC && secure) || address_allow_has(allow, address)) {
        return ERR_OK;
    }
    if (class == ADDRESS_PUBLIC) {
        return err_set(err, ERR_FORBIDDEN,
                       "plain http goes only to addresses that the setting outgoing-allow names; "
                       "use https");
    }
    return err_set(err, ERR_FORBIDDEN,
                   "the server has %s, which requests may not reach; an operator can let an "
                   "address pass with the setting outgoing-allow",
                   address_class_name(class));
}
