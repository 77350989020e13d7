/*
 * Reading data files into the index: the files that other engines wrote, and all
 * of them when the index is rebuilt. See table_internal.h.
 */
#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/stored.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

enum {
    INGEST_CHUNK_ROWS = 16384,
    INGEST_ENTRIES_MAX = 8 << 20, /* of a kind in memory before a run is written */
    KEY_BYTES_MAX = 1 << 26,
};

/* What one file needs while it is read. */
struct ingest {
    struct table *table;
    const struct schema *schema;
    const struct deletion_vector *dv;
    uint32_t number;
    int64_t position;
    struct entry_lists *lists;
    struct images_writer images;
    struct buffer key;
    struct buffer scratch;
};

/* Rows of other engines may lack a sequence: then anything wins over them. */
static int64_t sequence_of(const struct ingest *ingest, const struct frame *frame, int64_t row)
{
    if (!ingest->schema->has_sequence) {
        return ingest->position;
    }
    if (!column_is_valid(&frame->columns[ingest->schema->sequence], row)) {
        return INT64_MIN;
    }
    return frame_sequence(frame, row);
}

static enum err_code ingest_row(struct ingest *ingest, const struct frame *frame, int64_t row,
                                int64_t file_row, struct err *err)
{
    if (ingest->dv != NULL && deletion_vector_contains(ingest->dv, file_row)) {
        return images_append_record(&ingest->images, (struct span){0}, err);
    }
    buffer_reset(&ingest->key);
    bool has_key = ingest->schema->key_count > 0 && key_is_whole(frame, row);
    uint64_t hash = 0;
    if (has_key) {
        frame_key(frame, row, &ingest->key);
        hash = hash_keyed(ingest->table->hash_key, buffer_span(&ingest->key));
    }
    struct index_entry place = {.sequence = sequence_of(ingest, frame, row),
                                .file = ingest->number,
                                .row = (uint32_t)file_row};
    entry_lists_add_row(ingest->lists, ingest->table, frame, row, hash, has_key, &place,
                        &ingest->scratch);
    return images_append(&ingest->images, buffer_span(&ingest->key), place.sequence, frame, row,
                         err);
}

/* A rebuild of a large table must not hold all of its entries at once. */
static enum err_code flush_when_many(struct ingest *ingest, struct index_view *view,
                                     struct err *err)
{
    bool many = false;
    for (size_t kind = 0; kind < ingest->lists->kinds.count; kind++) {
        many = many || ingest->lists->lists[kind].count > INGEST_ENTRIES_MAX;
    }
    if (!many) {
        return ERR_OK;
    }
    TRY(entry_lists_flush(ingest->lists, ingest->table, view, err));
    for (size_t kind = 0; kind < view->kinds_count; kind++) {
        if (view->kinds[kind].count < INDEX_SET_MAX / 2) {
            continue;
        }
        struct index_choice choice;
        index_choose(&view->kinds[kind], NULL, NULL, SIZE_MAX, &choice);
        struct index_run *run = NULL;
        TRY(index_runs_merge(ingest->table->index_folder, table_new_run_id(ingest->table),
                             choice.runs, choice.count, NULL, NULL, &run, err));
        for (size_t i = 0; i < choice.count; i++) {
            index_view_remove(view, choice.runs[i]);
        }
        index_view_add(view, &run);
    }
    return ERR_OK;
}

static enum err_code ingest_rows(struct ingest *ingest, struct stored *stored,
                                 struct index_view *view, struct err *err)
{
    CLEANUP(frame_free) struct frame *frame = frame_new(ingest->schema);
    for (int64_t start = 0; start < stored->rows_count; start += INGEST_CHUNK_ROWS) {
        int64_t left = stored->rows_count - start;
        int64_t count = left < INGEST_CHUNK_ROWS ? left : INGEST_CHUNK_ROWS;
        frame_reset(frame);
        TRY(stored_read_range(stored, start, count, frame, err));
        for (int64_t row = 0; row < count; row++) {
            TRY(ingest_row(ingest, frame, row, start + row, err));
        }
        TRY(flush_when_many(ingest, view, err));
    }
    return ERR_OK;
}

static void ingest_deinit(struct ingest *ingest)
{
    images_writer_deinit(&ingest->images);
    buffer_deinit(&ingest->key);
    buffer_deinit(&ingest->scratch);
}

enum err_code table_ingest(struct table *table, const struct schema *schema,
                           const struct delta_file *file, const struct deletion_vector *dv,
                           uint32_t number, struct entry_lists *lists, struct index_view *view,
                           struct images **images_out, struct err *err)
{
    CLEANUP(stored_close) struct stored stored = {0};
    TRY(stored_open(table->store, schema, file, NULL, &stored, err));
    CLEANUP(ingest_deinit)
    struct ingest ingest = {.table = table,
                            .schema = schema,
                            .dv = dv,
                            .number = number,
                            .position = file_position(file),
                            .lists = lists};
    images_writer_init(&ingest.images, table->index_folder, number);
    buffer_init(&ingest.key, KEY_BYTES_MAX);
    buffer_init(&ingest.scratch, KEY_BYTES_MAX);
    TRY(ingest_rows(&ingest, &stored, view, err));
    return images_finish(&ingest.images, images_out, err);
}
