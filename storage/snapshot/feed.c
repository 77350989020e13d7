/*
 * The change data feed. See feed.h.
 */
#include "storage/snapshot/feed.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/encode_json.h"
#include "storage/delta/state.h"
#include "storage/parquet/reader.h"
#include "storage/snapshot/merge_changes.h"
#include "storage/snapshot/stored.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
    READ_ROWS_MAX = 8192,
    READ_BYTES_MAX = 32 << 20, /* contents of one string or binary column of several rows */
};

struct feed {
    struct object_store *store;
    int64_t to_version;
    char **columns; /* NULL = all */
    size_t columns_count;
    struct feed_place place;
    struct delta_state *state; /* of the version before the place's; NULL = before version 0 */
    /* the version in hand; NULL between versions */
    const struct delta_commit *commit;
    struct delta_state *after;
    struct changes *changes; /* without change data files */
    struct schema *schema;   /* with them: of their rows */
    struct stored stored;    /* the one being read */
    int64_t stored_file;     /* its index; -1 = none is open */
    struct frame *frame;     /* of the last piece */
    bool *mask;              /* of its columns */
};

/* ---- one version ---- */

static void close_file(struct feed *feed)
{
    if (feed->stored_file >= 0) {
        stored_close(&feed->stored);
        feed->stored_file = -1;
    }
}

static void close_version(struct feed *feed)
{
    close_file(feed);
    changes_free(&feed->changes);
    schema_release(&feed->schema);
    delta_commit_release(&feed->commit);
    delta_state_release(&feed->after);
}

static void drop_piece(struct feed *feed)
{
    frame_free(&feed->frame);
    mem_free(feed->mask);
    feed->mask = NULL;
}

static enum err_code explain_gone(const struct feed *feed, enum err_code code, struct err *err)
{
    if (code == ERR_NOT_FOUND) {
        (void)err_wrap(err,
                       "what it changed was removed since: by a vacuum, or with the old end of "
                       "the log; ask from a later version");
    }
    return err_wrap(err, "version %" PRId64, feed->place.version);
}

static bool changes_data(const struct delta_commit *commit)
{
    for (size_t i = 0; i < commit->files_count; i++) {
        if (commit->files[i]->data_change) {
            return true;
        }
    }
    return commit->change_files_count > 0;
}

static enum err_code check_kept(const struct feed *feed, struct err *err)
{
    bool kept = feed->commit->change_files_count > 0 || !changes_data(feed->commit) ||
                delta_metadata_flag(feed->after->metadata, DELTA_CHANGE_FEED_PROPERTY, false);
    if (kept) {
        return ERR_OK;
    }
    return err_set(err, ERR_CONFLICT,
                   "version %" PRId64
                   " was written without a feed of changes (delta.enableChangeDataFeed); set "
                   "\"change_feed\": true in the table's definition, and ask from the version "
                   "that does so",
                   feed->place.version);
}

static enum err_code open_changes(struct feed *feed, struct err *err)
{
    const struct changes_options options = {.store = feed->store,
                                            .column_bytes_max = READ_BYTES_MAX};
    if (feed->state == NULL) {
        return changes_of_version(&options, feed->after, &feed->changes, err);
    }
    return changes_of_commit(&options, feed->state, feed->commit, feed->after, &feed->changes, err);
}

static enum err_code open_change_files(struct feed *feed, struct err *err)
{
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(delta_metadata_schema(feed->after->metadata, &schema, err));
    return schema_extend(schema, CHANGE_TYPE_COLUMN, &feed->schema, err);
}

/* The commit of the place's version, and what it tells. */
static enum err_code open_version(struct feed *feed, struct err *err)
{
    TRY(delta_state_step(feed->store, feed->state, &feed->commit, &feed->after, err));
    assert(feed->commit->version == feed->place.version);
    TRY(check_kept(feed, err));
    return feed->commit->change_files_count > 0 ? open_change_files(feed, err)
                                                : open_changes(feed, err);
}

static void next_version(struct feed *feed)
{
    delta_state_release(&feed->state);
    feed->state = feed->after;
    feed->after = NULL;
    close_version(feed);
    feed->place = (struct feed_place){.version = feed->place.version + 1};
}

/* ---- opening ---- */

static char **copy_names(const char *const *names, size_t count)
{
    if (names == NULL) {
        return NULL;
    }
    char **copies = mem_zeroed(count + 1, sizeof *copies);
    for (size_t i = 0; i < count; i++) {
        copies[i] = mem_copy_text(names[i]);
    }
    return copies;
}

void feed_close(struct feed **feed)
{
    struct feed *closed = *feed;
    if (closed == NULL) {
        return;
    }
    close_version(closed);
    drop_piece(closed);
    delta_state_release(&closed->state);
    for (size_t i = 0; closed->columns != NULL && i < closed->columns_count; i++) {
        mem_free(closed->columns[i]);
    }
    mem_free(closed->columns);
    mem_free(closed);
    *feed = NULL;
}

enum err_code feed_open(const struct feed_options *options, struct feed **feed_out, struct err *err)
{
    CLEANUP(feed_close) struct feed *feed = mem_zeroed(1, sizeof *feed);
    feed->store = options->store;
    feed->to_version = options->to_version;
    feed->place = options->start;
    feed->stored_file = -1;
    feed->columns = copy_names(options->columns, options->columns_count);
    feed->columns_count = options->columns_count;
    assert(feed->place.version >= 0);
    if (feed->place.version > 0 && feed->place.version <= feed->to_version) {
        enum err_code code =
            delta_state_load_version(feed->store, feed->place.version - 1, &feed->state, err);
        if (code != ERR_OK) {
            return explain_gone(feed, code, err);
        }
    }
    *feed_out = feed;
    feed = NULL;
    return ERR_OK;
}

struct feed_place feed_place(const struct feed *feed)
{
    return feed->place;
}

/* ---- reading ---- */

static bool is_told(const struct feed *feed, const char *name)
{
    if (feed->columns == NULL || strcmp(name, CHANGE_TYPE_COLUMN) == 0) {
        return true;
    }
    for (size_t i = 0; i < feed->columns_count; i++) {
        if (strcmp(name, feed->columns[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void begin_piece(struct feed *feed, const struct schema *schema)
{
    drop_piece(feed);
    feed->frame = frame_new(schema);
    feed->mask = mem_zeroed(schema->fields_count, sizeof *feed->mask);
    for (size_t i = 0; i < schema->fields_count; i++) {
        feed->mask[i] = is_told(feed, schema->fields[i].name);
    }
}

static enum err_code open_file(struct feed *feed, int64_t index, struct err *err)
{
    const struct delta_file *file = feed->commit->change_files[index];
    if (feed->stored_file == index) {
        return ERR_OK;
    }
    close_file(feed);
    TRY(stored_open(feed->store, feed->schema, file, NULL, &feed->stored, err));
    feed->stored_file = index;
    feed->stored.exact = true;
    if (!parquet_reader_has_column(feed->stored.reader, span_of_text(CHANGE_TYPE_COLUMN))) {
        return err_set(err, ERR_CORRUPT, "change data file %s has no column %s", file->path,
                       CHANGE_TYPE_COLUMN);
    }
    return ERR_OK;
}

/* Some rows of a change data file; the place moves behind them. */
static enum err_code read_file(struct feed *feed, int64_t rows_max, struct err *err)
{
    struct change_place *at = &feed->place.at;
    TRY(open_file(feed, at->file, err));
    int64_t left = feed->stored.rows_count - at->row;
    if (left < 0) {
        return err_set(err, ERR_CORRUPT, "row %" PRId64 " of change data file %s, which has fewer",
                       at->row, feed->commit->change_files[at->file]->path);
    }
    int64_t count = left < rows_max ? left : rows_max;
    feed->stored.column_bytes_max = count > 1 ? READ_BYTES_MAX : 0;
    if (count > 0) {
        TRY(stored_read_range(&feed->stored, at->row, count, feed->frame, err));
    }
    at->row += count;
    if (at->row == feed->stored.rows_count) {
        *at = (struct change_place){.file = at->file + 1};
    }
    return ERR_OK;
}

static enum err_code read_change_files(struct feed *feed, int64_t rows_max, bool *done_out,
                                       struct err *err)
{
    int64_t files = (int64_t)feed->commit->change_files_count;
    begin_piece(feed, feed->schema);
    if (feed->place.side != 0 || feed->place.at.file > files) {
        return err_set(err, ERR_CORRUPT, "a place that there is not");
    }
    if (feed->place.at.file < files) {
        TRY(read_file(feed, rows_max, err));
    }
    *done_out = feed->place.at.file == files;
    return ERR_OK;
}

static enum err_code read_changes(struct feed *feed, int64_t rows_max, bool *done_out,
                                  struct err *err)
{
    bool side_done = true;
    if (feed->place.side != CHANGE_REMOVED && feed->place.side != CHANGE_ADDED) {
        return err_set(err, ERR_CORRUPT, "a place that there is not");
    }
    enum change_side side = (enum change_side)feed->place.side;
    const struct schema *schema = changes_schema(feed->changes, side);
    if (schema != NULL) {
        begin_piece(feed, schema);
        TRY(changes_read(feed->changes, side, rows_max, &feed->place.at, feed->frame, &side_done,
                         err));
    } else {
        drop_piece(feed);
    }
    *done_out = side_done && side == CHANGE_ADDED;
    if (side_done && side == CHANGE_REMOVED) {
        feed->place.side = CHANGE_ADDED;
        feed->place.at = (struct change_place){0};
    }
    return ERR_OK;
}

/* Rows that are too large for a piece are read as fewer. */
static enum err_code read_some(struct feed *feed, int64_t rows_max, bool *done_out, struct err *err)
{
    for (int64_t count = rows_max < READ_ROWS_MAX ? rows_max : READ_ROWS_MAX;; count /= 2) {
        struct feed_place start = feed->place;
        enum err_code code = feed->changes != NULL ? read_changes(feed, count, done_out, err)
                                                   : read_change_files(feed, count, done_out, err);
        if (code != ERR_TOO_LARGE || count == 1) {
            return code;
        }
        err_clear(err);
        feed->place = start;
    }
}

static const char *type_of(const struct feed *feed, enum change_side side)
{
    if (feed->changes == NULL) {
        return NULL;
    }
    return side == CHANGE_REMOVED ? "delete" : "insert";
}

enum err_code feed_read(struct feed *feed, int64_t rows_max, struct feed_piece *piece_out,
                        bool *done_out, struct err *err)
{
    assert(rows_max > 0);
    *done_out = false;
    while (feed->place.version <= feed->to_version) {
        bool version_done = false;
        enum err_code code = feed->after != NULL ? ERR_OK : open_version(feed, err);
        enum change_side side = (enum change_side)feed->place.side;
        if (code == ERR_OK) {
            code = read_some(feed, rows_max, &version_done, err);
        }
        if (code != ERR_OK) {
            return code == ERR_CONFLICT ? code : explain_gone(feed, code, err);
        }
        int64_t count = feed->frame != NULL ? feed->frame->rows_count : 0;
        *piece_out = (struct feed_piece){.frame = feed->frame,
                                         .columns = feed->mask,
                                         .change_type = type_of(feed, side),
                                         .version = feed->place.version,
                                         .timestamp_ms = feed->after->timestamp_ms};
        if (version_done) {
            next_version(feed);
        }
        if (count > 0) {
            return ERR_OK;
        }
    }
    *done_out = true;
    return ERR_OK;
}

/* ---- text ---- */

void feed_write_row(const struct feed_piece *piece, int64_t row, struct buffer *text)
{
    char moment[TEXT_TIMESTAMP_BYTES];
    encode_json_row(piece->frame, row, piece->columns, text);
    if (text->size == 0 || text->data[text->size - 1] != '}') {
        return; /* the buffer was full, and says so */
    }
    text->size--; /* the brace comes behind what is told of the row */
    const char *separator = text->data[text->size - 1] == '{' ? "" : ",";
    if (piece->change_type != NULL) {
        buffer_append_format(text, "%s\"" CHANGE_TYPE_COLUMN "\":\"%s\"", separator,
                             piece->change_type);
        separator = ",";
    }
    size_t size = text_format_timestamp(piece->timestamp_ms * 1000, moment);
    buffer_append_format(text, "%s\"_commit_version\":%" PRId64 ",\"_commit_timestamp\":\"%.*s\"}",
                         separator, piece->version, (int)size, moment);
}
