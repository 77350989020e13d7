/*
 * Dead letters: listed and shown without payload unless the caller may see it,
 * replayed exactly once at their original position.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/intake.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/receipt.h"
#include "handlers/times.h"
#include "storage/base/json_raw.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"
#include "storage/catalog/dead_letters.h"
#include "storage/catalog/tables.h"
#include "storage/columns/frame.h"
#include "storage/journal/journal.h"
#include "storage/snapshot/lookup.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <inttypes.h>
#include <string.h>

enum {
    LIST_DEFAULT = 100,
    LIST_MAX = 10000,
    PAYLOAD_SHOWN_BYTES_MAX = 16 << 20,
    ERRORS_PAGE = 1000,
    ERRORS_PAGE_BYTES = 16 << 20
};

static struct json *letter_to_json(struct services *services, struct exchange *exchange,
                                   const struct dead_letter *letter)
{
    struct json *json = json_new_object();
    json_set_text(json, "dead_letter_id", letter->id.text);
    json_set_text(json, "table", receipt_table_name(services, exchange, &letter->table));
    json_set_text(json, "batch_id", letter->batch.text);
    json_set(json, "line", letter->line > 0 ? json_new_integer(letter->line) : json_new_null());
    json_set_text(json, "pointer", letter->pointer);
    json_set_text(json, "code", letter->code);
    json_set_text(json, "message", letter->message);
    json_set_text(json, "state", dead_letter_state_name(letter->state));
    json_set_text(json, "operation", frame_operation_name(letter->operation));
    json_set_integer(json, "payload_bytes", letter->payload_size);
    times_set(json, "created_at", letter->created_at_us);
    times_set(json, "resolved_at", letter->resolved_at_us);
    json_set_text(json, "replayed_by",
                  letter->replay_batch.text[0] != '\0' ? letter->replay_batch.text : NULL);
    struct json *links = json_new_object();
    json_set_text(links, "self",
                  arena_format(&exchange->arena, "/v1/dead-letters/%s", letter->id.text));
    json_set_text(links, "batch",
                  arena_format(&exchange->arena, "/v1/batches/%s", letter->batch.text));
    json_set_text(links, "replay",
                  arena_format(&exchange->arena, "/v1/dead-letters/%s/replay", letter->id.text));
    json_set(json, "links", links);
    return json;
}

/* The query's filters; a caller without batch.read_any for the table sees its own only. */
static enum err_code parse_filter(struct services *services, struct exchange *exchange,
                                  struct dead_letter_filter *filter_out)
{
    struct dead_letter_filter filter = {0};
    const char *table_filter = NULL;
    struct span text = exchange_query(exchange, "table");
    if (text.data != NULL) {
        struct catalog_table record;
        table_filter = arena_text(&exchange->arena, text);
        TRY(catalog_table_get(services->catalog, table_filter, &exchange->arena, &record,
                              &exchange->err));
        filter.table = record.uuid;
    }
    text = exchange_query(exchange, "batch");
    if (text.data != NULL && !id_parse(text, &filter.batch)) {
        return err_set(&exchange->err, ERR_INVALID, "batch: give the id of a batch");
    }
    text = exchange_query(exchange, "code");
    filter.code = text.data != NULL ? arena_text(&exchange->arena, text) : NULL;
    text = exchange_query(exchange, "state");
    if (text.data != NULL) {
        enum dead_letter_state state;
        if (!dead_letter_state_parse(text, &state)) {
            return err_set(&exchange->err, ERR_INVALID,
                           "state: give pending, replaying, applied, superseded or discarded");
        }
        filter.state = (int)state;
    }
    if (!access_allows(exchange->principal, "batch.read_any", table_filter)) {
        filter.principal = exchange->principal->id;
    }
    *filter_out = filter;
    return ERR_OK;
}

static enum err_code list_letters(struct services *services, struct exchange *exchange,
                                  struct json **answer_out)
{
    int64_t limit = LIST_DEFAULT;
    TRY(exchange_query_integer(exchange, "limit", 1, LIST_MAX, &limit));
    struct dead_letter_filter filter;
    TRY(parse_filter(services, exchange, &filter));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    struct id after = {0};
    struct span after_text;
    bool has_after =
        json_as_string(json_get(state, "after"), &after_text) && id_parse(after_text, &after);
    struct dead_letter *letters = NULL;
    size_t count = 0;
    TRY(dead_letter_list(services->catalog, &filter, has_after ? &after : NULL, (size_t)limit,
                         &exchange->arena, &letters, &count, &exchange->err));

    struct json *answer = json_new_object();
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(list, letter_to_json(services, exchange, &letters[i]));
    }
    json_set(answer, "dead_letters", list);
    const char *next = NULL;
    if (count == (size_t)limit) {
        CLEANUP(json_free) struct json *next_state = json_new_object();
        json_set_text(next_state, "after", letters[count - 1].id.text);
        next = page_token_seal(services, exchange, &next_state);
    }
    json_set_text(answer, "next_page_token", next);
    *answer_out = answer;
    return ERR_OK;
}

enum handler_result handle_dead_letter_list(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_letters(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}

/* A letter the caller may see; others do not exist for it. */
static enum err_code find_visible(struct services *services, struct exchange *exchange,
                                  struct dead_letter *letter_out)
{
    struct id id;
    if (!id_parse(exchange->parameters[0], &id)) {
        return err_set(&exchange->err, ERR_NOT_FOUND, "there is no such dead letter");
    }
    TRY(dead_letter_get(services->catalog, &id, &exchange->arena, letter_out, &exchange->err));
    if (strcmp(letter_out->principal.text, exchange->principal->id.text) != 0 &&
        !access_allows(exchange->principal, "batch.read_any",
                       receipt_table_name(services, exchange, &letter_out->table))) {
        return err_set(&exchange->err, ERR_NOT_FOUND, "there is no such dead letter");
    }
    return ERR_OK;
}

/* The bytes of one letter, out of its batch's record. */
static enum err_code read_payload(struct services *services, struct exchange *exchange,
                                  const struct dead_letter *letter, struct buffer *record,
                                  struct span *payload_out)
{
    if (!location_is_set(&letter->payload) || letter->payload_size < 0) {
        return err_set(&exchange->err, ERR_NOT_FOUND, "the dead letter has no payload any more");
    }
    TRY(journal_read(services->dead_letters, &letter->payload, record, &exchange->err));
    size_t start = (size_t)letter->payload_start;
    if (letter->payload_start < 0 || start > record->size ||
        (size_t)letter->payload_size > record->size - start) {
        return err_set(&exchange->err, ERR_CORRUPT,
                       "the dead letter's payload lies outside its record; run sluice fsck");
    }
    *payload_out = span_of(record->data + start, (size_t)letter->payload_size);
    return ERR_OK;
}

static enum err_code show_payload(struct services *services, struct exchange *exchange,
                                  const struct dead_letter *letter, struct json *json)
{
    const char *table = receipt_table_name(services, exchange, &letter->table);
    json_set(json, "payload", json_new_null());
    if (!access_allows(exchange->principal, "dead_letter.payload", table)) {
        return ERR_OK;
    }
    struct buffer record;
    buffer_init(&record, JOURNAL_RECORD_BYTES_MAX);
    struct span payload;
    enum err_code code = read_payload(services, exchange, letter, &record, &payload);
    if (code == ERR_NOT_FOUND) {
        err_clear(&exchange->err);
        code = ERR_OK;
    } else if (code == ERR_OK && letter->line > 0 && payload.size <= PAYLOAD_SHOWN_BYTES_MAX) {
        size_t bad = 0;
        if (text_is_utf8(payload, &bad)) {
            json_set(json, "payload", json_new_string(payload));
        } else {
            struct buffer text;
            buffer_init(&text, 2 * PAYLOAD_SHOWN_BYTES_MAX);
            text_base64_encode(payload, &text);
            json_set(json, "payload_base64", json_new_string(buffer_span(&text)));
            buffer_deinit(&text);
        }
    }
    buffer_deinit(&record);
    TRY(code);
    return access_audit_read(services, exchange, "dead_letter.read", letter->id.text, NULL, 0, 1);
}

/*
 * The faults of the letter's record. Those of the door and those of the merge each
 * stand in order of line, so the whole list is walked, a page at a time.
 */
static enum err_code show_errors(struct services *services, struct exchange *exchange,
                                 const struct dead_letter *letter, struct json *json)
{
    struct json *list = json_new_array();
    json_set(json, "errors", list);
    struct arena page;
    arena_init(&page, ERRORS_PAGE_BYTES);
    int64_t after = -1;
    size_t count = ERRORS_PAGE;
    enum err_code code = ERR_OK;
    while (code == ERR_OK && count == ERRORS_PAGE) {
        struct batch_error *errors = NULL;
        arena_reset(&page);
        code = batch_errors(services->catalog, &letter->batch, after, ERRORS_PAGE, &page, &errors,
                            &count, &exchange->err);
        for (size_t i = 0; code == ERR_OK && i < count; i++) {
            after = errors[i].ordinal;
            if (errors[i].line == letter->line) {
                json_append(list, receipt_error_to_json(&errors[i]));
            }
        }
    }
    arena_deinit(&page);
    return code;
}

enum handler_result handle_dead_letter_get(struct services *services, struct exchange *exchange)
{
    struct dead_letter letter;
    if (find_visible(services, exchange, &letter) != ERR_OK) {
        return problem_err(exchange);
    }
    CLEANUP(json_free) struct json *json = letter_to_json(services, exchange, &letter);
    if (show_payload(services, exchange, &letter, json) != ERR_OK ||
        show_errors(services, exchange, &letter, json) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &json);
    return HANDLER_DONE;
}

/* ---- replay ---- */

/* What the body of a replay says. */
struct replay_request {
    struct span corrected; /* the given record or records, in the body; NULL data = none */
    bool has_force;
    bool forced;
};

/* `force` as it stands in the body. */
static enum err_code parse_force(struct exchange *exchange, struct span text, bool *forced_out)
{
    CLEANUP(json_free) struct json *force = NULL;
    TRY(json_parse(text, &force, &exchange->err));
    return json_as_boolean(force, forced_out)
               ? ERR_OK
               : err_set(&exchange->err, ERR_INVALID, "/force: give true or false");
}

/* One member of the body. */
static enum err_code parse_replay_member(struct exchange *exchange, bool is_record,
                                         struct span name, struct span value,
                                         struct replay_request *request)
{
    const char *wanted = is_record ? "record" : "records";
    const char *other = is_record ? "records" : "record";
    if (json_raw_is_name(name, "force") && !request->has_force) {
        request->has_force = true;
        return parse_force(exchange, value, &request->forced);
    }
    if (json_raw_is_name(name, other)) {
        return err_set(&exchange->err, ERR_INVALID, "/%s: this dead letter is %s; give `%s`", other,
                       is_record ? "one record" : "a whole batch", wanted);
    }
    if (!json_raw_is_name(name, wanted)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "the body may hold `%s` and `force`, each once, and nothing else", wanted);
    }
    if (request->corrected.data != NULL || value.data[0] != (is_record ? '{' : '[')) {
        return err_set(&exchange->err, ERR_INVALID, "/%s: give %s, and once", wanted,
                       is_record ? "one object" : "an array of objects");
    }
    request->corrected = value;
    return ERR_OK;
}

/*
 * The body is taken apart as text: records have a decoder that keeps their digits,
 * and a whole batch of them would make a large document.
 */
static enum err_code parse_replay(struct exchange *exchange, const struct dead_letter *letter,
                                  struct replay_request *request)
{
    struct json_raw raw = json_raw_members(exchange->body);
    struct span name;
    struct span value;
    if (exchange->body.size == 0) {
        return ERR_OK;
    }
    while (json_raw_next(&raw, &name, &value)) {
        TRY(parse_replay_member(exchange, letter->line > 0, name, value, request));
    }
    return json_raw_is_whole(&raw)
               ? ERR_OK
               : err_set(&exchange->err, ERR_INVALID, "the body must be one JSON object");
}

/*
 * The form a stored payload is in: a record of JSON starts with a brace; a CSV
 * record stands behind its header line; a line of NDJSON holds no line end.
 */
static enum decode_format format_of(struct span payload)
{
    bool has_line_end = payload.size > 0 && memchr(payload.data, '\n', payload.size) != NULL;
    bool is_object = payload.size > 0 && payload.data[0] == '{';
    return has_line_end && !is_object ? DECODE_CSV : DECODE_JSON_ARRAY;
}

static enum err_code decode_text(struct intake *intake, struct span text, enum decode_format format)
{
    struct exchange *exchange = intake->exchange;
    intake->batch.decode.format = format;
    enum err_code code = decode_body(text, intake->batch.schema, &intake->batch.decode,
                                     &intake->batch.frame, &intake->batch.errors, &exchange->err);
    if (code == ERR_INVALID) {
        return err_wrap(&exchange->err, "the record still breaks the table's rules");
    }
    return code;
}

/* The letter's records as a frame: corrected ones, the stored record, or the stored frame. */
static enum err_code decode_letter(struct intake *intake, const struct dead_letter *letter,
                                   const struct replay_request *request)
{
    struct exchange *exchange = intake->exchange;
    if (request->corrected.data != NULL) {
        return decode_text(intake, request->corrected, DECODE_JSON_ARRAY);
    }
    struct span payload; /* in intake->batch.plain, which outlives frame and errors */
    TRY(read_payload(intake->services, exchange, letter, &intake->batch.plain, &payload));
    if (letter->line > 0) {
        return decode_text(intake, payload, format_of(payload));
    }
    TRY(frame_decode(payload, intake->batch.schema, &intake->batch.frame, &exchange->err));
    intake->batch.errors.received_count = intake->batch.frame->rows_count;
    intake->batch.errors.accepted_count = intake->batch.frame->rows_count;
    return ERR_OK;
}

/*
 * Has the row moved on? Said now where the snapshot shows it already, so that
 * most callers need not wait for the merge to learn it; the merge decides.
 */
static enum err_code check_moved_on(struct intake *intake, const struct dead_letter *letter,
                                    bool *moved_out)
{
    const struct schema *schema = intake->batch.schema;
    if (schema->merge == TABLE_APPEND || intake->batch.frame->rows_count != 1) {
        return ERR_OK;
    }
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(intake->table);
    struct lookup_result found = {0};
    TRY(lookup_keys(snapshot, intake->batch.frame, &found, &intake->exchange->err));
    int64_t sequence =
        schema->has_sequence ? frame_sequence(intake->batch.frame, 0) : letter->batch_position;
    *moved_out = found.count == 1 && found.rows[0].found && found.rows[0].sequence > sequence;
    lookup_result_deinit(&found);
    return ERR_OK;
}

static enum err_code open_letter_table(struct intake *intake, const struct dead_letter *letter)
{
    struct exchange *exchange = intake->exchange;
    if (tables_find_by_uuid(intake->services->tables, &letter->table, &intake->table,
                            &exchange->err) != ERR_OK) {
        return err_wrap(&exchange->err, "the dead letter's table was deleted");
    }
    intake->batch.schema = table_schema(intake->table);
    intake->key_is_optional = true; /* the letter itself is replayed once only */
    intake->batch.decode.operation = letter->operation;
    return receipt_parse_wait(intake->services, exchange, &intake->wait);
}

static enum handler_result refuse_rejected(struct intake *intake)
{
    const struct decode_error *first = &intake->batch.errors.items[0];
    struct problem_item item = {
        .line = first->line,
        .pointer = first->pointer,
        .code = decode_code_name(first->code),
        .message = first->message,
    };
    return problem_items(intake->exchange, 422, "rejected_records",
                         "the record still breaks the table's rules; give a corrected `record`",
                         &item, 1, (int64_t)intake->batch.errors.items_count);
}

static enum handler_result replay(struct intake *intake, const struct dead_letter *letter,
                                  struct replay_request *request)
{
    struct exchange *exchange = intake->exchange;
    bool answered = false;
    bool moved_on = false;
    if (open_letter_table(intake, letter) != ERR_OK ||
        intake_claim_key(intake, &answered) != ERR_OK) {
        return problem_err(exchange);
    }
    if (answered) {
        return intake->result;
    }
    if (parse_replay(exchange, letter, request) != ERR_OK ||
        decode_letter(intake, letter, request) != ERR_OK) {
        return problem_err(exchange);
    }
    if (intake->batch.errors.rejected_count > 0) {
        return refuse_rejected(intake);
    }
    if (check_moved_on(intake, letter, &moved_on) != ERR_OK) {
        return problem_err(exchange);
    }
    if (moved_on && !request->forced) {
        return problem_answer(exchange, 409, "superseded",
                              "the row has moved on since; replay with force to apply it all the "
                              "same");
    }
    if (intake_accept_replay(intake, &letter->id, request->forced) != ERR_OK) {
        return problem_err(exchange);
    }
    intake->wait.replay = true;
    return intake_answer(intake);
}

enum handler_result handle_dead_letter_replay(struct services *services, struct exchange *exchange)
{
    struct dead_letter letter;
    if (find_visible(services, exchange, &letter) != ERR_OK) {
        return problem_err(exchange);
    }
    const char *table = receipt_table_name(services, exchange, &letter.table);
    if (!access_allows(exchange->principal, "dead_letter.replay", table)) {
        return problem_answer(exchange, 403, "forbidden",
                              "replaying needs dead_letter.replay for table '%s'", table);
    }
    CLEANUP(intake_deinit) struct intake intake;
    intake_init(&intake, services, exchange);
    buffer_init(&intake.batch.plain, JOURNAL_RECORD_BYTES_MAX);
    struct replay_request request = {0};
    return replay(&intake, &letter, &request);
}
