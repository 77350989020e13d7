/*
 * Checkpoints (checkpoint_read.c): a Parquet file of actions, or the text of
 * _last_checkpoint when it starts with '{', or the JSON file of a V2 checkpoint when it
 * starts with '\n'. The files are read from a store, too: the sidecars that they name are
 * the input itself, or absent.
 */
#include "storage/delta/checkpoint_read.h"

#include "storage/base/mem.h"
#include "storage/delta/log.h"
#include "storage/object/object.h"

#include <assert.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIDECARS_MAX = 4 };

static void put(struct object_store *store, const char *name, struct span bytes)
{
    struct err err = {0};
    enum err_code code = object_put(store, name, bytes, &err);
    assert(code == ERR_OK || code == ERR_EXISTS || code == ERR_INVALID);
}

/* The text of _last_checkpoint is read alike from a store, where what cannot be read is no hint. */
static void read_hint(struct span text)
{
    struct err err = {0};
    int64_t version = -1;
    enum err_code code = checkpoint_hint_decode(text, &version, &err);
    assert((code == ERR_OK) == (version >= 0));
    struct object_store *store = object_store_new_memory();
    assert(checkpoint_hint(store) == -1);
    put(store, DELTA_LOG_FOLDER "/_last_checkpoint", text);
    assert(checkpoint_hint(store) == version);
    object_store_close(&store);
}

static void put_sidecars(struct object_store *store, const struct delta_actions *actions,
                         struct span file)
{
    for (size_t i = 0; i < actions->sidecars_count && i < SIDECARS_MAX; i++) {
        char name[OBJECT_NAME_BYTES_MAX + 1];
        int bytes =
            snprintf(name, sizeof name, DELTA_LOG_FOLDER "/_sidecars/%s", actions->sidecars[i]);
        if (bytes > 0 && (size_t)bytes < sizeof name) {
            put(store, name, file);
        }
    }
}

static size_t count_adds(const struct delta_actions *actions)
{
    size_t count = 0;
    for (size_t i = 0; i < actions->files_count; i++) {
        count += !actions->files[i]->removed;
    }
    return count;
}

static enum err_code read_stored(struct object_store *store, char *name,
                                 struct delta_actions *actions)
{
    struct err err = {0};
    const struct checkpoint_removed removed = checkpoint_removed_to(actions);
    enum err_code code = checkpoint_read(store, &name, 1, &removed, actions, &err);
    assert(code == ERR_OK || err.code == code);
    /* what reads with its tombstones reads without them */
    CLEANUP(delta_actions_deinit) struct delta_actions bare = {0};
    struct err bare_err = {0};
    enum err_code bare_code = checkpoint_read(store, &name, 1, NULL, &bare, &bare_err);
    assert(code != ERR_OK || bare_code == ERR_OK);
    assert(code != ERR_OK || count_adds(&bare) == count_adds(actions));
    return code;
}

static void read_checkpoint(struct span file, bool is_json)
{
    char parquet_name[] = DELTA_LOG_FOLDER "/00000000000000000001.checkpoint.parquet";
    char json_name[] = DELTA_LOG_FOLDER
        "/00000000000000000001.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json";
    char *name = is_json ? json_name : parquet_name;
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    CLEANUP(delta_actions_deinit) struct delta_actions alone = {0};
    CLEANUP(delta_actions_deinit) struct delta_actions whole = {0};
    CLEANUP(delta_actions_deinit) struct delta_actions refused = {0};
    const struct checkpoint_removed removed = checkpoint_removed_to(&alone);
    enum err_code code = is_json ? delta_actions_decode(file, &alone, &err)
                                 : checkpoint_decode(file, &removed, &alone, &err);
    assert(code == ERR_OK || err.code == code);
    put(store, name, file);
    enum err_code stored = read_stored(store, name, &refused);
    bool has_sidecars = code == ERR_OK && alone.sidecars_count > 0;
    assert(has_sidecars ? stored != ERR_OK : stored == code); /* they are not there */
    if (has_sidecars) {
        put_sidecars(store, &alone, file);
        if (read_stored(store, name, &whole) == ERR_OK) {
            assert(whole.files_count == alone.files_count * (1 + alone.sidecars_count));
        }
    }
    object_store_close(&store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '{') {
        read_hint(span_of(data, size));
    } else {
        read_checkpoint(span_of(data, size), size > 0 && data[0] == '\n');
    }
    return 0;
}
