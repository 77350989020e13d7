/*
 * Filters of a query string (scan_text.c). What parses must have values of the
 * column's type, and a list of its values, escaped again, must parse to as many.
 */
#include "storage/snapshot/scan_text.h"

#include "storage/base/json.h"
#include "storage/snapshot/scan.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char definition[] =
    "{\"schema\":{\"fields\":[{\"name\":\"s\",\"type\":\"string\",\"nullable\":false},"
    "{\"name\":\"i\",\"type\":\"integer\"},{\"name\":\"l\",\"type\":\"long\"},"
    "{\"name\":\"f\",\"type\":\"double\"},{\"name\":\"b\",\"type\":\"boolean\"},"
    "{\"name\":\"d\",\"type\":\"date\"},{\"name\":\"t\",\"type\":\"timestamp\"},"
    "{\"name\":\"c\",\"type\":\"decimal(10,3)\"},{\"name\":\"x\",\"type\":\"binary\"}]},"
    "\"key\":[\"s\"]}";

static struct schema *make_schema(void)
{
    struct err err = {0};
    struct schema *schema = NULL;
    CLEANUP(json_free) struct json *json = NULL;
    assert(json_parse(span_of_text(definition), &json, &err) == ERR_OK);
    assert(schema_parse(json, &schema, &err) == ERR_OK);
    return schema;
}

/* The strings of a list as the list they came from, or one that means the same. */
static void write_list(const struct scan_filter *filter, struct buffer *text)
{
    buffer_append_text(text, "s:in:");
    for (size_t i = 0; i < filter->values_count; i++) {
        struct span value = filter->values[i].bytes;
        if (i > 0) {
            buffer_append_byte(text, ',');
        }
        for (size_t j = 0; j < value.size; j++) {
            if (value.data[j] == ',' || value.data[j] == '\\') {
                buffer_append_byte(text, '\\');
            }
            buffer_append_byte(text, value.data[j]);
        }
    }
}

static void parse_again(const struct scan_filter *filter, const struct schema *schema)
{
    struct err err = {0};
    struct arena arena;
    struct scan_filter again;
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 24);
    write_list(filter, &text);
    arena_init(&arena, 1 << 24);
    const struct scan_filter_text parts = scan_filter_split(buffer_span(&text));
    assert(scan_filter_parse(&parts, schema, &arena, &again, &err) == ERR_OK);
    assert(again.values_count == filter->values_count);
    for (size_t i = 0; i < again.values_count; i++) {
        assert(span_equal(again.values[i].bytes, filter->values[i].bytes));
    }
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct schema *schema;
    schema = schema != NULL ? schema : make_schema();
    struct err err = {0};
    struct arena arena;
    struct scan_filter filter;
    arena_init(&arena, 1 << 24);
    const struct scan_filter_text parts = scan_filter_split(span_of(data, size));
    if (scan_filter_parse(&parts, schema, &arena, &filter, &err) == ERR_OK) {
        assert(filter.values_count <= SCAN_VALUES_MAX);
        for (size_t i = 0; i < filter.values_count; i++) {
            assert(filter.values[i].type == schema->fields[filter.column].type);
        }
        if (filter.column == 0 && filter.operator== SCAN_IN && filter.values_count> 0) {
            parse_again(&filter, schema);
        }
    }
    arena_deinit(&arena);
    return 0;
}
