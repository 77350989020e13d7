/*
 * Index runs (index_run.c, derived.c). The input is the trailer's four numbers
 * and a body; the checksums are made right, so that what they guard is reached.
 */
#include "storage/snapshot/index_run.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void probe(const struct index_run *run)
{
    size_t total = 0;
    for (size_t i = 0; i < run->count; i++) {
        size_t count = 0;
        const struct index_entry *found = index_run_find(run, run->entries[i].hash, &count);
        assert(count > 0);
        assert(found[0].hash == run->entries[i].hash);
        total += index_run_may_contain(run, run->entries[i].hash + 1);
    }
    assert(total <= run->count);
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
        index_run_release(&run);
    }
    derived_deinit(&derived);
    return 0;
}
