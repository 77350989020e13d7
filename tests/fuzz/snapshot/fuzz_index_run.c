/*
 * Index runs (index_run.c, derived.c). The input is the trailer's four numbers
 * and a body; the checksums are made right, so that what they guard is reached.
 * The entries of a run that was accepted are written anew, read from their file and
 * merged, and found as before.
 */
#include "storage/snapshot/index_run.h"

#include "storage/base/mem.h"
#include "tests/fuzz/scratch_folder.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void probe(const struct index_run *run)
{
    size_t total = 0;
    for (size_t i = 0; i < run->count; i++) {
        size_t count = 0;
        index_run_prefetch_filter(run, run->entries[i].hash);
        index_run_prefetch_directory(run, run->entries[i].hash);
        index_run_prefetch_entries(run, run->entries[i].hash);
        const struct index_entry *found = index_run_find(run, run->entries[i].hash, &count);
        assert(count > 0);
        assert(found[0].hash == run->entries[i].hash);
        total += index_run_may_contain(run, run->entries[i].hash + 1);
    }
    assert(total <= run->count);
}

static bool same_entries(const struct index_run *run, const struct index_entry *entries,
                         size_t count)
{
    return run->count == count &&
           (count == 0 || memcmp(run->entries, entries, count * sizeof *entries) == 0);
}

/* No filter may deny what is there; a stranger's may. */
static void check_filter(const struct index_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        assert(index_run_may_contain(run, run->entries[i].hash));
    }
}

static bool is_even(void *self, const struct index_entry *entry)
{
    (void)self;
    return entry->row % 2 == 0;
}

static void write_again(const struct index_run *run)
{
    const char *folder = scratch_folder("run-7-1.run", "run-7-2.run");
    struct err err = {0};
    size_t count = run->count;
    struct index_entry *entries = mem_alloc((count + 1) * sizeof *entries);
    memcpy(entries, run->entries, count * sizeof *entries);
    index_entries_sort(entries, count);
    struct index_run *written = NULL;
    struct index_run *opened = NULL;
    enum err_code code = index_run_build(folder, 7, 1, entries, count, &written, &err);
    assert(code == ERR_OK);
    code = index_run_store(written, folder, &err);
    assert(code == ERR_OK);
    code = index_run_open(folder, 7, 1, &opened, &err);
    assert(code == ERR_OK && same_entries(opened, entries, count));
    check_filter(opened);
    struct index_run *both[] = {written, index_run_acquire(opened)};
    struct index_run *merged = NULL;
    code = index_runs_merge(folder, 2, both, 2, NULL, NULL, &merged, &err);
    assert(code == ERR_OK && merged->count == 2 * count);
    probe(merged);
    check_filter(merged);
    index_run_release(&merged);
    code = index_runs_merge(folder, 2, both, 1, is_even, NULL, &merged, &err);
    assert(code == ERR_OK && merged->count <= count);
    index_run_release(&merged);
    index_run_release(&both[0]);
    index_run_release(&both[1]);
    index_run_release(&opened);
    mem_free(entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    uint64_t numbers[DERIVED_NUMBERS];
    struct index_run *run = NULL;
    if (size < sizeof numbers) {
        assert(index_run_decode(span_of(data, size), 0, &run, &err) != ERR_OK);
        return 0;
    }
    memcpy(numbers, data, sizeof numbers);
    CLEANUP(derived_writer_deinit) struct derived_writer writer;
    derived_writer_init(&writer, NULL, "fuzz");
    struct derived derived = {0};
    if (derived_append(&writer, data + sizeof numbers, size - sizeof numbers, &err) != ERR_OK ||
        derived_finish(&writer, INDEX_RUN_MAGIC, numbers, &derived, &err) != ERR_OK) {
        return 0;
    }
    struct span file = span_of(derived.body.data, derived.body.size + DERIVED_TRAILER_BYTES);
    if (index_run_decode(file, (uint32_t)numbers[0], &run, &err) == ERR_OK) {
        probe(run);
        write_again(run);
        index_run_release(&run);
    }
    derived_deinit(&derived);
    return 0;
}
