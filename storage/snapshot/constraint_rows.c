/*
 * New constraints on rows that are there. See constraint_rows.h.
 */
#include "storage/snapshot/constraint_rows.h"

#include "storage/base/mem.h"
#include "storage/columns/predicate.h"
#include "storage/snapshot/file_rows.h"

#include <inttypes.h>

enum { CHUNK_ROWS = 8192 };

/* One that is new. */
struct added {
    const struct schema_constraint *constraint;
    struct predicate *predicate;
    int64_t broken_count;
};

struct added_list {
    struct added items[SCHEMA_CONSTRAINTS_MAX];
    size_t count;
};

static void added_list_deinit(struct added_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        predicate_free(&list->items[i].predicate);
    }
}

static enum err_code list_added(const struct snapshot *snapshot, const struct schema *next,
                                struct added_list *list, struct err *err)
{
    for (size_t i = 0; i < next->constraints_count; i++) {
        if (schema_has_constraint(snapshot->schema, &next->constraints[i])) {
            continue;
        }
        struct added *added = &list->items[list->count];
        TRY(predicate_parse(span_of_text(next->constraints[i].check), next, &added->predicate,
                            err));
        added->constraint = &next->constraints[i];
        list->count++;
    }
    return ERR_OK;
}

static void judge(struct added_list *list, const struct frame *frame)
{
    for (size_t i = 0; i < list->count; i++) {
        for (int64_t row = 0; row < frame->rows_count; row++) {
            list->items[i].broken_count +=
                predicate_evaluate(list->items[i].predicate, frame, row) != PREDICATE_TRUE;
        }
    }
}

static enum err_code judge_file(struct added_list *list, const struct snapshot *snapshot,
                                const struct snapshot_file *file, struct err *err)
{
    const struct file_rows_choice choice = {0};
    CLEANUP(file_rows_end) struct file_rows rows = {0};
    CLEANUP(frame_free) struct frame *frame = frame_new(snapshot->schema);
    TRY(file_rows_begin(&rows, snapshot, file, &choice, err));
    for (bool more = true; more;) {
        int64_t visited = 0;
        frame_reset(frame);
        TRY(file_rows_next(&rows, CHUNK_ROWS, frame, &visited, &more, err));
        judge(list, frame);
    }
    return ERR_OK;
}

enum err_code constraint_rows_check(const struct snapshot *snapshot, const struct schema *next,
                                    struct err *err)
{
    CLEANUP(added_list_deinit) struct added_list list = {0};
    TRY(list_added(snapshot, next, &list, err));
    for (size_t i = 0; list.count > 0 && i < snapshot->files_count; i++) {
        TRY(judge_file(&list, snapshot, &snapshot->files[i], err));
    }
    for (size_t i = 0; i < list.count; i++) {
        if (list.items[i].broken_count > 0) {
            return err_set(err, ERR_CONFLICT,
                           "constraint '%s': %" PRId64 " of the rows that are there do not meet "
                           "it (%.200s); correct or delete them first",
                           list.items[i].constraint->name, list.items[i].broken_count,
                           list.items[i].constraint->check);
        }
    }
    return ERR_OK;
}
