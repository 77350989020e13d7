#include "storage/catalog/access.h"

#include "tests/unit/storage/catalog/fixture.h"
#include "storage/base/clock.h"
#include "storage/base/hash.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(access, .init = fixture_set_up, .fini = fixture_tear_down);

static const int64_t hour_us = INT64_C(3600) * 1000000;

struct issued {
    struct id principal;
    struct token_id id;
    char text[TOKEN_TEXT_BYTES + 1];
};

static struct issued issue(const char *name, const struct access_assignment *assignments,
                           size_t count)
{
    struct err err = {0};
    struct issued issued;
    cr_assert_eq(principal_create(fixture.catalog, name, PRINCIPAL_SERVICE, assignments, count,
                                  &issued.principal, &err),
                 ERR_OK, "%s", err.msg);
    cr_assert_eq(access_token_issue(fixture.catalog, &issued.principal, "test",
                                    clock_wall_us() + hour_us, issued.text, &issued.id, &err),
                 ERR_OK, "%s", err.msg);
    return issued;
}

static enum err_code authenticate(const char *text, int64_t now_us,
                                  struct access_identity *identity)
{
    struct err err = {0};
    return access_authenticate(fixture.catalog, span_of_text(text), now_us, identity, &err);
}

static bool allows(const struct issued *issued, const char *action, const char *table)
{
    struct access_identity identity;
    cr_assert_eq(authenticate(issued->text, clock_wall_us(), &identity), ERR_OK);
    bool allowed = access_allows(identity.principal, action, table);
    struct access_explanation explanation;
    access_explain(identity.principal, action, table, &explanation);
    cr_expect_eq(explanation.allowed, allowed);
    cr_expect_eq(explanation.role != NULL, allowed);
    access_release(&identity);
    return allowed;
}

Test(access, patterns_match_by_star_at_the_end_only)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"*", "", true},
        {"*", "anything", true},
        {"rows.read", "rows.read", true},
        {"rows.read", "rows.reader", false},
        {"rows.reader", "rows.read", false},
        {"rows.*", "rows.read", true},
        {"rows.*", "rows.", true},
        {"rows.*", "rows", false},
        {"rows.*", "row.read", false},
        {"a*c", "abc", false},
        {"a*c", "a*c", true},
        {"", "", true},
        {"", "a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(access_pattern_matches(cases[i].pattern, cases[i].text), cases[i].matches,
                     "'%s' on '%s'", cases[i].pattern, cases[i].text);
    }
}

Test(access, roles_allow_what_the_matrix_says)
{
    static const char *const roles[] = {"admin",   "operator", "engineer",
                                        "partner", "analyst",  "auditor"};
    /* One letter a role, in the order above; '-' = denied. */
    static const struct {
        const char *action;
        const char *allowed;
    } matrix[] = {
        {"table.define", "a-e---"},        {"table.delete", "a-e---"},
        {"table.read", "aoepny"},          {"batch.post", "a-ep--"},
        {"batch.read", "aoep-y"},          {"batch.read_any", "aoe--y"},
        {"rows.read", "a-e-n-"},           {"lookup.read", "a-e-n-"},
        {"member.read", "a-e-n-"},         {"dead_letter.read", "aoep--"},
        {"dead_letter.payload", "a-e---"}, {"dead_letter.replay", "aoe---"},
        {"token.manage", "a-----"},        {"principal.manage", "a-----"},
        {"audit.read", "a----y"},          {"metrics.read", "aoe--y"},
        {"access.explain", "ao---y"},      {"unknown.action", "a-----"},
    };
    for (size_t i = 0; i < 6; i++) {
        const struct access_assignment assignment = {.role = roles[i]};
        struct issued issued =
            issue(roles[i][0] == 'a' && i == 0 ? "boss" : roles[i], &assignment, 1);
        for (size_t j = 0; j < sizeof matrix / sizeof matrix[0]; j++) {
            bool expected = matrix[j].allowed[i] != '-';
            cr_expect_eq(allows(&issued, matrix[j].action, "claims"), expected, "%s %s", roles[i],
                         matrix[j].action);
        }
    }
}

Test(access, scopes_limit_a_role_to_tables)
{
    const struct access_assignment assignments[] = {
        {.role = "partner", .scope_count = 2, .scope = (const char *const[]){"claims", "rx_*"}},
        {.role = "analyst", .scope_count = 1, .scope = (const char *const[]){"formulary"}},
    };
    struct issued partner = issue("acme", assignments, 2);
    cr_expect(allows(&partner, "batch.post", "claims"));
    cr_expect(allows(&partner, "batch.post", "rx_2026"));
    cr_expect_not(allows(&partner, "batch.post", "claims2"));
    cr_expect_not(allows(&partner, "batch.post", "formulary"));
    cr_expect(allows(&partner, "rows.read", "formulary"));
    cr_expect_not(allows(&partner, "rows.read", "claims"));
    cr_expect(allows(&partner, "batch.read", NULL), "its own batches");
    cr_expect_not(allows(&partner, "batch.post", NULL));
    cr_expect_not(allows(&partner, "metrics.read", NULL));
}

Test(access, refuses_tokens_that_are_not_good)
{
    struct access_identity identity;
    const struct access_assignment assignment = {.role = "analyst"};
    struct issued issued = issue("someone", &assignment, 1);
    struct issued other = issue("other", &assignment, 1);
    int64_t now_us = clock_wall_us();
    cr_expect_eq(authenticate("", now_us, &identity), ERR_UNAUTHENTICATED);
    cr_expect_eq(authenticate("slc_", now_us, &identity), ERR_UNAUTHENTICATED);
    cr_expect_eq(authenticate(issued.text, now_us + 2 * hour_us, &identity), ERR_UNAUTHENTICATED,
                 "expired");

    char unknown[TOKEN_TEXT_BYTES + 1];
    struct token_id unknown_id;
    token_new(unknown, &unknown_id);
    cr_expect_eq(authenticate(unknown, now_us, &identity), ERR_UNAUTHENTICATED, "unknown");

    struct err err = {0};
    for (int i = 0; i < 3; i++) { /* the second time it has been seen */
        cr_assert_eq(authenticate(issued.text, now_us, &identity), ERR_OK);
        cr_expect_str_eq(identity.principal->name, "someone");
        cr_expect_str_eq(identity.token.text, issued.id.text);
        access_release(&identity);
    }
    cr_assert_eq(access_token_revoke(fixture.catalog, &issued.id, &err), ERR_OK);
    cr_expect_eq(authenticate(issued.text, now_us, &identity), ERR_UNAUTHENTICATED, "revoked");
    cr_assert_eq(access_token_revoke(fixture.catalog, &issued.id, &err), ERR_OK, "twice");
    cr_expect_eq(access_token_revoke(fixture.catalog, &unknown_id, &err), ERR_NOT_FOUND);

    cr_assert_eq(principal_update(fixture.catalog, &other.principal, true, &assignment, 1, &err),
                 ERR_OK);
    cr_expect_eq(authenticate(other.text, now_us, &identity), ERR_UNAUTHENTICATED, "disabled");
    fixture_reopen();
    cr_expect_eq(authenticate(issued.text, now_us, &identity), ERR_UNAUTHENTICATED);
    cr_expect_eq(authenticate(other.text, now_us, &identity), ERR_UNAUTHENTICATED);
    cr_assert_eq(authenticate(fixture.token, now_us, &identity), ERR_OK);
    access_release(&identity);
}

Test(access, a_token_with_another_secret_is_refused_before_and_after_the_real_one)
{
    struct access_identity identity;
    const struct access_assignment assignment = {.role = "analyst"};
    struct issued issued = issue("someone", &assignment, 1);
    /* Same id, another secret, right checksum: what a guesser would try. */
    char forged[TOKEN_TEXT_BYTES + 1];
    struct token_id id;
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    memcpy(forged, issued.text, sizeof forged);
    forged[20] = forged[20] == 'x' ? 'y' : 'x';
    size_t crc_at = 0;
    bool parsed = false;
    for (crc_at = 0; crc_at < 1; crc_at++) {
        uint32_t crc = hash_crc32(span_of(forged, TOKEN_TEXT_BYTES - TOKEN_CRC_BYTES));
        for (size_t i = TOKEN_TEXT_BYTES; i > TOKEN_TEXT_BYTES - TOKEN_CRC_BYTES; i--) {
            forged[i - 1] = digits[crc % 62];
            crc /= 62;
        }
        parsed = token_parse(span_of_text(forged), &id);
    }
    cr_assert(parsed);
    int64_t now_us = clock_wall_us();
    cr_expect_eq(authenticate(forged, now_us, &identity), ERR_UNAUTHENTICATED);
    cr_assert_eq(authenticate(issued.text, now_us, &identity), ERR_OK);
    access_release(&identity);
    cr_expect_eq(authenticate(forged, now_us, &identity), ERR_UNAUTHENTICATED);
}

Test(access, an_identity_outlives_the_change_of_the_snapshot)
{
    struct access_identity identity;
    struct err err = {0};
    const struct access_assignment analyst = {.role = "analyst"};
    struct issued issued = issue("someone", &analyst, 1);
    cr_assert_eq(authenticate(issued.text, clock_wall_us(), &identity), ERR_OK);
    cr_assert_eq(principal_update(fixture.catalog, &issued.principal, false, NULL, 0, &err),
                 ERR_OK);
    cr_expect(access_allows(identity.principal, "rows.read", "claims"), "as of its request");
    access_release(&identity);
    cr_expect_not(allows(&issued, "rows.read", "claims"));
}

Test(access, checks_what_it_is_given)
{
    struct err err = {0};
    struct id id;
    struct token_id token;
    char text[TOKEN_TEXT_BYTES + 1];
    const struct access_assignment good = {.role = "analyst"};
    const struct {
        const char *name;
        struct access_assignment assignment;
        enum err_code code;
    } cases[] = {
        {"", {.role = "analyst"}, ERR_INVALID},
        {"with space", {.role = "analyst"}, ERR_INVALID},
        {"admin", {.role = "analyst"}, ERR_EXISTS},
        {"a", {.role = "root"}, ERR_INVALID},
        {"b",
         {.role = "analyst", .scope_count = 1, .scope = (const char *const[]){"A"}},
         ERR_INVALID},
        {"c",
         {.role = "analyst", .scope_count = 1, .scope = (const char *const[]){"*a"}},
         ERR_INVALID},
        {"d",
         {.role = "analyst", .scope_count = 1, .scope = (const char *const[]){"a\nb"}},
         ERR_INVALID},
        {"e", {.role = "analyst", .scope_count = 1, .scope = (const char *const[]){"*"}}, ERR_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(principal_create(fixture.catalog, cases[i].name, PRINCIPAL_HUMAN,
                                      &cases[i].assignment, 1, &id, &err),
                     cases[i].code, "case %zu: %s", i, err.msg);
    }
    struct id nobody = id_new_random();
    int64_t now_us = clock_wall_us();
    cr_expect_eq(
        access_token_issue(fixture.catalog, &nobody, "", now_us + hour_us, text, &token, &err),
        ERR_NOT_FOUND);
    cr_expect_eq(
        access_token_issue(fixture.catalog, &fixture.principal, "", now_us - 1, text, &token, &err),
        ERR_INVALID);
    cr_expect_eq(access_token_issue(fixture.catalog, &fixture.principal, "",
                                    now_us + 400 * 24 * hour_us, text, &token, &err),
                 ERR_INVALID);
    cr_expect_eq(principal_update(fixture.catalog, &nobody, false, &good, 1, &err), ERR_NOT_FOUND);
}

Test(access, limits_live_tokens_of_a_principal)
{
    struct err err = {0};
    struct token_id id;
    char text[TOKEN_TEXT_BYTES + 1];
    int64_t expires_us = clock_wall_us() + hour_us;
    for (int i = 1; i < ACCESS_TOKENS_LIVE_MAX; i++) { /* the administrator has one */
        cr_assert_eq(access_token_issue(fixture.catalog, &fixture.principal, "", expires_us, text,
                                        &id, &err),
                     ERR_OK, "%s", err.msg);
    }
    cr_expect_eq(
        access_token_issue(fixture.catalog, &fixture.principal, "", expires_us, text, &id, &err),
        ERR_TOO_LARGE);
    cr_assert_eq(access_token_revoke(fixture.catalog, &id, &err), ERR_OK);
    cr_expect_eq(
        access_token_issue(fixture.catalog, &fixture.principal, "", expires_us, text, &id, &err),
        ERR_OK);
}

Test(access, lists_principals_and_tokens_in_pages)
{
    struct err err = {0};
    const struct access_assignment assignments[] = {
        {.role = "partner", .scope_count = 2, .scope = (const char *const[]){"claims", "rx_*"}},
        {.role = "auditor"},
    };
    for (int i = 0; i < 5; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "p%d", i);
        (void)issue(name, assignments, 2);
    }
    struct principal_record *principals = NULL;
    size_t count = 0;
    cr_assert_eq(
        principal_list(fixture.catalog, "admin", 3, &fixture.arena, &principals, &count, &err),
        ERR_OK, "%s", err.msg);
    cr_assert_eq(count, 3);
    cr_expect_str_eq(principals[0].name, "p0");
    cr_assert_eq(principals[0].assignments_count, 2);
    cr_expect_str_eq(principals[0].assignments[0].scope[1], "rx_*");
    cr_expect_eq(principals[0].assignments[1].scope_count, 0);
    struct principal_record one;
    cr_assert_eq(principal_get(fixture.catalog, principals[2].id.text, &fixture.arena, &one, &err),
                 ERR_OK);
    cr_expect_str_eq(one.name, "p2");
    cr_assert_eq(principal_get(fixture.catalog, "p3", &fixture.arena, &one, &err), ERR_OK);
    cr_expect_eq(principal_get(fixture.catalog, "p9", &fixture.arena, &one, &err), ERR_NOT_FOUND);

    struct token_record *tokens = NULL;
    size_t total = 0;
    struct token_id last = {.text = ""};
    for (;;) {
        cr_assert_eq(access_token_list(fixture.catalog, NULL, total == 0 ? NULL : &last, 2,
                                       &fixture.arena, &tokens, &count, &err),
                     ERR_OK, "%s", err.msg);
        total += count;
        if (count < 2) {
            break;
        }
        last = tokens[count - 1].id;
    }
    cr_expect_eq(total, 6);
    cr_assert_eq(access_token_list(fixture.catalog, &one.id, NULL, 10, &fixture.arena, &tokens,
                                   &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(tokens[0].principal_name, "p3");
    cr_expect_str_eq(tokens[0].description, "test");
}

Test(access, remembers_when_a_token_was_used)
{
    struct err err = {0};
    struct access_identity identity;
    struct token_record record;
    int64_t dropped = 0;
    int64_t early = 0;
    const struct access_assignment assignment = {.role = "analyst"};
    struct issued issued = issue("someone", &assignment, 1);
    cr_assert_eq(access_token_get(fixture.catalog, &issued.id, &fixture.arena, &record, &err),
                 ERR_OK);
    cr_expect_eq(record.last_used_at_us, 0);
    int64_t now_us = clock_wall_us();
    cr_assert_eq(authenticate(issued.text, now_us, &identity), ERR_OK);
    access_release(&identity);
    cr_assert_eq(catalog_retain(fixture.catalog, &dropped, &early, &err), ERR_OK, "%s", err.msg);
    fixture_reopen();
    cr_assert_eq(access_token_get(fixture.catalog, &issued.id, &fixture.arena, &record, &err),
                 ERR_OK);
    cr_expect_eq(record.last_used_at_us, now_us);
}

Test(access, authenticates_within_a_microsecond_class)
{
    enum { ROUNDS = 200000 };
    struct access_identity identity;
    int64_t started_us = clock_monotonic_us();
    for (int i = 0; i < ROUNDS; i++) {
        cr_assert_eq(authenticate(fixture.token, started_us, &identity), ERR_OK);
        access_release(&identity);
    }
    int64_t took_us = clock_monotonic_us() - started_us;
    cr_log_info("%.0f ns a token", (double)took_us * 1000 / ROUNDS);
}

/* A first start whose catalog is empty; `arg` counts the calls, the first one fails. */
static enum err_code fail_once(void *arg, struct span token_text, struct err *err)
{
    int *calls = arg;
    (*calls)++;
    cr_expect_eq(token_text.size, TOKEN_TEXT_BYTES);
    if (*calls == 1) {
        return err_set(err, ERR_NO_SPACE, "no room for the token");
    }
    memcpy(fixture.token, token_text.data, token_text.size);
    return ERR_OK;
}

Test(access, bootstraps_once)
{
    struct err err = {0};
    int calls = 0;
    cr_assert_eq(access_bootstrap(fixture.catalog, fail_once, &calls, &err), ERR_OK);
    cr_expect_eq(calls, 0, "there is an administrator");
}

TestSuite(bootstrap, .init = fixture_set_up_folder, .fini = fixture_tear_down);

Test(bootstrap, opens_only_what_was_kept)
{
    struct err err = {0};
    int calls = 0;
    struct access_identity identity;
    fixture_open();
    cr_assert_eq(access_bootstrap(fixture.catalog, fail_once, &calls, &err), ERR_NO_SPACE);
    err_clear(&err);
    cr_expect_eq(access_find(fixture.catalog, "admin", &identity, &err), ERR_NOT_FOUND,
                 "a token that nobody has opens nothing");
    err_clear(&err);
    cr_assert_eq(access_bootstrap(fixture.catalog, fail_once, &calls, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(calls, 2);
    cr_assert_eq(authenticate(fixture.token, clock_wall_us(), &identity), ERR_OK);
    cr_expect_str_eq(identity.principal->name, "admin");
    access_release(&identity);
}
