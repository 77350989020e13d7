/*
 * Durable file verbs. See file.h for the contract.
 *
 * A name is durable when its folder was synced after it appeared; a content when
 * its file was synced after the last write. Every publish here does both, in
 * that order, and no reader ever sees a half-written file under its final name.
 */
#include "storage/base/file.h"

#include "storage/base/fault.h"
#include "storage/base/file_sync.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sysexits.h>
#include <unistd.h>

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U /* statx(2), since Linux 6.8; older headers lack it */
#endif

enum {
    BOOT_ID_CHARACTERS = 36,
    FILE_MODE = 0600,
    DIRECTORY_MODE = 0700,
    TEMPORARY_RANDOM_BYTES = 8,
    PID_TEXT_BYTES = 32,
    READ_STEP_BYTES = 64 * 1024, /* room kept free while reading a file of unknown size */
    TREE_DEPTH_MAX = 64,         /* folders below a removed one; ours are five deep */
};

void process_stop_after_io_error(const struct err *err)
{
    struct log_line line;
    log_begin(&line, LOG_ERROR, "stopping: a write that was promised as durable failed");
    log_err(&line, err);
    log_end(&line);
    _exit(EX_IOERR);
}

void file_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* nothing is promised about an unsynced file */
        *fd = -1;
    }
}

char *file_join(const char *folder, const char *name)
{
    size_t folder_size = strlen(folder);
    bool has_slash = folder_size > 0 && folder[folder_size - 1] == '/';
    size_t size = folder_size + !has_slash + strlen(name) + 1;
    char *joined = mem_alloc(size);
    (void)snprintf(joined, size, "%s%s%s", folder, has_slash ? "" : "/", name); /* fits */
    return joined;
}

/* The folder a path stands in, as a copy. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return mem_copy_text(".");
    }
    size_t size = slash == path ? 1 : (size_t)(slash - path);
    char *parent = mem_alloc(size + 1);
    memcpy(parent, path, size);
    parent[size] = '\0';
    return parent;
}

enum durability { DERIVED, DURABLE };

/* ---- sync ---- */

enum err_code file_sync_data(int fd, struct err *err)
{
    if (FAULT("file.sync")) {
        return err_set_errno(err, EIO, "sync");
    }
    if (fdatasync(fd) != 0) {
        return err_set_errno(err, errno, "sync");
    }
    return ERR_OK;
}

enum err_code file_sync_open_directory(int fd, struct err *err)
{
    if (FAULT("file.sync-directory")) {
        return err_set_errno(err, EIO, "sync a folder");
    }
    if (fsync(fd) != 0) {
        return err_set_errno(err, errno, "sync a folder");
    }
    return ERR_OK;
}

enum err_code file_sync_directory(const char *path, struct err *err)
{
    CLEANUP(file_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, errno, "open folder %s", path);
    }
    if (file_sync_open_directory(fd, err) != ERR_OK) {
        return err_wrap(err, "%s", path);
    }
    return ERR_OK;
}

enum err_code file_sync_file_system(const char *path, struct err *err)
{
    CLEANUP(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, errno, "open %s", path);
    }
    if (syncfs(fd) != 0) {
        return err_set_errno(err, errno, "sync the file system of %s", path);
    }
    return ERR_OK;
}

/* Since when syncfs tells of what could not be written back. */
static bool kernel_reports_errors(void)
{
    struct utsname name;
    int major = 0;
    int minor = 0;
    return uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2 &&
           (major > 5 || (major == 5 && minor >= 8));
}

static bool waits_for_disk(int fd)
{
    struct statfs status;
    if (fstatfs(fd, &status) != 0) {
        return false;
    }
    return status.f_type == EXT4_SUPER_MAGIC || status.f_type == XFS_SUPER_MAGIC ||
           status.f_type == BTRFS_SUPER_MAGIC || status.f_type == TMPFS_MAGIC;
}

enum err_code file_system_open(const char *path, int *fd_out, struct err *err)
{
    CLEANUP(file_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, errno, "open folder %s", path);
    }
    *fd_out = -1;
    if (kernel_reports_errors() && waits_for_disk(fd)) {
        *fd_out = fd;
        fd = -1;
    }
    return ERR_OK;
}

enum err_code file_system_sync(int fd, struct err *err)
{
    if (FAULT_SKIP("file.system.no-sync")) {
        return ERR_OK;
    }
    if (FAULT("file.system-sync")) {
        return err_set_errno(err, EIO, "sync the file system");
    }
    if (syncfs(fd) != 0) {
        return err_set_errno(err, errno, "sync the file system");
    }
    return ERR_OK;
}

static enum err_code sync_parent(const char *path, struct err *err)
{
    CLEANUP(mem_cleanup) char *parent = parent_of(path);
    return file_sync_directory(parent, err);
}

/* ---- folders ---- */

/* One level, whose parent exists; a new durable one is synced into its parent. */
static enum err_code make_one_directory(const char *path, enum durability durability,
                                        struct err *err)
{
    if (mkdir(path, DIRECTORY_MODE) == 0) {
        return durability == DURABLE ? sync_parent(path, err) : ERR_OK;
    }
    struct stat status;
    if (errno == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        return ERR_OK;
    }
    return err_set_errno(err, errno, "make folder %s", path);
}

static enum err_code make_directory(const char *path, enum durability durability, struct err *err)
{
    struct err missed = {0}; /* most often the last level alone is missing */
    if (make_one_directory(path, durability, &missed) != ERR_NOT_FOUND) {
        *err = missed;
        return err->code;
    }
    CLEANUP(mem_cleanup) char *partial = mem_copy_text(path);
    for (char *slash = partial; *slash != '\0'; slash++) {
        if (*slash == '/' && slash > partial && slash[-1] != '/') {
            *slash = '\0';
            TRY(make_one_directory(partial, durability, err));
            *slash = '/';
        }
    }
    return make_one_directory(partial, durability, err);
}

enum err_code file_make_directory(const char *path, struct err *err)
{
    return make_directory(path, DURABLE, err);
}

enum err_code file_make_directory_derived(const char *path, struct err *err)
{
    return make_directory(path, DERIVED, err);
}

/* ---- writing ---- */

static enum err_code write_all(int fd, struct span bytes, const char *path, struct err *err)
{
    size_t done = 0;
    while (done < bytes.size) {
        ssize_t written = write(fd, bytes.data + done, bytes.size - done);
        if (written < 0 && errno != EINTR) {
            return err_set_errno(err, errno, "write %s", path);
        }
        done += written > 0 ? (size_t)written : 0;
    }
    return ERR_OK;
}

enum err_code file_write_at(int fd, int64_t offset, struct span bytes, struct err *err)
{
    size_t done = 0;
    while (done < bytes.size) {
        ssize_t written =
            pwrite(fd, bytes.data + done, bytes.size - done, (off_t)(offset + (int64_t)done));
        if (written < 0 && errno != EINTR) {
            return err_set_errno(err, errno, "write at offset %lld", (long long)offset);
        }
        done += written > 0 ? (size_t)written : 0;
    }
    return ERR_OK;
}

/* A new file with `bytes`, not synced yet; nothing is left of a failed one. */
static enum err_code write_unsynced(const char *path, struct span bytes, int *fd_out,
                                    struct err *err)
{
    CLEANUP(file_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return err_set_errno(err, errno, "create %s", path);
    }
    if (write_all(fd, bytes, path, err) != ERR_OK) {
        (void)unlink(path); /* the first failure is the one to report */
        return err->code;
    }
    *fd_out = fd;
    fd = -1;
    return ERR_OK;
}

static enum err_code write_new(const char *path, struct span bytes, enum durability durability,
                               struct err *err)
{
    CLEANUP(file_close) int fd = -1;
    TRY(write_unsynced(path, bytes, &fd, err));
    if (durability == DURABLE && !FAULT_SKIP("file.publish.no-sync") &&
        file_sync_data(fd, err) != ERR_OK) {
        (void)unlink(path); /* as above */
        return err_wrap(err, "%s", path);
    }
    return ERR_OK;
}

enum err_code file_write_new(const char *path, struct span bytes, struct err *err)
{
    return write_new(path, bytes, DURABLE, err);
}

enum err_code file_write_begin(const char *path, struct span bytes, struct file_sync *sync,
                               struct err *err)
{
    CLEANUP(file_close) int fd = -1;
    TRY(write_unsynced(path, bytes, &fd, err));
    if (!FAULT_SKIP("file.publish.no-sync")) {
        file_sync_begin(sync, fd, false);
        fd = -1;
    }
    return ERR_OK;
}

enum err_code file_create_derived(const char *path, int *fd_out, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return err_set_errno(err, errno, "create %s", path);
    }
    *fd_out = fd;
    return ERR_OK;
}

enum err_code file_write_derived(const char *path, struct span bytes, struct err *err)
{
    return write_new(path, bytes, DERIVED, err);
}

/* A hidden name beside `path` that nobody else has: listings of tables skip it. */
static char *temporary_beside(const char *path)
{
    uint8_t random[TEMPORARY_RANDOM_BYTES];
    secret_random(random, sizeof random);
    char name[] = ".tmp-0123456789abcdef";
    for (size_t i = 0; i < sizeof random; i++) {
        (void)snprintf(name + 5 + 2 * i, 3, "%02x", random[i]); /* fits */
    }
    CLEANUP(mem_cleanup) char *parent = parent_of(path);
    return file_join(parent, name);
}

/* Give the temporary file its name with link(2), which never replaces. */
static enum err_code link_into_place(const char *temporary, const char *path, struct err *err)
{
    if (FAULT("file.publish.before-link")) {
        return err_set_errno(err, EIO, "publish %s", path);
    }
    if (link(temporary, path) != 0) {
        return err_set_errno(err, errno, "publish %s", path);
    }
    if (FAULT("file.publish.after-link")) {
        return err_set_errno(err, EIO, "publish %s", path);
    }
    return ERR_OK;
}

enum err_code file_publish(const char *path, struct span bytes, struct err *err)
{
    CLEANUP(mem_cleanup) char *temporary = temporary_beside(path);
    TRY(write_new(temporary, bytes, DURABLE, err));
    return file_publish_end(path, temporary, err);
}

enum err_code file_publish_begin(const char *path, struct span bytes, struct file_sync *sync,
                                 char **temporary_out, struct err *err)
{
    CLEANUP(mem_cleanup) char *temporary = temporary_beside(path);
    TRY(file_write_begin(temporary, bytes, sync, err));
    *temporary_out = temporary;
    temporary = NULL;
    return ERR_OK;
}

enum err_code file_publish_end(const char *path, const char *temporary, struct err *err)
{
    enum err_code result = link_into_place(temporary, path, err);
    file_publish_abandon(temporary); /* garbage if it stays: a second name of the same file */
    if (result != ERR_OK || FAULT_SKIP("file.publish.no-directory-sync")) {
        return result;
    }
    return sync_parent(path, err);
}

void file_publish_abandon(const char *temporary)
{
    (void)unlink(temporary); /* a hidden name that no listing shows */
}

static enum err_code replace(const char *path, struct span bytes, enum durability durability,
                             struct err *err)
{
    CLEANUP(mem_cleanup) char *temporary = temporary_beside(path);
    TRY(write_new(temporary, bytes, durability, err));
    if (rename(temporary, path) != 0) {
        int number = errno;
        (void)unlink(temporary); /* the rename's failure is the one to report */
        return err_set_errno(err, number, "replace %s", path);
    }
    return durability == DURABLE ? sync_parent(path, err) : ERR_OK;
}

enum err_code file_replace(const char *path, struct span bytes, struct err *err)
{
    return replace(path, bytes, DURABLE, err);
}

enum err_code file_replace_derived(const char *path, struct span bytes, struct err *err)
{
    return replace(path, bytes, DERIVED, err);
}

enum err_code file_move(const char *from, const char *to, struct err *err)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) != 0) {
        return err_set_errno(err, errno, "move %s to %s", from, to);
    }
    return sync_parent(to, err);
}

/* For file systems that know no O_TMPFILE: a hidden name, given up at once. */
static enum err_code create_and_unlink(const char *folder, int *fd_out, struct err *err)
{
    CLEANUP(mem_cleanup) char *inside = file_join(folder, "x");
    CLEANUP(mem_cleanup) char *temporary = temporary_beside(inside);
    CLEANUP(file_close)
    int fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0 || unlink(temporary) != 0) {
        return err_set_errno(err, errno, "create a temporary file in %s", folder);
    }
    *fd_out = fd;
    fd = -1;
    return ERR_OK;
}

enum err_code file_create_nameless(const char *folder, int *fd_out, struct err *err)
{
    int fd = open(folder, O_RDWR | O_TMPFILE | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
        return create_and_unlink(folder, fd_out, err);
    }
    if (fd < 0) {
        return err_set_errno(err, errno, "create a temporary file in %s", folder);
    }
    *fd_out = fd;
    return ERR_OK;
}

/* ---- reading ---- */

enum err_code file_open_read(const char *path, int *fd_out, int64_t *size_out, struct err *err)
{
    CLEANUP(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        return err_set_errno(err, errno, "open %s", path);
    }
    if (!S_ISREG(status.st_mode)) {
        return err_set(err, ERR_IO, "open %s: not a regular file", path);
    }
    *size_out = status.st_size;
    *fd_out = fd;
    fd = -1;
    return ERR_OK;
}

/* Room for the next read, what is allocated already first; NULL once the ceiling is reached. */
static uint8_t *reserve_read(struct buffer *contents, size_t *room_out)
{
    size_t room = contents->capacity - contents->size;
    if (room == 0) {
        size_t left = contents->size_max - contents->size;
        room = left < READ_STEP_BYTES ? left : READ_STEP_BYTES;
    }
    *room_out = room;
    return room > 0 ? buffer_reserve(contents, room) : NULL;
}

/* Does the file go on behind what filled the buffer to its ceiling? */
static enum err_code check_end(int fd, const char *path, struct buffer *contents, struct err *err)
{
    uint8_t next = 0;
    ssize_t got = read(fd, &next, 1);
    if (got < 0) {
        return err_set_errno(err, errno, "read %s", path);
    }
    if (got > 0) {
        contents->overflowed = true;
    }
    return buffer_check(contents, path, err);
}

enum err_code file_read(const char *path, struct buffer *contents, struct err *err)
{
    CLEANUP(file_close) int fd = -1;
    int64_t size = 0;
    TRY(file_open_read(path, &fd, &size, err));
    if ((uint64_t)size < contents->size_max - contents->size) {
        /* one allocation for the usual case, with a byte to meet the end in */
        (void)buffer_reserve(contents, (size_t)size + 1);
    }
    for (;;) {
        size_t room = 0;
        uint8_t *target = reserve_read(contents, &room);
        if (target == NULL) {
            return check_end(fd, path, contents, err);
        }
        ssize_t got = read(fd, target, room);
        if (got < 0 && errno != EINTR) {
            return err_set_errno(err, errno, "read %s", path);
        }
        if (got == 0) {
            return ERR_OK;
        }
        buffer_advance(contents, got > 0 ? (size_t)got : 0);
    }
}

enum err_code file_read_at(int fd, int64_t offset, void *bytes_out, size_t size, struct err *err)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got =
            pread(fd, (uint8_t *)bytes_out + done, size - done, (off_t)(offset + (int64_t)done));
        if (got < 0 && errno != EINTR) {
            return err_set_errno(err, errno, "read at offset %lld", (long long)offset);
        }
        if (got == 0) {
            return err_set(err, ERR_CORRUPT, "the file ends at %lld, before the %zu bytes at %lld",
                           (long long)offset + (long long)done, size, (long long)offset);
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return ERR_OK;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

enum err_code file_stat(const char *path, int64_t *size_out, int64_t *modified_ms_out,
                        struct err *err)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return err_set_errno(err, errno, "look at %s", path);
    }
    *size_out = status.st_size;
    *modified_ms_out = (int64_t)status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1000000;
    return ERR_OK;
}

enum err_code file_free_space(const char *path, int64_t *bytes_out, struct err *err)
{
    struct statvfs status;
    if (statvfs(path, &status) != 0) {
        return err_set_errno(err, errno, "look at the file system of %s", path);
    }
    *bytes_out = (int64_t)(status.f_bavail * status.f_frsize);
    return ERR_OK;
}

static enum err_code map_descriptor(int fd, int64_t size, struct span *mapping_out, struct err *err)
{
    if (size == 0) {
        *mapping_out = (struct span){0};
        return ERR_OK;
    }
    void *mapping = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) {
        return err_set_errno(err, errno, "map");
    }
    *mapping_out = span_of(mapping, (size_t)size);
    return ERR_OK;
}

enum err_code file_map(const char *path, struct span *mapping_out, struct err *err)
{
    CLEANUP(file_close) int fd = -1;
    int64_t size = 0;
    TRY(file_open_read(path, &fd, &size, err));
    if (map_descriptor(fd, size, mapping_out, err) != ERR_OK) {
        return err_wrap(err, "%s", path);
    }
    return ERR_OK;
}

enum err_code file_map_open(int fd, struct span *mapping_out, struct err *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return err_set_errno(err, errno, "size of an open file");
    }
    return map_descriptor(fd, status.st_size, mapping_out, err);
}

enum err_code file_map_shared(const char *path, size_t size, void **mapping_out, struct err *err)
{
    CLEANUP(file_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return err_set_errno(err, errno, "open %s", path);
    }
    int number = posix_fallocate(fd, 0, (off_t)size);
    if (number != 0) {
        return err_set_errno(err, number, "reserve %s", path);
    }
    void *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) {
        return err_set_errno(err, errno, "map %s", path);
    }
    *mapping_out = mapping;
    return ERR_OK;
}

void file_unmap(struct span *mapping)
{
    if (mapping->data != NULL) {
        /* the mapping is ours alone: giving it back is the one use of it that is not const */
        (void)munmap((void *)(uintptr_t)mapping->data,
                     mapping->size); /* cannot fail for a mapping */
    }
    *mapping = (struct span){0};
}

/* ---- where a file lies ---- */

/* The mount's number, never used again until the next boot; 0 = the kernel does not tell. */
static uint64_t mount_number(const char *path)
{
    struct statx status = {0};
    if (statx(AT_FDCWD, path, 0, STATX_MNT_ID_UNIQUE, &status) != 0 ||
        (status.stx_mask & STATX_MNT_ID_UNIQUE) == 0) {
        return 0;
    }
    return status.stx_mnt_id;
}

void file_mount_identity(const char *path, char identity_out[FILE_MOUNT_BYTES])
{
    struct err ignored = {0};
    struct buffer text;
    buffer_init(&text, 4096);
    identity_out[0] = '\0';
    if (file_read("/proc/sys/kernel/random/boot_id", &text, &ignored) == ERR_OK &&
        text.size >= BOOT_ID_CHARACTERS) {
        (void)snprintf(identity_out, FILE_MOUNT_BYTES, "%.*s/%" PRIu64, BOOT_ID_CHARACTERS,
                       (const char *)text.data, mount_number(path)); /* fits */
    }
    buffer_deinit(&text);
}

/* ---- names ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_name(struct file_names *names, size_t *capacity, const char *name)
{
    if (names->count == *capacity) {
        *capacity = *capacity > 0 ? *capacity * 2 : 16;
        names->names = mem_resize(names->names, *capacity, sizeof *names->names);
    }
    names->names[names->count++] = mem_copy_text(name);
}

static void close_directory(DIR **directory)
{
    if (*directory != NULL) {
        (void)closedir(*directory); /* it was only read */
    }
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

enum err_code file_list(const char *path, struct file_names *names_out, struct err *err)
{
    CLEANUP(close_directory) DIR *directory = opendir(path);
    if (directory == NULL) {
        return err_set_errno(err, errno, "list %s", path);
    }
    CLEANUP(file_names_free) struct file_names names = {0};
    size_t capacity = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            break;
        }
        if (!is_dots(entry->d_name)) {
            add_name(&names, &capacity, entry->d_name);
        }
    }
    if (errno != 0) {
        return err_set_errno(err, errno, "list %s", path);
    }
    if (names.count > 0) {
        qsort(names.names, names.count, sizeof *names.names, compare_names);
    }
    *names_out = names;
    names = (struct file_names){0};
    return ERR_OK;
}

void file_names_free(struct file_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        mem_free(names->names[i]);
    }
    mem_free(names->names);
    *names = (struct file_names){0};
}

/* ---- removing ---- */

enum err_code file_remove(const char *path, struct err *err)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        return err_set_errno(err, errno, "remove %s", path);
    }
    return ERR_OK;
}

/* Links are removed, never followed; the depth is bounded by TREE_DEPTH_MAX. */
static enum err_code remove_tree(const char *path, int depth, struct err *err)
{
    struct stat status;
    if (lstat(path, &status) != 0) {
        return errno == ENOENT ? ERR_OK : err_set_errno(err, errno, "remove %s", path);
    }
    if (!S_ISDIR(status.st_mode)) {
        return file_remove(path, err);
    }
    if (depth == TREE_DEPTH_MAX) {
        return err_set(err, ERR_INVALID, "remove %s: more than %d folders deep", path,
                       TREE_DEPTH_MAX);
    }
    CLEANUP(file_names_free) struct file_names names = {0};
    TRY(file_list(path, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        CLEANUP(mem_cleanup) char *child = file_join(path, names.names[i]);
        TRY(remove_tree(child, depth + 1, err));
    }
    if (rmdir(path) != 0 && errno != ENOENT) {
        return err_set_errno(err, errno, "remove %s", path);
    }
    return ERR_OK;
}

enum err_code file_remove_tree(const char *path, struct err *err)
{
    return remove_tree(path, 0, err);
}

/* ---- the lock of a data directory ---- */

static enum err_code refuse_locked(int fd, const char *path, struct err *err)
{
    char pid[PID_TEXT_BYTES] = "unknown";
    ssize_t got = pread(fd, pid, sizeof pid - 1, 0);
    if (got > 0) {
        pid[strspn(pid, "0123456789")] = '\0';
    }
    return err_set(err, ERR_BUSY, "%s is locked by the running process %s; stop it first", path,
                   pid);
}

enum err_code file_lock(const char *path, int *fd_out, struct err *err)
{
    CLEANUP(file_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return err_set_errno(err, errno, "open lock %s", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? refuse_locked(fd, path, err)
                                    : err_set_errno(err, errno, "lock %s", path);
    }
    char pid[PID_TEXT_BYTES];
    int size = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0) {
        return err_set_errno(err, errno, "write lock %s", path);
    }
    TRY(file_write_at(fd, 0, span_of(pid, (size_t)size), err));
    *fd_out = fd;
    fd = -1;
    return ERR_OK;
}
