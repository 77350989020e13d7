/*
 * Target: schema_parse_delta (schema_delta.c). What is accepted writes to a
 * schemaString that reads back and writes the same, mapped columns too. Partition columns
 * are those of a member "partitionColumns" of the schema, which the format does not have.
 */
#include "storage/columns/schema.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_mapped(struct span text, enum column_mapping mapping)
{
    struct err err = {0};
    CLEANUP(schema_release) struct schema *schema = NULL;
    enum err_code code = schema_parse_delta_mapped(text, NULL, mapping, &schema, &err);
    assert(code == ERR_OK || code == ERR_CORRUPT);
    if (code != ERR_OK) {
        return;
    }
    CLEANUP(buffer_deinit) struct buffer first;
    CLEANUP(buffer_deinit) struct buffer second;
    CLEANUP(schema_release) struct schema *again = NULL;
    buffer_init(&first, SIZE_MAX);
    buffer_init(&second, SIZE_MAX);
    schema_write_delta(schema, &first);
    code = schema_parse_delta_mapped(buffer_span(&first), NULL, COLUMN_MAPPING_NAME, &again, &err);
    assert(code == ERR_OK);
    schema_write_delta(again, &second);
    assert(span_equal(buffer_span(&first), buffer_span(&second)));
}

static void check_partitions(struct span text)
{
    struct err err = {0};
    CLEANUP(json_free) struct json *root = NULL;
    CLEANUP(schema_release) struct schema *schema = NULL;
    if (json_parse(text, &root, &err) != ERR_OK) {
        return; /* nested deeper than this reads */
    }
    const struct json *columns = json_get(root, "partitionColumns");
    enum err_code code = schema_parse_delta(text, columns, &schema, &err);
    assert(code == ERR_OK || code == ERR_CORRUPT || code == ERR_UNSUPPORTED);
    assert(code != ERR_OK || schema->partition_count == json_count(columns));
}

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
        check_mapped(span_of(data, size), (enum column_mapping)mapping);
    }
    check_partitions(span_of(data, size));
    return 0;
}
