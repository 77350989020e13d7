/*
 * Expectations that look beyond a row: uniqueness and references. See check.h.
 */
#include "storage/snapshot/check_work.h"

#include "storage/base/mem.h"
#include "storage/snapshot/lookup.h"
#include "storage/snapshot/value_set.h"

#include <assert.h>

/* One expectation with the set of values it compares with. */
struct comparison {
    size_t expectation;
    const size_t *columns; /* of the judged rows */
    size_t columns_count;
    struct value_set set;
    bool adds; /* judged values join the set: each next one falls short */
};

static bool *mask_of(const struct schema *schema, const size_t *columns, size_t count)
{
    bool *mask = mem_zeroed(schema->fields_count, sizeof *mask);
    for (size_t i = 0; i < count; i++) {
        mask[columns[i]] = true;
    }
    return mask;
}

static size_t set_bytes(const struct check_work *work)
{
    return work->request->set_bytes > 0 ? work->request->set_bytes : CHECK_SET_BYTES;
}

/* ---- values into the set ---- */

/* Columns of a table whose values are collected. */
struct collection {
    struct value_set *set;
    const size_t *columns;
    size_t columns_count;
};

static enum err_code collect_chunk(struct check_work *work, void *arg, size_t file,
                                   const struct file_rows *rows, const struct frame *frame,
                                   struct err *err)
{
    (void)work;
    (void)file;
    (void)rows;
    (void)err;
    const struct collection *collection = arg;
    for (int64_t row = 0; row < frame->rows_count && !collection->set->overflowed; row++) {
        struct hash_wide hash;
        if (value_set_hash(collection->set, frame, row, collection->columns,
                           collection->columns_count, &hash)) {
            (void)value_set_add(collection->set, hash); /* new or not is the same here */
        }
    }
    return ERR_OK;
}

/* ---- judged values against the set ---- */

static enum err_code compare_chunk(struct check_work *work, void *arg, size_t file,
                                   const struct file_rows *rows, const struct frame *frame,
                                   struct err *err)
{
    struct comparison *comparison = arg;
    struct value_set *set = &comparison->set;
    struct check_finding *finding = &work->findings[comparison->expectation];
    for (int64_t row = 0; row < frame->rows_count && !set->overflowed; row++) {
        struct hash_wide hash;
        if (!value_set_hash(set, frame, row, comparison->columns, comparison->columns_count,
                            &hash)) {
            continue; /* a null, or another pass judges it */
        }
        finding->judged++;
        bool good = comparison->adds ? value_set_add(set, hash) : value_set_has(set, hash);
        if (!good) {
            TRY(check_note(work, comparison->expectation, file, rows->rows[row],
                           comparison->columns[0], err));
        }
    }
    return ERR_OK;
}

/*
 * A judged file as it is in the snapshot; NULL when it is there no more. A row that a
 * later commit of the run replaced is no second row of its key.
 */
static const struct snapshot_file *live_file(const struct check_work *work, size_t file)
{
    const struct snapshot *snapshot = work->request->snapshot;
    const struct snapshot_file *judged = &work->files[file];
    if (work->request->files == NULL) {
        return judged;
    }
    for (size_t i = 0; i < snapshot->files_count; i++) {
        if (strcmp(snapshot->files[i].file->path, judged->file->path) == 0) {
            return &snapshot->files[i];
        }
    }
    return NULL;
}

static enum err_code compare_judged(struct check_work *work, struct comparison *comparison,
                                    struct err *err)
{
    const struct snapshot *snapshot = work->request->snapshot;
    CLEANUP(mem_cleanup)
    bool *mask = mask_of(snapshot->schema, comparison->columns, comparison->columns_count);
    for (size_t i = 0; i < work->files_count && !comparison->set.overflowed; i++) {
        const struct snapshot_file *file = comparison->adds ? live_file(work, i) : &work->files[i];
        if (file != NULL) {
            TRY(check_each_chunk(work, snapshot, file, mask, i, compare_chunk, comparison, err));
        }
    }
    return ERR_OK;
}

/* What a pass counted, when the whole comparison begins anew with more passes. */
static void forget(struct check_work *work, const struct comparison *comparison,
                   size_t marks_before)
{
    struct check_finding *finding = &work->findings[comparison->expectation];
    for (size_t i = 0; i < finding->examples_count; i++) {
        mem_free(finding->examples[i].file);
    }
    finding->examples_count = 0;
    finding->judged = 0;
    finding->violations = 0;
    work->marks_count = marks_before;
}

typedef enum err_code fill_fn(struct check_work *work, struct comparison *comparison, void *arg,
                              struct err *err);

/* Every pass: the set is filled, then judged rows are compared with it. */
static enum err_code compare(struct check_work *work, struct comparison *comparison, fill_fn *fill,
                             void *arg, struct err *err)
{
    size_t marks_before = work->marks_count;
    for (uint32_t pass = 0; pass < comparison->set.passes_count;) {
        value_set_begin_pass(&comparison->set, pass);
        TRY(fill(work, comparison, arg, err));
        TRY(compare_judged(work, comparison, err));
        if (comparison->set.overflowed) {
            value_set_split(&comparison->set);
            forget(work, comparison, marks_before);
            pass = 0;
        } else {
            pass++;
        }
    }
    return ERR_OK;
}

/* ---- unique ---- */

static bool is_judged_file(const struct check_work *work, const struct snapshot_file *file)
{
    for (size_t i = 0; i < work->files_count; i++) {
        if (&work->files[i] == file || strcmp(work->files[i].file->path, file->file->path) == 0) {
            return true;
        }
    }
    return false;
}

/* The rows that are not judged: they were there first. */
static enum err_code fill_unjudged(struct check_work *work, struct comparison *comparison,
                                   void *arg, struct err *err)
{
    (void)arg;
    const struct snapshot *snapshot = work->request->snapshot;
    if (work->request->files == NULL) {
        return ERR_OK;
    }
    CLEANUP(mem_cleanup)
    bool *mask = mask_of(snapshot->schema, comparison->columns, comparison->columns_count);
    struct collection collection = {.set = &comparison->set,
                                    .columns = comparison->columns,
                                    .columns_count = comparison->columns_count};
    for (size_t i = 0; i < snapshot->files_count && !comparison->set.overflowed; i++) {
        if (!is_judged_file(work, &snapshot->files[i])) {
            TRY(check_each_chunk(work, snapshot, &snapshot->files[i], mask, i, collect_chunk,
                                 &collection, err));
        }
    }
    return ERR_OK;
}

static void comparison_deinit(struct comparison *comparison)
{
    value_set_deinit(&comparison->set);
}

enum err_code check_uniqueness(struct check_work *work, size_t expectation, struct err *err)
{
    const struct check_request *request = work->request;
    CLEANUP(comparison_deinit)
    struct comparison comparison = {
        .expectation = expectation,
        .columns = bound_expectation_columns(request->bound, expectation),
        .columns_count = work->list->items[expectation].columns_count,
        .adds = true,
    };
    value_set_init(&comparison.set, set_bytes(work), snapshot_rows_count(request->snapshot));
    return compare(work, &comparison, fill_unjudged, NULL, err);
}

/* ---- foreign_key ---- */

/* The other side of a reference. */
struct reference {
    const struct snapshot *snapshot; /* a reference */
    size_t columns[SCHEMA_KEY_FIELDS_MAX];
    size_t columns_count;
    /* asking the index */
    const size_t *judged_columns;
    size_t expectation;
};

static void reference_deinit(struct reference *reference)
{
    snapshot_release(&reference->snapshot);
}

static enum err_code find_columns(const struct check_work *work, size_t expectation,
                                  struct reference *reference, struct err *err)
{
    const struct expectation *item = &work->list->items[expectation];
    const struct schema *schema = reference->snapshot->schema;
    if (item->references_count == 0) {
        if (schema->key_count == 0) {
            return err_set(err, ERR_INVALID,
                           "/%zu/references: table '%s' has no key; name its columns", expectation,
                           item->references_table);
        }
        memcpy(reference->columns, schema->key, schema->key_count * sizeof schema->key[0]);
        reference->columns_count = schema->key_count;
    }
    for (size_t i = 0; i < item->references_count; i++) {
        int column = schema_field_index(schema, span_of_text(item->references_columns[i]));
        if (column < 0) {
            return err_set(err, ERR_INVALID,
                           "/%zu/references/columns: table '%s' has no column '%s'", expectation,
                           item->references_table, item->references_columns[i]);
        }
        reference->columns[i] = (size_t)column;
        reference->columns_count = i + 1;
    }
    if (reference->columns_count != item->columns_count) {
        return err_set(err, ERR_INVALID,
                       "/%zu/columns: the key of table '%s' has %zu fields; give as many columns",
                       expectation, item->references_table, reference->columns_count);
    }
    return ERR_OK;
}

static bool is_whole_number(enum column_type type)
{
    return type == COLUMN_INTEGER || type == COLUMN_LONG || type == COLUMN_BYTE ||
           type == COLUMN_SHORT;
}

/* Are values of the two fields comparable as bytes? */
static bool fits(const struct field *a, const struct field *b)
{
    if (is_whole_number(a->type) && is_whole_number(b->type)) {
        return true;
    }
    return a->type == b->type && (a->type != COLUMN_DECIMAL || a->scale == b->scale) &&
           a->type != COLUMN_DOUBLE && a->type != COLUMN_FLOAT;
}

static enum err_code check_fit(const struct check_work *work, size_t expectation,
                               const struct reference *reference, struct err *err)
{
    const struct schema *own = work->request->snapshot->schema;
    const struct schema *other = reference->snapshot->schema;
    const size_t *columns = bound_expectation_columns(work->request->bound, expectation);
    for (size_t i = 0; i < reference->columns_count; i++) {
        const struct field *a = &own->fields[columns[i]];
        const struct field *b = &other->fields[reference->columns[i]];
        if (!fits(a, b)) {
            return err_set(err, ERR_INVALID,
                           "/%zu/references/columns: '%s' is of type %s and '%s' of type %s, whose "
                           "values are never equal",
                           expectation, a->name, column_type_name(a->type), b->name,
                           column_type_name(b->type));
        }
    }
    return ERR_OK;
}

static enum err_code fill_referenced(struct check_work *work, struct comparison *comparison,
                                     void *arg, struct err *err)
{
    const struct reference *reference = arg;
    const struct snapshot *snapshot = reference->snapshot;
    CLEANUP(mem_cleanup)
    bool *mask = mask_of(snapshot->schema, reference->columns, reference->columns_count);
    struct collection collection = {.set = &comparison->set,
                                    .columns = reference->columns,
                                    .columns_count = reference->columns_count};
    for (size_t i = 0; i < snapshot->files_count && !comparison->set.overflowed; i++) {
        TRY(check_each_chunk(work, snapshot, &snapshot->files[i], mask, i, collect_chunk,
                             &collection, err));
    }
    return ERR_OK;
}

/* ---- asking an index ---- */

/* Are the columns exactly the key, in any order, of the same types? */
static bool is_key(const struct check_work *work, const struct reference *reference,
                   const size_t *judged_columns)
{
    const struct schema *schema = reference->snapshot->schema;
    const struct schema *own = work->request->snapshot->schema;
    bool is = reference->snapshot->index != NULL && schema->key_count == reference->columns_count &&
              schema->key_count > 0;
    for (size_t i = 0; is && i < reference->columns_count; i++) {
        bool found = false;
        for (size_t j = 0; j < schema->key_count; j++) {
            found |= schema->key[j] == reference->columns[i];
        }
        is = found &&
             own->fields[judged_columns[i]].type == schema->fields[reference->columns[i]].type;
    }
    return is;
}

/* Keys of the other table from rows first … of a chunk: at most LOOKUP_KEYS_MAX. */
static int64_t gather_keys(const struct reference *reference, const struct frame *frame,
                           int64_t first, struct frame *keys, int64_t *places)
{
    const struct schema *schema = reference->snapshot->schema;
    int64_t row = first;
    for (; row < frame->rows_count && keys->rows_count < LOOKUP_KEYS_MAX; row++) {
        bool whole = true;
        for (size_t i = 0; whole && i < reference->columns_count; i++) {
            whole = column_is_valid(&frame->columns[reference->judged_columns[i]], row);
        }
        if (!whole) {
            continue;
        }
        for (size_t i = 0; i < schema->fields_count; i++) {
            size_t part = 0;
            while (part < reference->columns_count && reference->columns[part] != i) {
                part++;
            }
            if (part < reference->columns_count) {
                column_append_from(&keys->columns[i],
                                   &frame->columns[reference->judged_columns[part]], row);
            } else {
                column_append_null(&keys->columns[i]);
            }
        }
        places[keys->rows_count] = row;
        frame_end_row(keys, FRAME_UPSERT, 0);
    }
    return row;
}

static enum err_code ask_chunk(struct check_work *work, void *arg, size_t file,
                               const struct file_rows *rows, const struct frame *frame,
                               struct err *err)
{
    const struct reference *reference = arg;
    CLEANUP(frame_free) struct frame *keys = frame_new(reference->snapshot->schema);
    int64_t places[LOOKUP_KEYS_MAX] = {0};
    for (int64_t row = 0; row < frame->rows_count;) {
        frame_reset(keys);
        row = gather_keys(reference, frame, row, keys, places);
        if (keys->rows_count == 0) {
            continue;
        }
        CLEANUP(lookup_result_deinit) struct lookup_result result = {0};
        TRY(lookup_keys(reference->snapshot, keys, &result, err));
        work->findings[reference->expectation].judged += keys->rows_count;
        for (size_t i = 0; i < result.count; i++) {
            if (!result.rows[i].found) {
                TRY(check_note(work, reference->expectation, file, rows->rows[places[i]],
                               reference->judged_columns[0], err));
            }
        }
    }
    return ERR_OK;
}

static enum err_code ask_index(struct check_work *work, struct reference *reference,
                               struct err *err)
{
    const struct snapshot *snapshot = work->request->snapshot;
    CLEANUP(mem_cleanup)
    bool *mask = mask_of(snapshot->schema, reference->judged_columns, reference->columns_count);
    for (size_t i = 0; i < work->files_count; i++) {
        TRY(check_each_chunk(work, snapshot, &work->files[i], mask, i, ask_chunk, reference, err));
    }
    return ERR_OK;
}

enum err_code check_references(struct check_work *work, size_t expectation, struct err *err)
{
    const struct check_request *request = work->request;
    CLEANUP(reference_deinit)
    struct reference reference = {.expectation = expectation,
                                  .judged_columns =
                                      bound_expectation_columns(request->bound, expectation)};
    if (request->refer(request->self, work->list->items[expectation].references_table,
                       &reference.snapshot, err) != ERR_OK) {
        return err_wrap(err, "/%zu/references/table", expectation);
    }
    TRY(find_columns(work, expectation, &reference, err));
    TRY(check_fit(work, expectation, &reference, err));
    if (is_key(work, &reference, reference.judged_columns)) {
        return ask_index(work, &reference, err);
    }
    CLEANUP(comparison_deinit)
    struct comparison comparison = {
        .expectation = expectation,
        .columns = reference.judged_columns,
        .columns_count = reference.columns_count,
    };
    value_set_init(&comparison.set, set_bytes(work), snapshot_rows_count(reference.snapshot));
    return compare(work, &comparison, fill_referenced, &reference, err);
}
