/*
 * Tables that other engines wrote (SLUICE_TEST_DATA/delta-golden): each loads
 * with the right live files, and its files hold the right number of rows, or it
 * is refused with a reason.
 */
#include "storage/delta/deletion_vector.h"
#include "storage/delta/state.h"
#include "storage/delta/table_files.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/object/object.h"
#include "storage/parquet/reader.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Rows as in the archive's expected/ folder, -1 = none is given; files as delta-rs 1.6.6 counts,
 * but for canonicalized-paths: Spark and the archive's name say that the remove finds its add.
 */
static const struct golden {
    const char *name;
    enum err_code code;
    int64_t version, files, rows;
    const char *named; /* of a refusal */
} tables[] = {
    {"125-iterator-bug", ERR_OK, 11, 12, 5, NULL},
    {"basic-decimal-table", ERR_OK, 0, 4, 4, NULL},
    {"basic-with-inserts-merge", ERR_OK, 1, 1, 140, NULL},
    {"basic-with-inserts-updates", ERR_OK, 1, 2, 100, NULL},
    {"canonicalized-paths-normal-a", ERR_OK, 1, 0, 0, NULL},
    {"canonicalized-paths-special-a", ERR_OK, 1, 0, 0, NULL},
    {"checkpoint", ERR_OK, 14, 1, -1, NULL},
    {"data-reader-absolute-paths-escaped-chars", ERR_CORRUPT, 0, 0, 0, "metaData"},
    {"data-reader-array-primitives", ERR_OK, 0, 2, 10, NULL},
    {"data-reader-date-types-Asia", ERR_OK, 0, 2, 1, NULL},
    {"data-reader-date-types-Iceland", ERR_OK, 0, 2, 1, NULL},
    {"data-reader-date-types-Pst", ERR_OK, 0, 2, 1, NULL},
    {"data-reader-escaped-chars", ERR_OK, 2, 3, 3, NULL},
    {"data-reader-nested-struct", ERR_OK, 0, 2, 10, NULL},
    {"data-reader-partition-values", ERR_OK, 0, 3, 3, NULL},
    {"data-reader-timestamp_ntz", ERR_OK, 1, 4, 9, NULL},
    {"data-reader-timestamp_ntz-id-mode", ERR_OK, 1, 4, 9, NULL},
    {"data-skipping-basic-stats-all-types", ERR_OK, 0, 1, 1, NULL},
    {"data-skipping-basic-stats-all-types-columnmapping-id", ERR_OK, 0, 1, 1, NULL},
    {"data-skipping-partition-and-data-column", ERR_OK, 3, 4, 4, NULL},
    {"delete-re-add-same-file-different-transactions", ERR_OK, 3, 2, -1, NULL},
    {"deltalog-getChanges", ERR_OK, 2, 0, 0, NULL},
    {"deltalog-state-reconstruction-from-checkpoint-missing-metadata", ERR_CORRUPT, 0, 0, 0,
     "metaData"},
    {"deltalog-state-reconstruction-without-metadata", ERR_CORRUPT, 0, 0, 0, "metaData"},
    {"dv-partitioned-with-checkpoint", ERR_OK, 15, 15, 35, NULL},
    {"hive/deltatbl-column-names-case-insensitive", ERR_OK, 0, 4, 10, NULL},
    {"hive/deltatbl-deleted-path", ERR_OK, 0, 2, 10, NULL},
    {"hive/deltatbl-incorrect-format-config", ERR_OK, 0, 2, 10, NULL},
    {"hive/deltatbl-map-types-correctly", ERR_OK, 0, 1, 1, NULL},
    {"hive/deltatbl-non-partitioned", ERR_OK, 0, 2, 10, NULL},
    {"hive/deltatbl-not-allow-write", ERR_OK, 0, 2, 10, NULL},
    {"hive/deltatbl-partition-prune", ERR_OK, 0, 5, 5, NULL},
    {"hive/deltatbl-partitioned", ERR_OK, 0, 4, 10, NULL},
    {"hive/deltatbl-schema-match", ERR_OK, 0, 4, 10, NULL},
    {"hive/deltatbl-special-chars-in-partition-column", ERR_OK, 0, 4, 10, NULL},
    {"hive/deltatbl-touch-files-needed-for-partitioned", ERR_OK, 0, 4, 10, NULL},
    {"kernel-timestamp-pst", ERR_OK, 0, 5, 5, NULL},
    {"kernel-timestamp-timestamp_millis", ERR_OK, 0, 5, 5, NULL},
    {"log-replay-latest-metadata-protocol", ERR_OK, 2, 4, 40, NULL},
    {"log-replay-special-characters-b", ERR_OK, 0, 1, -1, NULL},
    {"multi-part-checkpoint", ERR_OK, 1, 10, 31, NULL},
    {"only-checkpoint-files", ERR_OK, 2, 7, 25, NULL},
    {"parquet-all-types", ERR_OK, 0, 1, 200, NULL},
    {"parquet-decimal-dictionaries", ERR_OK, 0, 1, 1000000, NULL},
    {"snapshot-data0", ERR_OK, 0, 2, 10, NULL},
    {"snapshot-data2-deleted", ERR_OK, 4, 3, 20, NULL},
    {"snapshot-data3", ERR_OK, 3, 4, 30, NULL},
    {"snapshot-vacuumed", ERR_OK, 5, 2, 20, NULL},
    {"table-with-columnmapping-mode-name", ERR_OK, 0, 2, 6, NULL},
    {"time-travel-partition-changes-b", ERR_OK, 1, 4, 10, NULL},
    {"time-travel-schema-changes-b", ERR_OK, 1, 4, 20, NULL},
    {"time-travel-start-start20", ERR_OK, 1, 4, 20, NULL},
    {"update-deleted-directory", ERR_CORRUPT, 0, 0, 0, "schemaString"},
    {"v2-checkpoint-parquet", ERR_OK, 2, 4, 10, NULL},
};

/* `tar --zstd -xf archive -C folder`; stops the test when it fails. */
static void extract(const char *archive, const char *folder)
{
    pid_t child = fork();
    if (child == 0) {
        /* the archives carry attributes of another system, which tar would talk about */
        (void)execlp("tar", "tar", "--warning=no-unknown-keyword", "--zstd", "-xf", archive, "-C",
                     folder, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "cannot extract %s", archive);
}

/* Extract all archives; skips the test, saying so, when there are none to be had. */
static void extract_all(const struct temp_dir *dir)
{
    const char *data = getenv("SLUICE_TEST_DATA");
    struct file_names names = {0};
    struct err err = {0};
    if (data == NULL) {
        cr_skip_test("SLUICE_TEST_DATA is not set: NO golden table was checked");
    }
    char *folder = file_join(data, "delta-golden");
    cr_assert_eq(file_list(folder, &names, &err), ERR_OK, "%s", err.msg);
    cr_assert_gt(names.count, 40);
    for (size_t i = 0; i < names.count; i++) {
        char *archive = file_join(folder, names.names[i]);
        extract(archive, dir->path);
        mem_free(archive);
    }
    file_names_free(&names);
    mem_free(folder);
}

/* Folder of a table in an extracted archive: "<archive>/delta[/<table>]". */
static void table_folder(const struct temp_dir *dir, const char *name, char *path, size_t size)
{
    const char *slash = strchr(name, '/');
    int archive = slash != NULL ? (int)(slash - name) : (int)strlen(name);
    (void)snprintf(path, size, "%s/%.*s/delta%s", dir->path, archive, name,
                   slash != NULL ? slash : ""); /* checked by the load */
}

/* Rows of one live file: what its footer says less what its vector marks. */
static int64_t count_rows(struct object_store *store, const struct delta_file *file)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *name = NULL;
    CLEANUP(object_close) struct object *object = NULL;
    CLEANUP(parquet_reader_close) struct parquet_reader *reader = NULL;
    cr_assert_eq(delta_path_decode(store, file->path, &name, &err), ERR_OK, "%s: %s", file->path,
                 err.msg);
    cr_assert_eq(object_open(store, name, &object, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(object_size(object), file->size, "%s", name);
    const struct parquet_source source = {
        .read_at = object_read_at, .self = object, .size = object_size(object)};
    cr_assert_eq(parquet_reader_open(&source, &reader, &err), ERR_OK, "%s", err.msg);
    int64_t rows = parquet_reader_rows_count(reader);
    if (delta_dv_is_present(&file->dv)) {
        CLEANUP(deletion_vector_free) struct deletion_vector *vector = NULL;
        cr_assert_eq(deletion_vector_read(store, &file->dv, rows, &vector, &err), ERR_OK, "%s",
                     err.msg);
        rows -= deletion_vector_cardinality(vector);
    }
    return rows;
}

static void check_table(const struct golden *golden, struct object_store *store,
                        const struct delta_state *state)
{
    cr_expect_eq(state->version, golden->version, "%s: version %lld", golden->name,
                 (long long)state->version);
    cr_expect_eq(state->files_count, golden->files, "%s: %lld files", golden->name,
                 (long long)state->files_count);
    int64_t rows = 0;
    const struct delta_file *file = NULL;
    struct delta_cursor at = {0};
    while (golden->rows >= 0 && (file = delta_state_next_file(state, &at)) != NULL) {
        rows += count_rows(store, file);
    }
    cr_expect(golden->rows < 0 || rows == golden->rows, "%s: %lld rows", golden->name,
              (long long)rows);
}

Test(golden, every_table_loads_or_is_refused_with_a_reason, .timeout = 120)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    extract_all(&dir);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char path[512];
        struct err err = {0};
        struct object_store *store = NULL;
        struct delta_state *state = NULL;
        table_folder(&dir, tables[i].name, path, sizeof path);
        cr_assert(file_exists(path), "%s", path);
        cr_assert_eq(object_store_open_local(path, &store, &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(delta_state_load(store, &state, &err), tables[i].code, "%s: %s",
                     tables[i].name, err.msg);
        if (state != NULL) {
            check_table(&tables[i], store, state);
        } else {
            cr_expect(tables[i].named != NULL && strstr(err.msg, tables[i].named) != NULL, "%s: %s",
                      tables[i].name, err.msg);
        }
        delta_state_release(&state);
        object_store_close(&store);
    }
}
