/*
 * The index manifest (manifest.c). The input is the file without its checksum;
 * what decodes must be the same once it was written to its file and read from it.
 */
#include "storage/snapshot/manifest.h"

#include "storage/base/hash.h"
#include "tests/fuzz/scratch_folder.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer file;
    buffer_init(&file, MANIFEST_BYTES_MAX);
    buffer_append(&file, data, size);
    buffer_append_u64(&file, hash_checksum(span_of(data, size)));
    CLEANUP(manifest_deinit) struct manifest manifest = {0};
    if (manifest_decode(buffer_span(&file), &manifest, &err) != ERR_OK) {
        return 0;
    }
    const char *folder = scratch_folder(MANIFEST_NAME, NULL);
    assert(manifest_write(folder, &manifest, &err) == ERR_OK);
    CLEANUP(manifest_deinit) struct manifest same = {0};
    assert(manifest_read(folder, &same, &err) == ERR_OK);
    assert(same.files_count == manifest.files_count);
    assert(same.runs_count == manifest.runs_count);
    return 0;
}
