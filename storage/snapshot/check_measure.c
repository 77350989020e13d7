/*
 * Expectations of a table as a whole: how many rows, how old; and the rows that
 * commits brought. See check.h.
 */
#include "storage/snapshot/check_work.h"

#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/delta/log.h"
#include "storage/snapshot/files.h"
#include "storage/snapshot/history.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

enum {
    HUNDREDTHS = 100,
    COMMITS_WALKED_MAX = 10000, /* back to the last one that changed data */
};

/* ---- counting ---- */

static int64_t live_rows_of(const struct snapshot_file *file)
{
    int64_t dead = file->dv == NULL ? 0 : deletion_vector_cardinality(file->dv);
    return file->rows_count < 0 ? -1 : file->rows_count - dead;
}

static enum err_code count_chunk(struct check_work *work, void *arg, size_t file,
                                 const struct file_rows *rows, const struct frame *frame,
                                 struct err *err)
{
    (void)work;
    (void)file;
    (void)rows;
    (void)err;
    *(int64_t *)arg += frame->rows_count;
    return ERR_OK;
}

/* By the log where it tells, else by reading the file. */
static enum err_code count_rows(struct check_work *work, const struct snapshot *snapshot,
                                const struct snapshot_file *files, size_t count, int64_t *rows_out,
                                struct err *err)
{
    CLEANUP(mem_cleanup)
    bool *nothing = mem_zeroed(snapshot->schema->fields_count, sizeof *nothing);
    int64_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t live = live_rows_of(&files[i]);
        if (live < 0) {
            TRY(check_each_chunk(work, snapshot, &files[i], nothing, i, count_chunk, &rows, err));
        } else {
            rows += live;
        }
    }
    *rows_out = rows;
    return ERR_OK;
}

/* The version to compare with; -1 = the table was not there yet. */
static enum err_code earlier_version(const struct check_work *work,
                                     const struct expectation *expectation, int64_t *version_out,
                                     struct err *err)
{
    const struct check_request *request = work->request;
    if (expectation->seconds_back < 0) {
        int64_t back = expectation->versions_back >= 0 ? expectation->versions_back : 1;
        bool of_run = expectation->versions_back < 0 && request->files != NULL;
        int64_t from = of_run && request->files->first_version >= 0 ? request->files->first_version
                                                                    : request->snapshot->version;
        *version_out = from >= back ? from - back : -1;
        return ERR_OK;
    }
    int64_t at_ms = request->now_us / 1000 - expectation->seconds_back * 1000;
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    enum err_code code = table_snapshot_at_time(request->table, at_ms, &snapshot, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err); /* the table is younger */
        *version_out = -1;
        return ERR_OK;
    }
    TRY(code);
    *version_out = snapshot->version;
    return ERR_OK;
}

/* Leaves earlier_rows at -1 when there is nothing to compare with. */
static enum err_code count_earlier(struct check_work *work, const struct expectation *expectation,
                                   struct check_finding *finding, struct err *err)
{
    int64_t version = -1;
    TRY(earlier_version(work, expectation, &version, err));
    if (version < 0) {
        return ERR_OK;
    }
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    enum err_code code = table_snapshot_at_version(work->request->table, version, &snapshot, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err); /* the log does not reach back so far */
        return ERR_OK;
    }
    TRY(code);
    finding->earlier_version = version;
    return count_rows(work, snapshot, snapshot->files, snapshot->files_count,
                      &finding->earlier_rows, err);
}

/* Is the change from `earlier` to `rows` within the bounds? Exact: no division. */
static bool change_holds(const struct expectation *expectation, int64_t earlier, int64_t rows)
{
    __int128 change = ((__int128)rows - earlier) * 100 * HUNDREDTHS;
    if (expectation->change_minimum != INT64_MIN &&
        change < (__int128)expectation->change_minimum * earlier) {
        return false;
    }
    /* from nothing to something is more than any percentage */
    return expectation->change_maximum == INT64_MIN ||
           change <= (__int128)expectation->change_maximum * earlier;
}

enum err_code check_row_count(struct check_work *work, size_t index, struct err *err)
{
    const struct check_request *request = work->request;
    const struct expectation *expectation = &work->list->items[index];
    struct check_finding *finding = &work->findings[index];
    TRY(count_rows(work, request->snapshot, work->files, work->files_count, &finding->rows, err));
    bool absolute = expectation->rows_minimum >= 0 || expectation->rows_maximum >= 0;
    bool good = finding->rows >= expectation->rows_minimum &&
                (expectation->rows_maximum < 0 || finding->rows <= expectation->rows_maximum);
    if (expectation->change_minimum != INT64_MIN || expectation->change_maximum != INT64_MIN) {
        int64_t table_rows = 0; /* a change is the table's, whichever rows are judged */
        TRY(count_earlier(work, expectation, finding, err));
        TRY(count_rows(work, request->snapshot, request->snapshot->files,
                       request->snapshot->files_count, &table_rows, err));
        if (finding->earlier_rows >= 0) {
            absolute = true;
            good = good && change_holds(expectation, finding->earlier_rows, table_rows);
        }
        finding->rows = request->files == NULL ? finding->rows : table_rows;
    }
    finding->judged = absolute;
    finding->violations = absolute && !good;
    return ERR_OK;
}

/* ---- age ---- */

/* The newest moment of a column. */
struct newest {
    size_t column;
    bool found;
    int64_t us;
};

static enum err_code newest_of_chunk(struct check_work *work, void *arg, size_t file,
                                     const struct file_rows *rows, const struct frame *frame,
                                     struct err *err)
{
    (void)work;
    (void)file;
    (void)rows;
    (void)err;
    struct newest *newest = arg;
    const struct column *column = &frame->columns[newest->column];
    for (int64_t row = 0; row < frame->rows_count; row++) {
        if (!column_is_valid(column, row)) {
            continue;
        }
        int64_t us = 0;
        if (column->type != COLUMN_DATE) {
            us = column->values.i64[row];
        } else if (__builtin_mul_overflow((int64_t)column->values.i32[row], INT64_C(86400000000),
                                          &us)) {
            continue; /* a date that no clock shows */
        }
        newest->us = newest->found && newest->us > us ? newest->us : us;
        newest->found = true;
    }
    return ERR_OK;
}

static enum err_code newest_value(struct check_work *work, size_t column, struct newest *newest,
                                  struct err *err)
{
    const struct snapshot *snapshot = work->request->snapshot;
    CLEANUP(mem_cleanup) bool *mask = mem_zeroed(snapshot->schema->fields_count, sizeof *mask);
    mask[column] = true;
    newest->column = column;
    for (size_t i = 0; i < work->files_count; i++) {
        TRY(check_each_chunk(work, snapshot, &work->files[i], mask, i, newest_of_chunk, newest,
                             err));
    }
    return ERR_OK;
}

static bool changes_data(const struct delta_commit *commit)
{
    for (size_t i = 0; i < commit->files_count; i++) {
        if (commit->files[i]->data_change) {
            return true;
        }
    }
    return false;
}

/* Maintenance does not make a table fresh: the last commit that changed data does. */
static enum err_code newest_commit(struct check_work *work, struct newest *newest, struct err *err)
{
    const struct snapshot *snapshot = work->request->snapshot;
    for (int64_t back = 0; back <= snapshot->version && back < COMMITS_WALKED_MAX; back++) {
        CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
        enum err_code code =
            delta_commit_read(snapshot->store, snapshot->version - back, &commit, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* older ones were cleaned away */
            return ERR_OK;
        }
        TRY(code);
        if (!changes_data(commit)) {
            continue;
        }
        CLEANUP(history_free) struct history history = {0};
        TRY(history_read(snapshot->store, commit->version + 1, 1, &history, err));
        if (history.count == 1) {
            newest->found = true;
            newest->us = history.entries[0].timestamp_ms * 1000;
        }
        return ERR_OK;
    }
    return ERR_OK;
}

enum err_code check_freshness(struct check_work *work, size_t index, struct err *err)
{
    const struct expectation *expectation = &work->list->items[index];
    struct check_finding *finding = &work->findings[index];
    struct newest newest = {0};
    if (expectation->columns_count > 0) {
        TRY(newest_value(work, bound_expectation_columns(work->request->bound, index)[0], &newest,
                         err));
    } else {
        TRY(newest_commit(work, &newest, err));
    }
    finding->judged = 1;
    finding->violations = 1; /* of nothing there is no fresh one */
    if (newest.found) {
        int64_t age_us = 0;
        bool fits = !__builtin_sub_overflow(work->request->now_us, newest.us, &age_us);
        finding->age_seconds = fits ? (age_us > 0 ? age_us / 1000000 : 0) : INT64_MAX;
        finding->violations = finding->age_seconds > expectation->max_age_seconds;
    }
    return ERR_OK;
}

/* ---- the rows that commits brought ---- */

void check_files_free(struct check_files *files)
{
    struct file_list list = {.items = files->items, .count = files->count};
    file_list_deinit(&list);
    *files = (struct check_files){.first_version = -1};
}

/* Was the file there before, so that the commit only gave it another vector? */
static bool is_removed_too(const struct delta_commit *commit, const struct delta_file *file)
{
    for (size_t i = 0; i < commit->files_count; i++) {
        if (commit->files[i]->removed && strcmp(commit->files[i]->path, file->path) == 0) {
            return true;
        }
    }
    return false;
}

static enum err_code add_commit(struct table *table, int64_t version, struct file_list *list,
                                struct err *err)
{
    CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
    struct object_store *store = table_store(table);
    TRY(delta_commit_read(store, version, &commit, err));
    for (size_t i = 0; i < commit->files_count; i++) {
        const struct delta_file *file = commit->files[i];
        if (file->removed || !file->data_change || is_removed_too(commit, file)) {
            continue;
        }
        struct shared_vector *vector = NULL;
        struct images *none = NULL;
        TRY(table_load_vector(store, file, &vector, err));
        file_list_add(list, 0, file, &none, &vector);
    }
    return ERR_OK;
}

enum err_code check_files_read(struct table *table, const int64_t *versions, size_t count,
                               struct check_files *files_out, struct err *err)
{
    if (count > CHECK_VERSIONS_MAX) {
        return err_set(err, ERR_TOO_LARGE,
                       "the run made %zu commits, of which %d can be checked; check the table",
                       count, CHECK_VERSIONS_MAX);
    }
    CLEANUP(file_list_deinit) struct file_list list = {0};
    for (size_t i = 0; i < count; i++) {
        assert(i == 0 || versions[i] > versions[i - 1]);
        if (add_commit(table, versions[i], &list, err) != ERR_OK) {
            return err_wrap(err, "version %lld of table '%s'", (long long)versions[i],
                            table_name(table));
        }
    }
    *files_out = (struct check_files){
        .items = list.items, .count = list.count, .first_version = count > 0 ? versions[0] : -1};
    list = (struct file_list){0};
    return ERR_OK;
}
