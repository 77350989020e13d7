/* Flags of commands; see options.h. */
#include "server/cli/options.h"

#include "storage/base/span.h"
#include "storage/base/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const struct option *find_option(const struct option options[], struct span name)
{
    for (size_t i = 0; options[i].name != NULL; i++) {
        if (span_equal_text(name, options[i].name)) {
            return &options[i];
        }
    }
    return NULL;
}

static enum err_code set_option(const struct option *option, const char *value, struct err *err)
{
    if (option->text != NULL) {
        *option->text = value;
        return ERR_OK;
    }
    assert(option->integer != NULL);
    if (!text_parse_int64(span_of_text(value), option->integer)) {
        return err_set(err, ERR_INVALID, "--%s needs a whole number", option->name);
    }
    return ERR_OK;
}

static enum err_code read_flag(int argc, char *const argv[], int *index,
                               const struct option options[], struct err *err)
{
    const char *flag = argv[*index] + 2;
    const char *equals = strchr(flag, '=');
    size_t size = equals != NULL ? (size_t)(equals - flag) : strlen(flag);
    const struct option *option = find_option(options, span_of(flag, size));
    if (option == NULL) {
        return err_set(err, ERR_INVALID, "there is no flag '%s'; see --help", argv[*index]);
    }
    if (option->flag != NULL) {
        *option->flag = true;
        return ERR_OK;
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (value == NULL && *index + 1 < argc) {
        *index += 1;
        value = argv[*index];
    }
    if (value == NULL) {
        return err_set(err, ERR_INVALID, "--%s needs a value", option->name);
    }
    return set_option(option, value, err);
}

enum err_code options_read(int argc, char *const argv[], const struct option options[],
                           struct words *words_out, bool *help_out, struct err *err)
{
    struct words words = {0};
    *help_out = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            *help_out = true;
        } else if (strncmp(argv[i], "--", 2) == 0) {
            TRY(read_flag(argc, argv, &i, options, err));
        } else if (words.count == OPTIONS_WORDS_MAX) {
            return err_set(err, ERR_INVALID, "too many arguments; see --help");
        } else {
            words.items[words.count] = argv[i];
            words.count++;
        }
    }
    *words_out = words;
    return ERR_OK;
}

void options_print_help(const char *usage, const char *about, const struct option options[])
{
    (void)printf("usage: %s\n\n%s\n", usage, about);
    for (size_t i = 0; options[i].name != NULL; i++) {
        char left[64];
        (void)snprintf(left, sizeof left, "--%s%s%s", options[i].name,
                       options[i].value_name != NULL ? " " : "",
                       options[i].value_name != NULL ? options[i].value_name : ""); /* fits */
        (void)printf("%s  %-24s %s\n", i == 0 ? "\n" : "", left, options[i].help);
    }
}

int options_usage_error(const char *name, const struct err *err)
{
    (void)fprintf(stderr, "sluice %s: %s\n", name, err->msg);
    return EX_USAGE;
}
