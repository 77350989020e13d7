/*
 * Files written below a root: complete under their name or not there, never
 * through a link, and what a crash leaves is overwritten.
 */
#include "storage/base/roots.h"

#include "storage/base/fault.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct roots *open_roots(const struct temp_dir *dir)
{
    struct roots *roots = NULL;
    struct err err = {0};
    CLEANUP(mem_cleanup) char *folder = temp_dir_join(dir, "out");
    cr_assert_eq(file_make_directory(folder, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(roots_open(folder, "export-roots", &roots, &err), ERR_OK, "%s", err.msg);
    return roots;
}

static void expect_contents(const struct temp_dir *dir, const char *name, const char *expected)
{
    CLEANUP(buffer_deinit) struct buffer contents;
    CLEANUP(mem_cleanup) char *path = temp_dir_join(dir, name);
    struct err err = {0};
    buffer_init(&contents, 1 << 20);
    if (expected == NULL) {
        cr_expect_not(file_exists(path), "%s", name);
        return;
    }
    cr_expect_eq(file_read(path, &contents, &err), ERR_OK, "%s", err.msg);
    cr_expect(span_equal_text(buffer_span(&contents), expected), "%s holds %.*s", name,
              SPAN_PRINT(buffer_span(&contents)));
}

static enum err_code write_file(const struct roots *roots, const char *path, const char *text,
                                struct err *err)
{
    CLEANUP(root_output_close) struct root_output *output = NULL;
    TRY(root_output_open(roots, path, &output, err));
    size_t half = strlen(text) / 2;
    TRY(root_output_write(output, span_of(text, half), err));
    TRY(root_output_write(output, span_of(text + half, strlen(text) - half), err));
    return root_output_commit(output, err);
}

Test(root_output, appears_complete_and_replaces)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(roots_close) struct roots *roots = open_roots(&dir);
    struct err err = {0};
    CLEANUP(root_output_close) struct root_output *output = NULL;
    cr_assert_eq(root_output_open(roots, "2026/01/a.csv", &output, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(root_output_write(output, span_of_text("half"), &err), ERR_OK, "%s", err.msg);
    expect_contents(&dir, "out/2026/01/a.csv", NULL);
    cr_assert_eq(root_output_commit(output, &err), ERR_OK, "%s", err.msg);
    expect_contents(&dir, "out/2026/01/a.csv", "half");
    expect_contents(&dir, "out/2026/01/.a.csv.partial", NULL);
    cr_expect_eq(write_file(roots, "2026/01/a.csv", "other", &err), ERR_OK, "%s", err.msg);
    root_output_close(&output);
    expect_contents(&dir, "out/2026/01/a.csv", "other");
    struct stat status;
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "out/2026/01/a.csv");
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600U);
}

Test(root_output, what_is_not_committed_leaves_nothing)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(roots_close) struct roots *roots = open_roots(&dir);
    struct err err = {0};
    struct root_output *output = NULL;
    cr_assert_eq(write_file(roots, "a.csv", "first", &err), ERR_OK);
    cr_assert_eq(root_output_open(roots, "a.csv", &output, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(root_output_write(output, span_of_text("second"), &err), ERR_OK);
    root_output_close(&output);
    expect_contents(&dir, "out/a.csv", "first");
    expect_contents(&dir, "out/.a.csv.partial", NULL);
}

Test(root_output, two_writers_of_one_file_meet)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(roots_close) struct roots *roots = open_roots(&dir);
    struct err err = {0};
    CLEANUP(root_output_close) struct root_output *first = NULL;
    struct root_output *second = NULL;
    cr_assert_eq(root_output_open(roots, "a.csv", &first, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(root_output_open(roots, "./a.csv", &second, &err), ERR_BUSY, "%s", err.msg);
    cr_expect_null(second);
    cr_assert_eq(root_output_write(first, span_of_text("first"), &err), ERR_OK);
    cr_expect_eq(root_output_commit(first, &err), ERR_OK, "%s", err.msg);
    expect_contents(&dir, "out/a.csv", "first");
}

Test(root_output, refuses_every_way_out)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(roots_close) struct roots *roots = open_roots(&dir);
    struct err err = {0};
    CLEANUP(mem_cleanup) char *victim = temp_dir_join(&dir, "victim");
    CLEANUP(mem_cleanup) char *link_path = temp_dir_join(&dir, "out/link");
    CLEANUP(mem_cleanup) char *link_up = temp_dir_join(&dir, "out/up");
    CLEANUP(mem_cleanup) char *partial = temp_dir_join(&dir, "out/.p.partial");
    CLEANUP(mem_cleanup) char *hard = temp_dir_join(&dir, "out/.h.partial");
    CLEANUP(mem_cleanup) char *pipe_path = temp_dir_join(&dir, "out/.f.partial");
    CLEANUP(mem_cleanup) char *device = temp_dir_join(&dir, "out/fifo");
    cr_assert_eq(file_write_new(victim, span_of_text("victim"), &err), ERR_OK);
    cr_assert_eq(symlink(victim, link_path), 0);
    cr_assert_eq(symlink("..", link_up), 0);
    cr_assert_eq(symlink(victim, partial), 0);
    cr_assert_eq(link(victim, hard), 0);
    cr_assert_eq(mkfifo(pipe_path, 0600), 0);
    cr_assert_eq(mkfifo(device, 0600), 0);
    char long_name[ROOT_OUTPUT_NAME_MAX + 2];
    memset(long_name, 'n', sizeof long_name);
    long_name[ROOT_OUTPUT_NAME_MAX + 1] = '\0';
    const struct {
        const char *path;
        enum err_code code;
    } cases[] = {
        {"../victim", ERR_FORBIDDEN},
        {victim, ERR_FORBIDDEN},
        {"link", ERR_FORBIDDEN},
        {"up/victim", ERR_FORBIDDEN},
        {"p", ERR_FORBIDDEN},
        {"h", ERR_FORBIDDEN},
        {"f", ERR_FORBIDDEN},
        {"fifo", ERR_FORBIDDEN},
        {"folder/", ERR_INVALID},
        {"/etc/x", ERR_FORBIDDEN},
        {long_name, ERR_INVALID},
        {".", ERR_INVALID},
        {"", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        err_clear(&err);
        cr_expect_eq(write_file(roots, cases[i].path, "attack", &err), cases[i].code, "%s: %s",
                     cases[i].path, err.msg);
    }
    expect_contents(&dir, "victim", "victim");
    long_name[ROOT_OUTPUT_NAME_MAX] = '\0';
    cr_expect_eq(write_file(roots, long_name, "fits", &err), ERR_OK, "%s", err.msg);
}

#ifdef SLUICE_FAULTS
/* Write "second" over "first" in a process that dies at `point`. */
static void write_and_die(const struct roots *roots, const char *point)
{
    pid_t child = fork();
    if (child == 0) {
        struct err err = {0};
        fault_arm(point);
        _exit(write_file(roots, "a.csv", "second", &err) == ERR_OK ? 0 : 1);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_not(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", point);
}

Test(root_output, a_crash_leaves_the_old_file_or_the_new_one)
{
    static const struct {
        const char *point;
        const char *stands; /* afterwards */
    } cases[] = {
        {"root.output.write=crash@1", "first"},
        {"root.output.write=crash@2", "first"},
        {"file.sync=crash@1", "first"},
        {"root.output.before-rename=crash@1", "first"},
        {"root.output.after-rename=crash@1", "second"},
        {"root.output.sync-folder=crash@1", "second"},
        {"root.output.write=fail@2", "first"},
        {"file.sync=fail@1", "first"},
        {"root.output.before-rename=fail@1", "first"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
        CLEANUP(roots_close) struct roots *roots = open_roots(&dir);
        struct err err = {0};
        cr_assert_eq(write_file(roots, "a.csv", "first", &err), ERR_OK, "%s", err.msg);
        write_and_die(roots, cases[i].point);
        expect_contents(&dir, "out/a.csv", cases[i].stands);
        cr_expect_eq(write_file(roots, "a.csv", "third", &err), ERR_OK, "%s: %s", cases[i].point,
                     err.msg);
        expect_contents(&dir, "out/a.csv", "third");
        expect_contents(&dir, "out/.a.csv.partial", NULL);
    }
}
#endif
