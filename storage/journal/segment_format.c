/*
 * Encoding and decoding the headers of segment files and records. Pure; see
 * segments.h for the layout.
 */
#include "storage/journal/segment_format.h"

#include "storage/base/clock.h"
#include "storage/base/cursor.h"
#include "storage/base/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
    FORMAT_VERSION = 1,
    KEY_NONE = 0, /* encryption key id: not encrypted */
    ALIGNMENT = 8,
};

static const uint32_t record_mark = 0x31435253; /* "SRC1" */

int64_t segment_record_extent(size_t payload_size)
{
    int64_t bytes = SEGMENT_RECORD_HEADER_BYTES + (int64_t)payload_size;
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void segment_encode_header(const char *magic, int64_t number, uint64_t nonce, struct buffer *bytes)
{
    buffer_append(bytes, magic, SEGMENT_MAGIC_BYTES);
    buffer_append_u32(bytes, FORMAT_VERSION);
    buffer_append_u32(bytes, 0);
    buffer_append_u64(bytes, (uint64_t)number);
    buffer_append_u64(bytes, nonce);
    buffer_append_u64(bytes, (uint64_t)clock_wall_us());
    buffer_append_u64(bytes, hash_checksum(buffer_span(bytes)));
    assert(bytes->size == SEGMENT_HEADER_BYTES);
}

enum err_code segment_decode_header(struct span bytes, const char *magic, int64_t number,
                                    uint64_t *nonce_out, struct err *err)
{
    struct cursor cursor = cursor_of(bytes);
    struct span found_magic = cursor_bytes(&cursor, SEGMENT_MAGIC_BYTES);
    uint32_t format = cursor_u32(&cursor);
    cursor_skip(&cursor, 4);
    uint64_t found_number = cursor_u64(&cursor);
    uint64_t nonce = cursor_u64(&cursor);
    cursor_skip(&cursor, 8);
    size_t covered = cursor.position;
    uint64_t checksum = cursor_u64(&cursor);
    TRY(cursor_check(&cursor, "segment header", err));
    if (!span_equal(found_magic, span_of(magic, SEGMENT_MAGIC_BYTES))) {
        return err_set(err, ERR_CORRUPT, "segment header is not of a '%.8s' log", magic);
    }
    if (checksum != hash_checksum(span_of(bytes.data, covered))) {
        return err_set(err, ERR_CORRUPT, "segment header fails its checksum");
    }
    if (format != FORMAT_VERSION) {
        return err_set(err, ERR_UNSUPPORTED, "segment format %u is newer than this program",
                       format);
    }
    if (found_number != (uint64_t)number) {
        return err_set(err, ERR_CORRUPT, "segment header says number %" PRIu64, found_number);
    }
    *nonce_out = nonce;
    return ERR_OK;
}

static uint64_t header_checksum(const uint8_t fields[24], const struct segment_place *place)
{
    uint64_t covered[6];
    memcpy(covered, fields, 24);
    covered[3] = (uint64_t)place->number;
    covered[4] = place->nonce;
    covered[5] = (uint64_t)place->offset;
    return hash_checksum(span_of(covered, sizeof covered));
}

void segment_encode_record(struct span payload, const struct segment_place *place,
                           struct buffer *bytes)
{
    buffer_append_u32(bytes, record_mark);
    buffer_append_u32(bytes, KEY_NONE);
    buffer_append_u32(bytes, (uint32_t)payload.size);
    buffer_append_u32(bytes, 0);
    buffer_append_u64(bytes, hash_checksum(payload));
    buffer_append_u64(bytes, header_checksum(bytes->data, place));
    assert(bytes->size == SEGMENT_RECORD_HEADER_BYTES);
}

/* Size and payload checksum of a record's header; false when it is not one. */
bool segment_decode_record(struct span bytes, const struct segment_place *place, uint32_t *size_out,
                           uint64_t *checksum_out)
{
    struct cursor cursor = cursor_of(bytes);
    uint32_t mark = cursor_u32(&cursor);
    uint32_t key_id = cursor_u32(&cursor);
    uint32_t size = cursor_u32(&cursor);
    cursor_skip(&cursor, 4);
    uint64_t payload_checksum = cursor_u64(&cursor);
    uint64_t checksum = cursor_u64(&cursor);
    if (cursor.failed || mark != record_mark || key_id != KEY_NONE ||
        size > SEGMENT_RECORD_BYTES_MAX || checksum != header_checksum(bytes.data, place)) {
        return false;
    }
    *size_out = size;
    *checksum_out = payload_checksum;
    return true;
}

enum err_code segment_decode(struct span file, const char *magic, int64_t number,
                             segment_visit_fn *visit, void *arg, int64_t *end_out, struct err *err)
{
    struct segment_place place = {.number = number};
    TRY(segment_decode_header(file, magic, number, &place.nonce, err));

    size_t position = SEGMENT_HEADER_BYTES;
    while (file.size - position >= SEGMENT_RECORD_HEADER_BYTES) {
        struct span left = span_of(file.data + position, file.size - position);
        uint32_t size = 0;
        uint64_t checksum = 0;
        place.offset = (int64_t)position;
        if (!segment_decode_record(left, &place, &size, &checksum) ||
            (uint64_t)segment_record_extent(size) > left.size) {
            break;
        }
        struct span payload = span_of(left.data + SEGMENT_RECORD_HEADER_BYTES, size);
        if (hash_checksum(payload) != checksum) {
            break;
        }
        struct location location = {.segment = number, .offset = place.offset, .size = size};
        position += (size_t)segment_record_extent(size);
        if (visit != NULL && !visit(arg, &location, payload)) {
            break;
        }
    }
    *end_out = (int64_t)position;
    return ERR_OK;
}

int64_t segment_zeros_start(struct span file, int64_t from)
{
    size_t end = file.size;
    while (end > (size_t)from && file.data[end - 1] == 0) {
        end--;
    }
    return (int64_t)end;
}
