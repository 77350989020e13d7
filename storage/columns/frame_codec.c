/*
 * Frames as the journal keeps them. All integers little endian.
 *
 *   header, FRAME_HEADER_BYTES
 *     magic           4   "SLFR"
 *     format version  1
 *     compression     1   0 none, 1 zstd (read only: earlier releases wrote it), 2 LZ4, one block
 *     parts           1   bit 0 operations follow the columns, bit 1 lines do
 *     zero            1
 *     encryption key  4   id, 0 = none
 *     schema version  4
 *     rows            8
 *     columns         4
 *     zero            4
 *     plain size      8   bytes of the body before compression
 *   body
 *     columns         each: field id 4, type 1, precision 1, scale 1, parts 1
 *                     (bit 0 validity bits follow, bit 1 present bits do), then
 *                     the bits, ⌈rows / 8⌉ bytes each, then the values; of no rows
 *                     nothing follows
 *     operations      a byte a row
 *     lines           packed
 *   values
 *     integers, dates, timestamps, decimals   packed
 *     string, binary  lengths packed; size 4; the contents
 *     boolean         a byte a row
 *     double, float   8 bytes a row
 *     struct          count of its fields 4, then each as a column, its id the place from 1
 *     array, map      lengths packed; then likewise the columns of what is in them, which always
 *                     have validity bits: no element is without a bit in the body
 *   packed            see packed.h
 *
 * A null has a zero slot, here as in memory.
 */
#include "storage/columns/frame.h"

#include "storage/base/cursor.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/encode_text.h"
#include "storage/columns/packed.h"
#include "storage/columns/widen.h"

#include <assert.h>
#include <lz4.h>
#include <zstd.h>

enum {
    FORMAT_VERSION = 1,
    COMPRESSION_NONE = 0,
    COMPRESSION_ZSTD = 1,
    COMPRESSION_LZ4 = 2,
    PART_OPERATIONS = 1,
    PART_LINES = 2,
    PART_VALIDITY = 1,
    PART_PRESENT = 2,
    LZ4_ACCELERATION = 1,
    LZ4_RATIO_MAX = 255, /* no block says more with a byte */
};
_Static_assert((int)FRAME_PLAIN_BYTES_MAX <= LZ4_MAX_INPUT_SIZE, "any body is one block");
static const uint8_t magic[4] = {'S', 'L', 'F', 'R'};

static bool has_bytes(enum column_type type)
{
    return type == COLUMN_STRING || type == COLUMN_BINARY;
}

/* Arrays and maps. */
static bool has_elements(enum column_type type)
{
    return type == COLUMN_ARRAY || type == COLUMN_MAP;
}

static size_t bits_bytes(int64_t rows)
{
    return ((size_t)rows + 7) / 8;
}

/* ---- encoding --------------------------------------------------------------------- */

static void encode_children(const struct field *field, const struct column *column,
                            struct buffer *body);

static void encode_values(const struct field *field, const struct column *column,
                          struct buffer *body)
{
    int64_t rows = column->rows_count;
    switch (column->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        packed_store_lengths(column->values.ends, rows, body);
        buffer_append_u32(body, (uint32_t)column->bytes_size);
        buffer_append(body, column->bytes, column->bytes_size);
        break;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        packed_store_i32(column->values.i32, rows, body);
        break;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        packed_store_i64(column->values.i64, rows, body);
        break;
    case COLUMN_DECIMAL:
        packed_store_i128(column->values.i128, rows, body);
        break;
    case COLUMN_BOOLEAN:
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        buffer_append(body, column->values.slots,
                      (size_t)rows * column_type_slot_bytes(column->type));
        break;
    case COLUMN_ARRAY:
    case COLUMN_MAP:
        packed_store_lengths(column->values.ends, rows, body);
        encode_children(field, column, body);
        break;
    case COLUMN_STRUCT:
        encode_children(field, column, body);
        break;
    case COLUMN_TYPE_COUNT:
        assert(false && "a type of the enum");
    }
}

static void encode_column(const struct field *field, const struct column *column, bool is_element,
                          struct buffer *body)
{
    bool validity = column->nulls_count > 0 || is_element;
    bool present = column->present != NULL;
    buffer_append_u32(body, (uint32_t)field->id);
    buffer_append_byte(body, (uint8_t)column->type);
    buffer_append_byte(body, (uint8_t)field->precision);
    buffer_append_byte(body, (uint8_t)field->scale);
    buffer_append_byte(body,
                       (uint8_t)((validity ? PART_VALIDITY : 0) | (present ? PART_PRESENT : 0)));
    if (column->rows_count == 0) {
        return;
    }
    if (validity) {
        buffer_append(body, column->validity, bits_bytes(column->rows_count));
    }
    if (present) {
        buffer_append(body, column->present, bits_bytes(column->rows_count));
    }
    encode_values(field, column, body);
}

/* Recursion here and below is bounded by SCHEMA_DEPTH_MAX. */
static void encode_children(const struct field *field, const struct column *column,
                            struct buffer *body)
{
    buffer_append_u32(body, (uint32_t)column->children_count);
    for (size_t i = 0; i < column->children_count; i++) {
        encode_column(&field->children[i], &column->children[i], has_elements(column->type), body);
    }
}

static void encode_body(const struct frame *frame, struct buffer *body)
{
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        encode_column(&frame->schema->fields[i], &frame->columns[i], false, body);
    }
    if (frame->operations != NULL) {
        buffer_append(body, frame->operations, (size_t)frame->rows_count);
    }
    if (frame->lines != NULL && frame->rows_count > 0) {
        packed_store_i64(frame->lines, frame->rows_count, body);
    }
}

static void encode_header(const struct frame *frame, int compression, size_t plain_size,
                          struct buffer *bytes)
{
    size_t start = bytes->size;
    int parts =
        (frame->operations != NULL ? PART_OPERATIONS : 0) | (frame->lines != NULL ? PART_LINES : 0);
    buffer_append(bytes, magic, sizeof magic);
    buffer_append_byte(bytes, FORMAT_VERSION);
    buffer_append_byte(bytes, (uint8_t)compression);
    buffer_append_byte(bytes, (uint8_t)parts);
    buffer_append_byte(bytes, 0);
    buffer_append_u32(bytes, 0); /* no encryption key */
    buffer_append_u32(bytes, (uint32_t)frame->schema->version);
    buffer_append_u64(bytes, (uint64_t)frame->rows_count);
    buffer_append_u32(bytes, (uint32_t)frame->schema->fields_count);
    buffer_append_u32(bytes, 0);
    buffer_append_u64(bytes, plain_size);
    assert(bytes->overflowed || bytes->size - start == FRAME_HEADER_BYTES);
}

/*
 * Appends header and compressed body unless compression would save less than an eighth. LZ4 and
 * not zstd: every batch is packed before its answer and unpacked by its merge, soon after; a
 * journal of twice the size is cheaper than a tenth of the processor.
 */
static bool encode_compressed(const struct frame *frame, struct span body, struct buffer *bytes)
{
    size_t worth_it = body.size - body.size / 8;
    size_t start = bytes->size;
    encode_header(frame, COMPRESSION_LZ4, body.size, bytes);
    uint8_t *target = buffer_reserve(bytes, worth_it);
    if (target == NULL) {
        return true; /* past the ceiling either way, and that is sticky */
    }
    /* 0 when the target is too small for the result: the cheap way to stop early */
    int size = LZ4_compress_fast((const char *)body.data, (char *)target, (int)body.size,
                                 (int)worth_it, LZ4_ACCELERATION);
    if (size <= 0) {
        bytes->size = start;
        return false;
    }
    buffer_advance(bytes, (size_t)size);
    return true;
}

void frame_encode(const struct frame *frame, struct buffer *bytes)
{
    CLEANUP(buffer_deinit) struct buffer body;
    buffer_init(&body, FRAME_PLAIN_BYTES_MAX);
    int64_t likely = frame_value_bytes(frame);
    if (likely < FRAME_PLAIN_BYTES_MAX) {
        (void)buffer_reserve(&body, (size_t)likely); /* so that it need not be moved */
    }
    encode_body(frame, &body);
    if (body.overflowed) {
        bytes->overflowed = true;
        return;
    }
    if (body.size > FRAME_COMPRESS_BYTES_MIN &&
        encode_compressed(frame, buffer_span(&body), bytes)) {
        return;
    }
    encode_header(frame, COMPRESSION_NONE, body.size, bytes);
    buffer_append_span(bytes, buffer_span(&body));
}

/* ---- decoding one column ------------------------------------------------------------- */

/* What the header says; checked against its own limits only. */
struct header {
    int compression;
    int parts;
    int32_t schema_version;
    int64_t rows_count;
    size_t columns_count;
    size_t plain_size;
};

static struct packed_limits integer_limits(enum column_type type)
{
    int64_t high = 0;
    switch (type) {
    case COLUMN_BYTE:
        high = INT8_MAX;
        break;
    case COLUMN_SHORT:
        high = INT16_MAX;
        break;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
        high = INT32_MAX;
        break;
    default:
        assert(column_type_slot_bytes(type) == sizeof(int64_t));
        high = INT64_MAX;
        break;
    }
    return (struct packed_limits){
        .low = -(__int128)high - 1,
        .high = high,
        .width_max = (unsigned)column_type_slot_bytes(type),
    };
}

static bool decode_integers(struct cursor *cursor, struct column *column, int64_t rows)
{
    struct packed_limits limits = integer_limits(column->type);
    struct packed packed;
    if (!packed_read(cursor, rows, &limits, &packed)) {
        return false;
    }
    if (limits.width_max == sizeof(int32_t)) {
        packed_load_i32(&packed, rows, column->values.i32);
    } else {
        packed_load_i64(&packed, rows, column->values.i64);
    }
    return true;
}

static bool decode_decimals(struct cursor *cursor, const struct field *field, struct column *column,
                            int64_t rows)
{
    __int128 limit = 1;
    for (int i = 0; i < field->precision; i++) {
        limit *= 10;
    }
    struct packed_limits limits = {
        .low = 1 - limit, .high = limit - 1, .width_max = sizeof(__int128)};
    struct packed packed;
    if (!packed_read(cursor, rows, &limits, &packed)) {
        return false;
    }
    packed_load_i128(&packed, rows, column->values.i128);
    return true;
}

/* The contents are well formed as a whole and no value starts inside a character. */
static bool is_text(const struct column *column, int64_t rows)
{
    size_t bad = 0;
    if (!text_is_utf8(span_of(column->bytes, column->bytes_size), &bad)) {
        return false;
    }
    for (int64_t i = 0; i < rows; i++) {
        uint32_t end = column->values.ends[i];
        if (end < column->bytes_size && (column->bytes[end] & 0xc0) == 0x80) {
            return false;
        }
    }
    return true;
}

/* Lengths to ends, in place; false when the contents would pass the limit. */
static bool decode_ends(struct cursor *cursor, struct column *column, int64_t rows)
{
    static const struct packed_limits limits = {
        .low = 0, .high = COLUMN_BYTES_MAX, .width_max = sizeof(uint32_t)};
    _Static_assert(sizeof(int32_t) == sizeof *column->values.ends, "one array for both");
    struct packed packed;
    if (!packed_read(cursor, rows, &limits, &packed)) {
        return false;
    }
    packed_load_i32(&packed, rows, column->values.i32);
    uint64_t end = 0;
    for (int64_t i = 0; i < rows; i++) {
        end += column->values.ends[i];
        if (end > COLUMN_BYTES_MAX) {
            return false;
        }
        column->values.ends[i] = (uint32_t)end;
    }
    return true;
}

static bool decode_bytes(struct cursor *cursor, struct column *column, int64_t rows)
{
    if (!decode_ends(cursor, column, rows)) {
        return false;
    }
    uint32_t size = cursor_u32(cursor);
    struct span contents = cursor_bytes(cursor, size);
    if (cursor->failed || size != column->values.ends[rows - 1]) {
        return false;
    }
    if (size > 0) {
        column_reserve_bytes(column, size);
        memcpy(column->bytes, contents.data, size);
    }
    column->bytes_size = size;
    return column->type != COLUMN_STRING || is_text(column, rows);
}

static bool decode_slots(struct cursor *cursor, struct column *column, int64_t rows)
{
    size_t size = (size_t)rows * column_type_slot_bytes(column->type);
    struct span slots = cursor_bytes(cursor, size);
    if (cursor->failed) {
        return false;
    }
    for (size_t i = 0; column->type == COLUMN_BOOLEAN && i < size; i++) {
        if (slots.data[i] > 1) {
            return false;
        }
    }
    memcpy(column->values.slots, slots.data, size);
    return true;
}

/*
 * A column as it stands in the frame, and what it goes to: a field of the schema, or none when
 * that was dropped. Children of a struct that were added since become null.
 */
struct reading {
    struct field described; /* type and id; children are not listed */
    int parts;
    const struct field *field; /* NULL = dropped */
    int depth;                 /* of nested types around it */
    bool is_element;
};

/* The head of a column: its field as far as the frame describes it. */
static enum err_code decode_column_head(struct cursor *cursor, int32_t id_before,
                                        struct reading *reading, struct err *err)
{
    uint32_t id = cursor_u32(cursor);
    uint8_t type = cursor_u8(cursor);
    uint8_t precision = cursor_u8(cursor);
    uint8_t scale = cursor_u8(cursor);
    int parts = cursor_u8(cursor);
    TRY(cursor_check(cursor, "frame column", err));
    if (id > INT32_MAX || (int32_t)id <= id_before || parts > (PART_VALIDITY | PART_PRESENT) ||
        type >= COLUMN_TYPE_COUNT || precision > SCHEMA_DECIMAL_PRECISION_MAX ||
        scale > precision) {
        return err_set(err, ERR_CORRUPT, "frame column %u is out of order or malformed", id);
    }
    reading->described =
        (struct field){.id = (int32_t)id, .type = type, .precision = precision, .scale = scale};
    reading->parts = parts;
    return ERR_OK;
}

static bool is_of_type(const struct field *described, const struct field *field)
{
    return described->type == field->type && described->precision == field->precision &&
           described->scale == field->scale;
}

static bool decode_nested(struct cursor *cursor, const struct reading *reading,
                          struct column *column, int64_t rows);

static bool decode_values(struct cursor *cursor, const struct reading *reading,
                          struct column *column, int64_t rows)
{
    const struct field *field = &reading->described;
    switch (field->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        return decode_bytes(cursor, column, rows);
    case COLUMN_BOOLEAN:
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        return decode_slots(cursor, column, rows);
    case COLUMN_DECIMAL:
        return decode_decimals(cursor, field, column, rows);
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
        return decode_nested(cursor, reading, column, rows);
    default:
        return decode_integers(cursor, column, rows);
    }
}

/* Bits for `rows` rows, all set when `follow` is false; the rest of the last byte must be zero. */
static bool decode_bits(struct cursor *cursor, bool follow, int64_t rows, uint8_t *bits)
{
    size_t size = bits_bytes(rows);
    uint8_t last = (uint8_t)(0xffU >> ((8 - rows % 8) % 8));
    if (!follow) {
        memset(bits, 0xff, size);
        bits[size - 1] = last;
        return true;
    }
    struct span stored = cursor_bytes(cursor, size);
    if (cursor->failed || (stored.data[size - 1] & ~last) != 0) {
        return false;
    }
    memcpy(bits, stored.data, size);
    return true;
}

static bool slot_is_zero(const struct column *column, int64_t row)
{
    static const uint8_t zeros[sizeof(__int128)] = {0};
    if (has_bytes(column->type) || has_elements(column->type)) {
        struct column_stretch stretch = column_elements(column, row);
        return stretch.start == stretch.end;
    }
    for (size_t i = 0; i < column->children_count; i++) { /* a struct */
        if (column_is_valid(&column->children[i], row)) {
            return false;
        }
    }
    size_t size = column_type_slot_bytes(column->type);
    return size == 0 ||
           memcmp((const uint8_t *)column->values.slots + (size_t)row * size, zeros, size) == 0;
}

/* Counts the nulls; false when a null holds a value or a value stands in an absent field. */
static bool check_nulls(struct column *column, int64_t rows)
{
    for (int64_t row = 0; row < rows; row++) {
        if (column_is_valid(column, row)) {
            if (!column_is_present(column, row)) {
                return false;
            }
            continue;
        }
        if (!slot_is_zero(column, row)) {
            return false;
        }
        column->nulls_count++;
    }
    return true;
}

/* Fills an empty column from behind its head; false when anything is not as it must be. */
static bool decode_column(struct cursor *cursor, const struct reading *reading, int64_t rows,
                          struct column *column)
{
    int parts = reading->parts;
    if (rows == 0) {
        return true;
    }
    column_reserve(column, rows);
    if (!decode_bits(cursor, (parts & PART_VALIDITY) != 0, rows, column->validity)) {
        return false;
    }
    if ((parts & PART_PRESENT) != 0) {
        column->present = mem_zeroed((size_t)column->capacity_rows / 8, 1);
        if (!decode_bits(cursor, true, rows, column->present)) {
            return false;
        }
    }
    if (!decode_values(cursor, reading, column, rows)) {
        return false;
    }
    column->rows_count = rows;
    return parts == 0 || check_nulls(column, rows);
}

static void fill_null(struct column *column, int64_t rows)
{
    bool ends = has_bytes(column->type) || has_elements(column->type);
    column_reserve(column, rows);
    if (rows > 0 && column->type != COLUMN_STRUCT) {
        memset(column->values.slots, 0,
               (size_t)rows * (ends ? sizeof(uint32_t) : column_type_slot_bytes(column->type)));
    }
    for (size_t i = 0; column->type == COLUMN_STRUCT && i < column->children_count; i++) {
        fill_null(&column->children[i], rows);
    }
    column->rows_count = rows;
    column->nulls_count = rows;
}

/* Of the place it stands at: the child's head, its field, and the rows behind it. */
static bool decode_child(struct cursor *cursor, const struct reading *parent, size_t index,
                         int64_t rows, struct column *column)
{
    const struct field *field = parent->field == NULL ? NULL : &parent->field->children[index];
    struct reading reading = {.field = field,
                              .depth = parent->depth + 1,
                              .is_element = has_elements(parent->described.type)};
    struct err ignored = {0}; /* whoever calls names the column */
    if (decode_column_head(cursor, (int32_t)index, &reading, &ignored) != ERR_OK ||
        reading.described.id != (int32_t)index + 1 || (reading.parts & PART_PRESENT) != 0 ||
        (reading.is_element && (reading.parts & PART_VALIDITY) == 0) ||
        (field != NULL && !is_of_type(&reading.described, field))) {
        return false;
    }
    CLEANUP(column_deinit) struct column dropped;
    column_init(&dropped, &reading.described);
    return decode_column(cursor, &reading, rows, field == NULL ? &dropped : column);
}

/* How many children a nested type has in a frame: fields may have been added to a struct since. */
static bool count_fits(const struct reading *reading, uint32_t count)
{
    enum column_type type = reading->described.type;
    size_t known = reading->field == NULL ? SCHEMA_FIELDS_MAX : reading->field->children_count;
    return type == COLUMN_STRUCT ? count >= 1 && count <= known
                                 : count == (type == COLUMN_MAP ? 2 : 1);
}

static bool has_null_key(const struct reading *reading, const struct column *column)
{
    return reading->field != NULL && reading->described.type == COLUMN_MAP &&
           column->children[0].nulls_count > 0;
}

static bool decode_nested(struct cursor *cursor, const struct reading *reading,
                          struct column *column, int64_t rows)
{
    int64_t rows_below = rows;
    if (has_elements(reading->described.type)) {
        if (!decode_ends(cursor, column, rows)) {
            return false;
        }
        rows_below = column->values.ends[rows - 1];
    }
    uint32_t count = cursor_u32(cursor);
    /* each has a bit: what keeps a lying count from taking memory */
    if (cursor->failed || reading->depth >= SCHEMA_DEPTH_MAX || !count_fits(reading, count) ||
        (size_t)rows_below / 8 > cursor_left(cursor)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct column *child = reading->field == NULL ? NULL : &column->children[i];
        if (!decode_child(cursor, reading, i, rows_below, child)) {
            return false;
        }
    }
    for (size_t i = count; i < column->children_count; i++) {
        fill_null(&column->children[i], rows_below);
    }
    return !has_null_key(reading, column);
}

/* ---- decoding the frame --------------------------------------------------------------- */

static enum err_code decode_header(struct cursor *cursor, struct header *header, struct err *err)
{
    struct span mark = cursor_bytes(cursor, sizeof magic);
    uint8_t version = cursor_u8(cursor);
    header->compression = cursor_u8(cursor);
    header->parts = cursor_u8(cursor);
    uint64_t zero = cursor_u8(cursor);
    uint32_t key = cursor_u32(cursor);
    uint32_t schema_version = cursor_u32(cursor);
    uint64_t rows = cursor_u64(cursor);
    header->columns_count = cursor_u32(cursor);
    zero |= cursor_u32(cursor);
    uint64_t plain_size = cursor_u64(cursor);
    TRY(cursor_check(cursor, "frame header", err));
    if (memcmp(mark.data, magic, sizeof magic) != 0) {
        return err_set(err, ERR_CORRUPT, "not a frame");
    }
    if (version != FORMAT_VERSION || key != 0) {
        return err_set(err, ERR_UNSUPPORTED, "frame of format version %u under encryption key %u",
                       version, key);
    }
    if (zero != 0 || header->compression > COMPRESSION_LZ4 || schema_version < 1 ||
        schema_version > INT32_MAX || header->parts > (PART_OPERATIONS | PART_LINES) ||
        plain_size > FRAME_PLAIN_BYTES_MAX) {
        return err_set(err, ERR_CORRUPT, "frame header holds impossible values");
    }
    /* every row has at least a bit in the body: what keeps a lying count from taking memory */
    if (rows > plain_size * 8 || rows > FRAME_ROWS_MAX ||
        header->columns_count > SCHEMA_FIELDS_MAX) {
        return err_set(err, ERR_CORRUPT, "frame counts do not fit its size");
    }
    header->schema_version = (int32_t)schema_version;
    header->rows_count = (int64_t)rows;
    header->plain_size = (size_t)plain_size;
    return ERR_OK;
}

/* Does the compressed body itself bear out the size of the header? No memory is taken before. */
static bool is_likely_size(const struct header *header, struct span stored)
{
    return header->compression == COMPRESSION_ZSTD
               ? ZSTD_getFrameContentSize(stored.data, stored.size) == header->plain_size
               : stored.size <= LZ4_MAX_INPUT_SIZE &&
                     header->plain_size / LZ4_RATIO_MAX <= stored.size;
}

/* Bytes that the body has, or what is none of its sizes. */
static size_t unpack(const struct header *header, struct span stored, uint8_t *target)
{
    if (header->compression == COMPRESSION_ZSTD) {
        return ZSTD_decompress(target, header->plain_size, stored.data, stored.size);
    }
    int size = LZ4_decompress_safe((const char *)stored.data, (char *)target, (int)stored.size,
                                   (int)header->plain_size);
    return size < 0 ? SIZE_MAX : (size_t)size;
}

/* The body of the frame: `stored` itself, or its contents in `plain`. */
static enum err_code open_body(const struct header *header, struct span stored,
                               struct buffer *plain, struct span *body_out, struct err *err)
{
    if (header->compression == COMPRESSION_NONE) {
        if (stored.size != header->plain_size) {
            return err_set(err, ERR_CORRUPT, "frame body has %zu bytes, its header says %zu",
                           stored.size, header->plain_size);
        }
        *body_out = stored;
        return ERR_OK;
    }
    if (!is_likely_size(header, stored)) {
        return err_set(err, ERR_CORRUPT, "compressed frame body does not have its header's size");
    }
    uint8_t *target = buffer_reserve(plain, header->plain_size);
    assert(target != NULL);
    if (unpack(header, stored, target) != header->plain_size) {
        return err_set(err, ERR_CORRUPT, "compressed frame body is malformed");
    }
    buffer_advance(plain, header->plain_size);
    *body_out = buffer_span(plain);
    return ERR_OK;
}

/* The schema's field of that id, -1 for one that was dropped since. */
static enum err_code match_field(const struct header *header, const struct schema *schema,
                                 const struct field *described, int *index_out, struct err *err)
{
    int index = schema_field_index_by_id(schema, described->id);
    if (index < 0 && described->id >= schema->next_field_id) {
        enum err_code code =
            header->schema_version > schema->version ? ERR_UNSUPPORTED : ERR_CORRUPT;
        return err_set(err, code, "frame of schema version %d has field %d, unknown to version %d",
                       header->schema_version, described->id, schema->version);
    }
    const struct field *field = index < 0 ? NULL : &schema->fields[index];
    if (field != NULL && !is_of_type(described, field) && !field_widens(described, field)) {
        enum err_code code =
            header->schema_version > schema->version ? ERR_UNSUPPORTED : ERR_CORRUPT;
        return err_set(err, code, "frame column '%s' is not of its field's type", field->name);
    }
    *index_out = index;
    return ERR_OK;
}

/* All of a column of the type of then; false when the type of now does not hold a value. */
static bool append_widened(struct column *target, const struct field *field,
                           const struct column *source)
{
    for (int64_t row = 0; row < source->rows_count; row++) {
        if (column_is_valid(source, row)) {
            const struct row_value value = encode_value_of(source, row);
            if (!row_value_widens(&value, field)) {
                return false;
            }
        }
        column_append_widened(target, field, source, row);
    }
    return true;
}

static enum err_code decode_columns(struct cursor *cursor, const struct header *header,
                                    struct frame *frame, struct err *err)
{
    struct reading reading = {.depth = 0};
    for (size_t i = 0; i < header->columns_count; i++) {
        int index = -1;
        TRY(decode_column_head(cursor, reading.described.id, &reading, err));
        TRY(match_field(header, frame->schema, &reading.described, &index, err));
        reading.field = index < 0 ? NULL : &frame->schema->fields[index];
        CLEANUP(column_deinit) struct column other; /* dropped, or of the type of then */
        column_init(&other, &reading.described);
        bool same = index >= 0 && frame->columns[index].type == other.type;
        struct column *column = same ? &frame->columns[index] : &other;
        if (!decode_column(cursor, &reading, header->rows_count, column)) {
            return err_set(err, ERR_CORRUPT, "frame column %d is malformed", reading.described.id);
        }
        if (index >= 0 && !same && !append_widened(&frame->columns[index], reading.field, &other)) {
            return err_set(err, ERR_CORRUPT, "frame column %d has values beyond its type",
                           reading.described.id);
        }
    }
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        if (frame->columns[i].rows_count != header->rows_count) {
            fill_null(&frame->columns[i], header->rows_count);
        }
    }
    return ERR_OK;
}

static bool decode_operations(struct cursor *cursor, const struct header *header,
                              struct frame *frame)
{
    struct span operations = cursor_bytes(cursor, (size_t)header->rows_count);
    if (cursor->failed) {
        return false;
    }
    for (size_t i = 0; i < operations.size; i++) {
        if (operations.data[i] >= FRAME_OPERATION_COUNT) {
            return false;
        }
    }
    frame->operations = mem_zeroed((size_t)frame->capacity_rows, 1);
    if (operations.size > 0) {
        memcpy(frame->operations, operations.data, operations.size);
    }
    return true;
}

static bool decode_lines(struct cursor *cursor, const struct header *header, struct frame *frame)
{
    static const struct packed_limits limits = {
        .low = 0, .high = INT64_MAX, .width_max = sizeof(int64_t)};
    frame->lines = mem_zeroed((size_t)frame->capacity_rows, sizeof *frame->lines);
    if (header->rows_count == 0) {
        return true;
    }
    struct packed packed;
    if (!packed_read(cursor, header->rows_count, &limits, &packed)) {
        return false;
    }
    packed_load_i64(&packed, header->rows_count, frame->lines);
    return true;
}

static enum err_code decode_body(struct span body, const struct header *header, struct frame *frame,
                                 struct err *err)
{
    struct cursor cursor = cursor_of(body);
    TRY(decode_columns(&cursor, header, frame, err));
    frame->capacity_rows = (header->rows_count + 63) / 64 * 64;
    if ((header->parts & PART_OPERATIONS) != 0 && !decode_operations(&cursor, header, frame)) {
        return err_set(err, ERR_CORRUPT, "frame operations are malformed");
    }
    if ((header->parts & PART_LINES) != 0 && !decode_lines(&cursor, header, frame)) {
        return err_set(err, ERR_CORRUPT, "frame lines are malformed");
    }
    if (cursor_left(&cursor) > 0) {
        return err_set(err, ERR_CORRUPT, "frame body has %zu bytes too many", cursor_left(&cursor));
    }
    frame->rows_count = header->rows_count;
    return ERR_OK;
}

static enum err_code decode_into(struct span bytes, struct frame *frame, struct err *err)
{
    struct cursor cursor = cursor_of(bytes);
    struct header header = {0};
    TRY(decode_header(&cursor, &header, err));
    CLEANUP(buffer_deinit) struct buffer plain;
    buffer_init(&plain, FRAME_PLAIN_BYTES_MAX);
    struct span body = {0};
    TRY(open_body(&header, cursor_bytes(&cursor, cursor_left(&cursor)), &plain, &body, err));
    return decode_body(body, &header, frame, err);
}

enum err_code frame_decode_again(struct span bytes, const struct schema *schema,
                                 struct frame **frame, struct err *err)
{
    if (*frame == NULL) {
        *frame = frame_new(schema);
    } else {
        assert((*frame)->schema == schema);
        frame_reset(*frame);
    }
    enum err_code code = decode_into(bytes, *frame, err);
    if (code != ERR_OK) {
        frame_free(frame); /* half a column is nothing to go on with */
    }
    return code;
}

enum err_code frame_decode(struct span bytes, const struct schema *schema, struct frame **frame_out,
                           struct err *err)
{
    CLEANUP(frame_free) struct frame *frame = NULL;
    TRY(frame_decode_again(bytes, schema, &frame, err));
    *frame_out = frame;
    frame = NULL;
    return ERR_OK;
}
