/*
 * Statistics as text: what is looked at without parsing, and the one edit that a
 * deletion vector asks for. Everything else of a text stays as its writer made it.
 */
#include "storage/delta/stats.h"

#include "storage/base/json_raw.h"
#include "storage/base/text.h"

int64_t delta_stats_rows_count(const char *stats)
{
    struct span value;
    int64_t rows_count = -1;
    if (!json_raw_find(span_of_text(stats), "numRecords", &value) ||
        !text_parse_int64(value, &rows_count) || rows_count < 0) {
        return -1;
    }
    return rows_count;
}

enum err_code delta_stats_loosen(const char *stats, struct buffer *text, struct err *err)
{
    if (stats == NULL || delta_stats_rows_count(stats) < 0) {
        return err_set(err, ERR_INVALID,
                       "the file has no numRecords, which a deletion vector requires");
    }
    struct span whole = span_of_text(stats);
    struct span tight;
    if (json_raw_find(whole, "tightBounds", &tight)) {
        buffer_append(text, whole.data, (size_t)(tight.data - whole.data));
        buffer_append_text(text, "false");
        const uint8_t *rest = tight.data + tight.size;
        buffer_append(text, rest, (size_t)(whole.data + whole.size - rest));
        return ERR_OK;
    }
    struct json_raw raw = json_raw_members(whole);
    struct span name;
    struct span value = {0};
    while (json_raw_next(&raw, &name, &value)) {
        /* to the last member */
    }
    if (raw.failed) {
        return err_set(err, ERR_INVALID, "the file's statistics are no JSON object");
    }
    const uint8_t *end =
        value.data + value.size; /* numRecords is a member, so there is a last one */
    buffer_append(text, whole.data, (size_t)(end - whole.data));
    buffer_append_text(text, ",\"tightBounds\":false");
    buffer_append(text, end, (size_t)(whole.data + whole.size - end));
    return ERR_OK;
}
