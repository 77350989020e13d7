/*
 * URLs. See url.h for the contract.
 */
#include "storage/remote/url.h"

#include "storage/base/text.h"
#include "storage/remote/address.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { PORT_HTTP = 80, PORT_HTTPS = 443 };

/* Offset of the first byte of `text` that is in `set`, or the text's size. */
static size_t offset_of_any(struct span text, const char *set)
{
    size_t at = 0;
    while (at < text.size && (text.data[at] == '\0' || strchr(set, text.data[at]) == NULL)) {
        at++;
    }
    return at;
}

static bool is_letter_or_digit(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z');
}

static bool is_digits(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return text.size > 0;
}

/* Visible ASCII without what RFC 3986 leaves out of URLs. */
static bool is_url_byte(uint8_t byte)
{
    return byte > ' ' && byte < 0x7f && strchr("\"<>\\^`{|}", byte) == NULL;
}

static bool starts_with(struct span text, const char *prefix)
{
    size_t size = strlen(prefix);
    return text.size >= size && strncasecmp((const char *)text.data, prefix, size) == 0;
}

/* ---- the authority ---- */

/*
 * Programs read 0x7f.1, 2130706433 and 0177.0.0.1 as addresses, each in its own way.
 * A host whose last label starts with a digit and is a number is an address, and there is
 * one way to write those.
 */
static bool is_odd_number(struct span host)
{
    size_t start = host.size;
    while (start > 0 && host.data[start - 1] != '.') {
        start--;
    }
    struct span label = span_part(host, start, host.size);
    struct address address;
    return (is_digits(label) || starts_with(label, "0x")) && !address_parse(host, &address);
}

static enum err_code check_name(struct span host, struct err *err)
{
    if (host.size == 0 || host.size > URL_HOST_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "a URL needs a host of 1 to %d characters",
                       URL_HOST_BYTES_MAX);
    }
    for (size_t i = 0; i < host.size; i++) {
        if (!is_letter_or_digit(host.data[i]) && strchr("-._", host.data[i]) == NULL) {
            return err_set(err, ERR_INVALID,
                           "the host of a URL has letters, digits, '-', '.' and '_' only; write "
                           "other names in their xn-- form");
        }
    }
    /* a trailing dot would hide the number from the rule, and means nothing else here */
    struct span bare = host.data[host.size - 1] == '.' ? span_part(host, 0, host.size - 1) : host;
    if (is_odd_number(bare)) {
        return err_set(err, ERR_INVALID,
                       "an IPv4 address in a URL is written as four decimal numbers");
    }
    return ERR_OK;
}

static enum err_code parse_host(struct span authority, struct url *url, struct span *rest_out,
                                struct err *err)
{
    if (authority.size == 0 || authority.data[0] != '[') {
        size_t colon = offset_of_any(authority, ":");
        url->host = span_part(authority, 0, colon);
        *rest_out = span_part(authority, colon, authority.size);
        return check_name(url->host, err);
    }
    size_t close = offset_of_any(authority, "]");
    struct address address;
    if (close == authority.size || !address_parse(span_part(authority, 1, close), &address) ||
        !address.is_ipv6) {
        return err_set(err, ERR_INVALID, "brackets in a URL hold an IPv6 address without zone");
    }
    url->host = span_part(authority, 1, close);
    url->host_is_ipv6 = true;
    *rest_out = span_part(authority, close + 1, authority.size);
    return ERR_OK;
}

static enum err_code parse_authority(struct span authority, struct url *url, struct err *err)
{
    if (offset_of_any(authority, "@") < authority.size) {
        return err_set(err, ERR_INVALID,
                       "a URL has no user name or password here; use the field auth");
    }
    struct span rest = {0};
    TRY(parse_host(authority, url, &rest, err));
    url->port = url->secure ? PORT_HTTPS : PORT_HTTP;
    if (rest.size == 0) {
        return ERR_OK;
    }
    int64_t port = 0;
    struct span digits = span_part(rest, 1, rest.size);
    if (rest.data[0] != ':' || digits.size > 5 || !is_digits(digits) ||
        !text_parse_int64(digits, &port) || port < 1 || port > UINT16_MAX) {
        return err_set(err, ERR_INVALID, "the port of a URL is a number from 1 to 65535");
    }
    url->port = (uint16_t)port;
    return ERR_OK;
}

enum err_code url_parse(struct span text, struct url *url_out, struct err *err)
{
    struct url url = {0};
    if (text.size > URL_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "a URL has at most %d bytes", URL_BYTES_MAX);
    }
    for (size_t i = 0; i < text.size; i++) {
        if (!is_url_byte(text.data[i])) {
            return err_set(err, ERR_INVALID,
                           "byte %zu of the URL must be percent-encoded (as %%%02X)", i + 1,
                           text.data[i]);
        }
        if (text.data[i] == '#') {
            return err_set(err, ERR_INVALID, "leave the fragment (from '#') out of the URL");
        }
    }
    size_t skipped = 0;
    if (starts_with(text, "https://")) {
        url.secure = true;
        skipped = strlen("https://");
    } else if (starts_with(text, "http://")) {
        skipped = strlen("http://");
    } else {
        return err_set(err, ERR_INVALID, "a URL starts with https:// (or http://)");
    }
    struct span rest = span_part(text, skipped, text.size);
    size_t end = offset_of_any(rest, "/?");
    TRY(parse_authority(span_part(rest, 0, end), &url, err));
    url.target = span_part(rest, end, rest.size);
    *url_out = url;
    return ERR_OK;
}

/* ---- references ---- */

static void append_authority(struct buffer *url, const struct url *base)
{
    bool usual = base->port == (base->secure ? PORT_HTTPS : PORT_HTTP);
    buffer_append_format(url, base->host_is_ipv6 ? "[%.*s]" : "%.*s", SPAN_PRINT(base->host));
    if (!usual) {
        buffer_append_format(url, ":%u", base->port);
    }
}

/* Take back the last segment, down to `start`. */
static void drop_segment(struct buffer *url, size_t start)
{
    while (url->size > start) {
        url->size--;
        if (url->data[url->size] == '/') {
            return;
        }
    }
}

/* spec: RFC 3986 5.2.4 — with the output as a stack whose floor is `start`. */
static void append_without_dots(struct buffer *url, size_t start, struct span path)
{
    size_t at = 0;
    while (at < path.size) {
        /* one segment with the slash before it */
        size_t end = at + 1 + offset_of_any(span_part(path, at + 1, path.size), "/");
        struct span segment = span_part(path, at, end);
        bool up = span_equal_text(segment, "/..");
        if (up) {
            drop_segment(url, start);
        }
        if (!up && !span_equal_text(segment, "/.")) {
            buffer_append_span(url, segment);
        } else if (end == path.size) {
            buffer_append_byte(url, '/');
        }
        at = end;
    }
}

/* The target of the resolved URL: spec: RFC 3986 5.2.2. */
static void append_target(struct buffer *url, const struct url *base, struct span reference)
{
    size_t start = url->size;
    size_t base_query = offset_of_any(base->target, "?");
    struct span base_path = span_part(base->target, 0, base_query);
    size_t query = offset_of_any(reference, "?");
    struct span path = span_part(reference, 0, query);
    if (reference.size == 0) {
        buffer_append_span(url, base->target);
        return;
    }
    if (path.size == 0) {
        buffer_append_span(url, base_path);
    } else if (path.data[0] == '/') {
        append_without_dots(url, start, path);
    } else {
        struct buffer merged;
        buffer_init(&merged, (size_t)2 * URL_BYTES_MAX);
        size_t directory = base_path.size;
        while (directory > 0 && base_path.data[directory - 1] != '/') {
            directory--;
        }
        buffer_append_span(&merged, span_part(base_path, 0, directory));
        if (directory == 0) {
            buffer_append_byte(&merged, '/');
        }
        buffer_append_span(&merged, path);
        append_without_dots(url, start, buffer_span(&merged));
        buffer_deinit(&merged);
    }
    buffer_append_span(url, span_part(reference, query, reference.size));
}

/* Servers write bytes into Location and Link that belong percent-encoded; backslashes are refused.
 */
static enum err_code clean_reference(struct span reference, struct buffer *clean, struct err *err)
{
    reference = span_part(reference, 0, offset_of_any(reference, "#"));
    for (size_t i = 0; i < reference.size; i++) {
        uint8_t byte = reference.data[i];
        if (byte < ' ' || byte == 0x7f || byte == '\\') {
            return err_set(err, ERR_INVALID, "the URL that the server gave has a byte %02X", byte);
        }
        if (is_url_byte(byte)) {
            buffer_append_byte(clean, byte);
        } else {
            buffer_append_format(clean, "%%%02X", byte);
        }
    }
    if (clean->overflowed) {
        return err_set(err, ERR_INVALID, "the URL that the server gave has more than %d bytes",
                       URL_BYTES_MAX);
    }
    return ERR_OK;
}

/* Does the reference start with a scheme of its own? */
static bool has_scheme(struct span reference)
{
    size_t end = offset_of_any(reference, ":/?");
    return end < reference.size && reference.data[end] == ':';
}

static enum err_code resolve(const struct url *base, struct span reference, struct buffer *url,
                             struct err *err)
{
    const char *scheme = base->secure ? "https" : "http";
    if (has_scheme(reference)) {
        buffer_append_span(url, reference);
    } else if (starts_with(reference, "//")) {
        buffer_append_format(url, "%s:", scheme);
        buffer_append_span(url, reference);
    } else {
        buffer_append_format(url, "%s://", scheme);
        append_authority(url, base);
        append_target(url, base, reference);
    }
    struct url parsed;
    if (url->overflowed) {
        return err_set(err, ERR_INVALID, "the URL that the server gave has more than %d bytes",
                       URL_BYTES_MAX);
    }
    if (url_parse(buffer_span(url), &parsed, err) != ERR_OK) {
        return err_wrap(err, "the URL that the server gave");
    }
    return ERR_OK;
}

enum err_code url_resolve(const struct url *base, struct span reference, struct buffer *url,
                          struct err *err)
{
    struct buffer clean;
    struct buffer whole;
    buffer_init(&clean, URL_BYTES_MAX);
    buffer_init(&whole, URL_BYTES_MAX);
    enum err_code code = clean_reference(reference, &clean, err);
    if (code == ERR_OK) {
        code = resolve(base, buffer_span(&clean), &whole, err);
    }
    if (code == ERR_OK) {
        buffer_append_span(url, buffer_span(&whole));
    }
    buffer_deinit(&whole);
    buffer_deinit(&clean);
    return code;
}

/* ---- origins ---- */

bool url_same_origin(const struct url *a, const struct url *b)
{
    return a->secure == b->secure && a->port == b->port && a->host.size == b->host.size &&
           strncasecmp((const char *)a->host.data, (const char *)b->host.data, a->host.size) == 0;
}

void url_origin(const struct url *url, char text_out[URL_ORIGIN_BYTES])
{
    assert(url->host.size <= URL_HOST_BYTES_MAX);
    int length =
        snprintf(text_out, URL_ORIGIN_BYTES, url->host_is_ipv6 ? "%s:[%.*s]:%u" : "%s:%.*s:%u",
                 url->secure ? "https" : "http", SPAN_PRINT(url->host), url->port);
    assert(length > 0 && length < URL_ORIGIN_BYTES);
    for (int i = 0; i < length; i++) {
        if (text_out[i] >= 'A' && text_out[i] <= 'Z') {
            text_out[i] = (char)(text_out[i] - 'A' + 'a');
        }
    }
}
