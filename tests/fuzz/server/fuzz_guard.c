/*
 * The guard under arbitrary bytes in arbitrary pieces: however a stream is cut, the
 * same bytes are handed on, and they are again a stream that the guard lets pass.
 * First byte: size of the pieces.
 */
#include "server/guard.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLACK_BYTES = 4096 };

static size_t run(struct guard *guard, struct span stream, size_t step, uint8_t *out, size_t room)
{
    size_t used = 0;
    for (size_t at = 0; at < stream.size; at += step) {
        size_t piece = stream.size - at < step ? stream.size - at : step;
        uint8_t *bytes = mem_copy(stream.data + at, piece);
        size_t passed = guard_feed(guard, bytes, piece);
        assert(used + passed <= room);
        if (passed > 0) {
            memcpy(out + used, bytes, passed);
        }
        used += passed;
        mem_free(bytes);
        used += guard_take(guard, out + used, room - used);
        assert(!guard_has_ready(guard));
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct span stream = span_of(data + 1, size - 1);
    size_t room = size + SLACK_BYTES;
    uint8_t *whole = mem_alloc(room);
    uint8_t *pieces = mem_alloc(room);
    struct guard one;
    struct guard other;
    guard_init(&one);
    guard_init(&other);
    size_t whole_size = run(&one, stream, stream.size > 0 ? stream.size : 1, whole, room);
    size_t pieces_size = run(&other, stream, data[0] % 64 + 1u, pieces, room);
    assert(one.refusal == other.refusal || one.phase == other.phase);
    if (one.refusal == GUARD_FINE) {
        assert(whole_size == pieces_size);
        assert(memcmp(whole, pieces, whole_size) == 0);
        assert(one.heads_count == other.heads_count);
        assert(whole_size <= stream.size);
    }
    guard_deinit(&one);
    guard_deinit(&other);
    mem_free(pieces);
    mem_free(whole);
    return 0;
}
