/*
 * Frames with nested columns as files: what is written is read again, in every
 * combination of null, empty and repeated, in any order of rows, over many row
 * groups and pages, under names of column mapping.
 */
#include "storage/columns/encode_json.h"
#include "tests/unit/storage/parquet/file_kit.h"
#include "tests/unit/storage/parquet/samples.h"

#include <criterion/criterion.h>

#include <string.h>

enum { TEXT_BYTES_MAX = 64 << 20 };

/* One field of each nested kind, and each within another. Written with single quotes. */
static const char wide[] =
    "{'type':'struct','fields':["
    "{'name':'id','type':'long','nullable':false,'metadata':{}},"
    "{'name':'person','type':{'type':'struct','fields':["
    "{'name':'name','type':'string','nullable':true,'metadata':{}},"
    "{'name':'paid','type':'decimal(20,2)','nullable':true,'metadata':{}},"
    "{'name':'inner','type':{'type':'struct','fields':["
    "{'name':'day','type':'date','nullable':true,'metadata':{}},"
    "{'name':'flags','type':{'type':'array','elementType':'boolean','containsNull':true},"
    "'nullable':true,'metadata':{}}]},'nullable':true,'metadata':{}}]},"
    "'nullable':true,'metadata':{}},"
    "{'name':'matrix','type':{'type':'array','elementType':{'type':'array','elementType':'double',"
    "'containsNull':true},'containsNull':true},'nullable':true,'metadata':{}},"
    "{'name':'codes','type':{'type':'map','keyType':'string','valueType':{'type':'struct','fields':"
    "[{'name':'n','type':'short','nullable':true,'metadata':{}},"
    "{'name':'raw','type':'binary','nullable':true,'metadata':{}}]},'valueContainsNull':true},"
    "'nullable':true,'metadata':{}},"
    "{'name':'last','type':'string','nullable':true,'metadata':{}}]}";

static struct schema *parse(const char *quoted, enum column_mapping mapping)
{
    char text[4096];
    cr_assert_lt(strlen(quoted), sizeof text);
    for (size_t i = 0; i <= strlen(quoted); i++) {
        text[i] = quoted[i];
        if (quoted[i] == '\'') {
            text[i] = '"';
        }
    }
    struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse_delta_mapped(span_of_text(text), NULL, mapping, &schema, &err),
                 ERR_OK, "%s", err.msg);
    return schema;
}

struct dice {
    uint64_t seed, at;
};

static uint64_t roll(struct dice *dice, uint64_t sides)
{
    return sample_random(dice->seed, dice->at++) % sides;
}

static void append_flat(struct column *column, struct dice *dice)
{
    static const char *const texts[] = {"", "a", "metformin", "lisinopril 10 mg tablet"};
    switch (column->type) {
    case COLUMN_LONG:
        column_append_i64(column, (int64_t)roll(dice, 1000000));
        return;
    case COLUMN_DECIMAL:
        column_append_i128(column, (int64_t)roll(dice, 100000) - 50000);
        return;
    case COLUMN_DATE:
    case COLUMN_SHORT:
        column_append_i32(column, (int32_t)roll(dice, 20000));
        return;
    case COLUMN_BOOLEAN:
        column_append_u8(column, (uint8_t)roll(dice, 2));
        return;
    case COLUMN_DOUBLE:
        column_append_f64(column, (double)roll(dice, 1000) / 8);
        return;
    default:
        column_append_bytes(column, span_of_text(texts[roll(dice, 4)]));
        return;
    }
}

static void append_random(struct column *column, bool may_be_null, struct dice *dice)
{
    if (may_be_null && roll(dice, 5) == 0) {
        column_append_null(column);
        return;
    }
    if (column->children_count == 0) {
        append_flat(column, dice);
        return;
    }
    uint64_t count = column->type == COLUMN_STRUCT ? 1 : roll(dice, 4);
    for (uint64_t i = 0; i < count; i++) {
        for (size_t child = 0; child < column->children_count; child++) {
            append_random(&column->children[child], column->type != COLUMN_MAP || child == 1, dice);
        }
    }
    column_append_nested(column);
}

static struct frame *random_frame(const struct schema *schema, int64_t rows, uint64_t seed)
{
    struct frame *frame = frame_new(schema);
    struct dice dice = {.seed = seed};
    for (int64_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < schema->fields_count; i++) {
            append_random(&frame->columns[i], schema->fields[i].nullable, &dice);
        }
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    frame_check(frame);
    return frame;
}

static void expect_row(const struct frame *found, int64_t found_row, const struct frame *wanted,
                       int64_t wanted_row)
{
    CLEANUP(buffer_deinit) struct buffer a;
    CLEANUP(buffer_deinit) struct buffer b;
    buffer_init(&a, TEXT_BYTES_MAX);
    buffer_init(&b, TEXT_BYTES_MAX);
    encode_json_row(found, found_row, NULL, &a);
    encode_json_row(wanted, wanted_row, NULL, &b);
    cr_assert(span_equal(buffer_span(&a), buffer_span(&b)), "%.*s\n%.*s",
              SPAN_PRINT(buffer_span(&a)), SPAN_PRINT(buffer_span(&b)));
}

Test(shred, nested_columns_are_read_as_they_were_written)
{
    CLEANUP(schema_cleanup) struct schema *schema = parse(wide, COLUMN_MAPPING_NONE);
    static const int64_t counts[] = {0, 1, 7, 500, 45000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        CLEANUP(frame_cleanup) struct frame *frame = random_frame(schema, counts[i], 50 + i);
        CLEANUP(file_kit_deinit) struct file_kit kit;
        file_kit_init(&kit, frame, NULL);
        CLEANUP(frame_cleanup)
        struct frame *found = file_kit_read(&kit, schema, 0, frame->rows_count);
        for (int64_t row = 0; row < frame->rows_count; row++) {
            expect_row(found, row, frame, row);
        }
        if (frame->rows_count > 10) { /* a range within */
            CLEANUP(frame_cleanup)
            struct frame *part = file_kit_read(&kit, schema, counts[i] / 2, 5);
            for (int64_t row = 0; row < 5; row++) {
                expect_row(part, row, frame, counts[i] / 2 + row);
            }
        }
        cr_expect_eq(kit.written.columns[1].nulls_count, counts[i] > 0 ? -1 : 0);
        cr_expect_eq(kit.written.columns[2].nulls_count, frame->columns[2].nulls_count);
        cr_expect_eq(kit.written.columns[3].nulls_count, frame->columns[3].nulls_count);
        cr_expect_eq(kit.written.columns[4].nulls_count, frame->columns[4].nulls_count);
        cr_expect_not(kit.written.columns[2].has_range);
    }
}

Test(shred, rows_are_written_in_the_order_asked_for)
{
    CLEANUP(schema_cleanup) struct schema *schema = parse(wide, COLUMN_MAPPING_NONE);
    CLEANUP(frame_cleanup) struct frame *frame = random_frame(schema, 300, 9);
    int64_t order[100];
    for (size_t i = 0; i < 100; i++) {
        order[i] = (int64_t)(sample_random(4, i) % 300);
    }
    const bool columns[] = {false, true, false, true, true};
    const struct parquet_write_options options = {
        .row_order = order, .row_order_count = 100, .columns = columns};
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, &options);
    CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, schema, 0, 100);
    for (int64_t row = 0; row < 100; row++) {
        CLEANUP(buffer_deinit) struct buffer a;
        CLEANUP(buffer_deinit) struct buffer b;
        buffer_init(&a, TEXT_BYTES_MAX);
        buffer_init(&b, TEXT_BYTES_MAX);
        encode_json_row(found, row, columns, &a);
        encode_json_row(frame, order[row], columns, &b);
        cr_assert(span_equal(buffer_span(&a), buffer_span(&b)), "%.*s\n%.*s",
                  SPAN_PRINT(buffer_span(&a)), SPAN_PRINT(buffer_span(&b)));
        cr_assert_not(column_is_valid(&found->columns[0], row));
        cr_assert_not(column_is_valid(&found->columns[2], row));
    }
}

/* Compaction: frames are gathered, row groups cut, more than one of them. */
Test(shred, many_frames_make_one_file)
{
    CLEANUP(schema_cleanup) struct schema *schema = parse(wide, COLUMN_MAPPING_NONE);
    struct file_kit kit = {0};
    buffer_init(&kit.bytes, SIZE_MAX);
    struct parquet_sink sink = parquet_sink_to_buffer(&kit.bytes);
    struct parquet_writer *writer = NULL;
    struct err err = {0};
    cr_assert_eq(parquet_writer_open(NULL, schema, NULL, &sink, &writer, &err), ERR_OK);
    CLEANUP(frame_cleanup) struct frame *frame = random_frame(schema, 3000, 31);
    enum { FRAMES = 400 };
    for (size_t i = 0; i < FRAMES; i++) {
        file_kit_append(writer, frame, NULL, 0);
    }
    cr_assert_eq(parquet_writer_finish(writer, &kit.written, &err), ERR_OK, "%s", err.msg);
    parquet_writer_close(&writer);
    file_kit_open(&kit);
    cr_assert_eq(kit.written.rows_count, INT64_C(3000) * FRAMES);
    cr_expect_gt(parquet_reader_row_groups_count(kit.reader), 1);
    for (int64_t i = 0; i < FRAMES; i += 57) {
        CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, schema, i * 3000, 3000);
        for (int64_t row = 0; row < 3000; row += 13) {
            expect_row(found, row, frame, row);
        }
    }
    cr_expect_eq(kit.written.columns[2].nulls_count, frame->columns[2].nulls_count * FRAMES);
    file_kit_deinit(&kit);
}

#define MAPPED(name, physical, id, type)                                                           \
    "{'name':'" name "','type':" type ",'nullable':true,'metadata':{'delta.columnMapping.id':" id  \
    ",'delta.columnMapping.physicalName':'" physical "'}}"

/* Fields are found by names and by ids, whatever the table calls them now. */
Test(shred, fields_of_structs_have_their_names_and_ids_in_files)
{
    static const char before[] = "{'type':'struct','fields':[" MAPPED(
        "s", "col-1", "1",
        "{'type':'struct','fields':[" MAPPED("a", "col-2", "2", "'long'") "," MAPPED(
            "b", "col-3", "3",
            "{'type':'map','keyType':'string','valueType':{'type':'struct','fields':[" MAPPED(
                "c", "col-4", "4", "'date'") "]},'valueContainsNull':true}") "]}") "]}";
    static const char after[] = "{'type':'struct','fields':[" MAPPED(
        "t", "col-1", "1",
        "{'type':'struct','fields':[" MAPPED("z", "col-2", "2", "'long'") "," MAPPED(
            "y", "col-3", "3",
            "{'type':'map','keyType':'string','valueType':{'type':'struct','fields':[" MAPPED(
                "x", "col-4", "4", "'date'") "]},'valueContainsNull':true}") "]}") "]}";
    CLEANUP(schema_cleanup) struct schema *written = parse(before, COLUMN_MAPPING_NAME);
    CLEANUP(frame_cleanup) struct frame *frame = random_frame(written, 40, 3);
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    for (int mapping = COLUMN_MAPPING_NAME; mapping <= COLUMN_MAPPING_ID; mapping++) {
        CLEANUP(schema_cleanup) struct schema *now = parse(after, (enum column_mapping)mapping);
        CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, now, 0, 40);
        CLEANUP(frame_cleanup) struct frame *wanted = frame_new(now);
        for (int64_t row = 0; row < 40; row++) {
            frame_append_row(wanted, frame, row);
            expect_row(found, row, wanted, row);
        }
    }
}

/* A leaf without a single value, before any that has some. */
Test(shred, rows_without_a_value)
{
    CLEANUP(schema_cleanup) struct schema *schema = parse(wide, COLUMN_MAPPING_NONE);
    CLEANUP(frame_cleanup) struct frame *frame = frame_new(schema);
    for (int64_t row = 0; row < 5; row++) {
        column_append_i64(&frame->columns[0], row);
        for (size_t i = 1; i < schema->fields_count; i++) {
            struct column *column = &frame->columns[i];
            if (row % 2 == 0 || column->type == COLUMN_STRING) {
                column_append_null(column);
                continue;
            }
            for (size_t child = 0; column->type == COLUMN_STRUCT && child < column->children_count;
                 child++) {
                column_append_null(&column->children[child]);
            }
            column_append_nested(column);
        }
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, schema, 0, 5);
    for (int64_t row = 0; row < 5; row++) {
        expect_row(found, row, frame, row);
    }
}

Test(shred, a_null_key_is_refused)
{
    CLEANUP(schema_cleanup) struct schema *schema = parse(wide, COLUMN_MAPPING_NONE);
    CLEANUP(frame_cleanup) struct frame *frame = random_frame(schema, 3, 1);
    struct column *codes = &frame->columns[3];
    column_append_i64(&frame->columns[0], 1);
    column_append_null(&frame->columns[1]);
    column_append_null(&frame->columns[2]);
    column_append_null(&codes->children[0]);
    column_append_null(&codes->children[1]);
    column_append_nested(codes);
    column_append_null(&frame->columns[4]);
    frame_end_row(frame, FRAME_UPSERT, 0);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, TEXT_BYTES_MAX);
    struct parquet_sink sink = parquet_sink_to_buffer(&bytes);
    struct parquet_written written = {0};
    struct err err = {0};
    cr_expect_eq(parquet_write_frame(NULL, frame, NULL, &sink, &written, &err), ERR_INVALID);
    cr_expect_str_eq(err.msg, "column 'codes': a map has a null among its keys");
}
