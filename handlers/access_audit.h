/*
 * Audit records of handlers: who read or changed what. The gate records refusals;
 * handlers record what they let out or in, before the answer leaves.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/services.h"

#include <stddef.h>
#include <stdint.h>

/*
 * A change (definition, access, token): durable before this returns.
 *
 *   event     "table.create", "token.issue", …
 *   resource  name or id it concerns
 *
 * Errors:  ERR_BUSY the trail cannot be written (503); in exchange->err.
 */
enum err_code access_audit_change(struct services *services, struct exchange *exchange,
                                  const char *event, const char *resource) MUST_USE;

/*
 * Health information is about to leave.
 *
 *   subjects  identifiers (plain; hashed here) whose records were asked for; may be NULL
 *   count     records returned
 *
 * Errors:  as above.
 */
enum err_code access_audit_read(struct services *services, struct exchange *exchange,
                                const char *event, const char *resource,
                                const struct span *subjects, size_t subjects_count,
                                int64_t count) MUST_USE;

/*
 * Name the person whose identifier came in the request's URL in its log line: by
 * the keyed hash that the audit trail has, never by the identifier.
 */
void access_audit_note_subject(const struct services *services, struct exchange *exchange,
                               struct span identifier);

/*
 * Records are about to be accepted: durable with the catalog's next promise (what is synced before
 * one: server/instance.c), so before the receipt leaves. Errors: as above.
 */
enum err_code access_audit_promise(struct services *services, struct exchange *exchange,
                                   const char *event, const char *resource, int64_t count) MUST_USE;

/* What access_audit_promise said did not come about; exchange->err says why. */
void access_audit_broken(struct services *services, struct exchange *exchange, const char *event,
                         const char *resource);
