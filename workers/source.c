/*
 * What all kinds of sources share. See source.h.
 */
#include "workers/source.h"

#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/columns/decode_rows.h"

#include <assert.h>

_Static_assert((int)SOURCE_ID_BYTES == (int)HASH_SHA256_BYTES, "an identity is a SHA-256");

enum err_code source_begin(struct source *source, struct span checkpoint, bool *done_out,
                           struct err *err)
{
    if (source->ops->begin(source, checkpoint, done_out, err) != ERR_OK) {
        return err_wrap(err, "%s", source->name);
    }
    return ERR_OK;
}

enum err_code source_next(struct source *source, struct source_piece *piece_out, bool *found_out,
                          struct err *err)
{
    if (source->ops->next(source, piece_out, found_out, err) != ERR_OK) {
        return err_wrap(err, "%s", source->name);
    }
    assert(!*found_out || piece_out->checkpoint.size > 0);
    assert(!*found_out || piece_out->checkpoint.size <= SOURCE_CHECKPOINT_BYTES_MAX);
    return ERR_OK;
}

void source_close(struct source **source)
{
    if (*source != NULL) {
        (*source)->ops->close(*source);
        mem_free(*source);
        *source = NULL;
    }
}

static void add_part(struct hash_stream *hash, struct span part)
{
    uint64_t size = part.size;
    hash_stream_update(hash, span_of(&size, sizeof size));
    hash_stream_update(hash, part);
}

void source_identify(struct source *source, const struct source_reader *reader, const char *kind,
                     const struct span *parts, size_t count)
{
    CLEANUP(hash_stream_free) struct hash_stream *hash = hash_stream_new();
    add_part(hash, span_of_text(reader->table.text));
    add_part(hash, span_of_text(frame_operation_name(reader->operation)));
    add_part(hash, span_of_text(kind));
    for (size_t i = 0; i < count; i++) {
        add_part(hash, parts[i]);
    }
    hash_stream_digest(hash, source->id);
}

int64_t source_records_max(const struct source_reader *reader)
{
    int64_t most = SOURCE_PIECE_FRAME_BYTES_MAX / decode_row_bytes(reader->schema);
    int64_t records = reader->piece_records < most ? reader->piece_records : most;
    return records > 0 ? records : 1;
}
