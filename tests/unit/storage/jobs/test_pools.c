#include "storage/jobs/pools.h"

#include <criterion/criterion.h>

TestSuite(pools, .timeout = 60);

Test(pools, the_setting_is_read_or_refused)
{
    static const struct {
        const char *text;
        enum err_code code;
        size_t count;
    } cases[] = {
        {"", ERR_OK, 1},
        {"  ", ERR_OK, 1},
        {"partners=4", ERR_OK, 2},
        {" partners = 4 , slow=2 ", ERR_OK, 3},
        {"a=256", ERR_OK, 2},
        {"a=257", ERR_INVALID, 0},
        {"a=0", ERR_INVALID, 0},
        {"a=-1", ERR_INVALID, 0},
        {"a", ERR_INVALID, 0},
        {"=4", ERR_INVALID, 0},
        {"a=", ERR_INVALID, 0},
        {"a=4,", ERR_OK, 2},
        {"a=4,,b=1", ERR_INVALID, 0},
        {"a b=4", ERR_INVALID, 0},
        {"a=4,a=5", ERR_INVALID, 0},
        {"default=4", ERR_INVALID, 0},
        {"a=256,b=224", ERR_OK, 3},
        {"a=256,b=225", ERR_TOO_LARGE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(job_pools_deinit) struct job_pools pools = {0};
        struct err err = {0};
        enum err_code code = job_pools_parse(span_of_text(cases[i].text), 32, &pools, &err);
        cr_expect_eq(code, cases[i].code, "'%s': %s", cases[i].text, err.msg);
        cr_expect_eq(pools.count, cases[i].count, "'%s'", cases[i].text);
    }
}

Test(pools, pools_are_found_by_name)
{
    CLEANUP(job_pools_deinit) struct job_pools pools = {0};
    struct err err = {0};
    size_t index = 9;
    cr_assert_eq(job_pools_parse(span_of_text("partners=4"), 32, &pools, &err), ERR_OK);
    cr_expect(job_pools_find(&pools, "default", &index));
    cr_expect_eq(index, 0);
    cr_expect_eq(pools.items[0].places, 32);
    cr_expect(job_pools_find(&pools, "partners", &index));
    cr_expect_eq(pools.items[index].places, 4);
    cr_expect_not(job_pools_find(&pools, "partner", &index));
}
