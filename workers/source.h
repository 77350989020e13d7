/*
 * Sources: where an ingest task's records come from, taken piece by piece in an order
 * that can be continued. A piece is cut the same way whenever it is cut, so a reader
 * that dies and begins again behind its last recorded step (storage/catalog/sources.h)
 * makes the pieces an uninterrupted one would have made.
 *
 *   open (source_file.h, source_http.h, source_table.h) → source->id
 *   begin(checkpoint of the last step taken) → next, next, … → close
 *
 * Thread:  a source is its task's thread's.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/span.h"
#include "storage/catalog/sources.h"
#include "storage/columns/decode.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct source;

enum {
    SOURCE_PIECE_BYTES_MAX = 32 << 20,        /* of text; one record may be larger */
    SOURCE_PIECE_FRAME_BYTES_MAX = 256 << 20, /* value slots of one piece: wide tables get fewer
                                                 records */
    SOURCE_NAME_BYTES = 256,
};

/* Who reads, and for what. Borrowed from open to close. */
struct source_reader {
    struct id table;             /* the records are for */
    const struct schema *schema; /* of it */
    enum frame_operation operation;
    int64_t piece_records; /* the most of one piece, as the task says */
    int64_t run_id;        /* that reads */
    /* To be asked often: may the reading go on? ERR_CANCELLED if not. */
    enum err_code (*check_time)(void *arg, struct err *err);
    /* Let so much time pass, or until the reading may not go on: ERR_CANCELLED. */
    enum err_code (*wait)(void *arg, int64_t us, struct err *err);
    void *arg;
    const _Atomic bool *cancelled; /* the flag behind it; NULL = none */
};

/* One piece; everything in it is borrowed until the next call. */
struct source_piece {
    int64_t records_count;     /* 0: nothing but a checkpoint, to be recorded as a step */
    struct span body;          /* a body for decode_body … */
    enum decode_format format; /* … of this form, a part of a longer one … */
    int64_t line_offset;       /* … that begins here */
    const struct frame *rows;  /* or typed rows for decode_rows; NULL = `body` counts */
    struct span checkpoint;    /* where the next piece begins */
    const char *place;         /* for messages: what `line` counts in, "line" or "row" */
};

/* How far the reading has come. */
struct source_progress {
    int64_t bytes;      /* taken in, as stored or sent */
    int64_t work_done;  /* in one unit */
    int64_t work_total; /* 0 = not known */
};

struct source_ops {
    enum err_code (*begin)(struct source *source, struct span checkpoint, bool *done_out,
                           struct err *err);
    enum err_code (*next)(struct source *source, struct source_piece *piece_out, bool *found_out,
                          struct err *err);
    void (*close)(struct source *source); /* frees what it holds, not the source */
};

/* First member of every kind of source; one allocation, freed by source_close. */
struct source {
    const struct source_ops *ops;
    uint8_t id[SOURCE_ID_BYTES];  /* the same for the same content and use of it */
    char name[SOURCE_NAME_BYTES]; /* for messages: a path, a host, a table */
    struct source_progress progress;
};

/*
 * Go to where the next piece begins.
 *
 *   checkpoint  of the last step taken; empty = from the start
 *   done_out    there is nothing to read (any more)
 *
 * Errors:  ERR_CORRUPT a checkpoint that this kind of source did not write; what reading may
 *          return.
 */
enum err_code source_begin(struct source *source, struct span checkpoint, bool *done_out,
                           struct err *err) MUST_USE;

/*
 * The next piece; false at the end.
 *
 * Errors:  ERR_CANCELLED; ERR_PRECONDITION the content changed while it was read; ERR_INVALID
 *          and ERR_TOO_LARGE broken content, with its place; ERR_IO, ERR_BUSY try later.
 *          Messages carry the source's name.
 */
enum err_code source_next(struct source *source, struct source_piece *piece_out, bool *found_out,
                          struct err *err) MUST_USE;

/* Accepts NULL inside; nulls. */
void source_close(struct source **source);

/* ---- for the kinds of sources ---- */

/*
 * The identity: a hash of the table, the operation, the kind, and the parts (each with its
 * length, so that no two lists run together).
 */
void source_identify(struct source *source, const struct source_reader *reader, const char *kind,
                     const struct span *parts, size_t count);

/* Records of one piece: what the task says, fewer for wide tables. */
int64_t source_records_max(const struct source_reader *reader);
