/*
 * Parting a batch by expectations: what stays, what is put aside, what goes. See
 * expectation.h.
 */
#include "storage/columns/expectation_bound.h"

#include "storage/base/mem.h"
#include "storage/columns/decode.h"
#include "storage/columns/encode_json.h"

#include <stdio.h>

enum { MESSAGE_BYTES = EXPECTATION_NAME_BYTES_MAX + 64 };

/* Where the rows of a frame go. */
struct parting {
    const struct expectations *list;
    const struct frame *frame;
    uint16_t *verdicts;
    int64_t *kept; /* rows that stay */
    int64_t kept_count;
    int64_t *aside; /* rows that are quarantined */
    int64_t aside_count;
    size_t *ends; /* of their payloads */
};

static void parting_deinit(struct parting *parting)
{
    mem_free(parting->verdicts);
    mem_free(parting->kept);
    mem_free(parting->aside);
    mem_free(parting->ends);
}

static const struct expectation *expectation_of(const struct parting *parting, int64_t row)
{
    return &parting->list->items[parting->verdicts[row] - 1];
}

static void sort_out(struct parting *parting, struct buffer *payloads)
{
    for (int64_t row = 0; row < parting->frame->rows_count; row++) {
        if (parting->verdicts[row] == EXPECTATION_KEPT) {
            parting->kept[parting->kept_count++] = row;
        } else if (expectation_of(parting, row)->action == EXPECTATION_QUARANTINE) {
            encode_json_row(parting->frame, row, NULL, payloads);
            parting->ends[parting->aside_count] = payloads->size;
            parting->aside[parting->aside_count++] = row;
        }
    }
}

/* The payloads do not move any more. */
static enum err_code put_aside(const struct parting *parting, size_t payloads_before,
                               const struct buffer *payloads, struct decode_errors *errors,
                               struct err *err)
{
    size_t start = payloads_before;
    for (int64_t i = 0; i < parting->aside_count; i++) {
        int64_t row = parting->aside[i];
        const struct expectation *expectation = expectation_of(parting, row);
        int64_t line = parting->frame->lines != NULL ? parting->frame->lines[row] : 0;
        char pointer[SCHEMA_FOREIGN_NAME_BYTES_MAX + 2];
        char message[MESSAGE_BYTES];
        (void)snprintf(pointer, sizeof pointer, "/%s", expectation->columns[0]); /* fits */
        (void)snprintf(message, sizeof message, "does not meet the expectation '%s'",
                       expectation->name); /* fits */
        const struct decode_rejected rejected = {
            .line = line,
            .operation = frame_operation_at(parting->frame, row),
            .payload = span_of(payloads->data + start, parting->ends[i] - start),
            .stands_alone = true,
        };
        const struct decode_error error = {
            .line = line, .code = DECODE_EXPECTATION, .pointer = pointer, .message = message};
        if (!decode_errors_reject(errors, &rejected, &error)) {
            return err_set(err, ERR_TOO_LARGE,
                           "more rows are quarantined than can be told of; bring smaller batches, "
                           "or drop the rows");
        }
        start = parting->ends[i];
    }
    return ERR_OK;
}

enum err_code expectations_part(const struct bound_expectations *bound, struct frame **frame_inout,
                                struct decode_errors *errors, struct expectation_tally *tallies,
                                struct buffer *payloads, int64_t *dropped_out, struct err *err)
{
    const struct frame *frame = *frame_inout;
    size_t count = (size_t)frame->rows_count + 1;
    CLEANUP(parting_deinit)
    struct parting parting = {.list = bound->list,
                              .frame = frame,
                              .verdicts = mem_zeroed(count, sizeof *parting.verdicts)};
    int64_t taken = expectations_apply(bound, frame, tallies, parting.verdicts);
    *dropped_out = 0;
    if (taken == 0) {
        return ERR_OK;
    }
    parting.kept = mem_zeroed(count, sizeof *parting.kept);
    parting.aside = mem_zeroed(count, sizeof *parting.aside);
    parting.ends = mem_zeroed(count, sizeof *parting.ends);
    size_t payloads_before = payloads->size;
    sort_out(&parting, payloads);
    TRY(buffer_check(payloads, "quarantined rows", err));
    TRY(put_aside(&parting, payloads_before, payloads, errors, err));

    struct frame *kept = frame_new(frame->schema);
    frame_append_rows(kept, frame, parting.kept, parting.kept_count);
    int64_t dropped = taken - parting.aside_count;
    errors->received_count -= dropped;
    errors->accepted_count -= dropped;
    frame_free(frame_inout);
    *frame_inout = kept;
    *dropped_out = dropped;
    return ERR_OK;
}
