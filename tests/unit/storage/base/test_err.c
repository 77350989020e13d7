/*
 * Errors: codes by errno, messages that grow outside-in and never overflow.
 */
#include "storage/base/err.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>

Test(err, set_and_wrap)
{
    struct err err = {0};
    cr_expect_eq(err_set(&err, ERR_CORRUPT, "footer length %d exceeds file size %d", 900, 12),
                 ERR_CORRUPT);
    cr_expect_eq(err_wrap(&err, "open %s", "part-7"), ERR_CORRUPT);
    cr_expect_eq(err_wrap(&err, "merge v%d", 41), ERR_CORRUPT);
    cr_expect_str_eq(err.msg, "merge v41: open part-7: footer length 900 exceeds file size 12");
    err_clear(&err);
    cr_expect_eq(err.code, ERR_OK);
    cr_expect_str_eq(err.msg, "");
}

Test(err, errno_chooses_the_code)
{
    static const struct {
        int number;
        enum err_code code;
    } cases[] = {
        {ENOSPC, ERR_NO_SPACE}, {EDQUOT, ERR_NO_SPACE}, {ENOENT, ERR_NOT_FOUND},
        {EEXIST, ERR_EXISTS},   {ENOMEM, ERR_NOMEM},    {EIO, ERR_IO},
        {EACCES, ERR_IO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        cr_expect_eq(err_set_errno(&err, cases[i].number, "open x"), cases[i].code);
        cr_expect_eq(err.sys, cases[i].number);
        cr_expect_eq(strncmp(err.msg, "open x: ", 8), 0, "%s", err.msg);
    }
}

Test(err, long_messages_are_cut_not_overrun)
{
    char text[2 * ERR_MESSAGE_BYTES];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct err err = {0};
    (void)err_set(&err, ERR_IO, "%s", text); /* the value is ERR_IO */
    cr_expect_eq(strlen(err.msg), (size_t)ERR_MESSAGE_BYTES - 1);
    (void)err_wrap(&err, "%s", text); /* the value is ERR_IO */
    cr_expect_eq(strlen(err.msg), (size_t)ERR_MESSAGE_BYTES - 1);
    (void)err_set_errno(&err, EIO, "%s", text); /* the value is ERR_IO */
    cr_expect_eq(strlen(err.msg), (size_t)ERR_MESSAGE_BYTES - 1);
}

static enum err_code fails(struct err *err)
{
    return err_set(err, ERR_BUSY, "busy");
}

static enum err_code tries(struct err *err, bool *after_out)
{
    TRY(fails(err));
    *after_out = true;
    return ERR_OK;
}

Test(err, try_returns_at_once)
{
    struct err err = {0};
    bool after = false;
    cr_expect_eq(tries(&err, &after), ERR_BUSY);
    cr_expect_not(after);
}

Test(err, every_code_has_a_name)
{
    for (enum err_code code = ERR_OK; code <= ERR_CANCELLED; code++) {
        cr_expect_neq(err_code_name(code)[0], '\0');
    }
    cr_expect_str_eq(err_code_name(ERR_NOT_FOUND), "not_found");
}
