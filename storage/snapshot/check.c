/*
 * Judging the rows of a table. See check.h. Expectations of single rows are judged
 * here in one pass over the judged files; each other one makes passes of its own.
 */
#include "storage/snapshot/check_work.h"

#include "storage/base/mem.h"

#include <assert.h>

/* ---- chunks ---- */

enum err_code check_each_chunk(struct check_work *work, const struct snapshot *snapshot,
                               const struct snapshot_file *of, const bool *columns, size_t file,
                               check_chunk_fn *take, void *arg, struct err *err)
{
    const struct check_request *request = work->request;
    const struct file_rows_choice choice = {.columns = columns};
    CLEANUP(file_rows_end) struct file_rows rows = {0};
    CLEANUP(frame_free) struct frame *frame = frame_new(snapshot->schema);
    TRY(file_rows_begin(&rows, snapshot, of, &choice, err));
    for (bool more = true; more;) {
        int64_t visited = 0;
        if (request->check != NULL) {
            TRY(request->check(request->self, work->rows_done, err));
        }
        frame_reset(frame);
        TRY(file_rows_next(&rows, CHECK_CHUNK_ROWS, frame, &visited, &more, err));
        work->rows_done += visited;
        if (frame->rows_count > 0) {
            TRY(take(work, arg, file, &rows, frame, err));
        }
    }
    return ERR_OK;
}

/* ---- violations ---- */

static void keep_example(struct check_work *work, size_t expectation, size_t file, int64_t row,
                         size_t column)
{
    struct check_finding *finding = &work->findings[expectation];
    if (finding->examples_count < EXPECTATION_EXAMPLES_MAX) {
        finding->examples[finding->examples_count++] = (struct check_example){
            .file = mem_copy_text(work->files[file].file->path), .row = row, .column = column};
    }
}

static enum err_code mark(struct check_work *work, size_t expectation, size_t file, int64_t row,
                          struct err *err)
{
    if (work->marks_count == CHECK_REMOVED_ROWS_MAX) {
        return err_set(err, ERR_TOO_LARGE,
                       "/%zu: more than %d rows would be taken away at once; that looks like a "
                       "mistake in the expectation, so none is; use warn to count them",
                       expectation, CHECK_REMOVED_ROWS_MAX);
    }
    if (work->marks_count == work->marks_capacity) {
        work->marks_capacity = work->marks_capacity * 2 + 256;
        work->marks = mem_resize(work->marks, work->marks_capacity, sizeof *work->marks);
    }
    bool drop = work->list->items[expectation].action == EXPECTATION_DROP;
    work->marks[work->marks_count++] =
        (struct check_mark){.file = (uint32_t)file,
                            .row = (uint32_t)row,
                            .rank = (uint16_t)(expectation + (drop ? CHECK_RANK_DROP : 0))};
    return ERR_OK;
}

enum err_code check_note(struct check_work *work, size_t expectation, size_t file, int64_t row,
                         size_t column, struct err *err)
{
    work->findings[expectation].violations++;
    keep_example(work, expectation, file, row, column);
    return expectation_removes(&work->list->items[expectation])
               ? mark(work, expectation, file, row, err)
               : ERR_OK;
}

/* ---- rows by themselves ---- */

static enum err_code judge_chunk(struct check_work *work, void *arg, size_t file,
                                 const struct file_rows *rows, const struct frame *frame,
                                 struct err *err)
{
    (void)arg;
    work->rows_judged += frame->rows_count;
    memset(work->tallies, 0, work->list->count * sizeof *work->tallies);
    int64_t taken = expectations_apply(work->request->bound, frame, work->tallies, work->verdicts);
    for (size_t i = 0; i < work->list->count; i++) {
        const struct expectation_tally *tally = &work->tallies[i];
        work->findings[i].judged += tally->judged;
        work->findings[i].violations += tally->violations;
        for (size_t j = 0; j < tally->examples_count; j++) {
            keep_example(work, i, file, rows->rows[tally->examples[j].row],
                         tally->examples[j].column);
        }
    }
    for (int64_t row = 0; taken > 0 && row < frame->rows_count; row++) {
        if (work->verdicts[row] != EXPECTATION_KEPT) {
            TRY(mark(work, work->verdicts[row] - 1U, file, rows->rows[row], err));
        }
    }
    return ERR_OK;
}

static enum err_code judge_rows(struct check_work *work, struct err *err)
{
    const struct snapshot *snapshot = work->request->snapshot;
    for (size_t i = 0; i < work->files_count; i++) {
        TRY(check_each_chunk(work, snapshot, &work->files[i], work->row_columns, i, judge_chunk,
                             NULL, err));
    }
    return ERR_OK;
}

static enum err_code judge_one(struct check_work *work, size_t expectation, struct err *err)
{
    switch (work->list->items[expectation].type) {
    case EXPECTATION_UNIQUE:
        return check_uniqueness(work, expectation, err);
    case EXPECTATION_FOREIGN_KEY:
        return check_references(work, expectation, err);
    case EXPECTATION_ROW_COUNT:
        return check_row_count(work, expectation, err);
    case EXPECTATION_FRESHNESS:
        return check_freshness(work, expectation, err);
    default:
        return ERR_OK; /* judged with the rows */
    }
}

/* ---- rows that leave ---- */

static int compare_marks(const void *a, const void *b)
{
    const struct check_mark *left = a;
    const struct check_mark *right = b;
    if (left->file != right->file) {
        return left->file < right->file ? -1 : 1;
    }
    if (left->row != right->row) {
        return left->row < right->row ? -1 : 1;
    }
    return (left->rank > right->rank) - (left->rank < right->rank);
}

/* In order, each row once: the mark of lowest rank stands. */
static void settle_marks(struct check_work *work)
{
    if (work->marks_count == 0) {
        return;
    }
    qsort(work->marks, work->marks_count, sizeof *work->marks, compare_marks);
    size_t kept = 1;
    for (size_t i = 1; i < work->marks_count; i++) {
        const struct check_mark *last = &work->marks[kept - 1];
        if (work->marks[i].file != last->file || work->marks[i].row != last->row) {
            work->marks[kept++] = work->marks[i];
        }
    }
    work->marks_count = kept;
}

/* Marks first … first + count - 1 are of one file. */
static enum err_code hand_over(struct check_work *work, struct stored *stored, size_t first,
                               size_t count, struct err *err)
{
    const struct check_request *request = work->request;
    CLEANUP(frame_free) struct frame *frame = frame_new(request->snapshot->schema);
    int64_t rows[CHECK_CHUNK_ROWS];
    for (size_t at = 0; at < count; at += CHECK_CHUNK_ROWS) {
        size_t step = count - at < CHECK_CHUNK_ROWS ? count - at : CHECK_CHUNK_ROWS;
        for (size_t i = 0; i < step; i++) {
            const struct check_mark *mark = &work->marks[first + at + i];
            rows[i] = mark->row;
            work->verdicts[i] = mark->rank & (CHECK_RANK_DROP - 1);
        }
        if (request->check != NULL) {
            TRY(request->check(request->self, work->rows_done, err));
        }
        frame_reset(frame);
        TRY(stored_read_rows(stored, rows, (int64_t)step, frame, err));
        TRY(request->remove(request->self, frame, work->verdicts, err));
    }
    return ERR_OK;
}

/* A task that fails leaves the rows where they are. */
static bool has_failed(struct check_work *work)
{
    for (size_t i = 0; i < work->list->count; i++) {
        if (work->list->items[i].action == EXPECTATION_FAIL && work->findings[i].violations > 0) {
            work->marks_count = 0;
            return true;
        }
    }
    return false;
}

static enum err_code remove_rows(struct check_work *work, struct err *err)
{
    settle_marks(work);
    if (work->request->remove == NULL) {
        return ERR_OK;
    }
    for (size_t first = 0; first < work->marks_count;) {
        size_t end = first + 1;
        while (end < work->marks_count && work->marks[end].file == work->marks[first].file) {
            end++;
        }
        const struct snapshot *snapshot = work->request->snapshot;
        CLEANUP(stored_close) struct stored stored = {0};
        TRY(stored_open(snapshot->store, snapshot->schema,
                        work->files[work->marks[first].file].file, NULL, &stored, err));
        TRY(hand_over(work, &stored, first, end - first, err));
        first = end;
    }
    return ERR_OK;
}

/* ---- public ---- */

void check_result_deinit(struct check_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        for (size_t j = 0; j < result->findings[i].examples_count; j++) {
            mem_free(result->findings[i].examples[j].file);
        }
    }
    mem_free(result->findings);
    *result = (struct check_result){0};
}

static int compare_paths(const void *a, const void *b)
{
    const struct snapshot_file *left = a;
    const struct snapshot_file *right = b;
    return strcmp(left->file->path, right->file->path);
}

/* In one order, whether the snapshot is the published one or was loaded from the log. */
static struct snapshot_file *order_files(const struct snapshot_file *files, size_t count)
{
    struct snapshot_file *ordered = mem_zeroed(count + 1, sizeof *ordered);
    if (count > 0) {
        memcpy(ordered, files, count * sizeof *ordered); /* borrows what they hold */
        qsort(ordered, count, sizeof *ordered, compare_paths);
    }
    return ordered;
}

static void work_init(struct check_work *work, const struct check_request *request)
{
    const struct snapshot_file *files =
        request->files != NULL ? request->files->items : request->snapshot->files;
    size_t files_count =
        request->files != NULL ? request->files->count : request->snapshot->files_count;
    const struct expectations *list = bound_expectations_list(request->bound);
    const struct schema *schema = request->snapshot->schema;
    *work = (struct check_work){
        .request = request,
        .list = list,
        .files = order_files(files, files_count),
        .files_count = files_count,
        .findings = mem_zeroed(list->count + 1, sizeof *work->findings),
        .tallies = mem_zeroed(list->count + 1, sizeof *work->tallies),
        .verdicts = mem_zeroed(CHECK_CHUNK_ROWS, sizeof *work->verdicts),
        .row_columns = mem_zeroed(schema->fields_count, sizeof *work->row_columns),
    };
    for (size_t i = 0; i < list->count; i++) {
        const size_t *columns = bound_expectation_columns(request->bound, i);
        for (size_t j = 0; j < list->items[i].columns_count; j++) {
            work->row_columns[columns[j]] |= expectation_is_of_row(&list->items[i]);
        }
        work->findings[i].earlier_version = -1;
        work->findings[i].earlier_rows = -1;
        work->findings[i].age_seconds = -1;
    }
}

static void work_deinit(struct check_work *work)
{
    if (work->findings != NULL) {
        struct check_result findings = {.findings = work->findings, .count = work->list->count};
        check_result_deinit(&findings);
    }
    mem_free(work->files);
    mem_free(work->tallies);
    mem_free(work->verdicts);
    mem_free(work->row_columns);
    mem_free(work->marks);
}

enum err_code check_run(const struct check_request *request, struct check_result *result_out,
                        struct err *err)
{
    CLEANUP(work_deinit) struct check_work work;
    work_init(&work, request);
    TRY(judge_rows(&work, err));
    for (size_t i = 0; i < work.list->count; i++) {
        TRY(judge_one(&work, i, err));
    }
    if (!has_failed(&work)) {
        TRY(remove_rows(&work, err));
    }
    *result_out = (struct check_result){
        .findings = work.findings,
        .count = work.list->count,
        .rows_judged = work.rows_judged,
        .rows_removed = (int64_t)work.marks_count,
    };
    work.findings = NULL; /* the caller's now */
    return ERR_OK;
}
