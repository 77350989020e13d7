/* A place in a table as text. See source_table_place.h. */
#include "workers/source_table_place.h"

#include "storage/base/json.h"
#include "storage/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PASSES_MAX = 1 << 20 };

static bool parse_hash(const struct json *json, uint64_t *hash_out)
{
    struct span text = {0};
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, sizeof *hash_out);
    if (!json_as_string(json_get(json, "hash"), &text) || !text_hex_decode(text, &bytes) ||
        bytes.size != sizeof *hash_out) {
        return false;
    }
    memcpy(hash_out, bytes.data, sizeof *hash_out);
    return true;
}

static bool parse_count(const struct json *json, const char *name, int64_t maximum,
                        int64_t *count_out)
{
    return json_as_integer(json_get(json, name), count_out) && *count_out >= 0 &&
           *count_out <= maximum;
}

static bool parse_middle(const struct json *json, struct table_place *place)
{
    int64_t pass = 0;
    int64_t passes = 0;
    const char *side = json_text(json_get(json, "side"));
    if (side == NULL || !json_as_boolean(json_get(json, "whole"), &place->is_whole) ||
        !parse_count(json, "version", INT64_MAX, &place->version) ||
        !parse_count(json, "passes", PASSES_MAX, &passes) ||
        !parse_count(json, "pass", PASSES_MAX, &pass) || pass >= passes ||
        !parse_count(json, "file", INT64_MAX, &place->at.file) ||
        !parse_count(json, "row", INT64_MAX, &place->at.row) ||
        !parse_count(json, "rows", INT64_MAX, &place->rows_count)) {
        return false;
    }
    place->side = strcmp(side, "removed") == 0 ? CHANGE_REMOVED : CHANGE_ADDED;
    place->pass = (uint32_t)pass;
    place->passes_count = (uint32_t)passes;
    return !place->is_whole || place->side == CHANGE_ADDED;
}

static bool parse(const struct json *json, struct table_place *place)
{
    if (!parse_hash(json, &place->hash)) {
        return false;
    }
    place->is_read = json_get(json, "read") != NULL;
    return place->is_read ? parse_count(json, "read", INT64_MAX, &place->version)
                          : parse_middle(json, place);
}

enum err_code table_place_parse(struct span text, struct table_place *place_out, struct err *err)
{
    struct table_place place = {.version = -1};
    if (text.size > 0) {
        CLEANUP(json_free) struct json *json = NULL;
        if (json_parse(text, &json, err) != ERR_OK || !parse(json, &place)) {
            return err_set(err, ERR_CORRUPT, "the stored checkpoint cannot be read");
        }
    }
    *place_out = place;
    return ERR_OK;
}

void table_place_write(const struct table_place *place, struct buffer *text)
{
    buffer_reset(text);
    buffer_append_format(text, "{\"%s\":%" PRId64 ",\"hash\":\"",
                         place->is_read ? "read" : "version", place->version);
    text_hex_encode(span_of(&place->hash, sizeof place->hash), text);
    if (place->is_read) {
        buffer_append_text(text, "\"}");
        return;
    }
    buffer_append_format(text,
                         "\",\"whole\":%s,\"side\":\"%s\",\"passes\":%" PRIu32 ",\"pass\":%" PRIu32
                         ",\"file\":%" PRId64 ",\"row\":%" PRId64 ",\"rows\":%" PRId64 "}",
                         place->is_whole ? "true" : "false",
                         place->side == CHANGE_REMOVED ? "removed" : "added", place->passes_count,
                         place->pass, place->at.file, place->at.row, place->rows_count);
}
