/*
 * Actions: decoding what others write, refusing what is broken, and encoding
 * that decodes to the same.
 */
#include "storage/delta/log.h"

#include "storage/base/mem.h"
#include "tests/unit/storage/delta/support.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct delta_commit *decode(const char *text)
{
    const struct delta_commit *commit = NULL;
    struct err err = {0};
    cr_assert_eq(delta_commit_decode(3, span_of_text(text), &commit, &err), ERR_OK, "%s", err.msg);
    return commit;
}

Test(actions, decodes_every_field)
{
    const struct delta_commit *commit = decode(
        "{\"commitInfo\":{\"timestamp\":1,\"operation\":\"MERGE\",\"txnId\":\"t-1\","
        "\"inCommitTimestamp\":77,\"operationParameters\":{\"x\":[1,2]}}}\n"
        "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,\"readerFeatures\":[\"a\"],"
        "\"writerFeatures\":[\"a\",\"b\"]}}\r\n"
        "{\"metaData\":{\"id\":\"i\",\"format\":{\"provider\":\"parquet\",\"options\":{\"o\":\"p\"}"
        "},"
        "\"schemaString\":\"{}\",\"partitionColumns\":[\"c\"],\"configuration\":{\"k\":\"v\","
        "\"unknown.key\":\"kept\"},\"createdTime\":5}}\n"
        "\n"
        "{\"add\":{\"path\":\"a%20b\",\"partitionValues\":{\"c\":null,\"d\":\"1\"},\"size\":12,"
        "\"modificationTime\":6,\"dataChange\":false,\"stats\":\"{\\\"numRecords\\\":7}\","
        "\"tags\":{\"t\":\"u\"},\"baseRowId\":9,\"defaultRowCommitVersion\":2,"
        "\"clusteringProvider\":\"liquid\",\"newField\":[{}],"
        "\"deletionVector\":{\"storageType\":\"u\",\"pathOrInlineDv\":\"xyz\",\"offset\":4,"
        "\"sizeInBytes\":40,\"cardinality\":6}}}\n"
        "{\"remove\":{\"path\":\"gone\",\"deletionTimestamp\":8,\"dataChange\":true,"
        "\"extendedFileMetadata\":true,\"partitionValues\":{},\"size\":3}}\n"
        "{\"txn\":{\"appId\":\"app\",\"version\":41,\"lastUpdated\":2}}\n"
        "{\"domainMetadata\":{\"domain\":\"d\",\"configuration\":\"{}\",\"removed\":true}}\n"
        "{\"cdc\":{\"path\":\"c\",\"partitionValues\":{},\"size\":1,\"dataChange\":false}}\n"
        "{\"someFutureAction\":{\"x\":1}}\n"
        "{\"txn\":null}");
    cr_expect_eq(commit->version, 3);
    cr_expect_str_eq(commit->txn_id, "t-1");
    cr_expect_eq(commit->in_commit_timestamp_ms, 77);
    cr_expect_eq(commit->protocol->reader_version, 3);
    cr_expect_str_eq(commit->protocol->writer_features[1], "b");
    cr_expect_str_eq(commit->metadata->id, "i");
    cr_expect_str_eq(commit->metadata->partition_columns[0], "c");
    cr_expect_str_eq(delta_metadata_property(commit->metadata, "unknown.key"), "kept");
    cr_expect_str_eq(commit->metadata->format_options[0].value, "p");
    cr_assert_eq(commit->files_count, 2);
    const struct delta_file *add = commit->files[0];
    bool found = false;
    cr_expect_str_eq(add->path, "a%20b");
    cr_expect_null(delta_file_partition_value(add, "c", &found));
    cr_expect(found);
    cr_expect_str_eq(delta_file_partition_value(add, "d", &found), "1");
    cr_expect_str_eq(delta_file_tag(add, "t"), "u");
    cr_expect_eq(add->rows_count, 7);
    cr_expect_eq(delta_file_live_rows(add), 1);
    cr_expect_eq(add->base_row_id, 9);
    cr_expect_eq(add->dv.offset, 4);
    cr_expect_not(add->data_change);
    cr_expect(commit->files[1]->removed);
    cr_expect_eq(commit->files[1]->deleted_ms, 8);
    cr_expect_eq(commit->txns[0]->version, 41);
    cr_expect(commit->domains[0]->removed);
    cr_assert_eq(commit->change_files_count, 1);
    cr_expect_str_eq(commit->change_files[0]->path, "c");
    cr_expect_eq(commit->change_files[0]->size, 1);
    delta_commit_release(&commit);
}

Test(actions, commit_info_is_kept_as_it_was_written)
{
    static const struct {
        const char *line;
        const char *info; /* NULL: there is none */
        const char *txn_id;
        int64_t in_commit_timestamp_ms;
    } cases[] = {
        {"{\"commitInfo\":{\"txnId\":\"t\",\"inCommitTimestamp\":5}}",
         "{\"txnId\":\"t\",\"inCommitTimestamp\":5}", "t", 5},
        {" { \"\\u0063ommitInfo\" : { \"n\": 12345678901234567890.10 } } ",
         "{ \"n\": 12345678901234567890.10 }", NULL, -1},
        {"{\"txn\":{\"appId\":\"a\",\"version\":1},\"commitInfo\":{\"txnId\":7}}", "{\"txnId\":7}",
         NULL, -1},
        {"{\"commitInfo\":{}}\n{\"commitInfo\":{\"txnId\":\"second\"}}", "{}", NULL, -1},
        {"{\"commitInfo\":null}", NULL, NULL, -1},
        {"{\"commitInfo\":[]}", NULL, NULL, -1},
        {"{\"txn\":{\"appId\":\"commitInfo\",\"version\":1}}", NULL, NULL, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct delta_commit *commit = decode(cases[i].line);
        CLEANUP(json_free) struct json *info = NULL;
        struct err err = {0};
        cr_expect(cases[i].info == NULL ? commit->info == NULL
                                        : strcmp(commit->info, cases[i].info) == 0,
                  "%s", cases[i].line);
        cr_expect(cases[i].txn_id == NULL ? commit->txn_id == NULL
                                          : strcmp(commit->txn_id, cases[i].txn_id) == 0,
                  "%s", cases[i].line);
        cr_expect_eq(commit->in_commit_timestamp_ms, cases[i].in_commit_timestamp_ms);
        cr_expect_eq(delta_commit_info(commit, &info, &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(info != NULL, cases[i].info != NULL);
        delta_commit_release(&commit);
    }
}

Test(actions, refuses_broken_lines_and_names_them)
{
    static const struct {
        const char *line;
        const char *named;
    } cases[] = {
        {"{", "line 2"},
        {"[]", "no object"},
        {"{\"add\":1}", "add is no object"},
        {"{\"add\":{\"size\":1}}", "add.path"},
        {"{\"add\":{\"path\":\"\",\"size\":1}}", "add.path"},
        {"{\"add\":{\"path\":7,\"size\":1}}", "add.path"},
        {"{\"add\":{\"path\":\"a\"}}", "add.size"},
        {"{\"add\":{\"path\":\"a\",\"size\":-4}}", "add.size"},
        {"{\"add\":{\"path\":\"a\",\"size\":\"4\"}}", "add.size"},
        {"{\"add\":{\"path\":\"a\",\"size\":1,\"partitionValues\":{\"x\":1}}}", "partitionValues"},
        {"{\"add\":{\"path\":\"a\",\"size\":1,\"dataChange\":\"yes\"}}", "dataChange"},
        {"{\"add\":{\"path\":\"a\\u0000b\",\"size\":1}}", "line 2"},
        {"{\"add\":{\"path\":\"a\",\"size\":1,\"deletionVector\":{\"storageType\":\"z\","
         "\"pathOrInlineDv\":\"\",\"sizeInBytes\":1,\"cardinality\":1}}}",
         "storageType"},
        {"{\"add\":{\"path\":\"a\",\"size\":1,\"deletionVector\":{\"storageType\":\"u\","
         "\"pathOrInlineDv\":\"x\",\"sizeInBytes\":4294967296,\"cardinality\":1}}}",
         "deletionVector"},
        {"{\"add\":{\"path\":\"a\",\"size\":1,\"deletionVector\":{\"storageType\":\"u\","
         "\"pathOrInlineDv\":\"x\",\"sizeInBytes\":1}}}",
         "negative"},
        {"{\"remove\":{\"path\":null}}", "remove.path"},
        {"{\"txn\":{\"appId\":\"a\"}}", "txn lacks"},
        {"{\"protocol\":{\"minReaderVersion\":1}}", "protocol"},
        {"{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,\"readerFeatures\":[1]}}",
         "readerFeatures"},
        {"{\"metaData\":{\"schemaString\":\"{}\"}}", "metaData.id"},
        {"{\"metaData\":{\"id\":\"i\"}}", "schemaString"},
        {"{\"metaData\":{\"id\":\"i\",\"schemaString\":\"{}\",\"configuration\":{\"a\":true}}}",
         "configuration"},
        {"{\"sidecar\":{\"path\":\"../x\"}}", "sidecar"},
        {"{\"domainMetadata\":{\"configuration\":\"\"}}", "domainMetadata"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(buffer_deinit) struct buffer text = {0};
        const struct delta_commit *commit = NULL;
        struct err err = {0};
        buffer_init(&text, 10000);
        buffer_append_format(&text, "{\"commitInfo\":{}}\n%s\n", cases[i].line);
        cr_expect_eq(delta_commit_decode(0, buffer_span(&text), &commit, &err), ERR_CORRUPT, "%s",
                     cases[i].line);
        cr_expect_not_null(strstr(err.msg, cases[i].named), "%s: '%s'", cases[i].line, err.msg);
        cr_expect_not_null(strstr(err.msg, "line 2"), "%s", err.msg);
    }
}

Test(actions, encoding_decodes_to_the_same_bytes)
{
    static const char lines[] =
        "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}\n"
        "{\"metaData\":{\"id\":\"i\",\"name\":\"n \\\"q\\\"\",\"format\":{\"provider\":\"parquet\","
        "\"options\":{}},\"schemaString\":\"{}\",\"partitionColumns\":[],\"configuration\":"
        "{\"a\":\"b\"},\"createdTime\":5}}\n"
        "{\"txn\":{\"appId\":\"app\",\"version\":-3}}\n"
        "{\"domainMetadata\":{\"domain\":\"d\",\"configuration\":\"{}\",\"removed\":false}}\n"
        "{\"add\":{\"path\":\"a\",\"partitionValues\":{\"p\":null},\"size\":12,"
        "\"modificationTime\":6,\"dataChange\":true,\"stats\":\"{\\\"numRecords\\\":7}\","
        "\"tags\":{\"t\":null},\"deletionVector\":{\"storageType\":\"i\",\"pathOrInlineDv\":\"<&>"
        "\","
        "\"sizeInBytes\":40,\"cardinality\":6},\"baseRowId\":0}}\n"
        "{\"remove\":{\"path\":\"a\",\"deletionTimestamp\":8,\"dataChange\":true,"
        "\"extendedFileMetadata\":true,\"partitionValues\":{\"p\":\"ü\"},\"size\":12}}\n";
    const struct delta_commit *commit = decode(lines);
    CLEANUP(buffer_deinit) struct buffer text = {0};
    buffer_init(&text, 10000);
    delta_protocol_encode(commit->protocol, &text);
    delta_metadata_encode(commit->metadata, &text);
    delta_txn_encode(commit->txns[0], &text);
    delta_domain_encode(commit->domains[0], &text);
    delta_file_encode(commit->files[0], &text);
    delta_file_encode(commit->files[1], &text);
    cr_expect(span_equal_text(buffer_span(&text), lines), "%.*s", SPAN_PRINT(text));
    delta_commit_release(&commit);
}

Test(actions, log_names)
{
    static const struct {
        const char *name;
        int64_t version; /* -1 = no commit */
    } cases[] = {
        {"_delta_log/00000000000000000000.json", 0},
        {"_delta_log/00000000000000012345.json", 12345},
        {"_delta_log/09223372036854775807.json", INT64_MAX},
        {"_delta_log/09223372036854775808.json", -1},
        {"_delta_log/0000000000000000001.json", -1},
        {"_delta_log/00000000000000000001.jso", -1},
        {"_delta_log/00000000000000000001.json.tmp", -1},
        {"_delta_log/00000000000000000001.checkpoint.parquet", -1},
        {"00000000000000000001.json", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t version = -1;
        bool good = delta_log_parse_commit(cases[i].name, &version);
        cr_expect_eq(good, cases[i].version >= 0, "%s", cases[i].name);
        if (good) {
            char name[DELTA_LOG_NAME_BYTES];
            delta_log_commit_name(version, name);
            cr_expect_eq(version, cases[i].version);
            cr_expect_str_eq(name, cases[i].name);
        }
    }
}

#define INVARIANT_SCHEMA(text)                                                                     \
    "{\"type\":\"struct\",\"fields\":[{\"name\":\"a\",\"type\":\"long\",\"nullable\":true,"        \
    "\"metadata\":"                                                                                \
    "{\"delta.invariants\":\"{\\\"expression\\\":{\\\"expression\\\":\\\"" text "\\\"}}\"}}]}"

Test(actions, the_gates_name_what_is_missing)
{
    static const struct {
        const char *name;
        int reader, writer;
        const char *reader_feature, *writer_feature;
        const char *mapping; /* delta.columnMapping.mode */
        const char *schema;
        const char *refuses_read, *refuses_write; /* text of the message; NULL = allowed */
    } cases[] = {
        {"plain", 1, 2, NULL, NULL, NULL, "{}", NULL, NULL},
        {"old writer", 1, 1, NULL, NULL, NULL, "{}", NULL, NULL},
        {"legacy, nothing in use", 1, 6, NULL, NULL, NULL, "{}", NULL, NULL},
        {"legacy generated", 1, 4, NULL, NULL, NULL,
         "{\"metadata\":{\"delta.generationExpression\":\"x\"}}", NULL, "generatedColumns"},
        {"legacy identity", 1, 6, NULL, NULL, NULL, "{\"metadata\":{\"delta.identity.start\":1}}",
         NULL, "identityColumns"},
        {"older than what it holds", 1, 3, NULL, NULL, NULL,
         "{\"metadata\":{\"delta.generationExpression\":\"x\"}}", NULL, NULL},
        {"change feed", 1, 7, NULL, "changeDataFeed", NULL, "{}", NULL, NULL},
        {"mapping on", 2, 5, NULL, NULL, "name", "{}", NULL, NULL},
        {"mapping on, by id", 3, 7, "columnMapping", "appendOnly", "id", "{}", NULL, NULL},
        {"mapping of nobody", 2, 5, NULL, NULL, "index", "{}", "columnMapping.mode",
         "columnMapping.mode"},
        {"mapping off", 2, 5, NULL, NULL, "none", "{}", NULL, NULL},
        {"vectors", 3, 7, "deletionVectors", "deletionVectors", NULL, "{}", NULL, NULL},
        {"append only", 3, 7, NULL, "appendOnly", NULL, "{}", NULL, NULL},
        {"row tracking", 3, 7, NULL, "rowTracking", NULL, "{}", NULL, "rowTracking"},
        {"v2", 3, 7, "v2Checkpoint", "v2Checkpoint", NULL, "{}", NULL, "v2Checkpoint"},
        {"stranger", 3, 7, "hyperspace", "deletionVectors", NULL, "{}", "hyperspace", "hyperspace"},
        {"catalog", 3, 7, "catalogManaged", NULL, NULL, "{}", "catalogManaged", "catalogManaged"},
        {"listed mapping", 3, 7, "columnMapping", "columnMapping", NULL, "{}", NULL, NULL},
        {"reader 4", 4, 7, NULL, NULL, NULL, "{}", "version 4", "version 4"},
        {"writer 8", 1, 8, NULL, NULL, NULL, "{}", NULL, "version 8"},
        {"invariants in use", 1, 2, NULL, NULL, NULL, INVARIANT_SCHEMA("a > 3"), NULL, NULL},
        {"invariants unknown", 1, 2, NULL, NULL, NULL, INVARIANT_SCHEMA("f(a)"), NULL,
         "the invariant of column a (f(a)) cannot be evaluated: byte 1: a function"},
        {"invariants in another form", 1, 2, NULL, NULL, NULL,
         "{\"type\":\"struct\",\"fields\":[{\"name\":\"a\",\"type\":\"long\",\"nullable\":true,"
         "\"metadata\":{\"delta.invariants\":\"a > 3\"}}]}",
         NULL, "in a form that is not known"},
        {"checks", 1, 7, NULL, "checkConstraints", NULL, "{}", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *readers[] = {cases[i].reader_feature};
        const char *writers[] = {cases[i].writer_feature};
        const struct delta_protocol protocol = {.reader_version = cases[i].reader,
                                                .writer_version = cases[i].writer,
                                                .reader_features = readers,
                                                .reader_features_count = readers[0] != NULL,
                                                .writer_features = writers,
                                                .writer_features_count = writers[0] != NULL};
        const struct delta_pair mode = {"delta.columnMapping.mode", cases[i].mapping};
        const struct delta_metadata metadata = {.id = "i",
                                                .schema_string = cases[i].schema,
                                                .configuration = &mode,
                                                .configuration_count = cases[i].mapping != NULL};
        struct err reading = {0};
        struct err writing = {0};
        enum err_code read = delta_protocol_check_read(&protocol, &metadata, &reading);
        enum err_code write = delta_protocol_check_write(&protocol, &metadata, &writing);
        cr_expect_eq(read, cases[i].refuses_read != NULL ? ERR_UNSUPPORTED : ERR_OK, "%s",
                     cases[i].name);
        cr_expect_eq(write, cases[i].refuses_write != NULL ? ERR_UNSUPPORTED : ERR_OK, "%s",
                     cases[i].name);
        cr_expect(cases[i].refuses_read == NULL || strstr(reading.msg, cases[i].refuses_read),
                  "%s: %s", cases[i].name, reading.msg);
        cr_expect(cases[i].refuses_write == NULL || strstr(writing.msg, cases[i].refuses_write),
                  "%s: %s", cases[i].name, writing.msg);
    }
}

Test(actions, constraints_are_those_we_can_evaluate)
{
    const struct delta_protocol protocol = {.reader_version = 1, .writer_version = 3};
    struct delta_pair constraint = {"delta.constraints.adult", "age > 17"};
    const struct delta_metadata metadata = {
        .id = "i",
        .schema_string = "{\"type\":\"struct\",\"fields\":[{\"name\":\"age\",\"type\":\"integer\","
                         "\"nullable\":true,\"metadata\":{}}]}",
        .configuration = &constraint,
        .configuration_count = 1};
    struct err err = {0};
    cr_expect_eq(delta_protocol_check_write(&protocol, &metadata, &err), ERR_OK, "%s", err.msg);
    constraint.value = "abs(age) > 17";
    cr_expect_eq(delta_protocol_check_write(&protocol, &metadata, &err), ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.msg, "constraint adult (abs(age) > 17) cannot be evaluated"),
                       "%s", err.msg);
}

/* As the log would have it. */
static void expect_protocol(const struct delta_protocol *protocol, const char *expected,
                            const char *when)
{
    CLEANUP(buffer_deinit) struct buffer line;
    buffer_init(&line, 1 << 16);
    delta_protocol_encode(protocol, &line);
    buffer_append_byte(&line, '\0');
    cr_expect_str_eq((const char *)line.data, expected, "%s", when);
}

Test(actions, protocols_grow_no_further_than_needed)
{
    static const char *mapping[] = {"columnMapping"};
    static const char *rows[] = {"rowTracking", "appendOnly"};
    static const struct {
        const char *name;
        struct delta_protocol from;
        unsigned needs;
        const char *to;
    } cases[] = {
        {"nothing",
         {.reader_version = 1, .writer_version = 2},
         0,
         "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}\n"},
        {"a feed",
         {.reader_version = 1, .writer_version = 2},
         DELTA_NEEDS_CHANGE_FEED,
         "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":7,\"writerFeatures\":"
         "[\"appendOnly\",\"invariants\",\"changeDataFeed\"]}}\n"},
        {"allowed already",
         {.reader_version = 1, .writer_version = 4},
         DELTA_NEEDS_CHANGE_FEED,
         "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":4}}\n"},
        {"both",
         {.reader_version = 1, .writer_version = 2},
         DELTA_NEEDS_CHANGE_FEED | DELTA_NEEDS_DELETION_VECTORS,
         "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,\"readerFeatures\":"
         "[\"deletionVectors\"],\"writerFeatures\":[\"appendOnly\",\"invariants\","
         "\"deletionVectors\",\"changeDataFeed\"]}}\n"},
        {"of a mapped table",
         {.reader_version = 2, .writer_version = 5},
         DELTA_NEEDS_DELETION_VECTORS,
         "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,\"readerFeatures\":"
         "[\"columnMapping\",\"deletionVectors\"],\"writerFeatures\":[\"appendOnly\","
         "\"invariants\",\"checkConstraints\",\"changeDataFeed\",\"generatedColumns\","
         "\"columnMapping\",\"deletionVectors\"]}}\n"},
        {"listed ones stay",
         {.reader_version = 3,
          .writer_version = 7,
          .reader_features = mapping,
          .reader_features_count = 1,
          .writer_features = rows,
          .writer_features_count = 2},
         DELTA_NEEDS_CHANGE_FEED,
         "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,\"readerFeatures\":"
         "[\"columnMapping\"],\"writerFeatures\":[\"rowTracking\",\"appendOnly\","
         "\"changeDataFeed\"]}}\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(delta_protocol_release)
        const struct delta_protocol *protocol =
            delta_protocol_extend(&cases[i].from, cases[i].needs);
        expect_protocol(protocol, cases[i].to, cases[i].name);
        cr_expect(delta_protocol_meets(protocol, cases[i].needs), "%s", cases[i].name);
    }
}

Test(actions, change_files_without_a_path_are_refused)
{
    struct err err = {0};
    const struct delta_commit *commit = NULL;
    cr_expect_eq(delta_commit_decode(1, span_of_text("{\"cdc\":{\"size\":1}}\n"), &commit, &err),
                 ERR_CORRUPT);
    cr_expect_not_null(strstr(err.msg, "cdc.path is missing"), "%s", err.msg);
}

Test(actions, intervals)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1 = unreadable */
    } cases[] = {
        {"interval 7 days", 604800000},
        {"interval 1 week", 604800000},
        {"INTERVAL 2 Hours 30 MINUTES", 9000000},
        {"30 days", 2592000000},
        {"interval 1500 milliseconds", 1500},
        {"interval 0 seconds", 0},
        {"interval 1 month", -1},
        {"interval", -1},
        {"", -1},
        {"interval 5", -1},
        {"interval -1 days", -1},
        {"interval 99999999999999 weeks", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct delta_pair pair = {"p", cases[i].text};
        const struct delta_metadata metadata = {.configuration = &pair, .configuration_count = 1};
        cr_expect_eq(delta_metadata_interval_ms(&metadata, "p", -1), cases[i].ms, "%s",
                     cases[i].text);
    }
}
