/*
 * The stages that a record goes through, each by itself, for counting its instructions under
 * callgrind (tests/bench/instructions.sh): only the stage is counted, not what it is made from.
 * Prints how many records the stage handled.
 *
 *   bench_stages STAGE
 *
 * Stages: ndjson, array, csv (decode and validate), encode (Parquet), frame (journal), image,
 * merge (10 batches of 1,000 upserts into 50,000 rows, 90 % hits), lookup (member to JSON).
 */
#include "storage/base/mem.h"
#include "storage/columns/decode.h"
#include "storage/columns/encode_json.h"
#include "storage/columns/row.h"
#include "storage/parquet/writer.h"
#include "storage/snapshot/lookup.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "tests/support/bench_records.h"
#include "tests/support/temp_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

enum {
    RECORDS = 10000,
    STORED = 50000,
    MERGES = 30, /* so many that runs of the index are folded, too */
    MERGE_ROWS = 1000,
    LOOKUPS = 10000,
    BODY_BYTES_MAX = 1 << 28,
};

static struct err err;

static void must(enum err_code code)
{
    if (code != ERR_OK) {
        (void)fprintf(stderr, "%s\n", err.msg); /* exits next */
        exit(1);
    }
}

static struct schema *schema_of(const char *definition)
{
    CLEANUP(json_free) struct json *json = NULL;
    struct schema *schema = NULL;
    must(json_parse(span_of_text(definition), &json, &err));
    must(schema_parse(json, &schema, &err));
    return schema;
}

static struct frame *frame_of(const struct schema *schema, enum bench_records kind, int64_t first,
                              int64_t stride, int64_t records)
{
    const struct decode_options options = {.format = DECODE_NDJSON, .operation = FRAME_UPSERT};
    CLEANUP(buffer_deinit) struct buffer body;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct frame *frame = NULL;
    bench_body_make(&body, kind, false, first, stride, records);
    must(decode_body(buffer_span(&body), schema, &options, &frame, &errors, &err));
    return frame;
}

/* ---- decoding and encoding ---- */

static int64_t decode(enum decode_format format)
{
    CLEANUP(schema_release) struct schema *schema = schema_of(bench_rx_definition);
    const struct decode_options options = {.format = format, .operation = FRAME_UPSERT};
    CLEANUP(buffer_deinit) struct buffer body;
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    bench_body_make(&body, format == DECODE_CSV ? BENCH_RX_CSV : BENCH_RX_JSON,
                    format == DECODE_JSON_ARRAY, 0, 1, RECORDS);
    CALLGRIND_TOGGLE_COLLECT;
    enum err_code code = decode_body(buffer_span(&body), schema, &options, &frame, &errors, &err);
    CALLGRIND_TOGGLE_COLLECT;
    must(code);
    return frame->rows_count;
}

static int64_t decode_ndjson_stage(void)
{
    return decode(DECODE_NDJSON);
}

static int64_t decode_array_stage(void)
{
    return decode(DECODE_JSON_ARRAY);
}

static int64_t decode_csv_stage(void)
{
    return decode(DECODE_CSV);
}

static int64_t encode_stage(void)
{
    CLEANUP(schema_release) struct schema *schema = schema_of(bench_rx_definition);
    CLEANUP(frame_free) struct frame *frame = frame_of(schema, BENCH_RX_JSON, 0, 1, RECORDS);
    CLEANUP(buffer_deinit) struct buffer bytes;
    CLEANUP(parquet_written_deinit) struct parquet_written written = {0};
    buffer_init(&bytes, BODY_BYTES_MAX);
    struct parquet_sink sink = parquet_sink_to_buffer(&bytes);
    struct parquet_writer_context *context = parquet_writer_context_new();
    CALLGRIND_TOGGLE_COLLECT;
    enum err_code code = parquet_write_frame(context, frame, NULL, &sink, &written, &err);
    CALLGRIND_TOGGLE_COLLECT;
    must(code);
    parquet_writer_context_free(&context);
    return written.rows_count;
}

static int64_t frame_stage(void)
{
    CLEANUP(schema_release) struct schema *schema = schema_of(bench_rx_definition);
    CLEANUP(frame_free) struct frame *frame = frame_of(schema, BENCH_RX_JSON, 0, 1, RECORDS);
    CLEANUP(frame_free) struct frame *again = NULL;
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, BODY_BYTES_MAX);
    CALLGRIND_TOGGLE_COLLECT;
    frame_encode(frame, &bytes);
    enum err_code code = frame_decode(buffer_span(&bytes), schema, &again, &err);
    CALLGRIND_TOGGLE_COLLECT;
    must(code);
    return again->rows_count;
}

static int64_t image_stage(void)
{
    CLEANUP(schema_release) struct schema *schema = schema_of(bench_rx_definition);
    CLEANUP(frame_free) struct frame *frame = frame_of(schema, BENCH_RX_JSON, 0, 1, RECORDS);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, BODY_BYTES_MAX);
    CALLGRIND_TOGGLE_COLLECT;
    for (int64_t row = 0; row < frame->rows_count; row++) {
        row_encode(frame, row, &bytes);
    }
    CALLGRIND_TOGGLE_COLLECT;
    return frame->rows_count;
}

/* ---- tables ---- */

struct stored {
    struct temp_dir dir;
    struct tables *tables;
    struct table *table;
    struct schema *schema;
    int64_t position;
};

static void merge(struct stored *stored, const struct frame *frame)
{
    CLEANUP(merge_outcome_deinit) struct merge_outcome outcome = {0};
    int64_t position = ++stored->position;
    const struct merge_input input = {.frame = frame,
                                      .rows_count = frame->rows_count,
                                      .batch = id_new_random(),
                                      .position = position,
                                      .order_position = position};
    must(table_merge(stored->table, &input, 1, &outcome, &err));
}

static struct stored stored_of(const char *definition, enum bench_records kind)
{
    struct stored stored = {.dir = temp_dir_make(), .schema = schema_of(definition)};
    char *root = temp_dir_join(&stored.dir, "tables");
    char *index_root = temp_dir_join(&stored.dir, "index");
    const struct tables_options options = {
        .root = root, .index_root = index_root, .instance = id_new_random(), .index_key = "key"};
    const struct id uuid = id_new_random();
    must(tables_open(&options, &stored.tables, &err));
    must(tables_create(stored.tables, "t", &uuid, stored.schema, &err));
    must(tables_find(stored.tables, "t", &stored.table, &err));
    struct frame *frame = frame_of(stored.schema, kind, 0, 1, STORED);
    merge(&stored, frame);
    frame_free(&frame);
    mem_free(root);
    mem_free(index_root);
    return stored;
}

static void stored_remove(struct stored *stored)
{
    table_release(&stored->table);
    tables_close(&stored->tables);
    schema_release(&stored->schema);
    temp_dir_remove(&stored->dir);
}

static int64_t merge_stage(void)
{
    CLEANUP(stored_remove) struct stored stored = stored_of(bench_rx_definition, BENCH_RX_JSON);
    for (int64_t i = 0; i < MERGES; i++) {
        /* nine tenths of the keys lie below STORED, far from each other */
        struct frame *frame = frame_of(stored.schema, BENCH_RX_JSON, i, STORED / 900, MERGE_ROWS);
        CALLGRIND_TOGGLE_COLLECT;
        merge(&stored, frame);
        CALLGRIND_TOGGLE_COLLECT;
        frame_free(&frame);
    }
    return (int64_t)MERGES * MERGE_ROWS;
}

static int64_t lookup_stage(void)
{
    CLEANUP(stored_remove)
    struct stored stored = stored_of(bench_member_definition, BENCH_MEMBER_JSON);
    const struct snapshot *snapshot = table_snapshot(stored.table);
    struct buffer answer;
    buffer_init(&answer, BODY_BYTES_MAX);
    CALLGRIND_TOGGLE_COLLECT;
    for (int64_t i = 0; i < LOOKUPS; i++) {
        char key[32];
        struct lookup_result result = {0};
        const struct lookup_options options = {.limit = 1};
        (void)snprintf(key, sizeof key, "M%09lld", (long long)(i * 7919 % STORED)); /* fits */
        const struct row_value value = {.type = COLUMN_STRING, .bytes = span_of_text(key)};
        must(lookup_value(snapshot, 0, &value, &options, &result, &err));
        buffer_reset(&answer);
        must(encode_json_image(result.rows[0].image, snapshot->schema, NULL, &answer, &err));
        lookup_result_deinit(&result);
    }
    CALLGRIND_TOGGLE_COLLECT;
    buffer_deinit(&answer);
    snapshot_release(&snapshot);
    return LOOKUPS;
}

static const struct {
    const char *name;
    int64_t (*run)(void);
} stages[] = {
    {"ndjson", decode_ndjson_stage}, {"array", decode_array_stage}, {"csv", decode_csv_stage},
    {"encode", encode_stage},        {"frame", frame_stage},        {"image", image_stage},
    {"merge", merge_stage},          {"lookup", lookup_stage},
};

int main(int argc, char **argv)
{
    bench_records_init();
    for (size_t i = 0; argc == 2 && i < sizeof stages / sizeof stages[0]; i++) {
        if (strcmp(argv[1], stages[i].name) == 0) {
            (void)printf("%lld\n", (long long)stages[i].run()); /* result */
            return 0;
        }
    }
    (void)fprintf(stderr, "Usage: see the top of tests/bench/bench_stages.c\n"); /* told */
    return 64;
}
