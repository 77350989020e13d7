/*
 * Whole files of other writers as frames, nested columns and all: their rows as JSON
 * have the checksum of what independent readers gave, read at once, in pieces and in
 * chosen rows.
 */
#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/columns/encode_json.h"
#include "storage/parquet/nested.h"
#include "storage/parquet/reader.h"

#include "tests/unit/storage/parquet/file_kit.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(frames, .timeout = 60);

enum { PATH_BYTES = 4096, TEXT_BYTES_MAX = 1 << 28 };

#define OWN "tests/fuzz/corpus/parquet_file/"

static const struct {
    const char *file; /* below the folder of test data when it does not begin with OWN */
    int64_t rows;
    uint64_t checksum; /* of the NDJSON */
} read_files[] = {
    {OWN "pyarrow_case_names.parquet", 1, 0x175179e22219988f},
    {"data/alltypes_dictionary.parquet", 2, 0x7ec0020a69f4f479},
    {"data/alltypes_plain.snappy.parquet", 2, 0x59f21427605a63a4},
    {"data/alltypes_tiny_pages_plain.parquet", 7300, 0x2640866350dcd4bd},
    {"data/binary_truncated_min_max.parquet", 12, 0x4f4649ed805d6885},
    {"data/byte_stream_split.zstd.parquet", 300, 0xb18a627cf035de50},
    {"data/column_chunk_key_value_metadata.parquet", 0, 0x2d06800538d394c2},
    {"data/data_index_bloom_encoding_stats.parquet", 14, 0xd8c05026eefe8b65},
    {"data/datapage_v1-uncompressed-checksum.parquet", 5120, 0x6bdc27aef8429147},
    {"data/datapage_v2_empty_datapage.snappy.parquet", 1, 0xdbbb95f05ca216ee},
    {"data/dict-page-offset-zero.parquet", 39, 0x7e5b1b5852d4df3c},
    {"data/fixed_length_byte_array.parquet", 1000, 0x7409a1a4c2fac00e},
    {"data/fixed_length_decimal_legacy.parquet", 24, 0x43aef29241b6211b},
    {"data/float16_zeros_and_nans.parquet", 3, 0x8db6d3f5646a12c1},
    {"data/hadoop_lz4_compressed.parquet", 4, 0xf140d2ca2e935e4c},
    {"data/incorrect_map_schema.parquet", 1, 0xa020b082256c6a70},
    {"data/int32_with_null_pages.parquet", 1000, 0x75c729d7df457a96},
    {"data/int96_from_spark.parquet", 6, 0x118cfc33f12b8d83},
    {"data/list_columns.parquet", 3, 0x44215df2751a855e},
    {"data/lz4_raw_compressed_larger.parquet", 10000, 0xdf86712e23b59f2d},
    {"data/nan_in_stats.parquet", 2, 0xf50fd40c92deff78},
    {"data/nested_lists.snappy.parquet", 3, 0xd422a041778351c2},
    {"data/nested_structs.rust.parquet", 1, 0x87f578058662c62c},
    {"data/nonnullable.impala.parquet", 1, 0x56be98e1facacfa8},
    {"data/nullable.impala.parquet", 7, 0x1c0ce5904de12275},
    {"data/old_list_structure.parquet", 1, 0x71c88ff9eba68d02},
    {"data/page_v2_empty_compressed.parquet", 10, 0x7bac3bbe7cc65bf0},
    {"data/repeated_no_annotation.parquet", 6, 0xd9b9d223f41e4d16},
    {"data/rle-dict-snappy-checksum.parquet", 1000, 0xe57930201d3fcafc},
    {"data/rle_boolean_encoding.parquet", 68, 0x6534aef26c29e39b},
    {"data/sort_columns.parquet", 6, 0xa5a32ce05b74a6c4},
    {"data/unknown-logical-type.parquet", 3, 0xd269cec169dd4933},
    {OWN "duckdb_nested_lz4_raw.parquet", 24, 0x8713a3b52ad273d1},
    {OWN "duckdb_odd_types.parquet", 50, 0xc0b792871959734d},
    {OWN "polars_nested_zstd.parquet", 24, 0x00f57abb2a6da84d},
    {OWN "pyarrow_flat_delta.parquet", 24, 0x0fd5466f61460c41},
    {OWN "pyarrow_flat_int96.parquet", 24, 0x424b9ef27fc93186},
    {OWN "pyarrow_flat_v2.parquet", 24, 0x7cb3b276c423459e},
    {OWN "pyarrow_nested_delta.parquet", 24, 0x8713a3b52ad273d1},
    {OWN "pyarrow_nested_row_groups.parquet", 24, 0x8713a3b52ad273d1},
    {OWN "pyarrow_nested_v1.parquet", 24, 0x8713a3b52ad273d1},
    {OWN "pyarrow_nested_v2.parquet", 24, 0x8713a3b52ad273d1},
};

static const struct {
    const char *file;
    enum err_code code;
    const char *message;
} refused_files[] = {
    {OWN "duckdb_nested_brotli.parquet", ERR_UNSUPPORTED, "codec BROTLI (4) is not supported"},
    {OWN "pyarrow_wide_decimal.parquet", ERR_UNSUPPORTED,
     "column 'd' is a decimal of more than 38 digits"},
    {"data/datapage_v1-corrupt-checksum.parquet", ERR_CORRUPT, "page checksum does not match"},
    {"data/encrypt_columns_and_footer_aad.parquet.encrypted", ERR_UNSUPPORTED, "encrypted"},
    {"data/encrypt_columns_and_footer_ctr.parquet.encrypted", ERR_UNSUPPORTED, "encrypted"},
    {"data/encrypt_columns_plaintext_footer.parquet.encrypted", ERR_UNSUPPORTED,
     "column 'float_field' is encrypted"},
    {"data/aes256/encrypt_columns_and_footer_ctr.parquet.encrypted", ERR_UNSUPPORTED, "encrypted"},
    {"data/aes256/encrypt_columns_plaintext_footer.parquet.encrypted", ERR_UNSUPPORTED,
     "column 'boolean_field' is encrypted"},
    {"bad_data/ARROW-GH-41321.parquet", ERR_CORRUPT, "dictionary indexes of 254 bits"},
    {"bad_data/ARROW-GH-45185.parquet", ERR_CORRUPT, "row 0 does not begin"},
    {"bad_data/ARROW-RS-GH-6229-DICTHEADER.parquet", ERR_CORRUPT, "page header contradicts itself"},
    {"bad_data/PARQUET-1481.parquet", ERR_CORRUPT, "footer ends early or is malformed"},
};

/* A file in memory with a reader on it. */
struct opened {
    struct buffer bytes;
    struct span span;
    struct parquet_reader *reader;
};

/* False without the folder of test data. */
static bool load(const char *file, struct opened *opened)
{
    char path[PATH_BYTES];
    const char *folder = getenv("SLUICE_TEST_DATA");
    if (strncmp(file, OWN, strlen(OWN)) == 0) {
        (void)snprintf(path, sizeof path, "%s", file);
    } else if (folder != NULL) {
        (void)snprintf(path, sizeof path, "%s/parquet/%s", folder, file);
    } else {
        (void)fprintf(stderr, "SKIPPED: set SLUICE_TEST_DATA to read other writers' files\n");
        return false;
    }
    FILE *stream = fopen(path, "rb");
    cr_assert_not_null(stream, "%s", path);
    buffer_init(&opened->bytes, TEXT_BYTES_MAX);
    size_t size = 0;
    do {
        uint8_t *target = buffer_reserve(&opened->bytes, 1 << 16);
        size = fread(target, 1, 1 << 16, stream);
        buffer_advance(&opened->bytes, size);
    } while (size > 0);
    (void)fclose(stream); /* only read from */
    opened->span = buffer_span(&opened->bytes);
    return true;
}

static enum err_code open_reader(struct opened *opened, struct err *err)
{
    const struct parquet_source source = parquet_source_of(&opened->span);
    return parquet_reader_open(&source, &opened->reader, err);
}

static void close_reader(struct opened *opened)
{
    parquet_reader_close(&opened->reader);
    buffer_deinit(&opened->bytes);
}

/* Rows in pieces of `piece`, as NDJSON. */
static enum err_code read_pieces(struct parquet_reader *reader, int64_t piece, struct buffer *text,
                                 struct err *err)
{
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(parquet_reader_schema(reader, NULL, &schema, err));
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    int64_t rows = parquet_reader_rows_count(reader);
    for (int64_t start = 0; start < rows; start += piece) {
        int64_t count = piece < rows - start ? piece : rows - start;
        frame_reset(frame);
        TRY(parquet_reader_read_range(reader, start, count, NULL, frame, err));
        frame_check(frame);
        encode_ndjson_rows(frame, 0, frame->rows_count, NULL, text);
    }
    return ERR_OK;
}

Test(frames, files_have_the_rows_that_independent_readers_give)
{
    for (size_t i = 0; i < sizeof read_files / sizeof read_files[0]; i++) {
        struct opened opened = {0};
        if (!load(read_files[i].file, &opened)) {
            continue;
        }
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, TEXT_BYTES_MAX);
        struct err err = {0};
        cr_assert_eq(open_reader(&opened, &err), ERR_OK, "%s: %s", read_files[i].file, err.msg);
        cr_expect_eq(read_pieces(opened.reader, INT32_MAX, &text, &err), ERR_OK, "%s: %s",
                     read_files[i].file, err.msg);
        int64_t rows = parquet_reader_rows_count(opened.reader);
        uint64_t checksum = hash_checksum(buffer_span(&text));
        cr_expect(rows == read_files[i].rows && checksum == read_files[i].checksum,
                  "{\"%s\", %" PRId64 ", 0x%016" PRIx64 "},", read_files[i].file, rows, checksum);
        close_reader(&opened);
    }
}

/* The large file takes long in small pieces, and has nothing that others have not. */
static bool is_small(size_t file)
{
    return read_files[file].rows <= 1000;
}

Test(frames, pieces_are_the_same_rows)
{
    static const int64_t pieces[] = {1, 3, 7, 50};
    for (size_t i = 0; i < sizeof read_files / sizeof read_files[0]; i++) {
        struct opened opened = {0};
        struct err err = {0};
        if (!is_small(i) || !load(read_files[i].file, &opened)) {
            continue;
        }
        cr_assert_eq(open_reader(&opened, &err), ERR_OK);
        for (size_t piece = 0; piece < sizeof pieces / sizeof pieces[0]; piece++) {
            CLEANUP(buffer_deinit) struct buffer text;
            buffer_init(&text, TEXT_BYTES_MAX);
            cr_expect_eq(read_pieces(opened.reader, pieces[piece], &text, &err), ERR_OK, "%s",
                         err.msg);
            cr_expect_eq(hash_checksum(buffer_span(&text)), read_files[i].checksum,
                         "%s in pieces of %" PRId64, read_files[i].file, pieces[piece]);
        }
        close_reader(&opened);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Every row with a chance of one in `one_in`. */
static int64_t choose(int64_t rows, uint64_t one_in, uint64_t *state, int64_t *chosen)
{
    int64_t count = 0;
    for (int64_t row = 0; row < rows; row++) {
        if (next_random(state) % one_in == 0) {
            chosen[count++] = row;
        }
    }
    return count;
}

Test(frames, chosen_rows_are_those_of_the_whole)
{
    for (size_t i = 0; i < sizeof read_files / sizeof read_files[0]; i++) {
        struct opened opened = {0};
        struct err err = {0};
        if (!is_small(i) || !load(read_files[i].file, &opened)) {
            continue;
        }
        cr_assert_eq(open_reader(&opened, &err), ERR_OK);
        CLEANUP(schema_release) struct schema *schema = NULL;
        cr_assert_eq(parquet_reader_schema(opened.reader, NULL, &schema, &err), ERR_OK);
        CLEANUP(frame_free) struct frame *whole = frame_new(schema);
        int64_t rows = read_files[i].rows;
        cr_assert_eq(parquet_reader_read_range(opened.reader, 0, rows, NULL, whole, &err), ERR_OK);
        CLEANUP(mem_cleanup) int64_t *chosen = mem_zeroed((size_t)rows + 1, sizeof *chosen);
        uint64_t state = 42 + i;
        for (uint64_t turn = 1; turn <= 12; turn++) {
            int64_t count = choose(rows, turn, &state, chosen);
            CLEANUP(frame_free) struct frame *some = frame_new(schema);
            CLEANUP(buffer_deinit) struct buffer expected;
            CLEANUP(buffer_deinit) struct buffer found;
            buffer_init(&expected, TEXT_BYTES_MAX);
            buffer_init(&found, TEXT_BYTES_MAX);
            cr_assert_eq(parquet_reader_read_rows(opened.reader, chosen, count, NULL, some, &err),
                         ERR_OK, "%s: %s", read_files[i].file, err.msg);
            frame_check(some);
            for (int64_t row = 0; row < count; row++) {
                encode_ndjson_rows(whole, chosen[row], 1, NULL, &expected);
            }
            encode_ndjson_rows(some, 0, count, NULL, &found);
            cr_expect(span_equal(buffer_span(&expected), buffer_span(&found)), "%s, one in %d",
                      read_files[i].file, (int)turn);
        }
        close_reader(&opened);
    }
}

Test(frames, files_that_are_refused_say_why)
{
    for (size_t i = 0; i < sizeof refused_files / sizeof refused_files[0]; i++) {
        struct opened opened = {0};
        if (!load(refused_files[i].file, &opened)) {
            continue;
        }
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, TEXT_BYTES_MAX);
        struct err err = {0};
        enum err_code code = open_reader(&opened, &err);
        if (code == ERR_OK) {
            code = read_pieces(opened.reader, INT32_MAX, &text, &err);
        }
        cr_expect_eq(code, refused_files[i].code, "%s: %s", refused_files[i].file, err.msg);
        cr_expect_not_null(strstr(err.msg, refused_files[i].message), "%s: %s",
                           refused_files[i].file, err.msg);
        close_reader(&opened);
    }
}

/* ---- projection and schemas that differ ---- */

static struct schema *parse(const char *fields)
{
    char text[1024];
    (void)snprintf(text, sizeof text, "{\"type\":\"struct\",\"fields\":[%s]}", fields);
    struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse_delta(span_of_text(text), NULL, &schema, &err), ERR_OK, "%s",
                 err.msg);
    return schema;
}

#define FIELD_OF(name, type)                                                                       \
    "{\"name\":\"" name "\",\"type\":" type ",\"nullable\":true,\"metadata\":{}}"
#define STRUCT_OF(fields) "{\"type\":\"struct\",\"fields\":[" fields "]}"
#define ARRAY_OF(type) "{\"type\":\"array\",\"elementType\":" type ",\"containsNull\":true}"

/* The last row of repeated_no_annotation, read by this schema; skipped without the data. */
static void expect_last_row(const struct schema *schema, const char *row)
{
    struct opened opened = {0};
    struct err err = {0};
    if (!load("data/repeated_no_annotation.parquet", &opened)) {
        return;
    }
    cr_assert_eq(open_reader(&opened, &err), ERR_OK);
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, TEXT_BYTES_MAX);
    cr_assert_eq(parquet_reader_read_range(opened.reader, 0, 6, NULL, frame, &err), ERR_OK,
                 "%s: %s", row, err.msg);
    frame_check(frame);
    encode_json_row(frame, 5, NULL, &text);
    buffer_append_byte(&text, 0);
    cr_expect_str_eq((const char *)text.data, row);
    close_reader(&opened);
}

/* As a table that maps columns has it: nothing in the file bears the name of its field. */
Test(frames, mapped_columns_are_found_at_any_depth)
{
#define MAPPED_OF(name, physical, type)                                                            \
    "{\"name\":\"" name "\",\"type\":" type                                                        \
    ",\"nullable\":true,\"metadata\":{\"delta.columnMapping.physicalName\":\"" physical "\"}}"
    static const char text[] = STRUCT_OF(
        MAPPED_OF("numbers", "phoneNumbers",
                  STRUCT_OF(MAPPED_OF(
                      "one", "phone",
                      ARRAY_OF(STRUCT_OF(MAPPED_OF("sort", "kind", "\"string\"") "," MAPPED_OF(
                          "kind", "none", "\"string\"")))))));
    struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(
        schema_parse_delta_mapped(span_of_text(text), NULL, COLUMN_MAPPING_NAME, &schema, &err),
        ERR_OK, "%s", err.msg);
    expect_last_row(schema, "{\"numbers\":{\"one\":[{\"sort\":\"home\",\"kind\":null},"
                            "{\"sort\":null,\"kind\":null},{\"sort\":\"mobile\",\"kind\":null}]}}");
    schema_release(&schema);
}

/* Fields of structs may be missing, more, in another order, and of a narrower type. */
Test(frames, structs_are_read_by_the_names_of_their_fields)
{
    static const struct {
        const char *fields;
        const char *row; /* the last one of repeated_no_annotation */
    } cases[] = {
        {FIELD_OF("phoneNumbers",
                  STRUCT_OF(FIELD_OF("phone",
                                     ARRAY_OF(STRUCT_OF(FIELD_OF("kind", "\"string\"") "," FIELD_OF(
                                         "more", "\"date\"")))))),
         "{\"phoneNumbers\":{\"phone\":[{\"kind\":\"home\",\"more\":null},"
         "{\"kind\":null,\"more\":null},{\"kind\":\"mobile\",\"more\":null}]}}"},
        {FIELD_OF("phoneNumbers", STRUCT_OF(FIELD_OF("other", "\"long\""))),
         "{\"phoneNumbers\":{\"other\":null}}"},
        {FIELD_OF("phonenumbers",
                  STRUCT_OF(FIELD_OF(
                      "PHONE", ARRAY_OF(STRUCT_OF(FIELD_OF("NUMBER", "\"decimal(25,2)\"")))))),
         "{\"phonenumbers\":{\"PHONE\":[{\"NUMBER\":1111111111.00},{\"NUMBER\":2222222222.00},"
         "{\"NUMBER\":3333333333.00}]}}"},
        {FIELD_OF("phoneNumbers",
                  STRUCT_OF(FIELD_OF("phone", ARRAY_OF(STRUCT_OF(FIELD_OF("x", "\"long\"")))))),
         "{\"phoneNumbers\":{\"phone\":[{\"x\":null},{\"x\":null},{\"x\":null}]}}"},
        {FIELD_OF("absent", ARRAY_OF("\"long\"")), "{\"absent\":null}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(schema_release) struct schema *schema = parse(cases[i].fields);
        expect_last_row(schema, cases[i].row);
    }
}

Test(frames, shapes_that_differ_are_refused_by_name)
{
    static const struct {
        const char *fields;
        const char *message;
    } cases[] = {
        {FIELD_OF("phoneNumbers", "\"string\""), "column 'phoneNumbers' is nested in the file"},
        {FIELD_OF("phoneNumbers", ARRAY_OF("\"long\"")),
         "column 'phoneNumbers.phone.number' is struct in the file and cannot be read as array"},
        {FIELD_OF("phoneNumbers", STRUCT_OF(FIELD_OF("phone", "\"long\""))),
         "column 'phoneNumbers.phone.number' is array in the file and cannot be read as long"},
        {FIELD_OF(
             "phoneNumbers",
             STRUCT_OF(FIELD_OF("phone", ARRAY_OF(STRUCT_OF(FIELD_OF("number", "\"integer\"")))))),
         "phoneNumbers.phone.number: column 'number' is INT64 in the file"},
        {FIELD_OF("id", ARRAY_OF("\"integer\"")),
         "column 'id' is flat in the file and cannot be read as array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened opened = {0};
        struct err err = {0};
        if (!load("data/repeated_no_annotation.parquet", &opened)) {
            return;
        }
        cr_assert_eq(open_reader(&opened, &err), ERR_OK);
        CLEANUP(schema_release) struct schema *schema = parse(cases[i].fields);
        CLEANUP(frame_free) struct frame *frame = frame_new(schema);
        cr_expect_eq(parquet_reader_read_range(opened.reader, 0, 6, NULL, frame, &err),
                     ERR_UNSUPPORTED);
        cr_expect_not_null(strstr(err.msg, cases[i].message), "%s", err.msg);
        cr_expect_eq(frame->rows_count, 0);
        frame_check(frame);
        close_reader(&opened);
    }
}

Test(frames, chosen_columns_and_names_that_are_not_there)
{
    struct opened opened = {0};
    struct err err = {0};
    cr_assert(load(OWN "pyarrow_nested_v2.parquet", &opened));
    cr_assert_eq(open_reader(&opened, &err), ERR_OK);
    CLEANUP(schema_release) struct schema *schema = NULL;
    cr_assert_eq(parquet_reader_schema(opened.reader, (const char *const[]){"s", "flat", NULL},
                                       &schema, &err),
                 ERR_OK);
    cr_expect_eq(schema->fields_count, 2);
    cr_expect_str_eq(schema->fields[0].name, "s");
    cr_expect_eq(schema->fields[0].type, COLUMN_STRUCT);
    cr_expect_eq(
        parquet_reader_schema(opened.reader, (const char *const[]){"no", NULL}, &schema, &err),
        ERR_INVALID);
    cr_expect_str_eq(err.msg, "the file has no column 'no'");
    close_reader(&opened);
}

/* What one call may add is counted over all columns, strings and elements alike. */
Test(frames, bytes_of_one_call_are_limited)
{
    struct opened opened = {0};
    struct err err = {0};
    cr_assert(load(OWN "pyarrow_nested_v2.parquet", &opened));
    cr_assert_eq(open_reader(&opened, &err), ERR_OK);
    CLEANUP(schema_release) struct schema *schema = NULL;
    cr_assert_eq(parquet_reader_schema(opened.reader, NULL, &schema, &err), ERR_OK);
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    struct parquet_read_options options = {.bytes_max = 1};
    int64_t least = 0;
    for (int64_t most = 1 << 20; least + 1 < most;) { /* the smallest limit that is enough */
        options.bytes_max = (least + most) / 2;
        frame_reset(frame);
        enum err_code code = parquet_reader_read_range(opened.reader, 0, 24, &options, frame, &err);
        cr_expect(code == ERR_OK || code == ERR_TOO_LARGE, "%s", err.msg);
        frame_check(frame);
        *(code == ERR_OK ? &most : &least) = options.bytes_max;
        err_clear(&err);
    }
    cr_expect_gt(least, 1000);
    cr_expect_lt(least, 100000);
    close_reader(&opened);
}

/* ---- damage ---- */

Test(frames, damaged_files_are_refused_or_read_but_never_crash)
{
    static const char *const files[] = {OWN "polars_nested_zstd.parquet",
                                        OWN "duckdb_nested_lz4_raw.parquet"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct opened opened = {0};
        cr_assert(load(files[i], &opened));
        for (size_t at = 0; at < opened.bytes.size; at++) {
            opened.bytes.data[at] ^= 0x15;
            CLEANUP(buffer_deinit) struct buffer text;
            buffer_init(&text, 1 << 20);
            struct err err = {0};
            enum err_code code = open_reader(&opened, &err);
            /* a footer may state any number of rows, and groups of nulls hold them */
            if (code == ERR_OK && parquet_reader_rows_count(opened.reader) <= 100) {
                code = read_pieces(opened.reader, 9, &text, &err);
            }
            cr_expect(code == ERR_OK || err.msg[0] != '\0');
            parquet_reader_close(&opened.reader);
            opened.bytes.data[at] ^= 0x15;
        }
        close_reader(&opened);
    }
}

/* ---- shapes that no writer at hand makes ---- */

/* A file of our writer with one row of the list [1, 2], whose footer says MAP instead of LIST. */
static void make_map_of_keys(struct file_kit *kit)
{
    static const struct parquet_tree_field number[] = {
        {.name = "element", .kind = PARQUET_INTEGER}};
    static const struct parquet_tree_field top[] = {
        {.name = "m", .kind = PARQUET_LIST, .children = number, .children_count = 1}};
    static const struct parquet_tree_field root = {
        .name = "root", .kind = PARQUET_GROUP, .children = top, .children_count = 1};
    buffer_init(&kit->bytes, 1 << 20);
    const struct parquet_sink sink = parquet_sink_to_buffer(&kit->bytes);
    struct parquet_tree_writer *writer = NULL;
    struct err err = {0};
    int64_t bytes = 0;
    cr_assert_eq(parquet_tree_open(NULL, &root, &sink, &writer, &err), ERR_OK);
    parquet_tree_begin(writer, "m");
    parquet_tree_integer(writer, "element", 1);
    parquet_tree_integer(writer, "element", 2);
    parquet_tree_end(writer);
    cr_assert_eq(parquet_tree_end_row(writer, &err), ERR_OK);
    cr_assert_eq(parquet_tree_end_row(writer, &err), ERR_OK);
    cr_assert_eq(parquet_tree_finish(writer, &bytes, &err), ERR_OK);
    parquet_tree_close(&writer);
    /* converted_type LIST, LogicalType { 3: LIST } → MAP, LogicalType { 2: MAP } */
    uint8_t *list = memmem(kit->bytes.data, kit->bytes.size, "\x15\x06\x4c\x3c\x00\x00", 6);
    cr_assert_not_null(list);
    list[1] = 2;
    list[3] = 0x2c;
    file_kit_open(kit);
}

Test(frames, a_map_may_have_no_values)
{
    struct file_kit kit = {0};
    make_map_of_keys(&kit);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, TEXT_BYTES_MAX);
    struct err err = {0};
    cr_expect_eq(read_pieces(kit.reader, 2, &text, &err), ERR_OK, "%s", err.msg);
    buffer_append_byte(&text, 0);
    cr_expect_str_eq((const char *)text.data, "{\"m\":{\"1\":null,\"2\":null}}\n{\"m\":null}\n");
    file_kit_deinit(&kit);
}
