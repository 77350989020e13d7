/*
 * Deletion vectors outside memory: Z85 text in the log, and files of several
 * vectors beside the data.
 *
 * Source: delta PROTOCOL.md "Deletion Vectors"; reference sections 6.1, 6.2.
 */
#include "storage/delta/deletion_vector.h"

#include "storage/base/cursor.h"
#include "storage/base/hash.h"
#include "storage/base/id.h"
#include "storage/base/mem.h"
#include "storage/delta/table_files.h"
#include "storage/object/object.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    FILE_VERSION = 1,
    FRAME_BYTES = 8, /* size field and checksum around the data */
    Z85_BASE = 85,
    UUID_CHARACTERS = 20, /* of Z85 */
    UUID_BYTES = 16,
    TEXTS_BYTES_MAX = 64 << 20,
};

/* ---- Z85 ---- */

static const char z85_characters[] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

void deletion_vector_z85_encode(struct span bytes, struct buffer *text)
{
    for (size_t at = 0; at < bytes.size; at += 4) {
        uint32_t value = 0;
        for (size_t i = 0; i < 4; i++) {
            value = value << 8 | (at + i < bytes.size ? bytes.data[at + i] : 0U);
        }
        char group[5];
        for (size_t i = sizeof group; i-- > 0;) {
            group[i] = z85_characters[value % Z85_BASE];
            value /= Z85_BASE;
        }
        buffer_append(text, group, sizeof group);
    }
}

bool deletion_vector_z85_decode(struct span text, struct buffer *bytes)
{
    if (text.size % 5 != 0) {
        return false;
    }
    for (size_t at = 0; at < text.size; at += 5) {
        uint64_t value = 0;
        for (size_t i = 0; i < 5; i++) {
            const char *found =
                text.data[at + i] != '\0' ? strchr(z85_characters, text.data[at + i]) : NULL;
            if (found == NULL) {
                return false;
            }
            value = value * Z85_BASE + (uint64_t)(found - z85_characters);
        }
        if (value > UINT32_MAX) {
            return false;
        }
        const uint8_t group[] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16),
                                 (uint8_t)(value >> 8), (uint8_t)value};
        buffer_append(bytes, group, sizeof group);
    }
    return true;
}

/* ---- reading ---- */

/* "ab^-aqEH.-t@S}K{vb[*k^" → "ab/deletion_vector_d2c6….bin": a prefix, then the uuid in Z85. */
static enum err_code relative_name(const char *text, struct buffer *name, struct err *err)
{
    size_t size = strlen(text);
    CLEANUP(buffer_deinit) struct buffer uuid = {0};
    buffer_init(&uuid, UUID_BYTES);
    if (size < UUID_CHARACTERS ||
        !deletion_vector_z85_decode(span_of(text + size - UUID_CHARACTERS, UUID_CHARACTERS),
                                    &uuid)) {
        return err_set(err, ERR_CORRUPT, "a deletion vector's uuid is no Z85 text");
    }
    assert(uuid.size == UUID_BYTES);
    size_t prefix = size - UUID_CHARACTERS;
    if (prefix > 0) {
        buffer_append(name, text, prefix);
        buffer_append_byte(name, '/');
    }
    struct id id = id_of_bytes(uuid.data);
    buffer_append_format(name, "deletion_vector_%s.bin", id.text);
    buffer_append_byte(name, '\0');
    return ERR_OK;
}

enum err_code deletion_vector_object_name(const struct object_store *store,
                                          const struct delta_dv *descriptor, char **name_out,
                                          struct err *err)
{
    if (descriptor->storage == 'p') {
        return delta_path_decode(store, descriptor->path_or_inline, name_out, err);
    }
    assert(descriptor->storage == 'u');
    CLEANUP(buffer_deinit) struct buffer name = {0};
    buffer_init(&name, DELTA_PATH_BYTES_MAX + ID_TEXT_BYTES + 32);
    TRY(relative_name(descriptor->path_or_inline, &name, err));
    TRY(buffer_check(&name, "a deletion vector's name", err));
    *name_out = mem_copy(name.data, name.size);
    return ERR_OK;
}

static enum err_code read_inline(const struct delta_dv *descriptor, struct buffer *data,
                                 struct err *err)
{
    struct span text = span_of_text(descriptor->path_or_inline);
    if (!deletion_vector_z85_decode(text, data)) {
        return err_set(err, ERR_CORRUPT, "an inline deletion vector is no Z85 text");
    }
    TRY(buffer_check(data, "an inline deletion vector", err));
    /* spec: delta PROTOCOL.md#deletion-vector-descriptor — padded to 4, cut to sizeInBytes */
    if (descriptor->size < 0 || (size_t)descriptor->size > data->size ||
        data->size - (size_t)descriptor->size > 3) {
        return err_set(err, ERR_CORRUPT, "an inline deletion vector has not its stated size");
    }
    data->size = (size_t)descriptor->size;
    return ERR_OK;
}

static enum err_code check_frame(struct span frame, const struct delta_dv *descriptor,
                                 struct buffer *data, struct err *err)
{
    struct cursor cursor = cursor_of(frame);
    uint32_t size = cursor_u32_big_endian(&cursor);
    struct span bytes = cursor_bytes(&cursor, (size_t)descriptor->size);
    uint32_t checksum = cursor_u32_big_endian(&cursor);
    assert(!cursor.failed);
    if (size != (uint32_t)descriptor->size) {
        return err_set(err, ERR_CORRUPT, "the deletion vector's size field says %u, the log %d",
                       size, descriptor->size);
    }
    if (checksum != hash_crc32(bytes)) {
        return err_set(err, ERR_CORRUPT, "the deletion vector's checksum is wrong");
    }
    buffer_append_span(data, bytes);
    return buffer_check(data, "the deletion vector", err);
}

static enum err_code read_file(struct object_store *store, const char *name,
                               const struct delta_dv *descriptor, struct buffer *data,
                               struct err *err)
{
    CLEANUP(object_close) struct object *object = NULL;
    TRY(object_open(store, name, &object, err));
    if (descriptor->size < 0 || descriptor->size > DELETION_VECTOR_BYTES_MAX) {
        return err_set(err, ERR_CORRUPT, "the deletion vector's size is out of range");
    }
    uint8_t version = 0;
    TRY(object_read_at(object, 0, &version, sizeof version, err));
    if (version != FILE_VERSION) {
        return err_set(err, ERR_CORRUPT, "the file of deletion vectors has format version %d",
                       version);
    }
    int64_t offset = descriptor->has_offset ? descriptor->offset : 1;
    size_t frame_size = (size_t)descriptor->size + FRAME_BYTES;
    if (offset < 1 || offset > object_size(object) ||
        (int64_t)frame_size > object_size(object) - offset) {
        return err_set(err, ERR_CORRUPT, "the deletion vector lies past the end of its file");
    }
    CLEANUP(mem_cleanup) uint8_t *frame = mem_alloc(frame_size);
    TRY(object_read_at(object, offset, frame, frame_size, err));
    return check_frame(span_of(frame, frame_size), descriptor, data, err);
}

static enum err_code read_data(struct object_store *store, const struct delta_dv *descriptor,
                               struct buffer *data, struct err *err)
{
    if (descriptor->storage == 'i') {
        return read_inline(descriptor, data, err);
    }
    CLEANUP(mem_cleanup) char *name = NULL;
    TRY(deletion_vector_object_name(store, descriptor, &name, err));
    if (read_file(store, name, descriptor, data, err) != ERR_OK) {
        return err_wrap(err, "'%s' at %d", name, descriptor->offset);
    }
    return ERR_OK;
}

enum err_code deletion_vector_read(struct object_store *store, const struct delta_dv *descriptor,
                                   int64_t rows_count, struct deletion_vector **vector_out,
                                   struct err *err)
{
    assert(delta_dv_is_present(descriptor));
    CLEANUP(buffer_deinit) struct buffer data = {0};
    buffer_init(&data, DELETION_VECTOR_BYTES_MAX);
    TRY(read_data(store, descriptor, &data, err));
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
    TRY(deletion_vector_decode(buffer_span(&data), &vector, err));
    int64_t cardinality = deletion_vector_cardinality(vector);
    if (cardinality != descriptor->cardinality) {
        return err_set(err, ERR_CORRUPT, "the deletion vector marks %lld rows, the log says %lld",
                       (long long)cardinality, (long long)descriptor->cardinality);
    }
    if (rows_count >= 0 && deletion_vector_max(vector) >= rows_count) {
        return err_set(err, ERR_CORRUPT, "the deletion vector marks row %lld of %lld",
                       (long long)deletion_vector_max(vector), (long long)rows_count);
    }
    *vector_out = vector;
    vector = NULL;
    return ERR_OK;
}

/* ---- writing ---- */

void deletion_vector_batch_init(struct deletion_vector_batch *batch)
{
    *batch = (struct deletion_vector_batch){0};
    buffer_init(&batch->file, DELETION_VECTOR_FILE_BYTES_MAX);
    buffer_init(&batch->texts, TEXTS_BYTES_MAX);
}

void deletion_vector_batch_deinit(struct deletion_vector_batch *batch)
{
    buffer_deinit(&batch->file);
    buffer_deinit(&batch->texts);
    mem_free(batch->descriptors);
    mem_free(batch->text_offsets);
    *batch = (struct deletion_vector_batch){0};
}

/* Name the file on first use: the uuid goes into the name and, in Z85, into each descriptor. */
static void begin_file(struct deletion_vector_batch *batch)
{
    if (batch->has_file) {
        return;
    }
    struct id id = id_new_random();
    (void)snprintf(batch->object_name, sizeof batch->object_name, "deletion_vector_%s.bin",
                   id.text); /* fits */
    buffer_append_byte(&batch->file, FILE_VERSION);
    batch->has_file = true;
}

static void append_uuid(struct deletion_vector_batch *batch)
{
    struct id id;
    uint8_t bytes[UUID_BYTES];
    bool good =
        id_parse(span_of(batch->object_name + strlen("deletion_vector_"), ID_TEXT_BYTES - 1), &id);
    assert(good);
    id_bytes(&id, bytes);
    deletion_vector_z85_encode(span_of(bytes, sizeof bytes), &batch->texts);
}

static void append_u32_big_endian(struct buffer *bytes, uint32_t value)
{
    buffer_append_u32(bytes, __builtin_bswap32(value));
}

static struct delta_dv put_in_file(struct deletion_vector_batch *batch, struct span data)
{
    begin_file(batch);
    struct delta_dv descriptor = {
        .storage = 'u', .has_offset = true, .offset = (int32_t)batch->file.size};
    append_u32_big_endian(&batch->file, (uint32_t)data.size);
    buffer_append_span(&batch->file, data);
    append_u32_big_endian(&batch->file, hash_crc32(data));
    append_uuid(batch);
    return descriptor;
}

static struct delta_dv *next_descriptor(struct deletion_vector_batch *batch)
{
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 16 : batch->capacity * 2;
        batch->descriptors =
            mem_resize(batch->descriptors, batch->capacity, sizeof *batch->descriptors);
        batch->text_offsets =
            mem_resize(batch->text_offsets, batch->capacity, sizeof *batch->text_offsets);
    }
    batch->text_offsets[batch->count] = batch->texts.size;
    return &batch->descriptors[batch->count++];
}

enum err_code deletion_vector_batch_add(struct deletion_vector_batch *batch,
                                        const struct deletion_vector *vector, size_t *index_out,
                                        struct err *err)
{
    int64_t cardinality = deletion_vector_cardinality(vector);
    assert(cardinality > 0);
    CLEANUP(buffer_deinit) struct buffer data = {0};
    buffer_init(&data, DELETION_VECTOR_BYTES_MAX);
    deletion_vector_encode(vector, &data);
    TRY(buffer_check(&data, "a deletion vector", err));
    struct delta_dv *descriptor = next_descriptor(batch);
    if (data.size <= DELETION_VECTOR_INLINE_BYTES_MAX) {
        *descriptor = (struct delta_dv){.storage = 'i'};
        deletion_vector_z85_encode(buffer_span(&data), &batch->texts);
    } else {
        *descriptor = put_in_file(batch, buffer_span(&data));
    }
    descriptor->size = (int32_t)data.size;
    descriptor->cardinality = cardinality;
    buffer_append_byte(&batch->texts, '\0');
    TRY(buffer_check(&batch->file, "the file of deletion vectors", err));
    TRY(buffer_check(&batch->texts, "the deletion vectors' descriptors", err));
    *index_out = batch->count - 1;
    return ERR_OK;
}

enum err_code deletion_vector_batch_write(struct deletion_vector_batch *batch,
                                          struct object_group *group, struct err *err)
{
    if (batch->has_file) {
        TRY(object_group_put(group, batch->object_name, buffer_span(&batch->file), err));
    }
    for (size_t i = 0; i < batch->count; i++) {
        batch->descriptors[i].path_or_inline =
            (const char *)batch->texts.data + batch->text_offsets[i];
    }
    return ERR_OK;
}
