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

static enum err_code read_record(int fd, const struct segment_place *place, int64_t size,
                                 struct buffer *payload_out, struct err *err)
{
    uint8_t header[SEGMENT_RECORD_HEADER_BYTES];
    TRY(file_read_at(fd, place->offset, header, sizeof header, err));
    uint32_t found_size = 0;
    uint64_t checksum = 0;
    if (!segment_decode_record(span_of(header, sizeof header), place, &found_size, &checksum) ||
        found_size != (uint64_t)size) {
        return err_set(err, ERR_CORRUPT, "no record of %" PRId64 " bytes here", size);
    }
    if (found_size == 0) {
        return ERR_OK;
    }
    uint8_t *payload = buffer_reserve(payload_out, found_size);
    if (payload == NULL) {
        return buffer_check(payload_out, "a record of the segment log", err);
    }
    TRY(file_read_at(fd, place->offset + SEGMENT_RECORD_HEADER_BYTES, payload, found_size, err));
    if (hash_checksum(span_of(payload, found_size)) != checksum) {
        return err_set(err, ERR_CORRUPT, "the record fails its checksum");
    }
    buffer_advance(payload_out, found_size);
    return ERR_OK;
}

enum err_code segment_read_at(const char *folder, const char *magic,
                              const struct location *location, struct buffer *payload_out,
                              struct err *err)
{
    CLEANUP(mem_cleanup) char *path = segment_path(folder, location->segment);
    CLEANUP(file_close) int fd = -1;
    int64_t size = 0;
    TRY(file_open_read(path, &fd, &size, err));
    struct segment_place place = {.number = location->segment, .offset = location->offset};
    enum err_code code = segment_read_nonce(fd, magic, location->segment, &place.nonce, err);
    if (code == ERR_OK) {
        code = read_record(fd, &place, location->size, payload_out, err);
    }
    if (code != ERR_OK) {
        (void)err_wrap(err, "%s at %" PRId64, path, location->offset);
    }
    return code;
}

enum err_code segments_read_closed(const char *folder, const char *magic,
                                   const struct location *location, struct buffer *payload_out,
                                   struct err *err)
{
    return segment_read_at(folder, magic, location, payload_out, err);
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
