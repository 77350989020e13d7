/*
 * Segment files of any bytes (segment_format.c, segment_walk.c). The input is taken twice.
 * As a file, decoded in memory: records lie in order, within it, and the end is behind the
 * last of them. And as records, written to a file of which one byte is then changed: what the
 * walk gives is a beginning of what was written, all of it when nothing was changed.
 */
#include "storage/base/cursor.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/journal/segment_format.h"
#include "tests/fuzz/scratch_folder.h"

#include <fcntl.h>
#include <string.h>

#define MAGIC "SLUTEST1"
enum { NONCE = 77, RECORDS_MAX = 32 };

struct check {
    struct span file;
    int64_t end;
};

static bool check_record(void *arg, const struct location *location, struct span payload)
{
    struct check *check = arg;
    bool inside = payload.data >= check->file.data &&
                  payload.size <= (size_t)(check->file.data + check->file.size - payload.data);
    if (location->offset < check->end || !inside || location->size != (int64_t)payload.size) {
        abort();
    }
    check->end = location->offset + SEGMENT_RECORD_HEADER_BYTES + location->size;
    return true;
}

static void decode(struct span file)
{
    struct err err = {0};
    struct check check = {.file = file, .end = SEGMENT_HEADER_BYTES};
    int64_t end = 0;
    if (segment_decode(file, MAGIC, 1, check_record, &check, &end, &err) == ERR_OK &&
        (end < check.end || (size_t)end > file.size)) {
        abort();
    }
}

struct written {
    struct span payloads[RECORDS_MAX];
    struct location locations[RECORDS_MAX];
    size_t count;
    size_t walked;
};

/* Each record is a size and its bytes; a size of 255 leaves zeros, as a preallocated file has. */
static void write_records(struct cursor *input, struct written *written, struct buffer *file)
{
    segment_encode_header(MAGIC, 1, NONCE, file);
    while (cursor_left(input) > 0 && written->count < RECORDS_MAX) {
        size_t size = cursor_u8(input);
        size_t left = cursor_left(input);
        struct span payload = cursor_bytes(input, size < left ? size : left);
        struct segment_place place = {.number = 1, .nonce = NONCE, .offset = (int64_t)file->size};
        struct buffer header;
        buffer_init(&header, SEGMENT_RECORD_HEADER_BYTES);
        segment_encode_record(payload, &place, &header);
        buffer_append_span(file, buffer_span(&header));
        buffer_append_span(file, payload);
        while ((int64_t)file->size < place.offset + segment_record_extent(payload.size)) {
            buffer_append_byte(file, 0);
        }
        buffer_deinit(&header);
        written->payloads[written->count] = payload;
        written->locations[written->count++] =
            (struct location){.segment = 1, .offset = place.offset, .size = (int64_t)payload.size};
    }
}

static bool walk_record(void *arg, const struct location *location, struct span payload)
{
    struct written *written = arg;
    assert(written->walked < written->count);
    assert(location_compare(location, &written->locations[written->walked]) == 0);
    assert(span_equal(payload, written->payloads[written->walked]));
    written->walked++;
    return true;
}

static bool stop_at_once(void *arg, const struct location *location, struct span payload)
{
    (void)walk_record(arg, location, payload); /* goes on always */
    return false;
}

static void put_file(const char *folder, int64_t number, struct span bytes)
{
    char *path = segment_path(folder, number);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0);
    assert(write(fd, bytes.data, bytes.size) == (ssize_t)bytes.size);
    (void)close(fd); /* a test's file */
    mem_free(path);
}

static void read_back(const char *folder, const struct written *written, size_t whole)
{
    for (size_t i = 0; i < written->count; i++) {
        struct buffer payload;
        struct err err = {0};
        buffer_init(&payload, UINT8_MAX);
        enum err_code code =
            segments_read_closed(folder, MAGIC, &written->locations[i], &payload, &err);
        assert(code == ERR_OK || code == ERR_CORRUPT);
        assert(code == ERR_OK || i >= whole);
        assert(code != ERR_OK || span_equal(buffer_span(&payload), written->payloads[i]));
        buffer_deinit(&payload);
    }
}

static void walk(struct cursor *input)
{
    const char *folder = scratch_folder("000000000001.segment", "000000000003.segment");
    size_t damage_at = cursor_u16(input);
    uint8_t damage = cursor_u8(input);
    struct written written = {0};
    struct buffer file;
    buffer_init(&file, 1 << 20);
    write_records(input, &written, &file);
    if (damage_at >= file.size) {
        damage = 0;
    } else {
        file.data[damage_at] ^= damage;
    }
    put_file(folder, 1, buffer_span(&file));
    struct err err = {0};
    int64_t torn = 0;
    enum err_code code = segments_walk(folder, MAGIC, NULL, walk_record, &written, &torn, &err);
    assert(code == ERR_OK || (damage != 0 && damage_at < SEGMENT_HEADER_BYTES));
    assert(damage != 0 || (written.walked == written.count && torn == 0));
    read_back(folder, &written, written.walked);
    if (written.walked > 1) {
        written.walked = 1; /* again, from the second */
        assert(segments_walk(folder, MAGIC, &written.locations[1], walk_record, &written, NULL,
                             &err) == ERR_OK);
    }
    put_file(folder, 3, buffer_span(&file)); /* number 2 is missing */
    written.walked = 0;
    code = segments_walk(folder, MAGIC, NULL, walk_record, &written, NULL, &err);
    assert(code == ERR_CORRUPT);
    written.walked = 0;
    code = segments_walk(folder, MAGIC, NULL, stop_at_once, &written, NULL, &err);
    assert(code == ERR_CORRUPT || written.walked == 1);
    buffer_deinit(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(span_of(data, size));
    struct cursor input = cursor_of(span_of(data, size));
    walk(&input);
    return 0;
}
