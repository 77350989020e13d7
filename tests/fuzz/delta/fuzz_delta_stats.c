/*
 * Statistics texts (stats_text.c, stats_parse.c, value.c), also as partition
 * values, against a schema with every type.
 */
#include "storage/delta/stats.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/delta/table_files.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char schema_text[] =
    "{\"type\":\"struct\",\"fields\":["
    "{\"name\":\"l\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"i\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"s\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"d\",\"type\":\"double\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"f\",\"type\":\"float\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"m\",\"type\":\"decimal(10,2)\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"y\",\"type\":\"date\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"t\",\"type\":\"timestamp\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"n\",\"type\":\"timestamp_ntz\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"x\",\"type\":\"binary\",\"nullable\":true,\"metadata\":{}},"
    "{\"name\":\"b\",\"type\":\"boolean\",\"nullable\":true,\"metadata\":{}}]}";

static struct schema *make_schema(void)
{
    struct err err = {0};
    struct schema *schema = NULL;
    enum err_code code = schema_parse_delta(span_of_text(schema_text), NULL, &schema, &err);
    assert(code == ERR_OK);
    return schema;
}

static void try_partition_values(const char *text, const struct schema *schema)
{
    struct frame *frame = frame_new(schema);
    for (size_t i = 0; i < schema->fields_count; i++) {
        struct err err = {0};
        struct column *column = &frame->columns[i];
        if (delta_partition_value_append(text, &schema->fields[i], 1, column, &err) != ERR_OK) {
            continue;
        }
        CLEANUP(buffer_deinit) struct buffer again = {0};
        bool null = false;
        buffer_init(&again, 1 << 20);
        delta_partition_value_format(column, &schema->fields[i], 0, &again, &null);
        assert(null == (text[0] == '\0'));
    }
    frame_free(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct schema *schema = make_schema();
    CLEANUP(mem_cleanup) char *text = mem_zeroed(size + 1, 1);
    if (size > 0) {
        memcpy(text, data, size);
    }
    struct err err = {0};
    const struct delta_file template = {.path = "f", .stats = text};
    const struct delta_file *file = delta_file_new(&template);
    struct delta_stats stats = {0};
    if (delta_stats_parse(file, schema, &stats, &err) == ERR_OK) {
        assert(stats.rows_count == file->rows_count);
        delta_stats_free(&stats);
    }
    CLEANUP(buffer_deinit) struct buffer loose = {0};
    buffer_init(&loose, 1 << 20);
    err_clear(&err);
    if (delta_stats_loosen(text, &loose, &err) == ERR_OK) {
        buffer_append_byte(&loose, '\0');
        assert(delta_stats_rows_count((const char *)loose.data) == file->rows_count);
    }
    try_partition_values(text, schema);
    delta_file_release(&file);
    schema_release(&schema);
    return 0;
}
