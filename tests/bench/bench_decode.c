/*
 * How fast bodies become frames: one core, no HTTP, no disk. A record is a
 * prescription of 20 fields and about 455 bytes as NDJSON, with every kind of
 * rule in its schema. Prints the median of the rounds and the best one.
 *
 *   bench_decode [rounds]
 */
#include "storage/base/clock.h"
#include "storage/base/json.h"
#include "storage/columns/decode.h"

#include <stdio.h>

enum { ROUNDS_DEFAULT = 9, BODY_BYTES_MAX = 1 << 28 };

static const char definition[] =
    "{\"schema\":{\"fields\":["
    "{\"name\":\"prescription_id\",\"type\":\"string\",\"nullable\":false,\"max_length\":36},"
    "{\"name\":\"member_id\",\"type\":\"string\",\"nullable\":false,\"max_length\":64},"
    "{\"name\":\"prescriber_npi\",\"type\":\"string\",\"nullable\":false,\"format\":\"npi\"},"
    "{\"name\":\"pharmacy_npi\",\"type\":\"string\",\"nullable\":false,\"format\":\"npi\"},"
    "{\"name\":\"ndc\",\"type\":\"string\",\"nullable\":false,\"format\":\"ndc11\"},"
    "{\"name\":\"drug_name\",\"type\":\"string\",\"max_length\":120},"
    "{\"name\":\"quantity\",\"type\":\"decimal(10,3)\",\"nullable\":false,\"minimum\":0},"
    "{\"name\":\"days_supply\",\"type\":\"integer\",\"minimum\":1,\"maximum\":365},"
    "{\"name\":\"fill_number\",\"type\":\"integer\",\"minimum\":0,\"maximum\":99},"
    "{\"name\":\"refills\",\"type\":\"integer\",\"minimum\":0,\"maximum\":99},"
    "{\"name\":\"written_on\",\"type\":\"date\"},"
    "{\"name\":\"filled_on\",\"type\":\"date\",\"nullable\":false},"
    "{\"name\":\"bin\",\"type\":\"string\",\"pattern\":\"[0-9]{6}([0-9]{2})?\"},"
    "{\"name\":\"pcn\",\"type\":\"string\",\"max_length\":10},"
    "{\"name\":\"group_id\",\"type\":\"string\",\"max_length\":15},"
    "{\"name\":\"copay\",\"type\":\"decimal(9,2)\"},"
    "{\"name\":\"total_cost\",\"type\":\"double\",\"minimum\":0},"
    "{\"name\":\"compound\",\"type\":\"boolean\"},"
    "{\"name\":\"status\",\"type\":\"string\",\"enum\":[\"paid\",\"reversed\",\"rejected\"]},"
    "{\"name\":\"updated_at\",\"type\":\"timestamp\",\"nullable\":false}]},"
    "\"key\":[\"prescription_id\"],\"sequence_by\":\"updated_at\",\"merge\":\"deletion-vectors\"}";

static const char csv_header[] =
    "prescription_id,member_id,prescriber_npi,pharmacy_npi,ndc,drug_name,quantity,days_supply,"
    "fill_number,refills,written_on,filled_on,bin,pcn,group_id,copay,total_cost,compound,status,"
    "updated_at\n";

static const char json_form[] =
    "{\"prescription_id\":\"RX%012u\",\"member_id\":\"M%09u\",\"prescriber_npi\":\"1234567893\","
    "\"pharmacy_npi\":\"1558598797\",\"ndc\":\"00002%06u\",\"drug_name\":\"Lisinopril %u MG Oral "
    "Tablet\",\"quantity\":%u.500,\"days_supply\":%u,\"fill_number\":%u,\"refills\":%u,"
    "\"written_on\":\"2026-%02u-%02u\",\"filled_on\":\"2026-%02u-%02u\",\"bin\":\"610014\","
    "\"pcn\":\"MEDDPRIME\",\"group_id\":\"RXGRP%04u\",\"copay\":%u.25,\"total_cost\":%u.75,"
    "\"compound\":false,\"status\":\"%s\",\"updated_at\":\"2026-%02u-%02uT10:11:12.%06uZ\"}";

static const char csv_form[] =
    "RX%012u,M%09u,1234567893,1558598797,00002%06u,Lisinopril %u MG Oral Tablet,%u.500,%u,%u,%u,"
    "2026-%02u-%02u,2026-%02u-%02u,610014,MEDDPRIME,RXGRP%04u,%u.25,%u.75,false,%s,"
    "2026-%02u-%02uT10:11:12.%06uZ";

static const char *const statuses[] = {"paid", "reversed", "rejected"};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* one of the two forms above */
static void append_record(struct buffer *body, const char *form, unsigned n)
{
    unsigned random = n * 2654435761U;
    buffer_append_format(body, form, n, random % 1000000000U, random % 1000000U, random % 80U,
                         random % 200U, random % 90U + 1, random % 12U, random % 6U,
                         random % 12U + 1, random % 28U + 1, random / 7U % 12U + 1,
                         random / 7U % 28U + 1, random % 10000U, random % 100U, random % 3000U,
                         statuses[random % 3U], random % 12U + 1, random % 28U + 1,
                         random % 1000000U);
}
#pragma GCC diagnostic pop

static void make_body(struct buffer *body, enum decode_format format, unsigned records)
{
    buffer_init(body, BODY_BYTES_MAX);
    buffer_append_text(body, format == DECODE_CSV ? csv_header : "");
    buffer_append_text(body, format == DECODE_JSON_ARRAY ? "[" : "");
    for (unsigned i = 0; i < records; i++) {
        append_record(body, format == DECODE_CSV ? csv_form : json_form, i);
        bool last = i + 1 == records;
        buffer_append_text(body, format == DECODE_JSON_ARRAY ? (last ? "]" : ",") : "\n");
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Seconds to decode `body` once; exits when a record is refused. */
static double decode_once(struct span body, const struct schema *schema, enum decode_format format,
                          unsigned records)
{
    const struct decode_options options = {.format = format, .operation = FRAME_UPSERT};
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    int64_t start = clock_monotonic_us();
    enum err_code code = decode_body(body, schema, &options, &frame, &errors, &err);
    int64_t end = clock_monotonic_us();
    if (code != ERR_OK || frame->rows_count != (int64_t)records) {
        (void)fprintf(stderr, "decode failed: %s %s\n", err.msg,
                      errors.items_count > 0 ? errors.items[0].message : ""); /* exits next */
        exit(1);
    }
    return (double)(end - start) / 1e6;
}

static void run(const struct schema *schema, enum decode_format format, const char *name,
                unsigned records, int rounds)
{
    CLEANUP(buffer_deinit) struct buffer body;
    make_body(&body, format, records);
    enum { ROUNDS_MAX = 99 };
    double seconds[ROUNDS_MAX];
    rounds = rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
    unsigned repeat = records < 100000 ? 100000 / records : 1;
    for (int round = 0; round < rounds; round++) {
        double total = 0;
        for (unsigned i = 0; i < repeat; i++) {
            total += decode_once(buffer_span(&body), schema, format, records);
        }
        seconds[round] = total / repeat;
    }
    qsort(seconds, (size_t)rounds, sizeof seconds[0], compare_doubles);
    double middle = seconds[rounds / 2];
    (void)printf("%-7s %7u records of %3zu bytes: %7.0f MB/s %7.2f M records/s  (best %.0f MB/s)\n",
                 name, records, body.size / records, (double)body.size / 1e6 / middle,
                 records / 1e6 / middle, (double)body.size / 1e6 / seconds[0]); /* report */
}

int main(int count, char **arguments)
{
    int rounds = ROUNDS_DEFAULT;
    if (count > 1) {
        rounds = (int)strtol(arguments[1], NULL, 10);
    }
    rounds = rounds > 0 ? rounds : ROUNDS_DEFAULT;
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(schema_release) struct schema *schema = NULL;
    struct err err = {0};
    if (json_parse(span_of_text(definition), &json, &err) != ERR_OK ||
        schema_parse(json, &schema, &err) != ERR_OK) {
        (void)fprintf(stderr, "%s\n", err.msg); /* exits next */
        return 1;
    }
    static const unsigned sizes[] = {1, 100, 1000, 10000, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        run(schema, DECODE_NDJSON, "NDJSON", sizes[i], rounds);
        run(schema, DECODE_JSON_ARRAY, "array", sizes[i], rounds);
        run(schema, DECODE_CSV, "CSV", sizes[i], rounds);
    }
    return 0;
}
