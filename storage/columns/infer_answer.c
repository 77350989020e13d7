/*
 * What was inferred, as a definition and as what speaks for it. See infer.h.
 */
#include "storage/columns/infer_work.h"

#include "storage/base/buffer.h"
#include "storage/columns/schema_build.h"

#include <stdio.h>

/* ---- the definition ---- */

struct json *infer_type(const struct infer_column *column)
{
    if (column_type_is_nested(column->type)) {
        return infer_nested_type(column);
    }
    char text[SCHEMA_TYPE_TEXT_BYTES];
    const struct field field = {
        .type = column->type, .precision = column->precision, .scale = column->scale};
    schema_type_text(&field, text);
    return json_new_text(text);
}

struct json *infer_field(const struct infer_column *column, bool within)
{
    struct json *field = json_new_object();
    json_set_text(field, "name", column->name);
    json_set(field, "type", infer_type(column));
    if (!column->nullable) {
        json_set_boolean(field, "nullable", false);
    }
    if (column->field_length_max > 0) {
        json_set_integer(field, "max_length", column->field_length_max);
    }
    if (column->format != FORMAT_NONE) {
        json_set_text(field, "format", field_format_name(column->format));
    }
    if (column->enum_count > 0) {
        struct json *values = json_new_array();
        for (size_t i = 0; i < column->enum_count; i++) {
            json_append(values,
                        json_new_string(span_of(column->values[i].text, column->values[i].size)));
        }
        json_set(field, "enum", values);
    }
    if (column->phi && !within) {
        json_set_boolean(field, "phi", true);
    }
    return field;
}

static struct json *names_of(const struct infer *infer, const struct infer_key *key)
{
    struct json *names = json_new_array();
    for (size_t i = 0; i < key->count; i++) {
        json_append(names, json_new_text(infer->columns[key->columns[i]].name));
    }
    return names;
}

/* SIZE_MAX = none. A later moment says more than a later number. */
static size_t choose_sequence(const struct infer *infer, const struct infer_key *key)
{
    size_t chosen = SIZE_MAX;
    static const enum column_type order[] = {COLUMN_TIMESTAMP, COLUMN_LONG, COLUMN_INTEGER,
                                             COLUMN_DATE};
    for (size_t t = 0; t < sizeof order / sizeof order[0] && chosen == SIZE_MAX; t++) {
        for (size_t i = 0; i < infer->columns_count && chosen == SIZE_MAX; i++) {
            const struct infer_column *column = &infer->columns[i];
            bool in_key = key->columns[0] == i || (key->count > 1 && key->columns[1] == i);
            if (column->name != NULL && column->type == order[t] && column->nulls == 0 && !in_key &&
                infer_name_hints(column->source_name, INFER_HINT_SEQUENCE)) {
                chosen = i;
            }
        }
    }
    return chosen;
}

static struct json *definition_of(struct infer *infer, const struct infer_key *key, size_t sequence)
{
    struct json *definition = json_new_object();
    struct json *schema = json_new_object();
    struct json *fields = json_new_array();
    for (size_t i = 0; key != NULL && i < key->count; i++) {
        struct infer_column *column = &infer->columns[key->columns[i]];
        column->nullable = false;
        column->enum_count = 0; /* a key's values do not run out */
    }
    if (sequence != SIZE_MAX) {
        infer->columns[sequence].nullable = false;
    }
    for (size_t i = 0; i < infer->columns_count; i++) {
        if (infer->columns[i].name != NULL) {
            json_append(fields, infer_field(&infer->columns[i], false));
        }
    }
    json_set(schema, "fields", fields);
    json_set(definition, "schema", schema);
    if (key != NULL) {
        json_set(definition, "key", names_of(infer, key));
    }
    if (sequence != SIZE_MAX) {
        json_set_text(definition, "sequence_by", infer->columns[sequence].name);
    }
    json_set_text(definition, "merge", key != NULL ? "deletion-vectors" : "append");
    return definition;
}

/* ---- what speaks for it ---- */

static struct json *source_name_of(const struct infer_column *column)
{
    return json_new_string(span_of(column->source_name, column->source_name_size));
}

static const char *confidence_of(const struct infer *infer, const struct infer_column *column)
{
    int64_t values = infer->records - column->nulls;
    if (column->has_type) {
        return "given";
    }
    return values >= INFER_SURE_RECORDS     ? "high"
           : values >= INFER_LIKELY_RECORDS ? "medium"
                                            : "low";
}

/* Sentences about a field, in one text. */
static void write_note(const struct infer *infer, const struct infer_column *column,
                       struct buffer *note)
{
    if (column->note != NULL) {
        buffer_append_format(note, "%s. ", column->note);
    }
    if (column->nullable && column->nulls == 0) {
        buffer_append_format(note, "No null was seen, in too few records to forbid it. ");
    }
    if (column->phi && column->format == FORMAT_MBI) {
        buffer_append_text(note, "Guessed to be health information: a Medicare identifier. ");
    } else if (column->phi) {
        buffer_append_text(note, "Guessed to be health information by its name. ");
    }
    if (column->format != FORMAT_NONE) {
        buffer_append_format(note, "Every value is a valid %s. ",
                             field_format_name(column->format));
    }
    if (column->enum_count > 0) {
        buffer_append_format(note, "Only %zu values were seen. ", column->enum_count);
    }
    if (infer->hashed_records < infer->records) {
        buffer_append_format(note, "Distinct values are those of the first %lld records. ",
                             (long long)infer->hashed_records);
    }
    if (note->size > 0) {
        note->size--; /* the blank behind the last sentence */
    }
}

static struct json *finding_of(const struct infer *infer, const struct infer_column *column)
{
    struct json *finding = json_new_object();
    CLEANUP(buffer_deinit) struct buffer note;
    buffer_init(&note, 1024);
    write_note(infer, column, &note);
    json_set_text(finding, "name", column->name);
    json_set(finding, "type", infer_type(column));
    json_set_text(finding, "confidence", confidence_of(infer, column));
    json_set_integer(finding, "values", infer->records - column->nulls);
    json_set_integer(finding, "nulls", column->nulls);
    json_set_integer(finding, "distinct", column->distinct);
    if (column->type == COLUMN_STRING) {
        json_set_integer(finding, "longest", (int64_t)column->length_max);
    }
    if (note.size > 0) {
        json_set(finding, "note", json_new_string(buffer_span(&note)));
    }
    return finding;
}

static struct json *sample_of(const struct infer *infer)
{
    struct json *sample = json_new_object();
    json_set_integer(sample, "records", infer->records);
    json_set_integer(sample, "malformed", infer->malformed);
    json_set_boolean(sample, "cut_off", infer->cut_off);
    json_set_boolean(sample, "more", infer->more);
    return sample;
}

static struct json *candidates_of(const struct infer *infer, const struct infer_key *keys,
                                  size_t count)
{
    struct json *candidates = json_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json *candidate = json_new_object();
        json_set(candidate, "columns", names_of(infer, &keys[i]));
        json_set_integer(candidate, "score", keys[i].score);
        json_append(candidates, candidate);
    }
    return candidates;
}

static struct json *sequences_of(const struct infer *infer)
{
    struct json *candidates = json_new_array();
    for (size_t i = 0; i < infer->columns_count; i++) {
        const struct infer_column *column = &infer->columns[i];
        bool type = column->type == COLUMN_TIMESTAMP || column->type == COLUMN_DATE ||
                    column->type == COLUMN_LONG || column->type == COLUMN_INTEGER;
        if (column->name != NULL && type && column->nulls == 0 &&
            infer_name_hints(column->source_name, INFER_HINT_SEQUENCE)) {
            json_append(candidates, json_new_text(column->name));
        }
    }
    return candidates;
}

static struct json *renamed_of(const struct infer *infer)
{
    struct json *renamed = json_new_array();
    for (size_t i = 0; i < infer->columns_count; i++) {
        const struct infer_column *column = &infer->columns[i];
        struct span source = span_of(column->source_name, column->source_name_size);
        if (column->name != NULL && !span_equal_text(source, column->name)) {
            struct json *entry = json_new_object();
            json_set(entry, "source_name", source_name_of(column));
            json_set_text(entry, "name", column->name);
            json_append(renamed, entry);
        }
    }
    return renamed;
}

static struct json *left_out_of(const struct infer *infer)
{
    struct json *left_out = json_new_array();
    for (size_t i = 0; i < infer->columns_count; i++) {
        if (infer->columns[i].left_out != NULL) {
            struct json *entry = json_new_object();
            json_set(entry, "source_name", source_name_of(&infer->columns[i]));
            json_set_text(entry, "reason", infer->columns[i].left_out);
            json_append(left_out, entry);
        }
    }
    for (size_t i = 0; i < infer->refused_count; i++) {
        struct json *entry = json_new_object();
        json_set_text(entry, "source_name", infer->refused[i].name);
        json_set_text(entry, "reason", infer->refused[i].reason);
        json_append(left_out, entry);
    }
    return left_out;
}

enum err_code infer_answer(struct infer *infer, struct json **answer_out, struct err *err)
{
    struct infer_key keys[INFER_CANDIDATES_MAX];
    size_t count = infer_keys(infer, keys);
    const struct infer_key *key =
        count > 0 && keys[0].score >= INFER_KEY_SCORE_MIN ? &keys[0] : NULL;
    size_t sequence = key != NULL ? choose_sequence(infer, key) : SIZE_MAX;
    CLEANUP(json_free) struct json *answer = json_new_object();
    json_set(answer, "definition", definition_of(infer, key, sequence));
    json_set(answer, "sample", sample_of(infer));
    struct json *fields = json_new_array();
    for (size_t i = 0; i < infer->columns_count; i++) {
        if (infer->columns[i].name != NULL) {
            json_append(fields, finding_of(infer, &infer->columns[i]));
        }
    }
    json_set(answer, "fields", fields);
    json_set(answer, "key_candidates", candidates_of(infer, keys, count));
    json_set(answer, "sequence_candidates", sequences_of(infer));
    json_set(answer, "renamed", renamed_of(infer));
    json_set(answer, "left_out", left_out_of(infer));
    /* what the table's own rules refuse would be of no use to anybody */
    CLEANUP(schema_release) struct schema *schema = NULL;
    if (schema_parse(json_get(answer, "definition"), &schema, err) != ERR_OK) {
        return err_wrap(err, "no definition can be made of the sample");
    }
    *answer_out = answer;
    answer = NULL;
    return ERR_OK;
}
