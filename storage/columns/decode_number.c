/*
 * Numbers as text → the types of columns, exactly. The common ones take a short
 * way; what it cannot hold goes to storage/base/text.h.
 */
#include "storage/columns/decode_number.h"

#include "storage/base/text.h"

enum {
    MANTISSA_DIGITS = 19,   /* decimal digits that any uint64_t holds */
    EXPONENT_MAX = 100000,  /* where exponents stop growing; far outside every type */
    DOUBLE_POWER_MAX = 22,  /* 10^22 is the largest power of ten a double holds exactly */
    DECIMAL_SHIFT_MAX = 18, /* 10^19 × 10^18 fits an __int128 */
};

static const double double_powers[DOUBLE_POWER_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

static const int64_t long_powers[DECIMAL_SHIFT_MAX + 1] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
};

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Digits at `p` onto the mantissa, from which those beyond 64 bits are lost. */
static inline const uint8_t *scan_digits(const uint8_t *p, const uint8_t *end, uint64_t *mantissa)
{
    uint64_t value = *mantissa;
    for (; p < end; p++) {
        unsigned digit = (unsigned)*p - '0';
        if (digit > 9) {
            break;
        }
        value = value * 10 + digit;
    }
    *mantissa = value;
    return p;
}

/* The mantissa again, of so many digits (and a point) that some may be lost. */
static void __attribute__((cold))
count_digits(const uint8_t *p, const uint8_t *end, struct decode_number *number)
{
    int room = MANTISSA_DIGITS;
    number->mantissa = 0;
    for (; p < end; p++) {
        if (*p == '.') {
            continue;
        }
        if (room > 0) {
            number->mantissa = number->mantissa * 10 + (uint64_t)(*p - '0');
            room -= number->mantissa != 0; /* leading zeros take no room */
        } else {
            number->exact = false;
        }
    }
}

/* After the 'e'. The exponent stops growing far outside of every type. */
static const uint8_t *scan_exponent(const uint8_t *p, const uint8_t *end,
                                    struct decode_number *number)
{
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) {
        p++;
    }
    const uint8_t *digits = p;
    int32_t exponent = 0;
    for (; p < end && is_digit(*p); p++) {
        exponent = exponent < EXPONENT_MAX ? exponent * 10 + (*p - '0') : exponent;
    }
    if (p == digits) {
        return NULL;
    }
    if (exponent >= EXPONENT_MAX) {
        number->exact = false;
    }
    number->exponent += negative ? -exponent : exponent;
    return p;
}

/* spec: RFC 8259 section 6 */
const uint8_t *decode_number_scan(const uint8_t *p, const uint8_t *end,
                                  struct decode_number *number_out)
{
    struct decode_number number = {.integral = true, .exact = true};
    const uint8_t *start = p;
    if (p < end && *p == '-') {
        number.negative = true;
        p++;
    }
    if (p == end || !is_digit(*p)) {
        return NULL;
    }
    const uint8_t *digits = p;
    p = *p == '0' ? p + 1 : scan_digits(p, end, &number.mantissa);
    int32_t decimals = 0;
    if (p < end && *p == '.') {
        number.integral = false;
        const uint8_t *fraction = p + 1;
        p = scan_digits(fraction, end, &number.mantissa);
        if (p == fraction) {
            return NULL;
        }
        decimals = (int32_t)(p - fraction);
    }
    if (p - digits > MANTISSA_DIGITS) {
        count_digits(digits, p, &number);
    }
    number.exponent = number.exact ? -decimals : 0;
    if (p < end && (*p == 'e' || *p == 'E')) {
        number.integral = false;
        p = scan_exponent(p + 1, end, &number);
        if (p == NULL) {
            return NULL;
        }
    }
    number.text = span_of(start, (size_t)(p - start));
    *number_out = number;
    return p;
}

bool decode_number_parse(struct span text, struct decode_number *number_out)
{
    const uint8_t *end = text.data + text.size;
    return text.size <= DECODE_NUMBER_BYTES_MAX &&
           decode_number_scan(text.data, end, number_out) == end;
}

bool decode_number_long(const struct decode_number *number, int64_t *value_out)
{
    uint64_t limit = (uint64_t)INT64_MAX + (number->negative ? 1 : 0);
    if (!number->exact || number->mantissa > limit) {
        return false;
    }
    *value_out = (int64_t)(number->negative ? 0 - number->mantissa : number->mantissa);
    return true;
}

bool decode_number_double(const struct decode_number *number, double *value_out)
{
    /* both operands are exact doubles, so one rounding gives the nearest (Clinger's fast path) */
    bool small = number->exact && number->mantissa <= (UINT64_C(1) << 53) &&
                 number->exponent >= -DOUBLE_POWER_MAX && number->exponent <= DOUBLE_POWER_MAX;
    if (!small) {
        return text_parse_double(number->text, value_out);
    }
    double value = (double)number->mantissa;
    value = number->exponent < 0 ? value / double_powers[-number->exponent]
                                 : value * double_powers[number->exponent];
    *value_out = number->negative ? -value : value;
    return true;
}

/* The short way: few digits, none of them lost by the scale. */
bool decode_number_decimal(const struct decode_number *number, const struct field *field,
                           __int128 *unscaled_out)
{
    int shift = field->scale + number->exponent;
    if (!number->exact || shift < 0 || shift > DECIMAL_SHIFT_MAX || field->precision > 18) {
        return text_parse_decimal(number->text, field->precision, field->scale, unscaled_out);
    }
    __int128 value = (__int128)number->mantissa * long_powers[shift];
    if (value >= long_powers[field->precision]) {
        return false;
    }
    *unscaled_out = number->negative ? -value : value;
    return true;
}
