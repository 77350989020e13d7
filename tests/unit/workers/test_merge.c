/* Merging a lane: what small and large batches of one step come to. */
#include "tests/unit/workers/ingest_kit.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "workers/merge.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char definition[] =
    "{'schema':{'fields':[{'name':'id','type':'string','nullable':false},"
    "{'name':'a','type':'string'},{'name':'b','type':'long'},"
    "{'name':'c','type':'string','nullable':false}]},'key':['id']}";

static void set_up(void)
{
    ingest_kit.merges_when_told = true;
    ingest_kit_set_up();
    ingest_kit_table("t", definition);
}

TestSuite(merge_step, .init = set_up, .fini = ingest_kit_tear_down, .timeout = 60);

static void expect_rows(const char *expected)
{
    CLEANUP(buffer_deinit) struct buffer rows;
    buffer_init(&rows, 1 << 24);
    ingest_kit_rows("t", &rows);
    cr_expect(span_equal_text(buffer_span(&rows), expected), "is\n%.*s",
              SPAN_PRINT(buffer_span(&rows)));
}

static void expect_outcome(const struct id *id, int64_t applied, int64_t superseded,
                           int64_t rejected)
{
    struct batch batch = ingest_kit_batch(id);
    cr_expect_eq(batch.state, BATCH_INDEXED);
    cr_expect_eq(batch.version, 1);
    cr_expect_eq(batch.applied, applied);
    cr_expect_eq(batch.superseded, superseded);
    cr_expect_eq(batch.rejected_at_merge, rejected);
}

/* `rows` records with keys from `first` on. */
static struct id post_many(int first, int rows)
{
    CLEANUP(buffer_deinit) struct buffer body;
    buffer_init(&body, 1 << 24);
    for (int i = 0; i < rows; i++) {
        buffer_append_format(&body, "{'id':'m%04d','b':%d,'c':'many'}\n", first + i, i);
    }
    buffer_append_byte(&body, '\0');
    return ingest_kit_post("t", FRAME_UPSERT, (const char *)body.data);
}

/* Small batches share a frame, whatever stands between them: each keeps its rows and outcome. */
Test(merge_step, keeps_apart_what_shares_a_frame)
{
    struct id first = ingest_kit_post("t", FRAME_UPSERT, "{'id':'x','a':'one','b':1,'c':'k'}\n");
    struct id patch = ingest_kit_post("t", FRAME_PATCH, "{'id':'x','b':2}\n{'id':'none','b':3}\n");
    struct id many = post_many(0, 300);
    struct id insert = ingest_kit_post("t", FRAME_INSERT,
                                       "{'id':'y','a':'two','c':'k'}\n\n"
                                       "{'id':'x','a':'again','c':'k'}\n"
                                       "{'id':'m0007','a':'again','c':'k'}\n");
    struct id gone = ingest_kit_post("t", FRAME_DELETE, "{'id':'m0000'}\n");
    struct id last = ingest_kit_post("t", FRAME_UPSERT, "{'id':'m0001','a':'three','c':'k'}\n");
    ingest_kit_merge("t");
    cr_expect_eq(ingest_kit_rows_count("t"), 301, "x, y and 299 of many");
    expect_outcome(&first, 1, 0, 0);
    expect_outcome(&patch, 1, 0, 1);
    expect_outcome(&many, 300, 0, 0);
    expect_outcome(&insert, 1, 0, 2);
    expect_outcome(&gone, 1, 0, 0);
    expect_outcome(&last, 1, 0, 0);
    struct batch_error *errors = NULL;
    cr_assert_eq(ingest_kit_errors(&insert, &errors), 2);
    cr_expect_eq(errors[0].line, 3, "an empty line counts");
    cr_expect_eq(errors[1].line, 4);
    cr_expect_str_eq(errors[0].code, "key_exists");
    cr_assert_eq(ingest_kit_errors(&patch, &errors), 1);
    cr_expect_eq(errors[0].line, 2);
    cr_expect_str_eq(errors[0].code, "required");
    cr_expect_str_eq(errors[0].pointer, "/c");
}

/* In one commit: the last record of each key stands; every batch has an outcome of its own. */
Test(merge_step, merges_thousands_of_batches_of_one_record)
{
    enum { RECORDS = 2500, KEYS = 3 };
    struct id ids[RECORDS];
    for (int i = 0; i < RECORDS; i++) {
        char body[80];
        (void)snprintf(body, sizeof body, "{'id':'k%d','b':%d,'c':'k'}\n", i % KEYS, i); /* fits */
        ids[i] = ingest_kit_post("t", FRAME_UPSERT, body);
    }
    ingest_kit_merge("t");
    for (int i = 0; i < RECORDS; i++) {
        expect_outcome(&ids[i], 1, 0, 0);
    }
    expect_rows("{\"id\":\"k0\",\"a\":null,\"b\":2499,\"c\":\"k\"}\n"
                "{\"id\":\"k1\",\"a\":null,\"b\":2497,\"c\":\"k\"}\n"
                "{\"id\":\"k2\",\"a\":null,\"b\":2498,\"c\":\"k\"}\n");
}

/* What was kept in memory and what the journal has come to the same. */
Test(merge_step, takes_frames_from_memory_and_from_the_journal)
{
    struct id from_journal = post_many(0, 300);
    struct id from_memory = post_many(200, 300);
    cr_expect(ingest_kit_forget_frame("t", &from_journal));
    ingest_kit_merge("t");
    cr_expect_not(ingest_kit_forget_frame("t", &from_memory), "the merge took it");
    cr_expect_eq(ingest_kit_rows_count("t"), 500);
    expect_outcome(&from_journal, 300, 0, 0);
    expect_outcome(&from_memory, 300, 0, 0);
}

/* Records that are alike: a hundredth of their memory in the journal. */
static struct id post_alike(int rows)
{
    char text[301] = {0};
    memset(text, 'x', sizeof text - 1);
    CLEANUP(buffer_deinit) struct buffer body;
    buffer_init(&body, 1 << 24);
    for (int i = 0; i < rows; i++) {
        buffer_append_format(&body, "{'id':'m%04d','a':'%s','c':'alike'}\n", i, text);
    }
    buffer_append_byte(&body, '\0');
    struct id id = ingest_kit_post("t", FRAME_UPSERT, (const char *)body.data);
    cr_assert_lt(ingest_kit_batch(&id).frame.size, rows * 30);
    return id;
}

/* Else a flood that the journal packs well would be unpacked all at once. */
Test(merge_step, merges_no_more_at_once_than_may_be_in_memory)
{
    enum { BATCHES = 6, ROWS = 1000 };
    ingest_kit.commit_bytes_max = 1 << 20; /* of batches that take a third of it */
    struct id large = post_alike(5 * ROWS);
    struct id ids[BATCHES];
    for (int i = 0; i < BATCHES; i++) {
        ids[i] = post_alike(ROWS);
    }
    ingest_kit_merge("t");
    cr_expect_eq(ingest_kit_batch(&large).state, BATCH_INDEXED, "one batch may be larger");
    cr_expect_neq(ingest_kit_batch(&ids[0]).state, BATCH_INDEXED);
    ingest_kit_merge("t");
    for (int i = 0; i < BATCHES; i++) {
        bool indexed = ingest_kit_batch(&ids[i]).state == BATCH_INDEXED;
        cr_expect_eq(indexed, i < 3, "batch %d", i);
    }
    ingest_kit_merge("t");
    cr_expect_eq(ingest_kit_batch(&ids[BATCHES - 1]).state, BATCH_INDEXED);
    cr_expect_eq(ingest_kit_rows_count("t"), 5 * ROWS);
}

/* ---- after interruptions ---- */

enum { QUEUED = 150 };

/* The process ended `times` while all of the batches were being merged. */
static void interrupt(const struct id *first, const struct id *last, int times)
{
    const struct batch from = ingest_kit_batch(first);
    const struct batch to = ingest_kit_batch(last);
    for (int i = 0; i < times; i++) {
        batches_begin_attempt(ingest_kit.stores.catalog, &from.table, from.position, to.position);
        ingest_kit_close();
        ingest_kit_open();
    }
    const struct batch interrupted = ingest_kit_batch(last);
    cr_assert_geq(interrupted.interruptions, times);
}

static void post_queue(struct id ids[QUEUED])
{
    for (int i = 0; i < QUEUED; i++) {
        char body[80];
        (void)snprintf(body, sizeof body, "{'id':'k%d','b':%d,'c':'k'}\n", i, i); /* fits */
        ids[i] = ingest_kit_post("t", FRAME_UPSERT, body);
    }
}

static int count_indexed(const struct id ids[QUEUED])
{
    int count = 0;
    for (int i = 0; i < QUEUED; i++) {
        count += ingest_kit_batch(&ids[i]).state == BATCH_INDEXED;
    }
    return count;
}

/* However often it was interrupted: what the table has is only looked up, all of it at once. */
Test(merge_step, suspects_nothing_that_is_in_the_table)
{
    struct id ids[QUEUED];
    struct err err = {0};
    int64_t requeued = 0;
    post_queue(ids);
    ingest_kit_merge("t");
    const struct batch first = ingest_kit_batch(&ids[0]);
    cr_assert_eq(
        batches_requeue(ingest_kit.stores.catalog, &first.table, first.version, &requeued, &err),
        ERR_OK, "%s", err.msg);
    cr_assert_eq(requeued, QUEUED);
    interrupt(&ids[0], &ids[QUEUED - 1], MERGE_INTERRUPTIONS_MAX);
    ingest_kit_merge("t");
    cr_expect_eq(count_indexed(ids), QUEUED);
    expect_outcome(&ids[QUEUED / 2], 1, 0, 0);
    cr_expect_eq(ingest_kit_version("t"), 1);
}

Test(merge_step, merges_suspects_with_few_others_then_alone)
{
    struct id ids[QUEUED];
    post_queue(ids);
    interrupt(&ids[0], &ids[QUEUED - 1], MERGE_SUSPECT_INTERRUPTIONS);
    ingest_kit_merge("t");
    cr_expect_eq(count_indexed(ids), MERGE_SUSPECTS_MAX);
    interrupt(&ids[MERGE_SUSPECTS_MAX], &ids[QUEUED - 1],
              MERGE_ALONE_INTERRUPTIONS - MERGE_SUSPECT_INTERRUPTIONS);
    ingest_kit_merge("t");
    cr_expect_eq(count_indexed(ids), MERGE_SUSPECTS_MAX + 1);
}
