/*
 * The schema object: types, sharing, finding fields. Parsing of definitions is
 * in schema_parse.c, changes of them in schema_evolve.c, Delta's schemaString
 * in schema_delta.c. See schema.h for the contracts.
 */
#include "storage/columns/schema.h"

#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/pattern.h"
#include "storage/columns/schema_build.h"

#include <assert.h>
#include <stdio.h>
#include <strings.h>

static const struct {
    const char *name;
    size_t slot_bytes;
} types[COLUMN_TYPE_COUNT] = {
    [COLUMN_STRING] = {"string", 0},
    [COLUMN_INTEGER] = {"integer", sizeof(int32_t)},
    [COLUMN_LONG] = {"long", sizeof(int64_t)},
    [COLUMN_DOUBLE] = {"double", sizeof(double)},
    [COLUMN_BOOLEAN] = {"boolean", sizeof(uint8_t)},
    [COLUMN_DATE] = {"date", sizeof(int32_t)},
    [COLUMN_TIMESTAMP] = {"timestamp", sizeof(int64_t)},
    [COLUMN_DECIMAL] = {"decimal", sizeof(__int128)},
    [COLUMN_BINARY] = {"binary", 0},
    [COLUMN_BYTE] = {"byte", sizeof(int32_t)},
    [COLUMN_SHORT] = {"short", sizeof(int32_t)},
    [COLUMN_FLOAT] = {"float", sizeof(double)},
    [COLUMN_TIMESTAMP_NTZ] = {"timestamp_ntz", sizeof(int64_t)},
    [COLUMN_STRUCT] = {"struct", 0},
    [COLUMN_ARRAY] = {"array", 0},
    [COLUMN_MAP] = {"map", 0},
};

size_t column_type_slot_bytes(enum column_type type)
{
    assert((unsigned)type < COLUMN_TYPE_COUNT);
    return types[type].slot_bytes;
}

const char *column_type_name(enum column_type type)
{
    assert((unsigned)type < COLUMN_TYPE_COUNT);
    return types[type].name;
}

/* ---- the name index: open addressing, at most half full ----------------------- */

enum { SLOT_FREE = UINT16_MAX };
_Static_assert((int)SCHEMA_FIELDS_MAX < (int)SLOT_FREE, "a slot holds a field index");

struct name_index {
    size_t mask; /* slots - 1, slots a power of two */
    uint16_t slots[];
};

static size_t name_slot(const struct name_index *index, struct span name)
{
    return (size_t)hash_checksum(name) & index->mask;
}

static struct name_index *name_index_new(const struct schema *schema)
{
    size_t slots = 8;
    while (slots < schema->fields_count * 2) {
        slots *= 2;
    }
    struct name_index *index = mem_alloc(sizeof *index + slots * sizeof index->slots[0]);
    index->mask = slots - 1;
    for (size_t i = 0; i < slots; i++) {
        index->slots[i] = SLOT_FREE;
    }
    for (size_t i = 0; i < schema->fields_count; i++) {
        size_t slot = name_slot(index, span_of_text(schema->fields[i].name));
        while (index->slots[slot] != SLOT_FREE) {
            slot = (slot + 1) & index->mask;
        }
        index->slots[slot] = (uint16_t)i;
    }
    return index;
}

int schema_field_index(const struct schema *schema, struct span name)
{
    const struct name_index *index = schema->name_index;
    for (size_t slot = name_slot(index, name);; slot = (slot + 1) & index->mask) {
        uint16_t found = index->slots[slot];
        if (found == SLOT_FREE) {
            return -1;
        }
        if (span_equal_text(name, schema->fields[found].name)) {
            return found;
        }
    }
}

int schema_physical_index(const struct schema *schema, struct span physical_name)
{
    if (!schema_is_mapped(schema)) {
        return schema_field_index(schema, physical_name);
    }
    for (size_t i = 0; i < schema->fields_count; i++) {
        if (span_equal_text(physical_name, schema->fields[i].physical_name)) {
            return (int)i;
        }
    }
    return -1;
}

int schema_field_index_by_id(const struct schema *schema, int32_t id)
{
    /* ids are given by position: nearly always, that is where it is; see schema_seal */
    if (id >= 1 && (size_t)id <= schema->fields_count && schema->fields[id - 1].id == id) {
        return id - 1;
    }
    size_t low = 0;
    size_t high = schema->fields_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (schema->fields[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < schema->fields_count && schema->fields[low].id == id ? (int)low : -1;
}

int schema_find_ignoring_case(const struct field *fields, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++) {
        const char *other = fields[i].name;
        if (strlen(other) == name.size &&
            strncasecmp(other, (const char *)name.data, name.size) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* ---- enum values ------------------------------------------------------------------ */

/* Order the indexes of the values by their bytes: insertion sort, at most 1,000 of them, once. */
static void order_enum(struct field *field)
{
    field->enum_order = mem_zeroed(field->enum_count, sizeof *field->enum_order);
    for (size_t i = 0; i < field->enum_count; i++) {
        size_t place = i;
        while (place > 0 && span_compare(field->enum_values[field->enum_order[place - 1]],
                                         field->enum_values[i]) > 0) {
            field->enum_order[place] = field->enum_order[place - 1];
            place--;
        }
        field->enum_order[place] = (uint32_t)i;
    }
}

bool field_enum_holds(const struct field *field, struct span text)
{
    assert(field->enum_count > 0);
    size_t low = 0;
    size_t high = field->enum_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = span_compare(text, field->enum_values[field->enum_order[middle]]);
        if (order == 0) {
            return true;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return false;
}

int schema_bound_compare(enum column_type type, __int128 a, __int128 b)
{
    if (type == COLUMN_DOUBLE || type == COLUMN_FLOAT) {
        double x = field_bound_double(a);
        double y = field_bound_double(b);
        return (x > y) - (x < y);
    }
    return (a > b) - (a < b);
}

/* ---- type texts ------------------------------------------------------------------- */

void schema_type_text(const struct field *field, char text_out[SCHEMA_TYPE_TEXT_BYTES])
{
    if (field->type == COLUMN_DECIMAL) {
        (void)snprintf(text_out, SCHEMA_TYPE_TEXT_BYTES, "decimal(%d,%d)", field->precision,
                       field->scale); /* two numbers up to 38 fit */
    } else {
        (void)snprintf(text_out, SCHEMA_TYPE_TEXT_BYTES, "%s",
                       column_type_name(field->type)); /* the longest name fits */
    }
}

/* Spaces, one or two digits, spaces; advances `at`. */
static bool take_small_number(struct span text, size_t *at, int *number_out)
{
    size_t i = *at;
    int number = 0;
    size_t digits = 0;
    while (i < text.size && text.data[i] == ' ') {
        i++;
    }
    for (; i < text.size && text.data[i] >= '0' && text.data[i] <= '9' && digits < 3; i++) {
        number = number * 10 + (text.data[i] - '0');
        digits++;
    }
    while (i < text.size && text.data[i] == ' ') {
        i++;
    }
    *at = i;
    *number_out = number;
    return digits > 0;
}

bool schema_parse_decimal_type(struct span text, int *precision_out, int *scale_out)
{
    static const char prefix[] = "decimal(";
    size_t at = sizeof prefix - 1;
    if (text.size <= at || memcmp(text.data, prefix, at) != 0) {
        return false;
    }
    int precision = 0;
    int scale = 0;
    if (!take_small_number(text, &at, &precision) || at >= text.size || text.data[at++] != ',') {
        return false;
    }
    if (!take_small_number(text, &at, &scale) || at + 1 != text.size || text.data[at] != ')') {
        return false;
    }
    if (precision < 1 || precision > SCHEMA_DECIMAL_PRECISION_MAX || scale > precision) {
        return false;
    }
    *precision_out = precision;
    *scale_out = scale;
    return true;
}

char *schema_copy_text(struct span text)
{
    char *copy = mem_alloc(text.size + 1);
    if (text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    copy[text.size] = '\0';
    return copy;
}

/* ---- life ------------------------------------------------------------------------- */

struct field *schema_fields_new(size_t count)
{
    struct field *fields = mem_zeroed(count, sizeof *fields);
    for (size_t i = 0; i < count; i++) {
        fields[i].nullable = true;
        fields[i].max_length = -1;
    }
    return fields;
}

struct schema *schema_new(size_t fields_count)
{
    struct schema *schema = mem_zeroed(1, sizeof *schema);
    schema->version = 1;
    schema->fields_count = fields_count;
    schema->fields = schema_fields_new(fields_count);
    schema->merge = TABLE_APPEND;
    schema->references = 1;
    return schema;
}

static struct span json_name_of(const char *name)
{
    struct buffer text;
    buffer_init(&text, SIZE_MAX);
    json_write_string(&text, span_of_text(name));
    buffer_append_byte(&text, ':');
    return buffer_span(&text); /* field_deinit frees the buffer's memory */
}

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static void seal_fields(struct field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct field *field = &fields[i];
        assert(field->name != NULL);
        assert(column_type_is_nested(field->type) == (field->children_count > 0));
        int32_t id_before = i == 0 ? 0 : fields[i - 1].id;
        field->id = field->id != 0 ? field->id : id_before + 1;
        assert(field->id > id_before);
        field->json_name = json_name_of(field->name);
        if (field->enum_count > 0) {
            order_enum(field);
        }
        seal_fields(field->children, field->children_count);
    }
}

void schema_seal(struct schema *schema)
{
    assert(schema->fields_count >= 1);
    assert(schema->fields_count <= SCHEMA_FIELDS_MAX);
    seal_fields(schema->fields, schema->fields_count);
    schema->next_field_id = schema->fields[schema->fields_count - 1].id + 1;
    schema->name_index = name_index_new(schema);
}

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static void field_deinit(struct field *field)
{
    for (size_t i = 0; i < field->children_count; i++) {
        field_deinit(&field->children[i]);
    }
    mem_free(field->children);
    mem_free(field->name);
    field_pattern_free(&field->pattern);
    mem_free(field->pattern_text);
    for (size_t i = 0; i < field->enum_count; i++) {
        mem_free((void *)(uintptr_t)field->enum_values[i].data); /* ours, const only to readers */
    }
    mem_free(field->enum_values);
    mem_free(field->enum_order);
    mem_free(field->minimum_text);
    mem_free(field->maximum_text);
    mem_free(field->description);
    mem_free(field->physical_name);
    mem_free(field->renamed_from);
    mem_free((void *)(uintptr_t)field->json_name.data); /* ours, const only to readers */
}

static void schema_free(struct schema *schema)
{
    if (schema->free_spares != NULL) {
        schema->free_spares(schema);
    }
    for (size_t i = 0; i < schema->fields_count; i++) {
        field_deinit(&schema->fields[i]);
    }
    for (size_t i = 0; i < schema->lookup_count; i++) {
        mem_free(schema->lookup[i].entity);
        mem_free(schema->lookup[i].as);
    }
    mem_free(schema->fields);
    for (size_t i = 0; i < schema->constraints_count; i++) {
        mem_free(schema->constraints[i].name);
        mem_free(schema->constraints[i].check);
    }
    mem_free(schema->constraints);
    for (size_t i = 0; i < schema->dropped_count; i++) {
        mem_free(schema->dropped[i]);
    }
    mem_free(schema->dropped);
    mem_free(schema->lookup);
    mem_free(schema->description);
    mem_free(schema->name_index);
    mem_free(schema);
}

struct schema *schema_acquire(const struct schema *schema)
{
    /* only the count changes, and it is atomic: sharing does not break const */
    struct schema *shared = (struct schema *)(uintptr_t)schema;
    int before = __atomic_fetch_add(&shared->references, 1, __ATOMIC_RELAXED);
    assert(before > 0);
    return shared;
}

void schema_release(struct schema **schema)
{
    if (*schema == NULL) {
        return;
    }
    int before = __atomic_fetch_sub(&(*schema)->references, 1, __ATOMIC_ACQ_REL);
    assert(before > 0);
    if (before == 1) {
        schema_free(*schema);
    }
    *schema = NULL;
}
