/* traceparent; see trace.h. */
#include "server/trace.h"

#include <stdio.h>
#include <string.h>

enum { TRACE_AT = 3, TRACE_DIGITS = 32, PARENT_AT = 36, PARENT_DIGITS = 16, FLAGS_AT = 53 };

static bool is_hex(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f')) {
            return false;
        }
    }
    return true;
}

static bool is_zero(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '0') {
            return false;
        }
    }
    return true;
}

bool trace_is_sound(struct span header)
{
    const uint8_t *text = header.data;
    return header.size == TRACE_PARENT_BYTES - 1 && memcmp(text, "00-", TRACE_AT) == 0 &&
           is_hex(text + TRACE_AT, TRACE_DIGITS) && !is_zero(text + TRACE_AT, TRACE_DIGITS) &&
           text[PARENT_AT - 1] == '-' && is_hex(text + PARENT_AT, PARENT_DIGITS) &&
           !is_zero(text + PARENT_AT, PARENT_DIGITS) && text[FLAGS_AT - 1] == '-' &&
           is_hex(text + FLAGS_AT, 2);
}

void trace_accept(struct span header, const struct id *request_id,
                  char trace_parent_out[TRACE_PARENT_BYTES])
{
    if (trace_is_sound(header)) {
        memcpy(trace_parent_out, header.data, header.size);
        trace_parent_out[header.size] = '\0';
        return;
    }
    uint8_t bytes[16];
    id_bytes(request_id, bytes);
    char *at = trace_parent_out;
    static const char digits[] = "0123456789abcdef";
    memcpy(at, "00-", 3);
    at += 3;
    for (size_t i = 0; i < sizeof bytes; i++) {
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    *at++ = '-';
    for (size_t i = sizeof bytes / 2; i < sizeof bytes; i++) { /* the random half */
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    memcpy(at, "-00", 4);
}
