/*
 * Deletion vectors (deletion_vector.c, deletion_vector_file.c): the first byte
 * chooses encoded data, Z85 text, or a whole file with a descriptor before it.
 */
#include "storage/delta/deletion_vector.h"

#include "storage/base/cursor.h"
#include "storage/base/mem.h"
#include "storage/object/object.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS_LOOKED_AT = 100000, ROWS_ADDED = 100000, ROWS_ADDED_SINGLY = 1000 };

/* The rows of a small vector, added anew in every way, make the same vector. */
static void rebuild(const struct deletion_vector *vector, int64_t cardinality)
{
    CLEANUP(mem_cleanup) int64_t *rows = mem_alloc((size_t)(cardinality + 1) * sizeof *rows);
    CLEANUP(deletion_vector_free) struct deletion_vector *at_once = deletion_vector_new();
    CLEANUP(deletion_vector_free) struct deletion_vector *singly = deletion_vector_new();
    deletion_vector_rows(vector, rows);
    deletion_vector_add_rows(at_once, rows, cardinality);
    assert(deletion_vector_equal(vector, at_once));
    for (int64_t i = 0; i < cardinality && i < ROWS_ADDED_SINGLY; i++) {
        assert(i == 0 || rows[i] > rows[i - 1]);
        assert(deletion_vector_contains(vector, rows[i]));
        deletion_vector_add(singly, rows[i]);
    }
    assert(deletion_vector_is_subset(singly, vector));
    assert(deletion_vector_is_subset(vector, singly) == (cardinality <= ROWS_ADDED_SINGLY));
    CLEANUP(deletion_vector_free) struct deletion_vector *more = deletion_vector_copy(singly);
    assert(deletion_vector_equal(more, singly));
    assert(deletion_vector_memory_bytes(more) > 0);
    deletion_vector_union(more, vector);
    assert(deletion_vector_equal(more, vector));
    int64_t first = deletion_vector_max(vector) / 2;
    deletion_vector_add_range(more, first, ROWS_LOOKED_AT);
    assert(deletion_vector_count_range(more, first, ROWS_LOOKED_AT) == ROWS_LOOKED_AT);
    assert(deletion_vector_cardinality(more) ==
           cardinality + ROWS_LOOKED_AT -
               deletion_vector_count_range(vector, first, ROWS_LOOKED_AT));
}

/* A vector that was accepted must answer consistently and survive a round trip. */
static void use(const struct deletion_vector *vector)
{
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer bytes = {0};
    CLEANUP(deletion_vector_free) struct deletion_vector *again = NULL;
    int64_t cardinality = deletion_vector_cardinality(vector);
    assert((deletion_vector_max(vector) < 0) == (cardinality == 0));
    assert(cardinality == 0 || deletion_vector_contains(vector, deletion_vector_max(vector)));
    buffer_init(&bytes, DELETION_VECTOR_BYTES_MAX);
    deletion_vector_encode(vector, &bytes);
    enum err_code code = deletion_vector_decode(buffer_span(&bytes), &again, &err);
    assert(code == ERR_OK);
    assert(deletion_vector_equal(vector, again));
    CLEANUP(mem_cleanup) int64_t *rows = mem_alloc(ROWS_LOOKED_AT * sizeof *rows);
    int64_t live = 0;
    deletion_vector_live_rows(vector, 0, ROWS_LOOKED_AT, rows, &live);
    assert(live == ROWS_LOOKED_AT - deletion_vector_count_range(vector, 0, ROWS_LOOKED_AT));
    if (cardinality > 0 && cardinality <= ROWS_ADDED) {
        rebuild(vector, cardinality);
    }
}

static void decode_data(struct span bytes)
{
    struct err err = {0};
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
    if (deletion_vector_decode(bytes, &vector, &err) == ERR_OK) {
        use(vector);
    }
}

static void decode_text(struct span text)
{
    CLEANUP(buffer_deinit) struct buffer bytes = {0};
    CLEANUP(buffer_deinit) struct buffer again = {0};
    buffer_init(&bytes, text.size + 1);
    buffer_init(&again, text.size + 1);
    if (deletion_vector_z85_decode(text, &bytes)) {
        deletion_vector_z85_encode(buffer_span(&bytes), &again);
        assert(span_equal(buffer_span(&again), text));
    }
}

static void read_file(struct cursor *cursor)
{
    struct delta_dv descriptor = {
        .storage = 'u', .has_offset = true, .path_or_inline = "^-aqEH.-t@S}K{vb[*k^"};
    descriptor.offset = (int32_t)cursor_u32(cursor);
    descriptor.size = (int32_t)cursor_u32(cursor);
    descriptor.cardinality = (int64_t)cursor_u64(cursor);
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct span file = cursor_bytes(cursor, cursor_left(cursor));
    enum err_code code =
        object_put(store, "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin", file, &err);
    assert(code == ERR_OK);
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
    if (deletion_vector_read(store, &descriptor, 1000000, &vector, &err) == ERR_OK) {
        assert(deletion_vector_cardinality(vector) == descriptor.cardinality);
        use(vector);
    }
    object_store_close(&store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor cursor = cursor_of(span_of(data, size));
    uint8_t choice = cursor_u8(&cursor);
    if (choice == 0) {
        decode_data(cursor_bytes(&cursor, cursor_left(&cursor)));
    } else if (choice == 1) {
        decode_text(cursor_bytes(&cursor, cursor_left(&cursor)));
    } else {
        read_file(&cursor);
    }
    return 0;
}
