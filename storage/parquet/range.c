/*
 * Bounds. See range.h for the contract.
 * Source: parquet.thrift Statistics, ColumnOrder (TYPE_ORDER), ColumnIndex.
 */
#include "storage/parquet/range.h"

#include "storage/parquet/writer.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- measuring ---- */

static struct range of_u8(const uint8_t *values, size_t count)
{
    uint8_t min = values[0];
    uint8_t max = values[0];
    for (size_t i = 1; i < count; i++) {
        min = values[i] < min ? values[i] : min;
        max = values[i] > max ? values[i] : max;
    }
    return (struct range){.has_range = true, .i64 = {.min = min, .max = max}};
}

static struct range of_i32(const int32_t *values, size_t count)
{
    int32_t min = values[0];
    int32_t max = values[0];
    for (size_t i = 1; i < count; i++) {
        min = values[i] < min ? values[i] : min;
        max = values[i] > max ? values[i] : max;
    }
    return (struct range){.has_range = true, .i64 = {.min = min, .max = max}};
}

static struct range of_i64(const int64_t *values, size_t count)
{
    int64_t min = values[0];
    int64_t max = values[0];
    for (size_t i = 1; i < count; i++) {
        min = values[i] < min ? values[i] : min;
        max = values[i] > max ? values[i] : max;
    }
    return (struct range){.has_range = true, .i64 = {.min = min, .max = max}};
}

static struct range of_i128(const __int128 *values, size_t count)
{
    __int128 min = values[0];
    __int128 max = values[0];
    for (size_t i = 1; i < count; i++) {
        min = values[i] < min ? values[i] : min;
        max = values[i] > max ? values[i] : max;
    }
    return (struct range){.has_range = true, .i128 = {.min = min, .max = max}};
}

/* Comparisons with NaN are false, so that NaN never becomes a bound. */
static struct range of_f64(const double *values, size_t count)
{
    struct range range = {.f64 = {.min = (double)INFINITY, .max = -(double)INFINITY}};
    for (size_t i = 0; i < count; i++) {
        range.f64.min = values[i] < range.f64.min ? values[i] : range.f64.min;
        range.f64.max = values[i] > range.f64.max ? values[i] : range.f64.max;
        range.has_nan |= values[i] != values[i];
        range.has_range |= values[i] == values[i];
    }
    return range;
}

static struct range of_f32(const float *values, size_t count)
{
    float min = INFINITY;
    float max = -INFINITY;
    struct range range = {0};
    for (size_t i = 0; i < count; i++) {
        min = values[i] < min ? values[i] : min;
        max = values[i] > max ? values[i] : max;
        range.has_nan |= values[i] != values[i];
        range.has_range |= values[i] == values[i];
    }
    range.f64.min = (double)min;
    range.f64.max = (double)max;
    return range;
}

/* The first 8 bytes as a number that orders as they do. */
static inline uint64_t order_prefix(const uint8_t *bytes, size_t size)
{
    uint64_t prefix = 0;
    if (size >= sizeof prefix) {
        memcpy(&prefix, bytes, sizeof prefix);
        return __builtin_bswap64(prefix);
    }
    for (size_t i = 0; i < size; i++) {
        prefix |= (uint64_t)bytes[i] << (56 - 8 * i);
    }
    return prefix;
}

static inline struct span piece_span(const struct leaf_values *values, size_t index)
{
    return span_of(values->bytes + values->pieces[index].start, values->pieces[index].size);
}

/* Most values are neither smallest nor largest, and their first 8 bytes say so. */
static struct range of_pieces(const struct leaf_values *values, size_t first, size_t count)
{
    struct span min = piece_span(values, first);
    struct span max = min;
    uint64_t min_prefix = order_prefix(min.data, min.size);
    uint64_t max_prefix = min_prefix;
    for (size_t i = first + 1; i < first + count; i++) {
        struct span value = piece_span(values, i);
        uint64_t prefix = order_prefix(value.data, value.size);
        if (prefix <= min_prefix && span_compare(value, min) < 0) {
            min = value;
            min_prefix = prefix;
        }
        if (prefix >= max_prefix && span_compare(value, max) > 0) {
            max = value;
            max_prefix = prefix;
        }
    }
    return (struct range){.has_range = true, .bytes = {.min = min, .max = max}};
}

struct range range_of(const struct leaf_values *values, size_t first, size_t count)
{
    if (count == 0) {
        return (struct range){0};
    }
    const uint8_t *slots = (const uint8_t *)values->slots;
    const void *from =
        values->type.kind == LEAF_BYTES ? NULL : slots + first * leaf_slot_bytes(values->type.kind);
    switch (values->type.kind) {
    case LEAF_BOOLEAN:
        return of_u8(from, count);
    case LEAF_I32:
        return of_i32(from, count);
    case LEAF_I64:
        return of_i64(from, count);
    case LEAF_F32:
        return of_f32(from, count);
    case LEAF_F64:
        return of_f64(from, count);
    case LEAF_FIXED:
        return of_i128(from, count);
    case LEAF_BYTES:
        break;
    }
    return of_pieces(values, first, count);
}

struct range range_of_codes(struct dictionary *dictionary, const struct leaf_values *entries,
                            size_t first, size_t count)
{
    struct range range = {0};
    uint32_t round = ++dictionary->round;
    if (round == 0) { /* wrapped: old marks would look new */
        memset(dictionary->marks, 0, dictionary->entries_capacity * sizeof *dictionary->marks);
        round = ++dictionary->round;
    }
    for (size_t i = first; i < first + count; i++) {
        uint32_t code = dictionary->codes[i];
        if (dictionary->marks[code] == round) {
            continue;
        }
        dictionary->marks[code] = round;
        struct range one = range_of(entries, code, 1);
        range_join(&range, &one, entries->type.kind);
    }
    return range;
}

/* ---- joining ---- */

void range_join(struct range *range, const struct range *other, enum leaf_kind kind)
{
    bool has_nan = range->has_nan || other->has_nan;
    if (!range->has_range) {
        *range = *other;
    } else if (other->has_range) {
        switch (kind) {
        case LEAF_BOOLEAN:
        case LEAF_I32:
        case LEAF_I64:
            range->i64.min = other->i64.min < range->i64.min ? other->i64.min : range->i64.min;
            range->i64.max = other->i64.max > range->i64.max ? other->i64.max : range->i64.max;
            break;
        case LEAF_F32:
        case LEAF_F64:
            range->f64.min = other->f64.min < range->f64.min ? other->f64.min : range->f64.min;
            range->f64.max = other->f64.max > range->f64.max ? other->f64.max : range->f64.max;
            break;
        case LEAF_FIXED:
            range->i128.min = other->i128.min < range->i128.min ? other->i128.min : range->i128.min;
            range->i128.max = other->i128.max > range->i128.max ? other->i128.max : range->i128.max;
            break;
        case LEAF_BYTES:
            if (span_compare(other->bytes.min, range->bytes.min) < 0) {
                range->bytes.min = other->bytes.min;
            }
            if (span_compare(other->bytes.max, range->bytes.max) > 0) {
                range->bytes.max = other->bytes.max;
            }
            break;
        }
    }
    range->has_nan = has_nan;
}

/* ---- encoding ---- */

static void encode_i64(int64_t value, enum leaf_kind kind, struct buffer *out)
{
    if (kind == LEAF_BOOLEAN) {
        buffer_append_byte(out, (uint8_t)value);
    } else if (kind == LEAF_I32) {
        buffer_append_u32(out, (uint32_t)value);
    } else {
        buffer_append_u64(out, (uint64_t)value);
    }
}

static void encode_real(double value, enum leaf_kind kind, struct buffer *out)
{
    if (kind == LEAF_F32) {
        float narrow = (float)value;
        buffer_append(out, &narrow, sizeof narrow);
    } else {
        buffer_append(out, &value, sizeof value);
    }
}

static void encode_i128(__int128 value, const struct leaf_type *type, struct buffer *out)
{
    uint8_t bytes[16];
    leaf_store_fixed(bytes, value, (size_t)type->fixed_bytes);
    buffer_append(out, bytes, (size_t)type->fixed_bytes);
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The longest prefix within the limit; of text, one that ends with a whole character. */
static struct span cut(struct span value, bool is_text)
{
    size_t size = value.size;
    if (size <= PARQUET_WRITE_INDEX_BYTES_MAX) {
        return value;
    }
    size = PARQUET_WRITE_INDEX_BYTES_MAX;
    while (is_text && size > 0 && is_continuation(value.data[size])) {
        size--;
    }
    return span_of(value.data, size);
}

/* The bytes after `prefix` in order: its last byte that can grow, grown. */
static bool encode_next_bytes(struct span prefix, struct buffer *out)
{
    size_t size = prefix.size;
    while (size > 0 && prefix.data[size - 1] == 0xff) {
        size--;
    }
    if (size == 0) {
        return false;
    }
    buffer_append(out, prefix.data, size - 1);
    buffer_append_byte(out, (uint8_t)(prefix.data[size - 1] + 1));
    return true;
}

static void append_code_point(struct buffer *out, uint32_t point)
{
    if (point < 0x80) {
        buffer_append_byte(out, (uint8_t)point);
    } else if (point < 0x800) {
        buffer_append_byte(out, (uint8_t)(0xc0 | point >> 6));
        buffer_append_byte(out, (uint8_t)(0x80 | (point & 0x3f)));
    } else if (point < 0x10000) {
        buffer_append_byte(out, (uint8_t)(0xe0 | point >> 12));
        buffer_append_byte(out, (uint8_t)(0x80 | (point >> 6 & 0x3f)));
        buffer_append_byte(out, (uint8_t)(0x80 | (point & 0x3f)));
    } else {
        buffer_append_byte(out, (uint8_t)(0xf0 | point >> 18));
        buffer_append_byte(out, (uint8_t)(0x80 | (point >> 12 & 0x3f)));
        buffer_append_byte(out, (uint8_t)(0x80 | (point >> 6 & 0x3f)));
        buffer_append_byte(out, (uint8_t)(0x80 | (point & 0x3f)));
    }
}

/* The code point that starts at `bytes`, which hold `size` bytes of well-formed UTF-8. */
static uint32_t code_point(const uint8_t *bytes, size_t size)
{
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    assert(size >= 1);
    assert(size <= 4);
    uint32_t point = bytes[0] & masks[size];
    for (size_t i = 1; i < size; i++) {
        point = point << 6 | (bytes[i] & 0x3f);
    }
    return point;
}

/* As encode_next_bytes, but the result is text again: the last character grows. */
static bool encode_next_text(struct span prefix, struct buffer *out)
{
    size_t end = prefix.size;
    while (end > 0) {
        size_t start = end - 1;
        while (start > 0 && is_continuation(prefix.data[start])) {
            start--;
        }
        uint32_t point = end - start <= 4 ? code_point(prefix.data + start, end - start) : 0x10ffff;
        if (point < 0x10ffff) {
            point = point == 0xd7ff ? 0xe000 : point + 1; /* surrogates are no characters */
            buffer_append(out, prefix.data, start);
            append_code_point(out, point);
            return true;
        }
        end = start;
    }
    return false;
}

bool range_encode_min(const struct range *range, const struct leaf_type *type, struct buffer *out,
                      bool *exact_out)
{
    assert(range->has_range);
    *exact_out = true;
    switch (type->kind) {
    case LEAF_BOOLEAN:
    case LEAF_I32:
    case LEAF_I64:
        encode_i64(range->i64.min, type->kind, out);
        return true;
    case LEAF_F32:
    case LEAF_F64:
        /* spec: parquet.thrift ColumnOrder — a zero minimum is written as -0 */
        encode_real(range->f64.min == 0 ? -0.0 : range->f64.min, type->kind, out);
        return true;
    case LEAF_FIXED:
        encode_i128(range->i128.min, type, out);
        return true;
    case LEAF_BYTES:
        break;
    }
    struct span kept = cut(range->bytes.min, type->is_text);
    *exact_out = kept.size == range->bytes.min.size;
    buffer_append_span(out, kept);
    return true;
}

bool range_encode_max(const struct range *range, const struct leaf_type *type, struct buffer *out,
                      bool *exact_out)
{
    assert(range->has_range);
    *exact_out = true;
    switch (type->kind) {
    case LEAF_BOOLEAN:
    case LEAF_I32:
    case LEAF_I64:
        encode_i64(range->i64.max, type->kind, out);
        return true;
    case LEAF_F32:
    case LEAF_F64:
        /* spec: parquet.thrift ColumnOrder — a zero maximum is written as +0 */
        encode_real(range->f64.max == 0 ? 0.0 : range->f64.max, type->kind, out);
        return true;
    case LEAF_FIXED:
        encode_i128(range->i128.max, type, out);
        return true;
    case LEAF_BYTES:
        break;
    }
    struct span kept = cut(range->bytes.max, type->is_text);
    *exact_out = kept.size == range->bytes.max.size;
    if (*exact_out) {
        buffer_append_span(out, kept);
        return true;
    }
    return type->is_text ? encode_next_text(kept, out) : encode_next_bytes(kept, out);
}

static int compare_reals(double a, double b)
{
    return a < b ? -1 : a > b;
}

int range_compare_encoded(struct span a, struct span b, const struct leaf_type *type)
{
    switch (type->kind) {
    case LEAF_I32: {
        int32_t left;
        int32_t right;
        memcpy(&left, a.data, sizeof left);
        memcpy(&right, b.data, sizeof right);
        return left < right ? -1 : left > right;
    }
    case LEAF_I64: {
        int64_t left;
        int64_t right;
        memcpy(&left, a.data, sizeof left);
        memcpy(&right, b.data, sizeof right);
        return left < right ? -1 : left > right;
    }
    case LEAF_F32: {
        float left;
        float right;
        memcpy(&left, a.data, sizeof left);
        memcpy(&right, b.data, sizeof right);
        return compare_reals((double)left, (double)right);
    }
    case LEAF_F64: {
        double left;
        double right;
        memcpy(&left, a.data, sizeof left);
        memcpy(&right, b.data, sizeof right);
        return compare_reals(left, right);
    }
    case LEAF_FIXED: {
        /* big-endian two's complement: by sign, then by bytes */
        int signs = (b.data[0] >> 7) - (a.data[0] >> 7);
        return signs != 0 ? signs : span_compare(a, b);
    }
    case LEAF_BOOLEAN:
    case LEAF_BYTES:
        break;
    }
    return span_compare(a, b);
}

/* ---- file statistics ---- */

static void keep_bytes(struct parquet_bound *bound, struct span value)
{
    size_t size = value.size < PARQUET_STATISTICS_BYTES ? value.size : PARQUET_STATISTICS_BYTES;
    if (size > 0) {
        memcpy(bound->bytes, value.data, size);
    }
    bound->bytes_size = (uint16_t)size;
    bound->exact = size == value.size;
}

/* Order of a kept bound and a value by what is known: equal prefixes, the shortened one is larger.
 */
static int compare_bytes(const struct parquet_bound *bound, struct span value)
{
    size_t size = value.size < PARQUET_STATISTICS_BYTES ? value.size : PARQUET_STATISTICS_BYTES;
    int order = span_compare(parquet_bound_span(bound), span_of(value.data, size));
    if (order != 0) {
        return order;
    }
    bool exact = size == value.size;
    return bound->exact == exact ? 0 : bound->exact ? -1 : 1;
}

static void widen_bytes(const struct range *range, struct parquet_column_statistics *statistics)
{
    if (!statistics->has_range || compare_bytes(&statistics->min, range->bytes.min) > 0) {
        keep_bytes(&statistics->min, range->bytes.min);
    }
    if (!statistics->has_range || compare_bytes(&statistics->max, range->bytes.max) < 0) {
        keep_bytes(&statistics->max, range->bytes.max);
    }
}

static void widen_numbers(const struct range *range, enum leaf_kind kind,
                          struct parquet_column_statistics *statistics)
{
    bool first = !statistics->has_range;
    struct parquet_bound *min = &statistics->min;
    struct parquet_bound *max = &statistics->max;
    min->exact = true;
    max->exact = true;
    if (kind == LEAF_FIXED) {
        min->i128 = first || range->i128.min < min->i128 ? range->i128.min : min->i128;
        max->i128 = first || range->i128.max > max->i128 ? range->i128.max : max->i128;
    } else if (kind == LEAF_F32 || kind == LEAF_F64) {
        min->f64 = first || range->f64.min < min->f64 ? range->f64.min : min->f64;
        max->f64 = first || range->f64.max > max->f64 ? range->f64.max : max->f64;
    } else {
        min->i64 = first || range->i64.min < min->i64 ? range->i64.min : min->i64;
        max->i64 = first || range->i64.max > max->i64 ? range->i64.max : max->i64;
    }
}

void range_widen_statistics(const struct range *range, enum leaf_kind kind,
                            struct parquet_column_statistics *statistics)
{
    statistics->has_nan |= range->has_nan;
    if (!range->has_range) {
        return;
    }
    if (kind == LEAF_BYTES) {
        widen_bytes(range, statistics);
    } else {
        widen_numbers(range, kind, statistics);
    }
    statistics->has_range = true;
}
