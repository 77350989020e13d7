/*
 * Identifiers: order, form, parsing.
 */
#include "storage/base/id.h"

#include "storage/base/clock.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <string.h>

static bool is_uuid(const struct id *id, char version)
{
    struct id parsed;
    return id_parse(span_of_text(id->text), &parsed) && id->text[14] == version &&
           strchr("89ab", id->text[19]) != NULL;
}

Test(id, ordered_ids_increase_even_within_a_tick)
{
    clock_freeze_wall(1700000000123456);
    struct id last = id_new_ordered();
    for (int i = 0; i < 10000; i++) {
        struct id next = id_new_ordered();
        cr_assert(is_uuid(&next, '7'), "%s", next.text);
        cr_assert_lt(strcmp(last.text, next.text), 0, "%s then %s", last.text, next.text);
        last = next;
    }
}

Test(id, ordered_ids_increase_when_the_clock_steps_back)
{
    clock_freeze_wall(1700000000000000);
    struct id before = id_new_ordered();
    clock_freeze_wall(1600000000000000);
    struct id after = id_new_ordered();
    cr_expect_lt(strcmp(before.text, after.text), 0);
}

Test(id, ordered_id_starts_with_the_time_in_ms)
{
    clock_freeze_wall(1700000000123000);
    struct id id = id_new_ordered();
    cr_expect_eq(strncmp(id.text, "018bcfe5-687b-7000-", 19), 0, "%s", id.text);
}

enum { PER_THREAD = 5000 };

static void *make_ids(void *argument)
{
    struct id *ids = argument;
    for (int i = 0; i < PER_THREAD; i++) {
        ids[i] = id_new_ordered();
    }
    return NULL;
}

Test(id, threads_never_share_a_tick)
{
    static struct id ids[2][PER_THREAD];
    pthread_t threads[2];
    for (int t = 0; t < 2; t++) {
        cr_assert_eq(pthread_create(&threads[t], NULL, make_ids, ids[t]), 0);
    }
    for (int t = 0; t < 2; t++) {
        cr_assert_eq(pthread_join(threads[t], NULL), 0);
    }
    /* both runs are sorted: merge them and look for equal time parts */
    for (int a = 0, b = 0; a < PER_THREAD && b < PER_THREAD;) {
        int order = strncmp(ids[0][a].text, ids[1][b].text, 18);
        cr_assert_neq(order, 0, "%s twice", ids[0][a].text);
        a += order < 0;
        b += order > 0;
    }
}

Test(id, random_ids_are_version_4_and_differ)
{
    struct id a = id_new_random();
    struct id b = id_new_random();
    cr_expect(is_uuid(&a, '4'), "%s", a.text);
    cr_expect_str_neq(a.text, b.text);
}

Test(id, parse)
{
    static const struct {
        const char *text;
        const char *expected; /* NULL: refused */
    } cases[] = {
        {"018bcfe5-687b-7000-8000-0123456789ab", "018bcfe5-687b-7000-8000-0123456789ab"},
        {"018BCFE5-687B-7000-8000-0123456789AB", "018bcfe5-687b-7000-8000-0123456789ab"},
        {"", NULL},
        {"018bcfe5-687b-7000-8000-0123456789a", NULL},
        {"018bcfe5-687b-7000-8000-0123456789abc", NULL},
        {"018bcfe5x687b-7000-8000-0123456789ab", NULL},
        {"018bcfe56-87b-7000-8000-0123456789ab", NULL},
        {"018bcfe5-687b-7000-8000-0123456789ag", NULL},
        {"{18bcfe5-687b-7000-8000-0123456789a}", NULL},
        {"../../../../../../../../../etc/passw", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct id id = {0};
        bool parsed = id_parse(span_of_text(cases[i].text), &id);
        cr_expect_eq(parsed, cases[i].expected != NULL, "%s", cases[i].text);
        if (parsed && cases[i].expected != NULL) {
            cr_expect_str_eq(id.text, cases[i].expected);
        }
    }
}

Test(id, parse_refuses_nul_inside)
{
    static const char text[] = "018bcfe5-687b-7000-8000-01234\0"
                               "6789ab";
    struct id id;
    cr_expect_not(id_parse(span_of(text, 36), &id));
}

Test(id, bytes_round_trip)
{
    struct id id;
    uint8_t bytes[16];
    cr_assert(id_parse(span_of_text("00112233-4455-6677-8899-aabbccddeeff"), &id));
    id_bytes(&id, bytes);
    for (uint8_t i = 0; i < 16; i++) {
        cr_expect_eq(bytes[i], i * 0x11);
    }
    struct id back = id_of_bytes(bytes);
    cr_expect_str_eq(back.text, id.text);
}
