#include "storage/columns/frame.h"

#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>

TestSuite(frame, .timeout = 60);

Test(frame, names_of_operations_read_back)
{
    for (int i = 0; i < FRAME_OPERATION_COUNT; i++) {
        enum frame_operation operation = FRAME_PATCH;
        cr_expect(frame_operation_parse(span_of_text(frame_operation_name((enum frame_operation)i)),
                                        &operation));
        cr_expect_eq((int)operation, i);
    }
    enum frame_operation untouched = FRAME_PATCH;
    cr_expect_not(frame_operation_parse(span_of_text("UPSERT"), &untouched));
    cr_expect_eq(untouched, FRAME_PATCH);
}

Test(frame, grows_past_its_first_capacity)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    for (int64_t rows = 0; rows < 400; rows += 37) {
        CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, rows, (uint64_t)rows);
        cr_expect_eq(frame->rows_count, rows);
        frame_check(frame);
        cr_expect_gt(frame_memory_bytes(frame), (size_t)rows);
    }
}

Test(frame, memory_of_a_small_one_serves_the_next_which_begins_empty)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    for (uint64_t seed = 1; seed <= 40; seed++) {
        CLEANUP(frame_free) struct frame *used = kit_random_frame(schema, (int64_t)seed, seed);
        column_append_absent(&used->columns[0]); /* of a row that is not ended */
        const void *slots = used->columns[0].values.slots;
        frame_free(&used);

        CLEANUP(frame_free) struct frame *next = frame_new(schema);
        cr_expect_eq(next->columns[0].values.slots, slots, "seed %lu", seed);
        for (size_t i = 0; i < schema->fields_count; i++) {
            cr_expect_eq(next->columns[i].rows_count, 0);
            cr_expect_eq(next->columns[i].nulls_count, 0);
            cr_expect_null(next->columns[i].present);
        }
        CLEANUP(frame_free) struct frame *same = kit_random_frame(schema, 50, seed + 1);
        frame_append_row(next, same, 7);
        frame_append_row(next, same, 8);
        frame_check(next);
        cr_expect_eq(next->rows_count, 2);
    }
}

Test(frame, memory_of_a_large_one_is_given_back)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema(
        "{'schema':{'fields':[{'name':'a','type':'long'},{'name':'b','type':'string'}]}}");
    enum { ROWS = 65 };
    static const uint8_t text[2000];
    CLEANUP(frame_free) struct frame *many = frame_new(schema);
    frame_reserve(many, ROWS);
    frame_free(&many);
    CLEANUP(frame_free) struct frame *wide = frame_new(schema);
    cr_expect_eq(wide->columns[0].capacity_rows, 0);
    column_append_bytes(&wide->columns[1], span_of(text, sizeof text));
    frame_free(&wide);
    CLEANUP(frame_free) struct frame *next = frame_new(schema);
    cr_expect_eq(next->columns[1].bytes_capacity, 0);
}

Test(frame, undo_drops_exactly_the_half_built_row)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    for (uint64_t seed = 1; seed <= 40; seed++) {
        CLEANUP(frame_free) struct frame *kept = kit_random_frame(schema, 70, seed);
        CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 70, seed);
        size_t half = seed % schema->fields_count;
        for (size_t i = 0; i < half; i++) {
            column_append_from(&frame->columns[i], &kept->columns[i], (int64_t)seed % 70);
        }
        frame_undo_row(frame);
        frame_check(frame);
        cr_expect(kit_frames_equal(frame, kept), "seed %lu", seed);
        frame_append_row(frame, kept, 3);
        frame_check(frame);
        cr_expect_eq(frame->rows_count, 71);
    }
}

Test(frame, absent_values_appear_after_present_ones)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema("{'schema':{'fields':[{'name':'a','type':'long'}]}}");
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    for (int64_t i = 0; i < 100; i++) {
        column_append_i64(&frame->columns[0], i);
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    cr_expect_null(frame->columns[0].present);
    column_append_absent(&frame->columns[0]);
    frame_end_row(frame, FRAME_PATCH, 7);
    frame_check(frame);
    cr_expect(column_is_present(&frame->columns[0], 99));
    cr_expect_not(column_is_present(&frame->columns[0], 100));
    cr_expect_not(column_is_valid(&frame->columns[0], 100));
    cr_expect_eq(frame_operation_at(frame, 99), FRAME_UPSERT);
    cr_expect_eq(frame_operation_at(frame, 100), FRAME_PATCH);
    cr_expect_eq(frame->lines[99], 0);
    cr_expect_eq(frame->lines[100], 7);
}

Test(frame, gather_equals_row_by_row)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    for (uint64_t seed = 1; seed <= 60; seed++) {
        CLEANUP(frame_free) struct frame *source = kit_random_frame(schema, 150, seed);
        CLEANUP(frame_free) struct frame *gathered = kit_random_frame(schema, 11, seed + 1000);
        CLEANUP(frame_free) struct frame *one_by_one = kit_random_frame(schema, 11, seed + 1000);
        int64_t rows[90];
        uint64_t state = seed;
        for (size_t i = 0; i < 90; i++) {
            rows[i] = (int64_t)(kit_random(&state) % 150);
            frame_append_row(one_by_one, source, rows[i]);
        }
        frame_append_rows(gathered, source, rows, 90);
        frame_check(gathered);
        cr_expect(kit_frames_equal(gathered, one_by_one), "seed %lu", seed);
    }
}

/* Sources with and without nulls and absent values, one of an older schema, texts of every size. */
Test(frame, picks_of_several_frames_equal_row_by_row)
{
    enum { SOURCES = 5, PICKS = 400 };
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    CLEANUP(schema_release)
    struct schema *other = kit_schema("{'schema':{'fields':[{'name':'c0','type':'string'}]}}");
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct frame *sources[SOURCES];
        for (uint64_t i = 0; i < SOURCES; i++) {
            bool is_other = seed % 3 == 0 && i == 4;
            sources[i] =
                kit_random_frame(is_other ? other : schema, 1 + (int64_t)(seed * i), seed + i);
        }
        CLEANUP(frame_free) struct frame *gathered = kit_random_frame(schema, 11, seed + 1000);
        CLEANUP(frame_free) struct frame *one_by_one = kit_random_frame(schema, 11, seed + 1000);
        struct frame_pick picks[PICKS];
        uint64_t state = seed;
        for (size_t i = 0; i < PICKS; i++) {
            uint32_t source = (uint32_t)(kit_random(&state) % SOURCES);
            uint64_t rows = (uint64_t)sources[source]->rows_count;
            picks[i] = (struct frame_pick){source, (uint32_t)(kit_random(&state) % rows)};
            frame_append_row(one_by_one, sources[source], picks[i].row);
        }
        for (int64_t at = 0; at < PICKS; at += PICKS / 4) { /* also from a row that ends no byte */
            frame_append_picks(gathered, (const struct frame *const *)sources, SOURCES, picks + at,
                               PICKS / 4);
        }
        frame_append_picks(gathered, (const struct frame *const *)sources, SOURCES, picks, 0);
        frame_check(gathered);
        cr_expect(kit_frames_equal(gathered, one_by_one), "seed %lu", seed);
        for (size_t i = 0; i < SOURCES; i++) {
            frame_free(&sources[i]);
        }
    }
}

Test(frame, rows_of_an_older_schema_get_nulls_in_added_fields)
{
    CLEANUP(schema_release)
    struct schema *old = kit_schema("{'schema':{'fields':[{'name':'a','type':'long'}]}}");
    CLEANUP(schema_release)
    struct schema *new = kit_schema(
        "{'schema':{'fields':[{'name':'a','type':'long'},{'name':'b','type':'string'}]}}");
    CLEANUP(frame_free) struct frame *source = kit_random_frame(old, 20, 5);
    CLEANUP(frame_free) struct frame *target = frame_new(new);
    const int64_t rows[] = {4, 2, 19};
    frame_append_rows(target, source, rows, 3);
    frame_append_row(target, source, 7);
    frame_check(target);
    const int64_t expected[] = {4, 2, 19, 7};
    for (int64_t i = 0; i < 4; i++) {
        cr_expect(kit_values_equal(&target->columns[0], i, &source->columns[0], expected[i]));
        cr_expect_not(column_is_valid(&target->columns[1], i));
        cr_expect(column_is_present(&target->columns[1], i));
    }
}

Test(frame, reset_keeps_nothing_of_the_rows)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 100, 3);
    frame_reset(frame);
    frame_check(frame);
    cr_expect_eq(frame->rows_count, 0);
    CLEANUP(frame_free) struct frame *source = kit_random_frame(schema, 100, 4);
    for (int64_t i = 0; i < 100; i++) {
        frame_append_row(frame, source, i);
    }
    frame_check(frame);
    cr_expect(kit_frames_equal(frame, source));
}
