/*
 * Destinations of exports. See destination.h. What goes to a server is spooled in a
 * nameless file first, because its length must be known and a try may be repeated.
 */
#include "workers/destination.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "storage/remote/url.h"

#include <string.h>

struct destination {
    struct destination_options options;
    struct root_output *file; /* NULL: a server */
    struct outgoing outgoing;
    const char *url;
    char origin[URL_ORIGIN_BYTES];
    int spool; /* -1 = none */
    int64_t spool_bytes;
};

/* ---- opening ---- */

static enum err_code open_file(struct destination *destination, struct err *err)
{
    const char *path = json_text(json_get(destination->options.given, "path"));
    if (path == NULL) {
        return err_set(err, ERR_INVALID, "/path: give the path of a file below an export root");
    }
    return root_output_open(destination->options.roots, path, &destination->file, err) == ERR_OK
               ? ERR_OK
               : err_wrap(err, "/path");
}

static enum err_code open_server(struct destination *destination, struct err *err)
{
    const struct destination_options *options = &destination->options;
    destination->url = json_text(json_get(options->given, "url"));
    if (destination->url == NULL) {
        return err_set(err, ERR_INVALID, "/url: give where to put the file");
    }
    struct url url;
    if (url_parse(span_of_text(destination->url), &url, err) != ERR_OK) {
        return err_wrap(err, "/url");
    }
    url_origin(&url, destination->origin);
    struct outgoing *outgoing = &destination->outgoing;
    TRY(outgoing_init(outgoing, options->given, options->open_secrets, options->open_arg, err));
    TRY(outgoing_add(outgoing, "Content-Type", options->media_type, err));
    if (options->encoding != NULL) {
        TRY(outgoing_add(outgoing, "Content-Encoding", options->encoding, err));
    }
    TRY(outgoing_add(outgoing, "Idempotency-Key", options->idempotency_key, err));
    return file_create_nameless(options->spool, &destination->spool, err);
}

enum err_code destination_open(const struct destination_options *options,
                               struct destination **destination_out, struct err *err)
{
    CLEANUP(destination_close)
    struct destination *destination = mem_zeroed(1, sizeof *destination);
    destination->options = *options;
    destination->spool = -1;
    struct span type = {0};
    (void)json_as_string(json_get(options->given, "type"), &type); /* another kind is no type */
    if (span_equal_text(type, "file")) {
        TRY(open_file(destination, err));
    } else if (span_equal_text(type, "http")) {
        TRY(open_server(destination, err));
    } else {
        return err_set(err, ERR_INVALID, "/type: give file or http");
    }
    *destination_out = destination;
    destination = NULL;
    return ERR_OK;
}

void destination_close(struct destination **destination)
{
    struct destination *closed = *destination;
    if (closed == NULL) {
        return;
    }
    root_output_close(&closed->file);
    outgoing_deinit(&closed->outgoing);
    file_close(&closed->spool);
    mem_free(closed);
    *destination = NULL;
}

const char *destination_place(const struct destination *destination)
{
    return destination->file != NULL ? root_output_path(destination->file) : destination->origin;
}

/* ---- writing ---- */

enum err_code destination_write(void *self, struct span bytes, struct err *err)
{
    struct destination *destination = self;
    if (destination->file != NULL) {
        return root_output_write(destination->file, bytes, err);
    }
    if (file_write_at(destination->spool, destination->spool_bytes, bytes, err) != ERR_OK) {
        return err_wrap(err, "temporary file");
    }
    destination->spool_bytes += (int64_t)bytes.size;
    return ERR_OK;
}

/* ---- publishing ---- */

static enum err_code put(struct destination *destination, struct span body, int64_t left_ms,
                         struct err *err)
{
    const struct remote_request request = {
        .method = "PUT",
        .url = destination->url,
        .headers = destination->outgoing.headers,
        .headers_count = destination->outgoing.headers_count,
        .auth = destination->outgoing.auth,
        .body = body,
        .allow_undelimited = true,
        .limits = {.deadline_ms =
                       left_ms < DESTINATION_DEADLINE_MS ? left_ms : DESTINATION_DEADLINE_MS},
        .cancelled = destination->options.cancelled,
    };
    CLEANUP(remote_answer_deinit) struct remote_answer answer;
    remote_answer_init(&answer);
    TRY(remote_call(destination->options.remote, &request, &answer, err));
    return remote_answer_check(&answer, err);
}

enum err_code destination_publish(struct destination *destination, int64_t left_ms, struct err *err)
{
    if (destination->file != NULL) {
        return root_output_commit(destination->file, err);
    }
    if (left_ms <= 0) {
        return err_set(err, ERR_CANCELLED, "out of time");
    }
    CLEANUP(file_unmap) struct span body = {0};
    TRY(file_map_open(destination->spool, &body, err));
    return put(destination, body, left_ms, err);
}
