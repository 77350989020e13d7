/*
 * Statistics of anybody's files, typed for file skipping. Whatever does not fit
 * is left out: then the file is read, which is never wrong.
 */
#include "storage/delta/stats.h"

#include "storage/base/json_raw.h"
#include "storage/base/mem.h"
#include "storage/delta/log_json.h"
#include "storage/delta/value.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { SLACK_US = 999, FRACTION_DIGITS_MS = 3 };

/* The contents of a JSON string without quotes; copied to the arena when it has escapes. */
static bool resolve_string(struct span raw, struct arena *texts, struct span *text_out)
{
    assert(raw.size >= 2);
    if (memchr(raw.data, '\\', raw.size) == NULL) {
        *text_out = span_of(raw.data + 1, raw.size - 2);
        return true;
    }
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, 2 * DELTA_STATS_BYTES_MAX);
    const struct log_json *root = NULL;
    struct err err = {0};
    struct span text;
    if (log_json_parse(raw, &arena, &root, &err) != ERR_OK || !log_json_as_string(root, &text)) {
        return false;
    }
    char *copy = arena_text(texts, text);
    *text_out = span_of(copy, text.size);
    return copy != NULL;
}

/* Writers cut the largest timestamp to milliseconds; with more digits it is exact. */
static bool is_cut_to_milliseconds(struct span text)
{
    const uint8_t *point = memchr(text.data, '.', text.size);
    size_t digits = 0;
    if (point != NULL) {
        const uint8_t *end = text.data + text.size;
        for (const uint8_t *at = point + 1; at < end && *at >= '0' && *at <= '9'; at++) {
            digits++;
        }
    }
    return digits <= FRACTION_DIGITS_MS;
}

static bool parse_bound(struct span raw, const struct field *field, bool is_max,
                        struct arena *texts, struct delta_bound *bound_out)
{
    bool is_string = raw.data[0] == '"';
    struct span text = raw;
    if (is_string && !resolve_string(raw, texts, &text)) {
        return false;
    }
    if (!delta_value_parse_statistic(text, is_string, field, bound_out)) {
        return false;
    }
    bool is_time = field->type == COLUMN_TIMESTAMP || field->type == COLUMN_TIMESTAMP_NTZ;
    if (is_max && is_time && is_cut_to_milliseconds(text)) {
        bound_out->i64 += SLACK_US;
    }
    return true;
}

static int find_field(const struct schema *schema, struct span raw_name)
{
    return schema_physical_index(schema, raw_name); /* a name with escapes is simply not found */
}

static enum err_code parse_bounds(struct span object, const struct schema *schema, bool is_max,
                                  struct delta_stats *stats, struct err *err)
{
    struct json_raw raw = json_raw_members(object);
    struct span name;
    struct span value;
    while (json_raw_next(&raw, &name, &value)) {
        int index = find_field(schema, name);
        if (index < 0) {
            continue;
        }
        struct delta_column_range *range = &stats->columns[index];
        struct delta_bound *bound = is_max ? &range->max : &range->min;
        bool good = parse_bound(value, &schema->fields[index], is_max, &stats->texts, bound);
        *(is_max ? &range->has_max : &range->has_min) = good;
    }
    return raw.failed ? err_set(err, ERR_CORRUPT, "the statistics are broken JSON") : ERR_OK;
}

static enum err_code parse_null_counts(struct span object, const struct schema *schema,
                                       struct delta_stats *stats, struct err *err)
{
    static const struct field count_field = {.type = COLUMN_LONG};
    struct json_raw raw = json_raw_members(object);
    struct span name;
    struct span value;
    while (json_raw_next(&raw, &name, &value)) {
        int index = find_field(schema, name);
        struct delta_bound count;
        if (index >= 0 &&
            delta_value_parse_statistic(value, value.data[0] == '"', &count_field, &count)) {
            /* with wide bounds only 0 and "all" mean something, and we use no other */
            stats->columns[index].no_nulls = count.i64 == 0;
            stats->columns[index].all_nulls =
                stats->rows_count > 0 && count.i64 == stats->rows_count;
        }
    }
    return raw.failed ? err_set(err, ERR_CORRUPT, "the statistics are broken JSON") : ERR_OK;
}

static enum err_code parse_text(struct span text, const struct schema *schema,
                                struct delta_stats *stats, struct err *err)
{
    struct span member;
    if (json_raw_find(text, "tightBounds", &member)) {
        stats->tight_bounds = span_equal_text(member, "true");
    }
    if (json_raw_find(text, "minValues", &member)) {
        TRY(parse_bounds(member, schema, false, stats, err));
    }
    if (json_raw_find(text, "maxValues", &member)) {
        TRY(parse_bounds(member, schema, true, stats, err));
    }
    if (json_raw_find(text, "nullCount", &member)) {
        TRY(parse_null_counts(member, schema, stats, err));
    }
    struct json_raw raw = json_raw_members(text);
    struct span name;
    while (json_raw_next(&raw, &name, &member)) {
        /* to the end: is the whole text an object? */
    }
    return raw.failed ? err_set(err, ERR_CORRUPT, "the statistics are broken JSON") : ERR_OK;
}

/* A partition column has one value in the whole file, and the log knows it. */
static void add_partitions(const struct delta_file *file, const struct schema *schema,
                           struct delta_stats *stats)
{
    for (size_t i = 0; i < schema->partition_count; i++) {
        size_t column = schema->partition[i];
        const struct field *field = &schema->fields[column];
        struct delta_column_range *range = &stats->columns[column];
        bool found = false;
        const char *value = delta_file_partition_value(file, field_physical_name(field), &found);
        *range = (struct delta_column_range){0};
        if (found && (value == NULL || value[0] == '\0')) {
            range->all_nulls = true;
        } else if (found && delta_value_parse_partition(span_of_text(value), field, &range->min)) {
            bool is_real = field->type == COLUMN_DOUBLE || field->type == COLUMN_FLOAT;
            range->max = range->min;
            range->has_min = !is_real || !isnan(range->min.f64); /* engines order NaN apart */
            range->has_max = range->has_min;
            range->no_nulls = true;
        }
    }
}

enum err_code delta_stats_parse(const struct delta_file *file, const struct schema *schema,
                                struct delta_stats *stats_out, struct err *err)
{
    CLEANUP(delta_stats_free)
    struct delta_stats stats = {
        .rows_count = file->rows_count,
        .tight_bounds = !delta_dv_is_present(&file->dv),
        .columns_count = schema->fields_count,
        .columns = mem_zeroed(schema->fields_count, sizeof *stats.columns),
    };
    struct span text = file->stats != NULL ? span_of_text(file->stats) : (struct span){0};
    /* twice: an arena may round up, and min and max together are never more than the text */
    arena_init(&stats.texts, text.size * 2 + 65536);
    if (text.size > 0) {
        TRY(parse_text(text, schema, &stats, err));
    }
    add_partitions(file, schema, &stats);
    *stats_out = stats;
    stats = (struct delta_stats){0};
    return ERR_OK;
}

void delta_stats_free(struct delta_stats *stats)
{
    mem_free(stats->columns);
    arena_deinit(&stats->texts);
    *stats = (struct delta_stats){0};
}
