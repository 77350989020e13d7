/*
 * Zones by name: the check of the name, the file, and the ones read before.
 * See zone.h for the contract.
 */
#include "storage/jobs/zone_data.h"

#include "storage/base/file.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { CACHED_ZONES_MAX = 1024 }; /* tzdata has about 600 names */

static const char default_folder[] = "/usr/share/zoneinfo";

/* What a zone was read from. A replaced file is another inode, an overwritten one has another time.
 */
struct origin {
    char *path;
    uint64_t inode;
    int64_t size;
    int64_t modified_ns;
};

struct cached {
    struct origin origin;
    const struct zone *zone;
};

/* Guarded by `lock`. */
static struct {
    struct lock lock;
    struct cached entries[CACHED_ZONES_MAX];
    size_t count;
    size_t next_victim; /* when full; old files of a replaced tzdata and odd names go by turns */
} cache = {.lock = {.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = LOCK_RANK_CACHE}};

/* Needs no file, so that schedules work on a machine without tzdata. */
static struct zone utc = {.references = 1, .name = "UTC"};

static bool is_name_byte(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26 || (uint8_t)(c - '0') < 10 || c == '_' || c == '+' ||
           c == '-';
}

enum err_code zone_name_check(struct span name, struct err *err)
{
    bool valid = name.size > 0 && name.size <= ZONE_NAME_BYTES_MAX;
    bool begins = true; /* a segment */
    for (size_t i = 0; valid && i < name.size; i++) {
        uint8_t c = name.data[i];
        valid = c == '/' ? !begins && i + 1 < name.size : is_name_byte(c) && !(begins && c == '-');
        begins = c == '/';
    }
    if (!valid) {
        return err_set(err, ERR_INVALID,
                       "the time zone is not a name of the IANA database, such as Europe/Berlin, "
                       "America/New_York or UTC: letters, digits, _ + - in parts joined by /, at "
                       "most %d bytes",
                       ZONE_NAME_BYTES_MAX);
    }
    return ERR_OK;
}

static const char *folder(void)
{
    const char *named = getenv("TZDIR");
    return named != NULL && named[0] != '\0' ? named : default_folder;
}

static enum err_code unknown(const char *name, struct err *err)
{
    return err_set(err, ERR_INVALID,
                   "there is no time zone %s; names are those of the IANA database, such as "
                   "Europe/Berlin, America/New_York or UTC, and case counts",
                   name);
}

/* Look at the file; fills all of `origin` but the path. */
static enum err_code look(const char *name, struct origin *origin, struct err *err)
{
    struct stat status;
    if (stat(origin->path, &status) == 0) {
        if (!S_ISREG(status.st_mode)) {
            return unknown(name, err); /* "America" */
        }
        origin->inode = status.st_ino;
        origin->size = status.st_size;
        origin->modified_ns = status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
        return ERR_OK;
    }
    int reason = errno;
    if (reason != ENOENT && reason != ENOTDIR) {
        return err_set_errno(err, reason, "time zone %s: look at %s", name, origin->path);
    }
    if (!file_exists(folder())) {
        return err_set(err, ERR_UNSUPPORTED,
                       "time zone %s: this machine has no time zones in %s, only UTC can be used; "
                       "install the package tzdata, or point TZDIR at its folder",
                       name, folder());
    }
    return unknown(name, err);
}

static enum err_code read_zone(const char *name, const char *path, const struct zone **zone_out,
                               struct err *err)
{
    struct buffer bytes;
    buffer_init(&bytes, ZONE_FILE_BYTES_MAX);
    enum err_code code = file_read(path, &bytes, err);
    if (code == ERR_OK && (bytes.size < 4 || memcmp(bytes.data, "TZif", 4) != 0)) {
        code = unknown(name, err); /* "leapseconds" */
    } else if (code == ERR_OK) {
        code = zone_decode(buffer_span(&bytes), name, zone_out, err);
    }
    buffer_deinit(&bytes);
    return code;
}

/* A reference to the zone that was read from this very file, or NULL. */
static const struct zone *find(const struct origin *origin)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&cache.lock);
    for (size_t i = 0; i < cache.count; i++) {
        const struct cached *entry = &cache.entries[i];
        if (entry->origin.inode == origin->inode && entry->origin.size == origin->size &&
            entry->origin.modified_ns == origin->modified_ns &&
            strcmp(entry->origin.path, origin->path) == 0) {
            return zone_retain(entry->zone);
        }
    }
    return NULL;
}

/* Keep `zone`, in the place of what was read from an older file of this path; takes the path. */
static void keep(struct origin *origin, const struct zone *zone)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&cache.lock);
    size_t place = 0;
    while (place < cache.count && strcmp(cache.entries[place].origin.path, origin->path) != 0) {
        place++;
    }
    if (place == CACHED_ZONES_MAX) {
        place = cache.next_victim++ % CACHED_ZONES_MAX;
    }
    cache.count += place == cache.count;
    struct cached *entry = &cache.entries[place];
    mem_free(entry->origin.path);
    zone_release(&entry->zone);
    *entry = (struct cached){.origin = *origin, .zone = zone_retain(zone)};
    origin->path = NULL;
}

enum err_code zone_acquire(const char *name, const struct zone **zone_out, struct err *err)
{
    TRY(zone_name_check(span_of_text(name), err));
    if (strcmp(name, "UTC") == 0 || strcmp(name, "Etc/UTC") == 0) {
        *zone_out = zone_retain(&utc);
        return ERR_OK;
    }
    struct origin origin = {0};
    CLEANUP(mem_cleanup) char *path = file_join(folder(), name);
    origin.path = path;
    TRY(look(name, &origin, err));
    const struct zone *zone = find(&origin);
    if (zone == NULL) {
        TRY(read_zone(name, path, &zone, err));
        keep(&origin, zone);
        path = origin.path;
    }
    *zone_out = zone;
    return ERR_OK;
}
