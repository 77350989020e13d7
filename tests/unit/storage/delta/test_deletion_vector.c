/*
 * Deletion vectors: known answers of other writers, round trips, hardening.
 */
#include "storage/delta/deletion_vector.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/object/object.h"

#include <criterion/criterion.h>
#include <string.h>

static struct buffer bytes_of_hex(const char *hex)
{
    struct buffer bytes = {0};
    buffer_init(&bytes, 1 << 20);
    cr_assert(text_hex_decode(span_of_text(hex), &bytes));
    return bytes;
}

static void expect_rows(const struct deletion_vector *vector, const int64_t *rows, int64_t count)
{
    int64_t got[64];
    cr_assert_eq(deletion_vector_cardinality(vector), count);
    deletion_vector_rows(vector, got);
    for (int64_t i = 0; i < count; i++) {
        cr_expect_eq(got[i], rows[i]);
        cr_expect(deletion_vector_contains(vector, rows[i]));
        cr_expect_not(deletion_vector_contains(vector, rows[i] + 1000));
    }
}

/* spark & delta-rs `table-with-dv-small` */
static const char small_file[] = "0100000024d1d33964010000000000000000000000"
                                 "3a3000000100000000000100100000000000090"
                                 "02a671846";

Test(deletion_vector, reads_sparks_file)
{
    CLEANUP(buffer_deinit) struct buffer file = bytes_of_hex(small_file);
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
    const char name[] = "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
    const struct delta_dv descriptor = {.storage = 'u',
                                        .has_offset = true,
                                        .offset = 1,
                                        .size = 36,
                                        .cardinality = 2,
                                        .path_or_inline = "ab^-aqEH.-t@S}K{vb[*k^"};
    cr_assert_eq(object_put(store, name, buffer_span(&file), &err), ERR_OK);
    cr_assert_eq(deletion_vector_read(store, &descriptor, 10, &vector, &err), ERR_OK, "%s",
                 err.msg);
    expect_rows(vector, (const int64_t[]){0, 9}, 2);
    object_store_close(&store);
}

Test(deletion_vector, writes_what_spark_writes)
{
    CLEANUP(buffer_deinit) struct buffer file = bytes_of_hex(small_file);
    CLEANUP(buffer_deinit) struct buffer data = {0};
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = deletion_vector_new();
    buffer_init(&data, 1000);
    deletion_vector_add(vector, 9);
    deletion_vector_add(vector, 0);
    deletion_vector_encode(vector, &data);
    cr_expect(span_equal(buffer_span(&data), span_of(file.data + 5, file.size - 9)));
}

Test(deletion_vector, reads_kernels_inline_vector)
{
    struct err err = {0};
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
    const struct delta_dv descriptor = {
        .storage = 'i',
        .size = 44,
        .cardinality = 6,
        .path_or_inline = "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"};
    cr_assert_eq(deletion_vector_read(NULL, &descriptor, 30, &vector, &err), ERR_OK, "%s", err.msg);
    expect_rows(vector, (const int64_t[]){3, 4, 7, 11, 18, 29}, 6);
}

Test(deletion_vector, checks_the_descriptor)
{
    static const struct {
        const char *name;
        int64_t offset, size, cardinality, rows_count;
        int flip; /* byte of the file to change; -1 = none */
    } cases[] = {
        {"cardinality", 1, 36, 3, 10, -1},
        {"row past the file", 1, 36, 2, 9, -1},
        {"size", 1, 35, 2, 10, -1},
        {"offset", 2, 36, 2, 10, -1},
        {"offset past the end", 40, 36, 2, 10, -1},
        {"offset zero", 0, 36, 2, 10, -1},
        {"negative size", 1, -1, 2, 10, -1},
        {"version byte", 1, 36, 2, 10, 0},
        {"size field", 1, 36, 2, 10, 4},
        {"data", 1, 36, 2, 10, 37},
        {"checksum", 1, 36, 2, 10, 44},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(buffer_deinit) struct buffer file = bytes_of_hex(small_file);
        CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
        struct object_store *store = object_store_new_memory();
        struct err err = {0};
        if (cases[i].flip >= 0) {
            file.data[cases[i].flip] ^= 1;
        }
        const struct delta_dv descriptor = {.storage = 'u',
                                            .has_offset = true,
                                            .offset = (int32_t)cases[i].offset,
                                            .size = (int32_t)cases[i].size,
                                            .cardinality = cases[i].cardinality,
                                            .path_or_inline = "^-aqEH.-t@S}K{vb[*k^"};
        cr_assert_eq(object_put(store, "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin",
                                buffer_span(&file), &err),
                     ERR_OK);
        cr_expect_eq(deletion_vector_read(store, &descriptor, cases[i].rows_count, &vector, &err),
                     ERR_CORRUPT, "%s", cases[i].name);
        object_store_close(&store);
    }
}

Test(deletion_vector, refuses_malformed_data)
{
    /* magic, one bucket of key 0, then the bitmap of each case */
    static const struct {
        const char *name;
        const char *hex;
    } cases[] = {
        {"empty", ""},
        {"legacy native magic", "d0d339640000000000000000"},
        {"count without buckets", "d1d339640100000000000000"},
        {"huge count", "d1d33964ffffffffffffffff"},
        {"left over bytes", "d1d33964000000000000000000"},
        {"unknown cookie", "d1d33964010000000000000000000000393000000000"},
        {"key over 2^31", "d1d33964010000000000000000000080"
                          "3a3000000100000000000000100000000500"},
        {"buckets out of order", "d1d339640200000000000000"
                                 "010000003a30000001000000000000001000000005000000"
                                 "00003a3000000100000000000000100000000500"},
        {"array not ascending", "d1d33964010000000000000000000000"
                                "3a3000000100000000000100100000000900"
                                "0900"},
        {"offset lies", "d1d33964010000000000000000000000"
                        "3a300000010000000000010011000000"
                        "00000900"},
        {"run past 65535", "d1d33964010000000000000000000000"
                           "3b30000001"
                           "00000100"
                           "0100ffff0100"},
        {"runs overlap", "d1d33964010000000000000000000000"
                         "3b30000001"
                         "00000300"
                         "0200"
                         "00000100"
                         "01000100"},
        {"run cardinality lies", "d1d33964010000000000000000000000"
                                 "3b30000001"
                                 "00000500"
                                 "0100"
                                 "00000100"},
        {"array cut short", "d1d33964010000000000000000000000"
                            "3a30000001000000000001001000000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(buffer_deinit) struct buffer data = bytes_of_hex(cases[i].hex);
        CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
        struct err err = {0};
        cr_expect_eq(deletion_vector_decode(buffer_span(&data), &vector, &err), ERR_CORRUPT, "%s",
                     cases[i].name);
    }
    CLEANUP(buffer_deinit)
    struct buffer good = bytes_of_hex("d1d339640100000000000000000000003b30000001"
                                      "00000100010000000100");
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
    struct err err = {0};
    cr_expect_eq(deletion_vector_decode(buffer_span(&good), &vector, &err), ERR_OK, "%s", err.msg);
    expect_rows(vector, (const int64_t[]){0, 1}, 2);
}

/* Array, bitmap and run containers in two buckets. */
static struct deletion_vector *make_mixed(void)
{
    struct deletion_vector *vector = deletion_vector_new();
    for (int64_t row = 0; row < 65536; row += 2) {
        deletion_vector_add(vector, row);
    }
    deletion_vector_add_range(vector, 65536 + 100, 5000);
    deletion_vector_add_range(vector, (1LL << 32) - 10, 20);
    deletion_vector_add_rows(vector, (const int64_t[]){5LL << 32, 200000, 200001, 200000}, 4);
    return vector;
}

Test(deletion_vector, round_trips_every_container_and_any_cut_fails)
{
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = make_mixed();
    CLEANUP(deletion_vector_free) struct deletion_vector *read = NULL;
    CLEANUP(buffer_deinit) struct buffer data = {0};
    struct err err = {0};
    buffer_init(&data, 1 << 20);
    deletion_vector_encode(vector, &data);
    cr_assert_eq(deletion_vector_decode(buffer_span(&data), &read, &err), ERR_OK, "%s", err.msg);
    cr_expect(deletion_vector_equal(vector, read));
    cr_expect_eq(deletion_vector_cardinality(read), 32768 + 5000 + 20 + 3);
    cr_expect_eq(deletion_vector_max(read), 5LL << 32);
    for (size_t size = 0; size < data.size; size++) {
        struct deletion_vector *cut = NULL;
        err_clear(&err);
        cr_assert_eq(deletion_vector_decode(span_of(data.data, size), &cut, &err), ERR_CORRUPT,
                     "%zu bytes", size);
    }
}

Test(deletion_vector, set_operations)
{
    CLEANUP(deletion_vector_free) struct deletion_vector *mixed = make_mixed();
    CLEANUP(deletion_vector_free) struct deletion_vector *copy = deletion_vector_copy(mixed);
    CLEANUP(deletion_vector_free) struct deletion_vector *other = deletion_vector_new();
    deletion_vector_add(other, 1);
    deletion_vector_add(other, 7LL << 32);
    cr_expect_not(deletion_vector_is_subset(other, mixed));
    deletion_vector_union(copy, other);
    cr_expect(deletion_vector_is_subset(other, copy));
    cr_expect(deletion_vector_is_subset(mixed, copy));
    cr_expect_not(deletion_vector_equal(mixed, copy));
    cr_expect_eq(deletion_vector_cardinality(copy), deletion_vector_cardinality(mixed) + 2);
    cr_expect_eq(deletion_vector_count_range(mixed, 0, 65536), 32768);
    cr_expect_eq(deletion_vector_count_range(mixed, (1LL << 32) - 5, 8), 8);
    cr_expect_eq(deletion_vector_count_range(mixed, 1, 1), 0);
}

Test(deletion_vector, live_rows_are_the_others)
{
    CLEANUP(deletion_vector_free) struct deletion_vector *mixed = make_mixed();
    static const struct {
        int64_t first, count;
    } cases[] = {{0, 100}, {65530, 200}, {(1LL << 32) - 15, 40}, {300000, 10}, {3, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t rows[300];
        int64_t count = -1;
        int64_t expected = 0;
        deletion_vector_live_rows(mixed, cases[i].first, cases[i].count, rows, &count);
        for (int64_t row = cases[i].first; row < cases[i].first + cases[i].count; row++) {
            if (!deletion_vector_contains(mixed, row)) {
                cr_assert_lt(expected, count);
                cr_expect_eq(rows[expected], row);
                expected++;
            }
        }
        cr_expect_eq(count, expected);
        deletion_vector_live_rows(NULL, cases[i].first, cases[i].count, rows, &count);
        cr_expect_eq(count, cases[i].count);
    }
}

Test(deletion_vector, a_batch_puts_small_ones_inline_and_the_rest_in_one_file)
{
    struct object_store *store = object_store_new_memory();
    CLEANUP(deletion_vector_batch_deinit) struct deletion_vector_batch batch;
    struct deletion_vector *vectors[3] = {deletion_vector_new(), make_mixed(), make_mixed()};
    struct err err = {0};
    size_t index = 9;
    deletion_vector_add(vectors[0], 5);
    deletion_vector_add(vectors[2], 1);
    deletion_vector_batch_init(&batch);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(deletion_vector_batch_add(&batch, vectors[i], &index, &err), ERR_OK);
        cr_expect_eq(index, i);
    }
    CLEANUP(object_group_end) struct object_group *group = NULL;
    cr_assert_eq(object_group_begin(store, 1, &group, &err), ERR_OK);
    cr_assert_eq(deletion_vector_batch_write(&batch, group, &err), ERR_OK);
    cr_expect_eq(batch.descriptors[0].storage, 'i');
    cr_expect_eq(batch.descriptors[1].storage, 'u');
    cr_expect_eq(batch.descriptors[1].offset, 1);
    cr_expect_gt(batch.descriptors[2].offset, batch.descriptors[1].offset);
    for (size_t i = 0; i < 3; i++) {
        struct deletion_vector *read = NULL;
        cr_assert_eq(deletion_vector_read(store, &batch.descriptors[i], -1, &read, &err), ERR_OK,
                     "%s", err.msg);
        cr_expect(deletion_vector_equal(read, vectors[i]));
        deletion_vector_free(&read);
        deletion_vector_free(&vectors[i]);
    }
    cr_expect_eq(object_store_syncs_count(store), 1, "one file");
    object_store_close(&store);
}

Test(deletion_vector, z85_round_trips_and_refuses)
{
    static const uint8_t bytes[] = {0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b, 0xff};
    for (size_t size = 0; size <= sizeof bytes; size++) {
        CLEANUP(buffer_deinit) struct buffer text = {0};
        CLEANUP(buffer_deinit) struct buffer back = {0};
        buffer_init(&text, 100);
        buffer_init(&back, 100);
        deletion_vector_z85_encode(span_of(bytes, size), &text);
        cr_expect_eq(text.size, (size + 3) / 4 * 5);
        cr_expect(deletion_vector_z85_decode(buffer_span(&text), &back));
        cr_expect(size == 0 || memcmp(back.data, bytes, size) == 0);
        if (size == 8) {
            cr_expect(span_equal_text(buffer_span(&text), "HelloWorld"));
        }
    }
    static const char *const bad[] = {"abcd", "abc~e", "#####", "ab\"de", "abcdefghi"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CLEANUP(buffer_deinit) struct buffer back = {0};
        buffer_init(&back, 100);
        cr_expect_not(deletion_vector_z85_decode(span_of_text(bad[i]), &back), "%s", bad[i]);
    }
}
