/*
 * Audit records of tasks. See task_audit.h.
 */
#include "workers/task_audit.h"

#include "storage/audit/audit.h"
#include "storage/catalog/access.h"

#include <inttypes.h>
#include <stdio.h>

enum err_code task_audit(struct task_attempt *attempt, const char *event, const char *action,
                         const char *table, const char *place, int64_t count, struct err *err)
{
    char detail[AUDIT_TEXT_BYTES_MAX];
    (void)snprintf(detail, sizeof detail, "run %" PRId64 ", task %s%s%s", attempt->run_id,
                   attempt->task_key, place != NULL ? ", to " : "",
                   place != NULL ? place : ""); /* cut is fine */
    const struct audit_event record = {
        .event = event,
        .principal_id = attempt->principal->id.text,
        .action = action,
        .resource = table,
        .outcome = AUDIT_SUCCEEDED,
        .count = count,
        .detail = detail,
    };
    if (audit_record_write(attempt->services->audit, &record, err) != ERR_OK) {
        err->code = ERR_BUSY;
        return err_wrap(err, "the audit trail cannot be written; try again when it can");
    }
    return ERR_OK;
}
