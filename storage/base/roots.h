/*
 * Roots: the folders that an administrator opened for jobs, and the one way to
 * touch anything below them. A path comes from a job definition, so it is an
 * attacker's until it was resolved here: the kernel itself (openat2) refuses to
 * leave the root, by "..", by symbolic links, or by the links of /proc.
 *
 * A path names a place below a root in either of two ways:
 *   /srv/drop/a.csv   absolute, below one of the roots (the deepest that fits)
 *   a.csv             relative to the first root
 * It is UTF-8 without control characters; "." and empty parts are left out, ".."
 * is refused. Only regular files are opened, never a pipe, device or socket.
 *
 * Not kept out: hard links to a file outside (who may make one may read it:
 * fs.protected_hardlinks), and what is mounted below a root on purpose.
 *
 * A root is opened anew for each use, so that remounting or replacing it needs
 * no restart.
 *
 * Thread:  struct roots is immutable; every function any thread.
 * Source:  openat2(2).
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ROOTS_MAX = 16,
    ROOT_PATH_BYTES_MAX = 4000, /* of a path, a pattern, or a match */
    ROOT_NAME_BYTES_MAX = 255,  /* of one part of it */
    ROOT_DEPTH_MAX = 32,        /* parts of a path below its root */
    ROOT_MATCHES_MAX = 10000,   /* files of one pattern */
    ROOT_ENTRIES_MAX = 1000000, /* names looked at for one pattern */
    ROOT_OUTPUT_NAME_MAX = 240, /* bytes of the name of a file that is written */
};

struct roots;

/*
 * Check that the folders exist and that the kernel can keep paths below them.
 *
 *   folders  absolute paths separated by ':'; "" = none, then every path is refused
 *   setting  name of the setting they come from, for messages
 *
 * Errors:  ERR_INVALID not absolute, "/" itself, too many; ERR_NOT_FOUND;
 *          ERR_UNSUPPORTED no openat2 (Linux before 5.6, or a sandbox forbids it).
 */
enum err_code roots_open(const char *folders, const char *setting, struct roots **roots_out,
                         struct err *err) MUST_USE;

/* Accepts NULL inside; nulls. */
void roots_close(struct roots **roots);

/* No folder is configured. */
bool roots_is_empty(const struct roots *roots);

/*
 * Refuse roots that hold `folder` or lie inside of it: jobs must not read or
 * write the server's own files.
 * Errors:  ERR_FORBIDDEN; ERR_NOT_FOUND, ERR_IO a folder cannot be looked at.
 */
enum err_code roots_check_apart(const struct roots *roots, const char *folder,
                                struct err *err) MUST_USE;

/* A path taken apart: its root and what follows. */
struct root_place {
    const char *root;                       /* absolute, without '/' at its end */
    char relative[ROOT_PATH_BYTES_MAX + 1]; /* parts joined by one '/'; "" = the root itself */
};

/*
 * Where a path or pattern lies, by its text alone: nothing need be there.
 * Errors:  ERR_FORBIDDEN outside of every root; ERR_INVALID no path.
 */
enum err_code roots_resolve(const struct roots *roots, const char *path,
                            struct root_place *place_out, struct err *err) MUST_USE;

/* ---- reading ---- */

struct root_file {
    char *path; /* absolute, in the one form every spelling leads to */
    int64_t size;
    int64_t modified_us;
};

/*
 * Open a regular file for reading.
 *
 *   file_out  NULL = not wanted; else as the file was when it was opened
 *
 * Memory:  file_out: root_file_free.
 * Errors:  ERR_FORBIDDEN outside of every root, a link in the way, not a regular
 *          file, no permission; ERR_NOT_FOUND; ERR_INVALID no path; ERR_IO.
 */
enum err_code roots_open_file(const struct roots *roots, const char *path, int *fd_out,
                              struct root_file *file_out, struct err *err) MUST_USE;
void root_file_free(struct root_file *file);

/* Open a folder, to be read or to be handed to openat2. Errors: as roots_open_file. */
enum err_code roots_open_folder(const struct roots *roots, const char *path, int *fd_out,
                                struct err *err) MUST_USE;

/*
 * As openat2 below a folder that was opened here: regular files for reading.
 *   path  relative to the folder; links and ".." are refused as above
 */
enum err_code root_open_below(int folder_fd, const char *path, int *fd_out,
                              struct err *err) MUST_USE;

/*
 * The regular files that match a pattern, in order of their paths' bytes.
 *
 *   pattern      a path whose parts may hold `*`, `?`, `[a-z]` and `[!a-z]`; one part may
 *                be `**`: any number of folders. None of them matches a leading dot, nor
 *                anything that is not a regular file or, on the way, a folder.
 *   matches_max  1 to ROOT_MATCHES_MAX
 *
 * A pattern without such characters names at most one file; if it is something else
 * than a regular file that is an error, if nothing is there a list without entries.
 *
 * Memory:  root_matches_free.
 * Errors:  ERR_TOO_LARGE more than matches_max files or ROOT_ENTRIES_MAX names;
 *          ERR_INVALID broken pattern, a matching name that is not UTF-8;
 *          else as roots_open_file.
 */
struct root_matches {
    struct root_file *files;
    size_t count;
};
enum err_code roots_expand(const struct roots *roots, const char *pattern, size_t matches_max,
                           struct root_matches *matches_out, struct err *err) MUST_USE;
void root_matches_free(struct root_matches *matches);

/* Has the path a part that stands for several names? */
bool roots_is_pattern(const char *path);

/* Does a name match one part of a pattern (`*`, `?`, `[…]`)? Linear in name × part. */
bool root_part_matches(struct span part, struct span name);

/* ---- writing ---- */

/*
 * A file that appears under its name complete or not at all. Until then it is
 * ".NAME.partial" beside it, which patterns skip; what a crash leaves there is
 * overwritten by the next try.
 */
struct root_output;

/*
 *   path  of the file, which may exist already; missing folders are made (0700)
 *
 * Errors:  ERR_BUSY somebody is writing this file now; ERR_FORBIDDEN, ERR_INVALID as
 *          roots_open_file; ERR_NO_SPACE; ERR_IO.
 */
enum err_code root_output_open(const struct roots *roots, const char *path,
                               struct root_output **output_out, struct err *err) MUST_USE;

/* Append. Errors: ERR_NO_SPACE; ERR_IO. */
enum err_code root_output_write(struct root_output *output, struct span bytes,
                                struct err *err) MUST_USE;

/* Its absolute path, until it is closed. */
const char *root_output_path(const struct root_output *output);

/* Of the unfinished file, for writers that need more than appending. Stays the output's. */
int root_output_fd(const struct root_output *output);

/*
 * fsync, give it its name (replacing what stood there), fsync the folder.
 * Durable: content and name, when ERR_OK. After an error the old file stands, or
 *          the outcome is unknown if the folder's fsync failed; writing it again is safe.
 */
enum err_code root_output_commit(struct root_output *output, struct err *err) MUST_USE;

/* Removes what was not committed. Accepts NULL inside; nulls. */
void root_output_close(struct root_output **output);

/* ---- for the files beside roots.c ---- */

/* 1 to ROOT_PATH_BYTES_MAX bytes of UTF-8 without control characters? Errors: ERR_INVALID. */
enum err_code root_check_text(const char *path, struct err *err) MUST_USE;

/* Open the root folder itself (O_PATH). */
enum err_code root_open_top(const struct root_place *place, int *fd_out, struct err *err) MUST_USE;

/* openat2 with every guard on; -1 and errno on failure. `relative` "" is the folder itself. */
int root_openat(int folder_fd, const char *relative, uint64_t flags, uint64_t mode);

/* The error of a failed root_openat, for a path as the caller would write it. */
enum err_code root_refuse(int number, const char *path, struct err *err) __attribute__((cold));
