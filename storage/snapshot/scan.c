/*
 * Scans. See scan.h.
 */
#include "storage/snapshot/scan.h"

#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/snapshot/scan_filter.h"
#include "storage/snapshot/scan_key.h"
#include "storage/snapshot/stored.h"

#include <assert.h>

void scan_result_deinit(struct scan_result *result)
{
    frame_free(&result->frame);
    *result = (struct scan_result){0};
}

/* One page being filled. */
struct scanner {
    const struct snapshot *snapshot;
    const struct scan_request *request;
    bool *filter_columns;           /* per field: some filter looks at it */
    struct frame *probe;            /* filter columns of a chunk */
    struct frame *rows;             /* the page */
    int64_t chunk[SCAN_CHUNK_ROWS]; /* live rows of the chunk, then those that match */
    int64_t chunk_count;
    struct scan_position at;
    int64_t visited;
    int64_t skipped_files;
};

static void scanner_deinit(struct scanner *scanner)
{
    mem_free(scanner->filter_columns);
    frame_free(&scanner->probe);
    frame_free(&scanner->rows);
    mem_free(scanner);
}

static void free_scanner(struct scanner **scanner)
{
    if (*scanner != NULL) {
        scanner_deinit(*scanner);
        *scanner = NULL;
    }
}

static bool is_full(const struct scanner *scanner)
{
    const struct scan_request *request = scanner->request;
    return scanner->rows->rows_count >= request->limit ||
           (request->visit_rows_max > 0 && scanner->visited >= request->visit_rows_max);
}

/* ---- reading ---- */

/* Keep of scanner->chunk the rows that pass the filters. */
static enum err_code filter_chunk(struct scanner *scanner, struct stored *stored, struct err *err)
{
    if (scanner->request->filters_count == 0) {
        return ERR_OK;
    }
    frame_reset(scanner->probe);
    stored_choose(stored, scanner->filter_columns);
    TRY(stored_read_rows(stored, scanner->chunk, scanner->chunk_count, scanner->probe, err));
    int64_t kept = 0;
    for (int64_t i = 0; i < scanner->chunk_count; i++) {
        if (scan_filters_match(scanner->request->filters, scanner->request->filters_count,
                               scanner->probe, i)) {
            scanner->chunk[kept++] = scanner->chunk[i];
        }
    }
    scanner->chunk_count = kept;
    return ERR_OK;
}

/*
 * Append of scanner->chunk what passes, as far as there is room. The position moves
 * behind what was taken: to `next` when that was the whole chunk.
 */
static enum err_code take_chunk(struct scanner *scanner, struct stored *stored, int64_t next,
                                struct err *err)
{
    scanner->visited += scanner->chunk_count;
    if (scanner->chunk_count > 0) {
        TRY(filter_chunk(scanner, stored, err));
    }
    int64_t room = scanner->request->limit - scanner->rows->rows_count;
    if (scanner->chunk_count > room) {
        scanner->chunk_count = room;
        next = scanner->chunk[room - 1] + 1;
    }
    if (scanner->chunk_count > 0) {
        stored_choose(stored, scanner->request->columns);
        TRY(stored_read_rows(stored, scanner->chunk, scanner->chunk_count, scanner->rows, err));
    }
    scanner->at.row = next;
    return ERR_OK;
}

/* Read `count` rows from scanner->at.row on. */
static enum err_code read_chunk(struct scanner *scanner, struct stored *stored,
                                const struct deletion_vector *dv, int64_t count, struct err *err)
{
    deletion_vector_live_rows(dv, scanner->at.row, count, scanner->chunk, &scanner->chunk_count);
    return take_chunk(scanner, stored, scanner->at.row + count, err);
}

static enum err_code scan_row_group(struct scanner *scanner, struct stored *stored,
                                    size_t row_group, const struct deletion_vector *dv,
                                    struct err *err)
{
    int64_t end =
        stored_row_group_start(stored, row_group) + stored_row_group_rows(stored, row_group);
    if (scanner->at.row >= end) {
        return ERR_OK;
    }
    if (!scan_filters_may_match_group(scanner->request->filters, scanner->request->filters_count,
                                      stored, row_group)) {
        scanner->at.row = end;
        return ERR_OK;
    }
    while (scanner->at.row < end && !is_full(scanner)) {
        int64_t left = end - scanner->at.row;
        /* Without filters no more than the page's rows are worth decoding. */
        int64_t wanted = scanner->request->filters_count > 0
                             ? SCAN_CHUNK_ROWS
                             : scanner->request->limit - scanner->rows->rows_count;
        wanted = wanted < SCAN_CHUNK_ROWS ? wanted : SCAN_CHUNK_ROWS;
        TRY(read_chunk(scanner, stored, dv, left < wanted ? left : wanted, err));
    }
    return ERR_OK;
}

static enum err_code scan_file(struct scanner *scanner, const struct delta_file *file,
                               const struct deletion_vector *dv, bool *ended_out, struct err *err)
{
    CLEANUP(stored_close) struct stored stored = {0};
    TRY(stored_open(scanner->snapshot->store, scanner->snapshot->schema, file, NULL, &stored, err));
    if (scanner->at.row > stored.rows_count) {
        return err_set(err, ERR_INVALID, "the position is not one of this version");
    }
    for (size_t i = 0; i < stored_row_groups_count(&stored) && !is_full(scanner); i++) {
        TRY(scan_row_group(scanner, &stored, i, dv, err));
    }
    *ended_out = scanner->at.row >= stored.rows_count;
    return ERR_OK;
}

/* The vector of a file of the log; the snapshot's own order is by number. */
static const struct deletion_vector *vector_of(const struct snapshot *snapshot, int64_t index,
                                               const struct delta_file *file)
{
    if (!delta_dv_is_present(&file->dv)) {
        return NULL;
    }
    if ((size_t)index < snapshot->files_count && snapshot->files[index].file == file) {
        return snapshot->files[index].dv;
    }
    for (size_t i = 0; i < snapshot->files_count; i++) {
        if (strcmp(snapshot->files[i].file->path, file->path) == 0) {
            return snapshot->files[i].dv;
        }
    }
    assert(!"a snapshot holds the files of its state");
    return NULL;
}

static enum err_code scan_files(struct scanner *scanner, struct err *err)
{
    const struct delta_state *state = scanner->snapshot->state;
    while (scanner->at.file < state->files_count && !is_full(scanner)) {
        const struct delta_file *file = delta_state_file_at(state, scanner->at.file);
        bool ended = true;
        if (scan_filters_may_match_file(scanner->request->filters, scanner->request->filters_count,
                                        scanner->snapshot->schema, file)) {
            TRY(scan_file(scanner, file, vector_of(scanner->snapshot, scanner->at.file, file),
                          &ended, err));
        } else {
            scanner->skipped_files++;
        }
        if (ended) {
            scanner->at = (struct scan_position){.file = scanner->at.file + 1};
        }
    }
    return ERR_OK;
}

/* ---- rows that the key index named ---- */

/* The chunk's worth of places from `first` on that lie in the present file; how many. */
static size_t gather_places(struct scanner *scanner, const struct scan_places *places, size_t first)
{
    size_t i = first;
    scanner->chunk_count = 0;
    while (i < places->count && places->items[i].file == scanner->at.file &&
           scanner->chunk_count < SCAN_CHUNK_ROWS) {
        scanner->chunk[scanner->chunk_count++] = places->items[i].row;
        i++;
    }
    return i - first;
}

static bool is_before(const struct scan_position *a, const struct scan_position *b)
{
    return a->file < b->file || (a->file == b->file && a->row < b->row);
}

/* The first place from `next` on that is not behind the scanner. */
static size_t skip_places(const struct scanner *scanner, const struct scan_places *places,
                          size_t next)
{
    while (next < places->count && is_before(&places->items[next], &scanner->at)) {
        next++;
    }
    return next;
}

/* Rows of the present file, from place `next` on. */
static enum err_code read_places(struct scanner *scanner, const struct scan_places *places,
                                 size_t next, struct err *err)
{
    const struct delta_state *state = scanner->snapshot->state;
    CLEANUP(stored_close) struct stored stored = {0};
    TRY(stored_open(scanner->snapshot->store, scanner->snapshot->schema,
                    delta_state_file_at(state, scanner->at.file), NULL, &stored, err));
    while (!is_full(scanner)) {
        size_t gathered = gather_places(scanner, places, next);
        if (gathered == 0) {
            break;
        }
        TRY(take_chunk(scanner, &stored, places->items[next + gathered - 1].row + 1, err));
        next = skip_places(scanner, places, next);
    }
    return ERR_OK;
}

/* Go to the beginning of a later file; `opened` says that the present one was read. */
static void move_to_file(struct scanner *scanner, int64_t file, bool opened)
{
    if (file > scanner->at.file) {
        scanner->skipped_files += file - scanner->at.file - (opened ? 1 : 0);
        scanner->at = (struct scan_position){.file = file};
    }
}

/* The same rows in the same order as scan_files, without looking at any others. */
static enum err_code scan_places(struct scanner *scanner, const struct scan_places *places,
                                 struct err *err)
{
    bool opened = scanner->at.row > 0;
    size_t next = 0;
    for (;;) {
        next = skip_places(scanner, places, next);
        if (next == places->count) {
            move_to_file(scanner, scanner->snapshot->state->files_count, opened);
            return ERR_OK;
        }
        if (is_full(scanner)) {
            return ERR_OK;
        }
        move_to_file(scanner, places->items[next].file, opened);
        TRY(read_places(scanner, places, next, err));
        opened = true;
    }
}

enum err_code scan_run(const struct snapshot *snapshot, const struct scan_request *request,
                       struct scan_result *result_out, struct err *err)
{
    assert(request->limit >= 1);
    assert(request->limit <= SCAN_ROWS_MAX);
    TRY(scan_filters_check(snapshot->schema, request->filters, request->filters_count, err));
    if (request->start.file < 0 || request->start.row < 0 ||
        request->start.file > snapshot->state->files_count) {
        return err_set(err, ERR_INVALID, "the position is not one of this version");
    }
    CLEANUP(free_scanner) struct scanner *scanner = mem_zeroed(1, sizeof *scanner);
    scanner->snapshot = snapshot;
    scanner->request = request;
    scanner->at = request->start;
    scanner->probe = frame_new(snapshot->schema);
    scanner->rows = frame_new(snapshot->schema);
    scanner->filter_columns = mem_zeroed(snapshot->schema->fields_count, sizeof(bool));
    for (size_t i = 0; i < request->filters_count; i++) {
        scanner->filter_columns[request->filters[i].column] = true;
    }
    CLEANUP(scan_places_deinit) struct scan_places places = {0};
    bool indexed = false;
    TRY(scan_places_of_key(snapshot, request->filters, request->filters_count, &places, &indexed,
                           err));
    TRY(indexed ? scan_places(scanner, &places, err) : scan_files(scanner, err));
    *result_out = (struct scan_result){.frame = scanner->rows,
                                       .done = scanner->at.file >= snapshot->state->files_count,
                                       .next = scanner->at,
                                       .visited_rows = scanner->visited,
                                       .skipped_files = scanner->skipped_files};
    scanner->rows = NULL;
    return ERR_OK;
}
