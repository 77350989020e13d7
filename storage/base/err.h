/*
 * Errors: a status code as the return value, and one caller-owned `struct err`
 * as the last parameter that carries the origin and a message.
 *
 * Codes are chosen by what the caller can do about them, not by what broke.
 * The message is extended outside-in by err_wrap where a *name* is added
 * (file, table, version, line); a lower message is never replaced.
 * Messages never carry record contents, member keys or tokens.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

enum err_code {
    ERR_OK = 0,
    ERR_INVALID,         /* the input breaks a rule; fix it before trying again */
    ERR_UNAUTHENTICATED, /* nobody we know */
    ERR_FORBIDDEN,       /* known, but not allowed */
    ERR_NOT_FOUND,
    ERR_CONFLICT,     /* somebody else moved first; reload and try again */
    ERR_TOO_LARGE,    /* over a limit with a name */
    ERR_BUSY,         /* over capacity for now; try again later */
    ERR_UNSUPPORTED,  /* well formed, but not something we do */
    ERR_CORRUPT,      /* stored bytes are not what was written */
    ERR_EXISTS,       /* the name is taken */
    ERR_PRECONDITION, /* a condition the caller stated does not hold */
    ERR_NO_SPACE,     /* disk full: refuse writes, go on reading */
    ERR_IO,           /* reading or a remote side failed; may work later */
    ERR_NOMEM,        /* a memory budget is used up */
    ERR_CANCELLED,    /* we are stopping */
};

enum { ERR_MESSAGE_BYTES = 480 };

/* One error, owned by whoever starts a request or a task; starts zeroed. */
struct err {
    enum err_code code;
    int sys;                     /* errno, SQLite or curl number of the origin, 0 = none */
    char msg[ERR_MESSAGE_BYTES]; /* complete sentence parts, outermost name first */
};

/*
 * Set `err` and return `code`, so that a failing branch is one line.
 * The first failure wins its detail: callers set once and wrap afterwards.
 *
 * Errors:  returns `code`, which must not be ERR_OK.
 * Thread:  `err` belongs to the caller.
 */
enum err_code err_set(struct err *err, enum err_code code, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));

/* As err_set, with the origin's own number (errno and the like) kept and named. */
enum err_code err_set_sys(struct err *err, enum err_code code, int sys, const char *format, ...)
    __attribute__((cold, format(printf, 4, 5)));

/*
 * Choose the code for a failed system call by errno and describe it:
 * ENOSPC and EDQUOT are ERR_NO_SPACE, ENOENT is ERR_NOT_FOUND, EEXIST is
 * ERR_EXISTS, ENOMEM is ERR_NOMEM, everything else is ERR_IO.
 */
enum err_code err_set_errno(struct err *err, int number, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));

/* Put "<context>: " in front of the message; returns err->code. */
enum err_code err_wrap(struct err *err, const char *format, ...)
    __attribute__((cold, format(printf, 2, 3)));

/* Forget an error that was handled. */
void err_clear(struct err *err);

/* For a result that does not matter; say why in a comment: `err_ignore(call);`. */
static inline void err_ignore(enum err_code code)
{
    (void)code;
}

#if defined(SLUICE_ANALYSIS) && !defined(SLUICE_ERR_C)
/* Static analysis reads one file at a time and must be told that these never return ERR_OK. */
static inline enum err_code err_failure(enum err_code code)
{
    if (code == ERR_OK) {
        __builtin_unreachable();
    }
    return code;
}
#define err_set(...) err_failure((err_set)(__VA_ARGS__))
#define err_set_sys(...) err_failure((err_set_sys)(__VA_ARGS__))
#define err_set_errno(...) err_failure((err_set_errno)(__VA_ARGS__))
#define err_wrap(...) err_failure((err_wrap)(__VA_ARGS__))
#endif

/* Stable lower-case name of a code ("not_found"), for logs and metrics. */
const char *err_code_name(enum err_code code);

/*
 * Return the code of a failed call to our caller. The only macro of the code
 * base that hides a return; it stands alone on its line.
 */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum err_code try_code_ = (call);                                                          \
        if (try_code_ != ERR_OK) {                                                                 \
            return try_code_;                                                                      \
        }                                                                                          \
    } while (0)

/* Run fn(&variable) when the variable leaves its scope, which may be its only use. */
#define CLEANUP(fn) __attribute__((cleanup(fn), unused))

#define MUST_USE __attribute__((warn_unused_result))
