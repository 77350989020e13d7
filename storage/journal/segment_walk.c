/*
 * Reading segment files: one record by its location, or all of them in order,
 * whether the log is open elsewhere or not.
 */
#include "storage/base/file.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/journal/segment_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAME_DIGITS = 12, NAME_BYTES = 32 };

static const char name_suffix[] = ".segment";

/* ---- names ---- */

char *segment_path(const char *folder, int64_t number)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof name, "%0*" PRId64 "%s", NAME_DIGITS, number,
                   name_suffix); /* fits */
    return file_join(folder, name);
}

/* False for names that are not segments. */
static bool parse_name(const char *name, int64_t *number_out)
{
    struct span text = span_of_text(name);
    size_t suffix = sizeof name_suffix - 1;
    if (text.size != NAME_DIGITS + suffix || strcmp(name + NAME_DIGITS, name_suffix) != 0) {
        return false;
    }
    return text_parse_int64(span_of(text.data, NAME_DIGITS), number_out) && *number_out > 0;
}

enum err_code segment_list(const char *folder, int64_t **numbers_out, size_t *count_out,
                           struct err *err)
{
    CLEANUP(file_names_free) struct file_names names = {0};
    TRY(file_list(folder, &names, err));
    int64_t *numbers = mem_zeroed(names.count + 1, sizeof *numbers);
    size_t count = 0;
    for (size_t i = 0; i < names.count; i++) {
        if (parse_name(names.names[i], &numbers[count])) {
            count++;
        }
    }
    *numbers_out = numbers;
    *count_out = count;
    return ERR_OK;
}

/* ---- one record ---- */

enum err_code segment_read_nonce(int fd, const char *magic, int64_t number, uint64_t *nonce_out,
                                 struct err *err)
{
    uint8_t bytes[SEGMENT_HEADER_BYTES];
    TRY(file_read_at(fd, 0, bytes, sizeof bytes, err));
    return segment_decode_header(span_of(bytes, sizeof bytes), magic, number, nonce_out, err);
}

void segment_reader_init(struct segment_reader *reader, const char *folder, const char *magic)
{
    *reader = (struct segment_reader){.folder = folder, .magic = magic, .fd = -1};
    buffer_init(&reader->window, SEGMENT_RECORD_HEADER_BYTES + SEGMENT_RECORD_BYTES_MAX);
}

void segment_reader_deinit(struct segment_reader *reader)
{
    file_close(&reader->fd);
    buffer_deinit(&reader->window);
}

static enum err_code open_segment(struct segment_reader *reader, int64_t number, struct err *err)
{
    if (reader->fd >= 0 && reader->number == number) {
        return ERR_OK;
    }
    file_close(&reader->fd);
    buffer_reset(&reader->window);
    CLEANUP(mem_cleanup) char *path = segment_path(reader->folder, number);
    CLEANUP(file_close) int fd = -1;
    TRY(file_open_read(path, &fd, &reader->file_bytes, err));
    TRY(segment_read_nonce(fd, reader->magic, number, &reader->nonce, err));
    reader->number = number;
    reader->fd = fd;
    fd = -1;
    return ERR_OK;
}

/* At least `size` bytes of the file from `offset` on, and some of what follows. */
static enum err_code fill_window(struct segment_reader *reader, int64_t offset, size_t size,
                                 struct err *err)
{
    int64_t left = reader->file_bytes - offset;
    size_t wanted = size > SEGMENT_WINDOW_BYTES ? size : SEGMENT_WINDOW_BYTES;
    if (left < (int64_t)wanted) {
        /* perhaps it has grown; else the record is missed where the file ends */
        wanted = left > (int64_t)size ? (size_t)left : size;
    }
    buffer_reset(&reader->window);
    reader->window_at = offset;
    uint8_t *target = buffer_reserve(&reader->window, wanted);
    if (target == NULL) {
        return buffer_check(&reader->window, "a record of the segment log", err);
    }
    struct err shrunk = {0}; /* to what is used of it, when the next segment began */
    if (wanted > size && file_read_at(reader->fd, offset, target, wanted, &shrunk) == ERR_OK) {
        buffer_advance(&reader->window, wanted);
        return ERR_OK;
    }
    TRY(file_read_at(reader->fd, offset, target, size, err));
    buffer_advance(&reader->window, size);
    return ERR_OK;
}

static bool is_in_window(const struct segment_reader *reader, int64_t offset, size_t size)
{
    return offset >= reader->window_at &&
           (uint64_t)(offset - reader->window_at) + size <= reader->window.size;
}

static enum err_code check_record(const struct segment_reader *reader,
                                  const struct location *location, struct span *payload_out,
                                  struct err *err)
{
    const struct segment_place place = {
        .number = reader->number, .nonce = reader->nonce, .offset = location->offset};
    size_t size = (size_t)location->size;
    struct span record = span_of(reader->window.data + (location->offset - reader->window_at),
                                 SEGMENT_RECORD_HEADER_BYTES + size);
    uint32_t found_size = 0;
    uint64_t checksum = 0;
    if (!segment_decode_record(span_of(record.data, SEGMENT_RECORD_HEADER_BYTES), &place,
                               &found_size, &checksum) ||
        found_size != size) {
        return err_set(err, ERR_CORRUPT, "no record of %zu bytes here", size);
    }
    *payload_out = span_of(record.data + SEGMENT_RECORD_HEADER_BYTES, size);
    if (size > 0 && hash_checksum(*payload_out) != checksum) {
        return err_set(err, ERR_CORRUPT, "the record fails its checksum");
    }
    return ERR_OK;
}

static enum err_code read_record(struct segment_reader *reader, const struct location *location,
                                 struct span *payload_out, struct err *err)
{
    if (location->size < 0 || location->size > SEGMENT_RECORD_BYTES_MAX) {
        return err_set(err, ERR_CORRUPT, "no record of %" PRId64 " bytes here", location->size);
    }
    TRY(open_segment(reader, location->segment, err));
    size_t size = SEGMENT_RECORD_HEADER_BYTES + (size_t)location->size;
    struct err stale = {0}; /* read before the record was written */
    if (is_in_window(reader, location->offset, size) &&
        check_record(reader, location, payload_out, &stale) == ERR_OK) {
        return ERR_OK;
    }
    TRY(fill_window(reader, location->offset, size, err));
    return check_record(reader, location, payload_out, err);
}

enum err_code segment_reader_read(struct segment_reader *reader, const struct location *location,
                                  struct span *payload_out, struct err *err)
{
    enum err_code code = read_record(reader, location, payload_out, err);
    if (code != ERR_OK) {
        CLEANUP(mem_cleanup) char *path = segment_path(reader->folder, location->segment);
        (void)err_wrap(err, "%s at %" PRId64, path, location->offset);
    }
    return code;
}

enum err_code segments_read_closed(const char *folder, const char *magic,
                                   const struct location *location, struct buffer *payload_out,
                                   struct err *err)
{
    CLEANUP(segment_reader_deinit) struct segment_reader reader;
    segment_reader_init(&reader, folder, magic);
    struct span payload = {0};
    TRY(segment_reader_read(&reader, location, &payload, err));
    buffer_append_span(payload_out, payload);
    return buffer_check(payload_out, "a record of the segment log", err);
}

/* ---- walking ---- */

struct walk {
    const struct location *from;
    segment_visit_fn *visit;
    void *arg;
    bool stopped;
};

static bool visit_from(void *arg, const struct location *location, struct span payload)
{
    struct walk *walk = arg;
    if (walk->from != NULL && location_compare(location, walk->from) < 0) {
        return true;
    }
    walk->stopped = !walk->visit(walk->arg, location, payload);
    return !walk->stopped;
}

static enum err_code walk_segment(const char *folder, const char *magic, int64_t number,
                                  bool newest, struct walk *walk, int64_t *torn_out,
                                  struct err *err)
{
    CLEANUP(mem_cleanup) char *path = segment_path(folder, number);
    CLEANUP(file_unmap) struct span file = {0};
    TRY(file_map(path, &file, err));
    int64_t end = 0;
    if (segment_decode(file, magic, number, visit_from, walk, &end, err) != ERR_OK) {
        return err_wrap(err, "%s", path);
    }
    if (walk->stopped) {
        return ERR_OK;
    }
    *torn_out = segment_zeros_start(file, end) - end;
    if (*torn_out > 0 && !newest) {
        return err_set(err, ERR_CORRUPT, "%s at %" PRId64 ": no whole record here", path, end);
    }
    return ERR_OK;
}

enum err_code segments_walk(const char *folder, const char *magic, const struct location *from,
                            segment_visit_fn *visit, void *arg, int64_t *torn_out, struct err *err)
{
    CLEANUP(mem_cleanup) int64_t *numbers = NULL;
    size_t count = 0;
    TRY(segment_list(folder, &numbers, &count, err));
    struct walk walk = {.from = from, .visit = visit, .arg = arg};
    int64_t torn = 0;
    for (size_t i = 0; i < count && !walk.stopped; i++) {
        if (i > 0 && numbers[i] != numbers[i - 1] + 1) {
            return err_set(err, ERR_CORRUPT, "segment log %s: segment %" PRId64 " is missing",
                           folder, numbers[i - 1] + 1);
        }
        if (from != NULL && numbers[i] < from->segment) {
            continue;
        }
        TRY(walk_segment(folder, magic, numbers[i], i + 1 == count, &walk, &torn, err));
    }
    if (torn_out != NULL) {
        *torn_out = torn;
    }
    return ERR_OK;
}
