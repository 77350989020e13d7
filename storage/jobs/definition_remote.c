/*
 * What a definition may say of places outside: calls over HTTP and their
 * credentials, sources and destinations. definition_rules.h says how to read the tables.
 */
#include "storage/jobs/definition_rules.h"

#include "storage/base/field_name.h"

#include <string.h>
#include <strings.h>

enum {
    PATH_BYTES_MAX = 4000,
    URL_BYTES_MAX = 8192,
    HEADERS_MAX = 50,
    HEADER_BYTES_MAX = 8192,
    CREDENTIAL_BYTES_MAX = 4096,
    POINTER_TEXT_MAX = 1024,
    STATUSES_MAX = 100,
    VALUES_MAX = 100,
    HTTP_TIMEOUT_SECONDS_MAX = 3600,
};

enum { SECRET_TEXT = RULE_TEMPLATE | RULE_SECRET };

/* ---- where secrets go ---- */

static bool holds_secret(const struct json *given)
{
    const char *name = NULL;
    const struct json *value = NULL;
    bool holds = json_get(given, "auth") != NULL; /* none goes without */
    for (size_t at = 0; json_member(json_get(given, "headers"), &at, &name, &value);) {
        const char *text = json_text(value);
        holds = holds || (text != NULL && strstr(text, "secrets.") != NULL);
    }
    return holds;
}

/* Does a reference stand where the server is named, or could what it brings reach that far? */
static bool is_host_open(const char *url)
{
    const char *host = strstr(url, "://");
    const char *reference = strstr(url, "{{");
    return reference != NULL && (host == NULL || reference < host + 3 + strcspn(host + 3, "/?#\\"));
}

/* Whoever starts a run gives its values; where a secret goes is not for him to say. */
static void check_host(struct normalizer *normalizer, const struct json *given, const char *member)
{
    const char *url = json_text(json_get(given, member));
    if (url != NULL && !normalizer->expanded && is_host_open(url)) {
        normalizer_tell(normalizer, member, "not_allowed",
                        "a request with a secret goes to a server that the definition names: write "
                        "scheme, host and port out, references may stand from the path on");
    }
}

static void check_token_url(struct normalizer *normalizer, const struct json *given)
{
    check_host(normalizer, given, "token_url");
}

/* ---- calls over HTTP ---- */

static const struct object_rule bearer_rule = {
    RULE_FIELDS({"token", RULE_STRING, .flags = RULE_REQUIRED | SECRET_TEXT | RULE_NEEDS_SECRET,
                 .minimum = 1, .maximum = CREDENTIAL_BYTES_MAX}),
};
static const struct object_rule basic_rule = {
    RULE_FIELDS({"username", RULE_STRING, .flags = RULE_REQUIRED | SECRET_TEXT, .minimum = 1,
                 .maximum = CREDENTIAL_BYTES_MAX},
                {"password", RULE_STRING, .flags = RULE_REQUIRED | SECRET_TEXT | RULE_NEEDS_SECRET,
                 .minimum = 1, .maximum = CREDENTIAL_BYTES_MAX}),
};
static const struct object_rule client_credentials_rule = {
    RULE_FIELDS({"token_url", RULE_STRING, .flags = RULE_REQUIRED | RULE_TEMPLATE, .minimum = 1,
                 .maximum = URL_BYTES_MAX, .format = definition_url_format},
                {"client_id", RULE_STRING, .flags = RULE_REQUIRED | SECRET_TEXT, .minimum = 1,
                 .maximum = CREDENTIAL_BYTES_MAX},
                {"client_secret", RULE_STRING,
                 .flags = RULE_REQUIRED | SECRET_TEXT | RULE_NEEDS_SECRET, .minimum = 1,
                 .maximum = CREDENTIAL_BYTES_MAX},
                {"scope", RULE_STRING, .flags = RULE_TEMPLATE, .maximum = CREDENTIAL_BYTES_MAX}),
    .check = check_token_url,
};
static const struct object_rule auth_rule = {
    .fields = (const struct field_rule[]){RULE_END},
    .selector = "type",
    .selector_code = "choice",
    .variants =
        (const struct rule_variant[]){
            {"bearer", &bearer_rule},
            {"basic", &basic_rule},
            {"oauth2_client_credentials", &client_credentials_rule},
            {NULL, NULL},
        },
};

static const struct field_rule header_item = {"", RULE_STRING, .flags = SECRET_TEXT,
                                              .maximum = HEADER_BYTES_MAX};

static void check_headers(struct normalizer *normalizer, const struct json *given)
{
    const char *name = NULL;
    const struct json *value = NULL;
    for (size_t at = 0; json_member(json_get(given, "headers"), &at, &name, &value);) {
        const char *text = json_text(value);
        if (!field_name_is_valid(name)) {
            normalizer_tell(normalizer, "headers", "format", "'%.64s' is no name of a header",
                            name);
        } else if (field_name_is_reserved(name)) {
            normalizer_tell(normalizer, "headers", "not_allowed",
                            "the header '%.64s' cannot be chosen: leave it out", name);
        } else if (json_get(given, "auth") != NULL && strcasecmp(name, "authorization") == 0) {
            normalizer_tell(normalizer, "headers", "not_allowed",
                            "there are both the header Authorization and auth: leave one out");
        } else if (text != NULL && strpbrk(text, "\r\n") != NULL) {
            normalizer_tell(normalizer, "headers", "format",
                            "the value of '%.64s' must not hold a line break", name);
        } else if (strcasecmp(name, "authorization") == 0 && !normalizer->expanded &&
                   text != NULL && strstr(text, "secrets.") == NULL) {
            normalizer_tell(normalizer, "headers", "secret_needed",
                            "a definition is shown to those who may read jobs: write "
                            "{{secrets.NAME}} into Authorization, or use auth");
        }
    }
}

static void check_request(struct normalizer *normalizer, const struct json *given)
{
    check_headers(normalizer, given);
    if (holds_secret(given)) {
        check_host(normalizer, given, "url");
    }
}

#define URL                                                                                        \
    {                                                                                              \
        "url", RULE_STRING, .flags = RULE_REQUIRED | RULE_TEMPLATE, .minimum = 1,                  \
                            .maximum = URL_BYTES_MAX, .format = definition_url_format              \
    }
#define HEADERS                                                                                    \
    {                                                                                              \
        "headers", RULE_MAP, .items = &header_item, .maximum = HEADERS_MAX                         \
    }
#define AUTH                                                                                       \
    {                                                                                              \
        "auth", RULE_OBJECT, .object = &auth_rule                                                  \
    }
#define POINTER(name_, flags_)                                                                     \
    {                                                                                              \
        name_, RULE_STRING, .flags = (flags_), .maximum = POINTER_TEXT_MAX,                        \
                            .format = definition_pointer_format                                    \
    }

/* ---- sources ---- */

static const struct object_rule file_source_rule = {
    RULE_FIELDS(
        {"path", RULE_STRING, .flags = RULE_REQUIRED | RULE_TEMPLATE, .minimum = 1,
         .maximum = PATH_BYTES_MAX},
        {"format", RULE_CHOICE, .fallback = "\"auto\"",
         .choices = RULE_CHOICES({"auto", NULL}, {"ndjson", NULL}, {"json", NULL}, {"csv", NULL},
                                 {"parquet", NULL})},
        {"compression", RULE_CHOICE, .fallback = "\"auto\"",
         .choices = RULE_CHOICES({"auto", NULL}, {"none", NULL}, {"gzip", NULL}, {"zstd", NULL})}),
};

static const struct object_rule no_paging_rule = {.fields = (const struct field_rule[]){RULE_END}};
static const struct object_rule cursor_paging_rule = {
    RULE_FIELDS(POINTER("cursor", RULE_REQUIRED),
                {"parameter", RULE_STRING, .minimum = 1, .maximum = 128, .fallback = "\"cursor\""}),
};
static const struct object_rule page_paging_rule = {
    RULE_FIELDS({"parameter", RULE_STRING, .minimum = 1, .maximum = 128, .fallback = "\"page\""},
                {"first_page", RULE_INTEGER, .maximum = 1000000000, .fallback = "1"},
                POINTER("last", 0)),
};
static const struct object_rule paging_rule = {
    .fields = (const struct field_rule[]){RULE_END},
    .selector = "type",
    .selector_code = "choice",
    .variants =
        (const struct rule_variant[]){
            {"none", &no_paging_rule},
            {"link_header", &no_paging_rule},
            {"cursor", &cursor_paging_rule},
            {"page_number", &page_paging_rule},
            {NULL, NULL},
        },
};

static const struct object_rule http_source_rule = {
    RULE_FIELDS(URL, HEADERS, AUTH,
                {"format", RULE_CHOICE, .fallback = "\"json\"",
                 .choices = RULE_CHOICES({"json", NULL}, {"ndjson", NULL}, {"csv", NULL})},
                POINTER("records", 0),
                {"paging", RULE_OBJECT, .object = &paging_rule, .fallback = "{\"type\":\"none\"}"},
                {"requests_per_second", RULE_NUMBER, .maximum = 1000},
                {"timeout_seconds", RULE_INTEGER, .minimum = 1, .maximum = HTTP_TIMEOUT_SECONDS_MAX,
                 .fallback = "60"}),
    .check = check_request,
};

static void need_table_or_path(struct normalizer *normalizer, const struct json *given)
{
    bool table = rule_has(given, "table");
    bool path = rule_has(given, "path");
    if (table == path) {
        normalizer_tell(normalizer, NULL, table ? "not_allowed" : "missing",
                        "give either table, the name of one here, or path, the folder of a Delta "
                        "table below a source root");
    }
}

static const struct object_rule table_source_rule = {
    RULE_FIELDS(
        RULE_TABLE(0),
        {"path", RULE_STRING, .flags = RULE_TEMPLATE, .minimum = 1, .maximum = PATH_BYTES_MAX},
        RULE_COLUMNS(0)),
    .check = need_table_or_path,
};

const struct object_rule definition_source_rule = {
    .fields = (const struct field_rule[]){RULE_END},
    .selector = "type",
    .selector_code = "unknown_type",
    .variants =
        (const struct rule_variant[]){
            {"file", &file_source_rule},
            {"http", &http_source_rule},
            {"table", &table_source_rule},
            {NULL, NULL},
        },
};

/* ---- destinations ---- */

static const struct object_rule file_destination_rule = {
    RULE_FIELDS({"path", RULE_STRING, .flags = RULE_REQUIRED | RULE_TEMPLATE, .minimum = 1,
                 .maximum = PATH_BYTES_MAX}),
};
static const struct object_rule http_destination_rule = {RULE_FIELDS(URL, HEADERS, AUTH),
                                                         .check = check_request};
const struct object_rule definition_destination_rule = {
    .fields = (const struct field_rule[]){RULE_END},
    .selector = "type",
    .selector_code = "unknown_type",
    .variants =
        (const struct rule_variant[]){
            {"file", &file_destination_rule},
            {"http", &http_destination_rule},
            {NULL, NULL},
        },
};

/* ---- http_request ---- */

static const struct field_rule status_item = {"", RULE_INTEGER, .minimum = 100, .maximum = 599};
static const struct field_rule value_item = {"", RULE_STRING, .maximum = POINTER_TEXT_MAX,
                                             .format = definition_pointer_format};

const struct object_rule definition_http_request_rule = {
    RULE_FIELDS(
        URL,
        {"method", RULE_CHOICE, .fallback = "\"POST\"",
         .choices = RULE_CHOICES({"GET", NULL}, {"POST", NULL}, {"PUT", NULL}, {"PATCH", NULL},
                                 {"DELETE", NULL}, {"HEAD", NULL})},
        HEADERS, AUTH, {"body", RULE_ANY, .flags = RULE_TEMPLATE},
        {"expect_status", RULE_ARRAY, .items = &status_item, .maximum = STATUSES_MAX},
        {"values", RULE_MAP, .flags = RULE_KEY, .items = &value_item, .maximum = VALUES_MAX}),
    .check = check_request,
};
