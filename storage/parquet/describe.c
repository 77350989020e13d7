/*
 * Columns of a file. See describe.h.
 */
#include "storage/parquet/describe.h"

#include "storage/parquet/reader_state.h"

enum { UNSIGNED_LONG_DIGITS = 20 };

static const char *const REFUSED_NESTED = "has objects or arrays; a table's columns are flat";

static void describe_integer(const struct leaf_meaning *meaning, struct parquet_column *column)
{
    if (meaning->is_unsigned && meaning->bits == 64) {
        column->type = COLUMN_DECIMAL;
        column->precision = UNSIGNED_LONG_DIGITS;
        return;
    }
    bool wide = meaning->bits == 64 || (meaning->is_unsigned && meaning->bits == 32);
    column->type = wide ? COLUMN_LONG : COLUMN_INTEGER;
}

static void describe_leaf(const struct metadata_element *element, struct parquet_column *column)
{
    struct leaf_meaning meaning = leaf_meaning_of(element);
    if (meaning.odd != LEAF_NOT_ODD) { /* all but numbers have a text that says them exactly */
        column->type = meaning.odd == LEAF_FLOAT16 ? COLUMN_DOUBLE : COLUMN_STRING;
        return;
    }
    switch (meaning.kind) {
    case PARQUET_BOOLEAN:
        column->type = COLUMN_BOOLEAN;
        return;
    case PARQUET_INTEGER:
        describe_integer(&meaning, column);
        return;
    case PARQUET_REAL:
        column->type = COLUMN_DOUBLE;
        return;
    case PARQUET_DECIMAL:
        column->type = COLUMN_DECIMAL;
        column->precision = meaning.precision;
        column->scale = meaning.scale;
        return;
    case PARQUET_DATE:
        column->type = COLUMN_DATE;
        return;
    case PARQUET_TIMESTAMP:
        column->type = COLUMN_TIMESTAMP;
        return;
    case PARQUET_TIMESTAMP_NTZ:
        column->type = COLUMN_TIMESTAMP_NTZ;
        return;
    case PARQUET_TEXT:
        column->type = COLUMN_STRING;
        return;
    case PARQUET_BINARY:
        column->type = COLUMN_BINARY;
        return;
    default:
        column->refused = REFUSED_NESTED;
        return;
    }
}

enum err_code parquet_reader_columns(const struct parquet_reader *reader, struct arena *arena,
                                     struct parquet_column **columns_out, size_t *count_out,
                                     struct err *err)
{
    const struct tree *tree = &reader->tree;
    struct parquet_column *columns =
        arena_alloc(arena, (tree->elements_count + 1) * sizeof *columns);
    size_t count = 0;
    for (size_t i = 1; columns != NULL && i < tree->elements_count; i = tree->elements[i].next) {
        const struct tree_element *found = &tree->elements[i];
        struct parquet_column *column = &columns[count++];
        column->name = arena_text(arena, found->element->name);
        if (column->name == NULL) {
            columns = NULL;
        } else if (found->element->type == PARQUET_TYPE_NONE || found->repetition > 0) {
            column->refused = REFUSED_NESTED;
        } else {
            describe_leaf(found->element, column);
        }
    }
    if (columns == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the file's schema is larger than fits");
    }
    *columns_out = columns;
    *count_out = count;
    return ERR_OK;
}
