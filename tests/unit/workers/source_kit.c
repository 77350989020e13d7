/*
 * Sources under test. See source_kit.h.
 */
#include "tests/unit/workers/source_kit.h"

#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/columns/decode_rows.h"
#include "storage/columns/encode_json.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

static enum err_code check_time(void *arg, struct err *err)
{
    struct source_kit *kit = arg;
    kit->checks_count++;
    if (kit->checks_until > 0 && kit->checks_count >= kit->checks_until) {
        return err_set(err, ERR_CANCELLED, "the test says so");
    }
    return ERR_OK;
}

static enum err_code wait(void *arg, int64_t us, struct err *err)
{
    struct source_kit *kit = arg;
    kit->waited_us += us;
    return check_time(arg, err);
}

static struct schema *parse_schema(const char *definition)
{
    CLEANUP(mem_cleanup) char *text = mem_copy_text(definition);
    CLEANUP(json_free) struct json *json = NULL;
    struct schema *schema = NULL;
    struct err err = {0};
    for (char *at = strchr(text, '\''); at != NULL; at = strchr(at, '\'')) {
        *at = '"';
    }
    cr_assert_eq(json_parse(span_of_text(text), &json, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(schema_parse(json, &schema, &err), ERR_OK, "%s", err.msg);
    return schema;
}

void source_kit_init(struct source_kit *kit, const char *definition)
{
    struct err err = {0};
    *kit = (struct source_kit){.dir = temp_dir_make(), .schema = parse_schema(definition)};
    cr_assert_eq(roots_open(kit->dir.path, "source-roots", &kit->roots, &err), ERR_OK, "%s",
                 err.msg);
    kit->reader = (struct source_reader){
        .table = id_new_random(),
        .schema = kit->schema,
        .operation = FRAME_UPSERT,
        .piece_records = 100000,
        .run_id = 1,
        .check_time = check_time,
        .wait = wait,
        .arg = kit,
    };
}

void source_kit_deinit(struct source_kit *kit)
{
    roots_close(&kit->roots);
    schema_release(&kit->schema);
    temp_dir_remove(&kit->dir);
}

void source_kit_put(const struct source_kit *kit, const char *name, struct span bytes)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&kit->dir, name);
    cr_assert_eq(file_replace_derived(path, bytes, &err), ERR_OK, "%s", err.msg);
}

void source_reading_init(struct source_reading *reading)
{
    *reading = (struct source_reading){0};
    buffer_init(&reading->pieces, (size_t)1 << 30);
    buffer_init(&reading->rows, (size_t)1 << 30);
    buffer_init(&reading->rejected, (size_t)1 << 30);
}

void source_reading_deinit(struct source_reading *reading)
{
    buffer_deinit(&reading->pieces);
    buffer_deinit(&reading->rows);
    buffer_deinit(&reading->rejected);
}

static void write_results(const struct frame *frame, const struct decode_errors *errors,
                          struct source_reading *reading)
{
    for (int64_t row = 0; row < frame->rows_count; row++) {
        buffer_append_format(&reading->rows, "%" PRId64 " %s ", frame->lines[row],
                             frame_operation_name(frame_operation_at(frame, row)));
        encode_json_row(frame, row, NULL, &reading->rows);
        buffer_append_byte(&reading->rows, '\n');
    }
    for (size_t i = 0; i < errors->items_count; i++) {
        buffer_append_format(&reading->rejected, "%" PRId64 " %s %s\n", errors->items[i].line,
                             errors->items[i].pointer, errors->items[i].message);
    }
}

static enum err_code take_piece(const struct source_kit *kit, const struct source_piece *piece,
                                struct source_reading *reading, struct err *err)
{
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    const struct decode_options options = {
        .format = piece->format,
        .operation = kit->reader.operation,
        .is_part = true,
        .line_offset = piece->line_offset,
        .frame_bytes_max = SOURCE_PIECE_FRAME_BYTES_MAX + (1 << 20),
    };
    if (piece->rows != NULL) {
        TRY(decode_rows(piece->rows, kit->schema, &options, &frame, &errors, err));
    } else {
        TRY(decode_body(piece->body, kit->schema, &options, &frame, &errors, err));
    }
    cr_assert_eq(errors.received_count, piece->records_count);
    write_results(frame, &errors, reading);
    return ERR_OK;
}

enum err_code source_kit_read(const struct source_kit *kit, struct source *source,
                              const char *checkpoint, int64_t pieces_max,
                              struct source_reading *reading, struct err *err)
{
    bool done = false;
    TRY(source_begin(source, span_of_text(checkpoint), &done, err));
    while (!done && (pieces_max == 0 || reading->pieces_count < pieces_max)) {
        struct source_piece piece;
        bool found = false;
        TRY(source_next(source, &piece, &found, err));
        if (!found) {
            return ERR_OK;
        }
        if (piece.records_count > 0) {
            TRY(take_piece(kit, &piece, reading, err));
        }
        reading->pieces_count++;
        reading->records_count += piece.records_count;
        buffer_append_format(&reading->pieces, "%" PRId64 " %.*s\n", piece.records_count,
                             SPAN_PRINT(piece.checkpoint));
        cr_assert_lt(piece.checkpoint.size, sizeof reading->last_checkpoint);
        memcpy(reading->last_checkpoint, piece.checkpoint.data, piece.checkpoint.size);
        reading->last_checkpoint[piece.checkpoint.size] = '\0';
    }
    return ERR_OK;
}
