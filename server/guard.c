/* One strict reading of HTTP/1.x heads and framing; see guard.h. */
#include "server/guard.h"

#include <assert.h>
#include <string.h>

#define REFUSED_HEAD "GET " GUARD_REFUSED_TARGET " HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n"

enum {
    /* A held head plus one read of the connection behind it. */
    HELD_BYTES_MAX = GUARD_HEAD_BYTES_MAX + (1 << 20),
    LENGTH_DIGITS_MAX = 19,
};

static const struct guard_reason reasons[GUARD_REFUSAL_COUNT] = {
    [GUARD_FINE] = {200, "fine", "fine"},
    [GUARD_BAD_LINE_END] = {400, "malformed_request", "lines of the request head end in CR LF"},
    [GUARD_BAD_REQUEST_LINE] = {400, "malformed_request",
                                "the request line is not 'METHOD target HTTP/1.1'"},
    [GUARD_BAD_HEADER] = {400, "malformed_request",
                          "a header line is not 'Name: value' without control characters"},
    [GUARD_BAD_HOST] = {400, "malformed_request", "exactly one Host header is needed"},
    [GUARD_BAD_LENGTH] = {400, "malformed_request",
                          "Content-Length must be given once, as a plain number"},
    [GUARD_LENGTH_AND_CODING] = {400, "malformed_request",
                                 "Content-Length and Transfer-Encoding exclude each other"},
    [GUARD_BAD_CHUNK] = {400, "malformed_request",
                         "the chunked body breaks its framing (extensions and trailers are "
                         "not supported)"},
    [GUARD_BAD_CODING] = {501, "transfer_encoding",
                          "the only transfer coding this server knows is chunked"},
    [GUARD_BAD_VERSION] = {505, "http_version", "this server speaks HTTP/1.1"},
    [GUARD_TARGET_TOO_LONG] = {414, "uri_too_long", "the request target is over 8192 bytes"},
    [GUARD_HEAD_TOO_LARGE] = {431, "header_too_large",
                              "the request head is over 16384 bytes or 100 headers"},
    [GUARD_LENGTH_TOO_LARGE] = {413, "too_large", "Content-Length is beyond every limit"},
    [GUARD_BODY_UNWANTED] = {413, "too_large", "the body is over its limit"},
};

const struct guard_reason *guard_reason(enum guard_refusal refusal)
{
    assert(refusal < GUARD_REFUSAL_COUNT);
    return &reasons[refusal];
}

void guard_init(struct guard *guard)
{
    *guard = (struct guard){.phase = GUARD_PHASE_HEAD};
    buffer_init(&guard->held, HELD_BYTES_MAX);
    buffer_init(&guard->ready, HELD_BYTES_MAX + sizeof REFUSED_HEAD);
}

void guard_deinit(struct guard *guard)
{
    buffer_deinit(&guard->held);
    buffer_deinit(&guard->ready);
}

/* RFC 9110 section 5.6.2 */
static bool is_token_byte(uint8_t byte)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || (byte != 0 && strchr(others, byte) != NULL);
}

static bool is_token(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!is_token_byte(text.data[i])) {
            return false;
        }
    }
    return text.size > 0;
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

static bool is_named(struct span text, const char *name)
{
    if (text.size != strlen(name)) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (lower(text.data[i]) != (uint8_t)name[i]) {
            return false;
        }
    }
    return true;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static struct span trim(struct span text)
{
    while (text.size > 0 && is_blank(text.data[0])) {
        text = span_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && is_blank(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* What the framing depends on, collected from the header lines of one head. */
struct head {
    bool is_1_1;
    bool has_length;
    uint64_t length;
    bool chunked;
    bool has_coding;
    size_t hosts_count;
    size_t headers_count;
    bool has_cookie;
};

/* spec: RFC 9112 section 3 — exactly one space between the parts */
static enum guard_refusal read_request_line(struct span line, struct head *head)
{
    const uint8_t *first = memchr(line.data, ' ', line.size);
    if (first == NULL) {
        return GUARD_BAD_REQUEST_LINE;
    }
    struct span method = span_of(line.data, (size_t)(first - line.data));
    struct span rest = span_of(first + 1, line.size - method.size - 1);
    const uint8_t *second = rest.size > 0 ? memchr(rest.data, ' ', rest.size) : NULL;
    if (second == NULL || !is_token(method) || method.size > GUARD_METHOD_BYTES_MAX) {
        return GUARD_BAD_REQUEST_LINE;
    }
    struct span target = span_of(rest.data, (size_t)(second - rest.data));
    struct span version = span_of(second + 1, rest.size - target.size - 1);
    if (target.size > GUARD_TARGET_BYTES_MAX) {
        return GUARD_TARGET_TOO_LONG;
    }
    for (size_t i = 0; i < target.size; i++) {
        if (target.data[i] <= ' ' || target.data[i] >= 0x7f) {
            return GUARD_BAD_REQUEST_LINE;
        }
    }
    /* origin, asterisk, absolute and authority form; GUARD_REFUSED_TARGET is none of them */
    if (target.size == 0 || (target.data[0] != '/' && target.data[0] != '*' &&
                             target.data[0] != '[' && !is_digit(target.data[0]) &&
                             (lower(target.data[0]) < 'a' || lower(target.data[0]) > 'z'))) {
        return GUARD_BAD_REQUEST_LINE;
    }
    if (version.size != 8 || memcmp(version.data, "HTTP/", 5) != 0 || !is_digit(version.data[5]) ||
        version.data[6] != '.' || !is_digit(version.data[7])) {
        return GUARD_BAD_REQUEST_LINE;
    }
    head->is_1_1 = span_equal_text(version, "HTTP/1.1");
    return head->is_1_1 || span_equal_text(version, "HTTP/1.0") ? GUARD_FINE : GUARD_BAD_VERSION;
}

/* spec: RFC 9112 section 6.3 — lists and repetitions of equal values are refused too */
static enum guard_refusal read_length(struct span value, struct head *head)
{
    if (head->has_length || value.size == 0) {
        return GUARD_BAD_LENGTH;
    }
    for (size_t i = 0; i < value.size; i++) {
        if (!is_digit(value.data[i])) {
            return GUARD_BAD_LENGTH;
        }
    }
    while (value.size > 1 && value.data[0] == '0') {
        value = span_of(value.data + 1, value.size - 1);
    }
    if (value.size > LENGTH_DIGITS_MAX) {
        return GUARD_LENGTH_TOO_LARGE;
    }
    uint64_t length = 0;
    for (size_t i = 0; i < value.size; i++) {
        length = length * 10 + (uint64_t)(value.data[i] - '0');
    }
    head->has_length = true;
    head->length = length;
    return length > INT64_MAX ? GUARD_LENGTH_TOO_LARGE : GUARD_FINE;
}

static enum guard_refusal read_header(struct span line, struct head *head)
{
    const uint8_t *colon = memchr(line.data, ':', line.size);
    if (colon == NULL) {
        return GUARD_BAD_HEADER;
    }
    struct span name = span_of(line.data, (size_t)(colon - line.data));
    struct span value = span_of(colon + 1, line.size - name.size - 1);
    if (!is_token(name)) { /* a space before the colon and a folded line end here as well */
        return GUARD_BAD_HEADER;
    }
    for (size_t i = 0; i < value.size; i++) {
        if ((value.data[i] < ' ' && value.data[i] != '\t') || value.data[i] == 0x7f) {
            return GUARD_BAD_HEADER;
        }
    }
    value = trim(value);
    head->headers_count++;
    if (is_named(name, "content-length")) {
        return read_length(value, head);
    }
    if (is_named(name, "transfer-encoding")) {
        bool again = head->has_coding;
        head->has_coding = true;
        head->chunked = is_named(value, "chunked");
        return head->chunked && !again ? GUARD_FINE : GUARD_BAD_CODING;
    }
    if (is_named(name, "host")) {
        head->hosts_count++;
    }
    head->has_cookie = head->has_cookie || is_named(name, "cookie");
    return GUARD_FINE;
}

/* The rules that concern the whole head. */
static enum guard_refusal check_head(const struct head *head)
{
    if (head->headers_count > GUARD_HEADERS_MAX) {
        return GUARD_HEAD_TOO_LARGE;
    }
    if (head->has_coding && !head->is_1_1) {
        return GUARD_BAD_CODING;
    }
    if (head->hosts_count > 1 || (head->is_1_1 && head->hosts_count == 0)) {
        return GUARD_BAD_HOST;
    }
    return GUARD_FINE;
}

/*
 * A whole head, its final empty line included; every LF in it follows a CR. All
 * lines are read, so that two ways of framing are seen whatever else is wrong.
 */
static enum guard_refusal read_head(struct span text, struct head *head)
{
    enum guard_refusal refusal = GUARD_FINE;
    size_t at = 0;
    for (bool first = true;; first = false) {
        const uint8_t *end = memchr(text.data + at, '\n', text.size - at);
        assert(end != NULL);
        struct span line = span_of(text.data + at, (size_t)(end - text.data) - at - 1);
        at += line.size + 2;
        if (line.size == 0) {
            break;
        }
        enum guard_refusal found = first ? read_request_line(line, head) : read_header(line, head);
        refusal = refusal == GUARD_FINE ? found : refusal;
    }
    if (head->has_coding && head->has_length) {
        return GUARD_LENGTH_AND_CODING;
    }
    return refusal != GUARD_FINE ? refusal : check_head(head);
}

/* From here on nothing passes; the adapter sees `substitute` in place of what was refused. */
static void refuse(struct guard *guard, enum guard_refusal refusal, const char *substitute)
{
    guard->phase = GUARD_PHASE_REFUSED;
    guard->refusal = refusal;
    guard->refused_request = guard->heads_count;
    buffer_append_text(&guard->ready, substitute);
}

static void refuse_head(struct guard *guard, enum guard_refusal refusal)
{
    guard->heads_count++;
    refuse(guard, refusal, REFUSED_HEAD);
}

/*
 * Look for the end of the head that starts at text.data.
 *
 *   searched  bytes known to hold no end; grows
 *   size_out  bytes of the head, 0 = the end is not there yet
 */
static enum guard_refusal find_end(struct span text, size_t *searched, size_t *size_out)
{
    *size_out = 0;
    size_t at = *searched;
    for (;;) {
        const uint8_t *end = at < text.size ? memchr(text.data + at, '\n', text.size - at) : NULL;
        if (end == NULL) {
            *searched = text.size;
            return GUARD_FINE;
        }
        at = (size_t)(end - text.data) + 1;
        if (at < 2 || text.data[at - 2] != '\r') {
            return GUARD_BAD_LINE_END;
        }
        if (at == 2 || (at >= 4 && text.data[at - 3] == '\n')) {
            *size_out = at;
            return GUARD_FINE;
        }
    }
}

/* Past its limit without an end: was it the target or the whole? */
static enum guard_refusal judge_endless(struct span text)
{
    bool in_first_line = memchr(text.data, '\n', text.size) == NULL;
    return in_first_line ? GUARD_TARGET_TOO_LONG : GUARD_HEAD_TOO_LARGE;
}

static void begin_body(struct guard *guard, const struct head *head)
{
    guard->heads_count++;
    guard->body_bytes = 0;
    if (head->chunked) {
        guard->phase = GUARD_PHASE_CHUNK_SIZE;
    } else if (head->length > 0) {
        guard->phase = GUARD_PHASE_BODY;
        guard->body_left = head->length;
    }
}

/* A head that has no end yet: refuse at once what its beginning already forbids. */
static void judge_unfinished(struct guard *guard, struct span text)
{
    const uint8_t *end = guard->line_seen ? NULL : memchr(text.data, '\n', text.size);
    if (end != NULL) {
        struct head head = {0};
        struct span line = span_of(text.data, (size_t)(end - text.data) - 1);
        enum guard_refusal refusal = read_request_line(line, &head);
        guard->line_seen = true;
        if (refusal != GUARD_FINE) {
            refuse_head(guard, refusal);
            return;
        }
    }
    if (text.size > GUARD_HEAD_BYTES_MAX) {
        refuse_head(guard, judge_endless(text));
    }
}

/* What the library must not act on; see GUARD_QUERY_MARK. */
static void mask_head(const struct head *head, uint8_t *bytes, size_t size)
{
    uint8_t *line = bytes;
    uint8_t *line_end = memchr(line, '\n', size);
    for (uint8_t *at = line; at < line_end; at++) {
        *at = *at == '?' ? GUARD_QUERY_MARK : *at;
    }
    while (head->has_cookie && line_end != NULL) {
        line = line_end + 1;
        size_t left = size - (size_t)(line - bytes);
        line_end = memchr(line, '\n', left);
        if (left > sizeof "cookie" && is_named(span_of(line, 6), "cookie") && line[6] == ':') {
            line[0] = 'x';
        }
    }
}

/* Returns bytes that pass; 0 = more are needed, or refused. */
static size_t take_head(struct guard *guard, uint8_t *bytes, size_t bytes_size)
{
    struct span text = span_of(bytes, bytes_size);
    size_t size = 0;
    enum guard_refusal refusal = find_end(text, &guard->searched, &size);
    if (refusal == GUARD_FINE && size == 0) {
        judge_unfinished(guard, text);
        return 0;
    }
    guard->searched = 0;
    guard->line_seen = false;
    struct head head = {0};
    if (refusal == GUARD_FINE && size == 2) {
        refusal = GUARD_BAD_REQUEST_LINE; /* an empty line where a request should begin */
    }
    if (refusal == GUARD_FINE) {
        refusal = read_head(span_of(text.data, size), &head);
    }
    if (refusal == GUARD_FINE && size > GUARD_HEAD_BYTES_MAX) {
        refusal = GUARD_HEAD_TOO_LARGE;
    }
    if (refusal != GUARD_FINE) {
        refuse_head(guard, refusal);
        return 0;
    }
    begin_body(guard, &head);
    mask_head(&head, bytes, size);
    return size;
}

static int hex_value(uint8_t byte)
{
    if (is_digit(byte)) {
        return byte - '0';
    }
    byte = lower(byte);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/*
 * spec: RFC 9112 section 7.1 — chunk-size CRLF; extensions and trailers, which
 * nobody needs and readings differ on, are refused. The last chunk passes only
 * together with the empty line that ends the body.
 */
static size_t take_chunk_size(struct guard *guard, struct span text)
{
    uint64_t size = 0;
    size_t at = 0;
    if (guard->body_unwanted) {
        refuse(guard, GUARD_BODY_UNWANTED, "0\r\n\r\n");
        return 0;
    }
    for (; at < text.size && hex_value(text.data[at]) >= 0; at++) {
        if (at == GUARD_CHUNK_DIGITS_MAX) {
            refuse(guard, GUARD_BAD_CHUNK, "0\r\n\r\n");
            return 0;
        }
        size = size << 4 | (uint64_t)hex_value(text.data[at]);
    }
    static const char last_end[] = "\r\n\r\n";
    size_t end_size = size == 0 ? 4 : 2;
    size_t there = text.size - at < end_size ? text.size - at : end_size;
    bool matches = memcmp(text.data + at, last_end, there) == 0;
    if (!matches || (there > 0 && at == 0) || size > INT64_MAX) {
        refuse(guard, GUARD_BAD_CHUNK, "0\r\n\r\n");
        return 0;
    }
    if (there < end_size) {
        return 0;
    }
    guard->body_left = size;
    guard->phase = size == 0 ? GUARD_PHASE_HEAD : GUARD_PHASE_CHUNK_DATA;
    return at + end_size;
}

static size_t take_chunk_end(struct guard *guard, struct span text)
{
    size_t there = text.size < 2 ? text.size : 2;
    if (memcmp(text.data, "\r\n", there) != 0) {
        refuse(guard, GUARD_BAD_CHUNK, "\r\n0\r\n\r\n");
        return 0;
    }
    if (there < 2) {
        return 0;
    }
    guard->phase = GUARD_PHASE_CHUNK_SIZE;
    return 2;
}

static size_t take_body(struct guard *guard, struct span text)
{
    size_t size = text.size < guard->body_left ? text.size : (size_t)guard->body_left;
    guard->body_left -= size;
    guard->body_bytes += size;
    if (guard->body_left == 0) {
        guard->phase = guard->phase == GUARD_PHASE_BODY ? GUARD_PHASE_HEAD : GUARD_PHASE_CHUNK_END;
    }
    return size;
}

/* Walk over units of the stream; returns bytes that pass. The rest is an unfinished unit. */
static size_t scan(struct guard *guard, uint8_t *bytes, size_t bytes_size)
{
    size_t passed = 0;
    while (passed < bytes_size && guard->phase != GUARD_PHASE_REFUSED) {
        struct span rest = span_of(bytes + passed, bytes_size - passed);
        size_t size = 0;
        switch (guard->phase) {
        case GUARD_PHASE_HEAD:
            size = take_head(guard, bytes + passed, rest.size);
            break;
        case GUARD_PHASE_BODY:
        case GUARD_PHASE_CHUNK_DATA:
            size = take_body(guard, rest);
            break;
        case GUARD_PHASE_CHUNK_SIZE:
            size = take_chunk_size(guard, rest);
            break;
        case GUARD_PHASE_CHUNK_END:
            size = take_chunk_end(guard, rest);
            break;
        case GUARD_PHASE_REFUSED:
            break;
        }
        if (size == 0) {
            break;
        }
        passed += size;
    }
    return passed;
}

/* Scan what is held; what passes becomes ready, in front of a substitute that the scan made. */
static void feed_held(struct guard *guard)
{
    struct buffer held = guard->held;
    buffer_init(&guard->held, HELD_BYTES_MAX);
    size_t passed = scan(guard, held.data, held.size);
    struct buffer substitute = guard->ready;
    buffer_init(&guard->ready, substitute.size_max);
    buffer_append(&guard->ready, held.data, passed);
    buffer_append_span(&guard->ready, buffer_span(&substitute));
    if (guard->phase != GUARD_PHASE_REFUSED && passed < held.size) {
        buffer_append(&guard->held, held.data + passed, held.size - passed);
    }
    buffer_deinit(&substitute);
    buffer_deinit(&held);
}

size_t guard_feed(struct guard *guard, uint8_t *bytes, size_t size)
{
    assert(!guard_has_ready(guard));
    assert(size <= HELD_BYTES_MAX - GUARD_HEAD_BYTES_MAX);
    buffer_reset(&guard->ready);
    guard->ready_taken = 0;
    if (guard->phase == GUARD_PHASE_REFUSED) {
        return 0;
    }
    if (guard->held.size > 0) {
        buffer_append(&guard->held, bytes, size);
        feed_held(guard);
        return 0;
    }
    size_t passed = scan(guard, bytes, size);
    if (guard->phase != GUARD_PHASE_REFUSED && passed < size) {
        buffer_append(&guard->held, bytes + passed, size - passed);
    }
    return passed;
}

size_t guard_take(struct guard *guard, uint8_t *bytes_out, size_t size)
{
    size_t left = guard->ready.size - guard->ready_taken;
    size_t taken = left < size ? left : size;
    if (taken > 0) {
        memcpy(bytes_out, guard->ready.data + guard->ready_taken, taken);
        guard->ready_taken += taken;
    }
    return taken;
}

void guard_end_body(struct guard *guard)
{
    guard->body_unwanted = guard->phase == GUARD_PHASE_CHUNK_DATA ||
                           guard->phase == GUARD_PHASE_CHUNK_END ||
                           guard->phase == GUARD_PHASE_CHUNK_SIZE;
}
