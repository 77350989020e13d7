/*
 * The checkpoint of a source whose place is one number: {"at":N} and {"done":true}.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

struct source_checkpoint {
    int64_t position; /* where the next piece begins */
    bool is_done;     /* there is no next piece */
};

/* Empty text is the start. Errors: ERR_CORRUPT. */
enum err_code source_checkpoint_parse(struct span text, struct source_checkpoint *checkpoint_out,
                                      struct err *err) MUST_USE;

/* Replaces what `text` holds. */
void source_checkpoint_write(const struct source_checkpoint *checkpoint, struct buffer *text);
