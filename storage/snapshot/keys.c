/*
 * Bytes of keys and lookup values. See keys.h; the key's own encoding is
 * frame_key's, which also orders the rows of a data file.
 */
#include "storage/snapshot/keys.h"

#include <assert.h>

bool index_is_needed(const struct schema *schema)
{
    return schema->key_count > 0 || schema->lookup_count > 0;
}

uint32_t index_kind_of_lookup(const struct schema *schema, size_t lookup)
{
    assert(lookup < schema->lookup_count);
    if (schema->key_count == 1 && schema->key[0] == schema->lookup[lookup].column) {
        return 0;
    }
    return (uint32_t)(1 + lookup);
}

struct index_kinds index_kinds_of(const struct schema *schema)
{
    struct index_kinds kinds = {.count = 1 + schema->lookup_count};
    kinds.used[0] = schema->key_count > 0;
    for (size_t i = 0; i < schema->lookup_count; i++) {
        kinds.used[index_kind_of_lookup(schema, i)] = true;
    }
    return kinds;
}

uint64_t index_definition(const struct schema *schema, const uint8_t hash_key[HASH_KEY_BYTES])
{
    struct buffer text;
    buffer_init(&text, 64 << 10);
    buffer_append(&text, hash_key, HASH_KEY_BYTES);
    buffer_append_format(&text, "key");
    for (size_t i = 0; i < schema->key_count; i++) {
        buffer_append_format(&text, " %d", schema->fields[schema->key[i]].id);
    }
    int32_t sequence_id = schema->has_sequence ? schema->fields[schema->sequence].id : 0;
    buffer_append_format(&text, " sequence %d lookup", sequence_id);
    for (size_t i = 0; i < schema->lookup_count; i++) {
        buffer_append_format(&text, " %d", schema->fields[schema->lookup[i].column].id);
    }
    uint64_t definition = hash_checksum(buffer_span(&text));
    buffer_deinit(&text);
    return definition;
}

bool key_is_whole(const struct frame *frame, int64_t row)
{
    const struct schema *schema = frame->schema;
    for (size_t i = 0; i < schema->key_count; i++) {
        if (!column_is_valid(&frame->columns[schema->key[i]], row)) {
            return false;
        }
    }
    return true;
}

bool row_value_of(const struct frame *frame, size_t column, int64_t row,
                  struct row_value *value_out)
{
    const struct column *source = &frame->columns[column];
    if (!column_is_valid(source, row)) {
        return false;
    }
    const struct field *field = &frame->schema->fields[column];
    struct row_value value = {.field_id = field->id, .type = field->type};
    switch (field->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        value.bytes = column_bytes(source, row);
        break;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        value.integer = source->values.i32[row];
        break;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        value.integer = source->values.i64[row];
        break;
    case COLUMN_BOOLEAN:
        value.integer = source->values.u8[row];
        break;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        value.real = source->values.f64[row];
        break;
    case COLUMN_DECIMAL:
        value.decimal = source->values.i128[row];
        break;
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        assert(!"a type of a column");
    }
    *value_out = value;
    return true;
}

void lookup_bytes_of_value(const struct row_value *value, struct buffer *bytes)
{
    switch (value->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        buffer_append_span(bytes, value->bytes);
        return;
    case COLUMN_DECIMAL:
        buffer_append(bytes, &value->decimal, sizeof value->decimal);
        return;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        buffer_append(bytes, &value->real, sizeof value->real);
        return;
    default:
        buffer_append_u64(bytes, (uint64_t)value->integer);
        return;
    }
}

bool lookup_bytes_of_row(const struct frame *frame, size_t column, int64_t row,
                         struct buffer *bytes)
{
    struct row_value value;
    if (!row_value_of(frame, column, row, &value)) {
        return false;
    }
    lookup_bytes_of_value(&value, bytes);
    return true;
}

void partition_bytes_of_row(const struct frame *frame, int64_t row, struct buffer *scratch,
                            struct buffer *bytes)
{
    const struct schema *schema = frame->schema;
    for (size_t i = 0; i < schema->partition_count; i++) {
        buffer_reset(scratch);
        bool has = lookup_bytes_of_row(frame, schema->partition[i], row, scratch);
        buffer_append_byte(bytes, has);
        buffer_append_u32(bytes, (uint32_t)scratch->size);
        buffer_append_span(bytes, buffer_span(scratch));
    }
}

static int compare_reals(double a, double b)
{
    bool a_nan = a != a;
    bool b_nan = b != b;
    if (a_nan || b_nan) {
        return (int)a_nan - (int)b_nan;
    }
    return (a > b) - (a < b);
}

int row_value_compare(const struct row_value *a, const struct row_value *b)
{
    assert(a->type == b->type);
    switch (a->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        return span_compare(a->bytes, b->bytes);
    case COLUMN_DECIMAL:
        return (a->decimal > b->decimal) - (a->decimal < b->decimal);
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        return compare_reals(a->real, b->real);
    default:
        return (a->integer > b->integer) - (a->integer < b->integer);
    }
}

enum err_code image_value(struct span image, int32_t field_id, bool *found_out,
                          struct row_value *value_out, struct err *err)
{
    struct row_reader reader;
    TRY(row_reader_init(&reader, image, err));
    struct row_value value;
    while (row_reader_next(&reader, &value)) {
        if (value.field_id >= field_id) {
            *found_out = value.field_id == field_id;
            *value_out = value;
            return ERR_OK;
        }
    }
    TRY(row_reader_check(&reader, err));
    *found_out = false;
    return ERR_OK;
}
