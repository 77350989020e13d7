/*
 * Writing one file below a root. See roots.h for the contract.
 *
 * The unfinished file has a name that follows from the final one, so that what a
 * killed writer left is found and overwritten by the next, and two writers of one
 * file meet: the lock on it decides. Bytes first, then the name.
 */
#include "storage/base/roots.h"

#include "storage/base/fault.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    OUTPUT_MODE = 0600,
    OUTPUT_FOLDER_MODE = 0700,
    OUTPUT_PARTIAL_BYTES = ROOT_OUTPUT_NAME_MAX + sizeof "..partial",
};

struct root_output {
    int folder_fd;
    int fd;
    int64_t offset; /* of the next append */
    bool committed;
    char *path;
    char name[ROOT_OUTPUT_NAME_MAX + 1];
    char partial[OUTPUT_PARTIAL_BYTES];
};

/* ---- the folder ---- */

static enum err_code sync_folder(int fd, const char *path, struct err *err)
{
    if (FAULT("root.output.sync-folder")) {
        return err_set_errno(err, EIO, "sync the folder of %s", path);
    }
    if (fsync(fd) != 0) {
        return err_set_errno(err, errno, "sync the folder of %s", path);
    }
    return ERR_OK;
}

/* Go one folder down, which is made when it is not there; *fd becomes it. */
static enum err_code step_down(int *fd, const char *name, const char *path, struct err *err)
{
    if (mkdirat(*fd, name, OUTPUT_FOLDER_MODE) == 0) {
        TRY(sync_folder(*fd, path, err));
    } else if (errno != EEXIST) {
        return root_refuse(errno, path, err);
    }
    int next = root_openat(*fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (next < 0) {
        return root_refuse(errno, path, err);
    }
    file_close(fd);
    *fd = next;
    return ERR_OK;
}

/* Open the folder of the file, and find the file's own name in place->relative. */
static enum err_code open_folder(struct root_place *place, const char *path, int *folder_fd_out,
                                 const char **name_out, struct err *err)
{
    CLEANUP(file_close) int top = -1;
    TRY(root_open_top(place, &top, err));
    CLEANUP(file_close) int fd = root_openat(top, "", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return root_refuse(errno, path, err);
    }
    char *name = place->relative;
    for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(name, '/')) {
        *slash = '\0';
        TRY(step_down(&fd, name, path, err));
        name = slash + 1;
    }
    *folder_fd_out = fd;
    *name_out = name;
    fd = -1;
    return ERR_OK;
}

/* ---- the unfinished file ---- */

/* What stands under the final name may be replaced: nothing, or a file. */
static enum err_code check_target(const struct root_output *output, struct err *err)
{
    struct stat status;
    if (fstatat(output->folder_fd, output->name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? ERR_OK : root_refuse(errno, output->path, err);
    }
    if (!S_ISREG(status.st_mode)) {
        return err_set(err, ERR_FORBIDDEN, "%s is there and not a regular file; it is not replaced",
                       output->path);
    }
    return ERR_OK;
}

/*
 * Is the file we locked still the one of that name, and ours alone? Another
 * writer may have finished with it between our opening and locking it; one with
 * a second name may be anybody's file.
 */
static enum err_code check_partial(const struct root_output *output, int fd, struct err *err)
{
    struct stat locked;
    struct stat named;
    if (fstat(fd, &locked) != 0) {
        return err_set_errno(err, errno, "look at %s", output->path);
    }
    if (fstatat(output->folder_fd, output->partial, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
        locked.st_ino != named.st_ino || locked.st_dev != named.st_dev) {
        return err_set(err, ERR_BUSY, "%s was just written by another; try again", output->path);
    }
    if (!S_ISREG(locked.st_mode) || locked.st_nlink != 1 || locked.st_uid != geteuid()) {
        return err_set(err, ERR_FORBIDDEN,
                       "%s in the folder of %s is not an unfinished file of ours; remove it",
                       output->partial, output->path);
    }
    return ERR_OK;
}

static enum err_code open_partial(struct root_output *output, struct err *err)
{
    CLEANUP(file_close)
    int fd = root_openat(output->folder_fd, output->partial,
                         O_RDWR | O_CREAT | O_NONBLOCK | O_NOCTTY, OUTPUT_MODE);
    if (fd < 0) {
        return root_refuse(errno, output->path, err);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK
                   ? err_set(err, ERR_BUSY, "%s is being written by another; try again",
                             output->path)
                   : err_set_errno(err, errno, "lock %s", output->path);
    }
    TRY(check_partial(output, fd, err));
    if (ftruncate(fd, 0) != 0) {
        return err_set_errno(err, errno, "write %s", output->path);
    }
    output->fd = fd;
    fd = -1;
    return ERR_OK;
}

enum err_code root_output_open(const struct roots *roots, const char *path,
                               struct root_output **output_out, struct err *err)
{
    struct root_place place;
    const char *name = NULL;
    CLEANUP(root_output_close) struct root_output *output = mem_zeroed(1, sizeof *output);
    output->folder_fd = -1;
    output->fd = -1;
    TRY(roots_resolve(roots, path, &place, err));
    output->path = file_join(place.root, place.relative);
    TRY(open_folder(&place, path, &output->folder_fd, &name, err));
    assert(name != NULL);
    size_t size = strlen(name);
    if (size == 0 || size > ROOT_OUTPUT_NAME_MAX || path[strlen(path) - 1] == '/') {
        return err_set(err, ERR_INVALID, "%s: give a file name of 1 to %d bytes at its end", path,
                       ROOT_OUTPUT_NAME_MAX);
    }
    memcpy(output->name, name, size + 1);
    (void)snprintf(output->partial, sizeof output->partial, ".%.*s.partial", (int)size,
                   name); /* fits */
    TRY(check_target(output, err));
    TRY(open_partial(output, err));
    *output_out = output;
    output = NULL;
    return ERR_OK;
}

enum err_code root_output_write(struct root_output *output, struct span bytes, struct err *err)
{
    if (FAULT("root.output.write")) {
        return err_set_errno(err, ENOSPC, "%s", output->path);
    }
    if (file_write_at(output->fd, output->offset, bytes, err) != ERR_OK) {
        return err_wrap(err, "%s", output->path);
    }
    output->offset += (int64_t)bytes.size;
    return ERR_OK;
}

const char *root_output_path(const struct root_output *output)
{
    return output->path;
}

int root_output_fd(const struct root_output *output)
{
    return output->fd;
}

enum err_code root_output_commit(struct root_output *output, struct err *err)
{
    assert(!output->committed);
    if (!FAULT_SKIP("root.output.no-sync") && file_sync_data(output->fd, err) != ERR_OK) {
        return err_wrap(err, "%s", output->path);
    }
    if (FAULT("root.output.before-rename")) {
        return err_set_errno(err, EIO, "name %s", output->path);
    }
    TRY(check_target(output, err));
    if (renameat(output->folder_fd, output->partial, output->folder_fd, output->name) != 0) {
        return err_set_errno(err, errno, "name %s", output->path);
    }
    output->committed = true;
    if (FAULT("root.output.after-rename")) {
        return err_set_errno(err, EIO, "name %s", output->path);
    }
    return sync_folder(output->folder_fd, output->path, err);
}

void root_output_close(struct root_output **output)
{
    if (*output == NULL) {
        return;
    }
    struct root_output *closed = *output;
    if (closed->fd >= 0 && !closed->committed) {
        /* garbage if it stays: the next writer of this file overwrites it */
        (void)unlinkat(closed->folder_fd, closed->partial, 0);
    }
    file_close(&closed->fd);
    file_close(&closed->folder_fd);
    mem_free(closed->path);
    mem_free(closed);
    *output = NULL;
}
