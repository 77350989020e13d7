/*
 * Index runs: writing, opening, probing, merging. See index_run.h for the layout;
 * which runs a table has and when they are merged is index.c's business.
 */
#include "storage/snapshot/index_run.h"

#include "storage/base/mem.h"

#include <assert.h>

enum {
    ENTRIES_PER_BUCKET = 8, /* about, at most */
    FILTER_BLOCK_BYTES = 64,
    FILTER_BITS_PER_ENTRY = 10,
    FILTER_PROBES = 6,
    MERGE_CHUNK_ENTRIES = 4096, /* handed to the writer at a time */
    MERGE_RUNS_MAX = 64,
};

struct index_run *index_run_acquire(const struct index_run *run)
{
    struct index_run *shared = (struct index_run *)(uintptr_t)run; /* only the count changes */
    int before = __atomic_fetch_add(&shared->references, 1, __ATOMIC_RELAXED);
    assert(before > 0);
    return shared;
}

void index_run_release(struct index_run **run)
{
    struct index_run *released = *run;
    *run = NULL;
    if (released == NULL || __atomic_sub_fetch(&released->references, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    derived_deinit(&released->derived);
    mem_free(released);
}

void index_run_name(uint32_t kind, uint64_t id, char name_out[DERIVED_NAME_BYTES])
{
    (void)snprintf(name_out, DERIVED_NAME_BYTES, "run-%u-%llu.run", kind, (unsigned long long)id);
}

/* ---- filter ---- */

/* The directory uses the top bits of the hash; the filter must not see the same ones alone. */
static uint64_t filter_mix(uint64_t hash)
{
    hash ^= hash >> 33;
    hash *= UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 33;
    return hash;
}

static size_t filter_block(uint64_t mixed, size_t blocks)
{
    return (size_t)((unsigned __int128)mixed * blocks >> 64);
}

/* Bit `probe` of a hash within its block of 512. */
static unsigned filter_bit(uint64_t mixed, unsigned probe)
{
    uint64_t bits = mixed * UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(bits >> (9 * probe + 10)) & 511U;
}

static void filter_add(uint8_t *filter, size_t blocks, uint64_t hash)
{
    uint64_t mixed = filter_mix(hash);
    uint8_t *block = filter + filter_block(mixed, blocks) * FILTER_BLOCK_BYTES;
    for (unsigned i = 0; i < FILTER_PROBES; i++) {
        unsigned bit = filter_bit(mixed, i);
        block[bit >> 3] |= (uint8_t)(1U << (bit & 7));
    }
}

bool index_run_may_contain(const struct index_run *run, uint64_t hash)
{
    if (run->count == 0) {
        return false;
    }
    uint64_t mixed = filter_mix(hash);
    const uint8_t *block =
        run->filter + filter_block(mixed, run->filter_blocks) * FILTER_BLOCK_BYTES;
    for (unsigned i = 0; i < FILTER_PROBES; i++) {
        unsigned bit = filter_bit(mixed, i);
        if ((block[bit >> 3] >> (bit & 7) & 1) == 0) {
            return false;
        }
    }
    return true;
}

/* ---- writing ---- */

static size_t bucket_of(uint64_t hash, unsigned bits)
{
    return bits == 0 ? 0 : (size_t)(hash >> (64 - bits));
}

void index_run_writer_init(struct index_run_writer *writer, const char *folder, uint32_t kind,
                           uint64_t id, size_t count_max)
{
    assert(count_max <= INDEX_RUN_ENTRIES_MAX);
    *writer = (struct index_run_writer){.kind = kind, .id = id, .count_max = count_max};
    char name[DERIVED_NAME_BYTES];
    index_run_name(kind, id, name);
    derived_writer_init(&writer->file, folder, name);
    while (writer->directory_bits < INDEX_DIRECTORY_BITS_MAX &&
           ((size_t)ENTRIES_PER_BUCKET << writer->directory_bits) < count_max) {
        writer->directory_bits++;
    }
    size_t buckets = (size_t)1 << writer->directory_bits;
    writer->directory = mem_zeroed(buckets + 1, sizeof *writer->directory);
    writer->filter_blocks = count_max * FILTER_BITS_PER_ENTRY / (FILTER_BLOCK_BYTES * 8) + 1;
    writer->filter = mem_zeroed(writer->filter_blocks, FILTER_BLOCK_BYTES);
}

void index_run_writer_deinit(struct index_run_writer *writer)
{
    derived_writer_deinit(&writer->file);
    mem_free(writer->directory);
    mem_free(writer->filter);
    writer->directory = NULL;
    writer->filter = NULL;
}

enum err_code index_run_writer_append(struct index_run_writer *writer,
                                      const struct index_entry *entries, size_t count,
                                      struct err *err)
{
    assert(count <= writer->count_max - writer->count);
    for (size_t i = 0; i < count; i++) {
        assert(entries[i].hash >= writer->last_hash);
        writer->last_hash = entries[i].hash;
        size_t bucket = bucket_of(entries[i].hash, writer->directory_bits);
        while (writer->bucket <= bucket) {
            writer->directory[writer->bucket++] = (uint32_t)(writer->count + i);
        }
        filter_add(writer->filter, writer->filter_blocks, entries[i].hash);
    }
    writer->count += count;
    return derived_append(&writer->file, entries, count * sizeof *entries, err);
}

static size_t aligned(size_t offset)
{
    return (offset + 63) / 64 * 64;
}

/* Point into the body; every part lies where the numbers say. */
static void place_parts(struct index_run *run)
{
    const uint8_t *body = run->derived.body.data;
    size_t directory_at = aligned(run->count * sizeof *run->entries);
    size_t directory_bytes = (((size_t)1 << run->directory_bits) + 1) * sizeof *run->directory;
    run->entries = (const struct index_entry *)(const void *)body;
    run->directory = (const uint32_t *)(const void *)(body + directory_at);
    run->filter = body + aligned(directory_at + directory_bytes);
}

static struct index_run *run_new(struct derived *derived, uint32_t kind, uint64_t id)
{
    struct index_run *run = mem_zeroed(1, sizeof *run);
    run->kind = kind;
    run->id = id;
    run->references = 1;
    run->count = (size_t)derived->numbers[1];
    run->directory_bits = (unsigned)derived->numbers[2];
    run->filter_blocks = (size_t)derived->numbers[3];
    run->derived = *derived;
    place_parts(run);
    return run;
}

enum err_code index_run_writer_finish(struct index_run_writer *writer, struct index_run **run_out,
                                      struct err *err)
{
    size_t buckets = (size_t)1 << writer->directory_bits;
    while (writer->bucket <= buckets) {
        writer->directory[writer->bucket++] = (uint32_t)writer->count;
    }
    TRY(derived_align(&writer->file, 64, err));
    TRY(derived_append(&writer->file, writer->directory, (buckets + 1) * sizeof *writer->directory,
                       err));
    TRY(derived_align(&writer->file, 64, err));
    TRY(derived_append(&writer->file, writer->filter, writer->filter_blocks * FILTER_BLOCK_BYTES,
                       err));
    uint64_t numbers[DERIVED_NUMBERS] = {writer->kind, writer->count, writer->directory_bits,
                                         writer->filter_blocks};
    struct derived derived = {0};
    TRY(derived_finish(&writer->file, INDEX_RUN_MAGIC, numbers, &derived, err));
    *run_out = run_new(&derived, writer->kind, writer->id);
    return ERR_OK;
}

enum err_code index_run_build(const char *folder, uint32_t kind, uint64_t id,
                              const struct index_entry *entries, size_t count,
                              struct index_run **run_out, struct err *err)
{
    CLEANUP(index_run_writer_deinit) struct index_run_writer writer;
    index_run_writer_init(&writer, folder, kind, id, count);
    TRY(index_run_writer_append(&writer, entries, count, err));
    return index_run_writer_finish(&writer, run_out, err);
}

enum err_code index_run_store(struct index_run *run, const char *folder, struct err *err)
{
    char name[DERIVED_NAME_BYTES];
    index_run_name(run->kind, run->id, name);
    return derived_store(&run->derived, folder, name, err);
}

/* ---- opening ---- */

/* Do the parts fill the body exactly? */
static bool sizes_agree(const struct derived *derived)
{
    uint64_t count = derived->numbers[1];
    uint64_t bits = derived->numbers[2];
    uint64_t blocks = derived->numbers[3];
    if (count > INDEX_RUN_ENTRIES_MAX || bits > INDEX_DIRECTORY_BITS_MAX || blocks == 0 ||
        blocks > DERIVED_BODY_BYTES_MAX / FILTER_BLOCK_BYTES) {
        return false;
    }
    size_t directory_at = aligned((size_t)count * sizeof(struct index_entry));
    size_t filter_at = aligned(directory_at + (((size_t)1 << bits) + 1) * sizeof(uint32_t));
    return derived->body.size == filter_at + (size_t)blocks * FILTER_BLOCK_BYTES;
}

/* Are the entries in order, and does the directory say where each bucket of them starts? */
static bool order_holds(const struct index_run *run)
{
    size_t buckets = (size_t)1 << run->directory_bits;
    size_t bucket = 0;
    uint64_t before = 0;
    if (run->directory[0] != 0) {
        return false;
    }
    for (size_t i = 0; i < run->count; i++) {
        uint64_t hash = run->entries[i].hash;
        size_t own = bucket_of(hash, run->directory_bits);
        while (bucket < own) {
            bucket++;
            if (run->directory[bucket] != i) {
                return false;
            }
        }
        if (hash < before || own != bucket) {
            return false;
        }
        before = hash;
    }
    while (bucket < buckets) {
        bucket++;
        if (run->directory[bucket] != run->count) {
            return false;
        }
    }
    return true;
}

/* Takes `derived`. */
static enum err_code check_run(struct derived *derived, uint32_t kind, uint64_t id,
                               struct index_run **run_out, struct err *err)
{
    if (derived->numbers[0] != kind || !sizes_agree(derived)) {
        derived_deinit(derived);
        return err_set(err, ERR_CORRUPT, "index run: sizes do not agree");
    }
    struct index_run *run = run_new(derived, kind, id);
    if (!order_holds(run)) {
        index_run_release(&run);
        return err_set(err, ERR_CORRUPT, "index run: entries or directory out of order");
    }
    *run_out = run;
    return ERR_OK;
}

enum err_code index_run_open(const char *folder, uint32_t kind, uint64_t id,
                             struct index_run **run_out, struct err *err)
{
    char name[DERIVED_NAME_BYTES];
    index_run_name(kind, id, name);
    struct derived derived = {0};
    TRY(derived_open(folder, name, INDEX_RUN_MAGIC, true, &derived, err));
    return check_run(&derived, kind, id, run_out, err);
}

enum err_code index_run_decode(struct span file, uint32_t kind, struct index_run **run_out,
                               struct err *err)
{
    struct derived derived = {0};
    TRY(derived_decode(file, INDEX_RUN_MAGIC, true, &derived, err));
    return check_run(&derived, kind, 0, run_out, err);
}

/* ---- probing ---- */

const struct index_entry *index_run_find(const struct index_run *run, uint64_t hash,
                                         size_t *count_out)
{
    size_t bucket = bucket_of(hash, run->directory_bits);
    size_t end = run->directory[bucket + 1];
    size_t at = run->directory[bucket];
    while (end - at > ENTRIES_PER_BUCKET * 2) { /* many rows of one lookup value */
        size_t middle = at + (end - at) / 2;
        if (run->entries[middle].hash < hash) {
            at = middle + 1;
        } else if (middle > at && run->entries[middle - 1].hash >= hash) {
            end = middle;
        } else {
            at = middle;
            break;
        }
    }
    end = run->directory[bucket + 1];
    while (at < end && run->entries[at].hash < hash) {
        at++;
    }
    size_t count = 0;
    while (at + count < end && run->entries[at + count].hash == hash) {
        count++;
    }
    *count_out = count;
    return run->entries + at;
}

void index_run_prefetch_filter(const struct index_run *run, uint64_t hash)
{
    size_t block = filter_block(filter_mix(hash), run->filter_blocks);
    __builtin_prefetch(run->filter + block * FILTER_BLOCK_BYTES);
}

void index_run_prefetch_directory(const struct index_run *run, uint64_t hash)
{
    __builtin_prefetch(run->directory + bucket_of(hash, run->directory_bits));
}

void index_run_prefetch_entries(const struct index_run *run, uint64_t hash)
{
    const struct index_entry *entry =
        run->entries + run->directory[bucket_of(hash, run->directory_bits)];
    __builtin_prefetch(entry);
    __builtin_prefetch((const uint8_t *)entry + 64);
    __builtin_prefetch((const uint8_t *)entry + 128);
}

/* ---- merging ---- */

/* The order of entries as one number; beyond every entry (no file has UINT32_MAX rows): the end. */
#define MERGE_END (~(unsigned __int128)0)

struct merge_cursor {
    const struct index_entry *next;
    const struct index_entry *end;
};

/*
 * A tree of losers: `order[i]` for i from 1 is the cursor that lost there, order[0] the one with
 * the smallest entry. Entries of different runs come in no foreseeable order, so that each
 * branch on them would be missed half of the time: there are none.
 */
struct merge_tree {
    struct merge_cursor cursors[MERGE_RUNS_MAX];
    unsigned __int128 next[MERGE_RUNS_MAX]; /* of each cursor, as order_of says */
    unsigned order[MERGE_RUNS_MAX];
    unsigned leaves; /* a power of two */
};

static unsigned __int128 order_of(const struct merge_cursor *cursor)
{
    if (cursor->next == cursor->end) {
        return MERGE_END;
    }
    const struct index_entry *entry = cursor->next;
    return (unsigned __int128)entry->hash << 64 | (uint64_t)entry->file << 32 | entry->row;
}

/* Let `cursor` play from its leaf to the root. */
static void replay(struct merge_tree *tree, unsigned cursor)
{
    unsigned winner = cursor;
    unsigned __int128 best = tree->next[cursor];
    for (unsigned at = (cursor + tree->leaves) / 2; at > 0; at /= 2) {
        unsigned other = tree->order[at];
        unsigned __int128 others = tree->next[other];
        bool loses = others < best;
        unsigned mask = 0 - (unsigned)loses;
        tree->order[at] = (winner & mask) | (other & ~mask);
        winner = (other & mask) | (winner & ~mask);
        best = loses ? others : best;
    }
    tree->order[0] = winner;
}

static void merge_tree_init(struct merge_tree *tree, struct index_run *const *runs, size_t count)
{
    tree->leaves = 1;
    while (tree->leaves < count) {
        tree->leaves *= 2;
    }
    for (unsigned i = 0; i < tree->leaves; i++) {
        struct merge_cursor none = {0};
        tree->cursors[i] = none;
        if (i < count) {
            tree->cursors[i].next = runs[i]->entries;
            tree->cursors[i].end = runs[i]->entries + runs[i]->count;
        }
        tree->next[i] = order_of(&tree->cursors[i]);
    }
    /* Pairs play, then winners; `winners` is what a plain tree would hold. */
    unsigned winners[2 * MERGE_RUNS_MAX] = {0};
    for (unsigned i = 0; i < tree->leaves; i++) {
        winners[tree->leaves + i] = i;
    }
    for (unsigned at = tree->leaves - 1; at > 0; at--) {
        unsigned a = winners[2 * at];
        unsigned b = winners[2 * at + 1];
        bool b_wins = tree->next[b] < tree->next[a];
        winners[at] = b_wins ? b : a;
        tree->order[at] = b_wins ? a : b;
    }
    tree->order[0] = winners[1];
}

static enum err_code merge_into(struct index_run_writer *writer, struct merge_tree *tree,
                                index_alive_fn *alive, void *alive_self, struct err *err)
{
    CLEANUP(mem_cleanup)
    struct index_entry *chunk = mem_alloc(MERGE_CHUNK_ENTRIES * sizeof *chunk);
    size_t filled = 0;
    for (;;) {
        unsigned smallest = tree->order[0];
        bool ended = tree->next[smallest] == MERGE_END;
        if (ended || filled == MERGE_CHUNK_ENTRIES) {
            TRY(index_run_writer_append(writer, chunk, filled, err));
            filled = 0;
        }
        if (ended) {
            return ERR_OK;
        }
        struct merge_cursor *cursor = &tree->cursors[smallest];
        const struct index_entry *entry = cursor->next++;
        tree->next[smallest] = order_of(cursor);
        replay(tree, smallest);
        if (alive == NULL || alive(alive_self, entry)) {
            chunk[filled++] = *entry;
        }
    }
}

enum err_code index_runs_merge(const char *folder, uint64_t id, struct index_run *const *runs,
                               size_t count, index_alive_fn *alive, void *alive_self,
                               struct index_run **run_out, struct err *err)
{
    assert(count > 0);
    assert(count <= MERGE_RUNS_MAX);
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        assert(runs[i]->kind == runs[0]->kind);
        total += runs[i]->count;
    }
    if (total > INDEX_RUN_ENTRIES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "index of %zu entries; a run holds %zu", total,
                       INDEX_RUN_ENTRIES_MAX);
    }
    CLEANUP(index_run_writer_deinit) struct index_run_writer writer;
    index_run_writer_init(&writer, folder, runs[0]->kind, id, total);
    struct merge_tree tree;
    merge_tree_init(&tree, runs, count);
    TRY(merge_into(&writer, &tree, alive, alive_self, err));
    return index_run_writer_finish(&writer, run_out, err);
}
