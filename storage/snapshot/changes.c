/*
 * Rows that commits changed. See changes.h.
 */
#include "storage/snapshot/changes.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/snapshot/stored.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_ROWS = 8192, /* of a file, looked at at a time */
    SCHEMA_TEXT_BYTES_MAX = 64 << 20,
};

/* A file of one side, and the same file as the other side has it (NULL = not at all). */
struct change_file {
    const struct delta_file *file;
    const struct delta_file *other;
};

struct change_list {
    struct schema *schema; /* projected */
    struct change_file *items;
    size_t count, capacity;
};

/* The file that is being read. */
struct open_file {
    bool is_open;
    enum change_side side;
    int64_t index;
    struct stored stored;
    struct deletion_vector *hidden; /* rows that are not told; NULL = none */
    int64_t *rows;                  /* of a file that both sides have: those that are; else NULL */
    int64_t rows_count;             /* of `rows`, or of the file */
};

struct changes {
    struct object_store *store;
    int64_t column_bytes_max;
    struct change_list lists[CHANGE_SIDE_COUNT];
    struct open_file open;
    int64_t chunk[CHUNK_ROWS];
    int64_t bytes_opened;
};

/* ---- columns ---- */

static bool is_chosen(const struct change_columns *columns, const char *name)
{
    if (columns->names == NULL) {
        return true;
    }
    for (size_t i = 0; i < columns->count; i++) {
        if (strcmp(columns->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static enum err_code check_chosen(const struct change_columns *columns, const struct json *fields,
                                  struct err *err)
{
    for (size_t i = 0; columns->names != NULL && i < columns->count; i++) {
        bool found = false;
        for (size_t k = 0; k < json_count(fields) && !found; k++) {
            const char *name = json_text(json_get(json_at(fields, k), "name"));
            found = name != NULL && strcmp(name, columns->names[i]) == 0;
        }
        if (!found) {
            return err_set(err, ERR_INVALID, "the source has no column '%s'", columns->names[i]);
        }
    }
    return ERR_OK;
}

/* The schemaString with the chosen fields alone: the others may be of types we cannot read. */
static void write_chosen(const struct change_columns *columns, const struct json *fields,
                         struct buffer *text)
{
    const char *separator = "";
    buffer_append_text(text, "{\"type\":\"struct\",\"fields\":[");
    for (size_t i = 0; i < json_count(fields); i++) {
        const char *name = json_text(json_get(json_at(fields, i), "name"));
        if (columns->names == NULL || (name != NULL && is_chosen(columns, name))) {
            buffer_append_text(text, separator);
            json_write(json_at(fields, i), text);
            separator = ",";
        }
    }
    buffer_append_text(text, "]}");
}

static enum err_code read_schema(const struct changes_options *options, enum change_side side,
                                 const struct delta_metadata *metadata, struct schema **schema_out,
                                 struct err *err)
{
    const struct change_columns *columns = &options->columns[side];
    CLEANUP(json_free) struct json *root = NULL;
    CLEANUP(json_free) struct json *partitions = json_new_array();
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SCHEMA_TEXT_BYTES_MAX);
    if (json_parse_deep(span_of_text(metadata->schema_string), JSON_DEPTH_DEEPEST, &root, err) !=
        ERR_OK) {
        err->code = ERR_CORRUPT; /* it was read from a log, no client wrote it to us */
        return err_wrap(err, "schemaString");
    }
    const struct json *fields = json_get(root, "fields");
    TRY(check_chosen(columns, fields, err));
    write_chosen(columns, fields, &text);
    TRY(buffer_check(&text, "schemaString", err));
    for (size_t i = 0; i < metadata->partition_columns_count; i++) {
        if (is_chosen(columns, metadata->partition_columns[i])) {
            json_append(partitions, json_new_text(metadata->partition_columns[i]));
        }
    }
    CLEANUP(schema_release) struct schema *schema = NULL;
    enum column_mapping mapping = COLUMN_MAPPING_NONE;
    TRY(delta_metadata_column_mapping(metadata, &mapping, err));
    TRY(schema_parse_delta_mapped(buffer_span(&text), partitions, mapping, &schema, err));
    *schema_out = schema;
    schema = NULL;
    return ERR_OK;
}

/* ---- which files ---- */

static void add_file(struct change_list *list, const struct delta_file *file,
                     const struct delta_file *other)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        list->items = mem_resize(list->items, list->capacity, sizeof *list->items);
    }
    list->items[list->count++] = (struct change_file){
        .file = delta_file_acquire(file),
        .other = other != NULL ? delta_file_acquire(other) : NULL,
    };
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp((*(const struct delta_file *const *)a)->path,
                  (*(const struct delta_file *const *)b)->path);
}

static void add_changed(struct changes *changes, const struct delta_file *before,
                        const struct delta_file *after)
{
    bool same = before != NULL && after != NULL && delta_dv_equal(&before->dv, &after->dv);
    if (same) {
        return; /* its tags or statistics changed */
    }
    if (before != NULL) {
        add_file(&changes->lists[CHANGE_REMOVED], before, after);
    }
    if (after != NULL) {
        add_file(&changes->lists[CHANGE_ADDED], after, before);
    }
}

static void list_commit(struct changes *changes, const struct delta_state *before,
                        const struct delta_commit *commit, const struct delta_state *after)
{
    size_t count = 0;
    CLEANUP(mem_cleanup)
    const struct delta_file **files = mem_zeroed(commit->files_count + 1, sizeof *files);
    for (size_t i = 0; i < commit->files_count; i++) {
        if (commit->files[i]->data_change) {
            files[count++] = commit->files[i];
        }
    }
    qsort(files, count, sizeof *files, compare_paths);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(files[i]->path, files[i - 1]->path) != 0) {
            add_changed(changes, delta_state_file_by_path(before, files[i]->path),
                        delta_state_file_by_path(after, files[i]->path));
        }
    }
}

static struct changes *new_changes(const struct changes_options *options)
{
    struct changes *changes = mem_zeroed(1, sizeof *changes);
    changes->store = options->store;
    changes->column_bytes_max = options->column_bytes_max;
    return changes;
}

enum err_code changes_of_version(const struct changes_options *options, struct delta_state *state,
                                 struct changes **changes_out, struct err *err)
{
    CLEANUP(changes_free) struct changes *changes = new_changes(options);
    struct change_list *added = &changes->lists[CHANGE_ADDED];
    const struct delta_file *file = NULL;
    TRY(read_schema(options, CHANGE_ADDED, state->metadata, &added->schema, err));
    for (struct delta_cursor at = {0}; (file = delta_state_next_file(state, &at)) != NULL;) {
        add_file(added, file, NULL);
    }
    *changes_out = changes;
    changes = NULL;
    return ERR_OK;
}

enum err_code changes_of_commit(const struct changes_options *options, struct delta_state *before,
                                const struct delta_commit *commit, struct delta_state *after,
                                struct changes **changes_out, struct err *err)
{
    assert(before->version + 1 == after->version);
    assert(commit->version == after->version);
    CLEANUP(changes_free) struct changes *changes = new_changes(options);
    struct change_list *added = &changes->lists[CHANGE_ADDED];
    struct change_list *removed = &changes->lists[CHANGE_REMOVED];
    list_commit(changes, before, commit, after);
    TRY(read_schema(options, CHANGE_ADDED, after->metadata, &added->schema, err));
    if (removed->count > 0) {
        TRY(read_schema(options, CHANGE_REMOVED, before->metadata, &removed->schema, err));
    }
    *changes_out = changes;
    changes = NULL;
    return ERR_OK;
}

static void close_file(struct open_file *open)
{
    if (open->is_open) {
        stored_close(&open->stored);
        deletion_vector_free(&open->hidden);
        mem_free(open->rows);
        *open = (struct open_file){0};
    }
}

void changes_free(struct changes **changes)
{
    struct changes *freed = *changes;
    if (freed == NULL) {
        return;
    }
    close_file(&freed->open);
    for (size_t side = 0; side < CHANGE_SIDE_COUNT; side++) {
        struct change_list *list = &freed->lists[side];
        for (size_t i = 0; i < list->count; i++) {
            delta_file_release(&list->items[i].file);
            delta_file_release(&list->items[i].other);
        }
        mem_free(list->items);
        schema_release(&list->schema);
    }
    mem_free(freed);
    *changes = NULL;
}

const struct schema *changes_schema(const struct changes *changes, enum change_side side)
{
    return changes->lists[side].schema;
}

int64_t changes_bytes_opened(const struct changes *changes)
{
    return changes->bytes_opened;
}

/* ---- which rows of a file ---- */

static enum err_code read_vector(const struct changes *changes, const struct delta_file *file,
                                 struct deletion_vector **vector_out, struct err *err)
{
    if (!delta_dv_is_present(&file->dv)) {
        return ERR_OK;
    }
    if (deletion_vector_read(changes->store, &file->dv, file->rows_count, vector_out, err) !=
        ERR_OK) {
        return err_wrap(err, "deletion vector of %s", file->path);
    }
    return ERR_OK;
}

/* Rows that are marked in `marked` and not in `but`. */
static void subtract(const struct deletion_vector *marked, const struct deletion_vector *but,
                     int64_t **rows_out, int64_t *count_out)
{
    int64_t all = marked != NULL ? deletion_vector_cardinality(marked) : 0;
    int64_t *rows = mem_zeroed((size_t)all + 1, sizeof *rows);
    int64_t kept = 0;
    if (all > 0) {
        deletion_vector_rows(marked, rows);
    }
    for (int64_t i = 0; i < all; i++) {
        if (but == NULL || !deletion_vector_contains(but, rows[i])) {
            rows[kept++] = rows[i];
        }
    }
    *rows_out = rows;
    *count_out = kept;
}

/* Of a file that both sides have: the rows that are alive here and marked there. */
static enum err_code find_rows(const struct changes *changes, const struct change_file *file,
                               int64_t **rows_out, int64_t *count_out, struct err *err)
{
    CLEANUP(deletion_vector_free) struct deletion_vector *here = NULL;
    CLEANUP(deletion_vector_free) struct deletion_vector *there = NULL;
    TRY(read_vector(changes, file->file, &here, err));
    TRY(read_vector(changes, file->other, &there, err));
    subtract(there, here, rows_out, count_out);
    return ERR_OK;
}

enum err_code changes_remove_rows(struct changes *changes, bool *removed_out, struct err *err)
{
    const struct change_list *list = &changes->lists[CHANGE_REMOVED];
    bool removed = false;
    for (size_t i = 0; i < list->count && !removed; i++) {
        const struct change_file *file = &list->items[i];
        if (file->other == NULL) {
            removed = delta_file_live_rows(file->file) != 0;
        } else {
            CLEANUP(mem_cleanup) int64_t *rows = NULL;
            int64_t count = 0;
            TRY(find_rows(changes, file, &rows, &count, err));
            removed = count > 0;
        }
    }
    *removed_out = removed;
    return ERR_OK;
}

/* ---- reading ---- */

static enum err_code open_rows(struct changes *changes, const struct change_file *file,
                               struct err *err)
{
    struct open_file *open = &changes->open;
    if (file->other == NULL) {
        open->rows_count = open->stored.rows_count;
        return read_vector(changes, file->file, &open->hidden, err);
    }
    TRY(find_rows(changes, file, &open->rows, &open->rows_count, err));
    if (open->rows_count > 0 && open->rows[open->rows_count - 1] >= open->stored.rows_count) {
        return err_set(err, ERR_CORRUPT, "deletion vector of %s: marks rows that are not there",
                       file->file->path);
    }
    return ERR_OK;
}

static enum err_code open_file(struct changes *changes, enum change_side side, int64_t index,
                               struct err *err)
{
    struct open_file *open = &changes->open;
    if (open->is_open && open->side == side && open->index == index) {
        return ERR_OK;
    }
    close_file(open);
    const struct change_list *list = &changes->lists[side];
    const struct change_file *file = &list->items[index];
    TRY(stored_open(changes->store, list->schema, file->file, NULL, &open->stored, err));
    open->is_open = true;
    open->side = side;
    open->index = index;
    open->stored.column_bytes_max = changes->column_bytes_max;
    open->stored.exact = true;
    if (open_rows(changes, file, err) != ERR_OK) {
        close_file(open);
        return err->code;
    }
    changes->bytes_opened += file->file->size > 0 ? file->file->size : 0;
    return ERR_OK;
}

/* Some of the open file's rows from `row` on, which moves behind them. */
static enum err_code read_chunk(struct changes *changes, int64_t rows_max, int64_t *row,
                                struct frame *frame, struct err *err)
{
    struct open_file *open = &changes->open;
    int64_t left = open->rows_count - *row;
    int64_t count = left < rows_max ? left : rows_max;
    count = count < CHUNK_ROWS ? count : CHUNK_ROWS;
    const int64_t *rows = open->rows != NULL ? open->rows + *row : changes->chunk;
    int64_t rows_count = count;
    if (open->rows == NULL && open->hidden == NULL) {
        TRY(stored_read_range(&open->stored, *row, count, frame, err));
    } else {
        if (open->rows == NULL) {
            deletion_vector_live_rows(open->hidden, *row, count, changes->chunk, &rows_count);
        }
        if (rows_count > 0) {
            TRY(stored_read_rows(&open->stored, rows, rows_count, frame, err));
        }
    }
    *row += count;
    return ERR_OK;
}

enum err_code changes_read(struct changes *changes, enum change_side side, int64_t rows_max,
                           struct change_place *place, struct frame *frame, bool *done_out,
                           struct err *err)
{
    const struct change_list *list = &changes->lists[side];
    struct change_place at = *place;
    int64_t end = frame->rows_count + rows_max;
    assert(rows_max > 0);
    while (at.file < (int64_t)list->count && frame->rows_count < end) {
        TRY(open_file(changes, side, at.file, err));
        if (at.row > changes->open.rows_count) {
            return err_set(err, ERR_CORRUPT, "row %lld of data file %s, which has %lld",
                           (long long)at.row, list->items[at.file].file->path,
                           (long long)changes->open.rows_count);
        }
        if (at.row < changes->open.rows_count) {
            TRY(read_chunk(changes, end - frame->rows_count, &at.row, frame, err));
        }
        if (at.row == changes->open.rows_count) {
            at = (struct change_place){.file = at.file + 1};
        }
    }
    if (at.file > (int64_t)list->count) {
        return err_set(err, ERR_CORRUPT, "file %lld of a change of %zu files", (long long)at.file,
                       list->count);
    }
    *place = at;
    *done_out = at.file == (int64_t)list->count;
    return ERR_OK;
}
