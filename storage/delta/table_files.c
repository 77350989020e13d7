/*
 * Names and partition values. See table_files.h.
 *
 * What we write uses a conservative alphabet on disk, so that the log's second
 * encoding only ever meets '%'. What others wrote is decoded exactly once.
 */
#include "storage/delta/table_files.h"

#include "storage/base/hash.h"
#include "storage/base/id.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/delta/value.h"
#include "storage/object/object.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    FOLDER_NAME_BYTES_MAX = 255, /* what file systems take */
    FOLDERS_BYTES_MAX = 1024,    /* leaves room in a path of 4,096 bytes */
};

static const char default_partition[] = "__HIVE_DEFAULT_PARTITION__";

/* RFC 2396 path characters that stay as they are, beyond the unreserved ones. */
static const char path_characters[] = "/:@&=+$,;!*'()";

void delta_data_file_name(char name_out[DELTA_FILE_NAME_BYTES])
{
    struct id id = id_new_ordered();
    (void)snprintf(name_out, DELTA_FILE_NAME_BYTES, "part-00000-%s-c000.zstd.parquet",
                   id.text); /* fits */
}

static void replace_by_digest(struct buffer *folder, size_t start)
{
    uint8_t digest[HASH_SHA256_BYTES];
    hash_sha256(span_of(folder->data + start, folder->size - start), digest);
    folder->size = start;
    buffer_append_text(folder, "partition=");
    text_hex_encode(span_of(digest, sizeof digest), folder);
    buffer_append_byte(folder, '/');
}

void delta_partition_folder(const struct delta_pair *values, size_t count, struct buffer *folder)
{
    size_t start = folder->size;
    bool fits = true;
    for (size_t i = 0; i < count; i++) {
        size_t before = folder->size;
        const char *value = values[i].value;
        text_percent_encode(span_of_text(values[i].name), "", folder);
        buffer_append_byte(folder, '=');
        if (value == NULL || value[0] == '\0') {
            buffer_append_text(folder, default_partition);
        } else {
            text_percent_encode(span_of_text(value), "", folder);
        }
        fits = fits && folder->size - before <= FOLDER_NAME_BYTES_MAX;
        buffer_append_byte(folder, '/');
    }
    if (!fits || folder->size - start > FOLDERS_BYTES_MAX) {
        replace_by_digest(folder, start);
    }
}

void delta_path_encode(const char *object_name, struct buffer *path)
{
    text_percent_encode(span_of_text(object_name), path_characters, path);
}

const char *delta_path_canonical(const char *path)
{
    if (strncmp(path, "file:", 5) != 0) {
        return path;
    }
    path += 5;
    if (strncmp(path, "//", 2) == 0) {
        const char *authority_end = strchr(path + 2, '/');
        return authority_end == path + 2 ? authority_end : path;
    }
    return path;
}

/* "s3://…", "hdfs:…": letters, then a colon, before the first slash. */
static bool has_scheme(const char *path)
{
    size_t letters =
        strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return letters > 0 && path[letters] == ':' && path[letters + 1] == '/';
}

/* An absolute path below the store's folder becomes a name. */
static enum err_code make_relative(const struct object_store *store, const char *absolute,
                                   const char **relative_out, struct err *err)
{
    const char *root = object_store_root(store);
    size_t size = root != NULL ? strlen(root) : 0;
    if (size == 0 || strncmp(absolute, root, size) != 0 || absolute[size] != '/') {
        return err_set(err, ERR_UNSUPPORTED,
                       "a file lies outside the table folder (an absolute path in the log)");
    }
    *relative_out = absolute + size + strspn(absolute + size, "/");
    return ERR_OK;
}

enum err_code delta_path_decode(const struct object_store *store, const char *path, char **name_out,
                                struct err *err)
{
    const char *local = delta_path_canonical(path);
    if (has_scheme(local)) {
        return err_set(err, ERR_UNSUPPORTED, "a file lies in another store (its path is a URI)");
    }
    CLEANUP(buffer_deinit) struct buffer decoded = {0};
    buffer_init(&decoded, strlen(local) + 1);
    if (!text_percent_decode(span_of_text(local), false, &decoded)) {
        return err_set(err, ERR_CORRUPT, "a path in the log has a broken escape");
    }
    buffer_append_byte(&decoded, '\0');
    TRY(buffer_check(&decoded, "a path in the log", err));
    const char *name = (const char *)decoded.data;
    if (name[0] == '/') {
        TRY(make_relative(store, name, &name, err));
    }
    *name_out = mem_copy_text(name);
    return ERR_OK;
}

/* ---- partition values ---- */

/* Spark spells what is not finite; the API never lets such a value in, foreign files may. */
static void append_real(double value, struct buffer *text)
{
    char number[TEXT_DOUBLE_BYTES];
    if (isnan(value)) {
        buffer_append_text(text, "NaN");
    } else if (isinf(value)) {
        buffer_append_text(text, value > 0 ? "Infinity" : "-Infinity");
    } else {
        buffer_append(text, number, text_format_double(value, number));
    }
}

void delta_partition_value_format(const struct column *column, const struct field *field,
                                  int64_t row, struct buffer *text, bool *null_out)
{
    char digits[TEXT_DECIMAL_BYTES];
    char number[TEXT_DOUBLE_BYTES];
    char stamp[TEXT_TIMESTAMP_BYTES];
    size_t before = text->size;
    *null_out = !column_is_valid(column, row);
    if (*null_out) {
        return;
    }
    switch (field->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY: /* PROTOCOL.md says escaped; Spark and the kernels write the bytes as UTF-8
                         */
        buffer_append_span(text, column_bytes(column, row));
        break;
    case COLUMN_BYTE:
    case COLUMN_SHORT:
    case COLUMN_INTEGER:
        buffer_append(text, number, text_format_int64(column->values.i32[row], number));
        break;
    case COLUMN_LONG:
        buffer_append(text, number, text_format_int64(column->values.i64[row], number));
        break;
    case COLUMN_FLOAT:
    case COLUMN_DOUBLE:
        append_real(column->values.f64[row], text);
        break;
    case COLUMN_BOOLEAN:
        buffer_append_text(text, column->values.u8[row] != 0 ? "true" : "false");
        break;
    case COLUMN_DATE:
        buffer_append(text, stamp, text_format_date(column->values.i32[row], stamp));
        break;
    case COLUMN_TIMESTAMP:
        buffer_append(text, stamp, text_format_timestamp(column->values.i64[row], stamp));
        break;
    case COLUMN_TIMESTAMP_NTZ: {
        size_t size = text_format_timestamp_ntz(column->values.i64[row], stamp);
        char *separator = memchr(stamp, 'T', size);
        assert(separator != NULL);
        *separator = ' ';
        buffer_append(text, stamp, size);
        break;
    }
    case COLUMN_DECIMAL:
        buffer_append(text, digits,
                      text_format_decimal(column->values.i128[row], field->scale, digits));
        break;
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        assert(false);
    }
    *null_out = text->size == before; /* the protocol reads an empty text as null */
}

static void append_value(struct column *column, const struct delta_bound *value)
{
    switch (column->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        column_append_bytes(column, value->bytes);
        break;
    case COLUMN_BYTE:
    case COLUMN_SHORT:
    case COLUMN_INTEGER:
    case COLUMN_DATE:
        column_append_i32(column, (int32_t)value->i64);
        break;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        column_append_i64(column, value->i64);
        break;
    case COLUMN_FLOAT:
    case COLUMN_DOUBLE:
        column_append_f64(column, value->f64);
        break;
    case COLUMN_BOOLEAN:
        column_append_u8(column, value->i64 != 0);
        break;
    case COLUMN_DECIMAL:
        column_append_i128(column, value->i128);
        break;
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        assert(false);
    }
}

enum err_code delta_partition_value_append(const char *value, const struct field *field,
                                           int64_t count, struct column *column, struct err *err)
{
    assert(column->type == field->type);
    bool null = value == NULL || value[0] == '\0';
    struct delta_bound parsed = {0};
    bool good = null || delta_value_parse_partition(span_of_text(value), field, &parsed);
    if (!good) {
        return err_set(err, ERR_CORRUPT, "the partition value of column '%s' is no %s", field->name,
                       column_type_name(field->type));
    }
    for (int64_t i = 0; i < count; i++) {
        if (null) {
            column_append_null(column);
        } else {
            append_value(column, &parsed);
        }
    }
    return ERR_OK;
}
