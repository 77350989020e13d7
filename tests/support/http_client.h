/*
 * A minimal HTTP/1.1 client for harnesses: one blocking keep-alive connection to
 * loopback. Never more than the harness needs; not for production.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_client {
    int fd; /* -1 = not connected */
    uint16_t port;
    char token[128];
};

struct http_answer {
    int status; /* 0 = the connection broke; nothing is known about the outcome */
    char *body; /* NUL-terminated; http_answer_deinit */
    size_t body_size;
};

void http_client_init(struct http_client *client, uint16_t port, const char *token);
void http_client_close(struct http_client *client);

/*
 * Send one request and read the answer. `extra` is further header lines, each
 * ended by CRLF, or "". Connects when needed, does not retry.
 * Returns false when the connection broke (answer_out->status is 0 then).
 */
bool http_client_call(struct http_client *client, const char *method, const char *path,
                      const char *extra, const char *body, size_t body_size,
                      struct http_answer *answer_out);
void http_answer_deinit(struct http_answer *answer);

/* Text of a member of flat JSON ("batch_id"), into `text_out`; false when absent. */
bool http_json_text(const char *json, const char *name, char *text_out, size_t size);
/* Integer of a member; false when absent. */
bool http_json_integer(const char *json, const char *name, int64_t *integer_out);
