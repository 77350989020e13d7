#include "storage/columns/frame.h"

#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>

TestSuite(key, .timeout = 60);

static const char key_schema[] =
    "{'schema':{'fields':["
    "{'name':'s','type':'string','nullable':false},{'name':'i','type':'integer','nullable':false},"
    "{'name':'l','type':'long','nullable':false},{'name':'b','type':'boolean','nullable':false},"
    "{'name':'d','type':'date','nullable':false},{'name':'t','type':'timestamp','nullable':false},"
    "{'name':'m','type':'decimal(20,4)','nullable':false}]},"
    "'key':['s','i','l','b','d','t','m'],'sequence_by':'t'}";

static int compare_values(const struct column *column, int64_t a, int64_t b)
{
    __int128 x = 0;
    __int128 y = 0;
    switch (column->type) {
    case COLUMN_STRING:
        return span_compare(column_bytes(column, a), column_bytes(column, b));
    case COLUMN_BOOLEAN:
        x = column->values.u8[a];
        y = column->values.u8[b];
        break;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
        x = column->values.i32[a];
        y = column->values.i32[b];
        break;
    case COLUMN_DECIMAL:
        x = column->values.i128[a];
        y = column->values.i128[b];
        break;
    default:
        x = column->values.i64[a];
        y = column->values.i64[b];
        break;
    }
    return (x > y) - (x < y);
}

static int compare_rows(const struct frame *frame, int64_t a, int64_t b)
{
    for (size_t i = 0; i < frame->schema->key_count; i++) {
        int order = compare_values(&frame->columns[frame->schema->key[i]], a, b);
        if (order != 0) {
            return order;
        }
    }
    return 0;
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

/* Few different values a column, so that equal prefixes and equal keys occur. */
static struct frame *few_values_frame(const struct schema *schema, uint64_t seed)
{
    CLEANUP(frame_free) struct frame *pool = kit_random_frame(schema, 4, seed);
    struct frame *frame = frame_new(schema);
    uint64_t state = seed;
    for (int64_t row = 0; row < 40; row++) {
        for (size_t i = 0; i < schema->fields_count; i++) {
            column_append_from(&frame->columns[i], &pool->columns[i],
                               (int64_t)(kit_random(&state) % (i < 2 ? 4 : 2)));
        }
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    return frame;
}

Test(key, byte_order_is_value_order_and_no_key_is_a_prefix)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(key_schema);
    for (uint64_t seed = 1; seed <= 200; seed++) {
        CLEANUP(frame_free) struct frame *frame = few_values_frame(schema, seed);
        struct buffer keys[40];
        for (int64_t i = 0; i < 40; i++) {
            buffer_init(&keys[i], 4096);
            frame_key(frame, i, &keys[i]);
        }
        for (int64_t i = 0; i < 40; i++) {
            for (int64_t j = 0; j < 40; j++) {
                struct span a = buffer_span(&keys[i]);
                struct span b = buffer_span(&keys[j]);
                int order = compare_rows(frame, i, j);
                cr_assert_eq(sign(span_compare(a, b)), sign(order), "seed %lu rows %ld %ld", seed,
                             i, j);
                size_t common = a.size < b.size ? a.size : b.size;
                cr_assert(order == 0 || memcmp(a.data, b.data, common) != 0, "prefix, seed %lu",
                          seed);
            }
        }
        for (int64_t i = 0; i < 40; i++) {
            buffer_deinit(&keys[i]);
        }
    }
}

Test(key, bytes_are_as_documented)
{
    CLEANUP(schema_release)
    struct schema *schema =
        kit_schema("{'schema':{'fields':[{'name':'s','type':'string','nullable':false},"
                   "{'name':'i','type':'integer','nullable':false}]},'key':['s','i']}");
    static const struct {
        const char *name;
        struct span text;
        int32_t integer;
        const char *bytes;
        size_t size;
    } cases[] = {
        {"empty, zero", {.data = (const uint8_t *)"", .size = 0}, 0, "\0\1\x80\0\0\0", 6},
        {"text, one", {.data = (const uint8_t *)"ab", .size = 2}, 1, "ab\0\1\x80\0\0\1", 8},
        {"NUL inside",
         {.data = (const uint8_t *)"a\0", .size = 2},
         -1,
         "a\0\xff\0\1\x7f\xff\xff\xff",
         9},
        {"lowest", {.data = (const uint8_t *)"\0", .size = 1}, INT32_MIN, "\0\xff\0\1\0\0\0\0", 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(frame_free) struct frame *frame = frame_new(schema);
        column_append_bytes(&frame->columns[0], cases[i].text);
        column_append_i32(&frame->columns[1], cases[i].integer);
        frame_end_row(frame, FRAME_UPSERT, 0);
        CLEANUP(buffer_deinit) struct buffer key;
        buffer_init(&key, 100);
        frame_key(frame, 0, &key);
        cr_expect(span_equal(buffer_span(&key), span_of(cases[i].bytes, cases[i].size)), "%s",
                  cases[i].name);
    }
}

Test(key, one_column_alone_is_the_part_of_the_whole_key)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(key_schema);
    CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 20, 9);
    for (int64_t row = 0; row < 20; row++) {
        CLEANUP(buffer_deinit) struct buffer whole;
        CLEANUP(buffer_deinit) struct buffer parts;
        buffer_init(&whole, 4096);
        buffer_init(&parts, 4096);
        frame_key(frame, row, &whole);
        for (size_t i = 0; i < schema->fields_count; i++) {
            column_key(&frame->columns[i], row, &parts);
        }
        cr_expect(span_equal(buffer_span(&whole), buffer_span(&parts)));
    }
}

Test(key, sequence_is_the_value_of_its_type)
{
    static const char *const types[] = {"integer", "long", "date", "timestamp"};
    for (size_t i = 0; i < 4; i++) {
        char definition[256];
        (void)snprintf(definition, sizeof definition,
                       "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
                       "{'name':'q','type':'%s','nullable':false}]},'key':['k'],'sequence_by':'q'}",
                       types[i]);
        CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
        CLEANUP(frame_free) struct frame *frame = frame_new(schema);
        column_append_bytes(&frame->columns[0], span_of_text("k"));
        if (column_type_slot_bytes(schema->fields[1].type) == 4) {
            column_append_i32(&frame->columns[1], -77);
        } else {
            column_append_i64(&frame->columns[1], -77);
        }
        frame_end_row(frame, FRAME_UPSERT, 0);
        cr_expect_eq(frame_sequence(frame, 0), -77, "%s", types[i]);
    }
}
