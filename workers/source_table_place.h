/*
 * How far a reading of a table came, as the text of a checkpoint:
 *   {"read":7,"hash":"…"}   versions up to 7 were read to their end
 *   {"version":8,"hash":"…","whole":false,"side":"removed","passes":1,"pass":0,
 *    "file":0,"row":3,"rows":3}   in the middle of version 8
 * `hash` is that of the version's commit, to see it replaced by another one.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/snapshot/changes.h"

#include <stdbool.h>
#include <stdint.h>

struct table_place {
    int64_t version; /* -1 = the start */
    uint64_t hash;   /* of its commit; 0 = not known */
    bool is_read;    /* to its end; the rest says where in it */
    bool is_whole;   /* all its rows, not only what it changed */
    enum change_side side;
    uint32_t pass, passes_count; /* of removed rows: over parts of the keys */
    struct change_place at;
    int64_t rows_count; /* of the version, read so far */
};

/* Empty text is the start. Errors: ERR_CORRUPT. */
enum err_code table_place_parse(struct span text, struct table_place *place_out,
                                struct err *err) MUST_USE;

/* Replaces what `text` holds. */
void table_place_write(const struct table_place *place, struct buffer *text);
