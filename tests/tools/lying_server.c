/*
 * The lying server of tests/support as a program, for tests that are scripts: it is
 * the source that breaks, the destination that hangs, the receiver that verifies.
 *
 *   lying_server SCRIPT PORT_FILE LOG_FILE [PORT]
 *
 * Reads the script (see tests/support/lying_server.h), writes its port to PORT_FILE
 * when it listens, one JSON line a request to LOG_FILE, and serves until SIGTERM. A
 * PORT lets it come back where it was, with another script.
 */
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/text.h"
#include "storage/remote/signature.h"
#include "tests/support/lying_server.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static bool verify(const char *secret_text, struct span id, struct span timestamp,
                   struct span signature, struct span body)
{
    struct err err = {0};
    struct signature_secret secret;
    bool fits = signature_secret_parse(span_of_text(secret_text), &secret, &err) == ERR_OK &&
                signature_verify(&secret, 1, id, timestamp, signature, body,
                                 clock_wall_us() / 1000000, &err) == ERR_OK;
    if (!fits) {
        (void)fprintf(stderr, "lying server: %s\n", err.msg); /* for who reads the test's output */
    }
    return fits;
}

/* The port file appears whole: scripts wait for it. */
static bool write_port(const char *path, unsigned port)
{
    char partial[4096];
    int length = snprintf(partial, sizeof partial, "%s.new", path);
    FILE *file = length < (int)sizeof partial ? fopen(partial, "w") : NULL;
    return file != NULL && fprintf(file, "%u\n", port) > 0 && fclose(file) == 0 &&
           rename(partial, path) == 0;
}

static int serve(const struct lying_options *options, const char *port_file)
{
    sigset_t signals;
    int number = 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL); /* threads inherit it: sigwait gets both */
    struct lying_server *server = lying_server_start(options);
    if (!write_port(port_file, lying_server_port(server))) {
        (void)fprintf(stderr, "lying server: cannot write %s\n", port_file); /* on the way out */
        return 1;
    }
    (void)sigwait(&signals, &number); /* fails for no signal we ask for */
    lying_server_stop(&server);
    return 0;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct buffer script;
    int64_t port = 0;
    if (argc < 4 || argc > 5 ||
        (argc == 5 &&
         (!text_parse_int64(span_of_text(argv[4]), &port) || port < 0 || port > UINT16_MAX))) {
        (void)fputs("usage: lying_server SCRIPT PORT_FILE LOG_FILE [PORT]\n", stderr); /* ditto */
        return 64;
    }
    buffer_init(&script, 1 << 20);
    FILE *log = fopen(argv[3], "a");
    if (file_read(argv[1], &script, &err) != ERR_OK || log == NULL) {
        (void)fprintf(stderr, "lying server: %s\n", log == NULL ? argv[3] : err.msg); /* ditto */
        return 66;
    }
    buffer_append_byte(&script, 0);
    const struct lying_options options = {
        .script = (const char *)script.data,
        .port = (uint16_t)port,
        .log = log,
        .verify = verify,
    };
    int code = serve(&options, argv[2]);
    (void)fclose(log); /* each line was flushed */
    buffer_deinit(&script);
    return code;
}
