/*
 * Lists of live files, snapshots and the published pointer. See files.h.
 */
#include "storage/snapshot/files.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/delta/deletion_vector.h"
#include "storage/object/object.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/index.h"

#include <assert.h>

/* ---- shared owners ---- */

struct store_owner *store_owner_new(struct object_store **store)
{
    struct store_owner *owner = mem_zeroed(1, sizeof *owner);
    owner->store = *store;
    owner->references = 1;
    lock_init(&owner->lock, LOCK_RANK_IN_USE);
    *store = NULL;
    return owner;
}

struct store_owner *store_owner_acquire(struct store_owner *owner)
{
    int before = __atomic_fetch_add(&owner->references, 1, __ATOMIC_RELAXED);
    assert(before > 0);
    return owner;
}

void store_owner_release(struct store_owner **owner)
{
    struct store_owner *released = *owner;
    *owner = NULL;
    if (released == NULL || __atomic_sub_fetch(&released->references, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    assert(released->used == NULL);
    lock_deinit(&released->lock);
    object_store_close(&released->store);
    mem_free(released);
}

struct shared_vector *shared_vector_new(struct deletion_vector **vector)
{
    struct shared_vector *shared = mem_zeroed(1, sizeof *shared);
    shared->vector = *vector;
    shared->references = 1;
    *vector = NULL;
    return shared;
}

struct shared_vector *shared_vector_acquire(struct shared_vector *vector)
{
    int before = __atomic_fetch_add(&vector->references, 1, __ATOMIC_RELAXED);
    assert(before > 0);
    return vector;
}

void shared_vector_release(struct shared_vector **shared)
{
    struct shared_vector *released = *shared;
    *shared = NULL;
    if (released == NULL || __atomic_sub_fetch(&released->references, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    deletion_vector_free(&released->vector);
    mem_free(released);
}

/* ---- lists of files ---- */

static void release_file(struct snapshot_file *file)
{
    struct images *images = (struct images *)(uintptr_t)file->images; /* our reference */
    images_release(&images);
    shared_vector_release(&file->vector);
    delta_file_release(&file->file);
    *file = (struct snapshot_file){0};
}

void file_list_deinit(struct file_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        release_file(&list->items[i]);
    }
    mem_free(list->items);
    *list = (struct file_list){0};
}

void file_list_copy(struct file_list *list, const struct snapshot *snapshot)
{
    *list = (struct file_list){.capacity = snapshot->files_count + 8};
    list->items = mem_zeroed(list->capacity, sizeof *list->items);
    for (size_t i = 0; i < snapshot->files_count; i++) {
        struct snapshot_file *item = &list->items[list->count++];
        *item = snapshot->files[i];
        (void)delta_file_acquire(item->file); /* the same pointer, one more owner */
        if (item->images != NULL) {
            (void)images_acquire(item->images); /* likewise */
        }
        if (item->vector != NULL) {
            (void)shared_vector_acquire(item->vector); /* likewise */
        }
    }
}

int64_t file_position(const struct delta_file *file)
{
    int64_t position = 0;
    const char *tag = delta_file_tag(file, TAG_POSITION);
    if (tag == NULL || !text_parse_int64(span_of_text(tag), &position)) {
        return 0;
    }
    return position;
}

/* Room for one more item in its place by number; items without a number keep their order. */
static struct snapshot_file *new_item(struct file_list *list, uint32_t number)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        list->items = mem_resize(list->items, list->capacity, sizeof *list->items);
    }
    size_t at = list->count++;
    for (; at > 0 && list->items[at - 1].number > number; at--) {
        list->items[at] = list->items[at - 1];
    }
    assert(number == 0 || at == 0 || list->items[at - 1].number < number);
    return &list->items[at];
}

void file_list_add(struct file_list *list, uint32_t number, const struct delta_file *file,
                   struct images **images, struct shared_vector **vector)
{
    struct snapshot_file *item = new_item(list, number);
    *item = (struct snapshot_file){.number = number,
                                   .file = delta_file_acquire(file),
                                   .images = *images,
                                   .vector = *vector,
                                   .dv = *vector == NULL ? NULL : (*vector)->vector,
                                   .position = file_position(file)};
    item->rows_count = file->rows_count;
    if (item->rows_count < 0 && item->images != NULL) {
        item->rows_count = item->images->rows_count; /* a foreign file without statistics */
    }
    *images = NULL;
    *vector = NULL;
}

static size_t index_of_number(const struct snapshot_file *items, size_t count, uint32_t number)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (items[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct snapshot_file *file_list_find(struct file_list *list, uint32_t number)
{
    size_t at = index_of_number(list->items, list->count, number);
    return at < list->count && list->items[at].number == number ? &list->items[at] : NULL;
}

void file_list_remove(struct file_list *list, uint32_t number)
{
    struct snapshot_file *item = file_list_find(list, number);
    assert(item != NULL);
    release_file(item);
    size_t at = (size_t)(item - list->items);
    memmove(item, item + 1, (list->count - at - 1) * sizeof *item);
    list->count--;
}

void file_list_set_vector(struct file_list *list, uint32_t number, const struct delta_file *file,
                          struct shared_vector **vector)
{
    struct snapshot_file *item = file_list_find(list, number);
    assert(item != NULL);
    delta_file_release(&item->file);
    item->file = delta_file_acquire(file);
    shared_vector_release(&item->vector);
    item->vector = *vector;
    item->dv = *vector == NULL ? NULL : (*vector)->vector;
    *vector = NULL;
}

/* ---- snapshots ---- */

/* While it is published a snapshot's own count is this much higher, so that it cannot reach zero.
 */
#define PUBLISHED_BIAS ((int64_t)1 << 40)

/* ---- snapshots in use ---- */

static void enter_use(struct snapshot *snapshot)
{
    struct store_owner *owner = snapshot->owner;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&owner->lock);
    snapshot->next = owner->used;
    snapshot->place = &owner->used;
    if (owner->used != NULL) {
        owner->used->place = &snapshot->next;
    }
    owner->used = snapshot;
}

static void leave_use(struct snapshot *snapshot)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&snapshot->owner->lock);
    *snapshot->place = snapshot->next;
    if (snapshot->next != NULL) {
        snapshot->next->place = snapshot->place;
    }
}

/* One more reference, unless the last one was given up already. */
static bool acquire_used(struct snapshot *snapshot)
{
    int64_t count = __atomic_load_n(&snapshot->references, __ATOMIC_RELAXED);
    while (count > 0) {
        if (__atomic_compare_exchange_n(&snapshot->references, &count, count + 1, true,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            return true;
        }
    }
    return false;
}

void store_owner_snapshots(struct store_owner *owner, const struct snapshot ***snapshots_out,
                           size_t *count_out)
{
    const struct snapshot **snapshots = NULL;
    size_t count = 0;
    size_t capacity = 0;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&owner->lock);
    for (struct snapshot *used = owner->used; used != NULL; used = used->next) {
        if (count == capacity) {
            capacity = capacity * 2 + 8;
            snapshots = mem_resize((void *)snapshots, capacity, sizeof *snapshots);
        }
        if (acquire_used(used)) {
            snapshots[count++] = used;
        }
    }
    *snapshots_out = snapshots;
    *count_out = count;
}

struct snapshot *snapshot_new(const struct snapshot_parts *parts)
{
    struct snapshot *snapshot = mem_zeroed(1, sizeof *snapshot);
    snapshot->table = *parts->table;
    snapshot->version = parts->state->version;
    snapshot->timestamp_ms = parts->state->timestamp_ms;
    snapshot->schema = schema_acquire(parts->schema);
    snapshot->state = delta_state_acquire(parts->state);
    snapshot->owner = store_owner_acquire(parts->owner);
    snapshot->store = parts->owner->store;
    snapshot->index = parts->view == NULL ? NULL : index_view_acquire(parts->view);
    snapshot->files = parts->files->items;
    snapshot->files_count = parts->files->count;
    snapshot->references = 1;
    *parts->files = (struct file_list){0};
    enter_use(snapshot);
    return snapshot;
}

static void snapshot_free(struct snapshot *snapshot)
{
    leave_use(snapshot);
    struct file_list files = {.items = (struct snapshot_file *)(uintptr_t)snapshot->files,
                              .count = snapshot->files_count};
    file_list_deinit(&files);
    struct index_view *view = (struct index_view *)(uintptr_t)snapshot->index; /* our reference */
    index_view_release(&view);
    struct delta_state *state = (struct delta_state *)(uintptr_t)snapshot->state; /* likewise */
    delta_state_release(&state);
    struct schema *schema = (struct schema *)(uintptr_t)snapshot->schema; /* likewise */
    schema_release(&schema);
    store_owner_release(&snapshot->owner);
    mem_free(snapshot);
}

static void add_references(struct snapshot *snapshot, int64_t count)
{
    if (__atomic_add_fetch(&snapshot->references, count, __ATOMIC_ACQ_REL) == 0) {
        snapshot_free(snapshot);
    }
}

const struct snapshot *snapshot_acquire(const struct snapshot *snapshot)
{
    struct snapshot *shared = (struct snapshot *)(uintptr_t)snapshot;   /* only the count changes */
    (void)__atomic_fetch_add(&shared->references, 1, __ATOMIC_RELAXED); /* the caller holds one */
    return snapshot;
}

void snapshot_release(const struct snapshot **snapshot)
{
    if (*snapshot != NULL) {
        add_references((struct snapshot *)(uintptr_t)*snapshot, -1);
        *snapshot = NULL;
    }
}

const struct snapshot_file *snapshot_file_by_number(const struct snapshot *snapshot,
                                                    uint32_t number)
{
    size_t at = index_of_number(snapshot->files, snapshot->files_count, number);
    if (number == 0 || at == snapshot->files_count || snapshot->files[at].number != number) {
        return NULL;
    }
    return &snapshot->files[at];
}

int64_t snapshot_rows_count(const struct snapshot *snapshot)
{
    return snapshot->state->rows_count;
}

bool snapshot_entry_is_alive(const struct snapshot *snapshot, const struct index_entry *entry,
                             const struct snapshot_file **file_out)
{
    const struct snapshot_file *file = snapshot_file_by_number(snapshot, entry->file);
    if (file == NULL || (file->rows_count >= 0 && entry->row >= file->rows_count)) {
        return false;
    }
    if (file->dv != NULL && deletion_vector_contains(file->dv, entry->row)) {
        return false;
    }
    *file_out = file;
    return true;
}

/* ---- the published pointer ---- */

/* Addresses are 48 bits at most and multiples of 16: 44 bits, which leaves 20 for the count. */
enum { COUNT_BITS = 20, ADDRESS_SHIFT = 4 };
#define COUNT_MASK (((uint64_t)1 << COUNT_BITS) - 1)
#define COUNT_HIGH ((uint64_t)1 << (COUNT_BITS - 1)) /* hand over before the count overflows */

static uint64_t word_of(const struct snapshot *snapshot)
{
    uint64_t address = (uint64_t)(uintptr_t)snapshot;
    assert((address & ((1U << ADDRESS_SHIFT) - 1)) == 0);
    assert(address >> (64 - COUNT_BITS + ADDRESS_SHIFT) == 0);
    return address >> ADDRESS_SHIFT << COUNT_BITS;
}

static struct snapshot *snapshot_of(uint64_t word)
{
    return (struct snapshot *)(uintptr_t)(word >> COUNT_BITS << ADDRESS_SHIFT);
}

void published_init(struct published *published, struct snapshot *snapshot)
{
    snapshot->references += PUBLISHED_BIAS - 1;
    __atomic_store_n(&published->word, word_of(snapshot), __ATOMIC_RELEASE);
}

/* Move the references counted in the word to the snapshot. The caller holds one of them. */
static void hand_over(struct published *published, uint64_t word)
{
    struct snapshot *snapshot = snapshot_of(word);
    int64_t count = (int64_t)(word & COUNT_MASK);
    /* Added first: for a moment they count twice, never less than they are. */
    add_references(snapshot, count);
    uint64_t expected = word;
    if (!__atomic_compare_exchange_n(&published->word, &expected, word & ~COUNT_MASK, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        add_references(snapshot, -count);
    }
}

const struct snapshot *published_acquire(struct published *published)
{
    uint64_t word = __atomic_add_fetch(&published->word, 1, __ATOMIC_ACQ_REL);
    if ((word & COUNT_MASK) >= COUNT_HIGH) {
        hand_over(published, word);
    }
    return snapshot_of(word);
}

void published_replace(struct published *published, struct snapshot *snapshot)
{
    uint64_t next = 0;
    if (snapshot != NULL) {
        snapshot->references += PUBLISHED_BIAS - 1;
        next = word_of(snapshot);
    }
    uint64_t word = __atomic_exchange_n(&published->word, next, __ATOMIC_ACQ_REL);
    if (snapshot_of(word) != NULL) {
        add_references(snapshot_of(word), (int64_t)(word & COUNT_MASK) - PUBLISHED_BIAS);
    }
}

bool published_is_empty(const struct published *published)
{
    return snapshot_of(__atomic_load_n(&published->word, __ATOMIC_ACQUIRE)) == NULL;
}

void published_deinit(struct published *published)
{
    published_replace(published, NULL);
}
