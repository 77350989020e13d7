/*
 * What the definition of a job may hold, its tasks left out (definition_tasks.c).
 * Defaults stand here and in the contract; definition_rules.h says how to read the tables.
 */
#include "storage/jobs/definition_rules.h"

#include "storage/jobs/cron.h"
#include "storage/jobs/zone.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { SETTLE_SECONDS_MAX = 86400, INTERVAL_SECONDS_MAX = 30 * 86400 };

/* ---- formats ---- */

static bool cron_format(const char *text, char message_out[RULE_MESSAGE_BYTES])
{
    struct cron cron;
    struct err err = {0};
    if (cron_parse(span_of_text(text), &cron, &err) != ERR_OK) {
        (void)snprintf(message_out, RULE_MESSAGE_BYTES, "%.255s", err.msg); /* cut */
        return false;
    }
    return true;
}

static bool zone_format(const char *text, char message_out[RULE_MESSAGE_BYTES])
{
    const struct zone *zone = NULL;
    struct err err = {0};
    if (zone_acquire(text, &zone, &err) != ERR_OK) {
        (void)snprintf(message_out, RULE_MESSAGE_BYTES, "%.255s", err.msg); /* cut */
        return false;
    }
    zone_release(&zone);
    return true;
}

/* ---- choices ---- */

static const struct rule_choice pause_choices[] = {
    {"UNPAUSED", NULL}, {"PAUSED", NULL}, {NULL, NULL}};
static const struct rule_choice catch_up_choices[] = {
    {"none", NULL}, {"last", NULL}, {"all", NULL}, {NULL, NULL}};
static const struct rule_choice update_choices[] = {
    {"ANY_UPDATED", "any"}, {"ALL_UPDATED", "all"}, {NULL, NULL}};
static const struct rule_choice metric_choices[] = {{"RUN_DURATION_SECONDS", NULL}, {NULL, NULL}};
static const struct rule_choice op_choices[] = {{"GREATER_THAN", NULL}, {NULL, NULL}};
static const struct rule_choice result_choices[] = {
    {"SUCCESS", NULL},  {"SUCCESS_WITH_FAILURES", NULL},
    {"FAILED", NULL},   {"TIMEDOUT", NULL},
    {"CANCELED", NULL}, {"MAXIMUM_CONCURRENT_RUNS_REACHED", NULL},
    {NULL, NULL},
};

/* ---- schedule and triggers ---- */

static void check_schedule(struct normalizer *normalizer, const struct json *given)
{
    bool cron = rule_has(given, "quartz_cron_expression");
    bool every = rule_has(given, "every_seconds");
    if (cron && every) {
        normalizer_tell(normalizer, "every_seconds", "not_allowed",
                        "give either quartz_cron_expression or every_seconds");
    } else if (!cron && !every) {
        normalizer_tell(normalizer, NULL, "missing",
                        "give either quartz_cron_expression or every_seconds, well formed");
    }
    if (every && rule_has(given, "timezone_id")) {
        normalizer_tell(normalizer, "timezone_id", "not_allowed",
                        "an interval counts real seconds and knows no time zone; leave it out");
    }
}

static const struct object_rule schedule_rule = {
    .fields =
        (const struct field_rule[]){
            {"quartz_cron_expression", RULE_STRING, .minimum = 1, .maximum = CRON_TEXT_BYTES_MAX,
             .format = cron_format},
            {"every_seconds", RULE_INTEGER, .minimum = DEFINITION_EVERY_SECONDS_MIN,
             .maximum = DEFINITION_EVERY_SECONDS_MAX},
            {"timezone_id", RULE_STRING, .minimum = 1, .maximum = ZONE_NAME_BYTES_MAX,
             .format = zone_format},
            {"pause_status", RULE_CHOICE, .choices = pause_choices, .fallback = "\"UNPAUSED\""},
            {"catch_up", RULE_CHOICE, .choices = catch_up_choices, .fallback = "\"last\""},
            RULE_END},
    .check = check_schedule,
};

static const struct field_rule table_name_item = {"", RULE_STRING, .minimum = 1, .maximum = 128};
static const struct field_rule result_item = {"", RULE_CHOICE, .choices = result_choices};

static const struct object_rule table_update_rule = {
    .fields =
        (const struct field_rule[]){
            {"tables", RULE_ARRAY, .flags = RULE_REQUIRED | RULE_UNIQUE, .items = &table_name_item,
             .minimum = 1, .maximum = DEFINITION_TRIGGER_TABLES_MAX},
            {"condition", RULE_CHOICE, .choices = update_choices, .fallback = "\"ANY_UPDATED\""},
            {"min_interval_seconds", RULE_INTEGER, .maximum = INTERVAL_SECONDS_MAX,
             .fallback = "0"},
            RULE_END},
};

static const struct object_rule file_arrival_rule = {
    .fields =
        (const struct field_rule[]){
            {"path", RULE_STRING, .flags = RULE_REQUIRED, .minimum = 1, .maximum = 4000},
            {"glob", RULE_STRING, .minimum = 1, .maximum = 255, .fallback = "\"*\""},
            {"settle_seconds", RULE_INTEGER, .maximum = SETTLE_SECONDS_MAX, .fallback = "10"},
            RULE_END},
};

static const struct object_rule continuous_rule = {.fields = (const struct field_rule[]){RULE_END}};

static const struct object_rule job_finished_rule = {
    .fields =
        (const struct field_rule[]){
            {"job_id", RULE_INTEGER, .flags = RULE_REQUIRED, .minimum = 1, .maximum = INT64_MAX},
            {"results", RULE_ARRAY, .flags = RULE_UNIQUE, .items = &result_item, .minimum = 1,
             .maximum = 6, .fallback = "[\"SUCCESS\"]"},
            RULE_END},
};

static const char *const trigger_names[] = {"table_update", "file_arrival", "continuous",
                                            "job_finished"};

static void check_trigger(struct normalizer *normalizer, const struct json *given)
{
    int count = 0;
    for (size_t i = 0; i < sizeof trigger_names / sizeof trigger_names[0]; i++) {
        count += rule_has(given, trigger_names[i]);
    }
    if (count != 1) {
        normalizer_tell(normalizer, NULL, count == 0 ? "missing" : "not_allowed",
                        "give exactly one of table_update, file_arrival, continuous and "
                        "job_finished; several triggers are several entries");
    }
}

static const struct object_rule trigger_rule = {
    .fields =
        (const struct field_rule[]){
            {"table_update", RULE_OBJECT, .object = &table_update_rule},
            {"file_arrival", RULE_OBJECT, .object = &file_arrival_rule},
            {"continuous", RULE_OBJECT, .object = &continuous_rule},
            {"job_finished", RULE_OBJECT, .object = &job_finished_rule},
            {"pause_status", RULE_CHOICE, .choices = pause_choices, .fallback = "\"UNPAUSED\""},
            RULE_END},
    .check = check_trigger,
};

/* ---- the job ---- */

static const struct object_rule parameter_rule = {
    .fields = (const struct field_rule[]){{"name", RULE_STRING, .flags = RULE_REQUIRED | RULE_KEY},
                                          {"default", RULE_SCALAR,
                                           .maximum = DEFINITION_PARAMETER_BYTES_MAX},
                                          RULE_END},
};

static const struct object_rule queue_rule = {
    .fields = (const struct field_rule[]){{"enabled", RULE_BOOLEAN, .fallback = "true"}, RULE_END},
};

static const struct object_rule run_as_rule = {
    .fields = (const struct field_rule[]){{"principal", RULE_STRING, .flags = RULE_REQUIRED,
                                           .minimum = 1, .maximum = 128},
                                          RULE_END},
};

static const struct object_rule health_item_rule = {
    .fields =
        (const struct field_rule[]){
            {"metric", RULE_CHOICE, .flags = RULE_REQUIRED, .choices = metric_choices},
            {"op", RULE_CHOICE, .choices = op_choices, .fallback = "\"GREATER_THAN\""},
            {"value", RULE_INTEGER, .flags = RULE_REQUIRED, .minimum = 1,
             .maximum = DEFINITION_TIMEOUT_SECONDS_MAX},
            RULE_END},
};

static const struct field_rule health_item = {"", RULE_OBJECT, .object = &health_item_rule};

static const struct object_rule health_rule = {
    .fields = (const struct field_rule[]){{"rules", RULE_ARRAY, .flags = RULE_REQUIRED,
                                           .items = &health_item, .minimum = 1,
                                           .maximum = DEFINITION_HEALTH_RULES_MAX},
                                          RULE_END},
};

static const struct object_rule webhook_rule = {
    .fields = (const struct field_rule[]){{"url", RULE_STRING, .flags = RULE_REQUIRED, .minimum = 1,
                                           .maximum = 2048, .format = definition_url_format},
                                          {"secret", RULE_STRING,
                                           .flags = RULE_TEMPLATE | RULE_SECRET | RULE_NEEDS_SECRET,
                                           .minimum = 1, .maximum = 256},
                                          RULE_END},
};

static const struct field_rule webhook_item = {"", RULE_OBJECT, .object = &webhook_rule};

#define WEBHOOKS(name)                                                                             \
    {                                                                                              \
        name, RULE_ARRAY, .items = &webhook_item, .maximum = DEFINITION_WEBHOOKS_MAX               \
    }

static const struct object_rule notifications_rule = {
    .fields =
        (const struct field_rule[]){WEBHOOKS("on_start"), WEBHOOKS("on_success"),
                                    WEBHOOKS("on_failure"),
                                    WEBHOOKS("on_duration_warning_threshold_exceeded"), RULE_END},
};

static const struct field_rule parameter_item = {"", RULE_OBJECT, .object = &parameter_rule};
static const struct field_rule task_item = {"", RULE_OBJECT, .object = &definition_task_rule};
static const struct field_rule trigger_item = {"", RULE_OBJECT, .object = &trigger_rule};
static const struct field_rule tag_item = {"", RULE_STRING, .maximum = DEFINITION_TAG_BYTES_MAX};

static void check_tags(struct normalizer *normalizer, const struct json *given)
{
    const char *name = NULL;
    const struct json *value = NULL;
    for (size_t position = 0; json_member(json_get(given, "tags"), &position, &name, &value);) {
        if (name[0] == '\0' || strlen(name) > DEFINITION_TAG_BYTES_MAX) {
            normalizer_tell(normalizer, "tags", "length", "the name of a tag has 1 to %d bytes",
                            DEFINITION_TAG_BYTES_MAX);
        }
    }
}

#define COMMON_FIELDS                                                                              \
    {"description", RULE_STRING, .maximum = DEFINITION_DESCRIPTION_BYTES_MAX},                     \
        {"parameters", RULE_ARRAY, .items = &parameter_item,                                       \
         .maximum = DEFINITION_PARAMETERS_MAX},                                                    \
        {"tasks",                                                                                  \
         RULE_ARRAY,                                                                               \
         .flags = RULE_REQUIRED,                                                                   \
         .items = &task_item,                                                                      \
         .minimum = 1,                                                                             \
         .maximum = DEFINITION_TASKS_MAX},                                                         \
        {"timeout_seconds", RULE_INTEGER, .maximum = DEFINITION_TIMEOUT_SECONDS_MAX,               \
         .fallback = "0"},                                                                         \
        {"tags", RULE_MAP, .items = &tag_item, .maximum = DEFINITION_TAGS_MAX},                    \
        {"run_as", RULE_OBJECT, .object = &run_as_rule},                                           \
        {"health", RULE_OBJECT, .object = &health_rule},                                           \
    {                                                                                              \
        "webhook_notifications", RULE_OBJECT, .object = &notifications_rule                        \
    }

const struct object_rule definition_job_rule = {
    .fields =
        (const struct field_rule[]){
            {"name", RULE_STRING, .flags = RULE_REQUIRED, .minimum = 1,
             .maximum = DEFINITION_NAME_BYTES_MAX},
            COMMON_FIELDS,
            {"schedule", RULE_OBJECT, .object = &schedule_rule},
            {"triggers", RULE_ARRAY, .items = &trigger_item, .maximum = DEFINITION_TRIGGERS_MAX},
            {"max_concurrent_runs", RULE_INTEGER, .maximum = DEFINITION_CONCURRENT_RUNS_MAX,
             .fallback = "1"},
            {"queue", RULE_OBJECT, .object = &queue_rule, .fallback = "{\"enabled\":true}"},
            RULE_END},
    .check = check_tags,
};

/* One run, now: nothing that says when, or beside how many others. */
const struct object_rule definition_one_off_rule = {
    .fields =
        (const struct field_rule[]){
            {"name", RULE_STRING, .maximum = DEFINITION_NAME_BYTES_MAX}, COMMON_FIELDS, RULE_END},
    .check = check_tags,
};
