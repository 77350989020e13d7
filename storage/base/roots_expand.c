/*
 * Patterns below a root. See roots.h for the contract.
 *
 * Folders that wait to be listed stand on a stack with the number of the part
 * that their names are compared with, so no depth of folders makes us recurse.
 * Nothing is followed on the strength of what a listing said: each folder and
 * file is looked at through openat2 again.
 */
#include "storage/base/roots.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct waiting {
    char *folder; /* relative to the root, "" = the root */
    size_t part;  /* that its names are compared with */
};

struct expansion {
    struct root_place place; /* .relative is the pattern */
    int top;                 /* the root folder */
    struct span parts[ROOT_DEPTH_MAX];
    size_t parts_count;
    struct waiting *stack;
    size_t stack_count, stack_capacity;
    size_t entries_count; /* names looked at */
    size_t matches_max;
    struct root_matches matches;
    size_t matches_capacity;
};

/* ---- one part ---- */

static bool is_wild(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '*' || text.data[i] == '?' || text.data[i] == '[') {
            return true;
        }
    }
    return false;
}

bool roots_is_pattern(const char *path)
{
    return is_wild(span_of_text(path));
}

/* Index behind the ']' of the class that begins at `at`; 0 when it is not closed. */
static size_t class_end(struct span part, size_t at)
{
    size_t i = at + 1;
    if (i < part.size && part.data[i] == '!') {
        i++;
    }
    /* a ']' in the first place stands for itself */
    for (size_t first = i; i < part.size; i++) {
        if (part.data[i] == ']' && i > first) {
            return i + 1;
        }
    }
    return 0;
}

/* Classes compare bytes: they are meant for digits and Latin letters. */
static bool class_holds(struct span part, size_t at, size_t end, uint8_t byte)
{
    size_t i = at + 1;
    bool negated = part.data[i] == '!';
    bool found = false;
    i += negated;
    while (i + 1 < end) {
        uint8_t low = part.data[i];
        uint8_t high = low;
        if (i + 3 < end && part.data[i + 1] == '-') {
            high = part.data[i + 2];
            i += 2;
        }
        i++;
        found = found || (byte >= low && byte <= high);
    }
    return found != negated;
}

/* Does one pattern element match the next character of the name? Sizes of both are given. */
static bool element_matches(struct span part, size_t at, struct span name, size_t position,
                            size_t *element_size, size_t *name_size)
{
    *element_size = 1;
    *name_size = 1;
    if (part.data[at] == '?') {
        size_t size = text_utf8_sequence(span_of(name.data + position, name.size - position));
        *name_size = size > 0 ? size : 1;
        return true;
    }
    size_t end = part.data[at] == '[' ? class_end(part, at) : 0;
    if (end > 0) {
        *element_size = end - at;
        return class_holds(part, at, end, name.data[position]);
    }
    return part.data[at] == name.data[position];
}

bool root_part_matches(struct span part, struct span name)
{
    if (name.size > 0 && name.data[0] == '.' && (part.size == 0 || part.data[0] != '.')) {
        return false;
    }
    size_t at = 0;
    size_t position = 0;
    size_t star = SIZE_MAX; /* the last `*`: what follows it is tried at each later place */
    size_t star_position = 0;
    while (position < name.size) {
        size_t element_size = 0;
        size_t name_size = 0;
        if (at < part.size && part.data[at] == '*') {
            star = at++;
            star_position = position;
        } else if (at < part.size &&
                   element_matches(part, at, name, position, &element_size, &name_size)) {
            at += element_size;
            position += name_size;
        } else if (star != SIZE_MAX) {
            at = star + 1;
            position = ++star_position;
        } else {
            return false;
        }
    }
    while (at < part.size && part.data[at] == '*') {
        at++;
    }
    return at == part.size;
}

/* ---- the pattern ---- */

static enum err_code check_part(struct span part, bool *deep, struct err *err)
{
    bool is_deep = span_equal_text(part, "**");
    if (is_deep && *deep) {
        return err_set(err, ERR_INVALID, "'**' may stand once in a pattern");
    }
    *deep = *deep || is_deep;
    for (size_t i = 0; i < part.size; i++) {
        size_t end = part.data[i] == '[' ? class_end(part, i) : i + 1;
        if (end == 0) {
            return err_set(err, ERR_INVALID, "'[' is not closed in '%.*s'; write '[[]' for itself",
                           SPAN_PRINT(part));
        }
        i = end - 1;
    }
    return ERR_OK;
}

static enum err_code split(struct expansion *expansion, struct err *err)
{
    const char *rest = expansion->place.relative;
    bool deep = false;
    while (*rest != '\0') {
        size_t size = strcspn(rest, "/");
        struct span part = span_of(rest, size);
        assert(expansion->parts_count < ROOT_DEPTH_MAX); /* roots_resolve counted them */
        TRY(check_part(part, &deep, err));
        expansion->parts[expansion->parts_count++] = part;
        rest += size + (rest[size] == '/');
    }
    if (deep && span_equal_text(expansion->parts[expansion->parts_count - 1], "**")) {
        return err_set(err, ERR_INVALID, "'**' stands for folders; write '**/*' for all files");
    }
    return ERR_OK;
}

/* ---- walking ---- */

static void push(struct expansion *expansion, char *folder, size_t part)
{
    if (expansion->stack_count == expansion->stack_capacity) {
        expansion->stack_capacity =
            expansion->stack_capacity > 0 ? expansion->stack_capacity * 2 : 16;
        expansion->stack =
            mem_resize(expansion->stack, expansion->stack_capacity, sizeof *expansion->stack);
    }
    expansion->stack[expansion->stack_count++] = (struct waiting){folder, part};
}

static void free_expansion(struct expansion *expansion)
{
    for (size_t i = 0; i < expansion->stack_count; i++) {
        mem_free(expansion->stack[i].folder);
    }
    mem_free(expansion->stack);
    root_matches_free(&expansion->matches);
    file_close(&expansion->top);
}

static char *join_below(const char *folder, const char *name)
{
    return folder[0] == '\0' ? mem_copy_text(name) : file_join(folder, name);
}

/* A name may have gone, or become something else, since it was listed: then it does not match. */
static bool is_gone(int number)
{
    return number == ENOENT || number == ENOTDIR || number == ELOOP;
}

static enum err_code add_match(struct expansion *expansion, const char *relative,
                               const struct stat *status, struct err *err)
{
    struct root_matches *matches = &expansion->matches;
    if (matches->count == expansion->matches_max) {
        return err_set(err, ERR_TOO_LARGE,
                       "more than %zu files match; narrow the pattern, or move finished files away",
                       expansion->matches_max);
    }
    if (matches->count == expansion->matches_capacity) {
        expansion->matches_capacity =
            expansion->matches_capacity > 0 ? expansion->matches_capacity * 2 : 16;
        matches->files =
            mem_resize(matches->files, expansion->matches_capacity, sizeof *matches->files);
    }
    matches->files[matches->count++] = (struct root_file){
        .path = file_join(expansion->place.root, relative),
        .size = status->st_size,
        .modified_us = (int64_t)status->st_mtim.tv_sec * 1000000 + status->st_mtim.tv_nsec / 1000,
    };
    return ERR_OK;
}

/* What was found must be a path that roots_resolve takes again. */
static enum err_code check_found(const struct expansion *expansion, const char *relative,
                                 struct err *err)
{
    size_t depth = 1;
    for (const char *at = relative; *at != '\0'; at++) {
        depth += *at == '/';
    }
    if (depth > ROOT_DEPTH_MAX ||
        strlen(expansion->place.root) + 1 + strlen(relative) > ROOT_PATH_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE,
                       "folders below it are nested more than %d deep, or have paths of more than "
                       "%d bytes; narrow the pattern",
                       ROOT_DEPTH_MAX, ROOT_PATH_BYTES_MAX);
    }
    if (root_check_text(relative, err) != ERR_OK) {
        return err_wrap(err, "rename one of the files or folders that match");
    }
    return ERR_OK;
}

/* A name of the listed folder: a match, a folder to go on with, or neither. */
static enum err_code visit(struct expansion *expansion, const struct waiting *at, const char *name,
                           struct err *err)
{
    struct span part = expansion->parts[at->part];
    bool is_deep = span_equal_text(part, "**");
    bool is_last = at->part + 1 == expansion->parts_count;
    if (is_deep ? name[0] == '.' : !root_part_matches(part, span_of_text(name))) {
        return ERR_OK;
    }
    CLEANUP(mem_cleanup) char *relative = join_below(at->folder, name);
    TRY(check_found(expansion, relative, err));
    struct stat status;
    CLEANUP(file_close) int fd = root_openat(expansion->top, relative, O_PATH, 0);
    if (fd < 0) {
        return is_gone(errno) ? ERR_OK : root_refuse(errno, relative, err);
    }
    if (fstat(fd, &status) != 0) {
        return err_set_errno(err, errno, "look at %s", relative);
    }
    if (is_last && S_ISREG(status.st_mode)) {
        return add_match(expansion, relative, &status, err);
    }
    if (!is_last && S_ISDIR(status.st_mode)) {
        push(expansion, relative, is_deep ? at->part : at->part + 1);
        relative = NULL;
    }
    return ERR_OK;
}

static void close_listing(DIR **listing)
{
    if (*listing != NULL) {
        (void)closedir(*listing); /* it was only read */
    }
}

static enum err_code list(struct expansion *expansion, const struct waiting *at, struct err *err)
{
    int fd = root_openat(expansion->top, at->folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return is_gone(errno) ? ERR_OK : root_refuse(errno, at->folder, err);
    }
    CLEANUP(close_listing) DIR *listing = fdopendir(fd);
    if (listing == NULL) {
        file_close(&fd);
        return err_set_errno(err, ENOMEM, "list folder %s", at->folder);
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(listing);
        if (entry == NULL) {
            return errno == 0 ? ERR_OK : err_set_errno(err, errno, "list folder %s", at->folder);
        }
        if (++expansion->entries_count > ROOT_ENTRIES_MAX) {
            return err_set(err, ERR_TOO_LARGE,
                           "more than %d names would have to be compared; narrow the pattern",
                           ROOT_ENTRIES_MAX);
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            TRY(visit(expansion, at, entry->d_name, err));
        }
    }
}

/*
 * The folder that the parts before the first wild one name. A folder that is not
 * there yet holds no match; one that may not be entered is told.
 */
static enum err_code enter_first(struct expansion *expansion, struct err *err)
{
    size_t part = 0;
    size_t size = 0;
    while (!is_wild(expansion->parts[part])) {
        size = (size_t)(expansion->parts[part].data - (const uint8_t *)expansion->place.relative) +
               expansion->parts[part].size;
        part++; /* one is wild: expand_one took the others */
        assert(part < expansion->parts_count);
    }
    CLEANUP(mem_cleanup) char *folder = mem_copy_text(expansion->place.relative);
    folder[size] = '\0';
    CLEANUP(file_close) int fd = root_openat(expansion->top, folder, O_PATH | O_DIRECTORY, 0);
    if (fd < 0) {
        return errno == ENOENT ? ERR_OK : root_refuse(errno, folder, err);
    }
    push(expansion, folder, part);
    folder = NULL;
    return ERR_OK;
}

static enum err_code walk(struct expansion *expansion, struct err *err)
{
    TRY(enter_first(expansion, err));
    while (expansion->stack_count > 0) {
        struct waiting at = expansion->stack[--expansion->stack_count];
        if (span_equal_text(expansion->parts[at.part], "**")) {
            /* no folder at all, or those of this one with `**` again below them */
            push(expansion, mem_copy_text(at.folder), at.part + 1);
        }
        enum err_code code = list(expansion, &at, err);
        mem_free(at.folder);
        TRY(code);
    }
    return ERR_OK;
}

/* A plain path: whatever keeps it from being read is told, unless nothing is there. */
static enum err_code expand_one(const struct roots *roots, const char *path,
                                struct root_matches *matches_out, struct err *err)
{
    CLEANUP(file_close) int fd = -1;
    struct root_file file = {0};
    enum err_code code = roots_open_file(roots, path, &fd, &file, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err);
        *matches_out = (struct root_matches){0};
        return ERR_OK;
    }
    TRY(code);
    *matches_out = (struct root_matches){.files = mem_copy(&file, sizeof file), .count = 1};
    return ERR_OK;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct root_file *)a)->path, ((const struct root_file *)b)->path);
}

static enum err_code expand(struct expansion *expansion, struct err *err)
{
    TRY(split(expansion, err));
    TRY(root_open_top(&expansion->place, &expansion->top, err));
    TRY(walk(expansion, err));
    if (expansion->matches.count > 0) {
        qsort(expansion->matches.files, expansion->matches.count, sizeof *expansion->matches.files,
              compare_files);
    }
    return ERR_OK;
}

enum err_code roots_expand(const struct roots *roots, const char *pattern, size_t matches_max,
                           struct root_matches *matches_out, struct err *err)
{
    assert(matches_max >= 1 && matches_max <= ROOT_MATCHES_MAX);
    CLEANUP(free_expansion) struct expansion expansion = {.top = -1, .matches_max = matches_max};
    TRY(roots_resolve(roots, pattern, &expansion.place, err));
    if (!is_wild(span_of_text(expansion.place.relative))) {
        return expand_one(roots, pattern, matches_out, err);
    }
    if (expand(&expansion, err) != ERR_OK) {
        return err_wrap(err, "%s", pattern);
    }
    *matches_out = expansion.matches;
    expansion.matches = (struct root_matches){0};
    return ERR_OK;
}

void root_matches_free(struct root_matches *matches)
{
    for (size_t i = 0; i < matches->count; i++) {
        root_file_free(&matches->files[i]);
    }
    mem_free(matches->files);
    *matches = (struct root_matches){0};
}
