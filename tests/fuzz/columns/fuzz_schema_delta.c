/*
 * Target: schema_parse_delta (schema_delta.c). What is accepted writes to a
 * schemaString that reads back and writes the same.
 */
#include "storage/columns/schema.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    CLEANUP(schema_release) struct schema *schema = NULL;
    enum err_code code = schema_parse_delta(span_of(data, size), NULL, &schema, &err);
    if (code != ERR_OK) {
        assert(code == ERR_CORRUPT || code == ERR_UNSUPPORTED);
        assert(schema == NULL);
        return 0;
    }
    CLEANUP(buffer_deinit) struct buffer first;
    CLEANUP(buffer_deinit) struct buffer second;
    buffer_init(&first, SIZE_MAX);
    buffer_init(&second, SIZE_MAX);
    schema_write_delta(schema, &first);
    CLEANUP(schema_release) struct schema *again = NULL;
    code = schema_parse_delta(buffer_span(&first), NULL, &again, &err);
    assert(code == ERR_OK);
    schema_write_delta(again, &second);
    assert(span_equal(buffer_span(&first), buffer_span(&second)));
    for (int mapping = COLUMN_MAPPING_NAME; mapping <= COLUMN_MAPPING_ID; mapping++) {
        CLEANUP(schema_release) struct schema *mapped = NULL;
        code = schema_parse_delta_mapped(span_of(data, size), NULL, (enum column_mapping)mapping,
                                         &mapped, &err);
        assert(code == ERR_OK || code == ERR_CORRUPT);
    }
    return 0;
}
