/*
 * The list of problems of a definition. See definition.h and definition_problem.h.
 */
#include "storage/jobs/definition_problem.h"

#include "storage/base/mem.h"

#include <stdio.h>

enum { PROBLEM_MESSAGE_BYTES = 512 };

void definition_problems_add_list(struct definition_problems *problems, struct span pointer,
                                  const char *code, const char *format, va_list arguments)
{
    if (problems->count == DEFINITION_PROBLEMS_MAX) {
        problems->left_out++;
        return;
    }
    char message[PROBLEM_MESSAGE_BYTES];
    (void)vsnprintf(message, sizeof message, format, arguments); /* a longer one is cut */
    if (problems->items == NULL) {
        problems->items = mem_zeroed(DEFINITION_PROBLEMS_MAX, sizeof *problems->items);
    }
    char *copy = mem_alloc(pointer.size + 1);
    if (pointer.size > 0) {
        (void)memcpy(copy, pointer.data, pointer.size);
    }
    copy[pointer.size] = '\0';
    problems->items[problems->count++] = (struct definition_problem){
        .pointer = copy,
        .code = code,
        .message = mem_copy_text(message),
    };
}

void definition_problems_add(struct definition_problems *problems, struct span pointer,
                             const char *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    definition_problems_add_list(problems, pointer, code, format, arguments);
    va_end(arguments);
}

void definition_problems_deinit(struct definition_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        mem_free(problems->items[i].pointer);
        mem_free(problems->items[i].message);
    }
    mem_free(problems->items);
    *problems = (struct definition_problems){0};
}

enum err_code definition_problems_result(const struct definition_problems *problems,
                                         struct err *err)
{
    if (problems->count == 0) {
        return ERR_OK;
    }
    const struct definition_problem *first = &problems->items[0];
    size_t others = problems->count - 1 + problems->left_out;
    if (others == 0) {
        return err_set(err, ERR_INVALID, "%.100s: %s", first->pointer, first->message);
    }
    return err_set(err, ERR_INVALID, "%.100s: %s (and %zu more)", first->pointer, first->message,
                   others);
}
