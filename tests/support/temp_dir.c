/*
 * Folders for tests. See temp_dir.h for the contract.
 */
#include "tests/support/temp_dir.h"

#include "storage/base/file.h"

#include <stdio.h>
#include <stdlib.h>

struct temp_dir temp_dir_make(void)
{
    const char *parent = getenv("TMPDIR");
    struct temp_dir dir;
    int size = snprintf(dir.path, sizeof dir.path, "%s/sluice-test-XXXXXX",
                        parent != NULL && parent[0] != '\0' ? parent : "/tmp");
    if (size < 0 || (size_t)size >= sizeof dir.path || mkdtemp(dir.path) == NULL) {
        perror("temp_dir_make");
        abort();
    }
    return dir;
}

void temp_dir_remove(struct temp_dir *dir)
{
    struct err err = {0};
    if (dir->path[0] != '\0' && file_remove_tree(dir->path, &err) != ERR_OK) {
        (void)fprintf(stderr, "temp_dir_remove: %s\n", err.msg); /* the test itself is done */
    }
    dir->path[0] = '\0';
}

char *temp_dir_join(const struct temp_dir *dir, const char *name)
{
    return file_join(dir->path, name);
}
