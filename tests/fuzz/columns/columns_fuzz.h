/*
 * What the fuzz targets of frames and row images share: one schema with a field
 * of every type there is, nested ones at the end.
 */
#pragma once

#include "storage/columns/schema.h"

#include <assert.h>

enum { COLUMNS_FUZZ_MAP = 15 }; /* index of the only map */

static inline struct schema *columns_fuzz_schema(void)
{
    static const char *const types[] = {
        "\"string\"",
        "\"integer\"",
        "\"long\"",
        "\"double\"",
        "\"boolean\"",
        "\"date\"",
        "\"timestamp\"",
        "\"binary\"",
        "\"decimal(10,3)\"",
        "\"decimal(38,0)\"",
        "\"byte\"",
        "\"short\"",
        "\"float\"",
        "\"timestamp_ntz\"",
        "{\"type\":\"struct\",\"fields\":["
        "{\"name\":\"a\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},"
        "{\"name\":\"b\",\"type\":{\"type\":\"array\",\"elementType\":\"string\","
        "\"containsNull\":true},\"nullable\":true,\"metadata\":{}}]}",
        "{\"type\":\"map\",\"keyType\":\"string\",\"valueType\":{\"type\":\"array\","
        "\"elementType\":{\"type\":\"struct\",\"fields\":[{\"name\":\"c\",\"type\":"
        "\"decimal(12,2)\",\"nullable\":true,\"metadata\":{}}]},\"containsNull\":true},"
        "\"valueContainsNull\":true}"};
    struct buffer text;
    buffer_init(&text, 1 << 16);
    buffer_append_text(&text, "{\"type\":\"struct\",\"fields\":[");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        buffer_append_format(&text,
                             "%s{\"name\":\"c%zu\",\"type\":%s,\"nullable\":true,\"metadata\":{}}",
                             i > 0 ? "," : "", i, types[i]);
    }
    buffer_append_text(&text, "]}");
    struct schema *schema = NULL;
    struct err err = {0};
    enum err_code code = schema_parse_delta(buffer_span(&text), NULL, &schema, &err);
    assert(code == ERR_OK);
    buffer_deinit(&text);
    return schema;
}

/* The same after most of its fields were dropped. */
static inline struct schema *columns_fuzz_schema_thinned(void)
{
    static const char definition[] =
        "{\"schema\":{\"fields\":[{\"name\":\"c0\",\"type\":\"string\",\"id\":1},"
        "{\"name\":\"c2\",\"type\":\"long\",\"id\":3},{\"name\":\"c5\",\"type\":\"date\",\"id\":6},"
        "{\"name\":\"c8\",\"type\":\"decimal(10,3)\",\"id\":9}],\"next_field_id\":17}}";
    struct json *json = NULL;
    struct schema *schema = NULL;
    struct err err = {0};
    enum err_code code = json_parse(span_of_text(definition), &json, &err);
    assert(code == ERR_OK);
    code = schema_load(json, 1, &schema, &err);
    assert(code == ERR_OK);
    json_free(&json);
    return schema;
}
