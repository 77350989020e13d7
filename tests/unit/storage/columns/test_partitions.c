/*
 * Partitions of a frame: how many there are, and how many a body may have.
 */
#include "storage/base/buffer.h"
#include "storage/columns/frame.h"
#include "tests/unit/storage/columns/decode_support.h"

#include <criterion/criterion.h>

static const char one_column[] =
    "{'schema':{'fields':[{'name':'k','type':'integer','nullable':false},"
    "{'name':'p','type':'string'},{'name':'d','type':'date'}]},"
    "'key':['k'],'partition_by':['p']}";
static const char two_columns[] =
    "{'schema':{'fields':[{'name':'k','type':'integer','nullable':false},"
    "{'name':'p','type':'string'},{'name':'d','type':'date'}]},"
    "'key':['k'],'partition_by':['d','p']}";
static const char no_column[] =
    "{'schema':{'fields':[{'name':'k','type':'integer','nullable':false},"
    "{'name':'p','type':'string'},{'name':'d','type':'date'}]},"
    "'key':['k']}";

static size_t count(const char *definition, const char *body, size_t count_max)
{
    struct err err = {0};
    struct decode_errors errors = {0};
    struct frame *frame = NULL;
    const struct decode_options options = {.format = DECODE_NDJSON};
    struct schema *schema = decode_test_schema(definition);
    cr_assert_eq(decode_body(span_of_text(body), schema, &options, &frame, &errors, &err), ERR_OK,
                 "%s", err.msg);
    cr_assert_eq(errors.rejected_count, 0);
    size_t partitions = frame_partitions_count(frame, count_max);
    frame_free(&frame);
    decode_errors_deinit(&errors);
    schema_release(&schema);
    return partitions;
}

Test(partitions, are_counted_once_each)
{
    static const struct {
        const char *name;
        const char *definition;
        const char *body;
        size_t expected;
    } cases[] = {
        {"a table without", no_column, "{\"k\":1,\"p\":\"a\"}\n{\"k\":2,\"p\":\"b\"}", 1},
        {"one twice", one_column, "{\"k\":1,\"p\":\"a\"}\n{\"k\":2,\"p\":\"a\"}", 1},
        {"null and another", one_column, "{\"k\":1}\n{\"k\":2,\"p\":\"a\"}\n{\"k\":3}", 2},
        {"deletes", one_column, "{\"_op\":\"delete\",\"k\":1}\n{\"k\":2,\"p\":\"a\"}", 1},
        {"deletes alone", one_column, "{\"_op\":\"delete\",\"k\":1,\"p\":\"a\"}", 0},
        {"patches", one_column, "{\"_op\":\"patch\",\"k\":1}\n{\"_op\":\"patch\",\"k\":2}", 1},
        {"pairs", two_columns,
         "{\"k\":1,\"p\":\"a\",\"d\":\"2026-01-01\"}\n{\"k\":2,\"p\":\"a\",\"d\":\"2026-01-02\"}\n"
         "{\"k\":3,\"p\":\"b\",\"d\":\"2026-01-01\"}\n{\"k\":4,\"p\":\"a\",\"d\":\"2026-01-01\"}",
         3},
        {"a null in either place", two_columns,
         "{\"k\":1,\"p\":\"a\"}\n{\"k\":2,\"d\":\"2026-01-01\"}\n{\"k\":3}", 3},
        {"more than asked for", one_column,
         "{\"k\":1,\"p\":\"a\"}\n{\"k\":2,\"p\":\"b\"}\n{\"k\":3,\"p\":\"c\"}\n{\"k\":4,\"p\":"
         "\"d\"}\n"
         "{\"k\":5,\"p\":\"e\"}",
         4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(count(cases[i].definition, cases[i].body, 3), cases[i].expected, "%s",
                     cases[i].name);
    }
}

static void add_body(struct partition_set *set, struct schema *schema, const char *body)
{
    struct err err = {0};
    struct decode_errors errors = {0};
    struct frame *frame = NULL;
    const struct decode_options options = {.format = DECODE_NDJSON};
    cr_assert_eq(decode_body(span_of_text(body), schema, &options, &frame, &errors, &err), ERR_OK,
                 "%s", err.msg);
    partition_set_add(set, frame);
    frame_free(&frame);
    decode_errors_deinit(&errors);
}

/* What several bodies have in common counts once; the count stops one over its limit. */
Test(partitions, of_several_frames_are_counted_together)
{
    struct schema *schema = decode_test_schema(one_column);
    struct partition_set set;
    partition_set_init(&set, 3);
    add_body(&set, schema, "{\"k\":1,\"p\":\"a\"}\n{\"k\":2,\"p\":\"b\"}");
    cr_expect_eq(set.count, 2);
    add_body(&set, schema, "{\"k\":1,\"p\":\"b\"}\n{\"k\":2,\"p\":\"a\"}");
    cr_expect_eq(set.count, 2);
    add_body(&set, schema, "{\"k\":1}\n{\"k\":2,\"p\":\"c\"}\n{\"k\":3,\"p\":\"d\"}");
    cr_expect_eq(set.count, 4);
    partition_set_deinit(&set);
    schema_release(&schema);
    schema = decode_test_schema(no_column);
    partition_set_init(&set, 3);
    cr_expect_eq(set.count, 0);
    for (int i = 0; i < 5; i++) {
        add_body(&set, schema, "{\"k\":1,\"p\":\"a\"}\n{\"k\":2,\"p\":\"b\"}");
    }
    cr_expect_eq(set.count, 1);
    partition_set_deinit(&set);
    schema_release(&schema);
}

Test(partitions, of_one_body_are_limited)
{
    struct schema *schema = decode_test_schema(one_column);
    const struct decode_options options = {.format = DECODE_NDJSON};
    for (int over = 0; over < 2; over++) {
        struct err err = {0};
        struct decode_errors errors = {0};
        struct frame *frame = NULL;
        struct buffer body;
        buffer_init(&body, 1 << 20);
        for (int i = 0; i < DECODE_PARTITIONS_MAX + over; i++) {
            buffer_append_format(&body, "{\"k\":%d,\"p\":\"%d\"}\n{\"k\":%d,\"p\":\"0\"}\n", 2 * i,
                                 i, 2 * i + 1);
        }
        cr_expect_eq(decode_body(buffer_span(&body), schema, &options, &frame, &errors, &err),
                     over ? ERR_TOO_LARGE : ERR_OK, "%s", err.msg);
        cr_expect(!over || strstr(err.msg, "2000 partitions") != NULL, "%s", err.msg);
        frame_free(&frame);
        decode_errors_deinit(&errors);
        buffer_deinit(&body);
    }
    schema_release(&schema);
}
