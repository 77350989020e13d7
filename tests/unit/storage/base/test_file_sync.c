/*
 * Syncs beside the caller's work: all of them end, and each tells its own outcome.
 */
#include "storage/base/file_sync.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { SYNCS = 3 * FILE_SYNC_THREADS_MAX };

Test(file_sync, many_go_on_at_once_and_each_tells_how_it_went)
{
    struct temp_dir dir = temp_dir_make();
    struct file_sync syncs[SYNCS] = {0};
    struct err err = {0};
    for (int i = 0; i < SYNCS; i++) {
        int pipes[2];
        char name[16];
        (void)snprintf(name, sizeof name, "f%d", i); /* fits */
        CLEANUP(mem_cleanup) char *path = file_join(dir.path, name);
        if (i % 3 == 1) { /* a pipe cannot be synced */
            cr_assert_eq(pipe(pipes), 0);
            (void)close(pipes[0]);
            file_sync_begin(&syncs[i], pipes[1], false);
        } else if (i % 3 == 2) {
            file_sync_begin(&syncs[i], open(dir.path, O_RDONLY | O_DIRECTORY), true);
        } else {
            cr_assert_eq(file_write_begin(path, span_of("abc", 3), &syncs[i], &err), ERR_OK, "%s",
                         err.msg);
        }
    }
    for (int i = 0; i < SYNCS; i++) {
        err = (struct err){0};
        enum err_code code = file_sync_end(&syncs[i], &err);
        cr_expect((code == ERR_OK) == (i % 3 != 1), "%d: %s", i, err.msg);
        cr_expect_not(syncs[i].begun);
        cr_expect_eq(file_sync_end(&syncs[i], &err), ERR_OK, "nothing is left to wait for");
    }
    temp_dir_remove(&dir);
}

Test(file_sync, a_file_that_cannot_be_made_has_no_sync)
{
    struct temp_dir dir = temp_dir_make();
    struct file_sync sync = {0};
    struct err err = {0};
    CLEANUP(mem_cleanup) char *path = file_join(dir.path, "no/folder");
    cr_expect_eq(file_write_begin(path, span_of("abc", 3), &sync, &err), ERR_NOT_FOUND);
    cr_expect_not(sync.begun);
    temp_dir_remove(&dir);
}
