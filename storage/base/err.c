/*
 * Errors. See err.h for the contract.
 */
#define SLUICE_ERR_C
#include "storage/base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const code_names[] = {
    [ERR_OK] = "ok",
    [ERR_INVALID] = "invalid",
    [ERR_UNAUTHENTICATED] = "unauthenticated",
    [ERR_FORBIDDEN] = "forbidden",
    [ERR_NOT_FOUND] = "not_found",
    [ERR_CONFLICT] = "conflict",
    [ERR_TOO_LARGE] = "too_large",
    [ERR_BUSY] = "busy",
    [ERR_UNSUPPORTED] = "unsupported",
    [ERR_CORRUPT] = "corrupt",
    [ERR_EXISTS] = "exists",
    [ERR_PRECONDITION] = "precondition",
    [ERR_NO_SPACE] = "no_space",
    [ERR_IO] = "io",
    [ERR_NOMEM] = "nomem",
    [ERR_CANCELLED] = "cancelled",
};

static enum err_code set_va(struct err *err, enum err_code code, int sys, const char *format,
                            va_list arguments) __attribute__((format(printf, 4, 0)));

static enum err_code set_va(struct err *err, enum err_code code, int sys, const char *format,
                            va_list arguments)
{
    assert(err != NULL);
    assert(code != ERR_OK);
    err->code = code;
    err->sys = sys;
    (void)vsnprintf(err->msg, sizeof err->msg, format,
                    arguments); /* a cut message is still useful */
    return code;
}

enum err_code err_set(struct err *err, enum err_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum err_code result = set_va(err, code, 0, format, arguments);
    va_end(arguments);
    return result;
}

enum err_code err_set_sys(struct err *err, enum err_code code, int sys, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum err_code result = set_va(err, code, sys, format, arguments);
    va_end(arguments);
    return result;
}

static enum err_code code_of_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

enum err_code err_set_errno(struct err *err, int number, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum err_code result = set_va(err, code_of_errno(number), number, format, arguments);
    va_end(arguments);

    size_t used = strlen(err->msg);
    char reason[128];
    (void)snprintf(err->msg + used, sizeof err->msg - used, ": %s",
                   strerror_r(number, reason, sizeof reason)); /* a cut message is still useful */
    return result;
}

enum err_code err_wrap(struct err *err, const char *format, ...)
{
    assert(err != NULL);
    assert(err->code != ERR_OK);

    char inner[ERR_MESSAGE_BYTES];
    memcpy(inner, err->msg, sizeof inner);

    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(err->msg, sizeof err->msg, format, arguments); /* cut is fine */
    va_end(arguments);

    size_t used = strlen(err->msg);
    (void)snprintf(err->msg + used, sizeof err->msg - used, ": %s", inner); /* cut is fine */
    return err->code;
}

void err_clear(struct err *err)
{
    *err = (struct err){0};
}

const char *err_code_name(enum err_code code)
{
    assert((size_t)code < sizeof code_names / sizeof code_names[0]);
    return code_names[code];
}
