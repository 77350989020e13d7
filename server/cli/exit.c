/* sysexits codes; see exit.h. */
#include "server/cli/exit.h"

#include <sysexits.h>

int exit_code_of(enum err_code code)
{
    switch (code) {
    case ERR_OK:
        return EX_OK;
    case ERR_INVALID:
    case ERR_TOO_LARGE:
    case ERR_CORRUPT:
    case ERR_UNSUPPORTED:
    case ERR_PRECONDITION:
    case ERR_CONFLICT:
    case ERR_EXISTS:
        return EX_DATAERR;
    case ERR_UNAUTHENTICATED:
    case ERR_FORBIDDEN:
        return EX_NOPERM;
    case ERR_NOT_FOUND:
        return EX_NOINPUT;
    case ERR_BUSY:
    case ERR_CANCELLED:
        return EX_TEMPFAIL;
    case ERR_NO_SPACE:
    case ERR_IO:
        return EX_IOERR;
    case ERR_NOMEM:
        return EX_OSERR;
    }
    return EX_SOFTWARE;
}
