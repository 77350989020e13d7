/*
 * Writing: statistics are truthful, options are obeyed, row groups and pages
 * are cut, failures of the sink come through.
 */
#include "storage/parquet/writer.h"
#include "storage/base/mem.h"
#include "storage/parquet/metadata.h"
#include "storage/parquet/reader_state.h"
#include "tests/unit/storage/parquet/file_kit.h"
#include "tests/unit/storage/parquet/samples.h"

#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

/* Is the value of the row within the stated bounds? */
static bool within(const struct field *field, const struct column *column, int64_t row,
                   const struct parquet_column_statistics *statistics)
{
    const struct parquet_bound *min = &statistics->min;
    const struct parquet_bound *max = &statistics->max;
    switch (field->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY: {
        struct span value = column_bytes(column, row);
        struct span head = value;
        if (!max->exact && head.size > max->bytes_size) {
            head.size = max->bytes_size; /* the bound is the beginning of a longer value */
        }
        return span_compare(parquet_bound_span(min), value) <= 0 &&
               span_compare(head, parquet_bound_span(max)) <= 0;
    }
    case COLUMN_DECIMAL:
        return min->i128 <= column->values.i128[row] && column->values.i128[row] <= max->i128;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        return min->f64 <= column->values.f64[row] && column->values.f64[row] <= max->f64;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        return min->i64 <= column->values.i64[row] && column->values.i64[row] <= max->i64;
    case COLUMN_BOOLEAN:
        return min->i64 <= column->values.u8[row] && column->values.u8[row] <= max->i64;
    default:
        return min->i64 <= column->values.i32[row] && column->values.i32[row] <= max->i64;
    }
}

static void expect_truthful(const struct frame *frame,
                            const struct parquet_column_statistics *statistics, size_t field,
                            int64_t start, int64_t count)
{
    const struct column *column = &frame->columns[field];
    int64_t nulls = 0;
    for (int64_t row = start; row < start + count; row++) {
        if (column_is_valid(column, row)) {
            cr_expect(within(&frame->schema->fields[field], column, row, statistics), "%s row %lld",
                      frame->schema->fields[field].name, (long long)row);
        } else {
            nulls++;
        }
    }
    cr_expect_eq(statistics->nulls_count, nulls);
    cr_expect_eq(statistics->values_count, count - nulls);
}

Test(writer, statistics_hold_in_result_and_footer)
{
    static const struct sample samples[] = {
        {.rows_count = 30000, .seed = 21, .nulls_permille = 100},
        {.rows_count = 30000, .seed = 22, .distinct = 50},
        {.rows_count = 300, .seed = 23, .nulls_permille = 500, .text_bytes = 500},
        {.rows_count = 10, .seed = 24, .nulls_permille = 1000},
    };
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema(SAMPLE_ALL_TYPES);
    for (size_t s = 0; s < sizeof samples / sizeof samples[0]; s++) {
        CLEANUP(frame_cleanup) struct frame *frame = sample_frame(schema, &samples[s]);
        CLEANUP(file_kit_deinit) struct file_kit kit;
        file_kit_init(&kit, frame, NULL);
        cr_assert_eq(kit.written.rows_count, frame->rows_count);
        for (size_t i = 0; i < schema->fields_count; i++) {
            expect_truthful(frame, &kit.written.columns[i], i, 0, frame->rows_count);
            struct parquet_column_statistics footer;
            parquet_reader_statistics(kit.reader, 0, &schema->fields[i], &footer);
            expect_truthful(frame, &footer, i, 0, frame->rows_count);
            cr_expect_eq(footer.has_range, kit.written.columns[i].has_range);
            cr_expect_eq(footer.has_range, footer.values_count > 0);
        }
    }
}

Test(writer, nan_is_reported_and_keeps_bounds_out_of_the_file)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:double b:float");
    CLEANUP(frame_cleanup) struct frame *frame = frame_new(schema);
    static const double values[] = {1.5, NAN, -2};
    for (size_t i = 0; i < 3; i++) {
        column_append_f64(&frame->columns[0], values[i]);
        column_append_f64(&frame->columns[1], values[i]);
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    for (size_t i = 0; i < 2; i++) {
        cr_expect(kit.written.columns[i].has_nan);
        cr_expect_eq(kit.written.columns[i].min.f64, -2);
        cr_expect_eq(kit.written.columns[i].max.f64, 1.5);
        struct parquet_column_statistics footer;
        parquet_reader_statistics(kit.reader, 0, &schema->fields[i], &footer);
        cr_expect_not(footer.has_range);
        cr_expect_eq(kit.reader->footer.row_groups[0].chunks[i].column_index_offset, 0);
        cr_expect_neq(kit.reader->footer.row_groups[0].chunks[i].offset_index_offset, 0);
    }
    CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, schema, 0, 3);
    cr_expect(isnan(found->columns[1].values.f64[1]));
}

/* Protected values must not be found anywhere but in the pages. */
Test(writer, suppressed_statistics_are_nowhere)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:string b:string");
    CLEANUP(frame_cleanup) struct frame *frame = frame_new(schema);
    for (size_t i = 0; i < 2; i++) {
        column_append_bytes(&frame->columns[i], span_of_text("Ada Lovelace"));
    }
    frame_end_row(frame, FRAME_UPSERT, 0);
    const bool statistics[] = {false, true};
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, &(struct parquet_write_options){.statistics = statistics});
    cr_expect_not(kit.written.columns[0].has_range);
    cr_expect(kit.written.columns[1].has_range);
    cr_expect_eq(kit.written.columns[0].values_count, 1);
    const struct metadata_chunk *chunks = kit.reader->footer.row_groups[0].chunks;
    cr_expect_null(chunks[0].statistics.min_value.data);
    cr_expect_null(chunks[0].statistics.max_value.data);
    cr_expect_eq(chunks[0].statistics.nulls_count, 0);
    cr_expect_eq(chunks[0].column_index_offset, 0);
    cr_expect_neq(chunks[1].column_index_offset, 0);
    int found = 0;
    for (size_t i = 0; i + 12 <= kit.span.size; i++) {
        found += memcmp(kit.span.data + i, "Ada Lovelace", 12) == 0;
    }
    /* a page each; and of the second column two bounds in the footer and two in the index */
    cr_expect_eq(found, 6);
}

Test(writer, obeys_row_order_and_column_choice)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:string p:long b:decimal(9,2)");
    CLEANUP(frame_cleanup)
    struct frame *frame = sample_frame(
        schema, &(struct sample){.rows_count = 25000, .seed = 25, .nulls_permille = 100});
    static int64_t order[24000];
    for (int64_t i = 0; i < 24000; i++) {
        order[i] = 24999 - i;
    }
    const bool columns[] = {true, false, true};
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame,
                  &(struct parquet_write_options){
                      .row_order = order, .row_order_count = 24000, .columns = columns});
    cr_expect_eq(kit.written.rows_count, 24000);
    cr_expect_eq(kit.written.columns[1].values_count, 0);
    cr_expect_not(parquet_reader_has_column(kit.reader, span_of_text("p")));
    CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, schema, 0, 24000);
    for (int64_t i = 0; i < 24000; i++) {
        cr_assert(sample_columns_equal(&frame->columns[0], order[i], &found->columns[0], i, 1));
        cr_assert(sample_columns_equal(&frame->columns[2], order[i], &found->columns[2], i, 1));
    }
    cr_expect_eq(found->columns[1].nulls_count, 24000);
}

/* Encodings and codecs are chosen by what they save. */
Test(writer, dictionary_and_compression_only_where_they_pay)
{
    static const struct {
        const char *name;
        uint64_t distinct;
        bool dictionary;
    } cases[] = {{"few", 20, true}, {"thousands", 3000, true}, {"unique", 0, false}};
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:string b:long");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct sample sample = {
            .rows_count = 40000, .seed = 26, .distinct = cases[i].distinct, .text_bytes = 20};
        CLEANUP(frame_cleanup) struct frame *frame = sample_frame(schema, &sample);
        CLEANUP(file_kit_deinit) struct file_kit kit;
        file_kit_init(&kit, frame, NULL);
        for (size_t c = 0; c < 2; c++) {
            const struct metadata_chunk *chunk = &kit.reader->footer.row_groups[0].chunks[c];
            cr_expect_eq(chunk->dictionary_offset > 0, cases[i].dictionary, "%s, column %zu",
                         cases[i].name, c);
            cr_expect_leq(chunk->packed_bytes, chunk->raw_bytes, "%s", cases[i].name);
        }
    }
}

Test(writer, random_numbers_are_not_compressed_in_vain)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:long");
    CLEANUP(frame_cleanup)
    struct frame *frame = sample_frame(schema, &(struct sample){.rows_count = 40000, .seed = 27});
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    cr_expect_eq(kit.reader->footer.row_groups[0].chunks[0].codec, PARQUET_UNCOMPRESSED);
}

Test(writer, cuts_pages_by_rows_and_bytes)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:long b:string");
    CLEANUP(frame_cleanup)
    struct frame *frame =
        sample_frame(schema, &(struct sample){.rows_count = 50000, .seed = 28, .text_bytes = 100});
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    for (size_t c = 0; c < 2; c++) {
        const struct metadata_chunk *chunk = &kit.reader->footer.row_groups[0].chunks[c];
        struct arena arena;
        arena_init(&arena, 1 << 20);
        struct metadata_location *locations = NULL;
        size_t count = 0;
        struct err err = {0};
        struct span index =
            span_of(kit.span.data + chunk->offset_index_offset, (size_t)chunk->offset_index_bytes);
        cr_assert_eq(metadata_offset_index_decode(index, &arena, &locations, &count, &err), ERR_OK);
        if (c == 0) {
            cr_assert_eq(count, 3);
            cr_expect_eq(locations[1].first_row, PARQUET_WRITE_PAGE_ROWS_MAX);
        } else {
            cr_assert_gt(count, 4);
        }
        for (size_t i = 0; i < count; i++) {
            struct metadata_page page;
            size_t size = 0;
            struct span header = span_of(kit.span.data + locations[i].offset, 200);
            cr_assert_eq(metadata_page_decode(header, &page, &size, &err), ERR_OK);
            cr_expect_eq((size_t)locations[i].packed_bytes, size + (size_t)page.packed_bytes);
            cr_expect_leq(page.raw_bytes, PARQUET_WRITE_PAGE_BYTES_MAX + 5000);
        }
        arena_deinit(&arena);
    }
}

Test(writer, one_huge_value_has_a_page_of_its_own)
{
    enum { HUGE_BYTES = 3 << 20 };
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:binary");
    CLEANUP(frame_cleanup) struct frame *frame = frame_new(schema);
    uint8_t *huge = mem_zeroed(HUGE_BYTES, 1);
    static const size_t sizes[] = {1, HUGE_BYTES, 2, HUGE_BYTES - 1, 0};
    for (size_t i = 0; i < 5; i++) {
        column_append_bytes(&frame->columns[0], span_of(huge, sizes[i]));
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    CLEANUP(file_kit_deinit) struct file_kit kit;
    file_kit_init(&kit, frame, NULL);
    CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, schema, 0, 5);
    cr_expect(sample_columns_equal(&frame->columns[0], 0, &found->columns[0], 0, 5));
    mem_free(huge);
}

/* ---- streaming ---- */

Test(writer, gathers_appended_frames_into_row_groups)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:long b:boolean");
    CLEANUP(frame_cleanup)
    struct frame *frame = sample_frame(
        schema, &(struct sample){.rows_count = 300000, .seed = 29, .nulls_permille = 10});
    struct parquet_writer_context *context = parquet_writer_context_new();
    CLEANUP(file_kit_deinit) struct file_kit kit = {0};
    buffer_init(&kit.bytes, 1 << 30);
    const struct parquet_sink sink = parquet_sink_to_buffer(&kit.bytes);
    struct err err = {0};
    struct parquet_writer *writer = NULL;
    cr_assert_eq(parquet_writer_open(context, schema, NULL, &sink, &writer, &err), ERR_OK);
    static const int64_t evens[] = {0, 2, 4, 6, 8};
    file_kit_append(writer, frame, evens, 5);
    for (int i = 0; i < 4; i++) {
        file_kit_append(writer, frame, NULL, 0);
    }
    cr_expect_eq(parquet_writer_rows_count(writer), 1200005);
    cr_assert_eq(parquet_writer_finish(writer, &kit.written, &err), ERR_OK);
    cr_expect_eq(parquet_writer_bytes_count(writer), (int64_t)kit.bytes.size);
    parquet_writer_close(&writer);
    file_kit_open(&kit);
    cr_expect_eq(parquet_reader_row_groups_count(kit.reader), 2);
    cr_expect_eq(parquet_reader_row_group_rows(kit.reader, 0), PARQUET_WRITE_ROW_GROUP_ROWS_MAX);
    cr_expect_eq(parquet_reader_row_group_start(kit.reader, 1), PARQUET_WRITE_ROW_GROUP_ROWS_MAX);
    /* across the border of the row groups */
    CLEANUP(frame_cleanup) struct frame *found = file_kit_read(&kit, schema, 1000000, 200005);
    for (size_t i = 0; i < 2; i++) {
        cr_expect(sample_columns_equal(&frame->columns[i], 99995, &found->columns[i], 0, 200005));
    }
    parquet_writer_context_free(&context);
}

Test(writer, a_gathered_group_ends_where_it_was_told_and_huge_ones_are_cut)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("b:string");
    CLEANUP(frame_cleanup)
    struct frame *frame =
        sample_frame(schema, &(struct sample){.rows_count = 100000, .seed = 5, .text_bytes = 200});
    int64_t row_bytes = frame_value_bytes(frame) / frame->rows_count;
    int64_t group_rows = PARQUET_WRITE_ROW_GROUP_BYTES_MAX / row_bytes;
    const struct {
        int64_t portion;
        int64_t groups;
    } cases[] = {{group_rows / 4 + 9, 2}, {group_rows * 5 / 2, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(file_kit_deinit) struct file_kit kit = {0};
        buffer_init(&kit.bytes, 1 << 30);
        const struct parquet_sink sink = parquet_sink_to_buffer(&kit.bytes);
        struct err err = {0};
        struct parquet_writer *writer = NULL;
        cr_assert_eq(parquet_writer_open(NULL, schema, NULL, &sink, &writer, &err), ERR_OK);
        int64_t rows = 0;
        for (; rows < group_rows * 3 / 2; rows += cases[i].portion) {
            for (int64_t row = 0; row < cases[i].portion; row++) {
                frame_append_row(parquet_writer_rows(writer), frame, (rows + row) % 100000);
            }
            cr_assert_eq(parquet_writer_gathered(writer, &err), ERR_OK);
        }
        cr_assert_eq(parquet_writer_finish(writer, &kit.written, &err), ERR_OK);
        parquet_writer_close(&writer);
        file_kit_open(&kit);
        cr_expect_eq(parquet_reader_rows_count(kit.reader), rows);
        cr_expect_eq((int64_t)parquet_reader_row_groups_count(kit.reader), cases[i].groups);
    }
}

Test(writer, a_file_without_rows_is_a_file)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:long");
    CLEANUP(file_kit_deinit) struct file_kit kit = {0};
    buffer_init(&kit.bytes, 1 << 20);
    const struct parquet_sink sink = parquet_sink_to_buffer(&kit.bytes);
    struct err err = {0};
    struct parquet_writer *writer = NULL;
    cr_assert_eq(parquet_writer_open(NULL, schema, NULL, &sink, &writer, &err), ERR_OK);
    cr_assert_eq(parquet_writer_finish(writer, &kit.written, &err), ERR_OK);
    parquet_writer_close(&writer);
    file_kit_open(&kit);
    cr_expect_eq(parquet_reader_rows_count(kit.reader), 0);
    cr_expect(parquet_reader_has_column(kit.reader, span_of_text("a")));
}

/* ---- failures ---- */

struct faulty_sink {
    int writes_left;
    int64_t bytes;
};

static enum err_code write_or_fail(void *self, struct span bytes, struct err *err)
{
    struct faulty_sink *sink = self;
    if (sink->writes_left-- == 0) {
        return err_set(err, ERR_NO_SPACE, "the disk is full");
    }
    sink->bytes += (int64_t)bytes.size;
    return ERR_OK;
}

Test(writer, passes_on_every_failure_of_its_sink_and_stays_usable)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema("a:long b:string");
    CLEANUP(frame_cleanup)
    struct frame *frame =
        sample_frame(schema, &(struct sample){.rows_count = 200000, .seed = 30, .text_bytes = 30});
    struct parquet_writer_context *context = parquet_writer_context_new();
    int failures = 0;
    for (int n = 0;; n++) {
        struct faulty_sink faulty = {.writes_left = n};
        const struct parquet_sink sink = {.write = write_or_fail, .self = &faulty};
        struct parquet_written written = {0};
        struct err err = {0};
        enum err_code code = parquet_write_frame(context, frame, NULL, &sink, &written, &err);
        if (code == ERR_OK) {
            cr_expect_eq(written.file_bytes, faulty.bytes);
            parquet_written_deinit(&written);
            break;
        }
        cr_expect_eq(code, ERR_NO_SPACE);
        cr_expect_null(written.columns);
        failures++;
    }
    cr_expect_gt(failures, 2);
    parquet_writer_context_free(&context);
}

Test(writer, a_reused_context_writes_the_same_bytes)
{
    CLEANUP(schema_cleanup) struct schema *schema = sample_schema(SAMPLE_ALL_TYPES);
    struct parquet_writer_context *context = parquet_writer_context_new();
    for (uint64_t seed = 40; seed < 46; seed++) {
        const struct sample sample = {.rows_count = 1 + (int64_t)(seed * seed * 13 % 5000),
                                      .seed = seed,
                                      .nulls_permille = 50,
                                      .distinct = seed % 2 * 40};
        CLEANUP(frame_cleanup) struct frame *frame = sample_frame(schema, &sample);
        CLEANUP(file_kit_deinit) struct file_kit kit;
        file_kit_init(&kit, frame, NULL);
        CLEANUP(buffer_deinit) struct buffer again;
        buffer_init(&again, 1 << 30);
        const struct parquet_sink sink = parquet_sink_to_buffer(&again);
        struct parquet_written written = {0};
        struct err err = {0};
        cr_assert_eq(parquet_write_frame(context, frame, NULL, &sink, &written, &err), ERR_OK);
        cr_expect(span_equal(buffer_span(&again), kit.span));
        parquet_written_deinit(&written);
    }
    parquet_writer_context_free(&context);
}
