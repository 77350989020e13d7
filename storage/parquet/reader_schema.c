/*
 * A file's own columns as a schema. See reader.h for the contract. Written as a Delta
 * schemaString, because schema_parse_delta is the one gate for foreign columns.
 */
#include "storage/parquet/reader.h"

#include "storage/base/buffer.h"
#include "storage/base/json.h"
#include "storage/parquet/reader_state.h"

#include <stdio.h>

enum { SCHEMA_BYTES_MAX = 16 << 20, TYPE_BYTES = 32 };

static enum err_code refuse(const struct metadata_element *element, const char *why,
                            struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "column '%.*s' is %s; leave it out of the file",
                   (int)(element->name.size < 128 ? element->name.size : 128),
                   (const char *)element->name.data, why);
}

static const char *integer_type(const struct leaf_meaning *meaning)
{
    switch (meaning->bits) {
    case 8:
        return meaning->is_unsigned ? "short" : "byte";
    case 16:
        return meaning->is_unsigned ? "integer" : "short";
    case 32:
        return meaning->is_unsigned ? "long" : "integer";
    default:
        return meaning->is_unsigned ? NULL : "long";
    }
}

/* Delta's name of the type, NULL when there is none. */
static const char *type_of(const struct metadata_element *element,
                           const struct leaf_meaning *meaning, char decimal_out[TYPE_BYTES])
{
    switch (meaning->kind) {
    case PARQUET_BOOLEAN:
        return "boolean";
    case PARQUET_INTEGER:
        return integer_type(meaning);
    case PARQUET_REAL:
        return element->type == PARQUET_TYPE_FLOAT ? "float" : "double";
    case PARQUET_DATE:
        return "date";
    case PARQUET_TIMESTAMP:
        return "timestamp";
    case PARQUET_TIMESTAMP_NTZ:
        return "timestamp_ntz";
    case PARQUET_TEXT:
        return "string";
    case PARQUET_BINARY:
        return "binary";
    case PARQUET_DECIMAL:
        (void)snprintf(decimal_out, TYPE_BYTES, "decimal(%d,%d)", meaning->precision,
                       meaning->scale); /* fits */
        return decimal_out;
    default:
        return NULL;
    }
}

static enum err_code write_column(const struct metadata_element *element, struct buffer *text,
                                  struct err *err)
{
    if (element->type == PARQUET_TYPE_NONE || element->repetition == PARQUET_REPEATED) {
        return refuse(element, "nested", err);
    }
    struct leaf_meaning meaning = leaf_meaning_of(element);
    char decimal[TYPE_BYTES];
    const char *type = meaning.odd == NULL ? type_of(element, &meaning, decimal) : NULL;
    if (type == NULL) {
        return refuse(element, meaning.odd != NULL ? meaning.odd : "an unsigned 64-bit number",
                      err);
    }
    buffer_append_text(text, "{\"name\":");
    json_write_string(text, element->name);
    buffer_append_format(text, ",\"type\":\"%s\",\"nullable\":true,\"metadata\":{}}", type);
    return ERR_OK;
}

enum err_code parquet_reader_schema(const struct parquet_reader *reader, struct schema **schema_out,
                                    struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SCHEMA_BYTES_MAX);
    buffer_append_text(&text, "{\"type\":\"struct\",\"fields\":[");
    const struct tree *tree = &reader->tree;
    for (size_t i = 1; i < tree->elements_count; i = tree->elements[i].next) {
        buffer_append_text(&text, i > 1 ? "," : "");
        TRY(write_column(tree->elements[i].element, &text, err));
    }
    buffer_append_text(&text, "]}");
    TRY(buffer_check(&text, "the file's schema", err));
    return schema_parse_delta(buffer_span(&text), NULL, schema_out, err);
}
