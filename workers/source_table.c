/*
 * A Delta table as a source. See source_table.h; removed rows are source_table_keys.c's.
 */
#include "workers/source_table.h"

#include "storage/base/mem.h"
#include "storage/columns/decode_rows.h"
#include "storage/delta/state.h"
#include "storage/object/object.h"
#include "storage/snapshot/changes.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "workers/source_table_keys.h"
#include "workers/source_table_place.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

struct source_table {
    struct source base;
    const struct source_reader *reader;
    struct source_table_options options;
    struct object_store *own_store; /* of a folder */
    struct object_store *store;
    const struct snapshot *held; /* keeps the files of a table of ours from its vacuum */
    int64_t newest;              /* version to read up to */
    struct table_place place;
    bool is_unrecorded;        /* the place moved on, and no piece said so yet */
    struct delta_state *state; /* of the place's version, or of the newest before begin */
    /* the version in hand; NULL between versions */
    struct changes *changes;
    struct delta_state *before; /* these two of a commit */
    const struct delta_commit *commit;
    struct table_keys keys;
    struct frame *rows; /* of the piece in hand */
    int64_t bytes_before;
    struct buffer checkpoint;
};

static struct source_table *table_of(struct source *source)
{
    return (struct source_table *)source;
}

int64_t source_table_version(const struct source *source)
{
    return ((const struct source_table *)source)->newest;
}

/* ---- one version ---- */

static enum err_code explain_version(int64_t version, struct err *err)
{
    if (err->code == ERR_NOT_FOUND) {
        (void)err_wrap(err, "files that a vacuum of the source removed before they were read; "
                            "ingest more often, or let it keep removed files for longer");
    }
    return err_wrap(err, "version %" PRId64, version);
}

static enum err_code check_columns(const struct source_table *table, const struct changes *changes,
                                   struct err *err)
{
    if (decode_rows_check(changes_schema(changes, CHANGE_ADDED), table->reader->schema, err) ==
        ERR_OK) {
        return ERR_OK;
    }
    return err_wrap(err, "/source/columns says which to take");
}

static struct changes_options options_of(const struct source_table *table,
                                         const struct table_key_names *keys)
{
    const struct change_columns chosen = {table->options.columns, table->options.columns_count};
    const struct change_columns key = {keys->names, keys->count};
    return (struct changes_options){
        .store = table->store,
        .columns = {[CHANGE_ADDED] = chosen,
                    [CHANGE_REMOVED] = table->reader->schema->key_count > 0 ? key : chosen},
        .column_bytes_max = TABLE_COLUMN_BYTES_MAX,
    };
}

static void close_version(struct source_table *table)
{
    if (table->changes != NULL) {
        table->bytes_before += changes_bytes_opened(table->changes);
    }
    table_keys_close(&table->keys);
    changes_free(&table->changes);
    delta_commit_release(&table->commit);
    delta_state_release(&table->before);
}

/* All rows of the state's version. */
static enum err_code open_whole(struct source_table *table, struct err *err)
{
    const struct table_key_names keys = table_key_names_of(table->reader->schema);
    const struct changes_options options = options_of(table, &keys);
    TRY(changes_of_version(&options, table->state, &table->changes, err));
    return check_columns(table, table->changes, err);
}

static enum err_code read_commit(const struct source_table *table, int64_t version,
                                 const struct delta_commit **commit_out, struct err *err)
{
    enum err_code code = delta_commit_read(table->store, version, commit_out, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err);
        return err_set(err, ERR_PRECONDITION,
                       "its log no longer has version %" PRId64 ", with which this ingest goes "
                       "on, so that what was removed cannot be told; read it into a new table",
                       version);
    }
    return code;
}

/* The commit behind the state, which moves to it. */
static enum err_code open_commit(struct source_table *table, struct err *err)
{
    const struct table_key_names keys = table_key_names_of(table->reader->schema);
    const struct changes_options options = options_of(table, &keys);
    struct delta_state *after = NULL;
    TRY(read_commit(table, table->state->version + 1, &table->commit, err));
    TRY(delta_state_apply(table->state, table->commit, -1, table->commit->bytes_count, &after,
                          err));
    table->before = table->state;
    table->state = after;
    TRY(changes_of_commit(&options, table->before, table->commit, after, &table->changes, err));
    return check_columns(table, table->changes, err);
}

/* ---- going to a place ---- */

/* Of a version's commit; 0 when only a checkpoint is left of it. */
static enum err_code read_hash(const struct source_table *table, int64_t version,
                               uint64_t *hash_out, struct err *err)
{
    CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
    enum err_code code = delta_commit_read(table->store, version, &commit, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err);
        *hash_out = 0;
        return ERR_OK;
    }
    TRY(code);
    *hash_out = commit->hash;
    return ERR_OK;
}

static enum err_code check_same(const struct source_table *table, const struct table_place *place,
                                struct err *err)
{
    uint64_t hash = 0;
    bool is_there = place->version <= table->newest;
    if (is_there) {
        TRY(read_hash(table, place->version, &hash, err));
    }
    if (!is_there || (hash != 0 && place->hash != 0 && hash != place->hash)) {
        return err_set(err, ERR_PRECONDITION,
                       "version %" PRId64 " was read, and %s now: the source was put back to an "
                       "earlier state or made anew, and what was removed cannot be told; read it "
                       "into a new table",
                       place->version,
                       is_there ? "another one has this number" : "there is no such version");
    }
    return ERR_OK;
}

static enum err_code load_state(struct source_table *table, int64_t version, struct err *err)
{
    if (table->state != NULL && table->state->version == version) {
        return ERR_OK;
    }
    delta_state_release(&table->state);
    enum err_code code = delta_state_load_version(table->store, version, &table->state, err);
    if (code == ERR_NOT_FOUND) {
        err->code = ERR_PRECONDITION;
        return err_wrap(
            err,
            "its log no longer leads to version %" PRId64 ", behind which this ingest "
            "goes on, so that what was removed cannot be told; read it into a new table",
            version);
    }
    return code;
}

static enum err_code start(struct source_table *table, struct err *err)
{
    table->place = (struct table_place){
        .version = table->newest, .is_whole = true, .side = CHANGE_ADDED, .passes_count = 1};
    TRY(read_hash(table, table->newest, &table->place.hash, err));
    return open_whole(table, err);
}

static enum err_code go_on(struct source_table *table, struct err *err)
{
    const struct table_place *place = &table->place;
    TRY(check_same(table, place, err));
    if (place->is_read && place->version == table->newest) {
        return ERR_OK;
    }
    if (place->is_read) {
        return load_state(table, place->version, err);
    }
    if (place->is_whole) {
        TRY(load_state(table, place->version, err));
        return open_whole(table, err);
    }
    TRY(load_state(table, place->version - 1, err));
    return open_commit(table, err);
}

/* Rows while a whole version is read, versions when it is followed. */
static void begin_progress(struct source_table *table)
{
    struct source_progress *progress = &table->base.progress;
    const struct table_place *place = &table->place;
    if (place->is_whole && !place->is_read) {
        progress->work_total = table->state->rows_count;
        progress->work_done = place->rows_count;
    } else {
        progress->work_total = table->newest - place->version + (place->is_read ? 0 : 1);
    }
}

static enum err_code begin(struct source *source, struct span checkpoint, bool *done_out,
                           struct err *err)
{
    struct source_table *table = table_of(source);
    TRY(table_place_parse(checkpoint, &table->place, err));
    bool is_start = table->place.version < 0;
    TRY(is_start ? start(table, err) : go_on(table, err));
    if (table->options.table != NULL &&
        table_snapshot_at_version(table->options.table, table->place.version, &table->held, err) !=
            ERR_OK) {
        err_clear(err); /* it only keeps files for longer than the vacuum does anyway */
    }
    *done_out = table->place.is_read && table->place.version == table->newest;
    begin_progress(table);
    return ERR_OK;
}

/* ---- pieces ---- */

static void finish_version(struct source_table *table)
{
    table->place = (struct table_place){
        .version = table->place.version, .hash = table->place.hash, .is_read = true};
    table->is_unrecorded = true;
    close_version(table);
}

static enum err_code begin_next(struct source_table *table, struct err *err)
{
    table->base.progress.work_done += table->place.is_whole ? 0 : 1;
    TRY(open_commit(table, err));
    table->place = (struct table_place){.version = table->state->version,
                                        .hash = table->commit->hash,
                                        .side = CHANGE_REMOVED,
                                        .passes_count = 1};
    return ERR_OK;
}

static enum err_code read_removed(struct source_table *table, struct err *err)
{
    struct table_place *place = &table->place;
    bool done = true;
    if (!table->keys.is_open) {
        const struct table_commit commit = {.store = table->store,
                                            .before = table->before,
                                            .after = table->state,
                                            .commit = table->commit};
        TRY(table_keys_open(&table->keys, table->changes, &commit, table->reader, 0, place, err));
    }
    if (!table->keys.is_empty) {
        TRY(table_keys_read(&table->keys, source_records_max(table->reader), place, &table->rows,
                            &done, err));
        if (table->rows->rows_count > 0 && table->reader->operation != FRAME_UPSERT) {
            return err_set(err, ERR_UNSUPPORTED,
                           "it removes rows, which only upserts can follow, not the operation %s",
                           frame_operation_name(table->reader->operation));
        }
    }
    if (done) {
        place->side = CHANGE_ADDED;
        place->at = (struct change_place){0};
        place->pass = 0;
        place->passes_count = 1;
        table_keys_close(&table->keys);
    }
    return ERR_OK;
}

static enum err_code read_added(struct source_table *table, bool *done_out, struct err *err)
{
    return table_rows_read(table->changes, CHANGE_ADDED, table->reader,
                           source_records_max(table->reader), &table->place.at, &table->rows,
                           done_out, err);
}

static void give(struct source_table *table, int64_t first, struct source_piece *piece_out)
{
    table_place_write(&table->place, &table->checkpoint);
    table->is_unrecorded = false;
    *piece_out = (struct source_piece){
        .records_count = table->rows != NULL ? table->rows->rows_count : 0,
        .rows = table->rows,
        .line_offset = first,
        .checkpoint = buffer_span(&table->checkpoint),
        .place = "row",
    };
}

/* Some rows of the version in hand into table->rows, which may have none. */
static enum err_code read_some(struct source_table *table, struct err *err)
{
    int64_t version = table->place.version;
    bool done = false;
    enum err_code code = table->place.side == CHANGE_REMOVED ? read_removed(table, err)
                                                             : read_added(table, &done, err);
    if (code != ERR_OK) {
        return explain_version(version, err);
    }
    int64_t count = table->rows != NULL ? table->rows->rows_count : 0;
    table->place.rows_count += count;
    table->base.progress.bytes = table->bytes_before + changes_bytes_opened(table->changes);
    if (table->place.is_whole) {
        table->base.progress.work_done = table->place.rows_count;
    }
    if (done) {
        finish_version(table);
    }
    return ERR_OK;
}

static enum err_code next(struct source *source, struct source_piece *piece_out, bool *found_out,
                          struct err *err)
{
    struct source_table *table = table_of(source);
    for (;;) {
        TRY(table->reader->check_time(table->reader->arg, err));
        frame_free(&table->rows);
        if (table->changes == NULL && table->place.version == table->newest) {
            *found_out = table->is_unrecorded;
            if (table->is_unrecorded) {
                give(table, 0, piece_out);
            }
            return ERR_OK;
        }
        if (table->changes == NULL && begin_next(table, err) != ERR_OK) {
            return explain_version(table->place.version + 1, err);
        }
        int64_t first = table->place.rows_count;
        TRY(read_some(table, err));
        if (table->rows != NULL && table->rows->rows_count > 0) {
            *found_out = true;
            give(table, first, piece_out);
            return ERR_OK;
        }
    }
}

static void close_table(struct source *source)
{
    struct source_table *table = table_of(source);
    close_version(table);
    frame_free(&table->rows);
    delta_state_release(&table->state);
    snapshot_release(&table->held);
    object_store_close(&table->own_store);
    buffer_deinit(&table->checkpoint);
}

/* ---- opening ---- */

static enum err_code open_store(struct source_table *table, struct err *err)
{
    const struct source_table_options *options = &table->options;
    if (options->table != NULL) {
        (void)snprintf(table->base.name, sizeof table->base.name, "table '%s'",
                       table_name(options->table)); /* fits */
        table->store = table_store(options->table);
        return ERR_OK;
    }
    (void)snprintf(table->base.name, sizeof table->base.name, "%s", options->path); /* may be cut */
    TRY(object_store_open_rooted(options->roots, options->path, &table->own_store, err));
    table->store = table->own_store;
    return ERR_OK;
}

static void identify(struct source_table *table)
{
    const struct source_table_options *options = &table->options;
    size_t count = 2 + options->columns_count;
    CLEANUP(mem_cleanup) struct span *parts = mem_zeroed(count, sizeof *parts);
    /* a table of ours may be moved, and its id is its own */
    parts[0] = span_of_text(options->table != NULL ? "" : object_store_root(table->store));
    parts[1] = span_of_text(table->state->metadata->id);
    for (size_t i = 0; i < options->columns_count; i++) {
        parts[2 + i] = span_of_text(options->columns[i]);
    }
    source_identify(&table->base, table->reader, "table", parts, count);
}

static enum err_code open_source(struct source_table *table, struct err *err)
{
    TRY(open_store(table, err));
    TRY(delta_state_load(table->store, &table->state, err));
    table->newest = table->state->version;
    TRY(open_whole(table, err)); /* do its columns fit at all? */
    close_version(table);
    identify(table);
    return ERR_OK;
}

enum err_code source_table_open(const struct source_table_options *options,
                                const struct source_reader *reader, struct source **source_out,
                                struct err *err)
{
    static const struct source_ops ops = {.begin = begin, .next = next, .close = close_table};
    struct source_table *table = mem_zeroed(1, sizeof *table);
    CLEANUP(source_close) struct source *source = &table->base;
    source->ops = &ops;
    table->reader = reader;
    table->options = *options;
    buffer_init(&table->checkpoint, SOURCE_CHECKPOINT_BYTES_MAX);
    if (open_source(table, err) != ERR_OK) {
        return err_wrap(err, "%s", table->base.name);
    }
    *source_out = source;
    source = NULL;
    return ERR_OK;
}
