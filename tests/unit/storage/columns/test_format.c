#include "storage/columns/schema.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

TestSuite(format);

Test(format, accepts_and_refuses_by_the_published_rules)
{
    static const struct {
        enum field_format format;
        const char *text;
        bool holds;
    } cases[] = {
        {FORMAT_NONE, "anything", true},
        {FORMAT_NPI, "1234567893", true},
        {FORMAT_NPI, "1558597797", false}, /* one digit off the valid one below */
        {FORMAT_NPI, "1558598797", true},
        {FORMAT_NPI, "1234567890", false},
        {FORMAT_NPI, "1234567894", false},
        {FORMAT_NPI, "2234567891", true},
        {FORMAT_NPI, "3234567890", false},
        {FORMAT_NPI, "3234567899", false},
        {FORMAT_NPI, "123456789", false},
        {FORMAT_NPI, "12345678933", false},
        {FORMAT_NPI, "123456789X", false},
        {FORMAT_NPI, "", false},
        {FORMAT_NDC11, "00002143380", true},
        {FORMAT_NDC11, "60575011201", true},
        {FORMAT_NDC11, "0002143380", false},
        {FORMAT_NDC11, "000021433801", false},
        {FORMAT_NDC11, "0002-1433-80", false},
        {FORMAT_NDC11, "0000214338O", false},
        {FORMAT_DEA, "AB1234563", true},
        {FORMAT_DEA, "AP5836727", true},
        {FORMAT_DEA, "F91234563", true},
        {FORMAT_DEA, "AB1234564", false},
        {FORMAT_DEA, "A81234563", false},
        {FORMAT_DEA, "9B1234563", false},
        {FORMAT_DEA, "ab1234563", false},
        {FORMAT_DEA, "AB123456", false},
        {FORMAT_DEA, "AB12345630", false},
        {FORMAT_MBI, "1EG4TE5MK73", true},
        {FORMAT_MBI, "1EGATE5MK73", false}, /* position 4 is a digit */
        {FORMAT_MBI, "0EG4TE5MK73", false}, /* position 1 is 1 to 9 */
        {FORMAT_MBI, "1SG4TE5MK73", false}, /* S is never used */
        {FORMAT_MBI, "1EG4TE5MKA3", false},
        {FORMAT_MBI, "1E04T05MK73", true}, /* positions 3 and 6 may be digits */
        {FORMAT_MBI, "1eg4te5mk73", false},
        {FORMAT_MBI, "1EG4-TE5-MK73", false},
        {FORMAT_MBI, "1EG4TE5MK7", false},
        {FORMAT_ZIP, "02139", true},
        {FORMAT_ZIP, "021391234", true},
        {FORMAT_ZIP, "02139-1234", true},
        {FORMAT_ZIP, "0213", false},
        {FORMAT_ZIP, "02139-", false},
        {FORMAT_ZIP, "02139 1234", false},
        {FORMAT_ZIP, "0213A", false},
        {FORMAT_ZIP, "0213-91234", false},
        {FORMAT_STATE, "MA", true},
        {FORMAT_STATE, "DC", true},
        {FORMAT_STATE, "PR", true},
        {FORMAT_STATE, "AP", true},
        {FORMAT_STATE, "AL", true},
        {FORMAT_STATE, "ma", false},
        {FORMAT_STATE, "XX", false},
        {FORMAT_STATE, "L ", false},
        {FORMAT_STATE, "MAS", false},
        {FORMAT_STATE, "25", false},
        {FORMAT_STATE, "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(field_format_holds(cases[i].format, span_of_text(cases[i].text)),
                     cases[i].holds, "%s '%s'", field_format_name(cases[i].format), cases[i].text);
    }
}

Test(format, npi_takes_exactly_one_check_digit)
{
    for (int stem = 0; stem < 1000; stem++) {
        int valid = 0;
        for (int digit = 0; digit < 10; digit++) {
            char npi[24];
            (void)snprintf(npi, sizeof npi, "1%08d%d", stem * 99991 % 100000000, digit);
            valid += field_format_holds(FORMAT_NPI, span_of_text(npi));
        }
        cr_assert_eq(valid, 1, "stem %d", stem);
    }
}

/* Luhn's sum over "80840" and the number, digit by digit. */
static bool has_luhn_sum(const char *npi)
{
    char whole[24];
    int size = snprintf(whole, sizeof whole, "80840%s", npi);
    int sum = 0;
    for (int i = 0; i < size; i++) {
        int digit = whole[size - 1 - i] - '0';
        int weighted = i % 2 == 0 ? digit : digit * 2;
        sum += weighted / 10 + weighted % 10;
    }
    return sum % 10 == 0;
}

Test(format, npi_agrees_with_the_sum_digit_by_digit)
{
    unsigned long long state = 1;
    for (int i = 0; i < 100000; i++) {
        char npi[24];
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        (void)snprintf(npi, sizeof npi, "%010llu", 1000000000 + (state >> 20) % 2000000000);
        cr_assert_eq(field_format_holds(FORMAT_NPI, span_of_text(npi)), has_luhn_sum(npi), "%s",
                     npi);
    }
}

Test(format, numbers_have_digits_only)
{
    static const struct {
        enum field_format format;
        const char *good;
    } cases[] = {
        {FORMAT_NPI, "1234567893"},
        {FORMAT_NDC11, "00002322730"},
        {FORMAT_ZIP, "02134"},
        {FORMAT_ZIP, "021341234"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = strlen(cases[i].good);
        cr_expect(field_format_holds(cases[i].format, span_of_text(cases[i].good)));
        for (size_t place = 0; place < size; place++) {
            for (int byte = 0; byte < 256; byte++) {
                char text[24];
                memcpy(text, cases[i].good, size);
                text[place] = (char)byte;
                bool digit = byte >= '0' && byte <= '9';
                bool holds = field_format_holds(cases[i].format, span_of(text, size));
                cr_expect(digit || !holds, "byte %d at %zu of %s", byte, place, cases[i].good);
                cr_expect(!digit || holds || cases[i].format == FORMAT_NPI, "byte %d at %zu of %s",
                          byte, place, cases[i].good);
            }
        }
    }
}

Test(format, knows_62_state_codes)
{
    int count = 0;
    for (char a = 'A'; a <= 'Z'; a++) {
        for (char b = 'A'; b <= 'Z'; b++) {
            const char code[] = {a, b};
            count += field_format_holds(FORMAT_STATE, span_of(code, 2));
        }
    }
    /* 50 states, DC, 8 territories and associated states, 3 for the forces abroad */
    cr_expect_eq(count, 62);
}
