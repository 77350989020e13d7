/* Settings: sources, ranges, and what makes a start insecure. */
#include "server/config.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>

static enum err_code load(const char *const flags[], const char *const environment[],
                          struct config *config, struct err *err)
{
    int argc = 0;
    char *argv[16] = {0};
    char *variables[16] = {0};
    for (; flags[argc] != NULL; argc++) {
        argv[argc] = mem_copy_text(flags[argc]);
    }
    for (int i = 0; environment[i] != NULL; i++) {
        variables[i] = mem_copy_text(environment[i]);
    }
    enum err_code code = config_load(argc, argv, variables, config, err);
    for (int i = 0; i < 16; i++) {
        mem_free(argv[i]);
        mem_free(variables[i]);
    }
    return code;
}

static const char *const nothing[] = {NULL};

Test(config, has_safe_defaults)
{
    struct config config;
    struct err err = {0};
    cr_assert_eq(load(nothing, nothing, &config, &err), ERR_OK, "%s", err.msg);
    cr_expect_str_eq(config.host, "127.0.0.1");
    cr_expect_eq(config.port, 8080);
    cr_expect_str_eq(config.audit_reads, "written");
    cr_expect_not(config.allow_plain_http);
    cr_expect_lt(config.stop_seconds, 10, "the promise is ten seconds");
}

Test(config, flags_beat_the_environment)
{
    struct config config;
    struct err err = {0};
    const char *const flags[] = {"--idle-seconds", "7", "--allow-plain-http", "--listen=[::1]:0",
                                 NULL};
    const char *const environment[] = {"SLUICE_IDLE_SECONDS=8", "SLUICE_BATCH_RECORDS=9",
                                       "SLUICE_BATCH_RECORDSX=10", "PATH=/bin", NULL};
    cr_assert_eq(load(flags, environment, &config, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(config.idle_seconds, 7);
    cr_expect_eq(config.batch_records, 9);
    cr_expect(config.allow_plain_http);
    cr_expect_str_eq(config.host, "::1");
    cr_expect_eq(config.port, 0);
}

Test(config, refuses)
{
    static const struct {
        const char *flags[4];
        enum err_code code;
        const char *says;
    } cases[] = {
        {{"--idle-seconds", "0"}, ERR_INVALID, "from 1 to 3600 s"},
        {{"--idle-seconds", "3601"}, ERR_INVALID, "idle-seconds"},
        {{"--idle-seconds", "1x"}, ERR_INVALID, "whole number"},
        {{"--idle-seconds"}, ERR_INVALID, "needs a value"},
        {{"--allow-plain-http=yes"}, ERR_INVALID, "true or false"},
        {{"--nonsense", "1"}, ERR_INVALID, "no flag '--nonsense'"},
        {{"serve"}, ERR_INVALID, "'serve' is no flag"},
        {{"--listen", "127.0.0.1"}, ERR_INVALID, "HOST:PORT"},
        {{"--listen", "127.0.0.1:65536"}, ERR_INVALID, "HOST:PORT"},
        {{"--listen", ":80"}, ERR_INVALID, "HOST:PORT"},
        {{"--listen", "0.0.0.0:0"}, ERR_FORBIDDEN, "plain HTTP"},
        {{"--listen", "[::]:0"}, ERR_FORBIDDEN, "plain HTTP"},
        {{"--tls-cert", "x"}, ERR_INVALID, "go together"},
        {{"--log-level", "loud"}, ERR_INVALID, "log-level"},
        {{"--audit-reads", "never"}, ERR_INVALID, "audit-reads"},
        {{"--config", "/nonexistent"}, ERR_NOT_FOUND, "/nonexistent"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config config = {.port = 12345};
        struct err err = {0};
        cr_expect_eq(load(cases[i].flags, nothing, &config, &err), cases[i].code, "%s: %s",
                     cases[i].flags[0], err.msg);
        cr_expect_not_null(strstr(err.msg, cases[i].says), "%s: %s", cases[i].flags[0], err.msg);
        cr_expect_eq(config.port, 12345, "untouched on failure");
    }
}

Test(config, plain_http_off_loopback_needs_a_word)
{
    struct config config;
    struct err err = {0};
    const char *const flags[] = {"--listen", "0.0.0.0:0", "--allow-plain-http", NULL};
    cr_expect_eq(load(flags, nothing, &config, &err), ERR_OK, "%s", err.msg);
}

static char *write_file(const struct temp_dir *dir, const char *name, const char *text)
{
    struct err err = {0};
    char *path = temp_dir_join(dir, name);
    cr_assert_eq(file_write_new(path, span_of_text(text), &err), ERR_OK, "%s", err.msg);
    return path;
}

Test(config, reads_the_file_below_all_others)
{
    struct temp_dir dir = temp_dir_make();
    char *path = write_file(&dir, "settings",
                            "# comment\n\n  idle-seconds=11 \r\nbatch-records = 12\ndata = a b\n");
    struct config config;
    struct err err = {0};
    const char *const flags[] = {"--config", path, NULL};
    const char *const environment[] = {"SLUICE_BATCH_RECORDS=13", NULL};
    cr_expect_eq(load(flags, environment, &config, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(config.idle_seconds, 11);
    cr_expect_eq(config.batch_records, 13);
    cr_expect_str_eq(config.data, "a b");
    mem_free(path);
    temp_dir_remove(&dir);
}

Test(config, names_the_line_of_the_file)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"\nidle-seconds 1\n", ":2: not 'name = value'"},
        {"nonsense = 1", ":1: no setting 'nonsense'"},
        {"\n\nidle-seconds = no\n", ":3: idle-seconds"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct temp_dir dir = temp_dir_make();
        char *path = write_file(&dir, "settings", cases[i].text);
        struct config config;
        struct err err = {0};
        const char *const flags[] = {"--config", path, NULL};
        cr_expect_eq(load(flags, nothing, &config, &err), ERR_INVALID);
        cr_expect_not_null(strstr(err.msg, cases[i].says), "%s", err.msg);
        mem_free(path);
        temp_dir_remove(&dir);
    }
}

Test(config, refuses_a_key_that_others_can_read)
{
    struct temp_dir dir = temp_dir_make();
    char *path = write_file(&dir, "key.pem", "key");
    struct config config;
    struct err err = {0};
    const char *const flags[] = {"--tls-cert", path, "--tls-key", path, NULL};
    cr_assert_eq(chmod(path, 0640), 0);
    cr_expect_eq(load(flags, nothing, &config, &err), ERR_FORBIDDEN);
    cr_expect_not_null(strstr(err.msg, "chmod 600"), "%s", err.msg);
    cr_assert_eq(chmod(path, 0600), 0);
    err_clear(&err);
    cr_expect_eq(load(flags, nothing, &config, &err), ERR_OK, "%s", err.msg);
    mem_free(path);
    temp_dir_remove(&dir);
}
