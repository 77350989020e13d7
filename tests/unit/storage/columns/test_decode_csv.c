/*
 * CSV: header, quoting, line ends, and the real files of the test data. Types
 * and rules are test_decode_rules.c's.
 */
#include "decode_support.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "storage/columns/inflate.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct schema *schema;

static void set_up(void)
{
    schema = decode_test_schema("{'schema':{'fields':["
                                "{'name':'k','type':'string','nullable':false},"
                                "{'name':'n','type':'integer'},"
                                "{'name':'s','type':'string'},"
                                "{'name':'at','type':'long','nullable':false}]},"
                                "'key':['k'],'sequence_by':'at','merge':'deletion-vectors'}");
}

static void tear_down(void)
{
    schema_release(&schema);
}

TestSuite(decode_csv, .init = set_up, .fini = tear_down);

static const struct decode_options csv = {.format = DECODE_CSV};

struct text_case {
    const char *name;
    const char *body;
    const char *expected;
};

static void expect_cases(const struct text_case *cases, size_t count,
                         const struct decode_options *options)
{
    for (size_t i = 0; i < count; i++) {
        decode_test_expect(cases[i].name, span_of_text(cases[i].body), schema, options,
                           cases[i].expected);
    }
}

Test(decode_csv, reads_values_by_the_header)
{
    static const struct text_case cases[] = {
        {"all columns", "k,n,s,at\na,1,x,5\n", "2 upsert a|1|x|5"},
        {"other order, some columns", "at,k\n5,a\n6,b", "2 upsert a|~|~|5; 3 upsert b|~|~|6"},
        {"CRLF", "k,at\r\na,5\r\nb,6\r\n", "2 upsert a|~|~|5; 3 upsert b|~|~|6"},
        {"blank lines", "\n\r\nk,at\n\na,5\n\r\n\nb,6\n\n", "5 upsert a|~|~|5; 8 upsert b|~|~|6"},
        {"byte order mark", "\xef\xbb\xbfk,at\na,5\n", "2 upsert a|~|~|5"},
        {"quoted header", "\"k\",\"at\"\na,5\n", "2 upsert a|~|~|5"},
        {"unquoted empty is null, quoted is empty", "k,n,s,at\na,,,5\nb,,\"\",6\n",
         "2 upsert a|~|~|5; 3 upsert b|~||6"},
        {"quoted empty is no number", "k,n,at\na,\"\",5\n", "!2 /n type"},
        {"quoted numbers are numbers", "k,n,at\n\"a\",\"7\",\"5\"\n", "2 upsert a|7|~|5"},
        {"doubled quotes", "k,s,at\na,\"say \"\"hi\"\"\",5\nb,\"\"\"\",6\n",
         "2 upsert a|~|say \"hi\"|5; 3 upsert b|~|\"|6"},
        {"comma and line ends inside quotes", "k,s,at\na,\"x,y\r\nz\",5\nb,\"\n\n\",6\nc,,7\n",
         "2 upsert a|~|x,y\r\nz|5; 4 upsert b|~|\n\n|6; 7 upsert c|~|~|7"},
        {"space belongs to the value", "k,s,at\na, x ,5\n", "2 upsert a|~| x |5"},
        {"non-ASCII", "k,s,at\na,Nevárez €,5\nb,\"Ó\",6\n",
         "2 upsert a|~|Nevárez €|5; 3 upsert "
         "b|~|Ó|6"},
        {"empty strings only", "k,at\n\"\",5\n", "2 upsert |~|~|5"},
        {"null in a key", "k,at\n,5\n", "!2 /k key_null"},
        {"null in the sequence", "k,at\na,\n", "!2 /at required"},
    };
    expect_cases(cases, COUNT(cases), &csv);
}

Test(decode_csv, refuses_a_header_it_cannot_use)
{
    static const struct text_case cases[] = {
        {"empty", "", "invalid: the body has no records"},
        {"only line ends", "\n\r\n\n", "invalid: the body has no records"},
        {"header alone", "k,at\n", "invalid: the body has no records"},
        {"no header", "Smith,5\nJones,6\n",
         "invalid: line 1: CSV needs a header line with field names, and column 1 of the first "
         "line is not a field of the table"},
        {"unknown column", "k,at,colour\na,5,x\n",
         "invalid: line 1: column 3 of the header, 'colour', is not a field of the table"},
        {"unknown column that may be a value", "k,at,999-39-7557\na,5,x\n",
         "invalid: line 1: column 3 of the header is not a field of the table"},
        {"repeated column", "k,at,k\na,5,b\n",
         "invalid: line 1: column 3 of the header, 'k', is there twice"},
        {"empty column", "k,at,\na,5,\n",
         "invalid: line 1: column 3 of the header is not a field of the table"},
        {"key missing", "\nn,at\n1,5\n", "invalid: line 2: the header lacks the key field 'k'"},
        {"sequence missing", "k,n\na,5\n",
         "invalid: line 1: the header lacks the sequence field "
         "'at'"},
        {"other separator", "k;at\na;5\n",
         "invalid: line 1: CSV needs a header line with field names, and column 1 of the first "
         "line is not a field of the table"},
        {"quote never closed in the header", "\"k,at\na,5\n",
         "invalid: line 1: a quoted value is never closed"},
        {"text after a quote in the header", "\"k\"x,at\na,5\n",
         "invalid: line 1: the header has text after a closing quote; a quote inside quotes is "
         "written twice"},
        {"quote never closed in a record", "k,s,at\na,x,5\nb,\"y,6\nc,z,7\n",
         "invalid: line 3: a quoted value is never closed"},
        {"JSON", "{\"k\":\"a\"}\n",
         "invalid: line 1: the header has a quote inside a value that does not start with one"},
    };
    expect_cases(cases, COUNT(cases), &csv);
}

Test(decode_csv, rejects_records_by_line)
{
    static const struct text_case cases[] = {
        {"too few fields", "k,n,at\na,1\nb,2,6\n", "3 upsert b|2|~|6; !2  field_count"},
        {"too many fields", "k,n,at\na,1,5,9\nb,2,6\n", "3 upsert b|2|~|6; !2  field_count"},
        {"a comma more at the end", "k,at\na,5,\nb,6\n", "3 upsert b|~|~|6; !2  field_count"},
        {"wrong count hides wrong values", "k,n,at\nx,y\nb,2,6\n",
         "3 upsert b|2|~|6; !2  "
         "field_count"},
        {"quote inside a value", "k,s,at\na,5\" pipe,5\nb,x,6\n", "3 upsert b|~|x|6; !2  syntax"},
        {"text after a quote", "k,s,at\na,\"x\"y,5\nb,x,6\n", "3 upsert b|~|x|6; !2  syntax"},
        {"broken line after quoted line ends", "k,s,at\na,\"x\n\"y,5\r\nb,x,6\n",
         "4 upsert b|~|x|6; !2  syntax"},
        {"bare carriage return", "k,s,at\na,x\ry,5\nb,x,6\n",
         "3 upsert b|~|x|6; !2 /s "
         "invalid_character"},
        {"invalid UTF-8", "k,s,at\na,\xff,5\nb,\"\xc3\",6\nc,x,7\n",
         "4 upsert c|~|x|7; !2 /s invalid_utf8; !3 /s invalid_utf8"},
        {"type", "k,n,at\na,x,5\nb,2,6\n", "3 upsert b|2|~|6; !2 /n type"},
        {"several", "k,n,at\n,x,y\n", "!2 /k key_null; !2 /n type; !2 /at type"},
    };
    expect_cases(cases, COUNT(cases), &csv);
}

Test(decode_csv, rejects_values_with_nul)
{
    static const char body[] = "k,s,at\na,x\0y,5\nb,\"x\0\",6\nc,z,7\n";
    decode_test_expect("NUL", span_of(body, sizeof body - 1), schema, &csv,
                       "4 upsert c|~|z|7; !2 /s invalid_character; !3 /s invalid_character");
}

Test(decode_csv, takes_operations_from_a_column)
{
    static const struct text_case cases[] = {
        {"operations", "_op,k,at,n\nupsert,a,1,1\npatch,b,2,\ninsert,c,3,3\ndelete,d,4,\n,e,5,5\n",
         "2 upsert a|1|~|1; 3 patch b|~|?|2; 4 insert c|3|~|3; 5 delete d|~|~|4; 6 upsert "
         "e|5|~|5"},
        {"unknown operation", "k,_op,at\na,remove,1\n", "!2 /_op operation"},
    };
    expect_cases(cases, COUNT(cases), &csv);
    const struct decode_options patch = {.format = DECODE_CSV, .operation = FRAME_PATCH};
    decode_test_expect("columns not in the header are absent in a patch",
                       span_of_text("k,n,at\na,,5\n"), schema, &patch, "2 patch a|~|?|5");
}

Test(decode_csv, keeps_header_and_raw_records)
{
    const char *body = "k,s,at\r\na,x,5\r\nb,\"y\nz\",?\r\n,\"q\"r,7\r\n";
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    cr_assert_eq(decode_body(span_of_text(body), schema, &csv, &frame, &errors, &err), ERR_OK);
    cr_assert_eq(errors.rejected_kept, 2);
    cr_expect(span_equal_text(errors.csv_header, "k,s,at"));
    cr_expect(span_equal_text(errors.rejected[0].payload, "b,\"y\nz\",?"));
    cr_expect(span_equal_text(errors.rejected[1].payload, ",\"q\"r,7"));
    cr_expect_eq(errors.rejected[1].line, 5);
}

Test(decode_csv, limits_records_and_their_size)
{
    struct decode_options options = {.format = DECODE_CSV, .records_max = 2};
    decode_test_expect("at the limit", span_of_text("k,at\na,1\nb,2\n\n"), schema, &options,
                       "2 upsert a|~|~|1; 3 upsert b|~|~|2");
    decode_test_expect("one over", span_of_text("k,at\na,1\nb,2\nc,3\n"), schema, &options,
                       "too_large: the body has more than 2 records; post it in smaller batches");
    options = (struct decode_options){.format = DECODE_CSV, .record_bytes_max = 5};
    decode_test_expect("record at the limit", span_of_text("k,at\nabc,1\r\n"), schema, &options,
                       "2 upsert abc|~|~|1");
    decode_test_expect("record over", span_of_text("k,at\nabcd,1\r\n"), schema, &options,
                       "too_large: line 2: the record has more than 5 bytes");
}

/* Values of every length, plain and quoted: the sixteen-byte scan stops where it must. */
Test(decode_csv, scans_values_of_every_length)
{
    for (int length = 1; length < 70; length++) {
        for (int quoted = 0; quoted < 2; quoted++) {
            CLEANUP(mem_cleanup) char *value = mem_zeroed((size_t)length + 1, 1);
            memset(value, 'x', (size_t)length);
            CLEANUP(buffer_deinit) struct buffer body;
            CLEANUP(buffer_deinit) struct buffer expected;
            buffer_init(&body, 1 << 12);
            buffer_init(&expected, 1 << 12);
            const char *quote = quoted != 0 ? "\"" : "";
            buffer_append_format(&body, "k,at,s\na,1,%s%s%s\r\n%s,2,y", quote, value, quote, value);
            buffer_append_format(&expected, "2 upsert a|~|%s|1; 3 upsert %s|~|y|2", value, value);
            buffer_append_byte(&expected, 0);
            decode_test_expect("length", buffer_span(&body), schema, &csv,
                               (const char *)expected.data);
        }
    }
}

/* ---- real files --------------------------------------------------------------- */

static const char patients[] =
    "{'schema':{'fields':["
    "{'name':'Id','type':'string','nullable':false,'max_length':36,"
    "'pattern':'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'},"
    "{'name':'BIRTHDATE','type':'date','nullable':false},{'name':'DEATHDATE','type':'date'},"
    "{'name':'SSN','type':'string'},{'name':'DRIVERS','type':'string'},"
    "{'name':'PASSPORT','type':'string'},{'name':'PREFIX','type':'string'},"
    "{'name':'FIRST','type':'string'},{'name':'LAST','type':'string'},"
    "{'name':'SUFFIX','type':'string'},{'name':'MAIDEN','type':'string'},"
    "{'name':'MARITAL','type':'string','enum':['M','S']},{'name':'RACE','type':'string'},"
    "{'name':'ETHNICITY','type':'string'},"
    "{'name':'GENDER','type':'string','nullable':false,'enum':['F','M']},"
    "{'name':'BIRTHPLACE','type':'string'},{'name':'ADDRESS','type':'string'},"
    "{'name':'CITY','type':'string'},{'name':'STATE','type':'string'},"
    "{'name':'COUNTY','type':'string'},{'name':'ZIP','type':'string','format':'zip'},"
    "{'name':'LAT','type':'double','minimum':-90,'maximum':90},"
    "{'name':'LON','type':'double','minimum':-180,'maximum':180},"
    "{'name':'HEALTHCARE_EXPENSES','type':'double','minimum':0},"
    "{'name':'HEALTHCARE_COVERAGE','type':'double','minimum':0}]},"
    "'key':['Id'],'merge':'deletion-vectors'}";

static const char prescriptions[] =
    "{'schema':{'fields':["
    "{'name':'DESYNPUF_ID','type':'string','nullable':false,'pattern':'[0-9A-F]{16}'},"
    "{'name':'PDE_ID','type':'long','nullable':false},{'name':'SRVC_DT','type':'date'},"
    "{'name':'PROD_SRVC_ID','type':'string','format':'ndc11'},"
    "{'name':'QTY_DSPNSD_NUM','type':'decimal(10,3)','minimum':0},"
    "{'name':'DAYS_SUPLY_NUM','type':'integer','minimum':0,'maximum':365},"
    "{'name':'PTNT_PAY_AMT','type':'decimal(9,2)'},{'name':'TOT_RX_CST_AMT','type':'decimal(9,2)'}"
    "]},'key':['PDE_ID'],'merge':'deletion-vectors'}";

static const char members[] =
    "{'schema':{'fields':["
    "{'name':'BENE_ID','type':'string'},"
    "{'name':'BENE_MBI_ID','type':'string','nullable':false,'max_length':11},"
    "{'name':'BENE_LAST_NAME','type':'string'},{'name':'BENE_1ST_NAME','type':'string'},"
    "{'name':'BENE_MIDL_NAME','type':'string','max_length':1},"
    "{'name':'BENE_BRTH_DT','type':'date'},{'name':'BENE_DEATH_DT','type':'date'},"
    "{'name':'BENE_SEX_CD','type':'string'},{'name':'BENE_RACE_CD','type':'string'},"
    "{'name':'BENE_SK','type':'long'},{'name':'BENE_XREF_SK','type':'long'},"
    "{'name':'BENE_XREF_EFCTV_SK','type':'long'}]},"
    "'key':['BENE_MBI_ID'],'merge':'deletion-vectors'}";

/* The file under SLUICE_TEST_DATA, inflated when it is gzip; skips the test loudly without. */
static struct buffer read_test_file(const char *name)
{
    const char *folder = getenv("SLUICE_TEST_DATA");
    if (folder == NULL) {
        /* Criterion keeps the reason of a skipped test to itself */
        (void)fprintf(stderr,
                      "SKIPPED: SLUICE_TEST_DATA is not set, so health/%s was not decoded\n",
                      name); /* best effort */
        cr_skip_test("SLUICE_TEST_DATA is not set");
    }
    CLEANUP(buffer_deinit) struct buffer path;
    buffer_init(&path, 1 << 12);
    buffer_append_format(&path, "%s/health/%s", folder, name);
    buffer_append_byte(&path, 0);
    FILE *file = fopen((const char *)path.data, "rb");
    cr_assert_not_null(file, "%s cannot be opened", (const char *)path.data);
    struct buffer bytes;
    buffer_init(&bytes, 1 << 26);
    size_t got = 0;
    do {
        uint8_t *room = buffer_reserve(&bytes, 1 << 20);
        cr_assert_not_null(room);
        got = fread(room, 1, 1 << 20, file);
        buffer_advance(&bytes, got);
    } while (got > 0);
    (void)fclose(file); /* only read from */
    return bytes;
}

static void decode_real(struct span body, const char *definition, struct frame **frame)
{
    CLEANUP(schema_release) struct schema *table = decode_test_schema(definition);
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    cr_assert_eq(decode_body(body, table, &csv, frame, &errors, &err), ERR_OK, "%s", err.msg);
    frame_check(*frame);
    cr_expect_eq(errors.rejected_count, 0, "%lld rejected, first at line %lld %s: %s",
                 (long long)errors.rejected_count, (long long)errors.items[0].line,
                 errors.items[0].pointer, errors.items[0].message);
}

static int64_t rows_with_non_ascii(const struct frame *frame)
{
    int64_t count = 0;
    for (int64_t row = 0; row < frame->rows_count; row++) {
        bool high = false;
        for (size_t i = 0; i < frame->schema->fields_count; i++) {
            if (frame->columns[i].type == COLUMN_STRING) {
                struct span value = column_bytes(&frame->columns[i], row);
                for (size_t b = 0; b < value.size; b++) {
                    high |= value.data[b] >= 0x80;
                }
            }
        }
        count += high;
    }
    return count;
}

Test(decode_csv, decodes_the_synthea_patients)
{
    CLEANUP(buffer_deinit) struct buffer file = read_test_file("synthea/patients_22948.csv.gz");
    CLEANUP(buffer_deinit) struct buffer plain = {0};
    CLEANUP(frame_free) struct frame *frame = NULL;
    struct err err = {0};
    cr_assert_eq(
        inflate_body(buffer_span(&file), CONTENT_GZIP, 1 << 26, INFLATE_RATIO_MAX, &plain, &err),
        ERR_OK, "%s", err.msg);
    decode_real(buffer_span(&plain), patients, &frame);
    cr_expect_eq(frame->rows_count, 22948);
    cr_expect_eq(frame->columns[20].nulls_count, 10701, "members without ZIP");
    cr_expect_eq(frame->rows_count - frame->columns[2].nulls_count, 2948, "deceased");
}

Test(decode_csv, decodes_the_cms_prescriptions)
{
    CLEANUP(buffer_deinit) struct buffer file = read_test_file("cms_desynpuf/pde.csv");
    CLEANUP(frame_free) struct frame *frame = NULL;
    decode_real(buffer_span(&file), prescriptions, &frame);
    cr_expect_eq(frame->rows_count, 17443);
    int64_t without_days = 0;
    int64_t without_quantity = 0;
    for (int64_t row = 0; row < frame->rows_count; row++) {
        without_quantity += frame->columns[4].values.i128[row] == 0;
        without_days += frame->columns[5].values.i32[row] == 0;
    }
    cr_expect_eq(without_days, 383);
    cr_expect_eq(without_quantity, 750);
}

Test(decode_csv, decodes_the_cms_members)
{
    CLEANUP(buffer_deinit) struct buffer file = read_test_file("cms_bfd/benes.csv");
    CLEANUP(frame_free) struct frame *frame = NULL;
    decode_real(buffer_span(&file), members, &frame);
    cr_expect_eq(frame->rows_count, 21001);
    cr_expect_eq(rows_with_non_ascii(frame), 388,
                 "386 in last and first names, 2 more in middle ones");
    cr_expect(span_equal_text(column_bytes(&frame->columns[2], 2), "Nevárez403"));
}
