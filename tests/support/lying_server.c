/*
 * The lying server: sockets, a thread a connection, answers from a script. See
 * lying_server.h for the contract.
 */
#include "tests/support/lying_server.h"

#include "storage/base/buffer.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LIES_MAX = 512,
    CONNECTIONS_MAX = 4096,
    REQUESTS_MAX = 65536,
    HEAD_BYTES_MAX = 256 << 10,
    BODY_BYTES_MAX = 64 << 20,
    LENGTH_TRUE = -1,
    LENGTH_NONE = -2,
};

enum lie_kind { LIE_ANSWER, LIE_HANG, LIE_CLOSE, LIE_RESET, LIE_GARBAGE };

/* One line of the script. */
struct lie {
    char *path;
    enum lie_kind kind;
    int status;
    struct buffer headers; /* lines ended by CRLF */
    struct buffer body;
    char *file;
    char *verify;
    int64_t length;
    int64_t repeat, chunked, cut, drip_ms, delay_ms, filler; /* cut -1 = whole */
    bool endless, keep;
};

struct record {
    char *path;
    char *head; /* NUL-terminated, lines ended by LF */
    struct buffer body;
};

struct connection {
    struct lying_server *server;
    pthread_t thread;
    int fd;
    gnutls_session_t tls; /* NULL = plain */
};

struct lying_server {
    struct lie lies[LIES_MAX]; /* set once, like all up to the lock */
    size_t lies_count;
    FILE *log;
    lying_verify_fn *verify;
    bool secure;
    gnutls_certificate_credentials_t credentials;
    uint16_t port;
    int listener;
    int stop_pipe[2]; /* readable: stop */
    pthread_t acceptor;

    pthread_mutex_t mutex; /* guards what follows */
    struct connection *connections[CONNECTIONS_MAX];
    size_t connections_count;
    struct record *records;
    size_t records_count;
};

static void stop_process(const char *what)
{
    (void)fprintf(stderr, "lying server: %s\n", what); /* on the way out */
    abort();
}

/* ---- the script ---- */

/* The next word; quotes hold blanks together and escapes are undone. False at the end. */
static bool next_word(struct span *line, struct buffer *word)
{
    buffer_reset(word);
    size_t at = 0;
    while (at < line->size && line->data[at] == ' ') {
        at++;
    }
    bool any = at < line->size;
    bool quoted = false;
    for (; at < line->size && (quoted || line->data[at] != ' '); at++) {
        uint8_t byte = line->data[at];
        if (byte == '"') {
            quoted = !quoted;
            continue;
        }
        if (byte == '\\' && at + 1 < line->size) {
            at++;
            byte = line->data[at] == 'n'   ? '\n'
                   : line->data[at] == 't' ? '\t'
                   : line->data[at] == 'r' ? '\r'
                                           : line->data[at];
        }
        buffer_append_byte(word, byte);
    }
    *line = span_part(*line, at, line->size);
    return any;
}

static char *text_of(struct span span)
{
    char *text = mem_zeroed(span.size + 1, 1);
    if (span.size > 0) {
        memcpy(text, span.data, span.size);
    }
    return text;
}

static int64_t number_of(struct span value)
{
    int64_t number = 0;
    if (!text_parse_int64(value, &number)) {
        stop_process("an option needs a number");
    }
    return number;
}

static void set_what(struct lie *lie, struct span word)
{
    static const char *const kinds[] = {[LIE_HANG] = "hang",
                                        [LIE_CLOSE] = "close",
                                        [LIE_RESET] = "reset",
                                        [LIE_GARBAGE] = "garbage"};
    for (size_t i = LIE_HANG; i <= LIE_GARBAGE; i++) {
        if (span_equal_text(word, kinds[i])) {
            lie->kind = (enum lie_kind)i;
            return;
        }
    }
    lie->kind = LIE_ANSWER;
    lie->status = (int)number_of(word);
}

static void add_header(struct lie *lie, const char *name, struct span value)
{
    buffer_append_text(&lie->headers, name);
    buffer_append_span(&lie->headers, value);
    buffer_append_text(&lie->headers, "\r\n");
}

static bool set_number(struct lie *lie, struct span name, struct span value)
{
    const struct {
        const char *name;
        int64_t *number;
    } numbers[] = {{"repeat", &lie->repeat}, {"chunked", &lie->chunked}, {"cut", &lie->cut},
                   {"drip", &lie->drip_ms},  {"delay", &lie->delay_ms},  {"filler", &lie->filler}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (span_equal_text(name, numbers[i].name)) {
            *numbers[i].number = number_of(value);
            return true;
        }
    }
    return false;
}

static bool set_header(struct lie *lie, struct span name, struct span value)
{
    static const struct {
        const char *name;
        const char *header;
    } headers[] = {{"type", "Content-Type: "},       {"etag", "ETag: "},
                   {"location", "Location: "},       {"link", "Link: "},
                   {"retry-after", "Retry-After: "}, {"header", ""}};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        if (span_equal_text(name, headers[i].name)) {
            add_header(lie, headers[i].header, value);
            return true;
        }
    }
    return false;
}

static void set_option(struct lie *lie, struct span word)
{
    size_t equals = 0;
    while (equals < word.size && word.data[equals] != '=') {
        equals++;
    }
    struct span name = span_part(word, 0, equals);
    struct span value =
        equals < word.size ? span_part(word, equals + 1, word.size) : (struct span){0};
    if (set_number(lie, name, value) || set_header(lie, name, value)) {
        return;
    }
    if (span_equal_text(name, "body")) {
        buffer_append_span(&lie->body, value);
    } else if (span_equal_text(name, "file")) {
        lie->file = text_of(value);
    } else if (span_equal_text(name, "verify")) {
        lie->verify = text_of(value);
    } else if (span_equal_text(name, "length")) {
        lie->length = span_equal_text(value, "none") ? LENGTH_NONE : number_of(value);
    } else if (span_equal_text(word, "endless")) {
        lie->endless = true;
    } else if (span_equal_text(word, "keep")) {
        lie->keep = true;
    } else {
        stop_process("unknown option in the script");
    }
}

static void add_lie(struct lying_server *server, struct span line)
{
    struct buffer word;
    buffer_init(&word, BODY_BYTES_MAX);
    if (line.size > 0 && line.data[0] != '#' && next_word(&line, &word)) {
        if (server->lies_count == LIES_MAX) {
            stop_process("the script is too long");
        }
        struct lie *lie = &server->lies[server->lies_count++];
        *lie = (struct lie){.length = LENGTH_TRUE, .repeat = 1, .cut = -1};
        buffer_init(&lie->headers, HEAD_BYTES_MAX);
        buffer_init(&lie->body, BODY_BYTES_MAX);
        lie->path = text_of(buffer_span(&word));
        if (!next_word(&line, &word)) {
            stop_process("a line of the script says no answer");
        }
        set_what(lie, buffer_span(&word));
        while (next_word(&line, &word)) {
            set_option(lie, buffer_span(&word));
        }
    }
    buffer_deinit(&word);
}

static void parse_script(struct lying_server *server, const char *script)
{
    while (*script != '\0') {
        size_t size = strcspn(script, "\n");
        add_lie(server, span_of(script, size));
        script += size + (script[size] == '\n');
    }
}

/* The answer to a path's n-th request, from 0; NULL = none is written. */
static const struct lie *choose(const struct lying_server *server, const char *path, int n)
{
    const struct lie *chosen = NULL;
    for (size_t i = 0; i < server->lies_count && n >= 0; i++) {
        if (strcmp(server->lies[i].path, path) == 0) {
            chosen = &server->lies[i];
            n--;
        }
    }
    return chosen;
}

/* ---- a connection ---- */

/* Wait until `events` or a stop; false = stop, or `timeout_ms` (-1 = none) is over. */
static bool wait_for(const struct connection *connection, short events, int timeout_ms)
{
    struct pollfd polled[2] = {{.fd = connection->server->stop_pipe[0], .events = POLLIN},
                               {.fd = connection->fd, .events = events}};
    int ready = poll(polled, events != 0 ? 2 : 1, timeout_ms);
    return ready > 0 && polled[0].revents == 0;
}

static ssize_t receive(struct connection *connection, void *bytes, size_t size)
{
    for (;;) {
        bool pending = connection->tls != NULL && gnutls_record_check_pending(connection->tls) > 0;
        if (!pending && !wait_for(connection, POLLIN, -1)) {
            return -1;
        }
        ssize_t got = connection->tls != NULL ? gnutls_record_recv(connection->tls, bytes, size)
                                              : recv(connection->fd, bytes, size, 0);
        if (connection->tls == NULL || (got != GNUTLS_E_AGAIN && got != GNUTLS_E_INTERRUPTED)) {
            return got;
        }
    }
}

static bool send_all(struct connection *connection, struct span bytes)
{
    while (bytes.size > 0) {
        if (!wait_for(connection, POLLOUT, -1)) {
            return false;
        }
        ssize_t sent = connection->tls != NULL
                           ? gnutls_record_send(connection->tls, bytes.data, bytes.size)
                           : send(connection->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (connection->tls != NULL && (sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED)) {
            continue;
        }
        if (sent <= 0) {
            return false;
        }
        bytes = span_part(bytes, (size_t)sent, bytes.size);
    }
    return true;
}

static void pause_ms(const struct connection *connection, int64_t milliseconds)
{
    (void)wait_for(connection, 0, (int)milliseconds); /* ends early at a stop only */
}

/* ---- a request ---- */

/* The value of a header in a head of LF lines; data NULL = none. */
static struct span find_header(const char *head, const char *name)
{
    size_t size = strlen(name);
    const char *line = strchr(head, '\n');
    while (line != NULL && *++line != '\0') {
        if (strncasecmp(line, name, size) == 0 && line[size] == ':') {
            const char *value = line + size + 1;
            value += strspn(value, " ");
            return span_of(value, strcspn(value, "\n"));
        }
        line = strchr(line, '\n');
    }
    return (struct span){0};
}

/* Read until the blank line; what follows it is the beginning of the body. */
static bool read_head(struct connection *connection, struct record *record)
{
    struct buffer head;
    buffer_init(&head, HEAD_BYTES_MAX);
    bool done = false;
    while (!done && !head.overflowed) {
        uint8_t byte = 0;
        if (receive(connection, &byte, 1) != 1) {
            break;
        }
        if (byte != '\r') {
            buffer_append_byte(&head, byte);
        }
        done =
            head.size >= 2 && head.data[head.size - 1] == '\n' && head.data[head.size - 2] == '\n';
    }
    if (done) {
        head.size--;
        record->head = text_of(buffer_span(&head));
        const char *space = strchr(record->head, ' ');
        record->path = space != NULL ? text_of(span_of(space + 1, strcspn(space + 1, " \n")))
                                     : mem_copy_text("");
    }
    buffer_deinit(&head);
    return done;
}

static bool read_body(struct connection *connection, struct record *record)
{
    int64_t size = 0;
    struct span length = find_header(record->head, "Content-Length");
    if (length.data != NULL) {
        size = number_of(length);
    }
    buffer_init(&record->body, BODY_BYTES_MAX);
    while ((int64_t)record->body.size < size) {
        uint8_t bytes[16384];
        int64_t missing = size - (int64_t)record->body.size;
        ssize_t got = receive(connection, bytes,
                              missing < (int64_t)sizeof bytes ? (size_t)missing : sizeof bytes);
        if (got <= 0) {
            return false;
        }
        buffer_append(&record->body, bytes, (size_t)got);
    }
    return true;
}

static void record_deinit(struct record *record)
{
    mem_free(record->path);
    mem_free(record->head);
    buffer_deinit(&record->body);
}

/* {"method":…,"path":…,"headers":{…},"body":…,"status":…} */
static void write_log(struct lying_server *server, const struct record *record, int status)
{
    CLEANUP(json_free) struct json *line = json_new_object();
    struct json *headers = json_new_object();
    json_set(line, "method", json_new_string(span_of(record->head, strcspn(record->head, " "))));
    json_set_text(line, "path", record->path);
    for (const char *at = strchr(record->head, '\n'); at != NULL && *++at != '\0';
         at = strchr(at, '\n')) {
        char name[64] = "";
        for (size_t i = 0; i < sizeof name - 1 && at[i] != ':' && at[i] != '\n'; i++) {
            bool upper = at[i] >= 'A' && at[i] <= 'Z';
            name[i] = (char)(upper ? at[i] - 'A' + 'a' : at[i]);
        }
        json_set(headers, name, json_new_string(find_header(record->head, name)));
    }
    json_set(line, "headers", headers);
    json_set(line, "body", json_new_string(buffer_span(&record->body)));
    json_set_integer(line, "status", status);
    struct buffer text;
    buffer_init(&text, (size_t)8 * BODY_BYTES_MAX);
    json_write(line, &text);
    (void)fprintf(server->log, "%.*s\n", SPAN_PRINT(buffer_span(&text))); /* a test reads it */
    (void)fflush(server->log);
    buffer_deinit(&text);
}

/* ---- an answer ---- */

static const char *reason_phrase(int status)
{
    return status < 300 ? "OK" : status < 400 ? "Elsewhere" : "Trouble";
}

/* Replace %PORT% and append. */
static void append_headers(struct buffer *head, struct span headers, uint16_t port)
{
    static const char mark[] = "%PORT%";
    for (size_t i = 0; i < headers.size; i++) {
        if (headers.size - i >= sizeof mark - 1 &&
            memcmp(headers.data + i, mark, sizeof mark - 1) == 0) {
            buffer_append_format(head, "%u", port);
            i += sizeof mark - 2;
        } else {
            buffer_append_byte(head, headers.data[i]);
        }
    }
}

static void load_body(const struct lie *lie, struct buffer *body)
{
    buffer_append_span(body, buffer_span(&lie->body));
    if (lie->file == NULL) {
        return;
    }
    FILE *file = fopen(lie->file, "rb");
    if (file == NULL) {
        stop_process("a file of the script is missing");
    }
    for (;;) {
        uint8_t bytes[16384];
        size_t got = fread(bytes, 1, sizeof bytes, file);
        if (got == 0) {
            break;
        }
        buffer_append(body, bytes, got);
    }
    (void)fclose(file); /* was only read */
}

/* One run of the body, in chunks or drips if the script says so. False: stop sending. */
static bool send_body(struct connection *connection, const struct lie *lie, struct span body,
                      int64_t *sent)
{
    while (body.size > 0) {
        size_t size = lie->drip_ms > 0 ? 1 : body.size;
        size = lie->chunked > 0 && size > (size_t)lie->chunked ? (size_t)lie->chunked : size;
        int64_t left = lie->cut < 0 ? INT64_MAX : lie->cut - *sent;
        size = (int64_t)size > left ? (size_t)left : size;
        if (size == 0) {
            return false;
        }
        char frame[32];
        int length = snprintf(frame, sizeof frame, "%zx\r\n", size);
        bool chunked = lie->chunked > 0;
        if ((chunked && !send_all(connection, span_of(frame, (size_t)length))) ||
            !send_all(connection, span_part(body, 0, size)) ||
            (chunked && !send_all(connection, span_of_text("\r\n")))) {
            return false;
        }
        *sent += (int64_t)size;
        body = span_part(body, size, body.size);
        if (lie->drip_ms > 0) {
            pause_ms(connection, lie->drip_ms);
        }
    }
    return true;
}

static void build_head(const struct lying_server *server, const struct lie *lie, int status,
                       size_t body_size, struct buffer *head)
{
    buffer_append_format(head, "HTTP/1.1 %d %s\r\n", status, reason_phrase(status));
    append_headers(head, buffer_span(&lie->headers), server->port);
    if (lie->chunked > 0) {
        buffer_append_text(head, "Transfer-Encoding: chunked\r\n");
    } else if (lie->length != LENGTH_NONE) {
        int64_t length =
            lie->length == LENGTH_TRUE ? (int64_t)body_size * lie->repeat : lie->length;
        buffer_append_format(head, "Content-Length: %lld\r\n", (long long)length);
    }
    if (lie->filler > 0) {
        buffer_append_text(head, "X-Filler: ");
        for (int64_t i = 0; i < lie->filler; i++) {
            buffer_append_byte(head, 'f');
        }
        buffer_append_text(head, "\r\n");
    }
    buffer_append_text(head, lie->keep ? "\r\n" : "Connection: close\r\n\r\n");
}

/* True when the connection goes on. */
static bool send_answer(struct connection *connection, const struct lie *lie, int status,
                        bool with_body)
{
    struct buffer body;
    struct buffer head;
    buffer_init(&body, BODY_BYTES_MAX);
    buffer_init(&head, (size_t)64 << 20);
    if (status == lie->status) {
        load_body(lie, &body);
    }
    build_head(connection->server, lie, status, body.size, &head);
    bool going = send_all(connection, buffer_span(&head));
    int64_t sent = 0;
    for (int64_t i = 0; with_body && going && (lie->endless || i < lie->repeat); i++) {
        going = send_body(connection, lie, buffer_span(&body), &sent);
        going = going && (body.size > 0 || !lie->endless);
    }
    if (with_body && going && lie->chunked > 0) {
        going = send_all(connection, span_of_text("0\r\n\r\n"));
    }
    buffer_deinit(&body);
    buffer_deinit(&head);
    return going && lie->keep;
}

static bool verifies(const struct lying_server *server, const struct lie *lie,
                     const struct record *record)
{
    if (lie->verify == NULL) {
        return true;
    }
    if (server->verify == NULL) {
        stop_process("nobody here can verify a signature");
    }
    return server->verify(lie->verify, find_header(record->head, "webhook-id"),
                          find_header(record->head, "webhook-timestamp"),
                          find_header(record->head, "webhook-signature"),
                          buffer_span(&record->body));
}

/* True when the connection goes on. */
static bool answer(struct connection *connection, const struct lie *lie,
                   const struct record *record)
{
    static const struct lie nothing = {
        .status = 404, .length = LENGTH_TRUE, .repeat = 1, .cut = -1};
    lie = lie != NULL ? lie : &nothing;
    if (lie->delay_ms > 0) {
        pause_ms(connection, lie->delay_ms);
    }
    switch (lie->kind) {
    case LIE_ANSWER: {
        int status = verifies(connection->server, lie, record) ? lie->status : 401;
        return send_answer(connection, lie, status, strncmp(record->head, "HEAD ", 5) != 0);
    }
    case LIE_HANG: {
        uint8_t byte = 0;
        (void)receive(connection, &byte, 1); /* until the client leaves or we stop */
        return false;
    }
    case LIE_GARBAGE:
        (void)send_all(connection, span_of_text("\x7f"
                                                "ELF is not what you asked for\n\n"));
        return false;
    case LIE_RESET: {
        const struct linger hard = {.l_onoff = 1};
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); /* RST */
        return false;
    }
    case LIE_CLOSE:
        return false;
    }
    return false;
}

/* Keep the record; how many requests its path had before. */
static int keep_record(struct lying_server *server, struct record *record)
{
    pthread_mutex_lock(&server->mutex);
    int before = 0;
    for (size_t i = 0; i < server->records_count; i++) {
        before += strcmp(server->records[i].path, record->path) == 0;
    }
    if (server->records_count == REQUESTS_MAX) {
        stop_process("too many requests");
    }
    server->records =
        mem_resize(server->records, server->records_count + 1, sizeof *server->records);
    server->records[server->records_count++] = *record;
    const struct lie *lie = choose(server, record->path, before);
    if (server->log != NULL) {
        int status = lie == NULL ? 404 : verifies(server, lie, record) ? lie->status : 401;
        write_log(server, record, status);
    }
    pthread_mutex_unlock(&server->mutex);
    return before;
}

static void serve(struct connection *connection)
{
    bool going = true;
    while (going) {
        struct record record = {0};
        if (!read_head(connection, &record) || !read_body(connection, &record)) {
            record_deinit(&record);
            return;
        }
        int before = keep_record(connection->server, &record); /* takes what it points to */
        going = answer(connection, choose(connection->server, record.path, before), &record);
    }
}

static bool shake_hands(struct connection *connection)
{
    if (!connection->server->secure) {
        return true;
    }
    gnutls_init(&connection->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK);
    gnutls_set_default_priority(connection->tls);
    gnutls_credentials_set(connection->tls, GNUTLS_CRD_CERTIFICATE,
                           connection->server->credentials);
    gnutls_transport_set_int(connection->tls, connection->fd);
    for (;;) {
        int result = gnutls_handshake(connection->tls);
        if (result != GNUTLS_E_AGAIN && result != GNUTLS_E_INTERRUPTED) {
            return result == GNUTLS_E_SUCCESS;
        }
        bool writes = gnutls_record_get_direction(connection->tls) == 1;
        if (!wait_for(connection, writes ? POLLOUT : POLLIN, -1)) {
            return false;
        }
    }
}

static void *run_connection(void *arg)
{
    struct connection *connection = arg;
    if (shake_hands(connection)) {
        serve(connection);
    }
    if (connection->tls != NULL) {
        gnutls_deinit(connection->tls);
    }
    (void)close(connection->fd); /* nothing to be lost */
    return NULL;
}

static void *accept_all(void *arg)
{
    struct lying_server *server = arg;
    for (;;) {
        struct pollfd polled[2] = {{.fd = server->stop_pipe[0], .events = POLLIN},
                                   {.fd = server->listener, .events = POLLIN}};
        if (poll(polled, 2, -1) < 0 || polled[0].revents != 0) {
            return NULL;
        }
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        int on = 1; /* head and body go out by themselves, and must not wait for each other */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* only slower without */
        struct connection *connection = mem_zeroed(1, sizeof *connection);
        connection->server = server;
        connection->fd = fd;
        if (server->secure) {
            (void)fcntl(fd, F_SETFL, O_NONBLOCK); /* gnutls is told so */
        }
        pthread_mutex_lock(&server->mutex);
        if (server->connections_count == CONNECTIONS_MAX ||
            pthread_create(&connection->thread, NULL, run_connection, connection) != 0) {
            stop_process("too many connections");
        }
        server->connections[server->connections_count++] = connection;
        pthread_mutex_unlock(&server->mutex);
    }
}

/* ---- TLS ---- */

static void set_names(gnutls_x509_crt_t certificate, const char *host)
{
    struct in_addr ipv4;
    gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, host,
                                  (unsigned)strlen(host));
    if (inet_pton(AF_INET, host, &ipv4) == 1) {
        gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, &ipv4, sizeof ipv4,
                                             GNUTLS_FSAN_SET);
    } else {
        gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, host,
                                             (unsigned)strlen(host), GNUTLS_FSAN_SET);
    }
}

/* A certificate that signs itself, written for clients to trust. */
static void make_certificate(struct lying_server *server, const char *host, const char *path)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t certificate;
    gnutls_datum_t pem;
    uint8_t serial[4] = {1, 2, 3, 4};
    gnutls_x509_privkey_init(&key);
    gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    gnutls_x509_crt_init(&certificate);
    gnutls_x509_crt_set_version(certificate, 3);
    gnutls_x509_crt_set_serial(certificate, serial, sizeof serial);
    gnutls_x509_crt_set_activation_time(certificate, time(NULL) - 60);
    gnutls_x509_crt_set_expiration_time(certificate, time(NULL) + 86400);
    gnutls_x509_crt_set_basic_constraints(certificate, 1, 0);
    set_names(certificate, host);
    gnutls_x509_crt_set_key(certificate, key);
    if (gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0) != 0 ||
        gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem) != 0) {
        stop_process("no certificate");
    }
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(pem.data, 1, pem.size, file) != pem.size || fclose(file) != 0) {
        stop_process("the certificate cannot be written");
    }
    gnutls_free(pem.data);
    gnutls_certificate_allocate_credentials(&server->credentials);
    gnutls_certificate_set_x509_key(server->credentials, &certificate, 1, key);
    gnutls_x509_crt_deinit(certificate);
    gnutls_x509_privkey_deinit(key);
    server->secure = true;
}

/* ---- start and stop ---- */

static void listen_on_loopback(struct lying_server *server, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t size = sizeof address;
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &on,
                     sizeof on); /* a convenience */
    if (server->listener < 0 ||
        bind(server->listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(server->listener, 128) != 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &size) != 0) {
        stop_process(strerror(errno));
    }
    server->port = ntohs(address.sin_port);
}

struct lying_server *lying_server_start(const struct lying_options *options)
{
    struct lying_server *server = mem_zeroed(1, sizeof *server);
    server->log = options->log;
    server->verify = options->verify;
    pthread_mutex_init(&server->mutex, NULL);
    parse_script(server, options->script);
    if (options->tls_host != NULL) {
        make_certificate(server, options->tls_host, options->tls_ca_path);
    }
    listen_on_loopback(server, options->port);
    if (pipe2(server->stop_pipe, O_CLOEXEC) != 0 ||
        pthread_create(&server->acceptor, NULL, accept_all, server) != 0) {
        stop_process("no thread");
    }
    return server;
}

void lying_server_stop(struct lying_server **server)
{
    struct lying_server *stopped = *server;
    if (stopped == NULL) {
        return;
    }
    if (write(stopped->stop_pipe[1], "s", 1) != 1) {
        stop_process("cannot stop");
    }
    pthread_join(stopped->acceptor, NULL);
    for (size_t i = 0; i < stopped->connections_count; i++) {
        pthread_join(stopped->connections[i]->thread, NULL);
        mem_free(stopped->connections[i]);
    }
    (void)close(stopped->listener); /* nothing was written to these */
    (void)close(stopped->stop_pipe[0]);
    (void)close(stopped->stop_pipe[1]);
    for (size_t i = 0; i < stopped->records_count; i++) {
        record_deinit(&stopped->records[i]);
    }
    for (size_t i = 0; i < stopped->lies_count; i++) {
        struct lie *lie = &stopped->lies[i];
        mem_free(lie->path);
        mem_free(lie->file);
        mem_free(lie->verify);
        buffer_deinit(&lie->headers);
        buffer_deinit(&lie->body);
    }
    if (stopped->secure) {
        gnutls_certificate_free_credentials(stopped->credentials);
    }
    pthread_mutex_destroy(&stopped->mutex);
    mem_free(stopped->records);
    mem_free(stopped);
    *server = NULL;
}

uint16_t lying_server_port(const struct lying_server *server)
{
    return server->port;
}

int lying_server_connections(struct lying_server *server)
{
    pthread_mutex_lock(&server->mutex);
    int count = (int)server->connections_count;
    pthread_mutex_unlock(&server->mutex);
    return count;
}

int lying_server_requests(struct lying_server *server, const char *path)
{
    int count = 0;
    pthread_mutex_lock(&server->mutex);
    for (size_t i = 0; i < server->records_count; i++) {
        count += path == NULL || strcmp(server->records[i].path, path) == 0;
    }
    pthread_mutex_unlock(&server->mutex);
    return count;
}

char *lying_server_seen(struct lying_server *server, const char *path, const char *name)
{
    struct span seen = {0};
    pthread_mutex_lock(&server->mutex);
    for (size_t i = 0; i < server->records_count; i++) {
        const struct record *record = &server->records[i];
        if (strcmp(record->path, path) == 0) {
            seen = name[0] == '\0'             ? span_of(record->head, strcspn(record->head, "\n"))
                   : strcmp(name, "body") == 0 ? buffer_span(&record->body)
                                               : find_header(record->head, name);
        }
    }
    char *copy = text_of(seen);
    pthread_mutex_unlock(&server->mutex);
    return copy;
}
