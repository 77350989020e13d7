/*
 * Target: schema_parse (schema_parse.c, schema_field.c, pattern.c). What is accepted writes to
 * JSON that is accepted as the same, is no change of itself, and writes a Delta
 * schema that reads back.
 */
#include "storage/columns/schema.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_delta(const struct schema *schema)
{
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SIZE_MAX);
    schema_write_delta(schema, &text);
    CLEANUP(schema_release) struct schema *back = NULL;
    enum err_code code = schema_parse_delta(buffer_span(&text), NULL, &back, &err);
    assert(code == ERR_OK);
    assert(back->fields_count == schema->fields_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    CLEANUP(json_free) struct json *definition = NULL;
    CLEANUP(schema_release) struct schema *schema = NULL;
    bool parsed = json_parse(span_of(data, size), &definition, &err) == ERR_OK;
    if (parsed) {
        schema_keep_digits(definition, span_of(data, size));
    }
    if (!parsed || schema_parse(definition, &schema, &err) != ERR_OK) {
        assert(schema == NULL);
        assert(err.msg[0] != '\0');
        return 0;
    }
    CLEANUP(json_free) struct json *written = schema_to_json(schema);
    CLEANUP(schema_release) struct schema *again = NULL;
    enum err_code code = schema_load(written, 1, &again, &err);
    assert(code == ERR_OK);
    CLEANUP(json_free) struct json *written_again = schema_to_json(again);
    assert(json_equals(written, written_again));

    CLEANUP(schema_release) struct schema *evolved = NULL;
    bool same = false;
    code = schema_evolve(schema, again, &evolved, &same, &err);
    assert(code == ERR_OK);
    assert(same);
    check_delta(schema);
    return 0;
}
