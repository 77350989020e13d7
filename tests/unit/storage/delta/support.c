#include "tests/unit/storage/delta/support.h"

#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"

#include <criterion/criterion.h>
#include <string.h>

struct delta_state *support_create(struct object_store *store, bool deletion_vectors)
{
    struct err err = {0};
    struct delta_state *state = NULL;
    const struct delta_table_options options = {
        .schema_string = SCHEMA_TEXT, .needs = deletion_vectors ? DELTA_NEEDS_DELETION_VECTORS : 0};
    cr_assert_eq(delta_table_create(store, &options, NULL, &state, &err), ERR_OK, "%s", err.msg);
    delta_state_release(&state);
    return support_load(store);
}

struct delta_file support_file(const char *path)
{
    return (struct delta_file){
        .path = path,
        .stats = "{\"numRecords\":10,\"minValues\":{\"id\":1},\"maxValues\":{\"id\":10},"
                 "\"nullCount\":{\"id\":0},\"tightBounds\":true}",
        .size = 1000,
        .modified_ms = 1767225600000,
        .base_row_id = -1,
        .default_row_commit_version = -1,
        .data_change = true,
    };
}

struct delta_dv support_dv(int64_t row)
{
    enum { TEXTS = 4, TEXT_BYTES = 128 };
    static char texts[TEXTS][TEXT_BYTES];
    static size_t next;
    char *text = texts[next++ % TEXTS];
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = deletion_vector_new();
    CLEANUP(buffer_deinit) struct buffer data = {0};
    CLEANUP(buffer_deinit) struct buffer z85 = {0};
    buffer_init(&data, 1000);
    buffer_init(&z85, TEXT_BYTES);
    deletion_vector_add(vector, row);
    deletion_vector_encode(vector, &data);
    deletion_vector_z85_encode(buffer_span(&data), &z85);
    buffer_append_byte(&z85, '\0');
    cr_assert_not(z85.overflowed);
    memcpy(text, z85.data, z85.size);
    return (struct delta_dv){
        .storage = 'i', .size = (int32_t)data.size, .cardinality = 1, .path_or_inline = text};
}

void support_put_commit(struct object_store *store, int64_t version, const char *text)
{
    struct err err = {0};
    char name[DELTA_LOG_NAME_BYTES];
    delta_log_commit_name(version, name);
    cr_assert_eq(object_put_if_absent(store, name, span_of_text(text), &err), ERR_OK, "%s",
                 err.msg);
}

struct delta_state *support_load(struct object_store *store)
{
    struct err err = {0};
    struct delta_state *state = NULL;
    cr_assert_eq(delta_state_load_whole(store, -1, &state, &err), ERR_OK, "%s", err.msg);
    return state;
}

static void expect_same_lines(const struct delta_file *a, const struct delta_file *b,
                              const char *what)
{
    CLEANUP(buffer_deinit) struct buffer left = {0};
    CLEANUP(buffer_deinit) struct buffer right = {0};
    buffer_init(&left, 1 << 20);
    buffer_init(&right, 1 << 20);
    struct delta_file x = *a;
    struct delta_file y = *b;
    x.data_change = y.data_change = false; /* checkpoints do not keep it */
    delta_file_encode(&x, &left);
    delta_file_encode(&y, &right);
    cr_expect(span_equal(buffer_span(&left), buffer_span(&right)), "%s: %.*s differs from %.*s",
              what, SPAN_PRINT(left), SPAN_PRINT(right));
}

void support_expect_equal(const struct delta_state *a, const struct delta_state *b,
                          const char *what)
{
    cr_expect_eq(a->version, b->version, "%s: version", what);
    cr_assert_eq(a->files_count, b->files_count, "%s: files", what);
    cr_assert_eq(a->tombstones_count, b->tombstones_count, "%s: tombstones", what);
    cr_expect_eq(a->files_bytes, b->files_bytes, "%s: bytes", what);
    cr_expect_eq(a->rows_count, b->rows_count, "%s: rows", what);
    cr_expect_eq(a->rows_unknown_files_count, b->rows_unknown_files_count, "%s: unknown", what);
    cr_expect_eq(a->deleted_rows_count, b->deleted_rows_count, "%s: deleted", what);
    cr_expect_eq(a->files_with_dv_count, b->files_with_dv_count, "%s: vectors", what);
    for (int64_t i = 0; i < a->files_count; i++) {
        expect_same_lines(delta_state_file_at(a, i), delta_state_file_at(b, i), what);
    }
    for (int64_t i = 0; i < a->tombstones_count; i++) {
        expect_same_lines(delta_state_tombstone_at(a, i), delta_state_tombstone_at(b, i), what);
    }
    cr_assert_eq(delta_state_txns_count(a), delta_state_txns_count(b), "%s: txns", what);
    for (int64_t i = 0; i < delta_state_txns_count(a); i++) {
        cr_expect_str_eq(delta_state_txn_at(a, i)->app_id, delta_state_txn_at(b, i)->app_id);
        cr_expect_eq(delta_state_txn_at(a, i)->version, delta_state_txn_at(b, i)->version);
    }
    cr_assert_eq(delta_state_domains_count(a), delta_state_domains_count(b), "%s: domains", what);
    for (int64_t i = 0; i < delta_state_domains_count(a); i++) {
        cr_expect_str_eq(delta_state_domain_at(a, i)->configuration,
                         delta_state_domain_at(b, i)->configuration);
    }
    cr_expect(delta_metadata_equal(a->metadata, b->metadata), "%s: metadata", what);
    cr_expect_eq(a->protocol->writer_version, b->protocol->writer_version, "%s: protocol", what);
}

char *support_live(const struct delta_state *state)
{
    CLEANUP(buffer_deinit) struct buffer text = {0};
    buffer_init(&text, 1 << 20);
    const struct delta_file *file = NULL;
    for (struct delta_cursor at = {0}; (file = delta_state_next_file(state, &at)) != NULL;) {
        buffer_append_format(&text, "%s%s", text.size > 0 ? " " : "", file->path);
        if (delta_dv_is_present(&file->dv)) {
            buffer_append_format(&text, "@%lld", (long long)file->dv.cardinality);
        }
    }
    buffer_append_byte(&text, '\0');
    return mem_copy(text.data, text.size);
}

struct delta_state *support_commit(struct delta_transaction *transaction)
{
    struct err err = {0};
    struct delta_commit_result result = {0};
    cr_assert_eq(delta_transaction_commit(transaction, &result, &err), ERR_OK, "%s", err.msg);
    struct delta_state *state = delta_state_acquire(result.state);
    delta_commit_result_deinit(&result);
    delta_transaction_free(&transaction);
    return state;
}
