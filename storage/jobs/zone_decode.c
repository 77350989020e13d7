/*
 * Compiled zone files (TZif), version 1 to 4, from bytes. See zone.h for the contract.
 *
 * The layout twice over for version 2 and later: a header and a block with 32-bit
 * times for old readers, then a header and a block with 64-bit times and the footer.
 */
#include "storage/jobs/zone_data.h"

#include "storage/base/cursor.h"
#include "storage/base/mem.h"

#include <assert.h>

enum {
    RESERVED_BYTES = 15,
    TYPES_MAX = 256, /* an index is one byte */
    TYPE_BYTES = 6,
    /* spec: RFC 9636 3.2 — utoff is more than -25 h and less than +26 h */
    OFFSET_MIN_S = -25 * 3600 + 1,
    OFFSET_MAX_S = 26 * 3600 - 1,
};

/* spec: RFC 9636 3.2 — no transition is before -2^59; a bound on the other side keeps sums safe */
static const int64_t transition_s_max = (int64_t)1 << 59;

struct header {
    uint8_t version; /* 0, '2', '3', '4' */
    uint32_t ut_count, standard_count, leap_count, times_count, types_count, chars_count;
};

static uint64_t read_u64_big_endian(struct cursor *cursor)
{
    return __builtin_bswap64(cursor_u64(cursor));
}

static enum err_code read_header(struct cursor *cursor, struct header *header_out, struct err *err)
{
    struct span magic = cursor_bytes(cursor, 4);
    if (!span_equal_text(magic, "TZif")) {
        return err_set(err, ERR_CORRUPT, "it is not a compiled time zone file");
    }
    struct header header = {.version = cursor_u8(cursor)};
    cursor_skip(cursor, RESERVED_BYTES);
    header.ut_count = cursor_u32_big_endian(cursor);
    header.standard_count = cursor_u32_big_endian(cursor);
    header.leap_count = cursor_u32_big_endian(cursor);
    header.times_count = cursor_u32_big_endian(cursor);
    header.types_count = cursor_u32_big_endian(cursor);
    header.chars_count = cursor_u32_big_endian(cursor);
    TRY(cursor_check(cursor, "the header", err));
    if (header.version != 0 && (header.version < '2' || header.version > '4')) {
        return err_set(err, ERR_UNSUPPORTED, "version byte %u is not 0, '2', '3' or '4'",
                       (unsigned)header.version);
    }
    *header_out = header;
    return ERR_OK;
}

/* The bytes of a block; every product fits, because each count has 32 bits. */
static uint64_t block_bytes(const struct header *header, uint64_t time_bytes)
{
    return header->times_count * (time_bytes + 1) + header->types_count * (uint64_t)TYPE_BYTES +
           header->chars_count + header->leap_count * (time_bytes + 4) + header->standard_count +
           header->ut_count;
}

/* spec: RFC 9636 3.1 — what the counts may be */
static enum err_code check_header(const struct header *header, struct err *err)
{
    if (header->leap_count > 0) {
        return err_set(err, ERR_UNSUPPORTED,
                       "it counts leap seconds; name the zone without \"right/\"");
    }
    if (header->times_count > ZONE_TRANSITIONS_MAX) {
        return err_set(err, ERR_CORRUPT, "%u transitions, at most %d are read", header->times_count,
                       ZONE_TRANSITIONS_MAX);
    }
    if (header->types_count == 0 || header->types_count > TYPES_MAX || header->chars_count == 0) {
        return err_set(err, ERR_CORRUPT, "%u local time types with %u bytes of names",
                       header->types_count, header->chars_count);
    }
    if ((header->standard_count != 0 && header->standard_count != header->types_count) ||
        (header->ut_count != 0 && header->ut_count != header->types_count)) {
        return err_set(err, ERR_CORRUPT, "%u and %u indicators for %u local time types",
                       header->standard_count, header->ut_count, header->types_count);
    }
    return ERR_OK;
}

/* The offsets of the local time types. */
static enum err_code read_types(struct cursor *cursor, const struct header *header,
                                int32_t offsets_out[TYPES_MAX], struct err *err)
{
    for (uint32_t i = 0; i < header->types_count; i++) {
        int32_t offset = (int32_t)cursor_u32_big_endian(cursor);
        struct span rest = cursor_bytes(cursor, TYPE_BYTES - 4); /* daylight, name */
        if (rest.data == NULL || offset < OFFSET_MIN_S || offset > OFFSET_MAX_S ||
            rest.data[0] > 1 || rest.data[1] >= header->chars_count) {
            return err_set(err, ERR_CORRUPT, "local time type %u is out of range", i);
        }
        offsets_out[i] = offset;
    }
    return ERR_OK;
}

/* Fill zone->transitions from the times and type indexes of a block. */
static enum err_code take_transitions(struct cursor *times, struct span indexes,
                                      const struct header *header, size_t time_bytes,
                                      const int32_t *offsets, struct zone *zone, struct err *err)
{
    int64_t before_s = INT64_MIN;
    int32_t offset_s = offsets[0];
    zone->first_offset_s = offset_s; /* spec: RFC 9636 3.2 — type 0 before the first transition */
    zone->transitions = mem_zeroed(header->times_count + 1, sizeof zone->transitions[0]);
    for (uint32_t i = 0; i < header->times_count; i++) {
        int64_t at_s = time_bytes == 4 ? (int32_t)cursor_u32_big_endian(times)
                                       : (int64_t)read_u64_big_endian(times);
        if (at_s <= before_s || at_s < -transition_s_max || at_s > transition_s_max) {
            return err_set(err, ERR_CORRUPT, "transition %u is out of order or range", i);
        }
        if (indexes.data[i] >= header->types_count) {
            return err_set(err, ERR_CORRUPT, "transition %u names local time type %u of %u", i,
                           (unsigned)indexes.data[i], header->types_count);
        }
        before_s = at_s;
        if (offsets[indexes.data[i]] != offset_s) {
            /* a change of the name alone is none for us */
            offset_s = offsets[indexes.data[i]];
            zone->transitions[zone->transitions_count++] = (struct zone_transition){at_s, offset_s};
        }
    }
    zone->rule_from_s = before_s;
    return ERR_OK;
}

static enum err_code read_block(struct cursor *cursor, const struct header *header,
                                size_t time_bytes, struct zone *zone, struct err *err)
{
    TRY(check_header(header, err));
    struct cursor times = cursor_of(cursor_bytes(cursor, header->times_count * time_bytes));
    struct span indexes = cursor_bytes(cursor, header->times_count);
    int32_t offsets[TYPES_MAX] = {0};
    TRY(read_types(cursor, header, offsets, err));
    cursor_skip(cursor, header->chars_count);
    cursor_skip(cursor, (size_t)header->standard_count + header->ut_count);
    TRY(cursor_check(cursor, "the data block", err));
    return take_transitions(&times, indexes, header, time_bytes, offsets, zone, err);
}

/* spec: RFC 9636 3.3 — a line feed, the TZ string, a line feed */
static enum err_code read_footer(struct cursor *cursor, struct zone *zone, struct err *err)
{
    struct span rest = cursor_bytes(cursor, cursor_left(cursor));
    size_t size = rest.size;
    if (size < 2 || size - 2 > ZONE_FOOTER_BYTES_MAX || rest.data[0] != '\n' ||
        rest.data[size - 1] != '\n') {
        return err_set(err, ERR_CORRUPT, "the footer of %zu bytes is not one line", size);
    }
    if (size == 2) {
        return ERR_OK; /* nothing is known after the last transition: it stays as it is */
    }
    zone->has_rule = true;
    return zone_rule_parse(span_of(rest.data + 1, size - 2), &zone->rule, err);
}

static enum err_code decode(struct cursor *cursor, struct zone *zone, struct err *err)
{
    struct header header = {0};
    TRY(read_header(cursor, &header, err));
    if (header.version == 0) {
        TRY(read_block(cursor, &header, 4, zone, err));
        return cursor_left(cursor) == 0
                   ? ERR_OK
                   : err_set(err, ERR_CORRUPT, "%zu bytes after the data block",
                             cursor_left(cursor));
    }
    uint64_t old_block = block_bytes(&header, 4);
    if (old_block > cursor_left(cursor)) {
        return err_set(err, ERR_CORRUPT, "the 32-bit data block ends early");
    }
    cursor_skip(cursor, (size_t)old_block);
    TRY(read_header(cursor, &header, err));
    TRY(read_block(cursor, &header, 8, zone, err));
    return read_footer(cursor, zone, err);
}

enum err_code zone_decode(struct span tzif, const char *name, const struct zone **zone_out,
                          struct err *err)
{
    size_t name_size = strlen(name);
    assert(name_size <= ZONE_NAME_BYTES_MAX);
    struct zone *zone = mem_zeroed(1, sizeof *zone);
    zone->references = 1;
    memcpy(zone->name, name, name_size);
    CLEANUP(zone_release) const struct zone *owned = zone;
    struct cursor cursor = cursor_of(tzif);
    if (decode(&cursor, zone, err) != ERR_OK) {
        return err_wrap(err, "time zone %s", name);
    }
    *zone_out = owned;
    owned = NULL;
    return ERR_OK;
}
