/*
 * Readers look keys up and scan while a merger, a compactor and index
 * maintenance run on the same table. Every batch writes one generation to all
 * keys, so a reader that sees two generations in one snapshot, or a generation
 * older than one it saw before, has found a bug.
 *
 * usage: stress_readers [merges]      exit 0 = all well
 */
#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/snapshot/compact.h"
#include "storage/snapshot/keys.h"
#include "storage/snapshot/lookup.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "storage/snapshot/verify.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    READERS = 2,
    KEYS = 300,
    BALLAST = 600,
    BALLAST_STEP = 25,
    MERGES_DEFAULT = 60,
    COLUMN_GENERATION = 1,
};

static const char definition[] =
    "{\"schema\":{\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":false},"
    "{\"name\":\"generation\",\"type\":\"long\",\"nullable\":false},"
    "{\"name\":\"member\",\"type\":\"string\"}]},\"key\":[\"id\"],\"merge\":\"deletion-vectors\","
    "\"lookup\":[{\"entity\":\"member\",\"column\":\"member\",\"as\":\"things\"}]}";

static struct tables *tables;
static struct table *table;
static struct schema *schema;
static bool stop;     /* atomic */
static int64_t reads; /* atomic */

static void fail(const char *what, const struct err *err)
{
    (void)fprintf(stderr, "stress_readers: %s: %s\n", what, err->msg); /* then we end */
    abort();
}

static bool is_stopped(void)
{
    return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void append_row(struct frame *frame, int64_t key, int64_t generation, const char *member)
{
    column_append_i64(&frame->columns[0], key);
    column_append_i64(&frame->columns[1], generation);
    column_append_bytes(&frame->columns[2], span_of_text(member));
    frame_end_row(frame, FRAME_UPSERT, key + 1);
}

static struct frame *generation_frame(int64_t generation)
{
    struct frame *frame = frame_new(schema);
    for (int64_t key = 0; key < KEYS; key++) {
        append_row(frame, key, generation, key % 2 == 0 ? "even" : "odd");
    }
    return frame;
}

/* Rows that live longer than a generation, so that compaction has files that stay. */
static void append_ballast(struct frame *frame, int64_t generation)
{
    for (int64_t i = 0; i < BALLAST_STEP; i++) {
        append_row(frame, KEYS + (generation * BALLAST_STEP + i) % BALLAST, generation, "ballast");
    }
}

static void *merge_all(void *argument)
{
    const int64_t *merges = argument;
    for (int64_t i = 1; i <= *merges; i++) {
        struct err err = {0};
        struct frame *frame = generation_frame(i);
        append_ballast(frame, i);
        struct merge_input input = {.frame = frame,
                                    .rows_count = frame->rows_count,
                                    .batch = id_new_ordered(),
                                    .position = i,
                                    .order_position = i};
        struct merge_outcome outcome = {0};
        if (table_merge(table, &input, 1, &outcome, &err) != ERR_OK) {
            fail("merge", &err);
        }
        merge_outcome_deinit(&outcome);
        frame_free(&frame);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    return NULL;
}

/* Compacts all files but the newest, whose rows the next merge takes away. */
static void *maintain(void *argument)
{
    (void)argument; /* needs nothing */
    while (!is_stopped()) {
        struct err err = {0};
        struct compact_plan plan = {.snapshot = table_snapshot(table)};
        plan.files = mem_zeroed(plan.snapshot->files_count + 1, sizeof *plan.files);
        for (size_t i = 0; i + 1 < plan.snapshot->files_count; i++) {
            plan.files[plan.count++] = plan.snapshot->files[i].number;
        }
        struct compact_result result = {0};
        if (plan.count > 0 && compact_run(table, &plan, NULL, &result, &err) != ERR_OK) {
            fail("compact", &err);
        }
        compact_plan_deinit(&plan);
        bool more = false;
        if (table_index_maintain(table, &more, &err) != ERR_OK) {
            fail("maintain", &err);
        }
    }
    return NULL;
}

/* The generation of every key, by lookup, in one snapshot. */
static int64_t look_up_all(const struct snapshot *snapshot, const struct frame *keys)
{
    struct err err = {0};
    struct lookup_result result = {0};
    if (lookup_keys(snapshot, keys, &result, &err) != ERR_OK) {
        fail("lookup", &err);
    }
    int64_t generation = -1;
    for (size_t i = 0; i < result.count; i++) {
        struct row_value value;
        bool found = false;
        if (!result.rows[i].found ||
            image_value(result.rows[i].image, schema->fields[COLUMN_GENERATION].id, &found, &value,
                        &err) != ERR_OK ||
            !found || (generation >= 0 && value.integer != generation)) {
            (void)snprintf(
                err.msg, sizeof err.msg, "version %lld: key %zu: generation %lld, not %lld",
                (long long)snapshot->version, i, (long long)value.integer, (long long)generation);
            fail("torn snapshot", &err);
        }
        generation = value.integer;
    }
    lookup_result_deinit(&result);
    return generation;
}

static void count_members(const struct snapshot *snapshot)
{
    struct err err = {0};
    struct row_value value = {.type = COLUMN_STRING, .bytes = span_of_text("even")};
    struct lookup_result result = {0};
    if (lookup_value(snapshot, 0, &value, NULL, &result, &err) != ERR_OK) {
        fail("lookup by member", &err);
    }
    if (result.count != KEYS / 2) {
        fail("a member's rows", &err);
    }
    lookup_result_deinit(&result);
}

static void scan_all(const struct snapshot *snapshot)
{
    struct err err = {0};
    struct row_value limit = {.type = COLUMN_LONG, .integer = KEYS};
    struct scan_filter below = {
        .column = 0, .operator= SCAN_LESS, .values = &limit, .values_count = 1};
    struct scan_request request = {.filters = &below, .filters_count = 1, .limit = 2 * KEYS};
    struct scan_result page = {0};
    if (scan_run(snapshot, &request, &page, &err) != ERR_OK) {
        fail("scan", &err);
    }
    if (page.frame->rows_count != KEYS) {
        fail("rows of a scan", &err);
    }
    scan_result_deinit(&page);
}

static void *read_on(void *argument)
{
    (void)argument; /* needs nothing */
    struct frame *keys = generation_frame(0);
    int64_t seen = 0;
    for (int64_t round = 0; !is_stopped(); round++) {
        const struct snapshot *snapshot = NULL;
        tables_snapshot_set(tables, &table, 1, &snapshot);
        if (round % 2 == 0) { /* both ways of taking one */
            snapshot_release(&snapshot);
            snapshot = table_snapshot(table);
        }
        if (snapshot->version > 0) {
            int64_t generation = look_up_all(snapshot, keys);
            if (generation < seen) {
                struct err err = {.msg = "went back in time"};
                fail("reader", &err);
            }
            seen = generation;
            count_members(snapshot);
            if (round % 16 == 0) {
                scan_all(snapshot);
            }
        }
        snapshot_release(&snapshot);
        (void)__atomic_fetch_add(&reads, 1, __ATOMIC_RELAXED); /* a counter */
    }
    frame_free(&keys);
    return NULL;
}

static void open_table(const char *folder)
{
    struct err err = {0};
    CLEANUP(json_free) struct json *json = NULL;
    if (json_parse(span_of_text(definition), &json, &err) != ERR_OK ||
        schema_parse(json, &schema, &err) != ERR_OK) {
        fail("definition", &err);
    }
    CLEANUP(mem_cleanup) char *root = file_join(folder, "tables");
    CLEANUP(mem_cleanup) char *index_root = file_join(folder, "index");
    struct tables_options options = {
        .root = root, .index_root = index_root, .instance = id_new_random(), .index_key = "key"};
    struct id uuid = id_new_random();
    if (tables_open(&options, &tables, &err) != ERR_OK ||
        tables_create(tables, "t", &uuid, schema, &err) != ERR_OK ||
        tables_find(tables, "t", &table, &err) != ERR_OK) {
        fail("open", &err);
    }
}

static void check_end(void)
{
    struct err err = {0};
    struct verify_report report = {0};
    if (verify_table(table, &report, &err) != ERR_OK) {
        fail("verify", &err);
    }
    if (report.problems_count > 0) {
        (void)snprintf(err.msg, sizeof err.msg, "%s", report.problems[0]); /* cut when long */
        fail("verify", &err);
    }
    verify_report_deinit(&report);
}

int main(int count, char **arguments)
{
    int64_t merges = MERGES_DEFAULT;
    if (count > 1 && !text_parse_int64(span_of_text(arguments[1]), &merges)) {
        return 64;
    }
    char folder[] = "/tmp/sluice-stress.XXXXXX";
    if (mkdtemp(folder) == NULL) {
        return 74;
    }
    open_table(folder);
    pthread_t threads[READERS + 2];
    int started = 0;
    started += pthread_create(&threads[0], NULL, merge_all, &merges) == 0;
    started += pthread_create(&threads[1], NULL, maintain, NULL) == 0;
    for (int i = 0; i < READERS; i++) {
        started += pthread_create(&threads[2 + i], NULL, read_on, NULL) == 0;
    }
    if (started != READERS + 2) {
        return 71;
    }
    for (int i = 0; i < READERS + 2; i++) {
        if (pthread_join(threads[i], NULL) != 0) {
            return 71;
        }
    }
    check_end();
    (void)printf("%lld merges, %lld versions, %lld reads\n", (long long)merges,
                 (long long)table_version(table), (long long)reads);
    table_release(&table);
    tables_close(&tables);
    schema_release(&schema);
    struct err err = {0};
    return file_remove_tree(folder, &err) == ERR_OK ? 0 : 74;
}
