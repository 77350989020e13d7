/*
 * How fast bodies become frames: one core, no HTTP, no disk. A record is a prescription of 21
 * fields with every kind of rule (tests/support/bench_records.h). What rules cost is what is
 * left when the same bodies are decoded under a table without them.
 *
 *   bench_decode [ROUNDS [--json]]
 */
#include "storage/base/clock.h"
#include "storage/base/json.h"
#include "storage/columns/decode.h"
#include "tests/support/bench_load.h"
#include "tests/support/bench_records.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_DEFAULT = 9, ROUNDS_MAX = 99, RECORDS_A_ROUND = 300000 };

static int rounds = ROUNDS_DEFAULT;
static bool as_json;

/* Seconds to decode `body` once; exits when a record is refused. */
static double decode_once(struct span body, const struct schema *schema, enum decode_format format,
                          int64_t records)
{
    const struct decode_options options = {.format = format, .operation = FRAME_UPSERT};
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    int64_t start = clock_monotonic_us();
    enum err_code code = decode_body(body, schema, &options, &frame, &errors, &err);
    int64_t end = clock_monotonic_us();
    if (code != ERR_OK || frame->rows_count != records) {
        (void)fprintf(stderr, "decode failed: %s %s\n", err.msg,
                      errors.items_count > 0 ? errors.items[0].message : ""); /* exits next */
        exit(1);
    }
    return (double)(end - start) / 1e6;
}

/* The same table without a rule. */
static struct json *without_rules(const struct json *definition)
{
    const struct json *fields = json_get(json_get(definition, "schema"), "fields");
    struct json *plain = json_new_array();
    for (size_t i = 0; i < json_count(fields); i++) {
        const struct json *field = json_at(fields, i);
        struct json *copy = json_new_object();
        json_set_text(copy, "name", json_text(json_get(field, "name")));
        json_set_text(copy, "type", json_text(json_get(field, "type")));
        bool nullable = true;
        (void)json_as_boolean(json_get(field, "nullable"), &nullable); /* true when absent */
        json_set_boolean(copy, "nullable", nullable);
        json_append(plain, copy);
    }
    struct json *schema = json_new_object();
    struct json *key = json_new_array();
    struct json *result = json_new_object();
    json_append(key, json_new_string(span_of_text("prescription_id")));
    json_set(schema, "fields", plain);
    json_set(result, "schema", schema);
    json_set(result, "key", key);
    return result;
}

static struct schema *schema_of(bool with_rules)
{
    CLEANUP(json_free) struct json *whole = NULL;
    CLEANUP(json_free) struct json *plain = NULL;
    struct schema *schema = NULL;
    struct err err = {0};
    if (json_parse(span_of_text(bench_rx_definition), &whole, &err) == ERR_OK) {
        plain = without_rules(whole);
    }
    if (err.code != ERR_OK || schema_parse(with_rules ? whole : plain, &schema, &err) != ERR_OK) {
        (void)fprintf(stderr, "%s\n", err.msg); /* exits next */
        exit(1);
    }
    return schema;
}

struct figures {
    double mb[ROUNDS_MAX];      /* MB/s of each round */
    double records[ROUNDS_MAX]; /* records/s */
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(const double *values)
{
    double sorted[ROUNDS_MAX];
    memcpy(sorted, values, (size_t)rounds * sizeof *sorted);
    qsort(sorted, (size_t)rounds, sizeof *sorted, compare);
    return sorted[rounds / 2];
}

static void print_array(const char *name, const double *values, bool last)
{
    (void)printf("\"%s\":[", name); /* report */
    for (int i = 0; i < rounds; i++) {
        (void)printf("%s%.0f", i > 0 ? "," : "", values[i]); /* report */
    }
    (void)printf("]%s", last ? "}\n" : ","); /* report */
}

static void print(const char *name, int64_t records, const struct figures *figures)
{
    if (as_json) {
        (void)printf("{\"what\":\"%s\",", name); /* report */
        print_array("mb_per_second", figures->mb, false);
        print_array("records_per_second", figures->records, true);
    } else {
        (void)printf("%-10s %7lld records a body: %7.0f MB/s %7.2f M records/s\n", name,
                     (long long)records, middle(figures->mb),
                     middle(figures->records) / 1e6); /* report */
    }
}

static double seconds_of(struct span body, const struct schema *schema, enum decode_format format,
                         int64_t records)
{
    int64_t repeat = records < RECORDS_A_ROUND ? RECORDS_A_ROUND / records : 1;
    double total = 0;
    for (int64_t i = 0; i < repeat; i++) {
        total += decode_once(body, schema, format, records);
    }
    return total / (double)repeat;
}

static void run(const struct schema *schema, enum decode_format format, const char *name,
                int64_t records)
{
    CLEANUP(buffer_deinit) struct buffer body;
    struct figures figures;
    bench_body_make(&body, format == DECODE_CSV ? BENCH_RX_CSV : BENCH_RX_JSON,
                    format == DECODE_JSON_ARRAY, 0, 1, records);
    for (int round = 0; round < rounds; round++) {
        double seconds = seconds_of(buffer_span(&body), schema, format, records);
        figures.mb[round] = (double)body.size / 1e6 / seconds;
        figures.records[round] = (double)records / seconds;
    }
    print(name, records, &figures);
}

/*
 * What validation takes: decoding with and without rules in turn, the fastest of each in a round,
 * because a difference of two means is mostly what disturbed them. A hundredth of the whole is the
 * least that can be told.
 */
static void run_rules(const struct schema *ruled, const struct schema *plain, int64_t records)
{
    CLEANUP(buffer_deinit) struct buffer body;
    struct figures figures;
    bench_body_make(&body, BENCH_RX_JSON, false, 0, 1, records);
    for (int round = 0; round < rounds; round++) {
        double with = INFINITY;
        double without = INFINITY;
        for (int64_t i = 0; i < RECORDS_A_ROUND / records; i++) {
            with = fmin(with, decode_once(buffer_span(&body), ruled, DECODE_NDJSON, records));
            without = fmin(without, decode_once(buffer_span(&body), plain, DECODE_NDJSON, records));
        }
        double seconds = fmax(with - without, with / 100);
        figures.mb[round] = (double)body.size / 1e6 / seconds;
        figures.records[round] = (double)records / seconds;
    }
    print("rules", records, &figures);
}

int main(int count, char **arguments)
{
    static const int64_t sizes[] = {1, 100, 1000, 10000, 100000};
    if (count > 1) {
        rounds = (int)bench_number(arguments[1]);
    }
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    as_json = count > 2 && strcmp(arguments[2], "--json") == 0;
    bench_records_init();
    CLEANUP(schema_release) struct schema *schema = schema_of(true);
    CLEANUP(schema_release) struct schema *plain = schema_of(false);
    for (size_t i = as_json ? 3 : 0; i < (as_json ? 4 : sizeof sizes / sizeof sizes[0]); i++) {
        run(schema, DECODE_NDJSON, "ndjson", sizes[i]);
        run(schema, DECODE_JSON_ARRAY, "json array", sizes[i]);
        run(schema, DECODE_CSV, "csv", sizes[i]);
    }
    run_rules(schema, plain, 10000);
    return 0;
}
