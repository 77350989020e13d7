/*
 * Destinations: files appear whole, servers get one body with its length, its key and
 * its secrets, and nobody hears of those.
 */
#include "workers/destination.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "storage/base/secret.h"
#include "tests/support/lying_server.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct temp_dir dir;
static char *root;
static char *spool;
static struct roots *roots;

static void set_up(void)
{
    struct err err = {0};
    cr_assert_eq(secret_init(&err), ERR_OK);
    dir = temp_dir_make();
    root = temp_dir_join(&dir, "out");
    spool = temp_dir_join(&dir, "spool");
    cr_assert_eq(file_make_directory(root, &err), ERR_OK);
    cr_assert_eq(file_make_directory(spool, &err), ERR_OK);
    cr_assert_eq(roots_open(root, "export-roots", &roots, &err), ERR_OK, "%s", err.msg);
}

static void tear_down(void)
{
    roots_close(&roots);
    mem_free(root);
    mem_free(spool);
    temp_dir_remove(&dir);
}

TestSuite(destination, .init = set_up, .fini = tear_down, .timeout = 60);

static struct json *json_of(const char *text)
{
    struct json *json = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(span_of_text(text), &json, &err), ERR_OK, "%s: %s", text, err.msg);
    return json;
}

/* "<secret NAME>" for {{secrets.NAME}}: enough to see that it was opened. */
static enum err_code open_secrets(void *arg, const char *text, struct buffer *opened,
                                  struct err *err)
{
    (void)arg;
    if (strcmp(text, "{{secrets.none}}") == 0) {
        return err_set(err, ERR_NOT_FOUND, "there is no secret 'none'");
    }
    buffer_append_text(opened, strcmp(text, "{{secrets.key}}") == 0 ? "s3cret" : text);
    return ERR_OK;
}

static struct destination_options options_of(const struct json *given)
{
    return (struct destination_options){.given = given,
                                        .roots = roots,
                                        .spool = spool,
                                        .open_secrets = open_secrets,
                                        .idempotency_key = "sluice-i-7-export",
                                        .media_type = "text/csv"};
}

/* ---- files ---- */

static void expect_file(const char *path, const char *content)
{
    CLEANUP(mem_cleanup) char *whole = file_join(root, path);
    CLEANUP(buffer_deinit) struct buffer read;
    struct err err = {0};
    buffer_init(&read, 1000);
    if (content == NULL) {
        cr_expect_not(file_exists(whole), "%s", path);
        return;
    }
    cr_assert_eq(file_read(whole, &read, &err), ERR_OK, "%s", err.msg);
    cr_expect(span_equal_text(buffer_span(&read), content), "%s: %.*s", path,
              SPAN_PRINT(buffer_span(&read)));
}

static void write_file(const char *content, bool publish)
{
    CLEANUP(json_free) struct json *given = json_of("{\"type\":\"file\",\"path\":\"day/x.csv\"}");
    const struct destination_options options = options_of(given);
    CLEANUP(destination_close) struct destination *destination = NULL;
    struct err err = {0};
    cr_assert_eq(destination_open(&options, &destination, &err), ERR_OK, "%s", err.msg);
    CLEANUP(mem_cleanup) char *path = file_join(root, "day/x.csv");
    cr_expect_str_eq(destination_place(destination), path);
    for (const char *c = content; *c != '\0'; c++) {
        cr_assert_eq(destination_write(destination, span_of(c, 1), &err), ERR_OK, "%s", err.msg);
    }
    if (publish) {
        cr_assert_eq(destination_publish(destination, INT64_MAX, &err), ERR_OK, "%s", err.msg);
    }
}

Test(destination, a_file_appears_whole_when_published_and_replaces_its_like)
{
    write_file("never seen", false);
    expect_file("day/x.csv", NULL);
    write_file("a,b\r\n", true);
    expect_file("day/x.csv", "a,b\r\n");
    write_file("torn", false);
    expect_file("day/x.csv", "a,b\r\n");
    write_file("a,b\r\n1,2\r\n", true);
    expect_file("day/x.csv", "a,b\r\n1,2\r\n");
}

Test(destination, what_cannot_be_is_refused_with_its_place)
{
    static const struct {
        const char *given;
        enum err_code code;
        const char *message; /* its beginning */
    } cases[] = {
        {"{\"type\":\"ftp\"}", ERR_INVALID, "/type: give file or http"},
        {"{\"type\":\"file\"}", ERR_INVALID, "/path: "},
        {"{\"type\":\"file\",\"path\":\"../x.csv\"}", ERR_FORBIDDEN, "/path: "},
        {"{\"type\":\"file\",\"path\":\"/etc/x.csv\"}", ERR_FORBIDDEN, "/path: "},
        {"{\"type\":\"http\"}", ERR_INVALID, "/url: "},
        {"{\"type\":\"http\",\"url\":\"ftp://x/\"}", ERR_INVALID, "/url: "},
        {"{\"type\":\"http\",\"url\":\"https://x/\",\"headers\":{\"X\":\"{{secrets.none}}\"}}",
         ERR_NOT_FOUND, "/headers/X: there is no secret"},
        {"{\"type\":\"http\",\"url\":\"https://x/\",\"auth\":{\"type\":\"odd\"}}", ERR_INVALID,
         "/auth/type: "},
        {"{\"type\":\"http\",\"url\":\"https://x/\",\"auth\":{\"type\":\"bearer\"}}", ERR_INVALID,
         "/auth: "},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free) struct json *given = json_of(cases[i].given);
        const struct destination_options options = options_of(given);
        CLEANUP(destination_close) struct destination *destination = NULL;
        struct err err = {0};
        cr_expect_eq(destination_open(&options, &destination, &err), cases[i].code, "%s: %s",
                     cases[i].given, err.msg);
        cr_expect_eq(strncmp(err.msg, cases[i].message, strlen(cases[i].message)), 0, "%s: %s",
                     cases[i].given, err.msg);
        cr_expect_null(destination);
    }
}

/* ---- servers ---- */

static void remote_cleanup(struct remote **remote)
{
    remote_close(remote);
}

/* Write "1,2\r\n" to http://127.0.0.1:<port>/put and publish. */
static enum err_code put(uint16_t port, struct err *err)
{
    char text[512];
    char allow[32];
    (void)snprintf(allow, sizeof allow, "127.0.0.1:%u", port);
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"http\",\"url\":\"http://127.0.0.1:%u/put?sig=PRIVATE\","
                   "\"headers\":{\"X-Key\":\"{{secrets.key}}\",\"content-type\":\"text/plain\"},"
                   "\"auth\":{\"type\":\"bearer\",\"token\":\"{{secrets.key}}\"}}",
                   port);
    CLEANUP(json_free) struct json *given = json_of(text);
    CLEANUP(remote_cleanup) struct remote *remote = NULL;
    const struct remote_options allowed = {.allow = allow};
    cr_assert_eq(remote_open(&allowed, &remote, err), ERR_OK, "%s", err->msg);
    struct destination_options options = options_of(given);
    options.remote = remote;
    options.encoding = "gzip";
    CLEANUP(destination_close) struct destination *destination = NULL;
    cr_assert_eq(destination_open(&options, &destination, err), ERR_OK, "%s", err->msg);
    cr_assert_eq(destination_write(destination, span_of_text("1,2"), err), ERR_OK);
    cr_assert_eq(destination_write(destination, span_of_text("\r\n"), err), ERR_OK);
    struct file_names names = {0};
    cr_assert_eq(file_list(spool, &names, err), ERR_OK);
    cr_expect_eq(names.count, 0, "the spool has a name");
    file_names_free(&names);
    return destination_publish(destination, 20000, err);
}

Test(destination, a_server_gets_the_body_with_length_key_and_secrets)
{
    struct lying_server *server =
        lying_server_start(&(struct lying_options){.script = "/put?sig=PRIVATE 201 body=ok"});
    struct err err = {0};
    cr_assert_eq(put(lying_server_port(server), &err), ERR_OK, "%s", err.msg);
    static const struct {
        const char *name;
        const char *value;
    } seen[] = {
        {"", "PUT /put?sig=PRIVATE HTTP/1.1"},
        {"body", "1,2\r\n"},
        {"content-length", "5"},
        {"content-type", "text/plain"}, /* the definition's stands */
        {"content-encoding", "gzip"},
        {"idempotency-key", "sluice-i-7-export"},
        {"x-key", "s3cret"},
        {"authorization", "Bearer s3cret"},
    };
    for (size_t i = 0; i < COUNT(seen); i++) {
        CLEANUP(mem_cleanup)
        char *value = lying_server_seen(server, "/put?sig=PRIVATE", seen[i].name);
        cr_expect_str_eq(value, seen[i].value, "%s", seen[i].name);
    }
    lying_server_stop(&server);
}

Test(destination, what_a_server_says_decides_whether_to_try_again)
{
    static const struct {
        const char *script;
        enum err_code code;
    } cases[] = {
        {"/put?sig=PRIVATE 204", ERR_OK},
        {"/put?sig=PRIVATE 503", ERR_BUSY},
        {"/put?sig=PRIVATE 500", ERR_IO},
        {"/put?sig=PRIVATE reset", ERR_IO},
        {"/put?sig=PRIVATE 400", ERR_INVALID},
        {"/put?sig=PRIVATE 403", ERR_FORBIDDEN},
        {"/put?sig=PRIVATE 413", ERR_TOO_LARGE},
        {"/put?sig=PRIVATE 409", ERR_CONFLICT},
        {"/put?sig=PRIVATE 302 location=/elsewhere", ERR_INVALID},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lying_server *server =
            lying_server_start(&(struct lying_options){.script = cases[i].script});
        struct err err = {0};
        cr_expect_eq(put(lying_server_port(server), &err), cases[i].code, "%s: %s", cases[i].script,
                     err.msg);
        cr_expect_null(strstr(err.msg, "PRIVATE"), "%s", err.msg);
        cr_expect_null(strstr(err.msg, "s3cret"), "%s", err.msg);
        lying_server_stop(&server);
    }
}
