/*
 * Names of Parquet's numbers, for messages.
 */
#include "storage/parquet/format.h"

#include <stdbool.h>
#include <stddef.h>

const char *parquet_type_name(enum parquet_type type)
{
    static const char *const names[] = {"BOOLEAN", "INT32",  "INT64",      "INT96",
                                        "FLOAT",   "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"};
    return type >= 0 && (size_t)type < sizeof names / sizeof names[0] ? names[type] : "group";
}

const char *parquet_encoding_name(int encoding)
{
    static const char *const names[] = {
        "PLAIN",          "GROUP_VAR_INT",       "PLAIN_DICTIONARY",        "RLE",
        "BIT_PACKED",     "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY",
        "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"};
    bool known = encoding >= 0 && (size_t)encoding < sizeof names / sizeof names[0];
    return known ? names[encoding] : "unknown";
}

const char *parquet_codec_name(int codec)
{
    static const char *const names[] = {"UNCOMPRESSED", "SNAPPY", "GZIP", "LZO",
                                        "BROTLI",       "LZ4",    "ZSTD", "LZ4_RAW"};
    bool known = codec >= 0 && (size_t)codec < sizeof names / sizeof names[0];
    return known ? names[codec] : "unknown";
}
