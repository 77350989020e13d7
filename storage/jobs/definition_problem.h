/*
 * Collecting what is wrong with a definition. Private to the room.
 *
 * Codes, stable for programs:
 *   unknown_member missing type range length count format choice duplicate
 *   unknown_type unknown_task unknown_parameter unknown_pool cycle not_allowed
 *   expectation template secret_not_allowed secret_needed
 *   unknown_table column path unknown_job unknown_secret unknown_principal forbidden
 */
#pragma once

#include "storage/base/span.h"
#include "storage/jobs/definition.h"

#include <stdarg.h>

void definition_problems_add(struct definition_problems *problems, struct span pointer,
                             const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void definition_problems_add_list(struct definition_problems *problems, struct span pointer,
                                  const char *code, const char *format, va_list arguments)
    __attribute__((format(printf, 4, 0)));

/* ERR_OK without problems; else ERR_INVALID with the first one and how many there are. */
enum err_code definition_problems_result(const struct definition_problems *problems,
                                         struct err *err) MUST_USE;
