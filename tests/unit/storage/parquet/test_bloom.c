/*
 * Bloom filters: bit for bit those of another writer, no value that is there is ever denied,
 * few that are not are affirmed, and files have them where they pay.
 */
#include "storage/parquet/bloom.h"

#include "storage/base/file.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "tests/unit/storage/parquet/file_kit.h"
#include "tests/unit/storage/parquet/samples.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 16, TEXT_BYTES_MAX = 1 << 20 };

/* Texts back to back, as a chunk has them. */
struct texts {
    struct buffer bytes;
    struct leaf_piece *pieces;
    size_t count;
};

static struct leaf_values values_of(const struct texts *texts)
{
    return (struct leaf_values){.type = {.kind = LEAF_BYTES},
                                .count = texts->count,
                                .pieces = texts->pieces,
                                .bytes = texts->bytes.data};
}

static void add_text(struct texts *texts, const char *text)
{
    texts->pieces[texts->count++] =
        (struct leaf_piece){.start = (uint32_t)texts->bytes.size, .size = (uint32_t)strlen(text)};
    buffer_append_text(&texts->bytes, text);
}

static void texts_init(struct texts *texts, size_t capacity)
{
    *texts = (struct texts){.pieces = mem_zeroed(capacity, sizeof *texts->pieces)};
    buffer_init(&texts->bytes, SIZE_MAX);
}

static void texts_deinit(struct texts *texts)
{
    buffer_deinit(&texts->bytes);
    mem_free(texts->pieces);
}

/* parquet-testing's file of parquet-java, whose filter of 1,024 bytes is at byte 192. */
Test(bloom, is_that_of_another_writer)
{
    static const char *const words[] = {"Hello",   "This is", "a",        "test",      "How",
                                        "are you", "doing ",  "today",    "the quick", "brown fox",
                                        "jumps",   "over",    "the lazy", "dog"};
    enum { FILTER_AT = 192, FILTER_BYTES = 1024 };
    const char *folder = getenv("SLUICE_TEST_DATA");
    if (folder == NULL) {
        (void)fprintf(stderr, "SKIPPED: set SLUICE_TEST_DATA to read other writers' files\n");
        return;
    }
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/parquet/data/data_index_bloom_encoding_stats.parquet",
                   folder);
    CLEANUP(buffer_deinit) struct buffer file;
    buffer_init(&file, TEXT_BYTES_MAX);
    struct err err = {0};
    cr_assert_eq(file_read(path, &file, &err), ERR_OK, "%s", err.msg);
    CLEANUP(texts_deinit) struct texts texts;
    texts_init(&texts, 14);
    for (size_t i = 0; i < 14; i++) {
        add_text(&texts, words[i]);
    }
    struct leaf_values values = values_of(&texts);
    uint8_t bitset[FILTER_BYTES] = {0};
    bloom_fill(&values, bitset, sizeof bitset);
    cr_expect_eq(memcmp(bitset, file.data + FILTER_AT + HEADER_BYTES, sizeof bitset), 0);
    /* the header, but for the size it states */
    CLEANUP(buffer_deinit) struct buffer written;
    buffer_init(&written, TEXT_BYTES_MAX);
    bloom_write(&values, &written);
    cr_expect_eq(written.data[1], 2 * BLOOM_BLOCK_BYTES);
    cr_expect_eq(memcmp(written.data + 2, file.data + FILTER_AT + 3, HEADER_BYTES - 3), 0);
}

/* As BloomFilter.md has it, in other words than the writer's. */
static bool may_have(const uint8_t *bitset, size_t bytes, uint64_t hash)
{
    static const uint32_t salts[] = {0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
                                     0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31};
    uint64_t block = ((hash >> 32) * (bytes / 32)) >> 32;
    for (size_t i = 0; i < 8; i++) {
        uint32_t bit = (uint32_t)((uint32_t)hash * salts[i]) >> 27;
        if ((bitset[block * 32 + i * 4 + bit / 8] >> (bit % 8) & 1) == 0) {
            return false;
        }
    }
    return true;
}

Test(bloom, denies_nothing_that_is_there_and_affirms_little_that_is_not)
{
    static const size_t counts[] = {1, 2, 33, 1000, 60000};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        size_t count = counts[c];
        CLEANUP(mem_cleanup) int64_t *numbers = mem_zeroed(count, sizeof *numbers);
        for (size_t i = 0; i < count; i++) {
            numbers[i] = (int64_t)sample_random(5, i);
        }
        struct leaf_values values = {.type = {.kind = LEAF_I64}, .count = count, .slots = numbers};
        size_t bytes = bloom_bytes(count);
        cr_expect_geq(bytes, count < BLOOM_BYTES_MAX ? count : BLOOM_BYTES_MAX);
        CLEANUP(mem_cleanup) uint8_t *bitset = mem_zeroed(bytes, 1);
        bloom_fill(&values, bitset, bytes);
        size_t affirmed = 0;
        for (size_t i = 0; i < count; i++) {
            int64_t other = (int64_t)sample_random(6, i);
            cr_assert(may_have(bitset, bytes,
                               hash_xxh64(span_of((const uint8_t *)&numbers[i], sizeof other))));
            affirmed +=
                may_have(bitset, bytes, hash_xxh64(span_of((const uint8_t *)&other, sizeof other)));
        }
        cr_expect_leq(affirmed, count / 20 + 1, "%zu of %zu", affirmed, count);
    }
    cr_expect_eq(bloom_bytes(SIZE_MAX), BLOOM_BYTES_MAX);
}

/* How much larger the file is with filters: 30,000 texts of `words` random words each. */
static size_t growth(int words, uint64_t distinct)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("k:string v:long b:boolean");
    CLEANUP(frame_cleanup) struct frame *frame = frame_new(schema);
    for (int64_t row = 0; row < 30000; row++) {
        char text[64 + 1] = "";
        for (int i = 0; i < words; i++) {
            (void)snprintf(text + 16 * i, 17, "%016llx",
                           (unsigned long long)sample_random(
                               (uint64_t)i,
                               distinct > 0 ? (uint64_t)row % distinct : (uint64_t)row)); /* fits */
        }
        column_append_bytes(&frame->columns[0], span_of_text(words > 0 ? text : "constant"));
        column_append_i64(&frame->columns[1], row);
        column_append_u8(&frame->columns[2], row % 2 == 0);
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    static const bool blooms[] = {true, true, true};
    const struct parquet_write_options with = {.blooms = blooms};
    struct file_kit kits[2];
    file_kit_init(&kits[0], frame, NULL);
    file_kit_init(&kits[1], frame, &with);
    CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kits[1], schema, 0, 30000);
    for (size_t i = 0; i < 3; i++) {
        cr_assert(sample_columns_equal(&found->columns[i], 0, &frame->columns[i], 0, 30000));
    }
    size_t grown = kits[1].bytes.size - kits[0].bytes.size;
    file_kit_deinit(&kits[0]);
    file_kit_deinit(&kits[1]);
    return grown;
}

Test(bloom, files_have_filters_where_they_pay)
{
    cr_expect_eq(growth(4, 20), 0, "a dictionary tells as much");
    cr_expect_eq(growth(0, 0), 0, "next to nothing");
    size_t grown = growth(4, 0); /* of the texts alone: numbers that ascend pack too well */
    cr_expect_geq(grown, (size_t)32768);
    cr_expect_leq(grown, (size_t)32768 + 64);
}
