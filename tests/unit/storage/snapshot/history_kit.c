/*
 * Random histories. See history_kit.h.
 */
#include "tests/unit/storage/snapshot/history_kit.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/snapshot/compact.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 15 };

void bag_add(struct bag *bag, struct span line)
{
    cr_assert(bag->count < BAG_LINES_MAX);
    cr_assert(line.size < BAG_LINE_BYTES);
    memcpy(bag->lines[bag->count], line.data, line.size);
    bag->lines[bag->count++][line.size] = '\0';
}

void bag_remove(struct bag *bag, struct span line, const char *what)
{
    for (size_t i = 0; i < bag->count; i++) {
        if (span_equal_text(line, bag->lines[i])) {
            memcpy(bag->lines[i], bag->lines[--bag->count], BAG_LINE_BYTES);
            return;
        }
    }
    cr_assert_fail("%s: a row was removed that was not there: %.*s", what, SPAN_PRINT(line));
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(a, b);
}

void bag_expect_rows(struct bag *bag, const struct snapshot *snapshot, const char *what)
{
    CLEANUP(buffer_deinit) struct buffer expected;
    CLEANUP(buffer_deinit) struct buffer got;
    buffer_init(&expected, 1 << 24);
    buffer_init(&got, 1 << 24);
    fixture_rows(snapshot, &expected);
    qsort(bag->lines, bag->count, BAG_LINE_BYTES, compare_lines);
    for (size_t i = 0; i < bag->count; i++) {
        buffer_append_text(&got, bag->lines[i]);
        buffer_append_byte(&got, '\n');
    }
    cr_assert(span_equal(buffer_span(&expected), buffer_span(&got)),
              "%s: expected\n%.*s\ngot\n%.*s", what, SPAN_PRINT(buffer_span(&expected)),
              SPAN_PRINT(buffer_span(&got)));
}

struct delta_state *history_state(struct fixture *fixture, int64_t version)
{
    struct err err = {0};
    struct delta_state *state = NULL;
    cr_assert_eq(delta_state_load_version(table_store(fixture->table), version, &state, &err),
                 ERR_OK, "%s", err.msg);
    return state;
}

const struct snapshot *history_snapshot(struct fixture *fixture, int64_t version)
{
    struct err err = {0};
    const struct snapshot *snapshot = NULL;
    struct table_refresh_result result = {0};
    cr_assert_eq(table_refresh(fixture->table, &result, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(table_snapshot_at_version(fixture->table, version, &snapshot, &err), ERR_OK, "%s",
                 err.msg);
    return snapshot;
}

uint64_t history_roll(uint64_t *state, uint64_t sides)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % sides;
}

void history_compact(struct fixture *fixture)
{
    struct err err = {0};
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
    compact_plan_thorough(fixture->table, &plan);
    struct compact_result result = {0};
    if (plan.count == 0) {
        return; /* as few files as can be */
    }
    cr_assert_eq(compact_run(fixture->table, &plan, NULL, &result, &err), ERR_OK, "%s", err.msg);
}

void history_make_version(struct fixture *fixture, uint64_t *dice)
{
    struct record_words records[8];
    char ids[8][16];
    char notes[8][16];
    size_t count = 1 + history_roll(dice, 8);
    if (history_roll(dice, 6) == 0) {
        history_compact(fixture);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "k%d", (int)history_roll(dice, KEYS));
        (void)snprintf(notes[i], sizeof notes[i], "n%d", (int)history_roll(dice, 1000));
        records[i] = (struct record_words){
            .operation = history_roll(dice, 4) == 0 ? FRAME_DELETE : FRAME_UPSERT,
            .id = ids[i],
            .amount = (int32_t)history_roll(dice, 100),
            .note = notes[i],
            .region = history_roll(dice, 2) == 0 ? "north" : "south",
        };
    }
    fixture_put(fixture, records, count);
}

void history_put(struct fixture *fixture, const char *id, int32_t amount)
{
    const struct record_words record = {.id = id, .amount = amount, .note = "x"};
    fixture_put(fixture, &record, 1);
}

uint64_t history_number(const char *variable, uint64_t otherwise)
{
    int64_t number = 0;
    const char *text = getenv(variable);
    if (text == NULL || !text_parse_int64(span_of_text(text), &number) || number < 0) {
        return otherwise;
    }
    return (uint64_t)number;
}
