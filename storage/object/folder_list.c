/*
 * Listing the objects of folders, whichever way a kind of store opens them.
 */
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/object/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Folders still to be read; names from the store's root, "" is the root itself. */
struct pending {
    char **folders;
    size_t count;
    size_t capacity;
};

struct listing {
    const struct object_folders *folders;
    const struct object_list_options *options;
    struct object_list list;
    size_t capacity;
    struct pending pending;
};

static void listing_deinit(struct listing *listing)
{
    object_list_free(&listing->list);
    for (size_t i = 0; i < listing->pending.count; i++) {
        mem_free(listing->pending.folders[i]);
    }
    mem_free(listing->pending.folders);
}

static void push_folder(struct pending *pending, char *folder)
{
    if (pending->count == pending->capacity) {
        pending->capacity = pending->capacity == 0 ? 16 : pending->capacity * 2;
        pending->folders = mem_resize(pending->folders, pending->capacity, sizeof(char *));
    }
    pending->folders[pending->count++] = folder;
}

static size_t depth_of(const char *name)
{
    size_t depth = 1;
    for (const char *at = strchr(name, '/'); at != NULL; at = strchr(at + 1, '/')) {
        depth++;
    }
    return depth;
}

/* 'd' folder, 'f' file, '-' neither. A link to a folder is never followed: it could be a loop. */
static char kind_of(int folder_fd, const struct dirent *entry, bool follow_links)
{
    if (entry->d_type == DT_REG) {
        return 'f';
    }
    if (entry->d_type == DT_DIR) {
        return 'd';
    }
    struct stat status;
    if (entry->d_type == DT_LNK) {
        return follow_links && fstatat(folder_fd, entry->d_name, &status, 0) == 0 &&
                       S_ISREG(status.st_mode)
                   ? 'f'
                   : '-';
    }
    if (fstatat(folder_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return '-';
    }
    return S_ISDIR(status.st_mode) ? 'd' : S_ISREG(status.st_mode) ? 'f' : '-';
}

static enum err_code add_file(struct listing *listing, int folder_fd, const char *base, char *name,
                              struct err *err)
{
    const struct object_list_options *options = listing->options;
    int64_t size = -1;
    int64_t modified_ms = -1;
    if (options->details) {
        struct stat status;
        int flags = listing->folders->follow_links ? 0 : AT_SYMLINK_NOFOLLOW;
        if (fstatat(folder_fd, base, &status, flags) != 0) {
            mem_free(name); /* removed since it was listed */
            return ERR_OK;
        }
        size = status.st_size;
        modified_ms =
            (int64_t)status.st_mtim.tv_sec * 1000 + (int64_t)status.st_mtim.tv_nsec / 1000000;
    }
    return object_list_add(&listing->list, &listing->capacity, name, size, modified_ms, err);
}

static enum err_code add_entry(struct listing *listing, const char *folder, int folder_fd,
                               const struct dirent *entry, struct err *err)
{
    if (entry->d_name[0] == '.') {
        return ERR_OK; /* temporary files, Hadoop's side files, and the folder's own two */
    }
    char *name =
        folder[0] != '\0' ? file_join(folder, entry->d_name) : mem_copy_text(entry->d_name);
    const char *start_after = listing->options->start_after;
    char kind = kind_of(folder_fd, entry, listing->folders->follow_links);
    if (kind == 'd' && listing->options->recursive) {
        if (depth_of(name) > OBJECT_DEPTH_MAX) {
            mem_free(name);
            return err_set(err, ERR_TOO_LARGE, "folders are nested deeper than %d",
                           OBJECT_DEPTH_MAX);
        }
        push_folder(&listing->pending, name);
        return ERR_OK;
    }
    if (kind != 'f' || (start_after != NULL && strcmp(name, start_after) <= 0)) {
        mem_free(name);
        return ERR_OK;
    }
    return add_file(listing, folder_fd, entry->d_name, name, err);
}

static void close_folder(DIR **folder)
{
    if (*folder != NULL) {
        (void)closedir(*folder); /* only read from */
    }
}

static enum err_code open_stream(const struct listing *listing, const char *folder,
                                 DIR **stream_out, struct err *err)
{
    CLEANUP(file_close) int fd = -1;
    TRY(listing->folders->open(listing->folders->arg, folder, &fd, err));
    *stream_out = fdopendir(fd);
    if (*stream_out == NULL) {
        return err_set_errno(err, errno, "list folder '%s'", folder);
    }
    fd = -1; /* the stream's */
    return ERR_OK;
}

static enum err_code list_folder(struct listing *listing, const char *folder, struct err *err)
{
    CLEANUP(close_folder) DIR *stream = NULL;
    enum err_code code = open_stream(listing, folder, &stream, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err); /* an absent folder is an empty list */
        return ERR_OK;
    }
    TRY(code);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            return errno == 0 ? ERR_OK : err_set_errno(err, errno, "list folder '%s'", folder);
        }
        TRY(add_entry(listing, folder, dirfd(stream), entry, err));
    }
}

enum err_code object_list_folders(const struct object_folders *folders,
                                  const struct object_list_options *options,
                                  struct object_list *list_out, struct err *err)
{
    CLEANUP(listing_deinit) struct listing listing = {.folders = folders, .options = options};
    push_folder(&listing.pending, mem_copy_text(options->folder != NULL ? options->folder : ""));
    while (listing.pending.count > 0) {
        CLEANUP(mem_cleanup) char *folder = listing.pending.folders[--listing.pending.count];
        TRY(list_folder(&listing, folder, err));
    }
    object_list_sort(&listing.list);
    *list_out = listing.list;
    listing.list = (struct object_list){0};
    return ERR_OK;
}
