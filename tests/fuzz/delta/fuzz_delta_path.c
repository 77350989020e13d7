/*
 * Paths of the log (table_files.c) and names in the log folder (listing.c):
 * what decodes is a name that a store accepts or refuses, and encodes back to
 * the same name.
 */
#include "storage/delta/table_files.h"

#include "storage/base/mem.h"
#include "storage/delta/checkpoint_read.h"
#include "storage/object/object.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(mem_cleanup) char *path = mem_zeroed(size + 1, 1);
    CLEANUP(mem_cleanup) char *name = NULL;
    struct err err = {0};
    if (size > 0) {
        memcpy(path, data, size);
    }
    struct checkpoint_name parsed = {0};
    int64_t version = -1;
    if (checkpoint_name_parse(path, &parsed)) {
        assert(parsed.part >= 1 && parsed.part <= parsed.parts);
    }
    if (delta_log_parse_commit(path, &version)) {
        assert(version >= 0);
    }
    struct object_store *store = object_store_new_memory();
    if (delta_path_decode(store, path, &name, &err) == ERR_OK) {
        CLEANUP(buffer_deinit) struct buffer encoded = {0};
        CLEANUP(mem_cleanup) char *again = NULL;
        buffer_init(&encoded, 1 << 20);
        delta_path_encode(name, &encoded);
        buffer_append_byte(&encoded, '\0');
        if (strchr("/:", name[0]) == NULL && strstr(name, ":/") == NULL &&
            strncmp(name, "file:", 5) != 0) {
            enum err_code code = delta_path_decode(store, (const char *)encoded.data, &again, &err);
            assert(code == ERR_OK);
            assert(strcmp(again, name) == 0);
        }
    }
    object_store_close(&store);
    return 0;
}
