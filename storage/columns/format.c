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

enum { WORD = sizeof(uint64_t) };

static const uint64_t each_byte = UINT64_C(0x0101010101010101);

static uint64_t load_word(const uint8_t *p)
{
    uint64_t word = 0;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Bytes below '0' borrow, those above '9' carry: either way into their highest bit. */
static bool is_digits_word(uint64_t word)
{
    uint64_t outside = (word - each_byte * '0') | (word + each_byte * (0x7f - '9')) | word;
    return (outside & each_byte << 7) == 0;
}

static bool all_digits(struct span text)
{
    size_t at = 0;
    for (; text.size - at >= WORD; at += WORD) {
        if (!is_digits_word(load_word(text.data + at))) {
            return false;
        }
    }
    if (text.size >= WORD) { /* the rest, and some of what came before it again */
        return is_digits_word(load_word(text.data + text.size - WORD));
    }
    for (; at < text.size; at++) {
        if (!is_digit(text.data[at])) {
            return false;
        }
    }
    return true;
}

/* What a digit that counts twice adds: the sum of the digits of its double. */
static int doubled(int digit)
{
    return digit < 5 ? digit * 2 : digit * 2 - 9;
}

/*
 * Ten digits, the first 1 or 2, Luhn over "80840" and the number: from the right the check digit
 * counts once, its neighbour twice, and so on. The prefix adds the constant 24 to the sum.
 */
static bool is_npi(struct span text)
{
    enum { DIGITS = 10, PREFIX_SUM = 24 };
    if (text.size != DIGITS || !all_digits(text) || (text.data[0] != '1' && text.data[0] != '2')) {
        return false;
    }
    /* the first eight at once, in four lanes: little endian, so the lower byte counts twice */
    const uint64_t lanes = UINT64_C(0x0001000100010001);
    uint64_t digits = load_word(text.data) - each_byte * '0';
    uint64_t twice = digits & lanes * 0xff;
    uint64_t once = digits >> 8 & lanes * 0xff;
    uint64_t from_five = (twice + lanes * (0x80 - 5)) >> 7 & lanes;
    uint64_t sums = once + twice * 2 - from_five * 9;
    int sum = (int)(sums * lanes >> 48); /* of all lanes, at most 72 */
    sum += doubled(text.data[8] - '0') + (text.data[9] - '0') + PREFIX_SUM;
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
