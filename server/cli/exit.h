/* Error code → sysexits code, for all commands. */
#pragma once

#include "storage/base/err.h"

/* EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_NOPERM, … */
int exit_code_of(enum err_code code);
