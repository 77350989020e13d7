#include "storage/parquet/odd_text.h"

#include "storage/parquet/format.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

Test(odd_text, times_of_day)
{
    static const struct {
        int64_t time;
        int unit;
        const char *text; /* NULL: none */
    } cases[] = {
        {0, PARQUET_UNIT_MILLIS, "00:00:00"},
        {86399999, PARQUET_UNIT_MILLIS, "23:59:59.999000"},
        {86400000, PARQUET_UNIT_MILLIS, NULL},
        {-1, PARQUET_UNIT_MILLIS, NULL},
        {3723000001, PARQUET_UNIT_MICROS, "01:02:03.000001"},
        {86399999999, PARQUET_UNIT_MICROS, "23:59:59.999999"},
        {86400000000, PARQUET_UNIT_MICROS, NULL},
        {3723000001000, PARQUET_UNIT_NANOS, "01:02:03.000001"},
        {86399999999999, PARQUET_UNIT_NANOS, "23:59:59.999999999"},
        {86400000000000, PARQUET_UNIT_NANOS, NULL},
        {INT64_MIN, PARQUET_UNIT_NANOS, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[ODD_TEXT_BYTES_MAX];
        size_t size = 0;
        bool ok = odd_time_text(cases[i].time, cases[i].unit, text, &size);
        cr_expect_eq(ok, cases[i].text != NULL, "%zu", i);
        if (ok && cases[i].text != NULL) {
            cr_expect_eq(size, strlen(cases[i].text), "%.*s", (int)size, text);
            cr_expect_arr_eq(text, cases[i].text, size);
        }
    }
}

static void expect_text(const char *text, size_t size, const char *expected)
{
    cr_expect_eq(size, strlen(expected), "%.*s", (int)size, text);
    cr_expect_arr_eq(text, expected, size);
}

Test(odd_text, intervals)
{
    static const uint8_t small[ODD_INTERVAL_BYTES] = {14, 0, 0, 0, 3, 0, 0, 0, 250, 0, 0, 0};
    uint8_t large[ODD_INTERVAL_BYTES];
    memset(large, 0xff, sizeof large);
    char text[ODD_TEXT_BYTES_MAX];
    expect_text(text, odd_interval_text(small, text), "P14M3DT0.250S");
    expect_text(text, odd_interval_text(large, text), "P4294967295M4294967295DT4294967.295S");
}

Test(odd_text, uuids)
{
    static const uint8_t bytes[ODD_UUID_BYTES] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                                  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    char text[ODD_TEXT_BYTES_MAX];
    expect_text(text, odd_uuid_text(bytes, text), "00112233-4455-6677-8899-aabbccddeeff");
}

Test(odd_text, halves)
{
    static const struct {
        uint16_t bits;
        double value;
    } cases[] = {
        {0x0000, 0},        {0x3c00, 1},         {0xc000, -2},          {0x7bff, 65504},
        {0x0400, 0x1p-14},  {0x0001, 0x1p-24},   {0x03ff, 0x1.ff8p-15}, {0x3555, 0x1.554p-2},
        {0x7c00, INFINITY}, {0xfc00, -INFINITY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint8_t bytes[] = {(uint8_t)cases[i].bits, (uint8_t)(cases[i].bits >> 8)};
        cr_expect_eq(odd_float16(bytes), cases[i].value, "%#x", cases[i].bits);
    }
    cr_expect(signbit(odd_float16((const uint8_t[]){0x00, 0x80})));
    cr_expect(isnan(odd_float16((const uint8_t[]){0x01, 0x7c})));
}
