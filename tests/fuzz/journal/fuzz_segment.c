/*
 * segment_decode: a segment file of any bytes. Besides not crashing: records lie
 * in order, within the file, and the end is behind the last of them.
 */
#include "storage/journal/segments.h"

#include <stdlib.h>

struct check {
    struct span file;
    int64_t end;
};

static bool check_record(void *arg, const struct location *location, struct span payload)
{
    struct check *check = arg;
    bool inside = payload.data >= check->file.data &&
                  payload.size <= (size_t)(check->file.data + check->file.size - payload.data);
    if (location->offset < check->end || !inside || location->size != (int64_t)payload.size) {
        abort();
    }
    check->end = location->offset + SEGMENT_RECORD_HEADER_BYTES + location->size;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct check check = {.file = span_of(data, size), .end = SEGMENT_HEADER_BYTES};
    int64_t end = 0;
    if (segment_decode(check.file, "SLUTEST1", 1, check_record, &check, &end, &err) == ERR_OK &&
        (end < check.end || (size_t)end > size)) {
        abort();
    }
    return 0;
}
