/*
 * Roots: which folders there are, how a path is taken apart, and how a file
 * below them is opened. Patterns are in roots_expand.c, writing in
 * root_output.c. See roots.h for the contract.
 */
#include "storage/base/roots.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OPEN_TRIES_MAX = 16 }; /* of a look-up that the kernel asks to repeat */

struct roots {
    char *folders[ROOTS_MAX]; /* absolute, without '/' at their ends */
    size_t count;
    const char *setting; /* static text */
};

/* ---- the kernel's part ---- */

int root_openat(int folder_fd, const char *relative, uint64_t flags, uint64_t mode)
{
    const struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
    };
    const char *path = relative[0] != '\0' ? relative : ".";
    for (int i = 0; i < OPEN_TRIES_MAX; i++) {
        long fd = syscall(SYS_openat2, folder_fd, path, &how, sizeof how);
        /* a rename somewhere raced with the look-up: it proves nothing, so it is repeated */
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) {
            return (int)fd;
        }
    }
    return -1;
}

enum err_code root_refuse(int number, const char *path, struct err *err)
{
    switch (number) {
    case ELOOP:
        return err_set_sys(err, ERR_FORBIDDEN, number,
                           "%s: a symbolic link is in the way, and links are not followed; name "
                           "the file it leads to",
                           path);
    case EXDEV:
        return err_set_sys(err, ERR_FORBIDDEN, number, "%s leads out of its root folder", path);
    case EACCES:
    case EPERM:
        return err_set_sys(err, ERR_FORBIDDEN, number,
                           "%s: the server's user has no permission; change the owner or mode of "
                           "the file and of the folders above it",
                           path);
    case ENOTDIR:
        return err_set_sys(err, ERR_NOT_FOUND, number,
                           "%s: there is a file where a folder is expected", path);
    case ENXIO:
        return err_set_sys(err, ERR_FORBIDDEN, number, "%s is not a regular file", path);
    case ENOSYS:
        return err_set_sys(err, ERR_UNSUPPORTED, number,
                           "this kernel cannot keep a path below a folder (openat2 is missing); "
                           "use Linux 5.6 or newer");
    case EAGAIN:
        return err_set_sys(err, ERR_BUSY, number, "%s: folders are being renamed; try again", path);
    default:
        return err_set_errno(err, number, "open %s", path);
    }
}

/* ---- paths ---- */

enum err_code root_check_text(const char *path, struct err *err)
{
    size_t size = strlen(path);
    size_t bad = 0;
    if (size == 0 || size > ROOT_PATH_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "a path has 1 to %d bytes", ROOT_PATH_BYTES_MAX);
    }
    if (!text_is_utf8(span_of_text(path), &bad)) {
        return err_set(err, ERR_INVALID, "a path must be UTF-8; byte %zu is not", bad + 1);
    }
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f) {
            return err_set(err, ERR_INVALID, "a path has no control characters; byte %zu is one",
                           i + 1);
        }
    }
    return ERR_OK;
}

/* What of `path` follows `folder`, or NULL when it is not below it. */
static const char *part_below(const char *path, const char *folder)
{
    size_t size = strlen(folder);
    if (strncmp(path, folder, size) != 0 || (path[size] != '/' && path[size] != '\0')) {
        return NULL;
    }
    return path + size;
}

static enum err_code find_root(const struct roots *roots, const char *path, const char **root_out,
                               const char **rest_out, struct err *err)
{
    if (roots->count == 0) {
        return err_set(err, ERR_FORBIDDEN,
                       "%s: no folder is open to jobs; an administrator names one with the "
                       "setting %s",
                       path, roots->setting);
    }
    if (path[0] != '/') {
        *root_out = roots->folders[0];
        *rest_out = path;
        return ERR_OK;
    }
    size_t best = 0;
    for (size_t i = 0; i < roots->count; i++) {
        const char *rest = part_below(path, roots->folders[i]);
        if (rest != NULL && (size_t)(rest - path) > best) {
            best = (size_t)(rest - path);
            *root_out = roots->folders[i];
            *rest_out = rest;
        }
    }
    if (best == 0) {
        return err_set(err, ERR_FORBIDDEN,
                       "%s is below none of the folders of the setting %s; they begin with %s",
                       path, roots->setting, roots->folders[0]);
    }
    return ERR_OK;
}

/* Append one part to place->relative; "." and empty ones are left out. */
static enum err_code add_part(struct root_place *place, struct span part, const char *path,
                              size_t *size, size_t *depth, struct err *err)
{
    if (part.size == 0 || span_equal_text(part, ".")) {
        return ERR_OK;
    }
    if (span_equal_text(part, "..")) {
        return err_set(err, ERR_FORBIDDEN, "%s: '..' is not followed; write the path without it",
                       path);
    }
    if (part.size > ROOT_NAME_BYTES_MAX || *depth == ROOT_DEPTH_MAX) {
        return err_set(err, ERR_INVALID, "%s: a path has at most %d parts of at most %d bytes",
                       path, ROOT_DEPTH_MAX, ROOT_NAME_BYTES_MAX);
    }
    if (*size > 0) {
        place->relative[(*size)++] = '/';
    }
    memcpy(place->relative + *size, part.data, part.size);
    *size += part.size;
    *depth += 1;
    return ERR_OK;
}

enum err_code roots_resolve(const struct roots *roots, const char *path,
                            struct root_place *place_out, struct err *err)
{
    struct root_place place = {0};
    const char *rest = NULL;
    TRY(root_check_text(path, err));
    TRY(find_root(roots, path, &place.root, &rest, err));
    size_t size = 0;
    size_t depth = 0;
    while (*rest != '\0') {
        size_t part = strcspn(rest, "/");
        TRY(add_part(&place, span_of(rest, part), path, &size, &depth, err));
        rest += part + (rest[part] == '/');
    }
    if (strlen(place.root) + 1 + size > ROOT_PATH_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "a path has 1 to %d bytes", ROOT_PATH_BYTES_MAX);
    }
    *place_out = place;
    return ERR_OK;
}

/* ---- the folders ---- */

enum err_code root_open_top(const struct root_place *place, int *fd_out, struct err *err)
{
    /* the administrator's own path: what it leads through is trusted */
    int fd = open(place->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, errno, "open root folder %s", place->root);
    }
    *fd_out = fd;
    return ERR_OK;
}

/* Is the folder there, and does the kernel know openat2? */
static enum err_code probe(const char *folder, struct err *err)
{
    struct root_place place = {.root = folder};
    CLEANUP(file_close) int top = -1;
    TRY(root_open_top(&place, &top, err));
    CLEANUP(file_close) int fd = root_openat(top, "", O_PATH | O_DIRECTORY, 0);
    if (fd >= 0) {
        return ERR_OK;
    }
    /* old container sandboxes answer EPERM to calls they do not know; O_PATH asks for nothing */
    return root_refuse(errno == EPERM ? ENOSYS : errno, folder, err);
}

static enum err_code add_folder(struct roots *roots, struct span folder, struct err *err)
{
    while (folder.size > 0 && folder.data[folder.size - 1] == '/') {
        folder.size--;
    }
    if (folder.size == 0 || folder.data[0] != '/') {
        return err_set(err, ERR_INVALID,
                       "give absolute paths of folders, separated by ':', and not / itself");
    }
    if (roots->count == ROOTS_MAX || folder.size > ROOT_PATH_BYTES_MAX / 2) {
        return err_set(err, ERR_INVALID, "give at most %d folders of at most %d bytes", ROOTS_MAX,
                       ROOT_PATH_BYTES_MAX / 2);
    }
    char *text = mem_alloc(folder.size + 1);
    memcpy(text, folder.data, folder.size);
    text[folder.size] = '\0';
    roots->folders[roots->count++] = text;
    return probe(text, err);
}

enum err_code roots_open(const char *folders, const char *setting, struct roots **roots_out,
                         struct err *err)
{
    CLEANUP(roots_close) struct roots *roots = mem_zeroed(1, sizeof *roots);
    roots->setting = setting;
    const char *rest = folders;
    while (*rest != '\0') {
        size_t size = strcspn(rest, ":");
        if (add_folder(roots, span_of(rest, size), err) != ERR_OK) {
            return err_wrap(err, "%s", setting);
        }
        rest += size + (rest[size] == ':');
    }
    *roots_out = roots;
    roots = NULL;
    return ERR_OK;
}

void roots_close(struct roots **roots)
{
    if (*roots == NULL) {
        return;
    }
    for (size_t i = 0; i < (*roots)->count; i++) {
        mem_free((*roots)->folders[i]);
    }
    mem_free(*roots);
    *roots = NULL;
}

bool roots_is_empty(const struct roots *roots)
{
    return roots->count == 0;
}

static enum err_code real_path(const char *path, char real_out[PATH_MAX], struct err *err)
{
    if (realpath(path, real_out) == NULL) {
        return err_set_errno(err, errno, "look at folder %s", path);
    }
    return ERR_OK;
}

enum err_code roots_check_apart(const struct roots *roots, const char *folder, struct err *err)
{
    char inside[PATH_MAX];
    char root[PATH_MAX];
    TRY(real_path(folder, inside, err));
    for (size_t i = 0; i < roots->count; i++) {
        TRY(real_path(roots->folders[i], root, err));
        if (part_below(inside, root) != NULL || part_below(root, inside) != NULL) {
            return err_set(err, ERR_FORBIDDEN,
                           "%s: %s and the server's own folder %s lie inside each other; give "
                           "jobs a folder of their own",
                           roots->setting, roots->folders[i], folder);
        }
    }
    return ERR_OK;
}

/* ---- reading ---- */

static enum err_code check_regular(int fd, const char *path, struct stat *status_out,
                                   struct err *err)
{
    if (fstat(fd, status_out) != 0) {
        return err_set_errno(err, errno, "look at %s", path);
    }
    if (!S_ISREG(status_out->st_mode)) {
        return err_set(err, ERR_FORBIDDEN, "%s is %s, not a regular file", path,
                       S_ISDIR(status_out->st_mode)    ? "a folder"
                       : S_ISFIFO(status_out->st_mode) ? "a pipe"
                       : S_ISSOCK(status_out->st_mode) ? "a socket"
                                                       : "a device");
    }
    return ERR_OK;
}

/*
 * Looked at before it is opened, because opening a device acts on it; and again
 * afterwards, because another file may have taken its name in between.
 */
static enum err_code open_regular(int folder_fd, const char *relative, const char *path,
                                  int *fd_out, struct stat *status_out, struct err *err)
{
    CLEANUP(file_close) int look = root_openat(folder_fd, relative, O_PATH, 0);
    if (look < 0) {
        return root_refuse(errno, path, err);
    }
    TRY(check_regular(look, path, status_out, err));
    CLEANUP(file_close)
    int fd = root_openat(folder_fd, relative, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) {
        return root_refuse(errno, path, err);
    }
    TRY(check_regular(fd, path, status_out, err));
    *fd_out = fd;
    fd = -1;
    return ERR_OK;
}

static char *join(const struct root_place *place)
{
    return place->relative[0] == '\0' ? mem_copy_text(place->root)
                                      : file_join(place->root, place->relative);
}

enum err_code roots_open_file(const struct roots *roots, const char *path, int *fd_out,
                              struct root_file *file_out, struct err *err)
{
    struct root_place place;
    struct stat status;
    CLEANUP(file_close) int top = -1;
    TRY(roots_resolve(roots, path, &place, err));
    TRY(root_open_top(&place, &top, err));
    TRY(open_regular(top, place.relative, path, fd_out, &status, err));
    if (file_out != NULL) {
        *file_out = (struct root_file){
            .path = join(&place),
            .size = status.st_size,
            .modified_us = (int64_t)status.st_mtim.tv_sec * 1000000 + status.st_mtim.tv_nsec / 1000,
        };
    }
    return ERR_OK;
}

void root_file_free(struct root_file *file)
{
    mem_free(file->path);
    *file = (struct root_file){0};
}

enum err_code roots_open_folder(const struct roots *roots, const char *path, int *fd_out,
                                struct err *err)
{
    struct root_place place;
    CLEANUP(file_close) int top = -1;
    TRY(roots_resolve(roots, path, &place, err));
    TRY(root_open_top(&place, &top, err));
    int fd = root_openat(top, place.relative, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return root_refuse(errno, path, err);
    }
    *fd_out = fd;
    return ERR_OK;
}

enum err_code root_open_below(int folder_fd, const char *path, int *fd_out, struct err *err)
{
    struct stat status;
    return open_regular(folder_fd, path, path, fd_out, &status, err);
}
