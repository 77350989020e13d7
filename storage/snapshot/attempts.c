/*
 * Attempts at a commit. See table_internal.h.
 */
#include "storage/snapshot/table_internal.h"

/* ERR_PRECONDITION stands for a conflict that does not go away by trying again. */
static enum err_code make_attempt(struct table *table, table_attempt_fn *attempt, void *arg,
                                  struct err *err)
{
    bool changed = false;
    enum err_code code = table_catch_up(table, NULL, &changed, err);
    if (code == ERR_CONFLICT) { /* foreign columns */
        err->code = ERR_PRECONDITION;
    }
    if (code != ERR_OK) {
        return err->code;
    }
    if (table->overwritten_from >= 0) {
        return err_set(err, ERR_PRECONDITION,
                       "version %lld was overwritten by another engine; refresh first",
                       (long long)table->overwritten_from);
    }
    return attempt(arg, err);
}

enum err_code table_write_attempts(struct table *table, table_attempt_fn *attempt, void *arg,
                                   struct err *err)
{
    enum err_code code = ERR_CONFLICT;
    struct err lost = {0};
    for (int i = 0; i < MERGE_ATTEMPTS_MAX && code == ERR_CONFLICT; i++) {
        err_clear(&lost);
        code = make_attempt(table, attempt, arg, &lost);
    }
    if (code == ERR_OK) {
        return ERR_OK;
    }
    *err = lost;
    if (code == ERR_CONFLICT) {
        err->code = ERR_BUSY;
    } else if (code == ERR_PRECONDITION) {
        err->code = ERR_CONFLICT;
    }
    return err_wrap(err, "table '%s'", table->name);
}
