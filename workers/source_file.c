/*
 * Files as sources: what a file holds, and that it stays what it was. Text is read by
 * source_file_text.c, Parquet by source_file_parquet.c. See source_file.h.
 */
#include "workers/source_file.h"

#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "storage/columns/inflate_stream.h"
#include "storage/columns/split.h"
#include "workers/source_file_content.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { SNIFF_BYTES = 64 << 10 };

/* ---- content ---- */

static enum err_code changed(struct err *err)
{
    return err_set(err, ERR_PRECONDITION,
                   "the file changed while it was read; write files under another name and rename "
                   "them when they are complete, then start a new run");
}

static int64_t microseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000 + time->tv_nsec / 1000;
}

void content_close(struct file_content *content)
{
    file_close(&content->fd);
}

enum err_code content_check(const struct file_content *content, struct err *err)
{
    struct stat status;
    if (fstat(content->fd, &status) != 0) {
        return err_set_errno(err, errno, "look at the file");
    }
    bool same = status.st_size == content->size &&
                status.st_mtim.tv_sec == content->modified.tv_sec &&
                status.st_mtim.tv_nsec == content->modified.tv_nsec;
    return same ? ERR_OK : changed(err);
}

enum err_code content_explain(const struct file_content *content, enum err_code code,
                              struct err *err)
{
    struct err reason = {0};
    if (code != ERR_OK && code != ERR_CANCELLED && content_check(content, &reason) != ERR_OK) {
        *err = reason;
        return reason.code;
    }
    return code;
}

enum err_code content_read(const struct file_content *content, int64_t offset, uint8_t *out,
                           size_t size, struct err *err)
{
    enum err_code code = file_read_at(content->fd, offset, out, size, err);
    return code == ERR_CORRUPT ? changed(err) : code; /* it is shorter than it was */
}

/* Feed all bytes to the hash. */
static enum err_code hash_all(const struct file_content *content, struct hash_stream *hash,
                              struct err *err)
{
    CLEANUP(mem_cleanup) uint8_t *step = mem_alloc(CONTENT_STEP_BYTES);
    const struct source_reader *reader = content->reader;
    for (int64_t at = 0; at < content->size;) {
        int64_t left = content->size - at;
        size_t size = left < CONTENT_STEP_BYTES ? (size_t)left : CONTENT_STEP_BYTES;
        TRY(reader->check_time(reader->arg, err));
        TRY(content_read(content, at, step, size, err));
        hash_stream_update(hash, span_of(step, size));
        at += (int64_t)size;
    }
    return ERR_OK;
}

enum err_code content_check_hash(const struct file_content *content, const struct hash_stream *hash,
                                 struct err *err)
{
    uint8_t digest[HASH_SHA256_BYTES];
    hash_stream_digest(hash, digest);
    return memcmp(digest, content->sha256, sizeof digest) == 0 ? ERR_OK : changed(err);
}

enum err_code content_check_again(const struct file_content *content, struct err *err)
{
    CLEANUP(hash_stream_free) struct hash_stream *hash = hash_stream_new();
    TRY(hash_all(content, hash, err));
    return content_check_hash(content, hash, err);
}

/* Is it the file that the task began with? */
static enum err_code check_pinned(const struct source_file_options *options,
                                  const struct file_content *content, struct err *err)
{
    if ((options->size >= 0 && options->size != content->size) ||
        (options->modified_us >= 0 && options->modified_us != microseconds(&content->modified))) {
        return err_set(err, ERR_PRECONDITION,
                       "the file is not the one this run began with (its size or time of change "
                       "differ); start a new run");
    }
    return ERR_OK;
}

enum err_code content_open(const struct source_file_options *options,
                           const struct source_reader *reader, struct file_content *content,
                           struct err *err)
{
    struct stat status;
    *content = (struct file_content){.reader = reader, .fd = -1};
    TRY(roots_open_file(options->roots, options->path, &content->fd, NULL, err));
    if (fstat(content->fd, &status) != 0) {
        return err_set_errno(err, errno, "look at %s", options->path);
    }
    content->size = status.st_size;
    content->modified = status.st_mtim;
    TRY(check_pinned(options, content, err));
    CLEANUP(hash_stream_free) struct hash_stream *hash = hash_stream_new();
    TRY(hash_all(content, hash, err));
    hash_stream_digest(hash, content->sha256);
    return content_check(content, err);
}

/* ---- what it holds ---- */

void source_file_parse(const struct json *source, struct source_file_options *options)
{
    static const char *const formats[] = {"auto", "ndjson", "json", "csv", "parquet"};
    static const char *const compressions[] = {"auto", "none", "gzip", "zstd"};
    const char *format = json_text(json_get(source, "format"));
    const char *compression = json_text(json_get(source, "compression"));
    options->format = SOURCE_FILE_AUTO;
    options->compression = SOURCE_FILE_COMPRESSION_AUTO;
    for (int i = 0; format != NULL && i < 5; i++) {
        options->format =
            strcmp(format, formats[i]) == 0 ? (enum source_file_format)i : options->format;
    }
    for (int i = 0; compression != NULL && i < 4; i++) {
        options->compression = strcmp(compression, compressions[i]) == 0
                                   ? (enum source_file_compression)i
                                   : options->compression;
    }
}

/* The beginning of what is inside, and whether it is all of it. */
struct sniffed {
    enum content_encoding encoding;
    struct buffer plain;
    bool is_whole;
};

static void sniffed_deinit(struct sniffed *sniffed)
{
    buffer_deinit(&sniffed->plain);
}

static enum err_code inflate_start(struct span start, bool is_whole, struct sniffed *sniffed,
                                   struct err *err)
{
    CLEANUP(inflater_close) struct inflater *inflater = NULL;
    TRY(inflater_open(sniffed->encoding, &inflater, err));
    size_t size = 1;
    while (size > 0 && sniffed->plain.size < SNIFF_BYTES) {
        size_t room = SNIFF_BYTES - sniffed->plain.size;
        uint8_t *out = buffer_reserve(&sniffed->plain, room);
        TRY(inflater_step(inflater, &start, out, room, &size, err));
        buffer_advance(&sniffed->plain, size);
    }
    sniffed->is_whole = is_whole && size == 0;
    return ERR_OK;
}

static enum content_encoding encoding_of(const struct source_file_options *options,
                                         struct span start)
{
    switch (options->compression) {
    case SOURCE_FILE_PLAIN:
        return CONTENT_IDENTITY;
    case SOURCE_FILE_GZIP:
        return CONTENT_GZIP;
    case SOURCE_FILE_ZSTD:
        return CONTENT_ZSTD;
    case SOURCE_FILE_COMPRESSION_AUTO:
        break;
    }
    return inflate_detect(start);
}

static enum err_code sniff(const struct source_file_options *options,
                           const struct file_content *content, struct sniffed *sniffed,
                           struct err *err)
{
    CLEANUP(mem_cleanup) uint8_t *start = mem_alloc(SNIFF_BYTES);
    bool is_whole = content->size <= SNIFF_BYTES;
    size_t size = is_whole ? (size_t)content->size : SNIFF_BYTES;
    TRY(content_read(content, 0, start, size, err));
    buffer_init(&sniffed->plain, SNIFF_BYTES);
    sniffed->encoding = encoding_of(options, span_of(start, size));
    return inflate_start(span_of(start, size), is_whole, sniffed, err);
}

static bool looks_like_parquet(struct span start)
{
    return start.size >= 4 && memcmp(start.data, "PAR1", 4) == 0;
}

static enum decode_format text_format_of(const struct source_file_options *options,
                                         const struct sniffed *sniffed)
{
    switch (options->format) {
    case SOURCE_FILE_NDJSON:
        return DECODE_NDJSON;
    case SOURCE_FILE_JSON:
        return DECODE_JSON_ARRAY;
    case SOURCE_FILE_CSV:
        return DECODE_CSV;
    default:
        return split_detect(buffer_span(&sniffed->plain), sniffed->is_whole);
    }
}

static void name_source(struct source *source, const char *path)
{
    size_t size = strlen(path);
    size_t cut = size < SOURCE_NAME_BYTES ? 0 : size - SOURCE_NAME_BYTES + 1;
    memcpy(source->name, path + cut, size - cut + 1); /* the end of a long path says more */
}

static enum err_code make_source(const struct source_file_options *options,
                                 struct file_content *content, struct source **source_out,
                                 struct err *err)
{
    CLEANUP(sniffed_deinit) struct sniffed sniffed = {0};
    TRY(sniff(options, content, &sniffed, err));
    bool is_parquet =
        options->format == SOURCE_FILE_PARQUET ||
        (options->format == SOURCE_FILE_AUTO && looks_like_parquet(buffer_span(&sniffed.plain)));
    if (is_parquet && sniffed.encoding != CONTENT_IDENTITY) {
        return err_set(err, ERR_INVALID,
                       "Parquet is compressed inside; a file that is compressed as a whole is not "
                       "read: decompress it first");
    }
    uint8_t format = is_parquet ? UINT8_MAX : (uint8_t)text_format_of(options, &sniffed);
    const struct span parts[] = {span_of(content->sha256, sizeof content->sha256),
                                 span_of(&format, 1)};
    const struct source_reader *reader = content->reader;
    struct source *source = NULL;
    if (is_parquet) {
        TRY(source_parquet_new(content, &source, err));
    } else {
        source = source_text_new(content, sniffed.encoding, (enum decode_format)format);
    }
    source_identify(source, reader, "file", parts, 2);
    name_source(source, options->path);
    *source_out = source;
    return ERR_OK;
}

enum err_code source_file_open(const struct source_file_options *options,
                               const struct source_reader *reader, struct source **source_out,
                               struct err *err)
{
    CLEANUP(content_close) struct file_content content = {.fd = -1};
    if (content_open(options, reader, &content, err) != ERR_OK ||
        make_source(options, &content, source_out, err) != ERR_OK) {
        return err_wrap(err, "%s", options->path);
    }
    return ERR_OK;
}
