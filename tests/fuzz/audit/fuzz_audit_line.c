/*
 * audit_line_decode: a record of the trail of any bytes. What it takes has a
 * positive sequence.
 */
#include "storage/audit/audit.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    int64_t sequence = 0;
    uint8_t prev[32];
    if (audit_line_decode(span_of(data, size), &sequence, prev, &err) == ERR_OK && sequence <= 0) {
        abort();
    }
    return 0;
}
