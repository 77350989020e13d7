/*
 * A folder for targets of what reads files: made when first asked for, removed at exit.
 */
#pragma once

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SCRATCH_FOLDER_NAMES = 2 };

static char scratch_folder_path[4096];
static const char *scratch_folder_names[SCRATCH_FOLDER_NAMES];

static inline void scratch_folder_clear(void)
{
    int folder = open(scratch_folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert(folder >= 0);
    for (size_t i = 0; i < SCRATCH_FOLDER_NAMES && scratch_folder_names[i] != NULL; i++) {
        (void)unlinkat(folder, scratch_folder_names[i], 0); /* perhaps not written */
    }
    (void)close(folder); /* opened for reading */
}

static inline void scratch_folder_remove(void)
{
    scratch_folder_clear();
    (void)rmdir(scratch_folder_path); /* nothing depends on it */
}

/* Without the files that the target writes there, `first` and perhaps `second` or NULL. */
static inline const char *scratch_folder(const char *first, const char *second)
{
    if (scratch_folder_path[0] == '\0') {
        const char *root = getenv("TMPDIR");
        int size = snprintf(scratch_folder_path, sizeof scratch_folder_path,
                            "%s/sluice-fuzz.XXXXXX", root != NULL ? root : "/tmp");
        assert(size > 0 && (size_t)size < sizeof scratch_folder_path);
        char *made = mkdtemp(scratch_folder_path);
        assert(made != NULL);
        scratch_folder_names[0] = first;
        scratch_folder_names[1] = second;
        int registered = atexit(scratch_folder_remove);
        assert(registered == 0);
    }
    scratch_folder_clear();
    return scratch_folder_path;
}
