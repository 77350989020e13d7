/*
 * Definitions: the log holds the one in force, whoever is behind catches up.
 */
#include "storage/snapshot/definition.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/delta/transaction.h"
#include "storage/snapshot/lookup.h"
#include "tests/unit/storage/snapshot/fixture.h"

#include <criterion/criterion.h>

static const struct fixture_options keyed = {.merge = TABLE_DELETION_VECTORS, .sequence = true};

/* `schema` with what `change` does to its definition. */
static struct schema *evolved(const struct schema *schema, void (*change)(struct json *definition))
{
    struct err err = {0};
    CLEANUP(json_free) struct json *definition = schema_to_json(schema);
    CLEANUP(schema_release) struct schema *wanted = NULL;
    struct schema *next = NULL;
    bool same = false;
    change(definition);
    cr_assert(schema_parse(definition, &wanted, &err) == ERR_OK, "%s", err.msg);
    cr_assert(schema_evolve(schema, wanted, &next, &same, &err) == ERR_OK, "%s", err.msg);
    cr_assert_not(same);
    return next;
}

static void add_column(struct json *definition)
{
    const struct json *fields = json_get(json_get(definition, "schema"), "fields");
    struct json *field = json_new_object();
    json_set_text(field, "name", "extra");
    json_set_text(field, "type", "string");
    json_append((struct json *)(uintptr_t)fields, field); /* the document is ours */
}

static void add_description(struct json *definition)
{
    json_set_text(definition, "description", "a table with a description");
}

static void add_lookup(struct json *definition)
{
    struct json *lookup = json_new_object();
    json_set_text(lookup, "entity", "member");
    json_set_text(lookup, "column", "note");
    json_set_text(lookup, "as", "things");
    struct json *lookups = json_new_array();
    json_append(lookups, lookup);
    json_set(definition, "lookup", lookups);
}

static void add_column_and_lookup(struct json *definition)
{
    add_column(definition);
    add_lookup(definition);
}

static struct json *field_named(struct json *definition, const char *name)
{
    const struct json *fields = json_get(json_get(definition, "schema"), "fields");
    for (size_t i = 0; i < json_count(fields); i++) {
        const char *found = json_text(json_get(json_at(fields, i), "name"));
        if (found != NULL && strcmp(found, name) == 0) {
            return (struct json *)(uintptr_t)json_at(fields, i); /* the document is ours */
        }
    }
    return NULL;
}

static void rename_note(struct json *definition)
{
    struct json *field = field_named(definition, "note");
    json_set_text(field, "name", "remark");
    json_set_text(field, "renamed_from", "note");
}

static void rename_key(struct json *definition)
{
    struct json *field = field_named(definition, "id");
    struct json *key = json_new_array();
    json_set_text(field, "name", "identifier");
    json_set_text(field, "renamed_from", "id");
    json_append(key, json_new_text("identifier"));
    json_set(definition, "key", key);
}

/* All fields but one, which is named among the dropped. */
static void drop(struct json *definition, const char *name)
{
    struct json *schema = (struct json *)(uintptr_t)json_get(definition, "schema");
    const struct json *fields = json_get(schema, "fields");
    struct json *kept = json_new_array();
    struct json *dropped = json_new_array();
    for (size_t i = 0; i < json_count(fields); i++) {
        if (strcmp(json_text(json_get(json_at(fields, i), "name")), name) != 0) {
            json_append(kept, json_duplicate(json_at(fields, i)));
        }
    }
    json_append(dropped, json_new_text(name));
    json_set(schema, "fields", kept);
    json_set(schema, "dropped", dropped);
}

static void drop_amount(struct json *definition)
{
    drop(definition, "amount");
}

static void drop_note_and_add(struct json *definition)
{
    drop(definition, "note");
    add_column(definition);
}

static void change(struct fixture *fixture, const struct schema *next)
{
    struct err err = {0};
    cr_assert(table_change_schema(fixture->table, next, &err) == ERR_OK, "%s", err.msg);
}

static void expect_in_force(const struct fixture *fixture, const struct schema *expected,
                            const char *when)
{
    CLEANUP(schema_release) struct schema *schema = table_schema(fixture->table);
    CLEANUP(json_free) struct json *is = schema_to_json(schema);
    CLEANUP(json_free) struct json *wanted = schema_to_json(expected);
    cr_expect_eq(schema->version, expected->version, "%s", when);
    cr_expect(json_equals(is, wanted), "%s", when);
    for (size_t i = 0; i < expected->fields_count; i++) {
        cr_expect_eq(schema->fields[i].id, expected->fields[i].id, "%s: field %zu", when, i);
    }
}

static void put_one(struct fixture *fixture, const char *id, const char *note)
{
    const struct record_words record = {FRAME_UPSERT, id, 1, 1, note, NULL, NULL};
    fixture_put(fixture, &record, 1);
}

Test(definition, outlives_a_catalog_that_never_heard_of_it)
{
    static void (*const changes[])(struct json *) = {
        add_column,  add_description, add_lookup,  add_column_and_lookup,
        rename_note, rename_key,      drop_amount, drop_note_and_add};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct fixture fixture = fixture_make(&keyed);
        put_one(&fixture, "a", "one");
        struct schema *next = evolved(fixture.schema, changes[i]);
        change(&fixture, next);
        expect_in_force(&fixture, next, "changed");
        put_one(&fixture, "b", "two");
        fixture_reopen(&fixture, false); /* with the definition of before */
        expect_in_force(&fixture, next, "opened");
        fixture_reopen(&fixture, true);
        expect_in_force(&fixture, next, "rebuilt");
        fixture_verify(&fixture, "rebuilt");
        schema_release(&next);
        fixture_remove(&fixture);
    }
}

Test(definition, is_written_by_the_start_when_the_log_is_behind)
{
    struct fixture fixture = fixture_make(&keyed);
    put_one(&fixture, "a", "one");
    struct schema *before = fixture.schema;
    fixture.schema = evolved(before, add_column); /* what the catalog says */
    fixture_reopen(&fixture, false);
    expect_in_force(&fixture, fixture.schema, "the newer one counts");
    cr_expect_eq(table_version(fixture.table), 1, "opening writes nothing");
    change(&fixture, fixture.schema);
    cr_expect_eq(table_version(fixture.table), 2);
    change(&fixture, fixture.schema);
    cr_expect_eq(table_version(fixture.table), 2, "once is enough");
    struct schema *next = fixture.schema;
    fixture.schema = before;
    fixture_reopen(&fixture, false);
    expect_in_force(&fixture, next, "the log has it now");
    schema_release(&next);
    fixture_remove(&fixture);
}

Test(definition, brings_its_lookups_with_its_columns)
{
    struct fixture fixture = fixture_make(&keyed);
    struct err err = {0};
    put_one(&fixture, "a", "one");
    struct schema *next = evolved(fixture.schema, add_column_and_lookup);
    change(&fixture, next);
    fixture_verify(&fixture, "the index has the lookup");
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture.table);
    const struct row_value one = {.type = COLUMN_STRING, .bytes = span_of_text("one")};
    CLEANUP(lookup_result_deinit) struct lookup_result found = {0};
    cr_assert(lookup_value(snapshot, 0, &one, NULL, &found, &err) == ERR_OK, "%s", err.msg);
    cr_expect_eq(found.count, 1);
    schema_release(&next);
    fixture_remove(&fixture);
}

/* A handle of its own on the same folder, as a second process has it. */
static struct fixture second_handle(const struct fixture *fixture)
{
    struct err err = {0};
    struct fixture other = *fixture;
    other.schema = schema_acquire(fixture->schema);
    CLEANUP(mem_cleanup) char *root = temp_dir_join(&fixture->dir, "tables");
    CLEANUP(mem_cleanup) char *index_root = temp_dir_join(&fixture->dir, "index-2");
    struct tables_options options = {
        .root = root, .index_root = index_root, .instance = fixture->instance, .index_key = "key"};
    cr_assert(tables_open(&options, &other.tables, &err) == ERR_OK, "%s", err.msg);
    cr_assert(tables_attach(other.tables, "t", &other.uuid, other.schema, &err) == ERR_OK, "%s",
              err.msg);
    cr_assert(tables_find(other.tables, "t", &other.table, &err) == ERR_OK, "%s", err.msg);
    return other;
}

static void close_handle(struct fixture *other)
{
    table_release(&other->table);
    tables_close(&other->tables);
    schema_release(&other->schema);
}

Test(definition, is_taken_from_a_commit_that_comes_by)
{
    struct fixture fixture = fixture_make(&keyed);
    put_one(&fixture, "a", "one");
    struct fixture other = second_handle(&fixture);
    struct schema *next = evolved(fixture.schema, add_column_and_lookup);
    change(&fixture, next);
    struct err err = {0};
    struct table_refresh_result refreshed = {0};
    cr_assert(table_refresh(other.table, &refreshed, &err) == ERR_OK, "%s", err.msg);
    cr_expect(refreshed.changed);
    expect_in_force(&other, next, "refreshed");
    fixture_verify(&other, "refreshed");
    /* a change that was decided on the definition of before is not the next one any more */
    struct schema *late = evolved(other.schema, add_description);
    cr_expect(table_change_schema(other.table, late, &err) == ERR_PRECONDITION, "%s", err.msg);
    expect_in_force(&other, next, "the late one");
    schema_release(&late);
    close_handle(&other);
    schema_release(&next);
    fixture_remove(&fixture);
}

/* Commit table properties as another engine, or somebody by hand, might. */
static void commit_properties(struct fixture *fixture, const char *text, const char *version)
{
    struct err err = {0};
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(fixture->table);
    const struct delta_pair pairs[] = {{"sluice.definition", text},
                                       {"sluice.definitionVersion", version}};
    struct delta_metadata changed = *current->state->metadata;
    changed.configuration = pairs;
    changed.configuration_count = text == NULL ? 0 : 2;
    CLEANUP(delta_metadata_release)
    const struct delta_metadata *metadata = delta_metadata_new(&changed);
    CLEANUP(delta_transaction_free)
    struct delta_transaction *transaction =
        delta_transaction_begin(current->state, table_store(fixture->table), DELTA_READS_NOTHING);
    delta_transaction_set_metadata(transaction, metadata);
    delta_transaction_set_operation(transaction, "SET TBLPROPERTIES", NULL, NULL);
    CLEANUP(delta_commit_result_deinit) struct delta_commit_result result = {0};
    cr_assert(delta_transaction_commit(transaction, &result, &err) == ERR_OK, "%s", err.msg);
}

Test(definition, of_others_is_not_believed)
{
    static const struct {
        const char *name;
        const char *text;
        const char *version;
        enum err_code expected;
    } cases[] = {
        {"no JSON", "{", "2", ERR_CORRUPT},
        {"no definition", "{}", "2", ERR_CORRUPT},
        {"a version beyond all", "{}", "4294967296", ERR_CORRUPT},
        {"another key",
         "{\"schema\":{\"fields\":[{\"name\":\"id\",\"type\":\"string\",\"nullable\":false},"
         "{\"name\":\"updated\",\"type\":\"long\",\"nullable\":false},"
         "{\"name\":\"amount\",\"type\":\"integer\"},{\"name\":\"note\",\"type\":\"string\"},"
         "{\"name\":\"region\",\"type\":\"string\"},"
         "{\"name\":\"member\",\"type\":\"string\",\"phi\":true}]},"
         "\"merge\":\"deletion-vectors\",\"key\":[\"updated\"],\"sequence_by\":\"updated\"}",
         "2", ERR_CONFLICT},
        {"an old version", "{", "1", ERR_OK},
        {"no number", "{", "two", ERR_OK},
        {"none", NULL, NULL, ERR_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture = fixture_make(&keyed);
        struct err err = {0};
        struct table_refresh_result refreshed = {0};
        commit_properties(&fixture, cases[i].text, cases[i].version);
        cr_expect_eq(table_refresh(fixture.table, &refreshed, &err), cases[i].expected, "%s: %s",
                     cases[i].name, err.msg);
        expect_in_force(&fixture, fixture.schema, cases[i].name);
        fixture_remove(&fixture);
    }
}

/* ---- lookups ---- */

static size_t count_looked_up(const struct fixture *fixture)
{
    struct tables_list list = {0};
    tables_list_looked_up(fixture->tables, &list);
    size_t count = list.count;
    tables_list_free(&list);
    return count;
}

Test(definition, lists_tables_with_lookups)
{
    struct fixture fixture = fixture_make(&keyed);
    struct err err = {0};
    const struct id second = id_new_random();
    CLEANUP(schema_release) struct schema *looked_up = evolved(fixture.schema, add_lookup);
    cr_expect_eq(count_looked_up(&fixture), 0);
    cr_assert(tables_create(fixture.tables, "u", &second, looked_up, &err) == ERR_OK);
    cr_expect_eq(count_looked_up(&fixture), 1);
    cr_assert(table_change_schema(fixture.table, looked_up, &err) == ERR_OK, "%s", err.msg);
    cr_expect_eq(count_looked_up(&fixture), 2, "from its change on");
    fixture_remove(&fixture);
}
