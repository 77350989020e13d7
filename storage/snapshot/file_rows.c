/*
 * Rows of one data file. See file_rows.h.
 */
#include "storage/snapshot/file_rows.h"

#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/snapshot/scan_filter.h"

#include <assert.h>

static void prepare_filters(struct file_rows *rows, const struct schema *schema)
{
    const struct file_rows_choice *choice = rows->choice;
    if (choice->filters_count == 0) {
        return;
    }
    rows->probe = frame_new(schema);
    rows->filter_columns = mem_zeroed(schema->fields_count, sizeof(bool));
    for (size_t i = 0; i < choice->filters_count; i++) {
        rows->filter_columns[choice->filters[i].column] = true;
    }
}

enum err_code file_rows_begin(struct file_rows *rows, const struct snapshot *snapshot,
                              const struct snapshot_file *file,
                              const struct file_rows_choice *choice, struct err *err)
{
    *rows = (struct file_rows){.choice = choice, .file = file};
    TRY(stored_open(snapshot->store, snapshot->schema, file->file, choice->columns, &rows->stored,
                    err));
    prepare_filters(rows, snapshot->schema);
    if (!scan_filters_may_match_file(choice->filters, choice->filters_count, snapshot->schema,
                                     file->file)) {
        rows->next = rows->stored.rows_count;
    }
    return ERR_OK;
}

void file_rows_end(struct file_rows *rows)
{
    stored_close(&rows->stored);
    frame_free(&rows->probe);
    mem_free(rows->filter_columns);
    mem_free(rows->rows);
    *rows = (struct file_rows){0};
}

/* Move over row groups without a match; false at the end of the file. */
static bool find_group(struct file_rows *rows)
{
    struct stored *stored = &rows->stored;
    while (rows->row_group < stored_row_groups_count(stored)) {
        int64_t end = stored_row_group_start(stored, rows->row_group) +
                      stored_row_group_rows(stored, rows->row_group);
        if (rows->next < end) {
            if (rows->group_judged ||
                scan_filters_may_match_group(rows->choice->filters, rows->choice->filters_count,
                                             stored, rows->row_group)) {
                rows->group_judged = true;
                return true;
            }
            rows->next = end;
        }
        rows->row_group++;
        rows->group_judged = false;
    }
    return false;
}

/* Keep of `count` chosen rows those that pass the filters. */
static enum err_code filter(struct file_rows *rows, int64_t *count, struct err *err)
{
    const struct file_rows_choice *choice = rows->choice;
    frame_reset(rows->probe);
    stored_choose(&rows->stored, rows->filter_columns);
    TRY(stored_read_rows(&rows->stored, rows->rows, *count, rows->probe, err));
    int64_t kept = 0;
    for (int64_t i = 0; i < *count; i++) {
        if (scan_filters_match(choice->filters, choice->filters_count, rows->probe, i)) {
            rows->rows[kept++] = rows->rows[i];
        }
    }
    *count = kept;
    stored_choose(&rows->stored, choice->columns);
    return ERR_OK;
}

static void make_room(struct file_rows *rows, int64_t count)
{
    if (rows->rows_capacity < count) {
        rows->rows = mem_resize(rows->rows, (size_t)count, sizeof *rows->rows);
        rows->rows_capacity = count;
    }
}

enum err_code file_rows_next(struct file_rows *rows, int64_t count, struct frame *frame,
                             int64_t *visited_out, bool *more_out, struct err *err)
{
    assert(count > 0);
    int64_t live = 0;
    if (find_group(rows)) {
        int64_t end = stored_row_group_start(&rows->stored, rows->row_group) +
                      stored_row_group_rows(&rows->stored, rows->row_group);
        count = count < end - rows->next ? count : end - rows->next;
        make_room(rows, count);
        deletion_vector_live_rows(rows->file->dv, rows->next, count, rows->rows, &live);
        int64_t chosen = live;
        if (chosen > 0 && rows->probe != NULL) {
            TRY(filter(rows, &chosen, err));
        }
        if (chosen > 0) {
            TRY(stored_read_rows(&rows->stored, rows->rows, chosen, frame, err));
        }
        rows->next += count;
    }
    *visited_out = live;
    *more_out = find_group(rows);
    return ERR_OK;
}
