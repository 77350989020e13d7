/*
 * What the fuzz targets of frames and row images share: one schema with a field
 * of every type there is.
 */
#pragma once

#include "storage/columns/schema.h"

#include <assert.h>

static inline struct schema *columns_fuzz_schema(void)
{
    static const char *const types[] = {
        "string", "integer",       "long",          "double", "boolean", "date",  "timestamp",
        "binary", "decimal(10,3)", "decimal(38,0)", "byte",   "short",   "float", "timestamp_ntz"};
    struct buffer text;
    buffer_init(&text, 1 << 16);
    buffer_append_text(&text, "{\"type\":\"struct\",\"fields\":[");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        buffer_append_format(
            &text, "%s{\"name\":\"c%zu\",\"type\":\"%s\",\"nullable\":true,\"metadata\":{}}",
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
