/*
 * The public face of decoding: what a body starts with, which parser takes it,
 * the verdict on each record, and how errors are kept within bounds. Values are
 * decode_value.c's, what is wrong with them decode_fault.c's, the forms of bodies
 * decode_json.c's and decode_csv.c's.
 */
#include "storage/columns/decode.h"

#include "storage/base/mem.h"
#include "storage/columns/decode_rows.h"
#include "storage/columns/decoder.h"

#include <assert.h>

enum { RESERVE_AFTER = 64 }; /* records */

static const char *const code_names[DECODE_CODE_COUNT] = {
    [DECODE_SYNTAX] = "syntax",
    [DECODE_NOT_AN_OBJECT] = "not_an_object",
    [DECODE_FIELD_COUNT] = "field_count",
    [DECODE_UNKNOWN_FIELD] = "unknown_field",
    [DECODE_DUPLICATE_FIELD] = "duplicate_field",
    [DECODE_INVALID_UTF8] = "invalid_utf8",
    [DECODE_INVALID_CHARACTER] = "invalid_character",
    [DECODE_TYPE] = "type",
    [DECODE_RANGE] = "range",
    [DECODE_REQUIRED] = "required",
    [DECODE_KEY_NULL] = "key_null",
    [DECODE_TOO_LONG] = "too_long",
    [DECODE_PATTERN] = "pattern",
    [DECODE_ENUM] = "enum",
    [DECODE_FORMAT] = "format",
    [DECODE_OPERATION] = "operation",
    [DECODE_EXPECTATION] = "expectation",
};

const char *decode_code_name(enum decode_code code)
{
    assert((unsigned)code < DECODE_CODE_COUNT);
    return code_names[code];
}

/* ---- errors ------------------------------------------------------------------ */

void decode_errors_deinit(struct decode_errors *errors)
{
    mem_free(errors->items);
    mem_free(errors->rejected);
    arena_deinit(&errors->texts);
    *errors = (struct decode_errors){0};
}

static int64_t rejected_max(int64_t received)
{
    int64_t share = received / 100 * DECODE_REJECTED_PERCENT_MAX +
                    received % 100 * DECODE_REJECTED_PERCENT_MAX / 100;
    return share > DECODE_REJECTED_RECORDS_MIN ? share : DECODE_REJECTED_RECORDS_MIN;
}

bool decode_errors_over_limit(const struct decode_errors *errors)
{
    /* what could not be kept could not be dead-lettered: such a body is refused, too */
    return errors->rejected_count > rejected_max(errors->received_count) ||
           (size_t)errors->rejected_count > errors->rejected_kept;
}

/* `*items` with room for one more. */
static void *make_room(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return items;
    }
    *capacity = *capacity > 0 ? *capacity * 2 : 16;
    return mem_resize(items, *capacity, size);
}

/* With copies of the texts; false when their ceiling is reached. */
static bool keep_error(struct decode_errors *errors, const struct decode_error *error)
{
    const char *pointer = arena_text(&errors->texts, span_of_text(error->pointer));
    const char *message = arena_text(&errors->texts, span_of_text(error->message));
    if (pointer == NULL || message == NULL) {
        return false;
    }
    errors->items = make_room(errors->items, errors->items_count, &errors->items_capacity,
                              sizeof *errors->items);
    errors->items[errors->items_count++] = (struct decode_error){
        .line = error->line,
        .code = error->code,
        .pointer = pointer,
        .message = message,
    };
    return true;
}

static void keep_rejected(struct decode_errors *errors, const struct decode_rejected *rejected)
{
    errors->rejected = make_room(errors->rejected, errors->rejected_kept,
                                 &errors->rejected_capacity, sizeof *errors->rejected);
    errors->rejected[errors->rejected_kept++] = *rejected;
}

bool decode_errors_reject(struct decode_errors *errors, const struct decode_rejected *rejected,
                          const struct decode_error *error)
{
    assert(errors->accepted_count > 0);
    if (errors->texts.used_max == 0) { /* the records came as a frame */
        arena_init(&errors->texts, DECODE_ERRORS_BYTES_MAX);
    }
    size_t first = errors->items_count;
    if (!keep_error(errors, error)) {
        return false;
    }
    errors->accepted_count--;
    errors->rejected_count++;
    struct decode_rejected kept = *rejected;
    kept.errors_first = first;
    kept.errors_count = 1;
    kept.errors_unkept = 0;
    keep_rejected(errors, &kept);
    return true;
}

static size_t keep_faults(const struct decoder *decoder, bool with_rules, size_t count_max)
{
    size_t count = 0;
    for (size_t i = 0; i < decoder->kept_count && count < count_max; i++) {
        const struct decode_fault *fault = &decoder->kept[i];
        if (fault->rule && !with_rules) {
            continue;
        }
        const struct decode_error error = {.line = decoder->line,
                                           .code = fault->code,
                                           .pointer = fault->pointer,
                                           .message = fault->message};
        if (!keep_error(decoder->errors, &error)) {
            break;
        }
        count++;
    }
    return count;
}

/* Whatever the body still brings, it would be refused with more rejected records than these. */
static bool keeps_no_more(const struct decoder *decoder)
{
    const struct decode_errors *errors = decoder->errors;
    bool lost_some = (size_t)errors->rejected_count > errors->rejected_kept;
    return lost_some || errors->rejected_count >= rejected_max(decoder->options.records_max);
}

static void reject_record(struct decoder *decoder, struct span payload, bool with_rules)
{
    struct decode_errors *errors = decoder->errors;
    errors->rejected_count++;
    if (decoder->silent) {
        return;
    }
    size_t faults = decoder->faults_count + (with_rules ? decoder->rule_faults_count : 0);
    size_t first = errors->items_count;
    size_t count_max = first < DECODE_ERRORS_FULL_MAX ? DECODE_RECORD_ERRORS_MAX : 1;
    size_t count = keep_faults(decoder, with_rules, count_max);
    if (count == 0) {
        return; /* the ceiling of texts: this record counts as not kept */
    }
    const struct decode_rejected rejected = {
        .line = decoder->line,
        .operation = decoder->operation,
        .payload = payload,
        .errors_first = first,
        .errors_count = count,
        .errors_unkept = faults - count,
    };
    keep_rejected(errors, &rejected);
}

/* ---- records ------------------------------------------------------------------ */

enum err_code decoder_begin(struct decoder *decoder, int64_t line, struct err *err)
{
    if (decoder->errors->received_count >= decoder->options.records_max) {
        return err_set(err, ERR_TOO_LARGE,
                       "the body has more than %lld records; post it in smaller batches",
                       (long long)decoder->options.records_max);
    }
    if (decoder->frame->rows_count >= decoder->rows_max ||
        decoder->elements_bytes > decoder->options.frame_bytes_max) {
        return err_set(err, ERR_TOO_LARGE,
                       "the records would take more than %lld bytes of memory once decoded; "
                       "post them in smaller batches",
                       (long long)decoder->options.frame_bytes_max);
    }
    decoder->errors->received_count++;
    decoder->line = line;
    decoder->operation = decoder->options.operation;
    decoder->operation_seen = false;
    decoder->incomplete = false;
    decoder->silent = keeps_no_more(decoder);
    decoder->values_count = 0;
    decoder_faults_clear(decoder);
    return ERR_OK;
}

enum err_code decoder_check_size(const struct decoder *decoder, int64_t line, struct span payload,
                                 struct err *err)
{
    if (payload.size > (size_t)decoder->options.record_bytes_max) {
        return err_set(err, ERR_TOO_LARGE, "%s %lld: the record has more than %lld bytes",
                       decoder->options.format == DECODE_JSON_ARRAY ? "element" : "line",
                       (long long)line, (long long)decoder->options.record_bytes_max);
    }
    return ERR_OK;
}

/*
 * The first records tell how many the body has and how long their texts are: room for the rest at
 * once, so that nothing is copied from small memory to larger. No more than twice the body, for
 * those that begin unlike they go on.
 */
static void __attribute__((cold)) reserve_rest(struct decoder *decoder)
{
    struct frame *frame = decoder->frame;
    int64_t rest = (int64_t)(decoder->body_bytes / (decoder->payloads_bytes / RESERVE_AFTER + 1));
    int64_t rest_max = 2 * (int64_t)decoder->body_bytes / decode_row_bytes(decoder->schema);
    rest = rest < rest_max ? rest : rest_max;
    rest = rest < decoder->rows_max ? rest : decoder->rows_max;
    if (rest <= frame->rows_count || frame->rows_count == 0) {
        return;
    }
    frame_reserve(frame, rest - frame->rows_count);
    for (size_t i = 0; i < decoder->fields_count; i++) {
        struct column *column = &frame->columns[i];
        if (column->bytes_size > 0) {
            size_t each = column->bytes_size / (size_t)frame->rows_count + 1;
            size_t size = each * (size_t)(rest - frame->rows_count);
            column_reserve_bytes(column, size < decoder->body_bytes ? size : decoder->body_bytes);
        }
    }
}

void decoder_end(struct decoder *decoder, struct span payload)
{
    decoder->payloads_bytes += payload.size;
    if (decoder->errors->received_count == RESERVE_AFTER) {
        reserve_rest(decoder);
    }
    decoder_fill_missing(decoder);
    bool with_rules = decoder->operation != FRAME_DELETE;
    if (decoder->faults_count > 0 || (with_rules && decoder->rule_faults_count > 0)) {
        frame_undo_row(decoder->frame);
        reject_record(decoder, payload, with_rules);
    } else {
        frame_end_row(decoder->frame, decoder->operation, decoder->line);
        decoder->errors->accepted_count++;
    }
}

/* ---- bodies ------------------------------------------------------------------- */

static bool starts_with(struct span body, const char *bytes, size_t size)
{
    return body.size >= size && memcmp(body.data, bytes, size) == 0;
}

enum err_code decode_check_encoding(struct span *body, struct err *err)
{
    bool marked = starts_with(*body, "\xfe\xff", 2) || starts_with(*body, "\xff\xfe", 2);
    /* the first character of every form is ASCII: a zero beside it is half of a wider unit */
    bool wide = body->size >= 2 && (body->data[0] == 0 || body->data[1] == 0);
    if (marked || wide) {
        return err_set(err, ERR_INVALID,
                       "the body is not UTF-8; it looks like UTF-16 or UTF-32, convert it first");
    }
    if (starts_with(*body, "\xef\xbb\xbf", 3)) {
        *body = span_of(body->data + 3, body->size - 3);
    }
    return ERR_OK;
}

static enum err_code parse(struct decoder *decoder, struct span body, struct err *err)
{
    switch (decoder->options.format) {
    case DECODE_NDJSON:
        return decode_ndjson(decoder, body, err);
    case DECODE_JSON_ARRAY:
        return decode_json_array(decoder, body, err);
    case DECODE_CSV:
        return decode_csv(decoder, body, err);
    }
    assert(false && "a decode_format");
    return ERR_INVALID;
}

static enum err_code decode_into(struct decoder *decoder, struct span body, struct err *err)
{
    if (!decoder->options.is_part) {
        TRY(decode_check_encoding(&body, err));
    }
    TRY(parse(decoder, body, err));
    if (decoder->errors->received_count == 0) {
        return err_set(err, ERR_INVALID, "the body has no records");
    }
    if (frame_partitions_count(decoder->frame, DECODE_PARTITIONS_MAX) > DECODE_PARTITIONS_MAX) {
        return err_set(err, ERR_TOO_LARGE,
                       "the records belong to more than %d partitions of the table; sort them by "
                       "partition and post them in smaller batches",
                       DECODE_PARTITIONS_MAX);
    }
    return ERR_OK;
}

enum err_code decode_check_operation(const struct schema *schema,
                                     const struct decode_options *options, struct err *err)
{
    if (schema->merge == TABLE_APPEND && options->operation != FRAME_INSERT) {
        return err_set(err, ERR_INVALID, "an append table takes the operation insert only, not %s",
                       frame_operation_name(options->operation));
    }
    return ERR_OK;
}

enum err_code decode_body(struct span body, const struct schema *schema,
                          const struct decode_options *options, struct frame **frame_out,
                          struct decode_errors *errors, struct err *err)
{
    assert(errors->items == NULL);
    assert(errors->received_count == 0);
    if (body.size > DECODE_BODY_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "the body has more than %d bytes",
                       DECODE_BODY_BYTES_MAX);
    }
    TRY(decode_check_operation(schema, options, err));

    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    arena_init(&errors->texts, DECODE_ERRORS_BYTES_MAX);
    CLEANUP(decoder_deinit) struct decoder decoder;
    decoder_init(&decoder, schema, options, body.size, frame, errors);
    enum err_code code = decode_into(&decoder, body, err);
    if (code != ERR_OK) {
        decode_errors_deinit(errors);
        return code;
    }
    assert(errors->received_count == errors->accepted_count + errors->rejected_count);
    assert(frame->rows_count == errors->accepted_count);
    *frame_out = frame;
    frame = NULL;
    return ERR_OK;
}
