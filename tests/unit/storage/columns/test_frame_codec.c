#include "storage/columns/frame.h"

#include "storage/columns/encode_json.h"
#include "storage/base/mem.h"
#include "storage/columns/row.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>
#include <lz4.h>
#include <string.h>
#include <zstd.h>

TestSuite(frame_codec, .timeout = 120);

enum { BYTES_MAX = 64 << 20 };

/* frame_codec.c tells the layout. */
enum {
    COMPRESSION_AT = 5,
    PLAIN_SIZE_AT = 32,
    BODY = FRAME_HEADER_BYTES,
    COLUMN_HEAD = 8,
    ZSTD = 1,
    LZ4 = 2,
};

static struct frame *decoded(struct span bytes, const struct schema *schema)
{
    struct frame *frame = NULL;
    struct err err = {0};
    enum err_code code = frame_decode(bytes, schema, &frame, &err);
    cr_assert_eq(code, ERR_OK, "%s", err.msg);
    return frame;
}

static enum err_code decode_code(struct span bytes, const struct schema *schema)
{
    CLEANUP(frame_free) struct frame *frame = NULL;
    struct err err = {0};
    enum err_code code = frame_decode(bytes, schema, &frame, &err);
    if (code == ERR_OK) {
        frame_check(frame);
    }
    return code;
}

Test(frame_codec, random_frames_come_back_equal)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    static const int64_t rows[] = {0, 1, 2, 7, 8, 9, 63, 64, 65, 200, 1000};
    for (uint64_t seed = 1; seed <= 30; seed++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, rows[i], seed);
            CLEANUP(buffer_deinit) struct buffer bytes;
            buffer_init(&bytes, BYTES_MAX);
            buffer_append_text(&bytes, "before");
            frame_encode(frame, &bytes);
            cr_assert_not(bytes.overflowed);
            CLEANUP(frame_free)
            struct frame *back = decoded(span_of(bytes.data + 6, bytes.size - 6), schema);
            frame_check(back);
            cr_assert(kit_frames_equal(frame, back), "seed %lu rows %ld", seed, rows[i]);
        }
    }
}

/* Whatever stood in it before, and of whatever size. */
Test(frame_codec, decodes_again_into_a_frame_that_was_used)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    static const int64_t rows[] = {1, 65, 0, 200, 2, 64, 1000, 3};
    CLEANUP(frame_free) struct frame *used = NULL;
    struct err err = {0};
    for (uint64_t seed = 1; seed <= 30; seed++) {
        CLEANUP(frame_free)
        struct frame *frame = kit_random_frame(schema, rows[seed % 8], seed);
        CLEANUP(buffer_deinit) struct buffer bytes;
        buffer_init(&bytes, BYTES_MAX);
        frame_encode(frame, &bytes);
        cr_assert_eq(frame_decode_again(buffer_span(&bytes), schema, &used, &err), ERR_OK, "%s",
                     err.msg);
        frame_check(used);
        cr_assert(kit_frames_equal(frame, used), "seed %lu", seed);
        if (seed % 5 == 0) {
            struct span half = span_of(bytes.data, bytes.size / 2);
            cr_assert_neq(frame_decode_again(half, schema, &used, &err), ERR_OK);
            cr_assert_null(used);
        }
    }
}

Test(frame_codec, compresses_only_when_it_pays)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema("{'schema':{'fields':[{'name':'s','type':'string'}]}}");
    static const struct {
        const char *name;
        int64_t rows;
        bool random;
        bool compressed;
    } cases[] = {
        {"small", 100, false, false},
        {"large, repetitive", 20000, false, true},
        {"large, random", 20000, true, false},
    };
    uint64_t state = 1;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(frame_free) struct frame *frame = frame_new(schema);
        for (int64_t row = 0; row < cases[i].rows; row++) {
            char text[17] = "a member of 2024";
            for (size_t at = 0; cases[i].random && at < 16; at++) {
                text[at] = (char)(kit_random(&state) % 128);
            }
            column_append_bytes(&frame->columns[0], span_of(text, 16));
            frame_end_row(frame, FRAME_UPSERT, 0);
        }
        CLEANUP(buffer_deinit) struct buffer bytes;
        buffer_init(&bytes, BYTES_MAX);
        frame_encode(frame, &bytes);
        bool smaller = bytes.size < (size_t)cases[i].rows * 14;
        cr_expect_eq(smaller, cases[i].compressed, "%s: %zu bytes", cases[i].name, bytes.size);
        CLEANUP(frame_free) struct frame *back = decoded(buffer_span(&bytes), schema);
        cr_expect(kit_frames_equal(frame, back), "%s", cases[i].name);
    }
}

/* Bytes of a frame whose body is packed: many rows that are alike. */
static void encode_packed(const struct schema *schema, struct frame **frame_out,
                          struct buffer *bytes)
{
    struct frame *frame = frame_new(schema);
    for (int64_t row = 0; row < 5000; row++) {
        column_append_bytes(&frame->columns[0], span_of_text("a member of 2024"));
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    buffer_init(bytes, BYTES_MAX);
    frame_encode(frame, bytes);
    cr_assert_eq(bytes->data[COMPRESSION_AT], LZ4);
    *frame_out = frame;
}

static uint64_t plain_size_of(const struct buffer *bytes)
{
    uint64_t plain_size = 0;
    memcpy(&plain_size, bytes->data + PLAIN_SIZE_AT, sizeof plain_size);
    return plain_size;
}

Test(frame_codec, reads_what_earlier_releases_packed_with_zstd)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema("{'schema':{'fields':[{'name':'s','type':'string'}]}}");
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(buffer_deinit) struct buffer bytes;
    encode_packed(schema, &frame, &bytes);
    uint64_t plain_size = plain_size_of(&bytes);
    CLEANUP(mem_cleanup) char *plain = mem_alloc(plain_size);
    int unpacked = LZ4_decompress_safe((const char *)bytes.data + BODY, plain,
                                       (int)(bytes.size - BODY), (int)plain_size);
    cr_assert_eq((uint64_t)unpacked, plain_size);

    size_t bound = ZSTD_compressBound(plain_size);
    CLEANUP(mem_cleanup) uint8_t *packed = mem_alloc(bound);
    size_t size = ZSTD_compress(packed, bound, plain, plain_size, 1);
    cr_assert_not(ZSTD_isError(size));
    bytes.data[COMPRESSION_AT] = ZSTD;
    bytes.size = BODY;
    buffer_append(&bytes, packed, size);
    CLEANUP(frame_free) struct frame *back = decoded(buffer_span(&bytes), schema);
    cr_expect(kit_frames_equal(frame, back));
    bytes.data[PLAIN_SIZE_AT]++;
    cr_expect_eq(decode_code(buffer_span(&bytes), schema), ERR_CORRUPT, "a size of its own");
}

Test(frame_codec, refuses_packed_bodies_of_another_size_cut_or_too_small_for_what_they_claim)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema("{'schema':{'fields':[{'name':'s','type':'string'}]}}");
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(buffer_deinit) struct buffer bytes;
    encode_packed(schema, &frame, &bytes);
    for (size_t size = BODY; size < bytes.size; size++) {
        cr_expect_eq(decode_code(span_of(bytes.data, size), schema), ERR_CORRUPT, "cut to %zu",
                     size);
    }
    uint64_t plain_size = plain_size_of(&bytes);
    const uint64_t claims[] = {plain_size - 1, plain_size + 1, (bytes.size - BODY + 1) * 255,
                               FRAME_PLAIN_BYTES_MAX};
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        memcpy(bytes.data + PLAIN_SIZE_AT, &claims[i], sizeof claims[i]);
        cr_expect_eq(decode_code(buffer_span(&bytes), schema), ERR_CORRUPT, "%lu bytes claimed",
                     (unsigned long)claims[i]);
    }
    struct err err = {0};
    CLEANUP(frame_free) struct frame *none = NULL;
    cr_expect_eq(frame_decode(buffer_span(&bytes), schema, &none, &err), ERR_CORRUPT);
    cr_expect(strstr(err.msg, "its header's size") != NULL, "before memory is taken: %s", err.msg);
}

Test(frame_codec, a_full_buffer_is_said_not_cut)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 3000, 1);
    CLEANUP(buffer_deinit) struct buffer whole;
    buffer_init(&whole, BYTES_MAX);
    frame_encode(frame, &whole);
    for (size_t size_max = 0; size_max < whole.size; size_max += 1 + size_max / 3) {
        CLEANUP(buffer_deinit) struct buffer bytes;
        buffer_init(&bytes, size_max);
        frame_encode(frame, &bytes);
        cr_expect(bytes.overflowed, "ceiling %zu of %zu", size_max, whole.size);
    }
}

Test(frame_codec, an_older_frame_reads_against_a_newer_schema)
{
    CLEANUP(schema_release)
    struct schema *old = kit_schema("{'schema':{'fields':[{'name':'a','type':'long'}]}}");
    CLEANUP(schema_release)
    struct schema *next = kit_schema(
        "{'schema':{'fields':[{'name':'b','type':'string'},{'name':'a','type':'long'}]}}");
    CLEANUP(schema_release) struct schema *new = NULL;
    struct err err = {0};
    bool same = true;
    cr_assert_eq(schema_evolve(old, next, &new, &same, &err), ERR_OK, "%s", err.msg);
    CLEANUP(frame_free) struct frame *frame = kit_random_frame(old, 50, 2);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, BYTES_MAX);
    frame_encode(frame, &bytes);
    CLEANUP(frame_free) struct frame *back = decoded(buffer_span(&bytes), new);
    frame_check(back);
    for (int64_t row = 0; row < 50; row++) {
        cr_expect(kit_values_equal(&frame->columns[0], row, &back->columns[0], row));
        cr_expect_not(column_is_valid(&back->columns[1], row));
    }

    /* and the other way round it is refused as coming from a later version */
    buffer_reset(&bytes);
    frame_encode(back, &bytes);
    cr_expect_eq(decode_code(buffer_span(&bytes), old), ERR_UNSUPPORTED);
}

Test(frame_codec, refuses_every_truncation)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    static const int64_t rows[] = {1, 9, 400};
    for (size_t i = 0; i < 3; i++) {
        CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, rows[i], i + 3);
        CLEANUP(buffer_deinit) struct buffer bytes;
        buffer_init(&bytes, BYTES_MAX);
        frame_encode(frame, &bytes);
        for (size_t size = 0; size < bytes.size; size += size < 600 ? 1 : 97) {
            cr_assert_eq(decode_code(span_of(bytes.data, size), schema), ERR_CORRUPT,
                         "%zu of %zu bytes", size, bytes.size);
        }
        buffer_append_byte(&bytes, 0);
        cr_assert_eq(decode_code(buffer_span(&bytes), schema), ERR_CORRUPT, "one byte more");
    }
}

/* Every single bit flipped: refused, or a frame that obeys every invariant; never a crash. */
Test(frame_codec, flipped_bits_are_refused_or_give_a_sound_frame)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    for (uint64_t seed = 1; seed <= 6; seed++) {
        CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 9, seed);
        CLEANUP(buffer_deinit) struct buffer bytes;
        buffer_init(&bytes, BYTES_MAX);
        frame_encode(frame, &bytes);
        for (size_t bit = 0; bit < bytes.size * 8; bit++) {
            bytes.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
            enum err_code code = decode_code(buffer_span(&bytes), schema);
            cr_assert(code == ERR_OK || code == ERR_CORRUPT || code == ERR_UNSUPPORTED);
            bytes.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
    }
}

Test(frame_codec, refuses_fields_that_lie)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema(
        "{'schema':{'fields':[{'name':'s','type':'string'},{'name':'b','type':'boolean'}]}}");
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    static const char *const texts[] = {"é", "xy"};
    for (size_t i = 0; i < 2; i++) {
        column_append_bytes(&frame->columns[0], span_of_text(texts[i]));
        column_append_u8(&frame->columns[1], 1);
        frame_end_row(frame, FRAME_PATCH, (int64_t)i + 1);
    }
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, BYTES_MAX);
    frame_encode(frame, &bytes);
    /* body: head 8, packed lengths (head, 2 rows), size 4, contents 4; head 8, 2 slots;
     * 2 operations; packed lines (head, smallest, 2 rows) */
    enum {
        LENGTHS = BODY + COLUMN_HEAD,
        SIZE = LENGTHS + 3,
        CONTENTS = SIZE + 4,
        SECOND = CONTENTS + 4,
        SLOTS = SECOND + COLUMN_HEAD,
        OPERATIONS = SLOTS + 2,
        LINES = OPERATIONS + 2,
        END = LINES + 4,
    };
    cr_assert_eq(bytes.size, END);
    cr_assert_eq(decode_code(buffer_span(&bytes), schema), ERR_OK);
    static const struct {
        const char *name;
        size_t at;
        uint8_t byte;
        enum err_code code;
    } cases[] = {
        {"magic", 0, 'X', ERR_CORRUPT},
        {"later format", 4, 2, ERR_UNSUPPORTED},
        {"unknown compression", 5, 3, ERR_CORRUPT},
        {"zstd though it is not", 5, 1, ERR_CORRUPT},
        {"LZ4 though it is not", 5, 2, ERR_CORRUPT},
        {"unknown part", 6, 7, ERR_CORRUPT},
        {"no lines", 6, 1, ERR_CORRUPT},
        {"reserved byte", 7, 1, ERR_CORRUPT},
        {"encrypted", 8, 1, ERR_UNSUPPORTED},
        {"schema version 0", 12, 0, ERR_CORRUPT},
        {"rows", 16, 3, ERR_CORRUPT},
        {"rows beyond any size", 20, 0x7f, ERR_CORRUPT},
        {"fewer columns", 24, 1, ERR_CORRUPT},
        {"more columns", 24, 3, ERR_CORRUPT},
        {"reserved word", 28, 1, ERR_CORRUPT},
        {"plain size", 32, 1, ERR_CORRUPT},
        {"plain size over the limit", 39, 0x7f, ERR_CORRUPT},
        {"unknown field", BODY, 9, ERR_CORRUPT},
        {"field 0", BODY, 0, ERR_CORRUPT},
        {"fields out of order", BODY, 2, ERR_CORRUPT},
        {"other type", BODY + 4, COLUMN_BINARY, ERR_CORRUPT},
        {"no such type", BODY + 4, 99, ERR_CORRUPT},
        {"precision", BODY + 5, 1, ERR_CORRUPT},
        {"column parts", BODY + 7, 4, ERR_CORRUPT},
        {"validity where none is", BODY + 7, 1, ERR_CORRUPT},
        {"lengths short of the contents", LENGTHS + 1, 1, ERR_CORRUPT},
        {"lengths beyond the contents", LENGTHS + 2, 3, ERR_CORRUPT},
        {"contents size", SIZE, 3, ERR_CORRUPT},
        {"contents not UTF-8", CONTENTS, 0xff, ERR_CORRUPT},
        {"boolean 2", SLOTS, 2, ERR_CORRUPT},
        {"unknown operation", OPERATIONS, FRAME_OPERATION_COUNT, ERR_CORRUPT},
        {"negative lines", LINES + 1, 0x80, ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t before = bytes.data[cases[i].at];
        bytes.data[cases[i].at] = cases[i].byte;
        cr_expect_eq(decode_code(buffer_span(&bytes), schema), cases[i].code, "%s: %s",
                     cases[i].name, err_code_name(decode_code(buffer_span(&bytes), schema)));
        bytes.data[cases[i].at] = before;
    }
    /* well formed as a whole, but the first value ends inside its character */
    bytes.data[LENGTHS + 1] = 1;
    bytes.data[LENGTHS + 2] = 3;
    cr_expect_eq(decode_code(buffer_span(&bytes), schema), ERR_CORRUPT);
}

Test(frame_codec, refuses_repeated_fields_more_rows_than_bits_and_bytes_behind_the_end)
{
    CLEANUP(schema_release)
    struct schema *schema =
        kit_schema("{'schema':{'fields':[{'name':'a','type':'long'},{'name':'b','type':'long'}]}}");
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    column_append_i64(&frame->columns[0], 5);
    column_append_i64(&frame->columns[1], 5);
    frame_end_row(frame, FRAME_UPSERT, 0);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, BYTES_MAX);
    frame_encode(frame, &bytes);
    enum { SECOND = BODY + COLUMN_HEAD + 2, PLAIN = 2 * (COLUMN_HEAD + 2) };
    cr_assert_eq(bytes.size, BODY + PLAIN);

    bytes.data[SECOND] = 1;
    cr_expect_eq(decode_code(buffer_span(&bytes), schema), ERR_CORRUPT, "field twice");
    bytes.data[SECOND] = 2;

    /* equal values need no byte a row, so nothing else holds the count down */
    bytes.data[16] = PLAIN * 8;
    cr_expect_eq(decode_code(buffer_span(&bytes), schema), ERR_OK, "as many rows as bits");
    bytes.data[16] = PLAIN * 8 + 1;
    cr_expect_eq(decode_code(buffer_span(&bytes), schema), ERR_CORRUPT, "one row more");
    bytes.data[16] = 1;

    bytes.data[PLAIN_SIZE_AT]++;
    buffer_append_byte(&bytes, 0);
    cr_expect_eq(decode_code(buffer_span(&bytes), schema), ERR_CORRUPT, "a byte behind the end");
}

Test(frame_codec, refuses_nulls_with_values_and_values_in_absent_fields)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema("{'schema':{'fields':[{'name':'i','type':'integer'}]}}");
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    column_append_i32(&frame->columns[0], 5);
    frame_end_row(frame, FRAME_PATCH, 0);
    column_append_absent(&frame->columns[0]);
    frame_end_row(frame, FRAME_PATCH, 0);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, BYTES_MAX);
    frame_encode(frame, &bytes);
    static const struct {
        const char *name;
        uint8_t validity, present;
        enum err_code code;
    } cases[] = {
        {"as written", 1, 1, ERR_OK},
        {"null with a value", 2, 3, ERR_CORRUPT},
        {"value in an absent field", 3, 1, ERR_CORRUPT},
        {"bits behind the last row", 5, 5, ERR_CORRUPT},
        {"zero is a value too", 3, 3, ERR_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bytes.data[BODY + COLUMN_HEAD] = cases[i].validity;
        bytes.data[BODY + COLUMN_HEAD + 1] = cases[i].present;
        cr_expect_eq(decode_code(buffer_span(&bytes), schema), cases[i].code, "%s", cases[i].name);
    }
}

Test(frame_codec, refuses_decimals_over_their_precision)
{
    CLEANUP(schema_release)
    struct schema *narrow =
        kit_schema("{'schema':{'fields':[{'name':'d','type':'decimal(3,1)'}]}}");
    CLEANUP(schema_release)
    struct schema *wide = kit_schema("{'schema':{'fields':[{'name':'d','type':'decimal(4,1)'}]}}");
    static const struct {
        int value;
        enum err_code code;
    } cases[] = {{999, ERR_OK}, {1000, ERR_CORRUPT}, {-999, ERR_OK}, {-1000, ERR_CORRUPT}};
    for (size_t i = 0; i < 4; i++) {
        CLEANUP(frame_free) struct frame *frame = frame_new(wide);
        column_append_i128(&frame->columns[0], cases[i].value);
        frame_end_row(frame, FRAME_UPSERT, 0);
        CLEANUP(buffer_deinit) struct buffer bytes;
        buffer_init(&bytes, BYTES_MAX);
        frame_encode(frame, &bytes);
        cr_expect_eq(decode_code(buffer_span(&bytes), narrow), ERR_CORRUPT, "other type");
        bytes.data[BODY + 5] = 3;
        cr_expect_eq(decode_code(buffer_span(&bytes), narrow), cases[i].code, "%d", cases[i].value);
    }
}

/* `schema` without every third field. */
static struct schema *thinned(const struct schema *schema)
{
    CLEANUP(json_free) struct json *definition = schema_to_json(schema);
    CLEANUP(schema_release) struct schema *wanted = NULL;
    struct json *inner = (struct json *)(uintptr_t)json_get(definition, "schema"); /* ours */
    struct json *kept = json_new_array();
    struct json *dropped = json_new_array();
    for (size_t i = 0; i < schema->fields_count; i++) {
        const struct json *field = json_at(json_get(inner, "fields"), i);
        if (i % 3 == 1) {
            json_append(dropped, json_duplicate(json_get(field, "name")));
        } else {
            json_append(kept, json_duplicate(field));
        }
    }
    json_set(inner, "fields", kept);
    json_set(inner, "dropped", dropped);
    struct schema *evolved = NULL;
    struct err err = {0};
    bool same = false;
    cr_assert_eq(schema_parse(definition, &wanted, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(schema_evolve(schema, wanted, &evolved, &same, &err), ERR_OK, "%s", err.msg);
    cr_assert_lt(evolved->fields_count, schema->fields_count);
    return evolved;
}

/* Of frames in the journal and of row images alike. */
Test(frame_codec, fields_that_were_dropped_since_are_left_out)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema(
        "{'schema':{'fields':[{'name':'a','type':'string'},{'name':'b','type':'string'},"
        "{'name':'c','type':'integer'},{'name':'d','type':'long'},{'name':'e','type':'decimal(20,3)"
        "'},"
        "{'name':'f','type':'double'},{'name':'g','type':'boolean'},{'name':'h','type':'binary'},"
        "{'name':'i','type':'timestamp'},{'name':'j','type':'date'},{'name':'k','type':'boolean'}]}"
        "}");
    CLEANUP(schema_release) struct schema *later = thinned(schema);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 70, seed);
        CLEANUP(frame_free) struct frame *expected = frame_new(later);
        CLEANUP(frame_free) struct frame *images = frame_new(later);
        CLEANUP(buffer_deinit) struct buffer bytes;
        CLEANUP(buffer_deinit) struct buffer image;
        buffer_init(&bytes, BYTES_MAX);
        buffer_init(&image, BYTES_MAX);
        struct err err = {0};
        for (int64_t row = 0; row < frame->rows_count; row++) {
            frame_append_row(expected, frame, row);
            buffer_reset(&image);
            row_encode(frame, row, &image);
            cr_assert_eq(row_decode_into(buffer_span(&image), images, &err), ERR_OK, "%s", err.msg);
        }
        frame_encode(frame, &bytes);
        CLEANUP(frame_free) struct frame *back = decoded(buffer_span(&bytes), later);
        frame_check(back);
        cr_assert_eq(back->rows_count, 70);
        CLEANUP(buffer_deinit) struct buffer wanted;
        const struct frame *found[] = {back, images};
        buffer_init(&wanted, BYTES_MAX);
        encode_ndjson_rows(expected, 0, 70, NULL, &wanted);
        for (size_t i = 0; i < 2; i++) {
            CLEANUP(buffer_deinit) struct buffer text;
            buffer_init(&text, BYTES_MAX);
            encode_ndjson_rows(found[i], 0, 70, NULL, &text);
            cr_assert(span_equal(buffer_span(&text), buffer_span(&wanted)));
        }
        for (size_t size = 0; size < bytes.size; size += 7) { /* cut off anywhere, nothing breaks */
            cr_expect_neq(decode_code(span_of(bytes.data, size), later), ERR_OK);
        }
    }
}
