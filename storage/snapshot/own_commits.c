/*
 * Our newest commits, in memory and in a mapped file of fixed places. See own_commits.h.
 */
#include "storage/snapshot/own_commits.h"

#include "storage/base/file.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"

#include <assert.h>
#include <sys/mman.h>

/* One place of the file; a checksum of anything else says that it is free. */
struct own_commit_slot {
    struct own_commit commit;
    uint64_t checksum;
};
enum { FILE_BYTES = OWN_COMMITS_MAX * sizeof(struct own_commit_slot) };
_Static_assert(sizeof(struct own_commit_slot) == 32, "no padding that would go to the file");

static uint64_t checksum_of(const struct own_commit *commit)
{
    return hash_checksum(span_of(commit, sizeof *commit));
}

/* ---- the file ---- */

static void insert(struct own_commits *commits, const struct own_commit *commit, size_t slot)
{
    size_t at = commits->count++;
    for (; at > 0 && commits->items[at - 1].version > commit->version; at--) {
        commits->items[at] = commits->items[at - 1];
        commits->slots[at] = commits->slots[at - 1];
    }
    commits->items[at] = *commit;
    commits->slots[at] = (uint8_t)slot;
}

void own_commits_open(struct own_commits *commits, const char *folder)
{
    CLEANUP(mem_cleanup) char *path = file_join(folder, OWN_COMMITS_NAME);
    struct err unkept = {0};
    void *file = NULL;
    if (file_map_shared(path, FILE_BYTES, &file, &unkept) != ERR_OK) {
        err_clear(&unkept); /* in memory only */
    }
    *commits = (struct own_commits){.file = file};
    for (size_t i = 0; commits->file != NULL && i < OWN_COMMITS_MAX; i++) {
        const struct own_commit_slot slot = commits->file[i];
        if (slot.checksum == checksum_of(&slot.commit)) {
            insert(commits, &slot.commit, i);
        }
    }
}

void own_commits_close(struct own_commits *commits)
{
    if (commits->file != NULL) {
        (void)munmap(commits->file, FILE_BYTES); /* cannot fail for what was mapped */
    }
    *commits = (struct own_commits){0};
}

/* A process killed between the two leaves a place that does not match. */
static void write_slot(struct own_commits *commits, size_t slot, const struct own_commit *commit)
{
    if (commits->file != NULL) {
        struct own_commit_slot *place = &commits->file[slot];
        place->commit = *commit;
        __atomic_store_n(&place->checksum, checksum_of(commit), __ATOMIC_RELEASE);
    }
}

static void clear_slot(struct own_commits *commits, size_t slot)
{
    if (commits->file != NULL) {
        __atomic_store_n(&commits->file[slot].checksum, ~checksum_of(&commits->file[slot].commit),
                         __ATOMIC_RELEASE);
    }
}

/* ---- changes ---- */

static size_t free_slot(const struct own_commits *commits)
{
    bool taken[OWN_COMMITS_MAX] = {false};
    for (size_t i = 0; i < commits->count; i++) {
        taken[commits->slots[i]] = true;
    }
    size_t slot = 0;
    while (taken[slot]) {
        slot++;
    }
    return slot;
}

void own_commits_remove(struct own_commits *commits, size_t index)
{
    assert(index < commits->count);
    clear_slot(commits, commits->slots[index]);
    commits->count--;
    for (size_t i = index; i < commits->count; i++) {
        commits->items[i] = commits->items[i + 1];
        commits->slots[i] = commits->slots[i + 1];
    }
}

void own_commits_add(struct own_commits *commits, const struct own_commit *commit)
{
    if (commits->count == OWN_COMMITS_MAX) {
        own_commits_remove(commits, 0);
    }
    size_t slot = free_slot(commits);
    write_slot(commits, slot, commit);
    insert(commits, commit, slot);
}
