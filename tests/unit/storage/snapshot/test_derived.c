/*
 * Derived files and what is in them: runs, images, the manifest; and tombstones.
 */
#include "storage/snapshot/derived.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/object/object.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/index_run.h"
#include "storage/snapshot/manifest.h"
#include "storage/snapshot/tombstones.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/storage/snapshot/fixture.h"

#include <criterion/criterion.h>

static uint64_t mix(uint64_t value)
{
    value *= UINT64_C(0x9e3779b97f4a7c15);
    return value ^ value >> 29;
}

static struct index_entry *random_entries(size_t count, uint64_t seed, uint64_t hashes)
{
    struct index_entry *entries = mem_zeroed(count + 1, sizeof *entries);
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = mix(mix(i * 31 + seed) % hashes + 1);
        entries[i] = (struct index_entry){.hash = hash,
                                          .sequence = (int64_t)(i * 3),
                                          .file = (uint32_t)(seed + i % 5),
                                          .row = (uint32_t)i};
    }
    index_entries_sort(entries, count);
    return entries;
}

/* Every hash is found with all of its entries, at sizes around the steps of the layout. */
Test(derived, runs_find_what_they_hold)
{
    static const size_t counts[] = {0, 1, 2, 7, 8, 9, 31, 32, 33, 1000, 2048, 40000};
    static const uint64_t spreads[] = {1, 3, 1000, UINT64_MAX};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        for (size_t s = 0; s < sizeof spreads / sizeof spreads[0]; s++) {
            size_t count = counts[c];
            struct index_entry *entries = random_entries(count, c, spreads[s]);
            struct err err = {0};
            struct index_run *run = NULL;
            cr_assert(index_run_build(NULL, 0, 1, entries, count, &run, &err) == ERR_OK);
            for (size_t i = 0; i < count;) {
                size_t same = 1;
                while (i + same < count && entries[i + same].hash == entries[i].hash) {
                    same++;
                }
                size_t found = 0;
                cr_assert(index_run_may_contain(run, entries[i].hash));
                const struct index_entry *first = index_run_find(run, entries[i].hash, &found);
                cr_assert_eq(found, same, "%zu of %zu entries, spread %zu", found, same, s);
                cr_assert(memcmp(first, &entries[i], same * sizeof *first) == 0);
                i += same;
            }
            index_run_release(&run);
            mem_free(entries);
        }
    }
}

Test(derived, filters_let_few_strangers_pass)
{
    struct index_entry *entries = random_entries(100000, 1, UINT64_MAX);
    struct err err = {0};
    struct index_run *run = NULL;
    cr_assert(index_run_build(NULL, 0, 1, entries, 100000, &run, &err) == ERR_OK);
    size_t passed = 0;
    size_t found = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t stranger = mix(mix(i + 77777777));
        size_t count = 0;
        passed += index_run_may_contain(run, stranger);
        (void)index_run_find(run, stranger, &count); /* only how many */
        found += count;
    }
    cr_expect(passed < 3000, "%zu of 100000 strangers pass", passed);
    cr_expect_eq(found, 0);
    index_run_release(&run);
    mem_free(entries);
}

static bool is_even(void *self, const struct index_entry *entry)
{
    (void)self; /* needs nothing */
    return entry->row % 2 == 0;
}

/* Runs of many sizes, empty ones among them, and hashes that several of them have. */
static void expect_merged(size_t runs_count)
{
    struct index_run *runs[40];
    struct index_entry *all = mem_zeroed(runs_count * 600 + 1, sizeof *all);
    struct err err = {0};
    size_t living = 0;
    for (size_t i = 0; i < runs_count; i++) {
        size_t count = mix(runs_count * 100 + i) % 4 * 199;
        struct index_entry *entries = random_entries(count, i * 100, 500);
        cr_assert(index_run_build(NULL, 2, i, entries, count, &runs[i], &err) == ERR_OK);
        for (size_t j = 0; j < count; j++) {
            all[living] = entries[j];
            living += is_even(NULL, &entries[j]);
        }
        mem_free(entries);
    }
    index_entries_sort(all, living);
    struct index_run *merged = NULL;
    cr_assert(index_runs_merge(NULL, 9, runs, runs_count, is_even, NULL, &merged, &err) == ERR_OK);
    cr_assert_eq(merged->count, living, "%zu runs: %zu of %zu", runs_count, merged->count, living);
    cr_assert(living == 0 || memcmp(merged->entries, all, living * sizeof *all) == 0, "%zu runs",
              runs_count);
    index_run_release(&merged);
    for (size_t i = 0; i < runs_count; i++) {
        index_run_release(&runs[i]);
    }
    mem_free(all);
}

Test(derived, merged_runs_hold_the_living_of_all)
{
    for (size_t count = 1; count <= 40; count++) {
        expect_merged(count);
    }
}

/* A body over DERIVED_STREAM_BYTES is streamed; every byte of it is checked. */
Test(derived, large_bodies_are_streamed_and_checked)
{
    struct temp_dir dir = temp_dir_make();
    struct err err = {0};
    struct derived_writer writer;
    derived_writer_init(&writer, dir.path, "large");
    uint64_t words[1024];
    for (uint64_t i = 0; i < 2500; i++) {
        for (uint64_t j = 0; j < 1024; j++) {
            words[j] = mix(i * 1024 + j);
        }
        cr_assert(derived_append(&writer, words, sizeof words, &err) == ERR_OK, "%s", err.msg);
    }
    cr_assert(derived_append(&writer, "tail", 4, &err) == ERR_OK);
    const uint64_t numbers[DERIVED_NUMBERS] = {1, 2, 3, 4};
    struct derived derived = {0};
    cr_assert(derived_finish(&writer, 42, numbers, &derived, &err) == ERR_OK, "%s", err.msg);
    cr_expect(derived.stored);
    cr_expect_eq(derived.body.size, sizeof words * 2500 + 4);
    derived_writer_deinit(&writer);
    derived_deinit(&derived);
    cr_assert(derived_open(dir.path, "large", 42, true, &derived, &err) == ERR_OK, "%s", err.msg);
    cr_expect_eq(derived.numbers[3], 4);
    derived_deinit(&derived);
    cr_expect(derived_open(dir.path, "large", 43, true, &derived, &err) == ERR_CORRUPT);
    CLEANUP(mem_cleanup) char *path = file_join(dir.path, "large");
    struct buffer bytes;
    buffer_init(&bytes, 64 << 20);
    cr_assert(file_read(path, &bytes, &err) == ERR_OK);
    static const size_t places[] = {0, 8 << 20, 19 << 20};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        bytes.data[places[i]] ^= 1;
        cr_expect(derived_decode(buffer_span(&bytes), 42, true, &derived, &err) == ERR_CORRUPT);
        cr_expect(derived_decode(buffer_span(&bytes), 42, false, &derived, &err) == ERR_OK);
        bytes.data[places[i]] ^= 1;
    }
    buffer_deinit(&bytes);
    temp_dir_remove(&dir);
}

/* ---- every byte of a file matters ---- */

typedef enum err_code decode_fn(struct span bytes, struct err *err);

static enum err_code decode_run(struct span bytes, struct err *err)
{
    struct index_run *run = NULL;
    enum err_code code = index_run_decode(bytes, 0, &run, err);
    index_run_release(&run);
    return code;
}

static enum err_code decode_images(struct span bytes, struct err *err)
{
    struct images *images = NULL;
    enum err_code code = images_decode(bytes, 1, &images, err);
    images_release(&images);
    return code;
}

static enum err_code decode_manifest(struct span bytes, struct err *err)
{
    struct manifest manifest = {0};
    enum err_code code = manifest_decode(bytes, &manifest, err);
    manifest_deinit(&manifest);
    return code;
}

static enum err_code decode_tombstones(struct span bytes, struct err *err)
{
    return tombstones_decode(bytes, NULL, NULL, err);
}

/* Cut anywhere or changed anywhere: refused. */
static void expect_every_byte(const char *name, const struct buffer *file, decode_fn *decode)
{
    struct err err = {0};
    cr_assert(decode(buffer_span(file), &err) == ERR_OK, "%s: %s", name, err.msg);
    CLEANUP(mem_cleanup) uint64_t *aligned = mem_alloc(file->size + 8);
    uint8_t *copy = (uint8_t *)aligned;
    for (size_t i = 0; i < file->size; i++) {
        memcpy(copy, file->data, file->size);
        cr_assert(decode(span_of(copy, i), &err) != ERR_OK, "%s cut at %zu", name, i);
        copy[i] ^= 0x10;
        cr_assert(decode(span_of(copy, file->size), &err) != ERR_OK, "%s changed at %zu", name, i);
    }
}

static void read_stored(const struct temp_dir *dir, const char *name, struct buffer *bytes)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *path = temp_dir_join(dir, name);
    cr_assert(file_read(path, bytes, &err) == ERR_OK, "%s", err.msg);
}

Test(derived, refuses_damaged_runs_and_images)
{
    struct fixture_options options = {.merge = TABLE_DELETION_VECTORS, .sequence = true};
    struct fixture fixture = fixture_make(&options);
    struct record_words records[] = {{FRAME_UPSERT, "a", 1, 1, "one", NULL, "m"},
                                     {FRAME_UPSERT, "b", 2, 2, "two", NULL, "m"}};
    fixture_put(&fixture, records, 2);
    table_store_index(fixture.table);
    static const struct {
        const char *name;
        decode_fn *decode;
    } files[] = {{"run-0-1.run", decode_run},
                 {"images-1.img", decode_images},
                 {"manifest", decode_manifest}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char name[128];
        (void)snprintf(name, sizeof name, "index/%s/%s", fixture.uuid.text, files[i].name);
        struct buffer bytes;
        buffer_init(&bytes, 1 << 20);
        read_stored(&fixture.dir, name, &bytes);
        expect_every_byte(files[i].name, &bytes, files[i].decode);
        buffer_deinit(&bytes);
    }
    fixture_remove(&fixture);
}

Test(derived, refuses_damaged_tombstones)
{
    struct buffer bytes;
    buffer_init(&bytes, 4096);
    tombstones_encode_begin(&bytes);
    for (int i = 0; i < 3; i++) {
        struct tombstone tombstone = {.sequence = i, .position = 2, .key = span_of("abc", 3)};
        tombstones_encode_record(&tombstone, &bytes);
    }
    tombstones_encode_end(3, &bytes);
    expect_every_byte("tombstones", &bytes, decode_tombstones);
    buffer_deinit(&bytes);
}

/* ---- the tombstone set ---- */

Test(derived, tombstone_files_fold_and_load)
{
    static const uint8_t hash_key[HASH_KEY_BYTES] = "key";
    struct err err = {0};
    struct object_store *store = object_store_new_memory();
    struct tombstones set;
    tombstones_init(&set, hash_key);
    for (int i = 0; i < 300; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i % 250);
        struct tombstone added = {.sequence = i, .deleted_us = 1000 + i, .key = span_of_text(key)};
        uint64_t hash = hash_keyed(hash_key, added.key);
        struct tombstones_change change = {0};
        bool written = false;
        cr_assert(tombstones_write(&set, store, &added, 1, 0, &change, &written, &err) == ERR_OK);
        cr_expect(written);
        tombstones_apply(&set, &change, &added, &hash, 1);
        cr_assert(set.files_count <= 10, "%zu files for %d deletes", set.files_count, i + 1);
    }
    cr_expect_eq(tombstones_count(&set), 250);
    const char *names[16];
    for (size_t i = 0; i < set.files_count; i++) {
        names[i] = set.files[i].name;
    }
    struct tombstones loaded;
    tombstones_init(&loaded, hash_key);
    cr_assert(tombstones_load(&loaded, store, names, set.files_count, 0, &err) == ERR_OK, "%s",
              err.msg);
    cr_expect_eq(tombstones_count(&loaded), 250);
    struct tombstone found;
    struct span key = span_of_text("k7");
    cr_assert(tombstones_find(&loaded, hash_keyed(hash_key, key), key, &found));
    cr_expect_eq(found.sequence, 257, "the newest of the key");
    tombstones_expire(&loaded, 1000 + 280);
    cr_expect_eq(tombstones_count(&loaded), 20);
    tombstones_deinit(&loaded);
    tombstones_deinit(&set);
    object_store_close(&store);
}
