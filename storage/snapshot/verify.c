/*
 * fsck of one table. See verify.h.
 */
#include "storage/snapshot/verify.h"

#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/delta/log.h"
#include "storage/delta/table_files.h"
#include "storage/delta/version_checksum.h"
#include "storage/object/object.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/stored.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

enum { CHUNK_ROWS = 8192, BYTES_MAX = INT32_MAX, PROBLEM_BYTES = 400 };

void verify_report_deinit(struct verify_report *report)
{
    for (size_t i = 0; i < report->problems_kept; i++) {
        mem_free(report->problems[i]);
    }
    *report = (struct verify_report){0};
}

struct verifier {
    struct table *table;
    const struct snapshot *snapshot;
    struct index_kinds kinds;
    struct verify_report *report;
    struct buffer bytes;
    int64_t entries_expected[INDEX_KINDS_MAX];
};

static void problem(struct verifier *verifier, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void problem(struct verifier *verifier, const char *format, ...)
{
    struct verify_report *report = verifier->report;
    report->problems_count++;
    if (report->problems_kept == VERIFY_PROBLEMS_MAX) {
        return;
    }
    char text[PROBLEM_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments); /* a long one is cut */
    va_end(arguments);
    report->problems[report->problems_kept++] = mem_copy_text(text);
}

/* ---- log and files ---- */

static enum err_code check_log(struct verifier *verifier, struct err *err)
{
    CLEANUP(object_list_free) struct object_list list = {0};
    struct object_list_options options = {.folder = DELTA_LOG_FOLDER};
    TRY(object_list(verifier->table->store, &options, &list, err));
    int64_t last = -1;
    for (size_t i = 0; i < list.count; i++) {
        int64_t version = 0;
        if (!delta_log_parse_commit(list.items[i].name, &version)) {
            continue;
        }
        if (last >= 0 && version != last + 1) {
            problem(verifier, "log: version %lld follows version %lld", (long long)version,
                    (long long)last);
        }
        last = version;
    }
    if (last < verifier->snapshot->version) {
        problem(verifier, "log: the newest entry is version %lld, version %lld was published",
                (long long)last, (long long)verifier->snapshot->version);
    }
    return ERR_OK;
}

/* What somebody wrote down of the version when it was committed. */
static void check_checksum(struct verifier *verifier)
{
    bool found = false;
    struct err wrong = {0};
    if (version_checksum_verify(verifier->table->store, verifier->snapshot->state, &found,
                                &wrong) != ERR_OK) {
        problem(verifier, "log: %s", wrong.msg);
    }
}

/* Is the file there with its size? */
static bool check_presence(struct verifier *verifier, const struct delta_file *file)
{
    CLEANUP(mem_cleanup) char *name = NULL;
    struct err absent = {0};
    int64_t size = 0;
    int64_t modified_ms = 0;
    if (delta_path_decode(verifier->table->store, file->path, &name, &absent) != ERR_OK ||
        object_stat(verifier->table->store, name, &size, &modified_ms, &absent) != ERR_OK) {
        problem(verifier, "data file %s: %s", file->path, absent.msg);
        return false;
    }
    if (size != file->size) {
        problem(verifier, "data file %s: %lld bytes, the log says %lld", file->path,
                (long long)size, (long long)file->size);
        return false;
    }
    struct shared_vector *vector = NULL;
    if (table_load_vector(verifier->table->store, file, &vector, &absent) != ERR_OK) {
        problem(verifier, "%s", absent.msg);
        return false;
    }
    shared_vector_release(&vector);
    return true;
}

/* ---- rows against the index ---- */

/* Entries of `hash`: the row's own, and how many live ones there are of the same key. */
static const struct index_entry *find_entry(const struct verifier *verifier, uint32_t kind,
                                            uint64_t hash, uint32_t file, uint32_t row)
{
    struct index_ranges ranges;
    index_view_find(verifier->snapshot->index, kind, hash, &ranges);
    for (size_t i = 0; i < ranges.count; i++) {
        for (size_t j = 0; j < ranges.items[i].count; j++) {
            const struct index_entry *entry = &ranges.items[i].entries[j];
            if (entry->file == file && entry->row == row) {
                return entry;
            }
        }
    }
    return NULL;
}

static size_t count_same_key(const struct verifier *verifier, uint64_t hash, struct span key)
{
    struct index_ranges ranges;
    index_view_find(verifier->snapshot->index, 0, hash, &ranges);
    size_t count = 0;
    for (size_t i = 0; i < ranges.count; i++) {
        for (size_t j = 0; j < ranges.items[i].count; j++) {
            const struct snapshot_file *file = NULL;
            struct span stored_key;
            struct span image;
            count +=
                snapshot_entry_is_alive(verifier->snapshot, &ranges.items[i].entries[j], &file) &&
                file->images != NULL &&
                images_row(file->images, ranges.items[i].entries[j].row, &stored_key, &image) &&
                span_equal(stored_key, key);
        }
    }
    return count;
}

static void check_key(struct verifier *verifier, const struct snapshot_file *file,
                      const struct frame *frame, int64_t row, int64_t file_row)
{
    buffer_reset(&verifier->bytes);
    frame_key(frame, row, &verifier->bytes);
    uint64_t hash = hash_keyed(verifier->table->hash_key, buffer_span(&verifier->bytes));
    const struct index_entry *entry =
        find_entry(verifier, 0, hash, file->number, (uint32_t)file_row);
    verifier->entries_expected[0]++;
    if (entry == NULL) {
        problem(verifier, "row %lld of %s is not in the key index", (long long)file_row,
                file->file->path);
        return;
    }
    const struct schema *schema = verifier->snapshot->schema;
    if (schema->has_sequence && column_is_valid(&frame->columns[schema->sequence], row) &&
        entry->sequence != frame_sequence(frame, row)) {
        problem(verifier, "row %lld of %s has another sequence in the index", (long long)file_row,
                file->file->path);
    }
    if (!schema->has_sequence && file->images != NULL &&
        entry->sequence != images_sequence(file->images, file_row)) {
        problem(verifier, "row %lld of %s has another sequence in its image than in the index",
                (long long)file_row, file->file->path);
    }
    if (count_same_key(verifier, hash, buffer_span(&verifier->bytes)) > 1) {
        problem(verifier, "row %lld of %s: another live row has the same key", (long long)file_row,
                file->file->path);
    }
}

static void check_lookups(struct verifier *verifier, const struct snapshot_file *file,
                          const struct frame *frame, int64_t row, int64_t file_row)
{
    for (uint32_t kind = 1; kind < verifier->kinds.count; kind++) {
        buffer_reset(&verifier->bytes);
        size_t column = verifier->snapshot->schema->lookup[kind - 1].column;
        if (!verifier->kinds.used[kind] ||
            !lookup_bytes_of_row(frame, column, row, &verifier->bytes)) {
            continue;
        }
        uint64_t hash = hash_keyed(verifier->table->hash_key, buffer_span(&verifier->bytes));
        verifier->entries_expected[kind]++;
        if (find_entry(verifier, kind, hash, file->number, (uint32_t)file_row) == NULL) {
            problem(verifier, "row %lld of %s is not in the index of lookup column %u",
                    (long long)file_row, file->file->path, kind - 1);
        }
    }
}

/* Does the image hold that row, and maybe values of fields that were dropped since? */
static bool is_image_of(struct span image, struct span row, const struct schema *schema)
{
    if (span_equal(image, row)) {
        return true;
    }
    struct err undecoded = {0};
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    CLEANUP(buffer_deinit) struct buffer again;
    buffer_init(&again, SIZE_MAX);
    if (row_decode_into(image, frame, &undecoded) != ERR_OK) {
        return false;
    }
    row_encode(frame, 0, &again);
    return span_equal(buffer_span(&again), row);
}

static void check_image(struct verifier *verifier, const struct snapshot_file *file,
                        const struct frame *frame, int64_t row, int64_t file_row)
{
    struct span key;
    struct span image;
    if (file->images == NULL) {
        return; /* allowed: the row is read from its data file */
    }
    buffer_reset(&verifier->bytes);
    row_encode(frame, row, &verifier->bytes);
    if (!images_row(file->images, file_row, &key, &image) ||
        !is_image_of(image, buffer_span(&verifier->bytes), verifier->snapshot->schema)) {
        problem(verifier, "row %lld of %s differs from its image", (long long)file_row,
                file->file->path);
    }
}

static void check_rows(struct verifier *verifier, const struct snapshot_file *file,
                       const struct frame *frame, const int64_t *rows)
{
    for (int64_t i = 0; i < frame->rows_count; i++) {
        verifier->report->rows_checked++;
        if (verifier->snapshot->index == NULL) {
            continue;
        }
        if (verifier->kinds.used[0] && key_is_whole(frame, i)) {
            check_key(verifier, file, frame, i, rows[i]);
        }
        check_lookups(verifier, file, frame, i, rows[i]);
        check_image(verifier, file, frame, i, rows[i]);
    }
}

static enum err_code read_file(struct verifier *verifier, const struct snapshot_file *file,
                               struct err *err)
{
    CLEANUP(stored_close) struct stored stored = {0};
    TRY(stored_open(verifier->table->store, verifier->snapshot->schema, file->file, NULL, &stored,
                    err));
    CLEANUP(frame_free) struct frame *frame = frame_new(verifier->snapshot->schema);
    CLEANUP(mem_cleanup) int64_t *rows = mem_alloc(CHUNK_ROWS * sizeof *rows);
    for (int64_t start = 0; start < stored.rows_count; start += CHUNK_ROWS) {
        int64_t left = stored.rows_count - start;
        int64_t count = 0;
        deletion_vector_live_rows(file->dv, start, left < CHUNK_ROWS ? left : CHUNK_ROWS, rows,
                                  &count);
        frame_reset(frame);
        TRY(stored_read_rows(&stored, rows, count, frame, err));
        check_rows(verifier, file, frame, rows);
    }
    return ERR_OK;
}

static void check_files(struct verifier *verifier)
{
    for (size_t i = 0; i < verifier->snapshot->files_count; i++) {
        const struct snapshot_file *file = &verifier->snapshot->files[i];
        verifier->report->files_checked++;
        struct err unreadable = {0};
        if (check_presence(verifier, file->file) &&
            read_file(verifier, file, &unreadable) != ERR_OK) {
            problem(verifier, "%s", unreadable.msg);
        }
    }
}

/* As many live entries as live rows: with each row found, none is left without its row. */
static void check_entries(struct verifier *verifier)
{
    const struct index_view *view = verifier->snapshot->index;
    for (uint32_t kind = 0; view != NULL && kind < view->kinds_count; kind++) {
        int64_t alive = 0;
        for (size_t i = 0; i < view->kinds[kind].count; i++) {
            const struct index_run *run = view->kinds[kind].runs[i];
            for (size_t j = 0; j < run->count; j++) {
                const struct snapshot_file *file = NULL;
                alive += snapshot_entry_is_alive(verifier->snapshot, &run->entries[j], &file);
            }
            verifier->report->index_entries_checked += (int64_t)run->count;
        }
        if (verifier->kinds.used[kind] && alive != verifier->entries_expected[kind]) {
            problem(verifier, "index of kind %u has %lld live entries for %lld rows", kind,
                    (long long)alive, (long long)verifier->entries_expected[kind]);
        }
    }
}

/* ---- tombstones ---- */

static void count_tombstone(void *self, const struct tombstone *tombstone)
{
    struct verifier *verifier = self;
    (void)tombstone; /* counted only */
    verifier->report->tombstones_checked++;
}

static void check_tombstones(struct verifier *verifier, const struct tombstone_file *files,
                             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CLEANUP(buffer_deinit) struct buffer contents;
        buffer_init(&contents, TOMBSTONE_FILE_BYTES_MAX);
        struct err damaged = {0};
        if (object_get(verifier->table->store, files[i].name, &contents, &damaged) != ERR_OK ||
            tombstones_decode(buffer_span(&contents), count_tombstone, verifier, &damaged) !=
                ERR_OK) {
            problem(verifier, "tombstone file %s: %s", files[i].name, damaged.msg);
        }
    }
}

enum err_code verify_table(struct table *table, struct verify_report *report_out, struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    CLEANUP(verify_report_deinit) struct verify_report report = {.version = snapshot->version};
    struct verifier verifier = {.table = table,
                                .snapshot = snapshot,
                                .kinds = index_kinds_of(snapshot->schema),
                                .report = &report};
    buffer_init(&verifier.bytes, BYTES_MAX);
    enum err_code code = check_log(&verifier, err);
    if (code == ERR_OK) {
        check_checksum(&verifier);
        check_files(&verifier);
        check_entries(&verifier);
        check_tombstones(&verifier, table->tombstones.files, table->tombstones.files_count);
    }
    buffer_deinit(&verifier.bytes);
    TRY(code);
    *report_out = report;
    report = (struct verify_report){0};
    return ERR_OK;
}
