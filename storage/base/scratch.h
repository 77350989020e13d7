/*
 * Scratch: what a long piece of work cannot keep in memory, as blocks in a file
 * without a name. Each block is sealed under a key that lives in memory alone, so
 * what is left on the disk after the process says nothing to anybody.
 *
 * Thread: one at a time per handle.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdint.h>

enum { SCRATCH_BLOCK_BYTES_MAX = 1 << 30 };

struct scratch;

/*
 *   folder  of the process alone; nothing appears in it
 * Errors:  ERR_NOT_FOUND the folder; ERR_NO_SPACE; ERR_IO.
 */
enum err_code scratch_open(const char *folder, struct scratch **scratch_out,
                           struct err *err) MUST_USE;
/* The bytes are gone with it. Accepts NULL inside; nulls. */
void scratch_close(struct scratch **scratch);

/*
 * Append one block.
 *   place_out  where scratch_read finds it; the next block is behind it
 * Errors:  ERR_TOO_LARGE over SCRATCH_BLOCK_BYTES_MAX; ERR_NO_SPACE; ERR_IO.
 */
enum err_code scratch_append(struct scratch *scratch, struct span block, int64_t *place_out,
                             struct err *err) MUST_USE;

/*
 * Read the block at a place.
 *
 *   block     appended to; its ceiling applies
 *   next_out  place of the block behind it, or scratch_end
 * Errors:  ERR_CORRUPT not what was written; ERR_TOO_LARGE; ERR_IO.
 */
enum err_code scratch_read(struct scratch *scratch, int64_t place, struct buffer *block,
                           int64_t *next_out, struct err *err) MUST_USE;

/* Where the next block will go: the bytes of the file. */
int64_t scratch_end(const struct scratch *scratch);
