/*
 * The index manifest's bytes and file. See manifest.h.
 */
#include "storage/snapshot/manifest.h"

#include "storage/base/cursor.h"
#include "storage/base/file.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"

#define MANIFEST_MAGIC UINT64_C(0x33464e414d445849) /* "IXDMANF3" */

void manifest_deinit(struct manifest *manifest)
{
    if (manifest->memory.data != NULL) {
        mem_free(manifest->files);
        mem_free(manifest->runs);
    }
    buffer_deinit(&manifest->memory);
    *manifest = (struct manifest){0};
}

static void encode_span(struct buffer *bytes, struct span span)
{
    buffer_append_varint(bytes, span.size);
    buffer_append_span(bytes, span);
}

void manifest_encode(const struct manifest *manifest, struct buffer *bytes)
{
    size_t start = bytes->size;
    buffer_append_u64(bytes, MANIFEST_MAGIC);
    encode_span(bytes, span_of_text(manifest->table.text));
    buffer_append_u64(bytes, manifest->definition);
    buffer_append_u64(bytes, (uint64_t)manifest->version);
    buffer_append_u32(bytes, manifest->next_file);
    buffer_append_u64(bytes, manifest->next_run);
    encode_span(bytes, span_of_text(manifest->mount));
    buffer_append_varint(bytes, manifest->files_count);
    for (size_t i = 0; i < manifest->files_count; i++) {
        buffer_append_u32(bytes, manifest->files[i].number);
        encode_span(bytes, manifest->files[i].path);
        encode_span(bytes, manifest->files[i].dv);
    }
    buffer_append_varint(bytes, manifest->runs_count);
    for (size_t i = 0; i < manifest->runs_count; i++) {
        buffer_append_u32(bytes, manifest->runs[i].kind);
        buffer_append_u64(bytes, manifest->runs[i].id);
    }
    if (!bytes->overflowed) {
        buffer_append_u64(bytes, hash_checksum(span_of(bytes->data + start, bytes->size - start)));
    }
}

static struct span decode_span(struct cursor *cursor)
{
    uint64_t size = cursor_varint(cursor);
    return cursor_bytes(cursor, (size_t)size);
}

static void decode_text(struct cursor *cursor, char *text_out, size_t size)
{
    struct span text = decode_span(cursor);
    if (text.size >= size) {
        cursor_fail(cursor);
        return;
    }
    memcpy(text_out, text.data == NULL ? "" : (const char *)text.data, text.size);
    text_out[text.size] = '\0';
}

/* A count that the bytes left could hold, each item taking `item_bytes` at least. */
static size_t decode_count(struct cursor *cursor, size_t item_bytes, size_t count_max)
{
    uint64_t count = cursor_varint(cursor);
    if (count > count_max || count > cursor_left(cursor) / item_bytes) {
        cursor_fail(cursor);
        return 0;
    }
    return (size_t)count;
}

static void decode_lists(struct cursor *cursor, struct manifest *manifest)
{
    manifest->files_count = decode_count(cursor, 6, MANIFEST_FILES_MAX);
    manifest->files = mem_zeroed(manifest->files_count + 1, sizeof *manifest->files);
    for (size_t i = 0; i < manifest->files_count; i++) {
        manifest->files[i].number = cursor_u32(cursor);
        manifest->files[i].path = decode_span(cursor);
        manifest->files[i].dv = decode_span(cursor);
    }
    manifest->runs_count = decode_count(cursor, 12, MANIFEST_RUNS_MAX);
    manifest->runs = mem_zeroed(manifest->runs_count + 1, sizeof *manifest->runs);
    for (size_t i = 0; i < manifest->runs_count; i++) {
        manifest->runs[i].kind = cursor_u32(cursor);
        manifest->runs[i].id = cursor_u64(cursor);
    }
}

enum err_code manifest_decode(struct span bytes, struct manifest *manifest_out, struct err *err)
{
    if (bytes.size < 16) {
        return err_set(err, ERR_CORRUPT, "index manifest of %zu bytes", bytes.size);
    }
    CLEANUP(manifest_deinit) struct manifest manifest = {0};
    buffer_init(&manifest.memory, MANIFEST_BYTES_MAX);
    buffer_append_span(&manifest.memory, bytes);
    TRY(buffer_check(&manifest.memory, "index manifest", err));
    struct span body = span_of(manifest.memory.data, bytes.size - 8);
    struct cursor tail = cursor_of(span_of(bytes.data + bytes.size - 8, 8));
    struct cursor cursor = cursor_of(body);
    if (cursor_u64(&cursor) != MANIFEST_MAGIC || cursor_u64(&tail) != hash_checksum(body)) {
        return err_set(err, ERR_CORRUPT, "index manifest is damaged");
    }
    decode_text(&cursor, manifest.table.text, sizeof manifest.table.text);
    manifest.definition = cursor_u64(&cursor);
    manifest.version = (int64_t)cursor_u64(&cursor);
    manifest.next_file = cursor_u32(&cursor);
    manifest.next_run = cursor_u64(&cursor);
    decode_text(&cursor, manifest.mount, sizeof manifest.mount);
    decode_lists(&cursor, &manifest);
    TRY(cursor_check(&cursor, "index manifest", err));
    if (cursor_left(&cursor) != 0 || manifest.version < 0) {
        return err_set(err, ERR_CORRUPT, "index manifest is malformed");
    }
    *manifest_out = manifest;
    manifest = (struct manifest){0};
    return ERR_OK;
}

enum err_code manifest_write(const char *folder, const struct manifest *manifest, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, MANIFEST_BYTES_MAX);
    manifest_encode(manifest, &bytes);
    TRY(buffer_check(&bytes, "index manifest", err));
    CLEANUP(mem_cleanup) char *path = file_join(folder, MANIFEST_NAME);
    return file_replace_derived(path, buffer_span(&bytes), err);
}

enum err_code manifest_read(const char *folder, struct manifest *manifest_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, MANIFEST_BYTES_MAX);
    CLEANUP(mem_cleanup) char *path = file_join(folder, MANIFEST_NAME);
    TRY(file_read(path, &bytes, err));
    return manifest_decode(buffer_span(&bytes), manifest_out, err);
}
