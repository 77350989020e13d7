/* A place in a source as text. See source_checkpoint.h. */
#include "workers/source_checkpoint.h"

#include "storage/base/json.h"

#include <inttypes.h>

enum err_code source_checkpoint_parse(struct span text, struct source_checkpoint *checkpoint_out,
                                      struct err *err)
{
    struct source_checkpoint checkpoint = {0};
    if (text.size > 0) {
        CLEANUP(json_free) struct json *json = NULL;
        if (json_parse(text, &json, err) != ERR_OK ||
            (!json_as_integer(json_get(json, "at"), &checkpoint.position) &&
             !json_as_boolean(json_get(json, "done"), &checkpoint.is_done)) ||
            checkpoint.position < 0) {
            return err_set(err, ERR_CORRUPT, "the stored checkpoint cannot be read");
        }
    }
    *checkpoint_out = checkpoint;
    return ERR_OK;
}

void source_checkpoint_write(const struct source_checkpoint *checkpoint, struct buffer *text)
{
    buffer_reset(text);
    if (checkpoint->is_done) {
        buffer_append_text(text, "{\"done\":true}");
    } else {
        buffer_append_format(text, "{\"at\":%" PRId64 "}", checkpoint->position);
    }
}
