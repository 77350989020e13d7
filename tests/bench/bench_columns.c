/*
 * What a row costs in its other shapes: journal bytes, key, row image, JSON.
 * One core, no disk. A row is a prescription of 20 fields, about 250 bytes.
 * Prints nanoseconds a row, the median of the rounds, and what it makes in MB/s
 * of the frame's own bytes.
 *
 *   bench_columns [rounds]
 */
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/columns/encode_json.h"
#include "storage/columns/frame.h"
#include "storage/columns/row.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

enum { ROWS = 50000, ROUNDS_DEFAULT = 9, ROUNDS_MAX = 101, BYTES_MAX = 1 << 28 };

static const char definition[] =
    "{\"schema\":{\"fields\":["
    "{\"name\":\"prescription_id\",\"type\":\"string\",\"nullable\":false},"
    "{\"name\":\"member_id\",\"type\":\"string\",\"nullable\":false},"
    "{\"name\":\"prescriber_npi\",\"type\":\"string\"},"
    "{\"name\":\"pharmacy_npi\",\"type\":\"string\"},"
    "{\"name\":\"ndc\",\"type\":\"string\"},"
    "{\"name\":\"drug_name\",\"type\":\"string\"},"
    "{\"name\":\"quantity\",\"type\":\"decimal(10,3)\"},"
    "{\"name\":\"days_supply\",\"type\":\"integer\"},"
    "{\"name\":\"fill_number\",\"type\":\"integer\"},"
    "{\"name\":\"refills\",\"type\":\"integer\"},"
    "{\"name\":\"written_on\",\"type\":\"date\"},"
    "{\"name\":\"filled_on\",\"type\":\"date\"},"
    "{\"name\":\"bin\",\"type\":\"string\"},"
    "{\"name\":\"pcn\",\"type\":\"string\"},"
    "{\"name\":\"paid\",\"type\":\"decimal(12,2)\"},"
    "{\"name\":\"copay\",\"type\":\"double\"},"
    "{\"name\":\"generic\",\"type\":\"boolean\"},"
    "{\"name\":\"status\",\"type\":\"string\"},"
    "{\"name\":\"note\",\"type\":\"string\"},"
    "{\"name\":\"updated_at\",\"type\":\"timestamp\",\"nullable\":false}]},"
    "\"key\":[\"prescription_id\"],\"sequence_by\":\"updated_at\"}";

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

__attribute__((format(printf, 2, 3))) static void append_text(struct column *column,
                                                              const char *format, ...)
{
    char text[128];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    column_append_bytes(column, span_of(text, (size_t)size));
}

static struct frame *make_frame(const struct schema *schema)
{
    static const char *const drugs[] = {"atorvastatin 20 mg tablet", "metformin 500 mg tablet",
                                        "albuterol 90 mcg inhaler", "amoxicillin 250 mg/5 ml"};
    struct frame *frame = frame_new(schema);
    uint64_t state = 42;
    for (unsigned long row = 0; row < ROWS; row++) {
        struct column *c = frame->columns;
        unsigned long r = next_random(&state);
        append_text(&c[0], "RX-%010lu-%06lu", row, r % 1000000);
        append_text(&c[1], "M%09lu1", r % 100000);
        append_text(&c[2], "1%08lu3", r % 99999999);
        append_text(&c[3], "2%08lu1", r % 1000 * 7919);
        append_text(&c[4], "%010lu0", r % 5000);
        column_append_bytes(&c[5], span_of_text(drugs[r % 4]));
        column_append_i128(&c[6], (int64_t)(r % 90000));
        column_append_i32(&c[7], (int32_t)(r % 90));
        column_append_i32(&c[8], (int32_t)(r % 12));
        column_append_i32(&c[9], (int32_t)(r % 6));
        column_append_i32(&c[10], 19000 + (int32_t)(r % 700));
        column_append_i32(&c[11], 19003 + (int32_t)(r % 700));
        append_text(&c[12], "%06lu0", r % 90);
        append_text(&c[13], "PCN%lu0", r % 50);
        column_append_i128(&c[14], (int64_t)(r % 1000000));
        column_append_f64(&c[15], (double)(r % 10000) / 100);
        column_append_u8(&c[16], r % 2);
        column_append_bytes(&c[17], span_of_text(r % 3 == 0 ? "dispensed" : "partial"));
        if (r % 4 == 0) {
            append_text(&c[18], "refill called in %lu, %lu", r % 9999, row);
        } else {
            column_append_null(&c[18]);
        }
        column_append_i64(&c[19], 1700000000000000 + (int64_t)(r % 1000000000) * 1000);
        frame_end_row(frame, FRAME_UPSERT, (int64_t)row + 1);
    }
    return frame;
}

/* What the measured functions work on. */
struct work {
    struct schema *schema;
    struct frame *frame;
    struct frame *other; /* target of gather and row decoding */
    struct buffer encoded;
    struct buffer keys;
    struct buffer images;
    struct buffer text;
    size_t *image_ends;
    int64_t *order; /* the rows in another order */
};

static struct span image_at(const struct work *work, int64_t row)
{
    size_t start = row > 0 ? work->image_ends[row - 1] : 0;
    return span_of(work->images.data + start, work->image_ends[row] - start);
}

static void run_encode(struct work *work)
{
    buffer_reset(&work->encoded);
    frame_encode(work->frame, &work->encoded);
}

static void run_decode(struct work *work)
{
    struct err err = {0};
    CLEANUP(frame_free) struct frame *frame = NULL;
    enum err_code code = frame_decode(buffer_span(&work->encoded), work->schema, &frame, &err);
    assert(code == ERR_OK);
}

static void run_gather(struct work *work)
{
    frame_reset(work->other);
    frame_append_rows(work->other, work->frame, work->order, ROWS);
}

static void run_key(struct work *work)
{
    buffer_reset(&work->keys);
    for (int64_t row = 0; row < ROWS; row++) {
        frame_key(work->frame, row, &work->keys);
    }
}

static void run_row_encode(struct work *work)
{
    buffer_reset(&work->images);
    for (int64_t row = 0; row < ROWS; row++) {
        row_encode(work->frame, row, &work->images);
        work->image_ends[row] = work->images.size;
    }
}

static void run_row_decode(struct work *work)
{
    struct err err = {0};
    frame_reset(work->other);
    for (int64_t row = 0; row < ROWS; row++) {
        enum err_code code = row_decode_into(image_at(work, row), work->other, &err);
        assert(code == ERR_OK);
    }
}

static void run_json_frame(struct work *work)
{
    for (int64_t row = 0; row < ROWS; row++) {
        buffer_reset(&work->text);
        encode_json_row(work->frame, row, NULL, &work->text);
    }
}

static void run_json_image(struct work *work)
{
    struct err err = {0};
    for (int64_t row = 0; row < ROWS; row++) {
        buffer_reset(&work->text);
        enum err_code code =
            encode_json_image(image_at(work, row), work->schema, NULL, &work->text, &err);
        assert(code == ERR_OK);
    }
}

static int compare_times(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static void measure(const char *name, void run(struct work *), struct work *work, int rounds)
{
    int64_t times[ROUNDS_MAX];
    for (int i = 0; i < rounds; i++) {
        int64_t start = clock_monotonic_us();
        run(work);
        times[i] = clock_monotonic_us() - start;
    }
    qsort(times, (size_t)rounds, sizeof times[0], compare_times);
    double ns = (double)times[rounds / 2] * 1000 / ROWS;
    double bytes = 0;
    for (size_t i = 0; i < work->schema->fields_count; i++) {
        const struct column *column = &work->frame->columns[i];
        size_t slot = column_type_slot_bytes(column->type);
        bytes += (double)column->bytes_size + (double)(slot == 0 ? 4 : slot) * ROWS;
    }
    printf("%-22s %8.1f ns/row %8.0f MB/s\n", name, ns, bytes / ROWS / ns * 1000);
}

int main(int argc, char **argv)
{
    int rounds = ROUNDS_DEFAULT;
    if (argc > 1 && (sscanf(argv[1], "%d", &rounds) != 1 || rounds < 1 || rounds > ROUNDS_MAX)) {
        return 64;
    }
    struct err err = {0};
    CLEANUP(json_free) struct json *json = NULL;
    struct work work = {0};
    enum err_code code = json_parse(span_of_text(definition), &json, &err);
    assert(code == ERR_OK);
    code = schema_parse(json, &work.schema, &err);
    assert(code == ERR_OK);
    work.frame = make_frame(work.schema);
    work.other = frame_new(work.schema);
    buffer_init(&work.encoded, BYTES_MAX);
    buffer_init(&work.keys, BYTES_MAX);
    buffer_init(&work.images, BYTES_MAX);
    buffer_init(&work.text, BYTES_MAX);
    work.image_ends = mem_zeroed(ROWS, sizeof *work.image_ends);
    work.order = mem_zeroed(ROWS, sizeof *work.order);
    for (int64_t i = 0; i < ROWS; i++) {
        work.order[i] = i * 7919 % ROWS;
    }

    measure("frame encode", run_encode, &work, rounds);
    measure("frame decode", run_decode, &work, rounds);
    measure("frame gather", run_gather, &work, rounds);
    measure("key", run_key, &work, rounds);
    measure("row image encode", run_row_encode, &work, rounds);
    measure("row image decode", run_row_decode, &work, rounds);
    measure("JSON from frame", run_json_frame, &work, rounds);
    measure("JSON from row image", run_json_image, &work, rounds);
    printf("bytes a row: journal %zu, key %zu, image %zu, JSON %zu\n", work.encoded.size / ROWS,
           work.keys.size / ROWS, work.images.size / ROWS, work.text.size);

    mem_free(work.image_ends);
    mem_free(work.order);
    buffer_deinit(&work.encoded);
    buffer_deinit(&work.keys);
    buffer_deinit(&work.images);
    buffer_deinit(&work.text);
    frame_free(&work.frame);
    frame_free(&work.other);
    schema_release(&work.schema);
    return 0;
}
