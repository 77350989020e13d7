/* Reporting of commands; see common.h. */
#include "server/cli/common.h"

#include "server/cli/exit.h"

#include <inttypes.h>
#include <stdio.h>

int common_fail(const char *name, const struct err *err)
{
    (void)fflush(stdout); /* in the order it happened */
    (void)fprintf(stderr, "sluice %s: %s\n", name, err->msg);
    return exit_code_of(err->code);
}

void common_print_json(const struct json *value)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, CLIENT_ANSWER_BYTES_MAX);
    json_write(value, &text);
    (void)printf("%.*s\n", SPAN_PRINT(buffer_span(&text)));
}

const char *common_text(const struct json *object, const char *member, char *scratch, size_t size)
{
    const struct json *value = json_get(object, member);
    int64_t integer = 0;
    bool boolean = false;
    const char *text = json_text(value);
    if (text != NULL) {
        return text;
    }
    if (json_integer(value, &integer)) {
        (void)snprintf(scratch, size, "%" PRId64, integer); /* callers' arrays hold a number */
        return scratch;
    }
    if (json_boolean(value, &boolean)) {
        return boolean ? "true" : "false";
    }
    return "-";
}
