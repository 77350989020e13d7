/*
 * Delta encodings. See delta_encodings.h for the contract.
 */
#include "storage/parquet/delta_encodings.h"

#include "storage/base/cursor.h"
#include "storage/base/mem.h"
#include "storage/parquet/reader.h"

#include <assert.h>
#include <string.h>

enum {
    WIDTH_MAX = 64,
    MINIBLOCK_MULTIPLE = 8,
    BLOCK_VALUES_MAX = 1 << 20,
    STRINGS_BATCH_BYTES = 16 << 20, /* that values with prefixes should take at once */
};

/* ---- integers ---- */

static enum err_code malformed(const char *what, size_t position, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "delta encoding: %s at byte %zu of the values", what,
                   position);
}

enum err_code delta_integers_begin(struct delta_integers *stream, struct span bytes,
                                   size_t values_max, struct err *err)
{
    struct cursor in = cursor_of(bytes);
    uint64_t block_values = cursor_varint(&in);
    uint64_t miniblocks = cursor_varint(&in);
    uint64_t total = cursor_varint(&in);
    uint64_t first = cursor_varint(&in);
    if (in.failed || block_values == 0 || block_values > BLOCK_VALUES_MAX || miniblocks == 0 ||
        miniblocks > block_values || block_values % miniblocks != 0 ||
        block_values / miniblocks % MINIBLOCK_MULTIPLE != 0) {
        return malformed("bad header", in.position, err);
    }
    if (total > values_max) {
        return err_set(err, ERR_CORRUPT, "delta encoding states %llu values, the page has %zu",
                       (unsigned long long)total, values_max);
    }
    *stream = (struct delta_integers){
        .bytes = bytes,
        .position = in.position,
        .values_total = (size_t)total,
        .miniblocks = (size_t)miniblocks,
        .miniblock_values = (size_t)(block_values / miniblocks),
        .miniblock = (size_t)miniblocks,
        .last = first >> 1 ^ -(first & 1),
    };
    return ERR_OK;
}

/* Read the block's least delta and bit widths. */
static enum err_code open_block(struct delta_integers *stream, struct err *err)
{
    struct cursor in = cursor_of(stream->bytes);
    in.position = stream->position;
    uint64_t least = cursor_varint(&in);
    stream->widths_position = in.position;
    cursor_skip(&in, stream->miniblocks);
    if (in.failed) {
        return malformed("block header ends early", stream->position, err);
    }
    stream->min_delta = least >> 1 ^ -(least & 1);
    stream->position = in.position;
    stream->miniblock = 0;
    return ERR_OK;
}

/* Make the next miniblock current; its bytes may be cut when it is the last and not full. */
static enum err_code open_miniblock(struct delta_integers *stream, struct err *err)
{
    if (stream->miniblock == stream->miniblocks) {
        TRY(open_block(stream, err));
    }
    stream->width = stream->bytes.data[stream->widths_position + stream->miniblock];
    size_t left_values = stream->values_total - stream->values_given;
    size_t values = stream->miniblock_values;
    size_t size = stream->width * (values / 8);
    size_t left = stream->bytes.size - stream->position;
    if (size > left && left_values < values) {
        size = (stream->width * left_values + 7) / 8; /* some writers cut the padding */
    }
    if (stream->width > WIDTH_MAX || size > left) {
        return malformed("miniblock ends early", stream->position, err);
    }
    stream->miniblock_position = stream->position;
    stream->miniblock_given = 0;
    stream->position += size;
    stream->miniblock++;
    return ERR_OK;
}

static uint64_t load_bits(const struct delta_integers *stream, uint64_t bit)
{
    size_t offset = stream->miniblock_position + (size_t)(bit >> 3);
    unsigned shift = (unsigned)(bit & 7);
    uint64_t words[2] = {0, 0};
    size_t left = stream->bytes.size - offset;
    memcpy(words, stream->bytes.data + offset, left < sizeof words ? left : sizeof words);
    uint64_t low = words[0] >> shift;
    return shift == 0 ? low : low | words[1] << (64 - shift);
}

/* The next `count` values of the current miniblock, which has that many. */
static void give_deltas(struct delta_integers *stream, int64_t *values, size_t count)
{
    uint64_t last = stream->last;
    uint64_t least = stream->min_delta;
    unsigned width = stream->width;
    if (width == 0) {
        for (size_t i = 0; i < count; i++) {
            last += least;
            values[i] = (int64_t)last;
        }
    } else {
        uint64_t mask = width == WIDTH_MAX ? UINT64_MAX : (UINT64_C(1) << width) - 1;
        uint64_t bit = (uint64_t)stream->miniblock_given * width;
        for (size_t i = 0; i < count; i++, bit += width) {
            last += least + (load_bits(stream, bit) & mask);
            values[i] = (int64_t)last;
        }
    }
    stream->last = last;
    stream->miniblock_given += count;
    stream->values_given += count;
}

enum err_code delta_integers_next(struct delta_integers *stream, int64_t *values_out, size_t count,
                                  struct err *err)
{
    if (count > stream->values_total - stream->values_given) {
        return malformed("fewer values than the page needs", stream->position, err);
    }
    if (count > 0 && stream->values_given == 0) {
        /* the first value is in the header; the miniblocks hold the differences */
        values_out[0] = (int64_t)stream->last;
        stream->values_given = 1;
        stream->miniblock_given = stream->miniblock_values;
        values_out++;
        count--;
    }
    while (count > 0) {
        if (stream->miniblock_given == stream->miniblock_values) {
            TRY(open_miniblock(stream, err));
        }
        size_t left = stream->miniblock_values - stream->miniblock_given;
        size_t step = count < left ? count : left;
        give_deltas(stream, values_out, step);
        values_out += step;
        count -= step;
    }
    return ERR_OK;
}

enum err_code delta_integers_end(struct delta_integers *stream, size_t *position_out,
                                 struct err *err)
{
    if (stream->values_given == 0 && stream->values_total > 0) {
        stream->values_given = 1; /* it is in the header */
        stream->miniblock_given = stream->miniblock_values;
    }
    while (stream->values_given < stream->values_total) {
        if (stream->miniblock_given == stream->miniblock_values) {
            TRY(open_miniblock(stream, err));
        }
        size_t left = stream->values_total - stream->values_given;
        size_t step = stream->miniblock_values - stream->miniblock_given;
        step = step < left ? step : left;
        stream->miniblock_given += step;
        stream->values_given += step;
    }
    *position_out = stream->position;
    return ERR_OK;
}

/* ---- byte strings ---- */

void delta_strings_deinit(struct delta_strings *stream)
{
    mem_free(stream->lengths);
    mem_free(stream->prefixes);
    mem_free(stream->scratch);
    mem_free(stream->last);
    *stream = (struct delta_strings){0};
}

/* Begin a stream of lengths, and find where it ends: what they are the lengths of follows. */
static enum err_code begin_lengths(struct span bytes, size_t values_max,
                                   struct delta_integers *stream, size_t *end_out, struct err *err)
{
    TRY(delta_integers_begin(stream, bytes, values_max, err));
    struct delta_integers passed = *stream;
    return delta_integers_end(&passed, end_out, err);
}

static struct span span_from(struct span bytes, size_t position)
{
    return span_of(bytes.data + position, bytes.size - position);
}

enum err_code delta_strings_begin(struct delta_strings *stream, struct span bytes,
                                  bool with_prefixes, size_t values_max, struct err *err)
{
    delta_strings_deinit(stream);
    size_t end = 0;
    if (with_prefixes) {
        TRY(begin_lengths(bytes, values_max, &stream->prefixes_left, &end, err));
        bytes = span_from(bytes, end);
    }
    TRY(begin_lengths(bytes, values_max, &stream->lengths_left, &end, err));
    stream->with_prefixes = with_prefixes;
    stream->count = stream->lengths_left.values_total;
    if (with_prefixes && stream->prefixes_left.values_total != stream->count) {
        return err_set(err, ERR_CORRUPT, "delta encoding: %zu prefixes for %zu suffixes",
                       stream->prefixes_left.values_total, stream->count);
    }
    stream->data = span_from(bytes, end);
    return ERR_OK;
}

static enum err_code check_lengths(const int64_t *lengths, size_t count, size_t most,
                                   struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (lengths[i] < 0 || (uint64_t)lengths[i] > most) {
            return err_set(err, ERR_CORRUPT, "delta encoding: impossible length %lld",
                           (long long)lengths[i]);
        }
    }
    return ERR_OK;
}

/* Know the lengths of the next `count` values, which are there. */
static enum err_code know(struct delta_strings *stream, size_t count, struct err *err)
{
    if (count <= stream->known) {
        return ERR_OK;
    }
    if (count > stream->known_capacity) {
        stream->lengths = mem_resize(stream->lengths, count, sizeof *stream->lengths);
        stream->prefixes = mem_resize(stream->prefixes, count, sizeof *stream->prefixes);
        stream->known_capacity = count;
    }
    size_t more = count - stream->known;
    int64_t *lengths = stream->lengths + stream->known;
    TRY(delta_integers_next(&stream->lengths_left, lengths, more, err));
    TRY(check_lengths(lengths, more, stream->data.size, err));
    if (stream->with_prefixes) {
        int64_t *prefixes = stream->prefixes + stream->known;
        TRY(delta_integers_next(&stream->prefixes_left, prefixes, more, err));
        TRY(check_lengths(prefixes, more, PARQUET_PAGE_BYTES_MAX, err));
    }
    stream->known = count;
    return ERR_OK;
}

/* The first `count` lengths known are of values that were given. */
static void forget(struct delta_strings *stream, size_t count)
{
    size_t left = stream->known - count;
    memmove(stream->lengths, stream->lengths + count, left * sizeof *stream->lengths);
    memmove(stream->prefixes, stream->prefixes + count, left * sizeof *stream->prefixes);
    stream->known = left;
    stream->given += count;
}

enum err_code delta_strings_fit(struct delta_strings *stream, size_t count, size_t *fit_out,
                                struct err *err)
{
    size_t left = stream->count - stream->given;
    size_t fit = count < left ? count : left;
    if (!stream->with_prefixes || fit == 0) {
        *fit_out = count;
        return ERR_OK;
    }
    TRY(know(stream, fit, err));
    int64_t size = 0;
    for (size_t i = 0; i < fit; i++) {
        size += stream->prefixes[i] + stream->lengths[i];
        if (size > STRINGS_BATCH_BYTES) {
            *fit_out = i > 0 ? i : 1;
            return ERR_OK;
        }
    }
    *fit_out = count; /* if there are fewer, then the next call says so */
    return ERR_OK;
}

static enum err_code next_plain(struct delta_strings *stream, struct span *values, size_t count,
                                struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = (size_t)stream->lengths[i];
        if (length > stream->data.size - stream->position) {
            return malformed("value ends past the page", stream->position, err);
        }
        values[i] = span_of(stream->data.data + stream->position, length);
        stream->position += length;
    }
    return ERR_OK;
}

/* Bytes the next `count` values take; every prefix is part of the value before. */
static enum err_code measure(const struct delta_strings *stream, size_t count, size_t *size_out,
                             struct err *err)
{
    size_t before = stream->last_size;
    size_t size = 0;
    size_t position = stream->position;
    for (size_t i = 0; i < count; i++) {
        size_t prefix = (size_t)stream->prefixes[i];
        size_t suffix = (size_t)stream->lengths[i];
        if (prefix > before || suffix > stream->data.size - position) {
            return malformed("prefix or suffix longer than what there is", position, err);
        }
        position += suffix;
        before = prefix + suffix;
        size += before;
        if (size > PARQUET_PAGE_BYTES_MAX) {
            return err_set(err, ERR_UNSUPPORTED, "delta encoding unpacks to more than %d bytes",
                           PARQUET_PAGE_BYTES_MAX);
        }
    }
    *size_out = size;
    return ERR_OK;
}

static void keep_last(struct delta_strings *stream, struct span value)
{
    if (value.size > stream->last_capacity) {
        stream->last = mem_resize(stream->last, value.size, 1);
        stream->last_capacity = value.size;
    }
    if (value.size > 0) {
        memcpy(stream->last, value.data, value.size);
    }
    stream->last_size = value.size;
}

static void copy_bytes(uint8_t *target, const uint8_t *source, size_t size)
{
    if (size > 0) {
        memcpy(target, source, size);
    }
}

static enum err_code next_prefixed(struct delta_strings *stream, struct span *values, size_t count,
                                   struct err *err)
{
    size_t size = 0;
    TRY(measure(stream, count, &size, err));
    if (size >= stream->scratch_size) { /* empty values need an address, too */
        stream->scratch = mem_resize(stream->scratch, size + 1, 1);
        stream->scratch_size = size + 1;
    }
    struct span before = span_of(stream->last, stream->last_size);
    uint8_t *target = stream->scratch;
    for (size_t i = 0; i < count; i++) {
        size_t prefix = (size_t)stream->prefixes[i];
        size_t suffix = (size_t)stream->lengths[i];
        copy_bytes(target, before.data, prefix);
        copy_bytes(target + prefix, stream->data.data + stream->position, suffix);
        stream->position += suffix;
        before = span_of(target, prefix + suffix);
        values[i] = before;
        target += prefix + suffix;
    }
    keep_last(stream, before);
    return ERR_OK;
}

enum err_code delta_strings_next(struct delta_strings *stream, struct span *values_out,
                                 size_t count, struct err *err)
{
    if (count > stream->count - stream->given) {
        return malformed("fewer values than the page needs", stream->position, err);
    }
    if (count == 0) {
        return ERR_OK;
    }
    TRY(know(stream, count, err));
    if (stream->with_prefixes) {
        TRY(next_prefixed(stream, values_out, count, err));
    } else {
        TRY(next_plain(stream, values_out, count, err));
    }
    forget(stream, count);
    return ERR_OK;
}
