/*
 * The tombstone set and its files. See tombstones.h.
 */
#include "storage/snapshot/tombstones.h"

#include "storage/base/cursor.h"
#include "storage/base/id.h"
#include "storage/base/mem.h"
#include "storage/object/object.h"

#include <assert.h>

enum {
    SLOTS_FIRST = 64,
    HEADER_BYTES = 16,
    COUNT_AT = 12, /* offset of the count in the header */
};
#define KEYS_BYTES_MAX ((size_t)8 << 30)
#define TOMBSTONES_MAGIC UINT64_C(0x31424d4f544c5553) /* "SULTOMB1" */

struct tombstone_slot {
    uint64_t hash;
    int64_t sequence;
    int64_t position;
    int64_t deleted_us;
    size_t key_at; /* in `keys` */
    uint32_t key_size;
    bool used;
};

void tombstones_init(struct tombstones *tombstones, const uint8_t hash_key[HASH_KEY_BYTES])
{
    *tombstones = (struct tombstones){0};
    memcpy(tombstones->hash_key, hash_key, HASH_KEY_BYTES);
    buffer_init(&tombstones->keys, KEYS_BYTES_MAX);
}

void tombstones_deinit(struct tombstones *tombstones)
{
    mem_free(tombstones->slots);
    mem_free(tombstones->files);
    buffer_deinit(&tombstones->keys);
    *tombstones = (struct tombstones){0};
}

size_t tombstones_count(const struct tombstones *tombstones)
{
    return tombstones->used;
}

/* ---- the set ---- */

static struct span slot_key(const struct tombstones *tombstones, const struct tombstone_slot *slot)
{
    if (slot->key_size == 0) {
        return (struct span){0}; /* there may be no bytes of keys at all */
    }
    return span_of(tombstones->keys.data + slot->key_at, slot->key_size);
}

/* The slot of the key, or the free one where it belongs. */
static struct tombstone_slot *slot_for(const struct tombstones *tombstones, uint64_t hash,
                                       struct span key)
{
    size_t mask = tombstones->slots_count - 1;
    for (size_t at = (size_t)hash & mask;; at = (at + 1) & mask) {
        struct tombstone_slot *slot = &tombstones->slots[at];
        if (!slot->used || (slot->hash == hash && span_equal(slot_key(tombstones, slot), key))) {
            return slot;
        }
    }
}

static struct tombstone slot_value(const struct tombstones *tombstones,
                                   const struct tombstone_slot *slot)
{
    return (struct tombstone){.sequence = slot->sequence,
                              .position = slot->position,
                              .deleted_us = slot->deleted_us,
                              .key = slot_key(tombstones, slot)};
}

bool tombstones_find(const struct tombstones *tombstones, uint64_t hash, struct span key,
                     struct tombstone *tombstone_out)
{
    if (tombstones->used == 0) {
        return false;
    }
    const struct tombstone_slot *slot = slot_for(tombstones, hash, key);
    if (!slot->used) {
        return false;
    }
    *tombstone_out = slot_value(tombstones, slot);
    return true;
}

static void grow(struct tombstones *tombstones)
{
    struct tombstone_slot *old = tombstones->slots;
    size_t old_count = tombstones->slots_count;
    tombstones->slots_count = old_count == 0 ? SLOTS_FIRST : old_count * 2;
    tombstones->slots = mem_zeroed(tombstones->slots_count, sizeof *tombstones->slots);
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].used) {
            *slot_for(tombstones, old[i].hash, slot_key(tombstones, &old[i])) = old[i];
        }
    }
    mem_free(old);
}

void tombstones_put(struct tombstones *tombstones, uint64_t hash, const struct tombstone *tombstone)
{
    if (tombstones->used * 2 >= tombstones->slots_count) {
        grow(tombstones);
    }
    struct tombstone_slot *slot = slot_for(tombstones, hash, tombstone->key);
    if (!slot->used) {
        slot->used = true;
        slot->hash = hash;
        slot->key_at = tombstones->keys.size;
        slot->key_size = (uint32_t)tombstone->key.size;
        buffer_append_span(&tombstones->keys, tombstone->key);
        assert(!tombstones->keys.overflowed);
        tombstones->used++;
    }
    slot->sequence = tombstone->sequence;
    slot->position = tombstone->position;
    slot->deleted_us = tombstone->deleted_us;
}

bool tombstones_next(const struct tombstones *tombstones, size_t *position,
                     struct tombstone *tombstone_out)
{
    while (*position < tombstones->slots_count) {
        const struct tombstone_slot *slot = &tombstones->slots[(*position)++];
        if (slot->used) {
            *tombstone_out = slot_value(tombstones, slot);
            return true;
        }
    }
    return false;
}

void tombstones_expire(struct tombstones *tombstones, int64_t before_us)
{
    struct tombstones kept;
    tombstones_init(&kept, tombstones->hash_key);
    for (size_t i = 0; i < tombstones->slots_count; i++) {
        const struct tombstone_slot *slot = &tombstones->slots[i];
        if (slot->used && slot->deleted_us >= before_us) {
            struct tombstone tombstone = slot_value(tombstones, slot);
            tombstones_put(&kept, slot->hash, &tombstone);
        }
    }
    kept.files = mem_zeroed(tombstones->files_count + 1, sizeof *kept.files);
    for (size_t i = 0; i < tombstones->files_count; i++) {
        if (tombstones->files[i].newest_us >= before_us) {
            kept.files[kept.files_count++] = tombstones->files[i];
        }
    }
    tombstones_deinit(tombstones);
    *tombstones = kept;
}

/* ---- the codec ---- */

void tombstones_encode_begin(struct buffer *bytes)
{
    buffer_append_u64(bytes, TOMBSTONES_MAGIC);
    buffer_append_u32(bytes, 0); /* encryption key id */
    buffer_append_u32(bytes, 0); /* count, set at the end */
}

void tombstones_encode_record(const struct tombstone *tombstone, struct buffer *bytes)
{
    buffer_append_u64(bytes, (uint64_t)tombstone->sequence);
    buffer_append_u64(bytes, (uint64_t)tombstone->position);
    buffer_append_u64(bytes, (uint64_t)tombstone->deleted_us);
    buffer_append_varint(bytes, tombstone->key.size);
    buffer_append_span(bytes, tombstone->key);
}

void tombstones_encode_end(size_t count, struct buffer *bytes)
{
    assert(count <= UINT32_MAX);
    if (bytes->overflowed) {
        return; /* the caller's buffer_check reports it */
    }
    uint32_t stored = (uint32_t)count;
    memcpy(bytes->data + COUNT_AT, &stored, sizeof stored);
    buffer_append_u64(bytes, hash_checksum(buffer_span(bytes)));
}

enum err_code tombstones_decode(struct span bytes, tombstone_take_fn *take, void *self,
                                struct err *err)
{
    if (bytes.size < HEADER_BYTES + 8) {
        return err_set(err, ERR_CORRUPT, "tombstone file of %zu bytes", bytes.size);
    }
    struct cursor cursor = cursor_of(span_of(bytes.data, bytes.size - 8));
    struct cursor tail = cursor_of(span_of(bytes.data + bytes.size - 8, 8));
    uint64_t magic = cursor_u64(&cursor);
    uint32_t key_id = cursor_u32(&cursor);
    uint32_t count = cursor_u32(&cursor);
    if (magic != TOMBSTONES_MAGIC ||
        cursor_u64(&tail) != hash_checksum(span_of(cursor.data, cursor.size))) {
        return err_set(err, ERR_CORRUPT, "tombstone file is damaged");
    }
    if (key_id != 0) {
        return err_set(err, ERR_UNSUPPORTED, "tombstone file is encrypted with key %u", key_id);
    }
    for (uint32_t i = 0; i < count && !cursor.failed; i++) {
        struct tombstone tombstone = {.sequence = (int64_t)cursor_u64(&cursor),
                                      .position = (int64_t)cursor_u64(&cursor),
                                      .deleted_us = (int64_t)cursor_u64(&cursor)};
        uint64_t key_size = cursor_varint(&cursor);
        tombstone.key = cursor_bytes(&cursor, (size_t)key_size);
        if (!cursor.failed && take != NULL) {
            take(self, &tombstone);
        }
    }
    TRY(cursor_check(&cursor, "tombstone file", err));
    if (cursor_left(&cursor) != 0) {
        return err_set(err, ERR_CORRUPT, "tombstone file has more bytes than records");
    }
    return ERR_OK;
}

/* ---- files ---- */

void tombstones_change_deinit(struct tombstones_change *change)
{
    mem_free(change->files);
    *change = (struct tombstones_change){0};
}

/* Copies the records of a file that is taken in. */
struct folder_in {
    struct buffer *bytes;
    size_t count;
    int64_t before_us;
    int64_t newest_us;
};

static void fold_record(void *self, const struct tombstone *tombstone)
{
    struct folder_in *fold = self;
    if (tombstone->deleted_us < fold->before_us) {
        return;
    }
    tombstones_encode_record(tombstone, fold->bytes);
    fold->count++;
    if (tombstone->deleted_us > fold->newest_us) {
        fold->newest_us = tombstone->deleted_us;
    }
}

static enum err_code fold_file(struct folder_in *fold, struct object_store *store, const char *name,
                               struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer contents;
    buffer_init(&contents, TOMBSTONE_FILE_BYTES_MAX);
    if (object_get(store, name, &contents, err) != ERR_OK ||
        tombstones_decode(buffer_span(&contents), fold_record, fold, err) != ERR_OK) {
        return err_wrap(err, "%s", name);
    }
    return ERR_OK;
}

/* How many of the oldest files stay as they are; the others are taken in. */
static size_t files_kept(const struct tombstones_change *change, size_t added_count)
{
    size_t kept = change->files_count;
    size_t sum = added_count;
    while (kept > 0 && (change->files[kept - 1].count <= sum || kept >= TOMBSTONE_FILES_MAX)) {
        sum += change->files[--kept].count;
    }
    return kept;
}

static enum err_code write_file(struct tombstones_change *change, struct object_store *store,
                                const struct tombstone *added, size_t added_count,
                                int64_t before_us, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, TOMBSTONE_FILE_BYTES_MAX);
    tombstones_encode_begin(&bytes);
    struct folder_in fold = {.bytes = &bytes, .before_us = before_us};
    size_t kept = files_kept(change, added_count);
    for (size_t i = kept; i < change->files_count; i++) {
        TRY(fold_file(&fold, store, change->files[i].name, err));
    }
    for (size_t i = 0; i < added_count; i++) {
        fold_record(&fold, &added[i]);
    }
    tombstones_encode_end(fold.count, &bytes);
    TRY(buffer_check(&bytes, "tombstones", err));
    struct tombstone_file file = {.count = fold.count, .newest_us = fold.newest_us};
    struct id id = id_new_ordered();
    (void)snprintf(file.name, sizeof file.name, TABLE_PRIVATE_FOLDER "/tombstones-%s.bin", id.text);
    TRY(object_put(store, file.name, buffer_span(&bytes), err));
    change->files[kept] = file;
    change->files_count = kept + 1;
    return ERR_OK;
}

enum err_code tombstones_write(const struct tombstones *tombstones, struct object_store *store,
                               const struct tombstone *added, size_t added_count, int64_t before_us,
                               struct tombstones_change *change_out, bool *written_out,
                               struct err *err)
{
    CLEANUP(tombstones_change_deinit) struct tombstones_change change = {0};
    change.files = mem_zeroed(tombstones->files_count + 1, sizeof *change.files);
    for (size_t i = 0; i < tombstones->files_count; i++) {
        if (tombstones->files[i].newest_us >= before_us) {
            change.files[change.files_count++] = tombstones->files[i];
        }
    }
    if (added_count > 0) {
        TRY(write_file(&change, store, added, added_count, before_us, err));
    }
    *written_out = added_count > 0;
    *change_out = change;
    change = (struct tombstones_change){0};
    return ERR_OK;
}

void tombstones_apply(struct tombstones *tombstones, struct tombstones_change *change,
                      const struct tombstone *added, const uint64_t *hashes, size_t added_count)
{
    for (size_t i = 0; i < added_count; i++) {
        tombstones_put(tombstones, hashes[i], &added[i]);
    }
    mem_free(tombstones->files);
    tombstones->files = change->files;
    tombstones->files_count = change->files_count;
    *change = (struct tombstones_change){0};
}

/* Puts the records of a loaded file into the set. */
struct loader {
    struct tombstones *tombstones;
    struct tombstone_file *file;
    int64_t before_us;
};

static void load_record(void *self, const struct tombstone *tombstone)
{
    struct loader *loader = self;
    loader->file->count++;
    if (tombstone->deleted_us > loader->file->newest_us) {
        loader->file->newest_us = tombstone->deleted_us;
    }
    if (tombstone->deleted_us >= loader->before_us) {
        uint64_t hash = hash_keyed(loader->tombstones->hash_key, tombstone->key);
        tombstones_put(loader->tombstones, hash, tombstone);
    }
}

enum err_code tombstones_load(struct tombstones *tombstones, struct object_store *store,
                              const char *const *names, size_t count, int64_t before_us,
                              struct err *err)
{
    mem_free(tombstones->files);
    tombstones->files = mem_zeroed(count + 1, sizeof *tombstones->files);
    tombstones->files_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct tombstone_file *file = &tombstones->files[i];
        (void)snprintf(file->name, sizeof file->name, "%s", names[i]); /* checked by the caller */
        CLEANUP(buffer_deinit) struct buffer contents;
        buffer_init(&contents, TOMBSTONE_FILE_BYTES_MAX);
        struct loader loader = {.tombstones = tombstones, .file = file, .before_us = before_us};
        if (object_get(store, names[i], &contents, err) != ERR_OK ||
            tombstones_decode(buffer_span(&contents), load_record, &loader, err) != ERR_OK) {
            return err_wrap(err, "%s", names[i]);
        }
        tombstones->files_count = i + 1;
    }
    return ERR_OK;
}
