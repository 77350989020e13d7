/*
 * What a task may hold, by type. Defaults stand here and in the contract;
 * definition_rules.h says how to read the tables.
 */
#include "storage/columns/expectation.h"
#include "storage/jobs/definition_rules.h"

#include <assert.h>
#include <string.h>

enum {
    FILTERS_MAX = 64,
    PIECE_RECORDS_MAX = 1000000,
    RETENTION_SECONDS_MAX = 10 * 365 * 86400,
    OPERAND_BYTES_MAX = 10000,
};

/* ---- expectations: storage/columns knows them ---- */

static void look_at_expectation(struct normalizer *normalizer, const struct json *element,
                                enum expectations_use use)
{
    struct err err = {0};
    bool later = !normalizer->expanded && rule_has_reference(element);
    if (later || expectation_check(element, use, &err) == ERR_OK) {
        return;
    }
    const char *colon = strstr(err.msg, ": "); /* "/minimum: must be …" */
    size_t place = colon != NULL ? (size_t)(colon - err.msg) : 0;
    size_t size = normalizer->pointer.size;
    buffer_append(&normalizer->pointer, err.msg, place);
    normalizer_tell(normalizer, NULL, "expectation", "%s", colon != NULL ? colon + 2 : err.msg);
    normalizer->pointer.size = size;
}

static void look_at_row_expectation(struct normalizer *normalizer, const struct json *element)
{
    look_at_expectation(normalizer, element, EXPECTATIONS_OF_ROWS);
}

static void look_at_table_expectation(struct normalizer *normalizer, const struct json *element)
{
    look_at_expectation(normalizer, element, EXPECTATIONS_OF_TABLE);
}

static const struct field_rule row_expectation_item = {"", RULE_ANY, .flags = RULE_TEMPLATE,
                                                       .look = look_at_row_expectation};
static const struct field_rule table_expectation_item = {"", RULE_ANY, .flags = RULE_TEMPLATE,
                                                         .look = look_at_table_expectation};

/* Each is right alone; together their names must differ. */
static void check_expectation_names(struct normalizer *normalizer, const struct json *given,
                                    enum expectations_use use)
{
    const struct json *list = json_get(given, "expectations");
    CLEANUP(expectations_free) struct expectations *expectations = NULL;
    struct err err = {0};
    bool alone = true;
    for (size_t i = 0; i < json_count(list); i++) {
        struct err ignored = {0};
        alone = alone && (normalizer->expanded || !rule_has_reference(json_at(list, i))) &&
                expectation_check(json_at(list, i), use, &ignored) == ERR_OK;
    }
    if (alone && json_kind(list) == JSON_KIND_ARRAY &&
        json_count(list) <= DEFINITION_EXPECTATIONS_MAX &&
        expectations_parse(list, use, &expectations, &err) != ERR_OK) {
        normalizer_tell(normalizer, "expectations", "expectation", "%s", err.msg);
    }
}

static void check_ingest(struct normalizer *normalizer, const struct json *given)
{
    check_expectation_names(normalizer, given, EXPECTATIONS_OF_ROWS);
}

static void check_check(struct normalizer *normalizer, const struct json *given)
{
    check_expectation_names(normalizer, given, EXPECTATIONS_OF_TABLE);
}

/* ---- bodies ---- */

static const struct object_rule ingest_rule = {
    RULE_FIELDS(RULE_TABLE(RULE_REQUIRED),
                {"operation", RULE_CHOICE, .fallback = "\"upsert\"",
                 .choices = RULE_CHOICES({"upsert", NULL}, {"patch", NULL}, {"insert", NULL},
                                         {"delete", NULL})},
                {"handling", RULE_CHOICE, .fallback = "\"lenient\"",
                 .choices = RULE_CHOICES({"lenient", NULL}, {"strict", NULL})},
                {"piece_records", RULE_INTEGER, .minimum = 1, .maximum = PIECE_RECORDS_MAX,
                 .fallback = "100000"},
                {"expectations", RULE_ARRAY, .items = &row_expectation_item,
                 .maximum = DEFINITION_EXPECTATIONS_MAX},
                {"source", RULE_OBJECT, .flags = RULE_REQUIRED, .object = &definition_source_rule}),
    .check = check_ingest,
};

static const struct object_rule check_rule = {
    RULE_FIELDS(RULE_TABLE(RULE_REQUIRED),
                {"scope", RULE_CHOICE, .fallback = "\"table\"",
                 .choices = RULE_CHOICES({"table", NULL}, {"run", NULL})},
                {"expectations", RULE_ARRAY, .flags = RULE_REQUIRED,
                 .items = &table_expectation_item, .minimum = 1,
                 .maximum = DEFINITION_EXPECTATIONS_MAX}),
    .check = check_check,
};

static const struct field_rule operand_item = {"", RULE_SCALAR, .flags = RULE_TEMPLATE,
                                               .maximum = OPERAND_BYTES_MAX};

static bool is_text(const char *text, const char *word)
{
    return text != NULL && strcmp(text, word) == 0;
}

static void check_filter(struct normalizer *normalizer, const struct json *given)
{
    const char *name = json_text(json_get(given, "operator"));
    bool list = is_text(name, "in");
    bool one = !list && !is_text(name, "is_null") && !is_text(name, "not_null");
    if (name != NULL &&
        ((rule_has(given, "value")) != one || (rule_has(given, "values")) != list)) {
        normalizer_tell(normalizer, NULL, "not_allowed",
                        "is_null and not_null take no value, in takes values, and every other "
                        "operator takes value");
    }
}

static const struct object_rule filter_rule = {
    RULE_FIELDS(RULE_COLUMN(RULE_REQUIRED),
                {"operator", RULE_CHOICE, .flags = RULE_REQUIRED,
                 .choices = RULE_CHOICES({"eq", NULL}, {"ne", NULL}, {"lt", NULL}, {"le", NULL},
                                         {"gt", NULL}, {"ge", NULL}, {"in", NULL},
                                         {"is_null", NULL}, {"not_null", NULL})},
                {"value", RULE_SCALAR, .flags = RULE_TEMPLATE, .maximum = OPERAND_BYTES_MAX},
                {"values", RULE_ARRAY, .flags = RULE_TEMPLATE, .items = &operand_item, .minimum = 1,
                 .maximum = 1000}),
    .check = check_filter,
};
static const struct field_rule filter_item = {"", RULE_OBJECT, .object = &filter_rule};

static void check_export(struct normalizer *normalizer, const struct json *given)
{
    if (rule_has(given, "version") && rule_has(given, "timestamp")) {
        normalizer_tell(normalizer, "timestamp", "not_allowed", "give either version or timestamp");
    }
}

static const struct object_rule export_rule = {
    RULE_FIELDS(RULE_TABLE(RULE_REQUIRED), {"version", RULE_INTEGER, .flags = RULE_TEMPLATE},
                {"timestamp", RULE_STRING, .flags = RULE_TEMPLATE, .minimum = 1, .maximum = 64},
                RULE_COLUMNS(0),
                {"filters", RULE_ARRAY, .items = &filter_item, .maximum = FILTERS_MAX},
                {"format", RULE_CHOICE, .fallback = "\"ndjson\"",
                 .choices = RULE_CHOICES({"ndjson", NULL}, {"csv", NULL}, {"parquet", NULL})},
                {"compression", RULE_CHOICE, .fallback = "\"none\"",
                 .choices = RULE_CHOICES({"none", NULL}, {"gzip", NULL}, {"zstd", NULL})},
                {"destination", RULE_OBJECT, .flags = RULE_REQUIRED,
                 .object = &definition_destination_rule}),
    .check = check_export,
};

enum { SORT_COLUMNS_MAX = 16 };

static const struct object_rule optimize_rule = {
    RULE_FIELDS(RULE_TABLE(RULE_REQUIRED),
                {"sort_by", RULE_ARRAY, .flags = RULE_TEMPLATE | RULE_UNIQUE,
                 .items = &definition_column_item, .minimum = 1, .maximum = SORT_COLUMNS_MAX}),
};

static const struct object_rule vacuum_rule = {
    RULE_FIELDS(RULE_TABLE(RULE_REQUIRED),
                {"retention_seconds", RULE_INTEGER, .flags = RULE_TEMPLATE,
                 .maximum = RETENTION_SECONDS_MAX, .fallback = "604800"},
                {"dry_run", RULE_BOOLEAN, .flags = RULE_TEMPLATE, .fallback = "false"}),
};

static void check_restore(struct normalizer *normalizer, const struct json *given)
{
    if (rule_has(given, "version") == rule_has(given, "timestamp")) {
        normalizer_tell(normalizer, "version", "required",
                        "give either version or timestamp, of what is to come back");
    }
}

static const struct object_rule restore_rule = {
    RULE_FIELDS(RULE_TABLE(RULE_REQUIRED),
                {"version", RULE_INTEGER, .flags = RULE_TEMPLATE, .maximum = INT64_MAX},
                {"timestamp", RULE_STRING, .flags = RULE_TEMPLATE, .minimum = 1, .maximum = 64}),
    .check = check_restore,
};

const struct rule_choice definition_condition_choices[] = {
    [CONDITION_EQUAL_TO] = {"EQUAL_TO", NULL},
    [CONDITION_NOT_EQUAL] = {"NOT_EQUAL", NULL},
    [CONDITION_GREATER_THAN] = {"GREATER_THAN", NULL},
    [CONDITION_GREATER_THAN_OR_EQUAL] = {"GREATER_THAN_OR_EQUAL", NULL},
    [CONDITION_LESS_THAN] = {"LESS_THAN", NULL},
    [CONDITION_LESS_THAN_OR_EQUAL] = {"LESS_THAN_OR_EQUAL", NULL},
    [CONDITION_OP_COUNT] = {NULL, NULL},
};

static const struct object_rule condition_rule = {
    RULE_FIELDS(
        {"op", RULE_CHOICE, .flags = RULE_REQUIRED, .choices = definition_condition_choices},
        {"left", RULE_SCALAR, .flags = RULE_REQUIRED | RULE_TEMPLATE, .maximum = OPERAND_BYTES_MAX},
        {"right", RULE_SCALAR, .flags = RULE_REQUIRED | RULE_TEMPLATE,
         .maximum = OPERAND_BYTES_MAX}),
};

static const struct field_rule parameter_value_item = {"", RULE_SCALAR, .flags = RULE_TEMPLATE,
                                                       .maximum = DEFINITION_PARAMETER_BYTES_MAX};

static const struct object_rule run_job_rule = {
    RULE_FIELDS(
        {"job_id", RULE_INTEGER, .flags = RULE_REQUIRED, .minimum = 1, .maximum = INT64_MAX},
        {"job_parameters", RULE_MAP, .flags = RULE_KEY, .items = &parameter_value_item,
         .maximum = DEFINITION_PARAMETERS_MAX}),
};

/* ---- tasks ---- */

/* A type, and the one member that comes with it. */
#define BODY(name_, rule_)                                                                         \
    {                                                                                              \
        name_, &(const struct object_rule)                                                         \
        {                                                                                          \
            RULE_FIELDS({name_, RULE_OBJECT, .flags = RULE_REQUIRED, .object = &(rule_)})          \
        }                                                                                          \
    }

#define EVERY_TASK                                                                                 \
    {"task_key", RULE_STRING, .flags = RULE_REQUIRED | RULE_KEY},                                  \
        {"description", RULE_STRING, .maximum = DEFINITION_DESCRIPTION_BYTES_MAX},                 \
        {"max_retries", RULE_INTEGER, .minimum = -1, .maximum = DEFINITION_RETRIES_MAX,            \
         .fallback = "0"},                                                                         \
        {"min_retry_interval_millis", RULE_INTEGER, .maximum = DEFINITION_RETRY_INTERVAL_MS_MAX,   \
         .fallback = "0"},                                                                         \
        {"retry_on_timeout", RULE_BOOLEAN, .fallback = "false"},                                   \
        {"timeout_seconds", RULE_INTEGER, .maximum = DEFINITION_TIMEOUT_SECONDS_MAX,               \
         .fallback = "0"},                                                                         \
    {                                                                                              \
        "pool", RULE_STRING, .flags = RULE_KEY, .fallback = "\"default\""                          \
    }

/* Run for each input: no dependencies of its own, and nothing that only branches. */
static const struct object_rule inner_task_rule = {
    RULE_FIELDS(EVERY_TASK),
    .selector = "type",
    .selector_code = "unknown_type",
    .variants =
        (const struct rule_variant[]){
            BODY("ingest", ingest_rule),
            BODY("check", check_rule),
            BODY("export", export_rule),
            BODY("optimize", optimize_rule),
            BODY("vacuum", vacuum_rule),
            BODY("restore", restore_rule),
            BODY("http_request", definition_http_request_rule),
            BODY("run_job", run_job_rule),
            {NULL, NULL},
        },
};

static const struct field_rule input_item = {"", RULE_ANY, .flags = RULE_TEMPLATE};

static const struct object_rule for_each_rule = {
    RULE_FIELDS({"inputs", RULE_ARRAY, .flags = RULE_REQUIRED | RULE_TEMPLATE, .items = &input_item,
                 .maximum = DEFINITION_FOR_EACH_INPUTS_MAX},
                {"concurrency", RULE_INTEGER, .minimum = 1,
                 .maximum = DEFINITION_FOR_EACH_CONCURRENCY_MAX, .fallback = "1"},
                {"task", RULE_OBJECT, .flags = RULE_REQUIRED, .object = &inner_task_rule}),
};

const struct rule_choice definition_run_if_choices[] = {
    [RUN_IF_ALL_SUCCESS] = {"ALL_SUCCESS", NULL},
    [RUN_IF_AT_LEAST_ONE_SUCCESS] = {"AT_LEAST_ONE_SUCCESS", NULL},
    [RUN_IF_NONE_FAILED] = {"NONE_FAILED", NULL},
    [RUN_IF_ALL_DONE] = {"ALL_DONE", NULL},
    [RUN_IF_AT_LEAST_ONE_FAILED] = {"AT_LEAST_ONE_FAILED", NULL},
    [RUN_IF_ALL_FAILED] = {"ALL_FAILED", NULL},
    [RUN_IF_COUNT] = {NULL, NULL},
};

static const struct object_rule dependency_rule = {
    RULE_FIELDS({"task_key", RULE_STRING, .flags = RULE_REQUIRED | RULE_KEY},
                {"outcome", RULE_CHOICE, .choices = RULE_CHOICES({"true", NULL}, {"false", NULL})}),
};
static const struct field_rule dependency_item = {"", RULE_OBJECT, .object = &dependency_rule};

const struct object_rule definition_task_rule = {
    RULE_FIELDS(EVERY_TASK,
                {"depends_on", RULE_ARRAY, .items = &dependency_item,
                 .maximum = DEFINITION_DEPENDENCIES_MAX},
                {"run_if", RULE_CHOICE, .choices = definition_run_if_choices,
                 .fallback = "\"ALL_SUCCESS\""},
                {"disabled", RULE_BOOLEAN, .fallback = "false"}),
    .selector = "type",
    .selector_code = "unknown_type",
    .variants =
        (const struct rule_variant[]){
            BODY("ingest", ingest_rule),
            BODY("check", check_rule),
            BODY("export", export_rule),
            BODY("optimize", optimize_rule),
            BODY("vacuum", vacuum_rule),
            BODY("restore", restore_rule),
            BODY("http_request", definition_http_request_rule),
            BODY("condition", condition_rule),
            BODY("for_each", for_each_rule),
            BODY("run_job", run_job_rule),
            {NULL, NULL},
        },
};

const struct object_rule *definition_body_rule(enum job_task_type type)
{
    static const struct object_rule *const rules[JOB_TASK_TYPE_COUNT] = {
        [JOB_TASK_INGEST] = &ingest_rule,
        [JOB_TASK_CHECK] = &check_rule,
        [JOB_TASK_EXPORT] = &export_rule,
        [JOB_TASK_OPTIMIZE] = &optimize_rule,
        [JOB_TASK_VACUUM] = &vacuum_rule,
        [JOB_TASK_RESTORE] = &restore_rule,
        [JOB_TASK_HTTP_REQUEST] = &definition_http_request_rule,
        [JOB_TASK_CONDITION] = &condition_rule,
        [JOB_TASK_FOR_EACH] = &for_each_rule,
        [JOB_TASK_RUN_JOB] = &run_job_rule,
    };
    assert(rules[type] != NULL);
    return rules[type];
}
