/*
 * Text files as sources: bytes through a decompressor into the splitter. A continuation
 * reads the file from its start again and leaves out the records it had: that costs a
 * scan, and lets the hash be checked over every byte.
 */
#include "workers/source_file_content.h"

#include "storage/base/mem.h"
#include "storage/columns/inflate_stream.h"
#include "storage/columns/split.h"
#include "workers/source_checkpoint.h"

#include <assert.h>

struct source_text {
    struct source base;
    struct file_content content;
    enum content_encoding encoding;
    enum decode_format format;
    struct hash_stream *hash; /* of what was read */
    struct inflater *inflater;
    struct splitter *splitter;
    uint8_t *step;          /* CONTENT_STEP_BYTES of the file … */
    struct span compressed; /* … of which this is not inflated yet */
    int64_t offset;         /* of the next read */
    bool is_inflated;       /* all of it */
    bool is_done;           /* the last piece, which says so, was given */
    struct buffer checkpoint;
};

static struct source_text *text_of(struct source *source)
{
    return (struct source_text *)source;
}

static enum err_code begin(struct source *source, struct span checkpoint, bool *done_out,
                           struct err *err)
{
    struct source_text *text = text_of(source);
    struct source_checkpoint at = {0};
    TRY(source_checkpoint_parse(checkpoint, &at, err));
    const struct source_reader *reader = text->content.reader;
    const struct splitter_options options = {
        .format = text->format,
        .records_max = source_records_max(reader),
        .bytes_max = SOURCE_PIECE_BYTES_MAX,
        .skip_bytes = at.position,
    };
    *done_out = at.is_done;
    TRY(inflater_open(text->encoding, &text->inflater, err));
    text->splitter = splitter_open(&options);
    text->hash = hash_stream_new();
    text->step = mem_alloc(CONTENT_STEP_BYTES);
    source->progress.work_total = text->content.size;
    return ERR_OK;
}

/* The next bytes of the file, hashed. */
static enum err_code read_step(struct source_text *text, struct err *err)
{
    const struct file_content *content = &text->content;
    int64_t left = content->size - text->offset;
    size_t size = left < CONTENT_STEP_BYTES ? (size_t)left : CONTENT_STEP_BYTES;
    TRY(content->reader->check_time(content->reader->arg, err));
    TRY(content_read(content, text->offset, text->step, size, err));
    text->compressed = span_of(text->step, size);
    text->offset += (int64_t)size;
    hash_stream_update(text->hash, text->compressed);
    text->base.progress.bytes = text->offset;
    text->base.progress.work_done = text->offset;
    return ERR_OK;
}

/* More plain bytes for the splitter, or the end. */
static enum err_code feed(struct source_text *text, struct err *err)
{
    for (;;) {
        size_t size = 0;
        uint8_t *room = splitter_reserve(text->splitter, CONTENT_STEP_BYTES);
        TRY(inflater_step(text->inflater, &text->compressed, room, CONTENT_STEP_BYTES, &size, err));
        if (size > 0) {
            splitter_advance(text->splitter, size);
            return text->content.reader->check_time(text->content.reader->arg, err);
        }
        if (text->offset == text->content.size) {
            break;
        }
        TRY(read_step(text, err));
    }
    TRY(inflater_end(text->inflater, err));
    splitter_finish(text->splitter);
    text->is_inflated = true;
    return ERR_OK;
}

/* All pieces are given: was this the file that was hashed? Then the source is done. */
static enum err_code finish(struct source_text *text, struct source_piece *piece_out,
                            bool *found_out, struct err *err)
{
    *found_out = !text->is_done;
    if (text->is_done) {
        return ERR_OK;
    }
    TRY(content_check(&text->content, err));
    TRY(content_check_hash(&text->content, text->hash, err));
    const struct source_checkpoint at = {.is_done = true};
    source_checkpoint_write(&at, &text->checkpoint);
    *piece_out = (struct source_piece){.checkpoint = buffer_span(&text->checkpoint)};
    text->is_done = true;
    return ERR_OK;
}

static enum err_code read_piece(struct source_text *text, struct source_piece *piece_out,
                                bool *found_out, struct err *err)
{
    struct split_piece piece;
    for (;;) {
        TRY(splitter_next(text->splitter, &piece, found_out, err));
        if (*found_out) {
            break;
        }
        if (text->is_inflated) {
            return finish(text, piece_out, found_out, err);
        }
        TRY(feed(text, err));
    }
    TRY(content_check(&text->content, err));
    const struct source_checkpoint at = {.position = piece.end};
    source_checkpoint_write(&at, &text->checkpoint);
    *piece_out = (struct source_piece){
        .records_count = piece.records_count,
        .body = piece.body,
        .format = text->format,
        .line_offset = piece.line_offset,
        .checkpoint = buffer_span(&text->checkpoint),
        .place = text->format == DECODE_JSON_ARRAY ? "element" : "line",
    };
    return ERR_OK;
}

static enum err_code next(struct source *source, struct source_piece *piece_out, bool *found_out,
                          struct err *err)
{
    struct source_text *text = text_of(source);
    return content_explain(&text->content, read_piece(text, piece_out, found_out, err), err);
}

static void close_text(struct source *source)
{
    struct source_text *text = text_of(source);
    content_close(&text->content);
    splitter_close(&text->splitter);
    inflater_close(&text->inflater);
    hash_stream_free(&text->hash);
    mem_free(text->step);
    buffer_deinit(&text->checkpoint);
}

struct source *source_text_new(struct file_content *content, enum content_encoding encoding,
                               enum decode_format format)
{
    static const struct source_ops ops = {.begin = begin, .next = next, .close = close_text};
    struct source_text *text = mem_zeroed(1, sizeof *text);
    text->base.ops = &ops;
    text->content = *content;
    text->encoding = encoding;
    text->format = format;
    buffer_init(&text->checkpoint, SOURCE_CHECKPOINT_BYTES_MAX);
    content->fd = -1;
    return &text->base;
}
