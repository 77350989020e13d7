/* Requests per principal and window. */
#include "server/budget.h"

#include "storage/base/mem.h"
#include "storage/catalog/access.h"

#include <criterion/criterion.h>

Test(budget, counts_per_principal_and_window)
{
    struct budget *budget = budget_new(2);
    const struct id one = id_new_random();
    const struct id other = id_new_random();
    struct rate_state state = budget_take(budget, &one, 0);
    cr_expect_eq(state.remaining, 1);
    cr_expect_eq(state.reset_seconds, 60);
    cr_expect_eq(budget_take(budget, &one, 1).remaining, 0);
    state = budget_take(budget, &one, RATE_WINDOW_US / 2);
    cr_expect(state.over);
    cr_expect(state.first_over);
    cr_expect_eq(state.reset_seconds, 30);
    cr_expect_not(budget_take(budget, &one, RATE_WINDOW_US / 2).first_over);
    cr_expect_not(budget_take(budget, &other, RATE_WINDOW_US / 2).over, "another principal");
    state = budget_take(budget, &one, RATE_WINDOW_US);
    cr_expect_not(state.over, "a new window");
    cr_expect_eq(state.remaining, 1);
    budget_free(&budget);
    cr_expect_null(budget);
}

Test(budget, keeps_every_principal_apart)
{
    struct budget *budget = budget_new(1);
    struct id *ids = mem_zeroed(ACCESS_PRINCIPALS_MAX, sizeof *ids);
    for (int i = 0; i < ACCESS_PRINCIPALS_MAX; i++) {
        ids[i] = id_new_random();
        cr_assert_not(budget_take(budget, &ids[i], i).over, "principal %d", i);
    }
    for (int i = 0; i < ACCESS_PRINCIPALS_MAX; i++) {
        cr_assert(budget_take(budget, &ids[i], ACCESS_PRINCIPALS_MAX).first_over, "principal %d",
                  i);
    }
    mem_free(ids);
    budget_free(&budget);
}
