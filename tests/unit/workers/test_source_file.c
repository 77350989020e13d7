/*
 * Files as sources: every format and compression by content, pieces that are the same
 * whoever reads them and from wherever, and files that change under the reader.
 */
#include "workers/source_file.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/columns/deflate.h"
#include "storage/parquet/writer.h"
#include "tests/unit/workers/source_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static const char definition[] =
    "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
    "{'name':'n','type':'integer'},{'name':'s','type':'string'}]},'key':['k']}";

static struct source_kit kit;

static void set_up(void)
{
    source_kit_init(&kit, definition);
}

static void tear_down(void)
{
    source_kit_deinit(&kit);
}

TestSuite(source_file, .init = set_up, .fini = tear_down);

static enum err_code open_with(const char *path, enum source_file_format format,
                               enum source_file_compression compression, struct source **source_out,
                               struct err *err)
{
    const struct source_file_options options = {
        .roots = kit.roots,
        .path = path,
        .format = format,
        .compression = compression,
        .size = -1,
        .modified_us = -1,
    };
    return source_file_open(&options, &kit.reader, source_out, err);
}

static struct source *open_file(const char *path)
{
    struct source *source = NULL;
    struct err err = {0};
    cr_assert_eq(open_with(path, SOURCE_FILE_AUTO, SOURCE_FILE_COMPRESSION_AUTO, &source, &err),
                 ERR_OK, "%s", err.msg);
    return source;
}

static void compress(enum content_encoding encoding, struct span plain, struct buffer *out)
{
    CLEANUP(deflater_close) struct deflater *deflater = NULL;
    struct err err = {0};
    cr_assert_eq(deflater_open(encoding, &deflater, &err), ERR_OK);
    cr_assert_eq(deflater_write(deflater, plain, out, &err), ERR_OK);
    cr_assert_eq(deflater_finish(deflater, out, &err), ERR_OK);
}

static void put_text(const char *name, const char *text)
{
    source_kit_put(&kit, name, span_of_text(text));
}

/* ---- what a file holds ---- */

Test(source_file, reads_every_format_whatever_the_name)
{
    static const char rows[] = "1 upsert {\"k\":\"a\",\"n\":1,\"s\":\"x\"}\n"
                               "2 upsert {\"k\":\"b\",\"n\":2,\"s\":null}\n";
    static const struct {
        const char *name, *text;
        int line; /* of the first record */
    } cases[] = {
        {"ndjson.csv", "{\"k\":\"a\",\"n\":1,\"s\":\"x\"}\n{\"k\":\"b\",\"n\":2}\n", 1},
        {"array", " [{\"k\":\"a\",\"n\":1,\"s\":\"x\"},\n{\"k\":\"b\",\"n\":2}]", 1},
        {"csv.json", "\xef\xbb\xbfk,n,s\na,1,x\nb,2,\n", 2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int e = 0; e < 3; e++) {
            CLEANUP(buffer_deinit) struct buffer bytes;
            CLEANUP(source_reading_deinit) struct source_reading reading;
            struct err err = {0};
            buffer_init(&bytes, 1 << 20);
            source_reading_init(&reading);
            compress((enum content_encoding)e, span_of_text(cases[i].text), &bytes);
            source_kit_put(&kit, cases[i].name, buffer_span(&bytes));
            CLEANUP(source_close) struct source *source = open_file(cases[i].name);
            cr_assert_eq(source_kit_read(&kit, source, "", 0, &reading, &err), ERR_OK, "%s",
                         err.msg);
            char expected[200];
            (void)snprintf(expected, sizeof expected, "%s", rows);
            for (char *at = expected; cases[i].line == 2 && at != NULL;) {
                *at = (char)(*at + 1); /* the header is a line, too */
                at = strchr(at, '\n');
                at = at != NULL && at[1] != '\0' ? at + 1 : NULL;
            }
            cr_expect(span_equal_text(buffer_span(&reading.rows), expected), "%s in %d: %.*s",
                      cases[i].name, e, SPAN_PRINT(buffer_span(&reading.rows)));
            cr_expect_eq(source->progress.work_done, source->progress.work_total);
        }
    }
}

Test(source_file, an_empty_file_is_read_and_done)
{
    static const char *const texts[] = {"", "\n \n", "k,n\n", "[]"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        CLEANUP(source_reading_deinit) struct source_reading reading;
        struct err err = {0};
        source_reading_init(&reading);
        put_text("empty", texts[i]);
        CLEANUP(source_close) struct source *source = open_file("empty");
        cr_assert_eq(source_kit_read(&kit, source, "", 0, &reading, &err), ERR_OK, "%s", err.msg);
        cr_expect(span_equal_text(buffer_span(&reading.pieces), "0 {\"done\":true}\n"), "%zu: %.*s",
                  i, SPAN_PRINT(buffer_span(&reading.pieces)));
        bool done = false;
        CLEANUP(source_close) struct source *again = open_file("empty");
        cr_assert_eq(source_begin(again, span_of_text(reading.last_checkpoint), &done, &err),
                     ERR_OK);
        cr_expect(done);
    }
}

Test(source_file, what_is_said_beats_what_is_seen)
{
    struct source *source = NULL;
    struct err err = {0};
    CLEANUP(source_reading_deinit) struct source_reading reading;
    source_reading_init(&reading);
    put_text("f", "{\"k\":\"a\"}");
    cr_assert_eq(open_with("f", SOURCE_FILE_NDJSON, SOURCE_FILE_PLAIN, &source, &err), ERR_OK);
    cr_expect_eq(source_kit_read(&kit, source, "", 0, &reading, &err), ERR_OK, "%s", err.msg);
    source_close(&source);
    cr_expect_eq(open_with("f", SOURCE_FILE_AUTO, SOURCE_FILE_GZIP, &source, &err), ERR_INVALID);
    cr_expect_not_null(strstr(err.msg, "gzip"), "%s", err.msg);
    cr_expect_eq(open_with("f", SOURCE_FILE_PARQUET, SOURCE_FILE_PLAIN, &source, &err),
                 ERR_CORRUPT);
    cr_expect_null(source);
}

Test(source_file, its_identity_is_its_content_and_its_use)
{
    put_text("a", "k\nx\n");
    put_text("b", "k\nx\n");
    put_text("c", "k\ny\n");
    CLEANUP(source_close) struct source *a = open_file("a");
    CLEANUP(source_close) struct source *b = open_file("b");
    CLEANUP(source_close) struct source *c = open_file("c");
    cr_expect_arr_eq(a->id, b->id, sizeof a->id);
    cr_expect_arr_neq(a->id, c->id, sizeof a->id);
    kit.reader.operation = FRAME_DELETE;
    CLEANUP(source_close) struct source *deletes = open_file("a");
    cr_expect_arr_neq(a->id, deletes->id, sizeof a->id);
    kit.reader.table = id_new_random();
    CLEANUP(source_close) struct source *other = open_file("a");
    cr_expect_arr_neq(deletes->id, other->id, sizeof a->id);
}

/* ---- pieces ---- */

static void write_rows(enum decode_format format, int rows, struct buffer *text)
{
    buffer_append_text(text, format == DECODE_CSV          ? "k,n,s\n"
                             : format == DECODE_JSON_ARRAY ? "["
                                                           : "");
    for (int i = 0; i < rows; i++) {
        const char *number = i % 40 == 7 ? "x" : "5";
        if (format == DECODE_CSV) {
            buffer_append_format(text, "key%d,%s,\"line\n%d\"\n", i, number, i);
        } else {
            buffer_append_format(text, "%s{\"k\":\"key%d\",\"n\":\"%s\"}%s",
                                 format == DECODE_JSON_ARRAY && i > 0 ? "," : "", i, number,
                                 format == DECODE_NDJSON ? "\n" : "");
        }
    }
    buffer_append_text(text, format == DECODE_JSON_ARRAY ? "]" : "");
}

/* Read behind each piece of the first reading: what comes is the rest of it. */
static void expect_continuations(const char *path, const struct source_reading *first)
{
    struct err err = {0};
    for (int64_t stop = 1; stop < first->pieces_count; stop++) {
        CLEANUP(source_reading_deinit) struct source_reading begun;
        CLEANUP(source_reading_deinit) struct source_reading rest;
        source_reading_init(&begun);
        source_reading_init(&rest);
        CLEANUP(source_close) struct source *killed = open_file(path);
        cr_assert_eq(source_kit_read(&kit, killed, "", stop, &begun, &err), ERR_OK, "%s", err.msg);
        CLEANUP(source_close) struct source *again = open_file(path);
        cr_assert_arr_eq(killed->id, again->id, sizeof again->id);
        cr_assert_eq(source_kit_read(&kit, again, begun.last_checkpoint, 0, &rest, &err), ERR_OK,
                     "%s", err.msg);
        buffer_append_span(&begun.pieces, buffer_span(&rest.pieces));
        buffer_append_span(&begun.rows, buffer_span(&rest.rows));
        buffer_append_span(&begun.rejected, buffer_span(&rest.rejected));
        cr_expect(span_equal(buffer_span(&begun.pieces), buffer_span(&first->pieces)),
                  "%s stopped behind piece %d", path, (int)stop);
        cr_expect(span_equal(buffer_span(&begun.rows), buffer_span(&first->rows)));
        cr_expect(span_equal(buffer_span(&begun.rejected), buffer_span(&first->rejected)));
    }
}

Test(source_file, continues_behind_any_piece_of_any_format)
{
    static const enum decode_format formats[] = {DECODE_NDJSON, DECODE_JSON_ARRAY, DECODE_CSV};
    kit.reader.piece_records = 70;
    for (size_t f = 0; f < COUNT(formats); f++) {
        for (int e = 0; e < 3; e++) {
            CLEANUP(buffer_deinit) struct buffer text;
            CLEANUP(buffer_deinit) struct buffer bytes;
            CLEANUP(source_reading_deinit) struct source_reading first;
            struct err err = {0};
            buffer_init(&text, 1 << 20);
            buffer_init(&bytes, 1 << 20);
            source_reading_init(&first);
            write_rows(formats[f], 500, &text);
            compress((enum content_encoding)e, buffer_span(&text), &bytes);
            source_kit_put(&kit, "f", buffer_span(&bytes));
            CLEANUP(source_close) struct source *source = open_file("f");
            cr_assert_eq(source_kit_read(&kit, source, "", 0, &first, &err), ERR_OK, "%s", err.msg);
            cr_expect_eq(first.pieces_count, 9, "eight, and that it is done");
            cr_expect_eq(first.records_count, 500);
            expect_continuations("f", &first);
        }
    }
}

/* A Parquet file of the rows k, n (long), s. */
static void put_parquet(const char *name, int rows)
{
    CLEANUP(buffer_deinit) struct buffer bytes;
    struct schema *columns = NULL;
    struct err err = {0};
    buffer_init(&bytes, 1 << 26);
    cr_assert_eq(
        schema_parse_delta(
            span_of_text("{\"type\":\"struct\",\"fields\":["
                         "{\"name\":\"k\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},"
                         "{\"name\":\"n\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}"),
            NULL, &columns, &err),
        ERR_OK, "%s", err.msg);
    struct frame *frame = frame_new(columns);
    for (int i = 0; i < rows; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key%d", i);
        column_append_bytes(&frame->columns[0], span_of_text(key));
        column_append_i64(&frame->columns[1], i % 40 == 7 ? INT64_C(3000000000) : i);
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    struct parquet_written written = {0};
    const struct parquet_sink sink = parquet_sink_to_buffer(&bytes);
    cr_assert_eq(parquet_write_frame(NULL, frame, NULL, &sink, &written, &err), ERR_OK);
    source_kit_put(&kit, name, buffer_span(&bytes));
    parquet_written_deinit(&written);
    frame_free(&frame);
    schema_release(&columns);
}

Test(source_file, reads_parquet_by_rows)
{
    CLEANUP(source_reading_deinit) struct source_reading first;
    struct err err = {0};
    source_reading_init(&first);
    kit.reader.piece_records = 70;
    put_parquet("f", 500);
    CLEANUP(source_close) struct source *source = open_file("f");
    cr_assert_eq(source_kit_read(&kit, source, "", 0, &first, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(first.records_count, 500);
    cr_expect_eq(first.pieces_count, 9);
    cr_expect_eq(strncmp((const char *)first.rejected.data,
                         "8 /n must be between -2147483648 and 2147483647 (integer)\n48 ", 60),
                 0, "%.80s", (const char *)first.rejected.data);
    expect_continuations("f", &first);
}

Test(source_file, parquet_with_other_columns_is_refused_by_name)
{
    struct source *source = NULL;
    struct err err = {0};
    source_kit_deinit(&kit);
    source_kit_init(&kit, "{'schema':{'fields':[{'name':'k','type':'string','nullable':false}]},"
                          "'key':['k']}");
    put_parquet("f", 5);
    cr_expect_eq(open_with("f", SOURCE_FILE_AUTO, SOURCE_FILE_COMPRESSION_AUTO, &source, &err),
                 ERR_INVALID);
    cr_expect_not_null(strstr(err.msg, "f: the table has no field for the column 'n'"), "%s",
                       err.msg);
}

Test(source_file, wide_tables_get_pieces_of_fewer_records)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "{'schema':{'fields':[{'name':'k','type':'string','nullable':false}");
    for (int i = 0; i < 999; i++) {
        buffer_append_format(&text, ",{'name':'c%d','type':'decimal(38,2)'}", i);
    }
    buffer_append_text(&text, "]},'key':['k']}");
    buffer_append_byte(&text, '\0');
    source_kit_deinit(&kit);
    source_kit_init(&kit, (const char *)text.data);
    int64_t records = source_records_max(&kit.reader);
    cr_expect_lt(records, 17000);
    cr_expect_gt(records, 10000);
}

/* ---- refusals ---- */

Test(source_file, names_the_place_of_what_is_broken)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *says;
        int64_t pieces; /* before it */
    } cases[] = {
        {"[{\"k\":\"a\"},{\"k\":\"b\"},{\"k\"}]", ERR_INVALID, "element 3", 2},
        {"k,zzz\na,1\n", ERR_INVALID, "line 1: column 2", 0},
        {"k,n\na,1\nb,2\n\"c,3\n", ERR_INVALID, "line 4", 2},
    };
    kit.reader.piece_records = 1;
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(source_reading_deinit) struct source_reading reading;
        struct err err = {0};
        source_reading_init(&reading);
        put_text("f", cases[i].text);
        CLEANUP(source_close) struct source *source = open_file("f");
        cr_expect_eq(source_kit_read(&kit, source, "", 0, &reading, &err), cases[i].code, "%s",
                     err.msg);
        cr_expect_not_null(strstr(err.msg, cases[i].says), "%s", err.msg);
        cr_expect_eq(reading.pieces_count, cases[i].pieces, "%zu", i);
    }
}

Test(source_file, a_cut_off_compressed_file_fails_and_is_not_done)
{
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(buffer_deinit) struct buffer bytes;
    CLEANUP(source_reading_deinit) struct source_reading reading;
    struct err err = {0};
    buffer_init(&text, 1 << 20);
    buffer_init(&bytes, 1 << 20);
    source_reading_init(&reading);
    write_rows(DECODE_NDJSON, 3000, &text);
    compress(CONTENT_GZIP, buffer_span(&text), &bytes);
    kit.reader.piece_records = 100;
    source_kit_put(&kit, "f", span_of(bytes.data, bytes.size - 5));
    CLEANUP(source_close) struct source *source = open_file("f");
    cr_expect_eq(source_kit_read(&kit, source, "", 0, &reading, &err), ERR_INVALID);
    cr_expect_not_null(strstr(err.msg, "f: the gzip data is cut off"), "%s", err.msg);
    cr_expect_null(strstr(reading.last_checkpoint, "done"));
}

static char *path_of(const char *name)
{
    return temp_dir_join(&kit.dir, name);
}

/* Change a byte in the middle, and set the time back if asked. */
static void tamper(const char *name, bool hide)
{
    CLEANUP(mem_cleanup) char *path = path_of(name);
    CLEANUP(file_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat status;
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_eq(pwrite(fd, "9", 1, status.st_size / 2), 1);
    const struct timespec times[2] = {
        status.st_atim, {status.st_mtim.tv_sec + (hide ? 0 : 1), status.st_mtim.tv_nsec}};
    cr_assert_eq(futimens(fd, times), 0);
}

Test(source_file, a_file_that_changes_while_it_is_read_is_told)
{
    for (int how = 0; how < 4; how++) {
        for (int parquet = 0; parquet < 2; parquet++) {
            CLEANUP(buffer_deinit) struct buffer text;
            CLEANUP(source_reading_deinit) struct source_reading reading;
            CLEANUP(mem_cleanup) char *path = path_of("f");
            struct err err = {0};
            buffer_init(&text, 1 << 26);
            source_reading_init(&reading);
            kit.reader.piece_records = 1000;
            if (parquet) {
                put_parquet("f", 40000);
            } else {
                write_rows(DECODE_NDJSON, 200000, &text);
                source_kit_put(&kit, "f", buffer_span(&text));
            }
            CLEANUP(source_close) struct source *source = open_file("f");
            bool done = false;
            bool found = true;
            struct source_piece piece;
            cr_assert_eq(source_begin(source, (struct span){0}, &done, &err), ERR_OK);
            cr_assert_eq(source_next(source, &piece, &found, &err), ERR_OK, "%s", err.msg);
            switch (how) {
            case 0:
                cr_assert_eq(truncate(path, 1000), 0);
                break;
            case 1:
                tamper("f", false);
                break;
            case 2:
                tamper("f", true); /* only the hash knows */
                break;
            default: {
                CLEANUP(file_close) int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
                cr_assert_eq(write(fd, "x", 1), 1);
            }
            }
            enum err_code code = ERR_OK;
            while (code == ERR_OK && found) {
                code = source_next(source, &piece, &found, &err);
            }
            bool is_told = code == ERR_PRECONDITION || (code == ERR_CORRUPT && parquet == 1 &&
                                                        how == 2); /* a page's checksum */
            cr_expect(is_told, "how %d parquet %d: %d %s", how, parquet, (int)code, err.msg);
        }
    }
}

Test(source_file, another_file_than_the_pinned_one_is_refused)
{
    struct source *source = NULL;
    struct err err = {0};
    put_text("f", "k\na\n");
    struct source_file_options options = {
        .roots = kit.roots, .path = "f", .size = 4, .modified_us = -1};
    cr_expect_eq(source_file_open(&options, &kit.reader, &source, &err), ERR_OK, "%s", err.msg);
    source_close(&source);
    options.size = 5;
    cr_expect_eq(source_file_open(&options, &kit.reader, &source, &err), ERR_PRECONDITION);
    options.size = 4;
    options.modified_us = 1;
    cr_expect_eq(source_file_open(&options, &kit.reader, &source, &err), ERR_PRECONDITION);
    cr_expect_not_null(strstr(err.msg, "start a new run"), "%s", err.msg);
    options.path = "../f";
    cr_expect_eq(source_file_open(&options, &kit.reader, &source, &err), ERR_FORBIDDEN);
}

Test(source_file, stops_when_it_is_told_to)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 26);
    write_rows(DECODE_NDJSON, 200000, &text);
    source_kit_put(&kit, "f", buffer_span(&text));
    put_parquet("p", 1000);
    kit.reader.piece_records = 100;
    static const char *const names[] = {"f", "p"};
    for (size_t i = 0; i < COUNT(names); i++) {
        bool ended = false;
        for (int64_t until = 1; !ended; until++) {
            CLEANUP(source_reading_deinit) struct source_reading reading;
            struct source *source = NULL;
            struct err err = {0};
            source_reading_init(&reading);
            kit.checks_count = 0;
            kit.checks_until = until;
            enum err_code code =
                open_with(names[i], SOURCE_FILE_AUTO, SOURCE_FILE_COMPRESSION_AUTO, &source, &err);
            if (code == ERR_OK) {
                code = source_kit_read(&kit, source, "", 0, &reading, &err);
            }
            source_close(&source);
            ended = code == ERR_OK;
            cr_assert(ended || code == ERR_CANCELLED, "%s", err.msg);
            until += until / 2;
        }
    }
}

Test(source_file, refuses_foreign_checkpoints)
{
    static const char *const texts[] = {"x", "{}", "{\"at\":-1}", "{\"at\":\"1\"}", "[]"};
    put_text("f", "k\na\n");
    put_parquet("p", 10);
    for (size_t i = 0; i < COUNT(texts); i++) {
        bool done = false;
        struct err err = {0};
        CLEANUP(source_close) struct source *source = open_file(i % 2 == 0 ? "f" : "p");
        cr_expect_eq(source_begin(source, span_of_text(texts[i]), &done, &err), ERR_CORRUPT, "%s",
                     texts[i]);
    }
}

/* ---- memory ---- */

static int64_t peak_kib(void)
{
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

/* A gigabyte of records in ten megabytes of zstd goes by in the memory of a few pieces. */
Test(source_file, a_large_file_is_read_in_little_memory, .timeout = 120)
{
    CLEANUP(deflater_close) struct deflater *deflater = NULL;
    CLEANUP(buffer_deinit) struct buffer bytes;
    CLEANUP(buffer_deinit) struct buffer text;
    struct err err = {0};
    buffer_init(&bytes, 1 << 28);
    buffer_init(&text, 1 << 20);
    cr_assert_eq(deflater_open(CONTENT_ZSTD, &deflater, &err), ERR_OK);
    int64_t rows = 0;
    for (int64_t written = 0; written < (int64_t)512 << 20; written += (int64_t)text.size) {
        buffer_reset(&text);
        for (int i = 0; i < 1000; i++, rows++) {
            buffer_append_format(
                &text, "{\"k\":\"member %" PRId64 "\",\"n\":%d,\"s\":\"some text\"}\n", rows, i);
        }
        cr_assert_eq(deflater_write(deflater, buffer_span(&text), &bytes, &err), ERR_OK);
    }
    cr_assert_eq(deflater_finish(deflater, &bytes, &err), ERR_OK);
    source_kit_put(&kit, "f", buffer_span(&bytes));
    buffer_deinit(&bytes);
    int64_t before = peak_kib();
    CLEANUP(source_close) struct source *source = open_file("f");
    bool done = false;
    bool found = true;
    int64_t records = 0;
    cr_assert_eq(source_begin(source, (struct span){0}, &done, &err), ERR_OK);
    while (found) {
        struct source_piece piece;
        cr_assert_eq(source_next(source, &piece, &found, &err), ERR_OK, "%s", err.msg);
        records += found ? piece.records_count : 0;
    }
    cr_expect_eq(records, rows);
    cr_expect_lt(peak_kib() - before, (int64_t)100 << 10, "grew by %d MiB",
                 (int)((peak_kib() - before) >> 10));
}

/* ---- real data ---- */

Test(source_file, real_files_give_the_rows_that_decoding_them_whole_gives, .timeout = 120)
{
    const char *folder = getenv("SLUICE_TEST_DATA");
    if (folder == NULL) {
        (void)fprintf(stderr, "SKIPPED: set SLUICE_TEST_DATA to the folder of real records\n");
        return;
    }
    char path[4096];
    char header[8192];
    (void)snprintf(path, sizeof path, "%s/health/cms_desynpuf/pde.csv", folder);
    FILE *stream = fopen(path, "rb");
    cr_assert_not_null(stream, "%s", path);
    cr_assert_not_null(fgets(header, sizeof header, stream));
    (void)fclose(stream); /* only read from */
    header[strcspn(header, "\r\n")] = '\0';
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "{'schema':{'fields':[");
    bool first = true;
    for (char *at = header; at != NULL && *at != '\0'; first = false) {
        char *comma = strchr(at, ',');
        size_t size = comma != NULL ? (size_t)(comma - at) : strlen(at);
        bool quoted = at[0] == '"';
        buffer_append_format(&text, "%s{'name':'%.*s','type':'string'%s}", first ? "" : ",",
                             (int)(size - (quoted ? 2 : 0)), at + (quoted ? 1 : 0),
                             first ? ",'nullable':false" : "");
        at = comma != NULL ? comma + 1 : NULL;
    }
    buffer_append_text(&text, "]},'merge':'append'}");
    buffer_append_byte(&text, '\0');
    source_kit_deinit(&kit);
    source_kit_init(&kit, (const char *)text.data);
    kit.reader.operation = FRAME_INSERT;
    CLEANUP(buffer_deinit) struct buffer bytes;
    struct err err = {0};
    buffer_init(&bytes, (size_t)1 << 30);
    cr_assert_eq(file_read(path, &bytes, &err), ERR_OK, "%s", err.msg);
    source_kit_put(&kit, "pde", buffer_span(&bytes));
    CLEANUP(source_reading_deinit) struct source_reading whole;
    source_reading_init(&whole);
    kit.reader.piece_records = 10000000;
    CLEANUP(source_close) struct source *at_once = open_file("pde");
    cr_assert_eq(source_kit_read(&kit, at_once, "", 0, &whole, &err), ERR_OK, "%s", err.msg);
    static const int64_t sizes[] = {1000, 77777};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        CLEANUP(source_reading_deinit) struct source_reading pieces;
        source_reading_init(&pieces);
        kit.reader.piece_records = sizes[i];
        CLEANUP(source_close) struct source *source = open_file("pde");
        cr_assert_eq(source_kit_read(&kit, source, "", 0, &pieces, &err), ERR_OK, "%s", err.msg);
        cr_expect_gt(pieces.records_count, 1000);
        cr_expect_eq(pieces.records_count, whole.records_count);
        cr_expect(span_equal(buffer_span(&pieces.rows), buffer_span(&whole.rows)));
    }
}
