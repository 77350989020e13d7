#include "zone_kit.h"

#include "storage/base/text.h"

#include <criterion/criterion.h>

#include <string.h>

static void put_big_endian(struct buffer *bytes, uint64_t value, int size)
{
    for (int i = size - 1; i >= 0; i--) {
        buffer_append_byte(bytes, (uint8_t)(value >> 8 * i));
    }
}

static void put_header(struct buffer *bytes, char version, size_t times, size_t types)
{
    static const uint8_t reserved[15];
    buffer_append_text(bytes, "TZif");
    buffer_append_byte(bytes, (uint8_t)version);
    buffer_append(bytes, reserved, sizeof reserved);
    put_big_endian(bytes, 0, 4); /* UT indicators */
    put_big_endian(bytes, 0, 4); /* standard indicators */
    put_big_endian(bytes, 0, 4); /* leap seconds */
    put_big_endian(bytes, times, 4);
    put_big_endian(bytes, types, 4);
    put_big_endian(bytes, 4, 4); /* bytes of names */
}

static void put_block(struct buffer *bytes, const struct zone_kit_file *file, int time_bytes)
{
    size_t types = file->types_count > 0 ? file->types_count : 1;
    put_header(bytes, file->version, file->transitions_count, types);
    for (size_t i = 0; i < file->transitions_count; i++) {
        put_big_endian(bytes, (uint64_t)file->transitions[i].at_s, time_bytes);
    }
    for (size_t i = 0; i < file->transitions_count; i++) {
        buffer_append_byte(bytes, file->transitions[i].type);
    }
    for (size_t i = 0; i < types; i++) {
        put_big_endian(bytes, (uint32_t)file->offsets[i], 4);
        buffer_append_byte(bytes, i % 2 != 0); /* daylight */
        buffer_append_byte(bytes, 0);          /* name */
    }
    buffer_append(bytes, "XXX", 4);
}

void zone_kit_encode(const struct zone_kit_file *file, struct buffer *bytes)
{
    if (file->version == 0) {
        put_block(bytes, file, 4);
        return;
    }
    put_header(bytes, file->version, 0, 1); /* for old readers: nothing */
    buffer_append(bytes, "\0\0\0\0\0\0XXX", 10);
    put_block(bytes, file, 8);
    buffer_append_format(bytes, "\n%s\n", file->footer != NULL ? file->footer : "");
}

const struct zone *zone_kit_zone(const struct zone_kit_file *file)
{
    struct buffer bytes;
    buffer_init(&bytes, 4096);
    zone_kit_encode(file, &bytes);
    struct err err = {0};
    const struct zone *zone = NULL;
    cr_assert_eq(zone_decode(buffer_span(&bytes), "Test/Kit", &zone, &err), ERR_OK, "%s", err.msg);
    buffer_deinit(&bytes);
    return zone;
}

const struct zone *zone_kit_rule(const char *footer)
{
    return zone_kit_zone(&(struct zone_kit_file){.version = '3', .footer = footer});
}

const struct zone *zone_kit_system(const char *name)
{
    struct err err = {0};
    const struct zone *zone = NULL;
    cr_assert_eq(zone_acquire(name, &zone, &err), ERR_OK, "%s", err.msg);
    return zone;
}

int64_t zone_kit_us(const char *timestamp)
{
    int64_t us = 0;
    cr_assert(text_parse_timestamp(span_of_text(timestamp), &us), "%s", timestamp);
    return us;
}

int64_t zone_kit_wall_us(const char *timestamp)
{
    int64_t us = 0;
    cr_assert(text_parse_timestamp_ntz(span_of_text(timestamp), &us), "%s", timestamp);
    return us;
}
