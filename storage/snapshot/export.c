/*
 * Exporting. See export.h.
 */
#include "storage/snapshot/export.h"

#include "storage/base/mem.h"
#include "storage/snapshot/ordered_rows.h"

#include <assert.h>

enum { VALUE_BYTES_MAX = 1 << 20 };

/* ---- what to write ---- */

static enum err_code arena_full(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "/filters: more than the task's memory holds");
}

static enum err_code parse_columns(const struct json *columns, const struct schema *schema,
                                   struct arena *arena, const bool **mask_out, struct err *err)
{
    if (json_kind(columns) == JSON_KIND_NULL) {
        *mask_out = NULL;
        return ERR_OK;
    }
    if (json_kind(columns) != JSON_KIND_ARRAY || json_count(columns) == 0) {
        return err_set(err, ERR_INVALID, "/columns: give an array of column names");
    }
    bool *mask = arena_alloc(arena, schema->fields_count * sizeof *mask);
    if (mask == NULL) {
        return arena_full(err);
    }
    for (size_t i = 0; i < json_count(columns); i++) {
        struct span name = {0};
        int column =
            json_as_string(json_at(columns, i), &name) ? schema_field_index(schema, name) : -1;
        if (column < 0) {
            return err_set(err, ERR_INVALID, "/columns/%zu: the table has no such column", i);
        }
        mask[column] = true;
    }
    *mask_out = mask;
    return ERR_OK;
}

static enum err_code parse_value(const struct json *json, const struct field *field,
                                 struct arena *arena, struct row_value *value_out, struct err *err)
{
    struct span text;
    enum json_kind kind = json_kind(json);
    if (kind == JSON_KIND_NULL || kind == JSON_KIND_ARRAY || kind == JSON_KIND_OBJECT) {
        return err_set(err, ERR_INVALID, "give a value of type %s", column_type_name(field->type));
    }
    if (json_as_string(json, &text)) {
        return scan_value_parse(field, text, arena, value_out, err);
    }
    CLEANUP(buffer_deinit) struct buffer number;
    buffer_init(&number, VALUE_BYTES_MAX);
    json_write(json, &number);
    return scan_value_parse(field, buffer_span(&number), arena, value_out, err);
}

static enum err_code parse_values(const struct json *value, const struct field *field,
                                  struct arena *arena, struct scan_filter *filter, struct err *err)
{
    bool many = json_kind(value) == JSON_KIND_ARRAY;
    size_t count = many ? json_count(value) : value != NULL;
    if (count > SCAN_VALUES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "at most %d values", SCAN_VALUES_MAX);
    }
    struct row_value *values = arena_alloc(arena, (count + 1) * sizeof *values);
    if (values == NULL) {
        return err_set(err, ERR_TOO_LARGE, "more than the task's memory holds");
    }
    for (size_t i = 0; i < count; i++) {
        TRY(parse_value(many ? json_at(value, i) : value, field, arena, &values[i], err));
    }
    filter->values = values;
    filter->values_count = count;
    return ERR_OK;
}

static enum err_code parse_filter(const struct json *json, size_t index,
                                  const struct schema *schema, struct arena *arena,
                                  struct scan_filter *filter, struct err *err)
{
    struct span name = {0};
    struct span operator= {0};
    int column =
        json_as_string(json_get(json, "column"), &name) ? schema_field_index(schema, name) : -1;
    if (column < 0) {
        return err_set(err, ERR_INVALID, "/filters/%zu/column: the table has no such column",
                       index);
    }
    filter->column = (size_t)column;
    if (!json_as_string(json_get(json, "operator"), &operator) ||
        !scan_operator_parse(operator, & filter->operator)) {
        return err_set(
            err, ERR_INVALID,
            "/filters/%zu/operator: give eq, ne, lt, le, gt, ge, in, is_null or not_null", index);
    }
    const char *member = json_get(json, "values") != NULL ? "values" : "value";
    return parse_values(json_get(json, member), &schema->fields[column], arena, filter, err) ==
                   ERR_OK
               ? ERR_OK
               : err_wrap(err, "/filters/%zu/%s", index, member);
}

static enum err_code parse_filters(const struct json *filters, const struct schema *schema,
                                   struct arena *arena, struct export_spec *spec, struct err *err)
{
    size_t count = json_count(filters);
    if (json_kind(filters) != JSON_KIND_ARRAY && json_kind(filters) != JSON_KIND_NULL) {
        return err_set(err, ERR_INVALID, "/filters: give an array of filters");
    }
    if (count > SCAN_FILTERS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "/filters: at most %d", SCAN_FILTERS_MAX);
    }
    struct scan_filter *items = arena_alloc(arena, (count + 1) * sizeof *items);
    if (items == NULL) {
        return arena_full(err);
    }
    for (size_t i = 0; i < count; i++) {
        TRY(parse_filter(json_at(filters, i), i, schema, arena, &items[i], err));
    }
    spec->filters = items;
    spec->filters_count = count;
    return scan_filters_check(schema, items, count, err);
}

static enum err_code parse_form(const struct json *body, struct export_spec *spec, struct err *err)
{
    struct span text = {0};
    if (!json_as_string(json_get(body, "format"), &text) ||
        !row_format_parse(text, &spec->format)) {
        return err_set(err, ERR_INVALID, "/format: give ndjson, csv or parquet");
    }
    spec->compression = CONTENT_IDENTITY;
    const struct json *compression = json_get(body, "compression");
    if (json_kind(compression) == JSON_KIND_NULL) {
        return ERR_OK;
    }
    if (!json_as_string(compression, &text) ||
        (!span_equal_text(text, "none") && !span_equal_text(text, "gzip") &&
         !span_equal_text(text, "zstd"))) {
        return err_set(err, ERR_INVALID, "/compression: give none, gzip or zstd");
    }
    (void)content_encoding_parse(text, &spec->compression); /* "none" is none of its names */
    return ERR_OK;
}

enum err_code export_spec_parse(const struct json *body, const struct json *columns,
                                const struct schema *schema, struct arena *arena,
                                struct export_spec *spec_out, struct err *err)
{
    struct export_spec spec = {0};
    TRY(parse_form(body, &spec, err));
    TRY(parse_columns(columns != NULL ? columns : json_get(body, "columns"), schema, arena,
                      &spec.columns, err));
    TRY(parse_filters(json_get(body, "filters"), schema, arena, &spec, err));
    const struct row_file_options options = {.schema = schema,
                                             .columns = spec.columns,
                                             .format = spec.format,
                                             .compression = spec.compression};
    if (row_file_check(&options, err) != ERR_OK) {
        return err_wrap(err, spec.format == ROW_PARQUET && spec.compression != CONTENT_IDENTITY
                                 ? "/compression"
                                 : "/columns");
    }
    *spec_out = spec;
    return ERR_OK;
}

struct json *export_spec_columns(const struct export_spec *spec, const struct schema *schema)
{
    struct json *names = json_new_array();
    for (size_t i = 0; i < schema->fields_count; i++) {
        if (spec->columns == NULL || spec->columns[i]) {
            json_append(names, json_new_text(schema->fields[i].name));
        }
    }
    return names;
}

/* ---- writing it ---- */

static void report(const struct export_request *request, const struct ordered_rows *rows,
                   const struct row_file *file, struct export_progress *progress)
{
    struct ordered_rows_work work = ordered_rows_work(rows);
    *progress = (struct export_progress){.rows = row_file_rows_count(file),
                                         .bytes = row_file_bytes_count(file),
                                         .work_done = work.done,
                                         .work_total = work.total};
    if (request->report != NULL) {
        request->report(request->self, progress);
    }
}

static enum err_code copy_rows(const struct export_request *request, struct ordered_rows *rows,
                               struct row_file *file, struct export_progress *progress,
                               struct err *err)
{
    CLEANUP(frame_free) struct frame *frame = frame_new(request->snapshot->schema);
    for (bool more = true; more;) {
        frame_reset(frame);
        TRY(ordered_rows_next(rows, EXPORT_STEP_ROWS, frame, &more, err));
        TRY(row_file_append(file, frame, err));
        report(request, rows, file, progress);
    }
    TRY(row_file_finish(file, err));
    report(request, rows, file, progress);
    return ERR_OK;
}

enum err_code export_run(const struct export_request *request, struct export_progress *result_out,
                         struct err *err)
{
    const struct export_spec *spec = &request->spec;
    const struct ordered_rows_options ordered = {.snapshot = request->snapshot,
                                                 .columns = spec->columns,
                                                 .filters = spec->filters,
                                                 .filters_count = spec->filters_count,
                                                 .scratch_folder = request->scratch_folder,
                                                 .check = request->check,
                                                 .self = request->self};
    const struct row_file_options options = {.schema = request->snapshot->schema,
                                             .columns = spec->columns,
                                             .format = spec->format,
                                             .compression = spec->compression};
    CLEANUP(ordered_rows_close) struct ordered_rows *rows = NULL;
    CLEANUP(row_file_close) struct row_file *file = NULL;
    struct export_progress progress = {0};
    TRY(ordered_rows_open(&ordered, &rows, err));
    TRY(row_file_open(&options, &request->sink, &file, err));
    TRY(copy_rows(request, rows, file, &progress, err));
    *result_out = progress;
    return ERR_OK;
}
