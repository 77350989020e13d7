/*
 * Changes of a table definition: what may change under data that exists, and
 * why the rest may not. The rule behind every decision: rows already stored
 * must obey the new definition without being read, and index and log must not
 * need a rewrite.
 */
#include "storage/columns/schema.h"

#include "storage/base/mem.h"
#include "storage/columns/schema_build.h"
#include "storage/columns/widen.h"

static bool texts_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static enum err_code refuse(struct err *err, const struct field *field, const char *reason)
{
    return err_set(err, ERR_CONFLICT, "field '%s': %s", field->name, reason);
}

/* ---- one field ------------------------------------------------------------------------ */

/* That key and sequence_by stay nullable:false is a rule of every definition already. */
static enum err_code check_nature(const struct field *was, const struct field *now, bool is_column,
                                  struct err *err)
{
    bool same =
        was->type == now->type && was->precision == now->precision && was->scale == now->scale;
    if (!same && !is_column) {
        return refuse(err, was,
                      "its type cannot change within a column; add a field of the new type at the "
                      "end of its struct, or a column");
    }
    if (!same && !field_widens(was, now)) {
        return refuse(err, was,
                      "its type cannot change so; integers, float, date and decimals of one scale "
                      "can become wider, for the rest add a field of the new type");
    }
    if (was->nullable && !now->nullable) {
        return refuse(err, was, "it cannot become nullable:false, stored rows may hold nulls");
    }
    if (was->phi != now->phi) {
        return refuse(err, was,
                      now->phi ? "phi cannot be set later, its values are in statistics already"
                               : "phi cannot be taken back");
    }
    return ERR_OK;
}

/* Is every value of the old enum in the new one? */
static bool enum_is_looser(const struct field *was, const struct field *now)
{
    if (now->enum_count == 0) {
        return true;
    }
    if (was->enum_count == 0) {
        return false;
    }
    for (size_t i = 0; i < was->enum_count; i++) {
        if (!field_enum_holds(now, was->enum_values[i])) {
            return false;
        }
    }
    return true;
}

static bool minimum_is_looser(const struct field *was, const struct field *now)
{
    if (!now->has_minimum) {
        return true;
    }
    return was->has_minimum && schema_bound_compare(now->type, now->minimum,
                                                    field_widen_bound(was, now, was->minimum)) <= 0;
}

static bool maximum_is_looser(const struct field *was, const struct field *now)
{
    if (!now->has_maximum) {
        return true;
    }
    return was->has_maximum && schema_bound_compare(now->type, now->maximum,
                                                    field_widen_bound(was, now, was->maximum)) >= 0;
}

static enum err_code check_rules(const struct field *was, const struct field *now, struct err *err)
{
    if (now->max_length >= 0 && (was->max_length < 0 || now->max_length < was->max_length)) {
        return refuse(err, was, "max_length cannot shrink, stored values may be longer");
    }
    if (now->pattern_text != NULL && !texts_equal(was->pattern_text, now->pattern_text)) {
        return refuse(err, was, "pattern can be dropped but not set or changed");
    }
    if (!enum_is_looser(was, now)) {
        return refuse(err, was, "enum can gain values or be dropped, not lose values or be set");
    }
    if (!minimum_is_looser(was, now)) {
        return refuse(err, was, "minimum can be lowered or dropped, not raised or set");
    }
    if (!maximum_is_looser(was, now)) {
        return refuse(err, was, "maximum can be raised or dropped, not lowered or set");
    }
    if (now->format != FORMAT_NONE && now->format != was->format) {
        return refuse(err, was, "format can be dropped but not set or changed");
    }
    return ERR_OK;
}

static enum err_code check_children(const struct field *was, const struct field *now,
                                    struct err *err);

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static enum err_code check_field(const struct field *was, const struct field *now, bool is_column,
                                 struct err *err)
{
    TRY(check_nature(was, now, is_column, err));
    TRY(check_rules(was, now, err));
    if (check_children(was, now, err) != ERR_OK) {
        return err_wrap(err, "field '%s'", was->name);
    }
    return ERR_OK;
}

/* Frames and row images know the fields of a struct by their places. */
static enum err_code check_children(const struct field *was, const struct field *now,
                                    struct err *err)
{
    for (size_t i = 0; i < was->children_count; i++) {
        const struct field *child = &was->children[i];
        if (i >= now->children_count || strcmp(child->name, now->children[i].name) != 0) {
            return refuse(err, child,
                          "fields of a struct cannot be dropped, renamed or moved; new ones follow "
                          "at the end");
        }
        TRY(check_field(child, &now->children[i], false, err));
    }
    for (size_t i = was->children_count; i < now->children_count; i++) {
        if (!now->children[i].nullable) {
            return refuse(err, &now->children[i],
                          "an added field must be nullable, stored rows do not have it");
        }
    }
    return ERR_OK;
}

/* ---- which field is which ----------------------------------------------------------------- */

/* Two definitions side by side; -1 = the other has none for it. */
struct pairing {
    const struct schema *current, *next;
    int *next_of;    /* per field of `current`; -1 = dropped */
    int *current_of; /* per field of `next`; -1 = new */
};

static void pairing_init(struct pairing *pairing, const struct schema *current,
                         const struct schema *next)
{
    *pairing = (struct pairing){.current = current, .next = next};
    pairing->next_of = mem_zeroed(current->fields_count, sizeof *pairing->next_of);
    pairing->current_of = mem_zeroed(next->fields_count, sizeof *pairing->current_of);
    for (size_t i = 0; i < current->fields_count; i++) {
        pairing->next_of[i] = -1;
    }
    for (size_t i = 0; i < next->fields_count; i++) {
        pairing->current_of[i] = -1;
    }
}

static void pairing_deinit(struct pairing *pairing)
{
    mem_free(pairing->next_of);
    mem_free(pairing->current_of);
}

static void join(struct pairing *pairing, int current, int next)
{
    pairing->next_of[current] = next;
    pairing->current_of[next] = current;
}

/* Does the definition name the field among those that it wants no more? */
static bool is_dropped(const struct schema *next, const struct field *field)
{
    for (size_t i = 0; i < next->dropped_count; i++) {
        if (strcmp(next->dropped[i], field->name) == 0) {
            return true;
        }
    }
    return false;
}

static enum err_code pair_renamed(struct pairing *pairing, struct err *err)
{
    const struct schema *next = pairing->next;
    for (size_t i = 0; i < next->fields_count; i++) {
        const struct field *now = &next->fields[i];
        if (pairing->current_of[i] >= 0 || now->renamed_from == NULL) {
            continue; /* its name is there: it was renamed before, or never */
        }
        int was = schema_field_index(pairing->current, span_of_text(now->renamed_from));
        if (was >= 0 && pairing->next_of[was] >= 0) {
            return err_set(err, ERR_CONFLICT,
                           "field '%s': its old name '%s' is among the fields, too; rename first, "
                           "and add a field of the old name afterwards",
                           now->name, now->renamed_from);
        }
        if (was >= 0 && is_dropped(next, &pairing->current->fields[was])) {
            return err_set(err, ERR_CONFLICT,
                           "field '%s': its old name '%s' is among the dropped ones; take it out "
                           "of one of the two",
                           now->name, now->renamed_from);
        }
        if (was >= 0) {
            join(pairing, was, (int)i);
        }
    }
    return ERR_OK;
}

/* By what a client says: names, renamed_from and dropped. */
static enum err_code pair_by_name(struct pairing *pairing, struct err *err)
{
    const struct schema *current = pairing->current;
    for (size_t i = 0; i < current->fields_count; i++) {
        int found = schema_field_index(pairing->next, span_of_text(current->fields[i].name));
        if (found >= 0) {
            join(pairing, (int)i, found);
        }
    }
    TRY(pair_renamed(pairing, err));
    for (size_t i = 0; i < current->fields_count; i++) {
        if (pairing->next_of[i] < 0 && !is_dropped(pairing->next, &current->fields[i])) {
            return refuse(err, &current->fields[i],
                          "is left out; to rename it, give the field of the new name renamed_from, "
                          "to drop it, name it in /schema/dropped");
        }
    }
    return ERR_OK;
}

/* By the ids that a stored definition has. */
static enum err_code pair_by_id(struct pairing *pairing, struct err *err)
{
    for (size_t i = 0; i < pairing->next->fields_count; i++) {
        const struct field *now = &pairing->next->fields[i];
        int was = schema_field_index_by_id(pairing->current, now->id);
        if (was >= 0) {
            join(pairing, was, (int)i);
        } else if (now->id < pairing->current->next_field_id) {
            return refuse(err, now, "has the id of one that was dropped");
        }
    }
    return ERR_OK;
}

static enum err_code check_fields(const struct pairing *pairing, struct err *err)
{
    for (size_t i = 0; i < pairing->current->fields_count; i++) {
        const struct field *was = &pairing->current->fields[i];
        if (pairing->next_of[i] >= 0) {
            const struct field *now = &pairing->next->fields[pairing->next_of[i]];
            TRY(check_field(was, now, true, err));
        }
    }
    for (size_t i = 0; i < pairing->next->fields_count; i++) {
        const struct field *now = &pairing->next->fields[i];
        if (pairing->current_of[i] < 0 && !now->nullable) {
            return refuse(err, now, "an added field must be nullable, stored rows do not have it");
        }
    }
    return ERR_OK;
}

/* ---- the table -------------------------------------------------------------------------- */

/* Do two lists of indexes, each into its schema, name the same fields in the same order? */
static bool same_fields(const struct pairing *pairing, const size_t *current, size_t current_count,
                        const size_t *next, size_t next_count)
{
    if (current_count != next_count) {
        return false;
    }
    for (size_t i = 0; i < current_count; i++) {
        if (pairing->next_of[current[i]] != (int)next[i]) {
            return false;
        }
    }
    return true;
}

static bool lookup_equal(const struct pairing *pairing, const struct lookup_column *was,
                         const struct lookup_column *now)
{
    return strcmp(was->entity, now->entity) == 0 && strcmp(was->as, now->as) == 0 &&
           pairing->next_of[was->column] == (int)now->column;
}

static bool keeps_lookup(const struct pairing *pairing, const struct lookup_column *was)
{
    for (size_t i = 0; i < pairing->next->lookup_count; i++) {
        if (lookup_equal(pairing, was, &pairing->next->lookup[i])) {
            return true;
        }
    }
    return false;
}

static bool had_lookup(const struct pairing *pairing, const struct lookup_column *now)
{
    for (size_t i = 0; i < pairing->current->lookup_count; i++) {
        if (lookup_equal(pairing, &pairing->current->lookup[i], now)) {
            return true;
        }
    }
    return false;
}

/* The index finds rows by the bytes of these. */
static enum err_code check_indexed(const struct pairing *pairing, const size_t *columns,
                                   size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct field *was = &pairing->current->fields[columns[i]];
        int now = pairing->next_of[columns[i]];
        if (now >= 0 && (was->type != pairing->next->fields[now].type ||
                         was->precision != pairing->next->fields[now].precision)) {
            return refuse(err, was, "the type of a key or lookup field cannot change");
        }
    }
    return ERR_OK;
}

static enum err_code check_table(const struct pairing *pairing, struct err *err)
{
    const struct schema *current = pairing->current;
    const struct schema *next = pairing->next;
    if (!same_fields(pairing, current->key, current->key_count, next->key, next->key_count)) {
        return err_set(err, ERR_CONFLICT, "key cannot change, stored rows are identified by it");
    }
    if (!same_fields(pairing, &current->sequence, current->has_sequence, &next->sequence,
                     next->has_sequence)) {
        return err_set(err, ERR_CONFLICT,
                       "sequence_by cannot change, stored rows are ordered by it");
    }
    if (!same_fields(pairing, current->partition, current->partition_count, next->partition,
                     next->partition_count)) {
        return err_set(err, ERR_CONFLICT,
                       "partition_by cannot change, stored files are laid out "
                       "by it");
    }
    if (current->merge != next->merge) {
        return err_set(err, ERR_CONFLICT, "merge cannot change, the table's protocol follows it");
    }
    TRY(check_indexed(pairing, current->key, current->key_count, err));
    for (size_t i = 0; i < current->lookup_count; i++) {
        TRY(check_indexed(pairing, &current->lookup[i].column, 1, err));
        if (!keeps_lookup(pairing, &current->lookup[i])) {
            return err_set(err, ERR_CONFLICT,
                           "lookup '%s' of '%s' cannot be dropped or changed, views use it",
                           current->lookup[i].as, current->lookup[i].entity);
        }
    }
    return ERR_OK;
}

/* ---- the result: `next` with what exists in its old place -------------------------------- */

/* Fields that exist keep index and id; the new ones follow in the order given. */
static struct json *order_fields(const struct pairing *pairing, const struct json *fields)
{
    struct json *ordered = json_new_array();
    int32_t next_id = pairing->current->next_field_id;
    for (size_t i = 0; i < pairing->current->fields_count; i++) {
        if (pairing->next_of[i] >= 0) {
            struct json *field = json_duplicate(json_at(fields, (size_t)pairing->next_of[i]));
            json_set_integer(field, "id", pairing->current->fields[i].id);
            json_append(ordered, field);
        }
    }
    for (size_t i = 0; i < pairing->next->fields_count; i++) {
        if (pairing->current_of[i] < 0) {
            struct json *field = json_duplicate(json_at(fields, i));
            json_set_integer(field, "id", next_id++);
            json_append(ordered, field);
        }
    }
    return ordered;
}

/* The same for lookups: posting lists are numbered by them. */
static struct json *order_lookups(const struct pairing *pairing, const struct json *lookups)
{
    struct json *ordered = json_new_array();
    for (size_t i = 0; i < pairing->current->lookup_count; i++) {
        for (size_t j = 0; j < pairing->next->lookup_count; j++) {
            if (lookup_equal(pairing, &pairing->current->lookup[i], &pairing->next->lookup[j])) {
                json_append(ordered, json_duplicate(json_at(lookups, j)));
            }
        }
    }
    for (size_t i = 0; i < pairing->next->lookup_count; i++) {
        if (!had_lookup(pairing, &pairing->next->lookup[i])) {
            json_append(ordered, json_duplicate(json_at(lookups, i)));
        }
    }
    return ordered;
}

static struct json *merged_definition(const struct pairing *pairing)
{
    struct json *definition = schema_to_json(pairing->next);
    struct json *inner = json_new_object();
    json_set(inner, "fields",
             order_fields(pairing, json_get(json_get(definition, "schema"), "fields")));
    struct json *lookups = order_lookups(pairing, json_get(definition, "lookup"));
    json_set(definition, "schema", inner);
    json_set(definition, "lookup", lookups);
    return definition;
}

/* Ids given so far stay given, those of dropped fields too. */
static void keep_next_id(const struct schema *current, struct schema *evolved)
{
    if (evolved->next_field_id < current->next_field_id) {
        evolved->next_field_id = current->next_field_id;
    }
}

/* Is a field renamed or dropped? Then names in files part from those of the table. */
static bool needs_mapping(const struct pairing *pairing)
{
    for (size_t i = 0; i < pairing->current->fields_count; i++) {
        int now = pairing->next_of[i];
        if (now < 0 ||
            strcmp(pairing->current->fields[i].name, pairing->next->fields[now].name) != 0) {
            return true;
        }
    }
    return false;
}

enum err_code schema_evolve(const struct schema *current, const struct schema *next,
                            struct schema **schema_out, bool *same_out, struct err *err)
{
    CLEANUP(pairing_deinit) struct pairing pairing;
    pairing_init(&pairing, current, next);
    TRY(pair_by_name(&pairing, err));
    TRY(check_fields(&pairing, err));
    TRY(check_table(&pairing, err));
    CLEANUP(schema_release) struct schema *evolved = NULL;
    CLEANUP(json_free) struct json *definition = merged_definition(&pairing);
    TRY(schema_load(definition, current->version + 1, &evolved, err));
    keep_next_id(current, evolved);
    CLEANUP(json_free) struct json *before = schema_to_stored_json(current);
    CLEANUP(json_free) struct json *after = schema_to_stored_json(evolved);
    *same_out = json_equals(before, after);
    if (*same_out) {
        *schema_out = schema_acquire(current);
        return ERR_OK;
    }
    if (schema_is_mapped(current) || needs_mapping(&pairing)) {
        schema_map_after(evolved, current);
    }
    *schema_out = evolved;
    evolved = NULL;
    return ERR_OK;
}

enum err_code schema_check_follows(const struct schema *current, const struct schema *later,
                                   struct err *err)
{
    CLEANUP(pairing_deinit) struct pairing pairing;
    pairing_init(&pairing, current, later);
    TRY(pair_by_id(&pairing, err));
    TRY(check_fields(&pairing, err));
    return check_table(&pairing, err);
}
