/*
 * Object names (object.c): whatever the store accepts stays below its root.
 */
#include "storage/object/object.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(mem_cleanup) char *name = mem_zeroed(size + 1, 1);
    struct err err = {0};
    int64_t bytes = 0;
    int64_t modified_ms = 0;
    if (size > 0) {
        memcpy(name, data, size);
    }
    struct object_store *store = object_store_new_memory();
    if (object_put(store, name, span_of(data, size), &err) == ERR_OK) {
        assert(name[0] != '/' && name[0] != '\0');
        assert(strcmp(name, "..") != 0 && strncmp(name, "../", 3) != 0);
        assert(strstr(name, "/../") == NULL && strstr(name, "//") == NULL);
        enum err_code code = object_stat(store, name, &bytes, &modified_ms, &err);
        assert(code == ERR_OK);
        assert(bytes == (int64_t)size);
    }
    object_store_close(&store);
    return 0;
}
