/*
 * Rows of a Parquet file on standard output. See table_file.h.
 */
#include "server/cli/table_file.h"

#include "server/cli/command.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/columns/encode_json.h"
#include "storage/parquet/reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    PIECE_ROWS_MAX = 1 << 16,
    PIECE_BYTES_MAX = 16 << 20, /* of slots, and once more of what grows by itself */
    ROW_BYTES_MAX = 64 << 20,   /* of one row alone */
    TEXT_BYTES_MAX = 1 << 30,   /* one row as JSON */
    TEXT_BYTES_KEPT = 1 << 16,  /* written out beyond */
};

bool table_file_is(const char *path)
{
    return strpbrk(path, "/.") != NULL;
}

/* ---- the file ---- */

struct input {
    int fd;
    struct parquet_reader *reader;
    const char **names; /* of the columns wanted; NULL = all */
    char *names_text;   /* what they point into */
};

static void input_deinit(struct input *input)
{
    parquet_reader_close(&input->reader);
    file_close(&input->fd);
    mem_free((void *)input->names);
    mem_free(input->names_text);
}

static enum err_code read_at(void *self, int64_t offset, void *out, size_t size, struct err *err)
{
    const struct input *input = self;
    return file_read_at(input->fd, offset, out, size, err);
}

static enum err_code open_input(struct input *input, const char *path, struct err *err)
{
    int64_t size = 0;
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        return err_set(err, ERR_INVALID,
                       "neither a Parquet file nor a folder of a Delta table, which has a "
                       "_delta_log");
    }
    TRY(file_open_read(path, &input->fd, &size, err));
    const struct parquet_source source = {.read_at = read_at, .self = input, .size = size};
    return parquet_reader_open(&source, &input->reader, err);
}

/* "a,b" in place as names, NULL-terminated. */
static void split_names(struct input *input, const char *columns)
{
    size_t count = 1;
    for (const char *at = columns; *at != '\0'; at++) {
        count += *at == ',';
    }
    input->names_text = mem_copy_text(columns);
    input->names = mem_zeroed(count + 1, sizeof *input->names);
    char *name = input->names_text;
    for (size_t i = 0; i < count; i++) {
        size_t size = strcspn(name, ",");
        name[size] = '\0';
        input->names[i] = name;
        name += size + 1;
    }
}

/* ---- rows ---- */

/* Bytes that one more row takes in every column, elements and contents not counted. */
static int64_t row_bytes(const struct field *fields, size_t count)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += 1 + (int64_t)sizeof(uint32_t) + (int64_t)column_type_slot_bytes(fields[i].type);
        if (fields[i].type == COLUMN_STRUCT) {
            bytes += row_bytes(fields[i].children, fields[i].children_count);
        }
    }
    assert(bytes > 0); /* no schema and no struct is without fields */
    return bytes;
}

static enum err_code print_frame(const struct frame *frame, struct buffer *text, struct err *err)
{
    for (int64_t row = 0; row < frame->rows_count; row++) {
        encode_json_row(frame, row, NULL, text);
        buffer_append_byte(text, '\n');
        TRY(buffer_check(text, "a row as JSON", err));
        if (text->size > TEXT_BYTES_KEPT) {
            command_print_text(text);
        }
    }
    return ERR_OK;
}

static enum err_code print_rows(const struct input *input, int64_t rows, struct err *err)
{
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(parquet_reader_schema(input->reader, input->names, &schema, err));
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, TEXT_BYTES_MAX);
    int64_t most = PIECE_BYTES_MAX / row_bytes(schema->fields, schema->fields_count) + 1;
    most = most < PIECE_ROWS_MAX ? most : PIECE_ROWS_MAX;
    int64_t piece = most;
    int64_t start = 0;
    while (start < rows) {
        int64_t count = piece < rows - start ? piece : rows - start;
        const struct parquet_read_options options = {.bytes_max = count > 1 ? PIECE_BYTES_MAX
                                                                            : ROW_BYTES_MAX};
        frame_reset(frame);
        enum err_code code =
            parquet_reader_read_range(input->reader, start, count, &options, frame, err);
        if (code == ERR_TOO_LARGE && count > 1) {
            err_clear(err);
            piece = count / 2;
            continue;
        }
        TRY(code);
        TRY(print_frame(frame, &text, err));
        start += count;
        piece = piece * 2 < most ? piece * 2 : most;
    }
    command_print_text(&text);
    return ERR_OK;
}

static enum err_code print_file(const char *path, const struct table_file_options *options,
                                struct err *err)
{
    CLEANUP(input_deinit) struct input input = {.fd = -1};
    TRY(open_input(&input, path, err));
    if (options->columns != NULL) {
        split_names(&input, options->columns);
    }
    int64_t rows = parquet_reader_rows_count(input.reader);
    rows = options->limit >= 0 && options->limit < rows ? options->limit : rows;
    if (options->count) {
        (void)printf(options->json ? "{\"count\":%" PRId64 "}\n" : "%" PRId64 "\n",
                     rows); /* checked at the end */
    } else {
        TRY(print_rows(&input, rows, err));
    }
    return ERR_OK;
}

enum err_code table_file_rows(const char *path, const struct table_file_options *options,
                              struct err *err)
{
    enum err_code code = print_file(path, options, err);
    return code == ERR_OK ? ERR_OK : err_wrap(err, "%s", path);
}
