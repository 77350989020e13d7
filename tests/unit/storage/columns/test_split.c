/*
 * Streams cut into pieces: where cuts fall, that they do not depend on how bytes
 * arrive, what is refused, and how much is held.
 */
#include "storage/columns/split.h"

#include "storage/base/mem.h"
#include "tests/fuzz/columns/split_check.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static const char definition[] =
    "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
    "{'name':'n','type':'integer'},{'name':'s','type':'string'}]},'key':['k']}";

Test(split, cuts_between_records)
{
    static const struct {
        const char *name;
        enum decode_format format;
        int64_t records, bytes;
        const char *stream;
        const char *cuts; /* "start-end records", one a line */
    } cases[] = {
        {"by records", DECODE_NDJSON, 2, 1000, "{}\n{}\n{}\n", "0-6 2\n6-9 1\n"},
        {"by bytes", DECODE_NDJSON, 9, 6, "{}\n{}\n{}\n", "0-6 2\n6-9 1\n"},
        {"one larger than a piece", DECODE_NDJSON, 9, 4, "{}\n{\"k\":1}\n{}",
         "0-3 1\n3-11 1\n11-13 1\n"},
        {"blank lines belong to nobody", DECODE_NDJSON, 1, 99, "\n {}\n \t\n\r\n{}\n\n",
         "1-5 1\n10-13 1\n"},
        {"nothing", DECODE_NDJSON, 1, 99, "", ""},
        {"nothing but blanks", DECODE_NDJSON, 1, 99, "\n \n", ""},
        {"mark", DECODE_NDJSON, 1, 99, "\xef\xbb\xbf{}\n{}", "3-6 1\n6-8 1\n"},
        {"csv", DECODE_CSV, 2, 99, "k,n\na,1\nb,2\nc,3\n", "4-12 2\n12-16 1\n"},
        {"header only", DECODE_CSV, 2, 99, "k,n\n", ""},
        {"header without end", DECODE_CSV, 2, 99, "k,n", ""},
        {"line ends in quotes", DECODE_CSV, 1, 99, "k,s\r\na,\"x\n\"\"\n\"\r\nb,\r\n",
         "5-16 1\n16-20 1\n"},
        {"quotes that make no sense end with the line", DECODE_CSV, 1, 99,
         "k,s\na,b\"c\nd,\"e\"f,\"\ng,h\n", "4-10 1\n10-19 1\n19-23 1\n"},
        {"array", DECODE_JSON_ARRAY, 2, 99, " [ {} , {} ,\n{}] ", "3-10 2\n13-15 1\n"},
        {"brackets in strings", DECODE_JSON_ARRAY, 1, 99, "[{\"k\":\"}]\\\"\"},[[\"[\"]],1,null]",
         "1-13 1\n14-21 1\n22-23 1\n24-28 1\n"},
        {"one object", DECODE_JSON_ARRAY, 1, 99, "{\"k\":\n\"a\"}", "0-10 1\n"},
        {"empty array", DECODE_JSON_ARRAY, 1, 99, "[ ]", ""},
    };
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    static const size_t chunks[] = {1, 2, 3, 7, 1000};
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t j = 0; j < COUNT(chunks); j++) {
            const struct splitter_options options = {.format = cases[i].format,
                                                     .records_max = cases[i].records,
                                                     .bytes_max = cases[i].bytes};
            CLEANUP(split_result_deinit) struct split_result_text result;
            struct err err = {0};
            split_result_init(&result);
            cr_expect_eq(split_run(span_of_text(cases[i].stream), chunks[j], &options, schema,
                                   &result, &err),
                         ERR_OK, "%s: %s", cases[i].name, err.msg);
            cr_expect(span_equal_text(buffer_span(&result.cuts), cases[i].cuts),
                      "%s in steps of %zu: %.*s", cases[i].name, chunks[j],
                      SPAN_PRINT(buffer_span(&result.cuts)));
        }
    }
}

Test(split, numbers_lines_as_the_stream_has_them)
{
    static const struct {
        enum decode_format format;
        const char *stream;
        const char *rejected;
    } cases[] = {
        {DECODE_NDJSON, "{\"k\":\"a\"}\n\n{\"k\":\"b\"}\n{\"k\":1}\n", "rejected 4 {\"k\":1}"},
        {DECODE_CSV, "\nk,\"s\"\na,\"1\n2\"\n\nb,2\n,3\n", "rejected 7 ,3"},
        {DECODE_CSV, "k,\"n\"\na,1\nb,2\nc,x\n", "rejected 4 c,x"},
        {DECODE_JSON_ARRAY, "[{\"k\":\"a\"},\n{\"k\":\"b\"},{\"k\":2}]", "rejected 3 {\"k\":2}"},
    };
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int64_t records = 1; records < 5; records++) {
            const struct splitter_options options = {
                .format = cases[i].format, .records_max = records, .bytes_max = 1000};
            CLEANUP(split_result_deinit) struct split_result_text result;
            struct err err = {0};
            split_result_init(&result);
            cr_assert_eq(
                split_run(span_of_text(cases[i].stream), 3, &options, schema, &result, &err),
                ERR_OK, "%zu: %s", i, err.msg);
            cr_expect_eq(strncmp((const char *)result.rejected.data, cases[i].rejected,
                                 strlen(cases[i].rejected)),
                         0, "%zu in pieces of %d: %.*s", i, (int)records,
                         SPAN_PRINT(buffer_span(&result.rejected)));
        }
    }
}

Test(split, refuses_behind_the_good_pieces)
{
    static const struct {
        const char *name;
        enum decode_format format;
        const char *stream;
        enum err_code code;
        const char *says;
        int64_t pieces; /* before it */
    } cases[] = {
        {"comma", DECODE_JSON_ARRAY, "[{\"k\":\"a\"},]", ERR_INVALID, "expected an element", 1},
        {"no comma", DECODE_JSON_ARRAY, "[{\"k\":\"a\"} {}]", ERR_INVALID,
         "element 1: expected ','", 1},
        {"cut off", DECODE_JSON_ARRAY, "[{\"k\":\"a\"},{\"k\":", ERR_INVALID,
         "element 2: the array is cut off", 1},
        {"not closed", DECODE_JSON_ARRAY, "[{\"k\":\"a\"}", ERR_INVALID, "cut off", 1},
        {"more", DECODE_JSON_ARRAY, "{\"k\":\"a\"}\n{\"k\":\"b\"}", ERR_INVALID, "NDJSON", 1},
        {"no array", DECODE_JSON_ARRAY, "12", ERR_INVALID, "expected an array", 0},
        {"broken element", DECODE_JSON_ARRAY, "[{\"k\":\"a\"},{\"k\" 1}]", ERR_INVALID,
         "element 2: expected ':'", 1},
        {"too deep", DECODE_JSON_ARRAY,
         "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", ERR_INVALID,
         "element 1: nested", 0},
        {"wide", DECODE_NDJSON, "{\0\"\0", ERR_INVALID, "element", 0},
        {"header", DECODE_CSV, "k,zzz\na,1\n", ERR_INVALID, "line 1: column 2", 0},
        {"header below blank lines", DECODE_CSV, "\n\nk,zzz\na,1\n", ERR_INVALID,
         "line 3: column 2", 0},
        {"quote never closed", DECODE_CSV, "k,s\na,b\nc,\"d\n", ERR_INVALID, "line 3: a quoted", 1},
        {"large", DECODE_NDJSON, "{\"k\":\"a\"}\n{\"k\":\"aaaaaaaaaaaaaaaaaaaaaaaaa\"}\n",
         ERR_TOO_LARGE, "line 2: the record has more than 20 bytes", 1},
        {"large and not over", DECODE_NDJSON, "{\"k\":\"a\"}\n{\"k\":\"aaaaaaaaaaaaaaaaaaaaaaaaa",
         ERR_TOO_LARGE, "line 2: the record has more than 20 bytes", 1},
        {"large blank", DECODE_NDJSON, "{\"k\":\"a\"}\n                              \n",
         ERR_TOO_LARGE, "line 2", 1},
        {"large element", DECODE_JSON_ARRAY, "[{\"k\":\"a\"},\"aaaaaaaaaaaaaaaaaaaaaaaaaa\"]",
         ERR_TOO_LARGE, "element 2", 1},
        {"large row", DECODE_CSV, "k,s\na,b\nc,dddddddddddddddddddddddd\n", ERR_TOO_LARGE, "line 3",
         1},
    };
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    static const size_t chunks[] = {1, 5, 1000};
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool large = cases[i].code == ERR_TOO_LARGE;
        struct span stream = span_of_text(cases[i].stream);
        if (strcmp(cases[i].name, "wide") == 0) {
            stream.size = 4;
        }
        for (size_t j = 0; j < COUNT(chunks); j++) {
            const struct splitter_options options = {.format = cases[i].format,
                                                     .records_max = 1,
                                                     .bytes_max = 1000,
                                                     .record_bytes_max = large ? 20 : 0};
            CLEANUP(split_result_deinit) struct split_result_text result;
            struct err err = {0};
            split_result_init(&result);
            enum err_code code = split_run(stream, chunks[j], &options, schema, &result, &err);
            if (strcmp(cases[i].name, "wide") == 0) {
                cr_expect_eq(code, ERR_INVALID);
                continue;
            }
            cr_expect_eq(code, cases[i].code, "%s: %s", cases[i].name, err.msg);
            cr_expect_not_null(strstr(err.msg, cases[i].says), "%s: %s", cases[i].name, err.msg);
            cr_expect_eq(result.pieces_count, cases[i].pieces, "%s in steps of %zu: %d pieces",
                         cases[i].name, chunks[j], (int)result.pieces_count);
        }
    }
}

/* Lines of every length, some good and some not, in every format. */
static void write_stream(enum decode_format format, int lines, struct buffer *stream)
{
    uint64_t random = 7;
    buffer_append_text(stream, format == DECODE_CSV          ? "k,n,s\r\n"
                               : format == DECODE_JSON_ARRAY ? "[\n"
                                                             : "");
    for (int i = 0; i < lines; i++) {
        int length = (int)(kit_random(&random) % 300);
        bool bad = kit_random(&random) % 50 == 0;
        if (format == DECODE_CSV) {
            buffer_append_format(stream, "key%d,%s,\"%*s\n\"\"\"\n", i, bad ? "x" : "5", length,
                                 "t");
        } else {
            buffer_append_format(stream, "{\"k\":\"key%d\",\"n\":%s,\"s\":\"%*s]\\\"}\"}%s", i,
                                 bad ? "\"x\"" : "5", length, "t",
                                 format == DECODE_NDJSON ? "\n"
                                 : i + 1 < lines         ? ",\n"
                                                         : "]\n");
        }
    }
}

Test(split, gives_what_the_whole_gives_whatever_the_steps)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    static const enum decode_format formats[] = {DECODE_NDJSON, DECODE_JSON_ARRAY, DECODE_CSV};
    static const size_t chunks[] = {1, 13, 4096, 1 << 20};
    for (size_t f = 0; f < COUNT(formats); f++) {
        CLEANUP(buffer_deinit) struct buffer stream;
        CLEANUP(split_result_deinit) struct split_result_text whole;
        struct err err = {0};
        buffer_init(&stream, 1 << 24);
        split_result_init(&whole);
        write_stream(formats[f], 3000, &stream);
        const struct decode_options decode = {.format = formats[f]};
        cr_assert_eq(
            split_decode(buffer_span(&stream), schema, &decode, &whole.rows, &whole.rejected, &err),
            ERR_OK, "%s", err.msg);
        for (size_t j = 0; j < COUNT(chunks); j++) {
            const struct splitter_options options = {
                .format = formats[f], .records_max = 100, .bytes_max = 12000};
            CLEANUP(split_result_deinit) struct split_result_text pieces;
            split_result_init(&pieces);
            cr_assert_eq(
                split_run(buffer_span(&stream), chunks[j], &options, schema, &pieces, &err), ERR_OK,
                "%s", err.msg);
            cr_expect_gt(pieces.pieces_count, 30);
            cr_expect_eq(pieces.records_count, 3000);
            cr_expect(span_equal(buffer_span(&whole.rows), buffer_span(&pieces.rows)));
            cr_expect(span_equal(buffer_span(&whole.rejected), buffer_span(&pieces.rejected)));
        }
    }
}

Test(split, continues_behind_any_piece)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    static const enum decode_format formats[] = {DECODE_NDJSON, DECODE_JSON_ARRAY, DECODE_CSV};
    for (size_t f = 0; f < COUNT(formats); f++) {
        CLEANUP(buffer_deinit) struct buffer stream;
        CLEANUP(split_result_deinit) struct split_result_text first;
        struct err err = {0};
        buffer_init(&stream, 1 << 24);
        split_result_init(&first);
        write_stream(formats[f], 300, &stream);
        struct splitter_options options = {
            .format = formats[f], .records_max = 40, .bytes_max = 1 << 20};
        cr_assert_eq(split_run(buffer_span(&stream), 777, &options, schema, &first, &err), ERR_OK,
                     "%s", err.msg);
        buffer_append_byte(&first.cuts, '\0');
        const char *rest = (const char *)first.cuts.data;
        for (int i = 0; *rest != '\0'; i++) {
            CLEANUP(split_result_deinit) struct split_result_text again;
            long long end = 0;
            cr_assert_eq(sscanf(rest, "%*d-%lld", &end), 1);
            rest = strchr(rest, '\n') + 1;
            options.skip_bytes = end;
            split_result_init(&again);
            cr_assert_eq(split_run(buffer_span(&stream), 555, &options, schema, &again, &err),
                         ERR_OK, "%s", err.msg);
            cr_expect(span_equal_text(buffer_span(&again.cuts), rest), "behind piece %d", i);
        }
    }
}

/* What is held while 64 MiB go by: a piece, and what is fed. */
Test(split, holds_a_piece_and_no_more, .timeout = 60)
{
    static const char record[] = "{\"k\":\"a member with a name of some length\",\"n\":1}\n";
    static const struct {
        const char *name;
        const char *text; /* over and over */
    } cases[] = {{"records", record}, {"blank lines", "          \n\r\n\n\n  \t\n"}};
    for (size_t c = 0; c < COUNT(cases); c++) {
        const struct splitter_options options = {
            .format = DECODE_NDJSON, .records_max = 10000, .bytes_max = 1 << 20};
        CLEANUP(splitter_close) struct splitter *splitter = splitter_open(&options);
        struct err err = {0};
        size_t size = strlen(cases[c].text);
        size_t fed = 0;
        while (fed < (size_t)64 << 20) {
            struct split_piece piece;
            bool found = false;
            cr_assert_eq(splitter_next(splitter, &piece, &found, &err), ERR_OK, "%s", err.msg);
            if (found) {
                cr_assert_leq(piece.body.size, 1 << 20);
                continue;
            }
            uint8_t *room = splitter_reserve(splitter, size * 1000);
            for (int i = 0; i < 1000; i++) {
                memcpy(room + (size_t)i * size, cases[c].text, size);
            }
            splitter_advance(splitter, size * 1000);
            fed += size * 1000;
            cr_assert_leq(splitter_held_bytes(splitter), (size_t)3 << 20, "%s", cases[c].name);
        }
    }
}

Test(split, detects_formats)
{
    static const struct {
        const char *start;
        bool is_whole;
        enum decode_format format;
    } cases[] = {
        {"{\"k\":1}\n{\"k\":2}\n", true, DECODE_NDJSON},
        {"{\"k\":1}\n{\"k\":", false, DECODE_NDJSON},
        {"{\"k\":1}", true, DECODE_JSON_ARRAY},
        {"{\n \"k\":1\n}\n", true, DECODE_JSON_ARRAY},
        {"{\"k\":", false, DECODE_NDJSON},
        {"\xef\xbb\xbf \n[{", false, DECODE_JSON_ARRAY},
        {"[", true, DECODE_JSON_ARRAY},
        {"k,n\n1,2\n", true, DECODE_CSV},
        {"\"k\",n\n1,2\n", true, DECODE_CSV},
        {"", true, DECODE_NDJSON},
        {" \n", true, DECODE_NDJSON},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(split_detect(span_of_text(cases[i].start), cases[i].is_whole), cases[i].format,
                     "%s", cases[i].start);
    }
}
