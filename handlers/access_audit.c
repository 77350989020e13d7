/*
 * Audit records of handlers. See access_audit.h for the contract.
 */
#include "handlers/access_audit.h"

#include "storage/audit/audit.h"
#include "storage/catalog/access.h"

#include <assert.h>
#include <stdlib.h>

/* What every record of a request has in common. */
static struct audit_event event_of(struct exchange *exchange, const char *event,
                                   const char *resource)
{
    return (struct audit_event){
        .event = event,
        .principal_id = exchange->principal != NULL ? exchange->principal->id.text : NULL,
        .token_id = exchange->token_id,
        .request_id = exchange->request_id.text,
        .action = exchange->route->action,
        .resource = resource,
        .outcome = AUDIT_SUCCEEDED,
        .count = -1,
        .remote = arena_text(&exchange->arena, exchange->remote),
    };
}

/* What cannot be recorded is not done: the caller answers 503. */
static enum err_code unavailable(struct exchange *exchange)
{
    exchange->err.code = ERR_BUSY;
    return err_wrap(&exchange->err, "the audit trail cannot be written; try again when it can");
}

_Static_assert((int)EXCHANGE_SUBJECT_BYTES == (int)AUDIT_SUBJECT_BYTES, "one form of the hash");

void access_audit_note_subject(const struct services *services, struct exchange *exchange,
                               struct span identifier)
{
    audit_subject(services->keys, identifier, exchange->log_subject);
}

enum err_code access_audit_change(struct services *services, struct exchange *exchange,
                                  const char *event, const char *resource)
{
    struct audit_event record = event_of(exchange, event, resource);
    if (audit_record_write(services->audit, &record, &exchange->err) != ERR_OK) {
        return unavailable(exchange);
    }
    return ERR_OK;
}

enum err_code access_audit_promise(struct services *services, struct exchange *exchange,
                                   const char *event, const char *resource, int64_t count)
{
    struct audit_event record = event_of(exchange, event, resource);
    record.count = count;
    if (audit_write(services->audit, &record, NULL, &exchange->err) != ERR_OK) {
        return unavailable(exchange);
    }
    return ERR_OK;
}

void access_audit_broken(struct services *services, struct exchange *exchange, const char *event,
                         const char *resource)
{
    struct audit_event record = event_of(exchange, event, resource);
    struct err ignored = {0}; /* the first failure is the one to answer */
    record.outcome = AUDIT_FAILED;
    record.detail = err_code_name(exchange->err.code);
    err_ignore(audit_write(services->audit, &record, NULL, &ignored));
}

/* Is it the one of the URL, whose hash access_audit_note_subject made? */
static bool is_noted(const struct exchange *exchange, struct span subject)
{
    const struct route *route = exchange->route;
    return exchange->log_subject[0] != '\0' && route->identifier != NULL &&
           span_equal(subject, exchange->parameters[route->identifier_index]);
}

enum err_code access_audit_read(struct services *services, struct exchange *exchange,
                                const char *event, const char *resource,
                                const struct span *subjects, size_t subjects_count, int64_t count)
{
    assert(subjects_count <= AUDIT_SUBJECTS_MAX);
    struct audit_event record = event_of(exchange, event, resource);
    record.count = count;
    if (subjects_count > 0) {
        const char **texts = arena_alloc(&exchange->arena, subjects_count * sizeof *texts);
        char(*hashes)[AUDIT_SUBJECT_BYTES] =
            arena_alloc(&exchange->arena, subjects_count * sizeof *hashes);
        if (texts == NULL || hashes == NULL) {
            return err_set(&exchange->err, ERR_TOO_LARGE,
                           "the request needs more memory than its limit; ask for fewer keys");
        }
        for (size_t i = 0; i < subjects_count; i++) {
            bool noted = is_noted(exchange, subjects[i]);
            if (!noted) {
                audit_subject(services->keys, subjects[i], hashes[i]);
            }
            texts[i] = noted ? exchange->log_subject : hashes[i];
        }
        record.subjects = texts;
        record.subjects_count = subjects_count;
    }
    if (audit_record_read(services->audit, &record, &exchange->err) != ERR_OK) {
        return unavailable(exchange);
    }
    return ERR_OK;
}
