/*
 * A fresh folder for one test, removed afterwards:
 *
 *     CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
 *     CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "table");
 *
 * A test that stops at a failed cr_assert leaves its folder to be looked at.
 */
#pragma once

struct temp_dir {
    char path[128]; /* below $TMPDIR or /tmp */
};

/* Stops the test when the folder cannot be made. */
struct temp_dir temp_dir_make(void);

/* Removes the folder and all below it. */
void temp_dir_remove(struct temp_dir *dir);

/* The path of `name` in it; free with mem_free. */
char *temp_dir_join(const struct temp_dir *dir, const char *name);
