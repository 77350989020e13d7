/*
 * The newest commits of ours, by the hash of their bytes: one that reads differently later was
 * overwritten by an engine whose commits are no put-if-absent.
 *
 * They are kept in a small file of the index's folder that is written in place, without a
 * system call: it is whole after a killed process, and as good as the index itself after a
 * power cut. One that was torn is not remembered.
 *
 * Thread:  the caller's lock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { OWN_COMMITS_MAX = 32 };
#define OWN_COMMITS_NAME "own-commits"

/* A commit of ours, to be found again as it was. */
struct own_commit {
    int64_t version;
    uint64_t hash;         /* of the commit file's bytes */
    int64_t position_from; /* smallest lane position in it, -1 = none (compaction) */
};

struct own_commits {
    struct own_commit items[OWN_COMMITS_MAX]; /* oldest first */
    size_t count;
    uint8_t slots[OWN_COMMITS_MAX]; /* of each item in the file */
    struct own_commit_slot *file;   /* mapped; NULL = in memory only */
};

/*
 * Take over what the file in `folder` remembers, and keep it from now on. A file that cannot be
 * made costs the memory of them at the next start, nothing else.
 */
void own_commits_open(struct own_commits *commits, const char *folder);
/* Accepts a zeroed struct. The file stays. */
void own_commits_close(struct own_commits *commits);

/* Remember one more; the oldest goes when there are too many. */
void own_commits_add(struct own_commits *commits, const struct own_commit *commit);
void own_commits_remove(struct own_commits *commits, size_t index);
