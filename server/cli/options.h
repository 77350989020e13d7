/* Flags of a command: "--name value", "--name=value", "--switch", and plain words. */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OPTIONS_WORDS_MAX = 8 };

struct option {
    const char *name; /* without dashes; NULL ends the list */
    const char **text;  /* one of the three is set */
    int64_t *integer;
    bool *flag;
    const char *value_name; /* for help; NULL for switches */
    const char *help;
};

struct words {
    size_t count;
    const char *items[OPTIONS_WORDS_MAX];
};

/*
 * Read argv[1…]; sets what the options point at.
 *   help_out  --help was given
 * Errors:  ERR_INVALID a flag that is not in the list, a value missing or no number.
 */
enum err_code options_read(int argc, char *const argv[], const struct option options[],
                           struct words *words_out, bool *help_out, struct err *err) MUST_USE;

/* "usage: sluice …" and the flags, on stdout. */
void options_print_help(const char *usage, const char *about, const struct option options[]);

/* Print "sluice NAME: message" on stderr and return EX_USAGE. */
int options_usage_error(const char *name, const struct err *err);
