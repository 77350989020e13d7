/*
 * Checksummed derived files. See derived.h; what is in their bodies is the
 * business of index_run.c and images.c.
 */
#include "storage/snapshot/derived.h"

#include "storage/base/cursor.h"
#include "storage/base/file.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"

#include <assert.h>

void derived_deinit(struct derived *derived)
{
    if (derived->mapping.size > 0) {
        file_unmap(&derived->mapping);
    }
    mem_free(derived->memory);
    *derived = (struct derived){0};
}

/* ---- writing ---- */

void derived_writer_init(struct derived_writer *writer, const char *folder, const char *name)
{
    *writer = (struct derived_writer){.folder = folder, .fd = -1};
    (void)snprintf(writer->name, sizeof writer->name, "%s", name); /* names are ours and short */
    buffer_init(&writer->chunk, DERIVED_BODY_BYTES_MAX);
    buffer_init(&writer->sums, DERIVED_BODY_BYTES_MAX / DERIVED_BLOCK_BYTES * sizeof(uint64_t));
}

void derived_writer_deinit(struct derived_writer *writer)
{
    if (writer->fd >= 0) { /* not finished */
        struct err ignored = {0};
        CLEANUP(mem_cleanup) char *path = file_join(writer->folder, writer->name);
        file_close(&writer->fd);
        if (file_remove(path, &ignored) != ERR_OK) {
            err_clear(&ignored); /* table_clean gets it */
        }
    }
    buffer_deinit(&writer->chunk);
    buffer_deinit(&writer->sums);
}

/* Checksum the blocks of the chunk that are complete (or all that is left). */
static void sum_blocks(struct derived_writer *writer, bool last)
{
    while (writer->chunk.size - writer->summed >= DERIVED_BLOCK_BYTES ||
           (last && writer->summed < writer->chunk.size)) {
        size_t left = writer->chunk.size - writer->summed;
        size_t size = left < DERIVED_BLOCK_BYTES ? left : DERIVED_BLOCK_BYTES;
        uint64_t sum = hash_checksum(span_of(writer->chunk.data + writer->summed, size));
        buffer_append_u64(&writer->sums, sum);
        writer->summed += size;
    }
}

static enum err_code write_out(struct derived_writer *writer, size_t size, struct err *err)
{
    TRY(file_write_at(writer->fd, (int64_t)writer->spilled, span_of(writer->chunk.data, size),
                      err));
    writer->spilled += size;
    return ERR_OK;
}

/* Write the checked part of the chunk and keep the rest. */
static enum err_code spill(struct derived_writer *writer, struct err *err)
{
    if (writer->fd < 0) {
        CLEANUP(mem_cleanup) char *path = file_join(writer->folder, writer->name);
        TRY(file_create_derived(path, &writer->fd, err));
    }
    sum_blocks(writer, false);
    TRY(write_out(writer, writer->summed, err));
    size_t left = writer->chunk.size - writer->summed;
    memmove(writer->chunk.data, writer->chunk.data + writer->summed, left);
    writer->chunk.size = left;
    writer->summed = 0;
    return ERR_OK;
}

struct buffer *derived_chunk(struct derived_writer *writer)
{
    assert(!writer->failed);
    return &writer->chunk;
}

enum err_code derived_appended(struct derived_writer *writer, struct err *err)
{
    writer->body_bytes = writer->spilled + writer->chunk.size;
    if (writer->folder != NULL && writer->chunk.size >= DERIVED_STREAM_BYTES) {
        writer->failed = true;
        TRY(spill(writer, err));
        writer->failed = false;
    }
    return buffer_check(&writer->chunk, "derived file", err);
}

enum err_code derived_append(struct derived_writer *writer, const void *bytes, size_t size,
                             struct err *err)
{
    buffer_append(derived_chunk(writer), bytes, size);
    return derived_appended(writer, err);
}

enum err_code derived_align(struct derived_writer *writer, size_t alignment, struct err *err)
{
    static const uint8_t zeros[64];
    assert(alignment <= sizeof zeros);
    size_t over = writer->body_bytes % alignment;
    return over == 0 ? ERR_OK : derived_append(writer, zeros, alignment - over, err);
}

static void encode_trailer(struct derived_writer *writer, uint64_t magic,
                           const uint64_t numbers[DERIVED_NUMBERS])
{
    struct buffer *chunk = &writer->chunk;
    size_t start = chunk->size;
    buffer_append_u64(chunk, magic);
    for (size_t i = 0; i < DERIVED_NUMBERS; i++) {
        buffer_append_u64(chunk, numbers[i]);
    }
    buffer_append_u64(chunk, writer->body_bytes);
    buffer_append_u64(chunk, hash_checksum(buffer_span(&writer->sums)));
    buffer_append_u64(chunk, hash_checksum(span_of(chunk->data + start, chunk->size - start)));
    assert(chunk->size - start == DERIVED_TRAILER_BYTES);
}

static enum err_code finish_file(struct derived_writer *writer, uint64_t magic,
                                 struct derived *derived_out, struct err *err)
{
    TRY(write_out(writer, writer->chunk.size, err));
    TRY(derived_open(writer->folder, writer->name, magic, false, derived_out, err));
    file_close(&writer->fd);
    return ERR_OK;
}

static void finish_memory(struct derived_writer *writer, struct derived *derived)
{
    derived->body = span_of(writer->chunk.data, writer->body_bytes);
    derived->memory = writer->chunk.data;
    buffer_init(&writer->chunk, 0); /* the bytes have a new owner */
}

enum err_code derived_finish(struct derived_writer *writer, uint64_t magic,
                             const uint64_t numbers[DERIVED_NUMBERS], struct derived *derived_out,
                             struct err *err)
{
    assert(!writer->failed);
    sum_blocks(writer, true);
    encode_trailer(writer, magic, numbers);
    TRY(buffer_check(&writer->chunk, "derived file", err));
    struct derived derived = {0};
    if (writer->fd >= 0) {
        TRY(finish_file(writer, magic, &derived, err));
    } else {
        finish_memory(writer, &derived);
    }
    memcpy(derived.numbers, numbers, sizeof derived.numbers);
    *derived_out = derived;
    return ERR_OK;
}

enum err_code derived_store(struct derived *derived, const char *folder, const char *name,
                            struct err *err)
{
    if (derived->stored) {
        return ERR_OK;
    }
    CLEANUP(mem_cleanup) char *path = file_join(folder, name);
    /* One of a call that failed after it was there would be in the way. */
    TRY(file_remove(path, err));
    struct span file = span_of(derived->memory, derived->body.size + DERIVED_TRAILER_BYTES);
    TRY(file_write_derived(path, file, err));
    derived->stored = true;
    return ERR_OK;
}

/* ---- reading ---- */

static uint64_t sum_body(struct span body)
{
    struct buffer sums;
    buffer_init(&sums, DERIVED_BODY_BYTES_MAX / DERIVED_BLOCK_BYTES * sizeof(uint64_t));
    for (size_t at = 0; at < body.size; at += DERIVED_BLOCK_BYTES) {
        size_t left = body.size - at;
        size_t size = left < DERIVED_BLOCK_BYTES ? left : DERIVED_BLOCK_BYTES;
        buffer_append_u64(&sums, hash_checksum(span_of(body.data + at, size)));
    }
    uint64_t sum = hash_checksum(buffer_span(&sums));
    buffer_deinit(&sums);
    return sum;
}

enum err_code derived_decode(struct span file, uint64_t magic, bool whole,
                             struct derived *derived_out, struct err *err)
{
    if (file.size < DERIVED_TRAILER_BYTES) {
        return err_set(err, ERR_CORRUPT, "derived file of %zu bytes has no trailer", file.size);
    }
    struct span trailer =
        span_of(file.data + file.size - DERIVED_TRAILER_BYTES, DERIVED_TRAILER_BYTES);
    struct cursor cursor = cursor_of(trailer);
    struct derived derived = {0};
    uint64_t magic_found = cursor_u64(&cursor);
    for (size_t i = 0; i < DERIVED_NUMBERS; i++) {
        derived.numbers[i] = cursor_u64(&cursor);
    }
    uint64_t body_bytes = cursor_u64(&cursor);
    uint64_t body_sum = cursor_u64(&cursor);
    uint64_t trailer_sum = cursor_u64(&cursor);
    if (magic_found != magic ||
        trailer_sum != hash_checksum(span_of(trailer.data, DERIVED_TRAILER_BYTES - 8))) {
        return err_set(err, ERR_CORRUPT, "trailer is damaged or of another kind");
    }
    if (body_bytes != file.size - DERIVED_TRAILER_BYTES) {
        return err_set(err, ERR_CORRUPT, "body of %zu bytes, the trailer says %llu",
                       file.size - DERIVED_TRAILER_BYTES, (unsigned long long)body_bytes);
    }
    derived.body = span_of(file.data, (size_t)body_bytes);
    if (whole && sum_body(derived.body) != body_sum) {
        return err_set(err, ERR_CORRUPT, "body does not match its checksum");
    }
    *derived_out = derived;
    return ERR_OK;
}

enum err_code derived_open(const char *folder, const char *name, uint64_t magic, bool whole,
                           struct derived *derived_out, struct err *err)
{
    char *path = file_join(folder, name);
    struct span mapping = {0};
    enum err_code code = file_map(path, &mapping, err);
    mem_free(path);
    TRY(code);
    struct derived derived = {0};
    code = derived_decode(mapping, magic, whole, &derived, err);
    if (code != ERR_OK) {
        file_unmap(&mapping);
        return err_wrap(err, "%s", name);
    }
    derived.mapping = mapping;
    derived.stored = true;
    *derived_out = derived;
    return ERR_OK;
}
