/*
 * The table layer as a library: append NDJSON records to a Delta table, once per
 * version of an application, however often it is called. Links libsluice_delta.a alone.
 *
 *   append_rows FOLDER NDJSON APP_ID VERSION      the table must be there
 */
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/decode.h"
#include "storage/delta/delta.h"

#include <stdio.h>

/* Records → frame → Parquet file in the table's folder → the add action that names it. */
static enum err_code write_file(struct object_store *store, const struct frame *frame,
                                char name[DELTA_FILE_NAME_BYTES], struct buffer *stats,
                                struct delta_file *file_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer bytes;
    CLEANUP(parquet_written_deinit) struct parquet_written written = {0};
    buffer_init(&bytes, 1 << 30);
    struct parquet_sink sink = parquet_sink_to_buffer(&bytes);
    TRY(parquet_write_frame(NULL, frame, NULL, &sink, &written, err));
    delta_data_file_name(name);
    TRY(object_put(store, name, buffer_span(&bytes), err));
    TRY(object_sync(store, "", err)); /* the name, too, before the log tells of it */
    delta_stats_write(frame->schema, written.rows_count, written.columns, NULL, stats);
    buffer_append_byte(stats, '\0');
    TRY(buffer_check(stats, "statistics", err));
    *file_out = (struct delta_file){.path = name,
                                    .stats = (const char *)stats->data,
                                    .size = written.file_bytes,
                                    .modified_ms = clock_wall_us() / 1000,
                                    .base_row_id = -1,
                                    .default_row_commit_version = -1,
                                    .data_change = true};
    return ERR_OK;
}

static enum err_code append(struct object_store *store, struct span records, const char *app_id,
                            int64_t version, struct err *err)
{
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    CLEANUP(schema_release) struct schema *schema = NULL;
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    CLEANUP(buffer_deinit) struct buffer stats;
    CLEANUP(delta_transaction_free) struct delta_transaction *transaction = NULL;
    CLEANUP(delta_commit_result_deinit) struct delta_commit_result result = {0};
    const struct decode_options as = {.format = DECODE_NDJSON, .operation = FRAME_INSERT};
    char name[DELTA_FILE_NAME_BYTES];
    struct delta_file file;
    int64_t seen = -1;
    buffer_init(&stats, DELTA_STATS_BYTES_MAX);
    TRY(delta_state_load(store, &state, err));
    if (delta_state_txn(state, app_id, &seen) && seen >= version) {
        (void)printf("version %lld has them already\n", (long long)state->version); /* output */
        return ERR_OK;
    }
    TRY(schema_parse_delta(span_of_text(state->metadata->schema_string), NULL, &schema, err));
    TRY(decode_body(records, schema, &as, &frame, &errors, err));
    if (errors.rejected_count > 0) {
        return err_set(err, ERR_INVALID, "line %lld %s %s", (long long)errors.items[0].line,
                       errors.items[0].pointer, errors.items[0].message);
    }
    TRY(write_file(store, frame, name, &stats, &file, err));
    transaction = delta_transaction_begin(state, store, DELTA_READS_NOTHING);
    delta_transaction_add(transaction, &file);
    delta_transaction_set_txn(transaction, app_id, version);
    delta_transaction_set_operation(transaction, "WRITE", NULL, NULL);
    TRY(delta_transaction_commit(transaction, &result, err));
    (void)printf("version %lld, %lld rows more\n", (long long)result.version,
                 (long long)frame->rows_count); /* output */
    return ERR_OK;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    int64_t version = 0;
    CLEANUP(object_store_close) struct object_store *store = NULL;
    CLEANUP(buffer_deinit) struct buffer records;
    buffer_init(&records, 1 << 30);
    if (argc != 5 || !text_parse_int64(span_of_text(argv[4]), &version)) {
        (void)fprintf(stderr, "usage: append_rows FOLDER NDJSON APP_ID VERSION\n"); /* told */
        return 64;
    }
    if (object_store_open_local(argv[1], &store, &err) != ERR_OK ||
        file_read(argv[2], &records, &err) != ERR_OK ||
        append(store, buffer_span(&records), argv[3], version, &err) != ERR_OK) {
        (void)fprintf(stderr, "append_rows: %s\n", err.msg); /* told */
        return 1;
    }
    return 0;
}
