/*
 * Statistics of a fresh file as JSON text, from what the Parquet writer measured.
 *
 * Source: delta PROTOCOL.md "Per-file Statistics"; reference section 5.3.
 */
#include "storage/delta/stats.h"

#include "storage/base/json.h"
#include "storage/base/text.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    MILLISECOND_US = 1000,
    TIE_BREAKER_ASCII = 0x7f, /* larger than any other ASCII character */
    UTF8_BYTES_MAX = 4,
    YEAR_MAX = 9999,
};

static const int64_t day_us = 86400 * 1000000LL;

static const char highest_character[] = "\xf4\x8f\xbf\xbf"; /* U+10FFFF */

/* Bytes of the UTF-8 character that starts with `lead`, which is well formed. */
static size_t character_bytes(uint8_t lead)
{
    return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

static bool is_highest(struct span text, size_t offset)
{
    return text.size - offset >= UTF8_BYTES_MAX &&
           memcmp(text.data + offset, highest_character, UTF8_BYTES_MAX) == 0;
}

/*
 * A kept prefix of a longer value may end inside a character. False when what
 * is left is not UTF-8, which foreign files can have and JSON cannot.
 */
static bool usable_text(const struct parquet_bound *bound, struct span *text_out)
{
    struct span text = parquet_bound_span(bound);
    size_t bad = 0;
    if (!text_is_utf8(text, &bad)) {
        bool cut_short = !bound->exact && text.size - bad < UTF8_BYTES_MAX;
        if (!cut_short) {
            return false;
        }
        text.size = bad;
    }
    *text_out = text;
    return true;
}

/* Bytes of the first DELTA_STATS_STRING_POINTS characters. */
static size_t prefix_bytes(struct span text)
{
    size_t size = 0;
    for (int i = 0; i < DELTA_STATS_STRING_POINTS && size < text.size; i++) {
        size += character_bytes(text.data[size]);
    }
    return size;
}

/* Any prefix of the smallest value is a lower bound. */
static bool write_text_min(const struct parquet_bound *bound, struct buffer *text)
{
    struct span value;
    if (!usable_text(bound, &value)) {
        return false;
    }
    value.size = prefix_bytes(value);
    json_write_string(text, value);
    return true;
}

/*
 * An upper bound of a long largest value: its prefix and one character that is
 * larger than the one that followed. Where U+10FFFF followed there is none, so
 * the prefix grows past it, at most to twice the length.
 */
static bool write_text_max(const struct parquet_bound *bound, struct buffer *text)
{
    struct span value;
    if (!usable_text(bound, &value)) {
        return false;
    }
    size_t size = prefix_bytes(value);
    if (size == value.size) {
        if (bound->exact) {
            json_write_string(text, value);
        }
        return bound->exact;
    }
    for (int i = 0; i < DELTA_STATS_STRING_POINTS && is_highest(value, size); i++) {
        size += UTF8_BYTES_MAX;
    }
    if (size >= value.size || is_highest(value, size)) {
        return false;
    }
    uint8_t longer[PARQUET_STATISTICS_BYTES + UTF8_BYTES_MAX];
    memcpy(longer, value.data, size);
    if (value.data[size] < TIE_BREAKER_ASCII) {
        longer[size++] = TIE_BREAKER_ASCII;
    } else {
        memcpy(longer + size, highest_character, UTF8_BYTES_MAX);
        size += UTF8_BYTES_MAX;
    }
    json_write_string(text, span_of(longer, size));
    return true;
}

static bool write_real(double value, struct buffer *text)
{
    char digits[TEXT_DOUBLE_BYTES];
    if (!isfinite(value)) {
        return false;
    }
    buffer_append(text, digits, text_format_double(value, digits));
    return true;
}

static bool is_calendar_day(int64_t days)
{
    return days >= text_days_of(1, 1, 1) && days <= text_days_of(YEAR_MAX, 12, 31);
}

static bool write_date(int64_t days, struct buffer *text)
{
    char date[TEXT_TIMESTAMP_BYTES];
    if (!is_calendar_day(days)) {
        return false;
    }
    size_t size = text_format_date((int32_t)days, date);
    json_write_string(text, span_of(date, size));
    return true;
}

static int64_t floor_to(int64_t value, int64_t unit)
{
    int64_t rest = value % unit;
    return value - (rest < 0 ? rest + unit : rest);
}

/*
 * Milliseconds, as Spark's parser wants them. The largest value is rounded up:
 * Spark cuts it and relies on every reader to add slack; we do not.
 */
static bool write_timestamp(int64_t us, bool is_max, bool zoned, struct buffer *text)
{
    char stamp[TEXT_TIMESTAMP_BYTES];
    int64_t first_us = text_days_of(1, 1, 1) * day_us;
    int64_t last_us = (text_days_of(YEAR_MAX, 12, 31) + 1) * day_us - MILLISECOND_US;
    if (us < first_us || us > last_us) {
        return false; /* outside what a calendar text can say */
    }
    int64_t rounded = floor_to(is_max ? us + MILLISECOND_US - 1 : us, MILLISECOND_US);
    size_t size = text_format_timestamp_ntz(rounded, stamp);
    assert(size > 3 && memcmp(stamp + size - 3, "000", 3) == 0);
    buffer_append_byte(text, '"');
    buffer_append(text, stamp, size - 3);
    buffer_append_text(text, zoned ? "Z\"" : "\"");
    return true;
}

static bool write_decimal(__int128 unscaled, int scale, struct buffer *text)
{
    char digits[TEXT_DECIMAL_BYTES];
    buffer_append(text, digits, text_format_decimal(unscaled, scale, digits));
    return true;
}

/* False, with nothing appended, for a bound that cannot be stated truthfully. */
static bool write_bound(const struct field *field, const struct parquet_bound *bound, bool is_max,
                        struct buffer *text)
{
    switch (field->type) {
    case COLUMN_BYTE:
    case COLUMN_SHORT:
    case COLUMN_INTEGER:
    case COLUMN_LONG:
        buffer_append_format(text, "%lld", (long long)bound->i64);
        return true;
    case COLUMN_FLOAT:
    case COLUMN_DOUBLE:
        return write_real(bound->f64, text);
    case COLUMN_DECIMAL:
        return write_decimal(bound->i128, field->scale, text);
    case COLUMN_DATE:
        return write_date(bound->i64, text);
    case COLUMN_TIMESTAMP:
        return write_timestamp(bound->i64, is_max, true, text);
    case COLUMN_TIMESTAMP_NTZ:
        return write_timestamp(bound->i64, is_max, false, text);
    case COLUMN_STRING:
        return is_max ? write_text_max(bound, text) : write_text_min(bound, text);
    case COLUMN_BOOLEAN:
    case COLUMN_BINARY:
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        return false; /* spec: delta PROTOCOL.md#per-file-statistics — no min and max for these */
    }
    return false;
}

static bool is_partition(const struct schema *schema, size_t column)
{
    for (size_t i = 0; i < schema->partition_count; i++) {
        if (schema->partition[i] == column) {
            return true;
        }
    }
    return false;
}

/* Which fields have statistics: the first ones in schema order that may. */
struct selection {
    const struct schema *schema;
    const struct delta_stats_options *options;
    int64_t left; /* columns still within the limit */
};

static bool is_selected(struct selection *selection, size_t column)
{
    if (is_partition(selection->schema, column) || selection->left == 0) {
        return false;
    }
    selection->left--; /* a suppressed column takes its place all the same */
    const bool *allowed = selection->options->columns;
    return allowed != NULL ? allowed[column] : !selection->schema->fields[column].phi;
}

static struct selection select_columns(const struct schema *schema,
                                       const struct delta_stats_options *options)
{
    int64_t columns_max = options->columns_max;
    return (struct selection){
        .schema = schema,
        .options = options,
        .left = columns_max == 0  ? DELTA_STATS_COLUMNS_DEFAULT
                : columns_max < 0 ? INT64_MAX
                                  : columns_max,
    };
}

static void put_member_name(struct buffer *text, const char *name)
{
    if (text->size > 0 && text->data[text->size - 1] != '{') {
        buffer_append_byte(text, ',');
    }
    json_write_string(text, span_of_text(name));
    buffer_append_byte(text, ':');
}

static void write_bounds(const struct schema *schema,
                         const struct parquet_column_statistics *statistics, bool is_max,
                         const struct delta_stats_options *options, struct buffer *text)
{
    struct selection selection = select_columns(schema, options);
    put_member_name(text, is_max ? "maxValues" : "minValues");
    buffer_append_byte(text, '{');
    for (size_t i = 0; i < schema->fields_count; i++) {
        const struct parquet_column_statistics *column = &statistics[i];
        bool selected = is_selected(&selection, i);
        if (!selected || !column->has_range || column->has_nan) {
            continue;
        }
        size_t before = text->size;
        put_member_name(text, field_physical_name(&schema->fields[i]));
        const struct parquet_bound *bound = is_max ? &column->max : &column->min;
        if (!write_bound(&schema->fields[i], bound, is_max, text) && !text->overflowed) {
            text->size = before;
        }
    }
    buffer_append_byte(text, '}');
}

static void write_null_counts(const struct schema *schema,
                              const struct parquet_column_statistics *statistics,
                              const struct delta_stats_options *options, struct buffer *text)
{
    struct selection selection = select_columns(schema, options);
    put_member_name(text, "nullCount");
    buffer_append_byte(text, '{');
    for (size_t i = 0; i < schema->fields_count; i++) {
        bool selected = is_selected(&selection, i);
        if (selected && statistics[i].nulls_count >= 0) {
            put_member_name(text, field_physical_name(&schema->fields[i]));
            buffer_append_format(text, "%lld", (long long)statistics[i].nulls_count);
        }
    }
    buffer_append_byte(text, '}');
}

void delta_stats_write(const struct schema *schema, int64_t rows_count,
                       const struct parquet_column_statistics *statistics,
                       const struct delta_stats_options *options, struct buffer *text)
{
    static const struct delta_stats_options defaults = {0};
    const struct delta_stats_options *used = options != NULL ? options : &defaults;
    assert(rows_count >= 0);
    buffer_append_format(text, "{\"numRecords\":%lld", (long long)rows_count);
    write_bounds(schema, statistics, false, used, text);
    write_bounds(schema, statistics, true, used, text);
    write_null_counts(schema, statistics, used, text);
    if (used->tight_bounds) {
        buffer_append_text(text, ",\"tightBounds\":true");
    }
    buffer_append_byte(text, '}');
}
