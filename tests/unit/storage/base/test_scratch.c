#include "storage/base/scratch.h"

#include "storage/base/file.h"
#include "storage/base/secret.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct temp_dir dir;
static struct scratch *scratch;

static void set_up(void)
{
    struct err err = {0};
    cr_assert_eq(secret_init(&err), ERR_OK);
    dir = temp_dir_make();
    cr_assert_eq(scratch_open(dir.path, &scratch, &err), ERR_OK, "%s", err.msg);
}

static void tear_down(void)
{
    scratch_close(&scratch);
    temp_dir_remove(&dir);
}

TestSuite(scratch, .init = set_up, .fini = tear_down, .timeout = 60);

Test(scratch, blocks_come_back_in_any_order)
{
    static const char *const texts[] = {"first", "", "a third one that is longer"};
    int64_t places[3];
    struct err err = {0};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(scratch_append(scratch, span_of_text(texts[i]), &places[i], &err), ERR_OK);
    }
    static const size_t order[] = {2, 0, 1, 2};
    for (size_t i = 0; i < 4; i++) {
        CLEANUP(buffer_deinit) struct buffer block;
        buffer_init(&block, 100);
        int64_t next = -1;
        cr_assert_eq(scratch_read(scratch, places[order[i]], &block, &next, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect(span_equal_text(buffer_span(&block), texts[order[i]]));
        cr_expect_eq(next, order[i] < 2 ? places[order[i] + 1] : scratch_end(scratch));
    }
}

/* Path of the open file through the kernel, whose name is gone. */
static int open_behind(void)
{
    for (int fd = 3; fd < 100; fd++) {
        char link[64];
        char target[256] = "";
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t size = readlink(link, target, sizeof target - 1);
        if (size > 0 && strstr(target, dir.path) != NULL) {
            int behind = open(link, O_RDWR);
            cr_assert_geq(behind, 0);
            return behind;
        }
    }
    cr_assert_fail("no open file in the folder");
    return -1;
}

Test(scratch, the_file_is_private_nameless_and_says_nothing)
{
    struct err err = {0};
    int64_t place = 0;
    cr_assert_eq(scratch_append(scratch, span_of_text("MEMBER-4711"), &place, &err), ERR_OK);
    struct file_names names = {0};
    cr_assert_eq(file_list(dir.path, &names, &err), ERR_OK);
    cr_expect_eq(names.count, 0, "%s is left to be found", names.count > 0 ? names.names[0] : "");
    file_names_free(&names);

    CLEANUP(file_close) int fd = open_behind();
    struct stat status;
    cr_assert_eq(fstat(fd, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600);
    char bytes[256];
    ssize_t size = pread(fd, bytes, sizeof bytes, 0);
    cr_assert_eq(size, scratch_end(scratch));
    cr_expect_null(memmem(bytes, (size_t)size, "MEMBER", 6));
}

Test(scratch, a_changed_block_is_corrupt)
{
    struct err err = {0};
    int64_t first = 0;
    int64_t second = 0;
    cr_assert_eq(scratch_append(scratch, span_of_text("one"), &first, &err), ERR_OK);
    cr_assert_eq(scratch_append(scratch, span_of_text("two"), &second, &err), ERR_OK);
    CLEANUP(file_close) int fd = open_behind();
    char block[64];
    ssize_t size = (ssize_t)second;
    cr_assert_eq(pread(fd, block, (size_t)size, first), size);
    cr_assert_eq(pwrite(fd, block, (size_t)size, second), size); /* one in the place of two */
    CLEANUP(buffer_deinit) struct buffer read;
    buffer_init(&read, 100);
    int64_t next = 0;
    cr_expect_eq(scratch_read(scratch, second, &read, &next, &err), ERR_CORRUPT, "%s", err.msg);
    cr_expect_eq(read.size, 0);
    err_clear(&err);
    cr_expect_eq(scratch_read(scratch, first, &read, &next, &err), ERR_OK, "%s", err.msg);
}

Test(scratch, needs_its_folder)
{
    struct err err = {0};
    struct scratch *none = NULL;
    cr_expect_eq(scratch_open("/nowhere/at/all", &none, &err), ERR_NOT_FOUND, "%s", err.msg);
    cr_expect_null(none);
}
