/*
 * Our own commits: the newest are remembered, in memory and in a file that needs no closing.
 */
#include "storage/snapshot/own_commits.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>

static void add(struct own_commits *commits, int64_t version)
{
    const struct own_commit commit = {
        .version = version, .hash = (uint64_t)version * 7, .position_from = version - 1};
    own_commits_add(commits, &commit);
}

static void expect(const struct own_commits *commits, size_t index, int64_t version)
{
    cr_expect_eq(commits->items[index].version, version);
    cr_expect_eq(commits->items[index].hash, (uint64_t)version * 7);
    cr_expect_eq(commits->items[index].position_from, version - 1);
}

Test(own_commits, remembers_the_newest_in_order_and_across_an_open)
{
    struct temp_dir dir = temp_dir_make();
    struct own_commits commits;
    own_commits_open(&commits, dir.path);
    cr_assert_eq(commits.count, 0);
    for (int64_t version = 0; version < OWN_COMMITS_MAX + 5; version++) {
        add(&commits, version);
    }
    own_commits_remove(&commits, 3);
    own_commits_close(&commits); /* writes nothing: a killed process leaves the same */
    own_commits_open(&commits, dir.path);
    cr_assert_eq(commits.count, OWN_COMMITS_MAX - 1);
    for (size_t i = 0; i < commits.count; i++) {
        expect(&commits, i, (int64_t)i + (i < 3 ? 5 : 6));
    }
    own_commits_close(&commits);
    temp_dir_remove(&dir);
}

Test(own_commits, forgets_what_was_torn)
{
    struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = file_join(dir.path, OWN_COMMITS_NAME);
    struct own_commits commits;
    own_commits_open(&commits, dir.path);
    for (int64_t version = 1; version <= 3; version++) {
        add(&commits, version);
    }
    own_commits_close(&commits);
    struct buffer bytes;
    buffer_init(&bytes, 1 << 16);
    struct err err = {0};
    cr_assert(file_read(path, &bytes, &err) == ERR_OK);
    bytes.data[32] ^= 1; /* the second place */
    cr_assert(file_replace_derived(path, buffer_span(&bytes), &err) == ERR_OK);
    own_commits_open(&commits, dir.path);
    cr_assert_eq(commits.count, 2);
    expect(&commits, 0, 1);
    expect(&commits, 1, 3);
    own_commits_close(&commits);
    buffer_deinit(&bytes);
    temp_dir_remove(&dir);
}
