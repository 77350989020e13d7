/*
 * Checkpoints (checkpoint_read.c): a Parquet file of actions, or the text of
 * _last_checkpoint when it starts with '{'.
 */
#include "storage/delta/checkpoint_read.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    if (size > 0 && data[0] == '{') {
        int64_t version = -1;
        enum err_code code = checkpoint_hint_decode(span_of(data, size), &version, &err);
        assert((code == ERR_OK) == (version >= 0));
        return 0;
    }
    CLEANUP(delta_actions_deinit) struct delta_actions actions = {0};
    enum err_code code = checkpoint_decode(span_of(data, size), &actions, &err);
    assert(code == ERR_OK || err.code == code);
    return 0;
}
