/*
 * Removed keys. See source_table_keys.h.
 */
#include "workers/source_table_keys.h"

#include "storage/base/mem.h"

#include <assert.h>

enum { CHUNK_ROWS = 8192 };

enum err_code table_rows_read(struct changes *changes, enum change_side side,
                              const struct source_reader *reader, int64_t rows_max,
                              struct change_place *place, struct frame **frame_out, bool *done_out,
                              struct err *err)
{
    for (int64_t count = rows_max;; count /= 2) {
        struct change_place at = *place;
        CLEANUP(frame_free) struct frame *frame = frame_new(changes_schema(changes, side));
        TRY(reader->check_time(reader->arg, err));
        enum err_code code = changes_read(changes, side, count, &at, frame, done_out, err);
        if (code == ERR_OK) {
            *place = at;
            *frame_out = frame;
            frame = NULL;
            return ERR_OK;
        }
        if (code != ERR_TOO_LARGE || count == 1) {
            return code;
        }
        err_clear(err);
    }
}

/* ---- the added keys ---- */

/* No record holds larger values, so that such a key is in no table. */
static bool is_small(const struct frame *frame, int64_t row, const size_t *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct column *column = &frame->columns[columns[i]];
        bool has_bytes = column->type == COLUMN_STRING || column->type == COLUMN_BINARY;
        if (has_bytes && column_is_valid(column, row) &&
            column_bytes(column, row).size > SCHEMA_STRING_BYTES_MAX) {
            return false;
        }
    }
    return true;
}

static bool hash_row(struct table_keys *keys, enum change_side side, const struct frame *frame,
                     int64_t row, struct hash_wide *hash_out)
{
    const size_t *columns = keys->columns[side];
    size_t count = keys->reader->schema->key_count;
    return is_small(frame, row, columns, count) &&
           value_set_hash(&keys->set, frame, row, columns, count, hash_out);
}

static enum err_code add_all(struct table_keys *keys, struct err *err)
{
    struct change_place place = {0};
    for (bool done = false; !done && !keys->set.overflowed;) {
        CLEANUP(frame_free) struct frame *frame = NULL;
        TRY(table_rows_read(keys->added, CHANGE_ADDED, keys->reader, CHUNK_ROWS, &place, &frame,
                            &done, err));
        for (int64_t row = 0; row < frame->rows_count && !keys->set.overflowed; row++) {
            struct hash_wide hash;
            if (hash_row(keys, CHANGE_ADDED, frame, row, &hash)) {
                (void)value_set_add(&keys->set, hash); /* new or not is the same here */
            }
        }
    }
    return ERR_OK;
}

/* The added keys of the place's part; with more and smaller parts when they do not fit. */
static enum err_code fill(struct table_keys *keys, struct table_place *place, struct err *err)
{
    value_set_begin_pass(&keys->set, place->pass);
    for (;;) {
        TRY(add_all(keys, err));
        if (!keys->set.overflowed) {
            return ERR_OK;
        }
        value_set_split(&keys->set);
        place->pass = 0;
        place->passes_count = keys->set.passes_count;
        place->at = (struct change_place){0};
    }
}

/* ---- opening ---- */

static enum err_code find_columns(struct table_keys *keys, enum change_side side, struct err *err)
{
    const struct schema *schema = keys->reader->schema;
    const struct schema *columns =
        changes_schema(side == CHANGE_ADDED ? keys->added : keys->removed, side);
    for (size_t i = 0; i < schema->key_count; i++) {
        const char *name = schema->fields[schema->key[i]].name;
        int index = schema_field_index(columns, span_of_text(name));
        assert(index >= 0); /* changes are made with these names */
        enum column_type type = columns->fields[index].type;
        if (type == COLUMN_DOUBLE || type == COLUMN_FLOAT || column_type_is_nested(type)) {
            return err_set(err, ERR_UNSUPPORTED,
                           "rows were removed, and the key column '%s' is of type %s, by whose "
                           "values they cannot be told apart",
                           name, column_type_name(type));
        }
        keys->columns[side][i] = (size_t)index;
    }
    return ERR_OK;
}

struct table_key_names table_key_names_of(const struct schema *schema)
{
    struct table_key_names names = {.count = schema->key_count};
    for (size_t i = 0; i < schema->key_count; i++) {
        names.names[i] = schema->fields[schema->key[i]].name;
    }
    if (schema->has_sequence) {
        names.names[names.count++] = schema->fields[schema->sequence].name;
    }
    return names;
}

static enum err_code open_added(struct table_keys *keys, const struct table_commit *commit,
                                struct err *err)
{
    const struct table_key_names names = table_key_names_of(keys->reader->schema);
    const struct change_columns columns = {names.names, keys->reader->schema->key_count};
    const struct changes_options options = {
        .store = commit->store,
        .columns = {columns, columns},
        .column_bytes_max = TABLE_COLUMN_BYTES_MAX,
    };
    return changes_of_commit(&options, commit->before, commit->commit, commit->after, &keys->added,
                             err);
}

enum err_code table_keys_open(struct table_keys *keys, struct changes *removed,
                              const struct table_commit *commit, const struct source_reader *reader,
                              size_t set_bytes, struct table_place *place, struct err *err)
{
    bool any = false;
    *keys = (struct table_keys){
        .is_open = true, .is_empty = true, .reader = reader, .removed = removed};
    TRY(changes_remove_rows(removed, &any, err));
    if (!any) {
        return ERR_OK;
    }
    if (reader->schema->key_count == 0) {
        return err_set(err, ERR_UNSUPPORTED,
                       "it removes or changes rows, which an append table cannot follow; take a "
                       "table with a key");
    }
    keys->is_empty = false;
    TRY(open_added(keys, commit, err));
    TRY(find_columns(keys, CHANGE_ADDED, err));
    TRY(find_columns(keys, CHANGE_REMOVED, err));
    value_set_init(&keys->set, set_bytes > 0 ? set_bytes : TABLE_KEYS_BYTES, -1);
    if (place->passes_count != keys->set.passes_count) {
        /* parts are told by a hash that no other reading knows */
        place->at = (struct change_place){0};
        place->pass = 0;
        place->passes_count = keys->set.passes_count;
    }
    return fill(keys, place, err);
}

void table_keys_close(struct table_keys *keys)
{
    changes_free(&keys->added);
    value_set_deinit(&keys->set);
    *keys = (struct table_keys){0};
}

/* ---- reading ---- */

static void select_rows(struct table_keys *keys, const struct frame *chunk, struct frame *rows)
{
    int64_t selected[CHUNK_ROWS];
    int64_t count = 0;
    assert(chunk->rows_count <= CHUNK_ROWS);
    for (int64_t row = 0; row < chunk->rows_count; row++) {
        struct hash_wide hash;
        if (hash_row(keys, CHANGE_REMOVED, chunk, row, &hash) && !value_set_has(&keys->set, hash)) {
            selected[count++] = row;
        }
    }
    frame_append_rows(rows, chunk, selected, count);
}

enum err_code table_keys_read(struct table_keys *keys, int64_t rows_max, struct table_place *place,
                              struct frame **rows_out, bool *done_out, struct err *err)
{
    CLEANUP(frame_free)
    struct frame *rows = frame_new(changes_schema(keys->removed, CHANGE_REMOVED));
    bool done = false;
    while (!done && rows->rows_count < rows_max) {
        CLEANUP(frame_free) struct frame *chunk = NULL;
        int64_t count = rows_max - rows->rows_count;
        bool pass_done = false;
        TRY(table_rows_read(keys->removed, CHANGE_REMOVED, keys->reader,
                            count < CHUNK_ROWS ? count : CHUNK_ROWS, &place->at, &chunk, &pass_done,
                            err));
        select_rows(keys, chunk, rows);
        if (pass_done && place->pass + 1 < place->passes_count) {
            place->pass++;
            place->at = (struct change_place){0};
            TRY(fill(keys, place, err));
        } else {
            done = pass_done;
        }
    }
    frame_set_operations(rows, FRAME_DELETE);
    *rows_out = rows;
    rows = NULL;
    *done_out = done;
    return ERR_OK;
}
