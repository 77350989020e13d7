/*
 * Frames kept for their merge: each goes to one taker, room and time are limited, and whoever gets
 * nothing still has the journal.
 */
#include "storage/intake/recent_frames.h"

#include "storage/base/json.h"
#include "storage/columns/schema.h"

#include <criterion/criterion.h>

enum { ROWS = RECENT_FRAMES_ROWS_MIN };

static struct schema *schema;

static struct schema *make_schema(void)
{
    struct err err = {0};
    struct schema *made = NULL;
    CLEANUP(json_free) struct json *definition = NULL;
    cr_assert_eq(json_parse(span_of_text("{\"schema\":{\"fields\":["
                                         "{\"name\":\"id\",\"type\":\"string\"}]}}"),
                            &definition, &err),
                 ERR_OK);
    cr_assert_eq(schema_parse(definition, &made, &err), ERR_OK, "%s", err.msg);
    return made;
}

static void set_up(void)
{
    schema = make_schema();
}

static void tear_down(void)
{
    schema_release(&schema);
}

TestSuite(recent_frames, .init = set_up, .fini = tear_down);

static struct frame *make_frame(int rows)
{
    struct frame *frame = frame_new(schema);
    for (int i = 0; i < rows; i++) {
        column_append_bytes(&frame->columns[0], span_of_text("text"));
        frame_end_row(frame, FRAME_UPSERT, i + 1);
    }
    return frame;
}

static struct recent_frames *make_room_for_two(void)
{
    CLEANUP(frame_free) struct frame *frame = make_frame(ROWS);
    return recent_frames_new(2 * frame_memory_bytes(frame));
}

static struct location place(int64_t segment, int64_t offset)
{
    return (struct location){.segment = segment, .offset = offset, .size = 10};
}

/* Is it kept? Else it is freed here. */
static bool put(struct recent_frames *recent, struct location location, int64_t now_us)
{
    CLEANUP(frame_free) struct frame *frame = make_frame(ROWS);
    recent_frames_put(recent, &location, now_us, &frame);
    return frame == NULL;
}

static bool take(struct recent_frames *recent, struct location location)
{
    CLEANUP(frame_free) struct frame *frame = recent_frames_take(recent, &location, schema);
    cr_expect(frame == NULL || frame->rows_count == ROWS);
    return frame != NULL;
}

Test(recent_frames, each_goes_to_one_taker)
{
    struct recent_frames *recent = recent_frames_new(1 << 20);
    struct frame *frame = make_frame(ROWS);
    struct frame *same = frame;
    struct location location = place(1, 48);
    recent_frames_put(recent, &location, 0, &frame);
    cr_assert_null(frame);
    cr_expect(put(recent, place(1, 96), 0));
    cr_expect(put(recent, place(2, 48), 0));
    cr_expect_not(take(recent, place(2, 96)), "nothing is at that place");
    frame = recent_frames_take(recent, &location, schema);
    cr_expect_eq(frame, same);
    frame_free(&frame);
    cr_expect_not(take(recent, location), "it was taken");
    cr_expect(take(recent, place(2, 48)), "the last one");
    cr_expect(put(recent, place(3, 48), 0), "behind the last one");
    cr_expect(take(recent, place(1, 96)));
    cr_expect(take(recent, place(3, 48)));
    cr_expect(put(recent, place(4, 48), 0), "one that nobody takes goes with the whole");
    recent_frames_free(&recent);
    cr_expect_null(recent);
}

Test(recent_frames, few_rows_are_not_worth_it)
{
    struct recent_frames *recent = recent_frames_new(1 << 20);
    struct frame *frame = make_frame(ROWS - 1);
    struct location location = place(1, 48);
    recent_frames_put(recent, &location, 0, &frame);
    cr_assert_not_null(frame, "the caller's as before");
    cr_expect_not(take(recent, location));
    frame_free(&frame);
    recent_frames_free(&recent);
}

Test(recent_frames, those_that_are_next_stay_when_there_is_no_room)
{
    struct recent_frames *recent = make_room_for_two();
    cr_expect(put(recent, place(1, 48), 0));
    cr_expect(put(recent, place(1, 96), 0));
    cr_expect_not(put(recent, place(1, 144), RECENT_FRAMES_KEEP_US - 1));
    cr_expect(take(recent, place(1, 48)));
    cr_expect(put(recent, place(1, 192), 0), "room again");
    cr_expect(take(recent, place(1, 96)));
    cr_expect(take(recent, place(1, 192)));
    recent_frames_free(&recent);
}

Test(recent_frames, those_that_nobody_came_for_give_way)
{
    struct recent_frames *recent = make_room_for_two();
    cr_expect(put(recent, place(1, 48), 0));
    cr_expect(put(recent, place(1, 96), 1));
    cr_expect(put(recent, place(1, 144), RECENT_FRAMES_KEEP_US));
    cr_expect_not(take(recent, place(1, 48)));
    cr_expect(take(recent, place(1, 96)), "not a minute old");
    cr_expect(take(recent, place(1, 144)));
    recent_frames_free(&recent);
}

Test(recent_frames, those_that_nobody_came_for_go_without_others)
{
    struct recent_frames *recent = recent_frames_new(1 << 20);
    cr_expect(put(recent, place(1, 48), 0));
    cr_expect(put(recent, place(1, 96), 1));
    recent_frames_expire(recent, RECENT_FRAMES_KEEP_US);
    cr_expect_not(take(recent, place(1, 48)));
    cr_expect(take(recent, place(1, 96)), "not a minute old");
    recent_frames_expire(NULL, 0);
    recent_frames_free(&recent);
}

Test(recent_frames, one_of_another_definition_is_left_to_the_journal)
{
    struct recent_frames *recent = recent_frames_new(1 << 20);
    struct schema *later = make_schema();
    struct location location = place(1, 48);
    cr_expect(put(recent, location, 0));
    cr_expect_null(recent_frames_take(recent, &location, later));
    cr_expect_not(take(recent, location), "nobody else wants it");
    schema_release(&later);
    recent_frames_free(&recent);
}

Test(recent_frames, there_may_be_none)
{
    struct frame *frame = make_frame(ROWS);
    struct location location = place(1, 48);
    recent_frames_put(NULL, &location, 0, &frame);
    cr_assert_not_null(frame);
    cr_expect_null(recent_frames_take(NULL, &location, schema));
    frame_free(&frame);
}
