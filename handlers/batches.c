/*
 * Batches: records in, with a receipt once they are durable.
 *
 * A posted batch: table and room in its lane → idempotency → inflate and decode →
 * judge → journal, dead letters, catalog, audit → wake the lane → receipt.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/intake.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/receipt.h"
#include "storage/base/hash.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"

#include <inttypes.h>
#include <string.h>

enum { ERRORS_PAGE_DEFAULT = 100, ERRORS_PAGE_MAX = 10000 };

/*
 * A batch that the caller may see: its own, or any with batch.read_any for its
 * table. Others do not exist for it. Errors: ERR_NOT_FOUND, in exchange->err.
 */
static enum err_code find_visible(struct services *services, struct exchange *exchange,
                                  struct batch *batch_out)
{
    struct id id;
    if (!id_parse(exchange->parameters[0], &id)) {
        return err_set(&exchange->err, ERR_NOT_FOUND,
                       "there is no such batch; its id is `batch_id` of its receipt");
    }
    TRY(batch_get(services->catalog, &id, &exchange->arena, batch_out, &exchange->err));
    if (strcmp(batch_out->principal.text, exchange->principal->id.text) != 0 &&
        !access_allows(exchange->principal, "batch.read_any",
                       receipt_table_name(services, exchange, &batch_out->table))) {
        return err_set(&exchange->err, ERR_NOT_FOUND,
                       "there is no such batch; its id is `batch_id` of its receipt");
    }
    exchange->log_batch = batch_out->id;
    return ERR_OK;
}

enum handler_result handle_batch_get(struct services *services, struct exchange *exchange)
{
    struct batch batch;
    struct receipt_wait wait;
    if (find_visible(services, exchange, &batch) != ERR_OK ||
        receipt_parse_wait(services, exchange, &wait) != ERR_OK) {
        return problem_err(exchange);
    }
    const char *etag =
        arena_format(&exchange->arena, "\"%s-%s\"", batch.id.text, batch_state_name(batch.state));
    if (wait.seconds == 0 || receipt_reached(&batch, wait.rung)) {
        if (exchange_is_current(exchange, etag)) {
            exchange_set_header(exchange, "ETag", "%s", etag);
            exchange_answer_empty(exchange, 304);
            return HANDLER_DONE;
        }
        if (receipt_write(services, exchange, &batch) != ERR_OK) {
            return problem_err(exchange);
        }
        exchange_set_header(exchange, "ETag", "%s", etag);
        exchange->status = 200;
        return HANDLER_DONE;
    }
    return receipt_answer(services, exchange, &batch.id, &wait);
}

static enum err_code list_errors(struct services *services, struct exchange *exchange,
                                 struct json **answer_out)
{
    struct batch batch;
    TRY(find_visible(services, exchange, &batch));
    int64_t limit = ERRORS_PAGE_DEFAULT;
    TRY(exchange_query_integer(exchange, "limit", 1, ERRORS_PAGE_MAX, &limit));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    int64_t after = -1;
    (void)json_as_integer(json_get(state, "after"), &after); /* absent: from the start */
    struct batch_error *errors = NULL;
    size_t count = 0;
    TRY(batch_errors(services->catalog, &batch.id, after, (size_t)limit, &exchange->arena, &errors,
                     &count, &exchange->err));

    struct json *answer = json_new_object();
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(list, receipt_error_to_json(&errors[i]));
    }
    json_set(answer, "errors", list);
    const char *next = NULL;
    if (count == (size_t)limit) {
        CLEANUP(json_free) struct json *next_state = json_new_object();
        json_set_integer(next_state, "after", errors[count - 1].ordinal);
        next = page_token_seal(services, exchange, &next_state);
    }
    json_set_text(answer, "next_page_token", next);
    *answer_out = answer;
    return ERR_OK;
}

enum handler_result handle_batch_errors(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_errors(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}

enum handler_result handle_batch_post(struct services *services, struct exchange *exchange)
{
    CLEANUP(intake_deinit) struct intake intake;
    intake_init(&intake, services, exchange);
    bool answered = false;
    enum err_code code = intake_open_table(&intake);
    if (code == ERR_OK) {
        code = intake_parse_options(&intake);
    }
    if (code == ERR_OK) {
        code = intake_claim_key(&intake, &answered);
    }
    if (code == ERR_OK && !answered) {
        code = intake_decode(&intake, &answered);
    }
    if (code == ERR_OK && !answered) {
        code = intake_judge(&intake, &answered);
    }
    if (code != ERR_OK) {
        return problem_err(exchange);
    }
    return answered ? intake.result : intake_accept(&intake);
}
