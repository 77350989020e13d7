/*
 * The rules of a field: bounds, length, enumeration, format and pattern. A value
 * that breaks one stays in its column, because a delete does not mind.
 */
#include "storage/columns/decoder.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/decode_scan.h"
#include "storage/columns/pattern.h"

enum {
    ENUM_LINEAR_MAX = 8,     /* values compared one by one before sorting pays */
    PATTERN_SHOWN_MAX = 160, /* bytes of a pattern that a message shows */
};

static void __attribute__((cold)) fault_bound(struct decoder *decoder, size_t index, bool minimum)
{
    const struct field *field = decoder->fields[index].field;
    decoder_fault_rule(decoder, index, DECODE_RANGE, "must be at %s %s", minimum ? "least" : "most",
                       minimum ? field->minimum_text : field->maximum_text);
}

void decoder_check_bounds(struct decoder *decoder, size_t index, __int128 value)
{
    const struct field *field = decoder->fields[index].field;
    if (field->has_minimum && value < field->minimum) {
        fault_bound(decoder, index, true);
    } else if (field->has_maximum && value > field->maximum) {
        fault_bound(decoder, index, false);
    }
}

static double bound_as_double(__int128 bits)
{
    uint64_t low = (uint64_t)bits;
    double value = 0;
    memcpy(&value, &low, sizeof value);
    return value;
}

void decoder_check_double_bounds(struct decoder *decoder, size_t index, double value)
{
    const struct field *field = decoder->fields[index].field;
    if (field->has_minimum && value < bound_as_double(field->minimum)) {
        fault_bound(decoder, index, true);
    } else if (field->has_maximum && value > bound_as_double(field->maximum)) {
        fault_bound(decoder, index, false);
    }
}

static int compare_spans(const void *a, const void *b)
{
    return span_compare(*(const struct span *)a, *(const struct span *)b);
}

static bool in_enumeration(struct decode_field *described, struct span text)
{
    const struct field *field = described->field;
    if (field->enum_count <= ENUM_LINEAR_MAX) {
        for (size_t i = 0; i < field->enum_count; i++) {
            if (span_equal(field->enum_values[i], text)) {
                return true;
            }
        }
        return false;
    }
    if (described->enum_sorted == NULL) {
        size_t size = field->enum_count * sizeof *field->enum_values;
        described->enum_sorted = mem_copy(field->enum_values, size);
        qsort(described->enum_sorted, field->enum_count, sizeof *field->enum_values, compare_spans);
    }
    return bsearch(&text, described->enum_sorted, field->enum_count, sizeof text, compare_spans) !=
           NULL;
}

static void __attribute__((cold)) fault_pattern(struct decoder *decoder, size_t index)
{
    struct span pattern = span_of_text(decoder->fields[index].field->pattern_text);
    if (pattern.size <= PATTERN_SHOWN_MAX && scan_is_ascii(pattern)) {
        decoder_fault_rule(decoder, index, DECODE_PATTERN, "must match the pattern %.*s",
                           SPAN_PRINT(pattern));
    } else {
        decoder_fault_rule(decoder, index, DECODE_PATTERN, "must match the field's pattern");
    }
}

/* Such a text goes into the log, where "" means null, and into the name of a folder. */
static void check_partition(struct decoder *decoder, size_t index, struct span text)
{
    if (text.size == 0) {
        decoder_fault_rule(decoder, index, DECODE_RANGE,
                           "must not be empty, because the table is partitioned by it; give null");
    } else if (text.size > SCHEMA_PARTITION_BYTES_MAX) {
        decoder_fault_rule(decoder, index, DECODE_TOO_LONG,
                           "must have at most %d bytes, because the table is partitioned by it",
                           SCHEMA_PARTITION_BYTES_MAX);
    }
}

void decoder_check_text(struct decoder *decoder, size_t index, struct span text)
{
    struct decode_field *described = &decoder->fields[index];
    const struct field *field = described->field;
    if (described->partitions) {
        check_partition(decoder, index, text);
    }
    if (field->enum_count > 0 && !in_enumeration(described, text)) {
        decoder_fault_rule(decoder, index, DECODE_ENUM,
                           "must be one of the values that the field's enum lists");
    }
    if (field->format != FORMAT_NONE && !field_format_holds(field->format, text)) {
        decoder_fault_rule(decoder, index, DECODE_FORMAT, "must be a valid %s",
                           field_format_name(field->format));
    }
    if (field->pattern != NULL && !field_pattern_holds(field->pattern, text)) {
        fault_pattern(decoder, index);
    }
}

bool decoder_check_length(struct decoder *decoder, size_t index, struct span text)
{
    const struct field *field = decoder->fields[index].field;
    if (text.size > SCHEMA_STRING_BYTES_MAX) {
        decoder_fault(decoder, index, DECODE_TOO_LONG, "must have at most %d bytes",
                      SCHEMA_STRING_BYTES_MAX);
        return false;
    }
    if (field->max_length < 0) {
        return true;
    }
    if (field->type == COLUMN_BINARY) {
        if (text.size > (size_t)field->max_length) {
            decoder_fault_rule(decoder, index, DECODE_TOO_LONG, "must have at most %lld bytes",
                               (long long)field->max_length);
        }
    } else if (text_code_points(text) > (size_t)field->max_length) {
        decoder_fault_rule(decoder, index, DECODE_TOO_LONG, "must have at most %lld characters",
                           (long long)field->max_length);
    }
    return true;
}
