/*
 * Where records end in a stream that is there in part: the same places the decoders
 * see, found without looking into the records. Private to split.c.
 *
 * The scan goes over each byte once and stops anywhere; positions are offsets in what
 * is held, and the holder moves them when it drops bytes (split_scan_shift).
 */
#pragma once

#include "storage/base/span.h"
#include "storage/columns/decode.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One record as it was found. */
struct split_record {
    size_t start;
    size_t end;     /* behind its line end; of an element: behind its last byte */
    size_t content; /* bytes without the line end */
    int64_t line;   /* line, or element of an array, from 1 */
    bool is_blank;  /* NDJSON: no record, however long */
};

enum split_result {
    SPLIT_RECORD,
    SPLIT_MORE,   /* all bytes are looked at; the last record is not over */
    SPLIT_END,    /* of the stream */
    SPLIT_BROKEN, /* `fault` says why; asked again, it says so again */
};

/* What the scan is in the middle of. */
enum split_state {
    SPLIT_AT_START, /* of a line, of a value, of an element, or of the whole array */
    SPLIT_IN_PLAIN,
    SPLIT_IN_QUOTES,
    SPLIT_AFTER_QUOTE,
    SPLIT_IN_BROKEN, /* CSV: up to the line end, whatever comes */
    SPLIT_AFTER_COMMA,
    SPLIT_IN_ELEMENT, /* an object or array */
    SPLIT_IN_STRING,
    SPLIT_IN_ESCAPE,
    SPLIT_IN_SCALAR,
    SPLIT_AFTER_ELEMENT,
    SPLIT_AFTER_ARRAY,
};

struct split_scan {
    enum decode_format format;
    enum split_state state;
    size_t at;           /* the next byte to look at */
    size_t record_start; /* of the record in hand, or where one may start */
    int64_t line;        /* of record_start; arrays: the element in hand, or the last one */
    int64_t feeds;       /* line ends inside the record in hand */
    int64_t depth;       /* open brackets of the element */
    bool is_in_array;
    bool is_first; /* no element was seen */
    const char *fault;
};

void split_scan_init(struct split_scan *scan, enum decode_format format, size_t at);

/* `size` bytes before the record in hand are gone. */
void split_scan_shift(struct split_scan *scan, size_t size);

/*
 *   held         all bytes there are, at the same offsets as before
 *   is_finished  there will be no more
 *   record_out   set for SPLIT_RECORD
 */
enum split_result split_scan_next(struct split_scan *scan, struct span held, bool is_finished,
                                  struct split_record *record_out);
