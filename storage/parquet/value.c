/*
 * Access to assembled values, and values as JSON. See nested.h.
 */
#include "storage/parquet/nested.h"

#include "storage/base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int parquet_node_child(const struct parquet_node *node, const char *name)
{
    for (size_t i = 0; i < node->children_count; i++) {
        const char *own = node->children[i]->name;
        if (own[0] == name[0] && strcmp(own, name) == 0) { /* rows ask a dozen times each */
            return (int)i;
        }
    }
    return -1;
}

const struct parquet_value *parquet_value_get(const struct parquet_value *value, const char *name)
{
    if (value == NULL || value->kind != PARQUET_GROUP) {
        return NULL;
    }
    int child = parquet_node_child(value->node, name);
    if (child < 0 || value->items[child].kind == PARQUET_NULL) {
        return NULL;
    }
    return &value->items[child];
}

static struct json *real_to_json(double real)
{
    if (isfinite(real)) {
        return json_new_real(real);
    }
    return json_new_text(isnan(real) ? "NaN" : real > 0 ? "Infinity" : "-Infinity");
}

static struct json *binary_to_json(struct span bytes)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, PARQUET_ROW_BYTES_MAX);
    text_base64_encode(bytes, &text);
    return json_new_string(buffer_span(&text));
}

/* Text of a value that JSON has no type for. */
static struct json *formatted_to_json(const struct parquet_value *value)
{
    char
        text[TEXT_DECIMAL_BYTES > TEXT_TIMESTAMP_BYTES ? TEXT_DECIMAL_BYTES : TEXT_TIMESTAMP_BYTES];
    size_t size = 0;
    if (value->kind == PARQUET_DECIMAL) {
        size = text_format_decimal(value->decimal, value->node->scale, text);
    } else if (value->kind == PARQUET_DATE) {
        size = text_format_date((int32_t)value->integer, text);
    } else if (value->kind == PARQUET_TIMESTAMP) {
        size = text_format_timestamp(value->integer, text);
    } else {
        size = text_format_timestamp_ntz(value->integer, text);
    }
    return json_new_string(span_of(text, size));
}

static struct json *group_to_json(const struct parquet_value *value, bool skip_nulls)
{
    struct json *object = json_new_object();
    for (size_t i = 0; i < value->count; i++) {
        if (!skip_nulls || value->items[i].kind != PARQUET_NULL) {
            json_set(object, value->node->children[i]->name,
                     parquet_value_to_json(&value->items[i], skip_nulls));
        }
    }
    return object;
}

/* A map's key as a member name; NUL-terminated. */
static void append_key(const struct parquet_value *key, struct buffer *name)
{
    if (key->kind == PARQUET_TEXT) {
        buffer_append_span(name, key->bytes);
    } else {
        CLEANUP(json_free) struct json *json = parquet_value_to_json(key, true);
        struct span text;
        if (json_as_string(json, &text)) {
            buffer_append_span(name, text);
        } else {
            json_write(json, name);
        }
    }
    buffer_append_byte(name, 0);
}

static struct json *map_to_json(const struct parquet_value *value, bool skip_nulls)
{
    CLEANUP(buffer_deinit) struct buffer name;
    buffer_init(&name, SIZE_MAX);
    struct json *object = json_new_object();
    for (size_t i = 0; i + 1 < value->count; i += 2) {
        buffer_reset(&name);
        append_key(&value->items[i], &name);
        json_set(object, (const char *)name.data,
                 parquet_value_to_json(&value->items[i + 1], skip_nulls));
    }
    return object;
}

static struct json *list_to_json(const struct parquet_value *value, bool skip_nulls)
{
    struct json *array = json_new_array();
    for (size_t i = 0; i < value->count; i++) {
        json_append(array, parquet_value_to_json(&value->items[i], skip_nulls));
    }
    return array;
}

/* Recursion is bounded by PARQUET_SCHEMA_DEPTH_MAX. */
struct json *parquet_value_to_json(const struct parquet_value *value, bool skip_nulls)
{
    switch (value->kind) {
    case PARQUET_NULL:
        return json_new_null();
    case PARQUET_BOOLEAN:
        return json_new_boolean(value->boolean);
    case PARQUET_INTEGER:
        return json_new_integer(value->integer);
    case PARQUET_REAL:
        return real_to_json(value->real);
    case PARQUET_DECIMAL:
    case PARQUET_DATE:
    case PARQUET_TIMESTAMP:
    case PARQUET_TIMESTAMP_NTZ:
        return formatted_to_json(value);
    case PARQUET_TEXT:
        return json_new_string(value->bytes);
    case PARQUET_BINARY:
        return binary_to_json(value->bytes);
    case PARQUET_GROUP:
        return group_to_json(value, skip_nulls);
    case PARQUET_LIST:
        return list_to_json(value, skip_nulls);
    case PARQUET_MAP:
        break;
    }
    return map_to_json(value, skip_nulls);
}
