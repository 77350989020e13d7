/*
 * Do the log's columns and the definition's agree, and who is behind: what differs is ours to
 * bring about, or was done by another engine.
 */
#include "storage/columns/widen.h"
#include "storage/delta/log.h"
#include "storage/snapshot/definition.h"
#include "storage/snapshot/table_internal.h"

#include <stdio.h>
#include <string.h>

static bool same_type(const struct field *a, const struct field *b)
{
    return a->type == b->type && a->precision == b->precision && a->scale == b->scale;
}

/* What differs is ours to bring about, or was done by another engine. */
struct columns_check {
    const struct schema *schema;
    const struct schema *before; /* what the log may still have; NULL = nothing is known of it */
    bool due;                    /* nothing is known, but the log is behind */
    bool differs;
};

static enum err_code foreign_change(const struct columns_check *check, const char *what,
                                    const char *name, const char *advice, struct err *err)
{
    return err_set(err, ERR_CONFLICT,
                   "another engine %s column '%s'; %s definition %d of the table says otherwise, "
                   "and nothing is written until they agree",
                   what, name, advice, check->schema->version);
}

/* The field of the definition before that is called so in files, NULL when there is none. */
static const struct field *field_before(const struct columns_check *check,
                                        const struct field *column)
{
    int index =
        check->before == NULL
            ? -1
            : schema_physical_index(check->before, span_of_text(field_physical_name(column)));
    return index < 0 ? NULL : &check->before->fields[index];
}

/* A column of the log or a field in one, and what the definition has of that name in files. */
struct match {
    const struct field *column;
    const struct field *field;
    const struct field *was; /* in the definition before; NULL = it had none */
    const char *path;        /* "person.name" */
    bool within;             /* a nested field, which a definition cannot rename or drop */
};

static enum err_code check_parts(struct columns_check *check, const struct match *match,
                                 struct err *err);

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static enum err_code check_column(struct columns_check *check, const struct match *match,
                                  struct err *err)
{
    const struct field *column = match->column;
    const struct field *field = match->field;
    const struct field *was = match->was;
    bool renamed = strcmp(column->name, field->name) != 0;
    bool stricter = field->nullable && !column->nullable;
    if (!same_type(column, field)) {
        bool ours = check->due || (was != NULL && same_type(column, was));
        if (match->within || !ours || !field_widens(column, field)) {
            bool follows = !match->within && field_widens(field, column);
            return foreign_change(check, "changed the type of", match->path,
                                  follows ? "give it that type in the definition:"
                                          : "change it back, or write the table anew:",
                                  err);
        }
        check->differs = true;
    }
    if (renamed && !check->due && (was == NULL || strcmp(was->name, column->name) != 0)) {
        return foreign_change(check, "gave a new name to", field->name,
                              match->within ? "give it its old one again:"
                                            : "rename it in the definition (renamed_from):",
                              err);
    }
    if (stricter && !check->due && (was == NULL || was->nullable)) {
        return foreign_change(check, "forbade nulls in", match->path,
                              "allow them again (DROP NOT NULL):", err);
    }
    check->differs = check->differs || renamed || column->nullable != field->nullable ||
                     (column->physical_name == NULL) != (field->physical_name == NULL);
    return column->children_count > 0 ? check_parts(check, match, err) : ERR_OK;
}

/* Of the children of `parent`: the one that files call so, NULL when there is none. */
static const struct field *find_child(const struct field *parent, const char *physical_name)
{
    for (size_t i = 0; parent != NULL && i < parent->children_count; i++) {
        if (strcmp(field_physical_name(&parent->children[i]), physical_name) == 0) {
            return &parent->children[i];
        }
    }
    return NULL;
}

enum { PATH_BYTES = 256 }; /* of a message; what is longer is cut off */

static enum err_code check_part(struct columns_check *check, const struct match *parent,
                                const struct field *column, struct err *err)
{
    char path[PATH_BYTES];
    const char *name = field_physical_name(column);
    (void)snprintf(path, sizeof path, "%s.%s", parent->path, column->name); /* cut when longer */
    const struct match match = {
        .column = column,
        .field = find_child(parent->field, name),
        .was = find_child(parent->was, name),
        .path = path,
        .within = true,
    };
    if (match.field == NULL) {
        return foreign_change(check, "added", path, "add it to the definition:", err);
    }
    return check_column(check, &match, err);
}

static enum err_code check_parts(struct columns_check *check, const struct match *match,
                                 struct err *err)
{
    for (size_t i = 0; i < match->column->children_count; i++) {
        TRY(check_part(check, match, &match->column->children[i], err));
    }
    for (size_t i = 0; i < match->field->children_count; i++) {
        const struct field *field = &match->field->children[i];
        const char *name = field_physical_name(field);
        if (find_child(match->column, name) != NULL) {
            continue;
        }
        if (!check->due && (check->before == NULL || find_child(match->was, name) != NULL)) {
            char path[PATH_BYTES];
            (void)snprintf(path, sizeof path, "%s.%s", match->path, field->name); /* likewise */
            return foreign_change(check, "dropped", path, "add it again:", err);
        }
        check->differs = true;
    }
    return ERR_OK;
}

static enum err_code check_logged(struct columns_check *check, const struct schema *stored,
                                  struct err *err)
{
    for (size_t i = 0; i < stored->fields_count; i++) {
        const struct field *column = &stored->fields[i];
        struct span name = span_of_text(field_physical_name(column));
        int index = schema_physical_index(check->schema, name);
        if (index >= 0) {
            const struct match match = {.column = column,
                                        .field = &check->schema->fields[index],
                                        .was = field_before(check, column),
                                        .path = column->name};
            TRY(check_column(check, &match, err));
        } else if (field_before(check, column) != NULL) {
            check->differs = true; /* it is being dropped */
        } else {
            return foreign_change(check, "added", column->name, "add it to the definition:", err);
        }
    }
    return ERR_OK;
}

static enum err_code check_defined(struct columns_check *check, const struct schema *stored,
                                   struct err *err)
{
    for (size_t i = 0; i < check->schema->fields_count; i++) {
        const struct field *field = &check->schema->fields[i];
        if (schema_physical_index(stored, span_of_text(field_physical_name(field))) >= 0) {
            continue;
        }
        if (!check->due && (check->before == NULL || field_before(check, field) != NULL)) {
            return foreign_change(check, "dropped", field->name,
                                  "drop it from the definition (dropped):", err);
        }
        check->differs = true;
    }
    return ERR_OK;
}

static enum err_code check_partitions(const struct schema *schema, const struct schema *stored,
                                      struct err *err)
{
    bool same = schema->partition_count == stored->partition_count;
    for (size_t i = 0; same && i < schema->partition_count; i++) {
        same = strcmp(field_physical_name(&schema->fields[schema->partition[i]]),
                      field_physical_name(&stored->fields[stored->partition[i]])) == 0;
    }
    return same ? ERR_OK
                : err_set(err, ERR_CONFLICT,
                          "the log has other partition columns than the definition");
}

enum err_code table_check_columns(const struct schema *schema, const struct schema *before,
                                  const struct delta_metadata *metadata, bool *differs_out,
                                  struct err *err)
{
    CLEANUP(schema_release) struct schema *stored = NULL;
    CLEANUP(schema_release) struct schema *logged = NULL;
    TRY(delta_metadata_schema(metadata, &stored, err));
    struct columns_check check = {.schema = schema, .before = before};
    if (before == NULL && definition_logged_version(metadata) < schema->version) {
        TRY(definition_logged(metadata, &logged, err));
        check.before = logged;
        check.due = logged == NULL;
    }
    TRY(check_logged(&check, stored, err));
    TRY(check_defined(&check, stored, err));
    TRY(check_partitions(schema, stored, err));
    *differs_out = check.differs;
    return ERR_OK;
}
