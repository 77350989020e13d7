/*
 * A do-nothing libmicrohttpd server: the floor that lookups are measured against. Answers every
 * request with 450 bytes from memory; prints its port. With a folder it writes the audit record
 * of a member lookup before it answers, through the product's own trail.
 *
 *   bench_nothing THREADS [FOLDER]     until standard input ends
 */
#include "storage/audit/audit.h"
#include "storage/base/id.h"
#include "tests/support/bench_load.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

static char body[450];
static struct audit *audit;
static struct secret_keys *keys;

static bool record(const char *url)
{
    struct err err = {0};
    struct id request = id_new_ordered();
    char subject[AUDIT_SUBJECT_BYTES];
    const char *identifier = strrchr(url, '/');
    audit_subject(keys, span_of_text(identifier != NULL ? identifier + 1 : url), subject);
    const char *const subjects[] = {subject};
    const struct audit_event event = {.event = "member.read",
                                      .principal_id = "01890a5d-ac96-774b-bcce-b302099a8057",
                                      .token_id = "slt_bench",
                                      .request_id = request.text,
                                      .action = "member.read",
                                      .resource = "member",
                                      .outcome = AUDIT_SUCCEEDED,
                                      .subjects = subjects,
                                      .subjects_count = 1,
                                      .count = 1,
                                      .remote = "127.0.0.1"};
    return audit_record_read(audit, &event, &err) == ERR_OK;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    (void)arg;
    (void)method;
    (void)version;
    (void)upload;
    (void)upload_size;
    static int seen;
    if (*state == NULL) {
        *state = &seen; /* answering at the first callback would close the connection */
        return MHD_YES;
    }
    if (audit != NULL && !record(url)) {
        return MHD_NO;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(sizeof body, body, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static enum err_code open_audit(const char *folder, struct err *err)
{
    static const struct audit_options options = {0};
    char key_path[4096];
    char trail[4096];
    (void)snprintf(key_path, sizeof key_path, "%s/root.key", folder); /* the open tells */
    (void)snprintf(trail, sizeof trail, "%s/trail", folder);
    TRY(secret_init(err));
    TRY(secret_keys_open(key_path, &keys, err));
    return audit_open(trail, keys, &options, &audit, err);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "Usage: bench_nothing THREADS [FOLDER]\n"); /* told */
        return 64;
    }
    unsigned threads = (unsigned)bench_number(argv[1]);
    struct err err = {0};
    memset(body, 'x', sizeof body);
    if (argc > 2 && open_audit(argv[2], &err) != ERR_OK) {
        (void)fprintf(stderr, "%s\n", err.msg); /* told */
        return 1;
    }
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, answer, NULL,
                         MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? threads : 0, MHD_OPTION_END);
    if (daemon == NULL) {
        return 1;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    (void)printf("%u\n", (unsigned)info->port); /* for the caller */
    (void)fflush(stdout);                       /* for the caller */
    while (getchar() != EOF) {
    }
    MHD_stop_daemon(daemon);
    audit_close(&audit);
    secret_keys_close(&keys);
    return 0;
}
