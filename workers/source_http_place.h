/*
 * How far a walk over a service's pages has come: the checkpoint of an HTTP source.
 * Private to source_http*.c.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/hash.h"
#include "storage/base/span.h"
#include "workers/source_http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEEN_BYTES = 16 /* kept of a hash: enough to tell pages of one walk apart */ };

/* A page that was gone over: hashes of where it was asked for and of what it held. */
struct http_seen {
    uint8_t place[SEEN_BYTES];
    uint8_t content[SEEN_BYTES];
};

struct http_place {
    int64_t run_id; /* that wrote it */
    bool is_done;   /* the walk is over; what follows is its last page */
    int64_t page;   /* in the walk, from 1 */
    char next[SOURCE_HTTP_PLACE_BYTES_MAX + 1];  /* cursor, URL or number it is asked for by; "" =
                                                    the  first */
    int64_t taken;                               /* bytes of its records that were taken … */
    uint8_t prefix[HASH_SHA256_BYTES];           /* … and their hash */
    char etag[SOURCE_HTTP_ETAG_BYTES_MAX + 1];   /* of the first page of the walk; "" = none */
    struct http_seen seen[SOURCE_HTTP_SEEN_MAX]; /* the last ones; a ring */
    size_t seen_count;                           /* ever */
};

/* Empty text is the start of a walk. Errors: ERR_CORRUPT. */
enum err_code http_place_parse(struct span text, struct http_place *place_out,
                               struct err *err) MUST_USE;

/* Replaces what `text` holds; at most SOURCE_CHECKPOINT_BYTES_MAX. */
void http_place_write(const struct http_place *place, struct buffer *text);

/* The current page was gone over. */
void http_place_note(struct http_place *place, struct span content);

/* Was a page asked for by this text (place), or a page that held this (content), gone over? */
bool http_place_has_next(const struct http_place *place, const char *next);
bool http_place_has_content(const struct http_place *place, struct span content);
