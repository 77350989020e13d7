/*
 * Durable file verbs: the one place that opens, syncs, links and renames.
 * Each contract says what survives a power cut once it returned ERR_OK.
 *
 * A failed write or fsync on a durable path is reported as ERR_IO (or
 * ERR_NO_SPACE when the disk is full and nothing was half promised); the caller
 * that had promised durability must then call process_stop_after_io_error.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_sync; /* storage/base/file_sync.h */

/*
 * An fsync failed or a promised write did: acknowledge nothing more. Prints one
 * log line and ends the process with EX_IOERR (74), running no clean-up.
 * Source:  design §6; one failed fsync, then going on, loses acknowledged data.
 */
void process_stop_after_io_error(const struct err *err) __attribute__((noreturn, cold));

/* Close and set to -1; accepts -1. For CLEANUP on `int fd = -1`. */
void file_close(int *fd);

/* Create `path` and its missing parents, mode 0700. Durable: parents are synced. */
enum err_code file_make_directory(const char *path, struct err *err) MUST_USE;

/* The same without any sync. */
enum err_code file_make_directory_derived(const char *path, struct err *err) MUST_USE;

/* fsync of a directory: names created, linked or removed in it survive. */
enum err_code file_sync_directory(const char *path, struct err *err) MUST_USE;

/* The same for an open one. */
enum err_code file_sync_open_directory(int fd, struct err *err) MUST_USE;

/*
 * Write back everything of the file system that holds `path`. Once at start: what a
 * killed predecessor wrote but did not sync yet is visible now and will be built
 * upon, so it must be durable before anything is acknowledged.
 */
enum err_code file_sync_file_system(const char *path, struct err *err) MUST_USE;

/*
 * Many new files made durable by one wait: open the file system before the first is
 * written, write them by file_write_derived into folders of file_make_directory_derived,
 * then sync. What the file system failed to write back since the opening, of anybody's,
 * is an error of the sync.
 *
 *   fd_out  -1 where the kernel's syncfs is no promise (network, FUSE, stacked and
 *           unknown file systems): sync each file and folder there
 *
 * Durable: contents and names of all of them, when the sync returned ERR_OK.
 * Source:  syncfs(2): errors since Linux 5.8; ext4, xfs, btrfs and tmpfs are known to wait.
 */
enum err_code file_system_open(const char *path, int *fd_out, struct err *err) MUST_USE;
/* A failure here must end in process_stop_after_io_error. */
enum err_code file_system_sync(int fd, struct err *err) MUST_USE;

/*
 * Write a new file that must not exist, fsync it. Its *name* survives only after
 * file_sync_directory of its folder.
 * Errors:  ERR_EXISTS, ERR_NO_SPACE, ERR_IO; a failed file is removed.
 */
enum err_code file_write_new(const char *path, struct span bytes, struct err *err) MUST_USE;

/*
 * The same in two steps: the file is durable as that says once `sync` has ended well
 * (file_sync.h). After an error there is no sync to be ended.
 */
enum err_code file_write_begin(const char *path, struct span bytes, struct file_sync *sync,
                               struct err *err) MUST_USE;

/* As file_write_new without any sync: for derived files that are checked by checksum. */
enum err_code file_write_derived(const char *path, struct span bytes, struct err *err) MUST_USE;

/*
 * Create a new file that is written in pieces by file_write_at and never synced.
 * Errors:  ERR_EXISTS, ERR_NO_SPACE, ERR_IO.
 */
enum err_code file_create_derived(const char *path, int *fd_out, struct err *err) MUST_USE;

/*
 * A new file of `folder` without a name, for this user only, to be written and read
 * by file_write_at, file_read_at and file_map_open: it goes with its descriptor,
 * however the process ends.
 * Errors:  ERR_NOT_FOUND the folder; ERR_NO_SPACE; ERR_IO.
 */
enum err_code file_create_nameless(const char *folder, int *fd_out, struct err *err) MUST_USE;

/*
 * Publish `bytes` at `path` if nothing is there: temporary file in the same
 * folder (hidden name) → fsync → link → unlink → fsync of the folder.
 * Durable: content and name, when ERR_OK.
 * Errors:  ERR_EXISTS the race is lost; ERR_NO_SPACE; ERR_IO the outcome is
 *          unknown if it happened at the folder's fsync.
 */
enum err_code file_publish(const char *path, struct span bytes, struct err *err) MUST_USE;

/*
 * The same in two steps. Begin writes the temporary file and begins its sync (an error leaves
 * neither); end, after the sync has ended well, gives it the name; abandon removes it instead.
 *
 *   temporary_out  its path; mem_free
 */
enum err_code file_publish_begin(const char *path, struct span bytes, struct file_sync *sync,
                                 char **temporary_out, struct err *err) MUST_USE;
enum err_code file_publish_end(const char *path, const char *temporary, struct err *err) MUST_USE;
void file_publish_abandon(const char *temporary);

/* Replace `path` atomically: temporary → fsync → rename → fsync of the folder. */
enum err_code file_replace(const char *path, struct span bytes, struct err *err) MUST_USE;

/* As file_replace without any sync (hints, derived manifests). */
enum err_code file_replace_derived(const char *path, struct span bytes, struct err *err) MUST_USE;

/*
 * Give a file or folder another name in the same folder; `to` must be free.
 * Durable: the new name.
 * Errors:  ERR_EXISTS; ERR_NOT_FOUND; ERR_IO.
 */
enum err_code file_move(const char *from, const char *to, struct err *err) MUST_USE;

/* Whole file into `contents` (appended, its ceiling applies). Errors: ERR_NOT_FOUND, ERR_IO. */
enum err_code file_read(const char *path, struct buffer *contents, struct err *err) MUST_USE;

/* Exactly `size` bytes at `offset`. Errors: ERR_CORRUPT short file; ERR_IO. */
enum err_code file_read_at(int fd, int64_t offset, void *bytes_out, size_t size,
                           struct err *err) MUST_USE;

/* All of `bytes` at `offset`; no sync. */
enum err_code file_write_at(int fd, int64_t offset, struct span bytes, struct err *err) MUST_USE;

/* fdatasync. A failure here must end in process_stop_after_io_error. */
enum err_code file_sync_data(int fd, struct err *err) MUST_USE;

enum err_code file_open_read(const char *path, int *fd_out, int64_t *size_out,
                             struct err *err) MUST_USE;

/* Remove one file; absent is ERR_OK. Not synced. */
enum err_code file_remove(const char *path, struct err *err) MUST_USE;

/* Remove a folder and all below it; absent is ERR_OK. Not synced. */
enum err_code file_remove_tree(const char *path, struct err *err) MUST_USE;

/*
 * Names in a folder, sorted by bytes; `.` and `..` left out.
 * Memory: names_out is one allocation of pointers and one a name; file_names_free.
 */
struct file_names {
    char **names;
    size_t count;
};
enum err_code file_list(const char *path, struct file_names *names_out, struct err *err) MUST_USE;
void file_names_free(struct file_names *names);

bool file_exists(const char *path);

/* Size and modification time (ms since epoch). Errors: ERR_NOT_FOUND, ERR_IO. */
enum err_code file_stat(const char *path, int64_t *size_out, int64_t *modified_ms_out,
                        struct err *err) MUST_USE;

/* Free bytes of the file system that holds `path`, for unprivileged writers. */
enum err_code file_free_space(const char *path, int64_t *bytes_out, struct err *err) MUST_USE;

/*
 * Map a whole file read-only. An empty file maps to a NULL span.
 * Memory: file_unmap; the mapping outlives the removal of the name.
 */
enum err_code file_map(const char *path, struct span *mapping_out, struct err *err) MUST_USE;
/* The same for an open file; the mapping outlives the descriptor. */
enum err_code file_map_open(int fd, struct span *mapping_out, struct err *err) MUST_USE;
void file_unmap(struct span *mapping);

/*
 * Identity of the running kernel and, where it tells (Linux 6.8), of the mount that the path is
 * on; "" when unknown. Files written under another one may have lost unsynced bytes: by a power
 * cut, or by a disk that failed and was mounted again.
 */
enum { FILE_MOUNT_BYTES = 64 };
void file_mount_identity(const char *path, char identity_out[FILE_MOUNT_BYTES]);

/*
 * Map `size` bytes of a file for reading and writing, made when absent: what is stored there is in
 * the file after a killed process, without a system call. Its blocks are taken first, because a
 * page without one would end the process when the disk is full.
 * Errors:  ERR_NO_SPACE; ERR_IO.
 * Memory:  munmap.
 */
enum err_code file_map_shared(const char *path, size_t size, void **mapping_out,
                              struct err *err) MUST_USE;

/*
 * Take the exclusive lock of a data directory (`<path>`, created 0600).
 * Errors:  ERR_BUSY another process holds it (its pid is in the message).
 * Memory:  the lock lives until file_close(fd_out) or the end of the process.
 */
enum err_code file_lock(const char *path, int *fd_out, struct err *err) MUST_USE;

/* Joined with one '/'; free with mem_free. */
char *file_join(const char *folder, const char *name);
