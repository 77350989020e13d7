/*
 * fsck of the catalog: every file whole, every reference into the logs kept. No
 * writer may be alive. See catalog.h.
 */
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/job_file.h"
#include "storage/catalog/pieces.h"
#include "storage/catalog/source_rows.h"
#include "storage/catalog/store.h"

#include <inttypes.h>

static const char sql_count[] =
    "SELECT (SELECT count(*) FROM batches), (SELECT count(*) FROM batches WHERE state = 1)"
    " + (SELECT count(*) FROM batches WHERE state = 2), (SELECT count(*) FROM dead_letters)";
static const char sql_twice[] = "SELECT position FROM batches GROUP BY table_uuid, position"
                                " HAVING count(*) > 1 LIMIT 1";
static const char sql_frames[] =
    "SELECT DISTINCT frame_segment, frame_offset, frame_size FROM batches WHERE state = 1"
    " AND frame_segment > 0 ORDER BY 1, 2";
static const char sql_payloads[] =
    "SELECT DISTINCT payload_segment, payload_offset, payload_bytes FROM dead_letters"
    " WHERE state IN (1, 2, 4) AND payload_segment > 0 ORDER BY 1, 2";

/* What runs through the whole examination. */
struct examination {
    catalog_check_location_fn *check_frame;
    catalog_check_location_fn *check_payload;
    void *arg;
    struct catalog_report report;
};

static enum err_code count_rows(struct store *store, struct catalog_report *report, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_count, &query, err));
    TRY(query_next(&query, &row, err));
    report->batches_count += query_integer(&query, 0);
    report->unfinished_count += query_integer(&query, 1);
    report->dead_letters_count += query_integer(&query, 2);
    return ERR_OK;
}

static enum err_code check_positions(struct store *store, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_twice, &query, err));
    TRY(query_next(&query, &row, err));
    if (row) {
        return err_set(err, ERR_CORRUPT, "%s: position %" PRId64 " was given out twice",
                       store_path(store), query_integer(&query, 0));
    }
    return ERR_OK;
}

static enum err_code follow(struct store *store, const char *sql, catalog_check_location_fn *check,
                            struct examination *examination, struct err *err)
{
    if (check == NULL) {
        return ERR_OK;
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql, &query, err));
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        struct location location = query_location(&query, 0);
        if (check(examination->arg, &location, err) != ERR_OK) {
            err->code = ERR_CORRUPT; /* absent is damage here */
            return err_wrap(err, "%s refers to segment %" PRId64 " at %" PRId64, store_path(store),
                            location.segment, location.offset);
        }
        examination->report.references_checked++;
    }
}

static enum err_code examine_piece(const char *path, struct examination *examination,
                                   struct err *err)
{
    CLEANUP(store_close) struct store *store = NULL;
    TRY(store_open(path, STORE_EXAMINER, &store, err));
    TRY(store_check(store, true, err));
    examination->report.files_count++;
    TRY(count_rows(store, &examination->report, err));
    TRY(check_positions(store, err));
    TRY(sources_examine(store, err));
    TRY(follow(store, sql_frames, examination->check_frame, examination, err));
    return follow(store, sql_payloads, examination->check_payload, examination, err);
}

static enum err_code examine_main(const char *folder, struct examination *examination,
                                  struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(folder, "catalog.db");
    CLEANUP(store_close) struct store *store = NULL;
    TRY(store_open(path, STORE_EXAMINER, &store, err));
    examination->report.files_count++;
    return store_check(store, true, err);
}

/* Folders of before there were jobs have none. */
static enum err_code examine_jobs(const char *folder, struct examination *examination,
                                  struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(folder, JOB_FILE_NAME);
    CLEANUP(store_close) struct store *store = NULL;
    if (!file_exists(path)) {
        return ERR_OK;
    }
    TRY(store_open(path, STORE_EXAMINER, &store, err));
    TRY(store_check(store, true, err));
    examination->report.files_count++;
    return job_file_examine(store, &examination->report, err);
}

enum err_code catalog_verify(const char *folder, catalog_check_location_fn *check_frame,
                             catalog_check_location_fn *check_payload, void *arg,
                             struct catalog_report *report_out, struct err *err)
{
    struct examination examination = {
        .check_frame = check_frame, .check_payload = check_payload, .arg = arg};
    TRY(examine_main(folder, &examination, err));
    TRY(examine_jobs(folder, &examination, err));
    CLEANUP(file_names_free) struct file_names names = {0};
    TRY(file_list(folder, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        int64_t number = 0;
        if (!piece_parse_name(names.names[i], &number)) {
            continue;
        }
        CLEANUP(mem_cleanup) char *path = file_join(folder, names.names[i]);
        TRY(examine_piece(path, &examination, err));
    }
    *report_out = examination.report;
    return ERR_OK;
}
