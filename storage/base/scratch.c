/*
 * Sealed blocks in a nameless file. See scratch.h.
 *
 * Layout: blocks back to back, each the size of what follows (u32, little
 * endian) and the sealed bytes, bound to their place so that none can stand in
 * for another.
 */
#include "storage/base/scratch.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"

#include <assert.h>
#include <string.h>

enum { SIZE_BYTES = 4 };

struct scratch {
    int fd;
    int64_t end;
    uint8_t key[SECRET_KEY_BYTES];
    struct buffer bytes; /* one block as it is in the file */
};

enum err_code scratch_open(const char *folder, struct scratch **scratch_out, struct err *err)
{
    int fd = -1;
    TRY(file_create_nameless(folder, &fd, err));
    struct scratch *scratch = mem_zeroed(1, sizeof *scratch);
    scratch->fd = fd;
    secret_random(scratch->key, sizeof scratch->key);
    buffer_init(&scratch->bytes, SIZE_BYTES + SCRATCH_BLOCK_BYTES_MAX + SECRET_SEAL_OVERHEAD_BYTES);
    *scratch_out = scratch;
    return ERR_OK;
}

void scratch_close(struct scratch **scratch)
{
    if (*scratch != NULL) {
        file_close(&(*scratch)->fd);
        secret_wipe((*scratch)->key, sizeof(*scratch)->key);
        buffer_deinit(&(*scratch)->bytes);
        mem_free(*scratch);
        *scratch = NULL;
    }
}

int64_t scratch_end(const struct scratch *scratch)
{
    return scratch->end;
}

enum err_code scratch_append(struct scratch *scratch, struct span block, int64_t *place_out,
                             struct err *err)
{
    if (block.size > SCRATCH_BLOCK_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "a block of more than %d bytes",
                       SCRATCH_BLOCK_BYTES_MAX);
    }
    int64_t place = scratch->end;
    buffer_reset(&scratch->bytes);
    buffer_append_u32(&scratch->bytes, (uint32_t)(block.size + SECRET_SEAL_OVERHEAD_BYTES));
    secret_seal_under(scratch->key, block, span_of(&place, sizeof place), &scratch->bytes);
    assert(!scratch->bytes.overflowed);
    if (file_write_at(scratch->fd, place, buffer_span(&scratch->bytes), err) != ERR_OK) {
        return err_wrap(err, "temporary file");
    }
    scratch->end += (int64_t)scratch->bytes.size;
    *place_out = place;
    return ERR_OK;
}

static enum err_code read_block(struct scratch *scratch, int64_t place, struct buffer *block,
                                int64_t *next_out, struct err *err)
{
    uint32_t size = 0;
    assert(place >= 0);
    assert(place < scratch->end);
    TRY(file_read_at(scratch->fd, place, &size, sizeof size, err));
    if (size > scratch->end - place - SIZE_BYTES) {
        return err_set(err, ERR_CORRUPT, "a block ends behind the file");
    }
    buffer_reset(&scratch->bytes);
    uint8_t *room = buffer_reserve(&scratch->bytes, size);
    assert(room != NULL);
    TRY(file_read_at(scratch->fd, place + SIZE_BYTES, room, size, err));
    size_t before = block->size;
    if (secret_unseal_under(scratch->key, span_of(room, size), span_of(&place, sizeof place), block,
                            err) != ERR_OK) {
        block->size = before;
        return block->overflowed ? err->code : err_set(err, ERR_CORRUPT, "a block was changed");
    }
    *next_out = place + SIZE_BYTES + size;
    return ERR_OK;
}

enum err_code scratch_read(struct scratch *scratch, int64_t place, struct buffer *block,
                           int64_t *next_out, struct err *err)
{
    if (read_block(scratch, place, block, next_out, err) != ERR_OK) {
        return err_wrap(err, "temporary file");
    }
    return ERR_OK;
}
