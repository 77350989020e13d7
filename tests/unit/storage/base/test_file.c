/*
 * Durable file verbs: what is there afterwards, what is not, and every refusal.
 */
#include "storage/base/file.h"

#include "storage/base/fault.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void expect_contents(const char *path, const char *expected)
{
    CLEANUP(buffer_deinit) struct buffer contents;
    struct err err = {0};
    buffer_init(&contents, 1 << 20);
    cr_expect_eq(file_read(path, &contents, &err), ERR_OK, "%s", err.msg);
    cr_expect(span_equal_text(buffer_span(&contents), expected), "%s holds %.*s", path,
              SPAN_PRINT(buffer_span(&contents)));
}

static void expect_count(const char *folder, size_t count)
{
    CLEANUP(file_names_free) struct file_names names = {0};
    struct err err = {0};
    cr_assert_eq(file_list(folder, &names, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(names.count, count, "%s has %zu names", folder, names.count);
}

Test(file, write_new_refuses_a_taken_name)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "a");
    struct err err = {0};
    cr_expect_eq(file_write_new(path, span_of_text("one"), &err), ERR_OK);
    cr_expect_eq(file_write_new(path, span_of_text("two"), &err), ERR_EXISTS);
    cr_expect_eq(file_write_derived(path, span_of_text("two"), &err), ERR_EXISTS);
    expect_contents(path, "one");
    struct stat status;
    cr_expect_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600U);
}

Test(file, publish_never_replaces_and_leaves_no_temporary)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "00000000000000000000.json");
    struct err err = {0};
    cr_expect_eq(file_publish(path, span_of_text("first"), &err), ERR_OK);
    cr_expect_eq(file_publish(path, span_of_text("second"), &err), ERR_EXISTS);
    expect_contents(path, "first");
    expect_count(dir.path, 1);
}

enum { RACERS = 8 };

Test(file, publish_has_one_winner_among_processes)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "version");
    pid_t racers[RACERS];
    for (int i = 0; i < RACERS; i++) {
        racers[i] = fork();
        if (racers[i] == 0) {
            struct err err = {0};
            _exit(file_publish(path, span_of_text("x"), &err) == ERR_OK ? 0 : 1);
        }
    }
    int winners = 0;
    for (int i = 0; i < RACERS; i++) {
        int status = 0;
        cr_assert_eq(waitpid(racers[i], &status, 0), racers[i]);
        winners += status == 0;
    }
    cr_expect_eq(winners, 1);
    expect_count(dir.path, 1);
}

Test(file, replace_replaces)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "hint");
    struct err err = {0};
    cr_expect_eq(file_replace(path, span_of_text("one"), &err), ERR_OK);
    cr_expect_eq(file_replace(path, span_of_text("two"), &err), ERR_OK);
    expect_contents(path, "two");
    cr_expect_eq(file_replace_derived(path, span_of_text("three"), &err), ERR_OK);
    expect_contents(path, "three");
    expect_count(dir.path, 1);
}

Test(file, a_failed_replace_leaves_nothing)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "folder");
    CLEANUP(mem_cleanup) char *inside = file_join(path, "x");
    struct err err = {0};
    cr_assert_eq(file_make_directory(path, &err), ERR_OK);
    cr_assert_eq(file_write_new(inside, span_of_text("x"), &err), ERR_OK);
    cr_expect_neq(file_replace(path, span_of_text("x"), &err), ERR_OK);
    expect_count(dir.path, 1);
}

Test(file, errors_by_reason)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *absent = temp_dir_join(&dir, "no/such/file");
    CLEANUP(buffer_deinit) struct buffer contents;
    struct err err = {0};
    struct span mapping;
    struct file_names names;
    int fd = -1;
    int64_t number = 0;
    buffer_init(&contents, 100);
    cr_expect_eq(file_read(absent, &contents, &err), ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.msg, absent), "%s", err.msg);
    cr_expect_eq(file_publish(absent, span_of_text(""), &err), ERR_NOT_FOUND);
    cr_expect_eq(file_write_new(absent, span_of_text(""), &err), ERR_NOT_FOUND);
    cr_expect_eq(file_map(absent, &mapping, &err), ERR_NOT_FOUND);
    cr_expect_eq(file_list(absent, &names, &err), ERR_NOT_FOUND);
    cr_expect_eq(file_stat(absent, &number, &number, &err), ERR_NOT_FOUND);
    cr_expect_eq(file_open_read(absent, &fd, &number, &err), ERR_NOT_FOUND);
    cr_expect_eq(file_sync_directory(absent, &err), ERR_NOT_FOUND);
    cr_expect_eq(file_sync_file_system(absent, &err), ERR_NOT_FOUND);
    cr_expect_eq(file_remove(absent, &err), ERR_OK);
    cr_expect_eq(file_remove_tree(absent, &err), ERR_OK);
    cr_expect_not(file_exists(absent));
    cr_expect_eq(file_open_read(dir.path, &fd, &number, &err), ERR_IO);
    cr_expect_not_null(strstr(err.msg, "not a regular file"), "%s", err.msg);
}

Test(file, read_obeys_the_ceiling_to_the_byte)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "ten");
    struct err err = {0};
    cr_assert_eq(file_write_new(path, span_of_text("0123456789"), &err), ERR_OK);
    for (size_t ceiling = 0; ceiling < 14; ceiling++) {
        CLEANUP(buffer_deinit) struct buffer contents;
        buffer_init(&contents, ceiling);
        enum err_code code = file_read(path, &contents, &err);
        cr_expect_eq(code, ceiling >= 10 ? ERR_OK : ERR_TOO_LARGE, "ceiling %zu", ceiling);
        if (ceiling >= 10) {
            cr_expect(span_equal_text(buffer_span(&contents), "0123456789"));
        }
    }
}

Test(file, read_appends_large_and_empty_files)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *large_path = temp_dir_join(&dir, "large");
    CLEANUP(mem_cleanup) char *empty_path = temp_dir_join(&dir, "empty");
    CLEANUP(buffer_deinit) struct buffer large;
    CLEANUP(buffer_deinit) struct buffer contents;
    struct err err = {0};
    buffer_init(&large, 1 << 20);
    buffer_init(&contents, 2 << 20);
    for (int i = 0; i < 100000; i++) {
        buffer_append_format(&large, "%d,", i);
    }
    cr_assert_eq(file_write_new(large_path, buffer_span(&large), &err), ERR_OK);
    cr_assert_eq(file_write_new(empty_path, (struct span){0}, &err), ERR_OK);
    cr_expect_eq(file_read(empty_path, &contents, &err), ERR_OK);
    cr_expect_eq(contents.size, 0);
    buffer_append_byte(&contents, '>');
    cr_expect_eq(file_read(large_path, &contents, &err), ERR_OK);
    cr_expect(span_equal(span_of(contents.data + 1, contents.size - 1), buffer_span(&large)));
    /* what the kernel makes up as it is read has no size to ask for */
    buffer_reset(&contents);
    cr_expect_eq(file_read("/proc/self/status", &contents, &err), ERR_OK, "%s", err.msg);
    cr_expect_gt(contents.size, 100U);
}

Test(file, read_at_and_write_at)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "segment");
    struct err err = {0};
    CLEANUP(file_close) int fd = open(path, O_RDWR | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    cr_expect_eq(file_write_at(fd, 4, span_of_text("data"), &err), ERR_OK);
    cr_expect_eq(file_sync_data(fd, &err), ERR_OK);
    char bytes[5] = "";
    cr_expect_eq(file_read_at(fd, 4, bytes, 4, &err), ERR_OK);
    cr_expect_str_eq(bytes, "data");
    cr_expect_eq(file_read_at(fd, 8, bytes, 0, &err), ERR_OK);
    cr_expect_eq(file_read_at(fd, 5, bytes, 4, &err), ERR_CORRUPT);
    cr_expect_str_eq(err.msg, "the file ends at 8, before the 4 bytes at 5");
    CLEANUP(file_close) int read_only = open(path, O_RDONLY);
    cr_expect_eq(file_write_at(read_only, 0, span_of_text("x"), &err), ERR_IO);
}

Test(file, a_full_disk_has_its_own_code)
{
    struct err err = {0};
    CLEANUP(file_close) int fd = open("/dev/full", O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_expect_eq(file_write_at(fd, 0, span_of_text("x"), &err), ERR_NO_SPACE);
}

Test(file, make_directory_makes_parents_and_accepts_what_is_there)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "a//b/c/");
    CLEANUP(mem_cleanup) char *file = temp_dir_join(&dir, "a/file");
    CLEANUP(mem_cleanup) char *below = file_join(file, "x");
    struct err err = {0};
    struct stat status;
    cr_expect_eq(file_make_directory(path, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(file_make_directory(path, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0700U);
    cr_assert_eq(file_write_new(file, span_of_text(""), &err), ERR_OK);
    cr_expect_eq(file_make_directory(file, &err), ERR_EXISTS);
    cr_expect_neq(file_make_directory(below, &err), ERR_OK);
    cr_expect_eq(file_sync_file_system(path, &err), ERR_OK);
}

Test(file, list_is_sorted_by_bytes)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    static const char *const names[] = {"b", "a", "B", "\xc3\xa9", "a.b", ".hidden"};
    static const char *const sorted[] = {".hidden", "B", "a", "a.b", "b", "\xc3\xa9"};
    struct err err = {0};
    for (size_t i = 0; i < 6; i++) {
        CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, names[i]);
        cr_assert_eq(file_write_derived(path, (struct span){0}, &err), ERR_OK);
    }
    CLEANUP(file_names_free) struct file_names found = {0};
    cr_assert_eq(file_list(dir.path, &found, &err), ERR_OK);
    cr_assert_eq(found.count, 6);
    for (size_t i = 0; i < 6; i++) {
        cr_expect_str_eq(found.names[i], sorted[i]);
    }
}

Test(file, remove_tree_does_not_follow_links)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *kept = temp_dir_join(&dir, "kept");
    CLEANUP(mem_cleanup) char *kept_file = file_join(kept, "file");
    CLEANUP(mem_cleanup) char *tree = temp_dir_join(&dir, "tree/sub/deep");
    CLEANUP(mem_cleanup) char *link = file_join(tree, "link");
    CLEANUP(mem_cleanup) char *top = temp_dir_join(&dir, "tree");
    struct err err = {0};
    cr_assert_eq(file_make_directory(kept, &err), ERR_OK);
    cr_assert_eq(file_make_directory(tree, &err), ERR_OK);
    cr_assert_eq(file_write_new(kept_file, span_of_text("x"), &err), ERR_OK);
    cr_assert_eq(symlink(kept, link), 0);
    cr_expect_eq(file_remove_tree(top, &err), ERR_OK, "%s", err.msg);
    cr_expect_not(file_exists(top));
    cr_expect(file_exists(kept_file));
}

Test(file, stat_and_free_space)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "x");
    struct err err = {0};
    int64_t size = 0;
    int64_t modified_ms = 0;
    int64_t free_bytes = 0;
    cr_assert_eq(file_write_new(path, span_of_text("12345"), &err), ERR_OK);
    cr_expect_eq(file_stat(path, &size, &modified_ms, &err), ERR_OK);
    cr_expect_eq(size, 5);
    cr_expect_gt(modified_ms, 1600000000000);
    cr_expect_eq(file_free_space(path, &free_bytes, &err), ERR_OK);
    cr_expect_gt(free_bytes, 0);
}

Test(file, map_outlives_the_name)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "run");
    CLEANUP(mem_cleanup) char *empty = temp_dir_join(&dir, "empty");
    struct err err = {0};
    struct span mapping = {0};
    cr_assert_eq(file_write_new(path, span_of_text("mapped"), &err), ERR_OK);
    cr_assert_eq(file_write_new(empty, (struct span){0}, &err), ERR_OK);
    cr_assert_eq(file_map(path, &mapping, &err), ERR_OK);
    cr_assert_eq(file_remove(path, &err), ERR_OK);
    cr_expect(span_equal_text(mapping, "mapped"));
    file_unmap(&mapping);
    cr_expect_null(mapping.data);
    cr_expect_eq(file_map(empty, &mapping, &err), ERR_OK);
    cr_expect_null(mapping.data);
    cr_expect_eq(mapping.size, 0);
    file_unmap(&mapping);
}

Test(file, lock_is_exclusive_and_names_its_holder)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "lock");
    CLEANUP(buffer_deinit) struct buffer holder;
    struct err err = {0};
    CLEANUP(file_close) int fd = -1;
    CLEANUP(file_close) int second = -1;
    cr_assert_eq(file_lock(path, &fd, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(file_lock(path, &second, &err), ERR_BUSY);
    buffer_init(&holder, 64);
    buffer_append_format(&holder, "process %ld;", (long)getpid());
    buffer_append_byte(&holder, '\0');
    cr_expect_not_null(strstr(err.msg, (const char *)holder.data), "%s", err.msg);
    cr_expect_eq(second, -1);
    file_close(&fd);
    cr_expect_eq(fd, -1);
    cr_expect_eq(file_lock(path, &second, &err), ERR_OK);
}

Test(file, join)
{
    static const struct {
        const char *folder;
        const char *name;
        const char *joined;
    } cases[] = {
        {"a", "b", "a/b"},
        {"a/", "b", "a/b"},
        {"/", "b", "/b"},
        {"", "b", "/b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(mem_cleanup) char *joined = file_join(cases[i].folder, cases[i].name);
        cr_expect_str_eq(joined, cases[i].joined);
    }
}

Test(file, stop_after_io_error_exits_with_ex_ioerr, .exit_code = 74)
{
    struct err err = {0};
    (void)err_set(&err, ERR_IO, "sync journal-7: input/output error"); /* the value is ERR_IO */
    process_stop_after_io_error(&err);
}

#ifdef SLUICE_FAULTS
Test(file, a_failed_sync_publishes_nothing)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "version");
    struct err err = {0};
    cr_assert_eq(setenv("SLUICE_FAULTS", "file.sync=fail@1", 1), 0);
    cr_expect_eq(file_publish(path, span_of_text("x"), &err), ERR_IO);
    expect_count(dir.path, 0);
    cr_expect_eq(file_publish(path, span_of_text("x"), &err), ERR_OK);
}

Test(file, a_failed_link_publishes_nothing)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "version");
    struct err err = {0};
    cr_assert_eq(setenv("SLUICE_FAULTS", "file.publish.before-link=fail@1", 1), 0);
    cr_expect_eq(file_publish(path, span_of_text("x"), &err), ERR_IO);
    expect_count(dir.path, 0);
}

Test(file, a_crash_behind_the_link_leaves_the_whole_file)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "version");
    cr_assert_eq(setenv("SLUICE_FAULTS", "file.publish.after-link=crash@1", 1), 0);
    pid_t child = fork();
    if (child == 0) {
        struct err err = {0};
        _exit(file_publish(path, span_of_text("whole"), &err) == ERR_OK);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFSIGNALED(status));
    expect_contents(path, "whole");
}
#endif

/* The same place has the same identity, in the same process and in the next one. */
Test(file, knows_its_mount)
{
    char mounts[2][FILE_MOUNT_BYTES];
    file_mount_identity("/proc/self", mounts[0]);
    file_mount_identity("/proc", mounts[1]);
    cr_expect_str_eq(mounts[0], mounts[1]);
    cr_expect_neq(mounts[0][0], '\0');
    file_mount_identity("/sys", mounts[1]);
    if (strstr(mounts[0], "/0") == NULL) { /* the kernel tells */
        cr_expect_str_neq(mounts[0], mounts[1]);
    }
}
