/*
 * See fixture.h.
 */
#include "tests/unit/storage/snapshot/fixture.h"

#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/columns/encode_json.h"
#include "storage/delta/transaction.h"
#include "storage/object/object.h"
#include "storage/snapshot/compact.h"
#include "storage/snapshot/lookup.h"
#include "storage/snapshot/order.h"
#include "storage/snapshot/output.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/verify.h"

#include <criterion/criterion.h>

static const char *const merge_names[] = {
    [TABLE_DELETION_VECTORS] = "deletion-vectors",
    [TABLE_COPY_ON_WRITE] = "copy-on-write",
    [TABLE_APPEND] = "append",
};

static struct schema *make_schema(const struct fixture_options *options)
{
    struct buffer text;
    buffer_init(&text, 4096);
    bool keyed = options->merge != TABLE_APPEND;
    buffer_append_text(&text, "{\"schema\":{\"fields\":["
                              "{\"name\":\"id\",\"type\":\"string\",\"nullable\":false}");
    if (options->sequence) {
        buffer_append_text(&text, ",{\"name\":\"updated\",\"type\":\"long\",\"nullable\":false}");
    }
    buffer_append_text(&text, ",{\"name\":\"amount\",\"type\":\"integer\"}"
                              ",{\"name\":\"note\",\"type\":\"string\"}"
                              ",{\"name\":\"region\",\"type\":\"string\"}"
                              ",{\"name\":\"member\",\"type\":\"string\",\"phi\":true}]}");
    buffer_append_format(&text, ",\"merge\":\"%s\",\"change_feed\":%s", merge_names[options->merge],
                         options->change_feed ? "true" : "false");
    if (keyed) {
        buffer_append_text(&text, ",\"key\":[\"id\"]");
    }
    if (options->sequence) {
        buffer_append_text(&text, ",\"sequence_by\":\"updated\"");
    }
    if (options->partition) {
        buffer_append_text(&text, ",\"partition_by\":[\"region\"]");
    }
    if (options->retention_seconds > 0) {
        buffer_append_format(&text, ",\"delete_retention_seconds\":%lld",
                             (long long)options->retention_seconds);
    }
    if (options->lookup) {
        buffer_append_text(&text, ",\"lookup\":[{\"entity\":\"member\",\"column\":\"member\","
                                  "\"as\":\"things\"}]");
    } else if (options->root) {
        buffer_append_text(&text, ",\"lookup\":[{\"entity\":\"member\",\"column\":\"id\","
                                  "\"as\":\"member\"}]");
    }
    buffer_append_text(&text, "}");
    struct err err = {0};
    CLEANUP(json_free) struct json *json = NULL;
    struct schema *schema = NULL;
    cr_assert(json_parse(buffer_span(&text), &json, &err) == ERR_OK, "%s", err.msg);
    cr_assert(schema_parse(json, &schema, &err) == ERR_OK, "%s", err.msg);
    buffer_deinit(&text);
    return schema;
}

static size_t column(const struct schema *schema, const char *name)
{
    int index = schema_field_index(schema, span_of_text(name));
    return index < 0 ? SIZE_MAX : (size_t)index;
}

static void open_tables(struct fixture *fixture)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *root = temp_dir_join(&fixture->dir, "tables");
    CLEANUP(mem_cleanup) char *index_root = temp_dir_join(&fixture->dir, "index");
    struct tables_options options = {
        .root = root, .index_root = index_root, .instance = fixture->instance, .index_key = "key"};
    cr_assert(tables_open(&options, &fixture->tables, &err) == ERR_OK, "%s", err.msg);
}

struct fixture fixture_make(const struct fixture_options *options)
{
    if (file_exists("/dev/shm")) {
        cr_assert(setenv("TMPDIR", "/dev/shm", 1) == 0);
    }
    struct fixture fixture = {.options = *options, .dir = temp_dir_make()};
    fixture.schema = make_schema(options);
    fixture.instance = id_new_random();
    fixture.uuid = id_new_random();
    fixture.id = column(fixture.schema, "id");
    fixture.updated = column(fixture.schema, "updated");
    fixture.amount = column(fixture.schema, "amount");
    fixture.note = column(fixture.schema, "note");
    fixture.region = column(fixture.schema, "region");
    fixture.member = column(fixture.schema, "member");
    struct err err = {0};
    open_tables(&fixture);
    cr_assert(tables_create(fixture.tables, "t", &fixture.uuid, fixture.schema, &err) == ERR_OK,
              "%s", err.msg);
    cr_assert(tables_find(fixture.tables, "t", &fixture.table, &err) == ERR_OK, "%s", err.msg);
    return fixture;
}

void fixture_remove(struct fixture *fixture)
{
    table_release(&fixture->table);
    tables_close(&fixture->tables);
    schema_release(&fixture->schema);
    temp_dir_remove(&fixture->dir);
}

static void open_again(struct fixture *fixture)
{
    struct err err = {0};
    open_tables(fixture);
    cr_assert(tables_attach(fixture->tables, "t", &fixture->uuid, fixture->schema, &err) == ERR_OK,
              "%s", err.msg);
    cr_assert(tables_find(fixture->tables, "t", &fixture->table, &err) == ERR_OK, "%s", err.msg);
}

void fixture_reopen(struct fixture *fixture, bool torn)
{
    struct err err = {0};
    table_release(&fixture->table);
    tables_close(&fixture->tables);
    if (torn) {
        CLEANUP(mem_cleanup) char *index_root = temp_dir_join(&fixture->dir, "index");
        cr_assert(file_remove_tree(index_root, &err) == ERR_OK, "%s", err.msg);
    }
    open_again(fixture);
}

/* Every file of a folder moves into another, which is made. */
static void move_files(const char *from, const char *to)
{
    struct err err = {0};
    struct file_names names = {0};
    cr_assert(file_make_directory(to, &err) == ERR_OK, "%s", err.msg);
    cr_assert(file_list(from, &names, &err) == ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < names.count; i++) {
        CLEANUP(mem_cleanup) char *source = file_join(from, names.names[i]);
        CLEANUP(mem_cleanup) char *target = file_join(to, names.names[i]);
        cr_assert_eq(rename(source, target), 0);
    }
    file_names_free(&names);
}

void fixture_reopen_killed(struct fixture *fixture)
{
    struct err err = {0};
    char name[64];
    (void)snprintf(name, sizeof name, "index/%s", fixture->uuid.text); /* fits */
    CLEANUP(mem_cleanup) char *index = temp_dir_join(&fixture->dir, name);
    CLEANUP(mem_cleanup) char *kept = temp_dir_join(&fixture->dir, "kept");
    move_files(index, kept); /* what closing stores goes to the folder that is left behind */
    table_release(&fixture->table);
    tables_close(&fixture->tables);
    cr_assert(file_remove_tree(index, &err) == ERR_OK, "%s", err.msg);
    move_files(kept, index);
    open_again(fixture);
}

static void append_text(struct column *target, const char *text)
{
    if (text == NULL) {
        column_append_null(target);
    } else if (strcmp(text, "-") == 0) {
        column_append_absent(target);
    } else {
        column_append_bytes(target, span_of_text(text));
    }
}

static void append_record(const struct fixture *fixture, struct frame *frame,
                          const struct record_words *record)
{
    column_append_bytes(&frame->columns[fixture->id], span_of_text(record->id));
    if (fixture->updated != SIZE_MAX) {
        column_append_i64(&frame->columns[fixture->updated], record->updated);
    }
    struct column *amount = &frame->columns[fixture->amount];
    if (record->amount == INT32_MAX) {
        column_append_null(amount);
    } else if (record->amount == INT32_MIN) {
        column_append_absent(amount);
    } else {
        column_append_i32(amount, record->amount);
    }
    append_text(&frame->columns[fixture->note], record->note);
    append_text(&frame->columns[fixture->region], record->region);
    append_text(&frame->columns[fixture->member], record->member);
}

struct frame *fixture_frame(const struct fixture *fixture, const struct record_words *records,
                            size_t count)
{
    struct frame *frame = frame_new(fixture->schema);
    for (size_t i = 0; i < count; i++) {
        append_record(fixture, frame, &records[i]);
        frame_end_row(frame, records[i].operation, (int64_t)i + 1);
    }
    return frame;
}

struct merge_input fixture_input(struct fixture *fixture, const struct frame *frame)
{
    fixture->position++;
    return (struct merge_input){.frame = frame,
                                .rows_count = frame->rows_count,
                                .batch = id_new_ordered(),
                                .position = fixture->position,
                                .order_position = fixture->position};
}

struct merge_outcome fixture_merge(struct fixture *fixture, const struct frame *frame)
{
    struct err err = {0};
    struct merge_input input = fixture_input(fixture, frame);
    struct merge_outcome outcome = {0};
    cr_assert(table_merge(fixture->table, &input, 1, &outcome, &err) == ERR_OK, "%s", err.msg);
    return outcome;
}

void fixture_put(struct fixture *fixture, const struct record_words *records, size_t count)
{
    struct frame *frame = fixture_frame(fixture, records, count);
    struct merge_outcome outcome = fixture_merge(fixture, frame);
    merge_outcome_deinit(&outcome);
    frame_free(&frame);
}

void fixture_append_foreign(struct fixture *fixture, const struct record_words *records,
                            size_t count)
{
    struct err err = {0};
    struct object_store *store = table_store(fixture->table);
    struct delta_state *state = NULL;
    cr_assert(delta_state_load(store, &state, &err) == ERR_OK, "%s", err.msg);
    struct frame *frame = fixture_frame(fixture, records, count);
    struct output output;
    struct object_group *group = NULL;
    output_init(&output, 1, frame, 0);
    cr_assert(object_group_begin(store, 1, &group, &err) == ERR_OK, "%s", err.msg);
    cr_assert(output_write(&output, group, NULL, frame, NULL, 0, false, &err) == ERR_OK, "%s",
              err.msg);
    cr_assert(object_group_sync(group, &err) == ERR_OK, "%s", err.msg);
    object_group_end(&group);
    struct delta_transaction *transaction =
        delta_transaction_begin(state, store, DELTA_READS_NOTHING);
    output_commit(&output, transaction, true, NULL);
    delta_transaction_set_operation(transaction, "WRITE", NULL, NULL);
    struct delta_commit_result result = {0};
    cr_assert(delta_transaction_commit(transaction, &result, &err) == ERR_OK, "%s", err.msg);
    delta_commit_result_deinit(&result);
    delta_transaction_free(&transaction);
    output_deinit(&output);
    frame_free(&frame);
    delta_state_release(&state);
}

void fixture_rows(const struct snapshot *snapshot, struct buffer *text)
{
    struct err err = {0};
    struct buffer lines;
    buffer_init(&lines, 64 << 20);
    CLEANUP(mem_cleanup) size_t *ends = mem_zeroed(100001, sizeof *ends);
    size_t count = 0;
    struct scan_request request = {.limit = 7};
    for (bool done = false; !done;) {
        struct scan_result page = {0};
        cr_assert(scan_run(snapshot, &request, &page, &err) == ERR_OK, "%s", err.msg);
        for (int64_t row = 0; row < page.frame->rows_count; row++) {
            encode_json_row(page.frame, row, NULL, &lines);
            buffer_append_byte(&lines, '\n');
            ends[++count] = lines.size;
        }
        request.start = page.next;
        request.limit = 1000;
        done = page.done;
        scan_result_deinit(&page);
    }
    CLEANUP(mem_cleanup) struct span *spans = mem_zeroed(count + 1, sizeof *spans);
    CLEANUP(mem_cleanup) uint32_t *order = mem_zeroed(count + 1, sizeof *order);
    for (size_t i = 0; i < count; i++) {
        spans[i] = span_of(lines.data + ends[i], ends[i + 1] - ends[i]);
    }
    order_spans(spans, count, order);
    for (size_t i = 0; i < count; i++) {
        buffer_append_span(text, spans[order[i]]);
    }
    buffer_deinit(&lines);
}

void fixture_lookup(const struct fixture *fixture, const char *id, struct buffer *text)
{
    struct err err = {0};
    struct frame *keys = frame_new(fixture->schema);
    for (size_t i = 0; i < fixture->schema->fields_count; i++) {
        if (i == fixture->id) {
            column_append_bytes(&keys->columns[i], span_of_text(id));
        } else {
            column_append_null(&keys->columns[i]);
        }
    }
    frame_end_row(keys, FRAME_UPSERT, 0);
    const struct snapshot *snapshot = table_snapshot(fixture->table);
    struct lookup_result result = {0};
    cr_assert(lookup_keys(snapshot, keys, &result, &err) == ERR_OK, "%s", err.msg);
    cr_assert(result.count == 1);
    if (result.rows[0].found) {
        cr_assert(encode_json_image(result.rows[0].image, snapshot->schema, NULL, text, &err) ==
                      ERR_OK,
                  "%s", err.msg);
    }
    lookup_result_deinit(&result);
    snapshot_release(&snapshot);
    frame_free(&keys);
}

void fixture_verify(const struct fixture *fixture, const char *when)
{
    struct err err = {0};
    struct verify_report report = {0};
    cr_assert(verify_table(fixture->table, &report, &err) == ERR_OK, "%s: %s", when, err.msg);
    cr_assert(report.problems_count == 0, "%s: %s", when, report.problems[0]);
    verify_report_deinit(&report);
}

void fixture_compact(struct fixture *fixture)
{
    struct err err = {0};
    for (bool more = true; more;) {
        CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
        struct compact_result result = {0};
        compact_plan(fixture->table, true, &plan);
        more = plan.count > 0;
        if (more) {
            cr_assert(compact_run(fixture->table, &plan, NULL, &result, &err) == ERR_OK, "%s",
                      err.msg);
        }
    }
}
