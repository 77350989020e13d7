/*
 * Which physical type a Delta type is stored in. See leaf.h.
 * Source: parquet-format LogicalTypes.md; Delta's type mapping.
 */
#include "storage/parquet/leaf.h"

#include <assert.h>

enum { INT32_PRECISION_MAX = 9, INT64_PRECISION_MAX = 18 };

/* Bytes that hold every value of `precision` digits: ceil((p × log2(10) + 1) / 8). */
static int32_t fixed_bytes_of(int precision)
{
    unsigned __int128 largest = 1;
    for (int i = 0; i < precision; i++) {
        largest *= 10;
    }
    largest -= 1;
    int32_t size = 1;
    while (size < 16 && largest >> (8 * size - 1) != 0) {
        size++;
    }
    return size;
}

static struct leaf_type decimal_type(int precision)
{
    assert(precision >= 1);
    assert(precision <= SCHEMA_DECIMAL_PRECISION_MAX);
    if (precision <= INT32_PRECISION_MAX) {
        return (struct leaf_type){.kind = LEAF_I32, .physical = PARQUET_TYPE_INT32};
    }
    if (precision <= INT64_PRECISION_MAX) {
        return (struct leaf_type){.kind = LEAF_I64, .physical = PARQUET_TYPE_INT64};
    }
    return (struct leaf_type){.kind = LEAF_FIXED,
                              .physical = PARQUET_TYPE_FIXED,
                              .fixed_bytes = fixed_bytes_of(precision)};
}

struct leaf_type leaf_type_of(enum column_type type, int precision)
{
    switch (type) {
    case COLUMN_STRING:
        return (struct leaf_type){
            .kind = LEAF_BYTES, .physical = PARQUET_TYPE_BYTE_ARRAY, .is_text = true};
    case COLUMN_BINARY:
        return (struct leaf_type){.kind = LEAF_BYTES, .physical = PARQUET_TYPE_BYTE_ARRAY};
    case COLUMN_INTEGER:
    case COLUMN_DATE:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        return (struct leaf_type){.kind = LEAF_I32, .physical = PARQUET_TYPE_INT32};
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        return (struct leaf_type){.kind = LEAF_I64, .physical = PARQUET_TYPE_INT64};
    case COLUMN_DOUBLE:
        return (struct leaf_type){.kind = LEAF_F64, .physical = PARQUET_TYPE_DOUBLE};
    case COLUMN_FLOAT:
        return (struct leaf_type){.kind = LEAF_F32, .physical = PARQUET_TYPE_FLOAT};
    case COLUMN_BOOLEAN:
        return (struct leaf_type){.kind = LEAF_BOOLEAN, .physical = PARQUET_TYPE_BOOLEAN};
    case COLUMN_DECIMAL:
        return decimal_type(precision);
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(false && "a column type that exists");
    return (struct leaf_type){0};
}
