/*
 * The `format` rule of string fields: identifiers of pharmacy data that carry
 * their own check. Exact forms only: nothing is trimmed, folded or guessed,
 * because the stored text is what other systems compare with.
 * Sources: reference health rules A2; USPS Publication 28 appendix B for states.
 */
#include "storage/columns/schema.h"

#include <assert.h>

static const char *const names[FORMAT_COUNT] = {
    [FORMAT_NONE] = "none", [FORMAT_NPI] = "npi", [FORMAT_NDC11] = "ndc11", [FORMAT_DEA] = "dea",
    [FORMAT_MBI] = "mbi",   [FORMAT_ZIP] = "zip", [FORMAT_STATE] = "state",
};

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(uint8_t c)
{
    return c >= 'A' && c <= 'Z';
}

static bool all_digits(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!is_digit(text.data[i])) {
            return false;
        }
    }
    return true;
}

/*
 * Ten digits, the first 1 or 2, Luhn over "80840" and the number. The prefix
 * adds the constant 24 to the sum, so only the ten digits are walked.
 */
static bool is_npi(struct span text)
{
    enum { DIGITS = 10, PREFIX_SUM = 24 };
    if (text.size != DIGITS || !all_digits(text) || (text.data[0] != '1' && text.data[0] != '2')) {
        return false;
    }
    int sum = PREFIX_SUM;
    for (size_t i = 0; i < DIGITS; i++) {
        int digit = text.data[i] - '0';
        /* from the right the check digit counts once, its neighbour twice, and so on */
        int weighted = (DIGITS - i) % 2 == 0 ? digit * 2 : digit;
        sum += weighted > 9 ? weighted - 9 : weighted;
    }
    return sum % 10 == 0;
}

/* Eleven digits in 5-4-2 form: ten digits without hyphens are ambiguous and refused. */
static bool is_ndc11(struct span text)
{
    return text.size == 11 && all_digits(text);
}

/* Registrant type, initial of the name or 9 for a business, six digits, check digit. */
static bool is_dea(struct span text)
{
    if (text.size != 9 || !is_upper(text.data[0]) ||
        (!is_upper(text.data[1]) && text.data[1] != '9') ||
        !all_digits(span_of(text.data + 2, 7))) {
        return false;
    }
    const uint8_t *d = text.data + 2;
    int odd = (d[0] - '0') + (d[2] - '0') + (d[4] - '0');
    int even = (d[1] - '0') + (d[3] - '0') + (d[5] - '0');
    return (odd + 2 * even) % 10 == d[6] - '0';
}

static bool is_mbi_letter(uint8_t c)
{
    /* left out because they are read as digits */
    return is_upper(c) && c != 'S' && c != 'L' && c != 'O' && c != 'I' && c != 'B' && c != 'Z';
}

/* C: 1-9, A: letter, N: digit, X: letter or digit. */
static bool is_mbi(struct span text)
{
    static const char form[] = "CAXNAXNAANN";
    if (text.size != sizeof form - 1) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        bool letter_fits = (form[i] == 'A' || form[i] == 'X') && is_mbi_letter(c);
        bool digit_fits = form[i] != 'A' && is_digit(c) && (form[i] != 'C' || c != '0');
        if (!letter_fits && !digit_fits) {
            return false;
        }
    }
    return true;
}

/* 12345, 123456789 or 12345-6789. */
static bool is_zip(struct span text)
{
    if (text.size == 10) {
        return text.data[5] == '-' && all_digits(span_of(text.data, 5)) &&
               all_digits(span_of(text.data + 6, 4));
    }
    return (text.size == 5 || text.size == 9) && all_digits(text);
}

static bool is_state(struct span text)
{
    static const char codes[] =
        "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ "
        "NM NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY "
        "DC AS FM GU MH MP PR PW VI AA AE AP ";
    if (text.size != 2) {
        return false;
    }
    for (size_t i = 0; i + 2 < sizeof codes; i += 3) {
        if (memcmp(codes + i, text.data, 2) == 0) {
            return true;
        }
    }
    return false;
}

bool field_format_holds(enum field_format format, struct span text)
{
    switch (format) {
    case FORMAT_NONE:
        return true;
    case FORMAT_NPI:
        return is_npi(text);
    case FORMAT_NDC11:
        return is_ndc11(text);
    case FORMAT_DEA:
        return is_dea(text);
    case FORMAT_MBI:
        return is_mbi(text);
    case FORMAT_ZIP:
        return is_zip(text);
    case FORMAT_STATE:
        return is_state(text);
    case FORMAT_COUNT:
        break;
    }
    assert(false && "a format of the enum");
    return false;
}

const char *field_format_name(enum field_format format)
{
    assert((unsigned)format < FORMAT_COUNT);
    return names[format];
}
