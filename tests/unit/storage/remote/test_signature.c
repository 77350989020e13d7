/*
 * Webhook signatures: the vector that every implementation has, rotation, and
 * everything a receiver must not take.
 */
#include "storage/remote/signature.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static const char *const secret_text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
static const char *const other_text = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
static const int64_t moment = 1614265330;

static struct signature_secret parsed(const char *text)
{
    struct err err = {0};
    struct signature_secret secret;
    cr_assert_eq(signature_secret_parse(span_of_text(text), &secret, &err), ERR_OK, "%s", err.msg);
    return secret;
}

static const struct signature_message *message(void)
{
    static struct signature_message value;
    value = (struct signature_message){
        .id = span_of_text("msg_p5jXN8AQM9LWM0D4loKWxJek"),
        .timestamp_seconds = moment,
        .body = span_of_text("{\"test\": 2432232314}"),
    };
    return &value;
}

Test(signature, is_that_of_other_implementations)
{
    struct signature_secret secret = parsed(secret_text);
    struct buffer value;
    buffer_init(&value, SIGNATURE_VALUE_BYTES_MAX);
    signature_write(&secret, 1, message(), &value);
    cr_expect(
        span_equal_text(buffer_span(&value), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        "%.*s", SPAN_PRINT(buffer_span(&value)));
    buffer_deinit(&value);
}

Test(signature, secrets_are_parsed_or_refused)
{
    static const struct {
        const char *text;
        size_t size; /* 0 = refused */
    } cases[] = {
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 24},
        {"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 24},
        {"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 32},
        {"whsec_"
         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
         "==",
         64},
        {"whsec_"
         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
         "=",
         0},
        {"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0},
        {"whsec_", 0},
        {"", 0},
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!", 0},
        {"WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 0},
        {"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 0},
        {" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        struct signature_secret secret = {.size = 7};
        enum err_code code = signature_secret_parse(span_of_text(cases[i].text), &secret, &err);
        cr_expect_eq(code, cases[i].size > 0 ? ERR_OK : ERR_INVALID, "%s", cases[i].text);
        cr_expect_eq(secret.size, cases[i].size > 0 ? cases[i].size : 7, "%s", cases[i].text);
        cr_expect(strstr(err.msg, "MfKQ") == NULL, "%s", err.msg);
    }
}

Test(signature, is_verified_while_secrets_are_rotated)
{
    const struct signature_secret secrets[2] = {parsed(secret_text), parsed(other_text)};
    struct buffer value;
    buffer_init(&value, SIGNATURE_VALUE_BYTES_MAX);
    signature_write(secrets, 2, message(), &value);
    cr_assert_not(value.overflowed);
    static const struct {
        size_t first, count;
    } receivers[] = {{0, 1}, {1, 1}, {0, 2}};
    for (size_t i = 0; i < COUNT(receivers); i++) {
        struct err err = {0};
        cr_expect_eq(signature_verify(secrets + receivers[i].first, receivers[i].count,
                                      message()->id, span_of_text("1614265330"),
                                      buffer_span(&value), message()->body, moment, &err),
                     ERR_OK, "%zu: %s", i, err.msg);
    }
    buffer_deinit(&value);
}

Test(signature, fills_but_never_passes_its_maximum)
{
    const struct signature_secret secrets[SIGNATURE_SECRETS_MAX] = {
        parsed(secret_text), parsed(other_text), parsed(secret_text), parsed(other_text)};
    struct buffer value;
    buffer_init(&value, SIGNATURE_VALUE_BYTES_MAX);
    signature_write(secrets, SIGNATURE_SECRETS_MAX, message(), &value);
    cr_expect_not(value.overflowed);
    cr_expect_eq(value.size, (size_t)SIGNATURE_VALUE_BYTES_MAX - 1);
    buffer_deinit(&value);
}

Test(signature, what_a_receiver_must_not_take)
{
#define GOOD "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    static const struct {
        const char *name;
        const char *id, *timestamp, *value, *body;
        int64_t after; /* the signed moment, receiver's clock */
        enum err_code code;
    } cases[] = {
        {"good", NULL, "1614265330", GOOD, NULL, 0, ERR_OK},
        {"late", NULL, "1614265330", GOOD, NULL, 300, ERR_OK},
        {"early", NULL, "1614265330", GOOD, NULL, -300, ERR_OK},
        {"among others", NULL, "1614265330", "v1a,AAAA v2,x  v1, " GOOD " v1,y", NULL, 0, ERR_OK},
        {"too late", NULL, "1614265330", GOOD, NULL, 301, ERR_FORBIDDEN},
        {"too early", NULL, "1614265330", GOOD, NULL, -301, ERR_FORBIDDEN},
        {"other id", "msg_q5jXN8AQM9LWM0D4loKWxJek", "1614265330", GOOD, NULL, 0, ERR_FORBIDDEN},
        {"other time", NULL, "1614265331", GOOD, NULL, 0, ERR_FORBIDDEN},
        {"other writing of the time", NULL, "01614265330", GOOD, NULL, 0, ERR_FORBIDDEN},
        {"other body", NULL, "1614265330", GOOD, "{\"test\": 2432232315}", 0, ERR_FORBIDDEN},
        {"no body", NULL, "1614265330", GOOD, "", 0, ERR_FORBIDDEN},
        {"other version", NULL, "1614265330",
         "v2"
         ","
         "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
         NULL, 0, ERR_FORBIDDEN},
        {"no version", NULL, "1614265330", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", NULL, 0,
         ERR_FORBIDDEN},
        {"cut", NULL, "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE", NULL, 0,
         ERR_FORBIDDEN},
        {"one bit", NULL, "1614265330", "v1,h0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", NULL, 0,
         ERR_FORBIDDEN},
        {"nothing", NULL, "1614265330", "", NULL, 0, ERR_FORBIDDEN},
        {"blanks", NULL, "1614265330", "   ", NULL, 0, ERR_FORBIDDEN},
        {"no id", "", "1614265330", GOOD, NULL, 0, ERR_INVALID},
        {"moved border", "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330", "{\"test\"", GOOD,
         ": 2432232314}", 0, ERR_INVALID},
        {"no time", NULL, "", GOOD, NULL, 0, ERR_INVALID},
        {"words for a time", NULL, "now", GOOD, NULL, 0, ERR_INVALID},
        {"a fraction", NULL, "1614265330.0", GOOD, NULL, 0, ERR_INVALID},
        {"far away", NULL, "9223372036854775807", GOOD, NULL, 0, ERR_FORBIDDEN},
        {"before time", NULL, "-9223372036854775808", GOOD, NULL, 0, ERR_FORBIDDEN},
    };
    struct signature_secret secret = parsed(secret_text);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        struct span id = cases[i].id != NULL ? span_of_text(cases[i].id) : message()->id;
        struct span body = cases[i].body != NULL ? span_of_text(cases[i].body) : message()->body;
        cr_expect_eq(signature_verify(&secret, 1, id, span_of_text(cases[i].timestamp),
                                      span_of_text(cases[i].value), body, moment + cases[i].after,
                                      &err),
                     cases[i].code, "%s: %s", cases[i].name, err.msg);
    }
    struct signature_secret other = parsed(other_text);
    struct err err = {0};
    cr_expect_eq(signature_verify(&other, 1, message()->id, span_of_text("1614265330"),
                                  span_of_text(GOOD), message()->body, moment, &err),
                 ERR_FORBIDDEN);
    signature_secret_wipe(&secret);
    cr_expect_eq(secret.size, 0u);
    cr_expect_eq(secret.bytes[0] | secret.bytes[23], 0);
}
