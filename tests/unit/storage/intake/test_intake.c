/*
 * The way in for records: what is kept of a body, what is refused, what a lane and a
 * budget that are full say, and that nothing is held once a batch is gone.
 */
#include "storage/intake/intake.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/dead_letters.h"
#include "storage/catalog/tables.h"
#include "storage/intake/recent_frames.h"
#include "storage/journal/journal.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

static struct house {
    struct temp_dir dir;
    struct secret_keys *keys;
    struct intake_limits limits;
    struct intake_stores stores;
    struct schema *schema;
    struct id table;
    struct arena arena;
} house;

static struct journal *open_journal(const char *name, enum journal_kind kind)
{
    struct err err = {0};
    struct journal *journal = NULL;
    struct segment_recovery recovery;
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&house.dir, name);
    cr_assert_eq(journal_open(path, kind, &journal, &recovery, &err), ERR_OK, "%s", err.msg);
    return journal;
}

static void set_up(void)
{
    struct err err = {0};
    const struct catalog_options options = {0};
    house.dir = temp_dir_make();
    arena_init(&house.arena, 16 << 20);
    cr_assert_eq(secret_init(&err), ERR_OK);
    CLEANUP(mem_cleanup) char *key = temp_dir_join(&house.dir, "root.key");
    CLEANUP(mem_cleanup) char *catalog = temp_dir_join(&house.dir, "catalog");
    cr_assert_eq(secret_keys_open(key, &house.keys, &err), ERR_OK, "%s", err.msg);
    intake_limits_init(&house.limits);
    house.limits.body_bytes_max = 1 << 20;
    house.limits.records_max = 5000;
    house.limits.lane_queue_bytes_max = 1 << 20;
    house.limits.lane_queue_batches_max = 2;
    house.limits.memory_bytes_max = 16 << 20;
    house.stores.limits = &house.limits;
    house.stores.journal = open_journal("journal", JOURNAL_FRAMES);
    house.stores.dead_letters = open_journal("dead-letters", JOURNAL_DEAD_LETTERS);
    cr_assert_eq(catalog_open(catalog, house.keys, &options, &house.stores.catalog, &err), ERR_OK,
                 "%s", err.msg);
    house.table = id_new_random();
    cr_assert_eq(catalog_table_create(house.stores.catalog, "claims", &house.table, "{}", 1, &err),
                 ERR_OK);
    CLEANUP(json_free) struct json *definition = NULL;
    cr_assert_eq(json_parse(span_of_text("{\"schema\":{\"fields\":["
                                         "{\"name\":\"id\",\"type\":\"string\",\"nullable\":false},"
                                         "{\"name\":\"n\",\"type\":\"integer\"}]},"
                                         "\"key\":[\"id\"]}"),
                            &definition, &err),
                 ERR_OK);
    cr_assert_eq(schema_parse(definition, &house.schema, &err), ERR_OK, "%s", err.msg);
}

static void tear_down(void)
{
    catalog_close(&house.stores.catalog);
    journal_close(&house.stores.dead_letters);
    journal_close(&house.stores.journal);
    secret_keys_close(&house.keys);
    intake_limits_deinit(&house.limits);
    schema_release(&house.schema);
    arena_deinit(&house.arena);
    temp_dir_remove(&house.dir);
}

TestSuite(intake, .init = set_up, .fini = tear_down);

static void begin(struct intake_batch *batch)
{
    intake_batch_init(batch, &house.stores);
    batch->schema = schema_acquire(house.schema);
}

static struct intake_origin origin(void)
{
    return (struct intake_origin){
        .table = house.table, .principal = id_new_random(), .body_bytes = 10};
}

static enum err_code bring(const char *body, struct id *id_out, struct err *err)
{
    CLEANUP(intake_batch_deinit) struct intake_batch batch;
    const struct intake_origin from = origin();
    int64_t position = 0;
    begin(&batch);
    *id_out = batch.id;
    TRY(intake_batch_decode(&batch, span_of_text(body), CONTENT_IDENTITY, err));
    return intake_batch_accept(&batch, &from, &house.arena, &position, err);
}

Test(intake, keeps_good_records_and_refused_ones)
{
    struct err err = {0};
    struct id id;
    struct batch stored;
    cr_assert_eq(
        bring("{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\",\"n\":\"x\"}\n{\"id\":\"c\"}\n", &id, &err),
        ERR_OK, "%s", err.msg);
    cr_assert_eq(batch_get(house.stores.catalog, &id, &house.arena, &stored, &err), ERR_OK);
    cr_expect_eq(stored.received, 3);
    cr_expect_eq(stored.accepted, 2);
    cr_expect_eq(stored.rejected, 1);
    cr_expect_eq(stored.state, BATCH_DURABLE);

    CLEANUP(buffer_deinit) struct buffer record;
    buffer_init(&record, 1 << 20);
    CLEANUP(frame_free) struct frame *frame = NULL;
    cr_assert_eq(journal_read(house.stores.journal, &stored.frame, &record, &err), ERR_OK);
    cr_assert_eq(frame_decode(buffer_span(&record), house.schema, &frame, &err), ERR_OK);
    cr_expect_eq(frame->rows_count, 2);

    struct dead_letter *letters = NULL;
    size_t count = 0;
    const struct dead_letter_filter all = {.batch = id};
    cr_assert_eq(dead_letter_list(house.stores.catalog, &all, NULL, 10, &house.arena, &letters,
                                  &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(letters[0].pointer, "/n");
    buffer_reset(&record);
    cr_assert_eq(journal_read(house.stores.dead_letters, &letters[0].payload, &record, &err),
                 ERR_OK);
    cr_expect(span_equal_text(
        span_of(record.data + letters[0].payload_start, (size_t)letters[0].payload_size),
        "{\"id\":\"b\",\"n\":\"x\"}"));
}

/* Bring many records to the table; is their frame kept for its merge? */
static bool is_kept(const struct id *table, enum err_code expected)
{
    struct err err = {0};
    CLEANUP(intake_batch_deinit) struct intake_batch batch;
    CLEANUP(buffer_deinit) struct buffer body;
    struct intake_origin from = origin();
    int64_t position = 0;
    from.table = *table;
    buffer_init(&body, 1 << 20);
    for (int i = 0; i < RECENT_FRAMES_ROWS_MIN; i++) {
        buffer_append_format(&body, "{\"id\":\"%d\"}\n", i);
    }
    begin(&batch);
    cr_assert_eq(intake_batch_decode(&batch, buffer_span(&body), CONTENT_IDENTITY, &err), ERR_OK);
    if (house.stores.recent == NULL) {
        house.stores.recent = recent_frames_new(frame_memory_bytes(batch.frame)); /* of one */
    }
    cr_expect_eq(intake_batch_accept(&batch, &from, &house.arena, &position, &err), expected, "%s",
                 err.msg);
    return batch.frame == NULL;
}

Test(intake, a_frame_is_kept_for_its_merge_unless_the_batch_was_refused)
{
    struct id nobody = id_new_random();
    cr_expect(is_kept(&nobody, ERR_NOT_FOUND), "for as long as nobody knows");
    cr_expect(is_kept(&house.table, ERR_OK), "what was refused is gone");
    cr_expect_not(is_kept(&house.table, ERR_OK), "there is no room for two");
    recent_frames_free(&house.stores.recent);
}

Test(intake, a_batch_of_refused_records_only_writes_no_frame)
{
    struct err err = {0};
    struct id id;
    struct batch stored;
    cr_assert_eq(bring("{\"n\":1}\n", &id, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(batch_get(house.stores.catalog, &id, &house.arena, &stored, &err), ERR_OK);
    cr_expect_eq(stored.state, BATCH_INDEXED);
    cr_expect_not(location_is_set(&stored.frame));
}

Test(intake, judges)
{
    static const struct {
        int good, bad;
        bool strict;
        enum intake_verdict verdict;
    } cases[] = {
        {3, 0, true, INTAKE_GOOD},
        {3, 1, false, INTAKE_GOOD},
        {3, 1, true, INTAKE_REJECTED_STRICTLY},
        {0, 1000, false, INTAKE_GOOD},
        {0, 1001, false, INTAKE_TOO_MANY_REJECTED},
        {0, 1001, true, INTAKE_TOO_MANY_REJECTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(intake_batch_deinit) struct intake_batch batch;
        CLEANUP(buffer_deinit) struct buffer body;
        struct err err = {0};
        buffer_init(&body, 1 << 20);
        for (int j = 0; j < cases[i].good + cases[i].bad; j++) {
            buffer_append_format(&body, "{\"id\":%s}\n", j < cases[i].good ? "\"a\"" : "1");
        }
        begin(&batch);
        cr_assert_eq(intake_batch_decode(&batch, buffer_span(&body), CONTENT_IDENTITY, &err),
                     ERR_OK, "%s", err.msg);
        cr_expect_eq(intake_batch_judge(&batch, cases[i].strict), cases[i].verdict, "case %zu", i);
    }
}

Test(intake, shares_one_budget_and_gives_it_back)
{
    struct intake_batch first;
    struct intake_batch second;
    struct err err = {0};
    begin(&first);
    begin(&second);
    cr_expect_eq(intake_batch_reserve(&first, 10 << 20, &err), ERR_OK);
    cr_expect_eq(intake_batch_reserve(&second, 10 << 20, &err), ERR_BUSY);
    cr_expect_eq(intake_batch_reserve(&second, 6 << 20, &err), ERR_OK);
    intake_batch_deinit(&first);
    intake_batch_deinit(&second);
    cr_expect_eq(house.limits.memory_used, 0);
    begin(&first);
    cr_expect_eq(intake_batch_reserve(&first, INT64_MAX, &err), ERR_OK, "more than all is all");
    intake_batch_deinit(&first);
    cr_expect_eq(house.limits.memory_used, 0);

    /* what fails on the way gives back what it took */
    struct id id;
    cr_expect_eq(bring("not JSON", &id, &err), ERR_OK);
    cr_expect_eq(bring("\xff\xfe", &id, &err), ERR_INVALID);
    cr_expect_eq(house.limits.memory_used, 0);
}

/* ---- tasks wait for memory ---- */

static enum err_code is_patient(void *arg, struct err *err)
{
    _Atomic int *asked = arg;
    if (atomic_fetch_add(asked, 1) >= 100) {
        return err_set(err, ERR_CANCELLED, "the test says so");
    }
    return ERR_OK;
}

struct waiter {
    pthread_t thread;
    _Atomic int asked;
    enum err_code code;
};

static void *wait_and_decode(void *arg)
{
    struct waiter *waiter = arg;
    CLEANUP(intake_batch_deinit) struct intake_batch batch;
    struct err err = {0};
    const struct intake_patience patience = {.check = is_patient, .arg = &waiter->asked};
    begin(&batch);
    batch.decode.is_part = true;
    batch.decode.line_offset = 9;
    waiter->code = intake_batch_decode_part(&batch, span_of_text("{\"id\":\"a\"}\n{\"id\":1}"), 2,
                                            &patience, &err);
    if (waiter->code == ERR_OK &&
        (batch.frame->lines[0] != 10 || batch.errors.items[0].line != 11)) {
        waiter->code = ERR_CORRUPT;
    }
    return NULL;
}

Test(intake, tasks_wait_for_memory_and_get_it)
{
    struct intake_batch large;
    struct err err = {0};
    struct waiter waiters[8] = {0};
    begin(&large);
    cr_assert_eq(intake_batch_reserve(&large, house.limits.memory_bytes_max, &err), ERR_OK);
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(pthread_create(&waiters[i].thread, NULL, wait_and_decode, &waiters[i]), 0);
    }
    while (atomic_load(&house.limits.waiting_count) < 8) {
        sched_yield();
    }
    intake_batch_deinit(&large);
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(pthread_join(waiters[i].thread, NULL), 0);
        cr_expect_eq(waiters[i].code, ERR_OK);
        cr_expect_lt(atomic_load(&waiters[i].asked), 5, "it was woken, and did not look again");
    }
    cr_expect_eq(house.limits.memory_used, 0);
}

Test(intake, a_task_that_may_not_go_on_stops_waiting)
{
    struct intake_batch large;
    struct err err = {0};
    struct waiter waiter = {.asked = 100};
    begin(&large);
    cr_assert_eq(intake_batch_reserve(&large, house.limits.memory_bytes_max, &err), ERR_OK);
    (void)wait_and_decode(&waiter);
    cr_expect_eq(waiter.code, ERR_CANCELLED);
    intake_batch_deinit(&large);
}

Test(intake, wide_rows_of_a_piece_are_not_refused)
{
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(json_free) struct json *definition = NULL;
    struct err err = {0};
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "{\"schema\":{\"fields\":["
                              "{\"name\":\"id\",\"type\":\"string\",\"nullable\":false}");
    for (int i = 0; i < 900; i++) {
        buffer_append_format(&text, ",{\"name\":\"c%d\",\"type\":\"decimal(38,0)\"}", i);
    }
    buffer_append_text(&text, "]},\"key\":[\"id\"]}");
    cr_assert_eq(json_parse(buffer_span(&text), &definition, &err), ERR_OK);
    CLEANUP(intake_batch_deinit) struct intake_batch batch;
    _Atomic int asked = 0;
    const struct intake_patience patience = {.check = is_patient, .arg = &asked};
    intake_batch_init(&batch, &house.stores);
    cr_assert_eq(schema_parse(definition, &batch.schema, &err), ERR_OK, "%s", err.msg);
    buffer_reset(&text);
    for (int i = 0; i < 1000; i++) {
        buffer_append_format(&text, "{\"id\":\"%d\"}\n", i);
    }
    batch.decode.is_part = true;
    cr_expect_eq(intake_batch_decode_part(&batch, buffer_span(&text), 1000, &patience, &err),
                 ERR_OK, "%s", err.msg);
}

Test(intake, a_full_lane_says_when_to_come_back)
{
    struct err err = {0};
    struct id id;
    int64_t seconds = 0;
    cr_expect_eq(intake_check_lane(&house.stores, &house.table, &seconds, &err), ERR_OK);
    cr_assert_eq(bring("{\"id\":\"a\"}", &id, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(bring("{\"id\":\"b\"}", &id, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(intake_check_lane(&house.stores, &house.table, &seconds, &err), ERR_BUSY);
    cr_expect_geq(seconds, 1);
    cr_expect_leq(seconds, 60);
    struct id nobody = id_new_random();
    cr_expect_eq(intake_check_lane(&house.stores, &nobody, &seconds, &err), ERR_NOT_FOUND);
}

Test(intake, inflates_within_the_limit)
{
    CLEANUP(intake_batch_deinit) struct intake_batch batch;
    struct err err = {0};
    /* gzip of {"id":"a"} and a line end */
    static const uint8_t body[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                   0xff, 0x01, 0x0b, 0x00, 0xf4, 0xff, '{',  '"',  'i',
                                   'd',  '"',  ':',  '"',  'a',  '"',  '}',  '\n', 0x00,
                                   0x00, 0x00, 0x00, 0x0b, 0x00, 0x00, 0x00};
    begin(&batch);
    enum err_code code =
        intake_batch_decode(&batch, span_of(body, sizeof body), CONTENT_GZIP, &err);
    cr_expect_eq(code, ERR_INVALID, "the checksum is wrong, and nothing of it is taken");
    cr_expect_null(batch.frame);
}

Test(intake, what_the_catalog_refuses_leaves_no_trace)
{
    struct err err = {0};
    struct id id;
    struct batch stored;
    cr_assert_eq(catalog_table_drop(house.stores.catalog, &house.table, &err), ERR_OK);
    cr_expect_eq(bring("{\"id\":\"a\"}\n{}", &id, &err), ERR_NOT_FOUND);
    cr_expect_eq(batch_get(house.stores.catalog, &id, &house.arena, &stored, &err), ERR_NOT_FOUND);
}
