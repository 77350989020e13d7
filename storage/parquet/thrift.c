/*
 * Thrift's compact protocol: reading. See thrift.h for the contract.
 */
#include "storage/parquet/thrift.h"

#include <assert.h>

static int64_t read_zigzag(struct cursor *cursor)
{
    uint64_t raw = cursor_varint(cursor);
    return (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
}

bool thrift_field_next(struct cursor *cursor, struct thrift_field *field)
{
    uint8_t head = cursor_u8(cursor);
    if (head == THRIFT_STOP || cursor->failed) {
        return false;
    }
    int delta = head >> 4;
    int64_t id = delta != 0 ? field->id + delta : read_zigzag(cursor);
    unsigned type = head & 0x0f;
    if (id < INT16_MIN || id > INT16_MAX || type > THRIFT_STRUCT || type == THRIFT_STOP) {
        cursor_fail(cursor);
        return false;
    }
    field->id = (int32_t)id;
    field->type = (enum thrift_type)type;
    return !cursor->failed;
}

static void expect(struct cursor *cursor, const struct thrift_field *field, enum thrift_type type)
{
    if (field->type != type) {
        cursor_fail(cursor);
    }
}

bool thrift_read_bool(struct cursor *cursor, const struct thrift_field *field)
{
    if (field->type != THRIFT_TRUE && field->type != THRIFT_FALSE) {
        cursor_fail(cursor);
    }
    return field->type == THRIFT_TRUE;
}

/* Integers of any width are one zigzag varint; a narrower type than asked for is fine. */
int64_t thrift_read_i64(struct cursor *cursor, const struct thrift_field *field)
{
    if (field->type == THRIFT_I8) {
        return (int8_t)cursor_u8(cursor);
    }
    if (field->type < THRIFT_I16 || field->type > THRIFT_I64) {
        cursor_fail(cursor);
        return 0;
    }
    return read_zigzag(cursor);
}

int32_t thrift_read_i32(struct cursor *cursor, const struct thrift_field *field)
{
    int64_t value = thrift_read_i64(cursor, field);
    if (value < INT32_MIN || value > INT32_MAX) {
        cursor_fail(cursor);
        return 0;
    }
    return (int32_t)value;
}

struct span thrift_element_binary(struct cursor *cursor)
{
    uint64_t size = cursor_varint(cursor);
    if (size > cursor_left(cursor)) {
        cursor_fail(cursor);
        return (struct span){0};
    }
    return cursor_bytes(cursor, (size_t)size);
}

struct span thrift_read_binary(struct cursor *cursor, const struct thrift_field *field)
{
    expect(cursor, field, THRIFT_BINARY);
    return thrift_element_binary(cursor);
}

void thrift_read_struct(struct cursor *cursor, const struct thrift_field *field)
{
    expect(cursor, field, THRIFT_STRUCT);
}

/* Every element takes at least a byte, so a count over the rest is a lie. */
static size_t read_list_head(struct cursor *cursor, enum thrift_type *element_out)
{
    uint8_t head = cursor_u8(cursor);
    uint64_t count = head >> 4;
    if (count > THRIFT_LIST_SHORT_MAX) {
        count = cursor_varint(cursor);
    }
    unsigned type = head & 0x0f;
    if (count > cursor_left(cursor) || type > THRIFT_STRUCT || type == THRIFT_STOP) {
        if (!(count == 0 && type == THRIFT_STOP)) {
            cursor_fail(cursor);
        }
        *element_out = THRIFT_STOP;
        return 0;
    }
    *element_out = (enum thrift_type)type;
    return (size_t)count;
}

size_t thrift_read_list(struct cursor *cursor, const struct thrift_field *field,
                        enum thrift_type element)
{
    expect(cursor, field, THRIFT_LIST);
    enum thrift_type found = THRIFT_STOP;
    size_t count = read_list_head(cursor, &found);
    bool both_bool = (element == THRIFT_TRUE || element == THRIFT_FALSE) &&
                     (found == THRIFT_TRUE || found == THRIFT_FALSE);
    if (count > 0 && found != element && !both_bool) {
        cursor_fail(cursor);
    }
    return cursor->failed ? 0 : count;
}

int64_t thrift_element_integer(struct cursor *cursor)
{
    return read_zigzag(cursor);
}

bool thrift_element_bool(struct cursor *cursor)
{
    return cursor_u8(cursor) == THRIFT_TRUE;
}

/* One open container of a skipped value. */
struct skip_level {
    bool is_struct;            /* ends with a stop byte; else after `left` values */
    struct thrift_field field; /* is_struct */
    uint64_t left;
    enum thrift_type types[2]; /* a map's key and value alternate; a list has both the same */
};

static struct skip_level open_list(struct cursor *cursor)
{
    struct skip_level level = {0};
    level.left = read_list_head(cursor, &level.types[0]);
    level.types[1] = level.types[0];
    return level;
}

static struct skip_level open_map(struct cursor *cursor)
{
    struct skip_level level = {0};
    uint64_t count = cursor_varint(cursor);
    if (count == 0) {
        return level;
    }
    uint8_t types = cursor_u8(cursor);
    if (count > cursor_left(cursor) / 2 || types >> 4 > THRIFT_STRUCT ||
        (types & 0x0f) > THRIFT_STRUCT || types >> 4 == 0 || (types & 0x0f) == 0) {
        cursor_fail(cursor);
        return level;
    }
    level.left = count * 2;
    /* counted down: an even count is a key */
    level.types[0] = (enum thrift_type)(types >> 4);
    level.types[1] = (enum thrift_type)(types & 0x0f);
    return level;
}

/* Skip a value without children; true when `level_out` was opened instead. */
static bool skip_one(struct cursor *cursor, enum thrift_type type, bool in_container,
                     struct skip_level *level_out)
{
    switch (type) {
    case THRIFT_TRUE:
    case THRIFT_FALSE:
        cursor_skip(cursor, in_container ? 1 : 0);
        return false;
    case THRIFT_I8:
        cursor_skip(cursor, 1);
        return false;
    case THRIFT_I16:
    case THRIFT_I32:
    case THRIFT_I64:
        (void)cursor_varint(cursor); /* only passed over */
        return false;
    case THRIFT_DOUBLE:
        cursor_skip(cursor, 8);
        return false;
    case THRIFT_BINARY:
        (void)thrift_element_binary(cursor); /* only passed over */
        return false;
    case THRIFT_LIST:
    case THRIFT_SET:
        *level_out = open_list(cursor);
        return true;
    case THRIFT_MAP:
        *level_out = open_map(cursor);
        return true;
    case THRIFT_STRUCT:
        *level_out = (struct skip_level){.is_struct = true};
        return true;
    case THRIFT_STOP:
        break;
    }
    cursor_fail(cursor);
    return false;
}

/* The type of the next value inside `level`; false when the container is over. */
static bool next_in_level(struct cursor *cursor, struct skip_level *level,
                          enum thrift_type *type_out)
{
    if (level->is_struct) {
        bool more = thrift_field_next(cursor, &level->field);
        *type_out = level->field.type;
        return more;
    }
    if (level->left == 0) {
        return false;
    }
    *type_out = level->types[level->left & 1];
    level->left--;
    return true;
}

void thrift_skip(struct cursor *cursor, const struct thrift_field *field)
{
    struct skip_level stack[THRIFT_DEPTH_MAX];
    size_t depth = 0;
    if (!skip_one(cursor, field->type, false, &stack[0])) {
        return;
    }
    depth = 1;
    while (depth > 0 && !cursor->failed) {
        struct skip_level *top = &stack[depth - 1];
        enum thrift_type type = THRIFT_STOP;
        if (!next_in_level(cursor, top, &type)) {
            depth--;
            continue;
        }
        struct skip_level opened;
        if (!skip_one(cursor, type, !top->is_struct, &opened)) {
            continue;
        }
        if (depth == THRIFT_DEPTH_MAX) {
            cursor_fail(cursor);
            return;
        }
        stack[depth++] = opened;
    }
}
